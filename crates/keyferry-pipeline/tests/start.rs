//! What a start costs: the same, however much waits.
//!
//! Counted in what is asked of the storage, not in time. The names and lengths of the segments are listed; everything else is asked of the one in which delivery goes on.

#![allow(clippy::unwrap_used)]

mod support;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use keyferry_event::{NullSink, Topics};
use keyferry_journal::storage::Segment;
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{Feed, FeedOptions, MemoryStorage, SegmentName, Storage, Writer};
use keyferry_pipeline::{Clock, Credit, Nowhere, Pipeline, Retention, Settings, Start};

/// What was asked of a storage that a backlog could make dearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    List,
    Read(SegmentName, u64, usize),
    Length(SegmentName),
    Lock,
    Remove(SegmentName),
}

/// A journal that notes what is asked of it.
#[derive(Clone)]
struct Noting {
    storage: MemoryStorage,
    asked: Rc<RefCell<Vec<Asked>>>,
}

impl Noting {
    fn new(storage: MemoryStorage) -> Self {
        Self { storage, asked: Rc::default() }
    }

    fn note(&self, asked: Asked) {
        self.asked.borrow_mut().push(asked);
    }
}

impl Storage for Noting {
    fn describe(&self) -> String {
        self.storage.describe()
    }

    fn list(&mut self) -> io::Result<Vec<Segment>> {
        self.note(Asked::List);
        self.storage.list()
    }

    fn read_at(&mut self, segment: SegmentName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.note(Asked::Read(segment, offset, buffer.len()));
        self.storage.read_at(segment, offset, buffer)
    }

    fn length(&mut self, segment: SegmentName) -> io::Result<u64> {
        self.note(Asked::Length(segment));
        self.storage.length(segment)
    }

    fn writer_alive(&mut self) -> io::Result<bool> {
        self.note(Asked::Lock);
        self.storage.writer_alive()
    }

    fn remove(&mut self, segment: SegmentName) -> io::Result<()> {
        self.note(Asked::Remove(segment));
        self.storage.remove(segment)
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

const DESTINATION: &str = "default";

fn topics() -> Topics {
    Topics { events: Some("events".to_owned()), admin_events: None }
}

/// What is kept stays, so that a start finds it.
fn settings(records: usize) -> Settings {
    Settings {
        retention: Retention { keep: Duration::MAX, keep_bytes: None },
        credit: Credit { bytes: 1 << 30, records },
        ..support::settings()
    }
}

/// A journal of so many segments with four events each.
fn backlog(segments: u32) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let clock: fn() -> u64 = || 1_000;
    let options = WriterOptions { node: "node".to_owned(), ..WriterOptions::default() };
    let mut writer = Writer::begin(storage.clone(), 0, clock, options).unwrap();
    for segment in 0..segments {
        if segment > 0 {
            writer.roll().unwrap();
        }
        support::write(&mut writer, 4, 500);
    }
    storage
}

fn start(storage: &mut impl Storage) -> Start {
    Start::find(storage, &mut Nowhere, DESTINATION, &topics(), 0).unwrap()
}

/// Delivers `records` and writes the checkpoint.
fn deliver(storage: &MemoryStorage, records: u64) {
    let mut storage = storage.clone();
    let start = start(&mut storage);
    let feed = Feed::open(storage, start.resume(), FeedOptions::default()).unwrap();
    let mut pipeline = Pipeline::new(feed, start, NullSink::default(), Nowhere, settings(1));
    let clock = |turn| Clock { monotonic_ms: turn, wall_ms: 1_000_000 + turn };
    let turn = (1..).find(|turn| {
        pipeline.turn(clock(*turn)).unwrap();
        pipeline.report(clock(*turn)).published == records
    });
    pipeline.checkpoint(clock(turn.unwrap() + 1)).unwrap();
}

/// What is asked of the storage from the start to the first record.
fn asked_until_the_first_record(storage: MemoryStorage) -> Vec<Asked> {
    let mut noting = Noting::new(storage);
    let asked = Rc::clone(&noting.asked);
    let start = start(&mut noting);
    let feed = Feed::open(noting, start.resume(), FeedOptions::default()).unwrap();
    let mut pipeline = Pipeline::new(feed, start, NullSink::default(), Nowhere, settings(1));
    while pipeline.sink().bytes() == 0 {
        pipeline.turn(Clock { monotonic_ms: 1, wall_ms: 1_000_000 }).unwrap();
    }
    asked.take()
}

/// A start on 200 segments asks for the same as one on 5, of which so many records were `delivered` before.
fn costs_the_same(delivered: u64) {
    let asked_with = |segments| {
        let storage = backlog(segments);
        if delivered > 0 {
            deliver(&storage, delivered);
        }
        asked_until_the_first_record(storage)
    };
    let asked = asked_with(5);
    assert!(asked.iter().any(|asked| matches!(asked, Asked::Read(..))), "nothing was read: {asked:?}");
    assert_eq!(asked_with(200), asked, "{delivered} delivered");
}

#[test]
fn a_start_asks_for_the_same_however_much_waits() {
    // Nothing yet, in the first segment, at its end, and in one behind others that are kept.
    [0, 3, 4, 14].into_iter().for_each(costs_the_same);
}
