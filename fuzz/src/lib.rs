//! What the fuzz targets share: a slot out of bytes, and everything that a feed says of it.

use keyferry_journal::feed::{ByteRange, LostCause};
use keyferry_journal::format::{GapCause, MAGIC};
use keyferry_journal::{
    Epoch, EventKind, Feed, FeedOptions, Item, MemoryStorage, Outcome, Resume, SegmentName, Storage as _,
};

/// A slot out of one string of bytes: a segment begins wherever the magic of one stands, and is named as its header says. So whole
/// segments, one after the other, are a slot as it was on disk.
#[must_use]
pub fn slot(bytes: &[u8]) -> MemoryStorage {
    let storage = MemoryStorage::new();
    storage.set_writer_alive(false);
    let mut begin = 0;
    while begin < bytes.len() {
        let next = bytes[begin + 1..].windows(MAGIC.len()).position(|window| window == MAGIC);
        let end = next.map_or(bytes.len(), |distance| begin + 1 + distance);
        let segment = &bytes[begin..end];
        storage.put(name(segment), segment.to_vec());
        begin = end;
    }
    storage
}

/// The name that the header of a segment gives.
fn name(segment: &[u8]) -> SegmentName {
    let number =
        segment.get(12..16).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let epoch =
        segment.get(16..24).and_then(<[u8]>::first_chunk).map_or(1, |bytes| u64::from_le_bytes(*bytes));
    SegmentName { epoch: Epoch(epoch), number }
}

/// An [`Item`] that outlives the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the item of the same name")]
pub enum Said {
    /// Events to publish; those after a malformed one are missing.
    Transaction {
        epoch: Epoch,
        commit: u64,
        id: u64,
        outcome: Outcome,
        events: Vec<(EventKind, u64, Vec<u8>)>,
    },
    /// Events that the writer could not journal.
    Gap { segment: SegmentName, offset: u64, events: (u64, u64), cause: GapCause },
    /// Bytes that cannot be read.
    Damage(ByteRange),
    /// A write cut short.
    TornTail(ByteRange),
    /// A segment that was given up.
    Abandoned(SegmentName),
    /// Segments are not there.
    MissingSegments { epoch: Epoch, first: u32, last: Option<u32> },
    /// Commit numbers are not there.
    MissingCommits { epoch: Epoch, expected: u64, found: u64 },
    /// The events of a transaction cannot be read.
    Lost { epoch: Epoch, commit: u64, id: u64, cause: LostCause },
    /// A record of a later release.
    Unknown { segment: SegmentName, offset: u64, kind: u8 },
    /// An epoch has ended.
    Ended { epoch: Epoch, commit: u64, closed: bool },
    /// Anything else.
    Other(String),
}

impl Said {
    fn of(item: &Item<'_>) -> Self {
        match *item {
            Item::Transaction(transaction) => Self::Transaction {
                epoch: transaction.epoch,
                commit: transaction.commit,
                id: transaction.id,
                outcome: transaction.outcome,
                events: transaction
                    .events()
                    .map_while(Result::ok)
                    .map(|event| (event.kind(), event.time_ms(), event.body().to_vec()))
                    .collect(),
            },
            Item::Gap(gap) => Self::Gap {
                segment: gap.segment,
                offset: gap.offset,
                events: (gap.user_events, gap.admin_events),
                cause: gap.cause,
            },
            Item::Damage(range) => Self::Damage(range),
            Item::TornTail(range) => Self::TornTail(range),
            Item::Abandoned(segment) => Self::Abandoned(segment),
            Item::MissingSegments { epoch, first, last } => Self::MissingSegments { epoch, first, last },
            Item::MissingCommits { epoch, expected, found } => {
                Self::MissingCommits { epoch, expected, found }
            }
            Item::LostTransaction { epoch, commit, id, cause, .. } => Self::Lost { epoch, commit, id, cause },
            Item::UnknownRecord { segment, offset, kind } => Self::Unknown { segment, offset, kind },
            Item::EpochEnded { epoch, commit, closed } => Self::Ended { epoch, commit, closed },
            ref other => Self::Other(format!("{other:?}")),
        }
    }
}

/// Everything that a feed says of a slot whose writer is dead, each with the point at which a restart would go on.
///
/// # Panics
/// If it fails for another reason than a later format version, or does not end.
#[must_use]
pub fn read(storage: &MemoryStorage, resume: Option<&Resume>) -> Vec<(Said, Option<Resume>)> {
    let mut feed = Feed::open(storage.clone(), resume, FeedOptions::default()).expect("the feed opens");
    let limit =
        1000 + storage.clone().list().expect("memory").iter().map(|segment| segment.length).sum::<u64>();
    let mut said = Vec::new();
    let mut now_ms = 0;
    let mut idle = 0;
    while idle < 4 {
        assert!((said.len() as u64) < limit, "the feed does not end");
        match feed.next(now_ms) {
            Ok(Some(item)) => {
                idle = 0;
                let item = Said::of(&item);
                said.push((item, feed.resume_point()));
            }
            Ok(None) => {
                idle += 1;
                now_ms += 600;
            }
            Err(keyferry_journal::Error::LaterVersion { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    said
}
