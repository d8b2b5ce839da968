//! The sink on the real client, without a broker: what needs one is tested end to end.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use keyferry_config::{Readiness, Sources, librdkafka};
use keyferry_event::{Encoder, Envelope, FailureClass, HeaderMode, SendError, Sink, Token};
use keyferry_journal::event::{EventEncoder, Events, Field};
use keyferry_journal::{Epoch, EventKind, Outcome};
use keyferry_kafka::{KafkaSink, ProducerSettings};

/// The properties of a destination with these options, as the agent makes them.
fn settings(options: &[(&str, &str)]) -> ProducerSettings {
    let needed = [("bootstrap-servers", "127.0.0.1:1"), ("topic-events", "events")];
    let sources = Sources::new().with_options(needed.iter().chain(options).copied());
    let config = keyferry_config::load(&sources).unwrap_or_else(|errors| panic!("{errors}")).config;
    let Some(Readiness::Complete(destination)) = config.destinations.into_iter().next() else {
        panic!("incomplete: {options:?}")
    };
    let properties = librdkafka::properties(&destination);
    ProducerSettings::new(properties.into_iter().map(|(name, value)| (name, value.expose().to_owned())))
}

fn send(sink: &mut KafkaSink, token: u64, body: &[u8]) -> Result<(), SendError> {
    let mut payload = EventEncoder::new();
    payload.push(EventKind::User, 1, &[(Field::Id, "e1"), (Field::UserId, "u1")], body);
    let event = Events::of(payload.payload()).next().unwrap().unwrap();
    let envelope = Envelope { node: "n", epoch: Epoch(256), outcome: Outcome::Committed, sequence: 1 };
    let mut encoder = Encoder::new(HeaderMode::CloudEvents);
    sink.send(Token(token), &encoder.encode("events", &event, &envelope).unwrap())
}

#[test]
fn every_property_that_the_configuration_makes_is_one_that_the_client_takes() {
    let scram =
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"u\" password=\"p\";";
    let tables: [&[(&str, &str)]; 5] = [
        &[],
        &[
            ("compression-type", "zstd"),
            ("linger-ms", "0"),
            ("batch-size", "1"),
            ("client-dns-lookup", "use_all_dns_ips"),
        ],
        &[("security-protocol", "SSL"), ("ssl-endpoint-identification-algorithm", "disabled")],
        &[
            ("security-protocol", "SASL_SSL"),
            ("sasl-mechanism", "SCRAM-SHA-512"),
            ("sasl-jaas-config", scram),
        ],
        &[("max-request-size", "8388608"), ("retry-backoff-ms", "1"), ("request-timeout-ms", "1000")],
    ];
    for options in tables {
        if let Err(failure) = KafkaSink::new(settings(options)) {
            panic!("{options:?}: {failure}");
        }
    }
}

#[test]
fn a_property_that_the_client_does_not_know_is_an_error_that_names_it() {
    let settings = ProducerSettings::new([("no.such.property".to_owned(), "1".to_owned())]);
    let failure = KafkaSink::new(settings).err().unwrap();
    assert!(failure.reason.contains("no.such.property"), "{failure}");
}

#[test]
fn settings_are_printed_without_their_values() {
    let settings = ProducerSettings::new([("sasl.password".to_owned(), "hunter2".to_owned())]);
    let printed = format!("{settings:?}");
    assert!(printed.contains("sasl.password") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn a_record_beyond_the_largest_request_is_poison_at_once() {
    let mut sink = KafkaSink::new(settings(&[("max-request-size", "2000")])).unwrap();
    assert!(send(&mut sink, 0, &[b'x'; 1_000]).is_ok());
    match send(&mut sink, 1, &[b'x'; 3_000]) {
        Err(SendError::Failed(failure)) => assert_eq!(failure.class, FailureClass::Poison, "{failure}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_broker_that_is_not_there_is_told_and_loses_nothing() {
    let mut sink = KafkaSink::new(settings(&[])).unwrap();
    assert!(send(&mut sink, 0, b"{}").is_ok());
    let deadline = Instant::now() + Duration::from_secs(60);
    while sink.trouble().is_none() {
        assert!(Instant::now() < deadline, "the refused connection was never told");
        sink.poll(&mut |token, outcome| panic!("{token:?} has the outcome {outcome:?}"));
        std::thread::sleep(Duration::from_millis(10));
    }
    let trouble = sink.trouble().unwrap();
    assert!(trouble.reason.contains("127.0.0.1:1"), "{trouble}");
}

/// What `rd_kafka_message_errstr` returns of an undelivered message is its payload: personal data, once in our log.
#[test]
fn a_failure_names_topic_and_cause_and_never_quotes_the_event() {
    let properties = [("bootstrap.servers", "127.0.0.1:1"), ("message.timeout.ms", "50"), ("linger.ms", "1")];
    let mut sink = KafkaSink::new(ProducerSettings::new(
        properties.map(|(name, value)| (name.to_owned(), value.to_owned())),
    ))
    .unwrap();
    assert!(send(&mut sink, 0, b"{\"username\":\"alice\"}").is_ok());
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut reason = None;
    while reason.is_none() {
        assert!(Instant::now() < deadline, "the failure was never told");
        sink.poll(&mut |_, outcome| reason = outcome.err().map(|failure| failure.reason));
        std::thread::sleep(Duration::from_millis(10));
    }
    let reason = reason.unwrap();
    assert!(reason.starts_with("events: MessageTimedOut"), "{reason}");
    assert!(!reason.contains("alice"), "{reason}");
}

#[test]
fn a_reset_forgets_what_is_under_way() {
    let mut sink = KafkaSink::new(settings(&[])).unwrap();
    assert!(send(&mut sink, 0, b"{}").is_ok());
    sink.reset().unwrap();
    assert!(send(&mut sink, 1, b"{}").is_ok());
    sink.poll(&mut |token, outcome| panic!("{token:?} has the outcome {outcome:?}"));
}
