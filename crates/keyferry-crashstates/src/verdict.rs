//! One crash state, read by the feed that ships, and judged.
//!
//! What is judged:
//!
//! - the reader does not fail, and comes to an end;
//! - whatever a client had been told is taken is delivered, once, in order, as committed or as in doubt; as committed where the COMMIT
//!   certainly survived;
//! - nothing is delivered that was not handed over, nothing as committed that had not committed, nothing of a transaction whose ABORT
//!   certainly survived, and none before another that had been committed before it;
//! - damage and missing things are reported only where nothing was certain: after a process kill nowhere;
//! - a writer that begins on the state is read to its end, from the beginning, from where the reader was, and from where it had been
//!   before the crash.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use keyferry_journal::event::{EventEncoder, EventKind, Field};
use keyferry_journal::format::Kind;
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{
    Epoch, Feed, FeedOptions, Item, MemoryStorage, Outcome, Resume, SegmentName, Storage as _, Writer,
};

use crate::disk::{Disk, Name, file_name};
use crate::records::{self, Written, owner_of};
use crate::states::Crash;
use crate::story::{self, Client, happened};
use crate::trace::{Entry, Fsync, Trace};

/// What makes a record certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// That it was written: the system lives on.
    Written,
    /// That it was synced.
    Synced,
}

/// A promise that was broken in a crash state.
#[derive(Debug)]
pub struct Violation {
    /// Index of the entry in the trace before which the crash came.
    pub point: usize,
    /// What crash it was.
    pub crash: Crash,
    /// What is wrong.
    pub broken: Broken,
    /// Everything that the reader said.
    pub said: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { point, crash, broken, said } = self;
        write!(out, "crash before entry {point} ({crash:?}): {broken}\n  the reader said:")?;
        said.iter().try_for_each(|line| write!(out, "\n    {line}"))
    }
}

impl std::error::Error for Violation {}

/// Which promise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The reader failed.
    #[error("the reader failed: {0}")]
    Failed(String),
    /// The reader did not come to an end.
    #[error("the reader does not end")]
    Endless,
    /// An event that had been promised was not delivered.
    #[error("event {0} had been promised and was not delivered")]
    Lost(String),
    /// An event was delivered more than once.
    #[error("event {0} was delivered more than once")]
    Twice(String),
    /// An event was delivered that was not handed over.
    #[error("event {0} was delivered, but never handed over")]
    Invented(String),
    /// The events of a transaction were delivered in another order.
    #[error("the events of transaction {0} were delivered in another order")]
    Disordered(String),
    /// A transaction was delivered as committed that had not committed.
    #[error("transaction {0} was delivered as committed before it had committed")]
    NotCommitted(String),
    /// A transaction was delivered that had been aborted.
    #[error("transaction {0} was delivered although its ABORT survived")]
    Aborted(String),
    /// A transaction was delivered as in doubt whose COMMIT certainly survived.
    #[error("transaction {0} was delivered as in doubt although its COMMIT survived")]
    Doubted(String),
    /// Transactions were delivered in another order than that of their COMMITs.
    #[error("transaction {later} was delivered before {earlier}, which had committed before it")]
    CommitOrder {
        /// The one that had committed first.
        earlier: String,
        /// The one that was delivered first.
        later: String,
    },
    /// Something was reported damaged or missing that certainly survived.
    #[error("reported damaged or missing although it survived: {0}")]
    FalseAlarm(String),
    /// The next writer's life was not read to its end.
    #[error("of the life that followed, read {reading}, {what}")]
    NextLife {
        /// From where it was read.
        reading: &'static str,
        /// What was wrong with it.
        what: String,
    },
}

/// A transaction as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Delivered {
    epoch: Epoch,
    id: u64,
    outcome: Outcome,
    events: Vec<String>,
}

/// Everything that the reader said of a state.
#[derive(Debug, Default)]
struct Reading {
    delivered: Vec<Delivered>,
    alarms: Vec<Alarm>,
    said: Vec<String>,
    resume: Option<Resume>,
}

/// Something that is damaged or missing.
#[derive(Debug)]
enum Alarm {
    Damage { segment: SegmentName, from: u64 },
    Segments { epoch: Epoch, first: u32, last: Option<u32> },
    Commits { epoch: Epoch, from: u64, to: u64 },
    Transaction { epoch: Epoch, id: u64 },
    Other,
}

