//! What the reader makes of a journal: each row of the table "Reading" in `docs/journal-format.md`, and each promise of
//! the feed, by an example.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use keyferry_journal::feed::LostCause;
use keyferry_journal::format::{GapCause, GapPayload, Kind};
use keyferry_journal::{Error, Feed, FeedOptions, Item, MemoryStorage, Place, SegmentName, Storage};
use support::*;

const LARGE: u64 = 1 << 20;

#[test]
fn transactions_come_in_order_of_commit_and_those_in_doubt_last() {
    let storage = MemoryStorage::new();
    let mut writer = writer(&storage, LARGE);
    let epoch = writer.epoch();
    let [a, b, c, d, e] = [(); 5].map(|()| writer.next_transaction());
    for (id, name) in [(e, "e"), (a, "a"), (b, "b"), (c, "c"), (d, "d")] {
        writer.prepare(id, &payload(&[name])).unwrap();
    }
    writer.commit(c).unwrap();
    writer.abort(b).unwrap();
    writer.prepare(d, &payload(&["d2", "d3"])).unwrap();
    writer.commit(d).unwrap();
    writer.kill();
    assert_eq!(read_slot(&storage), [committed(epoch, 1, &["c"]), committed(epoch, 2, &["d", "d2", "d3"])]);
    storage.set_writer_alive(false);
    assert_eq!(
        read_slot(&storage),
        [
            committed(epoch, 1, &["c"]),
            committed(epoch, 2, &["d", "d2", "d3"]),
            in_doubt(epoch, 3, &["e"]),
            in_doubt(epoch, 4, &["a"]),
            Seen::Ended { epoch, commit: 4, closed: false },
        ]
    );
}

/// Changes the bytes of a segment.
fn edit(storage: &MemoryStorage, segment: SegmentName, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = storage.bytes(segment);
    change(&mut bytes);
    storage.put(segment, bytes);
}

/// A slot with the transactions a, b and c, and the places where each begins and the last ends.
fn three() -> (MemoryStorage, MemoryWriter, [u64; 4]) {
    let storage = MemoryStorage::new();
    let mut writer = writer(&storage, LARGE);
    let mut places = [writer.length(); 4];
    for (index, id) in ["a", "b", "c"].into_iter().enumerate() {
        commit(&mut writer, id);
        places[index + 1] = writer.length();
    }
    (storage, writer, places)
}

#[test]
fn an_empty_slot_has_nothing_and_no_place_to_resume() {
    let storage = MemoryStorage::new();
    let mut feed = feed(storage.clone());
    assert!(feed.next(0).unwrap().is_none());
    assert_eq!(feed.resume_point(), None);
    let mut writer = writer(&storage, LARGE);
    commit(&mut writer, "a");
    assert_eq!(read_all(&mut feed, &mut 1000)[0].0, committed(writer.epoch(), 1, &["a"]));
}

#[test]
fn a_closed_epoch_ends_at_once_and_a_sealed_segment_does_not_end_it() {
    let storage = MemoryStorage::new();
    let mut writer = writer(&storage, LARGE);
    let epoch = writer.epoch();
    commit(&mut writer, "a");
    writer.roll().unwrap();
    assert_eq!(read_slot(&storage), [committed(epoch, 1, &["a"])]);
    commit(&mut writer, "b");
    writer.close().unwrap();
    let mut feed = feed(storage);
    for expected in [
        committed(epoch, 1, &["a"]),
        committed(epoch, 2, &["b"]),
        Seen::Ended { epoch, commit: 2, closed: true },
    ] {
        assert_eq!(Seen::of(&feed.next(0).unwrap().unwrap()), expected);
    }
    assert!(feed.next(0).unwrap().is_none());
}

#[test]
fn a_transaction_may_reach_over_segments_and_be_larger_than_one() {
    let storage = MemoryStorage::new();
    let mut writer = writer(&storage, 4096);
    let epoch = writer.epoch();
    let [early, large] = [writer.next_transaction(), writer.next_transaction()];
    writer.prepare(early, &payload(&["early"])).unwrap();
    let long = "x".repeat(3000);
    for _ in 0..3 {
        commit(&mut writer, &long);
    }
    writer.prepare(large, &payload(&[&long, &long, &long])).unwrap();
    writer.prepare(early, &payload(&["late"])).unwrap();
    writer.commit(early).unwrap();
    writer.commit(large).unwrap();
    assert!(writer.segment().number >= 4);
    let one = committed(epoch, 1, &[&long]);
    let seen = read_slot(&storage);
    assert_eq!(seen[0], one);
    assert_eq!(
        seen[3..],
        [committed(epoch, 4, &["early", "late"]), committed(epoch, 5, &[&long, &long, &long])]
    );
}

