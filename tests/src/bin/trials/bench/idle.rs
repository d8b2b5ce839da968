//! The agent with nothing to do.

use std::thread;
use std::time::Duration;

use keyferry_tests::agent::Agent;
use keyferry_tests::usage::{self, Activity};
use keyferry_tests::{Result, wait};

use super::Workbench;
use super::rates::mebibytes;
use super::report::{Bound, Quantity, Report, Row, Target};
use crate::load::Load;
use crate::tuner::topic_name;

const LIMIT: Duration = Duration::from_secs(60);

/// Lets an agent deliver some events, and then looks at it while nothing comes.
///
/// # Errors
/// Where it does not deliver.
pub fn measure(bench: &mut Workbench<'_>) -> Result<Report> {
    let plan = &bench.plan;
    let mut row = Row::of("the agent, idle");
    for turn in 0..plan.turns {
        row.add(&look(bench, turn)?);
    }
    let target = |quantity, most, what: &str| Target::of(Some(&row), quantity, Bound::AtMost(most), what);
    let targets = vec![
        target(Quantity::Cpu, 0.1, "CPU when idle, % of a core"),
        target(Quantity::Wakeups, 5.0, "wake-ups a second when idle"),
        target(Quantity::Memory, 12.0, "memory when idle, MiB"),
    ];
    let how = format!("{} s", plan.looking.as_secs());
    Ok(Report { turns: plan.turns, how, rows: vec![row], missing: Vec::new(), targets })
}

fn look(bench: &Workbench<'_>, turn: usize) -> Result<[(Quantity, f64); 3]> {
    let (stand, plan) = (&bench.stand, &bench.plan);
    let name = format!("idle-{turn}");
    let room = stand.room(&name)?;
    let topic = topic_name(&name);
    stand.kafka.create_topic(&topic, stand.partitions)?;
    let mut load = Load::begin(&room.join("journal"))?;
    let servers = stand.kafka.bootstrap_servers();
    let mut agent = Agent::new(&stand.executable, &room, load.slot(), &servers, [&topic, &topic])?;
    agent.start()?;
    load.write_many(100)?;
    let gauge = stand.kafka.gauge(&topic)?;
    let arrived = || gauge.stored().ok().filter(|stored| *stored >= 100);
    wait::until("the first events", LIMIT, arrived).map_err(|error| error.with_log(agent.log()))?;
    thread::sleep(plan.lead);
    let before = Activity::of(agent.pid()?)?;
    thread::sleep(plan.looking);
    let done = Activity::of(agent.pid()?)?.since(before);
    let seconds = plan.looking.as_secs_f64();
    let figures = [
        (Quantity::Cpu, 100.0 * done.running.as_secs_f64() / seconds),
        (Quantity::Wakeups, done.wakeups as f64 / seconds),
        (Quantity::Memory, mebibytes(usage::resident_memory(agent.pid()?).unwrap_or_default())),
    ];
    println!("{name}: CPU {:.3} %, {:.1} wake-ups/s, {:.1} MiB", figures[0].1, figures[1].1, figures[2].1);
    agent.stop()?;
    Ok(figures)
}
