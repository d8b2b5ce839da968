//! What was collected: values with their labels, not yet text.

use keyferry_pipeline::meter::Counts;

use super::definition::{Kind, Metric};

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
    Histogram {
        /// For each limit of the metric, how many values are at most that.
        at_most: Vec<u64>,
        /// How many values there are.
        count: u64,
        /// Their sum.
        sum: f64,
    },
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

    /// Adds a histogram that was counted in units of which `per_second` make a second.
    pub fn histogram(&mut self, metric: &'static Metric, labels: &[&str], counts: &Counts, per_second: f64) {
        let Kind::Histogram(limits) = metric.kind else { return };
        let at_most =
            limits.iter().map(|limit| counts.at_most((limit * per_second).round() as u64)).collect();
        let (count, sum) = (counts.count(), counts.sum() as f64 / per_second);
        self.push(metric, labels, Value::Histogram { at_most, count, sum });
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
        let (at_most, count, sum) = match &self.value {
            Value::Number(value) => return vec![Series { suffix: "", limit: None, value: *value }],
            Value::Histogram { at_most, count, sum } => (at_most, *count as f64, *sum),
        };
        let limits: &[f64] = if let Kind::Histogram(limits) = self.metric.kind { limits } else { &[] };
        let bucket = |(limit, count): (&f64, &u64)| Series {
            suffix: "_bucket",
            limit: Some(*limit),
            value: *count as f64,
        };
        let mut series: Vec<Series> = limits.iter().zip(at_most).map(bucket).collect();
        series.push(Series { suffix: "_bucket", limit: Some(f64::INFINITY), value: count });
        series.push(Series { suffix: "_sum", limit: None, value: sum });
        series.push(Series { suffix: "_count", limit: None, value: count });
        series
    }

    /// The value of a counter or gauge, or how many values a histogram has.
    pub fn number(&self) -> f64 {
        match &self.value {
            Value::Number(value) => *value,
            Value::Histogram { count, .. } => *count as f64,
        }
    }
}
