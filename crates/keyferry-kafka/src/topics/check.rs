//! What is asked when, and what is made of the answers: a state machine with the clock passed in.
//!
//! A check asks for the topics, then for the configuration of those that exist, or to create those that do not. It is made at the beginning, after every change of the
//! connections, and again after a pause as long as something is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use keyferry_event::{Failure, FailureClass};
use serde::Serialize;

use super::admin::{
    Answer, Creation, Described, Description, Entries, NewTopic, OfTopics, Question, Request,
};
use super::findings::{Expected, Purpose, of_configuration, of_description};

/// For how long an answer is awaited.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The least pause between two checks.
const PAUSE_MS: u64 = 5_000;

/// The same where there was nothing wrong with the topics, and nothing is delivered any more.
const DOUBT_PAUSE_MS: u64 = 1_000;

/// What is wrong is looked at again after the first of these, then at doubling intervals up to the second.
const RETRY_MS: (u64, u64) = (30_000, 600_000);

/// What is to be done about topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPolicy {
    /// How topics that do not exist are created; `None` is not at all.
    pub create: Option<TopicTemplate>,
    /// For how long a consumer may be away without missing anything: a topic that keeps records for a shorter time is warned of.
    pub outage_budget: Option<Duration>,
    /// The one among the topics that is for dead letters: what it does not take lies in a file, and nothing waits for it.
    pub dead_letters: Option<String>,
}

/// How a topic is created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicTemplate {
    /// How many partitions it gets; `None` is the broker's default.
    pub partitions: Option<u16>,
    /// How many brokers keep each of them; `None` is the broker's default.
    pub replication: Option<u16>,
    /// Its configuration where it differs from the broker's default.
    pub configuration: Vec<(String, String)>,
}

/// A topic, as of the last check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TopicSnapshot {
    /// Its name.
    pub name: String,
    /// Whether it exists.
    pub presence: TopicPresence,
    /// How many partitions it has.
    pub partitions: usize,
    /// How many brokers keep the partition that has the fewest.
    pub replicas: usize,
    /// What may be wrong with it.
    pub findings: Vec<Finding>,
}

/// Whether a topic exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TopicPresence {
    /// The cluster has not told yet, or does not tell.
    #[default]
    Unknown,
    /// It does.
    Present,
    /// It does not.
    Missing,
}

/// Something that may be wrong with a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What of the topic it is about.
    #[serde(skip)]
    pub about: Subject,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, and what to do about it.
    pub text: String,
}

/// What of a topic a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Whether it exists.
    Presence,
    /// Whether we may know of it.
    Description,
    /// Whether we may write to it.
    Write,
    /// Whether each partition has a leader.
    Leaders,
    /// How many brokers keep a record.
    Copies,
    /// How many of them must have it before it counts as delivered.
    InSync,
    /// How large a record may be.
    Size,
    /// For how long records are kept.
    Retention,
    /// How room is made.
    Cleanup,
    /// Whether we may read its configuration.
    Configuration,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Events wait, are refused, or may be lost.
    Warning,
}

impl Finding {
    pub(crate) fn warning(about: Subject, text: String) -> Self {
        Self { about, severity: Severity::Warning, text }
    }

    pub(crate) fn note(about: Subject, text: String) -> Self {
        Self { about, severity: Severity::Note, text }
    }
}

/// The check of a destination's topics.
#[derive(Debug)]
pub(crate) struct TopicCheck {
    policy: TopicPolicy,
    expected: Expected,
    topics: BTreeMap<String, TopicState>,
    phase: Phase,
    begun_ms: Option<u64>,
    retry_ms: u64,
}

#[derive(Debug)]
struct TopicState {
    purpose: Purpose,
    described: Option<Description>,
    snapshot: TopicSnapshot,
    /// What the check that is under way has found so far.
    found: Vec<Finding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is asked until this time.
    Waiting(u64),
    /// Nothing is asked any more: nothing is wrong.
    Content,
    /// This is to be asked.
    Next(Step),
    /// This was asked.
    Asked(Step),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Describe,
    Configuration,
    Create,
}

