//! A journal that is written here instead of by Keycloak, and what its writer knows: the oracle where no Keycloak is needed.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Result;
use crate::consumer::Record;
use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::slot::OwnedSlot;
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{EventKind, SegmentName, Writer};

/// How many users the events concern, unless it is said otherwise.
const USERS: u64 = 7;
/// Each how many transactions one is rolled back.
const ROLLBACKS: u64 = 10;

/// The node's name in what is written here.
pub const NODE: &str = "written-here";

/// One epoch, being written.
pub struct Journal {
    writer: Writer<OwnedSlot, fn() -> u64>,
    slot: PathBuf,
    padding: String,
    written: Written,
}

/// What was written: transactions of one event each, numbered from 1, of which every tenth is rolled back. It is as small for millions of events as for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    name: String,
    users: u64,
    transactions: u64,
}

impl Journal {
    /// Begins an epoch in the first free slot of `directory`. `name` becomes part of the events' ids.
    ///
    /// # Errors
    /// Where the slot cannot be written.
    pub fn begin(directory: &Path, name: &str, segment_size: u64) -> Result<Self> {
        let slot = OwnedSlot::claim(directory)?;
        let (path, number) = (slot.path().to_owned(), slot.number());
        let options = WriterOptions { segment_size, node: NODE.to_owned() };
        let writer = Writer::begin(slot, number, now_ms as fn() -> u64, options)?;
        Ok(Self { writer, slot: path, padding: String::new(), written: Written::named(name) })
    }

    /// Lets the events concern this many users, one after the other. Before anything is written.
    #[must_use]
    pub fn of_users(mut self, users: u64) -> Self {
        self.written.users = users;
        self
    }

    /// Makes each event this many bytes larger.
    #[must_use]
    pub fn padded(mut self, bytes: usize) -> Self {
        self.pad(bytes);
        self
    }

    /// Makes each event from now on this many bytes larger.
    pub fn pad(&mut self, bytes: usize) {
        self.padding = "x".repeat(bytes);
    }

    /// The slot's directory.
    pub fn slot(&self) -> &Path {
        &self.slot
    }

    /// The epoch as in the header `ce_epoch`.
    pub fn epoch(&self) -> String {
        self.writer.epoch().to_string()
    }

    /// The name of one of the epoch's segments, counted from 0.
    pub fn segment(&self, number: u32) -> String {
        SegmentName { epoch: self.writer.epoch(), number }.to_string()
    }

    /// Writes transactions of one event each, of which every tenth is rolled back.
    ///
    /// # Errors
    /// Where the disk does not take them.
    pub fn write(&mut self, transactions: u64) -> Result<()> {
        (0..transactions).try_for_each(|_| self.write_one())
    }

    /// Writes until the journal has about this many bytes, so many transactions at a time.
    ///
    /// # Errors
    /// Where the disk does not take them.
    pub fn write_bytes(&mut self, bytes: u64, portion: u64) -> Result<()> {
        let mut begun = 0;
        let mut segment = self.writer.segment();
        while begun + self.writer.length() < bytes {
            let full = self.writer.length();
            self.write(portion)?;
            if self.writer.segment() != segment {
                segment = self.writer.segment();
                begun += full;
            }
        }
        Ok(())
    }

    fn write_one(&mut self) -> Result<()> {
        let number = self.written.transactions + 1;
        let (id, user) = (self.written.id(number), self.written.user(number));
        let padding = &self.padding;
        let body =
            format!("{{\"id\":\"{id}\",\"type\":\"LOGIN\",\"userId\":\"{user}\",\"padding\":\"{padding}\"}}");
        let fields = [
            (Field::Id, id.as_str()),
            (Field::Type, "LOGIN"),
            (Field::RealmId, "shop"),
            (Field::UserId, user.as_str()),
        ];
        let mut events = EventEncoder::new();
        events.push(EventKind::User, now_ms(), &fields, body.as_bytes());
        let transaction = self.writer.next_transaction();
        self.writer.prepare(transaction, events.payload())?;
        if Written::is_committed(number) {
            self.writer.commit(transaction)?;
        } else {
            self.writer.abort(transaction)?;
        }
        self.written.transactions = number;
        Ok(())
    }

