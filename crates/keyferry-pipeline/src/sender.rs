//! The half of the pipeline that faces the sink.
//!
//! The invariant: **a record has the same number whenever it is sent**, and the next one has the next. One that is passed over ([`shedding`](crate::shedding)) has its number too.

use keyferry_event::{
    Encoder, Envelope, Failure, FailureClass, Format, HeaderMode, Record, SchemaId, SchemaUnknown, SendError,
    Sink, Token,
};
use keyferry_journal::event::EventView;
use keyferry_journal::{Epoch, EventKind, Outcome, Resume, Transaction};

use crate::aside::Aside;
use crate::breaker::Outcomes;
use crate::ceiling::{GivenUp, topics_of};
use crate::dead_letter::{Address, Cause, Condemned, DeadLetter, DeadLetters, Way};
use crate::gap::{self, PendingGap, Tally};
use crate::in_flight::{Content, InFlight, Origin, Progress, RecordId};
use crate::meter::{Counted, EventClass, Followed, Measured, Observed};
use crate::pipeline::{Clock, InDoubt, Settings};
use crate::report::Report;
use crate::shedding::{Run, Shedding, Stretch};

/// What has become of records in flight.
pub(crate) struct Collected {
    pub(crate) outcomes: Outcomes,
    /// The failure after which everything unsettled must be sent again, if there was one.
    pub(crate) failure: Option<Failure>,
}

/// What became of a transaction.
pub(crate) enum Sent {
    All,
    /// The sink takes no more; what was sent is remembered, and the transaction is offered again.
    Full,
    Failed(Failure),
    /// A gap record is to be sent in its place.
    Instead(Box<PendingGap>),
    /// For this topic the id of the schema is not known, and so there is no record yet. What was sent is remembered, as for `Full`.
    Unregistered(String),
}

impl From<SchemaUnknown<'_>> for Sent {
    fn from(SchemaUnknown { topic }: SchemaUnknown<'_>) -> Self {
        Self::Unregistered(topic.to_owned())
    }
}

/// How far the sender has got in a transaction.
struct Cursor {
    /// The place of the next event, from 0.
    index: u32,
    /// The number of the next record.
    sequence: u64,
    /// Events of which there is no record.
    filtered: u64,
}

/// What became of one record.
enum Offered {
    /// It was sent or laid aside.
    Taken,
    Full,
    Failed(Failure),
}

/// What faces the sink. It is apart from the feed because it works on what the feed lends.
pub(crate) struct Sender<K, A> {
    pub(crate) outbox: Outbox<K, A>,
    pub(crate) settings: Settings,
    encoder: Encoder,
    /// The number of the first record of the next transaction, and the epoch that it counts in.
    epoch: Option<Epoch>,
    next_sequence: u64,
    /// How many records of the next transaction were sent before the sink was full.
    already_sent: u64,
    counted: Counted,
    followed: Followed,
    observed: Observed,
    pub(crate) shedding: Shedding,
    /// What is passed over and not told of yet.
    run: Option<Run>,
    pub(crate) report: Report,
}

/// The sink and what is under way to it.
pub(crate) struct Outbox<K, A> {
    pub(crate) sink: K,
    pub(crate) aside: A,
    pub(crate) in_flight: InFlight,
    pub(crate) sink_is_full: bool,
    /// Records that the destination refused for good.
    condemned: Condemned,
    last_failure: Option<String>,
    pub(crate) settled_at_ms: u64,
}

