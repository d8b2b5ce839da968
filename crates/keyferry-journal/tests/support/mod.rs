//! What the tests of the reader share: a writer in memory, and items in a form that can be compared.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod model;

use keyferry_journal::event::{EventEncoder, EventKind, Field};
use keyferry_journal::feed::{Gap, LostCause};
use keyferry_journal::format::GapCause;
use keyferry_journal::writer::{Clock, WriterOptions};
use keyferry_journal::{
    Epoch, Feed, FeedOptions, Item, MemoryStorage, Outcome, Resume, SegmentName, SegmentStore, Storage,
    Writer,
};

/// A time that goes forward by one millisecond each time it is asked for.
#[derive(Debug, Clone)]
pub struct Ticks(pub u64);

impl Clock for Ticks {
    fn now_ms(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

pub const BEGIN_MS: u64 = 1_764_000_000_000;

pub type MemoryWriter = Writer<MemoryStorage, Ticks>;

/// A writer in memory whose segments end at `segment_size` bytes.
pub fn writer(storage: &MemoryStorage, segment_size: u64) -> MemoryWriter {
    let options = WriterOptions { segment_size, node: "kc-1".into() };
    Writer::begin(storage.clone(), 0, Ticks(BEGIN_MS), options).unwrap()
}

/// The payload of a PREPARE with these event ids.
pub fn payload(ids: &[&str]) -> Vec<u8> {
    let mut encoder = EventEncoder::new();
    for id in ids {
        let body = format!("{{\"id\":\"{id}\",\"type\":\"LOGIN\"}}");
        let fields = [(Field::Id, *id), (Field::Type, "LOGIN"), (Field::RealmName, "master")];
        encoder.push(EventKind::User, BEGIN_MS, &fields, body.as_bytes());
    }
    encoder.payload().to_vec()
}

/// Writes a transaction with one event, and commits it.
pub fn commit<W: SegmentStore, C: Clock>(writer: &mut Writer<W, C>, id: &str) -> u64 {
    let transaction = writer.next_transaction();
    writer.prepare(transaction, &payload(&[id])).unwrap();
    writer.commit(transaction).unwrap()
}

/// An [`Item`] without borrowed parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Transaction { epoch: Epoch, commit: u64, outcome: Outcome, ids: Vec<String> },
    Gap { user_events: u64, cause: GapCause },
    Damage(SegmentName, u64, u64),
    TornTail(SegmentName, u64, u64),
    Abandoned(SegmentName),
    MissingSegments(Epoch, u32, Option<u32>),
    MissingCommits(Epoch, u64, u64),
    Lost(Epoch, u64, LostCause),
    Unknown(SegmentName, u64, u8),
    Ended { epoch: Epoch, commit: u64, closed: bool },
    Reopened(Epoch),
}

impl Seen {
    pub fn of(item: &Item<'_>) -> Self {
        match *item {
            Item::Transaction(transaction) => Self::Transaction {
                epoch: transaction.epoch,
                commit: transaction.commit,
                outcome: transaction.outcome,
                ids: transaction.events().map(|event| event.unwrap().id().unwrap().to_owned()).collect(),
            },
            Item::Gap(Gap { user_events, cause, .. }) => Self::Gap { user_events, cause },
            Item::Damage(range) => Self::Damage(range.segment, range.from, range.to),
            Item::TornTail(range) => Self::TornTail(range.segment, range.from, range.to),
            Item::Abandoned(segment) => Self::Abandoned(segment),
            Item::MissingSegments { epoch, first, last } => Self::MissingSegments(epoch, first, last),
            Item::MissingCommits { epoch, expected, found } => Self::MissingCommits(epoch, expected, found),
            Item::LostTransaction { epoch, commit, cause, .. } => Self::Lost(epoch, commit, cause),
            Item::UnknownRecord { segment, offset, kind } => Self::Unknown(segment, offset, kind),
            Item::EpochEnded { epoch, commit, closed } => Self::Ended { epoch, commit, closed },
            Item::EpochReopened { epoch } => Self::Reopened(epoch),
        }
    }

    /// Whether it is to be returned exactly once, whatever restarts there are.
    pub fn is_content(&self) -> bool {
        matches!(self, Self::Transaction { .. } | Self::Gap { .. })
    }
}

/// A feed from the oldest segment.
pub fn feed<S: Storage>(storage: S) -> Feed<S> {
    Feed::open(storage, None, FeedOptions::default()).unwrap()
}

/// Everything that the feed has, calling again later when it has caught up, until nothing comes for two seconds.
pub fn read_all<S: Storage>(feed: &mut Feed<S>, now_ms: &mut u64) -> Vec<(Seen, Option<Resume>)> {
    let mut seen = Vec::new();
    let mut idle = 0;
    while idle < 8 {
        match feed.next(*now_ms).unwrap() {
            Some(item) => {
                idle = 0;
                let item = Seen::of(&item);
                seen.push((item, feed.resume_point()));
            }
            None => {
                idle += 1;
                *now_ms += 250;
            }
        }
    }
    seen
}

/// Everything in the slot, read in one go from the oldest segment.
pub fn read_slot(storage: &MemoryStorage) -> Vec<Seen> {
    let mut feed = feed(storage.clone());
    read_all(&mut feed, &mut 0).into_iter().map(|(seen, _)| seen).collect()
}

/// A committed transaction as it is seen.
pub fn committed(epoch: Epoch, commit: u64, ids: &[&str]) -> Seen {
    transaction(epoch, commit, Outcome::Committed, ids)
}

/// A transaction in doubt as it is seen.
pub fn in_doubt(epoch: Epoch, commit: u64, ids: &[&str]) -> Seen {
    transaction(epoch, commit, Outcome::Unknown, ids)
}

fn transaction(epoch: Epoch, commit: u64, outcome: Outcome, ids: &[&str]) -> Seen {
    Seen::Transaction { epoch, commit, outcome, ids: ids.iter().map(|id| (*id).to_owned()).collect() }
}
