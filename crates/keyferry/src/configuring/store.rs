//! What outlives the agent: every version that is kept, in one file that only the agent's user can read, and that holds no secret.
//!
//! The invariant: **the file is always whole**, the one before or the one after.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use keyferry_config::change::History;

use crate::error::Error;

/// The name of the file, in the slot or the journal directory.
const FILE_NAME: &str = "config-history.json";

/// The file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// That of `directory`.
    pub fn of(directory: &Path) -> Self {
        Self { path: directory.join(FILE_NAME) }
    }

    /// What was written down. What cannot be read counts as nothing, and is told.
    pub fn read(&self) -> History {
        let text = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return History::default(),
            text => text,
        };
        let history = text.and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from));
        history.unwrap_or_else(|error| {
            tracing::warn!(
                "the versions of the configuration begin anew: cannot read {}: {error}",
                self.path.display()
            );
            History::default()
        })
    }

    /// Replaces it, durably.
    ///
    /// # Errors
    /// It cannot be written; what it held stays.
    pub fn write(&self, history: &History) -> Result<(), Error> {
        let written = serde_json::to_vec(&history.without_secrets())
            .map_err(io::Error::from)
            .and_then(|text| self.replace(&text));
        written.map_err(|source| Error::Directory { path: self.path.clone(), source })
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        self.path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }
}
