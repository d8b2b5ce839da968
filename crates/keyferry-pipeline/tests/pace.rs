//! The thread of a pipeline leaves the journal alone after a look that has found all there was, for a moment and until something is acknowledged.

#![allow(clippy::unwrap_used)]

mod support;

use std::cell::{Cell, RefCell};
use std::io::{PipeReader, PipeWriter, Write as _, pipe};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use keyferry_event::{Failure, Record, SendError, Sink, Token};
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{Feed, FeedOptions, MemoryStorage, Watch, Writer};
use keyferry_pipeline::{DrainLimits, Ended, Nowhere, Pipeline, Start, Stop, run};

/// Several times as long as a thread sleeps that does not leave the journal alone.
const AWHILE: Duration = Duration::from_millis(500);

type MemoryWriter = Writer<MemoryStorage, fn() -> u64>;

/// Commits an event whenever the thread is about to wait for one, and gives the word to stop a while after the first was sent.
struct Provoking {
    writer: RefCell<MemoryWriter>,
    sent: Rc<Cell<u64>>,
    unacknowledged: Vec<Token>,
    stop: Option<PipeWriter>,
}

impl Sink for Provoking {
    fn send(&mut self, token: Token, _: &Record<'_>) -> Result<(), SendError> {
        self.sent.set(self.sent.get() + 1);
        self.unacknowledged.push(token);
        if let Some(mut stop) = self.stop.take() {
            thread::spawn(move || {
                thread::sleep(AWHILE);
                stop.write_all(b"stop").unwrap();
            });
        }
        Ok(())
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        self.unacknowledged.drain(..).for_each(|token| outcome(token, Ok(())));
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.unacknowledged.clear();
        Ok(())
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        if self.sent.get() < 2 {
            support::write(&mut self.writer.borrow_mut(), 1, 500);
        }
        None
    }

    fn trouble(&self) -> Option<Failure> {
        None
    }
}

/// The word to stop, which notes what had been sent when it came.
struct Word {
    given: PipeReader,
    sent: Rc<Cell<u64>>,
    sent_before: Option<u64>,
}

impl Stop for Word {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.given.as_fd()]
    }

    fn is_given(&mut self) -> bool {
        self.sent_before = Some(self.sent.get());
        true
    }
}

fn journal() -> (MemoryStorage, MemoryWriter) {
    let storage = MemoryStorage::new();
    let options = WriterOptions { node: "node".to_owned(), ..WriterOptions::default() };
    let writer = Writer::begin(storage.clone(), 0, (|| 1_000) as fn() -> u64, options).unwrap();
    (storage, writer)
}

/// Runs a pipeline that leaves the journal alone for `rest` until the `word` is given and all is delivered.
fn run_to_end(storage: MemoryStorage, sink: impl Sink, rest: Duration, word: &mut Word) -> Ended {
    let settings = support::settings();
    settings.controls.set_rest(rest);
    let feed = Feed::open(storage, None, FeedOptions::default()).unwrap();
    let mut pipeline = Pipeline::new(feed, Start::anew("a"), sink, Nowhere, settings);
    // No directory: so nobody tells of what is written, and the thread looks every tenth of a second.
    let mut watch = Watch::new(Path::new("/nonexistent"));
    let limits = DrainLimits { total: Duration::from_secs(60), stalled: Duration::from_secs(60) };
    run(&mut pipeline, &mut watch, word, limits, &mut |_, _| {}).unwrap()
}

#[test]
fn after_a_look_that_has_found_all_the_journal_is_left_alone_and_the_word_to_stop_is_heard() {
    let (storage, writer) = journal();
    let (given, stop) = pipe().unwrap();
    let sent = Rc::<Cell<u64>>::default();
    let sink = Provoking {
        writer: RefCell::new(writer),
        sent: Rc::clone(&sent),
        unacknowledged: Vec::new(),
        stop: Some(stop),
    };
    let mut word = Word { given, sent, sent_before: None };
    let ended = run_to_end(storage, sink, Duration::from_secs(3_600), &mut word);
    assert_eq!((ended, word.sent_before), (Ended::Drained, Some(1)));
}

/// Commits an event when the thread first waits, and another one when it waits for the first to be acknowledged, which it is a while later.
struct Unhurried {
    writer: RefCell<MemoryWriter>,
    written: Cell<usize>,
    answers: PipeReader,
    answer: RefCell<Option<PipeWriter>>,
    has_answered: Arc<AtomicBool>,
    /// For each record, whether there had been an answer when it came.
    sent: Rc<RefCell<Vec<bool>>>,
    unacknowledged: Vec<Token>,
    stop: PipeWriter,
}

impl Sink for Unhurried {
    fn send(&mut self, token: Token, _: &Record<'_>) -> Result<(), SendError> {
        self.sent.borrow_mut().push(self.has_answered.load(Ordering::Acquire));
        self.unacknowledged.push(token);
        if self.sent.borrow().len() == 2 {
            self.stop.write_all(b"stop").unwrap();
        }
        Ok(())
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        if self.has_answered.load(Ordering::Acquire) {
            self.unacknowledged.drain(..).for_each(|token| outcome(token, Ok(())));
        }
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.unacknowledged.clear();
        Ok(())
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        if self.written.get() < 2 && self.sent.borrow().len() == self.written.get() {
            support::write(&mut self.writer.borrow_mut(), 1, 500);
            self.written.set(self.written.get() + 1);
        }
        if self.written.get() == 2
            && let Some(mut answer) = self.answer.take()
        {
            let has_answered = Arc::clone(&self.has_answered);
            thread::spawn(move || {
                thread::sleep(AWHILE);
                has_answered.store(true, Ordering::Release);
                answer.write_all(b"answer").unwrap();
            });
        }
        Some(self.answers.as_fd())
    }

    fn trouble(&self) -> Option<Failure> {
        None
    }
}

#[test]
fn what_comes_while_something_is_under_way_waits_for_an_acknowledgement() {
    let (storage, writer) = journal();
    let ((answers, answer), (given, stop)) = (pipe().unwrap(), pipe().unwrap());
    let sent = Rc::<RefCell<Vec<bool>>>::default();
    let sink = Unhurried {
        writer: RefCell::new(writer),
        written: Cell::new(0),
        answers,
        answer: RefCell::new(Some(answer)),
        has_answered: Arc::default(),
        sent: Rc::clone(&sent),
        unacknowledged: Vec::new(),
        stop,
    };
    let mut word = Word { given, sent: Rc::default(), sent_before: None };
    // For an acknowledgement it is waited many times as long as a rest.
    let ended = run_to_end(storage, sink, AWHILE, &mut word);
    assert_eq!((ended, &sent.borrow()[..]), (Ended::Drained, &[false, true][..]));
}
