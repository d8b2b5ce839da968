//! The Keyferry agent: carries every committed Keycloak event from the journal to Kafka.
//!
//! This crate is wiring only: it reads the command line, the configuration and the parent's hand-over, puts journal, pipeline
//! and sink together, and sees to it that they end in order. What they do is theirs.
//!
//! - `cli`: the command line.
//! - `handover`: what the provider says on standard input.
//! - `agent`: one slot, from its lock to its last checkpoint.
//! - `read_only`: a slot that is only looked at.
//! - `stop`: the word to stop, from a signal or from the parent's end.
//! - `stdout`: a sink for a first look without Kafka.

mod agent;
mod cli;
mod error;
mod handover;
mod log;
mod read_only;
mod stdout;
mod stop;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Command::Run(arguments) = cli.command;
    log::init(arguments.log_format());
    match agent::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            error.exit_code()
        }
    }
}
