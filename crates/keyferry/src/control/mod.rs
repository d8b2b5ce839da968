//! The operator's way to a running agent, from both ends.
//!
//! - `live_agent`: what this agent shows of itself and takes from others, on its socket.
//! - `reach`: which agents serve a directory.
//! - `status`: `keyferry status`.
//! - `steering`: `keyferry breaker`, `keyferry tuner` and `keyferry pool`.
//! - `print`: what they print for people.

mod live_agent;
mod print;
mod reach;
mod status;
mod steering;

use std::path::Path;
use std::sync::Arc;

use keyferry_server::Server;

use crate::control::live_agent::LiveAgent;
use crate::live::Live;

pub use status::run as status;
pub use steering::{breaker, pool, tuner};

/// Answers at the socket of `directory` for what is in `live`, until what is returned is dropped.
pub fn serve(directory: &Path, live: &Arc<Live>) -> Server {
    Server::start(directory, Arc::new(LiveAgent::new(Arc::clone(live))))
}
