//! What is measured of the agent and how it is reported.
//!
//! The invariant: **a report never costs an event.** Whatever cannot be written or told is logged once and tried again; delivery goes on.
//!
//! - [`status`]: `status.json`, from which the provider fills Keycloak's operational info.
//! - [`metrics`]: everything that is measured, collected when somebody asks.
//! - [`monitoring`]: what is generated from the metrics: their documentation, the dashboard, the rules.

pub mod metrics;
pub mod monitoring;
pub mod status;

pub use metrics::{MetricsCollector, Observation, Shipments};
pub use status::{AgentState, DestinationStatus, Status, StatusFile};
