//! The journal: the files through which events travel from Keycloak's process to the agent.
//!
//! The invariant is that of `docs/journal-format.md`: **a record is valid only at the place where it was written**. What
//! is read is either exactly what a writer appended there, or it is reported as damage; and whatever cannot be read is
//! reported, never skipped in silence.
//!
//! The modules, in the order in which a byte meets them:
//!
//! | module | what it is |
//! |---|---|
//! | [`mod@format`] | the bytes: names, headers, records, checksums |
//! | [`event`] | the payload of a PREPARE: events and their field block |
//! | [`storage`] | what the reader and writer need of a disk, as two small traits |
//! | [`slot`] | the traits over a slot directory, and its two locks |
//! | [`memory`] | the traits over memory, for simulation |
//! | `window` | the one copy that is made of the bytes read |
//! | `scanner` | records in order, and the verdict on what is not a record |
//! | `assembler` | records in, settled transactions out |
//! | [`feed`] | what the pipeline uses: committed transactions, and where to resume |
//! | [`records`] | one segment taken apart, for people who look at it |
//! | [`checkpoint`] | how far a destination has got |
//! | [`watch`] | waking up when the writer has written |
//! | [`writer`] | the format written from Rust, for tests, simulation and benchmarks |
//!
//! # Fault model
//!
//! Any process may be killed at any instruction; a write may be cut short; a disk may flip bits, lose the tail of a file
//! or return stale blocks; the clock may jump. Under all of these the reader delivers only transactions that were
//! committed, or were in doubt and are marked so. Not defended against: somebody who forges checksums on purpose, and
//! two writers on one slot, which the slot's lock rules out.

pub mod checkpoint;
pub mod error;
pub mod event;
pub mod feed;
pub mod format;
pub mod memory;
pub mod records;
pub mod slot;
pub mod storage;
pub mod watch;
pub mod writer;

mod assembler;
mod scanner;
mod window;

pub use checkpoint::{Checkpoint, CheckpointFile};
pub use error::Error;
pub use event::{EventKind, EventView};
pub use feed::{Feed, FeedOptions, Item, Outcome, Resume, Transaction};
pub use format::{Epoch, Place, SegmentName};
pub use memory::MemoryStorage;
pub use records::{Piece, Records, Trouble};
pub use slot::{AgentLock, LockHolder, SlotDirectory};
pub use storage::{SegmentStore, Storage};
pub use watch::Watch;
pub use writer::Writer;
