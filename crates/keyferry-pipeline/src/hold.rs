//! Events in doubt that wait for an operator.
//!
//! The invariant: **the checkpoint passes a transaction in doubt only when all of its events lie in the held file and the file is synced.** A
//! transaction that comes by again after a crash is not laid aside a second time, unless an operator has decided on it in between.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::{EventKind, EventView, Transaction};
use serde::{Deserialize, Serialize};

use crate::lines::{self, Exclusive};

/// Where events in doubt are laid aside.
pub trait Held {
    /// Lays the events of `transaction` aside, durably and once.
    ///
    /// # Errors
    /// They could not be kept; the transaction must not be regarded as settled.
    fn hold(&mut self, transaction: &Transaction<'_>, now_ms: u64) -> io::Result<()>;

    /// How many events are laid aside now. Asked once a second.
    fn held(&mut self) -> u64;
}

/// An event that is laid aside: everything that the journal says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldEvent {
    /// When it was laid aside, in milliseconds since the Unix epoch.
    pub held: u64,
    /// The node that raised it.
    pub node: String,
    /// The epoch in which it was journaled, 16 hexadecimal digits.
    pub epoch: String,
    /// The id of its transaction in the epoch.
    pub transaction: u64,
    /// Its place in the transaction, from 0.
    pub index: u64,
    /// Which of Keycloak's two kinds it is.
    pub kind: HeldKind,
    /// Its own time, in milliseconds since the Unix epoch.
    pub time: u64,
    /// Its fields by their tags in the journal's format.
    pub fields: BTreeMap<u8, String>,
    /// Keycloak's own JSON.
    pub body: String,
}

/// Which of Keycloak's two kinds of event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeldKind {
    /// A user event.
    User,
    /// An admin event.
    Admin,
}

impl HeldEvent {
    /// The events of `transaction`.
    ///
    /// # Errors
    /// One of them is malformed.
    pub fn all_of(transaction: &Transaction<'_>, now_ms: u64) -> Result<Vec<Self>, keyferry_journal::Error> {
        let of = |(index, event)| Ok(Self::of(transaction, index, &event?, now_ms));
        (0..).zip(transaction.events()).map(of).collect()
    }

    fn of(transaction: &Transaction<'_>, index: u64, event: &EventView<'_>, now_ms: u64) -> Self {
        let value = |field| Some((field as u8, event.field(field)?.to_owned()));
        Self {
            held: now_ms,
            node: transaction.node.to_owned(),
            epoch: transaction.epoch.to_string(),
            transaction: transaction.id,
            index,
            kind: match event.kind() {
                EventKind::User => HeldKind::User,
                EventKind::Admin => HeldKind::Admin,
            },
            time: event.time_ms(),
            fields: Field::ALL.into_iter().filter_map(value).collect(),
            body: String::from_utf8_lossy(event.body()).into_owned(),
        }
    }

    /// The event's id.
    pub fn id(&self) -> Option<&str> {
        self.fields.get(&(Field::Id as u8)).map(String::as_str)
    }

    /// Adds the event to the payload of a PREPARE, marked so that it stays in doubt whatever becomes of that.
    pub fn encode(&self, payload: &mut EventEncoder) {
        let known = Field::ALL.into_iter().filter(|field| *field != Field::Outcome);
        let value = |field| Some((field, self.fields.get(&(field as u8))?.as_str()));
        let fields: Vec<_> = known.filter_map(value).chain([(Field::Outcome, "unknown")]).collect();
        let kind = match self.kind {
            HeldKind::User => EventKind::User,
            HeldKind::Admin => EventKind::Admin,
        };
        payload.push(kind, self.time, &fields, self.body.as_bytes());
    }
}

/// The file `<destination>.held.jsonl`, one event a line. The agent adds to it and an operator's command takes from it, at the same time if need be.
#[derive(Debug)]
pub struct HeldFile {
    path: PathBuf,
    counted: Option<(Stamp, u64)>,
}

/// Tells one content of a file from the next.
type Stamp = (u64, Option<SystemTime>);

impl HeldFile {
    /// The file at `path`, which is created when it is first needed.
    pub fn new(path: PathBuf) -> Self {
        Self { path, counted: None }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is laid aside.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn list(&self) -> io::Result<Vec<HeldEvent>> {
        lines::read(&self.path)
    }

    /// Takes the events out that `decided` chooses, durably; answers how many.
    ///
    /// # Errors
    /// The file cannot be read or written; nothing was taken out.
    pub fn remove(&mut self, mut decided: impl FnMut(&HeldEvent) -> bool) -> io::Result<usize> {
        let mut file = Exclusive::open(&self.path)?;
        let mut events: Vec<HeldEvent> = file.read()?;
        let before = events.len();
        events.retain(|event| !decided(event));
        let removed = before - events.len();
        if removed > 0 {
            file.replace(&events)?;
        }
        Ok(removed)
    }

    /// Adds what is not there yet.
    fn add(&self, events: &[HeldEvent]) -> io::Result<()> {
        let key = |event: &HeldEvent| (event.epoch.clone(), event.transaction, event.index);
        let mut file = Exclusive::open(&self.path)?;
        let there: BTreeSet<_> = file.read::<HeldEvent>()?.iter().map(key).collect();
        let new: Vec<_> = events.iter().filter(|event| !there.contains(&key(event))).collect();
        // Even where nothing is new: what is there may not have been synced when the agent died.
        file.append(&new)
    }
}

impl Held for HeldFile {
    fn hold(&mut self, transaction: &Transaction<'_>, now_ms: u64) -> io::Result<()> {
        self.add(&HeldEvent::all_of(transaction, now_ms).map_err(io::Error::other)?)
    }

    fn held(&mut self) -> u64 {
        let Ok(metadata) = std::fs::metadata(&self.path) else { return 0 };
        let stamp = (metadata.len(), metadata.modified().ok());
        match self.counted {
            Some((counted, count)) if counted == stamp => count,
            _ => {
                let count = self.list().map_or(0, |events| events.len() as u64);
                self.counted = Some((stamp, count));
                count
            }
        }
    }
}
