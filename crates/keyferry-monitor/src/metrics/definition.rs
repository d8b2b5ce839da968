//! What a metric is: everything that is said of it in one place.

/// A metric: a family of time series under one name.
#[derive(Debug, PartialEq)]
pub struct Metric {
    /// Its name, with `_total` where it is a counter.
    pub name: &'static str,
    /// How its values behave.
    pub kind: Kind,
    /// What they are measured in.
    pub unit: Unit,
    /// The labels of a series, in the order in which their values are given.
    pub labels: &'static [&'static str],
    /// What it means, in one sentence.
    pub help: &'static str,
    /// What to do when it is high (or low, or there at all), in words for an operator.
    pub remedy: &'static str,
}

/// How values behave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows, from zero when the agent starts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by size. The limits of its buckets, but for the last one, which has none.
    Histogram(&'static [f64]),
}

impl Kind {
    /// As the exposition formats call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// Base units of Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things, or a state.
    None,
    /// Seconds; of a point in time, since the Unix epoch.
    Seconds,
    /// Bytes.
    Bytes,
    /// 0 to 1, or one thing for each of another.
    Ratio,
}

impl Unit {
    /// With what the name of a metric ends that is measured in it.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Seconds => Some("seconds"),
            Self::Bytes => Some("bytes"),
            Self::Ratio => Some("ratio"),
        }
    }
}

impl Metric {
    /// The name of the family as OpenMetrics has it, which of a counter is that without `_total`.
    pub fn family(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram(_) => self.name,
        }
    }

    /// The names of its series in Prometheus.
    pub fn series(&self) -> Vec<String> {
        match self.kind {
            Kind::Counter | Kind::Gauge => vec![self.name.to_owned()],
            Kind::Histogram(_) => {
                ["_bucket", "_sum", "_count"].map(|suffix| format!("{}{suffix}", self.name)).to_vec()
            }
        }
    }
}

/// Declares metrics, each a `static`, and [`ALL`] of them.
macro_rules! catalog {
    ($($(#[$doc:meta])* $ident:ident: $kind:expr, $unit:ident, $name:literal, [$($label:literal),*], $help:literal, $remedy:literal;)+) => {
        $(
            #[doc = $help]
            pub static $ident: Metric = Metric {
                name: $name,
                kind: $kind,
                unit: Unit::$unit,
                labels: &[$($label),*],
                help: $help,
                remedy: $remedy,
            };
        )+

        /// Every metric, in the order in which they are exposed and described.
        pub static ALL: &[&Metric] = &[$(&$ident),+];
    };
}
pub(crate) use catalog;
