//! What became of the records of the last seconds.
//!
//! A ring of buckets, each a tenth of the window: counts leave it in steps, and its size does not depend on the traffic.

use std::time::Duration;

const BUCKETS: usize = 10;

/// How many records had which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Records that the destination has acknowledged.
    pub acknowledged: u64,
    /// Those of them that took longer than [`Settings::slow_call`](super::Settings::slow_call).
    pub slow: u64,
    /// Records that have failed for a reason other than themselves.
    pub failed: u64,
}

impl Outcomes {
    /// Whether failures are at least `percent` of all outcomes, and there are at least `minimum` of them.
    pub(super) fn fail_at(&self, percent: u8, minimum: u64) -> bool {
        reaches(self.failed, self.acknowledged + self.failed, percent, minimum)
    }

    /// Whether slow ones are at least `percent` of the acknowledgements, and there are at least `minimum` of those.
    pub(super) fn are_slow_at(&self, percent: u8, minimum: u64) -> bool {
        reaches(self.slow, self.acknowledged, percent, minimum)
    }

    fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.slow += other.slow;
        self.failed += other.failed;
    }
}

fn reaches(part: u64, whole: u64, percent: u8, minimum: u64) -> bool {
    whole >= minimum.max(1) && part.saturating_mul(100) >= whole.saturating_mul(u64::from(percent))
}

/// The outcomes of a window of time.
#[derive(Debug)]
pub(super) struct Window {
    bucket_ms: u64,
    buckets: [Bucket; BUCKETS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Which tenth of a window since the clock began.
    number: u64,
    outcomes: Outcomes,
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        let bucket_ms = (length.as_millis() as u64 / BUCKETS as u64).max(1);
        Self { bucket_ms, buckets: [Bucket::default(); BUCKETS] }
    }

    pub(super) fn add(&mut self, outcomes: Outcomes, now_ms: u64) {
        let number = now_ms / self.bucket_ms;
        let bucket = &mut self.buckets[(number % BUCKETS as u64) as usize];
        if bucket.number != number {
            *bucket = Bucket { number, outcomes: Outcomes::default() };
        }
        bucket.outcomes.add(outcomes);
    }

    pub(super) fn sum(&self, now_ms: u64) -> Outcomes {
        let number = now_ms / self.bucket_ms;
        let mut sum = Outcomes::default();
        for bucket in self.buckets.iter().filter(|bucket| bucket.number + BUCKETS as u64 > number) {
            sum.add(bucket.outcomes);
        }
        sum
    }

    pub(super) fn clear(&mut self) {
        self.buckets = [Bucket::default(); BUCKETS];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Outcomes = Outcomes { acknowledged: 0, slow: 0, failed: 1 };

    #[test]
    fn counts_leave_the_window_after_its_length() {
        let mut window = Window::new(Duration::from_secs(10));
        window.add(FAILED, 500);
        window.add(FAILED, 9_500);
        assert_eq!(window.sum(9_999).failed, 2);
        assert_eq!(window.sum(10_000).failed, 1, "the first second has gone");
        assert_eq!(window.sum(19_000).failed, 0);
        window.add(FAILED, 20_000);
        assert_eq!(window.sum(20_000).failed, 1, "a bucket that is used again begins at zero");
        window.clear();
        assert_eq!(window.sum(20_000), Outcomes::default());
    }

    #[test]
    fn a_rate_needs_a_minimum_of_outcomes() {
        let outcomes = Outcomes { acknowledged: 5, slow: 5, failed: 5 };
        assert!(outcomes.fail_at(50, 10) && !outcomes.fail_at(51, 10) && !outcomes.fail_at(50, 11));
        assert!(outcomes.are_slow_at(100, 5) && !outcomes.are_slow_at(100, 6));
        assert!(!Outcomes::default().fail_at(0, 0), "nothing is no rate");
    }
}
