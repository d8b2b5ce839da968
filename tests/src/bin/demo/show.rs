//! What the demo does and what must come of it.

use std::env;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use keyferry_tests::admin::{Admin, PASSWORD};
use keyferry_tests::browser::Browser;
use keyferry_tests::consumer::{Consumer, Record};
use keyferry_tests::kafka::Kafka;
use keyferry_tests::keycloak::{ADMINISTRATOR, Database, Distribution, Keycloak};
use keyferry_tests::{Error, Result};
use serde_json::json;
use xtask::cache::Cache;
use xtask::parts;
use xtask::progress::step;

const EVENTS: &str = "keycloak-events";
const ADMIN_EVENTS: &str = "keycloak-admin-events";
const REALM: &str = "demo";
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What the demo's actions must leave in Kafka: the kinds of records of the realm, each with how many there are.
const EXPECTED: [(&str, usize); 12] = [
    ("REGISTER", 1),
    ("LOGIN", 3),
    ("CODE_TO_TOKEN", 3),
    ("LOGIN_ERROR", 1),
    ("REFRESH_TOKEN", 1),
    ("LOGOUT", 1),
    ("UPDATE REALM", 1),
    ("CREATE USER", 2),
    ("CREATE REALM_ROLE", 1),
    ("UPDATE REALM_ROLE", 1),
    ("CREATE REALM_ROLE_MAPPING", 1),
    ("DELETE USER", 1),
];

/// The servers of the demo.
pub struct Show {
    kafka: Kafka,
    keycloak: Keycloak,
    admin: Admin,
}

impl Show {
    /// Starts Kafka, and Keycloak with the jar that `JAR_UNDER_TEST` names.
    ///
    /// # Errors
    /// Where one of them does not start.
    pub fn prepare(directory: &Path) -> Result<Self> {
        let cache = Cache::from_environment()?;
        let jar = env::var_os("JAR_UNDER_TEST").map(PathBuf::from);
        let jar = jar
            .ok_or_else(|| Error::Missing("JAR_UNDER_TEST is not set: run `cargo xtask demo`".to_owned()))?;
        let kafka = step("start Kafka", || Kafka::start_new(&cache, directory))?;
        let distribution = Distribution::build(&cache, parts::Keycloak::V26_7, Some(&jar), Database::File)?;
        let mut keycloak = Keycloak::new(&distribution, directory)?;
        keycloak
            .listener_option("bootstrap-servers", kafka.bootstrap_servers())
            .listener_option("topic-events", EVENTS)
            .listener_option("topic-admin-events", ADMIN_EVENTS);
        step("start Keycloak", || keycloak.start())?;
        let admin = Admin::new(keycloak.address());
        Ok(Self { kafka, keycloak, admin })
    }

    /// Causes the events, shows what arrives, and stays unless it is to run `once`.
    ///
    /// # Errors
    /// Where an action fails or an expected event does not arrive.
    pub fn run(self, once: bool) -> Result<()> {
        step("make a realm and change it", || self.administer())?;
        step("log users in and out", || self.use_a_browser())?;
        let mut topics = self.topics()?;
        step("read the events from Kafka", || wait_for_expected(&mut topics))
            .map_err(|error| error.with_log(&self.keycloak.log()))?;
        let shown = topics.map(|topic| show_from(topic, 0));
        println!("\nEvery expected event is in Kafka.");
        if once { Ok(()) } else { self.stay(shown) }
    }

    fn administer(&self) -> Result<()> {
        let admin = &self.admin;
        admin.create_realm(REALM, &["kafka"])?;
        admin.put(&format!("/{REALM}"), &json!({ "displayName": "Keyferry's demo" }))?;
        let alice = admin.create_user(REALM, "alice")?;
        let bob = admin.create_user(REALM, "bob")?;
        admin.post(&format!("/{REALM}/roles"), &json!({ "name": "captain" }))?;
        let role = format!("/{REALM}/roles/captain");
        admin.put(&role, &json!({ "name": "captain", "description": "Steers the ferry" }))?;
        let role = admin.get(&role)?;
        admin.post(&format!("/{REALM}/users/{alice}/role-mappings/realm"), &json!([role]))?;
        admin.delete(&format!("/{REALM}/users/{bob}"), None)
    }

