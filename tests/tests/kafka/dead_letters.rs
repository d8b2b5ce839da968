//! Records that Kafka can never take: they leave the stream with a trace, the others go on in order, and an operator brings them back.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use keyferry_tests::agent::{self, Agent};
use keyferry_tests::consumer::{Consumer, Record};
use keyferry_tests::journal::{Journal, Written};
use keyferry_tests::kafka::{self, Kafka};
use keyferry_tests::wait;
use serde_json::Value;

const SEGMENT: u64 = 256 * 1024;
const LIMIT: Duration = Duration::from_secs(60);

/// What the topic takes, what the agent sends, and events beyond the one and the other, in bytes. The dead-letter topic has the broker's default of 1 MiB.
const TOPIC_TAKES: &str = "20000";
const AGENT_SENDS: &str = "100KiB";
const TOO_LARGE_FOR_TOPIC: usize = 40_000;
const TOO_LARGE_FOR_AGENT: usize = 200_000;

/// A journal of one slot, the agent that ships it, and the command line beside it.
struct Scene {
    kafka: &'static Kafka,
    topic: String,
    dead_letter_topic: String,
    journal: Journal,
    agent: Agent,
    directory: tempfile::TempDir,
}

impl Scene {
    fn set() -> Self {
        let (kafka, directory) = (kafka::shared().unwrap(), tempfile::tempdir().unwrap());
        let (topic, dead_letter_topic) = (kafka::fresh_topic("letters"), kafka::fresh_topic("dead-letters"));
        for name in [&topic, &dead_letter_topic] {
            kafka.create_topic(name, kafka::PARTITIONS).unwrap();
        }
        kafka.configure_topic(&topic, "max.message.bytes", TOPIC_TAKES).unwrap();
        let journal = Journal::begin(&directory.path().join("journal"), "event", SEGMENT).unwrap();
        let executable = agent::under_test().unwrap();
        let agent = Agent::configured(&executable, directory.path(), journal.slot(), "").unwrap();
        Self { kafka, topic, dead_letter_topic, journal, agent, directory }
    }

    /// Lines of the agent's configuration; what is written there counts from its next start.
    fn configure(&self, agent_sends: &str, has_topic: bool) {
        let (servers, topic) = (self.kafka.bootstrap_servers(), &self.topic);
        let dead_letters = if has_topic {
            format!("dead_letter_topic = \"{}\"\n", self.dead_letter_topic)
        } else {
            String::new()
        };
        // The topic's limit is one of the compressed batch, and x after x is compressed well.
        let delivery =
            format!("[destination.delivery]\ncompression = \"none\"\nmax_request_size = \"{agent_sends}\"\n");
        let text = agent::destination(&servers, [topic, topic]) + &dead_letters + &delivery;
        self.agent.configure(&text).unwrap();
    }

    fn write(&mut self, transactions: u64) {
        self.journal.write(transactions).unwrap();
    }

    /// Writes one event that is so much larger than the others, and answers its id.
    fn write_large(&mut self, bytes: usize) -> String {
        self.journal.pad(bytes);
        self.journal.write(1).unwrap();
        self.journal.pad(0);
        let written = self.journal.written();
        assert!(Written::is_committed(written.transactions()), "the large one was rolled back");
        written.id(written.transactions())
    }

    /// Waits until the checkpoint has passed everything.
    fn wait_until_idle(&mut self) -> Value {
        let idle = |status: &Value| status["backlog_bytes"] == 0;
        wait::until("everything is passed", LIMIT, || {
            let status = self.agent.wait_for_state("idle", LIMIT).unwrap();
            Some(status).filter(idle)
        })
        .map_err(|error| error.with_log(self.agent.log()))
        .unwrap()
    }

    /// What `keyferry dead-letter` prints, and its exit code.
    fn tool(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let mut command = Command::new(self.agent.executable());
        command.arg("dead-letter").args(arguments).arg(self.directory.path().join("journal"));
        let output = command.output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    }

    /// As [`Self::tool`], with the agent's configuration.
    fn retry(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let config = self.directory.path().join("keyferry.toml");
        self.tool(&[&["retry", "--config", config.to_str().unwrap()], arguments].concat())
    }

    /// What lies in the file, as the command tells it to programs.
    fn letters(&self) -> Vec<Value> {
        let (text, code) = self.tool(&["ls", "--json"]);
        assert_eq!(code, Some(0), "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn letter_ids(&self) -> Vec<String> {
        self.letters().iter().map(|letter| letter["headers"]["ce_id"].as_str().unwrap().to_owned()).collect()
    }

    fn read(&self, topic: &str) -> Vec<Record> {
        let mut consumer = Consumer::new(&self.kafka.bootstrap_servers(), topic).unwrap();
        consumer.wait_until("the topic is read", LIMIT, |_| true).unwrap().to_vec()
    }

    /// The events arrived but for `dead`, for each user in their order.
    fn judge(&self, records: &[Record], dead: &[&String]) {
        let lost: BTreeSet<String> = dead.iter().map(|id| format!("lost: {id}")).collect();
        let found: BTreeSet<String> = self.journal.written().judge(records).into_iter().collect();
        assert_eq!(found, lost);
    }
}

fn sequences<'a>(records: impl IntoIterator<Item = &'a Record>) -> BTreeSet<u64> {
    records.into_iter().map(|record| record.header("ce_sequence").parse().unwrap()).collect()
}

