//! Samples as messages of [`io.prometheus.client`](https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto), of which what is needed here is declared.
//!
//! This form has native histograms: every histogram has its classic buckets, its exemplars, and the same in native buckets, of which Prometheus takes what it is told to.

use prost::Message;

use super::catalog::ALL;
use super::definition::{Kind, Metric};
use super::exposition::TRACE_ID;
use super::sample::{self, Distribution, Sample, Samples};

/// The name of the message that is sent, each behind its length.
pub(super) const MESSAGE: &str = "io.prometheus.client.MetricFamily";
/// The media type.
pub(super) const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// What is at most this counts as zero; by it a histogram that has counted nothing is known to be a native one. The default of Prometheus's own clients, 2^-128.
const ZERO_THRESHOLD: f64 = 1.0 / (1_u128 << 127) as f64 / 2.0;

#[derive(Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(enumeration = "MetricType", tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metrics: Vec<OneMetric>,
    #[prost(string, tag = "5")]
    unit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 4,
}

#[derive(Message)]
struct OneMetric {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Message)]
struct Number {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    sum: f64,
    #[prost(message, repeated, tag = "3")]
    buckets: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(message, repeated, tag = "12")]
    spans: Vec<BucketSpan>,
    /// How many more values each native bucket has than the one before.
    #[prost(sint64, repeated, tag = "13")]
    deltas: Vec<i64>,
}

#[derive(Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    at_most: u64,
    #[prost(double, tag = "2")]
    limit: f64,
    #[prost(message, optional, tag = "3")]
    exemplar: Option<Exemplar>,
}

/// Native buckets that follow each other.
#[derive(Message)]
struct BucketSpan {
    /// Of the first span the index of its first bucket; of others how many buckets are left out before it.
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[derive(Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelPair>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(message, optional, tag = "3")]
    at: Option<Timestamp>,
}

#[derive(Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// `samples` as messages, each behind its length.
pub(super) fn encoded(samples: &Samples) -> Vec<u8> {
    let families =
        ALL.iter().map(|metric| family(metric, samples)).filter(|family| !family.metrics.is_empty());
    families.flat_map(|family| family.encode_length_delimited_to_vec()).collect()
}

fn family(metric: &'static Metric, samples: &Samples) -> MetricFamily {
    let kind = match metric.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram(_) => MetricType::Histogram,
    };
    MetricFamily {
        name: metric.name.to_owned(),
        help: metric.help.to_owned(),
        kind: kind.into(),
        metrics: samples.of(metric).map(one_metric).collect(),
        unit: metric.unit.word().unwrap_or_default().to_owned(),
    }
}

fn one_metric(sample: &Sample) -> OneMetric {
    let labels = sample.metric.labels.iter().zip(&sample.labels).map(|(name, value)| label(name, value));
    let mut metric = OneMetric { labels: labels.collect(), ..OneMetric::default() };
    match (&sample.value, sample.metric.kind) {
        (sample::Value::Number(value), Kind::Counter) => metric.counter = Some(Number { value: *value }),
        (sample::Value::Number(value), _) => metric.gauge = Some(Number { value: *value }),
        (sample::Value::Histogram(of), _) => metric.histogram = Some(histogram(sample, of)),
    }
    metric
}

fn label(name: &str, value: &str) -> LabelPair {
    LabelPair { name: name.to_owned(), value: value.to_owned() }
}

fn histogram(sample: &Sample, of: &Distribution) -> Histogram {
    let buckets = sample.series().into_iter().filter_map(|series| {
        let exemplar = series.exemplar.map(exemplar);
        Some(Bucket { at_most: series.value as u64, limit: series.limit?, exemplar })
    });
    let (spans, deltas) = native(&of.native.buckets);
    Histogram {
        count: of.count,
        sum: of.sum,
        buckets: buckets.collect(),
        schema: keyferry_pipeline::meter::NATIVE_SCHEMA,
        zero_threshold: ZERO_THRESHOLD,
        zero_count: of.native.zeros,
        spans,
        deltas,
    }
}

fn exemplar(exemplar: sample::Exemplar) -> Exemplar {
    let (seconds, fraction) = (exemplar.at_s.trunc(), exemplar.at_s.fract());
    Exemplar {
        labels: vec![label(TRACE_ID, exemplar.trace.as_str())],
        value: exemplar.value,
        at: Some(Timestamp { seconds: seconds as i64, nanos: (fraction * 1e9) as i32 }),
    }
}

/// Buckets as Prometheus has them: those that follow each other together, and each as its difference to the one before.
fn native(buckets: &[(i32, u64)]) -> (Vec<BucketSpan>, Vec<i64>) {
    let mut spans: Vec<BucketSpan> = Vec::new();
    let mut deltas = Vec::with_capacity(buckets.len());
    let (mut next, mut before) = (0, 0);
    for (index, count) in buckets {
        match spans.last_mut() {
            Some(span) if *index == next => span.length += 1,
            _ => spans.push(BucketSpan { offset: index - next, length: 1 }),
        }
        deltas.push(*count as i64 - before);
        (next, before) = (index + 1, *count as i64);
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalog;

    #[test]
    fn native_buckets_are_told_by_spans_and_differences() {
        let (spans, deltas) = native(&[(-16, 5), (-15, 2), (0, 7)]);
        let spans: Vec<_> = spans.iter().map(|span| (span.offset, span.length)).collect();
        assert_eq!(spans, [(-16, 2), (14, 1)]);
        assert_eq!(deltas, [5, -3, 5]);
        assert_eq!(ZERO_THRESHOLD, 2_f64.powi(-128));
    }

    #[test]
    fn each_family_stands_behind_its_length() {
        let mut samples = Samples::default();
        samples.count(&catalog::EVENTS_HELD, &["slot-0", "a"], 3);
        samples.count(&catalog::RESETS, &["slot-0", "a"], 0);
        let bytes = encoded(&samples);
        let mut rest = &bytes[..];
        let names: Vec<String> = std::iter::from_fn(|| {
            (!rest.is_empty()).then(|| MetricFamily::decode_length_delimited(&mut rest).unwrap().name)
        })
        .collect();
        assert_eq!(names, ["keyferry_events_held", "keyferry_delivery_resets_total"]);
    }
}
