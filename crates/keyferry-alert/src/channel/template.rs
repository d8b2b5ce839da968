//! What a webhook sends: text with names in double braces.
//!
//! The invariant: **what is filled in cannot break out of where it stands**: in JSON it is escaped as part of a string.

use serde::Deserialize;

use crate::notice::Notice;

/// Text with names in double braces, such as `{"text": "{{title}}"}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(Name),
    /// A label that all alerts of the notice share.
    Label(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Title,
    Text,
    Status,
    Severity,
    Rule,
    Summary,
    Subject,
    Count,
    Since,
    Runbook,
}

/// What can be filled in.
const NAMES: [(&str, Name); 10] = [
    ("title", Name::Title),
    ("text", Name::Text),
    ("status", Name::Status),
    ("severity", Name::Severity),
    ("name", Name::Rule),
    ("summary", Name::Summary),
    ("subject", Name::Subject),
    ("count", Name::Count),
    ("since", Name::Since),
    ("runbook", Name::Runbook),
];

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text.as_str());
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or("`{{` without `}}`")?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(part(name.trim())?);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }
}

fn part(name: &str) -> Result<Part, String> {
    if let Some(label) = name.strip_prefix("label.") {
        return Ok(Part::Label(label.to_owned()));
    }
    let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, name)| Part::Name(*name));
    let names = || NAMES.map(|(name, _)| name).join(", ");
    known.ok_or_else(|| format!("`{{{{{name}}}}}` is not known; there are {} and label.NAME", names()))
}

impl Template {
    /// The text for `notice`, with what is filled in escaped if it `is_json`.
    pub fn fill(&self, notice: &Notice, is_json: bool) -> String {
        let escape = |value: String| if is_json { escaped(&value) } else { value };
        let each = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Name(name) => escape(name.of(notice)),
            Part::Label(label) => escape(notice.group.get(label).unwrap_or_default().to_owned()),
        });
        each.collect()
    }
}

impl Name {
    fn of(self, notice: &Notice) -> String {
        let first = notice.alerts.first();
        match self {
            Self::Title => notice.title(),
            Self::Text => notice.text(),
            Self::Status => notice.cause.as_str().to_owned(),
            Self::Severity => notice.severity().to_string(),
            Self::Rule => first.map(|alert| alert.name.clone()).unwrap_or_default(),
            Self::Summary => first.map(|alert| alert.summary.clone()).unwrap_or_default(),
            Self::Subject => notice.subject.clone(),
            Self::Count => notice.alerts.len().to_string(),
            Self::Since => first.map(|alert| alert.since_ms.to_string()).unwrap_or_default(),
            Self::Runbook => first.and_then(|alert| alert.runbook.clone()).unwrap_or_default(),
        }
    }
}

/// As part of a string of JSON, without its quotes.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
