//! Arbitrary bytes as the segments of a slot: the feed ends, every range that it reports lies in its segment, a restart anywhere goes
//! on with exactly what was still to come, and the pieces of each segment follow each other from its first byte to its last.
#![no_main]

use keyferry_fuzz::{Said, read, slot};
use keyferry_journal::{MemoryStorage, Piece, Records, SegmentName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let storage = slot(bytes);
    let said = read(&storage, None);
    for (item, _) in &said {
        if let Said::Damage(range) | Said::TornTail(range) = item {
            assert!(
                range.from < range.to && range.to <= storage.bytes(range.segment).len() as u64,
                "{range:?}"
            );
        }
    }
    restart_anywhere(&storage, &said);
    for segment in storage.names() {
        take_apart(&storage, segment);
    }
});

/// Restarts after a few of the items and compares what follows.
fn restart_anywhere(storage: &MemoryStorage, said: &[(Said, Option<keyferry_journal::Resume>)]) {
    let step = said.len() / 4 + 1;
    for index in (0..said.len()).step_by(step) {
        let Some(resume) = said[index].1 else { continue };
        let rest: Vec<&Said> =
            said[index + 1..].iter().map(|(item, _)| item).filter(|item| is_content(item)).collect();
        let again = read(storage, Some(&resume));
        let again: Vec<&Said> = again.iter().map(|(item, _)| item).filter(|item| is_content(item)).collect();
        assert_eq!(again, rest, "after a restart at {resume:?}");
    }
}

/// Whether it is said exactly once, whatever restarts there are.
fn is_content(item: &Said) -> bool {
    matches!(item, Said::Transaction { .. } | Said::Gap { .. } | Said::Lost { .. })
}

fn take_apart(storage: &MemoryStorage, segment: SegmentName) {
    let length = storage.bytes(segment).len() as u64;
    let mut records = Records::of(storage.clone(), segment);
    let mut at = 0;
    while let Ok(Some(piece)) = records.next() {
        match piece {
            Piece::Header(_) => assert_eq!(at, 0),
            Piece::Record { offset, header, payload } => {
                assert_eq!(payload.len(), header.payload);
                assert!(offset >= at && offset + header.unpadded() as u64 <= length);
                at = offset + header.length() as u64;
            }
            Piece::Unreadable { from, to, .. } => {
                assert!(at <= from && from < to && to <= length, "{from}–{to} of {length}");
                at = to;
            }
        }
    }
}
