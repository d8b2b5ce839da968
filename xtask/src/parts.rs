//! The real parts that Keyferry is built with and tested on, each at one pinned version, and how they come into the [`Cache`].
//!
//! Everything comes from package registries by their own clients: Keycloak, Kafka and Apicurio Registry by Maven, zig, what Cargo needs to link with it and OpenTelemetry's messages
//! by pip, the other Cargo tools by Cargo, Prometheus by apt.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Cache;
use crate::tool::{APT, CARGO, MAVEN, NPM, PIP, run_silently};
use crate::{Error, Result, progress};

const DEPENDENCY_PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";
const KAFKA: &str = "4.4.0";
/// The binding that lets Kafka's SLF4J 1.7 log through the Log4j that Kafka itself depends on.
const LOG4J: &str = "2.25.5";
const APICURIO: &str = "3.3.3";
const ZIG: &str = "0.17.1";
const ZIGBUILD: &str = "0.24.1";
/// OpenTelemetry's own messages for Python, and what decodes them.
const OPENTELEMETRY: [&str; 2] = ["opentelemetry-proto==1.38.0", "protobuf==6.33.0"];

/// Schemathesis, which asks an API what its OpenAPI document allows and forbids, with all that it needs.
const SCHEMATHESIS: [&str; 27] = [
    "schemathesis==4.32.5",
    "anyio==4.16.0",
    "certifi==2026.10.19.post1",
    "charset-normalizer==3.5.3",
    "click==8.5.1",
    "graphql-core==3.3.2",
    "harfile==0.6.0",
    "hypothesis==6.170.17",
    "hypothesis-graphql==0.13.5",
    "idna==3.20",
    "iniconfig==2.3.1",
    "jsonschema-rs==0.60.3",
    "markdown-it-py==4.3.0",
    "markupsafe==3.0.4",
    "mdurl==0.1.2",
    "packaging==26.4",
    "pluggy==1.7.0",
    "pygments==2.21.0",
    "pyrate-limiter==4.5.1",
    "pytest==9.2.0",
    "pyyaml==6.0.4",
    "requests==2.34.2",
    "rich==15.0.0",
    "sortedcontainers==2.4.0",
    "typing-extensions==4.16.0",
    "urllib3==2.8.0",
    "werkzeug==3.1.9",
];
/// By whom the formats of records are read in tests: the CloudEvents SDK, OCSF's schemas with what validates by them, and the libraries of Avro and Protobuf, the latter with its compiler.
const FORMAT_READERS: [&str; 13] = [
    "avro==1.12.2",
    "protobuf==7.36.2",
    "grpcio-tools==1.85.1",
    "cloudevents==2.2.0",
    "ocsf-json-schema==1.2.0",
    "jsonschema==4.26.0",
    "jsonschema-specifications==2025.9.1",
    "attrs==26.1.0",
    "python-dateutil==2.9.0.post0",
    "referencing==0.37.0",
    "rpds-py==0.30.0",
    "six==1.17.0",
    "typing_extensions==4.15.0",
];
/// The fields of the Elastic Common Schema, as npm has them.
const ECS: &str = "9.4.0";
/// The parser of AsyncAPI documents, as npm has it.
const ASYNCAPI_PARSER: &str = "3.6.6";

/// A release of Keycloak that Keyferry supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keycloak {
    /// 26.4, the oldest supported line.
    V26_4,
    /// 26.5.
    V26_5,
    /// 26.7, the line that everything is tested on.
    V26_7,
}

impl Keycloak {
    /// The exact version.
    pub fn version(self) -> &'static str {
        match self {
            Self::V26_4 => "26.4.7",
            Self::V26_5 => "26.5.6",
            Self::V26_7 => "26.7.3",
        }
    }

    /// The unpacked distribution, fetched if need be. Nobody may change it: copy it.
    ///
    /// # Errors
    /// [`Error::ToolMissing`] for Maven, [`Error::CommandFailed`] where Maven cannot bring it.
    pub fn fetch(self, cache: &Cache) -> Result<PathBuf> {
        let name = self.to_string();
        let part = cache.part(&name, |place| {
            progress::step(&format!("fetch Keycloak {}", self.version()), || self.unpack(place))
        })?;
        Ok(part.join(name))
    }

    fn unpack(self, place: &Path) -> Result<()> {
        MAVEN.require()?;
        let artifact = format!("-Dartifact=org.keycloak:keycloak-quarkus-dist:{}:zip", self.version());
        let output = format!("-DoutputDirectory={}", place.display());
        let markers = format!("-DmarkersDirectory={}", place.join("markers").display());
        run_silently(maven(place).args([&dependency_goal("unpack"), &artifact, &output, &markers]))
    }
}

impl fmt::Display for Keycloak {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "keycloak-{}", self.version())
    }
}

/// The directory of the Kafka broker's jars, fetched if need be.
///
/// # Errors
/// [`Error::ToolMissing`] for Maven, [`Error::CommandFailed`] where Maven cannot bring it.
pub fn kafka(cache: &Cache) -> Result<PathBuf> {
    kafka_jars(cache, "kafka", "kafka_2.13")
}

