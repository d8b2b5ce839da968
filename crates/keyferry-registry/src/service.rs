//! What a pipeline, an operator and the thread that asks share.
//!
//! The invariant: **the lock is held for a step of the resolver and never while a registry is asked.** Whoever looks up waits for nobody, and an answer that comes after the configuration has changed counts for nothing.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use keyferry_event::{Failure, FailureClass, Schema, SchemaId};
use keyferry_pipeline::schemas::{SchemaLookup, SchemaSource};

use crate::client::{Access, Registry};
use crate::failure::{Kind, Refusal, interpret};
use crate::resolver::{Next, Resolver, Settings, Standing};
use crate::subject::SubjectNameStrategy;

/// The first pause after a failure is shorter than this.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// No pause is longer: an agent that waits sends a request of some kilobytes every 2.5 s on average.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often who waits for an id looks for it.
const LOOK: Duration = Duration::from_millis(20);

/// How a registry is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Where it is, and how one gets in.
    pub access: Access,
    /// What subjects are named after.
    pub subject_name_strategy: SubjectNameStrategy,
}

impl Configuration {
    /// Whether ids by the one are ids by the other.
    fn has_ids_of(&self, other: &Self) -> bool {
        self.access.urls == other.access.urls && self.subject_name_strategy == other.subject_name_strategy
    }

    fn settings(&self) -> Settings {
        Settings { servers: self.access.urls.len(), first_pause: FIRST_PAUSE, longest_pause: LONGEST_PAUSE }
    }
}

/// A subject, and the schema whose id is wanted under it.
type Subject = (String, Schema);

/// The ids of schemas. The thread that asks begins with the first configuration, and ends when this is dropped.
pub struct SchemaRegistry {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Something is wanted, is configured otherwise, or is over.
    changed: Condvar,
    /// Rises when ids that were told are none any more.
    generation: AtomicU64,
    origin: Instant,
    seed: u64,
}

#[derive(Default)]
struct State {
    service: Option<Service>,
    has_thread: bool,
    is_over: bool,
    /// Rises with each change of the configuration.
    version: u64,
    requests: u64,
    busy: Duration,
    /// By [`Kind::ALL`].
    failures: [u64; Kind::ALL.len()],
}

struct Service {
    configuration: Configuration,
    registry: Arc<dyn Registry>,
    resolver: Resolver<Subject>,
}

/// What a registry tells of itself, since the agent has begun to ship.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The server that is asked, or the first; `None` where no registry is configured.
    pub url: Option<String>,
    /// Subjects whose id is known.
    pub known: usize,
    /// Subjects that records wait for.
    pub waiting: usize,
    /// Why they do.
    pub failing: Option<Failing>,
    /// Requests that had an answer or failed.
    pub requests: u64,
    /// How long they took together.
    pub busy: Duration,
    /// How many of them gave no id, by why.
    pub failures: Vec<(Kind, u64)>,
}

/// Why subjects have no id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The kind.
    pub kind: Kind,
    /// What was said, and where to look.
    pub what: String,
    /// For how long it has been so, in milliseconds.
    pub for_ms: u64,
}

