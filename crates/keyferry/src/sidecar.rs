//! An agent for all slots of a journal directory, beside one or more Keycloaks that start none of their own.
//!
//! The invariant: **what happens in one slot does not keep the others from being shipped.** Each slot has its own threads, its own
//! lock and its own clients of Kafka. A slot that fails is tried again later; one that appears is served within a second or two; one that another
//! agent serves is left to it until it lets go.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use keyferry_pipeline::Ended;

use crate::adoption::slots;
use crate::agent::DRAIN;
use crate::alerting;
use crate::configuring::{self, Beginning};
use crate::control::Control;
use crate::error::Error;
use crate::live::Live;
use crate::otlp;
use crate::service::{Service, Tenure};
use crate::shipment::Plan;
use crate::slot_lock::SlotLock;
use crate::stop::{Broadcast, Hangup, StopSources};

/// How often the directory is looked at.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);
/// A slot that failed is tried again after so long, doubled up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Ships every slot of `journal`, as they appear, until told to stop.
///
/// # Errors
/// The Kafka client refuses the configuration, or the directory cannot be listed when the agent starts.
pub fn serve(
    journal: &Path,
    Beginning { plan, mut changing }: Beginning,
    live: &Live,
    control: &Control,
    hangup: &Hangup,
    stop: &mut StopSources,
) -> Result<(), Error> {
    std::fs::read_dir(journal).map_err(|source| Error::Directory { path: journal.to_owned(), source })?;
    // A configuration that is refused is refused for every slot: better told once, and at once.
    plan.check()?;
    let over = Broadcast::new()?;
    changing.take_effect(&plan, live);
    let plan = &plan;
    std::thread::scope(|scope| {
        let _end = over.at_the_end();
        scope.spawn(|| changing.run(live, hangup, &over));
        scope.spawn(|| configuring::follow(plan, live, &over));
        scope.spawn(|| {
            alerting::run(
                &alerting::Settings { directory: journal, plan, metrics: control.metrics() },
                live,
                &over,
            )
        });
        scope.spawn(|| otlp::run(plan, control.metrics(), &over));
        let mut fleet = Fleet { plan, live, over: &over, crews: HashMap::new() };
        loop {
            for slot in slots(journal) {
                fleet.serve(scope, slot);
            }
            if stop.wait(SCAN_INTERVAL) {
                return;
            }
        }
    });
    tracing::info!("stopped; what is not delivered stays in the journal");
    Ok(())
}

/// The slots that have been met.
struct Fleet<'scope, 'env> {
    plan: &'env Plan,
    live: &'env Live,
    over: &'env Broadcast,
    crews: HashMap<PathBuf, Crew<'scope>>,
}

/// What is done for one slot.
struct Crew<'scope> {
    thread: Option<ScopedJoinHandle<'scope, Outcome>>,
    /// How often it has failed in succession.
    failures: u32,
    not_before: Instant,
}

/// How a thread has ended.
enum Outcome {
    /// The word to stop came.
    Stopped,
    /// Another agent serves the slot.
    Busy,
    /// It failed, and has said so.
    Failed,
}

impl<'scope, 'env: 'scope> Fleet<'scope, 'env> {
    /// Sees to it that somebody ships `slot`, if it is time for that.
    fn serve(&mut self, scope: &'scope Scope<'scope, 'env>, slot: PathBuf) {
        let crew = self.crews.entry(slot.clone()).or_insert_with(Crew::new);
        crew.settle();
        if crew.thread.is_some() || crew.not_before > Instant::now() {
            return;
        }
        let (plan, live, over) = (self.plan, self.live, self.over);
        crew.thread = Some(scope.spawn(move || work(&slot, plan, live, over)));
    }
}

impl Crew<'_> {
    fn new() -> Self {
        Self { thread: None, failures: 0, not_before: Instant::now() }
    }

    /// Takes in how the thread has ended, if it has.
    fn settle(&mut self) {
        let Some(thread) = self.thread.take_if(|thread| thread.is_finished()) else { return };
        match thread.join() {
            Ok(Outcome::Stopped | Outcome::Busy) => self.failures = 0,
            Ok(Outcome::Failed) | Err(_) => {
                let delay = RETRY.0.saturating_mul(1 << self.failures.min(16)).min(RETRY.1);
                self.failures += 1;
                self.not_before = Instant::now() + delay;
            }
        }
    }
}

fn work(slot: &Path, plan: &Plan, live: &Live, over: &Broadcast) -> Outcome {
    match ship_slot(slot, plan, live, over) {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!("{}: {error}; it is tried again", slot.display());
            Outcome::Failed
        }
    }
}

fn ship_slot(slot: &Path, plan: &Plan, live: &Live, over: &Broadcast) -> Result<Outcome, Error> {
    let lock = match SlotLock::acquire(slot) {
        Err(keyferry_journal::Error::Locked { .. }) => return Ok(Outcome::Busy),
        lock => lock?,
    };
    tracing::info!("serving {}", slot.display());
    let service = Service { slot, tenure: Tenure::Own, plan, live, limits: DRAIN };
    let ended = service.run(&mut over.listener(), &mut || {})?;
    drop(lock);
    if ended == Ended::Undelivered {
        tracing::warn!("{}: what is not delivered stays in the journal", slot.display());
    }
    Ok(Outcome::Stopped)
}
