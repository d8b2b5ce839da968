//! The verification itself: records in, report out. It knows nothing of Kafka.
//!
//! The invariant: **the verdict does not depend on the order in which partitions are read**, only on the order within each. Duplicates, conflicts and gaps are
//! properties of a set of records; order is compared within a partition, where Kafka has one.
//!
//! # What it costs
//!
//! - *Which sequence numbers were seen*: a compressed bitmap for each epoch, one bit a record at most where numbers are dense. Not a set of intervals: the
//!   records of an epoch are spread over all partitions, so that a partition read before the others leaves as many intervals as records.
//!   100 million records are 12 MB.
//! - *Which id a sequence number had*, to tell a copy from a conflict: a 32-bit fingerprint for each of the last 16 million sequence numbers, 64 MiB in all. A conflict is
//!   missed once in 4 billion by an equal fingerprint. A second record whose first one is forgotten is counted as a duplicate, and as
//!   [unchecked](Report::unchecked_duplicates).
//! - *The last record of each key*, to compare its order: at least the last 500,000 different keys of a partition's stream, at most twice as many, less than 100 MB. An order that is violated
//!   over a distance of more than 500,000 other keys is not seen; an agent has 20,000 records in flight at most, and only what is in flight can be reordered.
//! - *Examples and gaps* in the report: the first 1,000 of each kind and epoch. The totals are exact.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher as _};

use keyferry_journal::{Epoch, Outcome};
use roaring::RoaringTreemap;

use super::bounded::{Fingerprints, Known, Recent};
use super::report::{Conflict, EpochReport, Examples, Gap, Report, Violation};

/// Pages of fingerprints, 16 KiB each.
const FINGERPRINT_PAGES: usize = 4096;
/// Keys in a generation.
const KEYS: usize = 500_000;

/// What a record's headers say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// `ce_node`.
    pub node: &'a str,
    /// `ce_epoch`.
    pub epoch: Epoch,
    /// `ce_sequence`, at least 1.
    pub sequence: u64,
    /// `ce_id`.
    pub id: &'a [u8],
    /// `ce_outcome`.
    pub outcome: Outcome,
}

/// Where and how a record was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Which partition it is from, of those that the ledger was told of.
    pub partition: usize,
    /// Its key.
    pub key: Option<&'a [u8]>,
}

/// The records of one node in one slot, ordered over its epochs: an agent delivers an epoch before the one after it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Stream {
    node: Box<str>,
    slot: u8,
}

/// A record's place in its stream.
type Position = (Epoch, u64);

#[derive(Debug)]
struct EpochLedger {
    stream: usize,
    node: Box<str>,
    epoch: Epoch,
    seen: RoaringTreemap,
    duplicates: u64,
    unchecked_duplicates: u64,
    unknown: u64,
    conflicts: Examples<Conflict>,
    violations: Examples<Violation>,
}

/// What has been read so far.
#[derive(Debug)]
pub struct Ledger {
    epochs: Vec<EpochLedger>,
    index: HashMap<Epoch, Vec<usize>>,
    streams: BTreeMap<Stream, usize>,
    /// Of each partition, whether its beginning was deleted.
    truncated: Vec<bool>,
    /// Where each stream begins in each partition whose beginning was deleted.
    begins: HashMap<(usize, usize), Position>,
    fingerprints: Fingerprints,
    keys: Recent<u64, Position>,
    foreign: u64,
    unreadable: u64,
}

impl Ledger {
    /// An empty ledger of partitions; `truncated` tells of each whether records were deleted at its beginning.
    pub fn new(truncated: Vec<bool>) -> Self {
        Self {
            epochs: Vec::new(),
            index: HashMap::new(),
            streams: BTreeMap::new(),
            truncated,
            begins: HashMap::new(),
            fingerprints: Fingerprints::with_pages(FINGERPRINT_PAGES),
            keys: Recent::with_generation(KEYS),
            foreign: 0,
            unreadable: 0,
        }
    }

    /// Counts a record that carries none of our headers.
    pub fn foreign(&mut self) {
        self.foreign += 1;
    }

    /// Counts a record that carries our headers, but not as they should be.
    pub fn unreadable(&mut self) {
        self.unreadable += 1;
    }

