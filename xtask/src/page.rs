//! Pages whose prose is written by hand and whose tables are written by tasks.

use std::fs;

use crate::{Error, Result, workspace};

/// The place of one generated part in a page: between two lines that stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The page, from the root of the sources.
    pub page: &'static str,
    /// The line before.
    pub begin: String,
    /// The line after.
    pub end: String,
}

impl Section {
    /// Puts `text` in the place of what stands there.
    ///
    /// # Errors
    /// [`Error::NoSection`] where the page lacks the two lines.
    pub fn write(&self, text: &str) -> Result<()> {
        let path = workspace::root().join(self.page);
        let page = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let missing =
            || Error::NoSection { path: path.clone(), begin: self.begin.clone(), end: self.end.clone() };
        let written = self.replaced(&page, text).ok_or_else(missing)?;
        fs::write(&path, written).map_err(Error::io("write", &path))
    }

    /// `page` with `text` between the two lines; `None` if they are not there.
    fn replaced(&self, page: &str, text: &str) -> Option<String> {
        let Self { begin, end, .. } = self;
        let (before, rest) = page.split_once(begin)?;
        let (_, after) = rest.split_once(end)?;
        Some(format!("{before}{begin}\n\n{text}\n{end}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_replaces_the_one_before() {
        let section = Section { page: "page", begin: "<begin>".to_owned(), end: "<end>".to_owned() };
        let written = section.replaced("a\n<begin>\nold\n<end>\nb\n", "new\n").unwrap();
        assert_eq!(written, "a\n<begin>\n\nnew\n\n<end>\nb\n");
        assert_eq!(section.replaced("no markers", "new"), None);
    }
}
