//! References in values: `${env:NAME}` and `${file:PATH}` stand for something that is kept elsewhere, a password above all.
//!
//! The invariant: **what a reference yields is never shown, and never read as anything but a value.** An error names the
//! reference and where it stands, not what was found there; what a file holds is not searched for further references. Any
//! other use of `${` is left as it is, because passwords may hold it; `$${env:` and `$${file:` stand for the references' own
//! beginnings.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The longest file that a reference may name: far more than any secret, far less than a mistake.
const LONGEST_FILE: u64 = 1 << 20;

/// Why a reference yields nothing.
#[derive(Debug, Error)]
pub(crate) enum Unresolved {
    #[error("`{reference}`: the variable is not set")]
    UnsetVariable { reference: String },
    #[error("`{reference}`: {source}")]
    Unreadable { reference: String, source: io::Error },
    #[error("`{reference}`: the file is longer than 1 MiB")]
    TooLong { reference: String },
    #[error("`{reference}`: the file is not UTF-8 text")]
    NotText { reference: String },
    #[error("a reference begins with `{beginning}` and has no name, or no `}}` behind it")]
    Incomplete { beginning: &'static str },
}

/// What references are resolved against, and which files they named.
pub(crate) struct Resolver<'a> {
    environment: &'a BTreeMap<String, String>,
    files: BTreeSet<PathBuf>,
}

/// The kinds of references, by their beginnings.
#[derive(Clone, Copy)]
enum Kind {
    Variable,
    File,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Variable, Self::File];

    const fn beginning(self) -> &'static str {
        match self {
            Self::Variable => "${env:",
            Self::File => "${file:",
        }
    }
}

/// Whether the whole text is one reference, as far as its ends tell.
pub(crate) fn is_reference(text: &str) -> bool {
    let text = text.trim();
    text.ends_with('}') && Kind::ALL.iter().any(|kind| text.starts_with(kind.beginning()))
}

/// Whether the text holds a reference, or what would be one.
pub(crate) fn has_reference(text: &str) -> bool {
    next(text).is_some()
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(environment: &'a BTreeMap<String, String>) -> Self {
        Self { environment, files: BTreeSet::new() }
    }

    /// Counts a file among those that values come from.
    pub(crate) fn note(&mut self, path: &Path) {
        self.files.insert(path.to_owned());
    }

    /// The files that were named so far, those that could not be read included.
    pub(crate) fn into_files(self) -> BTreeSet<PathBuf> {
        self.files
    }

    /// The text with what its references stand for; borrowed if it has none.
    pub(crate) fn resolve<'t>(&mut self, text: &'t str) -> Result<Cow<'t, str>, Unresolved> {
        if next(text).is_none() {
            return Ok(Cow::Borrowed(text));
        }
        let (mut resolved, mut rest) = (String::with_capacity(text.len()), text);
        while let Some((start, kind)) = next(rest) {
            let beginning = kind.beginning();
            let (before, reference) = rest.split_at(start);
            if let Some(before) = before.strip_suffix('$') {
                resolved.push_str(before);
                resolved.push_str(beginning);
                rest = &reference[beginning.len()..];
                continue;
            }
            resolved.push_str(before);
            let end = reference.find('}').filter(|end| *end > beginning.len());
            let end = end.ok_or(Unresolved::Incomplete { beginning })?;
            let name = &reference[beginning.len()..end];
            resolved.push_str(&self.yielded(kind, name, &reference[..=end])?);
            rest = &reference[end + 1..];
        }
        resolved.push_str(rest);
        Ok(Cow::Owned(resolved))
    }

    fn yielded(&mut self, kind: Kind, name: &str, reference: &str) -> Result<String, Unresolved> {
        let reference = || reference.to_owned();
        match kind {
            Kind::Variable => {
                let value = self.environment.get(name).cloned();
                value.ok_or_else(|| Unresolved::UnsetVariable { reference: reference() })
            }
            Kind::File => {
                let path = Path::new(name);
                self.files.insert(path.to_owned());
                let bytes =
                    read(path).map_err(|source| Unresolved::Unreadable { reference: reference(), source })?;
                if bytes.len() as u64 > LONGEST_FILE {
                    return Err(Unresolved::TooLong { reference: reference() });
                }
                let mut text =
                    String::from_utf8(bytes).map_err(|_| Unresolved::NotText { reference: reference() })?;
                without_line_end(&mut text);
                Ok(text)
            }
        }
    }
}

