//! What is known of Kafka: brokers, connections, tuners.
//!
//! A connection counts from its own beginning, and connections are replaced. The invariant: **what is exposed as a counter never falls because of
//! that**: [`Accrual`] adds up what each connection has counted since it was looked at last. What one counts between the last look and its end is lost.

use std::collections::BTreeMap;

use keyferry_kafka::PoolSnapshot;
use keyferry_kafka::pool::{ConnectionSnapshot, ConnectionState, Quantiles};
use keyferry_kafka::tuner::TunerState;

use super::catalog::*;
use super::collector::{Certificates, Observation};
use super::definition::Metric;
use super::sample::Samples;

/// How many milliseconds make a second.
const MILLIS: f64 = 1_000.0;

pub(super) fn collect(shipments: &[Observation], accrual: &mut Accrual) -> Samples {
    let mut samples = Samples::default();
    for Observation { slot, destination, standing } in shipments {
        if let Ok(observed) = standing {
            let labels = [slot.as_str(), destination.as_str()];
            pool(&mut samples, labels, &observed.pool);
            traffic(&mut samples, labels, &observed.pool.connections);
            tuner(&mut samples, labels, &observed.tuner);
            certificates(&mut samples, labels, observed.certificates);
            for connection in &observed.pool.connections {
                brokers(&mut samples, labels, connection);
                count(accrual, labels, connection);
            }
        }
    }
    accrual.put(&mut samples);
    samples
}

fn pool(samples: &mut Samples, [slot, destination]: [&str; 2], pool: &PoolSnapshot) {
    for (state, word) in [
        (ConnectionState::Active, "active"),
        (ConnectionState::WarmingUp, "warming-up"),
        (ConnectionState::Standby, "standby"),
        (ConnectionState::Draining, "draining"),
    ] {
        let number = pool.connections.iter().filter(|connection| connection.state == state).count();
        samples.count(&CONNECTIONS, &[slot, destination, word], number as u64);
    }
    samples.count(&POOL_GENERATION, &[slot, destination], pool.generation);
    samples.count(&POOL_SWAPS, &[slot, destination, "completed"], pool.swaps_completed);
    samples.count(&POOL_SWAPS, &[slot, destination, "rolled-back"], pool.swaps_rolled_back);
    samples.count(&POOL_RESETS, &[slot, destination], pool.resets);
}

/// Of all connections together: sums, of times that of the slowest, of ratios that of the first that has one.
fn traffic(samples: &mut Samples, labels: [&str; 2], connections: &[ConnectionSnapshot]) {
    let sum = |of: fn(&ConnectionSnapshot) -> u64| connections.iter().map(of).sum();
    samples.count(&REQUESTS_IN_FLIGHT, &labels, sum(|connection| connection.requests_in_flight));
    samples.count(&QUEUE_RECORDS, &labels, sum(|connection| connection.queue_messages));
    samples.count(&QUEUE_BYTES, &labels, sum(|connection| connection.queue_bytes));
    let throttle = connections.iter().map(|connection| connection.throttle_ms).max();
    samples.put_some(&THROTTLE, &labels, throttle.map(|throttle| throttle as f64 / MILLIS));
    let slowest = |of: fn(&ConnectionSnapshot) -> Option<Quantiles>| {
        connections.iter().filter_map(of).max_by(|a, b| a.p99.total_cmp(&b.p99))
    };
    quantiles(samples, &ROUND_TRIP, &labels, slowest(|connection| connection.round_trip_ms));
    quantiles(samples, &QUEUE_TIME, &labels, slowest(|connection| connection.queue_time_ms));
    let first = |of: fn(&ConnectionSnapshot) -> Option<f64>| connections.iter().find_map(of);
    samples.put_some(&BATCH_FILL, &labels, first(|connection| connection.batch_fill));
    samples.put_some(&COMPRESSION, &labels, first(|connection| connection.compression_ratio));
}

fn quantiles(samples: &mut Samples, metric: &'static Metric, labels: &[&str], times: Option<Quantiles>) {
    if let Some(Quantiles { p50, p99 }) = times {
        samples.put(metric, &[labels, &["50"]].concat(), p50 / MILLIS);
        samples.put(metric, &[labels, &["99"]].concat(), p99 / MILLIS);
    }
}

/// Of several connections to one broker, that of the serving generation tells.
fn brokers(samples: &mut Samples, [slot, destination]: [&str; 2], connection: &ConnectionSnapshot) {
    if !matches!(connection.state, ConnectionState::Active | ConnectionState::Draining) {
        return;
    }
    for broker in &connection.brokers {
        let labels = [slot, destination, broker.address.as_str()];
        if samples.of(&BROKER_UP).any(|sample| sample.labels == labels) {
            continue;
        }
        samples.count(&BROKER_UP, &labels, broker.is_up.into());
        samples.count(&BROKER_IN_FLIGHT, &labels, broker.requests_in_flight);
        quantiles(samples, &BROKER_ROUND_TRIP, &labels, broker.round_trip_ms);
    }
}

