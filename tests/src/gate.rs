//! A gate before an HTTP server: it lets pass whom it is told to, as the proxy of a company does that asks for logins or has trouble behind it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Error, Result};

/// Who may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Nobody: this status is the answer.
    Refused(u16),
    /// Who logs in (RFC 7617).
    Login {
        /// By this name.
        username: String,
        /// With this password.
        password: String,
    },
}

/// A gate on a port of its own. Each request has a connection of its own.
#[derive(Debug)]
pub struct Gate {
    port: u16,
    entry: Arc<Mutex<Entry>>,
}

impl Gate {
    /// A gate before `server`.
    ///
    /// # Errors
    /// Where there is no port left.
    pub fn before(server: SocketAddr, entry: Entry) -> Result<Self> {
        let failed = || Error::io("listen on", "127.0.0.1");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed())?;
        let port = listener.local_addr().map_err(failed())?.port();
        let entry = Arc::new(Mutex::new(entry));
        let watched = Arc::clone(&entry);
        // It ends with the process of the tests.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let entry = lock(&watched).clone();
                // A connection that breaks is one that the client sees break.
                thread::spawn(move || pass(&client, server, &entry));
            }
        });
        Ok(Self { port, entry })
    }

    /// Its port, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on these may pass.
    pub fn set(&self, entry: Entry) {
        *lock(&self.entry) = entry;
    }
}

fn lock(entry: &Mutex<Entry>) -> std::sync::MutexGuard<'_, Entry> {
    entry.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entry {
    /// The status for who may not pass with a request of this head.
    fn refusal(&self, head: &[String]) -> Option<u16> {
        match self {
            Self::Refused(status) => Some(*status),
            Self::Login { username, password } => {
                let login = STANDARD.encode(format!("{username}:{password}"));
                let is_login = |line: &String| {
                    line.split_once(": ").is_some_and(|(name, value)| {
                        name.eq_ignore_ascii_case("authorization") && value == format!("Basic {login}")
                    })
                };
                (!head.iter().any(is_login)).then_some(401)
            }
        }
    }
}

/// Passes one request on, and its answer back.
fn pass(mut client: &TcpStream, server: SocketAddr, entry: &Entry) -> io::Result<()> {
    let mut reader = BufReader::new(client);
    let head = reader.by_ref().lines().take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()));
    let head = head.collect::<io::Result<Vec<String>>>()?;
    let is = |line: &str, name: &str| {
        line.split_once(':').is_some_and(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    let length = head.iter().find(|line| is(line, "content-length"));
    let length = length.and_then(|line| line.split_once(':')?.1.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if let Some(status) = entry.refusal(&head) {
        let asks = if status == 401 { "WWW-Authenticate: Basic realm=\"registry\"\r\n" } else { "" };
        return write!(
            client,
            "HTTP/1.1 {status} Refused\r\n{asks}Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let mut server = TcpStream::connect(server)?;
    for line in head.iter().filter(|line| !is(line, "connection")) {
        write!(server, "{line}\r\n")?;
    }
    write!(server, "Connection: close\r\n\r\n")?;
    server.write_all(&body)?;
    io::copy(&mut server, &mut client).map(drop)
}