#[test]
fn an_event_that_has_left_the_window_is_read_again_and_checked_again() {
    let storage = MemoryStorage::new();
    let mut writer = writer(&storage, 64 << 20);
    let epoch = writer.epoch();
    let early = writer.next_transaction();
    let place = writer.length();
    writer.prepare(early, &payload(&["early"])).unwrap();
    let long = "x".repeat(1000);
    for _ in 0..3000 {
        commit(&mut writer, &long);
    }
    let mut feed = feed(storage.clone());
    assert_eq!(read_all(&mut feed, &mut 0).len(), 3000);
    writer.commit(early).unwrap();
    let resume = feed.resume_point().unwrap();
    assert_eq!(resume.from.offset, place);
    assert_eq!(Seen::of(&feed.next(0).unwrap().unwrap()), committed(epoch, 3001, &["early"]));

    edit(&storage, writer.segment(), |bytes| bytes[place as usize + 40] ^= 1);
    feed.seek(Some(&resume)).unwrap();
    let seen: Vec<_> = read_all(&mut feed, &mut 10_000).into_iter().map(|(seen, _)| seen).collect();
    let lost = Seen::Lost(epoch, 3001, LostCause::NoPrepare);
    assert_eq!(seen, [lost], "the damage lies before the head and is not reported, but the transaction is");
}

#[test]
fn a_prepare_that_rots_between_two_reads_is_reported_as_lost() {
    let storage = MemoryStorage::new();
    let mut writer = writer(&storage, 4096);
    let epoch = writer.epoch();
    let early = writer.next_transaction();
    let (segment, offset) = (writer.segment(), writer.length());
    writer.prepare(early, &payload(&["early"])).unwrap();
    writer.roll().unwrap();
    let mut feed = feed(storage.clone());
    assert!(feed.next(0).unwrap().is_none());
    edit(&storage, segment, |bytes| bytes[offset as usize + 40] ^= 1);
    writer.commit(early).unwrap();
    let cause = LostCause::Unreadable(Place { segment: 0, offset });
    assert_eq!(Seen::of(&feed.next(200).unwrap().unwrap()), Seen::Lost(epoch, 1, cause));
}

#[test]
fn damage_in_the_middle_is_reported_once_it_persists_and_passed() {
    let (storage, writer, [_, b, c, _]) = three();
    let (epoch, segment) = (writer.epoch(), writer.segment());
    edit(&storage, segment, |bytes| bytes[b as usize + 50] ^= 1);
    let mut feed = feed(storage);
    assert_eq!(Seen::of(&feed.next(0).unwrap().unwrap()), committed(epoch, 1, &["a"]));
    assert!(feed.next(0).unwrap().is_none());
    assert!(feed.next(999).unwrap().is_none(), "damage in a growing segment is not believed within a second");
    let Some(Item::Damage(range)) = feed.next(1000).unwrap() else { panic!("no damage") };
    assert_eq!((range.segment, range.from, range.to), (segment, b, c - 40));
    let lost = Seen::Lost(epoch, 2, LostCause::NoPrepare);
    assert_eq!(Seen::of(&feed.next(1000).unwrap().unwrap()), lost);
    assert_eq!(Seen::of(&feed.next(1000).unwrap().unwrap()), committed(epoch, 3, &["c"]));
    let resume = feed.resume_point().unwrap();
    feed.seek(Some(&resume)).unwrap();
    assert!(feed.next(3000).unwrap().is_none(), "what was reported is not reported again");
}

#[test]
fn damage_that_goes_away_within_a_second_was_a_write_in_progress() {
    let (storage, writer, [_, b, ..]) = three();
    let segment = writer.segment();
    edit(&storage, segment, |bytes| bytes[b as usize + 50] ^= 1);
    let mut feed = feed(storage.clone());
    assert_eq!(Seen::of(&feed.next(0).unwrap().unwrap()), committed(writer.epoch(), 1, &["a"]));
    assert!(feed.next(0).unwrap().is_none());
    edit(&storage, segment, |bytes| bytes[b as usize + 50] ^= 1);
    assert_eq!(Seen::of(&feed.next(2000).unwrap().unwrap()), committed(writer.epoch(), 2, &["b"]));
}

#[test]
fn damage_in_a_finished_segment_is_reported_at_once() {
    let (storage, mut writer, [_, b, ..]) = three();
    let (epoch, segment) = (writer.epoch(), writer.segment());
    writer.roll().unwrap();
    edit(&storage, segment, |bytes| bytes[b as usize + 8] ^= 0x80);
    let mut feed = feed(storage);
    assert_eq!(Seen::of(&feed.next(0).unwrap().unwrap()), committed(epoch, 1, &["a"]));
    assert!(matches!(feed.next(0).unwrap(), Some(Item::Damage(_))));
}

