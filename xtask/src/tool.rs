//! The programs that tasks run, and how to get the ones that are missing.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::{Error, Result};

/// How many closing lines of a failed program's output go into the error.
const CLOSING_LINES: usize = 40;

/// A program that a task needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    name: &'static str,
    probe: &'static [&'static str],
    remedy: &'static str,
}

/// Cargo itself.
pub const CARGO: Tool =
    Tool { name: "cargo", probe: &["--version"], remedy: "install Rust from https://rustup.rs" };
/// The Java virtual machine, 17 or later.
pub const JAVA: Tool = Tool {
    name: "java",
    probe: &["-version"],
    remedy: "install a JDK, version 17 or later (Debian: apt-get install openjdk-17-jdk-headless)",
};
/// The oldest Java that Apicurio Registry runs on.
const APICURIOS_JAVA: u32 = 21;

/// The program of a Java virtual machine that Apicurio Registry runs on: that which the variable `JAVA_21` names, the one on the path, or one among those that Debian's packages and others install.
///
/// # Errors
/// [`Error::ToolMissing`] with the remedy.
pub fn java_21() -> Result<PathBuf> {
    let named = env::var_os("JAVA_21").map(PathBuf::from);
    let installed = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    let installed = installed.map(|entry| entry.path().join("bin/java"));
    let mut all = named.into_iter().chain([PathBuf::from(JAVA.name)]).chain(installed);
    all.find(|java| java_version(java).is_some_and(|version| version >= APICURIOS_JAVA)).ok_or(
        Error::ToolMissing {
            tool: "java (21 or later)",
            remedy: "install a JDK, version 21 or later, and let the variable JAVA_21 name its program java",
        },
    )
}

/// The feature release of a Java virtual machine, by what it says of itself: `openjdk version "21.0.5" 2024-10-15`.
fn java_version(java: &Path) -> Option<u32> {
    let said = output_of(Command::new(java).arg("-version")).ok()?;
    let (_, version) = said.split_once("version \"")?;
    version.split(['.', '"', '-']).next()?.parse().ok()
}

/// Apache Maven, which builds the provider and brings Keycloak and Kafka.
pub const MAVEN: Tool =
    Tool { name: "mvn", probe: &["--version"], remedy: "install Maven (Debian: apt-get install maven)" };
/// CMake, which builds librdkafka.
pub const CMAKE: Tool =
    Tool { name: "cmake", probe: &["--version"], remedy: "install CMake (Debian: apt-get install cmake)" };
/// The package manager of Debian and its relatives, which brings Prometheus.
pub const APT: Tool = Tool {
    name: "apt-get",
    probe: &["--version"],
    remedy: "run this on Debian or Ubuntu, or in a container of theirs",
};
/// Node's package manager, which builds the web page and brings what its tests need.
pub const NPM: Tool = Tool {
    name: "npm",
    probe: &["--version"],
    remedy: "install Node with npm (Debian: apt-get install npm)",
};
/// Python with pip, which brings zig.
pub const PIP: Tool = Tool {
    name: "python3",
    probe: &["-m", "pip", "--version"],
    remedy: "install Python 3 with pip (Debian: apt-get install python3-pip)",
};
/// The Go compiler, which builds one of the peers that Keyferry is measured beside.
pub const GO: Tool =
    Tool { name: "go", probe: &["version"], remedy: "install Go (Debian: apt-get install golang-go)" };
/// Valgrind, whose callgrind counts instructions.
pub const VALGRIND: Tool = Tool {
    name: "valgrind",
    probe: &["--version"],
    remedy: "install Valgrind (Debian: apt-get install valgrind)",
};
/// The nightly compiler, which fuzzing needs.
pub const NIGHTLY: Tool = Tool {
    name: "rustup",
    probe: &["run", "nightly", "cargo", "--version"],
    remedy: "install it from https://rustup.rs, and the nightly compiler by `rustup toolchain install nightly`",
};

impl Tool {
    /// Makes sure that the program is there.
    ///
    /// # Errors
    /// [`Error::ToolMissing`] with the remedy.
    pub fn require(&self) -> Result<()> {
        let found = self.command().args(self.probe).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match found {
            Ok(status) if status.success() => Ok(()),
            _ => Err(Error::ToolMissing { tool: self.name, remedy: self.remedy }),
        }
    }

    /// A command that runs the program.
    pub fn command(&self) -> Command {
        Command::new(self.name)
    }
}

/// Runs a command silently; what it printed last is part of the error if it fails.
///
/// # Errors
/// [`Error::CommandFailed`].
pub fn run_silently(command: &mut Command) -> Result<()> {
    output_of(command).map(drop)
}

/// Runs a command and answers what it printed, to standard output and then to standard error.
///
/// # Errors
/// As [`run_silently`].
pub fn output_of(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))?;
    let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
    printed.push_str(&String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        return Ok(printed);
    }
    Err(failed(command, output.status, closing_lines(&printed)))
}

/// Runs a command that prints to the terminal.
///
/// # Errors
/// [`Error::CommandFailed`].
pub fn run_visibly(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if status.success() { Ok(()) } else { Err(failed(command, status, String::new())) }
}

fn closing_lines(printed: &str) -> String {
    let lines: Vec<&str> = printed.lines().collect();
    let first = lines.len().saturating_sub(CLOSING_LINES);
    lines[first..].iter().fold(String::new(), |mut text, line| {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n    {line}");
        text
    })
}

fn failed(command: &Command, status: ExitStatus, output: String) -> Error {
    Error::CommandFailed { command: command_line(command), outcome: status.to_string(), output }
}

fn not_started(command: &Command, error: &io::Error) -> Error {
    Error::CommandFailed {
        command: command_line(command),
        outcome: format!("not started: {error}"),
        output: String::new(),
    }
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_with_its_remedy() {
        let tool = Tool { name: "no-such-program", probe: &[], remedy: "install it" };
        assert_eq!(tool.require().unwrap_err().to_string(), "`no-such-program` is missing: install it");
    }

    #[test]
    fn a_failure_carries_the_closing_lines() {
        let mut command = Command::new("sh");
        command.args(["-c", "seq 100; exit 3"]);
        let error = run_silently(&mut command).unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.ends_with("\n    100") && !error.contains("\n    60\n"), "{error}");
    }
}
