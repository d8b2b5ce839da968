//! What must hold, told from what Keycloak's clients and Kafka's consumers see.
//!
//! The oracle knows nothing of the journal. It is told which faults an epoch has suffered, and asks only for what is promised under them
//! (`docs/promises.md`): an epoch that nothing has hurt must be complete, contiguous and in order; in one that was *scarred* (bits flipped, or bytes that
//! were never synced were lost in a power cut) whatever survived must still arrive, and what did not must be covered by a report.

use std::collections::{BTreeMap, BTreeSet};

use keyferry_journal::event::EventKind;

use crate::kafka::{Consumed, GapRecord};
use crate::keycloak::kind_index;

/// What became of an event's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its transaction is under way.
    Open,
    /// The client got its success response.
    Committed,
    /// The transaction was rolled back.
    Aborted,
    /// Keycloak died before the outcome was written.
    InDoubt,
}

/// What is done with events in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoubtPolicy {
    /// They are published as such.
    Publish,
    /// They are dropped.
    Drop,
}

/// An event as the oracle knows it.
#[derive(Clone, Debug)]
struct Event {
    epoch: String,
    key: String,
    fate: Fate,
    /// Where in its epoch it has to stand: committed ones by the order of their COMMITs, then those in doubt by the order of their first PREPARE.
    rank: (u8, u64, u64),
    /// Where it stands if it turns out to be in doubt.
    prepare: u64,
    /// It could not be journaled and was counted.
    counted: bool,
    /// It was not on the medium when the power was cut: it may be lost.
    may_be_lost: bool,
    /// Its outcome was not on the medium, or was damaged: it may be published as in doubt.
    may_be_unknown: bool,
}

/// What has happened to the files of an epoch.
#[derive(Clone, Copy, Debug, Default)]
struct Scars {
    /// Bits were flipped: what is missing must be covered by a report.
    damaged: bool,
    /// Unsynced bytes were lost in a power cut.
    cut: bool,
    /// The checkpoint was damaged: numbers may jump ahead, and copies may differ in their number.
    renumbered: bool,
    /// Events that GAP records tell, user and admin.
    told: [u64; 2],
}

/// Everything that can be seen from outside.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Kafka's partitions.
    pub logs: &'a [Vec<Consumed>],
    /// The dead-letter file.
    pub dead_letters: &'a [Consumed],
    /// How many ranges of the journal the agent has reported as unreadable.
    pub reported: u64,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// An event of a committed transaction is nowhere.
    #[error(
        "lost: {0} was committed and is neither in Kafka nor among the dead letters, nor does a report cover it"
    )]
    Lost(String),
    /// An event of a transaction in doubt is nowhere.
    #[error("lost: {0} is in doubt and was not published")]
    LostInDoubt(String),
    /// An event that was never committed is in Kafka.
    #[error("invented: {0} ({1:?}) is in Kafka")]
    Invented(String, Option<Fate>),
    /// A record says of its transaction what is not so.
    #[error("{0} says that its outcome is {1}, but it is {2:?}")]
    WrongOutcome(String, String, Fate),
    /// Two copies of an event differ.
    #[error("two copies of {0} differ: {1} and {2}")]
    CopiesDiffer(String, u64, u64),
    /// A number was given twice.
    #[error("number {1} of epoch {0} was given to {2} and to {3}")]
    NumberReused(String, u64, String, String),
    /// A number is missing.
    #[error("number {1} of epoch {0} is missing")]
    NumberMissing(String, u64),
    /// Numbers do not follow the order of the COMMITs.
    #[error("in epoch {0}, {1} has number {2}, but {3} comes after it")]
    WrongOrder(String, String, u64, String),
    /// A consumer sees a key's events in a wrong order.
    #[error("of key {0}, {1} is seen after {2}")]
    KeyOutOfOrder(String, String, String),
    /// The gap records do not add up to what the provider counted.
    #[error("epoch {0}: gap records tell {1:?} missing events, but the provider told {2:?}")]
    GapsDiffer(String, [u64; 2], [u64; 2]),
    /// A gap record tells of a damage that has not happened.
    #[error("epoch {0} is whole, but a gap record tells of {1}")]
    GapInvented(String, String),
    /// A gap record cannot be understood.
    #[error("a gap record is malformed: {0}")]
    GapMalformed(String),
    /// Delivery did not come to an end after the last fault.
    #[error("{0} ms after the last fault not everything is delivered")]
    NotLive(u64),
    /// More is under way than the credit allows.
    #[error("{0} records are under way")]
    Unbounded(usize),
    /// Progress was written down beyond what the destination had acknowledged.
    #[error("{0} records of epoch {1} are behind the checkpoint, but number {2} was never acknowledged")]
    CheckpointAhead(u64, String, u64),
    /// A second agent got hold of a slot that was served.
    #[error("two agents ship one slot")]
    TwoAgents,
    /// The pipeline ended in an error after the last fault.
    #[error("the agent does not come up after the last fault: {0}")]
    Failed(String),
}

