//! From a wish to a version.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::change::plan::Plan;
use crate::change::probation::{Health, OnProbation, Probation};
use crate::change::shared::{Decision, Due, Outcome, SharedValues};
use crate::change::version::{Document, FileText, History, Version};
use crate::error::ConfigErrors;
use crate::given::{Given, Givens};
use crate::load::{Loaded, load};
use crate::model::Readiness;
use crate::sources::Sources;

/// Who takes back what has made things worse.
const KEYFERRY: &str = "keyferry";

/// What somebody wants of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Who.
    pub author: String,
    /// What.
    pub wish: Wish,
    /// The hash of the version that it was thought out for; `None` is whichever runs.
    pub expected: Option<String>,
    /// Whether only to say what would be done.
    pub dry_run: bool,
}

/// What is wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The file says this now.
    File(FileText),
    /// Values on top of everything else, by key; `None` takes one away.
    Live(BTreeMap<String, Option<String>>),
    /// The same, by a change for all nodes.
    Shared {
        /// Its id.
        change: String,
        /// The values.
        values: BTreeMap<String, Option<String>>,
    },
    /// What an earlier version said.
    Version(u64),
}

/// Why a wish is not fulfilled. Names its keys wherever it has any.
#[derive(Debug, Error)]
pub enum Refusal {
    /// It was thought out for another version.
    #[error(
        "version {running} runs, with the hash {hash}, and not what this change of {} was made for: look at it and decide again",
        list(keys)
    )]
    Stale {
        /// The keys that it would change.
        keys: Vec<String>,
        /// The version that runs.
        running: u64,
        /// Its hash.
        hash: String,
    },
    /// It is not legal.
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
    /// It takes a restart.
    #[error(
        "{} cannot be changed while the agent runs: set it in the file, in a variable or in Keycloak's options, and start the agent anew",
        list(keys)
    )]
    Restart {
        /// The keys that take it.
        keys: Vec<String>,
    },
    /// A destination that can be used could not be used any more.
    #[error("the change of {} would leave a destination incomplete: {lacks}", list(keys))]
    Incomplete {
        /// The keys.
        keys: Vec<String>,
        /// What it would lack.
        lacks: String,
    },
    /// There is no such version.
    #[error("there is no version {number}; those from {oldest} to {newest} are kept")]
    NoVersion {
        /// The number.
        number: u64,
        /// The oldest that is kept.
        oldest: u64,
        /// The newest.
        newest: u64,
    },
    /// The version is not known any more.
    #[error(
        "what version {number} said was not written down, because its file held a secret as it is; give secrets by references, such as `${{file:/run/secrets/password}}`"
    )]
    Withheld {
        /// The number.
        number: u64,
    },
    /// The trial has failed: everything is as it was.
    #[error("the change of {} was taken back: {reason}", list(keys))]
    Failed {
        /// The keys.
        keys: Vec<String>,
        /// What the trial found.
        reason: String,
    },
    /// It is for all nodes, and there is nowhere to tell them.
    #[error(
        "there is no topic by which all nodes could be told: set `config.topic` for each of them, and start the agents anew"
    )]
    NoTopic,
    /// All nodes could not be told.
    #[error(
        "the change of {} may not have reached the topic for all nodes, and may still do so: {reason}; `keyferry config nodes` tells what each of them runs",
        list(keys)
    )]
    Unannounced {
        /// The keys.
        keys: Vec<String>,
        /// What happened.
        reason: String,
    },
}

impl Refusal {
    /// The keys that it is about.
    pub fn keys(&self) -> Vec<String> {
        match self {
            Self::Stale { keys, .. }
            | Self::Restart { keys }
            | Self::Incomplete { keys, .. }
            | Self::Failed { keys, .. }
            | Self::Unannounced { keys, .. } => keys.clone(),
            Self::Invalid(errors) => errors.errors().iter().filter_map(|error| error.key()).collect(),
            Self::NoVersion { .. } | Self::Withheld { .. } | Self::NoTopic => Vec::new(),
        }
    }
}

