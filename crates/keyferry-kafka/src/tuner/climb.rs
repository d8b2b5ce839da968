//! More connections, denser compression: tried out in a long drain, and kept only if more gets through.
//!
//! The invariant: **a step that does not pay is undone and not tried again in the same drain**, so that the search ends.

use serde::Serialize;

use crate::tuner::observation::Observation;
use crate::tuner::tuning::Compression;

/// What is tried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Extra {
    pub(crate) connections: usize,
    pub(crate) compression: Compression,
}

impl Extra {
    /// What suffices nearly everywhere.
    pub(crate) const NONE: Self = Self { connections: 1, compression: Compression::Lz4 };
}

/// How many observations make a mean that can be compared.
const WINDOW: u32 = 8;
/// How many observations after a change say nothing, because connections are being replaced.
const SETTLING: u32 = 3;
/// A step has paid if so much more gets through.
const GAIN: f64 = 1.1;
/// Brokers that answer faster than this, in milliseconds, are not what a drain waits for.
const NEAR_MS: f64 = 5.0;
/// An agent that takes so much of a processor is itself what the drain waits for.
const BUSY_CPU: f64 = 0.8;

/// The search for the best [`Extra`] of one drain.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Climb {
    best: Extra,
    on_trial: Option<Extra>,
    refuted: Vec<Extra>,
    /// Records a second with `best`.
    reference: f64,
    window: Window,
    settling: u32,
}

impl Climb {
    /// A search that begins with what has proved good before.
    pub(crate) fn from(best: Extra) -> Self {
        Self {
            best,
            on_trial: None,
            refuted: Vec::new(),
            reference: 0.0,
            window: Window::default(),
            settling: SETTLING,
        }
    }

    /// What to use now.
    pub(crate) fn wanted(&self) -> Extra {
        self.on_trial.unwrap_or(self.best)
    }

    /// What has proved best.
    pub(crate) fn best(&self) -> Extra {
        self.best
    }

    pub(crate) fn is_on_trial(&self) -> bool {
        self.on_trial.is_some()
    }

    /// What is on trial could not even be put into effect.
    pub(crate) fn refute(&mut self) {
        self.refuted.extend(self.on_trial.take());
        self.restart();
    }

    /// Takes one more observation into account. `is_possible` says whether a step would change anything.
    pub(crate) fn observe(&mut self, seen: &Observation, is_possible: impl Fn(Extra) -> bool) {
        if self.settling > 0 {
            self.settling -= 1;
            return;
        }
        let Some(mean) = self.window.add(seen.delivered) else { return };
        match self.on_trial.take() {
            Some(extra) if mean >= self.reference * GAIN => {
                self.best = extra;
                self.reference = mean;
            }
            Some(extra) => {
                self.refuted.push(extra);
                self.restart();
            }
            None => {
                self.reference = mean;
                self.on_trial = self.next(seen, is_possible);
                if self.on_trial.is_some() {
                    self.restart();
                }
            }
        }
    }

    fn restart(&mut self) {
        self.settling = SETTLING;
        self.window = Window::default();
    }

    /// The next step that has not been refuted, if the drain waits for the network and not for the agent.
    fn next(&self, seen: &Observation, is_possible: impl Fn(Extra) -> bool) -> Option<Extra> {
        let is_throttled = seen.throttle_ms > 0;
        let is_far = seen.round_trip_ms.is_some_and(|ms| ms >= NEAR_MS);
        if seen.cpu >= BUSY_CPU || !(is_throttled || is_far) {
            return None;
        }
        // A quota counts bytes: more connections would only be throttled more.
        let wider = (!is_throttled)
            .then_some(Extra { connections: self.best.connections.saturating_mul(2), ..self.best });
        let denser = Extra { compression: Compression::Zstd, ..self.best };
        let steps = wider.into_iter().chain([denser]);
        steps
            .filter(|step| *step != self.best && !self.refuted.contains(step))
            .find(|step| is_possible(*step))
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Window {
    sum: f64,
    count: u32,
}

impl Window {
    /// The mean, when there are enough values; the next one begins anew.
    fn add(&mut self, value: f64) -> Option<f64> {
        self.sum += value;
        self.count += 1;
        if self.count < WINDOW {
            return None;
        }
        let mean = self.sum / f64::from(self.count);
        *self = Self::default();
        Some(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Observation = Observation {
        delivered: 1000.0,
        backlog_bytes: 1 << 30,
        level: crate::tuner::Level::Normal,
        blocked: false,
        connections: 1,
        batch_fill: Some(1.0),
        queue_ms: Some(100.0),
        round_trip_ms: Some(80.0),
        refused_batch: false,
        throttle_ms: 0,
        cpu: 0.2,
    };

    /// Lets `seconds` pass in which `delivered` gets through, and says what is wanted then.
    fn after(climb: &mut Climb, seconds: u32, delivered: f64, seen: Observation) -> Extra {
        for _ in 0..seconds {
            climb.observe(&Observation { delivered, ..seen }, |extra| extra.connections <= 4);
        }
        climb.wanted()
    }

    const TRIAL: u32 = WINDOW + SETTLING;

    #[test]
    fn a_step_that_pays_is_kept_and_one_that_does_not_is_undone() {
        let mut climb = Climb::from(Extra::NONE);
        assert_eq!(after(&mut climb, TRIAL, 1000.0, FAR).connections, 2);
        assert_eq!(after(&mut climb, TRIAL, 1900.0, FAR).connections, 2);
        assert!(!climb.is_on_trial());
        assert_eq!(after(&mut climb, WINDOW, 1900.0, FAR).connections, 4);
        assert_eq!(after(&mut climb, TRIAL, 1950.0, FAR), Extra { connections: 2, ..Extra::NONE });
    }

    #[test]
    fn the_search_ends() {
        let mut climb = Climb::from(Extra::NONE);
        after(&mut climb, 20 * TRIAL, 1000.0, FAR);
        let settled = climb.wanted();
        assert_eq!(settled, Extra::NONE);
        for _ in 0..200 {
            assert_eq!(after(&mut climb, 1, 1000.0, FAR), settled);
        }
    }

    #[test]
    fn a_quota_is_met_with_fewer_bytes_and_not_with_more_connections() {
        let mut climb = Climb::from(Extra::NONE);
        let throttled = Observation { throttle_ms: 200, ..FAR };
        let wanted = after(&mut climb, TRIAL, 1000.0, throttled);
        assert_eq!(wanted, Extra { compression: Compression::Zstd, ..Extra::NONE });
    }

    #[test]
    fn nothing_is_tried_when_the_agent_or_a_near_broker_is_what_the_drain_waits_for() {
        for seen in [Observation { cpu: 0.9, ..FAR }, Observation { round_trip_ms: Some(2.0), ..FAR }] {
            let mut climb = Climb::from(Extra::NONE);
            assert_eq!(after(&mut climb, 10 * TRIAL, 1000.0, seen), Extra::NONE);
        }
    }

    #[test]
    fn what_cannot_be_put_into_effect_counts_as_refuted() {
        let mut climb = Climb::from(Extra::NONE);
        after(&mut climb, TRIAL, 1000.0, FAR);
        climb.refute();
        assert_eq!(climb.wanted(), Extra::NONE);
        assert_eq!(after(&mut climb, TRIAL, 1000.0, FAR).connections, 1);
    }
}
