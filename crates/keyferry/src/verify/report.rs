//! What a verification found, for people and for programs.

use std::io::{self, Write};

use keyferry_client::{GapRecord, Span};
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
    /// The same, but gap records tell of events that are missing.
    Explained,
    /// Something is missing or wrong.
    Incomplete,
    /// No record carries Keyferry's headers, or none was sent for the first time.
    Nothing,
}

impl Verdict {
    /// Whether nothing is missing that is not accounted for.
    pub fn is_complete(self) -> bool {
        matches!(self, Self::Complete | Self::Explained)
    }
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

/// What a gap record tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Its number; where it is in two topics, that of the one that was read first.
    pub sequence: u64,
    /// Why events are missing.
    pub cause: String,
    /// How many user events, if that is known.
    pub user_events: Option<u64>,
    /// How many admin events, if that is known.
    pub admin_events: Option<u64>,
    /// Numbers that may never appear.
    pub sequences: Option<Span>,
    /// The same in a sentence.
    pub detail: String,
}

impl Told {
    /// What `notice`, which has the number `sequence`, tells.
    pub fn of(sequence: u64, notice: &GapRecord) -> Self {
        let GapRecord { cause, user_events, admin_events, sequences, detail, .. } = notice.clone();
        Self { sequence, cause, user_events, admin_events, sequences, detail }
    }

    fn describe(&self) -> String {
        let events = |number: Option<u64>, kind: &str| match number {
            Some(number) => count(number, &format!("{kind} event")),
            None => format!("an unknown number of {kind} events"),
        };
        let mut text = format!(
            "sequence {} ({}): {} and {} are missing",
            self.sequence,
            self.cause.escape_debug(),
            events(self.user_events, "user"),
            events(self.admin_events, "admin")
        );
        if let Some(Span { from, to }) = self.sequences {
            text.push_str(&format!(", sequences {from} to {to} may never appear"));
        }
        if !self.detail.is_empty() {
            text.push_str(&format!("; {}", self.detail.escape_debug()));
        }
        text
    }
}

/// Records that belong to no epoch, and what had to be forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Other {
    /// Records without Keyferry's headers.
    pub foreign: u64,
    /// How many of them are gap records all the same, as their values tell.
    pub gap_records_without_headers: u64,
    /// Records with Keyferry's headers, but not as they should be.
    pub unreadable: u64,
    /// Records of more epochs, nodes and slots than can be remembered.
    pub beyond_limits: u64,
    /// Keys whose last record was forgotten.
    pub forgotten_keys: u64,
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
    /// Sequence numbers that are missing, as gap records tell.
    pub explained: u64,
    /// Ranges of gap records that could not be remembered: what is missing may have been explained by them.
    pub forgotten_explanations: u64,
    /// How often numbers began anew at a multiple of 2^32, because it was not known which had been used, as gap records tell.
    pub renumbered: u64,
    /// Gap records, copies not included.
    pub gap_records: u64,
    /// What they tell; what is told in two topics, once.
    pub told: Examples<Told>,
    /// Records that `keyferry replay` sent, copies included. They are not among `records`.
    pub replayed: u64,
    /// Sequence numbers that only a replayed record has.
    pub restored: u64,
    /// Different records with one number.
    pub conflicts: Examples<Conflict>,
    /// Records that follow a later one of their key.
    pub order_violations: Examples<Violation>,
}

impl EpochReport {
    fn is_sound(&self) -> bool {
        self.missing == 0 && self.conflicts.count == 0 && self.order_violations.count == 0
    }