fn list(keys: &[String]) -> String {
    if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") }
}

/// What is to be done about a wish.
#[derive(Debug)]
pub enum Next {
    /// Nothing: that is what runs.
    Unchanged,
    /// Nothing: only the plan was asked for.
    WouldDo(Plan),
    /// It is to be tried, and [`Changes::settle`] to be told.
    Try(Box<Trial>),
}

/// A change that is being tried.
#[derive(Debug)]
pub struct Trial {
    /// What changes.
    pub plan: Plan,
    /// The configuration as it would be.
    pub loaded: Loaded,
    /// Where that was read from.
    pub sources: Sources,
    /// Whether it takes back what has made things worse: then it is put into effect as far as possible, and committed whatever its trial finds.
    pub is_retreat: bool,
    version: Version,
    set_aside: Option<String>,
    givens: Givens,
}

/// That another file or another version is in use than the one that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// What is wrong with the one that was found, in words.
    pub reason: String,
    /// The version in its place.
    pub version: u64,
}

/// A machine that has begun.
#[derive(Debug)]
pub struct Begun {
    /// The machine.
    pub changes: Changes,
    /// The configuration to begin with.
    pub loaded: Loaded,
    /// Where that was read from.
    pub sources: Sources,
    /// Why the last good version is in use, if it is.
    pub fallback: Option<Fallback>,
}

/// The machine that changes a configuration.
#[derive(Debug)]
pub struct Changes {
    /// The sources that are no part of a document.
    others: Sources,
    history: History,
    givens: Givens,
    /// Which destinations can be used.
    complete: Vec<bool>,
    /// For how long a change is on probation.
    length_ms: u64,
    probation: Probation,
}

impl Changes {
    /// Begins with what `file` says and what was changed on top of it before; with the last version that ran if that is not legal. `others` are the sources that are no part
    /// of it, and `history` is what was written down.
    ///
    /// # Errors
    /// What is wrong with it, and no version that ran would do either.
    pub fn begin(
        others: Sources,
        mut history: History,
        file: Result<Option<FileText>, ConfigErrors>,
        now_ms: u64,
    ) -> Result<Begun, ConfigErrors> {
        let last = history.last().cloned();
        let usable = last.as_ref().filter(|last| !last.is_withheld());
        let found = file.and_then(|file| {
            let hash = file.as_ref().map(FileText::hash);
            let in_its_place = usable.filter(|_| hash.is_some() && hash == history.set_aside);
            let is_set_aside = in_its_place.is_some();
            let file = in_its_place.map_or(file, |last| last.document.file.clone());
            let live = last.as_ref().map(|last| last.document.live.clone()).unwrap_or_default();
            let document = Document { file, live };
            Ok((is_set_aside, read(&others, &document)?, document))
        });
        let (read, document, fallback) = match (found, usable) {
            (Ok((false, read, document)), _) => (read, document, None),
            (Ok((true, read, document)), last) => {
                let version = last.as_ref().map_or(0, |last| last.number);
                let reason = "the file is one that was taken back, and has not changed since".to_owned();
                (read, document, Some(Fallback { reason, version }))
            }
            (Err(errors), Some(last)) => {
                let Ok(read) = read(&others, &last.document) else { return Err(errors) };
                let fallback = Fallback { reason: errors.to_string(), version: last.number };
                (read, last.document.clone(), Some(fallback))
            }
            (Err(errors), None) => return Err(errors),
        };
        let Read { loaded, givens, sources } = read;
        let hash = document.hash();
        match history.versions.last_mut().filter(|last| last.hash == hash) {
            // It may have been written down without its file.
            Some(last) => last.document = document,
            None => {
                history.probation = None;
                let number = last.as_ref().map_or(1, |last| last.number + 1);
                let before = usable.and_then(|last| last.document.over(&others).given().ok());
                let keys = before.map(|before| Plan::between(&before, &givens).keys()).unwrap_or_default();
                let (author, cause) = (KEYFERRY.to_owned(), "found at the start".to_owned());
                let holds_secret = holds_secret(&givens);
                history.add(Version {
                    number,
                    hash,
                    author,
                    cause,
                    time_ms: now_ms,
                    keys,
                    holds_secret,
                    change: None,
                    document,
                });
            }
        }
        let length_ms = length_ms(&loaded);
        history.probation = history.probation.filter(|of| now_ms < of.since_ms.saturating_add(length_ms));
        let mut probation = Probation::default();
        if let Some(of) = history.probation {
            probation.resume(of, now_ms);
        }
        let complete = complete(&loaded);
        let changes = Self { others, history, givens, complete, length_ms, probation };
        Ok(Begun { changes, loaded, sources, fallback })
    }

