//! What is configured wrongly or breaks on the way: a clear error in the log and in the operational info, and a Keycloak that serves.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use keyferry_tests::browser::Browser;
use keyferry_tests::disk::SmallDisk;
use keyferry_tests::kafka::{STRANGER, WRITER};
use keyferry_tests::keycloak::Database;
use keyferry_tests::load::{Load, Requests};
use keyferry_tests::stage::{ADMIN_EVENTS, EVENTS, Stage};
use keyferry_tests::{audit, log, wait};
use serde_json::Value;

const REALM: &str = "shop";
/// A name that occurs nowhere but in events.
const USER: &str = "alice";
const WORKERS: usize = 4;
/// How many requests a load is.
const SUCCESSES: usize = 200;
const LOAD_LIMIT: Duration = Duration::from_secs(120);
/// How long an operator may have to wait for the error.
const REPORT_LIMIT: Duration = Duration::from_secs(60);
/// A login of a warm Keycloak takes milliseconds, and one that waits for Kafka a minute.
const SLOWEST: Duration = Duration::from_secs(10);

fn prepare() -> Stage {
    Stage::prepare(Database::File).unwrap()
}

/// Starts Keycloak, whatever is wrong, and makes a realm with a user.
fn start(stage: &mut Stage) {
    stage.keycloak.start().unwrap();
    stage.admin.create_realm(REALM, &["kafka"]).unwrap();
    stage.admin.create_user(REALM, USER).unwrap();
}

/// Logins of every kind work, and none waits for anything.
fn check_that_keycloak_serves(stage: &Stage) {
    let mut browser = Browser::new(&stage.keycloak.address(), REALM);
    let tokens = browser.log_in(USER).unwrap();
    browser.log_out(&tokens).unwrap();
    let requests = load(stage);
    assert_eq!(requests.failures().next(), None);
    assert!(requests.latency(1.0) < SLOWEST, "{:?}", requests.latency(1.0));
}

/// Lets clients ask for tokens until they have so many that there is something to lose.
fn load(stage: &Stage) -> Requests {
    let load = Load::start(&stage.keycloak.address(), REALM, WORKERS);
    load.wait_for_successes(SUCCESSES, LOAD_LIMIT).unwrap();
    load.finish()
}

/// The error is in the log as a warning or an error, and in the operational info, each time with all of `words`.
fn check_that_the_operator_is_told(stage: &Stage, words: &[&str]) {
    let tells = |text: &str| words.iter().all(|word| text.to_lowercase().contains(&word.to_lowercase()));
    let line = wait::until(&format!("a warning with {words:?} in the log"), REPORT_LIMIT, || {
        let lines = [" WARN ", " ERROR "].map(|level| log::lines_with(&stage.keycloak.log(), level)).concat();
        lines.into_iter().find(|line| tells(line))
    });
    let line = line.unwrap_or_else(|error| panic!("{error}\n{}", log::tail(&stage.keycloak.log())));
    println!("log:  {line}");
    let info = wait::try_until(&format!("{words:?} in the operational info"), REPORT_LIMIT, || {
        let info = stage.admin.operational_info("eventsListener", "kafka")?;
        Ok(tells(&info.to_string()).then_some(info))
    });
    let info = info.unwrap_or_else(|error| panic!("{error}\n{}", operational_info(stage)));
    println!("info: {info}");
    check_that_the_log_holds_no_event_data(stage);
}

/// A log is read by more people than events are meant for.
fn check_that_the_log_holds_no_event_data(stage: &Stage) {
    for data in [USER, "@example.org"] {
        let lines = log::lines_with(&stage.keycloak.log(), data);
        assert!(lines.is_empty(), "Keycloak's log holds event data: {lines:#?}");
    }
}

fn operational_info(stage: &Stage) -> Value {
    stage.admin.operational_info("eventsListener", "kafka").unwrap()
}

fn use_sasl(stage: &mut Stage, name: &str, password: &str) {
    let servers = stage.kafka.sasl_bootstrap_servers();
    stage
        .keycloak
        .listener_option("bootstrap-servers", servers)
        .listener_option("security-protocol", "SASL_PLAINTEXT")
        .listener_option("sasl-mechanism", "PLAIN")
        .listener_option(
            "sasl-jaas-config",
            format!(
                "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{name}\" password=\"{password}\";"
            ),
        );
}

