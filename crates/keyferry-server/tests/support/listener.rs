//! A listener on TCP and a client of it that says what it is told to.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyferry_server::access::{Listening, Token};
use keyferry_server::model::State;
use keyferry_server::{Role, Server};

use super::{Fake, shipment};

pub const TOKEN: &str = "a token that nobody guesses";
pub const BREAKER: &str = "/api/v1/destinations/default/breaker";
pub const OPEN: &str = r#"{"mode":"open"}"#;

/// A token that is always the same.
pub fn token(name: &str, role: Role, value: &'static str) -> Token {
    Token { name: name.to_owned(), role, value: Box::new(|| Ok(value.to_owned())) }
}

/// A listener, and the agent behind it.
pub struct Listener {
    pub address: SocketAddr,
    pub agent: Arc<Fake>,
    _server: Server,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// That it is a problem of this status that names something.
    #[track_caller]
    pub fn is_refused(&self, status: u16, names: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert!(self.body.contains(names), "{self:?} does not name {names:?}");
    }
}

impl Listener {
    /// As configured, on a port that is free.
    pub fn with(listening: impl FnOnce(Listening) -> Listening) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let agent = Arc::new(Fake::shipping([shipment("default", "slot-0", State::Idle)]));
        let plain = Listening {
            address,
            tls: None,
            origins: Vec::new(),
            tokens: Vec::new(),
            oidc: None,
            requests_per_second: 100_000,
        };
        let server = Server::start_page(listening(plain), Arc::clone(&agent) as _);
        let listener = Self { address, agent, _server: server };
        listener.connect();
        listener
    }

    pub fn with_tokens(tokens: Vec<Token>) -> Self {
        Self::with(|listening| Listening { tokens, ..listening })
    }

    pub fn open() -> Self {
        Self::with_tokens(Vec::new())
    }

    pub fn closed() -> Self {
        Self::with_tokens(vec![token("api.token", Role::Admin, TOKEN)])
    }

    /// A connection, as soon as somebody listens.
    pub fn connect(&self) -> TcpStream {
        let begun = Instant::now();
        loop {
            match TcpStream::connect(self.address) {
                Ok(stream) => return stream,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(30), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = self.connect();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{lines}Connection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        stream
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = String::new();
        self.begin(method, path, headers, body).read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// As a program asks that is no browser.
    pub fn get(&self, path: &str, more: &[(&str, &str)]) -> Answer {
        let host = self.host();
        self.send("GET", path, &[&[("Host", host.as_str())], more].concat(), "")
    }

    /// Opens the breaker.
    pub fn change(&self, more: &[(&str, &str)]) -> Answer {
        let host = self.host();
        self.send("PUT", BREAKER, &[&[("Host", host.as_str())], more].concat(), OPEN)
    }
}

pub const JSON: (&str, &str) = ("Content-Type", "application/json");

pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
