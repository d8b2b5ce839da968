//! What a consumer sees of an event.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ffi::CString;

use keyferry_event::{Encoder, Envelope, Format, Gap, GapReason, HeaderMode, Record, Routing, Span};
use keyferry_journal::event::{EventEncoder, Events, Field};
use keyferry_journal::{Epoch, EventKind, Outcome};
use proptest::prelude::*;

const ENVELOPE: Envelope<'static> =
    Envelope { node: "kc-1", epoch: Epoch(0x0006_447B_0D1A_2C00), outcome: Outcome::Committed, sequence: 42 };

/// A record taken apart: key, headers, value.
type Seen = (String, BTreeMap<String, String>, String);

fn seen(mode: HeaderMode, kind: EventKind, fields: &[(Field, &str)], envelope: &Envelope<'_>) -> Seen {
    let mut payload = EventEncoder::new();
    payload.push(kind, 1_761_640_463_007, fields, "{\"n\":\"ü\"}".as_bytes());
    let event = Events::of(payload.payload()).next().unwrap().unwrap();
    let mut encoder = Encoder::new(mode);
    let record = encoder.encode("topic", &event, envelope).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers =
        record.headers().map(|header| (header.name.to_str().unwrap().to_owned(), text(header.value)));
    (text(record.key), headers.collect(), text(record.value))
}

fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_login_carries_cloudevents_headers_around_untouched_json() {
    let fields = [
        (Field::Id, "e1"),
        (Field::Type, "LOGIN"),
        (Field::RealmId, "r1"),
        (Field::RealmName, "demo"),
        (Field::Client, "account"),
        (Field::UserId, "u1"),
        (Field::TraceParent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let (key, seen, value) = seen(HeaderMode::CloudEvents, EventKind::User, &fields, &ENVELOPE);
    assert_eq!(key, "u1");
    assert_eq!(value, "{\"n\":\"ü\"}");
    let expected = [
        ("ce_specversion", "1.0"),
        ("ce_id", "e1"),
        ("ce_source", "/realms/demo"),
        ("ce_type", "org.keycloak.event.LOGIN"),
        ("ce_time", "2025-10-28T08:34:23.007Z"),
        ("ce_subject", "u1"),
        ("content-type", "application/json"),
        ("ce_sequence", "00000000000000000042"),
        ("ce_partitionkey", "u1"),
        ("ce_traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("ce_node", "kc-1"),
        ("ce_epoch", "0006447b0d1a2c00"),
        ("ce_outcome", "committed"),
    ];
    assert_eq!(seen, headers(&expected));
}

#[test]
fn a_change_of_a_user_has_the_key_of_that_user_and_not_of_the_administrator() {
    let fields = [
        (Field::Type, "CREATE"),
        (Field::RealmId, "r1"),
        (Field::UserId, "administrator"),
        (Field::ResourceType, "REALM_ROLE_MAPPING"),
        (Field::ResourcePath, "users/u1/role-mappings/realm"),
    ];
    let unknown = Envelope { outcome: Outcome::Unknown, ..ENVELOPE };
    let (key, seen, _) = seen(HeaderMode::CloudEvents, EventKind::Admin, &fields, &unknown);
    assert_eq!(key, "u1");
    assert_eq!(seen["ce_subject"], "u1");
    assert_eq!(seen["ce_type"], "org.keycloak.admin.REALM_ROLE_MAPPING.CREATE");
    assert_eq!(seen["ce_source"], "/realms/r1");
    assert_eq!(seen["ce_outcome"], "unknown");
    assert_eq!(seen["ce_id"], "0006447b0d1a2c00-42", "an event without an id gets one that a copy has too");
}

#[test]
fn what_concerns_no_user_is_keyed_by_realm_and_resource() {
    let key = |kind, fields: &[(Field, &str)]| seen(HeaderMode::None, kind, fields, &ENVELOPE).0;
    let realm = (Field::RealmId, "r1");
    assert_eq!(key(EventKind::User, &[realm, (Field::Client, "app")]), "r1/app");
    assert_eq!(key(EventKind::Admin, &[realm, (Field::ResourcePath, "clients/c1")]), "r1/clients/c1");
    assert_eq!(key(EventKind::Admin, &[realm, (Field::ResourcePath, "users/profile")]), "r1/users/profile");
    assert_eq!(key(EventKind::User, &[]), "/");
}

#[test]
fn the_subject_is_the_user_whatever_the_key_is() {
    let fields = [(Field::RealmId, "r1"), (Field::UserId, "u1")];
    let mut payload = EventEncoder::new();
    payload.push(EventKind::User, 0, &fields, b"{}");
    let event = Events::of(payload.payload()).next().unwrap().unwrap();
    for (template, key) in [(None, "u1"), (Some("{realmId}"), "r1"), (Some("{realmId}/{userId}"), "r1/u1")] {
        let key_template = template.map(|template| template.parse().unwrap());
        let routing = Routing { topic: None, key: key_template };
        let mut encoder = Encoder::new(HeaderMode::CloudEvents).routing(routing);
        let record = encoder.encode("topic", &event, &ENVELOPE).unwrap();
        let value =
            |name: &std::ffi::CStr| record.headers().find(|header| header.name == name).unwrap().value;
        let seen = [record.key, value(c"ce_partitionkey"), value(c"ce_subject")];
        assert_eq!(seen, [key.as_bytes(), key.as_bytes(), b"u1"]);
    }
}

#[test]
fn a_time_is_that_of_its_event_whatever_came_before() {
    let mut encoder = Encoder::new(HeaderMode::CloudEvents);
    for (time_ms, text) in [
        (1_761_640_463_007, "2025-10-28T08:34:23.007Z"),
        (1_761_640_463_007, "2025-10-28T08:34:23.007Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (1_761_640_463_008, "2025-10-28T08:34:23.008Z"),
        (1_761_640_463_007, "2025-10-28T08:34:23.007Z"),
    ] {
        let mut payload = EventEncoder::new();
        payload.push(EventKind::User, time_ms, &[(Field::UserId, "u1")], b"{}");
        let event = Events::of(payload.payload()).next().unwrap().unwrap();
        let record = encoder.encode("topic", &event, &ENVELOPE).unwrap();
        let time = record.headers().find(|header| header.name == c"ce_time").unwrap();
        assert_eq!((time.value, record.timestamp_ms), (text.as_bytes(), time_ms));
    }
}

#[test]
fn headers_can_be_few_or_none() {
    let fields = [(Field::Id, "e1"), (Field::UserId, "u1")];
    let minimal = headers(&[
        ("ce_id", "e1"),
        ("ce_sequence", "00000000000000000042"),
        ("ce_node", "kc-1"),
        ("ce_epoch", "0006447b0d1a2c00"),
        ("ce_outcome", "committed"),
    ]);
    assert_eq!(seen(HeaderMode::Minimal, EventKind::User, &fields, &ENVELOPE).1, minimal);
    assert_eq!(seen(HeaderMode::None, EventKind::User, &fields, &ENVELOPE).1, headers(&[]));
}

/// Something that an encoder makes a record of.
#[derive(Clone, Debug)]
enum Made {
    Event { kind: EventKind, fields: Vec<(Field, String)>, time_ms: u64 },
    Gap,
}

/// How it is made: with which headers, and what is known beside it.
#[derive(Clone, Debug)]
struct Way {
    mode: HeaderMode,
    format: Format,
    node: String,
    epoch: Epoch,
    outcome: Outcome,
    sequence: u64,
}

/// Few values, so that often only one thing is another than in the record before.
fn way() -> impl Strategy<Value = Way> {
    let mode = prop::sample::select(vec![HeaderMode::CloudEvents, HeaderMode::Minimal, HeaderMode::None]);
    let format = prop::sample::select(vec![Format::Keycloak, Format::CloudEvents, Format::Ecs]);
    let node = prop::sample::select(vec!["kc-1", "kc-2", "kc-10", ""]);
    let outcome = prop::sample::select(vec![Outcome::Committed, Outcome::Unknown]);
    let sequence = prop::sample::select(vec![1, 2, 3, 9, 10, 99, 100, u64::MAX - 1, u64::MAX]);
    (mode, format, node, 1..3_u64, outcome, sequence).prop_map(
        |(mode, format, node, epoch, outcome, sequence)| Way {
            mode,
            format,
            node: node.to_owned(),
            epoch: Epoch(epoch),
            outcome,
            sequence,
        },
    )
}

fn made() -> impl Strategy<Value = Made> {
    let kind = prop::sample::select(vec![EventKind::User, EventKind::Admin]);
    let field = (prop::sample::select(Field::ALL.to_vec()), "[a-zü]{0,40}");
    let times = prop::sample::select(vec![0, 7, 999, 1_000, 1_761_640_463_007, u64::MAX]);
    let event = (kind, prop::collection::vec(field, 0..9), times).prop_map(|(kind, mut fields, time_ms)| {
        fields.sort();
        fields.dedup_by_key(|(field, _)| *field);
        Made::Event { kind, fields, time_ms }
    });
    prop_oneof![8 => event, 1 => Just(Made::Gap)]
}

/// All that a sink sees of a record: key, headers in their order, value, size.
type Described = (Vec<u8>, Vec<(CString, Vec<u8>)>, Vec<u8>, usize);

/// What a sink sees of the record that is made.
fn described(encoder: &mut Encoder, made: &Made, way: &Way) -> Described {
    encoder.set_mode(way.mode);
    encoder.set_format(way.format);
    let describe = |record: Record<'_>| {
        let headers = record.headers().map(|header| (header.name.to_owned(), header.value.to_vec()));
        (record.key.to_vec(), headers.collect(), record.value.to_vec(), record.size())
    };
    match made {
        Made::Gap => {
            let gap = Gap::new(GapReason::Damage, way.epoch, &way.node, "lost".to_owned());
            describe(encoder.encode_gap("topic", &gap, way.sequence, 5).unwrap())
        }
        Made::Event { kind, fields, time_ms } => {
            let fields: Vec<_> = fields.iter().map(|(field, value)| (*field, value.as_str())).collect();
            let mut payload = EventEncoder::new();
            payload.push(*kind, *time_ms, &fields, br#"{"type":"LOGIN"}"#);
            let event = Events::of(payload.payload()).next().unwrap().unwrap();
            let Way { node, epoch, outcome, sequence, .. } = way;
            let envelope = Envelope { node, epoch: *epoch, outcome: *outcome, sequence: *sequence };
            describe(encoder.encode("topic", &event, &envelope).unwrap())
        }
    }
}

proptest! {
    /// An encoder is reused, and keeps what records have in common: nothing of one that is no part of the next may stand in it, whatever comes after what.
    #[test]
    fn a_record_is_a_function_of_its_event(all in prop::collection::vec((made(), way()), 1..12), follow: bool) {
        let mut reused = Encoder::new(HeaderMode::CloudEvents);
        let mut last = 0;
        for (made, mut way) in all {
            // In a run of records each has the next number.
            if follow && last < u64::MAX {
                way.sequence = last + 1;
            }
            last = way.sequence;
            let fresh = described(&mut Encoder::new(HeaderMode::CloudEvents), &made, &way);
            prop_assert_eq!(described(&mut reused, &made, &way), fresh);
        }
    }
}

#[test]
fn a_gap_record_counts_like_any_other_and_says_what_is_missing() {
    let gap = Gap {
        user_events: Some(3),
        admin_events: Some(0),
        last_time: Some(1_761_640_463_007),
        commits: Some(Span { from: 4, to: 6 }),
        ..Gap::new(GapReason::MissingCommits, ENVELOPE.epoch, "kc-1", "three of \"them\"".to_owned())
    };
    assert!(gap.may_concern(EventKind::User) && !gap.may_concern(EventKind::Admin));
    let mut encoder = Encoder::new(HeaderMode::CloudEvents);
    let record = encoder.encode_gap("topic", &gap, 42, 7).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let seen = record.headers().map(|header| (header.name.to_str().unwrap().to_owned(), text(header.value)));
    let expected = [
        ("ce_specversion", "1.0"),
        ("ce_id", "0006447b0d1a2c00-42"),
        ("ce_source", "/keyferry/kc-1"),
        ("ce_type", "org.keyferry.gap"),
        ("ce_time", "2025-10-28T08:34:23.007Z"),
        ("content-type", "application/json"),
        ("ce_sequence", "00000000000000000042"),
        ("ce_partitionkey", "kc-1"),
        ("ce_node", "kc-1"),
        ("ce_epoch", "0006447b0d1a2c00"),
    ];
    assert_eq!(seen.collect::<BTreeMap<_, _>>(), headers(&expected));
    assert_eq!((record.key, record.timestamp_ms), (&b"kc-1"[..], 1_761_640_463_007));
    assert_eq!(
        text(record.value),
        r#"{"type":"KEYFERRY_GAP","cause":"missing-commits","node":"kc-1","epoch":"0006447b0d1a2c00","userEvents":3,"adminEvents":0,"firstTime":null,"lastTime":1761640463007,"commits":{"from":4,"to":6},"sequences":null,"detail":"three of \"them\""}"#
    );
    assert_eq!(serde_json::from_slice::<Gap>(record.value).unwrap(), gap);
}

#[test]
fn an_event_that_an_operator_has_had_published_stays_in_doubt() {
    let (_, seen, _) = seen(HeaderMode::Minimal, EventKind::User, &[(Field::Outcome, "unknown")], &ENVELOPE);
    assert_eq!(seen["ce_outcome"], "unknown");
}
