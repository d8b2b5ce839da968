//! One record after the other to Kafka, in order, and none of them counted before it is acknowledged.

use std::time::{Duration, Instant};

use keyferry_event::{FailureClass, Record, SendError, Sink as _, Token};
use keyferry_kafka::KafkaSink;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::Error;

/// How long one wait for outcomes may take.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Sends records and counts what became of them.
pub struct Sender {
    sink: KafkaSink,
    patience: Duration,
    next: u64,
    outstanding: u64,
    acknowledged: u64,
    refused: u64,
    failed: Option<String>,
    heard: Instant,
}

impl Sender {
    /// Sends by `sink`, which may be silent for as long as `patience`.
    pub fn new(sink: KafkaSink, patience: Duration) -> Self {
        Self {
            sink,
            patience,
            next: 0,
            outstanding: 0,
            acknowledged: 0,
            refused: 0,
            failed: None,
            heard: Instant::now(),
        }
    }

    /// Records that are in Kafka.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Records that Kafka can never take.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Sends a record, after those before it.
    ///
    /// # Errors
    /// Kafka takes nothing, or has failed at one of them.
    pub fn send(&mut self, record: &Record<'_>) -> Result<(), Error> {
        loop {
            self.collect()?;
            match self.sink.send(Token(self.next), record) {
                Ok(()) => {
                    if self.outstanding == 0 {
                        self.heard = Instant::now();
                    }
                    self.next += 1;
                    self.outstanding += 1;
                    return Ok(());
                }
                Err(SendError::Full) => self.wait()?,
                Err(SendError::Failed(failure)) if failure.class == FailureClass::Poison => {
                    tracing::error!("a record can never be delivered: {failure}");
                    self.refused += 1;
                    return Ok(());
                }
                Err(SendError::Failed(failure)) => return Err(self.ended(failure.reason)),
            }
        }
    }

    /// Waits until everything has its outcome.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn finish(&mut self) -> Result<(), Error> {
        self.collect()?;
        while self.outstanding > 0 {
            self.wait()?;
            self.collect()?;
        }
        Ok(())
    }

    fn collect(&mut self) -> Result<(), Error> {
        let Self { sink, outstanding, acknowledged, refused, failed, heard, .. } = self;
        sink.poll(&mut |_, outcome| {
            *outstanding -= 1;
            *heard = Instant::now();
            match outcome {
                Ok(()) => *acknowledged += 1,
                Err(failure) if failure.class == FailureClass::Poison => {
                    tracing::error!("a record can never be delivered: {failure}");
                    *refused += 1;
                }
                Err(failure) => *failed = Some(failure.reason),
            }
        });
        match self.failed.take() {
            Some(reason) => Err(self.ended(reason)),
            None => Ok(()),
        }
    }

    fn wait(&mut self) -> Result<(), Error> {
        if self.heard.elapsed() > self.patience {
            let silence = format!("nothing was acknowledged for {} s", self.patience.as_secs());
            return Err(self.ended(self.sink.trouble().map_or(silence, |trouble| trouble.reason)));
        }
        let readiness = self.sink.readiness();
        let mut ready: Vec<_> =
            readiness.iter().map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)).collect();
        // A signal ends the wait early, and the caller looks for outcomes in any case.
        let _ = poll(&mut ready, Some(&WAIT));
        Ok(())
    }

    fn ended(&self, reason: String) -> Error {
        Error::Replay { sent: self.acknowledged, reason }
    }
}
