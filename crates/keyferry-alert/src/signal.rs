//! How a number that a rule watches arises from metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use crate::history::{History, Series};
use crate::labels::{Labels, Selector, Selectors};
use crate::units::{millis, span};

/// How a number arises. The window of every kind ends now.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Signal {
    /// The value itself.
    Value(Gauge),
    /// How long ago a time is that a metric tells in seconds since the Unix epoch, in seconds.
    Since(Gauge),
    /// How long it is until such a time, in seconds.
    Until(Gauge),
    /// By how much a gauge changes a second.
    Slope(Windowed),
    /// By how much a counter grows a second.
    Rate(Windowed),
    /// By how much a counter grows in the window.
    Increase(Windowed),
    /// What part of a whole something is. Of counters, by their increase in the window.
    Ratio(Ratio),
    /// How much is used of what there is: a counter's growth a second as a part of a gauge.
    Usage(Usage),
    /// A quantile of a histogram, interpolated within a bucket as Prometheus' `histogram_quantile` does.
    Quantile(Quantile),
    /// 1 where there is no such series, else nothing.
    Absent(Absent),
    /// How fast an error budget is used up: 1 uses it up exactly in its period. Of a long and a short window the lower one, so that it rises only with what
    /// lasts and falls as soon as that is over (Google, "The Site Reliability Workbook", 2018, chapter 5, multiwindow, multi-burn-rate alerts).
    BurnRate(BurnRate),
    /// How much a counter grows in the window, compared with the mean of the same window on the days before. Nothing, until there is a whole day to compare with.
    Seasonal(Seasonal),
}

/// Series, as they are now.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gauge {
    /// Which series.
    pub metric: Selector,
    /// By which labels they are joined. Default: each for itself.
    pub by: Option<Vec<String>>,
    /// How they are joined.
    #[serde(default)]
    pub join: Join,
}

/// How several series become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// The largest counts.
    #[default]
    Max,
    /// The smallest counts.
    Min,
    /// They are added up.
    Sum,
}

/// Series over a time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windowed {
    /// Which series.
    pub metric: Selector,
    /// How long.
    #[serde(with = "span")]
    pub window: Duration,
    /// By which labels they are added up. Default: each for itself.
    pub by: Option<Vec<String>>,
}

/// A part of a whole.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    /// The part.
    pub part: Selectors,
    /// The whole, with the part in it.
    pub whole: Selectors,
    /// How long, if these are counters. Default: they are gauges.
    #[serde(default, with = "span::optional")]
    pub window: Option<Duration>,
    /// How large the whole must be for the ratio to tell anything.
    #[serde(default)]
    pub at_least: f64,
    /// By which labels. Default: all together.
    #[serde(default)]
    pub by: Vec<String>,
}

/// Use of something limited.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// What counts what is used.
    pub metric: Selector,
    /// How much there is of it a second.
    pub limit: Selector,
    /// How long.
    #[serde(with = "span")]
    pub window: Duration,
}

/// A quantile of a histogram.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantile {
    /// The series of the buckets, `…_bucket`.
    pub metric: Selector,
    /// Which quantile, from 0 to 1.
    pub quantile: f64,
    /// How long.
    #[serde(with = "span")]
    pub window: Duration,
    /// How many observations it takes to tell anything.
    #[serde(default)]
    pub at_least: f64,
    /// By which labels. Default: all together.
    #[serde(default)]
    pub by: Vec<String>,
}

/// Series that should be there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Absent {
    /// Which series.
    pub metric: Selector,
}

/// An error budget in use.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurnRate {
    /// What counts what was good enough.
    pub good: Selectors,
    /// What counts everything.
    pub total: Selectors,
    /// The part that must be good, such as 0.999.
    pub objective: f64,
    /// The long window.
    #[serde(with = "span")]
    pub long: Duration,
    /// The short window.
    #[serde(with = "span")]
    pub short: Duration,
    /// How much of everything there must be in the short window to tell anything.
    #[serde(default)]
    pub at_least: f64,
    /// By which labels. Default: all together.
    #[serde(default)]
    pub by: Vec<String>,
}

