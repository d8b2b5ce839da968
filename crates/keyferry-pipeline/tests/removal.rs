//! Delivered segments that cannot be deleted, or moved, keep nothing from being delivered, and go as soon as they can.

#![allow(clippy::unwrap_used)]

mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use keyferry_event::{Failure, Record, SendError, Sink, Token};
use keyferry_journal::storage::Segment;
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{Feed, FeedOptions, MemoryStorage, SegmentName, Storage, Writer};
use keyferry_pipeline::{
    Archive, Clock, Found, Nowhere, Pipeline, Retention, Settings, Share, Start, State, move_oldest,
};
use support::{settings, write};

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

/// Acknowledges everything, as soon as it `may`.
struct Willing {
    sent: Vec<Token>,
    may: Rc<Cell<bool>>,
}

impl Default for Willing {
    fn default() -> Self {
        Self { sent: Vec::new(), may: Rc::new(Cell::new(true)) }
    }
}

impl Sink for Willing {
    fn send(&mut self, token: Token, _: &Record<'_>) -> Result<(), SendError> {
        self.sent.push(token);
        Ok(())
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        if self.may.get() {
            self.sent.drain(..).for_each(|token| outcome(token, Ok(())));
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
        write(writer, events, 1_000);
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

/// An archive in memory, one of whose operations fails now and then.
struct Shelf {
    slot: MemoryStorage,
    unnamed: Option<Vec<u8>>,
    named: BTreeMap<SegmentName, Vec<u8>>,
    chance: fastrand::Rng,
}

impl Shelf {
    fn try_luck(&mut self) -> io::Result<()> {
        if self.chance.u8(..8) == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Archive for Shelf {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn segments(&mut self) -> io::Result<Vec<SegmentName>> {
        self.try_luck()?;
        Ok(self.slot.names())
    }

    fn find(&mut self, segment: SegmentName) -> io::Result<Found> {
        self.try_luck()?;
        Ok(match self.named.get(&segment) {
            None => Found::Nothing,
            Some(copy) if *copy == self.slot.bytes(segment) => Found::Copy,
            Some(_) => Found::Another,
        })
    }

    fn copy(&mut self, segment: SegmentName, rest: &mut dyn FnMut(Duration) -> bool) -> io::Result<bool> {
        self.unnamed = Some(self.slot.bytes(segment));
        self.try_luck()?;
        Ok(!rest(Duration::ZERO))
    }

    fn sync_copy(&mut self) -> io::Result<()> {
        self.try_luck()
    }

    fn name_copy(&mut self, segment: SegmentName) -> io::Result<()> {
        self.try_luck()?;
        self.named.insert(segment, self.unnamed.take().unwrap());
        Ok(())
    }

    fn keep_positions(&mut self) -> io::Result<()> {
        self.try_luck()
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.try_luck()
    }

    fn remove(&mut self, segment: SegmentName) -> io::Result<()> {
        self.try_luck()?;
        self.slot.remove(segment)
    }
}

#[test]
fn every_segment_lies_in_the_slot_or_in_the_archive_and_goes_there_only_when_everybody_has_it() {
    for seed in 0..32 {
        let storage = MemoryStorage::new();
        storage.set_writer_alive(true);
        let options = WriterOptions { node: "n".to_owned(), segment_size: 4096 };
        let mut writer = Writer::begin(storage.clone(), 0, || 1_000, options).unwrap();
        let shares = Share::among(2);
        let ledger = shares[0].clone();
        let may = Rc::new(Cell::new(false));
        let sinks = [Willing::default(), Willing { may: Rc::clone(&may), ..Willing::default() }];
        let mut pipelines: Vec<_> = ["fast", "slow"]
            .into_iter()
            .zip(sinks)
            .zip(shares)
            .map(|((name, sink), share)| {
                let feed = Feed::open(storage.clone(), None, FeedOptions::default()).unwrap();
                let kept = Retention { keep: Duration::from_secs(3_600), keep_bytes: None };
                let settings = Settings { retention: kept, ..settings() };
                Pipeline::new(feed, Start::anew(name), sink, Nowhere, settings).sharing(share)
            })
            .collect();
        let mut shelf = Shelf {
            slot: storage.clone(),
            unnamed: None,
            named: BTreeMap::new(),
            chance: fastrand::Rng::with_seed(seed),
        };
        let (mut written, mut now_ms, mut chance) = (0, 0, fastrand::Rng::with_seed(seed));
        // As each segment was when it lay in the slot last.
        let mut all = BTreeMap::new();
        for round in 0..80 {
            if round == 30 {
                assert!(shelf.named.is_empty(), "seed {seed}: the slow one has delivered nothing");
                may.set(true);
            }
            if round < 60 {
                let events = chance.u64(..4);
                write(&mut writer, events, 1_000);
                written += events;
            }
            now_ms += 200;
            for pipeline in &mut pipelines {
                pipeline.turn(Clock { monotonic_ms: now_ms, wall_ms: now_ms }).unwrap();
            }
            all.extend(storage.names().into_iter().map(|name| (name, storage.bytes(name))));
            for _ in 0..chance.u8(..3) {
                let Some(delivered) = ledger.delivered() else { continue };
                // Whatever it answers, nothing may be lost.
                let _ = move_oldest(&mut shelf, delivered, &mut |_| chance.u8(..8) == 0);
            }
            let in_slot = storage.names();
            for (name, bytes) in &all {
                let is_archived = shelf.named.get(name) == Some(bytes);
                assert!(in_slot.contains(name) || is_archived, "seed {seed}, round {round}: {name} is lost");
            }
        }
        let delivered = ledger.delivered().unwrap();
        for _ in 0..1_000 {
            let _ = move_oldest(&mut shelf, delivered, &mut |_| false);
        }
        assert!(storage.names()[0] >= delivered, "seed {seed}: what is delivered is still in the slot");
        assert!(shelf.named.len() > 5 && shelf.named.keys().all(|name| *name < delivered), "seed {seed}");
        for pipeline in &mut pipelines {
            let report = pipeline.report(Clock { monotonic_ms: now_ms, wall_ms: now_ms });
            assert_eq!((report.state, report.published), (State::Idle, written), "seed {seed}");
        }
    }
}
