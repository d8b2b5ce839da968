//! A slot directory: its segments, and the two locks that keep it to one writer and one agent.
//!
//! # Telling whether the writer lives
//!
//! The writer holds a POSIX (fcntl) lock on `lock` while it lives; the kernel lets go of it when the process dies,
//! however it dies. Whether it is held is asked with `F_GETLK`, because of the alternatives
//!
//! - trying to take the lock, if only a shared one and for a moment, makes a writer that starts in that moment believe
//!   that the slot is taken, so that it moves on to a slot that nobody ships;
//! - `/proc/locks` leaves out locks of processes in other PID namespaces, which is where Keycloak is when the agent runs
//!   as a sidecar, so that a living writer would look dead.
//!
//! `F_GETLK` takes nothing and sees across namespaces. It does not see locks of the asking process itself: writer and
//! reader of a slot are different processes, or else the reader takes the writer for dead.
//!
//! POSIX locks belong to a process, and closing *any* descriptor of the file gives them up. Hence [`AgentLock`] is taken
//! once in a process and its file is opened nowhere else.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockType, fcntl_getlk};

use crate::error::Error;
use crate::format::{Epoch, MAX_SLOTS, SegmentName};
use crate::storage::{Segment, SegmentStore, Storage};

/// Name of the file that the writer locks.
pub const WRITER_LOCK: &str = "lock";
/// Name of the file that the agent locks.
pub const AGENT_LOCK: &str = "agent.lock";

/// The end of the name of an epoch's mark.
const EPOCH_MARK: &str = ".epoch";

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A lock that is held until it is dropped or the process dies.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock of `path`, creating the file if need be, without waiting.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process holds it.
    fn acquire(path: &Path) -> Result<Self, Error> {
        let name = || path.display().to_string();
        let file = lock_file(path).map_err(|source| Error::io("open", name(), source))?;
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
                Err(Error::Locked { path: name(), holder: holder(&file) })
            }
            Err(source) => Err(Error::io("lock", name(), source)),
        }
    }
}

/// Who holds the lock of `file`, in words.
fn holder(file: &File) -> String {
    LockHolder::ask(file).ok().flatten().unwrap_or(LockHolder::Elsewhere).to_string()
}

/// Who holds a lock of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockHolder {
    /// The process with this id.
    Process(i32),
    /// A process that has no id here, because it lives in another container.
    Elsewhere,
}

impl LockHolder {
    /// Who holds the lock `name` ([`WRITER_LOCK`] or [`AGENT_LOCK`]) of `slot`; `None` if nobody does. Takes nothing. Only to be asked by a
    /// process that holds no lock of the slot itself: closing the file would give it up.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn of(slot: &Path, name: &str) -> Result<Option<Self>, Error> {
        let path = slot.join(name);
        let asked = match File::open(&path) {
            Ok(file) => Self::ask(&file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        };
        asked.map_err(|source| Error::io("query", path.display().to_string(), source))
    }

    fn ask(file: &File) -> io::Result<Option<Self>> {
        let held = fcntl_getlk(file, &Flock::from(FlockType::WriteLock))?;
        Ok(held.map(|lock| match lock.pid {
            Some(pid) => Self::Process(pid.as_raw_nonzero().get()),
            None => Self::Elsewhere,
        }))
    }
}

impl fmt::Display for LockHolder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(out, "process {pid}"),
            Self::Elsewhere => out.write_str("a process of another container"),
        }
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)
}

/// The right to ship a slot: held by one agent at a time.
#[derive(Debug)]
pub struct AgentLock {
    _lock: FileLock,
}

impl AgentLock {
    /// Takes the agent's lock of the slot without waiting. Once in a process: a second one in the same process would
    /// succeed, and the first to be dropped would release both.
    ///
    /// # Errors
    /// [`Error::Locked`] if another agent ships the slot.
    pub fn acquire(slot: &Path) -> Result<Self, Error> {
        Ok(Self { _lock: FileLock::acquire(&slot.join(AGENT_LOCK))? })
    }
}

/// A slot's files.
#[derive(Debug)]
pub struct SlotDirectory {
    path: PathBuf,
    reading: Option<(SegmentName, File)>,
    earlier: Option<(SegmentName, File)>,
    lock: Option<File>,
    checkpoint: Option<(String, File)>,
}

impl SlotDirectory {
    /// The slot at `path`, which must be a directory. Nothing is locked.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        fs::read_dir(&path).map_err(|source| Error::io("open", path.display().to_string(), source))?;
        Ok(Self { path, reading: None, earlier: None, lock: None, checkpoint: None })
    }

    /// Where the slot is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of a segment. The one read last and one before it stay open, so that a transaction over a border of
    /// segments does not open files for each event.
    fn segment(&mut self, name: SegmentName) -> io::Result<&File> {
        if self.reading.as_ref().is_some_and(|(open, _)| *open != name) {
            std::mem::swap(&mut self.reading, &mut self.earlier);
        }
        let file = match self.reading.take() {
            Some((open, file)) if open == name => file,
            _ => File::open(self.path.join(name.to_string()))?,
        };
        Ok(&self.reading.insert((name, file)).1)
    }

    fn checkpoint(&mut self, destination: &str) -> io::Result<&File> {
        let file = match self.checkpoint.take() {
            Some((open, file)) if open == destination => file,
            _ => lock_file(&self.path.join(checkpoint_name(destination)))?,
        };
        Ok(&self.checkpoint.insert((destination.to_owned(), file)).1)
    }
}