/// A counter against its own past.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seasonal {
    /// Which series.
    pub metric: Selector,
    /// How long.
    #[serde(with = "span")]
    pub window: Duration,
    /// Over how many days the mean is taken.
    pub days: u32,
    /// How much the mean must be to tell anything.
    #[serde(default)]
    pub at_least: f64,
    /// By which labels. Default: all together.
    #[serde(default)]
    pub by: Vec<String>,
}

/// The number of each group of series.
pub type Values = Vec<(Labels, f64)>;

const DAY_MS: u64 = 86_400_000;

impl Signal {
    /// The metrics that it looks at, and how far back, in milliseconds.
    pub fn needs(&self) -> Vec<(&Selector, u64)> {
        match self {
            Self::Value(gauge) | Self::Since(gauge) | Self::Until(gauge) => vec![(&gauge.metric, 0)],
            Self::Absent(absent) => vec![(&absent.metric, 0)],
            Self::Slope(of) | Self::Rate(of) | Self::Increase(of) => vec![(&of.metric, millis(of.window))],
            Self::Ratio(of) => {
                let window = of.window.map_or(0, millis);
                of.part.0.iter().chain(&of.whole.0).map(|selector| (selector, window)).collect()
            }
            Self::Usage(of) => vec![(&of.metric, millis(of.window)), (&of.limit, 0)],
            Self::Quantile(of) => vec![(&of.metric, millis(of.window))],
            Self::BurnRate(of) => {
                let window = millis(of.long.max(of.short));
                of.good.0.iter().chain(&of.total.0).map(|selector| (selector, window)).collect()
            }
            Self::Seasonal(of) => {
                vec![(&of.metric, millis(of.window) + u64::from(of.days) * DAY_MS)]
            }
        }
    }

    /// The numbers at the last look.
    pub fn values(&self, history: &History) -> Values {
        let now = history.last_ms();
        match self {
            Self::Value(gauge) => gauge.values(history, |value| value),
            Self::Since(gauge) => gauge.values(history, |value| now as f64 / 1e3 - value),
            Self::Until(gauge) => gauge.values(history, |value| value - now as f64 / 1e3),
            Self::Slope(of) => {
                let from = now.saturating_sub(millis(of.window));
                sums(history, &of.metric, of.by.as_deref(), |series| series.slope(from))
            }
            Self::Rate(of) => of.increase(history, of.window.as_secs_f64()),
            Self::Increase(of) => of.increase(history, 1.0),
            Self::Ratio(of) => of.values(history),
            Self::Usage(of) => of.values(history),
            Self::Quantile(of) => of.values(history),
            Self::Absent(of) => {
                let there = history.select(&of.metric).any(|(_, series)| series.value_at(now).is_some());
                if there { Vec::new() } else { vec![(Labels::default(), 1.0)] }
            }
            Self::BurnRate(of) => of.values(history),
            Self::Seasonal(of) => of.values(history),
        }
    }
}

impl Gauge {
    fn values(&self, history: &History, of: impl Fn(f64) -> f64) -> Values {
        let now = history.last_ms();
        let mut groups: BTreeMap<Labels, f64> = BTreeMap::new();
        for (labels, series) in history.select(&self.metric) {
            let Some(value) = series.value_at(now).map(&of) else { continue };
            let key = group(labels, self.by.as_deref());
            let joined = groups.get(&key).map_or(value, |before| match self.join {
                Join::Max => before.max(value),
                Join::Min => before.min(value),
                Join::Sum => before + value,
            });
            groups.insert(key, joined);
        }
        groups.into_iter().collect()
    }
}

impl Windowed {
    fn increase(&self, history: &History, divisor: f64) -> Values {
        let now = history.last_ms();
        let from = now.saturating_sub(millis(self.window));
        let grown = |series: &Series| Some(series.increase(from, now) / divisor);
        sums(history, &self.metric, self.by.as_deref(), grown)
    }
}

impl Ratio {
    fn values(&self, history: &History) -> Values {
        let now = history.last_ms();
        let measure = |series: &Series| match self.window {
            Some(window) => Some(series.increase(now.saturating_sub(millis(window)), now)),
            None => series.value_at(now),
        };
        let sum = |selectors: &Selectors| {
            let each = selectors.0.iter().flat_map(|one| sums(history, one, Some(&self.by), measure));
            each.fold(BTreeMap::<Labels, f64>::new(), |mut sum, (labels, value)| {
                *sum.entry(labels).or_default() += value;
                sum
            })
        };
        let (part, whole) = (sum(&self.part), sum(&self.whole));
        let enough = |whole: f64| whole > 0.0 && whole >= self.at_least;
        let wholes = whole.into_iter().filter(|(_, whole)| enough(*whole));
        wholes.map(|(labels, whole)| (labels.clone(), part.get(&labels).unwrap_or(&0.0) / whole)).collect()
    }
}

