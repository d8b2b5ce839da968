//! Delivered segments that cannot be deleted keep nothing from being delivered, and go as soon as they can.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use keyferry_event::{Failure, HeaderMode, Record, SendError, Sink, Token, Topics};
use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::storage::Segment;
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{EventKind, Feed, FeedOptions, MemoryStorage, SegmentName, Storage, Writer};
use keyferry_pipeline::{
    Clock, Credit, InDoubt, LowPriority, Nowhere, Pipeline, Retention, Settings, Start, State, backpressure,
    breaker,
};

/// A journal on a disk that deletes nothing while `refuses`.
#[derive(Clone)]
struct Sticky {
    storage: MemoryStorage,
    refuses: Rc<Cell<bool>>,
    attempts: Rc<Cell<u32>>,
}

impl Storage for Sticky {
    fn describe(&self) -> String {
        self.storage.describe()
    }

    fn list(&mut self) -> io::Result<Vec<Segment>> {
        self.storage.list()
    }

    fn read_at(&mut self, segment: SegmentName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.storage.read_at(segment, offset, buffer)
    }

    fn length(&mut self, segment: SegmentName) -> io::Result<u64> {
        self.storage.length(segment)
    }

    fn writer_alive(&mut self) -> io::Result<bool> {
        self.storage.writer_alive()
    }

    fn remove(&mut self, segment: SegmentName) -> io::Result<()> {
        self.attempts.set(self.attempts.get() + 1);
        if self.refuses.get() { Err(io::Error::other("no")) } else { self.storage.remove(segment) }
    }

    fn read_checkpoint(&mut self, destination: &str) -> io::Result<Vec<u8>> {
        self.storage.read_checkpoint(destination)
    }

    fn write_checkpoint(&mut self, destination: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.storage.write_checkpoint(destination, offset, bytes)
    }

    fn sync_checkpoint(&mut self, destination: &str) -> io::Result<()> {
        self.storage.sync_checkpoint(destination)
    }
}

/// Acknowledges everything.
#[derive(Default)]
struct Willing(Vec<Token>);

impl Sink for Willing {
    fn send(&mut self, token: Token, _: &Record<'_>) -> Result<(), SendError> {
        self.0.push(token);
        Ok(())
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        self.0.drain(..).for_each(|token| outcome(token, Ok(())));
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.0.clear();
        Ok(())
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn trouble(&self) -> Option<Failure> {
        None
    }
}

fn settings() -> Settings {
    Settings {
        topics: Topics { events: Some("events".to_owned()), admin_events: None },
        content: keyferry_event::Content::default(),
        headers: HeaderMode::CloudEvents,
        in_doubt: InDoubt::Publish,
        dead_letter_topic: None,
        gap_records: true,
        ceiling: None,
        retention: Retention::default(),
        credit: Credit { bytes: 1 << 20, records: 100 },
        delivery_timeout: Duration::from_secs(120),
        breaker: breaker::Settings::default(),
        backpressure: backpressure::Settings::default(),
        low_priority: LowPriority::default(),
        controls: Arc::default(),
        meter: Arc::default(),
        seed: 1,
    }
}

#[test]
fn a_segment_that_cannot_be_deleted_is_left_for_later_and_delivery_goes_on() {
    let storage = MemoryStorage::new();
    storage.set_writer_alive(true);
    let options = WriterOptions { node: "n".to_owned(), segment_size: 4096 };
    let mut writer = Writer::begin(storage.clone(), 0, || 1_000, options).unwrap();
    let sticky = Sticky { storage, refuses: Rc::new(Cell::new(true)), attempts: Rc::default() };
    let (refuses, attempts) = (Rc::clone(&sticky.refuses), Rc::clone(&sticky.attempts));
    let mut left = sticky.storage.clone();
    let feed = Feed::open(sticky, None, FeedOptions::default()).unwrap();
    let mut pipeline = Pipeline::new(feed, Start::anew("a"), Willing::default(), Nowhere, settings());
    let mut now_ms = 0;
    let mut run = |writer: &mut Writer<MemoryStorage, _>, events: u64| {
        for _ in 0..events {
            let mut payload = EventEncoder::new();
            payload.push(EventKind::User, 1, &[(Field::Id, "e")], &[b'x'; 1_000]);
            let transaction = writer.next_transaction();
            writer.prepare(transaction, payload.payload()).unwrap();
            writer.commit(transaction).unwrap();
        }
        for _ in 0..4 {
            now_ms += 200;
            let clock = Clock { monotonic_ms: now_ms, wall_ms: now_ms };
            pipeline.turn(clock).unwrap();
        }
        pipeline.report(Clock { monotonic_ms: now_ms, wall_ms: now_ms })
    };
    let report = run(&mut writer, 20);
    assert_eq!((report.state, report.published), (State::Idle, 20));
    assert_eq!(attempts.get(), 1, "it is tried again after a while and not at once");
    let segments = left.list().unwrap().len();
    assert!(segments > 3);
    refuses.set(false);
    // Five seconds.
    let report = (0..8).map(|_| run(&mut writer, 1)).last().unwrap();
    assert_eq!(report.published, 28);
    assert!(left.list().unwrap().len() < 3, "what was delivered is still there");
}
