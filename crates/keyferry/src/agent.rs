//! The agent: its own slot, from its lock to its last checkpoint, and what others have left behind meanwhile.
//!
//! The invariant: **what cannot be done yet is no reason for a child to end**, be it a configuration that is not complete or a slot that another agent has not let go
//! of. Its parent would only start it again with the same options. The child says what it waits for, in the log and in `status.json`; what Keycloak
//! journals meanwhile is kept. An agent that was started by hand or by a service manager ends with the error instead: there, somebody is
//! looking.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyferry_config::{Loaded, Sources};
use keyferry_journal::{Feed, FeedOptions, SlotDirectory, Storage as _, Watch};
use keyferry_kafka::ConnectionPoolManager;
use keyferry_monitor::{Status, StatusFile};
use keyferry_pipeline::{DrainLimits, Ended, Nowhere, Phase, Pipeline, Report, Start, run as run_pipeline};

use crate::adoption;
use crate::cli::{RunArguments, SinkKind};
use crate::credentials;
use crate::error::Error;
use crate::handover::HandOver;
use crate::log;
use crate::read_only::ReadOnly;
use crate::shipment::{self, Plan, Tenure, wall_ms};
use crate::sidecar;
use crate::slot_lock::SlotLock;
use crate::stdout::StdoutSink;
use crate::stop::{Broadcast, StopSources};

/// How long draining may take. The provider's `drain-timeout` (default 10 s) is longer, so that the agent ends by itself.
pub const DRAIN: DrainLimits = DrainLimits { total: Duration::from_secs(9), stalled: Duration::from_secs(3) };

/// How often a child that waits for its configuration looks whether what it waits for has come (a certificate file, say).
const CONFIGURATION_INTERVAL: Duration = Duration::from_secs(5);
/// How often a child that waits for its slot tries to get it.
const LOCK_INTERVAL: Duration = Duration::from_millis(250);

/// What the agent was told to ship, and how.
struct Task {
    what: What,
    sources: Sources,
}

/// What the agent was told to ship.
enum What {
    /// The slot of the parent.
    Parents(PathBuf),
    /// One slot.
    Slot(PathBuf),
    /// Every slot of a journal directory.
    Journal(PathBuf),
}

/// Ships until told to stop.
///
/// # Errors
/// See [`Error`].
pub fn run(arguments: &RunArguments) -> Result<(), Error> {
    let task = Task::of(arguments)?;
    let is_child = matches!(task.what, What::Parents(_));
    let mut stop = StopSources::listen(is_child)?;
    match (&task.what, arguments.sink()) {
        (What::Parents(slot) | What::Slot(slot), SinkKind::Stdout) => print(slot, &task, &mut stop),
        (What::Journal(_), SinkKind::Stdout) => Err(Error::Incomplete(
            "records of one slot at a time can be printed: give `--slot` in place of `--journal`".to_owned(),
        )),
        (What::Parents(slot), SinkKind::Kafka) => Child::new(slot, &task, &mut stop)?.run(),
        (What::Slot(slot), SinkKind::Kafka) => {
            let lock = SlotLock::acquire(slot)?;
            let plan = task.plan()?;
            let sink = plan.sink()?;
            serve(slot, lock, &plan, sink, &mut stop)
        }
        (What::Journal(journal), SinkKind::Kafka) => sidecar::serve(journal, &task.plan()?, &mut stop),
    }
}

impl Task {
    fn of(arguments: &RunArguments) -> Result<Self, Error> {
        let environment = credentials::sources();
        if arguments.child {
            return Self::handed_over(environment);
        }
        let sources = match &arguments.config {
            Some(file) => environment.with_file(file)?,
            None => environment,
        };
        let what = match (&arguments.slot, &arguments.journal) {
            (Some(slot), _) => What::Slot(slot.clone()),
            (None, Some(journal)) => What::Journal(journal.clone()),
            (None, None) => What::Journal(configured_journal(&sources)?),
        };
        Ok(Self { what, sources })
    }

    fn handed_over(environment: Sources) -> Result<Self, Error> {
        let hand_over = HandOver::read(&mut io::stdin())?;
        tracing::info!(
            "agent {} serves {} for provider {} in Keycloak {}",
            env!("CARGO_PKG_VERSION"),
            hand_over.slot.display(),
            hand_over.provider,
            hand_over.keycloak
        );
        let sources = environment.with_options(hand_over.options).with_node(hand_over.node);
        Ok(Self { what: What::Parents(hand_over.slot), sources })
    }

    /// The configuration's warnings are logged here.
    fn load(&self) -> Result<Loaded, keyferry_config::ConfigErrors> {
        let loaded = keyferry_config::load(&self.sources)?;
        log::set_level(loaded.config.log.level);
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        Ok(loaded)
    }

    /// The plan, or why there is none yet.
    fn plan(&self) -> Result<Plan, Error> {
        Plan::of(self.load()?.config)
    }
}

fn configured_journal(sources: &Sources) -> Result<PathBuf, Error> {
    let nothing = "there is nothing to ship: give `--slot` or `--journal`, or set the key `journal.dir` or the variable KEYFERRY_JOURNAL_DIR";
    keyferry_config::load(sources)?.config.journal.dir.ok_or_else(|| Error::Incomplete(nothing.to_owned()))
}

