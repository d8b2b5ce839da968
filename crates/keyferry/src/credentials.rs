//! Where secrets come from: the environment, files that references name, and key and trust stores; and what follows when such a file changes.
//!
//! The invariant: **a changed credential is taken up without a restart, and one that cannot be read takes nothing away.** Files are looked at by name, so that
//! a link that comes to stand for another file (as Kubernetes renews what it mounts) is a change like any other. A change is taken up when it has been
//! the same for two looks: a certificate and its key are two files, and are not written at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use keyferry_config::{
    Destination, Loaded, OpenedStore, Readiness, Secret, Sources, StoreIdentity, StorePasswords,
};
use keyferry_kafka::security::store::{Passwords, Store};

use crate::shipment::lack;

/// What replaced connections are told to be for.
pub const CAUSE: &str = "credentials changed";

/// The sources that every command has: the environment, and stores that can be opened.
pub fn sources() -> Sources {
    Sources::new().with_process_environment().with_stores(open_store)
}

fn open_store(bytes: &[u8], passwords: StorePasswords<'_>) -> Result<OpenedStore, String> {
    let passwords =
        Passwords { store: passwords.store.map(Secret::expose), key: passwords.key.map(Secret::expose) };
    let store = Store::open(bytes, passwords).map_err(|error| error.to_string())?;
    let identity = store.identity.map(|identity| StoreIdentity {
        certificates: identity.certificates,
        key: Secret::new(identity.key),
    });
    Ok(OpenedStore { authorities: store.authorities, identity })
}

/// The files that values of a configuration come from, and what has become of them.
pub struct Watched {
    sources: Sources,
    destinations: Vec<Readiness>,
    files: Files,
    /// What was wrong with the last attempt to read them.
    complaint: Option<String>,
}

impl Watched {
    /// The files from which `loaded` was read out of `sources`.
    pub fn new(sources: Sources, loaded: &Loaded) -> Self {
        let files = Files::new(&loaded.files);
        Self { sources, destinations: loaded.config.destinations.clone(), files, complaint: None }
    }

    /// Where the configuration was read from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The files that are looked at.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.paths()
    }

    /// Whether what is in the files was taken up.
    pub fn settledness(&self) -> Settledness {
        self.files.settledness()
    }

    /// The destinations whose credentials are others than before.
    pub fn look(&mut self) -> Vec<Destination> {
        let changed = self.files.look();
        if changed.is_empty() {
            return Vec::new();
        }
        match keyferry_config::load(&self.sources) {
            Ok(loaded) => self.take_up(loaded, &changed),
            Err(errors) => {
                self.complain(errors.to_string());
                Vec::new()
            }
        }
    }

    /// Answers which destinations are others than before. One whose references yield nothing stays what it was, and keeps none of the others from theirs.
    fn take_up(&mut self, loaded: Loaded, changed: &BTreeSet<PathBuf>) -> Vec<Destination> {
        self.files.settle(&loaded.files);
        let (unresolved, readable): (Vec<_>, Vec<_>) = loaded
            .config
            .destinations
            .into_iter()
            .partition(|one| matches!(one, Readiness::Unresolved { .. }));
        match unresolved.iter().filter_map(lack).collect::<Vec<_>>() {
            lacks if lacks.is_empty() => self.complaint = None,
            lacks => self.complain(lacks.join("; ")),
        }
        let is_new = |destination: &&Destination| {
            let known = self.destinations.iter().any(|before| before.complete() == Some(*destination));
            !known || destination.security.files().any(|file| changed.contains(file))
        };
        let concerned = readable.iter().filter_map(Readiness::complete).filter(is_new).cloned().collect();
        self.destinations.retain(|before| unresolved.iter().any(|one| one.name() == before.name()));
        self.destinations.extend(readable);
        concerned
    }

    /// What was read last stays in use. It is looked at the files again until they can be read, and said once.
    fn complain(&mut self, complaint: String) {
        if self.complaint.as_ref() != Some(&complaint) {
            tracing::warn!("{CAUSE}, and cannot be read; those in use stay: {complaint}");
            self.complaint = Some(complaint);
        }
    }
}

