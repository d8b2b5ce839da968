//! The pool's decisions under thousands of seeded schedules, with connections that are simulated.
//!
//! A small pipeline sends numbered records of some keys, takes in outcomes and sends everything again after a failure, as the real one does. Around it happens at random what
//! happens to a Kafka client: acknowledgements in any order between keys, connections that fail, stall, or lose their brokers, a cluster that cannot be reached,
//! and wishes for other settings, some of them with a wrong password. What must hold at every step is asserted where it would be broken; at the end everything is healed and
//! must come to rest.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use keyferry_event::{Encoder, Envelope, Failure, FailureClass, HeaderMode, Record, SendError, Token};
use keyferry_journal::event::{EventEncoder, Events, Field};
use keyferry_journal::{Epoch, EventKind, Outcome};

use super::connection::{Connection, Connector};
use super::generations::Generations;
use super::handle::Change;
use super::settings::PoolSettings;
use super::snapshot::ConnectionSnapshot;
use crate::settings::{ProducerSettings, Requests};
use crate::topics::{Answer, Described, Description, Request};

/// How many schedules are run unless the environment says otherwise.
const SCHEDULES: u64 = 400;

/// A xorshift generator: small, and the same everywhere (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// A record under way in a connection.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    token: Token,
    key: u64,
    number: u64,
}

/// What a simulated connection holds, kept where the world can act on it.
#[derive(Debug, Default)]
struct State {
    generation: u64,
    right_password: bool,
    queue: VecDeque<UnderWay>,
    outcomes: Vec<(Token, Result<(), Failure>)>,
    answers: VecDeque<Answer>,
    /// When the question ends without an answer.
    asked_until: Option<u64>,
    /// The issuer gave it no token.
    lacks_token: bool,
    /// The right to write is missing.
    lacks_right: bool,
    /// It accepts nothing any more and fails what it has.
    is_fatal: bool,
    /// It will never deliver anything.
    is_lost: bool,
    /// It delivers nothing until it is reset, and does not know why.
    is_stuck: bool,
    /// It has one request unanswered at most.
    is_careful: bool,
}

impl State {
    fn outstanding(&self) -> u64 {
        (self.queue.len() + self.outcomes.len()) as u64
    }

    fn can_deliver(&self) -> bool {
        self.right_password && !self.lacks_token && !self.is_fatal && !self.is_lost && !self.is_stuck
    }
}

/// Everything outside of the pool.
#[derive(Debug, Default)]
struct World {
    now_ms: u64,
    is_reachable: bool,
    connections: BTreeMap<u64, State>,
    /// The numbers that have arrived, key by key, copies included.
    arrived: BTreeMap<u64, Vec<u64>>,
    made: u64,
    group: (u64, usize),
    /// The issuer of tokens is away.
    is_without_issuer: bool,
    /// New connections lack a right.
    is_without_right: bool,
}

impl World {
    /// Delivers the record at `at` of a connection unless one of its key is before it.
    fn deliver(&mut self, id: u64, at: usize) {
        let Some(state) = self.connections.get_mut(&id).filter(|state| state.can_deliver()) else { return };
        let Some(record) = state.queue.get(at).copied() else { return };
        if state.queue.iter().take(at).any(|earlier| earlier.key == record.key) {
            return;
        }
        state.queue.remove(at);
        state.outcomes.push((record.token, Ok(())));
        let arrived = self.arrived.entry(record.key).or_default();
        let newest = arrived.iter().max().copied();
        let is_copy = arrived.contains(&record.number);
        let follows = newest.is_none_or(|newest| record.number > newest);
        assert!(is_copy || follows, "{record:?} arrives after {newest:?} of its key");
        arrived.push(record.number);
    }

    fn break_down(&mut self, id: u64) {
        let Some(state) = self.connections.get_mut(&id) else { return };
        state.is_fatal = true;
        while let Some(record) = state.queue.pop_front() {
            state.outcomes.push((record.token, Err(failure(FailureClass::Fatal))));
        }
    }
}

fn failure(class: FailureClass) -> Failure {
    Failure { class, reason: format!("simulated: {class}") }
}

struct Simulated {
    id: u64,
    world: Rc<RefCell<World>>,
}

