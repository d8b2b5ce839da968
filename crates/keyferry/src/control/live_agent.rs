//! What this agent shows of itself and takes from others: the registry of what runs, in the words of the API.
//!
//! The invariant: **nothing here waits for a thread that ships.** What is read are the copies in [`Live`]; what is asked for is left with a pipeline's
//! [`Controls`](keyferry_pipeline::Controls), or a pool's handle.

use std::path::Path;
use std::sync::Arc;

use keyferry_config::LogLevel;
use keyferry_kafka::pool::{ConnectionSnapshot, ConnectionState, PoolSnapshot, Quantiles, SwapPhase};
use keyferry_kafka::tuner::{Compression, Explicit, Profile, TunerState};
use keyferry_monitor::MetricsCollector;
use keyferry_monitor::metrics::system::System;
use keyferry_monitor::metrics::{Format, expose};
use keyferry_pipeline::backpressure::{BackpressureReport, Level};
use keyferry_pipeline::breaker::{BreakerReport, BreakerState, Forced};
use keyferry_pipeline::{Controls, Phase, Report, State};
use keyferry_server::{Agent, Alerting, Change, Configuration, Exposition, Refusal, model};

use crate::control::figures::figures;
use crate::live::{Handles, Live, Running, Shipment, Standing};
use crate::shipment::wall_ms;

/// The agent of this process.
#[derive(Debug)]
pub struct LiveAgent {
    live: Arc<Live>,
    metrics: MetricsCollector,
    started_ms: u64,
}

impl LiveAgent {
    /// The one that ships what is in `live`, started now.
    pub fn new(live: Arc<Live>, directory: &Path, keycloak: Option<i32>) -> Self {
        let metrics = MetricsCollector::new(Arc::clone(&live) as _, System::new(directory, keycloak));
        Self { live, metrics, started_ms: wall_ms() }
    }

    /// What is measured.
    pub fn metrics(&self) -> &MetricsCollector {
        &self.metrics
    }
}

impl Agent for LiveAgent {
    fn about(&self) -> model::About {
        model::About {
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: self.started_ms,
            waiting: self.live.waiting(),
        }
    }

    fn shipments(&self) -> Vec<model::Shipment> {
        self.live.shipments().iter().map(shipment).collect()
    }

    fn metrics(&self, accept: &str) -> Exposition {
        let format = Format::accepted(accept);
        Exposition { content_type: format.content_type(), body: expose(&self.metrics.collect(), format) }
    }

    fn figures(&self) -> model::Figures {
        let percentiles = self.metrics.latency_percentiles([50.0, 95.0, 99.0]);
        figures(&self.metrics.collect_event_metrics(), percentiles, wall_ms())
    }

    fn change(&self, slot: &str, destination: &str, change: &Change) -> Result<(), Refusal> {
        let shipments = self.live.shipments();
        let meant =
            |shipment: &&Shipment| shipment.key.destination == destination && shipment.slot_name() == slot;
        match shipments.iter().find(meant).map(|shipment| &shipment.standing) {
            Some(Standing::Running(running)) => make(&running.handles, change),
            Some(Standing::Waiting { reason, .. }) => {
                Err(Refusal::NotNow(format!("{destination} of {slot} is not being shipped: {reason}")))
            }
            None => Err(Refusal::NotNow(format!("{destination} of {slot} is not shipped any more"))),
        }
    }

    fn set_log_level(&self, level: &str) -> Result<(), Refusal> {
        let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
        let known = levels.into_iter().find(|known| known.as_str() == level);
        let names = levels.map(LogLevel::as_str).join(", ");
        let level = known
            .ok_or_else(|| Refusal::Invalid(format!("there is no level `{level}`; there are {names}")))?;
        if crate::log::set_level(level) {
            Ok(())
        } else {
            Err(Refusal::NotNow("RUST_LOG decides what is logged".to_owned()))
        }
    }

    fn configuration(&self) -> Option<&dyn Configuration> {
        self.live.configuring.has_begun().then_some(&self.live.configuring as &dyn Configuration)
    }

