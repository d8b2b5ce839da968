//! What can be wrong with a configuration, in words that name the option, its origin and the remedy.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::origin::Origin;

/// One thing that is wrong.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A value that the option cannot take.
    #[error("option `{option}` (from {origin}): expected {expected}{got}")]
    Invalid {
        /// The option, as its source spells it.
        option: String,
        /// Where the value comes from.
        origin: Origin,
        /// What would have been accepted.
        expected: String,
        /// What was found.
        got: Got,
    },
    /// A value that cannot be honoured, or does not go together with another.
    #[error("option `{option}` (from {origin}): {remedy}")]
    Refused {
        /// The option, as its source spells it.
        option: String,
        /// Where the value comes from.
        origin: Origin,
        /// Why, and what to do instead.
        remedy: String,
    },
    /// A key of the configuration file that does not exist.
    #[error("unknown key `{key}` ({origin}){}", did_you_mean(.suggestion))]
    UnknownKey {
        /// The key, from the top of the file.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// The known key that is nearest to it.
        suggestion: Option<String>,
    },
    /// A configuration file that is not TOML.
    #[error("{}, line {line}, column {column}: not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1 in characters.
        column: usize,
        /// What the parser expected. Never a piece of the file, which may hold a secret.
        message: String,
    },
    /// A configuration file that cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ConfigError {
    /// The option or key that is wrong, as its source spells it; `None` if it is the file as a whole.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Invalid { option, .. } | Self::Refused { option, .. } => Some(option.clone()),
            Self::UnknownKey { key, .. } => Some(key.clone()),
            Self::Syntax { .. } | Self::Unreadable { .. } => None,
        }
    }
}

/// What was found in place of a legal value; nothing is shown of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// May be shown.
    Value(String),
    /// Must not be shown.
    Secret,
}

impl Got {
    /// A wrong value that is not declared secret. It is not shown either if it looks like one: a URL with credentials, or
    /// a login configuration that was given to the wrong option.
    pub(crate) fn value(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        let tells = ["password", "secret", "private key", "@"].iter().any(|mark| lower.contains(mark));
        if tells { Self::Secret } else { Self::Value(text.to_owned()) }
    }
}

/// So much of a wrong value is shown.
const LONGEST_SHOWN_VALUE: usize = 120;

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) if value.chars().count() > LONGEST_SHOWN_VALUE => {
                let beginning: String = value.chars().take(LONGEST_SHOWN_VALUE).collect();
                write!(f, ", got `{}…`", beginning.escape_debug())
            }
            Self::Value(value) => write!(f, ", got `{}`", value.escape_debug()),
            Self::Secret => f.write_str(" (the value may be secret and is not shown)"),
        }
    }
}

/// Everything that is wrong with a configuration; at least one thing.
#[derive(Debug, Error)]
#[error("{}", joined(errors))]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// `Err` with the errors if there are any.
    pub(crate) fn check(errors: Vec<ConfigError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self { errors }) }
    }

    /// The errors: those of the file as a whole first, then by setting.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self { errors: vec![error] }
    }
}

/// Something that an operator should know, but that keeps nothing from working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// An option or variable that does not exist.
    Unknown {
        /// Its name, as its source spells it.
        name: String,
        /// Where it stands.
        origin: Origin,
        /// The known name that is nearest to it.
        suggestion: Option<String>,
    },
    /// An option that has no effect here.
    Ignored {
        /// The option, as its source spells it.
        option: String,
        /// Where it stands.
        origin: Origin,
        /// Why.
        reason: String,
    },
    /// A name in an option's value that nothing is known to have.
    UnknownName {
        /// The option, as its source spells it.
        option: String,
        /// Where it stands.
        origin: Origin,
        /// The name.
        name: String,
        /// The known name that is nearest to it.
        suggestion: Option<String>,
    },
    /// An option that is honoured with another value than the given one.
    Overruled {
        /// The option, as its source spells it.
        option: String,
        /// Where it stands.
        origin: Origin,
        /// Which value holds instead, and why.
        reason: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, origin, suggestion } => {
                write!(f, "unknown option `{name}` (from {origin}) is ignored{}", did_you_mean(suggestion))
            }
            Self::Ignored { option, origin, reason } => {
                write!(f, "option `{option}` (from {origin}) has no effect: {reason}")
            }
            Self::UnknownName { option, origin, name, suggestion } => {
                let hint = did_you_mean(suggestion);
                write!(
                    f,
                    "option `{option}` (from {origin}) names `{name}`, which Keycloak 26.7 does not know{hint}"
                )
            }
            Self::Overruled { option, origin, reason } => {
                write!(f, "option `{option}` (from {origin}) is overruled: {reason}")
            }
        }
    }
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or_else(String::new, |known| format!(", did you mean `{known}`?"))
}

fn joined(errors: &[ConfigError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
