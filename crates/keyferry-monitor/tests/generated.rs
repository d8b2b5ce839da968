//! What is generated is as generated, and speaks of nothing that does not exist.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use keyferry_monitor::metrics::Metric;
use keyferry_monitor::metrics::catalog::ALL;
use keyferry_monitor::monitoring::{dashboard, files, rules};

#[test]
fn every_file_is_as_generated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, text) in files() {
        let path = root.join(path);
        if std::env::var_os("KEYFERRY_DOCS").is_some_and(|value| value == "write") {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == text,
            "{} is not as generated; run this test with KEYFERRY_DOCS=write",
            path.display()
        );
    }
}

/// Names in an expression: of metrics and recordings.
fn names(expression: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    expression.split(|c| !is_part(c)).filter(|word| word.starts_with("keyferry")).collect()
}

fn expressions() -> Vec<String> {
    let panels = dashboard::sections().into_iter().flat_map(|section| section.panels);
    let queries = panels.flat_map(|panel| panel.queries).map(|(expression, _)| expression);
    let recorded = rules::recordings().into_iter().map(|recording| recording.expression);
    let alerts = rules::alerts().into_iter().map(|alert| alert.expression);
    queries.chain(recorded).chain(alerts).collect()
}

#[test]
fn every_name_in_an_expression_is_that_of_a_metric_or_recording() {
    let mut known: BTreeSet<String> = ALL.iter().flat_map(|metric| metric.series()).collect();
    known.extend(rules::recordings().into_iter().map(|recording| recording.record));
    for expression in expressions() {
        for name in names(&expression) {
            assert!(known.contains(name), "there is no {name}: {expression}");
        }
    }
}

/// The selectors `name{matchers}` of an expression that are of metrics of ours.
fn selectors(expression: &str) -> Vec<(&'static Metric, Vec<&str>)> {
    let mut found = Vec::new();
    for (at, _) in expression.match_indices('{') {
        let name = names(
            expression[..at].rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap(),
        );
        let metric = name.first().and_then(|name| {
            ALL.iter().find(|metric| metric.series().iter().any(|series| series == name)).copied()
        });
        let matchers = &expression[at + 1..at + expression[at..].find('}').unwrap()];
        let labels = matchers.split("\",").map(|matcher| matcher.split(['=', '!']).next().unwrap()).collect();
        found.extend(metric.map(|metric| (metric, labels)));
    }
    found
}

#[test]
fn every_label_that_is_asked_for_is_one_of_the_metric() {
    let mut asked = 0;
    for expression in expressions() {
        for (metric, labels) in selectors(&expression) {
            for label in labels {
                asked += 1;
                let is_known = metric.labels.contains(&label) || ["instance", "le"].contains(&label);
                assert!(is_known, "{} has no label {label}: {expression}", metric.name);
            }
        }
    }
    assert!(asked > 100, "selectors are not found: {asked}");
}

#[test]
fn every_metric_is_on_the_dashboard_or_in_a_rule() {
    let expressions = expressions();
    let used: BTreeSet<&str> = expressions.iter().flat_map(|expression| names(expression)).collect();
    let unused: Vec<&str> = ALL
        .iter()
        .filter(|metric| !metric.series().iter().any(|series| used.contains(series.as_str())))
        .map(|metric| metric.name)
        .collect();
    // For who looks closely.
    let known = [
        "keyferry_last_delivery_timestamp_seconds",
        "keyferry_journal_used_ratio",
        "keyferry_in_flight_bytes",
        "keyferry_breaker_consecutive_failures",
        "keyferry_registry_ids",
        "keyferry_kafka_pool_generation",
        "keyferry_kafka_pool_resets_total",
        "keyferry_kafka_requests_in_flight",
        "keyferry_kafka_queue_bytes",
        "keyferry_kafka_refused_batches_total",
        "keyferry_tuner_frozen",
        "keyferry_tuner_connections",
        "keyferry_process_start_time_seconds",
    ];
    assert_eq!(unused, known);
}