impl Usage {
    fn values(&self, history: &History) -> Values {
        let now = history.last_ms();
        let from = now.saturating_sub(millis(self.window));
        let limit = history.select(&self.limit).find_map(|(_, series)| series.value_at(now));
        let Some(limit) = limit.filter(|limit| *limit > 0.0) else { return Vec::new() };
        let rate = |series: &Series| Some(series.increase(from, now) / self.window.as_secs_f64() / limit);
        sums(history, &self.metric, None, rate)
    }
}

impl Quantile {
    fn values(&self, history: &History) -> Values {
        let now = history.last_ms();
        let from = now.saturating_sub(millis(self.window));
        let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for (labels, series) in history.select(&self.metric) {
            let Some(bound) = labels.get("le").and_then(|bound| bound.parse::<f64>().ok()) else { continue };
            let buckets = histograms.entry(labels.only(&self.by)).or_default();
            let grown = series.increase(from, now);
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, count)) => *count += grown,
                None => buckets.push((bound, grown)),
            }
        }
        let known = histograms.into_iter().filter_map(|(labels, mut buckets)| {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            let total = buckets.last().map_or(0.0, |(_, count)| *count);
            let enough = total > 0.0 && total >= self.at_least;
            enough.then(|| (labels, quantile(self.quantile, &buckets, total)))
        });
        known.collect()
    }
}

/// The quantile `q` of cumulative buckets in order, the last of which has everything.
fn quantile(q: f64, buckets: &[(f64, f64)], total: f64) -> f64 {
    let rank = q * total;
    let (mut low, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= rank {
            let within = count - below;
            // Beyond the last finite bound nothing is known but that it is beyond.
            return match (bound.is_finite(), within > 0.0) {
                (false, _) => low,
                (true, false) => *bound,
                (true, true) => low + (bound - low) * (rank - below) / within,
            };
        }
        (low, below) = (*bound, *count);
    }
    low
}

impl BurnRate {
    fn values(&self, history: &History) -> Values {
        let long: BTreeMap<_, _> = self.over(history, self.long, 0.0).into_iter().collect();
        let short = self.over(history, self.short, self.at_least);
        short
            .into_iter()
            .filter_map(|(labels, short)| Some((labels.clone(), short.min(*long.get(&labels)?))))
            .collect()
    }

    fn over(&self, history: &History, window: Duration, at_least: f64) -> Values {
        let (part, whole, by) = (self.good.clone(), self.total.clone(), self.by.clone());
        let good = Ratio { part, whole, window: Some(window), at_least, by }.values(history);
        let budget = (1.0 - self.objective).max(f64::EPSILON);
        good.into_iter().map(|(labels, good)| (labels, (1.0 - good).max(0.0) / budget)).collect()
    }
}

impl Seasonal {
    fn values(&self, history: &History) -> Values {
        let (now, window) = (history.last_ms(), millis(self.window));
        let begins = history.select(&self.metric).filter_map(|(_, series)| series.begins_ms()).min();
        let days = |begins: u64| (now - begins).saturating_sub(window) / DAY_MS;
        let days = begins.map_or(0, days).min(u64::from(self.days));
        if days == 0 {
            return Vec::new();
        }
        let of_day = |day: u64| {
            let end = now.saturating_sub(day * DAY_MS);
            let grown = |series: &Series| Some(series.increase(end.saturating_sub(window), end));
            sums(history, &self.metric, Some(&self.by), grown).into_iter().collect::<BTreeMap<_, _>>()
        };
        let mut means: BTreeMap<Labels, f64> = BTreeMap::new();
        for day in 1..=days {
            for (labels, grown) in of_day(day) {
                *means.entry(labels).or_default() += grown / days as f64;
            }
        }
        let today = of_day(0);
        let enough = means.into_iter().filter(|(_, mean)| *mean > 0.0 && *mean >= self.at_least);
        enough.map(|(labels, mean)| (labels.clone(), today.get(&labels).unwrap_or(&0.0) / mean)).collect()
    }
}

