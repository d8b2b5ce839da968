//! What the tools print for people: colours where they help, columns that stand under each other, numbers that can be read.
//!
//! Colours are an effect of the stream and not of the text: [`anstream`] takes them out again where standard output is no terminal or `NO_COLOR`
//! is set. What is printed for programs (`--json`) has none in the first place.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use anstyle::{AnsiColor, Style};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Something is wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Something deserves a look.
pub const ODD: Style = AnsiColor::Yellow.on_default();
/// All is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// A title.
pub const TITLE: Style = Style::new().bold();
/// Less important than the rest.
pub const FAINT: Style = Style::new().dimmed();

/// The latest time that RFC 3339 can write, in milliseconds: 9999-12-31T23:59:59.999Z.
const LAST_RFC3339_MS: u64 = 253_402_300_799_999;

/// Standard output.
pub fn output() -> impl Write {
    io::BufWriter::new(anstream::stdout().lock())
}

/// Whether standard output is a pipe whose reader has gone. Where nothing is printed for long, no failed write would tell.
pub fn nobody_reads() -> bool {
    let stdout = io::stdout();
    let mut ready = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut ready, Some(&at_once)).is_ok_and(|count| count > 0)
        && ready[0].revents().contains(PollFlags::ERR)
}

/// `text` in `style`.
pub fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// What a broker or a user wrote must not move the operator's cursor.
pub fn plain(text: &str) -> String {
    text.chars().map(|each| if each.is_control() { '\u{fffd}' } else { each }).collect()
}

/// Milliseconds since the Unix epoch, as RFC 3339 in UTC.
pub fn time(milliseconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(milliseconds.min(LAST_RFC3339_MS));
    humantime::format_rfc3339_millis(time).to_string()
}

/// A number of bytes with the unit that leaves at most four digits before the point.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut scaled = bytes as f64 / 1024.0;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// A number and the thing counted, in the plural unless it is one.
pub fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// How a column stands.
#[derive(Clone, Copy)]
pub enum Column {
    /// Its texts begin under each other.
    Left(&'static str),
    /// Its texts end under each other.
    Right(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Left(title) | Self::Right(title) => title,
        }
    }

    fn cell(self, text: &str, width: usize) -> String {
        match self {
            Self::Left(_) => format!("{text:<width$}"),
            Self::Right(_) => format!("{text:>width$}"),
        }
    }
}

/// Prints rows under their titles, indented by two.
pub fn table<const N: usize>(
    out: &mut dyn Write,
    columns: [Column; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let width = |index: usize| {
        let cells = rows.iter().map(|row| row[index].chars().count());
        cells.chain([columns[index].title().chars().count()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let padded: Vec<_> = (0..N).map(|index| columns[index].cell(cells[index], widths[index])).collect();
        padded.join("  ").trim_end().to_owned()
    };
    writeln!(out, "  {}", styled(FAINT, line(columns.map(Column::title))))?;
    for row in rows {
        writeln!(out, "  {}", line(row.each_ref().map(String::as_str)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_that_fits() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.0 KiB");
        assert_eq!(size(64 << 20), "64.0 MiB");
        assert_eq!(size(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn a_time_beyond_the_calendar_is_its_last() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
