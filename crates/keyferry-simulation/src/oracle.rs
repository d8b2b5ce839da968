//! What must hold, told from what Keycloak's clients and Kafka's consumers see.
//!
//! The oracle knows nothing of the journal. It is told which faults an epoch has suffered, and asks only for what is promised under them
//! (`docs/promises.md`): an epoch that nothing has hurt must be complete, contiguous and in order; in one that was *scarred* (bits flipped, or bytes that
//! were never synced were lost in a power cut) whatever survived must still arrive, and what did not must be covered by a report.

use std::collections::{BTreeMap, BTreeSet};

use keyferry_journal::event::EventKind;

use crate::kafka::{Consumed, DEAD_LETTER_TOPIC, GapRecord};
use crate::keycloak::{Overflow, kind_index};

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
    /// They are laid aside.
    Hold,
}

/// An event as the oracle knows it.
#[derive(Clone, Debug)]
struct Event {
    epoch: String,
    kind: EventKind,
    key: String,
    fate: Fate,
    /// Where in its epoch it has to stand: committed ones by the order of their COMMITs, then those in doubt by the order of their first PREPARE.
    rank: (u8, u64, u64),
    /// Where it stands if it turns out to be in doubt.
    prepare: u64,
    /// It may be passed over under pressure.
    low: bool,
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
    /// The writer left torn bytes behind in a segment that it abandoned: they look like damage, and are reported as such.
    torn: bool,
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
    /// Ids of the events that are held until an operator decides.
    pub held: &'a BTreeSet<String>,
    /// Whether the agent has told of ranges of the journal that it cannot read.
    pub damage_told: bool,
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
    /// A record that Kafka would take was given up.
    #[error("given up: {0} is a dead letter, but Kafka has never refused it")]
    GivenUp(String),
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
    /// What gap records tell of events of low priority does not fit those that are missing.
    #[error(
        "in epoch {0}, gap records leave {1} numbers to events of low priority, but {2} to {3} of those are missing"
    )]
    PassedOver(String, usize, usize, usize),
    /// A gap record cannot be understood.
    #[error("a gap record is malformed: {0}")]
    GapMalformed(String),
    /// Delivery did not come to an end after the last fault.
    #[error("{0} ms after the last fault not everything is delivered")]
    NotLive(u64),
    /// More is under way than the credit allows.
    #[error("{0} records are under way")]
    Unbounded(usize),
    /// The circuit breaker did what it must not.
    #[error("the circuit breaker: {0}")]
    Breaker(String),
    /// Progress was written down beyond what the destination had acknowledged.
    #[error("{0} records of epoch {1} are behind the checkpoint, but number {2} was never acknowledged")]
    CheckpointAhead(u64, String, u64),
    /// An event was published that was not old enough.
    #[error("{0} was published {1} ms after its commit, but the settle delay is {2} ms")]
    TooEarly(String, u64, u64),
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
    overflow: Overflow,
    /// Whether events of low priority may be passed over.
    sheds: bool,
    commits: u64,
    prepares: u64,
}

impl Oracle {
    /// An oracle that expects events in doubt, those at the ceiling, and those of low priority to be treated like this.
    #[must_use]
    pub fn new(policy: DoubtPolicy, overflow: Overflow, sheds: bool) -> Self {
        Self {
            events: BTreeMap::new(),
            scars: BTreeMap::new(),
            policy,
            overflow,
            sheds,
            commits: 0,
            prepares: 0,
        }
    }

