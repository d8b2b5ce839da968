//! Which pace the moment asks for: calm, busy or drain.
//!
//! The invariant: **a pace is left only when the moment has asked for another one for a while**, and less readily than it was entered: thresholds lie
//! apart by a factor of two or more, and a drain that was left too early is left later the next time.

use std::fmt;

use serde::Serialize;

use crate::tuner::observation::{Level, Observation};
use crate::tuner::tuning::Size;

/// What the moment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// Nothing is known yet.
    Starting,
    /// So few records that waiting fills no batch: each leaves at once.
    Calm,
    /// So many that a short wait saves requests and processor time.
    Busy,
    /// More than can go at once: batches fill by themselves, and only their size counts.
    Drain,
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Calm => "calm",
            Self::Busy => "busy",
            Self::Drain => "drain",
        })
    }
}

/// Records a second from which on it is busy, and below which it is calm again.
const BUSY: (f64, f64) = (2_000.0, 1_000.0);
/// Backlog in bytes from which on it is a drain, and below which the drain is over.
const BACKLOG: (u64, u64) = (8 << 20, 2 << 20);
/// A backlog that leaves no doubt.
const LARGE_BACKLOG: u64 = 32 << 20;
/// For how long the moment must ask for a pace before it is taken up, in milliseconds.
const PERSISTENCE_MS: u64 = 5_000;
/// The same for a drain: records are late already.
const DRAIN_PERSISTENCE_MS: u64 = 2_000;
/// The same for what comes after a drain or a busy time, which may begin again.
const LEAVING_MS: u64 = 30_000;
/// Someone who comes back within this time had left too early.
const RETURN_MS: u64 = 300_000;
/// The most that leaving is delayed.
const LEAVING_MAX_MS: u64 = 300_000;
/// How much of the mean rate is the last observation's.
const WEIGHT: f64 = 0.2;

/// Follows the pace.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    pace: Pace,
    rate: Option<f64>,
    candidate: Option<(Pace, u64)>,
    /// When a drain was left last, and for how long it must be over before it is left.
    left_drain_ms: Option<u64>,
    leaving_ms: u64,
}

impl Follower {
    pub(crate) fn new() -> Self {
        Self {
            pace: Pace::Starting,
            rate: None,
            candidate: None,
            left_drain_ms: None,
            leaving_ms: LEAVING_MS,
        }
    }

    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// Records a second, as a mean over some seconds.
    pub(crate) fn rate(&self) -> f64 {
        self.rate.unwrap_or_default()
    }

    /// Forgets what the moment seemed to ask for: time has passed without being looked at.
    pub(crate) fn interrupt(&mut self) {
        self.candidate = None;
    }

    /// Takes one more observation into account.
    pub(crate) fn observe(&mut self, seen: &Observation, now_ms: u64) {
        let rate = self.rate.map_or(seen.delivered, |rate| rate + WEIGHT * (seen.delivered - rate));
        self.rate = Some(rate);
        let asked = self.asked(seen, rate);
        if asked == self.pace {
            self.candidate = None;
            return;
        }
        let since = match self.candidate {
            // After a drain the mean rate is still that of the drain: what comes next shows while it is being left.
            Some((pace, since)) if pace == asked || self.pace == Pace::Drain => since,
            _ => now_ms,
        };
        self.candidate = Some((asked, since));
        if now_ms.saturating_sub(since) >= self.persistence_ms(asked, seen) {
            self.take_up(asked, now_ms);
        }
    }

    fn asked(&self, seen: &Observation, rate: f64) -> Pace {
        let is_draining = self.pace == Pace::Drain;
        let (backlog, level) =
            if is_draining { (BACKLOG.1, Level::Elevated) } else { (BACKLOG.0, Level::High) };
        if seen.backlog_bytes >= backlog || seen.level >= level {
            return Pace::Drain;
        }
        let busy = if self.pace == Pace::Busy { BUSY.1 } else { BUSY.0 };
        if rate >= busy { Pace::Busy } else { Pace::Calm }
    }

    fn persistence_ms(&self, asked: Pace, seen: &Observation) -> u64 {
        match (self.pace, asked) {
            (_, Pace::Drain) if seen.backlog_bytes >= LARGE_BACKLOG || seen.level >= Level::High => 0,
            (_, Pace::Drain) => DRAIN_PERSISTENCE_MS,
            (Pace::Drain, _) => self.leaving_ms,
            (Pace::Busy, _) => LEAVING_MS,
            (Pace::Starting | Pace::Calm, _) => PERSISTENCE_MS,
        }
    }

