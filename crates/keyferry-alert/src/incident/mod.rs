//! Incidents: what has gone wrong, who knows, what was done about it, and whether that helped.
//!
//! - [`action`]: what can be done, and by what rules it is done without anybody asking.
//! - [`evidence`]: what is kept of the moment in which an incident was opened.
//! - [`manager`]: all incidents.
//! - [`report`]: what is to be read afterwards.

pub mod action;
pub mod evidence;
pub mod manager;
pub mod report;

use serde::{Deserialize, Serialize};

use crate::alert::AlertKey;
use crate::error::Error;
use crate::labels::Labels;
use crate::rule::Severity;

pub use action::{Action, Playbook, Remedies};
pub use evidence::{Evidence, EvidenceSource};
pub use manager::{Demand, IncidentPolicy, IncidentResponseManager};

/// Entries of a timeline: an incident of days is told by its beginning and its end.
const MOST_ENTRIES: usize = 200;

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nobody has said that it is taken care of.
    Open,
    /// Somebody has.
    Acknowledged,
    /// Something is being done.
    Mitigating,
    /// Its alert is over.
    Resolved,
    /// It will not be opened again.
    Closed,
}

impl State {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Mitigating => "mitigating",
            Self::Resolved => "resolved",
            Self::Closed => "closed",
        }
    }

    /// Whether it is going on.
    pub fn is_going_on(self) -> bool {
        matches!(self, Self::Open | Self::Acknowledged | Self::Mitigating)
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who did it.
    pub who: String,
    /// What.
    pub what: String,
}

/// Something that was done about an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its number, unique among all incidents.
    pub number: u64,
    /// What.
    pub action: Action,
    /// The playbook and the step in it; `None` if somebody asked for it.
    pub step: Option<(String, usize)>,
    /// When it was decided.
    pub at_ms: u64,
    /// When it is to be looked whether it has helped.
    pub check_ms: u64,
    /// How it went.
    pub state: RunState,
    /// What puts back what it has changed.
    pub undo: Option<Action>,
}

/// How something went that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It is being done.
    Ordered,
    /// It is done, and it shows later whether it has helped.
    Applied,
    /// The alert ended.
    Helped,
    /// The alert did not end.
    DidNotHelp,
    /// What it changed is as before.
    PutBack,
    /// It could not be done.
    Failed,
    /// It would have been done.
    Dry,
}

impl RunState {
    fn is_under_way(self) -> bool {
        matches!(self, Self::Ordered | Self::Applied)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Applied => "done, not checked yet",
            Self::Helped => "helped",
            Self::DidNotHelp => "did not help",
            Self::PutBack => "put back",
            Self::Failed => "failed",
            Self::Dry => "dry run",
        }
    }
}

/// Something that has gone wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// What people call it: `inc-` and a number.
    pub id: String,
    /// Its alert, which stays the same when it happens again.
    pub key: AlertKey,
    /// What has gone wrong.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// The labels of its alert.
    pub labels: Labels,
    /// Where it is written what to do.
    pub runbook: Option<String>,
    /// Where it stands.
    pub state: State,
    /// What keeps anything from being done by itself.
    pub quiet: Option<String>,
    /// Since when it was so, before anybody saw it.
    pub since_ms: u64,
    /// When it was opened, the last time.
    pub opened_ms: u64,
    /// When somebody said that it is taken care of.
    pub acknowledged_ms: Option<u64>,
    /// When its alert ended.
    pub resolved_ms: Option<u64>,
    /// How often it was opened again.
    pub reopened: u32,
    /// Whether nobody but a person can help.
    pub escalated: bool,
    /// What happened.
    pub timeline: Vec<Entry>,
    /// What was kept of the moment in which it was opened.
    pub evidence: Vec<Evidence>,
    /// What was done.
    pub runs: Vec<Run>,
}

impl Incident {
    /// Notes what happened.
    fn note(&mut self, at_ms: u64, who: &str, what: impl Into<String>) {
        if self.timeline.len() >= MOST_ENTRIES {
            // The beginning and the end tell most.
            self.timeline.remove(MOST_ENTRIES / 2);
        }
        self.timeline.push(Entry { at_ms, who: who.to_owned(), what: what.into() });
    }

    /// Goes to another state, if the one that it is in allows it.
    fn go(&mut self, wanted: State) -> Result<(), Error> {
        use State::{Acknowledged, Closed, Mitigating, Open, Resolved};
        let allowed = match (self.state, wanted) {
            (Open | Mitigating, Acknowledged) => true,
            (Open | Acknowledged | Mitigating, Mitigating | Resolved) => true,
            (Resolved, Open | Closed) => true,
            (Open | Acknowledged | Mitigating | Resolved | Closed, _) => false,
        };
        if !allowed {
            return Err(Error::Transition {
                id: self.id.clone(),
                state: self.state.as_str(),
                wanted: wanted.as_str(),
            });
        }
        self.state = wanted;
        Ok(())
    }
}
