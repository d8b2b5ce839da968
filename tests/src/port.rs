//! Free TCP ports on the loopback interface.

use std::net::{Ipv4Addr, TcpListener};

use crate::{Error, Result};

/// A port that was free a moment ago. The kernel hands them out in turn, so it stays free long enough for a server to take it.
///
/// # Errors
/// Where the machine has none left.
pub fn free() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("bind", "127.0.0.1:0"))?;
    let address = listener.local_addr().map_err(Error::io("read the address of", "127.0.0.1:0"))?;
    Ok(address.port())
}
