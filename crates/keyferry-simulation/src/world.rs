//! One history: Keycloak, the agent and Kafka under faults, step by step.
//!
//! | fault | how it is made |
//! |---|---|
//! | Keycloak killed | its life ends at once, its lock is free; its last write may be torn at any byte |
//! | the agent killed | the pipeline is dropped and begins anew from its checkpoint |
//! | the agent paused (SIGSTOP) | it takes no turns while Keycloak dies and begins again, holds its lock, and goes on later with what it knew |
//! | a second agent | asks for the slot's lock and must not get it |
//! | power cut | [`disk`](crate::disk): unsynced blocks and names are lost, kept or torn |
//! | EIO, ENOSPC, short reads | [`disk`](crate::disk), on every operation of writer and agent |
//! | bits flip | in segments and in both copies of the checkpoint |
//! | clock | jumps forwards and backwards |
//! | broker away, topic deleted | nothing arrives, or it is refused until later |
//! | ambiguous time-out | records arrive and are never reported, or late |
//! | broker forgets the producer | a record is appended twice |
//! | the login is refused | nothing arrives and no record fails: the client only complains, until a record is acknowledged |
//! | an operator | forces the circuit breaker open, closed, or leaves it to itself |
//! | the client gives up | a partition's records fail, from one on |
//! | no new producer | a reset fails |
//! | poison | a record is refused for good, at once or by the broker, and by the dead-letter topic too or not |
//! | no dead-letter topic | it is configured and was not created |
//! | schema registry | it is silent, refuses, or another one with other ids is in its place |
//! | pressure | events of low priority are passed over while the backlog is large |
//!
//! Which of these a history has is decided by its seed ([`profile`](crate::profile)), so that many are simple enough to be held against the strictest promise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use keyferry_event::{Content, Format, HeaderMode, Sink as _, Topics};
use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::{EventKind, Feed, FeedOptions, SegmentName};
use keyferry_pipeline::backpressure::Thresholds;
use keyferry_pipeline::{
    Ceiling, Clock, Controls, Credit, Error, InDoubt, Level, LowPriority, Overflow, Pipeline, Retention,
    STRIDE, Settings, Start, backpressure,
};

use crate::aside::SimulatedFiles;
use crate::breaker::{self, Standing};
use crate::disk::{FailureRates, SimulatedDisk};
use crate::kafka::{DEAD_LETTER_TOPIC, SimulatedKafka, TOPICS};
use crate::keycloak::{self, Fsync, Keycloak, Prepare, Raised, SEGMENT_SIZE};
use crate::oracle::{self, DoubtPolicy, Fate, Oracle, Seen, Violation};
use crate::profile::Profile;
use crate::registry::SimulatedRegistry;
use crate::settlement::{self, Late};
use crate::trace::Trace;

/// How many steps a history has before the faults end.
const STEPS: u32 = 400;

/// After the last fault everything must be delivered within this many milliseconds of simulated time.
const LIVENESS_MS: u64 = 30_000;

/// What may be under way.
const CREDIT: Credit = Credit { bytes: 64 << 10, records: 24 };

/// A PREPARE has at most this many events.
const EVENTS: usize = 4;

/// The type of the user events of low priority.
const LOW_PRIORITY: &str = "LOGIN";

/// Where there are such, pressure comes and goes quickly.
const PRESSURE: backpressure::Settings = {
    let never = Thresholds { backlog_bytes: None, oldest: None, time_to_full: None, used_percent: None };
    backpressure::Settings {
        elevated: Thresholds { backlog_bytes: Some(2_000), ..never },
        high: never,
        critical: never,
        hold: Duration::from_millis(20),
    }
};

/// The destination's name.
const DESTINATION: &str = "default";

/// How far apart the two copies of a checkpoint lie, in bytes.
const CHECKPOINT_COPIES: usize = 4096;

/// What a history came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Power cuts.
    pub power_cuts: u32,
    /// Bits that were flipped.
    pub flips: u32,
    /// How often the agent gave up with an input/output error.
    pub agent_errors: u32,
    /// Second agents that the lock kept away.
    pub kept_away: u32,
}

