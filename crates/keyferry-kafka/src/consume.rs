//! Reading topics from their beginning to their present end, once.
//!
//! The invariant: **every record that lay between the two ends of a partition when the reader was opened is handed out, or the reader ends
//! with an error.** It never waits for records that come later, and it leaves no trace in Kafka: it joins no group and commits no offset.
//!
//! Within a partition, records come in the order of their offsets; between partitions there is no order.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::time::{Duration, Instant};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use crate::raw_token;

/// How long one call into the client may take, so that the silence of brokers is noticed in between.
const POLL: Duration = Duration::from_millis(500);

/// Properties of a producer that the client would complain about in a consumer.
const PRODUCER_ONLY: &[&str] = &[
    "acks",
    "batch.num.messages",
    "batch.size",
    "compression.codec",
    "compression.level",
    "compression.type",
    "delivery.report.only.error",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "linger.ms",
    "message.timeout.ms",
    "partitioner",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sticky.partitioning.linger.ms",
];

/// Why topics cannot be read to their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumeError {
    /// The client refuses the configuration.
    Configuration(String),
    /// The servers cannot be reached, or refuse.
    Kafka {
        /// What was attempted, with the topic or partition.
        what: String,
        /// What the client or a broker said.
        reason: String,
    },
    /// There is no such topic.
    NoTopic(String),
    /// Nothing came for as long as the caller was ready to wait.
    Silence {
        /// How long that was.
        waited: Duration,
        /// The last complaint of the client, if it had one.
        trouble: Option<String>,
        /// How many records are still to come.
        left: u64,
    },
}

impl std::fmt::Display for ConsumeError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Configuration(reason) => write!(out, "librdkafka refuses the configuration: {reason}"),
            Self::Kafka { what, reason } => write!(
                out,
                "cannot {what}: {reason}; check the servers, the security settings and the right to read the topic"
            ),
            Self::NoTopic(topic) => write!(out, "there is no topic {topic}; check its name and the cluster"),
            Self::Silence { waited, trouble, left } => {
                write!(out, "nothing came for {} s with {left} offsets still to read", waited.as_secs())?;
                match trouble {
                    Some(trouble) => write!(out, "; the client says: {trouble}"),
                    None => out.write_str("; check the brokers, and begin again"),
                }
            }
        }
    }
}

impl std::error::Error for ConsumeError {}

/// A partition and its two ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub number: i32,
    /// The offset of its first record. More than 0 if earlier ones were deleted.
    pub first: i64,
    /// The offset after its last record when the reader was opened.
    pub end: i64,
}

/// A record that was read.
pub struct Received<'a> {
    /// Which partition it is from: an index into [`TopicReader::partitions`].
    pub partition: usize,
    message: BorrowedMessage<'a>,
}

impl Received<'_> {
    /// Its offset in the partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.message.offset()
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.message.key()
    }

    /// Its value; empty where it has none.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.message.payload().unwrap_or_default()
    }

    /// Calls `visit` for each header that has a value.
    pub fn each_header<'m>(&'m self, mut visit: impl FnMut(&'m str, &'m [u8])) {
        let Some(headers) = self.message.headers() else { return };
        for header in headers.iter() {
            if let Some(value) = header.value {
                visit(header.key, value);
            }
        }
    }
}

/// Takes the client's log lines and complaints to the log.
struct Context;

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    /// Asked for while the client is polled, and only where the tokens are ours to make.
    fn generate_oauth_token(&self, property: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let token = raw_token::token(property.unwrap_or_default())?;
        let principal_name = raw_token::PRINCIPAL.to_string_lossy().into_owned();
        Ok(OAuthToken { token: token.expose().to_owned(), principal_name, lifetime_ms: token.expires_ms() })
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!("librdkafka: {facility}: {line}");
            }
            // The rest also arrives as an error of a call, where it matters.
            _ => tracing::debug!("librdkafka: {facility}: {line}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("librdkafka: {error}: {reason}");
    }
}

impl ConsumerContext for Context {}

