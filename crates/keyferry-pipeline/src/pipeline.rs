//! The state machine between journal and sink.

use std::sync::Arc;
use std::time::Duration;

use keyferry_event::{Content, HeaderMode, Sink, Topics};
use keyferry_journal::feed::ByteRange;
use keyferry_journal::{CheckpointFile, Feed, Item, SegmentName, Storage};

use crate::aside::Aside;
use crate::backpressure::{self, BackpressureMonitor};
use crate::breaker::{self, BreakerState, CircuitBreaker, Permit};
use crate::ceiling::Ceiling;
use crate::controls::Controls;
use crate::gap::{PendingGap, notice};
use crate::giving_up::Owed;
use crate::in_flight::{Credit, Progress};
use crate::ledger::{Removal, Share};
use crate::meter::Meter;
use crate::retention::{Kept, Position, Retention};
use crate::schemas::{SchemaSource, Schemas};
use crate::sender::{Sender, Sent};
use crate::settling::Settling;
use crate::shedding::LowPriority;
use crate::start::Start;

/// A reading of the clock, taken by whoever drives the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds that only ever go forward: for intervals.
    pub monotonic_ms: u64,
    /// Milliseconds since the Unix epoch: for ages of what the journal has dated.
    pub wall_ms: u64,
}

/// Saturates after 584 million years.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What is done with the events of a transaction whose outcome Keycloak died before writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InDoubt {
    /// They are published with the outcome `unknown`.
    #[default]
    Publish,
    /// They are not published, and counted.
    Drop,
    /// They are laid aside until an operator decides.
    Hold,
}

/// How the pipeline works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the events go.
    pub topics: Topics,
    /// Which of them do, and what becomes of those.
    pub content: Content,
    /// Which headers they carry.
    pub headers: HeaderMode,
    /// What becomes of events in doubt.
    pub in_doubt: InDoubt,
    /// The topic for records that can never be delivered; `None` is the dead-letter file.
    pub dead_letter_topic: Option<String>,
    /// Whether a consumer is told of missing events, by gap records among the others.
    pub gap_records: bool,
    /// How old events must be before they are published, by the time at which their outcome was journaled.
    pub settle_delay: Duration,
    /// How large the journal may become; `None` is no ceiling.
    pub ceiling: Option<Ceiling>,
    /// How long delivered segments are kept.
    pub retention: Retention,
    /// What may be in flight at once.
    pub credit: Credit,
    /// For how long nothing may be acknowledged, although there is something to acknowledge, before the destination counts as failing. Nothing is
    /// given up then: it is told.
    pub delivery_timeout: Duration,
    /// When sending is interrupted, and for how long.
    pub breaker: breaker::Settings,
    /// When a lag counts as how serious.
    pub backpressure: backpressure::Settings,
    /// What is not sent while the lag is serious. Needs `gap_records`, which tell of it.
    pub low_priority: LowPriority,
    /// What others may ask of the pipeline while it runs.
    pub controls: Arc<Controls>,
    /// Where it is counted what passes. Of one pipeline only.
    pub meter: Arc<Meter>,
    /// Who knows the ids of schemas, for formats that have one.
    pub schemas: Arc<dyn SchemaSource>,
    /// Seeds the jitter of the pauses.
    pub seed: u64,
}

/// What the pipeline waits for after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When to take the next turn at the latest, in monotonic milliseconds; now or earlier means at once.
    pub wake_at_ms: Option<u64>,
    /// Whether news in the journal are a reason to take the next turn. They are none while nothing more can be sent.
    pub journal: bool,
    /// Whether this turn found anything new in the journal.
    pub found: bool,
    /// The segment being read.
    pub segment: Option<SegmentName>,
}

impl Turn {
    /// Whether this turn, taken at `clock`, found something in the journal, and everything that it held.
    pub(crate) fn has_found_all(&self, clock: Clock) -> bool {
        self.found && self.journal && self.wake_at_ms.is_none_or(|at_ms| at_ms > clock.monotonic_ms)
    }
}

