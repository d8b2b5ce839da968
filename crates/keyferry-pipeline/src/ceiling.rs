//! Giving up the oldest events at the journal's ceiling.
//!
//! The invariants:
//!
//! - **What is given up is counted and written down durably before it is deleted**, and its gap record is sent until it is acknowledged, over any
//!   number of deaths in between.
//! - **No number is used twice.** Which numbers were under way is not known after a death, so the gap record begins a new stride of
//!   numbers, beyond everything that can have been sent, and says which numbers may never appear.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use keyferry_event::{Gap, GapReason, Span, Topics};
use keyferry_journal::{Epoch, EventKind, Item};
use serde::{Deserialize, Serialize};

use crate::gap::Tally;
use crate::in_flight::Progress;
use crate::lines;
use crate::retention::Position;

/// Numbers begin anew at multiples of this where it is not known which were used: more than can ever be under way at once.
pub const STRIDE: u64 = 1 << 32;

/// The first number of the stride after `number`.
pub(crate) fn next_stride(number: u64) -> u64 {
    (number / STRIDE + 1).saturating_mul(STRIDE)
}

/// How large the journal may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// All segments of the slot together, in bytes.
    pub max_bytes: u64,
    /// Where the provider begins its next segment, in bytes.
    pub segment_bytes: u64,
    /// What gives way.
    pub policy: Overflow,
}

impl Ceiling {
    /// Beyond so many bytes the agent gives up the oldest events; `None` if it never does. Two segments less than the ceiling, so that the provider
    /// finds room while the agent is at it.
    pub(crate) fn gives_up_beyond(&self) -> Option<u64> {
        let limit = self.max_bytes.saturating_sub(self.segment_bytes.saturating_mul(2));
        (self.policy == Overflow::DropOld).then_some(limit)
    }
}

/// What gives way when the journal has reached its ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// New events, which the provider counts.
    DropNew,
    /// Keycloak's transactions, which the provider lets fail.
    Refuse,
    /// The oldest events that are not delivered, which the agent gives up.
    DropOld,
}

/// A gap record whose events are not in the journal any more, or never were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// The number of its first record. It may have one for each topic.
    pub sequence: u64,
    /// Its record's time, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What it says.
    pub gap: Gap,
    /// Where delivery goes on, its own numbers left out.
    pub then: Position,
}

impl GivenUp {
    /// The topics that it goes to, each with its number.
    pub(crate) fn records<'a>(&self, topics: &'a Topics) -> impl Iterator<Item = (u64, &'a str)> {
        (self.sequence..).zip(topics_of(&self.gap, topics))
    }
}

/// The topics that `gap` goes to.
pub(crate) fn topics_of<'a>(gap: &Gap, topics: &'a Topics) -> impl Iterator<Item = &'a str> + use<'a> {
    let concerned = [EventKind::User, EventKind::Admin].map(|kind| gap.may_concern(kind).then_some(kind));
    concerned.into_iter().flatten().filter_map(|kind| topics.of(kind))
}

/// Where it is written down what was given up, until its gap record is acknowledged.
pub trait GivenUps {
    /// What was given up and is not known to be acknowledged, in order.
    ///
    /// # Errors
    /// It cannot be read.
    fn given_up(&mut self) -> io::Result<Vec<GivenUp>>;

    /// Replaces it, durably.
    ///
    /// # Errors
    /// It could not be written: nothing may be deleted.
    fn keep_given_up(&mut self, given_up: &[GivenUp]) -> io::Result<()>;
}

/// The file `<destination>.given-up.jsonl`, one gap record a line.
#[derive(Debug)]
pub struct GivenUpFile {
    path: PathBuf,
}

impl GivenUpFile {
    /// The file at `path`, which is created when it is first needed.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl GivenUps for GivenUpFile {
    fn given_up(&mut self) -> io::Result<Vec<GivenUp>> {
        lines::read(&self.path)
    }

    fn keep_given_up(&mut self, given_up: &[GivenUp]) -> io::Result<()> {
        lines::replace(&self.path, given_up)
    }
}

/// What of one epoch is given up.
#[derive(Debug, Default)]
struct Loss {
    node: String,
    tally: Tally,
    commits: Option<Span>,
    /// Whether there are ranges of which nobody knows what was in them.
    unknown: bool,
}

