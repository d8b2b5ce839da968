//! The word to stop: SIGTERM or SIGINT, or the end of standard input when that is a pipe from the parent; and how it is passed on to the threads of other slots.
//!
//! The invariant: **the agent never outlives its parent for long**. The kernel closes the parent's end of the pipe however the parent dies, so
//! no signal, no polling of process ids and no heartbeat is needed.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use keyferry_pipeline::Stop;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::Error;

/// Where the word to stop comes from.
pub struct StopSources {
    signals: UnixStream,
    parent: Option<io::Stdin>,
}

impl StopSources {
    /// Listens for signals, and for the end of standard input if a `parent` holds its other end.
    ///
    /// # Errors
    /// The operating system grants no signal handler.
    pub fn listen(parent: bool) -> Result<Self, Error> {
        let (signals, handler) = UnixStream::pair().map_err(Error::Signals)?;
        signals.set_nonblocking(true).map_err(Error::Signals)?;
        for signal in [SIGTERM, SIGINT] {
            let writer = handler.try_clone().map_err(Error::Signals)?;
            signal_hook::low_level::pipe::register(signal, writer).map_err(Error::Signals)?;
        }
        Ok(Self { signals, parent: parent.then(io::stdin) })
    }

    /// Waits up to `timeout` for the word to stop; answers whether it came.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        wait_for_any(&self.descriptors(), timeout);
        self.is_given()
    }

    fn signal_arrived(&mut self) -> bool {
        matches!(self.signals.read(&mut [0; 16]), Ok(bytes) if bytes > 0)
    }

    /// Whether standard input is at its end. Anything before that is not for this version, and read over.
    fn parent_is_gone(&self) -> bool {
        self.parent.as_ref().is_some_and(|stdin| {
            let mut ready = [PollFd::new(stdin, PollFlags::IN)];
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            let readable = poll(&mut ready, Some(&at_once)).is_ok_and(|count| count > 0);
            readable && matches!(rustix::io::read(stdin, &mut [0_u8; 4096]), Ok(0) | Err(_))
        })
    }
}

impl Stop for StopSources {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        std::iter::once(self.signals.as_fd()).chain(self.parent.as_ref().map(|stdin| stdin.as_fd())).collect()
    }

    fn is_given(&mut self) -> bool {
        self.signal_arrived() || self.parent_is_gone()
    }
}

/// SIGHUP, by which an operator asks that the configuration file be read again. Who listens for it is not ended by it.
#[derive(Debug)]
pub struct Hangup(UnixStream);

impl Hangup {
    /// Listens from now on.
    ///
    /// # Errors
    /// The operating system grants no signal handler.
    pub fn listen() -> Result<Self, Error> {
        let (signals, handler) = UnixStream::pair().map_err(Error::Signals)?;
        signals.set_nonblocking(true).map_err(Error::Signals)?;
        signal_hook::low_level::pipe::register(SIGHUP, handler).map_err(Error::Signals)?;
        Ok(Self(signals))
    }

    /// Whether it has come since this was asked last.
    pub fn came(&self) -> bool {
        matches!((&self.0).read(&mut [0; 16]), Ok(bytes) if bytes > 0)
    }
}

impl AsFd for Hangup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The word to stop for any number of threads. Once given it stays given.
#[derive(Debug)]
pub struct Broadcast(OwnedFd);

impl Broadcast {
    /// A word that has not been given.
    ///
    /// # Errors
    /// The operating system grants no descriptor.
    pub fn new() -> Result<Self, Error> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        Ok(Self(descriptor.map_err(|error| Error::Signals(error.into()))?))
    }

    /// Gives the word: the descriptor becomes readable, and nobody reads it.
    pub fn give(&self) {
        // Fails only if it has been given 2^64 times, and then it has been given.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Whether it has been given.
    pub fn is_given(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits up to `timeout` for it; answers whether it has been given.
    pub fn wait(&self, timeout: Duration) -> bool {
        wait_for_any(&[self.0.as_fd()], timeout)
    }

    /// Gives the word when what is returned is dropped, also by a panic: those who wait for it must not outlive who would have given it.
    pub fn at_the_end(&self) -> AtTheEnd<'_> {
        AtTheEnd(self)
    }

    /// One more who waits for it.
    pub fn listener(&self) -> Listener<'_> {
        Listener(self)
    }
}

