//! The bytes of a segment: names, headers, records and their checksums, as `docs/journal-format.md` lays them down.
//!
//! The invariant: a checksum is never computed without the epoch, the segment and the offset, so that no function in
//! this module can accept a record at a place where it was not written. All of it is pure: bytes in, values out.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crc_fast::crc32_iscsi;

/// The first bytes of a segment.
pub const MAGIC: [u8; 8] = *b"\x89KFJ\r\n\x1a\n";
/// The format version that is written, and the latest that is read.
pub const VERSION: u16 = 1;
/// The first bytes of a record. FF and FE never occur in UTF-8.
pub const MARKER: [u8; 4] = *b"\xFFKF\xFE";
/// Length of a record's header in bytes.
pub const RECORD_HEADER: usize = 32;
/// Where the length of the payload lies in a record.
const LENGTH: Range<usize> = 8..12;
/// Every record begins at a multiple of this.
pub const ALIGNMENT: usize = 8;
/// The longest payload of a record in bytes.
pub const MAX_PAYLOAD: usize = 64 << 20;
/// The most slots that a journal directory can have.
pub const MAX_SLOTS: u16 = 256;
/// The longest node name in a segment header, in bytes.
pub const MAX_NODE: usize = 255;
/// Length of a segment header's fixed part in bytes, up to the node name.
const SEGMENT_FIXED: usize = 42;
/// The shortest segment header: the fixed part and the checksum, aligned.
pub const MIN_SEGMENT_HEADER: usize = (SEGMENT_FIXED + 4).next_multiple_of(ALIGNMENT);
/// Extension of a segment's file name.
pub const EXTENSION: &str = "kfj";
/// Payload length of a GAP record in bytes.
const GAP_PAYLOAD: usize = 33;

/// One writer's life on a slot, ascending within the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch that begins at `micros` (microseconds since the Unix epoch) on slot number `slot`, greater than
    /// `newest`, the newest epoch that the slot has.
    #[must_use]
    pub fn beginning(micros: u64, slot: u8, newest: Option<Self>) -> Self {
        let begun = (micros & !0xFF) | u64::from(slot);
        match newest {
            Some(newest) if begun <= newest.0 => Self((newest.0 & !0xFF) + 0x100 + u64::from(slot)),
            _ => Self(begun),
        }
    }

    /// When it began by the writer's clock, in milliseconds since the Unix epoch; later if the epoch before it forced it up.
    #[must_use]
    pub fn begun_ms(self) -> u64 {
        self.0 / 1000
    }

    /// Its 16 digits, as it is written everywhere, without the cost of formatting.
    #[must_use]
    pub fn digits(self) -> [u8; 16] {
        let digit = |place: usize| b"0123456789abcdef"[(self.0 >> (60 - 4 * place) & 0xF) as usize];
        std::array::from_fn(digit)
    }

    /// The number of the slot on which the epoch was lived.
    #[must_use]
    pub fn slot(self) -> u8 {
        (self.0 & 0xFF) as u8
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

/// The text is not 16 lower-case hexadecimal digits, or not the name of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an epoch or segment")]
pub struct BadName;

impl FromStr for Epoch {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        hexadecimal(text, 16).map(Self)
    }
}

/// Exactly `digits` lower-case hexadecimal digits.
fn hexadecimal(text: &str, digits: usize) -> Result<u64, BadName> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != digits || !text.bytes().all(lower) {
        return Err(BadName);
    }
    u64::from_str_radix(text, 16).map_err(|_| BadName)
}

/// A segment's name, ordered as the segments were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The epoch that wrote it.
    pub epoch: Epoch,
    /// Its number in the epoch, from 0.
    pub number: u32,
}

impl fmt::Display for SegmentName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{:08x}.{EXTENSION}", self.epoch, self.number)
    }
}

impl FromStr for SegmentName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let stem = text.strip_suffix(".kfj").ok_or(BadName)?;
        let (epoch, number) = stem.split_once('-').ok_or(BadName)?;
        let number = u32::try_from(hexadecimal(number, 8)?).map_err(|_| BadName)?;
        Ok(Self { epoch: epoch.parse()?, number })
    }
}

/// A place within an epoch, ordered as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    /// The segment's number.
    pub segment: u32,
    /// Offset in the segment, in bytes.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "segment {:08x} offset {}", self.segment, self.offset)
    }
}

