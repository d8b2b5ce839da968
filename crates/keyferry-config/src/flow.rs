//! When sending is interrupted, and when a lag counts as how serious.

use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::model::PressureLevel;
use crate::units::{ByteSize, serialize_duration};

/// The circuit breaker of one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Breaker {
    /// It opens after so many failed attempts without progress between them.
    pub failures: u32,
    /// It opens when so many of a hundred outcomes of a window are failures.
    pub failure_rate: u8,
    /// It opens when so many of a hundred acknowledgements of a window are slow.
    pub slow_rate: u8,
    /// Over how long the rates are taken.
    #[serde(serialize_with = "serialize_duration")]
    pub window: Duration,
    /// Rates say nothing below so many outcomes in the window.
    pub minimum_outcomes: u32,
    /// When an acknowledgement is slow.
    #[serde(serialize_with = "serialize_duration")]
    pub slow_after: Duration,
    /// It opens when nothing has been acknowledged for so long although something is in flight.
    #[serde(serialize_with = "serialize_duration")]
    pub oldest_unacknowledged: Duration,
    /// The first pause is shorter than this; each further one may be twice as long.
    #[serde(serialize_with = "serialize_duration")]
    pub first_pause: Duration,
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
            window: Duration::from_secs(10),
            minimum_outcomes: 100,
            slow_after: Duration::from_secs(30),
            oldest_unacknowledged: Duration::from_secs(5),
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(3),
            probe_records: 16,
            probe_timeout: Duration::from_secs(5),
        }
    }
}

/// When the lag behind Keycloak is elevated, high and critical, and what is done then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    /// The types of user events that are passed over then.
    pub low_priority: EventTypes,
    /// From which level on.
    pub low_priority_from: PressureLevel,
    /// Of so many of them one is sent all the same; 0 is none.
    pub low_priority_sample: u32,
}

/// Types of Keycloak's user events, such as `CODE_TO_TOKEN`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EventTypes(Vec<String>);

impl EventTypes {
    /// The types, in capitals.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for EventTypes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_type = |name: &String| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_ascii_uppercase()).collect();
        let all_are = names.iter().all(is_type);
        all_are
            .then_some(Self(names))
            .ok_or("types of user events, separated by commas, such as `CODE_TO_TOKEN, REFRESH_TOKEN`")
    }
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
            low_priority: EventTypes::default(),
            low_priority_from: PressureLevel::High,
            low_priority_sample: 10,
        }
    }
}
