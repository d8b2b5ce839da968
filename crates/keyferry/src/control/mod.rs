//! The operator's way to a running agent, from both ends.
//!
//! - `reach`: which agents serve a directory.
//! - `status`: `keyferry status`.
//! - `steering`: `keyferry breaker`, `keyferry tuner` and `keyferry pool`.
//! - `print`: what they print for people.

mod print;
mod reach;
mod status;
mod steering;

pub use status::run as status;
pub use steering::{breaker, pool, tuner};