    /// Enters a record.
    pub fn enter(&mut self, found: Found<'_>, claim: &Claim<'_>) {
        let index = self.epoch(claim);
        let epoch = &mut self.epochs[index];
        if self.truncated[found.partition] {
            self.begins.entry((epoch.stream, found.partition)).or_insert((claim.epoch, claim.sequence));
        }
        let fingerprint = (hash(claim.id) >> 32) as u32;
        if epoch.seen.insert(claim.sequence) {
            self.fingerprints.set(index, claim.sequence, fingerprint);
            epoch.unknown += u64::from(claim.outcome == Outcome::Unknown);
            self.first_copy(index, found, claim);
            return;
        }
        match self.fingerprints.get(index, claim.sequence) {
            Known::Is(first) if first != fingerprint.max(1) => epoch.conflicts.add(|| Conflict {
                sequence: claim.sequence,
                second_id: String::from_utf8_lossy(claim.id).into_owned(),
            }),
            Known::Is(_) => epoch.duplicates += 1,
            Known::Nothing => {
                epoch.duplicates += 1;
                epoch.unchecked_duplicates += 1;
            }
        }
    }

    /// Compares the first copy of a record with the one before it of its key.
    fn first_copy(&mut self, index: usize, found: Found<'_>, claim: &Claim<'_>) {
        let Some(key) = found.key else { return };
        let epoch = &mut self.epochs[index];
        let place = hash(&(epoch.stream, found.partition, key));
        let position = (claim.epoch, claim.sequence);
        match self.keys.get(place) {
            Some(last) if last > position => epoch.violations.add(|| Violation {
                key: String::from_utf8_lossy(key).into_owned(),
                sequence: claim.sequence,
                after_epoch: last.0.to_string(),
                after_sequence: last.1,
            }),
            _ => self.keys.put(place, position),
        }
    }

    /// The ledger of the epoch of a claim.
    fn epoch(&mut self, claim: &Claim<'_>) -> usize {
        let candidates = self.index.entry(claim.epoch).or_default();
        if let Some(found) = candidates.iter().find(|index| *self.epochs[**index].node == *claim.node) {
            return *found;
        }
        let node: Box<str> = claim.node.into();
        let streams = self.streams.len();
        let stream = Stream { node: node.clone(), slot: claim.epoch.slot() };
        let stream = *self.streams.entry(stream).or_insert(streams);
        candidates.push(self.epochs.len());
        self.epochs.push(EpochLedger {
            stream,
            node,
            epoch: claim.epoch,
            seen: RoaringTreemap::new(),
            duplicates: 0,
            unchecked_duplicates: 0,
            unknown: 0,
            conflicts: Examples::default(),
            violations: Examples::default(),
        });
        self.epochs.len() - 1
    }

    /// What was found.
    pub fn report(mut self) -> Report {
        let epochs = std::mem::take(&mut self.epochs);
        let mut epochs: Vec<_> = epochs.into_iter().map(|epoch| self.report_epoch(epoch)).collect();
        epochs.sort_by(|a, b| (&a.node, &a.epoch).cmp(&(&b.node, &b.epoch)));
        Report::of(epochs, self.foreign, self.unreadable, self.keys.forgotten())
    }

    fn report_epoch(&self, ledger: EpochLedger) -> EpochReport {
        let horizon = self.horizon(ledger.stream);
        let mut gaps = Examples::default();
        let (mut missing, mut expired) = (0, 0);
        for_each_gap(&ledger.seen, |gap| {
            let (gone, lost) = divide(gap, ledger.epoch, horizon);
            expired += gone;
            if let Some(lost) = lost {
                missing += lost.last - lost.first + 1;
                gaps.add(|| lost);
            }
        });
        EpochReport {
            node: ledger.node.into(),
            epoch: ledger.epoch.to_string(),
            slot: ledger.epoch.slot(),
            records: ledger.seen.len() + ledger.duplicates + ledger.conflicts.count,
            first_sequence: ledger.seen.min().unwrap_or_default(),
            last_sequence: ledger.seen.max().unwrap_or_default(),
            outcome_unknown: ledger.unknown,
            duplicates: ledger.duplicates,
            unchecked_duplicates: ledger.unchecked_duplicates,
            missing,
            gaps,
            expired,
            conflicts: ledger.conflicts,
            order_violations: ledger.violations,
        }
    }

