//! Somebody who is told: an HTTP server and a mail server that keep what they get.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::{Error, Result, wait};

/// One thing that was received: the head of a request and its body, or an envelope and a mail.
#[derive(Debug, Clone)]
pub struct Received {
    /// Lines before the content, in small letters.
    pub head: Vec<String>,
    /// The same lines as they came.
    pub lines: Vec<String>,
    /// The content.
    pub body: String,
    /// The same as it came, where it is no text.
    pub bytes: Vec<u8>,
}

impl Received {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    }

    /// The token of a request that has one.
    pub fn bearer(&self) -> Option<&str> {
        let is_it = |line: &&String| line.to_ascii_lowercase().starts_with("authorization: bearer ");
        self.lines.iter().find(is_it)?.rsplit(' ').next()
    }
}

/// A server on a port of its own.
#[derive(Debug)]
pub struct Receiver {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// One that answers every request of HTTP with 200.
    ///
    /// # Errors
    /// Where there is no port.
    pub fn http() -> Result<Self> {
        Self::start(0, |stream| request(stream, "200 OK"))
    }

    /// One that answers every request of HTTP with 201: something was made of it.
    ///
    /// # Errors
    /// Where there is no port.
    pub fn http_created() -> Result<Self> {
        Self::start(0, |stream| request(stream, "201 Created"))
    }

    /// The same as [`Self::http`] on a port that somebody may have tried before.
    ///
    /// # Errors
    /// Where it is taken.
    pub fn http_at(port: u16) -> Result<Self> {
        Self::start(port, |stream| request(stream, "200 OK"))
    }

    /// One that takes every mail.
    ///
    /// # Errors
    /// Where there is no port.
    pub fn smtp() -> Result<Self> {
        Self::start(0, mail)
    }

    fn start(port: u16, converse: fn(TcpStream) -> std::io::Result<Received>) -> Result<Self> {
        let failed = || Error::io("listen on", "127.0.0.1");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed())?;
        let port = listener.local_addr().map_err(failed())?.port();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let kept = Arc::clone(&received);
        // It ends with the process of the tests.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Ok(one) = converse(stream) {
                    lock(&kept).push(one);
                }
            }
        });
        Ok(Self { port, received })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Everything that it got so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.received).clone()
    }

    /// Waits until it gets something that `is_meant`.
    ///
    /// # Errors
    /// [`Error::TooLate`].
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        is_meant: impl Fn(&Received) -> bool,
    ) -> Result<Received> {
        wait::until(what, limit, || self.received().into_iter().find(|one| is_meant(one)))
    }
}

fn lock(received: &Mutex<Vec<Received>>) -> MutexGuard<'_, Vec<Received>> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

fn request(stream: TcpStream, status: &str) -> std::io::Result<Received> {
    let mut reader = BufReader::new(&stream);
    let (mut head, mut lines) = (Vec::new(), Vec::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_ascii_lowercase());
        lines.push(line.trim().to_owned());
    }
    let length =
        head.iter().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    (&stream).write_all(answer.as_bytes())?;
    Ok(Received { head, lines, body: String::from_utf8_lossy(&body).into_owned(), bytes: body })
}

/// As much of RFC 5321 as a client without extensions needs.
fn mail(stream: TcpStream) -> std::io::Result<Received> {
    let mut reader = BufReader::new(&stream);
    let say = |text: &str| (&stream).write_all(format!("{text}\r\n").as_bytes());
    say("220 receiver")?;
    let (mut head, mut lines, mut body) = (Vec::new(), Vec::new(), String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(Received { head, lines, bytes: body.clone().into_bytes(), body });
        }
        head.push(line.trim().to_ascii_lowercase());
        lines.push(line.trim().to_owned());
        match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
            "DATA" => {
                say("354 go on")?;
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line)? == 0 || line.trim_end() == "." {
                        break;
                    }
                    body.push_str(&line);
                }
                say("250 taken")?;
                return Ok(Received { head, lines, bytes: body.clone().into_bytes(), body });
            }
            "QUIT" => {
                say("221 bye")?;
                return Ok(Received { head, lines, bytes: body.clone().into_bytes(), body });
            }
            _ => say("250 receiver")?,
        }
    }
}
