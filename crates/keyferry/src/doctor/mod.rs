//! `keyferry doctor`: the whole way from Keycloak to Kafka, and what is to be done where it is not as it should be.
//!
//! The invariants:
//!
//! - **Nothing is changed.** No file is written, no lock is taken; a record is sent only to the topic that `--probe-topic` names.
//! - **Observing and judging are two things.** What is observed are facts, and what follows from them is a pure function: each area has both, and only the first touches the world.
//! - **Nothing is waited for longer than `--timeout` says**, check by check, and what depends on something that failed is skipped with its name.
//!
//! - [`checks`]: the table of what is examined.
//! - `finding`: what was found, and how it is printed.
//! - `configuration`, `keycloak`, `disk`, `journal`, `agents`, `machine`, `registry`, `way`: the areas.

mod agents;
mod checks;
mod configuration;
mod disk;
mod finding;
mod journal;
mod keycloak;
mod machine;
mod registry;
mod way;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use keyferry_config::{ConfigErrors, Destination, Journal as JournalSettings, Loaded, Readiness, TopicName};
use keyferry_journal::LockHolder;
use keyferry_kafka::security::handshake::own_end_s;
use keyferry_kafka::{ProducerSettings, compacted, examine};

use crate::cli::{CheckArguments, DoctorArguments};
use crate::credentials;
use crate::error::{Error, Finding as Outcome};
use crate::schema_registry;
use crate::shipment::{content, kafka_settings, pool_settings, wall_ms};
use crate::terminal;
use agents::Answer;
use checks::{
    CLOCK_SKEW, DISK_SPACE, JOURNAL_DIRECTORY, JOURNAL_MODE, KAFKA_ANSWERS, PROBE_ROUND_TRIP, PROVIDER_JAR,
};
use disk::Disk;
use finding::{Finding, Report};
use journal::Content;
use keycloak::Provider;
use machine::Machine;

/// Where Keycloak is in its own image.
const KEYCLOAK: &str = "/opt/keycloak";
/// The release of this agent, and of the provider that belongs to it.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What the record of a round trip says of itself.
const PROBE: &str = "org.keyferry.doctor.probe";

/// Examines everything and prints what it finds.
///
/// # Errors
/// Nothing can be printed.
pub fn run(arguments: &DoctorArguments) -> Result<Outcome, Error> {
    let mut out = terminal::output();
    let mut report = Report::new(&mut out, arguments.json);
    let patient = Doctor::of(arguments);
    patient.examine(&mut report)?;
    report.close()
}

/// Checks a configuration alone and prints what it finds.
///
/// # Errors
/// Nothing can be printed.
pub fn check(arguments: &CheckArguments) -> Result<Outcome, Error> {
    let mut out = terminal::output();
    let mut report = Report::new(&mut out, arguments.json);
    let configured = Configured::by(arguments.config.clone(), arguments.keycloak.clone());
    report.tell(configuration::judge(&configured.place(), &configured.loaded))?;
    report.close()
}

/// Runs `deed` on a thread of its own; `None` if it has not ended within `limit`. The thread is left to itself then.
fn within<T: Send + 'static>(limit: Duration, deed: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        // Nobody waits for it any more where this fails.
        let _ = sender.send(deed());
    });
    receiver.recv_timeout(limit).ok()
}

/// What is examined, and how.
struct Doctor<'a> {
    arguments: &'a DoctorArguments,
    limit: Duration,
    configured: Configured,
}

/// The configuration, as an agent that begins now would have it.
struct Configured {
    file: Option<PathBuf>,
    /// Where Keycloak is.
    home: Option<PathBuf>,
    /// What Keycloak hands over.
    options: BTreeMap<String, String>,
    loaded: Result<Loaded, ConfigErrors>,
}

impl Configured {
    /// By `file`, by the environment, and by the Keycloak in `home`.
    fn by(file: Option<PathBuf>, home: Option<PathBuf>) -> Self {
        let home = home.or_else(|| Some(PathBuf::from(KEYCLOAK)).filter(|home| home.is_dir()));
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let options = home.as_ref().map(|home| keycloak::options(home, environment)).unwrap_or_default();
        let sources = credentials::sources().with_options(options.clone());
        let sources = match &file {
            Some(file) => sources.with_file(file),
            None => Ok(sources),
        };
        let loaded = sources.and_then(|sources| keyferry_config::load(&sources));
        Self { file, home, options, loaded }
    }

