//! `keyferry in-doubt`: what an operator does with events whose transaction has no known outcome, and that are held because of that.
//!
//! The invariant: **an event leaves the held file only when it lies durably in the journal, or when the operator drops it.** A crash in between leaves a copy with
//! the same id, never a loss.
//!
//! Publishing makes this process a writer of the journal: it takes the lowest free slot, as a Keycloak would, and writes an epoch of its own under the name of the
//! node that raised the events. An agent ships it as it ships everything, with the outcome `unknown`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::slot::OwnedSlot;
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{Epoch, SegmentName, Writer};
use keyferry_pipeline::{HeldEvent, HeldFile, HeldKind};
use serde::Serialize;

use crate::cli::{DecideArguments, InDoubtArguments, InDoubtCommand};
use crate::error::{Error, Finding};
use crate::journal::slot::Slot;
use crate::shipment::wall_ms;
use crate::terminal::{self, BAD, FAINT, GOOD, ODD, TITLE, count, styled, time};

/// Lists, publishes or drops.
///
/// # Errors
/// See [`Error`]: the files cannot be read or written.
pub fn run(arguments: &InDoubtArguments) -> Result<Finding, Error> {
    let mut out = terminal::output();
    let finding = match &arguments.command {
        InDoubtCommand::Ls(look) => list(&Holding::all_of(&look.directory)?, look.json, &mut out),
        InDoubtCommand::Publish(decision) => decide(decision, &mut out, publish),
        InDoubtCommand::Drop(decision) => {
            decide(decision, &mut out, |_, chosen| Ok(Decided::dropped(chosen)))
        }
    };
    out.flush()?;
    finding
}

/// What one destination holds in one slot.
struct Holding {
    slot: String,
    destination: String,
    file: HeldFile,
    events: Vec<HeldEvent>,
}

impl Holding {
    /// Those of a journal directory or a slot that hold something.
    fn all_of(directory: &Path) -> Result<Vec<Self>, Error> {
        let mut holdings = Vec::new();
        for slot in Slot::all_of(directory)? {
            for (destination, path) in slot.held_files()? {
                let file = HeldFile::new(path.clone());
                let events = file.list().map_err(|source| Error::Directory { path, source })?;
                if !events.is_empty() {
                    holdings.push(Self { slot: slot.name(), destination, file, events });
                }
            }
        }
        Ok(holdings)
    }
}

impl Holding {
    /// Takes the events with these keys out of the file.
    fn remove(&mut self, keys: &BTreeSet<Key>) -> Result<(), Error> {
        let path = self.file.path().to_owned();
        let removed = self.file.remove(|event| keys.contains(&key(event)));
        removed.map(|_| ()).map_err(|source| Error::Directory { path, source })
    }
}

/// A held event as JSON.
#[derive(Serialize)]
struct Line<'a> {
    slot: &'a str,
    destination: &'a str,
    #[serde(flatten)]
    event: &'a HeldEvent,
}

fn list(holdings: &[Holding], json: bool, out: &mut dyn Write) -> Result<Finding, Error> {
    for Holding { slot, destination, events, .. } in holdings {
        if !json {
            writeln!(out, "{}: {} for {destination}", styled(TITLE, slot), held(events.len()))?;
        }
        for event in events {
            if json {
                write_line(&Line { slot, destination, event }, out)?;
            } else {
                print(event, out)?;
            }
        }
    }
    if holdings.is_empty() && !json {
        writeln!(out, "nothing is held")?;
    }
    Ok(Finding::Nothing)
}

fn write_line(line: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    writeln!(out)
}

fn held(events: usize) -> String {
    styled(ODD, format_args!("{} held", count(events as u64, "event")))
}

/// One line for people. What users typed must not move their cursor.
fn print(event: &HeldEvent, out: &mut dyn Write) -> io::Result<()> {
    let kind = match event.kind {
        HeldKind::User => "user",
        HeldKind::Admin => "admin",
    };
    let field = |field: Field| event.fields.get(&(field as u8));
    let event_type = field(Field::Type).map_or("-", String::as_str);
    write!(out, "  {} {kind} {}", time(event.time), styled(TITLE, event_type.escape_debug()))?;
    let fields = [
        ("node", Some(&event.node)),
        ("realm", field(Field::RealmName).or(field(Field::RealmId))),
        ("client", field(Field::Client)),
        ("user", field(Field::UserId)),
        ("path", field(Field::ResourcePath)),
        ("id", field(Field::Id)),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            write!(out, " {}{}", styled(FAINT, format_args!("{name}=")), value.escape_debug())?;
        }
    }
    writeln!(out)
}

/// What became of some events.
struct Decided {
    events: usize,
    what: String,
}

impl Decided {
    fn tell(&self, slot: &str, json: bool, out: &mut dyn Write) -> io::Result<()> {
        let Self { events, what } = self;
        if json {
            return write_line(&serde_json::json!({ "slot": slot, "events": events, "what": what }), out);
        }
        writeln!(out, "{slot}: {} {what}", styled(GOOD, count(*events as u64, "event")))
    }

