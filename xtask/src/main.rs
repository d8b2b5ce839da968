//! `cargo xtask`: fetch, build, demo, test and distribution of Keyferry.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};
use xtask::cache::Cache;
use xtask::dist::{self, Build, Platform};
use xtask::parts::{self, CargoTool, Keycloak};
use xtask::suites::{self, Suite};
use xtask::tool::{self, CARGO};
use xtask::{
    Error, Result, cost_of_metrics, crash_states, fuzz, instructions, planted, progress, simulate, trials,
    web_page, workspace,
};

/// Where cargo-deny takes the advisories from.
const ADVISORIES: &str = "https://github.com/RustSec/advisory-db";

/// The project's own tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Bring Keycloak, Kafka and the build tools into the cache.
    Fetch {
        /// Also the older lines of Keycloak that the compatibility tests run on.
        #[arg(long)]
        all: bool,
    },
    /// Build the jar that carries the agent, and the bare agent, into dist/.
    Dist {
        /// Build with this machine's own linker: quicker, but for systems like this one only.
        #[arg(long, conflicts_with = "target")]
        native: bool,
        /// What the agent must run on; may be repeated [default: this machine's platform].
        #[arg(long, value_enum)]
        target: Vec<Platform>,
    },
    /// Start Keycloak with Keyferry and Kafka, cause events and show what arrives, until Ctrl-C.
    Demo {
        /// End after the show, successfully only if every expected event arrived.
        #[arg(long)]
        once: bool,
    },
    /// Run the tests: all suites, or the named ones.
    Test {
        /// The suites to run [default: all].
        suites: Vec<Suite>,
        /// Name the suites instead of running them.
        #[arg(long)]
        list: bool,
    },
    /// Kill real Keycloak, agent and Kafka under load, again and again, and look for what is lost or invented (`--help` says more).
    Crash(trials::PassedOn),
    /// Let system calls of the real writer and agent fail, one at a time, and look for silent losses (`--help` says more).
    IoFaults(trials::PassedOn),
    /// Start the agent on a large backlog and measure how soon it delivers and what memory it takes (`--help` says more).
    Backlog(trials::PassedOn),
    /// Let Kafka and the way to it fail under load, and print the table of docs/outages.md (`--help` says more).
    Outages(trials::PassedOn),
    /// Compare the tuner's profiles on real Kafka: latency at a low rate, throughput in a drain (`--help` says more).
    Tuner(trials::PassedOn),
    /// Measure Keyferry beside its peers, and write the tables of docs/performance.md (`--help` says more).
    Bench(trials::PassedOn),
    /// Have Keycloak raise events of as many types as can be, and keep one of each in testdata/events (`--help` says more).
    Capture(trials::PassedOn),
    /// Record the provider's journal writer under load, and read what every crash could have left of its files.
    CrashStates(crash_states::Arguments),
    /// Fuzz the readers of everything that comes from outside: journal, checkpoint, events, configuration.
    Fuzz(fuzz::Arguments),
    /// Play seeded histories of the whole way over a simulated disk, clock and Kafka, and look for broken promises (`--help` says more).
    Simulate(simulate::Arguments),
    /// Plant bugs in a copy of the sources, one at a time, and see whether the tests catch each; write the table of docs/promises.md.
    Planted(planted::Arguments),
    /// Measure what counting costs the pipeline: its rate with metrics and without, in turn.
    CostOfMetrics(cost_of_metrics::Arguments),
    /// Count the instructions that the pipeline takes for an event, and hold them to testdata/instructions.txt.
    Instructions(instructions::Arguments),
    /// Build the web page from web/ into web/dist/, which is committed.
    Page(web_page::Arguments),
    /// Check the dependencies' licences, advisories and sources.
    Deny,
}

