//! A slot in memory: deterministic, and shared between the writer and any number of readers of one test or simulation.
//!
//! Clones are handles to the same slot. Two knobs stand for what a disk and a kernel do: how much of the newest bytes a
//! reader sees, and how much one read returns.

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use crate::format::{Epoch, SegmentName};
use crate::storage::{Segment, SegmentStore, Storage};

/// A slot in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    slot: Rc<RefCell<Slot>>,
}

#[derive(Debug, Clone)]
struct Slot {
    segments: BTreeMap<SegmentName, Vec<u8>>,
    checkpoints: BTreeMap<String, Vec<u8>>,
    marked: Option<Epoch>,
    writer_alive: bool,
    longest_read: usize,
    reads: u64,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            segments: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            marked: None,
            writer_alive: true,
            longest_read: usize::MAX,
            reads: 0,
        }
    }
}

impl MemoryStorage {
    /// An empty slot whose writer lives.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another slot with the same content.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self { slot: Rc::new(RefCell::new(self.slot.borrow().clone())) }
    }

    /// Sets whether the writer holds its lock.
    pub fn set_writer_alive(&self, alive: bool) {
        self.slot.borrow_mut().writer_alive = alive;
    }

    /// Forgets which epoch was marked last, as a file system may that takes a sync of a directory for nothing.
    pub fn forget_mark(&self) {
        self.slot.borrow_mut().marked = None;
    }

    /// Lets no read return more than `bytes`, at least 1.
    pub fn set_longest_read(&self, bytes: usize) {
        self.slot.borrow_mut().longest_read = bytes.max(1);
    }

    /// Adds or replaces a segment.
    pub fn put(&self, segment: SegmentName, bytes: Vec<u8>) {
        self.slot.borrow_mut().segments.insert(segment, bytes);
    }

    /// The bytes of a segment; empty if there is none.
    #[must_use]
    pub fn bytes(&self, segment: SegmentName) -> Vec<u8> {
        self.slot.borrow().segments.get(&segment).cloned().unwrap_or_default()
    }

    /// The names of all segments, in order.
    #[must_use]
    pub fn names(&self) -> Vec<SegmentName> {
        self.slot.borrow().segments.keys().copied().collect()
    }

    /// How many reads there have been.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.slot.borrow().reads
    }

    fn segment(&self, name: SegmentName) -> io::Result<Ref<'_, Vec<u8>>> {
        Ref::filter_map(self.slot.borrow(), |slot| slot.segments.get(&name))
            .map_err(|_| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Storage for MemoryStorage {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn list(&mut self) -> io::Result<Vec<Segment>> {
        let slot = self.slot.borrow();
        Ok(slot
            .segments
            .iter()
            .map(|(name, bytes)| Segment { name: *name, length: bytes.len() as u64 })
            .collect())
    }

    fn read_at(&mut self, segment: SegmentName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.slot.borrow_mut().reads += 1;
        let longest = self.slot.borrow().longest_read;
        let bytes = self.segment(segment)?;
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len()).min(longest);
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn length(&mut self, segment: SegmentName) -> io::Result<u64> {
        Ok(self.segment(segment)?.len() as u64)
    }

    fn writer_alive(&mut self) -> io::Result<bool> {
        Ok(self.slot.borrow().writer_alive)
    }

    fn remove(&mut self, segment: SegmentName) -> io::Result<()> {
        self.slot.borrow_mut().segments.remove(&segment);
        Ok(())
    }

    fn read_checkpoint(&mut self, destination: &str) -> io::Result<Vec<u8>> {
        Ok(self.slot.borrow().checkpoints.get(destination).cloned().unwrap_or_default())
    }

    fn write_checkpoint(&mut self, destination: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut slot = self.slot.borrow_mut();
        let file = slot.checkpoints.entry(destination.to_owned()).or_default();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync_checkpoint(&mut self, _destination: &str) -> io::Result<()> {
        Ok(())
    }
}

impl SegmentStore for MemoryStorage {
    fn create(&mut self, segment: SegmentName, header: &[u8]) -> io::Result<()> {
        self.put(segment, header.to_vec());
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.slot.borrow_mut().segments.last_entry() {
            Some(mut entry) => entry.get_mut().extend_from_slice(bytes),
            None => return Err(io::Error::other("no segment was created")),
        }
        Ok(())
    }

    fn last_epoch(&mut self) -> io::Result<Option<Epoch>> {
        let slot = self.slot.borrow();
        Ok(slot.segments.keys().next_back().map(|name| name.epoch).max(slot.marked))
    }

    fn mark_epoch(&mut self, epoch: Epoch) -> io::Result<()> {
        self.slot.borrow_mut().marked = Some(epoch);
        Ok(())
    }
}
