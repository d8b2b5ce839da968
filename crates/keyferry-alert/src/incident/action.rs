//! What can be done about an incident.
//!
//! The invariant: **nothing is done that is not on the list.** An action is one of a closed set, allowed by the configuration, with a limit, a pause and an end by which it
//! must have helped; no playbook can run a program or send a record.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::labels::{Labels, Matchers};
use crate::units::span;

/// Something that can be done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "action", content = "value", rename_all = "snake_case")]
pub enum Action {
    /// New connections take the place of those that are there, when those have delivered everything.
    Reconnect,
    /// The producers are given up and made anew; what is not acknowledged is sent again.
    RecreateProducer,
    /// Certificates, keys and passwords are read again.
    ReloadCredentials,
    /// Nothing is sent.
    OpenBreaker,
    /// The circuit breaker decides by itself.
    ResetBreaker,
    /// The circuit breaker is held closed.
    CloseBreaker,
    /// The tuner strives for something else.
    TunerProfile(String),
    /// Replays wait.
    PauseReplay,
    /// Replays wait only for a backlog.
    ResumeReplay,
    /// Nothing is kept that is delivered: what was kept for replays is deleted.
    TightenRetention,
    /// What is delivered is kept as configured.
    RestoreRetention,
    /// What is delivered and kept for replays is moved to the archive.
    MoveSegments,
    /// What is delivered is kept where it is.
    KeepSegments,
    /// The fallback servers take the place of the first ones.
    FailOver,
    /// The first servers again.
    FailBack,
    /// The agent ends, and whoever has started it starts it again.
    RestartAgent,
}

impl Action {
    /// The name, without what it is to be.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reconnect => "reconnect",
            Self::RecreateProducer => "recreate_producer",
            Self::ReloadCredentials => "reload_credentials",
            Self::OpenBreaker => "open_breaker",
            Self::ResetBreaker => "reset_breaker",
            Self::CloseBreaker => "close_breaker",
            Self::TunerProfile(_) => TUNER_PROFILE,
            Self::PauseReplay => "pause_replay",
            Self::ResumeReplay => "resume_replay",
            Self::TightenRetention => "tighten_retention",
            Self::RestoreRetention => "restore_retention",
            Self::MoveSegments => "move_segments",
            Self::KeepSegments => "keep_segments",
            Self::FailOver => "fail_over",
            Self::FailBack => "fail_back",
            Self::RestartAgent => "restart_agent",
        }
    }

    /// The action that people write `name`, or `name=value`.
    ///
    /// # Errors
    /// There is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let name = name.replace('-', "_");
        let json = match value {
            Some(value) => serde_json::json!({ "action": name, "value": value }),
            None => serde_json::json!({ "action": name }),
        };
        serde_json::from_value(json).map_err(|_| {
            format!("`{text}` is no action; there are {}, {TUNER_PROFILE}=PROFILE", NAMES.join(", "))
        })
    }

    /// Why nobody ever does what people call `name`, and what else there is; `None` if it is an action.
    pub fn refusal(name: &str) -> Option<String> {
        match name {
            "compress_segments" => Some(format!(
                "delivered segments are read as they were written, so no agent compresses them; move them to another file system by `{}`, or let them go by `{}`",
                Self::MoveSegments.name(),
                Self::TightenRetention.name()
            )),
            name if name == TUNER_PROFILE || NAMES.contains(&name) => None,
            name => Some(format!("`{name}` is no action; there are {}, {TUNER_PROFILE}", NAMES.join(", "))),
        }
    }
}

const TUNER_PROFILE: &str = "tuner_profile";

/// All that need no value.
const NAMES: [&str; 15] = [
    "reconnect",
    "recreate_producer",
    "reload_credentials",
    "open_breaker",
    "reset_breaker",
    "close_breaker",
    "pause_replay",
    "resume_replay",
    "tighten_retention",
    "restore_retention",
    "move_segments",
    "keep_segments",
    "fail_over",
    "fail_back",
    "restart_agent",
];

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TunerProfile(profile) => write!(f, "{TUNER_PROFILE}={profile}"),
            other => f.write_str(other.name()),
        }
    }
}

/// Whoever can do something. It may take its time; nobody waits for it who delivers.
pub trait Remedies {
    /// Does it, where `labels` say (`destination`, `slot`). What puts back what it has changed, if that can be put back.
    ///
    /// # Errors
    /// It cannot be done, and why.
    fn apply(&mut self, action: &Action, labels: &Labels) -> Result<Option<Action>, String>;
}

/// What is done by itself about certain alerts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Playbook {
    /// What it is called.
    pub name: String,
    /// About which alerts.
    #[serde(default, rename = "match")]
    pub matchers: Matchers,
    /// What is done, in this order.
    pub actions: Vec<Step>,
    /// Whether it is only said what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// One action of a playbook.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Step {
    /// What.
    #[serde(flatten)]
    pub action: Action,
    /// How long after the incident was opened at the earliest.
    #[serde(default, with = "span")]
    pub after: Duration,
    /// By when it must have helped.
    #[serde(default = "default_check", with = "span")]
    pub check_after: Duration,
    /// How long it is not done again to the same destination, for whichever incident.
    #[serde(default = "default_cooldown", with = "span")]
    pub cooldown: Duration,
    /// How often it is done about one incident.
    #[serde(default = "default_limit")]
    pub limit: usize,
}

fn default_check() -> Duration {
    Duration::from_secs(30)
}

fn default_cooldown() -> Duration {
    Duration::from_secs(300)
}

fn default_limit() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_one_of_the_list() {
        for name in NAMES {
            let action = Action::parse(name).unwrap();
            assert_eq!((action.name(), action.to_string()), (name, name.to_owned()));
            assert_eq!(Action::refusal(name), None);
        }
        assert_eq!(Action::parse("reset-breaker"), Ok(Action::ResetBreaker));
        assert_eq!(Action::parse("tuner_profile=latency"), Ok(Action::TunerProfile("latency".to_owned())));
        for wrong in ["", "rm -rf /", "tuner_profile", "reconnect now"] {
            assert!(Action::parse(wrong).is_err(), "{wrong}");
        }
        for (never, remedy) in [("compress_segments", "move_segments"), ("recconnect", "reconnect")] {
            let refusal = Action::refusal(never).unwrap_or_else(|| panic!("{never} is not refused"));
            assert!(Action::parse(never).is_err() && refusal.contains(remedy), "{never}: {refusal}");
        }
    }
}