fn main() -> ExitCode {
    match perform(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    let cache = Cache::from_environment()?;
    match task {
        Task::Fetch { all } => fetch(&cache, all),
        Task::Dist { native, target } => {
            let build = if native { Build::Native } else { Build::Portable(target) };
            dist::dist(&cache, &build).map(drop)
        }
        Task::Demo { once } => demo(&cache, once),
        Task::Test { list: true, .. } => {
            suites::list(&mut io::stdout()).map_err(Error::io("write to", "standard output"))
        }
        Task::Test { suites, .. } if suites.is_empty() => suites::run(&cache, &Suite::ALL),
        Task::Test { suites, .. } => suites::run(&cache, &suites),
        Task::Crash(arguments) => trials::run(&cache, "crash", &arguments),
        Task::IoFaults(arguments) => trials::run(&cache, "io-faults", &arguments),
        Task::Backlog(arguments) => trials::run(&cache, "backlog", &arguments),
        Task::Outages(arguments) => trials::run(&cache, "outages", &arguments),
        Task::Tuner(arguments) => trials::run(&cache, "tuner", &arguments),
        Task::Bench(arguments) => trials::measure(&cache, "bench", &arguments),
        Task::Capture(arguments) => trials::run(&cache, "capture", &arguments),
        Task::CrashStates(arguments) => crash_states::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&cache, &arguments),
        Task::Simulate(arguments) => simulate::run(&arguments),
        Task::Planted(arguments) => planted::run(&arguments),
        Task::CostOfMetrics(arguments) => cost_of_metrics::run(&arguments),
        Task::Instructions(arguments) => instructions::run(&arguments),
        Task::Page(arguments) => web_page::run(&arguments),
        Task::Deny => deny(&cache),
    }
}

fn fetch(cache: &Cache, all: bool) -> Result<()> {
    let older = [Keycloak::V26_4, Keycloak::V26_5];
    for version in older.into_iter().filter(|_| all).chain([Keycloak::V26_7]) {
        println!("{}", version.fetch(cache)?.display());
    }
    println!("{}", parts::kafka(cache)?.display());
    println!("{}", parts::apicurio(cache)?.display());
    println!("{}", parts::zig(cache)?.display());
    println!("{}", parts::zigbuild(cache)?.display());
    println!("{}", parts::prometheus(cache)?.display());
    println!("{}", parts::opentelemetry(cache)?.display());
    println!("{}", parts::schemathesis(cache)?.display());
    println!("{}", parts::format_readers(cache)?.display());
    println!("{}", parts::ecs(cache)?.display());
    println!("{}", parts::asyncapi_parser(cache)?.display());
    println!("{}", CargoTool::Deny.fetch(cache)?.display());
    Ok(())
}

fn demo(cache: &Cache, once: bool) -> Result<()> {
    Keycloak::V26_7.fetch(cache)?;
    parts::kafka(cache)?;
    let jar = dist::assemble(cache, &Build::Debug, &workspace::target().join("demo"))?;
    progress::step("build the demo", || {
        let mut cargo = CARGO.command();
        cargo.args(["build", "--package", "keyferry-tests", "--bin", "keyferry-demo"]);
        tool::run_silently(cargo.current_dir(workspace::root()))
    })?;
    let mut demo = Command::new(workspace::target().join("debug/keyferry-demo"));
    demo.env("JAR_UNDER_TEST", jar);
    if once {
        demo.arg("--once");
    }
    // The demo takes this process's place, so that Ctrl-C reaches it alone and nothing waits for it.
    let error = demo.exec();
    Err(Error::io("start", demo.get_program())(error))
}

/// The advisories come from a Git repository; where it is out of reach (without internet) everything else is still checked.
fn deny(cache: &Cache) -> Result<()> {
    let deny = CargoTool::Deny.fetch(cache)?;
    let check = |what: &[&str]| {
        tool::run_visibly(Command::new(&deny).arg("check").args(what).current_dir(workspace::root()))
    };
    check(&["bans", "licenses", "sources"])?;
    if tool::run_silently(Command::new("git").args(["ls-remote", "--quiet", ADVISORIES, "HEAD"])).is_err() {
        eprintln!("warning: {ADVISORIES} is out of reach: known vulnerabilities were not checked");
        return Ok(());
    }
    check(&["advisories"])
}
