//! Moving delivered segments to an archive on another file system, so that the journal's has room and replays stay possible.
//!
//! The invariants:
//!
//! - **At any moment each segment lies whole in the slot or in the archive**, whoever is killed and whenever the power fails. It is copied under another name, made durable, given its
//!   name, and that is made durable; only then it goes from the slot. At worst it lies in both: the next attempt finds it and only takes it out of the slot. What a copy that was broken off
//!   has left is overwritten by the next one.
//! - **Only what every destination has delivered is moved**, the oldest first, and never the newest of the slot.
//! - **The numbers of events go with them.** The archive has what the slot knew of positions before a segment leaves it.
//!
//! Delivery waits for nothing here. A copy takes seconds, and an archive on a network may hang for minutes, so that no piece of it is small enough for a pipeline's turn: whoever calls
//! [`move_oldest`] does so on a thread of its own. A pipeline sees no more of it than of another destination that lets a segment go. The copy is made in pieces, each of which is synced, and
//! rests between them as long as they took: it has half of what the disks give at most.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keyferry_journal::SegmentName;

use crate::retention::{self, POSITIONS};

/// What the archive has under the name of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A whole copy of it.
    Copy,
    /// Something else.
    Another,
}

/// What moving needs of a slot and its archive. What an operation returns is what happened.
pub trait Archive {
    /// Where the archive is, for messages.
    fn describe(&self) -> String;

    /// The segments of the slot, in any order.
    ///
    /// # Errors
    /// What the operating system says.
    fn segments(&mut self) -> io::Result<Vec<SegmentName>>;

    /// What the archive has under the name of a segment of the slot.
    ///
    /// # Errors
    /// What the operating system says.
    fn find(&mut self, segment: SegmentName) -> io::Result<Found>;

    /// Copies a segment of the slot into the archive, under a name that is no segment's. Calls `rest` after each piece with the time that it took; where that answers `true`, the copy is broken off.
    /// Answers whether it is whole: it is not where it was broken off, or the segment is not there any more.
    ///
    /// # Errors
    /// What the operating system says.
    fn copy(&mut self, segment: SegmentName, rest: &mut dyn FnMut(Duration) -> bool) -> io::Result<bool>;

    /// Makes the content of the copy durable.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_copy(&mut self) -> io::Result<()>;

    /// Gives the copy the segment's name.
    ///
    /// # Errors
    /// What the operating system says.
    fn name_copy(&mut self, segment: SegmentName) -> io::Result<()>;

    /// Writes down in the archive, durably, what the slot knows of positions.
    ///
    /// # Errors
    /// What the operating system says.
    fn keep_positions(&mut self) -> io::Result<()>;

    /// Makes the names in the archive durable.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_names(&mut self) -> io::Result<()>;

    /// Deletes a segment of the slot. Deleting one that is gone is no error.
    ///
    /// # Errors
    /// What the operating system says.
    fn remove(&mut self, segment: SegmentName) -> io::Result<()>;
}

/// A segment cannot be moved. It stays in the slot.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// An operation failed.
    #[error("cannot {what} {place}: {source}; {}", remedy(.source))]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The archive.
        place: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Moving would free nothing.
    #[error(
        "{0} is on the file system of the journal itself, where moving would free nothing; let `journal.archive_directory` name a directory on another one"
    )]
    SameFileSystem(String),
    /// The archive has something else under the name of a segment.
    #[error(
        "{place} has another {segment} than the journal; let `journal.archive_directory` name a directory of this journal alone"
    )]
    Taken {
        /// The archive.
        place: String,
        /// The name.
        segment: SegmentName,
    },
}

impl ArchiveError {
    fn io(what: &'static str, place: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, place: place.to_owned(), source }
    }
}

/// What to do about an error of the archive's file system.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there, or let `journal.archive_directory` name a larger place"
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            "create the directory that `journal.archive_directory` names, or mount what belongs there"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "let the agent's user write there"
        }
        _ => "look at that disk",
    }
}

