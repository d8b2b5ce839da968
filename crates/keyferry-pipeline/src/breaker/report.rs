//! What a circuit breaker tells of itself.

use serde::Serialize;

/// The state of a circuit breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// Records are sent.
    #[default]
    Closed,
    /// Nothing new is sent; what is in flight stays with the sink.
    Open,
    /// A bounded probe may be sent.
    HalfOpen,
}

impl BreakerState {
    /// The word for it, in metrics, status and API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// Why a circuit breaker has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trip {
    /// Several attempts in a row have failed.
    ConsecutiveFailures,
    /// Too large a part of the records of the last seconds has failed.
    FailureRate,
    /// Too large a part of the acknowledgements of the last seconds came late.
    SlowCalls,
    /// The oldest record in flight waits too long, and nothing else is acknowledged.
    OldestUnacknowledged,
    /// The destination does not know us.
    Authentication,
    /// The destination refuses a right.
    Authorisation,
    /// Something is not as it must be until a person changes it.
    Configuration,
    /// The schema registry gives no id for the schema of what is to be sent next.
    SchemaRegistry,
    /// An operator wants it.
    Forced,
}

impl Trip {
    /// The word for it, in metrics and API.
    pub fn word(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive-failures",
            Self::FailureRate => "failure-rate",
            Self::SlowCalls => "slow-calls",
            Self::OldestUnacknowledged => "oldest-unacknowledged",
            Self::Authentication => "authentication",
            Self::Authorisation => "authorisation",
            Self::Configuration => "configuration",
            Self::SchemaRegistry => "schema-registry",
            Self::Forced => "forced",
        }
    }
}

/// What an operator has ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forced {
    /// Nothing is sent until the order is taken back.
    Open,
    /// Nothing trips the breaker until the order is taken back. After a failure there is a pause all the same.
    Closed,
}

/// For how long a circuit breaker has been in each state since it began, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TimeInState {
    /// Closed.
    pub closed: u64,
    /// Open.
    pub open: u64,
    /// Half-open.
    pub half_open: u64,
}

/// Where a circuit breaker stands and what it has done since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BreakerReport {
    /// Its state.
    pub state: BreakerState,
    /// What an operator has ordered, if anything.
    pub forced: Option<Forced>,
    /// Why it has opened; `None` while it is closed.
    pub reason: Option<Trip>,
    /// The same for people, with what the destination said.
    pub detail: Option<String>,
    /// Since when it has been in this state, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When it lets the next attempt through, milliseconds since the Unix epoch; `None` if nothing is waited for.
    pub next_attempt_ms: Option<u64>,
    /// How often it has opened, those times included where a probe had no answer.
    pub opened_total: u64,
    /// How often it has become half-open.
    pub half_opened_total: u64,
    /// How often it has closed again.
    pub closed_total: u64,
    /// Attempts in a row that have failed.
    pub consecutive_failures: u32,
    /// For how long it has been in each state.
    pub time_in_state_ms: TimeInState,
}