/// What is known of a trace before any crash.
pub struct Judge<'a> {
    trace: &'a Trace,
    clients: BTreeMap<String, Client>,
    records: Vec<Written>,
    /// The entry of the first error that was injected.
    first_fault: usize,
    /// The entry of the first sync that failed.
    first_failed_sync: usize,
    /// Where torn bytes stayed behind in a segment, and since which entry.
    torn: Vec<(String, usize)>,
}

impl<'a> Judge<'a> {
    /// Takes the trace apart.
    #[must_use]
    pub fn of(trace: &'a Trace) -> Self {
        let records = records::of(trace);
        let fault = trace.entries.iter().position(Entry::is_fault);
        let failed_sync = trace.entries.iter().position(|entry| matches!(entry, Entry::SyncFailed { .. }));
        let torn = trace.entries.iter().enumerate().filter_map(|(at, entry)| match entry {
            Entry::TruncateFailed { path } => Some((path.clone(), at)),
            _ => None,
        });
        Self {
            trace,
            clients: story::of(trace),
            records,
            first_fault: fault.unwrap_or(usize::MAX),
            first_failed_sync: failed_sync.unwrap_or(usize::MAX),
            torn: torn.collect(),
        }
    }

    /// Examines one crash state and returns how many transactions had been promised in it.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn examine(
        &self,
        slot: &MemoryStorage,
        point: usize,
        crash: Crash,
        disk: &Disk,
        certainty: Certainty,
    ) -> Result<u64, Box<Violation>> {
        let state = State { judge: self, point, disk, certainty };
        let mut reading = Reading::default();
        let judged = reading
            .read(slot, None)
            .and_then(|()| state.judge(&reading))
            .and_then(|promised| state.next_life(slot, &reading).map(|()| promised));
        judged.map_err(|broken| Box::new(Violation { point, crash, broken, said: reading.said }))
    }
}

/// A crash state that is being judged.
struct State<'a> {
    judge: &'a Judge<'a>,
    point: usize,
    disk: &'a Disk,
    certainty: Certainty,
}

