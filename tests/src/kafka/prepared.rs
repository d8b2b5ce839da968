//! What every broker needs, made once: a formatted data directory, and an archive of the classes that a broker loads.
//!
//! Half of a broker's start is the loading of ten thousand classes, and formatting is a start of its own. With both made beforehand a broker starts in
//! less than half the time and a third of the work; a JVM that finds no use for the archive goes without it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use xtask::cache::Cache;
use xtask::{progress, tool, workspace};

use crate::keycloak::copy_tree;
use crate::process::Server;
use crate::{Error, Result, log, port, wait};

const LIMIT: Duration = Duration::from_secs(120);
/// Any 16 bytes in URL-safe base 64.
const CLUSTER_ID: &str = "a2V5ZmVycnktdGVzdHMtMQ";
const CLASSES: &str = "classes.jsa";
/// Where Kafka's own tool formats a directory; nobody runs on it.
const FORMATTED: &str = "formatted";
const META: &str = "meta.properties";
const LOG4J: &str = "status = warn
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss.SSS} %-5p %c{1}: %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
";

/// The directory with what was made for these libraries.
pub(super) fn part(libraries: &Path) -> Result<PathBuf> {
    let version = libraries.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    Cache::at(workspace::target().join("end-to-end")).part(&format!("{version}-prepared"), |place| {
        progress::step("prepare Kafka", || {
            let path = place.join("log4j2.properties");
            fs::write(&path, LOG4J).map_err(Error::io("write", &path))?;
            let configuration = place.join("server.properties");
            let configure = |data: &str| {
                let text = minimal(&place.join(data))?;
                fs::write(&configuration, text).map_err(Error::io("write", &configuration))
            };
            configure(FORMATTED)?;
            let mut tool = java(libraries, place, "-Xmx128m");
            tool.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]).arg(&configuration);
            tool::run_silently(&mut tool)?;
            configure("data")?;
            format(place, &place.join("data"), 1)?;
            archive_classes(libraries, place, &configuration)
        })
    })
}

/// A Java that is about to be told its class.
pub(super) fn java(libraries: &Path, prepared: &Path, heap: &str) -> Command {
    let mut java = with_options(prepared, heap);
    let classes = prepared.join(CLASSES);
    if classes.exists() {
        java.arg(format!("-XX:SharedArchiveFile={}", classes.display()));
    }
    java.arg("-cp").arg(libraries.join("*"));
    java
}

/// Makes a data directory for a node: a copy of the formatted one, with the node's own identity.
pub(super) fn format(prepared: &Path, data: &Path, node: usize) -> Result<()> {
    copy_tree(&prepared.join(FORMATTED), data)?;
    let meta = data.join(META);
    // Each directory has 16 bytes of its own, in URL-safe base 64, which must not be the same in two nodes.
    let text = format!(
        "version=1\ncluster.id={CLUSTER_ID}\nnode.id={node}\ndirectory.id=a2V5ZmVycnktZGlyZWN{node:02}A\n"
    );
    fs::write(&meta, text).map_err(Error::io("write", &meta))
}

fn with_options(prepared: &Path, heap: &str) -> Command {
    let mut java = tool::JAVA.command();
    java.args(["-Xms64m", heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    java.arg(format!("-Dlog4j2.configurationFile={}", prepared.join("log4j2.properties").display()));
    java
}

/// Lets a broker start and end, and its JVM keep the classes that it has loaded.
fn archive_classes(libraries: &Path, place: &Path, configuration: &Path) -> Result<()> {
    let mut broker = with_options(place, "-Xmx256m");
    broker.arg(format!("-XX:ArchiveClassesAtExit={}", place.join(CLASSES).display()));
    broker.arg("-cp").arg(libraries.join("*")).arg("kafka.Kafka").arg(configuration);
    let output = place.join("kafka.log");
    let mut server = Server::start("Kafka", &mut broker, &output)?;
    wait::try_until("the start of Kafka", LIMIT, || {
        server.require_running()?;
        Ok(log::lines_with(&output, "Kafka Server started").pop())
    })?;
    server.signal(Signal::TERM)?;
    server.wait(LIMIT).map(drop)
}

fn minimal(data: &Path) -> Result<String> {
    let (controller, plain) = (port::free()?, port::free()?);
    Ok(format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAIN://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
log.dirs={}
",
        data.display()
    ))
}