impl TopicCheck {
    pub(crate) fn new(topics: &[String], policy: TopicPolicy, largest_request: u64) -> Self {
        let expected = Expected { largest_request, outage_budget: policy.outage_budget };
        let state = |name: &String| {
            let is_for_dead_letters = policy.dead_letters.as_ref() == Some(name);
            let purpose = if is_for_dead_letters { Purpose::DeadLetters } else { Purpose::Events };
            (name.clone(), TopicState::new(name, purpose))
        };
        let topics: BTreeMap<_, _> = topics.iter().map(state).collect();
        let phase = if topics.is_empty() { Phase::Content } else { Phase::Next(Step::Describe) };
        Self { policy, expected, topics, phase, begun_ms: None, retry_ms: RETRY_MS.0 }
    }

    /// Something has changed: another connection, other settings. What was asked is not answered any more.
    pub(crate) fn again(&mut self, largest_request: u64, now_ms: u64) {
        self.expected.largest_request = largest_request;
        if !self.topics.is_empty() {
            let earliest_ms = self.begun_ms.map_or(now_ms, |begun_ms| begun_ms + PAUSE_MS);
            self.phase = Phase::Waiting(earliest_ms.max(now_ms));
        }
    }

    /// A record is on its way to `topic`: one that is not known yet is looked at as well, as soon as may be.
    pub(crate) fn meet(&mut self, topic: &str, now_ms: impl FnOnce() -> u64) {
        if self.topics.contains_key(topic) {
            return;
        }
        self.topics.insert(topic.to_owned(), TopicState::new(topic, Purpose::Events));
        self.phase = match self.phase {
            Phase::Content => Phase::Next(Step::Describe),
            Phase::Waiting(until_ms) => {
                let earliest_ms = self.begun_ms.map_or_else(now_ms, |begun_ms| begun_ms + PAUSE_MS);
                Phase::Waiting(until_ms.min(earliest_ms))
            }
            phase => phase,
        };
    }

    /// Something depends on whether the topics are there, because nothing is delivered or because one was missing: they are looked at as soon as may be.
    pub(crate) fn doubt(&mut self, now_ms: u64) {
        let after = |pause_ms| self.begun_ms.map_or(now_ms, |begun_ms| begun_ms + pause_ms);
        self.phase = match self.phase {
            Phase::Content if !self.topics.is_empty() => Phase::Waiting(after(DOUBT_PAUSE_MS)),
            Phase::Waiting(until_ms) => Phase::Waiting(until_ms.min(after(PAUSE_MS))),
            phase => phase,
        };
    }

    /// That a topic of events is missing, if one was when they were looked at last. Nothing waits for that of dead letters.
    pub(crate) fn missing(&self) -> Option<Failure> {
        let mut of_events = self.of_events();
        let missing = of_events.find(|topic| topic.snapshot.presence == TopicPresence::Missing)?;
        let name = &missing.snapshot.name;
        Some(Failure {
            class: FailureClass::Configuration,
            reason: format!(
                "the topic {name} does not exist: events wait in the journal until it is created"
            ),
        })
    }

    /// Whether all topics of events were there when they were looked at last.
    pub(crate) fn are_present(&self) -> bool {
        self.of_events().all(|topic| topic.snapshot.presence == TopicPresence::Present)
    }

    fn of_events(&self) -> impl Iterator<Item = &TopicState> {
        self.topics.values().filter(|topic| topic.purpose == Purpose::Events)
    }

    /// What is to be asked now.
    pub(crate) fn next(&mut self, now_ms: u64) -> Option<Request> {
        let step = match self.phase {
            Phase::Next(step) => step,
            Phase::Waiting(until_ms) if now_ms >= until_ms => Step::Describe,
            _ => return None,
        };
        if step == Step::Describe {
            self.begun_ms = Some(now_ms);
            self.topics.values_mut().for_each(|topic| topic.found.clear());
        }
        self.phase = Phase::Asked(step);
        let question = match step {
            Step::Describe => Question::Describe(self.topics.keys().cloned().collect()),
            Step::Configuration => Question::Configuration(self.names(TopicPresence::Present)),
            Step::Create => Question::Create(self.new_topics()),
        };
        Some(Request { question, timeout: TIMEOUT })
    }

