//! What is said on the wire: requests and responses, from which the OpenAPI document is generated.
//!
//! Times are milliseconds since the Unix epoch; a duration has its unit in its name, and a size is in bytes. Fields are only ever added within `/api/v1`: a client must
//! pass over those that it does not know. What is not known is `null`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::role::Role;

/// The process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct About {
    /// The agent's version.
    pub agent: String,
    /// Its process id.
    pub pid: u32,
    /// When it was started.
    pub started: u64,
    /// Why it ships nothing at all: its configuration lacks something or is refused, or another agent still serves the slot.
    pub waiting: Option<String>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Who that is, in words, as far as it is known.
    pub who: Option<String>,
    /// What he may do.
    pub role: Option<Role>,
    /// The path where a browser is sent to log in, if that is possible.
    pub login: Option<String>,
    /// The path that who is logged in posts to in order to log out.
    pub logout: Option<String>,
}

/// From which level on is logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLevel {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Ended.
    Stopped,
    /// Everything is delivered.
    Idle,
    /// Records are on their way.
    Delivering,
    /// Told to stop; delivering the rest.
    Draining,
    /// The destination takes nothing.
    Blocked,
    /// The configuration is incomplete or refused, or another agent still serves the slot.
    Waiting,
}

/// The agent and all its destinations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The process.
    #[serde(flatten)]
    pub about: About,
    /// Whether everything that is there to be delivered is being delivered; the answer of `/readyz`.
    pub ready: bool,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// The destinations, by name.
    pub destinations: Vec<Destination>,
}

/// A destination and what is shipped to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// The worst of its slots'.
    pub state: State,
    /// What is shipped to it, one slot each. An agent that Keycloak has started has one slot of its own, and may have adopted another.
    pub slots: Vec<Delivery>,
}

/// One slot on its way to one destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// The slot's directory in the journal.
    pub slot: String,
    /// Whether another process left the slot behind, and this agent ships what is in it.
    pub adopted: bool,
    /// What is being done.
    pub state: State,
    /// What an operator should know, in one sentence.
    pub reason: Option<String>,
    /// Counts since the agent has begun to ship the slot.
    pub counts: Counts,
    /// When Kafka last acknowledged a record.
    pub last_delivery: Option<u64>,
    /// What waits.
    pub backlog: Backlog,
    /// Whether anything is sent.
    pub breaker: Breaker,
    /// The schema registry, where one is configured.
    #[serde(default)]
    pub registry: Option<Registry>,
}

/// A schema registry, as one slot on its way to one destination uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Registry {
    /// The first of its servers.
    pub url: String,
    /// Subjects whose schema has an id.
    pub ids: u64,
    /// Subjects without one that records wait for.
    pub waiting: u64,
    /// The kind of what keeps them from having one: `unreachable`, `slow`, `failing`, `insecure`, `unauthenticated`, `forbidden`, `incompatible`, `invalid`, `missing` or `unintelligible`; `null`
    /// while nothing does.
    pub cause: Option<String>,
    /// The same for people, with what the registry said.
    pub reason: Option<String>,
    /// Since when that is so.
    pub since: Option<u64>,
}

/// Counts since the agent has begun to ship a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// Events acknowledged by Kafka.
    pub published: u64,
    /// Events that no topic wanted.
    pub filtered: u64,
    /// Events published with the outcome `unknown`.
    pub in_doubt: u64,
    /// Events in doubt that wait for an operator now, those of earlier runs included.
    pub held: u64,
    /// Records that can never be delivered, and lie in the dead-letter topic or file.
    pub dead_letters: u64,
    /// Those of them that lie in the topic.
    #[serde(default)]
    pub dead_letters_in_topic: u64,
    /// Events of low priority that were passed over under pressure, as gap records tell.
    #[serde(default)]
    pub passed_over: u64,
    /// Gap records acknowledged by Kafka.
    pub gap_records: u64,
    /// Events that the provider could not journal.
    pub missing_events: u64,
    /// Ranges of the journal that could not be read.
    pub damaged_ranges: u64,
    /// User events given up at the journal's ceiling because they were the oldest.
    pub dropped_old_user_events: u64,
    /// Admin events given up there.
    pub dropped_old_admin_events: u64,
    /// Records that were sent again after a failure.
    pub resets: u64,
}

