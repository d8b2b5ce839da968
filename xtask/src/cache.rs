//! Where fetched parts live.
//!
//! The invariant: **a part that is there is whole.** It is made under a temporary name by one process at a time (a lock file tells the
//! others to wait) and renamed when it is finished, so an interrupted download or a second `cargo xtask` never leaves half a Keycloak.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The directory of fetched parts: `$KEYFERRY_CACHE`, else `$XDG_CACHE_HOME/keyferry`, else `~/.cache/keyferry`.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache that the environment names.
    ///
    /// # Errors
    /// [`Error::NoCache`] where the environment names none.
    pub fn from_environment() -> Result<Self> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("KEYFERRY_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("keyferry")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/keyferry")))
            .ok_or(Error::NoCache)?;
        Ok(Self { root })
    }

    /// A cache in the given directory.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The part called `name`, made by `make` if it is not there yet. `make` gets an empty directory to fill.
    ///
    /// # Errors
    /// What `make` returns, and [`Error::Io`] where the cache cannot be written.
    pub fn part<E: From<Error>>(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let part = self.root.join(name);
        if part.exists() {
            return Ok(part);
        }
        fs::create_dir_all(&self.root).map_err(Error::io("create", &self.root))?;
        let _lock = self.lock(name)?;
        if part.exists() {
            return Ok(part);
        }
        let unfinished = self.root.join(format!("{name}.unfinished"));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(Error::io("remove", &unfinished))?;
        }
        fs::create_dir(&unfinished).map_err(Error::io("create", &unfinished))?;
        make(&unfinished)?;
        fs::rename(&unfinished, &part).map_err(Error::io("rename", &unfinished))?;
        Ok(part)
    }

    /// Waits until no other process makes this part. The lock ends with the returned file.
    fn lock(&self, name: &str) -> Result<File> {
        let path = self.root.join(format!("{name}.lock"));
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        file.lock().map_err(Error::io("lock", &path))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn fail() -> Error {
        Error::NoCache
    }

    #[test]
    fn a_part_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let made = AtomicUsize::new(0);
        let make = |path: &Path| {
            made.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(20));
            fs::write(path.join("content"), "whole").map_err(Error::io("write", path))
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let part = cache.part("part", make).unwrap();
                    assert_eq!(fs::read_to_string(part.join("content")).unwrap(), "whole");
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_was_interrupted_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let interrupted = cache.part("part", |path| {
            fs::write(path.join("half"), "").map_err(Error::io("write", path))?;
            Err(fail())
        });
        assert!(interrupted.is_err());
        let part = cache.part::<Error>("part", |_| Ok(())).unwrap();
        assert_eq!(fs::read_dir(part).unwrap().count(), 0);
    }
}
