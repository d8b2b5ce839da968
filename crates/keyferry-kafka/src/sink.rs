//! The Kafka sink.
//!
//! The invariant: **a token is reported once, by the producer that took it**. A reset replaces the producer and with it every
//! token that is still out; a replaced producer is drained and destroyed before its successor sends, so no late report can be taken for a
//! new one.
//!
//! Batches that are refused: a limit or a check of the broker (`message.max.bytes`, or a topic's `max.message.bytes`) is applied to a whole batch. A refused
//! batch says nothing of its records, so the sink goes into *isolation*: everything unacknowledged is sent again, one record a
//! batch, and what is refused then is refused for itself. Once all is delivered, it batches again.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use keyferry_event::{Failure, FailureClass, Record, SendError, Sink, Token};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::types::RDKafkaErrorCode;
use rustix::event::{EventfdFlags, eventfd};

use crate::error::{Verdict, advice, class_of_trouble, verdict};
use crate::raw::{Event, RawProducer, Undelivered};

/// How a producer is made: librdkafka's configuration properties.
///
/// Values may be secrets; they are therefore never printed.
#[derive(Clone)]
pub struct ProducerSettings {
    properties: Vec<(String, String)>,
    mark: Option<Mark>,
}

/// A header that a sink adds to each record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its name.
    pub name: &'static CStr,
    /// Its value.
    pub value: String,
}

impl ProducerSettings {
    /// Settings of the given properties, as in librdkafka's `CONFIGURATION.md`.
    pub fn new(properties: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { properties: properties.into_iter().collect(), mark: None }
    }

    /// The same, and each record gets one more header.
    #[must_use]
    pub fn with_mark(self, mark: Mark) -> Self {
        Self { mark: Some(mark), ..self }
    }

    fn client_config(&self, batching: Batching) -> ClientConfig {
        let mut config = ClientConfig::new();
        // `log` below decides what becomes of a line; debug lines are only made where the property `debug` asks for them.
        config.set_log_level(RDKafkaLogLevel::Debug);
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        if batching == Batching::Isolated {
            config.set("batch.num.messages", "1");
        }
        config
    }
}

impl fmt::Debug for ProducerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.properties.iter().map(|(name, _)| name)).finish()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Batching {
    Full,
    Isolated,
}

/// A producer and what it was made for.
struct Running {
    producer: RawProducer,
    batching: Batching,
    outstanding: u64,
}

/// A sink that is an idempotent Kafka producer.
pub struct KafkaSink {
    // Declared before `wake`, and so dropped before the descriptor that it writes to.
    running: Option<Running>,
    wake: Arc<OwnedFd>,
    settings: ProducerSettings,
    /// How the next producer will batch.
    batching: Batching,
    trouble: Option<Failure>,
}

