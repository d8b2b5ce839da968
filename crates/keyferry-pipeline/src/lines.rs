//! JSON Lines files beside the checkpoint.
//!
//! The invariant: **when a write has returned, what it wrote survives a power cut**, its name in the directory included. A line that a crash
//! has cut short is passed over when the file is read, and cannot swallow the next one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;

const FILE_MODE: u32 = 0o600;

/// The lines of `path` that can be read; none if there is no file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Vec<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(parse(&bytes, path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Vec<T> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let parsed = lines.map(serde_json::from_slice);
    parsed
        .filter_map(|line| {
            line.inspect_err(|error| tracing::error!("a line of {} is damaged: {error}", path.display())).ok()
        })
        .collect()
}

/// Replaces the content of `path` by `lines`, at once or not at all.
pub(crate) fn replace<T: Serialize>(path: &Path, lines: &[T]) -> io::Result<()> {
    put_in_place(path, &encode(lines)?)
}

fn put_in_place(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("jsonl.tmp");
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(true).mode(FILE_MODE).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_directory_of(path)
}

/// A file that this process alone changes as long as it is held.
pub(crate) struct Exclusive<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> Exclusive<'a> {
    /// Waits until nobody else holds `path`, creating it if need be.
    pub(crate) fn open(path: &'a Path) -> io::Result<Self> {
        loop {
            let file = OpenOptions::new().create(true).read(true).append(true).mode(FILE_MODE).open(path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            // The one who held it may have put another file in its place.
            match fs::metadata(path) {
                Ok(now) if now.ino() == file.metadata()?.ino() => return Ok(Self { path, file }),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The lines that can be read.
    pub(crate) fn read<T: DeserializeOwned>(&mut self) -> io::Result<Vec<T>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut bytes)?;
        Ok(parse(&bytes, self.path))
    }

    /// Adds lines at the end.
    pub(crate) fn append<T: Serialize>(&mut self, lines: &[T]) -> io::Result<()> {
        let mut bytes = encode(lines)?;
        if self.ends_within_a_line()? {
            bytes.insert(0, b'\n');
        }
        self.file.write_all(&bytes)?;
        self.file.sync_all()?;
        sync_directory_of(self.path)
    }

    /// Replaces all lines.
    pub(crate) fn replace<T: Serialize>(self, lines: &[T]) -> io::Result<()> {
        replace(self.path, lines)
    }

    /// Takes out the lines that `keep` does not keep; the others stay byte for byte, also those that cannot be read.
    pub(crate) fn retain(mut self, mut keep: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut bytes)?;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && keep(line));
        let kept: Vec<u8> = lines.flat_map(|line| line.iter().chain(b"\n")).copied().collect();
        put_in_place(self.path, &kept)
    }

    fn ends_within_a_line(&mut self) -> io::Result<bool> {
        if self.file.metadata()?.len() == 0 {
            return Ok(false);
        }
        let mut last = [0];
        self.file.seek(SeekFrom::End(-1))?;
        self.file.read_exact(&mut last)?;
        Ok(last != *b"\n")
    }
}

fn encode<T: Serialize>(lines: &[T]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, line).map_err(io::Error::other)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
