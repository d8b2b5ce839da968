//! The agent's memory while Kafka stands still in the middle of a backlog: when every buffer is as full as it gets.

use std::thread;
use std::time::{Duration, Instant};

use keyferry_tests::agent::Agent;
use keyferry_tests::{Error, Result, usage, wait};

use super::Workbench;
use super::rates::mebibytes;
use super::report::{Bound, Quantity, Report, Row, Target};
use crate::tuner::topic_name;

const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);
const SAMPLES: Duration = Duration::from_millis(100);
const LOOK_ANEW: Duration = Duration::from_millis(500);
const DRAIN_LIMIT: Duration = Duration::from_secs(180);

/// Stops the broker when a part of the backlog is delivered, looks at the agent's memory, and lets everything arrive.
///
/// # Errors
/// Where not everything arrives.
pub fn measure(bench: &mut Workbench<'_>) -> Result<Report> {
    let mut row = Row::of("the agent, Kafka standing still");
    for turn in 0..bench.plan.turns {
        row.add(&[(Quantity::PeakMemory, look(bench, turn)?)]);
    }
    let targets =
        vec![Target::of(Some(&row), Quantity::PeakMemory, Bound::AtMost(40.0), "memory in an outage, MiB")];
    let how =
        format!("the broker is stopped in the middle of a backlog for {} s", bench.plan.looking.as_secs());
    Ok(Report { turns: bench.plan.turns, how, rows: vec![row], missing: Vec::new(), targets })
}

/// The most resident memory during the outage, in MiB.
fn look(bench: &mut Workbench<'_>, turn: usize) -> Result<f64> {
    let looking = bench.plan.looking;
    bench.input()?;
    let Workbench { stand, input: Some(input), .. } = bench else {
        return Err(Error::Missing("there is no input".to_owned()));
    };
    let name = format!("outage-{turn}");
    let room = stand.room(&name)?;
    let topic = topic_name(&name);
    stand.kafka.create_topic(&topic, stand.partitions)?;
    let gauge = stand.kafka.gauge(&topic)?;
    let slot = room.join("journal/slot-0");
    input.journal.link_to(&slot)?;
    let servers = stand.kafka.bootstrap_servers();
    let mut agent = Agent::new(&stand.executable, &room, &slot, &servers, [&topic, &topic])?;
    agent.start()?;
    let pid = agent.pid()?;
    wait::every(LOOK, "the first records", LIMIT, || gauge.stored().ok().filter(|stored| *stored > 0))
        .map_err(|error| error.with_log(agent.log()))?;
    stand.kafka.pause()?;
    let paused = Instant::now();
    let mut most = 0;
    while paused.elapsed() < looking {
        most = most.max(usage::resident_memory(pid).unwrap_or_default());
        thread::sleep(SAMPLES);
    }
    stand.kafka.resume()?;
    println!("{name}: {:.1} MiB", mebibytes(most));
    let all = input.journal.events().cast_signed();
    // A client that was told of a cluster without brokers takes leave of it for good, and so does one that is made while the broker is not let in again: each look has a new one.
    wait::every(LOOK_ANEW, "the storing of every event", DRAIN_LIMIT, || {
        stand.kafka.stored(&topic).ok().filter(|stored| *stored >= all)
    })
    .map_err(|error| error.with_log(agent.log()))?;
    agent.stop()?;
    stand.kafka.delete_topic(&topic)?;
    Ok(mebibytes(most))
}
