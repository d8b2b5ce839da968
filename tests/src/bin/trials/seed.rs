//! Where the choices of a run come from.

use std::time::{SystemTime, UNIX_EPOCH};

use fastrand::Rng;

/// The seed of a whole run. It is printed, so that the run can be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct Seed {
    /// What all choices come from [default: the time].
    #[arg(long)]
    seed: Option<u64>,
}

impl Seed {
    /// The given seed, or one that is new.
    pub fn value(self) -> u64 {
        self.seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(now.as_millis()).unwrap_or_default()
        })
    }
}

/// The choices of one trial of a run: they do not depend on the trials before it.
pub fn choices(seed: u64, trial: u32) -> Rng {
    Rng::with_seed(seed.wrapping_add(u64::from(trial) << 32))
}