/// Moves the oldest segment before `delivered`, before which every destination has delivered everything. `rest` is as for [`Archive::copy`]. Answers which; `None` if there is none, or if it was broken
/// off.
///
/// # Errors
/// It could not be moved, and is still in the slot.
pub fn move_oldest(
    archive: &mut impl Archive,
    delivered: SegmentName,
    rest: &mut dyn FnMut(Duration) -> bool,
) -> Result<Option<SegmentName>, ArchiveError> {
    let place = archive.describe();
    let cannot = |what| ArchiveError::io(what, &place);
    let segments = archive.segments().map_err(cannot("list the slot for"))?;
    let Some(segment) = oldest(&segments, delivered) else { return Ok(None) };
    match archive.find(segment).map_err(cannot("look for a segment in"))? {
        Found::Another => return Err(ArchiveError::Taken { place, segment }),
        Found::Copy => {}
        Found::Nothing => {
            if !archive.copy(segment, rest).map_err(cannot("copy a segment to"))? {
                return Ok(None);
            }
            archive.sync_copy().map_err(cannot("sync a segment in"))?;
            archive.name_copy(segment).map_err(cannot("name a segment in"))?;
        }
    }
    archive.keep_positions().map_err(cannot("write positions to"))?;
    archive.sync_names().map_err(cannot("sync"))?;
    archive.remove(segment).map_err(cannot("take from the slot what is in"))?;
    Ok(Some(segment))
}

fn oldest(segments: &[SegmentName], delivered: SegmentName) -> Option<SegmentName> {
    let newest = segments.iter().max();
    segments.iter().filter(|segment| **segment < delivered && Some(*segment) != newest).min().copied()
}

/// After a failure it is tried again no sooner than this.
const TRY_AGAIN_MS: u64 = 5_000;

/// When segments are moved, and what is told of it, over any number of failures.
#[derive(Debug, Default)]
pub struct Mover {
    not_before_ms: u64,
    /// The failure that was told last, as long as it lasts.
    told: Option<String>,
    /// Segments since that was told last.
    moved: u64,
}

impl Mover {
    /// Whether it is time to try, at the monotonic time `now_ms`.
    pub fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.not_before_ms
    }

    /// Takes in how [`move_oldest`] has ended, with an archive at `place`, and tells what is news. Answers whether there may be more to move at once.
    pub fn settle(
        &mut self,
        place: &Path,
        result: Result<Option<SegmentName>, ArchiveError>,
        now_ms: u64,
    ) -> bool {
        match result {
            Ok(Some(segment)) => {
                tracing::debug!("{segment} is moved to {}", place.display());
                self.told = None;
                self.moved += 1;
                true
            }
            Ok(None) => {
                let moved = std::mem::take(&mut self.moved);
                if moved > 0 {
                    tracing::info!("{moved} delivered segments are moved to {}", place.display());
                }
                false
            }
            Err(error) => {
                if self.failed(&error, now_ms) {
                    tracing::error!(
                        "{error}; what is delivered stays in the journal, delivery goes on, and it is tried again"
                    );
                }
                false
            }
        }
    }

    /// It failed. Answers whether that is worth telling.
    fn failed(&mut self, error: &ArchiveError, now_ms: u64) -> bool {
        self.not_before_ms = now_ms + TRY_AGAIN_MS;
        let text = error.to_string();
        self.told.replace(text.clone()) != Some(text)
    }
}

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// The name of a copy that has no name of its own yet.
const COPY: &str = "segment.part";
/// So many bytes are copied between two rests.
const PIECE: u64 = 1 << 20;

/// A slot, and the directory of the same name in the archive: segments and positions as in a slot, and nothing else.
#[derive(Debug)]
pub struct ArchiveDirectory {
    slot: PathBuf,
    place: PathBuf,
}

impl ArchiveDirectory {
    /// The archive of `slot` below `directory`, which must be there and on another file system. What is missing below it is created.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(directory: &Path, slot: &Path) -> Result<Self, ArchiveError> {
        let at = directory.display().to_string();
        let unusable = || ArchiveError::io("use", &at);
        let device = |path| fs::metadata(path).map(|found| found.dev());
        if device(directory).map_err(unusable())? == device(slot).map_err(unusable())? {
            return Err(ArchiveError::SameFileSystem(at));
        }
        let place = Self::place_of(directory, slot).map_err(unusable())?;
        create(directory, &place).map_err(unusable())?;
        Ok(Self { slot: slot.to_owned(), place })
    }

    /// Where the archive of `slot` is below `directory`, if there is one.
    ///
    /// # Errors
    /// The slot is not there.
    pub fn place_of(directory: &Path, slot: &Path) -> io::Result<PathBuf> {
        let slot = slot.canonicalize()?;
        Ok(directory.join(slot.file_name().unwrap_or_default()))
    }

    fn in_slot(&self, segment: SegmentName) -> PathBuf {
        self.slot.join(segment.to_string())
    }

    fn in_archive(&self, segment: SegmentName) -> PathBuf {
        self.place.join(segment.to_string())
    }
}

/// Creates `place` in `directory`, durably, unless it is there; it must be one that can be written to.
fn create(directory: &Path, place: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(place) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => {
            created?;
            File::open(directory)?.sync_all()?;
        }
    }
    Ok(rustix::fs::access(place, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?)
}

