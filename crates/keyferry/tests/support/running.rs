//! Running agents on journals of their own, and librdkafka's mock cluster.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keyferry_journal::event::{EventEncoder, EventKind, Field};
use keyferry_journal::slot::{AGENT_LOCK, OwnedSlot};
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{LockHolder, Writer};
use keyferry_kafka::consume::TopicReader;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::keyferry;

/// Nothing here takes nearly as long; what has not happened by then does not happen.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Nobody listens there.
pub const NOWHERE: &str = "127.0.0.1:1";

pub fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("events", 1, 1).unwrap();
    cluster
}

pub fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
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
pub struct Agent(pub Child);

impl Agent {
    pub fn start(journal: &Path, servers: &str, arguments: &[&str]) -> Self {
        Self::start_with(journal, servers, "", arguments)
    }

    /// The same with `further` lines of configuration, which begin in the table of the destination.
    pub fn start_with(journal: &Path, servers: &str, further: &str, arguments: &[&str]) -> Self {
        let text = format!(
            "[destination]\nbootstrap_servers = \"{servers}\"\ntopic_events = \"events\"\n{further}\n"
        );
        Self::configured(journal, &text, arguments)
    }

    /// The same with a configuration file of its own.
    pub fn configured(journal: &Path, text: &str, arguments: &[&str]) -> Self {
        let config = journal.join("keyferry.toml");
        fs::write(&config, text).unwrap();
        let arguments = [&["run", "--config", config.to_str().unwrap()], arguments].concat();
        Self(keyferry(journal, &arguments).spawn().unwrap())
    }

    pub fn start_child(slot: &Path, servers: &str) -> Self {
        Self::hand_over(keyferry(slot, &["run", "--child"]), slot, servers)
    }

    /// The same with a configuration file, named as a parent names it.
    pub fn start_child_with(slot: &Path, servers: &str, config: &Path) -> Self {
        let mut command = keyferry(slot, &["run", "--child"]);
        command.env("KEYFERRY_CONFIG", config);
        Self::hand_over(command, slot, servers)
    }

    fn hand_over(mut command: Command, slot: &Path, servers: &str) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let line = serde_json::json!({
            "version": 1, "slot": slot, "node": "kc-1", "provider": "0", "keycloak": "0",
            "options": { "bootstrap-servers": servers, "topic-events": "events" },
        });
        writeln!(child.stdin.as_mut().unwrap(), "{line}").unwrap();
        Self(child)
    }

    pub fn holder(&self) -> LockHolder {
        LockHolder::Process(i32::try_from(self.0.id()).unwrap())
    }

    /// Tells it to stop and answers its exit code.
    pub fn stop(mut self) -> Option<i32> {
        drop(self.0.stdin.take());
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        self.ended()
    }

    pub fn ended(&mut self) -> Option<i32> {
        until("the end of the agent", || self.0.try_wait().unwrap()).code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub type SlotWriter = Writer<OwnedSlot, fn() -> u64>;

/// A writer on the slot `number`, and where that is. The slot is made elsewhere and moved with its lock: a process that holds the lock of one slot of a
/// journal cannot look for a free one there, because it is given its own once more.
pub fn begin(journal: &Path, number: u8) -> (SlotWriter, PathBuf) {
    let elsewhere = journal.join(format!("begin-{number}"));
    let writer = begin_in(&elsewhere, number);
    let path = journal.join(format!("slot-{number}"));
    fs::rename(elsewhere.join("slot-0"), &path).unwrap();
    (writer, path)
}

/// A writer on the journal's first free slot, with epochs of the slot `number`.
pub fn begin_in(journal: &Path, number: u8) -> SlotWriter {
    begin_with_segments(journal, number, WriterOptions::default().segment_size)
}

/// The same with segments of a size in bytes.
pub fn begin_with_segments(journal: &Path, number: u8, segment_size: u64) -> SlotWriter {
    let options = WriterOptions { node: format!("kc-{number}"), segment_size };
    let clock = (|| 1_764_000_000_000) as fn() -> u64;
    Writer::begin(OwnedSlot::claim(journal).unwrap(), number, clock, options).unwrap()
}

pub fn prepare(writer: &mut SlotWriter, id: &str) -> u64 {
    let mut events = EventEncoder::new();
    events.push(EventKind::User, 1, &[(Field::Id, id), (Field::UserId, "u-1")], b"{}");
    let transaction = writer.next_transaction();
    writer.prepare(transaction, events.payload()).unwrap();
    transaction
}

pub fn commit(writer: &mut SlotWriter, ids: &[&str]) {
    for id in ids {
        let transaction = prepare(writer, id);
        writer.commit(transaction).unwrap();
    }
}

/// A record's headers.
pub type Headers = std::collections::BTreeMap<String, String>;

/// The headers of the records in the topic, in their order.
pub fn records(servers: &str, topic: &str) -> Vec<Headers> {
    let properties = [("bootstrap.servers".to_owned(), servers.to_owned())];
    let reader = TopicReader::open(properties, &[topic.to_owned()], LIMIT).unwrap();
    let mut records = Vec::new();
    reader
        .read(|received, _| {
            let mut headers = Headers::new();
            received.each_header(|name, value| {
                headers.insert(name.to_owned(), String::from_utf8_lossy(value).into_owned());
            });
            records.push(headers);
        })
        .unwrap();
    records
}

/// The ids of the records in the topic `events`.
pub fn delivered(servers: &str) -> Vec<String> {
    records(servers, "events").into_iter().map(|mut headers| headers.remove("ce_id").unwrap()).collect()
}

pub fn agent_of(slot: &Path) -> Option<LockHolder> {
    LockHolder::of(slot, AGENT_LOCK).unwrap()
}

pub fn status(slot: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(slot.join("status.json")).ok()?).ok()
}
