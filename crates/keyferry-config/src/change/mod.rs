//! How a configuration changes while the agent runs: parse, validate, plan, try, and commit or take back.
//!
//! The invariant: **what runs is always a committed version, whole.** A wish that is refused, fails its trial or has made things worse leaves the version before it,
//! and says why by the names of its keys. There is one change at a time; what else is wished for waits its turn, and is judged by what holds then.
//!
//! A version is a [`Document`]: the text of the file, and what was changed on top of it. Variables and the options of Keycloak are not part of it, because nobody can
//! change them while the agent runs. Pure: the clock, the sources' other layers and what the trial found are passed in.
//!
//! - [`version`]: documents and their versions.
//! - [`plan`]: what a change consists of.
//! - [`machine`]: from a wish to a version.
//! - [`probation`]: whether a change has made things worse.
//! - [`shared`]: changes that are for all nodes.
//! - [`bulletin`]: the records by which nodes tell each other of them.

pub mod bulletin;
pub mod machine;
pub mod plan;
pub mod probation;
pub mod shared;
#[cfg(test)]
mod tests;
pub mod version;

pub use bulletin::{Heard, Report, Unreadable, hear};
pub use machine::{Begun, Changes, Fallback, Next, Proposal, Refusal, Trial, Wish};
pub use plan::{Plan, Step};
pub use probation::{Health, OnProbation, Tally};
pub use shared::{Announcement, Decided, Decision, Due, Outcome, SharedChange, SharedValue, SharedValues};
pub use version::{Document, FileText, History, Version};
