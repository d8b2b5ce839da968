//! Judgements about what was published: what is missing, what is a copy, and what should not be there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::consumer::Record;
use crate::load::Requests;

/// The tokens that clients received and whose events are not among the records.
pub fn lost<'a>(requests: &'a Requests, records: &[Record]) -> Vec<&'a str> {
    let published: HashSet<&str> = records.iter().map(|record| record.field("details/token_id")).collect();
    requests.tokens().filter(|token| !published.contains(token)).collect()
}

/// What there is beside the first record of each event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repetition {
    /// How many records are copies of others, as they should be.
    pub copies: usize,
    /// Copies that differ from the first in anything that must be equal, and different events that claim to be the same: a consumer could not tell
    /// copies apart from events. In words.
    pub conflicts: Vec<String>,
}

/// Compares records that claim to be the same.
pub fn repetition(records: &[Record]) -> Repetition {
    let mut by_id: HashMap<&str, &Record> = HashMap::new();
    let mut by_place: HashMap<(&str, &str, &str), &Record> = HashMap::new();
    let mut found = Repetition::default();
    for record in records {
        let Some(first) = by_id.get(record.header("ce_id")) else {
            by_id.insert(record.header("ce_id"), record);
            if let Some(other) = by_place.insert(record.place(), record) {
                found.conflicts.push(format!("two events in one place: {record:?}\n{other:?}"));
            }
            continue;
        };
        found.copies += 1;
        if let Some(difference) = difference(record, first) {
            found
                .conflicts
                .push(format!("a copy has another {difference} than the first: {record:?}\n{first:?}"));
        }
    }
    found
}

/// In what a copy differs from the first.
fn difference(copy: &Record, first: &Record) -> Option<&'static str> {
    let differences = [
        ("place", copy.place() != first.place()),
        ("set of headers", copy.headers != first.headers),
        ("key", copy.key != first.key),
        ("value", copy.value != first.value),
    ];
    differences.into_iter().find_map(|(what, differs)| differs.then_some(what))
}

/// How many records are copies of others.
///
/// # Panics
/// Where there are [conflicts](Repetition::conflicts).
pub fn copies(records: &[Record]) -> usize {
    let Repetition { copies, conflicts } = repetition(records);
    assert!(conflicts.is_empty(), "{}", conflicts.join("\n"));
    copies
}

/// How many different events there are.
pub fn distinct(records: &[Record]) -> usize {
    records.iter().map(|record| record.header("ce_id")).collect::<HashSet<_>>().len()
}

/// The sequence numbers that are missing, by epoch. `records` must hold every topic of the destination.
pub fn gaps(records: &[Record]) -> BTreeMap<String, Vec<u64>> {
    let mut numbers: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for record in records {
        let number = record.header("ce_sequence").parse().unwrap_or_default();
        numbers.entry(record.header("ce_epoch")).or_default().insert(number);
    }
    let missing = numbers.into_iter().map(|(epoch, there)| {
        let last = there.last().copied().unwrap_or_default();
        let missing: Vec<u64> = (1..=last).filter(|number| !there.contains(number)).collect();
        (epoch.to_owned(), missing)
    });
    missing.filter(|(_, missing)| !missing.is_empty()).collect()
}

/// The ids of the users whose creation was published with the outcome `committed`.
pub fn created_users(records: &[Record]) -> BTreeSet<String> {
    let created = records.iter().filter(|record| {
        record.field("operationType") == "CREATE"
            && record.field("resourceType") == "USER"
            && record.header("ce_outcome") == "committed"
    });
    created
        .filter_map(|record| record.field("resourcePath").strip_prefix("users/"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(id: &str, sequence: u64) -> Record {
        let headers = [
            ("ce_id", id.to_owned()),
            ("ce_sequence", format!("{sequence:020}")),
            ("ce_epoch", "0001".to_owned()),
            ("ce_node", "node".to_owned()),
        ];
        let json = json!({ "details": { "token_id": id } });
        Record {
            topic: "events".to_owned(),
            partition: 0,
            offset: 0,
            timestamp: None,
            key: None,
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
            value: json.to_string().into_bytes(),
            json,
        }
    }

    #[test]
    fn a_copy_is_counted() {
        assert_eq!(copies(&[record("a", 1), record("b", 2), record("a", 1)]), 1);
    }

    #[test]
    #[should_panic(expected = "another place")]
    fn a_copy_with_a_new_number_is_no_copy() {
        copies(&[record("a", 1), record("a", 2)]);
    }

    #[test]
    #[should_panic(expected = "two events in one place")]
    fn two_events_with_one_number_are_noticed() {
        copies(&[record("a", 1), record("b", 1)]);
    }

    #[test]
    fn a_missing_number_is_a_gap() {
        assert!(gaps(&[record("a", 1), record("b", 2)]).is_empty());
        assert_eq!(gaps(&[record("a", 1), record("c", 3)]), BTreeMap::from([("0001".to_owned(), vec![2])]));
    }
}
