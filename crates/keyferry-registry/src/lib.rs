//! The ids of schemas, from a registry with Confluent's API.
//!
//! The invariants:
//!
//! - **Nobody who delivers waits here.** A thread of its own asks; a pipeline looks up what is known, and where nothing is known it holds what it has and looks again. The journal keeps the events meanwhile.
//! - **An id is only ever what the registry that is configured now has answered.** Ids are kept in memory and not on disk: after a start each subject is asked for once, with its first record. An id that outlived its registry (one that was
//!   restored from a backup, say, or built anew) would name another schema there, and consumers would misread every record without an error; one request a subject is a small price.
//! - **A registry in trouble is left alone.** One request is under way at a time, and a registry that does not answer is asked again after pauses that grow, whatever number of subjects waits ([`resolver`]).
//!
//! - `subject`: under which name a registry keeps a schema.
//! - [`failure`]: what an answer means, and who can do something about it.
//! - [`resolver`]: what is asked next, and when.
//! - [`client`]: how it is asked.
//! - `service`: what a pipeline, an operator and the thread that asks share.

pub mod client;
pub mod failure;
pub mod resolver;
mod service;
mod subject;

pub use client::{Access, Authorization};
pub use failure::{Kind, Refusal};
pub use service::{Configuration, Failing, Report, SchemaRegistry};
pub use subject::SubjectNameStrategy;
