//! One slot, from its lock to its last checkpoint.
//!
//! The invariant: **a configuration that cannot be used yet is no reason for a child to end.** Its parent would only start it
//! again with the same options. The child says what is missing, in the log and in `status.json`, and waits; what Keycloak journals
//! meanwhile is kept. An agent that was started by hand or by a service manager ends with the error instead: there, somebody is looking.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyferry_config::{Destination, Loaded, Readiness, Sources, librdkafka};
use keyferry_event::{HeaderMode, Topics};
use keyferry_journal::{
    AgentLock, Checkpoint, CheckpointFile, Feed, FeedOptions, SlotDirectory, Storage, Watch,
};
use keyferry_kafka::KafkaSink;
use keyferry_monitor::{Status, StatusFile};
use keyferry_pipeline::{
    Credit, DeadLetterFile, DrainLimits, Ended, InDoubt, Phase, Pipeline, Progress, Report, Settings,
    run as run_pipeline,
};

use crate::cli::{RunArguments, SinkKind};
use crate::error::Error;
use crate::handover::HandOver;
use crate::log;
use crate::read_only::ReadOnly;
use crate::stdout::StdoutSink;
use crate::stop::StopSources;

/// What may be in flight: enough to keep a distant broker busy, small enough to be forgotten on any machine.
const CREDIT: Credit = Credit { bytes: 24 << 20, records: 20_000 };

/// How long draining may take. The provider's `drain-timeout` (default 10 s) is longer, so that the agent ends by itself.
const DRAIN: DrainLimits = DrainLimits { total: Duration::from_secs(9), stalled: Duration::from_secs(3) };

/// How often a child that waits looks whether what it waits for has come (a certificate file, say).
const WAITING_INTERVAL: Duration = Duration::from_secs(5);

/// What the agent was told to ship, and how.
struct Task {
    slot: PathBuf,
    sources: Sources,
    is_child: bool,
}

/// Ships a slot until told to stop.
///
/// # Errors
/// See [`Error`].
pub fn run(arguments: &RunArguments) -> Result<(), Error> {
    let task = Task::of(arguments)?;
    let mut stop = StopSources::listen(task.is_child)?;
    match arguments.sink() {
        SinkKind::Stdout => print(&task, &mut stop),
        SinkKind::Kafka => {
            let _lock = AgentLock::acquire(&task.slot)?;
            ship(&task, &mut stop)
        }
    }
}