#[test]
fn lost_commits_are_missed_by_their_numbers() {
    let (storage, mut writer, [_, b, c, end]) = three();
    let (epoch, segment) = (writer.epoch(), writer.segment());
    edit(&storage, segment, |bytes| bytes[c as usize - 4] ^= 1);
    assert_eq!(
        read_slot(&storage),
        [
            committed(epoch, 1, &["a"]),
            Seen::Damage(segment, c - 40, c),
            Seen::MissingCommits(epoch, 2, 3),
            committed(epoch, 3, &["c"]),
        ]
    );
    writer.roll().unwrap();
    edit(&storage, segment, |bytes| bytes[b as usize..end as usize].fill(7));
    assert_eq!(
        read_slot(&storage),
        [committed(epoch, 1, &["a"]), Seen::Damage(segment, b, end), Seen::MissingCommits(epoch, 2, 4)],
        "the next segment's header tells how many commits the damage held"
    );
}

#[test]
fn a_tail_that_is_cut_short_waits_while_its_writer_lives() {
    let (storage, writer, [.., end]) = three();
    let (epoch, segment) = (writer.epoch(), writer.segment());
    let whole = storage.bytes(segment);
    storage.put(segment, whole[..end as usize - 1].to_vec());
    let mut feed = feed(storage.clone());
    let mut now = 0;
    assert_eq!(read_all(&mut feed, &mut now).len(), 2);
    storage.put(segment, whole);
    assert_eq!(read_all(&mut feed, &mut now)[0].0, committed(epoch, 3, &["c"]));
}

#[test]
fn torn_bytes_that_the_writer_undid_are_read_afresh() {
    let (storage, mut writer, [.., end]) = three();
    let segment = writer.segment();
    edit(&storage, segment, |bytes| {
        bytes.extend_from_slice(b"\xFFKF\xFE half a record that was then undone......")
    });
    let mut feed = feed(storage.clone());
    let mut now = 0;
    assert_eq!(read_all(&mut feed, &mut now).len(), 3);
    edit(&storage, segment, |bytes| bytes.truncate(end as usize));
    commit(&mut writer, "d");
    assert_eq!(read_all(&mut feed, &mut now)[0].0, committed(writer.epoch(), 4, &["d"]));
}

#[test]
fn a_torn_tail_is_told_from_damage_when_the_epoch_has_ended() {
    let (storage, writer, [.., c, end]) = three();
    let (epoch, segment) = (writer.epoch(), writer.segment());
    storage.set_writer_alive(false);
    let ended = Seen::Ended { epoch, commit: 2, closed: false };
    let (whole, commit) = (storage.bytes(segment), end - 40);
    let last_two = |storage: &MemoryStorage| read_slot(storage).split_off(2);

    storage.put(segment, whole[..c as usize + 31].to_vec());
    assert_eq!(last_two(&storage), [Seen::TornTail(segment, c, c + 31), ended.clone()]);
    storage.put(segment, whole[..c as usize + 60].to_vec());
    assert_eq!(last_two(&storage), [Seen::TornTail(segment, c, c + 60), ended.clone()]);
    storage.put(segment, whole[..end as usize - 1].to_vec());
    let doubt = in_doubt(epoch, 3, &["c"]);
    let torn = Seen::TornTail(segment, commit, end - 1);
    assert_eq!(last_two(&storage)[..2], [torn, doubt.clone()]);
    storage.put(segment, whole[..commit as usize].to_vec());
    assert_eq!(last_two(&storage)[0], doubt, "a tail that ends with a record is not even torn");

    storage.put(segment, [&whole[..c as usize], &[0; 200]].concat());
    assert_eq!(last_two(&storage), [Seen::Damage(segment, c, c + 200), ended.clone()]);
    let mut unknown = whole[..c as usize + 60].to_vec();
    unknown[c as usize + 12] = 99;
    storage.put(segment, unknown);
    assert_eq!(last_two(&storage), [Seen::Damage(segment, c, c + 60), ended.clone()]);
    let mut impossible = whole[..c as usize + 60].to_vec();
    impossible[c as usize + 8..c as usize + 12].copy_from_slice(&((64 << 20) + 1u32).to_le_bytes());
    storage.put(segment, impossible);
    assert_eq!(last_two(&storage), [Seen::Damage(segment, c, c + 60), ended]);
}

