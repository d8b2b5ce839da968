//! What an event costs on its way from the journal's reader to a record: whether it passes, what of it is not told, key and headers.

#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use keyferry_event::filter::Selection;
use keyferry_event::redaction::{FieldRules, HashKey, Preset};
use keyferry_event::{Encoder, Envelope, Filter, HeaderMode, Redaction};
use keyferry_journal::event::{EventEncoder, EventView, Events, Field};
use keyferry_journal::{Epoch, EventKind, Outcome};

/// A user event as Keycloak 26.7 writes it.
const BODY: &str = r#"{"id":"d0f6b7a5-3a53-4b1e-9a86-6f2f6f1c9a10","time":1761640463007,"type":"REFRESH_TOKEN","realmId":"5ac5b6f0-5b7c-4d2e-9a55-1e6f2f7a1c11","realmName":"shop","clientId":"web","userId":"4f1a9d3e-5b7c-4d2e-9a55-1234567890ab","sessionId":"Zb9w0m7oM2yQnq2b4U5u1p3K","ipAddress":"192.0.2.77","error":null,"details":{"token_id":"onrtrt:5bb7f1b1-0c3c-4c6e-8a3d-3f2f4e6c5a10","grant_type":"refresh_token","refresh_token_type":"Refresh","scope":"openid email profile","refresh_token_id":"0a4d6f0e-1de4-4c7e-8f2a-5a3b7c9d1e22","client_auth_method":"client-secret","username":"alice"}}"#;

/// The creation of a client, as Keycloak 26.7 writes it, which masks the secret in it.
const ADMIN_BODY: &str = include_str!("../../../testdata/events/keycloak/CLIENT.CREATE.json");

/// The payload of a PREPARE with the creation of a client, with the secret.
fn admin_payload() -> EventEncoder {
    let fields = [(Field::Id, "981463e6-7d84-4d87-80d8-909f76f29107"), (Field::ResourceType, "CLIENT")];
    let body = ADMIN_BODY.trim_end().replace("**********", "uJ6nVvQ2mY0b1r7c9Kx3");
    let mut events = EventEncoder::new();
    events.push(EventKind::Admin, 1_795_898_800_903, &fields, body.as_bytes());
    events
}

/// The payload of a PREPARE with the event.
fn payload() -> EventEncoder {
    let fields = [
        (Field::Id, "d0f6b7a5-3a53-4b1e-9a86-6f2f6f1c9a10"),
        (Field::Type, "REFRESH_TOKEN"),
        (Field::RealmId, "5ac5b6f0-5b7c-4d2e-9a55-1e6f2f7a1c11"),
        (Field::RealmName, "shop"),
        (Field::Client, "web"),
        (Field::UserId, "4f1a9d3e-5b7c-4d2e-9a55-1234567890ab"),
    ];
    let mut events = EventEncoder::new();
    events.push(EventKind::User, 1_761_640_463_007, &fields, BODY.as_bytes());
    events
}

fn filters(group: &mut BenchmarkGroup<'_, WallTime>, event: &EventView<'_>) {
    let everything = Selection::default();
    for (name, condition) in [
        (
            "filter, three fields",
            r#"realm in ["shop", "staff", "master"] && type != "CODE_TO_TOKEN_ERROR" && !(client ~ "test-*")"#,
        ),
        ("filter, a field inside the JSON", r#"details.username ~ "al*""#),
    ] {
        let filter = Filter::new(&everything, &everything, Some(&condition.parse().unwrap()));
        assert!(filter.passes(event), "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| filter.passes(black_box(event))));
    }
}

fn encoders(group: &mut BenchmarkGroup<'_, WallTime>, event: &EventView<'_>) {
    let plain = |mode| Encoder::new(mode).redacting(Redaction::none());
    let pseudonymous = Redaction::new(
        true,
        Some(Preset::GdprPseudonymous),
        &FieldRules::default(),
        HashKey::new(&[7; 32]).ok(),
    );
    for (name, mut encoder) in [
        ("encoder, no headers", plain(HeaderMode::None)),
        ("encoder, minimal headers", plain(HeaderMode::Minimal)),
        ("encoder, CloudEvents headers", plain(HeaderMode::CloudEvents)),
        ("encoder, secrets looked for", Encoder::new(HeaderMode::CloudEvents)),
        ("encoder, pseudonyms", Encoder::new(HeaderMode::CloudEvents).redacting(pseudonymous)),
    ] {
        encoding(group, name, &mut encoder, event);
    }
    let admin = admin_payload();
    let admin = Events::of(admin.payload()).next().unwrap().unwrap();
    encoding(group, "encoder, a secret masked", &mut Encoder::new(HeaderMode::CloudEvents), &admin);
}

fn encoding(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    encoder: &mut Encoder,
    event: &EventView<'_>,
) {
    let envelope = Envelope { node: "node", epoch: Epoch(7), outcome: Outcome::Committed, sequence: 4711 };
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let record = encoder.encode("events", black_box(event), &envelope).unwrap();
            record.size() + record.headers().count()
        });
    });
}

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args();
    let events = payload();
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Elements(1));
    group.bench_function("parser", |bencher| {
        bencher.iter(|| Events::of(black_box(events.payload())).next().unwrap().unwrap().time_ms());
    });
    let event = Events::of(events.payload()).next().unwrap().unwrap();
    filters(&mut group, &event);
    encoders(&mut group, &event);
    group.finish();
    criterion.final_summary();
}