    /// Whether nothing is asked now, because everything was answered or could not be.
    pub(crate) fn rests(&self) -> bool {
        matches!(self.phase, Phase::Content | Phase::Waiting(_))
    }

    /// Takes in an answer.
    pub(crate) fn answered(&mut self, answer: Answer, now_ms: u64) {
        match (self.phase, answer) {
            (Phase::Asked(Step::Describe), Answer::Described(Ok(topics))) => self.described(topics, now_ms),
            (Phase::Asked(Step::Configuration), Answer::Configuration(result)) => {
                self.configured(result);
                self.conclude(now_ms);
            }
            (Phase::Asked(Step::Create), Answer::Created(result)) => self.created(result, now_ms),
            (Phase::Asked(_), Answer::Described(Err(failure))) => self.failed(&failure, now_ms),
            // An answer to a question of the time before the last change.
            _ => {}
        }
    }

    /// Nobody could be asked, or nobody answered: that the cluster cannot be reached shows elsewhere.
    pub(crate) fn failed(&mut self, failure: &Failure, now_ms: u64) {
        tracing::debug!("the topics cannot be checked: {failure}");
        self.wait(now_ms);
    }

    pub(crate) fn snapshot(&self) -> Vec<TopicSnapshot> {
        self.topics.values().map(|topic| topic.snapshot.clone()).collect()
    }

    fn described(&mut self, topics: Vec<(String, Described)>, now_ms: u64) {
        for (name, described) in topics {
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            topic.described(described);
        }
        let missing = !self.names(TopicPresence::Missing).is_empty();
        let present = !self.names(TopicPresence::Present).is_empty();
        if missing && self.policy.create.is_some() {
            self.phase = Phase::Next(Step::Create);
            return;
        }
        for topic in self.topics.values_mut() {
            if topic.snapshot.presence == TopicPresence::Missing {
                let meanwhile = topic.purpose.meanwhile();
                topic.found.push(Finding::warning(Subject::Presence, format!(
                    "it does not exist: {meanwhile} until it is created; destination.topics.create lets Keyferry do so"
                )));
            }
        }
        if present {
            self.phase = Phase::Next(Step::Configuration);
        } else {
            self.conclude(now_ms);
        }
    }

    fn configured(&mut self, result: OfTopics<Result<Entries, Failure>>) {
        let topics = match result {
            Ok(topics) => topics,
            Err(failure) => {
                let names = self.names(TopicPresence::Present);
                names.into_iter().map(|name| (name, Err(failure.clone()))).collect()
            }
        };
        for (name, configuration) in topics {
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            let description = topic.described.clone().unwrap_or_default();
            match configuration {
                Ok(entries) => {
                    let findings = of_configuration(topic.purpose, &entries, &description, self.expected);
                    topic.found.extend(findings);
                }
                Err(failure) => topic.found.push(Finding::note(
                    Subject::Configuration,
                    format!("its configuration cannot be read and was not checked: {failure}"),
                )),
            }
        }
    }

    fn created(&mut self, result: OfTopics<Result<(), Creation>>, now_ms: u64) {
        let topics = match result {
            Ok(topics) => topics,
            Err(failure) => {
                let failed = |name| (name, Err(Creation::Failed(failure.clone())));
                self.names(TopicPresence::Missing).into_iter().map(failed).collect()
            }
        };
        let mut all_created = true;
        for (name, outcome) in topics {
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            match outcome {
                Ok(()) => tracing::info!("topic {name} is created"),
                Err(Creation::Exists) => {}
                Err(Creation::Failed(failure)) => {
                    all_created = false;
                    let meanwhile = topic.purpose.meanwhile();
                    topic.found.push(Finding::warning(
                        Subject::Presence,
                        format!("it does not exist and cannot be created: {failure}; {meanwhile}"),
                    ));
                }
            }
        }
        if all_created {
            // The brokers hear of it one after the other.
            self.phase = Phase::Waiting(now_ms + PAUSE_MS);
        } else {
            self.conclude(now_ms);
        }
    }

