//! The [Elastic Common Schema](https://www.elastic.co/docs/reference/ecs): `event.*`, `user.*`, `source.*`, `organization.*`, `group.*`, `service.*`, `error.*`, `trace.*`, `related.*`.
//!
//! A realm is an `organization`. Fields that ECS has no place for stand under `keycloak` by Keycloak's names; node, epoch, outcome and the names that the provider has added under `keyferry`.

use std::time::{Duration, UNIX_EPOCH};

use keyferry_journal::event::EventKind;

use super::meaning::{Meaning, group_in, user_in};
use super::reading::{Object, Reading};
use super::writing::ObjectWriter;
use super::{Told, ids_of_trace};
use crate::clock::LAST_RFC3339_MS;
use crate::gap::Gap;
use crate::headers::outcome;

/// The version of ECS that records are of.
pub const VERSION: &str = "9.4.0";

/// `event.category` and `event.type`.
fn category_of(meaning: Meaning) -> (&'static str, &'static [&'static str]) {
    match meaning {
        Meaning::Logon => ("authentication", &["start"]),
        Meaning::Logoff => ("authentication", &["end"]),
        Meaning::Impersonation | Meaning::Authentication => ("authentication", &["info"]),
        Meaning::AccountCreated => ("iam", &["user", "creation"]),
        Meaning::AccountDeleted => ("iam", &["user", "deletion"]),
        Meaning::AccountLocked
        | Meaning::AccountChanged
        | Meaning::PasswordChanged
        | Meaning::PasswordReset
        | Meaning::FactorAdded
        | Meaning::FactorRemoved
        | Meaning::ConsentGiven
        | Meaning::ConsentRevoked
        | Meaning::PrivilegesAssigned
        | Meaning::PrivilegesRevoked => ("iam", &["user", "change"]),
        Meaning::GroupCreated => ("iam", &["group", "creation"]),
        Meaning::GroupDeleted => ("iam", &["group", "deletion"]),
        Meaning::GroupChanged
        | Meaning::MemberAdded
        | Meaning::MemberRemoved
        | Meaning::GroupPrivilegesAssigned
        | Meaning::GroupPrivilegesRevoked => ("iam", &["group", "change"]),
        Meaning::EntityCreated | Meaning::EntityEnrolled => ("configuration", &["creation"]),
        Meaning::EntityRead => ("configuration", &["access"]),
        Meaning::EntityUpdated | Meaning::EntityActedOn => ("configuration", &["change"]),
        Meaning::EntityDeleted | Meaning::EntityUnenrolled => ("configuration", &["deletion"]),
    }
}

/// Writes the record of an event.
pub(super) fn write(told: &Told<'_>, reading: &mut Reading, value: &mut Vec<u8>) {
    let Told { event, envelope, .. } = told;
    let mut parts = reading.of(told.body);
    let meaning = Meaning::of(event, parts.detail("credential_type"));
    let mut record = ObjectWriter::begin(value);
    timestamp(event.time_ms(), &mut record);
    parts.event.is_told_as_number("time", event.time_ms());
    record.object("ecs").plain("version", VERSION);
    describe(told, meaning, &mut parts.event, parts.unreadable, &mut record);
    if let Some(error) = parts.event.content("error") {
        record.object("error").content("code", error);
    }
    realm(&mut parts.event, &mut record);
    service(envelope.node, &mut record);
    trace(event.traceparent(), &mut record);
    let mut related = Related::default();
    match event.kind() {
        EventKind::User => {
            let (id, name) = (parts.event.content("userId"), parts.detail("username"));
            let name = parts.added("user", "username").or(name);
            related.users = [id, name, parts.added("impersonator", "username"), None];
            let user = User { id, name };
            if !user.is_nobody() {
                user.write(&mut record.object("user"));
            }
            related.address = parts.event.address("ipAddress");
        }
        EventKind::Admin => {
            let path = parts.event.peek_content("resourcePath").unwrap_or_default();
            let administrator = parts.administrator.as_mut();
            let acting = administrator.and_then(|administrator| {
                related.address = administrator.address("ipAddress");
                administrator.content("userId")
            });
            let acting = User { id: acting, name: parts.added("administrator", "username") };
            let target = User { id: user_in(path), name: parts.added("user", "username") };
            related.users = [acting.id, target.id, acting.name, target.name];
            users_of_change(&acting, &target, &mut record);
            if let Some(group) = group_in(path) {
                record.object("group").content("id", group);
            }
        }
    }
    related.write(&mut record);
    parts.write_left_over(&mut record.object("keycloak"));
    let mut keyferry = record.object("keyferry");
    parts.write_added(&mut keyferry);
    keyferry.plain("epoch", envelope.epoch);
    keyferry.plain("outcome", outcome(event, envelope));
}

fn timestamp(time_ms: u64, record: &mut ObjectWriter<'_>) {
    let time = UNIX_EPOCH + Duration::from_millis(time_ms.min(LAST_RFC3339_MS));
    record.plain("@timestamp", humantime::format_rfc3339_millis(time));
}

fn describe(
    told: &Told<'_>,
    meaning: Meaning,
    members: &mut Object<'_>,
    unreadable: Option<&[u8]>,
    record: &mut ObjectWriter<'_>,
) {
    let Told { event, envelope, .. } = told;
    let (category, types) = category_of(meaning);
    let mut described = record.object("event");
    described.plain("kind", "event");
    described.contents("category", [category.as_bytes()]);
    described.contents("type", types.iter().map(|one| one.as_bytes()));
    described.plain("outcome", if Meaning::is_failure(event) { "failure" } else { "success" });
    match event.id() {
        Some(id) => {
            described.text("id", id.as_bytes());
            members.is_told_as("id", id);
        }
        None => described.plain("id", format_args!("{}-{}", envelope.epoch, envelope.sequence)),
    }
    described.number("sequence", envelope.sequence);
    described.plain("module", "keycloak");
    described
        .plain("dataset", if event.kind() == EventKind::User { "keycloak.user" } else { "keycloak.admin" });
    if let Some(event_type) = event.event_type() {
        described.text("action", event_type.as_bytes());
        ["type", "operationType"].iter().for_each(|name| members.is_told_as(name, event_type));
    }
    if let Some(unreadable) = unreadable {
        described.text("original", unreadable);
    }
}

fn realm(event: &mut Object<'_>, record: &mut ObjectWriter<'_>) {
    let (id, name) = (event.content("realmId"), event.content("realmName"));
    if id.is_none() && name.is_none() {
        return;
    }
    let mut organization = record.object("organization");
    id.into_iter().for_each(|id| organization.content("id", id));
    name.into_iter().for_each(|name| organization.content("name", name));
}

fn service(node: &str, record: &mut ObjectWriter<'_>) {
    let mut service = record.object("service");
    service.plain("type", "keycloak");
    service.object("node").text("name", node.as_bytes());
}

fn trace(parent: Option<&str>, record: &mut ObjectWriter<'_>) {
    if let Some((trace, span)) = parent.and_then(ids_of_trace) {
        record.object("trace").text("id", trace.as_bytes());
        record.object("span").text("id", span.as_bytes());
    }
}

/// The administrator, and the user whom the change concerns.
fn users_of_change(acting: &User<'_>, target: &User<'_>, record: &mut ObjectWriter<'_>) {
    if acting.is_nobody() && target.is_nobody() {
        return;
    }
    let mut user = record.object("user");
    acting.write(&mut user);
    if !target.is_nobody() {
        target.write(&mut user.object("target"));
    }
}

/// What is known of a user.
struct User<'a> {
    id: Option<&'a [u8]>,
    name: Option<&'a [u8]>,
}

