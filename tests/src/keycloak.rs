//! A real Keycloak with the jar under test.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use sha2::{Digest as _, Sha256};
use xtask::cache::Cache;
use xtask::{parts, progress, workspace};

use crate::http::Http;
use crate::postgres::{self, Postgres};
use crate::process::{self, Server};
use crate::{Error, Result, log, port, wait};

const BUILD_LIMIT: Duration = Duration::from_secs(300);
const START_LIMIT: Duration = Duration::from_secs(180);
const STOP_LIMIT: Duration = Duration::from_secs(180);
/// The variable of Keycloak's start script for further options of the JVM.
const JAVA_OPTIONS: &str = "JAVA_OPTS_APPEND";
/// Without the optimising compiler and with the simplest collector: in a short life the better ones cost more than they gain.
const START_QUICKLY: &str = "-XX:TieredStopAtLevel=1 -XX:-UseG1GC -XX:+UseSerialGC";
const HEAP: &str = "-Xms128m -Xmx768m";
const CLASSES: &str = "classes.jsa";

/// The name and password of the first administrator.
pub const ADMINISTRATOR: (&str, &str) = ("admin", "admin");

/// Which database Keycloak keeps its data in; chosen when Keycloak is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// H2 in a file: nothing to install.
    File,
    /// PostgreSQL: where a test needs a database that refuses commits.
    Postgres,
}

impl Database {
    fn name(self) -> &'static str {
        match self {
            Self::File => "dev-file",
            Self::Postgres => "postgres",
        }
    }
}

/// An optimised Keycloak, built once for each version, jar and database.
///
/// What the first start takes long for is done once as well, and copied for every test: the tables and the first realm are created, and, for the line that
/// most tests run on, the JVM keeps the classes that it has loaded in an archive. A JVM that finds no use for the archive goes without it.
#[derive(Debug, Clone)]
pub struct Distribution {
    home: PathBuf,
    /// With the archive of classes and, where PostgreSQL is Keycloak's database, its data.
    filled: PathBuf,
    java_home: Option<PathBuf>,
}

impl Distribution {
    /// The distribution with `jar` among its providers, built if it has not been built yet.
    ///
    /// # Errors
    /// Where Keycloak cannot be fetched or its build fails.
    pub fn build(
        cache: &Cache,
        version: parts::Keycloak,
        jar: Option<&Path>,
        database: Database,
    ) -> Result<Self> {
        Self::build_given(cache, version, jar, database, &[])
    }

    /// As [`Self::build`], for a jar that does not let Keycloak start without these options of its command line, their names without the leading dashes.
    ///
    /// # Errors
    /// As there.
    pub fn build_given(
        cache: &Cache,
        version: parts::Keycloak,
        jar: Option<&Path>,
        database: Database,
        options: &[(String, String)],
    ) -> Result<Self> {
        Self::built(cache, version, jar, database, options, &[])
    }

    /// As [`Self::build`], with features that Keycloak does not have by default.
    ///
    /// # Errors
    /// As there.
    pub fn build_featured(
        cache: &Cache,
        version: parts::Keycloak,
        jar: Option<&Path>,
        database: Database,
        features: &[&str],
    ) -> Result<Self> {
        Self::built(cache, version, jar, database, &[], features)
    }

    fn built(
        cache: &Cache,
        version: parts::Keycloak,
        jar: Option<&Path>,
        database: Database,
        options: &[(String, String)],
        features: &[&str],
    ) -> Result<Self> {
        let pristine = version.fetch(cache)?;
        let jar_name = jar.map_or(Ok("plain".to_owned()), fingerprint)?;
        let of_features: String = features.iter().map(|feature| format!("-{feature}")).collect();
        let name = format!("{version}-{}-{jar_name}{of_features}", database.name());
        let cache = Cache::at(workspace::target().join("end-to-end"));
        let home = cache.part(&name, |home| {
            progress::step(&format!("build Keycloak {}", version.version()), || {
                copy_tree(&pristine, home)?;
                if let Some(jar) = jar {
                    copy_file(jar, &home.join("providers/keyferry.jar"))?;
                }
                optimise(home, database, features)
            })
        })?;
        // A part of its own: the archive is good only for jars that still lie where they were loaded from.
        let filled = cache.part(&format!("{name}-filled"), |place| {
            progress::step(&format!("create the tables of Keycloak {}", version.version()), || {
                let archive = (version == parts::Keycloak::V26_7).then(|| place.join(CLASSES));
                fill(&home, place, database, archive.as_deref(), options)
            })
        })?;
        Ok(Self { home, filled, java_home: None })
    }

