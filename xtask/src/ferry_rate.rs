//! The pipeline without disk and network: an example of `keyferry-pipeline` that prints how many events pass in a second of processor time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tool::{self, CARGO};
use crate::{Error, Result, progress, workspace};

const EXAMPLE: &str = "ferry_rate";

/// Builds the program in one of several ways, and puts it where another one will not replace it.
///
/// # Errors
/// [`Error::CommandFailed`] where the build fails.
pub fn build(way: &str, features: &[&str]) -> Result<PathBuf> {
    let place = workspace::target().join("ferry-rate");
    progress::step(&format!("build the pipeline {way} metrics"), || {
        let mut cargo = CARGO.command();
        cargo.args(["build", "--quiet", "--release", "--package", "keyferry-pipeline", "--example", EXAMPLE]);
        // With the names of its functions, by which callgrind finds what it counts.
        cargo
            .args(["--target-dir".as_ref(), place.as_os_str()])
            .args(features)
            .env("CARGO_PROFILE_RELEASE_STRIP", "none");
        tool::run_silently(cargo.current_dir(workspace::root()))
    })?;
    let (built, kept) = (place.join("release/examples").join(EXAMPLE), place.join(way));
    fs::copy(&built, &kept).map_err(Error::io("copy", &built))?;
    Ok(kept)
}

/// Events a second of processor time in a case that the program knows.
///
/// # Errors
/// [`Error::CommandFailed`] where the program fails or says no rate.
pub fn measure(program: &Path, case: &str) -> Result<f64> {
    let failed = |outcome: String| Error::CommandFailed {
        command: format!("{} {case}", program.display()),
        outcome,
        output: String::new(),
    };
    let output = Command::new(program).arg(case).output().map_err(Error::io("start", program))?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().map_err(|_| failed(format!("{}, and no rate: {said:?}", output.status)))
}
