//! The contract with consumers, as machines read it: JSON Schemas of values, and an [AsyncAPI 3](https://www.asyncapi.com/docs/reference/specification/v3.0.0) document of topics, messages, headers and formats.
//!
//! The invariant: **both are generated from here, and held to what the encoder writes** (`tests/contract.rs`), so that they cannot drift: `docs/asyncapi.json`, `schemas/keycloak.schema.json`, `schemas/cloudevents.schema.json`.
//!
//! Schemas accept fields that they do not name: each release of Keycloak may bring some. Nothing at run time uses this module.

use serde_json::{Map, Value, json};

use crate::format::{ECS_VERSION, Format, OCSF_VERSION};
use crate::gap::GAP_TYPE;

/// The dialect of the schemas.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// A field of JSON: its name, its type, and what it holds.
type Field = (&'static str, Kind, &'static str);

#[derive(Clone, Copy)]
enum Kind {
    /// A text, or `null`.
    Text,
    /// A whole number, or `null`.
    Number,
    /// An object of texts for the most part, or `null`.
    Object,
    /// Another schema, or `null`.
    Of(&'static str),
    /// A list of another schema.
    List(&'static str),
}

/// How schemas refer to one another: below this path.
#[derive(Clone, Copy)]
struct Place(&'static str);

impl Place {
    fn to(self, name: &str) -> Value {
        json!({ "$ref": format!("{}{name}", self.0) })
    }

    fn schema_of(self, kind: Kind) -> Value {
        match kind {
            Kind::Text => json!({"type": ["string", "null"]}),
            Kind::Number => json!({"type": ["integer", "null"]}),
            Kind::Object => json!({"type": ["object", "null"]}),
            Kind::Of(name) => json!({"anyOf": [self.to(name), {"type": "null"}]}),
            Kind::List(name) => json!({"type": "array", "items": self.to(name)}),
        }
    }

    fn object(self, description: &str, required: &[&str], fields: &[Field]) -> Value {
        let properties: Map<String, Value> = fields
            .iter()
            .map(|(name, kind, description)| {
                let mut schema = self.schema_of(*kind);
                schema["description"] = json!(description);
                ((*name).to_owned(), schema)
            })
            .collect();
        json!({"type": "object", "description": description, "required": required, "properties": properties})
    }
}

/// The fields of `org.keycloak.events.Event`, and ours.
const USER_EVENT: [Field; 12] = [
    ("id", Kind::Text, "The event's id."),
    ("time", Kind::Number, "When it happened, in milliseconds since the Unix epoch."),
    ("type", Kind::Text, "What happened, such as LOGIN. Later releases of Keycloak have more types."),
    ("realmId", Kind::Text, "The realm's id."),
    ("realmName", Kind::Text, "The realm's name."),
    ("clientId", Kind::Text, "The client, by its clientId."),
    ("userId", Kind::Text, "The user whom the event concerns."),
    ("sessionId", Kind::Text, "The user's session."),
    ("ipAddress", Kind::Text, "Whence the request came."),
    ("error", Kind::Text, "What went wrong; null if nothing did."),
    ("details", Kind::Object, "What else belongs to this type of event."),
    (
        "keyferry",
        Kind::Of("Names"),
        "Names beside the ids, where the provider is asked for them (journal-enrich).",
    ),
];

/// The fields of `org.keycloak.events.admin.AdminEvent`, and ours.
const ADMIN_EVENT: [Field; 14] = [
    ("id", Kind::Text, "The event's id."),
    ("time", Kind::Number, "When it happened, in milliseconds since the Unix epoch."),
    ("realmId", Kind::Text, "The id of the realm that was changed."),
    ("realmName", Kind::Text, "Its name."),
    ("authDetails", Kind::Of("AuthDetails"), "Who made the change."),
    (
        "resourceType",
        Kind::Text,
        "What kind of thing was changed, such as USER. Later releases of Keycloak have more.",
    ),
    ("resourceTypeAsString", Kind::Text, "The same, also where an extension has a kind of its own."),
    ("operationType", Kind::Text, "CREATE, UPDATE, DELETE or ACTION."),
    ("resourcePath", Kind::Text, "Where the thing is in the realm, such as users/<id>."),
    ("resourceId", Kind::Text, "Its id, by the path."),
    (
        "representation",
        Kind::Text,
        "The thing itself as JSON in a text, without its secrets; null where the realm's events do not include it.",
    ),
    ("error", Kind::Text, "What went wrong; null if nothing did."),
    ("details", Kind::Object, "What else belongs to it."),
    (
        "keyferry",
        Kind::Of("Names"),
        "Names beside the ids, where the provider is asked for them (journal-enrich).",
    ),
];

const AUTH_DETAILS: [Field; 5] = [
    ("realmId", Kind::Text, "The id of the administrator's realm."),
    ("realmName", Kind::Text, "Its name."),
    ("clientId", Kind::Text, "The inner id of the client that was used."),
    ("userId", Kind::Text, "The administrator."),
    ("ipAddress", Kind::Text, "Whence the request came."),
];

const NAMES: [Field; 8] = [
    ("user", Kind::Of("Named"), "The user whom the event concerns."),
    ("administrator", Kind::Of("Named"), "Who made the change."),
    ("client", Kind::Of("Named"), "The client that was used."),
    ("clients", Kind::List("Named"), "Clients that were changed."),
    ("roles", Kind::List("Named"), "Roles that were given, taken or changed."),
    ("groups", Kind::List("Named"), "Groups that were changed, or whose member was."),
    ("impersonator", Kind::Of("Named"), "The administrator who acts as the user."),
    ("organizations", Kind::List("Named"), "The organizations that the event concerns."),
];

const NAMED: [Field; 6] = [
    ("id", Kind::Text, "The id, where it does not stand in the event."),
    ("username", Kind::Text, "Of a user."),
    ("clientId", Kind::Text, "Of a client."),
    ("name", Kind::Text, "Of a client, role, group or organization."),
    ("path", Kind::Text, "Of a group."),
    ("alias", Kind::Text, "Of an organization."),
];

const GAP: [Field; 11] = [
    ("type", Kind::Text, "KEYFERRY_GAP"),
    (
        "cause",
        Kind::Text,
        "Why events are missing, as one word, such as no-space. Later releases may have more.",
    ),
    ("node", Kind::Text, "The Keycloak node; empty if it is not known."),
    ("epoch", Kind::Text, "The epoch in whose numbers the record counts, 16 hexadecimal digits."),
    ("userEvents", Kind::Number, "How many user events are missing; null if that is not known."),
    ("adminEvents", Kind::Number, "How many admin events are missing; null if that is not known."),
    ("firstTime", Kind::Number, "Time of the first, in milliseconds since the Unix epoch."),
    ("lastTime", Kind::Number, "Time of the last."),
    ("commits", Kind::Of("Span"), "The transactions that are missing, by their numbers in the epoch."),
    ("sequences", Kind::Of("Span"), "Record numbers of the epoch that may never appear."),
    ("detail", Kind::Text, "The same for people."),
];

/// An attribute of CloudEvents, which is a header with the prefix `ce_` in binary mode.
struct Attribute {
    name: &'static str,
    description: &'static str,
    /// The pattern of its values.
    pattern: &'static str,
    presence: Presence,
    /// Whether a record has it with `headers = minimal`.
    is_minimal: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Always,
    /// Of an event, and not of a gap.
    OfEvents,
    Sometimes,
}

const fn attribute(
    name: &'static str,
    presence: Presence,
    is_minimal: bool,
    pattern: &'static str,
    description: &'static str,
) -> Attribute {
    Attribute { name, description, pattern, presence, is_minimal }
}

const EPOCH: &str = "^[0-9a-f]{16}$";
const ANY: &str = "";

const ATTRIBUTES: [Attribute; 12] = [
    attribute("specversion", Presence::Always, false, "^1\\.0$", "The version of CloudEvents."),
    attribute(
        "id",
        Presence::Always,
        true,
        "^.+$",
        "The event's id, the same in every copy of the record. Where Keycloak gave it none, <epoch>-<sequence>.",
    ),
    attribute(
        "source",
        Presence::Always,
        false,
        "^/(realms|keyferry)/",
        "/realms/<realm name>; of a gap record /keyferry/<node>.",
    ),
    attribute(
        "type",
        Presence::Always,
        false,
        "^org\\.(keycloak\\.(event|admin)\\..+|keyferry\\.gap)$",
        "org.keycloak.event.<TYPE>, org.keycloak.admin.<RESOURCE TYPE>.<OPERATION> or org.keyferry.gap.",
    ),
    attribute(
        "time",
        Presence::Always,
        false,
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{12}Z$",
        "The event's own time, RFC 3339 in UTC.",
    ),
    attribute(
        "subject",
        Presence::Sometimes,
        false,
        ANY,
        "The user whom the event concerns, or the resource path of an admin event.",
    ),
    attribute(
        "sequence",
        Presence::Always,
        true,
        "^[0-9]{20}$",
        "The number of the record in its epoch and destination, from 1, without gaps over all topics and partitions.",
    ),
    attribute("partitionkey", Presence::Always, false, ANY, "The record's key."),
    attribute(
        "traceparent",
        Presence::Sometimes,
        false,
        "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
        "The request's W3C Trace Context.",
    ),
    attribute("node", Presence::Always, true, ANY, "The Keycloak node."),
    attribute(
        "epoch",
        Presence::Always,
        true,
        EPOCH,
        "The journal's epoch: the life of a Keycloak process on its slot of the journal.",
    ),
    attribute(
        "outcome",
        Presence::OfEvents,
        true,
        "^(committed|unknown)$",
        "committed, or unknown where Keycloak died before the outcome of the transaction was written. A gap record has none.",
    ),
];

impl Attribute {
    fn schema(&self) -> Value {
        let mut schema = json!({"type": "string", "description": self.description});
        if !self.pattern.is_empty() {
            schema["pattern"] = json!(self.pattern);
        }
        schema
    }

    fn is_required(&self, of_gap: bool) -> bool {
        self.presence == Presence::Always || self.presence == Presence::OfEvents && !of_gap
    }
}

/// The schemas of Keycloak's events and of what is ours in them, by their names.
fn schemas(place: Place) -> Map<String, Value> {
    let event = "Later releases of Keycloak may have further fields.";
    let mut gap = place.object("Tells of events that are missing.", &["type", "cause"], &GAP);
    gap["properties"]["type"] = json!({"const": "KEYFERRY_GAP", "description": "That it is a gap record."});
    gap["properties"]["cause"]["type"] = json!("string");
    let mut admin = place.object(
        &format!("Something that an administrator has changed. {event}"),
        &["operationType"],
        &ADMIN_EVENT,
    );
    // By it the three are told apart.
    admin["properties"]["type"] = json!(false);
    let mut user =
        place.object(&format!("Something that a user or client has done. {event}"), &["type"], &USER_EVENT);
    user["properties"]["type"]["not"] = json!({"const": "KEYFERRY_GAP"});
    user["properties"]["operationType"] = json!(false);
    let span = json!({"type": "object", "description": "A range of numbers, both ends included.", "required": ["from", "to"],
        "properties": {"from": {"type": "integer"}, "to": {"type": "integer"}}});
    let all = [
        ("UserEvent", user),
        ("AdminEvent", admin),
        ("AuthDetails", place.object("Who made a change.", &[], &AUTH_DETAILS)),
        ("Names", place.object("Names that the provider has found for the event's ids.", &[], &NAMES)),
        ("Named", place.object("What something is called. Only what it has is there.", &[], &NAMED)),
        ("Gap", gap),
        ("Span", span),
    ];
    all.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// The schema of a CloudEvent in structured mode whose `data` is described by the schema `data`; of a gap if `of_gap`.
fn cloud_event(data: &Value, of_gap: bool) -> Value {
    let mut properties: Map<String, Value> =
        ATTRIBUTES.iter().map(|attribute| (attribute.name.to_owned(), attribute.schema())).collect();
    properties.insert("datacontenttype".to_owned(), json!({"const": "application/json"}));
    properties.insert("data".to_owned(), data.clone());
    let required =
        ATTRIBUTES.iter().filter(|attribute| attribute.is_required(of_gap)).map(|attribute| attribute.name);
    let required: Vec<&str> = required.chain(["datacontenttype", "data"]).collect();
    json!({"type": "object", "required": required, "properties": properties})
}

/// The schemas of values, each with the path of its file in the project.
pub fn files() -> Vec<(&'static str, Value)> {
    let place = Place("#/$defs/");
    let any = json!({"oneOf": [place.to("UserEvent"), place.to("AdminEvent"), place.to("Gap")]});
    let document = |name: &str, title: &str, schema: Value| {
        let mut document = json!({"$schema": DIALECT, "$id": format!("{REPOSITORY}/schemas/{name}.schema.json"), "title": title});
        let members = document.as_object_mut().zip(schema.as_object());
        if let Some((document, schema)) = members {
            document.extend(schema.clone());
            document.insert("$defs".to_owned(), Value::Object(schemas(place)));
        }
        document
    };
    let keycloak =
        document("keycloak", "The value of a record with destination.format = \"keycloak\"", any.clone());
    // A gap has no outcome; which it is, its data tells.
    let cloud_event = document(
        "cloudevents",
        "The value of a record with destination.format = \"cloudevents\"",
        cloud_event(&any, true),
    );
    vec![
        ("schemas/keycloak.schema.json", keycloak),
        ("schemas/cloudevents.schema.json", cloud_event),
        ("docs/asyncapi.json", asyncapi()),
    ]
}

/// The names of secrets, for the provider: a line for each.
pub fn names_of_secrets() -> String {
    crate::redaction::names_of_secrets()
}

/// What a record may tell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    UserEvent,
    AdminEvent,
    Gap,
}

impl Told {
    const ALL: [Self; 3] = [Self::UserEvent, Self::AdminEvent, Self::Gap];

    fn name(self) -> &'static str {
        match self {
            Self::UserEvent => "UserEvent",
            Self::AdminEvent => "AdminEvent",
            Self::Gap => "Gap",
        }
    }

    fn summary(self) -> &'static str {
        match self {
            Self::UserEvent => "Something that a user or client has done",
            Self::AdminEvent => "Something that an administrator has changed",
            Self::Gap => "Word of events that are missing",
        }
    }
}

/// What the configuration calls a format.
fn name_of(format: Format) -> &'static str {
    match format {
        Format::Keycloak => "keycloak",
        Format::CloudEvents => "cloudevents",
        Format::Ocsf => "ocsf",
        Format::Ecs => "ecs",
        Format::Avro => "avro",
        Format::Protobuf => "protobuf",
        Format::JsonSchema => "json-schema",
    }
}

