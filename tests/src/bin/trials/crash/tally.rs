//! What was found, trial by trial and in sum.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many requests clients saw succeed.
    pub requests: usize,
    /// How many creations were refused: transactions that were rolled back.
    pub rolled_back: usize,
    /// How many records Kafka holds.
    pub events: usize,
    /// What a client saw succeed and nobody published.
    pub lost: Vec<String>,
    /// What was published as committed and does not exist.
    pub invented: Vec<String>,
    /// How many records are copies of others.
    pub copies: usize,
    /// Copies that differ, and numbers that were used for two events.
    pub conflicts: Vec<String>,
    /// The sequence numbers that are missing, by epoch.
    pub gaps: Vec<(String, Vec<u64>)>,
}

impl Findings {
    /// What is new since `before`, where this counts all records there are. Requests and what was lost belong to one trial anyway.
    pub fn since(&self, before: &Self) -> Self {
        let new = |now: &[String], before: &[String]| {
            now.iter().filter(|found| !before.contains(found)).cloned().collect()
        };
        Self {
            events: self.events - before.events,
            copies: self.copies - before.copies,
            invented: new(&self.invented, &before.invented),
            conflicts: new(&self.conflicts, &before.conflicts),
            gaps: self.gaps.iter().filter(|gap| !before.gaps.contains(gap)).cloned().collect(),
            ..self.clone()
        }
    }

    /// Whether nothing was lost, invented, left out or numbered twice.
    pub fn holds(&self) -> bool {
        self.lost.is_empty() && self.invented.is_empty() && self.conflicts.is_empty() && self.gaps.is_empty()
    }

    /// What was found, one line each.
    pub fn explanation(&self) -> String {
        let lists = [("lost", &self.lost), ("invented", &self.invented), ("conflict", &self.conflicts)];
        let mut lines: Vec<String> = lists
            .iter()
            .flat_map(|(what, found)| found.iter().map(move |found| format!("  {what}: {found}")))
            .collect();
        lines.extend(
            self.gaps.iter().map(|(epoch, numbers)| format!("  missing of epoch {epoch}: {numbers:?}")),
        );
        lines.join("\n")
    }

    /// For a program.
    pub fn to_json(&self) -> Value {
        json!({
            "requests": self.requests,
            "rolledBack": self.rolled_back,
            "events": self.events,
            "lost": self.lost,
            "invented": self.invented,
            "copies": self.copies,
            "conflicts": self.conflicts,
            "gaps": self.gaps,
        })
    }

    fn columns(&self) -> [usize; 8] {
        [
            self.requests,
            self.rolled_back,
            self.events,
            self.lost.len(),
            self.invented.len(),
            self.copies,
            self.gaps.iter().map(|(_, numbers)| numbers.len()).sum(),
            self.conflicts.len(),
        ]
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:>5} requests, {:>4} events, {} lost, {} invented, {:>3} copies",
            self.requests,
            self.events,
            self.lost.len(),
            self.invented.len(),
            self.copies
        )
    }
}

/// All trials by kind.
#[derive(Debug, Default)]
pub struct Table {
    rows: BTreeMap<&'static str, Row>,
}

#[derive(Debug, Clone, Default)]
struct Row {
    trials: usize,
    failed: usize,
    columns: [usize; 8],
}

impl Row {
    fn add(&mut self, other: &Self) {
        self.trials += other.trials;
        self.failed += other.failed;
        for (sum, more) in self.columns.iter_mut().zip(other.columns) {
            *sum += more;
        }
    }

    fn write(&self, formatter: &mut fmt::Formatter<'_>, kind: &str) -> fmt::Result {
        write!(formatter, "{kind:<10} {:>6}", self.trials)?;
        for (column, width) in self.columns.iter().zip(Table::WIDTHS) {
            write!(formatter, " {column:>width$}")?;
        }
        writeln!(formatter)
    }
}

impl Table {
    const HEAD: [&str; 8] =
        ["requests", "rolled back", "events", "lost", "invented", "copies", "gaps", "conflicts"];
    const WIDTHS: [usize; 8] = [8, 11, 8, 5, 8, 7, 5, 9];

    /// Adds a trial.
    pub fn add(&mut self, kind: &'static str, trial: Findings) {
        let row = Row { trials: 1, failed: usize::from(!trial.holds()), columns: trial.columns() };
        self.rows.entry(kind).or_default().add(&row);
    }

    /// Whether every trial held.
    pub fn holds(&self) -> bool {
        self.rows.values().all(|row| row.failed == 0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<10} {:>6}", "killed", "trials")?;
        for (head, width) in Self::HEAD.iter().zip(Self::WIDTHS) {
            write!(formatter, " {head:>width$}")?;
        }
        writeln!(formatter)?;
        let mut sum = Row::default();
        for (kind, row) in &self.rows {
            row.write(formatter, kind)?;
            sum.add(row);
        }
        sum.write(formatter, "all trials")?;
        if sum.failed > 0 {
            return write!(formatter, "{} of {} trials failed", sum.failed, sum.trials);
        }
        let bound = 3.0 / sum.trials.max(1) as f64;
        write!(
            formatter,
            "0 of {} trials failed: the probability that one fails is below {bound:.4} (95 %)",
            sum.trials
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_before_is_not_found_again() {
        let before = Findings { events: 5, copies: 1, invented: vec!["a".to_owned()], ..Findings::default() };
        let now = Findings {
            events: 9,
            copies: 3,
            invented: vec!["a".to_owned(), "b".to_owned()],
            ..Findings::default()
        };
        let new = now.since(&before);
        assert_eq!((new.events, new.copies, new.invented), (4, 2, vec!["b".to_owned()]));
    }

    #[test]
    fn a_table_with_a_loss_does_not_hold_and_one_without_states_its_bound() {
        let mut table = Table::default();
        table.add("jvm", Findings::default());
        table.add("all", Findings::default());
        assert!(table.holds());
        assert!(table.to_string().ends_with("below 1.5000 (95 %)"), "{table}");
        table.add("jvm", Findings { lost: vec!["a".to_owned()], ..Findings::default() });
        assert!(!table.holds());
        assert!(table.to_string().ends_with("1 of 3 trials failed"), "{table}");
    }
}
