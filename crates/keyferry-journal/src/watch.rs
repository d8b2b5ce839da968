//! Waking up when the writer has written, without asking the disk over and over.
//!
//! Watched are the segment being read (written to), the slot's directory (a segment created) and the writer's `lock`
//! (closed, which is what the kernel does when the writer dies). The directory is not watched for writes, because the
//! agent's own checkpoint lies in it and would wake the agent.
//!
//! inotify may be missing (no instances left), or see nothing: network file systems, some overlay and virtual-machine
//! mounts. So the caller never sleeps longer than [`Watch::timeout`]: a second while inotify is believed to work, which
//! is one wake-up a second when idle, and a tenth of that once it has been seen not to.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use crate::error::Error;
use crate::format::SegmentName;
use crate::slot::WRITER_LOCK;

/// How long to sleep at most while inotify works.
const TRUSTING: Duration = Duration::from_secs(1);
/// How long to sleep at most while it does not.
const DISTRUSTING: Duration = Duration::from_millis(100);
/// Room for what inotify has to tell, in bytes.
const EVENTS: usize = 4096;

/// A watch on one slot.
#[derive(Debug)]
pub struct Watch {
    slot: PathBuf,
    inotify: Option<Inotify>,
    trusted: bool,
}

#[derive(Debug)]
struct Inotify {
    descriptor: OwnedFd,
    directory: i32,
    lock: Option<i32>,
    following: Option<(SegmentName, i32)>,
}

impl Watch {
    /// Watches the slot. Where inotify is not to be had, the watch exists all the same and only its
    /// [`Watch::timeout`] is shorter.
    #[must_use]
    pub fn new(slot: &Path) -> Self {
        let inotify = Inotify::new(slot).ok();
        let trusted = inotify.is_some();
        Self { slot: slot.to_owned(), inotify, trusted }
    }

    /// The descriptor to poll for reading; `None` without inotify.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(|inotify| inotify.descriptor.as_fd())
    }

    /// The longest time to sleep.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        if self.trusted { TRUSTING } else { DISTRUSTING }
    }

    /// Watches `segment` instead of the one before. To be called when the feed has entered it, and cheap if it is the
    /// same. Read the feed once more before sleeping: what was written before the call wakes nobody.
    pub fn follow(&mut self, segment: SegmentName) {
        if let Some(inotify) = &mut self.inotify
            && inotify.following.is_none_or(|(followed, _)| followed != segment)
        {
            self.trusted = inotify.follow(&self.slot, segment).is_ok();
        }
    }

    /// Takes what inotify has to tell and returns whether any of it concerns the journal. Does not block.
    ///
    /// # Errors
    /// [`Error::Io`] if inotify fails.
    pub fn drain(&mut self) -> Result<bool, Error> {
        let Some(inotify) = &mut self.inotify else { return Ok(false) };
        inotify.drain().map_err(|source| Error::io("watch", self.slot.display().to_string(), source))
    }

    /// Tells the watch how it did: whether it had signalled, and whether the feed then had anything new. Something new
    /// without a signal means that inotify is blind here; a signal with something new that it sees again.
    pub fn judge(&mut self, signalled: bool, found: bool) {
        if found {
            self.trusted = signalled && self.inotify.is_some();
        }
    }
}

impl Inotify {
    fn new(slot: &Path) -> io::Result<Self> {
        let descriptor = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let directory = inotify::add_watch(&descriptor, slot, WatchFlags::CREATE | WatchFlags::ONLYDIR)?;
        let mut watch = Self { descriptor, directory, lock: None, following: None };
        watch.watch_lock(slot);
        Ok(watch)
    }

    /// The lock's file exists as soon as the slot has had a writer.
    fn watch_lock(&mut self, slot: &Path) {
        if self.lock.is_none() {
            self.lock =
                inotify::add_watch(&self.descriptor, slot.join(WRITER_LOCK), WatchFlags::CLOSE_WRITE).ok();
        }
    }

    fn follow(&mut self, slot: &Path, segment: SegmentName) -> io::Result<()> {
        self.watch_lock(slot);
        if let Some((_, before)) = self.following.take() {
            // Fails if the segment was deleted, which removes the watch by itself.
            let _ = inotify::remove_watch(&self.descriptor, before);
        }
        let watch = inotify::add_watch(&self.descriptor, slot.join(segment.to_string()), WatchFlags::MODIFY)?;
        self.following = Some((segment, watch));
        Ok(())
    }

    fn drain(&mut self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let mut reader = inotify::Reader::new(&self.descriptor, &mut buffer);
        let mut concerns = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().and_then(|name| name.to_str().ok());
                    let elsewhere = event.wd() == self.directory
                        && name.is_some_and(|name| name.parse::<SegmentName>().is_err());
                    concerns |= !elsewhere && !event.events().contains(ReadFlags::IGNORED);
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(concerns),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
