//! Keycloak itself: how many tokens it gives in a second and what memory it takes with Keyferry, without a listener, and with another listener whose jar is given.
//!
//! In each turn every contestant is a Keycloak that is started anew, so that no figure hangs on what one JVM happened to compile. They live beside each other, and are asked for tokens
//! one at a time, in slices by turns: first until they are warm, then measured, then with a Kafka that stands still. A figure is compared with that of the same turn.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use keyferry_tests::admin::Admin;
use keyferry_tests::http::Http;
use keyferry_tests::kafka::Kafka;
use keyferry_tests::keycloak::{Database, Distribution, Keycloak};
use keyferry_tests::load::{Load, Requests};
use keyferry_tests::stage::jar;
use keyferry_tests::{Error, Result, log, usage, wait};
use xtask::cache::Cache;
use xtask::{parts, tool};

use super::Workbench;
use super::rates::mebibytes;
use super::report::{Bound, Quantity, Report, Row, Target};
use crate::tuner::{Stand, topic_name};

/// Clients at once.
const WORKERS: usize = 8;
/// Into how many slices the time of a contestant is cut.
const SLICES: u32 = 6;
/// After each slice: what is still on its way to Kafka is not to disturb the next contestant.
const PAUSE: Duration = Duration::from_millis(1500);
const DELIVERY_LIMIT: Duration = Duration::from_secs(60);
const REALM: &str = "bench";
/// The id of Keyferry's listener.
const KEYFERRY: &str = "kafka";
/// The event of a request for a token.
const EVENT: &str = "CLIENT_LOGIN";

/// A listener that is not Keyferry's.
#[derive(Debug, Clone)]
pub struct Peer {
    /// With everything that it needs.
    pub jar: PathBuf,
    /// Its id in Keycloak.
    pub listener: String,
    /// What it is told besides Kafka's address, topic, client id and types of events.
    pub options: Vec<PeerOption>,
}

/// One option of a listener, without Keycloak's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerOption {
    name: String,
    value: String,
}

impl FromStr for PeerOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) =
            text.split_once('=').ok_or_else(|| format!("{text} is not of the form NAME=VALUE"))?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// Who is compared.
#[derive(Debug, Clone)]
enum Listener {
    None,
    Keyferry,
    Peer(Peer),
}

impl Listener {
    fn title(&self) -> String {
        match self {
            Self::None => "no listener".to_owned(),
            Self::Keyferry => "Keyferry".to_owned(),
            Self::Peer(peer) => {
                format!("`{}`", peer.jar.file_name().unwrap_or(peer.jar.as_os_str()).to_string_lossy())
            }
        }
    }

    /// Without punctuation, for topics and directories.
    fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Keyferry => "keyferry",
            Self::Peer(_) => "peer",
        }
    }

    fn id(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Keyferry => Some(KEYFERRY),
            Self::Peer(peer) => Some(&peer.listener),
        }
    }

    /// Keycloak's options that let it write to a topic.
    fn options(&self, servers: &str, topic: &str) -> Vec<(String, String)> {
        let common = [("bootstrap-servers", servers), ("topic-events", topic)];
        let own: Vec<(&str, &str)> = match self {
            Self::None => return Vec::new(),
            Self::Keyferry => Vec::new(),
            Self::Peer(peer) => [("client-id", "bench"), ("events", EVENT)]
                .into_iter()
                .chain(peer.options.iter().map(|option| (&*option.name, &*option.value)))
                .collect(),
        };
        let id = self.id().unwrap_or_default();
        let full =
            |(name, value): (&str, &str)| (format!("spi-events-listener--{id}--{name}"), value.to_owned());
        common.into_iter().chain(own).map(full).collect()
    }

    /// Keycloak with this listener in it.
    fn distribution(&self, cache: &Cache) -> Result<Distribution> {
        let jar = match self {
            Self::None => None,
            Self::Keyferry => Some(jar()?),
            Self::Peer(peer) => Some(peer.jar.clone()),
        };
        // A listener may refuse to be there without them, already when Keycloak creates its tables.
        let options = self.options("127.0.0.1:1", "none");
        Distribution::build_given(cache, parts::Keycloak::V26_7, jar.as_deref(), Database::File, &options)
    }
}

