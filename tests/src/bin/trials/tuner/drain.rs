//! A backlog on its way to Kafka.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keyferry_tests::agent::Agent;
use keyferry_tests::{Error, Result, wait};

use super::Stand;
use super::latency::topic_name;
use super::load::Load;
use super::table::{Cpu, Drain};
use super::variant::Variant;

const PARTITIONS: i32 = 3;
const LOOK: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(600);

/// A journal that every drain begins with.
pub struct Backlog {
    slot: PathBuf,
    events: u64,
}

impl Backlog {
    /// Writes `events` events to a journal below `directory`.
    ///
    /// # Errors
    /// Where the disk does not take them.
    pub fn write(directory: &Path, events: u64) -> Result<Self> {
        let mut load = Load::begin(&directory.join("backlog"))?;
        let slot = load.slot().to_owned();
        (0..events).try_for_each(|_| load.write())?;
        load.close()?;
        Ok(Self { slot, events })
    }

    /// The same journal in another directory. The files are shared: an agent only reads and removes them.
    fn link_to(&self, slot: &Path) -> Result<()> {
        fs::create_dir_all(slot).map_err(Error::io("create", slot))?;
        for entry in fs::read_dir(&self.slot).map_err(Error::io("list", &self.slot))? {
            let entry = entry.map_err(Error::io("list", &self.slot))?;
            let link = slot.join(entry.file_name());
            fs::hard_link(entry.path(), &link).map_err(Error::io("create", &link))?;
        }
        Ok(())
    }
}

/// Starts an agent on the backlog and measures the way from the first record in Kafka to the last.
///
/// # Errors
/// Where not everything is delivered.
pub fn measure(stand: &Stand<'_>, variant: &Variant, turn: usize, backlog: &Backlog) -> Result<Drain> {
    let name = format!("drain-{turn}-{variant}");
    let room = stand.room(&name)?;
    let topic = topic_name(&name);
    stand.kafka.create_topic(&topic, PARTITIONS)?;
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
    let all = backlog.events.cast_signed();
    stored_more_than(all - 1)?;
    let taken = begin.elapsed();
    let cpu = Cpu::of(agent.pid()?)?;
    agent.stop()?;
    let drain = Drain { events_a_second: (all - first) as f64 / taken.as_secs_f64(), cpu_seconds: cpu.0 };
    println!("{name}: {drain}");
    Ok(drain)
}
