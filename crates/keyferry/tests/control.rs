//! The operator's way to a running agent: the socket, and the commands that use it; on librdkafka's mock cluster, or on none.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use support::running::{Agent, NOWHERE, begin, cluster, commit, delivered, status, until};
use support::{keyferry, transcript};

/// What a command says and how it ends.
struct Said {
    code: Option<i32>,
    text: String,
    /// Its lines, as far as they are JSON.
    lines: Vec<Value>,
}

fn run(arguments: &[&str]) -> Said {
    let output = keyferry(Path::new("."), arguments).output().unwrap();
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let lines = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    Said { code: output.status.code(), text: transcript(&output), lines }
}

/// What a command that succeeds prints as JSON.
#[track_caller]
fn json_of(arguments: &[&str]) -> Vec<Value> {
    let said = run(&[arguments, &["--json"]].concat());
    assert_eq!(said.code, Some(0), "{arguments:?}: {}", said.text);
    said.lines
}

/// The status that the agent of `directory` gives of its first destination, as soon as there is one.
fn of_agent(directory: &Path) -> Option<Value> {
    let mut said = run(&["status", "--json", directory.to_str().unwrap()]);
    let line = (!said.lines.is_empty()).then(|| said.lines.swap_remove(0))?;
    (line["source"] == "agent" && line["status"]["destinations"][0].is_object()).then_some(line)
}

/// The first delivery that the agent of `directory` tells of.
fn delivery(directory: &Path) -> Option<Value> {
    Some(of_agent(directory)?["status"]["destinations"][0]["slots"][0].clone())
}

#[test]
fn a_destination_that_does_not_answer_is_told_with_the_reason() {
    let journal = tempfile::tempdir().unwrap();
    let (mut writer, slot) = begin(journal.path(), 0);
    commit(&mut writer, &["a-1"]);
    let agent = Agent::start(journal.path(), NOWHERE, &["--slot", slot.to_str().unwrap()]);
    let blocked = until("it says that it is blocked", || {
        of_agent(&slot).filter(|line| line["status"]["destinations"][0]["state"] == "blocked")
    });
    let status = &blocked["status"];
    assert_eq!((&status["pid"], &status["ready"]), (&json!(agent.0.id()), &json!(false)));
    let slot_of = &status["destinations"][0]["slots"][0];
    let reason = slot_of["reason"].as_str().unwrap();
    assert!(status["reason"].as_str().unwrap().contains(reason), "{status}");
    assert!(reason.contains("127.0.0.1:1"), "{reason:?} does not name the server");
    assert_eq!(slot_of["counts"]["published"], 0);
    let for_people = run(&["status", slot.to_str().unwrap()]);
    assert_eq!(for_people.code, Some(1));
    assert!(
        for_people.text.contains("not delivering") && for_people.text.contains(reason),
        "{}",
        for_people.text
    );
    let socket = slot.join("agent.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(agent.stop(), Some(0));
    assert!(!socket.exists(), "the socket has outlived its agent");
}

#[test]
fn nothing_is_sent_while_the_breaker_is_forced_open_and_everything_afterwards() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (mut writer, slot) = begin(journal.path(), 0);
    let place = slot.to_str().unwrap();
    let agent = Agent::start(journal.path(), &servers, &["--slot", place]);
    until("it is idle", || (delivery(&slot)?["state"] == "idle").then_some(()));
    let state = json_of(&["breaker", place, "open"]).remove(0);
    assert_eq!((&state["destination"], &state["slots"][0]["mode"]), (&json!("default"), &json!("open")));
    until("it is open", || (delivery(&slot)?["breaker"]["state"] == "open").then_some(()));
    commit(&mut writer, &["a-1", "a-2"]);
    until("the events are in the backlog", || {
        (delivery(&slot)?["backlog"]["bytes"].as_u64()? > 0).then_some(())
    });
    assert!(delivered(&servers).is_empty(), "an open breaker let something through");
    assert!(run(&["breaker", place]).text.contains("forced"));
    assert_eq!(json_of(&["breaker", place, "auto"]).remove(0)["slots"][0]["mode"], "auto");
    until("everything is delivered", || (delivered(&servers).len() == 2).then_some(()));
    assert_eq!(delivered(&servers), ["a-1", "a-2"]);
    until("all is well", || (run(&["status", place]).code == Some(0)).then_some(()));
    assert_eq!(agent.stop(), Some(0));
}

