//! What a process has left behind that is gone: slots that nobody writes and nobody ships, and that hold something undelivered.
//!
//! The invariants:
//!
//! - **Only the holder of a slot's lock ships it**, and the lock is given up after the sink is gone: when the next agent begins, nothing of
//!   this one is on its way any more.
//! - **A writer never waits for an adopter.** When a writer appears on an adopted slot, its own agent is not far: the adopter
//!   writes its checkpoint and lets go within a second.
//!
//! Slots are adopted one after the other, by one thread beside those of the agent's own slot. One that waits only for destinations that take nothing is
//! let go for a while, so that it does not keep the others from being adopted.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keyferry_journal::slot::WRITER_LOCK;
use keyferry_journal::storage::Segment;
use keyferry_journal::{LockHolder, SlotDirectory, Storage as _};
use keyferry_pipeline::{DrainLimits, State, Stop};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::error::Error;
use crate::live::{Live, Shipment};
use crate::service::{Service, Tenure};
use crate::shipment::Plan;
use crate::slot_lock::SlotLock;
use crate::stop::Broadcast;

/// How often the siblings are looked at: what a process left behind that is gone waits for so long at most.
const SCAN_INTERVAL: Duration = Duration::from_secs(5);
/// How often an adopter asks whether a writer has appeared.
const WRITER_INTERVAL: Duration = Duration::from_millis(250);
/// For how long there must be nothing to deliver before an adopted slot is let go. Longer than the journal's reader takes to
/// believe that the writer is gone, after which the transactions in doubt follow.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// Nothing is drained: the journal keeps what is on its way.
const AT_ONCE: DrainLimits = DrainLimits { total: Duration::ZERO, stalled: Duration::ZERO };
/// After an error in a slot, or when only destinations that take nothing are waited for, it is left alone for so long.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// Adopts siblings of `slot` that need it, until `over` is given.
pub fn adopt_siblings(slot: &Path, plan: &Plan, live: &Live, over: &Broadcast) {
    let mut siblings = match Siblings::of(slot) {
        Ok(Some(siblings)) => siblings,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!("cannot look for slots that were left behind: {error}");
            return;
        }
    };
    while !over.wait(SCAN_INTERVAL) {
        siblings.adopt_each(plan, live, over);
    }
}

/// The other slots of a journal.
struct Siblings {
    journal: PathBuf,
    own: PathBuf,
    known: HashMap<PathBuf, Known>,
}

/// What is known of a slot, so that it is not adopted for nothing.
enum Known {
    /// Everything in it was delivered when these were its segments.
    Delivered(Vec<Segment>),
    /// It could not be shipped, or not to every destination, when it was let go then.
    LeftAlone(Instant),
}

impl Siblings {
    /// `None` if `slot` is not one of a journal's, by its name.
    fn of(slot: &Path) -> std::io::Result<Option<Self>> {
        let own = slot.canonicalize()?;
        let journal = own.parent().filter(|_| own.file_name().is_some_and(is_slot)).map(Path::to_owned);
        Ok(journal.map(|journal| Self { journal, own, known: HashMap::new() }))
    }

    fn adopt_each(&mut self, plan: &Plan, live: &Live, over: &Broadcast) {
        for sibling in slots(&self.journal) {
            if sibling == self.own || over.is_given() {
                continue;
            }
            if let Err(error) = self.adopt_if_left(&sibling, plan, live, over) {
                tracing::warn!("cannot ship {}, which was left behind: {error}", sibling.display());
                self.known.insert(sibling, Known::LeftAlone(Instant::now()));
            }
        }
    }

    fn adopt_if_left(
        &mut self,
        sibling: &Path,
        plan: &Plan,
        live: &Live,
        over: &Broadcast,
    ) -> Result<(), Error> {
        let segments = segments(sibling)?;
        if segments.is_empty() || self.is_known(sibling, &segments) || has_writer(sibling)? {
            return Ok(());
        }
        let lock = match SlotLock::acquire(sibling) {
            Err(keyferry_journal::Error::Locked { .. }) => return Ok(()),
            lock => lock?,
        };
        let known = match adopt(sibling, plan, live, over)? {
            Parting::Delivered => Some(Known::Delivered(self::segments(sibling)?)),
            Parting::Halted => Some(Known::LeftAlone(Instant::now())),
            Parting::Writer | Parting::Over => None,
        };
        if let Some(known) = known {
            self.known.insert(sibling.to_owned(), known);
        }
        drop(lock);
        Ok(())
    }

    fn is_known(&self, sibling: &Path, segments: &[Segment]) -> bool {
        match self.known.get(sibling) {
            Some(Known::Delivered(then)) => then == segments,
            Some(Known::LeftAlone(at)) => at.elapsed() < LEFT_ALONE,
            None => false,
        }
    }
}

/// The slots of a journal directory, by number.
pub fn slots(journal: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(journal) else { return Vec::new() };
    let mut slots: Vec<_> =
        entries.flatten().filter(|entry| is_slot(&entry.file_name())).map(|entry| entry.path()).collect();
    slots.sort_by_key(|slot| number(slot.file_name().unwrap_or_default()));
    slots
}

