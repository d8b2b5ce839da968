//! What has been sent and has no outcome yet.
//!
//! The invariant: **progress is a transaction all of whose records, and all of whose predecessors' records, have been settled.**
//! Outcomes arrive in any order (each partition has its own); progress is made in the order of sending only, so the
//! checkpoint can never run ahead of an acknowledgement.
//!
//! A pure data structure: no clock, no input or output. Its size is bounded by the credit that it was given, in bytes and in records, whatever
//! the destination does.

use std::collections::VecDeque;
use std::fmt;

use keyferry_event::Token;
use keyferry_journal::{Epoch, Resume};

use crate::meter::Measured;

/// How far a destination has got: everything up to `resume` is settled, and the next record of its epoch gets the number `next_sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The point in the journal.
    pub resume: Resume,
    /// The number of the next record in this epoch.
    pub next_sequence: u64,
}

impl Progress {
    /// Whether this is less far than `other`.
    pub fn is_before(&self, other: &Self) -> bool {
        let place = |progress: &Self| (progress.resume.epoch, progress.resume.head, progress.next_sequence);
        place(self) < place(other)
    }
}

/// What may be in flight at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Bytes: keys, values and headers, and [`RECORD_OVERHEAD`] a record.
    pub bytes: usize,
    /// Records.
    pub records: usize,
}

/// What a record costs beyond its own bytes, in bytes: the client's message structure and those of its headers.
pub const RECORD_OVERHEAD: usize = 1024;

/// The records in flight, in the order in which they were sent.
#[derive(Debug)]
pub struct InFlight {
    credit: Credit,
    /// The token of the oldest record that is not settled, or the next one's if all are.
    first: u64,
    records: VecDeque<Entry>,
    bytes: usize,
    /// Ends of transactions: reached when every token below is settled.
    ends: VecDeque<End>,
}

/// Names a record for good, whichever token it travels under, and also where damage between two readings of the journal has given its number to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// The epoch of its event.
    pub epoch: Epoch,
    /// Its number in the epoch and destination.
    pub sequence: u64,
    /// What it is made of.
    pub origin: Origin,
}

/// What a record is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// An event.
    Event {
        /// The id of its transaction in the epoch.
        transaction: u64,
        /// Its place in the transaction, from 0.
        index: u32,
    },
    /// A gap.
    Gap,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::Event { transaction, index } => write!(f, "{}-{transaction}-{index}", self.epoch),
            Origin::Gap => write!(f, "{}-gap-{}", self.epoch, self.sequence),
        }
    }
}

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// An event, and what is measured of it.
    Event(Measured),
    /// Word of events that are missing.
    Gap,
    /// A record that was refused for good, on its way to the dead-letter topic.
    DeadLetter,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: RecordId,
    content: Content,
    sent_ms: u64,
    /// Of the credit, in bytes. No record has 4 GiB: the journal writes lengths in 32 bits.
    cost: u32,
    settled: bool,
}

/// A record that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// What it carries.
    pub content: Content,
    /// When it was sent, in monotonic milliseconds.
    pub sent_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct End {
    below: u64,
    progress: Progress,
    written_ms: u64,
}

impl InFlight {
    /// Nothing in flight yet.
    pub fn new(credit: Credit) -> Self {
        Self { credit, first: 0, records: VecDeque::new(), bytes: 0, ends: VecDeque::new() }
    }

    /// Whether another record may be sent. The first one always may, however large it is.
    pub fn has_credit(&self) -> bool {
        self.is_within(self.credit)
    }

    /// Whether another record may be sent where no more than `credit` may be in flight.
    pub fn is_within(&self, credit: Credit) -> bool {
        self.records.len() < credit.records && self.bytes < credit.bytes
    }

    /// Lets so much be in flight from now on. What is in flight stays.
    pub fn set_credit(&mut self, credit: Credit) {
        self.credit = credit;
    }

