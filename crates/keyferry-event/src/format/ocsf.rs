//! The [Open Cybersecurity Schema Framework](https://schema.ocsf.io/1.8.0/): classes of its category Identity & Access Management.
//!
//! | class | |
//! |---|---|
//! | 3001 Account Change | users, their passwords and factors, by themselves or by an administrator |
//! | 3002 Authentication | logins, logouts, tokens, and every type of user event that has no other class |
//! | 3003 Authorize Session | consent given to a client |
//! | 3004 Entity Management | everything else that an administrator, or a client that registers itself, creates, changes or deletes |
//! | 3005 User Access Management | roles of users, consent withdrawn from a client |
//! | 3006 Group Management | groups, their members and roles |
//! | 0 Base Event | a [gap record](crate::gap) |
//!
//! Fields that OCSF has no place for stand under `unmapped` by Keycloak's names; node, epoch, outcome and the names that the provider has added under `unmapped.keyferry`.

use keyferry_journal::event::EventKind;

use super::meaning::{Meaning, group_in, user_in};
use super::reading::{Object, Parts, Reading};
use super::writing::ObjectWriter;
use super::{Told, ids_of_trace};
use crate::gap::Gap;
use crate::headers::outcome;

/// The version of OCSF that records are of.
pub const VERSION: &str = "1.8.0";

const IDENTITY_AND_ACCESS_MANAGEMENT: u64 = 3;
const ACCOUNT_CHANGE: u64 = 3001;
const AUTHENTICATION: u64 = 3002;
const AUTHORIZE_SESSION: u64 = 3003;
const ENTITY_MANAGEMENT: u64 = 3004;
const USER_ACCESS: u64 = 3005;
const GROUP_MANAGEMENT: u64 = 3006;
/// An activity that the class has no name for.
const OTHER: u64 = 99;
/// What an account or a resource is where OCSF has no name for it.
const UNKNOWN: &[u8] = b"unknown";
/// The service that somebody authenticates at where it is no client.
const NO_SERVICE: &[u8] = b"Keycloak";

/// The class and the activity in it.
fn class_of(meaning: Meaning) -> (u64, u64) {
    match meaning {
        Meaning::Logon => (AUTHENTICATION, 1),
        Meaning::Logoff => (AUTHENTICATION, 2),
        Meaning::Impersonation => (AUTHENTICATION, 7),
        // The activities for tickets are Kerberos' own.
        Meaning::Authentication => (AUTHENTICATION, OTHER),
        Meaning::AccountCreated => (ACCOUNT_CHANGE, 1),
        Meaning::PasswordChanged => (ACCOUNT_CHANGE, 3),
        Meaning::PasswordReset => (ACCOUNT_CHANGE, 4),
        Meaning::AccountDeleted => (ACCOUNT_CHANGE, 6),
        Meaning::AccountLocked => (ACCOUNT_CHANGE, 9),
        Meaning::FactorAdded => (ACCOUNT_CHANGE, 10),
        Meaning::FactorRemoved => (ACCOUNT_CHANGE, 11),
        Meaning::AccountChanged => (ACCOUNT_CHANGE, OTHER),
        Meaning::ConsentGiven => (AUTHORIZE_SESSION, 1),
        Meaning::PrivilegesAssigned => (USER_ACCESS, 1),
        Meaning::PrivilegesRevoked | Meaning::ConsentRevoked => (USER_ACCESS, 2),
        Meaning::GroupPrivilegesAssigned => (GROUP_MANAGEMENT, 1),
        Meaning::GroupPrivilegesRevoked => (GROUP_MANAGEMENT, 2),
        Meaning::MemberAdded => (GROUP_MANAGEMENT, 3),
        Meaning::MemberRemoved => (GROUP_MANAGEMENT, 4),
        Meaning::GroupDeleted => (GROUP_MANAGEMENT, 5),
        Meaning::GroupCreated => (GROUP_MANAGEMENT, 6),
        Meaning::GroupChanged => (GROUP_MANAGEMENT, OTHER),
        Meaning::EntityCreated => (ENTITY_MANAGEMENT, 1),
        Meaning::EntityRead => (ENTITY_MANAGEMENT, 2),
        Meaning::EntityUpdated => (ENTITY_MANAGEMENT, 3),
        Meaning::EntityDeleted => (ENTITY_MANAGEMENT, 4),
        Meaning::EntityEnrolled => (ENTITY_MANAGEMENT, 6),
        Meaning::EntityUnenrolled => (ENTITY_MANAGEMENT, 7),
        Meaning::EntityActedOn => (ENTITY_MANAGEMENT, OTHER),
    }
}