impl Simulated {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(self
            .world
            .borrow_mut()
            .connections
            .get_mut(&self.id)
            .unwrap_or_else(|| panic!("{} is gone", self.id)))
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.world.borrow_mut().connections.remove(&self.id);
    }
}

impl Connection for Simulated {
    fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError> {
        let mut world = self.world.borrow_mut();
        let generation = world.connections[&self.id].generation;
        for (id, other) in &world.connections {
            let is_empty = other.generation == generation || other.outstanding() == 0;
            assert!(is_empty, "connection {} receives while {id} of another generation delivers", self.id);
        }
        let Some(state) = world.connections.get_mut(&self.id) else { panic!("{} is gone", self.id) };
        if state.is_fatal {
            return Err(SendError::Failed(failure(FailureClass::Fatal)));
        }
        if state.queue.len() >= 20 {
            return Err(SendError::Full);
        }
        let key = String::from_utf8_lossy(record.key).into_owned();
        let number = u64::from_le_bytes(record.value.try_into().unwrap_or_else(|_| panic!("{record:?}")));
        let key =
            key.strip_prefix("key-").and_then(|key| key.parse().ok()).unwrap_or_else(|| panic!("{key}"));
        state.queue.push_back(UnderWay { token, key, number });
        Ok(())
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        let (now_ms, is_reachable) = (self.world.borrow().now_ms, self.world.borrow().is_reachable);
        let outcomes = self.with(|state| {
            if is_reachable && state.right_password && !state.lacks_token && state.asked_until.is_some() {
                state.asked_until = None;
                let described = match state.lacks_right {
                    true => Described::Refused(failure(FailureClass::Authorisation)),
                    false => Described::Present(Description::default()),
                };
                state.answers.push_back(Answer::Described(Ok(vec![("events".to_owned(), described)])));
            }
            if state.asked_until.is_some_and(|until| now_ms >= until) {
                state.asked_until = None;
                state.answers.push_back(Answer::Described(Err(failure(FailureClass::Transient))));
            }
            std::mem::take(&mut state.outcomes)
        });
        for (token, result) in outcomes {
            outcome(token, result);
        }
    }

    fn reset(&mut self, requests: Requests) -> Result<(), Failure> {
        self.with(|state| {
            let State { generation, right_password, .. } = *state;
            let is_careful = requests == Requests::One;
            *state = State { generation, right_password, is_careful, ..State::default() };
        });
        Ok(())
    }

    fn outstanding(&self) -> u64 {
        self.with(|state| state.outstanding())
    }

    fn lost(&self) -> Option<Failure> {
        self.with(|state| state.is_lost.then(|| failure(FailureClass::Transient)))
    }

    fn trouble(&self) -> Option<Failure> {
        let is_reachable = self.world.borrow().is_reachable;
        self.with(|state| match state {
            _ if !is_reachable => Some(failure(FailureClass::Transient)),
            state if !state.right_password || state.lacks_token => {
                Some(failure(FailureClass::Authentication))
            }
            _ => None,
        })
    }

    fn lacks_token(&self) -> bool {
        self.with(|state| state.lacks_token)
    }

    fn ask(&mut self, request: &Request) -> Result<(), Failure> {
        let until = self.world.borrow().now_ms + request.timeout.as_millis() as u64;
        self.with(|state| {
            assert!(state.asked_until.is_none(), "asked twice");
            state.asked_until = Some(until);
        });
        Ok(())
    }

    fn answer(&mut self) -> Option<Answer> {
        self.with(|state| state.answers.pop_front())
    }

    fn describe(&self, _: &mut ConnectionSnapshot) {}
}

struct Maker {
    world: Rc<RefCell<World>>,
}

impl Connector for Maker {
    type Connection = Simulated;

    fn connect(
        &mut self,
        settings: &ProducerSettings,
        of: usize,
        requests: Requests,
    ) -> Result<Simulated, Failure> {
        let mut world = self.world.borrow_mut();
        world.made += 1;
        let (group, count) = world.group;
        world.group = if count == 0 { (group + 1, of - 1) } else { (group, count - 1) };
        let (id, generation) = (world.made, world.group.0);
        let right_password = is_right(settings);
        let (lacks_token, lacks_right) = (world.is_without_issuer, world.is_without_right);
        let is_careful = requests == Requests::One;
        let state =
            State { generation, right_password, lacks_token, lacks_right, is_careful, ..State::default() };
        world.connections.insert(id, state);
        Ok(Simulated { id, world: Rc::clone(&self.world) })
    }

