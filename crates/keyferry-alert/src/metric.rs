//! Where the numbers come from.

use crate::labels::Labels;

/// One series of a metric, as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name, as Prometheus would scrape it: with `_total`, or `_bucket` and its label `le`.
    pub metric: String,
    /// The labels of the series.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// The series of `metric` with these labels.
    pub fn new(metric: &str, labels: Labels, value: f64) -> Self {
        Self { metric: metric.to_owned(), labels, value }
    }
}

/// Whatever has metrics.
pub trait MetricSource {
    /// Every series of each of the metrics that `wanted` names. What is not there is left out.
    fn samples(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<Sample>;
}

impl MetricSource for Vec<Sample> {
    fn samples(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<Sample> {
        self.iter().filter(|sample| wanted(&sample.metric)).cloned().collect()
    }
}
