//! Everything that is measured.
//!
//! The invariant: **collecting holds up nobody who ships.** What pipelines count is read from their atomics; everything else is the last report that each of them has
//! written down, at most about a second ago, or what the kernel says.
//!
//! - [`definition`], [`catalog`]: what a metric is, and all there are.
//! - [`sample`]: what was collected.
//! - [`exposition`]: the same for who asks: as text, or (`protobuf`) as messages.
//! - [`otlp`]: the same for who is told.
//! - `events`, `kafka`, `registry`, `system`: where it comes from.
//! - `alerting`: the same for the agent's own alerts.
//! - `window`: what has passed in the last minute.
//! - [`MetricsCollector`]: all of it together.

mod alerting;
pub mod catalog;
pub mod collector;
pub mod definition;
mod events;
pub mod exposition;
mod kafka;
pub mod otlp;
mod protobuf;
mod registry;
pub mod sample;
pub mod system;
mod window;

pub use collector::{Certificates, ConfigurationStands, MetricsCollector, Observation, Observed, Shipments};
pub use definition::{Kind, Metric, Unit};
pub use exposition::{Format, expose};
pub use sample::{Distribution, Exemplar, Sample, Samples, Series, Value, limit_text};
