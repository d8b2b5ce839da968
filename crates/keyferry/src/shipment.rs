//! One slot on its way to one destination: what is done the same for the agent's own slot, an adopted one and one of a sidecar's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyferry_config::{
    Api, ByteSize, Config, Destination, Journal, Metrics, PressureLevel, Readiness, Settle, TopicCare,
    TopicName, librdkafka,
};
use keyferry_event::redaction::HashKey;
use keyferry_event::{Content, Filter, Format, HeaderMode, Redaction, Routing, SchemaIds, Topics};
use keyferry_journal::{FeedOptions, SlotDirectory, Watch};
use keyferry_kafka::topics::{TopicPolicy, TopicTemplate};
use keyferry_kafka::{ConnectionPoolManager, PoolHandle, PoolSettings, ProducerSettings};
use keyferry_pipeline::backpressure::Thresholds;
use keyferry_pipeline::schemas::NoSchemas;
use keyferry_pipeline::{
    Ceiling, Credit, DrainLimits, Ended, InDoubt, Level, LowPriority, Overflow, Phase, Report, Retention,
    RunError, Settings, Share, SideFiles, Start, Stop, backpressure, breaker,
};
use keyferry_registry::SchemaRegistry;

use crate::error::Error;
use crate::live::Handles;
use crate::schema_registry;
use crate::tuning::{self, Tuned};

/// What may be in flight: enough to keep a distant broker busy, small enough to be forgotten on any machine.
const CREDIT: Credit = Credit { bytes: 12 << 20, records: 8_192 };

/// What is shipped and how, whichever slot it is from.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the events go. At least one.
    pub destinations: Vec<Readiness>,
    /// What is kept, and what gives way.
    pub journal: Journal,
    /// How the agent can be reached over TCP.
    pub api: Api,
    /// Where metrics go, besides the socket.
    pub metrics: Metrics,
    /// The node's name, where one is configured or handed over.
    pub node: Option<String>,
    /// The file of rules, channels and playbooks.
    pub alerts_file: Option<PathBuf>,
    /// The topic by which all nodes are changed at once.
    pub config_topic: Option<TopicName>,
}

impl Plan {
    /// The plan that a configuration makes.
    pub fn of(config: Config) -> Self {
        let Config { node, destinations, journal, api, metrics, alerts_file, config_topic, .. } = config;
        Self { destinations, journal, api, metrics, node, alerts_file, config_topic }
    }

    /// The destinations that can be used.
    pub fn complete(&self) -> impl Iterator<Item = &Destination> {
        self.destinations.iter().filter_map(Readiness::complete)
    }

    /// That something can be delivered to somebody. One destination that the Kafka client accepts is enough: the others delay only themselves.
    ///
    /// # Errors
    /// [`Error::Incomplete`], [`Error::Tuning`] or [`Error::Sink`], if it is so for every destination.
    pub fn check(&self) -> Result<(), Error> {
        let mut refused = None;
        for destination in self.complete() {
            match sink(destination) {
                Ok(_) => return Ok(()),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| Error::Incomplete(self.lacks())))
    }

    /// That there is a destination whose references yield something, if there are references at all.
    ///
    /// # Errors
    /// [`Error::Incomplete`], if nothing is known of any destination until they do.
    pub fn check_references(&self) -> Result<(), Error> {
        let is_known = |one: &Readiness| !matches!(one, Readiness::Unresolved { .. });
        if self.destinations.iter().any(is_known) { Ok(()) } else { Err(Error::Incomplete(self.lacks())) }
    }

    /// What incomplete destinations lack.
    pub fn lacks(&self) -> String {
        self.destinations.iter().filter_map(lack).collect::<Vec<_>>().join("; ")
    }
}

