//! Samples in the forms that Prometheus reads.
//!
//! - [`protobuf`](super::protobuf), for whoever prefers it: it alone has native histograms.
//! - [OpenMetrics 1.0](https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md), for whoever accepts it. It has exemplars.
//! - The [text format 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/) for everybody else, `promtool check metrics` among them.
//!
//! The texts differ in the family name of a counter, the line `# UNIT`, exemplars, and the end. The invariant: **each metric's series stand together, in the order of the catalog**, as all
//! formats demand.

use std::fmt::{self, Write as _};

use super::catalog::ALL;
use super::definition::Metric;
use super::protobuf;
use super::sample::{Exemplar, Sample, Samples, Series, limit_text};

/// The label of an exemplar that names its trace.
pub(super) const TRACE_ID: &str = "trace_id";

/// A form of exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Messages of `io.prometheus.client`.
    Protobuf,
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's text format.
    Text,
}

impl Format {
    /// What is preferred by a client with this `Accept` header. One that speaks of nothing that is known gets the oldest form.
    pub fn accepted(accept: &str) -> Self {
        let offers = accept.split(',').filter_map(offer);
        let best = offers.reduce(|best, offer| if offer.1 > best.1 { offer } else { best });
        best.map_or(Self::Text, |(format, _)| format)
    }

    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => protobuf::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What a part of an `Accept` header asks for, and its weight (RFC 9110, section 12.4.2).
fn offer(part: &str) -> Option<(Format, f64)> {
    let mut parameters = part.split(';').map(str::trim);
    let kind = parameters.next()?;
    let parameter = |wanted: &str| {
        let mut named = parameters.clone().filter_map(|parameter| parameter.split_once('='));
        named.find_map(|(name, value)| (name == wanted).then_some(value))
    };
    let format = match kind {
        "application/vnd.google.protobuf"
            if parameter("proto") == Some(protobuf::MESSAGE)
                && parameter("encoding") == Some("delimited") =>
        {
            Format::Protobuf
        }
        "application/openmetrics-text" => Format::OpenMetrics,
        "text/plain" => Format::Text,
        _ => return None,
    };
    Some((format, parameter("q").map_or(Some(1.0), |weight| weight.parse().ok())?))
}

/// `samples` in a form.
pub fn expose(samples: &Samples, format: Format) -> Vec<u8> {
    if format == Format::Protobuf {
        return protobuf::encoded(samples);
    }
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, samples, format);
    text.into_bytes()
}

fn write(text: &mut String, samples: &Samples, format: Format) -> fmt::Result {
    for metric in ALL {
        let mut of_metric = samples.of(metric).peekable();
        if of_metric.peek().is_none() {
            continue;
        }
        head(text, metric, format)?;
        of_metric.try_for_each(|sample| series(text, sample, format))?;
    }
    if format == Format::OpenMetrics { text.write_str("# EOF\n") } else { Ok(()) }
}

fn head(text: &mut String, metric: &Metric, format: Format) -> fmt::Result {
    let family = if format == Format::OpenMetrics { metric.family() } else { metric.name };
    writeln!(text, "# HELP {family} {}", metric.help)?;
    writeln!(text, "# TYPE {family} {}", metric.kind.word())?;
    match metric.unit.word() {
        Some(unit) if format == Format::OpenMetrics => writeln!(text, "# UNIT {family} {unit}"),
        _ => Ok(()),
    }
}

fn series(text: &mut String, sample: &Sample, format: Format) -> fmt::Result {
    for Series { suffix, limit, value, exemplar } in sample.series() {
        write!(text, "{}{suffix}", sample.metric.name)?;
        labels(text, sample, limit)?;
        write!(text, " {value}")?;
        if let (Some(Exemplar { trace, value, at_s }), Format::OpenMetrics) = (exemplar, format) {
            write!(text, " # {{{TRACE_ID}=\"{}\"}} {value} {at_s:.3}", trace.as_str())?;
        }
        text.write_char('\n')?;
    }
    Ok(())
}

fn labels(text: &mut String, sample: &Sample, limit: Option<f64>) -> fmt::Result {
    let limit = limit.map(|limit| ("le", limit_text(limit)));
    let all = sample.metric.labels.iter().copied().zip(sample.labels.iter().map(String::as_str));
    let mut separator = '{';
    for (name, value) in all.chain(limit.iter().map(|(name, value)| (*name, value.as_str()))) {
        write!(text, "{separator}{name}=\"")?;
        escape(text, value)?;
        text.write_char('"')?;
        separator = ',';
    }
    if separator == ',' { text.write_char('}') } else { Ok(()) }
}

fn escape(text: &mut String, value: &str) -> fmt::Result {
    value.chars().try_for_each(|c| match c {
        '\\' => text.write_str("\\\\"),
        '"' => text.write_str("\\\""),
        '\n' => text.write_str("\\n"),
        c => text.write_char(c),
    })
}

