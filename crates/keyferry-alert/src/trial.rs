//! Tests of rules, as `promtool test rules` has them: series over time, and which alerts fire when.
//!
//! The invariant: **what is tested is what runs**: the same rules, the same manager, on a clock that jumps.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::AlertManager;
use crate::book::Book;
use crate::error::Error;
use crate::labels::{Labels, Selector};
use crate::manager::Memory;
use crate::metric::Sample;
use crate::units::{millis, span};

/// When the clock of every test begins: far enough from zero for windows to reach back.
const BEGIN_MS: u64 = 1_700_000_000_000;

/// A file of tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestFile {
    /// The file with the rules, beside this one. Default: the default rules.
    rules: Option<String>,
    /// How far a series goes with each value.
    #[serde(default = "default_interval", with = "span")]
    interval: Duration,
    #[serde(rename = "test")]
    tests: Vec<Test>,
}

fn default_interval() -> Duration {
    Duration::from_secs(5)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    name: String,
    series: Vec<Line>,
    expect: Vec<Expectation>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    series: Selector,
    values: Values,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    #[serde(with = "span")]
    at: Duration,
    alerts: Vec<Expected>,
    /// Only these rules are looked at. Default: all.
    #[serde(default)]
    of: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    name: String,
    #[serde(default)]
    labels: Labels,
}

/// Values one after the other; `None` where there is none.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct Values(Vec<Option<f64>>);

impl TryFrom<String> for Values {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut values = Vec::new();
        for word in text.split_whitespace() {
            let more = run(word)
                .ok_or_else(|| format!("`{word}` is no value; write 5, _, 5x3, 0+10x3 or 100-5x3"))?;
            values.extend(more);
        }
        Ok(Self(values))
    }
}

/// `a`, `_`, `axn`, `a+bxn`, `a-bxn`: n values more than the first.
fn run(word: &str) -> Option<Vec<Option<f64>>> {
    let (pattern, more) = match word.split_once('x') {
        Some((pattern, more)) => (pattern, more.parse::<usize>().ok().filter(|more| *more < 1_000_000)?),
        None => (word, 0),
    };
    if pattern == "_" {
        // There, `_x3` is three.
        return Some(vec![None; more.max(1)]);
    }
    let sign = pattern.char_indices().skip(1).find(|(_, c)| "+-".contains(*c)).map(|(place, _)| place);
    let (first, step) = match sign {
        Some(place) => (pattern[..place].parse::<f64>().ok()?, pattern[place..].parse::<f64>().ok()?),
        None => (pattern.parse::<f64>().ok()?, 0.0),
    };
    Some((0..=more).map(|number| Some(first + step * number as f64)).collect())
}

/// An expectation that was not met.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    test: String,
    at: String,
    expected: Vec<String>,
    firing: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |of: &[String]| if of.is_empty() { "nothing".to_owned() } else { of.join(", ") };
        let Self { test, at, expected, firing } = self;
        write!(f, "{test}, at {at}: expected {}, and there fires {}", list(expected), list(firing))
    }
}

/// What came of a file of tests.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Tests that were run.
    pub tests: usize,
    /// Expectations that were looked at.
    pub expectations: usize,
    /// Those that were not met.
    pub failures: Vec<Failure>,
}

/// Runs the file at `path`.
///
/// # Errors
/// It, or the rules that it names, cannot be read.
pub fn run_file(path: &Path) -> Result<Verdict, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let file: TestFile = toml::from_str(&text)
        .map_err(|error| Error::File { path: path.to_owned(), message: error.to_string() })?;
    let book = match &file.rules {
        Some(rules) => Book::read(&path.parent().unwrap_or(Path::new(".")).join(rules), &|_| None)?,
        None => Book::of_defaults()?,
    };
    let mut verdict = Verdict { tests: 0, expectations: 0, failures: Vec::new() };
    for test in &file.tests {
        verdict.tests += 1;
        verdict.expectations += test.expect.len();
        verdict.failures.extend(test.run(&book, millis(file.interval).max(1)));
    }
    Ok(verdict)
}

impl Test {
    fn run(&self, book: &Book, interval_ms: u64) -> Vec<Failure> {
        let mut manager = AlertManager::new(book.policy.clone(), Memory::default());
        let mut expectations: Vec<&Expectation> = self.expect.iter().collect();
        expectations.sort_by_key(|expectation| expectation.at);
        let mut failures = Vec::new();
        let mut step = 0;
        for expectation in expectations {
            while step * interval_ms <= millis(expectation.at) {
                let at = usize::try_from(step).unwrap_or(usize::MAX);
                let samples: Vec<Sample> = self.series.iter().filter_map(|line| line.sample(at)).collect();
                manager.check_thresholds(BEGIN_MS + step * interval_ms, &samples);
                step += 1;
            }
            failures.extend(self.compare(expectation, &manager));
        }
        failures
    }

