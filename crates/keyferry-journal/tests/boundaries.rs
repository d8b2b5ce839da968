//! Numbers at the end of their width: segments, commits, transactions, offsets beyond 4 GiB, sequences.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use keyferry_journal::format::{Kind, Salt, SegmentHeader, encode_record};
use keyferry_journal::{
    CheckpointFile, Epoch, Feed, FeedOptions, MemoryStorage, Place, Resume, SegmentName, SlotDirectory,
};
use support::*;

const EPOCH: Epoch = Epoch(0x0006_447b_0d1a_2c00);

/// One segment, made record by record.
struct Segment {
    name: SegmentName,
    bytes: Vec<u8>,
}

impl Segment {
    fn begin(epoch: Epoch, number: u32, first_commit: u64) -> Self {
        let name = SegmentName { epoch, number };
        let header = SegmentHeader { name, first_commit, created_ms: u64::MAX, node: "kc-1".into() };
        Self { name, bytes: header.encode() }
    }

    fn record(mut self, kind: Kind, transaction: u64, payload: &[u8]) -> Self {
        let salt = Salt::of(self.name);
        // `base` is where the first byte of `bytes` lies.
        encode_record(&mut self.bytes, salt, 0, kind, transaction, u64::MAX, payload);
        self
    }

    fn prepare(self, transaction: u64, event: &str) -> Self {
        self.record(Kind::Prepare, transaction, &payload(&[event]))
    }

    fn commit(self, transaction: u64, number: u64) -> Self {
        self.record(Kind::Commit, transaction, &number.to_le_bytes())
    }

    fn put(self, storage: &MemoryStorage) {
        storage.put(self.name, self.bytes);
    }
}

fn dead_slot() -> MemoryStorage {
    let storage = MemoryStorage::new();
    storage.set_writer_alive(false);
    storage
}

/// A point before which everything with a commit number up to `commit` has been returned.
fn resume(segment: SegmentName, commit: u64) -> Resume {
    let place = Place { segment: segment.number, offset: 0 };
    Resume { epoch: segment.epoch, from: place, head: place, commit, in_doubt: None }
}

fn read_from(storage: &MemoryStorage, from: &Resume) -> Vec<Seen> {
    let mut feed = Feed::open(storage.clone(), Some(from), FeedOptions::default()).unwrap();
    let seen = read_all(&mut feed, &mut 0);
    // Wherever a restart happens, what follows is the same.
    for (index, (_, point)) in seen.iter().enumerate() {
        let mut again = Feed::open(storage.clone(), point.as_ref(), FeedOptions::default()).unwrap();
        let rest = read_all(&mut again, &mut 0).into_iter().map(|(seen, _)| seen).filter(Seen::is_content);
        let expected = seen[index + 1..].iter().map(|(seen, _)| seen.clone()).filter(Seen::is_content);
        assert_eq!(rest.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "after a restart at {point:?}");
    }
    seen.into_iter().map(|(seen, _)| seen).collect()
}

#[test]
fn the_last_segment_numbers_of_an_epoch() {
    let storage = dead_slot();
    let before_last = Segment::begin(EPOCH, u32::MAX - 1, 7).prepare(1, "a").prepare(2, "b").commit(1, 7);
    let first = before_last.name;
    before_last.record(Kind::Seal, 0, &[]).put(&storage);
    Segment::begin(EPOCH, u32::MAX, 8).commit(2, 8).prepare(3, "c").record(Kind::Close, 0, &[]).put(&storage);
    let expected = [
        committed(EPOCH, 7, &["a"]),
        committed(EPOCH, 8, &["b"]),
        in_doubt(EPOCH, 9, &["c"]),
        Seen::Ended { epoch: EPOCH, commit: 9, closed: true },
    ];
    assert_eq!(read_from(&storage, &resume(first, 6)), expected);
}

#[test]
fn segments_missing_up_to_the_last_number() {
    let storage = dead_slot();
    Segment::begin(EPOCH, 0, 1).prepare(1, "a").commit(1, 1).put(&storage);
    Segment::begin(EPOCH, u32::MAX, 2).prepare(2, "b").commit(2, 2).put(&storage);
    let expected = [
        committed(EPOCH, 1, &["a"]),
        Seen::Abandoned(SegmentName { epoch: EPOCH, number: 0 }),
        Seen::MissingSegments(EPOCH, 1, Some(u32::MAX - 1)),
        committed(EPOCH, 2, &["b"]),
        Seen::Ended { epoch: EPOCH, commit: 2, closed: false },
    ];
    assert_eq!(read_slot(&storage), expected);
}

