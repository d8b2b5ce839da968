//! How other threads speak to a pool.
//!
//! The invariant: **a handle never waits for the pool, nor the pool for a handle**: a wish is left behind and taken up at the pool's next
//! [`poll`](keyferry_event::Sink::poll), which the handle brings about by writing to the pool's descriptor.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::pool::snapshot::PoolSnapshot;
use crate::settings::ProducerSettings;

/// What a pool shall become. What is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// What producers are told.
    pub settings: Option<ProducerSettings>,
    /// How many connections there shall be, within the pool's limits.
    pub connections: Option<usize>,
    /// The least and the most connections that there may be from now on.
    pub limits: Option<(usize, usize)>,
    /// What it is for, in words for the log.
    pub cause: String,
}

impl Change {
    /// This change and then `later`.
    pub(crate) fn and(self, later: Self) -> Self {
        Self {
            settings: later.settings.or(self.settings),
            connections: later.connections.or(self.connections),
            limits: later.limits.or(self.limits),
            cause: if self.cause.contains(&later.cause) {
                self.cause
            } else {
                format!("{}; {}", self.cause, later.cause)
            },
        }
    }
}

/// A handle on a [`ConnectionPoolManager`](crate::pool::ConnectionPoolManager): cheap to clone, for any thread. Outlives the pool; wishes are lost then.
#[derive(Clone, Debug)]
pub struct PoolHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    wanted: Mutex<Option<Change>>,
    snapshot: Mutex<PoolSnapshot>,
    wake: Arc<OwnedFd>,
}

impl PoolHandle {
    pub(crate) fn new(wake: Arc<OwnedFd>) -> Self {
        Self {
            shared: Arc::new(Shared {
                wanted: Mutex::new(None),
                snapshot: Mutex::new(PoolSnapshot::default()),
                wake,
            }),
        }
    }

    /// Replaces the connections by ones with `settings`: starts them, checks them, drains the old ones, and swaps. If the new ones are not healthy in time the old
    /// ones stay; [`PoolSnapshot::last_swap`] says so.
    pub fn replace(&self, settings: ProducerSettings, cause: &str) {
        self.change(Change { settings: Some(settings), cause: cause.to_owned(), ..Change::default() });
    }

    /// Replaces the connections by `connections` ones, within the pool's limits. No more than a wish if there are so many already.
    pub fn resize(&self, connections: usize) {
        let cause = format!("{connections} connections wanted");
        self.change(Change { connections: Some(connections), cause, ..Change::default() });
    }

    /// Replaces the connections by ones with the same settings.
    pub fn reconnect(&self, cause: &str) {
        self.change(Change { cause: cause.to_owned(), ..Change::default() });
    }

    /// Makes `change`, together with what was wished for and not taken up yet, by one replacement.
    pub fn change(&self, change: Change) {
        let mut wanted = lock(&self.shared.wanted);
        *wanted = Some(match wanted.take() {
            Some(earlier) => earlier.and(change),
            None => change,
        });
        drop(wanted);
        // It fails only when the count is at its limit, and then it is readable already.
        let _ = rustix::io::write(&*self.shared.wake, &1_u64.to_ne_bytes());
    }

    /// What the pool told of itself last.
    pub fn snapshot(&self) -> PoolSnapshot {
        lock(&self.shared.snapshot).clone()
    }

    pub(crate) fn take_wanted(&self) -> Option<Change> {
        lock(&self.shared.wanted).take()
    }

    pub(crate) fn publish(&self, snapshot: PoolSnapshot) {
        *lock(&self.shared.snapshot) = snapshot;
    }
}

/// Whoever panicked with the lock held left a whole value behind: it is only ever replaced.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
