//! What can go wrong in a task. Every message names the thing, the place and the remedy.

use std::io;
use std::path::{Path, PathBuf};

/// The result of a task.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a task stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that the task needs is not installed.
    #[error("`{tool}` is missing: {remedy}")]
    ToolMissing {
        /// The program's name.
        tool: &'static str,
        /// How to get it.
        remedy: &'static str,
    },
    /// A program ran and failed.
    #[error("`{command}` failed ({outcome}){output}")]
    CommandFailed {
        /// The command line.
        command: String,
        /// The exit status in words.
        outcome: String,
        /// The end of what it printed, beginning with a newline, or nothing where it printed to the terminal itself.
        output: String,
    },
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, such as `create`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Neither `KEYFERRY_CACHE`, nor `XDG_CACHE_HOME`, nor `HOME` says where to keep what is fetched.
    #[error("there is no place for what is fetched: set KEYFERRY_CACHE to a directory")]
    NoCache,
    /// The pipeline takes another number of instructions than was committed.
    #[error("{}\nfind out why; where it is meant, commit what `cargo xtask instructions --write` writes to {}", changed.join("\n"), path.display())]
    InstructionsChanged {
        /// The committed numbers.
        path: PathBuf,
        /// Each case that differs, in words.
        changed: Vec<String>,
    },
    /// The page that is committed is not what its sources make.
    #[error("web/dist is stale: run `cargo xtask page` and commit what it builds")]
    StalePage,
    /// The executable is not what Keyferry ships.
    #[error("{} is not an ELF executable: {reason}", path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
        /// What the ELF reader said.
        reason: String,
    },
    /// The executable would not start on the oldest supported system.
    #[error(
        "{} needs {found}, but must run on glibc {newest_allowed}: build it with `cargo xtask dist` (without --native), which links against an older glibc",
        path.display()
    )]
    GlibcTooNew {
        /// The executable.
        path: PathBuf,
        /// The offending symbol versions.
        found: String,
        /// The newest version that may occur.
        newest_allowed: crate::glibc::Version,
    },
    /// The jar is larger than the project promises.
    #[error("{} has {size} bytes, more than the promised {limit}: find out what made it grow", path.display())]
    JarTooLarge {
        /// The jar.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// What the tests on real servers are run with could not be made.
    #[error("there is no jar to test: {0}")]
    NoJar(String),
    /// A build succeeded but did not leave what it should.
    #[error("the build did not leave {}", path.display())]
    NothingBuilt {
        /// What was expected.
        path: PathBuf,
    },
    /// The place of a planted bug is not where the list of bugs says.
    #[error(
        "the bug `{bug}` has {found} places in {}, not one: bring xtask/src/planted/bugs.rs in line with the source",
        path.display()
    )]
    NotPlanted {
        /// The bug's name.
        bug: &'static str,
        /// The file.
        path: PathBuf,
        /// How many places were found.
        found: usize,
    },
    /// Planted bugs were not noticed.
    #[error("no test noticed: {bugs}; write one that does")]
    NotCaught {
        /// Their names.
        bugs: String,
    },
    /// A page has no place for what a task writes into it.
    #[error("{} lacks the lines `{begin}` and `{end}`, between which the figures are written: put them back", path.display())]
    NoSection {
        /// The page.
        path: PathBuf,
        /// The line before.
        begin: String,
        /// The line after.
        end: String,
    },
    /// At least one suite failed; which ones, the summary said.
    #[error("{failed} of {all} suites failed")]
    SuitesFailed {
        /// How many failed.
        failed: usize,
        /// How many ran.
        all: usize,
    },
}

impl Error {
    /// Wraps an [`io::Error`] with what was tried and with what: `.map_err(Error::io("create", &path))`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_owned(), source }
    }
}
