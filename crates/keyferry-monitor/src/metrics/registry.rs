//! What is known of schema registries, where one is configured.

use keyferry_registry::Report;

use super::catalog::*;
use super::collector::Observation;
use super::sample::Samples;

pub(super) fn collect(shipments: &[Observation]) -> Samples {
    let mut samples = Samples::default();
    for Observation { slot, destination, standing } in shipments {
        if let Ok(observed) = standing
            && observed.registry.url.is_some()
        {
            reported(&mut samples, [slot, destination], &observed.registry);
        }
    }
    samples
}

fn reported(samples: &mut Samples, [slot, destination]: [&str; 2], report: &Report) {
    let labels = [slot, destination];
    samples.count(&REGISTRY_REQUESTS, &labels, report.requests);
    samples.put(&REGISTRY_SECONDS, &labels, report.busy.as_secs_f64());
    samples.count(&REGISTRY_IDS, &labels, report.known as u64);
    samples.count(&REGISTRY_WAITING, &labels, report.waiting as u64);
    for (kind, count) in &report.failures {
        samples.count(&REGISTRY_FAILURES, &[slot, destination, kind.word()], *count);
    }
}