/// What a segment says of itself at its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Epoch and number, equal to those in the file's name.
    pub name: SegmentName,
    /// The number that the next COMMIT of the epoch will carry.
    pub first_commit: u64,
    /// When the segment was created, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// The node that wrote it.
    pub node: String,
}

/// What the beginning of a segment turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderVerdict {
    /// A header, and its length in bytes.
    Valid(SegmentHeader, usize),
    /// The bytes so far are the beginning of a header; this many bytes are needed to tell.
    Incomplete(usize),
    /// A header of a later format version.
    Later(u16),
    /// Not a header, or not that of the segment with this name.
    Invalid,
}

impl SegmentHeader {
    /// The header's bytes. A node name longer than [`MAX_NODE`] bytes is cut at a character.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let node = &self.node.as_bytes()[..self.node.floor_char_boundary(MAX_NODE)];
        let length = (SEGMENT_FIXED + 4 + node.len()).next_multiple_of(ALIGNMENT);
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(length as u16).to_le_bytes());
        bytes.extend_from_slice(&self.name.number.to_le_bytes());
        bytes.extend_from_slice(&self.name.epoch.0.to_le_bytes());
        bytes.extend_from_slice(&self.first_commit.to_le_bytes());
        bytes.extend_from_slice(&self.created_ms.to_le_bytes());
        bytes.extend_from_slice(&(node.len() as u16).to_le_bytes());
        bytes.extend_from_slice(node);
        bytes.resize(length - 4, 0);
        bytes.extend_from_slice(&crc32_iscsi(&bytes).to_le_bytes());
        bytes
    }

    /// Judges the first bytes of the segment `name`.
    #[must_use]
    pub fn decode(bytes: &[u8], name: SegmentName) -> HeaderVerdict {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return HeaderVerdict::Invalid;
        }
        if bytes.len() < MIN_SEGMENT_HEADER {
            return HeaderVerdict::Incomplete(MIN_SEGMENT_HEADER);
        }
        let length = usize::from(u16_at(bytes, 10));
        if length < MIN_SEGMENT_HEADER || !length.is_multiple_of(ALIGNMENT) {
            return HeaderVerdict::Invalid;
        }
        if bytes.len() < length {
            return HeaderVerdict::Incomplete(length);
        }
        if crc32_iscsi(&bytes[..length - 4]) != u32_at(bytes, length - 4) {
            return HeaderVerdict::Invalid;
        }
        match u16_at(bytes, 8) {
            VERSION => Self::decode_checked(bytes, length, name),
            version if version > VERSION => HeaderVerdict::Later(version),
            _ => HeaderVerdict::Invalid,
        }
    }

    /// Takes apart a header whose checksum and version are right.
    fn decode_checked(bytes: &[u8], length: usize, name: SegmentName) -> HeaderVerdict {
        let own = SegmentName { epoch: Epoch(u64_at(bytes, 16)), number: u32_at(bytes, 12) };
        let node_end = SEGMENT_FIXED + usize::from(u16_at(bytes, 40));
        if own != name || node_end > length - 4 {
            return HeaderVerdict::Invalid;
        }
        let Ok(node) = std::str::from_utf8(&bytes[SEGMENT_FIXED..node_end]) else {
            return HeaderVerdict::Invalid;
        };
        let header = Self {
            name,
            first_commit: u64_at(bytes, 24),
            created_ms: u64_at(bytes, 32),
            node: node.to_owned(),
        };
        HeaderVerdict::Valid(header, length)
    }
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Events of a transaction that is about to commit.
    Prepare,
    /// The transaction committed.
    Commit,
    /// The transaction was rolled back.
    Abort,
    /// The segment is complete; the next one follows.
    Seal,
    /// The epoch ended in order.
    Close,
    /// Events are missing here.
    Gap,
    /// A kind of a later release.
    Unknown(u8),
}

impl Kind {
    /// The kind's byte.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Prepare => 1,
            Self::Commit => 2,
            Self::Abort => 3,
            Self::Seal => 4,
            Self::Close => 5,
            Self::Gap => 6,
            Self::Unknown(code) => code,
        }
    }

    /// The kind that a byte stands for.
    #[must_use]
    pub fn of(code: u8) -> Self {
        match code {
            1 => Self::Prepare,
            2 => Self::Commit,
            3 => Self::Abort,
            4 => Self::Seal,
            5 => Self::Close,
            6 => Self::Gap,
            other => Self::Unknown(other),
        }
    }
}

