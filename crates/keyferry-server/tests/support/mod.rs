//! An agent that only pretends.

#![allow(dead_code, reason = "each test program uses its part")]

use std::sync::{Mutex, MutexGuard};

use keyferry_server::model::{About, Backlog, Breaker, Counts, Delivery, Pool, Shipment, State, Tuner};
use keyferry_server::{Agent, Change, Exposition, Refusal};

/// What it ships, and what was asked of it.
#[derive(Default)]
pub struct Fake {
    pub waiting: Option<String>,
    pub ships: Mutex<Vec<Shipment>>,
    pub was_asked: Mutex<Vec<String>>,
}

impl Fake {
    pub fn shipping(shipments: impl Into<Vec<Shipment>>) -> Self {
        Self { ships: Mutex::new(shipments.into()), ..Self::default() }
    }

    /// The changes that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.was_asked.lock().unwrap().clone()
    }

    fn the_shipments(&self) -> MutexGuard<'_, Vec<Shipment>> {
        self.ships.lock().unwrap()
    }
}

impl Agent for Fake {
    fn about(&self) -> About {
        About { agent: "0.0.0".to_owned(), pid: 1, started: 2, waiting: self.waiting.clone() }
    }

    fn shipments(&self) -> Vec<Shipment> {
        self.the_shipments().clone()
    }

    fn metrics(&self, accept: &str) -> Exposition {
        Exposition { content_type: "text/plain", text: format!("up 1 # {accept}\n") }
    }

    fn change(&self, slot: &str, destination: &str, change: &Change) -> Result<(), Refusal> {
        self.was_asked.lock().unwrap().push(format!("{slot} {destination}: {change}"));
        let mut shipments = self.the_shipments();
        let shipment = shipments
            .iter_mut()
            .find(|shipment| shipment.delivery.slot == slot && shipment.destination == destination)
            .ok_or_else(|| Refusal::NotNow("it is gone".to_owned()))?;
        match change {
            Change::Breaker(mode) => shipment.delivery.breaker.mode = *mode,
            Change::Freeze(frozen) => shipment.tuner.as_mut().unwrap().frozen = *frozen,
            Change::Profile(profile) => shipment.tuner.as_mut().unwrap().profile = *profile,
            Change::Override(overrides) => shipment.tuner.as_mut().unwrap().overrides = overrides.clone(),
            Change::Reconnect => shipment.pool.as_mut().unwrap().generation += 1,
            Change::Resize(size @ 1..=4) => shipment.pool.as_mut().unwrap().size = *size,
            Change::Resize(size) => {
                return Err(Refusal::Invalid(format!("{size} connections: give a number from 1 to 4")));
            }
        }
        Ok(())
    }
}

/// One slot on its way to one destination.
pub fn shipment(destination: &str, slot: &str, state: State) -> Shipment {
    Shipment {
        destination: destination.to_owned(),
        delivery: Delivery {
            slot: slot.to_owned(),
            adopted: false,
            state,
            reason: (state == State::Blocked).then(|| "nobody answers".to_owned()),
            counts: Counts { published: 7, ..Counts::default() },
            last_delivery: None,
            backlog: Backlog { bytes: 42, ..Backlog::default() },
            breaker: Breaker::default(),
        },
        pool: Some(Pool { generation: 1, size: 1, ..Pool::default() }),
        tuner: Some(Tuner::default()),
    }
}
