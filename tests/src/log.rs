//! Reading servers' logs.

use std::fs;
use std::path::Path;

const TAIL_LINES: usize = 40;

/// The last lines of a log, or nothing where there is none.
pub fn tail(path: &Path) -> String {
    let text = read(path);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// The whole log; what is not UTF-8 is replaced.
pub fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The lines that contain `text`.
pub fn lines_with(path: &Path, text: &str) -> Vec<String> {
    read(path).lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}
