//! What the pipeline does and tells, step by step; what it must hold under faults is in `keyferry-simulation`.

#![allow(clippy::unwrap_used)]

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyferry_event::filter::Selection;
use keyferry_event::{
    Content, Failure, FailureClass, Filter, Format, Record, Routing, Schema, SchemaId, SendError, Sink,
    Token, Topics,
};
use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::format::{GapCause, GapPayload};
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{EventKind, Feed, FeedOptions, MemoryStorage, Writer};
use keyferry_pipeline::backpressure::Thresholds;
use keyferry_pipeline::schemas::{SchemaLookup, SchemaSource};
use keyferry_pipeline::{
    BreakerState, Ceiling, Clock, Credit, Forced, HeldFile, InDoubt, Level, LowPriority, Overflow, Pipeline,
    Report, Retention, Settings, SideFiles, Start, State, Trip, Tunables, Turn, backpressure, breaker,
    in_flight,
};

/// A sink that does what the test says.
#[derive(Clone, Default)]
struct Script(Rc<RefCell<Scripted>>);

#[derive(Default)]
struct Scripted {
    /// Every record that was ever sent: `ce_sequence` and value.
    log: Vec<(u64, String)>,
    sent: Vec<(Token, String, String)>,
    outcomes: Vec<(Token, Result<(), Failure>)>,
    resets: usize,
    trouble: Option<Failure>,
    /// Topics whose records the client refuses at once.
    refuses: Vec<&'static str>,
    /// The headers of every record that was ever sent to the topic `dead`.
    buried: Vec<BTreeMap<String, String>>,
    lost: Option<Failure>,
}

impl Script {
    fn acknowledge_all(&self) {
        let mut script = self.0.borrow_mut();
        let tokens: Vec<Token> = script.sent.drain(..).map(|(token, _, _)| token).collect();
        script.outcomes.extend(tokens.into_iter().map(|token| (token, Ok(()))));
    }

    fn fail(&self, class: FailureClass, reason: &str) {
        self.fail_at(0, class, reason);
    }

    fn fail_at(&self, index: usize, class: FailureClass, reason: &str) {
        let mut script = self.0.borrow_mut();
        let (token, _, _) = script.sent[index];
        script.outcomes.push((token, Err(Failure { class, reason: reason.to_owned() })));
    }

    fn acknowledge_topic(&self, topic: &str) {
        let mut script = self.0.borrow_mut();
        let Scripted { sent, outcomes, .. } = &mut *script;
        sent.retain(|(token, to, _)| {
            let is_acknowledged = to == topic;
            if is_acknowledged {
                outcomes.push((*token, Ok(())));
            }
            !is_acknowledged
        });
    }

    fn topics(&self) -> Vec<String> {
        self.0.borrow().sent.iter().map(|(_, topic, _)| topic.clone()).collect()
    }

    /// Everything sent since the last call.
    fn log(&self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.0.borrow_mut().log)
    }

    fn values(&self) -> Vec<String> {
        self.0.borrow().sent.iter().map(|(_, _, value)| value.clone()).collect()
    }
}

impl Sink for Script {
    fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError> {
        let mut script = self.0.borrow_mut();
        if script.refuses.contains(&record.topic) {
            let reason = "too large".to_owned();
            return Err(SendError::Failed(Failure { class: FailureClass::Poison, reason }));
        }
        let value = String::from_utf8(record.value.to_vec()).unwrap();
        let sequence = record.headers().find(|header| header.name == c"ce_sequence").unwrap().value;
        let sequence = std::str::from_utf8(sequence).unwrap().parse().unwrap();
        script.log.push((sequence, value.clone()));
        if record.topic == "dead" {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let headers = record.headers().map(|header| (text(header.name.to_bytes()), text(header.value)));
            script.buried.push(headers.collect());
        }
        script.sent.push((token, record.topic.to_owned(), value));
        Ok(())
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        for (token, result) in self.0.borrow_mut().outcomes.drain(..) {
            outcome(token, result);
        }
    }

    fn reset(&mut self) -> Result<(), Failure> {
        let mut script = self.0.borrow_mut();
        script.resets += 1;
        script.sent.clear();
        script.outcomes.clear();
        Ok(())
    }

    fn lost(&self) -> Option<Failure> {
        self.0.borrow().lost.clone()
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn trouble(&self) -> Option<Failure> {
        self.0.borrow().trouble.clone()
    }
}

/// A journal, a pipeline that reads it, and the sink that it writes to.
struct Bench {
    writer: Option<Writer<MemoryStorage, fn() -> u64>>,
    storage: MemoryStorage,
    sink: Script,
    pipeline: Pipeline<MemoryStorage, Script, SideFiles>,
    directory: tempfile::TempDir,
    settings: Settings,
    now_ms: u64,
}

fn settings(admin_events: Option<&str>) -> Settings {
    let Settings { topics, .. } = support::settings();
    let admin_events = admin_events.map(ToOwned::to_owned);
    Settings { topics: Topics { admin_events, ..topics }, ..support::settings() }
}

fn clock_at(monotonic_ms: u64, wall_ms: u64) -> Clock {
    Clock { monotonic_ms, wall_ms }
}

fn begin(storage: &MemoryStorage, segment_size: u64) -> Writer<MemoryStorage, fn() -> u64> {
    begin_at(storage, segment_size, || 1_000)
}

fn begin_at(
    storage: &MemoryStorage,
    segment_size: u64,
    clock: fn() -> u64,
) -> Writer<MemoryStorage, fn() -> u64> {
    storage.set_writer_alive(true);
    Writer::begin(storage.clone(), 0, clock, WriterOptions { node: "n".to_owned(), segment_size }).unwrap()
}

fn pipeline(
    storage: &MemoryStorage,
    directory: &Path,
    sink: &Script,
    settings: &Settings,
) -> Pipeline<MemoryStorage, Script, SideFiles> {
    let (mut slot, mut aside) = (storage.clone(), SideFiles::of(directory, "default"));
    let start = Start::find(&mut slot, &mut aside, "default", &settings.topics, 5).unwrap();
    let feed = Feed::open(slot, start.resume(), FeedOptions::default()).unwrap();
    Pipeline::new(feed, start, sink.clone(), aside, settings.clone())
}

impl Bench {
    fn new(admin_events: Option<&str>, in_doubt: InDoubt) -> Self {
        Self::with(Settings { in_doubt, ..settings(admin_events) }, WriterOptions::default().segment_size)
    }

    fn with(settings: Settings, segment_size: u64) -> Self {
        let storage = MemoryStorage::new();
        let writer = Some(begin(&storage, segment_size));
        let directory = tempfile::tempdir().unwrap();
        let sink = Script::default();
        let pipeline = pipeline(&storage, directory.path(), &sink, &settings);
        Self { writer, storage, sink, pipeline, directory, settings, now_ms: 0 }
    }

    /// The agent dies, and another begins.
    fn restart(&mut self) {
        self.sink.clone().reset().unwrap();
        self.pipeline = pipeline(&self.storage, self.directory.path(), &self.sink, &self.settings);
    }

    /// Delivers everything that is there.
    fn deliver(&mut self) -> Report {
        for _ in 0..20 {
            self.after(200);
            self.sink.acknowledge_all();
        }
        self.after(200)
    }

    fn commit(&mut self, kind: EventKind, body: &str) {
        let transaction = self.prepare(kind, body);
        self.writer.as_mut().unwrap().commit(transaction).unwrap();
    }

    /// Commits user events of a type, one in each transaction.
    fn commit_typed(&mut self, event_type: &str, ids: &[&str]) {
        for id in ids {
            let mut payload = EventEncoder::new();
            payload.push(EventKind::User, 1, &[(Field::Id, id), (Field::Type, event_type)], id.as_bytes());
            let writer = self.writer.as_mut().unwrap();
            let transaction = writer.next_transaction();
            writer.prepare(transaction, payload.payload()).unwrap();
            writer.commit(transaction).unwrap();
        }
    }

