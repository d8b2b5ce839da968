//! Which connections receive records: the pool's decisions, without librdkafka and with the clock passed in.
//!
//! The invariant: **one generation of connections receives records, and none does while another one still has some.** Within a generation a key always goes to the
//! same connection, which keeps its order; between generations the order is kept because the second begins when the first has delivered everything. A
//! replacement therefore ends in one of two ways: the new generation takes over, or it was not healthy in time and the old one stays.
//!
//! A broker takes whichever batch of a new producer comes first. Of a partition that was created a moment ago it may refuse one and take the next, so that the
//! order is lost. Hence: while a topic is missing that records wait for, the connections have one request unanswered at most, and are replaced when it is there again.
//!
//! A replacement that was given up is tried again by and by: who asked for it (a changed password, say) asks only once, and the cause of its failure may be an
//! outage of the cluster rather than the change itself.
//!
//! Connections that got no token are replaced without anybody's wish: librdkafka asks for another only seconds later, and a new client asks at once.

use keyferry_event::{Failure, FailureClass, Record, SendError, Token};

use crate::pool::connection::{Connection, Connector};
use crate::pool::demand::Demand;
use crate::pool::handle::Change;
use crate::pool::millis;
use crate::pool::settings::PoolSettings;
use crate::pool::shard::shard;
use crate::pool::snapshot::{
    ConnectionSnapshot, ConnectionState, EndedSwap, PoolSnapshot, SwapPhase, SwapSnapshot,
};
use crate::settings::{ProducerSettings, Requests};
use crate::topics::{Answer, Described, Question, Request};

/// Names the producers that receive: they are others whenever this is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation {
    generation: u64,
    resets: u64,
}

/// A connection with records under way that has acknowledged nothing for so long is asked whether it is lost.
const LOST_AFTER_MS: u64 = 1_000;

/// A new generation whose login is refused is given up after so long: another attempt of it would be refused too.
const REFUSED_AFTER_MS: u64 = 3_000;

/// So long after the new generation has reached the cluster the old one could have done the same; what it has not delivered by then is sent again.
const DOOMED_AFTER_MS: u64 = 2_000;

/// The pause between two questions to a connection that is not healthy yet.
const ASK_AGAIN_MS: u64 = 250;

/// A replacement that was given up is begun again after the first of these, then at doubling intervals up to the second.
const RETRY_MS: (u64, u64) = (30_000, 600_000);

/// It is begun again so soon while the old connections are in trouble themselves.
const RETRY_IN_TROUBLE_MS: u64 = 2_000;

/// The connections of a pool.
pub(crate) struct Generations<C: Connector> {
    connector: C,
    limits: PoolSettings,
    serving: Generation<C::Connection>,
    succession: Option<Succession<C::Connection>>,
    /// What was wished for and is not taken up yet.
    wanted: Option<Change>,
    refused: Option<Refused>,
    /// How many connections there shall be when the pool is not idle.
    size: usize,
    demand: Demand,
    /// Why what is outstanding has to be sent again.
    doomed: Option<Failure>,
    /// Whether another generation has taken over since somebody asked.
    renewed: bool,
    /// How many requests a connection may have unanswered after a reset: one while a topic is missing.
    requests: Requests,
    tally: Tally,
    looked_ms: u64,
    now_ms: u64,
}

/// Connections that were started together.
struct Generation<T> {
    number: u64,
    settings: ProducerSettings,
    members: Vec<Member<T>>,
}

struct Member<T> {
    id: u64,
    connection: T,
    since_ms: u64,
    /// When it settled a record last, or took one while it had none.
    progress_ms: u64,
    delivered: u64,
    check: Check,
}

/// What is known of a connection's health.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// It was asked and has not answered.
    Asked,
    /// It is asked when this time has come.
    AskAt(u64),
    /// It knows the topics.
    Healthy,
}

/// A replacement under way.
struct Succession<T> {
    successor: Generation<T>,
    change: Change,
    since_ms: u64,
    phase: Phase,
    /// The time until the next attempt, should this one fail.
    pause_ms: u64,
}

#[derive(Clone, Copy)]
enum Phase {
    WarmingUp,
    Draining {
        /// When the old generation was found to be getting on last.
        hopeful_ms: u64,
        doubt: Doubt,
    },
}

