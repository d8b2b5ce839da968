//! Records in the order in which they were written, and the verdict on whatever is not a record.
//!
//! The invariant: the scanner moves past bytes only if they were a valid record, or if it has said what they were. The
//! verdicts are the table "Reading" of `docs/journal-format.md`.
//!
//! # What may still change
//!
//! Bytes that are not a record in a segment that is being written may become one. So before each verdict the scanner
//! settles the segment's [`Fate`]: whether something later exists or the writer is dead. Order matters: the last bytes
//! of a segment are written before its successor is created and before its writer's lock is free. Therefore the tail is
//! read *again* after the fate is known, and only then judged; and the directory is listed again after something later
//! was first seen in it, because a listing is not atomic and may show a segment without the one before it.

use std::io;

use crate::error::Error;
use crate::format::{
    ALIGNMENT, Epoch, HeaderVerdict, Kind, MARKER, MIN_SEGMENT_HEADER, Place, RECORD_HEADER, RecordHeader,
    Salt, SegmentHeader, SegmentName,
};
use crate::storage::{Segment, Storage};
use crate::window::{Span, Window};

/// How often what is looked at while there is nothing to read. All in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedOptions {
    /// How long damage must persist in a segment that is being written before it is believed.
    pub damage_persists_ms: u64,
    /// The least time between two listings of the directory.
    pub list_interval_ms: u64,
    /// The least time between two looks at the writer's lock.
    pub writer_interval_ms: u64,
    /// Whether the writer settles what is in doubt when it starts again, so that a free lock does not end an epoch: only
    /// a CLOSE or a later epoch does.
    pub wait_for_settlement: bool,
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self {
            damage_persists_ms: 1000,
            list_interval_ms: 100,
            writer_interval_ms: 500,
            wait_for_settlement: false,
        }
    }
}

/// What may still happen to the segment being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It may grow.
    Growing,
    /// A later segment of its epoch exists.
    Followed,
    /// A later epoch exists.
    Superseded,
    /// It is the slot's last, and nobody holds the writer's lock.
    Orphaned,
}

impl Fate {
    fn epoch_over(self) -> bool {
        matches!(self, Self::Superseded | Self::Orphaned)
    }
}

/// What part of the segment is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its header.
    Header,
    /// Its records.
    Records,
    /// SEAL or CLOSE was met; what follows it has not been looked at.
    Ending { closed: bool },
    /// All of it has been read.
    Done { closed: bool },
}

/// Where the scanner is.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    segment: SegmentName,
    /// The salt of its records.
    salt: Salt,
    /// Where the next record begins.
    offset: u64,
    /// What is reported up to, at least `offset`: beyond it after a torn tail, which could yet become a record if the
    /// writer turns out to live.
    reported: u64,
    /// Where to begin again once the segment is done: its SEAL or CLOSE, so that they are met again.
    restart: u64,
    stage: Stage,
    fate: Fate,
    /// Where to go on after the header; `None` for the first record.
    jump: Option<u64>,
}

impl Cursor {
    fn at(segment: SegmentName, jump: Option<u64>) -> Self {
        let offset = jump.unwrap_or(0);
        Self {
            segment,
            salt: Salt::of(segment),
            offset,
            reported: offset,
            restart: offset,
            stage: Stage::Header,
            fate: Fate::Growing,
            jump,
        }
    }

    fn advance(&mut self, offset: u64) {
        assert!(offset > self.offset, "the scanner went from {} to {offset}", self.offset);
        self.offset = offset;
        self.restart = offset;
        self.reported = self.reported.max(offset);
    }
}

