//! Passing over events of low priority while delivery lags behind: load shedding.
//!
//! The invariants:
//!
//! - **An event keeps its number, whether it is sent or passed over.** No number that was given to one event is ever given to another because of the pressure of the moment. The gap record
//!   that tells of a run of them has the number of the last.
//! - **What was passed over once is passed over again**, whatever has died in between. Otherwise it would arrive behind later events of its key. So the decision is written down durably
//!   before it takes effect, for a stretch of transactions at a time. The other way round does no harm: an event that was sent, and is passed over when it comes by again, has
//!   arrived or is told of.
//! - **The checkpoint passes an event that was passed over only when the gap record that tells of it is acknowledged.**
//!
//! A run ends with the turn, or with its epoch. So nothing of it outlives a death, and no pause of the stream keeps it untold.

use std::io;
use std::path::PathBuf;

use keyferry_event::{Gap, GapReason, Span};
use keyferry_journal::event::EventView;
use keyferry_journal::{Epoch, EventKind, Outcome, Transaction};
use serde::{Deserialize, Serialize};

use crate::backpressure::Level;
use crate::in_flight::Progress;
use crate::lines;

/// Which events are passed over, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowPriority {
    /// The types of user events of low priority, such as `CODE_TO_TOKEN`. With none nothing is passed over.
    pub types: Vec<String>,
    /// From which level on.
    pub from: Level,
    /// Of so many one is sent all the same; 0 is none.
    pub sample: u64,
    /// For how many transactions it is decided at a time: each decision costs a sync of a small file.
    pub stretch: u64,
}

impl Default for LowPriority {
    fn default() -> Self {
        Self { types: Vec::new(), from: Level::High, sample: 10, stretch: 10_000 }
    }
}

/// 2⁶⁴ divided by the golden ratio: multiplying by it scatters consecutive numbers (D. Knuth, "The Art of Computer Programming", volume 3, 6.4), so that of types that
/// alternate each is sampled.
const SCATTER: u64 = 0x9E37_79B9_7F4A_7C15;

impl LowPriority {
    /// Whether the `index`-th event of `transaction` may be passed over. Those in doubt never are.
    #[inline]
    pub(crate) fn concerns(&self, event: &EventView<'_>, transaction: &Transaction<'_>, index: u32) -> bool {
        !self.types.is_empty()
            && transaction.outcome == Outcome::Committed
            && self.is_low(event)
            && !self.is_sample(transaction.commit, index)
    }

    fn is_low(&self, event: &EventView<'_>) -> bool {
        event.kind() == EventKind::User
            && event.event_type().is_some_and(|event_type| self.types.iter().any(|low| low == event_type))
    }

    /// A function of the event's place in the journal alone, so that it is the same whenever it comes by.
    fn is_sample(&self, commit: u64, index: u32) -> bool {
        let place = commit ^ (u64::from(index) << 40);
        self.sample > 0 && (place.wrapping_mul(SCATTER) >> 32).is_multiple_of(self.sample)
    }
}

/// That events of low priority are passed over in some transactions of an epoch, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Line", try_from = "Line")]
pub struct Stretch {
    /// The epoch.
    pub epoch: Epoch,
    /// The transactions, by the numbers of their COMMITs.
    pub commits: Span,
}

/// A [`Stretch`] as it is written down.
#[derive(Serialize, Deserialize)]
struct Line {
    epoch: String,
    commits: Span,
}

impl From<Stretch> for Line {
    fn from(Stretch { epoch, commits }: Stretch) -> Self {
        Self { epoch: epoch.to_string(), commits }
    }
}

impl TryFrom<Line> for Stretch {
    type Error = <Epoch as std::str::FromStr>::Err;

    fn try_from(Line { epoch, commits }: Line) -> Result<Self, Self::Error> {
        Ok(Self { epoch: epoch.parse()?, commits })
    }
}

impl Stretch {
    /// Whether `transaction` belongs to it.
    fn holds(&self, transaction: &Transaction<'_>) -> bool {
        self.epoch == transaction.epoch && (self.commits.from..=self.commits.to).contains(&transaction.commit)
    }

    /// Whether none of its transactions comes by any more when everything up to `progress` is settled.
    fn is_behind(&self, progress: Progress) -> bool {
        (self.epoch, self.commits.to) < (progress.resume.epoch, progress.resume.commit)
    }
}

/// Where it is written down in which transactions events of low priority are passed over.
pub trait Stretches {
    /// What was decided and may still matter, in any order.
    ///
    /// # Errors
    /// It cannot be read.
    fn stretches(&mut self) -> io::Result<Vec<Stretch>>;

    /// Replaces it, durably.
    ///
    /// # Errors
    /// It could not be written: what is new in it must not take effect.
    fn keep_stretches(&mut self, stretches: &[Stretch]) -> io::Result<()>;
}

/// The file `<destination>.passed-over.jsonl`, one stretch a line.
#[derive(Debug)]
pub struct StretchesFile {
    path: PathBuf,
}

impl StretchesFile {
    /// The file at `path`, which is created when it is first needed.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Stretches for StretchesFile {
    fn stretches(&mut self) -> io::Result<Vec<Stretch>> {
        lines::read(&self.path)
    }

    fn keep_stretches(&mut self, stretches: &[Stretch]) -> io::Result<()> {
        lines::replace(&self.path, stretches)
    }
}

/// What is decided, and what it is decided by.
#[derive(Debug, Default)]
pub(crate) struct Shedding {
    /// How hard the pressure is.
    pub(crate) level: Level,
    /// What was decided, of what may still come by.
    stretches: Vec<Stretch>,
}

