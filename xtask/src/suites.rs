//! The test suites: what each runs, and how all of them end in one table.

use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::cache::Cache;
use crate::dist::{self, Build};
use crate::tool::{CARGO, JAVA, MAVEN};
use crate::{Error, Result, progress, workspace};
use crate::{parts, web_page};

/// The jar under test is the one that ships, for this machine.
const JAR: Build = Build::Portable(Vec::new());

/// A set of tests that is run by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Every Rust crate's own tests and documentation examples, and the instructions that an event takes.
    Unit,
    /// The provider's tests.
    Java,
    /// End to end on real Keycloak and real Kafka: a login is an event, whatever is killed.
    MainJob,
    /// The agent and real Kafka under load: security, connections, destinations, dead letters, outages.
    Kafka,
    /// Metrics, dashboard and rules against a real Prometheus; the formats of records against their own schemas.
    Monitoring,
    /// The promises of `docs/promises.md` under injected faults: simulation, crash states, fuzzing, and faults on real parts.
    Promises,
}

impl Suite {
    /// All suites, the quickest first.
    pub const ALL: [Self; 6] =
        [Self::Unit, Self::Java, Self::Monitoring, Self::MainJob, Self::Kafka, Self::Promises];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Java => "java",
            Self::MainJob => "main-job",
            Self::Kafka => "kafka",
            Self::Monitoring => "monitoring",
            Self::Promises => "promises",
        }
    }

    /// What it covers, in a few words.
    pub fn covers(self) -> &'static str {
        match self {
            Self::Unit => "every Rust crate's own tests and documentation examples",
            Self::Java => "the provider's tests",
            Self::MainJob => "end to end on real Keycloak and real Kafka",
            Self::Kafka => "the agent and real Kafka under load, through outages and changes",
            Self::Monitoring => {
                "metrics, dashboard and rules against a real Prometheus, formats against their schemas"
            }
            Self::Promises => "simulation, crash states, fuzzing, and faults on the real parts",
        }
    }

    /// Whether it tests the jar that ships.
    fn needs_jar(self) -> bool {
        !matches!(self, Self::Unit | Self::Java)
    }

    /// Prepares what the suite needs and says how to run it.
    fn steps(self, bench: &Bench) -> Result<Vec<Step>> {
        match self {
            Self::Unit => Ok(vec![
                unit_tests()?,
                cargo_test(&["--doc", "--no-fail-fast"]),
                own_task(&["instructions"])?,
            ]),
            Self::Java => Ok(vec![maven_verify()?]),
            Self::MainJob => Ok(vec![end_to_end_test("main_job", bench.jar()?)]),
            Self::Kafka => {
                let jar = bench.jar()?;
                parts::apicurio(&bench.cache)?;
                parts::format_readers(&bench.cache)?;
                Ok(vec![end_to_end_test("kafka", jar)])
            }
            Self::Monitoring => {
                let jar = bench.jar()?;
                parts::prometheus(&bench.cache)?;
                parts::opentelemetry(&bench.cache)?;
                parts::schemathesis(&bench.cache)?;
                parts::format_readers(&bench.cache)?;
                parts::ecs(&bench.cache)?;
                parts::asyncapi_parser(&bench.cache)?;
                web_page::modules()?;
                Ok(vec![end_to_end_test("monitoring", jar)])
            }
            Self::Promises => {
                let jar = bench.jar()?;
                Ok(vec![
                    own_task_on(&["simulate", "--seeds", "2000"], jar)?,
                    own_task_on(&["crash-states", "--workloads", "20"], jar)?,
                    own_task_on(&["fuzz", "--seconds", "15"], jar)?,
                    end_to_end_test("promises", jar),
                    own_task_on(&["crash", "--trials", "3"], jar)?,
                    own_task_on(&["io-faults", "--cases", "100"], jar)?,
                    own_task_on(&["backlog", "--size", "256MiB"], jar)?,
                ])
            }
        }
    }
}

/// One program that a suite runs.
struct Step {
    command: Command,
    closing: Closing,
}

/// What a program closes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// One line for each executable of `cargo test`.
    TestResults,
    /// Surefire's sum.
    Surefire,
    /// The last line, whatever it is.
    LastLine,
}

impl Closing {
    /// Whether a line of its output may be what a program closes with.
    fn may_be(self, line: &str) -> bool {
        match self {
            Self::TestResults => line.starts_with("test result:"),
            Self::Surefire => line.contains("Tests run:") && !line.contains("Time elapsed"),
            Self::LastLine => !line.trim().is_empty(),
        }
    }

    /// Of the lines that may be: one `cargo test` closes once for each of its executables, and those without any test say nothing.
    fn summed_up(self, mut lines: Vec<String>) -> Vec<String> {
        match self {
            Self::TestResults => lines.retain(|line| !line.contains("ok. 0 passed; 0 failed")),
            Self::Surefire | Self::LastLine => lines = lines.pop().into_iter().collect(),
        }
        lines
    }
}

