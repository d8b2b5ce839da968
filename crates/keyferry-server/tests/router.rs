//! What is answered to which question; no socket.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use keyferry_server::audit::Peer;
use keyferry_server::configuration::{Proposal, Wish};
use keyferry_server::model::State;
use keyferry_server::router::{document, router};
use keyferry_server::{Caller, Configuration as _, Role};
use serde_json::{Value, json};
use support::{Fake, FakeConfiguration, LINGER, shipment};
use tower::ServiceExt as _;

/// What came back.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    media_type: String,
    allow: Option<String>,
    body: Value,
}

/// As an admin, if nobody else is said to ask.
fn ask(agent: &Arc<Fake>, mut request: Request<Body>) -> Answer {
    if request.extensions().get::<Caller>().is_none() {
        request.extensions_mut().insert(caller(Role::Admin));
    }
    ask_as_it_is(agent, request)
}

fn caller(role: Role) -> Caller {
    Caller { who: Peer::Token("ops".into()), role }
}

fn ask_as_it_is(agent: &Arc<Fake>, request: Request<Body>) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let response = router(Arc::clone(agent) as _).oneshot(request).await.unwrap();
        let header = |name| Some(response.headers().get(name)?.to_str().unwrap().to_owned());
        let (status, media_type, allow) =
            (response.status(), header(header::CONTENT_TYPE).unwrap_or_default(), header(header::ALLOW));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = if media_type == "text/plain" {
            Value::String(String::from_utf8(body.to_vec()).unwrap())
        } else {
            serde_json::from_slice(&body).unwrap_or_else(|_| panic!("no JSON: {body:?}"))
        };
        Answer { status, media_type, allow, body }
    })
}

fn get(agent: &Arc<Fake>, path: &str) -> Answer {
    ask(agent, Request::get(path).body(Body::empty()).unwrap())
}

fn send(agent: &Arc<Fake>, method: Method, path: &str, body: &str) -> Answer {
    let request =
        Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
    ask(agent, request.body(Body::from(body.to_owned())).unwrap())
}

fn put(agent: &Arc<Fake>, path: &str, body: &Value) -> Answer {
    send(agent, Method::PUT, path, &body.to_string())
}

/// That it is a problem of this kind and names what is wrong.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, kind: &str, names: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.media_type, "application/problem+json");
    assert_eq!(answer.body["type"], format!("urn:keyferry:problem:{kind}"));
    assert_eq!(answer.body["status"], status);
    assert!(!answer.body["title"].as_str().unwrap().is_empty());
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains(names), "{detail:?} does not name {names:?}");
}

fn two_destinations() -> Arc<Fake> {
    Arc::new(Fake::shipping([
        shipment("siem", "slot-1", State::Idle),
        shipment("siem", "slot-0", State::Blocked),
        shipment("default", "slot-0", State::Delivering),
    ]))
}

#[test]
fn the_status_has_every_destination_with_its_slots_in_order() {
    let answer = get(&two_destinations(), "/api/v1/status");
    assert_eq!((answer.status, answer.media_type.as_str()), (StatusCode::OK, "application/json"));
    let status = answer.body;
    assert_eq!(
        (&status["agent"], &status["pid"], &status["started"]),
        (&json!("0.0.0"), &json!(1), &json!(2))
    );
    let names: Vec<_> = status["destinations"].as_array().unwrap().iter().map(|each| &each["name"]).collect();
    assert_eq!(names, ["default", "siem"]);
    let siem = &status["destinations"][1];
    assert_eq!(siem["state"], "blocked", "the worst of its slots'");
    assert_eq!((&siem["slots"][0]["slot"], &siem["slots"][1]["slot"]), (&json!("slot-0"), &json!("slot-1")));
    assert_eq!(siem["slots"][0]["counts"]["published"], 7);
    assert_eq!(get(&two_destinations(), "/api/v1/destinations").body, status["destinations"]);
    assert_eq!(get(&two_destinations(), "/api/v1/destinations/siem").body, *siem);
}

