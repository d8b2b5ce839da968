//! What librdkafka tells of a producer once a second: the few figures that we need of its statistics.
//!
//! The fields and their units are those of librdkafka's `STATISTICS.md` (2.12). Everything else in the document, which grows with the number
//! of partitions, is skipped by the parser without being kept.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::pool::{BrokerSnapshot, Quantiles};

/// What passes over a producer, as of its last statistics.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Traffic {
    /// The bytes of the records in the producer, waiting or in flight.
    pub(crate) queue_bytes: u64,
    /// Requests that wait for their answer.
    pub(crate) requests_in_flight: u64,
    /// Attempts to connect to a broker.
    pub(crate) connects: u64,
    /// Established connections that were lost.
    pub(crate) disconnects: u64,
    /// From a request to its answer.
    pub(crate) round_trip_ms: Option<Quantiles>,
    /// From a record's arrival in the producer to its request.
    pub(crate) queue_time_ms: Option<Quantiles>,
    /// The longest pause that a broker asked for.
    pub(crate) throttle_ms: u64,
    /// The bytes of a batch for each that it may have, before compression.
    pub(crate) batch_fill: Option<f64>,
    /// Bytes before compression for each after it.
    pub(crate) compression_ratio: Option<f64>,
    /// The same of each broker that it has ever tried to connect to.
    pub(crate) brokers: Vec<BrokerSnapshot>,
    /// The partitions that it knows.
    pub(crate) partitions: Vec<TopicPartitions>,
}

/// Partitions of a topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TopicPartitions {
    pub(crate) topic: String,
    pub(crate) numbers: Vec<i32>,
}

/// The document.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    msg_size: u64,
    #[serde(default)]
    brokers: HashMap<String, Broker>,
    #[serde(default)]
    topics: HashMap<String, Topic>,
}

/// One broker, as it is known from one source.
#[derive(Debug, Deserialize)]
struct Broker {
    /// Its address; empty or without a port for what is no broker.
    #[serde(default)]
    nodename: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    txbytes: u64,
    #[serde(default)]
    txerrs: u64,
    #[serde(default)]
    txretries: u64,
    #[serde(default)]
    req_timeouts: u64,
    #[serde(default)]
    waitresp_cnt: u64,
    #[serde(default)]
    connects: u64,
    #[serde(default)]
    disconnects: u64,
    #[serde(default)]
    rtt: Window,
    #[serde(default)]
    int_latency: Window,
    #[serde(default)]
    throttle: Window,
}

#[derive(Debug, Deserialize)]
struct Topic {
    #[serde(default)]
    batchsize: Window,
    #[serde(default)]
    batchcnt: Window,
    /// By number; -1 is where records wait that have no partition yet.
    #[serde(default)]
    partitions: HashMap<i32, IgnoredAny>,
}

impl Topic {
    fn partitions(&self, topic: &str) -> TopicPartitions {
        let numbers = self.partitions.keys().copied().filter(|number| *number >= 0);
        TopicPartitions { topic: topic.to_owned(), numbers: numbers.collect() }
    }
}

/// A rolling window, emptied with every document.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Window {
    #[serde(default)]
    max: i64,
    #[serde(default)]
    avg: i64,
    #[serde(default)]
    sum: i64,
    #[serde(default)]
    cnt: u64,
    #[serde(default)]
    p50: i64,
    #[serde(default)]
    p99: i64,
    /// How many values were too large for the histogram that p50 and p99 are taken from; the others count them.
    #[serde(default)]
    outofrange: u64,
}

impl Window {
    /// In milliseconds, from microseconds. librdkafka's histograms end at 100 ms for the queue and 500 ms for the round trip, and leave out what is beyond, so that a
    /// wait of a second would seem none at all.
    fn quantiles(self) -> Quantiles {
        let p50 = if self.outofrange * 2 > self.cnt { self.avg } else { self.p50 };
        let p99 = if self.outofrange * 100 > self.cnt { self.max } else { self.p99 };
        Quantiles { p50: p50 as f64 / 1_000.0, p99: p99 as f64 / 1_000.0 }
    }
}

