//! On what, of what and when something was measured.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use keyferry_tests::{Error, Result};
use serde::Serialize;
use xtask::tool::CARGO;
use xtask::workspace;

/// A machine that is busier than this, in percent of all its processors, while nothing is measured is not a quiet one.
const QUIET: f64 = 10.0;
/// For how long it is looked at.
const GLANCE: Duration = Duration::from_millis(500);

/// What a figure depends on besides what is measured.
#[derive(Debug, Clone, Serialize)]
pub struct Circumstances {
    date: String,
    revision: String,
    processor: String,
    processors: usize,
    memory_gib: f64,
    kernel: String,
    /// How busy it was without what is measured, in percent of all its processors: before or after, whichever was more.
    busy_percent: f64,
}

impl Circumstances {
    /// As they are.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn now() -> Result<Self> {
        let processors = read("/proc/cpuinfo")?;
        let memory = field(&read("/proc/meminfo")?, "MemTotal").and_then(|value| number(&value));
        Ok(Self {
            date: said_by(Command::new("date").args(["-u", "+%Y-%m-%d"])),
            revision: revision(),
            processor: field(&processors, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            processors: processors.lines().filter(|line| line.starts_with("processor")).count(),
            memory_gib: memory.unwrap_or_default() / f64::from(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            busy_percent: busy()?,
        })
    }

    /// As they turn out to have been, when what was measured is over.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn until_now(self) -> Result<Self> {
        Ok(Self { busy_percent: self.busy_percent.max(busy()?), ..self })
    }
}

impl fmt::Display for Circumstances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, revision, processor, processors, memory_gib, kernel, busy_percent } = self;
        write!(
            f,
            "{date}, revision {revision}, {processor}, {processors} cores, {memory_gib:.0} GiB, Linux {kernel}, {busy_percent:.0} % busy with other things"
        )?;
        if *busy_percent > QUIET { write!(f, " — **a loaded machine**") } else { Ok(()) }
    }
}

/// The version of a package that the workspace is built with, and where its sources lie.
///
/// # Errors
/// Where Cargo does not know it.
pub fn package(name: &str) -> Result<(String, std::path::PathBuf)> {
    let mut cargo = CARGO.command();
    cargo.args(["metadata", "--format-version", "1", "--locked"]).current_dir(workspace::root());
    let output = cargo.output().map_err(Error::io("start", "cargo"))?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    packages
        .filter(|package| package["name"] == name)
        .find_map(|package| {
            let manifest = text(&package["manifest_path"])?;
            Some((text(&package["version"])?, Path::new(&manifest).parent()?.to_owned()))
        })
        .ok_or_else(|| Error::Missing(format!("cargo metadata names no package {name}")))
}

fn revision() -> String {
    let git =
        |arguments: &[&str]| said_by(Command::new("git").args(arguments).current_dir(workspace::root()));
    let changes = git(&["status", "--porcelain", "--untracked-files=no", "--", ":!docs/performance.md"]);
    let changed = if changes.is_empty() { "" } else { " with changes" };
    format!("{}{changed}", git(&["rev-parse", "--short", "HEAD"]))
}

/// What a program prints; nothing where it is not there.
fn said_by(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

/// How busy all processors are at the moment, in percent.
fn busy() -> Result<f64> {
    let before = times(&read("/proc/stat")?);
    thread::sleep(GLANCE);
    let now = times(&read("/proc/stat")?);
    let (all, idle) = (now.0 - before.0, now.1 - before.1);
    Ok(if all > 0.0 { 100.0 * (1.0 - idle / all) } else { 0.0 })
}

/// All time and that which was idle or spent waiting for a disk, of the text of `/proc/stat`, in ticks.
fn times(stat: &str) -> (f64, f64) {
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.take(8).filter_map(|field| field.parse().ok()).collect();
    (ticks.iter().sum(), ticks.iter().skip(3).take(2).sum())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io("read", path))
}

/// The value of the first line `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let now = Circumstances::now().unwrap();
        assert!(now.processors > 0 && now.memory_gib > 0.1, "{now}");
        assert_eq!(now.date.len(), "2026-11-28".len());
    }

    #[test]
    fn a_loaded_machine_is_called_so() {
        let mut now = Circumstances::now().unwrap();
        now.busy_percent = 9.0;
        assert!(!now.to_string().contains("loaded machine"));
        now.busy_percent = 11.0;
        assert!(now.to_string().contains("**a loaded machine**"));
    }

    #[test]
    fn time_that_waits_for_a_disk_is_idle() {
        assert_eq!(times("cpu  10 1 5 70 4 0 1 0 3 0\ncpu0 1 1 1 1"), (91.0, 74.0));
    }
}
