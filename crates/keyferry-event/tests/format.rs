//! What a consumer reads in each format, of events that the real Keycloak 26.7.3 raised (`testdata/events/keycloak`, captured by `cargo xtask capture`) and of arbitrary ones.
//!
//! `KEYFERRY_GOLDEN=write` writes what is expected of each format anew.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use keyferry_event::redaction::{FieldRules, HashKey, Preset};
use keyferry_event::{Encoder, Envelope, Format, Gap, GapReason, HeaderMode, Redaction, SchemaId};
use keyferry_journal::event::{EventEncoder, EventView, Events, Field};
use keyferry_journal::{Epoch, EventKind, Outcome};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const ENVELOPE: Envelope<'static> =
    Envelope { node: "kc-1", epoch: Epoch(0x0006_447B_0D1A_2C00), outcome: Outcome::Committed, sequence: 42 };

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The formats that are not Keycloak's own, and the directories of what is expected of them.
const FORMATS: [(Format, &str); 3] =
    [(Format::CloudEvents, "cloudevents"), (Format::Ocsf, "ocsf"), (Format::Ecs, "ecs")];

/// The formats whose values are read by a schema, and the directories of what is expected of them.
const BY_SCHEMA: [(Format, &str); 3] =
    [(Format::Avro, "avro"), (Format::Protobuf, "protobuf"), (Format::JsonSchema, "json-schema")];

/// An encoder of records with all headers, which knows the ids of schemas.
fn encoder(format: Format) -> Encoder {
    let mut encoder = Encoder::new(HeaderMode::CloudEvents).formatting(format);
    encoder.learn("topic", SchemaId(7));
    encoder
}

/// What the provider writes to the journal of an event with this JSON.
fn journaled(body: &[u8]) -> EventEncoder {
    let event: Value = serde_json::from_slice(body).unwrap_or_default();
    let is_admin = event.get("operationType").is_some();
    let (kind, of_type, who) = if is_admin {
        (EventKind::Admin, "operationType", &event["authDetails"])
    } else {
        (EventKind::User, "type", &event)
    };
    let fields = [
        (Field::Id, &event["id"]),
        (Field::Type, &event[of_type]),
        (Field::RealmId, &event["realmId"]),
        (Field::RealmName, &event["realmName"]),
        (Field::Client, &who["clientId"]),
        (Field::UserId, &who["userId"]),
        (Field::ResourceType, &event["resourceType"]),
        (Field::ResourcePath, &event["resourcePath"]),
        (Field::Error, &event["error"]),
    ];
    let mut fields: Vec<(Field, &str)> =
        fields.iter().filter_map(|(field, value)| Some((*field, value.as_str()?))).collect();
    fields.push((Field::TraceParent, TRACE));
    let mut payload = EventEncoder::new();
    payload.push(kind, event["time"].as_u64().unwrap_or(1), &fields, body);
    payload
}

fn only(payload: &EventEncoder) -> EventView<'_> {
    Events::of(payload.payload()).next().unwrap().unwrap()
}

fn value(encoder: &mut Encoder, body: &[u8]) -> Vec<u8> {
    encoder.encode("topic", &only(&journaled(body)), &ENVELOPE).unwrap().value.to_vec()
}

fn read(format: Format, body: &Value) -> Value {
    let mut encoder = Encoder::new(HeaderMode::CloudEvents).formatting(format);
    serde_json::from_slice(&value(&mut encoder, body.to_string().as_bytes())).unwrap()
}

fn directory(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/events").join(of)
}

/// Name and JSON of each event that was captured.
fn captured() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory("keycloak")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

/// Keycloak's event again, out of a record in `format`: what stands where is known from the documentation alone. Fields that are `null` are not told.
fn decoded(format: Format, record: &Value) -> Map<String, Value> {
    let mut event = match format {
        Format::Keycloak => record.as_object().unwrap().clone(),
        Format::CloudEvents => record["data"].as_object().unwrap().clone(),
        Format::Ocsf => from_ocsf(record),
        Format::Ecs => from_ecs(record),
        Format::Avro | Format::Protobuf | Format::JsonSchema => panic!("decoded in keyferry-client"),
    };
    event.retain(|_, value| !value.is_null());
    if let Some(Value::Object(administrator)) = event.get_mut("authDetails") {
        administrator.retain(|_, value| !value.is_null());
    }
    event
}

