//! What a rule is: when something is worth a person's attention, how much, and what that person should read.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::labels::Labels;
use crate::signal::Signal;
use crate::units::span;

/// How bad it is. The words are those of syslog (RFC 5424), of which five are of use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing. Nobody need do anything.
    Info,
    /// It will become worse if nobody does anything. Within days.
    Warning,
    /// Something does not work as it should. Within hours.
    Error,
    /// Events do not get through, or soon will not. Now.
    Critical,
    /// Events are lost. Wake somebody up.
    Emergency,
}

impl Severity {
    /// From the least to the worst.
    pub const ALL: [Self; 5] = [Self::Info, Self::Warning, Self::Error, Self::Critical, Self::Emergency];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Emergency => "emergency",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A limit, and where it counts as kept again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Condition {
    /// More than `limit` is too much, until it is less than or equal to `clear`.
    Above {
        /// What is too much.
        limit: f64,
        /// What is enough less.
        clear: f64,
    },
    /// Less than `limit` is too little, until it is at least `clear`.
    Below {
        /// What is too little.
        limit: f64,
        /// What is enough more.
        clear: f64,
    },
}

impl Condition {
    /// Whether `value` is beyond the limit; of an alert that `is_active`, whether it has not come back far enough.
    pub fn holds(self, value: f64, is_active: bool) -> bool {
        match self {
            Self::Above { clear, .. } if is_active => value > clear,
            Self::Above { limit, .. } => value > limit,
            Self::Below { clear, .. } if is_active => value < clear,
            Self::Below { limit, .. } => value < limit,
        }
    }

    fn of(above: Option<f64>, below: Option<f64>, clear: Option<f64>) -> Result<Self, &'static str> {
        match (above, below) {
            (Some(limit), None) => match clear.unwrap_or(limit) {
                clear if clear <= limit => Ok(Self::Above { limit, clear }),
                _ => Err("`clear` lies above `above`; give a lower value"),
            },
            (None, Some(limit)) => match clear.unwrap_or(limit) {
                clear if clear >= limit => Ok(Self::Below { limit, clear }),
                _ => Err("`clear` lies below `below`; give a higher value"),
            },
            _ => Err("give one of `above` and `below`"),
        }
    }
}

/// A signal and its limit.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "TermFields")]
pub struct Term {
    /// What is watched.
    pub signal: Signal,
    /// The limit.
    pub condition: Condition,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TermFields {
    signal: Signal,
    above: Option<f64>,
    below: Option<f64>,
    clear: Option<f64>,
}

impl TryFrom<TermFields> for Term {
    type Error = String;

    fn try_from(fields: TermFields) -> Result<Self, String> {
        let TermFields { signal, above, below, clear } = fields;
        let condition = match (&signal, above, below, clear) {
            (Signal::Absent(_), None, None, None) => Condition::Above { limit: 0.5, clear: 0.5 },
            (Signal::Absent(_), ..) => return Err("what is absent has no limit".to_owned()),
            _ => Condition::of(above, below, clear)?,
        };
        Ok(Self { signal, condition })
    }
}

/// When something is worth a person's attention.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "RuleFields")]
pub struct Rule {
    /// Its name, unique, such as `ErrorRateHigh`.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// What must hold. The first one gives the alert its value and its labels; of each other one a number with no other labels must hold as well.
    pub terms: Vec<Term>,
    /// For how long it must hold before anybody is told.
    pub hold: Duration,
    /// For how long it must not hold before it counts as over.
    pub keep_firing: Duration,
    /// Labels of its alerts beside those of the signal.
    pub labels: Labels,
    /// What it means, in a few words. `{value}` and the names of labels in braces are filled in.
    pub summary: String,
    /// The same at length.
    pub description: String,
    /// Where it is written what to do.
    pub runbook: Option<String>,
    /// Whether it is watched at all.
    pub enabled: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFields {
    name: String,
    severity: Severity,
    signal: Signal,
    above: Option<f64>,
    below: Option<f64>,
    clear: Option<f64>,
    #[serde(default)]
    and: Vec<Term>,
    #[serde(default, rename = "for", with = "span::optional")]
    hold: Option<Duration>,
    #[serde(default, with = "span::optional")]
    keep_firing: Option<Duration>,
    #[serde(default)]
    labels: Labels,
    summary: String,
    #[serde(default)]
    description: String,
    runbook: Option<String>,
    enabled: Option<bool>,
}

impl TryFrom<RuleFields> for Rule {
    type Error = Error;

