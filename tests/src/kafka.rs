//! A real Kafka broker, alone or as a node of a [cluster](crate::cluster).

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rustix::process::{Pid, Signal};
use xtask::cache::Cache;
use xtask::parts;

use crate::process::Server;
use crate::proxy::Proxy;
use crate::stage::{ADMIN_EVENTS, EVENTS};
use crate::{Error, Result, log, port, wait};

mod prepared;

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How long a change of a topic may take on a machine that has other things to do.
const CHANGE_LIMIT: Duration = Duration::from_secs(60);
/// Of each topic of events: more than one, because the order is kept in each only.
pub const PARTITIONS: i32 = 3;

/// The name and password of the SASL user who may do everything.
pub const WRITER: (&str, &str) = ("keyferry", "keyferry-secret");
/// The name and password of the SASL user who may do nothing unless a test lets it.
pub const STRANGER: (&str, &str) = ("stranger", "stranger-secret");

/// What distinguishes a broker from the usual one.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where its data lies, if not beside its configuration.
    pub data: Option<PathBuf>,
    /// Properties to add; they win over the usual ones.
    pub properties: Vec<(String, String)>,
    /// Options of its JVM to add; they win over the usual ones, which let many brokers live beside each other.
    pub java: Vec<String>,
}

/// A broker's part in its cluster.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    /// Its place among the controllers, from 0.
    pub(crate) place: usize,
    /// The controllers' ports; every broker is one.
    pub(crate) controllers: Vec<u16>,
}

impl Membership {
    /// The only broker.
    fn alone() -> Result<Self> {
        Ok(Self { place: 0, controllers: vec![port::free()?] })
    }

    fn voters(&self) -> String {
        let voter = |(place, port): (usize, &u16)| format!("{}@127.0.0.1:{port}", place + 1);
        self.controllers.iter().enumerate().map(voter).collect::<Vec<_>>().join(",")
    }

    fn node(&self) -> usize {
        self.place + 1
    }
}

/// A broker with its data directory. Its addresses stay the same over restarts.
#[derive(Debug)]
pub struct Kafka {
    libraries: PathBuf,
    prepared: PathBuf,
    directory: PathBuf,
    membership: Membership,
    options: Options,
    plain_port: u16,
    sasl_port: u16,
    relayed_port: u16,
    proxy: Proxy,
    server: Option<Server>,
}

/// A broker for all tests of this process that neither hurt it nor mind what others do there: each has topics of its own.
///
/// # Errors
/// Where it does not start.
pub fn shared() -> Result<&'static Kafka> {
    static SHARED: Mutex<Option<&'static Kafka>> = Mutex::new(None);
    let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(kafka) = *shared {
        return Ok(kafka);
    }
    let directory = tempfile::tempdir().map_err(Error::io("create", "a temporary directory"))?.keep();
    let mut kafka =
        Kafka::prepare(&Cache::from_environment()?, &directory, Membership::alone()?, Options::default())?;
    kafka.start()?;
    // It lives as long as the process, whose end its watchdog notices.
    if let Some(server) = &kafka.server {
        server.leave_nothing_of(&directory)?;
    }
    Ok(*shared.insert(Box::leak(Box::new(kafka))))
}

/// A topic's name that no other test of this process has.
pub fn fresh_topic(purpose: &str) -> String {
    static COUNT: LazyLock<Mutex<u32>> = LazyLock::new(Mutex::default);
    let mut count = COUNT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    *count += 1;
    format!("{purpose}-{count}")
}

impl Kafka {
    /// Prepares a broker below `directory` and starts it.
    ///
    /// # Errors
    /// Where Kafka cannot be fetched or does not start.
    pub fn start_new(cache: &Cache, directory: &Path) -> Result<Self> {
        Self::start_with(cache, directory, Options::default())
    }

    /// As [`Self::start_new`], with options.
    ///
    /// # Errors
    /// As there.
    pub fn start_with(cache: &Cache, directory: &Path, options: Options) -> Result<Self> {
        let mut kafka = Self::prepare(cache, &directory.join("kafka"), Membership::alone()?, options)?;
        kafka.start()?;
        Ok(kafka)
    }

