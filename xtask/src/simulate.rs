//! The seeded simulation: the whole way of an event over a simulated disk, clock and Kafka (`crates/keyferry-simulation`).

use std::ffi::OsString;
use std::process::Command;

use clap::Args;

use crate::tool::{self, CARGO};
use crate::{Result, progress, workspace};

/// What the simulation understands; it says so itself when asked for `--help`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    /// Passed on.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds the simulation and plays the seeds.
///
/// # Errors
/// [`Error::CommandFailed`](crate::Error::CommandFailed) where a seed breaks a promise.
pub fn run(arguments: &Arguments) -> Result<()> {
    progress::step("build the simulation", || {
        tool::run_silently(cargo("build").current_dir(workspace::root()))
    })?;
    let mut simulation = Command::new(workspace::target().join("release/keyferry-simulation"));
    tool::run_visibly(simulation.args(&arguments.arguments).current_dir(workspace::root()))
}

/// Optimised, because there are thousands of histories; without the whole program's optimisation, because that takes longer than they do.
pub(crate) fn cargo(task: &str) -> Command {
    let mut cargo = CARGO.command();
    cargo.args([task, "--quiet", "--release", "--package", "keyferry-simulation"]);
    cargo.args(["--config", "profile.release.lto=false", "--config", "profile.release.codegen-units=16"]);
    cargo
}
