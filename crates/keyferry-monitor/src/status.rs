//! `status.json`: what the agent reports of itself to the provider and to people. Specified in `docs/provider-agent.md`.
//!
//! A file, because it serves every way of running the agent alike (child, sidecar, service) and can be read when the agent is gone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use keyferry_pipeline::{Phase, Report, State};
use serde::Serialize;

/// What the agent is doing, as the provider reads it. Of several destinations the first in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentState {
    /// The destination takes nothing.
    Blocked,
    /// The configuration is incomplete or refused.
    Waiting,
    /// Told to stop; delivering the rest.
    Draining,
    /// Records are on their way.
    Delivering,
    /// Everything is delivered.
    Idle,
    /// Ended.
    Stopped,
}

impl AgentState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Blocked, Self::Waiting, Self::Draining, Self::Delivering, Self::Idle, Self::Stopped];

    /// The state that `report` tells in `phase`.
    pub fn of(report: &Report, phase: Phase) -> Self {
        match (phase, report.state) {
            (Phase::Stopped, _) => Self::Stopped,
            (Phase::Draining, _) => Self::Draining,
            (Phase::Running, State::Idle) => Self::Idle,
            (Phase::Running, State::Delivering) => Self::Delivering,
            (Phase::Running, State::Blocked) => Self::Blocked,
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Waiting => "waiting",
            Self::Draining => "draining",
            Self::Delivering => "delivering",
            Self::Idle => "idle",
            Self::Stopped => "stopped",
        }
    }
}

/// What is counted of one destination, or of all of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Counts {
    backlog_bytes: u64,
    oldest_unacknowledged: Option<u64>,
    published: u64,
    filtered: u64,
    in_doubt: u64,
    dead_letters: u64,
    dead_letters_in_topic: u64,
    passed_over: u64,
    damaged_ranges: u64,
    missing_events: u64,
    last_delivery: Option<u64>,
    gap_records: u64,
    held: u64,
    dropped_old_user_events: u64,
    dropped_old_admin_events: u64,
}

impl Counts {
    fn of(report: &Report) -> Self {
        Self {
            backlog_bytes: report.backlog_bytes,
            oldest_unacknowledged: report.oldest_unacknowledged_ms,
            published: report.published,
            filtered: report.filtered,
            in_doubt: report.in_doubt,
            dead_letters: report.dead_letters,
            dead_letters_in_topic: report.dead_letters_in_topic,
            passed_over: report.passed_over,
            damaged_ranges: report.damaged_ranges,
            missing_events: report.missing_events,
            last_delivery: report.last_delivery_ms,
            gap_records: report.gap_records,
            held: report.held,
            dropped_old_user_events: report.dropped_old_user_events,
            dropped_old_admin_events: report.dropped_old_admin_events,
        }
    }

    /// Records and events are added up. What every destination finds in the one journal is not: the most that one of them has found counts.
    fn and(self, other: &Self) -> Self {
        Self {
            backlog_bytes: self.backlog_bytes.max(other.backlog_bytes),
            oldest_unacknowledged: [self.oldest_unacknowledged, other.oldest_unacknowledged]
                .into_iter()
                .flatten()
                .min(),
            published: self.published + other.published,
            filtered: self.filtered + other.filtered,
            in_doubt: self.in_doubt + other.in_doubt,
            dead_letters: self.dead_letters + other.dead_letters,
            dead_letters_in_topic: self.dead_letters_in_topic + other.dead_letters_in_topic,
            passed_over: self.passed_over + other.passed_over,
            damaged_ranges: self.damaged_ranges.max(other.damaged_ranges),
            missing_events: self.missing_events.max(other.missing_events),
            last_delivery: self.last_delivery.max(other.last_delivery),
            gap_records: self.gap_records + other.gap_records,
            held: self.held + other.held,
            dropped_old_user_events: self.dropped_old_user_events + other.dropped_old_user_events,
            dropped_old_admin_events: self.dropped_old_admin_events + other.dropped_old_admin_events,
        }
    }
}

/// How the delivery to one destination stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DestinationStatus {
    name: String,
    /// What is being done.
    pub state: AgentState,
    /// What an operator should know.
    pub reason: Option<String>,
    /// The circuit breaker's state; `None` where nothing is being shipped.
    breaker: Option<&'static str>,
    #[serde(flatten)]
    counts: Counts,
}

