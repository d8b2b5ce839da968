//! What it costs to answer Prometheus, with as many series as a large Keycloak has. What counting costs an event is measured by `cargo xtask cost-of-metrics`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use keyferry_monitor::metrics::catalog::{EVENTS_PUBLISHED, EVENTS_RECEIVED, LATENCY};
use keyferry_monitor::metrics::{Format, Samples, expose};
use keyferry_pipeline::meter::Counts;

const TYPES: usize = 40;
const REALMS: usize = 25;

/// Two counters for each type of event in each realm, and a histogram.
fn samples() -> Samples {
    let mut samples = Samples::default();
    for metric in [&EVENTS_RECEIVED, &EVENTS_PUBLISHED] {
        for number in 0..TYPES * REALMS {
            let (event_type, realm) =
                (format!("TYPE_{}", number % TYPES), format!("realm-{}", number / TYPES));
            samples.count(metric, &["slot-0", "kafka", "user", &event_type, &realm], number as u64);
        }
    }
    samples.histogram(&LATENCY, &["slot-0", "kafka"], &Counts::default(), &[]);
    samples
}

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20)
        .configure_from_args();
    let samples = samples();
    let mut group = criterion.benchmark_group("metrics");
    group.throughput(Throughput::Elements(samples.iter().count() as u64));
    for (name, format) in
        [("text", Format::Text), ("OpenMetrics", Format::OpenMetrics), ("protobuf", Format::Protobuf)]
    {
        group.bench_function(name, |bencher| bencher.iter(|| expose(black_box(&samples), format)));
    }
    group.finish();
    criterion.final_summary();
}
