//! What runs in this process: each slot on its way to each destination, how it stands, and how to steer it.
//!
//! The invariant: **whoever looks or steers never makes delivery wait.** Each pipeline's thread writes down how it stands about once a second;
//! everybody else reads copies of that, and steers by handles that leave a wish behind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyferry_config::{Destination, Journal, Readiness, Sources};
use keyferry_kafka::PoolHandle;
use keyferry_pipeline::{Controls, Meter, Phase, Report};
use keyferry_registry::SchemaRegistry;

use crate::alerting::Alerting;
use crate::configuring::Configuring;
use crate::schema_registry;
use crate::tuning::Tuned;

/// Everything that runs. Cheap to share: behind an `Arc`, for any thread.
#[derive(Default)]
pub struct Live {
    shipments: Mutex<BTreeMap<Key, Shipment>>,
    /// Destinations as they are configured now, by name.
    renewed: Mutex<BTreeMap<String, Destination>>,
    /// What is kept, as it is configured now.
    journal: Mutex<Option<Journal>>,
    /// Destinations that are reached by their fallback servers, by name.
    failed_over: Mutex<BTreeSet<String>>,
    /// Slots whose delivered segments are moved to the archive.
    moving: Mutex<BTreeSet<PathBuf>>,
    /// What the whole agent waits for.
    waiting: Mutex<Option<String>>,
    /// Where the configuration was read from.
    sources: Mutex<Option<Sources>>,
    supervised: AtomicBool,
    /// Alerts and incidents.
    pub alerting: Alerting,
    /// What is configured, while it changes.
    pub configuring: Configuring,
}

/// What makes out a shipment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The slot's directory.
    pub slot: PathBuf,
    /// The destination's name.
    pub destination: String,
}

/// One slot on its way to one destination.
#[derive(Clone, Debug)]
pub struct Shipment {
    /// Which it is.
    pub key: Key,
    /// Whether the slot is that of a process which is gone.
    pub adopted: bool,
    /// How it stands.
    pub standing: Standing,
}

/// How a shipment stands.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It cannot begin yet, or has failed and begins again later.
    Waiting {
        /// What for, in words.
        reason: String,
        /// What the journal holds meanwhile, in bytes.
        backlog_bytes: u64,
    },
    /// It is under way.
    Running(Box<Running>),
}

/// A shipment that is under way.
#[derive(Clone, Debug)]
pub struct Running {
    /// What its pipeline reported last, about a second ago at most.
    pub report: Report,
    /// What its pipeline was in the middle of then.
    pub phase: Phase,
    /// How to steer it.
    pub handles: Handles,
}

/// How to steer a shipment. Cheap to clone; has no effect once the shipment has ended.
#[derive(Clone, Debug)]
pub struct Handles {
    /// Its connections.
    pub pool: PoolHandle,
    /// Its pipeline.
    pub controls: Arc<Controls>,
    /// Where its pipeline counts.
    pub meter: Arc<Meter>,
    /// What fits its connections to what flows.
    pub tuner: Arc<Tuned>,
    /// Where its pipeline gets the ids of schemas.
    pub registry: Arc<SchemaRegistry>,
}

impl Handles {
    /// Replaces the connections by ones to `destination` as it is now.
    fn renew(&self, destination: &Destination, cause: &str) {
        self.tuner.renew(destination, cause);
        self.registry.configure(schema_registry::configuration(destination));
    }
}

