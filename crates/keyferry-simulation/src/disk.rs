//! A disk made of memory that forgets what was not synced, and fails.
//!
//! The invariant: **what was synced without an error is there after a power cut, and nothing else is promised.** Each file has the bytes that every process sees and
//! the bytes that have reached the medium, and its name in the directory is a thing of its own that must be synced too. A power cut decides for every block of 512 or 4,096
//! bytes that was written and not synced, for every file's length and for every name by itself, so files and blocks are reordered in every way.
//!
//! A failed sync is like the kernel's: what was dirty counts as clean afterwards, so that a second sync of the same file succeeds and means nothing
//! (A. Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use keyferry_journal::storage::Segment;
use keyferry_journal::{Checkpoint, CheckpointFile, Epoch, SegmentName, Storage};

use crate::trace::Trace;

/// A slot directory on the simulated disk. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    disk: Rc<RefCell<Disk>>,
}

/// How often operations fail: one in so many, never where there is no number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureRates {
    /// Those of the agent.
    pub agent: Option<u32>,
    /// Those of the writer.
    pub writer: Option<u32>,
}

/// A file's name in the slot directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Segment(SegmentName),
    Other(String),
}

#[derive(Debug, Default)]
struct File {
    /// What every process sees.
    seen: Vec<u8>,
    /// What has reached the medium.
    durable: Vec<u8>,
    /// Written and not synced.
    dirty: Vec<Range<usize>>,
    /// Dirty when a sync failed: clean in the kernel's eyes, and not on the medium.
    dropped: Vec<Range<usize>>,
    /// Whether the file's name is on the medium.
    named: bool,
}

#[derive(Debug)]
struct Disk {
    random: fastrand::Rng,
    trace: Trace,
    files: BTreeMap<Name, File>,
    /// Removed, while the medium's directory still has them.
    removed: BTreeMap<Name, Vec<u8>>,
    marked: Option<Epoch>,
    writer_alive: bool,
    longest_read: usize,
    full: bool,
    rates: FailureRates,
}

impl File {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[offset..end].copy_from_slice(bytes);
        // What is written again is dirty again.
        let kept = self
            .dropped
            .iter()
            .flat_map(|range| [range.start..range.end.min(offset), range.start.max(end)..range.end]);
        self.dropped = kept.filter(|range| range.start < range.end).collect();
        self.dirty.push(offset..end);
    }

    fn sync(&mut self) {
        let stale: Vec<_> = self.dropped.iter().map(|range| (range.clone(), self.on_medium(range))).collect();
        self.durable.clone_from(&self.seen);
        for (range, bytes) in stale {
            let end = range.end.min(self.durable.len());
            if range.start < end {
                self.durable[range.start..end].copy_from_slice(&bytes[..end - range.start]);
            }
        }
        self.dirty.clear();
    }

    /// The medium's bytes in `range`; zeros where it has none.
    fn on_medium(&self, range: &Range<usize>) -> Vec<u8> {
        range.clone().map(|at| self.durable.get(at).copied().unwrap_or(0)).collect()
    }

    fn fail_to_sync(&mut self) {
        self.dropped.append(&mut self.dirty);
    }

    fn has_unsynced(&self) -> bool {
        !self.dirty.is_empty() || !self.dropped.is_empty() || !self.named
    }

    /// Whether the bytes up to `end` would survive a power cut.
    fn survives(&self, end: usize) -> bool {
        let reaches = |range: &Range<usize>| range.start < end;
        self.named && self.durable.len() >= end && !self.dirty.iter().chain(&self.dropped).any(reaches)
    }

    /// What a power cut leaves of it.
    fn after_power_cut(&self, random: &mut fastrand::Rng) -> Vec<u8> {
        let (short, long) =
            (self.durable.len().min(self.seen.len()), self.durable.len().max(self.seen.len()));
        let length = match random.u32(..4) {
            0 => self.durable.len(),
            1 => random.usize(short..=long),
            _ => self.seen.len(),
        };
        let mut left = self.durable.clone();
        left.resize(length, 0);
        let block = if random.bool() { 512 } else { 4096 };
        // Most cuts come while little is under way: everything reached the medium, or nothing did, or chance decides block by block.
        let all = random.u32(..3);
        for range in &self.dirty {
            let first = range.start / block;
            for number in first..range.end.div_ceil(block) {
                let kept = match all {
                    0 => true,
                    1 => random.u32(..8) != 0,
                    _ => random.bool(),
                };
                let (start, end) = (number * block, ((number + 1) * block).min(length).min(self.seen.len()));
                if kept && start < end {
                    left[start..end].copy_from_slice(&self.seen[start..end]);
                }
            }
        }
        for range in &self.dropped {
            let end = range.end.min(left.len());
            if range.start < end {
                let medium = self.on_medium(&(range.start..end));
                left[range.start..end].copy_from_slice(&medium);
            }
        }
        left
    }
}

