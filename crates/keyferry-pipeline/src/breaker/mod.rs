//! Whether anything may be sent.
//!
//! The invariant: **an open breaker drops nothing.** It only keeps the pipeline from sending; the events stay in the journal, and what is in flight stays with
//! the sink, which may still deliver it. It follows that it can never be wrong for longer than one pause: an acknowledgement closes it at any time.
//!
//! - *Closed*: everything is sent. After a failure there is a pause, longer each time in a row.
//! - *Open*: nothing new is sent until the pause is over.
//! - *Half-open*: no more than a probe may be in flight. Progress closes the breaker, a failure or a time-out opens it for the next longer pause.
//!
//! It closes on *progress*: the oldest records in flight were acknowledged. An acknowledgement of later ones would not do: where one topic refuses what the
//! others take, each closing would send everything behind it once more.
//!
//! Faults that stay until a person acts ([`FailureClass::Authentication`] and the like) trip it at once, because nothing is gained by a second try.
//!
//! The pauses are exponential with full jitter, see [`backoff`](crate::backoff). Their ceiling is low, because a recovered destination shall not wait; the load that
//! this saves the destination is that of the probe's size, not of its rarity. The states are those of M. Nygard, "Release It!", 2007. Pure: the time is passed in.

mod report;
mod window;

use std::time::Duration;

use keyferry_event::{Failure, FailureClass};

use crate::backoff::Backoff;
use crate::in_flight::Credit;
use crate::pipeline::Clock;

pub use report::{BreakerReport, BreakerState, Forced, TimeInState, Trip};
pub use window::Outcomes;

use window::Window;

/// When a circuit breaker opens, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// It opens after so many failed attempts without progress between them. An attempt ends with the first failure, after which everything unsettled is sent
    /// again.
    pub consecutive_failures: u32,
    /// It opens when so many of a hundred outcomes of a window are failures.
    pub failure_rate_percent: u8,
    /// It opens when so many of a hundred acknowledgements of a window are slow.
    pub slow_rate_percent: u8,
    /// An acknowledgement is slow when it comes so long after its record was sent. Must be longer than a full credit takes on a slow but healthy link.
    pub slow_call: Duration,
    /// Over how long the rates are taken.
    pub window: Duration,
    /// Rates say nothing below so many outcomes in the window.
    pub minimum_outcomes: u64,
    /// It opens when nothing has been acknowledged for so long although something is in flight.
    pub oldest_unacknowledged: Duration,
    /// The first pause is shorter than this; each further one may be twice as long.
    pub open_initial: Duration,
    /// No pause is longer.
    pub open_ceiling: Duration,
    /// What may be in flight while it is half-open: at least one transaction always may.
    pub probe: Credit,
    /// A probe that has made no progress for so long has failed.
    pub probe_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            consecutive_failures: 3,
            failure_rate_percent: 50,
            slow_rate_percent: 90,
            slow_call: Duration::from_secs(30),
            window: Duration::from_secs(10),
            minimum_outcomes: 100,
            oldest_unacknowledged: Duration::from_secs(5),
            open_initial: Duration::from_millis(200),
            open_ceiling: Duration::from_secs(3),
            probe: Credit { bytes: 256 << 10, records: 16 },
            probe_timeout: Duration::from_secs(5),
        }
    }
}

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Nothing.
    Nothing,
    /// As long as less than this is in flight.
    Probe(Credit),
    /// As much as there is credit for.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open,
    HalfOpen {
        /// When the probe has failed; `None` until one is in flight.
        deadline_ms: Option<u64>,
    },
}

/// A circuit breaker between a pipeline and its sink.
#[derive(Debug)]
pub struct CircuitBreaker {
    settings: Settings,
    backoff: Backoff,
    window: Window,
    state: State,
    forced: Option<Forced>,
    cause: Option<(Trip, String)>,
    /// Nothing is attempted before.
    retry_at_ms: u64,
    consecutive_failures: u32,
    /// When it closed last. Of the time before nobody can tell whether the destination was slow.
    closed_at_ms: u64,
    since_ms: u64,
    /// Up to when the time in each state is counted; `None` before the first tick.
    counted_to_ms: Option<u64>,
    time_in_state_ms: TimeInState,
    opened_total: u64,
    half_opened_total: u64,
    closed_total: u64,
}

