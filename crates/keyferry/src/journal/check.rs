//! `keyferry journal check`: what is wrong with a journal, in words and offsets.
//!
//! The verdicts are those of the feed, which is what the agent reads: the table "Reading" of `docs/journal-format.md`. What stands in the way at a damaged
//! offset is looked up in the bytes.

use std::fmt;
use std::io::{self, Write};

use keyferry_journal::feed::{ByteRange, LostCause};
use keyferry_journal::format::GapCause;
use keyferry_journal::storage::Segment;
use keyferry_journal::{Epoch, Item, Outcome, Piece, Records, SegmentName, Trouble};
use serde::Serialize;

use super::archived::SlotStorage;
use super::print_json;
use super::reading::each_item;
use super::slot::Slot;
use crate::error::{Error, Finding};
use crate::terminal::{BAD, FAINT, GOOD, ODD, TITLE, count, size, styled, time};

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something cannot be read or is missing.
    Damage,
    /// Events are missing because they could not be journaled; the journal itself is sound.
    Gap,
    /// Normal.
    Information,
}

/// Something that a human should know of a journal.
#[derive(Debug, Clone, Serialize)]
pub struct Remark {
    severity: Severity,
    /// The segment, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    segment: Option<String>,
    /// The epoch, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// The first byte that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    /// The byte after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    /// What it is.
    what: String,
    /// What it means, and what to do.
    meaning: &'static str,
}

const LOST: &str = "what was in it is lost; the agent reports it and goes on behind it";
const HEADER_LOST: &str = "records are valid without it; one that began in these bytes is lost";
const REMOVED: &str = "segments that were not delivered have been removed: what was in them is lost";
const RESTORED: &str = "segments were removed or restored from a backup; the agent refuses to go on";
const DELIVERED: &str = "normal: it was delivered and then deleted";

impl Remark {
    fn new(severity: Severity, what: String, meaning: &'static str) -> Self {
        Self { severity, segment: None, epoch: None, from: None, to: None, what, meaning }
    }

    fn in_segment(self, segment: SegmentName) -> Self {
        Self { segment: Some(segment.to_string()), epoch: Some(segment.epoch.to_string()), ..self }
    }

    fn at(self, range: ByteRange) -> Self {
        Self { from: Some(range.from), to: Some(range.to), ..self.in_segment(range.segment) }
    }

    fn in_epoch(self, epoch: keyferry_journal::Epoch) -> Self {
        Self { epoch: Some(epoch.to_string()), ..self }
    }

    /// What is to be said of an item; `None` of transactions.
    ///
    /// # Errors
    /// The slot cannot be listed.
    pub fn of(slot: &Slot, item: &Item<'_>) -> Result<Option<Self>, Error> {
        let remark = Self::about(item);
        Ok(match remark {
            Some(remark) if remark.is_damage() && slot.was_delivered(item)? => {
                Some(Self { severity: Severity::Information, meaning: DELIVERED, ..remark })
            }
            remark => remark,
        })
    }

    /// What is to be said of a malformed event.
    pub fn malformed(error: &keyferry_journal::Error) -> Self {
        Self::new(Severity::Damage, error.to_string(), "the event and those after it in its record are lost")
    }

    /// The same, with what stands in the way.
    fn explained(self, trouble: Trouble) -> Self {
        match trouble {
            Trouble::Header => Self { what: trouble.to_string(), meaning: HEADER_LOST, ..self },
            trouble => Self { what: trouble.to_string(), ..self },
        }
    }

