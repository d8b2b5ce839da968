//! A journal that is written here instead of by Keycloak, and what its writer knows: the oracle where no Keycloak is needed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::slot::OwnedSlot;
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{EventKind, SegmentName, Writer};
use serde_json::json;

use crate::Result;
use crate::consumer::Record;

/// How many users the events concern.
const USERS: u64 = 7;
/// Each how many transactions one is rolled back.
const ROLLBACKS: u64 = 10;

/// The node's name in what is written here.
pub const NODE: &str = "written-here";

/// One epoch, being written.
pub struct Journal {
    writer: Writer<OwnedSlot, fn() -> u64>,
    slot: PathBuf,
    name: String,
    count: u64,
    padding: String,
    written: Written,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The ids of committed events and the users they concern, in the order of their commits.
    pub committed: Vec<(String, String)>,
    /// The ids of events that were rolled back.
    pub aborted: HashSet<String>,
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
        Ok(Self {
            writer,
            slot: path,
            name: name.to_owned(),
            count: 0,
            padding: String::new(),
            written: Written::default(),
        })
    }

    /// Makes each event this many bytes larger.
    #[must_use]
    pub fn padded(mut self, bytes: usize) -> Self {
        self.padding = "x".repeat(bytes);
        self
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
        self.count += 1;
        let id = format!("{}-{}", self.name, self.count);
        let user = format!("user-{}", self.count % USERS);
        let body = json!({ "id": id, "type": "LOGIN", "userId": user, "padding": self.padding }).to_string();
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
        if self.count.is_multiple_of(ROLLBACKS) {
            self.writer.abort(transaction)?;
            self.written.aborted.insert(id);
        } else {
            self.writer.commit(transaction)?;
            self.written.committed.push((id, user));
        }
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
    /// What is wrong with what was published: events that are missing, invented or, for one user, out of order. In words; nothing where all is well.
    ///
    /// Copies are passed over; [`crate::audit::repetition`] judges them.
    pub fn judge(&self, records: &[Record]) -> Vec<String> {
        let published: HashSet<&str> = records.iter().map(|record| record.header("ce_id")).collect();
        let lost = self.committed.iter().filter(|(id, _)| !published.contains(id.as_str()));
        let mut faults: Vec<String> = lost.map(|(id, _)| format!("lost: {id}")).collect();
        let invented = self.aborted.iter().filter(|id| published.contains(id.as_str()));
        faults.extend(invented.map(|id| format!("published although it was rolled back: {id}")));
        faults.extend(self.out_of_order(records));
        faults
    }

    fn out_of_order(&self, records: &[Record]) -> Vec<String> {
        let places: HashMap<&str, usize> =
            self.committed.iter().enumerate().map(|(place, (id, _))| (id.as_str(), place)).collect();
        let mut seen = HashSet::new();
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        let mut faults = Vec::new();
        for record in records {
            let id = record.header("ce_id");
            let (Some(place), true) = (places.get(id), seen.insert(id)) else { continue };
            let user = self.committed[*place].1.as_str();
            if last.insert(user, *place).is_some_and(|last| last > *place) {
                faults.push(format!("out of order for {user}: {id}"));
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

    fn judge(ids: &[&str]) -> Vec<String> {
        let written = Written {
            committed: ["a", "b"].map(|id| (id.to_owned(), "user".to_owned())).into(),
            aborted: ["x".to_owned()].into(),
        };
        written.judge(&ids.iter().map(|id| record(id)).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_missing_invented_or_out_of_order_is_named_and_copies_are_not() {
        assert!(judge(&["a", "b", "a", "b"]).is_empty());
        assert_eq!(judge(&["a"]), ["lost: b"]);
        assert_eq!(judge(&["a", "b", "x"]), ["published although it was rolled back: x"]);
        assert_eq!(judge(&["b", "a"]), ["out of order for user: a"]);
    }
}
