//! Injected I/O faults: system calls of the real writer and of the real agent fail, one at a time.
//!
//! - On the **writer's** side the real journal of the provider runs in a small Java program. What it acknowledged must be readable afterwards, what
//!   was rolled back must not have been committed, and what it lost must be reported.
//! - On the **agent's** side the shipped binary delivers a journal to a real Kafka. It may go on or end with a documented exit code and a word in its
//!   log; started again without fault, it must have delivered everything, in order and with its numbers.

mod agent_side;
mod fault;
mod table;
mod writer_side;

use std::panic;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use keyferry_tests::kafka::Kafka;
use keyferry_tests::{Error, Result, agent, stage};
use xtask::cache::Cache;

use self::agent_side::AgentSide;
use self::fault::{Fault, Shortener};
use self::table::Table;
use self::writer_side::WriterSide;
use crate::seed::{self, Seed};

/// After how many cases a line tells how far it has got.
const PROGRESS: u32 = 100;

/// Each case makes one system call of the writer or of the agent fail (once, thrice, or from then on), or cuts reads and writes short, chosen by seed, and
/// then looks for events that are missing without a word.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many cases, half of them on each side.
    #[arg(long, default_value_t = 100)]
    cases: u32,
    #[command(flatten)]
    seed: Seed,
    /// How many cases run at the same time.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    workers: u32,
    /// Begin no new case after so many minutes.
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<u64>,
    /// Only the case with this number.
    #[arg(long, value_name = "NUMBER")]
    only: Option<u32>,
}

/// Which side meets the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The provider.
    Writer,
    /// The agent.
    Agent,
}

/// How a case ended.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// How the program ended, in a word or two.
    pub end: String,
    /// Whether it met the fault.
    pub met: bool,
    /// What is wrong; nothing where all is well.
    pub wrong: Vec<String>,
}

/// A case and its verdict.
struct Judged {
    number: u32,
    side: Side,
    fault: Fault,
    verdict: Verdict,
}

/// Runs the cases, and says whether everything held.
///
/// # Errors
/// Where a part is missing or does not do without faults what it should.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let seed = arguments.seed.value();
    println!("{} cases of injected I/O faults, seed {seed}", arguments.cases);
    let directory =
        tempfile::tempdir().map_err(Error::io("create a temporary directory in", std::env::temp_dir()))?;
    let cache = Cache::from_environment()?;
    let jar = stage::jar()?;
    let executable = agent::unpack(&jar, directory.path())?;
    let kafka = Kafka::start_new(&cache, directory.path())?;
    let shortener = Shortener::compile(directory.path())?;
    let place = directory.path().join("writer");
    let writer = WriterSide::prepare(&cache, &jar, &executable, &place, shortener.clone())?;
    let agent = AgentSide::prepare(&executable, &kafka, &directory.path().join("agent"), shortener)?;
    for (fsync, calls) in writer.calls() {
        println!("calls of the writer, fsync {fsync:?}: {calls}");
    }
    println!("calls of the agent: {}", agent.calls());

    let range = arguments.only.map_or(1..=arguments.cases, |only| only..=only);
    let (next, last) = (AtomicU32::new(*range.start()), *range.end());
    let end = arguments.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let next = &|| {
        let number = next.fetch_add(1, Ordering::Relaxed);
        (number <= last && end.is_none_or(|end| Instant::now() < end)).then_some(number)
    };
    let mut table = Table::default();
    thread::scope(|scope| {
        let (sender, verdicts) = mpsc::channel();
        let worker = |number: u32| {
            let (writer, agent, sender) = (&writer, &agent, sender.clone());
            scope.spawn(move || work(writer, agent, seed, number, next, &sender))
        };
        let workers: Vec<_> = (0..arguments.workers).map(worker).collect();
        drop(sender);
        for (count, judged) in (1..).zip(verdicts) {
            table.add(&judged);
            if count % PROGRESS == 0 {
                println!("{count} cases");
            }
        }
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
    })?;
    println!("\n{table}");
    Ok(table.holds())
}

/// Runs cases until there are no more.
fn work(
    writer: &WriterSide,
    agent: &AgentSide<'_>,
    seed: u64,
    worker: u32,
    next: &impl Fn() -> Option<u32>,
    verdicts: &Sender<Judged>,
) -> Result<()> {
    let mut delivery = agent.delivery(&worker.to_string())?;
    while let Some(number) = next() {
        let mut random = seed::choices(seed, number);
        let side = if number % 2 == 0 { Side::Writer } else { Side::Agent };
        let (fault, verdict) = match side {
            Side::Writer => {
                let (fsync, fault) = writer.fault(&mut random);
                let verdict = writer.attempt(number, fsync, &fault)?;
                (fault, verdict)
            }
            Side::Agent => {
                let fault = agent.fault(&mut random);
                let verdict = delivery.attempt(number, &fault)?;
                (fault, verdict)
            }
        };
        // Nobody listens any more only where the receiver has failed.
        let _ = verdicts.send(Judged { number, side, fault, verdict });
    }
    Ok(())
}
