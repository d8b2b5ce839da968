//! Who is let in over TCP, as whom, how often, under which name and over which certificate.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use keyferry_server::access::Listening;
use keyferry_server::server::MAX_CONNECTIONS_OF_ONE;
use keyferry_server::{Role, TlsFiles};
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use support::listener::{BREAKER, JSON, Listener, OPEN, TOKEN, bearer, token};

const VIEWER: &str = "what a viewer knows";
const OPERATOR: &str = "what an operator knows";
const ADMIN: &str = "what an admin knows";

#[test]
fn each_token_has_its_role() {
    let listener = Listener::with_tokens(vec![
        token("grafana", Role::Viewer, VIEWER),
        token("oncall", Role::Operator, OPERATOR),
        token("ops", Role::Admin, ADMIN),
        token("another", Role::Admin, VIEWER),
    ]);
    let host = listener.host();
    for (value, name, role) in [(VIEWER, "grafana", 0), (OPERATOR, "oncall", 1), (ADMIN, "ops", 2)] {
        let given = bearer(value);
        let known = ("Authorization", given.as_str());
        assert_eq!(listener.get("/api/v1/status", &[known]).status, 200);
        let session = listener.get("/api/v1/session", &[known]).body;
        assert!(session.contains(&format!("the bearer of `{name}`")), "{session}");
        let asked = listener.agent.asked().len();
        let change = listener.change(&[JSON, known]);
        let configure =
            listener.send("PUT", "/api/v1/log", &[("Host", &host), JSON, known], r#"{"level":"debug"}"#);
        if role == 0 {
            change
                .is_refused(403, "takes the role operator, and the bearer of `grafana` has the role viewer");
            assert_eq!(listener.agent.asked().len(), asked);
        } else {
            assert_eq!(change.status, 200);
        }
        // The agent of the tests cannot change its log.
        assert_eq!(configure.status, if role == 2 { 409 } else { 403 }, "{configure:?}");
    }
}

#[test]
fn whoever_guesses_must_wait_and_so_must_whoever_asks_too_often() {
    let listener = Listener::closed();
    let (right, wrong) = (bearer(TOKEN), bearer("a token that somebody guesses"));
    let mut refused = None;
    for _ in 0..100 {
        let answer = listener.get("/api/v1/status", &[("Authorization", &wrong)]);
        if answer.status != 401 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("nobody is told to wait");
    refused.is_refused(429, "ask again in 1 s");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(listener.get("/healthz", &[]).status, 200, "who gives no token guesses none");

    let begun = Instant::now();
    while listener.get("/api/v1/status", &[("Authorization", &right)]).status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
        std::thread::sleep(Duration::from_millis(200));
    }

    let slow = Listener::with(|listening| Listening { requests_per_second: 1, ..listening });
    let answers: Vec<_> = (0..50).map(|_| slow.get("/healthz", &[])).collect();
    assert_eq!(answers[0].status, 200);
    answers.iter().find(|answer| answer.status != 200).unwrap().is_refused(429, "too many requests");
}

/// A connection that stays open, if it is answered.
fn hold(listener: &Listener) -> Option<TcpStream> {
    let mut stream = listener.connect();
    let head = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", listener.host());
    stream.write_all(head.as_bytes()).ok()?;
    stream.read_exact(&mut [0; 1]).ok()?;
    Some(stream)
}

fn until_held(listener: &Listener) -> TcpStream {
    let begun = Instant::now();
    loop {
        if let Some(stream) = hold(listener) {
            return stream;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "a place is not given back");
    }
}

#[test]
fn one_address_cannot_have_all_connections() {
    let listener = Listener::open();
    let mut held: Vec<_> = (0..MAX_CONNECTIONS_OF_ONE).map(|_| until_held(&listener)).collect();
    assert!(hold(&listener).is_none(), "one too many");
    held.pop();
    until_held(&listener);
}

#[test]
fn a_name_that_is_configured_reaches_the_page_by_its_own_scheme() {
    let listener = Listener::with(|listening| Listening {
        origins: vec!["https://keyferry.example.org".parse().unwrap()],
        tokens: vec![token("ops", Role::Admin, ADMIN)],
        ..listening
    });
    let right = bearer(ADMIN);
    let change = |host: &str, origin: &str| {
        let headers = [("Host", host), JSON, ("Authorization", &right), ("Origin", origin)];
        listener.send("PUT", BREAKER, &headers, OPEN)
    };
    assert_eq!(change("keyferry.example.org", "https://keyferry.example.org").status, 200);
    change("keyferry.example.org", "http://keyferry.example.org").is_refused(403, "origin");
    change("evil.example.org", "https://evil.example.org").is_refused(421, "`api.origins`");
    let host = listener.host();
    assert_eq!(change(&host, &format!("http://{host}")).status, 200);
}

fn key() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

fn certificate(name: &str, key: &PKey<Private>) -> X509 {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let subject = subject.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_subject_name(&subject).unwrap();
    certificate.set_issuer_name(&subject).unwrap();
    certificate.set_pubkey(key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    let names = SubjectAlternativeName::new()
        .dns("localhost")
        .build(&certificate.x509v3_context(None, None))
        .unwrap();
    certificate.append_extension(names).unwrap();
    certificate.sign(key, MessageDigest::sha256()).unwrap();
    certificate.build()
}

fn write(directory: &Path, certificate: Option<&X509>, key: Option<&PKey<Private>>) {
    if let Some(certificate) = certificate {
        fs::write(directory.join("tls.crt"), certificate.to_pem().unwrap()).unwrap();
    }
    if let Some(key) = key {
        fs::write(directory.join("tls.key"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    }
}

/// What the listener's certificate is called, and how it answers.
fn ask_by_tls(listener: &Listener) -> (String, String) {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    let mut stream = connector.build().connect("localhost", listener.connect()).unwrap();
    let shown = stream.ssl().peer_certificate().unwrap();
    let name = shown.subject_name().entries().next().unwrap().data().to_string().unwrap();
    let port = listener.address.port();
    let head = format!("GET /healthz HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    // Some servers end without a word of TLS.
    let _ = stream.read_to_string(&mut answer);
    (name, answer)
}

#[test]
fn a_certificate_is_shown_and_one_that_is_renewed_holds_from_the_next_connection_on() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (key(), key());
    write(directory.path(), Some(&certificate("old", &old)), Some(&old));
    let listener = Listener::with(|listening| {
        let files =
            TlsFiles { certificate: directory.path().join("tls.crt"), key: directory.path().join("tls.key") };
        Listening { tls: Some(files), ..listening }
    });
    let (name, answer) = ask_by_tls(&listener);
    assert!(name == "old" && answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");

    // Nothing is answered without encryption.
    let mut plain = listener.connect();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.windows(5).any(|five| five == b"alive"), "{answer:?}");

    write(directory.path(), Some(&certificate("new", &new)), None);
    assert_eq!(ask_by_tls(&listener).0, "old", "a certificate without its key is none");
    write(directory.path(), None, Some(&new));
    assert_eq!(ask_by_tls(&listener).0, "new");
    fs::remove_file(directory.path().join("tls.crt")).unwrap();
    assert_eq!(ask_by_tls(&listener).0, "new", "a file that is gone takes nothing away");
}

#[test]
fn a_listener_whose_certificate_is_not_there_yet_begins_when_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let key = key();
    let other = self::key();
    write(directory.path(), Some(&certificate("late", &key)), Some(&other));
    let listener = Listener::with(|listening| {
        let files =
            TlsFiles { certificate: directory.path().join("tls.crt"), key: directory.path().join("tls.key") };
        Listening { tls: Some(files), ..listening }
    });
    write(directory.path(), None, Some(&key));
    assert_eq!(ask_by_tls(&listener).0, "late");
}
