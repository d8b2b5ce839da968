//! Trials on real servers, as many as wanted: each breaks something by a seed and looks for what was lost or invented.
//!
//! Started by `cargo xtask crash`, `io-faults`, `backlog`, `outages`, `tuner`, `bench` and `capture`, which build the jar first. Whatever ends it, its servers end with it (see
//! [`keyferry_tests::process`]).

mod backlog;
mod bench;
mod capture;
mod crash;
mod events;
mod io_faults;
mod load;
mod outages;
mod seed;
mod tuner;

use std::process::ExitCode;
use std::thread;

use clap::{Parser, Subcommand};
use keyferry_tests::{Error, Result, process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Breaks real servers and looks for what was lost or invented.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    trial: Trial,
}

#[derive(Debug, Subcommand)]
enum Trial {
    /// Kill Keycloak, the agent, Kafka, or several of them under load, at a random moment.
    Crash(crash::Arguments),
    /// Let system calls of the writer and of the agent fail.
    IoFaults(io_faults::Arguments),
    /// Start the agent on a large backlog.
    Backlog(backlog::Arguments),
    /// Let Kafka and the way to it fail under load.
    Outages(outages::Arguments),
    /// Compare the tuner's profiles: latency at a low rate, throughput in a drain.
    Tuner(tuner::Arguments),
    /// Measure Keyferry beside its peers.
    Bench(bench::Arguments),
    /// Have Keycloak raise events of as many types as can be, and keep one of each as a golden file.
    Capture(capture::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().trial) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything held.
fn run(trial: Trial) -> Result<bool> {
    end_servers_on_a_signal()?;
    match trial {
        Trial::Crash(arguments) => crash::run(&arguments),
        Trial::IoFaults(arguments) => io_faults::run(&arguments),
        Trial::Backlog(arguments) => backlog::run(&arguments),
        Trial::Outages(arguments) => outages::run(&arguments),
        Trial::Tuner(arguments) => tuner::run(&arguments),
        Trial::Bench(arguments) => bench::run(&arguments),
        Trial::Capture(arguments) => capture::run(&arguments),
    }
}

/// Servers live in process groups of their own, which Ctrl-C does not reach.
fn end_servers_on_a_signal() -> Result<()> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Error::io("watch the signals of", "this process"))?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            process::kill_all();
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