    fn retire(&mut self, connection: Simulated) {
        assert_eq!(connection.outstanding(), 0, "a connection is retired with records under way");
    }
}

fn settings(serial: u64, password: &str) -> ProducerSettings {
    let pairs = [("client.id", serial.to_string()), ("sasl.password", password.to_owned())];
    ProducerSettings::new(pairs.map(|(name, value)| (name.to_owned(), value)))
}

/// Whether the password is the right one; told by comparing, because settings keep their values to themselves.
fn is_right(made: &ProducerSettings) -> bool {
    made == &made.clone().with_property("sasl.password", "right")
}

/// The pipeline in small.
struct Sender {
    pool: Generations<Maker>,
    world: Rc<RefCell<World>>,
    encoder: Encoder,
    total: u64,
    next: u64,
    next_token: u64,
    /// What was sent and has no outcome.
    under_way: BTreeMap<Token, u64>,
    settled: Vec<bool>,
    settled_at_ms: u64,
}

impl Sender {
    fn new(world: Rc<RefCell<World>>, limits: PoolSettings, total: u64) -> Self {
        let maker = Maker { world: Rc::clone(&world) };
        let pool = Generations::new(maker, settings(0, "right"), limits, 0).unwrap_or_else(|f| panic!("{f}"));
        let (encoder, settled) = (Encoder::new(HeaderMode::None), vec![false; total as usize]);
        let (next, next_token, under_way, settled_at_ms) = (0, 0, BTreeMap::new(), 0);
        Self { pool, world, encoder, total, next, next_token, under_way, settled, settled_at_ms }
    }

    fn is_done(&self) -> bool {
        self.settled.iter().all(|settled| *settled)
    }

    fn turn(&mut self, burst: u64) {
        let now_ms = self.world.borrow().now_ms;
        let mut failed = false;
        let Self { pool, under_way, settled, settled_at_ms, .. } = self;
        pool.poll(now_ms, &mut |token, result| {
            let number = under_way.remove(&token).unwrap_or_else(|| panic!("{token:?} is not under way"));
            *settled_at_ms = now_ms;
            match result {
                Ok(()) => settled[number as usize] = true,
                Err(_) => failed = true,
            }
        });
        let is_stalled = !self.under_way.is_empty() && now_ms >= self.settled_at_ms + 1_000;
        if failed || is_stalled && self.pool.lost().is_some() {
            return self.begin_anew();
        }
        for _ in 0..burst {
            if self.next == self.total || self.under_way.len() >= 60 {
                return;
            }
            match self.send() {
                Ok(()) => self.next += 1,
                Err(SendError::Full) => return,
                Err(SendError::Failed(_)) => return self.begin_anew(),
            }
        }
    }

    fn send(&mut self) -> Result<(), SendError> {
        let mut payload = EventEncoder::new();
        let user = format!("key-{}", self.next * 7 % 11 % 5);
        let fields = [(Field::Id, "e"), (Field::UserId, user.as_str())];
        payload.push(EventKind::User, 1, &fields, &self.next.to_le_bytes());
        let event =
            Events::of(payload.payload()).next().and_then(Result::ok).unwrap_or_else(|| panic!("no event"));
        let envelope = Envelope { node: "n", epoch: Epoch(256), outcome: Outcome::Committed, sequence: 1 };
        let record = self.encoder.encode("events", &event, &envelope);
        let record = record.map_err(|unknown| SendError::Failed(unknown.into()))?;
        let token = Token(self.next_token);
        self.pool.send(token, &record)?;
        if self.under_way.is_empty() {
            self.settled_at_ms = self.world.borrow().now_ms;
        }
        self.next_token += 1;
        self.under_way.insert(token, self.next);
        Ok(())
    }

    fn begin_anew(&mut self) {
        self.under_way.clear();
        self.next = self.settled.iter().position(|settled| !settled).unwrap_or(self.settled.len()) as u64;
        self.pool.reset().unwrap_or_else(|failure| panic!("{failure}"));
    }
}