impl AsFd for Broadcast {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Gives a [`Broadcast`] when it is dropped.
#[derive(Debug)]
pub struct AtTheEnd<'a>(&'a Broadcast);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.give();
    }
}

/// Wakes the one thread that waits for it, as often as it is rung.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A silent bell.
    ///
    /// # Errors
    /// The operating system grants no descriptor.
    pub fn new() -> Result<Self, Error> {
        let Broadcast(descriptor) = Broadcast::new()?;
        Ok(Self(descriptor))
    }

    /// Wakes the thread, or keeps it from falling asleep.
    pub fn ring(&self) {
        // Fails only if it has been rung 2^64 times, and then it rings.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Waits until it rings, or one of `descriptors` is ready, or `timeout` is over (`None`: never); the bell is silent afterwards. May end early.
    pub fn wait(&self, descriptors: &[BorrowedFd<'_>], timeout: Option<Duration>) {
        let all: Vec<BorrowedFd<'_>> =
            std::iter::once(self.0.as_fd()).chain(descriptors.iter().copied()).collect();
        wait_for_any(&all, timeout.unwrap_or(A_LONG_TIME));
        // Non-blocking: a bell that was not rung is no error of interest.
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }
}

/// Longer than anybody waits.
const A_LONG_TIME: Duration = Duration::from_secs(86_400);

/// Somebody who waits for a [`Broadcast`].
#[derive(Debug)]
pub struct Listener<'a>(&'a Broadcast);

impl Stop for Listener<'_> {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.0.as_fd()]
    }

    fn is_given(&mut self) -> bool {
        self.0.is_given()
    }
}

/// Waits up to `timeout` until one of the descriptors is readable or at its end; answers whether one is. A signal ends the wait early.
fn wait_for_any(descriptors: &[BorrowedFd<'_>], timeout: Duration) -> bool {
    let mut ready: Vec<PollFd<'_>> =
        descriptors.iter().map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)).collect();
    let timeout =
        Timespec { tv_sec: timeout.as_secs().cast_signed(), tv_nsec: i64::from(timeout.subsec_nanos()) };
    poll(&mut ready, Some(&timeout)).is_ok_and(|count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_reaches_every_thread_and_stays() {
        let word = Broadcast::new().unwrap_or_else(|error| panic!("{error}"));
        assert!(!word.is_given());
        std::thread::scope(|scope| {
            let waiting: Vec<_> =
                (0..2).map(|_| scope.spawn(|| word.wait(Duration::from_secs(60)))).collect();
            word.give();
            assert!(waiting.into_iter().all(|thread| thread.join().is_ok_and(|given| given)));
        });
        word.give();
        assert!(word.is_given() && word.listener().is_given());
    }

    #[test]
    fn a_bell_wakes_once_for_each_time_it_was_rung() {
        let bell = Bell::new().unwrap_or_else(|error| panic!("{error}"));
        let rings = || wait_for_any(&[bell.0.as_fd()], Duration::ZERO);
        bell.ring();
        bell.wait(&[], None);
        assert!(!rings(), "it was not silenced");
        bell.ring();
        assert!(rings());
    }

    #[test]
    fn a_panic_gives_the_word_too() {
        let word = Broadcast::new().unwrap_or_else(|error| panic!("{error}"));
        let panicked = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| word.wait(Duration::from_secs(60)));
            let fault = scope.spawn(|| {
                let _end = word.at_the_end();
                panic!("a fault of the pipeline");
            });
            (waiting.join().is_ok_and(|given| given), fault.join().is_err())
        });
        assert_eq!(panicked, (true, true));
    }
}
