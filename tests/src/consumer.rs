//! What a consumer reads from a topic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde_json::Value;

use crate::{Error, Result, wait};

const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);
/// A client that has heard of no broker for a moment may never read again: after this silence a new one begins where it was.
const SILENCE: Duration = Duration::from_secs(5);

/// A record as a consumer sees it.
#[derive(Debug, Clone)]
pub struct Record {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
    /// Its timestamp, milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// The key as text.
    pub key: Option<String>,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The value as it is.
    pub value: Vec<u8>,
    /// The value as JSON; null where it is none.
    pub json: Value,
}

impl Record {
    /// A field of the event that holds text, by its path such as `details/username`; empty where there is none.
    pub fn field(&self, path: &str) -> &str {
        self.json.pointer(&format!("/{path}")).and_then(Value::as_str).unwrap_or_default()
    }

    /// A header; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Where it stands in what its destination published: equal for copies of one record, and only for them.
    pub fn place(&self) -> (&str, &str, &str) {
        (self.header("ce_node"), self.header("ce_epoch"), self.header("ce_sequence"))
    }
}

fn client(bootstrap_servers: &str) -> Result<BaseConsumer> {
    let client = ClientConfig::new()
        .set("bootstrap.servers", bootstrap_servers)
        .set("group.id", "keyferry-tests")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("topic.metadata.refresh.interval.ms", "1000")
        .set("reconnect.backoff.max.ms", "500")
        .create()?;
    Ok(client)
}

/// Reads one topic from its beginning and keeps everything.
pub struct Consumer {
    bootstrap_servers: String,
    consumer: BaseConsumer,
    topic: String,
    records: Vec<Record>,
    /// By partition, the offset after the last record that was read.
    positions: BTreeMap<i32, i64>,
}

impl Consumer {
    /// A consumer of a topic, which may be created later.
    ///
    /// # Errors
    /// Where librdkafka refuses.
    pub fn new(bootstrap_servers: &str, topic: &str) -> Result<Self> {
        Ok(Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            consumer: client(bootstrap_servers)?,
            topic: topic.to_owned(),
            records: Vec::new(),
            positions: BTreeMap::new(),
        })
    }

    /// Everything that the topic holds now, in the order of each partition.
    ///
    /// # Errors
    /// Where the broker does not answer.
    pub fn read(&mut self) -> Result<&[Record]> {
        let outcome = self.read_on();
        if outcome.is_err() {
            // A client that has lived through the restart of its only broker may go on failing; a new one begins where it was.
            self.consumer = client(&self.bootstrap_servers)?;
        }
        outcome.map(|()| &*self.records)
    }

    fn read_on(&mut self) -> Result<()> {
        while self.assign_when_there_is_a_topic()? {
            let ends = self.ends()?;
            let mut last = Instant::now();
            while !self.has_reached(&ends) && last.elapsed() < SILENCE {
                if self.poll(POLL)? {
                    last = Instant::now();
                }
            }
            if self.has_reached(&ends) {
                break;
            }
            self.consumer = client(&self.bootstrap_servers)?;
        }
        Ok(())
    }

    /// Reads until `enough` is content with what has been read. The limit is that of a silence: as long as records arrive, a slow machine has time.
    ///
    /// # Errors
    /// [`Error::TooLate`] with how many records there were.
    pub fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut enough: impl FnMut(&[Record]) -> bool,
    ) -> Result<&[Record]> {
        let outcome = loop {
            let before = self.records.len();
            let outcome = wait::try_until(what, limit, || match self.read() {
                Ok(records) => Ok(enough(records).then_some(())),
                // The broker may be on its way back.
                Err(Error::Kafka(_)) => Ok(None),
                Err(error) => Err(error),
            });
            if !matches!(outcome, Err(Error::TooLate { .. })) || self.records.len() == before {
                break outcome;
            }
        };
        match outcome {
            Ok(()) => Ok(&self.records),
            Err(Error::TooLate { what, limit, .. }) => {
                let hint = format!("; {} has {} records", self.topic, self.records.len());
                Err(Error::TooLate { what, limit, hint })
            }
            Err(error) => Err(error),
        }
    }

    /// What has been read so far.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    fn assign_when_there_is_a_topic(&self) -> Result<bool> {
        if self.consumer.assignment()?.count() > 0 {
            return Ok(true);
        }
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), REQUEST_LIMIT)?;
        let partitions = metadata.topics().first().map_or(&[][..], |topic| topic.partitions());
        if partitions.is_empty() {
            return Ok(false);
        }
        let mut assignment = TopicPartitionList::new();
        for partition in partitions {
            let position = self.positions.get(&partition.id());
            let offset = position.map_or(Offset::Beginning, |position| Offset::Offset(*position));
            assignment.add_partition_offset(&self.topic, partition.id(), offset)?;
        }
        self.consumer.assign(&assignment)?;
        Ok(true)
    }

    fn ends(&self) -> Result<BTreeMap<i32, i64>> {
        let assignment = self.consumer.assignment()?;
        let partitions = assignment.elements();
        let end = |partition: i32| {
            let (_, high) = self.consumer.fetch_watermarks(&self.topic, partition, REQUEST_LIMIT)?;
            Ok((partition, high))
        };
        partitions.iter().map(|element| end(element.partition())).collect()
    }

    fn has_reached(&self, ends: &BTreeMap<i32, i64>) -> bool {
        let position = |partition| self.positions.get(partition).copied().unwrap_or_default();
        ends.iter().all(|(partition, end)| position(partition) >= *end)
    }

    /// Reads the next record, if there is one; answers whether there was.
    fn poll(&mut self, limit: Duration) -> Result<bool> {
        match self.consumer.poll(limit) {
            None => Ok(false),
            Some(Ok(message)) => {
                let record = record(&message)?;
                self.positions.insert(record.partition, record.offset + 1);
                self.records.push(record);
                Ok(true)
            }
            // The client reconnects by itself.
            Some(Err(KafkaError::MessageConsumption(code))) if is_passing(code) => Ok(false),
            Some(Err(error)) => Err(error.into()),
        }
    }
}

fn is_passing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::Resolve
    )
}

fn record(message: &BorrowedMessage<'_>) -> Result<Record> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let value = message.payload().unwrap_or_default().to_vec();
    Ok(Record {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(text),
        headers: headers
            .map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default())))
            .collect(),
        json: serde_json::from_slice(&value).unwrap_or_default(),
        value,
    })
}
