//! Batch size, linger, compression and connections, fitted to what flows.
//!
//! The invariant: **the tuner moves what nobody decided on, within its bounds, and rarely.** A librdkafka producer cannot change these values while it lives: a change is
//! a new generation of connections that takes over when the old one is drained. So a change must be worth one, and the tuner waits until it is sure.
//!
//! What matters with librdkafka, and what does not:
//!
//! - Linger and batch size are *upper bounds*. A full batch does not wait, and a batch that nobody fills costs no memory. So a large batch size never costs latency, and
//!   in a drain a short linger never costs throughput, because batches fill while requests are on their way. What linger buys is fewer requests at a rate at which records
//!   trickle; what it costs is its own length.
//! - A produce request of librdkafka carries one batch of one partition, and an idempotent producer has at most five of them unanswered: to a broker far away, five times the batch size per
//!   round trip is the limit. Larger batches raise it, and then more connections.
//! - LZ4 costs less than sending what it saves, even on the loopback. Zstandard pays where bytes are dear: far away, or under a quota.
//! - `sticky.partitioning.linger.ms` concerns records without a key. Ours all have one.
//!
//! Three paces follow from that (see [`Pace`]); the figures are measured, see `docs/tuning.md`.
//!
//! - [`tuning`]: the values, explicit ones, bounds.
//! - [`profile`]: profiles and presets.
//! - [`validate`]: what does not go together.
//! - [`observation`]: what is seen.
//! - [`pace`]: which pace the moment asks for.
//! - `climb`: what is tried out in a long drain.
//! - [`history`]: what was decided.
//! - [`decisions`]: how often.

mod climb;
pub mod decisions;
pub mod history;
pub mod observation;
pub mod pace;
pub mod profile;
pub mod tuning;
pub mod validate;

use std::fmt;

use serde::Serialize;

pub use decisions::Decisions;
pub use history::Entry;
pub use observation::{Level, Observation};
pub use pace::Pace;
pub use profile::{Preset, Profile};
pub use tuning::{Bounds, Compression, Explicit, ProducerTuning};
pub use validate::{Conflict, Surroundings, validate};

use climb::{Climb, Extra};
use history::History;
use pace::Follower;

/// The least time between two changes, in milliseconds.
const DWELL_MS: u64 = 30_000;
/// The same where the second one is for a drain.
const DRAIN_DWELL_MS: u64 = 5_000;
/// For how long nothing is changed after the pool could not put a change into effect.
const ROLLED_BACK_MS: u64 = 300_000;

/// A batch of this size is not made smaller, however often one is refused: then it is a record that is too large.
const SMALLEST_LARGE_BATCH: u64 = 64 << 10;
/// For how long it is remembered that a batch was too large, in milliseconds.
const TOO_LARGE_MS: u64 = 3_600_000;

/// How a tuner begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TunerSettings {
    /// What it aims at.
    pub profile: Profile,
    /// What is configured, by setting or preset, and therefore stays.
    pub explicit: Explicit,
    /// How far it may go.
    pub bounds: Bounds,
    /// Whether it is not to move anything by itself.
    pub frozen: bool,
}

/// A change of the tuning, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What was.
    pub before: ProducerTuning,
    /// What shall be.
    pub after: ProducerTuning,
    /// What was seen, what changes, and what is expected of it: one line.
    pub reason: String,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What a tuner tells of itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TunerState {
    /// What it aims at.
    pub profile: Profile,
    /// Whether it moves nothing by itself.
    pub frozen: bool,
    /// What holds now.
    pub tuning: ProducerTuning,
    /// What is configured.
    pub explicit: Explicit,
    /// What was set by hand.
    pub by_hand: Explicit,
    /// Which pace the moment asks for. Only the profile `auto` follows it.
    pub pace: Pace,
    /// Records a second, as a mean over some seconds.
    pub rate: f64,
    /// What was decided, the oldest first.
    pub history: Vec<Entry>,
    /// How often a setting was moved which way.
    #[serde(skip)]
    pub decisions: Decisions,
}

/// Fits a destination's producers to what flows.
///
/// Pure: observations and a clock in, decisions out. The clock is any that only goes forward, in milliseconds.
#[derive(Clone, Debug)]
pub struct KafkaPerformanceTuner {
    settings: TunerSettings,
    by_hand: Explicit,
    current: ProducerTuning,
    /// What held before the last change, in case the pool cannot make it.
    previous: ProducerTuning,
    follower: Follower,
    climb: Climb,
    too_large: Option<TooLarge>,
    changed_ms: Option<u64>,
    held_until_ms: u64,
    history: History,
    decisions: Decisions,
}

