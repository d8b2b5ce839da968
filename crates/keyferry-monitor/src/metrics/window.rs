//! What has passed in the last minute: the difference of two readings of what only grows.

use std::collections::VecDeque;
use std::time::Duration;

use keyferry_pipeline::meter::Counts;

use super::collector::Observation;

/// How far back a window reaches.
const LENGTH: Duration = Duration::from_secs(60);
/// Readings are at least so far apart, so that their number is bounded however often somebody asks.
const SPACING: Duration = Duration::from_secs(5);

/// What has become of records since the agent started, over all shipments.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Totals {
    published: u64,
    failed: u64,
    /// In milliseconds.
    pub(super) latency: Counts,
}

impl Totals {
    pub(super) fn of(shipments: &[Observation]) -> Self {
        let mut totals = Self::default();
        for observed in shipments.iter().filter_map(|shipment| shipment.standing.as_ref().ok()) {
            totals.published += observed.meter.events_published().map(|of| of.count).sum::<u64>();
            totals.failed += observed.meter.failures().iter().map(|(_, count)| count).sum::<u64>();
            totals.latency.add(&observed.meter.latency().counts());
        }
        totals
    }

    pub(super) fn error_rate(&self) -> f64 {
        let all = self.published + self.failed;
        if all == 0 { 0.0 } else { self.failed as f64 / all as f64 }
    }

    /// A figure that is lower than before belongs to a shipment that has begun anew.
    fn since(&self, earlier: &Self) -> Self {
        let since = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now);
        Self {
            published: since(self.published, earlier.published),
            failed: since(self.failed, earlier.failed),
            latency: self.latency.since(&earlier.latency),
        }
    }
}

/// Readings of the last minute, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Window {
    readings: VecDeque<(Duration, Totals)>,
}

impl Window {
    /// Notes what there was `at` a time, and answers what has come since the reading that is a minute old, or the beginning.
    pub(super) fn advance(&mut self, totals: Totals, at: Duration) -> Totals {
        // One that is older than the window stays as its beginning.
        while self.readings.get(1).is_some_and(|(then, _)| *then + LENGTH <= at) {
            self.readings.pop_front();
        }
        let since = match self.readings.front() {
            Some((_, earlier)) => totals.since(earlier),
            None => totals.clone(),
        };
        if self.readings.back().is_none_or(|(then, _)| *then + SPACING <= at) {
            if self.readings.is_empty() {
                self.readings.push_back((Duration::ZERO, Totals::default()));
            }
            self.readings.push_back((at, totals));
        }
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(published: u64, failed: u64) -> Totals {
        Totals { published, failed, ..Totals::default() }
    }

    #[test]
    fn what_is_older_than_a_minute_does_not_count() {
        let mut window = Window::default();
        let mut at = |seconds, published, failed| {
            let since = window.advance(totals(published, failed), Duration::from_secs(seconds));
            (since.published, since.failed)
        };
        assert_eq!(at(10, 90, 10), (90, 10), "since the beginning");
        assert_eq!(at(20, 100, 10), (100, 10));
        assert_eq!(at(69, 100, 10), (100, 10), "the beginning is less than a reading away");
        assert_eq!(at(70, 150, 10), (60, 0), "since the reading of a minute ago");
        assert_eq!(at(71, 151, 11), (61, 1));
    }

    #[test]
    fn a_shipment_that_begins_anew_does_not_make_it_negative() {
        let mut window = Window::default();
        window.advance(totals(100, 100), Duration::from_secs(1));
        window.advance(totals(100, 100), Duration::from_secs(70));
        assert_eq!(window.advance(totals(5, 0), Duration::from_secs(71)).published, 5);
    }

    #[test]
    fn the_number_of_readings_is_bounded() {
        let mut window = Window::default();
        for at in 0..10_000 {
            window.advance(totals(at, 0), Duration::from_millis(at * 10));
        }
        assert!(window.readings.len() <= 14, "{}", window.readings.len());
    }

    #[test]
    fn the_error_rate_is_the_part_that_failed() {
        assert_eq!(totals(0, 0).error_rate(), 0.0);
        assert_eq!(totals(3, 1).error_rate(), 0.25);
    }
}
