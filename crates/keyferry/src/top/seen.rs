//! What is known of an agent, and how fast it moves.

use keyferry_server::alerting::Incident;
use keyferry_server::model::{Figures, Snapshot};
use serde::Serialize;

/// What is known of an agent at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// What it has told.
    pub snapshot: Snapshot,
    /// How fast it moves; `None` after a first look.
    pub rates: Option<Rates>,
    /// The incidents that it keeps, the latest first.
    pub incidents: Vec<Incident>,
}

/// How fast it moves, each per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// Events met in the journal.
    pub received: f64,
    /// Events acknowledged by Kafka.
    pub published: f64,
    /// Successful logins.
    pub logins: f64,
    /// Failed logins.
    pub login_failures: f64,
}

impl Rates {
    /// Those between two looks. `None` if no time has passed, or the agent has begun anew in between.
    pub fn between(earlier: &Figures, later: &Figures) -> Option<Self> {
        let seconds = later.time.checked_sub(earlier.time).filter(|ms| *ms > 0)? as f64 / 1_000.0;
        let rate = |of: fn(&Figures) -> u64| Some(of(later).checked_sub(of(earlier))? as f64 / seconds);
        Some(Self {
            received: rate(|figures| figures.received)?,
            published: rate(|figures| figures.published)?,
            logins: rate(|figures| figures.logins)?,
            login_failures: rate(|figures| figures.login_failures)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_came_between_two_looks() {
        let at = |time, received| Figures { time, received, ..Figures::default() };
        let rates = Rates::between(&at(1_000, 10), &at(3_000, 40));
        assert_eq!(rates.map(|rates| (rates.received, rates.published)), Some((15.0, 0.0)));
        assert_eq!(Rates::between(&at(3_000, 40), &at(4_000, 2)), None, "it has begun anew");
        assert_eq!(Rates::between(&at(3_000, 40), &at(3_000, 40)), None);
    }
}
