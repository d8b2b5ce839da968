//! `keyferry journal ls`: slots and segments at a glance.
//!
//! It looks at the beginning and the last 32 bytes of a segment, where a sound one has its SEAL or CLOSE; only one that has neither is read through.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use keyferry_journal::format::{Kind, RECORD_HEADER, RecordHeader, Salt};
use keyferry_journal::storage::Segment;
use keyferry_journal::{Epoch, LockHolder, Piece, Records, Resume, SegmentName, Storage as _};
use serde::Serialize;

use super::archived::SlotStorage;
use super::print_json;
use super::reading::is_gone;
use super::slot::{DestinationCheckpoint, Slot};
use crate::error::{Error, Finding};
use crate::terminal::{BAD, Column, FAINT, GOOD, ODD, TITLE, count, size, styled, table, time};

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// The writer is at it.
    Live,
    /// Complete; the next one follows.
    Sealed,
    /// The epoch ended in order.
    Closed,
    /// The writer was killed between two records.
    Killed,
    /// The writer was killed within a record: normal.
    Torn,
    /// The writer gave it up after a write error: normal.
    Abandoned,
    /// Its end cannot be read.
    Damaged,
    /// Written by a later release.
    LaterVersion,
}

#[derive(Debug, Serialize)]
struct SegmentLine {
    segment: String,
    epoch: String,
    epoch_begun: String,
    number: u32,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_commit: Option<u64>,
    state: State,
    /// Everything in it was delivered to every destination.
    kept: bool,
    /// It was moved to the archive.
    archived: bool,
}

#[derive(Debug, Serialize)]
struct DestinationLine {
    destination: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<PositionLine>,
    backlog_bytes: u64,
    held_events: u64,
}

#[derive(Debug, Serialize)]
struct PositionLine {
    epoch: String,
    commit: u64,
    segment: String,
    offset: u64,
    next_sequence: u64,
}

#[derive(Debug, Serialize)]
struct SlotLine {
    slot: String,
    writer: Option<String>,
    agent: Option<String>,
    adopted: bool,
    /// What lies in the slot itself.
    bytes: u64,
    archived_bytes: u64,
    destinations: Vec<DestinationLine>,
    segments: Vec<SegmentLine>,
}

/// Lists the slots.
///
/// # Errors
/// A slot cannot be read.
pub fn run(slots: &[Slot], json: bool, out: &mut dyn Write) -> Result<Finding, Error> {
    for slot in slots {
        let line = describe(slot)?;
        if json {
            print_json(out, &line)?;
        } else {
            print(&line, out)?;
        }
    }
    Ok(Finding::Nothing)
}

fn describe(slot: &Slot) -> Result<SlotLine, Error> {
    let segments = slot.segments()?;
    let own: BTreeSet<_> = slot.own_segments()?.iter().map(|segment| segment.name).collect();
    let bytes = |archived: bool| -> u64 {
        let counted = segments.iter().filter(|segment| own.contains(&segment.name) != archived);
        counted.map(|segment| segment.length).sum()
    };
    let writer = slot.writer()?;
    let agent = slot.agent()?;
    let held = slot.held()?;
    let needed = slot.delivered()?.map(|delivered| delivered.segment());
    let mut lines = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let successor = segments.get(index + 1).map(|next| next.name);
        let line = describe_segment(slot, *segment, successor, writer.is_some());
        match line {
            // The agent has deleted it since it was listed.
            Err(Error::Journal(error)) if is_gone(&error) => {}
            line => {
                let kept = needed.is_some_and(|needed| segment.name < needed);
                let archived = !own.contains(&segment.name);
                lines.push(SegmentLine { kept, archived, ..line? });
            }
        }
    }
    Ok(SlotLine {
        slot: slot.name(),
        writer: writer.map(|holder| holder.to_string()),
        adopted: agent.is_some() && slot.is_adopted(),
        agent: agent.map(|holder: LockHolder| holder.to_string()),
        bytes: bytes(false),
        archived_bytes: bytes(true),
        destinations: slot
            .checkpoints()?
            .into_iter()
            .map(|checkpoint| describe_destination(checkpoint, &segments, &held))
            .collect(),
        segments: lines,
    })
}