fn limits() -> PoolSettings {
    PoolSettings {
        connections: 2,
        min_connections: 1,
        max_connections: 4,
        topics: vec!["events".to_owned()],
        warm_up_timeout: Duration::from_secs(5),
        drain_timeout: Duration::from_secs(5),
        idle_after: Duration::from_secs(20),
        ..PoolSettings::default()
    }
}

/// Runs one schedule; answers how many replacements there were, how many were given up, and how many resets.
fn run(seed: u64) -> (u64, u64, u64) {
    let mut random = Random::new(seed);
    let world = Rc::new(RefCell::new(World { is_reachable: true, ..World::default() }));
    let mut sender = Sender::new(Rc::clone(&world), limits(), 300);
    // Half of the schedules know no failure at all: there, nothing may arrive twice.
    let is_rough = random.one_in(2);
    let mut serial = 0;
    for _ in 0..600 {
        world.borrow_mut().now_ms += random.below(200);
        act(&mut random, &mut world.borrow_mut(), is_rough);
        if random.one_in(25) {
            serial += 1;
            sender.pool.want(wish(&mut random, serial));
        }
        match random.below(100) {
            0 if is_rough => sender.pool.beware(failure(FailureClass::Configuration)),
            1..10 => sender.pool.trust(),
            _ => {}
        }
        let burst = random.below(4);
        sender.turn(burst);
    }
    come_to_rest(&mut random, &world, &mut sender, serial + 1);
    let snapshot = sender.pool.snapshot();
    let arrived: u64 = world.borrow().arrived.values().map(|numbers| numbers.len() as u64).sum();
    assert!(snapshot.resets > 0 || arrived == sender.total, "{arrived} arrived without any reset");
    (snapshot.swaps_completed, snapshot.swaps_rolled_back, snapshot.resets)
}

/// Something happens in the world.
fn act(random: &mut Random, world: &mut World, is_rough: bool) {
    let ids: Vec<u64> = world.connections.keys().copied().collect();
    let any = |random: &mut Random| ids[random.below(ids.len() as u64) as usize];
    if world.is_reachable {
        for _ in 0..random.below(8) {
            let (id, at) = (any(random), random.below(6) as usize);
            world.deliver(id, at);
        }
    }
    if random.one_in(if world.is_reachable { 150 } else { 20 }) {
        world.is_reachable ^= true;
    }
    if !is_rough {
        return;
    }
    let id = any(random);
    if random.one_in(120) {
        world.break_down(id);
    }
    let Some(state) = world.connections.get_mut(&id) else { return };
    state.is_lost |= random.one_in(200);
    // Only what has records can be stuck with them: an idle one would fail its check instead.
    state.is_stuck |= !state.queue.is_empty() && random.one_in(200);
}

fn wish(random: &mut Random, serial: u64) -> Change {
    let password = if random.one_in(4) { "wrong" } else { "right" };
    Change {
        settings: (!random.one_in(3)).then(|| settings(serial, password)),
        connections: random.one_in(3).then(|| random.below(6) as usize),
        limits: None,
        cause: format!("wish {serial}"),
    }
}

/// Heals everything and wishes for the last settings: all must arrive, the wish must come true, and no replacement may remain.
fn come_to_rest(random: &mut Random, world: &Rc<RefCell<World>>, sender: &mut Sender, serial: u64) {
    let last = settings(serial, "right");
    sender.pool.want(Change {
        settings: Some(last.clone()),
        connections: None,
        limits: None,
        cause: "the last".to_owned(),
    });
    let deadline = world.borrow().now_ms + 120_000;
    loop {
        sender.pool.trust();
        {
            let mut world = world.borrow_mut();
            world.now_ms += 100;
            world.is_reachable = true;
            let ids: Vec<u64> = world.connections.keys().copied().collect();
            for id in ids {
                (0..10).for_each(|_| world.deliver(id, 0));
            }
        }
        let burst = random.below(40);
        sender.turn(burst);
        let is_last = sender.pool.serving() == &last;
        if sender.is_done() && is_last && sender.pool.snapshot().swap.is_none() {
            return;
        }
        let snapshot = sender.pool.snapshot();
        let (next, done) = (sender.next, sender.is_done());
        assert!(
            world.borrow().now_ms < deadline,
            "no rest: next {next}, done {done}, last {is_last}, {snapshot:?}"
        );
    }
}