impl SchemaRegistry {
    /// One that knows nothing, as it is configured. `seed` is that of the pauses' jitter.
    pub fn new(configuration: Option<Configuration>, seed: u64) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            generation: AtomicU64::new(0),
            origin: Instant::now(),
            seed,
        };
        let registry = Self { shared: Arc::new(shared) };
        registry.configure(configuration);
        registry
    }

    /// From now on it is configured like this. What is known stays known where it is the same registry, and what waits is asked for at once.
    pub fn configure(&self, configuration: Option<Configuration>) {
        self.configure_by(configuration, |access| Arc::new(access.clone()));
    }

    fn configure_by(
        &self,
        configuration: Option<Configuration>,
        reach: impl FnOnce(&Access) -> Arc<dyn Registry>,
    ) {
        let Shared { changed, generation, seed, .. } = &*self.shared;
        let mut state = self.shared.lock();
        if state.service.as_ref().map(|service| &service.configuration) == configuration.as_ref() {
            return;
        }
        let before = state.service.take();
        let keeps_ids = matches!((&before, &configuration), (Some(before), Some(now)) if now.has_ids_of(&before.configuration));
        state.service = configuration.map(|configuration| {
            let settings = configuration.settings();
            let resolver = match before.filter(|_| keeps_ids) {
                Some(Service { mut resolver, .. }) => {
                    resolver.try_again(settings);
                    resolver
                }
                None => Resolver::new(settings, *seed),
            };
            Service { registry: reach(&configuration.access), configuration, resolver }
        });
        state.version += 1;
        if !keeps_ids {
            generation.fetch_add(1, Ordering::Release);
        }
        if state.service.is_some() && !state.has_thread {
            state.has_thread = true;
            let shared = Arc::clone(&self.shared);
            thread::spawn(move || shared.run());
        }
        changed.notify_all();
    }

    /// The id of `schema` for `topic`, for who has nothing else to do: waits up to `patience` for it.
    ///
    /// # Errors
    /// There is none, and why.
    pub fn wait_for(&self, schema: &Schema, topic: &str, patience: Duration) -> Result<SchemaId, Failure> {
        let begun = Instant::now();
        loop {
            let failure = match self.look_up(schema, topic) {
                SchemaLookup::Known(id) => return Ok(id),
                SchemaLookup::Refused(failure) => failure,
                SchemaLookup::Asked => {
                    Failure::transient(format!("the schema registry has not answered in {patience:?}"))
                }
            };
            if begun.elapsed() >= patience {
                return Err(failure);
            }
            thread::sleep(LOOK);
        }
    }

    /// What there is to tell.
    pub fn report(&self) -> Report {
        let now_ms = self.shared.now_ms();
        let state = self.shared.lock();
        let failures = Kind::ALL.into_iter().zip(state.failures).collect();
        let mut report = Report { requests: state.requests, busy: state.busy, failures, ..Report::default() };
        if let Some(Service { configuration, resolver, .. }) = &state.service {
            let tally = resolver.tally();
            report.url = Some(configuration.access.url(0).to_owned());
            (report.known, report.waiting) = (tally.known, tally.waiting);
            report.failing = tally.failing.map(|(refusal, since_ms)| Failing {
                kind: refusal.kind,
                what: refusal.to_string(),
                for_ms: now_ms.saturating_sub(since_ms),
            });
        }
        report
    }
}

impl SchemaSource for SchemaRegistry {
    fn look_up(&self, schema: &Schema, topic: &str) -> SchemaLookup {
        let mut state = self.shared.lock();
        let Some(Service { configuration, resolver, .. }) = &mut state.service else {
            return SchemaLookup::Refused(Failure {
                class: FailureClass::Configuration,
                reason: format!(
                    "no schema registry is configured, and {} needs one (set destination.registry.url)",
                    schema.kind.name()
                ),
            });
        };
        let name = configuration.subject_name_strategy.subject(topic, schema.record_name);
        let subject = (name, *schema);
        match resolver.look_up(&subject) {
            Standing::Known(id) => SchemaLookup::Known(id),
            Standing::Asked => {
                self.shared.changed.notify_all();
                SchemaLookup::Asked
            }
            Standing::Refused(refusal) => {
                self.shared.changed.notify_all();
                let place = format!("{}, subject `{}`", configuration.access.url(0), subject.0);
                SchemaLookup::Refused(refusal.failure(&place))
            }
        }
    }

    fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }
}

impl Shared {
    /// Asks for what is wanted, until it is over.
    fn run(&self) {
        while let Some((subject, server, registry, version)) = self.wait_for_question() {
            let begun = Instant::now();
            let (name, schema) = &subject;
            let outcome = interpret(registry.ask(server, name, schema));
            let took = begun.elapsed();
            let now_ms = self.now_ms();
            let mut state = self.lock();
            state.count(took, &outcome);
            if state.version != version {
                continue;
            }
            tell(name, &outcome);
            if let Some(service) = &mut state.service {
                service.resolver.answered(&subject, server, outcome, now_ms);
            }
        }
    }

