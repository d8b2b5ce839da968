//! Noticing that files may have changed, without asking the disk over and over.
//!
//! The kernel is asked (inotify) to tell what happens in the directories of the files: of the names by which they are configured, and of what these stand for. What has changed in a file is for
//! others to find out; here it is decided when they look.
//!
//! The invariants:
//!
//! - **What the kernel tells of is looked at at once, and what it does not tell of within [`TRUSTING`].** It tells nothing of what another machine writes to a network file system, nor of a link
//!   in the middle of a path. Once it has missed a change it is not trusted until it has told of another one, and the files are looked at every second.
//! - **A file that changes is looked at by the clock until it has settled**: two looks that see the same must be a while apart.
//! - **A directory in which much else happens costs no more than looking every second.**

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use crate::credentials::Settledness;

/// How long it may take until files are looked at of which the kernel would tell.
const TRUSTING: Duration = Duration::from_secs(10);
/// How long it may take where it is not known whether it would.
const DISTRUSTING: Duration = Duration::from_secs(1);
/// How soon a file is looked at again that is not what it was: whoever waits for a mended password waits for this.
const SECOND_LOOK: Duration = Duration::from_millis(250);
/// Room for what inotify has to tell, in bytes.
const EVENTS: usize = 4_096;

/// The directories of some files.
#[derive(Debug, Default)]
pub struct Notices {
    inotify: Option<OwnedFd>,
    directories: BTreeSet<PathBuf>,
    attention: Attention,
}

impl Notices {
    /// Waits for what happens to `files` from now on.
    pub fn of<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        let mut notices = Self::default();
        notices.follow(files);
        notices
    }

    /// The descriptor that becomes readable when it is time to look; `None` while only the clock says so.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().filter(|_| self.attention.listens()).map(|inotify| inotify.as_fd())
    }

    /// The longest time until the next look.
    pub fn pause(&self) -> Duration {
        self.attention.pause()
    }

    /// Takes what the kernel has told, before a look: what it tells later is for the next one.
    pub fn take(&mut self) {
        let told = self.inotify.as_ref().map(drain);
        match told {
            None => {}
            Some(Ok(Told { anything, is_over })) => {
                self.attention.heard |= anything;
                if is_over {
                    self.directories.clear();
                }
            }
            Some(Err(error)) => {
                tracing::debug!("changes of files are found by looking every second: inotify: {error}");
                (self.inotify, self.attention.is_covered) = (None, false);
            }
        }
    }

    /// The files were looked at: so they are now, and these they are.
    pub fn looked<'a>(&mut self, settled: Settledness, files: impl Iterator<Item = &'a Path>) {
        self.attention.looked(settled);
        self.follow(files);
    }

    /// Where the files are in other directories than before, or in one that could not be watched, those are watched from now on.
    fn follow<'a>(&mut self, files: impl Iterator<Item = &'a Path>) {
        let directories = directories(files);
        if self.attention.is_covered && directories == self.directories {
            return;
        }
        let watching = watch(&directories);
        self.attention.begin(watching.is_ok());
        (self.inotify, self.directories) = (watching.ok(), directories);
    }
}

/// When to look: a pure machine.
#[derive(Debug)]
struct Attention {
    /// Whether the kernel tells of every directory.
    is_covered: bool,
    /// Whether it has told of the last change.
    is_trusted: bool,
    /// Whether it has told anything since all was well.
    heard: bool,
    /// Whether the next look is by the clock: what was told was nothing, or was perhaps missed.
    is_deaf: bool,
    settled: Settledness,
}

impl Default for Attention {
    fn default() -> Self {
        // Of no directory it tells everything.
        let settled = Settledness::Settled;
        Self { is_covered: true, is_trusted: true, heard: false, is_deaf: false, settled }
    }
}

impl Attention {
    /// Other directories are watched from now on, if they are. What happened before that was told nobody.
    fn begin(&mut self, is_covered: bool) {
        (self.is_covered, self.is_deaf) = (is_covered, true);
    }

    fn listens(&self) -> bool {
        self.settled == Settledness::Settled && self.is_covered && self.is_trusted && !self.is_deaf
    }

    fn pause(&self) -> Duration {
        match self.settled {
            Settledness::Moving => SECOND_LOOK,
            _ if self.listens() => TRUSTING,
            _ => DISTRUSTING,
        }
    }

    fn looked(&mut self, settled: Settledness) {
        match (self.settled, settled) {
            (Settledness::Settled, Settledness::Settled) => self.is_deaf = std::mem::take(&mut self.heard),
            (_, Settledness::Settled) => {
                (self.is_trusted, self.is_deaf) = (self.heard || !self.is_covered, false);
                self.heard = false;
            }
            _ => {}
        }
        self.settled = settled;
    }
}

/// What inotify has told.
#[derive(Debug, Default)]
struct Told {
    anything: bool,
    /// Whether one of the directories is gone, or something was left out: they are to be watched anew.
    is_over: bool,
}

/// Where something happens when one of the files, or what its name stands for, is written or replaced.
fn directories<'a>(files: impl Iterator<Item = &'a Path>) -> BTreeSet<PathBuf> {
    let stands_for = |file: &Path| file.canonicalize().ok().and_then(|file| directory(&file));
    files.flat_map(|file| [directory(file), stands_for(file)]).flatten().collect()
}

