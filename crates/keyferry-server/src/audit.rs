//! Who changed what: one line of the log for every change that was asked for, whether it was made or not.

use std::fmt;
use std::sync::Arc;

use crate::agent::{Change, Refusal};

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process at the Unix socket.
    Process {
        /// The user's id, as the kernel tells it.
        uid: u32,
        /// The process id; it may have ended meanwhile.
        pid: Option<i32>,
    },
    /// Somebody over TCP who knows the token of this name.
    Token(Arc<str>),
    /// Somebody whom Keycloak knows by this name.
    User(Arc<str>),
    /// Somebody over TCP, where nobody must say who he is.
    Anybody,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { uid, pid: Some(pid) } => write!(f, "uid {uid} (process {pid})"),
            Self::Process { uid, pid: None } => write!(f, "uid {uid}"),
            Self::Token(name) => write!(f, "the bearer of `{name}`"),
            // Somebody chose it: it must not look like anything else.
            Self::User(name) => write!(f, "user {name:?}"),
            Self::Anybody => f.write_str("somebody"),
        }
    }
}

/// Logs that `who` wanted something done to `what`, and what became of it.
pub fn note(who: &Peer, wanted: &str, what: &str, result: &Result<(), Refusal>) {
    match result {
        Ok(()) => tracing::info!("audit: {who} changed {what}: {wanted}"),
        Err(refusal) => tracing::warn!("audit: {who} was refused {wanted} for {what}: {refusal}"),
    }
}

/// Logs that `who` asked for `change`, and what became of it.
pub fn log(who: &Peer, slot: &str, destination: &str, change: &Change, result: &Result<(), Refusal>) {
    match result {
        Ok(()) => tracing::info!("audit: {who} changed {destination} of {slot}: {change}"),
        Err(refusal) => {
            tracing::warn!("audit: {who} was refused {change} for {destination} of {slot}: {refusal}")
        }
    }
}
