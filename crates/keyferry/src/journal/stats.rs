//! `keyferry journal stats`: how much of what.
//!
//! Two passes: one over the records, which also sees what was rolled back; one over the transactions, which knows their outcomes.

use std::collections::BTreeMap;
use std::io::{self, Write};

use keyferry_journal::format::Kind;
use keyferry_journal::{EventKind, EventView, Item, Outcome, Piece};
use serde::Serialize;

use super::print_json;
use super::reading::{each_item, each_piece};
use super::slot::Slot;
use crate::error::{Error, Finding};
use crate::terminal::{Column, ODD, TITLE, count, size, styled, table, time};

/// How many different types or realms are counted one by one; the rest together. Names come from outside and must not fill the memory.
const DISTINCT: usize = 10_000;
/// Where the rest is counted.
const REST: &str = "(others)";

#[derive(Debug, Default, Serialize)]
struct Tally {
    records: u64,
    bytes: u64,
}

#[derive(Debug, Default, Serialize)]
struct Transactions {
    committed: u64,
    in_doubt: u64,
    rolled_back: u64,
    open: usize,
    lost: u64,
}

#[derive(Debug, Default, Serialize)]
struct Missing {
    gap_records: u64,
    user_events: u64,
    admin_events: u64,
}

#[derive(Debug, Default, Serialize)]
struct Stats {
    slot: String,
    segments: usize,
    epochs: usize,
    bytes: u64,
    unreadable_bytes: u64,
    records: BTreeMap<String, Tally>,
    transactions: Transactions,
    user_events: u64,
    admin_events: u64,
    event_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events_per_second: Option<f64>,
    missing: Missing,
    types: BTreeMap<String, u64>,
    realms: BTreeMap<String, u64>,
    #[serde(skip)]
    span: Option<(u64, u64)>,
}

/// Counts what is in the slots.
///
/// # Errors
/// A slot cannot be read.
pub fn run(slots: &[Slot], json: bool, out: &mut dyn Write) -> Result<Finding, Error> {
    for slot in slots {
        let stats = Stats::of(slot)?;
        if json {
            print_json(out, &stats)?;
        } else {
            stats.print(out)?;
        }
    }
    Ok(Finding::Nothing)
}

impl Stats {
    fn of(slot: &Slot) -> Result<Self, Error> {
        let mut stats = Self { slot: slot.name(), ..Self::default() };
        stats.count_records(slot)?;
        let rest = each_item(slot, |item| {
            stats.count_item(item);
            Ok(())
        })?;
        stats.transactions.open = rest.open_transactions;
        stats.settle();
        Ok(stats)
    }

