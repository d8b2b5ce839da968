//! Why the agent ends before it is told to, and with which exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use keyferry_kafka::consume::ConsumeError;
use keyferry_pipeline::RunError;
use keyferry_server::ClientError;

/// Why the agent ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The parent's line on standard input is not what `docs/provider-agent.md` specifies.
    #[error(
        "the hand-over on standard input is not understood: {0}; agent and provider must be of one release"
    )]
    HandOver(String),
    /// The configuration is wrong.
    #[error(transparent)]
    Configuration(#[from] keyferry_config::ConfigErrors),
    /// The configuration lacks something.
    #[error("{0}")]
    Incomplete(String),
    /// The Kafka client refuses the configuration.
    #[error("{0}")]
    Sink(String),
    /// Settings that decide on batches do not go together.
    #[error("{0}")]
    Tuning(String),
    /// The journal cannot be read, or is served by another agent.
    #[error(transparent)]
    Journal(#[from] keyferry_journal::Error),
    /// The run ended in an error.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(#[source] std::io::Error),
    /// There is no timer.
    #[error("cannot make a timer: {0}")]
    Timer(#[source] rustix::io::Errno),
    /// What a tool was given is neither a journal nor a slot.
    #[error(
        "{0} is neither a journal directory (it has no slot-0, slot-1, …) nor a slot directory (it has no segments); \
         give the directory that the provider's option journal-dir names"
    )]
    NoJournal(PathBuf),
    /// A directory, or a file in it, cannot be read or written.
    #[error("cannot use {path}: {source}; run this as the owner of the journal directory", path = .path.display())]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The archive cannot be read.
    #[error(
        "cannot read the archive {path}: {source}; mount what belongs there, or say by `--archive` where it is", path = .path.display()
    )]
    Archive {
        /// Where it should be.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A tool cannot print.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
    /// The numbers of records cannot be worked out.
    #[error(
        "the records of epoch {epoch} cannot be sent again with their numbers: by the journal and this configuration, number {counted} follows where number {known} did; \
         give the configuration that the agent had then (topics, in-doubt, gap-records)"
    )]
    Numbers {
        /// The epoch.
        epoch: keyferry_journal::Epoch,
        /// The number by count.
        counted: u64,
        /// The number that the agent wrote down.
        known: u64,
    },
    /// A replay ended before its end.
    #[error(
        "the replay ended after {sent} records: {reason}; what was sent is marked as a replay, and may be sent once more"
    )]
    Replay {
        /// Records that are in Kafka.
        sent: u64,
        /// What happened.
        reason: String,
    },
    /// Another command decides on the dead letters of a slot.
    #[error("another `keyferry dead-letter` is at work in {path}; try again when it has ended", path = .0.display())]
    Busy(PathBuf),
    /// Not all dead letters could be sent.
    #[error(
        "{delivered} dead letters are delivered and taken out, {left} stay in the file: {reason}; try again when that is mended"
    )]
    Retry {
        /// Those that Kafka has taken.
        delivered: u64,
        /// Those that stay.
        left: usize,
        /// What happened.
        reason: String,
    },
    /// Topics cannot be read to their end.
    #[error(transparent)]
    Topics(#[from] ConsumeError),
    /// A running agent does not answer, or refuses what it is asked.
    #[error(transparent)]
    Agent(#[from] ClientError),
    /// Rules, or tests of them, cannot be read.
    #[error(transparent)]
    Alerts(#[from] keyferry_alert::Error),
    /// There is no running agent to ask.
    #[error("no agent is running for {}; `keyferry status` tells what was written down last", .0.display())]
    NoAgent(PathBuf),
    /// Several agents serve a journal, and only one can be watched.
    #[error("several agents serve {}; name the slot of one: {slots}", .path.display())]
    WhichAgent {
        /// The journal.
        path: PathBuf,
        /// Where they are.
        slots: String,
    },
    /// There is nothing to draw on.
    #[error(
        "standard output is no terminal, so nothing can be drawn on it; print one picture by `--once`, or JSON by `--json`"
    )]
    NoTerminal,
    /// The terminal does not do what is asked of it.
    #[error("cannot set up the terminal: {0}; print one picture by `--once`")]
    Terminal(#[source] rustix::io::Errno),
    /// The agent has no destination yet.
    #[error("the agent at {} ships nothing yet", .0.display())]
    NothingShipped(PathBuf),
    /// A change is for one destination, and there are several.
    #[error("there are several destinations: give `--destination` and one of {0}")]
    WhichDestination(String),
}

/// What a tool that looks for something wrong has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// Nothing.
    Nothing,
    /// Something.
    Something,
}

/// The exit code of a tool: 0 all is well, 1 something was found or the agent refuses what it is asked, 2 what it looks at cannot be read.
pub fn tool_exit_code(result: &Result<Finding, Error>) -> ExitCode {
    ExitCode::from(match result {
        Ok(Finding::Nothing) => 0,
        Ok(Finding::Something) => 1,
        // The reader of the output (`head`, a pager) has seen enough.
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(Error::Agent(ClientError::Problem(_))) => 1,
        Err(_) => 2,
    })
}

impl Error {
    /// The exit code, see `docs/provider-agent.md`; the numbers are those of BSD's sysexits(3).
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::HandOver(_)
            | Self::Configuration(_)
            | Self::Incomplete(_)
            | Self::Sink(_)
            | Self::Tuning(_) => 64,
            Self::Journal(keyferry_journal::Error::Locked { .. }) => 73,
            Self::Journal(error)
            | Self::Run(RunError::Pipeline(keyferry_pipeline::Error::Journal(error))) => {
                if matches!(error, keyferry_journal::Error::Io { .. }) { 74 } else { 65 }
            }
            Self::Run(RunError::Pipeline(keyferry_pipeline::Error::Aside { .. }))
            | Self::NoJournal(_)
            | Self::Directory { .. }
            | Self::Archive { .. } => 74,
            Self::Run(RunError::Wait(_))
            | Self::Signals(_)
            | Self::Timer(_)
            | Self::Output(_)
            | Self::Numbers { .. }
            | Self::Replay { .. }
            | Self::Busy(_)
            | Self::Retry { .. }
            | Self::Topics(_)
            | Self::Agent(_)
            | Self::Alerts(_)
            | Self::NoAgent(_)
            | Self::WhichAgent { .. }
            | Self::NoTerminal
            | Self::Terminal(_)
            | Self::NothingShipped(_)
            | Self::WhichDestination(_) => 70,
        })
    }
}