impl<K: Sink, A: Aside> Sender<K, A> {
    pub(crate) fn new(sink: K, aside: A, settings: Settings, from: Option<Progress>) -> Self {
        let outbox = Outbox {
            sink,
            aside,
            in_flight: InFlight::new(settings.credit),
            sink_is_full: false,
            condemned: Condemned::new(settings.dead_letter_topic.clone()),
            last_failure: None,
            settled_at_ms: 0,
        };
        Self {
            outbox,
            encoder: Encoder::new(settings.headers)
                .routing(settings.content.routing.clone())
                .redacting(settings.content.redaction.clone())
                .formatting(settings.content.format)
                .knowing(settings.content.schema_ids.clone()),
            settings,
            epoch: from.map(|progress| progress.resume.epoch),
            next_sequence: from.map_or(1, |progress| progress.next_sequence),
            already_sent: 0,
            counted: Counted::default(),
            followed: Followed::default(),
            observed: Observed::default(),
            shedding: Shedding::default(),
            run: None,
            report: Report::default(),
        }
    }

    /// From now on records have the headers of `mode` and values of `format`.
    pub(crate) fn retune(&mut self, mode: HeaderMode, format: Format) {
        (self.settings.headers, self.settings.content.format) = (mode, format);
        self.encoder.set_mode(mode);
        self.encoder.set_format(format);
    }

    /// From now on records for `topic` name the schema of their format by `id`.
    pub(crate) fn learn_schema_id(&mut self, topic: &str, id: SchemaId) {
        self.encoder.learn(topic, id);
    }

    /// No id of a schema is known any more.
    pub(crate) fn forget_schema_ids(&mut self) {
        self.encoder.forget_schema_ids();
    }

    /// The same, where it was decided before what is passed over.
    pub(crate) fn passing_over(self, stretches: Vec<Stretch>) -> Self {
        Self { shedding: Shedding::of(stretches), ..self }
    }

    /// Takes in the outcomes. An acknowledgement is slow if its record was sent before `slow_before_ms` of the monotonic clock.
    pub(crate) fn collect(&mut self, clock: Clock, slow_before_ms: u64) -> Collected {
        let Outbox { sink, in_flight, condemned, .. } = &mut self.outbox;
        let (meter, followed, observed) = (&*self.settings.meter, &mut self.followed, &mut self.observed);
        let mut failed: Option<Failure> = None;
        let (mut events, mut gaps) = (0, 0);
        let mut outcomes = Outcomes::default();
        sink.poll(&mut |token: Token, result| match result {
            Ok(()) => {
                let id = if condemned.is_empty() { None } else { in_flight.record(token) };
                let settled = in_flight.settle(token);
                outcomes.acknowledged += 1;
                outcomes.slow += u64::from(settled.sent_ms < slow_before_ms);
                let trace = followed.arrived(token);
                match settled.content {
                    Content::Event(Measured { class, written_ms }) => {
                        events += 1;
                        let latency_ms = clock.wall_ms.saturating_sub(written_ms);
                        let delivery_ms = clock.monotonic_ms.saturating_sub(settled.sent_ms);
                        meter.acknowledged(class, latency_ms, delivery_ms, observed);
                        if let Some(trace) = trace {
                            meter.exemplifies(trace, latency_ms, clock.wall_ms);
                        }
                    }
                    Content::Gap => gaps += 1,
                    Content::DeadLetter => id.into_iter().for_each(|id| condemned.arrived(id)),
                }
            }
            Err(failure) => {
                meter.failed(failure.class);
                let failure = match in_flight.record(token) {
                    Some(id) => condemned.failed(id, failure, clock),
                    None => failure,
                };
                outcomes.failed += u64::from(failure.class != FailureClass::Poison);
                failed.get_or_insert(failure);
            }
        });
        self.tell_observed();
        if outcomes.acknowledged > 0 {
            self.report.published += events;
            self.report.gap_records += gaps;
            self.report.last_delivery_ms = Some(clock.wall_ms);
            self.outbox.settled_at_ms = clock.monotonic_ms;
            self.outbox.last_failure = None;
            self.outbox.sink_is_full = false;
        }
        let failure = failed.or_else(|| self.outbox.condemned.overdue(self.outbox.settled_at_ms, clock));
        Collected { outcomes, failure }
    }

    /// Histograms have what was measured up to now.
    pub(crate) fn tell_observed(&mut self) {
        self.settings.meter.tell(&mut self.observed);
    }

