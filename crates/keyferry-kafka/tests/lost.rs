//! A cluster that says that it has no brokers, as one does for a moment whose only broker comes back after a pause.
//!
//! The broker here is a few lines that speak as much of Kafka's protocol as the client needs to come to believe it: a real one says so only within a
//! few milliseconds that no test can hit at will. What it says was taken from Kafka 4.4.0.
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use keyferry_event::{Encoder, Envelope, HeaderMode, Sink as _, Token};
use keyferry_journal::event::{EventEncoder, Events, Field};
use keyferry_journal::{Epoch, EventKind, Outcome};
use keyferry_kafka::{ConnectionPoolManager, KafkaSink, PoolSettings, ProducerSettings};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What the protocol calls its requests ([Kafka protocol guide](https://kafka.apache.org/protocol#protocol_api_keys)).
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;

/// Listens, and answers every client that the cluster has `brokers` brokers.
fn serve(brokers: i32) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || answer_all(stream, address.port(), brokers));
        }
    });
    address
}

fn answer_all(mut stream: TcpStream, port: u16, brokers: i32) {
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request).unwrap();
        let body = match i16::from_be_bytes([request[0], request[1]]) {
            API_VERSIONS => api_versions(),
            METADATA => metadata(port, brokers),
            _ => continue,
        };
        let response = [&request[4..8], &body].concat();
        let length = u32::try_from(response.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], &response].concat()).unwrap();
    }
}

/// ApiVersions response, version 3: what an idempotent producer needs, and metadata up to version 2, which has no optional fields.
fn api_versions() -> Vec<u8> {
    let supported: [(i16, i16, i16); 5] =
        [(0, 0, 7), (1, 0, 4), (METADATA, 0, 2), (API_VERSIONS, 0, 3), (22, 0, 1)];
    let mut body = vec![0, 0, u8::try_from(supported.len() + 1).unwrap()];
    for (key, from, to) in supported {
        body.extend([key, from, to].into_iter().flat_map(i16::to_be_bytes));
        body.push(0);
    }
    // No throttling, no tagged fields.
    body.extend([0; 5]);
    body
}

/// Metadata response, version 2, with the one partition of the topic `events`.
fn metadata(port: u16, brokers: i32) -> Vec<u8> {
    let text = |text: &str| [&i16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
    let mut body = brokers.to_be_bytes().to_vec();
    for id in 1..=brokers {
        body.extend(id.to_be_bytes());
        body.extend(text("127.0.0.1"));
        body.extend(i32::from(port).to_be_bytes());
        // No rack.
        body.extend((-1_i16).to_be_bytes());
    }
    body.extend(text("cluster"));
    let controller_and_leader = if brokers > 0 { 1 } else { -1_i32 };
    body.extend(controller_and_leader.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    // No error, the name, not internal, one partition without an error of its own.
    body.extend([0, 0]);
    body.extend(text("events"));
    body.push(0);
    body.extend(1_i32.to_be_bytes());
    body.extend([0, 0]);
    for number in [0, controller_and_leader, 1, 1, 0] {
        // Its number, its leader, one replica, which is broker 1, and nobody in sync.
        body.extend(number.to_be_bytes());
    }
    body
}

/// A sink with one record under way to a cluster with so many brokers.
fn sink(brokers: i32) -> KafkaSink {
    let servers = serve(brokers).to_string();
    let properties = [("bootstrap.servers", &*servers), ("enable.idempotence", "true")];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut sink = KafkaSink::new(ProducerSettings::new(properties)).unwrap();
    let mut payload = EventEncoder::new();
    payload.push(EventKind::User, 1, &[(Field::Id, "e1")], b"{}");
    let event = Events::of(payload.payload()).next().unwrap().unwrap();
    let envelope = Envelope { node: "n", epoch: Epoch(256), outcome: Outcome::Committed, sequence: 1 };
    let mut encoder = Encoder::new(HeaderMode::None);
    sink.send(Token(0), &encoder.encode("events", &event, &envelope).unwrap()).unwrap();
    sink
}

#[test]
fn a_client_that_has_lost_every_broker_says_so() {
    let mut sink = sink(0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while sink.lost().is_none() {
        assert!(Instant::now() < deadline, "the client waits for brokers that it will never ask for");
        sink.poll(&mut |token, outcome| panic!("{token:?} has the outcome {outcome:?}"));
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_client_that_has_not_met_the_cluster_yet_or_knows_its_broker_is_not_lost() {
    let mut sink = sink(1);
    for _ in 0..100 {
        assert_eq!(sink.lost(), None);
        sink.poll(&mut |token, outcome| panic!("{token:?} has the outcome {outcome:?}"));
        thread::sleep(Duration::from_millis(10));
    }
}

/// Statistics come once a second, and nobody wakes for them.
#[test]
fn a_pool_over_which_nothing_flows_does_not_wake_its_owner() {
    let servers = serve(1).to_string();
    let settings = ProducerSettings::new([("bootstrap.servers".to_owned(), servers)]);
    let (mut pool, handle) = ConnectionPoolManager::new(settings, PoolSettings::default()).unwrap();
    let quiet = Timespec { tv_sec: 3, tv_nsec: 0 };
    let mut wakes = 0;
    loop {
        let waited =
            poll(&mut [PollFd::from_borrowed_fd(pool.readiness().unwrap(), PollFlags::IN)], Some(&quiet));
        pool.poll(&mut |token, outcome| panic!("{token:?} has the outcome {outcome:?}"));
        if waited.unwrap() == 0 {
            break;
        }
        wakes += 1;
        assert!(wakes < 20, "it wakes again and again");
    }
    // What came meanwhile was not thrown away.
    assert!(handle.snapshot().connections[0].connects > 0, "{:?}", handle.snapshot());
}