/// Ships the agent's own slot until told to stop, and adopts what others have left behind.
fn serve(
    slot: &Path,
    lock: SlotLock,
    plan: &Plan,
    sink: ConnectionPoolManager,
    stop: &mut StopSources,
) -> Result<(), Error> {
    let over = Broadcast::new()?;
    let ended = std::thread::scope(|scope| {
        let _end = over.at_the_end();
        scope.spawn(|| adoption::adopt_siblings(slot, plan, &over));
        shipment::ship(slot, Tenure::Own, plan, sink, stop, DRAIN, &mut |_, phase| {
            // What is adopted is let go of while the own slot drains.
            if phase != Phase::Running {
                over.give();
            }
        })
    })?;
    drop(lock);
    match ended {
        Ended::Drained => tracing::info!("stopped; everything is delivered"),
        Ended::Undelivered => tracing::warn!("stopped; what is not delivered stays in the journal"),
    }
    Ok(())
}

/// An agent that the provider has started.
struct Child<'a> {
    slot: &'a Path,
    task: &'a Task,
    stop: &'a mut StopSources,
    storage: SlotDirectory,
    status: StatusFile,
}

impl<'a> Child<'a> {
    fn new(slot: &'a Path, task: &'a Task, stop: &'a mut StopSources) -> Result<Self, Error> {
        let storage = SlotDirectory::open(slot)?;
        Ok(Self { slot, task, stop, storage, status: StatusFile::of_waiting(slot) })
    }

    fn run(mut self) -> Result<(), Error> {
        let Some(lock) = self.lock()? else { return Ok(()) };
        let Some((plan, sink)) = self.connect() else { return Ok(()) };
        serve(self.slot, lock, &plan, sink, self.stop)
    }

    /// The slot's lock, as soon as it is free; `None` if the word to stop came first.
    fn lock(&mut self) -> Result<Option<SlotLock>, Error> {
        let holder = match SlotLock::acquire(self.slot) {
            Err(error @ keyferry_journal::Error::Locked { .. }) => error.to_string(),
            result => return Ok(Some(result?)),
        };
        let reason = format!("waiting for another agent to let go of the slot: {holder}");
        tracing::info!("{reason}");
        let slot = self.slot;
        self.wait_for(&reason, LOCK_INTERVAL, || match SlotLock::acquire(slot) {
            Err(keyferry_journal::Error::Locked { .. }) => None,
            result => Some(result),
        })
        .transpose()
        .map_err(Error::from)
    }

    /// Plan and sink, as soon as the configuration allows them; `None` if the word to stop came first.
    fn connect(&mut self) -> Option<(Plan, ConnectionPoolManager)> {
        let plan = match self.task.plan() {
            Ok(plan) => plan,
            Err(error) => {
                match error {
                    // The provider has warned of it already.
                    Error::Incomplete(_) => tracing::info!("{error}"),
                    _ => tracing::error!("{error}"),
                }
                // The options of a child never change: a new child is started with new ones.
                return self.wait_for(&error.to_string(), CONFIGURATION_INTERVAL, || None);
            }
        };
        match plan.sink() {
            Ok(sink) => Some((plan, sink)),
            Err(error) => {
                tracing::error!("{error}");
                let sink = self.wait_for(&error.to_string(), CONFIGURATION_INTERVAL, || plan.sink().ok())?;
                Some((plan, sink))
            }
        }
    }

    /// Waits until `ready` gives something or the word to stop comes, reporting `reason` meanwhile.
    fn wait_for<T>(
        &mut self,
        reason: &str,
        interval: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        loop {
            let backlog = self.journal_bytes();
            self.status.write(Status::waiting(reason.to_owned(), backlog), wall_ms());
            if self.stop.wait(interval) {
                let report = Report { backlog_bytes: backlog, ..Report::default() };
                self.status.write(Status::of(&report, Phase::Stopped), wall_ms());
                return None;
            }
            if let Some(ready) = ready() {
                return Some(ready);
            }
        }
    }

    fn journal_bytes(&mut self) -> u64 {
        self.storage.list().map(|segments| segments.iter().map(|segment| segment.length).sum()).unwrap_or(0)
    }
}

/// Prints instead of shipping, and leaves no trace in the slot.
fn print(slot: &Path, task: &Task, stop: &mut StopSources) -> Result<(), Error> {
    let mut settings = match task.plan() {
        Ok(plan) => shipment::settings(&plan),
        Err(Error::Incomplete(_)) => shipment::default_settings(),
        Err(error) => return Err(error),
    };
    // Nothing is given up or kept for the sake of a look.
    settings.ceiling = None;
    settings.topics.admin_events.get_or_insert_with(|| "admin-events".to_owned());
    let storage = ReadOnly::new(SlotDirectory::open(slot)?);
    let feed = Feed::open(storage, None, FeedOptions::default())?;
    let mut pipeline = Pipeline::new(feed, Start::anew("dry-run"), StdoutSink::default(), Nowhere, settings);
    let mut watch = Watch::new(slot);
    run_pipeline(&mut pipeline, &mut watch, stop, DRAIN, &mut |_, _| {})?;
    Ok(())
}
