//! What series have been in the past, as far as rules look back.
//!
//! The invariant: **memory is bounded by the rules, not by time or load.** Only metrics that a rule names are kept, each as far back as
//! its rules look; what is older than a quarter of an hour is thinned to a point a minute, or to one in five where a rule looks back for more than a day.
//!
//! What a rule compares with other days is remembered beyond the end of the process ([`History::past`]), by a point each quarter of an hour.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::labels::{Labels, Selector};
use crate::metric::Sample;

/// How far back every point is kept.
const FINE_MS: u64 = 15 * 60_000;
/// The distance of older points, of what is kept for a day at most and of what is kept for longer.
const COARSE_STEPS_MS: (u64, u64) = (60_000, 300_000);
/// Series of one metric. Collectors bound cardinality themselves; this is against one that does not.
const MOST_SERIES: usize = 2_000;
const DAY_MS: u64 = 86_400_000;
/// The distance of points that are remembered beyond the end of the process.
const PAST_STEP_MS: u64 = 15 * 60_000;

/// A series of other days, as it is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    metric: String,
    labels: Labels,
    points: Vec<Point>,
}

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    at_ms: u64,
    value: f64,
}

/// Series of the metrics that rules name.
#[derive(Debug, Default)]
pub struct History {
    metrics: BTreeMap<String, Metric>,
    looks: u64,
    last_ms: u64,
}

#[derive(Debug, Default)]
struct Metric {
    span_ms: u64,
    series: BTreeMap<Labels, Series>,
}

/// One series.
#[derive(Debug, Default)]
pub struct Series {
    coarse: VecDeque<Point>,
    fine: VecDeque<Point>,
}

impl History {
    /// Keeps `metric` for `span_ms` at least from now on.
    pub fn keep(&mut self, metric: &str, span_ms: u64) {
        let kept = self.metrics.entry(metric.to_owned()).or_default();
        kept.span_ms = kept.span_ms.max(span_ms);
    }

    /// What is to be remembered: the series that a rule looks back on for more than a day.
    pub fn past(&self) -> Vec<Past> {
        let metrics = self.metrics.iter().filter(|(_, metric)| metric.span_ms > DAY_MS);
        let series =
            metrics.flat_map(|(name, metric)| metric.series.iter().map(move |series| (name, series)));
        let past = |(metric, (labels, series)): (&String, (&Labels, &Series))| Past {
            metric: metric.clone(),
            labels: labels.clone(),
            points: series.past(),
        };
        series.map(past).collect()
    }

    /// Remembers what there was in the process before. What counts has begun anew since; of a metric that no rule looks back on any more nothing is kept.
    pub fn remember(&mut self, past: Vec<Past>) {
        for Past { metric, labels, points } in past {
            let (Some(metric), Some(last)) = (self.metrics.get_mut(&metric), points.last().copied()) else {
                continue;
            };
            let anew = Point { value: 0.0, ..last };
            let coarse = points.into_iter().chain([anew]).collect();
            metric.series.insert(labels, Series { coarse, fine: [anew].into() });
        }
    }

    /// Whether a rule names the metric.
    pub fn wants(&self, metric: &str) -> bool {
        self.metrics.contains_key(metric)
    }

    /// Takes in how all series are at `now_ms`.
    pub fn take_in(&mut self, samples: Vec<Sample>, now_ms: u64) {
        let before_ms = (self.looks > 0).then_some(self.last_ms);
        for Sample { metric, labels, value } in samples {
            let counts = is_counter(&metric);
            let Some(metric) = self.metrics.get_mut(&metric) else { continue };
            if value.is_nan() || (metric.series.len() >= MOST_SERIES && !metric.series.contains_key(&labels))
            {
                continue;
            }
            let series = metric.series.entry(labels).or_default();
            // A counter that was not there a moment ago has counted from zero since.
            if let (true, Some(at_ms)) = (counts && series.fine.is_empty(), before_ms) {
                series.fine.push_back(Point { at_ms, value: 0.0 });
            }
            let step_ms = if metric.span_ms > DAY_MS { COARSE_STEPS_MS.1 } else { COARSE_STEPS_MS.0 };
            series.push(Point { at_ms: now_ms, value }, step_ms);
        }
        for metric in self.metrics.values_mut() {
            let oldest = now_ms.saturating_sub(metric.span_ms);
            metric.series.retain(|_, series| series.forget(oldest));
        }
        self.looks += 1;
        self.last_ms = now_ms;
    }

