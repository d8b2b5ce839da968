//! The agent: its own slot, from its lock to its last checkpoint, and what others have left behind meanwhile.
//!
//! The invariant: **what cannot be done yet is no reason for a child to end**, be it a configuration that is not complete or a slot that another agent has not let go
//! of. Its parent would only start it again with the same options. The child says what it waits for, in the log and in `status.json`; what Keycloak
//! journals meanwhile is kept. An agent that was started by hand or by a service manager ends with the error instead: there, somebody is
//! looking.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keyferry_config::Sources;
use keyferry_event::Format;
use keyferry_journal::{Feed, FeedOptions, SlotDirectory, Storage as _, Watch};
use keyferry_monitor::{Status, StatusFile};
use keyferry_pipeline::{DrainLimits, Ended, Nowhere, Pipeline, Start, run as run_pipeline};

use crate::adoption;
use crate::alerting;
use crate::cli::{RunArguments, SinkKind};
use crate::configuring::{self, Beginning};
use crate::control::Control;
use crate::credentials;
use crate::error::Error;
use crate::handover::HandOver;
use crate::live::Live;
use crate::log;
use crate::otlp;
use crate::read_only::ReadOnly;
use crate::service::{Service, Tenure};
use crate::shipment::{self, Plan, wall_ms};
use crate::sidecar;
use crate::slot_lock::SlotLock;
use crate::stdout::StdoutSink;
use crate::stop::{Broadcast, Hangup, StopSources};

/// How long draining may take. The provider's `drain-timeout` (default 10 s) is longer, so that the agent ends by itself.
pub const DRAIN: DrainLimits = DrainLimits { total: Duration::from_secs(9), stalled: Duration::from_secs(3) };

/// How often a child whose configuration is refused says how much waits meanwhile.
const CONFIGURATION_INTERVAL: Duration = Duration::from_secs(5);
/// How often a child that waits for its slot tries to get it.
const LOCK_INTERVAL: Duration = Duration::from_millis(250);

/// What the agent was told to ship, and how.
struct Task {
    what: What,
    /// All but the file.
    sources: Sources,
    file: Option<PathBuf>,
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
    let hangup = Hangup::listen()?;
    let live = Arc::new(Live::default());
    let directory = task.what.directory();
    let control = Control::of(directory, &live, is_child.then(parent).flatten());
    // Before anything is waited for, so that an operator can see what.
    let _api = (arguments.sink() == SinkKind::Kafka).then(|| control.serve(directory));
    match (&task.what, arguments.sink()) {
        (What::Parents(slot) | What::Slot(slot), SinkKind::Stdout) => print(slot, &task, &mut stop),
        (What::Journal(_), SinkKind::Stdout) => Err(Error::Incomplete(
            "records of one slot at a time can be printed: give `--slot` in place of `--journal`".to_owned(),
        )),
        (What::Parents(slot), SinkKind::Kafka) => {
            Child::new(slot, &task, &live, &control, &mut stop)?.run(&hangup)
        }
        (What::Slot(slot), SinkKind::Kafka) => {
            let lock = SlotLock::acquire(slot)?;
            let beginning = task.beginning()?;
            beginning.plan.check()?;
            let _served = control.serve_over_tcp(&beginning.plan);
            serve(slot, lock, beginning, &live, &control, &hangup, &mut stop)
        }
        (What::Journal(journal), SinkKind::Kafka) => {
            let beginning = task.beginning()?;
            let _served = control.serve_over_tcp(&beginning.plan);
            sidecar::serve(journal, beginning, &live, &control, &hangup, &mut stop)
        }
    }
}

/// The process that has started this one, if it still lives.
fn parent() -> Option<i32> {
    rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get())
}

impl What {
    /// What is shipped, and where the agent can be reached.
    fn directory(&self) -> &Path {
        match self {
            Self::Parents(directory) | Self::Slot(directory) | Self::Journal(directory) => directory,
        }
    }
}

impl Task {
    fn of(arguments: &RunArguments) -> Result<Self, Error> {
        let (environment, file) = (credentials::sources(), arguments.config.clone());
        if arguments.child {
            return Self::handed_over(environment, file);
        }
        let what = match (&arguments.slot, &arguments.journal) {
            (Some(slot), _) => What::Slot(slot.clone()),
            (None, Some(journal)) => What::Journal(journal.clone()),
            (None, None) => {
                What::Journal(configured_journal(&with_file(environment.clone(), file.as_deref())?)?)
            }
        };
        Ok(Self { what, sources: environment, file })
    }

    fn handed_over(environment: Sources, file: Option<PathBuf>) -> Result<Self, Error> {
        let hand_over = HandOver::read(&mut io::stdin())?;
        tracing::info!(
            "agent {} serves {} for provider {} in Keycloak {}",
            env!("CARGO_PKG_VERSION"),
            hand_over.slot.display(),
            hand_over.provider,
            hand_over.keycloak
        );
        let sources = environment.with_options(hand_over.options).with_node(hand_over.node);
        Ok(Self { what: What::Parents(hand_over.slot), sources, file })
    }

