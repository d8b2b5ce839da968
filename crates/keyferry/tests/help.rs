//! What each command says of itself, and what is generated from that.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;

use support::{all_commands, output};

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
