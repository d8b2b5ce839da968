//! A sink for a first look without Kafka: one JSON object a record on standard output.

use std::borrow::Cow;
use std::io::Write as _;
use std::os::fd::BorrowedFd;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyferry_event::{Failure, Record, SendError, Sink, Token};
use serde_json::{Map, Value, json, value::RawValue, value::to_raw_value};

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
    value: Cow<'a, RawValue>,
}

/// A value as JSON: itself, or what it is in Base64 where it is none.
fn as_json(value: &[u8]) -> serde_json::Result<Cow<'_, RawValue>> {
    match serde_json::from_slice(value) {
        Ok(value) => Ok(Cow::Borrowed(value)),
        Err(_) => to_raw_value(&json!({ "base64": STANDARD.encode(value) })).map(Cow::Owned),
    }
}

fn print(record: &Record<'_>) -> std::io::Result<()> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = record
        .headers()
        .map(|header| (header.name.to_string_lossy().into_owned(), Value::from(text(header.value))))
        .collect();
    let printed =
        Printed { topic: record.topic, key: text(record.key), headers, value: as_json(record.value)? };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &printed)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::as_json;

    #[test]
    fn a_value_that_is_no_json_is_printed_in_base64() {
        assert_eq!(as_json(b"{\"a\": 1}").unwrap().get(), "{\"a\": 1}");
        assert_eq!(as_json(&[0, 0, 0, 0, 7, 8]).unwrap().get(), r#"{"base64":"AAAAAAcI"}"#);
    }
}