    /// Runs it on another Java than the one on the path.
    pub fn on_java(mut self, java_home: &Path) -> Self {
        self.java_home = Some(java_home.to_owned());
        self
    }

    /// Starts a PostgreSQL below `directory` with a copy of the tables, where the distribution is one for PostgreSQL.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start_database(&self, directory: &Path) -> Result<Option<Postgres>> {
        let data = self.filled.join(postgres::DATA);
        if data.exists() { Postgres::start_copy(&data, directory).map(Some) } else { Ok(None) }
    }

    /// The options that let a JVM start quickly.
    fn java_options(&self) -> String {
        let classes = self.filled.join(CLASSES);
        // An archive is good only for the JVM that made it.
        if self.java_home.is_some() || !classes.exists() {
            return START_QUICKLY.to_owned();
        }
        format!("{START_QUICKLY} -XX:SharedArchiveFile={}", classes.display())
    }
}

/// Lets Keycloak build itself. As a server, so that it too ends when its test does.
fn optimise(home: &Path, database: Database, features: &[&str]) -> Result<()> {
    let log = home.join("build.log");
    let mut command = Command::new(home.join("bin/kc.sh"));
    command.args(["build", "--health-enabled=true", "--metrics-enabled=true"]);
    command.arg(format!("--db={}", database.name())).env(JAVA_OPTIONS, START_QUICKLY);
    if !features.is_empty() {
        command.arg(format!("--features={}", features.join(",")));
    }
    let status = Server::start("the build of Keycloak", &mut command, &log)?.wait(BUILD_LIMIT)?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Ended { what: format!("the build of Keycloak ({status})"), log: log::tail(&log) })
}

/// Lets Keycloak create its tables and its first realm, and the JVM write the classes that it has loaded into `archive`.
fn fill(
    home: &Path,
    place: &Path,
    database: Database,
    archive: Option<&Path>,
    options: &[(String, String)],
) -> Result<()> {
    // What an interrupted attempt has left.
    remove_if_there(&home.join("data"))?;
    let archiving = archive.map(|path| format!(" -XX:ArchiveClassesAtExit={}", path.display()));
    let mut keycloak =
        Keycloak::at(home.to_owned(), START_QUICKLY.to_owned() + &archiving.unwrap_or_default())?;
    let mut postgres = match database {
        Database::File => None,
        Database::Postgres => Some(Postgres::start_new(place)?),
    };
    if let Some(postgres) = &postgres {
        keycloak.use_database(postgres);
    }
    for (name, value) in options {
        keycloak.option(name, value);
    }
    keycloak.start()?;
    keycloak.stop()?;
    if let Some(postgres) = &mut postgres {
        postgres.stop()?;
    }
    remove_if_there(&keycloak.journal())?;
    let log = keycloak.log();
    fs::remove_file(&log).map_err(Error::io("remove", &log))
}

fn remove_if_there(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).map_err(Error::io("remove", directory))
    } else {
        Ok(())
    }
}

/// A Keycloak with its data directory. Its address stays the same over restarts.
#[derive(Debug)]
pub struct Keycloak {
    home: PathBuf,
    java_home: Option<PathBuf>,
    port: u16,
    management_port: u16,
    options: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
    server: Option<Server>,
    /// The last life, kept because dropping it would end an agent that is still delivering.
    departed: Option<Server>,
}