/// A record without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the record is.
    pub kind: Kind,
    /// The transaction, or 0.
    pub transaction: u64,
    /// When it was written, in milliseconds since the Unix epoch.
    pub written_ms: u64,
    /// Length of the payload in bytes.
    pub payload: usize,
    /// The checksum that it carries.
    checksum: u32,
}

impl RecordHeader {
    /// Takes apart a record's first [`RECORD_HEADER`] bytes. `None` without the marker or with an illegal length. The
    /// checksum is not verified.
    #[must_use]
    pub fn decode(bytes: &[u8; RECORD_HEADER]) -> Option<Self> {
        let payload = u32_at(bytes, 8) as usize;
        if bytes[..4] != MARKER || payload > MAX_PAYLOAD {
            return None;
        }
        Some(Self {
            kind: Kind::of(bytes[12]),
            transaction: u64_at(bytes, 16),
            written_ms: u64_at(bytes, 24),
            payload,
            checksum: u32_at(bytes, 4),
        })
    }

    /// Length of the record in bytes, without padding.
    #[must_use]
    pub fn unpadded(&self) -> usize {
        RECORD_HEADER + self.payload
    }

    /// Length of the record in bytes, padding included.
    #[must_use]
    pub fn length(&self) -> usize {
        self.unpadded().next_multiple_of(ALIGNMENT)
    }

    /// Whether `record`, the bytes that this header was decoded from and its payload, were written at `offset`. It is as before afterwards.
    #[must_use]
    pub fn verify(&self, salt: Salt, offset: u64, record: &mut [u8]) -> bool {
        salt.checksum(offset, &mut record[..self.unpadded()]) == self.checksum
    }

    /// Whether `rest`, all that a segment holds from `offset` on, begins with this record as a whole, only that one bit of its length was flipped: it
    /// seems to end beyond the segment, as a record does whose write was cut short, but with a shorter length its checksum is right. It is as before afterwards.
    #[must_use]
    pub fn has_flipped_length(&self, salt: Salt, offset: u64, rest: &mut [u8]) -> bool {
        let mut shorter =
            (0..u32::BITS).map(|bit| self.payload & !(1 << bit)).filter(|length| *length < self.payload);
        shorter.any(|payload| {
            let Some(record) = rest.get_mut(..RECORD_HEADER + payload) else { return false };
            record[LENGTH].copy_from_slice(&(payload as u32).to_le_bytes());
            let is_it = salt.checksum(offset, record) == self.checksum;
            record[LENGTH].copy_from_slice(&(self.payload as u32).to_le_bytes());
            is_it
        })
    }
}

/// The part of a record's checksum that is the same for all records of a segment.
#[derive(Debug, Clone, Copy)]
pub struct Salt(u32);

impl Salt {
    /// The salt of a segment's records.
    #[must_use]
    pub fn of(name: SegmentName) -> Self {
        let epoch = name.epoch.0.to_le_bytes();
        Self(crc32_iscsi(&[&epoch[..], &name.number.to_le_bytes()].concat()))
    }

    /// The checksum of `record` at `offset`. Its first eight bytes, marker and checksum, are not part of it: the salt and the offset have their place as long as it is
    /// computed, so that all lies in one piece. A CRC goes on from another one that is added to the four bytes behind it.
    fn checksum(self, offset: u64, record: &mut [u8]) -> u32 {
        let before = u64_at(record, 0).to_le_bytes();
        record[..8].copy_from_slice(&(offset ^ u64::from(self.0)).to_le_bytes());
        let checksum = crc32_iscsi(record);
        record[..8].copy_from_slice(&before);
        checksum
    }
}

/// Appends the record to `out`, whose first byte will lie at `base` in the segment.
///
/// # Panics
/// If the payload is longer than [`MAX_PAYLOAD`] or the record would not be aligned.
pub fn encode_record(
    out: &mut Vec<u8>,
    salt: Salt,
    base: u64,
    kind: Kind,
    transaction: u64,
    written_ms: u64,
    payload: &[u8],
) {
    assert!(payload.len() <= MAX_PAYLOAD, "payload of {} bytes", payload.len());
    let start = out.len();
    let offset = base + start as u64;
    assert!(offset.is_multiple_of(ALIGNMENT as u64), "record at the unaligned offset {offset}");
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&[kind.code(), 0, 0, 0]);
    out.extend_from_slice(&transaction.to_le_bytes());
    out.extend_from_slice(&written_ms.to_le_bytes());
    out.extend_from_slice(payload);
    let checksum = salt.checksum(offset, &mut out[start..]);
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
    let padded = start + (out.len() - start).next_multiple_of(ALIGNMENT);
    out.resize(padded, 0);
}