    fn alerting(&self) -> Option<&dyn Alerting> {
        self.live.alerting.has_begun().then_some(&self.live.alerting as &dyn Alerting)
    }
}

fn make(handles: &Handles, change: &Change) -> Result<(), Refusal> {
    match change {
        Change::Breaker(mode) => handles.controls.force_breaker(match mode {
            model::BreakerMode::Auto => None,
            model::BreakerMode::Open => Some(Forced::Open),
            model::BreakerMode::Closed => Some(Forced::Closed),
        }),
        Change::Reconnect => handles.pool.reconnect("an operator wants it"),
        Change::Resize(connections) => {
            let limits = handles.tuner.connection_limits();
            if !limits.contains(connections) {
                let (least, most) = limits.into_inner();
                return Err(Refusal::Invalid(format!(
                    "this pool cannot have {connections} connections; give a number from {least} to {most}, or move destination.pool.min_connections and \
                     destination.pool.max_connections"
                )));
            }
            handles.pool.resize(*connections as usize);
        }
        Change::Freeze(frozen) => handles.tuner.freeze(*frozen),
        Change::Profile(profile) => handles.tuner.choose(match profile {
            model::TunerProfile::Auto => Profile::Auto,
            model::TunerProfile::Latency => Profile::Latency,
            model::TunerProfile::Balanced => Profile::Balanced,
            model::TunerProfile::Throughput => Profile::Throughput,
            model::TunerProfile::Reliability => Profile::Reliability,
        }),
        Change::Override(overrides) => {
            handles.tuner.set_by_hand(explicit(overrides)).map_err(Refusal::Invalid)?;
        }
    }
    Ok(())
}

pub fn shipment(shipment: &Shipment) -> model::Shipment {
    let (slot, adopted) = (shipment.slot_name(), shipment.adopted);
    let destination = shipment.key.destination.clone();
    match &shipment.standing {
        Standing::Running(running) => model::Shipment {
            destination,
            delivery: delivery(slot, adopted, running),
            pool: Some(pool(running.handles.pool.snapshot())),
            tuner: Some(tuner(running.handles.tuner.state())),
        },
        Standing::Waiting { reason, backlog_bytes } => model::Shipment {
            destination,
            delivery: model::Delivery {
                slot,
                adopted,
                state: model::State::Waiting,
                reason: Some(reason.clone()),
                counts: model::Counts::default(),
                last_delivery: None,
                backlog: model::Backlog { bytes: *backlog_bytes, ..model::Backlog::default() },
                breaker: model::Breaker::default(),
                registry: None,
            },
            pool: None,
            tuner: None,
        },
    }
}

fn delivery(slot: String, adopted: bool, running: &Running) -> model::Delivery {
    let Running { report, phase, handles } = running;
    model::Delivery {
        slot,
        adopted,
        state: state(*phase, report.state),
        reason: report.reason.clone(),
        counts: counts(report),
        last_delivery: report.last_delivery_ms,
        backlog: backlog(&report.backpressure, report.backlog_bytes, handles.controls.holds_replays()),
        breaker: breaker(&report.breaker, &handles.controls),
        registry: registry(handles.registry.report()),
    }
}

fn registry(report: keyferry_registry::Report) -> Option<model::Registry> {
    let keyferry_registry::Report { url, known, waiting, failing, .. } = report;
    let since = failing.as_ref().map(|failing| wall_ms().saturating_sub(failing.for_ms));
    Some(model::Registry {
        url: url?,
        ids: known as u64,
        waiting: waiting as u64,
        cause: failing.as_ref().map(|failing| failing.kind.word().to_owned()),
        reason: failing.map(|failing| failing.what),
        since,
    })
}

fn state(phase: Phase, state: State) -> model::State {
    match (phase, state) {
        (Phase::Stopped, _) => model::State::Stopped,
        (Phase::Draining, _) => model::State::Draining,
        (Phase::Running, State::Idle) => model::State::Idle,
        (Phase::Running, State::Delivering) => model::State::Delivering,
        (Phase::Running, State::Blocked) => model::State::Blocked,
    }
}