/// Runs suites, to the end even if one fails, and prints the table.
///
/// What compiles or computes has the machine for itself. The suites on real servers wait most of the time, so the longest of them goes beside all others.
///
/// # Errors
/// [`Error::SuitesFailed`].
pub fn run(cache: &Cache, suites: &[Suite]) -> Result<()> {
    let (on_servers, alone): (Vec<_>, Vec<_>) = suites.iter().partition(|suite| suite.needs_jar());
    let (longest, others): (Vec<_>, Vec<_>) = on_servers.iter().partition(|suite| **suite == Suite::MainJob);
    let bench = Bench::new(cache, !on_servers.is_empty());
    let mut reports = run_lane(&bench, &alone, Transcript::Live);
    reports.extend(run_beside(&bench, &longest, &others));
    println!();
    for report in &reports {
        println!("{report}");
    }
    let failed = reports.iter().filter(|report| !report.passed).count();
    if failed == 0 { Ok(()) } else { Err(Error::SuitesFailed { failed, all: reports.len() }) }
}

/// Runs `first` and `second` at the same time. Where both have something to say, what the second has to say waits for the end of each of its suites.
fn run_beside(bench: &Bench, first: &[Suite], second: &[Suite]) -> Vec<Report> {
    let transcript = if first.is_empty() { Transcript::Live } else { Transcript::AtTheEnd };
    thread::scope(|scope| {
        let second = scope.spawn(|| run_lane(bench, second, transcript));
        let mut reports = run_lane(bench, first, Transcript::Live);
        reports.extend(second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        reports
    })
}

/// Runs suites one after the other.
fn run_lane(bench: &Bench, suites: &[Suite], transcript: Transcript) -> Vec<Report> {
    suites.iter().map(|suite| run_one(bench, *suite, transcript)).collect()
}

/// When what a suite's programs print is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transcript {
    Live,
    AtTheEnd,
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

/// Runs all steps of a suite, to the end even if one fails.
fn run_one(bench: &Bench, suite: Suite, transcript: Transcript) -> Report {
    let title = format!("=== {}: {}", suite.name(), suite.covers());
    let start = Instant::now();
    let mut report = Report { suite, passed: true, duration: Duration::ZERO, closing_lines: Vec::new() };
    let mut held = String::new();
    let mut pass_on = |line: &str| match transcript {
        Transcript::Live => println!("{}", stamped(bench.begun.elapsed(), line)),
        Transcript::AtTheEnd => held.extend([&*stamped(bench.begun.elapsed(), line), "\n"]),
    };
    pass_on(&title);
    match suite.steps(bench) {
        Ok(steps) => steps.into_iter().for_each(|step| report.add(run_step(step, &mut pass_on))),
        Err(error) => report.add(Err(error)),
    }
    print!("{held}");
    report.duration = start.elapsed();
    report
}

/// A line with the minutes and seconds since the first suite began: what takes long is seen where nobody watches.
fn stamped(elapsed: Duration, line: &str) -> String {
    let seconds = elapsed.as_secs();
    format!("{:02}:{:02} {line}", seconds / 60, seconds % 60)
}

impl Report {
    fn add(&mut self, outcome: Result<(bool, Vec<String>)>) {
        let (passed, lines) = outcome.unwrap_or_else(|error| (false, vec![error.to_string()]));
        self.passed &= passed;
        self.closing_lines.extend(lines);
    }
}

/// Runs a program, passing on what it prints and keeping its closing lines, and says whether it succeeded.
fn run_step(
    Step { mut command, closing }: Step,
    pass_on: &mut impl FnMut(&str),
) -> Result<(bool, Vec<String>)> {
    let program = command.get_program().to_owned();
    let mut runner = command.stdout(Stdio::piped()).spawn().map_err(Error::io("start", &program))?;
    let mut closing_lines = Vec::new();
    if let Some(output) = runner.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.map_err(Error::io("read the output of", &program))?;
            pass_on(&line);
            if closing.may_be(&line) {
                closing_lines.push(line);
            }
        }
    }
    let status = runner.wait().map_err(Error::io("wait for", &program))?;
    Ok((status.success(), closing.summed_up(closing_lines)))
}

fn maven_verify() -> Result<Step> {
    JAVA.require()?;
    MAVEN.require()?;
    let mut command = MAVEN.command();
    // The benchmarks are to compile, too.
    command.args(["--batch-mode", "--no-transfer-progress", "-P", "jmh", "verify"]);
    command.current_dir(workspace::provider());
    Ok(Step { command, closing: Closing::Surefire })
}

/// How the jar is made, and what became of it: the message of the error, as each suite that needs the jar fails with it.
type JarUnderTest = LazyLock<Result<PathBuf, String>, Box<dyn FnOnce() -> Result<PathBuf, String> + Send>>;

/// What the tests on real servers share: the jar as it ships, with the servers that it is tested with in the cache.
struct Bench {
    begun: Instant,
    cache: Cache,
    jar: JarUnderTest,
}

