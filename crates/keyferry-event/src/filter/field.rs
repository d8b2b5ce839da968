//! The fields that a filter can ask for.
//!
//! All but the details come from beside the JSON, where the journal keeps them; a detail is looked up in the JSON, only where a filter names it.

use std::borrow::Cow;

use keyferry_journal::event::{EventKind, EventView};

use super::vocabulary::{EVENT_TYPES, OPERATION_TYPES, RESOURCE_TYPES};
use crate::json;
use crate::key::concerned_user;

/// A field of an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    /// `user` or `admin`.
    Kind,
    /// The type of a user event, or the operation of an admin event.
    Type,
    /// The operation of an admin event.
    OperationType,
    /// The realm, by name or id.
    Realm,
    /// The realm's id.
    RealmId,
    /// The realm's name.
    RealmName,
    /// The client.
    Client,
    /// The user whom the event concerns.
    User,
    /// What an administrator has changed.
    ResourceType,
    /// Where that is.
    ResourcePath,
    /// The error.
    Error,
    /// One of the details.
    Detail(Box<str>),
}

/// The kinds as filters and templates call them.
pub(crate) fn name_of_kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::User => "user",
        EventKind::Admin => "admin",
    }
}

/// For messages.
pub(super) const NAMES: &str = "`kind`, `type`, `operationType`, `realm`, `realmId`, `realmName`, `client`, `user`, `resourceType`, `resourcePath`, `error` or `details.NAME`";

impl Field {
    /// The field that is called so; Keycloak's own names count as well.
    pub(super) fn named(name: &str) -> Option<Self> {
        if let Some(detail) = name.strip_prefix("details.") {
            return (!detail.is_empty()).then(|| Self::Detail(detail.into()));
        }
        match name.replace('_', "").to_ascii_lowercase().as_str() {
            "kind" => Some(Self::Kind),
            "type" => Some(Self::Type),
            "operationtype" | "operation" => Some(Self::OperationType),
            "realm" => Some(Self::Realm),
            "realmid" => Some(Self::RealmId),
            "realmname" => Some(Self::RealmName),
            "client" | "clientid" => Some(Self::Client),
            "user" | "userid" => Some(Self::User),
            "resourcetype" => Some(Self::ResourceType),
            "resourcepath" => Some(Self::ResourcePath),
            "error" => Some(Self::Error),
            _ => None,
        }
    }

    /// Whether `event` has a value of it for which `is_it` holds.
    pub(super) fn is(&self, event: &EventView<'_>, is_it: impl Fn(&str) -> bool) -> bool {
        let is_admin = event.kind() == EventKind::Admin;
        let value = match self {
            Self::Kind => Some(name_of_kind(event.kind())),
            Self::Type => event.event_type(),
            Self::OperationType => event.event_type().filter(|_| is_admin),
            Self::Realm => return [event.realm_name(), event.realm_id()].into_iter().flatten().any(is_it),
            Self::RealmId => event.realm_id(),
            Self::RealmName => event.realm_name(),
            Self::Client => event.client(),
            Self::User => concerned_user(event),
            Self::ResourceType => event.resource_type(),
            Self::ResourcePath => event.resource_path(),
            Self::Error => event.error(),
            Self::Detail(name) => return detail(event, name).is_some_and(|value| is_it(&value)),
        };
        value.is_some_and(is_it)
    }

    /// A value as events have it: names that Keycloak writes in capitals may be given in small letters.
    pub(super) fn spelt<'a>(&self, value: &'a str) -> Cow<'a, str> {
        match self {
            Self::Type | Self::OperationType | Self::ResourceType => value.to_ascii_uppercase().into(),
            Self::Kind => value.to_ascii_lowercase().into(),
            _ => value.into(),
        }
    }

    /// Whether no event ever has this value, whatever comes; others may be of a later Keycloak.
    pub(super) fn is_impossible(&self, value: &str) -> bool {
        *self == Self::Kind && ![EventKind::User, EventKind::Admin].map(name_of_kind).contains(&value)
    }

    /// The values that Keycloak is known to give to it; `None` if they are its users' own.
    pub(super) fn known(&self) -> Option<Vec<&'static str>> {
        match self {
            Self::Type => Some([EVENT_TYPES, OPERATION_TYPES].concat()),
            Self::OperationType => Some(OPERATION_TYPES.to_vec()),
            Self::ResourceType => Some(RESOURCE_TYPES.to_vec()),
            _ => None,
        }
    }
}

fn detail<'a>(event: &EventView<'a>, name: &str) -> Option<Cow<'a, str>> {
    let details = json::member(event.body(), "details")?;
    match json::string(json::member(details, name)?)? {
        Cow::Borrowed(text) => std::str::from_utf8(text).ok().map(Cow::Borrowed),
        Cow::Owned(text) => String::from_utf8(text).ok().map(Cow::Owned),
    }
}
