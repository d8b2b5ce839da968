//! How long delivered segments are kept, and with which numbers their events were sent.
//!
//! The invariants:
//!
//! - **A segment goes only when everything in it was acknowledged, and no sooner than it was configured.**
//! - **A position names a point up to which everything was acknowledged, and the number of the next record there.** Positions are written
//!   before the segments before them go, so that numbers can be counted on from the oldest segment's border.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyferry_journal::storage::Segment;
use keyferry_journal::{Place, Resume, SegmentName};
use serde::{Deserialize, Serialize};

use crate::in_flight::Progress;
use crate::lines;

/// How long delivered segments are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// For so long after everything in them was acknowledged. Zero: they go at once.
    pub keep: Duration,
    /// So much of them at most, in bytes; `None` is no limit.
    pub keep_bytes: Option<u64>,
}

/// A point at a border of segments, up to which everything is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Line", into = "Line")]
pub struct Position {
    /// The point, and the number of the next record.
    pub progress: Progress,
    /// When it was reached, in milliseconds since the Unix epoch.
    pub reached_ms: u64,
}

impl Position {
    /// The segment that is needed to go on from here. What was delivered from it before is not meant.
    pub fn segment(&self) -> SegmentName {
        self.progress.resume.segment()
    }
}

/// Where positions are written down.
pub trait Positions {
    /// Those written down last, in order.
    ///
    /// # Errors
    /// They cannot be read.
    fn positions(&mut self) -> io::Result<Vec<Position>>;

    /// Replaces them, durably.
    ///
    /// # Errors
    /// They could not be written; those before are still there.
    fn keep_positions(&mut self, positions: &[Position]) -> io::Result<()>;
}

/// The file `<destination>.positions.jsonl`, one position a line.
#[derive(Debug)]
pub struct PositionsFile {
    path: PathBuf,
}

impl PositionsFile {
    /// The file at `path`, which is created when it is first needed.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Positions for PositionsFile {
    fn positions(&mut self) -> io::Result<Vec<Position>> {
        lines::read(&self.path)
    }

    fn keep_positions(&mut self, positions: &[Position]) -> io::Result<()> {
        lines::replace(&self.path, positions)
    }
}

/// How the name of a file of positions ends, after that of its destination.
pub(crate) const POSITIONS: &str = ".positions.jsonl";

/// Writes the positions in the file `from` into the file `into` as well, durably. `from` is right about every place from its first one on.
pub(crate) fn merge(from: &Path, into: &Path) -> io::Result<()> {
    let place = |at: &Position| (at.progress.resume.epoch, at.progress.resume.head);
    let new: Vec<Position> = lines::read(from)?;
    let Some(first) = new.iter().map(place).min() else { return Ok(()) };
    let mut all: Vec<Position> = lines::read(into)?;
    all.retain(|at| place(at) < first);
    all.extend(new);
    lines::replace(into, &all)
}

/// What one destination has delivered and still keeps.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    positions: VecDeque<Position>,
    /// The last position that was written down.
    noted: Option<Progress>,
    /// Everything before it was released.
    released: Option<SegmentName>,
    /// The border that was told last.
    told: Option<SegmentName>,
}

impl Kept {
    pub(crate) fn new(positions: Vec<Position>) -> Self {
        let noted = positions.last().map(|at| at.progress);
        Self { positions: positions.into(), noted, released: None, told: None }
    }

    /// The positions are written down as they are now.
    pub(crate) fn note(&mut self) {
        self.noted = self.positions.back().map(|at| at.progress);
    }

    /// The last position that was written down.
    pub(crate) fn noted(&self) -> Option<Progress> {
        self.noted
    }

    /// Notes a border.
    pub(crate) fn reach(&mut self, position: Position) {
        self.positions.push_back(position);
    }

    /// The positions, in order.
    pub(crate) fn positions(&mut self) -> &[Position] {
        self.positions.make_contiguous()
    }