impl Bench {
    /// Fetches and compiles beside the suites that need nothing of it: the linker, which optimises the whole agent, leaves a processor idle for minutes.
    fn new(cache: &Cache, needs_jar: bool) -> Self {
        let prepare = |cache: Cache| thread::spawn(move || prepare(&cache));
        let preparation = needs_jar.then(|| prepare(cache.clone()));
        let build = {
            let cache = cache.clone();
            move || {
                let prepared = preparation.map(JoinHandle::join).transpose();
                prepared.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).transpose()?;
                dist::dist(&cache, &JAR)
            }
        };
        let build = || build().map_err(|error| error.to_string());
        Self { begun: Instant::now(), cache: cache.clone(), jar: LazyLock::new(Box::new(build)) }
    }

    /// The jar, built when it is first needed.
    fn jar(&self) -> Result<&Path> {
        self.jar.as_deref().map_err(|error| Error::NoJar(error.clone()))
    }
}

fn prepare(cache: &Cache) -> Result<()> {
    parts::Keycloak::V26_7.fetch(cache)?;
    parts::kafka(cache)?;
    dist::build_agents(cache, &JAR)
}

/// Tests on real servers, one at a time: each has servers of its own.
fn end_to_end_test(target: &str, jar: &Path) -> Step {
    let mut step = cargo_test(&["--test", target, "--", "--test-threads=1", "--show-output"]);
    step.command.env("JAR_UNDER_TEST", jar);
    step
}

/// All tests but those on real servers.
fn unit_tests() -> Result<Step> {
    let mut step = cargo_test(&["--lib", "--bins", "--no-fail-fast"]);
    for name in integration_tests_of_crates()? {
        step.command.arg("--test").arg(name);
    }
    Ok(step)
}

/// The names of the integration tests in `crates/`.
fn integration_tests_of_crates() -> Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for package in entries(&Path::new(workspace::root()).join("crates"))? {
        let tests = package.join("tests");
        let files = if tests.is_dir() { entries(&tests)? } else { Vec::new() };
        let sources = files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
        names.extend(sources.filter_map(|path| path.file_stem()).map(OsStr::to_owned));
    }
    Ok(names)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(directory).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    listed.map_err(Error::io("list", directory))
}

/// Another task of this program.
fn own_task(words: &[&str]) -> Result<Step> {
    let program = env::current_exe().map_err(Error::io("find", "this program"))?;
    let mut command = Command::new(program);
    command.args(words).current_dir(workspace::root());
    Ok(Step { command, closing: Closing::LastLine })
}

/// Another task of this program, on the jar that is tested.
fn own_task_on(words: &[&str], jar: &Path) -> Result<Step> {
    let mut step = own_task(words)?;
    step.command.env("JAR_UNDER_TEST", jar);
    Ok(step)
}

/// Always of the whole workspace, whatever of it is run: Cargo builds a dependency again for each set of features that the chosen packages ask of it.
fn cargo_test(arguments: &[&str]) -> Step {
    let mut command = CARGO.command();
    command.args(["test", "--workspace"]).args(arguments).current_dir(workspace::root());
    Step { command, closing: Closing::TestResults }
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
        assert_eq!(Closing::Surefire.summed_up(lines.to_vec()), ["[INFO] Tests run: 7, Failures: 0"]);
        assert!(!Closing::Surefire.may_be("[INFO] Tests run: 3, Time elapsed: 0.1 s -- in SomeTest"));
    }

    #[test]
    fn a_line_says_when_it_was_printed() {
        assert_eq!(stamped(Duration::from_millis(3_725_900), "test a ... ok"), "62:05 test a ... ok");
    }

    #[test]
    fn executables_without_tests_are_not_reported() {
        let lines = ["test result: ok. 0 passed; 0 failed; 0 ignored", "test result: ok. 2 passed; 0 failed"];
        let lines: Vec<_> = lines.map(str::to_owned).into();
        assert_eq!(Closing::TestResults.summed_up(lines), ["test result: ok. 2 passed; 0 failed"]);
    }

    #[test]
    fn the_unit_suite_runs_the_integration_tests_of_crates_and_no_others() {
        let names = integration_tests_of_crates().unwrap();
        assert!(names.contains(OsStr::new("golden")) && !names.contains(OsStr::new("main_job")), "{names:?}");
    }

    #[test]
    fn a_failing_runner_fails_its_suite_and_keeps_its_closing_line() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'test result: FAILED. 1 passed; 1 failed'; exit 101"]);
        let mut passed_on = Vec::new();
        let step = Step { command, closing: Closing::TestResults };
        let (passed, lines) = run_step(step, &mut |line| passed_on.push(line.to_owned())).unwrap();
        assert_eq!(passed_on, lines);
        assert!(!passed);
        assert_eq!(lines, ["test result: FAILED. 1 passed; 1 failed"]);
    }
}