    /// Tells of what was not told yet, and decides when to look again.
    fn conclude(&mut self, now_ms: u64) {
        for topic in self.topics.values_mut() {
            topic.tell();
        }
        let is_settled = |topic: &TopicState| {
            topic.snapshot.presence == TopicPresence::Present
                && topic.snapshot.findings.iter().all(|finding| finding.severity == Severity::Note)
        };
        if self.topics.values().all(is_settled) {
            self.retry_ms = RETRY_MS.0;
            self.phase = Phase::Content;
        } else {
            self.wait(now_ms);
        }
    }

    fn wait(&mut self, now_ms: u64) {
        self.phase = Phase::Waiting(now_ms + self.retry_ms);
        self.retry_ms = (self.retry_ms * 2).min(RETRY_MS.1);
    }

    fn names(&self, presence: TopicPresence) -> Vec<String> {
        let is_so = |topic: &&TopicState| topic.snapshot.presence == presence;
        self.topics.values().filter(is_so).map(|topic| topic.snapshot.name.clone()).collect()
    }

    fn new_topics(&self) -> Vec<NewTopic> {
        let template = self.policy.create.clone().unwrap_or_default();
        let topic = |name| NewTopic {
            name,
            partitions: template.partitions,
            replication: template.replication,
            configuration: template.configuration.clone(),
        };
        self.names(TopicPresence::Missing).into_iter().map(topic).collect()
    }
}

impl TopicState {
    fn new(name: &str, purpose: Purpose) -> Self {
        let snapshot = TopicSnapshot { name: name.to_owned(), ..TopicSnapshot::default() };
        Self { purpose, snapshot, described: None, found: Vec::new() }
    }

    fn described(&mut self, described: Described) {
        (self.snapshot.presence, self.described) = match described {
            Described::Present(description) => {
                self.found.extend(of_description(self.purpose, &description));
                (TopicPresence::Present, Some(description))
            }
            Described::Missing => (TopicPresence::Missing, None),
            Described::Refused(failure) => {
                let told = format!("the cluster does not tell of it: {failure}");
                self.found.push(Finding::warning(Subject::Description, told));
                (TopicPresence::Unknown, None)
            }
        };
        let described = self.described.as_ref();
        self.snapshot.partitions = described.map_or(0, |description| description.partitions);
        self.snapshot.replicas = described.map_or(0, |description| description.replicas);
    }

    fn tell(&mut self) {
        let found = std::mem::take(&mut self.found);
        for finding in found.iter().filter(|finding| !self.snapshot.findings.contains(finding)) {
            let (name, text) = (&self.snapshot.name, &finding.text);
            match finding.severity {
                Severity::Note => tracing::info!("topic {name}: {text}"),
                Severity::Warning => tracing::warn!("topic {name}: {text}"),
            }
        }
        self.snapshot.findings = found;
    }
}

#[cfg(test)]
mod tests {
    use keyferry_event::FailureClass;

    use super::*;

    const SOUND: Description =
        Description { partitions: 3, leaderless: 0, replicas: 3, writable: Some(true) };

    fn check(create: Option<TopicTemplate>) -> TopicCheck {
        let policy = TopicPolicy { create, ..TopicPolicy::default() };
        TopicCheck::new(&["events".to_owned()], policy, 1_000)
    }

    fn events<T>(of: T) -> Vec<(String, T)> {
        vec![("events".to_owned(), of)]
    }

    fn question(check: &mut TopicCheck, now_ms: u64) -> Option<Question> {
        check.next(now_ms).map(|request| request.question)
    }