impl Keycloak {
    /// Prepares a Keycloak below `directory`, without starting it.
    ///
    /// # Errors
    /// Where the directory cannot be written.
    pub fn new(distribution: &Distribution, directory: &Path) -> Result<Self> {
        let home = directory.join("keycloak");
        link_tree(&distribution.home, &home)?;
        let keycloak = Self::at(home, distribution.java_options())?;
        Ok(Self { java_home: distribution.java_home.clone(), ..keycloak })
    }

    fn at(home: PathBuf, java_options: String) -> Result<Self> {
        Ok(Self {
            home,
            java_home: None,
            port: port::free()?,
            management_port: port::free()?,
            options: BTreeMap::new(),
            variables: BTreeMap::from([(JAVA_OPTIONS.to_owned(), java_options)]),
            server: None,
            departed: None,
        })
    }

    /// Lets the JVM compile as in production, for a test that watches how fast Keycloak is. Otherwise it starts quickly instead.
    pub fn compile_fully(&mut self) -> &mut Self {
        self.variables.remove(JAVA_OPTIONS);
        self
    }

    /// Sets a command-line option of the next start, such as `db-url`; its name without the leading dashes.
    pub fn option(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.options.insert(name.to_owned(), value.into());
        self
    }

    /// Lets the next start find its data in PostgreSQL.
    pub fn use_database(&mut self, postgres: &Postgres) -> &mut Self {
        self.option("db-url", postgres.jdbc())
            .option("db-username", postgres.user())
            .option("db-password", "any")
    }

    /// Sets an option of the listener for the next start, such as `topic-events`.
    pub fn listener_option(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.option(&format!("spi-events-listener--kafka--{name}"), value)
    }

    /// Takes an option of the listener away.
    pub fn without_listener_option(&mut self, name: &str) -> &mut Self {
        self.options.remove(&format!("spi-events-listener--kafka--{name}"));
        self
    }

    /// Sets an environment variable of the next start.
    pub fn variable(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Starts Keycloak and waits until it serves.
    ///
    /// # Errors
    /// Where it does not.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        self.wait_until_it_serves()
    }

