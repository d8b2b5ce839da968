use super::*;

const ONE: Outcomes = Outcomes { acknowledged: 1, slow: 0, failed: 0 };

/// A breaker and its clock.
struct Bench {
    breaker: CircuitBreaker,
    now_ms: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let mut bench = Self { breaker: CircuitBreaker::new(settings, 7), now_ms: 50_000 };
        bench.after(0);
        bench
    }

    fn after(&mut self, ms: u64) -> BreakerState {
        self.now_ms += ms;
        let forced = self.breaker.forced;
        self.breaker.tick(self.now_ms, forced);
        self.breaker.state()
    }

    fn force(&mut self, forced: Option<Forced>) -> BreakerState {
        self.breaker.tick(self.now_ms, forced);
        self.breaker.state()
    }

    fn permit(&self) -> Permit {
        self.breaker.permit(self.now_ms)
    }

    fn fail(&mut self, class: FailureClass) -> BreakerState {
        self.breaker.failed(&Failure { class, reason: "refused".to_owned() }, self.now_ms);
        self.breaker.state()
    }

    fn trouble(&mut self, class: FailureClass) -> BreakerState {
        self.breaker.troubled(&Failure { class, reason: "login failed".to_owned() }, self.now_ms);
        self.breaker.state()
    }

    fn settle(&mut self, outcomes: Outcomes, progress: bool) -> BreakerState {
        self.breaker.settled(outcomes, progress, self.now_ms);
        self.breaker.state()
    }

    fn open(&mut self) {
        assert_eq!(self.fail(FailureClass::Authorisation), BreakerState::Open);
    }

    /// Waits until a probe may be sent.
    fn half_open(&mut self) {
        assert_eq!(self.after(3_000), BreakerState::HalfOpen);
    }

    fn report(&self) -> BreakerReport {
        self.breaker.report(Clock { monotonic_ms: self.now_ms, wall_ms: 1_000_000 + self.now_ms })
    }
}

#[test]
fn it_opens_after_failures_in_a_row_and_pauses_after_each() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        assert_eq!(bench.fail(FailureClass::Transient), BreakerState::Closed);
        let retry = bench.breaker.wake_at_ms(bench.now_ms).unwrap();
        assert!(retry <= bench.now_ms + 3_000);
        assert_eq!(bench.permit(), Permit::Nothing, "it must pause before it tries again");
        bench.after(3_000);
        assert_eq!(bench.permit(), Permit::All);
    }
    assert_eq!(bench.fail(FailureClass::Transient), BreakerState::Open);
    let report = bench.report();
    assert_eq!(report.reason, Some(Trip::ConsecutiveFailures));
    assert_eq!(report.detail.as_deref(), Some("3 failures in a row: refused"));
    assert_eq!(report.since_ms, 1_000_000 + bench.now_ms);
}

#[test]
fn progress_ends_a_row_of_failures_and_other_acknowledgements_do_not() {
    for (progress, expected) in [(true, BreakerState::Closed), (false, BreakerState::Open)] {
        let mut bench = Bench::new();
        bench.fail(FailureClass::Transient);
        bench.fail(FailureClass::Transient);
        bench.settle(ONE, progress);
        assert_eq!(bench.fail(FailureClass::Transient), expected, "progress: {progress}");
    }
}

#[test]
fn it_opens_at_a_rate_of_failures_although_some_succeed() {
    let mut bench = Bench::new();
    for _ in 0..7 {
        bench.settle(Outcomes { acknowledged: 7, slow: 0, failed: 7 }, true);
        assert_eq!(bench.fail(FailureClass::Transient), BreakerState::Closed, "too few to tell");
    }
    bench.settle(Outcomes { acknowledged: 7, slow: 0, failed: 7 }, true);
    assert_eq!(bench.fail(FailureClass::Throttled), BreakerState::Open);
    assert_eq!(bench.report().reason, Some(Trip::FailureRate));
    assert_eq!(bench.report().detail.as_deref(), Some("56 of the last 112 records have failed: refused"));
}

#[test]
fn it_opens_when_nothing_is_acknowledged_for_long() {
    let mut bench = Bench::new();
    bench.breaker.stalled(4_999, || None, bench.now_ms);
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
    bench.breaker.stalled(5_000, || Some("no connection".to_owned()), bench.now_ms);
    assert_eq!(bench.report().reason, Some(Trip::OldestUnacknowledged));
    assert_eq!(bench.report().detail.as_deref(), Some("nothing has been acknowledged for 5s: no connection"));
}

