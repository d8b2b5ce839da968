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

/// Standard output of a run that succeeds.
pub fn output(directory: &Path, arguments: &[&str]) -> String {
    let output = keyferry(directory, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands below `path`, as its help lists them.
fn commands(help: &str) -> Vec<String> {
    let listed = help.split_once("Commands:\n").map_or("", |(_, rest)| rest);
    let listed = listed.split("\n\n").next().unwrap_or_default().lines();
    // A name stands two columns from the edge; what wraps stands farther in.
    let names = listed.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(ToOwned::to_owned)
        .collect()
}

/// The path of every command.
pub fn all_commands() -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut unseen = vec![Vec::new()];
    while let Some(path) = unseen.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("-h");
        let below = commands(&output(Path::new("."), &arguments));
        unseen.extend(below.into_iter().map(|name| [path.clone(), vec![name]].concat()));
        found.push(path);
    }
    found
}

/// The short help of the command `path`.
pub fn help(path: &[&str]) -> String {
    output(Path::new("."), &[path, &["-h"]].concat())
}