/// A range of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) segment: SegmentName,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// What the scanner came upon.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A segment began.
    Segment(SegmentHeader),
    /// A record. It is met again until [`Scanner::consume`] is called.
    Record(Met),
    /// Bytes that are no records.
    Damage(Range),
    /// A write that was cut short when its writer died.
    TornTail(Range),
    /// A segment that its writer gave up at a record's end.
    Abandoned(SegmentName, u64),
    /// Segments are missing before the one now entered. `last` is `None` if it is of another epoch.
    MissingSegments { epoch: Epoch, first: u32, last: Option<u32> },
    /// All of the epoch has been read. Met again until [`Scanner::leave_epoch`] finds a later one.
    EpochOver(EpochOver),
    /// Nothing more for now.
    CaughtUp,
}

/// How an epoch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EpochOver {
    pub(crate) last: SegmentName,
    pub(crate) closed: bool,
}

/// A valid record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Met {
    pub(crate) header: RecordHeader,
    pub(crate) segment: SegmentName,
    pub(crate) offset: u64,
    /// Its payload, as long as it has not been consumed.
    pub(crate) payload: Span,
}

impl Met {
    pub(crate) fn place(&self) -> Place {
        Place { segment: self.segment.number, offset: self.offset }
    }

    pub(crate) fn end(&self) -> u64 {
        self.offset + self.header.length() as u64
    }
}

/// What lies at an offset.
enum Probe {
    Whole(Met),
    /// The segment ends at or before the offset.
    Nothing,
    /// What there is could be the beginning of a record.
    Partial,
    /// No record.
    Bad,
}

/// Damage in a segment that is being written, not yet believed.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    place: (SegmentName, u64),
    since_ms: u64,
}

/// Walks over the records of a slot.
#[derive(Debug)]
pub(crate) struct Scanner<S> {
    storage: S,
    options: FeedOptions,
    window: Window,
    segments: Vec<Segment>,
    header: Option<SegmentHeader>,
    listed_ms: Option<u64>,
    alive_checked_ms: Option<u64>,
    cursor: Option<Cursor>,
    suspect: Option<Suspect>,
}

impl<S: Storage> Scanner<S> {
    /// A scanner at the beginning of the oldest segment.
    pub(crate) fn new(storage: S, options: FeedOptions) -> Self {
        Self {
            storage,
            options,
            header: None,
            window: Window::new(),
            segments: Vec::new(),
            listed_ms: None,
            alive_checked_ms: None,
            cursor: None,
            suspect: None,
        }
    }

    pub(crate) fn storage(&mut self) -> &mut S {
        &mut self.storage
    }

    /// The node that wrote what is being read; empty as long as no header has told.
    pub(crate) fn node(&self) -> &str {
        let epoch = self.cursor.map(|cursor| cursor.segment.epoch);
        match &self.header {
            Some(header) if Some(header.name.epoch) == epoch => &header.node,
            _ => "",
        }
    }

    /// Goes to `offset` of `segment`. If that is gone, the next step reports it as missing.
    pub(crate) fn go_to(&mut self, segment: SegmentName, offset: u64) -> Result<(), Error> {
        self.cursor = Some(Cursor::at(segment, (offset > 0).then_some(offset)));
        self.suspect = None;
        self.window.clear();
        self.list()
    }

    /// Goes to the beginning of the oldest segment.
    pub(crate) fn go_to_oldest(&mut self) {
        self.cursor = None;
        self.suspect = None;
        self.window.clear();
    }

    /// The segment being read.
    pub(crate) fn segment(&self) -> Option<SegmentName> {
        Some(self.cursor?.segment)
    }

    /// Where reading must begin again to meet everything not yet met.
    pub(crate) fn restart(&self) -> Option<(SegmentName, u64)> {
        self.cursor.map(|cursor| (cursor.segment, cursor.restart))
    }

    /// Everything before it has been met or reported.
    pub(crate) fn reported(&self) -> Option<(SegmentName, u64)> {
        self.cursor.map(|cursor| (cursor.segment, cursor.reported))
    }

    /// When the segment being read was created, in milliseconds since the Unix epoch; that of its epoch as long as its
    /// header has not told.
    pub(crate) fn created_ms(&self) -> u64 {
        let Some(cursor) = &self.cursor else { return 0 };
        match &self.header {
            Some(header) if header.name == cursor.segment => header.created_ms,
            _ => cursor.segment.epoch.begun_ms(),
        }
    }

