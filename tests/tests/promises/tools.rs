//! What an operator does with the tools: the agent's own binary, on real Kafka and on a journal that is written here.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keyferry_tests::agent::{self, Agent};
use keyferry_tests::consumer::{Consumer, Record};
use keyferry_tests::journal::Journal;
use keyferry_tests::kafka::Kafka;
use keyferry_tests::stage::{ADMIN_EVENTS, EVENTS, jar};
use keyferry_tests::wait;
use serde_json::Value;
use tempfile::TempDir;

/// Small, so that what is delivered lies in many segments.
const SEGMENT: u64 = 16 * 1024;
/// Transactions that are written; a tenth of them is rolled back.
const TRANSACTIONS: u64 = 1_000;
const LIMIT: Duration = Duration::from_secs(60);

/// Kafka, a journal, an agent of it, and the binary that is also the tools.
struct Desk {
    executable: PathBuf,
    agent: Agent,
    journal: Journal,
    kafka: Kafka,
    directory: TempDir,
}

/// How a tool ended, and what it printed.
struct Answer {
    code: Option<i32>,
    text: String,
}

impl Answer {
    /// The one line of JSON.
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Desk {
    /// An agent with a line more of configuration for its destination, and one for its journal.
    fn start(destination: &str, journal: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place: &Path = directory.path();
        let kafka = Kafka::start_with_topics(place).unwrap();
        let executable = agent::unpack(&jar().unwrap(), place).unwrap();
        let written = Journal::begin(&place.join("journal"), "event", SEGMENT).unwrap();
        let servers = kafka.bootstrap_servers();
        let mut agent =
            Agent::new(&executable, place, written.slot(), &servers, [EVENTS, ADMIN_EVENTS]).unwrap();
        let configuration = place.join("keyferry.toml");
        let text = std::fs::read_to_string(&configuration).unwrap();
        std::fs::write(&configuration, format!("{text}{destination}\n[journal]\n{journal}\n")).unwrap();
        agent.start().unwrap();
        Self { executable, agent, journal: written, kafka, directory }
    }

    fn journal_directory(&self) -> PathBuf {
        self.directory.path().join("journal")
    }

    /// Runs a tool with the agent's configuration.
    fn tool(&self, arguments: &[&str]) -> Answer {
        let output = Command::new(&self.executable)
            .args(arguments)
            .env("KEYFERRY_CONFIG", self.directory.path().join("keyferry.toml"))
            .env("KEYFERRY_JOURNAL_DIR", self.journal_directory())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        Answer { code: output.status.code(), text: String::from_utf8(text).unwrap() }
    }

    fn wait_for_delivery(&self, records: u64) {
        wait::until("the delivery", LIMIT, || {
            self.agent.status().filter(|status| status["published"] == records && status["state"] == "idle")
        })
        .map_err(|error| error.with_log(self.agent.log()))
        .unwrap();
    }

    fn events(&self, number: usize) -> Vec<Record> {
        let mut consumer = Consumer::new(&self.kafka.bootstrap_servers(), EVENTS).unwrap();
        consumer.wait_until("the records", LIMIT, |records| records.len() >= number).unwrap().to_vec()
    }
}

/// The numbers of the marked and of the unmarked records.
fn numbers(records: &[Record]) -> [Vec<(String, String)>; 2] {
    let (again, first): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| !record.header("ce_replay").is_empty());
    [first, again].map(|records| {
        let mut numbers: Vec<_> = records
            .iter()
            .map(|record| (record.header("ce_sequence").to_owned(), record.header("ce_id").to_owned()))
            .collect();
        numbers.sort();
        numbers
    })
}

