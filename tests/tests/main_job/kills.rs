//! Whatever is killed, and when: what a client saw succeed is in Kafka.
//!
//! On PostgreSQL, which keeps what it has committed when its client is killed; H2 runs inside the killed process and does not.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use keyferry_tests::audit;
use keyferry_tests::contest::{Contest, existing_users};
use keyferry_tests::keycloak::Database;
use keyferry_tests::load::{Load, Requests};
use keyferry_tests::process;
use keyferry_tests::stage::Stage;
use keyferry_tests::wait;
use rustix::process::Signal;

const REALM: &str = "shop";
const WORKERS: usize = 8;
const TRIALS: usize = 3;
const ROUNDS: usize = 4;
/// How many requests succeed before something is killed.
const SUCCESSES: usize = 200;
/// How many users are created before everything is killed.
const CREATIONS: usize = 5;
const LOAD_LIMIT: Duration = Duration::from_secs(120);
/// How long the load goes on after something is frozen.
const LOAD: Duration = Duration::from_secs(3);
const REST_LIMIT: Duration = Duration::from_secs(10);
const AGENT_LIMIT: Duration = Duration::from_secs(60);

fn stage() -> Stage {
    let stage = Stage::start(Database::Postgres).unwrap();
    stage.admin.create_realm(REALM, &["kafka"]).unwrap();
    stage
}

/// Checks and states what became of a load.
fn judge(stage: &mut Stage, requests: &Requests, what: &str) {
    let mut records = stage.settle().unwrap();
    // What an earlier life left may lie in other partitions and arrive a moment later than the end of the present one.
    let _ = wait::try_until("the arrival of the rest", REST_LIMIT, || {
        records = stage.read()?;
        Ok(audit::lost(requests, &records).is_empty().then_some(()))
    });
    let lost = audit::lost(requests, &records);
    let successes = requests.tokens().count();
    let copies = audit::copies(&records);
    println!(
        "{what}: {successes} requests succeeded, {} lost, {copies} copies among {} records",
        lost.len(),
        records.len()
    );
    assert!(successes > 0, "no request succeeded: {:?}", requests.failures().next());
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(audit::gaps(&records), BTreeMap::new());
}

#[test]
fn nothing_is_lost_when_keycloak_is_killed_under_load() {
    let mut stage = stage();
    let mut all = Requests::default();
    for trial in 1..=TRIALS {
        let load = Load::start(&stage.keycloak.address(), REALM, WORKERS);
        load.wait_for_successes(SUCCESSES, LOAD_LIMIT).unwrap();
        stage.keycloak.kill().unwrap();
        all.extend(load.finish());
        stage.keycloak.start().unwrap();
        judge(&mut stage, &all, &format!("trial {trial}"));
    }
}

#[test]
fn nothing_is_lost_when_the_agent_is_killed_under_load_and_copies_are_recognisable() {
    let mut stage = stage();
    let load = Load::start(&stage.keycloak.address(), REALM, WORKERS);
    let mut agent = stage.keycloak.wait_for_agent(AGENT_LIMIT).unwrap();
    for _ in 0..TRIALS {
        load.wait_for_successes(SUCCESSES, LOAD_LIMIT).unwrap();
        process::signal(agent, Signal::KILL).unwrap();
        let killed = agent;
        agent = wait::until("the restart of the agent", AGENT_LIMIT, || {
            stage.keycloak.agent().filter(|agent| *agent != killed)
        })
        .unwrap();
    }
    let requests = load.finish();
    assert_eq!(requests.failures().next(), None, "a request failed while the agent was down");
    judge(&mut stage, &requests, "all trials");
}

#[test]
fn nothing_is_lost_when_keycloak_stops_while_kafka_is_paused() {
    let mut stage = stage();
    let mut requests = Load::start(&stage.keycloak.address(), REALM, WORKERS).finish_after(LOAD);
    stage.kafka.pause().unwrap();
    let load = Load::start(&stage.keycloak.address(), REALM, WORKERS);
    thread::sleep(LOAD);
    stage.keycloak.stop().unwrap();
    requests.extend(load.finish());
    stage.kafka.resume().unwrap();
    stage.keycloak.start().unwrap();
    judge(&mut stage, &requests, "SIGTERM while Kafka is paused");
}

/// However Keycloak ends and whatever Kafka does, the agent does not stay behind.
#[test]
fn the_agent_ends_with_keycloak() {
    let mut stage = stage();
    let mut agent = stage.keycloak.wait_for_agent(AGENT_LIMIT).unwrap();
    stage.keycloak.stop().unwrap();
    assert!(!process::is_alive(agent), "the agent outlived an orderly stop");
    for pause in [false, true] {
        stage.keycloak.start().unwrap();
        agent = stage.keycloak.wait_for_agent(AGENT_LIMIT).unwrap();
        if pause {
            stage.kafka.pause().unwrap();
            stage.admin.create_user(REALM, "late").unwrap();
        }
        stage.keycloak.kill().unwrap();
        wait::until("the end of the agent", AGENT_LIMIT, || (!process::is_alive(agent)).then_some(()))
            .unwrap();
    }
}

/// Loads the token endpoint and creates users who compete for one e-mail address, so that there are transactions of every kind to be cut off.
#[test]
fn nothing_is_lost_or_invented_when_keycloak_and_the_agent_are_killed_at_once() {
    let mut stage = stage();
    let mut all = Requests::default();
    for round in 1..=ROUNDS {
        let load = Load::start(&stage.keycloak.address(), REALM, WORKERS);
        let contest = Contest::start(&stage.keycloak.address(), REALM, &format!("round{round}"));
        load.wait_for_successes(SUCCESSES, LOAD_LIMIT).unwrap();
        contest.wait_for_creations(CREATIONS, LOAD_LIMIT).unwrap();
        stage.keycloak.kill_with_agent().unwrap();
        all.extend(load.finish());
        let contest = contest.finish();
        stage.keycloak.start().unwrap();
        judge(&mut stage, &all, &format!("round {round}"));
        let published = audit::created_users(&stage.read().unwrap());
        let existing = existing_users(&stage.admin, REALM).unwrap();
        let invented: Vec<&String> = published.difference(&existing).collect();
        assert!(invented.is_empty(), "creations were published of users who do not exist: {invented:?}");
        let missing: Vec<&String> = contest.created.difference(&published).collect();
        assert!(missing.is_empty(), "creations that succeeded were not published: {missing:?}");
        println!("  {} users created, {} refused", contest.created.len(), contest.refused);
    }
}