    /// Sends the records of `transaction`, from the first that was not sent yet; or does with it what is done with those in doubt.
    pub(crate) fn send(
        &mut self,
        transaction: &Transaction<'_>,
        clock: Clock,
    ) -> Result<Sent, keyferry_journal::Error> {
        if transaction.outcome == Outcome::Unknown {
            match self.settings.in_doubt {
                InDoubt::Publish => {}
                InDoubt::Drop => return self.drop_in_doubt(transaction),
                InDoubt::Hold => return Ok(self.hold(transaction, clock)),
            }
        }
        if let Some(hindrance) = self.leave_run_of_other(transaction.epoch, clock) {
            return Ok(hindrance);
        }
        self.enter(transaction.epoch);
        let mut cursor = Cursor { index: 0, sequence: self.next_sequence, filtered: 0 };
        let (mut events, mut event) = (transaction.events(), EventView::empty());
        while events.read(&mut event)? {
            if let Some(hindrance) = self.send_event(transaction, &event, &mut cursor, clock) {
                return Ok(hindrance);
            }
        }
        self.report.filtered += cursor.filtered;
        self.next_sequence = cursor.sequence;
        self.already_sent = 0;
        self.reach(*transaction.resume, transaction.written_ms);
        Ok(Sent::All)
    }

    /// Sends the record of the event at `cursor`, if it has one and that was not sent yet, and moves the cursor on. Answers what is in the way of the next, if something is.
    fn send_event(
        &mut self,
        transaction: &Transaction<'_>,
        event: &EventView<'_>,
        cursor: &mut Cursor,
        clock: Clock,
    ) -> Option<Sent> {
        let index = cursor.index;
        cursor.index += 1;
        let class = self.settings.meter.class(event);
        let Settings { topics, content, .. } = &self.settings;
        let Some(topic) = topics.of(event.kind()).filter(|_| content.filter.passes(event)) else {
            if self.meet(transaction, index, class, event) {
                self.settings.meter.filtered(event.kind());
            }
            cursor.filtered += 1;
            return None;
        };
        let id = RecordId {
            epoch: transaction.epoch,
            sequence: cursor.sequence,
            origin: Origin::Event { transaction: transaction.id, index },
        };
        cursor.sequence += 1;
        if id.sequence < self.next_sequence + self.already_sent {
            return None;
        }
        let low_priority = &self.settings.low_priority;
        if low_priority.concerns(event, transaction, index)
            && self.shedding.passes_over(low_priority, transaction, &mut self.outbox.aside)
        {
            self.meet(transaction, index, class, event);
            self.pass_over(id, transaction.node, event.time_ms());
            return None;
        }
        let envelope = Envelope {
            node: transaction.node,
            epoch: id.epoch,
            outcome: transaction.outcome,
            sequence: id.sequence,
        };
        let begun = self.settings.meter.begin_encoding();
        let record = match self.encoder.encode(topic, event, &envelope) {
            Ok(record) => record,
            Err(unknown) => return Some(unknown.into()),
        };
        self.settings.meter.end_encoding(begun);
        let size = record.size();
        let content = Content::Event(Measured { class, written_ms: transaction.written_ms });
        let token = self.outbox.in_flight.next_token();
        match self.outbox.offer(id, content, &record, clock) {
            Offered::Taken => {}
            Offered::Full => return Some(Sent::Full),
            Offered::Failed(failure) => return Some(Sent::Failed(failure)),
        }
        // What was laid aside travels under no token.
        if self.outbox.in_flight.next_token() != token {
            self.followed.consider(token, event, clock.monotonic_ms);
        }
        let waited_ms = clock.wall_ms.saturating_sub(transaction.written_ms);
        self.settings.meter.sent(event.kind(), size, waited_ms, &mut self.observed);
        if !self.meet(transaction, index, class, event) {
            self.settings.meter.resent();
        }
        self.already_sent += 1;
        self.report.in_doubt += u64::from(transaction.outcome == Outcome::Unknown);
        None
    }