    fn prepare(&mut self, kind: EventKind, body: &str) -> u64 {
        let mut payload = EventEncoder::new();
        payload.push(kind, 1, &[(Field::Id, body)], body.as_bytes());
        let writer = self.writer.as_mut().unwrap();
        let transaction = writer.next_transaction();
        writer.prepare(transaction, payload.payload()).unwrap();
        transaction
    }

    fn kill_keycloak(&mut self) {
        self.writer.take().unwrap().kill();
        self.storage.set_writer_alive(false);
    }

    /// A turn at this time, monotonic and since the Unix epoch.
    fn at(&mut self, monotonic_ms: u64, wall_ms: u64) -> Turn {
        self.pipeline.turn(clock_at(monotonic_ms, wall_ms)).unwrap()
    }

    fn report_at(&mut self, monotonic_ms: u64, wall_ms: u64) -> Report {
        self.pipeline.report(clock_at(monotonic_ms, wall_ms))
    }

    fn after(&mut self, ms: u64) -> Report {
        self.now_ms += ms;
        let clock = Clock { monotonic_ms: self.now_ms, wall_ms: 1_000_000 + self.now_ms };
        self.pipeline.turn(clock).unwrap();
        self.pipeline.report(clock)
    }

    fn dead_letters(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.directory.path().join("default.dead-letters.jsonl"))
            .unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn it_tells_whether_it_delivers_and_why_not() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    assert_eq!(bench.after(1).state, State::Idle);
    bench.commit(EventKind::User, "1");
    let report = bench.after(1);
    assert_eq!((report.state, report.oldest_unacknowledged_ms), (State::Delivering, Some(1_000)));
    let report = bench.after(1_900);
    assert_eq!(report.state, State::Delivering);
    assert!(report.backlog_bytes > 0);
    let report = bench.after(200);
    assert_eq!(report.state, State::Blocked);
    assert_eq!(report.reason.as_deref(), Some("nothing has been acknowledged for 2 s"));
    bench.sink.0.borrow_mut().trouble = Some(Failure::transient("no connection"));
    assert_eq!(bench.after(1).reason.as_deref(), Some("no connection"));
    bench.sink.acknowledge_all();
    let report = bench.after(1);
    assert_eq!((report.state, report.reason, report.published), (State::Idle, None, 1));
    assert_eq!(report.last_delivery_ms, Some(1_000_000 + bench.now_ms));
    assert_eq!(bench.after(1_100).backlog_bytes, 0);
}

#[test]
fn a_kind_without_a_topic_is_filtered_and_takes_no_number() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    bench.commit(EventKind::Admin, "1");
    bench.commit(EventKind::User, "2");
    let report = bench.after(1);
    assert_eq!(report.filtered, 1);
    assert_eq!(bench.sink.topics(), ["events"]);
    let mut both = Bench::new(Some("admin"), InDoubt::Publish);
    both.commit(EventKind::Admin, "1");
    both.commit(EventKind::User, "2");
    both.after(1);
    assert_eq!(both.sink.topics(), ["admin", "events"]);
}

fn content(expression: &str, topic: &str) -> Content {
    let everything = Selection::default();
    let condition = expression.parse().unwrap();
    Content {
        filter: Filter::new(&everything, &everything, Some(&condition)),
        routing: Routing { topic: Some(topic.parse().unwrap()), key: None },
        ..Content::default()
    }
}

#[test]
fn what_a_filter_does_not_let_pass_takes_no_number_is_counted_once_and_passed_by_the_checkpoint() {
    let content = content(r#"type == "LOGIN""#, "of.{type}");
    let mut bench =
        Bench::with(Settings { content, ..settings(None) }, WriterOptions::default().segment_size);
    bench.commit_typed("LOGOUT", &["a"]);
    bench.commit_typed("LOGIN", &["b"]);
    bench.commit_typed("LOGOUT", &["c"]);
    bench.commit_typed("LOGIN", &["d"]);
    bench.after(1);
    bench.sink.fail(FailureClass::Transient, "away");
    bench.after(5_000);
    bench.deliver();
    let expected = [(1, "b".to_owned()), (2, "d".to_owned())];
    assert_eq!(bench.sink.log(), [&expected[..], &expected].concat(), "sent again with the same numbers");
    assert_eq!(counted(&bench), (4, 2, 2, 2));
    bench.commit_typed("LOGOUT", &["e"]);
    let report = bench.deliver();
    assert_eq!(report.published, 2);
    bench.restart();
    bench.deliver();
    assert_eq!(bench.sink.log(), [], "the checkpoint is beyond what was filtered last");
}

#[test]
fn an_event_goes_where_the_template_says_or_where_its_kind_goes() {
    let content = content("kind == 'user'", "of.{type}");
    let mut bench =
        Bench::with(Settings { content, ..settings(None) }, WriterOptions::default().segment_size);
    bench.commit_typed("LOGIN", &["a"]);
    bench.commit_typed("no topic", &["b"]);
    bench.commit_typed("LOGOUT", &["c"]);
    bench.after(1);
    assert_eq!(bench.sink.topics(), ["of.LOGIN", "events", "of.LOGOUT"]);
}

#[test]
fn secrets_stay_out_of_dead_letters_too() {
    let mut bench = Bench::new(Some("admin"), InDoubt::Publish);
    bench.commit(EventKind::Admin, r#"{"representation":"{\"secret\":\"s1\"}"}"#);
    bench.after(1);
    assert_eq!(bench.sink.values(), [r#"{"representation":"{\"secret\":\"**********\"}"}"#]);
    bench.sink.fail(FailureClass::Poison, "too large");
    bench.deliver();
    let letters = bench.dead_letters();
    assert_eq!(letters.len(), 1);
    assert!(!letters[0]["value"].to_string().contains("s1"), "{}", letters[0]);
}

#[test]
fn a_failure_takes_everything_back_and_sends_it_again_in_order() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    for body in ["1", "2", "3"] {
        bench.commit(EventKind::User, body);
    }
    bench.after(1);
    bench.sink.fail(FailureClass::Transient, "not authorised");
    let report = bench.after(1);
    assert_eq!((report.state, report.reason.as_deref()), (State::Blocked, Some("not authorised")));
    assert_eq!(bench.sink.values(), [""; 0], "it must pause before it tries again");
    bench.after(5_000);
    assert_eq!(bench.sink.values(), ["1", "2", "3"]);
    bench.sink.acknowledge_all();
    let report = bench.after(1);
    assert_eq!((report.published, report.resets, report.reason), (3, 1, None));
}

#[test]
fn a_sink_that_is_lost_is_replaced_once_nothing_is_acknowledged_for_a_while() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    bench.commit(EventKind::User, "1");
    bench.after(1);
    let lost = Failure::transient("no brokers");
    bench.sink.0.borrow_mut().lost = Some(lost);
    bench.after(500);
    assert_eq!(bench.sink.0.borrow().resets, 0, "an acknowledgement may be on its way");
    let report = bench.after(1_000);
    assert_eq!((report.resets, report.reason.as_deref()), (1, Some("no brokers")));
    bench.sink.0.borrow_mut().lost = None;
    bench.after(5_000);
    assert_eq!(bench.sink.values(), ["1"]);
}

#[test]
fn an_impossible_record_is_laid_aside_and_the_others_go_on() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    for body in ["1", "2", "3"] {
        bench.commit(EventKind::User, body);
    }
    bench.after(1);
    bench.sink.fail(FailureClass::Poison, "policy violation");
    bench.after(1);
    bench.after(1);
    assert_eq!(bench.sink.values(), ["2", "3"]);
    bench.sink.acknowledge_all();
    let report = bench.after(1);
    assert_eq!((report.dead_letters, report.published, report.state), (1, 2, State::Idle));
    let dead_letters = bench.dead_letters();
    assert_eq!(dead_letters.len(), 1);
    assert_eq!(
        (&dead_letters[0]["value"], &dead_letters[0]["cause"], &dead_letters[0]["topic"]),
        (&"1".into(), &"policy violation".into(), &"events".into())
    );
    assert_eq!(dead_letters[0]["headers"]["ce_sequence"], "00000000000000000001");
}

#[test]
fn a_record_that_the_client_refuses_at_once_costs_no_reset() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    bench.commit(EventKind::User, "1");
    bench.sink.0.borrow_mut().refuses = vec!["events"];
    bench.after(1);
    let report = bench.after(1);
    assert_eq!((report.dead_letters, report.resets, report.state), (1, 0, State::Idle));
    assert_eq!(bench.dead_letters().len(), 1);
}