impl KafkaSink {
    /// A sink with `settings`. Does not wait for a connection.
    ///
    /// # Errors
    /// librdkafka refuses a setting, or cannot read a file that one names.
    pub fn new(settings: ProducerSettings) -> Result<Self, Failure> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Failure::transient(format!("cannot create an eventfd: {error}")))?;
        Self::waking(settings, Arc::new(wake))
    }

    /// A sink that writes to `wake` whenever it has something to report.
    pub(crate) fn waking(settings: ProducerSettings, wake: Arc<OwnedFd>) -> Result<Self, Failure> {
        let mut sink = Self { running: None, wake, settings, batching: Batching::Full, trouble: None };
        sink.start()?;
        Ok(sink)
    }

    fn start(&mut self) -> Result<(), Failure> {
        let config = self.settings.client_config(self.batching);
        let producer = RawProducer::new(&config, self.wake.as_fd())
            .map_err(|error| Failure::transient(format!("librdkafka refuses the configuration: {error}")))?;
        self.running = Some(Running { producer, batching: self.batching, outstanding: 0 });
        Ok(())
    }

    fn drain_wake(&self) {
        // Reading an eventfd takes its whole count at once. It is non-blocking: an empty one is no error of interest.
        let _ = rustix::io::read(&*self.wake, &mut [0_u8; 8]);
    }

    fn isolate(&mut self) {
        tracing::warn!(
            "Kafka refused a batch: what is unacknowledged is sent again, one record a batch, to find out which of its records it means"
        );
        self.batching = Batching::Isolated;
    }

    fn leave_isolation(&mut self) {
        tracing::info!("everything isolated has been settled: sending in batches again");
        self.batching = Batching::Full;
        if let Err(failure) = self.reset() {
            tracing::warn!("{failure}");
        }
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError> {
        let Some(running) = &mut self.running else {
            return Err(SendError::Failed(Failure::transient("there is no producer".to_owned())));
        };
        match running.producer.produce(token, record, self.settings.mark.as_ref()) {
            Ok(()) => {
                running.outstanding += 1;
                Ok(())
            }
            Err(RDKafkaErrorCode::QueueFull) => Err(SendError::Full),
            // Refused by the client itself, by `message.max.bytes`: it has not been in a batch yet.
            Err(code @ RDKafkaErrorCode::MessageSizeTooLarge) => Err(SendError::Failed(Failure {
                class: FailureClass::Poison,
                reason: format!("{} bytes are more than max-request-size allows ({code})", record.size()),
            })),
            Err(code) => {
                Err(SendError::Failed(failure(code, running.batching, &code.to_string(), record.topic)))
            }
        }
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        self.drain_wake();
        let Some(running) = &mut self.running else { return };
        let (mut refused, mut settled) = (false, false);
        let (batching, outstanding, trouble) =
            (running.batching, &mut running.outstanding, &mut self.trouble);
        running.producer.drain(&mut |event| match event {
            Event::Delivered(token, result) => {
                *outstanding -= 1;
                settled = true;
                match result {
                    Ok(()) => {
                        *trouble = None;
                        outcome(token, Ok(()));
                    }
                    Err(undelivered) => {
                        let code = undelivered.code;
                        refused |= verdict(code) == Verdict::Batch;
                        let topic = lossy(undelivered.topic);
                        outcome(token, Err(failure(code, batching, &undelivered.to_string(), &topic)));
                    }
                }
            }
            Event::Trouble { code, reason } => note_trouble(trouble, code, reason),
            Event::Log { level, facility, line } => log(level, facility, line),
        });
        match batching {
            Batching::Full if refused => self.isolate(),
            Batching::Isolated if settled && running.outstanding == 0 => self.leave_isolation(),
            _ => {}
        }
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.running = None;
        self.start()
    }

    fn lost(&self) -> Option<Failure> {
        let lost = self.running.as_ref().is_some_and(|running| running.producer.has_lost_its_brokers());
        lost.then(|| {
            Failure::transient("the cluster said that it has no brokers; the client begins anew".to_owned())
        })
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.wake.as_fd())
    }

    fn trouble(&self) -> Option<Failure> {
        self.trouble.clone()
    }
}

fn failure(code: RDKafkaErrorCode, batching: Batching, reason: &str, place: &str) -> Failure {
    let class = match verdict(code) {
        Verdict::Record(class) => class,
        Verdict::Batch if batching == Batching::Isolated => FailureClass::Poison,
        Verdict::Batch => FailureClass::Transient,
    };
    Failure { class, reason: format!("{place}: {reason}: {}", advice(code)) }
}

impl fmt::Display for Undelivered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        match &*lossy(self.remark) {
            "" => Ok(()),
            remark => write!(f, ": {remark}"),
        }
    }
}

/// Remembers what the client complains of, and logs it when it is another complaint than before.
fn note_trouble(trouble: &mut Option<Failure>, code: RDKafkaErrorCode, reason: &CStr) {
    let reason = format!("{}: {}", advice(code), lossy(reason));
    let new = Failure { class: class_of_trouble(code), reason };
    if trouble.as_ref() != Some(&new) {
        tracing::warn!("Kafka: {new}");
        *trouble = Some(new);
    }
}

fn log(level: i32, facility: &CStr, line: &CStr) {
    let (facility, line) = (lossy(facility), lossy(line));
    match level {
        // FAIL and ERROR lines also arrive as client-wide errors, see `note_trouble`. That the guarantee which we ask for is called experimental is for
        // us to know and not for the operator to worry about.
        _ if matches!(&*facility, "FAIL" | "ERROR") || line.contains("enable.gapless.guarantee") => {
            tracing::debug!("librdkafka: {facility}: {line}");
        }
        0..=3 => tracing::error!("librdkafka: {facility}: {line}"),
        4 => tracing::warn!("librdkafka: {facility}: {line}"),
        _ => tracing::debug!("librdkafka: {facility}: {line}"),
    }
}

fn lossy(text: &CStr) -> std::borrow::Cow<'_, str> {
    text.to_string_lossy()
}