    /// The time of the last look, and the series that `selector` chooses.
    pub fn select<'a>(&'a self, selector: &'a Selector) -> impl Iterator<Item = (&'a Labels, &'a Series)> {
        let metric = self.metrics.get(&selector.metric);
        metric.into_iter().flat_map(|metric| &metric.series).filter(|(labels, _)| selector.selects(labels))
    }

    /// When it was looked last.
    pub fn last_ms(&self) -> u64 {
        self.last_ms
    }
}

/// Whether a metric counts, by the conventions of Prometheus for names.
fn is_counter(metric: &str) -> bool {
    ["_total", "_count", "_bucket", "_sum"].iter().any(|end| metric.ends_with(end))
}

impl Series {
    fn push(&mut self, point: Point, step_ms: u64) {
        self.fine.push_back(point);
        while let Some(oldest) = self.fine.front().copied()
            && oldest.at_ms + FINE_MS < point.at_ms
        {
            self.fine.pop_front();
            if self.coarse.back().is_none_or(|last| last.at_ms + step_ms <= oldest.at_ms) {
                self.coarse.push_back(oldest);
            }
        }
    }

    /// Forgets what is older than `oldest_ms`, but for the last point before it, from which an increase is counted. Whether anything recent is left.
    fn forget(&mut self, oldest_ms: u64) -> bool {
        for points in [&mut self.coarse, &mut self.fine] {
            while points.get(1).is_some_and(|second| second.at_ms <= oldest_ms) {
                points.pop_front();
            }
        }
        let newest = self.fine.back().map_or(0, |point| point.at_ms);
        newest >= oldest_ms.saturating_sub(FINE_MS)
    }

