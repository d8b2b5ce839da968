//! Figures, targets, and how both are written down.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Serialize;
use serde_json::{Value, json};
use xtask::page::Section;

use super::machine::Circumstances;

/// What a figure says, in the order of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Events a second, from the first record that the broker stored to the last.
    Rate,
    /// Seconds of processor time for a million events.
    CpuPerMillion,
    /// The same, of the broker.
    BrokerCpuPerMillion,
    /// From start to the last record, in seconds.
    Whole,
    /// From start (or from Kafka's return) to the first record, in milliseconds.
    FirstRecord,
    /// Of the way from commit to consumer, in milliseconds.
    P50,
    /// The same.
    P99,
    /// The same.
    Highest,
    /// Share of one processor, in percent.
    Cpu,
    /// How often a thread wakes in a second.
    Wakeups,
    /// Resident memory in MiB.
    Memory,
    /// The most that it ever was, in MiB.
    PeakMemory,
    /// Events on their way when the last one was committed.
    Behind,
    /// Transactions a second.
    Transactions,
    /// Of what one event costs, in microseconds.
    MedianCost,
    /// The same.
    P999Cost,
    /// Bytes that one event leaves for the collector.
    Garbage,
    /// Requests for a token that were answered, a second.
    Requests,
    /// Milliseconds of processor time for a request.
    CpuPerRequest,
    /// What is alive in a JVM, in MiB.
    LiveMemory,
    /// Resident memory of the agent beside it, in MiB.
    AgentMemory,
    /// Of both, how much more than without a listener, in MiB.
    ExtraMemory,
}

impl Quantity {
    fn title(self) -> &'static str {
        match self {
            Self::Rate => "events/s",
            Self::CpuPerMillion => "CPU s per million",
            Self::BrokerCpuPerMillion => "the broker's",
            Self::Whole => "from start to end, s",
            Self::FirstRecord => "first record after, ms",
            Self::P50 => "p50, ms",
            Self::P99 => "p99, ms",
            Self::Highest => "highest, ms",
            Self::Cpu => "CPU, % of a core",
            Self::Wakeups => "wake-ups/s",
            Self::Memory => "RSS, MiB",
            Self::PeakMemory => "highest RSS, MiB",
            Self::Behind => "on their way at the end",
            Self::Transactions => "transactions/s",
            Self::MedianCost => "median, µs",
            Self::P999Cost => "p99.9, µs",
            Self::Garbage => "garbage, bytes",
            Self::Requests => "token requests/s",
            Self::CpuPerRequest => "CPU of each, ms",
            Self::LiveMemory => "heap and classes after GC, MiB",
            Self::AgentMemory => "agent's RSS, MiB",
            Self::ExtraMemory => "more than without listener, MiB",
        }
    }

    fn digits(self) -> usize {
        match self {
            Self::Rate | Self::FirstRecord | Self::Behind | Self::Transactions | Self::Garbage => 0,
            Self::P50 | Self::P99 | Self::Highest | Self::Wakeups | Self::Memory | Self::PeakMemory => 1,
            Self::MedianCost | Self::P999Cost | Self::Requests => 1,
            Self::LiveMemory | Self::AgentMemory | Self::ExtraMemory => 1,
            Self::CpuPerMillion | Self::BrokerCpuPerMillion | Self::Whole | Self::Cpu => 2,
            Self::CpuPerRequest => 2,
        }
    }

    fn written(self, value: f64) -> String {
        grouped(value, self.digits())
    }
}

/// All turns of one contestant.
#[derive(Debug, Clone)]
pub struct Row {
    who: String,
    figures: BTreeMap<Quantity, Vec<f64>>,
}

impl Row {
    /// No turn yet.
    pub fn of(who: impl Into<String>) -> Self {
        Self { who: who.into(), figures: BTreeMap::new() }
    }

    /// Whose row it is.
    pub fn who(&self) -> &str {
        &self.who
    }

    /// Adds what one turn found.
    pub fn add(&mut self, turn: &[(Quantity, f64)]) {
        for (quantity, value) in turn {
            self.figures.entry(*quantity).or_default().push(*value);
        }
    }

    /// The median of all turns; nothing where there was none.
    pub fn median(&self, quantity: Quantity) -> Option<f64> {
        median(self.figures.get(&quantity)?.clone())
    }

    /// The median with the lowest and the highest beside it.
    fn cell(&self, quantity: Quantity) -> String {
        let values = self.figures.get(&quantity).map_or(&[][..], Vec::as_slice);
        let (lowest, highest) =
            values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(*value), high.max(*value))
            });
        match self.median(quantity) {
            None => "—".to_owned(),
            Some(median) if values.len() == 1 => quantity.written(median),
            Some(median) => {
                let [median, lowest, highest] =
                    [median, lowest, highest].map(|value| quantity.written(value));
                format!("{median} ({lowest}–{highest})")
            }
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let above = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { above } else { f64::midpoint(values[middle - 1], above) })
}