impl User<'_> {
    fn is_nobody(&self) -> bool {
        self.id.is_none() && self.name.is_none()
    }

    fn write(&self, object: &mut ObjectWriter<'_>) {
        self.id.into_iter().for_each(|id| object.content("id", id));
        self.name.into_iter().for_each(|name| object.content("name", name));
    }
}

/// What one looks for over all fields.
#[derive(Default)]
struct Related<'a> {
    users: [Option<&'a [u8]>; 4],
    address: Option<&'a [u8]>,
}

impl Related<'_> {
    fn write(&self, record: &mut ObjectWriter<'_>) {
        if let Some(address) = self.address {
            record.object("source").content("ip", address);
        }
        let has_users = self.users.iter().any(Option::is_some);
        if !has_users && self.address.is_none() {
            return;
        }
        let mut related = record.object("related");
        if has_users {
            related.contents("user", self.users.iter().copied().flatten());
        }
        if self.address.is_some() {
            related.contents("ip", self.address);
        }
    }
}

/// Writes the record of a gap, whose JSON is `told`.
pub(super) fn write_gap(gap: &Gap, sequence: u64, time_ms: u64, told: &[u8], value: &mut Vec<u8>) {
    let mut record = ObjectWriter::begin(value);
    timestamp(time_ms, &mut record);
    record.object("ecs").plain("version", VERSION);
    record.text("message", gap.detail.as_bytes());
    let mut event = record.object("event");
    event.plain("kind", "pipeline_error");
    event.plain("id", format_args!("{}-{sequence}", gap.epoch));
    event.number("sequence", sequence);
    event.plain("module", "keycloak");
    event.plain("action", crate::gap::GAP_TYPE);
    drop(event);
    service(&gap.node, &mut record);
    let mut keyferry = record.object("keyferry");
    keyferry.plain("epoch", gap.epoch);
    keyferry.json("gap", told);
}
