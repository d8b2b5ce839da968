//! The listener for browsers: what it lets through, and what it says once a second.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keyferry_server::Role;
use keyferry_server::access::Token;
use keyferry_server::model::State;
use keyferry_server::stream::MAX_LISTENERS;
use serde_json::Value;
use support::listener::{BREAKER, JSON, Listener, TOKEN, bearer};

#[test]
fn without_a_token_everybody_reads_and_nobody_changes_anything() {
    let listener = Listener::open();
    for path in ["/", "/page.js", "/page.css", "/icon.svg", "/api/v1/status", "/metrics", "/healthz"] {
        assert_eq!(listener.get(path, &[]).status, 200, "{path}");
    }
    listener.change(&[JSON]).is_refused(403, "`api.token`");
    let given = bearer(TOKEN);
    listener.change(&[JSON, ("Authorization", &given)]).is_refused(403, "`api.token`");
    for (method, status, names) in [
        ("POST", 405, "method"),
        ("PUT", 405, "method"),
        ("PATCH", 403, "`api.token`"),
        ("DELETE", 405, "method"),
    ] {
        let host = listener.host();
        let answer = listener.send(method, "/api/v1/config", &[("Host", &host), JSON], "{}");
        answer.is_refused(status, names);
    }
    assert!(listener.agent.asked().is_empty());
}

#[test]
fn with_a_token_nothing_but_the_page_is_to_be_had_without_it() {
    let listener = Listener::closed();
    for path in ["/", "/page.js", "/healthz", "/readyz", "/api/v1/session"] {
        assert_eq!(listener.get(path, &[]).status, 200, "{path}");
    }
    let wrong = [
        bearer("a token that nobody guesset"),
        bearer(&TOKEN[..20]),
        bearer(&format!("{TOKEN}x")),
        bearer(""),
        format!("Basic {TOKEN}"),
        TOKEN.to_owned(),
        String::new(),
    ];
    for path in ["/api/v1/status", "/api/v1/stream", "/api/v1/openapi.json", "/metrics", "/nowhere"] {
        listener.get(path, &[]).is_refused(401, "api.token");
    }
    for wrong in &wrong {
        let answer = listener.get("/api/v1/status", &[("Authorization", wrong)]);
        answer.is_refused(401, "api.token");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    listener.change(&[JSON]).is_refused(401, "api.token");
    assert!(listener.agent.asked().is_empty());
    let right = bearer(TOKEN);
    assert_eq!(listener.get("/api/v1/status", &[("Authorization", &right)]).status, 200);
    assert_eq!(listener.change(&[JSON, ("Authorization", &right)]).status, 200);
    assert_eq!(listener.agent.asked(), ["slot-0 default: breaker open"]);
}

#[test]
fn the_token_is_what_it_is_now_and_one_that_cannot_be_used_lets_nobody_in() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("token");
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| error.to_string());
    let value = Box::new({
        let path = path.clone();
        move || read(&path)
    });
    let listener =
        Listener::with_tokens(vec![Token { name: "api.token".to_owned(), role: Role::Admin, value }]);
    let ask = |token: &str| listener.get("/api/v1/status", &[("Authorization", &bearer(token))]);
    ask(TOKEN).is_refused(503, "api.token");
    for (short, given) in [("", ""), ("short", "short")] {
        fs::write(&path, short).unwrap();
        ask(given).is_refused(503, "api.token");
    }
    fs::write(&path, TOKEN).unwrap();
    assert_eq!(ask(TOKEN).status, 200);
    fs::write(&path, "another one of that length").unwrap();
    ask(TOKEN).is_refused(401, "api.token");
    assert_eq!(ask("another one of that length").status, 200);
}

#[test]
fn a_name_that_only_stands_for_the_address_reaches_nothing() {
    let listener = Listener::open();
    let port = listener.address.port();
    let ask = |host: &str| listener.send("GET", "/api/v1/status", &[("Host", host)], "");
    for own in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "[::1]"] {
        assert_eq!(ask(&format!("{own}:{port}")).status, 200, "{own}");
    }
    for other in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[::2]"]
    {
        ask(&format!("{other}:{port}")).is_refused(421, &format!("localhost:{port}"));
    }
    for host in ["localhost".to_owned(), "127.0.0.1:1".to_owned(), String::new()] {
        ask(&host).is_refused(421, &format!("localhost:{port}"));
    }
    let page = listener.send("GET", "/", &[("Host", "evil.example")], "");
    page.is_refused(421, "localhost");
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    let absolute = format!("http://evil.example:{port}/api/v1/status");
    listener.send("GET", &absolute, &[("Host", &listener.host())], "").is_refused(421, "evil.example");
}

