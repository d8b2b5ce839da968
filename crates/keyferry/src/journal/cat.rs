//! `keyferry journal cat`: what was journaled, event by event or record by record.

use std::io::{self, Write};

use keyferry_journal::event::{EventKind, EventView, Events};
use keyferry_journal::format::{CommitMark, GapPayload, Kind, RecordHeader, decode_commit};
use keyferry_journal::{Item, Outcome, Piece, SegmentName, Transaction};
use serde::Serialize;
use serde_json::value::RawValue;

use super::reading::{each_item, each_piece};
use super::slot::Slot;
use super::{concerns, print_json};
use crate::cli::{CatArguments, OutcomeFilter};
use crate::error::{Error, Finding};
use crate::journal::check::Remark;
use crate::terminal::{FAINT, ODD, TITLE, styled, time};

/// Prints what the filters let through.
///
/// # Errors
/// A slot cannot be read.
pub fn run(slots: &[Slot], arguments: &CatArguments, out: &mut dyn Write) -> Result<Finding, Error> {
    for slot in slots {
        if arguments.records {
            print_records(slot, arguments, out)?;
        } else {
            print_events(slot, arguments, out)?;
        }
    }
    Ok(Finding::Nothing)
}

fn print_events(slot: &Slot, arguments: &CatArguments, out: &mut dyn Write) -> Result<(), Error> {
    let name = slot.name();
    each_item(slot, |item| {
        if let Item::Transaction(transaction) = item {
            for event in transaction.events() {
                match event {
                    Ok(event) if arguments.lets_through(transaction, &event) => {
                        print_event(&name, transaction, &event, arguments.look.json, out)?;
                    }
                    Ok(_) => {}
                    Err(error) => print_remark(&Remark::malformed(&error), &name, arguments, out)?,
                }
            }
            return Ok(());
        }
        let remark = Remark::of(slot, item)?;
        match remark {
            Some(remark) if arguments.epoch.is_none_or(|epoch| remark.epoch == Some(epoch.to_string())) => {
                Ok(print_remark(&remark, &name, arguments, out)?)
            }
            _ => Ok(()),
        }
    })?;
    Ok(())
}

impl CatArguments {
    fn lets_through(&self, transaction: &Transaction<'_>, event: &EventView<'_>) -> bool {
        let outcome = match self.outcome {
            None => true,
            Some(OutcomeFilter::Committed) => transaction.outcome == Outcome::Committed,
            Some(OutcomeFilter::Unknown) => transaction.outcome == Outcome::Unknown,
        };
        let of_type =
            |event_type: &str| self.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(event_type));
        outcome
            && self.epoch.is_none_or(|epoch| epoch == transaction.epoch)
            && (self.types.is_empty() || event.event_type().is_some_and(of_type))
            && self.user.as_deref().is_none_or(|user| concerns(event, user))
            && self.from.is_none_or(|from| event.time_ms() >= from)
            && self.to.is_none_or(|to| event.time_ms() < to)
    }
}

fn outcome_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Committed => "committed",
        Outcome::Unknown => "unknown",
    }
}

fn kind_text(kind: EventKind) -> &'static str {
    match kind {
        EventKind::User => "user",
        EventKind::Admin => "admin",
    }
}

/// An event as JSON.
#[derive(Serialize)]
struct EventLine<'a> {
    item: &'static str,
    slot: &'a str,
    epoch: String,
    commit: u64,
    transaction: u64,
    outcome: &'static str,
    node: &'a str,
    written: String,
    time: String,
    kind: &'static str,
    #[serde(flatten)]
    fields: Fields<'a>,
    event: &'a RawValue,
}

/// The fields of an event that it has.
#[derive(Serialize)]
struct Fields<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    realm: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn of(event: &EventView<'a>) -> Self {
        Self {
            event_type: event.event_type(),
            id: event.id(),
            realm: event.realm_name().or(event.realm_id()),
            client: event.client(),
            user: event.user_id(),
            resource_type: event.resource_type(),
            resource_path: event.resource_path(),
            error: event.error(),
        }
    }

    /// Those that a line for people names, in its order.
    fn named(&self) -> [(&'static str, Option<&'a str>); 7] {
        [
            ("realm", self.realm),
            ("client", self.client),
            ("user", self.user),
            ("resource", self.resource_type),
            ("path", self.resource_path),
            ("error", self.error),
            ("id", self.id),
        ]
    }
}

