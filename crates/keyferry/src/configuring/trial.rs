//! How a change is put into effect, and taken back.
//!
//! What takes new connections is tried first: they are made and checked by the pool, which lets the old ones deliver what they have. Only when all of them have taken over the rest
//! follows, which cannot fail.

use std::time::{Duration, Instant};

use keyferry_config::change::Trial;
use keyferry_config::{Class, Destination};
use keyferry_pipeline::Tunables;

use crate::live::{Key, Live, Shipment};
use crate::schema_registry;
use crate::shipment::{settings, sink};
use crate::stop::Broadcast;
use crate::tuning;

/// How often it is looked whether new connections have taken over.
const LOOK: Duration = Duration::from_millis(10);
/// Longer than a pool takes to give connections up.
const LIMIT: Duration = Duration::from_secs(60);

/// Connections that are being replaced.
pub struct Swaps {
    cause: String,
    begun: Vec<Swap>,
}

struct Swap {
    key: Key,
    before: Destination,
}

/// Begins to replace the connections that the change concerns.
///
/// # Errors
/// Settings that do not go together, or that the Kafka client refuses.
pub fn begin(live: &Live, trial: &Trial) -> Result<Swaps, String> {
    let (plan, config) = (&trial.plan, &trial.loaded.config);
    let concerned: Vec<&Destination> = (0..)
        .zip(&config.destinations)
        .filter(|(number, _)| plan.class_of(*number).is_some())
        .filter_map(|(_, readiness)| readiness.complete())
        .collect();
    for destination in &concerned {
        tuning::tuner(destination).map_err(|error| error.to_string())?;
    }
    let swapped: Vec<&Destination> = (0..)
        .zip(&config.destinations)
        .filter(|(number, _)| plan.class_of(*number) == Some(Class::Swap))
        .filter_map(|(_, readiness)| readiness.complete())
        .collect();
    for destination in &swapped {
        // Made and dropped before it connects: whether the client takes the settings at all.
        sink(destination).map_err(|error| error.to_string())?;
    }
    let mut swaps = Swaps { cause: live.configuring.next_cause(), begun: Vec::new() };
    for shipment in live.shipments() {
        let Some(running) = shipment.running() else { continue };
        let named = |one: &&&Destination| one.name.as_str() == shipment.key.destination;
        let Some(destination) = swapped.iter().find(named) else { continue };
        let tuner = &running.handles.tuner;
        swaps.begun.push(Swap { key: shipment.key.clone(), before: tuner.destination() });
        tuner
            .reconfigure(&live.as_reached(destination), &swaps.cause, true)
            .map_err(|error| error.to_string())?;
    }
    Ok(swaps)
}

impl Swaps {
    /// Waits until all new connections have taken over.
    ///
    /// # Errors
    /// Why some have not.
    pub fn wait(&self, live: &Live, over: &Broadcast) -> Result<(), String> {
        let begun = Instant::now();
        for swap in &self.begun {
            loop {
                match self.ended(live, swap) {
                    Some(result) => break result?,
                    None if begun.elapsed() >= LIMIT => {
                        return Err(format!("new connections have not taken over within {LIMIT:?}"));
                    }
                    None if over.wait(LOOK) => return Err("the agent ends".to_owned()),
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// How a replacement ended; `None` while it has not. What is not shipped any more has nothing to replace.
    fn ended(&self, live: &Live, swap: &Swap) -> Option<Result<(), String>> {
        let Some(shipment) = live.shipment(&swap.key) else { return Some(Ok(())) };
        let Some(running) = shipment.running() else { return Some(Ok(())) };
        let last = running.handles.pool.snapshot().last_swap?;
        if !last.cause.contains(&self.cause) {
            return None;
        }
        let of = || format!("{} to {}", shipment.slot_name(), shipment.key.destination);
        Some(last.failure.map_or(Ok(()), |failure| Err(format!("{}: new connections fail: {failure}", of()))))
    }

    /// Has the connections as they were.
    pub fn take_back(&self, live: &Live, reason: &str) {
        for Swap { key, before } in &self.begun {
            let Some(shipment) = live.shipment(key) else { continue };
            let Some(running) = shipment.running() else { continue };
            let cause = format!("{} taken back", self.cause);
            if let Err(error) = running.handles.tuner.reconfigure(before, &cause, true) {
                tracing::error!("{cause} ({reason}): {error}");
            }
        }
    }
}

/// Whatever is shipped otherwise than it is configured now is told how. That is a shipment that has begun while the configuration changed, and one that changes without new connections.
pub fn reconcile(live: &Live) {
    for shipment in live.shipments() {
        if let Some((running, destination)) = present(live, &shipment)
            && running.handles.tuner.destination() != destination
        {
            let needs_swap = properties_differ(&running.handles.tuner.destination(), &destination);
            let result = running.handles.tuner.reconfigure(&destination, "configuration changed", needs_swap);
            if let Err(error) = result {
                tracing::error!("{} to {}: {error}", shipment.slot_name(), shipment.key.destination);
            }
            retune_one(live, &shipment);
        }
    }
}

/// Tells every pipeline by which settings to work now.
pub fn retune(live: &Live) {
    live.shipments().iter().for_each(|shipment| retune_one(live, shipment));
}

fn retune_one(live: &Live, shipment: &Shipment) {
    if let Some((running, destination)) = present(live, shipment)
        && let Some(journal) = live.journal()
    {
        running.handles.registry.configure(schema_registry::configuration(&destination));
        running.handles.controls.retune(Tunables::of(&settings(&destination, &journal)));
    }
}

fn present<'a>(live: &Live, shipment: &'a Shipment) -> Option<(&'a crate::live::Running, Destination)> {
    Some((shipment.running()?, live.configured(&shipment.key.destination)?))
}

/// Whether connections to the one are not those to the other.
fn properties_differ(one: &Destination, other: &Destination) -> bool {
    let properties = keyferry_config::librdkafka::properties;
    properties(one) != properties(other) || one.pool != other.pool
}
