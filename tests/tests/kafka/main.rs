//! The agent and real Kafka: what the network, the broker and an operator do to the way between them, mostly under load.
//!
//! Run by `cargo xtask test kafka`, which builds the jar first; one test at a time, because each needs the machine for itself. While one works on them,
//! `AGENT_UNDER_TEST=target/debug/keyferry cargo test -p keyferry-tests --test kafka -- --test-threads=1` needs no jar.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, also in its helpers")]

mod cluster;
mod configuration;
mod control;
mod dead_letters;
mod delivery;
mod destinations;
mod doctor;
mod nodes;
mod outages;
mod pool;
mod registry;
mod security;