/// A pool with `connections` connections, and some records for each of them.
fn pool(connections: usize) -> Sender {
    let world = Rc::new(RefCell::new(World { is_reachable: true, ..World::default() }));
    let mut sender = Sender::new(world, PoolSettings { connections, ..limits() }, 300);
    sender.turn(10);
    sender
}

impl Sender {
    fn after(&mut self, pause_ms: u64) -> &mut Self {
        self.world.borrow_mut().now_ms += pause_ms;
        self
    }

    fn wish(&mut self, serial: u64, password: &str) {
        let cause = "a wish".to_owned();
        let settings = Some(settings(serial, password));
        self.pool.want(Change { settings, cause, ..Change::default() });
    }

    /// Everything in the connections made first, `count` of them, is delivered.
    fn deliver_all(&self, count: u64) {
        let mut world = self.world.borrow_mut();
        (1..=count).for_each(|id| (0..100).for_each(|_| world.deliver(id, 0)));
    }

    fn serves(&self, serial: u64) -> bool {
        self.pool.serving() == &settings(serial, "right")
    }
}

#[test]
fn while_the_old_generation_is_drained_nothing_is_sent() {
    let mut sender = pool(2);
    sender.wish(1, "right");
    (0..3).for_each(|_| sender.after(10).turn(0));
    assert!(matches!(sender.send(), Err(SendError::Full)));
    sender.deliver_all(2);
    sender.after(10).turn(0);
    assert!(sender.serves(1) && sender.send().is_ok());
}

#[test]
fn while_a_topic_is_missing_a_connection_has_one_request_unanswered_at_most() {
    let mut sender = pool(1);
    let are_careful = |sender: &Sender| {
        let world = sender.world.borrow();
        world.connections.values().map(|state| state.is_careful).collect::<Vec<_>>()
    };
    sender.wish(1, "right");
    sender.after(10).turn(0);
    sender.pool.beware(failure(FailureClass::Configuration));
    assert!(matches!(sender.send(), Err(SendError::Failed(_))), "what waits is sent again first");
    sender.turn(10);
    assert_eq!(are_careful(&sender), [true], "neither the old producer nor the one that was to replace it");
    for _ in 0..100 {
        sender.after(500).turn(1);
        sender.deliver_all(1);
    }
    assert!(sender.serves(1), "what was wished for is not forgotten");
    assert_eq!(are_careful(&sender), [true], "nor does it make a difference");
    sender.pool.trust();
    for _ in 0..100 {
        sender.after(500).turn(1);
        sender.deliver_all(100);
    }
    assert_eq!(are_careful(&sender), [false]);
    assert!(sender.serves(1));
}

#[test]
fn an_idle_pool_swaps_as_soon_as_the_new_generation_has_answered() {
    let mut sender = pool(1);
    sender.deliver_all(1);
    sender.wish(1, "right");
    (0..3).for_each(|_| sender.after(10).turn(0));
    assert!(sender.serves(1));
}

#[test]
fn a_new_generation_that_is_not_let_in_leaves_the_old_one_at_work_and_says_why() {
    let mut sender = pool(1);
    sender.wish(1, "wrong");
    for _ in 0..40 {
        sender.after(100).turn(1);
        sender.deliver_all(1);
    }
    let snapshot = sender.pool.snapshot();
    assert!(sender.serves(0) && snapshot.swap.is_none(), "{snapshot:?}");
    let failure = snapshot.last_swap.and_then(|swap| swap.failure).unwrap_or_default();
    assert!(failure.contains("authentication"), "{failure}");
    assert!(sender.settled.iter().filter(|settled| **settled).count() > 30, "the old one was held up");
}

#[test]
fn a_new_generation_that_may_not_write_leaves_the_old_one_at_work_and_names_topic_and_reason() {
    let mut sender = pool(1);
    sender.world.borrow_mut().is_without_right = true;
    sender.wish(1, "right");
    (0..3).for_each(|_| sender.after(10).turn(0));
    let snapshot = sender.pool.snapshot();
    assert!(sender.serves(0) && snapshot.swap.is_none(), "{snapshot:?}");
    let failure = snapshot.last_swap.and_then(|swap| swap.failure);
    assert_eq!(failure.as_deref(), Some("topic events: simulated: authorisation"));
    sender.deliver_all(1);
    sender.after(10).turn(0);
    assert!(sender.send().is_ok(), "the old one was held up");
}