    /// What is to be written down.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What runs. There is always one.
    pub fn running(&self) -> &Version {
        static NOTHING: std::sync::LazyLock<Version> = std::sync::LazyLock::new(|| Version {
            number: 0,
            hash: String::new(),
            author: String::new(),
            cause: String::new(),
            time_ms: 0,
            keys: Vec::new(),
            holds_secret: false,
            change: None,
            document: Document::default(),
        });
        self.history.last().unwrap_or(&NOTHING)
    }

    /// Every value that a source gives.
    pub fn givens(&self) -> &Givens {
        &self.givens
    }

    /// Until when the running version is on probation, if it is.
    pub fn probation_until_ms(&self) -> Option<u64> {
        self.probation.until_ms(self.length_ms)
    }

    /// In which values one version differs from another.
    ///
    /// # Errors
    /// There is no such version, or it would not be legal any more.
    pub fn difference(&self, from: u64, to: u64) -> Result<Plan, Refusal> {
        let givens = |number| Ok::<_, Refusal>(self.version(number)?.document.over(&self.others).given()?);
        Ok(Plan::between(&givens(from)?, &givens(to)?))
    }

    /// Judges a wish.
    ///
    /// # Errors
    /// It cannot be fulfilled; nothing is changed.
    pub fn propose(&self, proposal: &Proposal, now_ms: u64) -> Result<Next, Refusal> {
        let running = self.running();
        let document = self.wished(&proposal.wish)?;
        if proposal.expected.as_ref().is_some_and(|expected| *expected != running.hash) {
            let (running, hash) = (running.number, running.hash.clone());
            return Err(Refusal::Stale { keys: self.wished_keys(&proposal.wish), running, hash });
        }
        if document == running.document {
            return Ok(Next::Unchanged);
        }
        let Read { loaded, givens, sources } = read(&self.others, &document)?;
        let plan = Plan::between(&self.givens, &givens);
        let keys = plan.needs_restart();
        if !keys.is_empty() {
            return Err(Refusal::Restart { keys });
        }
        if let Some(lacks) = self.would_lack(&loaded) {
            return Err(Refusal::Incomplete { keys: plan.keys(), lacks });
        }
        if proposal.dry_run {
            return Ok(Next::WouldDo(plan));
        }
        let by = (proposal.author.as_str(), proposal.wish.cause());
        let change = proposal.wish.change().map(ToOwned::to_owned);
        let version = Version { change, ..self.next(document, &plan, &givens, by, now_ms) };
        let set_aside = self.set_aside_by(&proposal.wish, &version.document);
        Ok(Next::Try(Box::new(Trial {
            plan,
            loaded,
            sources,
            is_retreat: false,
            version,
            set_aside,
            givens,
        })))
    }

    /// The history as it would be written down with what is being tried. `health` is what was counted by now.
    pub fn with(&self, trial: &Trial, health: &Health, now_ms: u64) -> History {
        let mut history = self.history.clone();
        if let Some(decision) = self.decision_by(trial) {
            history.decided.decide(decision);
        }
        history.add(trial.version.clone());
        history.set_aside.clone_from(&trial.set_aside);
        history.probation = self.probation_of(trial, health, now_ms);
        history
    }

