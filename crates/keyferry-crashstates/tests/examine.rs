//! The judgement itself, on recordings of a writer in Rust: a right one passes in every state, and each faulty one is found out.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use keyferry_crashstates::trace::Fsync;
use keyferry_crashstates::verdict::Broken;
use keyferry_crashstates::{Entry, Plant, Trace, examine};
use keyferry_journal::event::{EventEncoder, EventKind, Field};
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{Epoch, SegmentName, SegmentStore, Writer};

const SLOT: &str = "journal/slot-0";

type Entries = Rc<RefCell<Vec<Entry>>>;

/// Records what a writer does, and syncs as it should.
#[derive(Clone)]
struct Recorder {
    entries: Entries,
    path: String,
    last: Option<Epoch>,
}

impl Recorder {
    fn record(&self, entry: Entry) {
        self.entries.borrow_mut().push(entry);
    }
}

impl SegmentStore for Recorder {
    fn create(&mut self, segment: SegmentName, header: &[u8]) -> io::Result<()> {
        if !self.path.is_empty() {
            self.record(Entry::Sync { path: self.path.clone() });
        }
        self.path = format!("{SLOT}/{segment}");
        self.record(Entry::Create { path: self.path.clone() });
        self.append(header)?;
        self.record(Entry::Sync { path: self.path.clone() });
        self.record(Entry::SyncDirectory { path: SLOT.into() });
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.record(Entry::Write { path: self.path.clone(), bytes: bytes.to_vec(), failed: false });
        Ok(())
    }

    fn last_epoch(&mut self) -> io::Result<Option<Epoch>> {
        Ok(self.last)
    }

    fn mark_epoch(&mut self, epoch: Epoch) -> io::Result<()> {
        self.last = Some(epoch);
        Ok(())
    }
}

/// Clients and their writer.
struct Workload {
    recorder: Recorder,
    writer: Writer<Recorder, fn() -> u64>,
}

fn clock() -> u64 {
    1_700_000_000_000
}

impl Workload {
    fn begin() -> Self {
        let entries: Entries = Rc::default();
        let recorder = Recorder { entries, path: String::new(), last: None };
        for (made, above) in [("journal", ""), (SLOT, "journal")] {
            recorder.record(Entry::CreateDirectory { path: made.into() });
            recorder.record(Entry::SyncDirectory { path: above.into() });
        }
        let options = WriterOptions { segment_size: 1200, node: "node".into() };
        let writer = Writer::begin(recorder.clone(), 0, clock as fn() -> u64, options).unwrap();
        Self { recorder, writer }
    }

    fn offer(&mut self, id: u64, count: usize) {
        let transaction = format!("t{id}");
        let offered =
            |entry: &&Entry| matches!(entry, Entry::Offer { transaction: t, .. } if *t == transaction);
        let known = self.recorder.entries.borrow().iter().filter(offered).count();
        let events: Vec<String> = (0..count).map(|index| format!("{transaction}.{known}-{index}")).collect();
        let mut encoder = EventEncoder::new();
        for event in &events {
            encoder.push(EventKind::User, 0, &[(Field::Id, event)], b"{}");
        }
        self.recorder.record(Entry::Offer { transaction, events });
        self.writer.prepare(id, encoder.payload()).unwrap();
    }

    fn sync(&self) {
        let path = format!("{SLOT}/{}", self.writer.segment());
        self.recorder.record(Entry::Sync { path });
    }

    fn prepared(&self, id: u64) {
        self.recorder.record(Entry::Prepared { transaction: format!("t{id}") });
    }

    fn prepare(&mut self, id: u64, count: usize) {
        self.offer(id, count);
        self.sync();
        self.prepared(id);
    }

    fn commit(&mut self, id: u64) {
        self.recorder.record(Entry::Commit { transaction: format!("t{id}") });
        self.writer.commit(id).unwrap();
        self.recorder.record(Entry::Committed { transaction: format!("t{id}") });
    }

    fn abort(&mut self, id: u64) {
        self.recorder.record(Entry::Abort { transaction: format!("t{id}") });
        self.writer.abort(id).unwrap();
        self.recorder.record(Entry::Aborted { transaction: format!("t{id}") });
    }

    fn trace(&self, fsync: Fsync) -> Trace {
        let entries = self.recorder.entries.borrow().clone();
        Trace { seed: 0, fsync, sync_outcomes: false, entries }
    }
}

/// Interleaved transactions over several segments.
fn workload() -> Workload {
    let mut workload = Workload::begin();
    for round in 0..4 {
        let [a, b, c] = [1, 2, 3].map(|number| round * 3 + number);
        workload.prepare(a, 1);
        workload.prepare(b, 2);
        workload.commit(b);
        workload.prepare(c, 1);
        workload.prepare(a, 1);
        workload.abort(c);
        workload.commit(a);
    }
    workload
}

