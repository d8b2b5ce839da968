//! A seeded simulation of the whole way from a Keycloak transaction to Kafka's log.
//!
//! The invariant: **one seed, one history, byte for byte.** The real writer, reader, assembler and pipeline run over a disk, a clock and a
//! Kafka that are made of memory and of one random number generator; there is no thread, no time and no address in it. A seed that
//! breaks a promise breaks it every time, and can be followed step by step.
//!
//! What happens to a history is in [`world`]: Keycloak and the agent are killed at any step, writes are torn, reads are short, Kafka stalls, refuses, forgets what it was sent,
//! keeps what it never acknowledged, and refuses records for good. What must hold nevertheless is in [`oracle`], which knows only what Keycloak's clients and Kafka's consumers see.
//!
//! The idea is that of FoundationDB's and TigerBeetle's simulators: W. Wilson, "Testing Distributed Systems w/ Deterministic Simulation" (Strange Loop, 2014).

pub mod kafka;
pub mod oracle;
pub mod world;

pub use oracle::Violation;
pub use world::{Summary, simulate};