/// Reads topics from their beginning to their present end.
pub struct TopicReader {
    consumer: BaseConsumer<Context>,
    partitions: Vec<Partition>,
    /// The partitions not yet read to their end.
    pending: Vec<bool>,
    /// The next offset of each partition.
    positions: Vec<i64>,
    index: HashMap<(String, i32), usize>,
    patience: Duration,
}

impl TopicReader {
    /// A reader of `topics` with librdkafka's `properties`; those that only concern producers are left out. `patience` is how long the brokers may be silent.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    pub fn open(
        properties: impl IntoIterator<Item = (String, String)>,
        topics: &[String],
        patience: Duration,
    ) -> Result<Self, ConsumeError> {
        Self::open_all(properties, topics, None, patience)
    }

    /// As [`TopicReader::open`], for `topics` and every other topic of the cluster of which `is_wanted` holds.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    pub fn open_also(
        properties: impl IntoIterator<Item = (String, String)>,
        topics: &[String],
        is_wanted: &dyn Fn(&str) -> bool,
        patience: Duration,
    ) -> Result<Self, ConsumeError> {
        Self::open_all(properties, topics, Some(is_wanted), patience)
    }

    fn open_all(
        properties: impl IntoIterator<Item = (String, String)>,
        topics: &[String],
        is_wanted: Option<&dyn Fn(&str) -> bool>,
        patience: Duration,
    ) -> Result<Self, ConsumeError> {
        let config = config(properties);
        let consumer: BaseConsumer<Context> = config
            .create_with_context(Context)
            .map_err(|error| ConsumeError::Configuration(error.to_string()))?;
        raw_token::give(consumer.client(), &config)
            .map_err(|reason| ConsumeError::Kafka { what: "log in".to_owned(), reason })?;
        let mut partitions = Vec::new();
        let mut topics: BTreeSet<String> = topics.iter().cloned().collect();
        if let Some(is_wanted) = is_wanted {
            let all = consumer
                .fetch_metadata(None, patience)
                .map_err(|error| failed("list the topics".to_owned(), &error))?;
            let names = all.topics().iter().map(|topic| topic.name());
            topics.extend(names.filter(|name| is_wanted(name)).map(ToOwned::to_owned));
        }
        for topic in &topics {
            find_partitions(&consumer, topic, patience, &mut partitions)?;
        }
        assign(&consumer, &partitions)?;
        Ok(Self {
            consumer,
            pending: partitions.iter().map(|partition| partition.end > partition.first).collect(),
            positions: partitions.iter().map(|partition| partition.first).collect(),
            index: partitions
                .iter()
                .enumerate()
                .map(|(index, partition)| ((partition.topic.clone(), partition.number), index))
                .collect(),
            partitions,
            patience,
        })
    }

    /// The partitions, in the order of the topics and of their numbers.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// How many offsets there are to read. Compaction and transactions leave offsets without a record.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.partitions.iter().map(|partition| (partition.end - partition.first).unsigned_abs()).sum()
    }

    /// Reads everything and calls `visit` for each record, with how many offsets have been passed so far.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    pub fn read(mut self, mut visit: impl FnMut(&Received<'_>, u64)) -> Result<(), ConsumeError> {
        let mut heard = Instant::now();
        let mut trouble = None;
        let mut passed = 0;
        while self.pending.contains(&true) {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let key = (message.topic().to_owned(), message.partition());
                    let Some(&partition) = self.index.get(&key) else { continue };
                    if !self.pending[partition] || message.offset() >= self.partitions[partition].end {
                        drop(message);
                        self.finish(partition)?;
                        continue;
                    }
                    let next = message.offset() + 1;
                    passed += (next - self.positions[partition]).unsigned_abs();
                    self.positions[partition] = next;
                    visit(&Received { partition, message }, passed);
                    if next >= self.partitions[partition].end {
                        self.finish(partition)?;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => self.finish_those_at_their_end()?,
                Some(Err(error)) => trouble = Some(passable(error)?),
                None => {}
            }
            if heard.elapsed() > self.patience {
                let left = self.total().saturating_sub(passed);
                return Err(ConsumeError::Silence { waited: self.patience, trouble, left });
            }
        }
        Ok(())
    }

    /// Stops fetching a partition that has been read.
    fn finish(&mut self, partition: usize) -> Result<(), ConsumeError> {
        if !std::mem::replace(&mut self.pending[partition], false) {
            return Ok(());
        }
        let Partition { topic, number, .. } = &self.partitions[partition];
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, *number);
        self.consumer.pause(&list).map_err(|error| failed(format!("pause {topic}-{number}"), &error))
    }

    /// Offsets at a partition's end need not hold a record that a reader sees (a transaction's marker, say): it is the
    /// client's position that tells.
    fn finish_those_at_their_end(&mut self) -> Result<(), ConsumeError> {
        let positions =
            self.consumer.position().map_err(|error| failed("tell the position".to_owned(), &error))?;
        for element in positions.elements() {
            let Some(&partition) = self.index.get(&(element.topic().to_owned(), element.partition())) else {
                continue;
            };
            if matches!(element.offset(), Offset::Offset(at) if at >= self.partitions[partition].end) {
                self.finish(partition)?;
            }
        }
        Ok(())
    }
}

