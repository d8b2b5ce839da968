//! What the pipeline reads: transactions whose outcome is known, in order, and everything that is wrong with the journal.
//!
//! The invariants:
//!
//! - A [`Transaction`] is returned once, in the order of the COMMITs; those in doubt follow the last COMMIT of their
//!   epoch, in the order of their first PREPARE.
//! - A [`Resume`] taken after an item leads, after any restart, to exactly the items after it.
//! - Nothing is passed in silence: whatever cannot be read becomes an [`Item`] or an [`Error`].
//!
//! # Resuming
//!
//! Committed transactions come out in the order of their COMMITs, but their PREPAREs lie before, interleaved with those
//! of others. A resume point is therefore two places: `from`, the oldest PREPARE still without an outcome, where reading
//! begins; and `head`, up to which everything has been returned. What is settled or reported between the two was
//! returned before and is passed over. In the tail of an epoch, where several transactions are in doubt at the same
//! head, `in_doubt` is where the first PREPARE of the last that was returned lies. A place, not a count: after a power cut others may be open there than before, and those
//! up to that place were returned all the same, as committed or in doubt.
//!
//! # No clock, no thread
//!
//! The caller passes a monotonic time and decides when to call again; see [`Watch`](crate::watch::Watch).

use crate::assembler::{Assembler, Open, Prepared};
use crate::error::Error;
use crate::event::{EventView, Events};
use crate::format::{
    CommitMark, Epoch, GapCause, GapPayload, Kind, Place, RECORD_HEADER, SegmentHeader, SegmentName,
    decode_commit,
};
use crate::scanner::{EpochOver, Met, Range, Scanner, Step};
use crate::storage::{Segment, Storage};
use crate::window::Span;

pub use crate::scanner::FeedOptions;

/// The scratch buffer keeps no more than this between transactions, in bytes.
const SCRATCH: usize = 1 << 20;
/// How old the lengths behind [`Feed::backlog`] may be, in milliseconds.
const BACKLOG_AGE_MS: u64 = 1000;

/// Where to go on reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resume {
    /// The epoch.
    pub epoch: Epoch,
    /// Where to begin reading: at or before the first PREPARE of every transaction still open.
    pub from: Place,
    /// Everything that was settled or reported before this has been returned.
    pub head: Place,
    /// The number of the last transaction returned; 0 for none, [`Resume::COMMIT_UNKNOWN`] where the next one decides.
    pub commit: u64,
    /// Where the first PREPARE of the last transaction lies that was returned as in doubt; `None` if none was.
    pub in_doubt: Option<Place>,
}

impl Resume {
    /// Nothing has told yet how many transactions came before.
    pub const COMMIT_UNKNOWN: u64 = u64::MAX;

    /// The beginning of `segment`.
    #[must_use]
    pub fn beginning(segment: SegmentName) -> Self {
        let place = Place { segment: segment.number, offset: 0 };
        let commit = if segment.number == 0 { 0 } else { Self::COMMIT_UNKNOWN };
        Self { epoch: segment.epoch, from: place, head: place, commit, in_doubt: None }
    }

    /// The oldest segment that is still needed.
    #[must_use]
    pub fn segment(&self) -> SegmentName {
        SegmentName { epoch: self.epoch, number: self.from.segment }
    }

    fn reaches(&self, segment: SegmentName, offset: u64) -> bool {
        segment.epoch == self.epoch && Place { segment: segment.number, offset } <= self.head
    }
}

/// Whether a transaction committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It did.
    Committed,
    /// Its epoch ended without telling.
    Unknown,
}

/// A transaction's events.
#[derive(Debug, Clone, Copy)]
pub struct Transaction<'a> {
    /// The epoch.
    pub epoch: Epoch,
    /// Its number in the epoch, from 1.
    pub commit: u64,
    /// Its id in the epoch.
    pub id: u64,
    /// Whether it committed.
    pub outcome: Outcome,
    /// When the COMMIT was written, or the last PREPARE if the outcome is unknown; in milliseconds since the Unix epoch.
    pub written_ms: u64,
    /// The node that wrote it; empty if the segment's header cannot be read.
    pub node: &'a str,
    /// Where to go on after this transaction.
    pub resume: &'a Resume,
    first: Place,
    bytes: &'a [u8],
    /// How long the payload of each PREPARE in `bytes` is.
    lengths: &'a [usize],
}

