//! A disk that is easily filled.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, Result};

/// A file system in memory of a few megabytes, so that filling it hurts nobody.
#[derive(Debug)]
pub struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Mounts one at `place`; nothing where that is not permitted.
    ///
    /// # Errors
    /// Where the directory cannot be created.
    pub fn mount(place: &Path, mebibytes: u32) -> Result<Option<Self>> {
        Self::mount_with(place, &format!("size={mebibytes}m"))
    }

    /// Mounts one that holds so many files and directories, whatever their size; nothing where that is not permitted.
    ///
    /// # Errors
    /// Where the directory cannot be created.
    pub fn mount_for_files(place: &Path, files: u32) -> Result<Option<Self>> {
        Self::mount_with(place, &format!("size=1g,nr_inodes={files}"))
    }

    fn mount_with(place: &Path, options: &str) -> Result<Option<Self>> {
        fs::create_dir_all(place).map_err(Error::io("create", place))?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "keyferry-test"]).arg(place);
        let mounted = mount.status().is_ok_and(|status| status.success());
        Ok(mounted.then(|| Self { place: place.to_owned() }))
    }

    /// Its directory.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Takes all the room that is left, to the last byte, by one file: remove it, and there is room again.
    ///
    /// # Errors
    /// Where the file cannot be created.
    pub fn fill(&self) -> Result<PathBuf> {
        let ballast = self.place.join("ballast");
        let mut file = File::create(&ballast).map_err(Error::io("create", &ballast))?;
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        Ok(ballast)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server may still have files open in it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).status();
    }
}
