//! Copies told apart from what is new.
//!
//! The invariant: **what is called a copy is one.** Ids are compared as they are, so that nothing new is ever dropped; a copy of what has been forgotten is called new.
//!
//! After a failure Keyferry sends again what was not acknowledged, which is at most 8,192 records of a slot, and the rest of a transaction: copies follow their originals within that distance, times the number of slots whose records come
//! through the same consumer. What a consumer has seen before it was started anew it must know by itself: keep ids, or the offsets, with what you make of the events.

use std::collections::HashSet;

/// Remembers the ids that were seen last: at least the last `generation` different ones, at most twice as many.
#[derive(Debug)]
pub struct Duplicates {
    young: HashSet<Box<str>>,
    old: HashSet<Box<str>>,
    generation: usize,
}

impl Default for Duplicates {
    /// Remembers 100,000 ids at least: of Keycloak's ids, some 20 MB at most.
    fn default() -> Self {
        Self::remembering(100_000)
    }
}

impl Duplicates {
    /// Remembers the last `generation` ids at least.
    #[must_use]
    pub fn remembering(generation: usize) -> Self {
        Self { young: HashSet::new(), old: HashSet::new(), generation: generation.max(1) }
    }

    /// Whether `id` has not been seen yet, as far as is remembered. From now on it has.
    pub fn is_new(&mut self, id: &str) -> bool {
        if self.young.contains(id) {
            return false;
        }
        let is_new = !self.old.contains(id);
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id.into());
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_generation_is_always_known_and_memory_has_a_limit() {
        let mut duplicates = Duplicates::remembering(10);
        for number in 0..1000_usize {
            assert!(duplicates.is_new(&number.to_string()));
            for known in number.saturating_sub(9)..=number {
                let known = known.to_string();
                let is_known = duplicates.young.contains(&*known) || duplicates.old.contains(&*known);
                assert!(is_known, "{known} after {number}");
            }
            assert!(duplicates.young.len() + duplicates.old.len() <= 20);
        }
        assert!(!duplicates.is_new("990") && !duplicates.is_new("999"));
        assert!(duplicates.is_new("3"), "what is forgotten is new");
    }
}
