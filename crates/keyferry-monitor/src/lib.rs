//! What is measured of the agent and how it is reported.
//!
//! The invariant: **a report never costs an event.** Whatever cannot be written or told is logged once and tried again; delivery goes on.
//!
//! - [`status`]: `status.json`, from which the provider fills Keycloak's operational info.

pub mod status;

pub use status::{AgentState, DestinationStatus, Status, StatusFile};
