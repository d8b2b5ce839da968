//! Changes that are for all nodes: what a topic says of them, and what of that is new here.
//!
//! The invariant: **every node that knows the newest record of the topic wants the same values, whatever else of it it has missed.** Each value carries the change that set it. Of two
//! changes the one with the greater revision holds, and of two that were announced at the same time the one with the greater id: a join, of which neither the order of the records nor
//! reading one again makes any difference. So compaction, which leaves only the newest record, takes nothing away; and who has announced something without having known of another change
//! writes down both (a last-writer-wins map, as in Shapiro et al., "A comprehensive study of convergent and commutative replicated data types", 2011).
//!
//! What a node has decided on, be it to apply or to refuse it, is part of its [history](super::History): it is never decided on again, not even by an agent that is started anew.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::change::version::hex;

/// Where a change comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedChange {
    /// Greater than those of all changes that were known where it was announced.
    pub revision: u64,
    /// Who wanted it.
    pub author: String,
    /// The node at which it was wanted.
    pub node: String,
    /// When, milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// A value that all nodes are to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedValue {
    /// What is set on top of everything else; `None` is nothing.
    pub value: Option<String>,
    /// The id of the change that set it.
    pub change: String,
}

/// A record of the topic: everything that all nodes are to have, as far as it was known where the record was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The change for which it was written.
    pub id: String,
    /// The node that wrote it.
    pub node: String,
    /// Every change of which a value is in force, by id.
    pub changes: BTreeMap<String, SharedChange>,
    /// The values, by key.
    pub values: BTreeMap<String, SharedValue>,
}

impl Announcement {
    /// A value whose change is not told, if there is one: then nobody could tell which of two values holds.
    pub(crate) fn orphan(&self) -> Option<&str> {
        let mut values = self.values.iter();
        values.find(|(_, value)| !self.changes.contains_key(&value.change)).map(|(key, _)| key.as_str())
    }
}

/// A change that is to be decided on here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its id.
    pub change: String,
    /// Who wanted it, and where.
    pub author: String,
    /// What of it is still in force, by key.
    pub values: BTreeMap<String, Option<String>>,
}

/// Everything that all nodes are to have, as far as it is known here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedValues {
    changes: BTreeMap<String, SharedChange>,
    values: BTreeMap<String, SharedValue>,
    /// The newest record: who wrote it, and whether it says everything.
    newest: Option<(String, bool)>,
}

impl SharedValues {
    /// Takes in what the next record of the topic says.
    pub fn take(&mut self, announcement: Announcement) {
        let Announcement { id: _, node, changes, values } = announcement;
        let told = values.clone();
        for (key, value) in values {
            let Some(change) = changes.get(&value.change) else { continue };
            let rank = (change.revision, value.change.as_str());
            if self.rank_of(&key).is_none_or(|known| known < rank) {
                self.changes.insert(value.change.clone(), change.clone());
                self.values.insert(key, value);
            }
        }
        self.forget_changes_of_the_past();
        self.newest = Some((node, told == self.values));
    }

    /// What stands in the way of another value.
    fn rank_of(&self, key: &str) -> Option<(u64, &str)> {
        let value = self.values.get(key)?;
        Some((self.changes.get(&value.change)?.revision, &value.change))
    }

    fn forget_changes_of_the_past(&mut self) {
        let in_force: BTreeSet<&String> = self.values.values().map(|value| &value.change).collect();
        self.changes.retain(|id, _| in_force.contains(id));
    }

    /// The record by which `values` are wanted of all nodes, on top of what is known here.
    pub fn announce(
        &self,
        values: &BTreeMap<String, Option<String>>,
        author: &str,
        node: &str,
        now_ms: u64,
    ) -> Announcement {
        let newest = self.changes.values().map(|change| change.revision).max().unwrap_or_default();
        let (author, node) = (author.to_owned(), node.to_owned());
        let change =
            SharedChange { revision: newest.saturating_add(1), author, node: node.clone(), time_ms: now_ms };
        let id = id_of(&change, values);
        let set = |(key, value): (&String, &Option<String>)| {
            (key.clone(), SharedValue { value: value.clone(), change: id.clone() })
        };
        let mut all = self.clone();
        all.values.extend(values.iter().map(set));
        all.changes.insert(id.clone(), change);
        all.forget_changes_of_the_past();
        Announcement { id, node, changes: all.changes, values: all.values }
    }

    /// What `node` has to write so that the newest record says everything: it wrote that record without having known of another change.
    pub fn to_mend(&self, node: &str) -> Option<Announcement> {
        let (writer, is_whole) = self.newest.as_ref()?;
        let (id, _) = self.newest_change()?;
        let lacks = writer == node && !is_whole;
        lacks.then(|| Announcement {
            id: id.to_owned(),
            node: node.to_owned(),
            changes: self.changes.clone(),
            values: self.values.clone(),
        })
    }