#[test]
fn a_seal_in_the_last_possible_segment_ends_the_epoch_without_overflow() {
    let storage = dead_slot();
    let last = Segment::begin(EPOCH, u32::MAX, 1).prepare(1, "a").commit(1, 1).record(Kind::Seal, 0, &[]);
    let name = last.name;
    last.put(&storage);
    let expected = [committed(EPOCH, 1, &["a"]), Seen::Ended { epoch: EPOCH, commit: 1, closed: false }];
    assert_eq!(read_from(&storage, &resume(name, 0)), expected);
}

#[test]
fn the_last_commit_numbers() {
    let storage = dead_slot();
    let segment = Segment::begin(EPOCH, 3, u64::MAX - 2)
        .prepare(1, "a")
        .commit(1, u64::MAX - 2)
        .prepare(2, "b")
        .commit(2, u64::MAX - 1)
        .prepare(3, "c")
        .record(Kind::Close, 0, &[]);
    let name = segment.name;
    segment.put(&storage);
    let expected = [
        committed(EPOCH, u64::MAX - 2, &["a"]),
        committed(EPOCH, u64::MAX - 1, &["b"]),
        in_doubt(EPOCH, u64::MAX, &["c"]),
    ];
    assert_eq!(read_from(&storage, &resume(name, u64::MAX - 3))[..3], expected);
}