fn payload(format: Format, told: Told, place: Place) -> Value {
    let elsewhere = |member: &str, description: String, url: String| {
        json!({"type": "object", "required": [member], "description": description,
            "externalDocs": {"description": "Its schema", "url": url}})
    };
    let framed = |file: &str| {
        json!({"description": "Bytes: the frame with the id that the registry gave to the schema, and the record by that schema.",
            "externalDocs": {"description": "The schema", "url": format!("{REPOSITORY}/blob/main/schemas/{file}")}})
    };
    match format {
        Format::CloudEvents => cloud_event(&place.to(told.name()), told == Told::Gap),
        Format::Ocsf => elsewhere(
            "class_uid",
            format!(
                "The event in the Open Cybersecurity Schema Framework {OCSF_VERSION}; what has no place there stands under unmapped."
            ),
            format!("https://schema.ocsf.io/{OCSF_VERSION}/"),
        ),
        Format::Ecs => elsewhere(
            "ecs",
            format!(
                "The event in the Elastic Common Schema {ECS_VERSION}; what has no place there stands under keycloak."
            ),
            "https://www.elastic.co/docs/reference/ecs".to_owned(),
        ),
        Format::Keycloak => place.to(told.name()),
        Format::Avro => framed("keyferry-event.avsc"),
        Format::Protobuf => framed("keyferry-event.proto"),
        Format::JsonSchema => framed("keyferry-event.schema.json"),
    }
}