    fn about(item: &Item<'_>) -> Option<Self> {
        use Severity::{Damage, Gap, Information};
        Some(match *item {
            Item::Transaction(_) => return None,
            Item::Gap(gap) => {
                let events = format!(
                    "{} and {} from {} to {} are missing: {}",
                    count(gap.user_events, "user event"),
                    count(gap.admin_events, "admin event"),
                    time(gap.first_ms),
                    time(gap.last_ms),
                    cause_text(gap.cause)
                );
                let range = ByteRange { segment: gap.segment, from: gap.offset, to: gap.offset };
                Self::new(Gap, events, "the provider could not journal them; the journal itself is sound")
                    .at(range)
            }
            Item::Damage(range) => Self::new(Damage, "bytes that cannot be read".to_owned(), LOST).at(range),
            Item::TornTail(range) => {
                let meaning = "normal after a crash: nothing in it was acknowledged";
                Self::new(Information, "a write that was cut short when its writer died".to_owned(), meaning)
                    .at(range)
            }
            Item::Abandoned(segment) => {
                let meaning = "normal: nothing is lost, but look whether the disk was full or failing";
                Self::new(
                    Information,
                    "a segment that its writer gave up after a write error".to_owned(),
                    meaning,
                )
                .in_segment(segment)
            }
            Item::MissingSegments { epoch, first, last } => Self::new(
                Damage,
                missing_segments_text(first, last),
                "somebody or something deleted them: what was in them is lost",
            )
            .in_epoch(epoch),
            Item::MissingCommits { epoch, expected, found } if found > expected => {
                let what = match found - expected {
                    1 => format!("commit {expected} is missing"),
                    _ => format!("commits {expected} to {} are missing", found - 1),
                };
                Self::new(Damage, what, "these transactions are lost").in_epoch(epoch)
            }
            Item::MissingCommits { epoch, expected, found } => {
                let what = format!("commit {found} where {expected} should follow");
                Self::new(Damage, what, "a fault of the writer: report it as a bug").in_epoch(epoch)
            }
            Item::LostTransaction { epoch, commit, id, outcome, cause } => {
                Self::new(Damage, lost_text(commit, id, outcome, cause), "its events are lost")
                    .in_epoch(epoch)
            }
            Item::UnknownRecord { segment, offset, kind } => {
                let range = ByteRange { segment, from: offset, to: offset };
                let meaning = "written by a later release and passed over; told once a segment";
                Self::new(Information, format!("a record of the unknown kind {kind}"), meaning).at(range)
            }
            Item::EpochEnded { epoch, commit, closed } => {
                let how = if closed { "in order" } else { "without CLOSE (its writer was killed)" };
                let what = format!("it ended {how} after {}", count(commit, "transaction"));
                Self::new(Information, what, "normal").in_epoch(epoch)
            }
            Item::EpochReopened { epoch } => {
                let meaning = "locks do not work on this file system: move the journal to a local disk";
                Self::new(
                    Damage,
                    "the epoch goes on although nobody holds the writer's lock".to_owned(),
                    meaning,
                )
                .in_epoch(epoch)
            }
        })
    }

    /// Whether something cannot be read or is missing that should be there.
    pub fn is_damage(&self) -> bool {
        self.severity == Severity::Damage
    }

    /// Prints it as one line of text.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let title = match self.severity {
            Severity::Damage => styled(BAD, "DAMAGE"),
            Severity::Gap => styled(ODD, "gap   "),
            Severity::Information => styled(FAINT, "info  "),
        };
        writeln!(out, "{title}  {self}")
    }

    /// Prints it as one line of JSON.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn print_json(&self, slot: &str, out: &mut dyn Write) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            item: &'static str,
            slot: &'a str,
            #[serde(flatten)]
            remark: &'a Remark,
        }
        print_json(out, &Line { item: "remark", slot, remark: self })
    }
}

/// Where, what, and what it means.
impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.segment, &self.epoch) {
            (Some(segment), _) => write!(f, "{segment}")?,
            (None, Some(epoch)) => write!(f, "epoch {epoch}")?,
            (None, None) => write!(f, "slot")?,
        }
        match (self.from, self.to) {
            (Some(from), Some(to)) if to > from => {
                write!(f, " {from}..{to} ({})", count(to - from, "byte"))?;
            }
            (Some(from), _) => write!(f, " at {from}")?,
            _ => {}
        }
        write!(f, ": {}; {}", self.what, self.meaning)
    }
}

fn cause_text(cause: GapCause) -> String {
    match cause {
        GapCause::NoSpace => "no space was left on the device".to_owned(),
        GapCause::Ceiling => "the journal had reached its ceiling".to_owned(),
        GapCause::InputOutput => "an input/output error".to_owned(),
        GapCause::TooLarge => "larger than a record can be".to_owned(),
        GapCause::Unknown(code) => format!("cause {code} of a later release"),
    }
}

fn missing_segments_text(first: u32, last: Option<u32>) -> String {
    match last {
        Some(last) if last == first => format!("segment {first:08x} is missing"),
        Some(last) => format!("segments {first:08x} to {last:08x} are missing"),
        None => format!("segments from {first:08x} on are missing"),
    }
}

