//! The log: standard error, text for people, one JSON object a line for the provider and for log collectors.
//!
//! The invariant: **a log that says the same again and again stays short and loses nothing**: what is held back is counted, and the next line of its kind tells how often. What operators
//! changed is never held back.
//!
//! - `repeats`: what passes, and what was said last.

mod repeats;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, IsTerminal as _};
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use clap::ValueEnum;
use keyferry_config::LogLevel;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::shipment::wall_ms;
use repeats::{Repeats, Verdict};

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Sets another filter of a log that has begun.
static SET_FILTER: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// What a developer looks for, module by module (`info,keyferry_kafka=debug`); it wins over the configuration.
const DIRECTIVES: &str = "RUST_LOG";

/// What operators change is told at every level.
const AUDIT: &str = "keyferry_server::audit=info";

/// The library that signs tokens for AWS tells what it signs, and a session token is among it.
const SIGNER: &str = "aws_sigv4=off";

/// Begins logging, at level `info` until [`set_level`] says otherwise.
pub fn init(format: Format) {
    let asked = std::env::var(DIRECTIVES).unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(format!("{asked},{SIGNER}"))
        .unwrap_or_else(|_| EnvFilter::new(format!("info,{SIGNER}")));
    // Whoever read the log may be gone, as a parent that was killed is: a line that nobody reads is no reason to panic.
    let builder = tracing_subscriber::fmt().with_writer(Lines).log_internal_errors(false);
    match format {
        Format::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let builder = builder.with_ansi(colours).with_target(false);
            let builder = builder.with_env_filter(filter).with_filter_reloading();
            keep(builder.reload_handle());
            builder.init();
        }
        Format::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(true).with_span_list(false);
            let builder = builder.with_env_filter(filter).with_filter_reloading();
            keep(builder.reload_handle());
            builder.init();
        }
    }
}

fn keep<S: 'static>(handle: tracing_subscriber::reload::Handle<EnvFilter, S>) {
    // Only the first log of a process counts, and there is one. A handle fails only when its log is gone.
    let _ = SET_FILTER.set(Box::new(move |filter| drop(handle.reload(filter))));
}

/// Logs from now on what is at least as severe as `level`. Whether it does: a developer's directives are stronger.
pub fn set_level(level: LogLevel) -> bool {
    let Some(set) = SET_FILTER.get().filter(|_| std::env::var_os(DIRECTIVES).is_none()) else { return false };
    set(EnvFilter::new(format!("{},{AUDIT},{SIGNER}", level.as_str())));
    true
}

/// The last lines, the oldest first.
pub fn last_lines() -> Vec<String> {
    said().last().map(str::to_owned).collect()
}

fn said() -> MutexGuard<'static, Repeats> {
    static SAID: LazyLock<Mutex<Repeats>> = LazyLock::new(Mutex::default);
    SAID.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes lines to standard error, those that pass.
#[derive(Debug)]
struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

/// Each write is a line.
impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let verdict = if is_audit(&text) { Verdict::Passes(0) } else { said().say(kind(&text), wall_ms()) };
        let Verdict::Passes(held_back) = verdict else { return Ok(line.len()) };
        let told = told(text.trim_end(), held_back);
        said().keep(told.clone());
        io::stderr().lock().write_all(format!("{told}\n").as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn is_audit(line: &str) -> bool {
    line.contains("audit: ")
}

/// What makes a line the same as another one: everything but its time, which comes first in both forms.
fn kind(line: &str) -> u64 {
    let end = if line.starts_with('{') { ',' } else { ' ' };
    let mut hasher = DefaultHasher::new();
    line.split_once(end).map_or(line, |(_, rest)| rest).hash(&mut hasher);
    hasher.finish()
}

/// The line, and how many of its like were held back before it.
fn told(line: &str, held_back: u64) -> String {
    match (held_back, line.strip_suffix('}').filter(|line| line.starts_with('{'))) {
        (0, _) => line.to_owned(),
        (_, Some(object)) => format!("{object},\"held_back\":{held_back}}}"),
        (_, None) => format!("{line} (and {held_back} more times before)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_differ_by_more_than_their_time() {
        let text = |time: &str, what: &str| kind(&format!("{time}  WARN {what}\n"));
        assert_eq!(text("2026-01-01T00:00:00Z", "no broker"), text("2026-01-01T00:00:07Z", "no broker"));
        assert_ne!(text("2026-01-01T00:00:00Z", "no broker"), text("2026-01-01T00:00:00Z", "no topic"));
        let json = |time: &str| {
            kind(&format!("{{\"timestamp\":\"{time}\",\"level\":\"WARN\",\"message\":\"m\"}}\n"))
        };
        assert_eq!(json("1"), json("2"));
    }

    #[test]
    fn what_was_held_back_is_told_in_both_forms() {
        assert_eq!(told("2026 WARN m", 3), "2026 WARN m (and 3 more times before)");
        let json = told("{\"message\":\"m\"}", 3);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["held_back"], 3);
        assert_eq!(told("m", 0), "m");
    }
}
