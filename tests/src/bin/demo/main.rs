//! The demo: Keycloak with Keyferry and Kafka on this machine, some events, and what a consumer reads.
//!
//! Started by `cargo xtask demo`, which builds the jar first. Whatever ends it, its servers end with it (see [`keyferry_tests::process`]).

mod show;

use std::process::ExitCode;
use std::sync::mpsc::{self, Sender};
use std::thread;

use clap::Parser;
use keyferry_tests::{Error, Result, process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tempfile::TempDir;

use crate::show::Show;

/// Shows Keyferry at work.
#[derive(Debug, Parser)]
struct Arguments {
    /// End after the show, successfully only if every expected event arrived.
    #[arg(long)]
    once: bool,
}

/// What ends the demo.
enum End {
    /// The show is over, well or not.
    Over(Result<()>),
    /// Somebody asked it to end.
    Signal(i32),
}

fn main() -> ExitCode {
    match run(Arguments::parse().once) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The servers live on a thread of their own, so that a signal can end them at any moment, even while they start.
fn run(once: bool) -> Result<ExitCode> {
    let directory = tempfile::Builder::new()
        .prefix("keyferry-demo-")
        .tempdir()
        .map_err(Error::io("create a temporary directory in", std::env::temp_dir()))?;
    let (sender, ends) = mpsc::channel();
    watch_signals(sender.clone())?;
    let place = directory.path().to_owned();
    thread::spawn(move || {
        let result = Show::prepare(&place).and_then(|show| show.run(once));
        // The receiver is gone only when a signal has already ended the demo.
        let _ = sender.send(End::Over(result));
    });
    let code = match ends.recv() {
        Ok(End::Over(result)) => result.map(|()| ExitCode::SUCCESS),
        Ok(End::Signal(signal)) => Ok(exit_code(signal, once)),
        Err(_) => Ok(ExitCode::FAILURE),
    };
    clean_up(directory)?;
    code
}

fn watch_signals(sender: Sender<End>) -> Result<()> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Error::io("watch the signals of", "this process"))?;
    thread::spawn(move || {
        for signal in signals.forever() {
            // As above.
            let _ = sender.send(End::Signal(signal));
        }
    });
    Ok(())
}

/// Ctrl-C is how the demo is meant to end, unless it was to end by itself.
fn exit_code(signal: i32, once: bool) -> ExitCode {
    if once { ExitCode::from(128 + signal as u8) } else { ExitCode::SUCCESS }
}

fn clean_up(directory: TempDir) -> Result<()> {
    process::kill_all();
    let path = directory.path().to_owned();
    directory.close().map_err(Error::io("remove", path))
}
