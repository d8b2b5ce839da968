//! What of the events a destination gets, and what of an event a record tells.
//!
//! The languages of filters, templates and rules belong to [`keyferry_event`], which carries them out: what is read here is ready for use, and what is refused is named like every other value.

use keyferry_event::filter::{Condition, Selection, UnknownName};
use keyferry_event::redaction::{FieldRules, Preset};
use keyferry_event::routing::{KeyTemplate, TopicTemplate};
use serde::Serialize;

use crate::model::{Format, RedactionPreset, Secrets};
use crate::secret::Secret;

/// What of the events a destination gets, and what of an event a record tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Content {
    /// Which events.
    pub filter: Filter,
    /// To which topics, with which keys.
    pub routing: Routing,
    /// What is not told.
    pub redaction: Redaction,
    /// What a record's value looks like.
    pub format: Format,
}

/// Which events a destination gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    /// Only what this names.
    pub include: Selection,
    /// Nothing that this names.
    pub exclude: Selection,
    /// Only what meets this.
    pub expression: Option<Condition>,
}

impl Filter {
    /// The names in each setting that Keycloak is not known to use, with the setting's key.
    pub(crate) fn unknown_names(&self) -> impl Iterator<Item = (&'static str, UnknownName)> {
        let of = |key, names: Vec<UnknownName>| names.into_iter().map(move |name| (key, name));
        of(INCLUDE, self.include.unknown_names())
            .chain(of(EXCLUDE, self.exclude.unknown_names()))
            .chain(of(EXPRESSION, self.expression.iter().flat_map(Condition::unknown_names).collect()))
    }
}

/// Where events go beyond what their kinds say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Routing {
    /// The topic; `None` is that of the event's kind.
    pub topic: Option<TopicTemplate>,
    /// The key; `None` is the one that keeps in order what concerns one user.
    pub key: Option<KeyTemplate>,
}

/// What records do not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Redaction {
    /// What becomes of secrets.
    pub secrets: Secrets,
    /// Rules under one name.
    pub preset: Option<RedactionPreset>,
    /// Rules for fields, which win over the preset's.
    pub fields: FieldRules,
    /// The key of the hashes. There is one where one of the rules hashes.
    pub hash_key: Option<Secret>,
}

impl Redaction {
    /// Whether one of the rules hashes.
    pub(crate) fn needs_key(&self) -> bool {
        let preset = self.preset.map(|preset| Preset::from(preset).rules());
        self.fields.need_key() || preset.is_some_and(|rules| rules.need_key())
    }
}

impl From<RedactionPreset> for Preset {
    fn from(preset: RedactionPreset) -> Self {
        match preset {
            RedactionPreset::GdprPseudonymous => Self::GdprPseudonymous,
            RedactionPreset::NoRepresentation => Self::NoRepresentation,
        }
    }
}

pub(crate) const INCLUDE: &str = "destination.filter.include";
pub(crate) const EXCLUDE: &str = "destination.filter.exclude";
pub(crate) const EXPRESSION: &str = "destination.filter.expression";
pub(crate) const PRESET: &str = "destination.redaction.preset";
pub(crate) const FIELDS: &str = "destination.redaction.fields";
