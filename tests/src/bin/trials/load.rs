//! A journal of [`Events`], a transaction each.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::slot::OwnedSlot;
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{EventKind, Writer};
use keyferry_tests::{Error, Result};

use crate::events::{CLIENT, Events, REALM};

/// A journal that events are written to.
pub struct Load {
    writer: Writer<OwnedSlot, fn() -> u64>,
    slot: PathBuf,
    events: Events,
}

impl Load {
    /// Begins an epoch in the first free slot of `directory`.
    ///
    /// # Errors
    /// Where the slot cannot be written.
    pub fn begin(directory: &Path) -> Result<Self> {
        let slot = OwnedSlot::claim(directory)?;
        let (path, number) = (slot.path().to_owned(), slot.number());
        let options = WriterOptions { node: "written-here".to_owned(), ..WriterOptions::default() };
        let writer = Writer::begin(slot, number, now_ms as fn() -> u64, options)?;
        Ok(Self { writer, slot: path, events: Events::new() })
    }

    /// The slot's directory.
    pub fn slot(&self) -> &Path {
        &self.slot
    }

    /// Writes one event and returns its JSON.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub fn write(&mut self) -> Result<&str> {
        self.events.make();
        let fields = [
            (Field::Id, self.events.id()),
            (Field::Type, self.events.kind()),
            (Field::RealmId, self.events.realm_id()),
            (Field::RealmName, REALM),
            (Field::Client, CLIENT),
            (Field::UserId, self.events.user()),
        ];
        let mut encoder = EventEncoder::new();
        encoder.push(EventKind::User, now_ms(), &fields, self.events.body().as_bytes());
        let transaction = self.writer.next_transaction();
        self.writer.prepare(transaction, encoder.payload())?;
        self.writer.commit(transaction)?;
        Ok(self.events.body())
    }

    /// Writes so many events.
    ///
    /// # Errors
    /// Where the disk does not take them.
    pub fn write_many(&mut self, events: u64) -> Result<()> {
        for _ in 0..events {
            self.write()?;
        }
        Ok(())
    }

    /// Ends the epoch in order.
    ///
    /// # Errors
    /// Where the disk does not take the last record.
    pub fn close(self) -> Result<Written> {
        self.writer.close()?;
        Ok(Written { slot: self.slot, events: self.events.made() })
    }
}

/// A journal that is finished, for any number of agents.
#[derive(Debug)]
pub struct Written {
    slot: PathBuf,
    events: u64,
}

impl Written {
    /// Writes so many events to a journal in `directory`.
    ///
    /// # Errors
    /// Where the disk does not take them.
    pub fn new(directory: &Path, events: u64) -> Result<Self> {
        let mut load = Load::begin(directory)?;
        load.write_many(events)?;
        load.close()
    }

    /// How many events there are.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The same journal in another directory. The files are shared: an agent only reads and removes them.
    ///
    /// # Errors
    /// Where the directory cannot be made.
    pub fn link_to(&self, slot: &Path) -> Result<()> {
        fs::create_dir_all(slot).map_err(Error::io("create", slot))?;
        for entry in fs::read_dir(&self.slot).map_err(Error::io("list", &self.slot))? {
            let entry = entry.map_err(Error::io("list", &self.slot))?;
            let link = slot.join(entry.file_name());
            fs::hard_link(entry.path(), &link).map_err(Error::io("create", &link))?;
        }
        Ok(())
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
