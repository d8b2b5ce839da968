//! A fault of the operating system, and how a program is made to meet it.
//!
//! Errors come from `strace`, which lets the n-th call on a file fail without performing it. Short reads and writes come from a library of our own
//! (`short.c`), which passes on fewer bytes than it was asked for. A limit of file sizes lets a write be cut short and the next one fail, as a disk does that
//! becomes full.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyferry_tests::{Error, Result};

/// What each system call may fail with, of those that the journal's two sides make.
const ERRORS: &[(&str, &[&str])] = &[
    ("openat", &["EIO", "EMFILE", "EACCES", "ENOSPC"]),
    ("write", &["EIO", "ENOSPC", "EDQUOT"]),
    ("pwrite64", &["EIO", "ENOSPC"]),
    ("read", &["EIO"]),
    ("pread64", &["EIO"]),
    ("lseek", &["EIO"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("fdatasync", &["EIO", "ENOSPC"]),
    ("ftruncate", &["EIO", "ENOSPC"]),
    ("fallocate", &["EIO", "ENOSPC"]),
    ("getdents64", &["EIO"]),
    ("statx", &["EIO"]),
    ("fstat", &["EIO"]),
    ("newfstatat", &["EIO"]),
    ("fcntl", &["ENOLCK"]),
    ("rename", &["EIO", "ENOSPC"]),
    ("unlink", &["EIO", "EROFS"]),
    ("unlinkat", &["EIO", "EROFS"]),
    ("mkdir", &["EIO", "ENOSPC"]),
    ("inotify_add_watch", &["ENOSPC"]),
];

/// How often a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Once,
    Thrice,
    FromThenOn,
}

/// One fault.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// From the `first` call on, counted from 1, one or more fail.
    Failure {
        /// The system call.
        call: &'static str,
        /// The error's name.
        error: &'static str,
        /// The first call that fails.
        first: u32,
        /// How many fail.
        extent: FailureExtent,
    },
    /// Calls transfer fewer bytes than they were asked to.
    Short {
        /// Which.
        call: ShortCall,
        /// How many of a hundred calls.
        percent: u8,
        /// What makes them so.
        by: Shortener,
    },
    /// Files cannot grow beyond this many bytes.
    FileLimit(u64),
}

/// A call that may be short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShortCall {
    /// `pread`.
    Read,
    /// `pwrite`.
    WriteAt,
    /// `write`.
    Write,
}

impl ShortCall {
    /// The variable by which the library is told how many.
    fn variable(self) -> &'static str {
        match self {
            Self::Read => "SHORT_PREAD",
            Self::WriteAt => "SHORT_PWRITE",
            Self::Write => "SHORT_WRITE",
        }
    }
}

/// The library that makes calls short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortener(PathBuf);

impl Shortener {
    /// Compiles it in `directory`.
    ///
    /// # Errors
    /// The C compiler is missing, or refuses it.
    pub fn compile(directory: &Path) -> Result<Self> {
        let (source, library) = (directory.join("short.c"), directory.join("short.so"));
        fs::write(&source, include_str!("short.c")).map_err(Error::io("write", &source))?;
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]).args([&library, &source]);
        let ended = compiler.status().map_err(Error::io("start", "cc"))?;
        if ended.success() {
            Ok(Self(library))
        } else {
            Err(Error::Missing(format!("cc does not compile {}: {ended}", source.display())))
        }
    }
}

/// How many calls of a [`Fault::Failure`] fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureExtent(Extent);

