//! What a trial does, decided by its seed alone.

use std::fmt;
use std::time::Duration;

use crate::seed;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// The agent, which its parent starts again.
    Agent,
    /// Kafka.
    Broker,
    /// Keycloak's Java process.
    Jvm,
    /// Keycloak's whole process group.
    JvmAndAgent,
    /// All three.
    All,
}

impl Victim {
    const ALL: [Self; 5] = [Self::Agent, Self::Broker, Self::Jvm, Self::JvmAndAgent, Self::All];

    fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Broker => "broker",
            Self::Jvm => "jvm",
            Self::JvmAndAgent => "jvm+agent",
            Self::All => "all",
        }
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How many requests succeed before the first kill, so that it comes under load on a slow machine too.
    pub successes: usize,
    /// How long after that the first kill comes.
    pub pause: Duration,
    /// Who is killed first.
    pub first: Victim,
    /// How long after the first kill who is killed once more.
    pub second: Option<(Duration, Victim)>,
}

impl Plan {
    /// The plan of a trial.
    pub fn of(seed: u64, trial: u32) -> Self {
        let mut random = seed::choices(seed, trial);
        let victim = |random: &mut fastrand::Rng| Victim::ALL[random.usize(..Victim::ALL.len())];
        Self {
            successes: random.usize(5..150),
            pause: Duration::from_millis(random.u64(..300)),
            first: victim(&mut random),
            second: (random.u8(..3) == 0)
                .then(|| (Duration::from_millis(random.u64(..3000)), victim(&mut random))),
        }
    }

    /// The row of the table that it belongs to.
    pub fn kind(&self) -> &'static str {
        if self.second.is_some() { "two kills" } else { self.first.name() }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.second {
            None => write!(formatter, "{}", self.first),
            Some((delay, second)) => write!(formatter, "{}, {} ms, {second}", self.first, delay.as_millis()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_plan_and_many_give_every_victim() {
        assert_eq!(Plan::of(1, 7), Plan::of(1, 7));
        for victim in Victim::ALL {
            assert!((0..100).any(|trial| Plan::of(1, trial).first == victim), "{victim}");
        }
        assert!((0..100).any(|trial| Plan::of(1, trial).second.is_some()));
    }
}
