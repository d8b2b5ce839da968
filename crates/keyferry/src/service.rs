//! One slot on its way to every destination: a thread for each, one that moves what is delivered to an archive, and one that waits for the word to stop.
//!
//! The invariants:
//!
//! - **A destination delays only itself.** One whose configuration is incomplete, whose client cannot be made, or whose delivery has failed is
//!   tried again later; nothing else waits for it. Its segments are kept meanwhile.
//! - **The service ends with an error only when no destination is left to deliver to**, so that where there is one, its error is that of the service.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

use keyferry_config::{Destination, Readiness};
use keyferry_journal::{SlotDirectory, Storage as _};
use keyferry_kafka::{ConnectionPoolManager, PoolHandle};
use keyferry_monitor::{DestinationStatus, Status, StatusFile};
use keyferry_pipeline::{DrainLimits, Ended, Share, Stop};

use crate::archiving::Archiving;
use crate::error::Error;
use crate::live::{Entry, Live, Shipment, Standing};
use crate::shipment::{Plan, Route, lack, sink, wall_ms};
use crate::stop::{Bell, Broadcast};
use crate::unwanted::UnwantedFile;

/// How often a destination that cannot be used looks whether what it waits for has come (a certificate file, say).
const CONFIGURATION_INTERVAL: Duration = Duration::from_secs(5);
/// A delivery that failed begins again after so long, doubled up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Whose slot it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenure {
    /// The agent's own.
    Own,
    /// That of a process which is gone, until everything in it is delivered.
    Adopted,
}

/// What is done for one slot, whose lock the caller holds.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// The slot.
    pub slot: &'a Path,
    /// Whose it is.
    pub tenure: Tenure,
    /// Where its events go.
    pub plan: &'a Plan,
    /// Where it is written down how that stands.
    pub live: &'a Live,
    /// How long draining may take.
    pub limits: DrainLimits,
}

/// How a thread has ended: with its result, or what it panicked with.
type Outcome = Result<Result<Ended, Error>, Box<dyn Any + Send>>;

impl<'a> Service<'a> {
    /// Ships until `stop` is given, and drains then, every destination for itself. `at_stop` is called before that.
    ///
    /// # Errors
    /// No destination is left to deliver to: the error of the last.
    pub fn run(&self, stop: &mut dyn Stop, at_stop: &mut dyn FnMut()) -> Result<Ended, Error> {
        self.tell_of_others();
        let (over, bell, status) = (Broadcast::new()?, Bell::new()?, SlotStatus::of(self));
        let unwanted = (self.tenure == Tenure::Own).then(|| UnwantedFile::begin(self.slot, self.plan));
        let members = self.members();
        let (sender, outcomes) = channel();
        let context = Context {
            service: self,
            over: &over,
            bell: &bell,
            status: &status,
            unwanted: unwanted.as_ref(),
            outcomes: &sender,
        };
        let ended = std::thread::scope(|scope| {
            let _end = over.at_the_end();
            if let Some(Member { share, .. }) = members.first() {
                let (share, over) = (share.clone(), &over);
                let Self { slot, plan, live, .. } = *self;
                scope.spawn(move || Archiving { slot, journal: &plan.journal, share, live }.run(over));
            }
            let mut crew = Crew::of(&members, self.live);
            loop {
                crew.begin_due(scope, context);
                bell.wait(&stop.descriptors(), crew.next_due());
                crew.settle(&outcomes)?;
                if stop.is_given() {
                    unwanted.iter().for_each(UnwantedFile::withdraw);
                    at_stop();
                    over.give();
                    return crew.finish(&outcomes);
                }
            }
        });
        if ended.is_ok() {
            status.tell_end();
        }
        ended
    }