impl SimulatedDisk {
    /// An empty slot that nobody has locked.
    #[must_use]
    pub fn new(seed: u64, trace: Trace) -> Self {
        Self {
            disk: Rc::new(RefCell::new(Disk {
                random: fastrand::Rng::with_seed(seed),
                trace,
                files: BTreeMap::new(),
                removed: BTreeMap::new(),
                marked: None,
                writer_alive: false,
                longest_read: usize::MAX,
                full: false,
                rates: FailureRates::default(),
            })),
        }
    }

    /// Sets whether the writer holds its lock.
    pub fn set_writer_alive(&self, alive: bool) {
        self.disk.borrow_mut().writer_alive = alive;
    }

    /// Lets no read return more than `bytes`, at least 1.
    pub fn set_longest_read(&self, bytes: usize) {
        self.disk.borrow_mut().longest_read = bytes.max(1);
    }

    /// Sets whether the disk has no space left.
    pub fn set_full(&self, full: bool) {
        self.disk.borrow_mut().full = full;
    }

    /// Sets how often operations fail.
    pub fn set_failure_rates(&self, rates: FailureRates) {
        self.disk.borrow_mut().rates = rates;
    }

    /// The latest epoch that the slot has ever had.
    #[must_use]
    pub fn last_epoch(&self) -> Option<Epoch> {
        let disk = self.disk.borrow();
        disk.segments().next_back().map(|(name, _)| name.epoch).max(disk.marked)
    }

    /// Marks an epoch as begun. An empty file's name, which the writer waits to have on the medium: no power cut takes it.
    pub fn mark_epoch(&self, epoch: Epoch) {
        self.disk.borrow_mut().marked = Some(epoch);
    }