    /// Before this place of the stream, records may have been deleted with the beginning of a partition.
    fn horizon(&self, stream: usize) -> Option<Position> {
        let truncated = self.truncated.iter().enumerate().filter(|(_, truncated)| **truncated);
        let begin = |(partition, _)| self.begins.get(&(stream, partition)).copied();
        truncated.map(|place| begin(place).unwrap_or((Epoch(u64::MAX), u64::MAX))).max()
    }
}

/// Calls `visit` for each range of numbers from 1 to the greatest that is not in `seen`.
fn for_each_gap(seen: &RoaringTreemap, mut visit: impl FnMut(Gap)) {
    let mut expected = 1;
    for sequence in seen {
        if sequence > expected {
            visit(Gap { first: expected, last: sequence - 1 });
        }
        expected = sequence.saturating_add(1);
    }
}

/// How many numbers of a gap lie before the horizon, and what remains of it.
fn divide(gap: Gap, epoch: Epoch, horizon: Option<Position>) -> (u64, Option<Gap>) {
    let kept_from = match horizon {
        Some((horizon, sequence)) if horizon == epoch => sequence.clamp(gap.first, gap.last + 1),
        Some((horizon, _)) if horizon > epoch => gap.last + 1,
        _ => gap.first,
    };
    let lost = (kept_from <= gap.last).then_some(Gap { first: kept_from, last: gap.last });
    (kept_from - gap.first, lost)
}