impl Summary {
    /// Adds the counts of another history.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.records += other.records;
        self.dead_letters += other.dead_letters;
        self.agents += other.agents;
        self.writers += other.writers;
        self.power_cuts += other.power_cuts;
        self.flips += other.flips;
        self.agent_errors += other.agent_errors;
        self.kept_away += other.kept_away;
    }
}

/// Plays the history of `seed`.
///
/// # Errors
/// The first promise that it breaks.
pub fn simulate(seed: u64) -> Result<Summary, Violation> {
    play(seed, Trace::silent())
}

/// Plays the history of `seed` and tells it, one line for each thing that happened.
pub fn narrate(seed: u64) -> (String, Result<Summary, Violation>) {
    let trace = Trace::recording();
    let result = play(seed, trace.clone());
    (trace.text(), result)
}

fn play(seed: u64, trace: Trace) -> Result<Summary, Violation> {
    let mut world = World::new(seed, trace);
    for step in 0..STEPS {
        world.step = step;
        world.step()?;
    }
    world.heal()?;
    Ok(world.summary())
}

type Agent = Pipeline<SimulatedDisk, SimulatedKafka, SimulatedFiles>;

struct World {
    random: fastrand::Rng,
    /// What becomes of the schema registry is drawn from this one.
    registries: fastrand::Rng,
    registry: SimulatedRegistry,
    /// Draws which events are of low priority.
    priorities: fastrand::Rng,
    profile: Profile,
    step: u32,
    wall_ms: u64,
    monotonic_ms: u64,
    disk: SimulatedDisk,
    keycloak: Option<Keycloak>,
    /// Earlier lives, of which a power cut may still take something.
    past: Vec<Keycloak>,
    /// What the next start settled; a power cut may take it.
    settled_late: Vec<Late>,
    agent: Option<Agent>,
    /// The agent is stopped (SIGSTOP): it lives, holds its lock, and does nothing.
    paused: bool,
    kafka: SimulatedKafka,
    controls: Arc<Controls>,
    files: SimulatedFiles,
    oracle: Oracle,
    trace: Trace,
    summary: Summary,
    /// Whether any agent has told of ranges of the journal that it cannot read.
    damage_told: bool,
    last_error: Option<String>,
    /// In events: a transaction that has credit is sent as a whole.
    largest_transaction: usize,
    /// How old committed events are, by their ids; but for those whose date the agent cannot judge.
    committed: BTreeMap<String, Age>,
    /// By how much the date was ahead of the monotonic clock at the agent's last turn.
    noticed_ahead_ms: u64,
}

