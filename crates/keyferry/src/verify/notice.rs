//! What a gap record says is missing, and which holes in the numbers that explains.

use std::collections::BTreeMap;

use keyferry_client::{GapRecord, Span};
use keyferry_event::format::gap_in;

use super::report::Gap;

/// So much is kept of a cause or detail, in characters.
const LONGEST_TEXT: usize = 400;

/// What a gap record says, by the value of the record, in any format. `None` of anything else.
pub fn read(value: &[u8]) -> Option<GapRecord> {
    let notice: GapRecord = serde_json::from_slice(gap_in(value)?).ok()?;
    let short = |text: &str| text.chars().take(LONGEST_TEXT).collect();
    Some(GapRecord { cause: short(&notice.cause), detail: short(&notice.detail), ..notice })
}

/// Whether `value` is that of a gap record.
pub fn is_gap(value: &[u8]) -> bool {
    gap_in(value).is_some()
}

/// Numbers whose absence is explained. Ranges that touch are one, so that it grows with the number of separate holes only.
#[derive(Debug, Default)]
pub struct Explained {
    ranges: BTreeMap<u64, u64>,
    /// How many ranges could not be kept.
    pub forgotten: u64,
}

impl Explained {
    /// Adds a range, unless there are `limit` already.
    pub fn add(&mut self, sequences: Span, limit: usize) {
        let Span { mut from, mut to } = sequences;
        if from > to {
            return;
        }
        let touching = self.ranges.range(..=to.saturating_add(1)).rev();
        let touching: Vec<u64> = touching
            .take_while(|(_, last)| last.saturating_add(1) >= from)
            .map(|(first, _)| *first)
            .collect();
        for first in touching {
            from = from.min(first);
            to = to.max(self.ranges.remove(&first).unwrap_or(to));
        }
        if self.ranges.len() < limit {
            self.ranges.insert(from, to);
        } else {
            self.forgotten += 1;
        }
    }

    /// How many separate ranges there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Calls `visit` for each part of `gap` that is explained, and for each that is not.
    pub fn divide(&self, gap: Gap, mut visit: impl FnMut(Gap, Fate)) {
        let before = self.ranges.range(..gap.first).next_back();
        let within = self.ranges.range(gap.first..=gap.last);
        let mut next = gap.first;
        for (&first, &last) in before.into_iter().chain(within) {
            let (first, last) = (first.max(next), last.min(gap.last));
            if first > last {
                continue;
            }
            if first > next {
                visit(Gap { first: next, last: first - 1 }, Fate::Missing);
            }
            visit(Gap { first, last }, Fate::Explained);
            let Some(after) = last.checked_add(1) else { return };
            next = after;
        }
        if next <= gap.last {
            visit(Gap { first: next, last: gap.last }, Fate::Missing);
        }
    }
}

/// What is known of numbers that no record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Missing,
    /// A gap record tells of them.
    Explained,
}

#[cfg(test)]
mod tests {
    use keyferry_event::{Encoder, Format, HeaderMode, SchemaId};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_notice_is_read_in_every_format() {
        let (epoch, why) = (keyferry_journal::Epoch(7), "why".to_owned());
        let mut gap = keyferry_event::Gap::new(keyferry_event::GapReason::NoSpace, epoch, "kc-1", why);
        gap.user_events = Some(3);
        for format in Format::ALL {
            let mut encoder = Encoder::new(HeaderMode::Minimal).formatting(format);
            encoder.learn("topic", SchemaId(0x7B22_0A7B));
            let record = encoder.encode_gap("topic", &gap, 42, 7).unwrap();
            let notice = read(record.value).unwrap_or_else(|| panic!("{format:?} tells of no gap"));
            assert_eq!((&*notice.cause, notice.user_events, &*notice.detail), ("no-space", Some(3), "why"));
        }
        assert!(!is_gap(
            br#"{"type":"LOGIN","data":{"type":"x"},"details":{"gap":{"type":"KEYFERRY_GAP"}}}"#
        ));
    }

    #[test]
    fn a_notice_is_read_and_nothing_else_is() {
        let text = br#"{"type":"KEYFERRY_GAP","cause":"dropped-old","node":"n","epoch":"e","userEvents":3,"adminEvents":null,"firstTime":null,"lastTime":null,"commits":{"from":1,"to":2},"sequences":{"from":4,"to":6},"detail":"d"}"#;
        let notice = read(text).unwrap();
        assert_eq!((&*notice.cause, &*notice.detail), ("dropped-old", "d"));
        assert_eq!((notice.user_events, notice.admin_events), (Some(3), None));
        assert_eq!(notice.sequences, Some(Span { from: 4, to: 6 }));
        for other in [&b"{}"[..], br#"{"type":"LOGIN"}"#, br#"{"type":"KEYFERRY_GAP"}"#, b"\xff"] {
            assert_eq!(read(other), None);
        }
    }

    #[test]
    fn what_the_agent_writes_is_read() {
        let mut gap = keyferry_event::Gap::new(
            keyferry_event::GapReason::Damage,
            keyferry_journal::Epoch(0x100),
            "n",
            "the checkpoint is damaged".to_owned(),
        );
        let written = |gap: &keyferry_event::Gap| read(&serde_json::to_vec(gap).unwrap()).unwrap();
        assert!(written(&gap).renumbers(), "{gap:?}");
        gap.sequences = Some(keyferry_event::Span { from: 4, to: 6 });
        gap.user_events = Some(3);
        let notice = written(&gap);
        assert_eq!((notice.sequences, notice.user_events), (Some(Span { from: 4, to: 6 }), Some(3)));
        assert!(!notice.renumbers());
    }

    #[test]
    fn the_number_of_ranges_has_a_limit_and_what_is_forgotten_is_counted() {
        let mut explained = Explained::default();
        for number in 0..10 {
            explained.add(Span { from: number * 10, to: number * 10 }, 4);
        }
        assert_eq!((explained.ranges.len(), explained.forgotten), (4, 6));
        explained.add(Span { from: 0, to: 100 }, 4);
        assert_eq!((explained.ranges.len(), explained.forgotten), (1, 6));
    }

    proptest! {
        #[test]
        fn what_is_explained_and_what_is_missing_make_up_the_gap(
            ranges in prop::collection::vec((1..60_u64, 0..8_u64), 0..20), first in 1..60_u64, length in 0..30_u64
        ) {
            let mut explained = Explained::default();
            for (from, length) in &ranges {
                explained.add(Span { from: *from, to: from + length }, usize::MAX);
            }
            let gap = Gap { first, last: first + length };
            let mut missing = Vec::new();
            let mut count = 0;
            explained.divide(gap, |part, fate| match fate {
                Fate::Missing => missing.extend(part.first..=part.last),
                Fate::Explained => count += part.last - part.first + 1,
            });
            let is_explained = |number: &u64| ranges.iter().any(|(from, length)| (*from..=from + length).contains(number));
            let expected: Vec<u64> = (gap.first..=gap.last).filter(|number| !is_explained(number)).collect();
            prop_assert_eq!(count, gap.last - gap.first + 1 - expected.len() as u64);
            prop_assert_eq!(missing, expected);
        }
    }
}
