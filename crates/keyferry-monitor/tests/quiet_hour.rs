//! A quiet hour of normal load tells nobody anything, by the rules that hold by default.
//!
//! What is measured is what a running agent measures: a real pipeline ships from a journal, on a simulated clock, and the real collector reads its meter and its report. Simulated are
//! Kafka, which acknowledges within some milliseconds, and the machine, because the one of the test may be anything but quiet.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyferry_alert::labels::Selector;
use keyferry_alert::manager::Memory;
use keyferry_alert::metric::{MetricSource as _, Sample};
use keyferry_alert::{AlertManager, Book};
use keyferry_event::{Failure, HeaderMode, Record, SendError, Sink, Token, Topics};
use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{EventKind, Feed, FeedOptions, MemoryStorage, Writer};
use keyferry_kafka::KafkaPerformanceTuner;
use keyferry_kafka::pool::{BrokerSnapshot, ConnectionSnapshot, ConnectionState, PoolSnapshot};
use keyferry_kafka::tuner::TunerSettings;
use keyferry_monitor::MetricsCollector;
use keyferry_monitor::metrics::system::System;
use keyferry_monitor::metrics::{Certificates, ConfigurationStands, Observation, Observed, Shipments};
use keyferry_pipeline::{
    Clock, Credit, InDoubt, LowPriority, Meter, Nowhere, Phase, Pipeline, Retention, Settings, Start,
    backpressure, breaker,
};

const BEGIN_MS: u64 = 1_700_000_000_000;
const TURN_MS: u64 = 100;
/// As the agent looks at its metrics.
const LOOK_MS: u64 = 2_000;
const HOUR: Duration = Duration::from_secs(3_600);
/// How long Kafka takes, in milliseconds.
const ACKNOWLEDGED_AFTER_MS: u64 = 30;
/// What is there only while something is wrong, or grows.
const ONLY_IN_TROUBLE: [&str; 2] = ["keyferry_breaker_cause", "keyferry_journal_time_to_full_seconds"];
/// The beginnings of the names of what is measured of the machine.
const OF_THE_MACHINE: [&str; 4] =
    ["keyferry_process_", "keyferry_memory_", "keyferry_cpu_", "keyferry_journal_disk_"];

/// The simulated time, which the journal's writer is to read through a plain function.
static NOW_MS: AtomicU64 = AtomicU64::new(BEGIN_MS);

fn now_ms() -> u64 {
    NOW_MS.load(Ordering::Relaxed)
}

/// A Kafka that acknowledges everything after a moment, as long as it `answers`.
struct Kafka {
    sent: VecDeque<(u64, Token)>,
    answers: Arc<Mutex<bool>>,
}

impl Sink for Kafka {
    fn send(&mut self, token: Token, _: &Record<'_>) -> Result<(), SendError> {
        self.sent.push_back((now_ms() + ACKNOWLEDGED_AFTER_MS, token));
        Ok(())
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        while *self.answers.lock().unwrap() && self.sent.front().is_some_and(|(due, _)| *due <= now_ms()) {
            self.sent.pop_front().into_iter().for_each(|(_, token)| outcome(token, Ok(())));
        }
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.sent.clear();
        Ok(())
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn trouble(&self) -> Option<Failure> {
        None
    }
}

/// What the collector asks.
struct Seen(Mutex<Observed>);

impl Shipments for Seen {
    fn observe(&self) -> Vec<Observation> {
        let standing = Ok(Box::new(self.0.lock().unwrap().clone()));
        vec![Observation { slot: "slot-0".to_owned(), destination: "default".to_owned(), standing }]
    }

    fn is_waiting(&self) -> bool {
        false
    }

