//! A backlog on its way to Kafka.

use std::time::{Duration, Instant};

use keyferry_tests::agent::Agent;
use keyferry_tests::{Result, usage, wait};

use super::table::Drain;
use super::variant::Variant;
use super::{Stand, topic_name};
use crate::load::Written;

const LOOK: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(600);

/// Starts an agent on the backlog and measures the way from the first record in Kafka to the last.
///
/// # Errors
/// Where not everything is delivered.
pub fn measure(stand: &Stand<'_>, variant: &Variant, turn: usize, backlog: &Written) -> Result<Drain> {
    let name = format!("drain-{turn}-{variant}");
    let room = stand.room(&name)?;
    let topic = topic_name(&name);
    stand.kafka.create_topic(&topic, stand.partitions)?;
    let gauge = stand.kafka.gauge(&topic)?;
    let slot = room.join("journal/slot-0");
    backlog.link_to(&slot)?;
    let servers = stand.kafka.bootstrap_servers();
    let mut agent = Agent::new(&stand.executable, &room, &slot, &servers, [&topic, &topic])?;
    variant.configure(&room.join("keyferry.toml"))?;
    agent.start()?;
    let stored_more_than = |records: i64| {
        let more = || gauge.stored().ok().filter(|stored| *stored > records);
        wait::every(LOOK, "records in Kafka", LIMIT, more).map_err(|error| error.with_log(agent.log()))
    };
    let first = stored_more_than(0)?;
    let begin = Instant::now();
    let all = backlog.events().cast_signed();
    stored_more_than(all - 1)?;
    let taken = begin.elapsed();
    let cpu_seconds = usage::processor_time(agent.pid()?)?;
    agent.stop()?;
    let drain = Drain { events_a_second: (all - first) as f64 / taken.as_secs_f64(), cpu_seconds };
    println!("{name}: {drain}");
    Ok(drain)
}