/// What is given up, by epoch.
#[derive(Debug, Default)]
pub(crate) struct Losses(BTreeMap<Epoch, Loss>);

impl Losses {
    /// Counts `item`.
    ///
    /// # Errors
    /// An event is malformed.
    pub(crate) fn add(&mut self, item: &Item<'_>) -> Result<(), keyferry_journal::Error> {
        match item {
            Item::Transaction(transaction) => {
                let loss = self.0.entry(transaction.epoch).or_default();
                if loss.node.is_empty() {
                    transaction.node.clone_into(&mut loss.node);
                }
                loss.tally.add(transaction)?;
                loss.extend(Span { from: transaction.commit, to: transaction.commit });
            }
            Item::Gap(gap) => {
                let tally = &mut self.0.entry(gap.segment.epoch).or_default().tally;
                tally.user_events += gap.user_events;
                tally.admin_events += gap.admin_events;
                tally.add_times(Span { from: gap.first_ms, to: gap.last_ms });
            }
            Item::Damage(range) => self.unknown(range.segment.epoch),
            Item::MissingSegments { epoch, .. } | Item::MissingCommits { epoch, .. } => self.unknown(*epoch),
            Item::LostTransaction { epoch, .. } => self.unknown(*epoch),
            _ => {}
        }
        Ok(())
    }

    /// Of some of the epoch's events nobody knows what they were.
    pub(crate) fn unknown(&mut self, epoch: Epoch) {
        self.0.entry(epoch).or_default().unknown = true;
    }

    /// Notes the node of `epoch`, if something of it is given up.
    pub(crate) fn written_by(&mut self, epoch: Epoch, node: &str) {
        if let Some(loss) = self.0.get_mut(&epoch).filter(|loss| loss.node.is_empty()) {
            node.clone_into(&mut loss.node);
        }
    }

    /// How many user events and admin events are known to be given up.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let tallies = self.0.values().map(|loss| &loss.tally);
        tallies.fold((0, 0), |(user, admin), tally| (user + tally.user_events, admin + tally.admin_events))
    }

    /// The gap records. Delivery goes on at `then` after what was settled at `settled`; `open` transactions had no outcome yet.
    pub(crate) fn describe(
        self,
        settled: Option<Progress>,
        then: Position,
        open: usize,
        topics: &Topics,
    ) -> (Vec<GivenUp>, Position) {
        let mut given_up = Vec::new();
        let mut then = then;
        for (epoch, loss) in self.0 {
            let first = settled.filter(|settled| settled.resume.epoch == epoch);
            let first = first.map_or(1, |settled| settled.next_sequence);
            let sequence = next_stride(first);
            let gap = loss.gap(epoch, Span { from: first, to: sequence - 1 }, open);
            let numbers = topics_of(&gap, topics).count() as u64;
            if epoch == then.progress.resume.epoch {
                then.progress.next_sequence = sequence + numbers;
            }
            let time_ms = gap.last_time.unwrap_or_else(|| epoch.begun_ms());
            given_up.push(GivenUp { sequence, time_ms, gap, then });
        }
        for one in &mut given_up {
            one.then = then;
        }
        (given_up, then)
    }
}

impl Loss {
    fn extend(&mut self, commits: Span) {
        let all = self.commits.unwrap_or(commits);
        self.commits = Some(Span { from: all.from.min(commits.from), to: all.to.max(commits.to) });
    }

    fn gap(self, epoch: Epoch, sequences: Span, open: usize) -> Gap {
        let mut detail = format!(
            "the journal has reached its ceiling: {} user events and {} admin events of epoch {epoch} that were not acknowledged are given up",
            self.tally.user_events, self.tally.admin_events
        );
        if self.unknown {
            detail.push_str(", with ranges that could not be read");
        }
        if open > 0 {
            detail.push_str(&format!(", with parts of up to {open} transactions without an outcome yet"));
        }
        let mut gap = Gap::new(GapReason::DroppedOld, epoch, &self.node, detail);
        self.tally.describe(&mut gap);
        if self.unknown || open > 0 {
            (gap.user_events, gap.admin_events) = (None, None);
        }
        Gap { commits: self.commits, sequences: Some(sequences), ..gap }
    }
}