/// The members that `fields` names where the record has them.
fn gathered(record: &Value, rest: &Value, fields: &[(&str, &[&str])]) -> Map<String, Value> {
    let mut event = rest.as_object().cloned().unwrap_or_default();
    event.remove("keyferry");
    let is_admin = event.contains_key("resourceTypeAsString") || event.contains_key("resourceType");
    let mut administrator =
        event.remove("authDetails").and_then(|value| value.as_object().cloned()).unwrap_or_default();
    for (name, places) in fields {
        let Some(found) = places.iter().find_map(|place| record.pointer(place)) else { continue };
        let of_administrator =
            ["userId", "clientId", "ipAddress"].contains(name) || *name == "authDetails.realmName";
        let name = if *name == "type" && is_admin {
            "operationType"
        } else {
            name.trim_start_matches("authDetails.")
        };
        let into = if is_admin && of_administrator { &mut administrator } else { &mut event };
        into.entry(name).or_insert_with(|| found.clone());
    }
    if is_admin && !administrator.is_empty() {
        event.insert("authDetails".to_owned(), Value::Object(administrator));
    }
    event
}

fn from_ocsf(record: &Value) -> Map<String, Value> {
    let is_admin = record["unmapped"].get("resourceTypeAsString").is_some();
    let realm: &[&str] = if is_admin { &[] } else { &["/user/domain"] };
    let fields: [(&str, &[&str]); 15] = [
        ("id", &["/metadata/uid"]),
        ("time", &["/time"]),
        ("type", &["/metadata/event_code"]),
        ("realmId", &["/metadata/tenant_uid"]),
        ("realmName", realm),
        ("error", &["/status_code"]),
        ("ipAddress", &["/src_endpoint/ip"]),
        ("sessionId", &["/session/uid", "/actor/session/uid"]),
        ("userId", if is_admin { &["/actor/user/uid"] } else { &["/user/uid"] }),
        ("authDetails.realmName", if is_admin { &["/actor/user/domain"] } else { &[] }),
        (
            "clientId",
            if is_admin {
                &["/actor/app_uid"]
            } else if record["class_uid"] == 3002 {
                &["/service/name"]
            } else {
                &["/actor/app_name", "/entity/name"]
            },
        ),
        ("resourceType", if is_admin { &["/entity/type"] } else { &[] }),
        ("resourcePath", if is_admin { &["/entity/name"] } else { &[] }),
        ("resourceId", if is_admin { &["/entity/uid"] } else { &[] }),
        ("nothing", &[]),
    ];
    gathered(record, &record["unmapped"], &fields)
}

fn from_ecs(record: &Value) -> Map<String, Value> {
    let time = humantime::parse_rfc3339(record["@timestamp"].as_str().unwrap()).unwrap();
    let time = time.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let fields: [(&str, &[&str]); 7] = [
        ("id", &["/event/id"]),
        ("type", &["/event/action"]),
        ("realmId", &["/organization/id"]),
        ("realmName", &["/organization/name"]),
        ("error", &["/error/code"]),
        ("ipAddress", &["/source/ip"]),
        ("userId", &["/user/id"]),
    ];
    let mut event = gathered(record, &record["keycloak"], &fields);
    event.insert("time".to_owned(), time.into());
    event
}

fn without_null(event: &Value) -> Map<String, Value> {
    decoded(Format::Keycloak, event)
}

/// What OCSF needs and an event may not have: `service.name` and `entity.name` stand in for it.
fn strip_stand_ins(found: &mut Map<String, Value>, expected: &Map<String, Value>) {
    for (name, stand_ins) in [
        ("clientId", &["Keycloak", "unknown"][..]),
        ("resourcePath", &["REALM", "unknown"]),
        ("resourceType", &[]),
    ] {
        let stands_in =
            |value: &Value| stand_ins.iter().any(|text| value == text) || value == &expected["resourceType"];
        if !expected.contains_key(name) || expected[name] == "" {
            let is_stand_in = found.get(name).is_some_and(|value| stand_ins.iter().any(|text| value == text))
                || (name == "resourcePath" && found.get(name).is_some_and(stands_in));
            if is_stand_in {
                found.remove(name);
            }
        }
    }
}