/// That connections are replaced is tested on real Kafka: the mock cluster does not answer what new ones ask for.
#[test]
fn a_pool_hears_what_is_asked_of_it() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (mut writer, slot) = begin(journal.path(), 0);
    let place = slot.to_str().unwrap();
    let agent = Agent::start(journal.path(), &servers, &["--slot", place]);
    commit(&mut writer, &["a-1"]);
    until("the first event", || (delivered(&servers).len() == 1).then_some(()));
    let pool = || json_of(&["pool", place]).remove(0)["slots"][0].clone();
    until("there is a connection", || (pool()["connections"][0]["state"] == "active").then_some(()));
    json_of(&["pool", place, "reconnect"]);
    until("it is replaced", || pool()["swap"]["cause"].as_str()?.contains("operator").then_some(()));
    let refused = run(&["pool", place, "resize", "5"]);
    assert_eq!(refused.code, Some(1), "{}", refused.text);
    assert!(refused.text.contains("from 1 to 4"), "{}", refused.text);
    assert!(refused.text.contains("destination.pool.max_connections"), "{}", refused.text);
    let for_people = run(&["pool", place]).text;
    assert!(for_people.contains("active") && for_people.contains("operator"), "{for_people}");
    commit(&mut writer, &["a-2"]);
    until("the second event", || (delivered(&servers).len() == 2).then_some(()));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_tuner_does_what_it_is_told() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (_writer, slot) = begin(journal.path(), 0);
    let place = slot.to_str().unwrap();
    let agent = Agent::start(journal.path(), &servers, &["--slot", place]);
    until("it is idle", || (delivery(&slot)?["state"] == "idle").then_some(()));
    assert_eq!(json_of(&["tuner", place, "freeze"]).remove(0)["slots"][0]["frozen"], true);
    let profile = json_of(&["tuner", place, "profile", "latency"]).remove(0);
    assert_eq!(
        (&profile["slots"][0]["profile"], &profile["slots"][0]["frozen"]),
        (&json!("latency"), &json!(true))
    );
    let for_people = run(&["tuner", place]).text;
    assert!(for_people.contains("latency") && for_people.contains("frozen by hand"), "{for_people}");
    assert_eq!(json_of(&["tuner", place, "unfreeze"]).remove(0)["slots"][0]["frozen"], false);
    let tuner = || json_of(&["tuner", place]).remove(0)["slots"][0].clone();
    json_of(&["tuner", place, "override", "--linger", "7ms", "--connections", "2"]);
    assert_eq!(tuner()["overrides"], json!({ "linger_ms": 7, "connections": 2 }));
    assert_eq!((&tuner()["tuning"]["linger_ms"], &tuner()["tuning"]["connections"]), (&json!(7), &json!(2)));
    let impossible = run(&["tuner", place, "override", "--connections", "5"]);
    assert_eq!(impossible.code, Some(1), "{}", impossible.text);
    assert!(impossible.text.contains("a pool has 1 to 4"), "{}", impossible.text);
    assert_eq!(tuner()["overrides"]["connections"], 2, "what is refused changes nothing");
    json_of(&["tuner", place, "release"]);
    assert_eq!((&tuner()["overrides"], &tuner()["tuning"]["linger_ms"]), (&json!({}), &json!(0)));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn an_agent_of_a_journal_is_asked_for_all_slots_or_one() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (_first, first_slot) = begin(journal.path(), 0);
    let (_second, second_slot) = begin(journal.path(), 1);
    let agent = Agent::start(journal.path(), &servers, &["--journal", "."]);
    let slots = |directory: &Path| -> Option<Vec<Value>> {
        let line = of_agent(directory)?;
        let slots = line["status"]["destinations"][0]["slots"].as_array()?;
        Some(slots.iter().map(|slot| slot["slot"].clone()).collect())
    };
    until("both slots are served", || (slots(journal.path())?.len() == 2).then_some(()));
    assert_eq!(slots(&second_slot).unwrap(), ["slot-1"]);
    json_of(&["breaker", second_slot.to_str().unwrap(), "open"]);
    let modes = json_of(&["breaker", journal.path().to_str().unwrap()]).remove(0);
    assert_eq!((&modes["slots"][0]["mode"], &modes["slots"][1]["mode"]), (&json!("auto"), &json!("open")));
    assert!(journal.path().join("agent.sock").exists() && !first_slot.join("agent.sock").exists());
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn without_an_agent_there_is_what_it_wrote_down_last() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (mut writer, slot) = begin(journal.path(), 0);
    let place = slot.to_str().unwrap();
    let nothing = run(&["status", place]);
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.text.contains("no agent is running"), "{}", nothing.text);
    let agent = Agent::start(journal.path(), &servers, &["--slot", place]);
    commit(&mut writer, &["a-1"]);
    until("it is delivered", || (status(&slot)?["published"] == 1).then_some(()));
    assert_eq!(agent.stop(), Some(0));
    let said = run(&["status", "--json", place]);
    assert_eq!(said.code, Some(1), "{}", said.text);
    let line = &said.lines[0];
    assert_eq!((&line["source"], &line["status"]["state"]), (&json!("file"), &json!("stopped")));
    assert!(line["age_ms"].as_u64().unwrap() < 60_000, "{line}");
    let for_people = run(&["status", place]).text;
    assert!(for_people.contains("no agent is running") && for_people.contains("ago"), "{for_people}");
    let unreachable = run(&["breaker", place, "open"]);
    assert_eq!(unreachable.code, Some(2));
    assert!(unreachable.text.contains("no agent is running"), "{}", unreachable.text);
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(
        run(&["status", elsewhere.path().to_str().unwrap()]).code,
        Some(2),
        "neither journal nor slot"
    );
}