    fn try_from(fields: RuleFields) -> Result<Self, Error> {
        let RuleFields { name, severity, signal, above, below, clear, and, .. } = fields;
        let wrong = |wrong: String| Error::Rule { rule: name.clone(), wrong };
        let first = Term::try_from(TermFields { signal, above, below, clear }).map_err(wrong)?;
        check(&name, &first, &and)?;
        Ok(Self {
            name,
            severity,
            terms: std::iter::once(first).chain(and).collect(),
            hold: fields.hold.unwrap_or_default(),
            keep_firing: fields.keep_firing.unwrap_or_default(),
            labels: fields.labels,
            summary: fields.summary,
            description: fields.description,
            runbook: fields.runbook,
            enabled: fields.enabled.unwrap_or(true),
        })
    }
}

/// That the terms go together: another term cannot tell apart what the first one does not.
fn check(rule: &str, first: &Term, others: &[Term]) -> Result<(), Error> {
    let Some(known) = crate::signal::told_apart(&first.signal) else { return Ok(()) };
    for other in others {
        let Some(told) = crate::signal::told_apart(&other.signal) else { continue };
        if let Some(label) = told.difference(&known).next() {
            let wrong = format!("a term of `and` is by `{label}`, and the first signal is not");
            return Err(Error::Rule { rule: rule.to_owned(), wrong });
        }
    }
    Ok(())
}

/// What is different about a rule in one environment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    severity: Option<Severity>,
    above: Option<f64>,
    below: Option<f64>,
    clear: Option<f64>,
    #[serde(default, rename = "for", with = "span::optional")]
    hold: Option<Duration>,
    #[serde(default, with = "span::optional")]
    keep_firing: Option<Duration>,
    enabled: Option<bool>,
}

/// What is different in one environment, by the names of rules.
pub type Overrides = BTreeMap<String, Override>;

impl Rule {
    /// The metrics that it looks at.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        let needs = self.terms.iter().flat_map(|term| term.signal.needs());
        needs.map(|(selector, _)| selector.metric.as_str())
    }

    /// The rule as it is with `other` laid over it.
    ///
    /// # Errors
    /// The new limits contradict each other, or the kind of limit that the rule has.
    pub fn overridden(mut self, other: &Override) -> Result<Self, Error> {
        let wrong = |wrong: &str| Error::Rule { rule: self.name.clone(), wrong: wrong.to_owned() };
        let condition = match (self.terms[0].condition, other.above, other.below) {
            (condition, None, None) => match (condition, other.clear) {
                (_, None) => condition,
                (Condition::Above { limit, .. }, clear) => {
                    Condition::of(Some(limit), None, clear).map_err(wrong)?
                }
                (Condition::Below { limit, .. }, clear) => {
                    Condition::of(None, Some(limit), clear).map_err(wrong)?
                }
            },
            (Condition::Above { .. }, above @ Some(_), None) => {
                Condition::of(above, None, other.clear).map_err(wrong)?
            }
            (Condition::Below { .. }, None, below @ Some(_)) => {
                Condition::of(None, below, other.clear).map_err(wrong)?
            }
            _ => return Err(wrong("an environment can move a limit, not turn it round")),
        };
        self.terms[0].condition = condition;
        self.severity = other.severity.unwrap_or(self.severity);
        self.hold = other.hold.unwrap_or(self.hold);
        self.keep_firing = other.keep_firing.unwrap_or(self.keep_firing);
        self.enabled = other.enabled.unwrap_or(self.enabled);
        Ok(self)
    }
}

