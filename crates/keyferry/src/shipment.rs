//! One slot on its way to one destination: what is done the same for the agent's own slot, an adopted one and one of a sidecar's.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyferry_config::{Config, Destination, Journal, Readiness, librdkafka};
use keyferry_event::{HeaderMode, Topics};
use keyferry_journal::{Checkpoint, CheckpointFile, Feed, FeedOptions, SlotDirectory, Watch};
use keyferry_kafka::KafkaSink;
use keyferry_monitor::{Status, StatusFile};
use keyferry_pipeline::{
    Credit, DeadLetterFile, DrainLimits, Ended, InDoubt, Phase, Pipeline, Progress, Report, Settings, Stop,
    run as run_pipeline,
};

use crate::error::Error;

/// What may be in flight: enough to keep a distant broker busy, small enough to be forgotten on any machine.
const CREDIT: Credit = Credit { bytes: 24 << 20, records: 20_000 };

/// What is shipped and how, whichever slot it is from.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the events go.
    pub destination: Destination,
    /// What is kept, and what gives way.
    pub journal: Journal,
}

impl Plan {
    /// The plan that a configuration makes.
    ///
    /// # Errors
    /// [`Error::Incomplete`] if it lacks something.
    pub fn of(config: Config) -> Result<Self, Error> {
        match config.destination {
            Readiness::Complete(destination) => {
                Ok(Self { destination: *destination, journal: config.journal })
            }
            Readiness::Incomplete { missing } => {
                Err(Error::Incomplete(missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
            }
        }
    }

    /// A sink of the destination.
    ///
    /// # Errors
    /// [`Error::Sink`] if the Kafka client refuses the configuration.
    pub fn sink(&self) -> Result<KafkaSink, Error> {
        KafkaSink::new(kafka_settings(&self.destination)).map_err(|failure| Error::Sink(failure.reason))
    }
}

/// Whose slot it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenure {
    /// The agent's own.
    Own,
    /// That of a process which is gone, until everything in it is delivered.
    Adopted,
}

/// Ships `slot` until `stop` is given, and drains it then within `limits`. The caller holds the slot's lock.
///
/// `observe` gets every report.
///
/// # Errors
/// The journal cannot be read on.
pub fn ship(
    slot: &Path,
    tenure: Tenure,
    plan: &Plan,
    sink: KafkaSink,
    stop: &mut dyn Stop,
    limits: DrainLimits,
    observe: &mut dyn FnMut(&Report, Phase),
) -> Result<Ended, Error> {
    let destination = &plan.destination;
    let mut storage = SlotDirectory::open(slot)?;
    let (checkpoint, settled) = load_checkpoint(&mut storage, &destination.name)?;
    let feed = Feed::open(storage, settled.map(|progress| progress.resume).as_ref(), FeedOptions::default())?;
    let dead_letters = DeadLetterFile::new(slot.join(format!("{}.dead-letters.jsonl", destination.name)));
    let mut pipeline = Pipeline::new(feed, checkpoint, settled, sink, dead_letters, settings(plan));
    let mut watch = Watch::new(slot);
    let mut status = StatusFile::in_slot(slot);
    let mut report_and_observe = |report: &Report, phase| {
        status.write(Status::of(report, phase).of_adopted(tenure == Tenure::Adopted), wall_ms());
        observe(report, phase);
    };
    Ok(run_pipeline(&mut pipeline, &mut watch, stop, limits, &mut report_and_observe)?)
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

/// What the Kafka client is told of a destination.
pub fn kafka_settings(destination: &Destination) -> keyferry_kafka::Settings {
    let properties = librdkafka::properties(destination);
    keyferry_kafka::Settings::new(
        properties.into_iter().map(|(name, value)| (name, value.expose().to_owned())),
    )
}

/// What the pipeline is told of a plan.
pub fn settings(plan: &Plan) -> Settings {
    let destination = &plan.destination;
    Settings {
        topics: topics(destination),
        headers: headers(destination),
        in_doubt: in_doubt(destination),
        delivery_timeout: destination.delivery.delivery_timeout,
        ..default_settings()
    }
}

/// What becomes of events in doubt.
pub fn in_doubt(destination: &Destination) -> InDoubt {
    match destination.in_doubt {
        keyferry_config::InDoubt::Publish => InDoubt::Publish,
        keyferry_config::InDoubt::Drop => InDoubt::Drop,
        keyferry_config::InDoubt::Hold => InDoubt::Publish,
    }
}

/// Where the two kinds of events go.
pub fn topics(destination: &Destination) -> Topics {
    Topics {
        events: Some(destination.topic_events.to_string()),
        admin_events: destination.topic_admin_events.as_ref().map(ToString::to_string),
    }
}

/// Which headers records carry.
pub fn headers(destination: &Destination) -> HeaderMode {
    match destination.headers {
        keyferry_config::Headers::CloudEvents => HeaderMode::CloudEvents,
        keyferry_config::Headers::Minimal => HeaderMode::Minimal,
        keyferry_config::Headers::None => HeaderMode::None,
    }
}

/// What the pipeline does where nothing says otherwise.
pub fn default_settings() -> Settings {
    Settings {
        topics: Topics { events: Some("events".to_owned()), admin_events: None },
        headers: HeaderMode::CloudEvents,
        in_doubt: InDoubt::Publish,
        credit: CREDIT,
        delivery_timeout: Duration::from_secs(120),
        seed: u64::from(std::process::id()) ^ wall_ms(),
    }
}

/// Milliseconds since the Unix epoch.
pub fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
