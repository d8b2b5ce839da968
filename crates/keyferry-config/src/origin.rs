//! Where a value comes from.
//!
//! The invariant: **every value that an error or a warning speaks of is named together with its origin**, because the
//! same option may stand in a file, in two variables and in Keycloak's configuration at once.

use std::fmt;
use std::path::PathBuf;

/// The source of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// A variable of the listener that Keyferry replaces, `KAFKA_…`.
    KafkaVariable(String),
    /// A variable of Keyferry's own, `KEYFERRY_…`.
    KeyferryVariable(String),
    /// The options that Keycloak hands over.
    Keycloak,
    /// A change that was made while the agent ran.
    Live,
}

impl Origin {
    /// How much the source counts: of two values for the same setting the one whose source weighs more holds.
    pub const fn weight(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::KafkaVariable(_) => 2,
            Self::KeyferryVariable(_) => 3,
            Self::Keycloak => 4,
            Self::Live => 5,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the built-in default"),
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::KafkaVariable(name) | Self::KeyferryVariable(name) => f.write_str(name),
            Self::Keycloak => f.write_str("Keycloak's configuration"),
            Self::Live => f.write_str("a live change"),
        }
    }
}