impl Shedding {
    /// Where this was decided before.
    pub(crate) fn of(stretches: Vec<Stretch>) -> Self {
        Self { level: Level::Normal, stretches }
    }

    /// Whether events of low priority are passed over in `transaction`: as it was decided before, or is now.
    pub(crate) fn passes_over(
        &mut self,
        low_priority: &LowPriority,
        transaction: &Transaction<'_>,
        aside: &mut impl Stretches,
    ) -> bool {
        if self.stretches.iter().any(|stretch| stretch.holds(transaction)) {
            return true;
        }
        if self.level < low_priority.from {
            return false;
        }
        let from = transaction.commit;
        let commits = Span { from, to: from.saturating_add(low_priority.stretch.saturating_sub(1)) };
        self.stretches.push(Stretch { epoch: transaction.epoch, commits });
        let Err(error) = aside.keep_stretches(&self.stretches) else { return true };
        tracing::warn!("cannot write down that events of low priority are passed over, so none are: {error}");
        self.stretches.pop();
        // Until the pressure is judged again.
        self.level = Level::Normal;
        false
    }

    /// Forgets what is behind `progress`, which must be durable: what a death or a power cut can bring back must be decided as before.
    pub(crate) fn leave_behind(&mut self, progress: Progress) {
        self.stretches.retain(|stretch| !stretch.is_behind(progress));
    }
}

/// A run of events that were passed over and not told of yet.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) epoch: Epoch,
    node: String,
    /// From the first to the last of them; those between that are not of low priority were sent.
    pub(crate) numbers: Span,
    pub(crate) events: u64,
    pub(crate) times: Span,
    /// What is reached when the run is told of, and when the journal got the first of that.
    reached: Option<(Progress, u64)>,
}

impl Run {
    /// That of one event.
    pub(crate) fn begin(epoch: Epoch, node: &str, sequence: u64, time_ms: u64) -> Self {
        Self {
            epoch,
            node: node.to_owned(),
            numbers: Span { from: sequence, to: sequence },
            events: 1,
            times: Span { from: time_ms, to: time_ms },
            reached: None,
        }
    }

    /// Adds the next event of the same epoch.
    pub(crate) fn add(&mut self, sequence: u64, time_ms: u64) {
        self.numbers.to = sequence;
        self.events += 1;
        self.times = Span { from: self.times.from.min(time_ms), to: self.times.to.max(time_ms) };
    }

    /// Everything up to `progress` was sent or passed over.
    pub(crate) fn reach(&mut self, progress: Progress, written_ms: u64) {
        let since_ms = self.reached.map_or(written_ms, |(_, since_ms)| since_ms);
        self.reached = Some((progress, since_ms));
    }

    /// What is reached once it is told of.
    pub(crate) fn reached(&self) -> Option<(Progress, u64)> {
        self.reached
    }

    /// The word of it.
    pub(crate) fn gap(&self) -> Gap {
        let Self { epoch, events, numbers: Span { from, to }, .. } = *self;
        let detail = format!(
            "{events} user events of low priority, of the numbers {from} to {to} of epoch {epoch}, were passed over because delivery lags behind; as long as the journal keeps them, keyferry replay sends them"
        );
        let gap = Gap::new(GapReason::LowPriority, epoch, &self.node, detail);
        Gap {
            user_events: Some(events),
            admin_events: Some(0),
            first_time: Some(self.times.from),
            last_time: Some(self.times.to),
            sequences: Some(self.numbers),
            ..gap
        }
    }
}

#[cfg(test)]
mod tests {
    use keyferry_journal::event::{EventEncoder, Events, Field};

    use super::*;

    fn low(sample: u64) -> LowPriority {
        LowPriority { types: vec!["LOGIN".to_owned()], sample, ..LowPriority::default() }
    }

    fn is_low(low: &LowPriority, kind: EventKind, event_type: &str) -> bool {
        let mut events = EventEncoder::new();
        events.push(kind, 1, &[(Field::Type, event_type)], b"{}");
        low.is_low(&Events::of(events.payload()).next().unwrap().unwrap())
    }

    #[test]
    fn only_named_user_events_are_of_low_priority() {
        assert!(is_low(&low(0), EventKind::User, "LOGIN"));
        assert!(
            !is_low(&low(0), EventKind::User, "LOGIN_ERROR") && !is_low(&low(0), EventKind::Admin, "LOGIN")
        );
        assert!(!is_low(&LowPriority::default(), EventKind::User, "LOGIN"), "the default names none");
    }

    #[test]
    fn about_one_of_so_many_is_sent_all_the_same_whatever_comes_in_turns() {
        for (sample, step) in [(10, 1), (10, 2), (10, 10), (100, 1), (100, 4)] {
            let commits = (1..=100_000_u64).map(|number| number * step);
            let sent = commits.filter(|commit| low(sample).is_sample(*commit, 0)).count();
            let expected = 100_000 / sample as usize;
            assert!(
                (expected * 8 / 10..=expected * 12 / 10).contains(&sent),
                "{sent} of 1 in {sample}, step {step}"
            );
        }
        assert!((1..1_000).all(|commit| low(1).is_sample(commit, 3)), "1 of 1 is all");
        assert!(!(1..1_000).any(|commit| low(0).is_sample(commit, 3)), "0 is none");
    }

    #[test]
    fn what_is_decided_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = StretchesFile::new(directory.path().join("default.passed-over.jsonl"));
        assert_eq!(file.stretches().unwrap(), []);
        let stretches = [(1, 10), (11, 20)]
            .map(|(from, to)| Stretch { epoch: Epoch(0x1234_5678_0000), commits: Span { from, to } });
        file.keep_stretches(&stretches).unwrap();
        assert_eq!(file.stretches().unwrap(), stretches);
    }
}