/// What is thought of an old generation that does not get on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// It gets on.
    None,
    /// Perhaps nobody would: the new one is asked once more whether it reaches the cluster.
    Asked,
    /// The new one does, since this time.
    Confirmed(u64),
}

/// A replacement that was given up.
struct Refused {
    change: Change,
    /// When it was begun.
    since_ms: u64,
    /// How long after that it is tried again.
    pause_ms: u64,
}

/// What has happened so far.
#[derive(Default)]
struct Tally {
    generations: u64,
    connections: u64,
    completed: u64,
    rolled_back: u64,
    resets: u64,
    last: Option<EndedSwap>,
}

impl<C: Connector> Generations<C> {
    /// A pool with a first generation of connections, which receives from the beginning.
    pub(crate) fn new(
        mut connector: C,
        settings: ProducerSettings,
        limits: PoolSettings,
        now_ms: u64,
    ) -> Result<Self, Failure> {
        let mut tally = Tally::default();
        let size = limits.clamp(limits.connections);
        let serving =
            Generation::start(&mut connector, settings, (size, Requests::Many), &mut tally, now_ms)?;
        let demand = Demand::new(millis(limits.idle_after), now_ms);
        Ok(Self {
            connector,
            limits,
            serving,
            succession: None,
            wanted: None,
            refused: None,
            size,
            demand,
            doomed: None,
            renewed: false,
            requests: Requests::Many,
            tally,
            looked_ms: now_ms,
            now_ms,
        })
    }

    /// Hands over `record` to the connection of its key.
    pub(crate) fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError> {
        if let Some(failure) = &self.doomed {
            return Err(SendError::Failed(failure.clone()));
        }
        if self.is_draining() {
            return Err(SendError::Full);
        }
        let at = shard(record.key, self.serving.members.len());
        let member = &mut self.serving.members[at];
        if member.connection.outstanding() == 0 {
            member.progress_ms = self.now_ms;
        }
        let result = member.connection.send(token, record);
        match &result {
            Ok(()) => self.demand.sent(),
            Err(SendError::Full) => self.demand.full(),
            Err(SendError::Failed(_)) => {}
        }
        result
    }

    /// Reports the outcomes that have become known, and goes on with whatever is under way.
    pub(crate) fn poll(&mut self, now_ms: u64, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        self.now_ms = now_ms;
        self.serving.poll(now_ms, outcome);
        if let Some(succession) = &mut self.succession {
            succession.successor.poll(now_ms, outcome);
        }
        self.go_on();
        self.begin();
        self.look_for_the_lost();
    }

    /// Wishes for `change`.
    pub(crate) fn want(&mut self, change: Change) {
        self.wanted = Some(match self.wanted.take() {
            Some(earlier) => earlier.and(change),
            None => change,
        });
    }

    /// Forgets every record without an outcome, and begins anew; with the new generation, if that is healthy.
    pub(crate) fn reset(&mut self) -> Result<(), Failure> {
        self.doomed = None;
        self.tally.resets += 1;
        if let Some(succession) = self.succession.take_if(|succession| succession.is_healthy()) {
            // Destroyed here and now, and not retired: nothing of the old may be on its way when the new one sends.
            drop(self.install(succession));
            return Ok(());
        }
        let now_ms = self.now_ms;
        let requests = self.requests;
        self.serving.members.iter_mut().map(|member| member.reset(requests, now_ms)).fold(Ok(()), Result::and)
    }

    /// Whether records wait and nothing is settled any more.
    pub(crate) fn is_stuck(&self) -> bool {
        self.serving.outstanding() > 0 && self.now_ms >= self.serving.progress_ms() + LOST_AFTER_MS
    }

    /// Whether the connections have one request unanswered at most, because a topic was missing.
    pub(crate) fn is_careful(&self) -> bool {
        self.requests == Requests::One
    }

    /// A topic is missing for which records wait: they are to be sent again, and one request at a time.
    pub(crate) fn beware(&mut self, failure: Failure) {
        if self.is_careful() {
            return;
        }
        if let Some(succession) = self.succession.take() {
            self.give_up(succession, failure.clone());
        }
        self.requests = Requests::One;
        self.doomed = Some(failure);
    }

    /// Every topic is there.
    pub(crate) fn trust(&mut self) {
        if self.is_careful() {
            self.requests = Requests::Many;
            self.want(Change { cause: "the topics are there again".to_owned(), ..Change::default() });
        }
    }

