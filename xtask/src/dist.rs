//! What is published: one jar that carries the agent, and the bare agent for sidecars and services.
//!
//! The agent is linked by zig against an old glibc, so that it starts everywhere, and what the linker did is checked afterwards.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::cache::Cache;
use crate::parts;
use crate::tool::{CARGO, CMAKE, JAVA, MAVEN, run_silently};
use crate::{Error, Result, glibc, progress, workspace};

/// The glibc that the agent is linked against; older than [`glibc::NEWEST_ALLOWED`] where that costs nothing.
const LINKED_GLIBC: &str = "2.28";
/// How large the jar may be for each agent that it carries, in bytes.
const JAR_LIMIT: u64 = 12 * 1000 * 1000;

/// What an agent runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Platform {
    /// Linux on x86-64.
    #[value(name = "linux-x86_64")]
    LinuxX86_64,
    /// Linux on 64-bit ARM.
    #[value(name = "linux-aarch64")]
    LinuxAarch64,
}

impl Platform {
    /// The name of its place in the jar, which the provider looks up by Java's `os.name` and `os.arch`.
    fn name(self) -> &'static str {
        match self {
            Self::LinuxX86_64 => "linux-x86_64",
            Self::LinuxAarch64 => "linux-aarch64",
        }
    }

    fn triple(self) -> &'static str {
        match self {
            Self::LinuxX86_64 => "x86_64-unknown-linux-gnu",
            Self::LinuxAarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The platform of this machine; on an unknown one what the container images run on.
    fn host() -> Self {
        if cfg!(target_arch = "aarch64") { Self::LinuxAarch64 } else { Self::LinuxX86_64 }
    }
}

/// How the agent is built.
#[derive(Debug, Clone)]
pub enum Build {
    /// With zig, to start on old systems too.
    Portable(Vec<Platform>),
    /// With this machine's own linker: quicker, and needs neither Python nor zig.
    Native,
    /// As [`Self::Native`], and with little optimisation, which the demo does not need.
    Debug,
}

/// Builds the agent and the jar into `dist/`, states their sizes, and returns the jar.
///
/// # Errors
/// Missing tools, failed builds, [`Error::GlibcTooNew`], [`Error::JarTooLarge`].
pub fn dist(cache: &Cache, build: &Build) -> Result<PathBuf> {
    let place = workspace::dist();
    if place.exists() {
        fs::remove_dir_all(&place).map_err(Error::io("remove", &place))?;
    }
    let jar = assemble(cache, build, &place)?;
    let limit = JAR_LIMIT * build.platforms().len() as u64;
    let size = state_size(&jar)?;
    if size > limit && !matches!(build, Build::Debug) {
        return Err(Error::JarTooLarge { path: jar, size, limit });
    }
    for platform in build.platforms() {
        state_size(&bare_agent(&place, platform))?;
    }
    Ok(jar)
}

/// Builds the agent and the jar into `place`.
///
/// # Errors
/// Missing tools, failed builds, [`Error::GlibcTooNew`].
pub fn assemble(cache: &Cache, build: &Build, place: &Path) -> Result<PathBuf> {
    for tool in [CMAKE, JAVA, MAVEN] {
        tool.require()?;
    }
    let agents = place.join("agent");
    for platform in build.platforms() {
        let agent = build_agent(cache, build, platform)?;
        lay_out(&agent, &agents.join(platform.name()))?;
        copy(&agent, &bare_agent(place, platform))?;
    }
    let jar = place.join(format!("keyferry-{}.jar", workspace::VERSION));
    copy(&build_jar(&agents)?, &jar)?;
    Ok(jar)
}

/// Builds the agents alone, so that a later [`dist`] or [`assemble`] finds them built.
///
/// # Errors
/// Missing tools, failed builds, [`Error::GlibcTooNew`].
pub fn build_agents(cache: &Cache, build: &Build) -> Result<()> {
    CMAKE.require()?;
    build.platforms().into_iter().try_for_each(|platform| build_agent(cache, build, platform).map(drop))
}

impl Build {
    fn platforms(&self) -> Vec<Platform> {
        match self {
            Self::Portable(platforms) if !platforms.is_empty() => platforms.clone(),
            Self::Portable(_) | Self::Native | Self::Debug => vec![Platform::host()],
        }
    }
}

