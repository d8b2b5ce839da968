//! Who brings events to Kafka, and by which command line.
//!
//! All have the same client settings: acknowledged by all replicas, idempotent, lz4, 10 ms of linger, batches of 64 KiB. Everything else is as each comes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use keyferry_tests::agent::{self, Agent};
use keyferry_tests::{Error, Result};
use xtask::cache::Cache;
use xtask::parts;
use xtask::tool::JAVA;

use super::input::Input;
use super::peers;

/// As librdkafka's clients call them.
const LIBRDKAFKA: [&str; 5] =
    ["acks=all", "enable.idempotence=true", "compression.codec=lz4", "linger.ms=10", "batch.size=65536"];
/// As Java's client calls them.
const JAVA_CLIENT: [&str; 5] =
    ["acks=all", "enable.idempotence=true", "compression.type=lz4", "linger.ms=10", "batch.size=65536"];
/// As the agent calls them.
const AGENT: &str =
    "[destination.delivery]\nbatch_size = \"64KiB\"\nlinger = \"10ms\"\ncompression = \"lz4\"\n";
/// The number of messages that a C client may hold is the only limit that is raised: by default it would stop and go.
const QUEUE: &str = "queue.buffering.max.messages=500000";

/// One of those who are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contestant {
    /// The agent, without headers.
    KeyferryNone,
    /// The agent as it comes, with the headers of CloudEvents.
    Keyferry,
    /// librdkafka's own example, given lines to send.
    RdkafkaPerformance,
    /// Kafka's own tool.
    ProducerPerfTest,
    /// kcat reading a file.
    Kcat,
    /// rsyslog, imfile to omkafka.
    Rsyslog,
    /// Benthos, file to franz-go.
    Benthos,
}

/// What a contestant has to do.
#[derive(Debug)]
pub struct Task<'a> {
    /// Where Kafka is.
    pub servers: &'a str,
    /// Where the events belong.
    pub topic: &'a str,
    /// The events.
    pub input: &'a Input,
    /// A directory of the contestant's own.
    pub room: &'a Path,
}

/// How a contestant is started.
#[derive(Debug)]
pub struct Launch {
    /// The command line.
    pub command: Command,
    /// What it reads from standard input.
    pub stdin: Option<PathBuf>,
}

impl From<Command> for Launch {
    fn from(command: Command) -> Self {
        Self { command, stdin: None }
    }
}

impl Contestant {
    /// Those who are Keyferry.
    pub const OWN: [Self; 2] = [Self::KeyferryNone, Self::Keyferry];

    /// As in the table.
    pub fn title(self) -> &'static str {
        match self {
            Self::KeyferryNone => "Keyferry, `headers = \"none\"`",
            Self::Keyferry => "Keyferry, default headers",
            Self::RdkafkaPerformance => "`rdkafka_performance`",
            Self::ProducerPerfTest => "`kafka-producer-perf-test`",
            Self::Kcat => "kcat",
            Self::Rsyslog => "rsyslog",
            Self::Benthos => "benthos",
        }
    }

    /// Without punctuation, for topics and directories.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it is Keyferry.
    pub fn is_own(self) -> bool {
        Self::OWN.contains(&self)
    }

    /// Where its program (or what holds it) lies, fetched and built if need be.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn fetch(self, cache: &Cache) -> Result<PathBuf> {
        match self {
            Self::KeyferryNone | Self::Keyferry => agent::under_test(),
            Self::RdkafkaPerformance => peers::rdkafka_performance(cache),
            Self::ProducerPerfTest => Ok(parts::kafka_tools(cache)?),
            Self::Kcat => peers::kcat(cache),
            Self::Rsyslog => peers::rsyslog(cache),
            Self::Benthos => peers::benthos(cache),
        }
    }

    /// How it is started on a task.
    ///
    /// # Errors
    /// Where its files cannot be written.
    pub fn launch(self, program: &Path, task: &Task<'_>) -> Result<Launch> {
        match self {
            Self::KeyferryNone => keyferry(program, task, "headers = \"none\"\n"),
            Self::Keyferry => keyferry(program, task, ""),
            Self::RdkafkaPerformance => Ok(rdkafka_performance(program, task)),
            Self::ProducerPerfTest => Ok(producer_perf_test(program, task)),
            Self::Kcat => Ok(kcat(program, task)),
            Self::Rsyslog => rsyslog(program, task),
            Self::Benthos => benthos(program, task),
        }
    }
}

