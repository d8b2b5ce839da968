//! A slot together with what was moved from it to an archive, read as if it had never been moved.
//!
//! The slot is looked at first, both in a list and for a segment: one that is moved meanwhile lies in the archive before it goes from the slot, and is found there.

use std::io;
use std::path::Path;

use keyferry_journal::storage::Segment;
use keyferry_journal::{Error, SegmentName, SlotDirectory, Storage};

use crate::read_only::ReadOnly;

/// A slot and its archive, for reading.
pub type SlotStorage = ReadOnly<WithArchive>;

/// A slot and its archive, if there is one.
#[derive(Debug)]
pub struct WithArchive {
    slot: SlotDirectory,
    archive: Option<SlotDirectory>,
}

impl WithArchive {
    /// The slot at `slot` and the archive at `archive`.
    ///
    /// # Errors
    /// One of them cannot be listed.
    pub fn open(slot: &Path, archive: Option<&Path>) -> Result<Self, Error> {
        Ok(Self { slot: SlotDirectory::open(slot)?, archive: archive.map(SlotDirectory::open).transpose()? })
    }

    /// What `read` finds in the slot, or else in the archive.
    fn either<T>(&mut self, mut read: impl FnMut(&mut SlotDirectory) -> io::Result<T>) -> io::Result<T> {
        match (read(&mut self.slot), &mut self.archive) {
            (Err(error), Some(archive)) if error.kind() == io::ErrorKind::NotFound => read(archive),
            (found, _) => found,
        }
    }
}

impl Storage for WithArchive {
    fn describe(&self) -> String {
        self.slot.describe()
    }

    fn list(&mut self) -> io::Result<Vec<Segment>> {
        let mut segments = self.slot.list()?;
        if let Some(archive) = &mut self.archive {
            let archived = archive.list()?;
            segments.extend(archived);
            segments.sort_by_key(|segment| segment.name);
            // The sort is stable: the first of a name is that of the slot.
            segments.dedup_by_key(|segment| segment.name);
        }
        Ok(segments)
    }

    fn read_at(&mut self, segment: SegmentName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.either(|directory| directory.read_at(segment, offset, buffer))
    }

    fn length(&mut self, segment: SegmentName) -> io::Result<u64> {
        self.either(|directory| directory.length(segment))
    }

    fn writer_alive(&mut self) -> io::Result<bool> {
        self.slot.writer_alive()
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