#[test]
fn faults_that_stay_trip_it_at_once_and_say_which() {
    for (class, trip) in [
        (FailureClass::Authentication, Trip::Authentication),
        (FailureClass::Authorisation, Trip::Authorisation),
        (FailureClass::Configuration, Trip::Configuration),
    ] {
        let mut bench = Bench::new();
        assert_eq!(bench.trouble(class), BreakerState::Open, "{class}");
        assert_eq!((bench.report().reason, bench.permit()), (Some(trip), Permit::Nothing));
        let mut bench = Bench::new();
        assert_eq!(bench.fail(class), BreakerState::Open, "{class}");
    }
    for class in [FailureClass::Transient, FailureClass::Throttled, FailureClass::Fatal] {
        let mut bench = Bench::new();
        assert_eq!(bench.trouble(class), BreakerState::Closed, "{class}: the client mends it by itself");
    }
}

#[test]
fn a_probe_is_bounded_and_closes_it_with_progress_only() {
    let mut bench = Bench::new();
    bench.open();
    bench.half_open();
    assert_eq!(bench.permit(), Permit::Probe(Settings::default().probe));
    assert_eq!(bench.trouble(FailureClass::Authentication), BreakerState::HalfOpen, "that is known");
    bench.breaker.sent(bench.now_ms);
    assert_eq!(bench.settle(ONE, false), BreakerState::HalfOpen);
    assert_eq!(bench.settle(ONE, true), BreakerState::Closed);
    assert_eq!(bench.permit(), Permit::All);
    let report = bench.report();
    assert_eq!((report.reason, report.detail, report.consecutive_failures), (None, None, 0));
    assert_eq!((report.opened_total, report.half_opened_total, report.closed_total), (1, 1, 1));
}

#[test]
fn a_probe_that_fails_or_is_not_answered_opens_it_again() {
    let mut bench = Bench::new();
    bench.open();
    bench.half_open();
    assert_eq!(bench.after(60_000), BreakerState::HalfOpen, "there is nothing to probe with");
    bench.breaker.sent(bench.now_ms);
    assert_eq!(bench.after(4_999), BreakerState::HalfOpen);
    assert_eq!(bench.after(1), BreakerState::Open);
    assert_eq!(bench.report().reason, Some(Trip::Authorisation), "the cause is still the same");
    bench.half_open();
    assert_eq!(bench.fail(FailureClass::Transient), BreakerState::Open);
    assert_eq!(bench.report().opened_total, 3);
}

#[test]
fn other_connections_are_tried_at_once_unless_an_operator_holds_it_open() {
    let mut bench = Bench::new();
    let mut refused = || bench.fail(FailureClass::Authentication);
    assert_eq!([refused(), refused(), refused()], [BreakerState::Open; 3]);
    bench.breaker.renewed(bench.now_ms);
    assert_eq!(bench.after(0), BreakerState::HalfOpen);
    bench.force(Some(Forced::Open));
    bench.breaker.renewed(bench.now_ms);
    assert_eq!(bench.after(60_000), BreakerState::Open);
}

#[test]
fn an_acknowledgement_of_what_was_in_flight_closes_it_at_once() {
    let mut bench = Bench::new();
    bench.open();
    assert_eq!(bench.settle(ONE, true), BreakerState::Closed);
    assert_eq!(bench.permit(), Permit::All);
}

#[test]
fn a_refused_record_is_an_answer() {
    let mut bench = Bench::new();
    bench.open();
    assert_eq!(bench.fail(FailureClass::Poison), BreakerState::Closed);
    assert_eq!(bench.permit(), Permit::All);
}

#[test]
fn no_pause_is_longer_than_the_ceiling_and_they_grow_to_it() {
    let mut bench = Bench::new();
    let mut longest = 0;
    for attempt in 0..200 {
        bench.fail(FailureClass::Authentication);
        let pause = bench.breaker.wake_at_ms(bench.now_ms).unwrap() - bench.now_ms;
        assert!(pause <= if attempt == 0 { 200 } else { 3_000 }, "{pause}");
        longest = longest.max(pause);
        bench.half_open();
    }
    assert!(longest > 2_500, "{longest}");
}

