//! The slots of a journal, their locks and their checkpoints.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use keyferry_event::Gap;
use keyferry_journal::feed::LostCause;
use keyferry_journal::slot::{AGENT_LOCK, WRITER_LOCK};
use keyferry_journal::storage::Segment;
use keyferry_journal::{
    Checkpoint, CheckpointFile, Item, LockHolder, Resume, SegmentName, SlotDirectory, Storage,
};

use keyferry_pipeline::{
    ArchiveDirectory, GivenUpFile, GivenUps as _, Position, Positions as _, PositionsFile, Progress,
};

use super::archived::{SlotStorage, WithArchive};
use crate::error::Error;
use crate::read_only::ReadOnly;
use crate::replay::Border;

/// One slot, looked at.
#[derive(Debug, Clone)]
pub struct Slot {
    path: PathBuf,
    /// Where segments of it were moved, if any were.
    archive: Option<PathBuf>,
}

/// How far a destination has got.
#[derive(Debug)]
pub struct DestinationCheckpoint {
    /// The destination.
    pub destination: String,
    /// Its checkpoint; `None` if the file is empty, an error if it cannot be read.
    pub checkpoint: Result<Option<Checkpoint>, keyferry_journal::Error>,
}

impl DestinationCheckpoint {
    /// Where it goes on, if it has begun.
    pub fn resume(&self) -> Option<Resume> {
        self.checkpoint.as_ref().ok().copied().flatten()?.resume
    }
}

impl Slot {
    /// The slots of the journal directory `directory`, by number; or the one slot that it is.
    ///
    /// # Errors
    /// [`Error::NoJournal`], or it cannot be listed.
    pub fn all_of(directory: &Path) -> Result<Vec<Self>, Error> {
        let names = names(directory)?;
        let mut numbered: Vec<(u32, &str)> = names
            .iter()
            .filter_map(|name| Some((name.strip_prefix("slot-")?.parse().ok()?, name.as_str())))
            .collect();
        numbered.sort_unstable();
        if !numbered.is_empty() {
            return Ok(numbered.into_iter().map(|(_, name)| Self::at(directory.join(name))).collect());
        }
        let is_slot = names.iter().any(|name| name == WRITER_LOCK || name.parse::<SegmentName>().is_ok());
        if is_slot {
            return Ok(vec![Self::at(directory.to_owned())]);
        }
        Err(Error::NoJournal(directory.to_owned()))
    }

    /// The same, each with what was moved from it to the archive, where one is given.
    ///
    /// # Errors
    /// As [`Slot::all_of`]; or there is no such archive.
    pub fn all_with_archive(directory: &Path, archive: Option<&Path>) -> Result<Vec<Self>, Error> {
        let slots = Self::all_of(directory)?;
        let Some(archive) = archive else { return Ok(slots) };
        // An archive without the slot is one to which nothing of it was moved; none at all may be one that is not mounted.
        fs::read_dir(archive).map_err(|source| Error::Archive { path: archive.to_owned(), source })?;
        let with_archive = |slot: Self| {
            let place = ArchiveDirectory::place_of(archive, &slot.path)
                .map_err(|source| Error::Directory { path: slot.path.clone(), source })?;
            Ok(Self { archive: Some(place).filter(|place| place.is_dir()), ..slot })
        };
        slots.into_iter().map(with_archive).collect()
    }

    fn at(path: PathBuf) -> Self {
        Self { path, archive: None }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What people call it: the last part of its path.
    pub fn name(&self) -> String {
        let named = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        named
            .or_else(|| Some(self.path.canonicalize().ok()?.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or_else(|| self.path.display().to_string())
    }

    /// Its files and those that were moved from it, for reading.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn storage(&self) -> Result<SlotStorage, Error> {
        Ok(ReadOnly::new(WithArchive::open(&self.path, self.archive.as_deref())?))
    }

    /// Its segments and those that were moved from it, in the order in which they were written.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn segments(&self) -> Result<Vec<Segment>, Error> {
        self.list(self.storage()?)
    }

    /// The segments that lie in the slot itself.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn own_segments(&self) -> Result<Vec<Segment>, Error> {
        self.list(SlotDirectory::open(&self.path)?)
    }

    fn list(&self, mut storage: impl Storage) -> Result<Vec<Segment>, Error> {
        let listed = storage.list();
        let mut segments = listed.map_err(|source| Error::Directory { path: self.path.clone(), source })?;
        segments.sort_unstable();
        Ok(segments)
    }

    /// Who writes it.
    ///
    /// # Errors
    /// The lock cannot be asked.
    pub fn writer(&self) -> Result<Option<LockHolder>, Error> {
        Ok(LockHolder::of(&self.path, WRITER_LOCK)?)
    }

    /// Who ships it.
    ///
    /// # Errors
    /// The lock cannot be asked.
    pub fn agent(&self) -> Result<Option<LockHolder>, Error> {
        Ok(LockHolder::of(&self.path, AGENT_LOCK)?)
    }