/// Seeds 48590, 71223 and 152981 of the simulation: the last record seemed to end beyond the segment, and nobody was told that it was lost.
#[test]
fn a_last_record_whose_length_was_flipped_is_damage_and_no_torn_tail() {
    let (storage, writer, [.., end]) = three();
    let segment = writer.segment();
    storage.set_writer_alive(false);
    let (whole, commit) = (storage.bytes(segment), end - 40);
    let length = commit as usize + 8;
    for torn in [&[][..], b"\xFFKF\xFE the record after it, which was cut short"] {
        let bytes = [&whole, torn].concat();
        for bit in 0..32 {
            let mut flipped = bytes.clone();
            flipped[length + bit / 8] ^= 1 << (bit % 8);
            storage.put(segment, flipped);
            let damage = Seen::Damage(segment, commit, bytes.len() as u64);
            assert_eq!(read_slot(&storage)[2], damage, "bit {bit}");
        }
    }
}

/// Seed 15281 of the simulation: those that had been returned were counted, and after a power cut the count reached one too far.
#[test]
fn what_vanishes_among_those_in_doubt_takes_no_other_with_it() {
    let storage = MemoryStorage::new();
    let mut writer = writer(&storage, 1 << 20);
    let segment = writer.segment();
    let mut prepare = |id: &str| {
        let transaction = writer.next_transaction();
        writer.prepare(transaction, &payload(&[id])).unwrap();
    };
    prepare("a");
    let second = storage.bytes(segment).len();
    prepare("b");
    prepare("c");
    storage.set_writer_alive(false);
    let (seen, after_second) = read_all(&mut feed(storage.clone()), &mut 0)[1].clone();
    assert_eq!(seen, in_doubt(segment.epoch, 2, &["b"]));

    edit(&storage, segment, |bytes| bytes[second - 20] ^= 1);
    let mut feed = Feed::open(storage, after_second.as_ref(), FeedOptions::default()).unwrap();
    let rest: Vec<_> = read_all(&mut feed, &mut 0).into_iter().map(|(seen, _)| seen).collect();
    assert!(rest.contains(&in_doubt(segment.epoch, 3, &["c"])), "{rest:?}");
    assert!(!rest.iter().any(|seen| *seen == in_doubt(segment.epoch, 3, &["b"])), "{rest:?}");
}

#[test]
fn a_writer_that_gave_up_a_segment_has_lost_nothing() {
    let (storage, mut writer, [.., end]) = three();
    let (epoch, first) = (writer.epoch(), writer.segment());
    writer.abandon().unwrap();
    commit(&mut writer, "d");
    assert_eq!(read_slot(&storage).split_off(3), [Seen::Abandoned(first), committed(epoch, 4, &["d"])]);
    edit(&storage, first, |bytes| bytes.extend_from_slice(&[1; 20]));
    let damage = Seen::Damage(first, end, end + 20);
    assert_eq!(read_slot(&storage).split_off(3), [damage, committed(epoch, 4, &["d"])]);
}

#[test]
fn bytes_after_seal_or_close_are_damage() {
    let (storage, mut writer, _) = three();
    let (epoch, first) = (writer.epoch(), writer.segment());
    writer.roll().unwrap();
    let sealed = storage.bytes(first).len() as u64;
    edit(&storage, first, |bytes| bytes.extend_from_slice(&[1; 20]));
    commit(&mut writer, "d");
    let second = writer.segment();
    writer.close().unwrap();
    let closed = storage.bytes(second).len() as u64;
    edit(&storage, second, |bytes| bytes.push(1));
    assert_eq!(
        read_slot(&storage).split_off(3),
        [
            Seen::Damage(first, sealed, sealed + 20),
            committed(epoch, 4, &["d"]),
            Seen::Damage(second, closed, closed + 1),
            Seen::Ended { epoch, commit: 4, closed: true },
        ]
    );
}

#[test]
fn a_damaged_header_costs_nothing_but_the_header() {
    let (storage, mut writer, [a, ..]) = three();
    let (epoch, first) = (writer.epoch(), writer.segment());
    writer.roll().unwrap();
    for byte in [0, 9, 11, 30, 45] {
        let storage = storage.copy();
        edit(&storage, first, |bytes| bytes[byte] ^= 0x40);
        let seen = read_slot(&storage);
        assert_eq!(seen[..2], [Seen::Damage(first, 0, a), committed(epoch, 1, &["a"])], "byte {byte}");
        assert_eq!(seen.len(), 4);
    }
}

