//! The items of a slot, from its oldest segment up to where it ended when reading began.
//!
//! Beside a living writer the end moves and the agent deletes segments at the beginning. So the end is fixed once, and a segment that is gone when it would be
//! opened is looked for anew in the directory: the feed then finds it missing, and the checkpoint tells that it was delivered.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use keyferry_journal::storage::Segment;
use keyferry_journal::{Feed, FeedOptions, Item, Piece, Records, SegmentName, Storage};

use super::slot::Slot;
use crate::error::Error;

/// Nothing is waited for; only damage in a segment that is being written must last for as long as the agent would have it.
const OPTIONS: FeedOptions = FeedOptions {
    damage_persists_ms: 1000,
    list_interval_ms: 0,
    writer_interval_ms: 0,
    wait_for_settlement: false,
};

/// How long to wait for a write in progress, or for damage to prove that it lasts.
const PATIENCE: Duration = Duration::from_millis(1100);

/// What is left at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// Transactions that a living writer has begun and not ended.
    pub open_transactions: usize,
}

/// Calls `visit` for each item of the slot.
///
/// # Errors
/// The journal cannot be read, or what `visit` returns.
pub fn each_item(slot: &Slot, visit: impl FnMut(&Item<'_>) -> Result<(), Error>) -> Result<Rest, Error> {
    let end = slot.segments()?.last().copied();
    each_item_up_to(end, slot.storage()?, || Ok(slot.writer()?.is_some()), visit)
}

/// Calls `visit` for each piece of a segment. One that the agent has deleted since it was listed has none.
///
/// # Errors
/// The segment cannot be read, or what `visit` returns.
pub fn each_piece(
    slot: &Slot,
    segment: SegmentName,
    mut visit: impl FnMut(&Piece<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut records = Records::of(slot.storage()?, segment);
    loop {
        match records.next() {
            Ok(Some(piece)) => visit(&piece)?,
            Ok(None) => return Ok(()),
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn each_item_up_to<S: Storage>(
    end: Option<Segment>,
    storage: S,
    mut writer_lives: impl FnMut() -> Result<bool, Error>,
    mut visit: impl FnMut(&Item<'_>) -> Result<(), Error>,
) -> Result<Rest, Error> {
    let mut feed = Feed::open(storage, None, OPTIONS)?;
    let begun = Instant::now();
    let mut waited = false;
    loop {
        let now = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let met = match feed.next(now) {
            Ok(Some(item)) => visit(&item).map(|()| true)?,
            Ok(None) => false,
            Err(error) if is_gone(&error) => {
                let resume = feed.resume_point();
                feed.seek(resume.as_ref())?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let before = is_before(&feed, end);
        if !met && (waited || !before) {
            break;
        }
        if met && !before && writer_lives()? {
            break;
        }
        waited = !met;
        if waited && writer_lives()? {
            sleep(PATIENCE);
        }
    }
    Ok(Rest { open_transactions: feed.open_transactions() })
}

/// Whether there was more, when reading began, than has been read.
fn is_before<S: Storage>(feed: &Feed<S>, end: Option<Segment>) -> bool {
    let Some(end) = end else { return false };
    feed.resume_point().is_none_or(|resume| {
        (resume.epoch, resume.head.segment, resume.head.offset)
            < (end.name.epoch, end.name.number, end.length)
    })
}

/// Whether a segment has been deleted since the directory was listed.
pub fn is_gone(error: &keyferry_journal::Error) -> bool {
    matches!(error, keyferry_journal::Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use keyferry_journal::event::{EventEncoder, EventKind};
    use keyferry_journal::slot::OwnedSlot;
    use keyferry_journal::storage::SegmentStore;
    use keyferry_journal::writer::WriterOptions;
    use keyferry_journal::{CheckpointFile, MemoryStorage, SlotDirectory, Writer};

    use super::*;
    use crate::journal::check::Remark;

    /// A closed epoch of `count` transactions over many segments.
    fn write(store: impl SegmentStore, count: usize) {
        let options = WriterOptions { segment_size: 300, node: "kc-1".to_owned() };
        let mut writer = Writer::begin(store, 0, || 1, options).unwrap();
        let mut events = EventEncoder::new();
        events.push(EventKind::User, 1, &[], b"{}");
        for _ in 0..count {
            let id = writer.next_transaction();
            writer.prepare(id, events.payload()).unwrap();
            writer.commit(id).unwrap();
        }
        writer.close().unwrap();
    }

    /// Delivers `count` transactions, leaves a checkpoint and deletes what is delivered, as an agent does.
    fn deliver(slot: &Path, count: usize) {
        let mut feed = Feed::open(SlotDirectory::open(slot).unwrap(), None, OPTIONS).unwrap();
        for _ in 0..count {
            assert!(feed.next(0).unwrap().is_some());
        }
        let resume = feed.resume_point();
        let (mut file, _) = CheckpointFile::load(feed.storage(), "default").unwrap();
        file.write_durable(feed.storage(), resume, 1).unwrap();
        assert!(feed.remove_delivered(resume.unwrap().segment()).unwrap().len() > 4);
    }

    #[test]
    fn an_agent_that_deletes_what_is_being_read_is_no_damage() {
        let journal = tempfile::tempdir().unwrap();
        write(OwnedSlot::claim(journal.path()).unwrap(), 40);
        let path = journal.path().join("slot-0");
        let slot = &Slot::all_of(journal.path()).unwrap()[0];
        let (mut transactions, mut remarks, mut last) = (0, Vec::new(), 0);
        each_item(slot, |item| {
            if transactions == 0 {
                deliver(&path, 30);
            }
            if let Item::Transaction(transaction) = item {
                transactions += 1;
                last = transaction.commit;
            }
            remarks.extend(Remark::of(slot, item)?);
            Ok(())
        })
        .unwrap();
        assert_eq!(last, 40, "not read to the end");
        assert!(transactions < 40, "nothing was deleted before it was read");
        assert!(!remarks.is_empty() && !remarks.iter().any(Remark::is_damage), "{remarks:?}");
    }
    /// A slot whose agent deletes a segment between the moment it is listed and the moment it is opened.
    struct Vanishing {
        slot: MemoryStorage,
        doomed: SegmentName,
    }

    impl Storage for Vanishing {
        fn describe(&self) -> String {
            self.slot.describe()
        }

        fn list(&mut self) -> io::Result<Vec<Segment>> {
            self.slot.list()
        }

        fn read_at(&mut self, segment: SegmentName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            if segment == self.doomed {
                self.slot.remove(segment)?;
            }
            self.slot.read_at(segment, offset, buffer)
        }

        fn length(&mut self, segment: SegmentName) -> io::Result<u64> {
            self.slot.length(segment)
        }

        fn writer_alive(&mut self) -> io::Result<bool> {
            Ok(false)
        }

        fn remove(&mut self, segment: SegmentName) -> io::Result<()> {
            self.slot.remove(segment)
        }

        fn read_checkpoint(&mut self, destination: &str) -> io::Result<Vec<u8>> {
            self.slot.read_checkpoint(destination)
        }

        fn write_checkpoint(&mut self, destination: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.slot.write_checkpoint(destination, offset, bytes)
        }

        fn sync_checkpoint(&mut self, destination: &str) -> io::Result<()> {
            self.slot.sync_checkpoint(destination)
        }
    }

    #[test]
    fn a_segment_that_vanishes_before_it_is_opened_is_missing_and_no_error() {
        let slot = MemoryStorage::new();
        write(slot.clone(), 10);
        let names = slot.names();
        for doomed in [names[0], names[2]] {
            let mut vanishing = Vanishing { slot: slot.copy(), doomed };
            let end = vanishing.list().unwrap().into_iter().max();
            let (mut missing, mut last) = (0, 0);
            each_item_up_to(
                end,
                vanishing,
                || Ok(false),
                |item| {
                    match item {
                        Item::Transaction(transaction) => last = transaction.commit,
                        Item::MissingSegments { .. } | Item::MissingCommits { .. } => missing += 1,
                        _ => {}
                    }
                    Ok(())
                },
            )
            .unwrap();
            assert_eq!(last, 10, "not read to the end");
            assert_eq!(missing > 0, doomed != names[0], "the beginning of a slot is where it begins");
        }
    }
}
