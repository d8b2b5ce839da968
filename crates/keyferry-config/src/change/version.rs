//! Documents, and the versions that were made of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::change::probation::OnProbation;
use crate::change::shared::Decided;
use crate::sources::Sources;

/// So many versions are kept; the oldest go first.
pub const KEPT: usize = 100;

/// The part of a configuration that can change while the agent runs.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The configuration file, if there is one.
    pub file: Option<FileText>,
    /// What was changed on top of everything else, by key.
    pub live: BTreeMap<String, String>,
}

/// A configuration file as it was read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileText {
    /// What messages call it.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// The file may hold secrets.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Document").field(&self.hash()).finish()
    }
}

/// It may hold secrets.
impl fmt::Debug for FileText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileText").field(&self.path).finish()
    }
}

impl FileText {
    /// Stands for the text.
    pub fn hash(&self) -> String {
        hex(Sha256::new().chain_update(&self.text))
    }
}

impl Document {
    /// Stands for the content: two documents with the same hash say the same.
    pub fn hash(&self) -> String {
        let mut sum = Sha256::new();
        // Each part with its length, so that no two documents run together to the same bytes.
        let mut add = |part: &str| {
            sum.update((part.len() as u64).to_be_bytes());
            sum.update(part);
        };
        add(self.file.as_ref().map_or("", |file| &file.text));
        self.live.iter().for_each(|(key, value)| {
            add(key);
            add(value);
        });
        hex(sum)
    }

    /// `others`, the sources that are no part of a document, and this one.
    pub fn over(&self, others: &Sources) -> Sources {
        let sources = match &self.file {
            Some(FileText { path, text }) => others.clone().with_file_text(path, text.clone()),
            None => others.clone(),
        };
        sources.with_live(self.live.clone())
    }
}

/// The first half of the sum: 128 bits are more than anybody mistakes.
pub(crate) fn hex(sum: Sha256) -> String {
    sum.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// A configuration that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Ascends.
    pub number: u64,
    /// Stands for the document.
    pub hash: String,
    /// Who wanted it.
    pub author: String,
    /// Why, in words.
    pub cause: String,
    /// When it was committed, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The keys in which it differs from the version before.
    pub keys: Vec<String>,
    /// Whether a secret stands in its file as it is. Then the file is not written down.
    pub holds_secret: bool,
    /// The change for all nodes that it is, if it is one.
    #[serde(default)]
    pub change: Option<String>,
    /// The document.
    pub document: Document,
}

impl Version {
    /// Whether its file was not written down, and is not known any more.
    pub fn is_withheld(&self) -> bool {
        self.holds_secret && self.document.file.as_ref().is_none_or(|file| file.text.is_empty())
    }
}

/// Every version that is kept: what is written down. The last one runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The versions, the oldest first.
    pub versions: Vec<Version>,
    /// The hash of a file that was taken back: it is not used again until it says something else.
    pub set_aside: Option<String>,
    /// That the last version is on probation, or was when this was written down.
    #[serde(default)]
    pub probation: Option<OnProbation>,
    /// Which changes for all nodes were decided on.
    #[serde(default)]
    pub decided: Decided,
}

impl History {
    /// The version that runs, or ran last.
    pub fn last(&self) -> Option<&Version> {
        self.versions.last()
    }

    /// The version of this number.
    pub fn version(&self, number: u64) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// What may be written down: no secret leaves the file that its owner has put it into.
    pub fn without_secrets(&self) -> Self {
        let mut history = self.clone();
        let holding = history.versions.iter_mut().filter(|version| version.holds_secret);
        holding.filter_map(|version| version.document.file.as_mut()).for_each(|file| file.text.clear());
        history
    }

    pub(crate) fn add(&mut self, version: Version) {
        self.versions.push(version);
        let surplus = self.versions.len().saturating_sub(KEPT);
        self.versions.drain(..surplus);
    }
}
