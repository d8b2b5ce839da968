//! What Keyferry costs and how fast it is, beside what else brings lines to Kafka, in one run on one machine.
//!
//! Contestants go in turn, each as often as the others, and the order moves on by one each turn, so that a machine that is busy for a while is busy for all. A figure is the median of
//! its turns, with the lowest and the highest beside it. A rate counts records that the broker has stored, to the last one; a contestant that did not bring every event has no rate.

mod backlog_size;
mod contestant;
mod drain;
mod flow;
mod idle;
mod input;
mod java;
mod keycloak;
mod machine;
mod outage;
mod peers;
mod pipeline;
mod rates;
mod report;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use keyferry_tests::agent;
use keyferry_tests::kafka::{Kafka, Options};
use keyferry_tests::{Error, Result};
use xtask::cache::Cache;
use xtask::workspace;

use contestant::Contestant;
use input::Input;
use keycloak::{Peer, PeerOption};
use machine::Circumstances;
use report::Report;

use crate::backlog;
use crate::tuner::Stand;

/// Of each topic.
const PARTITIONS: i32 = 6;
/// The broker as Kafka's own script starts it, instead of as small and as quick to start as the tests want it.
const BROKER: [&str; 6] = [
    "-Xms1g",
    "-Xmx1g",
    "-XX:TieredStopAtLevel=4",
    "-XX:-UseSerialGC",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
];

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// From journal or file to Kafka as fast as it goes, beside the peers.
    Rates,
    /// The pipeline without disk and network, on one core.
    Pipeline,
    /// The agent with nothing to do.
    Idle,
    /// The agent's memory while Kafka stands still.
    Outage,
    /// From commit to consumer at 1,000 events a second.
    Latency,
    /// A backlog that grew while Kafka was down.
    Drain,
    /// Start, memory and processor time against the size of the backlog.
    BacklogSize,
    /// 10,000 events a second for a long time.
    Steady,
    /// What an event costs a thread of Keycloak, by JMH.
    Java,
    /// Keycloak's own pace and memory with Keyferry, without a listener, and with another one.
    Keycloak,
}

impl Bench {
    /// What `--quick` measures unless it is said: what takes seconds.
    const QUICK: [Self; 4] = [Self::Rates, Self::Idle, Self::Outage, Self::Latency];

    fn measure(self, bench: &mut Workbench<'_>) -> Result<Report> {
        match self {
            Self::Rates => rates::measure(bench),
            Self::Pipeline => pipeline::measure(&bench.plan),
            Self::Idle => idle::measure(bench),
            Self::Outage => outage::measure(bench),
            Self::Latency => flow::latency(bench),
            Self::Drain => drain::measure(bench),
            Self::BacklogSize => backlog_size::measure(bench),
            Self::Steady => flow::steady(bench),
            Self::Java => java::measure(bench),
            Self::Keycloak => keycloak::measure(bench),
        }
    }

    /// As on the command line and in the page.
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Measures Keyferry beside its peers on real Kafka, writes the figures to target/bench/NAME.json, and the tables of docs/performance.md. Succeeds whether targets are met or not: each
/// is printed beside what was found.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What is measured [default: everything].
    #[arg(value_name = "NAME")]
    names: Vec<Bench>,
    /// How often each contestant runs.
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Events of `rates` and `outage`.
    #[arg(long, default_value_t = 2_000_000)]
    events: u64,
    /// The contestants of `rates`; may be repeated [default: all].
    #[arg(long, value_name = "CONTESTANT")]
    only: Vec<Contestant>,
    /// For how many seconds `idle`, `outage`, `latency` and `keycloak` look.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// For how many seconds `steady` looks.
    #[arg(long, default_value_t = 600)]
    steady_seconds: u64,
    /// Events of `drain`.
    #[arg(long, default_value_t = 5_000_000)]
    drain_events: u64,
    /// The backlogs of `backlog-size`, such as `10MiB`; may be repeated.
    #[arg(long, value_name = "SIZE", default_values = ["10MiB", "10GiB"], value_parser = backlog::size)]
    size: Vec<u64>,
    /// For how many seconds each Keycloak of `keycloak` is under load before it is measured: a JVM compiles for minutes.
    #[arg(long, default_value_t = 180)]
    warm_up_seconds: u64,
    /// A jar with another listener, which `keycloak` measures as well.
    #[arg(long, value_name = "PATH")]
    peer_jar: Option<PathBuf>,
    /// The id under which that listener is known to Keycloak.
    #[arg(long, value_name = "ID", default_value = "kafka", requires = "peer_jar")]
    peer_listener: String,
    /// An option of that listener, besides `bootstrap-servers`, `topic-events`, `client-id` and `events`; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", requires = "peer_jar")]
    peer_option: Vec<PeerOption>,
    /// Only show that everything works: few events, one turn, no peers and no page. The figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Leave docs/performance.md as it is.
    #[arg(long)]
    no_page: bool,
    /// Where journals and Kafka's data are to lie [default: the system's temporary directory].
    #[arg(long, value_name = "DIRECTORY")]
    place: Option<PathBuf>,
}

