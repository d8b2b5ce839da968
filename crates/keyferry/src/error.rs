//! Why the agent ends before it is told to, and with which exit code.

use std::process::ExitCode;

use keyferry_pipeline::RunError;

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
    /// The journal cannot be read, or is served by another agent.
    #[error(transparent)]
    Journal(#[from] keyferry_journal::Error),
    /// The run ended in an error.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(#[source] std::io::Error),
}

impl Error {
    /// The exit code, see `docs/provider-agent.md`; the numbers are those of BSD's sysexits(3).
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::HandOver(_) | Self::Configuration(_) | Self::Incomplete(_) | Self::Sink(_) => 64,
            Self::Journal(keyferry_journal::Error::Locked { .. }) => 73,
            Self::Journal(error)
            | Self::Run(RunError::Pipeline(keyferry_pipeline::Error::Journal(error))) => {
                if matches!(error, keyferry_journal::Error::Io { .. }) { 74 } else { 65 }
            }
            Self::Run(RunError::Wait(_)) | Self::Signals(_) => 70,
        })
    }
}