    fn configuration(&self) -> Option<ConfigurationStands> {
        Some(ConfigurationStands::default())
    }
}

fn settings(meter: &Arc<Meter>) -> Settings {
    Settings {
        topics: Topics { events: Some("events".to_owned()), admin_events: None },
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
        meter: Arc::clone(meter),
        schemas: Arc::new(keyferry_pipeline::schemas::NoSchemas),
        seed: 1,
    }
}

/// One connection to one broker, which was lost once, long ago.
fn pool() -> PoolSnapshot {
    let broker =
        BrokerSnapshot { address: "kafka:9092".to_owned(), is_up: true, ..BrokerSnapshot::default() };
    let connection = ConnectionSnapshot {
        state: ConnectionState::Active,
        connects: 3,
        reconnects: 1,
        brokers: vec![broker],
        ..ConnectionSnapshot::default()
    };
    PoolSnapshot { generation: 1, size: 1, connections: vec![connection], ..PoolSnapshot::default() }
}

/// A registry that has answered once.
fn registry() -> keyferry_registry::Report {
    let failures = keyferry_registry::Kind::ALL.map(|kind| (kind, 0)).to_vec();
    let url = Some("http://registry:8081".to_owned());
    keyferry_registry::Report { url, known: 1, requests: 1, failures, ..Default::default() }
}

/// An agent and its alerts.
struct World {
    writer: Writer<MemoryStorage, fn() -> u64>,
    pipeline: Pipeline<MemoryStorage, Kafka, Nowhere>,
    answers: Arc<Mutex<bool>>,
    seen: Arc<Seen>,
    collector: MetricsCollector,
    alerts: AlertManager,
    transactions: u64,
    /// The names of all series that there were.
    series: BTreeSet<String>,
}

impl World {
    fn new() -> Self {
        let (storage, meter, answers) =
            (MemoryStorage::new(), Arc::new(Meter::default()), Arc::new(Mutex::new(true)));
        let options = WriterOptions { node: "n".to_owned(), segment_size: 1 << 20 };
        let writer = Writer::begin(storage.clone(), 0, now_ms as fn() -> u64, options).unwrap();
        let feed = Feed::open(storage, None, FeedOptions::default()).unwrap();
        let kafka = Kafka { sent: VecDeque::new(), answers: Arc::clone(&answers) };
        let pipeline = Pipeline::new(feed, Start::anew("default"), kafka, Nowhere, settings(&meter));
        let year_s = i64::try_from(BEGIN_MS / 1_000).unwrap() + 365 * 86_400;
        let seen = Arc::new(Seen(Mutex::new(Observed {
            report: Default::default(),
            phase: Phase::Running,
            meter,
            pool: pool(),
            tuner: KafkaPerformanceTuner::new(TunerSettings::default()).state(),
            registry: registry(),
            certificates: Certificates { client_until_s: Some(year_s), authority_until_s: Some(year_s) },
        })));
        let collector = MetricsCollector::new(Arc::clone(&seen) as _, System::new("/".as_ref(), None));
        let alerts = AlertManager::new(Book::of_defaults().unwrap().policy, Memory::default());
        Self { writer, pipeline, answers, seen, collector, alerts, transactions: 0, series: BTreeSet::new() }
    }

    /// Lets time pass, and answers what anybody was told, and when.
    fn pass(&mut self, duration: Duration) -> Vec<String> {
        let (begun, mut told) = (now_ms(), Vec::new());
        while now_ms() < begun + u64::try_from(duration.as_millis()).unwrap() {
            NOW_MS.fetch_add(TURN_MS, Ordering::Relaxed);
            // About a dozen logins a second.
            (0..1 + self.transactions % 3).for_each(|_| self.log_in());
            let clock = Clock { monotonic_ms: now_ms() - BEGIN_MS, wall_ms: now_ms() };
            self.pipeline.turn(clock).unwrap();
            // What was sent at the turn is acknowledged soon after it, as the client would wake the pipeline.
            NOW_MS.fetch_add(ACKNOWLEDGED_AFTER_MS, Ordering::Relaxed);
            let clock = Clock { monotonic_ms: now_ms() - BEGIN_MS, wall_ms: now_ms() };
            self.pipeline.turn(clock).unwrap();
            self.seen.0.lock().unwrap().report = self.pipeline.report(clock);
            if now_ms() / LOOK_MS != (now_ms() - TURN_MS - ACKNOWLEDGED_AFTER_MS) / LOOK_MS {
                told.extend(
                    self.look().into_iter().map(|name| format!("{} s: {name}", (now_ms() - begun) / 1_000)),
                );
            }
        }
        told
    }

