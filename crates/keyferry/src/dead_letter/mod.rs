//! `keyferry dead-letter`: what an operator does with records that Kafka can never take where they belong.
//!
//! The invariant: **a dead letter leaves its file only when Kafka has acknowledged it, or when the operator drops it.** A crash in between leaves a copy with the same
//! id, never a loss.
//!
//! The agent may add to the file at any moment, also while this runs. Each side holds the file's own lock for the moment of its change only, so that the agent never waits
//! for a retry; and no line is lost, because a change that takes lines out reads the file anew under that lock. What two operators must not do at the same time is
//! to send the same letters: so a retry or a drop holds the lock of the slot's `dead-letters.lock` from its first look to its end, which no agent ever takes.
//!
//! - `letters`: what lies in the slots, and what of it is asked for.
//! - `printing`: what people see of it.
//! - `retrying`: how it is sent.

mod letters;
mod printing;
mod retrying;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use keyferry_kafka::{KafkaSink, Mark, ProducerSettings};
use serde::Serialize;

use crate::cli::{
    ChosenLetters, ConnectionArguments, DeadLetterArguments, DeadLetterCommand, RetryArguments,
};
use crate::connection;
use crate::error::{Error, Finding};
use crate::terminal;
use letters::{Chosen, Work, all_of, choose};
use printing::Refused;
use retrying::{Courier, Fate, SystemTimer};

/// Lists, shows, sends again or drops.
///
/// # Errors
/// See [`Error`]: the files cannot be read or written, somebody else is at work on them, or Kafka takes nothing.
pub fn run(arguments: &DeadLetterArguments) -> Result<Finding, Error> {
    let mut out = terminal::output();
    let finding = match &arguments.command {
        DeadLetterCommand::Ls(asked) => {
            let boxes = all_of(&asked.directory, asked.destination.as_deref())?;
            printing::list(&boxes, asked.json, &mut out)
        }
        DeadLetterCommand::Show(asked) => show(asked, &mut out),
        DeadLetterCommand::Retry(retry) => carry_out(&retry.chosen, &mut out, |work| send(work, retry)),
        DeadLetterCommand::Drop(asked) => carry_out(asked, &mut out, |work| Ok(Done::dropped(work))),
    };
    out.flush()?;
    finding
}

fn show(asked: &ChosenLetters, out: &mut dyn Write) -> Result<Finding, Error> {
    let boxes = all_of(&asked.look.directory, asked.look.destination.as_deref())?;
    let Chosen { work, unknown } = choose(&boxes, &asked.which);
    for Work { letter_box, letters } in &work {
        for letter in letters {
            printing::show(letter_box, letter, asked.look.json, out)?;
        }
    }
    printing::not_found(&unknown);
    Ok(finding(unknown.is_empty()))
}

/// What became of the letters of one file.
#[derive(Debug, Default)]
struct Done {
    /// Those that leave the file.
    gone: BTreeSet<String>,
    delivered: u64,
    dropped: u64,
    /// Those that Kafka refused again.
    refused: Vec<Refused>,
    /// Why not all were tried.
    ended: Option<String>,
}

impl Done {
    fn dropped(work: &Work<'_>) -> Self {
        let gone: BTreeSet<_> = work.letters.iter().map(|letter| letter.id.clone()).collect();
        Self { dropped: gone.len() as u64, gone, ..Self::default() }
    }
}

/// Does with the chosen letters what `carry_out` does, and takes those out of their file that it has settled.
fn carry_out(
    asked: &ChosenLetters,
    out: &mut dyn Write,
    mut carry_out: impl FnMut(&Work<'_>) -> Result<Done, Error>,
) -> Result<Finding, Error> {
    let _locks = letters::lock(&asked.look.directory)?;
    let boxes = all_of(&asked.look.directory, asked.look.destination.as_deref())?;
    let Chosen { work, unknown } = choose(&boxes, &asked.which);
    let mut all_went_well = unknown.is_empty();
    for work in &work {
        let done = carry_out(work)?;
        work.letter_box.remove(&done.gone)?;
        all_went_well &= done.refused.is_empty();
        printing::done(work.letter_box, &done, asked.look.json, out)?;
        if let Some(reason) = done.ended {
            out.flush()?;
            let left = work.letters.len() - done.gone.len();
            return Err(Error::Retry { delivered: done.delivered, left, reason });
        }
    }
    printing::not_found(&unknown);
    Ok(finding(all_went_well))
}

fn finding(all_went_well: bool) -> Finding {
    if all_went_well { Finding::Nothing } else { Finding::Something }
}

/// Sends the chosen letters of one file to where they belong.
fn send(work: &Work<'_>, retry: &RetryArguments) -> Result<Done, Error> {
    let sink = sink(&work.letter_box.destination, &retry.connection)?;
    let patience = Duration::from_secs(retry.connection.timeout);
    let (fates, ended) = Courier::new(&work.letters, sink, SystemTimer::start(), patience).deliver();
    let mut done = Done { ended, ..Done::default() };
    for (letter, fate) in work.letters.iter().zip(fates) {
        let id = letter.id.clone();
        match fate {
            Fate::Open => {}
            Fate::Delivered => {
                done.delivered += 1;
                done.gone.insert(id);
            }
            Fate::Refused(cause) => done.refused.push(Refused { id, cause }),
        }
    }
    Ok(done)
}

/// A producer of its own, whose records are marked as sent again: they come out of their order.
fn sink(destination: &str, arguments: &ConnectionArguments) -> Result<KafkaSink, Error> {
    let destination = connection::destination(arguments, None, Some(destination))?;
    let properties = connection::properties(arguments, &destination);
    let value = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let settings = ProducerSettings::new(properties).with_mark(Mark { name: c"ce_replay", value });
    KafkaSink::new(settings).map_err(|failure| Error::Sink(failure.reason))
}

/// One line of JSON.
fn write_json(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)
}
