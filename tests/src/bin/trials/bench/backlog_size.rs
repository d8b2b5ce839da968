//! What the size of a backlog costs: nothing, if all is well.

use std::fs;
use std::time::{Duration, Instant};

use keyferry_tests::agent::Agent;
use keyferry_tests::usage::Activity;
use keyferry_tests::{Error, Result};
use xtask::progress;

use super::Workbench;
use super::rates::{Seen, mebibytes, watch};
use super::report::{Bound, Quantity, Report, Row, Target};
use crate::load::{Load, Written};
use crate::tuner::topic_name;

/// How much larger than in the smallest backlog a figure may be in the largest one.
const ALLOWANCE: f64 = 1.1;
/// How many events are next to nothing, and how often the start is measured with them.
const FEW: u64 = 100;
const STARTS: usize = 5;
/// What one event of the load takes in the journal, in bytes: about as much, which is enough here.
const EVENT: u64 = 850;

/// Starts an agent on backlogs of the plan's sizes.
///
/// # Errors
/// Where not everything arrives.
pub fn measure(bench: &mut Workbench<'_>) -> Result<Report> {
    let plan = bench.plan.clone();
    let base = base(bench)?;
    let mut rows = Vec::new();
    for (number, size) in plan.sizes.iter().enumerate() {
        let room = bench.stand.room(&format!("backlog-{number}"))?;
        let title = format!("{} MiB", size >> 20);
        let journal = progress::step(&format!("write a backlog of {title}"), || {
            let mut load = Load::begin(&room.join("journal"))?;
            load.write_many(size.div_ceil(EVENT))?;
            load.close()
        })?;
        let mut row = Row::of(title);
        for turn in 0..plan.turns {
            let started = start(bench, &journal, &format!("backlog-{number}-{turn}"))?;
            row.add(&started.figures(base, journal.events()));
        }
        rows.push(row);
        fs::remove_dir_all(&room).map_err(Error::io("remove", &room))?;
    }
    let (small, large) = (rows.first(), rows.last());
    let target = |quantity, what: &str| Target::ratio(large, small, quantity, Bound::AtMost(ALLOWANCE), what);
    let targets = vec![
        target(Quantity::FirstRecord, "start to the first record, largest backlog against smallest"),
        target(Quantity::PeakMemory, "memory, largest backlog against smallest"),
        target(Quantity::CpuPerMillion, "CPU per event, largest backlog against smallest"),
    ];
    let how = format!(
        "from the start until everything is delivered, without the processor time of the start itself, {} ms",
        base.as_millis()
    );
    Ok(Report { turns: plan.turns, how, rows, missing: Vec::new(), targets })
}

/// What the start itself takes of the processor: the median of several on next to nothing.
fn base(bench: &Workbench<'_>) -> Result<Duration> {
    let room = bench.stand.room("backlog-none")?;
    let journal = Written::new(&room.join("journal"), FEW)?;
    let start =
        |turn| -> Result<Duration> { Ok(start(bench, &journal, &format!("backlog-none-{turn}"))?.running) };
    let mut taken: Vec<Duration> = (0..STARTS).map(start).collect::<Result<_>>()?;
    taken.sort_unstable();
    Ok(taken[STARTS / 2])
}

/// What an agent took until everything was delivered.
struct Started {
    seen: Seen,
    running: Duration,
}

impl Started {
    fn figures(&self, base: Duration, events: u64) -> [(Quantity, f64); 4] {
        let running = self.running.saturating_sub(base).as_secs_f64();
        [
            (Quantity::FirstRecord, self.seen.first.as_secs_f64() * 1e3),
            (Quantity::Rate, self.seen.rate),
            (Quantity::CpuPerMillion, running * 1e6 / events as f64),
            (Quantity::PeakMemory, mebibytes(self.seen.memory)),
        ]
    }
}

fn start(bench: &Workbench<'_>, journal: &Written, name: &str) -> Result<Started> {
    let stand = &bench.stand;
    let room = stand.room(name)?;
    let topic = topic_name(name);
    stand.kafka.create_topic(&topic, stand.partitions)?;
    let gauge = stand.kafka.gauge(&topic)?;
    let slot = room.join("journal/slot-0");
    journal.link_to(&slot)?;
    let servers = stand.kafka.bootstrap_servers();
    let mut agent = Agent::new(&stand.executable, &room, &slot, &servers, [&topic, &topic])?;
    let begin = Instant::now();
    agent.start()?;
    let pid = agent.pid()?;
    let seen = watch(&gauge, pid, journal.events(), begin).map_err(|error| error.with_log(agent.log()))?;
    let running = Activity::of(pid)?.running;
    agent.stop()?;
    stand.kafka.delete_topic(&topic)?;
    fs::remove_dir_all(&room).map_err(Error::io("remove", &room))?;
    println!(
        "{name}: first record after {:.0} ms, {:.0} events/s, CPU {:.0} ms, {:.1} MiB",
        seen.first.as_secs_f64() * 1e3,
        seen.rate,
        running.as_secs_f64() * 1e3,
        mebibytes(seen.memory)
    );
    Ok(Started { seen, running })
}
