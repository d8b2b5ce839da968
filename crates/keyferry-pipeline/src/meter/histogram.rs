//! A histogram that both kinds of buckets of Prometheus can be read from: classic ones, whose limits somebody chose, and native ones, whose limits are powers of a fixed factor.
//!
//! The invariant: **a bucket lies within one bucket of either kind**, because its limits are those of both: every number of two significant decimal digits (and so the thresholds of
//! objectives: 500 ms, 1 s, 5 s), and every limit of a native histogram of [`NATIVE_SCHEMA`]. So what is exposed is a sum of whole buckets, exact in either form. A native bucket is at
//! most 4.5 % wide, so that a percentile is known within 5 %, whatever its size.
//!
//! Native histograms: [Prometheus, "Native Histograms"](https://prometheus.io/docs/specs/native_histograms/).

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::IS_ON;
use super::cells::{Cells, Counter};

/// The resolution of native buckets: each limit is 2^(2^-4) times the one before.
pub const NATIVE_SCHEMA: i32 = 4;
/// So many native buckets there are from a number to its double.
const PER_DOUBLING: i32 = 1 << NATIVE_SCHEMA;
/// Values up to this have a bucket each.
const EXACT: u64 = 100;
/// The largest value, which in milliseconds are 27 hours. What is larger counts as that.
const LARGEST: u64 = 100_000_000;

/// From a number to its double it is looked up in so many steps (a power of two) where its bucket may be.
const STEPS: u64 = 1 << STEP_BITS;
const STEP_BITS: u32 = 5;
/// The doubling that the first value beyond [`EXACT`] lies in.
const FIRST_DOUBLING: u32 = EXACT.ilog2();

/// The buckets for values in milliseconds.
pub(super) static MILLISECONDS: LazyLock<Scale> = LazyLock::new(|| Scale::new(1_000));
/// The buckets for values in units of ten nanoseconds.
pub(super) static TEN_NANOSECONDS: LazyLock<Scale> = LazyLock::new(|| Scale::new(100_000_000));

/// The buckets for values in one unit.
#[derive(Debug, PartialEq, Eq)]
pub struct Scale {
    per_second: u64,
    /// The last value of each bucket.
    lasts: Box<[u64]>,
    /// In which native bucket of seconds each lies; that of 0, which is in none, does not count.
    natives: Box<[i32]>,
    /// For each step of each doubling, the bucket of its first value.
    guesses: Box<[u16]>,
}

impl Scale {
    fn new(per_second: u64) -> Self {
        let native_last = |index: i32| {
            let within = f64::from(index.rem_euclid(PER_DOUBLING)) / f64::from(PER_DOUBLING);
            let limit = 2_f64.powi(index.div_euclid(PER_DOUBLING)) * within.exp2();
            (limit * per_second as f64) as u64
        };
        // The native bucket of the smallest value, or one before it.
        let mut native = -(PER_DOUBLING * (per_second.ilog2() as i32 + 1));
        let decimal = (1..=6).flat_map(|power| (11..=100).map(move |digits| digits * 10_u64.pow(power)));
        let binary = (native..).map(native_last).take_while(|last| *last <= LARGEST);
        let lasts: BTreeSet<u64> = (0..=EXACT).chain(decimal).chain(binary).collect();
        let lasts: Box<[u64]> = lasts.into_iter().collect();
        let natives = lasts.iter().map(|last| {
            while native_last(native) < *last {
                native += 1;
            }
            native
        });
        let natives = natives.collect();
        let steps = (FIRST_DOUBLING..=LARGEST.ilog2())
            .flat_map(|doubling| (STEPS..2 * STEPS).map(move |leading| leading << (doubling - STEP_BITS)));
        let bucket_of = |value: u64| lasts.partition_point(|last| *last < value);
        // There are about a thousand buckets.
        let guesses = steps.map(|first| bucket_of(first) as u16).collect();
        Self { per_second, lasts, natives, guesses }
    }

    fn bucket_of(&self, value: u64) -> usize {
        if value <= EXACT {
            return value as usize;
        }
        let value = value.min(LARGEST);
        let doubling = value.ilog2();
        let step = (value >> (doubling - STEP_BITS)) % STEPS;
        let guess = u64::from(doubling - FIRST_DOUBLING) * STEPS + step;
        let mut bucket = usize::from(self.guesses[guess as usize]);
        while self.lasts[bucket] < value {
            bucket += 1;
        }
        bucket
    }