impl World {
    fn new(seed: u64, trace: Trace) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut priorities = fastrand::Rng::with_seed(!seed);
        let mut delays = fastrand::Rng::with_seed(seed.rotate_left(32));
        let mut registries = fastrand::Rng::with_seed(seed.rotate_left(16));
        let profile = Profile::of(&mut random).under_pressure(&mut priorities).delayed(&mut delays);
        let profile = profile.registered(&mut registries);
        trace.line(format_args!("seed {seed}: {profile:?}"));
        let kafka = SimulatedKafka::new(random.u64(..), trace.clone());
        kafka.set_forgetful(profile.forgetful_brokers);
        kafka.set_dead_letter_topic(!profile.dead_letter_topic_missing);
        let disk = SimulatedDisk::new(random.u64(..), trace.clone());
        disk.set_failure_rates(profile.failure_rates);
        Self {
            random,
            registries,
            registry: SimulatedRegistry::default(),
            priorities,
            profile,
            step: 0,
            wall_ms: 1_700_000_000_000,
            monotonic_ms: 0,
            files: SimulatedFiles::new(disk.clone()),
            disk,
            keycloak: None,
            past: Vec::new(),
            settled_late: Vec::new(),
            agent: None,
            paused: false,
            kafka,
            controls: Arc::default(),
            oracle: Oracle::new(profile.in_doubt, profile.options.overflow, profile.low_priority.is_some()),
            trace,
            summary: Summary::default(),
            damage_told: false,
            last_error: None,
            largest_transaction: 0,
            committed: BTreeMap::new(),
            noticed_ahead_ms: 0,
        }
    }

    /// One thing happens.
    fn step(&mut self) -> Result<(), Violation> {
        let die = self.random.u32(..1_000);
        self.trace.value(die);
        match die {
            0..300 => self.begin_transaction(),
            300..340 => self.raise_late(),
            340..550 => self.settle(Fate::Committed),
            550..580 => self.settle(Fate::Aborted),
            580..590 => self.kill_keycloak(),
            590..600 => self.close_keycloak(),
            600..615 => self.kill_agent()?,
            615..630 => self.pause_or_wake_agent(),
            630..640 => self.kafka.give_up(),
            640..670 => self.kafka_comes_or_goes(),
            670..680 => self.disk.set_longest_read(self.random.usize(1..200)),
            680..690 => self.fault(),
            690..700 => self.jump(),
            700..710 => self.begin_second_agent()?,
            710..730 => self.tick(),
            730..740 => self.steer_breaker(),
            _ => {
                let passed = self.random.u64(..60);
                self.pass_time(passed);
                self.turn()?;
            }
        }
        Ok(())
    }

    /// One of the faults that only some histories have.
    fn fault(&mut self) {
        match self.random.u32(..4) {
            0 if self.profile.power_cuts => self.cut_power(),
            1 if self.profile.flips => self.flip_in_segment(),
            2 if self.profile.checkpoint_flips => self.flip_in_checkpoint(),
            3 if self.profile.full_disk => {
                let full = self.random.bool();
                self.trace.line(format_args!("disk full: {full}"));
                self.disk.set_full(full);
            }
            _ => {}
        }
    }

    fn pass_time(&mut self, ms: u64) {
        self.monotonic_ms += ms;
        self.wall_ms += ms;
    }

    /// The wall clock jumps, backwards too.
    fn jump(&mut self) {
        let by = self.random.u64(..100_000);
        self.wall_ms = if self.random.bool() { self.wall_ms - by } else { self.wall_ms + by };
        self.trace.line(format_args!("the clock jumps to {}", self.wall_ms));
    }

    fn kafka_comes_or_goes(&mut self) {
        let (available, topics) = (self.random.bool(), self.random.u32(..4) > 0);
        let login = self.random.u32(..6) > 0;
        self.trace.line(format_args!("brokers: {available}, topics: {topics}, login: {login}"));
        self.kafka.set_login(login);
        self.kafka.set_available(available);
        self.kafka.set_topics(topics);
        if self.profile.has_registry {
            let happened = self.registry.come_or_go(&mut self.registries);
            self.trace.line(format_args!("schema registry: {happened}"));
        }
    }

    /// An operator forces the circuit breaker, or leaves it to itself.
    fn steer_breaker(&mut self) {
        let order = breaker::order(&mut self.random);
        self.trace.line(format_args!("the breaker is forced: {order:?}"));
        self.controls.force_breaker(order);
    }

    fn tick(&mut self) {
        if let Some(keycloak) = &mut self.keycloak {
            keycloak.tick(self.wall_ms);
        }
    }

    /// Keycloak, begun if it does not live and the disk lets it.
    fn keycloak(&mut self) -> Option<&mut Keycloak> {
        if self.keycloak.is_none() {
            self.settle_last_epoch();
            match Keycloak::begin(self.disk.clone(), self.profile.options, self.wall_ms) {
                Ok(keycloak) => {
                    self.disk.set_writer_alive(true);
                    self.summary.writers += 1;
                    self.trace.line(format_args!("Keycloak begins epoch {}", keycloak.epoch));
                    self.keycloak = Some(keycloak);
                }
                Err(error) => self.trace.line(format_args!("Keycloak cannot begin: {error}")),
            }
        }
        self.keycloak.as_mut()
    }

    /// The writer asks the database what became of the transactions that the last epoch left open.
    fn settle_last_epoch(&mut self) {
        if !self.profile.settles {
            return;
        }
        let Self { random, oracle, .. } = self;
        let decided = |ids: &[String]| match ids.first().and_then(|id| oracle.fate(id))? {
            // Nobody but the database knew, and it may have forgotten.
            Fate::InDoubt | Fate::Open => {
                *random.choice(&[Some(Fate::Committed), Some(Fate::Aborted), None])?
            }
            fate => Some(fate),
        };
        let durable = self.profile.options.fsync != Fsync::Never;
        for late in settlement::settle(&self.disk, durable, self.wall_ms, decided) {
            self.trace.line(format_args!("the next start settles {:?}: {:?}", late.fate, late.ids));
            self.oracle.settled(&late.ids, late.fate);
            // Dated once more.
            self.committed.retain(|id, _| !late.ids.contains(id));
            self.settled_late.push(late);
        }
    }

    fn begin_transaction(&mut self) {
        let Some(keycloak) = self.keycloak() else { return };
        keycloak.begin_transaction();
        let last = keycloak.open.len() - 1;
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
        let mut events = Vec::new();
        let mut keys = Vec::new();
        let mut low = BTreeSet::new();
        let first = self.summary.events;
        for number in first..first + self.random.usize(1..=EVENTS) {
            let id = format!("event-{number}");
            let user = format!("user-{}", self.random.u32(..6));
            let body = self.body(&id);
            let path = format!("users/{user}/groups");
            let (kind, subject) = if self.random.bool() {
                (EventKind::User, (Field::UserId, &*user))
            } else {
                (EventKind::Admin, (Field::ResourcePath, &*path))
            };
            let is_low = self.priorities.bool();
            let event_type = (Field::Type, if is_low { LOW_PRIORITY } else { "LOGOUT" });
            payload.push(kind, 1, &[(Field::Id, &id), event_type, subject], body.as_bytes());
            if is_low && kind == EventKind::User {
                low.insert(id.clone());
            }
            events.push(Raised { id, kind });
            keys.push(user);
        }
        self.summary.events += events.len();
        let now_ms = self.wall_ms;
        let Some(keycloak) = &mut self.keycloak else { return };
        let done = keycloak.prepare(index, &events, payload.payload(), now_ms);
        let transaction = &mut keycloak.open[index];
        if transaction.written && transaction.ordinal.is_none() {
            transaction.ordinal = Some(self.oracle.next_prepare());
        }
        let ordinal = transaction.ordinal.unwrap_or(0);
        self.largest_transaction = self.largest_transaction.max(transaction.ids().count());
        let epoch = keycloak.epoch.to_string();
        self.trace.line(format_args!("PREPARE {done:?}: {events:?}"));
        for (event, key) in events.into_iter().zip(keys) {
            self.oracle.raised(event.id.clone(), event.kind, epoch.clone(), key, ordinal);
            if low.contains(&event.id) {
                self.oracle.is_of_low_priority(&event.id);
            }
            if done != Prepare::Done {
                self.oracle.counted(&event.id);
                self.oracle.may_be_unknown(&event.id);
            }
        }
        if done == Prepare::Refused {
            self.settle_at(index, Fate::Aborted);
        }
    }

    fn body(&mut self, id: &str) -> String {
        match self.random.u32(..100) {
            0 => format!("{{\"{id}\":\"poison\"}}"),
            1 => format!("{{\"{id}\":\"poison-at-once\"}}"),
            2 => format!("{{\"{id}\":\"poison-everywhere\"}}"),
            _ => format!("{{\"{id}\":\"{}\"}}", "x".repeat(self.random.usize(..300))),
        }
    }

    fn settle(&mut self, fate: Fate) {
        let open = self.keycloak.as_ref().map_or(0, |keycloak| keycloak.open.len());
        if open > 0 {
            let index = self.random.usize(..open);
            self.settle_at(index, fate);
        }
    }

    fn settle_at(&mut self, index: usize, fate: Fate) {
        let Some(keycloak) = &mut self.keycloak else { return };
        let ids: Vec<_> = keycloak.open[index].ids().cloned().collect();
        self.trace.line(format_args!("{fate:?}: {ids:?}"));
        self.oracle.settled(&ids, fate);
        keycloak.settle(index, fate, self.wall_ms);
        // Whoever sets the clock ahead and back again between two turns is not noticed, and an outcome that is owed gets the date of its writing.
        let is_noticed = self.wall_ms - self.monotonic_ms <= self.noticed_ahead_ms;
        if fate == Fate::Committed && is_noticed && !keycloak.is_owing() {
            let born = Age { monotonic_ms: self.monotonic_ms, wall_ms: self.wall_ms, seen_ms: 0 };
            self.committed.extend(ids.into_iter().map(|id| (id, born)));
        }
    }

    /// Keycloak's life ends: what has no outcome in the journal is in doubt.
    fn bury(&mut self, keycloak: Keycloak) {
        for transaction in &keycloak.open {
            self.oracle.settled(transaction.prepared.iter().map(|(event, _)| &event.id), Fate::InDoubt);
        }
        for settled in keycloak.settled.iter().filter(|settled| settled.outcome.is_none()) {
            let ids = settled.events.iter().map(|(event, _)| &event.id);
            match settled.fate {
                Fate::Committed => self.oracle.settled(ids, Fate::InDoubt),
                _ => ids.for_each(|id| self.oracle.may_be_unknown(id)),
            }
        }
        if keycloak.torn {
            self.oracle.torn(keycloak.epoch.to_string());
        }
        self.oracle.told(keycloak.epoch.to_string(), keycloak.told);
        self.disk.set_writer_alive(false);
        self.past.push(keycloak);
    }

    fn kill_keycloak(&mut self) {
        let Some(keycloak) = self.keycloak.take() else { return };
        self.trace.line(format_args!("Keycloak is killed"));
        if let Some(segment) = keycloak.segment()
            && self.random.bool()
        {
            self.tear(segment);
        }
        self.bury(keycloak);
    }

    /// A write was under way: some of a record's bytes follow the last whole one.
    fn tear(&mut self, segment: SegmentName) {
        let mut record = vec![0xFF, 0x4B, 0x46, 0xFE, 1, 2, 3, 4, 200, 0, 0, 0, 1, 0, 0, 0];
        record.extend(std::iter::repeat_with(|| self.random.u8(..)).take(120));
        record.truncate(self.random.usize(1..record.len()));
        self.disk.tear(segment, &record);
    }

    fn close_keycloak(&mut self) {
        let Some(mut keycloak) = self.keycloak.take() else { return };
        self.trace.line(format_args!("Keycloak stops"));
        keycloak.close(self.wall_ms);
        self.bury(keycloak);
    }

    /// The machine loses its power: everything that runs is gone, and what was not synced may be.
    fn cut_power(&mut self) {
        self.trace.line(format_args!("power cut"));
        self.summary.power_cuts += 1;
        if let Some(keycloak) = self.keycloak.take() {
            self.bury(keycloak);
        }
        self.agent_dies();
        for segment in self.disk.unsynced() {
            self.oracle.cut(segment.epoch.to_string());
        }
        if self.profile.options.fsync != Fsync::Commit {
            // Where the last names are lost and the clock goes back, a later epoch may get the id of an earlier one.
            self.oracle.cut_all();
        }
        for life in self.past.drain(..) {
            let survives = |(segment, end): (SegmentName, usize)| self.disk.survives(segment, end);
            for transaction in &life.open {
                for (event, _) in transaction.prepared.iter().filter(|(_, written)| !survives(*written)) {
                    self.oracle.may_be_lost(&event.id);
                }
            }
            for settled in &life.settled {
                let outcome_survives = settled.outcome.is_some_and(survives);
                for (event, written) in &settled.events {
                    if !survives(*written) {
                        self.oracle.may_be_lost(&event.id);
                    }
                    if !outcome_survives {
                        self.oracle.may_be_unknown(&event.id);
                    }
                }
            }
        }
        for late in self.settled_late.drain(..) {
            let (segment, end) = late.outcome;
            if !self.disk.survives(segment, end) {
                late.ids.iter().for_each(|id| self.oracle.may_be_unknown(id));
            }
        }
        // What was delivered and removed may be there again, without anything that tells its numbers.
        for segment in self.disk.power_cut() {
            self.oracle.cut(segment.epoch.to_string());
        }
    }

    fn flip_in_segment(&mut self) {
        if let Some(segment) = self.disk.flip_in_segment() {
            self.summary.flips += 1;
            self.oracle.damaged(segment.epoch.to_string());
        }
    }

    /// Both copies of the checkpoint are damaged, while no agent has it in memory.
    fn flip_in_checkpoint(&mut self) {
        self.agent_dies();
        if self.disk.checkpoint(DESTINATION).is_some() {
            // Where delivery goes on is a matter of what else is known: records of any epoch that is there may be sent again under new numbers.
            for segment in self.disk.segments() {
                self.oracle.renumbered(segment.epoch.to_string());
            }
            self.disk.flip_in(&format!("{DESTINATION}.checkpoint"), CHECKPOINT_COPIES);
            self.summary.flips += 2;
        }
    }

    fn kill_agent(&mut self) -> Result<(), Violation> {
        if self.agent.is_some() {
            self.trace.line(format_args!("the agent is killed"));
            self.check_checkpoint()?;
            self.agent_dies();
        }
        Ok(())
    }

    fn agent_dies(&mut self) {
        if self.agent.take().is_some() {
            self.kafka.producer_dies();
            self.paused = false;
        }
    }

    fn pause_or_wake_agent(&mut self) {
        self.paused = self.agent.is_some() && !self.paused;
        self.trace.line(format_args!("the agent is paused: {}", self.paused));
    }

    /// Somebody starts an agent on the slot: the lock of one that lives, paused or not, keeps it away.
    fn begin_second_agent(&mut self) -> Result<(), Violation> {
        if self.agent.is_none() {
            return Ok(());
        }
        match self.lock_agent() {
            Some(()) => Err(Violation::TwoAgents),
            None => {
                self.summary.kept_away += 1;
                Ok(())
            }
        }
    }

    /// Takes the agent's lock of the slot, which a living agent holds.
    fn lock_agent(&self) -> Option<()> {
        self.agent.is_none().then_some(())
    }

    /// Begins an agent where the last one left off.
    fn begin_agent(&mut self) -> Result<Option<Agent>, Error> {
        if self.lock_agent().is_none() {
            return Ok(None);
        }
        let (mut storage, mut files) = (self.disk.clone(), self.files.clone());
        self.registry.begin_anew();
        let settings = self.settings();
        let start = Start::find(&mut storage, &mut files, DESTINATION, &settings.topics, self.wall_ms)?;
        let options = FeedOptions { wait_for_settlement: self.profile.settles, ..FeedOptions::default() };
        let feed = Feed::open(storage, start.resume(), options)?;
        Ok(Some(Pipeline::new(feed, start, self.kafka.clone(), files, settings)))
    }

    fn settings(&mut self) -> Settings {
        let policy = match self.profile.options.overflow {
            keycloak::Overflow::Refuse => Overflow::Refuse,
            keycloak::Overflow::DropNew => Overflow::DropNew,
            keycloak::Overflow::DropOld => Overflow::DropOld,
        };
        let segment_bytes = SEGMENT_SIZE as u64;
        let ceiling = |max_bytes| Ceiling { max_bytes, segment_bytes, policy };
        Settings {
            topics: Topics { events: Some(TOPICS[0].to_owned()), admin_events: Some(TOPICS[1].to_owned()) },
            content: Content {
                format: if self.profile.has_registry { Format::JsonSchema } else { Format::Keycloak },
                ..Content::default()
            },
            headers: HeaderMode::CloudEvents,
            in_doubt: match self.profile.in_doubt {
                DoubtPolicy::Publish => InDoubt::Publish,
                DoubtPolicy::Drop => InDoubt::Drop,
                DoubtPolicy::Hold => InDoubt::Hold,
            },
            dead_letter_topic: self.profile.dead_letter_topic.then(|| DEAD_LETTER_TOPIC.to_owned()),
            gap_records: true,
            settle_delay: Duration::from_millis(self.profile.settle_delay_ms),
            ceiling: self.profile.options.max_size.map(ceiling),
            retention: Retention {
                keep: Duration::from_millis(self.profile.keep_ms),
                keep_bytes: self.profile.keep_bytes,
            },
            credit: CREDIT,
            delivery_timeout: Duration::from_secs(120),
            breaker: breaker::settings(),
            backpressure: self
                .profile
                .low_priority
                .map_or_else(backpressure::Settings::default, |_| PRESSURE),
            low_priority: self.profile.low_priority.map_or_else(LowPriority::default, |sample| LowPriority {
                types: vec![LOW_PRIORITY.to_owned()],
                from: Level::Elevated,
                sample,
                stretch: 6,
            }),
            controls: Arc::clone(&self.controls),
            meter: Arc::default(),
            schemas: Arc::new(self.registry.clone()),
            seed: self.random.u64(..),
        }
    }

    /// The agent takes a turn; it is begun if none lives.
    fn turn(&mut self) -> Result<(), Violation> {
        if self.paused {
            return Ok(());
        }
        if self.agent.is_none() {
            match self.begin_agent() {
                Ok(Some(agent)) => {
                    self.trace.line(format_args!("the agent begins"));
                    self.summary.agents += 1;
                    self.agent = Some(agent);
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.agent_failed(&error);
                    return Ok(());
                }
            }
        }
        let clock = Clock { monotonic_ms: self.monotonic_ms, wall_ms: self.wall_ms };
        let Some(agent) = &mut self.agent else { return Ok(()) };
        let before = standing(agent, clock);
        let turn = agent.turn(clock);
        self.noticed_ahead_ms = self.wall_ms - self.monotonic_ms;
        // Making a report costs a listing, and is of interest only where there may be damage, or pressure is judged by it. What was told in a turn that failed was told.
        if self.profile.flips || self.profile.low_priority.is_some() {
            self.damage_told |= agent.report(clock).damaged_ranges > 0;
        }
        // Of a turn that failed too: at the next one the clock may be another.
        check_age(&self.kafka, &mut self.committed, clock, self.profile.settle_delay_ms)?;
        if let Err(error) = turn {
            self.agent_failed(&error);
            self.agent_dies();
            return Ok(());
        }
        let pending = self.kafka.pending();
        self.trace.value(pending);
        // A gap record has one copy in each topic, but for that of what is passed over.
        let gap_records = 1 + TOPICS.len() * (1 + self.files.given_up_count());
        let whole = self.largest_transaction + gap_records;
        if pending > CREDIT.records + whole {
            return Err(Violation::Unbounded(pending));
        }
        before.judge(&standing(agent, clock), whole).map_err(Violation::Breaker)?;
        if self.random.u32(..16) == 0 { self.check_checkpoint() } else { Ok(()) }
    }

    fn agent_failed(&mut self, error: &dyn std::fmt::Display) {
        self.summary.agent_errors += 1;
        let error = error.to_string();
        self.trace.line(format_args!("the agent fails: {error}"));
        self.last_error = Some(error);
    }

    /// The checkpoint on disk covers nothing that was not acknowledged.
    fn check_checkpoint(&self) -> Result<(), Violation> {
        let Some(checkpoint) = self.disk.checkpoint(DESTINATION) else { return Ok(()) };
        let Some(resume) = checkpoint.resume else { return Ok(()) };
        let epoch = resume.epoch.to_string();
        if !self.oracle.is_whole(&epoch) || checkpoint.next_sequence >= STRIDE {
            return Ok(());
        }
        let dead_letters = self.files.dead_letters();
        let laid_aside: BTreeSet<u64> = dead_letters
            .iter()
            .filter(|record| record.epoch == epoch)
            .map(|record| record.sequence)
            .collect();
        let laid_aside = &laid_aside | &oracle::passed_over(&self.kafka.logs(), &epoch);
        let next = checkpoint.next_sequence;
        match self.kafka.first_unacknowledged(&epoch, next, &laid_aside) {
            None => Ok(()),
            Some(number) => Err(Violation::CheckpointAhead(next - 1, epoch, number)),
        }
    }

    /// The faults end: Keycloak has gone, disk and Kafka are well, and the agent has time. A last Keycloak then commits once more.
    fn heal(&mut self) -> Result<(), Violation> {
        self.trace.line(format_args!("the faults end"));
        self.disk.set_failure_rates(FailureRates::default());
        self.disk.set_full(false);
        self.kill_keycloak();
        self.kafka.set_available(true);
        self.kafka.set_topics(true);
        self.kafka.set_login(true);
        self.registry.heal();
        self.controls.force_breaker(None);
        self.paused = false;
        if self.profile.settles {
            // Only the next start settles what is in doubt.
            self.keycloak();
            self.kill_keycloak();
        }
        self.wait_until_delivered()?;
        self.begin_transaction();
        self.settle(Fate::Committed);
        self.close_keycloak();
        self.wait_until_delivered()
    }

    fn wait_until_delivered(&mut self) -> Result<(), Violation> {
        let deadline = self.monotonic_ms + LIVENESS_MS;
        self.last_error = None;
        while self.monotonic_ms < deadline {
            self.pass_time(20);
            self.turn()?;
            if self.agent.as_ref().is_some_and(Agent::is_drained) && self.judge().is_ok() {
                return Ok(());
            }
        }
        if let Some(error) = self.last_error.take() {
            return Err(Violation::Failed(error));
        }
        self.judge()?;
        Err(Violation::NotLive(LIVENESS_MS))
    }

    fn judge(&self) -> Result<(), Violation> {
        self.oracle.judge(&Seen {
            logs: &self.kafka.logs(),
            dead_letters: &self.files.dead_letters(),
            held: &self.files.held_ids(),
            damage_told: self.damage_told,
        })
    }

    fn summary(&self) -> Summary {
        let logs = self.kafka.logs();
        for record in logs.iter().flatten() {
            self.trace.value((&record.id, record.sequence, &record.outcome));
        }
        Summary {
            trace: self.trace.number(),
            records: logs.iter().map(Vec::len).sum(),
            dead_letters: self.files.dead_letters().len(),
            ..self.summary
        }
    }
}

