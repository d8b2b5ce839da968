//! When a client is kept from asking itself again and again whether it may send.
//!
//! The invariant: **a client of which nothing is acknowledged costs next to nothing, whatever waits in it.**
//!
//! An idempotent producer of librdkafka 2.12 has one batch of a partition under way at a time. If more is due for that partition, the thread of its broker asks without a pause whether it may be sent by now: a broker that stands still
//! so costs a whole processor, and Keycloak, beside which the agent runs, a tenth of its requests. A partition that is paused is not asked for. So partitions are paused when nothing has been acknowledged for a
//! moment, and resumed as soon as something is.
//!
//! Meanwhile they are let loose for a few milliseconds once a second: what failed with a connection is sent again, and a partition of another broker gets its turn.
//!
//! A pure state machine: the time is passed in, from a monotonic clock.

use std::time::Duration;

/// So long nothing is acknowledged before partitions are paused: longer than a healthy broker takes.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often they are let loose.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// What is to be done with the partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// They are paused.
    Pause,
    /// They are resumed for a moment, and paused again.
    Try,
    /// They are resumed.
    Resume,
}

/// Whether a producer is getting anywhere.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    /// When something was acknowledged last, or the first record was handed over.
    moved: Duration,
    /// When paused partitions were let loose last, or paused; `None` while they are not.
    tried: Option<Duration>,
}

impl Stall {
    /// A record is handed over, and nothing else is under way.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.moved = now;
    }

    /// Takes in a look at the producer: whether it has reported an outcome since the last one, and whether any is outstanding.
    pub(crate) fn observe(&mut self, has_moved: bool, is_outstanding: bool, now: Duration) -> Option<Order> {
        if has_moved || !is_outstanding {
            self.moved = now;
            return self.tried.take().map(|_| Order::Resume);
        }
        let (since, limit, order) = match self.tried {
            None => (self.moved, PATIENCE, Order::Pause),
            Some(tried) => (tried, TRY_EVERY, Order::Try),
        };
        (now.saturating_sub(since) >= limit).then(|| {
            self.tried = Some(now);
            order
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn what_is_acknowledged_in_time_is_never_paused() {
        let mut stall = Stall::default();
        stall.begin(MS(1_000));
        for now_ms in (1_000..5_000).step_by(10) {
            assert_eq!(stall.observe(now_ms % 200 == 0, true, MS(now_ms)), None, "{now_ms}");
        }
    }

    #[test]
    fn what_stands_still_is_paused_tried_once_a_second_and_resumed_by_the_first_acknowledgement() {
        let mut stall = Stall::default();
        stall.begin(MS(1_000));
        let orders: Vec<_> = (1_000..=3_500)
            .step_by(10)
            .filter_map(|now_ms| Some((now_ms, stall.observe(false, true, MS(now_ms))?)))
            .collect();
        assert_eq!(orders, [(1_250, Order::Pause), (2_250, Order::Try), (3_250, Order::Try)]);
        assert_eq!(stall.observe(true, true, MS(3_600)), Some(Order::Resume));
        assert_eq!(stall.observe(false, true, MS(3_849)), None);
        assert_eq!(stall.observe(false, true, MS(3_850)), Some(Order::Pause));
    }

    #[test]
    fn nothing_is_waited_for_where_nothing_is_outstanding() {
        let mut stall = Stall::default();
        assert_eq!(stall.observe(false, false, MS(10_000)), None);
        stall.begin(MS(20_000));
        assert_eq!(stall.observe(false, true, MS(20_100)), None, "the time before does not count");
        assert_eq!(stall.observe(false, true, MS(20_250)), Some(Order::Pause));
        assert_eq!(stall.observe(false, false, MS(20_300)), Some(Order::Resume), "everything was given up");
    }
}
