//! Events at a steady pace: how long each is on its way, and whether the agent keeps up.

use keyferry_tests::Result;

use super::Workbench;
use super::report::{Bound, Quantity, Report, Row, Target};
use crate::tuner::latency::{self, Pace};
use crate::tuner::variant::Variant;

/// As the agent comes.
fn as_it_comes() -> Variant {
    Variant::Profile("auto".to_owned())
}

/// 1,000 events a second.
///
/// # Errors
/// Where not every event arrives.
pub fn latency(bench: &mut Workbench<'_>) -> Result<Report> {
    let plan = bench.plan.clone();
    let pace = Pace { rate: 1000, lead: plan.lead, measured: plan.looking };
    let row = flow(bench, "latency", pace, plan.turns)?;
    let target = |quantity, most, what: &str| Target::of(Some(&row), quantity, Bound::AtMost(most), what);
    let targets = vec![
        target(Quantity::P50, 3.0, "commit to consumer at 1,000 events/s, p50, ms"),
        target(Quantity::P99, 10.0, "commit to consumer at 1,000 events/s, p99, ms"),
    ];
    let how = format!("{} s after a lead of {} s", plan.looking.as_secs(), plan.lead.as_secs());
    Ok(Report { turns: plan.turns, how, rows: vec![row], missing: Vec::new(), targets })
}

/// 10,000 events a second.
///
/// # Errors
/// Where not every event arrives.
pub fn steady(bench: &mut Workbench<'_>) -> Result<Report> {
    let plan = bench.plan.clone();
    let pace = Pace { rate: 10_000, lead: plan.lead, measured: plan.steady };
    let row = flow(bench, "steady", pace, 1)?;
    let target = |quantity, most, what: &str| Target::of(Some(&row), quantity, Bound::AtMost(most), what);
    let targets = vec![
        // What 20 ms hold: a backlog that grew would be larger.
        target(Quantity::Behind, 200.0, "events on their way at the end"),
        target(Quantity::Cpu, 15.0, "CPU at 10,000 events/s, % of a core"),
        target(Quantity::P99, 20.0, "commit to consumer at 10,000 events/s, p99, ms"),
    ];
    let how = format!("{} s after a lead of {} s", plan.steady.as_secs(), plan.lead.as_secs());
    Ok(Report { turns: 1, how, rows: vec![row], missing: Vec::new(), targets })
}

fn flow(bench: &Workbench<'_>, name: &str, pace: Pace, turns: usize) -> Result<Row> {
    let mut row = Row::of(format!("the agent at {} events/s", pace.rate));
    for turn in 0..turns {
        let found = latency::measure(&bench.stand, &as_it_comes(), &format!("{name}-{turn}"), pace)?;
        row.add(&[
            (Quantity::P50, found.p50),
            (Quantity::P99, found.p99),
            (Quantity::Highest, found.highest),
            (Quantity::Cpu, 100.0 * found.cpu),
            (Quantity::Behind, found.behind as f64),
        ]);
    }
    Ok(row)
}