fn counts(report: &Report) -> model::Counts {
    model::Counts {
        published: report.published,
        filtered: report.filtered,
        in_doubt: report.in_doubt,
        held: report.held,
        dead_letters: report.dead_letters,
        dead_letters_in_topic: report.dead_letters_in_topic,
        passed_over: report.passed_over,
        gap_records: report.gap_records,
        missing_events: report.missing_events,
        damaged_ranges: report.damaged_ranges,
        dropped_old_user_events: report.dropped_old_user_events,
        dropped_old_admin_events: report.dropped_old_admin_events,
        resets: report.resets,
    }
}

/// `held`: replays wait whatever it is.
fn backlog(pressure: &BackpressureReport, bytes: u64, held: bool) -> model::Backlog {
    model::Backlog {
        level: match pressure.level {
            Level::Normal => model::Level::Normal,
            Level::Elevated => model::Level::Elevated,
            Level::High => model::Level::High,
            Level::Critical => model::Level::Critical,
        },
        reason: pressure
            .reason
            .clone()
            .or_else(|| held.then(|| "incident response holds replays".to_owned())),
        since: pressure.since_ms,
        bytes,
        oldest_ms: pressure.oldest_ms,
        growth_bytes_per_s: pressure.growth_bytes_per_s,
        time_to_full_s: pressure.time_to_full_s,
        room_bytes: pressure.room_bytes,
        used_percent: pressure.used_percent,
        pauses_replay: held || pressure.pauses_replay(),
    }
}

/// The mode is what was asked for last, which the report may not have yet.
fn breaker(report: &BreakerReport, controls: &Controls) -> model::Breaker {
    let times = report.time_in_state_ms;
    model::Breaker {
        mode: match controls.forced_breaker() {
            None => model::BreakerMode::Auto,
            Some(Forced::Open) => model::BreakerMode::Open,
            Some(Forced::Closed) => model::BreakerMode::Closed,
        },
        state: match report.state {
            BreakerState::Closed => model::BreakerState::Closed,
            BreakerState::Open => model::BreakerState::Open,
            BreakerState::HalfOpen => model::BreakerState::HalfOpen,
        },
        cause: report.reason.map(|trip| trip.word().to_owned()),
        reason: report.detail.clone(),
        since: report.since_ms,
        next_attempt: report.next_attempt_ms,
        consecutive_failures: report.consecutive_failures,
        opened_total: report.opened_total,
        half_opened_total: report.half_opened_total,
        closed_total: report.closed_total,
        time_in_state_ms: model::TimeInState {
            closed: times.closed,
            open: times.open,
            half_open: times.half_open,
        },
    }
}

fn tuner(state: TunerState) -> model::Tuner {
    let tuning = state.tuning;
    model::Tuner {
        profile: match state.profile {
            Profile::Auto => model::TunerProfile::Auto,
            Profile::Latency => model::TunerProfile::Latency,
            Profile::Balanced => model::TunerProfile::Balanced,
            Profile::Throughput => model::TunerProfile::Throughput,
            Profile::Reliability => model::TunerProfile::Reliability,
        },
        frozen: state.frozen,
        pace: state.pace.to_string(),
        records_per_s: state.rate,
        tuning: model::Tuning {
            batch_size: tuning.batch_size,
            linger_ms: tuning.linger_ms,
            compression: tuning.compression.to_string(),
            max_in_flight: u32::from(tuning.max_in_flight),
            connections: u32::try_from(tuning.connections).unwrap_or(u32::MAX),
        },
        configured: configured(&state.explicit),
        overrides: overrides(&state.by_hand),
        decisions: state
            .history
            .into_iter()
            .map(|entry| model::Decision { time: entry.at_ms, text: entry.text })
            .collect(),
    }
}