/// A listener and what was found, over all turns.
struct Entrant {
    listener: Listener,
    distribution: Distribution,
    /// In normal running, and while Kafka stands still.
    rows: [Row; 2],
    /// Why it is out.
    failure: Option<String>,
}

impl Entrant {
    fn new(cache: &Cache, listener: Listener) -> Result<Self> {
        let title = listener.title();
        Ok(Self {
            distribution: listener.distribution(cache)?,
            rows: [Row::of(&*title), Row::of(format!("{title}, Kafka standing still"))],
            listener,
            failure: None,
        })
    }

    /// The rows, unless it is out.
    fn rows(&self) -> Option<&[Row; 2]> {
        self.failure.is_none().then_some(&self.rows)
    }
}

/// Measures the listeners beside each other.
///
/// # Errors
/// Where Keycloak does not start, or Keyferry does not deliver every event.
pub fn measure(bench: &mut Workbench<'_>) -> Result<Report> {
    let plan = bench.plan.clone();
    let listeners = [Listener::None, Listener::Keyferry].into_iter().chain(plan.peer.map(Listener::Peer));
    let mut entrants: Vec<Entrant> =
        listeners.map(|listener| Entrant::new(&bench.cache, listener)).collect::<Result<_>>()?;
    let lengths = Lengths { warm_up: plan.warm_up, looking: plan.looking };
    for turn in 0..plan.turns {
        let room = bench.stand.room(&format!("keycloak-{turn}"))?;
        run_turn(&mut bench.stand, &room, &mut entrants, turn, lengths)?;
        fs::remove_dir_all(&room).map_err(Error::io("remove", &room))?;
    }
    let how = format!(
        "each turn with servers of its own, {WORKERS} clients; {} s of warm-up and {} s measured for each, in slices by turns, then {} s while Kafka stands still",
        lengths.warm_up.as_secs(),
        lengths.looking.as_secs(),
        lengths.looking.as_secs()
    );
    Ok(Report {
        turns: plan.turns,
        how,
        targets: targets(&entrants),
        missing: missing(&entrants),
        rows: [0, 1]
            .into_iter()
            .flat_map(|place| entrants.iter().filter_map(move |entrant| Some(entrant.rows()?[place].clone())))
            .collect(),
    })
}

fn missing(entrants: &[Entrant]) -> Vec<(String, String)> {
    let has_peer = entrants.iter().any(|entrant| matches!(entrant.listener, Listener::Peer(_)));
    let no_jar = ("another listener".to_owned(), "no jar was given by `--peer-jar`".to_owned());
    let failed =
        entrants.iter().filter_map(|entrant| Some((entrant.listener.title(), entrant.failure.clone()?)));
    failed.chain((!has_peer).then_some(no_jar)).collect()
}

fn targets(entrants: &[Entrant]) -> Vec<Target> {
    let rows = |is_meant: fn(&Listener) -> bool, place: usize| {
        let entrant = entrants.iter().find(|entrant| is_meant(&entrant.listener))?;
        Some(&entrant.rows()?[place])
    };
    let keyferry = |place| rows(|listener| matches!(listener, Listener::Keyferry), place);
    let none = rows(|listener| matches!(listener, Listener::None), 0);
    let peer = |place| rows(|listener| matches!(listener, Listener::Peer(_)), place);
    let extra = |place, bound, what: &str| {
        let bound = Bound::AtMost(bound);
        Target::ratio_by_turn(keyferry(place), peer(place), Quantity::ExtraMemory, bound, what)
    };
    vec![
        Target::ratio_by_turn(
            keyferry(0),
            none,
            Quantity::Requests,
            Bound::AtLeast(0.98),
            "token requests/s with Keyferry, against no listener",
        ),
        extra(0, 0.5, "extra memory, against that of the other listener"),
        extra(1, 0.3, "extra memory while Kafka stands still, against that of the other listener"),
    ]
}

