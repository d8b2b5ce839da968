//! The Kafka sink.
//!
//! The invariant: **a token is reported once, by the producer that took it**. A reset replaces the producer and with it every
//! token that is still out; a replaced producer is drained and destroyed before its successor sends, so no late report can be taken for a
//! new one.
//!
//! Batches that are refused: a limit or a check of the broker (`message.max.bytes`, or a topic's `max.message.bytes`) is applied to a whole batch. A refused
//! batch says nothing of its records, so the sink goes into *isolation*: everything unacknowledged is sent again, one record a
//! batch, and what is refused then is refused for itself. Once all is delivered, it batches again.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyferry_event::{Failure, FailureClass, Record, SendError, Sink, Token};
use rdkafka::types::RDKafkaErrorCode;
use rustix::event::{EventfdFlags, eventfd};

use crate::error::{Verdict, advice, verdict};
use crate::raw::{Event, RawProducer, Undelivered};
use crate::security::diagnosis::{Diagnosis, is_of_token};
use crate::settings::{Batching, ProducerSettings, Requests, Role};
use crate::stall::{Order, Stall};
use crate::statistics::Traffic;
use crate::topics::{Answer, Request};

/// A producer and what it was made for.
struct Running {
    producer: RawProducer,
    batching: Batching,
    outstanding: u64,
    /// What was handed over since the last statistics.
    handed_over: HandedOver,
    stall: Stall,
}

/// So long partitions that are paused are let loose: the thread of a broker looks at them and sends what may be sent.
const LOOSE: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Default)]
struct HandedOver {
    records: u64,
    bytes: u64,
}

impl HandedOver {
    fn mean_size(self) -> Option<f64> {
        (self.records > 0).then(|| self.bytes as f64 / self.records as f64)
    }
}

/// A sink that is an idempotent Kafka producer.
pub struct KafkaSink {
    running: Option<Running>,
    wake: Arc<OwnedFd>,
    /// What times are counted from.
    origin: Instant,
    settings: ProducerSettings,
    /// How the next producer will be made.
    role: Role,
    trouble: Option<Failure>,
    /// Whether it has got no token since a record was delivered last.
    lacks_token: bool,
    diagnosis: Diagnosis,
    answers: VecDeque<Answer>,
    traffic: Traffic,
    /// The mean size of a record in bytes, as far as was seen last.
    record_size: f64,
    batch_size: u64,
    refused_batches: u64,
}

