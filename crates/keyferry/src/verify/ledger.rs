//! The verification itself: records in, report out. It knows nothing of Kafka.
//!
//! The invariant: **the verdict does not depend on the order in which partitions are read**, only on the order within each. Duplicates, conflicts and gaps are
//! properties of a set of records; order is compared within a partition, where Kafka has one.
//!
//! # What it costs
//!
//! - *Which sequence numbers were seen*, and which were replayed: compressed bitmaps for each epoch, one bit a record where numbers are dense, two bytes a record where they are not. Not a set of intervals: the
//!   records of an epoch are spread over all partitions, so that a partition read before the others leaves as many intervals as records.
//!   100 million records are 12 MB.
//! - *Which id a sequence number had*, to tell a copy from a conflict: a 32-bit fingerprint for each of the last 16 million sequence numbers, 64 MiB in all. A conflict is
//!   missed once in 4 billion by an equal fingerprint. A second record whose first one is forgotten is counted as a duplicate, and as
//!   [unchecked](Report::unchecked_duplicates).
//! - *The last record of each key*, to compare its order: at least the last 500,000 different keys of a partition's stream, at most twice as many, less than 100 MB. An order that is violated
//!   over a distance of more than 500,000 other keys is not seen; an agent has 8,192 records in flight at most, and only what is in flight can be reordered.
//! - *Epochs*: at most 65,536 of at most 4,096 nodes and slots. *Ranges that gap records explain*: at most 65,536 separate ones in all. Records beyond these limits are
//!   counted as [`beyond_limits`](Report::beyond_limits), and nothing is called complete then.
//! - *Examples and gaps* in the report: the first 1,000 of each kind and epoch. The totals are exact.
//!
//! The word of events of low priority that were passed over has the number of the last of them, which may have arrived as well: that is a copy, not a conflict.
//!
//! A record that was sent again by `keyferry replay` is neither a copy nor out of order; where its original is missing, it stands in for it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher as _};

use keyferry_client::GapRecord;
use keyferry_journal::{Epoch, Outcome};
use roaring::RoaringTreemap;

use super::bounded::{Fingerprints, Known, Recent};
use super::claim::{Claim, Content};
use super::notice::{Explained, Fate};
use super::report::{Conflict, EpochReport, Examples, Gap, Other, Report, Told, Violation};

/// What is remembered at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Pages of fingerprints, 16 KiB each.
    pub fingerprint_pages: usize,
    /// Keys in a generation.
    pub keys: usize,
    /// Epochs of nodes.
    pub epochs: usize,
    /// Nodes and slots.
    pub streams: usize,
    /// Separate ranges of numbers that gap records explain.
    pub explained: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { fingerprint_pages: 4096, keys: 500_000, epochs: 65_536, streams: 4096, explained: 65_536 }
    }
}

/// Gap records whose twin in the other topic is looked for.
const TWINS: usize = 10_000;
/// Where it is not known which numbers were used (a damaged checkpoint, events that were given up), an agent goes on with the next multiple of this.
const RENUMBERED_AT: u64 = keyferry_pipeline::STRIDE;

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
    replayed: RoaringTreemap,
    replays: u64,
    duplicates: u64,
    unchecked_duplicates: u64,
    unknown: u64,
    notices: u64,
    told: Examples<Told>,
    explained: Explained,
    /// Numbers that word of events that were passed over shares with the last of them.
    shared: RoaringTreemap,
    /// Where numbers began anew, as multiples of [`RENUMBERED_AT`].
    renumbered: RoaringTreemap,
    conflicts: Examples<Conflict>,
    violations: Examples<Violation>,
}

/// What has been read so far.
#[derive(Debug)]
pub struct Ledger {
    limits: Limits,
    epochs: Vec<EpochLedger>,
    index: HashMap<Epoch, Vec<usize>>,
    streams: BTreeMap<Stream, usize>,
    /// Of each partition, whether its beginning was deleted.
    truncated: Vec<bool>,
    /// Where each stream begins in each partition whose beginning was deleted.
    begins: HashMap<(usize, usize), Position>,
    fingerprints: Fingerprints,
    keys: Recent<u64, Position>,
    /// The numbers of gap records by what they say: the same is said in every topic that it may concern.
    twins: Recent<u64, u64>,
    explained_ranges: usize,
    other: Other,
}

