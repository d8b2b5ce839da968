//! Events as Keycloak writes them.
//!
//! The invariant: **writing an event gives the JSON that it was read from**, but for fields that were not there, which are written as `null` like Keycloak does. What has no field here stands in `further`.
//!
//! A field is `None` where Keycloak has written `null`, where it was dropped by redaction, and where a release of Keycloak has no such field.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::gap::GapRecord;

/// What a record tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Something that a user or client has done.
    User(Box<UserEvent>),
    /// Something that an administrator has changed.
    Admin(Box<AdminEvent>),
    /// Word of events that are missing.
    Gap(Box<GapRecord>),
}

/// A user event: `org.keycloak.events.Event` of Keycloak.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserEvent {
    /// Its id.
    pub id: Option<String>,
    /// When it happened, in milliseconds since the Unix epoch.
    pub time: Option<i64>,
    /// What happened, such as `LOGIN`: a text, so that types of a later Keycloak are no error.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// The realm's id.
    pub realm_id: Option<String>,
    /// The realm's name.
    pub realm_name: Option<String>,
    /// The client, by its `clientId`.
    pub client_id: Option<String>,
    /// The user.
    pub user_id: Option<String>,
    /// The session.
    pub session_id: Option<String>,
    /// Whence the request came.
    pub ip_address: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// What else belongs to this type of event.
    pub details: Option<Map<String, Value>>,
    /// Fields that this release does not know.
    #[serde(flatten)]
    pub further: Map<String, Value>,
}

/// An admin event: `org.keycloak.events.admin.AdminEvent` of Keycloak.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdminEvent {
    /// Its id.
    pub id: Option<String>,
    /// When it happened, in milliseconds since the Unix epoch.
    pub time: Option<i64>,
    /// The id of the realm that was changed.
    pub realm_id: Option<String>,
    /// Its name.
    pub realm_name: Option<String>,
    /// Who did it.
    pub auth_details: Option<AuthDetails>,
    /// What kind of thing was changed, such as `USER`: a text, so that kinds of a later Keycloak are no error.
    pub resource_type: Option<String>,
    /// `CREATE`, `UPDATE`, `DELETE` or `ACTION`.
    pub operation_type: Option<String>,
    /// Where it is in the realm, such as `users/<id>`.
    pub resource_path: Option<String>,
    /// The thing itself as JSON, without its secrets, if the realm's events include it.
    pub representation: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// What else belongs to it.
    pub details: Option<Map<String, Value>>,
    /// Fields that this release does not know.
    #[serde(flatten)]
    pub further: Map<String, Value>,
}

/// Who made a change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthDetails {
    /// The id of the administrator's realm.
    pub realm_id: Option<String>,
    /// Its name.
    pub realm_name: Option<String>,
    /// The id of the client that was used.
    pub client_id: Option<String>,
    /// The administrator.
    pub user_id: Option<String>,
    /// Whence the request came.
    pub ip_address: Option<String>,
    /// Fields that this release does not know.
    #[serde(flatten)]
    pub further: Map<String, Value>,
}

impl UserEvent {
    /// What happened, such as `LOGIN`; empty if that is not told.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.event_type.as_deref().unwrap_or_default()
    }

    /// One of the details, if it is a text.
    #[must_use]
    pub fn detail(&self, name: &str) -> Option<&str> {
        self.details.as_ref()?.get(name)?.as_str()
    }
}

impl AdminEvent {
    /// `CREATE`, `UPDATE`, `DELETE` or `ACTION`; empty if that is not told.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.operation_type.as_deref().unwrap_or_default()
    }

    /// What kind of thing was changed; empty if that is not told.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.resource_type.as_deref().unwrap_or_default()
    }

    /// The representation, taken apart; `None` if there is none, or if redaction has left no JSON of it.
    #[must_use]
    pub fn represented(&self) -> Option<Value> {
        serde_json::from_str(self.representation.as_deref()?).ok()
    }

    /// The user who was changed: the id in `users/<id>/…`. The administrator is in [`auth_details`](Self::auth_details).
    #[must_use]
    pub fn concerned_user(&self) -> Option<&str> {
        let id = self.resource_path.as_deref()?.strip_prefix("users/")?.split('/').next()?;
        (!id.is_empty() && id != "profile").then_some(id)
    }
}

impl Event {
    /// The event's own id.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::User(event) => event.id.as_deref(),
            Self::Admin(event) => event.id.as_deref(),
            Self::Gap(_) => None,
        }
    }

    /// When it happened, in milliseconds since the Unix epoch; of a gap, the time of the last event that is missing.
    #[must_use]
    pub fn time_ms(&self) -> Option<u64> {
        match self {
            Self::User(event) => event.time.and_then(|time| time.try_into().ok()),
            Self::Admin(event) => event.time.and_then(|time| time.try_into().ok()),
            Self::Gap(gap) => gap.last_time,
        }
    }
}