fn keyferry(program: &Path, task: &Task<'_>, headers: &str) -> Result<Launch> {
    let slot = task.room.join("journal/slot-0");
    task.input.journal.link_to(&slot)?;
    let configuration = agent::destination(task.servers, [task.topic, task.topic]) + headers + AGENT;
    let agent = Agent::configured(program, task.room, &slot, &configuration)?;
    let words = agent.command_line();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    Ok(command.into())
}

fn rdkafka_performance(program: &Path, task: &Task<'_>) -> Launch {
    let mut command = Command::new(program);
    // -D: each message is a buffer of its own.
    command.args(["-P", "-D", "-q", "-b", task.servers, "-t", task.topic]);
    command.args(["-c", &task.input.journal.events().to_string()]);
    for property in LIBRDKAFKA.iter().chain([&QUEUE]) {
        command.args(["-X", property]);
    }
    Launch { command, stdin: Some(task.input.lines.clone()) }
}

fn producer_perf_test(libraries: &Path, task: &Task<'_>) -> Launch {
    let mut command = JAVA.command();
    // As its script starts it.
    command.args(["-Xmx512M", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-cp"]);
    command.arg(libraries.join("*")).arg("org.apache.kafka.tools.ProducerPerformance");
    command.args(["--topic", task.topic, "--throughput", "-1"]);
    command.args(["--num-records", &task.input.journal.events().to_string(), "--payload-file"]);
    command.arg(&task.input.sample).arg("--producer-props");
    command.arg(format!("bootstrap.servers={}", task.servers)).args(JAVA_CLIENT);
    command.into()
}

fn kcat(root: &Path, task: &Task<'_>) -> Launch {
    let mut command = peers::debian_program(root, "bin/kcat");
    command.args(["-P", "-q", "-b", task.servers, "-t", task.topic]);
    for property in LIBRDKAFKA.iter().chain([&QUEUE]) {
        command.args(["-X", property]);
    }
    command.arg("-l").arg(&task.input.lines);
    command.into()
}

/// By default omkafka drops what its client's queue has no room for; here it tries again.
fn rsyslog(root: &Path, task: &Task<'_>) -> Result<Launch> {
    let properties = LIBRDKAFKA.iter().chain([&QUEUE]).map(|property| format!("\"{property}\""));
    let properties = properties.collect::<Vec<_>>().join(", ");
    let (room, lines) = (task.room.display(), task.input.lines.display());
    let (servers, topic) = (task.servers, task.topic);
    let configuration = format!(
        "global(workDirectory=\"{room}\")
module(load=\"imfile\")
module(load=\"omkafka\")
template(name=\"line\" type=\"string\" string=\"%msg%\")
input(type=\"imfile\" file=\"{lines}\" tag=\"event\" ruleset=\"kafka\")
ruleset(name=\"kafka\" queue.type=\"LinkedList\" queue.size=\"100000\" queue.dequeueBatchSize=\"4096\") {{
  action(type=\"omkafka\" broker=[\"{servers}\"] topic=\"{topic}\" partitions.auto=\"on\" template=\"line\" confParam=[{properties}]
    resubmitOnFailure=\"on\" action.resumeRetryCount=\"-1\")
}}
"
    );
    let path = written(task.room, "rsyslog.conf", &configuration)?;
    let mut command = peers::debian_program(root, "sbin/rsyslogd");
    command.arg("-n").arg("-f").arg(path).arg("-i").arg(task.room.join("rsyslog.pid"));
    command.arg("-M").arg(peers::debian_libraries(root).join("rsyslog"));
    Ok(command.into())
}

fn benthos(program: &Path, task: &Task<'_>) -> Result<Launch> {
    let (lines, servers, topic) = (task.input.lines.display(), task.servers, task.topic);
    let configuration = format!(
        "http: {{ enabled: false }}
logger: {{ level: WARN }}
input:
  file: {{ paths: [\"{lines}\"], scanner: {{ lines: {{}} }} }}
output:
  kafka_franz:
    seed_brokers: [\"{servers}\"]
    topic: \"{topic}\"
    compression: lz4
    idempotent_write: true
    batching: {{ byte_size: 65536, period: 10ms }}
"
    );
    let mut command = Command::new(program);
    command.arg("-c").arg(written(task.room, "benthos.yaml", &configuration)?);
    Ok(command.into())
}

fn written(room: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = room.join(name);
    fs::write(&path, text).map_err(Error::io("write", &path))?;
    Ok(path)
}
