//! The topics of a destination: what the cluster says of them.

pub(crate) mod admin;

pub use admin::{Answer, Creation, Description, NewTopic, Question, Request};
