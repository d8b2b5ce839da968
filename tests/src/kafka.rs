//! A real single-node Kafka broker.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rustix::process::Signal;
use xtask::cache::Cache;
use xtask::parts;

use crate::process::Server;
use crate::proxy::Proxy;
use crate::stage::{ADMIN_EVENTS, EVENTS};
use crate::{Error, Result, log, port, wait};

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Of each topic of events: more than one, because the order is kept in each only.
const PARTITIONS: i32 = 3;
/// Any 16 bytes in URL-safe base 64.
const CLUSTER_ID: &str = "a2V5ZmVycnktdGVzdHMtMQ";

/// The name and password of the SASL user who may do everything.
pub const WRITER: (&str, &str) = ("keyferry", "keyferry-secret");
/// The name and password of the SASL user who may do nothing unless a test lets it.
pub const STRANGER: (&str, &str) = ("stranger", "stranger-secret");

/// A broker with its data directory. Its addresses stay the same over restarts.
#[derive(Debug)]
pub struct Kafka {
    libraries: PathBuf,
    directory: PathBuf,
    plain_port: u16,
    sasl_port: u16,
    relayed_port: u16,
    proxy: Proxy,
    server: Option<Server>,
}

impl Kafka {
    /// Prepares a broker below `directory` and starts it.
    ///
    /// # Errors
    /// Where Kafka cannot be fetched or does not start.
    pub fn start_new(cache: &Cache, directory: &Path) -> Result<Self> {
        let libraries = parts::kafka(cache)?;
        let directory = directory.join("kafka");
        fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        let (plain_port, sasl_port, relayed_port) = (port::free()?, port::free()?, port::free()?);
        let proxy = Proxy::start((Ipv4Addr::LOCALHOST, relayed_port).into())?;
        let mut kafka =
            Self { libraries, directory, plain_port, sasl_port, relayed_port, proxy, server: None };
        kafka.configure(port::free()?)?;
        kafka.format()?;
        kafka.start()?;
        Ok(kafka)
    }

    /// As [`Self::start_new`], with the topics [`EVENTS`] and [`ADMIN_EVENTS`].
    ///
    /// # Errors
    /// As there.
    pub fn start_with_topics(directory: &Path) -> Result<Self> {
        let kafka = Self::start_new(&Cache::from_environment()?, directory)?;
        for topic in [EVENTS, ADMIN_EVENTS] {
            kafka.create_topic(topic, PARTITIONS)?;
        }
        Ok(kafka)
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
        let mut command = self.java("kafka.Kafka");
        command.arg(self.configuration());
        self.server = Some(Server::start("Kafka", &mut command, &self.log())?);
        Ok(())
    }

    /// Waits until the broker serves.
    ///
    /// # Errors
    /// Where it does not.
    pub fn wait_until_it_serves(&mut self) -> Result<()> {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", self.bootstrap_servers()).create()?;
        wait::try_until("the start of Kafka", START_LIMIT, || {
            self.server()?.require_running()?;
            Ok(consumer.fetch_metadata(None, Duration::from_secs(1)).ok().map(drop))
        })
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
        let client: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", self.bootstrap_servers()).create()?;
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
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.bootstrap_servers()).create()?;
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_LIMIT));
        let created = pollster::block_on(admin.create_topics([&topic], &options))?;
        for result in created {
            result.map_err(|(_, code)| rdkafka::error::KafkaError::AdminOp(code))?;
        }
        Ok(())
    }

    /// Lets a SASL user write to a topic.
    ///
    /// # Errors
    /// Where the broker refuses.
    pub fn grant_write(&self, user: &str, topic: &str) -> Result<()> {
        let source = self.directory.join("GrantWrite.java");
        fs::write(&source, include_str!("../java/GrantWrite.java")).map_err(Error::io("write", &source))?;
        let mut java = xtask::tool::JAVA.command();
        java.arg("-cp").arg(self.libraries.join("*")).arg(&source);
        Ok(xtask::tool::run_silently(java.args([&self.bootstrap_servers(), user, topic]))?)
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        self.server()?.signal(signal)
    }

    fn server(&mut self) -> Result<&mut Server> {
        let log = self.log();
        let ended = || Error::Ended { what: "Kafka".to_owned(), log: log::tail(&log) };
        self.server.as_mut().ok_or_else(ended)
    }

    fn log(&self) -> PathBuf {
        self.directory.join("kafka.log")
    }

    fn configuration(&self) -> PathBuf {
        self.directory.join("server.properties")
    }

    fn configure(&self, controller_port: u16) -> Result<()> {
        let path = self.configuration();
        fs::write(&path, self.properties(controller_port)).map_err(Error::io("write", &path))?;
        let path = self.directory.join("log4j2.properties");
        fs::write(&path, LOG4J).map_err(Error::io("write", &path))
    }

    fn properties(&self, controller_port: u16) -> String {
        let (plain, sasl, directory) = (self.plain_port, self.sasl_port, self.directory.display());
        let (relayed, proxy) = (self.relayed_port, self.proxy.port());
        let ((writer, writer_password), (stranger, stranger_password)) = (WRITER, STRANGER);
        format!(
            "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
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
log.dirs={directory}/data
num.partitions=3
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"
        )
    }

    fn format(&self) -> Result<()> {
        let mut command = self.java("kafka.tools.StorageTool");
        command.args(["format", "-t", CLUSTER_ID, "-c"]).arg(self.configuration());
        Ok(xtask::tool::run_silently(&mut command)?)
    }

    fn java(&self, class: &str) -> Command {
        let mut java = xtask::tool::JAVA.command();
        java.args(["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        java.arg(format!(
            "-Dlog4j2.configurationFile={}",
            self.directory.join("log4j2.properties").display()
        ));
        java.arg("-cp").arg(self.libraries.join("*")).arg(class);
        java
    }
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

const LOG4J: &str = "status = warn
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss.SSS} %-5p %c{1}: %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
";
