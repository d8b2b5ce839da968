//! The records that the recorded writes consist of: which write brought which outcome to the disk, and where it lies.

use keyferry_journal::SegmentName;
use keyferry_journal::event::Events;
use keyferry_journal::format::{Kind, MARKER, RECORD_HEADER, RecordHeader, decode_commit};

use crate::disk::{Disk, file_name};
use crate::trace::{Entry, Trace};

/// A record that a write brought to the disk whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Index of the write in the trace.
    pub at: usize,
    /// The segment's file.
    pub path: String,
    /// The segment.
    pub segment: SegmentName,
    /// Where the record begins, in bytes.
    pub offset: u64,
    /// The byte after its padding.
    pub end: u64,
    /// What it is.
    pub kind: Kind,
    /// The transaction's id in its epoch.
    pub id: u64,
    /// The number that a COMMIT carries.
    pub commit: Option<u64>,
    /// The ids of the events in a PREPARE.
    pub events: Vec<String>,
    /// Index of the entry by which it was taken back: its file was cut or deleted.
    pub gone: Option<usize>,
}

/// All records of a trace, in the order in which they were written.
#[must_use]
pub fn of(trace: &Trace) -> Vec<Written> {
    let mut disk = Disk::default();
    let mut records: Vec<Written> = Vec::new();
    for (at, entry) in trace.entries.iter().enumerate() {
        match entry {
            Entry::Write { path, bytes, .. } => take_apart(at, path, disk.length(path), bytes, &mut records),
            Entry::Truncate { path, length } => take_back(&mut records, at, path, *length),
            Entry::Delete { path } => take_back(&mut records, at, path, 0),
            _ => {}
        }
        disk.apply(entry);
    }
    records
}

/// The name of the transaction that an event belongs to: the part of its id before the dot.
#[must_use]
pub fn owner_of(event: &str) -> &str {
    event.split_once('.').map_or(event, |(owner, _)| owner)
}

fn take_back(records: &mut [Written], at: usize, path: &str, length: u64) {
    let present = records.iter_mut().filter(|record| record.path == path && record.gone.is_none());
    present.filter(|record| record.end > length).for_each(|record| record.gone = Some(at));
}

fn take_apart(at: usize, path: &str, begin: u64, bytes: &[u8], records: &mut Vec<Written>) {
    let Ok(segment) = file_name(path).parse::<SegmentName>() else { return };
    let mut rest = bytes;
    let mut offset = begin;
    while let Some(header) = rest.first_chunk::<RECORD_HEADER>().filter(|head| head.starts_with(&MARKER)) {
        let Some(header) = RecordHeader::decode(header) else { return };
        let Some((record, after)) = rest.split_at_checked(header.length()) else { return };
        let payload = &record[RECORD_HEADER..header.unpadded()];
        let end = offset + record.len() as u64;
        records.push(Written {
            at,
            path: path.to_owned(),
            segment,
            offset,
            end,
            kind: header.kind,
            id: header.transaction,
            commit: (header.kind == Kind::Commit).then(|| decode_commit(payload)).flatten(),
            events: if header.kind == Kind::Prepare { event_ids(payload) } else { Vec::new() },
            gone: None,
        });
        rest = after;
        offset = end;
    }
}

/// The ids of a payload's events.
#[must_use]
pub fn event_ids(payload: &[u8]) -> Vec<String> {
    let events = Events::of(payload).map_while(Result::ok);
    events.filter_map(|event| event.id().map(str::to_owned)).collect()
}
