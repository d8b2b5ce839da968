//! What the network and the broker do to the agent: nothing is lost, the order is kept, copies are recognisable, and delivery goes on.
//!
//! The bare agent on a journal that is written here: what was committed is known exactly, in its order.

use std::path::Path;
use std::thread;
use std::time::Duration;

use keyferry_tests::agent::{self, Agent};
use keyferry_tests::audit;
use keyferry_tests::consumer::{Consumer, Record};
use keyferry_tests::journal::{Journal, Written};
use keyferry_tests::kafka::Kafka;
use keyferry_tests::proxy::Link;
use keyferry_tests::stage::{ADMIN_EVENTS, EVENTS, jar};
use tempfile::TempDir;

/// Small, so that the agent passes segment borders while things go wrong.
const SEGMENT: u64 = 64 * 1024;
/// How much is written between two steps of a test, in transactions.
const PORTION: u64 = 500;
/// How long an evil lasts: long enough that connections and requests are in all states when it ends.
const EVIL: Duration = Duration::from_secs(4);
const DELIVERY_LIMIT: Duration = Duration::from_secs(120);

/// A journal, the agent, and Kafka behind the proxy.
struct Ferry {
    agent: Agent,
    journal: Journal,
    events: Consumer,
    kafka: Kafka,
    _directory: TempDir,
}

impl Ferry {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place: &Path = directory.path();
        let kafka = Kafka::start_with_topics(place).unwrap();
        let executable = agent::unpack(&jar().unwrap(), place).unwrap();
        let journal = Journal::begin(&place.join("journal"), "event", SEGMENT).unwrap();
        let servers = kafka.proxied_bootstrap_servers();
        let mut agent =
            Agent::new(&executable, place, journal.slot(), &servers, [EVENTS, ADMIN_EVENTS]).unwrap();
        agent.start().unwrap();
        let events = Consumer::new(&kafka.bootstrap_servers(), EVENTS).unwrap();
        let mut ferry = Self { agent, journal, events, kafka, _directory: directory };
        ferry.journal.write(PORTION).unwrap();
        ferry.wait_for_delivery();
        ferry
    }

    /// Waits until everything that was written has arrived, and returns all records.
    fn wait_for_delivery(&mut self) -> Vec<Record> {
        let count = self.journal.written().committed();
        let arrived =
            self.events.wait_until(&format!("the arrival of {count} events"), DELIVERY_LIMIT, |records| {
                audit::distinct(records) >= count
            });
        arrived.map_err(|error| error.with_log(self.agent.log())).unwrap().to_vec()
    }

    /// Writes while the network is in a state, and after it has come back.
    fn write_through(&mut self, link: Link) {
        self.kafka.proxy().set(link);
        self.journal.write(PORTION).unwrap();
        thread::sleep(EVIL);
        self.journal.write(PORTION).unwrap();
        self.kafka.proxy().set(Link::Up);
        self.journal.write(PORTION).unwrap();
    }

    /// Nothing lost, nothing invented, order kept, numbers complete. Returns the number of copies.
    fn check(&mut self) -> usize {
        let records = self.wait_for_delivery();
        let written: &Written = self.journal.written();
        assert_eq!(written.judge(&records), Vec::<String>::new());
        assert!(audit::gaps(&records).is_empty(), "{:?}", audit::gaps(&records));
        let copies = audit::copies(&records);
        println!("{} events, {} records, {copies} copies", written.committed(), records.len());
        copies
    }
}

#[test]
fn a_network_that_is_cut_again_and_again_loses_nothing() {
    let mut ferry = Ferry::start();
    for _ in 0..3 {
        ferry.write_through(Link::Cut);
        ferry.wait_for_delivery();
    }
    ferry.check();
}

#[test]
fn connections_that_break_every_moment_lose_nothing() {
    let mut ferry = Ferry::start();
    for _ in 0..20 {
        ferry.journal.write(PORTION / 5).unwrap();
        thread::sleep(Duration::from_millis(100));
        ferry.kafka.proxy().set(Link::Cut);
        ferry.kafka.proxy().set(Link::Up);
    }
    ferry.check();
}

#[test]
fn a_network_that_swallows_everything_for_a_while_loses_nothing() {
    let mut ferry = Ferry::start();
    ferry.write_through(Link::Stalled);
    ferry.check();
}

/// The broker has the records and the agent does not know: it sends them again after its own death, with the same ids and numbers.
#[test]
fn records_whose_acknowledgement_was_lost_come_again_as_copies_of_themselves() {
    let mut ferry = Ferry::start();
    ferry.kafka.proxy().set(Link::AnswersStalled);
    ferry.journal.write(PORTION).unwrap();
    let stored = ferry.journal.written().committed() as i64;
    keyferry_tests::wait::until("the broker's having something unacknowledged", DELIVERY_LIMIT, || {
        ferry.kafka.stored(EVENTS).ok().filter(|now| *now > stored - PORTION as i64 * 9 / 10)
    })
    .unwrap();
    ferry.agent.kill().unwrap();
    ferry.kafka.proxy().set(Link::Cut);
    ferry.kafka.proxy().set(Link::Up);
    ferry.agent.start().unwrap();
    assert!(ferry.check() > 0, "nothing was unacknowledged when the agent was killed");
}

#[test]
fn a_slow_link_loses_nothing() {
    let mut ferry = Ferry::start();
    ferry.write_through(Link::Slow { delay: Duration::from_millis(150), bytes_per_second: 32 * 1024 });
    ferry.check();
}

#[test]
fn a_broker_that_is_frozen_and_goes_on_loses_nothing() {
    let mut ferry = Ferry::start();
    for _ in 0..2 {
        ferry.kafka.pause().unwrap();
        ferry.journal.write(PORTION).unwrap();
        thread::sleep(EVIL);
        ferry.journal.write(PORTION).unwrap();
        ferry.kafka.resume().unwrap();
        ferry.journal.write(PORTION).unwrap();
        ferry.wait_for_delivery();
    }
    ferry.check();
}
