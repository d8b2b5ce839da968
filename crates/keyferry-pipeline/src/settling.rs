//! The settle delay: only what is old enough is published.
//!
//! The invariant: **nothing is published before it is as old as the delay, and nothing is held back for more than the delay** from the moment at which it was first read, whatever becomes of the clock. What is held back is not taken from the journal: the feed goes back to before it, and
//! so nothing that comes later is published earlier.
//!
//! For a consumer that reads the user of an event back from Keycloak: right after the commit another node's cache may not know of the change yet.

use std::time::Duration;

use keyferry_journal::{Epoch, Transaction};

use crate::pipeline::Clock;

/// The journal is not looked into more often for what has become old enough meanwhile.
const PAUSE_MS: u64 = 10;

/// Judges the age of transactions.
#[derive(Debug)]
pub(crate) struct Settling {
    delay_ms: u64,
    held: Option<Held>,
}

/// A transaction that is not old enough.
#[derive(Clone, Copy, Debug)]
struct Held {
    epoch: Epoch,
    id: u64,
    /// When it was first read, in monotonic milliseconds.
    met_ms: u64,
    /// When it is worth while to look at it again.
    until_ms: u64,
}

impl Settling {
    pub(crate) fn new(delay: Duration) -> Self {
        Self { delay_ms: millis(delay), held: None }
    }

    /// From now on the delay is another.
    pub(crate) fn set_delay(&mut self, delay: Duration) {
        *self = Self::new(delay);
    }

    /// Whether `transaction` must not be published yet.
    pub(crate) fn holds_back(&mut self, transaction: &Transaction<'_>, clock: Clock) -> bool {
        if self.delay_ms == 0 {
            return false;
        }
        let now_ms = clock.monotonic_ms;
        let is_it = |held: &Held| (held.epoch, held.id) == (transaction.epoch, transaction.id);
        let met_ms = self.held.filter(is_it).map_or(now_ms, |held| held.met_ms);
        let by_date_ms = clock.wall_ms.saturating_sub(transaction.written_ms);
        let age_ms = by_date_ms.max(now_ms - met_ms);
        let missing_ms = self.delay_ms.saturating_sub(age_ms);
        self.held = (missing_ms > 0).then_some(Held {
            epoch: transaction.epoch,
            id: transaction.id,
            met_ms,
            until_ms: now_ms + missing_ms.max(PAUSE_MS),
        });
        missing_ms > 0
    }

    /// Whether a transaction is held back.
    pub(crate) fn is_waiting(&self) -> bool {
        self.held.is_some()
    }

    /// Whether there is nothing to look for yet.
    pub(crate) fn is_waiting_at(&self, clock: Clock) -> bool {
        self.waits_until_ms().is_some_and(|until_ms| clock.monotonic_ms < until_ms)
    }

    /// When to look again, in monotonic milliseconds; `None` if nothing is held back.
    pub(crate) fn waits_until_ms(&self) -> Option<u64> {
        self.held.map(|held| held.until_ms)
    }

    /// What is read next may be another transaction.
    pub(crate) fn forget(&mut self) {
        self.held = None;
    }
}

/// Saturates after 584 million years.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