/// A batch was refused, so that a topic's or a broker's limit is lower than ours.
#[derive(Clone, Copy, Debug)]
struct TooLarge {
    /// The batch size not to exceed, in bytes.
    ceiling: u64,
    until_ms: u64,
}

impl KafkaPerformanceTuner {
    /// A tuner that has not seen anything yet.
    pub fn new(settings: TunerSettings) -> Self {
        let current = settings.explicit.over(settings.bounds.clamp(settings.profile.tuning()));
        Self {
            settings,
            by_hand: Explicit::default(),
            current,
            previous: current,
            follower: Follower::new(),
            climb: Climb::from(Extra::NONE),
            too_large: None,
            changed_ms: None,
            held_until_ms: 0,
            history: History::default(),
            decisions: Decisions::default(),
        }
    }

    /// What it aims at.
    pub fn profile(&self) -> Profile {
        self.settings.profile
    }

    /// What shall hold now.
    pub fn tuning(&self) -> ProducerTuning {
        self.current
    }

    /// Takes one more observation into account, about one a second, and says what to change.
    ///
    /// The answer is taken as put into effect; if it could not be, [`Self::rolled_back`] says so.
    pub fn observe(&mut self, seen: &Observation, now_ms: u64) -> Option<Decision> {
        if self.settings.profile != Profile::Auto || self.settings.frozen || seen.blocked {
            self.follower.interrupt();
            return None;
        }
        self.follow(seen, now_ms);
        self.heed_refusal(seen, now_ms);
        // While nothing flows there is nobody whom a change would help.
        if seen.delivered <= 0.0 || !self.may_change(now_ms) {
            return None;
        }
        let seen = |tuner: &Self| pace::describe(seen, tuner.follower.rate());
        self.change(now_ms, |tuner, change| format!("{}: {change}; {}", seen(tuner), tuner.expectation()))
    }

    /// The pool could not put the last decision into effect: what held before still holds, and nothing is changed for a while.
    pub fn rolled_back(&mut self, cause: &str, now_ms: u64) {
        self.history.add(now_ms, format!("not put into effect: {cause}"));
        self.current = self.previous;
        self.climb.refute();
        self.held_until_ms = now_ms.saturating_add(ROLLED_BACK_MS);
    }

    /// From now on it moves nothing by itself.
    pub fn freeze(&mut self, now_ms: u64) {
        if !self.settings.frozen {
            self.settings.frozen = true;
            self.history.add(now_ms, "frozen by hand".to_owned());
        }
    }

    /// From now on it moves again.
    pub fn thaw(&mut self, now_ms: u64) {
        if self.settings.frozen {
            self.settings.frozen = false;
            self.history.add(now_ms, "thawed by hand".to_owned());
        }
    }

    /// Sets values by hand, in place of those set by hand before; they stay until the next call, frozen or not. No value at all gives everything back.
    ///
    /// # Errors
    /// Everything about them that cannot be, see [`validate`]; nothing is changed then.
    pub fn set_by_hand(
        &mut self,
        by_hand: Explicit,
        surroundings: &Surroundings,
        now_ms: u64,
    ) -> Result<Option<Decision>, Vec<Conflict>> {
        let after = by_hand.or(self.settings.explicit).over(self.of_profile());
        let mut conflicts = validate(self.settings.profile, &after, surroundings);
        conflicts.retain(|conflict| !conflict.is_harmless());
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        self.by_hand = by_hand;
        Ok(self.change(now_ms, |_, change| format!("set by hand: {change}")))
    }

    /// Aims at another profile, frozen or not.
    pub fn choose(&mut self, profile: Profile, now_ms: u64) -> Option<Decision> {
        if profile == self.settings.profile {
            return None;
        }
        self.settings.profile = profile;
        self.change(now_ms, |_, change| format!("profile {profile} chosen by hand: {change}"))
    }

    /// Goes on with other settings; what was seen and what was set by hand stays. `None` if nothing changes by that.
    pub fn reconfigure(&mut self, settings: TunerSettings, now_ms: u64) -> Option<Decision> {
        self.settings = settings;
        self.change(now_ms, |_, change| format!("configured: {change}"))
    }

    /// What it tells of itself.
    pub fn state(&self) -> TunerState {
        TunerState {
            profile: self.settings.profile,
            frozen: self.settings.frozen,
            tuning: self.current,
            explicit: self.settings.explicit,
            by_hand: self.by_hand,
            pace: self.follower.pace(),
            rate: self.follower.rate(),
            history: self.history.entries(),
            decisions: self.decisions,
        }
    }