/// Informational, low, medium.
fn severity(meaning: Meaning, is_failure: bool) -> u64 {
    match (meaning, is_failure) {
        (Meaning::AccountLocked, _) => 3,
        (_, true) => 2,
        (_, false) => 1,
    }
}

/// Writes the record of an event.
pub(super) fn write(told: &Told<'_>, reading: &mut Reading, value: &mut Vec<u8>) {
    let mut parts = reading.of(told.body);
    let meaning = Meaning::of(told.event, parts.detail("credential_type"));
    let (class, activity) = class_of(meaning);
    let mut record = ObjectWriter::begin(value);
    classify(told, meaning, class, activity, &mut parts, &mut record);
    metadata(told, &mut parts, &mut record);
    match told.event.kind() {
        EventKind::User => user_event(meaning, class, &mut parts, &mut record),
        EventKind::Admin => admin_event(meaning, class, &mut parts, &mut record),
    }
    if let Some(unreadable) = parts.unreadable {
        record.text("raw_data", unreadable);
    }
    unmapped(told, &parts, &mut record);
}

fn classify(
    told: &Told<'_>,
    meaning: Meaning,
    class: u64,
    activity: u64,
    parts: &mut Parts<'_>,
    record: &mut ObjectWriter<'_>,
) {
    let is_failure = Meaning::is_failure(told.event);
    record.number("category_uid", IDENTITY_AND_ACCESS_MANAGEMENT);
    record.number("class_uid", class);
    record.number("activity_id", activity);
    if activity == OTHER {
        record.text("activity_name", told.event.event_type().map_or(UNKNOWN, str::as_bytes));
    }
    record.number("type_uid", class * 100 + activity);
    record.number("time", told.event.time_ms());
    parts.event.is_told_as_number("time", told.event.time_ms());
    record.number("severity_id", severity(meaning, is_failure));
    record.number("status_id", if is_failure { 2 } else { 1 });
    if let Some(error) = parts.event.content("error") {
        record.content("status_code", error);
    }
}

fn metadata(told: &Told<'_>, parts: &mut Parts<'_>, record: &mut ObjectWriter<'_>) {
    let Told { event, envelope, .. } = told;
    let mut metadata = record.object("metadata");
    metadata.plain("version", VERSION);
    match event.id() {
        Some(id) => {
            metadata.text("uid", id.as_bytes());
            parts.event.is_told_as("id", id);
        }
        None => metadata.plain("uid", format_args!("{}-{}", envelope.epoch, envelope.sequence)),
    }
    metadata.number("sequence", envelope.sequence);
    product(&mut metadata);
    metadata
        .plain("log_name", if event.kind() == EventKind::User { "keycloak.user" } else { "keycloak.admin" });
    if let Some(event_type) = event.event_type() {
        metadata.text("event_code", event_type.as_bytes());
        ["type", "operationType"].iter().for_each(|name| parts.event.is_told_as(name, event_type));
    }
    if let Some(realm) = parts.event.content("realmId") {
        metadata.content("tenant_uid", realm);
    }
    if let Some((trace, _)) = event.traceparent().and_then(ids_of_trace) {
        metadata.text("correlation_uid", trace.as_bytes());
    }
}

fn product(metadata: &mut ObjectWriter<'_>) {
    let mut product = metadata.object("product");
    product.plain("name", "Keycloak");
    product.plain("vendor_name", "Keycloak");
}