    /// As [`Self::start_new`], without waiting until it serves.
    ///
    /// # Errors
    /// Where Kafka cannot be fetched or started.
    pub fn launch_new(cache: &Cache, directory: &Path) -> Result<Self> {
        let directory = directory.join("kafka");
        let mut kafka = Self::prepare(cache, &directory, Membership::alone()?, Options::default())?;
        kafka.launch()?;
        Ok(kafka)
    }

    /// As [`Self::start_new`], with the topics [`EVENTS`] and [`ADMIN_EVENTS`].
    ///
    /// # Errors
    /// As there.
    pub fn start_with_topics(directory: &Path) -> Result<Self> {
        let kafka = Self::start_new(&Cache::from_environment()?, directory)?;
        kafka.create_topics_of_events()?;
        Ok(kafka)
    }

    /// Prepares a broker in `directory` without starting it.
    ///
    /// # Errors
    /// Where Kafka cannot be fetched or the directory cannot be written.
    pub(crate) fn prepare(
        cache: &Cache,
        directory: &Path,
        membership: Membership,
        options: Options,
    ) -> Result<Self> {
        let libraries = parts::kafka(cache)?;
        fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        let (plain_port, sasl_port, relayed_port) = (port::free()?, port::free()?, port::free()?);
        let proxy = Proxy::start((Ipv4Addr::LOCALHOST, relayed_port).into())?;
        let kafka = Self {
            prepared: prepared::part(&libraries)?,
            libraries,
            directory: directory.to_owned(),
            membership,
            options,
            plain_port,
            sasl_port,
            relayed_port,
            proxy,
            server: None,
        };
        kafka.configure()?;
        prepared::format(&kafka.prepared, &kafka.data(), kafka.membership.node())?;
        Ok(kafka)
    }

    /// Creates the topics [`EVENTS`] and [`ADMIN_EVENTS`].
    ///
    /// # Errors
    /// Where the broker refuses.
    pub fn create_topics_of_events(&self) -> Result<()> {
        [EVENTS, ADMIN_EVENTS].into_iter().try_for_each(|topic| self.create_topic(topic, PARTITIONS))
    }

    /// Where clients connect without authentication; they may do everything.
    pub fn bootstrap_servers(&self) -> String {
        format!("127.0.0.1:{}", self.plain_port)
    }

    /// Where clients connect without authentication through [`Self::proxy`], which they never get around: the broker tells them no other address.
    pub fn proxied_bootstrap_servers(&self) -> String {
        format!("127.0.0.1:{}", self.proxy.port())
    }

    /// The network between the broker and the clients of [`Self::proxied_bootstrap_servers`].
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Where clients connect with SASL/PLAIN as [`WRITER`] or [`STRANGER`].
    pub fn sasl_bootstrap_servers(&self) -> String {
        format!("127.0.0.1:{}", self.sasl_port)
    }

