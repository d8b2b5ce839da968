//! Samples as OTLP has them, for a collector of OpenTelemetry: of
//! [its messages](https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/metrics/v1/metrics.proto) what is needed here is declared.
//!
//! Names are those of Prometheus: dashboard and rules hold wherever the metrics go. Everything is cumulative from the agent's start, so that a push that fails costs nothing but time.

use prost::Message;

use super::catalog::{ALL, START_TIME};
use super::definition::{Kind, Metric, Unit};
use super::sample::{self, Distribution, Sample, Samples};

/// The media type of a push and of its answer.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// The aggregation temporality of what counts from the agent's start.
const CUMULATIVE: i32 = 2;

/// Whose metrics are pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Which of several agents.
    pub instance: String,
    /// Its version.
    pub version: String,
}

#[derive(Message)]
struct ExportMetricsServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Message)]
struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    resource: Option<Attributes>,
    #[prost(message, repeated, tag = "2")]
    scope_metrics: Vec<ScopeMetrics>,
}

/// The message `Resource`.
#[derive(Message)]
struct Attributes {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    string: Option<String>,
}

#[derive(Message)]
struct ScopeMetrics {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<OneMetric>,
}

#[derive(Message)]
struct InstrumentationScope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

/// The message `Metric`, which has one of the three.
#[derive(Message)]
struct OneMetric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    unit: String,
    #[prost(message, optional, tag = "5")]
    gauge: Option<Gauge>,
    #[prost(message, optional, tag = "7")]
    sum: Option<Sum>,
    #[prost(message, optional, tag = "9")]
    histogram: Option<Histogram>,
}

#[derive(Message)]
struct Gauge {
    #[prost(message, repeated, tag = "1")]
    points: Vec<NumberPoint>,
}

#[derive(Message)]
struct Sum {
    #[prost(message, repeated, tag = "1")]
    points: Vec<NumberPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
    #[prost(bool, tag = "3")]
    is_monotonic: bool,
}

#[derive(Message)]
struct Histogram {
    #[prost(message, repeated, tag = "1")]
    points: Vec<HistogramPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
}

#[derive(Message)]
struct NumberPoint {
    #[prost(fixed64, tag = "2")]
    since_ns: u64,
    #[prost(fixed64, tag = "3")]
    at_ns: u64,
    #[prost(double, optional, tag = "4")]
    value: Option<f64>,
    #[prost(message, repeated, tag = "7")]
    attributes: Vec<KeyValue>,
}

#[derive(Message)]
struct HistogramPoint {
    #[prost(fixed64, tag = "2")]
    since_ns: u64,
    #[prost(fixed64, tag = "3")]
    at_ns: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, optional, tag = "5")]
    sum: Option<f64>,
    /// How many values are in each bucket, one more than there are limits.
    #[prost(fixed64, repeated, tag = "6")]
    buckets: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    limits: Vec<f64>,
    #[prost(message, repeated, tag = "8")]
    exemplars: Vec<Exemplar>,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}

#[derive(Message)]
struct Exemplar {
    #[prost(fixed64, tag = "2")]
    at_ns: u64,
    #[prost(double, optional, tag = "3")]
    value: Option<f64>,
    #[prost(bytes = "vec", tag = "5")]
    trace: Vec<u8>,
}

#[derive(Message)]
struct ExportMetricsServiceResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    message: String,
}

/// What is pushed of `samples`, which were collected at `at_ms` of the Unix epoch.
pub fn encoded(samples: &Samples, resource: &Resource, at_ms: u64) -> Vec<u8> {
    let since_ns = samples.of(&START_TIME).next().map_or(0, |sample| nanoseconds(sample.number()));
    let times = Times { since_ns, at_ns: at_ms * 1_000_000 };
    let metrics = ALL.iter().filter_map(|metric| one_metric(metric, samples, times)).collect();
    let attributes = [
        ("service.name", "keyferry"),
        ("service.instance.id", &resource.instance),
        ("service.version", &resource.version),
    ];
    let attributes = attributes.into_iter().map(|(key, value)| attribute(key, value)).collect();
    let scope = InstrumentationScope { name: "keyferry".to_owned(), version: resource.version.clone() };
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Attributes { attributes }),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics }],
        }],
    };
    request.encode_to_vec()
}