    fn compare(&self, expectation: &Expectation, manager: &AlertManager) -> Option<Failure> {
        let is_meant = |name: &str| expectation.of.is_empty() || expectation.of.iter().any(|of| of == name);
        let firing: Vec<_> =
            manager.alerts().filter(|alert| alert.is_firing() && is_meant(&alert.key.rule)).collect();
        let mut left = firing.clone();
        let met = expectation.alerts.iter().all(|expected| {
            let place = left.iter().position(|alert| {
                alert.key.rule == expected.name && expected.labels.is_part_of(&alert.labels)
            });
            place.map(|place| left.remove(place)).is_some()
        });
        if met && left.is_empty() {
            return None;
        }
        let mut expected: Vec<String> =
            expectation.alerts.iter().map(|alert| format!("{}{}", alert.name, alert.labels)).collect();
        expected.sort();
        Some(Failure {
            test: self.name.clone(),
            at: keyferry_config::units::format_duration(expectation.at),
            expected,
            firing: firing.iter().map(|alert| format!("{}{}", alert.key.rule, alert.key.labels)).collect(),
        })
    }
}

impl Line {
    fn sample(&self, step: usize) -> Option<Sample> {
        let value = self.values.0.get(step).copied().flatten()?;
        Some(Sample::new(&self.series.metric, self.series.labels(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        interval = "5s"
        [[test]]
        name = "an open breaker is told at once, and for ten seconds more"
        series = [
            { series = 'keyferry_breaker_state{destination="default",state="open"}', values = "0x3 1x5 0x10" },
            { series = 'keyferry_breaker_state{destination="default",state="closed"}', values = "1x3 0x5 1x10" },
        ]
        expect = [
            { at = "15s", alerts = [] },
            { at = "20s", alerts = [{ name = "BreakerOpen", labels = { destination = "default" } }] },
            { at = "50s", alerts = [{ name = "BreakerOpen" }], of = ["BreakerOpen"] },
            { at = "55s", alerts = [] },
        ]
    "#;

    fn verdict(text: &str) -> Verdict {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.toml");
        std::fs::write(&path, text).unwrap();
        run_file(&path).unwrap()
    }

    #[test]
    fn what_is_expected_fires_and_ends() {
        assert_eq!(verdict(FILE), Verdict { tests: 1, expectations: 4, failures: Vec::new() });
    }

    #[test]
    fn a_refused_login_and_a_certificate_at_its_end_are_told_by_the_default_rules() {
        let file = r#"
            interval = "5s"
            [[test]]
            name = "a login is refused, and a pause of the broker is none"
            series = [
                { series = 'keyferry_breaker_cause{destination="a",cause="authentication"}', values = "1x10" },
                { series = 'keyferry_breaker_cause{destination="b",cause="oldest-unacknowledged"}', values = "1x10" },
            ]
            expect = [{ at = "20s", alerts = [{ name = "AccessRefused", labels = { destination = "a" } }] }]
            [[test]]
            name = "twenty days, six days, and a year"
            series = [
                { series = 'keyferry_certificate_expiry_timestamp_seconds{destination="a",certificate="client"}', values = "1701728000x10" },
                { series = 'keyferry_certificate_expiry_timestamp_seconds{destination="b",certificate="client"}', values = "1700518400x10" },
                { series = 'keyferry_certificate_expiry_timestamp_seconds{destination="c",certificate="client"}', values = "1731536000x10" },
            ]
            expect = [
                { at = "20s", alerts = [{ name = "CertificateExpiresSoon", labels = { destination = "b" } }], of = ["CertificateExpiresSoon"] },
                { at = "20s", alerts = [{ name = "CertificateExpires", labels = { destination = "a" } }, { name = "CertificateExpires", labels = { destination = "b" } }], of = ["CertificateExpires"] },
            ]
        "#;
        assert_eq!(
            verdict(file).failures.iter().map(ToString::to_string).collect::<Vec<_>>(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_is_not_expected_or_does_not_fire_is_told() {
        let never = verdict(&FILE.replace("0x3 1x5 0x10", "0x20"));
        assert_eq!(never.failures.len(), 2);
        assert_eq!(
            never.failures[0].to_string(),
            "an open breaker is told at once, and for ten seconds more, at 20s: expected \
             BreakerOpen{destination=\"default\"}, and there fires nothing"
        );
        assert_eq!(verdict(&FILE.replace("0x3 1x5 0x10", "1x20")).failures.len(), 2);
        assert_eq!(
            verdict(&FILE.replace("destination = \"default\"", "destination = \"other\"")).failures.len(),
            1
        );
    }

    #[test]
    fn values_are_those_of_promtool() {
        let of = |text: &str| Values::try_from(text.to_owned()).unwrap().0;
        assert_eq!(of("1 _ 2x2"), [Some(1.0), None, Some(2.0), Some(2.0), Some(2.0)]);
        assert_eq!(
            of("0+10x2 _x2 5-5x1"),
            [Some(0.0), Some(10.0), Some(20.0), None, None, Some(5.0), Some(0.0)]
        );
        assert_eq!(of("-1-1x1 1e3"), [Some(-1.0), Some(-2.0), Some(1000.0)]);
        assert!(Values::try_from("1xx".to_owned()).is_err());
    }
}