/// How long is looked at each contestant of a turn.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    warm_up: Duration,
    looking: Duration,
}

fn run_turn(
    stand: &mut Stand<'_>,
    room: &Path,
    entrants: &mut [Entrant],
    turn: usize,
    lengths: Lengths,
) -> Result<()> {
    let mut runners = Vec::new();
    for entrant in entrants.iter_mut().filter(|entrant| entrant.failure.is_none()) {
        runners.push(Runner::start(stand, room, entrant, turn)?);
    }
    by_turns(&mut runners, turn, SLICES, |runner| runner.ask(lengths.warm_up / SLICES).map(drop))?;
    by_turns(&mut runners, turn, SLICES, |runner| runner.look(lengths.looking / SLICES))?;
    for runner in &mut runners {
        runner.require_delivery(&stand.kafka)?;
    }
    conclude(&mut runners, 0, turn)?;
    stand.kafka.pause()?;
    let outage = by_turns(&mut runners, turn, 1, |runner| runner.look(lengths.looking));
    let outage = outage.and_then(|()| conclude(&mut runners, 1, turn));
    // Also where something has failed: other benches may follow.
    stand.kafka.resume()?;
    outage?;
    for runner in runners.iter_mut().filter(|runner| runner.must_deliver()) {
        runner.require_delivery(&stand.kafka)?;
    }
    Ok(())
}

