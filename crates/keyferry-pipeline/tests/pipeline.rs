//! What the pipeline does and tells, step by step; what it must hold under faults is in `keyferry-simulation`.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use keyferry_event::{Failure, FailureClass, HeaderMode, Record, SendError, Sink, Token, Topics};
use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::format::{GapCause, GapPayload};
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{EventKind, Feed, FeedOptions, MemoryStorage, Writer};
use keyferry_pipeline::{
    Clock, Credit, InDoubt, Pipeline, Report, Retention, Settings, SideFiles, Start, State,
};

/// A sink that does what the test says.
#[derive(Clone, Default)]
struct Script(Rc<RefCell<Scripted>>);

#[derive(Default)]
struct Scripted {
    sent: Vec<(Token, String, String)>,
    outcomes: Vec<(Token, Result<(), Failure>)>,
    resets: usize,
    trouble: Option<String>,
    too_large: bool,
}

impl Script {
    fn acknowledge_all(&self) {
        let mut script = self.0.borrow_mut();
        let tokens: Vec<Token> = script.sent.drain(..).map(|(token, _, _)| token).collect();
        script.outcomes.extend(tokens.into_iter().map(|token| (token, Ok(()))));
    }

    fn fail(&self, class: FailureClass, reason: &str) {
        let mut script = self.0.borrow_mut();
        let (token, _, _) = script.sent[0];
        script.outcomes.push((token, Err(Failure { class, reason: reason.to_owned() })));
    }

    fn topics(&self) -> Vec<String> {
        self.0.borrow().sent.iter().map(|(_, topic, _)| topic.clone()).collect()
    }

    fn values(&self) -> Vec<String> {
        self.0.borrow().sent.iter().map(|(_, _, value)| value.clone()).collect()
    }
}

impl Sink for Script {
    fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError> {
        let mut script = self.0.borrow_mut();
        if script.too_large {
            let reason = "too large".to_owned();
            return Err(SendError::Failed(Failure { class: FailureClass::Poison, reason }));
        }
        let value = String::from_utf8(record.value.to_vec()).unwrap();
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

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn trouble(&self) -> Option<String> {
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
    Settings {
        topics: Topics {
            events: Some("events".to_owned()),
            admin_events: admin_events.map(ToOwned::to_owned),
        },
        headers: HeaderMode::CloudEvents,
        in_doubt: InDoubt::Publish,
        gap_records: true,
        ceiling: None,
        retention: Retention::default(),
        credit: Credit { bytes: 1 << 20, records: 100 },
        delivery_timeout: Duration::from_secs(120),
        seed: 1,
    }
}

fn begin(storage: &MemoryStorage, segment_size: u64) -> Writer<MemoryStorage, fn() -> u64> {
    storage.set_writer_alive(true);
    let clock: fn() -> u64 = || 1_000;
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
    bench.sink.0.borrow_mut().trouble = Some("no connection".to_owned());
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

#[test]
fn a_failure_takes_everything_back_and_sends_it_again_in_order() {
    let mut bench = Bench::new(None, InDoubt::Publish);
    for body in ["1", "2", "3"] {
        bench.commit(EventKind::User, body);
    }
    bench.after(1);
    bench.sink.fail(FailureClass::Retriable, "not authorised");
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
    bench.sink.0.borrow_mut().too_large = true;
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
    bench.sink.0.borrow_mut().too_large = true;
    let report = bench.after(1);
    assert_eq!((report.dead_letters, report.state), (0, State::Blocked));
    assert!(report.reason.unwrap().contains("dead-letter file"));
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