#[cfg(test)]
mod tests {
    use keyferry_pipeline::meter::{self, Counts, TraceId};

    use super::*;
    use crate::metrics::{Distribution, Value, catalog};

    fn some() -> Samples {
        let mut samples = Samples::default();
        samples.count(&catalog::EVENTS_HELD, &["slot-0", "a"], 3);
        samples.put(&catalog::SENT_BYTES, &["slot-0", "a\"\\\nb", "user"], 1.5);
        samples.count(&catalog::EVENTS_HELD, &["slot-1", "a"], 4);
        samples
    }

    fn text_of(samples: &Samples, format: Format) -> String {
        String::from_utf8(expose(samples, format)).unwrap()
    }

    #[test]
    fn series_of_a_metric_stand_together_and_values_are_escaped() {
        assert_eq!(
            text_of(&some(), Format::OpenMetrics),
            "# HELP keyferry_events_held Events in doubt that wait for an operator.\n\
             # TYPE keyferry_events_held gauge\n\
             keyferry_events_held{slot=\"slot-0\",destination=\"a\"} 3\n\
             keyferry_events_held{slot=\"slot-1\",destination=\"a\"} 4\n\
             # HELP keyferry_sent_bytes Bytes of keys, values and headers handed to the Kafka client, before compression.\n\
             # TYPE keyferry_sent_bytes counter\n\
             # UNIT keyferry_sent_bytes bytes\n\
             keyferry_sent_bytes_total{slot=\"slot-0\",destination=\"a\\\"\\\\\\nb\",kind=\"user\"} 1.5\n\
             # EOF\n"
        );
        let text = text_of(&some(), Format::Text);
        assert!(text.contains("# TYPE keyferry_sent_bytes_total counter\n") && !text.contains("# UNIT"));
        assert!(!text.contains("# EOF"));
    }

    #[test]
    fn a_histogram_counts_what_is_at_most_each_limit() {
        let mut samples = Samples::default();
        let value = Distribution { at_most: vec![1; 17], count: 2, sum: 7.25, ..Distribution::default() };
        samples.push_for_test(&catalog::LATENCY, &["slot-0", "a"], Value::Histogram(value));
        let text = text_of(&samples, Format::Text);
        for line in [
            "keyferry_event_latency_seconds_bucket{slot=\"slot-0\",destination=\"a\",le=\"0.001\"} 1",
            "keyferry_event_latency_seconds_bucket{slot=\"slot-0\",destination=\"a\",le=\"5.0\"} 1",
            "keyferry_event_latency_seconds_bucket{slot=\"slot-0\",destination=\"a\",le=\"+Inf\"} 2",
            "keyferry_event_latency_seconds_sum{slot=\"slot-0\",destination=\"a\"} 7.25",
            "keyferry_event_latency_seconds_count{slot=\"slot-0\",destination=\"a\"} 2",
        ] {
            assert!(text.lines().any(|each| each == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_bucket_shows_the_last_exemplar_of_it_and_only_in_open_metrics() {
        const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
        let trace = TraceId::recorded(&format!("00-{TRACE}-b7ad6b7169203331-01")).unwrap();
        let exemplar = |value, at_ms| meter::Exemplar { trace, value, at_ms };
        let exemplars =
            [exemplar(3, 1_500), exemplar(250, 2_500), exemplar(130, 2_000), exemplar(9_000_000, 3_000)];
        let mut samples = Samples::default();
        samples.histogram(&catalog::LATENCY, &["slot-0", "a"], &Counts::default(), &exemplars);
        let shown = |le: &str, rest: &str| {
            format!(
                "keyferry_event_latency_seconds_bucket{{slot=\"slot-0\",destination=\"a\",le=\"{le}\"}} 0 # {{trace_id=\"{TRACE}\"}} {rest}"
            )
        };
        let text = text_of(&samples, Format::OpenMetrics);
        let with: Vec<&str> = text.lines().filter(|line| line.contains("trace_id")).collect();
        let wanted =
            [shown("0.005", "0.003 1.500"), shown("0.25", "0.25 2.500"), shown("+Inf", "9000 3.000")];
        assert_eq!(with, wanted);
        assert!(!text_of(&samples, Format::Text).contains("trace_id"));
    }

    #[test]
    fn a_client_gets_what_it_prefers() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,*/*;q=0.1";
        assert_eq!(Format::accepted(native), Format::Protobuf);
        assert_eq!(Format::accepted(&native.replace("delimited", "delimited;q=0.5")), Format::OpenMetrics);
        assert_eq!(Format::accepted(&native.replace("delimited", "text")), Format::OpenMetrics);
        for other in ["", "*/*", "text/plain; version=0.0.4", "text/html"] {
            assert_eq!(Format::accepted(other), Format::Text, "{other}");
        }
    }
}
