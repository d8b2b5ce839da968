//! The topics of a destination: what the cluster says of them, and what is wrong with that.
//!
//! The invariant: **nothing here holds up delivery.** What is found is told; a topic that shall be created is asked for again and again while
//! records wait in the journal as they do for any other reason.
//!
//! - [`admin`]: what can be asked and answered.
//! - [`check`]: what is asked when, and what is made of the answers.

pub(crate) mod admin;
pub(crate) mod check;
mod findings;

pub(crate) use admin::{Answer, Creation, Described, Description, Entries, NewTopic, Question, Request};
pub use check::{Finding, Severity, Subject, TopicPolicy, TopicPresence, TopicSnapshot, TopicTemplate};