    fn count_records(&mut self, slot: &Slot) -> Result<(), Error> {
        let mut epoch = None;
        for segment in slot.segments()? {
            self.segments += 1;
            self.bytes += segment.length;
            self.epochs += usize::from(epoch.replace(segment.name.epoch) != Some(segment.name.epoch));
            each_piece(slot, segment.name, |piece| {
                self.count_piece(piece);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn count_piece(&mut self, piece: &Piece<'_>) {
        match piece {
            Piece::Header(_) => {}
            Piece::Record { header, .. } => {
                let tally = self.records.entry(header.kind.to_string()).or_default();
                tally.records += 1;
                tally.bytes += header.length() as u64;
                self.transactions.rolled_back += u64::from(header.kind == Kind::Abort);
                let (first, last) = self.span.unwrap_or((u64::MAX, 0));
                self.span = Some((first.min(header.written_ms), last.max(header.written_ms)));
            }
            Piece::Unreadable { from, to, .. } => self.unreadable_bytes += to - from,
        }
    }

    fn count_item(&mut self, item: &Item<'_>) {
        match item {
            Item::Transaction(transaction) => {
                match transaction.outcome {
                    Outcome::Committed => self.transactions.committed += 1,
                    Outcome::Unknown => self.transactions.in_doubt += 1,
                }
                for event in transaction.events().flatten() {
                    self.count_event(&event);
                }
            }
            Item::LostTransaction { .. } => self.transactions.lost += 1,
            Item::Gap(gap) => {
                self.missing.gap_records += 1;
                self.missing.user_events += gap.user_events;
                self.missing.admin_events += gap.admin_events;
            }
            _ => {}
        }
    }

    fn count_event(&mut self, event: &EventView<'_>) {
        self.event_bytes += event.body().len() as u64;
        let event_type = event.event_type().unwrap_or("-");
        match event.kind() {
            EventKind::User => {
                self.user_events += 1;
                increment(&mut self.types, event_type);
            }
            EventKind::Admin => {
                self.admin_events += 1;
                let resource = event.resource_type().unwrap_or("-");
                increment(&mut self.types, &format!("{resource}.{event_type}"));
            }
        }
        increment(&mut self.realms, event.realm_name().or(event.realm_id()).unwrap_or("-"));
    }

    /// What follows from the counts.
    fn settle(&mut self) {
        let Some((first, last)) = self.span else { return };
        self.first = Some(time(first));
        self.last = Some(time(last));
        let seconds = last.saturating_sub(first) as f64 / 1000.0;
        let events = (self.user_events + self.admin_events) as f64;
        self.events_per_second = (seconds > 0.0).then(|| (events / seconds * 1000.0).round() / 1000.0);
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{}: {} of {}, {}",
            styled(TITLE, &self.slot),
            count(self.segments as u64, "segment"),
            count(self.epochs as u64, "epoch"),
            size(self.bytes)
        )?;
        self.print_times(out)?;
        let Transactions { committed, in_doubt, rolled_back, open, lost } = self.transactions;
        write!(
            out,
            "  transactions: {committed} committed, {in_doubt} in doubt, {rolled_back} rolled back, {open} open"
        )?;
        if lost > 0 {
            write!(out, ", {}", styled(ODD, format_args!("{lost} lost")))?;
        }
        writeln!(out)?;
        let events = format!("{} user, {} admin", self.user_events, self.admin_events);
        writeln!(out, "  events: {events}, {} of JSON", size(self.event_bytes))?;
        self.print_missing(out)?;
        let rows: Vec<_> = self
            .records
            .iter()
            .map(|(kind, tally)| [kind.clone(), tally.records.to_string(), size(tally.bytes)])
            .collect();
        let columns = [Column::Left("RECORD"), Column::Right("NUMBER"), Column::Right("SIZE")];
        print_table(out, columns, &rows)?;
        print_table(out, [Column::Left("TYPE"), Column::Right("EVENTS")], &ranked(&self.types))?;
        print_table(out, [Column::Left("REALM"), Column::Right("EVENTS")], &ranked(&self.realms))
    }

    fn print_times(&self, out: &mut dyn Write) -> io::Result<()> {
        let (Some(first), Some(last)) = (&self.first, &self.last) else { return Ok(()) };
        write!(out, "  written: {first} to {last}")?;
        match self.events_per_second {
            Some(rate) => writeln!(out, ", {rate} events a second"),
            None => writeln!(out),
        }
    }

    fn print_missing(&self, out: &mut dyn Write) -> io::Result<()> {
        let Missing { gap_records, user_events, admin_events } = self.missing;
        if gap_records > 0 {
            let records = styled(ODD, count(gap_records, "gap record"));
            let events =
                format!("{} and {}", count(user_events, "user event"), count(admin_events, "admin event"));
            writeln!(out, "  {records}: {events} could not be journaled")?;
        }
        if self.unreadable_bytes > 0 {
            let bytes = styled(ODD, count(self.unreadable_bytes, "unreadable byte"));
            writeln!(out, "  {bytes}: see `keyferry journal check`")?;
        }
        Ok(())
    }
}

fn print_table<const N: usize>(
    out: &mut dyn Write,
    columns: [Column; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    if rows.is_empty() { Ok(()) } else { table(out, columns, rows) }
}

fn increment(counts: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
        return;
    }
    let name = if counts.len() < DISTINCT { name } else { REST };
    *counts.entry(name.to_owned()).or_default() += 1;
}

/// The most frequent first.
fn ranked(counts: &BTreeMap<String, u64>) -> Vec<[String; 2]> {
    let mut ranked: Vec<_> = counts.iter().collect();
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    ranked.into_iter().map(|(name, count)| [name.escape_debug().to_string(), count.to_string()]).collect()
}
