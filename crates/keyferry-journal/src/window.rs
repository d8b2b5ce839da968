//! The one copy that is made of the bytes read: a stretch of one segment in memory.
//!
//! The invariant: `buffer[..filled]` equals what the segment held from `start` on when it was read. The window moves
//! forward with the reader and keeps a tail of what was already passed, so that a PREPARE is still here when its COMMIT
//! comes along a moment later. It grows for a record that is larger than itself, and shrinks again after it.
//!
//! Not memory-mapped on purpose: a file that shrinks under a mapping kills the process with SIGBUS, and the pages of a
//! large backlog would count as the agent's memory.

use std::io;

use crate::format::SegmentName;
use crate::storage::Storage;

/// Size of the window in bytes, unless a record is larger.
pub(crate) const SIZE: usize = 512 << 10;
/// How much of what was passed stays, in bytes.
const KEEP: usize = 64 << 10;
/// The most that is asked of the disk at once, in bytes: small enough to stay in the processor's cache.
const READ: usize = 128 << 10;

/// Bytes that are here, until the window is filled again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    from: usize,
    to: usize,
}

impl Span {
    /// `length` of them from the one numbered `from` on; the caller has checked that there are as many.
    pub(crate) fn part(self, from: usize, length: usize) -> Self {
        Self { from: self.from + from, to: self.from + from + length }
    }
}

