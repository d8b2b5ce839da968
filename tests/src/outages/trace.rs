//! What an agent says of itself over time, and the memory that it has.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use serde_json::Value;

use crate::agent::{self, Agent};
use crate::load::joined;
use crate::{Result, usage};

const INTERVAL: Duration = Duration::from_millis(50);

/// A moment at which the agent's state or its breaker's changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When, since the beginning.
    pub at: Duration,
    /// The state, such as `delivering`.
    pub state: String,
    /// The breaker's state, such as `open`; empty as long as nothing is shipped.
    pub breaker: String,
    /// What the agent says is the reason; empty for none.
    pub reason: String,
}

/// Looks at an agent again and again, in a thread of its own.
pub struct Trace {
    stop: Arc<AtomicBool>,
    watcher: JoinHandle<Watcher>,
}

struct Watcher {
    slot: PathBuf,
    pid: Pid,
    begin: Instant,
    changes: Vec<Change>,
    memory: u64,
    status: Value,
}

impl Trace {
    /// Begins to look.
    ///
    /// # Errors
    /// Where the agent is not running.
    pub fn start(agent: &Agent) -> Result<Self> {
        let mut watcher = Watcher {
            slot: agent.slot().to_owned(),
            pid: agent.pid()?,
            begin: Instant::now(),
            changes: Vec::new(),
            memory: 0,
            status: Value::Null,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let for_watcher = Arc::clone(&stop);
        let watcher = thread::spawn(move || {
            while !for_watcher.load(Ordering::Relaxed) {
                watcher.look();
                thread::sleep(INTERVAL);
            }
            watcher
        });
        Ok(Self { stop, watcher })
    }

    /// Ends, and returns the changes, the most resident memory in bytes, and what the agent said last.
    pub fn finish(self) -> (Vec<Change>, u64, Value) {
        self.stop.store(true, Ordering::Relaxed);
        let Watcher { changes, memory, status, .. } = joined(self.watcher);
        (changes, memory, status)
    }
}

impl Watcher {
    fn look(&mut self) {
        self.memory = self.memory.max(usage::resident_memory(self.pid).unwrap_or_default());
        let Some(status) = agent::status_in(&self.slot) else { return };
        let change = Change::of(&status, self.begin.elapsed());
        if self.changes.last().is_none_or(|last| last.differs(&change)) {
            self.changes.push(change);
        }
        self.status = status;
    }
}

impl Change {
    fn of(status: &Value, at: Duration) -> Self {
        let text = |path: &str| status.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { at, state: text("/state"), breaker: text("/destinations/0/breaker"), reason: text("/reason") }
    }

    fn differs(&self, other: &Self) -> bool {
        (&self.state, &self.breaker) != (&other.state, &other.breaker)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_new_state_is_a_change() {
        let of = |state, breaker, reason| {
            Change::of(
                &json!({ "state": state, "destinations": [{ "breaker": breaker }], "reason": reason }),
                INTERVAL,
            )
        };
        assert!(!of("blocked", "open", "a").differs(&of("blocked", "open", "b")));
        assert!(of("blocked", "open", "a").differs(&of("blocked", "half-open", "a")));
        assert!(of("blocked", "open", "a").differs(&of("idle", "open", "a")));
    }
}