#[test]
fn commit_numbers_that_cannot_follow_are_reported_and_not_computed_with() {
    let storage = dead_slot();
    Segment::begin(EPOCH, 0, 1)
        .prepare(1, "a")
        .commit(1, u64::MAX)
        .prepare(2, "b")
        .commit(2, u64::MAX)
        .prepare(3, "c")
        .commit(3, 0)
        .put(&storage);
    let seen = read_slot(&storage);
    assert_eq!(seen[0], Seen::MissingCommits(EPOCH, 1, u64::MAX));
    let content: Vec<&Seen> = seen.iter().filter(|seen| seen.is_content()).collect();
    let ids = content.iter().filter_map(|seen| match seen {
        Seen::Transaction { ids, .. } => Some(ids.join(",")),
        _ => None,
    });
    assert_eq!(ids.collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn a_repeated_commit_decides_only_where_the_first_cannot_be_read() {
    let repeated = |number: u64| [number.to_le_bytes(), 1u64.to_le_bytes()].concat();
    let storage = dead_slot();
    let abandoned = Segment::begin(EPOCH, 0, 1).prepare(1, "a").prepare(2, "b").commit(1, 1);
    let name = abandoned.name;
    abandoned.put(&storage);
    Segment::begin(EPOCH, 1, 2)
        .record(Kind::Commit, 1, &repeated(2))
        .record(Kind::Commit, 2, &repeated(3))
        .record(Kind::Close, 0, &[])
        .put(&storage);
    let expected = [
        committed(EPOCH, 1, &["a"]),
        Seen::Abandoned(name),
        committed(EPOCH, 3, &["b"]),
        Seen::Ended { epoch: EPOCH, commit: 3, closed: true },
    ];
    assert_eq!(read_from(&storage, &resume(name, 0)), expected);
}

#[test]
fn the_last_transaction_ids() {
    let storage = dead_slot();
    Segment::begin(EPOCH, 0, 1)
        .prepare(u64::MAX, "a")
        .prepare(u64::MAX - 1, "b")
        .commit(u64::MAX, 1)
        .record(Kind::Abort, u64::MAX - 1, &[])
        .prepare(u64::MAX - 2, "c")
        .put(&storage);
    let expected = [
        committed(EPOCH, 1, &["a"]),
        in_doubt(EPOCH, 2, &["c"]),
        Seen::Ended { epoch: EPOCH, commit: 2, closed: false },
    ];
    assert_eq!(read_slot(&storage), expected);
}

#[test]
fn the_last_epoch() {
    let storage = dead_slot();
    let last = Epoch(u64::MAX);
    Segment::begin(EPOCH, 0, 1).prepare(1, "a").commit(1, 1).put(&storage);
    Segment::begin(last, 0, 1).prepare(1, "b").commit(1, 1).put(&storage);
    let content: Vec<Seen> = read_slot(&storage).into_iter().filter(Seen::is_content).collect();
    assert_eq!(content, [committed(EPOCH, 1, &["a"]), committed(last, 1, &["b"])]);
}

#[test]
fn the_largest_position_in_a_checkpoint() {
    let mut storage = MemoryStorage::new();
    let place = Place { segment: u32::MAX, offset: u64::MAX };
    let resume =
        Resume { epoch: Epoch(u64::MAX), from: place, head: place, commit: u64::MAX, in_doubt: Some(place) };
    CheckpointFile::begin_anew("default").write(&mut storage, Some(resume), u64::MAX).unwrap();
    let (_, read) = CheckpointFile::load(&mut storage, "default").unwrap();
    let read = read.unwrap();
    assert_eq!((read.resume, read.next_sequence), (Some(resume), u64::MAX));
}

/// The offset of a record beyond 4 GiB, so that it does not fit 32 bits, in a file that is mostly a hole.
const FAR: u64 = (5 << 30) + 4096;

#[test]
fn the_checksum_covers_all_64_bits_of_the_offset() {
    let name = SegmentName { epoch: Epoch(u64::MAX - 1), number: u32::MAX - 2 };
    for offset in [64, FAR, FAR % (1 << 32), u64::MAX - 1023] {
        let mut record = Vec::new();
        encode_record(&mut record, Salt::of(name), offset, Kind::Prepare, 1, 1, b"payload");
        let place =
            [&name.epoch.0.to_le_bytes()[..], &name.number.to_le_bytes(), &offset.to_le_bytes()].concat();
        let checksum = crc_fast::crc32_iscsi(&[&place[..], &record[8..32 + b"payload".len()]].concat());
        assert_eq!(record[4..8], checksum.to_le_bytes(), "offset {offset}");
    }
}

#[test]
fn records_beyond_4_gib_in_a_sparse_segment() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("lock"), "").unwrap();
    let near = Segment::begin(EPOCH, 0, 1);
    let mut far = Vec::new();
    for (kind, transaction, payload) in [
        (Kind::Prepare, 1, payload(&["a"])),
        (Kind::Prepare, 2, payload(&["b"])),
        (Kind::Commit, 1, 1u64.to_le_bytes().to_vec()),
        (Kind::Seal, 0, Vec::new()),
    ] {
        encode_record(&mut far, Salt::of(near.name), FAR, kind, transaction, 1, &payload);
    }
    let after = Segment::begin(EPOCH, 1, 2).prepare(2, "b, late").commit(2, 2).record(Kind::Close, 0, &[]);
    write(directory.path(), near.name, &[(0, &near.bytes), (FAR, &far)]);
    write(directory.path(), after.name, &[(0, &after.bytes)]);

    // Nobody reads 5 GiB of a hole here: as after a restart, reading begins behind it.
    let begin = Place { segment: 0, offset: FAR };
    let from = Resume { epoch: EPOCH, from: begin, head: begin, commit: 0, in_doubt: None };
    let slot = || SlotDirectory::open(directory.path()).unwrap();
    let mut feed = Feed::open(slot(), Some(&from), FeedOptions::default()).unwrap();
    let seen = read_all(&mut feed, &mut 0);
    let expected = [
        committed(EPOCH, 1, &["a"]),
        committed(EPOCH, 2, &["b", "b, late"]),
        Seen::Ended { epoch: EPOCH, commit: 2, closed: true },
    ];
    assert_eq!(seen.iter().map(|(seen, _)| seen.clone()).collect::<Vec<_>>(), expected);

    // After the first transaction the second is still open, and its PREPARE lies beyond 4 GiB.
    let point = seen[0].1.unwrap();
    assert!(point.from.offset > FAR && point.head.offset > point.from.offset);
    let mut again = Feed::open(slot(), Some(&point), FeedOptions::default()).unwrap();
    assert_eq!(again.backlog(Some(&from), 0).unwrap(), (far.len() + after.bytes.len()) as u64);
    let rest: Vec<Seen> = read_all(&mut again, &mut 0).into_iter().map(|(seen, _)| seen).collect();
    assert_eq!(rest, expected[1..]);
}

/// Writes pieces of a segment's file, with holes between them.
fn write(directory: &Path, name: SegmentName, pieces: &[(u64, &[u8])]) {
    let path = directory.join(name.to_string());
    let file = OpenOptions::new().write(true).create_new(true).open(path).unwrap();
    pieces.iter().for_each(|(offset, bytes)| file.write_all_at(bytes, *offset).unwrap());
}
