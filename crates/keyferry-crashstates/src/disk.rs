//! A file system that has been told to sync some things and not others, and what a power cut may leave of it.
//!
//! The invariant: `Content::versions` holds what a file was like at every moment since the last one that certainly survives, that one
//! first. What may survive is put together from these and from nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::trace::Entry;

/// The unit in which a disk writes whole, in bytes.
pub const SECTOR: usize = 512;
/// The unit in which a kernel writes back, in bytes.
pub const PAGE: usize = 4096;

/// What a file holds.
#[derive(Debug, Clone)]
pub struct Content {
    versions: Vec<Rc<[u8]>>,
    /// How many versions there were before those.
    dropped: usize,
    /// For each sync under way, which version it began with, counted from the first ever.
    syncing: VecDeque<usize>,
    /// A sync has failed: nothing more of this file becomes certain.
    poisoned: bool,
}

impl Default for Content {
    fn default() -> Self {
        Self { versions: vec![Rc::default()], dropped: 0, syncing: VecDeque::new(), poisoned: false }
    }
}

impl Content {
    /// What the file holds now.
    #[must_use]
    pub fn now(&self) -> &[u8] {
        self.versions.last().map_or(&[], |bytes| bytes)
    }

    /// What certainly survives a power cut, if the file's name does.
    #[must_use]
    pub fn certain(&self) -> &[u8] {
        &self.versions[0]
    }

    /// What the file was like at each moment since the last that certainly survives, that one first.
    #[must_use]
    pub fn versions(&self) -> &[Rc<[u8]>] {
        &self.versions
    }

    fn change(&mut self, bytes: Vec<u8>) {
        self.versions.push(bytes.into());
    }

    fn begin_sync(&mut self) {
        self.syncing.push_back(self.newest());
    }

    /// Of several syncs under way, the one that began first is taken for the one that ended: the least that can be certain.
    fn sync(&mut self) {
        let begun = self.syncing.pop_front().unwrap_or(self.newest());
        if !self.poisoned {
            self.versions.drain(..begun.saturating_sub(self.dropped));
            self.dropped = self.dropped.max(begun);
        }
    }

    fn fail_sync(&mut self) {
        self.syncing.pop_front();
        self.poisoned = true;
    }

    /// The number of the newest version, counted from the first ever.
    fn newest(&self) -> usize {
        self.dropped + self.versions.len() - 1
    }
}

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// It is there, and certainly survives.
    Certain,
    /// It is there; whether it survives is open.
    Fresh,
    /// It was removed; whether it comes back is open.
    Removed,
}

/// A file system.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    names: BTreeMap<String, Name>,
    files: BTreeMap<String, Content>,
}

impl Disk {
    /// Does what the entry says.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::CreateDirectory { path } => {
                self.names.insert(path.clone(), Name::Fresh);
            }
            Entry::Create { path } => {
                self.names.insert(path.clone(), Name::Fresh);
                self.files.insert(path.clone(), Content::default());
            }
            Entry::Write { path, bytes, .. } => self.write(path, bytes),
            Entry::Truncate { path, length } => self.truncate(path, *length),
            Entry::SyncBegin { path } => self.of(path, Content::begin_sync),
            Entry::Sync { path } => self.of(path, Content::sync),
            Entry::SyncFailed { path } => self.of(path, Content::fail_sync),
            Entry::Died => self.files.values_mut().for_each(|file| file.syncing.clear()),
            Entry::SyncDirectory { path } => self.sync_directory(path),
            Entry::Delete { path } => {
                self.names.insert(path.clone(), Name::Removed);
            }
            _ => {}
        }
    }

    fn of(&mut self, path: &str, change: fn(&mut Content)) {
        if let Some(file) = self.files.get_mut(path) {
            change(file);
        }
    }

    /// Writes at the end of a file.
    pub fn write(&mut self, path: &str, bytes: &[u8]) {
        if let Some(file) = self.files.get_mut(path) {
            let whole = [file.now(), bytes].concat();
            file.change(whole);
        }
    }

    fn truncate(&mut self, path: &str, length: u64) {
        if let Some(file) = self.files.get_mut(path) {
            let mut bytes = file.now().to_vec();
            bytes.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
            file.change(bytes);
        }
    }

    fn sync_directory(&mut self, directory: &str) {
        self.names.retain(|path, name| {
            let inside = parent(path) == directory;
            if inside && *name == Name::Fresh {
                *name = Name::Certain;
            }
            !(inside && *name == Name::Removed)
        });
        self.files.retain(|path, _| self.names.contains_key(path));
    }

    /// All files, and what becomes of their names.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Content, Name)> {
        self.files.iter().filter_map(|(path, content)| Some((path.as_str(), content, *self.names.get(path)?)))
    }

    /// The directories whose names may not survive.
    pub fn fresh_directories(&self) -> impl Iterator<Item = &str> {
        let fresh =
            self.names.iter().filter(|(path, name)| **name == Name::Fresh && !self.files.contains_key(*path));
        fresh.map(|(path, _)| path.as_str())
    }

    /// Whether the file certainly survives a power cut, under its name.
    #[must_use]
    pub fn is_certain(&self, path: &str) -> bool {
        let mut at = path;
        while !at.is_empty() {
            if self.names.get(at).is_some_and(|name| *name != Name::Certain) {
                return false;
            }
            at = parent(at);
        }
        self.names.contains_key(path)
    }

    /// How much of the file certainly survives a power cut, in bytes.
    #[must_use]
    pub fn certain_length(&self, path: &str) -> u64 {
        let content = self.files.get(path).filter(|_| self.is_certain(path));
        content.map_or(0, |content| content.certain().len() as u64)
    }

    /// How long the file is now, in bytes; 0 if there is none.
    #[must_use]
    pub fn length(&self, path: &str) -> u64 {
        let there = self.names.get(path).is_some_and(|name| *name != Name::Removed);
        self.files.get(path).filter(|_| there).map_or(0, |content| content.now().len() as u64)
    }
}

