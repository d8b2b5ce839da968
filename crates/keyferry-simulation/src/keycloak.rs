//! The provider's protocol: what the Java half writes, and when, in which order, and what it does when the disk refuses.
//!
//! The invariants, which are those of `docs/journal-format.md`, section "Writing", and of the durability modes:
//!
//! - Everything that is owed (the gap, outcomes that could not be written) precedes the next record.
//! - A write that fails is undone by truncation; where that fails too, the segment is abandoned.
//! - With [`Fsync::Commit`] a PREPARE is on the medium, and so are the segment's name and header, before the database commits.
//! - A sync that failed is not tried again on that file: the segment is abandoned, and the PREPARE in hand is written again into the next one.

use std::collections::VecDeque;
use std::io;

use keyferry_journal::event::EventKind;
use keyferry_journal::format::{
    GapCause, GapPayload, Kind, RECORD_HEADER, Salt, SegmentHeader, encode_record,
};
use keyferry_journal::{Epoch, SegmentName};

use crate::disk::SimulatedDisk;
use crate::oracle::Fate;

/// A segment ends here, in bytes: small, so that a history has many.
pub const SEGMENT_SIZE: usize = 2_048;

/// When the provider syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Never.
    Never,
    /// Now and then.
    Interval,
    /// Before the database commits.
    Commit,
}

/// What the provider does with events that cannot be journaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The transaction fails.
    Refuse,
    /// They are dropped, counted and told by a GAP record.
    DropNew,
    /// The same, until the agent has made room by giving up the oldest.
    DropOld,
}

/// How the provider is configured.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `journal-fsync`.
    pub fsync: Fsync,
    /// `journal-overflow`.
    pub overflow: Overflow,
    /// `journal-max-size` in bytes.
    pub max_size: Option<u64>,
    /// Whether outcomes are synced too, which is so where events in doubt are not published.
    pub sync_outcomes: bool,
}

/// An event of a transaction.
#[derive(Clone, Debug)]
pub struct Raised {
    /// Its id.
    pub id: String,
    /// User or admin.
    pub kind: EventKind,
}

/// Where a record lies: its segment and its end in it.
type Written = (SegmentName, usize);

/// A transaction under way.
#[derive(Debug)]
pub struct Transaction {
    /// Its id in the epoch; given with the first PREPARE.
    id: Option<u64>,
    /// The ordinal of its first PREPARE, which the world gives it.
    pub ordinal: Option<u64>,
    /// Whether a PREPARE of it may lie in the journal, also one whose events were counted as lost because it could not be synced.
    pub written: bool,
    /// The events that its PREPAREs hold, each with where its PREPARE lies.
    pub prepared: Vec<(Raised, Written)>,
    /// Events that could not be journaled.
    pub missing: Vec<Raised>,
}

impl Transaction {
    /// The ids of all its events.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.prepared.iter().map(|(event, _)| &event.id).chain(self.missing.iter().map(|event| &event.id))
    }
}

/// A transaction whose outcome is written, or owed to the journal.
#[derive(Debug)]
pub struct Settled {
    /// Its events.
    pub events: Vec<(Raised, Written)>,
    /// Events that could not be journaled.
    pub missing: Vec<Raised>,
    /// Committed or aborted.
    pub fate: Fate,
    /// Where the outcome lies; `None` while it is owed.
    pub outcome: Option<Written>,
}

/// What came of a PREPARE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepare {
    /// It is in the journal.
    Done,
    /// It is not, and the transaction goes on without these events: they are counted.
    Dropped,
    /// It is not, and the transaction fails.
    Refused,
}

/// One segment being written.
#[derive(Debug)]
struct Open {
    name: SegmentName,
    salt: Salt,
    header: usize,
    length: usize,
    /// Whether header and name were synced.
    named: bool,
}

