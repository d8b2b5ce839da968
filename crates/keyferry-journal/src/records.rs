//! One segment taken apart, for people who look at it: every record with its offset, and of every stretch that is none, what
//! stands in the way.
//!
//! The invariant: **the pieces follow each other without a gap from the segment's first byte to its last**, so that nothing of
//! a segment stays unseen. Where records begin and end is judged as by the [`feed`](crate::feed); what a stretch *means*
//! (a write in progress, a torn tail, damage) depends on the segments and processes around it and is for the feed alone to
//! say.
//!
//! Nothing is followed or waited for: the segment is read as it is, up to where it ends at that moment.

use std::fmt;

use crate::error::Error;
use crate::format::{
    ALIGNMENT, HeaderVerdict, Kind, MARKER, MAX_PAYLOAD, MIN_SEGMENT_HEADER, RECORD_HEADER, RecordHeader,
    Salt, SegmentHeader, SegmentName, u32_at,
};
use crate::storage::Storage;
use crate::window::Window;

/// A stretch of a segment.
#[derive(Debug)]
pub enum Piece<'a> {
    /// What the segment says of itself.
    Header(SegmentHeader),
    /// A valid record.
    Record {
        /// Where it begins, in bytes.
        offset: u64,
        /// What it is.
        header: RecordHeader,
        /// Its payload.
        payload: &'a [u8],
    },
    /// Bytes that are neither, up to the next valid record or the segment's end.
    Unreadable {
        /// The first of them.
        from: u64,
        /// The byte after the last.
        to: u64,
        /// What stands in the way at `from`.
        trouble: Trouble,
    },
}

/// Why bytes are not a header or a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// The segment ends within its header.
    HeaderCutShort,
    /// The segment begins with something else than its header: magic, checksum, or the name in it is wrong.
    Header,
    /// The segment ends within a record's header.
    CutShort,
    /// The segment ends within a record of a known kind that would end here, in bytes.
    RecordCutShort {
        /// What the record was to be.
        kind: Kind,
        /// Where it would end.
        end: u64,
    },
    /// Nothing but zero bytes as far as a record's header would reach.
    Zeros,
    /// No record's marker.
    Marker,
    /// A marker, then a payload length that no record can have.
    Length(u32),
    /// A record that is whole, only that one bit of its payload length was flipped.
    FlippedLength(Kind),
    /// A record whose checksum is wrong: its bytes changed, or it was written at another place.
    Checksum(Kind),
    /// Bytes after SEAL or CLOSE, where nothing may be.
    AfterEnd,
}

impl Trouble {
    /// Whether a write that was cut short leaves this behind. Whatever else it is was a header or a record once.
    #[must_use]
    pub fn is_cut_short(self) -> bool {
        matches!(self, Self::HeaderCutShort | Self::CutShort | Self::RecordCutShort { .. })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeaderCutShort => out.write_str("the file ends within the segment header"),
            Self::Header => out.write_str(
                "the segment header is wrong (magic, checksum, or an epoch and number that are not the file's)",
            ),
            Self::CutShort => out.write_str("the file ends within a record header"),
            Self::RecordCutShort { kind, end } => {
                write!(out, "the file ends within a {kind} record that would end at {end}")
            }
            Self::Zeros => out.write_str("zero bytes where a record should begin"),
            Self::Marker => out.write_str("no record marker where a record should begin"),
            Self::Length(length) => {
                write!(
                    out,
                    "a record header with the impossible payload length {length} (the limit is {MAX_PAYLOAD})"
                )
            }
            Self::FlippedLength(kind) => write!(out, "one bit of the length of a {kind} record is wrong"),
            Self::Checksum(kind) => write!(out, "the checksum of a {kind} record is wrong"),
            Self::AfterEnd => out.write_str("bytes after SEAL or CLOSE"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Prepare => "PREPARE",
            Self::Commit => "COMMIT",
            Self::Abort => "ABORT",
            Self::Seal => "SEAL",
            Self::Close => "CLOSE",
            Self::Gap => "GAP",
            Self::Unknown(code) => return write!(out, "KIND-{code}"),
        })
    }
}

/// What comes next, before its bytes are borrowed.
enum Step {
    Header(SegmentHeader),
    Record(RecordHeader),
    Unreadable(Trouble),
}

/// Where the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header,
    Records,
    Ended,
}

/// The pieces of one segment. See the [module](self).
#[derive(Debug)]
pub struct Records<S> {
    storage: S,
    segment: SegmentName,
    salt: Salt,
    window: Window,
    offset: u64,
    stage: Stage,
}

impl<S: Storage> Records<S> {
    /// The pieces of `segment`.
    pub fn of(storage: S, segment: SegmentName) -> Self {
        let salt = Salt::of(segment);
        Self { storage, segment, salt, window: Window::new(), offset: 0, stage: Stage::Header }
    }

