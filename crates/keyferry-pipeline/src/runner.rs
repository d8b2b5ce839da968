//! The edge: one plain thread that waits for the journal, the sink and the word to stop, and lets the pipeline take its turns between.
//!
//! The invariant: **the thread sleeps in poll(2) and nowhere else.** Whatever there is to do (an appended record, an
//! acknowledgement, the parent's end) makes a descriptor readable; the time-out only bounds how old the report may get. Idle costs one
//! wake-up a second.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyferry_event::Sink;
use keyferry_journal::{Storage, Watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::dead_letter::DeadLetters;
use crate::pipeline::{Clock, Error, Pipeline, Turn};
use crate::report::Report;

/// The word to stop: descriptors that become readable, or are closed at their other end, when the agent shall drain and end.
pub trait Stop {
    /// The descriptors to wait on.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;
    /// Called when one of them is ready; answers whether the word has been given.
    fn is_given(&mut self) -> bool;
}

/// How long draining may take in all, and without any acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainLimits {
    /// In all.
    pub total: Duration,
    /// Without anything being settled: the destination is away, and the journal keeps the rest.
    pub stalled: Duration,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything was delivered.
    Drained,
    /// Time ran out; the journal keeps the rest.
    Undelivered,
}

/// A clock that is read once a turn.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic side begins now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The time.
    pub fn read(&self) -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { monotonic_ms: millis(self.origin.elapsed()), wall_ms: millis(wall) }
    }
}

/// Saturates after 584 million years.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The report is at most this old.
const REPORT_INTERVAL_MS: u64 = 1_000;

/// Runs `pipeline` until `stop` is given, then drains it.
///
/// `observe` gets a report about once a second, and a last one.
///
/// # Errors
/// The journal cannot be read on, or the operating system refuses to wait.
pub fn run<S: Storage, K: Sink, D: DeadLetters>(
    pipeline: &mut Pipeline<S, K, D>,
    watch: &mut Watch,
    stop: &mut dyn Stop,
    limits: DrainLimits,
    observe: &mut dyn FnMut(&Report, Phase),
) -> Result<Ended, RunError> {
    let clock = SystemClock::start();
    let mut phase = Phase::Running;
    let mut draining_since = 0;
    let mut observed_at = None;
    loop {
        let now = clock.read();
        let turn = pipeline.turn(now)?;
        if observed_at.is_none_or(|at| now.monotonic_ms >= at + REPORT_INTERVAL_MS) {
            observed_at = Some(now.monotonic_ms);
            observe(&pipeline.report(now), phase);
        }
        if phase == Phase::Draining {
            let drained = pipeline.is_drained();
            let late = now.monotonic_ms - draining_since >= millis(limits.total)
                || pipeline.stalled_ms(now) >= millis(limits.stalled);
            if drained || late {
                pipeline.checkpoint(now)?;
                observe(&pipeline.report(now), Phase::Stopped);
                return Ok(if drained { Ended::Drained } else { Ended::Undelivered });
            }
        }
        // A stop that has been given stays readable: waiting for it again would spin.
        let stops = if phase == Phase::Running { stop.descriptors() } else { Vec::new() };
        let stop_is_ready = wait(pipeline, watch, &stops, turn, now)?;
        if stop_is_ready && stop.is_given() {
            phase = Phase::Draining;
            draining_since = now.monotonic_ms;
            observed_at = None;
        }
    }
}

/// What the run is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Delivering as long as nobody says stop.
    Running,
    /// Delivering the rest.
    Draining,
    /// Ended.
    Stopped,
}

/// A run ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The pipeline cannot go on.
    #[error(transparent)]
    Pipeline(#[from] Error),
    /// The operating system refuses to wait.
    #[error("cannot wait for the journal and the sink: {0}")]
    Wait(#[source] io::Error),
}

/// Waits for what `turn` asks for; answers whether one of `stops` is ready.
fn wait<S: Storage, K: Sink, D: DeadLetters>(
    pipeline: &Pipeline<S, K, D>,
    watch: &mut Watch,
    stops: &[BorrowedFd<'_>],
    turn: Turn,
    now: Clock,
) -> Result<bool, RunError> {
    let journal = turn.journal.then(|| watch.descriptor()).flatten();
    let sink = pipeline.sink().readiness();
    let first_stop = usize::from(journal.is_some()) + usize::from(sink.is_some());
    let mut descriptors: Vec<PollFd<'_>> = journal
        .iter()
        .chain(sink.iter())
        .chain(stops.iter())
        .map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN))
        .collect();
    let patience = if turn.journal { watch.patience() } else { Duration::from_millis(REPORT_INTERVAL_MS) };
    let timeout = turn
        .wake_at_ms
        .map_or(patience, |at| patience.min(Duration::from_millis(at.saturating_sub(now.monotonic_ms))));
    match poll(&mut descriptors, Some(&timespec(timeout))) {
        // A signal: its handler has written to a descriptor that the next round finds readable.
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(RunError::Wait(error.into())),
    }
    let is_ready = |descriptor: &PollFd<'_>| !descriptor.revents().is_empty();
    let stop_is_ready = descriptors[first_stop..].iter().any(is_ready);
    let journal_is_ready = journal.is_some() && is_ready(&descriptors[0]);
    drop(descriptors);
    if journal_is_ready {
        watch.drain();
    }
    Ok(stop_is_ready)
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs().cast_signed(), tv_nsec: i64::from(duration.subsec_nanos()) }
}
