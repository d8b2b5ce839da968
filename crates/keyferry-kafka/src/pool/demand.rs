//! Whether so little flows that the smallest pool is enough.

/// Fewer records than this a second, over the whole of an idle time, are little.
const IDLE_RATE: u64 = 1;

/// As many within a second are much.
const BUSY_RATE: u64 = 100;

const SECOND_MS: u64 = 1_000;

/// Watches how much flows.
#[derive(Debug)]
pub(crate) struct Demand {
    idle_after_ms: u64,
    is_idle: bool,
    since_ms: u64,
    sent: u64,
    second_ms: u64,
    sent_in_second: u64,
    was_full: bool,
}

impl Demand {
    /// A pool that is busy at `now_ms`, and idle when little has flowed for `idle_after_ms`.
    pub(crate) fn new(idle_after_ms: u64, now_ms: u64) -> Self {
        let (is_idle, was_full) = (false, false);
        Self {
            idle_after_ms,
            is_idle,
            since_ms: now_ms,
            sent: 0,
            second_ms: now_ms,
            sent_in_second: 0,
            was_full,
        }
    }

    /// A record was taken.
    pub(crate) fn sent(&mut self) {
        self.sent += 1;
        self.sent_in_second += 1;
    }

    /// A record was not taken for want of room.
    pub(crate) fn full(&mut self) {
        self.was_full = true;
    }

    /// Whether the smallest pool is enough.
    pub(crate) fn is_idle(&mut self, now_ms: u64) -> bool {
        let is_busy = self.sent_in_second >= BUSY_RATE || self.was_full;
        if now_ms >= self.second_ms + SECOND_MS || is_busy {
            (self.second_ms, self.sent_in_second, self.was_full) = (now_ms, 0, false);
        }
        if is_busy {
            (self.is_idle, self.since_ms, self.sent) = (false, now_ms, 0);
        } else if now_ms >= self.since_ms + self.idle_after_ms {
            self.is_idle |= self.sent <= self.idle_after_ms / SECOND_MS * IDLE_RATE;
            (self.since_ms, self.sent) = (now_ms, 0);
        }
        self.is_idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_over_the_whole_time_is_idle_and_a_burst_ends_it() {
        let mut demand = Demand::new(10_000, 0);
        for second in 0..10 {
            demand.sent();
            assert!(!demand.is_idle(second * 1_000), "{second}");
        }
        assert!(demand.is_idle(10_000));
        (0..BUSY_RATE).for_each(|_| demand.sent());
        assert!(!demand.is_idle(10_500));
    }

    #[test]
    fn a_moderate_flow_is_never_idle_and_does_not_end_idleness() {
        let mut demand = Demand::new(10_000, 0);
        for second in 0..40 {
            (0..5).for_each(|_| demand.sent());
            assert!(!demand.is_idle(second * 1_000), "{second}");
        }
        let mut demand = Demand::new(10_000, 0);
        assert!(demand.is_idle(10_000));
        for second in 10..40 {
            (0..5).for_each(|_| demand.sent());
            assert!(demand.is_idle(second * 1_000), "{second}");
        }
    }

    #[test]
    fn a_full_connection_ends_idleness_at_once() {
        let mut demand = Demand::new(10_000, 0);
        assert!(demand.is_idle(10_000));
        demand.full();
        assert!(!demand.is_idle(10_001));
    }
}