fn of<'a>(records: &'a [Record], id: &'a str) -> Vec<&'a Record> {
    records.iter().filter(|record| record.header("ce_id") == id).collect()
}

#[test]
fn what_can_never_be_delivered_leaves_the_stream_and_comes_back_by_an_operators_word() {
    let mut scene = Scene::set();
    scene.configure(AGENT_SENDS, true);
    scene.write(4);
    let refused = scene.write_large(TOO_LARGE_FOR_TOPIC);
    scene.write(6);
    let unsendable = scene.write_large(TOO_LARGE_FOR_AGENT);
    scene.write(11);
    scene.agent.start().unwrap();
    let status = scene.wait_until_idle();
    let counted = |name: &str| status[name].as_u64();
    let committed = scene.journal.written().committed() as u64;
    assert!(counted("published") >= Some(committed - 2), "{status}");
    assert_eq!((counted("dead_letters"), counted("dead_letters_in_topic")), (Some(2), Some(1)), "{status}");
    scene.judge(&scene.read(&scene.topic), &[&refused, &unsendable]);
    let in_topic = scene.read(&scene.dead_letter_topic);
    let [letter] = &in_topic[..] else { panic!("{in_topic:?}") };
    assert_eq!(letter.header("ce_id"), refused);
    assert_eq!(letter.header("keyferry_dead_letter_topic"), scene.topic);
    assert!(letter.header("keyferry_dead_letter_cause").contains("max.message.bytes"), "{letter:?}");
    assert_eq!(letter.header("keyferry_dead_letter_class"), "poison");
    let (listed, _) = scene.tool(&["ls"]);
    assert!(listed.starts_with("slot-0: 1 dead letter of default\n"), "{listed}");
    assert!(listed.contains(&unsendable) && listed.contains("does not take it either"), "{listed}");

    // Without a topic, and with a death as soon as the first letter lies in the file: what comes before it may not have been acknowledged by then.
    scene.agent.kill().unwrap();
    scene.configure(AGENT_SENDS, false);
    scene.write(1_000);
    let retried = scene.write_large(TOO_LARGE_FOR_TOPIC);
    scene.write(1_002);
    let dropped = scene.write_large(TOO_LARGE_FOR_TOPIC);
    scene.write(1_000);
    let file = scene.agent.slot().join("default.dead-letters.jsonl");
    let before = std::fs::metadata(&file).unwrap().len();
    scene.agent.start().unwrap();
    wait::until("a letter is laid aside", LIMIT, || {
        (std::fs::metadata(&file).unwrap().len() > before).then_some(())
    })
    .map_err(|error| error.with_log(scene.agent.log()))
    .unwrap();
    scene.agent.kill().unwrap();
    scene.agent.start().unwrap();
    scene.wait_until_idle();
    scene.judge(&scene.read(&scene.topic), &[&refused, &unsendable, &retried, &dropped]);
    assert_eq!(scene.letter_ids(), [&unsendable, &retried, &dropped].map(String::as_str));
    let (shown, _) = scene.tool(&["show", "--id", &retried]);
    assert!(shown.contains("max.message.bytes") && shown.contains(&scene.topic), "{shown}");

    // As long as the cause is there, they stay.
    let (again, code) = scene.retry(&["--all", "--json"]);
    let outcome: Value = serde_json::from_str(&again).unwrap();
    assert_eq!((&outcome["delivered"], code), (&0.into(), Some(1)), "{again}");
    assert_eq!(outcome["refused"].as_array().unwrap().len(), 3, "{again}");
    assert_eq!(scene.letter_ids().len(), 3, "what is refused again stays");

    scene.kafka.configure_topic(&scene.topic, "max.message.bytes", "1000000").unwrap();
    scene.configure("1MiB", false);
    let (gone, code) = scene.tool(&["drop", "--id", &dropped]);
    assert_eq!((gone.as_str(), code), ("slot-0: 1 dead letter of default dropped\n", Some(0)));
    let (delivered, code) = scene.retry(&["--all"]);
    assert_eq!((delivered.as_str(), code), ("slot-0: 2 dead letters of default delivered\n", Some(0)));
    assert_eq!(scene.letters(), Vec::<Value>::new());
    let records = scene.read(&scene.topic);
    for id in [&unsendable, &retried] {
        let found = of(&records, id);
        assert_eq!(found.len(), 1, "{id} was delivered {} times", found.len());
        assert!(found[0].header("ce_replay").ends_with('Z'), "{:?}", found[0].headers);
    }
    assert_eq!(of(&records, &dropped).len(), 0, "what was dropped is gone");
    let mut numbers = sequences(records.iter().chain(&in_topic));
    let last = *numbers.last().unwrap();
    assert_eq!(last, scene.journal.written().committed() as u64, "each event has one number");
    let missing: Vec<u64> = (1..=last).filter(|number| !numbers.remove(number)).collect();
    assert_eq!(missing.len(), 1, "every number but that of the dropped one is there: {missing:?}");
    assert_eq!(scene.agent.stop().unwrap().code(), Some(0));
}
