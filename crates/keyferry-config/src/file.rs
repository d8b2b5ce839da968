//! The configuration file: from TOML to one text for each key, with the line where it stands.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, Got};
use crate::origin::Origin;
use crate::settings::DESTINATION_TABLE;

/// A configuration file that has been read.
#[derive(Clone)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// What a file says.
#[derive(Default)]
pub(crate) struct FileContent {
    /// Every value, in order.
    pub(crate) entries: Vec<FileEntry>,
    /// The lines where the tables of `[[destination]]` begin. Empty with one `[destination]`, or none.
    pub(crate) destinations: Vec<usize>,
    pub(crate) errors: Vec<ConfigError>,
}

/// One value of the file.
pub(crate) struct FileEntry {
    /// In which table of `[[destination]]` it stands, counted from 0.
    pub(crate) destination: Option<usize>,
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

    /// Everything that the file says. Values that no setting can take, such as dates, are errors.
    pub(crate) fn content(&self) -> FileContent {
        let table = match DeTable::parse(&self.text) {
            Ok(table) => table,
            Err(error) => {
                return FileContent { errors: vec![self.syntax_error(&error)], ..FileContent::default() };
            }
        };
        let mut reader = Reader { file: self, destination: None, content: FileContent::default() };
        reader.table("", table.get_ref());
        reader.content
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

struct Reader<'a> {
    file: &'a ConfigFile,
    /// The table of `[[destination]]` that is being read.
    destination: Option<usize>,
    content: FileContent,
}

impl Reader<'_> {
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
                DeValue::Array(items) if key == DESTINATION_TABLE && items.iter().any(is_table) => {
                    self.destinations(items);
                }
                value => self.value(key, line, value),
            }
        }
    }

    fn destinations(&mut self, items: &[Spanned<DeValue<'_>>]) {
        for (index, item) in items.iter().enumerate() {
            let line = line_of(&self.file.text, item.span().start);
            self.content.destinations.push(line);
            self.destination = Some(index);
            match item.get_ref() {
                DeValue::Table(table) => self.table(DESTINATION_TABLE, table),
                other => self.illegal(DESTINATION_TABLE.to_owned(), line, "a table", other),
            }
        }
        self.destination = None;
    }

    fn value(&mut self, key: String, line: usize, value: &DeValue<'_>) {
        match as_text(value) {
            Some(text) => {
                let (destination, list) = (self.destination, value.is_array());
                self.content.entries.push(FileEntry { destination, key, text, list, line });
            }
            None => {
                let expected = "a text, a whole number, `true` or `false`, or a list of texts";
                self.illegal(key, line, expected, value);
            }
        }
    }

    fn illegal(&mut self, option: String, line: usize, expected: &str, value: &DeValue<'_>) {
        let origin = self.file.origin(line);
        let got = Got::value(value.type_str());
        self.content.errors.push(ConfigError::Invalid { option, origin, expected: expected.to_owned(), got });
    }
}

fn is_table(value: &Spanned<DeValue<'_>>) -> bool {
    value.get_ref().is_table()
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