fn build_agent(cache: &Cache, build: &Build, platform: Platform) -> Result<PathBuf> {
    match build {
        Build::Portable(_) => build_portable_agent(cache, platform),
        Build::Native => build_host_agent("release", &["--release"]),
        Build::Debug => build_host_agent("debug", &[]),
    }
}

fn build_host_agent(profile: &str, arguments: &[&str]) -> Result<PathBuf> {
    progress::step(&format!("build the agent ({profile}, for this machine)"), || {
        let mut cargo = CARGO.command();
        cargo.args(["build", "--package", "keyferry"]).args(arguments);
        run_silently(cargo.current_dir(workspace::root()))
    })?;
    built(workspace::target().join(profile).join("keyferry"))
}

fn build_portable_agent(cache: &Cache, platform: Platform) -> Result<PathBuf> {
    let zig = parts::zig(cache)?;
    let zigbuild = parts::zigbuild(cache)?;
    if platform != Platform::host() {
        install_standard_library(platform)?;
    }
    progress::step(&format!("build the agent for {}", platform.name()), || {
        let mut cargo = Command::new(&zigbuild);
        cargo.args(["zigbuild", "--release", "--package", "keyferry", "--target"]);
        cargo.arg(format!("{}.{LINKED_GLIBC}", platform.triple()));
        run_silently(cargo.env("CARGO_ZIGBUILD_ZIG_PATH", &zig).current_dir(workspace::root()))
    })?;
    let agent = built(workspace::target().join(platform.triple()).join("release/keyferry"))?;
    glibc::check(&agent, glibc::NEWEST_ALLOWED)?;
    Ok(agent)
}

fn install_standard_library(platform: Platform) -> Result<()> {
    progress::step(&format!("fetch Rust's standard library for {}", platform.name()), || {
        let mut rustup = Command::new("rustup");
        run_silently(rustup.args(["target", "add", platform.triple()]).current_dir(workspace::root()))
    })
}

/// Puts the agent and its checksum where the jar's build expects them.
fn lay_out(agent: &Path, place: &Path) -> Result<()> {
    let checksum = place.join("keyferry.sha256");
    copy(agent, &place.join("keyferry"))?;
    fs::write(&checksum, sha256(agent)?).map_err(Error::io("write", &checksum))
}

fn build_jar(agents: &Path) -> Result<PathBuf> {
    progress::step("build the jar", || {
        let mut maven = MAVEN.command();
        maven.args(["--quiet", "--batch-mode", "package", "-DskipTests"]);
        maven.arg(format!("-Dkeyferry.agent.dir={}", agents.display()));
        run_silently(maven.current_dir(workspace::provider()))
    })?;
    built(workspace::provider().join(format!("target/keyferry-{}.jar", workspace::VERSION)))
}

fn bare_agent(place: &Path, platform: Platform) -> PathBuf {
    place.join(format!("keyferry-{}", platform.name()))
}

fn built(path: PathBuf) -> Result<PathBuf> {
    if path.exists() { Ok(path) } else { Err(Error::NothingBuilt { path }) }
}

/// Copies a file, making the directories above its new place. An existing file is replaced, never written into: it may be running.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    }
    if to.exists() {
        fs::remove_file(to).map_err(Error::io("replace", to))?;
    }
    fs::copy(from, to).map_err(Error::io("copy", from))?;
    Ok(())
}

/// The SHA-256 of a file as 64 lower-case hexadecimal digits.
fn sha256(path: &Path) -> Result<String> {
    let data = fs::read(path).map_err(Error::io("read", path))?;
    Ok(Sha256::digest(&data).iter().fold(String::with_capacity(64), |mut digits, byte| {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    }))
}

fn state_size(path: &Path) -> Result<u64> {
    let size = fs::metadata(path).map_err(Error::io("read", path))?.len();
    println!("{:>8.2} MB  {}", size as f64 / 1e6, path.display());
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_laid_out_with_its_checksum() {
        let directory = tempfile::tempdir().unwrap();
        let agent = directory.path().join("built");
        fs::write(&agent, "abc").unwrap();
        let place = directory.path().join("agent/linux-x86_64");
        lay_out(&agent, &place).unwrap();
        assert_eq!(fs::read_to_string(place.join("keyferry")).unwrap(), "abc");
        assert_eq!(
            fs::read_to_string(place.join("keyferry.sha256")).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