    /// Sends the records of a gap, from the first that was not sent yet.
    pub(crate) fn send_gap(&mut self, pending: &PendingGap, clock: Clock) -> Sent {
        let PendingGap { gap, time_ms, resume } = pending;
        if let Some(hindrance) = self.leave_run_of_other(gap.epoch, clock) {
            return hindrance;
        }
        self.enter(gap.epoch);
        let Self { encoder, settings, .. } = self;
        let topics = settings.gap_records.then(|| topics_of(gap, &settings.topics)).into_iter().flatten();
        let mut sequence = self.next_sequence;
        for topic in topics {
            let id = RecordId { epoch: gap.epoch, sequence, origin: Origin::Gap };
            sequence += 1;
            if sequence <= self.next_sequence + self.already_sent {
                continue;
            }
            let record = match encoder.encode_gap(topic, gap, id.sequence, *time_ms) {
                Ok(record) => record,
                Err(unknown) => return unknown.into(),
            };
            match self.outbox.offer(id, Content::Gap, &record, clock) {
                Offered::Taken => {}
                Offered::Full => return Sent::Full,
                Offered::Failed(failure) => return Sent::Failed(failure),
            }
            self.already_sent += 1;
        }
        self.next_sequence = sequence;
        self.already_sent = 0;
        if let Some(resume) = resume {
            self.reach(*resume, clock.wall_ms);
        }
        Sent::All
    }

    /// Sends one record of what was given up, with the number that it has for good.
    pub(crate) fn send_given_up(
        &mut self,
        given_up: &GivenUp,
        sequence: u64,
        topic: &str,
        clock: Clock,
    ) -> Sent {
        let record = match self.encoder.encode_gap(topic, &given_up.gap, sequence, given_up.time_ms) {
            Ok(record) => record,
            Err(unknown) => return unknown.into(),
        };
        let id = RecordId { epoch: given_up.gap.epoch, sequence, origin: Origin::Gap };
        match self.outbox.offer(id, Content::Gap, &record, clock) {
            Offered::Taken => Sent::All,
            Offered::Full => Sent::Full,
            Offered::Failed(failure) => Sent::Failed(failure),
        }
    }

    /// Counts a record as sent that is passed over.
    fn pass_over(&mut self, id: RecordId, node: &str, time_ms: u64) {
        match &mut self.run {
            Some(run) => run.add(id.sequence, time_ms),
            None => self.run = Some(Run::begin(id.epoch, node, id.sequence, time_ms)),
        }
        self.already_sent += 1;
    }

    /// A run tells of one epoch. Answers what is in the way of the next one, if something is.
    fn leave_run_of_other(&mut self, epoch: Epoch, clock: Clock) -> Option<Sent> {
        self.run.as_ref().filter(|run| run.epoch != epoch)?;
        match self.tell_of_passed_over(clock) {
            Sent::All => None,
            hindrance => Some(hindrance),
        }
    }

    /// Sends the gap record of what was passed over, if something was.
    pub(crate) fn tell_of_passed_over(&mut self, clock: Clock) -> Sent {
        let (Some(run), Some(topic)) = (&self.run, self.settings.topics.of(EventKind::User)) else {
            return Sent::All;
        };
        let id = RecordId { epoch: run.epoch, sequence: run.numbers.to, origin: Origin::Gap };
        let gap = run.gap();
        let record = match self.encoder.encode_gap(topic, &gap, id.sequence, run.times.to) {
            Ok(record) => record,
            Err(unknown) => return unknown.into(),
        };
        match self.outbox.offer(id, Content::Gap, &record, clock) {
            Offered::Taken => {}
            Offered::Full => return Sent::Full,
            Offered::Failed(failure) => return Sent::Failed(failure),
        }
        self.report.passed_over += run.events;
        if let Some((progress, written_ms)) = run.reached() {
            self.outbox.in_flight.transaction_sent(progress, written_ms);
        }
        self.run = None;
        Sent::All
    }