    /// Why records that have no outcome yet will never get one unless the pool is reset.
    pub(crate) fn lost(&self) -> Option<Failure> {
        self.doomed.clone().or_else(|| {
            let waiting = self.serving.members.iter().filter(|member| member.connection.outstanding() > 0);
            waiting.map(|member| &member.connection).find_map(Connection::lost)
        })
    }

    /// What a connection that receives complained of last.
    pub(crate) fn trouble(&self) -> Option<Failure> {
        self.serving.trouble()
    }

    /// Whether another generation has taken over since this was asked last.
    pub(crate) fn take_renewed(&mut self) -> bool {
        std::mem::take(&mut self.renewed)
    }

    /// How the producers that receive are made.
    pub(crate) fn serving(&self) -> &ProducerSettings {
        &self.serving.settings
    }

    /// Which producers receive.
    pub(crate) fn incarnation(&self) -> Incarnation {
        Incarnation { generation: self.serving.number, resets: self.tally.resets }
    }

    /// The connection through which questions about the topics are asked.
    pub(crate) fn spokesman(&mut self) -> &mut C::Connection {
        &mut self.serving.members[0].connection
    }

    /// What there is to tell.
    pub(crate) fn snapshot(&self) -> PoolSnapshot {
        let state = if self.is_draining() { ConnectionState::Draining } else { ConnectionState::Active };
        let mut connections = self.serving.describe(state, self.now_ms);
        if let Some(Succession { successor, phase, .. }) = &self.succession {
            let state = match phase {
                Phase::WarmingUp => ConnectionState::WarmingUp,
                Phase::Draining { .. } => ConnectionState::Standby,
            };
            connections.extend(successor.describe(state, self.now_ms));
        }
        PoolSnapshot {
            generation: self.serving.number,
            size: self.serving.members.len(),
            connections,
            swap: self.succession.as_ref().map(|succession| succession.describe(self.now_ms)),
            last_swap: self.tally.last.clone(),
            swaps_completed: self.tally.completed,
            swaps_rolled_back: self.tally.rolled_back,
            resets: self.tally.resets,
            topics: Vec::new(),
        }
    }

    fn is_draining(&self) -> bool {
        self.succession.as_ref().is_some_and(Succession::is_healthy)
    }

    /// Goes on with the replacement under way.
    fn go_on(&mut self) {
        let Some(mut succession) = self.succession.take() else { return };
        match succession.phase {
            Phase::WarmingUp => match self.warm_up(&mut succession) {
                Ok(()) => self.succession = Some(succession),
                Err(failure) => self.give_up(succession, failure),
            },
            Phase::Draining { .. } => self.succession = Some(succession),
        }
        let is_healthy = |succession: &mut Succession<_>| succession.is_healthy();
        if self.serving.outstanding() > 0 {
            self.drain();
        } else if let Some(succession) = self.succession.take_if(is_healthy) {
            for member in self.install(succession).members {
                self.connector.retire(member.connection);
            }
        }
    }

    /// Checks the new generation. Fails when it is not worth while to wait for it any longer.
    fn warm_up(&self, succession: &mut Succession<C::Connection>) -> Result<(), Failure> {
        if succession.successor.check(&self.limits, self.now_ms)? {
            succession.phase = Phase::Draining { hopeful_ms: self.now_ms, doubt: Doubt::None };
            return Ok(());
        }
        let waited_ms = self.now_ms - succession.since_ms;
        let trouble = succession.successor.trouble();
        let is_refused = trouble.as_ref().is_some_and(is_refusal)
            && (waited_ms >= REFUSED_AFTER_MS || succession.successor.lacks_token());
        // One that has no token yet either may be waiting for the moment when it asks again.
        let patience_ms = millis(self.limits.warm_up_timeout);
        let patience_ms =
            if self.serving.lacks_token() { patience_ms.min(REFUSED_AFTER_MS) } else { patience_ms };
        let is_late = waited_ms >= patience_ms;
        let is_outdated = trouble.is_some() && self.wanted.is_some();
        if !(is_refused || is_late || is_outdated) {
            return Ok(());
        }
        Err(trouble.unwrap_or_else(|| {
            Failure::transient(format!("no answer from the cluster within {waited_ms} ms"))
        }))
    }

