//! How many events pass the pipeline in a second of processor time, from a journal in memory to a sink that takes everything at once: what there is besides disk and
//! network, whatever else the machine does meanwhile.
//!
//! `cargo xtask cost-of-metrics` runs it with and without the feature `metrics`, one after the other, and compares.

#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use keyferry_event::{Failure, HeaderMode, Record, SendError, Sink, Token, Topics};
use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{EventKind, Feed, FeedOptions, MemoryStorage, Writer};
use keyferry_pipeline::{
    Credit, InDoubt, Nowhere, Pipeline, Retention, Settings, Start, SystemClock, backpressure, breaker,
};
use rustix::time::{ClockId, clock_gettime};

const EVENTS: u64 = 200_000;
/// Types in the order of a session: a realm's load is a mix of few.
const TYPES: [&str; 6] =
    ["LOGIN", "CODE_TO_TOKEN", "REFRESH_TOKEN", "REFRESH_TOKEN", "LOGOUT", "LOGIN_ERROR"];
const REALMS: [&str; 3] = ["shop", "staff", "master"];

/// Acknowledges at the next poll.
#[derive(Default)]
struct Hole {
    tokens: Vec<Token>,
}

impl Sink for Hole {
    fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError> {
        std::hint::black_box(record.headers().count());
        self.tokens.push(token);
        Ok(())
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        self.tokens.drain(..).for_each(|token| outcome(token, Ok(())));
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.tokens.clear();
        Ok(())
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn trouble(&self) -> Option<Failure> {
        None
    }
}

fn journal() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let clock: fn() -> u64 = || SystemClock::start().read().wall_ms;
    let options = WriterOptions { node: "node".to_owned(), segment_size: 64 << 20 };
    let mut writer = Writer::begin(storage.clone(), 0, clock, options).unwrap();
    let body = vec![b'x'; 700];
    for number in 0..EVENTS as usize {
        let (id, user) = (format!("{number:036}"), format!("{:036}", number % 977));
        let fields = [
            (Field::Id, id.as_str()),
            (Field::Type, TYPES[number % TYPES.len()]),
            (Field::RealmId, "5ac5b6f0-5b7c-4d2e-9a55-1e6f2f7a1c11"),
            (Field::RealmName, REALMS[number % REALMS.len()]),
            (Field::Client, "web"),
            (Field::UserId, user.as_str()),
        ];
        let mut events = EventEncoder::new();
        events.push(EventKind::User, 1, &fields, &body);
        let transaction = writer.next_transaction();
        writer.prepare(transaction, events.payload()).unwrap();
        writer.commit(transaction).unwrap();
    }
    storage
}

fn settings() -> Settings {
    Settings {
        topics: Topics { events: Some("events".to_owned()), admin_events: None },
        headers: HeaderMode::CloudEvents,
        in_doubt: InDoubt::Publish,
        dead_letter_topic: None,
        gap_records: true,
        ceiling: None,
        // What is delivered stays, so that it can be delivered again.
        retention: Retention { keep: Duration::MAX, keep_bytes: None },
        credit: Credit { bytes: 24 << 20, records: 20_000 },
        delivery_timeout: Duration::from_secs(120),
        breaker: breaker::Settings::default(),
        backpressure: backpressure::Settings::default(),
        low_priority: keyferry_pipeline::LowPriority::default(),
        controls: Arc::default(),
        meter: Arc::default(),
        seed: 1,
    }
}

/// Events a second of processor time.
fn run(storage: &MemoryStorage) -> f64 {
    let feed = Feed::open(storage.clone(), None, FeedOptions::default()).unwrap();
    let mut pipeline = Pipeline::new(feed, Start::anew("rate"), Hole::default(), Nowhere, settings());
    let clock = SystemClock::start();
    let begun = processor_time();
    let mut published = 0;
    while published < EVENTS {
        let now = clock.read();
        pipeline.turn(now).unwrap();
        published = pipeline.report(now).published;
    }
    EVENTS as f64 / (processor_time() - begun).as_secs_f64()
}

fn processor_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap())
}

fn main() {
    let storage = journal();
    // The first time fills caches and predictors.
    run(&storage);
    let rates = (0..5).map(|_| run(&storage));
    println!("{:.0}", rates.fold(0.0, f64::max));
}