fn print_event(
    slot: &str,
    transaction: &Transaction<'_>,
    event: &EventView<'_>,
    json: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let fields = Fields::of(event);
    if !json {
        let outcome = match transaction.outcome {
            Outcome::Committed => "committed".to_owned(),
            Outcome::Unknown => styled(ODD, "unknown  "),
        };
        write!(
            out,
            "{} {outcome} {}/{} {} {}",
            time(event.time_ms()),
            transaction.epoch,
            transaction.commit,
            kind_text(event.kind()),
            styled(TITLE, fields.event_type.unwrap_or("-"))
        )?;
        return print_fields(&fields, out);
    }
    let quoted;
    let body = match serde_json::from_slice(event.body()) {
        Ok(body) => body,
        // What is not JSON is shown as a text.
        Err(_) => {
            quoted = serde_json::value::to_raw_value(&String::from_utf8_lossy(event.body()))?;
            &*quoted
        }
    };
    let line = EventLine {
        item: "event",
        slot,
        epoch: transaction.epoch.to_string(),
        commit: transaction.commit,
        transaction: transaction.id,
        outcome: outcome_text(transaction.outcome),
        node: transaction.node,
        written: time(transaction.written_ms),
        time: time(event.time_ms()),
        kind: kind_text(event.kind()),
        fields,
        event: body,
    };
    print_json(out, &line)
}

fn print_fields(fields: &Fields<'_>, out: &mut dyn Write) -> io::Result<()> {
    for (name, value) in fields.named() {
        if let Some(value) = value {
            // What users typed must not move the cursor of whoever reads it.
            write!(out, " {}{}", styled(FAINT, format_args!("{name}=")), value.escape_debug())?;
        }
    }
    writeln!(out)
}

fn print_remark(
    remark: &Remark,
    slot: &str,
    arguments: &CatArguments,
    out: &mut dyn Write,
) -> io::Result<()> {
    if arguments.look.json { remark.print_json(slot, out) } else { remark.print(out) }
}

/// A record as JSON.
#[derive(Serialize)]
struct RecordLine<'a> {
    item: &'static str,
    slot: &'a str,
    segment: String,
    offset: u64,
    bytes: usize,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<u64>,
    written: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    content: String,
}

/// A stretch without records as JSON.
#[derive(Serialize)]
struct StretchLine<'a> {
    item: &'static str,
    slot: &'a str,
    segment: String,
    offset: u64,
    bytes: u64,
    why: String,
}

fn print_records(slot: &Slot, arguments: &CatArguments, out: &mut dyn Write) -> Result<(), Error> {
    let name = slot.name();
    let json = arguments.look.json;
    for segment in slot.segments()? {
        let segment = segment.name;
        if arguments.epoch.is_some_and(|epoch| epoch != segment.epoch) {
            continue;
        }
        each_piece(slot, segment, |piece| Ok(print_piece(&name, segment, piece, json, out)?))?;
    }
    Ok(())
}

fn print_piece(
    slot: &str,
    segment: SegmentName,
    piece: &Piece<'_>,
    json: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    match piece {
        Piece::Header(header) => {
            if json {
                return Ok(());
            }
            writeln!(
                out,
                "{} node {:?}, created {}, first commit {}",
                styled(TITLE, segment),
                header.node,
                time(header.created_ms),
                header.first_commit
            )
        }
        Piece::Record { offset, header, payload } => {
            let line = RecordLine {
                item: "record",
                slot,
                segment: segment.to_string(),
                offset: *offset,
                bytes: header.length(),
                kind: header.kind.to_string(),
                transaction: (header.transaction > 0).then_some(header.transaction),
                written: time(header.written_ms),
                content: content(header, payload),
            };
            if json { print_json(out, &line) } else { line.print(out) }
        }
        Piece::Unreadable { from, to, trouble } => {
            if json {
                let (segment, why) = (segment.to_string(), trouble.to_string());
                let line =
                    StretchLine { item: "unreadable", slot, segment, offset: *from, bytes: to - from, why };
                return print_json(out, &line);
            }
            let text = format!("{from:>12} {:>8}  unreadable: {trouble}", to - from);
            writeln!(out, "{}", styled(ODD, text))
        }
    }
}

impl RecordLine<'_> {
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let transaction = self.transaction.map_or_else(String::new, |id| format!("tx {id}"));
        let line = format!(
            "{:>12} {:>8}  {} {:<7} {transaction:<8} {}",
            self.offset, self.bytes, self.written, self.kind, self.content
        );
        writeln!(out, "{}", line.trim_end())
    }
}

/// What a record says, in a few words.
fn content(header: &RecordHeader, payload: &[u8]) -> String {
    match header.kind {
        Kind::Prepare => events_content(payload),
        Kind::Commit => decode_commit(payload)
            .map_or_else(String::new, |number| format!("commit {number}{}", remark(CommitMark::of(payload)))),
        Kind::Gap => GapPayload::decode(payload).map_or_else(String::new, |gap| {
            format!("{} user and {} admin events are missing", gap.user_events, gap.admin_events)
        }),
        _ => String::new(),
    }
}

fn remark(mark: CommitMark) -> &'static str {
    match mark {
        CommitMark::Own => "",
        CommitMark::Repeated => ", repeats an earlier one",
        CommitMark::Settled => ", settled by the next start",
    }
}

fn events_content(payload: &[u8]) -> String {
    let texts: Vec<_> = Events::of(payload)
        .map(|event| match event {
            Ok(event) => {
                let id = event.id().unwrap_or("-").escape_debug();
                format!("{} {id}", event.event_type().unwrap_or("-").escape_debug())
            }
            Err(malformed) => format!("malformed: {malformed}"),
        })
        .collect();
    texts.join(", ")
}
