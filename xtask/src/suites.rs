//! The test suites: what each runs, and how all of them end in one table.

use std::io::{self, BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::cache::Cache;
use crate::dist::{self, Build};
use crate::parts;
use crate::tool::{CARGO, JAVA, MAVEN};
use crate::{Error, Result, progress, workspace};

/// A set of tests that is run by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Every Rust crate's own tests and documentation examples.
    Unit,
    /// The provider's tests.
    Java,
    /// End to end on real Keycloak and real Kafka: a login is an event, whatever is killed.
    MainJob,
}

impl Suite {
    /// All suites, the quickest first.
    pub const ALL: [Self; 3] = [Self::Unit, Self::Java, Self::MainJob];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Java => "java",
            Self::MainJob => "main-job",
        }
    }

    /// What it covers, in a few words.
    pub fn covers(self) -> &'static str {
        match self {
            Self::Unit => "every Rust crate's own tests and documentation examples",
            Self::Java => "the provider's tests",
            Self::MainJob => "end to end on real Keycloak and real Kafka",
        }
    }

    /// Prepares what the suite needs and says how to run it.
    fn command(self, cache: &Cache) -> Result<Command> {
        match self {
            Self::Unit => Ok(cargo_test(&["--workspace", "--exclude", "keyferry-tests", "--no-fail-fast"])),
            Self::Java => {
                JAVA.require()?;
                MAVEN.require()?;
                let mut maven = MAVEN.command();
                maven.args(["--batch-mode", "--no-transfer-progress", "verify"]);
                maven.current_dir(workspace::provider());
                Ok(maven)
            }
            Self::MainJob => {
                end_to_end_parts(cache)?;
                let jar = dist::dist(cache, &Build::Portable(Vec::new()))?;
                let mut cargo = cargo_test(&["--package", "keyferry-tests", "--lib", "--test", "main_job"]);
                cargo.args(["--", "--test-threads=1", "--show-output"]).env("JAR_UNDER_TEST", jar);
                Ok(cargo)
            }
        }
    }

    /// Whether a line of its output is what its test runner closes with.
    fn is_closing_line(self, line: &str) -> bool {
        match self {
            Self::Unit | Self::MainJob => line.starts_with("test result:"),
            Self::Java => line.contains("Tests run:") && !line.contains("Time elapsed"),
        }
    }
}

/// Runs suites one after the other, to the end even if one fails, and prints the table.
///
/// # Errors
/// [`Error::SuitesFailed`].
pub fn run(cache: &Cache, suites: &[Suite]) -> Result<()> {
    let reports: Vec<_> = suites.iter().map(|suite| run_one(cache, *suite)).collect();
    println!();
    for report in &reports {
        println!("{report}");
    }
    let failed = reports.iter().filter(|report| !report.passed).count();
    if failed == 0 { Ok(()) } else { Err(Error::SuitesFailed { failed, all: reports.len() }) }
}

/// How a suite went.
struct Report {
    suite: Suite,
    passed: bool,
    duration: Duration,
    /// The test runner's closing lines, or why it could not run.
    closing_lines: Vec<String>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.passed { "passed" } else { "FAILED" };
        let duration = progress::seconds(self.duration);
        write!(formatter, "{:<10} {verdict}  {duration:>12}", self.suite.name())?;
        for line in &self.closing_lines {
            write!(formatter, "\n             {line}")?;
        }
        Ok(())
    }
}

fn run_one(cache: &Cache, suite: Suite) -> Report {
    println!("\n=== {}: {}", suite.name(), suite.covers());
    let start = Instant::now();
    let outcome = suite.command(cache).and_then(|mut command| run_collecting(suite, &mut command));
    let (passed, closing_lines) = match outcome {
        Ok((status, lines)) => (status.success(), lines),
        Err(error) => (false, vec![error.to_string()]),
    };
    Report { suite, passed, duration: start.elapsed(), closing_lines }
}

/// Runs a test runner, passing on what it prints and keeping its closing lines.
fn run_collecting(suite: Suite, command: &mut Command) -> Result<(ExitStatus, Vec<String>)> {
    let program = command.get_program().to_owned();
    let mut runner = command.stdout(Stdio::piped()).spawn().map_err(Error::io("start", &program))?;
    let mut closing_lines = Vec::new();
    if let Some(output) = runner.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.map_err(Error::io("read the output of", &program))?;
            println!("{line}");
            if suite.is_closing_line(&line) {
                closing_lines.push(line);
            }
        }
    }
    let status = runner.wait().map_err(Error::io("wait for", &program))?;
    Ok((status, summed_up(suite, closing_lines)))
}

/// One `cargo test` closes once for each of its executables; those without any test say nothing.
fn summed_up(suite: Suite, mut lines: Vec<String>) -> Vec<String> {
    match suite {
        Suite::Unit | Suite::MainJob => lines.retain(|line| !line.contains("ok. 0 passed; 0 failed")),
        Suite::Java => lines = lines.pop().into_iter().collect(),
    }
    lines
}

fn end_to_end_parts(cache: &Cache) -> Result<()> {
    parts::Keycloak::V26_7.fetch(cache)?;
    parts::kafka(cache)?;
    Ok(())
}

fn cargo_test(arguments: &[&str]) -> Command {
    let mut cargo = CARGO.command();
    cargo.arg("test").args(arguments).current_dir(workspace::root());
    cargo
}

/// Prints the suites and what they cover.
///
/// # Errors
/// Where standard output is closed.
pub fn list(output: &mut impl io::Write) -> io::Result<()> {
    Suite::ALL.iter().try_for_each(|suite| writeln!(output, "{:<10} {}", suite.name(), suite.covers()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_line_of_surefire_counts() {
        let lines =
            ["[INFO] Tests run: 3, Failures: 0", "[INFO] Tests run: 7, Failures: 0"].map(str::to_owned);
        assert_eq!(summed_up(Suite::Java, lines.to_vec()), ["[INFO] Tests run: 7, Failures: 0"]);
        assert!(!Suite::Java.is_closing_line("[INFO] Tests run: 3, Time elapsed: 0.1 s -- in SomeTest"));
    }

    #[test]
    fn executables_without_tests_are_not_reported() {
        let lines = ["test result: ok. 0 passed; 0 failed; 0 ignored", "test result: ok. 2 passed; 0 failed"];
        let lines: Vec<_> = lines.map(str::to_owned).into();
        assert_eq!(summed_up(Suite::Unit, lines), ["test result: ok. 2 passed; 0 failed"]);
    }

    #[test]
    fn a_failing_runner_fails_its_suite_and_keeps_its_closing_line() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'test result: FAILED. 1 passed; 1 failed'; exit 101"]);
        let (status, lines) = run_collecting(Suite::Unit, &mut command).unwrap();
        assert!(!status.success());
        assert_eq!(lines, ["test result: FAILED. 1 passed; 1 failed"]);
    }
}