/// The labels by which series are joined.
fn group(labels: &Labels, by: Option<&[String]>) -> Labels {
    by.map_or_else(|| labels.clone(), |names| labels.only(names))
}

fn sums(
    history: &History,
    selector: &Selector,
    by: Option<&[String]>,
    of: impl Fn(&Series) -> Option<f64>,
) -> Values {
    let mut sums: BTreeMap<Labels, f64> = BTreeMap::new();
    for (labels, series) in history.select(selector) {
        if let Some(value) = of(series) {
            *sums.entry(group(labels, by)).or_default() += value;
        }
    }
    sums.into_iter().collect()
}

/// The labels by which a signal tells its series apart; `None` if by all that they have.
pub(crate) fn told_apart(signal: &Signal) -> Option<BTreeSet<&str>> {
    let by = match signal {
        Signal::Value(of) | Signal::Since(of) | Signal::Until(of) => of.by.as_ref()?,
        Signal::Slope(of) | Signal::Rate(of) | Signal::Increase(of) => of.by.as_ref()?,
        Signal::Ratio(of) => &of.by,
        Signal::Quantile(of) => &of.by,
        Signal::BurnRate(of) => &of.by,
        Signal::Seasonal(of) => &of.by,
        Signal::Usage(_) => return None,
        Signal::Absent(_) => return Some(BTreeSet::new()),
    };
    Some(by.iter().map(String::as_str).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Sample;

    fn signal(toml: &str) -> Signal {
        toml::from_str(toml).unwrap()
    }

    fn history(signal: &Signal, looks: &[(u64, &[(&str, f64)])]) -> History {
        let mut history = History::default();
        for (selector, span) in signal.needs() {
            history.keep(&selector.metric, span);
        }
        for (at_s, series) in looks {
            let sample = |(name, value): &(&str, f64)| {
                let selector: Selector = name.parse().unwrap();
                Sample::new(&selector.metric, selector.labels(), *value)
            };
            history.take_in(series.iter().map(sample).collect(), at_s * 1_000);
        }
        history
    }

    fn only(signal: &Signal, looks: &[(u64, &[(&str, f64)])]) -> f64 {
        let values = signal.values(&history(signal, looks));
        assert_eq!(values.len(), 1, "{values:?}");
        values[0].1
    }

    #[test]
    fn a_ratio_is_of_what_both_have_grown_by() {
        let ratio = signal(
            r#"ratio = { part = 'n_total{o="bad"}', whole = "n_total", window = "1m", at_least = 10.0 }"#,
        );
        let grown = |bad, good| {
            [
                (0, [("n_total{o=\"bad\"}", 90.0), ("n_total{o=\"good\"}", 10.0)]),
                (60, [("n_total{o=\"bad\"}", bad), ("n_total{o=\"good\"}", good)]),
            ]
        };
        let looks = grown(95.0, 105.0);
        let looks: Vec<(u64, &[(&str, f64)])> = looks.iter().map(|(at, series)| (*at, &series[..])).collect();
        assert_eq!(only(&ratio, &looks), 0.05);
        let few = grown(95.0, 11.0);
        let few: Vec<(u64, &[(&str, f64)])> = few.iter().map(|(at, series)| (*at, &series[..])).collect();
        assert!(ratio.values(&history(&ratio, &few)).is_empty(), "six events tell nothing");
    }

    #[test]
    fn a_quantile_is_interpolated_and_stops_at_the_last_bound() {
        let p = |q: f64| {
            signal(&format!("quantile = {{ metric = 'l_bucket', quantile = {q:?}, window = '1m' }}"))
        };
        let looks: &[(u64, &[(&str, f64)])] = &[
            (0, &[]),
            (
                60,
                &[
                    ("l_bucket{le=\"0.1\"}", 50.0),
                    ("l_bucket{le=\"0.5\"}", 90.0),
                    ("l_bucket{le=\"+Inf\"}", 100.0),
                ],
            ),
        ];
        assert_eq!(only(&p(0.25), looks), 0.05);
        assert!((only(&p(0.7), looks) - 0.3).abs() < 1e-9);
        assert_eq!(only(&p(0.95), looks), 0.5, "nobody knows how far beyond");
    }

    #[test]
    fn a_burn_rate_needs_both_windows() {
        let burn = signal(
            "burn_rate = { good = 'good_total', total = 'all_total', objective = 0.99, long = '1h', short = '5m' }",
        );
        let at = |s, good, all| (s, vec![("good_total", good), ("all_total", all)]);
        let short_only = [at(0, 0.0, 0.0), at(3_300, 10_000.0, 10_000.0), at(3_600, 10_000.0, 10_100.0)];
        let over = [at(0, 0.0, 0.0), at(3_300, 5_000.0, 10_000.0), at(3_600, 6_000.0, 11_000.0)];
        let both = [at(0, 0.0, 0.0), at(3_300, 5_000.0, 10_000.0), at(3_600, 5_500.0, 11_000.0)];
        let rate = |looks: &[(u64, Vec<(&str, f64)>)]| {
            let looks: Vec<(u64, &[(&str, f64)])> = looks.iter().map(|(s, of)| (*s, &of[..])).collect();
            only(&burn, &looks)
        };
        assert!(rate(&short_only) < 1.0, "a minute of failures is no burn of an hour");
        assert!(rate(&over) < 1e-9, "it is over");
        assert!((rate(&both) - 50.0).abs() < 1.0);
    }

    #[test]
    fn a_day_is_compared_with_the_days_before() {
        let seasonal = signal("seasonal = { metric = 'n_total', window = '1h', days = 3 }");
        let mut history = history(&seasonal, &[]);
        let hours = 49;
        for minute in 0..=hours * 60 {
            // The last hour has a tenth of what there is else.
            let value = if minute > (hours - 1) * 60 {
                (hours - 1) as f64 * 600.0 + (minute - (hours - 1) * 60) as f64
            } else {
                minute as f64 * 10.0
            };
            history.take_in(vec![Sample::new("n_total", Labels::default(), value)], minute * 60_000);
            if minute < 24 * 60 {
                assert!(seasonal.values(&history).is_empty(), "there is nothing to compare with at {minute}");
            }
        }
        let values = seasonal.values(&history);
        assert!((values[0].1 - 0.1).abs() < 0.01, "{values:?}");
    }

    #[test]
    fn a_day_is_compared_with_the_days_before_a_restart() {
        let seasonal = signal("seasonal = { metric = 'n_total', window = '1h', days = 3 }");
        let mut before = history(&seasonal, &[]);
        let at_minute = |history: &mut History, minute: u64, value: f64| {
            history.take_in(vec![Sample::new("n_total", Labels::default(), value)], minute * 60_000);
        };
        let restart = 23 * 60 + 30;
        (0..restart).for_each(|minute| at_minute(&mut before, minute, minute as f64 * 10.0));
        let mut after = history(&seasonal, &[]);
        after.remember(before.past());
        // As many as before from the restart on, and a tenth of that in the last hour.
        for minute in restart..=26 * 60 {
            let since = (minute - restart) as f64;
            let late = minute.saturating_sub(25 * 60) as f64;
            at_minute(&mut after, minute, (since - late) * 10.0 + late);
        }
        let values = seasonal.values(&after);
        assert!((values[0].1 - 0.1).abs() < 0.02, "{values:?}");
    }

    #[test]
    fn what_is_absent_is_told() {
        let absent = signal("absent = { metric = 'up' }");
        assert!(absent.values(&history(&absent, &[(0, &[("up", 1.0)])])).is_empty());
        assert_eq!(only(&absent, &[(0, &[("up", 1.0)]), (10, &[])]), 1.0);
    }

    #[test]
    fn a_slope_is_by_the_second_and_a_gauge_does_not_begin_at_zero() {
        let slope = signal("slope = { metric = 'backlog', window = '1m' }");
        assert_eq!(
            only(
                &slope,
                &[(0, &[("backlog", 10.0)]), (30, &[("backlog", 5.0)]), (60, &[("backlog", 130.0)])]
            ),
            2.0
        );
        assert!(slope.values(&history(&slope, &[(0, &[]), (10, &[("backlog", 9.0)])])).is_empty());
    }
}