    /// The segments at the last listing, in order.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Takes deleted segments out of the listing.
    pub(crate) fn forget(&mut self, deleted: &[SegmentName]) {
        self.segments.retain(|segment| !deleted.contains(&segment.name));
    }

    /// Lists the directory unless that was done less than `age_ms` ago.
    pub(crate) fn list_if_older(&mut self, now_ms: u64, age_ms: u64) -> Result<(), Error> {
        if self.listed_ms.is_none_or(|listed| now_ms.abs_diff(listed) >= age_ms) {
            self.listed_ms = Some(now_ms);
            self.list()?;
        }
        Ok(())
    }

    fn list(&mut self) -> Result<(), Error> {
        self.segments =
            self.storage.list().map_err(|source| Error::io("list", self.storage.describe(), source))?;
        self.segments.sort_unstable();
        let (Some(newest), Some(cursor)) = (self.segments.last(), &self.cursor) else { return Ok(()) };
        if newest.name < cursor.segment {
            return Err(Error::WentBack {
                path: self.storage.describe(),
                checkpoint: cursor.segment,
                newest: newest.name,
            });
        }
        Ok(())
    }

    /// The record at the cursor, if it is in the window as a whole, as nearly all are. What else there is only [`Scanner::step`] tells.
    pub(crate) fn record_at_hand(&mut self) -> Option<Met> {
        let Cursor { segment, salt, offset, .. } =
            *self.cursor.as_ref().filter(|cursor| cursor.stage == Stage::Records)?;
        self.record_in_window(segment, salt, offset)
    }

    /// The record at `offset` of the segment with this salt, if it is valid and in the window as a whole.
    fn record_in_window(&mut self, segment: SegmentName, salt: Salt, offset: u64) -> Option<Met> {
        let rest = self.window.rest(segment, offset)?;
        let bytes = self.window.bytes_mut(rest);
        let header = RecordHeader::decode(bytes.first_chunk()?)?;
        let record = bytes.get_mut(..header.length())?;
        let payload = rest.part(RECORD_HEADER, header.payload);
        header.verify(salt, offset, record).then_some(Met { header, segment, offset, payload })
    }

    /// What lies at the cursor. Moves past everything but records and the ends of epochs.
    pub(crate) fn step(&mut self, now_ms: u64) -> Result<Step, Error> {
        let Some(cursor) = self.cursor else { return self.enter_oldest(now_ms) };
        match cursor.stage {
            Stage::Header => self.header(cursor, now_ms),
            Stage::Records => self.record(cursor, now_ms),
            Stage::Ending { closed } => self.ending(cursor, closed, now_ms),
            Stage::Done { closed } => self.done(cursor, closed, now_ms),
        }
    }

    /// Moves past a record that [`Scanner::step`] returned.
    pub(crate) fn consume(&mut self, met: &Met) {
        let Some(cursor) = &mut self.cursor else { return };
        assert!(cursor.segment == met.segment && cursor.offset == met.offset, "consumed a record elsewhere");
        cursor.advance(met.end());
        match met.header.kind {
            Kind::Seal => cursor.stage = Stage::Ending { closed: false },
            Kind::Close => cursor.stage = Stage::Ending { closed: true },
            _ => return,
        }
        cursor.restart = met.offset;
    }

    /// Enters the epoch after the one that is over and returns its first segment, if there is one yet.
    pub(crate) fn leave_epoch(&mut self) -> Option<SegmentName> {
        let next = self.after(self.cursor?.segment)?;
        self.cursor = Some(Cursor::at(next, None));
        Some(next)
    }

    /// A payload that was found in the window since the last [`Scanner::step`].
    pub(crate) fn payload(&self, span: Span) -> &[u8] {
        self.window.bytes(span)
    }