    fn middle_of(&self, bucket: usize) -> f64 {
        let first = bucket.checked_sub(1).map_or(0, |before| self.lasts[before] + 1);
        (first + self.lasts[bucket]) as f64 / 2.0
    }
}

/// Counts values. One thread records; any reads.
#[derive(Debug)]
pub struct Histogram {
    scale: &'static Scale,
    buckets: Cells,
    sum: Counter,
}

impl Histogram {
    pub(super) fn new(scale: &'static Scale) -> Self {
        Self { scale, buckets: Cells::new(scale.lasts.len()), sum: Counter::default() }
    }

    /// Records `value` so many times.
    pub(super) fn record(&self, value: u64, times: u64) {
        self.buckets.add(self.scale.bucket_of(value), times);
        self.sum.add(value.wrapping_mul(times));
    }

    /// What has been recorded up to now.
    pub fn counts(&self) -> Counts {
        Counts { scale: self.scale, buckets: self.buckets.all().collect(), sum: self.sum.get() }
    }
}

/// A value that has come so many times in a row, and is in its histogram once that is told: of what is measured in milliseconds, many events of one turn have the same.
#[derive(Debug, Default)]
pub(super) struct Run {
    value: u64,
    times: u64,
}

impl Run {
    /// Adds `value`. If those before were others, `histogram` records them.
    #[inline]
    pub(super) fn add(&mut self, value: u64, histogram: &Histogram) {
        if !IS_ON {
            return;
        }
        if value != self.value {
            self.tell(histogram);
            self.value = value;
        }
        self.times += 1;
    }

    /// `histogram` records what has come up to now.
    pub(super) fn tell(&mut self, histogram: &Histogram) {
        if self.times > 0 {
            histogram.record(self.value, std::mem::take(&mut self.times));
        }
    }
}

/// What a histogram has recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    scale: &'static Scale,
    /// Empty is all zero.
    buckets: Vec<u64>,
    sum: u64,
}

/// Nothing, in milliseconds.
impl Default for Counts {
    fn default() -> Self {
        Self { scale: &MILLISECONDS, buckets: Vec::new(), sum: 0 }
    }
}

