//! Planted bugs: are the tests worth anything?
//!
//! The invariant: **every bug of the list is caught by the test that is named beside it.** The sources are copied, one bug is planted in the copy by a textual
//! substitution, the cheapest test that must notice is run there, and it must fail; without a bug it must pass. A substitution whose place is not found
//! exactly once is an error, so that the list cannot outlive the code that it breaks.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use crate::page::Section;
use crate::tool::{self, CARGO, JAVA, MAVEN};
use crate::{Error, Result, progress, simulate, workspace};

mod bugs;

use bugs::BUGS;

/// The page that carries the table, and the lines between which it stands.
const PAGE: &str = "docs/promises.md";
const BEGIN: &str = "<!-- planted bugs: begin, written by `cargo xtask planted` -->";
const END: &str = "<!-- planted bugs: end -->";

/// How many seeds the simulation plays to catch a bug.
const SEEDS: &str = "500";

/// What `cargo xtask planted` understands.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only the bugs whose name contains this; the table is not written then.
    #[arg(long)]
    only: Option<String>,
}

/// A bug and what must catch it.
#[derive(Debug, Clone, Copy)]
struct Bug {
    /// What it does, in a few words.
    name: &'static str,
    /// The file, from the root of the sources.
    file: &'static str,
    /// What stands there, exactly once.
    right: &'static str,
    /// What is put in its place.
    wrong: &'static str,
    test: Test,
}

/// A test that can be run in a copy of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    /// Some seeds of the simulation.
    Simulation,
    /// One file of a Rust package's tests.
    Package(&'static str, &'static str),
    /// The tests beside a Rust package's code.
    Library(&'static str),
    /// A test class of the provider.
    Provider(&'static str),
}

/// How a bug was caught.
struct Catch {
    finding: String,
    took: Duration,
}

/// Plants each bug in turn, and writes the table.
///
/// # Errors
/// [`Error::NotPlanted`], [`Error::NotCaught`], [`Error::CommandFailed`] where a test fails without a bug.
pub fn run(arguments: &Arguments) -> Result<()> {
    let chosen = |bug: &&Bug| arguments.only.as_ref().is_none_or(|only| bug.name.contains(only.as_str()));
    let bugs: Vec<&Bug> = BUGS.iter().filter(chosen).collect();
    let copy = Copy::make()?;
    for bug in &bugs {
        copy.check(bug)?;
    }
    check_without_bugs(&copy, &bugs)?;
    let mut table = String::from("| bug | planted in | caught by | in |\n|---|---|---|---|\n");
    let mut missed = Vec::new();
    for bug in bugs {
        let caught = progress::step(&format!("plant: {}", bug.name), || copy.plant_and_test(bug))?;
        let Some(Catch { finding, took }) = caught else {
            missed.push(bug.name);
            continue;
        };
        println!("    {}: {finding}", bug.test.name());
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| {} | `{}` | {}: {} | {:.1} s |",
            bug.name,
            bug.file,
            bug.test.name(),
            finding.replace('|', "\\|"),
            took.as_secs_f64()
        );
    }
    if !missed.is_empty() {
        return Err(Error::NotCaught { bugs: missed.join(", ") });
    }
    if arguments.only.is_none() { section().write(&table) } else { Ok(()) }
}

fn check_without_bugs(copy: &Copy, bugs: &[&Bug]) -> Result<()> {
    let mut checked: Vec<Test> = Vec::new();
    for bug in bugs {
        if !checked.contains(&bug.test) {
            checked.push(bug.test);
            progress::step(&format!("without a bug: {}", bug.test.name()), || {
                copy.run(&mut bug.test.build(&copy.root))?;
                copy.run(&mut bug.test.command(&copy.root))
            })?;
        }
    }
    Ok(())
}

