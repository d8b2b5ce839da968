//! `keyferry dead-letter` on librdkafka's mock cluster: what can never be delivered is kept, and leaves by an operator's word and by nothing else.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use keyferry_journal::event::{EventEncoder, EventKind, Field};
use rustix::fs::{FlockOperation, flock};

use support::running::{Agent, NOWHERE, SlotWriter, begin, cluster, commit, records, status, until};
use support::{keyferry, transcript};

/// What is larger can never be delivered.
const LIMIT: &str = "delivery.max_request_size = \"2000B\"";
/// What an operator does about it.
const RAISED: &str = "message.max.bytes=1000000";

fn commit_large(writer: &mut SlotWriter, id: &str) {
    let body = format!("{{\"large\":\"{}\"}}", "x".repeat(3_000));
    let mut events = EventEncoder::new();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let fields = [(Field::Id, id), (Field::UserId, "u-1"), (Field::TraceParent, parent)];
    events.push(EventKind::User, 1, &fields, body.as_bytes());
    let transaction = writer.next_transaction();
    writer.prepare(transaction, events.payload()).unwrap();
    writer.commit(transaction).unwrap();
}

/// A slot with `small-1`, `large-1`, `small-2`, `large-2`, and an agent that has delivered what it can.
fn deliver(journal: &Path, servers: &str) -> (PathBuf, Agent) {
    let (mut writer, slot) = begin(journal, 0);
    for number in [1, 2] {
        commit(&mut writer, &[&format!("small-{number}")]);
        commit_large(&mut writer, &format!("large-{number}"));
    }
    drop(writer.kill());
    let agent = Agent::start_with(journal, servers, LIMIT, &["--slot", slot.to_str().unwrap()]);
    let is_done = |status: &serde_json::Value| status["published"] == 2 && status["dead_letters"] == 2;
    until("two are published and two are dead letters", || status(&slot).filter(is_done));
    (slot, agent)
}

fn tool(journal: &Path, arguments: &[&str]) -> String {
    let arguments = [&["dead-letter"], arguments].concat();
    transcript(&keyferry(journal, &arguments).output().unwrap())
}

/// `retry` with the agent's configuration.
fn retry(journal: &Path, arguments: &[&str]) -> String {
    let config = journal.join("keyferry.toml");
    tool(journal, &[&["retry", "--config", config.to_str().unwrap()], arguments].concat())
}

fn ids(servers: &str, topic: &str) -> Vec<String> {
    records(servers, topic).into_iter().map(|mut headers| headers.remove("ce_id").unwrap()).collect()
}

#[test]
fn what_is_refused_is_listed_and_shown_and_delivered_as_it_was_once_kafka_takes_it() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (_slot, agent) = deliver(journal.path(), &servers);
    assert_eq!(ids(&servers, "events"), ["small-1", "small-2"]);
    let listed = tool(journal.path(), &["ls"]);
    assert!(listed.starts_with("slot-0: 2 dead letters of default\n"), "{listed}");
    assert!(listed.contains("event=large-1") && listed.contains("max-request-size"), "{listed}");
    let shown = tool(journal.path(), &["show", "--id", "large-2"]);
    assert!(shown.contains("ce_sequence 00000000000000000004") && shown.contains("{\\\"large"), "{shown}");
    let json = tool(journal.path(), &["ls", "--json"]);
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["slot"], &first["destination"], &first["class"]),
        (&"slot-0".into(), &"default".into(), &"poison".into())
    );

    let refused = retry(journal.path(), &["--all"]);
    assert!(refused.contains("refused again") && refused.ends_with("exit code 1\n"), "{refused}");
    assert!(tool(journal.path(), &["ls"]).contains("2 dead letters"), "what is refused again stays");
    let delivered = retry(journal.path(), &["--all", "--property", RAISED]);
    assert_eq!(delivered, "slot-0: 2 dead letters of default delivered\nexit code 0\n");
    assert_eq!(tool(journal.path(), &["ls"]), "no dead letters\nexit code 0\n");
    let late = records(&servers, "events").split_off(2);
    let sequences: Vec<_> =
        late.iter().map(|headers| headers["ce_sequence"].parse::<u64>().unwrap()).collect();
    assert_eq!(sequences, [2, 4]);
    assert!(late.iter().all(|headers| headers["ce_replay"].ends_with('Z')));
    let arguments = ["verify", "--bootstrap-servers", &servers, "--topic", "events"];
    let verified = transcript(&keyferry(journal.path(), &arguments).output().unwrap());
    assert!(verified.ends_with("exit code 0\n"), "{verified}");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn the_log_names_the_trace_of_what_is_refused() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let cluster = cluster();
    for (format, wanted) in
        [("text", format!("trace_id=\"{TRACE}\"")), ("json", format!("\"trace_id\":\"{TRACE}\""))]
    {
        let journal = tempfile::tempdir().unwrap();
        let (mut writer, slot) = begin(journal.path(), 0);
        commit_large(&mut writer, "large-1");
        drop(writer.kill());
        let (config, log) = (journal.path().join("keyferry.toml"), journal.path().join("agent.log"));
        let servers = cluster.bootstrap_servers();
        let text =
            format!("[destination]\nbootstrap_servers = \"{servers}\"\ntopic_events = \"events\"\n{LIMIT}\n");
        fs::write(&config, text).unwrap();
        let (config, slot) = (config.to_str().unwrap(), slot.to_str().unwrap());
        let arguments = ["run", "--config", config, "--log-format", format, "--slot", slot];
        let mut command = keyferry(journal.path(), &arguments);
        let agent = Agent(command.stderr(File::create(&log).unwrap()).spawn().unwrap());
        let line = until("the word of the dead letter", || {
            let log = fs::read_to_string(&log).unwrap();
            log.lines().find(|line| line.contains("is laid aside in the dead-letter file")).map(str::to_owned)
        });
        assert!(line.contains(&wanted), "{line}");
        assert_eq!(agent.stop(), Some(0));
    }
}

