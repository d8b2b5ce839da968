//! How the pipeline gives up the oldest events, and how it tells of them.
//!
//! The invariant: **the steps come in an order that a death between any two of them does no harm to**: the sink is reset, what is given up is
//! counted and written down durably, the checkpoint passes it durably, segments are deleted, the gap record is sent.

use keyferry_event::{Failure, Sink};
use keyferry_journal::{Place, Resume, SegmentName, Storage};

use crate::aside::Aside;
use crate::ceiling::{GivenUp, Losses};
use crate::in_flight::Progress;
use crate::pipeline::{Clock, Error, Pipeline};
use crate::retention::Position;
use crate::sender::{Outbox, Sender, Sent};

/// How old the sizes of the segments may be, in milliseconds.
const SIZES_AGE_MS: u64 = 200;

/// Gap records of what the journal does not hold, until they are acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    given_up: Vec<GivenUp>,
    /// How many of their records were sent.
    sent: usize,
    /// The token after the last of their records, once all were sent.
    until: Option<keyferry_event::Token>,
}

impl Owed {
    pub(crate) fn new(given_up: Vec<GivenUp>) -> Self {
        Self { given_up, ..Self::default() }
    }

    /// Nothing of it counts as sent any more.
    pub(crate) fn send_again(&mut self) {
        (self.sent, self.until) = (0, None);
    }

    /// Whether all records were sent.
    pub(crate) fn is_sent(&self) -> bool {
        self.given_up.is_empty() || self.until.is_some()
    }

    /// Sends the records that were not sent yet.
    pub(crate) fn send<K: Sink, A: Aside>(&mut self, sender: &mut Sender<K, A>, clock: Clock) -> Sent {
        if self.is_sent() {
            return Sent::All;
        }
        let topics = sender.settings.topics.clone();
        let wanted = self.given_up.iter().filter(|_| sender.settings.gap_records);
        let records =
            wanted.flat_map(|one| one.records(&topics).map(move |(number, topic)| (one, number, topic)));
        let records: Vec<_> = records.skip(self.sent).collect();
        for (given_up, sequence, topic) in records {
            match sender.send_given_up(given_up, sequence, topic, clock) {
                Sent::All => self.sent += 1,
                otherwise => return otherwise,
            }
        }
        self.until = Some(sender.outbox.in_flight.next_token());
        Sent::All
    }

    /// Forgets what is acknowledged, once its numbers stand in a position as well: if the checkpoint is damaged, nothing else tells that they were used. A
    /// line that stays behind in the file is sent once more, as a copy.
    pub(crate) fn forget_if_settled<K: Sink, A: Aside>(
        &mut self,
        outbox: &mut Outbox<K, A>,
        noted: Option<Progress>,
    ) {
        let is_noted = |one: &GivenUp| noted.is_some_and(|noted| !noted.is_before(&one.then.progress));
        if !self.until.is_some_and(|until| outbox.in_flight.is_settled_below(until))
            || !self.given_up.iter().all(is_noted)
        {
            return;
        }
        *self = Self::default();
        if let Err(error) = outbox.aside.keep_given_up(&[]) {
            tracing::warn!("cannot note that a gap record is acknowledged, it will be sent again: {error}");
        }
    }

    fn push<A: Aside>(&mut self, new: Vec<GivenUp>, aside: &mut A) -> std::io::Result<()> {
        let before = self.given_up.len();
        self.given_up.extend(new);
        aside.keep_given_up(&self.given_up).inspect_err(|_| self.given_up.truncate(before))
    }
}

impl<S: Storage, K: Sink, A: Aside> Pipeline<S, K, A> {
    /// Gives up the oldest events if the journal has become too large: what was delivered first.
    pub(crate) fn stay_below_ceiling(&mut self, clock: Clock) -> Result<(), Error> {
        let Some(limit) = self.sender.settings.ceiling.and_then(|ceiling| ceiling.gives_up_beyond()) else {
            return Ok(());
        };
        self.feed.list_if_older(clock.monotonic_ms, SIZES_AGE_MS)?;
        if self.journal_bytes() <= limit {
            return Ok(());
        }
        self.let_go_of_all(clock);
        let Some(target) = self.first_to_stay(limit) else { return Ok(()) };
        match self.settled {
            // Once it is noted that they are not needed, segments are there for the sake of other destinations.
            Some(settled)
                if self.needed == Some(settled.resume.segment()) && settled.resume.segment() >= target =>
            {
                Ok(())
            }
            Some(settled) if settled.resume.segment() >= target => self.write_checkpoint(settled, clock),
            _ => {
                // Another destination may have deleted enough since it was listed.
                self.feed.list_if_older(clock.monotonic_ms, 0)?;
                match self.first_to_stay(limit) {
                    Some(target) if self.journal_bytes() > limit => self.give_up_before(target, clock),
                    _ => Ok(()),
                }
            }
        }
    }

