//! Everything that most tests need, in one temporary directory: Kafka, Keycloak with the jar under test, perhaps PostgreSQL, and readers.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::cache::Cache;
use xtask::parts;

use crate::admin::Admin;
use crate::consumer::{Consumer, Record};
use crate::kafka::Kafka;
use crate::keycloak::{Database, Distribution, Keycloak};
use crate::postgres::Postgres;
use crate::{Error, Result};

/// The topic of user events.
pub const EVENTS: &str = "events";
/// The topic of admin events.
pub const ADMIN_EVENTS: &str = "admin-events";
/// The name under which the node journals.
pub const NODE: &str = "node-under-test";

/// The realm whose changes mark the end of what a test has done.
const SENTINELS: &str = "sentinels";
/// How long delivery may take when nothing is wrong any more. Longer than Keyferry promises: the machine may be slow.
const DELIVERY_LIMIT: Duration = Duration::from_secs(60);

/// The servers of a test and what stands between them.
///
/// Keycloak comes first, so that it is ended first.
pub struct Stage {
    /// Keycloak, with the jar and the options that lead to [`Stage::kafka`].
    pub keycloak: Keycloak,
    /// The broker.
    pub kafka: Kafka,
    /// PostgreSQL, where it was asked for.
    pub postgres: Option<Postgres>,
    /// Keycloak's administrator.
    pub admin: Admin,
    events: Consumer,
    admin_events: Consumer,
    sentinels: usize,
    directory: TempDir,
}

/// The jar under test.
///
/// # Errors
/// Where `JAR_UNDER_TEST` does not name it.
pub fn jar() -> Result<PathBuf> {
    let jar = env::var_os("JAR_UNDER_TEST").map(PathBuf::from);
    jar.ok_or_else(|| Error::Missing("JAR_UNDER_TEST is not set: run `cargo xtask test main-job`".to_owned()))
}

impl Stage {
    /// Starts Kafka and prepares Keycloak 26.7 without starting it, so that a test can change its options first.
    ///
    /// # Errors
    /// Where a part is missing or does not start.
    pub fn prepare(database: Database) -> Result<Self> {
        let cache = Cache::from_environment()?;
        let distribution = Distribution::build(&cache, parts::Keycloak::V26_7, Some(&jar()?), database)?;
        Self::prepare_with(&distribution)
    }

    /// As [`Self::prepare`], with another Keycloak.
    ///
    /// # Errors
    /// As there.
    pub fn prepare_with(distribution: &Distribution) -> Result<Self> {
        let directory =
            tempfile::tempdir().map_err(Error::io("create a temporary directory in", env::temp_dir()))?;
        let mut kafka = Kafka::launch_new(&Cache::from_environment()?, directory.path())?;
        let mut keycloak = Keycloak::new(distribution, directory.path())?;
        keycloak
            .listener_option("bootstrap-servers", kafka.bootstrap_servers())
            .listener_option("topic-events", EVENTS)
            .listener_option("topic-admin-events", ADMIN_EVENTS)
            .listener_option("node", NODE);
        let postgres = distribution.start_database(directory.path())?;
        if let Some(postgres) = &postgres {
            keycloak.use_database(postgres);
        }
        kafka.wait_until_it_serves()?;
        kafka.create_topics_of_events()?;
        let servers = kafka.bootstrap_servers();
        Ok(Self {
            admin: Admin::new(keycloak.address()),
            events: Consumer::new(&servers, EVENTS)?,
            admin_events: Consumer::new(&servers, ADMIN_EVENTS)?,
            keycloak,
            kafka,
            postgres,
            sentinels: 0,
            directory,
        })
    }

    /// Starts Kafka and Keycloak 26.7 with its default options.
    ///
    /// # Errors
    /// Where one of them does not start.
    pub fn start(database: Database) -> Result<Self> {
        let mut stage = Self::prepare(database)?;
        stage.keycloak.start()?;
        Ok(stage)
    }