    /// Starts the broker after it was stopped or killed, and waits until it serves.
    ///
    /// # Errors
    /// Where it does not.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        self.wait_until_it_serves()
    }

    /// Starts the broker without waiting for it.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        let mut command = prepared::java(&self.libraries, &self.prepared, self.heap());
        command.args(&self.options.java).arg("kafka.Kafka").arg(self.configuration());
        self.server = Some(Server::start("Kafka", &mut command, &self.log())?);
        Ok(())
    }

    /// Waits until the broker serves, and counts itself among the brokers: a client that hears of none takes leave of it for good.
    ///
    /// # Errors
    /// Where it does not.
    pub fn wait_until_it_serves(&mut self) -> Result<()> {
        wait::try_until("the start of Kafka", START_LIMIT, || {
            self.server()?.require_running()?;
            let metadata = self.client()?.fetch_metadata(None, Duration::from_secs(1));
            Ok(metadata.ok().filter(|metadata| !metadata.brokers().is_empty()).map(drop))
        })
    }

    /// A client that knows nothing of the past.
    fn client(&self) -> Result<BaseConsumer> {
        Ok(ClientConfig::new().set("bootstrap.servers", self.bootstrap_servers()).create()?)
    }

    /// How many records the broker has stored in a topic; asked by a client of its own, which knows nothing of the past and reads nothing that would be in the
    /// way of the answer.
    ///
    /// # Errors
    /// Where the broker does not answer.
    pub fn stored(&self, topic: &str) -> Result<i64> {
        self.gauge(topic)?.stored()
    }

    /// A client that asks again and again how many records a topic has, quickly.
    ///
    /// # Errors
    /// Where the broker does not answer.
    pub fn gauge(&self, topic: &str) -> Result<Gauge> {
        let client = self.client()?;
        let metadata = client.fetch_metadata(Some(topic), REQUEST_LIMIT)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let partitions = partitions.map(|partition| partition.id()).collect();
        Ok(Gauge { client, topic: topic.to_owned(), partitions })
    }

    /// Stops the broker in order.
    ///
    /// # Errors
    /// Where it does not stop.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.signal(Signal::TERM)?;
            server.wait(STOP_LIMIT)?;
        }
        Ok(())
    }

    /// Kills the broker with SIGKILL.
    ///
    /// # Errors
    /// Where the system does not tell how it ended.
    pub fn kill(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), |server| server.kill().map(drop))
    }

    /// The broker's process.
    ///
    /// # Errors
    /// Where it is not running.
    pub fn pid(&mut self) -> Result<Pid> {
        Ok(self.server()?.pid())
    }

    /// Freezes the broker: its connections stay open and nothing is answered.
    ///
    /// # Errors
    /// Where it is not running.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen broker go on.
    ///
    /// # Errors
    /// Where it is not running.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// Where the broker refuses.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        self.create_replicated(name, partitions, -1)
    }

    /// Creates a topic of which so many brokers keep each partition; -1 for as many as is usual.
    ///
    /// # Errors
    /// Where the broker refuses.
    pub(crate) fn create_replicated(&self, name: &str, partitions: i32, replicas: i32) -> Result<()> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
        wait::try_until(&format!("the creation of the topic {name}"), CHANGE_LIMIT, || {
            let created = pollster::block_on(self.admin()?.create_topics([&topic], &options()))?;
            match checked(created) {
                Err(error) if is_absent(&error) => Ok(None),
                outcome => outcome.map(Some),
            }
        })
    }

    /// Deletes a topic, and waits until it is gone.
    ///
    /// # Errors
    /// Where the broker refuses.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let deleted = pollster::block_on(self.admin()?.delete_topics(&[name], &options()))?;
        checked(deleted)?;
        wait::try_until(&format!("the end of the topic {name}"), CHANGE_LIMIT, || {
            let Ok(metadata) = self.client()?.fetch_metadata(None, REQUEST_LIMIT) else { return Ok(None) };
            let is_gone = metadata.topics().iter().all(|topic| topic.name() != name);
            Ok((is_gone && !metadata.brokers().is_empty()).then_some(()))
        })
    }

    /// Sets a property of a topic; the others that were set get their defaults again.
    ///
    /// # Errors
    /// Where the broker refuses.
    pub fn configure_topic(&self, name: &str, property: &str, value: &str) -> Result<()> {
        let change = AlterConfig::new(ResourceSpecifier::Topic(name)).set(property, value);
        let changed = pollster::block_on(self.admin()?.alter_configs([&change], &options()))?;
        changed.into_iter().try_for_each(|result| {
            result.map(drop).map_err(|(_, code)| rdkafka::error::KafkaError::AdminOp(code).into())
        })
    }

    /// Limits what every client may produce, in bytes a second, or lifts the limit.
    ///
    /// # Errors
    /// Where the broker refuses.
    pub fn limit_producers(&self, bytes_per_second: Option<u32>) -> Result<()> {
        let limit = bytes_per_second.map_or("none".to_owned(), |limit| limit.to_string());
        self.run_java("Quota", include_str!("../java/Quota.java"), &[&limit])
    }

    /// Lets a SASL user write to a topic.
    ///
    /// # Errors
    /// Where the broker refuses.
    pub fn grant_write(&self, user: &str, topic: &str) -> Result<()> {
        self.run_java("GrantWrite", include_str!("../java/GrantWrite.java"), &[user, topic])
    }

    /// Runs a Java program of one file, whose first argument is the broker's address.
    fn run_java(&self, class: &str, text: &str, arguments: &[&str]) -> Result<()> {
        let source = self.directory.join(format!("{class}.java"));
        fs::write(&source, text).map_err(Error::io("write", &source))?;
        let mut java = prepared::java(&self.libraries, &self.prepared, "-Xmx128m");
        java.arg(&source).arg(self.bootstrap_servers()).args(arguments);
        Ok(xtask::tool::run_silently(&mut java)?)
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(ClientConfig::new().set("bootstrap.servers", self.bootstrap_servers()).create()?)
    }

    /// How the broker ended, if it has.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.server()?.ended()
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        self.server()?.signal(signal)
    }

    fn server(&mut self) -> Result<&mut Server> {
        let log = self.log();
        let ended = || Error::Ended { what: "Kafka".to_owned(), log: log::tail(&log) };
        self.server.as_mut().ok_or_else(ended)
    }

    /// Several share the machine.
    fn heap(&self) -> &'static str {
        if self.membership.controllers.len() == 1 { "-Xmx256m" } else { "-Xmx192m" }
    }

    /// Its log, over all its lives.
    pub fn log(&self) -> PathBuf {
        self.directory.join("kafka.log")
    }

    fn configuration(&self) -> PathBuf {
        self.directory.join("server.properties")
    }

    fn data(&self) -> PathBuf {
        self.options.data.clone().unwrap_or_else(|| self.directory.join("data"))
    }

    fn configure(&self) -> Result<()> {
        let path = self.configuration();
        let added = self.options.properties.iter().map(|(name, value)| format!("{name}={value}\n"));
        let text = added.fold(self.properties(), |text, line| text + &line);
        fs::write(&path, text).map_err(Error::io("write", &path))
    }

    fn properties(&self) -> String {
        let (plain, sasl, data) = (self.plain_port, self.sasl_port, self.data().display().to_string());
        let (node, voters) = (self.membership.node(), self.membership.voters());
        let controller_port = self.membership.controllers[self.membership.place];
        let (replicas, in_sync) = match self.membership.controllers.len() {
            1 => (1, 1),
            nodes => (nodes, nodes - 1),
        };
        let (relayed, proxy) = (self.relayed_port, self.proxy.port());
        let ((writer, writer_password), (stranger, stranger_password)) = (WRITER, STRANGER);
        format!(
            "process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAIN://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},RELAYED://127.0.0.1:{relayed},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAIN://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},RELAYED://127.0.0.1:{proxy}
listener.security.protocol.map=PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,RELAYED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
listener.name.sasl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
  user_{writer}=\"{writer_password}\" user_{stranger}=\"{stranger_password}\";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{writer}
log.dirs={data}
num.partitions={PARTITIONS}
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=1
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"
        )
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(REQUEST_LIMIT))
}

/// Whether a broker refused only because it was taken for absent: one that stood still for longer than `broker.session.timeout.ms` is, until it has spoken again.
fn is_absent(error: &Error) -> bool {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};
    matches!(error, Error::Kafka(KafkaError::AdminOp(RDKafkaErrorCode::InvalidReplicationFactor)))
}

/// The first error among what a request to the broker did to several topics.
fn checked(results: Vec<TopicResult>) -> Result<()> {
    let error = results.into_iter().find_map(Result::err);
    error.map_or(Ok(()), |(_, code)| Err(rdkafka::error::KafkaError::AdminOp(code).into()))
}

/// See [`Kafka::gauge`].
pub struct Gauge {
    client: BaseConsumer,
    topic: String,
    partitions: Vec<i32>,
}

impl Gauge {
    /// How many records the topic has.
    ///
    /// # Errors
    /// Where the broker does not answer.
    pub fn stored(&self) -> Result<i64> {
        let end = |partition: &i32| {
            let (_, high) = self.client.fetch_watermarks(&self.topic, *partition, REQUEST_LIMIT)?;
            Ok(high)
        };
        self.partitions.iter().map(end).sum()
    }
}
