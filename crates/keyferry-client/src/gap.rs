//! Gap records: word, in the stream itself, of events that are missing from it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The `type` of a gap record's value.
pub(crate) const TYPE: &str = "KEYFERRY_GAP";

/// A range of numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// Tells of events that are missing. What is not known is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GapRecord {
    /// Why, as one word, such as `no-space`, `ceiling`, `dropped-old`, `damage` or `low-priority`: a text, so that causes of a later Keyferry are no error.
    pub cause: String,
    /// The Keycloak node; empty if it is not known.
    #[serde(default)]
    pub node: String,
    /// The epoch in whose numbers the record counts, 16 hexadecimal digits.
    #[serde(default)]
    pub epoch: String,
    /// How many user events are missing.
    pub user_events: Option<u64>,
    /// How many admin events are missing.
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
    #[serde(default)]
    pub detail: String,
    /// Fields that this release does not know, and `type`.
    #[serde(flatten)]
    pub further: Map<String, Value>,
}

impl GapRecord {
    /// Whether it has the number of an event that it tells of, which may yet arrive as well.
    #[must_use]
    pub fn shares_a_number(&self) -> bool {
        self.cause == "low-priority"
    }

    /// Whether numbers begin anew where it stands, because nobody knew any more which had been used.
    #[must_use]
    pub fn renumbers(&self) -> bool {
        self.cause == "damage" && self.sequences.is_none()
    }
}
