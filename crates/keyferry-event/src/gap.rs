//! Gap records: word, in the stream itself, of events that are missing from it.
//!
//! The invariant: **a gap record takes a number of its epoch like any record**, so that numbers stay contiguous and a consumer that counts them
//! sees either the event or the word of its absence. What it says is a function of the journal, or is kept beside the checkpoint, so that it
//! is sent again with the same id and the same value. But for one: [`GapReason::LowPriority`] takes no number of its own, but that of the last event that it tells of, which may
//! yet arrive under it.

use std::ops::Range;

use keyferry_journal::{Epoch, EventKind};
use serde::{Deserialize, Serialize};

/// The `ce_type` of a gap record.
pub const GAP_TYPE: &str = "org.keyferry.gap";

/// Why events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// The provider found no space on the device.
    NoSpace,
    /// The provider had reached the journal's ceiling.
    Ceiling,
    /// The provider met an input/output error.
    IoError,
    /// An event was larger than a record of the journal.
    TooLarge,
    /// Bytes of the journal, or the checkpoint, cannot be read.
    Damage,
    /// Segments of the journal are not there.
    MissingSegments,
    /// Numbers of transactions are missing in the journal.
    MissingCommits,
    /// A committed transaction whose events cannot be read.
    LostTransaction,
    /// The agent gave up the oldest events at the journal's ceiling.
    DroppedOld,
    /// Events in doubt were dropped, as configured.
    InDoubtDropped,
    /// Events of low priority were passed over because delivery lags behind, as configured. The record has the number of the last of them.
    LowPriority,
}

/// A range of numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// What a gap record says. Its JSON is the record's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "KEYFERRY_GAP", rename_all = "camelCase")]
pub struct Gap {
    /// Why events are missing.
    #[serde(rename = "cause")]
    pub reason: GapReason,
    /// The Keycloak node; empty if it is not known.
    pub node: String,
    /// The epoch in whose numbers the record counts.
    #[serde(with = "epoch_text")]
    pub epoch: Epoch,
    /// How many user events are missing; `None` if that is not known.
    pub user_events: Option<u64>,
    /// How many admin events are missing; `None` if that is not known.
    pub admin_events: Option<u64>,
    /// Time of the first, in milliseconds since the Unix epoch.
    pub first_time: Option<u64>,
    /// Time of the last, in milliseconds since the Unix epoch.
    pub last_time: Option<u64>,
    /// The transactions that are missing, by their numbers in the epoch.
    pub commits: Option<Span>,
    /// Record numbers of the epoch that may never appear.
    pub sequences: Option<Span>,
    /// The same for people.
    pub detail: String,
}

impl Gap {
    /// A gap of which nothing is known but where it is and why.
    pub fn new(reason: GapReason, epoch: Epoch, node: &str, detail: String) -> Self {
        Self {
            reason,
            node: node.to_owned(),
            epoch,
            user_events: None,
            admin_events: None,
            first_time: None,
            last_time: None,
            commits: None,
            sequences: None,
            detail,
        }
    }

    /// Whether events of `kind` may be missing.
    pub fn may_concern(&self, kind: EventKind) -> bool {
        let count = match kind {
            EventKind::User => self.user_events,
            EventKind::Admin => self.admin_events,
        };
        count != Some(0)
    }

    /// The record's key: the node, or the epoch where no node is known, because a key is never empty.
    pub(crate) fn write_key(&self, arena: &mut Vec<u8>) -> Range<usize> {
        let start = arena.len();
        if self.node.is_empty() {
            arena.extend_from_slice(self.epoch.to_string().as_bytes());
        } else {
            arena.extend_from_slice(self.node.as_bytes());
        }
        start..arena.len()
    }

    /// Writes the record's value.
    pub(crate) fn write_value(&self, value: &mut Vec<u8>) {
        // Strings, numbers and a Vec: neither serialising nor writing can fail.
        let _ = serde_json::to_writer(value, self);
    }
}

/// An epoch as its 16 digits.
mod epoch_text {
    use keyferry_journal::Epoch;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(epoch)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Epoch, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