    /// Whether everything sent is settled.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Records sent and not settled, or settled behind one that is not.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// What they cost of the credit, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest of them was sent, in monotonic milliseconds.
    pub fn oldest_sent_ms(&self) -> Option<u64> {
        self.records.front().map(|entry| entry.sent_ms)
    }

    /// The token of the next record.
    pub fn next_token(&self) -> Token {
        Token(self.first + self.records.len() as u64)
    }

    /// Notes that the record `id` of `size` bytes was sent with [`InFlight::next_token`] at `now_ms` of the monotonic clock.
    #[inline]
    pub fn sent(&mut self, id: RecordId, content: Content, size: usize, now_ms: u64) {
        let cost = u32::try_from(size + RECORD_OVERHEAD).unwrap_or(u32::MAX);
        self.bytes += cost as usize;
        self.records.push_back(Entry { id, content, cost, sent_ms: now_ms, settled: false });
    }

    /// Which record travels under `token`, if it is in flight.
    pub fn record(&self, token: Token) -> Option<RecordId> {
        let index = token.0.checked_sub(self.first)?;
        self.records.get(usize::try_from(index).ok()?).map(|entry| entry.id)
    }

    /// Notes that all records of a transaction are sent: once they are settled, `progress` is reached. `written_ms` is when the journal got it.
    #[inline]
    pub fn transaction_sent(&mut self, progress: Progress, written_ms: u64) {
        let below = self.next_token().0;
        match self.ends.back_mut() {
            // Nothing was sent since: one end does for both, with the age of the earlier.
            Some(end) if end.below == below => end.progress = progress,
            _ => self.ends.push_back(End { below, progress, written_ms }),
        }
    }

    /// Whether every record with a token below `token` is settled.
    pub fn is_settled_below(&self, token: Token) -> bool {
        self.first >= token.0
    }

    /// Notes that the record of `token` is acknowledged, and answers what is known of it.
    ///
    /// # Panics
    /// If the token is not in flight: the sink has reported an outcome twice, and no checkpoint could be trusted any more.
    #[inline]
    pub fn settle(&mut self, token: Token) -> Settled {
        let index = token.0.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        // Mostly it is the oldest.
        if index == Some(0)
            && let Some(entry) = self.records.pop_front()
        {
            self.leave_behind(&entry);
            while let Some(entry) = self.records.pop_front_if(|entry| entry.settled) {
                self.leave_behind(&entry);
            }
            return Settled { content: entry.content, sent_ms: entry.sent_ms };
        }
        let entry = index.and_then(|index| self.records.get_mut(index)).filter(|entry| !entry.settled);
        let Some(entry) = entry else { panic!("{token:?} is not in flight") };
        entry.settled = true;
        Settled { content: entry.content, sent_ms: entry.sent_ms }
    }

    /// The oldest record is `entry` no longer.
    fn leave_behind(&mut self, entry: &Entry) {
        self.bytes -= entry.cost as usize;
        self.first += 1;
    }

    /// Takes the furthest progress that has been reached, if there is any since the last call.
    pub fn take_progress(&mut self) -> Option<Progress> {
        let reached = self.ends.partition_point(|end| end.below <= self.first);
        let last = self.ends.drain(..reached).next_back()?;
        Some(last.progress)
    }

    /// When the journal got the oldest transaction that has not been settled as a whole, milliseconds since the Unix epoch.
    pub fn oldest_written_ms(&self) -> Option<u64> {
        self.ends.iter().find(|end| end.below > self.first).map(|end| end.written_ms)
    }