impl Ledger {
    /// An empty ledger of partitions; `truncated` tells of each whether records were deleted at its beginning.
    pub fn new(truncated: Vec<bool>) -> Self {
        Self::with_limits(truncated, Limits::default())
    }

    fn with_limits(truncated: Vec<bool>, limits: Limits) -> Self {
        Self {
            limits,
            epochs: Vec::new(),
            index: HashMap::new(),
            streams: BTreeMap::new(),
            truncated,
            begins: HashMap::new(),
            fingerprints: Fingerprints::with_pages(limits.fingerprint_pages),
            keys: Recent::with_generation(limits.keys),
            twins: Recent::with_generation(TWINS),
            explained_ranges: 0,
            other: Other::default(),
        }
    }

    /// Counts a record that carries none of our headers; `gap` if it is a gap record all the same.
    pub fn foreign(&mut self, gap: bool) {
        self.other.foreign += 1;
        self.other.gap_records_without_headers += u64::from(gap);
    }

    /// Counts a record that carries our headers, but not as they should be.
    pub fn unreadable(&mut self) {
        self.other.unreadable += 1;
    }

    /// Enters a record.
    pub fn enter(&mut self, found: Found<'_>, claim: &Claim<'_>) {
        let Some(index) = self.epoch(claim) else {
            self.other.beyond_limits += 1;
            return;
        };
        let epoch = &mut self.epochs[index];
        if claim.content == Content::Replay {
            epoch.replays += 1;
            epoch.replayed.insert(claim.sequence);
            return;
        }
        if self.truncated[found.partition] {
            self.begins.entry((epoch.stream, found.partition)).or_insert((claim.epoch, claim.sequence));
        }
        if let Content::Gap(notice) = &claim.content
            && notice.shares_a_number()
        {
            epoch.shared.insert(claim.sequence);
            if !epoch.seen.insert(claim.sequence) {
                epoch.duplicates += 1;
            }
            return self.notice(index, claim.sequence, notice);
        }
        let fingerprint = (hash(claim.id) >> 32) as u32;
        if epoch.seen.insert(claim.sequence) {
            self.fingerprints.set(index, claim.sequence, fingerprint);
            self.first_copy(index, claim);
            self.compare_order(index, found, claim);
        } else {
            self.further_copy(index, claim, fingerprint);
        }
    }

    fn first_copy(&mut self, index: usize, claim: &Claim<'_>) {
        match &claim.content {
            Content::Event(outcome) => {
                self.epochs[index].unknown += u64::from(*outcome == Outcome::Unknown);
            }
            Content::Gap(notice) => self.notice(index, claim.sequence, notice),
            Content::Replay => {}
        }
    }

    fn notice(&mut self, index: usize, sequence: u64, notice: &GapRecord) {
        let epoch = &mut self.epochs[index];
        epoch.notices += 1;
        if notice.renumbers() {
            epoch.renumbered.insert(sequence / RENUMBERED_AT);
        }
        if let Some(sequences) = notice.sequences {
            let ranges = epoch.explained.len();
            epoch
                .explained
                .add(sequences, self.limits.explained.saturating_sub(self.explained_ranges - ranges));
            self.explained_ranges = self.explained_ranges - ranges + epoch.explained.len();
        }
        let what = hash(&(index, &notice.cause, &notice.detail, notice.user_events, notice.admin_events));
        let twin = self.twins.get(what).is_some_and(|other| other.abs_diff(sequence) == 1);
        if twin {
            return;
        }
        self.twins.put(what, sequence);
        epoch.told.add(|| Told::of(sequence, notice));
    }

