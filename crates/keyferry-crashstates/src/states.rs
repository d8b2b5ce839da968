//! The crash states of a trace: what is on the disk when a process is killed, or the power is cut, between any two of its operations.
//!
//! The invariant: a crash is placed before an operation of the disk and after everything that clients had been told by then, so that
//! every state is judged by the most that had been promised in it.

use std::collections::{BTreeMap, HashSet};

use keyferry_journal::{MemoryStorage, SegmentName};

use crate::disk::{Content, Disk, Name, PAGE, SECTOR, file_name, parent};
use crate::trace::{Entry, Trace};
use crate::verdict::{Certainty, Judge, Violation};

/// When the open choices of a power cut give no more states than this, all of them are examined.
const EXHAUSTIVE: u64 = 64;
/// How many are examined otherwise.
const SAMPLES: u64 = 10;

/// What ended the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Its process was killed; the system went on.
    Killed {
        /// How many bytes of the write under way had been taken.
        partial: usize,
    },
    /// The power was cut; the number tells one of the states that may be left from the others.
    PowerCut(u64),
}

/// What examining a trace came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// States after a killed process.
    pub killed: u64,
    /// States after a power cut.
    pub power_cuts: u64,
    /// Transactions that had been promised, over all states.
    pub promised: u64,
}

impl Summary {
    /// Adds the numbers of another trace.
    pub fn add(&mut self, other: &Self) {
        self.killed += other.killed;
        self.power_cuts += other.power_cuts;
        self.promised += other.promised;
    }
}

/// Examines every crash state of a trace.
///
/// # Errors
/// The first promise that is broken in one of them.
pub fn examine(trace: &Trace) -> Result<Summary, Box<Violation>> {
    let judge = Judge::of(trace);
    let mut disk = Disk::default();
    let mut summary = Summary::default();
    for (point, entry) in trace.entries.iter().enumerate() {
        if entry.is_operation() {
            killed(&judge, &disk, point, entry, &mut summary)?;
            power_cuts(&judge, &disk, point, &mut summary)?;
        }
        disk.apply(entry);
    }
    let end = trace.entries.len();
    judge_killed(&judge, &disk, end, 0, &mut summary)?;
    power_cuts(&judge, &disk, end, &mut summary)?;
    Ok(summary)
}

/// The process dies before `entry`, or in the middle of it if it is a write.
fn killed(
    judge: &Judge<'_>,
    disk: &Disk,
    point: usize,
    entry: &Entry,
    summary: &mut Summary,
) -> Result<(), Box<Violation>> {
    judge_killed(judge, disk, point, 0, summary)?;
    let Entry::Write { path, bytes, .. } = entry else { return Ok(()) };
    for cut in cuts(disk.length(path), bytes.len(), point as u64) {
        let mut torn = disk.clone();
        torn.write(path, &bytes[..cut]);
        judge_killed(judge, &torn, point, cut, summary)?;
    }
    Ok(())
}

fn judge_killed(
    judge: &Judge<'_>,
    disk: &Disk,
    point: usize,
    partial: usize,
    summary: &mut Summary,
) -> Result<(), Box<Violation>> {
    let there = disk.files().filter(|(.., name)| *name != Name::Removed);
    let slot = slot(there.map(|(path, content, _)| (path, content.now().to_vec())));
    summary.killed += 1;
    summary.promised += judge.examine(&slot, point, Crash::Killed { partial }, disk, Certainty::Written)?;
    Ok(())
}

