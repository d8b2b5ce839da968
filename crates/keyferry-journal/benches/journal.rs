//! What the journal costs an event, from memory: to read and check its records, to put transactions in order with them, and to write down how far a destination has got.

#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{
    CheckpointFile, EventKind, Feed, FeedOptions, Item, MemoryStorage, Piece, Records, Resume, Writer,
};

const EVENTS: u64 = 10_000;
/// Of an event's JSON, in bytes.
const BODY: usize = 590;
/// Transactions that are under way at once in a busy Keycloak.
const OPEN: usize = 64;

/// A journal in which as many transactions are open at any moment.
fn journal(open: usize) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let clock: fn() -> u64 = || 1_761_640_463_007;
    let options = WriterOptions { node: "node".to_owned(), segment_size: 64 << 20 };
    let mut writer = Writer::begin(storage.clone(), 0, clock, options).unwrap();
    let body = vec![b'x'; BODY];
    let mut waiting = VecDeque::new();
    for number in 0..EVENTS {
        let id = format!("{number:036}");
        let fields = [(Field::Id, id.as_str()), (Field::Type, "LOGIN"), (Field::RealmName, "shop")];
        let mut events = EventEncoder::new();
        events.push(EventKind::User, 1, &fields, &body);
        let transaction = writer.next_transaction();
        writer.prepare(transaction, events.payload()).unwrap();
        waiting.push_back(transaction);
        if waiting.len() == open {
            writer.commit(waiting.pop_front().unwrap()).unwrap();
        }
    }
    for transaction in waiting {
        writer.commit(transaction).unwrap();
    }
    writer.close().unwrap()
}

/// All records, one segment after the other.
fn read(storage: &MemoryStorage) -> usize {
    let mut bytes = 0;
    for segment in storage.names() {
        let mut records = Records::of(storage.clone(), segment);
        while let Some(piece) = records.next().unwrap() {
            if let Piece::Record { payload, .. } = piece {
                bytes += payload.len();
            }
        }
    }
    bytes
}

/// All transactions, and where to go on after the last one.
fn assemble(storage: &MemoryStorage) -> Resume {
    let mut feed = Feed::open(storage.clone(), None, FeedOptions::default()).unwrap();
    let (mut events, mut resume) = (0, None);
    while events < EVENTS {
        if let Some(Item::Transaction(transaction)) = feed.next(0).unwrap() {
            events += transaction.events().inspect(|event| assert!(black_box(event).is_ok())).count() as u64;
            resume = Some(*transaction.resume);
        }
    }
    resume.unwrap()
}

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30)
        .configure_from_args();
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(EVENTS));
    let storage = journal(1);
    group.bench_function("reader", |bencher| bencher.iter(|| read(&storage)));
    group.bench_function("assembler, one transaction at a time", |bencher| {
        bencher.iter(|| assemble(&storage));
    });
    let interleaved = journal(OPEN);
    group.bench_function("assembler, 64 transactions at once", |bencher| {
        bencher.iter(|| assemble(&interleaved));
    });
    group.throughput(Throughput::Elements(1));
    let resume = assemble(&storage);
    let (mut slot, mut file) = (storage.clone(), CheckpointFile::begin_anew("kafka"));
    group.bench_function("checkpoint, written", |bencher| {
        bencher.iter(|| file.write(&mut slot, Some(resume), EVENTS).unwrap());
    });
    group.bench_function("checkpoint, read", |bencher| {
        bencher.iter(|| CheckpointFile::load(&mut slot, "kafka").unwrap());
    });
    group.finish();
    criterion.final_summary();
}
