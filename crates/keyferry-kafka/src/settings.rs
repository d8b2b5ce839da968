//! How a producer is made.

use std::ffi::CStr;
use std::fmt;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use zeroize::Zeroizing;

/// How a producer is made: librdkafka's configuration properties.
///
/// Values may be secrets: they are never printed, and overwritten when they are dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ProducerSettings {
    properties: Vec<(String, Zeroizing<String>)>,
    mark: Option<Mark>,
}

/// A header that a sink adds to each record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its name.
    pub name: &'static CStr,
    /// Its value.
    pub value: String,
}

/// How one producer differs from what its settings say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    /// How many producers share the buffer.
    pub(crate) of: usize,
    /// Whether each record goes alone.
    pub(crate) batching: Batching,
    /// How many requests may be unanswered.
    pub(crate) requests: Requests,
    /// Whether it tells of its traffic once a second.
    pub(crate) statistics: bool,
}

/// How many records go in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batching {
    /// As many as the settings allow.
    Full,
    /// One.
    Isolated,
}

/// How many requests may be unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requests {
    /// As many as the settings allow.
    Many,
    /// One: nothing overtakes a request that is refused.
    One,
}

/// How often a producer tells of its traffic, in milliseconds.
const STATISTICS_INTERVAL_MS: &str = "1000";

/// librdkafka's property for its buffer, in KiB.
const BUFFER: &str = "queue.buffering.max.kbytes";

/// librdkafka's property for the largest request, in bytes.
const LARGEST_REQUEST: &str = "message.max.bytes";

/// librdkafka's own defaults of the two, and of `batch.size`.
const DEFAULT_BUFFER_KIB: u64 = 1 << 20;
const DEFAULT_LARGEST_REQUEST: u64 = 1_000_000;
const DEFAULT_BATCH_SIZE: u64 = 1_000_000;

impl ProducerSettings {
    /// Settings of the given properties, as in librdkafka's `CONFIGURATION.md`.
    pub fn new(properties: impl IntoIterator<Item = (String, String)>) -> Self {
        let properties = properties.into_iter().map(|(name, value)| (name, Zeroizing::new(value)));
        Self { properties: properties.collect(), mark: None }
    }

    /// The same, and each record gets one more header.
    #[must_use]
    pub fn with_mark(self, mark: Mark) -> Self {
        Self { mark: Some(mark), ..self }
    }

    /// The same, with another value of one property.
    #[must_use]
    pub fn with_property(mut self, name: &str, value: impl Into<String>) -> Self {
        self.properties.retain(|(known, _)| known != name);
        self.properties.push((name.to_owned(), Zeroizing::new(value.into())));
        self
    }

    /// The header that each record gets beside its own.
    pub(crate) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// How many bytes a batch may have.
    pub(crate) fn batch_size(&self) -> u64 {
        self.number("batch.size").unwrap_or(DEFAULT_BATCH_SIZE)
    }

    /// The largest request that the client makes, in bytes.
    pub(crate) fn largest_request(&self) -> u64 {
        self.number(LARGEST_REQUEST).unwrap_or(DEFAULT_LARGEST_REQUEST)
    }

    pub(crate) fn client_config(&self, role: Role) -> ClientConfig {
        let mut config = ClientConfig::new();
        // What becomes of a line is decided where it arrives; debug lines are only made where the property `debug` asks for them.
        config.set_log_level(RDKafkaLogLevel::Debug);
        for (name, value) in &self.properties {
            config.set(name, value.as_str());
        }
        if role.of > 1 {
            config.set(BUFFER, self.share_of_buffer(role.of).to_string());
        }
        if role.batching == Batching::Isolated {
            config.set("batch.num.messages", "1");
        }
        if role.requests == Requests::One {
            config.set("max.in.flight.requests.per.connection", "1");
        }
        if role.statistics {
            config.set("statistics.interval.ms", STATISTICS_INTERVAL_MS);
        }
        config
    }

    /// The part of the buffer that one of `of` producers gets, in KiB. The largest record must fit, or it would wait for room for ever.
    fn share_of_buffer(&self, of: usize) -> u64 {
        let whole = self.number(BUFFER).unwrap_or(DEFAULT_BUFFER_KIB);
        (whole / of as u64).max(self.largest_request().div_ceil(1024))
    }

    /// The value of a property that is set.
    pub(crate) fn property(&self, property: &str) -> Option<&str> {
        self.properties.iter().rfind(|(name, _)| name == property).map(|(_, value)| value.as_str())
    }

    fn number(&self, property: &str) -> Option<u64> {
        self.property(property)?.parse().ok()
    }
}

impl fmt::Debug for ProducerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.properties.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(properties: &[(&str, &str)], of: usize) -> Option<String> {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let role = Role { of, batching: Batching::Full, requests: Requests::Many, statistics: false };
        ProducerSettings::new(properties).client_config(role).get(BUFFER).map(str::to_owned)
    }

    #[test]
    fn several_producers_share_one_buffer_and_each_has_room_for_the_largest_record() {
        let properties = [(BUFFER, "32768"), (LARGEST_REQUEST, "1048576")];
        assert_eq!(buffer(&properties, 1).as_deref(), Some("32768"));
        assert_eq!(buffer(&properties, 4).as_deref(), Some("8192"));
        assert_eq!(buffer(&[(BUFFER, "2000"), (LARGEST_REQUEST, "1048576")], 4).as_deref(), Some("1024"));
    }

    #[test]
    fn another_value_of_a_property_takes_the_place_of_the_first() {
        let settings = ProducerSettings::new([("batch.size".to_owned(), "7".to_owned())]);
        assert_eq!(settings.with_property("batch.size", "9").batch_size(), 9);
    }
}
