//! The log: standard error, text for people, one JSON object a line for the provider and for log collectors.

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use clap::ValueEnum;
use keyferry_config::LogLevel;
use tracing_subscriber::EnvFilter;

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
    let builder = tracing_subscriber::fmt().with_writer(io::stderr).log_internal_errors(false);
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

/// Logs from now on what is at least as severe as `level`.
pub fn set_level(level: LogLevel) {
    if std::env::var_os(DIRECTIVES).is_none()
        && let Some(set) = SET_FILTER.get()
    {
        set(EnvFilter::new(format!("{},{AUDIT},{SIGNER}", level.as_str())));
    }
}
