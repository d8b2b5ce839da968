//! Latency percentiles against a consumer's own measurement.
//!
//! Two points are compared. Both begin with the time of the COMMIT in the journal, which here is the time of the event as well, and so in its JSON. The agent's latency ends
//! when it hears of the acknowledgement; the consumer's when the broker appends, by the timestamp of the record in a topic with `LogAppendTime`. Between the two is a part of a round
//! trip, which a slow machine makes long. So events are old when they are sent, as after an outage: between two minutes and two hours, evenly on a logarithmic scale, and neither
//! percentile nor comparison depends on how fast anything is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::slot::OwnedSlot;
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{EventKind, Writer};
use keyferry_tests::agent::{self, Agent};
use keyferry_tests::consumer::{Consumer, Record};
use keyferry_tests::http::Http;
use keyferry_tests::kafka;
use keyferry_tests::prometheus::Prometheus;
use keyferry_tests::{port, wait};

use crate::metrics::now_ms;

const EVENTS: usize = 3_000;
const LIMIT: Duration = Duration::from_secs(60);
/// The youngest and the oldest event, in milliseconds.
const AGES_MS: (f64, f64) = (120_000.0, 7_200_000.0);

/// The writer's clock.
static NOW_MS: AtomicU64 = AtomicU64::new(0);

fn clock() -> u64 {
    NOW_MS.load(Ordering::Relaxed)
}

/// Writes the oldest event first, each in its own transaction, at its own time.
fn write(writer: &mut Writer<OwnedSlot, fn() -> u64>, now_ms: u64) {
    for index in (0..EVENTS).rev() {
        let part = (index as f64 + 0.5) / EVENTS as f64;
        let age = AGES_MS.0 * (AGES_MS.1 / AGES_MS.0).powf(part);
        NOW_MS.store(now_ms - age as u64, Ordering::Relaxed);
        let mut event = EventEncoder::new();
        let id = format!("event-{index}");
        let fields = [(Field::Id, id.as_str()), (Field::Type, "LOGIN"), (Field::RealmName, "shop")];
        event.push(EventKind::User, clock(), &fields, format!("{{\"time\":{}}}", clock()).as_bytes());
        let transaction = writer.next_transaction();
        writer.prepare(transaction, event.payload()).unwrap();
        writer.commit(transaction).unwrap();
    }
}

/// From the event to its place in the log, in seconds.
fn latency(record: &Record) -> f64 {
    let event = record.json["time"].as_i64().unwrap();
    (record.timestamp.unwrap() - event) as f64 / 1e3
}

#[test]
fn percentiles_are_those_that_a_consumer_measures() {
    let directory = tempfile::tempdir().unwrap();
    let kafka = kafka::shared().unwrap();
    let topics = ["latency", "latency-admin"].map(|purpose| {
        let topic = kafka::fresh_topic(purpose);
        kafka.create_topic(&topic, kafka::PARTITIONS).unwrap();
        kafka.configure_topic(&topic, "message.timestamp.type", "LogAppendTime").unwrap();
        topic
    });
    let slot = OwnedSlot::claim(&directory.path().join("journal")).unwrap();
    let (path, number) = (slot.path().to_owned(), slot.number());
    NOW_MS.store(now_ms(), Ordering::Relaxed);
    let options = WriterOptions { segment_size: 256 * 1024, node: "written-here".to_owned() };
    let mut writer = Writer::begin(slot, number, clock as fn() -> u64, options).unwrap();
    write(&mut writer, now_ms());

    let target = format!("127.0.0.1:{}", port::free().unwrap());
    let configuration = agent::destination(&kafka.bootstrap_servers(), [&topics[0], &topics[1]])
        + &format!("[metrics]\nlisten = \"{target}\"\n");
    let executable = agent::under_test().unwrap();
    let mut agent = Agent::configured(&executable, directory.path(), &path, &configuration).unwrap();
    agent.start().unwrap();
    wait::until("the metrics", LIMIT, || Http::new().get(&format!("http://{target}/metrics")).ok())
        .map_err(|error| error.with_log(agent.log()))
        .unwrap();
    let prometheus = Prometheus::native(directory.path(), &target).unwrap();
    let mut consumer = Consumer::new(&kafka.bootstrap_servers(), &topics[0]).unwrap();
    let records = consumer.wait_until("all events", LIMIT, |records| records.len() >= EVENTS).unwrap();
    let mut measured: Vec<f64> = records.iter().map(latency).collect();
    assert_eq!(measured.len(), EVENTS);
    measured.sort_by(f64::total_cmp);
    wait::until("the scrape of everything", LIMIT, || {
        let count = prometheus.sum("histogram_count(keyferry_event_latency_seconds)").ok()?;
        (count >= EVENTS as f64).then_some(())
    })
    .map_err(|error| error.with_log(agent.log()))
    .unwrap();

    for percentile in [50, 90, 95, 99] {
        let by_consumer = measured[EVENTS * percentile / 100];
        let quantile = format!("histogram_quantile(0.{percentile}, keyferry_event_latency_seconds)");
        let by_agent = prometheus.sum(&quantile).unwrap();
        let difference = (by_agent - by_consumer) / by_consumer;
        println!(
            "p{percentile}: {by_agent:.1} s by the agent, {by_consumer:.1} s by the consumer: {:+.2} %",
            difference * 100.0
        );
        assert!(difference.abs() <= 0.05, "p{percentile}: {by_agent} s, not {by_consumer} s");
    }
}
