//! `keyferry verify`: reads topics and proves that nothing is missing, or names what is.
//!
//! - `claim`: what a record says of itself.
//! - `notice`: what a gap record says is missing.
//! - `ledger`: the verification, a state machine without Kafka.
//! - `bounded`: what it remembers, within limits.
//! - `report`: what it found.

mod bounded;
mod claim;
mod ledger;
mod notice;
mod report;

use std::io::Write as _;

use indicatif::{ProgressBar, ProgressStyle};
use keyferry_client::Headers;
use keyferry_kafka::consume::{Begin, Received, TopicReader, Until};

use crate::cli::VerifyArguments;
use crate::connection::Topics;
use crate::error::{Error, Finding};
use crate::terminal;
use claim::{Claim, NotAClaim};
use ledger::{Found, Ledger};
use report::{Report, Verdict};

/// How many records are read between two strokes of the progress bar.
const STROKE: u64 = 4096;

/// Verifies the topics and prints the report.
///
/// # Errors
/// See [`Error`]: the topics cannot be read to their end.
pub fn run(arguments: &VerifyArguments) -> Result<Finding, Error> {
    let topics = Topics::of(&arguments.topics)?;
    let reader = topics.open(Begin::First, Until::PresentEnd)?;
    let report = read(reader)?;
    let mut out = terminal::output();
    if arguments.json {
        serde_json::to_writer(&mut out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        report.print(&mut out)?;
        if report.verdict == Verdict::Incomplete && topics.names.len() == 1 {
            writeln!(
                out,
                "Only {} was read. Numbers run over all topics of a destination: name the others too with --topic.",
                topics.names[0]
            )?;
        }
    }
    out.flush()?;
    Ok(if report.verdict.is_complete() { Finding::Nothing } else { Finding::Something })
}

fn read(reader: TopicReader) -> Result<Report, Error> {
    let bar = ProgressBar::new(reader.total());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    let mut ledger = Ledger::new(reader.partitions().iter().map(|partition| partition.first > 0).collect());
    let result = reader.read(|received, passed| {
        enter(&mut ledger, received);
        if passed.is_multiple_of(STROKE) {
            bar.set_position(passed);
        }
    });
    bar.finish_and_clear();
    result?;
    Ok(ledger.report())
}

fn enter(ledger: &mut Ledger, received: &Received<'_>) {
    let mut headers = Headers::default();
    received.each_header(|name, value| headers.add(name, value));
    let value = received.value();
    match Claim::of(&headers, value) {
        Some(Ok(claim)) => ledger.enter(Found { partition: received.partition, key: received.key() }, &claim),
        Some(Err(NotAClaim)) => ledger.unreadable(),
        None => ledger.foreign(notice::is_gap(value)),
    }
}
