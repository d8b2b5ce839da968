//! Free TCP ports on the loopback interface.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Error, Result};

/// The first port, and how many follow. All lie below the range that Linux takes the ports of outgoing connections from (32768 and up, see `ip_local_port_range` in ip(7)): otherwise any
/// client may take a port between its being found free and its server's start.
const FIRST: u32 = 10_240;
const COUNT: u32 = 32_768 - FIRST;
/// Processes begin so far apart.
const STRIDE: u32 = 257;

/// How many were given out, or found taken.
static TRIED: AtomicU32 = AtomicU32::new(0);

/// A port that was free a moment ago. They are given out in turn, so it stays free long enough for a server to take it.
///
/// # Errors
/// Where the machine has none left.
pub fn free() -> Result<u16> {
    let begin = process::id().wrapping_mul(STRIDE);
    let mut taken = None;
    for _ in 0..COUNT {
        let turn = TRIED.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + begin.wrapping_add(turn) % COUNT;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port as u16));
        match listener {
            Ok(_) => return Ok(port as u16),
            Err(error) => taken = Some(error),
        }
    }
    Err(Error::io("bind any port of", "127.0.0.1")(
        taken.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into()),
    ))
}
