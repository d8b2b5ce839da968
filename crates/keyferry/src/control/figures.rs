//! What of everything that is measured somebody who looks sees first: sums over slots, realms and clients.
//!
//! Each destination meets the same events and counts them for itself, so that sums are of one destination: the one that has counted most.

use std::collections::BTreeMap;
use std::time::Duration;

use keyferry_monitor::metrics::{Metric, Samples, catalog};
use keyferry_server::model::{Counted, Figures, Latency};

/// How many types of events and errors of logins are told: more than anybody looks at.
const MOST: usize = 20;

/// The figures of `samples`, read at `time_ms`, and of the 50th, 95th and 99th percentile of the latency.
pub fn figures(samples: &Samples, percentiles: Option<[Duration; 3]>, time_ms: u64) -> Figures {
    let total = |metric| counted(samples, metric, None).values().sum();
    let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
    Figures {
        time: time_ms,
        latency_ms: percentiles.map(|[p50, p95, p99]| Latency { p50: ms(p50), p95: ms(p95), p99: ms(p99) }),
        received: total(&catalog::EVENTS_RECEIVED),
        published: total(&catalog::EVENTS_PUBLISHED),
        events: most(counted(samples, &catalog::EVENTS_RECEIVED, Some("type"))),
        logins: total(&catalog::LOGINS),
        login_failures: total(&catalog::LOGIN_FAILURES),
        login_errors: most(counted(samples, &catalog::LOGIN_ERRORS, Some("error"))),
    }
}

/// What `metric` has counted, by the values of `label`, of the destination that has counted most.
fn counted(samples: &Samples, metric: &'static Metric, label: Option<&str>) -> BTreeMap<String, u64> {
    let mut of_destinations: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
    for sample in samples.of(metric) {
        let name = label.and_then(|label| sample.label(label)).unwrap_or_default();
        let of_destination =
            of_destinations.entry(sample.label("destination").unwrap_or_default()).or_default();
        *of_destination.entry(name.to_owned()).or_default() += sample.number() as u64;
    }
    let most = of_destinations.into_values().max_by_key(|of| of.values().sum::<u64>());
    most.unwrap_or_default()
}

/// The most frequent first.
fn most(counted: BTreeMap<String, u64>) -> Vec<Counted> {
    let mut all: Vec<_> = counted.into_iter().map(|(name, count)| Counted { name, count }).collect();
    all.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.name.cmp(&other.name)));
    all.truncate(MOST);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_added_up_over_slots_and_realms_and_not_over_destinations() {
        let mut samples = Samples::default();
        for (slot, destination, kind, realm, count) in [
            ("slot-0", "kafka", "LOGIN", "one", 3),
            ("slot-1", "kafka", "LOGIN", "two", 4),
            ("slot-0", "kafka", "LOGOUT", "one", 9),
            ("slot-0", "siem", "LOGIN", "one", 5),
        ] {
            samples.count(&catalog::EVENTS_RECEIVED, &[slot, destination, "user", kind, realm], count);
        }
        let figures = figures(&samples, Some([1, 20, 300].map(Duration::from_millis)), 7);
        assert_eq!((figures.time, figures.received, figures.published), (7, 16, 0));
        let events: Vec<_> = figures.events.iter().map(|one| (one.name.as_str(), one.count)).collect();
        assert_eq!(events, [("LOGOUT", 9), ("LOGIN", 7)]);
        assert_eq!(figures.latency_ms, Some(Latency { p50: 1.0, p95: 20.0, p99: 300.0 }));
    }
}
