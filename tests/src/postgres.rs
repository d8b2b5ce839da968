//! A real PostgreSQL that refuses a commit when a test wants it to.
//!
//! A deferred constraint trigger raises its error in COMMIT itself: everything before has succeeded, and every event of the transaction has
//! been handed to the listener. No other database that Keycloak ships can do that.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use postgres::{Client, Config, NoTls};
use rustix::process::Signal;

use crate::process::{self, Server};
use crate::{Error, Result, port, wait};

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const USER: &str = "keycloak";
const DATABASE: &str = "postgres";
const PLACE: &str = "postgres";
/// Where the data lies below the directory that a server was started in.
pub(crate) const DATA: &str = "postgres/data";

/// Where Debian and its descendants keep the server's programs, which are not on the path.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A server with its data directory.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    server: Server,
}

impl Postgres {
    /// Creates a database below `directory` and serves it.
    ///
    /// # Errors
    /// Where PostgreSQL is not installed or does not start.
    pub fn start_new(directory: &Path) -> Result<Self> {
        let place = make_place(directory)?;
        let mut init = unprivileged(&programs()?.join("initdb"), &place);
        init.args([
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
            "--username",
            USER,
            "--pgdata",
        ]);
        xtask::tool::run_silently(init.arg(directory.join(DATA)))?;
        Self::start(directory)
    }

    /// Serves a copy of the data that a server left when it stopped.
    ///
    /// # Errors
    /// Where the data cannot be copied, or as with [`Self::start_new`].
    pub(crate) fn start_copy(data: &Path, directory: &Path) -> Result<Self> {
        make_place(directory)?;
        let mut copy = Command::new("cp");
        xtask::tool::run_silently(
            copy.args(["--archive", "--reflink=auto"]).arg(data).arg(directory.join(DATA)),
        )?;
        Self::start(directory)
    }

    fn start(directory: &Path) -> Result<Self> {
        let place = directory.join(PLACE);
        let port = port::free()?;
        let mut serve = unprivileged(&programs()?.join("postgres"), &place);
        serve.arg("-D").arg(directory.join(DATA));
        serve.args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        serve.args(["-c", "unix_socket_directories=", "-c", "fsync=off"]);
        let mut postgres =
            Self { port, server: Server::start("PostgreSQL", &mut serve, &place.join("log"))? };
        postgres.wait_until_it_serves()?;
        Ok(postgres)
    }

    /// Stops the server in order, whoever is connected.
    ///
    /// # Errors
    /// Where it does not stop.
    pub(crate) fn stop(&mut self) -> Result<()> {
        // Its own processes are told by it: only the first one knows the signal.
        process::signal(self.server.pid(), Signal::INT)?;
        self.server.wait(STOP_LIMIT).map(drop)
    }

    /// The address for Keycloak's option `db-url`.
    pub fn jdbc(&self) -> String {
        format!("jdbc:postgresql://127.0.0.1:{}/{DATABASE}", self.port)
    }

    /// The name of the user for Keycloak's option `db-username`; any password will do.
    pub fn user(&self) -> &'static str {
        USER
    }

    /// A connection.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub fn connect(&self) -> Result<Client> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user(USER).dbname(DATABASE);
        Ok(config.connect(NoTls)?)
    }

    fn wait_until_it_serves(&mut self) -> Result<()> {
        wait::try_until("the start of PostgreSQL", START_LIMIT, || {
            self.server.require_running()?;
            Ok(self.connect().ok().map(drop))
        })
    }
}

/// Makes the directory that a server runs in.
fn make_place(directory: &Path) -> Result<PathBuf> {
    let place = directory.join(PLACE);
    fs::create_dir_all(&place).map_err(Error::io("create", &place))?;
    own(&place)?;
    Ok(place)
}

/// The directory of `initdb` and `postgres`.
fn programs() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).find(|directory| directory.join("initdb").exists());
    on_path.or_else(newest_of_debian).ok_or_else(|| {
        Error::Missing("PostgreSQL's server is not installed (Debian: apt-get install postgresql)".to_owned())
    })
}

fn newest_of_debian() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN).ok()?.flatten().map(|entry| entry.path().join("bin"));
    versions.filter(|programs| programs.join("initdb").exists()).max()
}

/// PostgreSQL refuses to run as root, so root runs it as `nobody`.
fn unprivileged(program: &Path, directory: &Path) -> Command {
    let mut command = if is_root() {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
        setpriv
    } else {
        Command::new(program)
    };
    command.current_dir(directory);
    command
}

/// Gives the directory to whoever will run PostgreSQL, and lets that user reach it.
fn own(directory: &Path) -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let mut chown = Command::new("chown");
    xtask::tool::run_silently(chown.arg("nobody:nogroup").arg(directory))?;
    let mut above = directory.parent();
    while let Some(directory) = above.filter(|directory| is_closed(directory)) {
        xtask::tool::run_silently(Command::new("chmod").arg("o+x").arg(directory))?;
        above = directory.parent();
    }
    Ok(())
}

fn is_closed(directory: &Path) -> bool {
    const OTHERS_MAY_ENTER: u32 = 0o001;
    fs::metadata(directory).is_ok_and(|metadata| metadata.mode() & OTHERS_MAY_ENTER == 0)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
