//! What can go wrong around a test. Every message names the thing and the place.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::log;

/// The result of a step of the harness.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the harness could not do its part.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {limit:?}{hint}")]
    TooLate {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// What may explain it, such as the end of a log, beginning with a newline; or nothing.
        hint: String,
    },
    /// A server ended when it should run.
    #[error("{what} has ended; the end of its log:\n{log}")]
    Ended {
        /// Which server.
        what: String,
        /// The last lines of its log.
        log: String,
    },
    /// A request got another answer than it should.
    #[error("{request} was answered with {status}: {body}")]
    Answer {
        /// Method and address.
        request: String,
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// A page of Keycloak does not hold what a browser would look for.
    #[error("no {what} on the page {address}:\n{page}")]
    Page {
        /// What was looked for.
        what: &'static str,
        /// Where.
        address: String,
        /// The page.
        page: String,
    },
    /// The connection failed.
    #[error("{request}: {source}")]
    Http {
        /// Method and address.
        request: String,
        /// What the client said.
        source: Box<ureq::Error>,
    },
    /// The journal that is written here could not be.
    #[error("the journal: {0}")]
    Journal(#[from] keyferry_journal::Error),
    /// librdkafka refused something.
    #[error("Kafka: {0}")]
    Kafka(#[from] rdkafka::error::KafkaError),
    /// PostgreSQL refused something.
    #[error("PostgreSQL: {0}")]
    Postgres(#[from] postgres::Error),
    /// What should be JSON is not.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A real part is missing or could not be built.
    #[error(transparent)]
    Part(#[from] xtask::Error),
    /// The environment lacks something that the harness cannot bring.
    #[error("{0}")]
    Missing(String),
}

impl Error {
    /// Wraps an [`io::Error`] with what was tried and with what.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_owned(), source }
    }

    /// Adds the end of a log to an error that something did not happen in time.
    #[must_use]
    pub fn with_log(self, log: &Path) -> Self {
        match self {
            Self::TooLate { what, limit, hint } => {
                let hint = format!("{hint}; the end of {}:\n{}", log.display(), log::tail(log));
                Self::TooLate { what, limit, hint }
            }
            other => other,
        }
    }
}
