//! `keyferry verify` on topics of librdkafka's mock cluster, filled by the sink that the agent uses.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use keyferry_config::{Readiness, Sources, librdkafka};
use keyferry_event::{Encoder, Envelope, Gap, GapReason, HeaderMode, Sink as _, Span, Token};
use keyferry_journal::event::{EventEncoder, Events, Field};
use keyferry_journal::{Epoch, EventKind, Outcome};
use keyferry_kafka::{KafkaSink, ProducerSettings};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use support::{keyferry, transcript};

/// A cluster with the topics `events` and `admin-events`, of three partitions each.
fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    for topic in ["events", "admin-events"] {
        cluster.create_topic(topic, 3, 1).unwrap();
    }
    cluster
}

/// A record: its sequence number and the id of its event.
#[derive(Clone, Copy)]
struct Sent {
    topic: &'static str,
    sequence: u64,
    id: &'static str,
    headers: HeaderMode,
    /// Of a gap record, the numbers that may never appear.
    explains: Option<Span>,
}

fn sent(sequence: u64, id: &'static str) -> Sent {
    Sent { topic: "events", sequence, id, headers: HeaderMode::CloudEvents, explains: None }
}

/// A body that no compression makes small.
fn noise(seed: u64) -> String {
    let mut state = seed;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:08x}", state >> 32)
    };
    (0..100).map(|_| word()).collect()
}

