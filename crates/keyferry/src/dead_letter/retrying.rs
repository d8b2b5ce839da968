//! Sends letters in their order until each is delivered or refused for good.
//!
//! The invariant: **what is not acknowledged does not count as delivered**, and one that is refused again does not end the others. After a failure the producer
//! begins anew, and everything without an outcome is sent once more, in order.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::{Duration, Instant};

use keyferry_event::{Failure, FailureClass, Header, Record, SendError, Sink, Token};
use keyferry_pipeline::LaidAside;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long one wait for outcomes may take.
const WAIT: Duration = Duration::from_millis(200);

/// How long to wait after a failure that is not a record's own.
const PAUSE: Duration = Duration::from_millis(500);

/// What became of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has no outcome.
    Open,
    /// Kafka has it.
    Delivered,
    /// Kafka can still not take it, because of this.
    Refused(String),
}

/// Passes the time.
pub trait Timer {
    /// How much has passed.
    fn elapsed(&self) -> Duration;

    /// Waits until `sink` has something to report, or for as long as `limit`.
    fn wait(&mut self, sink: &impl Sink, limit: Duration);
}

/// The system's clock.
pub struct SystemTimer(Instant);

impl SystemTimer {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Timer for SystemTimer {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn wait(&mut self, sink: &impl Sink, limit: Duration) {
        let readiness = sink.readiness();
        let mut ready: Vec<_> =
            readiness.iter().map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN)).collect();
        // A signal ends the wait early, and the caller looks for outcomes in any case.
        let _ = poll(&mut ready, Timespec::try_from(limit).ok().as_ref());
    }
}

/// Letters on their way to a sink.
pub struct Courier<'a, K, T> {
    sink: K,
    timer: T,
    patience: Duration,
    letters: &'a [&'a LaidAside],
    fates: Vec<Fate>,
    under_way: BTreeMap<Token, usize>,
    /// The first letter that has not been sent since the sink began.
    next: usize,
    next_token: u64,
    /// What went wrong last, but for refused letters.
    complaint: Option<String>,
}

impl<'a, K: Sink, T: Timer> Courier<'a, K, T> {
    /// Sends `letters` by `sink`, which may achieve nothing for as long as `patience`.
    pub fn new(letters: &'a [&'a LaidAside], sink: K, timer: T, patience: Duration) -> Self {
        let fates = vec![Fate::Open; letters.len()];
        let under_way = BTreeMap::new();
        Self { sink, timer, patience, letters, fates, under_way, next: 0, next_token: 0, complaint: None }
    }

    /// Answers what became of each letter and, if not all have an outcome, why.
    pub fn deliver(mut self) -> (Vec<Fate>, Option<String>) {
        let mut heard = self.timer.elapsed();
        let mut open = self.open();
        while open > 0 {
            let failure = self.send().or(self.collect());
            if let Some(failure) = failure {
                self.begin_anew(failure);
            }
            let now_open = self.open();
            if now_open < open {
                (open, heard) = (now_open, self.timer.elapsed());
            } else if self.timer.elapsed() > heard + self.patience {
                let reason = self.why_silent();
                return (self.fates, Some(reason));
            } else {
                self.timer.wait(&self.sink, WAIT);
            }
        }
        (self.fates, None)
    }

    fn open(&self) -> usize {
        self.fates.iter().filter(|fate| **fate == Fate::Open).count()
    }

    /// Sends what has not been sent, as far as the sink takes it.
    fn send(&mut self) -> Option<Failure> {
        while let Some(letter) = self.letters.get(self.next) {
            if self.fates[self.next] == Fate::Open {
                let token = Token(self.next_token);
                match with_record(letter, |record| self.sink.send(token, record)) {
                    Ok(()) => {
                        self.under_way.insert(token, self.next);
                        self.next_token += 1;
                    }
                    Err(SendError::Full) => return None,
                    Err(SendError::Failed(failure)) if failure.class == FailureClass::Poison => {
                        self.fates[self.next] = Fate::Refused(failure.reason);
                    }
                    Err(SendError::Failed(failure)) => return Some(failure),
                }
            }
            self.next += 1;
        }
        None
    }

    /// Takes in outcomes.
    fn collect(&mut self) -> Option<Failure> {
        let Self { sink, fates, under_way, .. } = self;
        let mut first = None;
        sink.poll(&mut |token, outcome| {
            let Some(index) = under_way.remove(&token) else { return };
            match outcome {
                Ok(()) => fates[index] = Fate::Delivered,
                Err(failure) => {
                    if failure.class == FailureClass::Poison {
                        fates[index] = Fate::Refused(failure.reason.clone());
                    }
                    first.get_or_insert(failure);
                }
            }
        });
        first
    }

    fn begin_anew(&mut self, failure: Failure) {
        if failure.class != FailureClass::Poison {
            self.complaint = Some(failure.reason);
            self.timer.wait(&self.sink, PAUSE);
        }
        (self.next, self.under_way) = (0, BTreeMap::new());
        if let Err(failure) = self.sink.reset() {
            self.complaint = Some(failure.reason);
        }
    }

    fn why_silent(&self) -> String {
        let silence = || format!("nothing was acknowledged for {} s", self.patience.as_secs());
        let trouble = self.sink.trouble().map(|trouble| trouble.reason);
        trouble.or_else(|| self.complaint.clone()).unwrap_or_else(silence)
    }
}

