//! Which types of events no destination wants, so that they need not even be journaled.
//!
//! The invariant: **a type is unwanted only if every destination's filter drops every event of it**, whatever else there is in the event. A filter is asked of the type alone, in Kleene's logic of three values: what depends on
//! another field is unknown, and what may pass is wanted. Types that are not known here, of a later Keycloak, are never unwanted.

use std::fmt;

use keyferry_journal::event::EventKind;
use serde::Serialize;

use super::vocabulary::{EVENT_TYPES, OPERATION_TYPES, RESOURCE_TYPES};
use super::{Expression, Field, Filter, name_of_kind};
use crate::record::Topics;

/// Whom the agent itself wants, whatever its destinations do: its metrics tell logins and failures, by which alerts know an attack.
const MEASURED: [&str; 2] = ["LOGIN", "LOGIN_ERROR"];

/// What is known of an event by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TypeOfEvent {
    /// A user event of this type.
    User(&'static str),
    /// An admin event.
    Admin { resource: &'static str, operation: &'static str },
}

impl TypeOfEvent {
    fn kind(self) -> EventKind {
        match self {
            Self::User(_) => EventKind::User,
            Self::Admin { .. } => EventKind::Admin,
        }
    }

    /// Every type that may be unwanted.
    fn user() -> impl Iterator<Item = Self> {
        EVENT_TYPES.iter().filter(|of_type| !MEASURED.contains(of_type)).map(|of_type| Self::User(of_type))
    }

    fn admin() -> impl Iterator<Item = Self> {
        let operations =
            |resource| OPERATION_TYPES.iter().map(move |operation| Self::Admin { resource, operation });
        RESOURCE_TYPES.iter().flat_map(move |resource| operations(*resource))
    }

    /// The value of `field` in every event of the type: `Some(None)` if none has one, `None` if that cannot be told.
    fn value(self, field: &Field) -> Option<Option<&'static str>> {
        let (of_type, operation, resource) = match self {
            Self::User(of_type) => (of_type, None, None),
            Self::Admin { resource, operation } => (operation, Some(operation), Some(resource)),
        };
        match field {
            Field::Kind => Some(Some(name_of_kind(self.kind()))),
            Field::Type => Some(Some(of_type)),
            Field::OperationType => Some(operation),
            Field::ResourceType => Some(resource),
            Field::Realm
            | Field::RealmId
            | Field::RealmName
            | Field::Client
            | Field::User
            | Field::ResourcePath
            | Field::Error
            | Field::Detail(_) => None,
        }
    }
}

/// `REFRESH_TOKEN`, or `USER.CREATE` as in a record's `ce_type`.
impl fmt::Display for TypeOfEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(of_type) => f.write_str(of_type),
            Self::Admin { resource, operation } => write!(f, "{resource}.{operation}"),
        }
    }
}

impl Expression {
    /// Whether it holds of every event of the type, or of none; `None` if it depends.
    fn of_type(&self, of: TypeOfEvent) -> Option<bool> {
        match self {
            Self::Has(field) => Some(of.value(field)?.is_some_and(|value| !value.is_empty())),
            Self::Is(field, pattern) => Some(of.value(field)?.is_some_and(|value| pattern.matches(value))),
            Self::Not(condition) => condition.of_type(of).map(|holds| !holds),
            Self::All(conditions) => unless(false, conditions, of),
            Self::Any(conditions) => unless(true, conditions, of),
        }
    }
}

/// `decisive` if one of the conditions is, its opposite if all are that, unknown otherwise.
fn unless(decisive: bool, conditions: &[Expression], of: TypeOfEvent) -> Option<bool> {
    let mut is_known = true;
    for condition in conditions {
        match condition.of_type(of) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => is_known = false,
        }
    }
    is_known.then_some(!decisive)
}

/// The types of events that nobody wants, as they are told to the provider. `LOGIN` and `LOGIN_ERROR` are never among them: metrics count them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unwanted {
    /// Types of user events: `REFRESH_TOKEN`.
    pub user: Vec<String>,
    /// Types of resources with operations: `USER.CREATE`.
    pub admin: Vec<String>,
}

impl Unwanted {
    /// What none of these destinations wants, each by its filter and topics. Without any destination nothing is unwanted: nobody knows yet.
    pub fn by_all(destinations: &[(Filter, Topics)]) -> Self {
        let drops = |(filter, topics): &(Filter, Topics), of: TypeOfEvent| {
            topics.of(of.kind()).is_none() || filter.drops_all(of)
        };
        let is_unwanted = |of: &TypeOfEvent| {
            !destinations.is_empty() && destinations.iter().all(|destination| drops(destination, *of))
        };
        let told = |types: &mut dyn Iterator<Item = TypeOfEvent>| {
            types.filter(is_unwanted).map(|of| of.to_string()).collect()
        };
        Self { user: told(&mut TypeOfEvent::user()), admin: told(&mut TypeOfEvent::admin()) }
    }
}

impl Filter {
    /// Whether no event of the type passes, whatever else is in it.
    fn drops_all(&self, of: TypeOfEvent) -> bool {
        self.conditions.iter().any(|condition| condition.of_type(of) == Some(false))
    }
}
