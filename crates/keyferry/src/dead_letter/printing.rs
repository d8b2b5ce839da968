//! What people and programs see of dead letters.

use std::io::{self, Write};

use keyferry_pipeline::LaidAside;
use serde::Serialize;

use super::letters::LetterBox;
use super::{Done, write_json};
use crate::error::{Error, Finding};
use crate::terminal::{BAD, FAINT, GOOD, ODD, TITLE, count, size, styled, time};

/// A letter as JSON.
#[derive(Serialize)]
struct Line<'a> {
    slot: &'a str,
    destination: &'a str,
    #[serde(flatten)]
    letter: &'a LaidAside,
}

/// One line a letter.
pub fn list(boxes: &[LetterBox], json: bool, out: &mut dyn Write) -> Result<Finding, Error> {
    for letter_box in boxes {
        if !json {
            let LetterBox { slot, destination, letters, .. } = letter_box;
            let many = styled(ODD, count(letters.len() as u64, "dead letter"));
            writeln!(out, "{}: {many} of {destination}", styled(TITLE, slot))?;
        }
        for letter in &letter_box.letters {
            if json { write_letter(letter_box, letter, out)? } else { summarise(letter, out)? }
        }
    }
    if boxes.is_empty() && !json {
        writeln!(out, "no dead letters")?;
    }
    Ok(Finding::Nothing)
}

/// Everything of a letter.
pub fn show(letter_box: &LetterBox, letter: &LaidAside, json: bool, out: &mut dyn Write) -> io::Result<()> {
    if json {
        return write_letter(letter_box, letter, out);
    }
    let LetterBox { slot, destination, .. } = letter_box;
    writeln!(out, "{} in {slot}, of {destination}", styled(TITLE, letter.id.escape_debug()))?;
    for (name, value) in [
        ("refused", time(letter.laid_aside)),
        ("cause", letter.cause.escape_debug().to_string()),
        ("topic", letter.topic.escape_debug().to_string()),
        ("time", time(letter.timestamp)),
        ("key", letter.key.escape_debug().to_string()),
    ] {
        writeln!(out, "  {} {value}", styled(FAINT, format_args!("{name:<8}")))?;
    }
    for (name, value) in &letter.headers {
        writeln!(out, "  {} {}", styled(FAINT, name.escape_debug()), value.escape_debug())?;
    }
    writeln!(out, "  {}", String::from_utf8_lossy(&letter.value).escape_debug())
}

fn write_letter(letter_box: &LetterBox, letter: &LaidAside, out: &mut dyn Write) -> io::Result<()> {
    let LetterBox { slot, destination, .. } = letter_box;
    write_json(&Line { slot, destination, letter }, out)
}

/// One line for people. What users typed must not move their cursor.
fn summarise(letter: &LaidAside, out: &mut dyn Write) -> io::Result<()> {
    let event_type = letter.headers.get("ce_type").map_or("-", String::as_str);
    write!(out, "  {} {}", time(letter.timestamp), styled(TITLE, event_type.escape_debug()))?;
    let bytes = size(letter.value.len() as u64);
    let fields = [
        ("topic", Some(&*letter.topic)),
        ("size", Some(&*bytes)),
        ("event", letter.event_id()),
        ("id", Some(&*letter.id)),
        ("cause", Some(&*letter.cause)),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            write!(out, " {}{}", styled(FAINT, format_args!("{name}=")), value.escape_debug())?;
        }
    }
    writeln!(out)
}

/// What became of the letters of one file, as JSON.
#[derive(Serialize)]
struct Outcome<'a> {
    slot: &'a str,
    destination: &'a str,
    delivered: u64,
    dropped: u64,
    refused: &'a [Refused],
}

/// A letter that Kafka refused again.
#[derive(Debug, Serialize)]
pub struct Refused {
    /// Which.
    pub id: String,
    /// Why.
    pub cause: String,
}

/// What became of the letters of one file.
pub fn done(letter_box: &LetterBox, done: &Done, json: bool, out: &mut dyn Write) -> io::Result<()> {
    let LetterBox { slot, destination, .. } = letter_box;
    let Done { delivered, dropped, refused, .. } = done;
    if json {
        let (delivered, dropped) = (*delivered, *dropped);
        return write_json(&Outcome { slot, destination, delivered, dropped, refused }, out);
    }
    for (number, what) in [(*delivered, "delivered"), (*dropped, "dropped")] {
        if number > 0 {
            writeln!(out, "{slot}: {} of {destination} {what}", styled(GOOD, count(number, "dead letter")))?;
        }
    }
    for Refused { id, cause } in refused {
        writeln!(out, "{} {}: {}", styled(BAD, "refused again"), id.escape_debug(), cause.escape_debug())?;
    }
    Ok(())
}

/// Ids that nobody knows. On standard error, so that they disturb no program that reads the rest.
pub fn not_found(unknown: &[&str]) {
    for id in unknown {
        anstream::eprintln!(
            "{} {}: there is no dead letter with this id",
            styled(BAD, "not found"),
            id.escape_debug()
        );
    }
}