#[test]
fn a_segment_of_something_else_is_damage_as_a_whole() {
    let (storage, mut writer, _) = three();
    let (epoch, first) = (writer.epoch(), writer.segment());
    writer.roll().unwrap();
    commit(&mut writer, "d");
    let copied = storage.bytes(writer.segment());
    let length = copied.len() as u64;
    storage.put(first, copied);
    let seen =
        [Seen::Damage(first, 0, length), Seen::MissingCommits(epoch, 1, 4), committed(epoch, 4, &["d"])];
    assert_eq!(read_slot(&storage), seen, "a copied segment is not what its name says");
    storage.put(first, vec![b'#'; 100]);
    assert_eq!(read_slot(&storage)[0], Seen::Damage(first, 0, 100));
}

#[test]
fn a_header_that_is_cut_short_waits_or_is_a_torn_tail() {
    let (storage, mut writer, _) = three();
    writer.roll().unwrap();
    let second = writer.segment();
    edit(&storage, second, |bytes| bytes.truncate(20));
    let mut feed = feed(storage.clone());
    let mut now = 0;
    assert_eq!(read_all(&mut feed, &mut now).len(), 3);
    storage.set_writer_alive(false);
    assert_eq!(read_all(&mut feed, &mut now)[0].0, Seen::TornTail(second, 0, 20));
    edit(&storage, second, Vec::clear);
    let ended = Seen::Ended { epoch: writer.epoch(), commit: 3, closed: false };
    assert_eq!(read_slot(&storage).split_off(3), [ended]);
}

#[test]
fn a_later_version_stops_the_feed_and_stays_stopped() {
    let (storage, mut writer, _) = three();
    writer.roll().unwrap();
    let second = writer.segment();
    edit(&storage, second, |bytes| {
        bytes[8] = 2;
        let length = bytes.len();
        let checksum = crc_fast::crc32_iscsi(&bytes[..length - 4]);
        bytes[length - 4..].copy_from_slice(&checksum.to_le_bytes());
    });
    commit(&mut writer, "d");
    let mut feed = feed(storage);
    for _ in 0..3 {
        assert!(matches!(feed.next(0), Ok(Some(Item::Transaction(_)))));
    }
    for now in [0, 5000] {
        let error = feed.next(now).unwrap_err();
        assert!(matches!(error, Error::LaterVersion { version: 2, .. }), "{error}");
        assert!(error.to_string().contains(&second.to_string()));
    }
}

#[test]
fn missing_segments_are_reported_with_their_numbers() {
    let storage = MemoryStorage::new();
    let mut writer = writer(&storage, LARGE);
    let epoch = writer.epoch();
    let mut names = Vec::new();
    for id in ["a", "b", "c", "d"] {
        names.push(writer.segment());
        commit(&mut writer, id);
        writer.roll().unwrap();
    }
    let mut slot = storage.clone();
    slot.remove(names[1]).unwrap();
    slot.remove(names[2]).unwrap();
    assert_eq!(
        read_slot(&storage),
        [
            committed(epoch, 1, &["a"]),
            Seen::MissingSegments(epoch, 1, Some(2)),
            Seen::MissingCommits(epoch, 2, 4),
            committed(epoch, 4, &["d"]),
        ]
    );
}

#[test]
fn the_first_segment_present_may_have_any_number_but_not_that_of_a_later_epoch() {
    let storage = MemoryStorage::new();
    let mut slot = storage.clone();
    let mut first = writer(&storage, LARGE);
    let mut delete = first.segment();
    commit(&mut first, "a");
    first.roll().unwrap();
    commit(&mut first, "b");
    let epoch = first.epoch();
    first.close().unwrap();
    slot.remove(delete).unwrap();
    let mut second = writer(&storage, LARGE);
    delete = second.segment();
    commit(&mut second, "c");
    second.roll().unwrap();
    slot.remove(delete).unwrap();
    assert_eq!(
        read_slot(&storage),
        [
            committed(epoch, 2, &["b"]),
            Seen::Ended { epoch, commit: 2, closed: true },
            Seen::MissingSegments(second.epoch(), 0, Some(0)),
            Seen::MissingCommits(second.epoch(), 1, 2),
        ]
    );
}

#[test]
fn unknown_records_are_reported_once_a_segment_and_gaps_always() {
    let storage = MemoryStorage::new();
    let mut writer = writer(&storage, LARGE);
    let segment = writer.segment();
    let place = writer.length();
    for _ in 0..2 {
        writer.record(Kind::Unknown(77), 0, b"what is this").unwrap();
    }
    let gap =
        GapPayload { user_events: 3, admin_events: 0, first_ms: 1, last_ms: 2, cause: GapCause::NoSpace };
    writer.gap(&gap).unwrap();
    writer.gap(&gap).unwrap();
    commit(&mut writer, "a");
    let missing = Seen::Gap { user_events: 3, cause: GapCause::NoSpace };
    assert_eq!(
        read_slot(&storage),
        [Seen::Unknown(segment, place, 77), missing.clone(), missing, committed(writer.epoch(), 1, &["a"]),]
    );
}