    /// An event was raised in a transaction, the first PREPARE of which is the `prepare`-th.
    pub fn raised(&mut self, id: String, kind: EventKind, epoch: String, key: String, prepare: u64) {
        let rank = (1, prepare, self.events.len() as u64);
        self.events.insert(
            id,
            Event {
                epoch,
                kind,
                key,
                fate: Fate::Open,
                rank,
                prepare,
                low: false,
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

    /// What became of an event's transaction, as far as it is known.
    #[must_use]
    pub fn fate(&self, id: &str) -> Option<Fate> {
        self.events.get(id).map(|event| event.fate)
    }

    /// An event may be passed over under pressure, if any may.
    pub fn is_of_low_priority(&mut self, id: &str) {
        let sheds = self.sheds;
        self.change(id, |event| event.low = sheds);
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

    /// Nothing is promised of the numbers of any epoch so far.
    pub fn cut_all(&mut self) {
        for event in self.events.values() {
            self.scars.entry(event.epoch.clone()).or_default().cut = true;
        }
    }

    /// The checkpoint was damaged while this epoch was delivered.
    pub fn renumbered(&mut self, epoch: String) {
        self.scars.entry(epoch).or_default().renumbered = true;
    }

    /// The writer left torn bytes behind in a segment of this epoch.
    pub fn torn(&mut self, epoch: String) {
        self.scars.entry(epoch).or_default().torn = true;
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
        let gaps = gap_records(copies().filter(|copy| copy.is_gap()))?;
        let numbers = self.check_copies(copies().filter(|copy| !copy.is_gap()), &gaps)?;
        let in_topic = seen.logs.iter().flatten().filter(|copy| copy.topic == DEAD_LETTER_TOPIC);
        if let Some(letter) = in_topic.chain(seen.dead_letters).find(|copy| !copy.is_poison()) {
            return Err(Violation::GivenUp(letter.id.clone()));
        }
        self.check_held(seen.held)?;
        self.check_nothing_lost(&numbers, &gaps, seen)?;
        self.check_numbers(&numbers, &gaps)?;
        self.check_gaps(&gaps)?;
        // Dead letters come in the order in which they were refused.
        let mut logs = seen.logs.iter().filter(|log| log.iter().all(|copy| copy.topic != DEAD_LETTER_TOPIC));
        logs.try_for_each(|log| self.check_keys(log))
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
        gaps: &Gaps,
    ) -> Result<Numbers<'a>, Violation> {
        let mut numbers = Numbers::new();
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
            let all = numbers.entry(copy.id.as_str()).or_default();
            // A record that was under way when the oldest events were given up is sent again under a number of the next stride; the gap record says so.
            if let Some(other) = all.iter().find(|other| **other != copy.sequence)
                && self.is_whole(&event.epoch)
                && !is_explained(&copy.epoch, copy.sequence.min(*other), gaps)
            {
                return Err(Violation::CopiesDiffer(copy.id.clone(), *other, copy.sequence));
            }
            all.insert(copy.sequence);
        }
        Ok(numbers)
    }

    fn outcome_is_right(&self, event: &Event, outcome: &str) -> bool {
        match outcome {
            "committed" => event.fate == Fate::Committed,
            "unknown" => self.policy == DoubtPolicy::Publish && self.may_be_in_doubt(event),
            _ => false,
        }
    }

    /// Nothing is held but what is in doubt.
    fn check_held(&self, held: &BTreeSet<String>) -> Result<(), Violation> {
        for id in held {
            let event = self.events.get(id);
            let right = event.is_some_and(|event| self.may_be_in_doubt(event));
            if self.policy != DoubtPolicy::Hold || !right {
                return Err(Violation::Invented(id.clone(), event.map(|event| event.fate)));
            }
        }
        Ok(())
    }

    fn may_be_in_doubt(&self, event: &Event) -> bool {
        event.fate == Fate::InDoubt || event.may_be_unknown || self.scars(&event.epoch).damaged
    }

    fn check_nothing_lost(
        &self,
        numbers: &Numbers<'_>,
        gaps: &Gaps,
        seen: &Seen<'_>,
    ) -> Result<(), Violation> {
        let mut given_up = Told::of(gaps, "dropped-old");
        let mut passed_over = Told::of(gaps, "low-priority");
        let missing = self.events.iter().filter(|(id, event)| {
            !numbers.contains_key(id.as_str())
                && !seen.held.contains(id.as_str())
                && !event.counted
                && !event.may_be_lost
        });
        for (id, event) in missing {
            let must = match (event.fate, self.policy) {
                (Fate::Committed, DoubtPolicy::Drop) => !event.may_be_unknown,
                (Fate::Committed, _) | (Fate::InDoubt, DoubtPolicy::Publish | DoubtPolicy::Hold) => true,
                (Fate::InDoubt, DoubtPolicy::Drop) | (Fate::Open | Fate::Aborted, _) => false,
            };
            let damaged = self.scars(&event.epoch).damaged;
            // Damage that comes before the point of delivery, where a transaction was still open, takes no number: it is told, not numbered.
            let told = damaged && (seen.damage_told || gaps.keys().any(|(epoch, _)| *epoch == event.epoch));
            if !must
                || told
                // What is of low priority is charged to its own account first: the other one is all that the rest has.
                || event.low && passed_over.covers(&event.epoch, event.kind)
                || self.overflow == Overflow::DropOld && given_up.covers(&event.epoch, event.kind)
            {
                continue;
            }
            return Err(match event.fate {
                Fate::Committed => Violation::Lost(id.clone()),
                _ => Violation::LostInDoubt(id.clone()),
            });
        }
        Ok(())
    }

    /// The numbers of an epoch are 1, 2, 3, … in the order of the COMMITs, gap records among them.
    fn check_numbers(&self, numbers: &Numbers<'_>, gaps: &Gaps) -> Result<(), Violation> {
        let mut epochs: BTreeMap<&str, Vec<Numbered<'_>>> = BTreeMap::new();
        for (id, numbers) in numbers {
            let event = &self.events[*id];
            let records = epochs.entry(&event.epoch).or_default();
            records.extend(numbers.iter().map(|number| (*number, Some(event), *id)));
        }
        for ((epoch, number), gap) in gaps {
            let records = epochs.entry(epoch).or_default();
            // An event that was passed over may yet arrive, under the number that the word of it has.
            let arrived =
                |record: &Numbered<'_>| record.0 == *number && record.1.is_some_and(|event| event.low);
            if !(gap.is_of_low_priority() && records.iter().any(arrived)) {
                records.push((*number, None, "a gap record"));
            }
        }
        for (epoch, mut records) in epochs {
            records.sort_unstable_by_key(|(number, _, _)| *number);
            let scars = self.scars(epoch);
            if !scars.damaged && !scars.cut {
                check_unique(epoch, &records)?;
            }
            if self.is_whole(epoch) {
                check_contiguous(epoch, &records, gaps)?;
                check_order(epoch, &records, gaps)?;
                self.check_passed_over(epoch, numbers, gaps)?;
            }
        }
        Ok(())
    }

    /// Each event of low priority that is missing has a number that gap records leave to such, and each such number an event.
    fn check_passed_over(&self, epoch: &str, numbers: &Numbers<'_>, gaps: &Gaps) -> Result<(), Violation> {
        if self.overflow == Overflow::DropOld {
            return Ok(());
        }
        let arrived = numbers.iter().filter(|(id, _)| self.events[**id].epoch == epoch);
        let mut taken: BTreeSet<u64> = arrived.flat_map(|(_, numbers)| numbers).copied().collect();
        let of_epoch = || gaps.iter().filter(|((of, _), _)| of == epoch);
        taken.extend(of_epoch().filter(|(_, gap)| !gap.is_of_low_priority()).map(|((_, number), _)| *number));
        let spans =
            of_epoch().filter(|(_, gap)| gap.is_of_low_priority()).filter_map(|(_, gap)| gap.sequences);
        let left: BTreeSet<u64> = spans.flat_map(|(from, to)| from..=to).collect();
        let left = left.difference(&taken).count();
        let missing =
            |event: &&Event, id: &str| event.low && event.epoch == epoch && !numbers.contains_key(id);
        let missing = self.events.iter().filter(|(id, event)| missing(event, id)).map(|(_, event)| event);
        let must = |event: &&Event| {
            event.fate == Fate::Committed && !event.counted && !event.may_be_lost && !event.may_be_unknown
        };
        let (least, most) = (missing.clone().filter(must).count(), missing.count());
        if (least..=most).contains(&left) {
            return Ok(());
        }
        Err(Violation::PassedOver(epoch.to_owned(), left, least, most))
    }

    /// Gap records tell what happened, no less and no more.
    fn check_gaps(&self, gaps: &Gaps) -> Result<(), Violation> {
        let mut told: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
        for ((epoch, _), gap) in gaps {
            if gap.is_counted() {
                told.entry(epoch).or_default()[kind_index(gap.kind)] += gap.count().unwrap_or(0);
            } else if self.is_whole(epoch) && !self.may_be_told(epoch, &gap.cause) {
                return Err(Violation::GapInvented(epoch.clone(), gap.cause.clone()));
            }
        }
        // What is given up at the ceiling may hold GAP records, which are counted in the record of what was given up.
        let exact = |epoch: &str| self.is_whole(epoch) && self.overflow != Overflow::DropOld;
        for (epoch, scars) in self.scars.iter().filter(|(epoch, _)| exact(epoch)) {
            let seen = told.get(epoch.as_str()).copied().unwrap_or_default();
            if seen != scars.told {
                return Err(Violation::GapsDiffer(epoch.clone(), seen, scars.told));
            }
        }
        Ok(())
    }

    /// Whether a gap record with this cause may stand in an epoch that nothing has hurt.
    fn may_be_told(&self, epoch: &str, cause: &str) -> bool {
        match cause {
            "damage" => self.scars(epoch).torn,
            // Of a transaction that was given up its COMMIT may stay.
            "dropped-old" | "lost-transaction" | "missing-commits" => self.overflow == Overflow::DropOld,
            "in-doubt-dropped" => self.policy == DoubtPolicy::Drop,
            "low-priority" => self.sheds,
            _ => false,
        }
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

/// A number, the event that has it (none for a gap record), and its id.
type Numbered<'a> = (u64, Option<&'a Event>, &'a str);

/// The numbers of each event: more than one only where a gap record explains it.
type Numbers<'a> = BTreeMap<&'a str, BTreeSet<u64>>;

/// The gap records, by epoch and number.
type Gaps = BTreeMap<(String, u64), GapRecord>;

/// How many events of each epoch and kind the records of one cause can still account for; `None` is any number.
struct Told(BTreeMap<(String, usize), Option<u64>>);

impl Told {
    fn of(gaps: &Gaps, cause: &str) -> Self {
        let mut counts: BTreeMap<_, Option<u64>> = BTreeMap::new();
        for ((epoch, _), gap) in gaps.iter().filter(|(_, gap)| gap.cause == cause) {
            let sum = counts.entry((epoch.clone(), kind_index(gap.kind))).or_insert(Some(0));
            *sum = sum.zip(gap.count()).map(|(sum, count)| sum + count);
        }
        Self(counts)
    }

    /// Whether one more missing event is accounted for.
    fn covers(&mut self, epoch: &str, kind: EventKind) -> bool {
        match self.0.get_mut(&(epoch.to_owned(), kind_index(kind))) {
            Some(Some(0)) | None => false,
            Some(Some(rest)) => {
                *rest -= 1;
                true
            }
            Some(None) => true,
        }
    }
}

/// The gap records by epoch and number: copies of one count once.
fn gap_records<'a>(copies: impl Iterator<Item = &'a Consumed>) -> Result<Gaps, Violation> {
    let mut gaps = Gaps::new();
    for copy in copies {
        let gap = GapRecord::of(copy).ok_or_else(|| Violation::GapMalformed(copy.value.clone()))?;
        let place = (copy.epoch.clone(), copy.sequence);
        match gaps.get_mut(&place) {
            // What is passed over before a death and after it may differ, and may end with the same event.
            Some(other) if gap.is_of_low_priority() && other.is_of_low_priority() => other.merge(&gap),
            _ => drop(gaps.insert(place, gap)),
        }
    }
    Ok(gaps)
}

/// The numbers of an epoch of which gap records tell that their events were passed over.
pub fn passed_over(logs: &[Vec<Consumed>], epoch: &str) -> BTreeSet<u64> {
    let gaps = logs.iter().flatten().filter(|copy| copy.is_gap() && copy.epoch == epoch);
    let gaps = gaps.filter_map(GapRecord::of).filter(GapRecord::is_of_low_priority);
    gaps.filter_map(|gap| gap.sequences).flat_map(|(from, to)| from..=to).collect()
}

fn check_unique(epoch: &str, records: &[Numbered<'_>]) -> Result<(), Violation> {
    for pair in records.windows(2) {
        let ((number, _, one), (next, _, other)) = (pair[0], pair[1]);
        if number == next {
            let (one, other) = (one.to_owned(), other.to_owned());
            return Err(Violation::NumberReused(epoch.to_owned(), number, one, other));
        }
    }
    Ok(())
}

/// Whether a gap record of the epoch says that this number may never appear, so that its record may have another.
fn is_explained(epoch: &str, number: u64, gaps: &Gaps) -> bool {
    let gaps = gaps.iter().filter(|((of, _), gap)| of == epoch && !gap.is_of_low_priority());
    gaps.filter_map(|(_, gap)| gap.sequences).any(|(from, to)| (from..=to).contains(&number))
}

/// No number is missing, except those of which a gap record says that they may never appear.
fn check_contiguous(epoch: &str, records: &[Numbered<'_>], gaps: &Gaps) -> Result<(), Violation> {
    let mut expected = 1;
    for (number, _, _) in records {
        let explained = || {
            let gaps = gaps.iter().filter(|((of, _), _)| of == epoch);
            gaps.filter_map(|(_, gap)| gap.sequences).any(|(from, to)| from <= expected && *number - 1 <= to)
        };
        if *number != expected && !explained() {
            return Err(Violation::NumberMissing(epoch.to_owned(), expected));
        }
        expected = number + 1;
    }
    Ok(())
}

fn check_order(epoch: &str, records: &[Numbered<'_>], gaps: &Gaps) -> Result<(), Violation> {
    // Events that the provider counted as missing, and that arrive nevertheless, stand wherever they do.
    // Where the first PREPARE of a transaction was given up, it is its first one that is left which decides.
    let given_up = gaps.iter().any(|((of, _), gap)| of == epoch && gap.cause == "dropped-old");
    let by_rank = |event: &&Event| !(event.counted || given_up && event.rank.0 > 0);
    let events = records.iter().filter_map(|(number, event, id)| {
        let event = (*event).filter(|event| by_rank(event) && !is_explained(epoch, *number, gaps))?;
        Some((*number, event.rank, *id))
    });
    let events: Vec<_> = events.collect();
    for pair in events.windows(2) {
        let ((number, rank, one), (_, next, other)) = (pair[0], pair[1]);
        if rank > next {
            return Err(Violation::WrongOrder(epoch.to_owned(), one.to_owned(), number, other.to_owned()));
        }
    }
    Ok(())
}