/// Where a write of `length` bytes at `offset` is cut: at every border of a sector in it, and at a few other places.
fn cuts(offset: u64, length: usize, seed: u64) -> Vec<usize> {
    let first = SECTOR - usize::try_from(offset % SECTOR as u64).unwrap_or(0);
    let mut cuts: Vec<usize> = (first..length).step_by(SECTOR).collect();
    let mut dice = Dice(seed ^ offset);
    cuts.extend([
        1,
        8,
        31,
        32,
        40,
        length.saturating_sub(1),
        length.saturating_sub(8),
        length.saturating_sub(40),
    ]);
    cuts.extend((0..3).map(|_| dice.below(length as u64) as usize));
    cuts.retain(|cut| (1..length).contains(cut));
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// The power is cut before the operation at `point`.
fn power_cuts(
    judge: &Judge<'_>,
    disk: &Disk,
    point: usize,
    summary: &mut Summary,
) -> Result<(), Box<Violation>> {
    let open = Open::of(disk);
    let (count, exhaustive) = match open.combinations() {
        Some(all) => (all, true),
        None => (SAMPLES, false),
    };
    for number in 0..count {
        let files = if exhaustive { open.combination(number) } else { open.sample(number, point as u64) };
        summary.power_cuts += 1;
        summary.promised +=
            judge.examine(&slot(files), point, Crash::PowerCut(number), disk, Certainty::Synced)?;
    }
    Ok(())
}

/// The segments among the files as a slot whose writer is dead.
fn slot<P: AsRef<str>>(files: impl IntoIterator<Item = (P, Vec<u8>)>) -> MemoryStorage {
    let storage = MemoryStorage::new();
    storage.set_writer_alive(false);
    for (path, bytes) in files {
        if let Ok(segment) = file_name(path.as_ref()).parse::<SegmentName>() {
            storage.put(segment, bytes);
        }
    }
    storage
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// What a power cut leaves open.
struct Open<'a> {
    files: Vec<OpenFile<'a>>,
    directories: Vec<&'a str>,
}

/// What it leaves open of one file.
struct OpenFile<'a> {
    path: &'a str,
    content: &'a Content,
    /// Whether its name may be missing.
    name: bool,
    /// How long it may be, in bytes, ascending.
    lengths: Vec<usize>,
    /// For each sector, the versions of the file in which it is different.
    sectors: Vec<Vec<usize>>,
}

impl<'a> Open<'a> {
    fn of(disk: &'a Disk) -> Self {
        let files = disk.files().map(|(path, content, name)| OpenFile {
            path,
            content,
            name: name != Name::Certain,
            lengths: lengths(content),
            sectors: sectors(content),
        });
        Self { files: files.collect(), directories: disk.fresh_directories().collect() }
    }

    /// How many states there are, unless they are too many.
    fn combinations(&self) -> Option<u64> {
        let choices = self.files.iter().flat_map(OpenFile::choices);
        let mut choices = choices.chain(self.directories.iter().map(|_| 2));
        let all = choices.try_fold(1u64, u64::checked_mul);
        all.filter(|all| *all <= EXHAUSTIVE)
    }

    fn combination(&self, number: u64) -> Vec<(String, Vec<u8>)> {
        let mut rest = number;
        let mut digit = |base: u64| {
            let digit = rest % base;
            rest /= base;
            digit
        };
        let missing = self.directories.iter().filter(|_| digit(2) == 1).copied().collect();
        let kept = self.files.iter().filter_map(|file| {
            if file.name && digit(2) == 1 {
                // The other choices change nothing then.
                return None;
            }
            let length = file.lengths[digit(file.lengths.len() as u64) as usize];
            Some((file, file.assemble(length, |_, versions| versions[digit(versions.len() as u64) as usize])))
        });
        keep(kept, &missing)
    }

    /// One of too many states: first the extreme ones, then by chance.
    fn sample(&self, number: u64, point: u64) -> Vec<(String, Vec<u8>)> {
        let mut dice = Dice(point << 8 | number);
        let extreme = number < 4;
        let missing = match number {
            0 => self.directories.iter().copied().collect(),
            _ if extreme => HashSet::new(),
            _ => self.directories.iter().filter(|_| dice.below(8) == 0).copied().collect(),
        };
        let mut kept = Vec::new();
        for file in &self.files {
            let lost = if extreme { number == 0 } else { dice.below(4) == 0 };
            if !(file.name && lost) {
                kept.push((file, file.sample(number, &mut dice)));
            }
        }
        keep(kept, &missing)
    }
}

