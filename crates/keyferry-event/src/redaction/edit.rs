//! Edits of a text, and of texts that stand escaped in it.
//!
//! The invariant: **what is put in needs no escaping, however deeply the place is escaped**: letters, digits and a few signs, never a quote or a backslash. So an edit of a string within a string is an edit of
//! the outermost text, at another place.

use std::ops::Range;

use crate::json;

/// What is put in place of a secret: Keycloak's own mask.
pub(super) const MASK: &[u8] = b"**********";

/// One edit: a range of the outermost text, and what is put there, as a range of [`Edits::inserted`].
#[derive(Clone, Debug)]
struct Edit {
    place: Range<usize>,
    inserted: Range<usize>,
}

/// A string that is being read as a text of its own.
#[derive(Debug, Default)]
struct Level {
    /// Where its content begins in the text that it stands in.
    begin: usize,
    /// After each escape, how much is decoded and of how much; ascending.
    escapes: Vec<(usize, usize)>,
}

impl Level {
    /// Where the place `at` of the decoded text stands in the text around it.
    fn outer(&self, at: usize) -> usize {
        let passed = self.escapes.partition_point(|(decoded, _)| *decoded <= at);
        let (decoded, written) = passed.checked_sub(1).map_or((0, 0), |last| self.escapes[last]);
        self.begin + written + (at - decoded)
    }
}

/// The edits of one text. Reused from text to text.
#[derive(Debug, Default)]
pub(super) struct Edits {
    edits: Vec<Edit>,
    inserted: Vec<u8>,
    /// The strings within strings that are being read, the outermost first. Those beyond `depth` are kept for their memory.
    levels: Vec<Level>,
    depth: usize,
}

/// A state of the edits to which they can return.
pub(super) struct Mark(usize);

impl Edits {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.edits.clear();
        self.inserted.clear();
        self.depth = 0;
    }

    /// Whether there is nothing to do.
    pub(super) fn are_none(&self) -> bool {
        self.edits.is_empty()
    }

    /// How many strings are open.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Opens the string whose content is at `place` of the innermost text, and writes what it stands for to `decoded`. From now on that is the innermost text.
    pub(super) fn open(&mut self, text: &[u8], place: Range<usize>, decoded: &mut Vec<u8>) {
        if self.levels.len() == self.depth {
            self.levels.push(Level::default());
        }
        let level = &mut self.levels[self.depth];
        (level.begin, self.depth) = (place.start, self.depth + 1);
        level.escapes.clear();
        json::decode(&text[place], decoded, |decoded, written| level.escapes.push((decoded, written)));
    }

    /// Leaves the innermost text.
    pub(super) fn close(&mut self) {
        self.depth -= 1;
    }

    /// The state now.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.edits.len())
    }

    /// Takes back what was done since `mark`.
    pub(super) fn undo(&mut self, mark: Mark) {
        self.edits.truncate(mark.0);
    }

    /// Puts what `write` writes to `place` of the innermost text: nothing that needs escaping.
    pub(super) fn put(&mut self, place: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.inserted.len();
        write(&mut self.inserted);
        let outermost = |at| self.levels[..self.depth].iter().rev().fold(at, |at, level| level.outer(at));
        let place = outermost(place.start)..outermost(place.end);
        self.edits.push(Edit { place, inserted: begin..self.inserted.len() });
    }

    /// Writes `text` with the edits to `edited`, from its beginning.
    pub(super) fn apply(&mut self, text: &[u8], edited: &mut Vec<u8>) {
        edited.clear();
        self.edits.sort_by_key(|edit| edit.place.start);
        let mut done = 0;
        for Edit { place, inserted } in &self.edits {
            edited.extend_from_slice(&text[done..place.start]);
            edited.extend_from_slice(&self.inserted[inserted.clone()]);
            done = place.end;
        }
        edited.extend_from_slice(&text[done..]);
    }
}