/// What is asked of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// It or more.
    AtLeast(f64),
    /// It or less.
    AtMost(f64),
}

impl Bound {
    fn holds(self, found: f64) -> bool {
        match self {
            Self::AtLeast(bound) => found >= bound,
            Self::AtMost(bound) => found <= bound,
        }
    }
}

/// A target of the project, and what was found.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it is about.
    pub what: String,
    /// What is asked.
    pub bound: Bound,
    /// What was found; nothing where it could not be measured.
    pub found: Option<f64>,
    /// What the numbers count, such as ` ms`.
    pub unit: &'static str,
}

impl Target {
    /// A target of what `row` has of a quantity.
    pub fn of(row: Option<&Row>, quantity: Quantity, bound: Bound, what: &str) -> Self {
        Self { what: what.to_owned(), bound, found: row.and_then(|row| row.median(quantity)), unit: "" }
    }

    /// A target of a figure against the same one of another row.
    pub fn ratio(
        row: Option<&Row>,
        other: Option<&Row>,
        quantity: Quantity,
        bound: Bound,
        what: &str,
    ) -> Self {
        let of = |row: Option<&Row>| row.and_then(|row| row.median(quantity));
        let found = of(row).zip(of(other)).map(|(found, other)| found / other);
        Self { what: what.to_owned(), bound, found, unit: " ×" }
    }

    /// The same turn by turn: the median of the ratios, for rows that were measured beside each other. Of what was less than nothing there is no share.
    pub fn ratio_by_turn(
        row: Option<&Row>,
        other: Option<&Row>,
        quantity: Quantity,
        bound: Bound,
        what: &str,
    ) -> Self {
        let of = |row: Option<&Row>| row.and_then(|row| row.figures.get(&quantity).cloned());
        let ratios = of(row).zip(of(other)).map(|(found, other)| {
            let pairs = found.into_iter().zip(other).filter(|(_, other)| *other > 0.0);
            pairs.map(|(found, other)| found / other).collect()
        });
        Self { what: what.to_owned(), bound, found: ratios.and_then(median), unit: " ×" }
    }

    fn verdict(&self) -> &'static str {
        match self.found {
            None => "not measured",
            Some(found) if self.bound.holds(found) => "met",
            Some(_) => "**not met**",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, unit, .. } = self;
        let (sign, bound) = match self.bound {
            Bound::AtLeast(bound) => ("≥", bound),
            Bound::AtMost(bound) => ("≤", bound),
        };
        let number = |value: f64| format!("{}{unit}", grouped(value, if value < 1000.0 { 2 } else { 0 }));
        let found = self.found.map_or_else(|| "—".to_owned(), number);
        write!(f, "| {what} | {sign} {} | {found} | {} |", number(bound), self.verdict())
    }
}

/// What one bench has found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How often each row was measured.
    pub turns: usize,
    /// And how, in a few words.
    pub how: String,
    /// Who did how well.
    pub rows: Vec<Row>,
    /// Who could not be measured, and why.
    pub missing: Vec<(String, String)>,
    /// What was asked.
    pub targets: Vec<Target>,
}

impl Report {
    /// As a part of the page.
    pub fn markdown(&self, circumstances: &Circumstances) -> String {
        let mut text = format!("{}; {}. {circumstances}.\n\n", turns(self.turns), self.how);
        let columns = self.columns();
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            text,
            "| | {} |",
            columns.iter().map(|column| column.title()).collect::<Vec<_>>().join(" | ")
        );
        let _ = writeln!(text, "|---|{}", "---|".repeat(columns.len()));
        for row in &self.rows {
            let cells: Vec<String> = columns.iter().map(|column| row.cell(*column)).collect();
            let _ = writeln!(text, "| {} | {} |", row.who, cells.join(" | "));
        }
        for (who, why) in &self.missing {
            let _ = writeln!(text, "\nNot measured: {who} ({why}).");
        }
        if !self.targets.is_empty() {
            text.push_str("\n| target | asked | found | |\n|---|---|---|---|\n");
            for target in &self.targets {
                let _ = writeln!(text, "{target}");
            }
        }
        text
    }

    /// With every single value.
    pub fn json(&self, circumstances: &Circumstances) -> Value {
        let rows = self.rows.iter().map(|row| json!({ "who": row.who, "figures": row.figures }));
        let missing = self.missing.iter().map(|(who, why)| json!({ "who": who, "why": why }));
        let targets = self.targets.iter().map(|target| {
            let (kind, bound) = match target.bound {
                Bound::AtLeast(bound) => ("at_least", bound),
                Bound::AtMost(bound) => ("at_most", bound),
            };
            let is_met = target.found.map(|found| target.bound.holds(found));
            json!({ "what": target.what, kind: bound, "found": target.found, "is_met": is_met })
        });
        json!({
            "turns": self.turns,
            "how": self.how,
            "circumstances": circumstances,
            "rows": rows.collect::<Vec<_>>(),
            "missing": missing.collect::<Vec<_>>(),
            "targets": targets.collect::<Vec<_>>(),
        })
    }

    fn columns(&self) -> Vec<Quantity> {
        let mut columns: Vec<Quantity> =
            self.rows.iter().flat_map(|row| row.figures.keys().copied()).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}