    fn members(&self) -> Vec<Member<'a>> {
        let shares = Share::among(self.plan.destinations.len());
        let members = self.plan.destinations.iter().zip(shares).map(|(readiness, share)| {
            let entry = self.live.enter(self.slot, readiness.name().as_str(), self.tenure == Tenure::Adopted);
            Member { readiness, share, entry }
        });
        members.collect()
    }

    /// A destination that is configured no longer keeps its place, in case it comes back, and keeps nothing else.
    fn tell_of_others(&self) {
        let configured: BTreeSet<&str> =
            self.plan.destinations.iter().map(|readiness| readiness.name().as_str()).collect();
        let Ok(entries) = std::fs::read_dir(self.slot) else { return };
        for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            if let Some(destination) =
                name.strip_suffix(".checkpoint").filter(|name| !configured.contains(name))
            {
                tracing::info!(
                    "{}: no destination `{destination}` is configured any more: nothing is delivered to it, and no segment kept for it",
                    self.slot.display()
                );
            }
        }
    }

    /// What the journal holds, in bytes; 0 if that cannot be told.
    fn journal_bytes(&self) -> u64 {
        let segments = SlotDirectory::open(self.slot).ok().and_then(|mut slot| slot.list().ok());
        segments.unwrap_or_default().iter().map(|segment| segment.length).sum()
    }
}

/// One destination of a service.
struct Member<'a> {
    readiness: &'a Readiness,
    share: Share,
    entry: Entry<'a>,
}

/// What the threads of a service share.
#[derive(Clone, Copy)]
struct Context<'env, 'a> {
    service: &'env Service<'a>,
    over: &'env Broadcast,
    bell: &'env Bell,
    status: &'env SlotStatus<'a>,
    unwanted: Option<&'env UnwantedFile>,
    outcomes: &'env Sender<(usize, Outcome)>,
}

impl Context<'_, '_> {
    /// Delivers to one destination as soon as that is possible, and until the word to stop.
    fn deliver(self, member: &Member<'_>) -> Result<Ended, Error> {
        let name = member.entry.destination();
        let span = tracing::info_span!("to", destination = name);
        let _several = (self.service.plan.destinations.len() > 1).then(|| span.enter());
        let Some((destination, sink)) = self.usable(member) else { return Ok(Ended::Undelivered) };
        let Service { slot, plan, limits, .. } = *self.service;
        let journal = self.service.live.journal().unwrap_or_else(|| plan.journal.clone());
        let route = Route { slot, destination: &destination, journal: &journal, share: &member.share };
        route.ship(sink, &mut self.over.listener(), limits, &mut |report, phase, handles| {
            member.entry.runs(report, phase, handles);
            self.status.tell();
            self.unwanted.into_iter().for_each(UnwantedFile::keep);
        })
    }

    /// The destination and its sink, as soon as it can be used; `None` if the word to stop came first.
    fn usable(self, member: &Member<'_>) -> Option<(Destination, (ConnectionPoolManager, PoolHandle))> {
        let mut told = None;
        loop {
            let reason = match self.service.live.present(member.readiness) {
                None => lack(member.readiness).unwrap_or_default(),
                Some(destination) => match sink(&destination) {
                    Ok(sink) => return Some((destination, sink)),
                    Err(error) => error.to_string(),
                },
            };
            if told.as_ref() != Some(&reason) {
                match member.readiness {
                    // Where a provider is the parent, it has warned of it already.
                    Readiness::Incomplete { .. } => tracing::info!("{reason}"),
                    Readiness::Complete(_) | Readiness::Unresolved { .. } => tracing::error!("{reason}"),
                }
            }
            member.entry.waits(reason.clone(), self.service.journal_bytes());
            self.status.tell();
            told = Some(reason);
            if self.over.wait(CONFIGURATION_INTERVAL) {
                return None;
            }
        }
    }
}

/// The destinations of a service and the threads that deliver to them.
struct Crew<'env, 'a> {
    hands: Vec<Hand<'env, 'a>>,
    live: &'a Live,
}

/// One destination, and how often it has failed.
struct Hand<'env, 'a> {
    member: &'env Member<'a>,
    state: HandState,
    failures: u32,
}

enum HandState {
    Running,
    /// Begins again then.
    Failed {
        not_before: Instant,
    },
    Ended(Ended),
}