#[test]
fn a_dead_letter_that_cannot_be_written_holds_its_record_back() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    std::fs::create_dir(bench.directory.path().join("default.dead-letters.jsonl")).unwrap();
    bench.commit(EventKind::User, "1");
    bench.sink.0.borrow_mut().refuses = vec!["events"];
    let report = bench.after(1);
    assert_eq!((report.dead_letters, report.state), (0, State::Blocked));
    assert!(report.reason.unwrap().contains("dead-letter file"));
}

fn with_dead_letter_topic() -> Bench {
    Bench::with(Settings { dead_letter_topic: Some("dead".to_owned()), ..settings(None) }, 1 << 20)
}

/// Three events are sent, the second is refused for good, and everything is sent again.
fn with_a_condemned_second() -> Bench {
    let mut bench = with_dead_letter_topic();
    for body in ["1", "2", "3"] {
        bench.commit(EventKind::User, body);
    }
    bench.after(1);
    bench.sink.fail_at(1, FailureClass::Poison, "policy violation");
    bench.after(1);
    bench.after(1);
    bench
}

#[test]
fn an_impossible_record_goes_to_the_dead_letter_topic_in_its_place_and_says_why() {
    let mut bench = with_a_condemned_second();
    assert_eq!(bench.sink.topics(), ["events", "dead", "events"]);
    assert_eq!(bench.sink.values(), ["1", "2", "3"]);
    bench.sink.acknowledge_topic("events");
    assert_eq!(bench.after(1).dead_letters, 0, "it is not settled before it is acknowledged");
    bench.sink.acknowledge_all();
    let report = bench.after(1);
    assert_eq!((report.dead_letters, report.dead_letters_in_topic, report.published), (1, 1, 2));
    assert_eq!((report.state, bench.dead_letters().len()), (State::Idle, 0));
    let headers = &bench.sink.0.borrow().buried[0];
    for (name, value) in [
        ("ce_id", "2"),
        ("ce_sequence", "00000000000000000002"),
        ("keyferry_dead_letter_cause", "policy violation"),
        ("keyferry_dead_letter_class", "poison"),
        ("keyferry_dead_letter_topic", "events"),
        ("keyferry_dead_letter_time", "1970-01-01T00:16:40.002Z"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
}

#[test]
fn a_dead_letter_that_is_acknowledged_is_not_sent_again_with_the_others() {
    let mut bench = with_a_condemned_second();
    bench.sink.acknowledge_topic("dead");
    bench.after(1);
    bench.sink.fail(FailureClass::Transient, "no leader");
    bench.after(1);
    bench.after(5_000);
    assert_eq!(
        (bench.sink.topics(), bench.sink.values()),
        (vec!["events".to_owned(); 2], vec!["1".to_owned(), "3".to_owned()])
    );
    bench.sink.acknowledge_all();
    assert_eq!(bench.after(1).dead_letters_in_topic, 1);
}

#[test]
fn a_dead_letter_that_may_yet_arrive_is_sent_again() {
    let mut bench = with_a_condemned_second();
    bench.sink.fail_at(1, FailureClass::Transient, "no leader");
    bench.after(1);
    bench.after(5_000);
    assert_eq!(bench.sink.topics(), ["events", "dead", "events"]);
    assert_eq!(bench.dead_letters().len(), 0);
}

#[test]
fn what_the_dead_letter_topic_refuses_too_lies_in_the_file_with_both_causes() {
    let mut bench = with_a_condemned_second();
    bench.sink.fail_at(1, FailureClass::Poison, "too large");
    bench.after(1);
    bench.after(1);
    assert_eq!(
        (bench.sink.topics(), bench.sink.values()),
        (vec!["events".to_owned(); 2], vec!["1".to_owned(), "3".to_owned()])
    );
    bench.sink.acknowledge_all();
    let report = bench.after(1);
    assert_eq!((report.dead_letters, report.dead_letters_in_topic, report.state), (1, 0, State::Idle));
    let letters = bench.dead_letters();
    assert_eq!((&letters[0]["value"], &letters[0]["topic"]), (&"2".into(), &"events".into()));
    let cause = letters[0]["cause"].as_str().unwrap();
    assert!(
        cause.starts_with("policy violation; the dead-letter topic dead does not take it either: too large"),
        "{cause}"
    );
}

#[test]
fn a_record_that_the_client_refuses_for_both_topics_costs_no_reset() {
    let mut bench = with_dead_letter_topic();
    bench.commit(EventKind::User, "1");
    bench.sink.0.borrow_mut().refuses = vec!["events", "dead"];
    bench.after(1);
    let report = bench.after(1);
    assert_eq!((report.dead_letters, report.resets, bench.dead_letters().len()), (1, 0, 1));
}

#[test]
fn a_dead_letter_topic_that_is_missing_holds_nothing_back_and_is_tried_again_later() {
    let mut bench = with_a_condemned_second();
    bench.sink.fail_at(1, FailureClass::Configuration, "no such topic");
    bench.after(1);
    bench.after(1);
    assert_eq!(bench.dead_letters().len(), 1);
    bench.sink.acknowledge_all();
    bench.after(1);
    let condemn = |bench: &mut Bench| {
        bench.commit(EventKind::User, "4");
        bench.after(1);
        bench.sink.fail(FailureClass::Poison, "policy violation");
        bench.after(1);
        bench.after(1);
    };
    condemn(&mut bench);
    assert_eq!(
        (bench.dead_letters().len(), bench.sink.topics().len()),
        (2, 0),
        "the topic is left alone for a while"
    );
    bench.after(300_000);
    condemn(&mut bench);
    assert_eq!((bench.dead_letters().len(), bench.sink.topics()), (2, vec!["dead".to_owned()]));
}

/// The client waits without an end for a topic that has no leader.
#[test]
fn a_dead_letter_topic_that_is_silent_while_others_are_acknowledged_holds_nothing_back() {
    let mut bench = with_a_condemned_second();
    bench.after(40_000);
    assert_eq!(bench.dead_letters().len(), 0, "the whole destination is silent");
    bench.sink.acknowledge_topic("events");
    bench.after(1);
    bench.after(1);
    assert_eq!(bench.dead_letters().len(), 1);
    bench.sink.acknowledge_all();
    let report = bench.after(1);
    assert_eq!((report.dead_letters, report.state), (1, State::Idle));
}

#[test]
fn events_in_doubt_are_published_or_dropped_as_configured_and_never_before_the_epoch_has_ended() {
    for (in_doubt, published, dropped) in [(InDoubt::Publish, 1, 0), (InDoubt::Drop, 0, 1)] {
        let mut bench = Bench::new(None, in_doubt);
        bench.prepare(EventKind::User, "1");
        bench.after(2_000);
        assert_eq!(bench.sink.values(), [""; 0]);
        bench.kill_keycloak();
        for _ in 0..10 {
            bench.after(1_000);
        }
        let report = bench.after(1);
        let values = bench.sink.values();
        assert_eq!(values.iter().filter(|value| *value == "1").count(), published, "{in_doubt:?}");
        let told = values.iter().any(|value| value.contains(r#""cause":"in-doubt-dropped""#));
        assert_eq!(told, dropped > 0, "{in_doubt:?}: {values:?}");
        assert_eq!((report.in_doubt, report.in_doubt_dropped), (published as u64, dropped), "{in_doubt:?}");
    }
}

#[test]
fn what_keycloak_could_not_journal_is_told() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    let gap =
        GapPayload { user_events: 5, admin_events: 2, first_ms: 1, last_ms: 2, cause: GapCause::NoSpace };
    bench.writer.as_mut().unwrap().gap(&gap).unwrap();
    assert_eq!(bench.after(1).missing_events, 7);
}

/// The numbers of gap records, and what they say.
fn gaps(log: &[(u64, String)]) -> Vec<(u64, serde_json::Value)> {
    let gaps = log.iter().filter(|(_, value)| value.contains("KEYFERRY_GAP"));
    gaps.map(|(number, value)| (*number, serde_json::from_str(value).unwrap())).collect()
}

fn events(log: &[(u64, String)]) -> Vec<(u64, &str)> {
    let events = log.iter().filter(|(_, value)| !value.contains("KEYFERRY_GAP"));
    events.map(|(number, value)| (*number, value.as_str())).collect()
}

#[test]
fn a_gap_takes_its_numbers_is_sent_again_with_them_and_holds_the_checkpoint_until_then() {
    let mut bench = Bench::new(Some("admin"), InDoubt::Publish);
    bench.commit(EventKind::User, "1");
    let gap =
        GapPayload { user_events: 5, admin_events: 2, first_ms: 1, last_ms: 2, cause: GapCause::NoSpace };
    bench.writer.as_mut().unwrap().gap(&gap).unwrap();
    bench.commit(EventKind::User, "2");
    bench.after(1);
    let first = bench.sink.log();
    assert_eq!(first.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(bench.sink.topics(), ["events", "events", "admin", "events"]);
    let (_, value) = &gaps(&first)[0];
    assert_eq!((&value["cause"], &value["userEvents"]), (&"no-space".into(), &5.into()));
    assert_eq!(value["node"], "n");
    // The first record is acknowledged, the gap's are not: nothing may be passed.
    let (token, ..) = bench.sink.0.borrow().sent[0];
    bench.sink.0.borrow_mut().outcomes.push((token, Ok(())));
    bench.after(500);
    bench.restart();
    bench.after(1);
    assert_eq!(bench.sink.log(), first[1..]);
    let report = bench.deliver();
    assert_eq!((report.gap_records, report.published, report.state), (2, 1, State::Idle));
    bench.restart();
    bench.deliver();
    assert_eq!(bench.sink.log(), []);
}

#[test]
fn without_gap_records_nothing_is_sent_and_no_number_taken() {
    let mut bench = Bench::with(Settings { gap_records: false, ..settings(None) }, 1 << 20);
    let gap =
        GapPayload { user_events: 5, admin_events: 0, first_ms: 1, last_ms: 2, cause: GapCause::Ceiling };
    bench.writer.as_mut().unwrap().gap(&gap).unwrap();
    bench.commit(EventKind::User, "1");
    let report = bench.deliver();
    assert_eq!((bench.sink.log(), report.missing_events), (vec![(1, "1".to_owned())], 5));
}

#[test]
fn what_is_held_lies_in_the_file_once_with_everything_and_the_stream_goes_on() {
    let retention = Retention { keep: Duration::from_secs(600), keep_bytes: None };
    let settings = Settings { in_doubt: InDoubt::Hold, retention, ..settings(Some("admin")) };
    let mut bench = Bench::with(settings, 1 << 20);
    bench.prepare(EventKind::Admin, "doubtful");
    bench.kill_keycloak();
    bench.deliver();
    bench.writer = Some(begin(&bench.storage, 1 << 20));
    bench.commit(EventKind::User, "after");
    bench.deliver();
    // Every trace of what was delivered is lost: the transaction comes by again and is not laid aside twice.
    std::fs::remove_file(bench.directory.path().join("default.positions.jsonl")).unwrap();
    bench.sink.log();
    let mut storage = bench.storage.clone();
    keyferry_journal::Storage::write_checkpoint(&mut storage, "default", 0, &[0; 8192]).unwrap();
    bench.restart();
    let report = bench.deliver();
    assert_eq!((report.held, report.in_doubt, report.in_doubt_dropped), (1, 0, 0));
    assert_eq!(bench.sink.log(), [(1, "after".to_owned())]);
    let mut held = HeldFile::new(bench.directory.path().join("default.held.jsonl"));
    let events = held.list().unwrap();
    assert_eq!((events.len(), events[0].id(), &*events[0].body), (1, Some("doubtful"), "doubtful"));
    let mut payload = EventEncoder::new();
    events[0].encode(&mut payload);
    let event = keyferry_journal::event::Events::of(payload.payload()).next().unwrap().unwrap();
    assert!(event.is_in_doubt() && event.kind() == EventKind::Admin && event.body() == b"doubtful");
    assert_eq!(held.remove(|event| event.id() == Some("doubtful")).unwrap(), 1);
    assert_eq!(bench.after(1).held, 0);
}

#[test]
fn what_cannot_be_held_is_not_passed() {
    let mut bench = Bench::new(None, InDoubt::Hold);
    std::fs::create_dir(bench.directory.path().join("default.held.jsonl")).unwrap();
    bench.prepare(EventKind::User, "doubtful");
    bench.kill_keycloak();
    let report = bench.deliver();
    assert_eq!(report.state, State::Blocked);
    std::fs::remove_dir(bench.directory.path().join("default.held.jsonl")).unwrap();
    bench.restart();
    assert_eq!(bench.deliver().held, 1);
}

#[test]
fn delivered_segments_are_kept_for_as_long_and_as_large_as_configured() {
    for (retention, kept) in [
        (Retention::default(), 1..=2),
        (Retention { keep: Duration::from_secs(600), keep_bytes: None }, 14..=14),
        (Retention { keep: Duration::from_secs(600), keep_bytes: Some(1_200) }, 3..=5),
    ] {
        let mut bench = Bench::with(Settings { retention, ..settings(None) }, 400);
        for number in 0..40 {
            bench.commit(EventKind::User, &number.to_string());
            bench.after(200);
            bench.sink.acknowledge_all();
        }
        bench.deliver();
        let there = bench.storage.names().len();
        assert!(kept.contains(&there), "{retention:?}: {there}");
        bench.after(700_000);
        bench.after(1);
        let there = bench.storage.names().len();
        assert!(there <= 2, "{retention:?}: {there} after all of it is over");
        let numbers: Vec<u64> = bench.sink.log().iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_kept_goes_when_nothing_is_to_be_kept_and_what_is_not_delivered_stays() {
    let retention = Retention { keep: Duration::from_secs(600), keep_bytes: None };
    let settings = Settings { retention, ..settings(None) };
    let mut bench = Bench::with(settings.clone(), 400);
    for number in 0..40 {
        bench.commit(EventKind::User, &number.to_string());
        bench.after(200);
        bench.sink.acknowledge_all();
    }
    bench.deliver();
    assert_eq!(bench.storage.names().len(), 14);
    settings.controls.keep_nothing(true);
    (40..60).for_each(|number| bench.commit(EventKind::User, &number.to_string()));
    bench.after(1);
    let there = bench.storage.names().len();
    assert!((7..=9).contains(&there), "{there} segments for twenty events that are not delivered");
    settings.controls.keep_nothing(false);
    bench.deliver();
    assert_eq!(bench.storage.names().len(), there, "what is delivered from now on is kept again");
    let numbers: Vec<u64> = bench.sink.log().iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=60).collect::<Vec<_>>());
}

#[test]
fn a_damaged_checkpoint_uses_no_number_for_two_events() {
    for with_positions in [true, false] {
        let mut bench = Bench::with(settings(None), 400);
        for number in 0..20 {
            bench.commit(EventKind::User, &number.to_string());
            bench.after(200);
            bench.sink.acknowledge_all();
        }
        bench.deliver();
        let before = bench.sink.log();
        assert!(bench.storage.names()[0].number > 0);
        if !with_positions {
            std::fs::remove_file(bench.directory.path().join("default.positions.jsonl")).unwrap();
        }
        keyferry_journal::Storage::write_checkpoint(&mut bench.storage, "default", 0, &[7; 8192]).unwrap();
        bench.restart();
        bench.commit(EventKind::User, "new");
        bench.deliver();
        let after = bench.sink.log();
        if with_positions {
            assert!(
                events(&after).iter().all(
                    |(number, value)| *value == "new" || before.contains(&(*number, (*value).to_owned()))
                )
            );
            assert_eq!(events(&after).last(), Some(&(21, "new")));
            assert!(gaps(&after).is_empty());
        } else {
            assert_eq!(gaps(&after)[0].0, 1 << 32, "{after:?}");
            assert_eq!(gaps(&after)[0].1["cause"], "damage");
            let numbers: Vec<u64> = after.iter().map(|(number, _)| *number).collect();
            let expected: Vec<u64> = (1 << 32..).take(numbers.len()).collect();
            assert_eq!(numbers, expected);
            assert_eq!(events(&after).last().unwrap().1, "new");
        }
    }
}

#[test]
fn a_checkpoint_ahead_of_what_a_power_cut_has_left_stops_nothing() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    bench.prepare(EventKind::User, "open");
    for body in ["1", "2", "3"] {
        bench.commit(EventKind::User, body);
    }
    bench.deliver();
    bench.kill_keycloak();
    // The end of the segment had not reached the disk.
    let segment = bench.storage.names()[0];
    let bytes = bench.storage.bytes(segment);
    bench.storage.put(segment, bytes[..bytes.len() - 200].to_vec());
    bench.sink.log();
    bench.restart();
    bench.deliver();
    let in_doubt = bench.sink.log();
    assert_eq!(in_doubt[0], (4, "open".to_owned()), "what was open is delivered, under a new number");
    bench.restart();
    bench.writer = Some(begin(&bench.storage, 1 << 20));
    bench.commit(EventKind::User, "after");
    let report = bench.deliver();
    assert_eq!((report.state, bench.sink.log()), (State::Idle, vec![(1, "after".to_owned())]));
}

#[test]
fn an_epoch_that_is_older_than_a_vanished_checkpoint_is_delivered() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    bench.commit(EventKind::User, "1");
    bench.deliver();
    bench.kill_keycloak();
    bench.sink.log();
    // Neither the segment's name nor the epoch's mark had reached the disk, and the clock has gone back.
    let segment = bench.storage.names()[0];
    keyferry_journal::Storage::remove(&mut bench.storage, segment).unwrap();
    bench.storage.forget_mark();
    let clock: fn() -> u64 = || 500;
    let writer = Writer::begin(bench.storage.clone(), 0, clock, WriterOptions::default()).unwrap();
    assert!(writer.epoch() < segment.epoch);
    bench.storage.set_writer_alive(true);
    bench.writer = Some(writer);
    bench.commit(EventKind::User, "after");
    for _ in 0..2 {
        bench.restart();
        bench.commit(EventKind::User, "more");
        bench.deliver();
    }
    let values: Vec<_> = bench.sink.log();
    let expected = [(1, "after"), (2, "more"), (3, "more")];
    assert_eq!(events(&values), expected);
}

#[test]
fn what_was_reached_before_a_step_back_removes_nothing() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    let mut segments = Vec::new();
    for body in ["1", "2"] {
        bench.commit(EventKind::User, body);
        bench.deliver();
        segments.push(bench.storage.names()[0]);
        bench.kill_keycloak();
        bench.storage.set_writer_alive(true);
        bench.writer = Some(begin(&bench.storage, 1 << 20));
    }
    bench.deliver();
    bench.sink.log();
    // A power cut takes what the checkpoint points to, and an epoch begins that is older than those before.
    for segment in bench.storage.names() {
        keyferry_journal::Storage::remove(&mut bench.storage, segment).unwrap();
    }
    bench.storage.forget_mark();
    let clock: fn() -> u64 = || 500;
    let options = WriterOptions { segment_size: 400, ..WriterOptions::default() };
    bench.writer = Some(Writer::begin(bench.storage.clone(), 0, clock, options).unwrap());
    for _ in 0..10 {
        bench.commit(EventKind::User, "older");
    }
    let older = bench.storage.names();
    assert!(older.len() > 2 && older.last().unwrap() < &segments[0]);
    for _ in 0..2 {
        bench.restart();
        bench.after(200);
    }
    assert_eq!(bench.storage.names(), older, "a segment went before it was acknowledged");
}

#[test]
fn numbers_of_what_was_given_up_are_not_used_again_although_no_position_could_be_written() {
    let ceiling = Ceiling { max_bytes: 4_000, segment_bytes: 400, policy: Overflow::DropOld };
    let mut bench = Bench::with(Settings { ceiling: Some(ceiling), ..settings(None) }, 400);
    // A directory in the way of the positions' file.
    std::fs::create_dir(bench.directory.path().join("default.positions.jsonl.tmp")).unwrap();
    for number in 0..60 {
        bench.commit(EventKind::User, &number.to_string());
    }
    bench.after(300);
    bench.deliver();
    let before = bench.sink.log();
    assert!(!gaps(&before).is_empty());
    std::fs::remove_dir(bench.directory.path().join("default.positions.jsonl.tmp")).unwrap();
    keyferry_journal::Storage::write_checkpoint(&mut bench.storage, "default", 0, &[7; 8192]).unwrap();
    bench.restart();
    bench.deliver();
    for (number, value) in bench.sink.log() {
        let other = before.iter().find(|(other, _)| *other == number);
        assert!(other.is_none_or(|(_, other)| *other == value), "number {number}: {value} and {other:?}");
    }
}

#[test]
fn at_the_ceiling_the_oldest_give_way_are_counted_and_told_of_until_that_is_acknowledged() {
    let ceiling = Ceiling { max_bytes: 4_000, segment_bytes: 400, policy: Overflow::DropOld };
    let credit = Credit { bytes: 1 << 20, records: 3 };
    let mut bench = Bench::with(Settings { ceiling: Some(ceiling), credit, ..settings(None) }, 400);
    for number in 0..60 {
        bench.commit(EventKind::User, &number.to_string());
        bench.after(300);
    }
    let report = bench.after(300);
    let bytes: usize = bench.storage.names().iter().map(|name| bench.storage.bytes(*name).len()).sum();
    assert!(bytes <= 3_200 + 400, "{bytes} bytes are there");
    let dropped = report.dropped_old_user_events;
    assert!(dropped > 20, "{dropped}");
    let sent: Vec<u64> = bench.sink.log().iter().map(|(number, _)| *number).collect();
    // The agent dies before anything is acknowledged; the word of the loss does not die with it.
    bench.restart();
    bench.deliver();
    let log = bench.sink.log();
    let told: u64 = gaps(&log).iter().map(|(_, gap)| gap["userEvents"].as_u64().unwrap()).sum();
    assert_eq!(told, dropped);
    assert!(gaps(&log).iter().all(|(_, gap)| gap["cause"] == "dropped-old"));
    let arrived: Vec<u64> = events(&log).iter().map(|(_, value)| value.parse().unwrap()).collect();
    assert_eq!(arrived, (dropped..60).collect::<Vec<_>>());
    let explained = |number: u64| {
        gaps(&log).iter().any(|(_, gap)| {
            let (from, to) = (&gap["sequences"]["from"], &gap["sequences"]["to"]);
            (from.as_u64().unwrap()..=to.as_u64().unwrap()).contains(&number)
        })
    };
    let mut used = std::collections::BTreeSet::new();
    for (number, _) in &log {
        assert!(used.insert(*number), "number {number} is used twice");
    }
    let last = *used.last().unwrap();
    assert!(sent.iter().filter(|number| **number < 4).all(|number| explained(*number)));
    let (base, _) = gaps(&log).last().cloned().unwrap();
    assert!((base..=last).all(|number| used.contains(&number)), "numbers have a hole after {base}");
    bench.restart();
    bench.deliver();
    assert_eq!(bench.sink.log(), [], "what is acknowledged is told again");
}

/// Everything that a breaker can be in: closed, tripped, half-open, forced, and with another credit.
#[test]
fn what_is_in_flight_never_exceeds_the_credit_by_more_than_a_transaction() {
    const BODY: usize = 400;
    let most = |credit: Credit| credit.bytes + 2 * BODY + 2 * in_flight::RECORD_OVERHEAD;
    let credit = Credit { bytes: 20_000, records: 1_000 };
    let probe = Credit { bytes: 3_000, records: 1_000 };
    let breaker = breaker::Settings { probe, ..breaker::Settings::default() };
    let mut bench = Bench::with(Settings { credit, breaker, ..settings(None) }, 1 << 20);
    for _ in 0..200 {
        bench.commit(EventKind::User, &"x".repeat(BODY));
    }
    let controls = Arc::clone(&bench.settings.controls);
    let report = bench.after(1);
    assert!((credit.bytes..=most(credit)).contains(&report.in_flight_bytes), "{}", report.in_flight_bytes);
    // Nothing is acknowledged: it opens, and what is in flight stays.
    let report = bench.after(5_000);
    assert_eq!(
        (report.breaker.state, report.breaker.reason),
        (BreakerState::Open, Some(Trip::OldestUnacknowledged))
    );
    let (in_flight, sent) = (report.in_flight_bytes, bench.sink.log().len());
    for _ in 0..50 {
        assert_eq!(bench.after(500).in_flight_bytes, in_flight);
    }
    assert_eq!(
        (bench.sink.log().len(), sent > 0),
        (0, true),
        "an open breaker has sent, or a probe although much is in flight"
    );
    // An attempt fails: everything is taken back, and only a probe is sent.
    bench.sink.fail(FailureClass::Authentication, "login refused");
    assert_eq!(bench.after(1).in_flight_bytes, 0);
    let report = bench.after(3_000);
    assert_eq!(report.breaker.state, BreakerState::HalfOpen);
    assert!((probe.bytes..=most(probe)).contains(&report.in_flight_bytes), "{}", report.in_flight_bytes);
    controls.force_breaker(Some(Forced::Open));
    let report = bench.after(10_000);
    assert!(report.in_flight_bytes <= most(probe));
    assert_eq!(report.reason.as_deref(), Some("the circuit breaker is forced open"));
    // Forced closed, with half of the credit.
    controls.force_breaker(Some(Forced::Closed));
    let half = Credit { bytes: 10_000, records: 1_000 };
    controls.set_credit(Some(half));
    let report = bench.after(1);
    assert!((half.bytes..=most(half)).contains(&report.in_flight_bytes), "{}", report.in_flight_bytes);
    controls.set_credit(None);
    controls.force_breaker(None);
    assert_eq!((bench.deliver().published, bench.after(1).in_flight_bytes), (200, 0));
}

#[test]
fn a_trouble_that_stays_opens_the_breaker_and_a_probe_finds_that_it_is_over() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    bench.after(1);
    bench.sink.0.borrow_mut().trouble =
        Some(Failure { class: FailureClass::Authentication, reason: "login refused".to_owned() });
    let report = bench.after(1);
    assert_eq!(
        (report.breaker.state, report.breaker.reason),
        (BreakerState::Open, Some(Trip::Authentication))
    );
    assert_eq!((report.state, report.reason.as_deref()), (State::Blocked, Some("login refused")));
    bench.commit(EventKind::User, "1");
    assert!(!bench.pipeline.is_drained(), "what comes while nothing is read is not settled");
    assert_eq!(bench.after(3_000).breaker.state, BreakerState::HalfOpen);
    assert_eq!(bench.sink.values(), ["1"]);
    bench.sink.0.borrow_mut().trouble = None;
    bench.sink.acknowledge_all();
    let report = bench.after(1);
    assert_eq!(
        (report.breaker.state, report.state, report.published),
        (BreakerState::Closed, State::Idle, 1)
    );
}