impl Traffic {
    /// What a document says of records that have `record_size` bytes on average, in batches of at most `batch_size` bytes; `None` if it is not one.
    pub(crate) fn parse(json: &[u8], record_size: f64, batch_size: u64) -> Option<Self> {
        let document: Document = serde_json::from_slice(json).ok()?;
        let brokers = || document.brokers.values();
        let topics = || document.topics.values();
        let batches: u64 = topics().map(|topic| topic.batchsize.cnt).sum();
        let sent_bytes: u64 = topics().map(|topic| unsigned(topic.batchsize.sum)).sum();
        let batched: u64 = topics().map(|topic| unsigned(topic.batchcnt.sum)).sum();
        // librdkafka counts the bytes of a batch after compression only.
        let raw_bytes = batched as f64 * record_size;
        Some(Self {
            queue_bytes: document.msg_size,
            requests_in_flight: brokers().map(|broker| broker.waitresp_cnt).sum(),
            connects: brokers().map(|broker| broker.connects).sum(),
            disconnects: brokers().map(|broker| broker.disconnects).sum(),
            round_trip_ms: slowest(brokers().map(|broker| broker.rtt)),
            queue_time_ms: slowest(brokers().map(|broker| broker.int_latency)),
            throttle_ms: brokers().map(|broker| unsigned(broker.throttle.max)).max().unwrap_or_default(),
            batch_fill: ratio(raw_bytes, (batches * batch_size) as f64).map(|fill| fill.min(1.0)),
            compression_ratio: ratio(raw_bytes, sent_bytes as f64),
            brokers: by_address(brokers()),
            partitions: document.topics.iter().map(|(name, topic)| topic.partitions(name)).collect(),
        })
    }
}

/// What is known of each broker under one address: from the configuration and from the cluster, it is known twice.
fn by_address<'a>(brokers: impl Iterator<Item = &'a Broker>) -> Vec<BrokerSnapshot> {
    let mut known: BTreeMap<&str, BrokerSnapshot> = BTreeMap::new();
    for broker in brokers.filter(|broker| broker.connects > 0 && !broker.nodename.is_empty()) {
        let sum = known.entry(&broker.nodename).or_default();
        broker.nodename.clone_into(&mut sum.address);
        sum.is_up |= matches!(broker.state.as_str(), "UP" | "UPDATE");
        sum.requests_in_flight += broker.waitresp_cnt;
        sum.sent_bytes += broker.txbytes;
        sum.errors += broker.txerrs;
        sum.retries += broker.txretries;
        sum.timeouts += broker.req_timeouts;
        sum.round_trip_ms = sum.round_trip_ms.or(slowest([broker.rtt].into_iter()));
    }
    known.into_values().collect()
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (part > 0.0 && whole > 0.0).then(|| part / whole)
}

/// The window of the broker that is the slowest: records go to all of them, and the slowest decides.
fn slowest(windows: impl Iterator<Item = Window>) -> Option<Quantiles> {
    let quantiles = windows.filter(|window| window.cnt > 0).map(Window::quantiles);
    quantiles.max_by(|a, b| a.p99.total_cmp(&b.p99))
}

