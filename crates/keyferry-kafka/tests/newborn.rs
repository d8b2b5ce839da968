//! A partition that was created a moment ago: its broker refuses a batch and takes the next one, because it knows nothing of the producer yet.
//!
//! Kafka does so within the few milliseconds between telling clients of a partition and having it; librdkafka's own broker does it here when it is asked to.
#![allow(clippy::unwrap_used)]

use std::thread;
use std::time::{Duration, Instant};

use keyferry_event::{Encoder, Envelope, Failure, FailureClass, HeaderMode, Sink as _, Token};
use keyferry_journal::event::{EventEncoder, Events, Field};
use keyferry_journal::{Epoch, EventKind, Outcome};
use keyferry_kafka::{KafkaSink, ProducerSettings};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

const TOPIC: &str = "events";
const LIMIT: Duration = Duration::from_secs(60);
/// Both batches are on their way when the first one is answered.
const ROUND_TRIP: Duration = Duration::from_millis(200);

/// One record a batch.
fn sink(servers: &str) -> KafkaSink {
    let properties = [
        ("bootstrap.servers", servers),
        ("enable.idempotence", "true"),
        ("enable.gapless.guarantee", "true"),
        ("message.timeout.ms", "0"),
        ("delivery.report.only.error", "false"),
        ("batch.num.messages", "1"),
        ("linger.ms", "0"),
    ];
    KafkaSink::new(ProducerSettings::new(properties.map(|(name, value)| (name.to_owned(), value.to_owned()))))
        .unwrap()
}

fn send(sink: &mut KafkaSink, token: u64) {
    let mut payload = EventEncoder::new();
    payload.push(EventKind::User, 1, &[(Field::Id, "e1")], b"{}");
    let event = Events::of(payload.payload()).next().unwrap().unwrap();
    let envelope =
        Envelope { node: "n", epoch: Epoch(256), outcome: Outcome::Committed, sequence: token + 1 };
    sink.send(Token(token), &Encoder::new(HeaderMode::None).encode(TOPIC, &event, &envelope).unwrap())
        .unwrap();
}

/// The outcomes of so many records, in the order in which they were told.
fn outcomes(sink: &mut KafkaSink, count: usize) -> Vec<(u64, Result<(), Failure>)> {
    let deadline = Instant::now() + LIMIT;
    let mut told = Vec::new();
    while told.len() < count {
        assert!(Instant::now() < deadline, "only {told:?}");
        sink.poll(&mut |token, outcome| told.push((token.0, outcome)));
        thread::sleep(Duration::from_millis(10));
    }
    told
}

#[test]
fn a_record_that_only_a_later_one_vouches_for_is_not_delivered() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    cluster.broker_round_trip_time(1, ROUND_TRIP).unwrap();
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    let taken = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refused, taken]);
    let mut sink = sink(&cluster.bootstrap_servers());
    send(&mut sink, 0);
    send(&mut sink, 1);
    let told = outcomes(&mut sink, 2);
    let stored = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .create::<BaseConsumer>()
        .unwrap()
        .fetch_watermarks(TOPIC, 0, LIMIT)
        .unwrap();
    assert_eq!(stored, (0, 1), "the broker has one of the two");
    let [(0, Err(failure)), (1, Ok(()))] = &told[..] else { panic!("{told:?}") };
    assert_eq!(failure.class, FailureClass::Fatal, "the producer is replaced: {failure}");
    assert!(failure.reason.contains("no broker has acknowledged"), "{failure}");
}