impl<'a> Transaction<'a> {
    /// Its events, in the order in which they were raised. Ends after the first that is malformed.
    #[must_use]
    pub fn events(&self) -> TransactionEvents<'a> {
        TransactionEvents {
            segment: SegmentName { epoch: self.epoch, number: self.first.segment },
            place: self.first,
            events: Events::none(),
            bytes: self.bytes,
            lengths: self.lengths.iter(),
        }
    }
}

/// The events of a [`Transaction`].
#[derive(Debug, Clone)]
pub struct TransactionEvents<'a> {
    segment: SegmentName,
    place: Place,
    events: Events<'a>,
    bytes: &'a [u8],
    lengths: std::slice::Iter<'a, usize>,
}

impl<'a> TransactionEvents<'a> {
    /// Reads the next event into `event`, for those who read many of them: it need not be moved then. `false` if there is none.
    ///
    /// # Errors
    /// [`Error::MalformedEvent`]; then `event` is none, and none follows.
    pub fn read(&mut self, event: &mut EventView<'a>) -> Result<bool, Error> {
        loop {
            match self.events.read(event) {
                Ok(true) => return Ok(true),
                Ok(false) => {
                    let Some(length) = self.lengths.next() else { return Ok(false) };
                    let (payload, rest) = self.bytes.split_at(*length);
                    self.bytes = rest;
                    self.events = Events::of(payload);
                }
                Err(what) => {
                    self.lengths = [].iter();
                    let (segment, place, index) = (self.segment, self.place, self.events.last_index());
                    return Err(Error::MalformedEvent { segment, place, index, what });
                }
            }
        }
    }
}

impl<'a> Iterator for TransactionEvents<'a> {
    type Item = Result<EventView<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut event = EventView::empty();
        self.read(&mut event).map(|is_there| is_there.then_some(event)).transpose()
    }
}

/// Events that the writer could not journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The segment.
    pub segment: SegmentName,
    /// Where the GAP record lies in it, in bytes.
    pub offset: u64,
    /// When it was written, in milliseconds since the Unix epoch.
    pub written_ms: u64,
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

/// A range of bytes in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The segment.
    pub segment: SegmentName,
    /// Its first byte.
    pub from: u64,
    /// The byte after its last.
    pub to: u64,
}

/// Why a committed transaction's events cannot be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostCause {
    /// No PREPARE of it was met: it lies in a damaged range or a missing segment.
    NoPrepare,
    /// Its PREPARE at this place was valid once, but can no longer be read.
    Unreadable(Place),
}

/// What the journal holds next.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// Events to publish.
    Transaction(Transaction<'a>),
    /// Events that the writer could not journal.
    Gap(Gap),
    /// Bytes that cannot be read; what was in them is lost.
    Damage(ByteRange),
    /// A write that was cut short when its writer died. Normal: it was not acknowledged.
    TornTail(ByteRange),
    /// A segment that its writer gave up after a write error. Normal: nothing is lost.
    Abandoned(SegmentName),
    /// Segments are not there. `last` is `None` if it is not known how many.
    MissingSegments {
        /// The epoch.
        epoch: Epoch,
        /// Number of the first missing segment.
        first: u32,
        /// Number of the last missing segment.
        last: Option<u32>,
    },
    /// A commit number is not the one after the last: if it is higher, the transactions between are missing.
    MissingCommits {
        /// The epoch.
        epoch: Epoch,
        /// The number that should have followed.
        expected: u64,
        /// The number that did.
        found: u64,
    },
    /// A committed transaction whose events cannot be read.
    LostTransaction {
        /// The epoch.
        epoch: Epoch,
        /// Its number.
        commit: u64,
        /// Its id.
        id: u64,
        /// Whether it committed.
        outcome: Outcome,
        /// What became of its events.
        cause: LostCause,
    },
    /// A record of a kind that this release does not know, or whose payload it does not understand. Reported once per
    /// segment.
    UnknownRecord {
        /// The segment.
        segment: SegmentName,
        /// Where it lies, in bytes.
        offset: u64,
        /// Its kind.
        kind: u8,
    },
    /// An epoch has ended and all of it has been returned.
    EpochEnded {
        /// The epoch.
        epoch: Epoch,
        /// The number of its last transaction, those in doubt included.
        commit: u64,
        /// Whether its writer closed it in order.
        closed: bool,
    },
    /// An epoch goes on although nobody held the writer's lock: locks do not work on this mount. Transactions may have
    /// been returned as in doubt that were merely under way. Reported once per epoch.
    EpochReopened {
        /// The epoch.
        epoch: Epoch,
    },
}

