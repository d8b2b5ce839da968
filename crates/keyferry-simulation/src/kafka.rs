//! A Kafka made of memory: partitions, delivery reports, and everything that can go wrong between the two.
//!
//! Within a partition records arrive in the order in which they were sent, as with an idempotent producer, and after one that fails none that was sent later
//! arrives, as librdkafka promises with `enable.gapless.guarantee`. Whether a record arrives before the producer is reset, and whether its arrival is
//! reported, are two things. A broker that has forgotten a producer appends a record twice; a topic that was deleted takes nothing until it is there again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use keyferry_event::format::gap_in;
use keyferry_event::{Failure, FailureClass, Record, SendError, Sink, Token};
use keyferry_journal::event::EventKind;
use serde_json::Value;

use crate::trace::Trace;

/// The topics' names: user events, admin events.
pub const TOPICS: [&str; 2] = ["events", "admin-events"];

/// The name of the dead-letter topic.
pub const DEAD_LETTER_TOPIC: &str = "dead-letters";

/// How many partitions the topics have together. The dead-letter topic has one more, after them.
const PARTITIONS: usize = 3;

/// More than this many records are refused as "queue full".
const QUEUE: usize = 40;

/// A record as a consumer reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: String,
    /// `ce_id`.
    pub id: String,
    /// `ce_epoch`.
    pub epoch: String,
    /// `ce_sequence`.
    pub sequence: u64,
    /// `ce_outcome`.
    pub outcome: String,
    /// `ce_type`.
    pub kind: String,
    /// The value.
    pub value: String,
}

impl Consumed {
    /// What a consumer sees of `record`.
    pub fn of(record: &Record<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let header = |name: &str| {
            let found = record.headers().find(|header| header.name.to_bytes() == name.as_bytes());
            found.map(|header| text(header.value)).unwrap_or_default()
        };
        Self {
            topic: record.topic.to_owned(),
            key: text(record.key),
            id: header("ce_id"),
            epoch: header("ce_epoch"),
            sequence: header("ce_sequence").parse().unwrap_or(0),
            outcome: header("ce_outcome"),
            kind: header("ce_type"),
            value: text(record.value),
        }
    }

    /// Whether this is a gap record rather than an event.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        self.kind == "org.keyferry.gap"
    }

    /// Whether this is a record that Kafka refuses for good where it belongs.
    #[must_use]
    pub fn is_poison(&self) -> bool {
        self.value.contains("poison")
    }

    /// Whether this is a record that its topic refuses for good.
    fn is_refused(&self) -> bool {
        if self.topic == DEAD_LETTER_TOPIC {
            self.value.contains("poison-everywhere")
        } else {
            self.is_poison()
        }
    }
}

/// What a gap record says, as far as the oracle checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapRecord {
    /// Of which topic's events it tells.
    pub kind: EventKind,
    /// The cause.
    pub cause: String,
    /// How many user events are missing; `None` where that is not known.
    pub user_events: Option<u64>,
    /// How many admin events are missing; `None` where that is not known.
    pub admin_events: Option<u64>,
    /// Numbers that may never appear.
    pub sequences: Option<(u64, u64)>,
}

impl GapRecord {
    /// What `record` says; `None` if its value is not that of a gap record.
    #[must_use]
    pub fn of(record: &Consumed) -> Option<Self> {
        let value: Value = serde_json::from_slice(gap_in(record.value.as_bytes())?).ok()?;
        let count = |name: &str| value.get(name).map(Value::as_u64);
        let sequences = value.get("sequences")?;
        let sequences =
            sequences.get("from").and_then(Value::as_u64).zip(sequences.get("to").and_then(Value::as_u64));
        (value.get("epoch")?.as_str()? == record.epoch).then_some(())?;
        Some(Self {
            kind: if record.topic == TOPICS[0] { EventKind::User } else { EventKind::Admin },
            cause: value.get("cause")?.as_str()?.to_owned(),
            user_events: count("userEvents")?,
            admin_events: count("adminEvents")?,
            sequences,
        })
    }

    /// Takes in what another one with the same number says.
    pub fn merge(&mut self, other: &Self) {
        self.user_events = self.user_events.max(other.user_events);
        let spans = self.sequences.zip(other.sequences);
        self.sequences =
            spans.map(|((from, to), (other_from, other_to))| (from.min(other_from), to.max(other_to)));
    }

    /// How many events of the kind of its topic it tells of.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        match self.kind {
            EventKind::User => self.user_events,
            EventKind::Admin => self.admin_events,
        }
    }

    /// Whether it tells of events of low priority that were passed over: it has the number of the last of them.
    #[must_use]
    pub fn is_of_low_priority(&self) -> bool {
        self.cause == "low-priority"
    }

    /// Whether it tells of events that the provider counted.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        matches!(self.cause.as_str(), "no-space" | "ceiling" | "io-error" | "too-large")
    }
}

