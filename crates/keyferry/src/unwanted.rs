//! `unwanted.json`: which types of events no destination wants, for the provider, which does not journal them then. Specified in `docs/provider-agent.md`.
//!
//! The invariant: **the file is there only while it is true.** It is written by the agent that serves the slot, and only if it knows the filters of every destination; it is taken away when the agent is told to stop. The provider takes
//! one away that an agent has left behind; then the agent that runs writes it again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use keyferry_config::Readiness;
use keyferry_event::filter::Unwanted;
use serde::Serialize;

use crate::shipment::{Plan, content, topics};

const FILE: &str = "unwanted.json";
const VERSION: u32 = 1;

/// What the file says.
#[derive(Serialize)]
struct Said<'a> {
    version: u32,
    #[serde(flatten)]
    unwanted: &'a Unwanted,
}

/// The file of one slot. Threads of several destinations see to it.
pub struct UnwantedFile {
    path: PathBuf,
    temporary: PathBuf,
    unwanted: Unwanted,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    /// It could not be written, and that was said.
    Failed,
    Withdrawn,
}

impl UnwantedFile {
    /// Says in `slot` what `plan` does not want. What another agent has said does not hold any more.
    pub fn begin(slot: &Path, plan: &Plan) -> Self {
        let file = Self {
            path: slot.join(FILE),
            temporary: slot.join("unwanted.json.tmp"),
            unwanted: of_plan(plan),
            state: Mutex::new(State::Held),
        };
        file.remove();
        file.keep();
        file
    }

    /// Writes the file again if it is gone.
    pub fn keep(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::Withdrawn || self.unwanted == Unwanted::default() || self.path.exists() {
            return;
        }
        match self.write() {
            Ok(()) => *state = State::Held,
            Err(error) if *state == State::Held => {
                tracing::warn!("cannot write {}: everything is journaled: {error}", self.path.display());
                *state = State::Failed;
            }
            Err(_) => {}
        }
    }

    /// Takes the file away for good: whoever serves the slot next may want more.
    pub fn withdraw(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Withdrawn;
        self.remove();
    }

    fn remove(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(
                    "cannot remove {}: what it names is not journaled: {error}",
                    self.path.display()
                );
            }
            _ => {}
        }
    }

    fn write(&self) -> io::Result<()> {
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&self.temporary)?;
        let said = Said { version: VERSION, unwanted: &self.unwanted };
        file.write_all(&serde_json::to_vec(&said).map_err(io::Error::other)?)?;
        drop(file);
        fs::rename(&self.temporary, &self.path)
    }
}

/// What no destination of the plan wants: nothing, if one of them is not known yet.
fn of_plan(plan: &Plan) -> Unwanted {
    let filters: Option<Vec<_>> = plan
        .destinations
        .iter()
        .map(Readiness::complete)
        .map(|known| known.map(|destination| (content(destination).filter, topics(destination))))
        .collect();
    filters.map(|filters| Unwanted::by_all(&filters)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use keyferry_config::Sources;
    use serde_json::{Value, json};

    use super::*;

    fn plan(text: &str) -> Plan {
        let sources = Sources::new().with_file_text(Path::new("k.toml"), text);
        Plan::of(keyferry_config::load(&sources).unwrap_or_else(|errors| panic!("{errors}")).config)
    }

    fn destination(name: &str, filter: &str) -> String {
        format!(
            "[[destination]]\nname = \"{name}\"\nbootstrap_servers = \"kafka:9092\"\ntopic_events = \"events\"\n\
             topic_admin_events = \"admin\"\n[destination.filter]\n{filter}\n"
        )
    }

    fn said(slot: &Path) -> Option<Value> {
        fs::read(slot.join(FILE)).ok().map(|text| serde_json::from_slice(&text).unwrap())
    }

    #[test]
    fn the_file_says_what_no_destination_wants_and_only_while_that_is_known() {
        let slot = tempfile::tempdir().unwrap();
        let not_logouts = destination("a", "exclude = \"type = LOGOUT, REGISTER; resourceType = GROUP\"");
        let both =
            not_logouts.clone() + &destination("b", "exclude = \"type = LOGOUT; operationType = CREATE\"");
        let file = UnwantedFile::begin(slot.path(), &plan(&both));
        let expected = json!({"version": 1, "user": ["LOGOUT"], "admin": ["GROUP.CREATE"]});
        assert_eq!(said(slot.path()), Some(expected.clone()));
        fs::remove_file(slot.path().join(FILE)).unwrap();
        file.keep();
        assert_eq!(said(slot.path()), Some(expected));
        file.withdraw();
        file.keep();
        assert_eq!(said(slot.path()), None);
    }

    #[test]
    fn where_anything_may_be_wanted_what_was_said_before_is_taken_back() {
        let everything = destination("a", "");
        let unknown = destination("a", "exclude = \"type = LOGOUT\"") + "[[destination]]\nname = \"b\"\n";
        for text in [everything, unknown] {
            let slot = tempfile::tempdir().unwrap();
            fs::write(slot.path().join(FILE), "{}").unwrap();
            UnwantedFile::begin(slot.path(), &plan(&text)).keep();
            assert_eq!(said(slot.path()), None, "{text}");
        }
    }
}