/// A transaction that is about to be returned.
#[derive(Debug, Clone, Copy)]
struct Settled {
    id: u64,
    first: Place,
    commit: u64,
    outcome: Outcome,
    written_ms: u64,
    payloads: Payloads,
}

/// Where the payloads of a transaction are.
#[derive(Debug, Clone, Copy)]
enum Payloads {
    /// That of its only PREPARE is still in the window.
    InWindow(Span),
    /// They were read again into the scratch buffer.
    InScratch,
    /// The PREPARE at this place cannot be read any more.
    Unreadable(Place),
}

/// What comes next. Nearly always it is a transaction; the rest is rare and large, and lies elsewhere, so that what is rare does not have to be moved along with what is not.
enum Ready {
    Settled(Settled),
    Item(Box<Item<'static>>),
}

impl Ready {
    fn item(item: Item<'static>) -> Self {
        Self::Item(Box::new(item))
    }
}

/// The transactions in doubt that are being handed out.
#[derive(Debug, Clone, Copy)]
struct HandOut {
    /// Where the first PREPARE of the first of them lies.
    from: Place,
    /// Where the first PREPARE of the last of them lies.
    last: Place,
}

/// What is known of the epoch being read.
#[derive(Debug, Clone, Copy)]
struct CurrentEpoch {
    epoch: Epoch,
    /// The number of the next transaction; `None` if the first one met decides.
    next_commit: Option<u64>,
    end_reported: bool,
    reopening_reported: bool,
}

impl CurrentEpoch {
    fn new(epoch: Epoch, next_commit: Option<u64>) -> Self {
        Self { epoch, next_commit, end_reported: false, reopening_reported: false }
    }
}

/// The transactions of one slot. See the [module](self).
#[derive(Debug)]
pub struct Feed<S> {
    scanner: Scanner<S>,
    assembler: Assembler,
    current: Option<CurrentEpoch>,
    /// Where the feed was told to resume, until it has got there.
    catching_up: Option<Resume>,
    hand_out: Option<HandOut>,
    /// Everything before it in the current epoch was returned before the feed was told to resume. What is left of the
    /// epoch may end earlier, after a power cut; a resume point never lies before it.
    floor: Option<Place>,
    /// Whether the open transactions are being handed out because their epoch has ended.
    draining: bool,
    unknown_in: Option<SegmentName>,
    /// Damage before the point where the feed was told to resume.
    met_again: Option<ByteRange>,
    gathered: Gathered,
    /// Where to go on after the transaction that was returned last; `None` as soon as anything has moved on.
    after_last: Option<Resume>,
}

/// What is at hand of the transaction that is being returned.
#[derive(Debug, Default)]
struct Gathered {
    /// Payloads that had to be read again.
    scratch: Vec<u8>,
    /// How long the payload of each PREPARE is.
    lengths: Vec<usize>,
}

impl Gathered {
    /// Finds the payloads of a transaction before anything moves on, so that a failed read can be tried again.
    fn gather<S: Storage>(
        &mut self,
        open: &Open,
        epoch: Epoch,
        scanner: &mut Scanner<S>,
    ) -> Result<Payloads, Error> {
        self.lengths.clear();
        let Open { first: Prepared { place, length }, .. } = *open;
        let segment = SegmentName { epoch, number: place.segment };
        match scanner.payload_in_window(segment, place.offset, length) {
            Some(payload) if open.more.is_empty() => {
                self.lengths.push(length - RECORD_HEADER);
                Ok(Payloads::InWindow(payload))
            }
            _ => self.read_again(open, epoch, scanner),
        }
    }