#[derive(Debug)]
struct Pending {
    token: Token,
    record: Consumed,
}

/// The state that outlives every producer.
#[derive(Debug)]
struct Cluster {
    random: fastrand::Rng,
    trace: Trace,
    available: bool,
    /// Whether the topics are there.
    topics: bool,
    /// Whether the dead-letter topic is there.
    dead_letter_topic: bool,
    /// Whether the agent may log in.
    login: bool,
    /// What the client complains of until a record is acknowledged.
    trouble: Option<Failure>,
    /// How many records were ever taken.
    taken: u64,
    /// Ids and outcomes of the records that were taken since somebody asked last.
    news: Vec<(String, String)>,
    /// Whether brokers forget producers now and then, so that a record is appended twice.
    forgetful: bool,
    /// The numbers whose good outcome was reported, by epoch.
    acknowledged: BTreeMap<String, BTreeSet<u64>>,
    /// In the order of arrival, all partitions.
    partitions: Vec<Vec<Consumed>>,
    /// Sent by the present producer, not arrived.
    pending: Vec<VecDeque<Pending>>,
    /// A record has failed: nothing arrives any more until the producer is replaced.
    failed: bool,
    /// Arrived, not reported.
    unreported: VecDeque<Unreported>,
}

/// An outcome that the producer has not heard of.
#[derive(Debug)]
struct Unreported {
    token: Token,
    /// Where there is a good outcome, of which epoch and number.
    result: Result<(String, u64), Failure>,
}

/// A producer and its cluster. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct SimulatedKafka {
    cluster: Rc<RefCell<Cluster>>,
}

impl SimulatedKafka {
    /// An empty cluster.
    #[must_use]
    pub fn new(seed: u64, trace: Trace) -> Self {
        Self {
            cluster: Rc::new(RefCell::new(Cluster {
                random: fastrand::Rng::with_seed(seed),
                trace,
                available: true,
                topics: true,
                dead_letter_topic: true,
                login: true,
                trouble: None,
                taken: 0,
                news: Vec::new(),
                forgetful: false,
                acknowledged: BTreeMap::new(),
                partitions: vec![Vec::new(); PARTITIONS + 1],
                pending: (0..=PARTITIONS).map(|_| VecDeque::new()).collect(),
                failed: false,
                unreported: VecDeque::new(),
            })),
        }
    }

    /// Whether brokers answer.
    pub fn set_available(&self, available: bool) {
        self.cluster.borrow_mut().available = available;
    }

    /// Whether the topics are there.
    pub fn set_topics(&self, there: bool) {
        self.cluster.borrow_mut().topics = there;
    }

    /// Whether the agent may log in. Where it may not, nothing arrives, no record fails, and the client complains.
    pub fn set_login(&self, login: bool) {
        let mut cluster = self.cluster.borrow_mut();
        cluster.login = login;
        if !login {
            let reason = "login refused".to_owned();
            cluster.trouble = Some(Failure { class: FailureClass::Authentication, reason });
        }
    }

    /// How many records were ever taken.
    pub fn taken(&self) -> u64 {
        self.cluster.borrow().taken
    }

    /// Ids and outcomes (`ce_outcome`) of the records that were taken since the last call.
    pub fn take_news(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.cluster.borrow_mut().news)
    }

    /// Whether the dead-letter topic is there.
    pub fn set_dead_letter_topic(&self, there: bool) {
        self.cluster.borrow_mut().dead_letter_topic = there;
    }

    /// Whether brokers forget producers now and then.
    pub fn set_forgetful(&self, forgetful: bool) {
        self.cluster.borrow_mut().forgetful = forgetful;
    }

    /// The first number of `epoch` below `end` whose good outcome no producer has heard of.
    #[must_use]
    pub fn first_unacknowledged(&self, epoch: &str, end: u64, laid_aside: &BTreeSet<u64>) -> Option<u64> {
        let cluster = self.cluster.borrow();
        let acknowledged = cluster.acknowledged.get(epoch);
        let settled =
            |number| laid_aside.contains(&number) || acknowledged.is_some_and(|set| set.contains(&number));
        (1..end).find(|number| !settled(*number))
    }

    /// All records of a partition, for each partition.
    pub fn logs(&self) -> Vec<Vec<Consumed>> {
        self.cluster.borrow().partitions.clone()
    }

    /// How many records were sent and have not arrived.
    pub fn pending(&self) -> usize {
        self.cluster.borrow().pending.iter().map(VecDeque::len).sum()
    }

    /// The producer's process has died: what is under way arrives or does not, and nothing of it is reported.
    pub fn producer_dies(&self) {
        self.cluster.borrow_mut().cut_off();
    }

    /// Fails one record of those that are under way, together with all that follow it in its partition, as librdkafka does when it gives up.
    pub fn give_up(&self) {
        let mut cluster = self.cluster.borrow_mut();
        let partition = cluster.random.usize(..=PARTITIONS);
        let given_up = cluster.pending[partition].drain(..).collect::<Vec<_>>();
        for pending in given_up {
            cluster.failed = true;
            let result = Err(Failure::transient("given up"));
            cluster.unreported.push_back(Unreported { token: pending.token, result });
        }
    }
}

