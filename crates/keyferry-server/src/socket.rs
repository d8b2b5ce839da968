//! `agent.sock`: the socket file of one directory, from its making to its end.
//!
//! The invariants:
//!
//! - **Whoever can connect may command**, so nobody but the owner can, from the first moment: the file has mode 0600 before it has a name.
//! - **The socket of a living agent is never taken away.** Who makes one holds an advisory lock of the directory (flock(2)), which the kernel releases however
//!   the process ends. A socket that is found by the holder of the lock is that of a dead process, and is replaced.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

/// The name of the file.
pub const FILE_NAME: &str = "agent.sock";
/// The longest path of a Unix socket: `sockaddr_un` has 108 bytes, the last of which is zero.
pub const LONGEST_PATH: usize = 107;
/// Connections that wait to be accepted.
const QUEUE: i32 = 16;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The path is too long for the operating system.
    #[error(
        "the path of {path} has {length} bytes, and that of a socket may have {LONGEST_PATH}; give the journal a shorter path (a symbolic link will do)",
        path = .path.display()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// A living process has it.
    #[error("{} belongs to another agent that is still running", .0.display())]
    Taken(PathBuf),
    /// The operating system refuses it.
    #[error("cannot make {path}: {source}", path = .path.display())]
    Refused {
        /// The path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A listening socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    listener: UnixListener,
    /// The directory, locked until the file is removed.
    _lock: File,
}

impl Socket {
    /// Makes the socket of `directory`, in place of one that a dead process left there.
    ///
    /// # Errors
    /// The path is too long, another process has it, or the operating system refuses it.
    pub fn make(directory: &Path) -> Result<Self, SocketError> {
        let path = directory.join(FILE_NAME);
        let length = path.as_os_str().as_bytes().len();
        if length > LONGEST_PATH {
            return Err(SocketError::TooLong { path, length });
        }
        let refused = |source: io::Error| SocketError::Refused { path: path.clone(), source };
        let lock = File::open(directory).map_err(refused)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(SocketError::Taken(path)),
            Err(errno) => return Err(refused(errno.into())),
        }
        let listener = replace(&path).map_err(refused)?;
        Ok(Self { path, listener, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same socket, to accept connections.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Left behind it would mislead nobody: it refuses connections, and the next agent replaces it.
        drop(fs::remove_file(&self.path));
    }
}

/// Binds `path` anew.
fn replace(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux gives the file the mode of the socket at the time of bind(2), less the process's umask: there is no moment at which another user could connect.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, QUEUE)?;
    Ok(UnixListener::from(socket))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn only_the_owner_may_connect_and_the_file_goes_with_the_socket() {
        let directory = tempfile::tempdir().unwrap();
        let socket = Socket::make(directory.path()).unwrap();
        let metadata = fs::metadata(socket.path()).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        UnixStream::connect(socket.path()).unwrap();
        let path = socket.path().to_owned();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_of_the_dead_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        drop(UnixListener::bind(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err() && path.exists());
        let socket = Socket::make(directory.path()).unwrap();
        UnixStream::connect(socket.path()).unwrap();
    }

    #[test]
    fn a_socket_of_the_living_stays() {
        let directory = tempfile::tempdir().unwrap();
        let socket = Socket::make(directory.path()).unwrap();
        let second = Socket::make(directory.path());
        assert!(matches!(second, Err(SocketError::Taken(_))), "{second:?}");
        UnixStream::connect(socket.path()).unwrap();
        drop(socket);
        Socket::make(directory.path()).unwrap();
    }

    #[test]
    fn a_path_that_is_too_long_is_told_with_its_length() {
        let directory = tempfile::tempdir().unwrap();
        let beside = directory.path().as_os_str().len() + 1 + 1 + FILE_NAME.len();
        let fits = directory.path().join("a".repeat(LONGEST_PATH - beside));
        fs::create_dir(&fits).unwrap();
        Socket::make(&fits).unwrap();
        let over = directory.path().join("a".repeat(LONGEST_PATH - beside + 1));
        fs::create_dir(&over).unwrap();
        let error = Socket::make(&over).unwrap_err();
        assert!(matches!(error, SocketError::TooLong { length: 108, .. }), "{error:?}");
        assert!(error.to_string().contains("108 bytes"), "{error}");
    }
}