fn broken(trace: &Trace) -> Broken {
    examine(trace).unwrap_err().broken
}

#[test]
fn a_writer_that_keeps_its_promises_passes() {
    let summary = examine(&workload().trace(Fsync::Commit)).unwrap();
    assert!(summary.killed > 200 && summary.power_cuts > 200 && summary.promised > 1000, "{summary:?}");
    for fsync in [Fsync::Never, Fsync::Interval] {
        let mut trace = workload().trace(fsync);
        let mut syncs = 0;
        trace.entries.retain(|entry| {
            syncs += usize::from(matches!(entry, Entry::Sync { .. }));
            !matches!(entry, Entry::Sync { .. }) || (fsync == Fsync::Interval && syncs % 5 == 0)
        });
        examine(&trace).unwrap();
    }
}

#[test]
fn without_syncs_promises_are_lost() {
    let trace = workload().trace(Fsync::Commit);
    assert!(matches!(broken(&Plant::SkipSync.falsify(&trace)), Broken::Lost(_)));
    assert!(matches!(broken(&Plant::SkipDirectorySync.falsify(&trace)), Broken::Lost(_)));
}

#[test]
fn a_client_that_is_told_too_early_loses_its_events() {
    let trace = Plant::AcknowledgeEarly.falsify(&workload().trace(Fsync::Commit));
    assert!(matches!(broken(&trace), Broken::Lost(_)));
    assert!(matches!(broken(&Trace { fsync: Fsync::Never, ..trace }), Broken::Lost(_)));
}

#[test]
fn an_aborted_transaction_that_gets_a_commit_is_found() {
    let trace = Plant::CommitAborted.falsify(&workload().trace(Fsync::Commit));
    assert!(matches!(broken(&trace), Broken::NotCommitted(_) | Broken::Aborted(_)));
}

#[test]
fn a_commit_before_its_prepare_is_found() {
    let mut workload = Workload::begin();
    workload.recorder.record(Entry::Offer { transaction: "t1".into(), events: vec!["t1.0-0".into()] });
    workload.recorder.record(Entry::Commit { transaction: "t1".into() });
    let sole = workload.writer.commit(1);
    workload.recorder.entries.borrow_mut().retain(|entry| !matches!(entry, Entry::Offer { .. }));
    assert_eq!(sole.unwrap(), 1);
    workload.prepare(1, 1);
    assert!(matches!(broken(&workload.trace(Fsync::Commit)), Broken::FalseAlarm(_)));
}

#[test]
fn a_sync_that_failed_and_is_believed_when_it_is_tried_again_is_found() {
    let mut workload = workload();
    workload.offer(100, 1);
    let path = format!("{SLOT}/{}", workload.writer.segment());
    workload.recorder.record(Entry::SyncFailed { path });
    workload.sync();
    workload.prepared(100);
    workload.offer(101, 1);
    assert!(matches!(broken(&workload.trace(Fsync::Commit)), Broken::Lost(event) if event == "t100.0-0"));
}

#[test]
fn an_event_that_is_written_twice_is_found() {
    let mut workload = workload();
    workload.prepare(100, 1);
    let mut encoder = EventEncoder::new();
    encoder.push(EventKind::User, 0, &[(Field::Id, "t100.0-0")], b"{}");
    workload.writer.prepare(100, encoder.payload()).unwrap();
    assert!(matches!(broken(&workload.trace(Fsync::Commit)), Broken::Twice(_)));
}

#[test]
fn an_event_that_nobody_handed_over_is_found() {
    let mut workload = workload();
    let mut encoder = EventEncoder::new();
    encoder.push(EventKind::User, 0, &[(Field::Id, "t9999.0-0")], b"{}");
    workload.writer.prepare(9999, encoder.payload()).unwrap();
    assert!(matches!(broken(&workload.trace(Fsync::Commit)), Broken::Invented(_)));
}

#[test]
fn a_forgotten_outcome_is_found() {
    let mut workload = workload();
    workload.prepare(100, 1);
    let transaction = String::from("t100");
    workload.recorder.record(Entry::Commit { transaction: transaction.clone() });
    workload.recorder.record(Entry::Committed { transaction });
    assert!(matches!(broken(&workload.trace(Fsync::Commit)), Broken::Doubted(_)));
    let mut workload = self::workload();
    workload.prepare(100, 1);
    let transaction = String::from("t100");
    workload.recorder.record(Entry::Abort { transaction: transaction.clone() });
    workload.recorder.record(Entry::Aborted { transaction });
    assert!(matches!(broken(&workload.trace(Fsync::Commit)), Broken::Aborted(_)));
}