impl Cluster {
    /// Lets some of what is under way arrive.
    fn carry(&mut self) {
        for partition in 0..=PARTITIONS {
            let count = self.random.usize(..=self.pending[partition].len());
            for _ in 0..count {
                if !self.available || !self.login || self.failed {
                    return;
                }
                let Some(Pending { token, record }) = self.pending[partition].pop_front() else { break };
                if !self.topics {
                    self.failed = true;
                    let reason = "there is no such topic".to_owned();
                    let result = Err(Failure { class: FailureClass::Configuration, reason });
                    self.unreported.push_back(Unreported { token, result });
                } else if record.topic == DEAD_LETTER_TOPIC && !self.dead_letter_topic {
                    self.failed = true;
                    let reason = "there is no dead-letter topic".to_owned();
                    let failure = Failure { class: FailureClass::Configuration, reason };
                    self.unreported.push_back(Unreported { token, result: Err(failure) });
                } else if record.is_refused() {
                    self.failed = true;
                    let failure = Failure::poison("refused for good");
                    self.unreported.push_back(Unreported { token, result: Err(failure) });
                } else {
                    let what = if record.is_gap() { &record.value } else { &record.outcome };
                    self.trace.line(format_args!(
                        "arrives in {partition}: {} {} of {}, {what}",
                        record.id, record.sequence, record.epoch
                    ));
                    if self.forgetful && self.random.u32(..40) == 0 {
                        self.partitions[partition].push(record.clone());
                    }
                    let result = Ok((record.epoch.clone(), record.sequence));
                    self.partitions[partition].push(record);
                    self.unreported.push_back(Unreported { token, result });
                }
            }
        }
    }

    /// Some of what is under way arrives all the same, in order; the rest is lost, and nothing is reported.
    fn cut_off(&mut self) {
        self.carry();
        for pending in &mut self.pending {
            pending.clear();
        }
        self.failed = false;
        self.unreported.clear();
    }
}

impl Sink for SimulatedKafka {
    fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError> {
        let mut cluster = self.cluster.borrow_mut();
        if cluster.pending.iter().map(VecDeque::len).sum::<usize>() >= QUEUE {
            return Err(SendError::Full);
        }
        let record = Consumed::of(record);
        if record.topic != DEAD_LETTER_TOPIC && record.value.contains("poison-at-once") {
            return Err(SendError::Failed(Failure::poison("too large")));
        }
        if cluster.random.u32(..400) == 0 {
            return Err(SendError::Failed(Failure::transient("not taken")));
        }
        cluster.news.push((record.id.clone(), record.outcome.clone()));
        let partition = partition_of(&record);
        cluster.pending[partition].push_back(Pending { token, record });
        cluster.taken += 1;
        Ok(())
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        let mut cluster = self.cluster.borrow_mut();
        cluster.carry();
        let reportable = cluster.unreported.len();
        let count = cluster.random.usize(..=reportable);
        let Cluster { unreported, acknowledged, trouble, .. } = &mut *cluster;
        for Unreported { token, result } in unreported.drain(..count) {
            let result = result.map(|(epoch, number)| {
                *trouble = None;
                acknowledged.entry(epoch).or_default().insert(number);
            });
            outcome(token, result);
        }
    }

    fn reset(&mut self) -> Result<(), Failure> {
        let mut cluster = self.cluster.borrow_mut();
        cluster.cut_off();
        if cluster.random.u32(..10) == 0 { Err(Failure::transient("no new producer")) } else { Ok(()) }
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn trouble(&self) -> Option<Failure> {
        self.cluster.borrow().trouble.clone()
    }
}

fn partition_of(record: &Consumed) -> usize {
    match &*record.topic {
        DEAD_LETTER_TOPIC => PARTITIONS,
        _ => record.key.bytes().map(usize::from).sum::<usize>() % PARTITIONS,
    }
}
