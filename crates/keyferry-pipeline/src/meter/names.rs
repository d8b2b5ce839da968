//! Names that things are counted under, each learned once.
//!
//! The invariant: **their number and length are limited whatever comes**; what is beyond is counted under [`OTHER`]. A name keeps its index for good.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is counted together because there is no room for more names.
pub const OTHER: &str = "other";

/// A longer name is counted under [`OTHER`], in bytes.
const LONGEST: usize = 128;
/// Where a name is looked for first; a power of two.
const GUESSES: usize = 64;

/// Whether a name that is not known yet becomes known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learn {
    Yes,
    No,
}

/// A table of names. One thread learns; any reads.
#[derive(Debug)]
pub(super) struct Names {
    names: Box<[OnceLock<Box<str>>]>,
    /// By length and last byte, which of the names it was last: mostly it is again.
    guesses: Box<[AtomicUsize]>,
}

impl Names {
    pub(super) fn new(room: usize) -> Self {
        Self {
            names: (0..room).map(|_| OnceLock::new()).collect(),
            guesses: (0..GUESSES).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// How many indexes a table has with `room` for so many names: one more, for [`OTHER`].
    pub(super) const fn indexes(room: usize) -> usize {
        room + 1
    }

    /// How many indexes this one has.
    pub(super) fn size(&self) -> usize {
        Self::indexes(self.names.len())
    }

    /// The index of `name`.
    pub(super) fn index(&self, name: &str, learn: Learn) -> usize {
        let last = name.as_bytes().last().copied().unwrap_or_default();
        let guess = &self.guesses[name.len().wrapping_mul(7).wrapping_add(usize::from(last)) % GUESSES];
        let index = guess.load(Ordering::Relaxed);
        if self.is(index, name) {
            return index;
        }
        let index = self.find(name, learn);
        guess.store(index, Ordering::Relaxed);
        index
    }

    fn is(&self, index: usize, name: &str) -> bool {
        self.names.get(index).and_then(OnceLock::get).is_some_and(|known| **known == *name)
    }

    fn find(&self, name: &str, learn: Learn) -> usize {
        let known = self.names.iter().take_while(|slot| slot.get().is_some()).count();
        if let Some(index) = (0..known).find(|index| self.is(*index, name)) {
            return index;
        }
        match self.names.get(known) {
            Some(slot) if learn == Learn::Yes && name.len() <= LONGEST => {
                // Only one thread learns, so the slot is empty.
                let _ = slot.set(name.into());
                known
            }
            _ => self.names.len(),
        }
    }

    /// The name of `index`.
    pub(super) fn name(&self, index: usize) -> &str {
        self.names.get(index).and_then(OnceLock::get).map_or(OTHER, |name| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_index_and_what_is_too_much_has_one_together() {
        let names = Names::new(2);
        let index = |name: &str| names.index(name, Learn::Yes);
        assert_eq!((index("a"), index("b"), index("a")), (0, 1, 0));
        assert_eq!((index("c"), index("d"), index("b")), (2, 2, 1));
        assert_eq!((names.name(1), names.name(2), names.size()), ("b", OTHER, 3));
    }

    #[test]
    fn names_that_are_guessed_to_be_each_other_are_not_confused() {
        let names = Names::new(4);
        // Of one length and last byte.
        for _ in 0..3 {
            assert_eq!((names.index("xa", Learn::Yes), names.index("ya", Learn::Yes)), (0, 1));
        }
    }

    #[test]
    fn what_is_not_to_be_learned_or_is_too_long_takes_no_room() {
        let names = Names::new(1);
        assert_eq!(names.index("guess", Learn::No), 1);
        assert_eq!(names.index(&"x".repeat(LONGEST + 1), Learn::Yes), 1);
        assert_eq!(names.index("name", Learn::Yes), 0);
        assert_eq!(names.index("name", Learn::No), 0);
    }
}
