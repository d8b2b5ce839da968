//! Which agents serve a directory, and how they are reached.
//!
//! A child of Keycloak has its socket in its slot, an agent of a whole journal in the journal. What an operator names may be either: a journal stands for its own agent
//! and those of its slots, a slot for its own agent or for the journal's, of which then only this slot is meant.

use std::path::{Path, PathBuf};

use keyferry_server::client::{Listening, Method};
use keyferry_server::model::{OfSlots, Status};
use keyferry_server::{Client, ClientError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::journal::slot::Slot;

/// A running agent.
pub struct Agent {
    client: Client,
    /// The only slot that is meant.
    slot: Option<String>,
    /// What it said when it was found.
    pub status: Status,
}

/// What the operator means.
pub struct Directory {
    path: PathBuf,
    /// Its slots, none of which need be there yet if an agent is.
    pub slots: Vec<Slot>,
}

impl Directory {
    /// The journal or slot at `path`.
    ///
    /// # Errors
    /// It is neither, and has no agent.
    pub fn at(path: &Path) -> Result<Self, Error> {
        let slots = match Slot::all_of(path) {
            Err(Error::NoJournal(_)) if Client::of(path).path().exists() => Vec::new(),
            slots => slots?,
        };
        Ok(Self { path: path.to_owned(), slots })
    }

    /// The agents that serve it, and that answer.
    ///
    /// # Errors
    /// One is there, and cannot be asked.
    pub fn agents(&self) -> Result<Vec<Agent>, Error> {
        let mut agents = Vec::new();
        let own = std::iter::once(self.path.as_path());
        let of_slots = self.slots.iter().map(Slot::path).filter(|slot| *slot != self.path);
        for directory in own.chain(of_slots) {
            agents.extend(Agent::of(directory, None)?);
        }
        if agents.is_empty()
            && let Some((journal, slot)) = self.as_slot()
        {
            agents.extend(Agent::of(&journal, Some(slot))?);
        }
        Ok(agents)
    }

    /// The journal that this is a slot of, and its name there.
    fn as_slot(&self) -> Option<(PathBuf, String)> {
        let path = self.path.canonicalize().ok()?;
        let name = path.file_name()?.to_str().filter(|name| name.starts_with("slot-"))?;
        Some((path.parent()?.to_owned(), name.to_owned()))
    }
}

impl Agent {
    /// The agent with its socket in `directory`, if there is one; of `slot` only, if that is given.
    fn of(directory: &Path, slot: Option<String>) -> Result<Option<Self>, ClientError> {
        let client = Client::of(directory);
        match client.get::<Status>("/api/v1/status") {
            Ok(status) => {
                let status = match &slot {
                    Some(slot) => status.of_slot(slot),
                    None => status,
                };
                Ok(Some(Self { client, slot, status }))
            }
            Err(ClientError::NoAgent(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        self.client.path()
    }

    /// What is at `path`, below `/api/v1`.
    ///
    /// # Errors
    /// The agent does not answer, or there is nothing.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.client.get(&format!("/api/v1/{path}"))
    }

    /// Listens to what it tells once a second.
    ///
    /// # Errors
    /// The agent does not answer, or as many listen already as may.
    pub fn listen(&self) -> Result<Listening, ClientError> {
        self.client.listen("/api/v1/stream")
    }

    /// Has the agent do what is there to be done with `body`.
    ///
    /// # Errors
    /// The agent does not answer, or refuses it.
    pub fn submit<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.client.submit(&format!("/api/v1/{path}"), body)
    }

    /// Puts `body` there.
    ///
    /// # Errors
    /// The agent does not answer, or refuses it.
    pub fn put_there<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.client.put(&format!("/api/v1/{path}"), body)
    }

    /// Has the agent change its configuration, if that is still the one with the hash `expected`.
    ///
    /// # Errors
    /// The agent does not answer, or refuses it.
    pub fn change_config<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        expected: Option<&str>,
    ) -> Result<T, ClientError> {
        self.client.ask_expecting(method, &format!("/api/v1/{path}"), body, expected)
    }

    /// Takes away what is there.
    ///
    /// # Errors
    /// The agent does not answer, or refuses it.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.client.delete(&format!("/api/v1/{path}"))
    }

    /// The destination that is meant: the named one, or the only one.
    ///
    /// # Errors
    /// There are several, and none is named.
    pub fn destination(&self, named: Option<&str>) -> Result<String, Error> {
        match (named, self.status.destinations.as_slice()) {
            (Some(name), _) => Ok(name.to_owned()),
            (None, [only]) => Ok(only.name.clone()),
            (None, []) => Err(Error::NothingShipped(self.socket().to_owned())),
            (None, several) => {
                let names: Vec<_> = several.iter().map(|destination| destination.name.as_str()).collect();
                Err(Error::WhichDestination(names.join(", ")))
            }
        }
    }

    /// The destinations that are looked at: the named one, or all.
    pub fn destinations(&self, named: Option<&str>) -> Vec<String> {
        let all = self.status.destinations.iter().map(|destination| destination.name.clone());
        named.map_or_else(|| all.collect(), |name| vec![name.to_owned()])
    }

    /// One aspect of a destination.
    ///
    /// # Errors
    /// The agent does not answer, or there is no such destination.
    pub fn look<T: DeserializeOwned>(
        &self,
        destination: &str,
        aspect: &str,
    ) -> Result<OfSlots<T>, ClientError> {
        self.client.get(&self.target(destination, aspect))
    }

    /// Puts `body` to one aspect of a destination; answers with its new state.
    ///
    /// # Errors
    /// The agent does not answer, or refuses it.
    pub fn put<T: DeserializeOwned>(
        &self,
        destination: &str,
        aspect: &str,
        body: &impl Serialize,
    ) -> Result<OfSlots<T>, ClientError> {
        self.client.put(&self.target(destination, aspect), body)
    }

    /// Has the agent do something with a destination; answers with its new state.
    ///
    /// # Errors
    /// The agent does not answer, or refuses it.
    pub fn post<T: DeserializeOwned>(
        &self,
        destination: &str,
        deed: &str,
    ) -> Result<OfSlots<T>, ClientError> {
        self.client.post(&self.target(destination, deed))
    }

    fn target(&self, destination: &str, aspect: &str) -> String {
        let slot = self.slot.as_ref().map(|slot| format!("?slot={slot}")).unwrap_or_default();
        format!("/api/v1/destinations/{}/{aspect}{slot}", escaped(destination))
    }
}

/// `text` as a segment of a path.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        assert_eq!(escaped("siem-1"), "siem-1");
        assert_eq!(escaped("../status?x y"), "..%2Fstatus%3Fx%20y");
    }
}