/// A slot in which things happen at the worst moment.
struct Tricky {
    slot: MemoryStorage,
    /// Writes last transactions and dies just when its lock is first looked at.
    writer: Option<MemoryWriter>,
    /// Is not in the next listing, as a segment that is created while the directory is read.
    unlisted: Option<SegmentName>,
    /// Cannot be read.
    broken: Option<SegmentName>,
}

impl Tricky {
    fn new(slot: MemoryStorage) -> Self {
        Self { slot, writer: None, unlisted: None, broken: None }
    }
}

impl Storage for Tricky {
    fn describe(&self) -> String {
        self.slot.describe()
    }
    fn list(&mut self) -> std::io::Result<Vec<keyferry_journal::storage::Segment>> {
        let mut segments = self.slot.list()?;
        if let Some(unlisted) = self.unlisted.take() {
            segments.retain(|segment| segment.name != unlisted);
        }
        Ok(segments)
    }
    fn read_at(&mut self, segment: SegmentName, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.broken == Some(segment) {
            return Err(std::io::Error::other("input/output error"));
        }
        self.slot.read_at(segment, offset, buffer)
    }
    fn length(&mut self, segment: SegmentName) -> std::io::Result<u64> {
        self.slot.length(segment)
    }
    fn writer_alive(&mut self) -> std::io::Result<bool> {
        if let Some(mut writer) = self.writer.take() {
            commit(&mut writer, "last in the segment");
            writer.roll().unwrap();
            commit(&mut writer, "last of all");
            writer.kill();
        }
        Ok(false)
    }
    fn remove(&mut self, segment: SegmentName) -> std::io::Result<()> {
        self.slot.remove(segment)
    }
    fn read_checkpoint(&mut self, destination: &str) -> std::io::Result<Vec<u8>> {
        self.slot.read_checkpoint(destination)
    }
    fn write_checkpoint(&mut self, destination: &str, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.slot.write_checkpoint(destination, offset, bytes)
    }
    fn sync_checkpoint(&mut self, destination: &str) -> std::io::Result<()> {
        self.slot.sync_checkpoint(destination)
    }
}

#[test]
fn what_a_dying_writer_wrote_last_is_not_missed() {
    let (slot, writer, _) = three();
    let epoch = writer.epoch();
    let mut feed = feed(Tricky { writer: Some(writer), ..Tricky::new(slot) });
    let seen: Vec<_> = read_all(&mut feed, &mut 0).into_iter().map(|(seen, _)| seen).collect();
    assert_eq!(
        seen[3..],
        [
            committed(epoch, 4, &["last in the segment"]),
            committed(epoch, 5, &["last of all"]),
            Seen::Ended { epoch, commit: 5, closed: false },
        ]
    );
}

#[test]
fn a_read_that_fails_is_tried_again_and_nothing_is_skipped() {
    let storage = MemoryStorage::new();
    let mut writer = writer(&storage, LARGE);
    let (epoch, first) = (writer.epoch(), writer.segment());
    let early = writer.next_transaction();
    writer.prepare(early, &payload(&["early"])).unwrap();
    writer.roll().unwrap();
    commit(&mut writer, "a");
    writer.commit(early).unwrap();
    commit(&mut writer, "b");
    let mut feed = feed(Tricky::new(storage));
    assert_eq!(Seen::of(&feed.next(0).unwrap().unwrap()), committed(epoch, 1, &["a"]));
    let before = feed.resume_point();
    feed.storage().broken = Some(first);
    for now in [0, 1000] {
        let error = feed.next(now).unwrap_err();
        assert!(matches!(error, Error::Io { operation: "read", .. }), "{error}");
        assert!(error.to_string().contains(&first.to_string()));
        assert_eq!(feed.resume_point().map(|resume| resume.commit), before.map(|resume| resume.commit));
    }
    feed.storage().broken = None;
    for expected in [committed(epoch, 2, &["early"]), committed(epoch, 3, &["b"])] {
        assert_eq!(Seen::of(&feed.next(2000).unwrap().unwrap()), expected);
    }
}