/// A stretch of one segment.
#[derive(Debug)]
pub(crate) struct Window {
    segment: Option<SegmentName>,
    start: u64,
    buffer: Vec<u8>,
    filled: usize,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self { segment: None, start: 0, buffer: vec![0; SIZE], filled: 0 }
    }

    /// Makes `need` bytes from `offset` on available, as far as the segment has them, and returns how many are: less
    /// than `need` only if the segment ends there.
    pub(crate) fn fill<S: Storage>(
        &mut self,
        storage: &mut S,
        segment: SegmentName,
        offset: u64,
        need: usize,
    ) -> io::Result<usize> {
        let available = self.available(segment, offset);
        if available >= need {
            return Ok(available);
        }
        self.make_room(segment, offset, need);
        let from = (offset - self.start) as usize;
        while self.filled < from + need {
            let end = self.buffer.len().min((self.filled + READ).max(from + need));
            let count = storage.read_at(
                segment,
                self.start + self.filled as u64,
                &mut self.buffer[self.filled..end],
            )?;
            assert!(count <= end - self.filled, "a read returned more than was asked for");
            if count == 0 {
                break;
            }
            self.filled += count;
        }
        Ok(self.filled.saturating_sub(from))
    }

    /// The bytes of the segment from `offset` on, if all of them are here.
    pub(crate) fn peek(&self, segment: SegmentName, offset: u64, length: usize) -> Option<&[u8]> {
        self.span(segment, offset, length).map(|span| self.bytes(span))
    }

    /// As [`Window::peek`], for a record to be verified: whoever changes a byte puts it back.
    pub(crate) fn peek_mut(&mut self, segment: SegmentName, offset: u64, length: usize) -> Option<&mut [u8]> {
        self.span(segment, offset, length).map(|span| self.bytes_mut(span))
    }

    /// Where the bytes of the segment from `offset` on are, if all of them are here.
    pub(crate) fn span(&self, segment: SegmentName, offset: u64, length: usize) -> Option<Span> {
        let rest = self.rest(segment, offset)?;
        (length <= rest.to - rest.from).then(|| rest.part(0, length))
    }

    /// Where all that is here of the segment from `offset` on is, which may be nothing.
    pub(crate) fn rest(&self, segment: SegmentName, offset: u64) -> Option<Span> {
        if self.segment != Some(segment) {
            return None;
        }
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        (from <= self.filled).then_some(Span { from, to: self.filled })
    }

    /// The bytes that were found there since the window was filled last.
    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        &self.buffer[..self.filled][span.from..span.to]
    }

    /// As [`Window::bytes`], for a record to be verified: whoever changes a byte puts it back.
    pub(crate) fn bytes_mut(&mut self, span: Span) -> &mut [u8] {
        &mut self.buffer[..self.filled][span.from..span.to]
    }

    /// Forgets the bytes from `offset` on, because the disk may hold others by now.
    pub(crate) fn discard_from(&mut self, offset: u64) {
        let kept = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.filled = self.filled.min(kept);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.segment = None;
        self.filled = 0;
    }

    fn available(&self, segment: SegmentName, offset: u64) -> usize {
        let end = self.start + self.filled as u64;
        if self.segment == Some(segment) && (self.start..end).contains(&offset) {
            (end - offset) as usize
        } else {
            0
        }
    }

    /// Arranges the buffer so that `need` bytes from `offset` on fit, keeping what is here and near.
    fn make_room(&mut self, segment: SegmentName, offset: u64, need: usize) {
        let end = self.start + self.filled as u64;
        if self.segment != Some(segment) || !(self.start..=end).contains(&offset) {
            self.segment = Some(segment);
            self.start = offset;
            self.filled = 0;
        }
        let from = (offset - self.start) as usize;
        if from + need > self.buffer.len() || self.filled == self.buffer.len() {
            self.slide(from, need);
        }
        assert!((offset - self.start) as usize + need <= self.buffer.len(), "the window has no room");
    }

    /// Moves the bytes to the front, all but those more than [`KEEP`] before `from`, and fits the buffer's size.
    fn slide(&mut self, from: usize, need: usize) {
        let keep = if need + KEEP <= SIZE { from.min(KEEP) } else { 0 };
        let dropped = from - keep;
        self.buffer.copy_within(dropped..self.filled, 0);
        self.start += dropped as u64;
        self.filled -= dropped;
        let size = SIZE.max(keep + need).max(self.filled);
        if size != self.buffer.len() {
            self.buffer.resize(size, 0);
            self.buffer.shrink_to_fit();
        }
    }

    /// Size of the buffer in bytes.
    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Epoch;
    use crate::memory::MemoryStorage;

    const NAME: SegmentName = SegmentName { epoch: Epoch(1), number: 0 };

    fn storage(length: usize) -> (MemoryStorage, Vec<u8>) {
        let bytes: Vec<u8> = (0..length).map(|index| (index * 31 / 7) as u8).collect();
        let storage = MemoryStorage::new();
        storage.put(NAME, bytes.clone());
        (storage, bytes)
    }

    #[test]
    fn the_window_shows_what_the_segment_holds_and_keeps_a_tail() {
        let (mut storage, bytes) = storage(5 * SIZE);
        let mut window = Window::new();
        let mut offset = 0;
        while offset < bytes.len() {
            let need = 1000.min(bytes.len() - offset);
            assert!(window.fill(&mut storage, NAME, offset as u64, need).unwrap() >= need);
            assert_eq!(window.peek(NAME, offset as u64, need), Some(&bytes[offset..offset + need]));
            let rest = window.bytes(window.rest(NAME, offset as u64).unwrap());
            assert!(rest.len() >= need && bytes[offset..].starts_with(rest));
            let back = offset.saturating_sub(KEEP - 1000);
            assert_eq!(
                window.peek(NAME, back as u64, 1000.min(need)),
                Some(&bytes[back..back + 1000.min(need)])
            );
            offset += need;
        }
        assert_eq!(window.fill(&mut storage, NAME, bytes.len() as u64, 1).unwrap(), 0);
        assert_eq!(window.size(), SIZE);
        let other = SegmentName { number: 1, ..NAME };
        let elsewhere = [(other, bytes.len() - 1), (NAME, 0), (NAME, bytes.len() + 1)];
        assert!(elsewhere.iter().all(|(name, offset)| window.rest(*name, *offset as u64).is_none()));
    }

    #[test]
    fn the_window_grows_for_a_large_record_and_shrinks_after_it() {
        let (mut storage, bytes) = storage(6 * SIZE);
        let mut window = Window::new();
        window.fill(&mut storage, NAME, 0, 64).unwrap();
        let large = 3 * SIZE;
        assert!(window.fill(&mut storage, NAME, 64, large).unwrap() >= large);
        assert_eq!(window.peek(NAME, 64, large), Some(&bytes[64..64 + large]));
        assert!(window.size() <= large + SIZE);
        let after = (64 + large) as u64;
        assert!(window.fill(&mut storage, NAME, after, SIZE / 2).unwrap() >= SIZE / 2);
        assert_eq!(window.size(), SIZE);
        assert_eq!(window.peek(NAME, after, 100), Some(&bytes[64 + large..164 + large]));
    }

    #[test]
    fn short_reads_are_put_together_and_stale_bytes_forgotten() {
        let (mut storage, mut bytes) = storage(1000);
        storage.set_longest_read(7);
        let mut window = Window::new();
        assert_eq!(window.fill(&mut storage, NAME, 0, 1001).unwrap(), 1000);
        assert_eq!(window.peek(NAME, 0, 1000), Some(&bytes[..]));
        bytes[600] ^= 1;
        storage.put(NAME, bytes.clone());
        window.discard_from(600);
        assert_eq!(window.peek(NAME, 600, 1), None);
        assert!(window.fill(&mut storage, NAME, 600, 400).unwrap() >= 400);
        assert_eq!(window.peek(NAME, 0, 1000), Some(&bytes[..]));
    }
}