#[test]
fn slow_acknowledgements_open_it_and_fast_ones_close_it() {
    let mut bench = Bench::new();
    bench.after(40_000);
    assert_eq!(bench.breaker.slow_if_sent_before(bench.now_ms), bench.now_ms - 30_000);
    let slow = Outcomes { acknowledged: 50, slow: 50, failed: 0 };
    assert_eq!(bench.settle(slow, true), BreakerState::Closed);
    assert_eq!(bench.settle(slow, true), BreakerState::Open);
    assert_eq!(bench.report().reason, Some(Trip::SlowCalls));
    assert_eq!(bench.settle(slow, true), BreakerState::Open, "what was in flight is as slow");
    bench.half_open();
    assert_eq!(bench.settle(ONE, true), BreakerState::Closed);
}

#[test]
fn what_was_in_flight_through_an_outage_is_not_slow() {
    let mut bench = Bench::new();
    bench.after(40_000);
    bench.open();
    bench.after(60_000);
    bench.settle(ONE, true);
    assert_eq!(bench.breaker.slow_if_sent_before(bench.now_ms), 0);
    bench.after(31_000);
    assert_eq!(bench.breaker.slow_if_sent_before(bench.now_ms), bench.now_ms - 30_000);
}

#[test]
fn forced_open_it_stays_open_until_the_order_is_taken_back() {
    let mut bench = Bench::new();
    assert_eq!(bench.force(Some(Forced::Open)), BreakerState::Open);
    assert_eq!(bench.after(1_000_000), BreakerState::Open);
    assert_eq!(bench.settle(ONE, true), BreakerState::Open, "what was in flight may arrive");
    assert_eq!(bench.fail(FailureClass::Authentication), BreakerState::Open);
    let report = bench.report();
    assert_eq!((report.reason, report.next_attempt_ms), (Some(Trip::Forced), None));
    assert_eq!(bench.force(None), BreakerState::HalfOpen, "it finds out at once how things are");
    assert_eq!(bench.settle(ONE, true), BreakerState::Closed);
}

#[test]
fn forced_closed_nothing_trips_it_and_it_pauses_all_the_same() {
    let mut bench = Bench::new();
    bench.open();
    assert_eq!(bench.force(Some(Forced::Closed)), BreakerState::Closed);
    for _ in 0..10 {
        assert_eq!(bench.fail(FailureClass::Authentication), BreakerState::Closed);
        assert_eq!(bench.trouble(FailureClass::Authentication), BreakerState::Closed);
        bench.breaker.stalled(1_000_000, || None, bench.now_ms);
        assert_eq!(bench.permit(), Permit::Nothing, "a reset is no light thing");
        bench.after(3_000);
        assert_eq!(bench.permit(), Permit::All);
    }
    assert_eq!(bench.force(None), BreakerState::Closed);
    assert_eq!(bench.fail(FailureClass::Transient), BreakerState::Open, "eleven in a row");
}

#[test]
fn the_time_in_each_state_is_counted() {
    let mut bench = Bench::new();
    bench.after(1_000);
    bench.force(Some(Forced::Open));
    bench.after(500);
    bench.force(None);
    bench.after(200);
    assert_eq!(bench.report().time_in_state_ms, TimeInState { closed: 1_000, open: 500, half_open: 200 });
}

#[test]
fn it_opens_while_there_is_no_schema_and_stays_so_until_there_is_one() {
    let mut bench = Bench::new();
    let no_id = Failure::transient("no id");
    bench.breaker.withheld(&no_id, bench.now_ms);
    assert_eq!(bench.breaker.state(), BreakerState::Open, "by the first refusal");
    assert_eq!(bench.report().reason, Some(Trip::SchemaRegistry));
    for _ in 0..10 {
        bench.half_open();
        bench.breaker.withheld(&no_id, bench.now_ms);
        assert_eq!((bench.breaker.state(), bench.permit()), (BreakerState::Open, Permit::Nothing));
    }
    assert_eq!(bench.report().consecutive_failures, 11);
    bench.half_open();
    assert_eq!(bench.settle(ONE, true), BreakerState::Closed);
    bench.force(Some(Forced::Closed));
    bench.breaker.withheld(&no_id, bench.now_ms);
    assert_eq!((bench.breaker.state(), bench.permit()), (BreakerState::Closed, Permit::Nothing));
}