    /// Starts Keycloak without waiting for it.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        self.server = Some(Server::start("Keycloak", &mut self.command(), &self.log())?);
        Ok(())
    }

    /// Waits until Keycloak serves.
    ///
    /// # Errors
    /// Where it does not.
    pub fn wait_until_it_serves(&mut self) -> Result<()> {
        let probe = format!("{}/realms/master", self.address());
        let http = Http::new();
        wait::try_until("the start of Keycloak", START_LIMIT, || {
            self.require_running()?;
            Ok(http.get(&probe).ok().filter(|answer| answer.status == 200).map(drop))
        })
    }

    /// Kills the Java process of Keycloak with SIGKILL, and nothing else: the agent notices that its parent is gone.
    ///
    /// # Errors
    /// Where it is not running.
    pub fn kill(&mut self) -> Result<()> {
        process::signal(self.java()?, Signal::KILL)?;
        self.wait_for_end()
    }

    /// Kills Keycloak and its agent at once with SIGKILL.
    ///
    /// # Errors
    /// Where the system does not tell how it ended.
    pub fn kill_with_agent(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), |server| server.kill().map(drop))
    }

    /// Asks Keycloak to stop, as an init system does, and waits until it has.
    ///
    /// # Errors
    /// Where it is not running or does not stop.
    pub fn stop(&mut self) -> Result<()> {
        process::signal(self.java()?, Signal::TERM)?;
        self.wait_for_end()
    }

    fn wait_for_end(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.wait(STOP_LIMIT)?;
            self.departed = Some(server);
        }
        Ok(())
    }

    /// Makes sure that Keycloak is still running.
    ///
    /// # Errors
    /// [`Error::Ended`] with the end of its log.
    pub fn require_running(&mut self) -> Result<()> {
        match &mut self.server {
            Some(server) => server.require_running(),
            None => Err(Error::Ended { what: "Keycloak".to_owned(), log: log::tail(&self.log()) }),
        }
    }

    /// The base address, such as `http://localhost:8080`.
    pub fn address(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// The base address of the management interface.
    pub fn management_address(&self) -> String {
        format!("http://localhost:{}", self.management_port)
    }

    /// The file that Keycloak logs to, over all its starts.
    pub fn log(&self) -> PathBuf {
        self.home.join("keycloak.log")
    }

    /// Waits for a line in the log that contains `text`.
    ///
    /// # Errors
    /// [`Error::TooLate`] with the end of the log.
    pub fn wait_for_log(&self, text: &str, limit: Duration) -> Result<String> {
        let what = format!("a line with `{text}` in Keycloak's log");
        wait::until(&what, limit, || log::lines_with(&self.log(), text).pop())
            .map_err(|error| error.with_log(&self.log()))
    }

    /// The default journal directory.
    pub fn journal(&self) -> PathBuf {
        self.home.join("data/keyferry")
    }

    /// The agent's process, while there is one.
    pub fn agent(&self) -> Option<Pid> {
        let java = self.java().ok()?;
        process::child_named(java, "keyferry")
    }

    /// Waits until the agent runs.
    ///
    /// # Errors
    /// [`Error::TooLate`] with the end of the log.
    pub fn wait_for_agent(&self, limit: Duration) -> Result<Pid> {
        wait::until("the start of the agent", limit, || self.agent())
            .map_err(|error| error.with_log(&self.log()))
    }

    /// The Java process, which the start script waits for.
    ///
    /// # Errors
    /// Where it is not running.
    pub fn java(&self) -> Result<Pid> {
        let java = self.server.as_ref().and_then(|server| process::child_named(server.pid(), "java"));
        java.ok_or_else(|| Error::Ended { what: "Keycloak".to_owned(), log: log::tail(&self.log()) })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.home.join("bin/kc.sh"));
        command.args(["start", "--optimized", "--http-enabled=true", "--hostname-strict=false"]);
        command.arg(format!("--http-port={}", self.port));
        command.arg(format!("--http-management-port={}", self.management_port));
        command.arg("--cache=local");
        command.args(self.options.iter().map(|(name, value)| format!("--{name}={value}")));
        command.env("KC_BOOTSTRAP_ADMIN_USERNAME", ADMINISTRATOR.0);
        command.env("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMINISTRATOR.1);
        command.env("JAVA_OPTS_KC_HEAP", HEAP);
        // Keyferry takes every variable with its prefix for a setting of its own.
        command.env_remove("KEYFERRY_CACHE");
        command.envs(&self.variables);
        if let Some(java_home) = &self.java_home {
            command.env("JAVA_HOME", java_home);
        }
        command
    }
}

/// The first digits of a file's SHA-256.
fn fingerprint(path: &Path) -> Result<String> {
    let data = fs::read(path).map_err(Error::io("read", path))?;
    Ok(Sha256::digest(&data).iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// Copies a directory tree.
///
/// # Errors
/// Where a file cannot be read or written.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    visit_tree(from, to, &mut |from, to| copy_file(from, to))
}

/// Copies a directory tree, the jars, which nobody writes into, by hard links.
fn link_tree(from: &Path, to: &Path) -> Result<()> {
    visit_tree(from, to, &mut |from, to| {
        let is_jar = from.extension() == Some(OsStr::new("jar"));
        if is_jar && fs::hard_link(from, to).is_ok() { Ok(()) } else { copy_file(from, to) }
    })
}

fn visit_tree(from: &Path, to: &Path, file: &mut impl FnMut(&Path, &Path) -> Result<()>) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::io("create", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let entry = entry.map_err(Error::io("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            visit_tree(&source, &target, file)?;
        } else {
            file(&source, &target)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).map_err(Error::io("copy", from))
}