impl DestinationStatus {
    /// The status of a destination that nothing can be delivered to because its configuration lacks something or is refused.
    pub fn waiting(name: &str, reason: String, backlog_bytes: u64) -> Self {
        let counts = Counts { backlog_bytes, ..Counts::default() };
        Self {
            name: name.to_owned(),
            state: AgentState::Waiting,
            reason: Some(reason),
            breaker: None,
            counts,
        }
    }

    /// The status that `report` tells in `phase`.
    pub fn of(name: &str, report: &Report, phase: Phase) -> Self {
        let state = AgentState::of(report, phase);
        Self {
            name: name.to_owned(),
            state,
            reason: report.reason.clone(),
            breaker: Some(report.breaker.state.word()),
            counts: Counts::of(report),
        }
    }

    /// The same, of an agent that has ended.
    #[must_use]
    pub fn stopped(self) -> Self {
        Self { state: AgentState::Stopped, ..self }
    }
}

/// The content of `status.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    version: u32,
    agent: &'static str,
    pid: u32,
    /// When this was written; set by [`StatusFile::write`].
    updated: u64,
    /// What the agent is doing.
    pub state: AgentState,
    /// What an operator should know.
    pub reason: Option<String>,
    #[serde(flatten)]
    counts: Counts,
    adopted: bool,
    destinations: Vec<DestinationStatus>,
}

impl Status {
    /// The status of an agent that cannot deliver to anybody, for want of a configuration or of the slot's lock.
    pub fn waiting(reason: String, backlog_bytes: u64) -> Self {
        let counts = Counts { backlog_bytes, ..Counts::default() };
        Self { state: AgentState::Waiting, reason: Some(reason), counts, ..Self::of(Vec::new()) }
    }

    /// The status of an agent that delivers to `destinations`.
    pub fn of(destinations: Vec<DestinationStatus>) -> Self {
        let all = |all: Counts, one: &DestinationStatus| all.and(&one.counts);
        Self {
            version: 1,
            agent: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            updated: 0,
            state: destinations.iter().map(|one| one.state).min().unwrap_or(AgentState::Stopped),
            reason: reasons(&destinations),
            counts: destinations.iter().fold(Counts::default(), all),
            adopted: false,
            destinations,
        }
    }

    /// The same, of a slot that another process left behind if `adopted`.
    #[must_use]
    pub fn of_adopted(self, adopted: bool) -> Self {
        Self { adopted, ..self }
    }

    /// The same, of an agent that has ended.
    #[must_use]
    pub fn stopped(self) -> Self {
        let destinations = self.destinations.into_iter().map(DestinationStatus::stopped).collect();
        Self { state: AgentState::Stopped, destinations, ..self }
    }
}

