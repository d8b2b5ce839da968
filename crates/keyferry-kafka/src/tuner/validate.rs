//! Combinations that Kafka or librdkafka refuses, or that make no sense.

use std::fmt;

use crate::tuner::profile::{Preset, Profile};
use crate::tuner::tuning::{ProducerTuning, Size};

/// What a producer's tuning has to get along with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The largest request, in bytes.
    pub max_request_size: u64,
    /// How much a producer may hold, in bytes.
    pub buffer: u64,
    /// The age at which a destination counts as failing, in milliseconds.
    pub delivery_timeout_ms: u64,
    /// The most connections that the pool may have.
    pub max_connections: usize,
}

/// Something that cannot be, or is for nothing. Its text names the keys and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// librdkafka refuses it of an idempotent producer.
    #[error(
        "`destination.delivery.max_in_flight` is {0}, but an idempotent producer keeps its order with 1 to 5 requests only: give a number from 1 to 5"
    )]
    InFlight(u8),
    /// A batch that can never be sent whole.
    #[error(
        "`destination.delivery.batch_size` ({batch}) is more than `destination.delivery.max_request_size` ({request}), which ends every batch first: \
         lower the one or raise the other"
    )]
    BatchAboveRequest {
        /// The batch size.
        batch: Bytes,
        /// The request size.
        request: Bytes,
    },
    /// A batch that can never be full.
    #[error(
        "`destination.delivery.batch_size` ({batch}) is more than `destination.delivery.buffer` ({buffer}), so that no batch can ever be full: \
         raise the buffer to at least twice the batch"
    )]
    BatchAboveBuffer {
        /// The batch size.
        batch: Bytes,
        /// The buffer.
        buffer: Bytes,
    },
    /// Every record would be late.
    #[error(
        "`destination.delivery.linger` ({linger_ms} ms) is not less than `destination.delivery.delivery_timeout` ({timeout_ms} ms), so that a record which merely waits for its \
         batch would declare the destination failing: lower the one or raise the other"
    )]
    LingerAboveTimeout {
        /// The linger.
        linger_ms: u64,
        /// The timeout.
        timeout_ms: u64,
    },
    /// More connections than there may be, or none.
    #[error("{connections} connections are wanted, but a pool has 1 to {max}: give a number in between")]
    Connections {
        /// What is wanted.
        connections: usize,
        /// What there may be.
        max: usize,
    },
    /// A linger that undoes the profile.
    #[error(
        "`destination.delivery.linger` ({linger_ms} ms) undoes `destination.tuner.profile = \"latency\"`, whose records leave at once: \
         remove the linger, or choose the profile `balanced`"
    )]
    LingeringLatency {
        /// The linger.
        linger_ms: u64,
    },
    /// A batch that undoes the profile.
    #[error(
        "`destination.delivery.batch_size` ({batch}) undoes `destination.tuner.profile = \"throughput\"`, which lives by large batches: \
         remove the batch size, or choose the profile `balanced`"
    )]
    SmallThroughput {
        /// The batch size.
        batch: Bytes,
    },
    /// Two opposite wishes.
    #[error(
        "`destination.tuner.preset = \"{preset}\"` stands for the profile `{stands_for}`, but `destination.tuner.profile` is \"{profile}\": remove one of them"
    )]
    PresetAgainstProfile {
        /// The preset.
        preset: Preset,
        /// Its profile.
        stands_for: Profile,
        /// The configured one.
        profile: Profile,
    },
}

impl Conflict {
    /// Whether it works all the same, only not as whoever configured it may think.
    pub fn is_harmless(&self) -> bool {
        matches!(
            self,
            Self::LingeringLatency { .. } | Self::SmallThroughput { .. } | Self::BatchAboveRequest { .. }
        )
    }
}

/// A size in the text of a [`Conflict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Size(self.0).fmt(f)
    }
}

/// A linger from which on the profile `latency` is none.
const LINGERING_MS: u64 = 20;
/// A batch below which the profile `throughput` is none, in bytes.
const SMALL_BATCH: u64 = 32 << 10;

