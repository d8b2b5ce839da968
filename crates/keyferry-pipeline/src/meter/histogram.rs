//! A histogram whose buckets are whole numbers of two significant decimal digits, as in HdrHistogram with a precision of two digits.
//!
//! The invariant: **a bucket is at most a tenth as wide as its values**, so that a percentile is known within 5 %, whatever its size; and every number
//! of two significant digits ends a bucket, so that the coarser buckets of Prometheus (and the thresholds of objectives: 500 ms, 1 s, 5 s) are sums of whole ones.

use super::cells::{Cells, Counter};

/// Values up to this have a bucket each.
const EXACT: u64 = 100;
/// Buckets of each power of ten beyond.
const PER_DECADE: u64 = 90;
/// Powers of ten beyond [`EXACT`]: up to 10^8, which in milliseconds are 27 hours. What is larger counts as that.
const DECADES: u64 = 6;
/// How many buckets there are: one for each value from 0 to [`EXACT`], and those beyond.
const BUCKETS: usize = (EXACT + 1 + PER_DECADE * DECADES) as usize;

/// Counts values. One thread records; any reads.
#[derive(Debug)]
pub struct Histogram {
    buckets: Cells,
    sum: Counter,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { buckets: Cells::new(BUCKETS), sum: Counter::default() }
    }

    pub(super) fn record(&self, value: u64) {
        self.buckets.add(bucket_of(value));
        self.sum.add(value);
    }

    /// What has been recorded up to now.
    pub fn counts(&self) -> Counts {
        Counts { buckets: self.buckets.all().collect(), sum: self.sum.get() }
    }
}

/// What a histogram has recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Empty is all zero.
    buckets: Vec<u64>,
    sum: u64,
}

impl Counts {
    /// How many values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How many of them are at most `limit`, which must have no more than two significant digits.
    pub fn at_most(&self, limit: u64) -> u64 {
        self.buckets.iter().take(bucket_of(limit) + 1).sum()
    }

    /// What `p` of a hundred values do not exceed, within 5 %; `None` if there are none.
    pub fn percentile(&self, p: f64) -> Option<f64> {
        let count = self.count();
        let rank = ((p.clamp(0.0, 100.0) / 100.0 * count as f64).ceil() as u64).max(1);
        let mut below = 0;
        let index = self.buckets.iter().position(|bucket| {
            below += bucket;
            below >= rank
        })?;
        Some(middle_of(index))
    }

    /// These and `others`.
    pub fn add(&mut self, others: &Self) {
        self.buckets.resize(BUCKETS, 0);
        self.buckets.iter_mut().zip(&others.buckets).for_each(|(mine, more)| *mine += more);
        self.sum += others.sum;
    }

    /// What has come since `earlier`. A bucket that has fewer than then counts from its beginning: its pipeline has begun anew.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (now, then) in since.buckets.iter_mut().zip(&earlier.buckets) {
            *now = now.checked_sub(*then).unwrap_or(*now);
        }
        since.sum = since.sum.checked_sub(earlier.sum).unwrap_or(since.sum);
        since
    }
}

fn bucket_of(value: u64) -> usize {
    if value <= EXACT {
        return value as usize;
    }
    // Upper ends belong to their bucket: 110 is the last value of the first one beyond 100.
    let (mut leading, mut decade) = (value - 1, 0);
    while leading >= EXACT && decade < DECADES {
        leading /= 10;
        decade += 1;
    }
    if leading >= EXACT {
        return BUCKETS - 1;
    }
    (EXACT + 1 + PER_DECADE * (decade - 1) + (leading - EXACT / 10)) as usize
}

/// The middle of a bucket.
fn middle_of(index: usize) -> f64 {
    let Some(beyond) = (index as u64).checked_sub(EXACT + 1) else { return index as f64 };
    let (decade, step) = (beyond / PER_DECADE + 1, beyond % PER_DECADE);
    let width = 10_u64.pow(decade as u32);
    ((step + EXACT / 10) * width) as f64 + (width + 1) as f64 / 2.0
}

#[cfg(test)]
#[cfg(feature = "metrics")]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Counts {
        let histogram = Histogram::new();
        values.into_iter().for_each(|value| histogram.record(value));
        histogram.counts()
    }

    #[test]
    fn every_number_of_two_digits_ends_a_bucket() {
        for limit in (1..100).flat_map(|digits| (0..6).map(move |power| digits * 10_u64.pow(power))) {
            assert_eq!(of([limit, limit + 1]).at_most(limit), 1, "{limit}");
        }
    }

    #[test]
    fn percentiles_are_known_within_five_percent() {
        let mut value = 1;
        while value < 100_000_000 {
            let seen = of([value]).percentile(50.0).unwrap();
            assert!((seen - value as f64).abs() <= 0.05 * value as f64, "{value}: {seen}");
            value += value / 97 + 1;
        }
    }

    #[test]
    fn a_percentile_is_the_value_of_its_rank() {
        let counts = of(1..=100);
        assert_eq!((counts.percentile(50.0), counts.percentile(99.0)), (Some(50.0), Some(99.0)));
        assert_eq!((counts.percentile(0.0), counts.percentile(100.0)), (Some(1.0), Some(100.0)));
        assert_eq!((counts.count(), counts.sum()), (100, 5_050));
        assert_eq!(Counts::default().percentile(50.0), None);
    }

    #[test]
    fn what_is_too_large_counts_as_the_largest() {
        let counts = of([u64::MAX, 100_000_001, 100_000_000]);
        assert_eq!((counts.count(), counts.at_most(100_000_000)), (3, 3));
    }

    #[test]
    fn a_window_is_the_difference_of_two_readings() {
        let histogram = Histogram::new();
        histogram.record(7);
        let before = histogram.counts();
        histogram.record(9);
        let since = histogram.counts().since(&before);
        assert_eq!((since.count(), since.sum(), since.percentile(50.0)), (1, 9, Some(9.0)));
        let anew = of([5]);
        assert_eq!(anew.since(&histogram.counts()).count(), 1);
    }
}
