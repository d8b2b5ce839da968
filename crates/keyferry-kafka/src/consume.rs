//! Reading topics from where one wants to their present end, or on and on.
//!
//! The invariant: **every record that lay between the two ends of a reading when the reader was opened is handed out, or the reader ends
//! with an error.** Unless it has no end it never waits for records that come later, and it leaves no trace in Kafka: it joins no group and commits no offset.
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

/// Where a reading begins in each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With the first record.
    First,
    /// After the last record.
    End,
    /// With the first record of this time or later, in milliseconds since the Unix epoch.
    Time(u64),
    /// With so many records before the end.
    Last(u64),
}

/// Where a reading ends in each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// After what was the last record when the reader was opened.
    PresentEnd,
    /// Nowhere.
    Forever,
}

/// A partition and its two ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub number: i32,
    /// The offset of its first record. More than 0 if earlier ones were deleted.
    pub first: i64,
    /// The offset where the reading begins.
    pub begin: i64,
    /// The offset before which the reading ends: that after its last record when the reader was opened, or the greatest that there is.
    pub end: i64,
}

/// A record that was read.
pub struct Received<'a> {
    /// Which partition it is from: an index into [`TopicReader::partitions`].
    pub partition: usize,
    /// How many offsets of all partitions have been passed with it.
    pub passed: u64,
    message: BorrowedMessage<'a>,
}

/// What has come of a short wait.
pub enum Step<'a> {
    /// A record.
    Record(Received<'a>),
    /// Nothing.
    Nothing,
    /// A complaint of the client that can be waited out.
    Trouble(String),
}

impl Received<'_> {
    /// Its offset in the partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.message.offset()
    }

    /// Its timestamp in milliseconds since the Unix epoch, if it has one.
    #[must_use]
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.message.timestamp().to_millis()
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

/// Reads topics.
pub struct TopicReader {
    consumer: BaseConsumer<Context>,
    course: Course,
    patience: Duration,
}

/// How far a reading has got.
struct Course {
    partitions: Vec<Partition>,
    /// The partitions not yet read to their end.
    pending: Vec<bool>,
    /// The next offset of each partition.
    positions: Vec<i64>,
    /// Where each partition ended when the reader was opened.
    present_ends: Vec<i64>,
    /// The partitions not yet read to where they ended then.
    behind: Vec<bool>,
    index: HashMap<(String, i32), usize>,
    passed: u64,
}

impl TopicReader {
    /// A reader of `topics`, from their beginning to their present end, with librdkafka's `properties`; those that only concern producers are left out. `patience` is how long the brokers may be silent.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    pub fn open(
        properties: impl IntoIterator<Item = (String, String)>,
        topics: &[String],
        patience: Duration,
    ) -> Result<Self, ConsumeError> {
        Self::open_part(properties, topics, None, Begin::First, Until::PresentEnd, patience)
    }

    /// As [`TopicReader::open`], for `topics` and every other topic of the cluster of which `is_wanted` holds, and for a part of them.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    pub fn open_part(
        properties: impl IntoIterator<Item = (String, String)>,
        topics: &[String],
        is_wanted: Option<&dyn Fn(&str) -> bool>,
        from: Begin,
        until: Until,
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
        begin(&consumer, from, patience, &mut partitions)?;
        let present_ends = partitions.iter().map(|partition| partition.end).collect();
        if until == Until::Forever {
            partitions.iter_mut().for_each(|partition| partition.end = i64::MAX);
        }
        assign(&consumer, &partitions)?;
        Ok(Self { consumer, course: Course::of(partitions, present_ends), patience })
    }

    /// The partitions, in the order of the topics and of their numbers.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        &self.course.partitions
    }

    /// How many offsets there are to read. Compaction and transactions leave offsets without a record.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.course.partitions.iter().map(|partition| (partition.end - partition.begin).unsigned_abs()).sum()
    }

    /// Whether every partition has been read to its end.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        !self.course.pending.contains(&true)
    }

    /// Whether everything was handed out that was there when the reader was opened, wherever the reading ends.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        !self.course.behind.contains(&true)
    }

    /// Reads everything and calls `visit` for each record, with how many offsets have been passed so far.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    pub fn read(mut self, mut visit: impl FnMut(&Received<'_>, u64)) -> Result<(), ConsumeError> {
        let mut silence = Silence::beginning();
        while !self.is_at_end() {
            match self.step()? {
                Step::Record(received) => {
                    silence = Silence::beginning();
                    visit(&received, received.passed);
                }
                Step::Nothing => {}
                Step::Trouble(trouble) => silence.trouble = Some(trouble),
            }
            self.endure(&silence)?;
        }
        Ok(())
    }

    /// Waits a moment for the next record.
    ///
    /// # Errors
    /// What cannot be waited out. Silence is none: see [`endure`](Self::endure).
    pub fn step(&mut self) -> Result<Step<'_>, ConsumeError> {
        let Self { consumer, course, .. } = self;
        match consumer.poll(POLL) {
            Some(Ok(message)) => course.take(consumer, message),
            Some(Err(KafkaError::PartitionEOF(_))) => {
                course.finish_those_at_their_end(consumer)?;
                Ok(Step::Nothing)
            }
            Some(Err(error)) => passable(error).map(Step::Trouble),
            None => Ok(Step::Nothing),
        }
    }

    /// Bears `silence` for as long as the reader has patience.
    ///
    /// # Errors
    /// [`ConsumeError::Silence`].
    pub fn endure(&self, silence: &Silence) -> Result<(), ConsumeError> {
        if silence.since.elapsed() <= self.patience {
            return Ok(());
        }
        let left = self.total().saturating_sub(self.course.passed);
        Err(ConsumeError::Silence { waited: self.patience, trouble: silence.trouble.clone(), left })
    }
}

