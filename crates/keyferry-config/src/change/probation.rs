//! Whether a change has made things worse.
//!
//! A probation outlives the agent: an agent that is started anew counts from zero, and what it counts is compared with what was counted before the change.
//!
//! The invariant: **a change is blamed only for what was not so before it.** The time after it is compared with the same length of time before. A breaker that was opened by
//! hand says nothing, and neither does one that had opened before.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// Fewer failures than this say nothing.
const LEAST_FAILURES: u64 = 10;

/// What one shipment has counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How often its breaker has opened by itself.
    pub openings: u64,
    /// Records that failed, and records that can never be delivered.
    pub failures: u64,
}

/// What every shipment has counted, by its name.
pub type Health = BTreeMap<String, Tally>;

/// What was counted, and when.
type Sample = (u64, Health);

/// What was counted lately, and what has been since a change.
#[derive(Debug, Default)]
pub(crate) struct Probation {
    /// The last while, the oldest first.
    recent: VecDeque<Sample>,
    /// When a change was made, with what was counted by then, and over the time before it.
    since: Option<Since>,
}

#[derive(Debug)]
struct Since {
    of: OnProbation,
    /// From when on is counted, and what had been counted by then.
    begun: Sample,
}

/// That a version is on probation: what outlives the agent of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnProbation {
    /// When it was committed, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// What was counted before.
    pub before: Tally,
    /// In so much time, in milliseconds.
    pub before_ms: u64,
}

impl Probation {
    /// What a change that is made now is compared with.
    pub(crate) fn of_change(&self, health: &Health, now_ms: u64) -> OnProbation {
        let (before_ms, before) = match self.recent.front() {
            Some((at_ms, then)) => (now_ms.saturating_sub(*at_ms), increase(then, health)),
            None => (0, Tally::default()),
        };
        OnProbation { since_ms: now_ms, before, before_ms }
    }

    /// A change has been made.
    pub(crate) fn begin(&mut self, of: OnProbation, health: &Health) {
        self.since = Some(Since { of, begun: (of.since_ms, health.clone()) });
    }

    /// The agent has been started anew after a change. Each shipment is counted from the first look at it.
    pub(crate) fn resume(&mut self, of: OnProbation, now_ms: u64) {
        self.since = Some(Since { of, begun: (now_ms, Health::new()) });
    }

    /// The change, if one was on probation, has been taken back.
    pub(crate) fn end(&mut self) {
        self.since = None;
    }

    /// Until when a change is on probation that lasts `length_ms`.
    pub(crate) fn until_ms(&self, length_ms: u64) -> Option<u64> {
        self.since.as_ref().map(|since| since.of.since_ms.saturating_add(length_ms))
    }

    /// Takes in what is counted now; answers in which way the change on probation has made things worse.
    pub(crate) fn look(&mut self, health: &Health, length_ms: u64, now_ms: u64) -> Option<String> {
        self.recent.push_back((now_ms, health.clone()));
        while self.recent.front().is_some_and(|(at_ms, _)| at_ms.saturating_add(length_ms) < now_ms) {
            self.recent.pop_front();
        }
        let since = self.since.as_mut()?;
        since.meet(health);
        if let Some(worse) = since.worse(health, now_ms) {
            return Some(worse);
        }
        self.since = self.since.take().filter(|since| now_ms < since.of.since_ms.saturating_add(length_ms));
        None
    }
}

impl Since {
    /// A shipment that is met for the first time is counted from now on.
    fn meet(&mut self, health: &Health) {
        for (name, tally) in health {
            self.begun.1.entry(name.clone()).or_insert(*tally);
        }
    }

    fn worse(&self, health: &Health, now_ms: u64) -> Option<String> {
        let OnProbation { since_ms, before, before_ms } = &self.of;
        let (begun_ms, then) = &self.begun;
        let (after, counted_ms) = (increase(then, health), now_ms.saturating_sub(*begun_ms));
        let after_ms = now_ms.saturating_sub(*since_ms);
        if after.openings > 0 && before.openings == 0 {
            return Some(format!("the circuit breaker has opened {after_ms} ms after it"));
        }
        // More than twice as many a second: rates as products, so that no time is divided by.
        let rate_after = u128::from(after.failures) * u128::from(*before_ms);
        let rate_before = u128::from(before.failures) * u128::from(counted_ms);
        let has_doubled = before.failures == 0 || rate_after >= 2 * rate_before;
        (after.failures >= LEAST_FAILURES && has_doubled).then(|| {
            format!(
                "{} records have failed in the {counted_ms} ms until {after_ms} ms after it, and {} in the {before_ms} ms before",
                after.failures, before.failures
            )
        })
    }
}

/// What has been counted from one time to the other, by shipments that were there at both.
fn increase(from: &Health, to: &Health) -> Tally {
    let mut sum = Tally::default();
    for (name, now) in to {
        let Some(then) = from.get(name) else { continue };
        sum.openings += now.openings.saturating_sub(then.openings);
        sum.failures += now.failures.saturating_sub(then.failures);
    }
    sum
}
