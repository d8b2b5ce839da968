//! Samples as text, in the two forms that Prometheus reads.
//!
//! - [OpenMetrics 1.0](https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md), for whoever accepts it.
//! - The [text format 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/) for everybody else, `promtool check metrics` among them.
//!
//! They differ in the family name of a counter, the line `# UNIT`, and the end. The invariant: **each metric's series stand together, in the order of the catalog**, as both
//! formats demand.

use std::fmt::{self, Write as _};

use super::catalog::ALL;
use super::definition::Metric;
use super::sample::{Sample, Samples, Series, limit_text};

/// A form of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's text format.
    Text,
}

impl Format {
    /// What is preferred by a client with this `Accept` header. One that does not speak of OpenMetrics gets the older form.
    pub fn accepted(accept: &str) -> Self {
        let is_open_metrics = |part: &str| {
            part.split(';').next().is_some_and(|kind| kind.trim() == "application/openmetrics-text")
        };
        if accept.split(',').any(is_open_metrics) { Self::OpenMetrics } else { Self::Text }
    }

    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// `samples` as text.
pub fn expose(samples: &Samples, format: Format) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, samples, format);
    text
}

fn write(text: &mut String, samples: &Samples, format: Format) -> fmt::Result {
    for metric in ALL {
        let mut of_metric = samples.of(metric).peekable();
        if of_metric.peek().is_none() {
            continue;
        }
        head(text, metric, format)?;
        of_metric.try_for_each(|sample| series(text, sample))?;
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

fn series(text: &mut String, sample: &Sample) -> fmt::Result {
    for Series { suffix, limit, value } in sample.series() {
        write!(text, "{}{suffix}", sample.metric.name)?;
        labels(text, sample, limit)?;
        writeln!(text, " {value}")?;
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
    use super::*;
    use crate::metrics::{Value, catalog};

    fn some() -> Samples {
        let mut samples = Samples::default();
        samples.count(&catalog::EVENTS_HELD, &["slot-0", "a"], 3);
        samples.put(&catalog::SENT_BYTES, &["slot-0", "a\"\\\nb", "user"], 1.5);
        samples.count(&catalog::EVENTS_HELD, &["slot-1", "a"], 4);
        samples
    }

    #[test]
    fn series_of_a_metric_stand_together_and_values_are_escaped() {
        assert_eq!(
            expose(&some(), Format::OpenMetrics),
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
        let text = expose(&some(), Format::Text);
        assert!(text.contains("# TYPE keyferry_sent_bytes_total counter\n") && !text.contains("# UNIT"));
        assert!(!text.contains("# EOF"));
    }

    #[test]
    fn a_histogram_counts_what_is_at_most_each_limit() {
        let mut samples = Samples::default();
        let value = Value::Histogram { at_most: vec![1; 17], count: 2, sum: 7.25 };
        samples.push_for_test(&catalog::LATENCY, &["slot-0", "a"], value);
        let text = expose(&samples, Format::Text);
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
    fn who_accepts_open_metrics_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        for other in ["", "*/*", "text/plain; version=0.0.4", "text/html"] {
            assert_eq!(Format::accepted(other), Format::Text, "{other}");
        }
    }
}
