//! What must hold, told from what Keycloak's clients and Kafka's consumers see.

use std::collections::{BTreeMap, BTreeSet};

use crate::kafka::Consumed;

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

/// An event as the oracle knows it.
#[derive(Clone, Debug)]
struct Event {
    epoch: String,
    key: String,
    fate: Fate,
    /// Where in its epoch it has to stand: committed ones by the order of their COMMITs, then those in doubt by the order of their first PREPARE.
    rank: (u8, u64, u64),
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// An event of a committed transaction is nowhere.
    #[error("lost: {0} was committed and is neither in Kafka nor among the dead letters")]
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
    #[error("in epoch {0}, {1} has number {2}, but {3} belongs there")]
    WrongOrder(String, String, u64, String),
    /// A consumer sees a key's events in a wrong order.
    #[error("of key {0}, {1} is seen after {2}")]
    KeyOutOfOrder(String, String, String),
    /// Delivery did not come to an end after the last fault.
    #[error("{0} ms after the last fault not everything is delivered")]
    NotLive(u64),
    /// More is under way than the credit allows.
    #[error("{0} records are under way")]
    Unbounded(usize),
    /// The pipeline ended in an error.
    #[error("the pipeline failed: {0}")]
    Failed(String),
}

/// What the clients know.
#[derive(Debug, Default)]
pub struct Oracle {
    events: BTreeMap<String, Event>,
    commits: u64,
    prepares: u64,
}

impl Oracle {
    /// An event was raised in `transaction`, the first PREPARE of which is the `prepare`-th.
    pub fn raised(&mut self, id: String, epoch: String, key: String, prepare: u64) {
        let rank = (1, prepare, self.events.len() as u64);
        self.events.insert(id, Event { epoch, key, fate: Fate::Open, rank });
    }

    /// The ordinal of the next transaction's first PREPARE.
    pub fn next_prepare(&mut self) -> u64 {
        self.prepares += 1;
        self.prepares
    }

    /// The outcome of a transaction is known.
    pub fn settled(&mut self, ids: &[String], fate: Fate) {
        self.commits += 1;
        for id in ids {
            if let Some(event) = self.events.get_mut(id) {
                event.fate = fate;
                if fate == Fate::Committed {
                    event.rank = (0, self.commits, event.rank.2);
                }
            }
        }
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Compares what the clients know with what the consumers see.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn judge(&self, logs: &[Vec<Consumed>], dead_letters: &[Consumed]) -> Result<(), Violation> {
        let numbers = self.check_copies(logs.iter().flatten().chain(dead_letters))?;
        self.check_nothing_lost(&numbers)?;
        self.check_numbers(&numbers)?;
        logs.iter().try_for_each(|log| self.check_keys(log))
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
            let expected = match event.fate {
                Fate::Committed => "committed",
                Fate::InDoubt => "unknown",
                Fate::Aborted | Fate::Open => return Err(invented()),
            };
            if copy.outcome != expected || copy.epoch != event.epoch || copy.key != event.key {
                return Err(Violation::WrongOutcome(copy.id.clone(), copy.outcome.clone(), event.fate));
            }
            let number = *numbers.entry(copy.id.as_str()).or_insert(copy.sequence);
            if number != copy.sequence {
                return Err(Violation::CopiesDiffer(copy.id.clone(), number, copy.sequence));
            }
        }
        Ok(numbers)
    }

    fn check_nothing_lost(&self, numbers: &BTreeMap<&str, u64>) -> Result<(), Violation> {
        for (id, event) in &self.events {
            match event.fate {
                Fate::Committed if !numbers.contains_key(id.as_str()) => {
                    return Err(Violation::Lost(id.clone()));
                }
                Fate::InDoubt if !numbers.contains_key(id.as_str()) => {
                    return Err(Violation::LostInDoubt(id.clone()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The numbers of an epoch are 1, 2, 3, … in the order of the COMMITs.
    fn check_numbers(&self, numbers: &BTreeMap<&str, u64>) -> Result<(), Violation> {
        let mut epochs: BTreeMap<&str, Vec<(&Event, &str, u64)>> = BTreeMap::new();
        for (id, number) in numbers {
            let event = &self.events[*id];
            epochs.entry(&event.epoch).or_default().push((event, id, *number));
        }
        for (epoch, mut events) in epochs {
            let mut by_number: BTreeMap<u64, &str> = BTreeMap::new();
            for (_, id, number) in &events {
                if let Some(other) = by_number.insert(*number, id) {
                    return Err(Violation::NumberReused(
                        epoch.to_owned(),
                        *number,
                        other.to_owned(),
                        (*id).to_owned(),
                    ));
                }
            }
            events.sort_by_key(|(event, _, _)| event.rank);
            for (expected, (_, id, number)) in (1..).zip(&events) {
                let Some(there) = by_number.get(&expected) else {
                    return Err(Violation::NumberMissing(epoch.to_owned(), expected));
                };
                if *number != expected {
                    return Err(Violation::WrongOrder(
                        epoch.to_owned(),
                        (*id).to_owned(),
                        *number,
                        (*there).to_owned(),
                    ));
                }
            }
        }
        Ok(())
    }

    /// The first copies of a key's events stand in their order.
    fn check_keys(&self, log: &[Consumed]) -> Result<(), Violation> {
        let mut seen = BTreeSet::new();
        let mut last: BTreeMap<&str, &Consumed> = BTreeMap::new();
        for copy in log.iter().filter(|copy| seen.insert(&copy.id)) {
            if let Some(before) = last.insert(&copy.key, copy)
                && (&before.epoch, before.sequence) > (&copy.epoch, copy.sequence)
            {
                return Err(Violation::KeyOutOfOrder(copy.key.clone(), copy.id.clone(), before.id.clone()));
            }
        }
        Ok(())
    }
}
