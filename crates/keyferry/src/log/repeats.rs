//! What passes of a log in which the same is said again and again, and what was said last.
//!
//! The invariant: **the first of everything passes at once, and what does not pass is counted and told.** Memory is bounded by the number of different lines that are
//! remembered.
//!
//! Pure: it is given the time.

use std::collections::{BTreeMap, VecDeque};

/// So many of the same…
const BURST: u32 = 5;
/// … pass in so long.
const WINDOW_MS: u64 = 10_000;
/// Different lines that are remembered.
const MOST_KINDS: usize = 256;
/// Last lines that are kept.
const MOST_LINES: usize = 200;

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes, and so many of the same before it did not.
    Passes(u64),
    /// It does not.
    IsHeldBack,
}

/// What was said, how often.
#[derive(Debug, Default)]
pub struct Repeats {
    kinds: BTreeMap<u64, Kind>,
    last: VecDeque<String>,
}

#[derive(Debug)]
struct Kind {
    since_ms: u64,
    passed: u32,
    held_back: u64,
}

impl Repeats {
    /// Whether a line passes; `kind` stands for what makes it the same as another one.
    pub fn say(&mut self, kind: u64, now_ms: u64) -> Verdict {
        if self.kinds.len() >= MOST_KINDS && !self.kinds.contains_key(&kind) {
            self.kinds.retain(|_, kind| kind.held_back > 0 || kind.since_ms + WINDOW_MS > now_ms);
            if self.kinds.len() >= MOST_KINDS {
                self.kinds.clear();
            }
        }
        let known = self.kinds.entry(kind).or_insert(Kind { since_ms: now_ms, passed: 0, held_back: 0 });
        if known.since_ms + WINDOW_MS <= now_ms {
            (known.since_ms, known.passed) = (now_ms, 0);
        }
        if known.passed >= BURST {
            known.held_back += 1;
            return Verdict::IsHeldBack;
        }
        known.passed += 1;
        Verdict::Passes(std::mem::take(&mut known.held_back))
    }

    /// Keeps a line among the last.
    pub fn keep(&mut self, line: String) {
        if self.last.len() >= MOST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// The last lines, the oldest first.
    pub fn last(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_passes_a_few_times_and_what_did_not_is_told_of() {
        let mut repeats = Repeats::default();
        let passed = |verdict: Verdict| matches!(verdict, Verdict::Passes(0));
        let first = (0..100).filter(|step| passed(repeats.say(1, *step))).count();
        assert_eq!(first, BURST as usize);
        assert_eq!(repeats.say(2, 100), Verdict::Passes(0), "something else passes at once");
        assert_eq!(repeats.say(1, WINDOW_MS), Verdict::Passes(95));
        assert_eq!(repeats.say(1, WINDOW_MS + 1), Verdict::Passes(0));
    }

    #[test]
    fn it_remembers_so_many_and_no_more() {
        let mut repeats = Repeats::default();
        for kind in 0..10_000 {
            assert_eq!(repeats.say(kind, 0), Verdict::Passes(0));
            repeats.keep(kind.to_string());
        }
        assert!(repeats.kinds.len() <= MOST_KINDS);
        assert_eq!((repeats.last().count(), repeats.last().last()), (MOST_LINES, Some("9999")));
    }
}