/// The directory of the jars of Kafka's own tools, `kafka-producer-perf-test` among them, fetched if need be.
///
/// # Errors
/// [`Error::ToolMissing`] for Maven, [`Error::CommandFailed`] where Maven cannot bring it.
pub fn kafka_tools(cache: &Cache) -> Result<PathBuf> {
    kafka_jars(cache, "kafka-tools", "kafka-tools")
}

/// The program of Apicurio Registry, fetched if need be.
///
/// # Errors
/// [`Error::ToolMissing`] for Maven, [`Error::CommandFailed`] where Maven cannot bring it.
pub fn apicurio(cache: &Cache) -> Result<PathBuf> {
    let part = cache.part(&format!("apicurio-{APICURIO}"), |place| {
        progress::step(&format!("fetch Apicurio Registry {APICURIO}"), || {
            MAVEN.require()?;
            let artifact = format!("-Dartifact=io.apicurio:apicurio-registry-app:{APICURIO}:tar.gz:all");
            let output = format!("-DoutputDirectory={}", place.display());
            let markers = format!("-DmarkersDirectory={}", place.join("markers").display());
            run_silently(maven(place).args([&dependency_goal("unpack"), &artifact, &output, &markers]))
        })
    })?;
    Ok(part.join("quarkus-run.jar"))
}

/// An artifact of Kafka with all that it depends on.
fn kafka_jars(cache: &Cache, name: &str, artifact: &str) -> Result<PathBuf> {
    let part = cache.part(&format!("{name}-{KAFKA}"), |place| {
        progress::step(&format!("fetch {name} {KAFKA}"), || {
            MAVEN.require()?;
            let pom = place.join("pom.xml");
            fs::write(&pom, kafka_pom(artifact)).map_err(Error::io("write", &pom))?;
            let output = format!("-DoutputDirectory={}", place.join("libs").display());
            run_silently(maven(place).args([
                &dependency_goal("copy-dependencies"),
                &output,
                "-DincludeScope=runtime",
            ]))
        })
    })?;
    Ok(part.join("libs"))
}

/// The zig compiler, fetched if need be: it links the agent against an older glibc than this machine's.
///
/// # Errors
/// [`Error::ToolMissing`] for pip, [`Error::CommandFailed`] where pip cannot bring it.
pub fn zig(cache: &Cache) -> Result<PathBuf> {
    Ok(from_pip(cache, "zig", "ziglang", ZIG)?.join("ziglang/zig"))
}

/// cargo-zigbuild, which lets Cargo link with zig, fetched if need be.
///
/// # Errors
/// [`Error::ToolMissing`] for pip, [`Error::CommandFailed`] where pip cannot bring it.
pub fn zigbuild(cache: &Cache) -> Result<PathBuf> {
    Ok(from_pip(cache, "zigbuild", "cargo-zigbuild", ZIGBUILD)?.join("bin/cargo-zigbuild"))
}

/// A directory of Python's packages by which messages of OpenTelemetry are read, fetched if need be.
///
/// # Errors
/// [`Error::ToolMissing`] for pip, [`Error::CommandFailed`] where pip cannot bring it.
pub fn opentelemetry(cache: &Cache) -> Result<PathBuf> {
    cache.part("opentelemetry-1.38.0", |place| {
        progress::step("fetch OpenTelemetry's messages", || pip(place, &OPENTELEMETRY))
    })
}

/// The directory of Python packages with Schemathesis.
///
/// # Errors
/// [`Error::ToolMissing`] for pip, [`Error::CommandFailed`] where pip cannot bring it.
pub fn schemathesis(cache: &Cache) -> Result<PathBuf> {
    cache.part("schemathesis-4.32.5", |place| {
        progress::step("fetch Schemathesis", || pip(place, &SCHEMATHESIS))
    })
}

/// A directory of Python's packages by which the formats of records are read, fetched if need be.
///
/// # Errors
/// [`Error::ToolMissing`] for pip, [`Error::CommandFailed`] where pip cannot bring it.
pub fn format_readers(cache: &Cache) -> Result<PathBuf> {
    cache.part("format-readers-2", |place| {
        progress::step("fetch readers of formats", || pip(place, &FORMAT_READERS))
    })
}

/// A directory of Node's modules with the fields of the Elastic Common Schema, fetched if need be.
///
/// # Errors
/// [`Error::ToolMissing`] for npm, [`Error::CommandFailed`] where npm cannot bring it.
pub fn ecs(cache: &Cache) -> Result<PathBuf> {
    from_npm(cache, "ecs", "@elastic/ecs", ECS)
}

/// A directory of Node's modules with AsyncAPI's own parser, fetched if need be.
///
/// # Errors
/// As of [`ecs`].
pub fn asyncapi_parser(cache: &Cache) -> Result<PathBuf> {
    from_npm(cache, "asyncapi-parser", "@asyncapi/parser", ASYNCAPI_PARSER)
}

