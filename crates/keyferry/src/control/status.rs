//! `keyferry status`: what agents say of themselves, or what they wrote down last.

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::cli::StatusArguments;
use crate::control::print;
use crate::control::reach::{Agent, Directory};
use crate::error::{Error, Finding};
use crate::journal::slot::Slot;
use crate::shipment::wall_ms;
use crate::terminal;

/// How often `--watch` looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Goes to the upper left corner and clears from there.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Tells how it stands, once or again and again.
///
/// # Errors
/// See [`Error`].
pub fn run(arguments: &StatusArguments) -> Result<Finding, Error> {
    loop {
        let seen = Seen::of(&Directory::at(&arguments.directory)?)?;
        let mut text = Vec::new();
        if arguments.json {
            seen.print_json(&mut text)?
        } else {
            seen.print(&mut text)?
        }
        let mut out = terminal::output();
        if arguments.watch && !arguments.json && io::stdout().is_terminal() {
            out.write_all(CLEAR.as_bytes())?;
        }
        out.write_all(&text)?;
        out.flush()?;
        drop(out);
        if !arguments.watch {
            return Ok(seen.finding());
        }
        std::thread::sleep(INTERVAL);
    }
}

/// What there is to see.
struct Seen {
    agents: Vec<Agent>,
    /// What was written down of slots that no agent serves.
    reports: Vec<WrittenDown>,
}

/// A `status.json`.
pub struct WrittenDown {
    /// The slot.
    pub slot: String,
    /// The file.
    pub path: PathBuf,
    /// How old it is, in milliseconds.
    pub age_ms: u64,
    /// What it says.
    pub status: Value,
}

impl Seen {
    fn of(directory: &Directory) -> Result<Self, Error> {
        let agents = directory.agents()?;
        let unserved = directory
            .slots
            .iter()
            .filter(|slot| !agents.iter().any(|agent| agent.status.serves(&slot.name())));
        let mut reports = Vec::new();
        for slot in unserved {
            reports.extend(WrittenDown::of(slot)?);
        }
        Ok(Self { agents, reports })
    }

    /// Something is wrong where not everything is being delivered.
    fn finding(&self) -> Finding {
        let all_is_well = !self.agents.is_empty()
            && self.agents.iter().all(|agent| agent.status.ready)
            && self.reports.iter().all(|report| report.status["backlog_bytes"] == 0);
        if all_is_well { Finding::Nothing } else { Finding::Something }
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        for agent in &self.agents {
            print::status(&agent.status, out)?;
        }
        if self.agents.is_empty() {
            print::no_agent(out)?;
        }
        for report in &self.reports {
            print::written_down(report, out)?;
        }
        Ok(())
    }

    fn print_json(&self, out: &mut dyn Write) -> Result<(), Error> {
        for agent in &self.agents {
            let line = Line {
                source: "agent",
                path: agent.socket().to_owned(),
                age_ms: None,
                status: &agent.status,
            };
            write_line(&line, out)?;
        }
        for WrittenDown { path, age_ms, status, .. } in &self.reports {
            write_line(&Line { source: "file", path: path.clone(), age_ms: Some(*age_ms), status }, out)?;
        }
        Ok(())
    }
}

/// A status as JSON, with where it is from.
#[derive(Serialize)]
struct Line<'a, T> {
    /// `agent` or `file`.
    source: &'static str,
    path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<u64>,
    status: &'a T,
}

fn write_line(line: &impl Serialize, out: &mut dyn Write) -> Result<(), Error> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}

impl WrittenDown {
    /// What is written down of `slot`, if anything is.
    fn of(slot: &Slot) -> Result<Option<Self>, Error> {
        let path = slot.path().join("status.json");
        let unreadable = |source| Error::Directory { path: path.clone(), source };
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(unreadable)?,
        };
        let status: Value = serde_json::from_slice(&text).map_err(|error| unreadable(error.into()))?;
        let updated = status["updated"].as_u64().unwrap_or_default();
        Ok(Some(Self { slot: slot.name(), age_ms: wall_ms().saturating_sub(updated), path, status }))
    }
}
