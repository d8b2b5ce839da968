//! What each command says of itself, and what is generated from that.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;

use support::keyferry;

/// Standard output of a run that succeeds.
fn output(directory: &Path, arguments: &[&str]) -> String {
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
fn all_commands() -> Vec<Vec<String>> {
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

#[test]
fn every_command_explains_itself() {
    let all = all_commands();
    let is_there = |path: &[&str]| all.iter().any(|found| found == path);
    assert!(
        is_there(&["pool", "resize"]) && is_there(&["journal", "ls"]) && is_there(&["status"]),
        "{all:?}"
    );
    for path in all {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        let name = ["help"].iter().chain(&arguments).copied().collect::<Vec<_>>().join("-");
        arguments.push("--help");
        insta::assert_snapshot!(name, output(Path::new("."), &arguments));
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    output(directory.path(), &["man", "pages"]);
    let page = |name: &str| fs::read_to_string(directory.path().join("pages").join(name)).unwrap();
    for path in all_commands() {
        let name =
            ["keyferry"].into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join("-");
        assert!(page(&format!("{name}.1")).starts_with(".ie"), "{name}");
    }
    assert!(page("keyferry-pool-resize.1").contains("How many"), "a page has what the help has");
    assert!(output(directory.path(), &["man"]).contains(".TH keyferry 1"));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = output(Path::new("."), &["completions", shell]);
        assert!(script.contains("breaker") && script.contains("resize"), "{shell}");
    }
}
