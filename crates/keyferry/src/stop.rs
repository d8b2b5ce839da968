//! The word to stop: SIGTERM or SIGINT, or the end of standard input when that is a pipe from the parent.
//!
//! The invariant: **the agent never outlives its parent for long**. The kernel closes the parent's end of the pipe however the parent dies, so
//! no signal, no polling of process ids and no heartbeat is needed.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use keyferry_pipeline::Stop;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};

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
        let mut ready: Vec<PollFd<'_>> = self
            .descriptors()
            .into_iter()
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
            .collect();
        let timeout =
            Timespec { tv_sec: timeout.as_secs().cast_signed(), tv_nsec: i64::from(timeout.subsec_nanos()) };
        // A signal interrupts the wait and is found below.
        let _ = poll(&mut ready, Some(&timeout));
        drop(ready);
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