/// Hands the record that `letter` was to `send`.
fn with_record<R>(letter: &LaidAside, send: impl FnOnce(&Record<'_>) -> R) -> R {
    // A name has no NUL: it was one of C's strings before.
    let names: Vec<_> = letter.headers.keys().map(|name| CString::new(&**name).unwrap_or_default()).collect();
    let values = letter.headers.values().map(String::as_bytes);
    let headers: Vec<_> = names.iter().zip(values).map(|(name, value)| Header { name, value }).collect();
    let LaidAside { topic, key, value, timestamp, .. } = letter;
    send(&Record::of_parts(topic, key.as_bytes(), value, *timestamp, &headers))
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

    use super::*;

    /// A sink that does with each record what its value says, and remembers what was sent.
    #[derive(Default)]
    struct Script {
        sent: Vec<String>,
        outcomes: Vec<(Token, Result<(), Failure>)>,
        resets: usize,
    }

    impl Sink for &mut Script {
        fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError> {
            let value = String::from_utf8(record.value.to_vec()).unwrap();
            self.sent.push(value.clone());
            let times = self.sent.iter().filter(|sent| **sent == value).count();
            match (value.as_str(), times) {
                ("refused at once", _) => return Err(SendError::Failed(Failure::poison("too large"))),
                ("refused", _) => self.outcomes.push((token, Err(Failure::poison("policy")))),
                ("fails once", 1) => self.outcomes.push((token, Err(Failure::transient("no leader")))),
                ("silent", _) => {}
                _ => self.outcomes.push((token, Ok(()))),
            }
            Ok(())
        }

        fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
            // As with a real producer: after one that fails, none of those behind it arrives.
            for (token, result) in self.outcomes.drain(..) {
                let failed = result.is_err();
                outcome(token, result);
                if failed {
                    break;
                }
            }
        }

        fn reset(&mut self) -> Result<(), Failure> {
            self.resets += 1;
            Ok(())
        }

        fn readiness(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        fn trouble(&self) -> Option<Failure> {
            None
        }
    }

    /// Time that passes by waiting only.
    struct Waiting(Duration);

    impl Timer for Waiting {
        fn elapsed(&self) -> Duration {
            self.0
        }

        fn wait(&mut self, _: &impl Sink, limit: Duration) {
            self.0 += limit;
        }
    }

    fn letter(value: &str) -> LaidAside {
        serde_json::from_value(serde_json::json!({
            "id": value, "laid_aside": 1, "cause": "", "class": "poison", "topic": "events", "timestamp": 1,
            "key": "k", "headers": {"ce_id": value}, "value": value,
        }))
        .unwrap()
    }

    fn deliver(values: &[&str]) -> (Vec<Fate>, Option<String>, Script) {
        let letters: Vec<_> = values.iter().map(|value| letter(value)).collect();
        let letters: Vec<_> = letters.iter().collect();
        let mut script = Script::default();
        let courier = Courier::new(&letters, &mut script, Waiting(Duration::ZERO), Duration::from_secs(5));
        let (fates, ended) = courier.deliver();
        (fates, ended, script)
    }

    #[test]
    fn one_that_is_refused_again_does_not_end_the_others() {
        let (fates, ended, script) = deliver(&["a", "refused", "b", "refused at once", "c"]);
        let refused = |reason: &str| Fate::Refused(reason.to_owned());
        let expected =
            [Fate::Delivered, refused("policy"), Fate::Delivered, refused("too large"), Fate::Delivered];
        assert_eq!((fates.as_slice(), ended), (&expected[..], None));
        assert_eq!(script.sent, ["a", "refused", "b", "refused at once", "c", "b", "c"]);
    }

    #[test]
    fn one_that_may_succeed_later_is_sent_again_and_those_behind_it_after_it() {
        let (fates, ended, script) = deliver(&["a", "fails once", "b"]);
        assert_eq!(
            (fates.as_slice(), ended),
            (&[Fate::Delivered, Fate::Delivered, Fate::Delivered][..], None)
        );
        assert_eq!(
            (script.sent, script.resets),
            (["a", "fails once", "b", "fails once", "b"].map(str::to_owned).to_vec(), 1)
        );
    }

    #[test]
    fn what_is_not_acknowledged_is_not_delivered_and_not_waited_for_without_an_end() {
        let (fates, ended, _) = deliver(&["a", "silent", "b"]);
        assert_eq!(fates, [Fate::Delivered, Fate::Open, Fate::Delivered]);
        assert_eq!(ended.as_deref(), Some("nothing was acknowledged for 5 s"));
    }
}