/// How often a program makes each system call on the files in question when nothing fails.
#[derive(Debug, Clone, Default)]
pub struct Calls(BTreeMap<&'static str, u32>);

impl Calls {
    /// Counts them in what `strace` has recorded.
    ///
    /// # Errors
    /// Where it has recorded nothing.
    pub fn of(trace: &Path) -> Result<Self> {
        let text = fs::read_to_string(trace).map_err(Error::io("read", trace))?;
        let counts = ERRORS.iter().filter_map(|(call, _)| {
            let begin = format!(" {call}(");
            let count = text.lines().filter(|line| line.contains(&begin)).count();
            u32::try_from(count).ok().filter(|count| *count > 0).map(|count| (*call, count))
        });
        let calls: BTreeMap<_, _> = counts.collect();
        if calls.is_empty() {
            return Err(Error::Missing(format!(
                "{} holds no system call: can strace trace here?",
                trace.display()
            )));
        }
        Ok(Self(calls))
    }

    /// A failure of one of them. Every system call is as likely as any other, however often it is made.
    pub fn failure(&self, random: &mut fastrand::Rng) -> Fault {
        let calls: Vec<_> = self.0.iter().collect();
        let (call, count) = calls[random.usize(..calls.len())];
        let errors =
            ERRORS.iter().find(|(known, _)| known == call).map_or(&["EIO"][..], |(_, errors)| errors);
        let extents = [Extent::Once, Extent::Thrice, Extent::FromThenOn];
        Fault::Failure {
            call,
            error: errors[random.usize(..errors.len())],
            first: random.u32(1..=*count),
            extent: FailureExtent(extents[random.usize(..extents.len())]),
        }
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<String> = self.0.iter().map(|(call, count)| format!("{call} {count}")).collect();
        formatter.write_str(&calls.join(", "))
    }
}

/// The command line that traces all calls a fault may hit, on `paths` only.
pub fn tracer(paths: &[PathBuf], trace: &Path) -> Vec<String> {
    let calls: Vec<&str> = ERRORS.iter().map(|(call, _)| *call).collect();
    strace(paths, trace, &calls.join(","))
}

fn strace(paths: &[PathBuf], trace: &Path, calls: &str) -> Vec<String> {
    let mut words: Vec<String> = ["strace", "-f", "--seccomp-bpf", "-qq", "-o"].map(str::to_owned).into();
    words.push(trace.to_string_lossy().into_owned());
    words.extend(["-e".to_owned(), format!("trace={calls}")]);
    words.extend(paths.iter().flat_map(|path| ["-P".to_owned(), path.to_string_lossy().into_owned()]));
    words
}

impl Fault {
    /// The command line of the program below which another meets the fault, when it uses one of `paths`.
    pub fn wrapper(&self, paths: &[PathBuf], trace: &Path) -> Vec<String> {
        match self {
            Self::Failure { call, error, first, extent } => {
                let mut words = strace(paths, trace, call);
                let when = match extent.0 {
                    Extent::Once => first.to_string(),
                    Extent::Thrice => format!("{first}..{}", first + 2),
                    Extent::FromThenOn => format!("{first}+"),
                };
                words.extend(["-e".to_owned(), format!("inject={call}:error={error}:when={when}")]);
                words
            }
            Self::Short { call, percent, by: Shortener(library) } => vec![
                "env".to_owned(),
                format!("LD_PRELOAD={}", library.display()),
                format!("{}={percent}", call.variable()),
            ],
            Self::FileLimit(bytes) => vec!["prlimit".to_owned(), format!("--fsize={bytes}")],
        }
    }

    /// The row of the table that it belongs to.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Failure { call, .. } => call,
            Self::Short { call: ShortCall::Read, .. } => "short read",
            Self::Short { .. } => "short write",
            Self::FileLimit(_) => "file limit",
        }
    }

    /// Whether the program met it, as far as it is known: `strace` tells.
    pub fn was_met(&self, trace: &Path) -> bool {
        match self {
            Self::Failure { .. } => fs::read_to_string(trace).is_ok_and(|text| text.contains("(INJECTED)")),
            Self::Short { .. } | Self::FileLimit(_) => true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failure { call, error, first, extent } => {
                let more = match extent.0 {
                    Extent::Once => "",
                    Extent::Thrice => " and the next two",
                    Extent::FromThenOn => " and all that follow",
                };
                write!(formatter, "{call} number {first}{more}: {error}")
            }
            Self::Short { percent, .. } => write!(formatter, "{percent} % {}s", self.kind()),
            Self::FileLimit(bytes) => write!(formatter, "no file beyond {bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_as_short_as_it_is_told_to_be_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let by = Shortener::compile(directory.path()).unwrap();
        let written = |call, percent| {
            let fault = Fault::Short { call, percent, by: by.clone() };
            let words = fault.wrapper(&[], Path::new("unused"));
            let mut program = Command::new(&words[0]);
            program.args(&words[1..]).args(["perl", "-e", "print STDERR syswrite(STDOUT, 'x' x 4096)"]);
            let output = program.output().unwrap();
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(told, output.stdout.len().to_string());
            output.stdout.len()
        };
        assert!((1..4096).contains(&written(ShortCall::Write, 100)));
        assert_eq!(written(ShortCall::Write, 0), 4096);
        assert_eq!(written(ShortCall::WriteAt, 100), 4096);
    }
}
