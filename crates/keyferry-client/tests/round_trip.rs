//! What the agent's encoder writes, the client reads.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use keyferry_client::{AdminEvent, Decoder, Event, GapRecord, Headers, Message, Outcome, UserEvent};
use keyferry_event::{Encoder, Envelope, Format, Gap, GapReason, HeaderMode, SchemaId};
use keyferry_journal::event::{EventEncoder, Events, Field};
use keyferry_journal::{Epoch, EventKind};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// As if Keycloak had written it, with nothing in it that is redacted.
#[derive(Debug, Clone)]
enum Written {
    User(UserEvent),
    Admin(AdminEvent),
}

fn text() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[a-zé\"\\\\\n ]{0,8}")
}

fn further() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "[a-z\"é]{0,5}".prop_map(Value::from)
    ];
    prop::collection::btree_map("new[0-9]{1,5}", value, 0..3).prop_map(|fields| fields.into_iter().collect())
}

fn user_event() -> impl Strategy<Value = Written> {
    (prop::array::uniform8(text()), any::<i64>(), prop::option::of(further()), further()).prop_map(
        |(
            [id, event_type, realm_id, realm_name, client_id, user_id, ip_address, error],
            time,
            details,
            further,
        )| {
            Written::User(UserEvent {
                id,
                time: Some(time),
                event_type,
                realm_id,
                realm_name,
                client_id,
                user_id,
                session_id: None,
                ip_address,
                error,
                details,
                further,
            })
        },
    )
}

fn admin_event() -> impl Strategy<Value = Written> {
    (prop::array::uniform8(text()), prop::option::of(further()), further()).prop_map(
        |(
            [id, realm_id, realm_name, resource_type, operation_type, resource_path, representation, error],
            details,
            further,
        )| {
            Written::Admin(AdminEvent {
                id,
                time: Some(7),
                realm_id,
                realm_name,
                auth_details: None,
                resource_type,
                operation_type,
                resource_path,
                representation,
                error,
                details,
                further,
            })
        },
    )
}

impl Written {
    fn json(&self) -> Vec<u8> {
        match self {
            Self::User(event) => serde_json::to_vec(event).unwrap(),
            Self::Admin(event) => serde_json::to_vec(event).unwrap(),
        }
    }

    fn kind(&self) -> EventKind {
        match self {
            Self::User(_) => EventKind::User,
            Self::Admin(_) => EventKind::Admin,
        }
    }

    /// What the provider writes beside the JSON.
    fn fields(&self) -> Vec<(Field, &str)> {
        let fields = match self {
            Self::User(event) => vec![
                (Field::Id, &event.id),
                (Field::Type, &event.event_type),
                (Field::RealmId, &event.realm_id),
                (Field::UserId, &event.user_id),
            ],
            Self::Admin(event) => vec![
                (Field::Id, &event.id),
                (Field::Type, &event.operation_type),
                (Field::RealmName, &event.realm_name),
                (Field::ResourceType, &event.resource_type),
                (Field::ResourcePath, &event.resource_path),
            ],
        };
        fields.into_iter().filter_map(|(field, value)| Some((field, value.as_deref()?))).collect()
    }

    /// What of it is told where there is a schema: all but fields that are `null`.
    fn without_null(mut self) -> Self {
        let (details, further) = match &mut self {
            Self::User(event) => (&mut event.details, &mut event.further),
            Self::Admin(event) => (&mut event.details, &mut event.further),
        };
        further.retain(|_, value| !value.is_null());
        if let Some(details) = details
            && details.values().any(Value::is_string)
            && details.values().all(|value| value.is_string() || value.is_null())
        {
            details.retain(|_, value| !value.is_null());
        }
        self
    }

    fn event(self) -> Event {
        match self {
            Self::User(event) => Event::User(event.into()),
            Self::Admin(event) => Event::Admin(event.into()),
        }
    }
}

/// The event as it comes out of vocabularies that leave `null` out.
fn without_null(mut event: Event) -> Event {
    let strip = |fields: &mut Map<String, Value>| fields.retain(|_, value| !value.is_null());
    match &mut event {
        Event::User(user) => strip(&mut user.further),
        Event::Admin(admin) => {
            strip(&mut admin.further);
            admin.auth_details.iter_mut().for_each(|administrator| strip(&mut administrator.further));
        }
        Event::Gap(_) => {}
    }
    event
}

/// What the client makes of the record that the agent makes.
fn carried(written: &Written, format: Format, mode: HeaderMode, envelope: &Envelope<'_>) -> Message {
    let json = written.json();
    let mut payload = EventEncoder::new();
    payload.push(written.kind(), 7, &written.fields(), &json);
    let event = Events::of(payload.payload()).next().unwrap().unwrap();
    let mut encoder = Encoder::new(mode).formatting(format);
    encoder.learn("topic", SchemaId(7));
    let record = encoder.encode("topic", &event, envelope).unwrap();
    let headers: Vec<_> = record.headers().collect();
    let headers =
        Headers::from_iter(headers.iter().map(|header| (header.name.to_str().unwrap(), header.value)));
    Decoder::default().decode(&headers, record.value).unwrap()
}

