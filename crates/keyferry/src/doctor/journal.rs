//! The journal: whose it is, who may read it, whether it can be read, and what in it waits for somebody.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyferry_journal::LockHolder;

use super::checks::{
    JOURNAL_DAMAGE, JOURNAL_DIRECTORY, JOURNAL_EVENTS, JOURNAL_IN_DOUBT, JOURNAL_MODE, JOURNAL_OWNER,
};
use super::finding::Finding;
use super::within;
use crate::error::Error;
use crate::journal::check::examine;
use crate::journal::slot::Slot;
use crate::terminal::count;

/// So many of one kind are told, and of the others only their number.
const TOLD: usize = 3;

/// A directory or file of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// The bits of its mode that are permissions.
    pub mode: u32,
    /// The number of the user whose it is.
    pub owner: u32,
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its name.
    pub slot: String,
    /// Who writes it.
    pub writer: Option<LockHolder>,
    /// Who ships it.
    pub agent: Option<LockHolder>,
    /// Events in doubt that wait for an operator, by destination.
    pub held: BTreeMap<String, u64>,
    /// What came of reading it through.
    pub attempt: Attempt,
}

/// What came of reading a slot through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// This.
    Through(Reading),
    /// It cannot be read.
    Failed(String),
    /// It had not ended after so long.
    TooLong(Duration),
}

/// What reading a slot through has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What is damaged.
    pub damage: Vec<String>,
    /// Whether it holds, or has held, any transaction.
    pub has_events: bool,
    /// Whether something in it is not delivered to every destination.
    pub has_undelivered: bool,
}

/// The journal's slots at `place`.
///
/// # Errors
/// In words, why there are none.
pub fn slots(place: &Path) -> Result<Vec<Slot>, String> {
    Slot::all_of(place).map_err(|error| match error {
        Error::Directory { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            "it does not exist".to_owned()
        }
        Error::NoJournal(_) => "it is neither a journal nor a slot".to_owned(),
        error => error.to_string(),
    })
}

/// Whether there is a journal at `place`.
pub fn judge_directory(place: &Path, slots: &Result<Vec<Slot>, String>) -> Finding {
    match slots {
        Ok(slots) => JOURNAL_DIRECTORY.ok(place.display(), count(slots.len() as u64, "slot")),
        Err(reason) => JOURNAL_DIRECTORY.problem(place.display(), reason.clone()),
    }
}

/// The journal directory `place`, its slots, and what lies in them.
///
/// # Errors
/// Something cannot be listed.
pub fn entries(place: &Path, slots: &[Slot]) -> io::Result<Vec<Entry>> {
    let mut entries = vec![Entry::at(place.to_owned())?];
    for slot in slots {
        if slot.path() != place {
            entries.push(Entry::at(slot.path().to_owned())?);
        }
        for file in fs::read_dir(slot.path())? {
            match Entry::at(file?.path()) {
                // The agent has deleted or replaced it since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                entry => entries.push(entry?),
            }
        }
    }
    Ok(entries)
}

impl Entry {
    fn at(path: PathBuf) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(&path)?;
        let (is_directory, mode, owner) = (metadata.is_dir(), metadata.mode() & 0o777, metadata.uid());
        Ok(Self { path, is_directory, mode, owner })
    }

    /// What is wrong with its mode.
    fn misgiven(&self) -> Option<&'static str> {
        let own = if self.is_directory { 0o700 } else { 0o600 };
        if self.mode & own != own {
            Some("its owner may not use it")
        } else if self.mode & 0o007 != 0 {
            Some("everybody may use it")
        } else {
            None
        }
    }
}