    /// Before which segment everything is delivered, if that is news since this was asked last.
    pub(crate) fn take_delivered(&mut self) -> Option<SegmentName> {
        let delivered = self.positions.back()?.segment();
        (self.told.replace(delivered) != Some(delivered)).then_some(delivered)
    }

    /// The oldest segment that is needed at `now_ms`, if some may go that were needed so far.
    pub(crate) fn release(
        &mut self,
        retention: &Retention,
        segments: &[Segment],
        now_ms: u64,
    ) -> Option<SegmentName> {
        let newest = self.positions.back()?.segment();
        let keep_ms = u64::try_from(retention.keep.as_millis()).unwrap_or(u64::MAX);
        // Nothing is kept by a clock that may go backwards where nothing is to be kept.
        let is_over = |at: &Position| keep_ms == 0 || at.reached_ms.saturating_add(keep_ms) <= now_ms;
        let kept = self.positions.partition_point(|at| self.is_released(at.segment()));
        let kept = || self.positions.range(kept..);
        let expired = kept().take_while(|at| is_over(at)).count();
        let bytes = |from: SegmentName| -> u64 {
            let kept = segments.iter().filter(|segment| segment.name >= from && segment.name < newest);
            kept.map(|segment| segment.length).sum()
        };
        // What was released before is there only for the sake of another destination, or as long as it is listed.
        let oldest = segments
            .iter()
            .map(|segment| segment.name)
            .find(|name| self.released.is_none_or(|released| *name >= released));
        let too_much =
            retention.keep_bytes.filter(|limit| oldest.is_some_and(|oldest| bytes(oldest) > *limit));
        let over =
            too_much.map_or(0, |limit| kept().take_while(|at| bytes(at.segment()) > limit).count() + 1);
        let last = expired.max(over).min(kept().len()).checked_sub(1)?;
        let needed = kept().nth(last)?.segment();
        self.released = Some(needed);
        self.released
    }

    /// The same when everything that is kept must go.
    pub(crate) fn release_all(&mut self) -> Option<SegmentName> {
        let needed = self.positions.back()?.segment();
        if self.is_released(needed) {
            return None;
        }
        self.released = Some(needed);
        self.released
    }

    fn is_released(&self, segment: SegmentName) -> bool {
        self.released.is_some_and(|released| segment <= released)
    }

    /// Forgets the positions that say nothing of segments from `needed` on: nobody needs those before.
    pub(crate) fn forget_before(&mut self, needed: SegmentName) {
        let last = self.positions.partition_point(|at| at.segment() <= needed);
        self.positions.drain(..last.saturating_sub(1));
    }
}

/// A position as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    segment: String,
    reached: u64,
    epoch: u64,
    from: (u32, u64),
    head: (u32, u64),
    commit: u64,
    in_doubt: Option<(u32, u64)>,
    next_sequence: u64,
}

impl From<Position> for Line {
    fn from(position: Position) -> Self {
        let Progress { resume, next_sequence } = position.progress;
        Self {
            segment: position.segment().to_string(),
            reached: position.reached_ms,
            epoch: resume.epoch.0,
            from: (resume.from.segment, resume.from.offset),
            head: (resume.head.segment, resume.head.offset),
            commit: resume.commit,
            in_doubt: resume.in_doubt.map(|place| (place.segment, place.offset)),
            next_sequence,
        }
    }
}

impl From<Line> for Position {
    fn from(line: Line) -> Self {
        let place = |(segment, offset)| Place { segment, offset };
        let resume = Resume {
            epoch: keyferry_journal::Epoch(line.epoch),
            from: place(line.from),
            head: place(line.head),
            commit: line.commit,
            in_doubt: line.in_doubt.map(place),
        };
        let progress = Progress { resume, next_sequence: line.next_sequence };
        Self { progress, reached_ms: line.reached }
    }
}