/// A copy of the sources, in its own place so that nothing that is built there reaches what ships.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn make() -> Result<Self> {
        JAVA.require()?;
        MAVEN.require()?;
        let place = workspace::target().join("planted");
        let root = place.join("source");
        if root.exists() {
            fs::remove_dir_all(&root).map_err(Error::io("remove", &root))?;
        }
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(workspace::root())
            .output()
            .map_err(Error::io("list the files of", workspace::root()))?;
        for file in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
            let (from, to) = (workspace::root().join(file), root.join(file));
            // A file that was deleted and not committed yet is listed, too.
            if !from.is_file() {
                continue;
            }
            if let Some(directory) = to.parent() {
                fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
            }
            fs::copy(&from, &to).map_err(Error::io("copy", &from))?;
        }
        Ok(Self { root })
    }

    /// Makes sure that the bug has a place.
    fn check(&self, bug: &Bug) -> Result<()> {
        self.planted(bug).map(drop)
    }

    /// The bug's file as it was, and as it is with the bug in it.
    fn planted(&self, bug: &Bug) -> Result<(String, String)> {
        let path = self.root.join(bug.file);
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let found = text.matches(bug.right).count();
        if found != 1 {
            return Err(Error::NotPlanted { bug: bug.name, path, found });
        }
        let planted = text.replacen(bug.right, bug.wrong, 1);
        Ok((text, planted))
    }

    /// Plants the bug, runs its test and takes the bug out again; `None` if nothing noticed.
    fn plant_and_test(&self, bug: &Bug) -> Result<Option<Catch>> {
        let path = self.root.join(bug.file);
        let (right, wrong) = self.planted(bug)?;
        fs::write(&path, wrong).map_err(Error::io("write", &path))?;
        // A bug that does not compile is no bug.
        let built = self.run(&mut bug.test.build(&self.root));
        let begun = Instant::now();
        let output = built.and_then(|()| {
            let mut command = bug.test.command(&self.root);
            self.prepare(&mut command).stdin(Stdio::null()).output().map_err(Error::io("run", &path))
        });
        fs::write(&path, right).map_err(Error::io("write", &path))?;
        let output = output?;
        let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let finding = bug.test.finding(&printed);
        Ok((!output.status.success()).then(|| Catch { finding, took: begun.elapsed() }))
    }

    fn run(&self, command: &mut Command) -> Result<()> {
        tool::run_silently(self.prepare(command))
    }

    fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", self.target())
    }

    fn target(&self) -> PathBuf {
        self.root.with_file_name("target")
    }
}

impl Test {
    fn name(self) -> String {
        match self {
            Self::Simulation => format!("simulation, {SEEDS} seeds"),
            Self::Package(package, test) => format!("`{package}`, tests/{test}.rs"),
            Self::Library(package) => format!("`{package}`, unit tests"),
            Self::Provider(class) => format!("`{class}`"),
        }
    }

    /// Compiles it.
    fn build(self, root: &Path) -> Command {
        match self {
            Self::Simulation => simulate::cargo("build"),
            Self::Package(package, test) => {
                let mut cargo = CARGO.command();
                cargo.args(["test", "--quiet", "--no-run", "--package", package, "--test", test]);
                cargo
            }
            Self::Library(package) => {
                let mut cargo = CARGO.command();
                cargo.args(["test", "--quiet", "--no-run", "--package", package, "--lib"]);
                cargo
            }
            Self::Provider(_) => maven(root, &["test-compile"]),
        }
    }

    /// Runs it.
    fn command(self, root: &Path) -> Command {
        match self {
            Self::Simulation => {
                let mut cargo = simulate::cargo("run");
                cargo.args(["--", "--seeds", SEEDS, "--stop-at-first"]);
                cargo
            }
            Self::Package(package, test) => {
                let mut cargo = CARGO.command();
                cargo.args(["test", "--package", package, "--test", test]);
                cargo
            }
            Self::Library(package) => {
                let mut cargo = CARGO.command();
                cargo.args(["test", "--package", package, "--lib"]);
                cargo
            }
            Self::Provider(class) => maven(root, &["surefire:test", &format!("-Dtest={class}")]),
        }
    }

    /// What it found, of what it printed.
    fn finding(self, printed: &str) -> String {
        let mut lines = printed.lines().map(str::trim);
        let found = match self {
            Self::Simulation => lines
                .find(|line| line.starts_with("seed ") || line.contains("panicked at"))
                .map(str::to_owned),
            Self::Package(..) | Self::Library(_) => lines.find_map(|line| {
                let test = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
                Some(format!("`{test}`"))
            }),
            Self::Provider(class) => lines.find_map(|line| {
                let line = line.strip_prefix("[ERROR]")?.trim();
                let test = line.strip_prefix(class)?.strip_prefix('.')?;
                Some(format!("`{}`", test.split([':', ' ', '>']).next().unwrap_or(test)))
            }),
        };
        found.unwrap_or_else(|| "it failed".to_owned())
    }
}

fn maven(root: &Path, goals: &[&str]) -> Command {
    let mut maven = MAVEN.command();
    maven
        .args(["--batch-mode", "--no-transfer-progress", "--file"])
        .arg(root.join("provider/pom.xml"))
        .args(goals);
    maven
}

/// Where the table stands.
fn section() -> Section {
    Section { page: PAGE, begin: BEGIN.to_owned(), end: END.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_its_place_in_the_sources() {
        let sources = Copy { root: workspace::root().to_owned() };
        for bug in BUGS {
            sources.check(bug).unwrap();
        }
        assert!(BUGS.len() >= 10);
    }

    #[test]
    fn a_finding_names_the_test() {
        assert_eq!(Test::Package("p", "t").finding("test a::b ... ok\ntest a::c ... FAILED\n"), "`a::c`");
        assert_eq!(Test::Simulation.finding("seed 7: lost: x\n    replay: …"), "seed 7: lost: x");
        let surefire = "[ERROR] Tests run: 2\n[ERROR]   JournalTest.syncs:12 expected";
        assert_eq!(Test::Provider("JournalTest").finding(surefire), "`syncs`");
    }
}
