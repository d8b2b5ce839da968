//! The configuration of this agent while it runs: the clock, the files and the connections around the machine of `keyferry_config::change`.
//!
//! The invariants:
//!
//! - **One thread changes the configuration**, one change at a time: what is wished for meanwhile waits, and is judged by what holds then.
//! - **What is committed is written down before anybody is told.** An agent that dies in a trial begins with what ran before.
//!
//! - [`desk`]: what runs and what is wished for, for any thread.
//! - `board`: what the topic for all nodes says, and what is to be written to it.
//! - `following`: the thread that reads and writes it.
//! - `noticing`: when files are looked at.
//! - `store`: what outlives the agent.
//! - `trial`: how a change is put into effect, and taken back.
//! - `health`: whether it has made things worse.
//! - `served`: the same in the words of the API.
//! - [`command`]: `keyferry config`.

mod board;
pub mod command;
mod desk;
mod following;
mod health;
mod noticing;
mod served;
mod store;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keyferry_config::change::{
    Begun, Changes, Decision, Due, Fallback, FileText, History, Next, Outcome, Plan, Proposal, Refusal,
    Trial, Wish,
};
use keyferry_config::{ConfigError, ConfigErrors, Loaded, Readiness, Sources};

use crate::credentials::{self, Files, Settledness, Watched};
use crate::live::Live;
use crate::log;
use crate::shipment::{self, wall_ms};
use crate::stop::{Broadcast, Hangup};
use board::{Asked, Board};
use desk::{Done, Wanted};
use health::HealthBook;
use noticing::Notices;
use store::Store;

pub use desk::Configuring;
pub use following::follow;

/// How often it is looked at how things go while a change is on probation; otherwise as often as it is looked at the files.
const LOOK: Duration = Duration::from_secs(1);
/// Who wants what the file says.
const BY_FILE: &str = "the file";

/// A configuration to begin with, and what it takes to change it.
pub struct Beginning {
    /// What is shipped and how.
    pub plan: shipment::Plan,
    /// What it takes to change it.
    pub changing: Changing,
}

/// What the machine began with.
struct Start {
    changes: Changes,
    fallback: Option<Fallback>,
    file: Option<FileText>,
}

/// What it takes to change a configuration.
pub struct Changing {
    keeper: Keeper,
    begun: Option<Start>,
    /// What has taken effect and is not written down yet.
    unwritten: Option<History>,
}

/// What the thread that changes the configuration holds.
struct Keeper {
    store: Store,
    file: Option<WatchedFile>,
    watched: Watched,
    notices: Notices,
    book: HealthBook,
}

/// The configuration file.
struct WatchedFile {
    path: PathBuf,
    files: Files,
}

impl Beginning {
    /// Reads `file` on top of `others`; what ran last in `directory` if it is broken.
    ///
    /// # Errors
    /// It is broken, and nothing ran before.
    pub fn of(others: Sources, file: Option<&Path>, directory: &Path) -> Result<Self, ConfigErrors> {
        let store = Store::of(directory);
        let text = file.map(read).transpose();
        let found = text.as_ref().ok().cloned().flatten();
        let Begun { changes, loaded, sources, fallback } =
            Changes::begin(others, store.read(), text, wall_ms())?;
        log::set_level(loaded.config.log.level);
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let file = file.map(|path| WatchedFile::of(path.to_owned()));
        let watched = Watched::new(sources, &loaded);
        let plan = shipment::Plan::of(loaded.config);
        let notices = Notices::of(paths(file.as_ref(), &watched));
        let keeper = Keeper { store, file, watched, notices, book: HealthBook::default() };
        Ok(Self {
            plan,
            changing: Changing {
                keeper,
                begun: Some(Start { changes, fallback, file: found }),
                unwritten: None,
            },
        })
    }
}

impl Changing {
    /// From now on the configuration is what this one says, and [`Self::run`] is to come.
    pub fn take_effect(&mut self, plan: &shipment::Plan, live: &Live) {
        let Some(Start { changes, fallback, file }) = self.begun.take() else { return };
        if let Some(fallback) = &fallback {
            tracing::error!(
                "version {} of the configuration is in use, which ran last: {}",
                fallback.version,
                fallback.reason
            );
        }
        self.unwritten = Some(changes.history().clone());
        live.configured_by(self.keeper.watched.sources().clone());
        live.adopt(plan.complete(), &plan.journal);
        let board = plan.config_topic.as_ref();
        let board = board.map(|topic| Board::new(topic.to_string(), following::node_name(plan)));
        live.configuring.begin(changes, fallback, file.as_ref(), board);
    }

