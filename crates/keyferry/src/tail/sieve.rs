//! Which events are asked for, in the language of a destination's filters.
//!
//! A filter sees an event as the journal has it: some fields beside its JSON. What has come from Kafka is laid out in the same way, so that one expression means the same in both places; but what was redacted on the way is not there any more.

use keyferry_client::{AuthDetails, Event};
use keyferry_event::Filter;
use keyferry_event::filter::{Condition, Selection};
use keyferry_journal::event::{EventEncoder, EventKind, Events, Field};

/// Lets events pass for which a condition holds.
pub struct Sieve(Option<Filter>);

impl Sieve {
    /// With this condition; without one, all pass.
    pub fn of(condition: Option<&Condition>) -> Self {
        let everything = Selection::default();
        Self(condition.map(|condition| Filter::new(&everything, &everything, Some(condition))))
    }

    /// Whether `event` passes.
    pub fn passes(&self, event: &Event) -> bool {
        let Some(filter) = &self.0 else { return true };
        let laid_out = match event {
            Event::User(user) => {
                let fields = [
                    (Field::Id, &user.id),
                    (Field::Type, &user.event_type),
                    (Field::RealmId, &user.realm_id),
                    (Field::RealmName, &user.realm_name),
                    (Field::Client, &user.client_id),
                    (Field::UserId, &user.user_id),
                    (Field::Error, &user.error),
                ];
                lay_out(EventKind::User, &fields, serde_json::to_vec(user))
            }
            Event::Admin(admin) => {
                let nobody = AuthDetails::default();
                let by = admin.auth_details.as_ref().unwrap_or(&nobody);
                let fields = [
                    (Field::Id, &admin.id),
                    (Field::Type, &admin.operation_type),
                    (Field::RealmId, &admin.realm_id),
                    (Field::RealmName, &admin.realm_name),
                    (Field::Client, &by.client_id),
                    (Field::UserId, &by.user_id),
                    (Field::ResourceType, &admin.resource_type),
                    (Field::ResourcePath, &admin.resource_path),
                    (Field::Error, &admin.error),
                ];
                lay_out(EventKind::Admin, &fields, serde_json::to_vec(admin))
            }
            Event::Gap(_) => return true,
        };
        Events::of(laid_out.payload()).flatten().all(|event| filter.passes(&event))
    }
}

fn lay_out(
    kind: EventKind,
    fields: &[(Field, &Option<String>)],
    body: Result<Vec<u8>, serde_json::Error>,
) -> EventEncoder {
    let told: Vec<(Field, &str)> =
        fields.iter().filter_map(|(field, value)| Some((*field, value.as_deref()?))).collect();
    let mut payload = EventEncoder::new();
    // Texts and numbers can always be written; without them a filter would find no details.
    payload.push(kind, 0, &told, &body.unwrap_or_default());
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(condition: &str, event: &Event) -> bool {
        Sieve::of(Some(&condition.parse().unwrap())).passes(event)
    }

    #[test]
    fn an_expression_means_what_it_means_in_a_destination() {
        let json = r#"{"type":"LOGIN_ERROR","realmId":"r-1","realmName":"shop","clientId":"web","userId":"u-1","error":"user_not_found",
            "details":{"username":"admin","code":"7"}}"#;
        let user = Event::User(serde_json::from_str(json).unwrap());
        for holds in [
            r#"type == "LOGIN_ERROR" && details.username ~ "adm*""#,
            r#"kind == "user" && realm in ["r-1"] && realm == "shop""#,
            r#"client == "web" && user == "u-1" && error == "user_not_found""#,
            "details.code",
            "!details.other",
        ] {
            assert!(passes(holds, &user), "{holds}");
        }
        assert!(!passes(r#"kind == "admin""#, &user) && !passes(r#"details.username == "adm""#, &user));
        let json = r#"{"operationType":"CREATE","resourceType":"USER","resourcePath":"users/u-2","authDetails":{"userId":"a-1","clientId":"cli"}}"#;
        let admin = Event::Admin(serde_json::from_str(json).unwrap());
        assert!(passes(
            r#"operation == "create" && resourceType == "USER" && user == "u-2" && client == "cli""#,
            &admin
        ));
        assert!(!passes(r#"user == "a-1""#, &admin), "the administrator is not the one whom it concerns");
    }
}