    fn further_copy(&mut self, index: usize, claim: &Claim<'_>, fingerprint: u32) {
        let epoch = &mut self.epochs[index];
        match self.fingerprints.get(index, claim.sequence) {
            // What has this number already is the word that this event was passed over, or comes before a copy of it.
            Known::Nothing if epoch.shared.contains(claim.sequence) => {
                epoch.duplicates += 1;
                self.fingerprints.set(index, claim.sequence, fingerprint);
            }
            Known::Is(first) if first != fingerprint.max(1) => {
                epoch.conflicts.add(|| Conflict { sequence: claim.sequence, second_id: shortened(claim.id) })
            }
            Known::Is(_) => epoch.duplicates += 1,
            Known::Nothing => {
                epoch.duplicates += 1;
                epoch.unchecked_duplicates += 1;
            }
        }
    }

    /// Compares the first copy of a record with the one before it of its key.
    fn compare_order(&mut self, index: usize, found: Found<'_>, claim: &Claim<'_>) {
        let Some(key) = found.key else { return };
        let epoch = &mut self.epochs[index];
        let place = hash(&(epoch.stream, found.partition, key));
        let position = (claim.epoch, claim.sequence);
        match self.keys.get(place) {
            Some(last) if last > position => epoch.violations.add(|| Violation {
                key: shortened(key),
                sequence: claim.sequence,
                after_epoch: last.0.to_string(),
                after_sequence: last.1,
            }),
            _ => self.keys.put(place, position),
        }
    }

    /// The ledger of the epoch of a claim; `None` if there are too many to begin another.
    fn epoch(&mut self, claim: &Claim<'_>) -> Option<usize> {
        let known = self.index.get(&claim.epoch).into_iter().flatten();
        if let Some(found) = known.copied().find(|index| *self.epochs[*index].node == *claim.node) {
            return Some(found);
        }
        let node: Box<str> = claim.node.into();
        let stream = self.stream(Stream { node: node.clone(), slot: claim.epoch.slot() })?;
        if self.epochs.len() >= self.limits.epochs {
            return None;
        }
        self.index.entry(claim.epoch).or_default().push(self.epochs.len());
        self.epochs.push(EpochLedger::new(stream, node, claim.epoch));
        Some(self.epochs.len() - 1)
    }

    fn stream(&mut self, stream: Stream) -> Option<usize> {
        let known = self.streams.len();
        match self.streams.get(&stream) {
            Some(index) => Some(*index),
            None if known >= self.limits.streams => None,
            None => Some(*self.streams.entry(stream).or_insert(known)),
        }
    }

    /// What was found.
    pub fn report(mut self) -> Report {
        let epochs = std::mem::take(&mut self.epochs);
        let mut epochs: Vec<_> = epochs.into_iter().map(|epoch| self.report_epoch(epoch)).collect();
        epochs.sort_by(|a, b| (&a.node, &a.epoch).cmp(&(&b.node, &b.epoch)));
        let other = Other { forgotten_keys: self.keys.forgotten(), ..self.other };
        Report::of(epochs, other)
    }

