//! A sink for a first look without Kafka: one JSON object a record on standard output.

use std::io::Write as _;
use std::os::fd::BorrowedFd;

use keyferry_event::{Failure, Record, SendError, Sink, Token};
use serde_json::{Map, Value, value::RawValue};

/// Prints records. Their outcome is known at once.
#[derive(Debug, Default)]
pub struct StdoutSink {
    printed: Vec<Token>,
}

impl Sink for StdoutSink {
    fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError> {
        print(record).map_err(|error| {
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                // The reader (`head`, a pager) has seen enough: the end of a dry run, and nothing to tidy up.
                std::process::exit(0);
            }
            SendError::Failed(Failure::transient(format!("cannot write to standard output: {error}")))
        })?;
        self.printed.push(token);
        Ok(())
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        for token in self.printed.drain(..) {
            outcome(token, Ok(()));
        }
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.printed.clear();
        Ok(())
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn trouble(&self) -> Option<Failure> {
        None
    }
}

/// What is printed of a record.
#[derive(serde::Serialize)]
struct Printed<'a> {
    topic: &'a str,
    key: String,
    headers: Map<String, Value>,
    value: &'a RawValue,
}

fn print(record: &Record<'_>) -> std::io::Result<()> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = record
        .headers()
        .map(|header| (header.name.to_string_lossy().into_owned(), Value::from(text(header.value))))
        .collect();
    let printed = Printed {
        topic: record.topic,
        key: text(record.key),
        headers,
        value: serde_json::from_slice(record.value)?,
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &printed)?;
    out.write_all(b"\n")
}
