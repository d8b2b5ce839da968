//! How far a destination has got, so that after any crash delivery goes on where Kafka's acknowledgements ended.
//!
//! The invariant: at every moment the file holds at least one valid checkpoint, and the newest valid one never runs
//! ahead of what was acknowledged. (That it is only *written* after the acknowledgement is the pipeline's part.)
//!
//! # Why two places in one file, and not a new file renamed over the old
//!
//! The checkpoint is written many times a second, in the directory that the agent watches for the writer's doings. A
//! rename would wake the agent by its own doing each time, and costs two changes of the directory in the file system's
//! log where a write in place costs none. So the file has two slots, one in each of its first two 4-KiB blocks, written
//! by turns with one write each: a torn write destroys the older of the two at worst, and the checksum tells.
//!
//! A write is not synced: a process that dies has written nevertheless, and after a power cut an older checkpoint means
//! duplicates, never losses. As long, that is, as the segments it points to exist: so before segments are deleted,
//! [`CheckpointFile::write_durable`] writes both slots and syncs them.

use crate::error::Error;
use crate::feed::Resume;
use crate::format::{Epoch, Place, u16_at, u32_at, u64_at};
use crate::storage::Storage;

const MAGIC: [u8; 4] = *b"KFCP";
const VERSION: u16 = 1;
/// Distance of the two slots in bytes: one block each, so that a torn block is one slot.
const SLOT_DISTANCE: u64 = 4096;
/// Length of a slot in bytes: magic, version, flags, generation, sequence, the resume point, checksum.
const SLOT_LENGTH: usize = 80;

/// The flag that a resume point is there.
const RESUME: u16 = 1;
/// The flag that the resume point lies among those in doubt.
const IN_DOUBT: u16 = 2;

/// How far a destination has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where to go on reading; `None` at the oldest segment.
    pub resume: Option<Resume>,
    /// The sequence number of the next record to publish.
    pub next_sequence: u64,
    /// How many checkpoints were written before.
    pub generation: u64,
}

impl Checkpoint {
    fn encode(&self) -> [u8; SLOT_LENGTH] {
        let resume = self.resume.unwrap_or(NOWHERE);
        let in_doubt = resume.in_doubt.unwrap_or_default();
        let mut bytes = Vec::with_capacity(SLOT_LENGTH);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        let flags = if self.resume.is_some() { RESUME } else { 0 }
            | if resume.in_doubt.is_some() { IN_DOUBT } else { 0 };
        bytes.extend_from_slice(&flags.to_le_bytes());
        for number in [
            self.generation,
            self.next_sequence,
            resume.epoch.0,
            resume.from.offset,
            resume.head.offset,
            resume.commit,
            in_doubt.offset,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&resume.from.segment.to_le_bytes());
        bytes.extend_from_slice(&resume.head.segment.to_le_bytes());
        bytes.extend_from_slice(&in_doubt.segment.to_le_bytes());
        bytes.extend_from_slice(&crc_fast::crc32_iscsi(&bytes).to_le_bytes());
        let mut slot = [0; SLOT_LENGTH];
        slot.copy_from_slice(&bytes);
        slot
    }

    fn decode(bytes: &[u8; SLOT_LENGTH]) -> Slot {
        let (content, checksum) = bytes.split_at(SLOT_LENGTH - 4);
        if content[..4] != MAGIC || crc_fast::crc32_iscsi(content) != u32_at(checksum, 0) {
            return Slot::Invalid;
        }
        let version = u16_at(content, 4);
        if version != VERSION {
            return Slot::Later(version);
        }
        let flags = u16_at(content, 6);
        let resume = Resume {
            epoch: Epoch(u64_at(content, 24)),
            from: Place { segment: u32_at(content, 64), offset: u64_at(content, 32) },
            head: Place { segment: u32_at(content, 68), offset: u64_at(content, 40) },
            commit: u64_at(content, 48),
            in_doubt: (flags & IN_DOUBT != 0)
                .then(|| Place { segment: u32_at(content, 72), offset: u64_at(content, 56) }),
        };
        Slot::Valid(Self {
            resume: (flags & RESUME != 0).then_some(resume),
            next_sequence: u64_at(content, 16),
            generation: u64_at(content, 8),
        })
    }
}