    /// The next piece, or `None` at the segment's end.
    ///
    /// # Errors
    /// [`Error::LaterVersion`] or [`Error::Io`].
    #[expect(clippy::should_implement_trait, reason = "the piece borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Piece<'_>>, Error> {
        if self.fill(self.offset, 1)? == 0 {
            return Ok(None);
        }
        let from = self.offset;
        Ok(Some(match self.step()? {
            Step::Header(header) => Piece::Header(header),
            Step::Record(header) => {
                let record = self.window.peek(self.segment, from, header.unpadded()).unwrap_or_default();
                let payload = record.get(RECORD_HEADER..).unwrap_or_default();
                Piece::Record { offset: from, header, payload }
            }
            Step::Unreadable(trouble) => Piece::Unreadable { from, to: self.offset, trouble },
        }))
    }

    /// Judges what lies at the offset and moves behind it.
    fn step(&mut self) -> Result<Step, Error> {
        match self.stage {
            Stage::Header => self.header(),
            Stage::Records => match self.probe(self.offset)? {
                Ok(header) => Ok(self.record(header)),
                Err(trouble) => self.unreadable(trouble),
            },
            Stage::Ended => {
                self.offset = self.length()?.max(self.offset + 1);
                Ok(Step::Unreadable(Trouble::AfterEnd))
            }
        }
    }

    fn header(&mut self) -> Result<Step, Error> {
        self.stage = Stage::Records;
        match self.probe_header()? {
            HeaderVerdict::Valid(header, length) => {
                self.offset = length as u64;
                Ok(Step::Header(header))
            }
            HeaderVerdict::Later(version) => Err(Error::LaterVersion { path: self.path(), version }),
            HeaderVerdict::Incomplete(_) => self.unreadable(Trouble::HeaderCutShort),
            HeaderVerdict::Invalid => self.unreadable(Trouble::Header),
        }
    }

    fn probe_header(&mut self) -> Result<HeaderVerdict, Error> {
        let mut need = MIN_SEGMENT_HEADER;
        loop {
            let available = self.fill(0, need)?.min(need);
            let bytes = self.window.peek(self.segment, 0, available).unwrap_or_default();
            match SegmentHeader::decode(bytes, self.segment) {
                HeaderVerdict::Incomplete(longer) if longer > need && available == need => need = longer,
                verdict => return Ok(verdict),
            }
        }
    }

    fn record(&mut self, header: RecordHeader) -> Step {
        self.offset += header.length() as u64;
        if matches!(header.kind, Kind::Seal | Kind::Close) {
            self.stage = Stage::Ended;
        }
        Step::Record(header)
    }

    /// Moves on to the next valid record or the segment's end.
    fn unreadable(&mut self, trouble: Trouble) -> Result<Step, Error> {
        let mut at = self.offset + ALIGNMENT as u64;
        loop {
            let available = self.fill(at, RECORD_HEADER)?;
            if available < RECORD_HEADER {
                self.offset = self.length()?.max(self.offset + 1);
                return Ok(Step::Unreadable(trouble));
            }
            let bytes = self.window.peek(self.segment, at, available).unwrap_or_default();
            let found = bytes.chunks_exact(ALIGNMENT).position(|chunk| chunk.starts_with(&MARKER));
            let Some(chunk) = found else {
                at += (available - available % ALIGNMENT) as u64;
                continue;
            };
            at += (chunk * ALIGNMENT) as u64;
            if self.probe(at)?.is_ok() {
                self.offset = at;
                return Ok(Step::Unreadable(trouble));
            }
            at += ALIGNMENT as u64;
        }
    }

    /// The record at `offset`, or what stands in its way.
    fn probe(&mut self, offset: u64) -> Result<Result<RecordHeader, Trouble>, Error> {
        if self.fill(offset, RECORD_HEADER)? < RECORD_HEADER {
            return Ok(Err(Trouble::CutShort));
        }
        let bytes = self.window.peek(self.segment, offset, RECORD_HEADER).and_then(<[u8]>::first_chunk);
        let Some(bytes) = bytes else { return Ok(Err(Trouble::CutShort)) };
        let Some(header) = RecordHeader::decode(bytes) else { return Ok(Err(not_a_header(bytes))) };
        let available = self.fill(offset, header.length())?;
        if available < header.length() {
            let rest = self.window.peek_mut(self.segment, offset, available).unwrap_or_default();
            let flipped = header.has_flipped_length(self.salt, offset, rest);
            let end = offset + header.length() as u64;
            return Ok(Err(match header.kind {
                Kind::Unknown(_) => Trouble::Checksum(header.kind),
                kind if flipped => Trouble::FlippedLength(kind),
                kind => Trouble::RecordCutShort { kind, end },
            }));
        }
        let record = self.window.peek_mut(self.segment, offset, header.unpadded()).unwrap_or_default();
        let valid = header.verify(self.salt, offset, record);
        Ok(if valid { Ok(header) } else { Err(Trouble::Checksum(header.kind)) })
    }

    fn fill(&mut self, offset: u64, need: usize) -> Result<usize, Error> {
        let filled = self.window.fill(&mut self.storage, self.segment, offset, need);
        filled.map_err(|source| Error::io("read", self.path(), source))
    }

    fn length(&mut self) -> Result<u64, Error> {
        let length = self.storage.length(self.segment);
        length.map_err(|source| Error::io("read", self.path(), source))
    }

    fn path(&self) -> String {
        format!("{}/{}", self.storage.describe(), self.segment)
    }
}