#[test]
fn a_probe_that_is_not_answered_opens_the_breaker_again() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    bench.after(1);
    let refused = Failure { class: FailureClass::Authentication, reason: "login refused".to_owned() };
    bench.sink.0.borrow_mut().trouble = Some(refused);
    assert_eq!(bench.after(1).breaker.state, BreakerState::Open);
    bench.commit(EventKind::User, "1");
    assert_eq!(bench.after(3_000).breaker.state, BreakerState::HalfOpen);
    assert_eq!(bench.sink.values(), ["1"]);
    let timeout_ms = breaker::Settings::default().probe_timeout.as_millis() as u64;
    assert_eq!(bench.after(timeout_ms - 1).breaker.state, BreakerState::HalfOpen);
    let report = bench.after(1);
    assert_eq!((report.breaker.state, report.breaker.opened_total), (BreakerState::Open, 2));
    // What was in flight all the time is answered after all.
    bench.sink.0.borrow_mut().trouble = None;
    bench.sink.acknowledge_all();
    let report = bench.after(1);
    assert_eq!((report.breaker.state, report.published), (BreakerState::Closed, 1));
}

/// Received, published, sent again, filtered.
fn counted(bench: &Bench) -> (u64, u64, u64, u64) {
    let meter = &bench.settings.meter;
    let filtered = meter.events_filtered().iter().map(|(_, count)| count).sum();
    let received = meter.events_received().map(|of| of.count).sum();
    (received, meter.events_published().map(|of| of.count).sum(), meter.events_resent(), filtered)
}

