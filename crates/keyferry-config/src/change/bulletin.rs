//! The records of the topic for all nodes: what is announced, and what each node reports.
//!
//! The invariant: **whatever lies in the topic, nobody falls over it.** A record that is of another form, of a later release or nobody's is an error to be told, and the one behind it is read.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::change::shared::{Announcement, Decision};

/// The form of the records. A release that could be misunderstood by this one has another number.
const FORM: u32 = 1;
/// The key of what is announced.
const CHANGE: &str = "change";
/// The key of a node's report begins with this.
const NODE: &str = "node/";

/// What a node runs, and what became of the last change that was for all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The node.
    pub node: String,
    /// The release of its agent.
    pub agent: String,
    /// When it was written, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The version that runs there.
    pub version: u64,
    /// Its hash.
    pub hash: String,
    /// Stands for what all nodes are to have, as far as it has decided on it.
    pub shared: String,
    /// The last change that was for all nodes and was decided on.
    pub decision: Option<Decision>,
    /// The keys of which it has not what all are to have.
    pub differs: Vec<String>,
}

impl Report {
    /// Whether it says something else than `other`, whenever it was written.
    pub fn differs_from(&self, other: &Self) -> bool {
        *self != Self { time_ms: self.time_ms, ..other.clone() }
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// What all nodes are to have.
    Announcement(Announcement),
    /// What a node runs.
    Report(Report),
    /// Of this node nothing is known any more.
    Forgotten(String),
}

/// Why a record says nothing.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// Nobody knows what it is for.
    #[error("its key {0:?} is none of Keyferry's: this topic must be for nothing else")]
    Key(String),
    /// It is empty.
    #[error("it is empty: what was announced before still holds")]
    Empty,
    /// It was written by another release.
    #[error("its form is {0}, and this agent understands form {FORM}: run the same release on all nodes")]
    Form(u32),
    /// It is not what its key says.
    #[error("it cannot be understood: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It does not tell where a value comes from.
    #[error("it does not tell which change has set {0}")]
    Orphan(String),
}

/// With the number of its form.
#[derive(Serialize)]
struct Formed<'a, T> {
    format: u32,
    #[serde(flatten)]
    content: &'a T,
}

/// The number alone.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

/// What the record with this key and value says.
///
/// # Errors
/// It says nothing to this release.
pub fn hear(key: &[u8], value: &[u8]) -> Result<Heard, Unreadable> {
    let key = String::from_utf8_lossy(key);
    match key.strip_prefix(NODE) {
        Some(node) if value.is_empty() => Ok(Heard::Forgotten(node.to_owned())),
        Some(node) => Ok(Heard::Report(Report { node: node.to_owned(), ..read(value)? })),
        None if key != CHANGE => Err(Unreadable::Key(key.into_owned())),
        None if value.is_empty() => Err(Unreadable::Empty),
        None => {
            let announcement: Announcement = read(value)?;
            match announcement.orphan() {
                Some(key) => Err(Unreadable::Orphan(key.to_owned())),
                None => Ok(Heard::Announcement(announcement)),
            }
        }
    }
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, Unreadable> {
    match serde_json::from_slice(value)? {
        Form { format: FORM } => Ok(serde_json::from_slice(value)?),
        Form { format } => Err(Unreadable::Form(format)),
    }
}

/// Key and value of a record.
pub type Written = (String, Vec<u8>);

impl Announcement {
    /// The record that it is.
    ///
    /// # Errors
    /// Those of serialising.
    pub fn written(&self) -> Result<Written, serde_json::Error> {
        Ok((CHANGE.to_owned(), written(self)?))
    }
}

impl Report {
    /// The record that it is.
    ///
    /// # Errors
    /// Those of serialising.
    pub fn written(&self) -> Result<Written, serde_json::Error> {
        Ok((format!("{NODE}{}", self.node), written(self)?))
    }
}

fn written<T: Serialize>(content: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Formed { format: FORM, content })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::change::shared::{Outcome, SharedValues};

    fn report() -> Report {
        Report {
            node: "a".to_owned(),
            agent: "0.1.0".to_owned(),
            time_ms: 1,
            version: 3,
            hash: "abc".to_owned(),
            shared: "def".to_owned(),
            decision: Some(Decision {
                change: "c".to_owned(),
                outcome: Outcome::TakenBack,
                reason: Some("the breaker of slot-0 to default has opened".to_owned()),
            }),
            differs: vec!["log.level".to_owned()],
        }
    }

    fn announcement() -> Announcement {
        let values = BTreeMap::from([("log.level".to_owned(), Some("debug".to_owned()))]);
        SharedValues::default().announce(&values, "ada", "a", 1)
    }

    #[test]
    fn what_is_written_is_heard() {
        let (key, value) = report().written().unwrap();
        assert_eq!(hear(key.as_bytes(), &value).unwrap(), Heard::Report(report()));
        assert_eq!(hear(key.as_bytes(), b"").unwrap(), Heard::Forgotten("a".to_owned()));
        let (key, value) = announcement().written().unwrap();
        assert_eq!(hear(key.as_bytes(), &value).unwrap(), Heard::Announcement(announcement()));
        assert!(report().differs_from(&Report { version: 4, ..report() }));
        assert!(!report().differs_from(&Report { time_ms: 4, ..report() }));
    }

    #[test]
    fn what_cannot_be_understood_is_told() {
        let (_, sound) = announcement().written().unwrap();
        let sound = String::from_utf8(sound).unwrap();
        let later = sound.replacen("\"format\":1", "\"format\":2", 1);
        let orphan = sound.replacen("\"change\":\"", "\"change\":\"x", 1);
        for (key, value, told) in [
            ("change", "", "still holds"),
            ("change", "{", "cannot be understood"),
            ("change", "{}", "format"),
            ("change", later.as_str(), "form is 2"),
            ("change", orphan.as_str(), "which change has set log.level"),
            ("node/a", "[]", "cannot be understood"),
            ("user-1", "{}", "none of Keyferry's"),
        ] {
            let error = hear(key.as_bytes(), value.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(told), "{key} {value}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_that_lies_there_makes_anybody_fall_over(
            key in prop_oneof![Just("change".to_owned()), Just("node/a".to_owned()), ".*"],
            value in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..64),
                (0..400_usize, any::<u8>()).prop_map(|(at, byte)| {
                    let (_, mut value) = announcement().written().unwrap_or_default();
                    let at = at % value.len();
                    value[at] = byte;
                    value
                }),
            ],
        ) {
            if let Ok(Heard::Announcement(announcement)) = hear(key.as_bytes(), &value) {
                let mut shared = SharedValues::default();
                shared.take(announcement);
                prop_assert!(shared.newest_change().is_some() || shared.values().is_empty());
            }
        }
    }
}
