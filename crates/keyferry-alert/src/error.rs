//! Why something about alerts cannot be done.

use std::io;
use std::path::PathBuf;

/// Why something about alerts cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Text that is to choose series does not.
    #[error("`{text}` does not choose series: {wrong}; write name{{label=\"value\",other!=\"value\"}}")]
    Selector {
        /// The text.
        text: String,
        /// What is wrong with it.
        wrong: String,
    },
    /// The file with rules, routes and channels is no TOML, or not of the right form.
    #[error("{path}: {message}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        message: String,
    },
    /// A rule contradicts itself.
    #[error("rule `{rule}`: {wrong}")]
    Rule {
        /// Its name.
        rule: String,
        /// What is wrong and what would be right.
        wrong: String,
    },
    /// Something names what is not there.
    #[error("{place}: there is no {what} `{name}`; there are: {known}")]
    Unknown {
        /// What names it.
        place: String,
        /// What kind of thing it is.
        what: &'static str,
        /// Its name.
        name: String,
        /// What there is.
        known: String,
    },
    /// A setting cannot be used.
    #[error("{place}: {wrong}")]
    Setting {
        /// Where it stands.
        place: String,
        /// What is wrong and what would be right.
        wrong: String,
    },
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}; it must belong to the user of the agent", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An incident cannot be brought there.
    #[error("incident {id} is {state}: it cannot be {wanted}")]
    Transition {
        /// The incident.
        id: String,
        /// How it stands.
        state: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// An action is not taken.
    #[error("{action} is not done: {reason}")]
    Action {
        /// The action.
        action: String,
        /// Why not.
        reason: String,
    },
}