/// How pressing a backlog is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    #[default]
    Normal,
    /// More than usual.
    Elevated,
    /// Much, or growing fast.
    High,
    /// The journal will soon be full.
    Critical,
}

/// What waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Backlog {
    /// How pressing it is.
    pub level: Level,
    /// What has brought it to this level; `null` while that is normal.
    pub reason: Option<String>,
    /// Since when it has been at this level.
    pub since: u64,
    /// Journal bytes that are not acknowledged.
    pub bytes: u64,
    /// Age of the oldest event that is not acknowledged.
    pub oldest_ms: Option<u64>,
    /// By how many bytes a second it grows; less than nothing while it is worked off.
    pub growth_bytes_per_s: i64,
    /// In how many seconds the journal is full, if that goes on.
    pub time_to_full_s: Option<u64>,
    /// By how many bytes it may still grow.
    pub room_bytes: Option<u64>,
    /// How many of a hundred bytes that the journal may have are used.
    pub used_percent: Option<u8>,
    /// Whether `keyferry replay` waits until that is better.
    #[serde(default)]
    pub pauses_replay: bool,
}

/// Who decides whether anything is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BreakerMode {
    /// The breaker, by what it sees.
    #[default]
    Auto,
    /// An operator: nothing is sent. The journal keeps the events.
    Open,
    /// An operator: nothing trips it. After a failure there is a pause all the same.
    Closed,
}

/// The state of a circuit breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// Records are sent.
    #[default]
    Closed,
    /// Nothing is sent.
    Open,
    /// A few records are sent to see whether the destination is back.
    HalfOpen,
}

/// A circuit breaker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Breaker {
    /// Who decides. What was just asked for is here at once; `state` follows within a second.
    pub mode: BreakerMode,
    /// Whether anything is sent.
    pub state: BreakerState,
    /// The kind of cause that has opened it: `consecutive-failures`, `failure-rate`, `slow-calls`, `oldest-unacknowledged`, `authentication`, `authorisation`,
    /// `configuration`, `schema-registry` or `forced`; `null` while it is closed.
    pub cause: Option<String>,
    /// The same for people, with what the destination said.
    pub reason: Option<String>,
    /// Since when it has been in this state.
    pub since: u64,
    /// When it lets the next attempt through.
    pub next_attempt: Option<u64>,
    /// Attempts in a row that have failed.
    pub consecutive_failures: u32,
    /// How often it has opened since the agent started.
    pub opened_total: u64,
    /// How often it has become half-open.
    pub half_opened_total: u64,
    /// How often it has closed again.
    pub closed_total: u64,
    /// For how long it has been in each state.
    pub time_in_state_ms: TimeInState,
}

/// For how long a circuit breaker has been in each state, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimeInState {
    /// Closed.
    pub closed: u64,
    /// Open.
    pub open: u64,
    /// Half-open.
    pub half_open: u64,
}

/// What the tuner strives for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TunerProfile {
    /// An event arrives soon.
    Latency,
    /// Both, within reason.
    Balanced,
    /// A backlog is worked off soon.
    Throughput,
    /// As little as possible is in flight.
    Reliability,
    /// Whatever the load asks for.
    #[default]
    Auto,
}

/// The tuner of a destination's producers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tuner {
    /// What it strives for.
    pub profile: TunerProfile,
    /// Whether it moves nothing by itself.
    pub frozen: bool,
    /// The pace that the moment asks for: `starting`, `calm`, `busy` or `drain`. Only the profile `auto` follows it.
    pub pace: String,
    /// Records a second, as a mean over some seconds.
    pub records_per_s: f64,
    /// What holds now.
    pub tuning: Tuning,
    /// What it never moves, because it is configured.
    pub configured: Vec<String>,
    /// What an operator has set by hand, which holds before all else.
    pub overrides: Overrides,
    /// The last decisions, the oldest first.
    pub decisions: Vec<Decision>,
}

