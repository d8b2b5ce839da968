//! A seeded simulation of the whole way from a Keycloak transaction to Kafka's log.
//!
//! The invariant: **one seed, one history, byte for byte.** The real writer, reader, assembler and pipeline run over a disk, a clock and a
//! Kafka that are made of memory and of one random number generator; there is no thread, no time and no address in it. A seed that
//! breaks a promise breaks it every time, and can be followed step by step.
//!
//! What happens to a history is in [`world`], with which mixture of faults in [`profile`]; the disk that forgets and fails is [`disk`], the provider's protocol [`keycloak`], the brokers
//! [`kafka`], the schema registry `registry`. What must hold nevertheless is in [`oracle`], which knows only what Keycloak's clients and Kafka's consumers see, and which faults there were.
//!
//! The idea is that of FoundationDB's and TigerBeetle's simulators: W. Wilson, "Testing Distributed Systems w/ Deterministic Simulation" (Strange Loop, 2014).

pub mod aside;
mod breaker;
pub mod disk;
pub mod kafka;
pub mod keycloak;
pub mod oracle;
pub mod profile;
mod registry;
mod settlement;
pub mod trace;
pub mod world;

pub use oracle::Violation;
pub use world::{Summary, narrate, simulate};