fn not_a_header(bytes: &[u8; RECORD_HEADER]) -> Trouble {
    if bytes[..4] == MARKER {
        Trouble::Length(u32_at(bytes, 8))
    } else if *bytes == [0; RECORD_HEADER] {
        Trouble::Zeros
    } else {
        Trouble::Marker
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStorage;
    use crate::writer::{Writer, WriterOptions};

    /// A slot with one closed segment of two transactions, and that segment.
    fn slot() -> (MemoryStorage, SegmentName) {
        let storage = MemoryStorage::new();
        let mut writer = Writer::begin(storage.clone(), 0, || 1000, WriterOptions::default()).unwrap();
        let segment = writer.segment();
        for payload in [&b"first"[..], b"second"] {
            let id = writer.next_transaction();
            writer.prepare(id, payload).unwrap();
            writer.commit(id).unwrap();
        }
        writer.close().unwrap();
        (storage, segment)
    }

    fn alter(storage: &mut MemoryStorage, segment: SegmentName, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = storage.bytes(segment);
        change(&mut bytes);
        storage.put(segment, bytes);
    }

    /// Where each piece begins and ends, and what it is.
    fn pieces(storage: &MemoryStorage, segment: SegmentName) -> Vec<(u64, u64, String)> {
        let mut records = Records::of(storage.clone(), segment);
        let mut pieces = Vec::new();
        let mut begin = 0;
        while let Some(piece) = records.next().unwrap() {
            let what = match piece {
                Piece::Header(header) => format!("header of {}", header.name),
                Piece::Record { offset, header, payload } => {
                    assert_eq!(offset, begin);
                    format!("{} {:?}", header.kind, String::from_utf8_lossy(payload))
                }
                Piece::Unreadable { from, to, trouble } => {
                    assert_eq!(from, begin);
                    assert!(to > from);
                    trouble.to_string()
                }
            };
            pieces.push((begin, records.offset, what));
            begin = records.offset;
        }
        pieces
    }

    #[test]
    fn a_sound_segment_falls_into_its_records() {
        let (storage, segment) = slot();
        let pieces = pieces(&storage, segment);
        let kinds: Vec<_> =
            pieces.iter().map(|(_, _, what)| what.split(' ').next().unwrap_or_default()).collect();
        assert_eq!(kinds, ["header", "PREPARE", "COMMIT", "PREPARE", "COMMIT", "CLOSE"]);
        assert!(pieces[1].2.contains("first"), "{pieces:?}");
        assert_eq!(pieces.last().unwrap().1, storage.bytes(segment).len() as u64);
    }

    #[test]
    fn the_pieces_cover_the_segment_whichever_byte_is_wrong() {
        let (storage, segment) = slot();
        let sound = pieces(&storage, segment);
        let length = storage.bytes(segment).len() as u64;
        for at in 0..length {
            let mut damaged = storage.copy();
            alter(&mut damaged, segment, |bytes| bytes[at as usize] ^= 0x40);
            let found = pieces(&damaged, segment);
            assert_eq!(found.last().unwrap().1, length, "byte {at}: {found:?}");
            for piece in sound.iter().filter(|(from, to, _)| !(*from..*to).contains(&at)) {
                assert!(found.contains(piece), "byte {at}: {piece:?} is not among {found:?}");
            }
        }
    }

    #[test]
    fn a_cut_is_told_from_a_wrong_byte() {
        let (storage, segment) = slot();
        let last = pieces(&storage, segment).last().unwrap().0;
        for (cut, expected) in [
            (3, "the file ends within the segment header"),
            (last + 5, "the file ends within a record header"),
            (last - 4, "the file ends within a COMMIT record"),
        ] {
            let mut torn = storage.copy();
            alter(&mut torn, segment, |bytes| bytes.truncate(cut as usize));
            let found = pieces(&torn, segment);
            assert!(found.last().unwrap().2.starts_with(expected), "{cut}: {found:?}");
        }
        let mut longer = storage.copy();
        alter(&mut longer, segment, |bytes| bytes.push(0));
        assert_eq!(pieces(&longer, segment).last().unwrap().2, "bytes after SEAL or CLOSE");
    }
}