/// What the clients know.
#[derive(Debug)]
pub struct Oracle {
    events: BTreeMap<String, Event>,
    scars: BTreeMap<String, Scars>,
    policy: DoubtPolicy,
    commits: u64,
    prepares: u64,
}

impl Oracle {
    /// An oracle that expects events in doubt to be treated like this.
    #[must_use]
    pub fn new(policy: DoubtPolicy) -> Self {
        Self { events: BTreeMap::new(), scars: BTreeMap::new(), policy, commits: 0, prepares: 0 }
    }

    /// An event was raised in a transaction, the first PREPARE of which is the `prepare`-th.
    pub fn raised(&mut self, id: String, epoch: String, key: String, prepare: u64) {
        let rank = (1, prepare, self.events.len() as u64);
        self.events.insert(
            id,
            Event {
                epoch,
                key,
                fate: Fate::Open,
                rank,
                prepare,
                counted: false,
                may_be_lost: false,
                may_be_unknown: false,
            },
        );
    }

    /// The ordinal of the next transaction's first PREPARE.
    pub fn next_prepare(&mut self) -> u64 {
        self.prepares += 1;
        self.prepares
    }

    /// The outcomes of a transaction's events are known.
    pub fn settled<'a>(&mut self, ids: impl IntoIterator<Item = &'a String>, fate: Fate) {
        self.commits += 1;
        for id in ids {
            if let Some(event) = self.events.get_mut(id) {
                event.fate = fate;
                event.rank.0 = u8::from(fate != Fate::Committed);
                event.rank.1 = if fate == Fate::Committed { self.commits } else { event.prepare };
            }
        }
    }

    /// An event could not be journaled and was counted.
    pub fn counted(&mut self, id: &str) {
        self.change(id, |event| event.counted = true);
    }

    /// An event was not on the medium when the power was cut.
    pub fn may_be_lost(&mut self, id: &str) {
        self.change(id, |event| event.may_be_lost = true);
    }

    /// The outcome of an event's transaction was not on the medium when the power was cut, or could not be written.
    pub fn may_be_unknown(&mut self, id: &str) {
        self.change(id, |event| event.may_be_unknown = true);
    }

    fn change(&mut self, id: &str, change: impl FnOnce(&mut Event)) {
        if let Some(event) = self.events.get_mut(id) {
            change(event);
        }
    }

    /// Bits of an epoch's segment were flipped.
    pub fn damaged(&mut self, epoch: String) {
        self.scars.entry(epoch).or_default().damaged = true;
    }

    /// Unsynced bytes of an epoch's segment were lost.
    pub fn cut(&mut self, epoch: String) {
        self.scars.entry(epoch).or_default().cut = true;
    }

    /// The checkpoint was damaged while this epoch was delivered.
    pub fn renumbered(&mut self, epoch: String) {
        self.scars.entry(epoch).or_default().renumbered = true;
    }

    /// GAP records of this epoch tell so many missing events.
    pub fn told(&mut self, epoch: String, counts: [u64; 2]) {
        self.scars.entry(epoch).or_default().told = counts;
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Compares what the clients know with what the consumers see.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn judge(&self, seen: &Seen<'_>) -> Result<(), Violation> {
        let copies = || seen.logs.iter().flatten().chain(seen.dead_letters);
        let numbers = self.check_copies(copies().filter(|copy| !copy.is_gap()))?;
        let gaps = gap_records(copies().filter(|copy| copy.is_gap()))?;
        self.check_nothing_lost(&numbers, &gaps, seen.reported)?;
        self.check_numbers(&numbers, &gaps)?;
        self.check_gaps(&gaps)?;
        seen.logs.iter().try_for_each(|log| self.check_keys(log))
    }

    fn scars(&self, epoch: &str) -> Scars {
        self.scars.get(epoch).copied().unwrap_or_default()
    }

    /// Whether nothing has hurt the order and the numbers of the epoch.
    #[must_use]
    pub fn is_whole(&self, epoch: &str) -> bool {
        let scars = self.scars(epoch);
        !(scars.damaged || scars.cut || scars.renumbered)
    }

    /// Every copy tells the truth and says the same; returns each event's number.
    fn check_copies<'a>(
        &self,
        copies: impl Iterator<Item = &'a Consumed>,
    ) -> Result<BTreeMap<&'a str, u64>, Violation> {
        let mut numbers = BTreeMap::new();
        for copy in copies {
            let event = self.events.get(&copy.id);
            let invented = || Violation::Invented(copy.id.clone(), event.map(|event| event.fate));
            let event = event.ok_or_else(invented)?;
            if !self.outcome_is_right(event, &copy.outcome) {
                let never = matches!(event.fate, Fate::Aborted | Fate::Open);
                return Err(if never {
                    invented()
                } else {
                    Violation::WrongOutcome(copy.id.clone(), copy.outcome.clone(), event.fate)
                });
            }
            if copy.epoch != event.epoch || copy.key != event.key {
                return Err(Violation::WrongOutcome(copy.id.clone(), copy.outcome.clone(), event.fate));
            }
            let number = *numbers.entry(copy.id.as_str()).or_insert(copy.sequence);
            if number != copy.sequence && self.is_whole(&event.epoch) {
                return Err(Violation::CopiesDiffer(copy.id.clone(), number, copy.sequence));
            }
        }
        Ok(numbers)
    }

    fn outcome_is_right(&self, event: &Event, outcome: &str) -> bool {
        match outcome {
            "committed" => event.fate == Fate::Committed,
            "unknown" if self.policy == DoubtPolicy::Publish => {
                event.fate == Fate::InDoubt || event.may_be_unknown || self.scars(&event.epoch).damaged
            }
            _ => false,
        }
    }

    fn check_nothing_lost(
        &self,
        numbers: &BTreeMap<&str, u64>,
        gaps: &BTreeMap<(String, u64), GapRecord>,
        reported: u64,
    ) -> Result<(), Violation> {
        let missing = self
            .events
            .iter()
            .filter(|(id, event)| !numbers.contains_key(id.as_str()) && !event.counted && !event.may_be_lost);
        for (id, event) in missing {
            let scars = self.scars(&event.epoch);
            let covered = reported > 0 || gaps.keys().any(|(epoch, _)| *epoch == event.epoch);
            if scars.damaged && covered {
                continue;
            }
            match (event.fate, self.policy) {
                (Fate::Committed, DoubtPolicy::Drop) if event.may_be_unknown => {}
                (Fate::Committed, _) => return Err(Violation::Lost(id.clone())),
                (Fate::InDoubt, DoubtPolicy::Publish) => return Err(Violation::LostInDoubt(id.clone())),
                (Fate::InDoubt, DoubtPolicy::Drop) | (Fate::Open | Fate::Aborted, _) => {}
            }
        }
        Ok(())
    }

    /// The numbers of an epoch are 1, 2, 3, … in the order of the COMMITs, gap records among them.
    fn check_numbers(
        &self,
        numbers: &BTreeMap<&str, u64>,
        gaps: &BTreeMap<(String, u64), GapRecord>,
    ) -> Result<(), Violation> {
        let mut epochs: BTreeMap<&str, Vec<(u64, Option<&Event>, &str)>> = BTreeMap::new();
        for (id, number) in numbers {
            let event = &self.events[*id];
            epochs.entry(&event.epoch).or_default().push((*number, Some(event), id));
        }
        for (epoch, number) in gaps.keys() {
            epochs.entry(epoch).or_default().push((*number, None, "a gap record"));
        }
        for (epoch, mut records) in epochs {
            records.sort_unstable_by_key(|(number, _, _)| *number);
            let scars = self.scars(epoch);
            if !scars.damaged && !scars.cut {
                check_unique(epoch, &records)?;
            }
            if self.is_whole(epoch) {
                check_contiguous(epoch, &records)?;
                check_order(epoch, &records)?;
            }
        }
        Ok(())
    }

    /// Gap records tell what happened, no less and no more.
    fn check_gaps(&self, gaps: &BTreeMap<(String, u64), GapRecord>) -> Result<(), Violation> {
        let mut told: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
        for ((epoch, _), gap) in gaps {
            if gap.is_counted() {
                let sum = told.entry(epoch).or_default();
                let index = kind_index(gap.kind);
                sum[index] += if gap.kind == EventKind::User { gap.user_events } else { gap.admin_events };
            } else if self.is_whole(epoch) && !gap.is_expected_in_whole_epoch() {
                return Err(Violation::GapInvented(epoch.clone(), gap.cause.clone()));
            }
        }
        if gaps.is_empty() {
            return Ok(());
        }
        for (epoch, scars) in self.scars.iter().filter(|(epoch, _)| self.is_whole(epoch)) {
            let seen = told.get(epoch.as_str()).copied().unwrap_or_default();
            if seen != scars.told {
                return Err(Violation::GapsDiffer(epoch.clone(), seen, scars.told));
            }
        }
        Ok(())
    }

    /// The first copies of a key's events stand in their order.
    fn check_keys(&self, log: &[Consumed]) -> Result<(), Violation> {
        let mut seen = BTreeSet::new();
        let mut last: BTreeMap<&str, &Consumed> = BTreeMap::new();
        let whole = |copy: &&Consumed| !copy.is_gap() && self.is_whole(&copy.epoch);
        for copy in log.iter().filter(whole).filter(|copy| seen.insert(&copy.id)) {
            if let Some(before) = last.insert(&copy.key, copy)
                && (&before.epoch, before.sequence) > (&copy.epoch, copy.sequence)
            {
                return Err(Violation::KeyOutOfOrder(copy.key.clone(), copy.id.clone(), before.id.clone()));
            }
        }
        Ok(())
    }
}