    /// The first change of which something is in force and that `decided` does not know.
    pub fn due(&self, decided: &Decided) -> Option<Due> {
        let undecided = self.changes.iter().filter(|(id, _)| !decided.changes.contains(*id));
        let (id, change) = undecided.min_by_key(|(id, change)| (change.revision, *id))?;
        let of_change = self.values.iter().filter(|(_, value)| value.change == *id);
        Some(Due {
            change: id.clone(),
            author: format!("{} at {}", change.author, change.node),
            values: of_change.map(|(key, value)| (key.clone(), value.value.clone())).collect(),
        })
    }

    /// The latest change of which something is in force, with its id.
    pub fn newest_change(&self) -> Option<(&str, &SharedChange)> {
        let newest = self.changes.iter().max_by_key(|(id, change)| (change.revision, *id));
        newest.map(|(id, change)| (id.as_str(), change))
    }

    /// What all nodes are to have on top of everything else, by key.
    pub fn values(&self) -> &BTreeMap<String, SharedValue> {
        &self.values
    }

    /// The keys of which a node with these changes on top of everything else has not what all are to have.
    pub fn differing(&self, live: &BTreeMap<String, String>) -> Vec<String> {
        let differs = |(key, value): &(&String, &SharedValue)| live.get(*key) != value.value.as_ref();
        self.values.iter().filter(differs).map(|(key, _)| key.clone()).collect()
    }

    /// Stands for what is in force: two nodes with the same one know the same.
    pub fn hash(&self) -> String {
        let mut sum = Sha256::new();
        for (key, value) in &self.values {
            add(&mut sum, key);
            add(&mut sum, &value.change);
        }
        hex(sum)
    }
}

/// What a change is called. Two changes that were announced by one node differ in their revision or their time.
fn id_of(change: &SharedChange, values: &BTreeMap<String, Option<String>>) -> String {
    let mut sum = Sha256::new();
    let SharedChange { revision, author, node, time_ms } = change;
    for part in [&revision.to_string(), author, node, &time_ms.to_string()] {
        add(&mut sum, part);
    }
    values.keys().for_each(|key| add(&mut sum, key));
    let mut id = hex(sum);
    id.truncate(16);
    id
}

/// Each part with its length, so that no two lists run together to the same bytes.
fn add(sum: &mut Sha256, part: &str) {
    sum.update((part.len() as u64).to_be_bytes());
    sum.update(part);
}

/// What became of a change here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It runs, or ran until something else was wanted.
    Applied,
    /// It cannot be here, or its trial has failed.
    Refused,
    /// It has made things worse.
    TakenBack,
}

impl Outcome {
    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
            Self::TakenBack => "taken-back",
        }
    }
}

/// That a change was decided on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The change's id.
    pub change: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it does not run, if it does not.
    pub reason: Option<String>,
}

/// Which changes for all nodes were decided on here. Part of what is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    changes: BTreeSet<String>,
    /// The last decision.
    pub last: Option<Decision>,
}

impl Decided {
    pub(crate) fn decide(&mut self, decision: Decision) {
        self.changes.insert(decision.change.clone());
        self.last = Some(decision);
    }

