//! What runs and what is wished for, for any thread.
//!
//! The lock is never held while something is tried.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use keyferry_config::change::{
    Changes, Fallback, FileText, Health, History, Next, Plan, Proposal, Refusal, Trial,
};
use keyferry_monitor::metrics::ConfigurationStands;

use super::board::Board;
use crate::shipment::wall_ms;
use crate::stop::{Bell, Broadcast, Hangup};

/// How soon a wish is taken up by who cannot be woken.
const WITHOUT_BELL: Duration = Duration::from_secs(1);
/// So many changes that have ended are remembered for those who ask later.
const REMEMBERED: usize = 64;

/// The configuration of this agent. Nothing, until it has taken effect.
#[derive(Debug, Default)]
pub struct Configuring {
    desk: Mutex<Option<Desk>>,
    bell: OnceLock<Bell>,
}

/// Everything about the configuration that anybody asks for.
#[derive(Debug)]
pub struct Desk {
    /// The machine.
    pub changes: Changes,
    /// Why another version runs than the file said at the start.
    pub fallback: Option<Fallback>,
    /// Why what the file says now is not in use.
    pub file_refused: Option<String>,
    /// The hash of what the file said last.
    file_found: Option<String>,
    /// The keys of what is being tried.
    pub trying: Option<Vec<String>>,
    /// What has been counted.
    pub counts: Counts,
    /// What is known of all nodes, if there is a topic for them.
    pub board: Option<Board>,
    inbox: VecDeque<(u64, Wanted)>,
    ended: VecDeque<(u64, Result<Done, Refusal>)>,
    tickets: u64,
    trials: u64,
}

/// A wish, and for whom it is.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// For this agent.
    Here(Proposal),
    /// For all nodes; of the kind that changes values.
    Everywhere(Proposal, BTreeMap<String, Option<String>>),
}

/// Changes since the agent started, by what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Committed.
    pub committed: u64,
    /// Refused, or taken back by their trial.
    pub refused: u64,
    /// Taken back because they made things worse.
    pub retreated: u64,
}

/// What became of a wish that was not refused.
#[derive(Clone, Debug)]
pub enum Done {
    /// It runs already.
    Unchanged,
    /// It would change this.
    Planned(Plan),
    /// It has changed this.
    Committed(Plan),
    /// It was written down for all nodes, of which this one is changed by it like this.
    Announced {
        /// What changes here.
        plan: Plan,
        /// What the change is called.
        change: String,
    },
}

/// How a wish ended.
pub enum Fate<T> {
    /// Not yet.
    Pending,
    /// Like this.
    Ended(T),
    /// There was none, or long ago.
    Unknown,
}

impl Desk {
    /// Whether what runs is what the file said last, and why not if nothing has been said of that yet.
    fn compare_with_file(&mut self) {
        let running = self.changes.running();
        let is_in_use = running.document.file.as_ref().map(FileText::hash) == self.file_found;
        if is_in_use {
            (self.fallback, self.file_refused) = (None, None);
        } else if self.fallback.is_none() {
            let reason = || format!("version {} was put in its place: {}", running.number, running.cause);
            self.file_refused.get_or_insert_with(reason);
        }
    }
}

impl Desk {
    /// What became of a wish.
    pub(super) fn ended(&mut self, ticket: u64, result: Result<Done, Refusal>) {
        self.ended.push_back((ticket, result));
        let surplus = self.ended.len().saturating_sub(REMEMBERED);
        self.ended.drain(..surplus);
    }

    /// What is measured of it.
    pub fn stands(&self) -> ConfigurationStands {
        let Counts { committed, refused, retreated } = self.counts;
        ConfigurationStands {
            version: self.changes.running().number,
            is_file_not_in_use: self.fallback.is_some() || self.file_refused.is_some(),
            committed,
            refused,
            taken_back: retreated,
        }
    }
}

impl Configuring {
    pub(super) fn begin(
        &self,
        changes: Changes,
        fallback: Option<Fallback>,
        file: Option<&FileText>,
        board: Option<Board>,
    ) {
        match Bell::new() {
            Ok(bell) => drop(self.bell.set(bell)),
            Err(error) => {
                tracing::warn!("changes of the configuration are taken up within a second: {error}")
            }
        }
        let desk = Desk {
            changes,
            fallback,
            file_refused: None,
            file_found: file.map(FileText::hash),
            trying: None,
            counts: Counts::default(),
            board,
            inbox: VecDeque::new(),
            ended: VecDeque::new(),
            tickets: 0,
            trials: 0,
        };
        *self.lock() = Some(desk);
    }

    /// What `of` makes of the desk; `None` if there is none yet.
    pub fn with_desk<T>(&self, of: impl FnOnce(&mut Desk) -> T) -> Option<T> {
        self.lock().as_mut().map(of)
    }

