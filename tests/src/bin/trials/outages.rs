//! Outages of Kafka and of the way to it: each played on a broker of its own, and one without end.
//!
//! Prints the table of `docs/outages.md`. Fails where anything was lost, invented, out of order or without its number, and where the memory of the agent grows
//! with an outage; a time depends on the machine, and is held against its limit only where `KEYFERRY_TEST_TIME_LIMITS` is set.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use keyferry_tests::ferry::Plan;
use keyferry_tests::outages::{Course, Outage, RECOVERY_LIMIT, Scene, TIME_LIMITS, play, table};
use keyferry_tests::{Error, Result, usage};

/// What the agent's memory may be at most during an outage without end, in bytes.
const MEMORY_LIMIT: u64 = 64 << 20;
/// What it may grow by once the first tenth of the outage is over, in bytes: what an allocator moves, and no backlog.
const GROWTH_LIMIT: u64 = 4 << 20;
const SAMPLES: Duration = Duration::from_secs(1);
/// As by default.
const SEGMENT: u64 = 64 << 20;

/// Lets Kafka and the way to it fail under load, in every way that is known here, and prints what the agent does.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The outages to play [default: all].
    #[arg(value_enum)]
    outages: Vec<Outage>,
    /// How long each lasts, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How many transactions are written in a second; by default 500, or 10,000 with `--endless`.
    #[arg(long)]
    rate: Option<u32>,
    /// Instead: kill the broker for so long, such as `90s` or `10m`, and watch the agent's memory.
    #[arg(long, value_parser = duration, conflicts_with = "outages")]
    endless: Option<Duration>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = [("s", 1), ("m", 60)].iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*seconds)
    });
    parsed.map(Duration::from_secs).ok_or_else(|| "write a duration such as 90s or 10m".to_owned())
}

/// Plays them, and says whether everything held.
///
/// # Errors
/// Where a part is missing or does not do what it should.
pub fn run(arguments: &Arguments) -> Result<bool> {
    if let Some(lasting) = arguments.endless {
        return endure(lasting, arguments.rate.unwrap_or(10_000));
    }
    let course =
        Course { duration: Duration::from_secs(arguments.seconds), rate: arguments.rate.unwrap_or(500) };
    let outages = if arguments.outages.is_empty() { &Outage::ALL[..] } else { &arguments.outages };
    let mut observed = Vec::new();
    let mut failed = 0;
    for outage in outages {
        eprintln!("… {}", outage.cause());
        match play(*outage, course) {
            Ok(Some(one)) => observed.push(one),
            Ok(None) => eprintln!("  skipped: this machine does not allow it"),
            Err(error) => {
                eprintln!("✗ {}: {error}", outage.cause());
                failed += 1;
            }
        }
    }
    println!("{}", table(&observed));
    let late = observed.iter().filter(|observed| observed.recovery > RECOVERY_LIMIT);
    let late: Vec<&str> = late.map(|observed| observed.outage.cause()).collect();
    println!("{} outages, {failed} failed, recovery later than {RECOVERY_LIMIT:?}: {late:?}", outages.len());
    Ok(failed == 0 && (late.is_empty() || env::var_os(TIME_LIMITS).is_none()))
}

/// An outage whose end nobody waits for: the backlog grows, and the agent must not.
fn endure(lasting: Duration, rate: u32) -> Result<bool> {
    let Some(mut scene) = Scene::of(Outage::Killed)? else { return Ok(true) };
    let plan = Plan::proxied(scene.kafka(), Scene::TOPIC)?.rate(rate).users(1000).segment(SEGMENT);
    let ferry = plan.start()?;
    scene.begin(Outage::Killed, &ferry)?;
    let (pid, begin) = (ferry.agent.pid()?, Instant::now());
    let before = ferry.traffic.written().transactions();
    let mut memory = Vec::new();
    while begin.elapsed() < lasting {
        thread::sleep(SAMPLES);
        let bytes = usage::resident_memory(pid);
        memory.push(bytes.ok_or_else(|| Error::Missing("the agent has ended".to_owned()))?);
    }
    let written = ferry.traffic.pause().transactions() - before;
    let mebibytes: Vec<String> =
        memory.iter().map(|bytes| format!("{:.1}", *bytes as f64 / f64::from(1 << 20))).collect();
    println!("memory, MiB, each second: {}", mebibytes.join(" "));
    let settled = &memory[memory.len() / 10..];
    let (highest, lowest) = (settled.iter().max(), settled.iter().min());
    let (highest, lowest) = (highest.copied().unwrap_or_default(), lowest.copied().unwrap_or_default());
    println!(
        "{written} transactions in {:.0} s, {:.0} a second, of which none was delivered; memory {:.1} to {:.1} MiB after the first tenth, limit {} MiB",
        begin.elapsed().as_secs_f64(),
        written as f64 / begin.elapsed().as_secs_f64(),
        lowest as f64 / f64::from(1 << 20),
        highest as f64 / f64::from(1 << 20),
        MEMORY_LIMIT >> 20
    );
    Ok(highest <= MEMORY_LIMIT && highest - lowest <= GROWTH_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert!(duration("10").is_err());
        assert!(duration("m").is_err());
    }
}