#[test]
#[cfg(feature = "metrics")]
fn what_is_read_again_after_a_failure_is_received_and_filtered_once() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    bench.commit(EventKind::User, "1");
    bench.commit(EventKind::Admin, "2");
    bench.commit(EventKind::User, "3");
    bench.after(1);
    assert_eq!(counted(&bench), (3, 0, 0, 1));
    bench.sink.fail(FailureClass::Transient, "no leader");
    let report = bench.deliver();
    assert_eq!((report.published, report.resets), (2, 1));
    assert_eq!(counted(&bench), (3, 2, 2, 1));
    let failed: Vec<_> =
        bench.settings.meter.failures().into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(failed, [(FailureClass::Transient, 1)]);
}

#[test]
#[cfg(feature = "metrics")]
fn what_is_dropped_or_held_in_doubt_is_received_all_the_same() {
    for in_doubt in [InDoubt::Drop, InDoubt::Hold, InDoubt::Publish] {
        let mut bench = Bench::new(None, in_doubt);
        bench.prepare(EventKind::User, "1");
        bench.prepare(EventKind::User, "2");
        bench.kill_keycloak();
        bench.deliver();
        assert_eq!(counted(&bench).0, 2, "{in_doubt:?}");
    }
}

#[test]
#[cfg(feature = "metrics")]
fn a_transaction_that_the_sink_is_too_full_for_is_received_once() {
    let mut bench = Bench::with(
        Settings { credit: Credit { bytes: 1 << 20, records: 1 }, ..settings(None) },
        WriterOptions::default().segment_size,
    );
    let mut payload = EventEncoder::new();
    for body in ["1", "2", "3"] {
        payload.push(EventKind::User, 1, &[(Field::Id, body)], body.as_bytes());
    }
    let writer = bench.writer.as_mut().unwrap();
    let transaction = writer.next_transaction();
    writer.prepare(transaction, payload.payload()).unwrap();
    writer.commit(transaction).unwrap();
    bench.deliver();
    assert_eq!(counted(&bench), (3, 3, 0, 0));
}

