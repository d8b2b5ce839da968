//! The configuration file: from TOML to one text for each key, with the line where it stands.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, Got};
use crate::origin::Origin;

/// A configuration file that has been read.
#[derive(Clone)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// One value of the file.
pub(crate) struct FileEntry {
    /// From the top of the file, joined by dots. Below `destination.librdkafka` it may contain further dots.
    pub(crate) key: String,
    pub(crate) text: String,
    /// Whether the text is a list, joined by commas.
    pub(crate) list: bool,
    pub(crate) line: usize,
}

impl ConfigFile {
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self { path: path.to_owned(), text }),
            Err(source) => Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        }
    }

    pub(crate) fn origin(&self, line: usize) -> Origin {
        Origin::File { path: self.path.clone(), line }
    }

    /// Every value of the file, in order. Values that no setting can take, such as dates, are errors.
    pub(crate) fn entries(&self) -> (Vec<FileEntry>, Vec<ConfigError>) {
        let table = match DeTable::parse(&self.text) {
            Ok(table) => table,
            Err(error) => return (Vec::new(), vec![self.syntax_error(&error)]),
        };
        let mut found = Found { file: self, entries: Vec::new(), errors: Vec::new() };
        found.table("", table.get_ref());
        (found.entries, found.errors)
    }

    fn syntax_error(&self, error: &toml::de::Error) -> ConfigError {
        let offset = error.span().map_or(0, |span| span.start);
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ConfigError::Syntax {
            path: self.path.clone(),
            line: line_of(&self.text, offset),
            column: before[line_start..].chars().count() + 1,
            message: error.message().to_owned(),
        }
    }
}

struct Found<'a> {
    file: &'a ConfigFile,
    entries: Vec<FileEntry>,
    errors: Vec<ConfigError>,
}

impl Found<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let line = line_of(&self.file.text, name.span().start);
            match value.get_ref() {
                DeValue::Table(inner) => self.table(&key, inner),
                value => self.value(key, line, value),
            }
        }
    }

    fn value(&mut self, key: String, line: usize, value: &DeValue<'_>) {
        match as_text(value) {
            Some(text) => self.entries.push(FileEntry { key, text, list: value.is_array(), line }),
            None => self.errors.push(ConfigError::Invalid {
                option: key,
                origin: self.file.origin(line),
                expected: "a text, a whole number, `true` or `false`, or a list of texts".to_owned(),
                got: Got::value(value.type_str()),
            }),
        }
    }
}

fn as_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Array(items) => {
            let texts: Option<Vec<&str>> =
                items.iter().map(|item: &Spanned<DeValue<'_>>| item.get_ref().as_str()).collect();
            Some(texts?.join(","))
        }
        _ => None,
    }
}

/// The line of a byte offset, counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
