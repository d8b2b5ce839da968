//! What the agent's encoder writes, the client reads.
#![allow(clippy::unwrap_used)]

use keyferry_client::{AdminEvent, Decoder, Event, GapRecord, Headers, Message, Outcome, UserEvent};
use keyferry_event::{Encoder, Envelope, Format, Gap, GapReason, HeaderMode};
use keyferry_journal::event::{EventEncoder, Events, Field};
use keyferry_journal::{Epoch, EventKind};
use proptest::prelude::*;
use serde_json::{Map, Value};

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

    fn event(self) -> Event {
        match self {
            Self::User(event) => Event::User(event.into()),
            Self::Admin(event) => Event::Admin(event.into()),
        }
    }
}

/// What the client makes of the record that the agent makes.
fn carried(written: &Written, format: Format, mode: HeaderMode, envelope: &Envelope<'_>) -> Message {
    let json = written.json();
    let mut payload = EventEncoder::new();
    payload.push(written.kind(), 7, &written.fields(), &json);
    let event = Events::of(payload.payload()).next().unwrap().unwrap();
    let mut encoder = Encoder::new(mode).formatting(format);
    let record = encoder.encode("topic", &event, envelope);
    let headers: Vec<_> = record.headers().collect();
    let headers =
        Headers::from_iter(headers.iter().map(|header| (header.name.to_str().unwrap(), header.value)));
    Decoder::default().decode(&headers, record.value).unwrap()
}

proptest! {
    #[test]
    fn an_event_comes_back_as_it_was(
        written in prop_oneof![user_event(), admin_event()],
        format in prop_oneof![Just(Format::Keycloak), Just(Format::CloudEvents)],
        mode in prop_oneof![Just(HeaderMode::CloudEvents), Just(HeaderMode::Minimal), Just(HeaderMode::None)],
        sequence in 1..u64::MAX,
        epoch in any::<u64>(),
        is_known in any::<bool>(),
    ) {
        let outcome = if is_known { keyferry_journal::Outcome::Committed } else { keyferry_journal::Outcome::Unknown };
        let envelope = Envelope { node: "kc-1", epoch: Epoch(epoch), outcome, sequence };
        let message = carried(&written, format, mode, &envelope);
        let told = message.place.as_ref().map(|place| (place.node.as_str(), place.epoch.0, place.sequence));
        // A structured CloudEvent says everything itself.
        if mode == HeaderMode::None && format == Format::Keycloak {
            prop_assert_eq!((told, message.outcome), (None, Outcome::Untold));
        } else {
            prop_assert_eq!(told, Some(("kc-1", epoch, sequence)));
            prop_assert_eq!(message.outcome, if is_known { Outcome::Committed } else { Outcome::Unknown });
            prop_assert!(message.id.is_some());
        }
        prop_assert_eq!(message.event, written.event());
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
    for (format, mode) in [Format::Keycloak, Format::CloudEvents]
        .into_iter()
        .flat_map(|format| modes.map(|mode| (format, mode)))
    {
        let mut encoder = Encoder::new(mode).formatting(format);
        let record = encoder.encode_gap("topic", &gap, 7, 1);
        let headers: Vec<_> = record.headers().collect();
        let headers =
            Headers::from_iter(headers.iter().map(|header| (header.name.to_str().unwrap(), header.value)));
        let message = Decoder::default().decode(&headers, record.value).unwrap();
        assert_eq!(message.place.is_some(), mode != HeaderMode::None || format == Format::CloudEvents);
        assert_eq!(message.outcome, Outcome::Untold);
        let Event::Gap(told) = message.event else { panic!("no gap record") };
        let GapRecord { cause, node, user_events, admin_events, last_time, sequences, detail, .. } = *told;
        assert_eq!((&*cause, &*node, &*detail), ("dropped-old", "kc-1", "the ceiling"));
        assert_eq!((user_events, admin_events, last_time), (Some(3), None, Some(9)));
        assert_eq!(sequences.map(|span| (span.from, span.to)), Some((4, 6)));
    }
}