/// What follows from whose the entries are and who may use them; the first of them is the journal directory.
pub fn judge_entries(entries: &[Entry]) -> Vec<Finding> {
    let Some(journal) = entries.first() else { return Vec::new() };
    let foreign: Vec<String> = entries
        .iter()
        .filter(|entry| entry.owner != journal.owner)
        .map(|entry| format!("{} is of user {}", entry.path.display(), entry.owner))
        .collect();
    let misgiven: Vec<String> = entries
        .iter()
        .filter_map(|entry| {
            Some(format!("{} has mode {:03o}: {}", entry.path.display(), entry.mode, entry.misgiven()?))
        })
        .collect();
    let place = journal.path.display();
    vec![
        if misgiven.is_empty() {
            JOURNAL_MODE.ok(&place, "nobody else may use it")
        } else {
            JOURNAL_MODE.problem(&place, some_of(&misgiven))
        },
        if foreign.is_empty() {
            JOURNAL_OWNER.ok(&place, format!("all of it is of user {}", journal.owner))
        } else {
            JOURNAL_OWNER
                .problem(&place, format!("it is of user {}, but {}", journal.owner, some_of(&foreign)))
        },
    ]
}

impl Content {
    /// Looks at `slot`, and reads it through for as long as `limit`.
    pub fn of(slot: &Slot, limit: Duration) -> Self {
        let held = slot.held().unwrap_or_default();
        let (writer, agent) = (slot.writer().ok().flatten(), slot.agent().ok().flatten());
        let read = slot.clone();
        let attempt = match within(limit, move || reading(&read)) {
            None => Attempt::TooLong(limit),
            Some(Err(error)) => Attempt::Failed(error.to_string()),
            Some(Ok(reading)) => Attempt::Through(reading),
        };
        Self { slot: slot.name(), writer, agent, held, attempt }
    }

    /// Whether it holds, or has held, any event. What takes long to read does.
    fn has_events(&self) -> bool {
        match &self.attempt {
            Attempt::Through(reading) => reading.has_events,
            Attempt::Failed(_) => false,
            Attempt::TooLong(_) => true,
        }
    }

    /// Whether somebody has to ship it, as far as is known.
    pub fn needs_agent(&self) -> bool {
        let has_undelivered = matches!(&self.attempt, Attempt::Through(reading) if reading.has_undelivered);
        self.writer.is_some() || has_undelivered
    }
}

fn reading(slot: &Slot) -> Result<Reading, Error> {
    let mut damage = Vec::new();
    let read = examine(slot, &mut |remark| {
        if remark.is_damage() {
            damage.push(remark.to_string());
        }
        Ok(())
    })?;
    let delivered = slot.delivered()?.map(|resume| (resume.epoch, resume.commit));
    Ok(Reading {
        damage,
        has_events: read.transactions > 0 || delivered.is_some_and(|(_, commit)| commit > 0),
        has_undelivered: read.last > delivered,
    })
}

/// What follows from what the slots of the journal at `place` hold.
pub fn judge_contents(place: &Path, contents: &[Content]) -> Vec<Finding> {
    let mut findings: Vec<_> = contents.iter().map(judge_damage).collect();
    findings.push(judge_held(place, contents));
    findings.push(if contents.iter().any(Content::has_events) {
        JOURNAL_EVENTS.ok(place.display(), "Keycloak has journaled events")
    } else {
        JOURNAL_EVENTS.warning(place.display(), "no event has been journaled yet")
    });
    findings
}

fn judge_damage(content: &Content) -> Finding {
    let slot = &content.slot;
    match &content.attempt {
        Attempt::Failed(reason) => JOURNAL_DAMAGE.problem(slot, format!("it cannot be read: {reason}")),
        Attempt::TooLong(limit) => JOURNAL_DAMAGE.skipped(
            slot,
            format!("it was not read through in {limit:?}: give a longer --timeout, or use `keyferry journal check`"),
        ),
        Attempt::Through(reading) if reading.damage.is_empty() => {
            JOURNAL_DAMAGE.ok(slot, "all of it can be read")
        }
        Attempt::Through(reading) => JOURNAL_DAMAGE.problem(slot, some_of(&reading.damage)),
    }
}