/// librdkafka's windows are signed; a negative figure is one that it does not have.
fn unsigned(figure: i64) -> u64 {
    u64::try_from(figure).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two brokers and a topic, shortened from what librdkafka 2.12.1 emits.
    const DOCUMENT: &str = r#"{ "name": "rdkafka#producer-1", "type": "producer", "ts":1, "msg_cnt":12, "msg_size":3400, "txmsgs":500,
        "brokers":{
          "a:9092/1": { "nodeid":1, "nodename":"a:9092", "state":"UP", "txbytes":900, "txerrs":1, "txretries":2, "req_timeouts":3,
            "waitresp_cnt":2, "connects":3, "disconnects":2,
            "int_latency": {"min":1,"max":9,"avg":5,"sum":50,"cnt":10,"p50":4000,"p99":9000},
            "rtt": {"min":1,"max":9,"avg":5,"sum":50,"cnt":10,"p50":1500,"p99":2500},
            "throttle": {"min":0,"max":40,"cnt":10}, "toppars":{ "events-0": { "topic":"events", "partition":0 } } },
          "GroupCoordinator": { "nodeid":-1, "waitresp_cnt":0, "connects":0, "disconnects":0,
            "rtt": {"cnt":0,"p50":0,"p99":999999}, "throttle": {"max":0,"cnt":0} },
          "b:9092/2": { "nodeid":2, "nodename":"b:9092", "state":"CONNECT", "waitresp_cnt":1, "connects":1, "disconnects":0,
            "rtt": {"cnt":1,"p50":1000,"p99":7000} } },
        "topics":{ "events": { "topic":"events", "batchsize": {"sum":20000,"cnt":4}, "batchcnt": {"sum":400,"cnt":4},
            "partitions":{ "0": { "partition":0, "txmsgs":500 } } } },
        "eos": { "producer_id": 7 } }"#;

    #[test]
    fn the_figures_are_summed_over_brokers_and_topics_and_the_slowest_broker_counts() {
        let traffic =
            Traffic::parse(DOCUMENT.as_bytes(), 200.0, 40_000).unwrap_or_else(|| panic!("not read"));
        assert_eq!(traffic.queue_bytes, 3_400);
        assert_eq!((traffic.requests_in_flight, traffic.connects, traffic.disconnects), (3, 4, 2));
        assert_eq!(traffic.round_trip_ms, Some(Quantiles { p50: 1.0, p99: 7.0 }));
        assert_eq!(traffic.queue_time_ms, Some(Quantiles { p50: 4.0, p99: 9.0 }));
        assert_eq!(traffic.throttle_ms, 40);
    }

    #[test]
    fn each_broker_has_its_own_figures() {
        let traffic =
            Traffic::parse(DOCUMENT.as_bytes(), 200.0, 40_000).unwrap_or_else(|| panic!("not read"));
        let [a, b] = &traffic.brokers[..] else { panic!("{:?}", traffic.brokers) };
        assert_eq!((a.address.as_str(), a.is_up, a.requests_in_flight), ("a:9092", true, 2));
        assert_eq!((a.sent_bytes, a.errors, a.retries, a.timeouts), (900, 1, 2, 3));
        assert_eq!((b.address.as_str(), b.is_up), ("b:9092", false));
        assert_eq!(b.round_trip_ms, Some(Quantiles { p50: 1.0, p99: 7.0 }));
    }

    #[test]
    fn fill_and_compression_are_told_by_the_size_of_records_before_compression() {
        let traffic =
            Traffic::parse(DOCUMENT.as_bytes(), 200.0, 40_000).unwrap_or_else(|| panic!("not read"));
        // 400 records of 200 bytes in 4 batches of at most 40,000 bytes, which took 20,000 bytes on the wire.
        assert_eq!((traffic.batch_fill, traffic.compression_ratio), (Some(0.5), Some(4.0)));
    }

    #[test]
    fn what_is_too_long_for_the_histogram_counts_all_the_same() {
        let latency = r#"{"max":900000,"avg":600000,"cnt":10,"p50":0,"p99":0,"outofrange":10}"#;
        let json = format!(r#"{{"brokers":{{"a:9092/1":{{"int_latency":{latency}}}}}}}"#);
        let traffic = Traffic::parse(json.as_bytes(), 1.0, 1).unwrap_or_default();
        assert_eq!(traffic.queue_time_ms, Some(Quantiles { p50: 600.0, p99: 900.0 }));
    }

    #[test]
    fn what_is_no_document_is_no_figure() {
        assert!(Traffic::parse(b"{", 1.0, 1).is_none());
        assert!(Traffic::parse(b"", 1.0, 1).is_none());
        assert_eq!(Traffic::parse(b"{}", 1.0, 1), Some(Traffic::default()));
    }
}
