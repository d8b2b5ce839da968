//! A journal as the writer makes it, of any shape, then cut, flipped and zeroed anywhere: only what was prepared is delivered, nothing
//! twice, nothing as committed that was not; and without damage exactly what was written.
#![no_main]

use std::collections::HashMap;

use arbitrary::Arbitrary;
use keyferry_fuzz::{Said, read};
use keyferry_journal::event::EventEncoder;
use keyferry_journal::format::Kind;
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{Epoch, EventKind, MemoryStorage, Outcome, Writer};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    segment_size: u16,
    lives: Vec<Life>,
    faults: Vec<Fault>,
}

#[derive(Debug, Arbitrary)]
struct Life {
    steps: Vec<Step>,
    closed: bool,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Step {
    Prepare { transaction: u8, body: u8 },
    Commit(u8),
    Abort(u8),
    Roll,
    Abandon,
    Later { kind: u8, payload: u8 },
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Fault {
    Flip { segment: u8, bit: u16 },
    Cut { segment: u8, length: u16 },
    Zero { segment: u8, from: u16, length: u8 },
    Remove { segment: u8 },
}

/// What was written of a transaction.
#[derive(Debug, Default)]
struct Written {
    bodies: Vec<Vec<u8>>,
    outcome: Option<Kind>,
}

type Transactions = HashMap<(Epoch, u64), Written>;

fuzz_target!(|input: Input| {
    let storage = MemoryStorage::new();
    let mut written = Transactions::new();
    for life in input.lives.iter().take(3) {
        live(&storage, life, u64::from(input.segment_size), &mut written);
    }
    storage.set_writer_alive(false);
    let harmed = input.faults.iter().take(4).filter(|fault| harm(&storage, **fault)).count() > 0;
    let said = read(&storage, None);
    nothing_invented(&said, &written);
    if !harmed {
        nothing_lost(&said, &written);
    }
});

fn live(storage: &MemoryStorage, life: &Life, segment_size: u64, written: &mut Transactions) {
    let mut now = 1_764_000_000_000;
    let clock = move || {
        now += 1;
        now
    };
    let options = WriterOptions { segment_size, node: "node".into() };
    let mut writer = Writer::begin(storage.clone(), 0, clock, options).expect("memory");
    let epoch = writer.epoch();
    for (index, step) in life.steps.iter().take(64).enumerate() {
        match *step {
            Step::Prepare { transaction, body } => {
                let entry = written.entry((epoch, u64::from(transaction) + 1)).or_default();
                if entry.outcome.is_some() {
                    continue;
                }
                let body = format!("{epoch} {index} {}", "x".repeat(usize::from(body))).into_bytes();
                let mut encoder = EventEncoder::new();
                encoder.push(EventKind::User, index as u64, &[], &body);
                writer.prepare(u64::from(transaction) + 1, encoder.payload()).expect("memory");
                entry.bodies.push(body);
            }
            Step::Commit(transaction) => {
                if decide(written, epoch, transaction, Kind::Commit) {
                    writer.commit(u64::from(transaction) + 1).expect("memory");
                }
            }
            Step::Abort(transaction) => {
                if decide(written, epoch, transaction, Kind::Abort) {
                    writer.abort(u64::from(transaction) + 1).expect("memory");
                }
            }
            Step::Roll => writer.roll().expect("memory"),
            Step::Abandon => writer.abandon().expect("memory"),
            Step::Later { kind, payload } => {
                let payload = vec![0xFF; usize::from(payload)];
                writer.record(Kind::Unknown(kind.saturating_add(100)), 0, &payload).expect("memory");
            }
        }
    }
    if life.closed {
        writer.close().expect("memory");
    }
}

/// Gives the transaction its outcome, if it is open.
fn decide(written: &mut Transactions, epoch: Epoch, transaction: u8, outcome: Kind) -> bool {
    match written.get_mut(&(epoch, u64::from(transaction) + 1)) {
        Some(entry) if entry.outcome.is_none() => {
            entry.outcome = Some(outcome);
            true
        }
        _ => false,
    }
}

/// Whether there was anything to harm.
fn harm(storage: &MemoryStorage, fault: Fault) -> bool {
    let names = storage.names();
    let (Fault::Flip { segment, .. }
    | Fault::Cut { segment, .. }
    | Fault::Zero { segment, .. }
    | Fault::Remove { segment }) = fault;
    let Some(name) = names.get(usize::from(segment) % names.len().max(1)) else { return false };
    let mut bytes = storage.bytes(*name);
    match fault {
        Fault::Flip { bit, .. } => {
            let length = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(usize::from(bit / 8) % length) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Fault::Cut { length, .. } => bytes.truncate(usize::from(length)),
        Fault::Zero { from, length, .. } => {
            let range = usize::from(from)..usize::from(from) + usize::from(length);
            for byte in bytes.iter_mut().take(range.end).skip(range.start) {
                *byte = 0;
            }
        }
        Fault::Remove { .. } => {
            let mut storage = storage.clone();
            keyferry_journal::Storage::remove(&mut storage, *name).expect("memory");
            return true;
        }
    }
    storage.put(*name, bytes);
    true
}

fn nothing_invented(said: &[(Said, Option<keyferry_journal::Resume>)], written: &Transactions) {
    let mut seen = std::collections::HashSet::new();
    for (item, _) in said {
        let Said::Transaction { epoch, id, outcome, events, .. } = item else { continue };
        let meant = written.get(&(*epoch, *id)).expect("a transaction that was never written");
        assert!(seen.insert((*epoch, *id)), "transaction {id} was delivered twice");
        if *outcome == Outcome::Committed {
            assert_eq!(meant.outcome, Some(Kind::Commit), "transaction {id} did not commit");
        }
        let mut meant = meant.bodies.iter();
        for (_, _, body) in events {
            assert!(meant.any(|known| known == body), "an event that was not written, or in another order");
        }
    }
}

fn nothing_lost(said: &[(Said, Option<keyferry_journal::Resume>)], written: &Transactions) {
    let mut expected = 0;
    for ((epoch, id), meant) in written.iter().filter(|(_, meant)| meant.outcome != Some(Kind::Abort)) {
        expected += 1;
        let outcome = if meant.outcome.is_some() { Outcome::Committed } else { Outcome::Unknown };
        let delivered = said.iter().any(|(item, _)| match item {
            Said::Transaction { epoch: e, id: i, outcome: o, events, .. } => {
                (e, i, *o) == (epoch, id, outcome)
                    && events.iter().map(|(.., body)| body).eq(meant.bodies.iter())
            }
            _ => false,
        });
        assert!(delivered, "transaction {id} of {epoch} is missing");
    }
    let delivered = said.iter().filter(|(item, _)| matches!(item, Said::Transaction { .. })).count();
    assert_eq!(delivered, expected);
    assert!(
        !said.iter().any(|(item, _)| matches!(
            item,
            Said::Damage(_) | Said::Lost { .. } | Said::MissingCommits { .. }
        ))
    );
}
