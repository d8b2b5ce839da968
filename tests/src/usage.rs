//! What a process has taken of the machine, as the kernel counts it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::{Error, Result};

/// Of `/proc/PID/stat`, on every platform that Keyferry runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// The resident memory of a process in bytes; nothing where it has ended.
pub fn resident_memory(pid: Pid) -> Option<u64> {
    memory(pid, "VmRSS:")
}

/// The most resident memory that a process has ever had, in bytes; nothing where it has ended.
pub fn peak_memory(pid: Pid) -> Option<u64> {
    memory(pid, "VmHWM:")
}

/// Processor time that a process has taken in all its threads, in seconds, counted in hundredths: until its end, where it has ended and nobody has waited for it yet.
///
/// # Errors
/// Where it is gone.
pub fn processor_time(pid: Pid) -> Result<f64> {
    let path = directory(pid).join("stat");
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    Ok(ticks(&text) / TICKS_A_SECOND)
}

/// Of the text of `/proc/PID/stat`. The second field is a name in brackets that may contain anything; the times are the 14th and the 15th.
fn ticks(stat: &str) -> f64 {
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum()
}

/// What the threads of a process have done so far, those that have ended left out: for one that is nearly idle, and whose processor time in hundredths of a second would tell nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// For how long they have run.
    pub running: Duration,
    /// How often one of them went to sleep by itself, and so was woken.
    pub wakeups: u64,
}

impl Activity {
    /// Of a process until now.
    ///
    /// # Errors
    /// Where it is gone, or the kernel does not account for threads.
    pub fn of(pid: Pid) -> Result<Self> {
        let sum = |sum: Self, thread: Self| Self {
            running: sum.running + thread.running,
            wakeups: sum.wakeups + thread.wakeups,
        };
        Ok(Self::of_threads(pid, "")?.into_values().fold(Self::default(), sum))
    }

    /// Of each thread of a process whose name begins like this, by its directory.
    fn of_threads(pid: Pid, beginning: &str) -> Result<BTreeMap<PathBuf, Self>> {
        let tasks = directory(pid).join("task");
        let threads = fs::read_dir(&tasks).map_err(Error::io("list", &tasks))?;
        let mut activities = BTreeMap::new();
        for thread in threads {
            let path = thread.map_err(Error::io("list", &tasks))?.path();
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            if !name.starts_with(beginning) {
                continue;
            }
            match Self::of_thread(&path) {
                // It has ended in between.
                Err(_) if !path.exists() => {}
                activity => drop(activities.insert(path, activity?)),
            }
        }
        Ok(activities)
    }

    fn of_thread(directory: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path).map_err(Error::io("read", &path))
        };
        let running = read("schedstat")?.split_whitespace().next().and_then(|field| field.parse().ok());
        let wakeups = number(&read("status")?, "voluntary_ctxt_switches:");
        let odd =
            || Error::Missing(format!("{} does not tell what the thread has done", directory.display()));
        Ok(Self {
            running: Duration::from_nanos(running.ok_or_else(odd)?),
            wakeups: wakeups.ok_or_else(odd)?,
        })
    }

    /// What was done since an earlier moment.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            running: self.running.saturating_sub(before.running),
            wakeups: self.wakeups.saturating_sub(before.wakeups),
        }
    }
}

/// How often threads are looked at, so that little is missed of what one does before it ends.
const LOOK: Duration = Duration::from_millis(20);

/// Waits for so long, and answers for how long the threads of a process have run meanwhile whose names begin like this, those that begin or end in between included.
///
/// # Errors
/// As [`Activity::of`].
pub fn running_meanwhile(pid: Pid, beginning: &str, duration: Duration) -> Result<Duration> {
    let begin = Instant::now();
    let before = Activity::of_threads(pid, beginning)?;
    let mut last = before.clone();
    while begin.elapsed() < duration {
        thread::sleep(LOOK);
        last.extend(Activity::of_threads(pid, beginning)?);
    }
    let of = |(thread, last): (PathBuf, Activity)| {
        last.since(before.get(&thread).copied().unwrap_or_default()).running
    };
    Ok(last.into_iter().map(of).sum())
}

fn memory(pid: Pid, name: &str) -> Option<u64> {
    let status = fs::read_to_string(directory(pid).join("status")).ok()?;
    Some(number(&status, name)? * 1024)
}

/// The number behind a name in a file of lines such as `VmRSS:  1234 kB`.
fn number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn directory(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_times() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 3 4 20 0 1 0 100 0 0";
        assert_eq!(ticks(stat), 300.0);
    }

    #[test]
    fn a_number_is_that_of_the_line_which_begins_with_the_name() {
        let status = "VmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\nvoluntary_ctxt_switches:\t9\nnonvoluntary_ctxt_switches:\t5\n";
        assert_eq!(number(status, "VmRSS:"), Some(1024));
        assert_eq!(number(status, "voluntary_ctxt_switches:"), Some(9));
        assert_eq!(number(status, "Threads:"), None);
    }

    #[test]
    fn work_and_sleep_are_seen() {
        // Other threads of this process end meanwhile, and what they did with them.
        let own = || Activity::of_thread(Path::new("/proc/thread-self")).unwrap();
        let before = own();
        let mut sum = 0_u64;
        while own().since(before).running < Duration::from_millis(20) {
            sum = (0..100_000).fold(sum, u64::wrapping_add);
        }
        std::hint::black_box(sum);
        std::thread::sleep(Duration::from_millis(1));
        assert!(own().since(before).wakeups > 0);
    }

    #[test]
    fn this_process_has_accounts() {
        let own = rustix::process::getpid();
        assert!(Activity::of(own).unwrap().running > Duration::ZERO);
        // The other way round it might have grown in between.
        let resident = resident_memory(own).unwrap();
        assert!(peak_memory(own).unwrap() >= resident);
        assert!(processor_time(own).is_ok());
    }
}