    /// Watches the old generation deliver what it has, and finds out when only the new one could.
    fn drain(&mut self) {
        let Some(Succession { successor, phase: Phase::Draining { hopeful_ms, doubt }, .. }) =
            &mut self.succession
        else {
            return;
        };
        if self.serving.is_shut_out(self.now_ms) {
            // The new one was let in, so nothing is to be waited for.
            self.doomed = Some(superseded(successor.number));
            return;
        }
        let patience_ms = millis(self.limits.drain_timeout);
        *hopeful_ms = self.serving.progress_ms().max(*hopeful_ms);
        *doubt = match *doubt {
            _ if self.now_ms < *hopeful_ms + patience_ms => Doubt::None,
            Doubt::None => {
                successor.doubt(self.now_ms);
                Doubt::Asked
            }
            Doubt::Asked => match successor.check(&self.limits, self.now_ms) {
                Ok(true) => Doubt::Confirmed(self.now_ms),
                _ => Doubt::Asked,
            },
            Doubt::Confirmed(since_ms) if self.now_ms >= since_ms + DOOMED_AFTER_MS => {
                self.doomed = Some(superseded(successor.number));
                Doubt::Confirmed(since_ms)
            }
            confirmed => confirmed,
        };
    }

    /// Begins the next replacement, if none is under way and there is a cause for one.
    fn begin(&mut self) {
        if self.succession.is_some() {
            return;
        }
        let is_idle = self.demand.is_idle(self.now_ms);
        if let Some(change) = self.wanted.take() {
            self.take_up(change, is_idle);
        } else if let Some(Refused { change, pause_ms, .. }) = self.refused.take_if(|refused| {
            let in_trouble = self.serving.trouble().is_some();
            let pause_ms = if in_trouble { RETRY_IN_TROUBLE_MS } else { refused.pause_ms };
            self.now_ms >= refused.since_ms + pause_ms
        }) {
            let pause_ms = (pause_ms * 2).min(RETRY_MS.1);
            self.start(change, is_idle, pause_ms);
        } else if self.refused.is_none() && self.serving.lacks_token() {
            let cause = "the issuer gave no token".to_owned();
            self.start(Change { cause, ..Change::default() }, is_idle, RETRY_MS.0);
        } else if self.refused.is_none() && self.serving.members.len() != self.size_now(is_idle) {
            let cause = if is_idle { "little has flowed" } else { "more flows again" };
            self.start(Change { cause: cause.to_owned(), ..Change::default() }, is_idle, RETRY_MS.0);
        }
    }

    /// Takes up a wish.
    fn take_up(&mut self, change: Change, is_idle: bool) {
        if let Some((least, most)) = change.limits {
            (self.limits.min_connections, self.limits.max_connections) = (least, most);
            self.size = self.limits.clamp(self.size);
        }
        if let Some(connections) = change.connections {
            self.size = self.limits.clamp(connections);
        }
        if change.settings.is_some() {
            self.refused = None;
        }
        let is_only_size = change.settings.is_none() && change.connections.is_some();
        if is_only_size && self.size_now(is_idle) == self.serving.members.len() {
            return;
        }
        self.start(change, is_idle, RETRY_MS.0);
    }

    fn size_now(&self, is_idle: bool) -> usize {
        if is_idle { self.limits.clamp(self.limits.min_connections) } else { self.size }
    }

    /// Starts a new generation. `pause_ms` is the time until the next attempt, should it fail.
    fn start(&mut self, change: Change, is_idle: bool, pause_ms: u64) {
        let settings = change.settings.clone().unwrap_or_else(|| self.serving.settings.clone());
        let size = self.size_now(is_idle);
        let now_ms = self.now_ms;
        let requests = self.requests;
        match Generation::start(&mut self.connector, settings, (size, requests), &mut self.tally, now_ms) {
            Ok(successor) => {
                tracing::debug!(
                    "{}: generation {} of {size} connections is started",
                    change.cause,
                    successor.number
                );
                let succession =
                    Succession { successor, change, since_ms: now_ms, phase: Phase::WarmingUp, pause_ms };
                self.succession = Some(succession);
            }
            Err(failure) => {
                let number = self.tally.generations;
                self.note_refused(number, change, now_ms, pause_ms, failure);
            }
        }
    }

