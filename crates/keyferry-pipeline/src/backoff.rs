//! Exponential backoff with full jitter, as in M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): the n-th delay is
//! uniformly distributed between zero and `initial · 2ⁿ`, cut at the ceiling, so that the agents of many nodes do not return to a
//! recovered cluster in step.
//!
//! Pure: the generator is seeded by the caller.

use std::time::Duration;

/// Delays between attempts at something that keeps failing.
#[derive(Debug)]
pub struct Backoff {
    initial: Duration,
    ceiling: Duration,
    attempt: u32,
    random: fastrand::Rng,
}

impl Backoff {
    /// Delays that begin below `initial` and stay below `ceiling`.
    pub fn new(initial: Duration, ceiling: Duration, seed: u64) -> Self {
        Self { initial, ceiling, attempt: 0, random: fastrand::Rng::with_seed(seed) }
    }

    /// From now on the delays begin below `initial` and stay below `ceiling`.
    pub fn set_limits(&mut self, initial: Duration, ceiling: Duration) {
        (self.initial, self.ceiling) = (initial, ceiling);
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let limit = self.initial.saturating_mul(1_u32 << self.attempt.min(20)).min(self.ceiling);
        self.attempt = self.attempt.saturating_add(1);
        limit.mul_f64(self.random.f64())
    }

    /// Begins anew: it worked.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_ceiling_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(4), 7);
        let delays: Vec<_> = (0..1000).map(|_| backoff.next_delay()).collect();
        assert!(delays[0] <= Duration::from_millis(100));
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(4)));
        assert!(
            delays.iter().any(|delay| *delay > Duration::from_secs(3)),
            "the ceiling is never approached"
        );
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }
}
