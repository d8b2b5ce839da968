//! How long steps show that they are alive: a spinner on a terminal, plain lines elsewhere (in CI's log).

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Runs one step, showing `doing` while it lasts and how it ended.
///
/// # Errors
/// What the step returns.
pub fn step<T, E>(doing: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let spinner = spinner(doing);
    let start = Instant::now();
    let result = work();
    spinner.finish_and_clear();
    let mark = if result.is_ok() { "✓" } else { "✗" };
    eprintln!("{mark} {doing} ({})", seconds(start.elapsed()));
    result
}

/// A duration as a reader of a log likes it.
pub fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

fn spinner(doing: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        eprintln!("… {doing}");
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        spinner.set_style(style);
    }
    spinner.set_message(doing.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