fn config(properties: impl IntoIterator<Item = (String, String)>) -> ClientConfig {
    let mut config = ClientConfig::new();
    // The client wants a group's name before it lets partitions be assigned by hand. Nothing is stored under it.
    config.set("group.id", "keyferry-verify");
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("enable.partition.eof", "true");
    config.set("auto.offset.reset", "error");
    config.set("isolation.level", "read_uncommitted");
    for (name, value) in properties {
        if !PRODUCER_ONLY.contains(&name.as_str()) && !name.starts_with("max.in.flight") {
            config.set(name, value);
        }
    }
    config
}

fn find_partitions(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    patience: Duration,
    partitions: &mut Vec<Partition>,
) -> Result<(), ConsumeError> {
    let metadata = consumer
        .fetch_metadata(Some(topic), patience)
        .map_err(|error| failed(format!("look up topic {topic}"), &error))?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Err(ConsumeError::NoTopic(topic.to_owned()));
    };
    if let Some(error) = found.error() {
        return Err(match RDKafkaErrorCode::from(error) {
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
                ConsumeError::NoTopic(topic.to_owned())
            }
            code => ConsumeError::Kafka { what: format!("look up topic {topic}"), reason: code.to_string() },
        });
    }
    if found.partitions().is_empty() {
        return Err(ConsumeError::NoTopic(topic.to_owned()));
    }
    let mut numbers: Vec<i32> = found.partitions().iter().map(|partition| partition.id()).collect();
    numbers.sort_unstable();
    for number in numbers {
        let (first, end) = consumer
            .fetch_watermarks(topic, number, patience)
            .map_err(|error| failed(format!("ask for the ends of {topic}-{number}"), &error))?;
        partitions.push(Partition { topic: topic.to_owned(), number, first, end });
    }
    Ok(())
}

fn assign(consumer: &BaseConsumer<Context>, partitions: &[Partition]) -> Result<(), ConsumeError> {
    let mut list = TopicPartitionList::new();
    for Partition { topic, number, first, end } in partitions {
        if end > first {
            list.add_partition_offset(topic, *number, Offset::Offset(*first))
                .map_err(|error| failed(format!("begin at {first} of {topic}-{number}"), &error))?;
        }
    }
    consumer.assign(&list).map_err(|error| failed("assign the partitions".to_owned(), &error))
}

/// What can be waited out, as text; everything else is the end.
fn passable(error: KafkaError) -> Result<String, ConsumeError> {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(
            Code::TopicAuthorizationFailed
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::Fatal,
        ) => Err(failed("read".to_owned(), &error)),
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Err(ConsumeError::Kafka {
            what: "read on".to_owned(),
            reason: "records were deleted by the topic's retention while they were read; begin again"
                .to_owned(),
        }),
        _ => Ok(error.to_string()),
    }
}

fn failed(what: String, error: &KafkaError) -> ConsumeError {
    let reason = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
    ConsumeError::Kafka { what, reason }
}