#[derive(Debug)]
enum Refusal {
    Disk(io::Error),
    Ceiling,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// One life of Keycloak with the provider in it.
#[derive(Debug)]
pub struct Keycloak {
    disk: SimulatedDisk,
    options: Options,
    /// The epoch.
    pub epoch: Epoch,
    segment: Option<Open>,
    next_segment: u32,
    next_transaction: u64,
    next_commit: u64,
    /// Transactions without outcome.
    pub open: Vec<Transaction>,
    /// Outcomes that could not be written yet: index into `settled`, transaction.
    owed: VecDeque<(usize, u64)>,
    /// Every transaction that got its outcome in this life.
    pub settled: Vec<Settled>,
    /// Events that are missing and not told yet.
    losses: Losses,
    /// Whether torn bytes stayed behind in an abandoned segment.
    pub torn: bool,
    /// Events that GAP records of this life tell, user and admin.
    pub told: [u64; 2],
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    counts: [u64; 2],
    cause: Option<GapCause>,
    first_ms: u64,
    last_ms: u64,
}

impl Keycloak {
    /// Takes the slot and begins an epoch.
    ///
    /// # Errors
    /// The first segment cannot be begun; the slot is free again.
    pub fn begin(disk: SimulatedDisk, options: Options, now_ms: u64) -> io::Result<Self> {
        let epoch = Epoch::beginning(now_ms * 1_000, 0, disk.last_epoch());
        disk.mark_epoch(epoch);
        let mut keycloak = Self {
            disk,
            options,
            epoch,
            segment: None,
            next_segment: 0,
            next_transaction: 1,
            next_commit: 1,
            open: Vec::new(),
            owed: VecDeque::new(),
            settled: Vec::new(),
            losses: Losses::default(),
            torn: false,
            told: [0; 2],
            buffer: Vec::new(),
        };
        keycloak.begin_segment(now_ms)?;
        Ok(keycloak)
    }

    /// Begins a transaction.
    pub fn begin_transaction(&mut self) {
        let transaction = Transaction {
            id: None,
            ordinal: None,
            written: false,
            prepared: Vec::new(),
            missing: Vec::new(),
        };
        self.open.push(transaction);
    }

    /// Writes the events of the open transaction at `index`, as before the database commits.
    pub fn prepare(&mut self, index: usize, events: &[Raised], payload: &[u8], now_ms: u64) -> Prepare {
        match self.try_prepare(index, payload, now_ms) {
            Ok(written) => {
                let events = events.iter().map(|event| (event.clone(), written));
                self.open[index].prepared.extend(events);
                Prepare::Done
            }
            Err(_) if self.options.overflow == Overflow::Refuse => {
                self.open[index].missing.extend_from_slice(events);
                Prepare::Refused
            }
            Err(refusal) => {
                self.open[index].missing.extend_from_slice(events);
                self.lose(events, &refusal, now_ms);
                Prepare::Dropped
            }
        }
    }

    /// Gives the transaction at `index` its outcome. What cannot be written now is written later.
    pub fn settle(&mut self, index: usize, fate: Fate, now_ms: u64) {
        let transaction = self.open.swap_remove(index);
        let Some(id) = transaction.id else { return };
        // A PREPARE whose sync failed may lie in an abandoned segment: its events were refused or counted, and must not be published as well.
        let written = if transaction.prepared.is_empty() { Fate::Aborted } else { fate };
        let missing = transaction.missing;
        self.settled.push(Settled { events: transaction.prepared, missing, fate: written, outcome: None });
        self.owed.push_back((self.settled.len() - 1, id));
        // What cannot be written now stays owed.
        let written = self.pay(now_ms);
        if written.is_ok() && self.options.fsync == Fsync::Commit && self.options.sync_outcomes {
            self.sync();
        }
    }

    /// Whether an outcome could not be written yet.
    pub fn is_owing(&self) -> bool {
        !self.owed.is_empty()
    }