    fn report_epoch(&self, ledger: EpochLedger) -> EpochReport {
        let horizon = self.horizon(ledger.stream);
        let holes = Holes::of(&ledger, horizon);
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
            missing: holes.missing,
            gaps: holes.gaps,
            expired: holes.expired,
            explained: holes.explained,
            forgotten_explanations: ledger.explained.forgotten,
            renumbered: holes.renumbered,
            gap_records: ledger.notices,
            told: ledger.told,
            replayed: ledger.replays,
            restored: (&ledger.replayed - &ledger.seen).len(),
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

impl EpochLedger {
    fn new(stream: usize, node: Box<str>, epoch: Epoch) -> Self {
        Self {
            stream,
            node,
            epoch,
            seen: RoaringTreemap::new(),
            replayed: RoaringTreemap::new(),
            replays: 0,
            duplicates: 0,
            unchecked_duplicates: 0,
            unknown: 0,
            notices: 0,
            told: Examples::default(),
            explained: Explained::default(),
            shared: RoaringTreemap::new(),
            renumbered: RoaringTreemap::new(),
            conflicts: Examples::default(),
            violations: Examples::default(),
        }
    }
}

/// What becomes of the numbers of an epoch that no record has.
#[derive(Debug, Default)]
struct Holes {
    missing: u64,
    gaps: Examples<Gap>,
    expired: u64,
    explained: u64,
    renumbered: u64,
}

impl Holes {
    fn of(ledger: &EpochLedger, horizon: Option<Position>) -> Self {
        let mut holes = Self::default();
        let present = &ledger.seen | &ledger.replayed;
        // A topic of nothing but replayed records lacks nothing: it was never to have the others.
        if !ledger.seen.is_empty() {
            for_each_gap(&present, |gap| holes.add(gap, ledger, horizon));
        }
        holes
    }

    fn add(&mut self, gap: Gap, ledger: &EpochLedger, horizon: Option<Position>) {
        let (expired, rest) = divide(gap, ledger.epoch, horizon);
        self.expired += expired;
        let Some(rest) = rest else { return };
        if is_renumbering(rest, ledger) {
            self.renumbered += 1;
            return;
        }
        ledger.explained.divide(rest, |part, fate| match fate {
            Fate::Missing => {
                self.missing += part.last - part.first + 1;
                self.gaps.add(|| part);
            }
            // What was under way then is not known: nobody can say how many of these numbers were used.
            Fate::Explained if (part.last + 1).is_multiple_of(RENUMBERED_AT) => self.renumbered += 1,
            Fate::Explained => self.explained += part.last - part.first + 1,
        });
    }
}

/// Whether the gap is the one before numbers that a damaged checkpoint made begin anew, as a gap record there tells.
fn is_renumbering(gap: Gap, ledger: &EpochLedger) -> bool {
    let next = gap.last + 1;
    next.is_multiple_of(RENUMBERED_AT) && ledger.renumbered.contains(next / RENUMBERED_AT)
}

/// The beginning of a text from a record, for the report.
fn shortened(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(LONGEST_EXAMPLE)]).into_owned()
}