impl Archive for ArchiveDirectory {
    fn describe(&self) -> String {
        self.place.display().to_string()
    }

    fn segments(&mut self) -> io::Result<Vec<SegmentName>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.slot)? {
            segments.extend(entry?.file_name().to_str().and_then(|name| name.parse::<SegmentName>().ok()));
        }
        Ok(segments)
    }

    fn find(&mut self, segment: SegmentName) -> io::Result<Found> {
        let Some(copy) = open_if_there(&self.in_archive(segment))? else { return Ok(Found::Nothing) };
        let Some(original) = open_if_there(&self.in_slot(segment))? else { return Ok(Found::Copy) };
        Ok(if are_equal(&original, &copy)? { Found::Copy } else { Found::Another })
    }

    fn copy(&mut self, segment: SegmentName, rest: &mut dyn FnMut(Duration) -> bool) -> io::Result<bool> {
        let Some(mut original) = open_if_there(&self.in_slot(segment))? else { return Ok(false) };
        let path = self.place.join(COPY);
        let mut copy =
            OpenOptions::new().create(true).write(true).truncate(true).mode(FILE_MODE).open(path)?;
        loop {
            let begun = Instant::now();
            if io::copy(&mut (&mut original).take(PIECE), &mut copy)? == 0 {
                return Ok(true);
            }
            copy.sync_data()?;
            if rest(begun.elapsed()) {
                return Ok(false);
            }
        }
    }

    fn sync_copy(&mut self) -> io::Result<()> {
        File::open(self.place.join(COPY))?.sync_all()
    }

    fn name_copy(&mut self, segment: SegmentName) -> io::Result<()> {
        fs::rename(self.place.join(COPY), self.in_archive(segment))
    }

    fn keep_positions(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(&self.slot)? {
            let name = entry?.file_name();
            if name.to_str().is_some_and(|name| name.ends_with(POSITIONS)) {
                retention::merge(&self.slot.join(&name), &self.place.join(&name))?;
            }
        }
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.place)?.sync_all()
    }

    fn remove(&mut self, segment: SegmentName) -> io::Result<()> {
        match fs::remove_file(self.in_slot(segment)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

fn are_equal(one: &File, other: &File) -> io::Result<bool> {
    const BLOCK: usize = 1 << 16;
    let length = one.metadata()?.len();
    if other.metadata()?.len() != length {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
    for offset in (0..length).step_by(BLOCK) {
        let bytes = usize::try_from(length - offset).unwrap_or(BLOCK).min(BLOCK);
        one.read_exact_at(&mut left[..bytes], offset)?;
        other.read_exact_at(&mut right[..bytes], offset)?;
        if left[..bytes] != right[..bytes] {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use keyferry_journal::{Epoch, Resume};

    use super::*;
    use crate::in_flight::Progress;
    use crate::lines;
    use crate::retention::Position;

    fn segment(number: u32) -> SegmentName {
        SegmentName { epoch: Epoch(7 << 8), number }
    }

    fn content(number: u32) -> Vec<u8> {
        format!("segment {number}").into_bytes()
    }

    const SEGMENTS: u32 = 4;
    /// Before it everything is delivered.
    const DELIVERED: u32 = 2;

    #[derive(Clone)]
    struct Stored {
        bytes: Vec<u8>,
        is_synced: bool,
    }

    /// What ends the mover.
    #[derive(Clone, Copy, Debug)]
    enum Death {
        /// What was written is there.
        Kill,
        /// What was not synced is not; names that were not may be there or not.
        PowerCut { names_stay: bool },
    }

    /// Two file systems, and a mover that dies after so many operations.
    struct Disks {
        slot: BTreeMap<SegmentName, Vec<u8>>,
        unnamed: Option<Stored>,
        named: BTreeMap<SegmentName, Stored>,
        /// The names that survive a power cut.
        synced: BTreeMap<SegmentName, Stored>,
        /// The segments in the archive whose numbers it knows.
        positions: BTreeSet<SegmentName>,
        operations_left: usize,
    }

    impl Disks {
        fn new(operations_left: usize) -> Self {
            let slot = (0..SEGMENTS).map(|number| (segment(number), content(number))).collect();
            let (unnamed, named, synced) = (None, BTreeMap::new(), BTreeMap::new());
            Self { slot, unnamed, named, synced, positions: BTreeSet::new(), operations_left }
        }

        fn operate(&mut self) -> io::Result<()> {
            self.operations_left =
                self.operations_left.checked_sub(1).ok_or_else(|| io::Error::other("dead"))?;
            Ok(())
        }

        fn die(&mut self, death: Death) {
            let Death::PowerCut { names_stay } = death else { return };
            if !names_stay {
                self.named = self.synced.clone();
            }
            let copies = self.named.values_mut().chain(&mut self.unnamed);
            copies.filter(|copy| !copy.is_synced).for_each(|copy| copy.bytes.clear());
        }

        /// Moves until nothing is left to move; answers whether it lived so long.
        fn run(&mut self) -> bool {
            loop {
                match move_oldest(self, segment(DELIVERED), &mut |_| false) {
                    Ok(Some(_)) => {}
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
        }

        fn assert_whole(&self, when: &str) {
            for number in 0..SEGMENTS {
                let name = segment(number);
                let in_archive = self.named.get(&name).is_some_and(|copy| copy.bytes == content(number));
                let is_archived = in_archive && self.positions.contains(&name);
                assert!(self.slot.contains_key(&name) || is_archived, "{when}: {name} is lost");
            }
        }
    }

    impl Archive for Disks {
        fn describe(&self) -> String {
            "the archive".to_owned()
        }

        fn segments(&mut self) -> io::Result<Vec<SegmentName>> {
            self.operate()?;
            Ok(self.slot.keys().rev().copied().collect())
        }

        fn find(&mut self, segment: SegmentName) -> io::Result<Found> {
            self.operate()?;
            Ok(match self.named.get(&segment) {
                None => Found::Nothing,
                Some(copy) if copy.bytes == self.slot[&segment] => Found::Copy,
                Some(_) => Found::Another,
            })
        }

        fn copy(&mut self, segment: SegmentName, rest: &mut dyn FnMut(Duration) -> bool) -> io::Result<bool> {
            let bytes = self.slot[&segment].clone();
            for end in [bytes.len() / 2, bytes.len()] {
                self.operate()?;
                self.unnamed = Some(Stored { bytes: bytes[..end].to_vec(), is_synced: false });
                if rest(Duration::ZERO) {
                    return Ok(false);
                }
            }
            Ok(true)
        }

        fn sync_copy(&mut self) -> io::Result<()> {
            self.operate()?;
            self.unnamed.as_mut().ok_or(io::ErrorKind::NotFound)?.is_synced = true;
            Ok(())
        }

        fn name_copy(&mut self, segment: SegmentName) -> io::Result<()> {
            self.operate()?;
            let copy = self.unnamed.take().ok_or(io::ErrorKind::NotFound)?;
            self.named.insert(segment, copy);
            Ok(())
        }

        fn keep_positions(&mut self) -> io::Result<()> {
            self.operate()?;
            self.positions.extend(self.slot.keys());
            Ok(())
        }

        fn sync_names(&mut self) -> io::Result<()> {
            self.operate()?;
            self.synced = self.named.clone();
            Ok(())
        }

        fn remove(&mut self, segment: SegmentName) -> io::Result<()> {
            self.operate()?;
            self.slot.remove(&segment);
            Ok(())
        }
    }

    #[test]
    fn a_death_between_any_two_steps_loses_nothing_and_the_next_attempt_ends_the_move() {
        let deaths =
            [Death::Kill, Death::PowerCut { names_stay: false }, Death::PowerCut { names_stay: true }];
        for death in deaths {
            let mut steps = 0;
            loop {
                let mut disks = Disks::new(steps);
                let lived = disks.run();
                disks.die(death);
                disks.assert_whole(&format!("{death:?} after {steps} operations"));
                if lived {
                    break;
                }
                disks.operations_left = usize::MAX;
                assert!(disks.run(), "{death:?} after {steps} operations is never mended");
                disks.assert_whole("at the end");
                let left: Vec<_> = disks.slot.keys().copied().collect();
                assert_eq!(left, [segment(2), segment(3)], "what is not delivered stays, and nothing else");
                steps += 1;
            }
            assert!(steps > 15, "{steps} operations are not those of two segments");
        }
    }

    #[test]
    fn only_what_is_delivered_is_moved_the_oldest_first_and_never_the_newest() {
        let all = [segment(3), segment(1), segment(2)];
        assert_eq!(oldest(&all, segment(1)), None);
        assert_eq!(oldest(&all, segment(3)), Some(segment(1)));
        assert_eq!(oldest(&all[..1], segment(9)), None);
    }

    #[test]
    fn a_copy_that_is_broken_off_leaves_the_segment_where_it_was() {
        let mut disks = Disks::new(usize::MAX);
        assert!(matches!(move_oldest(&mut disks, segment(DELIVERED), &mut |_| true), Ok(None)));
        assert!(disks.named.is_empty() && disks.slot.len() == SEGMENTS as usize);
        assert!(disks.run(), "and what is left of it stands in nobody's way");
    }

    #[test]
    fn the_segment_of_another_journal_is_not_overwritten() {
        let mut disks = Disks::new(usize::MAX);
        let foreign = Stored { bytes: b"another".to_vec(), is_synced: true };
        disks.named.insert(segment(0), foreign);
        let error = move_oldest(&mut disks, segment(DELIVERED), &mut |_| false).unwrap_err().to_string();
        assert!(error.contains("has another") && error.contains("journal.archive_directory"), "{error}");
        assert_eq!(disks.named[&segment(0)].bytes, b"another");
        assert!(disks.slot.contains_key(&segment(0)));
    }

    #[test]
    fn a_failure_is_told_once_with_its_remedy_and_tried_again() {
        let failure = |kind: io::ErrorKind| ArchiveError::io("copy a segment to", "/a")(kind.into());
        let mut mover = Mover::default();
        assert!(mover.failed(&failure(io::ErrorKind::StorageFull), 0));
        assert!(!mover.failed(&failure(io::ErrorKind::StorageFull), 0) && !mover.is_due(TRY_AGAIN_MS - 1));
        assert!(mover.is_due(TRY_AGAIN_MS));
        assert!(mover.failed(&failure(io::ErrorKind::NotFound), 0), "another failure is news");
        assert!(mover.settle(Path::new("/a"), Ok(Some(segment(1))), 0));
        assert!(mover.failed(&failure(io::ErrorKind::NotFound), 0), "and so is a new one");
        for (kind, remedy) in [
            (io::ErrorKind::StorageFull, "make room"),
            (io::ErrorKind::NotFound, "create the directory"),
            (io::ErrorKind::PermissionDenied, "agent's user"),
            (io::ErrorKind::Other, "that disk"),
        ] {
            let text = failure(kind).to_string();
            assert!(text.starts_with("cannot copy a segment to /a: ") && text.contains(remedy), "{text}");
        }
    }

    fn position(number: u32, next_sequence: u64) -> Position {
        let resume = Resume::beginning(segment(number));
        Position { progress: Progress { resume, next_sequence }, reached_ms: 1 }
    }

    #[test]
    fn a_directory_gets_segments_and_positions_as_they_are() {
        let (slot, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [slot, place] = [slot.path(), place.path()];
        for number in 0..3 {
            fs::write(slot.join(segment(number).to_string()), content(number)).unwrap();
        }
        fs::write(place.join(COPY), "what a longer copy that was broken off has left").unwrap();
        let (from, into) = (slot.join("a.positions.jsonl"), place.join("a.positions.jsonl"));
        // The slot forgets what it needs no more; where both speak of a place, the slot is right.
        lines::replace(&into, &[position(0, 1), position(1, 99)]).unwrap();
        lines::replace(&from, &[position(1, 10), position(2, 20)]).unwrap();
        let mut archive = ArchiveDirectory { slot: slot.to_owned(), place: place.to_owned() };
        while move_oldest(&mut archive, segment(2), &mut |_| false).unwrap().is_some() {}
        for number in [0, 1] {
            let name = segment(number).to_string();
            assert_eq!(fs::read(place.join(&name)).unwrap(), content(number));
            assert!(!slot.join(name).exists());
        }
        assert!(slot.join(segment(2).to_string()).exists() && !place.join(COPY).exists());
        let kept: Vec<Position> = lines::read(&into).unwrap();
        assert_eq!(kept, [position(0, 1), position(1, 10), position(2, 20)]);
        fs::write(slot.join(segment(1).to_string()), content(1)).unwrap();
        assert_eq!(archive.find(segment(1)).unwrap(), Found::Copy, "a crash before the slot let it go");
        fs::write(slot.join(segment(1).to_string()), content(3)).unwrap();
        assert_eq!(archive.find(segment(1)).unwrap(), Found::Another);
    }

    #[test]
    fn an_archive_that_is_not_there_or_frees_nothing_is_refused() {
        let journal = tempfile::tempdir().unwrap();
        let slot = journal.path().join("slot-0");
        fs::create_dir(&slot).unwrap();
        let missing = ArchiveDirectory::open(&journal.path().join("nowhere"), &slot).unwrap_err().to_string();
        assert!(missing.contains("nowhere") && missing.contains("mount what belongs there"), "{missing}");
        let same = ArchiveDirectory::open(journal.path(), &slot).unwrap_err();
        assert!(matches!(same, ArchiveError::SameFileSystem(_)), "{same}");
    }
}
