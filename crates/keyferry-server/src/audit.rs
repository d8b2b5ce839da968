//! Who changed what: one line of the log for every change that was asked for, whether it was made or not.

use std::fmt;

use crate::agent::{Change, Refusal};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process at the Unix socket.
    Process {
        /// The user's id, as the kernel tells it.
        uid: u32,
        /// The process id; it may have ended meanwhile.
        pid: Option<i32>,
    },
    /// Somebody over TCP who knows `api.token`.
    Bearer,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { uid, pid: Some(pid) } => write!(f, "uid {uid} (process {pid})"),
            Self::Process { uid, pid: None } => write!(f, "uid {uid}"),
            Self::Bearer => f.write_str("the bearer of `api.token`"),
        }
    }
}

/// Logs that `who` wanted something done to `what`, and what became of it.
pub fn note(who: &str, wanted: &str, what: &str, result: &Result<(), Refusal>) {
    match result {
        Ok(()) => tracing::info!("audit: {who} changed {what}: {wanted}"),
        Err(refusal) => tracing::warn!("audit: {who} was refused {wanted} for {what}: {refusal}"),
    }
}

/// Logs that `peer` asked for `change`, and what became of it.
pub fn log(peer: Option<Peer>, slot: &str, destination: &str, change: &Change, result: &Result<(), Refusal>) {
    let who = peer.map_or_else(|| "somebody".to_owned(), |peer| peer.to_string());
    match result {
        Ok(()) => tracing::info!("audit: {who} changed {destination} of {slot}: {change}"),
        Err(refusal) => {
            tracing::warn!("audit: {who} was refused {change} for {destination} of {slot}: {refusal}")
        }
    }
}