fn lost_text(commit: u64, id: u64, outcome: Outcome, cause: LostCause) -> String {
    let outcome = match outcome {
        Outcome::Committed => "committed",
        Outcome::Unknown => "is in doubt",
    };
    match cause {
        LostCause::NoPrepare => {
            format!("commit {commit} (transaction {id}) {outcome}, but its PREPARE is not there")
        }
        LostCause::Unreadable(place) => {
            format!("commit {commit} (transaction {id}) {outcome}, but its PREPARE in {place} cannot be read")
        }
    }
}

/// The result for one slot.
#[derive(Debug, Serialize)]
struct Checked {
    slot: String,
    segments: usize,
    bytes: u64,
    transactions: u64,
    open_transactions: usize,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Clean,
    Damaged,
}

/// Checks the slots. One that cannot be read does not keep the others from being checked.
///
/// # Errors
/// A slot cannot be read: the first such error, after all have been tried.
pub fn run(slots: &[Slot], json: bool, out: &mut dyn Write) -> Result<Finding, Error> {
    let mut finding = Finding::Nothing;
    let mut failed = None;
    for slot in slots {
        match check(slot, json, out) {
            Ok(found) => finding = finding.max(found),
            Err(error @ Error::Output(_)) => return Err(error),
            Err(error) => {
                if !json {
                    writeln!(out, "{}  {}", styled(BAD, "UNREADABLE"), slot.name())?;
                }
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(finding), Err)
}

fn check(slot: &Slot, json: bool, out: &mut dyn Write) -> Result<Finding, Error> {
    let name = slot.name();
    let segments = slot.segments()?;
    let bytes = segments.iter().map(|segment| segment.length).sum();
    if !json {
        let segments = count(segments.len() as u64, "segment");
        writeln!(out, "{}: {segments}, {}", styled(TITLE, &name), size(bytes))?;
    }
    let mut tell = Teller { slot: &name, json, damaged: false, out };
    let read = examine(slot, &mut |remark| tell.tell(remark))?;
    let verdict = if tell.damaged { Verdict::Damaged } else { Verdict::Clean };
    let checked = Checked {
        slot: name,
        segments: segments.len(),
        bytes,
        transactions: read.transactions,
        open_transactions: read.open_transactions,
        verdict,
    };
    checked.print(json, out)?;
    Ok(if verdict == Verdict::Damaged { Finding::Something } else { Finding::Nothing })
}

/// What of a slot could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Read {
    /// Transactions, read as a whole.
    pub transactions: u64,
    /// The epoch and number of the last of them.
    pub last: Option<(Epoch, u64)>,
    /// Transactions that a living writer has begun and not ended.
    pub open_transactions: usize,
}

/// Reads all of a slot, and tells what a human should know of it.
///
/// # Errors
/// The slot cannot be read, or what `tell` returns.
pub fn examine(slot: &Slot, tell: &mut dyn FnMut(&Remark) -> Result<(), Error>) -> Result<Read, Error> {
    for remark in
        checkpoint_remarks(slot)?.into_iter().chain(held_remarks(slot)?).chain(given_up_remarks(slot)?)
    {
        tell(&remark)?;
    }
    let mut explainer = Explainer { slot, records: None };
    let mut read = Read::default();
    let rest = each_item(slot, |item| {
        if let Item::Transaction(transaction) = item {
            read.transactions += 1;
            read.last = read.last.max(Some((transaction.epoch, transaction.commit)));
            for error in transaction.events().filter_map(Result::err) {
                tell(&Remark::malformed(&error))?;
            }
        }
        let remark = Remark::of(slot, item)?;
        match (remark, item) {
            (Some(remark), Item::Damage(range) | Item::TornTail(range)) => {
                let trouble = explainer.explain(*range)?;
                tell(&trouble.map_or(remark.clone(), |trouble| remark.explained(trouble)))
            }
            (Some(remark), _) => tell(&remark),
            (None, _) => Ok(()),
        }
    })?;
    Ok(Read { open_transactions: rest.open_transactions, ..read })
}

/// Prints remarks, and notes whether one was damage.
struct Teller<'a> {
    slot: &'a str,
    json: bool,
    damaged: bool,
    out: &'a mut dyn Write,
}

impl Teller<'_> {
    fn tell(&mut self, remark: &Remark) -> Result<(), Error> {
        self.damaged |= remark.is_damage();
        if self.json {
            remark.print_json(self.slot, self.out)?;
        } else {
            write!(self.out, "  ")?;
            remark.print(self.out)?;
        }
        Ok(())
    }
}