/// The directory of modules that npm has installed a package into.
fn from_npm(cache: &Cache, name: &str, package: &str, version: &str) -> Result<PathBuf> {
    let part = cache.part(&format!("{name}-{version}"), |place| {
        progress::step(&format!("fetch {name} {version}"), || {
            NPM.require()?;
            let mut npm = NPM.command();
            npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save", "--prefix"])
                .arg(place);
            run_silently(npm.arg(format!("{package}@{version}")))
        })
    })?;
    Ok(part.join("node_modules"))
}

/// The directory that pip has installed a package into, without what it depends on.
fn from_pip(cache: &Cache, name: &str, package: &str, version: &str) -> Result<PathBuf> {
    cache.part(&format!("{name}-{version}"), |place| {
        let package = format!("{package}=={version}");
        progress::step(&format!("fetch {name} {version}"), || pip(place, &[&package]))
    })
}

fn pip(place: &Path, packages: &[&str]) -> Result<()> {
    PIP.require()?;
    let mut pip = PIP.command();
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(place);
    run_silently(pip.args(packages))
}

/// The directory of Prometheus's own programs, `prometheus` and `promtool`, fetched if need be. Nothing is installed, and no service started.
///
/// # Errors
/// [`Error::ToolMissing`] for apt, [`Error::CommandFailed`] where it cannot bring the package.
pub fn prometheus(cache: &Cache) -> Result<PathBuf> {
    Ok(debian(cache, "prometheus", &[])?.join("usr/bin"))
}

/// What a package of Debian's stable release contains, and those that it needs beside it, unpacked into one place. Nothing is installed.
///
/// # Errors
/// [`Error::ToolMissing`] for apt, [`Error::CommandFailed`] where it cannot bring a package.
pub fn debian(cache: &Cache, package: &str, beside: &[&str]) -> Result<PathBuf> {
    cache.part(&format!("debian-{package}"), |place| {
        progress::step(&format!("fetch {package}"), || {
            APT.require()?;
            let download = || {
                let mut apt = APT.command();
                apt.args(["--quiet", "download", package]).args(beside);
                run_silently(apt.current_dir(place))
            };
            // A fresh machine has no lists of packages yet.
            download().or_else(|_| {
                run_silently(APT.command().args(["--quiet", "update"])).and_then(|()| download())
            })?;
            let mut unpack = Command::new("sh");
            let all = "for package in ./*.deb; do dpkg-deb --extract \"$package\" . || exit; done";
            run_silently(unpack.args(["-c", all]).current_dir(place))
        })
    })
}

/// A program that is installed by Cargo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CargoTool {
    /// Checks licences, advisories and sources of the dependencies.
    Deny,
    /// Builds and runs the fuzz targets.
    Fuzz,
}

impl CargoTool {
    fn name(self) -> &'static str {
        match self {
            Self::Deny => "cargo-deny",
            Self::Fuzz => "cargo-fuzz",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::Deny => "0.20.2",
            Self::Fuzz => "0.13.2",
        }
    }

    /// The program's file, installed if need be. One of the same version that Cargo has already installed for the user is taken as it is.
    ///
    /// # Errors
    /// [`Error::CommandFailed`] where Cargo cannot install it.
    pub fn fetch(self, cache: &Cache) -> Result<PathBuf> {
        if self.is_installed() {
            return Ok(PathBuf::from(self.name()));
        }
        let (name, version) = (self.name(), self.version());
        let part = cache.part(&format!("{name}-{version}"), |place| {
            progress::step(&format!("build {name} {version}"), || {
                let mut cargo = CARGO.command();
                cargo.args(["install", "--locked", "--version", version, "--root"]).arg(place).arg(name);
                // Building these optimised takes minutes longer than their unoptimised work does.
                cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").env("CARGO_PROFILE_RELEASE_LTO", "off");
                cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256");
                // A build of its own: the workspace's settings are none of its business.
                run_silently(cargo.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").current_dir("/"))
            })
        })?;
        Ok(part.join("bin").join(name))
    }

    fn is_installed(self) -> bool {
        let listed = CARGO.command().args(["install", "--list"]).output();
        let wanted = format!("{} v{}:", self.name(), self.version());
        listed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).lines().any(|line| line == wanted))
    }
}

fn maven(directory: &Path) -> Command {
    let mut maven = MAVEN.command();
    maven.args(["--quiet", "--batch-mode"]).current_dir(directory);
    maven
}

fn dependency_goal(goal: &str) -> String {
    format!("{DEPENDENCY_PLUGIN}:{goal}")
}

fn kafka_pom(artifact: &str) -> String {
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">
  <modelVersion>4.0.0</modelVersion>
  <groupId>keyferry</groupId>
  <artifactId>parts</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>{artifact}</artifactId>
      <version>{KAFKA}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>{LOG4J}</version>
    </dependency>
  </dependencies>
</project>
"
    )
}