    /// Where the payload of a record of `length` bytes (without padding) at `offset` is, if it is still in the window.
    pub(crate) fn payload_in_window(&self, segment: SegmentName, offset: u64, length: usize) -> Option<Span> {
        let record = self.window.span(segment, offset, length)?;
        Some(record.part(RECORD_HEADER, length - RECORD_HEADER))
    }

    /// Reads a record of `length` bytes (without padding) again and appends its payload to `out`. `false` if what is
    /// there now is not that record.
    pub(crate) fn read_again(
        &mut self,
        segment: SegmentName,
        offset: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        let start = out.len();
        out.resize(start + length, 0);
        let mut filled = start;
        while filled < out.len() {
            let at = offset + (filled - start) as u64;
            let count = match self.storage.read_at(segment, at, &mut out[filled..]) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(source) => return Err(self.failed("read", segment, source)),
            };
            if count == 0 {
                break;
            }
            filled += count;
        }
        let is_there = filled == out.len();
        let record = &mut out[start..filled];
        let whole = is_there
            && record.first_chunk().and_then(RecordHeader::decode).is_some_and(|header| {
                header.kind == Kind::Prepare
                    && header.unpadded() == length
                    && header.verify(Salt::of(segment), offset, record)
            });
        if whole {
            out.drain(start..start + RECORD_HEADER);
        } else {
            out.truncate(start);
        }
        Ok(whole)
    }

    /// Whether the last segment of an epoch that was over has grown, or been followed by another of its epoch: its
    /// writer lives after all. If so, goes on reading it.
    pub(crate) fn reopen(&mut self, now_ms: u64) -> Result<bool, Error> {
        self.list_if_older(now_ms, self.options.list_interval_ms)?;
        let Some(cursor) = self.cursor else { return Ok(false) };
        if cursor.fate == Fate::Superseded {
            return Ok(false);
        }
        let followed = self.after(cursor.segment).is_some_and(|next| next.epoch == cursor.segment.epoch);
        let length = self.length(cursor.segment)?;
        if !followed && length <= cursor.reported {
            return Ok(false);
        }
        let Some(cursor) = &mut self.cursor else { return Ok(false) };
        cursor.fate = Fate::Growing;
        if let Stage::Done { closed } = cursor.stage
            && length > cursor.reported
        {
            let ended = cursor.restart < cursor.offset;
            cursor.stage = if ended { Stage::Ending { closed } } else { resumed_stage(cursor) };
        }
        self.window.discard_from(self.cursor.map_or(0, |cursor| cursor.offset));
        Ok(true)
    }

    fn enter_oldest(&mut self, now_ms: u64) -> Result<Step, Error> {
        self.list_if_older(now_ms, self.options.list_interval_ms)?;
        let Some(oldest) = self.segments.first() else { return Ok(Step::CaughtUp) };
        self.cursor = Some(Cursor::at(oldest.name, None));
        self.step(now_ms)
    }

    /// Reads the segment's header, or checks it on the way to where reading goes on.
    fn header(&mut self, cursor: Cursor, now_ms: u64) -> Result<Step, Error> {
        if self.segments.binary_search_by_key(&cursor.segment, |segment| segment.name).is_err() {
            return self.enter_after_missing(cursor, now_ms);
        }
        let verdict = self.probe_header(cursor.segment)?;
        if let HeaderVerdict::Valid(header, _) = &verdict {
            self.header = Some(header.clone());
        }
        match verdict {
            HeaderVerdict::Later(version) => {
                Err(Error::LaterVersion { path: self.path(cursor.segment), version })
            }
            _ if cursor.jump.is_some() => {
                self.update(|cursor| cursor.stage = Stage::Records);
                self.step(now_ms)
            }
            HeaderVerdict::Valid(header, length) => {
                self.update(|cursor| {
                    cursor.advance(length as u64);
                    cursor.stage = Stage::Records;
                });
                Ok(Step::Segment(header))
            }
            HeaderVerdict::Incomplete(_) => self.invalid(cursor, true, now_ms),
            HeaderVerdict::Invalid => self.invalid(cursor, false, now_ms),
        }
    }

    /// The segment that reading should go on in does not exist: somebody deleted it.
    fn enter_after_missing(&mut self, cursor: Cursor, now_ms: u64) -> Result<Step, Error> {
        self.list_if_older(now_ms, self.options.list_interval_ms)?;
        let Some(next) = self.after(cursor.segment) else { return Ok(Step::CaughtUp) };
        self.cursor = Some(Cursor::at(next, None));
        let SegmentName { epoch, number } = cursor.segment;
        let last = (next.epoch == epoch).then(|| next.number - 1);
        Ok(Step::MissingSegments { epoch, first: number, last })
    }

    fn record(&mut self, cursor: Cursor, now_ms: u64) -> Result<Step, Error> {
        if let Probe::Whole(met) = self.probe(cursor, cursor.offset)? {
            return Ok(Step::Record(met));
        }
        self.window.discard_from(cursor.offset);
        match self.probe(cursor, cursor.offset)? {
            Probe::Whole(met) => Ok(Step::Record(met)),
            Probe::Nothing => self.nothing(cursor, now_ms),
            Probe::Partial => self.invalid(cursor, true, now_ms),
            Probe::Bad => self.invalid(cursor, false, now_ms),
        }
    }

    /// The segment ends where the next record would begin.
    fn nothing(&mut self, cursor: Cursor, now_ms: u64) -> Result<Step, Error> {
        if self.settle_fate(cursor, now_ms)? {
            return self.step(now_ms);
        }
        match cursor.fate {
            Fate::Growing => Ok(Step::CaughtUp),
            Fate::Followed => {
                self.update(|cursor| cursor.stage = Stage::Done { closed: false });
                Ok(Step::Abandoned(cursor.segment, cursor.offset))
            }
            Fate::Superseded | Fate::Orphaned => {
                self.update(|cursor| cursor.stage = Stage::Done { closed: false });
                self.step(now_ms)
            }
        }
    }

    /// No valid record (or header) lies at the cursor. `partial`: what is there could be the beginning of one.
    fn invalid(&mut self, cursor: Cursor, partial: bool, now_ms: u64) -> Result<Step, Error> {
        if self.settle_fate(cursor, now_ms)? {
            return self.step(now_ms);
        }
        let valid = self.search(cursor)?;
        if let Some(valid) = valid {
            if cursor.fate == Fate::Growing && !self.persists(cursor, now_ms) {
                return Ok(Step::CaughtUp);
            }
            self.update(|cursor| {
                cursor.advance(valid);
                cursor.stage = Stage::Records;
            });
            return Ok(Step::Damage(Range { segment: cursor.segment, from: cursor.offset, to: valid }));
        }
        if cursor.fate == Fate::Growing {
            return Ok(Step::CaughtUp);
        }
        let end = self.length(cursor.segment)?.max(cursor.offset);
        self.update(|cursor| {
            cursor.reported = cursor.reported.max(end);
            cursor.stage = Stage::Done { closed: false };
        });
        let range = Range { segment: cursor.segment, from: cursor.offset, to: end };
        Ok(match cursor.fate {
            Fate::Followed if end == cursor.offset => Step::Abandoned(cursor.segment, end),
            fate if fate.epoch_over() && end == cursor.offset => return self.step(now_ms),
            fate if fate.epoch_over() && partial => Step::TornTail(range),
            _ => Step::Damage(range),
        })
    }

    /// Whether the damage at the cursor has been there for long enough to be believed.
    fn persists(&mut self, cursor: Cursor, now_ms: u64) -> bool {
        let place = (cursor.segment, cursor.offset);
        match self.suspect {
            Some(suspect) if suspect.place == place => {
                now_ms.saturating_sub(suspect.since_ms) >= self.options.damage_persists_ms
            }
            _ => {
                self.suspect = Some(Suspect { place, since_ms: now_ms });
                false
            }
        }
    }

    /// SEAL or CLOSE was met: nothing may follow it.
    fn ending(&mut self, cursor: Cursor, closed: bool, now_ms: u64) -> Result<Step, Error> {
        let end = self.length(cursor.segment)?;
        self.update(|cursor| cursor.stage = Stage::Done { closed });
        if end > cursor.reported {
            self.update(|cursor| cursor.reported = end);
            return Ok(Step::Damage(Range { segment: cursor.segment, from: cursor.reported, to: end }));
        }
        self.step(now_ms)
    }

    /// The segment has been read: on to the next one of its epoch, or the epoch is over.
    fn done(&mut self, cursor: Cursor, closed: bool, now_ms: u64) -> Result<Step, Error> {
        match cursor.fate {
            Fate::Growing => {
                self.list()?;
                if self.settle_fate(cursor, now_ms)? {
                    return self.step(now_ms);
                }
                if closed {
                    self.update(|cursor| cursor.fate = Fate::Orphaned);
                    return self.step(now_ms);
                }
                Ok(Step::CaughtUp)
            }
            Fate::Followed => self.enter_next(cursor, now_ms),
            Fate::Superseded | Fate::Orphaned => {
                Ok(Step::EpochOver(EpochOver { last: cursor.segment, closed }))
            }
        }
    }

    fn enter_next(&mut self, cursor: Cursor, now_ms: u64) -> Result<Step, Error> {
        let Some(next) = self.after(cursor.segment) else {
            self.update(|cursor| cursor.fate = Fate::Growing);
            return Ok(Step::CaughtUp);
        };
        if next.epoch != cursor.segment.epoch {
            self.update(|cursor| cursor.fate = Fate::Superseded);
            return self.step(now_ms);
        }
        self.cursor = Some(Cursor::at(next, None));
        let expected = cursor.segment.number + 1;
        if next.number != expected {
            let last = Some(next.number - 1);
            return Ok(Step::MissingSegments { epoch: next.epoch, first: expected, last });
        }
        self.step(now_ms)
    }

    /// Finds out whether the segment may still grow; `true` if that has just changed, so that its tail must be read
    /// again before it is judged.
    fn settle_fate(&mut self, cursor: Cursor, now_ms: u64) -> Result<bool, Error> {
        if cursor.fate != Fate::Growing {
            return Ok(false);
        }
        self.list_if_older(now_ms, self.options.list_interval_ms)?;
        let fate = if self.after(cursor.segment).is_some() {
            self.list()?;
            self.fate_by_successor(cursor.segment)
        } else if !self.options.wait_for_settlement && self.writer_dead(now_ms)? {
            self.list()?;
            match self.fate_by_successor(cursor.segment) {
                Fate::Growing => Fate::Orphaned,
                other => other,
            }
        } else {
            return Ok(false);
        };
        self.window.discard_from(cursor.offset);
        self.update(|cursor| cursor.fate = fate);
        Ok(fate != Fate::Growing)
    }

    fn fate_by_successor(&self, segment: SegmentName) -> Fate {
        match self.after(segment) {
            None => Fate::Growing,
            Some(next) if next.epoch == segment.epoch => Fate::Followed,
            Some(_) => Fate::Superseded,
        }
    }

    /// Whether the writer's lock was found free just now. Looked at only so often.
    fn writer_dead(&mut self, now_ms: u64) -> Result<bool, Error> {
        if self
            .alive_checked_ms
            .is_some_and(|checked| now_ms.abs_diff(checked) < self.options.writer_interval_ms)
        {
            return Ok(false);
        }
        self.alive_checked_ms = Some(now_ms);
        let alive = self.storage.writer_alive();
        alive.map(|alive| !alive).map_err(|source| {
            Error::io("query", format!("{}/{}", self.storage.describe(), crate::slot::WRITER_LOCK), source)
        })
    }

    fn after(&self, segment: SegmentName) -> Option<SegmentName> {
        let next = self.segments.partition_point(|other| other.name <= segment);
        Some(self.segments.get(next)?.name)
    }

    fn probe_header(&mut self, segment: SegmentName) -> Result<HeaderVerdict, Error> {
        self.window.discard_from(0);
        let mut need = MIN_SEGMENT_HEADER;
        loop {
            let available = self.fill(segment, 0, need)?.min(need);
            let bytes = self.window.peek(segment, 0, available).unwrap_or_default();
            match SegmentHeader::decode(bytes, segment) {
                HeaderVerdict::Incomplete(longer) if longer > need && available == need => need = longer,
                verdict => return Ok(verdict),
            }
        }
    }

    fn probe(&mut self, Cursor { segment, salt, .. }: Cursor, offset: u64) -> Result<Probe, Error> {
        let available = self.fill(segment, offset, RECORD_HEADER)?;
        if available == 0 {
            return Ok(Probe::Nothing);
        }
        if available < RECORD_HEADER {
            return Ok(Probe::Partial);
        }
        let first = self.window.peek(segment, offset, RECORD_HEADER).and_then(<[u8]>::first_chunk);
        let Some(header) = first.and_then(RecordHeader::decode) else { return Ok(Probe::Bad) };
        let available = available.max(self.fill(segment, offset, header.length())?);
        if available < header.length() {
            let rest = self.window.peek_mut(segment, offset, available).unwrap_or_default();
            let bad =
                matches!(header.kind, Kind::Unknown(_)) || header.has_flipped_length(salt, offset, rest);
            return Ok(if bad { Probe::Bad } else { Probe::Partial });
        }
        Ok(self.record_in_window(segment, salt, offset).map_or(Probe::Bad, Probe::Whole))
    }

    /// The offset of the first valid record after the cursor.
    fn search(&mut self, cursor: Cursor) -> Result<Option<u64>, Error> {
        let segment = cursor.segment;
        let mut at = cursor.offset + ALIGNMENT as u64;
        loop {
            let available = self.fill(segment, at, RECORD_HEADER)?;
            if available < RECORD_HEADER {
                return Ok(None);
            }
            let bytes = self.window.peek(segment, at, available).unwrap_or_default();
            let Some(distance) = marker(bytes) else {
                at += (available - available % ALIGNMENT) as u64;
                continue;
            };
            at += distance as u64;
            if let Probe::Whole(_) = self.probe(cursor, at)? {
                return Ok(Some(at));
            }
            at += ALIGNMENT as u64;
        }
    }

    fn fill(&mut self, segment: SegmentName, offset: u64, need: usize) -> Result<usize, Error> {
        let filled = self.window.fill(&mut self.storage, segment, offset, need);
        filled.map_err(|source| self.failed("read", segment, source))
    }

    fn length(&mut self, segment: SegmentName) -> Result<u64, Error> {
        let length = self.storage.length(segment);
        length.map_err(|source| self.failed("read", segment, source))
    }

    fn failed(&self, operation: &'static str, segment: SegmentName, source: io::Error) -> Error {
        Error::io(operation, self.path(segment), source)
    }

    fn path(&self, segment: SegmentName) -> String {
        format!("{}/{segment}", self.storage.describe())
    }

    fn update(&mut self, change: impl FnOnce(&mut Cursor)) {
        if let Some(cursor) = &mut self.cursor {
            change(cursor);
        }
    }
}

/// Where reading goes on in a segment that was taken for finished without SEAL or CLOSE.
fn resumed_stage(cursor: &Cursor) -> Stage {
    if cursor.offset == 0 { Stage::Header } else { Stage::Records }
}

/// Where in `bytes`, which begin at a multiple of [`ALIGNMENT`], the first marker is.
fn marker(bytes: &[u8]) -> Option<usize> {
    bytes.chunks_exact(ALIGNMENT).position(|chunk| chunk.starts_with(&MARKER)).map(|chunk| chunk * ALIGNMENT)
}
