//! What the tuner sees.

use serde::Serialize;

/// How full the journal is, as the pipeline judges it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// What comes, goes.
    #[default]
    Normal,
    /// More comes than goes.
    Elevated,
    /// The journal will be full before long.
    High,
    /// The journal is about to be full.
    Critical,
}

/// What flowed through one destination in about the last second, and how.
///
/// What is not known is `None`: the tuner then does without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Observation {
    /// Records acknowledged a second.
    pub delivered: f64,
    /// Journal bytes that are not settled, what is under way included.
    pub backlog_bytes: u64,
    /// How full the journal is.
    pub level: Level,
    /// Whether the destination takes nothing: what is seen then says nothing about settings.
    pub blocked: bool,
    /// How many connections there are.
    pub connections: usize,
    /// How full batches were compared to the configured size, 0 to 1.
    pub batch_fill: Option<f64>,
    /// How long a record waited in the client, in milliseconds (median).
    pub queue_ms: Option<f64>,
    /// How long a broker took to answer, in milliseconds (median).
    pub round_trip_ms: Option<f64>,
    /// Whether a batch has been refused as too large since the connections are what they are.
    pub refused_batch: bool,
    /// For how long brokers have asked us to wait, in milliseconds.
    pub throttle_ms: u64,
    /// What share of a processor the whole agent took: 1 is one processor, whole.
    pub cpu: f64,
}