    /// Of a change of which nothing is in force any more nothing has to be known.
    pub(crate) fn keep_only_what_is_in(&mut self, shared: &SharedValues) {
        self.changes.retain(|change| shared.changes.contains_key(change));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINGER: &str = "destination.delivery.linger";
    const LEVEL: &str = "log.level";

    fn wish(values: &[(&str, &str)]) -> BTreeMap<String, Option<String>> {
        values.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect()
    }

    fn announced(by: &SharedValues, node: &str, values: &[(&str, &str)]) -> Announcement {
        by.announce(&wish(values), "ada", node, 1_000)
    }

    fn after(announcements: &[&Announcement]) -> SharedValues {
        let mut shared = SharedValues::default();
        announcements.iter().for_each(|one| shared.take((*one).clone()));
        shared
    }

    fn decide(decided: &mut Decided, due: &Due) {
        let change = due.change.clone();
        decided.decide(Decision { change, outcome: Outcome::Applied, reason: None });
    }

    fn all_due(shared: &SharedValues, decided: &mut Decided) -> Vec<BTreeMap<String, Option<String>>> {
        std::iter::from_fn(|| {
            let due = shared.due(decided)?;
            decide(decided, &due);
            Some(due.values)
        })
        .collect()
    }

    #[test]
    fn each_change_is_due_once_in_the_order_of_their_announcements() {
        let first = announced(&SharedValues::default(), "a", &[(LINGER, "5ms")]);
        let second = announced(&after(&[&first]), "b", &[(LEVEL, "debug")]);
        let mut decided = Decided::default();
        let shared = after(&[&first, &second, &second]);
        assert_eq!(shared.due(&decided).unwrap().author, "ada at a");
        assert_eq!(all_due(&shared, &mut decided), [wish(&[(LINGER, "5ms")]), wish(&[(LEVEL, "debug")])]);
        assert_eq!(all_due(&after(&[&first, &second]), &mut decided), [], "the topic is read once more");
    }

    #[test]
    fn who_knows_only_the_newest_record_misses_nothing_that_is_in_force() {
        let first = announced(&SharedValues::default(), "a", &[(LINGER, "5ms"), (LEVEL, "warn")]);
        let second = announced(&after(&[&first]), "b", &[(LEVEL, "debug")]);
        let third = announced(&after(&[&first, &second]), "a", &[("journal.keep", "1s")]);
        let late = after(&[&third]);
        assert_eq!(late.values(), after(&[&first, &second, &third]).values());
        let due = all_due(&late, &mut Decided::default());
        assert_eq!(
            due,
            [wish(&[(LINGER, "5ms")]), wish(&[(LEVEL, "debug")]), wish(&[("journal.keep", "1s")])]
        );
        // One that was away for the second only: it has decided on the first.
        let mut decided = Decided::default();
        all_due(&after(&[&first]), &mut decided);
        assert_eq!(
            all_due(&late, &mut decided),
            [wish(&[(LEVEL, "debug")]), wish(&[("journal.keep", "1s")])]
        );
    }

    #[test]
    fn what_is_taken_away_is_taken_away_from_who_comes_late_as_well() {
        let first = announced(&SharedValues::default(), "a", &[(LINGER, "5ms")]);
        let none = BTreeMap::from([(LINGER.to_owned(), None)]);
        let second = after(&[&first]).announce(&none, "ada", "a", 2_000);
        assert_eq!(all_due(&after(&[&second]), &mut Decided::default()), [none]);
        let live = BTreeMap::from([(LINGER.to_owned(), "5ms".to_owned())]);
        assert_eq!(after(&[&second]).differing(&live), [LINGER]);
        assert_eq!(after(&[&second]).differing(&BTreeMap::new()), [""; 0]);
    }

    #[test]
    fn two_that_announce_at_the_same_time_both_have_their_way_and_the_later_one_writes_both_down() {
        let one = announced(&SharedValues::default(), "a", &[(LINGER, "5ms")]);
        let other = announced(&SharedValues::default(), "b", &[(LEVEL, "debug")]);
        let shared = after(&[&one, &other]);
        assert_eq!(shared.values().len(), 2);
        assert_eq!(shared.to_mend("a"), None, "what a wrote was whole when it was the newest");
        let mended = shared.to_mend("b").unwrap();
        let late = after(&[&mended]);
        assert_eq!((late.values(), late.hash()), (shared.values(), shared.hash()));
        assert_eq!(after(&[&one, &other, &mended]).to_mend("b"), None);
        let mut decided = Decided::default();
        assert_eq!(all_due(&shared, &mut decided).len(), 2);
        assert_eq!(all_due(&late, &mut decided), [], "writing down is no change");
    }

    #[test]
    fn a_decision_is_remembered_as_long_as_something_of_the_change_is_in_force() {
        let first = announced(&SharedValues::default(), "a", &[(LINGER, "5ms"), (LEVEL, "warn")]);
        let second = announced(&after(&[&first]), "a", &[(LEVEL, "debug")]);
        let third = announced(&after(&[&second]), "a", &[(LINGER, "6ms")]);
        let mut decided = Decided::default();
        for (shared, remembered) in
            [(after(&[&first]), 1), (after(&[&first, &second]), 2), (after(&[&first, &second, &third]), 2)]
        {
            all_due(&shared, &mut decided);
            decided.keep_only_what_is_in(&shared);
            assert_eq!(decided.changes.len(), remembered);
            assert_eq!(shared.due(&decided), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        /// Each node announces on top of what it has read, which may be anything; the records are read in any order, and again.
        #[test]
        fn the_order_of_records_makes_no_difference(
            steps in proptest::collection::vec((0_u8..4, 0_usize..8, 0_u8..3), 1..8),
            order in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let keys = [LINGER, LEVEL, "journal.keep", "destination.client_id"];
            let mut records: Vec<Announcement> = Vec::new();
            for (time, (key, seen, value)) in (0..).zip(steps) {
                let seen = after(&records.iter().take(seen).collect::<Vec<_>>());
                let wish = wish(&[(keys[usize::from(key)], &value.to_string())]);
                records.push(seen.announce(&wish, "ada", "a", time));
            }
            let in_order = after(&records.iter().collect::<Vec<_>>());
            let shuffled: Vec<&Announcement> = order.iter().filter_map(|index| records.get(*index)).collect();
            let again = [shuffled.clone(), shuffled].concat();
            let again = after(&again);
            prop_assert_eq!((in_order.values, in_order.changes), (again.values, again.changes));
        }
    }
}