/// The name of the message in which `told` is told in a format.
fn message_name(told: Told, format: Format) -> String {
    let mut name = told.name().to_owned();
    name.replace_range(..1, &name[..1].to_lowercase());
    format!("{name}.{}", name_of(format))
}

fn headers(format: Format, of_gap: bool) -> Value {
    let mut properties: Map<String, Value> = ATTRIBUTES
        .iter()
        .filter(|attribute| !(of_gap && attribute.presence != Presence::Always))
        .map(|attribute| (format!("ce_{}", attribute.name), attribute.schema()))
        .collect();
    properties.insert(
        "content-type".to_owned(),
        json!({"const": format.content_type(), "description": "What the value is. With headers = minimal it is there only with format = cloudevents."}),
    );
    let is_required = |attribute: &&Attribute| attribute.is_minimal && attribute.is_required(of_gap);
    let required: Vec<String> =
        ATTRIBUTES.iter().filter(is_required).map(|attribute| format!("ce_{}", attribute.name)).collect();
    json!({"type": "object", "required": required, "properties": properties})
}

fn message(format: Format, told: Told, place: Place) -> Value {
    let of_gap = told == Told::Gap;
    let mut kafka = json!({
        "key": {"type": "string", "description": "The id of the user whom the event concerns, else realm and client, or realm and resource, unless a template says otherwise; of a gap record the node."},
        "bindingVersion": "0.5.0",
    });
    if format.schema().is_some() {
        kafka["schemaIdLocation"] = json!("payload");
        kafka["schemaIdPayloadEncoding"] = json!("confluent");
    }
    json!({
        "name": message_name(told, format),
        "title": format!("{} (format {})", told.summary(), name_of(format)),
        "summary": told.summary(),
        "contentType": format.content_type(),
        "headers": headers(format, of_gap),
        "payload": payload(format, told, place),
        "bindings": {"kafka": kafka},
    })
}