    /// What is decided of a change for all nodes by committing `trial`.
    fn decision_by(&self, trial: &Trial) -> Option<Decision> {
        if trial.is_retreat {
            let change = self.running().change.clone()?;
            return Some(Decision {
                change,
                outcome: Outcome::TakenBack,
                reason: Some(trial.version.cause.clone()),
            });
        }
        let change = trial.version.change.clone()?;
        Some(Decision { change, outcome: Outcome::Applied, reason: None })
    }

    /// The next change for all nodes that is to be decided on here. `shared` is all that the topic says.
    pub fn due(&mut self, shared: &SharedValues) -> Option<Due> {
        self.history.decided.keep_only_what_is_in(shared);
        shared.due(&self.history.decided)
    }

    /// That a change for all nodes was decided on without a version that it would be.
    pub fn decide(&mut self, decision: Decision) {
        self.history.decided.decide(decision);
    }

    /// A way back is on no probation.
    fn probation_of(&self, trial: &Trial, health: &Health, now_ms: u64) -> Option<OnProbation> {
        let is_on_probation = !trial.is_retreat && length_ms(&trial.loaded) > 0;
        is_on_probation.then(|| self.probation.of_change(health, now_ms))
    }

    /// What was tried holds from now on, or does not for the reason that is given. `health` is what was counted by now.
    ///
    /// # Errors
    /// The reason, with the keys.
    pub fn settle(
        &mut self,
        trial: Trial,
        result: Result<(), String>,
        health: &Health,
        now_ms: u64,
    ) -> Result<&Version, Refusal> {
        match result {
            Err(reason) if !trial.is_retreat => {
                return Err(Refusal::Failed { keys: trial.plan.keys(), reason });
            }
            Ok(()) | Err(_) => {}
        }
        self.history = self.with(&trial, health, now_ms);
        self.givens = trial.givens;
        self.complete = complete(&trial.loaded);
        self.length_ms = length_ms(&trial.loaded);
        match self.history.probation {
            Some(of) => self.probation.begin(of, health),
            None => self.probation.end(),
        }
        Ok(self.running())
    }

    /// Takes in what is counted now, about once a second; answers what to do if the version on probation has made things worse.
    pub fn look(&mut self, health: &Health, now_ms: u64) -> Option<Trial> {
        let worse = self.probation.look(health, self.length_ms, now_ms)?;
        self.probation.end();
        let [.., before, running] = self.history.versions.as_slice() else { return None };
        if before.is_withheld() {
            // What it said is not known any more since the agent was started anew.
            return None;
        }
        let document = before.document.clone();
        let Read { loaded, givens, sources } = read(&self.others, &document).ok()?;
        let plan = Plan::between(&self.givens, &givens);
        let cause =
            format!("back to what version {} said: of version {}, {worse}", before.number, running.number);
        let set_aside = self.set_aside_by(&Wish::Version(before.number), &document);
        let version = self.next(document, &plan, &givens, (KEYFERRY, cause), now_ms);
        Some(Trial { plan, loaded, sources, is_retreat: true, version, set_aside, givens })
    }

    fn version(&self, number: u64) -> Result<&Version, Refusal> {
        let (oldest, newest) =
            (self.history.versions.first().map_or(0, |first| first.number), self.running().number);
        match self.history.version(number) {
            None => Err(Refusal::NoVersion { number, oldest, newest }),
            Some(version) if version.is_withheld() => Err(Refusal::Withheld { number }),
            Some(version) => Ok(version),
        }
    }

