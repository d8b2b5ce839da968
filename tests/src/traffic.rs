//! A steady load on a journal: so many transactions a second, from a thread of its own, whatever the agent and Kafka do.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Result;
use crate::journal::{Journal, Written};
use crate::load::joined;

/// How often it looks at what is due.
const TURN: Duration = Duration::from_millis(5);
/// How much of what is overdue is made up for at once, in seconds: a machine that stood still must not be followed by a flood.
const LONGEST_TURN: f64 = 0.5;

/// The writer's thread.
pub struct Traffic {
    shared: Arc<Shared>,
    writer: JoinHandle<Result<Journal>>,
    begin: Written,
}

struct Shared {
    rate: AtomicU32,
    paused: Mutex<bool>,
    transactions: AtomicU64,
    stop: AtomicBool,
}

impl Traffic {
    /// Begins to write `rate` transactions a second.
    pub fn start(journal: Journal, rate: u32) -> Self {
        let begin = journal.written().clone();
        let shared = Arc::new(Shared {
            rate: rate.into(),
            paused: Mutex::new(false),
            transactions: begin.transactions().into(),
            stop: false.into(),
        });
        let for_writer = Arc::clone(&shared);
        Self { shared, writer: thread::spawn(move || for_writer.write(journal)), begin }
    }

    /// Writes nothing until [`Self::resume`], and returns what has been written until now.
    pub fn pause(&self) -> Written {
        *self.shared.paused() = true;
        self.written()
    }

    /// Goes on after [`Self::pause`].
    pub fn resume(&self) {
        *self.shared.paused() = false;
    }

    /// Changes the rate, in transactions a second.
    pub fn set_rate(&self, rate: u32) {
        self.shared.rate.store(rate, Ordering::Relaxed);
    }

    /// What has been written so far.
    pub fn written(&self) -> Written {
        self.begin.clone().after(self.shared.transactions.load(Ordering::Acquire))
    }

    /// Stops, and gives the journal back.
    ///
    /// # Errors
    /// Where the disk did not take something.
    pub fn finish(self) -> Result<Journal> {
        self.shared.stop.store(true, Ordering::Relaxed);
        joined(self.writer)
    }
}

impl Shared {
    /// Held while something is written, so that nothing is once it is set.
    fn paused(&self) -> MutexGuard<'_, bool> {
        self.paused.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self, mut journal: Journal) -> Result<Journal> {
        let mut last = Instant::now();
        let mut due = 0.0;
        while !self.stop.load(Ordering::Relaxed) {
            thread::sleep(TURN);
            let now = Instant::now();
            let turn = (now - last).as_secs_f64().min(LONGEST_TURN);
            last = now;
            let paused = self.paused();
            if *paused {
                continue;
            }
            due += turn * f64::from(self.rate.load(Ordering::Relaxed));
            let whole = due.floor();
            due -= whole;
            journal.write(whole as u64)?;
            self.transactions.store(journal.written().transactions(), Ordering::Release);
        }
        Ok(journal)
    }
}