fn describe_destination(
    checkpoint: DestinationCheckpoint,
    segments: &[Segment],
    held: &BTreeMap<String, u64>,
) -> DestinationLine {
    let held_events = held.get(&checkpoint.destination).copied().unwrap_or_default();
    let resume = checkpoint.resume();
    let backlog_bytes = backlog(segments, resume.as_ref());
    let (error, position) = match checkpoint.checkpoint {
        Err(error) => (Some(error.to_string()), None),
        Ok(checkpoint) => (
            None,
            checkpoint.and_then(|checkpoint| {
                let resume = checkpoint.resume?;
                Some(PositionLine {
                    epoch: resume.epoch.to_string(),
                    commit: resume.commit,
                    segment: SegmentName { epoch: resume.epoch, number: resume.head.segment }.to_string(),
                    offset: resume.head.offset,
                    next_sequence: checkpoint.next_sequence,
                })
            }),
        ),
    };
    DestinationLine { destination: checkpoint.destination, error, position, backlog_bytes, held_events }
}

/// Bytes of journal after a checkpoint.
fn backlog(segments: &[Segment], resume: Option<&Resume>) -> u64 {
    let after = |segment: &Segment| {
        let place = |resume: &Resume| (resume.epoch, resume.head.segment);
        match resume {
            Some(resume) if (segment.name.epoch, segment.name.number) < place(resume) => 0,
            Some(resume) if (segment.name.epoch, segment.name.number) == place(resume) => {
                segment.length.saturating_sub(resume.head.offset)
            }
            _ => segment.length,
        }
    };
    segments.iter().map(after).sum()
}

fn describe_segment(
    slot: &Slot,
    segment: Segment,
    successor: Option<SegmentName>,
    writer_lives: bool,
) -> Result<SegmentLine, Error> {
    let name = segment.name;
    let mut storage = slot.storage()?;
    let header = match Records::of(slot.storage()?, name).next() {
        Ok(Some(Piece::Header(header))) => Ok(Some(header)),
        Ok(_) => Ok(None),
        Err(keyferry_journal::Error::LaterVersion { .. }) => Err(State::LaterVersion),
        Err(error) => return Err(error.into()),
    };
    let state = match (&header, last_kind(&mut storage, segment)?) {
        (Err(state), _) => *state,
        (_, Some(Kind::Seal)) => State::Sealed,
        (_, Some(Kind::Close)) => State::Closed,
        _ if writer_lives && successor.is_none() => State::Live,
        _ => end_state(storage, name, successor.is_some_and(|next| next.epoch == name.epoch))?,
    };
    let header = header.ok().flatten();
    Ok(SegmentLine {
        segment: name.to_string(),
        epoch: name.epoch.to_string(),
        epoch_begun: begun(name.epoch),
        number: name.number,
        bytes: segment.length,
        first_commit: header.as_ref().map(|header| header.first_commit),
        node: header.map(|header| header.node),
        state,
        kept: false,
        archived: false,
    })
}

/// When an epoch began. Later than it says if the clock had gone backwards.
fn begun(epoch: Epoch) -> String {
    time((epoch.0 & !0xFF) / 1000)
}

/// The kind of the record that the segment's last bytes are, if they are one without payload.
fn last_kind(storage: &mut SlotStorage, segment: Segment) -> Result<Option<Kind>, Error> {
    let Some(offset) = segment.length.checked_sub(RECORD_HEADER as u64) else { return Ok(None) };
    let mut bytes = [0; RECORD_HEADER];
    let read =
        storage.read_at(segment.name, offset, &mut bytes).map_err(|source| keyferry_journal::Error::Io {
            operation: "read",
            path: format!("{}/{}", storage.describe(), segment.name),
            source,
        })?;
    let header = RecordHeader::decode(&bytes).filter(|header| {
        read == RECORD_HEADER
            && header.payload == 0
            && header.verify(Salt::of(segment.name), offset, &mut bytes)
    });
    Ok(header.map(|header| header.kind))
}

