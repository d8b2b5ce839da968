//! The provider: what one event costs a thread of Keycloak, measured by JMH on the classes that ship.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use keyferry_tests::{Error, Result};
use serde::Deserialize;
use xtask::jmh;

use super::Workbench;
use super::report::{Bound, Quantity, Report, Row, Target};

/// The methods of `ListenerBenchmark`, and what each of them is.
const CASES: [(&str, &str); 6] = [
    (SATURATED, "64 threads, without pause"),
    (PACED, "64 threads, 10,000 events/s together"),
    ("pacedMachine", "64 threads as often, a computation of as long that is none of ours"),
    ("alone", "one thread"),
    ("encoding", "of it the encoding"),
    (APPENDING, "of it PREPARE and COMMIT"),
];
const SATURATED: &str = "saturated";
const PACED: &str = "paced";
/// Its events are encoded before each, outside of the time that is measured but not of the garbage.
const APPENDING: &str = "appending";

/// What JMH says of one method in one mode.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Measurement {
    benchmark: String,
    mode: String,
    primary_metric: Primary,
    secondary_metrics: BTreeMap<String, Secondary>,
}

/// Microseconds, or operations in one, as the benchmark says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Primary {
    score: f64,
    score_percentiles: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
struct Secondary {
    score: f64,
}

impl Measurement {
    fn is_of(&self, case: &str) -> bool {
        self.benchmark.rsplit('.').next() == Some(case)
    }

    fn figures(&self) -> Result<Vec<(Quantity, f64)>> {
        if self.mode == "thrpt" {
            return Ok(vec![(Quantity::Transactions, self.primary_metric.score * 1e6)]);
        }
        let mut figures = vec![
            (Quantity::MedianCost, self.percentile("50.0")?),
            (Quantity::P999Cost, self.percentile("99.9")?),
        ];
        if !self.is_of(APPENDING) {
            figures.push((Quantity::Garbage, self.garbage()?));
        }
        Ok(figures)
    }

    fn percentile(&self, name: &str) -> Result<f64> {
        let found = self.primary_metric.score_percentiles.get(name).copied();
        found.ok_or_else(|| self.lacks(&format!("the percentile {name}")))
    }

    /// Bytes for each call.
    fn garbage(&self) -> Result<f64> {
        let found = self.secondary_metrics.get("gc.alloc.rate.norm").map(|metric| metric.score);
        found.ok_or_else(|| self.lacks("what its profiler `gc` finds"))
    }

    fn lacks(&self, what: &str) -> Error {
        Error::Missing(format!("JMH does not tell {what} of {}", self.benchmark))
    }
}

/// Lets JMH measure everything once a turn.
///
/// # Errors
/// Where the provider does not compile, a benchmark fails, or one is not there.
pub fn measure(bench: &Workbench<'_>) -> Result<Report> {
    let room = bench.stand.room("java")?;
    let mut rows = CASES.map(|(_, title)| Row::of(title));
    for turn in 0..bench.plan.turns {
        let result = room.join(format!("jmh-{turn}.json"));
        run(&room, &result, bench.plan.is_quick)?;
        let text = fs::read_to_string(&result).map_err(Error::io("read", &result))?;
        add(&mut rows, &text)?;
    }
    Ok(Report {
        turns: bench.plan.turns,
        how: "from Keycloak's event to its COMMIT in the journal, with default settings".to_owned(),
        targets: targets(&rows),
        rows: rows.into(),
        missing: Vec::new(),
    })
}

/// One fork of each, with its journals in `room`.
fn run(room: &Path, result: &Path, is_quick: bool) -> Result<()> {
    let place = format!("-Djava.io.tmpdir={}", room.display());
    let mut options = vec!["-f", "1", "-prof", "gc", "-jvmArgsAppend", &place];
    if is_quick {
        options.extend(["-wi", "1", "-w", "1", "-i", "1", "-r", "1"]);
    }
    Ok(jmh::run(&options, result)?)
}

