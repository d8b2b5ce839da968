//! The state machine between journal and sink.

use std::collections::BTreeMap;
use std::time::Duration;

use keyferry_event::{
    Encoder, Envelope, Failure, FailureClass, HeaderMode, Record, SendError, Sink, Token, Topics,
};
use keyferry_journal::{
    CheckpointFile, Epoch, Feed, Item, Outcome, Resume, SegmentName, Storage, Transaction,
};

use crate::backoff::Backoff;
use crate::dead_letter::DeadLetters;
use crate::in_flight::{Credit, InFlight, Progress, RecordId};
use crate::report::{Report, State};

/// A reading of the clock, taken by whoever drives the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds that only ever go forward: for intervals.
    pub monotonic_ms: u64,
    /// Milliseconds since the Unix epoch: for ages of what the journal has dated.
    pub wall_ms: u64,
}

/// What is done with the events of a transaction whose outcome Keycloak died before writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InDoubt {
    /// They are published with the outcome `unknown`.
    #[default]
    Publish,
    /// They are not published, and counted.
    Drop,
}

/// How the pipeline works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the events go.
    pub topics: Topics,
    /// Which headers they carry.
    pub headers: HeaderMode,
    /// What becomes of events in doubt.
    pub in_doubt: InDoubt,
    /// What may be in flight at once.
    pub credit: Credit,
    /// For how long nothing may be acknowledged, although there is something to acknowledge, before the destination counts as failing. Nothing is
    /// given up then: it is told.
    pub delivery_timeout: Duration,
    /// Seeds the jitter of the backoff.
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

/// The pipeline cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal cannot be read, or must not be read on.
    #[error(transparent)]
    Journal(#[from] keyferry_journal::Error),
}

/// Progress is written down at most this often: what is between two checkpoints is sent again after a crash.
const CHECKPOINT_INTERVAL_MS: u64 = 100;

/// How many transactions are sent between two looks at the outcomes.
const TRANSACTIONS_A_TURN: usize = 512;

/// A destination that has settled nothing for so long, with records in flight, counts as blocked.
const BLOCKED_AFTER_MS: u64 = 2_000;

/// A sink that has settled nothing for so long, with records in flight, is asked whether it has lost its destination.
const LOST_AFTER_MS: u64 = 1_000;

/// Pauses between resets of a failing sink.
const RESET_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

/// Moves committed events from a journal to a sink.
pub struct Pipeline<S: Storage, K: Sink, D: DeadLetters> {
    feed: Feed<S>,
    sender: Sender<K, D>,
    flow: Flow,
    backoff: Backoff,
    checkpoint: CheckpointFile,
    /// How far everything is settled; `None` while that is nothing.
    settled: Option<Progress>,
    /// The oldest segment that was needed when segments were last removed.
    needed: Option<SegmentName>,
    /// When progress was last written down; `unsaved` says whether there is more since.
    saved_at_ms: u64,
    unsaved: bool,
    caught_up: bool,
    /// Whether this turn has found anything new in the journal.
    found: bool,
    /// Whether it has been told that the destination is failing.
    failing: bool,
}

/// Whether records may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// The sink was reset and is given time.
    Paused {
        until_ms: u64,
    },
    /// The sink must be reset before anything is sent.
    Broken {
        until_ms: u64,
    },
}

impl<S: Storage, K: Sink, D: DeadLetters> Pipeline<S, K, D> {
    /// A pipeline that goes on after `settled`, which is where `feed` was opened, and writes its progress to `checkpoint`.
    pub fn new(
        feed: Feed<S>,
        checkpoint: CheckpointFile,
        settled: Option<Progress>,
        sink: K,
        dead_letters: D,
        settings: Settings,
    ) -> Self {
        let backoff = Backoff::new(RESET_BACKOFF.0, RESET_BACKOFF.1, settings.seed);
        Self {
            feed,
            sender: Sender::new(sink, dead_letters, settings, settled),
            flow: Flow::Open,
            backoff,
            checkpoint,
            settled,
            needed: settled.map(|progress| progress.resume.segment()),
            saved_at_ms: 0,
            unsaved: false,
            caught_up: false,
            found: false,
            failing: false,
        }
    }

    /// Does what can be done now, without waiting.
    ///
    /// # Errors
    /// The journal cannot be read on.
    pub fn turn(&mut self, clock: Clock) -> Result<Turn, Error> {
        self.collect(clock)?;
        self.recover(clock);
        let sent_all = self.dispatch(clock)?;
        self.save(clock)?;
        self.tell_if_failing(clock);
        Ok(self.what_next(clock, sent_all))
    }