/// The name of a destination's checkpoint file.
fn checkpoint_name(destination: &str) -> String {
    format!("{destination}.checkpoint")
}

impl Storage for SlotDirectory {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn list(&mut self) -> io::Result<Vec<Segment>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            match entry.metadata() {
                Ok(metadata) => segments.push(Segment { name, length: metadata.len() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(segments)
    }

    fn read_at(&mut self, segment: SegmentName, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.segment(segment)?.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn length(&mut self, segment: SegmentName) -> io::Result<u64> {
        Ok(self.segment(segment)?.metadata()?.len())
    }

    fn writer_alive(&mut self) -> io::Result<bool> {
        if self.lock.is_none() {
            match File::open(self.path.join(WRITER_LOCK)) {
                Ok(file) => self.lock = Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        let Some(file) = &self.lock else { return Ok(false) };
        Ok(fcntl_getlk(file, &Flock::from(FlockType::WriteLock))?.is_some())
    }

    fn remove(&mut self, segment: SegmentName) -> io::Result<()> {
        for cached in [&mut self.reading, &mut self.earlier] {
            if cached.as_ref().is_some_and(|(open, _)| *open == segment) {
                *cached = None;
            }
        }
        match fs::remove_file(self.path.join(segment.to_string())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn read_checkpoint(&mut self, destination: &str) -> io::Result<Vec<u8>> {
        match fs::read(self.path.join(checkpoint_name(destination))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            result => result,
        }
    }

    fn write_checkpoint(&mut self, destination: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.checkpoint(destination)?.write_all_at(bytes, offset)
    }

    fn sync_checkpoint(&mut self, destination: &str) -> io::Result<()> {
        self.checkpoint(destination)?.sync_all()?;
        File::open(&self.path)?.sync_all()
    }
}

/// A slot that this process writes: its directory, and the lock that makes it ours.
#[derive(Debug)]
pub struct OwnedSlot {
    directory: PathBuf,
    number: u8,
    segment: Option<File>,
    _lock: FileLock,
}

impl OwnedSlot {
    /// Takes the lowest slot of the journal directory `journal` whose lock is free, creating directories if need be.
    ///
    /// # Errors
    /// [`Error::NoFreeSlot`] if there is none, or what the operating system says.
    pub fn claim(journal: &Path) -> Result<Self, Error> {
        for number in 0..MAX_SLOTS {
            let directory = journal.join(format!("slot-{number}"));
            DirBuilder::new()
                .recursive(true)
                .mode(DIRECTORY_MODE)
                .create(&directory)
                .map_err(|source| Error::io("create", directory.display().to_string(), source))?;
            match FileLock::acquire(&directory.join(WRITER_LOCK)) {
                Ok(lock) => return Ok(Self { directory, number: number as u8, segment: None, _lock: lock }),
                Err(Error::Locked { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::NoFreeSlot { path: journal.display().to_string() })
    }

    /// Where the slot is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// The slot's number.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }
}

/// The epoch of which a file tells by its name: a segment, or the epoch's mark.
fn epoch_of(name: &str) -> Option<Epoch> {
    match name.strip_suffix(EPOCH_MARK) {
        Some(epoch) => epoch.parse().ok(),
        None => name.parse::<SegmentName>().ok().map(|segment| segment.epoch),
    }
}

impl SegmentStore for OwnedSlot {
    fn create(&mut self, segment: SegmentName, header: &[u8]) -> io::Result<()> {
        let path = self.directory.join(segment.to_string());
        let file = OpenOptions::new().append(true).create_new(true).mode(FILE_MODE).open(path)?;
        self.segment = Some(file);
        self.append(header)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        use std::io::Write;
        match &mut self.segment {
            Some(file) => file.write_all(bytes),
            None => Err(io::Error::other("no segment was created")),
        }
    }

    fn last_epoch(&mut self) -> io::Result<Option<Epoch>> {
        let mut last = None;
        for entry in fs::read_dir(&self.directory)? {
            last = last.max(entry?.file_name().to_str().and_then(epoch_of));
        }
        Ok(last)
    }

    fn mark_epoch(&mut self, epoch: Epoch) -> io::Result<()> {
        let mark = format!("{epoch}{EPOCH_MARK}");
        OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(self.directory.join(&mark))?;
        File::open(&self.directory)?.sync_all()?;
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            if name.to_str().is_some_and(|name| name.ends_with(EPOCH_MARK) && name != mark) {
                fs::remove_file(self.directory.join(name))?;
            }
        }
        Ok(())
    }
}