/// What an operator should know of all of them, each by its name where there are several.
fn reasons(destinations: &[DestinationStatus]) -> Option<String> {
    let reasons = destinations.iter().filter_map(|one| Some((one, one.reason.as_ref()?)));
    let texts: Vec<String> = match destinations {
        [_] => reasons.map(|(_, reason)| reason.clone()).collect(),
        _ => reasons.map(|(one, reason)| format!("{}: {reason}", one.name)).collect(),
    };
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// Writes `status.json` when something has changed.
#[derive(Debug)]
pub struct StatusFile {
    path: PathBuf,
    temporary: PathBuf,
    written: Option<Status>,
    complained: bool,
}

impl StatusFile {
    /// The file in `slot`, written by the agent that serves it.
    pub fn in_slot(slot: &Path) -> Self {
        Self::by_way_of("status.json.tmp", slot)
    }

    /// The same, written by an agent that does not serve the slot yet, maybe while another one does: each has a temporary file of its own.
    pub fn of_waiting(slot: &Path) -> Self {
        Self::by_way_of("status.json.waiting.tmp", slot)
    }

    fn by_way_of(temporary: &str, slot: &Path) -> Self {
        Self {
            path: slot.join("status.json"),
            temporary: slot.join(temporary),
            written: None,
            complained: false,
        }
    }

    /// Replaces the file with `status`, unless that is what it says already.
    pub fn write(&mut self, status: Status, now_ms: u64) {
        if self.written.as_ref() == Some(&status) {
            return;
        }
        match self.replace(&Status { updated: now_ms, ..status.clone() }) {
            Ok(()) => {
                self.written = Some(status);
                self.complained = false;
            }
            Err(error) if !self.complained => {
                tracing::warn!("cannot write {}: {error}", self.path.display());
                self.complained = true;
            }
            Err(_) => {}
        }
    }

    fn replace(&self, status: &Status) -> io::Result<()> {
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&self.temporary)?;
        file.write_all(&serde_json::to_vec(status).map_err(io::Error::other)?)?;
        drop(file);
        fs::rename(&self.temporary, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_the_contract_specifies() {
        let slot = tempfile::tempdir().unwrap();
        let mut file = StatusFile::in_slot(slot.path());
        let report = Report {
            state: State::Blocked,
            reason: Some("no connection".to_owned()),
            published: 7,
            dead_letters: 3,
            dead_letters_in_topic: 2,
            ..Report::default()
        };
        let status = |phase| Status::of(vec![DestinationStatus::of("default", &report, phase)]);
        file.write(status(Phase::Running), 42);
        let read = || -> serde_json::Value {
            serde_json::from_slice(&fs::read(slot.path().join("status.json")).unwrap()).unwrap()
        };
        let counts = serde_json::json!({
            "backlog_bytes": 0, "oldest_unacknowledged": null, "published": 7, "filtered": 0, "in_doubt": 0,
            "dead_letters": 3, "dead_letters_in_topic": 2, "passed_over": 0, "damaged_ranges": 0,
            "missing_events": 0, "last_delivery": null, "gap_records": 0, "held": 0,
            "dropped_old_user_events": 0, "dropped_old_admin_events": 0,
        });
        let with_counts = |mut status: serde_json::Value| {
            status.as_object_mut().unwrap().extend(counts.as_object().unwrap().clone());
            status
        };
        let reason = "no connection";
        let destination = with_counts(
            serde_json::json!({"name": "default", "state": "blocked", "reason": reason, "breaker": "closed"}),
        );
        let expected = with_counts(serde_json::json!({
            "version": 1, "agent": env!("CARGO_PKG_VERSION"), "pid": std::process::id(), "updated": 42,
            "state": "blocked", "reason": reason, "adopted": false, "destinations": [destination],
        }));
        assert_eq!(read(), expected);
        file.write(status(Phase::Running), 43);
        assert_eq!(read()["updated"], 42, "an unchanged status must not be written again");
        file.write(status(Phase::Draining), 44);
        assert_eq!(read()["state"], "draining");
    }

    #[test]
    fn several_destinations_are_told_of_as_the_worst_of_them_stands() {
        let near = Report {
            state: State::Idle,
            published: 5,
            missing_events: 2,
            last_delivery_ms: Some(90),
            ..Report::default()
        };
        let far = Report {
            state: State::Blocked,
            reason: Some("no connection".to_owned()),
            backlog_bytes: 100,
            oldest_unacknowledged_ms: Some(40),
            published: 3,
            missing_events: 2,
            last_delivery_ms: Some(10),
            ..Report::default()
        };
        let status = Status::of(vec![
            DestinationStatus::of("near", &near, Phase::Running),
            DestinationStatus::of("far", &far, Phase::Running),
        ]);
        assert_eq!(
            (status.state, status.reason.as_deref()),
            (AgentState::Blocked, Some("far: no connection"))
        );
        let counts = &status.counts;
        assert_eq!((counts.published, counts.missing_events, counts.backlog_bytes), (8, 2, 100));
        assert_eq!((counts.oldest_unacknowledged, counts.last_delivery), (Some(40), Some(90)));
    }

    #[test]
    fn the_agent_has_stopped_when_all_of_it_has() {
        let of = |phase| DestinationStatus::of("a", &Report::default(), phase);
        assert_eq!(Status::of(vec![of(Phase::Stopped), of(Phase::Draining)]).state, AgentState::Draining);
        assert_eq!(Status::of(vec![of(Phase::Stopped), of(Phase::Stopped)]).state, AgentState::Stopped);
        let waiting =
            Status::of(vec![of(Phase::Running), DestinationStatus::waiting("b", "no servers".to_owned(), 7)]);
        assert_eq!((waiting.state, waiting.stopped().state), (AgentState::Waiting, AgentState::Stopped));
    }
}