    /// Writes down what has taken effect, and changes the configuration as it is wished for, until `over` is given. In a thread of its own: no event waits for the disk.
    pub fn run(mut self, live: &Live, hangup: &Hangup, over: &Broadcast) {
        if let Some(history) = self.unwritten.take()
            && let Err(error) = self.keeper.store.write(&history)
        {
            tracing::error!(
                "{error}; a broken configuration at the next start would keep the agent from starting"
            );
        }
        self.keeper.run(live, hangup, over);
    }
}

impl Keeper {
    fn run(&mut self, live: &Live, hangup: &Hangup, over: &Broadcast) {
        let mut looked = Instant::now();
        while !over.is_given() {
            live.configuring.wait(over, hangup, self.notices.descriptor(), self.pause(live));
            self.notices.take();
            if hangup.came() {
                self.reload(live, over);
            }
            self.look_at_files(live, over);
            while let Some((ticket, wanted)) = live.configuring.take() {
                let ended = match wanted {
                    Wanted::Here(proposal) => Some(self.fulfil(&proposal, live, over)),
                    Wanted::Everywhere(proposal, values) => {
                        announce(ticket, proposal, values, live).transpose()
                    }
                };
                if let Some(ended) = ended {
                    live.configuring.ended(ticket, ended);
                }
            }
            self.decide_on_what_is_for_all(live, over);
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look_at_health(live, over);
                trial::reconcile(live);
            }
        }
    }

    /// The time until the next look at anything.
    fn pause(&self, live: &Live) -> Duration {
        let of_files = self.notices.pause();
        if live.configuring.is_on_probation() { of_files.min(LOOK) } else { of_files }
    }

    /// Somebody has sent SIGHUP: the file is taken up whether it has changed or not.
    fn reload(&mut self, live: &Live, over: &Broadcast) {
        match &self.file {
            Some(file) => {
                tracing::info!("SIGHUP: {} is read again", file.path.display());
                self.take_up_file(live, over);
            }
            None => tracing::info!("SIGHUP: there is no configuration file to read again"),
        }
    }

    fn look_at_files(&mut self, live: &Live, over: &Broadcast) {
        if self.file.as_mut().is_some_and(WatchedFile::has_changed) {
            self.take_up_file(live, over);
        }
        for destination in self.watched.look() {
            live.renew(&destination, credentials::CAUSE);
        }
        let of_file = self.file.as_ref().map(|file| file.files.settledness());
        let settled = self.watched.settledness().max(of_file.unwrap_or(Settledness::Settled));
        self.notices.looked(settled, paths(self.file.as_ref(), &self.watched));
    }

    fn take_up_file(&mut self, live: &Live, over: &Broadcast) {
        let Some(file) = &self.file else { return };
        let result = match read(&file.path) {
            Ok(text) => {
                live.configuring.finds(&text);
                let (author, wish) = (BY_FILE.to_owned(), Wish::File(text));
                let proposal = Proposal { author, wish, expected: None, dry_run: false };
                self.fulfil(&proposal, live, over)
            }
            Err(errors) => Err(Refusal::Invalid(errors)),
        };
        live.configuring.file_ended(&file_path(&self.file), result);
    }

    fn fulfil(&mut self, proposal: &Proposal, live: &Live, over: &Broadcast) -> Result<Done, Refusal> {
        match live.configuring.propose(proposal)? {
            Next::Unchanged => Ok(Done::Unchanged),
            Next::WouldDo(plan) => Ok(Done::Planned(plan)),
            Next::Try(trial) => {
                live.configuring.tries(Some(trial.plan.keys()));
                let done = self.make(*trial, &proposal.author, live, over);
                live.configuring.tries(None);
                done
            }
        }
    }

    /// Tries a change, writes it down, and puts the rest of it into effect.
    fn make(&mut self, trial: Trial, author: &str, live: &Live, over: &Broadcast) -> Result<Done, Refusal> {
        let (plan, loaded, sources) = (trial.plan.clone(), trial.loaded.clone(), trial.sources.clone());
        let under_way = trial::begin(live, &trial);
        let mut result = under_way.as_ref().map_err(Clone::clone).and_then(|swaps| swaps.wait(live, over));
        if trial.is_retreat || result.is_ok() {
            let written = self.store.write(&live.configuring.with(&trial, &self.book.of(live)));
            if let (Err(error), false) = (&written, trial.is_retreat) {
                result = Err(error.to_string());
            }
        }
        if let (Err(reason), Ok(swaps), false) = (&result, &under_way, trial.is_retreat) {
            swaps.take_back(live, reason);
        }
        let number = live.configuring.settle(trial, result, &self.book.of(live)).inspect_err(|refusal| {
            tracing::warn!("the configuration stays as it is: {refusal}");
        })?;
        let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
        tracing::info!("version {number} of the configuration is in use, by {author}: {}", steps.join("; "));
        self.adopt(live, loaded, sources);
        Ok(Done::Committed(plan))
    }

    /// Puts what was announced for all nodes through the same as what is wished for here.
    fn decide_on_what_is_for_all(&mut self, live: &Live, over: &Broadcast) {
        while let Some(Due { change, author, values }) = live.configuring.due() {
            let wish = Wish::Shared { change: change.clone(), values };
            let proposal = Proposal { author, wish, expected: None, dry_run: false };
            let (outcome, reason) = match self.fulfil(&proposal, live, over) {
                // It is decided on by the version that it has become.
                Ok(Done::Committed(_)) => continue,
                Ok(_) => (Outcome::Applied, None),
                // Whatever has failed, it is for the next start to decide.
                Err(_) if over.is_given() => return,
                Err(refusal) => (Outcome::Refused, Some(refusal.to_string())),
            };
            if let Some(reason) = &reason {
                tracing::warn!("change {change}, which is for all nodes, is not made here: {reason}");
            }
            let history = live.configuring.decides(Decision { change, outcome, reason });
            if let Err(error) = self.store.write(&history) {
                tracing::error!("{error}; the next start decides once more on changes for all nodes");
            }
        }
    }

    fn adopt(&mut self, live: &Live, loaded: Loaded, sources: Sources) {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        log::set_level(loaded.config.log.level);
        self.watched = Watched::new(sources.clone(), &loaded);
        live.configured_by(sources);
        let config = &loaded.config;
        live.adopt(config.destinations.iter().filter_map(Readiness::complete), &config.journal);
        trial::reconcile(live);
        trial::retune(live);
    }

    fn look_at_health(&mut self, live: &Live, over: &Broadcast) {
        let Some(trial) = live.configuring.look(&self.book.of(live)) else { return };
        tracing::error!(
            "the last change of the configuration has made things worse and is taken back: {}",
            trial.plan.keys().join(", ")
        );
        live.configuring.has_retreated();
        // Committed whatever its trial finds, and so it cannot be refused.
        let _ = self.make(trial, "keyferry", live, over);
    }
}

