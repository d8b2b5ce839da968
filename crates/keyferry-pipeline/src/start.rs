//! Where delivery goes on when the agent begins.
//!
//! The invariants:
//!
//! - **No number is given to two records.** Where the checkpoint cannot be read, delivery goes on at the last border whose number was written down,
//!   and what is sent again from there carries the numbers that it had; where none is known, numbers begin in a new stride.
//! - **No checkpoint stops delivery for good.** After a power cut it may name places that the journal has lost. What was delivered and has vanished is
//!   no loss; what was appended since is delivered.

use std::collections::BTreeSet;

use keyferry_event::{Gap, GapReason, Topics};
use keyferry_journal::storage::Segment;
use keyferry_journal::{Checkpoint, CheckpointFile, Place, Resume, SegmentName, Storage};

use crate::aside::Aside;
use crate::ceiling::{GivenUp, next_stride, topics_of};
use crate::in_flight::Progress;
use crate::pipeline::Error;
use crate::retention::Position;
use crate::shedding::Stretch;

/// Where delivery goes on, and what is known of the past.
#[derive(Debug)]
pub struct Start {
    pub(crate) checkpoint: CheckpointFile,
    pub(crate) settled: Option<Progress>,
    pub(crate) positions: Vec<Position>,
    pub(crate) given_up: Vec<GivenUp>,
    pub(crate) passed_over: Vec<Stretch>,
}

impl Start {
    /// Begins at the oldest segment, whatever was delivered before.
    pub fn anew(destination: &str) -> Self {
        Self {
            checkpoint: CheckpointFile::begin_anew(destination),
            settled: None,
            positions: Vec::new(),
            given_up: Vec::new(),
            passed_over: Vec::new(),
        }
    }

    /// Where delivery to `destination` goes on. `topics` decides how many numbers a gap record takes.
    ///
    /// # Errors
    /// [`Error::Journal`] if the slot or the checkpoint cannot be read; [`Error::Aside`].
    pub fn find<S: Storage, A: Aside>(
        storage: &mut S,
        aside: &mut A,
        destination: &str,
        topics: &Topics,
        now_ms: u64,
    ) -> Result<Self, Error> {
        let beside = |what| move |source| Error::Aside { what, source };
        let mut positions = aside.positions().map_err(beside("read the positions of segments"))?;
        positions.sort_by_key(|at| (at.progress.resume.epoch, at.progress.resume.head));
        let given_up = aside.given_up().map_err(beside("read what was given up"))?;
        let passed_over = aside.stretches().map_err(beside("read where events are passed over"))?;
        let segments = segments(storage)?;
        let mut start = match CheckpointFile::load(storage, destination) {
            Ok((checkpoint, found)) => {
                Self { checkpoint, settled: found.and_then(progress), positions, given_up, passed_over }
            }
            Err(error @ keyferry_journal::Error::DamagedCheckpoint { .. }) => {
                let checkpoint = CheckpointFile::begin_anew(destination);
                let mut start = Self { checkpoint, settled: None, positions, given_up, passed_over };
                tracing::error!("{error}; delivery goes on at the last place that is known otherwise");
                start.settle_by_what_is_there(&segments);
                if start.settled.is_none()
                    && let Some(oldest) = segments.first().filter(|oldest| oldest.name.number > 0)
                {
                    start.renumber(oldest.name, &error.to_string(), topics, now_ms);
                    start.keep(storage, aside)?;
                }
                start
            }
            Err(error) => return Err(error.into()),
        };
        start.settle_by_what_was_given_up();
        if let (Some(settled), Some(newest)) = (start.settled, segments.last())
            && newest.name < settled.resume.segment()
        {
            start.go_back(settled, *newest, &segments, topics, now_ms);
            start.keep(storage, aside)?;
        }
        start.forget_what_is_beyond();
        Ok(start)
    }

    /// Where to open the feed.
    pub fn resume(&self) -> Option<&Resume> {
        self.settled.as_ref().map(|settled| &settled.resume)
    }

    /// What was given up was written down before the checkpoint: it may be further.
    fn settle_by_what_was_given_up(&mut self) {
        for given_up in &self.given_up {
            let then = given_up.then.progress;
            if self.settled.is_none_or(|settled| settled.is_before(&then)) {
                self.settled = Some(then);
            }
        }
    }