    /// Lets the new generation go; the old one stays.
    fn give_up(&mut self, succession: Succession<C::Connection>, failure: Failure) {
        let Succession { successor, change, since_ms, pause_ms, .. } = succession;
        self.note_refused(successor.number, change, since_ms, pause_ms, failure);
        for member in successor.members {
            self.connector.retire(member.connection);
        }
    }

    fn note_refused(
        &mut self,
        generation: u64,
        change: Change,
        since_ms: u64,
        pause_ms: u64,
        failure: Failure,
    ) {
        let text = format!("the connections to Kafka stay as they are, because new ones fail: {failure}");
        let is_told =
            |last: &EndedSwap| last.cause == change.cause && last.failure.as_ref() == Some(&failure.reason);
        if self.tally.last.as_ref().is_some_and(is_told) {
            tracing::debug!("{}: {text}", change.cause);
        } else {
            tracing::warn!("{}: {text}", change.cause);
        }
        self.tally.rolled_back += 1;
        self.tally.last = Some(EndedSwap {
            generation,
            cause: change.cause.clone(),
            took_ms: self.now_ms - since_ms,
            failure: Some(failure.reason),
        });
        // A change of the settings that was refused before is still to be made.
        let change = match self.refused.take() {
            Some(earlier) => earlier.change.and(change),
            None => change,
        };
        self.refused = Some(Refused { change, since_ms, pause_ms });
    }

    /// Puts the new generation in the place of the old one, which is returned.
    fn install(&mut self, succession: Succession<C::Connection>) -> Generation<C::Connection> {
        let Succession { successor, change, since_ms, .. } = succession;
        let old = std::mem::replace(&mut self.serving, successor);
        let took_ms = self.now_ms - since_ms;
        tracing::info!(
            "{}: generation {} of {} connections has taken over after {took_ms} ms",
            change.cause,
            self.serving.number,
            self.serving.members.len()
        );
        for member in &mut self.serving.members {
            member.progress_ms = self.now_ms;
        }
        self.renewed = true;
        self.tally.completed += 1;
        let generation = self.serving.number;
        self.tally.last = Some(EndedSwap { generation, cause: change.cause, took_ms, failure: None });
        old
    }

    /// Finds connections that wait in vain while others get on, so that nobody else would ask.
    fn look_for_the_lost(&mut self) {
        if self.doomed.is_some() || self.now_ms < self.looked_ms + LOST_AFTER_MS {
            return;
        }
        self.looked_ms = self.now_ms;
        let waits = |member: &&Member<C::Connection>| {
            member.connection.outstanding() > 0 && self.now_ms >= member.progress_ms + LOST_AFTER_MS
        };
        self.doomed = self.serving.members.iter().filter(waits).find_map(|member| member.connection.lost());
    }
}

impl<T: Connection> Generation<T> {
    fn start<C: Connector<Connection = T>>(
        connector: &mut C,
        settings: ProducerSettings,
        (size, requests): (usize, Requests),
        tally: &mut Tally,
        now_ms: u64,
    ) -> Result<Self, Failure> {
        tally.generations += 1;
        let mut members = Vec::with_capacity(size);
        for _ in 0..size {
            let connection = connector.connect(&settings, size, requests)?;
            tally.connections += 1;
            members.push(Member {
                id: tally.connections,
                connection,
                since_ms: now_ms,
                progress_ms: now_ms,
                delivered: 0,
                check: Check::AskAt(now_ms),
            });
        }
        Ok(Self { number: tally.generations, settings, members })
    }

    fn poll(&mut self, now_ms: u64, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        for member in &mut self.members {
            let Member { connection, progress_ms, delivered, .. } = member;
            connection.poll(&mut |token, result| {
                *progress_ms = now_ms;
                *delivered += u64::from(result.is_ok());
                outcome(token, result);
            });
        }
    }

    fn outstanding(&self) -> u64 {
        self.members.iter().map(|member| member.connection.outstanding()).sum()
    }

    fn trouble(&self) -> Option<Failure> {
        self.members.iter().find_map(|member| member.connection.trouble())
    }

    /// Whether a connection that is not let in holds records.
    fn is_shut_out(&self, now_ms: u64) -> bool {
        self.members.iter().any(|member| member.is_shut_out(now_ms))
    }

    /// Whether one got no token.
    fn lacks_token(&self) -> bool {
        self.members.iter().any(|member| member.connection.lacks_token())
    }

