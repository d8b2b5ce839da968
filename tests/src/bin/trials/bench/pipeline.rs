//! The pipeline without disk and network, on one core: how fast it would be if Kafka cost nothing.

use keyferry_tests::Result;
use xtask::ferry_rate;

use super::Plan;
use super::report::{Bound, Quantity, Report, Row, Target};

/// Names that the program of the measurement knows, what they are, and what is asked of them.
const CASES: [(&str, &str, Option<f64>); 11] = [
    ("none", "user events, nothing searched", None),
    ("default", "user events, default configuration", Some(3e6)),
    ("filter", "with a filter on three fields", Some(1.5e6)),
    ("filter-details", "with a filter on a field inside the JSON", None),
    ("secrets", "admin events of 1.7 kB with a secret to mask", Some(5e5)),
    ("cloudevents", "user events as structured CloudEvents", Some(1e6)),
    ("ocsf", "user events in OCSF", Some(4e5)),
    ("ecs", "user events in ECS", None),
    ("avro", "user events in Avro", Some(6e5)),
    ("protobuf", "user events in Protobuf", None),
    ("json-schema", "user events in JSON by a schema", None),
];

/// Runs each case in turn.
///
/// # Errors
/// Where the program cannot be built or fails.
pub fn measure(plan: &Plan) -> Result<Report> {
    let program = ferry_rate::build("with", &[])?;
    let mut rows: Vec<Row> = CASES.iter().map(|(_, title, _)| Row::of(*title)).collect();
    for _ in 0..plan.turns {
        for ((case, ..), row) in CASES.iter().zip(&mut rows) {
            row.add(&[(Quantity::Rate, ferry_rate::measure(&program, case)?)]);
        }
    }
    let targets = CASES.iter().zip(&rows).filter_map(|((_, title, asked), row)| {
        Some(Target::of(Some(row), Quantity::Rate, Bound::AtLeast((*asked)?), &format!("events/s, {title}")))
    });
    Ok(Report {
        turns: plan.turns,
        how: "for each second of processor time, from a journal in memory to nowhere".to_owned(),
        targets: targets.collect(),
        rows,
        missing: Vec::new(),
    })
}