#[test]
#[cfg(feature = "metrics")]
fn times_are_from_the_commit_and_from_the_hand_over_to_the_acknowledgement() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    // The journal dates everything to 1,000 ms; the wall clock is 1,000,000 ms ahead of the bench.
    bench.commit(EventKind::User, "1");
    bench.after(40);
    let meter = Arc::clone(&bench.settings.meter);
    assert_eq!(meter.journal_wait().counts().count(), 1, "after a turn all of it is told");
    bench.sink.acknowledge_all();
    bench.after(25);
    let sums = [meter.journal_wait(), meter.delivery(), meter.latency()].map(|times| times.counts().sum());
    assert_eq!(sums, [1_000_040 - 1_000, 25, 1_000_065 - 1_000]);
}

/// Whatever is not delivered is pressing, and logins are of low priority then.
fn shedding() -> Bench {
    let never = Thresholds::default();
    let backpressure = backpressure::Settings {
        elevated: Thresholds { backlog_bytes: Some(1), ..never },
        high: never,
        critical: never,
        hold: Duration::ZERO,
    };
    let low_priority =
        LowPriority { types: vec!["LOGIN".to_owned()], from: Level::Elevated, sample: 0, stretch: 3 };
    Bench::with(Settings { backpressure, low_priority, ..settings(None) }, 1 << 20)
}