const NOWHERE: Resume = Resume {
    epoch: Epoch(0),
    from: Place { segment: 0, offset: 0 },
    head: Place { segment: 0, offset: 0 },
    commit: 0,
    in_doubt: None,
};

enum Slot {
    Valid(Checkpoint),
    Later(u16),
    Invalid,
}

/// The checkpoint file of one destination in one slot.
#[derive(Debug)]
pub struct CheckpointFile {
    destination: String,
    next_generation: u64,
}

impl CheckpointFile {
    /// Reads the newest valid checkpoint of `destination`; `None` if there is no file yet.
    ///
    /// # Errors
    /// [`Error::DamagedCheckpoint`] if there is a file but nothing valid in it: the caller decides whether to begin at
    /// the oldest segment with [`CheckpointFile::begin_anew`], which resends. [`Error::LaterCheckpoint`], [`Error::Io`].
    pub fn load<S: Storage>(storage: &mut S, destination: &str) -> Result<(Self, Option<Checkpoint>), Error> {
        let path = path(storage, destination);
        let bytes = match storage.read_checkpoint(destination) {
            Ok(bytes) => bytes,
            Err(source) => return Err(Error::io("read", path, source)),
        };
        if bytes.is_empty() {
            return Ok((Self::begin_anew(destination), None));
        }
        let mut newest: Option<Checkpoint> = None;
        for offset in [0, SLOT_DISTANCE as usize] {
            let Some(slot) = bytes.get(offset..).and_then(|bytes| bytes.first_chunk()) else { continue };
            match Checkpoint::decode(slot) {
                Slot::Valid(found) if newest.is_none_or(|newest| newest.generation < found.generation) => {
                    newest = Some(found);
                }
                Slot::Later(version) => return Err(Error::LaterCheckpoint { path, version }),
                Slot::Valid(_) | Slot::Invalid => {}
            }
        }
        let Some(newest) = newest else { return Err(Error::DamagedCheckpoint { path }) };
        let file = Self { destination: destination.to_owned(), next_generation: newest.generation + 1 };
        Ok((file, Some(newest)))
    }

    /// A checkpoint file that will be written from the beginning, whatever is in it.
    #[must_use]
    pub fn begin_anew(destination: &str) -> Self {
        Self { destination: destination.to_owned(), next_generation: 0 }
    }

    /// Writes a checkpoint over the older of the two. It survives the death of the process, not a power cut.
    ///
    /// # Errors
    /// [`Error::Io`]; the one before is still there.
    pub fn write<S: Storage>(
        &mut self,
        storage: &mut S,
        resume: Option<Resume>,
        next_sequence: u64,
    ) -> Result<Checkpoint, Error> {
        let checkpoint = Checkpoint { resume, next_sequence, generation: self.next_generation };
        let offset = (checkpoint.generation % 2) * SLOT_DISTANCE;
        if let Err(source) = storage.write_checkpoint(&self.destination, offset, &checkpoint.encode()) {
            return Err(Error::io("write", path(storage, &self.destination), source));
        }
        self.next_generation += 1;
        Ok(checkpoint)
    }

    /// Writes a checkpoint over both and makes it survive a power cut. To be called before segments are deleted.
    ///
    /// # Errors
    /// [`Error::Io`]: nothing may be deleted.
    pub fn write_durable<S: Storage>(
        &mut self,
        storage: &mut S,
        resume: Option<Resume>,
        next_sequence: u64,
    ) -> Result<Checkpoint, Error> {
        self.write(storage, resume, next_sequence)?;
        self.sync(storage)?;
        let checkpoint = self.write(storage, resume, next_sequence)?;
        self.sync(storage)?;
        Ok(checkpoint)
    }

    fn sync<S: Storage>(&self, storage: &mut S) -> Result<(), Error> {
        let synced = storage.sync_checkpoint(&self.destination);
        synced.map_err(|source| Error::io("sync", path(storage, &self.destination), source))
    }
}

fn path<S: Storage>(storage: &S, destination: &str) -> String {
    format!("{}/{destination}.checkpoint", storage.describe())
}
