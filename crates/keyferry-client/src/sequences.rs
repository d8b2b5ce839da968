//! Numbers that never come.
//!
//! The invariant: **a number is called missing only when it cannot come any more.** Keyferry numbers the records of a node's epoch without gaps over all topics and partitions of a destination, has at most
//! [`Limits::in_flight`] of them on their way, and goes on when the oldest of those has been acknowledged. So when a partition shows a number, every number that is lower by more than that was in Kafka before, and
//! what of it belongs to this partition has been read. A number that *every* partition has passed like that, and that nobody has seen, is not in Kafka.
//!
//! Whoever uses this must therefore read **all partitions of all topics of one destination**. A partition that shows nothing for long holds the judgement back until [`Sequences::at_end`] tells that there is nothing in it; what is
//! still undecided at the end of a reading is in [`Sequences::unseen`]. `keyferry verify` judges a whole topic, and more strictly.
//!
//! What is remembered: the holes below the highest number of each epoch, as ranges. Holes are few where partitions are read side by side, as a Kafka consumer does.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;

use crate::decode::Message;
use crate::event::Event;
use crate::gap::{GapRecord, Span};
use crate::headers::{Epoch, Place};
use crate::ranges::Ranges;

/// Where it is not known which numbers were used, Keyferry goes on with the next multiple of this.
const STRIDE: u64 = 1 << 32;
/// Ranges that are explained before their numbers are reached, at most.
const ANNOUNCED: usize = 64;

/// What is remembered, and how far apart records may arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records of an epoch on their way at once.
    pub in_flight: u64,
    /// Ranges of numbers that have not been seen, of each epoch.
    pub holes: usize,
    /// Epochs of each node.
    pub epochs: usize,
    /// Nodes.
    pub nodes: usize,
}

impl Default for Limits {
    /// More on their way than an agent has at most, which is 8,192 and the rest of a transaction; memory for a few million bytes.
    fn default() -> Self {
        Self { in_flight: 20_000, holes: 65_536, epochs: 64, nodes: 4096 }
    }
}

/// Where the reading of a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At its very first record: nothing was deleted before it.
    Beginning,
    /// Somewhere later: there are, or were, records before.
    Middle,
}

/// Numbers that are not in Kafka, and that no gap record tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The node.
    pub node: String,
    /// The epoch.
    pub epoch: Epoch,
    /// The numbers.
    pub numbers: Span,
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, epoch, numbers: Span { from, to } } = self;
        write!(out, "{from} to {to} of epoch {epoch} of node {node}")
    }
}

/// Numbers that have not been seen so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// Which.
    pub numbers: Missing,
    /// Why they are not called missing.
    pub reason: Reason,
}

/// Why numbers that have not been seen are not called missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// They may lie before the place where the reading began.
    MayLieBefore,
    /// They may still come.
    MayStillCome,
}

/// Finds missing numbers.
#[derive(Debug)]
pub struct Sequences {
    limits: Limits,
    starts: Vec<Start>,
    nodes: HashMap<Box<str>, BTreeMap<Epoch, Ledger>>,
    found: VecDeque<Missing>,
    unjudged: u64,
}

/// What has been seen of an epoch.
#[derive(Debug)]
struct Ledger {
    highest: u64,
    /// Numbers below the highest that have not been seen.
    holes: Ranges,
    /// Numbers above it that need not come.
    announced: VecDeque<Span>,
    /// Numbers that were passed over: they are not on their way, however many there are.
    passed_over: u64,
    /// What each partition has shown.
    shown: Vec<Shown>,
}

/// What a partition has shown of an epoch.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    /// The number that came first.
    first: Option<u64>,
    /// The greatest.
    greatest: u64,
}

impl Sequences {
    /// For these partitions, of whatever topics, each with the place where its reading begins.
    #[must_use]
    pub fn of(partitions: Vec<Start>) -> Self {
        Self::with_limits(partitions, Limits::default())
    }

