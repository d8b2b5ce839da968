//! Which C library an executable needs, read from its symbol versions.
//!
//! The invariant: **the shipped agent starts on glibc 2.34**, so on every system that Keycloak's own images and the long-term Linux
//! distributions bring. The linker decides this silently, so it is read back from the finished file.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use object::elf::FileHeader64;
use object::read::elf::{FileHeader, SectionHeader as _};
use object::{Endianness, read};

use crate::{Error, Result};

/// The newest glibc that the agent may need.
pub const NEWEST_ALLOWED: Version = Version { major: 2, minor: 34 };

const PREFIX: &str = "GLIBC_";

/// A version of glibc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// Reads `2.34` or `2.2.5`, whose last part does not matter here. `None` for what is no number, such as `ABI_DT_RELR`.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(str::parse);
        let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
        parts.all(|part| part.is_ok()).then_some(Self { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// Makes sure that an executable needs no newer glibc than `newest_allowed`.
///
/// # Errors
/// [`Error::GlibcTooNew`] with the symbol versions that are too new, [`Error::NotElf`] for another kind of file.
pub fn check(executable: &Path, newest_allowed: Version) -> Result<()> {
    let data = fs::read(executable).map_err(Error::io("read", executable))?;
    let needed = needed_versions(&data)
        .map_err(|error| Error::NotElf { path: executable.to_owned(), reason: error.to_string() })?;
    let too_new: Vec<_> = needed.into_iter().filter(|name| !is_allowed(name, newest_allowed)).collect();
    if too_new.is_empty() {
        return Ok(());
    }
    Err(Error::GlibcTooNew { path: executable.to_owned(), found: too_new.join(", "), newest_allowed })
}

/// A version without a number, such as `GLIBC_ABI_DT_RELR`, marks a feature that only a newer loader has.
fn is_allowed(name: &str, newest_allowed: Version) -> bool {
    name.strip_prefix(PREFIX).and_then(Version::parse).is_some_and(|version| version <= newest_allowed)
}

/// The names of all glibc versions that the executable's dynamic symbols ask for.
fn needed_versions(data: &[u8]) -> read::Result<BTreeSet<String>> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let mut names = BTreeSet::new();
    for section in sections.iter() {
        let Some((mut libraries, strings)) = section.gnu_verneed(endian, data)? else { continue };
        let strings = sections.strings(endian, data, strings)?;
        while let Some((_, mut versions)) = libraries.next()? {
            while let Some(version) = versions.next()? {
                names.insert(String::from_utf8_lossy(version.name(endian, strings)?).into_owned());
            }
        }
    }
    names.retain(|name| name.starts_with(PREFIX));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    const ANCIENT: Version = Version { major: 2, minor: 2 };
    const FUTURE: Version = Version { major: 2, minor: 999 };

    /// This test is itself an executable that needs a glibc from after 2.2 and from before 2.999.
    #[test]
    fn a_too_new_symbol_version_is_refused_and_named() {
        let executable = env::current_exe().unwrap();
        let error = check(&executable, ANCIENT).unwrap_err().to_string();
        assert!(error.contains("GLIBC_2.") && error.contains("glibc 2.2:"), "{error}");
    }

    #[test]
    fn an_old_enough_executable_passes() {
        check(&env::current_exe().unwrap(), FUTURE).unwrap();
    }

    #[test]
    fn versions_are_numbers_not_text() {
        assert!(is_allowed("GLIBC_2.4", NEWEST_ALLOWED));
        assert!(is_allowed("GLIBC_2.2.5", NEWEST_ALLOWED));
        assert!(is_allowed("GLIBC_2.34", NEWEST_ALLOWED));
        assert!(!is_allowed("GLIBC_2.35", NEWEST_ALLOWED));
        assert!(!is_allowed("GLIBC_ABI_DT_RELR", NEWEST_ALLOWED));
    }

    #[test]
    fn a_script_is_not_an_executable() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "#!/bin/sh").unwrap();
        assert!(matches!(check(file.path(), NEWEST_ALLOWED), Err(Error::NotElf { .. })));
    }
}
