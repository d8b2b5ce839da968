//! The [Open Cybersecurity Schema Framework](https://schema.ocsf.io/1.8.0/) as Keyferry writes it (`destination.format = "ocsf"`), taken back into Keycloak's events.

use serde_json::{Map, Value};

use crate::Message;
use crate::decode::{DecodeError, no_value};
use crate::gathering::{Gathering, gap_record};
use crate::headers::Headers;

const AUTHENTICATION: u64 = 3002;
const ENTITY_MANAGEMENT: u64 = 3004;
/// What stands in for a client, where OCSF demands a service and an event has none.
const NO_SERVICE: &str = "Keycloak";
/// What stands in for the name of an entity that has none, unless its type does.
const NO_ENTITY: &str = "unknown";

/// Whether a record with these members is one.
pub(crate) fn is_it(members: &Map<String, Value>) -> bool {
    members.contains_key("class_uid") && members.contains_key("metadata")
}

/// Reads a record.
///
/// # Errors
/// It tells of no event of Keycloak.
pub(crate) fn read(headers: &Headers<'_>, members: Map<String, Value>) -> Result<Message, DecodeError> {
    let record = Value::Object(members);
    if let Some(Value::Object(gap)) = record.pointer("/unmapped/gap") {
        return gap_record(
            headers,
            gap,
            record.pointer("/metadata/uid"),
            record.pointer("/metadata/sequence"),
        );
    }
    if record.get("raw_data").is_some() {
        return Err(no_value("event of Keycloak", "it was no JSON when it was written: see its `raw_data`"));
    }
    let is_admin = record.pointer("/metadata/log_name").is_some_and(|name| name == "keycloak.admin");
    let mut event = Gathering::begin(&record, "/unmapped", is_admin);
    event.attribute("ce_node", "/unmapped/keyferry/node");
    event.attribute("ce_epoch", "/unmapped/keyferry/epoch");
    event.attribute("ce_outcome", "/unmapped/keyferry/outcome");
    event.attribute("ce_sequence", "/metadata/sequence");
    event.id("/metadata/uid");
    event.field("time", &["/time"]);
    event.field(if is_admin { "operationType" } else { "type" }, &["/metadata/event_code"]);
    event.field("realmId", &["/metadata/tenant_uid"]);
    event.field("error", &["/status_code"]);
    event.of_actor("ipAddress", &["/src_endpoint/ip"]);
    if is_admin {
        of_administrator(&mut event);
    } else {
        of_user(&mut event);
    }
    event.message(headers, "/unmapped/keyferry")
}

fn of_user(event: &mut Gathering<'_>) {
    event.field("realmName", &["/user/domain"]);
    event.field("userId", &["/user/uid"]);
    event.field("sessionId", &["/session/uid", "/actor/session/uid"]);
    let (client, stand_in) = match event.record()["class_uid"].as_u64() {
        Some(AUTHENTICATION) => ("/service/name", Some(NO_SERVICE)),
        Some(ENTITY_MANAGEMENT) => ("/entity/name", Some(NO_ENTITY)),
        _ => ("/actor/app_name", None),
    };
    if event.record().pointer(client).and_then(Value::as_str) != stand_in {
        event.field("clientId", &[client]);
    }
}

fn of_administrator(event: &mut Gathering<'_>) {
    event.of_actor("realmName", &["/actor/user/domain"]);
    event.of_actor("userId", &["/actor/user/uid"]);
    event.of_actor("clientId", &["/actor/app_uid"]);
    event.field("resourceType", &["/entity/type"]);
    event.field("resourceId", &["/entity/uid"]);
    let entity = &event.record()["entity"];
    let stand_in = entity["type"].as_str().unwrap_or(NO_ENTITY);
    let is_stand_in = entity["uid"].is_null() && entity["name"] == stand_in;
    if !is_stand_in {
        event.field("resourcePath", &["/entity/name"]);
    }
}