/// What a user did.
fn user_event(meaning: Meaning, class: u64, parts: &mut Parts<'_>, record: &mut ObjectWriter<'_>) {
    source(&mut parts.event, record);
    // A client that is called like what stands in for none keeps its name among what is unmapped.
    let client = match class {
        AUTHENTICATION => parts.event.content_but("clientId", NO_SERVICE),
        ENTITY_MANAGEMENT => parts.event.content_but("clientId", UNKNOWN),
        _ => parts.event.content("clientId"),
    };
    match class {
        AUTHENTICATION => {
            user(parts, record);
            session(&mut parts.event, record);
            record.object("service").content("name", client.unwrap_or(NO_SERVICE));
            protocol(parts, record);
            if meaning == Meaning::Impersonation {
                record.number("account_switch_type_id", 2);
                if let Some(impersonator) = parts.detail("impersonator") {
                    record.object("actor").object("user").content("name", impersonator);
                }
            } else {
                impersonator(parts, record);
            }
        }
        AUTHORIZE_SESSION => {
            user(parts, record);
            session(&mut parts.event, record);
            actor(None, client, record);
            record.contents("privileges", parts.detail("scope").or_else(|| parts.detail("consent")));
        }
        ENTITY_MANAGEMENT => {
            actor(parts.event.content("sessionId"), None, record);
            let mut entity = record.object("entity");
            entity.plain("type", "CLIENT");
            entity.number("type_id", OTHER);
            entity.content("name", client.unwrap_or(UNKNOWN));
        }
        _ => {
            user(parts, record);
            actor(parts.event.content("sessionId"), client, record);
            if class == USER_ACCESS {
                record.contents("privileges", parts.detail("revoked_client"));
            }
        }
    }
}

/// The user who acted.
fn user(parts: &mut Parts<'_>, record: &mut ObjectWriter<'_>) {
    let name = parts.added("user", "username").or(parts.detail("username"));
    let uid = parts.event.content("userId");
    let mut user = record.object("user");
    match (uid, name) {
        // A login of somebody whom Keycloak does not know names nobody.
        (None, None) => {
            user.content("name", UNKNOWN);
            user.number("type_id", 0);
        }
        (uid, name) => {
            uid.into_iter().for_each(|uid| user.content("uid", uid));
            name.into_iter().for_each(|name| user.content("name", name));
        }
    }
    if let Some(realm) = parts.event.content("realmName") {
        user.content("domain", realm);
    }
}

/// The administrator who acts as the user.
fn impersonator(parts: &Parts<'_>, record: &mut ObjectWriter<'_>) {
    let (uid, name) = (parts.added("impersonator", "id"), parts.added("impersonator", "username"));
    if uid.is_none() && name.is_none() {
        return;
    }
    let mut actor = record.object("actor");
    let mut user = actor.object("user");
    uid.into_iter().for_each(|uid| user.content("uid", uid));
    name.into_iter().for_each(|name| user.content("name", name));
}

fn session(event: &mut Object<'_>, record: &mut ObjectWriter<'_>) {
    if let Some(session) = event.content("sessionId") {
        record.object("session").content("uid", session);
    }
}

/// By which session and which client somebody acted.
fn actor(session: Option<&[u8]>, client: Option<&[u8]>, record: &mut ObjectWriter<'_>) {
    if session.is_none() && client.is_none() {
        return;
    }
    let mut actor = record.object("actor");
    session.into_iter().for_each(|session| actor.object("session").content("uid", session));
    client.into_iter().for_each(|client| actor.content("app_name", client));
}

fn protocol(parts: &Parts<'_>, record: &mut ObjectWriter<'_>) {
    let Some(protocol) = parts.detail("auth_method") else { return };
    let id = match protocol {
        b"openid-connect" => 4,
        b"saml" => 5,
        _ => OTHER,
    };
    record.number("auth_protocol_id", id);
    record.content("auth_protocol", protocol);
}

/// The address that a request came from.
fn source(object: &mut Object<'_>, record: &mut ObjectWriter<'_>) {
    if let Some(address) = object.address("ipAddress") {
        record.object("src_endpoint").content("ip", address);
    }
}