fn directory(file: &Path) -> Option<PathBuf> {
    let parent = file.parent()?;
    // The parent of a name alone is the working directory.
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

fn watch(directories: &BTreeSet<PathBuf>) -> io::Result<OwnedFd> {
    let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let happenings = WatchFlags::CREATE
        | WatchFlags::MODIFY
        | WatchFlags::ATTRIB
        | WatchFlags::MOVE
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF;
    for directory in directories {
        inotify::add_watch(&inotify, directory.as_path(), happenings | WatchFlags::ONLYDIR)?;
    }
    Ok(inotify)
}

fn drain(inotify: &OwnedFd) -> io::Result<Told> {
    let mut buffer = [MaybeUninit::uninit(); EVENTS];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    let over = ReadFlags::IGNORED | ReadFlags::MOVE_SELF | ReadFlags::QUEUE_OVERFLOW | ReadFlags::UNMOUNT;
    let mut told = Told::default();
    loop {
        match reader.next() {
            Ok(event) => {
                told.anything = true;
                told.is_over |= event.events().intersects(over);
            }
            Err(rustix::io::Errno::AGAIN) => return Ok(told),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::credentials::Settledness::{Moving, Pending, Settled};

    /// What is left of a minute after each look is slept through; `told` says whether the kernel tells something meanwhile. How often it was looked.
    fn looks_a_minute(attention: &mut Attention, told: bool) -> u32 {
        let (mut slept, mut looks) = (Duration::ZERO, 0);
        // One who looks again and again without sleeping would never be done.
        while slept < Duration::from_secs(60) && looks < 1_000 {
            let at_once = told && attention.listens();
            slept += if at_once { Duration::ZERO } else { attention.pause() };
            attention.heard |= told;
            attention.looked(Settled);
            looks += 1;
        }
        looks
    }

    #[test]
    fn files_that_stay_as_they_are_cost_six_looks_a_minute_and_a_busy_directory_no_more_than_one_a_second() {
        assert_eq!(looks_a_minute(&mut Attention::default(), false), 6);
        // Told, looked at at once, and then left alone for a second.
        let busy = looks_a_minute(&mut Attention::default(), true);
        assert!((60..=61).contains(&busy), "{busy}");
        let mut uncovered = Attention::default();
        uncovered.begin(false);
        assert_eq!(looks_a_minute(&mut uncovered, false), 60);
    }

    #[test]
    fn a_change_that_was_not_told_of_takes_the_trust_and_one_that_was_gives_it_back() {
        let mut attention = Attention::default();
        let change = |attention: &mut Attention, told| {
            attention.heard |= told;
            attention.looked(Moving);
            assert_eq!((attention.pause(), attention.listens()), (SECOND_LOOK, false));
            attention.looked(Settled);
            attention.pause()
        };
        assert_eq!(change(&mut attention, true), TRUSTING);
        assert_eq!(change(&mut attention, false), DISTRUSTING);
        assert_eq!(looks_a_minute(&mut attention, false), 60);
        assert_eq!(change(&mut attention, true), TRUSTING);
    }

    #[test]
    fn what_cannot_be_taken_up_is_looked_at_every_second() {
        let mut attention = Attention::default();
        attention.looked(Pending);
        assert_eq!((attention.pause(), attention.listens()), (DISTRUSTING, false));
    }

    /// Whether it is time to look, and not by the clock.
    fn is_told(notices: &Notices) -> bool {
        let descriptor = notices.descriptor().expect("nobody listens");
        let mut ready = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
        poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
    }

    /// Looks until it is quiet.
    fn settle(notices: &mut Notices, file: &Path) {
        for _ in 0..3 {
            notices.take();
            notices.looked(Settled, [file].into_iter());
        }
        assert!(!is_told(notices));
    }

    #[test]
    fn the_kernel_tells_of_a_file_that_is_written_replaced_or_linked_to_another_one() {
        let (place, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (file, target) = (place.path().join("file"), elsewhere.path().join("target"));
        fs::write(&target, "first").unwrap();
        symlink(&target, &file).unwrap();
        let mut notices = Notices::of([file.as_path()].into_iter());
        settle(&mut notices, &file);
        let link = place.path().join("link");
        let happenings: [(&str, &dyn Fn()); 4] = [
            ("what the link stands for is written", &|| fs::write(&target, "second").unwrap()),
            ("a file takes the place of the link", &|| {
                fs::write(place.path().join("new"), "third").unwrap();
                fs::rename(place.path().join("new"), &file).unwrap();
            }),
            ("the directory is replaced", &|| {
                fs::rename(place.path(), elsewhere.path().join("old")).unwrap();
                fs::create_dir(place.path()).unwrap();
            }),
            ("and a link appears in it", &|| {
                symlink(&target, &link).unwrap();
                fs::rename(&link, &file).unwrap();
            }),
        ];
        for (what, happens) in happenings {
            happens();
            assert!(is_told(&notices), "{what}");
            settle(&mut notices, &file);
        }
    }

    #[test]
    fn files_in_a_directory_that_is_not_there_are_looked_at_every_second() {
        let missing = Path::new("/nowhere/file");
        let mut notices = Notices::of([missing].into_iter());
        notices.take();
        notices.looked(Settled, [missing].into_iter());
        assert!(notices.descriptor().is_none());
        assert_eq!(notices.pause(), DISTRUSTING);
    }
}