#[test]
fn some_are_dropped_and_an_unknown_id_is_said() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (slot, agent) = deliver(journal.path(), &servers);
    assert_eq!(agent.stop(), Some(0));
    let dropped = tool(&slot, &["drop", "--id", "large-1", "--id", "unknown", "--json"]);
    assert!(
        dropped.starts_with(
            r#"{"slot":"slot-0","destination":"default","delivered":0,"dropped":1,"refused":[]}"#
        ),
        "{dropped}"
    );
    assert!(dropped.contains("not found unknown") && dropped.ends_with("exit code 1\n"), "{dropped}");
    let rest = tool(&slot, &["ls"]);
    assert!(rest.contains("1 dead letter of") && rest.contains("large-2"), "{rest}");
    assert_eq!(ids(&servers, "events"), ["small-1", "small-2"]);
}

#[test]
fn nothing_leaves_the_file_that_kafka_has_not_taken() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let (_slot, agent) = deliver(journal.path(), &cluster.bootstrap_servers());
    assert_eq!(agent.stop(), Some(0));
    let arguments = ["--all", "--property", RAISED, "--bootstrap-servers", NOWHERE, "--timeout", "1"];
    let failed = retry(journal.path(), &arguments);
    assert!(failed.contains("0 dead letters are delivered and taken out, 2 stay"), "{failed}");
    assert!(failed.ends_with("exit code 2\n"), "{failed}");
    assert!(tool(journal.path(), &["ls"]).contains("2 dead letters"));
}

#[test]
fn two_operators_do_not_decide_at_the_same_time() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let (slot, agent) = deliver(journal.path(), &cluster.bootstrap_servers());
    let other = File::create(slot.join("dead-letters.lock")).unwrap();
    flock(&other, FlockOperation::LockExclusive).unwrap();
    for command in ["drop", "retry"] {
        let refused = tool(journal.path(), &[command, "--all"]);
        assert!(refused.contains("is at work") && refused.ends_with("exit code 2\n"), "{refused}");
    }
    assert!(tool(journal.path(), &["ls"]).contains("2 dead letters"), "looking is always possible");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn the_letters_of_each_destination_go_where_they_were_for() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    cluster.create_topic("audit", 1, 1).unwrap();
    let servers = cluster.bootstrap_servers();
    let (mut writer, slot) = begin(journal.path(), 0);
    commit_large(&mut writer, "large-1");
    drop(writer.kill());
    let destination = |name: &str, further: &str| {
        format!(
            "[[destination]]\nname = \"{name}\"\nbootstrap_servers = \"{servers}\"\ntopic_events = \"{name}\"\n{further}\n"
        )
    };
    let text = destination("events", "") + &destination("audit", LIMIT);
    let agent = Agent::configured(journal.path(), &text, &["--slot", slot.to_str().unwrap()]);
    let listed = until("one is a dead letter", || {
        let listed = tool(journal.path(), &["ls"]);
        listed.contains("large-1").then_some(listed)
    });
    assert!(listed.starts_with("slot-0: 1 dead letter of audit\n"), "{listed}");
    assert_eq!(tool(journal.path(), &["ls", "--destination", "events"]), "no dead letters\nexit code 0\n");
    let delivered = retry(journal.path(), &["--all", "--destination", "audit", "--property", RAISED]);
    assert_eq!(delivered, "slot-0: 1 dead letter of audit delivered\nexit code 0\n");
    until("the other destination has it too", || (ids(&servers, "events") == ["large-1"]).then_some(()));
    assert_eq!(ids(&servers, "audit"), ["large-1"]);
    assert_eq!(agent.stop(), Some(0));
}
