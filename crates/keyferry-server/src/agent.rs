//! What the server must be told of an agent and may ask of it. The binary implements it; a test has one of its own.

use std::fmt;

use crate::alerting::Alerting;
use crate::configuration::Configuration;
use crate::model::{About, BreakerMode, Figures, Overrides, Shipment, TunerProfile};

/// A running agent.
///
/// No method may wait for delivery: each reads what was last written down, or posts what is asked.
pub trait Agent: Send + Sync + 'static {
    /// The process.
    fn about(&self) -> About;

    /// Everything that it ships: each slot to each destination.
    fn shipments(&self) -> Vec<Shipment>;

    /// Everything that is measured, in the form that a client with this `Accept` header prefers.
    fn metrics(&self, accept: &str) -> Exposition;

    /// The figures that somebody who looks sees first.
    fn figures(&self) -> Figures {
        Figures::default()
    }

    /// Asks for a change of what is shipped from `slot` to `destination`. It takes effect within a second.
    ///
    /// # Errors
    /// The change is not possible, or not now.
    fn change(&self, slot: &str, destination: &str, change: &Change) -> Result<(), Refusal>;

    /// Logs from now on what is at least as severe as `level`, until the agent ends.
    ///
    /// # Errors
    /// There is no such level, or it cannot be changed.
    fn set_log_level(&self, level: &str) -> Result<(), Refusal> {
        Err(Refusal::NotNow(format!("this agent cannot log from {level} on")))
    }

    /// The configuration, if there is one yet.
    fn configuration(&self) -> Option<&dyn Configuration> {
        None
    }

    /// Alerts and incidents, if it watches for them.
    fn alerting(&self) -> Option<&dyn Alerting> {
        None
    }
}

/// Metrics in some form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposition {
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// What an operator can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Who decides whether anything is sent.
    Breaker(BreakerMode),
    /// Whether the tuner leaves the settings as they are.
    Freeze(bool),
    /// What the tuner strives for.
    Profile(TunerProfile),
    /// What of the tuning is set by hand, in place of all that was.
    Override(Overrides),
    /// New connections in place of those that are there.
    Reconnect,
    /// Another number of connections.
    Resize(u32),
}

/// As the audit log and refusals have it.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Breaker(mode) => write!(f, "breaker {mode}"),
            Self::Freeze(true) => f.write_str("tuner freeze"),
            Self::Freeze(false) => f.write_str("tuner unfreeze"),
            Self::Profile(profile) => write!(f, "tuner profile {profile}"),
            Self::Override(overrides) if *overrides == Overrides::default() => f.write_str("tuner release"),
            Self::Override(overrides) => write!(f, "tuner override {}", overrides.given().join(", ")),
            Self::Reconnect => f.write_str("pool reconnect"),
            Self::Resize(connections) => write!(f, "pool resize {connections}"),
        }
    }
}

/// Why a change is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It can never be, as the agent is configured.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be now.
    #[error("{0}")]
    NotNow(String),
    /// It was thought out for something else than what is there now.
    #[error("{0}")]
    Stale(String),
}
