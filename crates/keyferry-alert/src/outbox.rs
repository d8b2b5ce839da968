//! Notices that are on their way.
//!
//! The invariants:
//!
//! - **A notice is told, or it is said that it could not be.** It is written down before it is sent, tried again until it is old, and survives a restart.
//! - **The outbox is bounded.** A later notice of the same subject takes the place of one that waits; beyond that the least severe of the oldest gives way, and is counted.
//! - **A channel is never flooded**: each has a rate, and what exceeds it waits.
//!
//! Pure: sending is somebody else's, who says what became of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::notice::{Cause, Notice};

/// Notices that may wait.
const MOST_ENTRIES: usize = 500;
/// A notice that is older tells nobody anything.
const OLD_MS: u64 = 24 * 3_600_000;
/// A heartbeat that is older is a lie.
const OLD_HEARTBEAT_MS: u64 = 60_000;
/// The first delay is below this, …
const FIRST_DELAY_MS: u64 = 1_000;
/// … and none is above this.
const LONGEST_DELAY_MS: u64 = 300_000;
/// Channels that have failed for so long count as broken.
const BROKEN_MS: u64 = 60_000;

/// One notice on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub id: u64,
    /// What is to be told.
    pub notice: Notice,
    attempts: u32,
    not_before_ms: u64,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has arrived.
    Told,
    /// It may arrive later, after so many milliseconds at least if the receiver says so.
    Failed {
        /// What happened.
        reason: String,
        /// What the receiver asks for.
        after_ms: Option<u64>,
    },
    /// It will never arrive as it is.
    Refused {
        /// What the receiver said.
        reason: String,
    },
}

/// How a channel does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Notices that have arrived.
    pub told: u64,
    /// Attempts that have failed.
    pub failed: u64,
    /// Notices that were given up: refused, too old, or in the way of others.
    pub given_up: u64,
    /// When one has arrived last.
    pub told_ms: Option<u64>,
    /// Since when none arrives.
    pub failing_since_ms: Option<u64>,
    /// What happened last.
    pub error: Option<String>,
}

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    entries: Vec<Entry>,
    next_id: u64,
    health: BTreeMap<String, Health>,
}

/// Notices that are on their way. See the module.
#[derive(Debug)]
pub struct Outbox {
    entries: Vec<Entry>,
    next_id: u64,
    in_flight: BTreeSet<u64>,
    /// How many notices a channel may be told a minute.
    rates: BTreeMap<String, u32>,
    /// When the last ones were sent.
    sent: BTreeMap<String, Vec<u64>>,
    health: BTreeMap<String, Health>,
    random: fastrand::Rng,
}