impl Checked {
    fn print(&self, json: bool, out: &mut dyn Write) -> io::Result<()> {
        if json {
            #[derive(Serialize)]
            struct Line<'a> {
                item: &'static str,
                #[serde(flatten)]
                checked: &'a Checked,
            }
            return print_json(out, &Line { item: "result", checked: self });
        }
        let verdict = match self.verdict {
            Verdict::Clean => styled(GOOD, "clean"),
            Verdict::Damaged => styled(BAD, "damaged"),
        };
        write!(out, "  {verdict}: {} can be read", count(self.transactions, "transaction"))?;
        match self.open_transactions {
            0 => writeln!(out),
            open => writeln!(out, ", {} under way", count(open as u64, "more")),
        }
    }
}

/// What checkpoints say that does not fit the segments.
fn checkpoint_remarks(slot: &Slot) -> Result<Vec<Remark>, Error> {
    use Severity::{Damage, Information};
    let segments = slot.segments()?;
    let ends = segments.first().zip(segments.last());
    let mut remarks = Vec::new();
    let checkpoints = slot.checkpoints()?;
    for checkpoint in &checkpoints {
        let destination = &checkpoint.destination;
        if let Err(error) = &checkpoint.checkpoint {
            remarks.push(Remark::new(
                Damage,
                error.to_string(),
                "events may be delivered twice, none is lost",
            ));
        }
        if let Some(resume) = checkpoint.resume() {
            remarks.extend(misplaced(destination, resume.segment(), ends));
        }
    }
    if let (true, Some((oldest, _))) = (checkpoints.is_empty(), ends)
        && oldest.name.number > 0
    {
        let what =
            "the epoch's first segments are not here, and no checkpoint tells whether they were delivered";
        let meaning = "normal if these files were copied from elsewhere";
        remarks.push(Remark::new(Information, what.to_owned(), meaning).in_segment(oldest.name));
    }
    Ok(remarks)
}

/// Events that wait for an operator.
fn held_remarks(slot: &Slot) -> Result<Vec<Remark>, Error> {
    let meaning =
        "Keycloak died before it told the outcome of their transactions; decide with `keyferry in-doubt`";
    let remark = |(destination, number)| {
        let what = format!("{} in doubt held for {destination}", count(number, "event"));
        Remark::new(Severity::Gap, what, meaning)
    };
    Ok(slot.held()?.into_iter().map(remark).collect())
}

/// Events that the agent has given up, as long as no consumer can know of it.
fn given_up_remarks(slot: &Slot) -> Result<Vec<Remark>, Error> {
    let meaning = "the agent gave these events up, and tells consumers of it by a gap record that is not acknowledged yet";
    let mut remarks = Vec::new();
    for checkpoint in slot.checkpoints()? {
        for gap in slot.given_up(&checkpoint.destination)? {
            remarks.push(Remark::new(Severity::Gap, gap.detail, meaning).in_epoch(gap.epoch));
        }
    }
    Ok(remarks)
}

/// What is wrong about a checkpoint that needs the segments from `needed` on, if the oldest and the newest segment are `ends`.
fn misplaced(destination: &str, needed: SegmentName, ends: Option<(&Segment, &Segment)>) -> Option<Remark> {
    let (there, meaning) = match ends {
        None => ("there is no segment".to_owned(), REMOVED),
        Some((_, newest)) if needed > newest.name => {
            (format!("the newest segment is {}", newest.name), RESTORED)
        }
        Some((oldest, _)) if needed < oldest.name => {
            (format!("the oldest segment is {}", oldest.name), REMOVED)
        }
        Some(_) => return None,
    };
    let what = format!("the checkpoint of {destination} points to {needed}, but {there}");
    Some(Remark::new(Severity::Damage, what, meaning))
}

/// Looks up what stands in the way at a damaged offset. Damage is met in order, so that each segment is read once.
struct Explainer<'a> {
    slot: &'a Slot,
    records: Option<(SegmentName, Records<SlotStorage>)>,
}

impl Explainer<'_> {
    /// `None` if what is there now is no damage.
    fn explain(&mut self, range: ByteRange) -> Result<Option<Trouble>, Error> {
        if self.records.as_ref().is_none_or(|(segment, _)| *segment != range.segment) {
            self.records = Some((range.segment, Records::of(self.slot.storage()?, range.segment)));
        }
        let Some((_, records)) = &mut self.records else { return Ok(None) };
        while let Some(piece) = records.next()? {
            if let Piece::Unreadable { from, trouble, .. } = piece
                && from >= range.from
            {
                return Ok((from == range.from).then_some(trouble));
            }
        }
        Ok(None)
    }
}