/// Everything that is wrong with `tuning`; empty where nothing is.
pub fn validate(profile: Profile, tuning: &ProducerTuning, surroundings: &Surroundings) -> Vec<Conflict> {
    let ProducerTuning { batch_size, linger_ms, max_in_flight, connections, .. } = *tuning;
    let Surroundings { max_request_size, buffer, delivery_timeout_ms, max_connections } = *surroundings;
    let batch = Bytes(batch_size);
    let found = [
        (!(1..=5).contains(&max_in_flight)).then_some(Conflict::InFlight(max_in_flight)),
        (batch_size > max_request_size)
            .then_some(Conflict::BatchAboveRequest { batch, request: Bytes(max_request_size) }),
        (batch_size > buffer).then_some(Conflict::BatchAboveBuffer { batch, buffer: Bytes(buffer) }),
        (linger_ms >= delivery_timeout_ms)
            .then_some(Conflict::LingerAboveTimeout { linger_ms, timeout_ms: delivery_timeout_ms }),
        (!(1..=max_connections).contains(&connections))
            .then_some(Conflict::Connections { connections, max: max_connections }),
        (profile == Profile::Latency && linger_ms >= LINGERING_MS)
            .then_some(Conflict::LingeringLatency { linger_ms }),
        (profile == Profile::Throughput && batch_size < SMALL_BATCH)
            .then_some(Conflict::SmallThroughput { batch }),
    ];
    found.into_iter().flatten().collect()
}

/// The profile that a configuration means.
///
/// # Errors
/// [`Conflict::PresetAgainstProfile`].
pub fn resolve(profile: Option<Profile>, preset: Option<Preset>) -> Result<Profile, Conflict> {
    let Some(preset) = preset else { return Ok(profile.unwrap_or_default()) };
    let (stands_for, _) = preset.expand();
    match profile {
        Some(profile) if profile != stands_for => {
            Err(Conflict::PresetAgainstProfile { preset, stands_for, profile })
        }
        _ => Ok(stands_for),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SURROUNDINGS: Surroundings = Surroundings {
        max_request_size: 1 << 20,
        buffer: 32 << 20,
        delivery_timeout_ms: 120_000,
        max_connections: 4,
    };

    fn found(profile: Profile, tuning: ProducerTuning) -> Vec<Conflict> {
        validate(profile, &tuning, &SURROUNDINGS)
    }

    #[test]
    fn no_profile_and_no_preset_is_in_conflict_with_itself() {
        for profile in Profile::ALL {
            assert_eq!(found(profile, profile.tuning()), []);
        }
        for preset in Preset::ALL {
            let (profile, explicit) = preset.expand();
            assert_eq!(found(profile, explicit.over(profile.tuning())), []);
            assert_eq!(resolve(None, Some(preset)), Ok(profile));
        }
    }

    #[test]
    fn what_kafka_refuses_is_named_with_its_keys() {
        let tuning = ProducerTuning {
            max_in_flight: 6,
            batch_size: 64 << 20,
            linger_ms: 120_000,
            connections: 5,
            ..ProducerTuning::default()
        };
        let texts: Vec<String> = found(Profile::Auto, tuning).iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 5, "{texts:?}");
        for key in ["max_in_flight", "max_request_size", "buffer", "delivery_timeout", "connections"] {
            assert!(texts.iter().any(|text| text.contains(key)), "{key}: {texts:?}");
        }
    }

    #[test]
    fn what_undoes_its_profile_is_told_but_works() {
        let linger = ProducerTuning { linger_ms: 100, ..Profile::Latency.tuning() };
        let small = ProducerTuning { batch_size: 1 << 10, ..Profile::Throughput.tuning() };
        let conflicts = [found(Profile::Latency, linger), found(Profile::Throughput, small)].concat();
        assert_eq!(
            conflicts,
            [
                Conflict::LingeringLatency { linger_ms: 100 },
                Conflict::SmallThroughput { batch: Bytes(1 << 10) }
            ]
        );
        assert!(conflicts.iter().all(Conflict::is_harmless));
        assert!(!Conflict::InFlight(0).is_harmless());
    }

    #[test]
    fn a_preset_and_another_profile_exclude_each_other() {
        let conflict = resolve(Some(Profile::Throughput), Some(Preset::Audit));
        assert!(conflict.is_err_and(|conflict| conflict.to_string().contains("`reliability`")));
        assert_eq!(resolve(Some(Profile::Reliability), Some(Preset::Audit)), Ok(Profile::Reliability));
        assert_eq!(resolve(None, None), Ok(Profile::Auto));
    }
}