    /// What is to be asked whom, as soon as there is something; `None` if it is over.
    fn wait_for_question(&self) -> Option<(Subject, usize, Arc<dyn Registry>, u64)> {
        let mut state = self.lock();
        loop {
            if state.is_over {
                return None;
            }
            let now_ms = self.now_ms();
            let next = state.service.as_ref().map(|service| service.resolver.next(now_ms));
            let until_ms = match (next, &state.service) {
                (Some(Next::Ask { subject, server }), Some(service)) => {
                    return Some((subject, server, Arc::clone(&service.registry), state.version));
                }
                (Some(Next::Wait(until_ms)), _) => until_ms,
                _ => None,
            };
            state = match until_ms {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until_ms) => {
                    let pause = Duration::from_millis(until_ms.saturating_sub(now_ms));
                    self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whoever panicked with the lock held left whole values behind: each step is one call of the resolver.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, took: Duration, outcome: &Result<SchemaId, Refusal>) {
        self.requests += 1;
        self.busy += took;
        if let Err(refusal) = outcome {
            let kinds = Kind::ALL.iter().zip(&mut self.failures);
            kinds.filter(|(kind, _)| **kind == refusal.kind).for_each(|(_, count)| *count += 1);
        }
    }
}

/// That something is refused is for the pipeline to tell: it knows whether anybody waits for it.
fn tell(subject: &str, outcome: &Result<SchemaId, Refusal>) {
    match outcome {
        Ok(id) => tracing::info!("the schema of `{subject}` has the id {} in the registry", id.0),
        Err(refusal) => tracing::debug!("the registry gives no id for `{subject}`: {refusal}"),
    }
}

/// The thread that asks ends when it has its answer, at the latest after the time-out.
impl Drop for SchemaRegistry {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
    }
}

impl fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaRegistry").field("report", &self.report()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use keyferry_event::Format;

    use super::*;
    use crate::client::{Answer, Trouble};

    /// No test waits longer for what does not come.
    const LIMIT: Duration = Duration::from_secs(60);

    /// A registry that says what a test lets it say, and is silent until then.
    struct Scripted {
        asked: Mutex<Sender<(usize, String)>>,
        answers: Mutex<Receiver<Result<Answer, Trouble>>>,
    }

    impl Registry for Scripted {
        fn ask(&self, server: usize, subject: &str, _: &Schema) -> Result<Answer, Trouble> {
            self.asked.lock().unwrap().send((server, subject.to_owned())).unwrap();
            // The test is over where nobody answers any more.
            self.answers.lock().unwrap().recv().unwrap_or(Err(Trouble::Unreachable("over".to_owned())))
        }
    }

    struct Scene {
        registry: SchemaRegistry,
        asked: Receiver<(usize, String)>,
        answers: Sender<Result<Answer, Trouble>>,
    }

    fn configuration(url: &str) -> Configuration {
        Configuration {
            access: Access {
                urls: vec![url.to_owned()],
                authorization: None,
                ca_file: None,
                timeout: Duration::from_secs(5),
                registers: true,
            },
            subject_name_strategy: SubjectNameStrategy::Topic,
        }
    }

    /// Where it is told what was asked, and where the answers go.
    type Wire = (Receiver<(usize, String)>, Sender<Result<Answer, Trouble>>);

    fn configure(registry: &SchemaRegistry, configuration: Configuration) -> Wire {
        let ((asked, was_asked), (answers, answered)) = (channel(), channel());
        let scripted = Scripted { asked: Mutex::new(asked), answers: Mutex::new(answered) };
        registry.configure_by(Some(configuration), |_| Arc::new(scripted));
        (was_asked, answers)
    }

    impl Scene {
        fn set() -> Self {
            let registry = SchemaRegistry::new(None, 1);
            let (asked, answers) = configure(&registry, configuration("http://one"));
            Self { registry, asked, answers }
        }

        fn answer(&self, status: u16, body: &str) {
            self.answers.send(Ok(Answer { status, body: body.to_owned() })).unwrap();
        }

        fn was_asked(&self) -> (usize, String) {
            self.asked.recv_timeout(LIMIT).expect("nothing was asked")
        }

        fn look_up(&self) -> SchemaLookup {
            self.registry.look_up(&schema(Format::Avro), "events")
        }

        /// Looks up until it is not `while_it` any more.
        fn wait_while(&self, while_it: impl Fn(&SchemaLookup) -> bool) -> SchemaLookup {
            let begun = Instant::now();
            loop {
                let found = self.look_up();
                if !while_it(&found) {
                    return found;
                }
                assert!(begun.elapsed() < LIMIT, "it stays {found:?}");
                thread::yield_now();
            }
        }
    }

    fn schema(format: Format) -> Schema {
        format.schema().unwrap()
    }

