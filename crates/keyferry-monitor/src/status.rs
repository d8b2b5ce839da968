//! `status.json`: what the agent reports of itself to the provider and to people. Specified in `docs/provider-agent.md`.
//!
//! A file, because it serves every way of running the agent alike (child, sidecar, service) and can be read when the agent is gone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use keyferry_pipeline::{Phase, Report, State};
use serde::Serialize;

/// What the agent is doing, as the provider reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentState {
    /// The configuration is incomplete or refused.
    Waiting,
    /// Everything is delivered.
    Idle,
    /// Records are on their way.
    Delivering,
    /// The destination takes nothing.
    Blocked,
    /// Told to stop; delivering the rest.
    Draining,
    /// Ended.
    Stopped,
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
    backlog_bytes: u64,
    oldest_unacknowledged: Option<u64>,
    published: u64,
    filtered: u64,
    in_doubt: u64,
    dead_letters: u64,
    damaged_ranges: u64,
    missing_events: u64,
    last_delivery: Option<u64>,
    gap_records: u64,
    held: u64,
    dropped_old_user_events: u64,
    dropped_old_admin_events: u64,
    adopted: bool,
}

impl Status {
    /// The status of an agent that cannot deliver because its configuration lacks something or is refused.
    pub fn waiting(reason: String, backlog_bytes: u64) -> Self {
        let report = Report { reason: Some(reason), backlog_bytes, ..Report::default() };
        Self { state: AgentState::Waiting, ..Self::of(&report, Phase::Running) }
    }

    /// The status that `report` tells in `phase`.
    pub fn of(report: &Report, phase: Phase) -> Self {
        let state = match (phase, report.state) {
            (Phase::Stopped, _) => AgentState::Stopped,
            (Phase::Draining, _) => AgentState::Draining,
            (Phase::Running, State::Idle) => AgentState::Idle,
            (Phase::Running, State::Delivering) => AgentState::Delivering,
            (Phase::Running, State::Blocked) => AgentState::Blocked,
        };
        Self {
            version: 1,
            agent: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            updated: 0,
            state,
            reason: report.reason.clone(),
            backlog_bytes: report.backlog_bytes,
            oldest_unacknowledged: report.oldest_unacknowledged_ms,
            published: report.published,
            filtered: report.filtered,
            in_doubt: report.in_doubt,
            dead_letters: report.dead_letters,
            damaged_ranges: report.damaged_ranges,
            missing_events: report.missing_events,
            last_delivery: report.last_delivery_ms,
            gap_records: report.gap_records,
            held: report.held,
            dropped_old_user_events: report.dropped_old_user_events,
            dropped_old_admin_events: report.dropped_old_admin_events,
            adopted: false,
        }
    }

    /// The same, of a slot that another process left behind if `adopted`.
    #[must_use]
    pub fn of_adopted(self, adopted: bool) -> Self {
        Self { adopted, ..self }
    }
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
            ..Report::default()
        };
        file.write(Status::of(&report, Phase::Running), 42);
        let read = || -> serde_json::Value {
            serde_json::from_slice(&fs::read(slot.path().join("status.json")).unwrap()).unwrap()
        };
        assert_eq!(
            read(),
            serde_json::json!({
                "version": 1, "agent": env!("CARGO_PKG_VERSION"), "pid": std::process::id(), "updated": 42,
                "state": "blocked", "reason": "no connection", "backlog_bytes": 0, "oldest_unacknowledged": null,
                "published": 7, "filtered": 0, "in_doubt": 0, "dead_letters": 0, "damaged_ranges": 0,
                "missing_events": 0, "last_delivery": null, "gap_records": 0, "held": 0,
                "dropped_old_user_events": 0, "dropped_old_admin_events": 0, "adopted": false,
            })
        );
        file.write(Status::of(&report, Phase::Running), 43);
        assert_eq!(read()["updated"], 42, "an unchanged status must not be written again");
        file.write(Status::of(&report, Phase::Draining), 44);
        assert_eq!(read()["state"], "draining");
    }
}
