//! The circuit breaker under faults: how it is set, and what it must never do, judged turn by turn.

use std::time::Duration;

use keyferry_event::{Failure, FailureClass};
use keyferry_pipeline::breaker::Settings;
use keyferry_pipeline::{BreakerReport, BreakerState, Credit, Forced};

/// Settings that let it trip for every reason within a history's few seconds.
pub fn settings() -> Settings {
    Settings {
        slow_call: Duration::from_millis(300),
        window: Duration::from_secs(1),
        minimum_outcomes: 10,
        oldest_unacknowledged: Duration::from_millis(200),
        probe: Credit { bytes: 2 << 10, records: 3 },
        probe_timeout: Duration::from_millis(300),
        ..Settings::default()
    }
}

/// What an operator may want of it.
pub fn order(random: &mut fastrand::Rng) -> Option<Forced> {
    match random.u32(..6) {
        0 => Some(Forced::Open),
        1 => Some(Forced::Closed),
        _ => None,
    }
}

/// How things stand at the beginning or the end of a turn.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What the breaker says.
    pub breaker: BreakerReport,
    /// How many records the sink has ever taken.
    pub sent: u64,
    /// What the sink complains of.
    pub trouble: Option<Failure>,
}

impl Standing {
    /// Whether the breaker did what it must in a turn that began like this and ended like `end`. A transaction is sent as a whole, with the gap records that come
    /// before it: `whole` records at most.
    ///
    /// # Errors
    /// What it did.
    pub fn judge(&self, end: &Self, whole: usize) -> Result<(), String> {
        let sent = end.sent - self.sent;
        let (before, after) = (&self.breaker, &end.breaker);
        let never_closed = before.state != BreakerState::Closed
            && after.state != BreakerState::Closed
            && before.closed_total == after.closed_total;
        let always_open = never_closed
            && before.state == BreakerState::Open
            && before.half_opened_total == after.half_opened_total;
        if always_open && sent > 0 {
            return Err(format!("{sent} records were sent while it was open"));
        }
        if never_closed && sent > (settings().probe.records + whole) as u64 {
            return Err(format!("{sent} records were sent as a probe"));
        }
        let must_trip = |trouble: &Failure| {
            matches!(
                trouble.class,
                FailureClass::Authentication | FailureClass::Authorisation | FailureClass::Configuration
            )
        };
        match &end.trouble {
            Some(trouble) if must_trip(trouble) && after.forced.is_none() => match after.state {
                BreakerState::Closed => Err(format!("it is closed although the sink says: {trouble}")),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