    fn is_unremarkable(&self) -> bool {
        self.is_sound() && self.gap_records == 0 && self.replayed == 0
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
    /// How many of them are gap records all the same, as their values tell.
    pub gap_records_without_headers: u64,
    /// Records with Keyferry's headers, but not as they should be.
    pub unreadable: u64,
    /// Records that were not verified, because there are more epochs, nodes and slots than can be remembered.
    pub beyond_limits: u64,
    /// Duplicates of which it is not known any more whether their ids are equal.
    pub unchecked_duplicates: u64,
    /// Keys whose last record was forgotten, so that their order was not compared over a long distance.
    pub forgotten_keys: u64,
    /// Each epoch of each node.
    pub epochs: Vec<EpochReport>,
}

impl Report {
    /// The report of these epochs.
    pub fn of(epochs: Vec<EpochReport>, other: Other) -> Self {
        let Other { foreign, gap_records_without_headers, unreadable, beyond_limits, forgotten_keys } = other;
        let of_epochs: u64 = epochs.iter().map(|epoch| epoch.records + epoch.replayed).sum();
        Self {
            verdict: verdict(&epochs, unreadable + beyond_limits),
            records: of_epochs + foreign + unreadable + beyond_limits,
            foreign,
            gap_records_without_headers,
            unreadable,
            beyond_limits,
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
        for epoch in self.epochs.iter().filter(|epoch| !epoch.is_unremarkable()) {
            epoch.print_details(out)?;
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
            Column::Right("GAP RECORDS"),
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
            (
                self.beyond_limits,
                "of more epochs, nodes and slots than can be remembered: not verified; name fewer topics at a time",
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
                writeln!(
                    out,
                    "{}: {}, nothing is missing between the first and the last of each",
                    styled(GOOD, "complete"),
                    self.extent()
                )
            }
            Verdict::Explained => writeln!(
                out,
                "{}: {}, nothing is missing but what gap records tell of",
                styled(ODD, "complete but for what was told"),
                self.extent()
            ),
            Verdict::Incomplete => writeln!(out, "{}", styled(BAD, "not complete")),
            Verdict::Nothing => writeln!(out, "{}: {}", styled(BAD, "nothing to verify"), self.why_nothing()),
        }
    }

    /// How many records of how many epochs were found, copies and replays not included.
    fn extent(&self) -> String {
        let records: u64 = self.epochs.iter().map(|epoch| epoch.records - epoch.duplicates).sum();
        format!("{} of {}", count(records, "record"), count(self.epochs.len() as u64, "epoch"))
    }

    fn why_nothing(&self) -> String {
        if !self.epochs.is_empty() {
            return "all records were sent by `keyferry replay`; verify the topics to which the agent sent them".to_owned();
        }
        if self.foreign == 0 {
            return "there are no records; check the topics".to_owned();
        }
        let mut why = "no record carries Keyferry's headers; with `destination.headers` = `none` records have no numbers, so that \
                       neither losses nor copies nor their order can be told"
            .to_owned();
        if self.gap_records_without_headers > 0 {
            let records = count(self.gap_records_without_headers, "gap record");
            why.push_str(&format!("; but {records} among them: events are missing"));
        }
        why
    }
}

/// What epochs prove, if `unverified` records belong to none.
fn verdict(epochs: &[EpochReport], unverified: u64) -> Verdict {
    if unverified > 0 || !epochs.iter().all(EpochReport::is_sound) {
        Verdict::Incomplete
    } else if epochs.iter().all(|epoch| epoch.records == 0) {
        Verdict::Nothing
    } else if epochs.iter().any(|epoch| epoch.gap_records > 0) {
        Verdict::Explained
    } else {
        Verdict::Complete
    }
}

impl EpochReport {
    fn row(&self) -> [String; 12] {
        [
            self.node.escape_debug().to_string(),
            self.epoch.clone(),
            self.epoch.parse().map_or_else(|_| String::new(), |Epoch(micros)| time(micros / 1000)),
            self.records.to_string(),
            self.first_sequence.to_string(),
            self.last_sequence.to_string(),
            self.duplicates.to_string(),
            self.missing.to_string(),
            self.gap_records.to_string(),
            self.conflicts.count.to_string(),
            self.order_violations.count.to_string(),
            self.outcome_unknown.to_string(),
        ]
    }

    fn print_details(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", styled(TITLE, format_args!("{} {}", self.node.escape_debug(), self.epoch)))?;
        self.print_notices(out)?;
        self.print_problems(out)
    }

    fn print_notices(&self, out: &mut dyn Write) -> io::Result<()> {
        print_examples(out, styled(ODD, "gap record"), &self.told, Told::describe)?;
        let remarks = [
            (self.explained, "sequence number", "missing, as gap records tell"),
            (self.forgotten_explanations, "gap record", "of separate ranges too many to be remembered"),
            (
                self.renumbered,
                "jump",
                "to the next multiple of 2^32, where it was not known which numbers had been used, as gap records tell",
            ),
            (self.replayed, "replayed record", "neither copies nor out of order"),
            (self.restored, "sequence number", "only on a replayed record: the first one is missing"),
        ];
        for (number, thing, remark) in remarks.into_iter().filter(|(number, ..)| *number > 0) {
            writeln!(out, "  {} {remark}", styled(ODD, count(number, thing)))?;
        }
        Ok(())
    }

    fn print_problems(&self, out: &mut dyn Write) -> io::Result<()> {
        print_examples(out, styled(BAD, "missing"), &self.gaps, |gap| match gap.last - gap.first {
            0 => format!("sequence {}", gap.first),
            further => format!("sequences {} to {} ({})", gap.first, gap.last, count(further + 1, "record")),
        })?;
        print_examples(out, styled(BAD, "conflict"), &self.conflicts, |conflict| {
            format!(
                "sequence {} is on two different records; the second has the id {}",
                conflict.sequence,
                conflict.second_id.escape_debug()
            )
        })?;
        print_examples(out, styled(BAD, "disorder"), &self.order_violations, |violation| {
            format!(
                "key {}: sequence {} follows {} of epoch {}",
                violation.key.escape_debug(),
                violation.sequence,
                violation.after_sequence,
                violation.after_epoch
            )
        })
    }
}

fn print_examples<T>(
    out: &mut dyn Write,
    title: String,
    examples: &Examples<T>,
    describe: impl Fn(&T) -> String,
) -> io::Result<()> {
    for example in examples.first.iter().take(SHOWN) {
        writeln!(out, "  {title} {}", describe(example))?;
    }
    let more = examples.count.saturating_sub(SHOWN as u64);
    if more > 0 {
        writeln!(out, "  {title} … and {more} more")?;
    }
    Ok(())
}