impl Task {
    fn of(arguments: &RunArguments) -> Result<Self, Error> {
        let environment = Sources::new().with_process_environment();
        if let Some(slot) = &arguments.slot {
            let sources = match &arguments.config {
                Some(file) => environment.with_file(file)?,
                None => environment,
            };
            return Ok(Self { slot: slot.clone(), sources, is_child: false });
        }
        let hand_over = HandOver::read(&mut io::stdin())?;
        tracing::info!(
            "agent {} serves {} for provider {} in Keycloak {}",
            env!("CARGO_PKG_VERSION"),
            hand_over.slot.display(),
            hand_over.provider,
            hand_over.keycloak
        );
        let sources = environment.with_options(hand_over.options).with_node(hand_over.node);
        Ok(Self { slot: hand_over.slot, sources, is_child: true })
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

    /// The destination, or why there is none yet.
    fn destination(&self) -> Result<Destination, Error> {
        match self.load()?.config.destination {
            Readiness::Complete(destination) => Ok(*destination),
            Readiness::Incomplete { missing } => {
                Err(Error::Incomplete(missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
            }
        }
    }
}

/// Ships to Kafka.
fn ship(task: &Task, stop: &mut StopSources) -> Result<(), Error> {
    let mut storage = SlotDirectory::open(&task.slot)?;
    let mut status = StatusFile::in_slot(&task.slot);
    let destination = match task.destination() {
        Ok(destination) => destination,
        Err(error) if task.is_child => {
            match error {
                // The provider has warned of it already.
                Error::Incomplete(_) => tracing::info!("{error}"),
                _ => tracing::error!("{error}"),
            }
            wait_for(stop, &mut storage, &mut status, &error.to_string(), || None::<()>);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let Some(sink) = connect(task, &destination, stop, &mut storage, &mut status)? else { return Ok(()) };
    let (checkpoint, settled) = load_checkpoint(&mut storage, &destination.name)?;
    let feed = Feed::open(storage, settled.map(|progress| progress.resume).as_ref(), FeedOptions::default())?;
    let dead_letters =
        DeadLetterFile::new(task.slot.join(format!("{}.dead-letters.jsonl", destination.name)));
    let mut pipeline = Pipeline::new(feed, checkpoint, settled, sink, dead_letters, settings(&destination));
    let mut watch = Watch::new(&task.slot);
    let observe = &mut |report: &Report, phase| status.write(Status::of(report, phase), wall_ms());
    match run_pipeline(&mut pipeline, &mut watch, stop, DRAIN, observe)? {
        Ended::Drained => tracing::info!("stopped; everything is delivered"),
        Ended::Undelivered => tracing::warn!("stopped; what is not delivered stays in the journal"),
    }
    Ok(())
}

/// A sink, as soon as the configuration allows one; `None` if the word to stop came first.
fn connect(
    task: &Task,
    destination: &Destination,
    stop: &mut StopSources,
    storage: &mut SlotDirectory,
    status: &mut StatusFile,
) -> Result<Option<KafkaSink>, Error> {
    let attempt = || KafkaSink::new(kafka_settings(destination));
    match attempt() {
        Ok(sink) => Ok(Some(sink)),
        Err(failure) if task.is_child => {
            tracing::error!("{failure}");
            Ok(wait_for(stop, storage, status, &failure.reason, || attempt().ok()))
        }
        Err(failure) => Err(Error::Sink(failure.reason)),
    }
}

/// Waits until `ready` gives something or the word to stop comes, reporting `reason` meanwhile.
fn wait_for<T>(
    stop: &mut StopSources,
    storage: &mut SlotDirectory,
    status: &mut StatusFile,
    reason: &str,
    mut ready: impl FnMut() -> Option<T>,
) -> Option<T> {
    loop {
        let backlog =
            storage.list().map(|segments| segments.iter().map(|segment| segment.length).sum()).unwrap_or(0);
        status.write(Status::waiting(reason.to_owned(), backlog), wall_ms());
        if stop.wait(WAITING_INTERVAL) {
            status.write(
                Status::of(&Report { backlog_bytes: backlog, ..Report::default() }, Phase::Stopped),
                wall_ms(),
            );
            return None;
        }
        if let Some(ready) = ready() {
            return Some(ready);
        }
    }
}

/// How far the destination has got. A checkpoint that cannot be read is no reason to lose or to wait: what the journal still holds is sent again.
fn load_checkpoint(
    storage: &mut SlotDirectory,
    destination: &str,
) -> Result<(CheckpointFile, Option<Progress>), Error> {
    match CheckpointFile::load(storage, destination) {
        Ok((file, checkpoint)) => {
            let settled = checkpoint.and_then(|checkpoint| {
                let Checkpoint { resume, next_sequence, .. } = checkpoint;
                resume.map(|resume| Progress { resume, next_sequence })
            });
            Ok((file, settled))
        }
        Err(error @ keyferry_journal::Error::DamagedCheckpoint { .. }) => {
            tracing::error!("{error}; everything that the journal still holds is sent again");
            Ok((CheckpointFile::begin_anew(destination), None))
        }
        Err(error) => Err(error.into()),
    }
}

/// Prints instead of shipping, and leaves no trace in the slot.
fn print(task: &Task, stop: &mut StopSources) -> Result<(), Error> {
    let mut settings = match task.destination() {
        Ok(destination) => settings(&destination),
        Err(Error::Incomplete(_)) => default_settings(),
        Err(error) => return Err(error),
    };
    settings.topics.admin_events.get_or_insert_with(|| "admin-events".to_owned());
    let mut storage = ReadOnly::new(SlotDirectory::open(&task.slot)?);
    let (checkpoint, _) = CheckpointFile::load(&mut storage, "dry-run")?;
    let feed = Feed::open(storage, None, FeedOptions::default())?;
    let nowhere = DeadLetterFile::new("/dev/null".into());
    let mut pipeline = Pipeline::new(feed, checkpoint, None, StdoutSink::default(), nowhere, settings);
    let mut watch = Watch::new(&task.slot);
    run_pipeline(&mut pipeline, &mut watch, stop, DRAIN, &mut |_, _| {})?;
    Ok(())
}

fn kafka_settings(destination: &Destination) -> keyferry_kafka::Settings {
    let properties = librdkafka::properties(destination);
    keyferry_kafka::Settings::new(
        properties.into_iter().map(|(name, value)| (name, value.expose().to_owned())),
    )
}

fn settings(destination: &Destination) -> Settings {
    Settings {
        topics: Topics {
            events: Some(destination.topic_events.to_string()),
            admin_events: destination.topic_admin_events.as_ref().map(ToString::to_string),
        },
        headers: match destination.headers {
            keyferry_config::Headers::CloudEvents => HeaderMode::CloudEvents,
            keyferry_config::Headers::Minimal => HeaderMode::Minimal,
            keyferry_config::Headers::None => HeaderMode::None,
        },
        in_doubt: match destination.in_doubt {
            keyferry_config::InDoubt::Publish => InDoubt::Publish,
            keyferry_config::InDoubt::Drop => InDoubt::Drop,
            keyferry_config::InDoubt::Hold => InDoubt::Publish,
        },
        delivery_timeout: destination.delivery.delivery_timeout,
        ..default_settings()
    }
}

fn default_settings() -> Settings {
    Settings {
        topics: Topics { events: Some("events".to_owned()), admin_events: None },
        headers: HeaderMode::CloudEvents,
        in_doubt: InDoubt::Publish,
        credit: CREDIT,
        delivery_timeout: Duration::from_secs(120),
        seed: u64::from(std::process::id()) ^ wall_ms(),
    }
}

fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