    /// What happens once a second: what is owed is written, and with [`Fsync::Interval`] what was written is synced.
    pub fn tick(&mut self, now_ms: u64) {
        // What cannot be written now stays owed.
        let _ = self.pay(now_ms);
        if self.options.fsync == Fsync::Interval {
            self.sync();
        }
    }

    /// Ends the epoch in order, as far as the disk lets it.
    pub fn close(&mut self, now_ms: u64) {
        let closed = self.pay(now_ms).is_ok() && self.write(Kind::Close, 0, &[], now_ms).is_ok();
        if closed && self.options.fsync != Fsync::Never {
            self.sync();
        }
    }

    /// The segment being written.
    pub fn segment(&self) -> Option<SegmentName> {
        self.segment.as_ref().map(|open| open.name)
    }

    /// Whether there is a loss that no GAP record tells yet.
    pub fn has_untold_losses(&self) -> bool {
        self.losses.cause.is_some()
    }

    fn try_prepare(&mut self, index: usize, payload: &[u8], now_ms: u64) -> Result<Written, Refusal> {
        self.pay(now_ms)?;
        self.check_ceiling(payload.len())?;
        let id = self.id_of(index);
        let written = self.write(Kind::Prepare, id, payload, now_ms)?;
        self.open[index].written = true;
        if self.options.fsync != Fsync::Commit {
            return Ok(written);
        }
        if self.sync() {
            return Ok(written);
        }
        self.prepare_again(index, id, payload, now_ms)
    }