impl Shipment {
    /// The slot as people call it: the last part of its path.
    pub fn slot_name(&self) -> String {
        let name = self.key.slot.file_name().unwrap_or(self.key.slot.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// What is under way, if something is.
    pub fn running(&self) -> Option<&Running> {
        match &self.standing {
            Standing::Running(running) => Some(running),
            Standing::Waiting { .. } => None,
        }
    }
}

impl Live {
    /// The agent cannot begin to ship anything yet, and what it waits for; `None` if it can.
    pub fn waits(&self, reason: Option<String>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// What the whole agent waits for, if it does.
    pub fn waiting(&self) -> Option<String> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The configuration was read from `sources`.
    pub fn configured_by(&self, sources: Sources) {
        *self.sources.lock().unwrap_or_else(PoisonError::into_inner) = Some(sources);
    }

    /// Where the configuration was read from, if it was.
    pub fn sources(&self) -> Option<Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this is configured; whoever begins to ship begins with it.
    pub fn adopt<'a>(&self, destinations: impl Iterator<Item = &'a Destination>, journal: &Journal) {
        let named = destinations.map(|one| (one.name.as_str().to_owned(), one.clone()));
        self.renewals().extend(named);
        *self.journal.lock().unwrap_or_else(PoisonError::into_inner) = Some(journal.clone());
    }

    /// A destination as it is configured and reached now, if it can be used.
    pub fn configured(&self, destination: &str) -> Option<Destination> {
        let configured = self.renewals().get(destination).cloned();
        configured.map(|destination| self.as_reached(&destination))
    }

    /// What is kept, as it is configured now.
    pub fn journal(&self) -> Option<Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A certain shipment, if there is one.
    pub fn shipment(&self, key: &Key) -> Option<Shipment> {
        self.lock().get(key).cloned()
    }

    /// Somebody starts this agent again when it ends.
    pub fn is_supervised_from_now_on(&self) {
        self.supervised.store(true, Ordering::Relaxed);
    }

    /// Whether somebody starts this agent again when it ends.
    pub fn is_supervised(&self) -> bool {
        self.supervised.load(Ordering::Relaxed)
    }

    /// Everything, by slot and destination.
    pub fn shipments(&self) -> Vec<Shipment> {
        self.lock().values().cloned().collect()
    }

    /// What is shipped from `slot`, by destination.
    pub fn of_slot(&self, slot: &Path) -> Vec<Shipment> {
        self.lock().values().filter(|shipment| shipment.key.slot == slot).cloned().collect()
    }

    /// Notes that `slot` is to be shipped to `destination`, until what is returned is dropped.
    pub fn enter(&self, slot: &Path, destination: &str, adopted: bool) -> Entry<'_> {
        let key = Key { slot: slot.to_owned(), destination: destination.to_owned() };
        let standing = Standing::Waiting { reason: "starting".to_owned(), backlog_bytes: 0 };
        self.lock().insert(key.clone(), Shipment { key: key.clone(), adopted, standing });
        Entry { live: self, key }
    }

    /// Replaces the connections of whatever is shipped to `destination` by ones with its present credentials, and lets later ones have them too.
    pub fn renew(&self, destination: &Destination, cause: &str) {
        let name = destination.name.as_str();
        self.renewals().insert(name.to_owned(), destination.clone());
        let destination = &self.as_reached(destination);
        let shipments = self.shipments();
        let concerned = shipments.iter().filter(|shipment| shipment.key.destination == name);
        for running in concerned.filter_map(Shipment::running) {
            running.handles.renew(destination, cause);
        }
    }

    /// The destination with its present credentials; `None` if it cannot be used, or not yet.
    pub fn present(&self, readiness: &Readiness) -> Option<Destination> {
        let present = self.renewals().get(readiness.name().as_str()).or(readiness.complete()).cloned();
        present.map(|destination| self.as_reached(&destination))
    }

    /// From now on `destination` is reached by its fallback servers, or by the first ones again. Whether that is news; if it is, its connections are replaced.
    pub fn reach_by_fallback(&self, destination: &Destination, fallback: bool, cause: &str) -> bool {
        let name = destination.name.as_str();
        let is_news = {
            let mut failed_over = self.failed_over.lock().unwrap_or_else(PoisonError::into_inner);
            if fallback { failed_over.insert(name.to_owned()) } else { failed_over.remove(name) }
        };
        if is_news {
            self.renew(destination, cause);
        }
        is_news
    }

    /// Lets what is delivered of `slot` be moved to the archive from now on, or no longer.
    pub fn move_segments(&self, slot: &Path, moves: bool) {
        let mut moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        if moves {
            moving.insert(slot.to_owned());
        } else {
            moving.remove(slot);
        }
    }

    /// Whether what is delivered of `slot` is to be moved to the archive.
    pub fn moves_segments(&self, slot: &Path) -> bool {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner).contains(slot)
    }