/// Sends the records, all of one user, and waits until the cluster has them.
fn fill(servers: &str, records: &[Sent]) {
    let sources = Sources::new().with_options([("bootstrap-servers", servers), ("topic-events", "events")]);
    let config = keyferry_config::load(&sources).unwrap_or_else(|errors| panic!("{errors}")).config;
    let [Readiness::Complete(destination)] = &config.destinations[..] else { panic!("incomplete") };
    let properties = librdkafka::properties(destination).into_iter();
    let mut sink = KafkaSink::new(ProducerSettings::new(
        properties.map(|(name, value)| (name, value.expose().to_owned())),
    ))
    .unwrap();
    for (token, record) in records.iter().enumerate() {
        let mut payload = EventEncoder::new();
        payload.push(
            EventKind::User,
            1,
            &[(Field::Id, record.id), (Field::UserId, "u-1")],
            noise(record.sequence).as_bytes(),
        );
        let event = Events::of(payload.payload()).next().unwrap().unwrap();
        let envelope = Envelope {
            node: "kc-1",
            epoch: Epoch(0x0006_4459_4162_4300),
            outcome: Outcome::Committed,
            sequence: record.sequence,
        };
        let mut encoder = Encoder::new(record.headers);
        let encoded = match record.explains {
            None => encoder.encode(record.topic, &event, &envelope),
            Some(sequences) => {
                let mut gap = Gap::new(
                    GapReason::DroppedOld,
                    envelope.epoch,
                    "kc-1",
                    "the ceiling was reached".to_owned(),
                );
                (gap.user_events, gap.sequences) = (Some(3), Some(sequences));
                encoder.encode_gap(record.topic, &gap, record.sequence, 1)
            }
        };
        sink.send(Token(token as u64), &encoded.unwrap()).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut acknowledged = 0;
    while acknowledged < records.len() {
        assert!(Instant::now() < deadline, "{acknowledged} of {} acknowledged", records.len());
        sink.poll(&mut |token, outcome| {
            assert!(outcome.is_ok(), "{token:?}: {outcome:?}");
            acknowledged += 1;
        });
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What `keyferry verify` says of the topics.
fn verify(servers: &str, topics: &[&str], further: &[&str]) -> String {
    let mut arguments = vec!["verify", "--bootstrap-servers", servers];
    for topic in topics {
        arguments.extend(["--topic", topic]);
    }
    arguments.extend(further);
    transcript(&keyferry(Path::new("/"), &arguments).output().unwrap())
}

/// What it says after these records were sent, in text and as JSON.
fn verdict(records: &[Sent]) -> String {
    let cluster = cluster();
    let servers = cluster.bootstrap_servers();
    fill(&servers, records);
    let topics = ["events", "admin-events"];
    [verify(&servers, &topics, &[]), verify(&servers, &topics, &["--json"])].concat()
}

#[test]
fn topics_that_have_everything_are_complete() {
    let admin = Sent { topic: "admin-events", ..sent(2, "e-2") };
    let records = [sent(1, "e-1"), admin, sent(3, "e-3"), sent(3, "e-3")];
    insta::assert_snapshot!("complete", verdict(&records));
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let numbers = [(2, "e-2"), (3, "e-3"), (3, "other"), (8, "e-8"), (7, "e-7")];
    let foreign = Sent { headers: HeaderMode::None, ..sent(1, "e-1") };
    let records: Vec<_> =
        numbers.into_iter().map(|(sequence, id)| sent(sequence, id)).chain([foreign]).collect();
    insta::assert_snapshot!("incomplete", verdict(&records));
}

#[test]
fn a_hole_that_a_gap_record_tells_of_is_explained() {
    let gap = Sent { explains: Some(Span { from: 2, to: 4 }), ..sent(5, "") };
    let records = [sent(1, "e-1"), gap, sent(6, "e-6")];
    insta::assert_snapshot!("explained", verdict(&records));
    let minimal = records.map(|record| Sent { headers: HeaderMode::Minimal, ..record });
    assert_eq!(verdict(&minimal), verdict(&records), "all that is needed is in the smaller headers");
}

#[test]
fn one_topic_of_two_is_told_from_a_loss() {
    let cluster = cluster();
    let servers = cluster.bootstrap_servers();
    fill(&servers, &[sent(1, "e-1"), Sent { topic: "admin-events", ..sent(2, "e-2") }, sent(3, "e-3")]);
    let text = verify(&servers, &["events"], &[]);
    assert!(text.contains("name the others too with --topic") && text.ends_with("exit code 1\n"), "{text}");
    let minimal = Sent { headers: HeaderMode::Minimal, topic: "admin-events", ..sent(2, "e-2") };
    fill(&servers, &[minimal]);
    let text = verify(&servers, &["events", "admin-events"], &["--json"]);
    assert!(text.contains("\"verdict\":\"complete\"") && text.contains("\"duplicates\":1"), "{text}");
}

#[test]
fn what_retention_deleted_is_no_loss() {
    let cluster = cluster();
    let servers = cluster.bootstrap_servers();
    // More than the mock cluster keeps of a partition, which is 5 MB.
    let records: Vec<_> = (1..=20_000).map(|sequence| sent(sequence, "e")).collect();
    fill(&servers, &records);
    let text = verify(&servers, &["events"], &[]);
    assert!(text.contains("deleted by the topic's retention"), "{text}");
    assert!(text.contains("complete: ") && text.ends_with("exit code 0\n"), "{text}");
}

#[test]
fn topics_without_our_records_prove_nothing() {
    let cluster = cluster();
    let text = verify(&cluster.bootstrap_servers(), &["events"], &[]);
    assert!(text.starts_with("nothing to verify") && text.ends_with("exit code 1\n"), "{text}");
}

#[test]
fn records_without_headers_cannot_be_verified_and_that_is_said() {
    let records = [1, 2].map(|sequence| Sent { headers: HeaderMode::None, ..sent(sequence, "e") });
    let text = verdict(&records);
    assert!(text.contains("neither losses nor copies nor their order can be told"), "{text}");
    assert!(text.contains("\"verdict\":\"nothing\"") && text.ends_with("exit code 1\n"), "{text}");
}

#[test]
fn what_cannot_be_read_is_exit_code_2() {
    let text = verify("127.0.0.1:1", &["events"], &["--timeout", "1"]);
    assert!(text.contains("cannot look up topic events") && text.ends_with("exit code 2\n"), "{text}");
    let text = verify("127.0.0.1:1", &["events"], &["--property", "no.such=1"]);
    assert!(text.contains("no.such") && text.ends_with("exit code 2\n"), "{text}");
    let text = transcript(&keyferry(Path::new("/"), &["verify", "--topic", "events"]).output().unwrap());
    assert!(text.contains("bootstrap-servers") && text.ends_with("exit code 2\n"), "{text}");
}