#[test]
fn a_listing_that_shows_a_segment_without_the_one_before_it_is_not_believed() {
    let (slot, mut writer, _) = three();
    let epoch = writer.epoch();
    let resume = {
        let mut feed = feed(slot.clone());
        read_all(&mut feed, &mut 0);
        feed.resume_point().unwrap()
    };
    writer.abandon().unwrap();
    commit(&mut writer, "d");
    let unlisted = Some(writer.segment());
    writer.abandon().unwrap();
    commit(&mut writer, "e");
    let mut feed = Feed::open(Tricky::new(slot), Some(&resume), FeedOptions::default()).unwrap();
    feed.storage().unlisted = unlisted;
    let mut seen = Vec::new();
    while let Some(item) = feed.next(0).unwrap() {
        seen.push(Seen::of(&item));
    }
    seen.retain(|seen| !matches!(seen, Seen::Abandoned(_)));
    let [d, e] = [committed(epoch, 4, &["d"]), committed(epoch, 5, &["e"])];
    assert_eq!(seen[..2], [d, e]);
}

#[test]
fn a_writer_whose_lock_cannot_be_seen_loses_nothing() {
    let (storage, mut writer, _) = three();
    let epoch = writer.epoch();
    let open = writer.next_transaction();
    writer.prepare(open, &payload(&["open"])).unwrap();
    storage.set_writer_alive(false);
    let mut feed = feed(storage.clone());
    let mut now = 0;
    let doubtful = [in_doubt(epoch, 4, &["open"]), Seen::Ended { epoch, commit: 4, closed: false }];
    let seen: Vec<_> = read_all(&mut feed, &mut now).into_iter().map(|(seen, _)| seen).collect();
    assert_eq!(seen[3..], doubtful);
    writer.commit(open).unwrap();
    commit(&mut writer, "e");
    writer.roll().unwrap();
    commit(&mut writer, "f");
    let seen: Vec<_> = read_all(&mut feed, &mut now).into_iter().map(|(seen, _)| seen).collect();
    assert_eq!(
        seen,
        [
            Seen::Reopened(epoch),
            Seen::MissingCommits(epoch, 5, 4),
            committed(epoch, 5, &["e"]),
            committed(epoch, 6, &["f"]),
            Seen::Ended { epoch, commit: 6, closed: false },
        ]
    );
}

#[test]
fn where_doubt_is_to_be_settled_a_free_lock_does_not_end_an_epoch() {
    let (storage, mut writer, _) = three();
    let epoch = writer.epoch();
    let settled = writer.next_transaction();
    writer.prepare(settled, &payload(&["settled"])).unwrap();
    let open = writer.next_transaction();
    writer.prepare(open, &payload(&["open"])).unwrap();
    storage.set_writer_alive(false);
    let options = FeedOptions { wait_for_settlement: true, ..FeedOptions::default() };
    let mut feed = Feed::open(storage.clone(), None, options).unwrap();
    let mut now = 0;
    assert_eq!(read_all(&mut feed, &mut now).len(), 3, "what is in doubt waits for the next start");

    writer.commit(settled).unwrap();
    let mut next = support::writer(&storage, 1 << 20);
    commit(&mut next, "next");
    let seen: Vec<_> = read_all(&mut feed, &mut now).into_iter().map(|(seen, _)| seen).collect();
    assert_eq!(
        seen,
        [
            committed(epoch, 4, &["settled"]),
            in_doubt(epoch, 5, &["open"]),
            Seen::Ended { epoch, commit: 5, closed: false },
            committed(next.epoch(), 1, &["next"]),
        ]
    );
}

#[test]
fn a_later_epoch_ends_the_one_before() {
    let (storage, mut first, _) = three();
    let open = first.next_transaction();
    first.prepare(open, &payload(&["open"])).unwrap();
    let epoch = first.epoch();
    first.kill();
    let mut second = writer(&storage, LARGE);
    commit(&mut second, "z");
    assert_eq!(
        read_slot(&storage).split_off(3),
        [
            in_doubt(epoch, 4, &["open"]),
            Seen::Ended { epoch, commit: 4, closed: false },
            committed(second.epoch(), 1, &["z"]),
        ]
    );
}