#[test]
fn a_bootstrap_server_that_does_not_answer_is_reported() {
    let mut stage = prepare();
    stage.keycloak.listener_option("bootstrap-servers", "127.0.0.1:1");
    start(&mut stage);
    check_that_keycloak_serves(&stage);
    check_that_the_operator_is_told(&stage, &["127.0.0.1:1"]);
}

#[test]
fn a_bootstrap_server_without_a_port_is_reported() {
    let mut stage = prepare();
    stage.keycloak.listener_option("bootstrap-servers", "localhost");
    start(&mut stage);
    check_that_keycloak_serves(&stage);
    check_that_the_operator_is_told(&stage, &["bootstrap-servers", "port"]);
}

#[test]
fn a_drop_in_jaas_configuration_logs_in_to_kafka() {
    let mut stage = prepare();
    use_sasl(&mut stage, WRITER.0, WRITER.1);
    start(&mut stage);
    check_that_keycloak_serves(&stage);
    let records = stage.settle().unwrap();
    assert_eq!(audit::copies(&records), 0);
}

#[test]
fn missing_rights_to_a_topic_are_reported_and_nothing_is_lost_when_they_are_given() {
    let mut stage = prepare();
    // A user who may write somewhere, as Kafka demands of an idempotent producer, but not to the topics of the events.
    stage.kafka.create_topic("elsewhere", 1).unwrap();
    stage.kafka.grant_write(STRANGER.0, "elsewhere").unwrap();
    use_sasl(&mut stage, STRANGER.0, STRANGER.1);
    start(&mut stage);
    check_that_keycloak_serves(&stage);
    check_that_the_operator_is_told(&stage, &["topic authorization", "events"]);

    let requests = load(&stage);
    for topic in [EVENTS, ADMIN_EVENTS] {
        stage.kafka.grant_write(STRANGER.0, topic).unwrap();
    }
    check_that_nothing_was_lost(&mut stage, &requests);
}

#[test]
fn wrong_credentials_are_reported_and_nothing_is_lost_when_they_are_corrected() {
    let mut stage = prepare();
    use_sasl(&mut stage, WRITER.0, "wrong");
    start(&mut stage);
    check_that_keycloak_serves(&stage);
    check_that_the_operator_is_told(&stage, &["authentication"]);

    let requests = load(&stage);
    stage.keycloak.stop().unwrap();
    use_sasl(&mut stage, WRITER.0, WRITER.1);
    stage.keycloak.start().unwrap();
    check_that_nothing_was_lost(&mut stage, &requests);
}

fn check_that_nothing_was_lost(stage: &mut Stage, requests: &Requests) {
    let records = stage.settle().unwrap();
    assert!(requests.tokens().count() > 0);
    assert_eq!(audit::lost(requests, &records), Vec::<&str>::new());
    check_that_the_log_holds_no_event_data(stage);
}

/// A file where the directory should be: root, who runs the tests in a container, may read every directory.
#[test]
fn a_journal_directory_that_cannot_be_used_is_reported() {
    let mut stage = prepare();
    let place = stage.directory().join("journal");
    fs::write(&place, "in the way").unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o000)).unwrap();
    stage.keycloak.listener_option("journal-dir", place.to_string_lossy());
    start(&mut stage);
    check_that_keycloak_serves(&stage);
    check_that_the_operator_is_told(&stage, &[&place.to_string_lossy()]);
}

/// The disk is full for a while, and has room again. It holds the agent as well, which is unpacked beside the journal.
#[test]
fn a_full_disk_is_reported_and_later_events_are_delivered() {
    let mut stage = prepare();
    let Some(disk) = SmallDisk::mount(&stage.directory().join("disk"), 64).unwrap() else {
        println!("skipped: mounting a small tmpfs needs root");
        return;
    };
    let journal = disk.place().join("journal");
    stage.keycloak.listener_option("journal-dir", journal.to_string_lossy());
    start(&mut stage);
    stage.settle().unwrap();
    let ballast = disk.fill().unwrap();
    check_that_keycloak_serves(&stage);
    check_that_the_operator_is_told(&stage, &["space"]);
    fs::remove_file(ballast).unwrap();
    let requests = load(&stage);
    let records = stage.settle().unwrap();
    let lost = audit::lost(&requests, &records).len();
    assert!(requests.tokens().count() > 0);
    assert_eq!(lost, 0, "events were lost after the disk had room again");
    stage.keycloak.stop().unwrap();
}
