//! What others may ask of a pipeline while it runs.
//!
//! The invariant: **nobody can make the pipeline wait, and nothing here can lose an event.** Every wish is an atomic that the pipeline reads once a turn, or lies
//! behind one that is taken only when nobody holds it. The wishes
//! are independent of each other, so that no order between them matters.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::Duration;

use keyferry_event::{Format, HeaderMode};

use crate::breaker::{self, Forced};
use crate::in_flight::Credit;
use crate::pace::REST;
use crate::pipeline::millis;
use crate::retention::Retention;
use crate::{Settings, backpressure};

/// Those of the [`Settings`] that can be others from one turn to the next: none of them decides on the number of a record, or on whether it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunables {
    /// Which headers records carry.
    pub headers: HeaderMode,
    /// What their values look like.
    pub format: Format,
    /// See [`Settings::settle_delay`].
    pub settle_delay: Duration,
    /// How long delivered segments are kept.
    pub retention: Retention,
    /// See [`Settings::delivery_timeout`].
    pub delivery_timeout: Duration,
    /// When sending is interrupted, and for how long.
    pub breaker: breaker::Settings,
    /// When a lag counts as how serious.
    pub backpressure: backpressure::Settings,
}

impl Tunables {
    /// Those of `settings`.
    pub fn of(settings: &Settings) -> Self {
        let Settings {
            headers,
            content,
            settle_delay,
            retention,
            delivery_timeout,
            breaker,
            backpressure,
            ..
        } = settings.clone();
        Self {
            headers,
            format: content.format,
            settle_delay,
            retention,
            delivery_timeout,
            breaker,
            backpressure,
        }
    }
}

/// Wishes to one pipeline. Shared by an `Arc`: between the thread that runs the pipeline and those that steer it.
#[derive(Debug)]
pub struct Controls {
    forced: AtomicU8,
    /// Zero is as configured.
    credit_bytes: AtomicUsize,
    credit_records: AtomicUsize,
    /// `u64::MAX` is not known.
    free_bytes: AtomicU64,
    /// Whether there are other settings.
    is_retuned: AtomicBool,
    tunables: Mutex<Option<Tunables>>,
    keep_nothing: AtomicBool,
    hold_replays: AtomicBool,
    rest_ms: AtomicU64,
}

const NOT_FORCED: u8 = 0;
const FORCED_OPEN: u8 = 1;
const FORCED_CLOSED: u8 = 2;

impl Default for Controls {
    fn default() -> Self {
        Self {
            forced: AtomicU8::new(NOT_FORCED),
            credit_bytes: AtomicUsize::new(0),
            credit_records: AtomicUsize::new(0),
            free_bytes: AtomicU64::new(u64::MAX),
            is_retuned: AtomicBool::new(false),
            tunables: Mutex::new(None),
            keep_nothing: AtomicBool::new(false),
            hold_replays: AtomicBool::new(false),
            rest_ms: AtomicU64::new(millis(REST)),
        }
    }
}

impl Controls {
    /// Forces the circuit breaker into a state; `None` leaves it to itself again.
    pub fn force_breaker(&self, forced: Option<Forced>) {
        let forced = match forced {
            None => NOT_FORCED,
            Some(Forced::Open) => FORCED_OPEN,
            Some(Forced::Closed) => FORCED_CLOSED,
        };
        self.forced.store(forced, Ordering::Relaxed);
    }

    /// What the circuit breaker is forced to.
    pub fn forced_breaker(&self) -> Option<Forced> {
        match self.forced.load(Ordering::Relaxed) {
            FORCED_OPEN => Some(Forced::Open),
            FORCED_CLOSED => Some(Forced::Closed),
            _ => None,
        }
    }

    /// Lets other amounts be in flight than the settings say; `None` is as they say. Less than is in flight now takes effect as that settles.
    pub fn set_credit(&self, credit: Option<Credit>) {
        let Credit { bytes, records } = credit.unwrap_or(Credit { bytes: 0, records: 0 });
        self.credit_bytes.store(bytes, Ordering::Relaxed);
        self.credit_records.store(records, Ordering::Relaxed);
    }

    /// What may be in flight, where the settings say `configured`.
    pub fn credit(&self, configured: Credit) -> Credit {
        let or = |wish: &AtomicUsize, configured| match wish.load(Ordering::Relaxed) {
            0 => configured,
            wish => wish,
        };
        Credit {
            bytes: or(&self.credit_bytes, configured.bytes),
            records: or(&self.credit_records, configured.records),
        }
    }

