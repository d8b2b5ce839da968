//! What was found, by side and kind of fault.

use std::collections::BTreeMap;
use std::fmt;

use super::{Judged, Side};

/// All cases by kind.
#[derive(Debug, Default)]
pub struct Table {
    rows: BTreeMap<(Side, &'static str), Row>,
}

#[derive(Debug, Default)]
struct Row {
    cases: usize,
    met: usize,
    failed: usize,
    ends: BTreeMap<String, usize>,
}

impl Table {
    /// Adds a case, and prints it where something is wrong.
    pub fn add(&mut self, judged: &Judged) {
        let Judged { number, side, fault, verdict } = judged;
        if !verdict.wrong.is_empty() {
            println!("case {number} ({side:?}, {fault}) ended with {}:", verdict.end);
            verdict.wrong.iter().for_each(|wrong| println!("  {wrong}"));
        }
        let row = self.rows.entry((*side, fault.kind())).or_default();
        row.cases += 1;
        row.met += usize::from(verdict.met);
        row.failed += usize::from(!verdict.wrong.is_empty());
        *row.ends.entry(verdict.end.clone()).or_default() += 1;
    }

    /// Whether every case held.
    pub fn holds(&self) -> bool {
        self.rows.values().all(|row| row.failed == 0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "side    fault              cases    met  failed  how the program ended")?;
        for ((side, kind), row) in &self.rows {
            let side = format!("{side:?}").to_lowercase();
            let ends: Vec<String> = row.ends.iter().map(|(end, count)| format!("{end}: {count}")).collect();
            writeln!(
                formatter,
                "{side:<7} {kind:<17} {:>6} {:>6} {:>7}  {}",
                row.cases,
                row.met,
                row.failed,
                ends.join(", ")
            )?;
        }
        let sum = |of: fn(&Row) -> usize| self.rows.values().map(of).sum::<usize>();
        let (met, failed) = (sum(|row| row.met), sum(|row| row.failed));
        write!(formatter, "{} cases, {met} met their fault, {failed} failed", sum(|row| row.cases))?;
        if failed > 0 {
            return Ok(());
        }
        write!(
            formatter,
            ": the probability that a fault of this kind is lost in silence is below {:.4} (95 %)",
            3.0 / met.max(1) as f64
        )
    }
}