/// How much is measured.
#[derive(Debug, Clone)]
struct Plan {
    benches: Vec<Bench>,
    contestants: Vec<Contestant>,
    turns: usize,
    events: u64,
    drain_events: u64,
    sizes: Vec<u64>,
    /// Before anything counts.
    lead: Duration,
    looking: Duration,
    steady: Duration,
    warm_up: Duration,
    peer: Option<Peer>,
    is_quick: bool,
    writes_page: bool,
}

impl Plan {
    fn of(arguments: &Arguments) -> Self {
        let chosen = |benches: &[Bench]| {
            if arguments.names.is_empty() { benches.to_vec() } else { arguments.names.clone() }
        };
        let contestants = |all: &[Contestant]| {
            if arguments.only.is_empty() { all.to_vec() } else { arguments.only.clone() }
        };
        let peer = arguments.peer_jar.clone().map(|jar| Peer {
            jar,
            listener: arguments.peer_listener.clone(),
            options: arguments.peer_option.clone(),
        });
        if arguments.quick {
            return Self {
                benches: chosen(&Bench::QUICK),
                contestants: contestants(&Contestant::OWN),
                turns: 1,
                events: 20_000,
                drain_events: 20_000,
                sizes: vec![1 << 20, 4 << 20],
                lead: Duration::from_secs(1),
                looking: Duration::from_secs(1),
                steady: Duration::from_secs(1),
                warm_up: Duration::from_secs(3),
                peer,
                is_quick: true,
                writes_page: false,
            };
        }
        Self {
            benches: chosen(Bench::value_variants()),
            contestants: contestants(Contestant::value_variants()),
            turns: arguments.turns,
            events: arguments.events,
            drain_events: arguments.drain_events,
            sizes: arguments.size.clone(),
            lead: Duration::from_secs(20),
            looking: Duration::from_secs(arguments.seconds),
            steady: Duration::from_secs(arguments.steady_seconds),
            warm_up: Duration::from_secs(arguments.warm_up_seconds),
            peer,
            is_quick: false,
            // A table without some of its rows would look like a whole one.
            writes_page: !arguments.no_page && arguments.only.is_empty(),
        }
    }
}

/// What every measurement needs.
struct Workbench<'a> {
    cache: Cache,
    stand: Stand<'a>,
    plan: Plan,
    input: Option<Input>,
}

impl Workbench<'_> {
    /// The events of the plan, in a journal and as lines; written when they are first needed.
    fn input(&mut self) -> Result<&Input> {
        if self.input.is_none() {
            self.input = Some(Input::write(self.stand.directory, self.plan.events)?);
        }
        self.input.as_ref().ok_or_else(|| Error::Missing("there is no input".to_owned()))
    }
}

/// Measures, and writes what was found.
///
/// # Errors
/// Where Keyferry, Kafka or a place to write is missing, or Keyferry does not deliver. A peer that is not to be had, or does not deliver, is named in the report.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let plan = Plan::of(arguments);
    let place = arguments.place.clone().unwrap_or_else(std::env::temp_dir);
    let directory =
        tempfile::tempdir_in(&place).map_err(Error::io("create a temporary directory in", &place))?;
    let cache = Cache::from_environment()?;
    let options = Options {
        java: BROKER.map(str::to_owned).to_vec(),
        // Topics that were measured go at once, instead of being written to the disk while the next contestant runs.
        properties: vec![("log.segment.delete.delay.ms".to_owned(), "100".to_owned())],
        ..Options::default()
    };
    let stand = Stand {
        executable: agent::under_test()?,
        directory: directory.path(),
        kafka: Kafka::start_with(&cache, directory.path(), options)?,
        partitions: PARTITIONS,
    };
    let mut bench = Workbench { cache, stand, plan, input: None };
    for name in bench.plan.benches.clone() {
        println!("\n=== {}", name.name());
        let circumstances = Circumstances::now()?;
        let report = name.measure(&mut bench)?;
        let circumstances = circumstances.until_now()?;
        println!("\n{}", report.markdown(&circumstances));
        keep(name, &report, &circumstances, &bench.plan)?;
    }
    Ok(true)
}

/// Writes a report where it is looked for.
fn keep(bench: Bench, report: &Report, circumstances: &Circumstances, plan: &Plan) -> Result<()> {
    let directory = workspace::target().join(if plan.is_quick { "bench/quick" } else { "bench" });
    fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
    let path = directory.join(format!("{}.json", bench.name()));
    let json = serde_json::to_vec_pretty(&report.json(circumstances))?;
    fs::write(&path, json).map_err(Error::io("write", &path))?;
    println!("written to {}", path.display());
    if plan.writes_page {
        report::section(&bench.name()).write(&report.markdown(circumstances))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bench without a place in the page would fail after minutes of measuring.
    #[test]
    fn the_page_has_a_place_for_each_bench() {
        for bench in Bench::value_variants() {
            let section = report::section(&bench.name());
            let path = workspace::root().join(section.page);
            let page = fs::read_to_string(&path).unwrap();
            let (_, rest) = page.split_once(&section.begin).unwrap_or_else(|| panic!("no {}", section.begin));
            assert!(rest.contains(&section.end), "no {}", section.end);
        }
    }
}