impl Outbox {
    /// One with a rate a minute for each channel, and what `memory` has.
    pub fn new(rates: BTreeMap<String, u32>, memory: Memory, seed: u64) -> Self {
        let Memory { entries, next_id, mut health } = memory;
        health.retain(|channel, _| rates.contains_key(channel));
        Self {
            // A channel that is gone cannot be told.
            entries: entries.into_iter().filter(|entry| rates.contains_key(&entry.notice.channel)).collect(),
            next_id,
            in_flight: BTreeSet::new(),
            rates,
            sent: BTreeMap::new(),
            health,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// What is to be remembered.
    pub fn memory(&self) -> Memory {
        Memory { entries: self.entries.clone(), next_id: self.next_id, health: self.health.clone() }
    }

    /// Takes a notice in.
    pub fn post(&mut self, notice: Notice) {
        let at_ms = notice.at_ms;
        // What waits for its first attempt or its next one is out of date; what is on its way is not called back.
        self.entries.retain(|entry| {
            let waits = !self.in_flight.contains(&entry.id);
            !(waits && entry.notice.channel == notice.channel && entry.notice.subject == notice.subject)
        });
        if self.entries.len() >= MOST_ENTRIES {
            self.make_room();
        }
        self.next_id += 1;
        self.entries.push(Entry { id: self.next_id, notice, attempts: 0, not_before_ms: at_ms });
    }

    fn make_room(&mut self) {
        let waiting =
            self.entries.iter().enumerate().filter(|(_, entry)| !self.in_flight.contains(&entry.id));
        let least =
            waiting.min_by_key(|(_, entry)| (entry.notice.severity(), entry.id)).map(|(place, _)| place);
        if let Some(place) = least {
            let entry = self.entries.remove(place);
            self.health_of(&entry.notice.channel).given_up += 1;
        }
    }

    /// What is to be sent now, if something is. Whoever takes it says what became of it by [`Self::settle`].
    pub fn take(&mut self, now_ms: u64) -> Option<Entry> {
        self.give_up_what_is_old(now_ms);
        let due = self.entries.iter().filter(|entry| {
            entry.not_before_ms <= now_ms
                && !self.in_flight.contains(&entry.id)
                && self.has_room(entry, now_ms)
        });
        let entry = due.max_by_key(|entry| (entry.notice.severity(), std::cmp::Reverse(entry.id)))?.clone();
        self.in_flight.insert(entry.id);
        let sent = self.sent.entry(entry.notice.channel.clone()).or_default();
        sent.retain(|sent| sent + 60_000 > now_ms);
        sent.push(now_ms);
        Some(entry)
    }

    /// When [`Self::take`] may give something next, if nothing else happens; `None` if nothing waits that is not on its way.
    pub fn next_due_ms(&self, now_ms: u64) -> Option<u64> {
        let waiting = self.entries.iter().filter(|entry| !self.in_flight.contains(&entry.id));
        waiting.map(|entry| entry.not_before_ms.max(self.room_at_ms(entry, now_ms))).min()
    }

    /// When the rate of its channel has room for it.
    fn room_at_ms(&self, entry: &Entry, now_ms: u64) -> u64 {
        if self.has_room(entry, now_ms) {
            return now_ms;
        }
        let rate = self.rates.get(&entry.notice.channel).copied().unwrap_or(u32::MAX) as usize;
        let sent = self.sent.get(&entry.notice.channel).map_or(&[][..], Vec::as_slice);
        // So many of them must be a minute old that one more fits; of a channel with no rate at all none ever will.
        let last = sent.len().checked_sub(rate).and_then(|place| sent.get(place));
        last.map_or(now_ms + LONGEST_DELAY_MS, |sent| sent + 60_000)
    }

    /// Whether the rate of its channel has room for it. A heartbeat is not held back: that would be an alarm.
    fn has_room(&self, entry: &Entry, now_ms: u64) -> bool {
        let channel = &entry.notice.channel;
        let recent = self.sent.get(channel).into_iter().flatten().filter(|sent| **sent + 60_000 > now_ms);
        let rate = self.rates.get(channel).copied().unwrap_or(u32::MAX) as usize;
        entry.notice.cause == Cause::Heartbeat || recent.count() < rate
    }

    fn give_up_what_is_old(&mut self, now_ms: u64) {
        let is_old = |entry: &Entry| {
            let limit = if entry.notice.cause == Cause::Heartbeat { OLD_HEARTBEAT_MS } else { OLD_MS };
            entry.notice.at_ms + limit <= now_ms
        };
        let in_flight = &self.in_flight;
        let old: Vec<Entry> =
            self.entries.extract_if(.., |entry| !in_flight.contains(&entry.id) && is_old(entry)).collect();
        for entry in old {
            self.health_of(&entry.notice.channel).given_up += 1;
        }
    }

    /// What became of an entry that was taken.
    pub fn settle(&mut self, id: u64, outcome: Outcome, now_ms: u64) {
        self.in_flight.remove(&id);
        let Some(place) = self.entries.iter().position(|entry| entry.id == id) else { return };
        let channel = self.entries[place].notice.channel.clone();
        let health = self.health.entry(channel).or_default();
        match outcome {
            Outcome::Told => {
                health.told += 1;
                (health.told_ms, health.failing_since_ms, health.error) = (Some(now_ms), None, None);
                self.entries.remove(place);
            }
            Outcome::Failed { reason, after_ms } => {
                health.failed += 1;
                health.failing_since_ms.get_or_insert(now_ms);
                health.error = Some(reason);
                let entry = &mut self.entries[place];
                let delay = delay_ms(entry.attempts, &mut self.random);
                entry.attempts = entry.attempts.saturating_add(1);
                entry.not_before_ms = now_ms + delay.max(after_ms.unwrap_or(0).min(LONGEST_DELAY_MS));
            }
            Outcome::Refused { reason } => {
                health.failed += 1;
                health.given_up += 1;
                health.failing_since_ms.get_or_insert(now_ms);
                health.error = Some(reason);
                self.entries.remove(place);
            }
        }
    }

    /// How every channel does that was told something.
    pub fn health(&self) -> &BTreeMap<String, Health> {
        &self.health
    }

    /// Notices that wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Why nobody can be told, if all of `channels` have failed for a minute: what each said last.
    pub fn nobody_is_told(&self, channels: &BTreeSet<String>, now_ms: u64) -> Option<String> {
        let mut reasons = Vec::new();
        for channel in channels {
            let health = self.health.get(channel)?;
            let since = health.failing_since_ms?;
            if now_ms.saturating_sub(since) < BROKEN_MS {
                return None;
            }
            reasons.push(format!("{channel}: {}", health.error.as_deref().unwrap_or("unknown")));
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    fn health_of(&mut self, channel: &str) -> &mut Health {
        self.health.entry(channel.to_owned()).or_default()
    }
}

/// Full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
fn delay_ms(attempts: u32, random: &mut fastrand::Rng) -> u64 {
    let limit = FIRST_DELAY_MS.saturating_mul(1 << attempts.min(20)).min(LONGEST_DELAY_MS);
    random.u64(0..=limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Labels;
    use crate::notice::Told;
    use crate::rule::Severity;

    fn notice(channel: &str, subject: &str, severity: Severity, at_ms: u64) -> Notice {
        let told = Told {
            name: subject.to_owned(),
            fingerprint: String::new(),
            severity,
            labels: Labels::default(),
            summary: String::new(),
            description: String::new(),
            runbook: None,
            value: 0.0,
            since_ms: at_ms,
            ended_ms: None,
            flapping: false,
        };
        let (channel, subject) = (channel.to_owned(), subject.to_owned());
        Notice { subject, cause: Cause::Firing, channel, at_ms, group: Labels::default(), alerts: vec![told] }
    }

    fn outbox() -> Outbox {
        Outbox::new([("a".to_owned(), 10), ("b".to_owned(), 10)].into(), Memory::default(), 7)
    }

    fn failed() -> Outcome {
        Outcome::Failed { reason: "refused".to_owned(), after_ms: None }
    }

    #[test]
    fn a_notice_is_tried_until_it_is_told() {
        let mut outbox = outbox();
        outbox.post(notice("a", "x", Severity::Error, 0));
        let (mut now, mut attempts) = (0, 0);
        while attempts < 30 {
            now += 1_000;
            if let Some(entry) = outbox.take(now) {
                attempts += 1;
                assert!(outbox.take(now).is_none(), "it is on its way");
                outbox.settle(entry.id, failed(), now);
            }
        }
        assert!(now > 300_000, "it was tried 30 times in {now} ms");
        assert_eq!(outbox.health()["a"].failed, 30);
        let entry = (0..).find_map(|step| outbox.take(now + step * 1_000)).unwrap();
        outbox.settle(entry.id, Outcome::Told, now);
        assert!(outbox.is_empty() && outbox.health()["a"].failing_since_ms.is_none());
    }

    #[test]
    fn what_a_receiver_asks_for_is_waited() {
        let mut outbox = outbox();
        outbox.post(notice("a", "x", Severity::Error, 0));
        let entry = outbox.take(0).unwrap();
        outbox.settle(entry.id, Outcome::Failed { reason: "busy".to_owned(), after_ms: Some(60_000) }, 0);
        assert!(outbox.take(59_999).is_none() && outbox.take(60_000).is_some());
    }

    #[test]
    fn a_restart_forgets_no_notice_and_no_failure() {
        let mut outbox = outbox();
        outbox.post(notice("a", "x", Severity::Error, 0));
        outbox.post(notice("b", "x", Severity::Error, 0));
        let entry = outbox.take(0).unwrap();
        outbox.settle(entry.id, failed(), 0);
        outbox.take(0).unwrap();
        let text = serde_json::to_string(&outbox.memory()).unwrap();
        let mut after = Outbox::new([("a".to_owned(), 10)].into(), serde_json::from_str(&text).unwrap(), 7);
        assert_eq!(after.len(), 1, "the other channel is gone from the configuration");
        assert!(after.take(LONGEST_DELAY_MS).is_some(), "what was on its way may not have arrived");
        assert_eq!(after.health()["a"].failed, 1);
    }

    #[test]
    fn a_later_notice_takes_the_place_of_one_that_waits_for_the_same_channel() {
        let mut outbox = outbox();
        outbox.post(notice("a", "x", Severity::Error, 0));
        outbox.post(notice("b", "x", Severity::Error, 0));
        outbox.post(notice("a", "x", Severity::Critical, 10));
        assert_eq!(outbox.len(), 2);
        let first = outbox.take(20).unwrap();
        assert_eq!(first.notice.severity(), Severity::Critical, "the worst goes first");
        outbox.post(notice("a", "x", Severity::Error, 30));
        assert_eq!(outbox.len(), 3, "what is on its way is not called back");
    }

    #[test]
    fn it_is_bounded_and_the_least_gives_way() {
        let mut outbox = outbox();
        outbox.post(notice("a", "info", Severity::Info, 0));
        for number in 0..MOST_ENTRIES {
            outbox.post(notice("a", &number.to_string(), Severity::Error, 0));
        }
        assert_eq!(outbox.len(), MOST_ENTRIES);
        assert!(outbox.entries.iter().all(|entry| entry.notice.subject != "info"));
        assert_eq!(outbox.health()["a"].given_up, 1);
    }

    #[test]
    fn a_channel_has_a_rate() {
        let mut outbox = outbox();
        for number in 0..15 {
            outbox.post(notice("a", &number.to_string(), Severity::Error, 0));
        }
        let sent = |outbox: &mut Outbox, now| std::iter::from_fn(|| outbox.take(now)).count();
        assert_eq!((sent(&mut outbox, 0), sent(&mut outbox, 59_999), sent(&mut outbox, 60_000)), (10, 0, 5));
    }

    #[test]
    fn it_is_known_when_the_next_one_is_due() {
        let mut outbox = outbox();
        assert_eq!(outbox.next_due_ms(0), None);
        for number in 0..11 {
            outbox.post(notice("a", &number.to_string(), Severity::Error, 5));
        }
        assert_eq!(outbox.next_due_ms(0), Some(5));
        for now in 10..20 {
            let entry = outbox.take(now).unwrap();
            outbox.settle(entry.id, Outcome::Told, now);
        }
        assert_eq!(outbox.next_due_ms(20), Some(60_010), "its channel has no room before");
        assert!(outbox.take(60_009).is_none());
        let entry = outbox.take(60_010).unwrap();
        assert_eq!(outbox.next_due_ms(60_010), None, "it is on its way");
        outbox.settle(entry.id, Outcome::Failed { reason: "busy".to_owned(), after_ms: Some(7_000) }, 60_010);
        let due = outbox.next_due_ms(60_010).unwrap();
        assert!(due >= 67_010 && outbox.take(due - 1).is_none() && outbox.take(due).is_some());
    }

    #[test]
    fn what_is_old_or_refused_is_given_up_and_counted() {
        let mut outbox = outbox();
        outbox.post(notice("a", "x", Severity::Error, 0));
        assert!(outbox.take(OLD_MS).is_none());
        outbox.post(notice("a", "y", Severity::Error, OLD_MS));
        let entry = outbox.take(OLD_MS).unwrap();
        outbox.settle(entry.id, Outcome::Refused { reason: "404".to_owned() }, OLD_MS);
        assert!(outbox.is_empty());
        assert_eq!(outbox.health()["a"].given_up, 2);
    }

    #[test]
    fn nobody_is_told_when_every_channel_has_failed_for_a_minute() {
        let mut outbox = outbox();
        let both: BTreeSet<String> = ["a", "b"].map(str::to_owned).into();
        for channel in ["a", "b"] {
            outbox.post(notice(channel, "x", Severity::Error, 0));
            let entry = outbox.take(0).unwrap();
            outbox.settle(entry.id, failed(), 0);
            assert_eq!(outbox.nobody_is_told(&both, 59_999), None);
        }
        assert_eq!(outbox.nobody_is_told(&both, 60_000).unwrap(), "a: refused; b: refused");
        let entry = (0..).find_map(|step| outbox.take(60_000 + step)).unwrap();
        outbox.settle(entry.id, Outcome::Told, 70_000);
        assert_eq!(outbox.nobody_is_told(&both, 200_000), None, "somebody is told");
    }
}
