//! When sending is interrupted, and when a lag counts as how serious.

use std::time::Duration;

use serde::Serialize;

use crate::units::{ByteSize, serialize_duration};

/// The circuit breaker of one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Breaker {
    /// It opens after so many failed attempts without progress between them.
    pub failures: u32,
    /// It opens when so many of a hundred outcomes of ten seconds are failures.
    pub failure_rate: u8,
    /// It opens when so many of a hundred acknowledgements of ten seconds are slow.
    pub slow_rate: u8,
    /// When an acknowledgement is slow.
    #[serde(serialize_with = "serialize_duration")]
    pub slow_after: Duration,
    /// It opens when nothing has been acknowledged for so long although something is in flight.
    #[serde(serialize_with = "serialize_duration")]
    pub oldest_unacknowledged: Duration,
    /// No pause is longer.
    #[serde(serialize_with = "serialize_duration")]
    pub longest_pause: Duration,
    /// How many records a probe may have.
    pub probe_records: u32,
    /// How long a probe may take.
    #[serde(serialize_with = "serialize_duration")]
    pub probe_timeout: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 3,
            failure_rate: 50,
            slow_rate: 90,
            slow_after: Duration::from_secs(30),
            oldest_unacknowledged: Duration::from_secs(5),
            longest_pause: Duration::from_secs(3),
            probe_records: 16,
            probe_timeout: Duration::from_secs(5),
        }
    }
}

/// When the lag behind Keycloak is elevated, high and critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Backpressure {
    /// So many bytes that are not delivered are elevated.
    pub elevated_backlog: ByteSize,
    /// An event so old that is not delivered is elevated.
    #[serde(serialize_with = "serialize_duration")]
    pub elevated_age: Duration,
    /// An event so old that is not delivered is high.
    #[serde(serialize_with = "serialize_duration")]
    pub high_age: Duration,
    /// A journal that will be full in this time is high.
    #[serde(serialize_with = "serialize_duration")]
    pub high_time_to_full: Duration,
    /// So many of a hundred bytes that the journal may have are high.
    pub high_used: u8,
    /// A journal that will be full in this time is critical.
    #[serde(serialize_with = "serialize_duration")]
    pub critical_time_to_full: Duration,
    /// So many of a hundred bytes that the journal may have are critical.
    pub critical_used: u8,
}

impl Default for Backpressure {
    fn default() -> Self {
        Self {
            elevated_backlog: ByteSize::mib(8),
            elevated_age: Duration::from_secs(10),
            high_age: Duration::from_secs(60),
            high_time_to_full: Duration::from_hours(1),
            high_used: 50,
            critical_time_to_full: Duration::from_mins(10),
            critical_used: 80,
        }
    }
}