/// The files that are not in a directory that is missing.
fn keep<'a>(
    files: impl IntoIterator<Item = (&'a OpenFile<'a>, Vec<u8>)>,
    missing: &HashSet<&str>,
) -> Vec<(String, Vec<u8>)> {
    let present = files.into_iter().filter(|(file, _)| {
        let mut directory = parent(file.path);
        while !directory.is_empty() && !missing.contains(directory) {
            directory = parent(directory);
        }
        directory.is_empty()
    });
    present.map(|(file, bytes)| (file.path.to_owned(), bytes)).collect()
}

impl OpenFile<'_> {
    fn choices(&self) -> impl Iterator<Item = u64> {
        let name = self.name.then_some(2);
        name.into_iter()
            .chain([self.lengths.len() as u64])
            .chain(self.sectors.iter().map(|versions| versions.len() as u64))
    }

    /// The file at this length, each sector from the version that is chosen for it.
    fn assemble(&self, length: usize, mut choose: impl FnMut(usize, &[usize]) -> usize) -> Vec<u8> {
        let mut bytes = vec![0; length.max(self.sectors.len() * SECTOR)];
        for (index, versions) in self.sectors.iter().enumerate() {
            let at = index * SECTOR;
            let whole = &self.content.versions()[choose(index, versions)];
            if let Some(sector) = whole.get(at..) {
                let sector = &sector[..sector.len().min(SECTOR)];
                bytes[at..at + sector.len()].copy_from_slice(sector);
            }
        }
        bytes.truncate(length);
        bytes
    }

    fn sample(&self, number: u64, dice: &mut Dice) -> Vec<u8> {
        let oldest = self.lengths[0];
        let longest = self.lengths.last().copied().unwrap_or(oldest);
        let newest = |_: usize, versions: &[usize]| versions[versions.len() - 1];
        let first = |_: usize, versions: &[usize]| versions[0];
        match number {
            0 => self.assemble(self.content.certain().len(), first),
            1 => self.content.now().to_vec(),
            2 => self.assemble(longest, first),
            3 => {
                // All but the last write is lost.
                let last = self.content.versions().len() - 1;
                self.assemble(
                    longest,
                    |_, versions| if versions.contains(&last) { last } else { versions[0] },
                )
            }
            4 | 5 => {
                let seed = dice.next();
                self.assemble(longest, |index, versions| {
                    let page = (index * SECTOR / PAGE) as u64;
                    if Dice(seed ^ page).below(2) == 0 {
                        first(index, versions)
                    } else {
                        newest(index, versions)
                    }
                })
            }
            _ => {
                let length = self.lengths[dice.below(self.lengths.len() as u64) as usize];
                self.assemble(length, |_, versions| versions[dice.below(versions.len() as u64) as usize])
            }
        }
    }
}

/// How long the file was at any moment since it was certain.
fn lengths(content: &Content) -> Vec<usize> {
    let mut lengths: Vec<usize> = content.versions().iter().map(|version| version.len()).collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// For each sector, the versions that differ in it, the certain one first.
fn sectors(content: &Content) -> Vec<Vec<usize>> {
    let longest = content.versions().iter().map(|version| version.len()).max().unwrap_or(0);
    let sector = |version: usize, index: usize| {
        let bytes = &content.versions()[version];
        let begin = (index * SECTOR).min(bytes.len());
        &bytes[begin..bytes.len().min(begin + SECTOR)]
    };
    (0..longest.div_ceil(SECTOR))
        .map(|index| {
            let mut different: BTreeMap<&[u8], usize> = BTreeMap::new();
            for version in 0..content.versions().len() {
                different.entry(sector(version, index)).or_insert(version);
            }
            let mut versions: Vec<usize> = different.into_values().collect();
            versions.sort_unstable();
            versions
        })
        .collect()
}
