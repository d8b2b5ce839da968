//! The edge: one plain thread that waits for the journal, the sink and the word to stop, and lets the pipeline take its turns between.
//!
//! The invariant: **the thread sleeps in poll(2) and nowhere else.** Whatever there is to do (an appended record, an
//! acknowledgement, the parent's end) makes a descriptor readable; the time-out only bounds how old the report may get. Idle costs one
//! wake-up a second, and a stream of many events a wake-up in a while ([`pace`](crate::pace)) in place of one for each.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyferry_event::Sink;
use keyferry_journal::{Storage, Watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::aside::Aside;
use crate::pace::{Pace, patience_ms};
use crate::pipeline::{Clock, Error, Pipeline, Turn, millis};
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
    /// Time ran out, or the rest is not old enough to be published; the journal keeps it.
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

/// The report is at most this old.
const REPORT_INTERVAL_MS: u64 = 1_000;

/// Runs `pipeline` until `stop` is given, then drains it.
///
/// `observe` gets a report about once a second, and a last one.
///
/// # Errors
/// The journal cannot be read on, or the operating system refuses to wait.
pub fn run<S: Storage, K: Sink, A: Aside>(
    pipeline: &mut Pipeline<S, K, A>,
    watch: &mut Watch,
    stop: &mut dyn Stop,
    limits: DrainLimits,
    observe: &mut dyn FnMut(&Report, Phase),
) -> Result<Ended, RunError> {
    let clock = SystemClock::start();
    let mut phase = Phase::Running;
    let mut draining_since = 0;
    let mut observed_at = None;
    let mut followed = None;
    let mut woken = Woken::default();
    let mut pace = Pace::default();
    loop {
        let now = clock.read();
        let turn = pipeline.turn(now)?;
        if woken.watched {
            watch.judge(woken.journal, turn.found);
        }
        pace.looked(turn.has_found_all(now), pipeline.rest_ms(), now.monotonic_ms);
        if observed_at.is_none_or(|at| now.monotonic_ms >= at + REPORT_INTERVAL_MS) {
            observed_at = Some(now.monotonic_ms);
            observe(&pipeline.report(now), phase);
        }
        if phase == Phase::Draining
            && let Some(ended) = drained(pipeline, limits, now, draining_since)
        {
            pipeline.checkpoint(now)?;
            observe(&pipeline.report(now), Phase::Stopped);
            return Ok(ended);
        }
        if turn.segment != followed
            && let Some(segment) = turn.segment
        {
            followed = turn.segment;
            watch.follow(segment);
            // What was written before the watch began would wake nobody.
            woken = Woken::default();
            continue;
        }
        // A stop that has been given stays readable: waiting for it again would spin.
        let stops = if phase == Phase::Running { stop.descriptors() } else { Vec::new() };
        woken = match pace.rest_ms(now.monotonic_ms) {
            Some(rest_ms) if phase == Phase::Running => leave_alone(pipeline, &clock, &stops, rest_ms)?,
            _ => wait(pipeline, watch, &stops, turn, now)?,
        };
        if woken.stop && stop.is_given() {
            phase = Phase::Draining;
            draining_since = now.monotonic_ms;
            observed_at = None;
        }
    }
}

/// How draining has ended, if it has.
fn drained<S: Storage, K: Sink, A: Aside>(
    pipeline: &Pipeline<S, K, A>,
    limits: DrainLimits,
    now: Clock,
    since_ms: u64,
) -> Option<Ended> {
    if pipeline.is_drained() {
        return Some(Ended::Drained);
    }
    if pipeline.awaits_settling() {
        return Some(Ended::Undelivered);
    }
    let taken = now.monotonic_ms - since_ms;
    let stalled = pipeline.stalled_ms(now).min(taken);
    (taken >= millis(limits.total) || stalled >= millis(limits.stalled)).then_some(Ended::Undelivered)
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

/// What ended a wait.
#[derive(Clone, Copy, Default)]
struct Woken {
    /// A descriptor that may carry the word to stop is ready.
    stop: bool,
    /// The journal was waited for, and either it or nothing ended the wait.
    watched: bool,
    /// The journal has signalled.
    journal: bool,
}

/// Waits for what `turn` asks for.
fn wait<S: Storage, K: Sink, A: Aside>(
    pipeline: &Pipeline<S, K, A>,
    watch: &mut Watch,
    stops: &[BorrowedFd<'_>],
    turn: Turn,
    now: Clock,
) -> Result<Woken, RunError> {
    let until = turn.wake_at_ms.map(|at| Duration::from_millis(at.saturating_sub(now.monotonic_ms)));
    let timeout = until.unwrap_or(Duration::MAX).min(watch.timeout());
    let journal = turn.journal.then(|| watch.descriptor()).flatten();
    let sink = pipeline.sink().readiness();
    let first_stop = usize::from(journal.is_some()) + usize::from(sink.is_some());
    let mut descriptors = poll_for(journal.into_iter().chain(sink).chain(stops.iter().copied()));
    let Some(ready) = sleep(&mut descriptors, timeout)? else { return Ok(Woken::default()) };
    let stop = descriptors[first_stop..].iter().any(is_ready);
    let watched = journal.is_some();
    let signalled = watched && is_ready(&descriptors[0]);
    drop(descriptors);
    let journal = signalled && watch.drain().map_err(Error::from)?;
    Ok(Woken { stop, watched: watched && (journal || ready == 0), journal })
}

/// Leaves the journal alone for so many milliseconds, and then until everything that is under way is acknowledged, if that does not take too long. Only the word to stop ends it sooner.
fn leave_alone<S: Storage, K: Sink, A: Aside>(
    pipeline: &mut Pipeline<S, K, A>,
    clock: &SystemClock,
    stops: &[BorrowedFd<'_>],
    rest_ms: u64,
) -> Result<Woken, RunError> {
    let mut woken = rest(stops, rest_ms)?;
    let until_ms = clock.read().monotonic_ms + patience_ms(pipeline.rest_ms());
    while !woken.stop && pipeline.has_under_way() {
        let left_ms = until_ms.saturating_sub(clock.read().monotonic_ms);
        let Some(sink) = pipeline.sink().readiness().filter(|_| left_ms > 0) else { break };
        let mut descriptors = poll_for(std::iter::once(sink).chain(stops.iter().copied()));
        let ready = sleep(&mut descriptors, Duration::from_millis(left_ms))?;
        woken.stop = ready.is_some() && descriptors[1..].iter().any(is_ready);
        pipeline.take_in(clock.read())?;
    }
    Ok(woken)
}

/// Leaves journal and sink alone.
fn rest(stops: &[BorrowedFd<'_>], rest_ms: u64) -> Result<Woken, RunError> {
    let ready = sleep(&mut poll_for(stops.iter().copied()), Duration::from_millis(rest_ms))?;
    Ok(Woken { stop: ready.is_some_and(|ready| ready > 0), ..Woken::default() })
}

fn poll_for<'fd>(descriptors: impl Iterator<Item = BorrowedFd<'fd>>) -> Vec<PollFd<'fd>> {
    descriptors.map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN)).collect()
}

fn is_ready(descriptor: &PollFd<'_>) -> bool {
    !descriptor.revents().is_empty()
}

/// Sleeps until a descriptor is ready or the time is over, and answers how many are ready; `None` if a signal came: its handler has written to a descriptor that the next round finds readable.
fn sleep(descriptors: &mut [PollFd<'_>], timeout: Duration) -> Result<Option<usize>, RunError> {
    match poll(descriptors, Some(&timespec(timeout))) {
        Ok(ready) => Ok(Some(ready)),
        Err(rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(RunError::Wait(error.into())),
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs().cast_signed(), tv_nsec: i64::from(duration.subsec_nanos()) }
}
