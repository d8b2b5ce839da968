//! The agent's lock of a slot, for a process that serves several.
//!
//! The invariant: **two agents never serve one slot, whether they are two processes or two threads of one.** A POSIX lock belongs to a process: a
//! second thread would be given the lock that the first one holds, and closing any descriptor of the file, even one that was opened
//! only to be refused, would give up the lock of both. So this module knows what the process holds, and opens no lock file
//! twice. Nothing else in this crate opens `agent.lock` while it ships.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use keyferry_journal::AgentLock;
use keyferry_journal::slot::AGENT_LOCK;

/// A slot directory, whatever path leads there.
type Identity = (u64, u64);

/// The slots that this process serves.
static HELD: Mutex<BTreeSet<Identity>> = Mutex::new(BTreeSet::new());

fn held() -> MutexGuard<'static, BTreeSet<Identity>> {
    // A set of numbers is whole whatever happened to the thread that held it.
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to ship a slot, until it is dropped.
#[derive(Debug)]
pub struct SlotLock {
    lock: Option<AgentLock>,
    identity: Identity,
}

impl SlotLock {
    /// Takes the lock of `slot` without waiting.
    ///
    /// # Errors
    /// [`Locked`](keyferry_journal::Error::Locked) if another agent, or another thread of this one, ships it; or what the operating system says.
    pub fn acquire(slot: &Path) -> Result<Self, keyferry_journal::Error> {
        let metadata = fs::metadata(slot).map_err(|source| keyferry_journal::Error::Io {
            operation: "open",
            path: slot.display().to_string(),
            source,
        })?;
        let identity = (metadata.dev(), metadata.ino());
        let mut held = held();
        if held.contains(&identity) {
            let path = slot.join(AGENT_LOCK).display().to_string();
            return Err(keyferry_journal::Error::Locked { path, holder: "this process".to_owned() });
        }
        let lock = Some(AgentLock::acquire(slot)?);
        held.insert(identity);
        Ok(Self { lock, identity })
    }
}

impl Drop for SlotLock {
    fn drop(&mut self) {
        let mut held = held();
        drop(self.lock.take());
        held.remove(&self.identity);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_second_thread_is_refused_and_does_not_give_up_the_lock_of_the_first() {
        let journal = tempfile::tempdir().unwrap();
        let (slot, alias) = (journal.path().join("slot-0"), journal.path().join("alias"));
        fs::create_dir(&slot).unwrap();
        symlink(&slot, &alias).unwrap();
        let lock = SlotLock::acquire(&slot).unwrap();
        for path in [&slot, &alias] {
            let refused =
                std::thread::scope(|scope| scope.spawn(|| SlotLock::acquire(path).err()).join()).unwrap();
            assert!(matches!(refused, Some(keyferry_journal::Error::Locked { .. })), "{refused:?}");
        }
        assert!(is_locked(&slot), "the refused thread has given up the lock of the first");
        drop(lock);
        assert!(!is_locked(&slot));
        SlotLock::acquire(&slot).unwrap();
    }

    /// Whether a process other than this one would be refused: the kernel's table of locks, asked by the file's inode.
    fn is_locked(slot: &Path) -> bool {
        let inode = fs::metadata(slot.join(AGENT_LOCK)).unwrap().ino();
        fs::read_to_string("/proc/locks").unwrap().lines().any(|line| line.contains(&format!(":{inode} ")))
    }
}
