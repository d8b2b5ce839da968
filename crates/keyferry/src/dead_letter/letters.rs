//! What lies in the slots, and what of it is asked for.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use keyferry_pipeline::{DeadLetterFile, LaidAside};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::cli::WhichLetters;
use crate::error::Error;
use crate::journal::slot::Slot;

/// The dead letters of one destination in one slot.
pub struct LetterBox {
    /// The slot, as people call it.
    pub slot: String,
    /// The destination.
    pub destination: String,
    /// What lies in it.
    pub letters: Vec<LaidAside>,
    file: DeadLetterFile,
}

impl LetterBox {
    /// Takes the letters with these ids out, durably.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn remove(&self, ids: &BTreeSet<String>) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let path = self.file.path().to_owned();
        self.file.remove(ids).map_err(|source| Error::Directory { path, source })
    }
}

/// Those of a journal directory or a slot that have something in them; only those of `destination` if it is given.
///
/// # Errors
/// The slots or the files cannot be read.
pub fn all_of(directory: &Path, destination: Option<&str>) -> Result<Vec<LetterBox>, Error> {
    let mut boxes = Vec::new();
    for slot in Slot::all_of(directory)? {
        for (name, path) in slot.dead_letter_files()? {
            if destination.is_some_and(|destination| destination != name) {
                continue;
            }
            let file = DeadLetterFile::new(path.clone());
            let letters = file.list().map_err(|source| Error::Directory { path, source })?;
            if !letters.is_empty() {
                boxes.push(LetterBox { slot: slot.name(), destination: name, letters, file });
            }
        }
    }
    Ok(boxes)
}

/// What is asked for.
pub struct Chosen<'a> {
    /// By file; without those of which nothing is asked for.
    pub work: Vec<Work<'a>>,
    /// Ids of which there is no letter.
    pub unknown: Vec<&'a str>,
}

/// What is asked for of one file.
pub struct Work<'a> {
    /// The file.
    pub letter_box: &'a LetterBox,
    /// The letters, in their order.
    pub letters: Vec<&'a LaidAside>,
}

/// The letters that `which` means.
pub fn choose<'a>(boxes: &'a [LetterBox], which: &'a WhichLetters) -> Chosen<'a> {
    let is_meant = |letter: &LaidAside, id: &str| letter.id == id || letter.event_id() == Some(id);
    let is_chosen = |letter: &LaidAside| which.all || which.ids.iter().any(|id| is_meant(letter, id));
    let work = boxes.iter().map(|letter_box| Work {
        letter_box,
        letters: letter_box.letters.iter().filter(|letter| is_chosen(letter)).collect(),
    });
    let all = || boxes.iter().flat_map(|letter_box| &letter_box.letters);
    let unknown = which.ids.iter().filter(|id| !all().any(|letter| is_meant(letter, id)));
    Chosen {
        work: work.filter(|work| !work.letters.is_empty()).collect(),
        unknown: unknown.map(String::as_str).collect(),
    }
}

/// The file in a slot whose lock is the right to decide on the dead letters there. It is empty, and stays.
const LOCK: &str = "dead-letters.lock";

/// The right to decide on what lies in the slots of `directory`, until it is dropped.
///
/// # Errors
/// [`Error::Busy`] if another command has it.
pub fn lock(directory: &Path) -> Result<Vec<File>, Error> {
    Slot::all_of(directory)?.iter().map(|slot| lock_slot(slot.path())).collect()
}

fn lock_slot(slot: &Path) -> Result<File, Error> {
    let path = slot.join(LOCK);
    let failed = |source| Error::Directory { path: path.clone(), source };
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(Error::Busy(slot.to_owned())),
        Err(errno) => Err(failed(errno.into())),
    }
}
