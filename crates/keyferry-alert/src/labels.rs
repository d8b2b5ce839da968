//! Labels, and what chooses among them.
//!
//! The notation is that of Prometheus, so that a rule reads like the query that an operator would type: `name{label="value",other!="value"}`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The label that names the rule in routes, silences and notices.
pub const ALERT_NAME: &str = "alertname";
/// The label that has the severity there.
pub const SEVERITY: &str = "severity";

/// The labels of a series or of an alert, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// The value of the label `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Gives the label `name` a value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// The same, with one label more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// The same, with those of `other` where they have no value yet.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        for (name, value) in &other.0 {
            self.0.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self
    }

    /// Only the labels that are in `names`.
    #[must_use]
    pub fn only(&self, names: &[String]) -> Self {
        Self(names.iter().filter_map(|name| Some((name.clone(), self.0.get(name)?.clone()))).collect())
    }

    /// All labels but `name`.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut labels = self.clone();
        labels.0.remove(name);
        labels
    }

    /// Whether everything in here is in `other` as well.
    pub fn is_part_of(&self, other: &Self) -> bool {
        self.0.iter().all(|(name, value)| other.get(name) == Some(value))
    }

    /// Names and values, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Labels {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// As Prometheus has them; nothing where there are none.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        let pairs: Vec<String> = self.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        write!(f, "{{{}}}", pairs.join(","))
    }
}

/// What the labels of an alert must be, by name: a value, alternatives (`a|b`), or a beginning (`a*`). Without any, everything matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Matchers(BTreeMap<String, String>);

impl Matchers {
    /// Whether `labels` are so. A label that is missing counts as empty.
    pub fn match_labels(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(name, patterns)| {
            let value = labels.get(name).unwrap_or_default();
            patterns.split('|').any(|pattern| match pattern.strip_suffix('*') {
                Some(beginning) => value.starts_with(beginning),
                None => value == pattern,
            })
        })
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and patterns.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, pattern)| (name.as_str(), pattern.as_str()))
    }
}

impl FromIterator<(String, String)> for Matchers {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Matchers {
    fn from(pairs: [(&str, &str); N]) -> Self {
        pairs.into_iter().map(|(name, pattern)| (name.to_owned(), pattern.to_owned())).collect()
    }
}

/// Which series of a metric are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Selector {
    /// The metric.
    pub metric: String,
    wanted: Vec<(String, bool, String)>,
}

impl Selector {
    /// Every series of `metric`.
    pub fn all_of(metric: &str) -> Self {
        Self { metric: metric.to_owned(), wanted: Vec::new() }
    }

    /// Whether a series with these labels is meant.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.wanted
            .iter()
            .all(|(name, equal, value)| (labels.get(name).unwrap_or_default() == value) == *equal)
    }

    /// The labels of the one series that this notation names, for a series in a test file.
    pub fn labels(&self) -> Labels {
        self.wanted.iter().map(|(name, _, value)| (name.clone(), value.clone())).collect()
    }
}

/// Series of one metric or several, which are added up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct Selectors(pub Vec<Selector>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Selector),
    Many(Vec<Selector>),
}

impl From<OneOrMany> for Selectors {
    fn from(given: OneOrMany) -> Self {
        Self(match given {
            OneOrMany::One(selector) => vec![selector],
            OneOrMany::Many(selectors) => selectors,
        })
    }
}

impl TryFrom<String> for Selector {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| Error::Selector { text: text.to_owned(), wrong: what.to_owned() };
        let (metric, rest) = match text.trim().split_once('{') {
            None => (text.trim(), None),
            Some((metric, rest)) => {
                (metric.trim(), Some(rest.strip_suffix('}').ok_or_else(|| wrong("no `}` at its end"))?))
            }
        };
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
        };
        if !is_name(metric) {
            return Err(wrong("no name of a metric at its beginning"));
        }
        let mut wanted = Vec::new();
        for part in rest.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| wrong("a label without `=`"))?;
            let (name, equal) = match name.strip_suffix('!') {
                Some(name) => (name.trim(), false),
                None => (name.trim(), true),
            };
            let value = value.trim().strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let value = value.ok_or_else(|| wrong("a value that is not in double quotes"))?;
            if !is_name(name) {
                return Err(wrong("a label without a name"));
            }
            wanted.push((name.to_owned(), equal, value.to_owned()));
        }
        Ok(Self { metric: metric.to_owned(), wanted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_read_as_prometheus_writes_it() {
        let selector: Selector = r#"events_total{outcome="failed", realm!="master"}"#.parse().unwrap();
        assert_eq!(selector.metric, "events_total");
        let of = |outcome, realm| Labels::from([("outcome", outcome), ("realm", realm)]);
        assert!(selector.selects(&of("failed", "shop")));
        assert!(!selector.selects(&of("failed", "master")) && !selector.selects(&of("ok", "shop")));
        for wrong in ["", "{a=\"b\"}", "a{b=\"c\"", "a{b}", "a{b=c}", "a b"] {
            assert!(wrong.parse::<Selector>().is_err(), "{wrong:?} is taken");
        }
    }

    #[test]
    fn matchers_take_values_alternatives_and_beginnings() {
        let matchers = Matchers::from([("severity", "critical|emergency"), ("destination", "siem*")]);
        let of = |severity, destination| Labels::from([("severity", severity), ("destination", destination)]);
        assert!(matchers.match_labels(&of("critical", "siem-1")));
        assert!(!matchers.match_labels(&of("warning", "siem-1")));
        assert!(!matchers.match_labels(&of("critical", "other")));
        assert!(
            !matchers.match_labels(&Labels::default()) && Matchers::default().match_labels(&of("a", "b"))
        );
    }
}