fn explicit(overrides: &model::Overrides) -> Explicit {
    Explicit {
        batch_size: overrides.batch_size,
        linger_ms: overrides.linger_ms,
        compression: overrides.compression.map(|compression| match compression {
            model::Compression::None => Compression::None,
            model::Compression::Gzip => Compression::Gzip,
            model::Compression::Snappy => Compression::Snappy,
            model::Compression::Lz4 => Compression::Lz4,
            model::Compression::Zstd => Compression::Zstd,
        }),
        max_in_flight: overrides.max_in_flight,
        connections: overrides.connections.map(|connections| connections as usize),
    }
}

fn overrides(by_hand: &Explicit) -> model::Overrides {
    model::Overrides {
        batch_size: by_hand.batch_size,
        linger_ms: by_hand.linger_ms,
        compression: by_hand.compression.map(|compression| match compression {
            Compression::None => model::Compression::None,
            Compression::Gzip => model::Compression::Gzip,
            Compression::Snappy => model::Compression::Snappy,
            Compression::Lz4 => model::Compression::Lz4,
            Compression::Zstd => model::Compression::Zstd,
        }),
        max_in_flight: by_hand.max_in_flight,
        connections: by_hand.connections.map(|connections| u32::try_from(connections).unwrap_or(u32::MAX)),
    }
}

/// The names of what is configured.
fn configured(explicit: &Explicit) -> Vec<String> {
    let Explicit { batch_size, linger_ms, compression, max_in_flight, connections } = explicit;
    [
        ("batch_size", batch_size.is_some()),
        ("linger", linger_ms.is_some()),
        ("compression", compression.is_some()),
        ("max_in_flight", max_in_flight.is_some()),
        ("connections", connections.is_some()),
    ]
    .into_iter()
    .filter(|(_, is_given)| *is_given)
    .map(|(name, _)| name.to_owned())
    .collect()
}

fn pool(snapshot: PoolSnapshot) -> model::Pool {
    model::Pool {
        generation: snapshot.generation,
        size: u32::try_from(snapshot.size).unwrap_or(u32::MAX),
        connections: snapshot.connections.into_iter().map(connection).collect(),
        swap: snapshot.swap.map(|swap| model::Swap {
            generation: swap.generation,
            phase: match swap.phase {
                SwapPhase::WarmingUp => "warming-up",
                SwapPhase::Draining => "draining",
            }
            .to_owned(),
            cause: swap.cause,
            since_ms: swap.since_ms,
        }),
        last_swap: snapshot.last_swap.map(|swap| model::EndedSwap {
            generation: swap.generation,
            cause: swap.cause,
            took_ms: swap.took_ms,
            failure: swap.failure,
        }),
        swaps_completed: snapshot.swaps_completed,
        swaps_rolled_back: snapshot.swaps_rolled_back,
        resets: snapshot.resets,
    }
}

fn connection(snapshot: ConnectionSnapshot) -> model::Connection {
    let quantiles = |times: Quantiles| model::Quantiles { p50: times.p50, p99: times.p99 };
    model::Connection {
        id: snapshot.id,
        generation: snapshot.generation,
        state: match snapshot.state {
            ConnectionState::WarmingUp => "warming-up",
            ConnectionState::Standby => "standby",
            ConnectionState::Active => "active",
            ConnectionState::Draining => "draining",
        }
        .to_owned(),
        age_ms: snapshot.age_ms,
        round_trip_ms: snapshot.round_trip_ms.map(quantiles),
        queue_time_ms: snapshot.queue_time_ms.map(quantiles),
        requests_in_flight: snapshot.requests_in_flight,
        queue_records: snapshot.queue_messages,
        queue_bytes: snapshot.queue_bytes,
        delivered: snapshot.delivered,
        connects: snapshot.connects,
        reconnects: snapshot.reconnects,
        throttle_ms: snapshot.throttle_ms,
        batch_fill: snapshot.batch_fill,
        compression_ratio: snapshot.compression_ratio,
        last_error: snapshot.last_error,
    }
}