    /// The destination with the servers by which it is reached now.
    pub fn as_reached(&self, destination: &Destination) -> Destination {
        let failed_over = self.failed_over.lock().unwrap_or_else(PoisonError::into_inner);
        let fallback = failed_over.contains(destination.name.as_str()).then(|| destination.by_fallback());
        fallback.flatten().unwrap_or_else(|| destination.clone())
    }

    fn renewals(&self) -> MutexGuard<'_, BTreeMap<String, Destination>> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A map of copies is whole whatever happened to the thread that held it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Shipment>> {
        self.shipments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it was configured by may be secret.
impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("shipments", &self.shipments).finish_non_exhaustive()
    }
}

/// A shipment's own place in [`Live`], for the thread that runs it.
#[derive(Debug)]
pub struct Entry<'a> {
    live: &'a Live,
    key: Key,
}

impl Entry<'_> {
    /// The destination's name.
    pub fn destination(&self) -> &str {
        &self.key.destination
    }

    /// It cannot begin yet.
    pub fn waits(&self, reason: String, backlog_bytes: u64) {
        self.stands(Standing::Waiting { reason, backlog_bytes });
    }

    /// It is under way.
    pub fn runs(&self, report: &Report, phase: Phase, handles: &Handles) {
        let running = Running { report: report.clone(), phase, handles: handles.clone() };
        self.stands(Standing::Running(Box::new(running)));
    }

    fn stands(&self, standing: Standing) {
        if let Some(shipment) = self.live.lock().get_mut(&self.key) {
            shipment.standing = standing;
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.live.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_failed_over_stays_so_through_a_change_of_credentials() {
        let options =
            [("bootstrap-servers", "near:1"), ("topic-events", "e"), ("fallback-bootstrap-servers", "far:1")];
        let config = keyferry_config::load(&Sources::new().with_options(options)).unwrap().config;
        let [readiness @ Readiness::Complete(destination)] = &config.destinations[..] else {
            panic!("{config:?}")
        };
        let live = Live::default();
        let servers = || live.present(readiness).unwrap().bootstrap_servers.to_string();
        assert_eq!(servers(), "near:1");
        assert!(live.reach_by_fallback(destination, true, "a test") && servers() == "far:1");
        assert!(!live.reach_by_fallback(destination, true, "a test"), "it is no news");
        assert_eq!(live.configured("default").unwrap().bootstrap_servers.to_string(), "far:1");
        live.renew(destination, "credentials changed");
        assert_eq!(servers(), "far:1");
        assert!(live.reach_by_fallback(destination, false, "a test") && servers() == "near:1");
    }

    #[test]
    fn a_shipment_is_there_as_long_as_its_entry() {
        let live = Live::default();
        let (slot, other) = (Path::new("/journal/slot-0"), Path::new("/journal/slot-1"));
        let near = live.enter(slot, "near", false);
        let far = live.enter(slot, "far", false);
        let _adopted = live.enter(other, "near", true);
        far.waits("no servers".to_owned(), 7);
        let names = |shipments: Vec<Shipment>| -> Vec<String> {
            shipments.iter().map(|one| format!("{} {}", one.slot_name(), one.key.destination)).collect()
        };
        assert_eq!(names(live.shipments()), ["slot-0 far", "slot-0 near", "slot-1 near"]);
        let far_stands = live.of_slot(slot).remove(0).standing;
        assert!(
            matches!(far_stands, Standing::Waiting { reason, backlog_bytes: 7 } if reason == "no servers")
        );
        drop(near);
        assert_eq!(names(live.of_slot(slot)), ["slot-0 far"]);
    }
}