/// The gap records by epoch and number: copies of one count once.
fn gap_records<'a>(
    copies: impl Iterator<Item = &'a Consumed>,
) -> Result<BTreeMap<(String, u64), GapRecord>, Violation> {
    copies
        .map(|copy| {
            let gap = GapRecord::of(copy).ok_or_else(|| Violation::GapMalformed(copy.value.clone()))?;
            Ok(((copy.epoch.clone(), copy.sequence), gap))
        })
        .collect()
}

fn check_unique(epoch: &str, records: &[(u64, Option<&Event>, &str)]) -> Result<(), Violation> {
    for pair in records.windows(2) {
        let ((number, _, one), (next, _, other)) = (pair[0], pair[1]);
        if number == next {
            let (one, other) = (one.to_owned(), other.to_owned());
            return Err(Violation::NumberReused(epoch.to_owned(), number, one, other));
        }
    }
    Ok(())
}

fn check_contiguous(epoch: &str, records: &[(u64, Option<&Event>, &str)]) -> Result<(), Violation> {
    for (expected, (number, _, _)) in (1..).zip(records) {
        if *number != expected {
            return Err(Violation::NumberMissing(epoch.to_owned(), expected));
        }
    }
    Ok(())
}

fn check_order(epoch: &str, records: &[(u64, Option<&Event>, &str)]) -> Result<(), Violation> {
    let events = records.iter().filter_map(|(number, event, id)| Some((*number, (*event)?.rank, *id)));
    let events: Vec<_> = events.collect();
    for pair in events.windows(2) {
        let ((number, rank, one), (_, next, other)) = (pair[0], pair[1]);
        if rank > next {
            return Err(Violation::WrongOrder(epoch.to_owned(), one.to_owned(), number, other.to_owned()));
        }
    }
    Ok(())
}
