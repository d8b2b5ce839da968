//! What is generated from the metrics: their documentation, the Grafana dashboard, and the rules of Prometheus with their tests.
//!
//! The invariant: **no panel and no rule can name a metric that does not exist.** Expressions are built from the `static`s of the
//! [catalog](crate::metrics::catalog) by [`promql`], so a name that is wrong does not compile; `tests/generated.rs` holds the labels, too.
//!
//! `KEYFERRY_DOCS=write cargo test -p keyferry-monitor --test generated` writes all of it; the same test without the variable fails when something is not as generated.

pub mod dashboard;
pub mod promql;
pub mod reference;
pub mod rule_tests;
pub mod rules;

/// A generated file: its path from the root of the repository, and its content.
pub fn files() -> Vec<(&'static str, String)> {
    vec![
        ("docs/metrics.md", reference::text()),
        ("monitoring/grafana/keyferry.json", dashboard::text()),
        ("monitoring/prometheus/keyferry.rules.yml", rules::text()),
        ("monitoring/prometheus/keyferry.minutes.test.yml", rule_tests::text(false)),
        ("monitoring/prometheus/keyferry.days.test.yml", rule_tests::text(true)),
    ]
}