    fn dropped(chosen: &[&HeldEvent]) -> Self {
        Self { events: chosen.len(), what: "dropped".to_owned() }
    }
}

/// What makes out one held event, also among those of transactions that gave no ids.
type Key = (String, u64, u64);

fn key(event: &HeldEvent) -> Key {
    (event.epoch.clone(), event.transaction, event.index)
}

/// Does with the chosen events what `carry_out` does, and takes them out of their files then. An event that several destinations hold is decided on once, and
/// for all of them: what is published goes to each.
fn decide(
    arguments: &DecideArguments,
    out: &mut dyn Write,
    carry_out: impl Fn(&Path, &[&HeldEvent]) -> Result<Decided, Error>,
) -> Result<Finding, Error> {
    let journal = journal_of(&arguments.directory)?;
    let mut unknown: BTreeSet<&str> = arguments.ids.iter().map(String::as_str).collect();
    let mut holdings = Holding::all_of(&arguments.directory)?;
    for slot in holdings.chunk_by_mut(|one, other| one.slot == other.slot) {
        let mut keys = BTreeSet::new();
        let events = slot.iter().flat_map(|holding| &holding.events);
        let chosen: Vec<_> =
            events.filter(|event| arguments.chooses(event) && keys.insert(key(event))).collect();
        for id in chosen.iter().filter_map(|event| event.id()) {
            unknown.remove(id);
        }
        let Some(Holding { slot: name, .. }) = slot.first().filter(|_| !chosen.is_empty()) else { continue };
        let decided = carry_out(&journal, &chosen)?;
        decided.tell(name, arguments.json, out)?;
        for holding in slot {
            holding.remove(&keys)?;
        }
    }
    for id in &unknown {
        if arguments.json {
            write_line(&serde_json::json!({ "not_found": id }), out)?;
        } else {
            let word = styled(BAD, "not found");
            writeln!(out, "{word} {}: no event with this id is held", id.escape_debug())?;
        }
    }
    Ok(if unknown.is_empty() { Finding::Nothing } else { Finding::Something })
}

impl DecideArguments {
    fn chooses(&self, event: &HeldEvent) -> bool {
        self.all || event.id().is_some_and(|id| self.ids.iter().any(|wanted| wanted == id))
    }
}

/// The journal directory of what was given, which may be one of its slots.
fn journal_of(directory: &Path) -> Result<PathBuf, Error> {
    let path =
        directory.canonicalize().map_err(|source| Error::Directory { path: directory.to_owned(), source })?;
    let is_slot =
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("slot-"));
    Ok(path.parent().filter(|_| is_slot).map_or(path.clone(), Path::to_owned))
}

/// Writes the events into the journal, those of each node into an epoch of their own.
fn publish(journal: &Path, chosen: &[&HeldEvent]) -> Result<Decided, Error> {
    let mut by_node: BTreeMap<&str, Vec<&HeldEvent>> = BTreeMap::new();
    for event in chosen {
        by_node.entry(&event.node).or_default().push(event);
    }
    let mut places = BTreeSet::new();
    for (node, events) in by_node {
        places.insert(write_epoch(journal, node, &events)?);
    }
    let places: Vec<_> = places.into_iter().collect();
    let what =
        format!("written to {}; an agent ships what is there as soon as it comes by", places.join(", "));
    Ok(Decided { events: chosen.len(), what })
}

/// Writes an epoch, durably; answers in which slot.
fn write_epoch(journal: &Path, node: &str, events: &[&HeldEvent]) -> Result<String, Error> {
    let slot = OwnedSlot::claim(journal)?;
    let (number, directory) = (slot.number(), slot.path().to_owned());
    let options = WriterOptions { node: node.to_owned(), ..WriterOptions::default() };
    let mut writer = Writer::begin(slot, number, wall_ms, options)?;
    let epoch = writer.epoch();
    let same_transaction =
        |a: &&HeldEvent, b: &&HeldEvent| (&a.epoch, a.transaction) == (&b.epoch, b.transaction);
    for transaction in events.chunk_by(same_transaction) {
        let mut payload = EventEncoder::new();
        transaction.iter().for_each(|event| event.encode(&mut payload));
        let id = writer.next_transaction();
        writer.prepare(id, payload.payload())?;
        writer.commit(id)?;
    }
    // The slot stays locked until all of it is on the disk.
    let slot = writer.close()?;
    sync(&directory, epoch).map_err(|source| Error::Directory { path: directory, source })?;
    drop(slot);
    Ok(format!("slot-{number}"))
}

/// Makes an epoch survive a power cut, its names in the directory included.
fn sync(slot: &Path, epoch: Epoch) -> io::Result<()> {
    for entry in std::fs::read_dir(slot)? {
        let entry = entry?;
        let name: Option<SegmentName> = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if name.is_some_and(|name| name.epoch == epoch) {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(slot)?.sync_all()?;
    slot.parent().map_or(Ok(()), |journal| File::open(journal)?.sync_all())
}
