//! Lines of styled text, and tables that give up columns where there is no room for them.

use anstyle::Style;

use crate::terminal::{FAINT, styled};

/// A line of text in several styles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line(Vec<(Style, String)>);

impl Line {
    /// An empty line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Text in one style.
    pub fn of(style: Style, text: impl Into<String>) -> Self {
        Self::new().and(style, text)
    }

    /// The same with more text.
    #[must_use]
    pub fn and(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    /// How many columns it takes.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// Its beginning, if it does not fit into `width`; that something is left out is told by an ellipsis.
    #[must_use]
    pub fn clipped(self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let mut left = width.saturating_sub(1);
        let mut clipped = Self::new();
        for (style, text) in self.0 {
            let part: String = text.chars().take(left).collect();
            left -= part.chars().count();
            clipped = clipped.and(style, part);
        }
        if width == 0 { clipped } else { clipped.and(FAINT, "…") }
    }

    /// For a terminal.
    pub fn styled(&self) -> String {
        self.0.iter().map(|(style, text)| styled(*style, text)).collect()
    }

    /// Without styles.
    pub fn plain(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }
}

/// A column of a table.
pub struct Column {
    title: &'static str,
    is_number: bool,
    /// Columns of the highest rank are given up first, those of rank 0 never.
    rank: u8,
    cells: Vec<(Style, String)>,
}

impl Column {
    /// One whose texts begin under each other.
    pub fn text(title: &'static str, rank: u8) -> Self {
        Self { title, is_number: false, rank, cells: Vec::new() }
    }

    /// One whose texts end under each other.
    pub fn number(title: &'static str, rank: u8) -> Self {
        Self { is_number: true, ..Self::text(title, rank) }
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|(_, text)| text.chars().count());
        cells.chain([self.title.chars().count()]).max().unwrap_or_default()
    }

    fn padded(&self, text: &str) -> String {
        let width = self.width();
        if self.is_number { format!("{text:>width$}") } else { format!("{text:<width$}") }
    }
}

/// Rows under their titles, within `width`.
pub fn table<const N: usize>(
    columns: [Column; N],
    rows: impl IntoIterator<Item = [(Style, String); N]>,
    width: usize,
) -> Vec<Line> {
    let mut columns = Vec::from(columns);
    for row in rows {
        for (column, cell) in columns.iter_mut().zip(row) {
            column.cells.push(cell);
        }
    }
    while total(&columns) > width
        && let Some(least) = (0..columns.len()).max_by_key(|index| columns[*index].rank)
        && columns[least].rank > 0
    {
        columns.remove(least);
    }
    let mut lines = vec![Line::new(); columns.first().map_or(0, |column| column.cells.len() + 1)];
    for column in &columns {
        let cells = std::iter::once((FAINT, column.title.to_owned())).chain(column.cells.iter().cloned());
        for (line, (style, text)) in lines.iter_mut().zip(cells) {
            *line = std::mem::take(line).and(Style::new(), "  ").and(style, column.padded(&text));
        }
    }
    lines.into_iter().map(|line| line.clipped(width)).collect()
}

fn total(columns: &[Column]) -> usize {
    columns.iter().map(|column| column.width() + 2).sum()
}

/// Texts side by side, as many in a line as `width` has room for.
pub fn flow(items: Vec<Line>, width: usize) -> Vec<Line> {
    const BETWEEN: usize = 3;
    let mut lines: Vec<Line> = Vec::new();
    for item in items {
        match lines.last_mut().filter(|line| line.width() + BETWEEN + item.width() <= width) {
            Some(line) => {
                let grown = std::mem::take(line).and(Style::new(), " ".repeat(BETWEEN));
                *line = item.0.into_iter().fold(grown, |line, (style, text)| line.and(style, text));
            }
            None => lines.push(item),
        }
    }
    lines.into_iter().map(|line| line.clipped(width)).collect()
}

/// A sentence over as many lines as it needs, each indented.
pub fn wrapped(style: Style, text: &str, indent: usize, width: usize) -> Vec<Line> {
    let room = width.saturating_sub(indent).max(1);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= room) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    let line = |text| Line::of(Style::new(), " ".repeat(indent)).and(style, text).clipped(width);
    lines.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(Line::plain).collect()
    }

    #[test]
    fn a_table_gives_up_its_least_columns_and_never_its_first() {
        let drawn = |width| {
            let columns = [Column::text("NAME", 0), Column::number("N", 1), Column::text("MORE", 2)];
            let row = ["kafka", "12", "something"].map(|text| (Style::new(), text.to_owned()));
            texts(&table(columns, [row], width))
        };
        assert_eq!(drawn(30), ["  NAME    N  MORE     ", "  kafka  12  something"]);
        assert_eq!(drawn(20), ["  NAME    N", "  kafka  12"]);
        assert_eq!(drawn(6), ["  NAM…", "  kaf…"]);
    }

    #[test]
    fn what_does_not_fit_goes_on_below() {
        let items = ["aaaa", "bb", "c"].map(|text| Line::of(Style::new(), text)).to_vec();
        assert_eq!(texts(&flow(items, 9)), ["aaaa   bb", "c"]);
        assert_eq!(texts(&wrapped(Style::new(), "one two  three", 2, 9)), ["  one two", "  three"]);
    }
}