/// What a destination lacks, if it cannot be used.
pub fn lack(readiness: &Readiness) -> Option<String> {
    match readiness {
        Readiness::Complete(_) => None,
        Readiness::Incomplete { missing, .. } => {
            Some(missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        }
        Readiness::Unresolved { reasons, .. } => Some(reasons.join("; ")),
    }
}

/// A sink of the destination, and how to steer it.
///
/// # Errors
/// [`Error::Tuning`] if its settings do not go together, [`Error::Sink`] if the Kafka client refuses them.
pub fn sink(destination: &Destination) -> Result<(ConnectionPoolManager, PoolHandle), Error> {
    let tuning = tuning::tuner(destination)?.tuning();
    let pool = PoolSettings { connections: tuning.connections, ..pool_settings(destination) };
    ConnectionPoolManager::new(tuning::producer_settings(destination, tuning), pool)
        .map_err(|failure| Error::Sink(failure.reason))
}

/// One slot and one destination.
#[derive(Debug, Clone, Copy)]
pub struct Route<'a> {
    /// The slot, whose lock the caller holds.
    pub slot: &'a Path,
    /// Where its events go.
    pub destination: &'a Destination,
    /// What is kept, and what gives way.
    pub journal: &'a Journal,
    /// What of the segments is this destination's to release.
    pub share: &'a Share,
}

impl Route<'_> {
    /// Ships until `stop` is given, and drains then within `limits`. `observe` gets every report.
    ///
    /// # Errors
    /// The journal cannot be read on.
    pub fn ship(
        &self,
        (sink, pool): (ConnectionPoolManager, PoolHandle),
        stop: &mut dyn Stop,
        limits: DrainLimits,
        observe: &mut dyn FnMut(&Report, Phase, &Handles),
    ) -> Result<Ended, Error> {
        let settings = settings(self.destination, self.journal);
        let registry =
            Arc::new(SchemaRegistry::new(schema_registry::configuration(self.destination), settings.seed));
        let settings = Settings { schemas: Arc::clone(&registry) as _, ..settings };
        let name = self.destination.name.as_str();
        let of = format!("{} to {name}", self.slot.display());
        let tuner = Arc::new(Tuned::new(of, self.destination, pool.clone())?);
        let (controls, meter) = (Arc::clone(&settings.controls), Arc::clone(&settings.meter));
        let handles = Handles { pool, controls, meter, tuner, registry };
        let mut storage = SlotDirectory::open(self.slot)?;
        let mut aside = SideFiles::of(self.slot, name);
        let start = Start::find(&mut storage, &mut aside, name, &settings.topics, wall_ms())
            .map_err(RunError::from)?;
        let options = feed_options(self.journal);
        let delivery = keyferry_delivery::begin(storage, options, start, sink, aside, settings)?;
        let mut delivery = delivery.sharing(self.share.clone());
        let mut watch = Watch::new(self.slot);
        let mut observe = |report: &Report, phase| {
            handles.controls.set_free_bytes(free_bytes(self.slot));
            if phase == Phase::Running {
                handles.tuner.look(report, &handles.controls);
            }
            observe(report, phase, &handles);
        };
        Ok(keyferry_delivery::run(&mut delivery, &mut watch, stop, limits, &mut observe)?)
    }
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

/// How the connections to a destination are kept, and what is done about its topics.
pub fn pool_settings(destination: &Destination) -> PoolSettings {
    let Topics { events, admin_events } = topics(destination);
    let of_events = [events, admin_events];
    let dead_letters = destination.dead_letter_topic.as_ref().map(ToString::to_string);
    let dead_letters = dead_letters.filter(|topic| !of_events.contains(&Some(topic.clone())));
    let (min_connections, max_connections) =
        (destination.pool.min_connections.into(), destination.pool.max_connections.into());
    PoolSettings {
        connections: min_connections,
        min_connections,
        max_connections,
        topic_policy: topic_policy(&destination.topics, dead_letters.clone()),
        ..PoolSettings::for_topics(of_events.into_iter().chain([dead_letters]).flatten())
    }
}

fn topic_policy(care: &TopicCare, dead_letters: Option<String>) -> TopicPolicy {
    let template = TopicTemplate {
        partitions: care.partitions,
        replication: care.replication,
        configuration: care
            .config
            .entries()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    };
    TopicPolicy {
        create: care.create.then_some(template),
        outage_budget: (!care.outage_budget.is_zero()).then_some(care.outage_budget),
        dead_letters,
    }
}

