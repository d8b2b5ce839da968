//! `keyferry journal`: what is in a journal, for a human at three in the morning.
//!
//! The invariant: **looking changes nothing.** No file is written, no lock is taken (who holds one is asked without taking it), and segments that the agent deletes
//! meanwhile are no error. What is read is bounded by what was there when the tool began, so that it ends beside a writer that does not.
//!
//! - `slot`: the slots of a directory, their locks and checkpoints.
//! - `archived`: a slot together with what was moved from it.
//! - `reading`: the items of a slot, up to its present end.
//! - `ls`, `cat`, `check`, `stats`: the tools.

mod archived;
mod cat;
pub mod check;
mod ls;
mod reading;
pub mod slot;
mod stats;

use std::io::{self, Write};

use keyferry_journal::EventView;
use serde::Serialize;

use crate::cli::{JournalArguments, JournalCommand};
use crate::error::{Error, Finding};
use crate::terminal;
use slot::Slot;

/// Runs one of the tools.
///
/// # Errors
/// See [`Error`]: the journal cannot be read, or nothing can be printed.
pub fn run(arguments: &JournalArguments) -> Result<Finding, Error> {
    let look = match &arguments.command {
        JournalCommand::Ls(look) | JournalCommand::Check(look) | JournalCommand::Stats(look) => look,
        JournalCommand::Cat(cat) => &cat.look,
    };
    let slots = Slot::all_with_archive(&look.directory, arguments.archive.as_deref())?;
    let mut out = terminal::output();
    let finding = match &arguments.command {
        JournalCommand::Ls(look) => ls::run(&slots, look.json, &mut out),
        JournalCommand::Cat(cat) => cat::run(&slots, cat, &mut out),
        JournalCommand::Check(look) => check::run(&slots, look.json, &mut out),
        JournalCommand::Stats(look) => stats::run(&slots, look.json, &mut out),
    };
    out.flush()?;
    finding
}

/// Whether an event concerns the user, or the user caused it.
pub fn concerns(event: &EventView<'_>, user: &str) -> bool {
    event.user_id() == Some(user) || keyferry_event::key::concerned_user(event) == Some(user)
}

/// Prints one line of JSON.
fn print_json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