/// That nothing has come for a while.
pub struct Silence {
    since: Instant,
    /// The last complaint of the client.
    pub trouble: Option<String>,
}

impl Silence {
    /// It begins now.
    #[must_use]
    pub fn beginning() -> Self {
        Self { since: Instant::now(), trouble: None }
    }
}

impl Course {
    fn of(partitions: Vec<Partition>, present_ends: Vec<i64>) -> Self {
        let begins = partitions.iter().map(|partition| partition.begin);
        Self {
            behind: present_ends.iter().zip(begins).map(|(end, begin)| *end > begin).collect(),
            present_ends,
            pending: partitions.iter().map(|partition| partition.end > partition.begin).collect(),
            positions: partitions.iter().map(|partition| partition.begin).collect(),
            index: partitions
                .iter()
                .enumerate()
                .map(|(index, partition)| ((partition.topic.clone(), partition.number), index))
                .collect(),
            partitions,
            passed: 0,
        }
    }

    fn take<'a>(
        &mut self,
        consumer: &BaseConsumer<Context>,
        message: BorrowedMessage<'a>,
    ) -> Result<Step<'a>, ConsumeError> {
        let key = (message.topic().to_owned(), message.partition());
        let Some(&partition) = self.index.get(&key) else { return Ok(Step::Nothing) };
        let end = self.partitions[partition].end;
        if !self.pending[partition] || message.offset() >= end {
            self.finish(consumer, partition)?;
            return Ok(Step::Nothing);
        }
        let next = message.offset() + 1;
        self.passed += (next - self.positions[partition]).unsigned_abs();
        self.positions[partition] = next;
        self.behind[partition] &= next < self.present_ends[partition];
        if next >= end {
            self.finish(consumer, partition)?;
        }
        Ok(Step::Record(Received { partition, passed: self.passed, message }))
    }

    /// Stops fetching a partition that has been read.
    fn finish(&mut self, consumer: &BaseConsumer<Context>, partition: usize) -> Result<(), ConsumeError> {
        if !std::mem::replace(&mut self.pending[partition], false) {
            return Ok(());
        }
        let Partition { topic, number, .. } = &self.partitions[partition];
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, *number);
        consumer.pause(&list).map_err(|error| failed(format!("pause {topic}-{number}"), &error))
    }

    /// Offsets at a partition's end need not hold a record that a reader sees (a transaction's marker, say): it is the
    /// client's position that tells.
    fn finish_those_at_their_end(&mut self, consumer: &BaseConsumer<Context>) -> Result<(), ConsumeError> {
        let positions =
            consumer.position().map_err(|error| failed("tell the position".to_owned(), &error))?;
        for element in positions.elements() {
            let Some(&partition) = self.index.get(&(element.topic().to_owned(), element.partition())) else {
                continue;
            };
            let Offset::Offset(at) = element.offset() else { continue };
            self.behind[partition] &= at < self.present_ends[partition];
            if at >= self.partitions[partition].end {
                self.finish(consumer, partition)?;
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
        partitions.push(Partition { topic: topic.to_owned(), number, first, begin: first, end });
    }
    Ok(())
}

/// Finds where the reading begins in each partition.
fn begin(
    consumer: &BaseConsumer<Context>,
    from: Begin,
    patience: Duration,
    partitions: &mut [Partition],
) -> Result<(), ConsumeError> {
    match from {
        Begin::First => {}
        Begin::End => partitions.iter_mut().for_each(|partition| partition.begin = partition.end),
        Begin::Last(records) => {
            let records = i64::try_from(records).unwrap_or(i64::MAX);
            for partition in partitions {
                partition.begin = partition.first.max(partition.end.saturating_sub(records));
            }
        }
        Begin::Time(time_ms) => {
            let times = offsets(partitions, |_| Offset::Offset(i64::try_from(time_ms).unwrap_or(i64::MAX)))?;
            let found = consumer
                .offsets_for_times(times, patience)
                .map_err(|error| failed("find the offsets of a time".to_owned(), &error))?;
            for partition in partitions {
                let element = found.find_partition(&partition.topic, partition.number);
                partition.begin = match element.map(|element| element.offset()) {
                    Some(Offset::Offset(at)) => at.clamp(partition.first, partition.end),
                    // Every record is earlier.
                    _ => partition.end,
                };
            }
        }
    }
    Ok(())
}

fn assign(consumer: &BaseConsumer<Context>, partitions: &[Partition]) -> Result<(), ConsumeError> {
    let read: Vec<_> =
        partitions.iter().filter(|partition| partition.end > partition.begin).cloned().collect();
    let list = offsets(&read, |partition| Offset::Offset(partition.begin))?;
    consumer.assign(&list).map_err(|error| failed("assign the partitions".to_owned(), &error))
}

fn offsets(
    partitions: &[Partition],
    of: impl Fn(&Partition) -> Offset,
) -> Result<TopicPartitionList, ConsumeError> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        let Partition { topic, number, .. } = partition;
        list.add_partition_offset(topic, *number, of(partition))
            .map_err(|error| failed(format!("begin at an offset of {topic}-{number}"), &error))?;
    }
    Ok(list)
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