impl CircuitBreaker {
    /// A closed breaker. `seed` is that of the pauses' jitter.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            backoff: Backoff::new(settings.open_initial, settings.open_ceiling, seed),
            window: Window::new(settings.window),
            settings,
            state: State::Closed,
            forced: None,
            cause: None,
            retry_at_ms: 0,
            consecutive_failures: 0,
            closed_at_ms: 0,
            since_ms: 0,
            counted_to_ms: None,
            time_in_state_ms: TimeInState::default(),
            opened_total: 0,
            half_opened_total: 0,
            closed_total: 0,
        }
    }

    /// From now on it decides by other settings. Where it stands is not changed by that.
    pub fn set_settings(&mut self, settings: Settings) {
        self.backoff.set_limits(settings.open_initial, settings.open_ceiling);
        if settings.window != self.settings.window {
            self.window = Window::new(settings.window);
        }
        self.settings = settings;
    }

    /// Time has passed, and `forced` is what the operator wants now.
    pub fn tick(&mut self, now_ms: u64, forced: Option<Forced>) {
        self.count_time(now_ms);
        self.obey(forced, now_ms);
        match self.state {
            State::Open if self.forced.is_none() && now_ms >= self.retry_at_ms => {
                self.enter(State::HalfOpen { deadline_ms: None }, now_ms);
            }
            State::HalfOpen { deadline_ms: Some(deadline) } if now_ms >= deadline => {
                self.retry_at_ms = now_ms + millis(self.backoff.next_delay());
                self.enter(State::Open, now_ms);
            }
            _ => {}
        }
    }

    /// What may be sent now.
    pub fn permit(&self, now_ms: u64) -> Permit {
        match self.state {
            State::Open => Permit::Nothing,
            State::Closed if now_ms < self.retry_at_ms => Permit::Nothing,
            State::Closed => Permit::All,
            State::HalfOpen { .. } => Permit::Probe(self.settings.probe),
        }
    }

    /// Whether a sink that could not begin anew may try again. That is no question of the state: a sink that is gone delivers nothing that is in flight.
    pub fn may_retry(&self, now_ms: u64) -> bool {
        now_ms >= self.retry_at_ms
    }

    /// Something is in flight: the probe's time begins to run, if this is one.
    pub fn sent(&mut self, now_ms: u64) {
        if let State::HalfOpen { deadline_ms: deadline @ None } = &mut self.state {
            *deadline = Some(now_ms + millis(self.settings.probe_timeout));
        }
    }

    /// Records had outcomes. `progress` is whether the oldest in flight were among those acknowledged.
    pub fn settled(&mut self, outcomes: Outcomes, progress: bool, now_ms: u64) {
        if outcomes == Outcomes::default() {
            return;
        }
        self.window.add(outcomes, now_ms);
        let is_slow = outcomes.acknowledged == outcomes.slow;
        let still_slow = is_slow && self.tripped_by() == Some(Trip::SlowCalls);
        if progress && outcomes.acknowledged > 0 && !still_slow {
            self.recovered(now_ms);
        }
        let Settings { slow_rate_percent, minimum_outcomes, .. } = self.settings;
        let sum = self.window.sum(now_ms);
        if self.may_trip() && sum.are_slow_at(slow_rate_percent, minimum_outcomes) {
            let what = format!(
                "{} of the last {} acknowledgements took longer than {:?}",
                sum.slow, sum.acknowledged, self.settings.slow_call
            );
            self.trip_after_pause(Trip::SlowCalls, what, now_ms);
        }
    }

    /// An attempt has failed, and everything unsettled is to be sent again.
    pub fn failed(&mut self, failure: &Failure, now_ms: u64) {
        if failure.class == FailureClass::Poison {
            // The destination is well enough to refuse.
            self.recovered(now_ms);
            return;
        }
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        self.retry_at_ms = now_ms + millis(self.backoff.next_delay());
        match self.cause_of(failure, now_ms) {
            Some((trip, what)) => self.trip(trip, what, now_ms),
            None if matches!(self.state, State::HalfOpen { .. }) => self.enter(State::Open, now_ms),
            None => {}
        }
    }

    /// Why this failure opens the breaker, if it does.
    fn cause_of(&self, failure: &Failure, now_ms: u64) -> Option<(Trip, String)> {
        if let Some(standing) = standing_fault(failure.class) {
            return Some((standing, failure.reason.clone()));
        }
        let Settings { consecutive_failures, failure_rate_percent, minimum_outcomes, .. } = self.settings;
        if self.consecutive_failures >= consecutive_failures {
            let what = format!("{} failures in a row: {failure}", self.consecutive_failures);
            return Some((Trip::ConsecutiveFailures, what));
        }
        let sum = self.window.sum(now_ms);
        sum.fail_at(failure_rate_percent, minimum_outcomes).then(|| {
            let all = sum.failed + sum.acknowledged;
            (Trip::FailureRate, format!("{} of the last {all} records have failed: {failure}", sum.failed))
        })
    }

    /// The sink has noticed `trouble` by itself.
    pub fn troubled(&mut self, trouble: &Failure, now_ms: u64) {
        if self.may_trip()
            && let Some(standing) = standing_fault(trouble.class)
        {
            self.trip_after_pause(standing, trouble.reason.clone(), now_ms);
        }
    }

    /// What is to be sent next has no schema that a consumer could read it by: at once, because nothing behind it may be sent either. An acknowledgement of what is in flight
    /// closes the breaker as ever, and the next look opens it again.
    pub fn withheld(&mut self, failure: &Failure, now_ms: u64) {
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        self.trip_after_pause(Trip::SchemaRegistry, failure.reason.clone(), now_ms);
    }

    /// The sink has other connections than those that it has opened for, and they have reached the destination: they are tried at once.
    pub fn renewed(&mut self, now_ms: u64) {
        self.retry_at_ms = self.retry_at_ms.min(now_ms);
    }

    /// Nothing has been acknowledged for `stalled_ms` although something is in flight; `complaint` is what the sink says of it.
    pub fn stalled(&mut self, stalled_ms: u64, complaint: impl FnOnce() -> Option<String>, now_ms: u64) {
        if self.may_trip() && stalled_ms >= millis(self.settings.oldest_unacknowledged) {
            let why = complaint().map(|complaint| format!(": {complaint}")).unwrap_or_default();
            let what =
                format!("nothing has been acknowledged for {:?}{why}", Duration::from_millis(stalled_ms));
            self.trip_after_pause(Trip::OldestUnacknowledged, what, now_ms);
        }
    }

    /// Records that were sent before this are slow if they are acknowledged now. The time before the breaker closed last does not count: what was in flight
    /// through an outage is late, and the destination is well again.
    pub fn slow_if_sent_before(&self, now_ms: u64) -> u64 {
        let limit = now_ms.saturating_sub(millis(self.settings.slow_call));
        if limit > self.closed_at_ms { limit } else { 0 }
    }

    /// When it has something to do of itself; `None` if it waits for others.
    pub fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        match self.state {
            State::Open if self.forced.is_none() => Some(self.retry_at_ms),
            State::Closed if now_ms < self.retry_at_ms => Some(self.retry_at_ms),
            State::HalfOpen { deadline_ms } => deadline_ms,
            _ => None,
        }
    }

    /// The state.
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Why it has opened, in words; `None` while it is closed.
    pub fn detail(&self) -> Option<&str> {
        self.cause.as_ref().map(|(_, detail)| detail.as_str())
    }

    /// What there is to tell.
    pub fn report(&self, clock: Clock) -> BreakerReport {
        let now = clock.monotonic_ms;
        let ago = now.saturating_sub(self.since_ms);
        let next = self.wake_at_ms(now).filter(|_| self.state() != BreakerState::HalfOpen);
        BreakerReport {
            state: self.state(),
            forced: self.forced,
            reason: self.tripped_by(),
            detail: self.detail().map(ToOwned::to_owned),
            since_ms: clock.wall_ms.saturating_sub(ago),
            next_attempt_ms: next.map(|at| clock.wall_ms + at.saturating_sub(now)),
            opened_total: self.opened_total,
            half_opened_total: self.half_opened_total,
            closed_total: self.closed_total,
            consecutive_failures: self.consecutive_failures,
            time_in_state_ms: self.time_in_state_ms,
        }
    }

    fn tripped_by(&self) -> Option<Trip> {
        self.cause.as_ref().map(|(trip, _)| *trip)
    }

    fn obey(&mut self, forced: Option<Forced>, now_ms: u64) {
        if self.forced == forced {
            return;
        }
        self.forced = forced;
        match forced {
            Some(Forced::Open) => {
                self.cause = Some((Trip::Forced, "an operator has forced it open".to_owned()));
                self.enter(State::Open, now_ms);
            }
            Some(Forced::Closed) => self.close(now_ms),
            None => self.retry_at_ms = now_ms,
        }
    }

    /// The destination answers.
    fn recovered(&mut self, now_ms: u64) {
        self.consecutive_failures = 0;
        self.backoff.reset();
        self.retry_at_ms = self.retry_at_ms.min(now_ms);
        if self.forced != Some(Forced::Open) {
            self.close(now_ms);
        }
    }

    fn close(&mut self, now_ms: u64) {
        if self.state != State::Closed {
            self.cause = None;
            self.window.clear();
            self.closed_at_ms = now_ms;
            self.enter(State::Closed, now_ms);
        }
    }

    fn may_trip(&self) -> bool {
        self.state == State::Closed && self.forced.is_none()
    }

    fn trip_after_pause(&mut self, trip: Trip, what: String, now_ms: u64) {
        self.retry_at_ms = now_ms + millis(self.backoff.next_delay());
        self.trip(trip, what, now_ms);
    }

    /// Opens, or is open for another cause now. What an operator has forced stays as it is.
    fn trip(&mut self, trip: Trip, what: String, now_ms: u64) {
        if self.forced.is_some() {
            return;
        }
        self.cause = Some((trip, what));
        if self.state != State::Open {
            self.enter(State::Open, now_ms);
        }
    }

    fn enter(&mut self, state: State, now_ms: u64) {
        self.state = state;
        self.since_ms = now_ms;
        match state {
            State::Closed => self.closed_total += 1,
            State::Open => self.opened_total += 1,
            State::HalfOpen { .. } => self.half_opened_total += 1,
        }
    }

    fn count_time(&mut self, now_ms: u64) {
        let Some(counted_to_ms) = self.counted_to_ms.replace(now_ms) else {
            (self.since_ms, self.closed_at_ms) = (now_ms, now_ms);
            return;
        };
        let passed = now_ms.saturating_sub(counted_to_ms);
        *match self.state {
            State::Closed => &mut self.time_in_state_ms.closed,
            State::Open => &mut self.time_in_state_ms.open,
            State::HalfOpen { .. } => &mut self.time_in_state_ms.half_open,
        } += passed;
    }
}

/// The trip of a fault that stays until a person acts; `None` of any other class.
fn standing_fault(class: FailureClass) -> Option<Trip> {
    match class {
        FailureClass::Authentication => Some(Trip::Authentication),
        FailureClass::Authorisation => Some(Trip::Authorisation),
        FailureClass::Configuration => Some(Trip::Configuration),
        FailureClass::Transient | FailureClass::Throttled | FailureClass::Fatal | FailureClass::Poison => {
            None
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
