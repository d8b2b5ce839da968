//! What a verification found, for people and for programs.

use std::io::{self, Write};

use keyferry_journal::Epoch;
use serde::Serialize;

use crate::terminal::{BAD, Column, GOOD, ODD, TITLE, count, styled, table, time};

/// How many of a kind are listed.
const LISTED: usize = 1000;
/// How many of a kind are shown to people.
const SHOWN: usize = 10;

/// What the records prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing is missing between the first and the last record of each epoch, and nothing is wrong.
    Complete,
    /// Something is missing or wrong.
    Incomplete,
    /// No record carries Keyferry's headers.
    Nothing,
}

/// How often something was met, and the first times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Examples<T> {
    /// How often.
    pub count: u64,
    /// The first.
    pub first: Vec<T>,
}

impl<T> Default for Examples<T> {
    fn default() -> Self {
        Self { count: 0, first: Vec::new() }
    }
}

impl<T> Examples<T> {
    /// Counts one more, which is only made if it is listed.
    pub fn add(&mut self, example: impl FnOnce() -> T) {
        self.count += 1;
        if self.first.len() < LISTED {
            self.first.push(example());
        }
    }
}

/// Sequence numbers that no record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// A record with the number of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The number.
    pub sequence: u64,
    /// The id of the one that was read second.
    pub second_id: String,
}

/// A record that follows a later one of its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The key.
    pub key: String,
    /// The record's number.
    pub sequence: u64,
    /// The epoch of the one before it in the partition.
    pub after_epoch: String,
    /// Its number.
    pub after_sequence: u64,
}

/// What was found of one epoch of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EpochReport {
    /// The node.
    pub node: String,
    /// The epoch.
    pub epoch: String,
    /// The slot on which it was lived.
    pub slot: u8,
    /// Records, copies included.
    pub records: u64,
    /// The lowest sequence number.
    pub first_sequence: u64,
    /// The highest.
    pub last_sequence: u64,
    /// Records whose transaction's outcome is unknown, copies not included.
    pub outcome_unknown: u64,
    /// Further copies.
    pub duplicates: u64,
    /// Duplicates of which it is not known any more whether their ids are equal.
    pub unchecked_duplicates: u64,
    /// Sequence numbers that are missing.
    pub missing: u64,
    /// Where they are missing.
    pub gaps: Examples<Gap>,
    /// Sequence numbers that are missing, but may have been deleted by the topic's retention.
    pub expired: u64,
    /// Different records with one number.
    pub conflicts: Examples<Conflict>,
    /// Records that follow a later one of their key.
    pub order_violations: Examples<Violation>,
}

impl EpochReport {
    fn is_sound(&self) -> bool {
        self.missing == 0 && self.conflicts.count == 0 && self.order_violations.count == 0
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What it proves.
    pub verdict: Verdict,
    /// All records.
    pub records: u64,
    /// Records without Keyferry's headers.
    pub foreign: u64,
    /// Records with Keyferry's headers, but not as they should be.
    pub unreadable: u64,
    /// Duplicates of which it is not known any more whether their ids are equal.
    pub unchecked_duplicates: u64,
    /// Keys whose last record was forgotten, so that their order was not compared over a long distance.
    pub forgotten_keys: u64,
    /// Each epoch of each node.
    pub epochs: Vec<EpochReport>,
}

impl Report {
    /// The report of these epochs.
    pub fn of(epochs: Vec<EpochReport>, foreign: u64, unreadable: u64, forgotten_keys: u64) -> Self {
        let verdict = if unreadable > 0 || !epochs.iter().all(EpochReport::is_sound) {
            Verdict::Incomplete
        } else if epochs.is_empty() {
            Verdict::Nothing
        } else {
            Verdict::Complete
        };
        Self {
            verdict,
            records: epochs.iter().map(|epoch| epoch.records).sum::<u64>() + foreign + unreadable,
            foreign,
            unreadable,
            unchecked_duplicates: epochs.iter().map(|epoch| epoch.unchecked_duplicates).sum(),
            forgotten_keys,
            epochs,
        }
    }

    /// Prints it for people.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        self.print_table(out)?;
        for epoch in self.epochs.iter().filter(|epoch| !epoch.is_sound()) {
            epoch.print_problems(out)?;
        }
        self.print_remarks(out)?;
        self.print_verdict(out)
    }