    fn points(&self) -> impl DoubleEndedIterator<Item = Point> + '_ {
        self.coarse.iter().chain(&self.fine).copied()
    }

    /// The first point of each quarter of an hour, and each one that is lower than the one before: there a counter has begun anew.
    fn past(&self) -> Vec<Point> {
        let mut past: Vec<Point> = Vec::new();
        for point in self.points() {
            let is_worth = |last: &Point| {
                last.at_ms / PAST_STEP_MS < point.at_ms / PAST_STEP_MS || point.value < last.value
            };
            if past.last().is_none_or(is_worth) {
                past.push(point);
            }
        }
        past
    }

    /// The value at `at_ms`, if the series was looked at then.
    pub fn value_at(&self, at_ms: u64) -> Option<f64> {
        self.fine.back().filter(|point| point.at_ms == at_ms).map(|point| point.value)
    }

    /// By how much a counter has grown from `from_ms` to `to_ms`. A fall is a restart: it has counted from zero since.
    ///
    /// Of a stretch between two points that were thinned out only the part within counts, as if it had grown evenly: metrics are thinned differently, and a ratio of two of
    /// them must not tell of that.
    pub fn increase(&self, from_ms: u64, to_ms: u64) -> f64 {
        let (mut grown, mut before): (f64, Option<Point>) = (0.0, None);
        for (place, point) in self.points().enumerate().take_while(|(_, point)| point.at_ms <= to_ms) {
            if point.at_ms > from_ms
                && let Some(before) = before
            {
                let whole =
                    if point.value >= before.value { point.value - before.value } else { point.value };
                let is_thin = place <= self.coarse.len() && before.at_ms < from_ms;
                let part = (point.at_ms - from_ms) as f64 / (point.at_ms - before.at_ms).max(1) as f64;
                grown += if is_thin { whole * part } else { whole };
            }
            before = Some(point);
        }
        grown
    }

    /// By how much a gauge changes a second, from the last point before `from_ms` to the newest; `None` with less than two points.
    pub fn slope(&self, from_ms: u64) -> Option<f64> {
        let newest = self.fine.back()?;
        let first = self.points().rfind(|point| point.at_ms <= from_ms).or_else(|| self.points().next())?;
        let seconds = newest.at_ms.checked_sub(first.at_ms).filter(|ms| *ms > 0)? as f64 / 1e3;
        Some((newest.value - first.value) / seconds)
    }

    /// When the oldest point was.
    pub fn begins_ms(&self) -> Option<u64> {
        self.points().next().map(|point| point.at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(history: &mut History, at_s: u64, value: f64) {
        history.take_in(vec![Sample::new("c_total", Labels::default(), value)], at_s * 1_000);
    }

    fn only(history: &History) -> &Series {
        history.metrics["c_total"].series.values().next().unwrap()
    }

    #[test]
    fn an_increase_survives_a_restart_of_what_counts() {
        let mut history = History::default();
        history.keep("c_total", 60_000);
        for (at, value) in [(0, 10.0), (10, 15.0), (20, 2.0), (30, 4.0)] {
            look(&mut history, at, value);
        }
        assert_eq!(only(&history).increase(0, 30_000), 5.0 + 2.0 + 2.0);
        assert_eq!(only(&history).increase(15_000, 30_000), 2.0 + 2.0);
    }

    #[test]
    fn what_is_thinned_more_has_grown_as_much_in_a_window() {
        let mut history = History::default();
        history.keep("fine_total", 6 * 3_600_000);
        history.keep("coarse_total", 7 * DAY_MS);
        for second in (0..4_000_u32).step_by(2) {
            let sample = |name| Sample::new(name, Labels::default(), f64::from(second) * 10.0);
            history.take_in(vec![sample("fine_total"), sample("coarse_total")], u64::from(second) * 1_000);
        }
        let grown = |name: &str| {
            let series = history.metrics[name].series.values().next().unwrap();
            series.increase(history.last_ms - 3_600_000, history.last_ms)
        };
        for name in ["fine_total", "coarse_total"] {
            assert!((grown(name) - 36_000.0).abs() < 1.0, "{name}: {}", grown(name));
        }
    }

    #[test]
    fn a_counter_that_appears_has_counted_from_zero() {
        let mut history = History::default();
        history.keep("c_total", 60_000);
        history.take_in(Vec::new(), 0);
        look(&mut history, 10, 3.0);
        assert_eq!(only(&history).increase(0, 10_000), 3.0);
        let mut begun = History::default();
        begun.keep("c_total", 60_000);
        look(&mut begun, 10, 3.0);
        assert_eq!(
            only(&begun).increase(0, 10_000),
            0.0,
            "what was counted before the first look is no increase"
        );
    }

    #[test]
    fn a_day_costs_a_point_a_minute() {
        let mut history = History::default();
        history.keep("c_total", 86_400_000);
        for step in 0..2 * 86_400 / 5 {
            look(&mut history, step * 5, step as f64);
        }
        let series = only(&history);
        assert!(series.points().count() < 86_400 / 60 + 15 * 60 / 5 + 10, "{}", series.points().count());
        let grown = series.increase(history.last_ms() - 3_600_000, history.last_ms());
        assert!((grown - 720.0).abs() <= 12.0, "{grown}");
    }

    #[test]
    fn what_other_days_had_is_remembered_and_what_counts_begins_anew() {
        let mut before = History::default();
        before.keep("c_total", 2 * DAY_MS);
        before.keep("other", 60_000);
        for step in 0..4 * 3_600 / 5 {
            look(&mut before, step * 5, 100.0 + step as f64);
        }
        let (past, end_ms) = (before.past(), before.last_ms());
        assert!(past.len() == 1 && past[0].points.len() == 16, "{past:?}");

        let mut after = History::default();
        after.keep("c_total", 2 * DAY_MS);
        after.remember(past);
        // More than there was at the end: it cannot be told from a counter that has gone on, and has begun anew all the same.
        look(&mut after, end_ms / 1_000 + 600, 5_000.0);
        let grown = only(&after).increase(0, after.last_ms());
        assert!((grown - 2_880.0 - 5_000.0).abs() < 190.0, "{grown}");
        assert_eq!(only(&after).begins_ms(), Some(0));
        after.remember(vec![Past {
            metric: "unknown".to_owned(),
            labels: Labels::default(),
            points: vec![],
        }]);
        assert_eq!(after.past().len(), 1);
    }

    #[test]
    fn a_series_that_is_gone_is_forgotten() {
        let mut history = History::default();
        history.keep("c_total", 60_000);
        look(&mut history, 0, 1.0);
        for at in 1..400 {
            history.take_in(Vec::new(), at * 10_000);
        }
        assert!(history.metrics["c_total"].series.is_empty());
    }
}
