//! The tuner of each shipment, which looks at what its pipeline reports about once a second, in the pipeline's own thread: that wakes nobody for it.
//!
//! The invariants:
//!
//! - **A tuner sees a whole second at a time, and never one in which its own last change was still under way.** What it would conclude from
//!   anything else would be about the change and not about what flows.
//! - **Delivery never waits for who looks or steers**: a second in which somebody else has the tuner is seen with the next one.

use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use keyferry_config::{ByteSize, Destination, Pool, TunerPreset, TunerProfile};
use keyferry_kafka::pool::{Change, ConnectionSnapshot, ConnectionState};
use keyferry_kafka::tuner::{
    Bounds, Compression, Conflict, Decision, Explicit, KafkaPerformanceTuner, Level, Observation, Preset,
    ProducerTuning, Profile, Surroundings, TunerSettings, TunerState, validate,
};
use keyferry_kafka::{PoolHandle, PoolSnapshot, ProducerSettings};
use keyferry_pipeline::{BreakerState, Controls, REST, Report, State};
use rustix::time::{ClockId, clock_gettime};

use crate::error::Error;
use crate::shipment::{kafka_settings, pool_settings, wall_ms};

/// Of less time than this nothing is concluded: a pipeline's first report comes as soon as it runs, and each other one after a second.
const LEAST: Duration = Duration::from_millis(500);

/// The tuner of one shipment, and what it needs to act. For any thread.
#[derive(Debug)]
pub struct Tuned {
    /// What it is the tuner of, for the log.
    of: String,
    pool: PoolHandle,
    origin: Instant,
    state: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    tuner: KafkaPerformanceTuner,
    destination: Destination,
    counted: Option<Counted>,
    asked: Option<Asked>,
}

/// What had flowed by some time, and what that had taken.
#[derive(Clone, Copy, Debug)]
struct Counted {
    at: Instant,
    records: u64,
    /// Processor time of this process.
    processor: Duration,
}

/// What flowed between two looks, and what it took.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Flow {
    /// Records a second.
    delivered: f64,
    /// Of one processor; 1 is all of it.
    cpu: f64,
}

impl Counted {
    fn now(records: u64) -> Self {
        Self { at: Instant::now(), records, processor: processor_time() }
    }

    /// `None` if too little time has passed.
    fn since(self, before: Self) -> Option<Flow> {
        let passed = self.at.duration_since(before.at);
        let share = |part: f64| part / passed.as_secs_f64();
        (passed >= LEAST).then(|| Flow {
            delivered: share(self.records.saturating_sub(before.records) as f64),
            cpu: share(self.processor.saturating_sub(before.processor).as_secs_f64()),
        })
    }
}

/// A change that the pool has been asked for, and how many it had made and given up before.
#[derive(Clone, Copy, Debug)]
struct Asked {
    completed: u64,
    rolled_back: u64,
    /// Whether it takes another one back. The pool goes on trying, so it is asked for only once.
    takes_back: bool,
}

/// What has become of the last change.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It is under way, or another one that is not the tuner's.
    Pending,
    /// It holds.
    Done,
    /// The pool could not make it, for this reason.
    Failed(String),
}

impl Tuned {
    /// How many connections its pool may have.
    pub fn connection_limits(&self) -> RangeInclusive<u32> {
        let Pool { min_connections, max_connections } = self.lock().destination.pool;
        min_connections.into()..=max_connections.max(min_connections).into()
    }

    /// The tuner of `pool`, which ships to `destination`; `of` names the shipment in the log. What is odd about its settings and works all the same is
    /// logged.
    ///
    /// # Errors
    /// As [`tuner`].
    pub fn new(of: String, destination: &Destination, pool: PoolHandle) -> Result<Self, Error> {
        for conflict in conflicts(&tuner_settings(destination)?, destination) {
            tracing::warn!("{of}: {conflict}");
        }
        let (tuner, destination) = (tuner(destination)?, destination.clone());
        // Nothing has flowed yet: so the first whole second counts already.
        let inner = Inner { tuner, destination, counted: Some(Counted::now(0)), asked: None };
        Ok(Self { of, pool, origin: Instant::now(), state: Mutex::new(inner) })
    }