/// Why events could not be journaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapCause {
    /// No space was left on the device.
    NoSpace,
    /// The journal had reached its ceiling.
    Ceiling,
    /// An input/output error.
    InputOutput,
    /// An event larger than a record.
    TooLarge,
    /// A cause of a later release.
    Unknown(u8),
}

impl GapCause {
    /// The cause's byte.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::NoSpace => 1,
            Self::Ceiling => 2,
            Self::InputOutput => 3,
            Self::TooLarge => 4,
            Self::Unknown(code) => code,
        }
    }

    fn of(code: u8) -> Self {
        match code {
            1 => Self::NoSpace,
            2 => Self::Ceiling,
            3 => Self::InputOutput,
            4 => Self::TooLarge,
            other => Self::Unknown(other),
        }
    }
}

/// Events that are missing because they could not be journaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapPayload {
    /// How many user events.
    pub user_events: u64,
    /// How many admin events.
    pub admin_events: u64,
    /// Time of the first, in milliseconds since the Unix epoch.
    pub first_ms: u64,
    /// Time of the last, in milliseconds since the Unix epoch.
    pub last_ms: u64,
    /// Why.
    pub cause: GapCause,
}

impl GapPayload {
    /// The payload's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(GAP_PAYLOAD);
        for number in [self.user_events, self.admin_events, self.first_ms, self.last_ms] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.push(self.cause.code());
        bytes
    }

    /// Takes a payload apart; `None` if it is too short. Bytes after those known are of a later release and ignored.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < GAP_PAYLOAD {
            return None;
        }
        Some(Self {
            user_events: u64_at(bytes, 0),
            admin_events: u64_at(bytes, 8),
            first_ms: u64_at(bytes, 16),
            last_ms: u64_at(bytes, 24),
            cause: GapCause::of(bytes[32]),
        })
    }
}

/// The commit number in the payload of a COMMIT; `None` if it is too short.
#[must_use]
pub fn decode_commit(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// How a COMMIT came to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitMark {
    /// By the transaction itself.
    Own,
    /// It repeats an earlier one, which may be readable or not.
    Repeated,
    /// By the writer's next start, which learned elsewhere that the database had committed. Its number begins a stride of 2³² of its own, beyond
    /// every number that the epoch can have had: what was written before a power cut may be lost, and have been delivered.
    Settled,
}

impl CommitMark {
    /// The mark in the payload of a COMMIT. One of a later release means nothing to this one.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        match payload.get(8..16).and_then(|mark| mark.first_chunk().copied()).map(u64::from_le_bytes) {
            Some(1) => Self::Repeated,
            Some(2) => Self::Settled,
            _ => Self::Own,
        }
    }
}

/// The two bytes at `at`, which the caller has checked to be there.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(chunk_at(bytes, at))
}

/// The four bytes at `at`, which the caller has checked to be there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(chunk_at(bytes, at))
}

/// The eight bytes at `at`, which the caller has checked to be there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(chunk_at(bytes, at))
}

