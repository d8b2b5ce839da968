//! Recordings falsified as a faulty writer would have made them.
//!
//! Each stands for a fault that real writers have had. If the judgement passes one of them, it is worth nothing.

use keyferry_journal::format::{Kind, RECORD_HEADER, RecordHeader, Salt, encode_record};
use keyferry_journal::{Epoch, SegmentName};

use crate::disk::{Disk, file_name};
use crate::trace::{Entry, Fsync, Trace};

/// A fault that is planted into a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// The writer does not sync files.
    SkipSync,
    /// The writer does not sync directories.
    SkipDirectorySync,
    /// A transaction's COMMIT is written before its PREPARE where both share a write.
    CommitBeforePrepare,
    /// A client is told that its events are safe before they are written.
    AcknowledgeEarly,
    /// A rolled-back transaction gets a COMMIT.
    CommitAborted,
}

impl Plant {
    /// The recording as this fault would have made it.
    #[must_use]
    pub fn falsify(self, trace: &Trace) -> Trace {
        let mut trace = trace.clone();
        let entries = &mut trace.entries;
        match self {
            Self::SkipSync => entries.retain(|entry| !matches!(entry, Entry::Sync { .. })),
            Self::SkipDirectorySync => entries.retain(|entry| !matches!(entry, Entry::SyncDirectory { .. })),
            Self::CommitBeforePrepare => rewrite(entries, swap),
            Self::AcknowledgeEarly => acknowledge_early(entries),
            Self::CommitAborted => rewrite(entries, commit_aborted),
        }
        trace
    }

    /// Whether the fault can show in a workload of this mode at all.
    #[must_use]
    pub fn shows_in(self, trace: &Trace) -> bool {
        let durability = matches!(self, Self::SkipSync | Self::SkipDirectorySync);
        (!durability || trace.fsync == Fsync::Commit) && self.falsify(trace) != *trace
    }
}

/// Every answer moves directly behind its question.
fn acknowledge_early(entries: &mut Vec<Entry>) {
    let mut early = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        if matches!(entry, Entry::Prepared { .. }) {
            continue;
        }
        early.push(entry.clone());
        let Entry::Offer { transaction, .. } = entry else { continue };
        let answer = entries[index + 1..].iter().find(|later| {
            matches!(later, Entry::Prepared { transaction: t } | Entry::Refused { transaction: t } if t == transaction)
        });
        if let Some(answer @ Entry::Prepared { .. }) = answer {
            early.push(answer.clone());
        }
    }
    *entries = early;
}

/// A record, taken out of its write.
struct Record {
    kind: Kind,
    transaction: u64,
    written_ms: u64,
    payload: Vec<u8>,
}

/// Lets `change` change the records of every write that consists of whole ones, and gives them their checksums again.
fn rewrite(entries: &mut [Entry], change: fn(&mut [Record])) {
    let mut disk = Disk::default();
    for entry in entries {
        let original = entry.clone();
        if let Entry::Write { path, bytes, failed: false } = entry
            && let Ok(segment) = file_name(path).parse()
            && let Some(mut records) = take_apart(bytes)
        {
            change(&mut records);
            *bytes = encode(&records, segment, disk.length(path));
        }
        disk.apply(&original);
    }
}

fn take_apart(mut bytes: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let header = RecordHeader::decode(bytes.first_chunk::<RECORD_HEADER>()?)?;
        let (record, rest) = bytes.split_at_checked(header.length())?;
        records.push(Record {
            kind: header.kind,
            transaction: header.transaction,
            written_ms: header.written_ms,
            payload: record[RECORD_HEADER..header.unpadded()].to_vec(),
        });
        bytes = rest;
    }
    Some(records)
}

fn encode(records: &[Record], segment: SegmentName, base: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let salt = Salt::of(SegmentName { epoch: Epoch(segment.epoch.0), number: segment.number });
    for Record { kind, transaction, written_ms, payload } in records {
        encode_record(&mut bytes, salt, base, *kind, *transaction, *written_ms, payload);
    }
    bytes
}

fn swap(records: &mut [Record]) {
    if let [Record { kind: Kind::Prepare, .. }, Record { kind: Kind::Commit, .. }] = records[..] {
        records.swap(0, 1);
    }
}

/// The ABORT stays as long as it was: the numbers of later COMMITs are not what is looked at.
fn commit_aborted(records: &mut [Record]) {
    for record in records {
        if record.kind == Kind::Abort {
            record.kind = Kind::Commit;
        }
    }
}
