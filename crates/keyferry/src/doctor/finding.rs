//! What was found, and how it is printed.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anstyle::Style;
use serde::Serialize;

use super::checks::Check;
use crate::error;
use crate::terminal::{BAD, FAINT, GOOD, ODD, TITLE, count, plain, styled};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It could not be examined.
    Skipped,
    /// It is as it should be.
    Ok,
    /// It works, and deserves a look.
    Warning,
    /// It keeps events from being delivered, or puts them at risk.
    Problem,
}

impl Severity {
    fn word(self) -> (Style, &'static str) {
        match self {
            Self::Skipped => (FAINT, "skipped"),
            Self::Ok => (GOOD, "ok     "),
            Self::Warning => (ODD, "warning"),
            Self::Problem => (BAD, "PROBLEM"),
        }
    }
}

/// What was found of one check in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The check's name.
    pub check: &'static str,
    /// Where: a directory, a server, a topic.
    #[serde(rename = "where")]
    pub place: String,
    /// What was found, or why nothing could be.
    pub what: String,
    /// What to do; nothing where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'static str>,
}

impl Finding {
    pub(super) fn of(check: &'static Check, severity: Severity, place: String, what: String) -> Self {
        let remedy = (severity >= Severity::Warning).then_some(check.remedy);
        Self { severity, check: check.id, place, what, remedy }
    }

    /// The same as a warning, where it was a problem.
    pub(super) fn softened(self) -> Self {
        Self { severity: self.severity.min(Severity::Warning), ..self }
    }

    /// What came from elsewhere must not steer a terminal.
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let (style, word) = self.severity.word();
        let (check, place) = (styled(TITLE, self.check), plain(&self.place));
        writeln!(out, "{}  {check}  {place}: {}", styled(style, word), plain(&self.what))?;
        self.remedy.map_or(Ok(()), |remedy| writeln!(out, "         → {remedy}"))
    }
}

/// Prints findings as they come, and counts them.
pub struct Report<'a> {
    out: &'a mut dyn Write,
    json: bool,
    counts: BTreeMap<Severity, u64>,
}

impl<'a> Report<'a> {
    /// One that prints to `out`.
    pub fn new(out: &'a mut dyn Write, json: bool) -> Self {
        Self { out, json, counts: BTreeMap::new() }
    }

    /// Tells what was found. It is seen at once: the rest may take a while.
    ///
    /// # Errors
    /// Those of the output.
    pub fn tell(&mut self, findings: impl IntoIterator<Item = Finding>) -> Result<(), error::Error> {
        for finding in findings {
            *self.counts.entry(finding.severity).or_default() += 1;
            if self.json {
                serde_json::to_writer(&mut *self.out, &finding).map_err(io::Error::from)?;
                writeln!(self.out)?;
            } else {
                finding.print(self.out)?;
            }
        }
        Ok(self.out.flush()?)
    }

    /// Sums up. Something was found where there is a problem.
    ///
    /// # Errors
    /// Those of the output.
    pub fn close(self) -> Result<error::Finding, error::Error> {
        let of = |severity| self.counts.get(&severity).copied().unwrap_or_default();
        let (problems, warnings) = (of(Severity::Problem), of(Severity::Warning));
        if !self.json {
            let style = if problems > 0 { BAD } else { GOOD };
            let sum = format!("{}, {}", count(problems, "problem"), count(warnings, "warning"));
            let skipped = count(of(Severity::Skipped), "check");
            writeln!(self.out, "{}; {skipped} skipped", styled(style, sum))?;
            self.out.flush()?;
        }
        Ok(if problems > 0 { error::Finding::Something } else { error::Finding::Nothing })
    }
}