/// So much of an id or key is told, in bytes.
const LONGEST_EXAMPLE: usize = 256;

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
    use keyferry_client::Span;

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
        let content = Content::Event(Outcome::Committed);
        let claim = Claim { node: "n", epoch, sequence: sample.sequence, id: &id, content };
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

    /// The word that events of the numbers 2 to 4 were passed over; number 3 was not, being of another type.
    fn enter_passed_over(ledger: &mut Ledger) {
        enter_other(ledger, 4, gap("low-priority", Some((2, 4))));
    }

    #[test]
    fn what_is_passed_over_is_told_and_is_no_conflict_with_the_event_that_arrives_after_all() {
        let mut ledger = Ledger::new(vec![false]);
        [1, 3].map(sample).into_iter().for_each(|sample| enter(&mut ledger, EPOCH, sample));
        enter_passed_over(&mut ledger);
        enter(&mut ledger, EPOCH, sample(5));
        let report = ledger.report();
        assert_eq!(
            (report.verdict, report.epochs[0].explained, report.epochs[0].missing),
            (Verdict::Explained, 1, 0)
        );

        for word_first in [true, false] {
            let mut ledger = Ledger::new(vec![false]);
            let events = [1, 2, 3, 4, 4, 5].map(sample);
            if word_first {
                enter_passed_over(&mut ledger);
            }
            events.into_iter().for_each(|sample| enter(&mut ledger, EPOCH, sample));
            if !word_first {
                enter_passed_over(&mut ledger);
            }
            enter(&mut ledger, EPOCH, Sample { id: 99, ..sample(4) });
            let report = ledger.report();
            let epoch = &report.epochs[0];
            assert_eq!(
                (epoch.conflicts.count, epoch.duplicates, epoch.missing),
                (1, 2, 0),
                "word first: {word_first}"
            );
        }
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
        ledger.foreign(true);
        let report = ledger.report();
        assert_eq!((report.verdict, report.gap_records_without_headers), (Verdict::Nothing, 1));
    }

    /// Enters a record without key that is no event.
    fn enter_other(ledger: &mut Ledger, sequence: u64, content: Content) {
        let claim = Claim { node: "n", epoch: EPOCH, sequence, id: &[sequence as u8], content };
        ledger.enter(Found { partition: 0, key: None }, &claim);
    }

    fn gap(cause: &str, sequences: Option<(u64, u64)>) -> Content {
        Content::Gap(Box::new(GapRecord {
            cause: cause.to_owned(),
            user_events: Some(3),
            admin_events: None,
            sequences: sequences.map(|(from, to)| Span { from, to }),
            ..GapRecord::default()
        }))
    }

    #[test]
    fn a_hole_that_a_gap_record_explains_is_not_missing_and_is_told() {
        let mut ledger = Ledger::new(vec![false]);
        for sequence in [1, 2, 8] {
            enter(&mut ledger, EPOCH, sample(sequence));
        }
        enter_other(&mut ledger, 7, gap("dropped-old", Some((3, 6))));
        let report = ledger.report();
        let epoch = &report.epochs[0];
        assert_eq!((report.verdict, epoch.missing, epoch.explained), (Verdict::Explained, 0, 4));
        assert_eq!((epoch.gap_records, epoch.told.first[0].user_events), (1, Some(3)));
    }

    #[test]
    fn a_gap_record_explains_its_own_numbers_only() {
        let mut ledger = Ledger::new(vec![false]);
        for sequence in [1, 2, 8] {
            enter(&mut ledger, EPOCH, sample(sequence));
        }
        enter_other(&mut ledger, 7, gap("dropped-old", Some((3, 4))));
        let report = ledger.report();
        assert_eq!((report.verdict, report.epochs[0].missing), (Verdict::Incomplete, 2));
        assert_eq!(report.epochs[0].gaps.first, [Gap { first: 5, last: 6 }]);
        let mut ledger = Ledger::new(vec![false]);
        for sequence in [1, 4] {
            enter(&mut ledger, EPOCH, sample(sequence));
        }
        enter_other(&mut ledger, 3, gap("ceiling", None));
        assert_eq!(ledger.report().verdict, Verdict::Incomplete, "it names no numbers");
    }

    #[test]
    fn what_is_told_in_both_topics_is_told_once() {
        let mut ledger = Ledger::new(vec![false]);
        enter_other(&mut ledger, 1, gap("ceiling", None));
        enter_other(&mut ledger, 2, gap("ceiling", None));
        enter_other(&mut ledger, 2, gap("ceiling", None));
        let report = ledger.report();
        let epoch = &report.epochs[0];
        assert_eq!((epoch.gap_records, epoch.told.count, epoch.duplicates), (2, 1, 1));
    }

    #[test]
    fn numbers_that_begin_anew_after_a_damaged_checkpoint_are_no_hole_if_a_gap_record_says_so() {
        let jump = |content: Option<Content>, at: u64| {
            let mut ledger = Ledger::new(vec![false]);
            enter(&mut ledger, EPOCH, sample(1));
            if let Some(content) = content {
                enter_other(&mut ledger, at, content);
            }
            enter(&mut ledger, EPOCH, sample(at + 1));
            ledger.report()
        };
        let told = jump(Some(gap("damage", None)), 1 << 32);
        assert_eq!((told.verdict, told.epochs[0].renumbered), (Verdict::Explained, 1));
        assert_eq!(jump(None, (1 << 32) - 1).verdict, Verdict::Incomplete, "nothing says so");
        assert_eq!(
            jump(Some(gap("ceiling", None)), 1 << 32).verdict,
            Verdict::Incomplete,
            "something else says"
        );
        assert_eq!(
            jump(Some(gap("damage", None)), (1 << 32) + 1).verdict,
            Verdict::Incomplete,
            "not where they begin"
        );
    }

    #[test]
    fn numbers_that_were_given_up_with_what_was_under_way_are_a_jump_and_not_billions_of_holes() {
        let given_up = |from| {
            let mut ledger = Ledger::new(vec![false]);
            for sequence in [1, 2, 5, RENUMBERED_AT + 1] {
                enter(&mut ledger, EPOCH, sample(sequence));
            }
            enter_other(&mut ledger, RENUMBERED_AT, gap("dropped-old", Some((from, RENUMBERED_AT - 1))));
            ledger.report()
        };
        let report = given_up(3);
        let epoch = &report.epochs[0];
        assert_eq!((report.verdict, epoch.renumbered, epoch.explained), (Verdict::Explained, 1, 2));
        let report = given_up(4);
        assert_eq!(
            (report.verdict, report.epochs[0].missing),
            (Verdict::Incomplete, 1),
            "3 was never under way"
        );
    }

    #[test]
    fn a_replayed_record_is_no_copy_and_out_of_no_order_and_stands_in_for_a_lost_one() {
        let mut ledger = Ledger::new(vec![false]);
        for sequence in [1, 2, 4] {
            enter(&mut ledger, EPOCH, sample(sequence));
        }
        for sequence in [2, 3, 3] {
            enter_other(&mut ledger, sequence, Content::Replay);
        }
        let report = ledger.report();
        let epoch = &report.epochs[0];
        assert_eq!(
            (report.verdict, epoch.duplicates, epoch.order_violations.count),
            (Verdict::Complete, 0, 0)
        );
        assert_eq!((epoch.replayed, epoch.restored, epoch.missing), (3, 1, 0));
    }

    #[test]
    fn a_topic_of_replayed_records_alone_proves_nothing_and_lacks_nothing() {
        let mut ledger = Ledger::new(vec![false]);
        for sequence in [5, 9] {
            enter_other(&mut ledger, sequence, Content::Replay);
        }
        let report = ledger.report();
        assert_eq!((report.verdict, report.epochs[0].missing), (Verdict::Nothing, 0));
    }

    #[test]
    fn nothing_is_called_complete_once_a_limit_is_reached() {
        let limits = Limits { epochs: 3, streams: 2, ..Limits::default() };
        let mut ledger = Ledger::with_limits(vec![false], limits);
        for epoch in [0x100, 0x200, 0x300, 0x400] {
            enter(&mut ledger, Epoch(epoch), sample(1));
        }
        let report = ledger.report();
        assert_eq!((report.verdict, report.beyond_limits, report.epochs.len()), (Verdict::Incomplete, 1, 3));
        let mut ledger = Ledger::with_limits(vec![false], limits);
        for epoch in [0x100, 0x101, 0x102] {
            enter(&mut ledger, Epoch(epoch), sample(1));
        }
        assert_eq!(ledger.report().beyond_limits, 1, "each is a slot of its own");
    }

    /// Records of the measurement, each of a key of its own.
    const MANY: u64 = 4_000_000;
    /// What the ledger may take: 64 MiB of fingerprints, 100 MB of keys, one bit a record, and the test program itself.
    const BOUND_KIB: u64 = 180 << 10;
    /// Tells the process that measures itself from the one that starts it.
    const MEASURED: &str = "KEYFERRY_TEST_LEDGER";

    /// Enters many records, as partitions that are read one after the other bring them, with ever new keys.
    fn measure() -> u64 {
        let mut ledger = Ledger::new(vec![false; 3]);
        for partition in 0..3 {
            for sequence in (1..=MANY).filter(|sequence| sequence % 3 == partition) {
                let id = sequence.to_le_bytes();
                let content = Content::Event(Outcome::Committed);
                let claim = Claim { node: "n", epoch: EPOCH, sequence, id: &id, content };
                ledger.enter(Found { partition: partition as usize, key: Some(&id) }, &claim);
            }
        }
        let report = ledger.report();
        assert_eq!((report.verdict, report.epochs[0].records), (Verdict::Complete, MANY));
        assert!(report.forgotten_keys > 0, "nothing had to be forgotten");
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn millions_of_records_of_millions_of_keys_stay_within_the_bound() {
        // Measured in a process of its own: a peak is that of all tests of a process together.
        if std::env::var_os(MEASURED).is_some() {
            println!("peak {}", measure());
            return;
        }
        let name = concat!(module_path!(), "::millions_of_records_of_millions_of_keys_stay_within_the_bound");
        let name = name.split_once("::").unwrap().1;
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(MEASURED, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let peak = text.split_once("peak ").unwrap_or_else(|| panic!("{text}")).1;
        let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
        assert!(peak < BOUND_KIB, "{peak} KiB");
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
