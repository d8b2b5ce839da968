//! The Keyferry agent: carries every committed Keycloak event from the journal to Kafka.
//!
//! This crate is wiring only: it reads the command line, the configuration and the parent's hand-over, puts journal, pipeline
//! and sink together, and sees to it that they end in order. What they do is theirs.
//!
//! - `cli`: the command line.
//! - `handover`: what the provider says on standard input.
//! - `agent`: the agent's own slot, from its lock to its last checkpoint.
//! - `adoption`: slots that were left behind.
//! - `sidecar`: all slots of a journal.
//! - `service`: a slot on its way to every destination.
//! - `shipment`: a slot on its way to one of them.
//! - `tuning`: the tuner of each shipment.
//! - `alerting`: what is worth a person's attention, and what is done about it.
//! - `live`: what runs, for those who look at it and steer it.
//! - `slot_lock`: two agents never serve one slot.
//! - `read_only`: a slot that is only looked at.
//! - `stop`: the word to stop, from a signal or from the parent's end.
//! - `stdout`: a sink for a first look without Kafka.
//! - `journal`, `verify`: the tools that look at a journal and at topics, and change nothing.
//! - `tail`: the events in Kafka, as they arrive.
//! - `top`: a running agent, watched.
//! - `replay`: what was delivered, sent again.
//! - `in_doubt`, `dead_letter`: what an operator decides on.
//! - `control`: the operator's way to a running agent, from both ends.
//! - `doctor`: what is wrong on the whole way, and how it is mended.
//! - `bench`: how fast this machine is, Kafka left out.
//! - `manual`: manual pages and completions.
//! - `configuring`: what is configured, while it changes.
//! - `connection`: how a tool gets to Kafka.
//! - `credentials`: where secrets come from.
//! - `terminal`: what they print for people.

mod adoption;
mod agent;
mod alerting;
mod archiving;
mod bench;
mod cli;
mod configuring;
mod connection;
mod control;
mod credentials;
mod dead_letter;
mod doctor;
mod error;
mod handover;
mod http;
mod in_doubt;
mod journal;
mod live;
mod log;
mod manual;
mod otlp;
mod read_only;
mod replay;
mod schema_registry;
mod service;
mod shipment;
mod sidecar;
mod slot_lock;
mod stdout;
mod stop;
mod tail;
mod terminal;
mod top;
mod tuning;
mod unwanted;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tikv_jemallocator::Jemalloc;

use crate::cli::{Cli, Command, RunArguments};
use crate::error::{Error, Finding, tool_exit_code};

/// jemalloc serves librdkafka as well, which allocates each header of each record: a quarter of a drain's processor time goes to glibc's allocator otherwise.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    keep_memory_private();
    match Cli::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Journal(arguments) => {
            log::init(log::Format::Text);
            finish(&journal::run(&arguments))
        }
        Command::Verify(arguments) => {
            log::init(log::Format::Text);
            finish(&verify::run(&arguments))
        }
        Command::Tail(arguments) => {
            log::init(log::Format::Text);
            finish(&tail::run(&arguments))
        }
        Command::Replay(arguments) => {
            log::init(log::Format::Text);
            finish(&replay::run(&arguments))
        }
        Command::DeadLetter(arguments) => {
            log::init(log::Format::Text);
            finish(&dead_letter::run(&arguments))
        }
        Command::InDoubt(arguments) => {
            log::init(log::Format::Text);
            finish(&in_doubt::run(&arguments))
        }
        Command::Status(arguments) => finish(&control::status(&arguments)),
        Command::Top(arguments) => finish(&top::run(&arguments)),
        Command::Breaker(arguments) => finish(&control::breaker(&arguments)),
        Command::Tuner(arguments) => finish(&control::tuner(&arguments)),
        Command::Pool(arguments) => finish(&control::pool(&arguments)),
        Command::Log(arguments) => finish(&control::log(&arguments)),
        Command::Config(arguments) => finish(&configuring::command::config(&arguments)),
        Command::Alert(arguments) => finish(&alerting::command::alert(&arguments)),
        Command::Incident(arguments) => finish(&alerting::command::incident(&arguments)),
        Command::Check(arguments) => finish(&doctor::check(&arguments)),
        Command::Doctor(arguments) => finish(&doctor::run(&arguments)),
        Command::Bench(arguments) => finish(&bench::run(&arguments)),
        Command::Completions(arguments) => finish(&manual::completions(&arguments)),
        Command::Man(arguments) => finish(&manual::man(&arguments)),
    }
}

/// A core dump would hold every secret, and so does what `/proc` shows of a process's memory to its user: of one that is not dumpable the kernel writes no dump,
/// and shows that to root only.
fn keep_memory_private() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        eprintln!(
            "keyferry: cannot forbid core dumps, which would hold secrets: {error}; forbid them by `ulimit -c 0`"
        );
    }
}

fn run(arguments: &RunArguments) -> ExitCode {
    log::init(arguments.log_format());
    match agent::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            error.exit_code()
        }
    }
}

/// Says why a tool failed, if it did.
fn finish(result: &Result<Finding, Error>) -> ExitCode {
    let code = tool_exit_code(result);
    if let Err(error) = result
        && code != ExitCode::SUCCESS
    {
        eprintln!("keyferry: {error}");
    }
    code
}
