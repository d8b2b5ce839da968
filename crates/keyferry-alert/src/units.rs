//! Durations in files, and as numbers.

use std::time::Duration;

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A duration with its unit, such as `5m`.
pub(crate) mod span {
    use std::time::Duration;

    use keyferry_config::units::parse_duration;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer};

    fn parsed<E: serde::de::Error>(text: &str) -> Result<Duration, E> {
        parse_duration(text)
            .ok_or_else(|| E::custom(format!("`{text}` is no duration; write 500ms, 30s, 5m, 4h or 2d")))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        parsed(&String::deserialize(deserializer).map_err(D::Error::custom)?)
    }

    pub(crate) mod optional {
        use super::*;

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            Option::<String>::deserialize(deserializer)?.map(|text| parsed(&text)).transpose()
        }
    }
}