/// What an administrator did.
fn admin_event(meaning: Meaning, class: u64, parts: &mut Parts<'_>, record: &mut ObjectWriter<'_>) {
    let name = parts.added("administrator", "username");
    if let Some(administrator) = &mut parts.administrator {
        source(administrator, record);
        administrator_as_actor(administrator, name, record);
    }
    let username = parts.added("user", "username");
    let path = parts.event.peek_content("resourcePath").unwrap_or_default();
    match class {
        ENTITY_MANAGEMENT => entity(&mut parts.event, record),
        GROUP_MANAGEMENT => {
            record.object("group").content("uid", group_in(path).unwrap_or(UNKNOWN));
            if let Some(uid) = user_in(path) {
                let mut user = record.object("user");
                user.content("uid", uid);
                username.into_iter().for_each(|name| user.content("name", name));
            }
            if matches!(meaning, Meaning::GroupPrivilegesAssigned | Meaning::GroupPrivilegesRevoked) {
                record.contents("privileges", parts.names_in_representation());
            }
        }
        _ => {
            let mut user = record.object("user");
            // The path may be redacted.
            let uid = user_in(path);
            uid.into_iter().for_each(|uid| user.content("uid", uid));
            if let Some(name) = username.or(uid.is_none().then_some(UNKNOWN)) {
                user.content("name", name);
            }
            drop(user);
            if class == USER_ACCESS {
                record.contents("privileges", parts.names_in_representation());
            }
        }
    }
}

fn administrator_as_actor(
    administrator: &mut Object<'_>,
    name: Option<&[u8]>,
    record: &mut ObjectWriter<'_>,
) {
    let (user, client) = (administrator.content("userId"), administrator.content("clientId"));
    if user.is_none() && client.is_none() {
        return;
    }
    let mut actor = record.object("actor");
    client.into_iter().for_each(|client| actor.content("app_uid", client));
    if let Some(uid) = user {
        let mut user = actor.object("user");
        user.content("uid", uid);
        name.into_iter().for_each(|name| user.content("name", name));
        administrator.content("realmName").into_iter().for_each(|realm| user.content("domain", realm));
    }
}

/// What an administrator acted on.
fn entity(event: &mut Object<'_>, record: &mut ObjectWriter<'_>) {
    let (uid, kind) = (event.content("resourceId"), event.content("resourceType"));
    let stand_in = kind.unwrap_or(UNKNOWN);
    let name = match uid {
        Some(_) => event.content("resourcePath"),
        None => event.content_but("resourcePath", stand_in),
    };
    let mut entity = record.object("entity");
    kind.into_iter().for_each(|kind| entity.content("type", kind));
    entity.number("type_id", OTHER);
    match (uid, name) {
        // The realm itself.
        (None, None) => entity.content("name", stand_in),
        (uid, name) => {
            uid.into_iter().for_each(|uid| entity.content("uid", uid));
            name.into_iter().for_each(|name| entity.content("name", name));
        }
    }
}

/// Everything that has no place of its own.
fn unmapped(told: &Told<'_>, parts: &Parts<'_>, record: &mut ObjectWriter<'_>) {
    let mut unmapped = record.object("unmapped");
    parts.write_left_over(&mut unmapped);
    let mut keyferry = unmapped.object("keyferry");
    parts.write_added(&mut keyferry);
    keyferry.text("node", told.envelope.node.as_bytes());
    keyferry.plain("epoch", told.envelope.epoch);
    keyferry.plain("outcome", outcome(told.event, told.envelope));
}

/// Writes the record of a gap, whose JSON is `told`.
pub(super) fn write_gap(gap: &Gap, sequence: u64, time_ms: u64, told: &[u8], value: &mut Vec<u8>) {
    let mut record = ObjectWriter::begin(value);
    for name in ["category_uid", "class_uid"] {
        record.number(name, 0);
    }
    record.number("activity_id", OTHER);
    record.plain("activity_name", crate::gap::GAP_TYPE);
    record.number("type_uid", OTHER);
    record.number("time", time_ms);
    // High: something is missing.
    record.number("severity_id", 4);
    record.text("message", gap.detail.as_bytes());
    let mut metadata = record.object("metadata");
    metadata.plain("version", VERSION);
    metadata.plain("uid", format_args!("{}-{sequence}", gap.epoch));
    metadata.number("sequence", sequence);
    product(&mut metadata);
    drop(metadata);
    record.object("unmapped").json("gap", told);
}