    fn read_again<S: Storage>(
        &mut self,
        open: &Open,
        epoch: Epoch,
        scanner: &mut Scanner<S>,
    ) -> Result<Payloads, Error> {
        self.scratch.clear();
        self.scratch.shrink_to(SCRATCH);
        for prepared in std::iter::once(&open.first).chain(&open.more) {
            let Place { segment, offset } = prepared.place;
            let name = SegmentName { epoch, number: segment };
            if !scanner.read_again(name, offset, prepared.length, &mut self.scratch)? {
                return Ok(Payloads::Unreadable(prepared.place));
            }
            self.lengths.push(prepared.length - RECORD_HEADER);
        }
        Ok(Payloads::InScratch)
    }
}

impl<S: Storage> Feed<S> {
    /// Reads the slot from `resume` on, or from its oldest segment.
    ///
    /// # Errors
    /// [`Error::WentBack`] if `resume` lies after everything in the slot, or [`Error::Io`].
    pub fn open(storage: S, resume: Option<&Resume>, options: FeedOptions) -> Result<Self, Error> {
        let mut feed = Self {
            scanner: Scanner::new(storage, options),
            assembler: Assembler::default(),
            current: None,
            catching_up: None,
            hand_out: None,
            floor: None,
            draining: false,
            unknown_in: None,
            met_again: None,
            gathered: Gathered::default(),
            after_last: None,
        };
        feed.seek(resume)?;
        Ok(feed)
    }

    /// Goes back (or forth) to `resume`, or to the oldest segment.
    ///
    /// # Errors
    /// As [`Feed::open`].
    pub fn seek(&mut self, resume: Option<&Resume>) -> Result<(), Error> {
        self.after_last = None;
        self.assembler.clear();
        self.hand_out = None;
        self.draining = false;
        self.unknown_in = None;
        self.catching_up = resume.copied();
        self.current = resume.map(|resume| CurrentEpoch::new(resume.epoch, resume.commit.checked_add(1)));
        self.floor = resume.map(|resume| resume.head);
        match resume {
            Some(resume) => self.scanner.go_to(resume.segment(), resume.from.offset),
            None => {
                self.scanner.go_to_oldest();
                Ok(())
            }
        }
    }

    /// The next item, or `None` if there is none yet. `now_ms` is a monotonic time in milliseconds.
    ///
    /// # Errors
    /// [`Error::LaterVersion`], [`Error::WentBack`] or [`Error::Io`]. The feed stays where it is: calling again tries
    /// again.
    pub fn next(&mut self, now_ms: u64) -> Result<Option<Item<'_>>, Error> {
        self.after_last = None;
        match self.advance(now_ms)? {
            None => Ok(None),
            Some(Ready::Item(item)) => Ok(Some(*item)),
            Some(Ready::Settled(settled)) => Ok(Some(self.present(&settled))),
        }
    }

    /// Where to go on after the last item; `None` if nothing has been read, that is, at the oldest segment.
    #[must_use]
    pub fn resume_point(&self) -> Option<Resume> {
        if self.after_last.is_some() {
            return self.after_last;
        }
        if self.catching_up.is_some() {
            return self.catching_up;
        }
        let (segment, restart) = self.scanner.restart()?;
        let (_, reported) = self.scanner.reported()?;
        let current = self.current?;
        let restart = Place { segment: segment.number, offset: restart };
        let floor = self.floor.filter(|_| current.epoch == segment.epoch).unwrap_or_default();
        let next_commit = if current.epoch == segment.epoch { current.next_commit } else { Some(1) };
        let from = self.hand_out.map(|hand_out| hand_out.from).or_else(|| self.assembler.oldest());
        Some(Resume {
            epoch: segment.epoch,
            from: from.unwrap_or(restart),
            head: floor.max(Place { segment: segment.number, offset: reported }),
            commit: next_commit.map_or(Resume::COMMIT_UNKNOWN, |next| next.saturating_sub(1)),
            in_doubt: self.hand_out.map(|hand_out| hand_out.last),
        })
    }