    /// Whether everything that the journal held at the last turn is settled.
    pub fn is_drained(&self) -> bool {
        self.caught_up && self.sender.in_flight.is_empty()
    }

    /// For how many milliseconds nothing has been settled although there was something to settle.
    pub fn stalled_ms(&self, clock: Clock) -> u64 {
        if self.is_drained() { 0 } else { clock.monotonic_ms.saturating_sub(self.sender.settled_at_ms) }
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

    /// The sink.
    pub fn sink(&self) -> &K {
        &self.sender.sink
    }

    /// What there is to tell.
    pub fn report(&mut self, clock: Clock) -> Report {
        let mut report = self.sender.report.clone();
        // A backlog that cannot be measured is reported as before; the next turn meets the same fault and names it.
        let settled = self.settled.map(|progress| progress.resume);
        report.backlog_bytes =
            self.feed.backlog(settled.as_ref(), clock.monotonic_ms).unwrap_or(report.backlog_bytes);
        report.oldest_unacknowledged_ms = self.sender.in_flight.oldest_written_ms();
        let open = self.flow == Flow::Open;
        (report.state, report.reason) = if open && self.is_drained() {
            (State::Idle, None)
        } else if !open || !self.sender.in_flight.is_empty() && self.stalled_ms(clock) >= BLOCKED_AFTER_MS {
            (State::Blocked, Some(self.why_blocked(clock)))
        } else {
            (State::Delivering, None)
        };
        report
    }

    fn why_blocked(&self, clock: Clock) -> String {
        let nothing = || format!("nothing has been acknowledged for {} s", self.stalled_ms(clock) / 1_000);
        self.sender.complaint().unwrap_or_else(nothing)
    }

    /// Says once that the destination is failing, and once that it is not any more.
    fn tell_if_failing(&mut self, clock: Clock) {
        let timeout = self.sender.settings.delivery_timeout;
        let failing = u128::from(self.stalled_ms(clock)) >= timeout.as_millis();
        match (self.failing, failing) {
            (false, true) => tracing::error!(
                "nothing has been acknowledged for {timeout:?}: {}; the journal keeps the events",
                self.sender.complaint().unwrap_or_else(|| "the cause is not known".to_owned())
            ),
            (true, false) => tracing::info!("delivery goes on"),
            _ => {}
        }
        self.failing = failing;
    }

    /// Takes in the outcomes.
    fn collect(&mut self, clock: Clock) -> Result<(), Error> {
        let failure = self.sender.collect(clock);
        if let Some(progress) = self.sender.in_flight.take_progress() {
            self.reach(progress);
        }
        let lost = || (self.stalled_ms(clock) >= LOST_AFTER_MS).then(|| self.sender.sink.lost()).flatten();
        if let Some(failure) = failure.or_else(lost) {
            self.begin_anew(&failure, clock)?;
        }
        Ok(())
    }

    fn reach(&mut self, progress: Progress) {
        if self.settled == Some(progress) {
            return;
        }
        assert!(
            self.settled.is_none_or(|settled| !progress.is_before(&settled)),
            "progress goes backwards: {:?} to {progress:?}",
            self.settled
        );
        self.settled = Some(progress);
        self.unsaved = true;
        self.backoff.reset();
        self.sender.forget_condemned(progress);
    }

    /// Takes back everything that is not settled and sends it again, in order, after a pause.
    fn begin_anew(&mut self, failure: &Failure, clock: Clock) -> Result<(), Error> {
        let delay = match failure.class {
            FailureClass::Retriable => self.backoff.next_delay(),
            FailureClass::Poison => Duration::ZERO,
        };
        let until_ms = clock.monotonic_ms + delay.as_millis() as u64;
        self.sender.note_failure(failure);
        self.sender.rewind(self.settled);
        self.feed.seek(self.settled.map(|progress| progress.resume).as_ref())?;
        self.caught_up = false;
        self.reset_sink(until_ms);
        Ok(())
    }

    fn reset_sink(&mut self, until_ms: u64) {
        self.flow = match self.sender.sink.reset() {
            Ok(()) => Flow::Paused { until_ms },
            Err(failure) => {
                self.sender.note_failure(&failure);
                Flow::Broken { until_ms }
            }
        };
    }

    fn recover(&mut self, clock: Clock) {
        match self.flow {
            Flow::Paused { until_ms } if until_ms <= clock.monotonic_ms => self.flow = Flow::Open,
            Flow::Broken { until_ms } if until_ms <= clock.monotonic_ms => {
                let delay = self.backoff.next_delay().as_millis() as u64;
                self.reset_sink(clock.monotonic_ms + delay);
            }
            _ => {}
        }
    }

    /// Sends what may be sent; answers whether that was all there is.
    fn dispatch(&mut self, clock: Clock) -> Result<bool, Error> {
        self.found = false;
        for _ in 0..TRANSACTIONS_A_TURN {
            if self.flow != Flow::Open || !self.sender.in_flight.has_credit() {
                return Ok(false);
            }
            let before = self.feed.resume_point();
            let Some(item) = self.feed.next(clock.monotonic_ms)? else {
                self.caught_up = true;
                if let Some(resume) = self.feed.resume_point() {
                    self.sender.pass(resume, clock);
                }
                return Ok(true);
            };
            (self.caught_up, self.found) = (false, true);
            match item {
                Item::Transaction(transaction) => match self.sender.send(&transaction, clock)? {
                    Sent::All => {}
                    Sent::Full => {
                        self.feed.seek(before.as_ref())?;
                        return Ok(false);
                    }
                    Sent::Failed(failure) => {
                        self.begin_anew(&failure, clock)?;
                        return Ok(false);
                    }
                },
                notice => self.sender.notice(&notice),
            }
        }
        Ok(false)
    }

    fn save(&mut self, clock: Clock) -> Result<(), Error> {
        if let Some(progress) = self.sender.in_flight.take_progress() {
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

    fn write_checkpoint(&mut self, settled: Progress, clock: Clock) -> Result<(), Error> {
        let needed = settled.resume.segment();
        if self.needed == Some(needed) {
            self.checkpoint.write(self.feed.storage(), Some(settled.resume), settled.next_sequence)?;
        } else {
            // Segments may only go once the checkpoint that is beyond them would survive a power cut.
            self.checkpoint.write_durable(
                self.feed.storage(),
                Some(settled.resume),
                settled.next_sequence,
            )?;
            self.feed.remove_delivered(&settled.resume)?;
            self.needed = Some(needed);
        }
        self.saved_at_ms = clock.monotonic_ms;
        self.unsaved = false;
        Ok(())
    }

    fn what_next(&self, clock: Clock, sent_all: bool) -> Turn {
        let can_send =
            self.flow == Flow::Open && self.sender.in_flight.has_credit() && !self.sender.sink_is_full;
        let at_once = (can_send && !sent_all).then_some(clock.monotonic_ms);
        let checkpoint = self.unsaved.then_some(self.saved_at_ms + CHECKPOINT_INTERVAL_MS);
        let flow = match self.flow {
            Flow::Open => None,
            Flow::Paused { until_ms } | Flow::Broken { until_ms } => Some(until_ms),
        };
        let wake_at_ms = [at_once, checkpoint, flow].into_iter().flatten().min();
        Turn { wake_at_ms, journal: can_send, found: self.found, segment: self.feed.segment() }
    }
}

/// How much of a transaction was sent.
enum Sent {
    All,
    /// The sink takes no more; what was sent is remembered, and the transaction is offered again.
    Full,
    Failed(Failure),
}

/// A record that was refused for good.
struct Condemned {
    cause: String,
    /// Whether it lies in the dead-letter file already: a reset makes it come by once more.
    laid_aside: bool,
}

/// The half of the pipeline that faces the sink. It is apart from the feed because it works on what the feed lends.
struct Sender<K, D> {
    sink: K,
    dead_letters: D,
    settings: Settings,
    encoder: Encoder,
    in_flight: InFlight,
    /// The number of the first record of the next transaction, and the epoch that it counts in.
    epoch: Option<Epoch>,
    next_sequence: u64,
    /// How many records of the next transaction were sent before the sink was full.
    already_sent: u64,
    sink_is_full: bool,
    /// Records that the destination refused for good: laid aside when they come by again.
    condemned: BTreeMap<RecordId, Condemned>,
    last_failure: Option<String>,
    settled_at_ms: u64,
    report: Report,
}

impl<K: Sink, D: DeadLetters> Sender<K, D> {
    fn new(sink: K, dead_letters: D, settings: Settings, from: Option<Progress>) -> Self {
        Self {
            sink,
            dead_letters,
            encoder: Encoder::new(settings.headers),
            in_flight: InFlight::new(settings.credit),
            settings,
            epoch: from.map(|progress| progress.resume.epoch),
            next_sequence: from.map_or(1, |progress| progress.next_sequence),
            already_sent: 0,
            sink_is_full: false,
            condemned: BTreeMap::new(),
            last_failure: None,
            settled_at_ms: 0,
            report: Report::default(),
        }
    }

    /// Takes in the outcomes; answers with the failure after which everything unsettled must be sent again, if there was one.
    fn collect(&mut self, clock: Clock) -> Option<Failure> {
        let Self { sink, in_flight, condemned, report, .. } = self;
        let mut failed: Option<Failure> = None;
        let mut acknowledged = 0;
        sink.poll(&mut |token: Token, result| match result {
            Ok(()) => {
                in_flight.settle(token);
                acknowledged += 1;
            }
            Err(failure) => {
                if failure.class == FailureClass::Poison
                    && let Some(id) = in_flight.record(token)
                {
                    condemned.insert(id, Condemned { cause: failure.reason.clone(), laid_aside: false });
                }
                failed.get_or_insert(failure);
            }
        });
        if acknowledged > 0 {
            report.published += acknowledged;
            report.last_delivery_ms = Some(clock.wall_ms);
            self.settled_at_ms = clock.monotonic_ms;
            self.last_failure = None;
            self.sink_is_full = false;
        }
        failed
    }

    /// Sends the records of `transaction`, from the first that was not sent yet.
    fn send(&mut self, transaction: &Transaction<'_>, clock: Clock) -> Result<Sent, keyferry_journal::Error> {
        let epoch = transaction.epoch;
        if self.epoch != Some(epoch) {
            (self.epoch, self.next_sequence, self.already_sent) = (Some(epoch), 1, 0);
        }
        let mut sequence = self.next_sequence;
        let mut filtered = 0;
        let drop_all = transaction.outcome == Outcome::Unknown && self.settings.in_doubt == InDoubt::Drop;
        for event in transaction.events() {
            let event = event?;
            if drop_all {
                self.report.in_doubt_dropped += 1;
                continue;
            }
            let Some(topic) = self.settings.topics.of(event.kind()) else {
                filtered += 1;
                continue;
            };
            let id = RecordId { epoch, sequence };
            sequence += 1;
            if sequence <= self.next_sequence + self.already_sent {
                continue;
            }
            let envelope = Envelope {
                node: transaction.node,
                epoch,
                outcome: transaction.outcome,
                sequence: id.sequence,
            };
            let record = self.encoder.encode(topic, &event, &envelope);
            if let Some(condemned) = self.condemned.get_mut(&id) {
                if let Err(failure) = condemned.lay_aside(&mut self.dead_letters, &record, clock) {
                    return Ok(Sent::Failed(failure));
                }
                self.already_sent += 1;
                continue;
            }
            if self.in_flight.is_empty() && self.last_failure.is_none() {
                self.settled_at_ms = clock.monotonic_ms;
            }
            let token = self.in_flight.next_token();
            match self.sink.send(token, &record) {
                Ok(()) => self.in_flight.sent(id, record.size()),
                Err(SendError::Full) => {
                    self.sink_is_full = true;
                    return Ok(Sent::Full);
                }
                Err(SendError::Failed(failure)) if failure.class == FailureClass::Poison => {
                    let mut condemned = Condemned { cause: failure.reason.clone(), laid_aside: false };
                    if let Err(failure) = condemned.lay_aside(&mut self.dead_letters, &record, clock) {
                        return Ok(Sent::Failed(failure));
                    }
                    self.condemned.insert(id, condemned);
                }
                Err(SendError::Failed(failure)) => return Ok(Sent::Failed(failure)),
            }
            self.already_sent += 1;
            self.report.in_doubt += u64::from(transaction.outcome == Outcome::Unknown);
        }
        self.report.filtered += filtered;
        self.next_sequence = sequence;
        self.already_sent = 0;
        let progress = Progress { resume: transaction.resume, next_sequence: sequence };
        self.in_flight.transaction_sent(progress, transaction.written_ms);
        Ok(Sent::All)
    }

    /// Notes that the journal holds nothing to publish up to `resume`.
    fn pass(&mut self, resume: Resume, clock: Clock) {
        let next_sequence = if Some(resume.epoch) == self.epoch { self.next_sequence } else { 1 };
        self.in_flight.transaction_sent(Progress { resume, next_sequence }, clock.wall_ms);
    }

    /// Goes back to `progress`: nothing after it counts as sent any more.
    fn rewind(&mut self, progress: Option<Progress>) {
        self.in_flight.forget();
        self.epoch = progress.map(|progress| progress.resume.epoch);
        self.next_sequence = progress.map_or(1, |progress| progress.next_sequence);
        self.already_sent = 0;
        self.sink_is_full = false;
        self.report.resets += 1;
    }

    /// Forgets the condemned records that `progress` has left behind: they cannot come by again.
    fn forget_condemned(&mut self, progress: Progress) {
        let next = RecordId { epoch: progress.resume.epoch, sequence: progress.next_sequence };
        let behind = self.condemned.keys().take_while(|id| **id < next).count();
        self.report.dead_letters += behind as u64;
        for _ in 0..behind {
            self.condemned.pop_first();
        }
    }

    /// What went wrong last and has not gone well since.
    fn complaint(&self) -> Option<String> {
        self.last_failure.clone().or_else(|| self.sink.trouble())
    }

    fn note_failure(&mut self, failure: &Failure) {
        if self.last_failure.as_deref() != Some(&failure.reason) {
            match failure.class {
                FailureClass::Retriable => {
                    tracing::warn!("delivery failed, the journal keeps the events: {failure}")
                }
                FailureClass::Poison => tracing::error!("a record can never be delivered: {failure}"),
            }
            self.last_failure = Some(failure.reason.clone());
        }
    }

    /// Takes note of what the journal holds besides transactions: nothing of it is silent.
    fn notice(&mut self, item: &Item<'_>) {
        match item {
            // Sent, not noticed.
            Item::Transaction(_) => {}
            Item::Gap(gap) => {
                self.report.missing_events += gap.user_events + gap.admin_events;
                tracing::error!(
                    "{} user events and {} admin events could not be journaled by Keycloak ({:?}) and are missing; segment {}, offset {}",
                    gap.user_events,
                    gap.admin_events,
                    gap.cause,
                    gap.segment,
                    gap.offset
                );
            }
            Item::Damage(range) => {
                self.report.damaged_ranges += 1;
                tracing::error!(
                    "the journal is damaged: bytes {} to {} of segment {} cannot be read; what was in them is lost",
                    range.from,
                    range.to,
                    range.segment
                );
            }
            Item::MissingSegments { epoch, first, last } => {
                self.report.damaged_ranges += 1;
                tracing::error!(
                    "segments {first} to {last:?} of epoch {epoch} are missing; what was in them is lost"
                );
            }
            Item::MissingCommits { epoch, expected, found } => {
                self.report.damaged_ranges += 1;
                tracing::error!(
                    "transaction {found} of epoch {epoch} follows where {expected} was expected: those between are lost"
                );
            }
            Item::LostTransaction { epoch, commit, id, cause, .. } => {
                self.report.damaged_ranges += 1;
                tracing::error!(
                    "the events of transaction {commit} (id {id}) of epoch {epoch} are lost: {cause:?}"
                );
            }
            Item::UnknownRecord { segment, offset, kind } => tracing::warn!(
                "segment {segment} holds a record of kind {kind} at offset {offset} that this release does not know: update the agent"
            ),
            Item::EpochReopened { epoch } => tracing::warn!(
                "epoch {epoch} goes on although its writer's lock was free: POSIX locks do not work on this mount; use a local file system"
            ),
            Item::TornTail(range) => tracing::info!(
                "a write was cut short when Keycloak died: bytes {} to {} of segment {}; it had not been acknowledged",
                range.from,
                range.to,
                range.segment
            ),
            Item::Abandoned(segment) => tracing::warn!(
                "segment {segment} was given up by Keycloak after a write error; nothing is lost"
            ),
            Item::EpochEnded { epoch, commit, closed } => {
                let how = if *closed { "in order" } else { "without a CLOSE" };
                tracing::info!("epoch {epoch} has ended {how} with transaction {commit}");
            }
        }
    }
}

impl Condemned {
    fn lay_aside<D: DeadLetters>(
        &mut self,
        dead_letters: &mut D,
        record: &Record<'_>,
        clock: Clock,
    ) -> Result<(), Failure> {
        if self.laid_aside {
            return Ok(());
        }
        dead_letters.lay_aside(record, &self.cause, clock.wall_ms).map_err(|error| Failure {
            class: FailureClass::Retriable,
            reason: format!("cannot write the dead-letter file: {error}"),
        })?;
        tracing::error!("a record of topic {} is laid aside as a dead letter: {}", record.topic, self.cause);
        self.laid_aside = true;
        Ok(())
    }
}