fn chunk_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut chunk = [0; N];
    chunk.copy_from_slice(&bytes[at..at + N]);
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: SegmentName = SegmentName { epoch: Epoch(0x0006_447b_0d1a_2c00), number: 1 };

    fn header() -> SegmentHeader {
        SegmentHeader { name: NAME, first_commit: 7, created_ms: 1_700_000_000_000, node: "kc-1".into() }
    }

    #[test]
    fn an_epoch_has_the_digits_that_it_is_written_with() {
        for number in [0, 0x0123_4567_89ab_cdef, u64::MAX] {
            let epoch = Epoch(number);
            assert_eq!(std::str::from_utf8(&epoch.digits()).unwrap(), epoch.to_string());
        }
    }

    #[test]
    fn a_name_is_what_the_specification_shows() {
        assert_eq!(NAME.to_string(), "0006447b0d1a2c00-00000001.kfj");
        assert_eq!("0006447b0d1a2c00-00000001.kfj".parse(), Ok(NAME));
        for other in [
            "0006447B0D1A2C00-00000001.kfj",
            "0006447b0d1a2c00-1.kfj",
            "+006447b0d1a2c00-00000001.kfj",
            "0006447b0d1a2c00-00000001.kfj.tmp",
            "lock",
        ] {
            assert_eq!(other.parse::<SegmentName>(), Err(BadName), "{other}");
        }
    }

    #[test]
    fn an_epoch_ascends_even_when_the_clock_goes_back() {
        let first = Epoch::beginning(0x0006_447b_0d1a_2cff, 3, None);
        assert_eq!(first, Epoch(0x0006_447b_0d1a_2c03));
        assert_eq!(first.slot(), 3);
        assert_eq!(Epoch::beginning(1_000_000, 3, Some(first)), Epoch(first.0 + 0x100));
        assert_eq!(Epoch::beginning(first.0 + 0x1000, 3, Some(first)), Epoch(first.0 + 0x1000));
    }

    #[test]
    fn a_header_survives_and_each_flipped_bit_is_noticed() {
        let bytes = header().encode();
        assert_eq!(bytes.len(), 56);
        assert_eq!(SegmentHeader::decode(&bytes, NAME), HeaderVerdict::Valid(header(), 56));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let verdict = SegmentHeader::decode(&flipped, NAME);
            let cut_short = matches!(verdict, HeaderVerdict::Incomplete(_)) && bit / 8 / 2 == 5;
            assert!(verdict == HeaderVerdict::Invalid || cut_short, "bit {bit}: {verdict:?}");
        }
    }

    #[test]
    fn a_header_of_another_segment_is_invalid() {
        let other = SegmentName { number: 2, ..NAME };
        assert_eq!(SegmentHeader::decode(&header().encode(), other), HeaderVerdict::Invalid);
    }

    #[test]
    fn a_longer_header_of_the_same_version_is_read() {
        let mut bytes = header().encode();
        bytes.truncate(bytes.len() - 4);
        bytes.extend_from_slice(&[7; 16]);
        let length = bytes.len() + 4;
        bytes[10..12].copy_from_slice(&(length as u16).to_le_bytes());
        let checksum = crc32_iscsi(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes, NAME), HeaderVerdict::Valid(header(), length));
    }

    #[test]
    fn a_long_node_name_is_cut_at_a_character() {
        let long = SegmentHeader { node: "é".repeat(200), ..header() };
        let HeaderVerdict::Valid(read, _) = SegmentHeader::decode(&long.encode(), NAME) else {
            panic!("the header is not valid");
        };
        assert_eq!(read.node, "é".repeat(127));
    }

    #[test]
    fn a_record_is_valid_only_where_it_was_written() {
        let mut bytes = Vec::new();
        encode_record(&mut bytes, Salt::of(NAME), 64, Kind::Commit, 9, 5, &7u64.to_le_bytes());
        assert_eq!(bytes.len(), 40);
        let decoded = RecordHeader::decode(bytes.first_chunk().unwrap()).unwrap();
        assert_eq!((decoded.kind, decoded.transaction, decoded.written_ms), (Kind::Commit, 9, 5));
        assert!(decoded.verify(Salt::of(NAME), 64, &mut bytes));
        assert!(!decoded.verify(Salt::of(NAME), 72, &mut bytes));
        assert!(!decoded.verify(Salt::of(SegmentName { number: 2, ..NAME }), 64, &mut bytes));
        assert!(!decoded.verify(Salt::of(SegmentName { epoch: Epoch(1), ..NAME }), 64, &mut bytes));
        assert_eq!(decode_commit(&bytes[32..]), Some(7));
    }

    #[test]
    fn a_checksum_is_that_of_salt_offset_and_bytes_whatever_their_number() {
        let bytes: Vec<u8> = (0..200_u8).collect();
        let salt = [&NAME.epoch.0.to_le_bytes()[..], &NAME.number.to_le_bytes()].concat();
        for length in 0..bytes.len() {
            let bytes = &bytes[..length];
            let whole = [&salt[..], &72_u64.to_le_bytes(), bytes].concat();
            let mut record = [&b"12345678"[..], bytes].concat();
            assert_eq!(Salt::of(NAME).checksum(72, &mut record), crc32_iscsi(&whole), "{length}");
            assert_eq!(record, [&b"12345678"[..], bytes].concat());
        }
    }

    #[test]
    fn a_gap_survives() {
        let gap = GapPayload {
            user_events: 3,
            admin_events: 1,
            first_ms: 10,
            last_ms: 20,
            cause: GapCause::NoSpace,
        };
        assert_eq!(GapPayload::decode(&gap.encode()), Some(gap));
        assert_eq!(GapPayload::decode(&gap.encode()[1..]), None);
    }
}
