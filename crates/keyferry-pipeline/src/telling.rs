//! What the pipeline tells: its report, and what is worth a line in the log.

use keyferry_event::Sink;
use keyferry_journal::Storage;

use crate::aside::Aside;
use crate::backpressure::Measures;
use crate::breaker::{BreakerState, CircuitBreaker, Forced, Permit};
use crate::pipeline::{Clock, Pipeline};
use crate::report::{Report, State};

/// A destination that has settled nothing for so long, with records in flight, counts as blocked.
const BLOCKED_AFTER_MS: u64 = 2_000;

impl<S: Storage, K: Sink, A: Aside> Pipeline<S, K, A> {
    /// The circuit breaker.
    pub fn breaker(&self) -> &CircuitBreaker {
        &self.breaker
    }

    /// What there is to tell. The pressure is judged by it, so it wants to be called about once a second.
    pub fn report(&mut self, clock: Clock) -> Report {
        // A backlog that cannot be measured is reported as before; the next turn meets the same fault and names it.
        let settled = self.settled.map(|progress| progress.resume);
        if let Ok(backlog) = self.feed.backlog(settled.as_ref(), clock.monotonic_ms) {
            self.sender.report.backlog_bytes = backlog;
        }
        self.judge_pressure(clock);
        let outbox = &mut self.sender.outbox;
        let mut report = Report {
            held: outbox.aside.held(),
            oldest_unacknowledged_ms: outbox.in_flight.oldest_written_ms(),
            in_flight_records: outbox.in_flight.len(),
            in_flight_bytes: outbox.in_flight.bytes(),
            breaker: self.breaker.report(clock),
            backpressure: self.backpressure.report(clock),
            ..self.sender.report.clone()
        };
        (report.state, report.reason) = self.state(clock);
        report
    }

    fn state(&self, clock: Clock) -> (State, Option<String>) {
        let is_held_back = self.permit(clock) == Permit::Nothing;
        if (self.is_drained() || self.awaits_settling()) && !is_held_back {
            return (State::Idle, None);
        }
        let is_stalled =
            !self.sender.outbox.in_flight.is_empty() && self.stalled_ms(clock) >= BLOCKED_AFTER_MS;
        if is_held_back || is_stalled || self.breaker.state() != BreakerState::Closed {
            (State::Blocked, Some(self.why_blocked(clock)))
        } else {
            (State::Delivering, None)
        }
    }

    fn why_blocked(&self, clock: Clock) -> String {
        if self.sender.settings.controls.forced_breaker() == Some(Forced::Open) {
            return "the circuit breaker is forced open".to_owned();
        }
        let nothing = || format!("nothing has been acknowledged for {} s", self.stalled_ms(clock) / 1_000);
        let complaint = self.sender.outbox.complaint();
        complaint.or_else(|| self.breaker.detail().map(ToOwned::to_owned)).unwrap_or_else(nothing)
    }

    fn judge_pressure(&mut self, clock: Clock) {
        let backlog_bytes = self.sender.report.backlog_bytes;
        let settings = &self.sender.settings;
        let below_ceiling = settings.ceiling.map(|ceiling| ceiling.max_bytes.saturating_sub(backlog_bytes));
        let room_bytes = [below_ceiling, settings.controls.free_bytes()].into_iter().flatten().min();
        let oldest_ms = self.oldest_ms().map(|at| clock.wall_ms.saturating_sub(at));
        let measures = Measures { backlog_bytes, oldest_ms, room_bytes };
        let change = self.backpressure.observe(measures, clock.monotonic_ms);
        self.sender.shedding.level = self.backpressure.level();
        if let Some(change) = change {
            if change.to > change.from {
                tracing::warn!("backpressure rises from {} to {}: {}", change.from, change.to, change.why);
            } else {
                tracing::info!("backpressure falls from {} to {}: {}", change.from, change.to, change.why);
            }
        }
    }

    /// Says once that the destination is failing, and once that it is not any more.
    pub(crate) fn tell_if_failing(&mut self, clock: Clock) {
        let timeout = self.sender.settings.delivery_timeout;
        let failing = u128::from(self.stalled_ms(clock)) >= timeout.as_millis();
        match (self.failing, failing) {
            (false, true) => tracing::error!(
                "nothing has been acknowledged for {timeout:?}: {}; the journal keeps the events",
                self.sender.outbox.complaint().unwrap_or_else(|| "the cause is not known".to_owned())
            ),
            (true, false) => tracing::info!("delivery goes on"),
            _ => {}
        }
        self.failing = failing;
    }

    /// Says that the circuit breaker has opened, and that it has closed. What it does between is only for who looks closely.
    pub(crate) fn tell_of_breaker(&mut self) {
        let now = self.breaker.state();
        let before = std::mem::replace(&mut self.told_breaker, now);
        let why = self.breaker.detail().unwrap_or_default();
        match (before, now) {
            (before, now) if before == now => {}
            (BreakerState::Closed, _) => {
                tracing::warn!(
                    "the circuit breaker opens: {why}; nothing new is sent, the journal keeps the events"
                );
            }
            (_, BreakerState::Closed) => tracing::info!("the circuit breaker closes"),
            (_, BreakerState::HalfOpen) => tracing::debug!("the circuit breaker is half-open: {why}"),
            (_, BreakerState::Open) => tracing::debug!("the circuit breaker opens again: {why}"),
        }
    }

    /// Damage before the point where reading began again is no gap in what is still to come, unless a transaction was open there: so it is told of, and
    /// takes no number.
    pub(crate) fn tell_of_old_damage(&mut self) {
        let Some(range) = self.feed.take_damage_met_again().filter(|range| self.told.as_ref() != Some(range))
        else {
            return;
        };
        self.sender.report.damaged_ranges += 1;
        tracing::error!(
            "bytes {} to {} of segment {} cannot be read; they were read or reported before, but events of a transaction that had no outcome then may be lost",
            range.from,
            range.to,
            range.segment
        );
        self.told = Some(range);
    }
}