    fn use_a_browser(&self) -> Result<()> {
        let browser = || Browser::new(&self.keycloak.address(), REALM);
        browser().register("carol")?;
        browser().fail_to_log_in("alice")?;
        browser().log_in("carol")?;
        let mut browser = browser();
        let tokens = browser.log_in("alice")?;
        let tokens = browser.refresh(&tokens)?;
        browser.log_out(&tokens)
    }

    fn topics(&self) -> Result<[Consumer; 2]> {
        let servers = self.kafka.bootstrap_servers();
        Ok([Consumer::new(&servers, ADMIN_EVENTS)?, Consumer::new(&servers, EVENTS)?])
    }

    /// Shows every further event until a signal ends the process.
    fn stay(mut self, mut shown: [(Consumer, usize); 2]) -> Result<()> {
        let (name, password) = ADMINISTRATOR;
        let address = self.keycloak.address();
        println!(
            "
Keycloak   {address}/admin          {name} / {password}
           {address}/realms/{REALM}/account   alice / {PASSWORD}
Kafka      {}   topics {EVENTS}, {ADMIN_EVENTS}
Log        {}

Further events are shown as they arrive. Ctrl-C ends everything.\n",
            self.kafka.bootstrap_servers(),
            self.keycloak.log().display()
        );
        loop {
            self.keycloak.require_running()?;
            for (topic, count) in &mut shown {
                let records = topic.read()?;
                records[*count..].iter().for_each(show);
                *count = records.len();
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

fn wait_for_expected(topics: &mut [Consumer; 2]) -> Result<()> {
    let [admin_events, events] = topics;
    let is_admin = |kind: &str| kind.contains(' ');
    let all_of = |records: &[Record], admin: bool| {
        EXPECTED
            .iter()
            .filter(|(kind, _)| is_admin(kind) == admin)
            .all(|(kind, count)| is_there(records, kind, *count))
    };
    admin_events
        .wait_until("the arrival of the admin events", ARRIVAL_LIMIT, |records| all_of(records, true))?;
    events.wait_until("the arrival of the user events", ARRIVAL_LIMIT, |records| all_of(records, false))?;
    Ok(())
}

fn is_there(records: &[Record], wanted: &str, count: usize) -> bool {
    records.iter().filter(|record| kind(record) == wanted).count() == count
}

fn show_from(topic: Consumer, first: usize) -> (Consumer, usize) {
    let records = topic.records();
    if let Some(record) = records.first() {
        println!("\n{}", record.topic);
        println!("  {:<27} {:<8} {:<38} {:>8}  OUTCOME", "TYPE", "REALM", "USER", "SEQUENCE");
    }
    records[first..].iter().for_each(show);
    let count = records.len();
    (topic, count)
}

fn show(record: &Record) {
    let realm = record.header("ce_source").trim_start_matches("/realms/");
    let sequence = record.header("ce_sequence").trim_start_matches('0');
    println!(
        "  {:<27} {realm:<8} {:<38} {sequence:>8}  {}",
        kind(record),
        user(record),
        record.header("ce_outcome")
    );
}

/// `LOGIN`, or `CREATE USER` for an admin event.
fn kind(record: &Record) -> String {
    match record.field("type") {
        "" => format!("{} {}", record.field("operationType"), record.field("resourceType")),
        kind => kind.to_owned(),
    }
}

/// The user's name, or what else says whom the event concerns.
fn user(record: &Record) -> &str {
    let candidates = [record.field("details/username"), record.field("userId"), record.field("resourcePath")];
    candidates.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
}
