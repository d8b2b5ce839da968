//! Running the built binary.

#![allow(dead_code, reason = "each test program uses its part")]

pub mod running;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The built binary, its output not a terminal, without what the environment could tell it.
pub fn keyferry(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.current_dir(directory).args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let prefixed =
            name.to_str().is_some_and(|name| name.starts_with("KEYFERRY_") || name.starts_with("KAFKA_"));
        if prefixed || name == "NO_COLOR" || name == "CLICOLOR_FORCE" {
            command.env_remove(name);
        }
    }
    command
}

/// What a run printed, and how it ended, as text.
pub fn transcript(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text.push_str(&format!("exit code {}\n", output.status.code().unwrap_or(-1)));
    text
}
