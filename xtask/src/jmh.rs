//! The benchmarks of the provider, which JMH runs.

use std::path::Path;

use crate::tool::{self, JAVA, MAVEN};
use crate::{Result, progress, workspace};

/// Compiles the provider with its benchmarks, runs them with these options of JMH, and leaves what was measured as JSON in `result`.
///
/// # Errors
/// [`crate::Error::ToolMissing`]; [`crate::Error::CommandFailed`] where something does not compile or a benchmark fails.
pub fn run(options: &[&str], result: &Path) -> Result<()> {
    JAVA.require()?;
    MAVEN.require()?;
    progress::step("run the provider's benchmarks", || {
        let mut maven = MAVEN.command();
        maven.args(["--quiet", "--batch-mode", "--no-transfer-progress", "-P", "jmh"]);
        maven.arg(format!(
            "-Dkeyferry.jmh=-foe true -rf json -rff {} {}",
            result.display(),
            options.join(" ")
        ));
        maven.args(["test-compile", "exec:exec"]);
        tool::run_silently(maven.current_dir(workspace::provider()))
    })
}
