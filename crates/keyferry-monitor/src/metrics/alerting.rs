//! Metrics for the agent's own alerts: the same series that Prometheus would scrape, of which only those are read and written down that a rule names, because it is looked
//! at them every two seconds.

use std::borrow::Cow;

use keyferry_alert::labels::Labels;
use keyferry_alert::metric::{MetricSource, Sample as Measured};

use super::collector::MetricsCollector;
use super::sample::{Sample, Samples, Series, limit_text};

impl MetricSource for MetricsCollector {
    fn samples(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<Measured> {
        wanted_of(&self.collect_some(wanted), wanted)
    }
}

fn wanted_of(samples: &Samples, wanted: &dyn Fn(&str) -> bool) -> Vec<Measured> {
    let of_sample = |sample| {
        let series = Sample::series(sample).into_iter();
        series.filter_map(move |series| measured(sample, series, wanted))
    };
    samples.iter().flat_map(of_sample).collect()
}

fn measured(
    sample: &Sample,
    Series { suffix, limit, value, .. }: Series,
    wanted: &dyn Fn(&str) -> bool,
) -> Option<Measured> {
    let name = match suffix {
        "" => Cow::Borrowed(sample.metric.name),
        suffix => Cow::Owned(format!("{}{suffix}", sample.metric.name)),
    };
    if !wanted(&name) {
        return None;
    }
    let mut labels = Labels::default();
    for (label, value) in sample.metric.labels.iter().zip(&sample.labels) {
        labels.set(*label, value.as_str());
    }
    if let Some(limit) = limit {
        labels.set("le", limit_text(limit));
    }
    Some(Measured::new(&name, labels, value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::metrics::catalog::{ALL, EVENTS_HELD, LATENCY};
    use crate::metrics::sample::{Distribution, Value};

    #[test]
    fn what_is_wanted_is_given_with_its_labels_and_nothing_else() {
        let mut samples = Samples::default();
        samples.count(&EVENTS_HELD, &["slot-0", "near"], 3);
        let value = Distribution { at_most: vec![1; 17], count: 2, sum: 0.5, ..Distribution::default() };
        samples.push_for_test(&LATENCY, &["slot-0", "near"], Value::Histogram(value));
        let labels = Labels::default().with("slot", "slot-0").with("destination", "near");
        let given = wanted_of(&samples, &|name| name == "keyferry_events_held");
        assert_eq!(given, [Measured::new("keyferry_events_held", labels.clone(), 3.0)]);
        let buckets = wanted_of(&samples, &|name| name.ends_with("_bucket"));
        assert_eq!(buckets.len(), 18);
        assert!(buckets.contains(&Measured::new(
            "keyferry_event_latency_seconds_bucket",
            labels.with("le", "0.5"),
            1.0
        )));
    }

    #[test]
    fn every_metric_of_the_rules_that_hold_by_default_exists() {
        let known: BTreeSet<String> = ALL.iter().flat_map(|metric| metric.series()).collect();
        let mut named = 0;
        for rule in keyferry_alert::book::default_rules().unwrap() {
            for metric in rule.metrics() {
                named += 1;
                assert!(known.contains(metric), "{} asks for {metric}, which does not exist", rule.name);
            }
        }
        assert!(named > 20, "{named} metrics are named");
    }
}
