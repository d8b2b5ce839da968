//! Names that things are counted under, each learned once.
//!
//! The invariant: **their number and length are limited whatever comes**; what is beyond is counted under [`OTHER`]. A name keeps its index for good.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is counted together because there is no room for more names.
pub const OTHER: &str = "other";

/// A longer name is counted under [`OTHER`], in bytes.
const LONGEST: usize = 128;
/// In so many places a name is looked for first.
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
    /// By length, first and last byte, which of the names it was last: mostly it is again.
    guesses: Box<[AtomicUsize; GUESSES]>,
}

impl Names {
    pub(super) fn new(room: usize) -> Self {
        Self {
            names: (0..room).map(|_| OnceLock::new()).collect(),
            guesses: Box::new([const { AtomicUsize::new(0) }; GUESSES]),
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
    #[inline]
    pub(super) fn index(&self, name: &str, learn: Learn) -> usize {
        let guess = &self.guesses[guess_of(name)];
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

    #[cold]
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

/// Where `name` is looked for first. `CODE_TO_TOKEN` and `REFRESH_TOKEN`, of which there are most, differ in their first bytes only.
fn guess_of(name: &str) -> usize {
    let byte = |byte: Option<&u8>| byte.copied().map_or(0, usize::from);
    let (first, last) = (byte(name.as_bytes().first()), byte(name.as_bytes().last()));
    (7 * name.len() + 5 * first + last) % GUESSES
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
        // Of one length, first and last byte.
        for _ in 0..3 {
            assert_eq!((names.index("xaz", Learn::Yes), names.index("xbz", Learn::Yes)), (0, 1));
        }
    }

    #[test]
    fn what_there_is_most_of_is_looked_for_in_places_of_its_own() {
        let types = ["LOGIN", "CODE_TO_TOKEN", "REFRESH_TOKEN", "LOGOUT", "LOGIN_ERROR", "TOKEN_EXCHANGE"];
        let places: std::collections::BTreeSet<_> = types.into_iter().map(guess_of).collect();
        assert_eq!(places.len(), types.len());
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
