//! Kafka is away for half a minute under load, or for as many seconds as `KEYFERRY_TEST_OUTAGE` says: Keycloak does not notice, nothing is lost, and delivery goes on at once when it is back.
//!
//! What a listener does that waits for Kafka is not a matter of degree: each of its requests takes as long as the outage, and the server answers next
//! to none. That is what is tested anywhere. How slow the slowest request was and how soon delivery went on depends on the machine as well: it is always
//! printed, and held against limits where `KEYFERRY_TEST_TIME_LIMITS` is set, which is for a quiet machine.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use keyferry_tests::keycloak::Database;
use keyferry_tests::load::{Load, Requests};
use keyferry_tests::stage::{EVENTS, Stage};
use keyferry_tests::{audit, usage, wait};

const REALM: &str = "shop";
/// A realm that does not publish anything and must not notice either.
const BYSTANDER: &str = "bystander";
/// The variable that asks for another length of the outages, in seconds.
const OUTAGE_SECONDS: &str = "KEYFERRY_TEST_OUTAGE";
/// How long they are otherwise, in seconds.
const OUTAGE: u64 = 30;
/// No request waits so long for Kafka, nor for the greater part of a shorter outage.
const WAITED_FOR_KAFKA: Duration = Duration::from_secs(30);
const BEFORE: Duration = Duration::from_secs(5);
/// A server that waits for Kafka answers a worker once in the outage; one that does not, at least once in so many seconds.
const SECONDS_AN_ANSWER: u64 = 3;
const DELIVERY_LIMIT: Duration = Duration::from_secs(60);
/// The variable that asks for the limits of time.
const TIME_LIMITS: &str = "KEYFERRY_TEST_TIME_LIMITS";
/// How much slower the slowest hundredth may be during the outage than before it, on a quiet machine.
const SLOWER: u32 = 5;
/// How soon after Kafka's return delivery goes on, on a quiet machine.
const RETURN_LIMIT: Duration = Duration::from_secs(5);
/// What the agent's memory may grow by while the events of the outage wait for Kafka, in bytes. Its share for the backlog does not depend on the backlog.
const GROWTH: u64 = 64 * 1024 * 1024;

/// The ways in which a broker goes away.
#[derive(Debug, Clone, Copy)]
enum Outage {
    Killed,
    Stopped,
    Paused,
}

impl Outage {
    fn begin(self, stage: &mut Stage) {
        match self {
            Self::Killed => stage.kafka.kill().unwrap(),
            Self::Stopped => stage.kafka.stop().unwrap(),
            Self::Paused => stage.kafka.pause().unwrap(),
        }
    }

    fn end(self, stage: &mut Stage) {
        match self {
            Self::Killed | Self::Stopped => stage.kafka.start().unwrap(),
            Self::Paused => stage.kafka.resume().unwrap(),
        }
    }
}

/// How many of the workers belong to the bystander.
fn bystanders_of(workers: usize) -> usize {
    workers.div_ceil(8)
}

/// Clients of both realms.
struct Clients {
    shop: Load,
    bystander: Load,
}

impl Clients {
    fn start(stage: &Stage, workers: usize) -> Self {
        let address = stage.keycloak.address();
        let bystanders = bystanders_of(workers);
        Self {
            shop: Load::start(&address, REALM, workers - bystanders),
            bystander: Load::start(&address, BYSTANDER, bystanders),
        }
    }

    fn finish(self) -> [Requests; 2] {
        [self.shop.finish(), self.bystander.finish()]
    }
}

/// How long an outage is.
fn outage() -> Duration {
    let seconds =
        std::env::var(OUTAGE_SECONDS).map(|text| text.parse().expect("KEYFERRY_TEST_OUTAGE is a number"));
    Duration::from_secs(seconds.unwrap_or(OUTAGE))
}