/// How old a committed event is.
#[derive(Clone, Copy, Debug)]
struct Age {
    /// When it was committed, in monotonic milliseconds.
    monotonic_ms: u64,
    /// When it was committed, in milliseconds since the Unix epoch.
    wall_ms: u64,
    /// The most that the agent could see in a turn, by the date or by the time since, in milliseconds.
    seen_ms: u64,
}

impl Age {
    fn see(&mut self, clock: Clock) {
        let (since, dated) =
            (clock.monotonic_ms - self.monotonic_ms, clock.wall_ms.saturating_sub(self.wall_ms));
        self.seen_ms = self.seen_ms.max(since).max(dated);
    }
}

/// What was published in this turn is as old as the settle delay, or was so in one before it: what is read but not sent is not judged again.
fn check_age(
    kafka: &SimulatedKafka,
    committed: &mut BTreeMap<String, Age>,
    clock: Clock,
    delay_ms: u64,
) -> Result<(), Violation> {
    committed.values_mut().for_each(|age| age.see(clock));
    for (id, outcome) in kafka.take_news() {
        match committed.get(&id).filter(|_| outcome == "committed") {
            Some(age) if age.seen_ms < delay_ms => {
                return Err(Violation::TooEarly(id, age.seen_ms, delay_ms));
            }
            _ => {}
        }
    }
    Ok(())
}

fn standing(agent: &Agent, clock: Clock) -> Standing {
    let kafka = agent.sink();
    Standing { breaker: agent.breaker().report(clock), sent: kafka.taken(), trouble: kafka.trouble() }
}