    /// Ends the epoch in order and gives the slot up.
    ///
    /// # Errors
    /// Where the disk does not take the last record.
    pub fn close(self) -> Result<Written> {
        self.writer.close()?;
        Ok(self.written)
    }

    /// What has been written so far.
    pub fn written(&self) -> &Written {
        &self.written
    }
}

impl Written {
    /// How many transactions there were.
    pub fn transactions(&self) -> u64 {
        self.transactions
    }

    /// Nothing yet, whose events will have ids that begin with `name`.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), users: USERS, transactions: 0 }
    }

    /// What was written by the time when there were this many transactions.
    #[must_use]
    pub fn after(self, transactions: u64) -> Self {
        Self { transactions, ..self }
    }

    /// How many events were committed.
    pub fn committed(&self) -> usize {
        usize::try_from(self.transactions - self.transactions / ROLLBACKS).unwrap_or(usize::MAX)
    }

    /// How many users the events concern.
    pub fn users(&self) -> u64 {
        self.users
    }

    /// Whether the transaction of this number was committed, and not rolled back.
    pub fn is_committed(number: u64) -> bool {
        !number.is_multiple_of(ROLLBACKS)
    }

    /// The id of the event of this number.
    pub fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }

    /// The user whom the event of this number concerns.
    pub fn user(&self, number: u64) -> String {
        format!("user-{}", number % self.users)
    }

    /// The number of an event, by its id; nothing where the event was not written here.
    pub fn number(&self, id: &str) -> Option<u64> {
        id.strip_prefix(self.name.as_str())?.strip_prefix('-')?.parse().ok()
    }

    /// What is wrong with what was published: events that are missing, invented or, for one user, out of order. In words; nothing where all is well.
    ///
    /// Copies are passed over; [`crate::audit::repetition`] judges them.
    pub fn judge(&self, records: &[Record]) -> Vec<String> {
        let published: HashSet<u64> =
            records.iter().filter_map(|record| self.number(record.header("ce_id"))).collect();
        let (committed, aborted): (Vec<u64>, Vec<u64>) =
            (1..=self.transactions).partition(|number| Self::is_committed(*number));
        let lost = committed.iter().filter(|number| !published.contains(number));
        let mut faults: Vec<String> = lost.map(|number| format!("lost: {}", self.id(*number))).collect();
        let invented = aborted.iter().filter(|number| published.contains(number));
        faults.extend(
            invented.map(|number| format!("published although it was rolled back: {}", self.id(*number))),
        );
        faults.extend(self.out_of_order(records));
        faults
    }

    fn out_of_order(&self, records: &[Record]) -> Vec<String> {
        let mut seen = HashSet::new();
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        let mut faults = Vec::new();
        for record in records {
            let Some(number) = self.number(record.header("ce_id")) else { continue };
            if seen.insert(number)
                && last.insert(number % self.users, number).is_some_and(|last| last > number)
            {
                faults.push(format!("out of order for {}: {}", self.user(number), self.id(number)));
            }
        }
        faults
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(id: &str) -> Record {
        Record {
            topic: "events".to_owned(),
            partition: 0,
            offset: 0,
            timestamp: None,
            key: None,
            headers: [("ce_id".to_owned(), id.to_owned())].into(),
            value: Vec::new(),
            json: json!({}),
        }
    }

    fn judge(numbers: &[u64]) -> Vec<String> {
        let written = Written::named("event").after(10);
        let records: Vec<Record> = numbers.iter().map(|number| record(&written.id(*number))).collect();
        written.judge(&records)
    }

    #[test]
    fn what_is_missing_invented_or_out_of_order_is_named_and_copies_are_not() {
        assert!(judge(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2]).is_empty());
        assert_eq!(judge(&[1, 3, 4, 5, 6, 7, 8, 9]), ["lost: event-2"]);
        assert_eq!(
            judge(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
            ["published although it was rolled back: event-10"]
        );
        assert_eq!(judge(&[8, 1, 2, 3, 4, 5, 6, 7, 9]), ["out of order for user-1: event-1"]);
    }
}