    /// Forgets everything in flight: the sink was reset and will report nothing of it. Tokens are not used again.
    pub fn forget(&mut self) {
        self.first = self.next_token().0;
        self.records.clear();
        self.ends.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use keyferry_journal::Place;

    use super::*;

    const EPOCH: Epoch = Epoch(0x100);

    fn progress(commit: u64) -> Progress {
        let place = Place { segment: 0, offset: commit * 64 };
        Progress {
            resume: Resume { epoch: EPOCH, from: place, head: place, commit, in_doubt: None },
            next_sequence: commit + 1,
        }
    }

    fn id(sequence: u64) -> RecordId {
        RecordId { epoch: EPOCH, sequence, origin: Origin::Event { transaction: sequence, index: 0 } }
    }

    /// Sends `transactions` of one record each.
    fn sent(transactions: u64) -> (InFlight, Vec<Token>) {
        let mut in_flight = InFlight::new(Credit { bytes: 10_000, records: 4 });
        let tokens = (1..=transactions).map(|commit| {
            let token = in_flight.next_token();
            in_flight.sent(id(commit), Content::Event(Measured::default()), 100, 0);
            in_flight.transaction_sent(progress(commit), commit * 1_000);
            token
        });
        let tokens = tokens.collect();
        (in_flight, tokens)
    }

    #[test]
    fn progress_waits_for_every_predecessor() {
        let (mut in_flight, tokens) = sent(3);
        in_flight.settle(tokens[2]);
        in_flight.settle(tokens[1]);
        assert_eq!(in_flight.take_progress(), None, "the first record has no outcome yet");
        assert_eq!(in_flight.oldest_written_ms(), Some(1_000));
        in_flight.settle(tokens[0]);
        assert_eq!(in_flight.take_progress(), Some(progress(3)));
        assert_eq!(in_flight.take_progress(), None, "progress is made once");
        assert!(in_flight.is_empty());
        assert_eq!(in_flight.oldest_written_ms(), None);
    }

    #[test]
    fn a_transaction_is_reached_with_its_last_record() {
        let (mut in_flight, mut tokens) = sent(1);
        for sequence in [2, 3] {
            tokens.push(in_flight.next_token());
            in_flight.sent(id(sequence), Content::Event(Measured::default()), 100, 0);
        }
        in_flight.transaction_sent(progress(3), 2_000);
        in_flight.settle(tokens[0]);
        in_flight.settle(tokens[1]);
        assert_eq!(in_flight.take_progress(), Some(progress(1)));
        assert_eq!(in_flight.take_progress(), None);
        in_flight.settle(tokens[2]);
        assert_eq!(in_flight.take_progress(), Some(progress(3)));
    }

    #[test]
    fn a_transaction_without_records_is_reached_with_its_predecessor() {
        let (mut in_flight, tokens) = sent(1);
        in_flight.transaction_sent(progress(2), 2_000);
        assert_eq!(in_flight.take_progress(), None);
        in_flight.settle(tokens[0]);
        assert_eq!(in_flight.take_progress(), Some(progress(2)));
        in_flight.transaction_sent(progress(3), 3_000);
        assert_eq!(
            in_flight.take_progress(),
            Some(progress(3)),
            "with nothing in flight it is reached at once"
        );
    }

    #[test]
    fn credit_runs_out_in_records_and_in_bytes() {
        let (in_flight, _) = sent(4);
        assert!(!in_flight.has_credit());
        let mut large = InFlight::new(Credit { bytes: 10_000, records: 4 });
        assert!(large.has_credit());
        large.sent(id(1), Content::Event(Measured::default()), 20_000, 0);
        assert!(!large.has_credit());
        large.settle(Token(0));
        assert!(large.has_credit(), "credit comes back with the outcome");
    }

    #[test]
    fn what_is_forgotten_is_not_reached_and_its_tokens_do_not_return() {
        let (mut in_flight, tokens) = sent(2);
        in_flight.forget();
        assert!(in_flight.is_empty() && in_flight.has_credit());
        assert_eq!(in_flight.take_progress(), None);
        assert!(in_flight.next_token() > tokens[1]);
    }

    #[test]
    #[should_panic(expected = "is not in flight")]
    fn a_second_outcome_is_a_fault_of_the_sink() {
        let (mut in_flight, tokens) = sent(2);
        in_flight.settle(tokens[1]);
        in_flight.settle(tokens[1]);
    }
}