impl State<'_> {
    fn judge(&self, reading: &Reading) -> Result<u64, Broken> {
        let events = self.nothing_invented(reading)?;
        self.commits_in_order(reading)?;
        reading.alarms.iter().zip(0..).try_for_each(|(alarm, index)| self.alarm(alarm, reading, index))?;
        let mut promised = 0;
        for (name, client) in &self.judge.clients {
            self.outcome(name, client, reading)?;
            let must = self.must(client);
            promised += u64::from(!must.is_empty());
            let aborted = happened(client.abort, self.point);
            if let Some(lost) = must.iter().find(|event| !events.contains(**event))
                && !aborted
            {
                return Err(Broken::Lost((*lost).to_owned()));
            }
        }
        Ok(promised)
    }

    /// The events that must be delivered unless the transaction was aborted.
    fn must<'c>(&self, client: &'c Client) -> Vec<&'c str> {
        if self.certainty == Certainty::Written || self.judge.trace.fsync == Fsync::Commit {
            return client.promised(self.point).collect();
        }
        let certain: HashSet<&str> = self.certain_events().collect();
        client.promised(self.point).filter(|event| certain.contains(event)).collect()
    }

    fn certain_events(&self) -> impl Iterator<Item = &str> {
        let prepares = self.judge.records.iter().filter(|record| record.kind == Kind::Prepare);
        let certain = prepares.filter(|record| self.is_certain(record));
        certain.flat_map(|record| record.events.iter().map(String::as_str))
    }

    /// Whether the record survives for certain.
    fn is_certain(&self, record: &Written) -> bool {
        record.at < self.point
            && record.gone.is_none_or(|gone| gone >= self.point)
            && record.end <= self.certain_length(&record.path)
    }

    fn certain_length(&self, path: &str) -> u64 {
        match self.certainty {
            Certainty::Written => self.disk.length(path),
            Certainty::Synced => self.disk.certain_length(path),
        }
    }

    /// Every event that was delivered had been handed over and was delivered once, in order.
    ///
    /// There is one exception. A PREPARE whose sync failed is disowned by an ABORT and written again. Where the power is cut before
    /// these two are synced, the first copy and the second may survive, and the ABORT not. Nothing had been promised then; both copies
    /// are delivered as in doubt, under one id.
    fn nothing_invented<'r>(&self, reading: &'r Reading) -> Result<HashSet<&'r str>, Broken> {
        let mut seen: HashMap<&str, Outcome> = HashMap::new();
        for delivered in &reading.delivered {
            let Some(first) = delivered.events.first() else { continue };
            let owner = owner_of(first);
            let client = self.judge.clients.get(owner).ok_or_else(|| Broken::Invented(first.clone()))?;
            let offered: Vec<&str> = client.offered(self.point + 1).collect();
            let mut last = 0;
            for event in &delivered.events {
                let place = offered.iter().position(|known| known == event);
                let place = place.ok_or_else(|| Broken::Invented(event.clone()))?;
                if let Some(first) = seen.insert(event, delivered.outcome)
                    && !(self.may_be_doubled() && [first, delivered.outcome] == [Outcome::Unknown; 2])
                {
                    return Err(Broken::Twice(event.clone()));
                }
                if place < last {
                    return Err(Broken::Disordered(owner.to_owned()));
                }
                last = place;
            }
        }
        Ok(seen.into_keys().collect())
    }

    fn may_be_doubled(&self) -> bool {
        self.certainty == Certainty::Synced && self.judge.first_failed_sync < self.point
    }

    /// The transaction is delivered with the outcome that it had, where that survived.
    fn outcome(&self, name: &str, client: &Client, reading: &Reading) -> Result<(), Broken> {
        let own = reading
            .delivered
            .iter()
            .filter(|delivered| delivered.events.first().is_some_and(|event| owner_of(event) == name));
        for delivered in own {
            let key = (delivered.epoch, delivered.id);
            if self.has_certain(key, Kind::Abort) || self.told_without_fault(client.aborted) {
                return Err(Broken::Aborted(name.to_owned()));
            }
            match delivered.outcome {
                Outcome::Committed if !happened(client.commit, self.point + 1) => {
                    return Err(Broken::NotCommitted(name.to_owned()));
                }
                Outcome::Unknown if self.must_be_committed(key, client) => {
                    return Err(Broken::Doubted(name.to_owned()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn must_be_committed(&self, key: (Epoch, u64), client: &Client) -> bool {
        self.has_certain(key, Kind::Commit) || self.told_without_fault(client.committed)
    }

    fn has_certain(&self, (epoch, id): (Epoch, u64), kind: Kind) -> bool {
        let mut own = self
            .judge
            .records
            .iter()
            .filter(|record| record.kind == kind && (record.segment.epoch, record.id) == (epoch, id));
        own.any(|record| self.is_certain(record))
    }

    /// Whether a client had been told of the outcome, no error kept the writer from writing it, and it was to be safe from this crash.
    fn told_without_fault(&self, told: Option<usize>) -> bool {
        let trace = self.judge.trace;
        let safe =
            self.certainty == Certainty::Written || (trace.fsync == Fsync::Commit && trace.sync_outcomes);
        safe && happened(told, self.point) && self.point <= self.judge.first_fault
    }

    /// If a client had been told of one COMMIT before the database committed the other, they are delivered in that order.
    fn commits_in_order(&self, reading: &Reading) -> Result<(), Broken> {
        let mut latest: Option<(&str, usize)> = None;
        let committed = reading.delivered.iter().filter(|delivered| delivered.outcome == Outcome::Committed);
        for owner in committed.filter_map(|delivered| Some(owner_of(delivered.events.first()?))) {
            let Some(client) = self.judge.clients.get(owner) else { continue };
            if let (Some((later, began)), Some(told)) = (latest, client.committed)
                && told < began
            {
                return Err(Broken::CommitOrder { earlier: owner.to_owned(), later: later.to_owned() });
            }
            if let Some(began) = client.commit
                && latest.is_none_or(|(_, latest)| began > latest)
            {
                latest = Some((owner, began));
            }
        }
        Ok(())
    }

    /// Nothing that certainly survived is reported damaged or missing.
    fn alarm(&self, alarm: &Alarm, reading: &Reading, index: usize) -> Result<(), Broken> {
        let justified = match alarm {
            Alarm::Damage { segment, from } => self.may_be_damaged(*segment, *from),
            Alarm::Segments { epoch, first, last } => {
                let names =
                    (*first..=last.unwrap_or(*first)).map(|number| SegmentName { epoch: *epoch, number });
                self.certainty == Certainty::Synced
                    && names.into_iter().all(|name| !self.is_name_certain(name))
            }
            Alarm::Commits { epoch, from, to } => {
                let missing = |record: &&Written| {
                    record.segment.epoch == *epoch
                        && record.commit.is_some_and(|number| (*from..*to).contains(&number))
                };
                let mut missing = self.judge.records.iter().filter(missing);
                self.certainty == Certainty::Synced && missing.all(|record| !self.is_certain(record))
            }
            Alarm::Transaction { epoch, id } => {
                self.certainty == Certainty::Synced && !self.has_certain((*epoch, *id), Kind::Prepare)
            }
            Alarm::Other => false,
        };
        if justified {
            return Ok(());
        }
        let mut texts = reading.said.iter().filter(|line| !line.starts_with("delivered"));
        Err(Broken::FalseAlarm(texts.nth(index).cloned().unwrap_or_default()))
    }

    fn may_be_damaged(&self, segment: SegmentName, from: u64) -> bool {
        let Some(path) = self.path(segment) else { return true };
        let left_torn = self.judge.torn.iter().any(|(torn, at)| torn == path && *at <= self.point);
        match self.certainty {
            Certainty::Written => left_torn && self.whole(path) <= from,
            Certainty::Synced => self.certain_length(path) <= from || (left_torn && self.whole(path) <= from),
        }
    }

    /// Where the last whole record of a file ends, in bytes.
    fn whole(&self, path: &str) -> u64 {
        let present = self.judge.records.iter().filter(|record| {
            record.path == path && record.at < self.point && record.gone.is_none_or(|gone| gone >= self.point)
        });
        present.map(|record| record.end).max().unwrap_or(0)
    }

    fn is_name_certain(&self, segment: SegmentName) -> bool {
        self.path(segment).is_some_and(|path| self.disk.is_certain(path))
    }

    fn path(&self, segment: SegmentName) -> Option<&str> {
        self.disk.files().map(|(path, ..)| path).find(|path| file_name(path).parse() == Ok(segment))
    }

    /// A writer begins on the state, and is read to its end.
    fn next_life(&self, slot: &MemoryStorage, first: &Reading) -> Result<(), Broken> {
        let before = self.reader_before_the_crash();
        let slot = slot.copy();
        let epoch = live(&slot)?;
        let mut expected = first.delivered.clone();
        expected.extend(next_life_events(epoch));
        read_next_life(&slot, "from the beginning", None, |delivered| *delivered == expected)?;
        let new = next_life_events(epoch);
        if let Some(resume) = first.resume {
            read_next_life(&slot, "from where the reader was", Some(&resume), |delivered| *delivered == new)?;
        }
        if let Some(resume) = before {
            let ends_new = |delivered: &Vec<Delivered>| delivered.ends_with(&new);
            read_next_life(&slot, "from where the reader was before the crash", Some(&resume), ends_new)?;
        }
        Ok(())
    }

    /// Where a reader was that had read everything before the power was cut.
    fn reader_before_the_crash(&self) -> Option<Resume> {
        if self.certainty == Certainty::Written {
            return None;
        }
        let slot = MemoryStorage::new();
        for (path, content, name) in self.disk.files() {
            if let (Ok(segment), true) = (file_name(path).parse(), name != Name::Removed) {
                slot.put(segment, content.now().to_vec());
            }
        }
        let mut feed = Feed::open(slot, None, FeedOptions::default()).ok()?;
        while let Ok(Some(_)) = feed.next(0) {}
        feed.resume_point()
    }
}

/// When the next life begins, in milliseconds since the Unix epoch: later than any recording.
const LATER_MS: u64 = 4_000_000_000_000;
const NEXT_LIFE: [&str; 2] = ["next.0", "next.1"];

/// Lets a writer begin on the slot, commit, and end in order.
fn live(slot: &MemoryStorage) -> Result<Epoch, Broken> {
    let failed =
        |error: keyferry_journal::Error| Broken::NextLife { reading: "never", what: error.to_string() };
    let clock = || LATER_MS;
    let mut writer = Writer::begin(slot.clone(), 0, clock, WriterOptions::default()).map_err(failed)?;
    let epoch = writer.epoch();
    for event in NEXT_LIFE {
        let mut encoder = EventEncoder::new();
        encoder.push(EventKind::User, 0, &[(Field::Id, event)], b"{}");
        let transaction = writer.next_transaction();
        writer.prepare(transaction, encoder.payload()).map_err(failed)?;
        writer.commit(transaction).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(epoch)
}

fn next_life_events(epoch: Epoch) -> Vec<Delivered> {
    let delivered = |(event, id): (&str, u64)| Delivered {
        epoch,
        id,
        outcome: Outcome::Committed,
        events: vec![event.to_owned()],
    };
    NEXT_LIFE.into_iter().zip(1..).map(delivered).collect()
}

fn read_next_life(
    slot: &MemoryStorage,
    reading: &'static str,
    resume: Option<&Resume>,
    is_right: impl Fn(&Vec<Delivered>) -> bool,
) -> Result<(), Broken> {
    let mut read = Reading::default();
    let wrong = |what| Broken::NextLife { reading, what };
    read.read(slot, resume).map_err(|broken| wrong(broken.to_string()))?;
    if is_right(&read.delivered) {
        return Ok(());
    }
    Err(wrong(format!("this was said: {}", read.said.join("; "))))
}

impl Reading {
    /// Reads a slot whose writer is dead to its end.
    fn read(&mut self, slot: &MemoryStorage, resume: Option<&Resume>) -> Result<(), Broken> {
        let failed = |error: keyferry_journal::Error| Broken::Failed(error.to_string());
        let segments = slot.clone().list().map_err(|error| Broken::Failed(error.to_string()))?;
        let limit = 100 + segments.iter().map(|segment| segment.length).sum::<u64>() / 8;
        let mut feed = Feed::open(slot.clone(), resume, FeedOptions::default()).map_err(failed)?;
        let mut now_ms = 0;
        let mut idle = 0;
        while idle < 3 {
            match feed.next(now_ms).map_err(failed)? {
                Some(item) => self.take(&item)?,
                None => {
                    idle += 1;
                    now_ms += 1000;
                }
            }
            if self.said.len() as u64 > limit {
                return Err(Broken::Endless);
            }
        }
        self.resume = feed.resume_point();
        Ok(())
    }

    fn take(&mut self, item: &Item<'_>) -> Result<(), Broken> {
        let alarm = match *item {
            Item::Transaction(transaction) => {
                let mut events = Vec::new();
                for event in transaction.events() {
                    let event = event.map_err(|error| Broken::Failed(error.to_string()))?;
                    events.push(event.id().unwrap_or_default().to_owned());
                }
                let (epoch, id, outcome) = (transaction.epoch, transaction.id, transaction.outcome);
                self.said.push(format!("delivered {id} {outcome:?}: {}", events.join(" ")));
                self.delivered.push(Delivered { epoch, id, outcome, events });
                return Ok(());
            }
            Item::Gap(_) | Item::TornTail(_) | Item::Abandoned(_) | Item::EpochEnded { .. } => None,
            Item::Damage(range) => Some(Alarm::Damage { segment: range.segment, from: range.from }),
            Item::MissingSegments { epoch, first, last } => Some(Alarm::Segments { epoch, first, last }),
            Item::MissingCommits { epoch, expected, found } => {
                Some(Alarm::Commits { epoch, from: expected, to: found })
            }
            Item::LostTransaction { epoch, id, .. } => Some(Alarm::Transaction { epoch, id }),
            _ => Some(Alarm::Other),
        };
        let text = format!("{item:?}");
        match alarm {
            Some(alarm) => {
                self.alarms.push(alarm);
                self.said.push(text);
            }
            None => self.said.push(format!("delivered nothing: {text}")),
        }
        Ok(())
    }
}
