//! The connections to one destination, replaced without a gap.
//!
//! The invariant: **exactly one generation of connections receives records, and a record's outcome is reported once, by the connection that took it.** Linger, batch size,
//! compression and credentials of a librdkafka producer are fixed when it is made, so changing one of them means a new producer; a record of the same key must not
//! leave by the new one as long as one is on its way by the old. Hence: start the new generation, check it, stop feeding the old one, let it deliver what it
//! has, and then swap.
//!
//! - `generations`: the decisions, pure.
//! - `connection`: what they need of a connection.
//! - `producers`: connections that are librdkafka producers.
//! - `shard`: which connection a key goes to.
//! - `demand`: when the smallest pool is enough.
//! - [`PoolHandle`]: how other threads speak to a pool.

mod connection;
mod demand;
mod generations;
mod handle;
mod producers;
mod settings;
mod shard;
#[cfg(test)]
mod simulated;
mod snapshot;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyferry_event::{Failure, Record, SendError, Sink, Token};
use rustix::event::{EventfdFlags, eventfd};

pub use handle::{Change, PoolHandle};
pub use settings::PoolSettings;
pub use snapshot::{
    BrokerSnapshot, ConnectionSnapshot, ConnectionState, EndedSwap, PoolSnapshot, Quantiles, SwapPhase,
    SwapSnapshot,
};

use crate::settings::ProducerSettings;
use crate::topics::check::TopicCheck;
use generations::{Generations, Incarnation};
use producers::Producers;

/// How old a snapshot may become while the pool is polled.
const SNAPSHOT_INTERVAL_MS: u64 = 1_000;

/// The connections to one destination: the sink that ships.
pub struct ConnectionPoolManager {
    generations: Generations<Producers>,
    topics: TopicCheck,
    handle: PoolHandle,
    wake: Arc<OwnedFd>,
    origin: Instant,
    /// When the last snapshot was published.
    published_ms: u64,
    /// Which producers there are, as they were when the topics were checked and the last snapshot was published.
    incarnation: Incarnation,
}

impl ConnectionPoolManager {
    /// A pool of producers with `settings`, and the handle on it. Does not wait for a connection.
    ///
    /// # Errors
    /// librdkafka refuses a setting, or cannot read a file that one names.
    pub fn new(settings: ProducerSettings, pool: PoolSettings) -> Result<(Self, PoolHandle), Failure> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Failure::transient(format!("cannot create an eventfd: {error}")))?;
        let wake = Arc::new(wake);
        let handle = PoolHandle::new(Arc::clone(&wake));
        let topics = TopicCheck::new(&pool.topics, pool.topic_policy.clone(), settings.largest_request());
        let generations = Generations::new(Producers::new(Arc::clone(&wake)), settings, pool, 0)?;
        let incarnation = generations.incarnation();
        let (origin, published_ms) = (Instant::now(), 0);
        let mut pool =
            Self { generations, topics, handle: handle.clone(), wake, origin, published_ms, incarnation };
        pool.publish(0);
        Ok((pool, handle))
    }

    /// A handle on the pool.
    pub fn handle(&self) -> PoolHandle {
        self.handle.clone()
    }

    /// Asks about the topics what is to be asked, and takes in what was answered.
    fn check_topics(&mut self, now_ms: u64) {
        let connection = self.generations.spokesman();
        while let Some(answer) = connection.answer() {
            self.topics.answered(answer, now_ms);
        }
        let is_stuck = self.generations.is_stuck();
        if is_stuck || self.generations.is_careful() {
            self.topics.doubt(now_ms);
        }
        match self.topics.missing() {
            Some(failure) if is_stuck => self.generations.beware(failure),
            None if self.topics.are_present() => self.generations.trust(),
            _ => {}
        }
        let connection = self.generations.spokesman();
        if let Some(request) = self.topics.next(now_ms)
            && let Err(failure) = connection.ask(&request)
        {
            self.topics.failed(&failure, now_ms);
        }
    }

    fn publish(&mut self, now_ms: u64) {
        self.published_ms = now_ms;
        let topics = self.topics.snapshot();
        self.handle.publish(PoolSnapshot { topics, ..self.generations.snapshot() });
    }
}

impl Sink for ConnectionPoolManager {
    fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError> {
        self.topics.meet(record.topic, || millis(self.origin.elapsed()));
        self.generations.send(token, record)
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        // Before anything is looked at, so that what comes meanwhile wakes again. Reading an eventfd takes its whole count at once. It is non-blocking: an
        // empty one is no error of interest.
        let _ = rustix::io::read(&*self.wake, &mut [0_u8; 8]);
        if let Some(change) = self.handle.take_wanted() {
            self.generations.want(change);
        }
        let now_ms = millis(self.origin.elapsed());
        self.generations.poll(now_ms, outcome);
        let has_changed = self.generations.incarnation() != self.incarnation;
        if has_changed {
            self.incarnation = self.generations.incarnation();
            self.topics.again(self.generations.serving().largest_request(), now_ms);
        }
        self.check_topics(now_ms);
        if has_changed || now_ms >= self.published_ms + SNAPSHOT_INTERVAL_MS {
            self.publish(now_ms);
        }
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.generations.reset()
    }

    fn lost(&self) -> Option<Failure> {
        self.generations.lost()
    }

    fn take_renewed(&mut self) -> bool {
        self.generations.take_renewed()
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.wake.as_fd())
    }

    fn trouble(&self) -> Option<Failure> {
        self.generations.trouble()
    }
}

/// Saturates after 584 million years.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
