//! The journal written from Rust: the same format as the provider's, for tests, simulation and benchmarks.
//!
//! Nothing is synced: what survives is what survives the death of a process.

use crate::error::Error;
use crate::format::{
    Epoch, GapPayload, Kind, MAX_PAYLOAD, RECORD_HEADER, Salt, SegmentHeader, SegmentName, encode_record,
};
use crate::storage::SegmentStore;

/// Where a segment ends by default, in bytes.
pub const SEGMENT_SIZE: u64 = 64 << 20;

/// The time for headers and records.
pub trait Clock {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Clock for F {
    fn now_ms(&mut self) -> u64 {
        self()
    }
}

/// What a writer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterOptions {
    /// Where a segment ends, in bytes. A larger record gets a segment of its own.
    pub segment_size: u64,
    /// The node's name in the segment headers.
    pub node: String,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { segment_size: SEGMENT_SIZE, node: String::new() }
    }
}

/// Writes one epoch.
#[derive(Debug)]
pub struct Writer<W, C> {
    store: W,
    clock: C,
    options: WriterOptions,
    segment: SegmentName,
    salt: Salt,
    /// Length of the segment in bytes.
    length: u64,
    /// Length of the segment's header in bytes.
    header: u64,
    next_transaction: u64,
    next_commit: u64,
    buffer: Vec<u8>,
}

impl<W: SegmentStore, C: Clock> Writer<W, C> {
    /// Begins an epoch on slot number `slot`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(mut store: W, slot: u8, mut clock: C, options: WriterOptions) -> Result<Self, Error> {
        let last = store.last_epoch().map_err(|source| Error::io("list", "the slot", source))?;
        let micros = clock.now_ms().saturating_mul(1000);
        let epoch = Epoch::beginning(micros, slot, last);
        store.mark_epoch(epoch).map_err(|source| Error::io("mark an epoch in", "the slot", source))?;
        let segment = SegmentName { epoch, number: 0 };
        let mut writer = Self {
            store,
            clock,
            options,
            segment,
            salt: Salt::of(segment),
            length: 0,
            header: 0,
            next_transaction: 1,
            next_commit: 1,
            buffer: Vec::new(),
        };
        writer.create_segment()?;
        Ok(writer)
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.segment.epoch
    }

    /// The segment being written.
    #[must_use]
    pub fn segment(&self) -> SegmentName {
        self.segment
    }

    /// How many bytes the segment has.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The id of a new transaction.
    pub fn next_transaction(&mut self) -> u64 {
        let id = self.next_transaction;
        self.next_transaction += 1;
        id
    }

    /// Writes a PREPARE with the payload of an [`EventEncoder`](crate::event::EventEncoder).
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Io`].
    pub fn prepare(&mut self, transaction: u64, payload: &[u8]) -> Result<(), Error> {
        self.record(Kind::Prepare, transaction, payload)
    }

    /// Writes a COMMIT and returns its number.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn commit(&mut self, transaction: u64) -> Result<u64, Error> {
        self.make_room(8)?;
        let number = self.next_commit;
        self.record(Kind::Commit, transaction, &number.to_le_bytes())?;
        self.next_commit += 1;
        Ok(number)
    }

    /// Writes an ABORT.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn abort(&mut self, transaction: u64) -> Result<(), Error> {
        self.record(Kind::Abort, transaction, &[])
    }

    /// Writes a GAP.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn gap(&mut self, gap: &GapPayload) -> Result<(), Error> {
        self.record(Kind::Gap, 0, &gap.encode())
    }

    /// Writes a record of any kind, as a later release might.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Io`].
    pub fn record(&mut self, kind: Kind, transaction: u64, payload: &[u8]) -> Result<(), Error> {
        if payload.len() > MAX_PAYLOAD {
            return Err(Error::TooLarge { length: payload.len() });
        }
        self.make_room(payload.len())?;
        self.append(kind, transaction, payload)
    }

    /// Writes a SEAL and begins the next segment.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn roll(&mut self) -> Result<(), Error> {
        self.append(Kind::Seal, 0, &[])?;
        self.abandon()
    }

    /// Begins the next segment without a SEAL, as after a write error.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn abandon(&mut self) -> Result<(), Error> {
        self.segment.number += 1;
        self.salt = Salt::of(self.segment);
        self.create_segment()
    }

    /// Writes a CLOSE and returns the store.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn close(mut self) -> Result<W, Error> {
        self.append(Kind::Close, 0, &[])?;
        Ok(self.store)
    }

    /// Ends without a word, as a killed process does, and returns the store.
    pub fn kill(self) -> W {
        self.store
    }

    /// Rolls over if a record with this payload, and a SEAL after it, do not fit the segment.
    fn make_room(&mut self, payload: usize) -> Result<(), Error> {
        let after = self.length + (2 * RECORD_HEADER + payload) as u64;
        if after > self.options.segment_size && self.length > self.header {
            self.roll()?;
        }
        Ok(())
    }

    fn append(&mut self, kind: Kind, transaction: u64, payload: &[u8]) -> Result<(), Error> {
        self.buffer.clear();
        let now_ms = self.clock.now_ms();
        encode_record(&mut self.buffer, self.salt, self.length, kind, transaction, now_ms, payload);
        let written = self.store.append(&self.buffer);
        written.map_err(|source| Error::io("write", self.segment.to_string(), source))?;
        self.length += self.buffer.len() as u64;
        Ok(())
    }

    fn create_segment(&mut self) -> Result<(), Error> {
        let header = SegmentHeader {
            name: self.segment,
            first_commit: self.next_commit,
            created_ms: self.clock.now_ms(),
            node: self.options.node.clone(),
        };
        let bytes = header.encode();
        let created = self.store.create(self.segment, &bytes);
        created.map_err(|source| Error::io("create", self.segment.to_string(), source))?;
        self.header = bytes.len() as u64;
        self.length = self.header;
        Ok(())
    }
}