#[test]
fn what_was_delivered_is_verified_and_replayed_from_kept_segments() {
    let mut desk = Desk::start("", "keep = \"1h\"");
    desk.journal.write(TRANSACTIONS).unwrap();
    let committed = desk.journal.written().committed();
    desk.wait_for_delivery(committed as u64);

    let verified = desk.tool(&["verify", "--json"]);
    assert_eq!(
        (verified.json()["verdict"].as_str(), verified.code),
        (Some("complete"), Some(0)),
        "{}",
        verified.text
    );
    assert_eq!(verified.json()["epochs"][0]["last_sequence"], committed);

    let replayed =
        desk.tool(&["replay", "--from", "2020-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z", "--json"]);
    assert_eq!(
        (replayed.json()["sent"].as_u64(), replayed.code),
        (Some(committed as u64), Some(0)),
        "{}",
        replayed.text
    );
    let [first, again] = numbers(&desk.events(2 * committed));
    assert_eq!(first, again, "ids and numbers are those of the first time");

    let verified = desk.tool(&["verify", "--json"]);
    let epoch = &verified.json()["epochs"][0];
    assert_eq!(verified.code, Some(0), "{}", verified.text);
    assert_eq!((epoch["replayed"].as_u64(), epoch["duplicates"].as_u64()), (Some(committed as u64), Some(0)));
    println!("{}", desk.tool(&["verify"]).text);
}

#[test]
fn a_topic_without_records_or_that_is_not_there_proves_nothing() {
    let mut desk = Desk::start("", "");
    desk.journal.write(20).unwrap();
    desk.wait_for_delivery(18);
    let other = desk.tool(&["verify", "--topic", ADMIN_EVENTS]);
    assert_eq!(other.code, Some(1), "{}", other.text);
    let missing = desk.tool(&["verify", "--topic", "no-such-topic"]);
    assert_eq!(missing.code, Some(2), "{}", missing.text);
    assert!(missing.text.contains("no-such-topic"), "{}", missing.text);
}

/// A slot that a process has left behind whose only transaction has no outcome: its COMMIT and CLOSE were never written.
fn leave_behind_in_doubt(desk: &Desk) -> PathBuf {
    const COMMIT_AND_CLOSE: u64 = 40 + 32;
    let elsewhere = desk.directory.path().join("elsewhere");
    let mut journal = Journal::begin(&elsewhere, "doubtful", SEGMENT).unwrap();
    journal.write(1).unwrap();
    let segment = journal.slot().join(journal.segment(0));
    journal.close().unwrap();
    let file = std::fs::File::options().write(true).open(segment).unwrap();
    file.set_len(file.metadata().unwrap().len() - COMMIT_AND_CLOSE).unwrap();
    let slot = desk.journal_directory().join("slot-1");
    std::fs::rename(elsewhere.join("slot-0"), &slot).unwrap();
    slot
}

#[test]
fn an_event_in_doubt_is_held_until_an_operator_has_it_published() {
    let desk = Desk::start("in_doubt = \"hold\"", "");
    let slot = leave_behind_in_doubt(&desk);
    wait::until("the event is held", LIMIT, || {
        let text = std::fs::read(slot.join("status.json")).ok()?;
        let status: Value = serde_json::from_slice(&text).ok()?;
        (status["held"] == 1 && status["adopted"] == true).then_some(())
    })
    .map_err(|error| error.with_log(desk.agent.log()))
    .unwrap();
    let listed = desk.tool(&["in-doubt", "ls"]);
    assert!(listed.text.contains("id=doubtful-1"), "{}", listed.text);
    let published = desk.tool(&["in-doubt", "publish", "--id", "doubtful-1"]);
    assert_eq!(published.code, Some(0), "{}", published.text);
    let records = desk.events(1);
    assert_eq!((records[0].header("ce_id"), records[0].header("ce_outcome")), ("doubtful-1", "unknown"));
    assert_eq!(desk.tool(&["in-doubt", "ls"]).text, "nothing is held\n");
    let verified = desk.tool(&["verify"]);
    assert_eq!(verified.code, Some(0), "{}", verified.text);
    println!("{}{}{}{}", listed.text, published.text, verified.text, desk.tool(&["journal", "ls"]).text);
}
