//! Metrics, dashboard and rules against a real Prometheus, what is counted against what was written, and what is told and done when something fails.
//!
//! Run by `cargo xtask test monitoring`, which builds the jar first. While one works on them,
//! `AGENT_UNDER_TEST=target/debug/keyferry cargo test -p keyferry-tests --test monitoring` needs no jar, but for the failures of
//! Keycloak.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, also in its helpers")]

mod alerts;
mod api;
mod failures;
mod formats;
mod latency;
mod login;
mod metrics;
mod names;
mod page;
mod rules;