/// Adds a turn to the rows, of which there is one for each case.
fn add(rows: &mut [Row], json: &str) -> Result<()> {
    let measurements: Vec<Measurement> = serde_json::from_str(json)?;
    for ((case, _), row) in CASES.iter().zip(rows) {
        let mut of_case = measurements.iter().filter(|measurement| measurement.is_of(case)).peekable();
        if of_case.peek().is_none() {
            return Err(Error::Missing(format!("JMH has not measured {case}")));
        }
        of_case.try_for_each(|measurement| {
            row.add(&measurement.figures()?);
            Ok::<_, Error>(())
        })?;
    }
    Ok(())
}

fn targets(rows: &[Row]) -> Vec<Target> {
    let row = |case: &str| CASES.iter().position(|(name, _)| *name == case).and_then(|place| rows.get(place));
    let target = |case: &str, quantity, bound, what: &str| Target::of(row(case), quantity, bound, what);
    let (median, tail) = (Bound::AtMost(10.0), Bound::AtMost(100.0));
    vec![
        target(
            PACED,
            Quantity::MedianCost,
            median,
            "one event, 64 threads that write 10,000 a second, median, µs",
        ),
        target(
            PACED,
            Quantity::P999Cost,
            tail,
            "one event, 64 threads that write 10,000 a second, p99.9, µs",
        ),
        target(SATURATED, Quantity::MedianCost, median, "one event, 64 threads without pause, median, µs"),
        target(SATURATED, Quantity::P999Cost, tail, "one event, 64 threads without pause, p99.9, µs"),
        target(SATURATED, Quantity::Transactions, Bound::AtLeast(100_000.0), "transactions/s, 64 threads"),
        target(SATURATED, Quantity::Garbage, Bound::AtMost(4096.0), "garbage of an event, bytes"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As JMH writes it, with these figures for every method.
    fn result(throughput: f64, median: f64, tail: f64, garbage: f64) -> String {
        let of = |case: &str, mode: &str, score: f64| {
            serde_json::json!({
                "jmhVersion": "1.37",
                "benchmark": format!("org.keyferry.provider.ListenerBenchmark.{case}"),
                "mode": mode,
                "primaryMetric": {
                    "score": score,
                    "scoreError": "NaN",
                    "scorePercentiles": { "0.0": 0.1, "50.0": median, "99.9": tail, "100.0": 9e6 },
                    "scoreUnit": "us/op",
                },
                "secondaryMetrics": {
                    "gc.alloc.rate": { "score": 1.0 },
                    "gc.alloc.rate.norm": { "score": garbage, "scoreUnit": "B/op" },
                },
            })
        };
        let mut all: Vec<_> = CASES.iter().map(|(case, _)| of(case, "sample", 3.0)).collect();
        all.push(of(SATURATED, "thrpt", throughput));
        serde_json::to_string(&all).unwrap()
    }

    fn judged(json: &str) -> Vec<String> {
        let mut rows = CASES.map(|(_, title)| Row::of(title));
        add(&mut rows, json).unwrap();
        targets(&rows).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_jmh_says_is_judged() {
        let good = judged(&result(0.12, 3.0, 50.0, 2900.0));
        assert!(good.iter().all(|line| line.ends_with("| met |")), "{good:#?}");
        assert!(
            good.iter().any(|line| line.contains("| 120,000 |")),
            "operations in a microsecond: {good:#?}"
        );
        let bad = judged(&result(0.09, 11.0, 101.0, 4100.0));
        assert!(bad.iter().all(|line| line.ends_with("| **not met** |")), "{bad:#?}");
    }

    #[test]
    fn what_jmh_leaves_out_is_named() {
        let mut rows = CASES.map(|(_, title)| Row::of(title));
        let error = add(&mut rows, "[]").unwrap_err().to_string();
        assert!(error.contains("saturated"), "{error}");
        let without = result(0.12, 3.0, 50.0, 2900.0).replace("gc.alloc.rate.norm", "other");
        let error = add(&mut rows, &without).unwrap_err().to_string();
        assert!(error.contains("profiler `gc`"), "{error}");
    }

    /// A method that is renamed is found before anything is measured.
    #[test]
    fn each_case_is_a_benchmark() {
        let source =
            xtask::workspace::provider().join("src/jmh/java/org/keyferry/provider/ListenerBenchmark.java");
        let text = fs::read_to_string(source).unwrap();
        for (case, _) in CASES {
            assert!(text.contains(&format!(" {case}(")), "{case}");
        }
    }
}