fn survive(workers: usize, outages: &[Outage]) {
    let mut stage = Stage::prepare(Database::File).unwrap();
    stage.keycloak.compile_fully().start().unwrap();
    stage.admin.create_realm(REALM, &["kafka"]).unwrap();
    stage.admin.create_realm(BYSTANDER, &["jboss-logging"]).unwrap();
    // The first seconds of a JVM are slow whatever runs in it.
    let warm_up = Clients::start(&stage, workers);
    thread::sleep(BEFORE);
    warm_up.finish();
    let mut published = Requests::default();
    for outage in outages {
        published.extend(survive_one(&mut stage, workers, *outage));
        let records = stage.settle().unwrap();
        let lost = audit::lost(&published, &records);
        println!("  {} events, {} lost, {} copies", records.len(), lost.len(), audit::copies(&records));
        assert!(lost.is_empty(), "lost: {lost:?}");
        assert_eq!(audit::gaps(&records), BTreeMap::new());
    }
}

fn survive_one(stage: &mut Stage, workers: usize, outage: Outage) -> Requests {
    let agent = stage.keycloak.agent().expect("the agent is running");
    let clients = Clients::start(stage, workers);
    thread::sleep(BEFORE);
    let memory_before = usage::resident_memory(agent).expect("the agent is running");
    let (length, begin) = (self::outage(), Instant::now());
    outage.begin(stage);
    thread::sleep(length.saturating_sub(begin.elapsed()));
    let memory_during = usage::resident_memory(agent).expect("the agent is running");
    let end = Instant::now();
    outage.end(stage);
    let silence = first_delivery(stage, Instant::now());
    let [shop, bystander] = clients.finish();

    println!(
        "Kafka {outage:?} for {:?} under {workers} workers; first delivery {silence:?} after its return",
        end - begin
    );
    println!("  agent memory {} MiB before, {} MiB during", memory_before >> 20, memory_during >> 20);
    let has_limits = std::env::var_os(TIME_LIMITS).is_some();
    let bystanders = bystanders_of(workers);
    for (realm, workers, requests) in
        [(REALM, workers - bystanders, &shop), (BYSTANDER, bystanders, &bystander)]
    {
        let before = requests.sent_between(begin - BEFORE, begin);
        let during = requests.sent_between(begin, end);
        println!(
            "  {realm}: {} requests before, p99 {:?}; {} during, p99 {:?}, slowest {:?}",
            before.len(),
            before.latency(0.99),
            during.len(),
            during.latency(0.99),
            during.latency(1.0)
        );
        assert_eq!(requests.failures().next(), None, "a request of {realm} failed");
        assert!(
            during.latency(1.0) < WAITED_FOR_KAFKA.min(length * 4 / 5),
            "a request of {realm} waited for Kafka"
        );
        let answers = (length.as_secs() / SECONDS_AN_ANSWER) as usize;
        assert!(during.len() >= workers * answers, "requests of {realm} waited for Kafka");
        assert!(
            !has_limits || during.latency(0.99) <= before.latency(0.99) * SLOWER,
            "requests of {realm} were slowed down"
        );
    }
    assert!(!has_limits || silence <= RETURN_LIMIT, "delivery went on only {silence:?} after Kafka's return");
    assert!(memory_during <= memory_before + GROWTH, "the agent's memory grew with the backlog");
    shop
}

/// How long after its return the broker stores more than it had before. The load goes on, so there is always more to store.
fn first_delivery(stage: &Stage, back: Instant) -> Duration {
    let stored = || stage.kafka.stored(EVENTS).ok();
    let before = wait::until("an answer of Kafka", DELIVERY_LIMIT, stored).unwrap();
    let is_more = || stored().is_some_and(|now| now > before);
    wait::until("the first delivery after the outage", DELIVERY_LIMIT, || is_more().then_some(())).unwrap();
    back.elapsed()
}

#[test]
fn keycloak_does_not_notice_an_outage_of_kafka_under_8_workers() {
    survive(8, &[Outage::Killed, Outage::Stopped, Outage::Paused]);
}

#[test]
fn keycloak_does_not_notice_an_outage_of_kafka_under_64_workers() {
    survive(64, &[Outage::Killed, Outage::Paused]);
}