    /// The names of all segments.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentName> {
        self.disk.borrow().segments().map(|(name, _)| name).collect()
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.disk.borrow().segments().map(|(_, file)| file.seen.len() as u64).sum()
    }

    /// The writer creates a segment. After an error there may be a file with a part of the header.
    ///
    /// # Errors
    /// Injected ones.
    pub fn create(&self, segment: SegmentName, header: &[u8]) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        let name = Name::Segment(segment);
        if disk.files.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.writer_may_fail("create", segment)?;
        disk.files.insert(name, File::default());
        drop(disk);
        self.append(segment, header)
    }

    /// The writer writes at the end of a segment. After an error any part of the bytes may have been written.
    ///
    /// # Errors
    /// Injected ones.
    pub fn append(&self, segment: SegmentName, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        let outcome = disk.writer_may_fail("write", segment);
        let count = if outcome.is_ok() { bytes.len() } else { disk.random.usize(..=bytes.len()) };
        let file = disk.files.entry(Name::Segment(segment)).or_default();
        let end = file.seen.len();
        if count > 0 {
            file.write(end, &bytes[..count]);
        }
        outcome
    }

    /// The writer's view of a segment's length.
    #[must_use]
    pub fn segment_length(&self, segment: SegmentName) -> usize {
        self.disk.borrow().files.get(&Name::Segment(segment)).map_or(0, |file| file.seen.len())
    }

    /// The writer cuts a segment.
    ///
    /// # Errors
    /// Injected ones.
    pub fn truncate(&self, segment: SegmentName, length: usize) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.writer_may_fail("truncate", segment)?;
        if let Some(file) = disk.files.get_mut(&Name::Segment(segment)) {
            file.seen.truncate(length);
            file.dirty.retain(|range| range.start < length);
            file.dirty.iter_mut().for_each(|range| range.end = range.end.min(length));
        }
        Ok(())
    }

    /// The writer deletes the segment that it could not begin.
    ///
    /// # Errors
    /// Injected ones.
    pub fn delete(&self, segment: SegmentName) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.writer_may_fail("delete", segment)?;
        disk.remove(&Name::Segment(segment));
        Ok(())
    }

    /// The writer makes the bytes of a segment survive a power cut. After an error nothing is known, and a later success means nothing.
    ///
    /// # Errors
    /// Injected ones.
    pub fn sync(&self, segment: SegmentName) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        let outcome = disk.writer_may_fail("sync", segment);
        if let Some(file) = disk.files.get_mut(&Name::Segment(segment)) {
            match &outcome {
                Ok(()) => file.sync(),
                Err(_) => file.fail_to_sync(),
            }
        }
        outcome
    }

    /// The writer makes the names of all files survive a power cut.
    ///
    /// # Errors
    /// Injected ones.
    pub fn sync_directory(&self, segment: SegmentName) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.writer_may_fail("sync the directory of", segment)?;
        disk.name_all();
        Ok(())
    }

    /// Whether the first `end` bytes of a segment, and its name, would survive a power cut.
    #[must_use]
    pub fn survives(&self, segment: SegmentName, end: usize) -> bool {
        self.disk.borrow().files.get(&Name::Segment(segment)).is_some_and(|file| file.survives(end))
    }

    /// The segments of which a power cut may take something.
    #[must_use]
    pub fn unsynced(&self) -> Vec<SegmentName> {
        let disk = self.disk.borrow();
        disk.segments().filter(|(_, file)| file.has_unsynced()).map(|(name, _)| name).collect()
    }

    /// The machine loses its power and comes back. Returns the segments that had been removed and are there again.
    pub fn power_cut(&self) -> Vec<SegmentName> {
        self.disk.borrow_mut().power_cut()
    }

    /// Flips a bit of a segment, if there is one, and tells of which.
    pub fn flip_in_segment(&self) -> Option<SegmentName> {
        let mut disk = self.disk.borrow_mut();
        let names: Vec<_> = disk.segments().map(|(name, _)| name).collect();
        let segment = *names.get(disk.random.usize(..names.len().max(1)))?;
        disk.flip(&Name::Segment(segment));
        Some(segment)
    }

    /// Flips a bit in each copy of a file that is not a segment, `distance` bytes apart.
    pub fn flip_in(&self, file: &str, distance: usize) {
        let mut disk = self.disk.borrow_mut();
        let name = Name::Other(file.to_owned());
        let length = disk.files.get(&name).map_or(0, |file| file.seen.len());
        for copy in (0..length).step_by(distance.max(1)) {
            let bit = disk.random.u32(..8);
            let at = copy + disk.random.usize(..64);
            if let Some(byte) = disk.files.get_mut(&name).and_then(|file| file.seen.get_mut(at)) {
                *byte ^= 1 << bit;
            }
        }
        disk.trace.line(format_args!("bits flip in {file}"));
    }

    /// Whether an operation of the agent on a file beside the checkpoint fails.
    ///
    /// # Errors
    /// Injected ones.
    pub fn aside_may_fail(&self, operation: &str, file: &str) -> io::Result<()> {
        self.disk.borrow_mut().agent_may_fail(operation, format_args!("{file}"))
    }

    /// The newest valid checkpoint of a destination as it stands now, read without faults.
    #[must_use]
    pub fn checkpoint(&self, destination: &str) -> Option<Checkpoint> {
        let (rates, full) = {
            let mut disk = self.disk.borrow_mut();
            (std::mem::take(&mut disk.rates), std::mem::take(&mut disk.full))
        };
        let loaded = CheckpointFile::load(&mut self.clone(), destination);
        let mut disk = self.disk.borrow_mut();
        (disk.rates, disk.full) = (rates, full);
        loaded.ok()?.1
    }

    /// Adds bytes at the end of a segment that no writer wrote as a whole: it died meanwhile.
    pub fn tear(&self, segment: SegmentName, bytes: &[u8]) {
        if let Some(file) = self.disk.borrow_mut().files.get_mut(&Name::Segment(segment)) {
            let end = file.seen.len();
            file.write(end, bytes);
        }
    }
}

impl Disk {
    fn segments(&self) -> impl DoubleEndedIterator<Item = (SegmentName, &File)> {
        self.files.iter().filter_map(|(name, file)| match name {
            Name::Segment(segment) => Some((*segment, file)),
            Name::Other(_) => None,
        })
    }

