//! What the pipeline does when the destination fails, and how it goes on.
//!
//! The invariants:
//!
//! - **A failure rewinds.** Everything that is not settled is taken back, the sink is reset, and what was taken back is read from the journal and sent again, in order.
//! - **Whether anything is sent is the circuit breaker's decision alone**; here it is told what happens, and obeyed.

use keyferry_event::{Failure, Sink};
use keyferry_journal::Storage;

use crate::aside::Aside;
use crate::breaker::{BreakerState, Permit};
use crate::controls::Tunables;
use crate::in_flight::Progress;
use crate::pipeline::{Clock, Error, Pipeline};

/// A sink that has settled nothing for so long, with records in flight, is asked whether it has lost its destination.
const LOST_AFTER_MS: u64 = 1_000;

impl<S: Storage, K: Sink, A: Aside> Pipeline<S, K, A> {
    /// Reads what others ask for.
    pub(crate) fn heed_controls(&mut self, clock: Clock) {
        if let Some(tunables) = self.sender.settings.controls.take_tunables() {
            self.retune(tunables);
        }
        let settings = &self.sender.settings;
        self.breaker.tick(clock.monotonic_ms, settings.controls.forced_breaker());
        self.sender.outbox.in_flight.set_credit(settings.controls.credit(settings.credit));
    }

    fn retune(&mut self, tunables: Tunables) {
        let Tunables { headers, format, settle_delay, retention, delivery_timeout, breaker, backpressure } =
            tunables;
        self.breaker.set_settings(breaker.clone());
        self.backpressure.set_settings(backpressure);
        self.sender.retune(headers, format);
        self.settling.set_delay(settle_delay);
        let settings = &mut self.sender.settings;
        (settings.retention, settings.delivery_timeout) = (retention, delivery_timeout);
        (settings.breaker, settings.backpressure) = (breaker, backpressure);
    }

    /// What may be sent now.
    pub(crate) fn permit(&self, clock: Clock) -> Permit {
        if self.is_broken { Permit::Nothing } else { self.breaker.permit(clock.monotonic_ms) }
    }

    /// Whether another transaction may be sent now.
    pub(crate) fn may_send(&self, clock: Clock) -> bool {
        let in_flight = &self.sender.outbox.in_flight;
        let is_permitted = match self.permit(clock) {
            Permit::Nothing => false,
            Permit::Probe(probe) => in_flight.is_within(probe),
            Permit::All => true,
        };
        is_permitted && in_flight.has_credit()
    }

    /// While nothing may be sent the journal is not read, and whatever comes there is not settled. The time without an acknowledgement begins then.
    pub(crate) fn lose_sight(&mut self, clock: Clock) {
        if self.is_drained() || self.awaits_settling() {
            self.sender.outbox.settled_at_ms = clock.monotonic_ms;
        }
        self.caught_up = false;
        self.settling.forget();
    }

    /// Takes in the outcomes.
    pub(crate) fn collect(&mut self, clock: Clock) -> Result<(), Error> {
        let now_ms = clock.monotonic_ms;
        let collected = self.sender.collect(clock, self.breaker.slow_if_sent_before(now_ms));
        let progress = self.sender.outbox.in_flight.take_progress();
        if let Some(progress) = progress {
            self.reach(progress);
        }
        self.breaker.settled(collected.outcomes, progress.is_some(), now_ms);
        self.owed.forget_if_settled(&mut self.sender.outbox, self.kept.noted());
        let is_stalled = self.stalled_ms(clock) >= LOST_AFTER_MS;
        let lost = || is_stalled.then(|| self.sender.outbox.sink.lost()).flatten();
        if let Some(failure) = collected.failure.or_else(lost) {
            self.begin_anew(&failure, clock)?;
        }
        if self.sender.outbox.sink.take_renewed() {
            self.breaker.renewed(now_ms);
        }
        self.watch_what_fails_no_record(now_ms);
        Ok(())
    }

    /// A client that tries again without an end fails no record: the breaker hears of its troubles and of its silence.
    fn watch_what_fails_no_record(&mut self, now_ms: u64) {
        if self.breaker.state() != BreakerState::Closed {
            return;
        }
        let outbox = &self.sender.outbox;
        if let Some(trouble) = outbox.sink.trouble() {
            self.breaker.troubled(&trouble, now_ms);
        }
        if let Some(sent_ms) = outbox.in_flight.oldest_sent_ms() {
            let stalled_ms = now_ms.saturating_sub(sent_ms.max(outbox.settled_at_ms));
            self.breaker.stalled(stalled_ms, || outbox.complaint(), now_ms);
        }
    }

    /// Everything up to `progress` is settled.
    pub(crate) fn reach(&mut self, progress: Progress) {
        if self.settled == Some(progress) {
            return;
        }
        assert!(
            self.settled.is_none_or(|settled| !progress.is_before(&settled)),
            "progress goes backwards: {:?} to {progress:?}",
            self.settled
        );
        self.settled = Some(progress);
        self.unsaved = true;
        self.oldest_taken_back_ms = None;
        self.sender.forget_condemned(progress);
    }

    /// Takes back everything that is not settled and sends it again, in order, as soon as the breaker lets it.
    pub(crate) fn begin_anew(&mut self, failure: &Failure, clock: Clock) -> Result<(), Error> {
        self.sender.outbox.note_failure(failure);
        self.breaker.failed(failure, clock.monotonic_ms);
        self.go_back()?;
        // Where that fails, the pause that follows this failure is that before the next reset as well.
        if let Err(failure) = self.reset_sink() {
            self.sender.outbox.note_failure(&failure);
        }
        Ok(())
    }

    /// Nothing after what is settled counts as sent or read any more.
    pub(crate) fn go_back(&mut self) -> Result<(), Error> {
        self.oldest_taken_back_ms = self.oldest_ms();
        self.sender.rewind(self.settled);
        self.feed.seek(self.settled.map(|progress| progress.resume).as_ref())?;
        self.pending = None;
        self.settling.forget();
        self.owed.send_again();
        self.caught_up = false;
        Ok(())
    }

    /// Begins anew with the sink where that has failed before and is due.
    pub(crate) fn recover(&mut self, clock: Clock) {
        if self.is_broken
            && self.breaker.may_retry(clock.monotonic_ms)
            && let Err(failure) = self.reset_sink()
        {
            self.sender.outbox.note_failure(&failure);
            self.breaker.failed(&failure, clock.monotonic_ms);
        }
    }

    fn reset_sink(&mut self) -> Result<(), Failure> {
        let reset = self.sender.outbox.sink.reset();
        self.is_broken = reset.is_err();
        reset
    }

    /// When the journal got the oldest event that was read and is not settled, in milliseconds since the Unix epoch.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        self.sender.outbox.in_flight.oldest_written_ms().or(self.oldest_taken_back_ms)
    }
}