/// Whether what is in files was taken up. Of several files the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Settledness {
    /// It was.
    Settled,
    /// It was not, and is the same as before: it cannot be read, or not be taken up.
    Pending,
    /// Something was different at the last look.
    Moving,
}

/// Files, and what they were like when their content was taken up and when they were looked at last.
#[derive(Debug)]
pub struct Files {
    seen: BTreeMap<PathBuf, Seen>,
    /// Whether all were the same at the last two looks.
    is_steady: bool,
}

#[derive(Debug)]
struct Seen {
    in_use: Option<u64>,
    last: Look,
}

/// What a file is like: by its name, through links.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    stamp: Option<Stamp>,
    /// A hash of its content; `None` if it cannot be read.
    content: Option<u64>,
}

/// What does not stay the same when a file is written or another one takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Files {
    /// Those of `paths`, with what is in them in use.
    pub fn new(paths: &BTreeSet<PathBuf>) -> Self {
        let mut files = Self { seen: BTreeMap::new(), is_steady: true };
        files.settle(paths);
        files
    }

    /// The files that differ from what is in use, once they are the same as when they were looked at last.
    pub fn look(&mut self) -> BTreeSet<PathBuf> {
        self.is_steady = true;
        let mut changed = BTreeSet::new();
        for (path, seen) in &mut self.seen {
            let now = Look::at(path, Some(&seen.last));
            self.is_steady &= now.content == seen.last.content;
            seen.last = now;
            if seen.last.content != seen.in_use {
                changed.insert(path.clone());
            }
        }
        if self.is_steady { changed } else { BTreeSet::new() }
    }

    /// Which they are.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.seen.keys().map(PathBuf::as_path)
    }

    /// Whether what is in them was taken up.
    pub fn settledness(&self) -> Settledness {
        match self.is_steady {
            false => Settledness::Moving,
            true if self.seen.values().any(|seen| seen.last.content != seen.in_use) => Settledness::Pending,
            true => Settledness::Settled,
        }
    }

    /// The content of `paths` as it was looked at last is in use from now on, and no other file is watched.
    pub fn settle(&mut self, paths: &BTreeSet<PathBuf>) {
        let mut before = std::mem::take(&mut self.seen);
        self.seen = paths
            .iter()
            .map(|path| {
                let last = before.remove(path).map_or_else(|| Look::at(path, None), |seen| seen.last);
                (path.clone(), Seen { in_use: last.content, last })
            })
            .collect();
    }
}

