//! What a pool tells of itself.

use serde::Serialize;

use crate::topics::TopicSnapshot;

/// The state of a pool, about a second old at most while anything flows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PoolSnapshot {
    /// The number of the generation that receives records. Ascends with each one that is started.
    pub generation: u64,
    /// How many connections that generation has.
    pub size: usize,
    /// Every connection that is open, of whatever generation.
    pub connections: Vec<ConnectionSnapshot>,
    /// The replacement that is under way.
    pub swap: Option<SwapSnapshot>,
    /// The replacement that ended last.
    pub last_swap: Option<EndedSwap>,
    /// How many replacements have succeeded.
    pub swaps_completed: u64,
    /// How many replacements were given up because the new connections were not healthy.
    pub swaps_rolled_back: u64,
    /// How many times everything was replaced at once, after a failure.
    pub resets: u64,
    /// The topics, as of their last check.
    pub topics: Vec<TopicSnapshot>,
}

/// One connection: a producer with its own connections to the brokers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ConnectionSnapshot {
    /// Its number, unique within the pool.
    pub id: u64,
    /// The generation that it belongs to.
    pub generation: u64,
    /// What it is doing.
    pub state: ConnectionState,
    /// How long it has existed, in milliseconds.
    pub age_ms: u64,
    /// How long brokers took to answer a request, in milliseconds; `None` until one has.
    pub round_trip_ms: Option<Quantiles>,
    /// How long records waited in the client before they were put into a request (linger included), in milliseconds.
    pub queue_time_ms: Option<Quantiles>,
    /// Requests that wait for their answer.
    pub requests_in_flight: u64,
    /// Records that were handed over and have no outcome yet.
    pub queue_messages: u64,
    /// Their bytes.
    pub queue_bytes: u64,
    /// Records delivered.
    pub delivered: u64,
    /// Attempts to connect, the first ones included.
    pub connects: u64,
    /// How often an established connection to a broker was lost.
    pub reconnects: u64,
    /// For how long brokers have asked us to wait, the longest in the last interval, in milliseconds.
    pub throttle_ms: u64,
    /// How full batches were compared to the configured batch size, 0 to 1; `None` while none was sent.
    pub batch_fill: Option<f64>,
    /// How many batches were refused as too large, by a broker or for its topic.
    pub refused_batches: u64,
    /// Bytes before compression for each byte sent; `None` while none was sent.
    pub compression_ratio: Option<f64>,
    /// What it complained of last and no success has cleared since.
    pub last_error: Option<String>,
    /// The brokers that it has connected to, or tried to.
    pub brokers: Vec<BrokerSnapshot>,
}

/// One broker, as one connection sees it. Counts begin with the connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BrokerSnapshot {
    /// Its host and port.
    pub address: String,
    /// Whether the connection to it is established.
    pub is_up: bool,
    /// How long it took to answer a request, in milliseconds; `None` if it answered none in the last interval.
    pub round_trip_ms: Option<Quantiles>,
    /// Requests that wait for its answer.
    pub requests_in_flight: u64,
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// Requests that could not be sent.
    pub errors: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Requests that it did not answer in time.
    pub timeouts: u64,
}

/// Two points of a distribution over the last interval of statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half was at most this.
    pub p50: f64,
    /// All but a hundredth was at most this.
    pub p99: f64,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionState {
    /// It is being checked and takes nothing yet.
    #[default]
    WarmingUp,
    /// It is healthy and waits for the old generation to be drained.
    Standby,
    /// It receives records.
    Active,
    /// It receives nothing any more and delivers what it has.
    Draining,
}

/// A replacement under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SwapSnapshot {
    /// The generation that shall take over.
    pub generation: u64,
    /// How far it is.
    pub phase: SwapPhase,
    /// What it is for, in the words of who asked.
    pub cause: String,
    /// For how long it has been under way, in milliseconds.
    pub since_ms: u64,
}

/// How far a replacement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwapPhase {
    /// The new connections are being checked; the old ones go on.
    WarmingUp,
    /// The new ones are healthy; the old ones deliver what they have and get nothing more.
    Draining,
}

/// A replacement that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndedSwap {
    /// The generation that was to take over.
    pub generation: u64,
    /// What it was for.
    pub cause: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Why the old connections stayed; `None` if they did not.
    pub failure: Option<String>,
}