/// The same in native buckets of seconds, of [`NATIVE_SCHEMA`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Native {
    /// How many values are 0.
    pub zeros: u64,
    /// Index and count of each bucket that has any, in their order. The bucket `i` is of what is more than 2^((i-1)/16) s and at most 2^(i/16) s.
    pub buckets: Vec<(i32, u64)>,
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

    /// How many of the units that values are counted in make a second.
    pub fn per_second(&self) -> f64 {
        self.scale.per_second as f64
    }

    /// How many of them are at most `limit`, which must have no more than two significant digits.
    pub fn at_most(&self, limit: u64) -> u64 {
        self.buckets.iter().take(self.scale.bucket_of(limit) + 1).sum()
    }

    /// The same in native buckets.
    pub fn native(&self) -> Native {
        let mut buckets: Vec<(i32, u64)> = Vec::new();
        let counted = self.scale.natives.iter().zip(&self.buckets).skip(1).filter(|(_, count)| **count > 0);
        for (index, count) in counted {
            match buckets.last_mut() {
                Some((last, sum)) if last == index => *sum += count,
                _ => buckets.push((*index, *count)),
            }
        }
        Native { zeros: self.buckets.first().copied().unwrap_or_default(), buckets }
    }

    /// What `p` of a hundred values do not exceed, within 5 %; `None` if there are none.
    pub fn percentile(&self, p: f64) -> Option<f64> {
        let count = self.count();
        let rank = ((p.clamp(0.0, 100.0) / 100.0 * count as f64).ceil() as u64).max(1);
        let mut below = 0;
        let bucket = self.buckets.iter().position(|bucket| {
            below += bucket;
            below >= rank
        })?;
        Some(self.scale.middle_of(bucket))
    }

    /// These and `others`, which are counted in the same unit.
    pub fn add(&mut self, others: &Self) {
        self.buckets.resize(self.scale.lasts.len(), 0);
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

#[cfg(test)]
#[cfg(feature = "metrics")]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Counts {
        of_scale(&MILLISECONDS, values)
    }

    fn of_scale(scale: &'static Scale, values: impl IntoIterator<Item = u64>) -> Counts {
        let histogram = Histogram::new(scale);
        values.into_iter().for_each(|value| histogram.record(value, 1));
        histogram.counts()
    }

    /// Values of every size.
    fn values() -> impl Iterator<Item = u64> {
        std::iter::successors(Some(1_u64), |value| Some(value + value / 97 + 1)).take_while(|v| *v < LARGEST)
    }

    #[test]
    fn every_number_of_two_digits_ends_a_bucket() {
        for scale in [&*MILLISECONDS, &*TEN_NANOSECONDS] {
            for limit in (1..100).flat_map(|digits| (0..6).map(move |power| digits * 10_u64.pow(power))) {
                assert_eq!(of_scale(scale, [limit, limit + 1]).at_most(limit), 1, "{limit}");
            }
        }
    }

    #[test]
    fn a_value_is_in_the_first_bucket_that_reaches_it() {
        for scale in [&*MILLISECONDS, &*TEN_NANOSECONDS] {
            assert!(scale.lasts.len() < 1_100, "{} buckets", scale.lasts.len());
            for value in values().chain(scale.lasts.iter().flat_map(|last| [*last, last + 1])) {
                let wanted = scale.lasts.partition_point(|last| *last < value.min(LARGEST));
                assert_eq!(scale.bucket_of(value), wanted, "{value}");
            }
        }
    }

    #[test]
    fn percentiles_are_known_within_five_percent() {
        for value in values() {
            let seen = of([value]).percentile(50.0).unwrap();
            assert!((seen - value as f64).abs() <= 0.05 * value as f64, "{value}: {seen}");
        }
    }

    #[test]
    fn a_native_bucket_has_what_lies_between_its_limits() {
        let limit = |index: i32| (f64::from(index) / f64::from(PER_DOUBLING)).exp2();
        for scale in [&*MILLISECONDS, &*TEN_NANOSECONDS] {
            for value in values() {
                let native = of_scale(scale, [value, 0]).native();
                let [(index, 1)] = native.buckets[..] else { panic!("{value}: {native:?}") };
                let seconds = value as f64 / scale.per_second as f64;
                assert!(
                    limit(index - 1) < seconds && seconds <= limit(index) * (1.0 + 1e-12),
                    "{value}: {index}"
                );
                assert_eq!(native.zeros, 1);
            }
        }
        assert_eq!(of([1_000, 1_000, 1_001, 500]).native().buckets, [(-16, 1), (0, 2), (1, 1)]);
    }

    #[test]
    fn a_percentile_is_the_value_of_its_rank() {
        let counts = of(1..=100);
        assert_eq!((counts.percentile(50.0), counts.percentile(99.0)), (Some(50.0), Some(99.0)));
        assert_eq!((counts.percentile(0.0), counts.percentile(100.0)), (Some(1.0), Some(100.0)));
        assert_eq!((counts.count(), counts.sum()), (100, 5_050));
        assert_eq!(Counts::default().percentile(50.0), None);
        assert_eq!(Counts::default().native(), Native::default());
    }

    #[test]
    fn what_comes_in_a_row_is_recorded_as_if_it_had_come_one_by_one() {
        let values = [0, 7, 7, 7, 450, 0, 0, 7];
        let histogram = Histogram::new(&MILLISECONDS);
        let mut run = Run::default();
        for value in values {
            run.add(value, &histogram);
        }
        assert_eq!(histogram.counts().count(), 7, "the last one may still come again");
        run.tell(&histogram);
        run.tell(&histogram);
        assert_eq!(histogram.counts(), of(values));
    }

    #[test]
    fn what_is_too_large_counts_as_the_largest() {
        let counts = of([u64::MAX, 100_000_001, 100_000_000]);
        assert_eq!((counts.count(), counts.at_most(100_000_000)), (3, 3));
    }

    #[test]
    fn a_window_is_the_difference_of_two_readings() {
        let histogram = Histogram::new(&MILLISECONDS);
        histogram.record(7, 1);
        let before = histogram.counts();
        histogram.record(9, 1);
        let since = histogram.counts().since(&before);
        assert_eq!((since.count(), since.sum(), since.percentile(50.0)), (1, 9, Some(9.0)));
        let anew = of([5]);
        assert_eq!(anew.since(&histogram.counts()).count(), 1);
    }
}