/// The pipeline cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal cannot be read, or must not be read on.
    #[error(transparent)]
    Journal(#[from] keyferry_journal::Error),
    /// A file beside the checkpoint cannot be read or written.
    #[error(
        "cannot {what} beside the checkpoint: {source}; check that the agent runs as the owner of the journal directory and that its disk has space"
    )]
    Aside {
        /// What was attempted.
        what: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// Progress is written down at most this often: what is between two checkpoints is sent again after a crash.
const CHECKPOINT_INTERVAL_MS: u64 = 100;

/// How many transactions are sent between two looks at the outcomes.
const TRANSACTIONS_A_TURN: usize = 512;

/// Moves committed events from a journal to a sink.
pub struct Pipeline<S: Storage, K: Sink, A: Aside> {
    pub(crate) feed: Feed<S>,
    pub(crate) sender: Sender<K, A>,
    pub(crate) breaker: CircuitBreaker,
    pub(crate) settling: Settling,
    pub(crate) schemas: Schemas,
    /// Whether the sink must be reset before anything is sent.
    pub(crate) is_broken: bool,
    pub(crate) backpressure: BackpressureMonitor,
    checkpoint: CheckpointFile,
    /// How far everything is settled; `None` while that is nothing.
    pub(crate) settled: Option<Progress>,
    /// The oldest segment that was needed when that was last made durable.
    pub(crate) needed: Option<SegmentName>,
    /// What is delivered and still there.
    pub(crate) kept: Kept,
    /// What of the segments is this destination's to release.
    share: Share,
    removal: Removal,
    /// The gap record that the feed has passed and the sink has not taken.
    pub(crate) pending: Option<PendingGap>,
    /// Gap records of what the journal does not hold any more.
    pub(crate) owed: Owed,
    /// The damage before what is settled that was told of last.
    pub(crate) told: Option<ByteRange>,
    /// When progress was last written down; `unsaved` says whether there is more since.
    saved_at_ms: u64,
    pub(crate) unsaved: bool,
    pub(crate) caught_up: bool,
    /// Whether this turn has found anything new in the journal.
    found: bool,
    /// Whether it has been told that the destination is failing.
    pub(crate) failing: bool,
    /// The state of the breaker that was told of last.
    pub(crate) told_breaker: BreakerState,
    /// When the journal got the oldest event that was taken back, in milliseconds since the Unix epoch.
    pub(crate) oldest_taken_back_ms: Option<u64>,
}

impl<S: Storage, K: Sink, A: Aside> Pipeline<S, K, A> {
    /// A pipeline that goes on at `start`, which is where `feed` was opened.
    pub fn new(feed: Feed<S>, start: Start, sink: K, aside: A, settings: Settings) -> Self {
        let breaker = CircuitBreaker::new(settings.breaker.clone(), settings.seed);
        let backpressure = BackpressureMonitor::new(settings.backpressure);
        let settling = Settling::new(settings.settle_delay);
        let schemas = Schemas::of(Arc::clone(&settings.schemas));
        let Start { checkpoint, settled, positions, given_up, passed_over } = start;
        Self {
            feed,
            sender: Sender::new(sink, aside, settings, settled).passing_over(passed_over),
            breaker,
            settling,
            schemas,
            is_broken: false,
            backpressure,
            checkpoint,
            settled,
            // That it was read does not mean that it would survive a power cut: the agent before may have died of a failed sync.
            needed: None,
            kept: Kept::new(positions),
            share: Share::whole(),
            removal: Removal::default(),
            pending: None,
            owed: Owed::new(given_up),
            told: None,
            saved_at_ms: 0,
            unsaved: false,
            caught_up: false,
            found: false,
            failing: false,
            told_breaker: BreakerState::Closed,
            oldest_taken_back_ms: None,
        }
    }

    /// The same, where other destinations read the slot as well.
    #[must_use]
    pub fn sharing(self, share: Share) -> Self {
        share.begin();
        Self { share, ..self }
    }

    /// Does what can be done now, without waiting.
    ///
    /// # Errors
    /// The journal cannot be read on.
    pub fn turn(&mut self, clock: Clock) -> Result<Turn, Error> {
        self.settling.observe(clock);
        self.heed_controls(clock);
        self.heed_schemas();
        self.collect(clock)?;
        self.recover(clock);
        self.stay_below_ceiling(clock)?;
        let sent_all = self.dispatch(clock)?;
        self.tell_of_old_damage();
        self.save(clock)?;
        self.release(clock);
        self.tell_if_failing(clock);
        self.tell_of_breaker();
        Ok(self.what_next(clock, sent_all))
    }

    /// Takes in what the sink reports, and nothing else.
    ///
    /// # Errors
    /// Those of [`Pipeline::turn`].
    pub(crate) fn take_in(&mut self, clock: Clock) -> Result<(), Error> {
        self.collect(clock)?;
        self.save(clock)
    }

    /// Whether everything that the journal held at the last turn is settled.
    pub fn is_drained(&self) -> bool {
        self.caught_up && self.is_settled()
    }

    /// Whether everything is settled that is old enough to be published, and nothing but the settle delay keeps the rest in the journal.
    pub fn awaits_settling(&self) -> bool {
        self.settling.is_waiting() && self.is_settled()
    }

    fn is_settled(&self) -> bool {
        !self.has_under_way() && self.sender.has_told_all()
    }

    /// For how many milliseconds nothing has been settled although there was something to settle.
    pub fn stalled_ms(&self, clock: Clock) -> u64 {
        if self.is_drained() || self.awaits_settling() {
            0
        } else {
            clock.monotonic_ms.saturating_sub(self.sender.outbox.settled_at_ms)
        }
    }

    /// Writes the progress down, whatever the interval.
    ///
    /// # Errors
    /// The checkpoint cannot be written.
    pub fn checkpoint(&mut self, clock: Clock) -> Result<(), Error> {
        match self.settled {
            Some(settled) if self.unsaved => self.write_checkpoint(settled, clock),
            _ => Ok(()),
        }
    }

    /// For how many milliseconds the journal is left alone after a look that has found all there was.
    pub(crate) fn rest_ms(&self) -> u64 {
        self.sender.settings.controls.rest_ms()
    }

    /// Whether something was sent that is not settled yet.
    pub(crate) fn has_under_way(&self) -> bool {
        !self.sender.outbox.in_flight.is_empty()
    }

    /// The sink.
    pub fn sink(&self) -> &K {
        &self.sender.outbox.sink
    }

    /// Sends what may be sent, and tells of what is passed over meanwhile; answers whether that was all there is.
    fn dispatch(&mut self, clock: Clock) -> Result<bool, Error> {
        let sent_all = self.send_what_may_be_sent(clock);
        self.sender.tell_observed();
        let sent_all = sent_all?;
        if !self.sender.outbox.in_flight.is_empty() {
            self.breaker.sent(clock.monotonic_ms);
        }
        if self.permit(clock) == Permit::Nothing {
            return Ok(sent_all);
        }
        match self.sender.tell_of_passed_over(clock) {
            Sent::Unregistered(topic) => {
                self.get_schema_id(&topic, clock);
                Ok(false)
            }
            Sent::Failed(failure) => {
                self.begin_anew(&failure, clock)?;
                Ok(false)
            }
            Sent::Full => Ok(false),
            Sent::All | Sent::Instead(_) => Ok(sent_all),
        }
    }

    /// Sends what may be sent; answers whether that was all there is.
    fn send_what_may_be_sent(&mut self, clock: Clock) -> Result<bool, Error> {
        self.found = false;
        if self.permit(clock) == Permit::Nothing {
            self.lose_sight(clock);
        }
        for _ in 0..TRANSACTIONS_A_TURN {
            if !self.may_send(clock) || self.schemas.waits(clock) {
                return Ok(false);
            }
            if !self.send_gaps(clock)? {
                return Ok(false);
            }
            if self.settling.is_waiting_at(clock) {
                return Ok(false);
            }
            let before = self.feed.resume_point();
            // Looked at where it is: a transaction is large to be moved.
            match self.feed.next(clock.monotonic_ms) {
                Err(error) => return Err(error.into()),
                Ok(None) => {
                    self.caught_up = true;
                    if let Some(resume) = self.feed.resume_point() {
                        self.sender.pass(resume, clock);
                    }
                    return Ok(true);
                }
                Ok(Some(Item::Transaction(ref transaction))) => {
                    (self.caught_up, self.found) = (false, true);
                    if self.settling.holds_back(transaction, clock) {
                        self.feed.seek(before.as_ref())?;
                        return Ok(false);
                    }
                    match self.sender.send(transaction, clock)? {
                        Sent::All => {}
                        Sent::Full => {
                            self.feed.seek(before.as_ref())?;
                            return Ok(false);
                        }
                        Sent::Unregistered(topic) => {
                            self.feed.seek(before.as_ref())?;
                            if !self.get_schema_id(&topic, clock) {
                                return Ok(false);
                            }
                        }
                        Sent::Failed(failure) => {
                            self.begin_anew(&failure, clock)?;
                            return Ok(false);
                        }
                        Sent::Instead(pending) => self.pending = Some(*pending),
                    }
                }
                Ok(Some(ref item)) => {
                    (self.caught_up, self.found) = (false, true);
                    if let Some(mut gap) = notice(item, &mut self.sender.report) {
                        self.feed.node().clone_into(&mut gap.node);
                        let (time_ms, resume) = (self.feed.created_ms(), self.feed.resume_point());
                        self.pending = Some(PendingGap { gap, time_ms, resume });
                    }
                }
            }
        }
        Ok(false)
    }

    /// Sends the gap records that come before whatever the feed has next; answers whether all of them are sent.
    fn send_gaps(&mut self, clock: Clock) -> Result<bool, Error> {
        if self.pending.is_none() && self.owed.is_sent() {
            return Ok(true);
        }
        let mut sent = self.owed.send(&mut self.sender, clock);
        if let (Sent::All, Some(pending)) = (&sent, &self.pending) {
            sent = self.sender.send_gap(pending, clock);
            if let Sent::All = sent {
                self.pending = None;
            }
        }
        match sent {
            Sent::All => Ok(true),
            Sent::Failed(failure) => {
                self.begin_anew(&failure, clock)?;
                Ok(false)
            }
            Sent::Unregistered(topic) => {
                self.get_schema_id(&topic, clock);
                Ok(false)
            }
            Sent::Full | Sent::Instead(_) => Ok(false),
        }
    }

    fn save(&mut self, clock: Clock) -> Result<(), Error> {
        if let Some(progress) = self.sender.outbox.in_flight.take_progress() {
            self.reach(progress);
        }
        match self.settled {
            Some(settled)
                if self.unsaved && clock.monotonic_ms >= self.saved_at_ms + CHECKPOINT_INTERVAL_MS =>
            {
                self.write_checkpoint(settled, clock)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn write_checkpoint(&mut self, settled: Progress, clock: Clock) -> Result<(), Error> {
        let Progress { resume, next_sequence } = settled;
        if self.needed == Some(resume.segment()) {
            self.checkpoint.write(self.feed.storage(), Some(resume), next_sequence)?;
        } else {
            // Segments may only go once the checkpoint that is beyond them would survive a power cut.
            self.checkpoint.write_durable(self.feed.storage(), Some(resume), next_sequence)?;
            self.needed = Some(resume.segment());
            self.sender.shedding.leave_behind(settled);
            self.note_border(Position { progress: settled, reached_ms: clock.wall_ms });
        }
        self.saved_at_ms = clock.monotonic_ms;
        self.unsaved = false;
        Ok(())
    }

    /// Writes a border down. Where that fails the next one will do: a position is what the numbers of a replay are counted from, and of a delivery
    /// whose checkpoint is damaged.
    fn note_border(&mut self, position: Position) {
        self.kept.reach(position);
        match self.sender.outbox.aside.keep_positions(self.kept.positions()) {
            Ok(()) => self.kept.note(),
            Err(error) => tracing::warn!("cannot write down the position of {}: {error}", position.segment()),
        }
    }

    /// Removes the delivered segments that need not be kept any longer.
    fn release(&mut self, clock: Clock) {
        if let Some(delivered) = self.kept.take_delivered() {
            self.share.deliver(delivered);
        }
        let settings = &self.sender.settings;
        let retention = settings.controls.retention(settings.retention);
        if let Some(needed) = self.kept.release(&retention, self.feed.segments(), clock.wall_ms) {
            self.let_go_before(needed);
        }
        self.remove(clock);
    }

    /// This destination needs nothing before `needed` any more.
    pub(crate) fn let_go_before(&mut self, needed: SegmentName) {
        if let Some(needed) = self.share.release(needed) {
            self.kept.forget_before(needed);
            self.removal.request(needed);
        }
    }

    /// Deletes what no destination needs. Where that fails, delivery goes on.
    pub(crate) fn remove(&mut self, clock: Clock) {
        let Some(needed) = self.removal.due(clock.monotonic_ms) else { return };
        match self.feed.remove_delivered(needed) {
            Ok(_) => self.removal.succeeded(),
            Err(error) => {
                if self.removal.failed(clock.monotonic_ms) {
                    tracing::error!(
                        "{error}; delivery goes on, and the removal of delivered segments is tried again"
                    );
                }
            }
        }
    }

    fn what_next(&self, clock: Clock, sent_all: bool) -> Turn {
        let can_send = self.may_send(clock) && !self.sender.outbox.sink_is_full;
        let old_enough = self.settling.waits_until_ms().filter(|_| can_send);
        let schema = self.schemas.waits_until_ms().filter(|_| can_send);
        let can_send = can_send && !self.settling.is_waiting_at(clock) && !self.schemas.is_waiting_at(clock);
        let at_once = (can_send && !sent_all).then_some(clock.monotonic_ms);
        let checkpoint = self.unsaved.then_some(self.saved_at_ms + CHECKPOINT_INTERVAL_MS);
        let breaker = self.breaker.wake_at_ms(clock.monotonic_ms);
        let wake_at_ms = [at_once, old_enough, schema, checkpoint, breaker].into_iter().flatten().min();
        Turn { wake_at_ms, journal: can_send, found: self.found, segment: self.feed.segment() }
    }
}