    fn wished(&self, wish: &Wish) -> Result<Document, Refusal> {
        let running = &self.running().document;
        Ok(match wish {
            Wish::File(file) => Document { file: Some(file.clone()), live: running.live.clone() },
            Wish::Version(number) => self.version(*number)?.document.clone(),
            Wish::Live(changes) | Wish::Shared { values: changes, .. } => {
                let mut document = running.clone();
                for (key, value) in changes {
                    match value {
                        Some(value) => drop(document.live.insert(key.clone(), value.clone())),
                        None => drop(document.live.remove(key)),
                    }
                }
                document
            }
        })
    }

    /// The keys that a wish is about, legal or not.
    fn wished_keys(&self, wish: &Wish) -> Vec<String> {
        match wish {
            Wish::Live(changes) | Wish::Shared { values: changes, .. } => changes.keys().cloned().collect(),
            Wish::File(_) | Wish::Version(_) => {
                let document = self.wished(wish).ok();
                let givens = document.and_then(|document| document.over(&self.others).given().ok());
                givens.map(|givens| Plan::between(&self.givens, &givens).keys()).unwrap_or_default()
            }
        }
    }

    fn next(
        &self,
        document: Document,
        plan: &Plan,
        givens: &Givens,
        (author, cause): (&str, String),
        now_ms: u64,
    ) -> Version {
        let number = self.running().number + 1;
        let (hash, keys, holds_secret) = (document.hash(), plan.keys(), holds_secret(givens));
        let author = author.to_owned();
        Version { number, hash, author, cause, time_ms: now_ms, keys, holds_secret, change: None, document }
    }

    /// The file that is taken back by a wish for an earlier version, if the file that is there is another one.
    fn set_aside_by(&self, wish: &Wish, document: &Document) -> Option<String> {
        match wish {
            Wish::File(_) => None,
            Wish::Live(_) | Wish::Shared { .. } => self.history.set_aside.clone(),
            Wish::Version(_) => {
                let present = self.running().document.file.as_ref().map(FileText::hash);
                let wanted = document.file.as_ref().map(FileText::hash);
                if present == wanted { self.history.set_aside.clone() } else { present }
            }
        }
    }

    /// What a destination would lack that can be used now.
    fn would_lack(&self, loaded: &Loaded) -> Option<String> {
        let lacking = loaded.config.destinations.iter().zip(&self.complete).find_map(|(one, is_complete)| {
            if !is_complete {
                return None;
            }
            match one {
                Readiness::Complete(_) => None,
                Readiness::Incomplete { missing, .. } => {
                    Some(missing.iter().map(ToString::to_string).collect::<Vec<_>>())
                }
                Readiness::Unresolved { reasons, .. } => Some(reasons.clone()),
            }
        });
        lacking.map(|lacks| lacks.join("; "))
    }
}

impl Wish {
    fn cause(&self) -> String {
        match self {
            Self::File(file) => format!("{} has changed", file.path.display()),
            Self::Live(_) => "set".to_owned(),
            Self::Shared { change, .. } => format!("set for all nodes by change {change}"),
            Self::Version(number) => format!("back to what version {number} said"),
        }
    }

    /// The change for all nodes that it is.
    fn change(&self) -> Option<&str> {
        match self {
            Self::Shared { change, .. } => Some(change),
            Self::File(_) | Self::Live(_) | Self::Version(_) => None,
        }
    }
}

/// What a document says.
struct Read {
    loaded: Loaded,
    givens: Givens,
    sources: Sources,
}

fn read(others: &Sources, document: &Document) -> Result<Read, ConfigErrors> {
    let sources = document.over(others);
    Ok(Read { loaded: load(&sources)?, givens: sources.given()?, sources })
}

fn holds_secret(givens: &Givens) -> bool {
    givens.values().any(Given::is_plain_secret)
}

fn complete(loaded: &Loaded) -> Vec<bool> {
    loaded.config.destinations.iter().map(|one| one.complete().is_some()).collect()
}

fn length_ms(loaded: &Loaded) -> u64 {
    u64::try_from(loaded.config.probation.as_millis()).unwrap_or(u64::MAX)
}