    /// Has the pipeline work by other settings from its next turn on.
    pub fn retune(&self, tunables: Tunables) {
        *self.tunables.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunables);
        self.is_retuned.store(true, Ordering::Release);
    }

    /// The settings that were wished for since this was asked last. Waits for nobody: who is just wishing is heard a turn later.
    pub(crate) fn take_tunables(&self) -> Option<Tunables> {
        if !self.is_retuned.load(Ordering::Acquire) {
            return None;
        }
        let mut tunables = match self.tunables.try_lock() {
            Ok(tunables) => tunables,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        self.is_retuned.store(false, Ordering::Relaxed);
        tunables.take()
    }

    /// Lets nothing be kept that is delivered, or again as much as the settings say. What has gone does not come back.
    pub fn keep_nothing(&self, nothing: bool) {
        self.keep_nothing.store(nothing, Ordering::Relaxed);
    }

    /// What is kept of what is delivered, where the settings say `configured`.
    pub fn retention(&self, configured: Retention) -> Retention {
        if self.keep_nothing.load(Ordering::Relaxed) { Retention::default() } else { configured }
    }

    /// Lets replays of what this pipeline has delivered wait, whatever its backlog is; or no longer.
    pub fn hold_replays(&self, hold: bool) {
        self.hold_replays.store(hold, Ordering::Relaxed);
    }

    /// Whether replays are to wait whatever the backlog is.
    pub fn holds_replays(&self) -> bool {
        self.hold_replays.load(Ordering::Relaxed)
    }

    /// Lets the journal be left alone for so long after a look that has found all there was, so that what comes meanwhile goes together; zero fetches each event at once.
    pub fn set_rest(&self, rest: Duration) {
        self.rest_ms.store(millis(rest), Ordering::Relaxed);
    }

    /// For how many milliseconds the journal is left alone.
    pub(crate) fn rest_ms(&self) -> u64 {
        self.rest_ms.load(Ordering::Relaxed)
    }

    /// Tells how many bytes the journal's file system has left; `None` if that is not known.
    pub fn set_free_bytes(&self, free: Option<u64>) {
        self.free_bytes.store(free.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many bytes the journal's file system had left when it was last told.
    pub fn free_bytes(&self) -> Option<u64> {
        Some(self.free_bytes.load(Ordering::Relaxed)).filter(|free| *free != u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wish_is_kept_until_it_is_taken_back() {
        let controls = Controls::default();
        let configured = Credit { bytes: 10, records: 20 };
        assert_eq!((controls.forced_breaker(), controls.free_bytes()), (None, None));
        assert_eq!(controls.credit(configured), configured);
        for forced in [Some(Forced::Open), Some(Forced::Closed), None] {
            controls.force_breaker(forced);
            assert_eq!(controls.forced_breaker(), forced);
        }
        controls.set_credit(Some(Credit { bytes: 1, records: 2 }));
        assert_eq!(controls.credit(configured), Credit { bytes: 1, records: 2 });
        controls.set_credit(None);
        assert_eq!(controls.credit(configured), configured);
        let tunables = |timeout| Tunables {
            headers: HeaderMode::Minimal,
            format: Format::Ocsf,
            settle_delay: Duration::from_secs(timeout),
            retention: Retention::default(),
            delivery_timeout: Duration::from_secs(timeout),
            breaker: breaker::Settings::default(),
            backpressure: backpressure::Settings::default(),
        };
        assert_eq!(controls.take_tunables(), None);
        controls.retune(tunables(1));
        controls.retune(tunables(2));
        assert_eq!(controls.take_tunables(), Some(tunables(2)), "the last wish counts");
        assert_eq!(controls.take_tunables(), None, "and once");
        assert_eq!(controls.rest_ms(), 4);
        controls.set_rest(Duration::ZERO);
        assert_eq!(controls.rest_ms(), 0);
        controls.set_free_bytes(Some(0));
        assert_eq!(controls.free_bytes(), Some(0));
        let week = Retention { keep: Duration::from_secs(604_800), keep_bytes: Some(1) };
        for nothing in [false, true, false] {
            controls.keep_nothing(nothing);
            controls.hold_replays(nothing);
            assert_eq!(controls.retention(week), if nothing { Retention::default() } else { week });
            assert_eq!(controls.holds_replays(), nothing);
        }
    }
}