/// What the tuner sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tuning {
    /// The largest batch, in bytes.
    pub batch_size: u64,
    /// How long a batch waits to be filled.
    pub linger_ms: u64,
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub compression: String,
    /// Requests on their way on one connection.
    pub max_in_flight: u32,
    /// Connections.
    pub connections: u32,
}

/// Values of the tuning that an operator sets by hand. What is left out is the configuration's, or the tuner's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// The largest batch, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub batch_size: Option<u64>,
    /// How long a batch waits to be filled, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linger_ms: Option<u64>,
    /// How batches are compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Requests on their way on one connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 5)]
    pub max_in_flight: Option<u8>,
    /// Connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub connections: Option<u32>,
}

impl Overrides {
    /// What is set, with its value, by the names of the configuration.
    pub fn given(&self) -> Vec<String> {
        let Self { batch_size, linger_ms, compression, max_in_flight, connections } = self;
        [
            batch_size.map(|bytes| format!("batch_size {bytes}")),
            linger_ms.map(|ms| format!("linger {ms} ms")),
            compression.map(|compression| format!("compression {compression}")),
            max_in_flight.map(|requests| format!("max_in_flight {requests}")),
            connections.map(|connections| format!("connections {connections}")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// A decision of the tuner's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// When.
    pub time: u64,
    /// What, and why.
    pub text: String,
}

/// The connections from one slot to a destination. They belong to generations: a change of settings, credentials or size starts new connections, which take
/// over when the old ones have delivered everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pool {
    /// The generation that receives records.
    pub generation: u64,
    /// How many connections that generation has.
    pub size: u32,
    /// Every connection that is open, of whatever generation.
    pub connections: Vec<Connection>,
    /// The replacement that is under way.
    pub swap: Option<Swap>,
    /// The replacement that ended last.
    pub last_swap: Option<EndedSwap>,
    /// How many replacements have succeeded.
    pub swaps_completed: u64,
    /// How many replacements were given up because the new connections were not healthy.
    pub swaps_rolled_back: u64,
    /// How often everything was replaced at once, after a failure.
    pub resets: u64,
}

/// One connection: a producer of the Kafka client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// Its number, unique within the pool.
    pub id: u64,
    /// The generation that it belongs to.
    pub generation: u64,
    /// `warming-up`, `standby`, `active` or `draining`.
    pub state: String,
    /// How long it has existed.
    pub age_ms: u64,
    /// How long brokers took to answer a request, in milliseconds.
    pub round_trip_ms: Option<Quantiles>,
    /// How long records waited in the client before they were put into a request, in milliseconds.
    pub queue_time_ms: Option<Quantiles>,
    /// Requests that wait for their answer.
    pub requests_in_flight: u64,
    /// Records that have no outcome yet.
    pub queue_records: u64,
    /// Their bytes.
    pub queue_bytes: u64,
    /// Records delivered.
    pub delivered: u64,
    /// Attempts to connect, the first ones included.
    pub connects: u64,
    /// How often an established connection to a broker was lost.
    pub reconnects: u64,
    /// For how long brokers have asked it to wait, the longest in the last interval.
    pub throttle_ms: u64,
    /// How full batches were, 0 to 1.
    pub batch_fill: Option<f64>,
    /// Bytes before compression for each byte sent.
    pub compression_ratio: Option<f64>,
    /// What it complained of last and no success has cleared since.
    pub last_error: Option<String>,
}

/// Two points of a distribution over the last interval of statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Quantiles {
    /// Half was at most this.
    pub p50: f64,
    /// All but a hundredth was at most this.
    pub p99: f64,
}

/// A replacement of connections under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Swap {
    /// The generation that shall take over.
    pub generation: u64,
    /// `warming-up` or `draining`.
    pub phase: String,
    /// What it is for.
    pub cause: String,
    /// For how long it has been under way.
    pub since_ms: u64,
}