    /// What was delivered is kept no longer.
    fn let_go_of_all(&mut self, clock: Clock) {
        if let Some(needed) = self.kept.release_all() {
            self.let_go_before(needed);
            self.remove(clock);
        }
    }

    fn journal_bytes(&self) -> u64 {
        self.feed.segments().iter().map(|segment| segment.length).sum()
    }

    /// The first segment that may stay; `None` if all may. The newest always stays.
    fn first_to_stay(&self, limit: u64) -> Option<SegmentName> {
        let mut rest = self.journal_bytes();
        let (newest, older) = self.feed.segments().split_last()?;
        for segment in older {
            if rest <= limit {
                return Some(segment.name);
            }
            rest -= segment.length;
        }
        (!older.is_empty()).then_some(newest.name)
    }

    /// Gives up everything that lies before `target` and is not settled.
    fn give_up_before(&mut self, target: SegmentName, clock: Clock) -> Result<(), Error> {
        if self.is_broken {
            // Until the sink is reset, its records may still arrive.
            return Ok(());
        }
        if let Err(failure) = self.sender.outbox.sink.reset() {
            return self.begin_anew(&failure, clock);
        }
        self.go_back()?;
        let (mut losses, resume, open) = self.count_losses(target, clock)?;
        losses.written_by(target.epoch, self.feed.node());
        let next_sequence = match self.settled {
            Some(settled) if settled.resume.epoch == resume.epoch => settled.next_sequence,
            _ => 1,
        };
        let then = Position { progress: Progress { resume, next_sequence }, reached_ms: clock.wall_ms };
        let (user_events, admin_events) = losses.counts();
        let topics = self.sender.settings.topics.clone();
        let (given_up, then) = losses.describe(self.settled, then, open, &topics);
        for one in &given_up {
            tracing::error!("{}", one.gap.detail);
        }
        if let Err(error) = self.owed.push(given_up, &mut self.sender.outbox.aside) {
            let reason = format!("cannot write down which events are given up, so none are: {error}");
            return self.begin_anew(&Failure::transient(reason), clock);
        }
        self.sender.report.dropped_old_user_events += user_events;
        self.sender.report.dropped_old_admin_events += admin_events;
        self.settled = Some(then.progress);
        self.needed = None;
        self.oldest_taken_back_ms = None;
        self.go_back()?;
        self.write_checkpoint(then.progress, clock)?;
        self.let_go_of_all(clock);
        Ok(())
    }

    /// Reads on to `target`; answers with what lies before it, where delivery goes on, and how many transactions are open there that have begun
    /// before.
    fn count_losses(&mut self, target: SegmentName, clock: Clock) -> Result<(Losses, Resume, usize), Error> {
        let mut losses = Losses::default();
        loop {
            let resume = self.feed.resume_point();
            // In the midst of those in doubt reading begins at the first, which may have to go: all of them are given up then.
            let there = resume.filter(|resume| {
                resume.in_doubt.is_none()
                    && SegmentName { epoch: resume.epoch, number: resume.head.segment } >= target
            });
            if let Some(resume) = there {
                let beginning = Place { segment: target.number, offset: 0 };
                let cut = resume.epoch == target.epoch && resume.from < beginning;
                if !cut {
                    return Ok((losses, resume, 0));
                }
                // Reading would begin with an open transaction. What was settled before is not read again, so there may be more of them.
                losses.unknown(target.epoch);
                let open = self.feed.open_transactions().max(1);
                return Ok((losses, Resume { from: beginning, ..resume }, open));
            }
            match self.feed.next(clock.monotonic_ms)? {
                Some(item) => losses.add(&item)?,
                None => {
                    losses.unknown(target.epoch);
                    return Ok((losses, Resume::beginning(target), self.feed.open_transactions()));
                }
            }
        }
    }
}
