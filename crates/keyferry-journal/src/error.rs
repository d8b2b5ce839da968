//! Everything that can stop a reader or writer of the journal.
//!
//! Damage is not an error: it is an [`Item`](crate::feed::Item) that is reported and passed. An error means that going
//! on would skip something silently, or that the operating system refused.

use std::io;

use crate::format::{Place, SegmentName};

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file of the slot.
    #[error(
        "cannot {operation} {path}: {source}; check that the agent runs as the owner of the journal directory and \
         that its disk is healthy"
    )]
    Io {
        /// What was attempted, as a verb: `read`, `list`, `remove`, …
        operation: &'static str,
        /// The file or directory.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },

    /// A segment was written by a later release. Nothing of it may be skipped.
    #[error(
        "{path} has journal format version {version}, but this release reads versions up to {}; upgrade the agent",
        crate::format::VERSION
    )]
    LaterVersion {
        /// The segment's file.
        path: String,
        /// The version that it names.
        version: u16,
    },

    /// The position to resume from lies after everything in the slot, so that the slot is not the one it came from.
    #[error(
        "the checkpoint points to {checkpoint}, but the newest segment in {path} is {newest}: segments were removed or \
         restored from a backup; delete the checkpoint to deliver everything in the slot, including events that may \
         have been delivered before"
    )]
    WentBack {
        /// The slot.
        path: String,
        /// The segment that the checkpoint names.
        checkpoint: SegmentName,
        /// The newest segment present.
        newest: SegmentName,
    },

    /// The payload of a PREPARE passed its checksum but is not a sequence of events: a fault in its writer.
    #[error(
        "event {index} of the PREPARE at {segment} {place} is malformed ({what}); report this as a bug of the writer"
    )]
    MalformedEvent {
        /// The segment.
        segment: SegmentName,
        /// Where its PREPARE begins.
        place: Place,
        /// Which event of the PREPARE, counted from 0.
        index: u32,
        /// What is wrong.
        what: crate::event::Malformed,
    },

    /// Another process holds a lock of the slot.
    #[error(
        "{path} is locked by {holder}: the slot is in use; stop the other process or choose another slot"
    )]
    Locked {
        /// The lock's file.
        path: String,
        /// Who holds it, as far as it can be told.
        holder: String,
    },

    /// All slots of a journal directory are taken.
    #[error(
        "all {} slots of {path} are in use; give each host its own journal directory",
        crate::format::MAX_SLOTS
    )]
    NoFreeSlot {
        /// The journal directory.
        path: String,
    },

    /// Neither copy of the checkpoint can be read.
    #[error(
        "both copies of the checkpoint {path} are damaged; delete it to deliver everything in the slot again, including \
         events that were delivered before"
    )]
    DamagedCheckpoint {
        /// The checkpoint's file.
        path: String,
    },

    /// The checkpoint was written by a later release.
    #[error(
        "the checkpoint {path} has version {version}, which this release does not know; upgrade the agent"
    )]
    LaterCheckpoint {
        /// The checkpoint's file.
        path: String,
        /// The version that it names.
        version: u16,
    },

    /// A payload is larger than a record can be.
    #[error("a record of {length} bytes exceeds the limit of {} bytes", crate::format::MAX_PAYLOAD)]
    TooLarge {
        /// The payload's length in bytes.
        length: usize,
    },
}

impl Error {
    /// Names the operation and the file at which `source` happened.
    pub(crate) fn io(operation: &'static str, path: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { operation, path: path.into(), source: source.into() }
    }
}
