//! A segment cut at each byte and with each of its bits flipped: each time the reader says exactly what it must, worked
//! out from the records that are still whole.
//!
//! One of about 4 KiB each time, and of one of 64 KiB a sample; all of it with `KEYFERRY_EXHAUSTIVE=all`, which wants
//! `--release` and takes minutes.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use keyferry_journal::format::{GapCause, GapPayload};
use keyferry_journal::{MemoryStorage, SegmentName};
use support::model::{Meant, expect};
use support::*;

/// What was written, and where.
struct Written {
    storage: MemoryStorage,
    segment: SegmentName,
    header: u64,
    /// Each record, where it begins, and where its padding begins.
    records: Vec<(Meant, u64, u64)>,
    bytes: Vec<u8>,
}

impl Written {
    /// Where record `index` ends, padding included.
    fn end(&self, index: usize) -> u64 {
        self.records.get(index + 1).map_or(self.bytes.len() as u64, |(_, begin, _)| *begin)
    }

    fn meant(&self) -> Vec<Meant> {
        self.records.iter().map(|(meant, ..)| meant.clone()).collect()
    }

    /// Everything that is read, up to the end of the epoch, when the segment holds `bytes`.
    fn read(&self, bytes: Vec<u8>) -> Vec<Seen> {
        self.storage.put(self.segment, bytes);
        let mut feed = feed(self.storage.clone());
        let mut seen = Vec::new();
        while let Some(item) = feed.next(0).unwrap() {
            seen.push(Seen::of(&item));
        }
        seen
    }

    /// What is to be read if the records are these, and `last` is what is said of the bytes at the end.
    fn expected(&self, records: &[Meant], last: Option<Seen>, closed: bool) -> Vec<Seen> {
        let epoch = self.segment.epoch;
        let (mut seen, commit) = expect(epoch, records);
        let in_doubt = |seen: &Seen| {
            matches!(seen, Seen::Transaction { outcome: keyferry_journal::Outcome::Unknown, .. })
        };
        let place = seen.iter().position(in_doubt).unwrap_or(seen.len());
        if let Some(last) = last {
            seen.insert(place, last);
        }
        seen.push(Seen::Ended { epoch, commit, closed });
        seen
    }
}

/// A segment of `size` bytes at least: interleaved transactions, aborts, gaps, some that stay open.
fn written(closed: bool, size: u64) -> Written {
    let storage = MemoryStorage::new();
    let mut writer = writer(&storage, LARGE);
    let segment = writer.segment();
    let header = writer.length();
    let mut records = Vec::new();
    let mut note =
        |meant: Meant, begin: u64, payload: usize| records.push((meant, begin, begin + 32 + payload as u64));
    let mut names = (0..).map(|number| format!("event-{number}"));
    let mut round = 0;
    while writer.length() < size {
        let ids: [u64; 3] = [(); 3].map(|()| writer.next_transaction());
        for id in ids {
            let events: Vec<String> = names.by_ref().take(1 + (id % 2) as usize).collect();
            let refs: Vec<&str> = events.iter().map(String::as_str).collect();
            let bytes = payload(&refs);
            note(Meant::Prepare(id, events), writer.length(), bytes.len());
            writer.prepare(id, &bytes).unwrap();
        }
        note(Meant::Commit(ids[1]), writer.length(), 8);
        writer.commit(ids[1]).unwrap();
        if round % 2 == 0 {
            note(Meant::Abort(ids[2]), writer.length(), 0);
            writer.abort(ids[2]).unwrap();
        }
        let missing = GapPayload {
            user_events: round,
            admin_events: 0,
            first_ms: 1,
            last_ms: 2,
            cause: GapCause::NoSpace,
        };
        note(Meant::Gap(round), writer.length(), 33);
        writer.gap(&missing).unwrap();
        if round % 6 != 3 {
            note(Meant::Commit(ids[0]), writer.length(), 8);
            writer.commit(ids[0]).unwrap();
        }
        round += 1;
    }
    if closed {
        note(Meant::End, writer.length(), 0);
        writer.close().unwrap();
    } else {
        writer.kill();
    }
    storage.set_writer_alive(false);
    let bytes = storage.bytes(segment);
    Written { storage, segment, header, records, bytes }
}

