//! From an event's commit in the journal to a consumer's hands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use keyferry_tests::agent::Agent;
use keyferry_tests::{Error, Result, usage};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use super::table::Latency;
use super::variant::Variant;
use super::{Stand, topic_name};
use crate::events::number;
use crate::load::Load;

const FIRST_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// For how long a consumer may find nothing before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(2);

/// How fast events come, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Events a second.
    pub rate: u32,
    /// Before anything counts.
    pub lead: Duration,
    /// What counts.
    pub measured: Duration,
}

/// Lets events flow at `pace` through an agent of each variant, side by side, and measures how long each is on its way.
///
/// # Errors
/// Where not every event arrives.
pub fn measure_all(stand: &Stand<'_>, variants: &[Variant], turn: usize, pace: Pace) -> Result<Vec<Latency>> {
    thread::scope(|scope| {
        let one = |variant| {
            scope.spawn(move || measure(stand, variant, &format!("latency-{turn}-{variant}"), pace))
        };
        let all: Vec<_> = variants.iter().map(one).collect();
        let ended = |measurement: thread::ScopedJoinHandle<'_, _>| {
            measurement.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        all.into_iter().map(ended).collect()
    })
}

/// Lets events flow at `pace` through an agent, and measures how long each is on its way. `name` is that of no other measurement on this stand.
///
/// # Errors
/// Where not every event arrives.
pub fn measure(stand: &Stand<'_>, variant: &Variant, name: &str, pace: Pace) -> Result<Latency> {
    let room = stand.room(name)?;
    let topic = topic_name(name);
    stand.kafka.create_topic(&topic, stand.partitions)?;
    let mut load = Load::begin(&room.join("journal"))?;
    let servers = stand.kafka.bootstrap_servers();
    let mut agent = Agent::new(&stand.executable, &room, load.slot(), &servers, [&topic, &topic])?;
    variant.configure(&room.join("keyferry.toml"))?;
    agent.start()?;
    agent.wait_for_state("idle", FIRST_LIMIT)?;

    let consumer = consumer(&servers, &topic, stand.partitions)?;
    let is_over = AtomicBool::new(false);
    let (committed, cpu, arrived) = thread::scope(|scope| {
        let reader = scope.spawn(|| read(&consumer, &is_over));
        let written = write(&mut load, &agent, pace);
        is_over.store(true, Ordering::Release);
        let arrived = reader.join().map_err(|_| Error::Missing("the consumer has failed".to_owned()))?;
        let (committed, cpu) = written?;
        Ok::<_, Error>((committed, cpu, arrived?))
    })?;
    let arrivals = arrived.len();
    // Of copies the first counts.
    let arrived: BTreeMap<usize, Instant> = arrived.into_iter().rev().collect();
    if arrived.len() != committed.len() {
        let missing =
            format!("{} of {} events have not arrived", committed.len() - arrived.len(), committed.len());
        return Err(Error::Missing(missing).with_log(agent.log()));
    }
    let copies = arrivals - arrived.len();
    if copies > 0 {
        println!("{name}: {copies} copies");
        println!("{}", std::fs::read_to_string(agent.log()).unwrap_or_default());
    }
    agent.stop()?;
    let lead = pace.lead.as_secs() as usize * pace.rate as usize;
    let ways = arrived.range(lead..);
    let behind = committed.last().map_or(0, |last| arrived.values().filter(|at| *at > last).count());
    let ways = ways.map(|(number, at)| at.duration_since(committed[*number])).collect();
    let latency = Latency::of(ways, cpu, behind);
    println!("{name}: {latency}");
    Ok(latency)
}

/// When each event was committed, and what share of a processor the agent took while it counted.
fn write(load: &mut Load, agent: &Agent, pace: Pace) -> Result<(Vec<Instant>, f64)> {
    let interval = Duration::from_secs(1) / pace.rate;
    let events = (pace.lead + pace.measured).as_secs() * u64::from(pace.rate);
    let mut committed = Vec::with_capacity(events as usize);
    let begin = Instant::now();
    let mut cpu = None;
    for number in 0..events {
        let due = begin + interval * number as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if cpu.is_none() && begin.elapsed() >= pace.lead {
            cpu = Some((usage::processor_time(agent.pid()?)?, Instant::now()));
        }
        committed.push(Instant::now());
        load.write()?;
    }
    let share = match cpu {
        Some((before, since)) => {
            (usage::processor_time(agent.pid()?)? - before) / since.elapsed().as_secs_f64()
        }
        None => 0.0,
    };
    Ok((committed, share))
}

fn consumer(servers: &str, topic: &str, partitions: i32) -> Result<BaseConsumer> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", servers).set("group.id", "tuner").create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

/// The numbers of what arrives, and when, until nothing more does.
fn read(consumer: &BaseConsumer, is_over: &AtomicBool) -> Result<Vec<(usize, Instant)>> {
    let mut arrived = Vec::new();
    let mut last = Instant::now();
    loop {
        match consumer.poll(POLL) {
            Some(message) => {
                last = Instant::now();
                arrived.extend(message?.payload().and_then(number).map(|number| (number, last)));
            }
            None if is_over.load(Ordering::Acquire) && last.elapsed() > SILENCE => return Ok(arrived),
            None => {}
        }
    }
}
