//! What a change of a setting takes while the agent runs.
//!
//! The invariant: **a change that would lose, double or reorder an event is refused, by the name of its key.** What decides on the numbers of records, on what
//! becomes of them, or on files that are open is fixed when the agent starts.

use std::fmt;

/// What a change of a setting takes. The greater of two covers both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// It holds from the next moment on.
    Live,
    /// New connections are made and checked, the old ones deliver what they have, and then the new ones take over.
    Swap,
    /// The agent must be started anew: it is refused while the agent runs.
    Restart,
}

impl Class {
    /// The word for it, in the reference, the API and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Swap => "swap",
            Self::Restart => "restart",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