    /// Where it comes from, in words.
    fn place(&self) -> String {
        let file = self.file.as_ref().map(|file| file.display().to_string());
        file.unwrap_or_else(|| match &self.home {
            Some(home) => format!("environment and {}", home.join("conf/keycloak.conf").display()),
            None => "environment".to_owned(),
        })
    }
}

impl<'a> Doctor<'a> {
    fn of(arguments: &'a DoctorArguments) -> Self {
        let configured = Configured::by(arguments.config.clone(), arguments.keycloak.clone());
        Self { arguments, limit: Duration::from_secs(arguments.timeout), configured }
    }

    fn examine(&self, report: &mut Report<'_>) -> Result<(), Error> {
        report.tell(configuration::judge(&self.configured.place(), &self.configured.loaded))?;
        report.tell(self.provider())?;
        let agent = self.journal(report)?;
        let machine = Machine::observe(&self.arguments.root, agent);
        report.tell(machine.judge(self.destinations().map(|one| one.delivery.buffer.as_bytes()).sum()))?;
        for destination in self.destinations() {
            report.tell(self.registry(destination))?;
            self.way(destination, report)?;
        }
        Ok(())
    }

    fn destinations(&self) -> impl Iterator<Item = &Destination> {
        let loaded = self.configured.loaded.iter();
        loaded.flat_map(|loaded| loaded.config.destinations.iter().filter_map(Readiness::complete))
    }

    fn provider(&self) -> Vec<Finding> {
        let Some(home) = self.configured.home.clone() else {
            let why = "it is not known where Keycloak is: give --keycloak or KC_HOME";
            return vec![PROVIDER_JAR.skipped("Keycloak", why)];
        };
        let place = home.display().to_string();
        match within(self.limit, move || Provider::observe(&home)) {
            Some(provider) => provider.judge(VERSION),
            None => vec![PROVIDER_JAR.problem(place, self.silence())],
        }
    }

    /// Where the journal is.
    fn place(&self) -> Option<PathBuf> {
        let given = self.arguments.directory.clone();
        let configured = || self.configured.loaded.as_ref().ok()?.config.journal.dir.clone();
        let option = || self.configured.options.get("journal-dir").map(PathBuf::from);
        let default = || self.configured.home.as_ref().map(|home| home.join("data/keyferry"));
        given.or_else(configured).or_else(option).or_else(default)
    }

    /// Examines the journal and its agents. Answers the process id of one, if it has one here.
    fn journal(&self, report: &mut Report<'_>) -> Result<Option<i32>, Error> {
        let Some(place) = self.place() else {
            let why = "it is not known where it is: give its directory, --keycloak or --config";
            report.tell([JOURNAL_DIRECTORY.skipped("journal", why)])?;
            return Ok(None);
        };
        let slots = journal::slots(&place);
        report.tell([journal::judge_directory(&place, &slots)])?;
        let Ok(slots) = slots else { return Ok(None) };
        report.tell(self.disk(&place))?;
        report.tell(match journal::entries(&place, &slots) {
            Ok(entries) => journal::judge_entries(&entries),
            Err(error) => {
                vec![JOURNAL_MODE.problem(place.display(), format!("it cannot be listed: {error}"))]
            }
        })?;
        let contents: Vec<_> = slots.iter().map(|slot| Content::of(slot, self.limit)).collect();
        report.tell(journal::judge_contents(&place, &contents))?;
        let answers = self.agents(&agents::places(&place, &slots));
        report.tell(agents::judge(&place, &contents, &answers, VERSION))?;
        let holder = contents.iter().find_map(|content| content.agent);
        Ok(holder.and_then(|holder| match holder {
            LockHolder::Process(pid) => Some(pid),
            LockHolder::Elsewhere => None,
        }))
    }

    fn disk(&self, place: &Path) -> Vec<Finding> {
        let segment = self.configured.loaded.as_ref().map(|loaded| loaded.config.journal.segment_size);
        let segment = segment.unwrap_or(JournalSettings::default().segment_size).as_bytes();
        let observed = place.to_owned();
        match within(self.limit, move || Disk::observe(&observed)) {
            Some(Ok(disk)) => disk.judge(segment),
            Some(Err(error)) => vec![DISK_SPACE.problem(place.display(), error.to_string())],
            None => vec![DISK_SPACE.problem(place.display(), self.silence())],
        }
    }