/// A replacement of connections that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndedSwap {
    /// The generation that was to take over.
    pub generation: u64,
    /// What it was for.
    pub cause: String,
    /// How long it took.
    pub took_ms: u64,
    /// Why the old connections stayed; `null` if they did not.
    pub failure: Option<String>,
}

/// What an agent ships from one slot to one destination, as [`crate::Agent`] tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shipment {
    /// The destination's name.
    pub destination: String,
    /// How it stands.
    pub delivery: Delivery,
    /// Its connections. `None` as long as there are none.
    pub pool: Option<Pool>,
    /// Its tuner. `None` where none is at work.
    pub tuner: Option<Tuner>,
}

/// One aspect of a destination, slot by slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OfSlots<T> {
    /// The destination's name.
    pub destination: String,
    /// One for each slot that is shipped to it.
    pub slots: Vec<OfSlot<T>>,
}

/// One aspect of what is shipped from one slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OfSlot<T> {
    /// The slot's directory in the journal.
    pub slot: String,
    /// The aspect.
    #[serde(flatten)]
    pub of: T,
}

/// What the agent does, at one moment: an event of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// The answer of `/api/v1/status`.
    pub status: Status,
    /// What is measured of events.
    pub figures: Figures,
    /// What has changed elsewhere, when one of these has.
    pub marks: Marks,
    /// The connections of each shipment that has some.
    pub pools: Vec<OfShipment<Pool>>,
    /// The tuner of each shipment for which one is at work.
    pub tuners: Vec<OfShipment<Tuner>>,
}

/// Something of what is shipped from one slot to one destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OfShipment<T> {
    /// The destination's name.
    pub destination: String,
    /// The slot's directory in the journal.
    pub slot: String,
    /// What.
    #[serde(flatten)]
    pub of: T,
}

impl<T> OfShipment<T> {
    /// `of` of what is shipped from `slot` to `destination`.
    pub fn new(destination: &str, slot: &str, of: T) -> Self {
        Self { destination: destination.to_owned(), slot: slot.to_owned(), of }
    }
}

/// What is measured of events. Each destination meets the same events and counts them for itself: of several, the figures are of the one that has counted most. Counts are since the
/// agent started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Figures {
    /// When this was read.
    pub time: u64,
    /// From the commit of an event in the journal to its acknowledgement, over the last minute; `null` if nothing was acknowledged.
    pub latency_ms: Option<Latency>,
    /// Events met in the journal.
    pub received: u64,
    /// Events acknowledged by Kafka.
    pub published: u64,
    /// Events met in the journal, by type, the most frequent first.
    pub events: Vec<Counted>,
    /// Successful logins.
    pub logins: u64,
    /// Failed logins.
    pub login_failures: u64,
    /// Failed logins, by error, the most frequent first.
    pub login_errors: Vec<Counted>,
}

/// Three points of a distribution of latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    /// Half was at most this.
    pub p50: f64,
    /// All but a twentieth was at most this.
    pub p95: f64,
    /// All but a hundredth was at most this.
    pub p99: f64,
}

/// How often something has been met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counted {
    /// What.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// What tells a listener to read configuration, alerts or incidents again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Marks {
    /// The hash of the configuration that runs.
    pub config: Option<String>,
    /// The number of its version.
    pub config_version: Option<u64>,
    /// Whether a change is being tried.
    pub trying: bool,
    /// Whether the last change is on probation.
    pub probation: bool,
    /// Whether what the file says is in use.
    pub file_in_use: bool,
    /// How many incidents are kept.
    pub incidents: u64,
    /// How much has happened in them.
    pub happenings: u64,
    /// When something happened last.
    pub last_happening: Option<u64>,
    /// How many alerts fire.
    pub firing: u64,
}

/// Which slot is meant.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SlotFilter {
    /// Only this slot, such as `slot-0`. Without it, every slot that is shipped to the destination.
    pub slot: Option<String>,
}

/// Asks for another mode of the breaker.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetBreaker {
    /// Who decides.
    pub mode: BreakerMode,
}

