//! Counters with one writer.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::IS_ON;

/// A count that only grows. One thread adds, by a plain load and store; any reads.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: u64) {
        if IS_ON {
            self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A fixed number of counters.
pub(super) struct Cells(Box<[Counter]>);

impl Cells {
    pub(super) fn new(number: usize) -> Self {
        Self((0..number).map(|_| Counter::default()).collect())
    }

    /// Adds to the counter of `index`, which must exist.
    pub(super) fn add(&self, index: usize, more: u64) {
        self.0[index].add(more);
    }

    /// What has been counted: index and count of all that are not zero.
    pub(super) fn counted(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().map(Counter::get).enumerate().filter(|(_, count)| *count > 0)
    }

    /// Every count.
    pub(super) fn all(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(Counter::get)
    }
}

/// Only what has been counted: there are thousands.
impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.counted()).finish()
    }
}
