//! The tuner as a whole: what it does in a story, and what it never does in any.

use proptest::prelude::*;

use super::*;

const SURROUNDINGS: Surroundings = Surroundings {
    max_request_size: 1 << 20,
    buffer: 32 << 20,
    delivery_timeout_ms: 120_000,
    max_connections: 4,
};

/// A tuner and the time.
struct Run {
    tuner: KafkaPerformanceTuner,
    now_ms: u64,
    decisions: Vec<(u64, Decision)>,
}

impl Run {
    fn of(settings: TunerSettings) -> Self {
        Self { tuner: KafkaPerformanceTuner::new(settings), now_ms: 0, decisions: Vec::new() }
    }

    fn auto() -> Self {
        Self::of(TunerSettings::default())
    }

    fn see(&mut self, seen: &Observation) {
        self.now_ms += 1_000;
        if let Some(decision) = self.tuner.observe(seen, self.now_ms) {
            self.decisions.push((self.now_ms, decision));
        }
    }

    /// Lets `seconds` pass in which the same is seen, and says what holds then.
    fn pass(&mut self, seconds: u32, seen: Observation) -> ProducerTuning {
        (0..seconds).for_each(|_| self.see(&seen));
        self.tuner.tuning()
    }
}

fn flow(delivered: f64) -> Observation {
    Observation { delivered, connections: 1, round_trip_ms: Some(1.0), ..Observation::default() }
}

fn backlog(delivered: f64) -> Observation {
    Observation { backlog_bytes: 500 << 20, ..flow(delivered) }
}

#[test]
fn balanced_are_the_defaults_of_the_sheet() {
    let tuning = Profile::Balanced.tuning();
    assert_eq!((tuning.batch_size, tuning.linger_ms), (65_536, 10));
    assert_eq!((tuning.compression, tuning.max_in_flight), (Compression::Lz4, 5));
}

#[test]
fn at_a_low_rate_a_record_does_not_wait() {
    let mut run = Run::auto();
    assert_eq!(run.pass(60, flow(200.0)).linger_ms, Profile::Latency.tuning().linger_ms);
    assert_eq!(run.decisions.len(), 1);
}

#[test]
fn a_backlog_at_the_start_finds_large_batches_and_costs_no_new_connections() {
    let mut run = Run::auto();
    assert_eq!(run.tuner.tuning().batch_size, Profile::Throughput.tuning().batch_size);
    assert_eq!(run.tuner.tuning().compression, Profile::Throughput.tuning().compression);
    run.pass(1, backlog(50_000.0));
    assert!(run.decisions.is_empty());
}

#[test]
fn after_a_drain_it_is_calm_again() {
    let mut run = Run::auto();
    run.pass(20, backlog(50_000.0));
    assert_eq!(run.pass(60, flow(200.0)).linger_ms, 0);
    assert_eq!(run.decisions.len(), 1);
}

#[test]
fn a_change_is_given_time_and_less_of_it_before_a_drain() {
    let mut run = Run::auto();
    run.pass(6, flow(200.0));
    assert_eq!(run.pass(29, flow(20_000.0)).linger_ms, 0);
    assert_eq!(run.pass(1, flow(20_000.0)).linger_ms, 5);
    let mut run = Run::auto();
    run.pass(6, flow(200.0));
    assert_eq!(run.pass(4, backlog(50_000.0)).linger_ms, 0);
    assert_eq!(run.pass(1, backlog(50_000.0)).linger_ms, 5);
}