/// What a receiver that has accepted a push has rejected of it all the same, in its words.
pub fn rejected(answer: &[u8]) -> Option<String> {
    // An answer that is not understood has nothing to say.
    let answer = ExportMetricsServiceResponse::decode(answer).ok()?;
    let PartialSuccess { rejected, message } = answer.partial_success?;
    (rejected > 0).then(|| format!("{rejected} points are rejected: {message}"))
}

/// Since when is counted, and until when.
#[derive(Clone, Copy)]
struct Times {
    since_ns: u64,
    at_ns: u64,
}

fn one_metric(metric: &'static Metric, samples: &Samples, times: Times) -> Option<OneMetric> {
    let mut one = OneMetric {
        name: metric.name.to_owned(),
        description: metric.help.to_owned(),
        unit: unit(metric.unit).to_owned(),
        ..OneMetric::default()
    };
    let mut samples = samples.of(metric).peekable();
    samples.peek()?;
    match metric.kind {
        Kind::Counter => {
            let points = samples.map(|sample| number(sample, times)).collect();
            one.sum = Some(Sum { points, temporality: CUMULATIVE, is_monotonic: true });
        }
        Kind::Gauge => {
            // A state since when would be said of has none.
            let times = Times { since_ns: 0, ..times };
            one.gauge = Some(Gauge { points: samples.map(|sample| number(sample, times)).collect() });
        }
        Kind::Histogram(limits) => {
            let point = |sample| histogram(sample, limits, times);
            one.histogram =
                Some(Histogram { points: samples.filter_map(point).collect(), temporality: CUMULATIVE });
        }
    }
    Some(one)
}

/// The Unified Code for Units of Measure, as OpenTelemetry's conventions demand.
fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::None => "",
        Unit::Seconds => "s",
        Unit::Bytes => "By",
        Unit::Ratio => "1",
    }
}

fn number(sample: &Sample, Times { since_ns, at_ns }: Times) -> NumberPoint {
    NumberPoint { since_ns, at_ns, value: Some(sample.number()), attributes: attributes(sample) }
}

fn histogram(sample: &Sample, limits: &[f64], Times { since_ns, at_ns }: Times) -> Option<HistogramPoint> {
    let sample::Value::Histogram(Distribution { at_most, count, sum, exemplars, .. }) = &sample.value else {
        return None;
    };
    let mut below = 0;
    let buckets =
        at_most.iter().chain([count]).map(|at_most| at_most - std::mem::replace(&mut below, *at_most));
    Some(HistogramPoint {
        since_ns,
        at_ns,
        count: *count,
        sum: Some(*sum),
        buckets: buckets.collect(),
        limits: limits.to_vec(),
        exemplars: exemplars.iter().flatten().map(exemplar).collect(),
        attributes: attributes(sample),
    })
}

fn exemplar(sample::Exemplar { trace, value, at_s }: &sample::Exemplar) -> Exemplar {
    Exemplar { at_ns: nanoseconds(*at_s), value: Some(*value), trace: trace.bytes().to_vec() }
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e3).round() as u64 * 1_000_000
}

fn attributes(sample: &Sample) -> Vec<KeyValue> {
    sample.metric.labels.iter().zip(&sample.labels).map(|(key, value)| attribute(key, value)).collect()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { string: Some(value.to_owned()) }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_rejected_is_told() {
        let answer = |rejected| {
            let message = "too old".to_owned();
            let answer =
                ExportMetricsServiceResponse { partial_success: Some(PartialSuccess { rejected, message }) };
            super::rejected(&answer.encode_to_vec())
        };
        assert_eq!(answer(3), Some("3 points are rejected: too old".to_owned()));
        assert_eq!(answer(0), None, "a warning");
        assert_eq!(rejected(b""), None);
        assert_eq!(rejected(b"ok"), None, "some receiver that answers in text");
    }
}
