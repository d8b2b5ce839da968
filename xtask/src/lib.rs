//! The project's own tasks.
//!
//! The library half exists for the end-to-end tests: they take Keycloak and Kafka from the same [`cache`] and by the same [`parts`] as
//! `cargo xtask fetch`, so that a test and a demo can never run on different versions.

pub mod cache;
pub mod cost_of_metrics;
pub mod crash_states;
pub mod dist;
pub mod error;
pub mod ferry_rate;
pub mod fuzz;
pub mod glibc;
pub mod instructions;
pub mod jmh;
pub mod page;
pub mod parts;
pub mod planted;
pub mod progress;
pub mod simulate;
pub mod suites;
pub mod tool;
pub mod trials;
pub mod web_page;
pub mod workspace;

pub use error::{Error, Result};
