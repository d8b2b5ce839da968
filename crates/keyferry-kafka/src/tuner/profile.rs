//! Profiles, and the scenarios that stand for them.

use std::fmt;

use serde::Serialize;

use crate::tuner::tuning::{Compression, Explicit, ProducerTuning};

/// What the tuner is to aim at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A record leaves at once.
    Latency,
    /// A compromise that never moves.
    Balanced,
    /// As many records as possible for the processor time.
    Throughput,
    /// As little as possible is under way at once, and so as little as possible is sent twice after a fault.
    Reliability,
    /// What the moment asks for.
    #[default]
    Auto,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 5] =
        [Self::Latency, Self::Balanced, Self::Throughput, Self::Reliability, Self::Auto];

    /// Its spelling in configuration, logs and API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Balanced => "balanced",
            Self::Throughput => "throughput",
            Self::Reliability => "reliability",
            Self::Auto => "auto",
        }
    }

    /// The profile of this spelling.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.as_str() == name)
    }

    /// Where it begins; all but [`Profile::Auto`] also stay there.
    ///
    /// The figures are those of `docs/tuning.md`. No profile gives up compression: batches of events shrink to less than half, and sending the bytes costs more
    /// than LZ4 does.
    pub const fn tuning(self) -> ProducerTuning {
        let balanced = ProducerTuning {
            batch_size: 64 << 10,
            linger_ms: 10,
            compression: Compression::Lz4,
            max_in_flight: 5,
            connections: 1,
        };
        match self {
            Self::Auto => ProducerTuning { batch_size: 512 << 10, linger_ms: 5, ..balanced },
            Self::Balanced => balanced,
            Self::Latency => ProducerTuning { batch_size: 256 << 10, linger_ms: 0, ..balanced },
            Self::Throughput => ProducerTuning { batch_size: 512 << 10, linger_ms: 10, ..balanced },
            Self::Reliability => ProducerTuning { max_in_flight: 1, ..balanced },
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A scenario that stands for a profile and some settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Many logins at certain hours: the tuner follows, and does not have to grow its batches first.
    HighVolumeLogin,
    /// Somebody looks at a screen: a record leaves at once, whatever that costs.
    RealTimeMonitoring,
    /// Evidence: as few copies as possible, and small on the wire and on disk.
    Audit,
    /// One developer: a record leaves at once and can be read in a capture of the network.
    Development,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 4] =
        [Self::HighVolumeLogin, Self::RealTimeMonitoring, Self::Audit, Self::Development];

    /// Its spelling in configuration, logs and API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HighVolumeLogin => "high-volume-login",
            Self::RealTimeMonitoring => "real-time-monitoring",
            Self::Audit => "audit",
            Self::Development => "development",
        }
    }

    /// The preset of this spelling.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == name)
    }

    /// What it stands for. Its settings count as explicit: the tuner does not move them. What is configured beside it wins.
    pub const fn expand(self) -> (Profile, Explicit) {
        let none = Explicit {
            batch_size: None,
            linger_ms: None,
            compression: None,
            max_in_flight: None,
            connections: None,
        };
        match self {
            Self::HighVolumeLogin => {
                (Profile::Auto, Explicit { batch_size: Some(256 << 10), max_in_flight: Some(5), ..none })
            }
            Self::RealTimeMonitoring => (Profile::Latency, none),
            Self::Audit => (Profile::Reliability, Explicit { compression: Some(Compression::Zstd), ..none }),
            Self::Development => (
                Profile::Latency,
                Explicit { compression: Some(Compression::None), connections: Some(1), ..none },
            ),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_what_they_name() {
        for profile in Profile::ALL {
            assert_eq!(Profile::named(profile.as_str()), Some(profile));
        }
        for preset in Preset::ALL {
            assert_eq!(Preset::named(preset.as_str()), Some(preset));
        }
        assert_eq!((Profile::named("fast"), Preset::named("auto")), (None, None));
    }
}