    /// Whether nothing is passed over that was not told of.
    pub(crate) fn has_told_all(&self) -> bool {
        self.run.is_none()
    }

    /// Notes that the journal holds nothing to publish up to `resume`.
    pub(crate) fn pass(&mut self, resume: Resume, clock: Clock) {
        self.reach(resume, clock.wall_ms);
    }

    /// Goes back to `progress`: nothing after it counts as sent any more.
    pub(crate) fn rewind(&mut self, progress: Option<Progress>) {
        self.outbox.in_flight.forget();
        self.outbox.condemned.rewind();
        self.followed.lose();
        self.outbox.sink_is_full = false;
        self.epoch = progress.map(|progress| progress.resume.epoch);
        self.next_sequence = progress.map_or(1, |progress| progress.next_sequence);
        self.already_sent = 0;
        self.run = None;
        self.report.resets += 1;
    }

    /// Forgets the condemned records that `progress` has left behind: they cannot come by again.
    pub(crate) fn forget_condemned(&mut self, progress: Progress) {
        let settled = self.outbox.condemned.forget_before(progress.resume.epoch, progress.next_sequence);
        self.report.dead_letters += settled.in_topic + settled.in_file;
        self.report.dead_letters_in_topic += settled.in_topic;
    }

    /// Numbers begin at 1 in an epoch that was not met before.
    fn enter(&mut self, epoch: Epoch) {
        if self.epoch != Some(epoch) {
            (self.epoch, self.next_sequence, self.already_sent) = (Some(epoch), 1, 0);
        }
    }

    /// Everything up to `resume` was sent.
    #[inline]
    fn reach(&mut self, resume: Resume, written_ms: u64) {
        let next_sequence = if Some(resume.epoch) == self.epoch { self.next_sequence } else { 1 };
        let progress = Progress { resume, next_sequence };
        match &mut self.run {
            Some(run) => run.reach(progress, written_ms),
            None => self.outbox.in_flight.transaction_sent(progress, written_ms),
        }
    }

    /// Counts an event of the journal, unless it has been, and answers whether that was the first time.
    fn meet(
        &mut self,
        transaction: &Transaction<'_>,
        index: u32,
        class: EventClass,
        event: &EventView<'_>,
    ) -> bool {
        let is_first = self.counted.is_first(transaction, index);
        if is_first {
            self.settings.meter.received(class, event);
        }
        is_first
    }

    /// Counts the events of a transaction of which no record is made.
    fn meet_all(&mut self, transaction: &Transaction<'_>) {
        for (index, event) in (0..).zip(transaction.events().map_while(Result::ok)) {
            let class = self.settings.meter.class(&event);
            self.meet(transaction, index, class, &event);
        }
    }

    fn drop_in_doubt(&mut self, transaction: &Transaction<'_>) -> Result<Sent, keyferry_journal::Error> {
        let mut tally = Tally::default();
        tally.add(transaction)?;
        self.meet_all(transaction);
        self.report.in_doubt_dropped += tally.user_events + tally.admin_events;
        Ok(Sent::Instead(Box::new(PendingGap {
            gap: gap::of_dropped(transaction, &tally),
            time_ms: transaction.written_ms,
            resume: Some(*transaction.resume),
        })))
    }

    fn hold(&mut self, transaction: &Transaction<'_>, clock: Clock) -> Sent {
        if let Err(error) = self.outbox.aside.hold(transaction, clock.wall_ms) {
            return Sent::Failed(Failure::transient(format!("cannot lay aside events in doubt: {error}")));
        }
        self.meet_all(transaction);
        self.reach(*transaction.resume, transaction.written_ms);
        Sent::All
    }
}