/// `text` with the value and the labels filled in. A name in braces that no label has stays as it is.
pub fn filled_in(text: &str, labels: &Labels, value: f64) -> String {
    let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(open) = rest.find('{') {
        let (before, braced) = rest.split_at(open);
        filled.push_str(before);
        let Some(close) = braced.find('}') else {
            rest = braced;
            break;
        };
        let (name, whole) = (&braced[1..close], &braced[..=close]);
        match (name, labels.get(name)) {
            ("value", _) => filled.push_str(&number(value)),
            ("percent", _) => filled.push_str(&format!("{} %", number(value * 100.0))),
            (_, Some(label)) => filled.push_str(label),
            (_, None) => filled.push_str(whole),
        }
        rest = &braced[close + 1..];
    }
    filled.push_str(rest);
    filled
}

/// A number for people: whole where it is large, else with three significant digits.
fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let digits = (2.0 - value.abs().log10().floor()).clamp(0.0, 9.0);
    let text = format!("{value:.*}", digits as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = r#"
        name = "ErrorRateHigh"
        severity = "error"
        signal.ratio = { part = "bad_total", whole = "all_total", window = "1m", by = ["destination"] }
        above = 0.01
        clear = 0.005
        for = "30s"
        summary = "{percent} of the events to {destination} fail ({nothing})"
    "#;

    fn rule(change: impl Fn(&str) -> String) -> Result<Rule, String> {
        toml::from_str(&change(RULE)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_rule_says_what_it_means() {
        let rule = rule(str::to_owned).unwrap();
        assert_eq!((rule.severity, rule.hold), (Severity::Error, Duration::from_secs(30)));
        assert_eq!(rule.metrics().collect::<Vec<_>>(), ["bad_total", "all_total"]);
        let labels = Labels::from([("destination", "siem")]);
        assert_eq!(
            filled_in(&rule.summary, &labels, 0.0423),
            "4.23 % of the events to siem fail ({nothing})"
        );
        assert_eq!(number(123_456.7), "123457");
        assert_eq!(filled_in("open { brace", &labels, 1.0), "open { brace");
    }

    #[test]
    fn a_limit_lets_go_only_where_it_clears() {
        let condition = rule(str::to_owned).unwrap().terms[0].condition;
        assert!(!condition.holds(0.01, false) && condition.holds(0.011, false));
        assert!(condition.holds(0.006, true) && !condition.holds(0.005, true));
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_rule_s_name() {
        type Change = fn(&str) -> String;
        let cases: [(Change, &str); 4] = [
            (|rule| rule.replace("0.005", "0.5"), "`clear` lies above"),
            (|rule| rule.replace("above = 0.01", ""), "one of `above` and `below`"),
            (|rule| format!("{rule}\nbelow = 3"), "one of `above` and `below`"),
            (
                |rule| {
                    format!(
                        "{rule}\nand = [{{ signal.value = {{ metric = 'x', by = ['realm'] }}, above = 1 }}]"
                    )
                },
                "by `realm`",
            ),
        ];
        for (change, told) in cases {
            let error = rule(change).unwrap_err();
            assert!(error.contains(told) && error.contains("ErrorRateHigh"), "{error}");
        }
        assert!(rule(|rule| format!("{rule}\nunknown = 1")).is_err());
    }

    #[test]
    fn an_environment_moves_a_limit_and_does_not_turn_it_round() {
        let lay = |text: &str| rule(str::to_owned).unwrap().overridden(&toml::from_str(text).unwrap());
        let laid = lay("above = 0.1\nseverity = 'warning'\nfor = '5m'").unwrap();
        assert_eq!(laid.terms[0].condition, Condition::Above { limit: 0.1, clear: 0.1 });
        assert_eq!((laid.severity, laid.hold), (Severity::Warning, Duration::from_secs(300)));
        assert!(!lay("enabled = false").unwrap().enabled);
        let error = lay("below = 0.1").unwrap_err().to_string();
        assert!(error.contains("turn it round") && error.contains("ErrorRateHigh"), "{error}");
    }
}
