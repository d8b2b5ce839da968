//! One alert: a rule and the labels for which it holds, from the first moment to the last.
//!
//! The invariants:
//!
//! - **An alert fires only after its rule has held without a break for as long as it must**, and ends only after it has not held for as long as it must.
//! - **One that comes and goes is not told of each time.** When it has begun often enough in a while it flaps: it counts as firing until it has been quiet for long.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::labels::{ALERT_NAME, Labels, SEVERITY};
use crate::rule::{Rule, Severity};
use crate::units::millis;

/// What makes out an alert.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertKey {
    /// The rule's name.
    pub rule: String,
    /// The labels of the signal.
    pub labels: Labels,
}

impl AlertKey {
    /// The alert of `rule` with these labels.
    pub fn new(rule: &str, labels: Labels) -> Self {
        Self { rule: rule.to_owned(), labels }
    }

    /// Sixteen hexadecimal digits that stand for it, on every machine and for ever: FNV-1a (Fowler, Noll, Vo), 64 bits.
    pub fn fingerprint(&self) -> String {
        let text = format!("{}{}", self.rule, self.labels);
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{hash:016x}")
    }
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The rule holds, and not for long enough yet.
    Pending {
        /// Since when.
        since_ms: u64,
    },
    /// It fires.
    Firing {
        /// Since when the rule has held.
        since_ms: u64,
        /// Since when it fires.
        fired_ms: u64,
        /// When the rule held last.
        held_ms: u64,
    },
    /// It has ended, and some still have to be told.
    Ended {
        /// Since when the rule had held.
        since_ms: u64,
        /// When it ended.
        ended_ms: u64,
    },
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Which it is.
    pub key: AlertKey,
    /// How bad it is.
    pub severity: Severity,
    /// All its labels: those of the signal and of the rule, its name and severity.
    pub labels: Labels,
    /// What it means, in a few words.
    pub summary: String,
    /// The same at length.
    pub description: String,
    /// Where it is written what to do.
    pub runbook: Option<String>,
    /// The number that was too much or too little last.
    pub value: f64,
    /// Where it stands.
    pub standing: Standing,
    /// Who has said that it is taken care of, if somebody has.
    pub acknowledged_by: Option<String>,
    /// Whether it has been declared over while its rule held. It stays quiet until that has not held once.
    pub dismissed: bool,
    /// When it has begun to fire, the last times.
    pub begun: VecDeque<u64>,
    /// Whether it comes and goes.
    pub flapping: bool,
}

/// What has happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has begun to fire.
    Fired,
    /// It is over.
    Ended,
    /// It comes and goes.
    Flapping,
}

/// When an alert flaps, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// So many beginnings…
    pub beginnings: usize,
    /// … in so many milliseconds are too many.
    pub within_ms: u64,
    /// For so many milliseconds it must be quiet.
    pub quiet_ms: u64,
}

impl Alert {
    /// The alert that begins at `now_ms`.
    pub fn begin(rule: &Rule, key: AlertKey, value: f64, now_ms: u64) -> Self {
        let labels = rule.labels.clone().or(&key.labels);
        let labels = labels.with(ALERT_NAME, &rule.name).with(SEVERITY, rule.severity.as_str());
        let mut alert = Self {
            key,
            severity: rule.severity,
            labels,
            summary: String::new(),
            description: String::new(),
            runbook: rule.runbook.clone(),
            value,
            standing: Standing::Pending { since_ms: now_ms },
            acknowledged_by: None,
            dismissed: false,
            begun: VecDeque::new(),
            flapping: false,
        };
        alert.describe(rule, value);
        alert
    }

    fn describe(&mut self, rule: &Rule, value: f64) {
        self.value = value;
        self.summary = crate::rule::filled_in(&rule.summary, &self.labels, value);
        self.description = crate::rule::filled_in(&rule.description, &self.labels, value);
    }

    /// Whether it fires.
    pub fn is_firing(&self) -> bool {
        matches!(self.standing, Standing::Firing { .. })
    }

    /// Whether the limit of a beginning or that of an end counts.
    pub fn is_active(&self) -> bool {
        matches!(self.standing, Standing::Pending { .. } | Standing::Firing { .. })
    }

    /// Since when its rule has held.
    pub fn since_ms(&self) -> u64 {
        match self.standing {
            Standing::Pending { since_ms }
            | Standing::Firing { since_ms, .. }
            | Standing::Ended { since_ms, .. } => since_ms,
        }
    }

    /// When it ended.
    pub fn ended_ms(&self) -> Option<u64> {
        match self.standing {
            Standing::Ended { ended_ms, .. } => Some(ended_ms),
            _ => None,
        }
    }

