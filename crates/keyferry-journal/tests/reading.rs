//! What the reader makes of a journal: each row of the table "Reading" in `docs/journal-format.md`, and each promise of
//! the feed, by an example.

#![allow(missing_docs)]

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