#[test]
fn records_of_a_connection_that_was_never_let_in_leave_by_the_new_one_as_soon_as_that_is() {
    let world =
        Rc::new(RefCell::new(World { is_reachable: true, is_without_issuer: true, ..World::default() }));
    let mut sender = Sender::new(world, limits(), 300);
    sender.turn(10);
    sender.after(1_000).turn(0);
    sender.world.borrow_mut().is_without_issuer = false;
    sender.wish(1, "right");
    (0..4).for_each(|_| sender.after(10).turn(0));
    assert!(sender.serves(1) && sender.pool.take_renewed() && !sender.pool.take_renewed());
}

#[test]
fn connections_without_a_token_are_replaced_when_the_issuer_is_back() {
    let world =
        Rc::new(RefCell::new(World { is_reachable: true, is_without_issuer: true, ..World::default() }));
    let mut sender = Sender::new(world, limits(), 300);
    (0..100).for_each(|_| sender.after(100).turn(1));
    let attempts = sender.pool.snapshot().swaps_rolled_back;
    assert!((4..=6).contains(&attempts), "{attempts} attempts in ten seconds");
    sender.world.borrow_mut().is_without_issuer = false;
    (0..30).for_each(|_| sender.after(100).turn(0));
    assert_eq!(sender.pool.snapshot().swaps_completed, 1);
}

#[test]
fn a_new_generation_that_never_answers_is_given_up_and_tried_again_when_there_is_hope() {
    let mut sender = pool(1);
    sender.world.borrow_mut().is_reachable = false;
    sender.wish(1, "right");
    (0..11).for_each(|_| sender.after(500).turn(0));
    assert_eq!(sender.pool.snapshot().swaps_rolled_back, 1);
    sender.world.borrow_mut().is_reachable = true;
    sender.after(100).turn(0);
    sender.deliver_all(1);
    // Nothing hurts any more, so that there is no hurry.
    (0..65).for_each(|_| sender.after(500).turn(0));
    assert!(sender.serves(1));
}

#[test]
fn a_connection_that_is_lost_while_others_get_on_is_noticed() {
    let mut sender = pool(2);
    let lost = 1;
    sender.world.borrow_mut().connections.get_mut(&lost).unwrap_or_else(|| panic!("gone")).is_lost = true;
    for _ in 0..30 {
        (0..10).for_each(|_| sender.world.borrow_mut().deliver(2, 0));
        sender.after(100).turn(1);
    }
    assert!(sender.pool.snapshot().resets > 0);
}

#[test]
fn a_reset_goes_on_with_the_new_generation_if_that_is_healthy() {
    let mut sender = pool(1);
    sender.wish(1, "right");
    (0..3).for_each(|_| sender.after(10).turn(0));
    assert!(sender.serves(0));
    sender.begin_anew();
    assert!(sender.serves(1));
}

#[test]
fn a_burst_brings_an_idle_pool_back_to_its_size() {
    let mut sender = pool(3);
    sender.total = 0;
    sender.deliver_all(3);
    (0..25).for_each(|_| sender.after(1_000).turn(0));
    assert_eq!(sender.pool.snapshot().size, 1);
    sender.total = 300;
    for _ in 0..100 {
        sender.after(5).turn(10);
        let ids: Vec<u64> = sender.world.borrow().connections.keys().copied().collect();
        ids.iter().for_each(|id| (0..10).for_each(|_| sender.world.borrow_mut().deliver(*id, 0)));
    }
    assert_eq!(sender.pool.snapshot().size, 3);
}

#[test]
fn nothing_is_lost_doubled_or_reordered_whatever_happens_to_the_connections() {
    let count = std::env::var("KEYFERRY_POOL_SCHEDULES").ok().and_then(|count| count.parse().ok());
    let (mut completed, mut rolled_back, mut resets) = (0, 0, 0);
    for seed in 0..count.unwrap_or(SCHEDULES) {
        let result = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|_| panic!("seed {seed}"));
        completed += result.0;
        rolled_back += result.1;
        resets += result.2;
    }
    // Schedules in which nothing happens would show nothing.
    assert!(completed > 1_000 && rolled_back > 200 && resets > 200, "{completed} {rolled_back} {resets}");
}
