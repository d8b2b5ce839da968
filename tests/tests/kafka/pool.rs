//! Connections that are replaced under load: whatever is changed and whatever happens meanwhile, nothing is lost, doubled or reordered.
//!
//! The pipeline runs in this process, so that a test holds the pool's handle and sees what it tells of itself.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyferry_event::{HeaderMode, Topics};
use keyferry_journal::storage::Segment;
use keyferry_journal::{Feed, FeedOptions, SegmentName, SlotDirectory, Storage, Watch};
use keyferry_kafka::pool::EndedSwap;
use keyferry_kafka::topics::{Severity, TopicPolicy, TopicPresence, TopicTemplate};
use keyferry_kafka::{ConnectionPoolManager, PoolHandle, PoolSettings, PoolSnapshot, ProducerSettings};
use keyferry_pipeline::schemas::NoSchemas;
use keyferry_pipeline::{
    Credit, DrainLimits, Ended, InDoubt, LowPriority, Pipeline, Retention, Settings, SideFiles, Start, Stop,
    backpressure, breaker, run,
};
use keyferry_tests::journal::Journal;
use keyferry_tests::kafka::{self, Kafka};
use keyferry_tests::tally::{Ledger, Tally};
use keyferry_tests::traffic::Traffic;
use keyferry_tests::wait;
use rustix::event::{EventfdFlags, eventfd};
use tempfile::TempDir;
use xtask::cache::Cache;

/// Small, so that the pipeline passes segment borders while connections are replaced.
const SEGMENT: u64 = 4 << 20;
/// Events a second, if the machine gives it; nothing depends on that.
const FULL_RATE: u32 = 20_000;
const USERS: u64 = 500;
/// Longer than a new generation is given.
const SWAP_LIMIT: Duration = Duration::from_secs(120);
const DELIVERY_LIMIT: Duration = Duration::from_secs(60);

/// A journal that is written to, the pipeline with its pool, and a reader that judges.
struct Pooled {
    handle: PoolHandle,
    traffic: Traffic,
    tally: Tally,
    stop: Arc<OwnedFd>,
    pipeline: JoinHandle<Ended>,
    directory: TempDir,
}

struct Word(Arc<OwnedFd>);

impl Stop for Word {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.0.as_fd()]
    }

    fn is_given(&mut self) -> bool {
        true
    }
}

/// A slot whose writer is this process: POSIX locks do not tell a process of its own, so that the writer would seem dead.
struct WrittenHere(SlotDirectory);

impl Storage for WrittenHere {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn list(&mut self) -> io::Result<Vec<Segment>> {
        self.0.list()
    }

    fn read_at(&mut self, segment: SegmentName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(segment, offset, buffer)
    }

    fn length(&mut self, segment: SegmentName) -> io::Result<u64> {
        self.0.length(segment)
    }

    fn writer_alive(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn remove(&mut self, segment: SegmentName) -> io::Result<()> {
        self.0.remove(segment)
    }

    fn read_checkpoint(&mut self, destination: &str) -> io::Result<Vec<u8>> {
        self.0.read_checkpoint(destination)
    }

    fn write_checkpoint(&mut self, destination: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_checkpoint(destination, offset, bytes)
    }

    fn sync_checkpoint(&mut self, destination: &str) -> io::Result<()> {
        self.0.sync_checkpoint(destination)
    }
}

impl Pooled {
    fn start(producer: ProducerSettings, pool: PoolSettings, reader_servers: &str, rate: u32) -> Self {
        let topic = pool.topics[0].clone();
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::begin(directory.path(), "event", SEGMENT).unwrap().padded(300).of_users(USERS);
        let slot = journal.slot().to_owned();
        let tally = Tally::start(reader_servers, &topic, journal.written());
        let (sink, handle) = ConnectionPoolManager::new(producer, pool).unwrap();
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        let word = Word(Arc::clone(&stop));
        let pipeline = thread::spawn(move || deliver(&slot, &topic, sink, word));
        let traffic = Traffic::start(journal, rate);
        Self { handle, traffic, tally, stop, pipeline, directory }
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(&PoolSnapshot) -> bool) -> PoolSnapshot {
        let probe = || Some(self.handle.snapshot()).filter(&is_so);
        wait::until(what, SWAP_LIMIT, probe)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.handle.snapshot()))
    }

    /// Waits until a replacement for `cause` has ended, and says how.
    fn wait_for_end_of(&self, cause: &str) -> EndedSwap {
        let has_ended =
            |snapshot: &PoolSnapshot| snapshot.last_swap.as_ref().is_some_and(|swap| swap.cause == cause);
        let snapshot = self.wait_for(&format!("the end of the replacement for {cause}"), has_ended);
        snapshot.last_swap.unwrap()
    }

    /// Something that is written from now on has arrived.
    fn wait_for_delivery(&self) {
        let now = self.traffic.written().transactions();
        self.tally.wait_beyond(now, DELIVERY_LIMIT).unwrap();
    }

    /// Stops writing, waits until everything has arrived, and judges.
    fn settle(self) -> Ledger {
        let written = self.traffic.finish().unwrap().written().clone();
        self.tally
            .wait_for(&written, DELIVERY_LIMIT)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.handle.snapshot()));
        rustix::io::write(&*self.stop, &1_u64.to_ne_bytes()).unwrap();
        assert_eq!(self.pipeline.join().unwrap(), Ended::Drained);
        let ledger = self.tally.ledger();
        let faults = ledger.judge(&written);
        if !faults.is_empty() {
            let place = self.directory.keep();
            panic!(
                "{}; {} were committed; the journal is kept in {}",
                faults.join("\n"),
                written.committed(),
                place.display()
            );
        }
        println!("{} events in {} records", written.committed(), ledger.records());
        ledger
    }
}