    /// The sync failed and the segment is abandoned: the PREPARE in hand goes into the next one. The one that may lie in the abandoned segment must not be published as well, so
    /// the transaction gets another id, and the old one is aborted.
    fn prepare_again(
        &mut self,
        index: usize,
        old: u64,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<Written, Refusal> {
        if !self.open[index].prepared.is_empty() {
            return Err(Refusal::Disk(io::Error::other("earlier events of the transaction were synced")));
        }
        (self.open[index].id, self.open[index].written) = (None, false);
        let (events, missing) = (Vec::new(), Vec::new());
        self.settled.push(Settled { events, missing, fate: Fate::Aborted, outcome: None });
        self.owed.push_back((self.settled.len() - 1, old));
        self.pay(now_ms)?;
        let id = self.id_of(index);
        let written = self.write(Kind::Prepare, id, payload, now_ms)?;
        self.open[index].written = true;
        if self.sync() { Ok(written) } else { Err(Refusal::Disk(io::Error::from_raw_os_error(5))) }
    }

    fn id_of(&mut self, index: usize) -> u64 {
        let next = &mut self.next_transaction;
        *self.open[index].id.get_or_insert_with(|| {
            *next += 1;
            *next - 1
        })
    }

    fn check_ceiling(&self, payload: usize) -> Result<(), Refusal> {
        let after = self.disk.segment_bytes() + (payload + 2 * RECORD_HEADER) as u64;
        if self.options.max_size.is_some_and(|ceiling| after > ceiling) {
            Err(Refusal::Ceiling)
        } else {
            Ok(())
        }
    }

    fn lose(&mut self, events: &[Raised], refusal: &Refusal, now_ms: u64) {
        for event in events {
            self.losses.counts[kind_index(event.kind)] += 1;
        }
        if self.losses.cause.is_none() {
            self.losses.first_ms = now_ms;
        }
        self.losses.last_ms = now_ms;
        self.losses.cause = Some(match refusal {
            Refusal::Ceiling => GapCause::Ceiling,
            Refusal::Disk(error) if error.kind() == io::ErrorKind::StorageFull => GapCause::NoSpace,
            Refusal::Disk(_) => GapCause::InputOutput,
        });
    }

    /// Writes what is owed: the gap first, then the outcomes.
    fn pay(&mut self, now_ms: u64) -> io::Result<()> {
        if let Some(cause) = self.losses.cause {
            let Losses { counts: [user_events, admin_events], first_ms, last_ms, .. } = self.losses;
            let gap = GapPayload { user_events, admin_events, first_ms, last_ms, cause };
            self.write(Kind::Gap, 0, &gap.encode(), now_ms)?;
            self.told[0] += user_events;
            self.told[1] += admin_events;
            self.losses = Losses::default();
        }
        while let Some((settled, id)) = self.owed.front().copied() {
            let written = match self.settled[settled].fate {
                Fate::Committed => {
                    let number = self.next_commit;
                    let written = self.write(Kind::Commit, id, &number.to_le_bytes(), now_ms)?;
                    self.next_commit += 1;
                    written
                }
                _ => self.write(Kind::Abort, id, &[], now_ms)?,
            };
            self.settled[settled].outcome = Some(written);
            self.owed.pop_front();
        }
        Ok(())
    }

    fn write(&mut self, kind: Kind, transaction: u64, payload: &[u8], now_ms: u64) -> io::Result<Written> {
        self.make_room(payload.len(), now_ms)?;
        self.append(kind, transaction, payload, now_ms)
    }

    fn make_room(&mut self, payload: usize, now_ms: u64) -> io::Result<()> {
        if let Some(open) = &self.segment
            && open.length > open.header
            && open.length + payload + 2 * RECORD_HEADER > SEGMENT_SIZE
        {
            self.append(Kind::Seal, 0, &[], now_ms)?;
            if self.options.fsync != Fsync::Never {
                self.sync();
            }
            self.segment = None;
        }
        if self.segment.is_none() {
            self.begin_segment(now_ms)?;
        }
        Ok(())
    }

    fn begin_segment(&mut self, now_ms: u64) -> io::Result<()> {
        let name = SegmentName { epoch: self.epoch, number: self.next_segment };
        let header = SegmentHeader {
            name,
            first_commit: self.next_commit,
            created_ms: now_ms,
            node: "node".to_owned(),
        };
        let header = header.encode();
        match self.disk.create(name, &header) {
            Ok(()) => {
                self.next_segment += 1;
                let length = header.len();
                self.segment =
                    Some(Open { name, salt: Salt::of(name), header: length, length, named: false });
                Ok(())
            }
            Err(error) => {
                // A file that cannot be deleted stays behind torn, and its number is spent.
                if self.disk.segment_length(name) > 0 && self.disk.delete(name).is_err() {
                    self.next_segment += 1;
                    self.torn = true;
                }
                Err(error)
            }
        }
    }

    fn append(&mut self, kind: Kind, transaction: u64, payload: &[u8], now_ms: u64) -> io::Result<Written> {
        let Some(open) = &mut self.segment else { return Err(io::Error::other("no segment")) };
        self.buffer.clear();
        encode_record(&mut self.buffer, open.salt, open.length as u64, kind, transaction, now_ms, payload);
        match self.disk.append(open.name, &self.buffer) {
            Ok(()) => {
                open.length += self.buffer.len();
                Ok((open.name, open.length))
            }
            Err(error) => {
                if self.disk.segment_length(open.name) >= open.length + self.buffer.len() {
                    // It is whole in the file, and a reader may have taken it already.
                    open.length += self.buffer.len();
                    return Ok((open.name, open.length));
                }
                if self.disk.truncate(open.name, open.length).is_err() {
                    self.torn = true;
                    self.segment = None;
                }
                Err(error)
            }
        }
    }

    /// Makes the segment survive a power cut, its name included; answers whether that is so. If not, the segment is abandoned.
    fn sync(&mut self) -> bool {
        let Some(open) = &mut self.segment else { return true };
        let synced = self
            .disk
            .sync(open.name)
            .and_then(|()| if open.named { Ok(()) } else { self.disk.sync_directory(open.name) });
        match synced {
            Ok(()) => open.named = true,
            Err(_) => self.segment = None,
        }
        synced.is_ok()
    }
}

/// User events are counted at 0, admin events at 1.
pub fn kind_index(kind: EventKind) -> usize {
    match kind {
        EventKind::User => 0,
        EventKind::Admin => 1,
    }
}
