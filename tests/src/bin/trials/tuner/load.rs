//! Events as those of logins are: of the same size, and as hard to compress.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::slot::OwnedSlot;
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{EventKind, Writer};
use keyferry_tests::Result;

/// How many users log in.
const USERS: u64 = 10_000;
const REALM: &str = "8b1f0d5e-3a77-4a0e-9c44-1f6f3c0d2b11";

/// A journal that logins are written to.
pub struct Load {
    writer: Writer<OwnedSlot, fn() -> u64>,
    slot: PathBuf,
    written: u64,
    choices: Rng,
    body: String,
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
        Ok(Self { writer, slot: path, written: 0, choices: Rng::with_seed(1), body: String::new() })
    }

    /// The slot's directory.
    pub fn slot(&self) -> &Path {
        &self.slot
    }

    /// Writes one login. Its id begins with its number, which counts from 0 and has ten digits.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub fn write(&mut self) -> Result<()> {
        let id = format!("{:010}-{:016x}", self.written, self.choices.u64(..));
        let user = uuid(&mut Rng::with_seed(self.choices.u64(..USERS)));
        let (session, code) = (uuid(&mut self.choices), uuid(&mut self.choices));
        let (now, address) = (now_ms(), self.choices.u32(..));
        let [a, b, c, d] = address.to_be_bytes();
        self.body.clear();
        // Writing to a string cannot fail.
        let _ = write!(
            self.body,
            "{{\"id\":\"{id}\",\"time\":{now},\"type\":\"LOGIN\",\"realmId\":\"{REALM}\",\"realmName\":\"shop\",\"clientId\":\"web-shop\",\
             \"userId\":\"{user}\",\"sessionId\":\"{session}\",\"ipAddress\":\"{a}.{b}.{c}.{d}\",\"error\":null,\"details\":{{\
             \"auth_method\":\"openid-connect\",\"auth_type\":\"code\",\"response_type\":\"code\",\"redirect_uri\":\"https://shop.example/callback\",\
             \"consent\":\"no_consent_required\",\"code_id\":\"{code}\",\"response_mode\":\"query\",\"username\":\"{}@example.com\"}}}}",
            &user[..8]
        );
        let fields = [
            (Field::Id, id.as_str()),
            (Field::Type, "LOGIN"),
            (Field::RealmId, REALM),
            (Field::UserId, user.as_str()),
        ];
        let mut events = EventEncoder::new();
        events.push(EventKind::User, now, &fields, self.body.as_bytes());
        let transaction = self.writer.next_transaction();
        self.writer.prepare(transaction, events.payload())?;
        self.writer.commit(transaction)?;
        self.written += 1;
        Ok(())
    }

    /// Ends the epoch in order.
    ///
    /// # Errors
    /// Where the disk does not take the last record.
    pub fn close(self) -> Result<()> {
        self.writer.close()?;
        Ok(())
    }
}

fn uuid(choices: &mut Rng) -> String {
    let bits = choices.u128(..);
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        (bits >> 96) as u32,
        (bits >> 80) as u16,
        (bits >> 68) & 0xfff,
        (bits >> 56) & 0xfff,
        bits & 0xffff_ffff_ffff
    )
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