#[test]
fn a_change_cannot_be_forged_by_another_page() {
    let listener = Listener::closed();
    let (right, own) = (bearer(TOKEN), format!("http://{}", listener.host()));
    let known = ("Authorization", right.as_str());
    let port = listener.address.port();
    for origin in ["http://evil.example", "null", &format!("https://localhost:{port}"), "http://127.0.0.1:1"]
    {
        listener.change(&[JSON, known, ("Origin", origin)]).is_refused(403, "origin");
    }
    for site in ["cross-site", "same-site"] {
        listener.change(&[JSON, known, ("Sec-Fetch-Site", site)]).is_refused(403, "another site");
    }
    for media_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"]
    {
        listener.change(&[known, ("Content-Type", media_type)]).is_refused(415, "application/json");
    }
    listener.change(&[known]).is_refused(415, "application/json");
    let host = listener.host();
    let bodiless =
        listener.send("POST", "/api/v1/destinations/default/pool/reconnect", &[("Host", &host), known], "");
    bodiless.is_refused(415, "application/json");
    assert!(listener.agent.asked().is_empty());
    let of_page = [JSON, known, ("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(listener.change(&of_page).status, 200);
    assert_eq!(listener.agent.asked(), ["slot-0 default: breaker open"]);
}

#[test]
fn every_answer_is_safe_to_show() {
    let listener = Listener::open();
    for path in ["/", "/page.js", "/api/v1/status", "/nowhere"] {
        let answer = listener.get(path, &[]);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'self';") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        assert_eq!(answer.header("access-control-allow-origin"), None);
        let kept = if path.starts_with("/api") || path == "/nowhere" { "no-store" } else { "no-cache" };
        assert_eq!(answer.header("cache-control"), Some(kept), "{path}");
    }
}

#[test]
fn the_page_is_sent_once() {
    let listener = Listener::open();
    let first = listener.get("/", &[]);
    assert!(first.body.contains("<!doctype html>"), "{first:?}");
    let tag = first.header("etag").unwrap().to_owned();
    let second = listener.get("/", &[("If-None-Match", &tag)]);
    assert_eq!((second.status, second.body.as_str()), (304, ""));
    assert_eq!(listener.get("/", &[("If-None-Match", "\"other\"")]).status, 200);
}

#[test]
fn what_is_too_long_is_not_read() {
    let listener = Listener::closed();
    let (host, right) = (listener.host(), bearer(TOKEN));
    let headers = [("Host", host.as_str()), JSON, ("Authorization", right.as_str())];
    let answer = listener.send("PUT", BREAKER, &headers, &"x".repeat(20 << 10));
    answer.is_refused(413, "limit");
}

/// The next event of a stream.
fn next_event(reader: &mut impl std::io::BufRead) -> Value {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the stream has ended");
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).unwrap();
        }
    }
}

/// One test for all of the stream, because its places are those of the process.
#[test]
fn who_listens_is_told_once_a_second_and_places_are_few_and_given_back() {
    let listener = Listener::open();
    let host = listener.host();
    let listen = || {
        let mut reader = BufReader::new(listener.begin("GET", "/api/v1/stream", &[("Host", &host)], ""));
        let mut status = String::new();
        reader.read_line(&mut status).unwrap();
        (status, reader)
    };
    let (status, mut first) = listen();
    assert!(status.contains(" 200 "), "{status}");
    let event = next_event(&mut first);
    assert_eq!(event["status"]["destinations"][0]["name"], "default");
    assert_eq!(event["pools"][0]["slot"], "slot-0");
    assert!(event["figures"]["published"].is_u64() && event["marks"]["firing"] == 0, "{event}");
    listener.agent.ships.lock().unwrap()[0].delivery.state = State::Blocked;
    let seen = std::iter::repeat_with(|| next_event(&mut first))
        .take(5)
        .any(|event| event["status"]["ready"] == false);
    assert!(seen, "the stream does not follow");
    let mut others: Vec<_> = (1..MAX_LISTENERS).map(|_| listen()).collect();
    assert!(others.iter().all(|(status, _)| status.contains(" 200 ")), "{others:?}");
    assert!(listen().0.contains(" 503 "), "one too many");
    assert_eq!(listener.get("/api/v1/status", &[]).status, 200, "questions are answered whoever listens");
    others.pop();
    let begun = Instant::now();
    while !listen().0.contains(" 200 ") {
        assert!(begun.elapsed() < Duration::from_secs(30), "a place is not given back");
    }
}
