//! What is printed: a line for each record, for people or for programs.
//!
//! What users and others wrote is escaped, so that no name steers a terminal.

use std::io::{self, Write};

use keyferry_client::{AdminEvent, Event, GapRecord, Message, Missing, Outcome, Reason, Unseen, UserEvent};
use serde::Serialize;
use serde_json::{Map, Value};

use super::following::{Found, Told};
use crate::terminal::{BAD, FAINT, GOOD, ODD, TITLE, count, styled, time};

/// For whom is printed.
#[derive(Clone, Copy)]
pub enum Printer {
    ForPeople,
    Json,
}

impl Printer {
    /// Prints what there is to tell of a record.
    pub fn print(self, found: &Found<'_>, told: &Told, out: &mut dyn Write) -> io::Result<()> {
        match (self, told) {
            (Self::Json, Told::Message { message, is_copy }) => {
                write_line(&Line::of(found, message, *is_copy), out)
            }
            (Self::Json, Told::Unreadable(reason)) => write_line(&Unreadable::of(found, reason), out),
            (Self::Json, Told::Missing(missing)) => write_line(&Numbers::of("missing", missing), out),
            (Self::ForPeople, Told::Message { message, is_copy }) => {
                writeln!(out, "{}", line(found, message, *is_copy))
            }
            (Self::ForPeople, Told::Unreadable(reason)) => {
                let Found { topic, partition, offset, .. } = found;
                let mark = styled(ODD, "unreadable");
                writeln!(out, "{mark} {topic}-{partition} at {offset}: {}", reason.escape_debug())
            }
            (Self::ForPeople, Told::Missing(missing)) => {
                writeln!(
                    out,
                    "{} {}: not in Kafka, and no gap record tells of it",
                    styled(BAD, "missing"),
                    numbers(missing)
                )
            }
        }
    }

    /// Prints what has not come by the end.
    pub fn print_unseen(self, unseen: &[Unseen], out: &mut dyn Write) -> io::Result<()> {
        // What may lie before the beginning is of no interest to somebody who began there.
        let open = unseen.iter().filter(|unseen| unseen.reason == Reason::MayStillCome);
        for Unseen { numbers: missing, .. } in open {
            match self {
                Self::Json => write_line(&Numbers::of("unseen", missing), out)?,
                Self::ForPeople => writeln!(
                    out,
                    "{} {}: on the way, or missing; `keyferry verify` tells",
                    styled(ODD, "not seen"),
                    numbers(missing)
                )?,
            }
        }
        Ok(())
    }
}

fn numbers(missing: &Missing) -> String {
    let Missing { node, epoch, numbers } = missing;
    let how_many = count(numbers.to - numbers.from + 1, "number");
    let which = if numbers.from == numbers.to {
        numbers.from.to_string()
    } else {
        format!("{} to {}", numbers.from, numbers.to)
    };
    format!("{how_many} ({which}) of {} {epoch}", node.escape_debug())
}

/// A record for people: time, what happened, to whom, and what is odd about it.
fn line(found: &Found<'_>, message: &Message, is_copy: bool) -> String {
    let when = message.event.time_ms().or(found.timestamp_ms.and_then(|time| time.try_into().ok()));
    let mut line = styled(FAINT, when.map_or_else(|| "-".to_owned(), time));
    match &message.event {
        Event::User(event) => user(event, &mut line),
        Event::Admin(event) => admin(event, &mut line),
        Event::Gap(gap) => tell_gap(gap, &mut line),
    }
    let replayed = message.replayed.as_ref().map(|when| format!("[sent again {}]", when.escape_debug()));
    let doubt = (message.outcome == Outcome::Unknown).then_some("[in doubt]".to_owned());
    let copy = is_copy.then_some("[copy]".to_owned());
    for mark in [doubt, copy, replayed].into_iter().flatten() {
        line.push(' ');
        line.push_str(&styled(ODD, mark));
    }
    line
}

fn user(event: &UserEvent, line: &mut String) {
    let style = if event.error.is_some() || event.kind().ends_with("_ERROR") { BAD } else { GOOD };
    line.push_str(&format!(" {}", styled(style, event.kind().escape_debug())));
    add("error", event.error.as_deref(), line);
    add("realm", event.realm_name.as_deref().or(event.realm_id.as_deref()), line);
    add("user", event.user_id.as_deref(), line);
    add("client", event.client_id.as_deref(), line);
    add("ip", event.ip_address.as_deref(), line);
    details(event.details.as_ref(), line);
}

