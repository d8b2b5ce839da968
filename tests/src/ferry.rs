//! A journal under load, the bare agent, and a reader of what it publishes: what most tests of the way to Kafka need.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::agent::{self, Agent};
use crate::journal::{Journal, Written};
use crate::kafka::{self, Kafka};
use crate::tally::{Ledger, Tally};
use crate::traffic::Traffic;
use crate::{Error, Result};

/// Small, so that the agent passes segment borders while things go wrong.
const SEGMENT: u64 = 256 * 1024;
const DELIVERY_LIMIT: Duration = Duration::from_secs(60);

/// What a [`Ferry`] is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    agent_servers: String,
    reader_servers: String,
    topic: String,
    node: Option<String>,
    settings: String,
    rate: u32,
    users: u64,
    padding: usize,
    segment: u64,
    journal: Option<PathBuf>,
}

/// A journal that is written to, an agent that ships it, and a reader that judges.
pub struct Ferry {
    /// The agent, running.
    pub agent: Agent,
    /// The writer.
    pub traffic: Traffic,
    /// The reader.
    pub tally: Tally,
    directory: TempDir,
}

impl Plan {
    /// From the agent, which knows the broker by `agent_servers`, to the reader, which knows it by `reader_servers`. The topic must be there.
    pub fn new(agent_servers: &str, reader_servers: &str, topic: &str) -> Self {
        Self {
            agent_servers: agent_servers.to_owned(),
            reader_servers: reader_servers.to_owned(),
            topic: topic.to_owned(),
            node: None,
            settings: String::new(),
            rate: 200,
            users: 50,
            padding: 200,
            segment: SEGMENT,
            journal: None,
        }
    }

    /// To a new topic of the broker that tests share.
    ///
    /// # Errors
    /// Where the broker does not start or refuses.
    pub fn shared(purpose: &str) -> Result<Self> {
        let kafka = kafka::shared()?;
        let topic = kafka::fresh_topic(purpose);
        kafka.create_topic(&topic, kafka::PARTITIONS)?;
        Ok(Self::new(&kafka.bootstrap_servers(), &kafka.bootstrap_servers(), &topic))
    }

    /// To a broker of the test's own, through its proxy; the reader goes around it.
    ///
    /// # Errors
    /// Where the broker refuses.
    pub fn proxied(kafka: &Kafka, topic: &str) -> Result<Self> {
        kafka.create_topic(topic, kafka::PARTITIONS)?;
        Ok(Self::new(&kafka.proxied_bootstrap_servers(), &kafka.bootstrap_servers(), topic))
    }

    /// Adds lines to the agent's configuration, after those of `[destination]`.
    #[must_use]
    pub fn settings(mut self, lines: &str) -> Self {
        self.settings = format!("{}{lines}\n", self.settings);
        self
    }

    /// The agent's node has a name.
    #[must_use]
    pub fn node(self, name: &str) -> Self {
        Self { node: Some(name.to_owned()), ..self }
    }

    /// Writes so many transactions a second, instead of 200.
    #[must_use]
    pub fn rate(self, rate: u32) -> Self {
        Self { rate, ..self }
    }

    /// The events concern so many users, instead of 50.
    #[must_use]
    pub fn users(self, users: u64) -> Self {
        Self { users, ..self }
    }

    /// Each event is so many bytes larger than it has to be, instead of 200.
    #[must_use]
    pub fn padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// The journal has segments of so many bytes, instead of 256 KiB.
    #[must_use]
    pub fn segment(self, segment: u64) -> Self {
        Self { segment, ..self }
    }

    /// The journal lies in this directory, instead of beside the agent's configuration.
    #[must_use]
    pub fn journal(self, directory: &Path) -> Self {
        Self { journal: Some(directory.to_owned()), ..self }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The agent's configuration.
    pub fn configuration(&self) -> String {
        let node = self.node.as_ref().map(|name| format!("node = \"{name}\"\n")).unwrap_or_default();
        node + &agent::destination(&self.agent_servers, [&self.topic, &self.topic]) + &self.settings
    }

    /// Starts everything, and waits until the first events have arrived.
    ///
    /// # Errors
    /// Where a part does not start or nothing arrives.
    pub fn start(&self) -> Result<Ferry> {
        let ferry = self.launch()?;
        ferry.tally.wait_beyond(0, DELIVERY_LIMIT).map_err(|error| error.with_log(ferry.agent.log()))?;
        Ok(ferry)
    }

    /// As [`Self::start`], without waiting.
    ///
    /// # Errors
    /// Where a part does not start.
    pub fn launch(&self) -> Result<Ferry> {
        let directory = tempfile::tempdir().map_err(Error::io("create", "a temporary directory"))?;
        let place: &Path = directory.path();
        let journal = self.journal.clone().unwrap_or_else(|| place.join("journal"));
        let journal = Journal::begin(&journal, "event", self.segment)?;
        let journal = journal.padded(self.padding).of_users(self.users);
        let executable = agent::under_test()?;
        let mut agent = Agent::configured(&executable, place, journal.slot(), &self.configuration())?;
        let tally = Tally::start(&self.reader_servers, &self.topic, journal.written());
        agent.start()?;
        Ok(Ferry { agent, traffic: Traffic::start(journal, self.rate), tally, directory })
    }
}

impl Ferry {
    /// The temporary directory of journal and agent.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until an event that is written from now on has arrived, and says how long that took.
    ///
    /// # Errors
    /// [`Error::TooLate`] with the end of the agent's log.
    pub fn wait_for_delivery(&self) -> Result<Duration> {
        let now = self.traffic.written().transactions();
        self.tally.wait_beyond(now, DELIVERY_LIMIT).map_err(|error| error.with_log(self.agent.log()))
    }

    /// Stops writing, waits until everything has arrived, and judges: nothing lost, invented, out of order or without its number. Returns what was written
    /// and what arrived, for a closer look: [`Ledger::copies`] says whether anything was doubled.
    ///
    /// # Errors
    /// [`Error::TooLate`] with the end of the agent's log; [`Error::Missing`] with what is wrong.
    pub fn settle(&self) -> Result<(Written, Ledger)> {
        let written = self.traffic.pause();
        self.tally.wait_for(&written, DELIVERY_LIMIT).map_err(|error| error.with_log(self.agent.log()))?;
        let ledger = self.tally.ledger();
        let faults = ledger.judge(&written);
        if faults.is_empty() {
            return Ok((written, ledger));
        }
        Err(Error::Missing(faults.join("\n")))
    }
}

impl Drop for Ferry {
    fn drop(&mut self) {
        if thread::panicking() {
            self.directory.disable_cleanup(true);
            eprintln!("journal and agent are kept in {}", self.directory.path().display());
        }
    }
}
