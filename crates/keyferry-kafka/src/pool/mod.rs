//! The connections to one destination, replaced without a gap.
//!
//! The invariant: **exactly one generation of connections receives records, and a record's outcome is reported once, by the connection that took it.** Linger, batch size,
//! compression and credentials of a librdkafka producer are fixed when it is made, so changing one of them means a new producer; a record of the same key must not
//! leave by the new one as long as one is on its way by the old. Hence: start the new generation, check it, stop feeding the old one, let it deliver what it
//! has, and then swap.

mod handle;
mod settings;
mod snapshot;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyferry_event::{Failure, Record, SendError, Sink, Token};
use rustix::event::{EventfdFlags, eventfd};

pub use handle::{Change, PoolHandle};
pub use settings::PoolSettings;
pub use snapshot::{
    ConnectionSnapshot, ConnectionState, EndedSwap, PoolSnapshot, Quantiles, SwapPhase, SwapSnapshot,
};

use crate::sink::{KafkaSink, ProducerSettings};

/// How old a snapshot may become while the pool is polled.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);

/// The connections to one destination.
pub struct ConnectionPoolManager {
    connection: KafkaSink,
    successor: Option<Successor>,
    settings: ProducerSettings,
    generation: u64,
    outstanding: u64,
    born: Instant,
    handle: PoolHandle,
    published: Option<Instant>,
    last_swap: Option<EndedSwap>,
    swaps_completed: u64,
    swaps_rolled_back: u64,
    resets: u64,
    wake: Arc<OwnedFd>,
}

/// What takes over when the connection has delivered what it has.
struct Successor {
    connection: KafkaSink,
    settings: ProducerSettings,
    cause: String,
    since: Instant,
}

impl ConnectionPoolManager {
    /// A pool of producers with `settings`, and the handle on it. Does not wait for a connection.
    ///
    /// # Errors
    /// librdkafka refuses a setting, or cannot read a file that one names.
    pub fn new(settings: ProducerSettings, _pool: PoolSettings) -> Result<(Self, PoolHandle), Failure> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Failure::transient(format!("cannot create an eventfd: {error}")))?;
        let wake = Arc::new(wake);
        let handle = PoolHandle::new(Arc::clone(&wake));
        let pool = Self {
            connection: KafkaSink::waking(settings.clone(), Arc::clone(&wake))?,
            successor: None,
            settings,
            generation: 1,
            outstanding: 0,
            born: Instant::now(),
            handle: handle.clone(),
            published: None,
            last_swap: None,
            swaps_completed: 0,
            swaps_rolled_back: 0,
            resets: 0,
            wake,
        };
        Ok((pool, handle))
    }

    /// A handle on the pool.
    pub fn handle(&self) -> PoolHandle {
        self.handle.clone()
    }

    fn take_up(&mut self, now: Instant) {
        if self.successor.is_some() {
            return;
        }
        let Some(change) = self.handle.take_wanted() else { return };
        let settings = change.settings.unwrap_or_else(|| self.settings.clone());
        match KafkaSink::waking(settings.clone(), Arc::clone(&self.wake)) {
            Ok(connection) => {
                self.successor = Some(Successor { connection, settings, cause: change.cause, since: now })
            }
            Err(failure) => {
                tracing::warn!(
                    "{}: the connections stay as they are, for the new one fails: {failure}",
                    change.cause
                );
                self.swaps_rolled_back += 1;
                self.last_swap = Some(EndedSwap {
                    generation: self.generation + 1,
                    cause: change.cause,
                    took_ms: 0,
                    failure: Some(failure.reason),
                });
            }
        }
    }

    fn swap(&mut self, now: Instant) {
        let Some(successor) = self.successor.take_if(|_| self.outstanding == 0) else { return };
        (self.connection, self.settings) = (successor.connection, successor.settings);
        self.generation += 1;
        self.born = now;
        self.swaps_completed += 1;
        tracing::info!("{}: generation {} of connections takes over", successor.cause, self.generation);
        self.last_swap = Some(EndedSwap {
            generation: self.generation,
            cause: successor.cause,
            took_ms: millis(now - successor.since),
            failure: None,
        });
        self.published = None;
    }

    fn publish(&mut self, now: Instant) {
        if self.published.is_some_and(|at| now - at < SNAPSHOT_INTERVAL) {
            return;
        }
        self.published = Some(now);
        let state =
            if self.successor.is_some() { ConnectionState::Draining } else { ConnectionState::Active };
        let connection = ConnectionSnapshot {
            id: self.generation,
            generation: self.generation,
            state,
            age_ms: millis(now - self.born),
            queue_messages: self.outstanding,
            last_error: self.connection.trouble().map(|failure| failure.reason),
            ..ConnectionSnapshot::default()
        };
        self.handle.publish(PoolSnapshot {
            generation: self.generation,
            size: 1,
            connections: vec![connection],
            swap: self.successor.as_ref().map(|successor| SwapSnapshot {
                generation: self.generation + 1,
                phase: SwapPhase::Draining,
                cause: successor.cause.clone(),
                since_ms: millis(now - successor.since),
            }),
            last_swap: self.last_swap.clone(),
            swaps_completed: self.swaps_completed,
            swaps_rolled_back: self.swaps_rolled_back,
            resets: self.resets,
        });
    }
}

impl Sink for ConnectionPoolManager {
    fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError> {
        if self.successor.is_some() {
            return Err(SendError::Full);
        }
        self.connection.send(token, record)?;
        self.outstanding += 1;
        Ok(())
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        // Reading an eventfd takes its whole count at once. It is non-blocking: an empty one is no error of interest.
        let _ = rustix::io::read(&*self.wake, &mut [0_u8; 8]);
        let now = Instant::now();
        let outstanding = &mut self.outstanding;
        self.connection.poll(&mut |token, result| {
            *outstanding -= 1;
            outcome(token, result);
        });
        self.take_up(now);
        self.swap(now);
        self.publish(now);
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.outstanding = 0;
        self.resets += 1;
        if self.successor.is_some() {
            self.swap(Instant::now());
            return Ok(());
        }
        self.connection.reset()
    }

    fn lost(&self) -> Option<Failure> {
        self.connection.lost()
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        self.connection.readiness()
    }

    fn trouble(&self) -> Option<Failure> {
        self.connection.trouble()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