/// Lets everybody do something so many times, one after the other; who goes first moves on.
fn by_turns(
    runners: &mut [Runner<'_>],
    turn: usize,
    slices: u32,
    mut work: impl FnMut(&mut Runner<'_>) -> Result<()>,
) -> Result<()> {
    let count = runners.len().max(1);
    for slice in 0..slices as usize {
        for place in 0..runners.len() {
            work(&mut runners[(place + turn + slice) % count])?;
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Writes down what was seen since the last time, in the rows of that place.
fn conclude(runners: &mut [Runner<'_>], place: usize, turn: usize) -> Result<()> {
    let memories: Vec<Memory> = runners.iter().map(Runner::memory).collect::<Result<_>>()?;
    let without = runners
        .iter()
        .zip(&memories)
        .find(|(runner, _)| matches!(runner.entrant.listener, Listener::None))
        .map(|(_, memory)| memory.needed());
    for (runner, memory) in runners.iter_mut().zip(&memories) {
        let seen = std::mem::take(&mut runner.seen);
        let mut figures = seen.figures();
        figures.extend(memory.figures());
        if let (Some(without), Some(_)) = (without, runner.entrant.listener.id()) {
            figures.push((Quantity::ExtraMemory, memory.needed() - without));
        }
        println!(
            "{turn}: {}: {:.1} requests/s, {:.2} ms of CPU each, {} failed, {:.1} MiB of heap and classes, {:.1} MiB agent",
            runner.entrant.rows[place].who(),
            seen.rate(),
            seen.cpu_of_each(),
            seen.failures,
            memory.java,
            memory.agent
        );
        runner.entrant.rows[place].add(&figures);
    }
    Ok(())
}

/// What a contestant has done while it was looked at.
#[derive(Debug, Default)]
struct Seen {
    requests: Requests,
    successes: u64,
    failures: usize,
    time: Duration,
    /// Seconds of processor time of Keycloak and agent.
    cpu: f64,
}

impl Seen {
    fn rate(&self) -> f64 {
        self.successes as f64 / self.time.as_secs_f64()
    }

    /// Milliseconds.
    fn cpu_of_each(&self) -> f64 {
        self.cpu * 1e3 / self.successes as f64
    }

    fn figures(&self) -> Vec<(Quantity, f64)> {
        let latency = |share| self.requests.latency(share).as_secs_f64() * 1e3;
        vec![
            (Quantity::Requests, self.rate()),
            (Quantity::CpuPerRequest, self.cpu_of_each()),
            (Quantity::P50, latency(0.5)),
            (Quantity::P99, latency(0.99)),
        ]
    }
}

/// What a contestant needs of the machine's memory, in MiB.
#[derive(Debug, Clone, Copy)]
struct Memory {
    /// The heap after a full collection, and the classes.
    java: f64,
    /// Resident memory of the agent; none is 0.
    agent: f64,
}

impl Memory {
    fn needed(self) -> f64 {
        self.java + self.agent
    }

    fn figures(self) -> [(Quantity, f64); 2] {
        [(Quantity::LiveMemory, self.java), (Quantity::AgentMemory, self.agent)]
    }
}

/// A contestant in one turn.
struct Runner<'a> {
    entrant: &'a mut Entrant,
    keycloak: Keycloak,
    topic: String,
    /// Tokens that it gave: as many events must arrive.
    tokens: u64,
    seen: Seen,
}

impl<'a> Runner<'a> {
    fn start(stand: &Stand<'_>, room: &Path, entrant: &'a mut Entrant, turn: usize) -> Result<Self> {
        let name = format!("keycloak-{}-{turn}", entrant.listener.name());
        let topic = topic_name(&name);
        let place = room.join(entrant.listener.name());
        fs::create_dir_all(&place).map_err(Error::io("create", &place))?;
        let mut keycloak = Keycloak::new(&entrant.distribution, &place)?;
        keycloak.compile_fully();
        if entrant.listener.id().is_some() {
            stand.kafka.create_topic(&topic, stand.partitions)?;
        }
        for (name, value) in entrant.listener.options(&stand.kafka.bootstrap_servers(), &topic) {
            keycloak.option(&name, value);
        }
        keycloak.start()?;
        let listeners: Vec<&str> = entrant.listener.id().into_iter().collect();
        Admin::new(keycloak.address()).create_realm(REALM, &listeners)?;
        Ok(Self { entrant, keycloak, topic, tokens: 0, seen: Seen::default() })
    }

    /// Asks for tokens for so long.
    fn ask(&mut self, length: Duration) -> Result<(Requests, Duration)> {
        let begin = Instant::now();
        let requests = Load::start(&self.keycloak.address(), REALM, WORKERS).finish_after(length);
        let time = begin.elapsed();
        self.tokens += requests.tokens().count() as u64;
        self.keycloak.require_running()?;
        Ok((requests, time))
    }

    /// The same, and remembers what was seen. What is done after the last answer for it belongs to it.
    fn look(&mut self, length: Duration) -> Result<()> {
        let before = self.processor_time()?;
        let (requests, time) = self.ask(length)?;
        thread::sleep(PAUSE);
        self.seen.cpu += self.processor_time()? - before;
        self.seen.time += time;
        self.seen.successes += requests.tokens().count() as u64;
        self.seen.failures += requests.failures().count();
        self.seen.requests.extend(requests);
        Ok(())
    }

    /// Of Keycloak and agent, in seconds.
    fn processor_time(&self) -> Result<f64> {
        let agent = self.keycloak.agent().map_or(Ok(0.0), usage::processor_time)?;
        Ok(usage::processor_time(self.keycloak.java()?)? + agent)
    }

    fn memory(&self) -> Result<Memory> {
        let java = self.keycloak.java()?;
        let mut jcmd = Command::new("jcmd");
        jcmd.arg(java.as_raw_nonzero().to_string()).arg("GC.run");
        tool::run_silently(&mut jcmd)?;
        let metrics = format!("{}/metrics", self.keycloak.management_address());
        let text = Http::new().get(&metrics)?.success()?.body;
        let used = heap_and_classes(&text)
            .ok_or_else(|| Error::Missing(format!("{metrics} does not tell the JVM's memory")))?;
        let agent = self.keycloak.agent().and_then(usage::resident_memory).unwrap_or_default();
        Ok(Memory { java: used / f64::from(1 << 20), agent: mebibytes(agent) })
    }

    fn must_deliver(&self) -> bool {
        matches!(self.entrant.listener, Listener::Keyferry)
    }

    /// Waits until as many records are stored as tokens were given. A peer that does not bring them is out.
    fn require_delivery(&mut self, kafka: &Kafka) -> Result<()> {
        if self.entrant.listener.id().is_none() {
            return Ok(());
        }
        let (what, tokens) =
            (format!("the storing of {} events in {}", self.tokens, self.topic), self.tokens);
        let stored = || kafka.stored(&self.topic).ok().filter(|stored| stored.cast_unsigned() >= tokens);
        match wait::until(&what, DELIVERY_LIMIT, stored) {
            Ok(_) => Ok(()),
            Err(error) if self.must_deliver() => Err(error.with_log(&self.keycloak.log())),
            Err(error) => {
                eprintln!("{error}{}", log::tail(&self.keycloak.log()));
                self.entrant.failure = Some(format!("{what} did not happen"));
                Ok(())
            }
        }
    }
}

/// Bytes of heap and classes in use, of what Keycloak tells Prometheus. Not of compiled code: it says more about what the compiler chose than about a listener.
fn heap_and_classes(metrics: &str) -> Option<f64> {
    let is_meant = |labels: &str| {
        labels.contains("area=\"heap\"")
            || labels.contains("id=\"Metaspace\"")
            || labels.contains("id=\"Compressed Class Space\"")
    };
    let values: Vec<f64> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("jvm_memory_used_bytes{")?.split_once('}'))
        .filter(|(labels, _)| is_meant(labels))
        .filter_map(|(_, value)| value.trim().parse().ok())
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alive_is_the_heap_and_the_classes() {
        let metrics = "# TYPE jvm_memory_used_bytes gauge
jvm_memory_used_bytes{area=\"heap\",id=\"G1 Old Gen\"} 4.0E7
jvm_memory_used_bytes{area=\"heap\",id=\"G1 Eden Space\"} 1000.0
jvm_memory_used_bytes{area=\"nonheap\",id=\"Metaspace\"} 200.0
jvm_memory_used_bytes{area=\"nonheap\",id=\"Compressed Class Space\"} 30.0
jvm_memory_used_bytes{area=\"nonheap\",id=\"CodeHeap 'profiled nmethods'\"} 9.0E9
jvm_memory_max_bytes{area=\"heap\",id=\"G1 Old Gen\"} 8.0E9
";
        assert_eq!(heap_and_classes(metrics), Some(40_001_230.0));
        assert_eq!(heap_and_classes("jvm_memory_max_bytes{area=\"heap\"} 1.0"), None);
    }

    #[test]
    fn an_option_has_a_name_and_a_value() {
        let option: PeerOption = "acks=all".parse().unwrap();
        assert_eq!(option, PeerOption { name: "acks".to_owned(), value: "all".to_owned() });
        assert!("acks".parse::<PeerOption>().unwrap_err().contains("NAME=VALUE"));
    }

    #[test]
    fn a_peer_is_told_where_kafka_is_under_its_own_name() {
        let options = vec!["acks=all".parse().unwrap()];
        let peer = Peer { jar: "/x/other.jar".into(), listener: "other".to_owned(), options };
        let told = Listener::Peer(peer).options("host:1", "t");
        let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["bootstrap-servers", "topic-events", "client-id", "events", "acks"]
                .map(|name| format!("spi-events-listener--other--{name}"))
        );
    }

    #[test]
    fn figures_are_of_one_request() {
        let seen = Seen { successes: 300, time: Duration::from_secs(2), cpu: 0.6, ..Seen::default() };
        assert!((seen.rate() - 150.0).abs() < 1e-9);
        assert!((seen.cpu_of_each() - 2.0).abs() < 1e-9);
    }
}