proptest! {
    #[test]
    fn an_event_comes_back_as_it_was(
        written in prop_oneof![user_event(), admin_event()],
        format in prop::sample::select(Format::ALL.to_vec()),
        mode in prop_oneof![Just(HeaderMode::CloudEvents), Just(HeaderMode::Minimal), Just(HeaderMode::None)],
        sequence in 1..u64::MAX,
        epoch in any::<u64>(),
        is_known in any::<bool>(),
    ) {
        let outcome = if is_known { keyferry_journal::Outcome::Committed } else { keyferry_journal::Outcome::Unknown };
        let envelope = Envelope { node: "kc-1", epoch: Epoch(epoch), outcome, sequence };
        let message = carried(&written, format, mode, &envelope);
        let told = message.place.as_ref().map(|place| (place.node.as_str(), place.epoch.0, place.sequence));
        // Every other format says everything itself.
        if mode == HeaderMode::None && format == Format::Keycloak {
            prop_assert_eq!((told, message.outcome), (None, Outcome::Untold));
        } else {
            prop_assert_eq!(told, Some(("kc-1", epoch, sequence)));
            prop_assert_eq!(message.outcome, if is_known { Outcome::Committed } else { Outcome::Unknown });
            prop_assert!(message.id.is_some());
        }
        let expected = match format {
            Format::Keycloak | Format::CloudEvents => written.event(),
            Format::Ocsf | Format::Ecs => without_null(written.event()),
            Format::Avro | Format::Protobuf | Format::JsonSchema => written.without_null().event(),
        };
        prop_assert_eq!(message.event, expected);
    }

    #[test]
    fn nothing_panics(name in "ce_(node|epoch|sequence|outcome|id)|content-type", header in any::<Vec<u8>>(), value in any::<Vec<u8>>()) {
        let headers = Headers::from_iter([(name, &header[..])]);
        let _ = Decoder::default().decode(&headers, &value);
    }
}

#[test]
fn a_gap_record_comes_back_with_all_that_it_says() {
    let mut gap =
        Gap::new(GapReason::DroppedOld, Epoch(0x0006_447b_0d1a_2c00), "kc-1", "the ceiling".to_owned());
    (gap.user_events, gap.last_time) = (Some(3), Some(9));
    gap.sequences = Some(keyferry_event::Span { from: 4, to: 6 });
    let modes = [HeaderMode::CloudEvents, HeaderMode::Minimal, HeaderMode::None];
    for (format, mode) in Format::ALL.into_iter().flat_map(|format| modes.map(|mode| (format, mode))) {
        let mut encoder = Encoder::new(mode).formatting(format);
        encoder.learn("topic", SchemaId(7));
        let record = encoder.encode_gap("topic", &gap, 7, 1).unwrap();
        let headers: Vec<_> = record.headers().collect();
        let headers =
            Headers::from_iter(headers.iter().map(|header| (header.name.to_str().unwrap(), header.value)));
        let message = Decoder::default().decode(&headers, record.value).unwrap();
        assert_eq!(
            message.place.is_some(),
            mode != HeaderMode::None || format != Format::Keycloak,
            "{format:?}"
        );
        assert_eq!(message.outcome, Outcome::Untold);
        let Event::Gap(told) = message.event else { panic!("no gap record") };
        let GapRecord { cause, node, user_events, admin_events, last_time, sequences, detail, .. } = *told;
        assert_eq!((&*cause, &*node, &*detail), ("dropped-old", "kc-1", "the ceiling"));
        assert_eq!((user_events, admin_events, last_time), (Some(3), None, Some(9)));
        assert_eq!(sequences.map(|span| (span.from, span.to)), Some((4, 6)));
    }
}

