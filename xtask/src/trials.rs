//! The trials on real servers, which `keyferry-trials` in the package of the end-to-end tests runs.
//!
//! They take this process's place, so that Ctrl-C reaches them alone and nothing waits for them.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;

use crate::cache::Cache;
use crate::dist::{self, Build};
use crate::tool::{self, CARGO};
use crate::{Error, Result, parts, progress, workspace};

/// The variable that names a jar which is already built.
const JAR: &str = "JAR_UNDER_TEST";
/// The variable that names an agent which is already built.
const AGENT: &str = "AGENT_UNDER_TEST";

/// What `keyferry-trials` understands; it says so itself when asked for `--help`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct PassedOn {
    /// Passed on.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds what the trials need and becomes `keyferry-trials`. Tests the jar that the variable `JAR_UNDER_TEST` names, or builds the one that ships.
///
/// # Errors
/// Missing tools, failed builds.
pub fn run(cache: &Cache, trial: &str, passed_on: &PassedOn) -> Result<()> {
    parts::Keycloak::V26_7.fetch(cache)?;
    become_trial(cache, trial, passed_on, env::var_os(JAR).is_some(), &mut CARGO.command())
}

/// As [`run`], without Keycloak, and with the load and the clients compiled as optimised as what they measure: they share the machine with it. The agent that
/// the variable `AGENT_UNDER_TEST` names needs no jar.
///
/// # Errors
/// As there.
pub fn measure(cache: &Cache, trial: &str, passed_on: &PassedOn) -> Result<()> {
    let is_built = env::var_os(JAR).is_some() || env::var_os(AGENT).is_some();
    let mut cargo = CARGO.command();
    cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", "3");
    become_trial(cache, trial, passed_on, is_built, &mut cargo)
}

fn become_trial(
    cache: &Cache,
    trial: &str,
    passed_on: &PassedOn,
    is_built: bool,
    cargo: &mut Command,
) -> Result<()> {
    parts::kafka(cache)?;
    let mut trials = Command::new(workspace::target().join("debug/keyferry-trials"));
    trials.arg(trial).args(&passed_on.arguments);
    if !is_built {
        trials.env(JAR, dist::dist(cache, &Build::Portable(Vec::new()))?);
    }
    progress::step("build the trials", || {
        // As the tests have it built: with the features that only they ask for, so that no dependency is compiled a second time.
        cargo.args(["test", "--workspace", "--no-run", "--test", "promises"]);
        tool::run_silently(cargo.current_dir(workspace::root()))
    })?;
    let error = trials.exec();
    Err(Error::io("start", trials.get_program())(error))
}