impl KafkaSink {
    /// A sink with `settings`. Does not wait for a connection.
    ///
    /// # Errors
    /// librdkafka refuses a setting, or cannot read a file that one names.
    pub fn new(settings: ProducerSettings) -> Result<Self, Failure> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Failure::transient(format!("cannot create an eventfd: {error}")))?;
        let role = Role { of: 1, batching: Batching::Full, requests: Requests::Many, statistics: false };
        Self::in_role(settings, role, Arc::new(wake))
    }

    /// A sink that writes to `wake` whenever it has something to report.
    pub(crate) fn in_role(
        settings: ProducerSettings,
        role: Role,
        wake: Arc<OwnedFd>,
    ) -> Result<Self, Failure> {
        let mut sink = Self {
            running: None,
            wake,
            origin: Instant::now(),
            batch_size: settings.batch_size(),
            diagnosis: Diagnosis::new(&settings),
            settings,
            role,
            trouble: None,
            lacks_token: false,
            answers: VecDeque::new(),
            traffic: Traffic::default(),
            record_size: 0.0,
            refused_batches: 0,
        };
        sink.start()?;
        Ok(sink)
    }

    /// As [`Sink::reset`]; so many requests may be unanswered from now on.
    pub(crate) fn reset_for(&mut self, requests: Requests) -> Result<(), Failure> {
        self.role.requests = requests;
        Sink::reset(self)
    }

    /// How many records have no outcome yet.
    pub(crate) fn outstanding(&self) -> u64 {
        self.running.as_ref().map_or(0, |running| running.outstanding)
    }

    /// Asks the cluster. The answer comes by [`KafkaSink::answer`], after a poll.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<(), Failure> {
        let Some(running) = &mut self.running else {
            return Err(no_producer());
        };
        running.producer.unmute();
        running.producer.ask(request)
    }

    /// The oldest answer that was not taken yet.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }

    /// Whether it cannot log in for want of a token. librdkafka asks for the next one ten seconds after a failure.
    pub(crate) fn lacks_token(&self) -> bool {
        self.lacks_token
    }

    /// How many batches were refused as too large.
    pub(crate) fn refused_batches(&self) -> u64 {
        self.refused_batches
    }

    /// What the client told of its traffic last.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    fn start(&mut self) -> Result<(), Failure> {
        let config = self.settings.client_config(self.role);
        let producer = RawProducer::new(&config, Arc::clone(&self.wake)).map_err(|error| Failure {
            class: FailureClass::Configuration,
            reason: format!("librdkafka refuses the configuration: {error}"),
        })?;
        let batching = self.role.batching;
        let handed_over = HandedOver::default();
        self.running =
            Some(Running { producer, batching, outstanding: 0, handed_over, stall: Stall::default() });
        Ok(())
    }

    /// Reports the outcomes that have become known, and takes in everything else that the producer says. Leaves `wake` alone: its owner reads it
    /// before, for all that share it.
    pub(crate) fn collect(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        let Some(running) = &mut self.running else { return };
        let (mut refused, mut settled, mut is_quiet) = (false, false, false);
        let Running { producer, batching, outstanding, handed_over, stall } = running;
        let (trouble, answers, traffic) = (&mut self.trouble, &mut self.answers, &mut self.traffic);
        let (record_size, batch_size) = (&mut self.record_size, self.batch_size);
        let (diagnosis, lacks_token) = (&mut self.diagnosis, &mut self.lacks_token);
        producer.drain(&mut |event| match event {
            Event::Delivered(token, result) => {
                *outstanding -= 1;
                settled = true;
                match result {
                    Ok(()) => {
                        (*trouble, *lacks_token) = (None, false);
                        outcome(token, Ok(()));
                    }
                    Err(undelivered) => {
                        let code = undelivered.code;
                        refused |= verdict(code) == Verdict::Batch;
                        let topic = lossy(undelivered.topic);
                        outcome(token, Err(failure(code, *batching, &undelivered.to_string(), &topic)));
                    }
                }
            }
            Event::Trouble { code, reason } => {
                let reason = lossy(reason);
                *lacks_token |= is_of_token(code, &reason);
                note_trouble(trouble, diagnosis.explain(code, &reason));
            }
            Event::Log { level, facility, line } => {
                let (facility, line) = (lossy(facility), lossy(line));
                let is_told = diagnosis.hear(&facility, &line);
                log(level, &facility, &line, is_told);
            }
            Event::Statistics(json) => {
                is_quiet = handed_over.records == 0 && *outstanding == 0;
                *record_size = handed_over.mean_size().unwrap_or(*record_size);
                *handed_over = HandedOver::default();
                *traffic = Traffic::parse(json.to_bytes(), *record_size, batch_size).unwrap_or_default();
            }
            Event::Answer(answer) => answers.push_back(answer),
        });
        let partitions = &traffic.partitions;
        match stall.observe(settled, *outstanding > 0, self.origin.elapsed()) {
            None => {}
            Some(Order::Pause) => producer.pause(partitions),
            Some(Order::Resume) => producer.resume(partitions),
            Some(Order::Try) => {
                producer.resume(partitions);
                producer.flush(LOOSE);
                producer.pause(partitions);
            }
        }
        if is_quiet {
            producer.mute();
        }
        match batching {
            Batching::Full if refused => self.isolate(),
            Batching::Isolated if settled && running.outstanding == 0 => self.leave_isolation(),
            _ => {}
        }
    }

    fn isolate(&mut self) {
        tracing::warn!(
            "Kafka refused a batch as too large: what is unacknowledged is sent again, one record a batch"
        );
        self.refused_batches += 1;
        self.role.batching = Batching::Isolated;
    }

    fn leave_isolation(&mut self) {
        tracing::info!("everything isolated has been settled: sending in batches again");
        self.role.batching = Batching::Full;
        if let Err(failure) = self.reset() {
            tracing::warn!("{failure}");
        }
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError> {
        let Some(running) = &mut self.running else {
            return Err(SendError::Failed(no_producer()));
        };
        running.producer.unmute();
        match running.producer.produce(token, record, self.settings.mark()) {
            Ok(()) => {
                if running.outstanding == 0 {
                    running.stall.begin(self.origin.elapsed());
                }
                running.outstanding += 1;
                running.handed_over.records += 1;
                running.handed_over.bytes += record.size() as u64;
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
        // Reading an eventfd takes its whole count at once. It is non-blocking: an empty one is no error of interest.
        let _ = rustix::io::read(&*self.wake, &mut [0_u8; 8]);
        self.collect(outcome);
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.running = None;
        self.lacks_token = false;
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

fn no_producer() -> Failure {
    Failure::transient("there is no producer")
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
fn note_trouble(trouble: &mut Option<Failure>, new: Failure) {
    if trouble.as_ref() != Some(&new) {
        tracing::warn!("Kafka: {new}");
        *trouble = Some(new);
    }
}

/// Logs what librdkafka logs, less loudly if it is told as an error, too.
fn log(level: i32, facility: &str, line: &str, is_told: bool) {
    match level {
        // That the guarantee which we ask for is called experimental is for us to know and not for the operator to worry about.
        _ if is_told || line.contains("enable.gapless.guarantee") => {
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
