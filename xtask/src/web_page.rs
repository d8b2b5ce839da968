//! The web page: built from `web/` into `web/dist/`, which is committed, so that building the agent takes no Node.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::tool::{self, NPM};
use crate::{Error, Result, progress, workspace};

/// The oldest Node that the build tools run on.
const OLDEST_NODE: (u32, u32) = (20, 19);

/// What to do about the page.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Change nothing: test it, build it elsewhere, and compare with what is committed. Where Node is missing or too old this is said, and no failure.
    #[arg(long)]
    check: bool,
}

/// Builds the page, or checks that what is committed is what its sources make.
///
/// # Errors
/// A tool is missing or fails, or what is committed is something else.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.check && !is_node_new_enough() {
        let (major, minor) = OLDEST_NODE;
        eprintln!(
            "warning: NOT CHECKED: there is no Node {major}.{minor} or later here, so web/dist was not compared with its sources"
        );
        return Ok(());
    }
    modules()?;
    if !arguments.check {
        return build(&committed());
    }
    progress::step("test the page", || npm(&["test"]))?;
    let elsewhere = workspace::target().join("page-check");
    build(&elsewhere)?;
    if files(&elsewhere)? == files(&committed())? { Ok(()) } else { Err(Error::StalePage) }
}

/// Brings what the page is built and tested with, exactly as `package-lock.json` says.
///
/// # Errors
/// npm is missing or fails.
pub fn modules() -> Result<()> {
    NPM.require()?;
    progress::step("fetch the page's tools", || npm(&["ci", "--no-audit", "--no-fund", "--ignore-scripts"]))
}

fn web() -> PathBuf {
    workspace::root().join("web")
}

fn committed() -> PathBuf {
    web().join("dist")
}

fn build(directory: &Path) -> Result<()> {
    let directory = directory.to_string_lossy();
    progress::step("build the page", || npm(&["run", "build", "--", "--emptyOutDir", "--outDir", &directory]))
}

fn npm(words: &[&str]) -> Result<()> {
    tool::run_silently(NPM.command().args(words).current_dir(web()))
}

fn is_node_new_enough() -> bool {
    let output = Command::new("node").arg("--version").output();
    let version =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut numbers = version.trim().trim_start_matches('v').split('.').map_while(|part| part.parse().ok());
    NPM.require().is_ok() && numbers.next().zip(numbers.next()).is_some_and(|version| version >= OLDEST_NODE)
}

/// What is in a directory without any below it, by name.
fn files(directory: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let failed = Error::io("read", directory);
    let entries =
        fs::read_dir(directory).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(failed)?;
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        fs::read(&path).map(|bytes| (name, bytes)).map_err(Error::io("read", &path))
    };
    entries.into_iter().map(|entry| read(entry.path())).collect()
}
