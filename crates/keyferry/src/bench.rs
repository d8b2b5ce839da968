//! `keyferry bench`: how many events this machine journals and ships in a second, Kafka left out.
//!
//! The invariant: **what is measured is what ships.** Events are written by the journal's own writer into a slot of its own, and read, filtered, redacted and encoded by the pipeline of the agent, with the content that the
//! configuration says. Only the sink is another one: it takes every record at once. Nothing else is touched, and the slot is removed at the end.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use keyferry_event::{NullSink, SchemaId};
use keyferry_journal::event::{EventEncoder, EventKind, Field};
use keyferry_journal::slot::OwnedSlot;
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{Feed, FeedOptions, SlotDirectory, Writer};
use keyferry_pipeline::schemas::FixedId;
use keyferry_pipeline::{Nowhere, Pipeline, RunError, Settings, Start, SystemClock};
use serde::Serialize;

use crate::cli::BenchArguments;
use crate::credentials;
use crate::error::{Error, Finding};
use crate::shipment::{Plan, default_settings, settings, wall_ms};
use crate::terminal::{self, TITLE, count, styled};

/// So many events between two strokes of the progress bar.
const STROKE: u64 = 4096;
/// As many users as a realm of middling size has at a time.
const USERS: u64 = 1_000;

/// Measures, and prints the result.
///
/// # Errors
/// The configuration is wrong, or the disk does not take the journal.
pub fn run(arguments: &BenchArguments) -> Result<Finding, Error> {
    let settings = shipped(arguments)?;
    let place = Scratch::below(&arguments.directory.clone().unwrap_or_else(std::env::temp_dir))?;
    let bar = ProgressBar::new(arguments.events.saturating_mul(2));
    let journaled = journal(&place.0, arguments, &bar)?;
    let shipped = ship(&place.0.join("slot-0"), arguments.events, settings, &bar)?;
    bar.finish_and_clear();
    let measured = Measured { events: arguments.events, journaled, shipped };
    let mut out = terminal::output();
    if arguments.json {
        serde_json::to_writer(&mut out, &measured).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        measured.print(&mut out)?;
    }
    out.flush()?;
    Ok(Finding::Nothing)
}

/// What becomes of events on their way, by the first destination of the configuration.
fn shipped(arguments: &BenchArguments) -> Result<Settings, Error> {
    let Some(file) = &arguments.config else { return Ok(default_settings()) };
    let plan = Plan::of(keyferry_config::load(&credentials::sources().with_file(file)?)?.config);
    let first = plan.complete().next().ok_or_else(|| Error::Incomplete(plan.lacks()))?;
    // They are shipped to nobody, and so no registry is asked.
    let schemas = Arc::new(FixedId(SchemaId(1)));
    let settings = settings(first, &plan.journal);
    // Nothing is given up, and nothing waits for time to pass.
    Ok(Settings { ceiling: None, settle_delay: Duration::ZERO, schemas, ..settings })
}

/// A directory that is removed when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn below(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(format!("keyferry-bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(|source| Error::Directory { path: path.clone(), source })?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("keyferry: cannot remove {}: {error}; remove it by hand", self.0.display());
        }
    }
}

/// How long something took, and how many bytes it was.
#[derive(Clone, Copy, Debug, Serialize)]
struct Pace {
    seconds: f64,
    bytes: u64,
    events_per_s: f64,
}

impl Pace {
    fn since(begun: Instant, events: u64, bytes: u64) -> Self {
        let seconds = begun.elapsed().max(Duration::from_nanos(1)).as_secs_f64();
        Self { seconds, bytes, events_per_s: events as f64 / seconds }
    }
}

/// The result.
#[derive(Debug, Serialize)]
struct Measured {
    events: u64,
    /// Bytes of journal.
    journaled: Pace,
    /// Bytes of records.
    shipped: Pace,
}

impl Measured {
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} of one transaction each", count(self.events, "event"))?;
        for (what, pace) in [("journaled", self.journaled), ("shipped", self.shipped)] {
            let mebibytes = pace.bytes as f64 / f64::from(1 << 20) / pace.seconds;
            let what = styled(TITLE, format_args!("{what:<9}"));
            writeln!(out, "{what}  {:.0} events/s, {mebibytes:.1} MiB/s", pace.events_per_s)?;
        }
        Ok(())
    }
}

/// Writes the events as a Keycloak would that waits for no disk.
fn journal(place: &Path, arguments: &BenchArguments, bar: &ProgressBar) -> Result<Pace, Error> {
    let padding = "x".repeat(usize::try_from(arguments.size.as_bytes()).unwrap_or(usize::MAX));
    let mut writer = Writer::begin(OwnedSlot::claim(place)?, 0, wall_ms, WriterOptions::default())?;
    let begun = Instant::now();
    for number in 0..arguments.events {
        let (id, user) = (format!("bench-{number}"), format!("user-{}", number % USERS));
        let body = format!(
            "{{\"id\":\"{id}\",\"type\":\"LOGIN\",\"realmId\":\"bench\",\"userId\":\"{user}\",\"details\":{{\"padding\":\"{padding}\"}}}}"
        );
        let fields = [
            (Field::Id, id.as_str()),
            (Field::Type, "LOGIN"),
            (Field::RealmId, "bench"),
            (Field::UserId, user.as_str()),
        ];
        let mut events = EventEncoder::new();
        events.push(EventKind::User, wall_ms(), &fields, body.as_bytes());
        let transaction = writer.next_transaction();
        writer.prepare(transaction, events.payload())?;
        writer.commit(transaction)?;
        if number.is_multiple_of(STROKE) {
            bar.set_position(number);
        }
    }
    drop(writer.close()?);
    Ok(Pace { bytes: bytes_of(&place.join("slot-0"))?, ..Pace::since(begun, arguments.events, 0) })
}

fn bytes_of(slot: &Path) -> Result<u64, Error> {
    let lengths = fs::read_dir(slot).and_then(|entries| {
        entries.map(|entry| entry?.metadata().map(|metadata| metadata.len())).sum::<io::Result<u64>>()
    });
    lengths.map_err(|source| Error::Directory { path: slot.to_owned(), source })
}

/// Ships them to nobody.
fn ship(slot: &Path, events: u64, settings: Settings, bar: &ProgressBar) -> Result<Pace, Error> {
    let feed = Feed::open(SlotDirectory::open(slot)?, None, FeedOptions::default())?;
    let sink = NullSink::default();
    let mut pipeline = Pipeline::new(feed, Start::anew("bench"), sink, Nowhere, settings);
    let (clock, begun) = (SystemClock::start(), Instant::now());
    loop {
        let now = clock.read();
        pipeline.turn(now).map_err(RunError::from)?;
        let report = pipeline.report(now);
        let settled = report.published + report.filtered + report.dead_letters;
        bar.set_position(events + settled);
        if settled >= events {
            return Ok(Pace::since(begun, events, pipeline.sink().bytes()));
        }
    }
}