fn deliver(slot: &Path, topic: &str, sink: ConnectionPoolManager, mut stop: Word) -> Ended {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let settings = settings(topic);
    let mut storage = WrittenHere(SlotDirectory::open(slot).unwrap());
    let mut aside = SideFiles::of(slot, "kafka");
    let start = Start::find(&mut storage, &mut aside, "kafka", &settings.topics, now).unwrap();
    let feed = Feed::open(storage, start.resume(), FeedOptions::default()).unwrap();
    let mut pipeline = Pipeline::new(feed, start, sink, aside, settings);
    let limits = DrainLimits { total: Duration::from_secs(30), stalled: Duration::from_secs(30) };
    run(&mut pipeline, &mut Watch::new(slot), &mut stop, limits, &mut |_, _| {}).unwrap()
}

fn settings(topic: &str) -> Settings {
    Settings {
        topics: Topics { events: Some(topic.to_owned()), admin_events: None },
        content: keyferry_event::Content::default(),
        headers: HeaderMode::CloudEvents,
        in_doubt: InDoubt::Publish,
        dead_letter_topic: None,
        gap_records: true,
        settle_delay: Duration::ZERO,
        ceiling: None,
        retention: Retention::default(),
        credit: Credit { bytes: 24 << 20, records: 20_000 },
        delivery_timeout: Duration::from_secs(120),
        breaker: breaker::Settings::default(),
        backpressure: backpressure::Settings::default(),
        low_priority: LowPriority::default(),
        controls: Arc::default(),
        meter: Arc::default(),
        schemas: Arc::new(NoSchemas),
        seed: 1,
    }
}

