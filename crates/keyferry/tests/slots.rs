//! Who ships which slot: adoption, waiting for a lock, and an agent for a whole journal directory; on librdkafka's mock cluster.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use keyferry_journal::event::{EventEncoder, EventKind, Field};
use keyferry_journal::slot::{AGENT_LOCK, OwnedSlot};
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{AgentLock, LockHolder, Writer};
use keyferry_kafka::consume::TopicReader;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::keyferry;

/// Nothing here takes nearly as long; what has not happened by then does not happen.
const LIMIT: Duration = Duration::from_secs(60);

/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("events", 1, 1).unwrap();
    cluster
}

fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(ready) = ready() {
            return ready;
        }
        assert!(begun.elapsed() < LIMIT, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running agent, killed with the test.
struct Agent(Child);

impl Agent {
    fn start(journal: &Path, servers: &str, arguments: &[&str]) -> Self {
        let config = journal.join("keyferry.toml");
        let text = format!("[destination]\nbootstrap_servers = \"{servers}\"\ntopic_events = \"events\"\n");
        fs::write(&config, text).unwrap();
        let arguments = [&["run", "--config", config.to_str().unwrap()], arguments].concat();
        Self(keyferry(journal, &arguments).spawn().unwrap())
    }

    fn start_child(slot: &Path, servers: &str) -> Self {
        let mut child = keyferry(slot, &["run", "--child"]).stdin(Stdio::piped()).spawn().unwrap();
        let line = serde_json::json!({
            "version": 1, "slot": slot, "node": "kc-1", "provider": "0", "keycloak": "0",
            "options": { "bootstrap-servers": servers, "topic-events": "events" },
        });
        writeln!(child.stdin.as_mut().unwrap(), "{line}").unwrap();
        Self(child)
    }

    fn holder(&self) -> LockHolder {
        LockHolder::Process(i32::try_from(self.0.id()).unwrap())
    }

    /// Tells it to stop and answers its exit code.
    fn stop(mut self) -> Option<i32> {
        drop(self.0.stdin.take());
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        self.ended()
    }

    fn ended(&mut self) -> Option<i32> {
        until("the end of the agent", || self.0.try_wait().unwrap()).code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

type SlotWriter = Writer<OwnedSlot, fn() -> u64>;

/// A writer on the slot `number`, and where that is. The slot is made elsewhere and moved with its lock: a process that holds the lock of one slot of a
/// journal cannot look for a free one there, because it is given its own once more.
fn begin(journal: &Path, number: u8) -> (SlotWriter, PathBuf) {
    let elsewhere = journal.join(format!("begin-{number}"));
    let writer = begin_in(&elsewhere, number);
    let path = journal.join(format!("slot-{number}"));
    fs::rename(elsewhere.join("slot-0"), &path).unwrap();
    (writer, path)
}

/// A writer on the journal's first free slot, with epochs of the slot `number`.
fn begin_in(journal: &Path, number: u8) -> SlotWriter {
    let options = WriterOptions { node: format!("kc-{number}"), ..WriterOptions::default() };
    let clock = (|| 1_764_000_000_000) as fn() -> u64;
    Writer::begin(OwnedSlot::claim(journal).unwrap(), number, clock, options).unwrap()
}

fn prepare(writer: &mut SlotWriter, id: &str) -> u64 {
    let mut events = EventEncoder::new();
    events.push(EventKind::User, 1, &[(Field::Id, id), (Field::UserId, "u-1")], b"{}");
    let transaction = writer.next_transaction();
    writer.prepare(transaction, events.payload()).unwrap();
    transaction
}

fn commit(writer: &mut SlotWriter, ids: &[&str]) {
    for id in ids {
        let transaction = prepare(writer, id);
        writer.commit(transaction).unwrap();
    }
}

/// The ids of the records in the topic.
fn delivered(servers: &str) -> Vec<String> {
    let properties = [("bootstrap.servers".to_owned(), servers.to_owned())];
    let reader = TopicReader::open(properties, &["events".to_owned()], LIMIT).unwrap();
    let mut ids = Vec::new();
    reader
        .read(|received, _| {
            received.each_header(|name, value| {
                if name == "ce_id" {
                    ids.push(String::from_utf8_lossy(value).into_owned());
                }
            });
        })
        .unwrap();
    ids
}

fn agent_of(slot: &Path) -> Option<LockHolder> {
    LockHolder::of(slot, AGENT_LOCK).unwrap()
}

fn status(slot: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(slot.join("status.json")).ok()?).ok()
}

#[test]
fn a_slot_that_was_left_behind_is_shipped_to_its_end_and_let_go() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (mut dead, left) = begin(journal.path(), 0);
    let (mut alive, own) = begin(journal.path(), 1);
    commit(&mut dead, &["a-1", "a-2"]);
    prepare(&mut dead, "a-doubt");
    drop(dead.kill());
    commit(&mut alive, &["b-1"]);
    let agent = Agent::start(journal.path(), &servers, &["--slot", own.to_str().unwrap()]);
    until("the adopted slot is let go", || {
        let status = status(&left)?;
        (status["adopted"] == true && status["state"] == "stopped" && agent_of(&left).is_none()).then_some(())
    });
    let mut ids = delivered(&servers);
    ids.sort();
    assert_eq!(ids, ["a-1", "a-2", "a-doubt", "b-1"]);
    assert_eq!(status(&own).unwrap()["adopted"], false);
    assert_eq!(agent_of(&own), Some(agent.holder()), "the own slot's lock went with the adopted one's");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn an_adopter_lets_go_of_a_slot_that_is_written_again_and_its_own_agent_goes_on() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let (mut dead, left) = begin(journal.path(), 0);
    let (_alive, own) = begin(journal.path(), 1);
    commit(&mut dead, &["a-1"]);
    drop(dead.kill());
    let adopter = Agent::start(journal.path(), NOWHERE, &["--slot", own.to_str().unwrap()]);
    until("the slot is adopted", || (agent_of(&left) == Some(adopter.holder())).then_some(()));
    let mut writer = begin_in(journal.path(), 0);
    commit(&mut writer, &["a-2"]);
    let servers = cluster.bootstrap_servers();
    let child = Agent::start_child(&left, &servers);
    until("the new agent has the slot", || (agent_of(&left) == Some(child.holder())).then_some(()));
    until("both events", || (delivered(&servers).len() == 2).then_some(()));
    assert_eq!(delivered(&servers), ["a-1", "a-2"], "the old epoch comes first");
    assert_eq!(status(&left).unwrap()["adopted"], false);
    assert_eq!(child.stop(), Some(0));
    assert_eq!(adopter.stop(), Some(0));
}

#[test]
fn a_slot_that_somebody_writes_or_ships_is_not_adopted() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (mut written, written_slot) = begin(journal.path(), 0);
    let (mut shipped, shipped_slot) = begin(journal.path(), 1);
    let (_own, own) = begin(journal.path(), 2);
    let (mut last, last_slot) = begin(journal.path(), 3);
    for writer in [&mut written, &mut shipped, &mut last] {
        commit(writer, &["a-1"]);
    }
    drop(shipped.kill());
    let _other = AgentLock::acquire(&shipped_slot).unwrap();
    // Adopted after the agent has looked at the others.
    drop(last.kill());
    let agent = Agent::start(journal.path(), &servers, &["--slot", own.to_str().unwrap()]);
    until("the last slot was adopted", || (status(&last_slot)?["published"] == 1).then_some(()));
    assert!(status(&written_slot).is_none() && status(&shipped_slot).is_none());
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_child_waits_for_a_slot_that_another_agent_serves_and_says_so() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (mut writer, slot) = begin(journal.path(), 0);
    commit(&mut writer, &["a-1"]);
    let lock = AgentLock::acquire(&slot).unwrap();
    let child = Agent::start_child(&slot, &servers);
    let waiting =
        until("it says that it waits", || status(&slot).filter(|status| status["state"] == "waiting"));
    assert!(waiting["reason"].as_str().unwrap().contains("another agent"), "{waiting}");
    assert!(delivered(&servers).is_empty());
    drop(lock);
    until("it delivers", || (status(&slot)?["published"] == 1).then_some(()));
    assert_eq!(child.stop(), Some(0));
    let lock = AgentLock::acquire(&slot).unwrap();
    let mut refused = Agent::start(journal.path(), &servers, &["--slot", slot.to_str().unwrap()]);
    assert_eq!(refused.ended(), Some(73), "an agent that was started by hand ends");
    drop(lock);
    let patient = {
        let _lock = AgentLock::acquire(&slot).unwrap();
        let child = Agent::start_child(&slot, &servers);
        until("it waits again", || {
            let status = status(&slot)?;
            (status["state"] == "waiting" && status["pid"] == child.0.id()).then_some(())
        });
        child.stop()
    };
    assert_eq!(patient, Some(0), "the word to stop ends the waiting");
}

#[test]
fn an_agent_of_a_journal_directory_ships_every_slot_as_it_appears() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (mut first, first_slot) = begin(journal.path(), 0);
    commit(&mut first, &["a-1"]);
    let agent = Agent::start(journal.path(), &servers, &["--journal", "."]);
    until("the first slot is served", || (status(&first_slot)?["published"] == 1).then_some(()));
    let (mut second, second_slot) = begin(journal.path(), 1);
    commit(&mut second, &["b-1"]);
    until("the second slot is served", || (status(&second_slot)?["published"] == 1).then_some(()));
    commit(&mut first, &["a-2"]);
    until("both are served", || (status(&first_slot)?["published"] == 2).then_some(()));
    for slot in [&first_slot, &second_slot] {
        assert_eq!(agent_of(slot), Some(agent.holder()));
    }
    assert_eq!(agent.stop(), Some(0));
    assert_eq!(agent_of(&first_slot), None);
    let mut ids = delivered(&servers);
    ids.sort();
    assert_eq!(ids, ["a-1", "a-2", "b-1"]);
}
