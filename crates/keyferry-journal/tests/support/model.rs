//! What a reader must make of a journal, said a second time and as simply as can be.

use keyferry_journal::feed::LostCause;
use keyferry_journal::format::GapCause;
use keyferry_journal::{Epoch, Outcome, SegmentName};

use super::Seen;

/// A record as it was meant to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    Prepare(u64, Vec<String>),
    Commit(u64),
    Abort(u64),
    Gap(u64),
    /// SEAL or CLOSE.
    End,
    /// It cannot be read: from, to. What it was before is told by `was_commit`.
    Damaged {
        segment: SegmentName,
        from: u64,
        to: u64,
        was_commit: bool,
    },
}

/// The content of one epoch: what is returned for these records once the epoch has ended, without the notice of its end.
pub fn expect(epoch: Epoch, records: &[Meant]) -> (Vec<Seen>, u64) {
    let mut seen = Vec::new();
    let mut open: Vec<(u64, Vec<String>)> = Vec::new();
    let mut written = 0;
    let mut read = 0;
    for record in records {
        match record {
            Meant::Prepare(id, ids) => match open.iter_mut().find(|(other, _)| other == id) {
                Some((_, known)) => known.extend(ids.iter().cloned()),
                None => open.push((*id, ids.clone())),
            },
            Meant::Commit(id) => {
                written += 1;
                if read + 1 != written {
                    seen.push(Seen::MissingCommits(epoch, read + 1, written));
                }
                read = written;
                seen.push(match open.iter().position(|(other, _)| other == id) {
                    Some(position) => transaction(epoch, read, Outcome::Committed, open.remove(position).1),
                    None => Seen::Lost(epoch, read, LostCause::NoPrepare),
                });
            }
            Meant::Abort(id) => open.retain(|(other, _)| other != id),
            Meant::Gap(user_events) => {
                seen.push(Seen::Gap { user_events: *user_events, cause: GapCause::NoSpace });
            }
            Meant::End => {}
            Meant::Damaged { segment, from, to, was_commit } => {
                written += u64::from(*was_commit);
                seen.push(Seen::Damage(*segment, *from, *to));
            }
        }
    }
    for (_, ids) in open {
        read += 1;
        seen.push(transaction(epoch, read, Outcome::Unknown, ids));
    }
    (seen, read)
}

fn transaction(epoch: Epoch, commit: u64, outcome: Outcome, ids: Vec<String>) -> Seen {
    Seen::Transaction { epoch, commit, outcome, ids }
}