/// What the pipeline is told.
pub fn settings(destination: &Destination, journal: &Journal) -> Settings {
    Settings {
        topics: topics(destination),
        content: content(destination),
        headers: headers(destination),
        in_doubt: in_doubt(destination),
        dead_letter_topic: destination.dead_letter_topic.as_ref().map(ToString::to_string),
        gap_records: destination.gap_records,
        settle_delay: destination.settle_delay,
        ceiling: ceiling(journal),
        retention: Retention { keep: journal.keep, keep_bytes: journal.keep_size.map(ByteSize::as_bytes) },
        delivery_timeout: destination.delivery.delivery_timeout,
        breaker: breaker(&destination.breaker),
        backpressure: backpressure(&journal.backpressure),
        low_priority: low_priority(&journal.backpressure),
        ..default_settings()
    }
}

fn breaker(breaker: &keyferry_config::Breaker) -> breaker::Settings {
    let default = breaker::Settings::default();
    breaker::Settings {
        consecutive_failures: breaker.failures,
        failure_rate_percent: breaker.failure_rate,
        slow_rate_percent: breaker.slow_rate,
        slow_call: breaker.slow_after,
        window: breaker.window,
        minimum_outcomes: breaker.minimum_outcomes.into(),
        oldest_unacknowledged: breaker.oldest_unacknowledged,
        open_initial: breaker.first_pause,
        open_ceiling: breaker.longest_pause,
        probe: Credit { records: breaker.probe_records as usize, ..default.probe },
        probe_timeout: breaker.probe_timeout,
    }
}

fn backpressure(levels: &keyferry_config::Backpressure) -> backpressure::Settings {
    let never = Thresholds::default();
    backpressure::Settings {
        elevated: Thresholds {
            backlog_bytes: Some(levels.elevated_backlog.as_bytes()),
            oldest: Some(levels.elevated_age),
            ..never
        },
        high: Thresholds {
            oldest: Some(levels.high_age),
            time_to_full: Some(levels.high_time_to_full),
            used_percent: Some(levels.high_used),
            ..never
        },
        critical: Thresholds {
            time_to_full: Some(levels.critical_time_to_full),
            used_percent: Some(levels.critical_used),
            ..never
        },
        ..backpressure::Settings::default()
    }
}

fn low_priority(levels: &keyferry_config::Backpressure) -> LowPriority {
    LowPriority {
        types: levels.low_priority.names().to_vec(),
        from: match levels.low_priority_from {
            PressureLevel::Elevated => Level::Elevated,
            PressureLevel::High => Level::High,
            PressureLevel::Critical => Level::Critical,
        },
        sample: levels.low_priority_sample.into(),
        ..LowPriority::default()
    }
}