/// What each captured event becomes, and a gap.
fn told(format: Format) -> Vec<(String, Vec<u8>)> {
    let mut encoder = encoder(format);
    let events = captured();
    assert!(events.len() > 60, "only {} events were captured", events.len());
    let mut told: Vec<(String, Vec<u8>)> =
        events.into_iter().map(|(file, body)| (file, value(&mut encoder, &body))).collect();
    let gap = encoder.encode_gap("topic", &gap(), 42, 7).unwrap().value.to_vec();
    told.push(("org.keyferry.gap.json".to_owned(), gap));
    told
}

/// Holds `told` to the files of the directory `name`, which are all that there is in it.
fn assert_golden(name: &str, told: Vec<(String, Vec<u8>)>) {
    let directory = directory(name);
    let writes = std::env::var_os("KEYFERRY_GOLDEN").is_some_and(|value| value == "write");
    if writes {
        drop(fs::remove_dir_all(&directory));
        fs::create_dir_all(&directory).unwrap();
    }
    let mut files = BTreeSet::new();
    for (file, told) in told {
        let path = directory.join(file);
        if writes {
            fs::write(&path, &told).unwrap();
        }
        let expected = fs::read(&path).unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(told == expected, "{}: {}\nexpected: {}", path.display(), text(&told), text(&expected));
        files.insert(path);
    }
    let there: BTreeSet<PathBuf> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(there, files, "{name} has files of events that are not there");
}

#[test]
fn each_format_tells_each_captured_event_as_it_did() {
    for (format, name) in FORMATS {
        let pretty = |(file, told): (String, Vec<u8>)| {
            let told: Value =
                serde_json::from_slice(&told).unwrap_or_else(|error| panic!("{file} in {name}: {error}"));
            (file, (serde_json::to_string_pretty(&told).unwrap() + "\n").into_bytes())
        };
        assert_golden(name, told(format).into_iter().map(pretty).collect());
    }
}

/// Their values are expected as they are, with their frames.
#[test]
fn each_format_with_a_schema_tells_each_captured_event_as_it_did() {
    for (format, name) in BY_SCHEMA {
        let binary = |(file, told): (String, Vec<u8>)| (file.replace(".json", ".bin"), told);
        assert_golden(name, told(format).into_iter().map(binary).collect());
    }
}

