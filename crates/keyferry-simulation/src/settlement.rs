//! What a writer does at its next start with the transactions that the last epoch left without outcome (`journal-settle = event-store`).
//!
//! The invariants, which are those of `docs/journal-format.md`, section "Settlement":
//!
//! - Where anything of the epoch is damaged or missing, nothing is appended: an outcome may have been there.
//! - An outcome is written only where the database is known to have decided so.
//! - Settled COMMITs are numbered from the next stride on, so that a reader which has been at their place before does not pass over them.

use std::collections::BTreeMap;
use std::io;

use keyferry_journal::SegmentName;
use keyferry_journal::event::{Events, Field};
use keyferry_journal::format::{Kind, Salt, SegmentHeader, decode_commit, encode_record};
use keyferry_journal::records::{Piece, Records};

use crate::disk::SimulatedDisk;
use crate::oracle::Fate;

/// Where numbers of settled COMMITs begin: at multiples of this.
const STRIDE: u64 = 1 << 32;
/// In the payload of a COMMIT, behind its number: it was written by the next start.
const SETTLED: u64 = 2;

/// A transaction that got its outcome at the next start.
#[derive(Debug)]
pub struct Late {
    /// The ids of its events.
    pub ids: Vec<String>,
    /// What the database had decided.
    pub fate: Fate,
    /// The segment of the outcome, and its end in it.
    pub outcome: (SegmentName, usize),
}

/// The slot's last epoch, as far as its end is concerned.
#[derive(Debug)]
struct LastEpoch {
    segment: SegmentName,
    end: usize,
    next_commit: u64,
    is_sealed: bool,
    is_closed: bool,
    /// Transactions without outcome, by the place of their first PREPARE.
    open: BTreeMap<usize, (u64, Vec<String>)>,
}

/// Settles what the last epoch on `disk` left open as `decided` tells. `durable` is whether it is synced.
pub fn settle(
    disk: &SimulatedDisk,
    durable: bool,
    now_ms: u64,
    mut decided: impl FnMut(&[String]) -> Option<Fate>,
) -> Vec<Late> {
    let Some(last) = LastEpoch::read(disk).filter(|last| !last.is_closed) else { return Vec::new() };
    let decisions: Vec<_> = last
        .open
        .values()
        .filter_map(|(id, ids)| decided(ids).map(|fate| (*id, ids.clone(), fate)))
        .collect();
    if decisions.is_empty() {
        return Vec::new();
    }
    let mut late = Vec::new();
    // What could be written before an error counts; the rest stays in doubt.
    let _ = last.append(disk, durable, now_ms, decisions, &mut late);
    late
}

impl LastEpoch {
    /// `None` where there is none, or where it cannot be told what is open.
    fn read(disk: &SimulatedDisk) -> Option<Self> {
        let epoch = disk.last_epoch()?;
        let segments: Vec<_> = disk.segments().into_iter().filter(|name| name.epoch == epoch).collect();
        let newest = *segments.last()?;
        let mut last: Option<Self> = None;
        for segment in segments {
            last = Some(Self::read_on(last, disk, segment, segment == newest)?);
        }
        last
    }

    fn read_on(
        before: Option<Self>,
        disk: &SimulatedDisk,
        segment: SegmentName,
        is_newest: bool,
    ) -> Option<Self> {
        let mut records = Records::of(disk.clone(), segment);
        let Ok(Some(Piece::Header(header))) = records.next() else { return None };
        let mut last = match before {
            None => Self {
                segment,
                end: 0,
                next_commit: header.first_commit,
                is_sealed: false,
                is_closed: false,
                open: BTreeMap::new(),
            },
            Some(before) => {
                let follows = before.segment.number + 1 == segment.number;
                (follows && before.next_commit == header.first_commit).then_some(before)?
            }
        };
        (last.segment, last.is_sealed, last.end) = (segment, false, header.encode().len());
        let mut torn = false;
        while let Some(piece) = records.next().ok()? {
            match piece {
                // Valid records after it: it is damage.
                Piece::Header(_) | Piece::Record { .. } if torn => return None,
                Piece::Header(_) => return None,
                Piece::Record { header, payload, .. } => {
                    last.take(header.kind, header.transaction, payload)?;
                    last.end += header.length();
                }
                Piece::Unreadable { trouble, .. } if trouble.is_cut_short() => torn = true,
                Piece::Unreadable { .. } => return None,
            }
        }
        // What is unreadable at the end of the newest is a write that was cut short.
        (!torn || is_newest && !last.is_sealed).then_some(last)
    }

    fn take(&mut self, kind: Kind, id: u64, payload: &[u8]) -> Option<()> {
        match kind {
            Kind::Prepare => {
                let known = self.open.values_mut().find(|(open, _)| *open == id);
                let ids = Events::of(payload).map(|event| Some(event.ok()?.field(Field::Id)?.to_owned()));
                let ids = ids.collect::<Option<Vec<_>>>()?;
                match known {
                    Some((_, all)) => all.extend(ids),
                    None => {
                        let next = self.open.last_key_value().map_or(0, |(place, _)| place + 1);
                        self.open.insert(next, (id, ids));
                    }
                }
            }
            Kind::Commit => {
                let number = decode_commit(payload)?;
                let is_settled = payload.get(8..16) == Some(&SETTLED.to_le_bytes());
                if number != self.next_commit && !is_settled {
                    return None;
                }
                self.next_commit = number + 1;
                self.open.retain(|_, (open, _)| *open != id);
            }
            Kind::Abort => self.open.retain(|_, (open, _)| *open != id),
            Kind::Seal => self.is_sealed = true,
            Kind::Close => self.is_closed = true,
            _ => {}
        }
        Some(())
    }

    fn append(
        mut self,
        disk: &SimulatedDisk,
        durable: bool,
        now_ms: u64,
        decisions: Vec<(u64, Vec<String>, Fate)>,
        late: &mut Vec<Late>,
    ) -> io::Result<()> {
        if self.is_sealed {
            self.segment.number += 1;
            let header = SegmentHeader {
                name: self.segment,
                first_commit: self.next_commit,
                created_ms: now_ms,
                node: "node".to_owned(),
            }
            .encode();
            disk.create(self.segment, &header)?;
            self.end = header.len();
        } else if disk.segment_length(self.segment) > self.end {
            disk.truncate(self.segment, self.end)?;
        }
        let mut number = (self.next_commit / STRIDE + 1) * STRIDE;
        for (id, ids, fate) in decisions {
            let commit = [number.to_le_bytes(), SETTLED.to_le_bytes()].concat();
            let (kind, payload) =
                if fate == Fate::Committed { (Kind::Commit, &commit[..]) } else { (Kind::Abort, &[][..]) };
            self.write(disk, kind, id, payload, now_ms)?;
            number += u64::from(kind == Kind::Commit);
            late.push(Late { ids, fate, outcome: (self.segment, self.end) });
        }
        if durable {
            disk.sync(self.segment)?;
            disk.sync_directory(self.segment)?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        disk: &SimulatedDisk,
        kind: Kind,
        id: u64,
        payload: &[u8],
        now_ms: u64,
    ) -> io::Result<()> {
        let mut record = Vec::new();
        let salt = Salt::of(self.segment);
        encode_record(&mut record, salt, self.end as u64, kind, id, now_ms, payload);
        let written = disk.append(self.segment, &record);
        // It may be whole in spite of an error.
        if disk.segment_length(self.segment) < self.end + record.len() {
            written?;
        }
        self.end += record.len();
        Ok(())
    }
}