    /// The same with limits of one's own.
    #[must_use]
    pub fn with_limits(partitions: Vec<Start>, limits: Limits) -> Self {
        Self { limits, starts: partitions, nodes: HashMap::new(), found: VecDeque::new(), unjudged: 0 }
    }

    /// Enters a record of a partition, by its index among those that were given. One without a place is passed over.
    ///
    /// # Panics
    /// There is no such partition.
    pub fn enter(&mut self, partition: usize, message: &Message) {
        let Some(place) = &message.place else { return };
        if message.replayed.is_some() {
            // It stands in for its original, and says nothing of where others are.
            let epoch = self.nodes.get_mut(place.node.as_str()).and_then(|node| node.get_mut(&place.epoch));
            return epoch.into_iter().for_each(|ledger| ledger.holes.remove(only(place.sequence)));
        }
        if !self.begin(place) {
            self.unjudged += 1;
            return;
        }
        let Some(epochs) = self.nodes.get_mut(place.node.as_str()) else { return };
        for (epoch, ledger) in epochs.range_mut(..=place.epoch).rev() {
            if *epoch == place.epoch {
                ledger.enter(partition, place.sequence, message);
                self.unjudged += ledger.forget_beyond(self.limits.holes);
            } else if epoch.slot() == place.epoch.slot() && ledger.holes.len() > 0 {
                ledger.is_followed(partition, place.sequence);
            }
            let missing = ledger.judge(&self.starts, self.limits.in_flight);
            let of = |numbers| Missing { node: place.node.clone(), epoch: *epoch, numbers };
            self.found.extend(missing.into_iter().map(of));
        }
    }

    /// Takes note that a partition has nothing beyond what was entered: after the last [`enter`](Self::enter) of *any* partition Kafka was asked for this one's end, and it has been read up to there.
    ///
    /// # Panics
    /// There is no such partition.
    pub fn at_end(&mut self, partition: usize) {
        for (node, epochs) in &mut self.nodes {
            for (epoch, ledger) in epochs {
                ledger.shown[partition].show(ledger.highest);
                let of = |numbers| Missing { node: node.to_string(), epoch: *epoch, numbers };
                let missing = ledger.judge(&self.starts, self.limits.in_flight);
                self.found.extend(missing.into_iter().map(of));
            }
        }
    }

    /// What has turned out to be missing, each range once.
    pub fn next_missing(&mut self) -> Option<Missing> {
        self.found.pop_front()
    }

    /// What has not been seen and is not decided, by node and epoch. At the end of a reading that has reached every partition's end, what may still come is what an agent had on its way then, or is missing.
    #[must_use]
    pub fn unseen(&self) -> Vec<Unseen> {
        let mut unseen = Vec::new();
        for (node, epochs) in &self.nodes {
            for (epoch, ledger) in epochs {
                let horizon = ledger.horizon(&self.starts, self.limits.in_flight);
                for (numbers, reason) in ledger.holes.iter().flat_map(|hole| split(hole, horizon)) {
                    let numbers = Missing { node: node.to_string(), epoch: *epoch, numbers };
                    unseen.push(Unseen { numbers, reason });
                }
            }
        }
        unseen.sort_by(|one, other| {
            let key = |unseen: &Unseen| {
                (unseen.numbers.node.clone(), unseen.numbers.epoch, unseen.numbers.numbers.from)
            };
            key(one).cmp(&key(other))
        });
        unseen
    }

    /// How many records and ranges were beyond the limits: of them it cannot be told whether anything is missing.
    #[must_use]
    pub fn unjudged(&self) -> u64 {
        self.unjudged
    }

