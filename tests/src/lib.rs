//! The harness of the end-to-end tests: real Keycloak, real Kafka, real clients.
//!
//! A test owns a temporary directory and the servers in it; dropping them leaves nothing behind. What a test believes about the outcome it
//! takes from clients alone: from the answers that Keycloak gave, and from the records that a consumer reads.

pub mod admin;
pub mod agent;
pub mod alertmanager;
pub mod apicurio;
pub mod audit;
pub mod browser;
pub mod certificates;
pub mod chromium;
pub mod cluster;
pub mod consumer;
pub mod contest;
pub mod disk;
pub mod error;
pub mod ferry;
pub mod gate;
pub mod http;
pub mod journal;
pub mod kafka;
pub mod keycloak;
pub mod load;
pub mod log;
pub mod named;
pub mod outages;
pub mod port;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod receiver;
pub mod secrets;
pub mod secure;
pub mod stage;
pub mod tally;
pub mod traffic;
pub mod usage;
pub mod wait;

pub use error::{Error, Result};