fn count(accrual: &mut Accrual, [slot, destination]: [&str; 2], connection: &ConnectionSnapshot) {
    let labels = [slot, destination];
    accrual.see(&CONNECTS, &labels, connection.id, connection.connects);
    accrual.see(&DISCONNECTS, &labels, connection.id, connection.reconnects);
    accrual.see(&REFUSED_BATCHES, &labels, connection.id, connection.refused_batches);
    for broker in &connection.brokers {
        let labels = [slot, destination, broker.address.as_str()];
        accrual.see(&BROKER_RETRIES, &labels, connection.id, broker.retries);
        accrual.see(&BROKER_TIMEOUTS, &labels, connection.id, broker.timeouts);
        accrual.see(&BROKER_ERRORS, &labels, connection.id, broker.errors);
        accrual.see(&BROKER_BYTES, &labels, connection.id, broker.sent_bytes);
    }
}

fn certificates(samples: &mut Samples, [slot, destination]: [&str; 2], certificates: Certificates) {
    let Certificates { client_until_s, authority_until_s } = certificates;
    for (whose, until_s) in [("client", client_until_s), ("authority", authority_until_s)] {
        samples.put_some(&CERTIFICATE_EXPIRY, &[slot, destination, whose], until_s.map(|until| until as f64));
    }
}

fn tuner(samples: &mut Samples, [slot, destination]: [&str; 2], state: &TunerState) {
    let (profile, pace) = (state.profile.to_string(), state.pace.to_string());
    let compression = state.tuning.compression.to_string();
    samples.count(&TUNER_INFO, &[slot, destination, &profile, &pace, &compression], 1);
    let labels = [slot, destination];
    samples.count(&TUNER_FROZEN, &labels, state.frozen.into());
    samples.count(&TUNER_BATCH, &labels, state.tuning.batch_size);
    samples.put(&TUNER_LINGER, &labels, state.tuning.linger_ms as f64 / MILLIS);
    samples.count(&TUNER_CONNECTIONS, &labels, state.tuning.connections as u64);
    for (setting, direction, count) in state.decisions.iter() {
        samples.count(&TUNER_DECISIONS, &[slot, destination, setting, direction], count);
    }
}

/// Adds up what connections count, each from its own beginning.
#[derive(Debug, Default)]
pub(super) struct Accrual {
    series: BTreeMap<(&'static str, Vec<String>), Accrued>,
}

#[derive(Debug)]
struct Accrued {
    metric: &'static Metric,
    total: u64,
    /// By connection: what it had counted when it was looked at last, and whether that was in this round.
    seen: BTreeMap<u64, (u64, bool)>,
}

impl Accrual {
    fn see(&mut self, metric: &'static Metric, labels: &[&str], connection: u64, count: u64) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let new = || Accrued { metric, total: 0, seen: BTreeMap::new() };
        let accrued = self.series.entry((metric.name, labels)).or_insert_with(new);
        let (before, _) = accrued.seen.insert(connection, (count, true)).unwrap_or_default();
        // Less than before: it has begun anew.
        accrued.total += count.checked_sub(before).unwrap_or(count);
    }

    /// Ends a round: gives every total, and forgets what was not seen in it.
    fn put(&mut self, samples: &mut Samples) {
        self.series.retain(|(_, labels), accrued| {
            accrued.seen.retain(|_, (_, is_new)| std::mem::take(is_new));
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            samples.count(accrued.metric, &labels, accrued.total);
            !accrued.seen.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_does_not_fall_when_a_connection_is_replaced_or_begins_anew() {
        let mut accrual = Accrual::default();
        let mut round = |counts: &[(u64, u64)]| {
            for (connection, count) in counts {
                accrual.see(&CONNECTS, &["slot-0", "a"], *connection, *count);
            }
            let mut samples = Samples::default();
            accrual.put(&mut samples);
            samples.of(&CONNECTS).map(|sample| sample.number()).collect::<Vec<_>>()
        };
        assert_eq!(round(&[(1, 5)]), [5.0]);
        assert_eq!(round(&[(1, 7), (2, 1)]), [8.0]);
        assert_eq!(round(&[(2, 3)]), [10.0], "the first is gone");
        assert_eq!(round(&[(2, 2)]), [12.0], "it has begun anew");
        assert_eq!(round(&[]), [12.0], "the last word of a shipment");
        assert!(round(&[]).is_empty());
    }
}
