//! What the tuner is worth: latency at a low rate and throughput in a drain, of several settings side by side.
//!
//! A machine that is busy for a while is to be busy for all settings: their latency is measured at the same time, at a rate that leaves the processors idle, and their throughput
//! by turns. The median of all turns is what counts.

mod drain;
pub mod latency;
mod table;
pub mod variant;

use std::path::{Path, PathBuf};
use std::time::Duration;

use keyferry_tests::agent;
use keyferry_tests::kafka::Kafka;
use keyferry_tests::stage::jar;
use keyferry_tests::{Error, Result};

use latency::Pace;
use table::Measured;
use variant::Variant;

use crate::load::Written;

/// Of each topic.
const PARTITIONS: i32 = 3;

/// Compares settings of the tuner on real Kafka: latency at a low rate, and throughput in a drain of a backlog.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What is compared: a profile of the tuner, or settings of `destination.delivery` such as `linger=0s,batch_size=1MiB`. The first is judged by the others.
    #[arg(value_name = "SETTINGS", default_values = ["auto", "latency", "throughput"])]
    variants: Vec<Variant>,
    /// How often each is measured.
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Events of the backlog.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Events a second at which the latency is measured.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// For how many seconds the latency is measured.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// For how many seconds events flow before that, so that the tuner can find its place.
    #[arg(long, default_value_t = 20)]
    lead: u64,
    /// The agent [default: that of the jar under test].
    #[arg(long, value_name = "EXECUTABLE")]
    agent: Option<PathBuf>,
    /// Where journals and Kafka's data are to lie [default: the system's temporary directory].
    #[arg(long, value_name = "DIRECTORY")]
    place: Option<PathBuf>,
}

/// Measures, prints a table, and says whether `auto` is as good as the best profile for each purpose, as far as those were measured.
///
/// # Errors
/// Where a part is missing or nothing is delivered.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let place = arguments.place.clone().unwrap_or_else(std::env::temp_dir);
    let directory =
        tempfile::tempdir_in(&place).map_err(Error::io("create a temporary directory in", &place))?;
    let executable = match &arguments.agent {
        Some(agent) => agent.clone(),
        None => agent::unpack(&jar()?, directory.path())?,
    };
    let kafka = Kafka::start_new(&xtask::cache::Cache::from_environment()?, directory.path())?;
    let stand = Stand { executable, directory: directory.path(), kafka, partitions: PARTITIONS };
    let mut measured: Vec<Measured> = arguments.variants.iter().map(Measured::of).collect();
    let pace = Pace {
        rate: arguments.rate,
        lead: Duration::from_secs(arguments.lead),
        measured: Duration::from_secs(arguments.seconds),
    };
    if arguments.seconds > 0 {
        for turn in 0..arguments.turns {
            let latencies = latency::measure_all(&stand, &arguments.variants, turn, pace)?;
            for (measured, latency) in measured.iter_mut().zip(latencies) {
                measured.latency.push(latency);
            }
        }
    }
    if arguments.events > 0 {
        let backlog = Written::new(&stand.directory.join("backlog"), arguments.events)?;
        for turn in 0..arguments.turns {
            for (variant, measured) in arguments.variants.iter().zip(&mut measured) {
                measured.drain.push(drain::measure(&stand, variant, turn, &backlog)?);
            }
        }
    }
    table::print(&measured);
    Ok(table::verdict(&measured))
}

/// What every measurement needs.
pub struct Stand<'a> {
    /// The agent.
    pub executable: PathBuf,
    /// Where everything lies.
    pub directory: &'a Path,
    /// The broker.
    pub kafka: Kafka,
    /// Of each topic.
    pub partitions: i32,
}

impl Stand<'_> {
    /// A new directory below the stand's.
    ///
    /// # Errors
    /// Where it cannot be created.
    pub fn room(&self, name: &str) -> Result<PathBuf> {
        let room = self.directory.join(name);
        std::fs::create_dir_all(&room).map_err(Error::io("create", &room))?;
        Ok(room)
    }
}

/// A topic's name made of `name`.
pub fn topic_name(name: &str) -> String {
    name.replace(|character: char| !character.is_ascii_alphanumeric(), "-")
}
