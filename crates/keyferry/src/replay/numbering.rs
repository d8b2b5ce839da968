//! Which number each record had, worked out from the journal.
//!
//! The invariant: **no record is sent again under another number than it had.** Numbers are counted from where they are known: from 1 at the beginning of
//! an epoch, and from what the agent wrote down at the borders of segments. Where a count does not meet the next known number (the
//! configuration was another one then, say), the replay ends before anything is sent.

use keyferry_config::Destination;
use keyferry_event::{Filter, Topics};
use keyferry_journal::event::EventView;
use keyferry_journal::{Epoch, EventKind, Item, Outcome, Place, Resume};
use keyferry_pipeline::{InDoubt, STRIDE};

use crate::error::Error;
use crate::shipment;

/// A point in the journal and the number of the first record after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Border {
    /// The point.
    pub resume: Resume,
    /// The number.
    pub next_sequence: u64,
}

/// What decides which events have numbers.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The topics of the destination.
    pub topics: Topics,
    /// Which events pass.
    pub filter: Filter,
    /// What becomes of events in doubt.
    pub in_doubt: InDoubt,
    /// Whether gap records are sent, which take numbers too.
    pub gap_records: bool,
}

/// Counts numbers along the items of a slot.
#[derive(Debug)]
pub struct Numbering<'a> {
    rules: &'a Rules,
    /// Those not met yet.
    borders: &'a [Border],
    epoch: Option<Epoch>,
    next: Option<u64>,
}

/// A place in a slot that orders points.
pub fn place(resume: &Resume) -> (Epoch, Place, u64, Option<Place>) {
    (resume.epoch, resume.head, resume.commit, resume.in_doubt)
}

impl<'a> Numbering<'a> {
    /// Counts by `rules` from the beginning of a slot, past `borders`, which are in the order of the journal.
    pub fn new(rules: &'a Rules, borders: &'a [Border]) -> Self {
        Self { rules, borders, epoch: None, next: None }
    }

    /// The number of the first record of the item that leads to `after`; `None` if it is not known. The epochs `whole` are there from their beginning.
    ///
    /// # Errors
    /// The count does not meet a known number.
    pub fn enter(&mut self, after: &Resume, whole: &[Epoch]) -> Result<Option<u64>, Error> {
        let epoch = after.epoch;
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.next = whole.contains(&epoch).then_some(1);
        }
        self.meet(|border| place(&border.resume) < place(after))?;
        Ok(self.next)
    }

    /// Ends the count at `end`.
    ///
    /// # Errors
    /// The count does not meet a known number.
    pub fn end(&mut self, end: &Resume) -> Result<(), Error> {
        self.meet(|border| place(&border.resume) <= place(end))
    }

    /// Compares the count with the borders that `are_passed`.
    fn meet(&mut self, are_passed: impl Fn(&Border) -> bool) -> Result<(), Error> {
        while let Some((border, rest)) = self.borders.split_first().filter(|(border, _)| are_passed(border)) {
            self.borders = rest;
            if Some(border.resume.epoch) != self.epoch {
                continue;
            }
            match self.next {
                // Numbers began anew here: it was not known which had been used.
                Some(counted) if border.next_sequence / STRIDE > counted / STRIDE => {
                    self.next = Some(border.next_sequence);
                }
                Some(counted) if counted != border.next_sequence => {
                    let (epoch, known) = (border.resume.epoch, border.next_sequence);
                    return Err(Error::Numbers { epoch, counted, known });
                }
                _ => self.next = Some(border.next_sequence),
            }
        }
        Ok(())
    }

    /// Passes an item with `numbers` records.
    pub fn pass(&mut self, numbers: u64) {
        self.next = self.next.map(|next| next + numbers);
    }

    /// How many numbers `item` takes.
    ///
    /// # Errors
    /// An event of it is malformed.
    pub fn numbers(&self, item: &Item<'_>) -> Result<u64, keyferry_journal::Error> {
        let Self { rules, .. } = self;
        let both =
            || u64::from(rules.topics.events.is_some()) + u64::from(rules.topics.admin_events.is_some());
        match item {
            Item::Transaction(transaction) if rules.publishes(transaction.outcome) => {
                let mut numbers = 0;
                for event in transaction.events() {
                    numbers += u64::from(rules.counts(&event?));
                }
                Ok(numbers)
            }
            Item::Transaction(transaction) if rules.tells_of(transaction.outcome) => {
                let mut kinds = [false; 2];
                for event in transaction.events() {
                    kinds[usize::from(event?.kind() == EventKind::Admin)] = true;
                }
                let [user_events, admin_events] = kinds;
                Ok(u64::from(user_events && rules.topics.events.is_some())
                    + u64::from(admin_events && rules.topics.admin_events.is_some()))
            }
            Item::Gap(gap) if rules.gap_records => {
                Ok(u64::from(gap.user_events > 0 && rules.topics.events.is_some())
                    + u64::from(gap.admin_events > 0 && rules.topics.admin_events.is_some()))
            }
            Item::Damage(_)
            | Item::MissingSegments { .. }
            | Item::MissingCommits { .. }
            | Item::LostTransaction { .. }
                if rules.gap_records =>
            {
                Ok(both())
            }
            _ => Ok(0),
        }
    }
}

impl Rules {
    /// Those by which records of `destination` are numbered.
    pub fn of(destination: &Destination) -> Self {
        Self {
            topics: shipment::topics(destination),
            filter: shipment::content(destination).filter,
            in_doubt: shipment::in_doubt(destination),
            gap_records: destination.gap_records,
        }
    }

    /// Whether `event` has a record, and so a number, if its transaction is published.
    pub fn counts(&self, event: &EventView<'_>) -> bool {
        self.topics.of(event.kind()).is_some() && self.filter.passes(event)
    }

    /// Whether events of transactions with this outcome are published.
    pub fn publishes(&self, outcome: Outcome) -> bool {
        outcome == Outcome::Committed || self.in_doubt == InDoubt::Publish
    }

    /// Whether a gap record tells of such a transaction in its place.
    fn tells_of(&self, outcome: Outcome) -> bool {
        outcome == Outcome::Unknown && self.in_doubt == InDoubt::Drop && self.gap_records
    }
}
