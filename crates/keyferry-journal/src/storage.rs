//! What the journal needs of a disk, so that the same reader and writer run on a slot directory and in simulation.
//!
//! Reads may be short and segments may grow at any time; an implementation need not hide either. Nothing here is
//! retried: what an operation returns is what happened.

use std::io;

use crate::format::{Epoch, SegmentName};

/// A segment and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// Its name.
    pub name: SegmentName,
    /// Its length in bytes when it was listed.
    pub length: u64,
}

/// What a reader needs: the segments of one slot, its writer's lock, and a checkpoint file.
pub trait Storage {
    /// The slot, for messages.
    fn describe(&self) -> String;

    /// All segments, in any order. One that is created while the list is made may be missing from it.
    ///
    /// # Errors
    /// What the operating system says.
    fn list(&mut self) -> io::Result<Vec<Segment>>;

    /// Reads at `offset` into `buffer` and returns how much; 0 only at or after the end. May read less than there is.
    ///
    /// # Errors
    /// What the operating system says; [`io::ErrorKind::NotFound`] if there is no such segment.
    fn read_at(&mut self, segment: SegmentName, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The segment's length in bytes now.
    ///
    /// # Errors
    /// As [`Storage::read_at`].
    fn length(&mut self, segment: SegmentName) -> io::Result<u64>;

    /// Whether a process holds the slot's `lock`. What such a process wrote before it let go is visible afterwards.
    ///
    /// # Errors
    /// What the operating system says.
    fn writer_alive(&mut self) -> io::Result<bool>;

    /// Deletes a segment. Deleting one that is gone is no error.
    ///
    /// # Errors
    /// What the operating system says.
    fn remove(&mut self, segment: SegmentName) -> io::Result<()>;

    /// The whole checkpoint file of a destination; empty if there is none.
    ///
    /// # Errors
    /// What the operating system says.
    fn read_checkpoint(&mut self, destination: &str) -> io::Result<Vec<u8>>;

    /// Overwrites part of the checkpoint file of a destination, creating it if need be.
    ///
    /// # Errors
    /// What the operating system says.
    fn write_checkpoint(&mut self, destination: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the checkpoint file of a destination survive a power cut, its name in the directory included.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_checkpoint(&mut self, destination: &str) -> io::Result<()>;
}

/// What a writer needs.
pub trait SegmentStore {
    /// Creates a segment that must not exist and writes its first bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn create(&mut self, segment: SegmentName, header: &[u8]) -> io::Result<()>;

    /// Writes at the end of the segment that was created last.
    ///
    /// # Errors
    /// What the operating system says.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The latest epoch that the slot has ever had: that of its newest segment, or the one that was marked last.
    ///
    /// # Errors
    /// What the operating system says.
    fn last_epoch(&mut self) -> io::Result<Option<Epoch>>;

    /// Marks an epoch as begun, before anything of it exists, so that it is known after any power cut.
    ///
    /// # Errors
    /// What the operating system says.
    fn mark_epoch(&mut self, epoch: Epoch) -> io::Result<()>;
}
