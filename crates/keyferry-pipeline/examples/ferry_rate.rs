//! How many events pass the pipeline in a second of processor time, from a journal in memory to a sink that takes everything at once: what there is besides disk and
//! network, whatever else the machine does meanwhile.
//!
//! `cargo xtask cost-of-metrics` runs it with and without the feature `metrics`, one after the other, and compares. An argument names another case than that of user events with nothing configured:
//! `filter` and `filter-details` (conditions on fields beside the JSON, and in it), `secrets` (admin events with a client's representation, in which secrets are masked), `pseudonyms` (user events
//! under the preset `gdpr-pseudonymous`), `none` (user events, nothing searched), `cloudevents`, `ocsf`, `ecs`, `avro`, `protobuf`, `json-schema` (user events in these formats). With a number behind it, so many events pass once and nothing is said: for
//! `cargo xtask instructions`.

#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use keyferry_event::filter::Selection;
use keyferry_event::redaction::{FieldRules, HashKey, Preset};
use keyferry_event::{Content, Filter, Format, HeaderMode, NullSink, Redaction, SchemaId, SchemaIds, Topics};
use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{EventKind, Feed, FeedOptions, MemoryStorage, Writer};
use keyferry_pipeline::schemas::NoSchemas;
use keyferry_pipeline::{
    Credit, InDoubt, Nowhere, Pipeline, Retention, Settings, Start, SystemClock, backpressure, breaker,
};
use rustix::time::{ClockId, clock_gettime};

const EVENTS: u64 = 200_000;
/// Where user events go.
const TOPIC: &str = "events";
/// Types in the order of a session: a realm's load is a mix of few.
const TYPES: [&str; 6] =
    ["LOGIN", "CODE_TO_TOKEN", "REFRESH_TOKEN", "REFRESH_TOKEN", "LOGOUT", "LOGIN_ERROR"];
const REALMS: [&str; 3] = ["shop", "staff", "master"];

/// A user event as Keycloak 26.7 writes it.
const USER_EVENT: &str = r#"{"id":"d0f6b7a5-3a53-4b1e-9a86-6f2f6f1c9a10","time":1761640463007,"type":"REFRESH_TOKEN","realmId":"5ac5b6f0-5b7c-4d2e-9a55-1e6f2f7a1c11","realmName":"shop","clientId":"web","userId":"4f1a9d3e-5b7c-4d2e-9a55-1234567890ab","sessionId":"Zb9w0m7oM2yQnq2b4U5u1p3K","ipAddress":"192.0.2.77","error":null,"details":{"token_id":"onrtrt:5bb7f1b1-0c3c-4c6e-8a3d-3f2f4e6c5a10","grant_type":"refresh_token","refresh_token_type":"Refresh","access_token_expiration_time":"60","updated_refresh_token_id":"9c1f7c58-8c4f-47a1-a9a3-0d6f2a6b7c33","scope":"openid email profile","age_of_refresh_token":"2","refresh_token_id":"0a4d6f0e-1de4-4c7e-8f2a-5a3b7c9d1e22","client_auth_method":"client-secret","username":"alice"}}"#;

/// An admin event with the representation of a client, as Keycloak 26.7 writes it.
const ADMIN_EVENT: &str = r#"{"id":"77fd1c0e-2c06-4e53-a6f3-24fb9f1b5f55","time":1761640463007,"realmId":"5ac5b6f0-5b7c-4d2e-9a55-1e6f2f7a1c11","realmName":"shop","authDetails":{"realmId":"1f2f7a1c","realmName":"master","clientId":"b3a4","userId":"9a55-1e6f","ipAddress":"192.0.2.77"},"resourceType":"CLIENT","operationType":"CREATE","resourcePath":"clients/3e0e0b64-8d2a-41bb-a9f0-6d2f0a1c7d10","representation":"{\"clientId\":\"reporting\",\"name\":\"Reports\",\"description\":\"\",\"surrogateAuthRequired\":false,\"enabled\":true,\"alwaysDisplayInConsole\":false,\"clientAuthenticatorType\":\"client-secret\",\"secret\":\"uJ6nVvQ2mY0b1r7c9Kx3\",\"redirectUris\":[\"https://reports.example.org/*\"],\"webOrigins\":[\"+\"],\"notBefore\":0,\"bearerOnly\":false,\"consentRequired\":false,\"standardFlowEnabled\":true,\"implicitFlowEnabled\":false,\"directAccessGrantsEnabled\":false,\"serviceAccountsEnabled\":true,\"publicClient\":false,\"frontchannelLogout\":true,\"protocol\":\"openid-connect\",\"attributes\":{\"oidc.ciba.grant.enabled\":\"false\",\"backchannel.logout.session.required\":\"true\",\"client.secret.creation.time\":\"1761640463\",\"oauth2.device.authorization.grant.enabled\":\"false\"},\"fullScopeAllowed\":true,\"nodeReRegistrationTimeout\":-1,\"defaultClientScopes\":[\"web-origins\",\"acr\",\"roles\",\"profile\",\"basic\",\"email\"],\"optionalClientScopes\":[\"address\",\"phone\",\"offline_access\",\"microprofile-jwt\"]}","error":null,"details":null,"resourceTypeAsString":"CLIENT","resourceId":"3e0e0b64-8d2a-41bb-a9f0-6d2f0a1c7d10"}"#;

/// What passes the pipeline, and what is done to it.
struct Case {
    kind: EventKind,
    content: Content,
}

