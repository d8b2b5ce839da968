//! What is said on the wire: requests and responses, from which the OpenAPI document is generated.
//!
//! Times are milliseconds since the Unix epoch, durations milliseconds, sizes bytes. Fields are only ever added within `/api/v1`: a client must pass over those
//! that it does not know. What is not known is `null`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

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
}

/// Counts since the agent has begun to ship a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// Events acknowledged by Kafka.
    pub published: u64,
    /// Events that no topic wanted.
    pub filtered: u64,
    /// Events published with the outcome `unknown`.
    pub in_doubt: u64,
    /// Events in doubt that wait for an operator now, those of earlier runs included.
    pub held: u64,
    /// Records that Kafka can never take.
    pub dead_letters: u64,
    /// Gap records acknowledged by Kafka.
    pub gap_records: u64,
    /// Events that the provider could not journal.
    pub missing_events: u64,
    /// Ranges of the journal that could not be read.
    pub damaged_ranges: u64,
    /// Events given up at the journal's ceiling because they were the oldest.
    pub dropped_old: u64,
    /// How often everything after the last settled point was sent again.
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Backlog {
    /// How pressing it is.
    pub level: Level,
    /// Journal bytes that are not acknowledged.
    pub bytes: u64,
    /// When the journal got the oldest event that is not acknowledged.
    pub oldest: Option<u64>,
    /// By how many bytes a second it grows; less than nothing while it is worked off.
    pub growth: Option<f64>,
    /// After how many milliseconds the journal is full, at this growth.
    pub time_to_full: Option<u64>,
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
    /// An operator: everything is sent, whatever fails.
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
    /// Why it is not closed.
    pub reason: Option<String>,
    /// For how long it has been in this state.
    pub in_state: u64,
    /// How often it has opened.
    pub opened: u64,
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

/// The tuner of a destination's producer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tuner {
    /// What it strives for.
    pub profile: TunerProfile,
    /// Whether it leaves the settings as they are.
    pub frozen: bool,
    /// What is set now.
    pub settings: TunerSettings,
    /// The last decisions, the newest first.
    pub decisions: Vec<TunerDecision>,
}

/// What the tuner sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TunerSettings {
    /// Largest batch.
    pub batch_size: u64,
    /// How long a batch waits to be filled, in microseconds.
    pub linger_us: u64,
    /// `none`, `lz4`, `zstd`, `snappy` or `gzip`.
    pub compression: String,
    /// Requests on their way on one connection.
    pub max_in_flight: u32,
    /// Connections.
    pub connections: u32,
}

/// A decision of the tuner's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TunerDecision {
    /// When.
    pub time: u64,
    /// What, and why.
    pub reason: String,
}

/// The connections of a slot to a destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pool {
    /// Which generation of connections sends; each change of settings, credentials or size begins one.
    pub generation: u64,
    /// The connections.
    pub connections: Vec<Connection>,
    /// What became of the last change.
    pub last_change: Option<String>,
}

/// One connection: a producer of the Kafka client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// Its number.
    pub id: u64,
    /// The generation that it belongs to.
    pub generation: u64,
    /// What it is doing, in a word.
    pub state: String,
    /// How old it is.
    pub age: u64,
    /// Half of the requests are answered within this time, in milliseconds.
    pub round_trip_p50: Option<f64>,
    /// Of a hundred requests, 99 are answered within this time, in milliseconds.
    pub round_trip_p99: Option<f64>,
    /// Requests that are not answered.
    pub requests_in_flight: u64,
    /// Records that are not acknowledged.
    pub queued_records: u64,
    /// Their size.
    pub queued_bytes: u64,
    /// How often it was connected again.
    pub reconnects: u64,
    /// For how long the broker made it wait, the last time.
    pub throttle: u64,
    /// The last error.
    pub last_error: Option<String>,
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
    #[schema(minimum = 1, maximum = 64)]
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

impl Status {
    /// The status of an agent that ships `shipments`.
    pub fn of(about: About, shipments: Vec<Shipment>) -> Self {
        let destinations = Destination::all_of(shipments);
        let reason = about.waiting.clone().or_else(|| destinations.iter().find_map(Destination::hindrance));
        Self { about, ready: reason.is_none(), reason, destinations }
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
