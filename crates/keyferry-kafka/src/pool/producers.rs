//! Connections that are librdkafka producers.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use keyferry_event::{Failure, Record, SendError, Sink, Token};

use crate::pool::connection::{Connection, Connector};
use crate::pool::snapshot::ConnectionSnapshot;
use crate::settings::{Batching, ProducerSettings, Requests, Role};
use crate::sink::KafkaSink;
use crate::topics::{Answer, Request};

/// Makes producers that write to one descriptor when they have something to report.
pub(crate) struct Producers {
    wake: Arc<OwnedFd>,
}

impl Producers {
    pub(crate) fn new(wake: Arc<OwnedFd>) -> Self {
        Self { wake }
    }
}

impl Connector for Producers {
    type Connection = KafkaSink;

    fn connect(
        &mut self,
        settings: &ProducerSettings,
        of: usize,
        requests: Requests,
    ) -> Result<KafkaSink, Failure> {
        let role = Role { of, batching: Batching::Full, requests, statistics: true };
        KafkaSink::in_role(settings.clone(), role, Arc::clone(&self.wake))
    }

    /// Destroying a producer waits for its threads, and one of them may be in the middle of a name look-up.
    fn retire(&mut self, connection: KafkaSink) {
        let leave = thread::Builder::new().name("kafka-retired".to_owned());
        if let Err(error) = leave.spawn(move || drop(connection)) {
            // The connection went down with the closure: it was destroyed here, at the price of a pause.
            tracing::debug!("no thread for taking leave of a connection: {error}");
        }
    }
}

impl Connection for KafkaSink {
    fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError> {
        Sink::send(self, token, record)
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        self.collect(outcome);
    }

    fn reset(&mut self, requests: Requests) -> Result<(), Failure> {
        self.reset_for(requests)
    }

    fn outstanding(&self) -> u64 {
        self.outstanding()
    }

    fn lost(&self) -> Option<Failure> {
        Sink::lost(self)
    }

    fn trouble(&self) -> Option<Failure> {
        Sink::trouble(self)
    }

    fn lacks_token(&self) -> bool {
        self.lacks_token()
    }

    fn ask(&mut self, request: &Request) -> Result<(), Failure> {
        self.ask(request)
    }

    fn answer(&mut self) -> Option<Answer> {
        self.answer()
    }

    fn describe(&self, snapshot: &mut ConnectionSnapshot) {
        let traffic = self.traffic();
        snapshot.round_trip_ms = traffic.round_trip_ms;
        snapshot.queue_time_ms = traffic.queue_time_ms;
        snapshot.requests_in_flight = traffic.requests_in_flight;
        snapshot.queue_messages = self.outstanding();
        snapshot.queue_bytes = traffic.queue_bytes;
        snapshot.connects = traffic.connects;
        snapshot.reconnects = traffic.disconnects;
        snapshot.throttle_ms = traffic.throttle_ms;
        snapshot.batch_fill = traffic.batch_fill;
        snapshot.refused_batches = self.refused_batches();
        snapshot.compression_ratio = traffic.compression_ratio;
        snapshot.brokers.clone_from(&traffic.brokers);
    }
}
