//! `keyferry verify`: reads topics and proves that nothing is missing, or names what is.
//!
//! - `ledger`: the verification, a state machine without Kafka.
//! - `bounded`: what it remembers, within limits.
//! - `report`: what it found.

mod bounded;
mod ledger;
mod report;

use std::io::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use keyferry_config::{Destination, Readiness, Sources, librdkafka};
use keyferry_journal::Outcome;
use keyferry_kafka::consume::{Received, TopicReader};

use crate::cli::VerifyArguments;
use crate::error::{Error, Finding};
use crate::terminal;
use ledger::{Claim, Found, Ledger};
use report::{Report, Verdict};

/// How many records are read between two strokes of the progress bar.
const STROKE: u64 = 4096;

/// Verifies the topics and prints the report.
///
/// # Errors
/// See [`Error`]: the topics cannot be read to their end.
pub fn run(arguments: &VerifyArguments) -> Result<Finding, Error> {
    let destination = destination(arguments)?;
    let topics = topics(arguments, &destination);
    let reader = TopicReader::open(
        properties(arguments, &destination),
        &topics,
        Duration::from_secs(arguments.timeout),
    )?;
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
    Ok(if report.verdict == Verdict::Complete { Finding::Nothing } else { Finding::Something })
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

/// The destination, from the configuration and what the command line adds to it.
fn destination(arguments: &VerifyArguments) -> Result<Destination, Error> {
    let mut sources = Sources::new().with_process_environment();
    if let Some(file) = &arguments.config {
        sources = sources.with_file(file)?;
    }
    let servers = arguments.bootstrap_servers.iter().map(|servers| ("bootstrap-servers", servers.clone()));
    // The first topic also stands in for the one without which a destination is not complete.
    let topic = arguments.topics.first().map(|topic| ("topic-events", topic.clone()));
    let loaded = keyferry_config::load(&sources.with_options(servers.chain(topic)))?;
    match loaded.config.destination {
        Readiness::Complete(destination) => Ok(*destination),
        Readiness::Incomplete { missing } => {
            let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
            Err(Error::Incomplete(missing.join("; ")))
        }
    }
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

fn properties(arguments: &VerifyArguments, destination: &Destination) -> Vec<(String, String)> {
    let configured = librdkafka::properties(destination).into_iter();
    let configured = configured.map(|(name, value)| (name, value.expose().to_owned()));
    configured.chain(arguments.properties.iter().cloned()).collect()
}

fn enter(ledger: &mut Ledger, received: &Received<'_>) {
    let mut headers = Headers::default();
    received.each_header(|name, value| headers.add(name, value));
    match headers.claim() {
        Some(Ok(claim)) => ledger.enter(Found { partition: received.partition, key: received.key() }, &claim),
        Some(Err(NotAClaim)) => ledger.unreadable(),
        None => ledger.foreign(),
    }
}

/// Our headers of a record.
#[derive(Debug, Default)]
struct Headers<'a> {
    node: Option<&'a [u8]>,
    epoch: Option<&'a [u8]>,
    sequence: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    outcome: Option<&'a [u8]>,
}

/// Our headers, but not as they should be.
#[derive(Debug, PartialEq)]
struct NotAClaim;

impl<'a> Headers<'a> {
    fn add(&mut self, name: &str, value: &'a [u8]) {
        let header = match name {
            "ce_node" => &mut self.node,
            "ce_epoch" => &mut self.epoch,
            "ce_sequence" => &mut self.sequence,
            "ce_id" => &mut self.id,
            "ce_outcome" => &mut self.outcome,
            _ => return,
        };
        *header = Some(value);
    }

    /// What they say. `None` if neither epoch nor outcome is there: the two that no other producer of CloudEvents has.
    fn claim(&self) -> Option<Result<Claim<'a>, NotAClaim>> {
        if self.epoch.is_none() && self.outcome.is_none() {
            return None;
        }
        Some(self.read().ok_or(NotAClaim))
    }

    fn read(&self) -> Option<Claim<'a>> {
        let text = |value: Option<&'a [u8]>| std::str::from_utf8(value?).ok();
        let outcome = match self.outcome? {
            b"committed" => Outcome::Committed,
            b"unknown" => Outcome::Unknown,
            _ => return None,
        };
        let sequence = text(self.sequence)?.parse().ok().filter(|sequence| *sequence > 0)?;
        let (node, epoch) = (text(self.node)?, text(self.epoch)?.parse().ok()?);
        Some(Claim { node, epoch, sequence, id: self.id?, outcome })
    }
}

#[cfg(test)]
mod tests {
    use keyferry_journal::Epoch;

    use super::*;

    const OURS: [(&str, &[u8]); 5] = [
        ("ce_node", b"kc-1"),
        ("ce_epoch", b"0006447b0d1a2c00"),
        ("ce_sequence", b"00000000000000000007"),
        ("ce_id", b"e-1"),
        ("ce_outcome", b"unknown"),
    ];

    fn claim<'a>(headers: &[(&str, &'a [u8])]) -> Option<Result<Claim<'a>, NotAClaim>> {
        let mut found = Headers::default();
        for (name, value) in headers {
            found.add(name, value);
        }
        found.claim()
    }

    #[test]
    fn our_headers_are_read() {
        let expected = Claim {
            node: "kc-1",
            epoch: Epoch(0x0006_447b_0d1a_2c00),
            sequence: 7,
            id: b"e-1",
            outcome: Outcome::Unknown,
        };
        assert_eq!(claim(&OURS), Some(Ok(expected)));
    }

    #[test]
    fn headers_of_others_are_foreign_and_damaged_ones_are_not() {
        assert_eq!(claim(&[("ce_id", b"1"), ("ce_source", b"x"), ("ce_sequence", b"1")]), None);
        for (index, (name, _)) in OURS.iter().enumerate() {
            let mut headers = OURS.to_vec();
            headers.remove(index);
            assert_eq!(claim(&headers), Some(Err(NotAClaim)), "without {name}");
        }
        for (index, wrong) in [(1, &b"6447b0d1a2c00"[..]), (2, b"0"), (2, b"x"), (4, b"aborted")] {
            let mut headers = OURS.to_vec();
            headers[index].1 = wrong;
            assert_eq!(claim(&headers), Some(Err(NotAClaim)), "{headers:?}");
        }
    }
}