/// The directory that holds the path; empty for the one that everything is relative to.
#[must_use]
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The last part of the path.
#[must_use]
pub fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "journal/a";

    fn disk(entries: &[Entry]) -> Disk {
        let mut disk = Disk::default();
        disk.apply(&Entry::CreateDirectory { path: "journal".into() });
        disk.apply(&Entry::Create { path: FILE.into() });
        entries.iter().for_each(|entry| disk.apply(entry));
        disk
    }

    fn write(text: &str) -> Entry {
        Entry::Write { path: FILE.into(), bytes: text.into(), failed: false }
    }

    fn sync() -> Entry {
        Entry::Sync { path: FILE.into() }
    }

    fn sync_directory(path: &str) -> Entry {
        Entry::SyncDirectory { path: path.into() }
    }

    #[test]
    fn content_is_certain_once_file_name_and_directory_are_synced() {
        let synced = [write("ab"), sync(), write("c")];
        assert_eq!(disk(&synced).certain_length(FILE), 0);
        let named = [&synced[..], &[sync_directory("journal")]].concat();
        assert_eq!(disk(&named).certain_length(FILE), 0);
        let all = [&named[..], &[sync_directory("")]].concat();
        assert_eq!(disk(&all).certain_length(FILE), 2);
        assert_eq!(disk(&all).length(FILE), 3);
    }

    #[test]
    fn what_is_written_while_a_sync_is_under_way_is_not_certain_after_it() {
        let begin = || Entry::SyncBegin { path: FILE.into() };
        let named = [sync_directory("journal"), sync_directory("")];
        let overlapping = [write("ab"), begin(), write("c"), begin(), write("d"), sync()];
        assert_eq!(disk(&[&named[..], &overlapping].concat()).certain_length(FILE), 2);
        let both = [&named[..], &overlapping, &[sync(), write("e")]].concat();
        assert_eq!(disk(&both).certain_length(FILE), 3);
        assert_eq!(disk(&[&both[..], &[sync()]].concat()).certain_length(FILE), 5);
    }

    #[test]
    fn nothing_becomes_certain_after_a_sync_that_failed() {
        let failed = Entry::SyncFailed { path: FILE.into() };
        let entries =
            [write("ab"), sync(), write("cd"), failed, sync(), sync_directory("journal"), sync_directory("")];
        assert_eq!(disk(&entries).certain_length(FILE), 2);
    }

    #[test]
    fn a_removed_name_may_come_back_until_the_directory_is_synced() {
        let removed = [write("ab"), Entry::Delete { path: FILE.into() }];
        assert_eq!(disk(&removed).files().count(), 1);
        assert_eq!(disk(&removed).length(FILE), 0);
        let synced = [&removed[..], &[sync_directory("journal")]].concat();
        assert_eq!(disk(&synced).files().count(), 0);
    }
}
