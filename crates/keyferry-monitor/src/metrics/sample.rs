//! What was collected: values with their labels, not yet text.

use keyferry_pipeline::meter::{self, Counts, Native, TraceId};

use super::definition::{Kind, Metric};

/// How many milliseconds make a second.
const MILLIS: f64 = 1_000.0;

/// One series of a metric, or one histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric.
    pub metric: &'static Metric,
    /// The values of its labels, in their order.
    pub labels: Vec<String>,
    /// What was measured.
    pub value: Value,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a counter or gauge.
    Number(f64),
    /// Of a histogram.
    Histogram(Distribution),
}

/// How often a histogram has counted what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// For each limit of the metric, how many values are at most that.
    pub at_most: Vec<u64>,
    /// How many values there are.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The same in native buckets.
    pub native: Native,
    /// For each limit of the metric, and for what is beyond the last one, something that was counted there.
    pub exemplars: Vec<Option<Exemplar>>,
}

/// One thing that was counted, which somebody can look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// The trace that it belongs to.
    pub trace: TraceId,
    /// What was measured, in the metric's unit.
    pub value: f64,
    /// When, in seconds since the Unix epoch.
    pub at_s: f64,
}

impl Distribution {
    /// Of `counts`, with the last of the `exemplars` in each bucket that ends at one of the `limits`.
    fn of(counts: &Counts, exemplars: &[meter::Exemplar], limits: &[f64]) -> Self {
        let per_second = counts.per_second();
        let mut of_buckets: Vec<Option<Exemplar>> = vec![None; limits.len() + 1];
        for exemplar in exemplars {
            let value = exemplar.value as f64 / per_second;
            let exemplar = Exemplar { trace: exemplar.trace, value, at_s: exemplar.at_ms as f64 / MILLIS };
            let kept = &mut of_buckets[limits.partition_point(|limit| *limit < value)];
            if kept.is_none_or(|kept| kept.at_s <= exemplar.at_s) {
                *kept = Some(exemplar);
            }
        }
        Self {
            at_most: limits.iter().map(|limit| counts.at_most((limit * per_second).round() as u64)).collect(),
            count: counts.count(),
            sum: counts.sum() as f64 / per_second,
            native: counts.native(),
            exemplars: of_buckets,
        }
    }
}

/// One series of Prometheus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Series {
    /// What its name has beyond that of the metric.
    pub suffix: &'static str,
    /// Of a bucket, the label `le`: see [`limit_text`].
    pub limit: Option<f64>,
    /// Its value.
    pub value: f64,
    /// Of a bucket, something that was counted there.
    pub exemplar: Option<Exemplar>,
}

/// The label `le` of a limit. OpenMetrics wants that of a whole number with its point.
pub fn limit_text(limit: f64) -> String {
    if limit.is_infinite() { "+Inf".to_owned() } else { format!("{limit:?}") }
}

/// What was collected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Adds the value of a counter or gauge.
    pub fn put(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.push(metric, labels, Value::Number(value));
    }

    /// Adds a count.
    pub fn count(&mut self, metric: &'static Metric, labels: &[&str], value: u64) {
        self.put(metric, labels, value as f64);
    }

    /// Adds a value if there is one.
    pub fn put_some(&mut self, metric: &'static Metric, labels: &[&str], value: Option<f64>) {
        if let Some(value) = value {
            self.put(metric, labels, value);
        }
    }

    /// Adds one of several states: 1 for `now`, 0 for the `others`. The state is the last label.
    pub fn state(&mut self, metric: &'static Metric, labels: &[&str], all: &[&str], now: &str) {
        for state in all {
            self.count(metric, &[labels, &[state]].concat(), u64::from(*state == now));
        }
    }

    /// Adds a histogram, and of what it has counted what somebody can look at.
    pub fn histogram(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        counts: &Counts,
        exemplars: &[meter::Exemplar],
    ) {
        let Kind::Histogram(limits) = metric.kind else { return };
        self.push(metric, labels, Value::Histogram(Distribution::of(counts, exemplars, limits)));
    }

    fn push(&mut self, metric: &'static Metric, labels: &[&str], value: Value) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.0.push(Sample { metric, labels, value });
    }

    #[cfg(test)]
    pub(crate) fn push_for_test(&mut self, metric: &'static Metric, labels: &[&str], value: Value) {
        self.push(metric, labels, value);
    }

    /// These and `others`.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Everything.
    pub fn iter(&self) -> impl Iterator<Item = &Sample> {
        self.0.iter()
    }

    /// Those of `metric`.
    pub fn of<'a>(&'a self, metric: &'static Metric) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(|sample| std::ptr::eq(sample.metric, metric))
    }
}

impl Sample {
    /// Whether the series has these labels, among others.
    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.label(name) == Some(value))
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        let place = self.metric.labels.iter().position(|label| *label == name)?;
        self.labels.get(place).map(String::as_str)
    }

    /// What Prometheus makes of it: one series, or those of a histogram, its buckets first.
    pub fn series(&self) -> Vec<Series> {
        let plain = |suffix, value| Series { suffix, limit: None, value, exemplar: None };
        let of = match &self.value {
            Value::Number(value) => return vec![plain("", *value)],
            Value::Histogram(of) => of,
        };
        let limits: &[f64] = if let Kind::Histogram(limits) = self.metric.kind { limits } else { &[] };
        let limits = limits.iter().chain([&f64::INFINITY]);
        let exemplars = of.exemplars.iter().copied().chain(std::iter::repeat(None));
        let buckets = limits.zip(of.at_most.iter().chain([&of.count])).zip(exemplars);
        let bucket = |((limit, count), exemplar): ((&f64, &u64), _)| Series {
            suffix: "_bucket",
            limit: Some(*limit),
            value: *count as f64,
            exemplar,
        };
        buckets.map(bucket).chain([plain("_sum", of.sum), plain("_count", of.count as f64)]).collect()
    }

    /// The value of a counter or gauge, or how many values a histogram has.
    pub fn number(&self) -> f64 {
        match &self.value {
            Value::Number(value) => *value,
            Value::Histogram(of) => of.count as f64,
        }
    }
}
