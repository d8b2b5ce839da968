//! What becomes of each record: decoded, compared with what has come before, and passed on if it is asked for.
//!
//! The invariant: **a filter hides events and nothing else.** Copies are recognised and numbers are counted before it is asked, and gap records, missing numbers and what cannot be read are told whatever it says.

use keyferry_client::{Decoder, Duplicates, Event, Headers, Message, Missing, Sequences, Start, Unseen};

use super::sieve::Sieve;

/// Where a record was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// The number of its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
}

/// What there is to tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// A record.
    Message {
        /// What it says.
        message: Box<Message>,
        /// Whether one with its id has been there before.
        is_copy: bool,
    },
    /// A record that is not understood, and why.
    Unreadable(String),
    /// Numbers that are not in Kafka.
    Missing(Missing),
}

/// A stream of records.
pub struct Following {
    decoder: Decoder,
    duplicates: Duplicates,
    sequences: Sequences,
    sieve: Sieve,
}

impl Following {
    /// Of partitions with these beginnings.
    pub fn of(starts: Vec<Start>, sieve: Sieve) -> Self {
        let sequences = Sequences::of(starts);
        Self { decoder: Decoder::default(), duplicates: Duplicates::default(), sequences, sieve }
    }

    /// Takes a record of a partition; answers what there is to tell.
    pub fn take(&mut self, partition: usize, headers: &Headers<'_>, value: &[u8]) -> Vec<Told> {
        let message = match self.decoder.decode(headers, value) {
            Ok(message) => message,
            Err(error) => return vec![Told::Unreadable(error.to_string())],
        };
        self.sequences.enter(partition, &message);
        let mut told: Vec<_> =
            std::iter::from_fn(|| self.sequences.next_missing()).map(Told::Missing).collect();
        // What an operator has sent again is no copy that needs a mark: it has its own.
        let is_known = message.id.as_deref().is_some_and(|id| !self.duplicates.is_new(id));
        if matches!(message.event, Event::Gap(_)) || self.sieve.passes(&message.event) {
            let is_copy = is_known && message.replayed.is_none();
            told.push(Told::Message { message: Box::new(message), is_copy });
        }
        told
    }

    /// The numbers that have not come so far.
    pub fn unseen(&self) -> Vec<Unseen> {
        self.sequences.unseen()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(following: &mut Following, id: &str, sequence: &str, value: &str) -> Vec<Told> {
        let headers = Headers::from_iter([
            ("ce_id", id.as_bytes()),
            ("ce_node", b"kc-1"),
            ("ce_epoch", b"0006447b0d1a2c00"),
            ("ce_sequence", sequence.as_bytes()),
            ("ce_outcome", b"committed"),
        ]);
        following.take(0, &headers, value.as_bytes())
    }

    #[test]
    fn a_filter_hides_events_and_nothing_else() {
        let condition = "type == \"LOGOUT\"".parse().unwrap();
        let mut following = Following::of(vec![Start::Beginning], Sieve::of(Some(&condition)));
        assert_eq!(record(&mut following, "a", "1", r#"{"type":"LOGIN"}"#), []);
        let logout = r#"{"type":"LOGOUT"}"#;
        let is_copy = |told: Vec<Told>| matches!(told[..], [Told::Message { is_copy: true, .. }]);
        assert!(!is_copy(record(&mut following, "b", "2", logout)));
        assert!(is_copy(record(&mut following, "b", "2", logout)));
        assert!(is_copy(record(&mut following, "a", "1", logout)), "it was hidden, and is known");
        assert!(matches!(record(&mut following, "c", "3", "x")[..], [Told::Unreadable(_)]));
        let told = record(&mut following, "d", "30000", r#"{"type":"LOGIN"}"#);
        let [Told::Missing(missing)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((missing.numbers.from, missing.numbers.to), (3, 10_000));
        assert_eq!(following.unseen().len(), 1);
    }
}