    fn log_in(&mut self) {
        self.transactions += 1;
        let (id, failed) = (format!("event-{}", self.transactions), self.transactions.is_multiple_of(100));
        let name = if failed { "LOGIN_ERROR" } else { "LOGIN" };
        let fields = [
            (Field::Id, id.as_str()),
            (Field::Type, name),
            (Field::RealmName, "shop"),
            (Field::Client, "web"),
        ];
        let mut events = EventEncoder::new();
        events.push(EventKind::User, now_ms(), &fields, format!("{{\"id\":\"{id}\"}}").as_bytes());
        let transaction = self.writer.next_transaction();
        self.writer.prepare(transaction, events.payload()).unwrap();
        self.writer.commit(transaction).unwrap();
    }

    fn look(&mut self) -> Vec<String> {
        let mut samples =
            self.collector.samples(&|name| !OF_THE_MACHINE.iter().any(|part| name.starts_with(part)));
        samples.extend(quiet_machine());
        self.series.extend(samples.iter().map(|sample| sample.metric.clone()));
        self.alerts.check_thresholds(now_ms(), &samples);
        let notices = self.alerts.notices(now_ms());
        notices.iter().map(|notice| format!("{} {}", notice.cause.as_str(), notice.alerts[0].name)).collect()
    }
}

fn quiet_machine() -> Vec<Sample> {
    let uptime = (now_ms() - BEGIN_MS) as f64 / 1_000.0;
    let series = [
        ("keyferry_memory_used_bytes", 5e8),
        ("keyferry_memory_limit_bytes", 1e9),
        ("keyferry_cpu_limit_cores", 2.0),
        ("keyferry_process_cpu_seconds_total{process=\"agent\"}", uptime * 0.2),
        ("keyferry_process_open_fds{process=\"agent\"}", 60.0),
        ("keyferry_process_max_fds{process=\"agent\"}", 1_024.0),
        ("keyferry_process_start_time_seconds{process=\"agent\"}", BEGIN_MS as f64 / 1_000.0 - 5.0),
        ("keyferry_process_start_time_seconds{process=\"keycloak\"}", BEGIN_MS as f64 / 1_000.0 - 10.0),
        ("keyferry_journal_disk_free_bytes", 6e10),
        ("keyferry_journal_disk_size_bytes", 1e11),
    ];
    let sample = |(name, value): (&str, f64)| {
        let selector: Selector = name.parse().unwrap();
        Sample::new(&selector.metric, selector.labels(), value)
    };
    series.map(sample).to_vec()
}

#[test]
fn a_quiet_hour_tells_nobody_anything_and_an_outage_after_it_is_told() {
    let mut world = World::new();
    assert_eq!(world.pass(HOUR), Vec::<String>::new());
    let (transactions, published) = (world.transactions, world.seen.0.lock().unwrap().report.published);
    assert!(
        transactions > 40_000 && transactions - published < 10,
        "{published} of {transactions} were delivered"
    );
    // No rule was quiet only because there was nothing to hold it against.
    for rule in keyferry_alert::book::default_rules().unwrap() {
        for metric in rule.metrics().filter(|metric| !ONLY_IN_TROUBLE.contains(metric)) {
            assert!(world.series.contains(metric), "{} was held against nothing: no {metric}", rule.name);
        }
    }
    *world.answers.lock().unwrap() = false;
    let told = world.pass(Duration::from_secs(20));
    assert!(told.len() == 1 && told[0].ends_with("firing BreakerOpen"), "{told:?}");
    println!("{transactions} logins in a simulated hour: nothing; Kafka falls silent: {}", told[0]);
    *world.answers.lock().unwrap() = true;
    let told = world.pass(Duration::from_secs(60));
    assert!(told.len() == 1 && told[0].ends_with("resolved BreakerOpen"), "{told:?}");
}
