//! The settle delay: only what is old enough is published.
//!
//! The invariant: **nothing is published that is younger than the delay by its date, and nothing is held back for more than twice the delay**, even if the clock is set back. What is held back is not taken from the journal: the feed goes
//! back to before it, and so nothing that comes later is published earlier.
//!
//! A date says nothing after the clock was set back: it may lie in the future for hours. But whatever is dated in the future was written before that, and is at least as old as the moment at which it was noticed.
//!
//! For a consumer that reads the user of an event back from Keycloak: right after the commit another node's cache may not know of the change yet.

use std::time::Duration;

use keyferry_journal::Transaction;

use crate::pipeline::{Clock, millis};

/// The journal is not looked into more often for what has become old enough meanwhile.
const PAUSE_MS: u64 = 10;

/// By less the clock is corrected all the time.
const TOLERANCE_MS: u64 = 50;

/// Judges the age of transactions.
#[derive(Debug)]
pub(crate) struct Settling {
    delay_ms: u64,
    /// When the next transaction is worth another look, in monotonic milliseconds; `None` if it is not held back.
    until_ms: Option<u64>,
    clock: Option<SetBack>,
}

/// When the clock was set back last, as far as is known.
#[derive(Clone, Copy, Debug)]
struct SetBack {
    /// By how much the date is ahead of the monotonic clock, at most, since then.
    ahead_ms: u64,
    /// In monotonic milliseconds.
    noticed_ms: u64,
}

impl Settling {
    pub(crate) fn new(delay: Duration) -> Self {
        Self { delay_ms: millis(delay), until_ms: None, clock: None }
    }

    /// From now on the delay is another.
    pub(crate) fn set_delay(&mut self, delay: Duration) {
        (self.delay_ms, self.until_ms) = (millis(delay), None);
    }

    /// Notices whether the clock was set back. What was before the first reading is not known, and so it may have been until then.
    pub(crate) fn observe(&mut self, clock: Clock) {
        let ahead_ms = clock.wall_ms.saturating_sub(clock.monotonic_ms);
        self.clock = Some(match self.clock {
            Some(last) if ahead_ms + TOLERANCE_MS >= last.ahead_ms => {
                SetBack { ahead_ms: last.ahead_ms.max(ahead_ms), ..last }
            }
            _ => SetBack { ahead_ms, noticed_ms: clock.monotonic_ms },
        });
    }

    /// Whether `transaction` must not be published yet.
    pub(crate) fn holds_back(&mut self, transaction: &Transaction<'_>, clock: Clock) -> bool {
        let missing_ms = self.delay_ms.saturating_sub(self.age_ms(transaction.written_ms, clock));
        self.until_ms = (missing_ms > 0).then(|| clock.monotonic_ms + missing_ms.max(PAUSE_MS));
        missing_ms > 0
    }

    /// How old at least it is what was written at `written_ms`.
    fn age_ms(&self, written_ms: u64, clock: Clock) -> u64 {
        match self.clock {
            Some(set_back) if written_ms > clock.wall_ms + TOLERANCE_MS => {
                clock.monotonic_ms - set_back.noticed_ms
            }
            _ => clock.wall_ms.saturating_sub(written_ms),
        }
    }

    /// Whether a transaction is held back.
    pub(crate) fn is_waiting(&self) -> bool {
        self.until_ms.is_some()
    }

    /// Whether there is nothing to look for yet.
    pub(crate) fn is_waiting_at(&self, clock: Clock) -> bool {
        self.until_ms.is_some_and(|until_ms| clock.monotonic_ms < until_ms)
    }

    /// When to look again, in monotonic milliseconds; `None` if nothing is held back.
    pub(crate) fn waits_until_ms(&self) -> Option<u64> {
        self.until_ms
    }

    /// What is read next may be another transaction.
    pub(crate) fn forget(&mut self) {
        self.until_ms = None;
    }
}
