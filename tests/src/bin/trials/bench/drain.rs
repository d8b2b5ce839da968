//! A backlog that grew while Kafka was down, against the same journal with Kafka up.

use std::time::{Duration, Instant};

use keyferry_tests::Result;
use keyferry_tests::agent::Agent;
use xtask::progress;

use super::Workbench;
use super::rates::{Seen, watch};
use super::report::{Bound, Quantity, Report, Row, Target};
use crate::load::Load;
use crate::tuner::topic_name;

const LIMIT: Duration = Duration::from_secs(60);

/// Lets a backlog grow behind a dead broker and drain, and an agent start on an equal one with the broker at work.
///
/// # Errors
/// Where not everything arrives.
pub fn measure(bench: &mut Workbench<'_>) -> Result<Report> {
    let plan = bench.plan.clone();
    let (mut after, mut steady) = (Row::of("after an outage"), Row::of("without an outage"));
    for turn in 0..plan.turns {
        after.add(&look(bench, &format!("drain-{turn}"), true)?);
        steady.add(&look(bench, &format!("steady-drain-{turn}"), false)?);
    }
    let (drained, usual) = (Some(&after), Some(&steady));
    let targets = vec![
        Target::ratio(
            drained,
            usual,
            Quantity::Rate,
            Bound::AtLeast(0.95),
            "events/s of the drain, against the usual rate",
        ),
        Target::of(
            drained,
            Quantity::Whole,
            Bound::AtMost(30.0),
            "from Kafka's return until an event of that moment is delivered, s",
        ),
    ];
    let how = format!("{} events", plan.drain_events);
    Ok(Report { turns: plan.turns, how, rows: vec![after, steady], missing: Vec::new(), targets })
}

/// With an outage the clock starts when the broker serves again, without one when the agent starts.
fn look(bench: &mut Workbench<'_>, name: &str, is_down: bool) -> Result<[(Quantity, f64); 3]> {
    let (stand, events) = (&mut bench.stand, bench.plan.drain_events);
    let room = stand.room(name)?;
    let topic = topic_name(name);
    stand.kafka.create_topic(&topic, stand.partitions)?;
    let mut load = Load::begin(&room.join("journal"))?;
    let servers = stand.kafka.bootstrap_servers();
    let mut agent = Agent::new(&stand.executable, &room, load.slot(), &servers, [&topic, &topic])?;
    let mut write = || progress::step(&format!("write {events} events"), || load.write_many(events));
    let begin = if is_down {
        agent.start()?;
        agent.wait_for_state("idle", LIMIT)?;
        stand.kafka.kill()?;
        write()?;
        stand.kafka.start()?;
        Instant::now()
    } else {
        write()?;
        let begin = Instant::now();
        agent.start()?;
        begin
    };
    let gauge = stand.kafka.gauge(&topic)?;
    let seen = watch(&gauge, agent.pid()?, events, begin).map_err(|error| error.with_log(agent.log()))?;
    let Seen { rate, first, whole, .. } = seen;
    println!(
        "{name}: {rate:.0} events/s, first after {:.0} ms, all after {:.1} s",
        first.as_secs_f64() * 1e3,
        whole.as_secs_f64()
    );
    agent.stop()?;
    stand.kafka.delete_topic(&topic)?;
    Ok([
        (Quantity::Rate, rate),
        (Quantity::FirstRecord, first.as_secs_f64() * 1e3),
        (Quantity::Whole, whole.as_secs_f64()),
    ])
}
