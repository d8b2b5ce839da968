//! The recording of one workload: what the writer did to its disk and what it told its clients, in order.
//!
//! The invariant: **an entry of the disk stands where the operation happened; of the clients', a call stands before it was made and an
//! answer after it was given.** So at every place in the trace, whatever a client had been told by then stands before it; that some
//! answers stand later than they were given weakens the check and never makes it wrong.
//!
//! Paths are relative to the directory above the journal's, which exists before the trace begins.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

/// How the writer was told to sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fsync {
    /// Not at all.
    Never,
    /// Every now and then.
    Interval,
    /// Before the database commits.
    Commit,
}

/// One entry of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// What the workload was; the first entry.
    #[serde(rename_all = "camelCase")]
    Workload {
        /// From which it can be made again.
        seed: u64,
        /// How the writer was told to sync.
        fsync: Fsync,
        /// Whether outcomes are synced before a client is told.
        sync_outcomes: bool,
    },
    /// A directory was made.
    CreateDirectory {
        /// Which.
        path: String,
    },
    /// A file was made.
    Create {
        /// Which.
        path: String,
    },
    /// Bytes were written at the end of a file: as many as got there, be it that the operation failed.
    Write {
        /// The file.
        path: String,
        /// Which bytes, in hexadecimal digits.
        #[serde(deserialize_with = "hexadecimal")]
        bytes: Vec<u8>,
        /// Whether the writer was told that it failed.
        #[serde(default)]
        failed: bool,
    },
    /// A file was cut.
    Truncate {
        /// Which.
        path: String,
        /// How long it is since, in bytes.
        length: u64,
    },
    /// A file could not be cut.
    TruncateFailed {
        /// Which.
        path: String,
    },
    /// Syncing a file began: what is written from now on is none of its business.
    SyncBegin {
        /// Which.
        path: String,
    },
    /// A file was synced: what it held when that began. Without a beginning of its own, what it holds.
    Sync {
        /// Which.
        path: String,
    },
    /// A file could not be synced.
    SyncFailed {
        /// Which.
        path: String,
    },
    /// A directory was synced.
    SyncDirectory {
        /// Which; empty for the one that everything is relative to.
        path: String,
    },
    /// A directory could not be synced, or a file not be made: nothing happened on the disk, but the writer was told of an error.
    Refusal,
    /// A file was deleted.
    Delete {
        /// Which.
        path: String,
    },
    /// The writer's process ended, in order or not. What follows is the next one's.
    Died,
    /// A client hands events of its transaction to the writer.
    Offer {
        /// The client's name for its transaction.
        transaction: String,
        /// The ids of the events.
        events: Vec<String>,
    },
    /// The writer has taken what it was offered last for this transaction: from here on the database may commit.
    Prepared {
        /// The client's name for its transaction.
        transaction: String,
    },
    /// The writer has refused it.
    Refused {
        /// The client's name for its transaction.
        transaction: String,
    },
    /// The database has committed the transaction; the writer is about to be told.
    Commit {
        /// The client's name for its transaction.
        transaction: String,
    },
    /// The writer has been told.
    Committed {
        /// The client's name for its transaction.
        transaction: String,
    },
    /// The database has rolled the transaction back; the writer is about to be told.
    Abort {
        /// The client's name for its transaction.
        transaction: String,
    },
    /// The writer has been told.
    Aborted {
        /// The client's name for its transaction.
        transaction: String,
    },
}

impl Entry {
    /// Whether it may have changed what is on the disk.
    #[must_use]
    pub fn is_operation(&self) -> bool {
        matches!(
            self,
            Self::CreateDirectory { .. }
                | Self::Create { .. }
                | Self::Write { .. }
                | Self::Truncate { .. }
                | Self::SyncBegin { .. }
                | Self::Sync { .. }
                | Self::SyncFailed { .. }
                | Self::SyncDirectory { .. }
                | Self::Delete { .. }
        )
    }

    /// Whether an error was injected here.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Write { failed: true, .. }
                | Self::TruncateFailed { .. }
                | Self::SyncFailed { .. }
                | Self::Refusal
        )
    }
}

fn hexadecimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.as_bytes().chunks(2);
    let byte = |pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    digits.map(byte).collect::<Option<_>>().ok_or_else(|| serde::de::Error::custom("not hexadecimal digits"))
}

/// A recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// From which the workload can be made again.
    pub seed: u64,
    /// How the writer was told to sync.
    pub fsync: Fsync,
    /// Whether outcomes were to be synced before a client was told.
    pub sync_outcomes: bool,
    /// Everything after the first entry.
    pub entries: Vec<Entry>,
}

/// Why a trace cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be read.
    #[error("cannot read the trace {}: {source}; record it again with `cargo xtask crash-states`", path.display())]
    Io {
        /// The trace.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A line is not an entry.
    #[error("{}, line {line}: {source}; recorder and reader do not fit each other", path.display())]
    NotAnEntry {
        /// The trace.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
        /// What the JSON reader said.
        source: serde_json::Error,
    },
    /// The first entry does not say what the workload was.
    #[error("{} does not begin with a `workload` entry: it is not a trace, or its beginning is missing", path.display())]
    NoWorkload {
        /// The file.
        path: PathBuf,
    },
}

impl Trace {
    /// Reads a trace from its file.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let failed = |source| TraceError::Io { path: path.to_owned(), source };
        let mut entries = Vec::new();
        for (index, line) in BufReader::new(File::open(path).map_err(failed)?).lines().enumerate() {
            let entry = serde_json::from_str(&line.map_err(failed)?);
            let entry = entry.map_err(|source| TraceError::NotAnEntry {
                path: path.to_owned(),
                line: index + 1,
                source,
            });
            entries.push(entry?);
        }
        let first = (!entries.is_empty()).then(|| entries.remove(0));
        let Some(Entry::Workload { seed, fsync, sync_outcomes }) = first else {
            return Err(TraceError::NoWorkload { path: path.to_owned() });
        };
        Ok(Self { seed, fsync, sync_outcomes, entries })
    }
}