    /// From now on it moves nothing by itself, or it does again.
    pub fn freeze(&self, frozen: bool) {
        let now_ms = self.now_ms();
        let mut inner = self.lock();
        if frozen { inner.tuner.freeze(now_ms) } else { inner.tuner.thaw(now_ms) }
    }

    /// Aims at another profile.
    pub fn choose(&self, profile: Profile) {
        let mut inner = self.lock();
        if let Some(decision) = inner.tuner.choose(profile, self.now_ms()) {
            self.act(&mut inner, &decision, &self.pool.snapshot());
        }
    }

    /// Sets values by hand, in place of those that were; none at all gives everything back.
    ///
    /// # Errors
    /// What of them cannot be, and the remedy. Nothing is changed then.
    pub fn set_by_hand(&self, by_hand: Explicit) -> Result<(), String> {
        let mut inner = self.lock();
        let surroundings = surroundings(&inner.destination);
        let decision = inner
            .tuner
            .set_by_hand(by_hand, &surroundings, self.now_ms())
            .map_err(|conflicts| list(&conflicts))?;
        if let Some(decision) = decision {
            self.act(&mut inner, &decision, &self.pool.snapshot());
        }
        Ok(())
    }

    /// What it tells of itself; the history's times are milliseconds since the Unix epoch.
    pub fn state(&self) -> TunerState {
        let mut state = self.lock().tuner.state();
        let began_ms = wall_ms().saturating_sub(self.now_ms());
        state.history.iter_mut().for_each(|entry| entry.at_ms += began_ms);
        state
    }

    /// Replaces the connections by ones to `destination` as it is configured now (with new credentials, say), tuned as the old ones are.
    pub fn renew(&self, destination: &Destination, cause: &str) {
        let mut inner = self.lock();
        inner.destination = destination.clone();
        self.pool.replace(producer_settings(destination, inner.tuner.tuning()), cause);
    }

    /// Fits the connections to `destination` as it is configured now. They are replaced if `is_swap` says so, or if their tuning becomes another by that.
    ///
    /// # Errors
    /// As [`tuner`]; nothing is changed then.
    pub fn reconfigure(&self, destination: &Destination, cause: &str, is_swap: bool) -> Result<(), Error> {
        let settings = tuner_settings(destination)?;
        let mut inner = self.lock();
        let before = inner.tuner.tuning();
        inner.tuner.reconfigure(settings, self.now_ms());
        let after = inner.tuner.tuning();
        inner.destination = destination.clone();
        if !is_swap && after == before {
            return Ok(());
        }
        // Whatever it had asked for is part of this replacement.
        (inner.asked, inner.counted) = (None, None);
        let pool = pool_settings(destination);
        self.pool.change(Change {
            settings: Some(producer_settings(destination, after)),
            connections: (before.connections != after.connections).then_some(after.connections),
            limits: Some((pool.min_connections, pool.max_connections)),
            cause: cause.to_owned(),
        });
        Ok(())
    }

    /// The destination as it is configured now.
    pub fn destination(&self) -> Destination {
        self.lock().destination.clone()
    }