#[test]
fn there_is_no_value_as_long_as_the_id_of_its_schema_is_not_known() {
    let payload = journaled(br#"{"id":"e","type":"LOGIN"}"#);
    let event = only(&payload);
    for (format, name) in BY_SCHEMA {
        let mut encoder = Encoder::new(HeaderMode::None).formatting(format);
        encoder.learn("other", SchemaId(1));
        let unknown =
            encoder.encode("topic", &event, &ENVELOPE).map(|record| record.value.to_vec()).unwrap_err();
        assert_eq!(unknown.to_string(), "the id of the schema for the topic topic is not known");
        assert!(encoder.encode_gap("topic", &gap(), 1, 1).is_err(), "{name}");
        encoder.learn("topic", SchemaId(0x0102_0304));
        let told = |encoder: &mut Encoder| {
            encoder.encode("topic", &event, &ENVELOPE).map(|record| record.value.to_vec()).ok()
        };
        assert_eq!(told(&mut encoder).unwrap()[..5], [0, 1, 2, 3, 4], "{name}");
        encoder.set_format(format);
        assert!(told(&mut encoder).is_some(), "{name}: nothing has changed");
        encoder.set_format(Format::Keycloak);
        assert_eq!(told(&mut encoder).unwrap(), event.body());
        encoder.set_format(format);
        assert_eq!(told(&mut encoder), None, "{name}: the id of another time may be that of another schema");
    }
}

/// The examples of the documentation are what the encoder makes.
#[test]
fn the_documentation_shows_a_login_in_each_format() {
    let page = fs::read_to_string(directory("../../docs/events.md")).unwrap();
    for (_, name) in FORMATS {
        let example = fs::read_to_string(directory(name).join("LOGIN.json")).unwrap();
        assert!(page.contains(&example), "docs/events.md has not the example {name}/LOGIN.json");
    }
    let values = BY_SCHEMA.map(|(_, name)| fs::read(directory(name).join("LOGIN.bin")).unwrap());
    let example: Value = serde_json::from_slice(&values[2][5..]).unwrap();
    assert!(
        page.contains(&serde_json::to_string_pretty(&example).unwrap()),
        "docs/events.md has not the example json-schema/LOGIN.bin"
    );
    let [avro, protobuf, json] = values.map(|value| value.len());
    let told = format!("in Avro it is {avro} bytes long, in Protobuf {protobuf}, in JSON {json}.");
    assert!(page.contains(&told), "docs/events.md does not say that {told}");
}

#[test]
fn every_field_of_each_captured_event_is_found_again() {
    for (file, body) in captured() {
        let event: Value = serde_json::from_slice(&body).unwrap();
        for (format, name) in FORMATS {
            let mut encoder =
                Encoder::new(HeaderMode::CloudEvents).redacting(Redaction::none()).formatting(format);
            let record: Value = serde_json::from_slice(&value(&mut encoder, &body)).unwrap();
            let expected = without_null(&event);
            let mut found = decoded(format, &record);
            strip_stand_ins(&mut found, &expected);
            assert_eq!(found, expected, "{file} in {name}: {record}");
        }
    }
}

/// The attributes of a structured event are the headers of a binary one, whatever headers the record has.
#[test]
fn a_structured_cloudevent_has_the_attributes_of_the_binary_one() {
    let body = br#"{"id":"e\"1","type":"LOGIN","realmId":"r1","realmName":"a \"shop\"","clientId":"account","userId":"u1","time":7,"new":1.50}"#;
    let payload = journaled(body);
    let mut binary = Encoder::new(HeaderMode::CloudEvents);
    let record = binary.encode("topic", &only(&payload), &ENVELOPE).unwrap();
    let mut expected = Map::new();
    for header in record.headers() {
        if let Some(name) = header.name.to_str().unwrap().strip_prefix("ce_") {
            expected.insert(name.to_owned(), String::from_utf8(header.value.to_vec()).unwrap().into());
        }
    }
    expected.insert("datacontenttype".to_owned(), "application/json".into());
    expected.insert("data".to_owned(), serde_json::from_slice(body).unwrap());
    assert_eq!(expected.len(), 14);
    for mode in [HeaderMode::CloudEvents, HeaderMode::Minimal, HeaderMode::None] {
        let mut encoder = Encoder::new(mode).formatting(Format::CloudEvents);
        let record = encoder.encode("topic", &only(&payload), &ENVELOPE).unwrap();
        assert!(
            record.value.windows(body.len()).any(|part| part == body),
            "the data is Keycloak's, byte for byte"
        );
        let event: Map<String, Value> = serde_json::from_slice(record.value).unwrap();
        assert_eq!(event, expected, "{mode:?}");
        let content_type = record.headers().find(|header| header.name == c"content-type");
        let expected = (mode != HeaderMode::None).then_some(&b"application/cloudevents+json"[..]);
        assert_eq!(content_type.map(|header| header.value), expected, "{mode:?}");
    }
}

/// Names that the provider has added stand where a format has a place for them, and whole among what is ours.
#[test]
fn names_beside_ids_are_told() {
    let names = json!({"user": {"username": "carol"}, "impersonator": {"id": "a-1", "username": "boss"}, "roles": [{"id": "r-1", "name": "mate"}]});
    let login = json!({"id": "e-1", "type": "REFRESH_TOKEN", "userId": "u-1", "details": {"username": "c@example.org"}, "keyferry": names});
    let admin = json!({"id": "e-2", "operationType": "CREATE", "resourceType": "REALM_ROLE_MAPPING", "resourcePath": "users/u-1/role-mappings/realm",
        "resourceTypeAsString": "REALM_ROLE_MAPPING", "authDetails": {"userId": "a-1"},
        "keyferry": {"user": {"username": "carol"}, "administrator": {"username": "boss"}}});
    let ocsf = read(Format::Ocsf, &login);
    assert_eq!(ocsf["user"], json!({"uid": "u-1", "name": "carol"}));
    assert_eq!(ocsf["actor"]["user"], json!({"uid": "a-1", "name": "boss"}));
    let mut ours = names.clone();
    ours.as_object_mut().unwrap().extend(ocsf_place());
    assert_eq!(ocsf["unmapped"], json!({"details": {"username": "c@example.org"}, "keyferry": ours}));
    let ocsf = read(Format::Ocsf, &admin);
    assert_eq!(
        (&ocsf["user"], &ocsf["actor"]["user"]),
        (&json!({"uid": "u-1", "name": "carol"}), &json!({"uid": "a-1", "name": "boss"}))
    );
    let ecs = read(Format::Ecs, &login);
    assert_eq!(ecs["user"], json!({"id": "u-1", "name": "carol"}));
    assert_eq!(ecs["related"]["user"], json!(["u-1", "carol", "boss"]));
    assert_eq!((&ecs["keyferry"]["roles"], ecs["keycloak"].get("keyferry")), (&names["roles"], None));
    let ecs = read(Format::Ecs, &admin);
    assert_eq!(ecs["user"], json!({"id": "a-1", "name": "boss", "target": {"id": "u-1", "name": "carol"}}));
    assert_eq!(read(Format::CloudEvents, &login)["data"], login);
    assert_eq!(read(Format::Keycloak, &login), login);
}

/// What `unmapped.keyferry` says of every record.
fn ocsf_place() -> Map<String, Value> {
    let place = json!({"node": "kc-1", "epoch": "0006447b0d1a2c00", "outcome": "committed"});
    place.as_object().unwrap().clone()
}

#[test]
fn a_format_tells_nothing_that_is_redacted() {
    let body = json!({"id": "e-1", "time": 1, "type": "LOGIN", "realmId": "r-1", "clientId": "web", "userId": "u-secret",
        "sessionId": "s-secret", "ipAddress": "192.0.2.77", "error": null,
        "details": {"username": "alice-secret", "password": "p-secret", "auth_method": "openid-connect"},
        "keyferry": {"user": {"username": "alice-secret"}, "impersonator": {"id": "a-secret", "username": "boss-secret"}}});
    let admin = json!({"id": "e-2", "time": 1, "realmId": "r-1", "operationType": "CREATE", "resourceType": "REALM_ROLE_MAPPING",
        "resourcePath": "users/u-secret/role-mappings/realm", "resourceTypeAsString": "REALM_ROLE_MAPPING", "resourceId": null,
        "representation": "[{\"name\":\"captain-secret\"}]",
        "authDetails": {"realmId": "master", "clientId": "c", "userId": "a-secret", "ipAddress": "192.0.2.77"},
        "keyferry": {"user": {"username": "alice-secret"}, "administrator": {"username": "boss-secret"}}});
    let key = HashKey::new(&[7; 32]).ok();
    let redaction = Redaction::new(true, Some(Preset::GdprPseudonymous), &FieldRules::default(), key);
    for mode in [HeaderMode::CloudEvents, HeaderMode::None] {
        for (format, name) in [(Format::Keycloak, "keycloak")].into_iter().chain(FORMATS).chain(BY_SCHEMA) {
            let mut encoder = Encoder::new(mode).redacting(redaction.clone()).formatting(format);
            encoder.learn("topic", SchemaId(7));
            for body in [&body, &admin] {
                let told = value(&mut encoder, body.to_string().as_bytes());
                let told = String::from_utf8_lossy(&told);
                assert!(!told.contains("secret") && !told.contains(".77"), "{name}: {told}");
            }
        }
    }
}

#[test]
fn what_is_no_json_is_told_as_a_text() {
    let places =
        [(Format::CloudEvents, "/data"), (Format::Ocsf, "/raw_data"), (Format::Ecs, "/event/original")];
    for (format, place) in places {
        let mut encoder =
            Encoder::new(HeaderMode::CloudEvents).redacting(Redaction::none()).formatting(format);
        let record: Value = serde_json::from_slice(&value(&mut encoder, b"no \"JSON\"")).unwrap();
        assert_eq!(record.pointer(place), Some(&"no \"JSON\"".into()), "{record}");
    }
}

fn gap() -> Gap {
    Gap {
        user_events: Some(3),
        ..Gap::new(GapReason::NoSpace, ENVELOPE.epoch, "kc-1", "3 \"events\"".to_owned())
    }
}

#[test]
fn a_gap_is_told_in_each_format() {
    let gap = gap();
    let places =
        [(Format::CloudEvents, "/data"), (Format::Ocsf, "/unmapped/gap"), (Format::Ecs, "/keyferry/gap")];
    for mode in [HeaderMode::CloudEvents, HeaderMode::Minimal] {
        for (format, place) in places {
            let mut encoder = Encoder::new(mode).formatting(format);
            let record = encoder.encode_gap("topic", &gap, 42, 7).unwrap();
            let told: Value = serde_json::from_slice(record.value).unwrap();
            assert_eq!(told.pointer(place), Some(&serde_json::to_value(&gap).unwrap()), "{told}");
            let id = ["/id", "/metadata/uid", "/event/id"].iter().find_map(|place| told.pointer(place));
            assert_eq!(id, Some(&"0006447b0d1a2c00-42".into()), "{told}");
        }
    }
}

#[test]
fn roles_that_are_given_are_privileges() {
    let roles = r#"[{"id":"1","name":"captain"},{"id":"2","name":"first \"mate\""}]"#;
    let event = json!({"id": "1", "operationType": "CREATE", "resourceType": "CLIENT_ROLE_MAPPING",
        "resourcePath": "users/u-1/role-mappings/clients/c-1", "resourceTypeAsString": "CLIENT_ROLE_MAPPING", "representation": roles});
    let record = read(Format::Ocsf, &event);
    assert_eq!(record["type_uid"], 300_501);
    assert_eq!(record["privileges"], json!(["captain", "first \"mate\""]));
    assert_eq!(record["user"]["uid"], "u-1");
}

/// Any JSON, not too deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An event with any values in the places of Keycloak's own, and fields of a later Keycloak.
fn any_event() -> impl Strategy<Value = Value> {
    let types = [
        "LOGIN",
        "LOGIN_ERROR",
        "CODE_TO_TOKEN",
        "REGISTER",
        "UPDATE_CREDENTIAL",
        "GRANT_CONSENT",
        "REVOKE_GRANT",
        "CLIENT_REGISTER",
        "LOGOUT",
        "OF_NEXT_YEAR",
    ];
    let names = ["realmId", "realmName", "clientId", "userId", "sessionId", "ipAddress", "error", "details"];
    let own =
        prop::collection::vec(prop_oneof![3 => ".{1,8}".prop_map(Value::from), 1 => any_json()], names.len());
    let later = prop::collection::hash_map("later[A-Za-z]{1,6}", any_json(), 0..3);
    let address = prop::option::of(prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|a| a.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|a| a.to_string())
    ]);
    (prop::sample::select(types.to_vec()), own, later, address, 0u64..1 << 42).prop_map(
        move |(of_type, own, later, address, time)| {
            let mut event = Map::new();
            event.insert("id".to_owned(), "e-1".into());
            event.insert("time".to_owned(), time.into());
            event.insert("type".to_owned(), of_type.into());
            event.extend(names.iter().zip(own).map(|(name, value)| ((*name).to_owned(), value)));
            if let Some(address) = address {
                event.insert("ipAddress".to_owned(), address.into());
            }
            event.extend(later);
            Value::Object(event)
        },
    )
}

proptest! {
    #[test]
    fn a_decoder_finds_the_event_that_was_encoded(event in any_event()) {
        let body = event.to_string();
        for (format, name) in FORMATS {
            let mut encoder = Encoder::new(HeaderMode::CloudEvents).redacting(Redaction::none()).formatting(format);
            let told = value(&mut encoder, body.as_bytes());
            let record: Value = serde_json::from_slice(&told).unwrap();
            let expected = without_null(&event);
            let mut found = decoded(format, &record);
            strip_stand_ins(&mut found, &expected);
            prop_assert_eq!(found, expected, "in {}: {}", name, record);
        }
    }

    #[test]
    fn any_bytes_become_json(body in any::<Vec<u8>>()) {
        for (format, _) in FORMATS.into_iter().filter(|(format, _)| *format != Format::CloudEvents || body.first() != Some(&b'{')) {
            let mut encoder = Encoder::new(HeaderMode::None).redacting(Redaction::none()).formatting(format);
            prop_assert!(serde_json::from_slice::<Value>(&value(&mut encoder, &body)).is_ok());
        }
    }
}
