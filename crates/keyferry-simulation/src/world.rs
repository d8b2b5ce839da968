//! One history: Keycloak, the agent and Kafka under faults, step by step.
//!
//! | fault | how it is made |
//! |---|---|
//! | Keycloak killed | the writer is dropped, its lock is free; its last write may be torn at any byte |
//! | the agent killed | the pipeline is dropped and begins anew from its checkpoint |
//! | short reads | a read returns one byte or a few |
//! | broker away | nothing arrives |
//! | ambiguous time-out | records arrive and are never reported |
//! | the client gives up | a partition's records fail, from one on |
//! | no new producer | a reset fails |
//! | poison | a record is refused for good, at once or by the broker |

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use keyferry_event::{HeaderMode, Record, Topics};
use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{CheckpointFile, EventKind, Feed, FeedOptions, MemoryStorage, Writer};
use keyferry_pipeline::{Clock, Credit, DeadLetters, InDoubt, Pipeline, Progress, Settings};

use crate::kafka::{Consumed, SimulatedKafka};
use crate::oracle::{Fate, Oracle, Violation};

/// How many steps a history has before the faults end.
const STEPS: u32 = 400;

/// After the last fault everything must be delivered within this many milliseconds of simulated time.
const LIVENESS_MS: u64 = 30_000;

/// What may be under way.
const CREDIT: Credit = Credit { bytes: 64 << 10, records: 24 };

/// A PREPARE has at most this many events.
const EVENTS: usize = 4;

/// The destination's name.
const DESTINATION: &str = "default";

/// What a history came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// A hash of everything that happened: equal for equal seeds.
    pub trace: u64,
    /// Events raised.
    pub events: usize,
    /// Records in Kafka, copies included.
    pub records: usize,
    /// Dead letters.
    pub dead_letters: usize,
    /// How often the agent was begun.
    pub agents: u32,
    /// How often Keycloak was begun.
    pub writers: u32,
}

/// Plays the history of `seed`.
///
/// # Errors
/// The first promise that it breaks.
pub fn simulate(seed: u64) -> Result<Summary, Violation> {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step()?;
    }
    world.heal()?;
    Ok(world.summary())
}

type JournalWriter = Writer<MemoryStorage, SharedClock>;
type Agent = Pipeline<MemoryStorage, SimulatedKafka, SharedDeadLetters>;

/// The wall clock of the writer.
#[derive(Clone)]
struct SharedClock(Rc<RefCell<u64>>);

impl keyferry_journal::writer::Clock for SharedClock {
    fn now_ms(&mut self) -> u64 {
        *self.0.borrow()
    }
}

/// Dead letters that outlive the agent, as a file does.
#[derive(Clone, Default)]
struct SharedDeadLetters(Rc<RefCell<Vec<Consumed>>>);

impl DeadLetters for SharedDeadLetters {
    fn lay_aside(&mut self, record: &Record<'_>, _: &str, _: u64) -> io::Result<()> {
        self.0.borrow_mut().push(Consumed::of(record));
        Ok(())
    }
}

/// A transaction without outcome.
struct Transaction {
    id: u64,
    prepare: u64,
    events: Vec<String>,
}

/// Keycloak's life.
struct Keycloak {
    writer: JournalWriter,
    open: Vec<Transaction>,
}

