//! The main job on real parts: a login in Keycloak is an event in Kafka, exactly one, whatever is killed meanwhile.
//!
//! Run by `cargo xtask test main-job`, which builds the jar first; one test at a time, because each needs the machine for itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, also in its helpers")]

mod compatibility;
mod content;
mod events;
mod faults;
mod kills;
mod outage;
mod rollback;