    /// Takes in what a pipeline reports, about once a second, and has pool and pipeline do what follows from it. Never waits: who has the tuner now has it for a moment.
    pub fn look(&self, report: &Report, controls: &Controls) {
        let mut inner = match self.state.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(inner)) => inner.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        controls.set_rest(rest(inner.tuner.profile()));
        let snapshot = self.pool.snapshot();
        match inner.outcome(&snapshot) {
            Outcome::Done => {}
            Outcome::Pending => return inner.counted = None,
            Outcome::Failed(reason) => return self.take_back(&mut inner, &reason, &snapshot),
        }
        let Some(flow) = inner.flow(Counted::now(report.published + report.gap_records)) else { return };
        let seen = observation(report, &snapshot, flow);
        if let Some(decision) = inner.tuner.observe(&seen, self.now_ms()) {
            self.act(&mut inner, &decision, &snapshot);
        }
    }

    fn act(&self, inner: &mut Inner, decision: &Decision, snapshot: &PoolSnapshot) {
        tracing::info!("{}: the tuner decides: {decision}", self.of);
        let Decision { before, after, .. } = decision;
        let cause = format!("tuning: {}", before.difference(after));
        self.ask(inner, [*before, *after], cause, snapshot, false);
    }

    /// What could not be made is not wanted any more: otherwise the pool would go on trying.
    fn take_back(&self, inner: &mut Inner, reason: &str, snapshot: &PoolSnapshot) {
        let failed = inner.tuner.tuning();
        inner.tuner.rolled_back(reason, self.now_ms());
        let before = inner.tuner.tuning();
        let cause = format!("tuning taken back: {}", failed.difference(&before));
        self.ask(inner, [failed, before], cause, snapshot, true);
    }

    fn ask(
        &self,
        inner: &mut Inner,
        [before, after]: [ProducerTuning; 2],
        cause: String,
        snapshot: &PoolSnapshot,
        takes_back: bool,
    ) {
        let (completed, rolled_back) = (snapshot.swaps_completed, snapshot.swaps_rolled_back);
        inner.asked = Some(Asked { completed, rolled_back, takes_back });
        inner.counted = None;
        self.pool.change(Change {
            settings: Some(producer_settings(&inner.destination, after)),
            // What the tuner does not change may have been changed by an operator.
            connections: (before.connections != after.connections).then_some(after.connections),
            limits: None,
            cause,
        });
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whoever panicked with the lock held left a tuner whose next observation puts it right.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What has become of what the pool was asked for.
    fn outcome(&mut self, snapshot: &PoolSnapshot) -> Outcome {
        if let Some(Asked { completed, rolled_back, takes_back }) = self.asked {
            if snapshot.swaps_completed > completed {
                self.asked = None;
            } else if snapshot.swaps_rolled_back > rolled_back && !takes_back {
                let failure = snapshot.last_swap.as_ref().and_then(|swap| swap.failure.clone());
                return Outcome::Failed(failure.unwrap_or_default());
            } else {
                return Outcome::Pending;
            }
        }
        if snapshot.swap.is_some() { Outcome::Pending } else { Outcome::Done }
    }

    /// What has flowed since it was looked at last; `None` the first time, and before enough time has passed.
    fn flow(&mut self, now: Counted) -> Option<Flow> {
        let flow = self.counted.map(|before| now.since(before));
        if flow != Some(None) {
            self.counted = Some(now);
        }
        flow.flatten()
    }
}

/// How long the journal is left alone so that events go together.
const fn rest(profile: Profile) -> Duration {
    match profile {
        Profile::Latency => Duration::ZERO,
        Profile::Balanced | Profile::Throughput | Profile::Reliability | Profile::Auto => REST,
    }
}

/// What `report` and `snapshot` say about the last second.
fn observation(report: &Report, snapshot: &PoolSnapshot, Flow { delivered, cpu }: Flow) -> Observation {
    let active =
        || snapshot.connections.iter().filter(|connection| connection.state == ConnectionState::Active);
    let highest = |of: fn(&ConnectionSnapshot) -> Option<f64>| active().filter_map(of).reduce(f64::max);
    Observation {
        delivered,
        backlog_bytes: report.backlog_bytes,
        level: level(report.backpressure.level),
        blocked: report.state == State::Blocked || report.breaker.state != BreakerState::Closed,
        connections: snapshot.size,
        batch_fill: highest(|connection| connection.batch_fill),
        queue_ms: highest(|connection| connection.queue_time_ms.map(|time| time.p50)),
        round_trip_ms: highest(|connection| connection.round_trip_ms.map(|time| time.p50)),
        refused_batch: active().any(|connection| connection.refused_batches > 0),
        throttle_ms: active().map(|connection| connection.throttle_ms).max().unwrap_or_default(),
        cpu,
    }
}