#[test]
fn a_change_for_one_of_several_destinations_names_it() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (_writer, slot) = begin(journal.path(), 0);
    let place = slot.to_str().unwrap();
    let destination = |name: &str| {
        format!(
            "[[destination]]\nname = \"{name}\"\nbootstrap_servers = \"{servers}\"\ntopic_events = \"events\"\n"
        )
    };
    let text = destination("near") + &destination("far");
    let agent = Agent::configured(journal.path(), &text, &["--slot", place]);
    until("both are served", || {
        let line = of_agent(&slot)?;
        (line["status"]["destinations"].as_array()?.len() == 2).then_some(())
    });
    let ambiguous = run(&["breaker", place, "open"]);
    assert_eq!(ambiguous.code, Some(2));
    assert!(ambiguous.text.contains("far, near"), "{}", ambiguous.text);
    let unknown = run(&["breaker", place, "open", "--destination", "nowhere"]);
    assert_eq!(unknown.code, Some(1), "{}", unknown.text);
    assert!(unknown.text.contains("far of slot-0"), "{}", unknown.text);
    until("it is being shipped", || {
        (run(&["breaker", place, "open", "--destination", "far"]).code == Some(0)).then_some(())
    });
    let modes: Vec<_> = json_of(&["breaker", place])
        .iter()
        .map(|state| (state["destination"].clone(), state["slots"][0]["mode"].clone()))
        .collect();
    assert_eq!(modes, [(json!("far"), json!("open")), (json!("near"), json!("auto"))]);
    assert_eq!(agent.stop(), Some(0));
}