fn judge_held(place: &Path, contents: &[Content]) -> Finding {
    let held: Vec<String> = contents
        .iter()
        .flat_map(|content| {
            let told = |(destination, number): (&String, &u64)| {
                format!("{} of {} for {destination}", count(*number, "event"), content.slot)
            };
            content.held.iter().map(told)
        })
        .collect();
    if held.is_empty() {
        return JOURNAL_IN_DOUBT.ok(place.display(), "no event is held");
    }
    JOURNAL_IN_DOUBT.warning(place.display(), some_of(&held))
}

/// The first of them, and how many more there are.
fn some_of(texts: &[String]) -> String {
    let told = texts.iter().take(TOLD).cloned().collect::<Vec<_>>().join("; ");
    match texts.len().saturating_sub(TOLD) {
        0 => told,
        more => format!("{told}; and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    fn wrong(findings: Vec<Finding>) -> Vec<(&'static str, Severity)> {
        let wrong = findings.into_iter().filter(|finding| finding.severity > Severity::Ok);
        wrong.map(|finding| (finding.check, finding.severity)).collect()
    }

    fn entry(path: &str, is_directory: bool, mode: u32, owner: u32) -> Entry {
        Entry { path: PathBuf::from(path), is_directory, mode, owner }
    }

    #[test]
    fn a_journal_is_private_and_of_one_user() {
        let journal = entry("journal", true, 0o700, 1000);
        let with = |other: Entry| judge_entries(&[journal.clone(), other]);
        assert_eq!(wrong(with(entry("a.kfj", false, 0o600, 1000))), []);
        // As Kubernetes shares a volume within a pod.
        assert_eq!(wrong(with(entry("slot-0", true, 0o770, 1000))), []);
        let mode = [("journal.mode", Severity::Problem)];
        assert_eq!(wrong(with(entry("a.kfj", false, 0o604, 1000))), mode);
        assert_eq!(wrong(with(entry("a.kfj", false, 0o400, 1000))), mode);
        assert_eq!(wrong(with(entry("slot-0", true, 0o500, 1000))), mode);
        assert_eq!(wrong(with(entry("a.kfj", false, 0o600, 0))), [("journal.owner", Severity::Problem)]);
    }

    #[test]
    fn what_slots_hold_is_judged() {
        let sound = Content {
            slot: "slot-0".to_owned(),
            writer: None,
            agent: None,
            held: BTreeMap::new(),
            attempt: Attempt::Through(Reading { has_events: true, ..Reading::default() }),
        };
        let judged = |content: Content| wrong(judge_contents(Path::new("journal"), &[content]));
        assert_eq!(judged(sound.clone()), []);
        let damaged = Reading { damage: vec!["bytes".to_owned()], has_events: true, has_undelivered: false };
        let damage = [("journal.damage", Severity::Problem)];
        assert_eq!(judged(Content { attempt: Attempt::Through(damaged), ..sound.clone() }), damage);
        let held = [("default".to_owned(), 1)].into();
        assert_eq!(judged(Content { held, ..sound.clone() }), [("journal.in-doubt", Severity::Warning)]);
        let unreadable = Content { attempt: Attempt::Failed("no".to_owned()), ..sound.clone() };
        assert_eq!(judged(unreadable)[0], damage[0]);
        let long = Content { attempt: Attempt::TooLong(Duration::from_secs(1)), ..sound.clone() };
        assert_eq!(judged(long), []);
        let empty = Content { attempt: Attempt::Through(Reading::default()), ..sound };
        assert_eq!(judged(empty), [("journal.events", Severity::Warning)]);
    }

    #[test]
    fn of_many_things_some_are_told_and_the_rest_counted() {
        let texts: Vec<String> = (1..=5).map(|number| number.to_string()).collect();
        assert_eq!(some_of(&texts), "1; 2; 3; and 2 more");
        assert_eq!(some_of(&texts[..3]), "1; 2; 3");
    }
}
