//! One look at a cluster, for who wants to know what is wrong with the way to it.
//!
//! The invariant: **what is found is what the agent would meet.** The client is made from the same settings, its complaints are explained by the same words, and the topics are judged by the
//! same check. But nothing is tried for ever here: whatever has no answer within its limit is told with the client's last complaint.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyferry_event::{Failure, FailureClass, Sink as _};
use rdkafka::Message as _;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::message::{Header, OwnedHeaders, Timestamp};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{advice, class_of_trouble};
use crate::raw_token;
use crate::settings::{Batching, ProducerSettings, Requests, Role};
use crate::sink::KafkaSink;
use crate::topics::check::TopicCheck;
use crate::topics::{Answer, TopicPolicy, TopicSnapshot};

/// How long one wait for the client takes at most, so that its complaints are noticed in between.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// What a cluster has told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// The topics.
    pub topics: Vec<TopicSnapshot>,
    /// What the client complained of besides: that it may not be an idempotent producer, say.
    pub complaint: Option<Failure>,
}

/// Logs in, and asks for `topics`. Creates none.
///
/// # Errors
/// The client refuses the settings, the login fails, or the cluster has not answered within `limit`.
pub fn topics(
    settings: &ProducerSettings,
    topics: &[String],
    policy: TopicPolicy,
    limit: Duration,
) -> Result<Examined, Failure> {
    let mut sink = KafkaSink::new(settings.clone())?;
    let policy = TopicPolicy { create: None, ..policy };
    let mut check = TopicCheck::new(topics, policy, settings.largest_request());
    let begun = Instant::now();
    // The client's own limit comes first, so that it is the one that says what was missing.
    while begun.elapsed() < limit + Duration::from_secs(1) {
        if let Some(mut request) = check.next(0) {
            request.timeout = limit;
            sink.ask(&request)?;
        }
        wait(&sink);
        sink.poll(&mut |_, _| {});
        while let Some(answer) = sink.answer() {
            if let Answer::Described(Err(failure)) = answer {
                return Err(explained(&sink, failure));
            }
            check.answered(answer, 0);
        }
        let complaint = sink.trouble();
        if check.rests() {
            return Ok(Examined { topics: check.snapshot(), complaint });
        }
        if let Some(failure) = complaint.filter(|failure| failure.class == FailureClass::Authentication) {
            return Err(failure);
        }
    }
    Err(explained(&sink, Failure::transient("the cluster does not answer")))
}

pub(crate) fn wait(sink: &KafkaSink) {
    let Some(readiness) = sink.readiness() else { return };
    let mut descriptors = [PollFd::from_borrowed_fd(readiness, PollFlags::IN)];
    // A wait that is interrupted is only shorter.
    let _ = poll(&mut descriptors, Some(&PAUSE));
}

/// What the client complains of tells more than that there was no answer.
pub(crate) fn explained(sink: &KafkaSink, failure: Failure) -> Failure {
    sink.trouble().unwrap_or(failure)
}

/// How a record was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// In which partition it lies.
    pub partition: i32,
    /// Where in it.
    pub offset: i64,
    /// When it was handed over, in milliseconds since the Unix epoch.
    pub sent_ms: u64,
    /// When its acknowledgement came.
    pub acknowledged_ms: u64,
    /// When the broker says that it stored it; `None` if the topic's `message.timestamp.type` is not `LogAppendTime`, so that the broker keeps our own time.
    pub stored_ms: Option<u64>,
}

/// Sends one record with the header `ce_type` to `topic` and waits for its acknowledgement.
///
/// # Errors
/// It is refused, or not acknowledged within `limit`.
pub fn probe(
    settings: &ProducerSettings,
    topic: &str,
    kind: &str,
    value: &str,
    limit: Duration,
) -> Result<Receipt, Failure> {
    let settings = settings.clone().with_property("message.timeout.ms", limit.as_millis().to_string());
    let role = Role { of: 1, batching: Batching::Isolated, requests: Requests::One, statistics: false };
    let refused = |error: rdkafka::error::KafkaError| Failure {
        class: FailureClass::Configuration,
        reason: format!("librdkafka refuses the configuration: {error}"),
    };
    let config = settings.client_config(role);
    let producer: BaseProducer<Outcome> = config.create_with_context(Outcome::default()).map_err(refused)?;
    raw_token::give(producer.client(), &config).map_err(Failure::transient)?;
    let sent_ms = wall_ms();
    let headers = OwnedHeaders::new().insert(Header { key: "ce_type", value: Some(kind) });
    let record = BaseRecord::<str, str>::to(topic).payload(value).headers(headers);
    producer.send(record).map_err(|(error, _)| of_error(&error))?;
    let begun = Instant::now();
    while begun.elapsed() < limit + Duration::from_secs(1) {
        producer.poll(Duration::from_millis(50));
        if let Some(outcome) = producer.context().take() {
            return outcome.map(|acknowledged| Receipt { sent_ms, ..acknowledged });
        }
    }
    Err(Failure::transient("the record is not acknowledged"))
}

fn of_error(error: &rdkafka::error::KafkaError) -> Failure {
    let Some(code) = error.rdkafka_error_code() else { return Failure::transient(error.to_string()) };
    Failure { class: class_of_trouble(code), reason: format!("{}: {code}", advice(code)) }
}

/// What became of the one record.
#[derive(Default)]
struct Outcome(Mutex<Option<Result<Receipt, Failure>>>);

impl Outcome {
    fn take(&self) -> Option<Result<Receipt, Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Outcome {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, property: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let token = raw_token::token(property.unwrap_or_default())?;
        let principal_name = raw_token::PRINCIPAL.to_string_lossy().into_owned();
        Ok(OAuthToken { token: token.expose().to_owned(), principal_name, lifetime_ms: token.expires_ms() })
    }

    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!("librdkafka: {facility}: {line}");
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        tracing::debug!("librdkafka: {error}: {reason}");
    }
}

impl ProducerContext for Outcome {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let outcome = match result {
            Ok(message) => Ok(Receipt {
                partition: message.partition(),
                offset: message.offset(),
                sent_ms: 0,
                acknowledged_ms: wall_ms(),
                stored_ms: match message.timestamp() {
                    Timestamp::LogAppendTime(stored) => u64::try_from(stored).ok(),
                    Timestamp::CreateTime(_) | Timestamp::NotAvailable => None,
                },
            }),
            Err((error, _)) => Err(of_error(error)),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }
}

fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
