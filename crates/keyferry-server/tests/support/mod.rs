//! An agent that only pretends.

#![allow(dead_code, reason = "each test program uses its part")]

pub mod listener;

use std::sync::{Mutex, MutexGuard};

use keyferry_server::configuration::{
    Config, ConfigChange, ConfigNodes, ConfigPatch, ConfigStep, ConfigVersion, Configuration, Proposal, Wish,
};
use keyferry_server::model::{About, Backlog, Breaker, Counts, Delivery, Pool, Shipment, State, Tuner};
use keyferry_server::{Agent, Change, Exposition, Refusal};

/// What it ships, and what was asked of it.
#[derive(Default)]
pub struct Fake {
    pub waiting: Option<String>,
    pub ships: Mutex<Vec<Shipment>>,
    pub was_asked: Mutex<Vec<String>>,
    pub configuration: Option<FakeConfiguration>,
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
        Exposition { content_type: "text/plain", body: format!("up 1 # {accept}\n").into_bytes() }
    }

    fn configuration(&self) -> Option<&dyn Configuration> {
        self.configuration.as_ref().map(|configuration| configuration as &dyn Configuration)
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
            registry: None,
        },
        pool: Some(Pool { generation: 1, size: 1, ..Pool::default() }),
        tuner: Some(Tuner::default()),
    }
}

/// A configuration that only pretends: a linger that may be set, and nothing else.
#[derive(Default)]
pub struct FakeConfiguration {
    pub linger: Mutex<Vec<String>>,
    ended: Mutex<Vec<Option<Result<ConfigChange, Refusal>>>>,
}

/// The key that may be set.
pub const LINGER: &str = "destination.delivery.linger";

impl FakeConfiguration {
    fn version(&self) -> ConfigVersion {
        let number = self.linger.lock().unwrap().len() as u64 + 1;
        ConfigVersion { version: number, hash: format!("hash{number}"), ..ConfigVersion::default() }
    }

    fn decide(&self, proposal: &Proposal) -> Option<Result<ConfigChange, Refusal>> {
        let running = self.version();
        if proposal.expected.as_ref().is_some_and(|expected| *expected != running.hash) {
            return Some(Err(Refusal::Stale(format!("{LINGER}: {} runs", running.hash))));
        }
        let (changes, is_for_all) = match &proposal.wish {
            Wish::Set(changes) => (changes, false),
            Wish::SetEverywhere(changes) => (changes, true),
            Wish::Rollback(_) => return Some(Err(Refusal::Invalid("there is no such version".to_owned()))),
        };
        match changes.get(LINGER).map(Option::as_deref) {
            Some(Some("slow")) => None,
            Some(Some("broken")) => Some(Err(Refusal::NotNow(format!("{LINGER} was taken back")))),
            Some(Some(value)) => {
                if !proposal.dry_run {
                    self.linger.lock().unwrap().push(value.to_owned());
                }
                let ConfigVersion { version, hash, .. } = self.version();
                let made = if is_for_all { "announced" } else { "committed" };
                let outcome = if proposal.dry_run { "planned" } else { made }.to_owned();
                let change = is_for_all.then(|| "c1".to_owned());
                Some(Ok(ConfigChange { outcome, version, hash, change, ..ConfigChange::default() }))
            }
            _ => {
                let keys: Vec<_> = changes.keys().cloned().collect();
                Some(Err(Refusal::Invalid(format!("unknown key {}", keys.join(", ")))))
            }
        }
    }
}

impl Configuration for FakeConfiguration {
    fn config(&self) -> Config {
        Config { version: self.version(), ..Config::default() }
    }

    fn submit(&self, proposal: Proposal) -> u64 {
        let ended = self.decide(&proposal);
        let mut all = self.ended.lock().unwrap();
        all.push(ended);
        all.len() as u64
    }

    fn outcome(&self, ticket: u64) -> Option<Result<ConfigChange, Refusal>> {
        let unknown = || Some(Err(Refusal::Invalid(format!("no change {ticket} is remembered"))));
        let index = (ticket as usize).wrapping_sub(1);
        self.ended.lock().unwrap().get(index).cloned().unwrap_or_else(unknown)
    }

    fn versions(&self) -> Vec<ConfigVersion> {
        vec![self.version()]
    }

    fn difference(&self, from: u64, to: u64) -> Result<Vec<ConfigStep>, Refusal> {
        if to > self.version().version {
            return Err(Refusal::Invalid(format!("there is no version {to}")));
        }
        let step = ConfigStep { key: LINGER.to_owned(), ..ConfigStep::default() };
        Ok(if from == to { Vec::new() } else { vec![step] })
    }

    fn nodes(&self) -> Result<ConfigNodes, Refusal> {
        let values = ConfigPatch([(LINGER.to_owned(), None)].into());
        Ok(ConfigNodes { topic: "config".to_owned(), values, ..ConfigNodes::default() })
    }
}
