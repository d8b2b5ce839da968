//! Giving way to delivery.
//!
//! The invariant: **nothing is sent again while an agent says that what has not been sent at all is pressing.** The agent is another process: it is asked by its socket, once a
//! second. Where none runs, or none answers, there is nobody to give way to.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::control::reach::Directory;

/// How long an answer of the agent holds.
const INTERVAL: Duration = Duration::from_secs(1);

/// Knows whether delivery to a destination is pressing.
pub struct Pressure<'a> {
    directory: &'a Path,
    destination: &'a str,
    asked: Option<Instant>,
}

impl<'a> Pressure<'a> {
    /// That of `destination`, with a journal or slot at `directory`.
    pub fn of(directory: &'a Path, destination: &'a str) -> Self {
        Self { directory, destination, asked: None }
    }

    /// Why nothing must be sent now; `None` if it may. Between two looks it may.
    pub fn obstacle(&mut self) -> Option<String> {
        if self.asked.is_some_and(|asked| asked.elapsed() < INTERVAL) {
            return None;
        }
        self.asked = Some(Instant::now());
        self.ask()
    }

    /// Waits until nothing is in the way any more.
    pub fn wait(&mut self) {
        while self.ask().is_some() {
            std::thread::sleep(INTERVAL);
        }
    }

    fn ask(&self) -> Option<String> {
        let agents = Directory::at(self.directory).and_then(|directory| directory.agents());
        let agents = agents.inspect_err(|error| tracing::debug!("no agent can be asked: {error}")).ok()?;
        let destinations = agents.iter().flat_map(|agent| &agent.status.destinations);
        let mut slots = destinations.filter(|one| one.name == self.destination).flat_map(|one| &one.slots);
        let pressed = slots.find(|slot| slot.backlog.pauses_replay)?;
        let why = pressed.backlog.reason.as_deref().unwrap_or_default();
        Some(format!(
            "backpressure of {} in {} is {}: {why}",
            self.destination, pressed.slot, pressed.backlog.level
        ))
    }
}