fn level(level: keyferry_pipeline::Level) -> Level {
    match level {
        keyferry_pipeline::Level::Normal => Level::Normal,
        keyferry_pipeline::Level::Elevated => Level::Elevated,
        keyferry_pipeline::Level::High => Level::High,
        keyferry_pipeline::Level::Critical => Level::Critical,
    }
}

/// The tuner that `destination` asks for.
///
/// # Errors
/// [`Error::Tuning`] with everything that cannot be.
pub fn tuner(destination: &Destination) -> Result<KafkaPerformanceTuner, Error> {
    let settings = tuner_settings(destination)?;
    let mut conflicts = conflicts(&settings, destination);
    conflicts.retain(|conflict| !conflict.is_harmless());
    if conflicts.is_empty() { Ok(KafkaPerformanceTuner::new(settings)) } else { Err(refused(conflicts)) }
}

fn conflicts(settings: &TunerSettings, destination: &Destination) -> Vec<Conflict> {
    let tuning = settings.explicit.over(settings.profile.tuning());
    validate(settings.profile, &tuning, &surroundings(destination))
}

fn tuner_settings(destination: &Destination) -> Result<TunerSettings, Error> {
    let keyferry_config::Tuner { profile, preset, frozen } = destination.tuner;
    let preset = preset.map(self::preset);
    let profile = keyferry_kafka::tuner::validate::resolve(profile.map(self::profile), preset)
        .map_err(|conflict| refused(vec![conflict]))?;
    let of_preset = preset.map(|preset| preset.expand().1).unwrap_or_default();
    let most = destination.delivery.max_request_size.as_bytes();
    let bounds = Bounds::default();
    let (least_batch, largest_batch) = bounds.batch_size.into_inner();
    Ok(TunerSettings {
        profile,
        explicit: explicit(destination).or(of_preset),
        bounds: Bounds { batch_size: least_batch..=largest_batch.min(most), ..bounds },
        frozen,
    })
}

fn refused(conflicts: Vec<Conflict>) -> Error {
    Error::Tuning(list(&conflicts))
}