    /// After a step back, what was reached before says nothing of what may be removed: segments after the place where delivery goes on may be there for
    /// the first time. In the file it stays until the next border, to tell which epochs were delivered.
    fn forget_what_is_beyond(&mut self) {
        match self.settled {
            Some(settled) => self.positions.retain(|at| !settled.is_before(&at.progress)),
            None => self.positions.clear(),
        }
    }

    /// The last known place whose segment is there: what came after one that is gone was delivered under numbers that nobody knows.
    fn settle_by_what_is_there(&mut self, segments: &[Segment]) {
        let is_there = |at: &&Position| segments.iter().any(|segment| segment.name == at.segment());
        let known = self.positions.iter().chain(self.given_up.iter().map(|given_up| &given_up.then));
        for at in known.filter(is_there) {
            if self.settled.is_none_or(|settled| settled.is_before(&at.progress)) {
                self.settled = Some(at.progress);
            }
        }
    }

    /// Begins at `segment`, with numbers that were never used.
    fn renumber(&mut self, segment: SegmentName, why: &str, topics: &Topics, now_ms: u64) {
        let SegmentName { epoch, number } = segment;
        let mut then = Position {
            progress: Progress { resume: Resume::beginning(segment), next_sequence: 1 },
            reached_ms: now_ms,
        };
        if number > 0 {
            let known = self.positions.iter().chain(self.given_up.iter().map(|given_up| &given_up.then));
            let known = known.filter(|at| at.progress.resume.epoch == epoch);
            let sequence = next_stride(known.map(|at| at.progress.next_sequence).max().unwrap_or(0));
            let detail =
                format!("{why}; records of epoch {epoch} are sent again from {segment} on under new numbers");
            let gap = Gap::new(GapReason::Damage, epoch, "", detail);
            then.progress.next_sequence = sequence + topics_of(&gap, topics).count() as u64;
            self.given_up.push(GivenUp { sequence, time_ms: epoch.begun_ms(), gap, then });
        }
        self.settled = Some(then.progress);
        self.positions.push(then);
    }

    /// The slot ends before the checkpoint.
    fn go_back(
        &mut self,
        settled: Progress,
        newest: Segment,
        segments: &[Segment],
        topics: &Topics,
        now_ms: u64,
    ) {
        let lost = settled.resume.segment();
        let known: BTreeSet<_> = self.positions.iter().map(|at| at.progress.resume.epoch).collect();
        let is_new = |name: SegmentName| name.epoch != lost.epoch && !known.contains(&name.epoch);
        if let Some(fresh) = segments.iter().find(|segment| is_new(segment.name)) {
            let why = format!("the checkpoint points to {lost}, which is not there any more");
            tracing::error!("{why}; what was journaled since is delivered from {} on", fresh.name);
            self.renumber(fresh.name, &why, topics, now_ms);
            return;
        }
        tracing::error!(
            "the checkpoint points to {lost}, but the journal ends at {}: what is missing had been delivered; delivery goes on with the next epoch",
            newest.name
        );
        let end = Place { segment: newest.name.number, offset: newest.length };
        let same = newest.name.epoch == lost.epoch;
        let (commit, next_sequence) = if same {
            (settled.resume.commit, settled.next_sequence)
        } else {
            (Resume::COMMIT_UNKNOWN, next_stride(0))
        };
        let resume = Resume { epoch: newest.name.epoch, from: end, head: end, commit, in_doubt: None };
        self.settled = Some(Progress { resume, next_sequence });
    }

    /// What was decided here must be found again, whenever the agent dies. The checkpoint is written before the positions: an epoch with a position
    /// counts as known.
    fn keep<S: Storage, A: Aside>(&mut self, storage: &mut S, aside: &mut A) -> Result<(), Error> {
        let beside = |what| move |source| Error::Aside { what, source };
        aside.keep_given_up(&self.given_up).map_err(beside("write what was given up"))?;
        if let Some(Progress { resume, next_sequence }) = self.settled {
            self.checkpoint.write_durable(storage, Some(resume), next_sequence)?;
        }
        aside.keep_positions(&self.positions).map_err(beside("write the positions of segments"))
    }
}

fn segments<S: Storage>(storage: &mut S) -> Result<Vec<Segment>, Error> {
    let mut segments = storage.list().map_err(|source| keyferry_journal::Error::Io {
        operation: "list",
        path: storage.describe(),
        source,
    })?;
    segments.sort_unstable();
    Ok(segments)
}

fn progress(checkpoint: Checkpoint) -> Option<Progress> {
    let Checkpoint { resume, next_sequence, .. } = checkpoint;
    Some(Progress { resume: resume?, next_sequence })
}