impl Case {
    fn named(name: &str) -> Self {
        let user = |content| Self { kind: EventKind::User, content };
        let filtered = |text: &str| {
            let everything = Selection::default();
            let condition = text.parse().unwrap();
            let filter = Filter::new(&everything, &everything, Some(&condition));
            user(Content { filter, ..Content::default() })
        };
        let redacted = |redaction| Content { redaction, ..Content::default() };
        let formatted = |format| {
            let mut schema_ids = SchemaIds::default();
            schema_ids.learn(TOPIC, SchemaId(1));
            Content { format, schema_ids, ..Content::default() }
        };
        match name {
            "default" => user(Content::default()),
            "none" => user(redacted(Redaction::none())),
            "filter" => filtered(
                r#"realm in ["shop", "staff", "master"] && type != "CODE_TO_TOKEN_ERROR" && !(client ~ "test-*")"#,
            ),
            "filter-details" => filtered(r#"details.username ~ "al*""#),
            "secrets" => Self { kind: EventKind::Admin, content: Content::default() },
            "pseudonyms" => {
                let key = HashKey::new(&[7; 32]).ok();
                user(redacted(Redaction::new(
                    true,
                    Some(Preset::GdprPseudonymous),
                    &FieldRules::default(),
                    key,
                )))
            }
            "cloudevents" => user(formatted(Format::CloudEvents)),
            "ocsf" => user(formatted(Format::Ocsf)),
            "ecs" => user(formatted(Format::Ecs)),
            "avro" => user(formatted(Format::Avro)),
            "protobuf" => user(formatted(Format::Protobuf)),
            "json-schema" => user(formatted(Format::JsonSchema)),
            _ => panic!("there is no case {name}"),
        }
    }
}

fn journal(kind: EventKind, events: u64) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let clock: fn() -> u64 = || SystemClock::start().read().wall_ms;
    let options = WriterOptions { node: "node".to_owned(), segment_size: 64 << 20 };
    let mut writer = Writer::begin(storage.clone(), 0, clock, options).unwrap();
    let body = match kind {
        EventKind::User => USER_EVENT,
        EventKind::Admin => ADMIN_EVENT,
    };
    for number in 0..events as usize {
        let (id, user) = (format!("{number:036}"), format!("{:036}", number % 977));
        let fields = [
            (Field::Id, id.as_str()),
            (Field::Type, TYPES[number % TYPES.len()]),
            (Field::RealmId, "5ac5b6f0-5b7c-4d2e-9a55-1e6f2f7a1c11"),
            (Field::RealmName, REALMS[number % REALMS.len()]),
            (Field::Client, "web"),
            (Field::UserId, user.as_str()),
        ];
        let mut events = EventEncoder::new();
        events.push(kind, 1, &fields, body.as_bytes());
        let transaction = writer.next_transaction();
        writer.prepare(transaction, events.payload()).unwrap();
        writer.commit(transaction).unwrap();
    }
    storage
}

fn settings(content: &Content) -> Settings {
    Settings {
        topics: Topics { events: Some(TOPIC.to_owned()), admin_events: Some("admin".to_owned()) },
        content: content.clone(),
        headers: HeaderMode::CloudEvents,
        in_doubt: InDoubt::Publish,
        dead_letter_topic: None,
        gap_records: true,
        settle_delay: Duration::ZERO,
        ceiling: None,
        // What is delivered stays, so that it can be delivered again.
        retention: Retention { keep: Duration::MAX, keep_bytes: None },
        credit: Credit { bytes: 24 << 20, records: 20_000 },
        delivery_timeout: Duration::from_secs(120),
        breaker: breaker::Settings::default(),
        backpressure: backpressure::Settings::default(),
        low_priority: keyferry_pipeline::LowPriority::default(),
        controls: Arc::default(),
        meter: Arc::default(),
        schemas: Arc::new(NoSchemas),
        seed: 1,
    }
}

/// Carries every event of a journal. `cargo xtask instructions` counts what it takes, and finds it by its name.
#[inline(never)]
fn one_pass(storage: &MemoryStorage, content: &Content, events: u64) {
    let feed = Feed::open(storage.clone(), None, FeedOptions::default()).unwrap();
    let mut pipeline =
        Pipeline::new(feed, Start::anew("rate"), NullSink::default(), Nowhere, settings(content));
    let clock = SystemClock::start();
    let mut published = 0;
    while published < events {
        let now = clock.read();
        pipeline.turn(now).unwrap();
        published = pipeline.report(now).published;
    }
}

/// Events a second of processor time.
fn rate(storage: &MemoryStorage, content: &Content) -> f64 {
    let begun = processor_time();
    one_pass(storage, content, EVENTS);
    EVENTS as f64 / (processor_time() - begun).as_secs_f64()
}

fn best_rate(case: &Case) -> f64 {
    let storage = journal(case.kind, EVENTS);
    // The first time fills caches and predictors.
    rate(&storage, &case.content);
    let rates = (0..5).map(|_| rate(&storage, &case.content));
    rates.fold(0.0, f64::max)
}

fn processor_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap())
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let case = Case::named(&arguments.next().unwrap_or_else(|| "default".to_owned()));
    match arguments.next() {
        None => println!("{:.0}", best_rate(&case)),
        Some(events) => {
            let events = events.parse().unwrap();
            one_pass(&journal(case.kind, events), &case.content, events);
        }
    }
}