fn list(conflicts: &[Conflict]) -> String {
    conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What the configuration says itself.
fn explicit(destination: &Destination) -> Explicit {
    let delivery = &destination.delivery;
    let given = |key: &str| destination.is_given(&format!("destination.delivery.{key}"));
    Explicit {
        batch_size: given("batch_size").then(|| delivery.batch_size.as_bytes()),
        linger_ms: given("linger").then(|| millis(delivery.linger)),
        compression: given("compression").then(|| compression(delivery.compression)),
        max_in_flight: given("max_in_flight").then_some(delivery.max_in_flight),
        connections: None,
    }
}

fn surroundings(destination: &Destination) -> Surroundings {
    let delivery = &destination.delivery;
    Surroundings {
        max_request_size: delivery.max_request_size.as_bytes(),
        // As much as the largest request is always there.
        buffer: delivery.buffer.max(delivery.max_request_size).as_bytes(),
        delivery_timeout_ms: millis(delivery.delivery_timeout),
        max_connections: pool_settings(destination).max_connections,
    }
}

/// What producers to `destination` are told, tuned like this.
pub fn producer_settings(destination: &Destination, tuning: ProducerTuning) -> ProducerSettings {
    let mut destination = destination.clone();
    let delivery = &mut destination.delivery;
    delivery.batch_size = ByteSize::bytes(tuning.batch_size);
    delivery.linger = Duration::from_millis(tuning.linger_ms);
    delivery.compression = match tuning.compression {
        Compression::None => keyferry_config::Compression::None,
        Compression::Gzip => keyferry_config::Compression::Gzip,
        Compression::Snappy => keyferry_config::Compression::Snappy,
        Compression::Lz4 => keyferry_config::Compression::Lz4,
        Compression::Zstd => keyferry_config::Compression::Zstd,
    };
    delivery.max_in_flight = tuning.max_in_flight;
    kafka_settings(&destination)
}

fn compression(compression: keyferry_config::Compression) -> Compression {
    match compression {
        keyferry_config::Compression::None => Compression::None,
        keyferry_config::Compression::Gzip => Compression::Gzip,
        keyferry_config::Compression::Snappy => Compression::Snappy,
        keyferry_config::Compression::Lz4 => Compression::Lz4,
        keyferry_config::Compression::Zstd => Compression::Zstd,
    }
}

fn profile(profile: TunerProfile) -> Profile {
    match profile {
        TunerProfile::Auto => Profile::Auto,
        TunerProfile::Latency => Profile::Latency,
        TunerProfile::Balanced => Profile::Balanced,
        TunerProfile::Throughput => Profile::Throughput,
        TunerProfile::Reliability => Profile::Reliability,
    }
}

fn preset(preset: TunerPreset) -> Preset {
    match preset {
        TunerPreset::HighVolumeLogin => Preset::HighVolumeLogin,
        TunerPreset::RealTimeMonitoring => Preset::RealTimeMonitoring,
        TunerPreset::Audit => Preset::Audit,
        TunerPreset::Development => Preset::Development,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What all threads of this process have taken since it began.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use keyferry_config::{Readiness, Sources};
    use keyferry_kafka::pool::{EndedSwap, Quantiles};

    use super::*;

    fn destination(options: &[(&str, &str)]) -> Destination {
        let needed = [("bootstrap-servers", "kafka:9092"), ("topic-events", "events")];
        let sources = Sources::new().with_options(needed.iter().chain(options).copied());
        let mut config = keyferry_config::load(&sources).unwrap_or_else(|errors| panic!("{errors}")).config;
        match config.destinations.swap_remove(0) {
            Readiness::Complete(destination) => *destination,
            other => panic!("{other:?}"),
        }
    }

    fn inner(options: &[(&str, &str)]) -> Inner {
        let destination = destination(options);
        let tuner = tuner(&destination).unwrap_or_else(|error| panic!("{error}"));
        Inner { tuner, destination, counted: None, asked: None }
    }

    fn backlog() -> Observation {
        Observation { delivered: 50_000.0, backlog_bytes: 1 << 30, ..Observation::default() }
    }

    #[test]
    fn what_is_configured_is_explicit_and_what_is_not_is_the_tuners() {
        let tuner = inner(&[("linger-ms", "7"), ("compression-type", "gzip")]).tuner;
        let expected =
            Explicit { linger_ms: Some(7), compression: Some(Compression::Gzip), ..Explicit::default() };
        assert_eq!(tuner.state().explicit, expected);
        assert_eq!(
            (tuner.tuning().linger_ms, tuner.tuning().batch_size),
            (7, Profile::Auto.tuning().batch_size)
        );
    }

    #[test]
    fn what_is_configured_beside_a_preset_wins() {
        let tuner = inner(&[("tuner-preset", "audit"), ("compression-type", "none")]).tuner;
        assert_eq!(tuner.state().profile, Profile::Reliability);
        assert_eq!(tuner.tuning().compression, Compression::None);
    }

    #[test]
    fn a_batch_never_outgrows_the_largest_request() {
        let mut inner = inner(&[("max-request-size", "100000")]);
        assert_eq!(inner.tuner.tuning().batch_size, 100_000);
        let _ = inner.tuner.observe(&backlog(), 1_000);
        assert_eq!(inner.tuner.tuning().batch_size, 100_000);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_keys() {
        let refused = tuner(&destination(&[("tuner-preset", "audit"), ("tuner-profile", "latency")]));
        assert!(refused.is_err_and(|error| error.to_string().contains("destination.tuner.preset")));
        let late = destination(&[("linger-ms", "5000"), ("delivery-timeout-ms", "5000")]);
        assert!(tuner(&late).is_err_and(|error| error.to_string().contains("destination.delivery.linger")));
    }

    #[test]
    fn a_tuning_reaches_the_client() {
        let tuning = ProducerTuning {
            batch_size: 1_000,
            linger_ms: 3,
            compression: Compression::Zstd,
            max_in_flight: 2,
            connections: 1,
        };
        let by_tuner = producer_settings(&destination(&[]), tuning);
        let configured = destination(&[
            ("batch-size", "1000"),
            ("linger-ms", "3"),
            ("compression-type", "zstd"),
            ("max-in-flight-requests-per-connection", "2"),
        ]);
        assert!(by_tuner == kafka_settings(&configured));
    }

    #[test]
    fn nothing_is_concluded_while_a_change_is_under_way() {
        let mut inner = inner(&[]);
        inner.asked = Some(Asked { completed: 3, rolled_back: 0, takes_back: false });
        let snapshot = |completed| PoolSnapshot { swaps_completed: completed, ..PoolSnapshot::default() };
        assert_eq!(inner.outcome(&snapshot(3)), Outcome::Pending);
        assert_eq!(inner.outcome(&snapshot(4)), Outcome::Done);
        assert!(inner.asked.is_none());
    }

    #[test]
    fn what_the_pool_gave_up_is_taken_back_once() {
        let mut inner = inner(&[]);
        let last_swap = Some(EndedSwap {
            generation: 2,
            cause: String::new(),
            took_ms: 1,
            failure: Some("not healthy".to_owned()),
        });
        let snapshot = PoolSnapshot { swaps_rolled_back: 1, last_swap, ..PoolSnapshot::default() };
        inner.asked = Some(Asked { completed: 0, rolled_back: 0, takes_back: false });
        assert_eq!(inner.outcome(&snapshot), Outcome::Failed("not healthy".to_owned()));
        inner.asked = Some(Asked { completed: 0, rolled_back: 0, takes_back: true });
        assert_eq!(inner.outcome(&snapshot), Outcome::Pending);
    }

    #[test]
    fn only_the_profile_that_is_for_latency_leaves_nothing_for_later() {
        let at_once = Profile::ALL.into_iter().filter(|profile| rest(*profile).is_zero());
        assert_eq!(at_once.collect::<Vec<_>>(), [Profile::Latency]);
    }

    #[test]
    fn a_rate_is_what_came_since_the_last_look() {
        let mut inner = inner(&[]);
        let begin = Instant::now();
        let after = |ms, records, processor| Counted {
            at: begin + Duration::from_millis(ms),
            records,
            processor: Duration::from_millis(processor),
        };
        assert_eq!(inner.flow(after(0, 1_000, 50)), None);
        assert_eq!(inner.flow(after(100, 1_100, 90)), None, "too soon");
        assert_eq!(inner.flow(after(2_000, 1_500, 550)), Some(Flow { delivered: 250.0, cpu: 0.25 }));
    }

    #[test]
    fn only_connections_that_carry_records_are_looked_at() {
        let connection = |state, p50| ConnectionSnapshot {
            state,
            round_trip_ms: Some(Quantiles { p50, p99: p50 }),
            throttle_ms: p50 as u64,
            ..ConnectionSnapshot::default()
        };
        let connections =
            vec![connection(ConnectionState::Active, 3.0), connection(ConnectionState::Draining, 90.0)];
        let snapshot = PoolSnapshot { connections, ..PoolSnapshot::default() };
        let seen = observation(&Report::default(), &snapshot, Flow { delivered: 0.0, cpu: 0.0 });
        assert_eq!((seen.round_trip_ms, seen.throttle_ms), (Some(3.0), 3));
    }

    #[test]
    fn what_is_computed_takes_processor_time() {
        let (before, begin, mut work) = (processor_time(), Instant::now(), 0_u64);
        while begin.elapsed() < Duration::from_millis(20) {
            work = std::hint::black_box(work.wrapping_add(1));
        }
        assert!(processor_time() > before, "{work}");
    }
}
