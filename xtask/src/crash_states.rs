//! Crash states: the real writer's file operations are recorded, and what every crash could have left of them is read.
//!
//! The recording is a test of the provider, the reading a program of the workspace; this is how the two are put together.

use std::fs;

use clap::Args;

use crate::tool::{self, CARGO, JAVA, MAVEN};
use crate::{Error, Result, progress, workspace};

/// What `cargo xtask crash-states` understands.
#[derive(Debug, Args)]
pub struct Arguments {
    /// How many workloads are recorded.
    #[arg(long, default_value_t = 20)]
    workloads: u32,
    /// The seed of the first workload; those after it count on.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Falsify the recordings as a faulty writer would have made them; then the task fails, or the check is worth nothing.
    #[arg(long)]
    plant: Option<String>,
}

/// Records the workloads and reads their crash states.
///
/// # Errors
/// [`Error::CommandFailed`] where a promise is broken in one of them.
pub fn run(arguments: &Arguments) -> Result<()> {
    JAVA.require()?;
    MAVEN.require()?;
    let traces = workspace::target().join("crash-states");
    if traces.exists() {
        fs::remove_dir_all(&traces).map_err(Error::io("remove", &traces))?;
    }
    fs::create_dir_all(&traces).map_err(Error::io("create", &traces))?;
    progress::step(&format!("record {} workloads", arguments.workloads), || {
        let mut maven = MAVEN.command();
        maven.args(["--quiet", "--batch-mode", "--no-transfer-progress", "test"]);
        maven.arg("-Dtest=CrashStateTest").arg("-Dsurefire.failIfNoSpecifiedTests=true");
        maven.arg(format!("-Dkeyferry.traces={}", traces.display()));
        maven.arg(format!("-Dkeyferry.workloads={}", arguments.workloads));
        maven.arg(format!("-Dkeyferry.seed={}", arguments.seed));
        tool::run_silently(maven.current_dir(workspace::provider()))
    })?;
    progress::step("build the reader of crash states", || {
        tool::run_silently(cargo("build").current_dir(workspace::root()))
    })?;
    let mut reader = cargo("run");
    reader.arg("--").arg(&traces).args(arguments.plant.iter().flat_map(|plant| ["--plant", plant]));
    tool::run_visibly(reader.current_dir(workspace::root()))
}

/// Optimised, because there are some hundred thousand states; without the whole program's optimisation, because that takes longer than
/// they do.
fn cargo(task: &str) -> std::process::Command {
    let mut cargo = CARGO.command();
    cargo.args([task, "--quiet", "--release", "--package", "keyferry-crashstates"]);
    cargo.args(["--config", "profile.release.lto=false", "--config", "profile.release.codegen-units=16"]);
    cargo
}
