//! The collector: what is asked, of whom, and what of it needs a memory.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyferry_kafka::PoolSnapshot;
use keyferry_kafka::tuner::TunerState;
use keyferry_pipeline::{Meter, Phase, Report};
use keyferry_registry::Report as RegistryReport;

use super::kafka::Accrual;
use super::sample::Samples;
use super::system::System;
use super::window::{Totals, Window};
use super::{catalog, events, kafka, registry};

/// What ships, for a collector to ask. No method may wait for delivery.
pub trait Shipments: Send + Sync {
    /// Each slot on its way to each destination.
    fn observe(&self) -> Vec<Observation>;
    /// Whether the agent ships nothing at all yet.
    fn is_waiting(&self) -> bool;
    /// How its configuration stands, once there is one.
    fn configuration(&self) -> Option<ConfigurationStands> {
        None
    }
}

/// How a configuration stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigurationStands {
    /// The version that runs.
    pub version: u64,
    /// Whether what the file says is not in use.
    pub is_file_not_in_use: bool,
    /// Changes that were committed since the agent started.
    pub committed: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Those that were taken back because they made things worse.
    pub taken_back: u64,
}

/// One slot on its way to one destination, as it was last written down.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The slot: the last part of its path.
    pub slot: String,
    /// The destination's name.
    pub destination: String,
    /// What the journal holds, in bytes, where nothing is under way yet; else how it stands.
    pub standing: Result<Box<Observed>, u64>,
}

/// What is known of a shipment that is under way.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The last report of its pipeline.
    pub report: Report,
    /// What it was in the middle of then.
    pub phase: Phase,
    /// Where its pipeline counts.
    pub meter: Arc<Meter>,
    /// Its connections.
    pub pool: PoolSnapshot,
    /// What fits them to what flows.
    pub tuner: TunerState,
    /// The schema registry.
    pub registry: RegistryReport,
    /// Until when the configured certificates are valid.
    pub certificates: Certificates,
}

/// Until when certificates are valid, in seconds since the Unix epoch; `None` where none is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// The first to expire of the client's own and its chain.
    pub client_until_s: Option<i64>,
    /// The last to expire of the authorities that are believed.
    pub authority_until_s: Option<i64>,
}

/// Collects everything that is measured. Cheap to share: behind an `Arc`, for any thread.
pub struct MetricsCollector {
    shipments: Arc<dyn Shipments>,
    system: System,
    accrual: Mutex<Accrual>,
    window: Mutex<Window>,
    pushes: Pushes,
    origin: Instant,
}

/// How often metrics were pushed.
#[derive(Default)]
struct Pushes {
    accepted: AtomicU64,
    failed: AtomicU64,
}

impl MetricsCollector {
    /// A collector of what `shipments` says and of `system`.
    pub fn new(shipments: Arc<dyn Shipments>, system: System) -> Self {
        Self {
            shipments,
            system,
            accrual: Mutex::default(),
            window: Mutex::default(),
            pushes: Pushes::default(),
            origin: Instant::now(),
        }
    }

    /// Everything.
    pub fn collect(&self) -> Samples {
        self.collect_some(&|_| true)
    }

    /// What this process knows by itself, and what `wanted` names of all that the system has to be asked for.
    pub(super) fn collect_some(&self, wanted: &dyn Fn(&str) -> bool) -> Samples {
        let shipments = self.shipments.observe();
        self.agent(wanted)
            .and(events::collect(&shipments))
            .and(self.kafka(&shipments))
            .and(registry::collect(&shipments))
            .and(self.system.collect(wanted))
    }

    /// Counts a push of metrics, and whether it was accepted.
    pub fn pushed(&self, is_accepted: bool) {
        let outcome = if is_accepted { &self.pushes.accepted } else { &self.pushes.failed };
        outcome.fetch_add(1, Ordering::Relaxed);
    }

    /// What is known of events: counts, latencies, logins, backlog, circuit breakers.
    pub fn collect_event_metrics(&self) -> Samples {
        events::collect(&self.shipments.observe())
    }

    /// What is known of Kafka: brokers, connections, tuners.
    pub fn collect_kafka_metrics(&self) -> Samples {
        self.kafka(&self.shipments.observe())
    }

    /// What is known of the agent's process, that of Keycloak, and the machine.
    pub fn collect_system_metrics(&self) -> Samples {
        self.system.collect(&|_| true)
    }

    /// Of the records that had an outcome in the last minute, the part that failed: 0 to 1, 0 if there were none. Over all shipments.
    pub fn error_rate(&self) -> f64 {
        self.last_minute().error_rate()
    }

    /// What `p` of a hundred events did not exceed that were acknowledged in the last minute, from their commit in the journal to the acknowledgement, within 5 %; `None` if
    /// there were none. Over all shipments.
    pub fn latency_percentile(&self, p: f64) -> Option<Duration> {
        self.latency_percentiles([p]).map(|[one]| one)
    }

    /// The same for several at once, of one reading.
    pub fn latency_percentiles<const N: usize>(&self, percentiles: [f64; N]) -> Option<[Duration; N]> {
        let latency = self.last_minute().latency;
        // Where one percentile is known, all are.
        latency.percentile(50.0)?;
        let of = |p| Duration::from_secs_f64(latency.percentile(p).unwrap_or_default() / 1_000.0);
        Some(percentiles.map(of))
    }

    fn last_minute(&self) -> Totals {
        let totals = Totals::of(&self.shipments.observe());
        lock(&self.window).advance(totals, self.origin.elapsed())
    }

    fn agent(&self, wanted: &dyn Fn(&str) -> bool) -> Samples {
        let mut samples = Samples::default();
        samples.count(&catalog::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
        if wanted(catalog::START_TIME.name) {
            samples.put_some(&catalog::START_TIME, &[], self.system.started());
        }
        samples.count(&catalog::WAITING, &[], self.shipments.is_waiting().into());
        if let Some(stands) = self.shipments.configuration() {
            samples.count(&catalog::CONFIG_VERSION, &[], stands.version);
            samples.count(&catalog::CONFIG_NOT_IN_USE, &[], stands.is_file_not_in_use.into());
            samples.count(&catalog::CONFIG_CHANGES, &["committed"], stands.committed);
            samples.count(&catalog::CONFIG_CHANGES, &["refused"], stands.refused);
            samples.count(&catalog::CONFIG_CHANGES, &["taken-back"], stands.taken_back);
        }
        for (outcome, count) in [("accepted", &self.pushes.accepted), ("failed", &self.pushes.failed)] {
            samples.count(&catalog::OTLP_PUSHES, &[outcome], count.load(Ordering::Relaxed));
        }
        samples
    }

    fn kafka(&self, shipments: &[Observation]) -> Samples {
        kafka::collect(shipments, &mut lock(&self.accrual))
    }
}

impl fmt::Debug for MetricsCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsCollector").field("system", &self.system).finish_non_exhaustive()
    }
}

/// What is in these is whole after every step, whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