    /// The segment being read: the one to [watch](crate::watch::Watch::follow).
    #[must_use]
    pub fn segment(&self) -> Option<SegmentName> {
        self.scanner.segment()
    }

    /// The first damage met since the last call that lies before the point where the feed was told to resume. It was returned before, or has
    /// come since; then events of transactions that were open at that point may be lost.
    pub fn take_damage_met_again(&mut self) -> Option<ByteRange> {
        self.met_again.take()
    }

    /// The node that wrote what is being read; empty as long as no header has told.
    #[must_use]
    pub fn node(&self) -> &str {
        self.scanner.node()
    }

    /// When the segment being read was created, in milliseconds since the Unix epoch; when its epoch began if its header
    /// cannot be read.
    #[must_use]
    pub fn created_ms(&self) -> u64 {
        self.scanner.created_ms()
    }

    /// Lists the segments unless that was done less than `age_ms` ago. `now_ms` is a monotonic time in milliseconds.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::WentBack`].
    pub fn list_if_older(&mut self, now_ms: u64, age_ms: u64) -> Result<(), Error> {
        self.scanner.list_if_older(now_ms, age_ms)
    }

    /// The segments at the last listing, in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        self.scanner.segments()
    }

    /// How many transactions have a PREPARE and no outcome yet.
    #[must_use]
    pub fn open_transactions(&self) -> usize {
        self.assembler.len()
    }

    /// Bytes of journal after `from` (`None`: all of it). At most a second old, so that it may be asked for often.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::WentBack`].
    pub fn backlog(&mut self, from: Option<&Resume>, now_ms: u64) -> Result<u64, Error> {
        self.scanner.list_if_older(now_ms, BACKLOG_AGE_MS)?;
        let lengths = self.scanner.segments().iter();
        let Some(from) = from else { return Ok(lengths.map(|segment| segment.length).sum()) };
        let head = SegmentName { epoch: from.epoch, number: from.head.segment };
        let after = lengths.filter(|segment| segment.name >= head).map(|segment| {
            let passed = if segment.name == head { from.head.offset } else { 0 };
            segment.length.saturating_sub(passed)
        });
        Ok(after.sum())
    }

    /// Deletes the segments before `needed`, except the newest of the slot, the oldest first, and returns their names. Every checkpoint
    /// must have been [made durable](crate::checkpoint::CheckpointFile::write_durable) in `needed` or after it.
    ///
    /// # Errors
    /// [`Error::Io`] if one cannot be deleted. Those before it are, and those after it are not: no hole comes into being.
    pub fn remove_delivered(&mut self, needed: SegmentName) -> Result<Vec<SegmentName>, Error> {
        let newest = self.scanner.segments().last().map(|segment| segment.name);
        let delivered = self.scanner.segments().iter().map(|segment| segment.name);
        let delivered: Vec<_> = delivered.filter(|name| *name < needed && Some(*name) != newest).collect();
        for (index, name) in delivered.iter().enumerate() {
            let storage = self.scanner.storage();
            if let Err(source) = storage.remove(*name) {
                let error = Error::io("remove", format!("{}/{name}", storage.describe()), source);
                self.scanner.forget(&delivered[..index]);
                return Err(error);
            }
        }
        self.scanner.forget(&delivered);
        Ok(delivered)
    }

    /// The slot's storage, for its checkpoint.
    pub fn storage(&mut self) -> &mut S {
        self.scanner.storage()
    }

    fn advance(&mut self, now_ms: u64) -> Result<Option<Ready>, Error> {
        loop {
            if self.draining
                && let Some(settled) = self.next_in_doubt()?
            {
                return Ok(Some(Ready::Settled(settled)));
            }
            let next = match self.scanner.record_at_hand() {
                Some(met) => Next::Record(met),
                None => self.step(now_ms)?,
            };
            let ready = match next {
                Next::Record(met) => self.record(&met)?,
                Next::Return(item) => Some(Ready::item(item)),
                Next::Continue => None,
                Next::Wait => return Ok(None),
            };
            if ready.is_some() {
                return Ok(ready);
            }
        }
    }

    /// What comes where no record is at hand. Nothing else enters another epoch.
    fn step(&mut self, now_ms: u64) -> Result<Next, Error> {
        let step = self.scanner.step(now_ms)?;
        self.track_epoch();
        Ok(match step {
            Step::Record(met) => Next::Record(met),
            Step::Segment(header) => self.segment_begun(&header).into(),
            Step::Damage(range) => {
                let item = self.unless_returned(range, Item::Damage(range.public()));
                if item.is_none() {
                    self.met_again.get_or_insert(range.public());
                }
                item.into()
            }
            Step::TornTail(range) => self.unless_returned(range, Item::TornTail(range.public())).into(),
            Step::Abandoned(segment, end) => {
                let range = Range { segment, from: end, to: end };
                self.unless_returned(range, Item::Abandoned(segment)).into()
            }
            Step::MissingSegments { epoch, first, last } => self.missing_segments(epoch, first, last).into(),
            Step::EpochOver(over) => self.epoch_over(over, now_ms)?,
            Step::CaughtUp => {
                self.arrive_if_there();
                Next::Wait
            }
        })
    }

    /// Begins the epoch that the scanner has entered, if it is another one.
    fn track_epoch(&mut self) {
        let Some(segment) = self.scanner.segment() else { return };
        if self.current.is_some_and(|current| current.epoch == segment.epoch) {
            return;
        }
        self.arrive();
        assert!(
            self.assembler.len() == 0,
            "open transactions were left behind before epoch {}",
            segment.epoch
        );
        let whole = self.current.is_some() || segment.number == 0;
        self.current = Some(CurrentEpoch::new(segment.epoch, whole.then_some(1)));
        self.floor = None;
        self.assembler.clear();
        self.hand_out = None;
    }

    fn segment_begun(&mut self, header: &SegmentHeader) -> Option<Item<'static>> {
        if self.catching_up.is_some_and(|resume| resume.reaches(header.name, 1)) {
            return None;
        }
        self.arrive();
        let current = self.current.as_mut()?;
        let expected = current.next_commit.unwrap_or(header.first_commit);
        current.next_commit = Some(expected.max(header.first_commit));
        (header.first_commit > expected).then_some(Item::MissingCommits {
            epoch: header.name.epoch,
            expected,
            found: header.first_commit,
        })
    }

    fn record(&mut self, met: &Met) -> Result<Option<Ready>, Error> {
        let returned = self.catching_up.is_some_and(|resume| resume.reaches(met.segment, met.end()));
        if !returned {
            self.arrive();
            self.hand_out = None;
        }
        let id = met.header.transaction;
        let item = match met.header.kind {
            Kind::Commit if !returned || self.is_settled_since(met) => return self.commit(met),
            Kind::Commit | Kind::Abort => {
                self.assembler.settle(id);
                None
            }
            Kind::Prepare => {
                let prepared = Prepared { place: met.place(), length: met.header.unpadded() };
                self.assembler.prepare(id, prepared, met.header.written_ms);
                None
            }
            Kind::Seal | Kind::Close => None,
            Kind::Gap => self.gap(met, returned),
            Kind::Unknown(_) => self.unknown(met, returned),
        };
        self.scanner.consume(met);
        Ok(item.map(Ready::item))
    }

    /// Whether the COMMIT before the head was written after everything that was returned, in the place of what a power cut had taken: its number says so.
    fn is_settled_since(&self, met: &Met) -> bool {
        let Some(resume) = self.catching_up else { return false };
        let payload = self.scanner.payload(met.payload);
        CommitMark::of(payload) == CommitMark::Settled
            && self.assembler.get(met.header.transaction).is_some()
            && decode_commit(payload).is_some_and(|number| number > resume.commit)
    }

    fn commit(&mut self, met: &Met) -> Result<Option<Ready>, Error> {
        let Some(current) = &mut self.current else { return Ok(None) };
        let epoch = current.epoch;
        let payload = self.scanner.payload(met.payload);
        let mark = CommitMark::of(payload);
        let number = decode_commit(payload).or(current.next_commit).unwrap_or(1);
        if let Some(expected) = current.next_commit.replace(number)
            && expected != number
            && mark != CommitMark::Settled
        {
            return Ok(Some(Ready::item(Item::MissingCommits { epoch, expected, found: number })));
        }
        let id = met.header.transaction;
        let settled = match self.assembler.get(id) {
            Some(open) => Some(Settled {
                id,
                first: open.first.place,
                commit: number,
                outcome: Outcome::Committed,
                written_ms: met.header.written_ms,
                payloads: self.gathered.gather(open, epoch, &mut self.scanner)?,
            }),
            None => None,
        };
        self.count_commit();
        if let Some(resume) = &mut self.catching_up {
            resume.commit = number;
        }
        self.assembler.settle(id);
        self.scanner.consume(met);
        Ok(match settled {
            Some(settled) => Some(Ready::Settled(settled)),
            None if mark == CommitMark::Repeated || self.assembler.was_in_doubt(id) => None,
            None => Some(Ready::item(Item::LostTransaction {
                epoch,
                commit: number,
                id,
                outcome: Outcome::Committed,
                cause: LostCause::NoPrepare,
            })),
        })
    }

    /// The next commit number is one higher.
    fn count_commit(&mut self) {
        if let Some(current) = &mut self.current {
            current.next_commit = Some(current.next_commit.unwrap_or(1).saturating_add(1));
        }
    }

    fn gap(&mut self, met: &Met, returned: bool) -> Option<Item<'static>> {
        let payload = GapPayload::decode(self.scanner.payload(met.payload));
        let Some(payload) = payload else { return self.unknown(met, returned) };
        if returned {
            return None;
        }
        Some(Item::Gap(Gap {
            segment: met.segment,
            offset: met.offset,
            written_ms: met.header.written_ms,
            user_events: payload.user_events,
            admin_events: payload.admin_events,
            first_ms: payload.first_ms,
            last_ms: payload.last_ms,
            cause: payload.cause,
        }))
    }

    fn unknown(&mut self, met: &Met, returned: bool) -> Option<Item<'static>> {
        let again = self.unknown_in.replace(met.segment) == Some(met.segment);
        (!again && !returned).then_some(Item::UnknownRecord {
            segment: met.segment,
            offset: met.offset,
            kind: met.header.kind.code(),
        })
    }

    /// Those between where reading began again and the head were reported before; the one where it begins was there then.
    fn missing_segments(&mut self, epoch: Epoch, first: u32, last: Option<u32>) -> Option<Item<'static>> {
        let returned = last.zip(self.catching_up).is_some_and(|(last, resume)| {
            first > resume.from.segment && resume.reaches(SegmentName { epoch, number: last + 1 }, 0)
        });
        if returned {
            return None;
        }
        self.arrive();
        Some(Item::MissingSegments { epoch, first, last })
    }

    fn unless_returned(&mut self, range: Range, item: Item<'static>) -> Option<Item<'static>> {
        if self.catching_up.is_some_and(|resume| resume.reaches(range.segment, range.to)) {
            return None;
        }
        self.arrive();
        Some(item)
    }

    /// All of the epoch has been read: the transactions still open are in doubt, then the next epoch begins.
    fn epoch_over(&mut self, over: EpochOver, now_ms: u64) -> Result<Next, Error> {
        self.arrive();
        if self.assembler.len() > 0 {
            self.draining = true;
            return Ok(Next::Continue);
        }
        let epoch = over.last.epoch;
        let Some(current) = &mut self.current else { return Ok(Next::Wait) };
        if !current.end_reported {
            current.end_reported = true;
            let commit = current.next_commit.unwrap_or(1).saturating_sub(1);
            return Ok(Next::Return(Item::EpochEnded { epoch, commit, closed: over.closed }));
        }
        if self.scanner.reopen(now_ms)? {
            current.end_reported = false;
            let first = !std::mem::replace(&mut current.reopening_reported, true);
            return Ok(if first { Next::Return(Item::EpochReopened { epoch }) } else { Next::Continue });
        }
        Ok(match self.scanner.leave_epoch() {
            None => Next::Wait,
            Some(SegmentName { number: 0, .. }) => Next::Continue,
            Some(SegmentName { epoch, number }) => {
                self.track_epoch();
                Next::Return(Item::MissingSegments { epoch, first: 0, last: Some(number - 1) })
            }
        })
    }

    /// The resume point is reached if everything before it has been read.
    fn arrive_if_there(&mut self) {
        let Some(resume) = self.catching_up else { return };
        if let Some((segment, offset)) = self.scanner.reported()
            && (segment.epoch, segment.number, offset)
                >= (resume.epoch, resume.head.segment, resume.head.offset)
        {
            self.arrive();
        }
    }

    /// Ends catching up: the transactions open at the head that were returned as in doubt are not open any more.
    fn arrive(&mut self) {
        let Some(resume) = self.catching_up else { return };
        self.catching_up = None;
        let Some(last) = resume.in_doubt else { return };
        while self.assembler.oldest().is_some_and(|first| first <= last) {
            self.assembler.take_in_doubt();
        }
        if self.assembler.len() > 0 {
            self.hand_out = Some(HandOut { from: resume.from, last });
        }
    }

    /// The next of the transactions that are handed out because their epoch has ended.
    fn next_in_doubt(&mut self) -> Result<Option<Settled>, Error> {
        let Some(open) = self.assembler.front() else {
            self.draining = false;
            return Ok(None);
        };
        let epoch = self.current.map_or(Epoch(0), |current| current.epoch);
        let settled = Settled {
            id: open.id,
            first: open.first.place,
            commit: self.current.and_then(|current| current.next_commit).unwrap_or(1),
            outcome: Outcome::Unknown,
            written_ms: open.written_ms,
            payloads: self.gathered.gather(open, epoch, &mut self.scanner)?,
        };
        let first = settled.first;
        self.hand_out =
            Some(HandOut { from: self.hand_out.map_or(first, |hand_out| hand_out.from), last: first });
        self.count_commit();
        self.assembler.take_in_doubt();
        if self.assembler.len() == 0 {
            self.draining = false;
            self.hand_out = None;
        }
        Ok(Some(settled))
    }

    fn present(&mut self, settled: &Settled) -> Item<'_> {
        self.after_last = self.resume_point();
        let epoch = self.current.map_or(Epoch(0), |current| current.epoch);
        let &Settled { id, first, commit, outcome, written_ms, payloads } = settled;
        let bytes = match payloads {
            Payloads::InWindow(payload) => Some(self.scanner.payload(payload)),
            Payloads::InScratch => Some(&self.gathered.scratch[..]),
            Payloads::Unreadable(_) => None,
        };
        let (Some(bytes), Some(resume)) = (bytes, &self.after_last) else {
            let place = if let Payloads::Unreadable(place) = payloads { place } else { first };
            let cause = LostCause::Unreadable(place);
            return Item::LostTransaction { epoch, commit, id, outcome, cause };
        };
        Item::Transaction(Transaction {
            epoch,
            commit,
            id,
            outcome,
            written_ms,
            node: self.scanner.node(),
            resume,
            first,
            bytes,
            lengths: &self.gathered.lengths,
        })
    }
}

/// How it goes on.
enum Next {
    Record(Met),
    Return(Item<'static>),
    Continue,
    Wait,
}

impl From<Option<Item<'static>>> for Next {
    fn from(item: Option<Item<'static>>) -> Self {
        item.map_or(Self::Continue, Self::Return)
    }
}

impl Range {
    fn public(self) -> ByteRange {
        ByteRange { segment: self.segment, from: self.from, to: self.to }
    }
}