    fn describe() -> Option<Question> {
        Some(Question::Describe(vec!["events".to_owned()]))
    }

    fn texts(check: &TopicCheck) -> Vec<String> {
        check.snapshot().into_iter().flat_map(|topic| topic.findings).map(|finding| finding.text).collect()
    }

    #[test]
    fn a_topic_that_a_template_has_made_is_looked_at_with_the_others() {
        let mut check = check(None);
        assert_eq!(question(&mut check, 0), describe());
        check.answered(Answer::Described(Ok(events(Described::Present(SOUND)))), 0);
        question(&mut check, 0);
        check.answered(Answer::Configuration(Ok(Vec::new())), 0);
        check.meet("events", || 10);
        assert_eq!(question(&mut check, 10), None, "it is known");
        check.meet("events.shop", || 20);
        let both = vec!["events".to_owned(), "events.shop".to_owned()];
        assert_eq!(question(&mut check, 20), Some(Question::Describe(both)));
        let missing = ("events.shop".to_owned(), Described::Missing);
        check.answered(Answer::Described(Ok(vec![missing])), 20);
        assert!(check.missing().is_some_and(|failure| failure.reason.contains("events.shop")));
    }

    #[test]
    fn a_sound_topic_is_looked_at_once_and_again_after_a_change() {
        let mut check = check(None);
        assert_eq!(question(&mut check, 0), describe());
        assert_eq!(question(&mut check, 0), None);
        check.answered(Answer::Described(Ok(events(Described::Present(SOUND)))), 10);
        assert_eq!(question(&mut check, 10), Some(Question::Configuration(vec!["events".to_owned()])));
        check.answered(Answer::Configuration(Ok(events(Ok(Vec::new())))), 20);
        assert_eq!((question(&mut check, u64::MAX), texts(&check)), (None, Vec::new()));
        check.again(1_000, 100_000);
        assert_eq!(question(&mut check, 100_000), describe());
    }

    #[test]
    fn a_missing_topic_is_warned_of_and_looked_for_again() {
        let mut check = check(None);
        question(&mut check, 0);
        check.answered(Answer::Described(Ok(events(Described::Missing))), 10);
        assert!(texts(&check)[0].contains("does not exist"), "{:?}", texts(&check));
        assert_eq!(question(&mut check, 20_000), None);
        assert_eq!(question(&mut check, 30_010), describe());
    }

    #[test]
    fn where_nothing_is_delivered_a_topic_that_was_sound_is_looked_at_again_and_soon_if_it_is_missing() {
        let mut check = check(None);
        question(&mut check, 0);
        check.answered(Answer::Described(Ok(events(Described::Present(SOUND)))), 0);
        question(&mut check, 0);
        check.answered(Answer::Configuration(Ok(events(Ok(Vec::new())))), 0);
        assert_eq!((check.missing(), check.are_present()), (None, true));
        check.doubt(500);
        assert_eq!(question(&mut check, 999), None);
        assert_eq!(question(&mut check, 1_000), describe());
        check.doubt(1_000);
        assert_eq!(question(&mut check, 9_000), None, "asked and not answered yet");
        check.answered(Answer::Described(Ok(events(Described::Missing))), 9_000);
        let missing = check.missing().unwrap();
        assert_eq!(missing.class, FailureClass::Configuration);
        assert!(missing.reason.contains("events does not exist"), "{missing}");
        assert_eq!(question(&mut check, 9_000), None);
        check.doubt(9_000);
        assert_eq!(question(&mut check, 9_000), describe());
        check.answered(Answer::Described(Ok(events(Described::Present(SOUND)))), 9_000);
        assert_eq!((check.missing(), check.are_present()), (None, true));
    }

