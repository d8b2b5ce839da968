//! The trials on real servers, which `keyferry-trials` in the package of the end-to-end tests runs.
//!
//! They take this process's place, so that Ctrl-C reaches them alone and nothing waits for them.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::cache::Cache;
use crate::dist::{self, Build};
use crate::tool::{self, CARGO};
use crate::{Error, Result, parts, progress, workspace};

/// The variable that names a jar which is already built.
const JAR: &str = "JAR_UNDER_TEST";

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
    parts::kafka(cache)?;
    let jar = match env::var_os(JAR) {
        Some(jar) => PathBuf::from(jar),
        None => dist::dist(cache, &Build::Portable(Vec::new()))?,
    };
    progress::step("build the trials", || {
        let mut cargo = CARGO.command();
        // As the tests have it built: with the features that only they ask for, so that no dependency is compiled a second time.
        cargo.args(["test", "--workspace", "--no-run", "--test", "promises"]);
        tool::run_silently(cargo.current_dir(workspace::root()))
    })?;
    let mut trials = Command::new(workspace::target().join("debug/keyferry-trials"));
    trials.arg(trial).args(&passed_on.arguments).env(JAR, jar);
    let error = trials.exec();
    Err(Error::io("start", trials.get_program())(error))
}