    fn follow(&mut self, seen: &Observation, now_ms: u64) {
        let was = self.follower.pace();
        self.follower.observe(seen, now_ms);
        match (was, self.follower.pace()) {
            (Pace::Drain, Pace::Drain) => {
                let mut climb = self.climb.clone();
                let best = self.with(climb.best());
                climb.observe(seen, |extra| self.with(extra) != best);
                self.climb = climb;
            }
            // What has proved good in one drain is where the next one begins.
            (_, Pace::Drain) => self.climb = Climb::from(self.climb.best()),
            _ => {}
        }
    }

    /// Every batch that is refused is sent again record by record: such a size must not stay.
    fn heed_refusal(&mut self, seen: &Observation, now_ms: u64) {
        self.too_large = self.too_large.filter(|too_large| now_ms < too_large.until_ms);
        if seen.refused_batch && self.current.batch_size > SMALLEST_LARGE_BATCH {
            let ceiling = (self.current.batch_size / 2).max(SMALLEST_LARGE_BATCH);
            self.too_large = Some(TooLarge { ceiling, until_ms: now_ms.saturating_add(TOO_LARGE_MS) });
        }
    }

    fn is_too_large(&self) -> bool {
        self.too_large.is_some_and(|too_large| self.current.batch_size > too_large.ceiling)
    }

    fn may_change(&self, now_ms: u64) -> bool {
        if self.is_too_large() {
            return true;
        }
        let dwell = if self.follower.pace() == Pace::Drain { DRAIN_DWELL_MS } else { DWELL_MS };
        now_ms >= self.held_until_ms
            && self.changed_ms.is_none_or(|changed| now_ms.saturating_sub(changed) >= dwell)
    }

    /// What ought to hold: by hand before configuration before profile and pace.
    fn wanted(&self) -> ProducerTuning {
        self.by_hand.or(self.settings.explicit).over(self.of_profile())
    }

    fn of_profile(&self) -> ProducerTuning {
        let tuning = match self.settings.profile {
            Profile::Auto => of_pace(self.follower.pace(), self.climb.wanted()),
            profile => profile.tuning(),
        };
        self.limited(tuning)
    }

    /// `tuning` within the bounds, and below what was found to be too large.
    fn limited(&self, tuning: ProducerTuning) -> ProducerTuning {
        let tuning = self.settings.bounds.clamp(tuning);
        let ceiling = self.too_large.map_or(u64::MAX, |too_large| too_large.ceiling);
        ProducerTuning { batch_size: tuning.batch_size.min(ceiling), ..tuning }
    }

    /// What would hold in a drain with `extra`.
    fn with(&self, extra: Extra) -> ProducerTuning {
        let tuning = self.limited(of_pace(Pace::Drain, extra));
        self.by_hand.or(self.settings.explicit).over(tuning)
    }

    fn expectation(&self) -> &'static str {
        match self.follower.pace() {
            _ if self.is_too_large() => "a batch was refused as too large, and half of it should not be",
            Pace::Starting | Pace::Calm => "each record leaves at once: waiting would not fill a batch",
            Pace::Busy => "a short wait saves requests and processor time",
            Pace::Drain if self.climb.is_on_trial() => {
                "a tenth more should get through, or it is undone: the drain waits for the network"
            }
            Pace::Drain => "batches fill by themselves, and large ones get more through",
        }
    }

    /// Moves to what ought to hold, if that is anything else.
    fn change(&mut self, now_ms: u64, reason: impl FnOnce(&Self, &str) -> String) -> Option<Decision> {
        let (before, after) = (self.current, self.wanted());
        if after == before {
            return None;
        }
        let reason = reason(self, &before.difference(&after));
        self.previous = before;
        self.current = after;
        self.changed_ms = Some(now_ms);
        self.history.add(now_ms, reason.clone());
        self.decisions.count(&before, &after);
        Some(Decision { before, after, reason })
    }
}

#[cfg(test)]
mod tests;

/// What a pace asks for.
fn of_pace(pace: Pace, extra: Extra) -> ProducerTuning {
    let start = Profile::Auto.tuning();
    match pace {
        Pace::Calm => Profile::Latency.tuning(),
        Pace::Starting | Pace::Busy => start,
        Pace::Drain => {
            ProducerTuning { compression: extra.compression, connections: extra.connections, ..start }
        }
    }
}
