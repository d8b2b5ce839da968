//! What is known of events, and of how they are delivered.

use keyferry_journal::EventKind;
use keyferry_pipeline::backpressure::Level;
use keyferry_pipeline::meter::{OfClass, OfRealm};
use keyferry_pipeline::{BreakerReport, BreakerState, Meter, Report};

use super::catalog::*;
use super::collector::{Observation, Observed};
use super::definition::Metric;
use super::sample::Samples;
use crate::status::AgentState;

/// How many milliseconds make a second.
const MILLIS: f64 = 1_000.0;

pub(super) fn collect(shipments: &[Observation]) -> Samples {
    let mut samples = Samples::default();
    for Observation { slot, destination, standing } in shipments {
        let mut of = Of { slot, destination, samples: &mut samples };
        match standing {
            Ok(observed) => of.observed(observed),
            Err(backlog_bytes) => {
                of.state(AgentState::Waiting);
                of.count(&BACKLOG_BYTES, &[], *backlog_bytes);
            }
        }
    }
    samples
}

/// Adds samples of one shipment.
struct Of<'a> {
    slot: &'a str,
    destination: &'a str,
    samples: &'a mut Samples,
}

impl Of<'_> {
    fn observed(&mut self, Observed { report, phase, meter, .. }: &Observed) {
        self.state(AgentState::of(report, *phase));
        self.counted(meter);
        self.security(meter);
        self.times(meter);
        self.reported(report);
        self.backlog(report, meter);
        self.breaker(&report.breaker);
    }

    fn state(&mut self, now: AgentState) {
        let all = AgentState::ALL.map(AgentState::word);
        self.samples.state(&SHIPMENT_STATE, &[self.slot, self.destination], &all, now.word());
    }

    fn counted(&mut self, meter: &Meter) {
        for (metric, of) in meter
            .events_received()
            .map(|of| (&EVENTS_RECEIVED, of))
            .chain(meter.events_published().map(|of| (&EVENTS_PUBLISHED, of)))
        {
            let OfClass { kind, event_type, realm, count } = of;
            self.count(metric, &[word(kind), event_type, realm], count);
        }
        for (kind, count) in meter.events_filtered() {
            self.count(&EVENTS_FILTERED, &[word(kind)], count);
        }
        for (kind, count) in meter.bytes_sent() {
            self.count(&SENT_BYTES, &[word(kind)], count);
        }
        for (class, count) in meter.failures() {
            self.count(&RECORDS_FAILED, &[class.name()], count);
        }
        self.count(&EVENTS_RESENT, &[], meter.events_resent());
    }

    fn security(&mut self, meter: &Meter) {
        self.by_realm(&LOGINS, meter.logins());
        self.by_realm(&LOGIN_FAILURES, meter.login_failures());
        self.by_realm(&LOGIN_ERRORS, meter.login_errors());
        self.by_realm(&REGISTRATIONS, meter.registrations());
        self.by_realm(&LOCKOUTS, meter.lockouts());
    }

    fn by_realm<'a>(&mut self, metric: &'static Metric, figures: impl Iterator<Item = OfRealm<'a>>) {
        figures.for_each(|OfRealm { realm, of, count }| self.count(metric, &[realm, of], count));
    }

    fn times(&mut self, meter: &Meter) {
        let labels = [self.slot, self.destination];
        for (metric, histogram, exemplars) in [
            (&LATENCY, meter.latency(), meter.latency_exemplars()),
            (&JOURNAL_WAIT, meter.journal_wait(), Vec::new()),
            (&DELIVERY, meter.delivery(), Vec::new()),
            (&ENCODING, meter.encoding(), Vec::new()),
        ] {
            self.samples.histogram(metric, &labels, &histogram.counts(), &exemplars);
        }
    }

    fn reported(&mut self, report: &Report) {
        self.count(&EVENTS_IN_DOUBT, &["published"], report.in_doubt);
        self.count(&EVENTS_IN_DOUBT, &["dropped"], report.in_doubt_dropped);
        self.count(&EVENTS_HELD, &[], report.held);
        self.count(&EVENTS_DROPPED, &["user"], report.dropped_old_user_events);
        self.count(&EVENTS_DROPPED, &["admin"], report.dropped_old_admin_events);
        self.count(&EVENTS_PASSED_OVER, &[], report.passed_over);
        self.count(&EVENTS_MISSING, &[], report.missing_events);
        self.count(&DEAD_LETTERS, &["topic"], report.dead_letters_in_topic);
        self.count(
            &DEAD_LETTERS,
            &["file"],
            report.dead_letters.saturating_sub(report.dead_letters_in_topic),
        );
        self.count(&GAP_RECORDS, &[], report.gap_records);
        self.count(&DAMAGED_RANGES, &[], report.damaged_ranges);
        self.count(&RESETS, &[], report.resets);
        self.put_some(&LAST_DELIVERY, report.last_delivery_ms.map(|at| at as f64 / MILLIS));
        self.count(&IN_FLIGHT_RECORDS, &[], report.in_flight_records as u64);
        self.count(&IN_FLIGHT_BYTES, &[], report.in_flight_bytes as u64);
    }

    fn backlog(&mut self, report: &Report, meter: &Meter) {
        let pressure = &report.backpressure;
        self.count(&BACKLOG_BYTES, &[], report.backlog_bytes);
        self.put_some(&BACKLOG_EVENTS, events_of(report.backlog_bytes, meter));
        self.put_some(&BACKLOG_OLDEST, Some(pressure.oldest_ms.unwrap_or_default() as f64 / MILLIS));
        self.put_some(&BACKLOG_GROWTH, Some(pressure.growth_bytes_per_s as f64));
        self.put_some(&TIME_TO_FULL, pressure.time_to_full_s.map(|seconds| seconds as f64));
        self.put_some(&JOURNAL_ROOM, pressure.room_bytes.map(|bytes| bytes as f64));
        self.put_some(&JOURNAL_USED, pressure.used_percent.map(|percent| f64::from(percent) / 100.0));
        let level = match pressure.level {
            Level::Normal => 0,
            Level::Elevated => 1,
            Level::High => 2,
            Level::Critical => 3,
        };
        self.count(&BACKPRESSURE, &[], level);
        self.count(&BACKPRESSURE_CHANGES, &[], pressure.changes_total);
    }

    fn breaker(&mut self, report: &BreakerReport) {
        let labels = [self.slot, self.destination];
        let all = [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen].map(BreakerState::word);
        self.samples.state(&BREAKER_STATE, &labels, &all, report.state.word());
        if let Some(trip) = report.reason {
            self.count(&BREAKER_CAUSE, &[trip.word()], 1);
        }
        let times = report.time_in_state_ms;
        for (state, transitions, time_ms) in [
            (BreakerState::Closed, report.closed_total, times.closed),
            (BreakerState::Open, report.opened_total, times.open),
            (BreakerState::HalfOpen, report.half_opened_total, times.half_open),
        ] {
            self.count(&BREAKER_TRANSITIONS, &[state.word()], transitions);
            let labels = [self.slot, self.destination, state.word()];
            self.samples.put(&BREAKER_SECONDS, &labels, time_ms as f64 / MILLIS);
        }
        self.count(&BREAKER_FAILURES, &[], report.consecutive_failures.into());
    }

    fn count(&mut self, metric: &'static Metric, labels: &[&str], count: u64) {
        self.samples.count(metric, &[&[self.slot, self.destination], labels].concat(), count);
    }

    fn put_some(&mut self, metric: &'static Metric, value: Option<f64>) {
        self.samples.put_some(metric, &[self.slot, self.destination], value);
    }
}

fn word(kind: EventKind) -> &'static str {
    match kind {
        EventKind::User => "user",
        EventKind::Admin => "admin",
    }
}

/// How many events so many bytes are, by the size of those that were sent; `None` if none was.
fn events_of(bytes: u64, meter: &Meter) -> Option<f64> {
    let sent: u64 = meter.bytes_sent().iter().map(|(_, bytes)| bytes).sum();
    let records = meter.journal_wait().counts().count();
    (sent > 0).then(|| (bytes as f64 * records as f64 / sent as f64).round())
}