impl Look {
    /// Reads the file only if its stamp is another one than before.
    fn at(path: &Path, before: Option<&Self>) -> Self {
        let stamp = Stamp::of(path);
        match before {
            Some(before) if before.stamp == stamp => before.clone(),
            _ => Self { content: hash(path), stamp },
        }
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

fn hash(path: &Path) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    fs::read(path).ok()?.hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\n";

    /// A configuration of two destinations: one with a password in a file, one with a certificate in two.
    fn watched(directory: &Path) -> Watched {
        watched_after(directory, || {})
    }

    /// The same, where something happens before it is read for the first time.
    fn watched_after(directory: &Path, happens: impl FnOnce()) -> Watched {
        let place = directory.display();
        for (name, content) in [("password", "first"), ("crt", PEM), ("key", PEM)] {
            fs::write(directory.join(name), content).unwrap();
        }
        let destination = |name: &str| {
            format!(
                "[[destination]]\nname = \"{name}\"\nbootstrap_servers = [\"k:1\"]\ntopic_events = \"e\"\n"
            )
        };
        let text = format!(
            "{}[destination.security]\nprotocol = \"SASL_PLAINTEXT\"\n[destination.security.sasl]\nmechanism = \"PLAIN\"\n\
             username = \"u\"\npassword = \"${{file:{place}/password}}\"\n\
             {}[destination.security]\nprotocol = \"SSL\"\n[destination.security.tls]\ncertificate_file = \"{place}/crt\"\n\
             key_file = \"{place}/key\"\n",
            destination("login"),
            destination("certified"),
        );
        let sources = Sources::new().with_file_text(Path::new("keyferry.toml"), text);
        happens();
        let loaded = keyferry_config::load(&sources).unwrap_or_else(|errors| panic!("{errors}"));
        Watched::new(sources, &loaded)
    }

    fn names(destinations: Vec<Destination>) -> Vec<String> {
        destinations.iter().map(|destination| destination.name.to_string()).collect()
    }

    /// Two looks: a change must be steady.
    fn look(watched: &mut Watched) -> Vec<String> {
        let first = names(watched.look());
        [first, names(watched.look())].concat()
    }

    #[test]
    fn a_change_concerns_only_the_destination_that_the_file_belongs_to() {
        let directory = tempfile::tempdir().unwrap();
        let mut watched = watched(directory.path());
        assert_eq!(look(&mut watched), Vec::<String>::new());
        fs::write(directory.path().join("password"), "second\n").unwrap();
        assert_eq!(look(&mut watched), ["login"]);
        fs::write(directory.path().join("key"), format!("{PEM}another")).unwrap();
        assert_eq!(look(&mut watched), ["certified"]);
        assert_eq!(look(&mut watched), Vec::<String>::new());
    }

    #[test]
    fn a_change_is_taken_up_when_it_is_steady() {
        let directory = tempfile::tempdir().unwrap();
        let mut watched = watched(directory.path());
        fs::write(directory.path().join("crt"), "another").unwrap();
        assert!(watched.look().is_empty());
        assert_eq!(watched.settledness(), Settledness::Moving);
        fs::write(directory.path().join("key"), "another").unwrap();
        assert!(watched.look().is_empty());
        assert_eq!(names(watched.look()), ["certified"]);
        assert_eq!(watched.settledness(), Settledness::Settled);
    }

    #[test]
    fn a_link_that_stands_for_another_file_is_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let mut watched = watched(directory.path());
        let (link, password) = (directory.path().join("link"), directory.path().join("password"));
        fs::write(directory.path().join("other"), "second").unwrap();
        symlink("other", &link).unwrap();
        fs::rename(&link, &password).unwrap();
        assert_eq!(look(&mut watched), ["login"]);
    }

    #[test]
    fn what_is_written_anew_with_the_same_content_is_no_change() {
        let directory = tempfile::tempdir().unwrap();
        let mut watched = watched(directory.path());
        let (new, password) = (directory.path().join("new"), directory.path().join("password"));
        fs::write(&new, "first").unwrap();
        fs::rename(&new, &password).unwrap();
        assert_eq!(look(&mut watched), Vec::<String>::new());
        // Nor is one that is no change of the value.
        fs::write(&password, "first\n").unwrap();
        assert_eq!(look(&mut watched), Vec::<String>::new());
    }

    #[test]
    fn a_file_that_is_gone_keeps_no_other_destination_from_its_change() {
        let directory = tempfile::tempdir().unwrap();
        let mut watched = watched(directory.path());
        fs::remove_file(directory.path().join("password")).unwrap();
        fs::write(directory.path().join("key"), format!("{PEM}another")).unwrap();
        assert_eq!(look(&mut watched), ["certified"]);
        assert!(watched.complaint.is_some());
        assert_eq!(watched.settledness(), Settledness::Settled);
    }

    #[test]
    fn a_destination_whose_password_was_not_there_can_be_used_when_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let password = directory.path().join("password");
        let mut watched = watched_after(directory.path(), || fs::remove_file(&password).unwrap());
        assert_eq!(look(&mut watched), Vec::<String>::new());
        fs::write(&password, "first").unwrap();
        assert_eq!(look(&mut watched), ["login"]);
    }

    #[test]
    fn a_file_that_is_gone_takes_nothing_away_and_counts_when_it_is_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut watched = watched(directory.path());
        let password = directory.path().join("password");
        fs::remove_file(&password).unwrap();
        assert_eq!(look(&mut watched), Vec::<String>::new());
        let complaint = watched.complaint.clone().unwrap();
        assert!(complaint.contains("No such file") && !complaint.contains("first"), "{complaint}");
        assert_eq!(watched.settledness(), Settledness::Settled, "that it is gone was taken up");
        fs::write(&password, "second").unwrap();
        assert_eq!(look(&mut watched), ["login"]);
        assert_eq!(watched.complaint, None);
    }
}