/// Judges a change for all nodes by what runs here, and leaves it to be announced; answers nothing until it is.
fn announce(
    ticket: u64,
    proposal: Proposal,
    values: BTreeMap<String, Option<String>>,
    live: &Live,
) -> Result<Option<Done>, Refusal> {
    let author = proposal.author.clone();
    let plan = match live.configuring.propose(&Proposal { dry_run: true, ..proposal.clone() })? {
        Next::WouldDo(plan) => plan,
        Next::Unchanged | Next::Try(_) => Plan::default(),
    };
    if proposal.dry_run {
        return Ok(Some(Done::Planned(plan)));
    }
    live.configuring.announces(Asked { ticket, author, values, plan })?;
    Ok(None)
}

/// All files that are looked at.
fn paths<'a>(file: Option<&'a WatchedFile>, watched: &'a Watched) -> impl Iterator<Item = &'a Path> {
    file.into_iter().flat_map(|file| file.files.paths()).chain(watched.paths())
}

fn file_path(file: &Option<WatchedFile>) -> String {
    file.as_ref().map(|file| file.path.display().to_string()).unwrap_or_default()
}

impl WatchedFile {
    fn of(path: PathBuf) -> Self {
        let files = Files::new(&BTreeSet::from([path.clone()]));
        Self { path, files }
    }

    /// Whether it says something else than when this was asked last, and has for two looks.
    fn has_changed(&mut self) -> bool {
        if self.files.look().is_empty() {
            return false;
        }
        self.files.settle(&BTreeSet::from([self.path.clone()]));
        true
    }
}

fn read(path: &Path) -> Result<FileText, ConfigErrors> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(FileText { path: path.to_owned(), text }),
        Err(source) => Err(ConfigError::Unreadable { path: path.to_owned(), source }.into()),
    }
}
