//! Two destinations and two brokers, one of which is away for a while: the other does not notice, and each gets everything, in order and once. Others get it in other formats.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::Duration;

use keyferry_event::format::{ECS_VERSION, OCSF_VERSION};
use keyferry_journal::SegmentName;
use keyferry_tests::agent::{self, Agent};
use keyferry_tests::consumer::{Consumer, Record};
use keyferry_tests::journal::Journal;
use keyferry_tests::kafka::{self, Kafka};
use keyferry_tests::tally::Tally;
use keyferry_tests::traffic::Traffic;
use keyferry_tests::wait;
use xtask::cache::Cache;

/// Small, so that many are full while a broker is away.
const SEGMENT: u64 = 64 * 1024;
const RATE: u32 = 500;
const AWAY: Duration = Duration::from_secs(4);
const LIMIT: Duration = Duration::from_secs(60);

fn destination(name: &str, servers: &str, topic: &str) -> String {
    format!(
        "[[destination]]\nname = \"{name}\"\nbootstrap_servers = \"{servers}\"\ntopic_events = \"{topic}\"\n"
    )
}

fn segments(slot: &Path) -> usize {
    let entries = std::fs::read_dir(slot).unwrap().flatten();
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<SegmentName>().is_ok()))
        .count()
}

/// Whether a record is of this format, has the id that its headers have, and tells of a login.
fn assert_is_login(format: &str, record: &Record) {
    let [id, version, meaning] = match format {
        "cloudevents" => ["id", "specversion", "data/type"],
        "ocsf" => ["metadata/uid", "metadata/version", "metadata/event_code"],
        _ => ["event/id", "ecs/version", "event/action"],
    };
    let expected = match format {
        "cloudevents" => "1.0",
        "ocsf" => OCSF_VERSION,
        _ => ECS_VERSION,
    };
    let told = [id, version, meaning].map(|place| record.field(place));
    assert_eq!(told, [record.header("ce_id"), expected, "LOGIN"], "{record:?}");
}

#[test]
fn a_broker_that_is_away_delays_only_its_own_destination() {
    let directory = tempfile::tempdir().unwrap();
    let near = kafka::shared().unwrap();
    let mut far = Kafka::start_new(&Cache::from_environment().unwrap(), directory.path()).unwrap();
    let topic = kafka::fresh_topic("destinations");
    near.create_topic(&topic, kafka::PARTITIONS).unwrap();
    far.create_topic(&topic, kafka::PARTITIONS).unwrap();
    let journal = Journal::begin(&directory.path().join("journal"), "event", SEGMENT).unwrap().padded(200);
    let slot = journal.slot().to_owned();
    let others = ["cloudevents", "ocsf", "ecs"].map(|format| (format, format!("{topic}-{format}")));
    let mut configuration = destination("near", &near.bootstrap_servers(), &topic)
        + &destination("far", &far.bootstrap_servers(), &topic);
    for (format, topic) in &others {
        near.create_topic(topic, kafka::PARTITIONS).unwrap();
        configuration += &destination(format, &near.bootstrap_servers(), topic);
        configuration += &format!("format = \"{format}\"\n");
    }
    let executable = agent::under_test().unwrap();
    let mut agent = Agent::configured(&executable, directory.path(), &slot, &configuration).unwrap();
    let tallies = [near.bootstrap_servers(), far.bootstrap_servers()]
        .map(|servers| Tally::start(&servers, &topic, journal.written()));
    agent.start().unwrap();
    let traffic = Traffic::start(journal, RATE);
    for tally in &tallies {
        tally.wait_beyond(0, LIMIT).map_err(|error| error.with_log(agent.log())).unwrap();
    }

    far.kill().unwrap();
    thread::sleep(AWAY);
    let written = traffic.written();
    let latency = tallies[0].wait_beyond(written.transactions(), LIMIT).unwrap();
    println!("with one broker away, an event reached the other destination after {latency:?}");
    assert!(tallies[1].newest() < written.transactions(), "the broker was not away");
    wait::until("segments stay that one destination needs", LIMIT, || (segments(&slot) > 4).then_some(()))
        .unwrap();

    far.start().unwrap();
    let journal = traffic.finish().unwrap();
    for tally in &tallies {
        tally.wait_for(journal.written(), LIMIT).map_err(|error| error.with_log(agent.log())).unwrap();
        let ledger = tally.ledger();
        let faults = ledger.judge(journal.written());
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        println!("{} events, {} copies", journal.written().committed(), ledger.copies());
    }
    let committed = journal.written().committed() as usize;
    let is_whole =
        |records: &[Record]| records.iter().map(Record::place).collect::<BTreeSet<_>>().len() >= committed;
    for (format, topic) in &others {
        let mut consumer = Consumer::new(&near.bootstrap_servers(), topic).unwrap();
        for record in consumer.wait_until(&format!("every event as {format}"), LIMIT, is_whole).unwrap() {
            assert_is_login(format, record);
        }
    }
    wait::until("segments go when both have them", LIMIT, || (segments(&slot) == 1).then_some(())).unwrap();
}