#[test]
fn under_pressure_events_of_low_priority_are_passed_over_and_told_of_under_their_own_numbers() {
    let mut bench = shedding();
    bench.commit_typed("LOGIN", &["first"]);
    let report = bench.after(1);
    assert_eq!((events(&bench.sink.log()), report.backpressure.level), (vec![(1, "first")], Level::Elevated));
    bench.commit_typed("LOGIN", &["a", "b"]);
    bench.commit_typed("LOGOUT", &["c"]);
    bench.commit_typed("LOGIN", &["d"]);
    let report = bench.after(1);
    let log = bench.sink.log();
    assert_eq!(events(&log), [(4, "c")]);
    let [(number, gap)] = &gaps(&log)[..] else { panic!("{log:?}") };
    assert_eq!((*number, &gap["cause"], &gap["userEvents"]), (5, &"low-priority".into(), &3.into()));
    assert_eq!(gap["sequences"], serde_json::json!({"from": 2, "to": 5}));
    assert_eq!((report.passed_over, report.published), (3, 0));

    // Everything but the gap record is acknowledged: nothing that was passed over may be forgotten.
    let tokens: Vec<_> = bench.sink.0.borrow().sent.iter().map(|(token, ..)| *token).take(2).collect();
    bench.sink.0.borrow_mut().outcomes.extend(tokens.into_iter().map(|token| (token, Ok(()))));
    bench.after(500);
    bench.restart();
    bench.after(1);
    // Another agent, which knows of no pressure yet, does what was decided.
    let log = bench.sink.log();
    assert_eq!((events(&log), gaps(&log)[0].0), (vec![(4, "c")], 5));
    assert_eq!(bench.deliver().published, 1);
    bench.restart();
    bench.deliver();
    assert_eq!(bench.sink.log(), []);
}

#[test]
fn what_is_passed_over_is_behind_once_the_word_of_it_is_acknowledged() {
    let mut bench = shedding();
    bench.commit_typed("LOGOUT", &["first"]);
    bench.after(1);
    bench.commit_typed("LOGIN", &["a", "b"]);
    let report = bench.after(1);
    assert_eq!(report.state, State::Delivering);
    let report = bench.deliver();
    assert_eq!(
        (report.state, report.published, report.gap_records, report.backlog_bytes),
        (State::Idle, 1, 1, 0)
    );
    bench.sink.log();
    bench.restart();
    bench.deliver();
    assert_eq!(bench.sink.log(), []);
    // It was decided for three transactions, of which two came by.
    bench.commit_typed("LOGIN", &["c", "d"]);
    bench.after(1);
    assert_eq!(events(&bench.sink.log()), [(5, "d")], "the next number is the next");
}

#[test]
fn each_epoch_has_its_own_word_of_what_is_passed_over() {
    let mut bench = shedding();
    bench.commit_typed("LOGOUT", &["first"]);
    bench.after(1);
    bench.commit_typed("LOGIN", &["a", "b"]);
    bench.kill_keycloak();
    bench.writer = Some(begin(&bench.storage, 1 << 20));
    bench.commit_typed("LOGIN", &["c"]);
    for _ in 0..5 {
        bench.after(200);
    }
    let spans: Vec<_> =
        gaps(&bench.sink.log()).iter().map(|(number, gap)| (*number, gap["sequences"].clone())).collect();
    let span = |from: u64, to: u64| serde_json::json!({"from": from, "to": to});
    assert_eq!(spans, [(3, span(2, 3)), (1, span(1, 1))]);
    assert_eq!(bench.deliver().state, State::Idle);
}

#[test]
fn what_is_not_old_enough_waits_in_the_journal() {
    let settle_delay = Duration::from_secs(3);
    let mut bench =
        Bench::with(Settings { settle_delay, ..settings(None) }, WriterOptions::default().segment_size);
    // What the writer dates is 1 s after the epoch, and the clock of the turns far ahead of that: old enough.
    bench.commit(EventKind::User, "old");
    bench.after(1);
    assert_eq!(bench.sink.values(), ["old"]);
    bench.sink.acknowledge_all();
    bench.at(100, 1_500);
    assert!(bench.pipeline.is_drained());

    // Committed at 1000 by the journal's clock, read 500 ms later.
    bench.commit(EventKind::User, "1");
    bench.commit(EventKind::User, "2");
    let turn = bench.at(100, 1_500);
    assert_eq!((bench.sink.values().len(), turn.wake_at_ms, turn.journal), (0, Some(2_600), false));
    assert!(bench.pipeline.awaits_settling() && !bench.pipeline.is_drained());
    assert_eq!(bench.report_at(2_000, 3_400).state, State::Idle, "it waits for nobody but the clock");
    assert_eq!(bench.pipeline.stalled_ms(clock_at(60_000, 3_400)), 0);
    bench.at(2_599, 3_999);
    assert_eq!(bench.sink.values().len(), 0);
    bench.at(2_600, 4_000);
    assert_eq!(bench.sink.values(), ["1", "2"]);
    bench.sink.acknowledge_all();
    bench.at(2_700, 4_100);
    assert!(bench.pipeline.is_drained());
}

/// By their dates the events come from the future for a minute.
#[test]
fn a_clock_that_is_set_back_holds_all_events_back_for_one_delay_and_not_each() {
    let settle_delay = Duration::from_secs(3);
    let mut bench =
        Bench::with(Settings { settle_delay, ..settings(None) }, WriterOptions::default().segment_size);
    bench.kill_keycloak();
    bench.writer = Some(begin_at(&bench.storage, 1 << 20, || 100_000));
    bench.at(0, 200_000);
    bench.commit(EventKind::User, "1");
    bench.commit(EventKind::User, "2");
    assert_eq!(bench.at(1_000, 50_000).wake_at_ms, Some(4_000));
    bench.at(3_999, 52_999);
    assert_eq!(bench.sink.values().len(), 0);
    bench.at(4_000, 53_000);
    assert_eq!(bench.sink.values(), ["1", "2"]);
}

#[test]
fn a_destination_that_fails_while_events_settle_is_told_of() {
    let settle_delay = Duration::from_secs(3);
    let mut bench =
        Bench::with(Settings { settle_delay, ..settings(None) }, WriterOptions::default().segment_size);
    bench.commit(EventKind::User, "1");
    bench.at(0, 1_500);
    assert!(bench.pipeline.awaits_settling());
    bench.settings.controls.force_breaker(Some(Forced::Open));
    bench.at(100, 1_600);
    bench.at(5_100, 6_600);
    assert!(!bench.pipeline.awaits_settling());
    assert_eq!(bench.pipeline.stalled_ms(clock_at(5_100, 6_600)), 5_000);
}