#[test]
fn ready_is_an_agent_that_delivers_to_all() {
    let ready = |agent: Fake| get(&Arc::new(agent), "/readyz");
    for state in [State::Idle, State::Delivering] {
        let answer = ready(Fake::shipping([shipment("default", "slot-0", state)]));
        assert_eq!((answer.status, &answer.body["status"]), (StatusCode::OK, &json!("ready")), "{state}");
    }
    for state in [State::Blocked, State::Draining, State::Stopped, State::Waiting] {
        let others = shipment("default", "slot-0", State::Idle);
        let answer = ready(Fake::shipping([others, shipment("siem", "slot-0", state)]));
        assert_problem(&answer, 503, "not-ready", &format!("siem is {state}"));
    }
    let blocked = ready(Fake::shipping([shipment("default", "slot-0", State::Blocked)]));
    assert_problem(&blocked, 503, "not-ready", "nobody answers");
    let waiting = Fake { waiting: Some("bootstrap-servers is missing".to_owned()), ..Fake::default() };
    assert_problem(&ready(waiting), 503, "not-ready", "bootstrap-servers is missing");
    let mut adopted = shipment("default", "slot-1", State::Stopped);
    adopted.delivery.adopted = true;
    assert_eq!(ready(Fake::shipping([adopted])).status, StatusCode::OK, "an adopted slot that was let go of");
    assert_eq!(ready(Fake::default()).status, StatusCode::OK, "nothing is there to be delivered");
}

#[test]
fn alive_is_an_agent_that_delivers_nothing() {
    let agent = Arc::new(Fake::shipping([shipment("default", "slot-0", State::Blocked)]));
    assert_eq!(get(&agent, "/healthz").body, json!({ "status": "alive" }));
}

/// Who changes the configuration with a condition.
fn patch(agent: &Arc<Fake>, query: &str, expected: Option<&str>, value: &str) -> Answer {
    let request =
        Request::patch(format!("/api/v1/config{query}")).header(header::CONTENT_TYPE, "application/json");
    let request = match expected {
        Some(tag) => request.header(header::IF_MATCH, tag),
        None => request,
    };
    ask(agent, request.body(Body::from(json!({ LINGER: value }).to_string())).unwrap())
}

#[test]
fn a_change_of_the_configuration_is_made_of_the_version_that_was_seen_or_not_at_all() {
    let agent = Arc::new(Fake { configuration: Some(FakeConfiguration::default()), ..Fake::default() });
    let seen = get(&agent, "/api/v1/config").body;
    assert_eq!((&seen["version"]["version"], &seen["version"]["hash"]), (&json!(1), &json!("hash1")));
    let planned = patch(&agent, "?dry_run=true", Some("\"hash1\""), "5ms");
    assert_eq!((planned.status, &planned.body["outcome"]), (StatusCode::OK, &json!("planned")));
    let made = patch(&agent, "", Some("\"hash1\""), "5ms");
    assert_eq!(
        (made.status, &made.body["outcome"], &made.body["version"]),
        (StatusCode::OK, &json!("committed"), &json!(2))
    );
    assert_problem(&patch(&agent, "", Some("\"hash1\""), "6ms"), 412, "stale", LINGER);
    for whichever in [None, Some("*")] {
        assert_eq!(patch(&agent, "", whichever, "7ms").status, StatusCode::OK, "{whichever:?}");
    }
    let lingers = agent.configuration.as_ref().unwrap().linger.lock().unwrap().clone();
    assert_eq!(lingers, ["5ms", "7ms", "7ms"]);
}

