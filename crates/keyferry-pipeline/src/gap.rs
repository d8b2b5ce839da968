//! What the journal holds besides transactions: told to people, counted, and turned into gap records.
//!
//! The invariant: **nothing of it is silent.** Whatever may mean missing events becomes a [`Gap`]; the rest is logged.

use keyferry_event::{Gap, GapReason, Span};
use keyferry_journal::format::GapCause;
use keyferry_journal::{Epoch, Item, Outcome, Resume, Transaction};

use crate::report::Report;

/// A gap record that is to be sent, and how far it leads.
#[derive(Clone, Debug)]
pub(crate) struct PendingGap {
    pub(crate) gap: Gap,
    /// When it happened as far as the journal tells, in milliseconds since the Unix epoch.
    pub(crate) time_ms: u64,
    /// What is reached once it is settled; `None` if that cannot be told yet.
    pub(crate) resume: Option<Resume>,
}

/// How many events of each kind, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) user_events: u64,
    pub(crate) admin_events: u64,
    /// Time of the first and of the last, in milliseconds since the Unix epoch.
    pub(crate) times: Option<Span>,
}

impl Tally {
    /// Counts the events of `transaction`.
    ///
    /// # Errors
    /// One of them is malformed.
    pub(crate) fn add(&mut self, transaction: &Transaction<'_>) -> Result<(), keyferry_journal::Error> {
        for event in transaction.events() {
            let event = event?;
            match event.kind() {
                keyferry_journal::EventKind::User => self.user_events += 1,
                keyferry_journal::EventKind::Admin => self.admin_events += 1,
            }
            self.add_times(Span { from: event.time_ms(), to: event.time_ms() });
        }
        Ok(())
    }

    pub(crate) fn add_times(&mut self, times: Span) {
        let all = self.times.unwrap_or(times);
        self.times = Some(Span { from: all.from.min(times.from), to: all.to.max(times.to) });
    }

    /// Puts the counts into `gap`.
    pub(crate) fn describe(&self, gap: &mut Gap) {
        (gap.user_events, gap.admin_events) = (Some(self.user_events), Some(self.admin_events));
        (gap.first_time, gap.last_time) =
            (self.times.map(|times| times.from), self.times.map(|times| times.to));
    }
}

/// The gap record of a transaction in doubt that is dropped.
pub(crate) fn of_dropped(transaction: &Transaction<'_>, tally: &Tally) -> Gap {
    let detail = format!(
        "{} user events and {} admin events of a transaction whose outcome is not known were dropped, as configured",
        tally.user_events, tally.admin_events
    );
    let mut gap = Gap::new(GapReason::InDoubtDropped, transaction.epoch, transaction.node, detail);
    tally.describe(&mut gap);
    gap.commits = Some(Span { from: transaction.commit, to: transaction.commit });
    gap
}

/// Tells of an item that is no transaction; answers with the gap that it means, if it means one. The node is not filled in.
pub(crate) fn notice(item: &Item<'_>, report: &mut Report) -> Option<Gap> {
    match item {
        // Sent, not noticed.
        Item::Transaction(_) => None,
        Item::Gap(gap) => Some(unjournaled(gap, report)),
        Item::Damage(range) => {
            let detail = format!(
                "the journal is damaged: bytes {} to {} of segment {} cannot be read; what was in them is lost",
                range.from, range.to, range.segment
            );
            Some(lost(GapReason::Damage, range.segment.epoch, None, detail, report))
        }
        Item::MissingSegments { epoch, first, last } => {
            let last = last.map_or_else(|| "the last".to_owned(), |last| last.to_string());
            let detail =
                format!("segments {first} to {last} of epoch {epoch} are missing; what was in them is lost");
            Some(lost(GapReason::MissingSegments, *epoch, None, detail, report))
        }
        Item::MissingCommits { epoch, expected, found } => {
            let detail = format!(
                "transaction {found} of epoch {epoch} follows where {expected} was expected: those between are lost"
            );
            let commits = (found > expected).then(|| Span { from: *expected, to: found - 1 });
            Some(lost(GapReason::MissingCommits, *epoch, commits, detail, report))
        }
        Item::LostTransaction { epoch, commit, id, outcome, cause } => {
            let what = match outcome {
                Outcome::Committed => "the events of transaction",
                Outcome::Unknown => "the events in doubt of transaction",
            };
            let detail = format!("{what} {commit} (id {id}) of epoch {epoch} are lost: {cause:?}");
            let commits = Some(Span { from: *commit, to: *commit });
            Some(lost(GapReason::LostTransaction, *epoch, commits, detail, report))
        }
        Item::UnknownRecord { segment, offset, kind } => {
            tracing::warn!(
                "segment {segment} holds a record of kind {kind} at offset {offset} that this release does not know: update the agent"
            );
            None
        }
        Item::EpochReopened { epoch } => {
            tracing::warn!(
                "epoch {epoch} goes on although its writer's lock was free: POSIX locks do not work on this mount; use a local file system"
            );
            None
        }
        Item::TornTail(range) => {
            tracing::info!(
                "a write was cut short when Keycloak died: bytes {} to {} of segment {}; it had not been acknowledged",
                range.from,
                range.to,
                range.segment
            );
            None
        }
        Item::Abandoned(segment) => {
            tracing::warn!("segment {segment} was given up by Keycloak after a write error; nothing is lost");
            None
        }
        Item::EpochEnded { epoch, commit, closed } => {
            let how = if *closed { "in order" } else { "without a CLOSE" };
            tracing::info!("epoch {epoch} has ended {how} with transaction {commit}");
            None
        }
    }
}

/// Events that Keycloak could not journal.
fn unjournaled(found: &keyferry_journal::feed::Gap, report: &mut Report) -> Gap {
    report.missing_events += found.user_events + found.admin_events;
    let detail = format!(
        "{} user events and {} admin events could not be journaled by Keycloak ({:?}) and are missing; segment {}, offset {}",
        found.user_events, found.admin_events, found.cause, found.segment, found.offset
    );
    tracing::error!("{detail}");
    let reason = match found.cause {
        GapCause::NoSpace => GapReason::NoSpace,
        GapCause::Ceiling => GapReason::Ceiling,
        GapCause::TooLarge => GapReason::TooLarge,
        _ => GapReason::IoError,
    };
    let mut gap = Gap::new(reason, found.segment.epoch, "", detail);
    let times = Some(Span { from: found.first_ms, to: found.last_ms });
    Tally { user_events: found.user_events, admin_events: found.admin_events, times }.describe(&mut gap);
    gap
}

fn lost(reason: GapReason, epoch: Epoch, commits: Option<Span>, detail: String, report: &mut Report) -> Gap {
    report.damaged_ranges += 1;
    tracing::error!("{detail}");
    Gap { commits, ..Gap::new(reason, epoch, "", detail) }
}
