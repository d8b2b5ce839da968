//! What can go wrong between the agent and Kafka, and what the agent does then: brought about on a real broker, watched, and judged.
//!
//! The measure of recovery is strict: the time from the end of the cause until an event that was written *after* that end is in the topic. A backlog has been
//! delivered by then, and nothing that the broker had in its buffers counts.

mod scene;
mod table;
mod trace;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::ferry::{Ferry, Plan};
use crate::usage::running_meanwhile;

pub use scene::Scene;
pub use table::table;
pub use trace::{Change, Trace};

/// How soon after the end of the cause delivery goes on, on a quiet machine.
pub const RECOVERY_LIMIT: Duration = Duration::from_secs(5);
/// The variable that asks for limits of time: on a machine that others use, a time says nothing.
pub const TIME_LIMITS: &str = "KEYFERRY_TEST_TIME_LIMITS";

/// A way in which Kafka, or the way to it, fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Outage {
    /// The broker is killed, and started again.
    Killed,
    /// The broker is frozen (SIGSTOP), and goes on.
    Frozen,
    /// Connections break, and new ones are refused.
    Refused,
    /// Nothing passes, in either direction; connections stay.
    Partition,
    /// What the agent sends does not arrive.
    RequestsLost,
    /// What the broker answers does not arrive.
    AnswersLost,
    /// 300 ms there and back, and 5 % of the packets are lost.
    Lossy,
    /// The broker's disk is full; it gives up, and is started again when there is room.
    DiskFull,
    /// The topic is deleted, and created again.
    TopicDeleted,
    /// The topic takes no batches, only small single records.
    SmallBatches,
    /// A quota lets clients produce next to nothing.
    Throttled,
}

impl Outage {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Killed,
        Self::Frozen,
        Self::Refused,
        Self::Partition,
        Self::RequestsLost,
        Self::AnswersLost,
        Self::Lossy,
        Self::DiskFull,
        Self::TopicDeleted,
        Self::SmallBatches,
        Self::Throttled,
    ];

    /// What happens, in a few words.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Killed => "broker killed",
            Self::Frozen => "broker frozen (SIGSTOP)",
            Self::Refused => "connections broken and refused",
            Self::Partition => "partition, both ways",
            Self::RequestsLost => "partition, requests only",
            Self::AnswersLost => "partition, answers only",
            Self::Lossy => "300 ms round trip, 5 % packet loss",
            Self::DiskFull => "broker's disk full",
            Self::TopicDeleted => "topic deleted and recreated",
            Self::SmallBatches => "`max.message.bytes` lowered below a batch",
            Self::Throttled => "quota of 10 kB/s",
        }
    }

    /// Whether events go on arriving meanwhile, if slowly.
    pub fn lets_something_through(self) -> bool {
        matches!(self, Self::Lossy | Self::SmallBatches | Self::Throttled)
    }
}

/// How an outage is played.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// How long it lasts.
    pub duration: Duration,
    /// How many transactions are written in a second, before, during and after it.
    pub rate: u32,
}

/// What was seen of an outage.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Which.
    pub outage: Outage,
    /// How long it lasted.
    pub lasted: Duration,
    /// What the agent said of itself, from the beginning of the cause until everything was delivered.
    pub trace: Vec<Change>,
    /// How long after the end of the cause the first event arrived that was written after it.
    pub recovery: Duration,
    /// How many events were committed.
    pub events: usize,
    /// How many records came more than once.
    pub copies: u64,
    /// The most resident memory that the agent had, in bytes.
    pub memory: u64,
    /// How much of a processor the threads of Kafka's client took while it lasted; 1 is all of it.
    pub client: f64,
    /// What the agent said at the end.
    pub status: Value,
}

/// Plays an outage. Nothing where this machine does not allow it.
///
/// # Errors
/// Where a part does not do what it should, and where anything was lost, invented, out of order or without its number.
pub fn play(outage: Outage, course: Course) -> Result<Option<Observed>> {
    let Some(mut scene) = Scene::of(outage)? else { return Ok(None) };
    let ferry = Plan::proxied(scene.kafka(), Scene::TOPIC)?.rate(course.rate).start()?;
    let trace = Trace::start(&ferry.agent)?;
    let begin = Instant::now();
    scene.begin(outage, &ferry)?;
    let client = running_meanwhile(ferry.agent.pid()?, "rdk:", course.duration)?;
    scene.end(outage)?;
    let lasted = begin.elapsed();
    let recovery = ferry.wait_for_delivery()?;
    let client = client.as_secs_f64() / course.duration.as_secs_f64();
    finish(outage, &ferry, trace, lasted, recovery, client).map(Some)
}

fn finish(
    outage: Outage,
    ferry: &Ferry,
    trace: Trace,
    lasted: Duration,
    recovery: Duration,
    client: f64,
) -> Result<Observed> {
    let (written, ledger) = ferry.settle()?;
    let (trace, memory, status) = trace.finish();
    Ok(Observed {
        outage,
        lasted,
        trace,
        recovery,
        events: written.committed(),
        copies: ledger.copies(),
        memory,
        client,
        status,
    })
}
