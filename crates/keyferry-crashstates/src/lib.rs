//! Crash consistency of the journal's writer: what every crash could leave of its files is read by the real reader, and held against
//! what the writer had told its clients.
//!
//! The invariant that is checked: **whatever the writer had promised when the crash came, the reader delivers; and it delivers nothing
//! else.** The writer under test is the provider's, in Java. Its tests record what it did to its disk and what it told its clients, in
//! order, as a [trace](trace). Everything that follows from that is done here:
//!
//! | module | what it is |
//! |---|---|
//! | [`trace`] | the recording, one JSON object a line |
//! | [`disk`] | what survives: of a file system that has been told to sync some things and not others |
//! | [`records`] | the records that the recorded writes consist of |
//! | [`story`] | what clients were told, and when |
//! | [`states`] | the crash states of a trace: process killed, power cut |
//! | [`verdict`] | one state read by the feed, and judged |
//! | [`plant`] | recordings falsified as by a faulty writer, to show that the judgement is worth something |
//!
//! # The disk that is assumed
//!
//! After a process kill, every write that the kernel has taken survives, and of the one under way any beginning. After a power cut,
//! nothing survives for certain but what was synced: a file's content by a sync of the file, its name by a sync of its directory. Of
//! everything else any 512-byte sector may be old, new or one of the states between, independently of all others; a file may be as long
//! as at any moment since it was synced, with zero bytes where its data did not get to the disk; and after a sync that failed nothing
//! more of that file ever becomes certain, because Linux drops the pages that it could not write and reports them once. No file system
//! is as bad as all that at once; what holds here holds on each.

pub mod disk;
pub mod plant;
pub mod records;
pub mod states;
pub mod story;
pub mod trace;
pub mod verdict;

pub use plant::Plant;
pub use states::{Crash, Summary, examine};
pub use trace::{Entry, Trace, TraceError};