    fn writer_may_fail(&mut self, operation: &str, segment: SegmentName) -> io::Result<()> {
        if self.full && matches!(operation, "create" | "write") {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.may_fail(self.rates.writer, operation, format_args!("{segment} by the writer"))
    }

    fn agent_may_fail(&mut self, operation: &str, file: std::fmt::Arguments<'_>) -> io::Result<()> {
        if self.full && matches!(operation, "write" | "create") && self.random.bool() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.may_fail(self.rates.agent, operation, format_args!("{file} by the agent"))
    }

    fn may_fail(
        &mut self,
        rate: Option<u32>,
        operation: &str,
        file: std::fmt::Arguments<'_>,
    ) -> io::Result<()> {
        let Some(rate) = rate else { return Ok(()) };
        if self.random.u32(..rate) != 0 {
            return Ok(());
        }
        let full = matches!(operation, "create" | "write") && self.random.bool();
        self.trace.line(format_args!("fails: {operation} {file}"));
        Err(if full { io::ErrorKind::StorageFull.into() } else { io::Error::from_raw_os_error(5) })
    }

    fn remove(&mut self, name: &Name) {
        if let Some(file) = self.files.remove(name)
            && file.named
        {
            self.removed.insert(name.clone(), file.durable);
        }
    }

    fn name_all(&mut self) {
        self.files.values_mut().for_each(|file| file.named = true);
        self.removed.clear();
    }

    fn power_cut(&mut self) -> Vec<SegmentName> {
        let Self { random, files, removed, .. } = self;
        let mut back = Vec::new();
        files.retain(|_, file| file.named || random.bool());
        for (name, durable) in std::mem::take(removed) {
            if random.bool() && !files.contains_key(&name) {
                if let Name::Segment(segment) = name {
                    back.push(segment);
                }
                files.insert(name, File { seen: durable.clone(), durable, named: true, ..File::default() });
            }
        }
        for file in files.values_mut() {
            if file.has_unsynced() || file.seen.len() != file.durable.len() {
                file.seen = file.after_power_cut(random);
            }
            file.durable.clone_from(&file.seen);
            file.dirty.clear();
            file.dropped.clear();
            file.named = true;
        }
        back
    }

    fn flip(&mut self, name: &Name) {
        let length = self.files.get(name).map_or(0, |file| file.seen.len());
        if length == 0 {
            return;
        }
        let (at, bit) = (self.random.usize(..length), self.random.u32(..8));
        self.trace.line(format_args!("bit {bit} of byte {at} of {name:?} flips"));
        if let Some(file) = self.files.get_mut(name) {
            file.seen[at] ^= 1 << bit;
            if let Some(byte) = file.durable.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
    }

    fn read(&mut self, name: &Name, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let rest =
            usize::try_from(offset).ok().and_then(|offset| file.seen.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len()).min(self.longest_read);
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

fn checkpoint(destination: &str) -> Name {
    Name::Other(format!("{destination}.checkpoint"))
}

impl Storage for SimulatedDisk {
    fn describe(&self) -> String {
        "simulated".to_owned()
    }

    fn list(&mut self) -> io::Result<Vec<Segment>> {
        let mut disk = self.disk.borrow_mut();
        disk.agent_may_fail("list", format_args!("the slot"))?;
        Ok(disk.segments().map(|(name, file)| Segment { name, length: file.seen.len() as u64 }).collect())
    }

    fn read_at(&mut self, segment: SegmentName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.disk.borrow_mut();
        disk.agent_may_fail("read", format_args!("{segment}"))?;
        disk.read(&Name::Segment(segment), offset, buffer)
    }

    fn length(&mut self, segment: SegmentName) -> io::Result<u64> {
        let mut disk = self.disk.borrow_mut();
        disk.agent_may_fail("query", format_args!("{segment}"))?;
        let file = disk.files.get(&Name::Segment(segment)).ok_or(io::ErrorKind::NotFound)?;
        Ok(file.seen.len() as u64)
    }

    fn writer_alive(&mut self) -> io::Result<bool> {
        let mut disk = self.disk.borrow_mut();
        disk.agent_may_fail("query", format_args!("the lock"))?;
        Ok(disk.writer_alive)
    }

    fn remove(&mut self, segment: SegmentName) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.agent_may_fail("remove", format_args!("{segment}"))?;
        disk.trace.line(format_args!("the agent removes {segment}"));
        disk.remove(&Name::Segment(segment));
        Ok(())
    }

    fn read_checkpoint(&mut self, destination: &str) -> io::Result<Vec<u8>> {
        let mut disk = self.disk.borrow_mut();
        disk.agent_may_fail("read", format_args!("the checkpoint"))?;
        Ok(disk.files.get(&checkpoint(destination)).map(|file| file.seen.clone()).unwrap_or_default())
    }

    fn write_checkpoint(&mut self, destination: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        let outcome = disk.agent_may_fail("write", format_args!("the checkpoint"));
        let count = if outcome.is_ok() { bytes.len() } else { disk.random.usize(..=bytes.len()) };
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let file = disk.files.entry(checkpoint(destination)).or_default();
        if count > 0 {
            file.write(offset, &bytes[..count]);
        }
        outcome
    }

    fn sync_checkpoint(&mut self, destination: &str) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        let outcome = disk.agent_may_fail("sync", format_args!("the checkpoint"));
        if let Some(file) = disk.files.get_mut(&checkpoint(destination)) {
            match &outcome {
                Ok(()) => {
                    file.sync();
                    file.named = true;
                }
                Err(_) => file.fail_to_sync(),
            }
        }
        outcome
    }
}
