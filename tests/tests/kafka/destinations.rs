//! Two destinations and two brokers, one of which is away for a while: the other does not notice, and each gets everything, in order and once. A third one gets it in another format.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::Duration;

use keyferry_event::format::OCSF_VERSION;
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
    let for_siem = format!("{topic}-siem");
    near.create_topic(&for_siem, kafka::PARTITIONS).unwrap();
    let configuration = destination("near", &near.bootstrap_servers(), &topic)
        + &destination("far", &far.bootstrap_servers(), &topic)
        + &destination("siem", &near.bootstrap_servers(), &for_siem)
        + "format = \"ocsf\"\n";
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
    let mut siem = Consumer::new(&near.bootstrap_servers(), &for_siem).unwrap();
    let is_whole =
        |records: &[Record]| records.iter().map(Record::place).collect::<BTreeSet<_>>().len() >= committed;
    for record in siem.wait_until("every event in the other format", LIMIT, is_whole).unwrap() {
        let (uid, version) = (record.field("metadata/uid"), record.field("metadata/version"));
        assert_eq!((uid, version), (record.header("ce_id"), OCSF_VERSION), "{record:?}");
        assert_eq!(record.json["class_uid"], 3002, "a login is an authentication");
    }
    wait::until("segments go when both have them", LIMIT, || (segments(&slot) == 1).then_some(())).unwrap();
}
