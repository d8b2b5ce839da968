//! `keyferry tail`: the events in Kafka, as they arrive.
//!
//! - `following`: what becomes of each record, a state machine without Kafka.
//! - `sieve`: which events are asked for.
//! - `print`: what is printed of them.

mod following;
mod print;
mod sieve;

use std::io::{self, Write};

use keyferry_client::{Headers, Start};
use keyferry_kafka::consume::{Begin, Received, Silence, Step, TopicReader, Until};
use keyferry_pipeline::Stop as _;

use crate::cli::TailArguments;
use crate::connection::Topics;
use crate::error::{Error, Finding};
use crate::stop::StopSources;
use crate::terminal;
use following::{Following, Found, Told};
use print::Printer;
use sieve::Sieve;

/// Prints events until it is enough.
///
/// # Errors
/// See [`Error`]: the topics cannot be read.
pub fn run(arguments: &TailArguments) -> Result<Finding, Error> {
    let mut stop = StopSources::listen(false)?;
    let until = if arguments.until_end { Until::PresentEnd } else { Until::Forever };
    let from = arguments.from.unwrap_or(if arguments.until_end { Begin::First } else { Begin::End });
    let mut reader = Topics::of(&arguments.topics)?.open(from, until)?;
    let mut tail = Tail::of(&reader, arguments);
    let mut silence = Silence::beginning();
    while !reader.is_at_end() && !tail.is_enough() && !stop.is_given() && !terminal::nobody_reads() {
        match reader.step()? {
            Step::Record(received) => {
                silence = Silence::beginning();
                tail.take(&received)?;
            }
            Step::Nothing => {}
            Step::Trouble(trouble) => {
                // Told once, however often the client complains of it.
                if silence.trouble.as_ref() != Some(&trouble) {
                    eprintln!("keyferry: {trouble}");
                }
                silence.trouble = Some(trouble);
            }
        }
        if arguments.until_end {
            reader.endure(&silence)?;
        }
    }
    tail.finish()?;
    Ok(Finding::Nothing)
}

/// A reading under way.
struct Tail {
    following: Following,
    printer: Printer,
    /// The topic and number of each partition.
    partitions: Vec<(String, i32)>,
    /// How many events may still be printed.
    left: Option<u64>,
}

impl Tail {
    fn of(reader: &TopicReader, arguments: &TailArguments) -> Self {
        let partitions = reader.partitions();
        let starts = partitions.iter().map(|partition| match partition.begin {
            0 => Start::Beginning,
            _ => Start::Middle,
        });
        Self {
            following: Following::of(starts.collect(), Sieve::of(arguments.filter.as_ref())),
            printer: if arguments.json { Printer::Json } else { Printer::ForPeople },
            partitions: partitions
                .iter()
                .map(|partition| (partition.topic.clone(), partition.number))
                .collect(),
            left: arguments.count,
        }
    }

    fn is_enough(&self) -> bool {
        self.left == Some(0)
    }

    fn take(&mut self, received: &Received<'_>) -> Result<(), Error> {
        let mut headers = Headers::default();
        received.each_header(|name, value| headers.add(name, value));
        let (topic, number) = &self.partitions[received.partition];
        let found = Found {
            topic,
            partition: *number,
            offset: received.offset(),
            timestamp_ms: received.timestamp_ms(),
            key: received.key(),
        };
        let told = self.following.take(received.partition, &headers, received.value());
        if told.is_empty() {
            return Ok(());
        }
        let mut out = terminal::output();
        for told in &told {
            self.printer.print(&found, told, &mut out)?;
        }
        out.flush()?;
        let events = told.iter().filter(|told| matches!(told, Told::Message { .. })).count() as u64;
        self.left = self.left.map(|left| left.saturating_sub(events));
        Ok(())
    }

    /// Tells what has not come.
    fn finish(self) -> io::Result<()> {
        let mut out = terminal::output();
        self.printer.print_unseen(&self.following.unseen(), &mut out)?;
        out.flush()
    }
}
