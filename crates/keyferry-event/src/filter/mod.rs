//! Which events a destination gets.
//!
//! The invariant: **whether an event passes is a function of the event alone**, so that it is the same whenever the event comes by, and what does not pass takes no number.
//!
//! Three things must agree: what is to be included ([`Selection`]), what is to be excluded, and a [`Condition`]. They are compiled once; an event costs a few comparisons with fields beside its JSON, and a
//! search in the JSON only for details that are asked for.

mod expression;
mod field;
mod pattern;
mod unwanted;
mod vocabulary;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use keyferry_journal::event::EventView;
use serde::{Serialize, Serializer};

use expression::Expression;
pub(crate) use field::name_of_kind;
use field::{Field, NAMES};
use pattern::Pattern;
pub use unwanted::Unwanted;

/// Which events pass. The default lets all pass.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    conditions: Arc<[Expression]>,
}

impl Filter {
    /// What `include` names, unless `exclude` names it too, and of that what meets `condition`.
    pub fn new(include: &Selection, exclude: &Selection, condition: Option<&Condition>) -> Self {
        let included = include.by_field.iter().cloned().map(expression::any_of);
        let excluded = exclude.by_field.iter().flatten().cloned();
        let excluded = excluded.map(|test| Expression::Not(Box::new(test)));
        let condition = condition.map(|condition| condition.expression.clone());
        Self { conditions: included.chain(excluded).chain(condition).collect() }
    }

    /// Whether `event` passes.
    pub fn passes(&self, event: &EventView<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(event))
    }
}

/// A name that Keycloak is not known to use in the place where it stands, and those that it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// The name.
    pub name: String,
    /// Those that are known there.
    pub known: Vec<&'static str>,
}

/// A filter is not understood; the text says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IllegalFilter(String);

/// A condition on an event: `type == "LOGIN_ERROR" && details.username ~ "adm*"`.
#[derive(Clone, Debug)]
pub struct Condition {
    expression: Expression,
    text: String,
}

/// Fields and what they may be: `realm = shop, staff-*; type = LOGIN, LOGOUT`. One of the values of each field must fit.
///
/// A value is a text, a glob with `*` or `?`, or a regular expression between slashes. Blanks around values, and values that are nothing else, do not matter.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The tests of each field.
    by_field: Vec<Vec<Expression>>,
    text: String,
}

/// What two kinds of filters share: they are the same if they are written the same, and shown as they were written.
macro_rules! as_written {
    ($name:ident) => {
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.text == other.text
            }
        }

        impl Eq for $name {}

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
            }
        }
    };
}

as_written!(Condition);
as_written!(Selection);

impl FromStr for Condition {
    type Err = IllegalFilter;

    fn from_str(text: &str) -> Result<Self, IllegalFilter> {
        let expression = expression::parse(text).map_err(IllegalFilter)?;
        Ok(Self { expression, text: text.to_owned() })
    }
}

impl Condition {
    /// The names in it that Keycloak is not known to use.
    pub fn unknown_names(&self) -> Vec<UnknownName> {
        unknown_names(std::iter::once(&self.expression))
    }
}

impl FromStr for Selection {
    type Err = IllegalFilter;

    fn from_str(text: &str) -> Result<Self, IllegalFilter> {
        let mut by_field: BTreeMap<Field, Vec<Expression>> = BTreeMap::new();
        let mut of: Option<Field> = None;
        for entry in entries(text) {
            let (field, value) = match named(entry) {
                Some((field, value)) => (field, value),
                None => (of.clone().ok_or_else(|| unnamed(entry))?, entry),
            };
            let tests = by_field.entry(field.clone()).or_default();
            if !value.is_empty() {
                tests.push(test(&field, value)?);
            }
            of = Some(field);
        }
        // A field without values excludes and includes nothing in particular.
        let by_field = by_field.into_values().filter(|tests| !tests.is_empty()).collect();
        Ok(Self { by_field, text: text.to_owned() })
    }
}

impl Selection {
    /// The names in it that Keycloak is not known to use.
    pub fn unknown_names(&self) -> Vec<UnknownName> {
        unknown_names(self.by_field.iter().flatten())
    }
}

/// The entries of a selection: between commas, semicolons and ends of lines that are not part of a regular expression.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    let mut in_regex = false;
    let mut last = ' ';
    let is_end = move |character: char| {
        let opens = character == '/' && matches!(last, '=' | ',' | ';' | '\n');
        let closes = character == '/' && in_regex && last != '\\';
        if closes {
            in_regex = false;
        } else if opens {
            in_regex = true;
        }
        if !character.is_whitespace() || character == '\n' {
            last = character;
        }
        matches!(character, ',' | ';' | '\n') && !in_regex
    };
    text.split(is_end).map(str::trim).filter(|entry| !entry.is_empty())
}

/// The field and the value of `field = value`; `None` if no field is named.
fn named(entry: &str) -> Option<(Field, &str)> {
    let (name, value) = entry.split_once('=')?;
    Some((Field::named(name.trim())?, value.trim()))
}

fn unnamed(entry: &str) -> IllegalFilter {
    IllegalFilter(format!(
        "entries `field = value, value; field = …` with {NAMES}; `{entry}` belongs to none"
    ))
}

fn test(field: &Field, value: &str) -> Result<Expression, IllegalFilter> {
    let regex = value.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    let test = match regex {
        Some(regex) => {
            Pattern::regex(&regex.replace("\\/", "/")).map(|pattern| Expression::Is(field.clone(), pattern))
        }
        None => expression::like(field.clone(), value),
    };
    test.map_err(IllegalFilter)
}

fn unknown_names<'a>(expressions: impl Iterator<Item = &'a Expression>) -> Vec<UnknownName> {
    let mut unknown = Vec::new();
    for expression in expressions {
        expression.each_text(&mut |field, text| {
            if let Some(known) = field.known().filter(|known| !known.contains(&text)) {
                unknown.push(UnknownName { name: text.to_owned(), known });
            }
        });
    }
    unknown
}