    fn take_up(&mut self, pace: Pace, now_ms: u64) {
        if self.pace == Pace::Drain {
            self.left_drain_ms = Some(now_ms);
        }
        if pace == Pace::Drain {
            let returns = self.left_drain_ms.is_some_and(|left| now_ms.saturating_sub(left) < RETURN_MS);
            self.leaving_ms = if returns { (self.leaving_ms * 2).min(LEAVING_MAX_MS) } else { LEAVING_MS };
        }
        self.pace = pace;
        self.candidate = None;
    }
}

/// What was seen, in words.
pub(crate) fn describe(seen: &Observation, rate: f64) -> String {
    let mut text = format!("{rate:.0} records/s, backlog {}", Size(seen.backlog_bytes));
    let figure = |name: &str, value: Option<f64>, unit: &str| {
        value.map_or_else(String::new, |value| format!(", {name} {value:.0} {unit}"))
    };
    text += &figure("batches", seen.batch_fill.map(|fill| fill * 100.0), "% full");
    text += &figure("round trip", seen.round_trip_ms, "ms");
    text += &figure("throttled", (seen.throttle_ms > 0).then_some(seen.throttle_ms as f64), "ms");
    text + &format!(", CPU {:.0} %", seen.cpu * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Run {
        follower: Follower,
        now_ms: u64,
    }

    impl Run {
        fn new() -> Self {
            Self { follower: Follower::new(), now_ms: 0 }
        }

        /// Lets `seconds` pass.
        fn pass(&mut self, seconds: u64, delivered: f64, backlog_bytes: u64) -> Pace {
            for _ in 0..seconds {
                self.now_ms += 1_000;
                let seen = Observation { delivered, backlog_bytes, ..Observation::default() };
                self.follower.observe(&seen, self.now_ms);
            }
            self.follower.pace()
        }
    }

    #[test]
    fn a_rate_must_last_to_be_believed() {
        let mut run = Run::new();
        assert_eq!(run.pass(5, 200.0, 0), Pace::Starting);
        assert_eq!(run.pass(1, 200.0, 0), Pace::Calm);
        assert_eq!(run.pass(3, 20_000.0, 0), Pace::Calm);
        assert_eq!(run.pass(60, 200.0, 0), Pace::Calm);
        assert_eq!(run.pass(20, 20_000.0, 0), Pace::Busy);
    }

    #[test]
    fn between_the_two_thresholds_everything_stays_as_it_is() {
        let mut run = Run::new();
        run.pass(10, 500.0, 0);
        assert_eq!(run.pass(600, 1_500.0, 0), Pace::Calm);
        assert_eq!(run.pass(60, 3_000.0, 0), Pace::Busy);
        assert_eq!(run.pass(600, 1_500.0, 0), Pace::Busy);
        assert_eq!(run.pass(60, 500.0, 0), Pace::Calm);
    }

    #[test]
    fn a_large_backlog_is_believed_at_once_and_a_small_one_soon() {
        assert_eq!(Run::new().pass(1, 50_000.0, LARGE_BACKLOG), Pace::Drain);
        let mut run = Run::new();
        assert_eq!(run.pass(2, 50_000.0, BACKLOG.0), Pace::Starting);
        assert_eq!(run.pass(1, 50_000.0, BACKLOG.0), Pace::Drain);
    }

    #[test]
    fn a_drain_that_comes_back_is_left_later_and_later() {
        let mut run = Run::new();
        let until_left = |run: &mut Run| {
            run.pass(1, 50_000.0, LARGE_BACKLOG);
            (0..).find(|_| run.pass(1, 100.0, 0) != Pace::Drain).unwrap_or_default()
        };
        let times: Vec<u64> = (0..5).map(|_| until_left(&mut run)).collect();
        assert_eq!(times, [30, 60, 120, 240, 300]);
        run.pass(400, 100.0, 0);
        assert_eq!(until_left(&mut run), 30);
    }

    #[test]
    fn a_level_counts_as_a_backlog_does() {
        let mut follower = Follower::new();
        let seen = |level| Observation { delivered: 100.0, level, ..Observation::default() };
        follower.observe(&seen(Level::High), 0);
        assert_eq!(follower.pace(), Pace::Drain);
        for second in 1..100 {
            follower.observe(&seen(Level::Elevated), second * 1_000);
        }
        assert_eq!(follower.pace(), Pace::Drain);
    }
}