#[test]
fn a_change_for_all_nodes_is_announced_and_what_they_run_is_told() {
    let agent = Arc::new(Fake { configuration: Some(FakeConfiguration::default()), ..Fake::default() });
    let body = json!({ LINGER: "5ms" }).to_string();
    let planned = send(&agent, Method::PATCH, "/api/v1/config/nodes?dry_run=true", &body);
    assert_eq!((planned.status, &planned.body["outcome"]), (StatusCode::OK, &json!("planned")));
    let announced = send(&agent, Method::PATCH, "/api/v1/config/nodes", &body);
    assert_eq!(
        (announced.status, &announced.body["outcome"], &announced.body["change"]),
        (StatusCode::OK, &json!("announced"), &json!("c1"))
    );
    let unknown = send(&agent, Method::PATCH, "/api/v1/config/nodes", r#"{"lingr": "1ms"}"#);
    assert_problem(&unknown, 422, "invalid", "lingr");
    let nodes = get(&agent, "/api/v1/config/nodes").body;
    assert_eq!((&nodes["topic"], &nodes["values"]), (&json!("config"), &json!({ LINGER: null })));
    assert_problem(&get(&two_destinations(), "/api/v1/config/nodes"), 409, "not-now", "no configuration yet");
}

#[test]
fn a_change_that_is_refused_says_why_and_one_that_takes_long_can_be_asked_after() {
    let agent = Arc::new(Fake { configuration: Some(FakeConfiguration::default()), ..Fake::default() });
    assert_problem(&patch(&agent, "", None, "broken"), 409, "not-now", LINGER);
    let unknown = send(&agent, Method::PATCH, "/api/v1/config", r#"{"lingr": "1ms"}"#);
    assert_problem(&unknown, 422, "invalid", "lingr");
    let no_map = send(&agent, Method::PATCH, "/api/v1/config", r#"{"destination": {"delivery": {}}}"#);
    assert_problem(&no_map, 422, "malformed", "");
    let no_version = send(&agent, Method::POST, "/api/v1/config/rollback", r#"{"version": 9}"#);
    assert_problem(&no_version, 422, "invalid", "no such version");
    assert_problem(&get(&agent, "/api/v1/config/diff?from=1&to=9"), 422, "invalid", "no version 9");
    assert_problem(&get(&agent, "/api/v1/config/diff"), 400, "malformed", "");
    assert_problem(&patch(&agent, "?dry_run=perhaps", None, "1ms"), 400, "malformed", "");
    assert_problem(&get(&agent, "/api/v1/config/changes/99"), 422, "invalid", "99");
    let ticket = agent.configuration.as_ref().unwrap().submit(Proposal {
        author: "ada".to_owned(),
        wish: Wish::Set([(LINGER.to_owned(), Some("slow".to_owned()))].into()),
        expected: None,
        dry_run: false,
    });
    let slow = get(&agent, &format!("/api/v1/config/changes/{ticket}"));
    assert_eq!(
        (slow.status, &slow.body["outcome"], &slow.body["ticket"]),
        (StatusCode::ACCEPTED, &json!("trying"), &json!(ticket))
    );
    assert_problem(&get(&two_destinations(), "/api/v1/config"), 409, "not-now", "no configuration yet");
}

#[test]
fn each_aspect_is_told_slot_by_slot() {
    let agent = two_destinations();
    for (aspect, field, value) in [
        ("backlog", "bytes", json!(42)),
        ("breaker", "mode", json!("auto")),
        ("tuner", "profile", json!("auto")),
        ("pool", "generation", json!(1)),
    ] {
        let body = get(&agent, &format!("/api/v1/destinations/siem/{aspect}")).body;
        assert_eq!(body["destination"], "siem");
        let slots: Vec<_> =
            body["slots"].as_array().unwrap().iter().map(|each| (&each["slot"], &each[field])).collect();
        assert_eq!(slots, [(&json!("slot-0"), &value), (&json!("slot-1"), &value)], "{aspect}");
        let one = get(&agent, &format!("/api/v1/destinations/siem/{aspect}?slot=slot-1")).body;
        assert_eq!(one["slots"], json!([body["slots"][1]]));
    }
}

#[test]
fn a_change_is_made_for_every_slot_that_is_meant_and_answered_with_the_new_state() {
    let agent = two_destinations();
    let path = "/api/v1/destinations/siem";
    let answer = put(&agent, &format!("{path}/breaker"), &json!({ "mode": "open" }));
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        (&answer.body["slots"][0]["mode"], &answer.body["slots"][1]["mode"]),
        (&json!("open"), &json!("open"))
    );
    assert_eq!(agent.asked(), ["slot-0 siem: breaker open", "slot-1 siem: breaker open"]);
    let one = put(&agent, &format!("{path}/tuner/frozen?slot=slot-1"), &json!({ "frozen": true }));
    assert_eq!(one.body["slots"], json!([one.body["slots"][0]]));
    assert_eq!(
        (&one.body["slots"][0]["slot"], &one.body["slots"][0]["frozen"]),
        (&json!("slot-1"), &json!(true))
    );
    let profile = put(&agent, &format!("{path}/tuner/profile"), &json!({ "profile": "latency" }));
    assert_eq!(profile.body["slots"][0]["profile"], "latency");
    let by_hand = json!({ "linger_ms": 3, "compression": "zstd" });
    let overrides = put(&agent, &format!("{path}/tuner/overrides"), &by_hand);
    assert_eq!(overrides.body["slots"][0]["overrides"], by_hand);
    let released = put(&agent, &format!("{path}/tuner/overrides"), &json!({}));
    assert_eq!(released.body["slots"][0]["overrides"], json!({}));
    let pool = put(&agent, &format!("{path}/pool/size"), &json!({ "connections": 3 }));
    assert_eq!(pool.body["slots"][0]["size"], 3);
    let reconnected = send(&agent, Method::POST, &format!("{path}/pool/reconnect"), "");
    assert_eq!(reconnected.body["slots"][0]["generation"], 2);
    let other = get(&agent, "/api/v1/destinations/default/breaker").body;
    assert_eq!(other["slots"][0]["mode"], "auto", "the other destination is not concerned");
}

#[test]
fn what_is_wrong_is_named() {
    let agent = two_destinations();
    let breaker = "/api/v1/destinations/siem/breaker";
    assert_problem(&get(&agent, "/api/v2/status"), 404, "not-found", "openapi.json");
    let unknown = get(&agent, "/api/v1/destinations/nowhere/breaker");
    assert_problem(&unknown, 404, "not-found", "\"nowhere\"");
    assert_problem(&unknown, 404, "not-found", "default of slot-0");
    assert_problem(&get(&agent, &format!("{breaker}?slot=slot-9")), 404, "not-found", "slot-9");
    assert_problem(&get(&agent, &format!("{breaker}?colour=red")), 400, "malformed", "colour");
    assert_problem(&put(&agent, breaker, &json!({ "mode": "ajar" })), 422, "malformed", "ajar");
    assert_problem(&put(&agent, breaker, &json!({ "mode": "open", "more": 1 })), 422, "malformed", "more");
    assert_problem(&send(&agent, Method::PUT, breaker, "{"), 400, "malformed", "JSON");
    assert_problem(&send(&agent, Method::PUT, breaker, &"x".repeat(20 << 10)), 413, "malformed", "limit");
    let no_type = Request::put(breaker).body(Body::from("{}")).unwrap();
    assert_problem(&ask(&agent, no_type), 415, "malformed", "application/json");
    let deleted = send(&agent, Method::DELETE, breaker, "");
    assert_problem(&deleted, 405, "method-not-allowed", "Allow");
    let allowed: BTreeSet<_> = deleted.allow.as_deref().unwrap().split(',').collect();
    assert_eq!(allowed, BTreeSet::from(["GET", "HEAD", "PUT"]));
    let too_many = put(&agent, "/api/v1/destinations/siem/pool/size", &json!({ "connections": 1_000 }));
    assert_problem(&too_many, 422, "invalid", "from 1 to 4");
    assert_eq!(agent.asked(), ["slot-0 siem: pool resize 1000"], "the first refusal is the last word");
}

#[test]
fn a_change_that_is_not_possible_now_is_a_conflict() {
    /// Ships what it can be told nothing of any more.
    struct Leaving(Fake);
    impl keyferry_server::Agent for Leaving {
        fn about(&self) -> keyferry_server::model::About {
            self.0.about()
        }
        fn shipments(&self) -> Vec<keyferry_server::model::Shipment> {
            self.0.shipments()
        }
        fn metrics(&self, accept: &str) -> keyferry_server::Exposition {
            self.0.metrics(accept)
        }
        fn change(
            &self,
            _: &str,
            _: &str,
            _: &keyferry_server::Change,
        ) -> Result<(), keyferry_server::Refusal> {
            Err(keyferry_server::Refusal::NotNow("the slot was let go of".to_owned()))
        }
    }
    let agent = Leaving(Fake::shipping([shipment("default", "slot-0", State::Draining)]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let request =
        Request::post("/api/v1/destinations/default/pool/reconnect").extension(caller(Role::Operator));
    let request = request.body(Body::empty()).unwrap();
    let response = runtime.block_on(router(Arc::new(agent)).oneshot(request)).unwrap();
    assert_eq!(response.status(), StatusCode::CONFLICT);
}

#[test]
fn the_log_tells_who_changed_what_and_what_was_refused() {
    let agent = two_destinations();
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let peer = Peer::Process { uid: 1234, pid: Some(5678) };
    tracing::subscriber::with_default(subscriber, || {
        for body in [r#"{"connections":2}"#, r#"{"connections":9}"#] {
            let request = Request::put("/api/v1/destinations/default/pool/size")
                .extension(Caller { who: peer.clone(), role: Role::Admin })
                .header(header::CONTENT_TYPE, "application/json");
            ask(&agent, request.body(Body::from(body)).unwrap());
        }
        get(&agent, "/api/v1/status");
    });
    let log = log.text();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains("INFO") && lines[1].contains("WARN"), "{log}");
    for line in &lines {
        assert!(line.contains("uid 1234 (process 5678)") && line.contains("default of slot-0"), "{line}");
    }
    assert!(lines[0].contains("pool resize 2"), "{log}");
    assert!(lines[1].contains("refused pool resize 9") && lines[1].contains("from 1 to 4"), "{log}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Written anew with `KEYFERRY_DOCS=write`.
#[test]
fn the_document_is_the_one_that_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let generated = document().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("KEYFERRY_DOCS").is_some_and(|what| what == "write") {
        std::fs::write(path, &generated).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(
        kept == generated,
        "docs/openapi.json is stale: KEYFERRY_DOCS=write cargo test -p keyferry-server"
    );
    let served = get(&two_destinations(), "/api/v1/openapi.json");
    assert_eq!(served.media_type, "application/json");
    assert_eq!(served.body, serde_json::from_str::<Value>(&generated).unwrap());
}

#[test]
fn every_answer_is_one_that_the_document_has() {
    let document: Value = serde_json::to_value(document()).unwrap();
    let responses = |path: &str, method: &str| -> BTreeSet<String> {
        let responses = &document["paths"][path][method]["responses"];
        responses.as_object().unwrap_or_else(|| panic!("{method} {path}")).keys().cloned().collect()
    };
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            // The stream has no end: see tests/page.rs.
            if path.ends_with("/stream") {
                continue;
            }
            let verb: Method = method.to_uppercase().parse().unwrap();
            for name in ["siem", "nowhere"] {
                for query in ["", "?slot=slot-9", "?colour=red"] {
                    for body in ["", "{}", "[", r#"{"mode":"open"}"#, r#"{"connections":9}"#] {
                        let target = path.replace("{name}", name) + query;
                        let answer = send(&two_destinations(), verb.clone(), &target, body);
                        let status = answer.status.as_u16().to_string();
                        assert!(
                            responses(path, method).contains(&status),
                            "{method} {target} {body}: {answer:?}"
                        );
                    }
                }
            }
        }
    }
}

/// Every operation of the document, with the role that it takes.
fn operations() -> Vec<(Method, String, Option<Role>)> {
    let document: Value = serde_json::to_value(document()).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let role = serde_json::from_value(operation["x-role"].clone()).unwrap();
            operations.push((method.to_uppercase().parse().unwrap(), path.clone(), role));
        }
    }
    operations
}

#[test]
fn whatever_changes_something_takes_an_operator_or_an_admin_and_what_takes_nothing_only_tells() {
    let open: Vec<String> = operations()
        .into_iter()
        .filter(|(_, _, role)| role.is_none())
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    assert_eq!(open, ["GET /api/v1/session", "GET /healthz", "GET /readyz"]);
    for (method, path, role) in operations() {
        assert!(method == Method::GET || role >= Some(Role::Operator), "{method} {path} takes {role:?}");
    }
    let of_admins: Vec<String> = operations()
        .into_iter()
        .filter(|(_, _, role)| *role == Some(Role::Admin))
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    assert_eq!(
        of_admins,
        [
            "PATCH /api/v1/config",
            "PATCH /api/v1/config/nodes",
            "POST /api/v1/config/rollback",
            "PUT /api/v1/log"
        ]
    );
}

#[test]
fn nobody_does_what_his_role_may_not() {
    let agent = Arc::new(Fake {
        configuration: Some(FakeConfiguration::default()),
        ..Fake::shipping([shipment("siem", "slot-0", State::Idle)])
    });
    for (method, path, taken) in operations() {
        if path.ends_with("/stream") {
            continue;
        }
        let path = path.replace("{name}", "siem");
        for role in [None, Some(Role::Viewer), Some(Role::Operator), Some(Role::Admin)] {
            let asked = agent.asked().len();
            let mut request = Request::builder()
                .method(method.clone())
                .uri(&path)
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(r#"{"mode":"open"}"#))
                .unwrap();
            if let Some(role) = role {
                request.extensions_mut().insert(caller(role));
            }
            let answer = ask_as_it_is(&agent, request);
            match (role, taken) {
                (None, Some(_)) => assert_problem(&answer, 401, "no-token", "api.token"),
                (Some(role), Some(taken)) if role < taken => {
                    assert_problem(
                        &answer,
                        403,
                        "forbidden",
                        &format!("takes the role {taken}, and the bearer of `ops`"),
                    );
                }
                _ => {
                    assert!(
                        ![401, 403].contains(&answer.status.as_u16()),
                        "{method} {path} {role:?}: {answer:?}"
                    );
                    continue;
                }
            }
            assert_eq!(agent.asked().len(), asked, "{method} {path} was done for {role:?}");
        }
    }
    assert!(!agent.asked().is_empty(), "whoever may does it");
}

#[test]
fn who_may_not_know_why_is_not_told_why_the_agent_is_not_ready() {
    let agent = Arc::new(Fake::shipping([shipment("default", "slot-0", State::Blocked)]));
    let request = || Request::get("/readyz").body(Body::empty()).unwrap();
    assert_problem(&ask(&agent, request()), 503, "not-ready", "nobody answers");
    let answer = ask_as_it_is(&agent, request());
    assert_problem(&answer, 503, "not-ready", "token");
    assert!(!answer.body.to_string().contains("nobody answers"), "{answer:?}");
}