    /// The temporary directory. It is kept, and named, where a test fails.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Keeps the temporary directory, and names it, because something has failed.
    pub fn keep(&mut self) {
        self.directory.disable_cleanup(true);
        eprintln!("the servers' logs and data are kept in {}", self.directory.path().display());
    }

    /// Waits until everything that happened before this call has arrived, and returns all records of both topics.
    ///
    /// It changes something itself and waits for that event and for every record that its destination numbered before it: no pause is long
    /// enough to prove that nothing more is coming, but a complete sequence is.
    ///
    /// # Errors
    /// [`Error::TooLate`] with the numbers that are missing.
    pub fn settle(&mut self) -> Result<Vec<Record>> {
        let name = self.leave_sentinel()?;
        let path = format!("roles/{name}");
        let is_sentinel =
            |record: &Record| record.json["representation"].as_str().is_some_and(|text| text.contains(&name));
        let arrived =
            self.admin_events.wait_until(&format!("the arrival of {path}"), DELIVERY_LIMIT, |records| {
                records.iter().any(is_sentinel)
            });
        arrived.map(drop).map_err(|error| error.with_log(&self.keycloak.log()))?;
        let sentinel = self.admin_events.records().iter().find(|record| is_sentinel(record)).cloned();
        match sentinel {
            Some(sentinel) => self.wait_for_predecessors(&sentinel)?,
            None => return Err(Error::Missing(format!("{path} was there and is not any more"))),
        }
        Ok(self.all())
    }

    /// Everything that both topics hold now.
    ///
    /// # Errors
    /// Where the broker does not answer.
    pub fn read(&mut self) -> Result<Vec<Record>> {
        self.events.read()?;
        self.admin_events.read()?;
        Ok(self.all())
    }

    /// The reader of user events.
    pub fn events(&mut self) -> &mut Consumer {
        &mut self.events
    }

    /// What the agent last said of itself.
    ///
    /// # Errors
    /// Where it has not said anything yet.
    pub fn agent_status(&self) -> Result<Value> {
        let path = self.keycloak.journal().join("slot-0/status.json");
        let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Changes something in a realm of its own.
    fn leave_sentinel(&mut self) -> Result<String> {
        if self.sentinels == 0 {
            self.admin.create_realm(SENTINELS, &["kafka"])?;
        }
        self.sentinels += 1;
        let name = format!("sentinel-{}-end", self.sentinels);
        self.admin.post(&format!("/{SENTINELS}/roles"), &json!({ "name": name }))?;
        Ok(name)
    }

    fn wait_for_predecessors(&mut self, sentinel: &Record) -> Result<()> {
        let last: u64 = sentinel.header("ce_sequence").parse().unwrap_or_default();
        let epoch = sentinel.header("ce_epoch").to_owned();
        let admin = self.admin_events.records().to_vec();
        let missing = |records: &[Record]| {
            let of_epoch = records.iter().chain(&admin).filter(|record| record.header("ce_epoch") == epoch);
            let there: BTreeSet<u64> =
                of_epoch.filter_map(|record| record.header("ce_sequence").parse().ok()).collect();
            (1..=last).filter(|number| !there.contains(number)).collect::<Vec<_>>()
        };
        let what = format!("the arrival of the records 1 to {last} of epoch {epoch}");
        let outcome = self.events.wait_until(&what, DELIVERY_LIMIT, |records| missing(records).is_empty());
        match outcome {
            Ok(_) => Ok(()),
            Err(Error::TooLate { what, limit, .. }) => {
                let hint = format!("; missing: {:?}", missing(self.events.records()));
                Err(Error::TooLate { what, limit, hint })
            }
            Err(error) => Err(error),
        }
    }

    fn all(&self) -> Vec<Record> {
        [self.events.records(), self.admin_events.records()].concat()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if thread::panicking() {
            self.keep();
        }
    }
}