/// How a segment ends that has neither SEAL nor CLOSE and is not being written.
fn end_state(storage: SlotStorage, segment: SegmentName, followed: bool) -> Result<State, Error> {
    let mut records = Records::of(storage, segment);
    let mut trouble = None;
    while let Some(piece) = records.next()? {
        trouble = match piece {
            Piece::Unreadable { trouble, .. } => Some(trouble),
            _ => None,
        };
    }
    Ok(match trouble {
        None if followed => State::Abandoned,
        None => State::Killed,
        Some(trouble) if trouble.is_cut_short() && !followed => State::Torn,
        Some(_) => State::Damaged,
    })
}

fn print(line: &SlotLine, out: &mut dyn Write) -> io::Result<()> {
    let held = |holder: &Option<String>| holder.clone().unwrap_or_else(|| "none".to_owned());
    let adopted = if line.adopted { ", which has adopted the slot" } else { "" };
    let archived = match line.archived_bytes {
        0 => String::new(),
        bytes => format!(", and {} in the archive", size(bytes)),
    };
    writeln!(
        out,
        "{}: {}, {}{archived}; writer: {}; agent: {}{adopted}",
        styled(TITLE, &line.slot),
        count(line.segments.len() as u64, "segment"),
        size(line.bytes),
        held(&line.writer),
        held(&line.agent)
    )?;
    for destination in &line.destinations {
        print_destination(destination, out)?;
    }
    if line.destinations.is_empty() {
        writeln!(out, "  {}", styled(FAINT, "nothing delivered yet: there is no checkpoint"))?;
    }
    let rows: Vec<_> = line.segments.iter().map(SegmentLine::row).collect();
    let columns = [
        Column::Left("SEGMENT"),
        Column::Left("EPOCH BEGUN"),
        Column::Right("SIZE"),
        Column::Right("FIRST COMMIT"),
        Column::Left("NODE"),
        Column::Left("STATE"),
    ];
    if rows.is_empty() { Ok(()) } else { table(out, columns, &rows) }
}

fn print_destination(line: &DestinationLine, out: &mut dyn Write) -> io::Result<()> {
    let name = &line.destination;
    if let Some(error) = &line.error {
        return writeln!(out, "  {name}: {}", styled(BAD, error));
    }
    let Some(position) = &line.position else {
        return writeln!(out, "  {name}: nothing delivered yet, backlog {}", size(line.backlog_bytes));
    };
    let backlog = match line.backlog_bytes {
        0 => styled(GOOD, "no backlog"),
        bytes => styled(ODD, format_args!("backlog {}", size(bytes))),
    };
    writeln!(
        out,
        "  {name}: delivered up to commit {} of epoch {} ({} at {}), next sequence {}, {backlog}",
        position.commit, position.epoch, position.segment, position.offset, position.next_sequence
    )?;
    if line.held_events > 0 {
        let events = styled(ODD, format_args!("{} in doubt held", count(line.held_events, "event")));
        writeln!(out, "  {name}: {events}: decide with `keyferry in-doubt`")?;
    }
    Ok(())
}

impl SegmentLine {
    fn whereabouts(&self) -> &'static str {
        match (self.archived, self.kept) {
            (true, _) => ", archived",
            (false, true) => ", kept",
            (false, false) => "",
        }
    }

    fn row(&self) -> [String; 6] {
        let unknown = || "?".to_owned();
        [
            self.segment.clone(),
            self.epoch_begun.clone(),
            size(self.bytes),
            self.first_commit.map_or_else(unknown, |commit| commit.to_string()),
            self.node.clone().unwrap_or_else(unknown),
            format!("{}{}", self.state.text(), self.whereabouts()),
        ]
    }
}

impl State {
    fn text(self) -> String {
        match self {
            Self::Live => styled(GOOD, "live"),
            Self::Sealed => "sealed".to_owned(),
            Self::Closed => "closed".to_owned(),
            Self::Killed => styled(ODD, "killed (no CLOSE)"),
            Self::Torn => styled(ODD, "torn tail"),
            Self::Abandoned => styled(ODD, "abandoned"),
            Self::Damaged => styled(BAD, "damaged: see `keyferry journal check`"),
            Self::LaterVersion => styled(BAD, "of a later release"),
        }
    }
}
