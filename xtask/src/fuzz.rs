//! Fuzzing: every target for a while, from the corpus that is kept in `fuzz/corpus`.
//!
//! The fuzz targets are a package of their own outside of the workspace, because they need the nightly compiler, and nothing else may.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use clap::Args;

use crate::cache::Cache;
use crate::parts::CargoTool;
use crate::tool::{self, NIGHTLY};
use crate::{Error, Result, progress, workspace};

/// Inputs are not made longer than this, in bytes: a whole segment of several records fits, and each takes microseconds to read.
const LONGEST_INPUT: usize = 16 << 10;
/// A target that needs more than this for one input has found something, in seconds.
const SLOWEST_INPUT: u32 = 10;

/// What `cargo xtask fuzz` understands.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The targets to run [default: all].
    targets: Vec<String>,
    /// How long each target is fuzzed.
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Add the inputs that reach something new to the corpus, and drop those that have become superfluous.
    #[arg(long)]
    grow: bool,
}

/// Fuzzes the targets, two at a time: a fuzzer is busy with one processor. Inputs that make one fail are left in `fuzz/artifacts`.
///
/// # Errors
/// [`Error::ToolMissing`] without the nightly compiler, [`Error::CommandFailed`] where a target fails or does not build.
pub fn run(cache: &Cache, arguments: &Arguments) -> Result<()> {
    NIGHTLY.require()?;
    let fuzzer = Fuzzer { program: CargoTool::Fuzz.fetch(cache)?, grow: arguments.grow };
    let targets = if arguments.targets.is_empty() { fuzzer.targets()? } else { arguments.targets.clone() };
    progress::step("build the fuzz targets", || tool::run_silently(&mut fuzzer.command("build")))?;
    for pair in targets.chunks(2) {
        progress::step(&format!("fuzz {} for {} s", pair.join(" and "), arguments.seconds), || {
            fuzzer.fuzz_at_once(pair, arguments.seconds)
        })?;
    }
    for target in targets.iter().filter(|_| arguments.grow) {
        progress::step(&format!("minimise the corpus of {target}"), || fuzzer.minimise(target))?;
    }
    println!("{} targets, {} s each, nothing found", targets.len(), arguments.seconds);
    Ok(())
}

/// cargo-fuzz and how it is used here.
struct Fuzzer {
    program: PathBuf,
    grow: bool,
}

impl Fuzzer {
    /// The names of all targets.
    fn targets(&self) -> Result<Vec<String>> {
        let directory = directory().join("fuzz_targets");
        let mut names = Vec::new();
        for entry in fs::read_dir(&directory).map_err(Error::io("list", &directory))? {
            let path = entry.map_err(Error::io("list", &directory))?.path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Fuzzes several targets beside each other, all to their end.
    fn fuzz_at_once(&self, targets: &[String], seconds: u32) -> Result<()> {
        thread::scope(|scope| {
            let running: Vec<_> =
                targets.iter().map(|target| scope.spawn(move || self.fuzz(target, seconds))).collect();
            let outcomes: Vec<_> = running.into_iter().map(thread::ScopedJoinHandle::join).collect();
            outcomes
                .into_iter()
                .try_for_each(|outcome| outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    fn fuzz(&self, target: &str, seconds: u32) -> Result<()> {
        let corpus = directory().join("corpus").join(target);
        fs::create_dir_all(&corpus).map_err(Error::io("create", &corpus))?;
        let found = tempfile::tempdir().map_err(Error::io("create", "a temporary directory"))?;
        let mut command = self.command("run");
        command.arg(target);
        // The first directory takes what is found; the others are only read.
        if !self.grow {
            command.arg(found.path());
        }
        command.arg(&corpus).args([
            "--".to_owned(),
            format!("-max_total_time={seconds}"),
            format!("-max_len={LONGEST_INPUT}"),
            format!("-timeout={SLOWEST_INPUT}"),
            "-rss_limit_mb=2048".to_owned(),
        ]);
        tool::run_silently(&mut command)
    }

    /// Keeps one input for each thing that is reached, however often it is: what a run needs to begin with, and no more.
    fn minimise(&self, target: &str) -> Result<()> {
        tool::run_silently(self.command("cmin").args([target, "--", "-use_counters=0"]))
    }

    fn command(&self, task: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["fuzz", task, "--fuzz-dir"]).arg(directory());
        // The variables by which Cargo tells this program of its own build mean nothing to the other one.
        command.env("RUSTUP_TOOLCHAIN", "nightly").env_remove("CARGO").stdin(Stdio::null());
        command.current_dir(workspace::root());
        command
    }
}

/// The package of the fuzz targets.
fn directory() -> PathBuf {
    Path::new(workspace::root()).join("fuzz")
}
