//! One slot on its way to one destination: what is done the same for the agent's own slot, an adopted one and one of a sidecar's.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyferry_config::{ByteSize, Config, Destination, Journal, Readiness, Settle, librdkafka};
use keyferry_event::{HeaderMode, Topics};
use keyferry_journal::{Feed, FeedOptions, SlotDirectory, Watch};
use keyferry_kafka::{ConnectionPoolManager, PoolSettings, ProducerSettings};
use keyferry_monitor::{Status, StatusFile};
use keyferry_pipeline::{
    Ceiling, Credit, DrainLimits, Ended, InDoubt, Overflow, Phase, Pipeline, Report, Retention, RunError,
    Settings, SideFiles, Start, Stop, backpressure, breaker, run as run_pipeline,
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
        let mut destinations = config.destinations.into_iter();
        match (destinations.next(), destinations.next()) {
            (Some(Readiness::Complete(destination)), None) => {
                Ok(Self { destination: *destination, journal: config.journal })
            }
            (Some(Readiness::Incomplete { missing, .. }), None) => {
                Err(Error::Incomplete(missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
            }
            _ => Err(Error::Incomplete("this agent serves one destination".to_owned())),
        }
    }

    /// A sink of the destination.
    ///
    /// # Errors
    /// [`Error::Sink`] if the Kafka client refuses the configuration.
    pub fn sink(&self) -> Result<ConnectionPoolManager, Error> {
        ConnectionPoolManager::new(kafka_settings(&self.destination), pool_settings(&self.destination))
            .map(|(pool, _)| pool)
            .map_err(|failure| Error::Sink(failure.reason))
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
    sink: ConnectionPoolManager,
    stop: &mut dyn Stop,
    limits: DrainLimits,
    observe: &mut dyn FnMut(&Report, Phase),
) -> Result<Ended, Error> {
    let name = plan.destination.name.as_str();
    let settings = settings(plan);
    let mut storage = SlotDirectory::open(slot)?;
    let mut aside = SideFiles::of(slot, name);
    let start =
        Start::find(&mut storage, &mut aside, name, &settings.topics, wall_ms()).map_err(RunError::from)?;
    let feed = Feed::open(storage, start.resume(), feed_options(&plan.journal))?;
    let mut pipeline = Pipeline::new(feed, start, sink, aside, settings);
    let mut watch = Watch::new(slot);
    let mut status = StatusFile::in_slot(slot);
    let mut report_and_observe = |report: &Report, phase| {
        status.write(Status::of(report, phase).of_adopted(tenure == Tenure::Adopted), wall_ms());
        observe(report, phase);
    };
    Ok(run_pipeline(&mut pipeline, &mut watch, stop, limits, &mut report_and_observe)?)
}

/// How the journal is read.
fn feed_options(journal: &Journal) -> FeedOptions {
    FeedOptions { wait_for_settlement: journal.settle == Settle::EventStore, ..FeedOptions::default() }
}

/// What the Kafka client is told of a destination.
pub fn kafka_settings(destination: &Destination) -> ProducerSettings {
    let properties = librdkafka::properties(destination);
    ProducerSettings::new(properties.into_iter().map(|(name, value)| (name, value.expose().to_owned())))
}

/// How the connections to a destination are kept.
pub fn pool_settings(destination: &Destination) -> PoolSettings {
    let Topics { events, admin_events } = topics(destination);
    PoolSettings::for_topics(events.into_iter().chain(admin_events))
}

/// What the pipeline is told of a plan.
pub fn settings(plan: &Plan) -> Settings {
    let destination = &plan.destination;
    Settings {
        topics: topics(destination),
        headers: headers(destination),
        in_doubt: in_doubt(destination),
        dead_letter_topic: destination.dead_letter_topic.as_ref().map(ToString::to_string),
        gap_records: destination.gap_records,
        ceiling: ceiling(&plan.journal),
        retention: Retention {
            keep: plan.journal.keep,
            keep_bytes: plan.journal.keep_size.map(ByteSize::as_bytes),
        },
        delivery_timeout: destination.delivery.delivery_timeout,
        ..default_settings()
    }
}

/// What becomes of events in doubt.
pub fn in_doubt(destination: &Destination) -> InDoubt {
    match destination.in_doubt {
        keyferry_config::InDoubt::Publish => InDoubt::Publish,
        keyferry_config::InDoubt::Drop => InDoubt::Drop,
        keyferry_config::InDoubt::Hold => InDoubt::Hold,
    }
}

fn ceiling(journal: &Journal) -> Option<Ceiling> {
    let max_bytes = journal.max_size?.as_bytes();
    let policy = match journal.overflow {
        keyferry_config::Overflow::DropNew => Overflow::DropNew,
        keyferry_config::Overflow::Refuse => Overflow::Refuse,
        keyferry_config::Overflow::DropOld => Overflow::DropOld,
    };
    Some(Ceiling { max_bytes, segment_bytes: journal.segment_size.as_bytes(), policy })
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
        dead_letter_topic: None,
        gap_records: true,
        ceiling: None,
        retention: Retention::default(),
        credit: CREDIT,
        delivery_timeout: Duration::from_secs(120),
        breaker: breaker::Settings::default(),
        backpressure: backpressure::Settings::default(),
        controls: Arc::default(),
        seed: u64::from(std::process::id()) ^ wall_ms(),
    }
}

/// Milliseconds since the Unix epoch.
pub fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use keyferry_config::Sources;

    use super::*;

    fn plan(options: &[(&str, &str)]) -> Plan {
        let needed = [("bootstrap-servers", "kafka:9092"), ("topic-events", "events")];
        let sources = Sources::new().with_options(needed.iter().chain(options).copied());
        let config = keyferry_config::load(&sources).unwrap_or_else(|errors| panic!("{errors}")).config;
        Plan::of(config).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn what_is_configured_reaches_the_pipeline_and_the_reader() {
        let plan = plan(&[
            ("in-doubt", "hold"),
            ("dead-letter-topic", "dead"),
            ("gap-records", "false"),
            ("journal-max-size", "1GiB"),
            ("journal-overflow", "drop-old"),
            ("journal-segment-size", "1MiB"),
            ("journal-keep", "7d"),
            ("journal-keep-size", "2GiB"),
            ("journal-settle", "event-store"),
        ]);
        let settings = settings(&plan);
        assert_eq!((settings.in_doubt, settings.gap_records), (InDoubt::Hold, false));
        assert_eq!(settings.dead_letter_topic.as_deref(), Some("dead"));
        let ceiling = Ceiling { max_bytes: 1 << 30, segment_bytes: 1 << 20, policy: Overflow::DropOld };
        assert_eq!(settings.ceiling, Some(ceiling));
        let keep = Duration::from_secs(7 * 86_400);
        assert_eq!(settings.retention, Retention { keep, keep_bytes: Some(2 << 30) });
        assert!(feed_options(&plan.journal).wait_for_settlement);
    }

    #[test]
    fn nothing_is_kept_or_given_up_unless_that_is_configured() {
        let plan = plan(&[]);
        let settings = settings(&plan);
        assert_eq!((settings.ceiling, settings.retention), (None, Retention::default()));
        assert_eq!((settings.in_doubt, settings.gap_records), (InDoubt::Publish, true));
        assert!(!feed_options(&plan.journal).wait_for_settlement);
    }
}