    /// Leaves a wish behind; what is returned stands for it.
    pub(super) fn post(&self, wanted: Wanted) -> u64 {
        let ticket = self.with_desk(|desk| {
            desk.tickets += 1;
            desk.inbox.push_back((desk.tickets, wanted));
            desk.tickets
        });
        self.ring();
        ticket.unwrap_or_default()
    }

    /// There is something to do for the thread that changes the configuration.
    pub(super) fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }

    /// What became of a wish, in the words of `told`.
    pub(super) fn ended_as<T>(
        &self,
        ticket: u64,
        told: impl FnOnce(&Desk, &Result<Done, Refusal>) -> T,
    ) -> Fate<T> {
        let ended = self.with_desk(|desk| match desk.ended.iter().find(|(of, _)| *of == ticket) {
            Some((_, result)) => Fate::Ended(told(desk, result)),
            None if ticket == 0 || ticket > desk.tickets => Fate::Unknown,
            None if desk.board.as_ref().is_some_and(|board| board.is_pending(ticket)) => Fate::Pending,
            // Tickets are taken up in their order: what was before the oldest that is remembered is forgotten.
            None if desk.ended.front().is_some_and(|(oldest, _)| ticket < *oldest) => Fate::Unknown,
            None => Fate::Pending,
        });
        ended.unwrap_or(Fate::Unknown)
    }

    /// Waits until there is something to do, `files` may have changed, or `pause` is over.
    pub(super) fn wait(
        &self,
        over: &Broadcast,
        hangup: &Hangup,
        files: Option<BorrowedFd<'_>>,
        pause: Duration,
    ) {
        match self.bell.get() {
            Some(bell) => {
                let descriptors = [Some(over.as_fd()), Some(hangup.as_fd()), files];
                bell.wait(&descriptors.into_iter().flatten().collect::<Vec<_>>(), Some(pause));
            }
            None => drop(over.wait(pause.min(WITHOUT_BELL))),
        }
    }

    /// Whether the last change is watched for having made things worse.
    pub(super) fn is_on_probation(&self) -> bool {
        self.with_desk(|desk| desk.changes.probation_until_ms()).flatten().is_some()
    }

    pub(super) fn take(&self) -> Option<(u64, Wanted)> {
        self.with_desk(|desk| desk.inbox.pop_front()).flatten()
    }

    pub(super) fn propose(&self, proposal: &Proposal) -> Result<Next, Refusal> {
        let next =
            self.with_desk(|desk| desk.changes.propose(proposal, wall_ms())).unwrap_or(Ok(Next::Unchanged));
        if next.is_err() && !proposal.dry_run {
            self.with_desk(|desk| desk.counts.refused += 1);
        }
        next
    }

    pub(super) fn tries(&self, keys: Option<Vec<String>>) {
        self.with_desk(|desk| desk.trying = keys);
    }

    /// What new connections are told to be for: of one trial only.
    pub(super) fn next_cause(&self) -> String {
        let trial = self.with_desk(|desk| {
            desk.trials += 1;
            desk.trials
        });
        format!("configuration change {}.", trial.unwrap_or_default())
    }

    /// What is to be written down with what is being tried.
    pub(super) fn with(&self, trial: &Trial, health: &Health) -> History {
        self.with_desk(|desk| desk.changes.with(trial, health, wall_ms())).unwrap_or_default()
    }

    /// Commits what was tried, or does not; answers with the number of the version.
    pub(super) fn settle(
        &self,
        trial: Trial,
        result: Result<(), String>,
        health: &Health,
    ) -> Result<u64, Refusal> {
        self.with_desk(|desk| {
            let settled = desk.changes.settle(trial, result, health, wall_ms()).map(|version| version.number);
            match &settled {
                Ok(_) => {
                    desk.counts.committed += 1;
                    desk.compare_with_file();
                }
                Err(_) => desk.counts.refused += 1,
            }
            settled
        })
        .unwrap_or(Ok(0))
    }

    pub(super) fn look(&self, health: &Health) -> Option<Trial> {
        self.with_desk(|desk| desk.changes.look(health, wall_ms())).flatten()
    }

    pub(super) fn has_retreated(&self) {
        self.with_desk(|desk| desk.counts.retreated += 1);
    }

    pub(super) fn ended(&self, ticket: u64, result: Result<Done, Refusal>) {
        self.with_desk(|desk| desk.ended(ticket, result));
    }

    /// The file says this now.
    pub(super) fn finds(&self, file: &FileText) {
        self.with_desk(|desk| desk.file_found = Some(file.hash()));
    }

    /// What became of what the file at `path` says.
    pub(super) fn file_ended(&self, path: &str, result: Result<Done, Refusal>) {
        if let Err(refusal) = &result {
            tracing::error!("what {path} says now is not in use: {refusal}");
        }
        self.with_desk(|desk| {
            // Whatever was wrong with the file before, this is newer.
            desk.fallback = None;
            desk.file_refused = result.err().map(|refusal| refusal.to_string());
        });
    }

    /// The machine is whole between calls, whatever happened to the thread that held it.
    fn lock(&self) -> MutexGuard<'_, Option<Desk>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