fn is_slot(name: &OsStr) -> bool {
    number(name).is_some()
}

fn number(name: &OsStr) -> Option<u8> {
    name.to_str()?.strip_prefix("slot-")?.parse().ok()
}

fn segments(slot: &Path) -> Result<Vec<Segment>, keyferry_journal::Error> {
    let mut segments = SlotDirectory::open(slot)?.list().map_err(|source| keyferry_journal::Error::Io {
        operation: "list",
        path: slot.display().to_string(),
        source,
    })?;
    segments.sort_unstable();
    Ok(segments)
}

/// Whether somebody writes the slot. The writer's lock is another file than the agent's, so that asking gives up no lock of ours.
fn has_writer(slot: &Path) -> Result<bool, keyferry_journal::Error> {
    Ok(LockHolder::of(slot, WRITER_LOCK)?.is_some())
}

/// Why an adopted slot was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    /// Everything in it is delivered.
    Delivered,
    /// Everything is delivered to those destinations that take anything.
    Halted,
    /// Somebody writes it again.
    Writer,
    /// The agent ends.
    Over,
}

fn adopt(slot: &Path, plan: &Plan, live: &Live, over: &Broadcast) -> Result<Parting, Error> {
    tracing::info!("{} was left behind: shipping what is in it", slot.display());
    let mut tenancy = Tenancy::begin(slot, over, live)?;
    Service { slot, tenure: Tenure::Adopted, plan, live, limits: AT_ONCE }.run(&mut tenancy, &mut || {})?;
    let parting = tenancy.parting.unwrap_or(Parting::Over);
    match parting {
        Parting::Delivered => tracing::info!("everything in {} is delivered", slot.display()),
        Parting::Halted => tracing::info!(
            "everything in {} is delivered to those destinations that take anything: it is let go, and looked at again in {LEFT_ALONE:?}",
            slot.display()
        ),
        Parting::Writer => tracing::info!("{} is written again: it is let go", slot.display()),
        Parting::Over => {}
    }
    Ok(parting)
}

/// The time for which a slot is adopted: the word to stop, as its service sees it.
struct Tenancy<'a> {
    slot: &'a Path,
    over: &'a Broadcast,
    /// Becomes readable each [`WRITER_INTERVAL`].
    ticks: OwnedFd,
    live: &'a Live,
    /// Why there is nothing to do any more, and since when.
    rest: Option<(Parting, Instant)>,
    parting: Option<Parting>,
}

impl<'a> Tenancy<'a> {
    fn begin(slot: &'a Path, over: &'a Broadcast, live: &'a Live) -> Result<Self, Error> {
        Ok(Self { slot, over, ticks: ticks().map_err(Error::Timer)?, live, rest: None, parting: None })
    }

    fn judge(&mut self) -> Option<Parting> {
        if self.over.is_given() {
            return Some(Parting::Over);
        }
        // A lock that cannot be asked is no reason to hold on to the slot.
        if has_writer(self.slot).unwrap_or(true) {
            return Some(Parting::Writer);
        }
        let rest = rest(&self.live.of_slot(self.slot));
        self.rest = match (rest, self.rest) {
            (Some(parting), Some((before, since))) if parting == before => Some((parting, since)),
            (Some(parting), _) => Some((parting, Instant::now())),
            (None, _) => None,
        };
        self.rest.filter(|(_, since)| since.elapsed() >= SETTLED_AFTER).map(|(parting, _)| parting)
    }
}

/// Why there is nothing to do for a slot, if so. Where no destination takes anything, there is: the first that does is served at once.
fn rest(shipments: &[Shipment]) -> Option<Parting> {
    let state =
        |shipment: &Shipment| shipment.running().map_or(State::Blocked, |running| running.report.state);
    let idle = shipments.iter().filter(|shipment| state(shipment) == State::Idle).count();
    let blocked = shipments.iter().filter(|shipment| state(shipment) == State::Blocked).count();
    match (idle, blocked) {
        (0, _) => None,
        (idle, _) if idle == shipments.len() => Some(Parting::Delivered),
        (idle, blocked) if idle + blocked == shipments.len() => Some(Parting::Halted),
        _ => None,
    }
}

impl Stop for Tenancy<'_> {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.over.as_fd(), self.ticks.as_fd()]
    }

    fn is_given(&mut self) -> bool {
        // The timer is non-blocking: one that has not run down yet is no error of interest.
        let _ = rustix::io::read(&self.ticks, &mut [0_u8; 8]);
        self.parting = self.judge();
        self.parting.is_some()
    }
}

fn ticks() -> rustix::io::Result<OwnedFd> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let interval = Timespec { tv_sec: 0, tv_nsec: i64::from(WRITER_INTERVAL.subsec_nanos()) };
    timerfd_settime(
        &timer,
        TimerfdTimerFlags::empty(),
        &Itimerspec { it_interval: interval, it_value: interval },
    )?;
    Ok(timer)
}