#[test]
fn the_format_of_the_destination_is_that_of_its_records_from_the_next_on() {
    let content = Content { format: Format::Ocsf, ..Content::default() };
    let mut bench =
        Bench::with(Settings { content, ..settings(None) }, WriterOptions::default().segment_size);
    bench.commit(EventKind::User, r#"{"id":"a","later":1}"#);
    bench.deliver();
    let mut tunables = Tunables::of(&bench.settings);
    tunables.format = Format::Keycloak;
    bench.settings.controls.retune(tunables);
    bench.commit(EventKind::User, r#"{"id":"b","later":1}"#);
    bench.deliver();
    let log = bench.sink.log();
    let [(1, ocsf), (2, own)] = &log[..] else { panic!("{log:?}") };
    let ocsf: serde_json::Value = serde_json::from_str(ocsf).unwrap();
    assert_eq!((&ocsf["class_uid"], &ocsf["unmapped"]["later"]), (&3002.into(), &1.into()));
    assert_eq!(own, r#"{"id":"b","later":1}"#);
}

/// Ids of schemas, as a test has them.
#[derive(Debug, Default)]
struct Ids(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By topic; what is not there is being asked for.
    topics: BTreeMap<&'static str, SchemaLookup>,
    generation: u64,
    looked_up: u64,
}

impl SchemaSource for Ids {
    fn look_up(&self, schema: &Schema, topic: &str) -> SchemaLookup {
        assert_eq!(Some(*schema), Format::JsonSchema.schema());
        let mut known = self.0.lock().unwrap();
        known.looked_up += 1;
        known.topics.get(topic).cloned().unwrap_or(SchemaLookup::Asked)
    }

    fn generation(&self) -> u64 {
        self.0.lock().unwrap().generation
    }
}

impl Ids {
    fn set(&self, topic: &'static str, lookup: SchemaLookup) {
        self.0.lock().unwrap().topics.insert(topic, lookup);
    }

    fn refuse(&self, topic: &'static str, class: FailureClass) {
        self.set(topic, SchemaLookup::Refused(Failure { class, reason: "no id".to_owned() }));
    }

    fn know(&self, topic: &'static str, id: u32) {
        self.set(topic, SchemaLookup::Known(SchemaId(id)));
    }

    fn looked_up(&self) -> u64 {
        self.0.lock().unwrap().looked_up
    }
}

fn registered() -> (Bench, Arc<Ids>) {
    let ids = Arc::new(Ids::default());
    let content = Content { format: Format::JsonSchema, ..Content::default() };
    let settings = Settings { content, schemas: Arc::clone(&ids) as _, ..settings(Some("admin")) };
    (Bench::with(settings, WriterOptions::default().segment_size), ids)
}

/// The numbers of what was sent since the last call, each with the id of its schema.
fn framed(bench: &Bench) -> Vec<(u64, u8)> {
    let id = |value: &str| match value.as_bytes() {
        [0, 0, 0, 0, id, b'{', ..] => *id,
        other => panic!("{other:?}"),
    };
    bench.sink.log().iter().map(|(number, value)| (*number, id(value))).collect()
}

#[test]
fn what_has_no_schema_yet_is_held_with_all_behind_it_and_looked_for_soon() {
    let (mut bench, ids) = registered();
    ids.know("admin", 7);
    for number in 0..3 {
        bench.commit(EventKind::Admin, &format!("{{\"id\":\"a{number}\"}}"));
    }
    bench.commit(EventKind::User, r#"{"id":"u"}"#);
    bench.commit(EventKind::Admin, r#"{"id":"b"}"#);
    let turn = bench.at(1_000, 1_000_000);
    assert_eq!(framed(&bench), [(1, 7), (2, 7), (3, 7)], "what is behind it has a schema, and waits");
    assert!(turn.wake_at_ms.is_some_and(|at_ms| (1_001..=1_050).contains(&at_ms)), "{turn:?}");
    assert!(!turn.journal, "news in the journal are no reason to look");
    let looked_up = ids.looked_up();
    bench.at(1_001, 1_000_001);
    assert_eq!(ids.looked_up(), looked_up, "it was looked for a moment ago");
    let report = bench.report_at(1_001, 1_000_001);
    assert_eq!((report.state, report.breaker.state), (State::Delivering, BreakerState::Closed));
    ids.know("events", 8);
    bench.at(1_100, 1_000_100);
    assert_eq!(framed(&bench), [(4, 8), (5, 7)]);
    assert_eq!(bench.sink.0.borrow().resets, 0);
}

#[test]
fn a_registry_that_refuses_opens_the_breaker_loses_nothing_and_is_over_by_itself() {
    for class in [FailureClass::Transient, FailureClass::Authentication, FailureClass::Configuration] {
        let (mut bench, ids) = registered();
        ids.know("events", 7);
        bench.commit(EventKind::User, r#"{"id":"1"}"#);
        assert_eq!(bench.deliver().state, State::Idle);
        ids.refuse("admin", class);
        bench.commit(EventKind::Admin, r#"{"id":"2"}"#);
        bench.commit(EventKind::User, r#"{"id":"3"}"#);
        for _ in 0..100 {
            let report = bench.after(500);
            assert_eq!(report.state, State::Blocked);
            assert_eq!(report.reason.as_deref(), Some("no id"));
            let breaker = report.breaker;
            assert_eq!((breaker.state, breaker.reason), (BreakerState::Open, Some(Trip::SchemaRegistry)));
            assert_eq!(breaker.detail.as_deref(), Some("no id"));
        }
        // A pause of 3 s at most, of 1.5 s on average: each is one look.
        assert!((15..100).contains(&ids.looked_up()), "{}", ids.looked_up());
        assert!(bench.pipeline.stalled_ms(clock_at(bench.now_ms, 0)) > 40_000, "it counts as failing");
        ids.know("admin", 8);
        let report = bench.deliver();
        assert_eq!((report.state, report.breaker.state), (State::Idle, BreakerState::Closed), "{class}");
        assert_eq!(framed(&bench), [(1, 7), (2, 8), (3, 7)], "in order, and each once");
        assert_eq!((report.published, bench.sink.0.borrow().resets), (3, 0));
    }
}

#[test]
fn what_is_in_flight_arrives_while_the_rest_has_no_schema() {
    let (mut bench, ids) = registered();
    ids.know("events", 7);
    ids.refuse("admin", FailureClass::Transient);
    bench.commit(EventKind::User, r#"{"id":"1"}"#);
    bench.commit(EventKind::Admin, r#"{"id":"2"}"#);
    assert_eq!(bench.after(1).breaker.state, BreakerState::Open);
    bench.sink.acknowledge_all();
    let report = bench.after(200);
    assert_eq!((report.published, report.state), (1, State::Blocked));
    bench.restart();
    ids.know("admin", 8);
    framed(&bench);
    bench.deliver();
    assert_eq!(framed(&bench), [(2, 8)], "the checkpoint is before what was held");
}

#[test]
fn ids_of_another_registry_are_asked_for_anew_and_a_gap_record_has_one_as_well() {
    let (mut bench, ids) = registered();
    ids.know("events", 7);
    bench.commit(EventKind::User, r#"{"id":"1"}"#);
    bench.deliver();
    bench.commit(EventKind::User, r#"{"id":"2"}"#);
    bench.deliver();
    assert_eq!(ids.looked_up(), 1, "an id is looked up once");
    ids.set("events", SchemaLookup::Asked);
    ids.0.lock().unwrap().generation = 1;
    let gap =
        GapPayload { cause: GapCause::NoSpace, user_events: 1, admin_events: 0, first_ms: 1, last_ms: 2 };
    bench.writer.as_mut().unwrap().gap(&gap).unwrap();
    bench.commit(EventKind::User, r#"{"id":"4"}"#);
    bench.deliver();
    assert_eq!(framed(&bench), [(1, 7), (2, 7)]);
    ids.know("events", 9);
    let report = bench.deliver();
    assert_eq!(framed(&bench), [(3, 9), (4, 9)]);
    assert_eq!((report.gap_records, report.state), (1, State::Idle));
}

#[test]
fn a_format_without_a_schema_asks_nobody_and_a_change_to_one_that_has_it_does() {
    let (mut bench, ids) = registered();
    bench.commit(EventKind::User, r#"{"id":"1"}"#);
    bench.after(1);
    let controls = Arc::clone(&bench.settings.controls);
    let change = |bench: &Bench, format| {
        let tunables = Tunables { format, ..Tunables::of(&bench.settings) };
        controls.retune(tunables);
    };
    change(&bench, Format::Keycloak);
    bench.deliver();
    assert_eq!(bench.sink.log(), [(1, r#"{"id":"1"}"#.to_owned())], "it was held, and needs no schema now");
    ids.know("events", 5);
    change(&bench, Format::JsonSchema);
    bench.commit(EventKind::User, r#"{"id":"2"}"#);
    bench.deliver();
    assert_eq!(framed(&bench), [(2, 5)]);
}
