//! The server on its socket, and the client at the other end.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyferry_server::model::{Breaker, BreakerMode, OfSlots, SetBreaker, State, Status};
use keyferry_server::{Client, ClientError, Server};
use support::{Fake, shipment};

const BREAKER: &str = "/api/v1/destinations/default/breaker";

fn agent() -> Arc<Fake> {
    Arc::new(Fake::shipping([shipment("default", "slot-0", State::Idle)]))
}

fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(ready) = ready() {
            return ready;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The status, as soon as somebody answers.
fn status(directory: &Path) -> Status {
    until("an answer", || Client::of(directory).get("/api/v1/status").ok())
}

#[test]
fn a_change_reaches_the_agent_and_the_answer_its_client() {
    let (directory, agent) = (tempfile::tempdir().unwrap(), agent());
    let server = Server::start(directory.path(), Arc::clone(&agent) as _);
    assert!(status(directory.path()).ready);
    let client = Client::of(directory.path());
    assert_eq!(fs::metadata(client.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let body = SetBreaker { mode: BreakerMode::Open };
    let answer: OfSlots<Breaker> = client.put(BREAKER, &body).unwrap();
    assert_eq!(answer.slots[0].of.mode, BreakerMode::Open);
    assert_eq!(agent.asked(), ["slot-0 default: breaker open"]);
    let refused = client.get::<Status>("/api/v1/destinations/nowhere").unwrap_err();
    assert!(matches!(&refused, ClientError::Problem(problem) if problem.status == 404), "{refused:?}");
    drop(server);
    assert!(!client.path().exists(), "the socket goes with the server");
    assert!(matches!(client.get::<Status>("/api/v1/status"), Err(ClientError::NoAgent(_))));
}

#[test]
fn a_second_agent_leaves_the_socket_to_the_first_and_takes_it_over_when_that_ends() {
    let directory = tempfile::tempdir().unwrap();
    let first = Server::start(directory.path(), agent());
    assert_eq!(status(directory.path()).destinations.len(), 1);
    let second = Server::start(directory.path(), Arc::new(Fake::default()));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(status(directory.path()).destinations.len(), 1, "the first one answers");
    drop(first);
    assert_eq!(status(directory.path()).destinations.len(), 0, "the second one answers");
    drop(second);
}

#[test]
fn an_agent_that_waits_for_the_socket_ends_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Server::start(directory.path(), agent());
    status(directory.path());
    let second = Server::start(directory.path(), agent());
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    drop(second);
    assert!(begun.elapsed() < Duration::from_millis(900), "it slept through the word to end");
    assert!(status(directory.path()).ready, "the first one's socket is still there");
}

#[test]
fn a_directory_that_can_have_no_socket_costs_the_api_only() {
    let directory = tempfile::tempdir().unwrap();
    let long = directory.path().join("a".repeat(120));
    fs::create_dir(&long).unwrap();
    drop(Server::start(&long, agent()));
    drop(Server::start(&directory.path().join("missing"), agent()));
    assert_eq!(fs::read_dir(&long).unwrap().count(), 0);
}

#[test]
fn a_client_that_says_nothing_holds_up_nobody_and_not_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), agent());
    status(directory.path());
    let client = Client::of(directory.path());
    let _silent: Vec<_> = (0..8).map(|_| UnixStream::connect(client.path()).unwrap()).collect();
    let mut slow = UnixStream::connect(client.path()).unwrap();
    write!(
        slow,
        "PUT {BREAKER} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{"
    )
    .unwrap();
    assert!(status(directory.path()).ready);
    let begun = Instant::now();
    drop(server);
    assert!(begun.elapsed() < Duration::from_secs(3), "the end waits for a client");
}

#[test]
fn what_is_no_request_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _server = Server::start(directory.path(), agent());
    status(directory.path());
    let mut stream = UnixStream::connect(Client::of(directory.path()).path()).unwrap();
    stream.write_all(b"\x16\x03\x01 nonsense\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

/// What is answered to `GET path` at a TCP address, as soon as somebody answers.
fn over_tcp(address: std::net::SocketAddr, method: &str, path: &str) -> String {
    until("an answer over TCP", || {
        let mut stream = std::net::TcpStream::connect(address).ok()?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: agent\r\nAccept: application/openmetrics-text\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        (!answer.is_empty()).then_some(answer)
    })
}

#[test]
fn over_tcp_there_are_metrics_and_nothing_that_could_be_changed() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let agent = agent();
    let server = Server::start_metrics(address, Arc::clone(&agent) as _);
    std::thread::sleep(Duration::from_millis(50));
    // Whoever had the port has ended: the metrics begin.
    drop(taken);
    let answer = over_tcp(address, "GET", "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("text/plain"), "{answer}");
    assert!(answer.contains("up 1 # application/openmetrics-text"), "{answer}");
    for (method, path) in
        [("GET", "/api/v1/status"), ("PUT", BREAKER), ("POST", "/api/v1/destinations/default/pool/reconnect")]
    {
        let answer = over_tcp(address, method, path);
        assert!(answer.starts_with("HTTP/1.1 404"), "{method} {path}: {answer}");
    }
    assert!(agent.asked().is_empty());
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err(), "the port is let go with the server");
}

#[test]
fn the_socket_has_the_metrics_as_well() {
    let (directory, agent) = (tempfile::tempdir().unwrap(), agent());
    let _server = Server::start(directory.path(), agent as _);
    status(directory.path());
    let mut stream = UnixStream::connect(directory.path().join("agent.sock")).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("up 1 # \n"), "{answer}");
}
