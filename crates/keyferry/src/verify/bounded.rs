//! What is remembered of records and keys, in memory that has a limit.
//!
//! The invariant: **forgetting never makes an error of what is none.** What has been forgotten is not compared any more, and how often that
//! happened is told.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Sequence numbers in one page of fingerprints.
const PAGE: u64 = 4096;

/// A fingerprint for each sequence number of each epoch, 4 bytes each, in pages. At the limit the page that was begun first is
/// forgotten.
#[derive(Debug)]
pub struct Fingerprints {
    pages: HashMap<(usize, u64), Box<[u32]>>,
    begun: VecDeque<(usize, u64)>,
    limit: usize,
}

/// What is known of a sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Its fingerprint.
    Is(u32),
    /// It has been forgotten, or was never there.
    Nothing,
}

impl Fingerprints {
    /// Room for `limit` pages.
    pub fn with_pages(limit: usize) -> Self {
        Self { pages: HashMap::new(), begun: VecDeque::new(), limit }
    }

    /// Remembers the fingerprint of a sequence number that was seen for the first time. 0 stands for none and is remembered as 1.
    pub fn set(&mut self, epoch: usize, sequence: u64, fingerprint: u32) {
        let key = (epoch, sequence / PAGE);
        if !self.pages.contains_key(&key) {
            self.begin(key);
        }
        if let Some(page) = self.pages.get_mut(&key) {
            page[(sequence % PAGE) as usize] = fingerprint.max(1);
        }
    }

    /// The fingerprint of a sequence number.
    pub fn get(&self, epoch: usize, sequence: u64) -> Known {
        let page = self.pages.get(&(epoch, sequence / PAGE));
        match page.map(|page| page[(sequence % PAGE) as usize]) {
            None | Some(0) => Known::Nothing,
            Some(fingerprint) => Known::Is(fingerprint),
        }
    }

    fn begin(&mut self, key: (usize, u64)) {
        if self.begun.len() >= self.limit
            && let Some(oldest) = self.begun.pop_front()
        {
            self.pages.remove(&oldest);
        }
        self.begun.push_back(key);
        self.pages.insert(key, vec![0; PAGE as usize].into_boxed_slice());
    }
}

/// A map of the keys that were used last: at least the last `generation` different ones, at most twice as many.
#[derive(Debug)]
pub struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    generation: usize,
    forgotten: u64,
}

impl<K: Copy + Eq + Hash, V: Copy> Recent<K, V> {
    /// Room for twice `generation` keys.
    pub fn with_generation(generation: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation, forgotten: 0 }
    }

    /// What was last put under `key`, unless it has been forgotten.
    pub fn get(&self, key: K) -> Option<V> {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }

    /// Puts `value` under `key`.
    pub fn put(&mut self, key: K, value: V) {
        if self.young.len() >= self.generation && !self.young.contains_key(&key) {
            self.age();
        }
        self.young.insert(key, value);
    }

    /// How many keys have been forgotten.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn age(&mut self) {
        let young = std::mem::take(&mut self.young);
        let dropped = std::mem::replace(&mut self.old, young);
        self.forgotten += dropped.keys().filter(|key| !self.old.contains_key(key)).count() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_forgotten_a_page_at_a_time_the_oldest_first() {
        let mut fingerprints = Fingerprints::with_pages(2);
        fingerprints.set(0, 1, 11);
        fingerprints.set(0, PAGE, 12);
        fingerprints.set(0, 2, 0);
        assert_eq!(fingerprints.get(0, 1), Known::Is(11));
        assert_eq!(fingerprints.get(0, 2), Known::Is(1));
        assert_eq!(fingerprints.get(1, 1), Known::Nothing);
        fingerprints.set(1, 1, 13);
        assert_eq!(fingerprints.get(0, 1), Known::Nothing);
        assert_eq!(fingerprints.get(0, PAGE), Known::Is(12));
        assert_eq!(fingerprints.get(1, 1), Known::Is(13));
    }

    #[test]
    fn the_last_generation_of_keys_is_always_known() {
        let mut recent = Recent::with_generation(10);
        for key in 0..1000_u32 {
            recent.put(key, key);
            for known in key.saturating_sub(9)..=key {
                assert_eq!(recent.get(known), Some(known), "after {key}");
            }
            assert!(recent.young.len() + recent.old.len() <= 20);
        }
        assert_eq!(recent.forgotten(), 980);
    }
}
