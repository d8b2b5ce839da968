//! Records that Kafka can never take.
//!
//! The invariant: **a record leaves the way to Kafka only when it lies in the dead-letter file and the file is synced.** Nothing is given up without a trace, and one
//! impossible record does not hold back all that come after it.
//!
//! The file has one JSON object a line, so that a person can read it with the tools at hand.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use keyferry_event::Record;
use serde_json::{Map, Value};

/// Where records go that can never be delivered.
pub trait DeadLetters {
    /// Lays `record` aside because of `cause`, durably.
    ///
    /// # Errors
    /// It could not be kept; the record must not be regarded as settled.
    fn lay_aside(&mut self, record: &Record<'_>, cause: &str, now_ms: u64) -> io::Result<()>;
}

/// A dead-letter file, created when it is first needed.
#[derive(Debug)]
pub struct DeadLetterFile {
    path: PathBuf,
    file: Option<File>,
}

impl DeadLetterFile {
    /// The file at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?,
        };
        Ok(self.file.insert(file))
    }
}

impl DeadLetters for DeadLetterFile {
    fn lay_aside(&mut self, record: &Record<'_>, cause: &str, now_ms: u64) -> io::Result<()> {
        let mut line = serde_json::to_vec(&describe(record, cause, now_ms)).map_err(io::Error::other)?;
        line.push(b'\n');
        let file = self.file()?;
        file.write_all(&line)?;
        file.sync_data()
    }
}

/// Everything that is needed to send the record later. Keys, values and headers are text: the journal holds nothing else.
fn describe(record: &Record<'_>, cause: &str, now_ms: u64) -> Value {
    let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes));
    let headers: Map<String, Value> = record
        .headers()
        .map(|header| (header.name.to_string_lossy().into_owned(), text(header.value)))
        .collect();
    serde_json::json!({
        "laid_aside": now_ms,
        "cause": cause,
        "topic": record.topic,
        "timestamp": record.timestamp_ms,
        "key": text(record.key),
        "headers": headers,
        "value": text(record.value),
    })
}
