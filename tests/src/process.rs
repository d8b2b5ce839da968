//! Servers as process groups.
//!
//! The invariant: **no server outlives its test**, whatever ends the test: return, panic, Ctrl-C or SIGKILL. Each server runs in a process
//! group of its own, beside a watchdog that waits on a pipe from us. The kernel closes the pipe when we are gone, however that happened.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};

use crate::{Error, Result, log, wait};

/// Groups that are alive, and so must be killed by [`kill_all`].
static ALIVE: Mutex<BTreeMap<i32, Pid>> = Mutex::new(BTreeMap::new());

/// Kills every process that the harness has started: for the moment before the process exits without unwinding.
pub fn kill_all() {
    for group in ALIVE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).values() {
        kill_group_quietly(*group);
    }
}

/// Waits for the end of our pipe, kills the group, and removes the directories whose names came through the pipe.
const WATCHDOG: &str = r#"
while IFS= read -r line; do set -- "$@" "$line"; done
kill -s KILL -- "-$1"
shift
[ $# -eq 0 ] || { sleep 1; rm -rf -- "$@"; }
"#;

/// A server and everything that it starts.
#[derive(Debug)]
pub struct Server {
    name: String,
    leader: Child,
    pid: Pid,
    watchdog: Child,
    log: PathBuf,
}

impl Server {
    /// Starts a server whose output goes to the end of the file `log`.
    ///
    /// # Errors
    /// Where the program cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        Self::start_fed(name, command, log, Stdio::null())
    }

    /// As [`Self::start`], with something to read from standard input.
    ///
    /// # Errors
    /// As there.
    pub fn start_fed(name: &str, command: &mut Command, log: &Path, input: Stdio) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log).map_err(Error::io("open", log))?;
        let errors = output.try_clone().map_err(Error::io("duplicate", log))?;
        let program = PathBuf::from(command.get_program());
        command.stdin(input).stdout(output).stderr(errors).process_group(0);
        let leader = command.spawn().map_err(Error::io("start", &program))?;
        let pid = pid_of(&leader);
        ALIVE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(pid.as_raw_nonzero().get(), pid);
        let watchdog = start_watchdog(pid).inspect_err(|_| kill_group_quietly(pid))?;
        Ok(Self { name: name.to_owned(), leader, pid, watchdog, log: log.to_owned() })
    }

    /// Lets the watchdog remove a directory when this process has ended: for a server that lives as long as it, and that nobody drops.
    ///
    /// # Errors
    /// Where the watchdog cannot be told.
    pub fn leave_nothing_of(&self, directory: &Path) -> Result<()> {
        let Some(mut pipe) = self.watchdog.stdin.as_ref() else { return Ok(()) };
        writeln!(pipe, "{}", directory.display()).map_err(Error::io("write to", "the watchdog"))
    }

    /// The process that was started.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.leader.try_wait().map_err(Error::io("wait for", &self.name))
    }

    /// Makes sure that it is still running.
    ///
    /// # Errors
    /// [`Error::Ended`] with the end of its log.
    pub fn require_running(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => {
                let what = format!("{} ({status})", self.name);
                Err(Error::Ended { what, log: log::tail(&self.log) })
            }
        }
    }

    /// Sends a signal to every process of the group.
    ///
    /// # Errors
    /// Where the group is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process_group(self.pid, signal)
            .map_err(|errno| Error::io("send a signal to", &self.name)(io::Error::from(errno)))
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// [`Error::TooLate`].
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        wait::try_until(&what, limit, || self.ended())
    }

    /// Kills every process of the group and waits for the leader's end.
    ///
    /// # Errors
    /// Where the system does not tell how it ended.
    pub fn kill(mut self) -> Result<ExitStatus> {
        kill_group_quietly(self.pid);
        self.leader.wait().map_err(Error::io("wait for", &self.name))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        kill_group_quietly(self.pid);
        // Nothing can be done about a failure here, and none matters: the group has been killed.
        let _ = self.leader.wait();
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let number = self.pid.as_raw_nonzero().get();
        ALIVE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(&number);
    }
}

/// Sends a signal to one process.
///
/// # Errors
/// Where it is gone.
pub fn signal(pid: Pid, signal: Signal) -> Result<()> {
    kill_process(pid, signal).map_err(|errno| {
        Error::io("send a signal to process", pid.as_raw_nonzero().to_string())(io::Error::from(errno))
    })
}

/// Whether a process exists and is not a zombie.
pub fn is_alive(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let is_zombie = status
        .is_ok_and(|text| text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')));
    test_kill_process(pid).is_ok() && !is_zombie
}

/// The child of `parent` whose executable's name begins with `name`.
pub fn child_named(parent: Pid, name: &str) -> Option<Pid> {
    children(parent).into_iter().find(|child| {
        let path = format!("/proc/{}/comm", child.as_raw_nonzero());
        fs::read_to_string(path).is_ok_and(|comm| comm.starts_with(name))
    })
}

/// The children of every thread of a process: Java starts them from whichever thread it likes.
fn children(parent: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", parent.as_raw_nonzero()));
    let lists = tasks
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .filter_map(Pid::from_raw)
        .collect()
}

fn start_watchdog(group: Pid) -> Result<Child> {
    let mut watchdog = Command::new("sh");
    watchdog.args(["-c", WATCHDOG, "watchdog"]);
    watchdog.arg(group.as_raw_nonzero().to_string());
    watchdog.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    watchdog.spawn().map_err(Error::io("start", "sh"))
}

fn kill_group_quietly(group: Pid) {
    // A group that is gone is what is wanted.
    let _ = kill_process_group(group, Signal::KILL);
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Whether a process was ended by SIGKILL.
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn sleeper(directory: &Path) -> Server {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & sleep 1000"]);
        Server::start("sleeper", &mut command, &directory.join("log")).unwrap()
    }

    fn grandchild(server: &Server) -> Pid {
        wait::until("the start of sleep", LIMIT, || child_named(server.pid(), "sleep")).unwrap()
    }

    #[test]
    fn dropping_a_server_ends_what_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let server = sleeper(directory.path());
        let grandchild = grandchild(&server);
        drop(server);
        wait::until("the end of sleep", LIMIT, || (!is_alive(grandchild)).then_some(())).unwrap();
    }

    /// The watchdog's pipe closes in the same way when the kernel ends us.
    #[test]
    fn the_watchdog_ends_the_group_when_its_pipe_closes() {
        let directory = tempfile::tempdir().unwrap();
        let mut server = sleeper(directory.path());
        let grandchild = grandchild(&server);
        drop(server.watchdog.stdin.take());
        let status = server.wait(LIMIT).unwrap();
        assert!(was_killed(status), "{status}");
        wait::until("the end of sleep", LIMIT, || (!is_alive(grandchild)).then_some(())).unwrap();
    }
}