    #[test]
    fn a_topic_for_dead_letters_is_looked_at_as_well_and_holds_up_nothing() {
        let policy = TopicPolicy { dead_letters: Some("dead".to_owned()), ..TopicPolicy::default() };
        let mut check = TopicCheck::new(&["dead".to_owned(), "events".to_owned()], policy, 1_000);
        let both = vec!["dead".to_owned(), "events".to_owned()];
        assert_eq!(question(&mut check, 0), Some(Question::Describe(both)));
        let described = |dead| {
            let dead = ("dead".to_owned(), dead);
            Answer::Described(Ok([vec![dead], events(Described::Present(SOUND))].concat()))
        };
        check.answered(described(Described::Missing), 10);
        check.next(10);
        check.answered(Answer::Configuration(Ok(events(Ok(Vec::new())))), 10);
        let told = texts(&check).concat();
        assert!(told.contains("does not exist: dead letters go to the file"), "{told}");
        assert_eq!((check.missing(), check.are_present()), (None, true), "nothing waits for it");

        check.next(30_010);
        check.answered(described(Described::Present(Description { writable: Some(false), ..SOUND })), 30_010);
        let asked = vec!["dead".to_owned(), "events".to_owned()];
        assert_eq!(question(&mut check, 30_010), Some(Question::Configuration(asked)));
        let small = ("dead".to_owned(), Ok(vec![("max.message.bytes".to_owned(), "999".to_owned())]));
        check.answered(Answer::Configuration(Ok([vec![small], events(Ok(Vec::new()))].concat())), 30_010);
        let told = texts(&check).concat();
        assert!(told.contains("may not write"), "{told}");
        assert!(told.contains("larger dead letters go to the file"), "{told}");
    }

    #[test]
    fn a_missing_topic_is_created_as_the_template_says_and_then_checked() {
        let configuration = vec![("retention.ms".to_owned(), "1000".to_owned())];
        let template = TopicTemplate { partitions: Some(6), replication: Some(3), configuration };
        let mut check = check(Some(template.clone()));
        question(&mut check, 0);
        check.answered(Answer::Described(Ok(events(Described::Missing))), 10);
        let topic = NewTopic {
            name: "events".to_owned(),
            partitions: Some(6),
            replication: Some(3),
            configuration: template.configuration,
        };
        assert_eq!(question(&mut check, 10), Some(Question::Create(vec![topic])));
        check.answered(Answer::Created(Ok(events(Ok(())))), 20);
        assert_eq!(question(&mut check, 20 + PAUSE_MS), describe());
        check.answered(Answer::Described(Ok(events(Described::Present(SOUND)))), 6_000);
        check.next(6_000);
        check.answered(Answer::Configuration(Ok(events(Ok(Vec::new())))), 6_001);
        assert_eq!(check.snapshot()[0].presence, TopicPresence::Present);
    }

    #[test]
    fn a_creation_that_is_refused_is_told_and_tried_again_later_and_later() {
        let mut check = check(Some(TopicTemplate::default()));
        let mut now_ms = 0;
        for pause_ms in [30_000, 60_000, 120_000] {
            assert_eq!(question(&mut check, now_ms), describe());
            check.answered(Answer::Described(Ok(events(Described::Missing))), now_ms);
            question(&mut check, now_ms);
            let refused = Creation::Failed(Failure::transient("no right"));
            check.answered(Answer::Created(Ok(events(Err(refused)))), now_ms);
            assert!(texts(&check)[0].contains("no right"), "{:?}", texts(&check));
            assert_eq!(question(&mut check, now_ms + pause_ms - 1), None);
            now_ms += pause_ms;
        }
    }

    #[test]
    fn a_topic_that_somebody_else_has_created_meanwhile_is_no_failure() {
        let mut check = check(Some(TopicTemplate::default()));
        question(&mut check, 0);
        check.answered(Answer::Described(Ok(events(Described::Missing))), 0);
        question(&mut check, 0);
        check.answered(Answer::Created(Ok(events(Err(Creation::Exists)))), 0);
        assert_eq!((question(&mut check, PAUSE_MS), texts(&check)), (describe(), Vec::new()));
    }

