//! Failures of a real Keycloak and of the agent that its provider runs: somebody tries passwords, and the agent dies. Between them people use the page of that agent, and what it adds to events is read.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use keyferry_tests::admin::Admin;
use keyferry_tests::browser::Browser;
use keyferry_tests::keycloak::{Database, Distribution, Keycloak};
use keyferry_tests::stage::jar;
use keyferry_tests::{agent, kafka, process, wait};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use xtask::cache::Cache;
use xtask::parts;

use super::LIMIT;
use super::watch::{Audience, Failure, table};
use crate::login::LoginPage;
use crate::names::Names;

const ATTACKED: Failure = Failure {
    name: "keycloak",
    cause: "somebody tries passwords in Keycloak",
    alert: "LoginFailureBurst",
    allow: "restart_agent",
    action: None,
    rules: r#"
        [[rule]]
        name = "LoginFailureBurst"
        severity = "warning"
        signal.increase = { metric = "keyferry_login_failures_total", window = "10s", by = ["destination", "realm"] }
        above = 5
        clear = 1
        summary = "{value} logins have failed in realm {realm}"
        "#,
};
const DIED: Failure = Failure {
    cause: "the agent killed (SIGKILL), and then started again by hand",
    alert: "AgentRestarted",
    rules: r#"
        [[rule]]
        name = "AgentRestarted"
        severity = "warning"
        signal.since = { metric = 'keyferry_process_start_time_seconds{process="agent"}', by = [] }
        below = 10
        and = [{ signal.since = { metric = 'keyferry_process_start_time_seconds{process="keycloak"}', by = [] }, above = 50 }]
        summary = "the agent was restarted {value} s ago, and Keycloak was not"
        "#,
    ..ATTACKED
};
const REALM: &str = "shop";
/// So many programs try passwords at once.
const ATTACKERS: usize = 4;
/// So many passwords must have been tried: as in the rule.
const TRIED: usize = 6;
/// So old must Keycloak be before a start of the agent is one that is told: as in the rule.
const KEYCLOAK_IS_OLD: Duration = Duration::from_secs(50);

#[test]
fn passwords_that_are_tried_are_told_and_users_log_in_to_the_page_and_an_agent_that_dies_is_told_and_started_again_by_hand()
 {
    let (audience, kafka) = (Audience::gather(), kafka::shared().unwrap());
    let topic = kafka::fresh_topic("attacked");
    kafka.create_topic(&topic, kafka::PARTITIONS).unwrap();
    let cache = Cache::from_environment().unwrap();
    let distribution =
        Distribution::build(&cache, parts::Keycloak::V26_7, Some(&jar().unwrap()), Database::File).unwrap();
    let mut keycloak = Keycloak::new(&distribution, audience.directory()).unwrap();
    keycloak
        .listener_option("bootstrap-servers", kafka.bootstrap_servers())
        .listener_option("topic-events", &topic)
        .listener_option("alerts-file", audience.inform(&[ATTACKED, DIED]).display().to_string());
    let page = LoginPage::of(&mut keycloak, REALM);
    let names = Names::of(&mut keycloak, kafka, &topic);
    keycloak.start().unwrap();
    let started = Instant::now();
    let (executable, slot) = (agent::under_test().unwrap(), keycloak.journal().join("slot-0"));
    let admin = Admin::new(keycloak.address());
    admin.create_realm(REALM, &["kafka"]).unwrap();
    admin.create_user(REALM, "alice").unwrap();
    // The first login of all takes a Keycloak seconds. An attack on one that nobody uses would be slow, not its notice.
    Browser::new(&keycloak.address(), REALM).log_in("alice").unwrap();
    audience.wait_for_calm(&ATTACKED, (&executable, &slot));

    let (over, tried) = (AtomicBool::new(false), AtomicUsize::new(0));
    let attacked = thread::scope(|scope| {
        let attack = || {
            let (over, tried, address, begun) = (&over, &tried, keycloak.address(), Instant::now());
            for _ in 0..ATTACKERS {
                let address = address.clone();
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        Browser::new(&address, REALM).fail_to_log_in("alice").unwrap();
                        if tried.fetch_add(1, Ordering::Relaxed) + 1 == TRIED {
                            println!("{TRIED} passwords were tried after {:.1?}", begun.elapsed());
                        }
                    }
                });
            }
        };
        let give_up = || {
            over.store(true, Ordering::Relaxed);
            None
        };
        audience.watch(ATTACKED, (&executable, &slot), attack, give_up)
    });

    page.is_used(&admin, REALM, audience.directory());
    names.are_told(&keycloak, kafka, &admin, REALM);
    thread::sleep(KEYCLOAK_IS_OLD.saturating_sub(started.elapsed()));
    let first = keycloak.wait_for_agent(LIMIT).unwrap();
    let kill = || process::signal(first, Signal::KILL).unwrap();
    let start_again = || {
        let second = another_agent(&keycloak, first);
        let remediate = |id: &str| {
            let words = ["--action", "restart_agent"];
            let mut command = Command::new(&executable);
            let output =
                command.args(["incident", "remediate"]).arg(&slot).arg(id).args(words).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        remediate(&incident(&executable, &slot));
        another_agent(&keycloak, second);
        keycloak.wait_for_log("stopped without being asked to (exit code 0)", LIMIT).unwrap();
        None
    };
    let died = audience.watch(DIED, (&executable, &slot), kill, start_again);
    // A start is what the alert tells of: by its check it may still fire.
    let done = ["restart agent: helped", "restart agent: did not help"];
    let is_known = matches!(died.actions(), [action] if done.contains(&action.as_str()));
    assert!(is_known, "the agent that was started then knows what was done: {:?}", died.actions());
    println!("{}", table(&[attacked, died]));
}

/// The agent that takes the place of `before`.
fn another_agent(keycloak: &Keycloak, before: Pid) -> Pid {
    wait::until("another agent", LIMIT, || keycloak.agent().filter(|agent| *agent != before)).unwrap()
}

/// The incident of the agent's death.
fn incident(executable: &std::path::Path, slot: &std::path::Path) -> String {
    wait::until("the incident", LIMIT, || {
        let output =
            Command::new(executable).args(["incident", "ls"]).arg(slot).arg("--json").output().ok()?;
        let said: Value = serde_json::from_slice(&output.stdout).ok()?;
        let incidents = said["incidents"].as_array()?;
        let of_death = incidents.iter().find(|incident| incident["alert"] == DIED.alert)?;
        of_death["id"].as_str().map(str::to_owned)
    })
    .unwrap()
}