    /// Whether there is a ledger for the place's epoch, or room for one. The oldest epoch of the node makes room.
    fn begin(&mut self, place: &Place) -> bool {
        let has_room = self.nodes.len() < self.limits.nodes;
        if !self.nodes.contains_key(place.node.as_str()) {
            if !has_room {
                return false;
            }
            self.nodes.insert(place.node.as_str().into(), BTreeMap::new());
        }
        let Some(epochs) = self.nodes.get_mut(place.node.as_str()) else { return false };
        if epochs.contains_key(&place.epoch) {
            return true;
        }
        if epochs.len() >= self.limits.epochs {
            if epochs.first_key_value().is_some_and(|(oldest, _)| place.epoch < *oldest) {
                return false;
            }
            self.unjudged += epochs.pop_first().map_or(0, |(_, ledger)| ledger.holes.len() as u64);
        }
        epochs.insert(place.epoch, Ledger::of(self.starts.len()));
        true
    }
}

impl Ledger {
    fn of(partitions: usize) -> Self {
        Self {
            highest: 0,
            holes: Ranges::default(),
            announced: VecDeque::new(),
            passed_over: 0,
            shown: vec![Shown::default(); partitions],
        }
    }

    fn enter(&mut self, partition: usize, sequence: u64, message: &Message) {
        self.shown[partition].show(sequence);
        if sequence > self.highest {
            self.holes.insert(Span { from: self.highest + 1, to: sequence - 1 });
            self.highest = sequence;
            self.announced.iter().for_each(|span| self.holes.remove(*span));
            self.announced.retain(|span| span.to > sequence);
        } else {
            self.holes.remove(only(sequence));
        }
        if let Event::Gap(gap) = &message.event {
            self.explain(sequence, gap);
        }
    }

    fn explain(&mut self, sequence: u64, gap: &GapRecord) {
        if let Some(span) = gap.sequences.filter(|span| span.from <= span.to) {
            self.holes.remove(span);
            if span.to > self.highest && self.announced.len() < ANNOUNCED {
                self.announced.push_back(span);
            }
            if gap.shares_a_number() {
                self.passed_over = self.passed_over.saturating_add(span.to - span.from);
            }
        }
        let anew = sequence - sequence % STRIDE;
        if gap.renumbers()
            && let Some(hole) = anew.checked_sub(1).and_then(|last| self.holes.around(last))
        {
            self.holes.remove(Span { from: hole.from, to: anew - 1 });
        }
    }

    /// A partition has shown a number of a later epoch of the same slot, whose records are sent after all of this one's.
    fn is_followed(&mut self, partition: usize, sequence: u64) {
        let shown = &mut self.shown[partition];
        shown.greatest = shown.greatest.max(self.highest.saturating_add(sequence % STRIDE));
    }

    /// Forgets the lowest holes beyond `limit`; answers how many.
    fn forget_beyond(&mut self, limit: usize) -> u64 {
        let surplus = self.holes.len().saturating_sub(limit);
        self.holes.forget(surplus);
        surplus as u64
    }

    /// Takes the holes out that are decided, and answers which of their numbers are missing.
    fn judge(&mut self, starts: &[Start], in_flight: u64) -> Vec<Span> {
        let mut missing = Vec::new();
        if self.holes.len() == 0 {
            return missing;
        }
        let horizon = self.horizon(starts, in_flight);
        let passed = self.shown.iter().map(|shown| shown.greatest).min().unwrap_or_default();
        let settled = passed.saturating_sub(in_flight.saturating_add(self.passed_over));
        // Before every partition has shown where its reading began, nothing is known to lie behind it.
        while let Some(hole) = self.holes.first().filter(|hole| horizon < u64::MAX && hole.from <= settled) {
            let decided = Span { from: hole.from, to: hole.to.min(settled) };
            self.holes.remove(decided);
            let (from, to) = (decided.from.max(horizon.saturating_add(1)), decided.to);
            missing.extend((from <= to).then_some(Span { from, to }));
        }
        missing
    }

    /// Numbers up to this one may lie before the place where the reading began.
    fn horizon(&self, starts: &[Start], in_flight: u64) -> u64 {
        let of_partition = |(start, shown): (&Start, &Shown)| match start {
            Start::Beginning => 0,
            Start::Middle => shown.first.map_or(u64::MAX, |first| first.saturating_add(in_flight)),
        };
        starts.iter().zip(&self.shown).map(of_partition).max().unwrap_or_default()
    }
}

