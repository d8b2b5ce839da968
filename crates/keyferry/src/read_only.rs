//! A slot that is only looked at: nothing in it is changed, so that a dry run can be made beside a working agent.

use std::io;

use keyferry_journal::storage::Segment;
use keyferry_journal::{SegmentName, Storage};

/// Reads through to a storage; drops every change.
#[derive(Debug)]
pub struct ReadOnly<S>(S);

impl<S> ReadOnly<S> {
    /// A view of `storage`.
    pub fn new(storage: S) -> Self {
        Self(storage)
    }
}

impl<S: Storage> Storage for ReadOnly<S> {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn list(&mut self) -> io::Result<Vec<Segment>> {
        self.0.list()
    }

    fn read_at(&mut self, segment: SegmentName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(segment, offset, buffer)
    }

    fn length(&mut self, segment: SegmentName) -> io::Result<u64> {
        self.0.length(segment)
    }

    fn writer_alive(&mut self) -> io::Result<bool> {
        self.0.writer_alive()
    }

    fn remove(&mut self, _: SegmentName) -> io::Result<()> {
        Ok(())
    }

    fn read_checkpoint(&mut self, _: &str) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn write_checkpoint(&mut self, _: &str, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync_checkpoint(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }
}