#[test]
fn a_decision_says_in_one_line_what_was_seen_what_changes_and_what_is_expected() {
    let mut run = Run::auto();
    run.pass(10, flow(200.0));
    let reason = run.decisions[0].1.to_string();
    for part in ["200 records/s", "backlog 0 bytes", "linger 5 ms -> 0 ms", "leaves at once"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert!(!reason.contains('\n'));
    assert_eq!(run.tuner.state().history[0].text, reason);
}

#[test]
fn no_other_profile_ever_moves() {
    for profile in [Profile::Latency, Profile::Balanced, Profile::Throughput, Profile::Reliability] {
        let mut run = Run::of(TunerSettings { profile, ..TunerSettings::default() });
        run.pass(100, flow(200.0));
        run.pass(100, backlog(50_000.0));
        assert_eq!(run.tuner.tuning(), profile.tuning());
        assert!(run.decisions.is_empty());
    }
}

#[test]
fn nothing_is_changed_while_nothing_flows_or_nothing_is_taken() {
    let mut run = Run::auto();
    run.pass(100, flow(0.0));
    run.pass(100, Observation { blocked: true, ..flow(200.0) });
    assert!(run.decisions.is_empty());
    run.pass(6, flow(200.0));
    assert_eq!(run.decisions.len(), 1);
}

#[test]
fn what_the_pool_could_not_do_is_not_asked_for_again_at_once() {
    let mut run = Run::auto();
    run.pass(10, flow(200.0));
    run.tuner.rolled_back("not healthy in time", run.now_ms);
    assert_eq!(run.tuner.tuning(), Profile::Auto.tuning());
    run.pass(290, flow(200.0));
    assert_eq!(run.decisions.len(), 1);
    run.pass(20, flow(200.0));
    assert_eq!(run.decisions.len(), 2);
}

#[test]
fn a_long_drain_over_a_long_way_gets_more_connections_if_they_pay() {
    let far = |delivered| Observation { round_trip_ms: Some(80.0), cpu: 0.2, ..backlog(delivered) };
    let mut run = Run::auto();
    for _ in 0..300 {
        // The link is shared fairly among connections, up to three of them.
        let connections = run.tuner.tuning().connections.min(3);
        run.see(&far(10_000.0 * connections as f64));
    }
    assert_eq!(run.tuner.tuning().connections, 4);
    // It ends with the drain, and what has been learned is there at once in the next one.
    assert_eq!(run.pass(60, flow(200.0)).connections, 1);
    assert_eq!(run.pass(10, far(10_000.0)).connections, 4);
}

#[test]
fn a_batch_that_was_refused_is_halved_at_once_and_not_tried_again_for_an_hour() {
    let refused = |delivered| Observation { refused_batch: true, ..backlog(delivered) };
    let mut run = Run::auto();
    assert_eq!(run.pass(1, backlog(50_000.0)).batch_size, 512 << 10);
    assert_eq!(run.pass(1, refused(50_000.0)).batch_size, 256 << 10);
    assert!(run.decisions[0].1.reason.contains("refused as too large"));
    assert_eq!(run.pass(1, refused(50_000.0)).batch_size, 128 << 10);
    assert_eq!(run.pass(100, flow(200.0)).batch_size, 128 << 10);
    assert_eq!(run.pass(3_600, flow(200.0)).batch_size, 256 << 10);
}

#[test]
fn a_record_that_is_too_large_does_not_shrink_batches_for_ever() {
    let mut run = Run::auto();
    let refused = Observation { refused_batch: true, ..flow(200.0) };
    assert_eq!(run.pass(100, refused).batch_size, 64 << 10);
    assert!(run.decisions.len() <= 4, "three halves and the calm pace: {:?}", run.decisions);
}

#[test]
fn frozen_it_does_nothing_and_thawed_it_goes_on() {
    let mut run = Run::auto();
    run.tuner.freeze(0);
    run.pass(60, flow(200.0));
    assert!(run.decisions.is_empty());
    run.tuner.thaw(run.now_ms);
    run.pass(6, flow(200.0));
    assert_eq!(run.decisions.len(), 1);
    let texts: Vec<String> = run.tuner.state().history.into_iter().map(|entry| entry.text).collect();
    assert_eq!(texts[..2], ["frozen by hand", "thawed by hand"]);
}

#[test]
fn what_is_set_by_hand_holds_until_it_is_given_back() {
    let mut run = Run::auto();
    let by_hand = Explicit { linger_ms: Some(7), ..Explicit::default() };
    let decision = run.tuner.set_by_hand(by_hand, &SURROUNDINGS, 0).unwrap();
    assert_eq!(decision.map(|decision| decision.after.linger_ms), Some(7));
    assert_eq!(run.pass(60, flow(200.0)).linger_ms, 7);
    assert_eq!(run.pass(60, backlog(50_000.0)).linger_ms, 7);
    let given_back = run.tuner.set_by_hand(Explicit::default(), &SURROUNDINGS, run.now_ms).unwrap();
    assert_eq!(given_back.map(|decision| decision.after.linger_ms), Some(5));
}

#[test]
fn other_settings_are_taken_up_at_once_and_what_was_set_by_hand_stays() {
    let mut run = Run::auto();
    run.pass(60, flow(200.0));
    let by_hand = Explicit { max_in_flight: Some(2), ..Explicit::default() };
    run.tuner.set_by_hand(by_hand, &SURROUNDINGS, run.now_ms).unwrap();
    let explicit = Explicit { linger_ms: Some(9), ..Explicit::default() };
    let settings = TunerSettings { explicit, frozen: true, ..TunerSettings::default() };
    let after = run.tuner.reconfigure(settings.clone(), run.now_ms).map(|decision| decision.after).unwrap();
    assert_eq!((after.linger_ms, after.max_in_flight), (9, 2));
    assert!(run.tuner.state().frozen);
    assert_eq!(run.tuner.reconfigure(settings, run.now_ms), None, "nothing has changed");
}

#[test]
fn what_cannot_be_is_not_set_by_hand() {
    let mut run = Run::auto();
    let before = run.tuner.state();
    let by_hand = Explicit { max_in_flight: Some(6), ..Explicit::default() };
    assert_eq!(run.tuner.set_by_hand(by_hand, &SURROUNDINGS, 0), Err(vec![Conflict::InFlight(6)]));
    assert_eq!(run.tuner.state(), before);
}

#[test]
fn another_profile_is_taken_up_at_once_and_auto_goes_on_where_it_was() {
    let mut run = Run::auto();
    run.pass(60, flow(200.0));
    let chosen = run.tuner.choose(Profile::Throughput, run.now_ms).map(|decision| decision.after);
    assert_eq!(chosen, Some(Profile::Throughput.tuning()));
    assert_eq!(run.pass(60, flow(200.0)), Profile::Throughput.tuning());
    let back = run.tuner.choose(Profile::Auto, run.now_ms).map(|decision| decision.after.linger_ms);
    assert_eq!(back, Some(0));
}

#[test]
fn a_preset_s_settings_are_not_moved() {
    let (profile, explicit) = Preset::HighVolumeLogin.expand();
    let mut run = Run::of(TunerSettings { profile, explicit, ..TunerSettings::default() });
    assert_eq!(Some(run.pass(60, backlog(50_000.0)).batch_size), explicit.batch_size);
}

fn any_seen() -> impl Strategy<Value = Observation> {
    let rate = prop_oneof![Just(0.0), 0.0..3_000.0_f64, 0.0..200_000.0_f64];
    let backlog = prop_oneof![Just(0_u64), 0..64_u64 << 20, 0..u64::MAX];
    let level = prop_oneof![Just(Level::Normal), Just(Level::Elevated), Just(Level::High)];
    let round_trip = proptest::option::of(0.0..500.0_f64);
    (rate, backlog, level, any::<bool>(), round_trip, 0..200_u64, 0.0..2.0_f64).prop_map(
        |(delivered, backlog_bytes, level, blocked, round_trip_ms, throttle_ms, cpu)| Observation {
            delivered,
            backlog_bytes,
            level,
            blocked,
            round_trip_ms,
            throttle_ms,
            cpu,
            refused_batch: throttle_ms == 13,
            ..flow(0.0)
        },
    )
}

fn any_explicit() -> impl Strategy<Value = Explicit> {
    let compression = prop_oneof![Just(Compression::None), Just(Compression::Zstd)];
    (
        proptest::option::of(1..u64::from(u32::MAX)),
        proptest::option::of(0..100_000_u64),
        proptest::option::of(compression),
        proptest::option::of(1..=5_u8),
        proptest::option::of(1..=4_usize),
    )
        .prop_map(|(batch_size, linger_ms, compression, max_in_flight, connections)| Explicit {
            batch_size,
            linger_ms,
            compression,
            max_in_flight,
            connections,
        })
}

/// What is decided while `seen` passes, second by second.
fn decisions(settings: TunerSettings, seen: &[Observation]) -> Vec<(u64, Decision)> {
    let mut run = Run::of(settings);
    seen.iter().for_each(|seen| run.see(seen));
    run.decisions
}

/// How many changes twenty minutes of the worst weather may bring.
const MANY: usize = 60;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn it_never_leaves_its_bounds(seen in prop::collection::vec(any_seen(), 0..600), most in 1_usize..=4, batch in 16_u64 << 10..=1 << 20) {
        let bounds = Bounds { batch_size: 16 << 10..=batch, linger_ms: 1..=8, connections: 1..=most };
        for (_, decision) in decisions(TunerSettings { bounds: bounds.clone(), ..TunerSettings::default() }, &seen) {
            let after = decision.after;
            prop_assert!(bounds.batch_size.contains(&after.batch_size), "{after:?}");
            prop_assert!(bounds.linger_ms.contains(&after.linger_ms), "{after:?}");
            prop_assert!(bounds.connections.contains(&after.connections), "{after:?}");
            prop_assert!((1..=5).contains(&after.max_in_flight), "{after:?}");
        }
    }

    #[test]
    fn it_moves_nothing_that_was_decided_on(seen in prop::collection::vec(any_seen(), 0..600), explicit in any_explicit()) {
        for (_, decision) in decisions(TunerSettings { explicit, ..TunerSettings::default() }, &seen) {
            prop_assert_eq!(explicit.over(decision.after), decision.after);
        }
    }

    #[test]
    fn frozen_it_never_decides(seen in prop::collection::vec(any_seen(), 0..600)) {
        let frozen = TunerSettings { frozen: true, ..TunerSettings::default() };
        prop_assert_eq!(decisions(frozen, &seen), []);
    }

    #[test]
    fn whatever_happens_changes_lie_apart(seen in prop::collection::vec(any_seen(), 0..1_200)) {
        let decided = decisions(TunerSettings::default(), &seen);
        let refused = |decision: &Decision| decision.reason.contains("refused as too large");
        let times: Vec<u64> = decided.iter().filter(|(_, decision)| !refused(decision)).map(|(at, _)| *at).collect();
        for pair in times.windows(2) {
            prop_assert!(pair[1] - pair[0] >= DRAIN_DWELL_MS, "{times:?}");
        }
        prop_assert!(times.len() <= MANY, "{times:?}");
    }

    #[test]
    fn noise_around_any_rate_makes_it_change_twice_at_most(rate in 1.0..50_000.0_f64, noise in prop::collection::vec(0.7..1.3_f64, 1_200)) {
        let seen: Vec<Observation> = noise.iter().map(|factor| flow(rate * factor)).collect();
        prop_assert!(decisions(TunerSettings::default(), &seen).len() <= 2);
    }

    #[test]
    fn under_steady_load_it_comes_to_rest(before in prop::collection::vec(any_seen(), 0..300), steady in any_seen()) {
        let mut run = Run::auto();
        before.iter().for_each(|seen| run.see(seen));
        run.pass(900, steady);
        let decided = run.decisions.len();
        run.pass(900, steady);
        prop_assert_eq!(run.decisions.len(), decided);
    }
}