    /// The rule holds.
    pub fn holds(&mut self, rule: &Rule, value: f64, now_ms: u64, limits: Flapping) -> Option<Change> {
        self.describe(rule, value);
        if self.dismissed {
            return None;
        }
        match self.standing {
            Standing::Firing { since_ms, fired_ms, .. } => {
                self.standing = Standing::Firing { since_ms, fired_ms, held_ms: now_ms };
                return None;
            }
            Standing::Ended { .. } => self.standing = Standing::Pending { since_ms: now_ms },
            Standing::Pending { .. } => {}
        }
        let since_ms = self.since_ms();
        if now_ms - since_ms < millis(rule.hold) {
            return None;
        }
        self.standing = Standing::Firing { since_ms, fired_ms: now_ms, held_ms: now_ms };
        self.begun.retain(|begun| begun + limits.within_ms > now_ms);
        self.begun.push_back(now_ms);
        if self.begun.len() >= limits.beginnings && !self.flapping {
            self.flapping = true;
            return Some(Change::Flapping);
        }
        Some(Change::Fired)
    }

    /// The rule does not hold.
    pub fn rests(&mut self, keep_firing_ms: u64, now_ms: u64, limits: Flapping) -> Option<Change> {
        self.dismissed = false;
        let Standing::Firing { since_ms, held_ms, .. } = self.standing else {
            return None;
        };
        let quiet = if self.flapping { limits.quiet_ms.max(keep_firing_ms) } else { keep_firing_ms };
        if now_ms - held_ms < quiet {
            return None;
        }
        self.end(since_ms, now_ms);
        Some(Change::Ended)
    }

    /// It is declared over.
    pub fn dismiss(&mut self, now_ms: u64) {
        let since_ms = self.since_ms();
        self.end(since_ms, now_ms);
        self.dismissed = true;
    }

    fn end(&mut self, since_ms: u64, now_ms: u64) {
        self.standing = Standing::Ended { since_ms, ended_ms: now_ms };
        self.acknowledged_by = None;
        self.flapping = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Flapping = Flapping { beginnings: 3, within_ms: 600_000, quiet_ms: 300_000 };

    fn rule() -> Rule {
        toml::from_str(
            "name = 'A'\nseverity = 'error'\nsignal.value = { metric = 'm' }\nabove = 1\nfor = '10s'\nkeep_firing = '20s'\nsummary = '{value}'",
        )
        .unwrap()
    }

    fn alert() -> Alert {
        Alert::begin(&rule(), AlertKey::new("A", Labels::default()), 2.0, 0)
    }

    #[test]
    fn it_fires_after_a_while_and_ends_after_a_while() {
        let (rule, mut alert) = (rule(), alert());
        assert_eq!(alert.holds(&rule, 2.0, 9_999, LIMITS), None);
        assert_eq!(alert.holds(&rule, 3.0, 10_000, LIMITS), Some(Change::Fired));
        assert_eq!(alert.summary, "3");
        assert_eq!(alert.rests(20_000, 29_999, LIMITS), None);
        assert!(alert.is_firing());
        assert_eq!(alert.rests(20_000, 30_000, LIMITS), Some(Change::Ended));
        assert_eq!((alert.since_ms(), alert.ended_ms()), (0, Some(30_000)));
    }

    #[test]
    fn one_that_comes_and_goes_stays_until_it_is_quiet() {
        let (rule, mut alert) = (rule(), alert());
        let mut changes = Vec::new();
        for minute in 0..4_u64 {
            let now = minute * 60_000;
            changes.extend(alert.holds(&rule, 2.0, now, LIMITS));
            changes.extend(alert.holds(&rule, 2.0, now + 10_000, LIMITS));
            changes.extend(alert.rests(20_000, now + 40_000, LIMITS));
        }
        use Change::{Ended, Fired, Flapping};
        assert_eq!(changes, [Fired, Ended, Fired, Ended, Flapping]);
        assert!(alert.flapping && alert.is_firing());
        assert_eq!(alert.rests(20_000, 3 * 60_000 + 10_000 + 300_000, LIMITS), Some(Ended));
        assert!(!alert.flapping);
    }

    #[test]
    fn one_that_is_declared_over_is_quiet_until_it_was_over() {
        let (rule, mut alert) = (rule(), alert());
        alert.holds(&rule, 2.0, 10_000, LIMITS);
        alert.dismiss(11_000);
        assert_eq!(alert.holds(&rule, 2.0, 60_000, LIMITS), None);
        assert!(!alert.is_firing());
        assert_eq!(alert.rests(0, 61_000, LIMITS), None);
        alert.holds(&rule, 2.0, 62_000, LIMITS);
        assert_eq!(alert.holds(&rule, 2.0, 72_000, LIMITS), Some(Change::Fired));
    }

    #[test]
    fn a_fingerprint_is_the_same_for_ever() {
        let key = AlertKey::new("A", Labels::from([("destination", "siem")]));
        assert_eq!(key.fingerprint(), AlertKey::new("A", key.labels.clone()).fingerprint());
        assert_ne!(key.fingerprint(), AlertKey::new("B", key.labels.clone()).fingerprint());
        // Published test vector: FNV-1a of "a" is af63dc4c8601ec8c.
        assert_eq!(AlertKey::new("a", Labels::default()).fingerprint(), "af63dc4c8601ec8c");
    }
}