    /// Whether who ships it has adopted it, as the agent last said of itself.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        #[derive(serde::Deserialize)]
        struct Said {
            #[serde(default)]
            adopted: bool,
        }
        let said = fs::read(self.path.join("status.json")).ok();
        said.and_then(|text| serde_json::from_slice::<Said>(&text).ok()).is_some_and(|said| said.adopted)
    }

    /// The files of held events, by destination.
    ///
    /// # Errors
    /// The slot cannot be listed.
    pub fn held_files(&self) -> Result<BTreeMap<String, PathBuf>, Error> {
        self.files_of_destinations(".held.jsonl")
    }

    /// The dead-letter files, by destination.
    ///
    /// # Errors
    /// The slot cannot be listed.
    pub fn dead_letter_files(&self) -> Result<BTreeMap<String, PathBuf>, Error> {
        self.files_of_destinations(".dead-letters.jsonl")
    }

    /// The files whose names end like this, after a destination's name.
    fn files_of_destinations(&self, suffix: &str) -> Result<BTreeMap<String, PathBuf>, Error> {
        let names = names(&self.path)?;
        let destinations = names.iter().filter_map(|name| Some((name.strip_suffix(suffix)?, name)));
        Ok(destinations.map(|(destination, name)| (destination.to_owned(), self.path.join(name))).collect())
    }

    /// How many events each destination holds because they are in doubt, by name; those that hold none are left out.
    ///
    /// # Errors
    /// The slot or one of the files cannot be read.
    pub fn held(&self) -> Result<BTreeMap<String, u64>, Error> {
        let mut held = BTreeMap::new();
        for (destination, path) in self.held_files()? {
            let count = count_lines(&path).map_err(|source| Error::Directory { path, source })?;
            if count > 0 {
                held.insert(destination, count);
            }
        }
        Ok(held)
    }

    /// How far each destination has got, by name.
    ///
    /// # Errors
    /// The slot cannot be listed.
    pub fn checkpoints(&self) -> Result<Vec<DestinationCheckpoint>, Error> {
        let mut storage = SlotDirectory::open(&self.path)?;
        let names = names(&self.path)?;
        let mut destinations: Vec<_> =
            names.iter().filter_map(|name| name.strip_suffix(".checkpoint")).map(str::to_owned).collect();
        destinations.sort_unstable();
        let load = |destination: String| {
            let loaded = CheckpointFile::load(&mut storage, &destination);
            DestinationCheckpoint { destination, checkpoint: loaded.map(|(_, checkpoint)| checkpoint) }
        };
        Ok(destinations.into_iter().map(load).collect())
    }

    /// Gap records of events that `destination` gave up, and that are not known to be acknowledged.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn given_up(&self, destination: &str) -> Result<Vec<Gap>, Error> {
        let path = self.path.join(format!("{destination}.given-up.jsonl"));
        let given_up = GivenUpFile::new(path.clone()).given_up();
        let given_up = given_up.map_err(|source| Error::Directory { path, source })?;
        Ok(given_up.into_iter().map(|given_up| given_up.gap).collect())
    }

    /// What the agent wrote down of numbers at the borders of segments.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn positions(&self, destination: &str) -> Result<Vec<Border>, Error> {
        let border =
            |Position { progress: Progress { resume, next_sequence }, .. }| Border { resume, next_sequence };
        let mut borders = Vec::new();
        for directory in self.archive.iter().chain([&self.path]) {
            let path = directory.join(format!("{destination}.positions.jsonl"));
            let positions = PositionsFile::new(path.clone()).positions();
            let positions = positions.map_err(|source| Error::Directory { path, source })?;
            borders.extend(positions.into_iter().map(border));
        }
        Ok(borders)
    }

    /// Up to where every destination has delivered. `None` if that is not known.
    ///
    /// # Errors
    /// The slot cannot be listed.
    pub fn delivered(&self) -> Result<Option<Resume>, Error> {
        let checkpoints = self.checkpoints()?;
        let resumes: Option<Vec<_>> = checkpoints.iter().map(DestinationCheckpoint::resume).collect();
        Ok(resumes.and_then(|resumes| {
            resumes.into_iter().min_by_key(|resume| (resume.epoch, resume.from, resume.commit))
        }))
    }

    /// Whether what `item` misses is not there because it was delivered and deleted, which is normal.
    ///
    /// # Errors
    /// The slot cannot be listed.
    pub fn was_delivered(&self, item: &Item<'_>) -> Result<bool, Error> {
        let Some(delivered) = self.delivered()? else { return Ok(false) };
        Ok(match *item {
            Item::MissingSegments { epoch, last: Some(number), .. } => {
                SegmentName { epoch, number } < delivered.segment()
            }
            Item::MissingSegments { epoch, last: None, .. } => epoch < delivered.epoch,
            Item::MissingCommits { epoch, found, .. } => {
                (epoch, found.saturating_sub(1)) <= (delivered.epoch, delivered.commit)
            }
            Item::LostTransaction { epoch, commit, cause, .. } => {
                let oldest = self.segments()?.first().map(|segment| segment.name);
                let deleted = oldest.is_some_and(|oldest| match cause {
                    LostCause::NoPrepare => oldest.epoch == epoch && oldest.number > 0,
                    LostCause::Unreadable(place) => SegmentName { epoch, number: place.segment } < oldest,
                });
                deleted && (epoch, commit) <= (delivered.epoch, delivered.commit)
            }
            _ => false,
        })
    }
}

/// How many lines a file has, whatever its size.
fn count_lines(path: &Path) -> io::Result<u64> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut lines = 0;
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(lines);
        }
        lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = chunk.len();
        reader.consume(length);
    }
}

/// The names in a directory that are UTF-8; all that the journal makes are.
fn names(directory: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::Directory { path: directory.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}