const LARGE: u64 = 1 << 20;
/// Small enough that everything is tried each time, in bytes.
const SMALL: u64 = 3500;
/// The size of the segment that the promise names, in bytes.
const FULL: u64 = 64 << 10;
/// How many of the cuts and bits of the full segment are tried where not all are.
const SAMPLE: usize = 1500;

/// All numbers below `count`, or a sample of them that ends are part of.
fn chosen(count: usize) -> impl Iterator<Item = usize> {
    let all = std::env::var("KEYFERRY_EXHAUSTIVE").is_ok_and(|wanted| wanted == "all");
    // A step that shares no divisor with the sizes of records and sectors meets every place of each.
    let step = if all { 1 } else { (count / SAMPLE) | 1 };
    (0..count).step_by(step).chain(count.saturating_sub(40 * step.min(8))..count)
}

#[test]
fn a_whole_segment_is_read_as_the_model_says() {
    for closed in [false, true] {
        let written = written(closed, SMALL);
        let seen = written.read(written.bytes.clone());
        assert_eq!(seen, written.expected(&written.meant(), None, closed));
    }
}

#[test]
fn cut_at_each_byte() {
    let written = written(true, SMALL);
    (0..written.bytes.len()).for_each(|length| check_cut(&written, length));
}

#[test]
fn a_full_segment_cut_at_each_byte() {
    let written = written(true, FULL);
    chosen(written.bytes.len()).for_each(|length| check_cut(&written, length));
}

fn check_cut(written: &Written, length: usize) {
    let cut = length as u64;
    let whole = (0..written.records.len()).take_while(|index| written.end(*index) <= cut).count();
    let end = if whole > 0 { written.end(whole - 1) } else { written.header };
    let end = if cut < written.header { 0 } else { end };
    let torn = (cut > end).then_some(Seen::TornTail(written.segment, end, cut));
    let seen = written.read(written.bytes[..length].to_vec());
    assert_eq!(seen, written.expected(&written.meant()[..whole], torn, false), "cut at {length}");
}

#[test]
fn each_bit_flipped() {
    for closed in [false, true] {
        let written = written(closed, SMALL);
        // Only at the end does it matter whether the epoch was closed.
        let first = if closed { 0 } else { written.records[written.records.len() - 3].1 as usize };
        (first * 8..written.bytes.len() * 8).for_each(|bit| check_flip(&written, bit, closed));
    }
}

#[test]
fn each_bit_of_a_full_segment_flipped() {
    let written = written(true, FULL);
    let half = written.bytes.len() * 4;
    // Two threads, because it is half a million of readings.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let written = self::written(true, FULL);
            chosen(half).for_each(|bit| check_flip(&written, bit, true));
        });
        chosen(half).for_each(|bit| check_flip(&written, half + bit, true));
    });
}

fn check_flip(written: &Written, bit: usize, closed: bool) {
    let mut bytes = written.bytes.clone();
    bytes[bit / 8] ^= 1 << (bit % 8);
    let seen = written.read(bytes);
    assert_eq!(seen, verdict(written, (bit / 8) as u64, closed), "bit {bit}, closed: {closed}");
}

/// What is to be read when a bit of the byte at `place` is wrong.
fn verdict(written: &Written, place: u64, closed: bool) -> Vec<Seen> {
    let mut meant = written.meant();
    let segment = written.segment;
    if place < written.header {
        let mut expected = written.expected(&meant, None, closed);
        expected.insert(0, Seen::Damage(segment, 0, written.header));
        return expected;
    }
    let index = written.records.iter().rposition(|(_, begin, _)| *begin <= place).unwrap();
    let (_, from, padding) = written.records[index];
    if place >= padding {
        return written.expected(&meant, None, closed);
    }
    let to = written.end(index);
    let was_commit = matches!(meant[index], Meant::Commit(_));
    meant[index] = Meant::Damaged { segment, from, to, was_commit };
    let is_last = index + 1 == meant.len();
    written.expected(&meant, None, closed && !is_last)
}