    #[test]
    fn a_configuration_that_may_not_be_read_is_a_note_and_ends_the_check() {
        let mut check = check(None);
        question(&mut check, 0);
        check.answered(Answer::Described(Ok(events(Described::Present(SOUND)))), 0);
        question(&mut check, 0);
        check.answered(Answer::Configuration(Err(Failure::transient("no right"))), 0);
        assert!(texts(&check)[0].contains("no right"), "{:?}", texts(&check));
        assert_eq!(question(&mut check, u64::MAX), None);
    }

    #[test]
    fn a_topic_that_the_cluster_does_not_tell_of_is_neither_missing_nor_created_and_is_looked_for_again() {
        let mut check = check(Some(TopicTemplate::default()));
        question(&mut check, 0);
        let refused = Failure { class: FailureClass::Authorisation, reason: "no right".to_owned() };
        check.answered(Answer::Described(Ok(events(Described::Refused(refused)))), 0);
        assert_eq!(texts(&check), ["the cluster does not tell of it: no right"]);
        assert_eq!(check.snapshot()[0].presence, TopicPresence::Unknown);
        assert_eq!(question(&mut check, RETRY_MS.0 - 1), None);
        assert_eq!(question(&mut check, RETRY_MS.0), describe());
    }

    #[test]
    fn a_creation_that_nobody_answers_is_told_of_every_missing_topic() {
        let policy = TopicPolicy { create: Some(TopicTemplate::default()), ..TopicPolicy::default() };
        let mut check = TopicCheck::new(&["admin".to_owned(), "events".to_owned()], policy, 1_000);
        question(&mut check, 0);
        let both = ["admin", "events"].map(|name| (name.to_owned(), Described::Missing));
        check.answered(Answer::Described(Ok(both.into())), 0);
        question(&mut check, 0);
        check.answered(Answer::Created(Err(Failure::transient("timed out"))), 0);
        let texts = texts(&check);
        assert!(texts.len() == 2 && texts.iter().all(|text| text.contains("timed out")), "{texts:?}");
    }

    #[test]
    fn a_configuration_of_one_topic_that_may_not_be_read_says_nothing_of_another() {
        let policy = TopicPolicy::default();
        let mut check = TopicCheck::new(&["admin".to_owned(), "events".to_owned()], policy, 1_000);
        question(&mut check, 0);
        let both = ["admin", "events"].map(|name| (name.to_owned(), Described::Present(SOUND)));
        check.answered(Answer::Described(Ok(both.into())), 0);
        question(&mut check, 0);
        let read = ("admin".to_owned(), Ok(Vec::new()));
        let unread = ("events".to_owned(), Err(Failure::transient("no right")));
        check.answered(Answer::Configuration(Ok(vec![read, unread])), 0);
        let of = |at: usize| check.snapshot()[at].findings.len();
        assert_eq!((of(0), of(1)), (0, 1));
    }

    #[test]
    fn topics_of_which_nobody_could_be_asked_are_asked_about_again() {
        let mut check = check(None);
        question(&mut check, 0);
        check.failed(&Failure::transient("there is no producer"), 0);
        assert_eq!((question(&mut check, RETRY_MS.0 - 1), texts(&check)), (None, Vec::new()));
        assert_eq!(question(&mut check, RETRY_MS.0), describe());
    }

    #[test]
    fn a_change_while_something_is_asked_asks_anew_and_an_old_answer_is_not_taken_for_a_new_one() {
        let mut check = check(None);
        question(&mut check, 0);
        check.again(1_000, 1);
        check.answered(Answer::Described(Ok(events(Described::Missing))), 2);
        assert_eq!((question(&mut check, 2), texts(&check)), (None, Vec::new()));
        assert_eq!(question(&mut check, PAUSE_MS), describe());
    }

    #[test]
    fn a_cluster_that_does_not_answer_is_asked_again() {
        let mut check = check(None);
        question(&mut check, 0);
        check.answered(Answer::Described(Err(Failure::transient("timed out"))), 30_000);
        assert_eq!(question(&mut check, 59_999), None);
        assert_eq!(question(&mut check, 60_000), describe());
    }
}