impl Shown {
    fn show(&mut self, sequence: u64) {
        self.first.get_or_insert(sequence);
        self.greatest = self.greatest.max(sequence);
    }
}

fn only(number: u64) -> Span {
    Span { from: number, to: number }
}

/// The parts of a hole up to the horizon and beyond it.
fn split(hole: Span, horizon: u64) -> impl Iterator<Item = (Span, Reason)> {
    let before = Span { from: hole.from, to: hole.to.min(horizon) };
    let after = Span { from: hole.from.max(horizon.saturating_add(1)), to: hole.to };
    let parts = [(before, Reason::MayLieBefore), (after, Reason::MayStillCome)];
    parts.into_iter().filter(|(span, _)| span.from <= span.to)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::UserEvent;
    use crate::headers::Outcome;

    const LIMITS: Limits = Limits { in_flight: 3, holes: 100, epochs: 3, nodes: 2 };

    fn message(epoch: u64, sequence: u64, event: Event) -> Message {
        Message {
            id: None,
            place: Some(Place { node: "n".to_owned(), epoch: Epoch(epoch), sequence }),
            outcome: Outcome::Committed,
            replayed: None,
            traceparent: None,
            event,
        }
    }

    fn record(sequence: u64) -> Message {
        message(0x100, sequence, Event::User(UserEvent::default().into()))
    }

    fn gap(sequence: u64, cause: &str, sequences: Option<(u64, u64)>) -> Message {
        let sequences = sequences.map(|(from, to)| serde_json::json!({ "from": from, "to": to }));
        let gap = serde_json::json!({ "cause": cause, "sequences": sequences });
        message(0x100, sequence, Event::Gap(serde_json::from_value(gap).unwrap()))
    }

    fn of(starts: &[Start]) -> Sequences {
        Sequences::with_limits(starts.to_vec(), LIMITS)
    }

    fn missing(sequences: &mut Sequences) -> Vec<(u64, u64)> {
        std::iter::from_fn(|| sequences.next_missing())
            .map(|one| (one.numbers.from, one.numbers.to))
            .collect()
    }

    #[test]
    fn a_number_is_missing_when_every_partition_has_passed_it() {
        let mut sequences = of(&[Start::Beginning; 2]);
        for (partition, sequence) in [(0, 1), (0, 3), (0, 4), (0, 9), (0, 8), (1, 5)] {
            sequences.enter(partition, &record(sequence));
        }
        assert_eq!(
            missing(&mut sequences),
            [(2, 2)],
            "5 of the other partition has passed 2 and nothing else"
        );
        sequences.enter(1, &record(7));
        assert_eq!(missing(&mut sequences), []);
        let unseen = sequences.unseen();
        assert_eq!((unseen[0].numbers.numbers, unseen[0].reason), (only(6), Reason::MayStillCome));
        sequences.at_end(1);
        assert_eq!(missing(&mut sequences), [(6, 6)]);
        assert_eq!(sequences.unseen(), []);
    }

    #[test]
    fn a_number_that_comes_late_or_again_is_not_missing() {
        let mut sequences = of(&[Start::Beginning]);
        for sequence in [1, 4, 2, 1, 3, 20, 20] {
            sequences.enter(0, &record(sequence));
        }
        assert_eq!(missing(&mut sequences), [(5, 17)]);
        let replayed = Message { replayed: Some("2026-01-31T03:00:00Z".to_owned()), ..record(18) };
        sequences.enter(0, &replayed);
        sequences.enter(0, &record(30));
        assert_eq!(missing(&mut sequences), [(19, 19), (21, 27)]);
    }

    #[test]
    fn gap_records_explain_numbers() {
        let mut sequences = of(&[Start::Beginning]);
        sequences.enter(0, &gap(1, "dropped-old", Some((3, 8))));
        sequences.enter(0, &record(10));
        sequences.enter(0, &gap(15, "low-priority", Some((11, 15))));
        sequences.enter(0, &record(40));
        assert_eq!(missing(&mut sequences), [(2, 2), (9, 9), (16, 33)]);
        sequences.enter(0, &gap(STRIDE + 1, "damage", None));
        sequences.enter(0, &record(STRIDE + 9));
        assert_eq!(missing(&mut sequences), [(34, 39), (STRIDE, STRIDE), (STRIDE + 2, STRIDE + 2)]);
    }

    #[test]
    fn what_may_lie_before_the_beginning_is_not_missing() {
        let mut sequences = of(&[Start::Middle, Start::Beginning]);
        sequences.enter(1, &record(100));
        sequences.enter(1, &record(150));
        assert_eq!(missing(&mut sequences), [], "the other partition has shown nothing");
        assert!(sequences.unseen().iter().all(|unseen| unseen.reason == Reason::MayLieBefore));
        sequences.enter(0, &record(110));
        sequences.enter(0, &record(151));
        assert_eq!(missing(&mut sequences), [(114, 147)]);
    }

    #[test]
    fn an_epoch_ends_when_the_next_one_is_under_way() {
        let mut sequences = of(&[Start::Beginning]);
        let event = || Event::User(UserEvent::default().into());
        sequences.enter(0, &record(1));
        sequences.enter(0, &record(3));
        sequences.enter(0, &message(0x201, 9, event()));
        assert_eq!(missing(&mut sequences), [(1, 6)], "that is another slot");
        sequences.enter(0, &message(0x200, 1, event()));
        assert_eq!(missing(&mut sequences), []);
        sequences.enter(0, &message(0x200, 2, event()));
        assert_eq!(missing(&mut sequences), [(2, 2)]);
    }

    #[test]
    fn memory_has_limits_and_what_is_beyond_is_told() {
        let mut sequences = of(&[Start::Beginning; 2]);
        for sequence in 1..=500 {
            sequences.enter(0, &record(sequence * 2));
        }
        assert_eq!((sequences.unseen().len(), sequences.unjudged()), (100, 400));
        for epoch in 2..9 {
            sequences.enter(0, &message(epoch << 8, 1, Event::User(UserEvent::default().into())));
        }
        assert_eq!(sequences.nodes["n"].len(), 3);
        sequences.enter(0, &record(1));
        assert_eq!(sequences.unjudged(), 501, "an epoch that was forgotten does not begin anew");
    }

    proptest! {
        /// An agent with three records in flight, two partitions, and a consumer that reads them in any order: exactly what was lost is found.
        #[test]
        fn exactly_what_was_lost_is_missing(
            lost in prop::collection::btree_set(1..200_u64, 0..20),
            places in prop::collection::vec(0..2_usize, 220),
            delays in prop::collection::vec(0..3_u64, 220),
            turns in prop::collection::vec(any::<bool>(), 400),
        ) {
            let mut appended: Vec<(u64, u64)> =
                (1..=220).filter(|number| !lost.contains(number)).map(|number| (number + delays[number as usize - 1], number)).collect();
            appended.sort_unstable();
            let mut partitions = [VecDeque::new(), VecDeque::new()];
            for (_, number) in appended {
                partitions[places[number as usize - 1]].push_back(number);
            }
            let mut sequences = of(&[Start::Beginning; 2]);
            let mut found = Vec::new();
            let mut turns = turns.into_iter().cycle();
            while partitions.iter().any(|partition| !partition.is_empty()) {
                let partition = usize::from(turns.next().unwrap());
                let partition = if partitions[partition].is_empty() { 1 - partition } else { partition };
                sequences.enter(partition, &record(partitions[partition].pop_front().unwrap()));
                found.extend(missing(&mut sequences));
            }
            (0..2).for_each(|partition| sequences.at_end(partition));
            found.extend(missing(&mut sequences));
            let found: Vec<u64> = found.into_iter().flat_map(|(from, to)| from..=to).collect();
            let lost: Vec<u64> = lost.into_iter().collect();
            prop_assert_eq!(found, lost);
        }
    }
}
