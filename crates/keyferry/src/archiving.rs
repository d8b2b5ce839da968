//! Moving what a slot has delivered to the archive, as long as somebody wants it (the action `move_segments`).
//!
//! The invariant: **delivery never waits for the archive.** Each slot has a thread for it, which is told by the slot's shares what every destination has delivered, and hears the word to stop
//! between two pieces of a copy. What else holds is that of [`keyferry_pipeline::move_oldest`].

use std::path::Path;
use std::time::Duration;

use keyferry_config::Journal;
use keyferry_pipeline::{ArchiveDirectory, Mover, Share, SystemClock, move_oldest};

use crate::live::Live;
use crate::stop::Broadcast;

/// How often it is looked whether there is something to move.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often it is looked whether there is an archive by now, as long as none is configured.
const WITHOUT_ARCHIVE: Duration = Duration::from_secs(60);

/// One slot and its archive.
pub struct Archiving<'a> {
    /// The slot.
    pub slot: &'a Path,
    /// What is configured where nothing newer is.
    pub journal: &'a Journal,
    /// What of the slot is delivered.
    pub share: Share,
    /// Who knows whether anything is to be moved.
    pub live: &'a Live,
}

impl Archiving<'_> {
    /// Moves what may be moved, until `over` is given.
    pub fn run(&self, over: &Broadcast) {
        let (clock, mut mover) = (SystemClock::start(), Mover::default());
        while !over.wait(self.pause()) {
            while !over.is_given() && self.live.moves_segments(self.slot) {
                let now_ms = clock.read().monotonic_ms;
                if !mover.is_due(now_ms) || !self.attempt(&mut mover, over, now_ms) {
                    break;
                }
            }
        }
    }

    fn pause(&self) -> Duration {
        if self.with_journal(|journal| journal.archive_directory.is_some()) {
            INTERVAL
        } else {
            WITHOUT_ARCHIVE
        }
    }

    /// Moves one segment. Answers whether there may be another one to move at once.
    fn attempt(&self, mover: &mut Mover, over: &Broadcast, now_ms: u64) -> bool {
        let directory = self.with_journal(|journal| journal.archive_directory.clone());
        let (Some(directory), Some(delivered)) = (directory, self.share.delivered()) else {
            return false;
        };
        let moved = ArchiveDirectory::open(&directory, self.slot)
            .and_then(|mut archive| move_oldest(&mut archive, delivered, &mut |worked| over.wait(worked)));
        mover.settle(&directory, moved, now_ms)
    }

    fn with_journal<T>(&self, of: impl FnOnce(&Journal) -> T) -> T {
        of(self.live.journal().as_ref().unwrap_or(self.journal))
    }
}
