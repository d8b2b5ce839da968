//! Expressions of PromQL, built from metrics.

use std::fmt::Display;

use crate::metrics::Metric;

/// The labels that tell one shipment from another, with the instance that Prometheus adds. Sums go no further than these: destinations count the same events.
pub const SHIPMENT: &str = "instance, slot, destination";

/// The series of `metric` with the labels that `matchers` ask for.
pub fn series(metric: &Metric, matchers: &str) -> String {
    selector(metric.name, matchers)
}

fn selector(name: impl Display, matchers: &str) -> String {
    if matchers.is_empty() { name.to_string() } else { format!("{name}{{{matchers}}}") }
}

/// By how much a counter grows each second, over `range`.
pub fn rate(metric: &Metric, matchers: &str, range: &str) -> String {
    format!("rate({}[{range}])", series(metric, matchers))
}

/// By how much a counter has grown over `range`.
pub fn increase(metric: &Metric, matchers: &str, range: &str) -> String {
    format!("increase({}[{range}])", series(metric, matchers))
}

/// The sum for each value of the labels `by`.
pub fn sum_by(by: &str, expression: impl Display) -> String {
    format!("sum by ({by}) ({expression})")
}

/// What a part of the values of a histogram does not exceed, over `range`, for each value of the labels `by`.
pub fn quantile(part: f64, metric: &Metric, matchers: &str, range: &str, by: &str) -> String {
    let buckets = selector(format!("{}_bucket", metric.name), matchers);
    format!("histogram_quantile({part}, sum by ({by}, le) (rate({buckets}[{range}])))")
}

/// Of the values of a histogram over `range`, the part that exceeds `limit`, which must be one of its limits.
pub fn part_above(limit: f64, metric: &Metric, range: &str) -> String {
    let below = format!("rate({}_bucket{{le=\"{limit:?}\"}}[{range}])", metric.name);
    let all = format!("rate({}_count[{range}])", metric.name);
    format!("1 - {} / {}", sum_by(SHIPMENT, below), sum_by(SHIPMENT, all))
}