    fn agents(&self, places: &[PathBuf]) -> Vec<Result<Answer, String>> {
        let ask = |place: &PathBuf| {
            let directory = place.clone();
            let answer = within(self.limit, move || agents::ask(&directory));
            answer.unwrap_or_else(|| Some(Err(format!("{}: {}", place.display(), self.silence()))))
        };
        places.iter().filter_map(ask).collect()
    }

    fn silence(&self) -> String {
        format!("no answer in {:?}", self.limit)
    }

    /// Examines the schema registry, where one is needed.
    fn registry(&self, destination: &Destination) -> Vec<Finding> {
        let (Some(schema), Some(registry)) =
            (content(destination).format.schema(), schema_registry::configuration(destination))
        else {
            return Vec::new();
        };
        // A topic that a template makes is known by its events only.
        let topics = [Some(&destination.topic_events), destination.topic_admin_events.as_ref()];
        let topics: Vec<String> = topics.into_iter().flatten().map(ToString::to_string).collect();
        registry::examine(&registry, &schema, &topics, self.limit)
    }

    /// Examines the way to a destination, step by step.
    fn way(&self, destination: &Destination, report: &mut Report<'_>) -> Result<(), Error> {
        let (name, settings) = (destination.name.as_str(), kafka_settings(destination));
        let now_s = i64::try_from(wall_ms() / 1_000).unwrap_or(i64::MAX);
        let over_tls = destination.security.tls.as_ref().map(|_| &settings);
        let servers = destination.bootstrap_servers.servers().iter();
        let servers: Vec<_> =
            servers.map(|server| (server.to_string(), way::reach(server, over_tls, self.limit))).collect();
        let (of_servers, reachable) = way::judge_servers(&servers, now_s);
        report.tell(of_servers.clone())?;
        report.tell(way::judge_own(name, own_end_s(&settings), now_s))?;
        if let Err(failed) = reachable {
            return report.tell([KAFKA_ANSWERS.after(name, failed), PROBE_ROUND_TRIP.after(name, failed)]);
        }
        let pool = pool_settings(destination);
        let examined = examine::topics(&settings, &pool.topics, pool.topic_policy, self.limit);
        report.tell(way::judge_cluster(destination, &examined, &of_servers))?;
        if let (Some(topic), true) = (self.config_topic(destination), examined.is_ok()) {
            let found = compacted::look(&settings, topic, self.limit);
            report.tell([way::judge_config_topic(topic, destination.topics.create, &found)])?;
        }
        report.tell(self.probe(&settings, examined.is_ok()))
    }

    /// The topic by which all nodes are changed at once, if it is in the cluster of `destination`: that of the first.
    fn config_topic(&self, destination: &Destination) -> Option<&str> {
        let config = &self.configured.loaded.as_ref().ok()?.config;
        let is_first = config.destinations.first()?.name() == &destination.name;
        config.config_topic.as_ref().filter(|_| is_first).map(TopicName::as_str)
    }

    fn probe(&self, settings: &ProducerSettings, answers: bool) -> Vec<Finding> {
        let Some(topic) = &self.arguments.probe_topic else {
            let why = "a record is sent only to the topic that --probe-topic names";
            return vec![PROBE_ROUND_TRIP.skipped("-", why), CLOCK_SKEW.after("-", &PROBE_ROUND_TRIP)];
        };
        if !answers {
            return vec![
                PROBE_ROUND_TRIP.after(topic, &KAFKA_ANSWERS),
                CLOCK_SKEW.after(topic, &KAFKA_ANSWERS),
            ];
        }
        let value = serde_json::json!({ "keyferry": VERSION, "sent": wall_ms() }).to_string();
        way::judge_probe(topic, &examine::probe(settings, topic, PROBE, &value, self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_not_waited_for() {
        assert_eq!(within(Duration::from_secs(60), || 7), Some(7));
        let (sender, receiver) = channel::<()>();
        assert_eq!(within(Duration::from_millis(1), move || receiver.recv()), None);
        drop(sender);
    }
}
