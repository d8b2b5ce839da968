//! The bare agent, as a service manager would run it: no Keycloak, no child.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use xtask::workspace;

use crate::process::Server;
use crate::stage::jar;
use crate::{Error, Result, log, wait};

/// The variable that names an executable to test instead of the one in the jar.
const AGENT: &str = "AGENT_UNDER_TEST";
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// The configuration of one destination; lines of `[destination]` may follow.
pub fn destination(bootstrap_servers: &str, [events, admin_events]: [&str; 2]) -> String {
    format!(
        "[destination]\nbootstrap_servers = [\"{bootstrap_servers}\"]\ntopic_events = \"{events}\"\ntopic_admin_events = \"{admin_events}\"\n"
    )
}

/// The executable that a jar carries, unpacked into `directory`.
///
/// # Errors
/// Where the jar cannot be read or carries none for this machine.
pub fn unpack(jar: &Path, directory: &Path) -> Result<PathBuf> {
    let platform = if cfg!(target_arch = "aarch64") { "linux-aarch64" } else { "linux-x86_64" };
    let place = format!("META-INF/keyferry/agent/{platform}/keyferry");
    let mut command = Command::new("jar");
    command.args(["--extract", "--file"]).arg(jar).arg(&place).current_dir(directory);
    xtask::tool::run_silently(&mut command)?;
    let executable = directory.join(place);
    fs::set_permissions(&executable, fs::Permissions::from_mode(0o755))
        .map_err(Error::io("unpack", &executable))?;
    Ok(executable)
}

/// The agent under test: the executable that the variable `AGENT_UNDER_TEST` names, else that of the jar under test, unpacked once into a place of its own.
///
/// # Errors
/// Where there is neither.
pub fn under_test() -> Result<PathBuf> {
    static UNPACKED: Mutex<Option<PathBuf>> = Mutex::new(None);
    if let Some(executable) = env::var_os(AGENT) {
        return Ok(executable.into());
    }
    let mut unpacked = UNPACKED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(executable) = &*unpacked {
        return Ok(executable.clone());
    }
    let place = workspace::target().join("end-to-end/agent");
    fs::create_dir_all(&place).map_err(Error::io("create", &place))?;
    let executable = unpack(&jar()?, &place)?;
    Ok(unpacked.insert(executable).clone())
}

/// What the agent of a slot last said of itself; nothing where it has not said anything yet.
pub fn status_in(slot: &Path) -> Option<Value> {
    let text = fs::read(slot.join("status.json")).ok()?;
    serde_json::from_slice(&text).ok()
}

/// An agent for one slot.
#[derive(Debug)]
pub struct Agent {
    executable: PathBuf,
    slot: PathBuf,
    configuration: PathBuf,
    log: PathBuf,
    server: Option<Server>,
}

impl Agent {
    /// Prepares an agent that ships `slot` to `topics`, that of user events and that of admin events; its log and configuration lie in `directory`.
    ///
    /// # Errors
    /// Where the configuration cannot be written.
    pub fn new(
        executable: &Path,
        directory: &Path,
        slot: &Path,
        bootstrap_servers: &str,
        topics: [&str; 2],
    ) -> Result<Self> {
        Self::configured(executable, directory, slot, &destination(bootstrap_servers, topics))
    }

    /// As [`Self::new`], with a configuration of the caller's.
    ///
    /// # Errors
    /// As there.
    pub fn configured(executable: &Path, directory: &Path, slot: &Path, configuration: &str) -> Result<Self> {
        let agent = Self {
            executable: executable.to_owned(),
            slot: slot.to_owned(),
            configuration: directory.join("keyferry.toml"),
            log: directory.join("agent.log"),
            server: None,
        };
        agent.configure(configuration)?;
        Ok(agent)
    }

    /// Writes its configuration file anew, for the next start.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn configure(&self, configuration: &str) -> Result<()> {
        fs::write(&self.configuration, configuration).map_err(Error::io("write", &self.configuration))
    }

    /// Its slot.
    pub fn slot(&self) -> &Path {
        &self.slot
    }

    /// Its executable, for the tools that it has beside the agent.
    pub fn executable(&self) -> &Path {
        &self.executable
    }

    /// Its command line, which another program may run.
    pub fn command_line(&self) -> Vec<String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let words = [text(&self.executable), "run".to_owned(), "--slot".to_owned(), text(&self.slot)];
        words.into_iter().chain(["--config".to_owned(), text(&self.configuration)]).collect()
    }

    /// Starts it.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(&mut self) -> Result<()> {
        self.start_below(&[])
    }

    /// Starts it by another program: `wrapper` is that program's command line, to which the agent's is added.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start_below(&mut self, wrapper: &[String]) -> Result<()> {
        let words = [wrapper, &self.command_line()].concat();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_remove("KEYFERRY_CACHE");
        self.server = Some(Server::start("the agent", &mut command, &self.log)?);
        Ok(())
    }

    /// The process that was started.
    ///
    /// # Errors
    /// Where there is none.
    pub fn pid(&self) -> Result<Pid> {
        self.server.as_ref().map(Server::pid).ok_or_else(|| self.not_started())
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// Where the system does not tell how it ended.
    pub fn kill(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), |server| server.kill().map(drop))
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// Where it does not.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let mut server = self.server.take().ok_or_else(|| self.not_started())?;
        if server.ended()?.is_none() {
            server.signal(Signal::TERM)?;
        }
        server.wait(STOP_LIMIT)
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.server {
            Some(server) => server.ended(),
            None => Err(self.not_started()),
        }
    }

    /// What it last said of itself; nothing where it has not said anything yet.
    pub fn status(&self) -> Option<Value> {
        status_in(&self.slot)
    }

    /// Waits until it says that it is in `state`.
    ///
    /// # Errors
    /// [`Error::TooLate`] with the end of its log.
    pub fn wait_for_state(&mut self, state: &str, limit: Duration) -> Result<Value> {
        let pid = self.pid()?.as_raw_nonzero().get();
        let is_meant = |status: &Value| status["state"] == state && status["pid"] == pid;
        wait::until(&format!("the agent's state {state}"), limit, || self.status().filter(is_meant))
            .map_err(|error| error.with_log(&self.log))
    }

    /// Its log, over all its lives.
    pub fn log(&self) -> &Path {
        &self.log
    }

    fn not_started(&self) -> Error {
        Error::Ended { what: "the agent".to_owned(), log: log::tail(&self.log) }
    }
}
