//! `keyferry replay`: sends delivered events again from what the journal has kept of them.
//!
//! The invariant: **a replay changes nothing that delivery rests on.** It reads, it has a producer of its own, and it takes no lock and writes no checkpoint. What it
//! sends carries the id and the number that it had the first time, and the header `ce_replay`, so that no consumer takes it for news.
//!
//! Only what lies before the checkpoint is sent: the rest is the agent's to deliver. Everything is read twice: first to count and to check the numbers, then to send.
//!
//! - `giving_way`: when it pauses for the sake of delivery.
//! - `kept`: what lies in a slot before the checkpoint, with the numbers that it had.
//! - `numbering`: how these are worked out.
//! - `sending`: one record after the other to Kafka.

mod giving_way;
mod kept;
mod numbering;
mod sending;

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use keyferry_config::Destination;
use keyferry_event::{Content, Encoder, Envelope, Routing, SchemaId, Topics};
use keyferry_journal::Transaction;
use keyferry_journal::event::EventView;
use keyferry_kafka::{KafkaSink, Mark, ProducerSettings};
use keyferry_registry::SchemaRegistry;
use serde::Serialize;

use crate::cli::{Filter, ReplayArguments};
use crate::connection;
use crate::error::{Error, Finding};
use crate::journal::concerns;
use crate::journal::slot::Slot;
use crate::schema_registry;
use crate::shipment::{self, wall_ms};
use crate::terminal::{self, BAD, GOOD, ODD, count, styled};
use giving_way::Pressure;
use kept::each_kept;
pub use numbering::Border;
use numbering::Rules;
use sending::Sender;

/// How many records are sent between two strokes of the progress bar.
const STROKE: u64 = 1024;

/// Sends again what the arguments ask for, and tells how much that was.
///
/// # Errors
/// See [`Error`]: the journal cannot be read, the numbers cannot be worked out, or Kafka takes nothing.
pub fn run(arguments: &ReplayArguments) -> Result<Finding, Error> {
    let replay = Replay::of(arguments)?;
    let mut summary = replay.count()?;
    if !arguments.dry_run {
        replay.send(&mut summary)?;
    }
    let mut out = terminal::output();
    if arguments.json {
        serde_json::to_writer(&mut out, &summary).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        summary.print(&mut out)?;
    }
    out.flush()?;
    Ok(if summary.refused + summary.without_number > 0 { Finding::Something } else { Finding::Nothing })
}

/// What was found and sent.
#[derive(Debug, Default, Serialize)]
struct Summary {
    dry_run: bool,
    /// Records to send.
    records: u64,
    /// Records that Kafka has acknowledged.
    sent: u64,
    /// Records that Kafka refused for good.
    refused: u64,
    /// Events that cannot be sent, because it is not known which number they had.
    without_number: u64,
}

/// What is to be sent again, and how.
struct Replay<'a> {
    arguments: &'a ReplayArguments,
    slots: Vec<Slot>,
    destination: Destination,
    rules: Rules,
    /// Where the two kinds of events are sent now.
    topics: Topics,
}

/// An event and how it was sent.
struct Sent<'a> {
    transaction: &'a Transaction<'a>,
    event: &'a EventView<'a>,
    /// `None` if that is not known.
    sequence: Option<u64>,
}

impl<'a> Replay<'a> {
    fn of(arguments: &'a ReplayArguments) -> Result<Self, Error> {
        let (topic, name) = (arguments.topic.as_deref(), arguments.destination.as_deref());
        let plan = connection::plan(&arguments.connection, topic)?;
        let destination = connection::choose(&plan, &arguments.connection, name)?;
        let rules = Rules::of(&destination);
        let topics = match &arguments.topic {
            Some(topic) => Topics { events: Some(topic.clone()), admin_events: Some(topic.clone()) },
            None => rules.topics.clone(),
        };
        let archive = arguments.archive.as_deref().or(plan.journal.archive_directory.as_deref());
        let slots = Slot::all_with_archive(&arguments.directory, archive)?;
        Ok(Self { arguments, slots, destination, rules, topics })
    }

    /// The destination whose numbers are meant.
    fn name(&self) -> &str {
        self.destination.name.as_str()
    }

    fn count(&self) -> Result<Summary, Error> {
        let mut summary = Summary { dry_run: self.arguments.dry_run, ..Summary::default() };
        self.each(|sent| {
            match sent.sequence {
                Some(_) => summary.records += 1,
                None => summary.without_number += 1,
            }
            Ok(())
        })?;
        Ok(summary)
    }