    /// The plan of who only looks: what the file says now.
    fn plan(&self) -> Result<Plan, Error> {
        let loaded = keyferry_config::load(&with_file(self.sources.clone(), self.file.as_deref())?)?;
        log::set_level(loaded.config.log.level);
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        Ok(Plan::of(loaded.config))
    }

    /// The plan of who ships, and what it takes to change it.
    fn beginning(&self) -> Result<Beginning, Error> {
        Ok(Beginning::of(self.sources.clone(), self.file.as_deref(), self.what.directory())?)
    }
}

fn with_file(sources: Sources, file: Option<&Path>) -> Result<Sources, keyferry_config::ConfigErrors> {
    match file {
        Some(file) => sources.with_file(file),
        None => Ok(sources),
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
    Beginning { plan, mut changing }: Beginning,
    live: &Live,
    control: &Control,
    hangup: &Hangup,
    stop: &mut StopSources,
) -> Result<(), Error> {
    let over = Broadcast::new()?;
    changing.take_effect(&plan, live);
    let plan = &plan;
    let ended = std::thread::scope(|scope| {
        let _end = over.at_the_end();
        scope.spawn(|| changing.run(live, hangup, &over));
        scope.spawn(|| configuring::follow(plan, live, &over));
        scope.spawn(|| {
            alerting::run(
                &alerting::Settings { directory: slot, plan, metrics: control.metrics() },
                live,
                &over,
            )
        });
        scope.spawn(|| otlp::run(plan, control.metrics(), &over));
        if plan.complete().next().is_some() {
            scope.spawn(|| adoption::adopt_siblings(slot, plan, live, &over));
        }
        let service = Service { slot, tenure: Tenure::Own, plan, live, limits: DRAIN };
        // What is adopted is let go of while the own slot drains.
        service.run(stop, &mut || over.give())
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
    live: &'a Live,
    control: &'a Control,
    stop: &'a mut StopSources,
    storage: SlotDirectory,
    status: StatusFile,
}

impl<'a> Child<'a> {
    fn new(
        slot: &'a Path,
        task: &'a Task,
        live: &'a Live,
        control: &'a Control,
        stop: &'a mut StopSources,
    ) -> Result<Self, Error> {
        let storage = SlotDirectory::open(slot)?;
        Ok(Self { slot, task, live, control, stop, storage, status: StatusFile::of_waiting(slot) })
    }

    fn run(mut self, hangup: &Hangup) -> Result<(), Error> {
        // The provider does, however this process ends, unless Keycloak is stopping.
        self.live.is_supervised_from_now_on();
        let Some(lock) = self.lock()? else { return Ok(()) };
        let Some(beginning) = self.beginning() else { return Ok(()) };
        let _served = self.control.serve_over_tcp(&beginning.plan);
        serve(self.slot, lock, beginning, self.live, self.control, hangup, self.stop)
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

    /// What to begin with, as soon as the configuration is legal; `None` if the word to stop came first. A child's options never change, but a file that they
    /// name may appear.
    fn beginning(&mut self) -> Option<Beginning> {
        let task = self.task;
        let readable = || {
            let beginning = task.beginning()?;
            beginning.plan.check_references()?;
            Ok::<_, Error>(beginning)
        };
        match readable() {
            Ok(beginning) => Some(beginning),
            Err(error) => {
                tracing::error!("{error}");
                self.wait_for(&error.to_string(), CONFIGURATION_INTERVAL, || readable().ok())
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
        self.live.waits(Some(reason.to_owned()));
        loop {
            let backlog = self.journal_bytes();
            self.status.write(Status::waiting(reason.to_owned(), backlog), wall_ms());
            if self.stop.wait(interval) {
                self.status.write(Status::waiting(reason.to_owned(), backlog).stopped(), wall_ms());
                return None;
            }
            if let Some(ready) = ready() {
                self.live.waits(None);
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
    let plan = task.plan()?;
    let first = plan.complete().next();
    let mut settings =
        first.map_or_else(shipment::default_settings, |first| shipment::settings(first, &plan.journal));
    // Nothing is given up or kept for the sake of a look.
    settings.ceiling = None;
    if settings.content.format.schema().is_some() {
        tracing::info!("what is printed is Keycloak's JSON: the configured format is not one for reading");
        settings.content.format = Format::Keycloak;
    }
    settings.topics.admin_events.get_or_insert_with(|| "admin-events".to_owned());
    let storage = ReadOnly::new(SlotDirectory::open(slot)?);
    let feed = Feed::open(storage, None, FeedOptions::default())?;
    let mut pipeline = Pipeline::new(feed, Start::anew("dry-run"), StdoutSink::default(), Nowhere, settings);
    let mut watch = Watch::new(slot);
    run_pipeline(&mut pipeline, &mut watch, stop, DRAIN, &mut |_, _| {})?;
    Ok(())
}
