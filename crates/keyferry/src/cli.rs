//! The command line. One definition gives the parser, the help and, later, man pages and completions.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::log::Format;

/// Carries every committed Keycloak event from the journal to Kafka.
#[derive(Debug, Parser)]
#[command(name = "keyferry", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the agent can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ship a slot of the journal until told to stop (SIGTERM, SIGINT, or the end of the parent).
    ///
    /// Exit codes: 0 stopped in order, 64 usage or hand-over, 65 journal damaged or of a later version, 70 internal error,
    /// 73 the slot is served by another agent, 74 input/output error on the journal.
    Run(RunArguments),
}

/// The arguments of `keyferry run`.
#[derive(Args, Debug)]
pub struct RunArguments {
    /// Run as the child of the Keycloak provider: slot and options arrive as one line on standard input, whose end means stop.
    #[arg(long, conflicts_with_all = ["slot", "config"], required_unless_present = "slot")]
    pub child: bool,
    /// The slot directory to ship, such as `/opt/keycloak/data/keyferry/slot-0`.
    #[arg(long, value_name = "DIR")]
    pub slot: Option<PathBuf>,
    /// The configuration file (TOML). Without it, defaults and the environment.
    #[arg(long, value_name = "FILE", env = "KEYFERRY_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where records go.
    #[arg(long, value_enum, default_value_t = SinkKind::Kafka)]
    pub sink: SinkKind,
    /// Print records instead of shipping them, and leave no checkpoint: the same as `--sink stdout`.
    #[arg(long)]
    pub dry_run: bool,
    /// How the log on standard error looks. Default: `json` for a child, else `text`.
    #[arg(long, value_enum)]
    pub log_format: Option<Format>,
}

/// Where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SinkKind {
    /// To Kafka.
    Kafka,
    /// To standard output, one JSON object a record, without touching the checkpoint.
    Stdout,
}

impl RunArguments {
    /// The format of the log.
    pub fn log_format(&self) -> Format {
        self.log_format.unwrap_or(if self.child { Format::Json } else { Format::Text })
    }

    /// Where records go.
    pub fn sink(&self) -> SinkKind {
        if self.dry_run { SinkKind::Stdout } else { self.sink }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_run_needs_a_slot_or_a_parent() {
        assert!(Cli::try_parse_from(["keyferry", "run"]).is_err());
        assert!(Cli::try_parse_from(["keyferry", "run", "--child", "--slot", "x"]).is_err());
        assert!(Cli::try_parse_from(["keyferry", "run", "--slot", "x"]).is_ok());
        assert!(Cli::try_parse_from(["keyferry", "run", "--child"]).is_ok());
    }
}