    fn print_table(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.epochs.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = self.epochs.iter().map(EpochReport::row).collect();
        let columns = [
            Column::Left("NODE"),
            Column::Left("EPOCH"),
            Column::Left("BEGUN"),
            Column::Right("RECORDS"),
            Column::Right("FIRST"),
            Column::Right("LAST"),
            Column::Right("DUPLICATES"),
            Column::Right("MISSING"),
            Column::Right("CONFLICTS"),
            Column::Right("DISORDER"),
            Column::Right("IN DOUBT"),
        ];
        table(out, columns, &rows)
    }

    fn print_remarks(&self, out: &mut dyn Write) -> io::Result<()> {
        let expired: u64 = self.epochs.iter().map(|epoch| epoch.expired).sum();
        let remarks = [
            (self.foreign, "without Keyferry's headers: not verified"),
            (
                self.unreadable,
                "with Keyferry's headers that cannot be read: written by something else, or altered",
            ),
            (
                expired,
                "before the beginning of a partition: deleted by the topic's retention, as far as can be told",
            ),
            (self.unchecked_duplicates, "whose first copy lies too far back to compare their ids"),
        ];
        for (number, remark) in remarks.into_iter().filter(|(number, _)| *number > 0) {
            writeln!(out, "{} {remark}", styled(ODD, count(number, "record")))?;
        }
        if self.forgotten_keys > 0 {
            let keys = styled(ODD, count(self.forgotten_keys, "key"));
            writeln!(out, "{keys} forgotten: order was compared over the last 500,000 different keys only")?;
        }
        Ok(())
    }

    fn print_verdict(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.verdict {
            Verdict::Complete => {
                let copies: u64 = self.epochs.iter().map(|epoch| epoch.duplicates).sum();
                let records = count(self.records - self.foreign - copies, "record");
                let epochs = count(self.epochs.len() as u64, "epoch");
                writeln!(
                    out,
                    "{}: {records} of {epochs}, nothing is missing between the first and the last of each",
                    styled(GOOD, "complete")
                )
            }
            Verdict::Incomplete => writeln!(out, "{}", styled(BAD, "not complete")),
            Verdict::Nothing => writeln!(
                out,
                "{}: no record carries Keyferry's headers; check the topics, and that `destination.headers` is not `none`",
                styled(BAD, "nothing to verify")
            ),
        }
    }
}

impl EpochReport {
    fn row(&self) -> [String; 11] {
        [
            self.node.clone(),
            self.epoch.clone(),
            self.epoch.parse().map_or_else(|_| String::new(), |Epoch(micros)| time(micros / 1000)),
            self.records.to_string(),
            self.first_sequence.to_string(),
            self.last_sequence.to_string(),
            self.duplicates.to_string(),
            self.missing.to_string(),
            self.conflicts.count.to_string(),
            self.order_violations.count.to_string(),
            self.outcome_unknown.to_string(),
        ]
    }

    fn print_problems(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", styled(TITLE, format_args!("{} {}", self.node, self.epoch)))?;
        print_examples(out, "missing", &self.gaps, |gap| match gap.last - gap.first {
            0 => format!("sequence {}", gap.first),
            further => format!("sequences {} to {} ({})", gap.first, gap.last, count(further + 1, "record")),
        })?;
        print_examples(out, "conflict", &self.conflicts, |conflict| {
            format!(
                "sequence {} is on two different records; the second has the id {}",
                conflict.sequence, conflict.second_id
            )
        })?;
        print_examples(out, "disorder", &self.order_violations, |violation| {
            format!(
                "key {}: sequence {} follows {} of epoch {}",
                violation.key, violation.sequence, violation.after_sequence, violation.after_epoch
            )
        })
    }
}

fn print_examples<T>(
    out: &mut dyn Write,
    title: &str,
    examples: &Examples<T>,
    describe: impl Fn(&T) -> String,
) -> io::Result<()> {
    for example in examples.first.iter().take(SHOWN) {
        writeln!(out, "  {} {}", styled(BAD, title), describe(example))?;
    }
    let more = examples.count.saturating_sub(SHOWN as u64);
    if more > 0 {
        writeln!(out, "  {} … and {more} more", styled(BAD, title))?;
    }
    Ok(())
}