    fn send(&self, summary: &mut Summary) -> Result<(), Error> {
        let bar = ProgressBar::new(summary.records);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {per_sec} {eta}") {
            bar.set_style(style);
        }
        let mut sender = Sender::new(self.sink()?, Duration::from_secs(self.arguments.connection.timeout));
        let mut encoder = self.encoder();
        let registry = SchemaRegistry::new(schema_registry::configuration(&self.destination), wall_ms());
        let mut pressure = Pressure::of(&self.arguments.directory, self.name());
        self.each(|Sent { transaction, event, sequence }| {
            let (Some(sequence), Some(topic)) = (*sequence, self.topics.of(event.kind())) else {
                return Ok(());
            };
            let (node, epoch, outcome) = (transaction.node, transaction.epoch, transaction.outcome);
            let envelope = Envelope { node, epoch, outcome, sequence };
            let record = loop {
                match encoder.encode(topic, event, &envelope) {
                    Ok(record) => break record,
                    Err(unknown) => {
                        let topic = unknown.topic.to_owned();
                        let id = self.schema_id(&registry, &topic)?;
                        encoder.learn(&topic, id);
                    }
                }
            };
            if let Some(obstacle) = pressure.obstacle() {
                bar.suspend(|| anstream::eprintln!("{}: {obstacle}", styled(ODD, "waiting")));
                sender.finish()?;
                pressure.wait();
            }
            sender.send(&record)?;
            if sender.acknowledged().is_multiple_of(STROKE) {
                bar.set_position(sender.acknowledged());
            }
            Ok(())
        })?;
        sender.finish()?;
        bar.finish_and_clear();
        (summary.sent, summary.refused) = (sender.acknowledged(), sender.refused());
        Ok(())
    }

    /// Makes the records that were sent, unless another topic is asked for.
    fn encoder(&self) -> Encoder {
        let Content { routing, redaction, format, .. } = shipment::content(&self.destination);
        let topic = routing.topic.filter(|_| self.arguments.topic.is_none());
        Encoder::new(shipment::headers(&self.destination))
            .routing(Routing { topic, ..routing })
            .redacting(redaction)
            .formatting(format)
    }

    /// The id that a registry has for the schema of records for `topic`.
    fn schema_id(&self, registry: &SchemaRegistry, topic: &str) -> Result<SchemaId, Error> {
        let patience = Duration::from_secs(self.arguments.connection.timeout);
        let format = shipment::content(&self.destination).format;
        let schema = format.schema().ok_or_else(|| Error::Sink(format!("{format:?} has no schema")))?;
        registry.wait_for(&schema, topic, patience).map_err(|failure| Error::Sink(failure.reason))
    }

    fn sink(&self) -> Result<KafkaSink, Error> {
        let properties = connection::properties(&self.arguments.connection, &self.destination);
        let value = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let settings = ProducerSettings::new(properties).with_mark(Mark { name: c"ce_replay", value });
        KafkaSink::new(settings).map_err(|failure| Error::Sink(failure.reason))
    }

    /// Calls `visit` for each event that is asked for, in the order in which it was sent.
    fn each(&self, mut visit: impl FnMut(&Sent<'_>) -> Result<(), Error>) -> Result<(), Error> {
        for slot in &self.slots {
            each_kept(slot, self.name(), &self.rules, |transaction, mut sequence| {
                for event in transaction.events() {
                    let event = event?;
                    if !self.rules.counts(&event) {
                        continue;
                    }
                    if self.arguments.asks_for(&event) {
                        visit(&Sent { transaction, event: &event, sequence })?;
                    }
                    sequence = sequence.map(|sequence| sequence + 1);
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

impl ReplayArguments {
    fn asks_for(&self, event: &EventView<'_>) -> bool {
        let in_time = (self.from..self.to).contains(&event.time_ms());
        let mut by_name: [Option<bool>; 3] = [None; 3];
        for filter in &self.filters {
            let (name, holds) = filter.judge(event);
            let found = by_name[name].get_or_insert(false);
            *found |= holds;
        }
        in_time && by_name.into_iter().all(|found| found.unwrap_or(true))
    }
}

impl Filter {
    /// Which name it is for, and whether it holds.
    fn judge(&self, event: &EventView<'_>) -> (usize, bool) {
        match self {
            Self::Type(wanted) => {
                (0, event.event_type().is_some_and(|event_type| event_type.eq_ignore_ascii_case(wanted)))
            }
            Self::Realm(wanted) => {
                (1, [event.realm_name(), event.realm_id()].contains(&Some(wanted.as_str())))
            }
            Self::User(wanted) => (2, concerns(event, wanted)),
        }
    }
}

impl Summary {
    fn print(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        if self.dry_run {
            writeln!(out, "{} would be sent again", styled(ODD, count(self.records, "record")))?;
        } else {
            writeln!(out, "{} sent again", styled(GOOD, count(self.sent, "record")))?;
        }
        if self.refused > 0 {
            writeln!(out, "{} refused by Kafka for good", styled(BAD, count(self.refused, "record")))?;
        }
        if self.without_number > 0 {
            let events = styled(BAD, count(self.without_number, "event"));
            writeln!(
                out,
                "{events} not sent: it is not known which numbers they had (the beginning of their epoch is gone, and \
                 <destination>.positions.jsonl says nothing of them)"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use keyferry_journal::EventKind;
    use keyferry_journal::event::{EventEncoder, Events, Field};

    use crate::cli::{Cli, Command};

    fn asks(filters: &[&str]) -> bool {
        let mut line =
            vec!["keyferry", "replay", "--from", "1970-01-01T00:00:01Z", "--to", "1970-01-01T00:00:02Z"];
        for filter in filters {
            line.extend(["--filter", filter]);
        }
        let Command::Replay(arguments) = Cli::try_parse_from(line).unwrap().command else { panic!() };
        let mut events = EventEncoder::new();
        let fields = [
            (Field::Type, "LOGIN"),
            (Field::RealmId, "r-1"),
            (Field::RealmName, "master"),
            (Field::UserId, "u-1"),
        ];
        events.push(EventKind::User, 1500, &fields, b"{}");
        arguments.asks_for(&Events::of(events.payload()).next().unwrap().unwrap())
    }

    #[test]
    fn one_filter_of_each_name_must_hold() {
        assert!(asks(&[]));
        assert!(asks(&["type=login", "realm=master", "user=u-1"]) && asks(&["realm=r-1"]));
        assert!(asks(&["type=LOGOUT", "type=LOGIN"]), "one of a name is enough");
        assert!(!asks(&["type=LOGIN", "realm=other"]), "each name counts");
        assert!(!asks(&["user=u-2"]));
    }
}