/// What the agent tells the client, as far as it matters here.
fn producer(servers: &str, more: &[(&str, &str)]) -> ProducerSettings {
    let usual = [
        ("bootstrap.servers", servers),
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("enable.gapless.guarantee", "true"),
        ("message.timeout.ms", "0"),
        ("delivery.report.only.error", "false"),
        ("partitioner", "murmur2_random"),
        ("linger.ms", "10"),
        ("batch.size", "65536"),
        ("compression.type", "lz4"),
        ("queue.buffering.max.kbytes", "32768"),
        ("message.max.bytes", "1048576"),
        ("reconnect.backoff.max.ms", "1000"),
    ];
    let all = usual.iter().chain(more);
    ProducerSettings::new(all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn pool(topic: &str) -> PoolSettings {
    PoolSettings { warm_up_timeout: Duration::from_secs(60), ..PoolSettings::for_topics([topic.to_owned()]) }
}

fn shared_topic(purpose: &str) -> (&'static Kafka, String) {
    let kafka = kafka::shared().unwrap();
    let topic = kafka::fresh_topic(purpose);
    kafka.create_topic(&topic, 6).unwrap();
    (kafka, topic)
}

#[test]
fn every_tunable_is_replaced_under_load_without_a_trace() {
    let (kafka, topic) = shared_topic("swapped");
    let servers = kafka.bootstrap_servers();
    let first = producer(&servers, &[]);
    let pooled = Pooled::start(first.clone(), pool(&topic), &servers, FULL_RATE);
    pooled.wait_for_delivery();
    let tunables = [
        ("linger.ms", "0"),
        ("linger.ms", "50"),
        ("batch.size", "16384"),
        ("batch.size", "524288"),
        ("compression.type", "none"),
        ("compression.type", "zstd"),
        ("compression.type", "gzip"),
        ("max.in.flight.requests.per.connection", "1"),
        ("max.in.flight.requests.per.connection", "5"),
        ("client.id", "another"),
    ];
    let mut swaps = 0;
    let mut ended = |cause: &str| {
        let end = pooled.wait_for_end_of(cause);
        assert_eq!(end.failure, None, "{end:?}");
        println!("{cause}: {} ms", end.took_ms);
        swaps += 1;
    };
    for (name, value) in tunables {
        let cause = format!("{name} = {value}");
        pooled.handle.replace(first.clone().with_property(name, value), &cause);
        ended(&cause);
    }
    for connections in [4, 3, 1, 2] {
        pooled.handle.resize(connections);
        ended(&format!("{connections} connections wanted"));
        assert_eq!(pooled.handle.snapshot().size, connections);
    }
    pooled.handle.reconnect("a whim");
    ended("a whim");
    let figures = pooled.wait_for("figures of both connections", |snapshot| {
        let is_told = |one: &keyferry_kafka::pool::ConnectionSnapshot| {
            one.round_trip_ms.is_some() && one.batch_fill.is_some() && one.compression_ratio.is_some()
        };
        snapshot.connections.len() == 2 && snapshot.connections.iter().all(is_told)
    });
    println!("{figures:#?}");
    assert_eq!((figures.swaps_completed, figures.swaps_rolled_back, figures.resets), (swaps, 0, 0));
    let ledger = pooled.settle();
    assert_eq!(ledger.copies(), 0);
}

#[test]
fn a_broker_that_is_killed_during_a_swap_costs_nothing_but_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut kafka = Kafka::start_new(&Cache::from_environment().unwrap(), directory.path()).unwrap();
    let topic = "killed".to_owned();
    kafka.create_topic(&topic, 3).unwrap();
    let servers = kafka.bootstrap_servers();
    let first = producer(&servers, &[]);
    let pooled = Pooled::start(first.clone(), pool(&topic), &servers, FULL_RATE / 4);
    pooled.wait_for_delivery();
    pooled.handle.replace(first.with_property("linger.ms", "20"), "an unlucky moment");
    kafka.kill().unwrap();
    thread::sleep(Duration::from_secs(2));
    kafka.start().unwrap();
    pooled.wait_for("the swap", |snapshot| snapshot.swaps_completed == 1 && snapshot.swap.is_none());
    pooled.wait_for_delivery();
    let ledger = pooled.settle();
    println!("{} copies", ledger.copies());
}

#[test]
fn a_wrong_password_is_rolled_back_and_the_right_one_is_taken() {
    let (kafka, topic) = shared_topic("credentials");
    let (user, password) = kafka::WRITER;
    let servers = kafka.sasl_bootstrap_servers();
    let login = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanisms", "PLAIN"),
        ("sasl.username", user),
        ("sasl.password", password),
    ];
    let right = producer(&servers, &login);
    let pooled = Pooled::start(right.clone(), pool(&topic), &kafka.bootstrap_servers(), 2_000);
    pooled.wait_for_delivery();
    pooled.handle.replace(right.clone().with_property("sasl.password", "guessed"), "credentials changed");
    let failure = pooled.wait_for_end_of("credentials changed").failure.unwrap();
    assert!(failure.to_lowercase().contains("authentication"), "{failure}");
    pooled.wait_for_delivery();
    pooled.handle.replace(right, "credentials mended");
    assert_eq!(pooled.wait_for_end_of("credentials mended").failure, None);
    pooled.wait_for_delivery();
    assert_eq!(pooled.handle.snapshot().resets, 0);
    assert_eq!(pooled.settle().copies(), 0);
}

#[test]
fn a_topic_is_created_as_wished_and_what_is_wrong_with_it_is_told() {
    let (kafka, _) = shared_topic("unused");
    let topic = kafka::fresh_topic("created");
    let configuration = [("max.message.bytes", "100000"), ("retention.ms", "3600000")];
    let configuration = configuration.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let template = TopicTemplate { partitions: Some(5), replication: Some(1), configuration };
    let policy = TopicPolicy {
        create: Some(template),
        outage_budget: Some(Duration::from_secs(86_400)),
        dead_letters: None,
    };
    let servers = kafka.bootstrap_servers();
    let settings = PoolSettings { topic_policy: policy, ..pool(&topic) };
    let pooled = Pooled::start(producer(&servers, &[]), settings, &servers, 0);
    let snapshot = pooled.wait_for("the topic's check", |snapshot| {
        snapshot.topics[0].presence == TopicPresence::Present && !snapshot.topics[0].findings.is_empty()
    });
    let topic = &snapshot.topics[0];
    assert_eq!((topic.partitions, topic.replicas), (5, 1), "{topic:?}");
    let warned_of = |name: &str| {
        let is_it = |finding: &&keyferry_kafka::topics::Finding| finding.text.contains(name);
        topic.findings.iter().find(is_it).map(|finding| finding.severity)
    };
    for name in ["max.message.bytes", "retention.ms"] {
        assert_eq!(warned_of(name), Some(Severity::Warning), "{topic:?}");
    }
    pooled.traffic.set_rate(1_000);
    pooled.wait_for_delivery();
    assert_eq!(pooled.settle().copies(), 0);
}
