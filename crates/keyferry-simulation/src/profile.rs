//! Which faults a history has, and how provider and agent are configured in it.
//!
//! Every seed draws its own mixture, and each fault is absent from many histories: what one fault excuses must not hide what another one breaks.

use crate::disk::FailureRates;
use crate::keycloak::{Fsync, Options, Overflow};
use crate::oracle::DoubtPolicy;

/// The mixture of one history.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// The provider's options.
    pub options: Options,
    /// What is done with events in doubt.
    pub in_doubt: DoubtPolicy,
    /// Whether the power is cut.
    pub power_cuts: bool,
    /// Whether bits of segments flip.
    pub flips: bool,
    /// Whether bits of the checkpoint flip.
    pub checkpoint_flips: bool,
    /// `journal-keep` in milliseconds.
    pub keep_ms: u64,
    /// `journal-keep-size` in bytes.
    pub keep_bytes: Option<u64>,
    /// Whether the disk is full now and then.
    pub full_disk: bool,
    /// How often the disk refuses an operation.
    pub failure_rates: FailureRates,
    /// Whether brokers append a record twice now and then.
    pub forgetful_brokers: bool,
    /// Whether a dead-letter topic is configured.
    pub dead_letter_topic: bool,
    /// Whether it was forgotten to create it.
    pub dead_letter_topic_missing: bool,
    /// Whether user events of one type are passed over under pressure; of so many of them one is not, or none if this is 0.
    pub low_priority: Option<u64>,
    /// Whether the provider settles what its last life left in doubt (`journal-settle`).
    pub settles: bool,
    /// The settle delay in milliseconds.
    pub settle_delay_ms: u64,
    /// Whether the format has a schema, whose ids a registry gives.
    pub has_registry: bool,
}

impl Profile {
    /// The same, where the pressure may have events passed over. It is drawn apart, so that what a seed draws else stays what it was.
    #[must_use]
    pub fn under_pressure(self, random: &mut fastrand::Rng) -> Self {
        Self { low_priority: (random.u32(..3) == 0).then(|| random.u64(..4)), ..self }
    }

    /// The same, where events may have to reach an age before they are published. Drawn apart as well.
    #[must_use]
    pub fn delayed(self, random: &mut fastrand::Rng) -> Self {
        Self { settle_delay_ms: if random.u32(..4) == 0 { random.u64(1..2_000) } else { 0 }, ..self }
    }

    /// The same, where the format may have a schema. Drawn apart as well.
    #[must_use]
    pub fn registered(self, random: &mut fastrand::Rng) -> Self {
        Self { has_registry: random.u32(..4) == 0, ..self }
    }

    /// Draws a mixture.
    pub fn of(random: &mut fastrand::Rng) -> Self {
        let in_doubt = match random.u32(..6) {
            0 => DoubtPolicy::Drop,
            1 => DoubtPolicy::Hold,
            _ => DoubtPolicy::Publish,
        };
        let fsync = *random.choice(&[Fsync::Never, Fsync::Interval, Fsync::Commit]).unwrap_or(&Fsync::Never);
        let rate = |random: &mut fastrand::Rng| (random.u32(..3) == 0).then(|| random.u32(20..200));
        Self {
            options: Options {
                fsync,
                overflow: *random
                    .choice(&[Overflow::DropNew, Overflow::Refuse, Overflow::DropOld])
                    .unwrap_or(&Overflow::DropNew),
                max_size: (random.u32(..4) == 0).then(|| random.u64(6_000..20_000)),
                sync_outcomes: in_doubt != DoubtPolicy::Publish,
            },
            in_doubt,
            power_cuts: random.u32(..2) == 0,
            flips: random.u32(..4) == 0,
            checkpoint_flips: random.u32(..8) == 0,
            keep_ms: if random.u32(..4) == 0 { random.u64(..20_000) } else { 0 },
            keep_bytes: (random.u32(..8) == 0).then(|| random.u64(..20_000)),
            full_disk: random.u32(..4) == 0,
            failure_rates: FailureRates { agent: rate(random), writer: rate(random) },
            forgetful_brokers: random.u32(..4) == 0,
            settles: random.u32(..4) == 0,
            low_priority: None,
            settle_delay_ms: 0,
            has_registry: false,
            dead_letter_topic: random.u32(..2) == 0,
            dead_letter_topic_missing: random.u32(..4) == 0,
        }
    }
}