fn admin(event: &AdminEvent, line: &mut String) {
    let what = format!("{} {}", event.operation().escape_debug(), event.resource().escape_debug());
    line.push_str(&format!(" {}", styled(TITLE, what)));
    add("error", event.error.as_deref(), line);
    add("path", event.resource_path.as_deref(), line);
    add("realm", event.realm_name.as_deref().or(event.realm_id.as_deref()), line);
    let by = event.auth_details.as_ref();
    add("by", by.and_then(|by| by.user_id.as_deref()), line);
    add("ip", by.and_then(|by| by.ip_address.as_deref()), line);
    details(event.details.as_ref(), line);
}

fn tell_gap(gap: &GapRecord, line: &mut String) {
    let events = |number: Option<u64>, kind: &str| match number {
        Some(number) => count(number, &format!("{kind} event")),
        None => format!("an unknown number of {kind} events"),
    };
    let (user, admin) = (events(gap.user_events, "user"), events(gap.admin_events, "admin"));
    line.push_str(&format!(" {} {user} and {admin} are missing", styled(BAD, "GAP")));
    add("cause", Some(&gap.cause), line);
    add("node", Some(&gap.node).filter(|node| !node.is_empty()).map(String::as_str), line);
    line.push_str(&format!("; {}", gap.detail.escape_debug()));
}

fn details(details: Option<&Map<String, Value>>, line: &mut String) {
    for (name, value) in details.into_iter().flatten() {
        match value {
            Value::Null => {}
            Value::String(text) => add(name, Some(text), line),
            other => add(name, Some(&other.to_string()), line),
        }
    }
}

fn add(name: &str, value: Option<&str>, line: &mut String) {
    if let Some(value) = value {
        let name = styled(FAINT, format_args!("{}=", name.escape_debug()));
        line.push_str(&format!(" {name}{}", value.escape_debug()));
    }
}

/// A record for programs.
#[derive(Serialize)]
struct Line<'a> {
    /// `user`, `admin` or `gap`.
    kind: &'static str,
    #[serde(flatten)]
    whence: Whence<'a>,
    timestamp: Option<i64>,
    key: Option<String>,
    id: Option<&'a str>,
    node: Option<&'a str>,
    epoch: Option<String>,
    sequence: Option<u64>,
    /// `committed` or `unknown`.
    outcome: Option<&'static str>,
    copy: bool,
    replayed: Option<&'a str>,
    event: EventJson<'a>,
}

/// An event as it is in Kafka.
#[derive(Serialize)]
#[serde(untagged)]
enum EventJson<'a> {
    User(&'a UserEvent),
    Admin(&'a AdminEvent),
    Gap(&'a GapRecord),
}

#[derive(Serialize)]
struct Whence<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
}

#[derive(Serialize)]
struct Unreadable<'a> {
    kind: &'static str,
    #[serde(flatten)]
    whence: Whence<'a>,
    reason: &'a str,
}

#[derive(Serialize)]
struct Numbers<'a> {
    /// `missing` or `unseen`.
    kind: &'static str,
    node: &'a str,
    epoch: String,
    from: u64,
    to: u64,
}

impl<'a> Whence<'a> {
    fn of(found: &Found<'a>) -> Self {
        Self { topic: found.topic, partition: found.partition, offset: found.offset }
    }
}

impl<'a> Line<'a> {
    fn of(found: &Found<'a>, message: &'a Message, is_copy: bool) -> Self {
        let (kind, event) = match &message.event {
            Event::User(event) => ("user", EventJson::User(event)),
            Event::Admin(event) => ("admin", EventJson::Admin(event)),
            Event::Gap(gap) => ("gap", EventJson::Gap(gap)),
        };
        let place = message.place.as_ref();
        Self {
            kind,
            whence: Whence::of(found),
            timestamp: found.timestamp_ms,
            key: found.key.map(|key| String::from_utf8_lossy(key).into_owned()),
            id: message.id.as_deref(),
            node: place.map(|place| place.node.as_str()),
            epoch: place.map(|place| place.epoch.to_string()),
            sequence: place.map(|place| place.sequence),
            outcome: match message.outcome {
                Outcome::Committed => Some("committed"),
                Outcome::Unknown => Some("unknown"),
                Outcome::Untold => None,
            },
            copy: is_copy,
            replayed: message.replayed.as_deref(),
            event,
        }
    }
}

impl<'a> Unreadable<'a> {
    fn of(found: &Found<'a>, reason: &'a str) -> Self {
        Self { kind: "unreadable", whence: Whence::of(found), reason }
    }
}

impl<'a> Numbers<'a> {
    fn of(kind: &'static str, missing: &'a Missing) -> Self {
        let Missing { node, epoch, numbers } = missing;
        Self { kind, node, epoch: epoch.to_string(), from: numbers.from, to: numbers.to }
    }
}

fn write_line(line: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    writeln!(out)
}