/// Name, JSON and kind of each event that was captured from the real Keycloak.
fn captured() -> Vec<(String, Vec<u8>)> {
    files("keycloak").into_iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

fn files(format: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/events").join(format);
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// As the provider journals it.
fn journaled(body: &[u8]) -> EventEncoder {
    let event: Value = serde_json::from_slice(body).unwrap();
    let is_admin = event.get("operationType").is_some();
    let of_type = if is_admin { "operationType" } else { "type" };
    let fields = [
        (Field::Id, "id"),
        (Field::Type, of_type),
        (Field::RealmId, "realmId"),
        (Field::ResourceType, "resourceType"),
        (Field::ResourcePath, "resourcePath"),
        (Field::Error, "error"),
    ];
    let fields: Vec<(Field, &str)> =
        fields.into_iter().filter_map(|(field, name)| Some((field, event[name].as_str()?))).collect();
    let mut payload = EventEncoder::new();
    let kind = if is_admin { EventKind::Admin } else { EventKind::User };
    payload.push(kind, event["time"].as_u64().unwrap(), &fields, body);
    payload
}

#[test]
fn every_captured_event_comes_back_in_every_format() {
    let envelope = Envelope {
        node: "kc-1",
        epoch: Epoch(7),
        outcome: keyferry_journal::Outcome::Committed,
        sequence: 42,
    };
    let events = captured();
    assert!(events.len() > 100, "{}", events.len());
    for (name, body) in events {
        let names = json!({"user": {"username": "carol"}, "groups": [{"id": "g", "path": "/crew"}]});
        let mut enriched: Value = serde_json::from_slice(&body).unwrap();
        enriched["keyferry"] = names.clone();
        for body in [body, serde_json::to_vec(&enriched).unwrap()] {
            let payload = journaled(&body);
            let event = Events::of(payload.payload()).next().unwrap().unwrap();
            let decoded = |format, mode| {
                let mut encoder = Encoder::new(mode).formatting(format);
                encoder.learn("topic", SchemaId(7));
                let record = encoder.encode("topic", &event, &envelope).unwrap();
                let headers: Vec<_> = record.headers().collect();
                let headers = Headers::from_iter(
                    headers.iter().map(|header| (header.name.to_str().unwrap(), header.value)),
                );
                Decoder::default()
                    .decode(&headers, record.value)
                    .unwrap_or_else(|error| panic!("{name} in {format:?}: {error}"))
            };
            let expected = decoded(Format::Keycloak, HeaderMode::CloudEvents);
            for format in Format::ALL.into_iter().filter(|format| *format != Format::Keycloak) {
                for mode in [HeaderMode::CloudEvents, HeaderMode::None] {
                    let found = decoded(format, mode);
                    assert_eq!(
                        (&found.id, &found.place, found.outcome),
                        (&expected.id, &expected.place, expected.outcome),
                        "{name} in {format:?}"
                    );
                    assert_eq!(
                        without_null(found.event),
                        without_null(expected.event.clone()),
                        "{name} in {format:?}"
                    );
                }
            }
        }
    }
}

/// What stands there for other readers is read here as well, gaps among it.
#[test]
fn nothing_that_the_agent_writes_is_refused() {
    for format in ["keycloak", "cloudevents", "ocsf", "ecs", "avro", "protobuf", "json-schema"] {
        for file in files(format) {
            let value = fs::read(&file).unwrap();
            let message = Decoder::default()
                .decode(&Headers::default(), &value)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let is_gap = file.file_stem().unwrap() == "org.keyferry.gap";
            assert_eq!(matches!(message.event, Event::Gap(_)), is_gap, "{}", file.display());
            assert!(message.id.is_some(), "{}", file.display());
        }
    }
}

/// A client that is called like what OCSF has in place of none.
#[test]
fn what_stands_in_for_a_name_is_not_taken_for_one() {
    let envelope =
        Envelope { node: "n", epoch: Epoch(7), outcome: keyferry_journal::Outcome::Committed, sequence: 1 };
    let admin = |event: &Value| event.get("operationType").is_some();
    for event in [
        json!({"type": "LOGIN", "clientId": "Keycloak"}),
        json!({"type": "LOGIN"}),
        json!({"type": "CLIENT_REGISTER", "clientId": "unknown"}),
        json!({"type": "CLIENT_REGISTER"}),
        json!({"operationType": "UPDATE", "resourceType": "REALM"}),
        json!({"operationType": "UPDATE", "resourceType": "REALM", "resourcePath": "REALM"}),
        json!({"operationType": "UPDATE", "resourceType": "REALM", "resourcePath": "unknown"}),
        json!({"operationType": "UPDATE", "resourcePath": "unknown"}),
    ] {
        let mut payload = EventEncoder::new();
        let kind = if admin(&event) { EventKind::Admin } else { EventKind::User };
        let of_type = event.get("type").or(event.get("operationType")).and_then(Value::as_str).unwrap();
        payload.push(kind, 7, &[(Field::Type, of_type)], &serde_json::to_vec(&event).unwrap());
        let journaled = Events::of(payload.payload()).next().unwrap().unwrap();
        let mut encoder = Encoder::new(HeaderMode::None).formatting(Format::Ocsf);
        let record = encoder.encode("topic", &journaled, &envelope).unwrap();
        let message = Decoder::default().decode(&Headers::default(), record.value).unwrap();
        let (client, path) = match &message.event {
            Event::User(event) => (event.client_id.as_deref(), None),
            Event::Admin(event) => (None, event.resource_path.as_deref()),
            Event::Gap(_) => panic!("no gap"),
        };
        assert_eq!((client, path), (event["clientId"].as_str(), event["resourcePath"].as_str()), "{event}");
    }
}
