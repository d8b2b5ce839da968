//! Whether a change has made things worse: what every shipment counts, in the words of the machine.

use std::collections::BTreeMap;

use keyferry_config::change::{Health, Tally};
use keyferry_pipeline::Trip;

use crate::live::{Live, Running};

/// Tells breakers that opened by themselves from those that an operator has opened.
#[derive(Debug, Default)]
pub struct HealthBook {
    breakers: BTreeMap<String, Breaker>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Breaker {
    opened: u64,
    /// How many of these an operator wanted.
    wanted: u64,
}

impl HealthBook {
    /// What everything that runs has counted by now.
    pub fn of(&mut self, live: &Live) -> Health {
        let shipments = live.shipments();
        let running = shipments.iter().filter_map(|shipment| {
            let name = format!("{} to {}", shipment.key.slot.display(), shipment.key.destination);
            Some((name, shipment.running()?))
        });
        running.map(|(name, running)| (name.clone(), self.tally(name, running))).collect()
    }

    fn tally(&mut self, name: String, running: &Running) -> Tally {
        let report = &running.report;
        let breaker = self.breakers.entry(name).or_default();
        let opened = report.breaker.opened_total;
        if report.breaker.reason == Some(Trip::Forced) {
            breaker.wanted += opened.saturating_sub(breaker.opened);
        }
        breaker.opened = opened;
        let failed: u64 = running.handles.meter.failures().iter().map(|(_, count)| count).sum();
        Tally { openings: opened.saturating_sub(breaker.wanted), failures: failed + report.dead_letters }
    }
}