/// Always the same for the same bytes.
fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::report::Verdict;
    use super::*;

    const EPOCH: Epoch = Epoch(0x100);

    /// A record for tests: its sequence number, and one letter for its id and its key.
    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Sample {
        partition: usize,
        sequence: u64,
        id: u8,
        key: u8,
    }

    fn sample(sequence: u64) -> Sample {
        Sample { partition: 0, sequence, id: sequence as u8, key: b'k' }
    }

    fn enter(ledger: &mut Ledger, epoch: Epoch, sample: Sample) {
        let id = [sample.id];
        let claim =
            Claim { node: "n", epoch, sequence: sample.sequence, id: &id, outcome: Outcome::Committed };
        ledger.enter(Found { partition: sample.partition, key: Some(&[sample.key]) }, &claim);
    }

    fn report(truncated: &[bool], samples: &[Sample]) -> Report {
        let mut ledger = Ledger::new(truncated.to_vec());
        for sample in samples {
            enter(&mut ledger, EPOCH, *sample);
        }
        ledger.report()
    }

    #[test]
    fn everything_in_order_is_complete() {
        let report = report(&[false], &[1, 2, 3].map(sample));
        assert_eq!(report.verdict, Verdict::Complete);
        assert_eq!((report.epochs[0].first_sequence, report.epochs[0].last_sequence), (1, 3));
    }

    #[test]
    fn a_missing_beginning_and_a_missing_middle_are_gaps() {
        let report = report(&[false], &[3, 4, 7].map(sample));
        assert_eq!(report.verdict, Verdict::Incomplete);
        assert_eq!(report.epochs[0].missing, 4);
        assert_eq!(report.epochs[0].gaps.first, [Gap { first: 1, last: 2 }, Gap { first: 5, last: 6 }]);
    }

    #[test]
    fn a_copy_is_a_duplicate_and_another_id_a_conflict() {
        let copies = report(&[false], &[1, 2, 1, 2, 3].map(sample));
        assert_eq!((copies.verdict, copies.epochs[0].duplicates), (Verdict::Complete, 2));
        let other = Sample { id: 99, ..sample(2) };
        let conflict = report(&[false], &[sample(1), sample(2), other]);
        assert_eq!((conflict.verdict, conflict.epochs[0].conflicts.count), (Verdict::Incomplete, 1));
        assert_eq!(conflict.epochs[0].duplicates, 0);
    }

    #[test]
    fn a_key_out_of_order_is_a_violation_but_its_copies_are_not() {
        let resent = report(&[false], &[1, 2, 3, 2, 3, 4].map(sample));
        assert_eq!(resent.verdict, Verdict::Complete);
        let reordered = report(&[false], &[1, 3, 2].map(sample));
        assert_eq!(reordered.epochs[0].order_violations.count, 1);
        assert_eq!(reordered.verdict, Verdict::Incomplete);
        let other_key = Sample { key: b'x', ..sample(2) };
        assert_eq!(report(&[false], &[sample(1), sample(3), other_key]).verdict, Verdict::Complete);
    }

    #[test]
    fn an_epoch_delivered_after_a_later_one_is_a_violation() {
        let mut ledger = Ledger::new(vec![false]);
        enter(&mut ledger, Epoch(0x200), sample(1));
        enter(&mut ledger, Epoch(0x100), sample(1));
        assert_eq!(ledger.report().verdict, Verdict::Incomplete);
        let mut ledger = Ledger::new(vec![false]);
        enter(&mut ledger, Epoch(0x201), sample(1));
        enter(&mut ledger, Epoch(0x100), sample(1));
        assert_eq!(ledger.report().verdict, Verdict::Complete, "another slot");
    }

    #[test]
    fn what_retention_deleted_is_no_gap() {
        // Partition 0 lost its beginning and now begins at 5; what is missing after that is missing.
        let samples = [5, 6, 9].map(sample);
        let report = report(&[true], &samples);
        assert_eq!((report.epochs[0].expired, report.epochs[0].missing), (4, 2));
        assert_eq!(report.epochs[0].gaps.first, [Gap { first: 7, last: 8 }]);
        assert_eq!(report.verdict, Verdict::Incomplete);
    }

    #[test]
    fn records_without_headers_alone_prove_nothing() {
        let mut ledger = Ledger::new(vec![false]);
        ledger.foreign();
        assert_eq!(ledger.report().verdict, Verdict::Nothing);
    }

    /// What the report must say, computed the plain way.
    #[derive(Debug, Default, PartialEq)]
    struct Expected {
        duplicates: u64,
        conflicts: u64,
        violations: u64,
        missing: u64,
    }

    fn expected(samples: &[Sample]) -> Expected {
        let mut expected = Expected::default();
        let mut ids: BTreeMap<u64, u8> = BTreeMap::new();
        let mut last: BTreeMap<(usize, u8), u64> = BTreeMap::new();
        for sample in samples {
            match ids.get(&sample.sequence) {
                Some(id) if *id == sample.id => expected.duplicates += 1,
                Some(_) => expected.conflicts += 1,
                None => {
                    ids.insert(sample.sequence, sample.id);
                    let greatest = last.entry((sample.partition, sample.key)).or_default();
                    expected.violations += u64::from(*greatest > sample.sequence);
                    *greatest = sample.sequence.max(*greatest);
                }
            }
        }
        let seen: BTreeSet<u64> = ids.into_keys().collect();
        expected.missing =
            (1..seen.last().copied().unwrap_or(0)).filter(|n| !seen.contains(n)).count() as u64;
        expected
    }

    fn any_sample() -> impl Strategy<Value = Sample> {
        (0..3_usize, 1..40_u64, 0..20_u8, 0..4_u8).prop_map(|(partition, sequence, wrong, key)| Sample {
            partition,
            sequence,
            // Mostly the id that belongs to the number.
            id: if wrong == 0 { 200 } else { sequence as u8 },
            key,
        })
    }

    proptest! {
        #[test]
        fn the_report_is_what_plain_counting_gives(samples in prop::collection::vec(any_sample(), 1..80)) {
            let report = report(&[false; 3], &samples);
            let epoch = &report.epochs[0];
            let found = Expected {
                duplicates: epoch.duplicates,
                conflicts: epoch.conflicts.count,
                violations: epoch.order_violations.count,
                missing: epoch.missing,
            };
            let expected = expected(&samples);
            let sound = expected.conflicts + expected.violations + expected.missing == 0;
            prop_assert_eq!(found, expected);
            prop_assert_eq!(epoch.records, samples.len() as u64);
            prop_assert_eq!(report.verdict == Verdict::Complete, sound);
        }

        #[test]
        fn sets_do_not_depend_on_which_partition_is_read_first(
            samples in prop::collection::vec(any_sample(), 1..60)
        ) {
            let distinct: Vec<Sample> =
                samples.into_iter().map(|sample| Sample { id: sample.sequence as u8, ..sample }).collect();
            let mut by_partition = distinct.clone();
            by_partition.sort_by_key(|sample| sample.partition);
            let (one, other) = (report(&[false; 3], &distinct), report(&[false; 3], &by_partition));
            let sets = |report: &Report| (report.epochs[0].missing, report.epochs[0].duplicates);
            prop_assert_eq!(sets(&one), sets(&other));
        }
    }
}