    #[test]
    fn nobody_waits_for_a_registry_that_is_silent() {
        let scene = Scene::set();
        assert_eq!(scene.look_up(), SchemaLookup::Asked);
        assert_eq!(scene.was_asked(), (0, "events-value".to_owned()));
        // It is being asked, and has not answered: whoever looks has an answer all the same.
        assert_eq!(scene.look_up(), SchemaLookup::Asked);
        assert_eq!(scene.registry.report().waiting, 1);
        scene.answer(200, r#"{"id":42}"#);
        assert_eq!(
            scene.wait_while(|found| *found == SchemaLookup::Asked),
            SchemaLookup::Known(SchemaId(42))
        );
        let report = scene.registry.report();
        assert_eq!((report.known, report.waiting, report.requests, report.failing), (1, 0, 1, None));
        assert!(scene.asked.try_recv().is_err(), "it was asked again");
    }

    #[test]
    fn what_is_wrong_is_told_counted_and_over_when_it_is() {
        let scene = Scene::set();
        scene.look_up();
        scene.answer(503, "");
        let failure = match scene.wait_while(|found| *found == SchemaLookup::Asked) {
            SchemaLookup::Refused(failure) => failure,
            other => panic!("{other:?}"),
        };
        assert_eq!(failure.class, FailureClass::Transient);
        assert!(failure.reason.contains("http://one, subject `events-value`: HTTP 503"), "{failure}");
        let report = scene.registry.report();
        assert_eq!(report.failing.map(|failing| failing.kind), Some(Kind::Failing));
        assert_eq!(report.failures.iter().map(|(_, count)| count).sum::<u64>(), 1);
        scene.answer(200, r#"{"id":1}"#);
        let found = scene.wait_while(|found| matches!(found, SchemaLookup::Refused(_)));
        assert_eq!(found, SchemaLookup::Known(SchemaId(1)), "by itself");
    }

    #[test]
    fn ids_are_those_of_the_registry_that_is_configured() {
        let mut scene = Scene::set();
        scene.look_up();
        scene.answer(200, r#"{"id":1}"#);
        scene.wait_while(|found| *found == SchemaLookup::Asked);
        let generation = scene.registry.generation();
        // Another password is no other registry.
        let mut same = configuration("http://one");
        same.access.authorization = Some(crate::Authorization::Bearer("t".to_owned()));
        (scene.asked, scene.answers) = configure(&scene.registry, same);
        assert_eq!(
            (scene.look_up(), scene.registry.generation()),
            (SchemaLookup::Known(SchemaId(1)), generation)
        );
        (scene.asked, scene.answers) = configure(&scene.registry, configuration("http://other"));
        assert!(scene.registry.generation() > generation, "the pipeline has to forget what it knows");
        assert_eq!(scene.look_up(), SchemaLookup::Asked);
        scene.answer(200, r#"{"id":2}"#);
        assert_eq!(scene.wait_while(|found| *found == SchemaLookup::Asked), SchemaLookup::Known(SchemaId(2)));
        scene.registry.configure(None);
        assert!(matches!(scene.look_up(), SchemaLookup::Refused(_)));
    }

    #[test]
    fn an_answer_that_comes_after_a_change_counts_for_nothing() {
        let mut scene = Scene::set();
        scene.look_up();
        scene.was_asked();
        let late = std::mem::replace(&mut scene.answers, channel().0);
        (scene.asked, scene.answers) = configure(&scene.registry, configuration("http://other"));
        assert_eq!(scene.look_up(), SchemaLookup::Asked);
        late.send(Ok(Answer { status: 200, body: r#"{"id":1}"#.to_owned() })).unwrap();
        // The thread asks the other one only after it has taken that in.
        scene.was_asked();
        assert_eq!(scene.look_up(), SchemaLookup::Asked);
        scene.answer(200, r#"{"id":2}"#);
        assert_eq!(scene.wait_while(|found| *found == SchemaLookup::Asked), SchemaLookup::Known(SchemaId(2)));
    }

    #[test]
    fn another_schema_under_the_same_subject_has_another_id() {
        let scene = Scene::set();
        scene.look_up();
        scene.answer(200, r#"{"id":1}"#);
        scene.wait_while(|found| *found == SchemaLookup::Asked);
        assert_eq!(scene.registry.look_up(&schema(Format::Protobuf), "events"), SchemaLookup::Asked);
    }
}
