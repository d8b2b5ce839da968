//! What somebody is told: a group of alerts, at a time, and why now. No secret and no event is in it.

use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::labels::Labels;
use crate::rule::Severity;

/// Why somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// Something has begun to fire, or was added.
    Firing,
    /// Nothing has changed for long.
    Repeated,
    /// Nobody has reacted.
    Escalated,
    /// All of it is over.
    Resolved,
    /// Nothing: that this is told is what it tells (a dead man's switch).
    Heartbeat,
    /// Somebody tries whether it arrives.
    Test,
}

impl Cause {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Repeated => "repeated",
            Self::Escalated => "escalated",
            Self::Resolved => "resolved",
            Self::Heartbeat => "heartbeat",
            Self::Test => "test",
        }
    }
}

/// One alert, as a notice has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The rule's name.
    pub name: String,
    /// Stands for the alert, for ever.
    pub fingerprint: String,
    /// How bad it is.
    pub severity: Severity,
    /// Its labels.
    pub labels: Labels,
    /// What it means, in a few words.
    pub summary: String,
    /// The same at length.
    pub description: String,
    /// Where it is written what to do.
    pub runbook: Option<String>,
    /// The number that was too much or too little.
    pub value: f64,
    /// Since when, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When it ended; `None` while it fires.
    pub ended_ms: Option<u64>,
    /// Whether it comes and goes.
    pub flapping: bool,
}

impl Told {
    /// The alert as it is now.
    pub fn of(alert: &Alert) -> Self {
        Self {
            name: alert.key.rule.clone(),
            fingerprint: alert.key.fingerprint(),
            severity: alert.severity,
            labels: alert.labels.clone(),
            summary: alert.summary.clone(),
            description: alert.description.clone(),
            runbook: alert.runbook.clone(),
            value: alert.value,
            since_ms: alert.since_ms(),
            ended_ms: alert.ended_ms(),
            flapping: alert.flapping,
        }
    }
}

/// What somebody is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Stands for what it is about: a later notice of the same subject takes the place of one that has not been told yet.
    pub subject: String,
    /// Why now.
    pub cause: Cause,
    /// Who is told.
    pub channel: String,
    /// When it was decided, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The labels that its alerts share.
    pub group: Labels,
    /// What it is about, the worst first.
    pub alerts: Vec<Told>,
}

impl Notice {
    /// The worst of it.
    pub fn severity(&self) -> Severity {
        self.alerts.iter().map(|alert| alert.severity).max().unwrap_or(Severity::Info)
    }

    /// Whether all of it is over.
    pub fn is_resolved(&self) -> bool {
        self.cause == Cause::Resolved
    }

    /// One line for people.
    pub fn title(&self) -> String {
        let first = self.alerts.first();
        let name = first.map_or("Keyferry", |alert| alert.name.as_str());
        let summary = first.map_or("", |alert| alert.summary.as_str());
        let more = match self.alerts.len() {
            0 | 1 => String::new(),
            all => format!(" (and {} more)", all - 1),
        };
        format!("[{}, {}] {name}: {summary}{more}", self.cause.as_str(), self.severity())
    }

    /// Everything in words, for mail and chat.
    pub fn text(&self) -> String {
        let mut lines = vec![self.title(), String::new()];
        for alert in &self.alerts {
            let time = |ms| {
                humantime::format_rfc3339_seconds(
                    std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms),
                )
            };
            lines.push(format!(
                "{} ({}){}",
                alert.name,
                alert.severity,
                if alert.flapping { ", comes and goes" } else { "" }
            ));
            lines.push(format!("  {}", alert.summary));
            if !alert.description.is_empty() {
                lines.push(format!("  {}", alert.description));
            }
            lines.push(format!("  labels: {}", alert.labels));
            lines.push(match alert.ended_ms {
                Some(ended) => format!("  from {} to {}", time(alert.since_ms), time(ended)),
                None => format!("  since {}", time(alert.since_ms)),
            });
            lines.extend(alert.runbook.iter().map(|runbook| format!("  what to do: {runbook}")));
        }
        lines.join("\n")
    }
}