/// The first reference, escaped or not.
fn next(text: &str) -> Option<(usize, Kind)> {
    let places = Kind::ALL.into_iter().filter_map(|kind| Some((text.find(kind.beginning())?, kind)));
    places.min_by_key(|(place, _)| *place)
}

/// At most one byte more than is allowed.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Editors and `echo` end a file with a line end that is no part of the secret. One is taken off, not two.
fn without_line_end(text: &mut String) {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> BTreeMap<String, String> {
        BTreeMap::from([("USER_NAME".to_owned(), "ferry".to_owned()), ("EMPTY".to_owned(), String::new())])
    }

    fn resolve(text: &str) -> Result<String, String> {
        let environment = environment();
        let resolved = Resolver::new(&environment).resolve(text).map(Cow::into_owned);
        resolved.map_err(|error| error.to_string())
    }

    #[test]
    fn variables_and_files_stand_for_what_they_hold() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        for (content, value) in [
            ("hunter2", "hunter2"),
            ("hunter2\n", "hunter2"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            (" a ", " a "),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(resolve(&format!("${{file:{}}}", path.display())), Ok(value.to_owned()));
        }
        assert_eq!(resolve("${env:USER_NAME}"), Ok("ferry".to_owned()));
        assert_eq!(resolve("<${env:USER_NAME}${env:EMPTY}>"), Ok("<ferry>".to_owned()));
    }

    #[test]
    fn what_only_looks_like_a_reference_stays() {
        for text in
            ["", "plain", "${}", "${NAME}", "${vault:x}", "$env:USER_NAME", "p$$w}${", "${ env:USER_NAME}"]
        {
            assert_eq!(resolve(text), Ok(text.to_owned()));
        }
        assert_eq!(resolve("$${env:USER_NAME} ${env:USER_NAME}"), Ok("${env:USER_NAME} ferry".to_owned()));
        assert_eq!(resolve("$${file:/x}"), Ok("${file:/x}".to_owned()));
    }

    #[test]
    fn what_a_file_holds_is_not_searched_for_references() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, "${env:USER_NAME}").unwrap();
        assert_eq!(resolve(&format!("${{file:{}}}", path.display())), Ok("${env:USER_NAME}".to_owned()));
    }

    #[test]
    fn an_error_names_the_reference_and_nothing_else_of_the_value() {
        let directory = tempfile::tempdir().unwrap();
        let binary = directory.path().join("binary");
        std::fs::write(&binary, [0xFF, 0xFE]).unwrap();
        let large = directory.path().join("large");
        std::fs::write(&large, vec![b'a'; (1 << 20) + 1]).unwrap();
        for (text, told) in [
            ("hunter2${env:MISSING}", "`${env:MISSING}`: the variable is not set"),
            ("hunter2${file:/does/not/exist}", "`${file:/does/not/exist}`: No such file"),
            (&format!("hunter2${{file:{}}}", binary.display()), "the file is not UTF-8"),
            (&format!("hunter2${{file:{}}}", large.display()), "longer than 1 MiB"),
            ("hunter2${env:", "has no name, or no `}`"),
            ("hunter2${env:}", "has no name, or no `}`"),
        ] {
            let message = resolve(text).unwrap_err();
            assert!(message.contains(told), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn every_file_that_was_named_is_known_also_one_that_is_not_there_yet() {
        let environment = environment();
        let mut resolver = Resolver::new(&environment);
        assert!(resolver.resolve("${file:/does/not/exist}").is_err());
        assert!(resolver.resolve("${file:/dev/null}").is_ok());
        let files: Vec<PathBuf> = resolver.into_files().into_iter().collect();
        assert_eq!(files, [PathBuf::from("/dev/null"), PathBuf::from("/does/not/exist")]);
    }

    #[test]
    fn a_whole_reference_is_told_from_a_text_with_one() {
        assert!(is_reference(" ${file:/etc/jaas} ") && is_reference("${env:JAAS}"));
        assert!(!is_reference("x ${file:/etc/jaas}") && !is_reference("${other:x}") && !is_reference(""));
    }
}