/// The topics: one for each kind of events.
const CHANNELS: [(&str, &str, &str, [Told; 2]); 2] = [
    ("events", "topic_events", "User events", [Told::UserEvent, Told::Gap]),
    ("adminEvents", "topic_admin_events", "Admin events", [Told::AdminEvent, Told::Gap]),
];

fn messages() -> impl Iterator<Item = (Format, Told)> {
    Format::ALL.into_iter().flat_map(|format| Told::ALL.map(|told| (format, told)))
}

/// The AsyncAPI document of what consumers read.
pub fn asyncapi() -> Value {
    let place = Place("#/components/schemas/");
    let mut channels = Map::new();
    let mut operations = Map::new();
    for (channel, key, title, told) in CHANNELS {
        let of_channel: Vec<String> = messages()
            .filter(|(_, one)| told.contains(one))
            .map(|(format, one)| message_name(one, format))
            .collect();
        let refer = |base: &str| {
            let of = |name: &String| (name.clone(), json!({ "$ref": format!("{base}{name}") }));
            of_channel.iter().map(of).collect::<Map<String, Value>>()
        };
        channels.insert(
            channel.to_owned(),
            json!({
                "address": "{topic}",
                "title": title,
                "description": format!(
                    "The topic that destination.{key} names, or that destination.routing.topic makes of an event; all records of a topic have one format, that of destination.format."),
                "parameters": {"topic": {"description": format!("destination.{key}")}},
                "messages": refer("#/components/messages/"),
            }),
        );
        let of_operation: Vec<Value> =
            refer(&format!("#/channels/{channel}/messages/")).into_values().collect();
        operations.insert(
            format!("send{}", channel[..1].to_uppercase() + &channel[1..]),
            json!({
                "action": "send",
                "title": format!("{title} are published"),
                "summary": "At least once, in order within a key; every copy has the same ce_id, ce_epoch and ce_sequence.",
                "channel": {"$ref": format!("#/channels/{channel}")},
                "messages": of_operation,
            }),
        );
    }
    let messages: Map<String, Value> =
        messages().map(|(format, told)| (message_name(told, format), message(format, told, place))).collect();
    json!({
        "asyncapi": "3.0.0",
        "id": "urn:org:keyferry:events",
        "info": {
            "title": "Keyferry: Keycloak's events in Kafka",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!(
                "What consumers of Keyferry's topics read. Headers are those of headers = cloudevents; headers = minimal has those that are required here, headers = none has none. \
                 A record of type {GAP_TYPE} tells that events are missing."),
            "license": {"name": env!("CARGO_PKG_LICENSE")},
            "externalDocs": {"description": "How to consume", "url": format!("{REPOSITORY}/blob/main/docs/consuming.md")},
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": {
            "host": "{bootstrap_servers}",
            "protocol": "kafka",
            "description": "The cluster of a destination.",
            "variables": {"bootstrap_servers": {"description": "destination.bootstrap_servers"}},
        }},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas(place)},
    })
}