/// So many turns, in words.
fn turns(count: usize) -> String {
    if count == 1 {
        "One turn".to_owned()
    } else {
        format!("Medians of {count} turns, with the lowest and the highest")
    }
}

/// The place of a bench in the page.
pub fn section(bench: &str) -> Section {
    Section {
        page: "docs/performance.md",
        begin: format!("<!-- bench {bench}: begin, written by `cargo xtask bench {bench}` -->"),
        end: format!("<!-- bench {bench}: end -->"),
    }
}

/// A number with a comma before each three digits of its whole part.
fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if left.is_multiple_of(3) && grouped.ends_with(|last: char| last.is_ascii_digit()) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(who: &str, rates: &[f64]) -> Row {
        let mut row = Row::of(who);
        rates.iter().for_each(|rate| row.add(&[(Quantity::Rate, *rate)]));
        row
    }

    #[test]
    fn a_figure_is_the_median_with_its_spread() {
        let mut row = row("a", &[1500.0, 900.0, 1_234_567.0]);
        assert_eq!(row.cell(Quantity::Rate), "1,500 (900–1,234,567)");
        assert_eq!(row.cell(Quantity::P99), "—");
        row.add(&[(Quantity::Rate, 1700.0)]);
        assert_eq!(row.median(Quantity::Rate), Some(1600.0));
        assert_eq!(grouped(-123_456.789, 1), "-123,456.8");
        assert_eq!(grouped(123.0, 2), "123.00");
    }

    #[test]
    fn a_target_is_met_not_met_or_not_measured() {
        let (ours, theirs) = (row("ours", &[90.0]), row("theirs", &[100.0]));
        let verdict = |target: Target| target.verdict();
        let ratio = |bound, other| Target::ratio(Some(&ours), other, Quantity::Rate, bound, "rate");
        assert_eq!(verdict(ratio(Bound::AtLeast(0.9), Some(&theirs))), "met");
        assert_eq!(verdict(ratio(Bound::AtLeast(0.91), Some(&theirs))), "**not met**");
        assert_eq!(verdict(ratio(Bound::AtMost(0.89), Some(&theirs))), "**not met**");
        assert_eq!(verdict(ratio(Bound::AtLeast(0.9), None)), "not measured");
        let memory = Target::of(Some(&ours), Quantity::Rate, Bound::AtMost(90.0), "rate");
        assert_eq!(memory.to_string(), "| rate | ≤ 90.00 | 90.00 | met |");
    }

    #[test]
    fn turns_are_compared_with_each_other() {
        // The machine was half as fast in the second turn, for both.
        let (ours, theirs) = (row("ours", &[99.0, 49.0, 90.0]), row("theirs", &[100.0, 50.0, 100.0]));
        let target = |bound| {
            Target::ratio_by_turn(Some(&ours), Some(&theirs), Quantity::Rate, Bound::AtLeast(bound), "rate")
        };
        assert_eq!(target(0.98).to_string(), "| rate | ≥ 0.98 × | 0.98 × | met |");
        assert_eq!(target(0.99).verdict(), "**not met**");
        let nothing = row("nothing", &[-1.0, 0.0]);
        let bound = Bound::AtMost(0.5);
        let against = Target::ratio_by_turn(Some(&ours), Some(&nothing), Quantity::Rate, bound, "rate");
        assert_eq!(against.verdict(), "not measured");
    }

    #[test]
    fn who_was_not_measured_is_named() {
        let mut other = Row::of("b");
        other.add(&[(Quantity::P50, 2.0)]);
        let report = Report {
            turns: 1,
            how: "all at once".to_owned(),
            rows: vec![row("a", &[1.0]), other],
            missing: vec![("c".to_owned(), "no compiler".to_owned())],
            targets: Vec::new(),
        };
        let circumstances = Circumstances::now().unwrap();
        let text = report.markdown(&circumstances);
        assert!(
            text.contains("| | events/s | p50, ms |\n|---|---|---|\n| a | 1 | — |\n| b | — | 2.0 |\n"),
            "{text}"
        );
        assert!(text.contains("Not measured: c (no compiler)."), "{text}");
        assert_eq!(report.json(&circumstances)["rows"][1]["figures"]["p50"][0], 2.0);
    }
}