    /// When the connection that has waited longest settled something.
    fn progress_ms(&self) -> u64 {
        let waiting = self.members.iter().filter(|member| member.connection.outstanding() > 0);
        waiting.map(|member| member.progress_ms).min().unwrap_or_default()
    }

    /// Whether every connection is known to be healthy.
    ///
    /// # Errors
    /// One has got an answer that makes it useless.
    fn check(&mut self, limits: &PoolSettings, now_ms: u64) -> Result<bool, Failure> {
        for member in &mut self.members {
            member.check(limits, now_ms)?;
        }
        Ok(self.members.iter().all(|member| member.check == Check::Healthy))
    }

    /// Its health is not known any more.
    fn doubt(&mut self, now_ms: u64) {
        for member in &mut self.members {
            member.check = Check::AskAt(now_ms);
        }
    }

    fn describe(&self, state: ConnectionState, now_ms: u64) -> Vec<ConnectionSnapshot> {
        let describe = |member: &Member<T>| member.describe(self.number, state, now_ms);
        self.members.iter().map(describe).collect()
    }
}

impl<T: Connection> Member<T> {
    fn check(&mut self, limits: &PoolSettings, now_ms: u64) -> Result<(), Failure> {
        while let Some(answer) = self.connection.answer() {
            let Answer::Described(described) = answer else { continue };
            self.check = match described {
                Ok(topics) => {
                    if let Some(failure) = topics.into_iter().find_map(missing_right) {
                        return Err(failure);
                    }
                    Check::Healthy
                }
                Err(_) => Check::AskAt(now_ms + ASK_AGAIN_MS),
            };
        }
        if let Check::AskAt(at_ms) = self.check
            && now_ms >= at_ms
        {
            let question = Question::Describe(limits.topics.clone());
            let asked = self.connection.ask(&Request { question, timeout: limits.warm_up_timeout });
            self.check = asked.map_or(Check::AskAt(now_ms + ASK_AGAIN_MS), |()| Check::Asked);
        }
        Ok(())
    }

    fn is_shut_out(&self, now_ms: u64) -> bool {
        self.connection.outstanding() > 0
            && now_ms >= self.progress_ms + LOST_AFTER_MS
            && self.connection.trouble().as_ref().is_some_and(is_refusal)
    }

    fn reset(&mut self, requests: Requests, now_ms: u64) -> Result<(), Failure> {
        (self.since_ms, self.progress_ms) = (now_ms, now_ms);
        self.connection.reset(requests)
    }

    fn describe(&self, generation: u64, state: ConnectionState, now_ms: u64) -> ConnectionSnapshot {
        let mut snapshot = ConnectionSnapshot {
            id: self.id,
            generation,
            state,
            age_ms: now_ms - self.since_ms,
            delivered: self.delivered,
            last_error: self.connection.trouble().map(|failure| failure.reason),
            ..ConnectionSnapshot::default()
        };
        self.connection.describe(&mut snapshot);
        snapshot
    }
}

impl<T> Succession<T> {
    fn is_healthy(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    fn describe(&self, now_ms: u64) -> SwapSnapshot {
        SwapSnapshot {
            generation: self.successor.number,
            phase: if self.is_healthy() { SwapPhase::Draining } else { SwapPhase::WarmingUp },
            cause: self.change.cause.clone(),
            since_ms: now_ms - self.since_ms,
        }
    }
}

/// Whether a connection that complains like this will not be let in however long it tries.
fn is_refusal(failure: &Failure) -> bool {
    use FailureClass as Class;
    matches!(failure.class, Class::Authentication | Class::Authorisation | Class::Configuration)
}

/// Why what the old generation has must be sent again.
fn superseded(successor: u64) -> Failure {
    Failure::transient(format!(
        "the connections that are replaced deliver nothing any more: generation {successor} sends again what they have"
    ))
}

/// Why a connection that hears this of a topic is worse than the one it shall replace. Everything but a missing right is the cluster's state and not the
/// connection's: the old one meets it too.
fn missing_right((topic, described): (String, Described)) -> Option<Failure> {
    let Described::Refused(failure) = described else { return None };
    let Failure { class, reason } = failure;
    (class == FailureClass::Authorisation)
        .then(|| Failure { class, reason: format!("topic {topic}: {reason}") })
}
