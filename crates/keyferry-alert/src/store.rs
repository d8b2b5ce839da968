//! What survives a restart: one small file of JSON.
//!
//! The invariant: **the file is always whole**, the one before or the one after: it is written beside, synced, and renamed, and the directory is synced as well.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// One small file.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    written: Vec<u8>,
}

impl StateFile {
    /// The file `name` in `directory`.
    pub fn new(directory: &Path, name: &str) -> Self {
        Self { path: directory.join(name), written: Vec::new() }
    }

    /// What it holds; the default if it is not there.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub fn read<T: DeserializeOwned + Default>(&self) -> Result<T, Error> {
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| self.failed(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Replaces what it holds, unless that is the same.
    ///
    /// # Errors
    /// It cannot be written. What it held stays.
    pub fn write(&mut self, state: &impl Serialize) -> Result<(), Error> {
        let bytes = serde_json::to_vec(state).map_err(|error| self.failed(error.into()))?;
        if bytes == self.written {
            return Ok(());
        }
        self.replace(&bytes).map_err(|error| self.failed(error))?;
        self.written = bytes;
        Ok(())
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        self.path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_holds_what_was_written_last_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = StateFile::new(directory.path(), "alerts.json");
        assert_eq!(file.read::<Vec<u32>>().unwrap(), Vec::<u32>::new());
        file.write(&[1, 2]).unwrap();
        file.write(&[3]).unwrap();
        assert_eq!(StateFile::new(directory.path(), "alerts.json").read::<Vec<u32>>().unwrap(), [3]);
        let path = directory.path().join("alerts.json");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
        fs::write(&path, "{").unwrap();
        let error = file.read::<Vec<u32>>().unwrap_err().to_string();
        assert!(error.contains("alerts.json"), "{error}");
    }
}