/// Asks the tuner to leave the settings as they are, or not to any more.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetFrozen {
    /// Whether it leaves them.
    pub frozen: bool,
}

/// Asks the tuner to strive for something else.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetProfile {
    /// For what.
    pub profile: TunerProfile,
}

/// Asks for another number of connections.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSize {
    /// How many.
    #[schema(minimum = 1)]
    pub connections: u32,
}

/// The answer of `/healthz` and `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `alive` or `ready`.
    pub status: String,
}

macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// The words for it.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The word for it.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("{text:?} is none of {}", Self::WORDS.join(", "))),
                }
            }
        }
    };
}

words!(State {
    Stopped => "stopped",
    Idle => "idle",
    Delivering => "delivering",
    Draining => "draining",
    Blocked => "blocked",
    Waiting => "waiting",
});
words!(Level { Normal => "normal", Elevated => "elevated", High => "high", Critical => "critical" });
words!(BreakerMode { Auto => "auto", Open => "open", Closed => "closed" });
words!(BreakerState { Closed => "closed", Open => "open", HalfOpen => "half-open" });
words!(TunerProfile {
    Latency => "latency",
    Balanced => "balanced",
    Throughput => "throughput",
    Reliability => "reliability",
    Auto => "auto",
});

words!(Compression {
    None => "none",
    Gzip => "gzip",
    Snappy => "snappy",
    Lz4 => "lz4",
    Zstd => "zstd",
});

impl Status {
    /// The status of an agent that ships `shipments`.
    pub fn of(about: About, shipments: Vec<Shipment>) -> Self {
        Self::over(about, Destination::all_of(shipments))
    }

    fn over(about: About, destinations: Vec<Destination>) -> Self {
        let reason = about.waiting.clone().or_else(|| destinations.iter().find_map(Destination::hindrance));
        Self { about, ready: reason.is_none(), reason, destinations }
    }

    /// The same of one slot only.
    #[must_use]
    pub fn of_slot(self, slot: &str) -> Self {
        let of_slot = |mut destination: Destination| {
            destination.slots.retain(|delivery| delivery.slot == slot);
            destination.state = destination.slots.first()?.state;
            Some(destination)
        };
        Self::over(self.about, self.destinations.into_iter().filter_map(of_slot).collect())
    }

    /// Whether anything of `slot` is shipped.
    pub fn serves(&self, slot: &str) -> bool {
        self.destinations
            .iter()
            .flat_map(|destination| &destination.slots)
            .any(|delivery| delivery.slot == slot)
    }
}

impl Destination {
    /// The destinations of `shipments`, by name, each with its slots by theirs.
    pub fn all_of(mut shipments: Vec<Shipment>) -> Vec<Self> {
        let key = |shipment: &Shipment| (shipment.destination.clone(), shipment.delivery.slot.clone());
        shipments.sort_by_key(key);
        let mut destinations: Vec<Self> = Vec::new();
        for Shipment { destination, delivery, .. } in shipments {
            match destinations.last_mut().filter(|last| last.name == destination) {
                Some(last) => {
                    last.state = last.state.max(delivery.state);
                    last.slots.push(delivery);
                }
                None => destinations.push(Self {
                    name: destination,
                    state: delivery.state,
                    slots: vec![delivery],
                }),
            }
        }
        destinations
    }

    /// Why not everything is being delivered to it.
    fn hindrance(&self) -> Option<String> {
        let Delivery { slot, state, reason, .. } =
            self.slots.iter().find(|delivery| !delivery.is_delivered_or_on_its_way())?;
        let reason = reason.as_deref().unwrap_or("no reason is known");
        Some(format!("destination {} is {state} ({slot}): {reason}", self.name))
    }
}

impl Delivery {
    /// An adopted slot that is let go of hinders nothing; an own one that is not shipped does.
    fn is_delivered_or_on_its_way(&self) -> bool {
        match self.state {
            State::Idle | State::Delivering => true,
            State::Stopped | State::Draining => self.adopted,
            State::Blocked | State::Waiting => false,
        }
    }
}