#[test]
fn segments_are_deleted_only_when_delivered_and_never_the_newest() {
    let storage = MemoryStorage::new();
    let mut writer = writer(&storage, LARGE);
    let open = writer.next_transaction();
    commit(&mut writer, "a");
    let first = writer.segment();
    writer.roll().unwrap();
    writer.prepare(open, &payload(&["open"])).unwrap();
    let second = writer.segment();
    writer.roll().unwrap();
    commit(&mut writer, "b");
    let third = writer.segment();
    let mut feed = feed(storage.clone());
    let mut now = 0;
    read_all(&mut feed, &mut now);
    let resume = feed.resume_point().unwrap();
    assert_eq!(feed.remove_delivered(resume.segment()).unwrap(), [first]);
    assert_eq!(storage.names(), [second, third], "an open transaction keeps its segment");
    writer.abort(open).unwrap();
    writer.close().unwrap();
    read_all(&mut feed, &mut now);
    let resume = feed.resume_point().unwrap();
    assert_eq!(feed.remove_delivered(resume.segment()).unwrap(), [second]);
    assert_eq!(feed.remove_delivered(resume.segment()).unwrap(), []);
    assert_eq!(feed.backlog(Some(&resume), now + 5000).unwrap(), 0);
    assert_eq!(feed.backlog(None, now + 5000).unwrap(), storage.bytes(third).len() as u64);
    feed.seek(Some(&resume)).unwrap();
    let ended = Seen::Ended { epoch: third.epoch, commit: 2, closed: true };
    assert_eq!(read_all(&mut feed, &mut now).into_iter().map(|(seen, _)| seen).collect::<Vec<_>>(), [ended]);
}

#[test]
fn a_checkpoint_of_another_slot_is_refused() {
    let (storage, mut writer, _) = three();
    writer.roll().unwrap();
    let mut feed = feed(storage.clone());
    read_all(&mut feed, &mut 0);
    let resume = feed.resume_point().unwrap();
    let mut slot = storage;
    slot.remove(writer.segment()).unwrap();
    let error = Feed::open(slot, Some(&resume), FeedOptions::default()).unwrap_err();
    assert!(matches!(error, Error::WentBack { .. }), "{error}");
}

#[test]
fn a_checkpoint_whose_segment_was_deleted_reports_what_is_missing() {
    let (storage, mut writer, _) = three();
    let epoch = writer.epoch();
    let mut feed = feed(storage.clone());
    read_all(&mut feed, &mut 0);
    let resume = feed.resume_point().unwrap();
    commit(&mut writer, "d");
    writer.roll().unwrap();
    commit(&mut writer, "e");
    let mut slot = storage;
    slot.remove(resume.segment()).unwrap();
    let mut feed = Feed::open(slot, Some(&resume), FeedOptions::default()).unwrap();
    let seen: Vec<_> = read_all(&mut feed, &mut 0).into_iter().map(|(seen, _)| seen).collect();
    assert_eq!(
        seen,
        [
            Seen::MissingSegments(epoch, 0, Some(0)),
            Seen::MissingCommits(epoch, 4, 5),
            committed(epoch, 5, &["e"]),
        ]
    );
}

/// A power cut has taken what was written and delivered last; the writer's next start settles what it finds open, in the same place.
#[test]
fn what_is_settled_in_the_place_of_what_a_power_cut_took_is_returned_once() {
    const STRIDE: u64 = 1 << 32;
    let settled = |number: u64| [number.to_le_bytes(), 2_u64.to_le_bytes()].concat();
    let begin = || {
        let storage = MemoryStorage::new();
        let mut writer = writer(&storage, LARGE);
        let [b, a] = [(); 2].map(|()| writer.next_transaction());
        writer.prepare(b, &payload(&["b"])).unwrap();
        writer.prepare(a, &payload(&["a"])).unwrap();
        (storage, writer, [a, b])
    };
    let (storage, mut before, [a, _]) = begin();
    before.commit(a).unwrap();
    let c = before.next_transaction();
    before.prepare(c, &payload(&["c", "and", "more"])).unwrap();
    before.abort(c).unwrap();
    let mut reader = feed(storage);
    assert_eq!(read_all(&mut reader, &mut 1000)[0].0, committed(before.epoch(), 1, &["a"]));
    let resume = reader.resume_point().unwrap();

    let (storage, mut after, [a, b]) = begin();
    let epoch = after.epoch();
    assert_eq!(epoch, before.epoch());
    after.record(Kind::Commit, b, &settled(STRIDE)).unwrap();
    after.record(Kind::Commit, a, &settled(STRIDE + 1)).unwrap();
    assert!(after.length() < resume.head.offset, "it has to stand where something else was read");
    after.kill();
    storage.set_writer_alive(false);
    let expected = [
        committed(epoch, STRIDE, &["b"]),
        committed(epoch, STRIDE + 1, &["a"]),
        Seen::Ended { epoch, commit: STRIDE + 1, closed: false },
    ];
    let mut from = resume;
    for rest in 0..expected.len() {
        let mut feed = Feed::open(storage.clone(), Some(&from), FeedOptions::default()).unwrap();
        let seen = read_all(&mut feed, &mut 1000);
        assert_eq!(seen.iter().map(|(seen, _)| seen.clone()).collect::<Vec<_>>(), expected[rest..]);
        if let Some((_, Some(resume))) = seen.first() {
            from = *resume;
        }
    }
}