struct World {
    random: fastrand::Rng,
    now: SharedClock,
    monotonic_ms: u64,
    storage: MemoryStorage,
    keycloak: Option<Keycloak>,
    agent: Option<Agent>,
    kafka: SimulatedKafka,
    dead_letters: SharedDeadLetters,
    oracle: Oracle,
    trace: DefaultHasher,
    agents: u32,
    writers: u32,
    /// In events: a transaction that has credit is sent as a whole.
    largest_transaction: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let kafka = SimulatedKafka::new(random.u64(..));
        let storage = MemoryStorage::new();
        storage.set_writer_alive(false);
        Self {
            random,
            now: SharedClock(Rc::new(RefCell::new(1_700_000_000_000))),
            monotonic_ms: 0,
            storage,
            keycloak: None,
            agent: None,
            kafka,
            dead_letters: SharedDeadLetters::default(),
            oracle: Oracle::default(),
            trace: DefaultHasher::new(),
            agents: 0,
            writers: 0,
            largest_transaction: 0,
        }
    }

    /// One thing happens.
    fn step(&mut self) -> Result<(), Violation> {
        let die = self.random.u32(..100);
        die.hash(&mut self.trace);
        match die {
            0..=29 => self.begin_transaction(),
            30..=34 => self.raise_late(),
            35..=54 => self.settle(Fate::Committed),
            55..=57 => self.settle(Fate::Aborted),
            58 => self.kill_keycloak(),
            59 => self.close_keycloak(),
            60..=61 => self.kill_agent(),
            62..=63 => self.kafka.give_up(),
            64..=66 => {
                let available = self.random.bool();
                self.kafka.set_available(available);
            }
            67 => {
                let longest = self.random.usize(1..200);
                self.storage.set_longest_read(longest);
            }
            _ => {
                let passed = self.random.u64(..60);
                self.pass_time(passed);
                self.turn()?;
            }
        }
        Ok(())
    }

    fn pass_time(&mut self, ms: u64) {
        self.monotonic_ms += ms;
        // The wall clock jumps now and then, backwards too.
        let mut now = self.now.0.borrow_mut();
        *now = if self.random.u32(..200) == 0 {
            now.saturating_sub(self.random.u64(..100_000))
        } else {
            *now + ms
        };
    }

    fn keycloak(&mut self) -> &mut Keycloak {
        if self.keycloak.is_none() {
            self.storage.set_writer_alive(true);
            self.writers += 1;
            let options = WriterOptions { segment_size: 2_048, node: "node".to_owned() };
            let writer = Writer::begin(self.storage.clone(), 0, self.now.clone(), options);
            // Memory refuses nothing.
            let writer = writer.unwrap_or_else(|error| panic!("{error}"));
            self.keycloak = Some(Keycloak { writer, open: Vec::new() });
        }
        self.keycloak.as_mut().unwrap_or_else(|| unreachable!("it was just begun"))
    }

    fn begin_transaction(&mut self) {
        let id = self.keycloak().writer.next_transaction();
        let transaction = Transaction { id, prepare: self.oracle.next_prepare(), events: Vec::new() };
        self.keycloak().open.push(transaction);
        let last = self.keycloak().open.len() - 1;
        self.prepare(last);
    }

    /// An event is raised after its transaction's PREPARE.
    fn raise_late(&mut self) {
        let open = self.keycloak.as_ref().map_or(0, |keycloak| keycloak.open.len());
        if open > 0 {
            let index = self.random.usize(..open);
            self.prepare(index);
        }
    }

    /// Writes a PREPARE of the open transaction at `index`.
    fn prepare(&mut self, index: usize) {
        let mut payload = EventEncoder::new();
        for _ in 0..self.random.usize(1..=EVENTS) {
            let id = format!("event-{}", self.oracle.len());
            let user = format!("user-{}", self.random.u32(..6));
            let (body, kind) = (self.body(&id), self.random.bool());
            let path = format!("users/{user}/groups");
            let (kind, subject) = if kind {
                (EventKind::User, (Field::UserId, &*user))
            } else {
                (EventKind::Admin, (Field::ResourcePath, &*path))
            };
            payload.push(kind, 1, &[(Field::Id, &id), subject], body.as_bytes());
            let keycloak = self.keycloak();
            let epoch = keycloak.writer.epoch().to_string();
            let transaction = &mut keycloak.open[index];
            transaction.events.push(id.clone());
            let (prepare, events) = (transaction.prepare, transaction.events.len());
            self.largest_transaction = self.largest_transaction.max(events);
            self.oracle.raised(id, epoch, user, prepare);
        }
        let keycloak = self.keycloak();
        let id = keycloak.open[index].id;
        keycloak.writer.prepare(id, payload.payload()).unwrap_or_else(|error| panic!("{error}"));
    }

    fn body(&mut self, id: &str) -> String {
        match self.random.u32(..100) {
            0 => format!("{{\"{id}\":\"poison\"}}"),
            1 => format!("{{\"{id}\":\"poison-at-once\"}}"),
            _ => format!("{{\"{id}\":\"{}\"}}", "x".repeat(self.random.usize(..300))),
        }
    }

    fn settle(&mut self, fate: Fate) {
        let Some(keycloak) = self.keycloak.as_mut().filter(|keycloak| !keycloak.open.is_empty()) else {
            return;
        };
        let transaction = keycloak.open.swap_remove(self.random.usize(..keycloak.open.len()));
        let written = match fate {
            Fate::Aborted => keycloak.writer.abort(transaction.id),
            _ => keycloak.writer.commit(transaction.id).map(drop),
        };
        written.unwrap_or_else(|error| panic!("{error}"));
        self.oracle.settled(&transaction.events, fate);
    }

    fn kill_keycloak(&mut self) {
        let Some(keycloak) = self.keycloak.take() else { return };
        let segment = keycloak.writer.segment();
        for transaction in &keycloak.open {
            self.oracle.settled(&transaction.events, Fate::InDoubt);
        }
        let _ = keycloak.writer.kill();
        if self.random.bool() {
            self.tear(segment);
        }
        self.storage.set_writer_alive(false);
    }

    /// A write was under way: some of a record's bytes follow the last whole one.
    fn tear(&mut self, segment: keyferry_journal::SegmentName) {
        let mut bytes = self.storage.bytes(segment);
        let mut record = vec![0xFF, 0x4B, 0x46, 0xFE, 1, 2, 3, 4, 200, 0, 0, 0, 1, 0, 0, 0];
        record.extend(std::iter::repeat_with(|| self.random.u8(..)).take(120));
        record.truncate(self.random.usize(1..record.len()));
        bytes.extend(record);
        self.storage.put(segment, bytes);
    }

    fn close_keycloak(&mut self) {
        let Some(keycloak) = self.keycloak.take() else { return };
        for transaction in &keycloak.open {
            self.oracle.settled(&transaction.events, Fate::InDoubt);
        }
        let _ = keycloak.writer.close().unwrap_or_else(|error| panic!("{error}"));
        self.storage.set_writer_alive(false);
    }

    fn kill_agent(&mut self) {
        if self.agent.take().is_some() {
            self.kafka.producer_dies();
        }
    }

    /// The agent, begun if there is none.
    fn agent(&mut self) -> Result<&mut Agent, Violation> {
        if self.agent.is_none() {
            self.agents += 1;
            let mut storage = self.storage.clone();
            let (file, checkpoint) = CheckpointFile::load(&mut storage, DESTINATION).map_err(failed)?;
            let settled = checkpoint.and_then(|checkpoint| {
                let next_sequence = checkpoint.next_sequence;
                checkpoint.resume.map(|resume| Progress { resume, next_sequence })
            });
            let resume = settled.map(|progress| progress.resume);
            let feed = Feed::open(storage, resume.as_ref(), FeedOptions::default()).map_err(failed)?;
            let settings = Settings { seed: self.random.u64(..), ..settings() };
            let dead_letters = self.dead_letters.clone();
            self.agent = Some(Pipeline::new(feed, file, settled, self.kafka.clone(), dead_letters, settings));
        }
        Ok(self.agent.as_mut().unwrap_or_else(|| unreachable!("it was just begun")))
    }

    fn turn(&mut self) -> Result<(), Violation> {
        let clock = Clock { monotonic_ms: self.monotonic_ms, wall_ms: *self.now.0.borrow() };
        self.agent()?.turn(clock).map_err(failed)?;
        let pending = self.kafka.pending();
        pending.hash(&mut self.trace);
        if pending > CREDIT.records + self.largest_transaction {
            return Err(Violation::Unbounded(pending));
        }
        Ok(())
    }

    /// The faults end: Keycloak has gone, Kafka is well, and the agent has time.
    fn heal(&mut self) -> Result<(), Violation> {
        self.kill_keycloak();
        self.kafka.set_available(true);
        let deadline = self.monotonic_ms + LIVENESS_MS;
        while self.monotonic_ms < deadline {
            self.monotonic_ms += 20;
            self.turn()?;
            if self.agent()?.is_drained() && self.judge().is_ok() {
                return Ok(());
            }
        }
        self.judge()?;
        Err(Violation::NotLive(LIVENESS_MS))
    }

    fn judge(&self) -> Result<(), Violation> {
        self.oracle.judge(&self.kafka.logs(), &self.dead_letters.0.borrow())
    }

    fn summary(&self) -> Summary {
        let logs = self.kafka.logs();
        let mut trace = self.trace.clone();
        for record in logs.iter().flatten() {
            (&record.id, record.sequence, &record.outcome).hash(&mut trace);
        }
        Summary {
            trace: trace.finish(),
            events: self.oracle.len(),
            records: logs.iter().map(Vec::len).sum(),
            dead_letters: self.dead_letters.0.borrow().len(),
            agents: self.agents,
            writers: self.writers,
        }
    }
}

fn settings() -> Settings {
    Settings {
        topics: Topics { events: Some("events".to_owned()), admin_events: Some("admin-events".to_owned()) },
        headers: HeaderMode::CloudEvents,
        in_doubt: InDoubt::Publish,
        credit: CREDIT,
        delivery_timeout: Duration::from_secs(120),
        seed: 0,
    }
}

fn failed(error: impl std::fmt::Display) -> Violation {
    Violation::Failed(error.to_string())
}