impl<K: Sink, A: DeadLetters> Outbox<K, A> {
    /// Sends `record`, or puts it where dead letters go if it was refused for good.
    #[inline(always)]
    fn offer(&mut self, id: RecordId, content: Content, record: &Record<'_>, clock: Clock) -> Offered {
        loop {
            if !self.condemned.is_empty()
                && let Some(way) = self.condemned.way_of(id, clock.monotonic_ms)
            {
                return self.put_away(id, way, record, clock);
            }
            match self.send(id, content, record, clock) {
                Offered::Failed(failure) if failure.class == FailureClass::Poison => {
                    self.condemned.condemn(id, failure, clock.wall_ms);
                }
                offered => return offered,
            }
        }
    }

    #[inline]
    fn send(&mut self, id: RecordId, content: Content, record: &Record<'_>, clock: Clock) -> Offered {
        self.begin_to_wait(clock);
        match self.sink.send(self.in_flight.next_token(), record) {
            Ok(()) => {
                self.in_flight.sent(id, content, record.size(), clock.monotonic_ms);
                Offered::Taken
            }
            Err(SendError::Full) => {
                self.sink_is_full = true;
                Offered::Full
            }
            Err(SendError::Failed(failure)) => Offered::Failed(failure),
        }
    }

    /// Sends the condemned `record` on its `way`.
    #[cold]
    fn put_away(&mut self, id: RecordId, way: Way, record: &Record<'_>, clock: Clock) -> Offered {
        self.condemned.met(id, record);
        match way {
            Way::Nowhere => Offered::Taken,
            Way::File(cause) => self.lay_aside(id, &cause, record),
            Way::Topic(address) => self.post(id, &address, record, clock),
        }
    }

    /// Sends it to the dead-letter topic, or lays it aside if that takes it as little.
    fn post(&mut self, id: RecordId, address: &Address, record: &Record<'_>, clock: Clock) -> Offered {
        match address.put_on(record, |letter| self.send(id, Content::DeadLetter, letter, clock)) {
            Offered::Failed(failure) => {
                let failure = self.condemned.failed(id, failure, clock);
                match self.condemned.way_of(id, clock.monotonic_ms) {
                    Some(Way::File(cause)) => self.lay_aside(id, &cause, record),
                    _ => Offered::Failed(failure),
                }
            }
            Offered::Full => Offered::Full,
            Offered::Taken => {
                self.condemned.posted(id, clock.monotonic_ms);
                Offered::Taken
            }
        }
    }

    fn lay_aside(&mut self, id: RecordId, cause: &Cause, record: &Record<'_>) -> Offered {
        let letter = DeadLetter { id, record, cause: &cause.failure, refused_ms: cause.refused_ms };
        if let Err(error) = self.aside.lay_aside(&letter) {
            return Offered::Failed(Failure::transient(format!(
                "cannot write the dead-letter file: {error}"
            )));
        }
        self.condemned.laid_aside(id);
        Offered::Taken
    }

    /// What is to be sent next has no schema, for this reason if one is known.
    pub(crate) fn withhold(&mut self, failure: Option<&Failure>, clock: Clock) {
        self.begin_to_wait(clock);
        if let Some(failure) = failure {
            self.note_failure(failure);
        }
    }

    /// With nothing in flight before, the time without an acknowledgement begins now.
    fn begin_to_wait(&mut self, clock: Clock) {
        if self.in_flight.is_empty() && self.last_failure.is_none() {
            self.settled_at_ms = clock.monotonic_ms;
        }
    }

    /// What went wrong last and has not gone well since.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.last_failure.clone().or_else(|| self.sink.trouble().map(|trouble| trouble.reason))
    }

    pub(crate) fn note_failure(&mut self, failure: &Failure) {
        if self.last_failure.as_deref() != Some(&failure.reason) {
            match failure.class {
                FailureClass::Poison => tracing::error!("a record can never be delivered: {failure}"),
                _ => tracing::warn!("delivery failed, the journal keeps the events: {failure}"),
            }
            self.last_failure = Some(failure.reason.clone());
        }
    }
}
