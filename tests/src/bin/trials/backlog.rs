//! A large backlog: how soon the agent delivers, and what memory it takes meanwhile.
//!
//! Prints what it measures and fails only where the agent does not deliver or its memory grows with the backlog: a time depends on the machine.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use keyferry_tests::agent::{self, Agent};
use keyferry_tests::journal::Journal;
use keyferry_tests::kafka::{Gauge, Kafka};
use keyferry_tests::stage::{ADMIN_EVENTS, EVENTS, jar};
use keyferry_tests::{Error, Result, usage, wait};

/// As by default.
const SEGMENT: u64 = 64 << 20;
/// Makes an event about as large as one of Keycloak with all its details, in bytes.
const PADDING: usize = 800;
/// How many transactions are written between two looks at the size.
const PORTION: u64 = 1000;
const FIRST_LIMIT: Duration = Duration::from_secs(60);
const SAMPLES: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);
/// What the agent's memory may be at most, in bytes: 24 MiB in flight, and as much again for everything else, doubled. It does not depend on the backlog.
const MEMORY_LIMIT: u64 = 96 << 20;

/// Writes a journal, starts Kafka and then the agent, and measures the time to the first record in Kafka and the agent's memory.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How large the backlog is, such as `256MiB` or `10GiB`.
    #[arg(long, default_value = "256MiB", value_parser = size)]
    size: u64,
    /// How long the memory is watched, in seconds; or until everything is delivered.
    #[arg(long, default_value_t = 60)]
    watch: u64,
    /// Where the journal and Kafka's data are to lie [default: the system's temporary directory].
    #[arg(long, value_name = "DIRECTORY")]
    place: Option<PathBuf>,
}

/// A size with its unit.
///
/// # Errors
/// In words, how to write one.
pub fn size(text: &str) -> Result<u64, String> {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let parsed = units.iter().find_map(|(unit, shift)| {
        let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        number.checked_mul(1 << shift)
    });
    parsed.ok_or_else(|| "write a size such as 256MiB or 10GiB".to_owned())
}

/// Measures, and says whether the memory stayed within its limit.
///
/// # Errors
/// Where a part is missing or nothing is delivered.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let place = arguments.place.clone().unwrap_or_else(std::env::temp_dir);
    let directory =
        tempfile::tempdir_in(&place).map_err(Error::io("create a temporary directory in", &place))?;
    let executable = agent::unpack(&jar()?, directory.path())?;
    let kafka = Kafka::start_with_topics(directory.path())?;

    let mut journal = Journal::begin(&directory.path().join("journal"), "backlog", SEGMENT)?.padded(PADDING);
    let slot = journal.slot().to_owned();
    let servers = kafka.bootstrap_servers();
    let mut agent = Agent::new(&executable, directory.path(), &slot, &servers, [EVENTS, ADMIN_EVENTS])?;
    let gauge = kafka.gauge(EVENTS)?;
    // A broker that has never had an idempotent producer lets the first one wait for its number: what is measured is a broker at work.
    journal.write(PORTION)?;
    agent.start()?;
    wait_for_records(&gauge, 0, &agent)?;
    agent.stop()?;

    let begin = Instant::now();
    journal.write_bytes(arguments.size, PORTION)?;
    let events = journal.written().committed();
    println!(
        "written: {:.2} GiB, {events} events in {:.1} s",
        arguments.size as f64 / (1u64 << 30) as f64,
        begin.elapsed().as_secs_f64()
    );
    let before = gauge.stored()?;
    let start = Instant::now();
    agent.start()?;
    wait_for_records(&gauge, before, &agent)?;
    println!("start to first record in Kafka: {} ms", start.elapsed().as_millis());

    let memory = watch(&agent, &gauge, events, Duration::from_secs(arguments.watch))?;
    let delivered = gauge.stored()?;
    println!(
        "delivered after {:.0} s: {delivered} of {events} events, {:.0} a second",
        start.elapsed().as_secs_f64(),
        delivered as f64 / start.elapsed().as_secs_f64()
    );
    let mebibytes: Vec<String> = memory.iter().map(|bytes| (bytes >> 20).to_string()).collect();
    let highest = memory.iter().copied().max().unwrap_or_default();
    println!("memory, MiB, each second: {}", mebibytes.join(" "));
    println!("highest: {} MiB; limit {} MiB", highest >> 20, MEMORY_LIMIT >> 20);
    agent.kill()?;
    Ok(highest <= MEMORY_LIMIT)
}

fn wait_for_records(gauge: &Gauge, before: i64, agent: &Agent) -> Result<()> {
    let more = || gauge.stored().ok().filter(|stored| *stored > before);
    wait::every(POLL, "the first record in Kafka", FIRST_LIMIT, more)
        .map(drop)
        .map_err(|error| error.with_log(agent.log()))
}

/// The agent's memory, second by second.
fn watch(agent: &Agent, gauge: &Gauge, events: usize, limit: Duration) -> Result<Vec<u64>> {
    let pid = agent.pid()?;
    let begin = Instant::now();
    let mut memory = Vec::new();
    while begin.elapsed() < limit && gauge.stored()? < events as i64 {
        let bytes = usage::resident_memory(pid);
        memory.push(bytes.ok_or_else(|| Error::Missing("the agent has ended".to_owned()))?);
        thread::sleep(SAMPLES);
    }
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit() {
        assert_eq!(size("10GiB"), Ok(10 << 30));
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert!(size("10").is_err());
        assert!(size("GiB").is_err());
    }
}
