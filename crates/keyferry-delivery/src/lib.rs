//! The pipeline as it ships: from the directory of a slot to a pool of connections to Kafka.
//!
//! The pipeline is generic in what it reads from and what it delivers to, so that a simulation can run it; code that is generic is compiled where its types are known. That is here and not in the binary,
//! for one reason: what each event passes through is compiled to be fast, and the binary, most of which is looked at once, to be small (`[profile.release]` in the workspace's `Cargo.toml`).

use keyferry_journal::{Feed, FeedOptions, SlotDirectory, Watch};
use keyferry_kafka::ConnectionPoolManager;
use keyferry_pipeline::{
    DrainLimits, Ended, Phase, Pipeline, Report, RunError, Settings, SideFiles, Start, Stop,
};

/// One slot on its way to one destination.
pub type Delivery = Pipeline<SlotDirectory, ConnectionPoolManager, SideFiles>;

/// The delivery of what `slot` holds from `start` on.
///
/// # Errors
/// The journal cannot be read.
pub fn begin(
    slot: SlotDirectory,
    options: FeedOptions,
    start: Start,
    sink: ConnectionPoolManager,
    aside: SideFiles,
    settings: Settings,
) -> Result<Delivery, keyferry_journal::Error> {
    let feed = Feed::open(slot, start.resume(), options)?;
    Ok(Pipeline::new(feed, start, sink, aside, settings))
}

/// Runs it until `stop` is given, and drains it then: [`keyferry_pipeline::run`].
///
/// # Errors
/// The journal cannot be read on, or the operating system refuses to wait.
pub fn run(
    delivery: &mut Delivery,
    watch: &mut Watch,
    stop: &mut dyn Stop,
    limits: DrainLimits,
    observe: &mut dyn FnMut(&Report, Phase),
) -> Result<Ended, RunError> {
    keyferry_pipeline::run(delivery, watch, stop, limits, observe)
}