impl<'env, 'a> Crew<'env, 'a> {
    fn of(members: &'env [Member<'a>], live: &'a Live) -> Self {
        let now = Instant::now();
        let begin = |member| Hand { member, state: HandState::Failed { not_before: now }, failures: 0 };
        Self { hands: members.iter().map(begin).collect(), live }
    }

    fn begin_due<'scope>(&mut self, scope: &'scope Scope<'scope, 'env>, context: Context<'env, 'a>) {
        for (index, hand) in self.hands.iter_mut().enumerate() {
            if !matches!(hand.state, HandState::Failed { not_before } if not_before <= Instant::now()) {
                continue;
            }
            hand.state = HandState::Running;
            let member = hand.member;
            scope.spawn(move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| context.deliver(member)));
                // Whoever receives it is there until every thread has ended.
                let _ = context.outcomes.send((index, outcome));
                context.bell.ring();
            });
        }
    }

    /// For how long nothing is due; `None` if nothing will be.
    fn next_due(&self) -> Option<Duration> {
        let due = self.hands.iter().filter_map(|hand| match hand.state {
            HandState::Failed { not_before } => Some(not_before),
            HandState::Running | HandState::Ended(_) => None,
        });
        due.min().map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// Takes in which threads have ended.
    fn settle(&mut self, outcomes: &Receiver<(usize, Outcome)>) -> Result<(), Error> {
        while let Ok((index, outcome)) = outcomes.try_recv() {
            self.take_in(index, outcome)?;
        }
        Ok(())
    }

    fn take_in(&mut self, index: usize, outcome: Outcome) -> Result<(), Error> {
        let hand = &mut self.hands[index];
        let reason = match &outcome {
            Ok(Ok(ended)) => {
                hand.state = HandState::Ended(*ended);
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "a fault of the program".to_owned(),
        };
        let delay = RETRY.0.saturating_mul(1 << hand.failures.min(16)).min(RETRY.1);
        hand.failures += 1;
        hand.state = HandState::Failed { not_before: Instant::now() + delay };
        if !self.hands.iter().any(|hand| hand.delivers(self.live)) {
            return match outcome {
                Ok(result) => result.map(|_| ()),
                Err(panic) => resume_unwind(panic),
            };
        }
        let member = self.hands[index].member;
        tracing::error!("{}: {reason}; delivery to it begins again in {delay:?}", member.entry.destination());
        member.entry.waits(reason, 0);
        Ok(())
    }

    /// Waits until every thread has drained; the worst end is that of all.
    fn finish(mut self, outcomes: &Receiver<(usize, Outcome)>) -> Result<Ended, Error> {
        while self.hands.iter().any(|hand| matches!(hand.state, HandState::Running)) {
            let Ok((index, outcome)) = outcomes.recv() else { break };
            self.take_in(index, outcome)?;
        }
        let drained = |hand: &Hand<'_, '_>| matches!(hand.state, HandState::Ended(Ended::Drained));
        Ok(if self.hands.iter().all(drained) { Ended::Drained } else { Ended::Undelivered })
    }
}

impl Hand<'_, '_> {
    /// Whether it delivers, or has done so until the word to stop. One that waits for its configuration does not.
    fn delivers(&self, live: &Live) -> bool {
        let usable = live.present(self.member.readiness).is_some();
        usable && matches!(self.state, HandState::Running | HandState::Ended(_))
    }
}

/// `status.json` of one slot, which several threads write.
struct SlotStatus<'a> {
    slot: &'a Path,
    adopted: bool,
    live: &'a Live,
    file: Mutex<StatusFile>,
}

impl<'a> SlotStatus<'a> {
    fn of(service: &Service<'a>) -> Self {
        let Service { slot, tenure, live, .. } = *service;
        Self { slot, adopted: tenure == Tenure::Adopted, live, file: Mutex::new(StatusFile::in_slot(slot)) }
    }

    fn tell(&self) {
        self.write(self.status());
    }

    fn tell_end(&self) {
        self.write(self.status().stopped());
    }

    fn status(&self) -> Status {
        Status::of(self.live.of_slot(self.slot).iter().map(status_of).collect()).of_adopted(self.adopted)
    }

    fn write(&self, status: Status) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write(status, wall_ms());
    }
}

fn status_of(shipment: &Shipment) -> DestinationStatus {
    let name = &shipment.key.destination;
    match &shipment.standing {
        Standing::Waiting { reason, backlog_bytes } => {
            DestinationStatus::waiting(name, reason.clone(), *backlog_bytes)
        }
        Standing::Running(running) => DestinationStatus::of(name, &running.report, running.phase),
    }
}