/// How many bytes the file system of `slot` has left for its owner; `None` if it does not say.
fn free_bytes(slot: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(slot).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
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

/// Which events there are records of, and what becomes of them.
pub fn content(destination: &Destination) -> Content {
    let keyferry_config::Content { filter, routing, redaction, format } = &destination.content;
    let key = redaction.hash_key.as_ref().and_then(|key| HashKey::new(key.expose().as_bytes()).ok());
    let masks_secrets = redaction.secrets == keyferry_config::Secrets::Mask;
    Content {
        filter: Filter::new(&filter.include, &filter.exclude, filter.expression.as_ref()),
        routing: Routing { topic: routing.topic.clone(), key: routing.key.clone() },
        redaction: Redaction::new(masks_secrets, redaction.preset.map(Into::into), &redaction.fields, key),
        format: match format {
            keyferry_config::Format::Keycloak => Format::Keycloak,
            keyferry_config::Format::CloudEvents => Format::CloudEvents,
            keyferry_config::Format::Ocsf => Format::Ocsf,
            keyferry_config::Format::Ecs => Format::Ecs,
            keyferry_config::Format::Avro => Format::Avro,
            keyferry_config::Format::Protobuf => Format::Protobuf,
            keyferry_config::Format::JsonSchema => Format::JsonSchema,
        },
        schema_ids: SchemaIds::default(),
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
        content: Content::default(),
        headers: HeaderMode::CloudEvents,
        in_doubt: InDoubt::Publish,
        dead_letter_topic: None,
        gap_records: true,
        settle_delay: Duration::ZERO,
        ceiling: None,
        retention: Retention::default(),
        credit: CREDIT,
        delivery_timeout: Duration::from_secs(120),
        breaker: breaker::Settings::default(),
        backpressure: backpressure::Settings::default(),
        low_priority: LowPriority::default(),
        controls: Arc::default(),
        meter: Arc::default(),
        schemas: Arc::new(NoSchemas),
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
        Plan::of(config)
    }

    fn only(plan: &Plan) -> Settings {
        let [Readiness::Complete(destination)] = &plan.destinations[..] else { panic!("{plan:?}") };
        settings(destination, &plan.journal)
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
            ("format", "ocsf"),
            ("settle-delay", "2500ms"),
        ]);
        let settings = only(&plan);
        assert_eq!((settings.in_doubt, settings.gap_records), (InDoubt::Hold, false));
        assert_eq!(settings.dead_letter_topic.as_deref(), Some("dead"));
        assert_eq!(
            (settings.content.format, settings.settle_delay),
            (Format::Ocsf, Duration::from_millis(2500))
        );
        let ceiling = Ceiling { max_bytes: 1 << 30, segment_bytes: 1 << 20, policy: Overflow::DropOld };
        assert_eq!(settings.ceiling, Some(ceiling));
        let keep = Duration::from_secs(7 * 86_400);
        assert_eq!(settings.retention, Retention { keep, keep_bytes: Some(2 << 30) });
        assert!(feed_options(&plan.journal).wait_for_settlement);
    }

    #[test]
    fn the_defaults_of_configuration_and_pipeline_are_the_same() {
        let settings = only(&plan(&[]));
        assert_eq!(settings.breaker, breaker::Settings::default());
        assert_eq!(settings.backpressure, backpressure::Settings::default());
        assert_eq!(settings.low_priority, LowPriority::default());
    }

    #[test]
    fn what_is_configured_of_the_breaker_reaches_it() {
        let text = "[destination]\nbootstrap_servers = \"kafka:9092\"\ntopic_events = \"events\"\n[destination.breaker]\n\
                    failures = 7\nfailure_rate = 11\nslow_rate = 12\nwindow = \"13s\"\nminimum_outcomes = 14\nslow_after = \"15s\"\n\
                    oldest_unacknowledged = \"16s\"\nfirst_pause = \"17ms\"\nlongest_pause = \"18s\"\nprobe_records = 19\nprobe_timeout = \"20s\"\n";
        let sources = Sources::new().with_file_text(Path::new("k.toml"), text);
        let config = keyferry_config::load(&sources).unwrap_or_else(|errors| panic!("{errors}")).config;
        let expected = breaker::Settings {
            consecutive_failures: 7,
            failure_rate_percent: 11,
            slow_rate_percent: 12,
            window: Duration::from_secs(13),
            minimum_outcomes: 14,
            slow_call: Duration::from_secs(15),
            oldest_unacknowledged: Duration::from_secs(16),
            open_initial: Duration::from_millis(17),
            open_ceiling: Duration::from_secs(18),
            probe: Credit { records: 19, ..breaker::Settings::default().probe },
            probe_timeout: Duration::from_secs(20),
        };
        assert_eq!(only(&Plan::of(config)).breaker, expected);
    }

    #[test]
    fn the_dead_letter_topic_is_looked_at_like_the_others_and_known_for_what_it_is() {
        let plan = plan(&[("topic-admin-events", "admin"), ("dead-letter-topic", "dead")]);
        let destination = plan.complete().next().unwrap();
        let settings = pool_settings(destination);
        assert_eq!(settings.topics, ["admin", "dead", "events"]);
        assert_eq!(settings.topic_policy.dead_letters.as_deref(), Some("dead"));
    }

    #[test]
    fn nothing_is_kept_or_given_up_unless_that_is_configured() {
        let plan = plan(&[]);
        let settings = only(&plan);
        assert_eq!((settings.ceiling, settings.retention), (None, Retention::default()));
        assert_eq!((settings.in_doubt, settings.gap_records), (InDoubt::Publish, true));
        assert!(!feed_options(&plan.journal).wait_for_settlement);
    }
}
