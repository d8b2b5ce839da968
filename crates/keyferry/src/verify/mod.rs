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
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use keyferry_config::Destination;
use keyferry_kafka::consume::{Received, TopicReader};

use crate::cli::VerifyArguments;
use crate::connection;
use crate::error::{Error, Finding};
use crate::terminal;
use claim::{Headers, NotAClaim};
use ledger::{Found, Ledger};
use report::{Report, Verdict};

/// How many records are read between two strokes of the progress bar.
const STROKE: u64 = 4096;

/// Verifies the topics and prints the report.
///
/// # Errors
/// See [`Error`]: the topics cannot be read to their end.
pub fn run(arguments: &VerifyArguments) -> Result<Finding, Error> {
    let topic = arguments.topics.first().map(String::as_str);
    let destination =
        connection::destination(&arguments.connection, topic, arguments.destination.as_deref())?;
    let topics = topics(arguments, &destination);
    let properties = connection::properties(&arguments.connection, &destination);
    let patience = Duration::from_secs(arguments.connection.timeout);
    let template = destination.content.routing.topic.as_ref().filter(|_| arguments.topics.is_empty());
    let reader = match template {
        // Whatever the template may have made belongs to the destination.
        Some(template) => {
            TopicReader::open_also(properties, &topics, &|topic| template.may_have_made(topic), patience)
        }
        None => TopicReader::open(properties, &topics, patience),
    }?;
    let report = read(reader)?;
    let mut out = terminal::output();
    if arguments.json {
        serde_json::to_writer(&mut out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        report.print(&mut out)?;
        if report.verdict == Verdict::Incomplete && topics.len() == 1 {
            writeln!(
                out,
                "Only {} was read. Numbers run over all topics of a destination: name the others too with --topic.",
                topics[0]
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

fn topics(arguments: &VerifyArguments, destination: &Destination) -> Vec<String> {
    let mut topics = if arguments.topics.is_empty() {
        let admin = destination.topic_admin_events.iter().map(ToString::to_string);
        std::iter::once(destination.topic_events.to_string()).chain(admin).collect()
    } else {
        arguments.topics.clone()
    };
    topics.sort();
    topics.dedup();
    topics
}

fn enter(ledger: &mut Ledger, received: &Received<'_>) {
    let mut headers = Headers::default();
    received.each_header(|name, value| headers.add(name, value));
    let value = received.value();
    match headers.claim(value) {
        Some(Ok(claim)) => ledger.enter(Found { partition: received.partition, key: received.key() }, &claim),
        Some(Err(NotAClaim)) => ledger.unreadable(),
        None => ledger.foreign(notice::is_gap(value)),
    }
}
