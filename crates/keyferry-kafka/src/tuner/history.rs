//! What was decided, for API and incident evidence.

use std::collections::VecDeque;

use serde::Serialize;

/// How many entries are kept.
pub const HISTORY: usize = 32;

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When, on the clock of whoever drives the tuner, in milliseconds.
    pub at_ms: u64,
    /// What happened and why, in one line.
    pub text: String,
}

/// The last entries, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    entries: VecDeque<Entry>,
}

impl History {
    pub(crate) fn add(&mut self, at_ms: u64, text: String) {
        if self.entries.len() == HISTORY {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { at_ms, text });
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_give_way() {
        let mut history = History::default();
        for at_ms in 0..100 {
            history.add(at_ms, String::new());
        }
        let entries = history.entries();
        assert_eq!((entries.len(), entries[0].at_ms, entries[31].at_ms), (HISTORY, 68, 99));
    }
}
