//! A registry is asked as Confluent's API has it, and what goes wrong on the way is told apart.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use keyferry_event::{Format, Schema};
use keyferry_registry::client::{Answer, Registry as _, Trouble};
use keyferry_registry::{Access, Authorization};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

/// Longer than any machine takes to answer from memory.
const PATIENT: Duration = Duration::from_secs(60);

fn schema() -> Schema {
    Format::Avro.schema().unwrap()
}

fn access(url: &str) -> Access {
    Access {
        urls: vec!["http://127.0.0.1:1".to_owned(), url.to_owned()],
        authorization: None,
        ca_file: None,
        timeout: PATIENT,
        registers: true,
    }
}

/// Reads one request: its head, and its body.
fn request(stream: &mut impl Read) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn respond(stream: &mut impl Write, status: u16, body: &str) {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .unwrap();
    stream.flush().unwrap();
}

/// A server that gives these answers, one a connection, and tells what it was asked.
fn server(answers: &'static [(u16, &'static str)]) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for (status, body) in answers {
            let mut stream = listener.accept().unwrap().0;
            sender.send(request(&mut stream)).unwrap();
            respond(&mut stream, *status, body);
        }
    });
    (url, receiver)
}

#[test]
fn a_schema_is_registered_and_the_answer_is_passed_on() {
    let (url, asked) = server(&[(200, r#"{"id":7}"#), (409, r#"{"error_code":409,"message":"no"}"#)]);
    let login = Authorization::Basic { username: "ferry".to_owned(), password: "se:cret".to_owned() };
    assert_eq!(format!("{login:?}"), "<redacted>");
    let access = Access { authorization: Some(login), ..access(&url) };
    let answer = access.ask(1, "events-value", &schema());
    assert_eq!(answer, Ok(Answer { status: 200, body: r#"{"id":7}"#.to_owned() }));
    let (head, body) = asked.recv().unwrap();
    assert!(head.starts_with("POST /api/subjects/events-value/versions?normalize=true HTTP/1.1"), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("content-type: application/vnd.schemaregistry.v1+json"), "{head}");
    // printf 'ferry:se:cret' | base64
    assert!(head.contains(&"authorization: Basic ZmVycnk6c2U6Y3JldA==".to_ascii_lowercase()), "{head}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["schemaType"], &body["schema"]), (&"AVRO".into(), &schema().text.into()));
    assert_eq!(access.ask(1, "events-value", &schema()).unwrap().status, 409, "an error is an answer");
}

#[test]
fn what_is_only_looked_up_is_not_registered() {
    let (url, asked) = server(&[(404, "")]);
    let authorization = Some(Authorization::Bearer("t0ken".to_owned()));
    let access = Access { registers: false, authorization, ..access(&url) };
    assert_eq!(access.ask(1, "s", &schema()).unwrap().status, 404);
    let (head, _) = asked.recv().unwrap();
    assert!(head.starts_with("POST /api/subjects/s?normalize=true "), "{head}");
    assert!(head.to_ascii_lowercase().contains("authorization: bearer t0ken"), "{head}");
}

#[test]
fn who_examines_a_subject_changes_nothing() {
    let (url, asked) = server(&[
        (404, r#"{"error_code":40403}"#),
        (200, r#"{"is_compatible":false}"#),
        (404, r#"{"error_code":40408}"#),
        (200, r#"{"compatibilityLevel":"FULL"}"#),
    ]);
    let examined = access(&url).examine(1, "s", &schema()).unwrap();
    assert_eq!(examined.looked_up.status, 404);
    assert_eq!((examined.is_compatible, examined.compatibility.as_deref()), (Some(false), Some("FULL")));
    let asked: Vec<String> =
        asked.iter().map(|(head, _)| head.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        asked,
        [
            "POST /api/subjects/s?normalize=true",
            "POST /api/compatibility/subjects/s/versions/latest?normalize=true",
            "GET /api/config/s",
            "GET /api/config",
        ]
    );
}

#[test]
fn nobody_there_silence_and_a_broken_answer_are_told_apart() {
    let nobody = access("http://127.0.0.1:1").ask(0, "s", &schema());
    assert!(matches!(nobody, Err(Trouble::Unreachable(_))), "{nobody:?}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let limit = Duration::from_millis(50);
    let access_to_silent =
        Access { timeout: limit, ..access(&format!("http://{}", silent.local_addr().unwrap())) };
    assert_eq!(access_to_silent.ask(1, "s", &schema()), Err(Trouble::Slow(limit)));
    let broken = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", broken.local_addr().unwrap());
    thread::spawn(move || drop(broken.accept()));
    assert!(matches!(access(&url).ask(1, "s", &schema()), Err(Trouble::Unreachable(_))));
}

/// A certificate of 127.0.0.1 that signs itself.
fn certificate() -> (X509, PKey<Private>) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "registry").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    let names =
        SubjectAlternativeName::new().ip("127.0.0.1").build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (builder.build(), key)
}

#[test]
fn an_authority_of_a_file_is_believed_and_no_other() {
    let (certificate, key) = certificate();
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    let acceptor = acceptor.build();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if let Ok(mut stream) = acceptor.accept(stream) {
                request(&mut stream);
                respond(&mut stream, 200, r#"{"id":1}"#);
            }
        }
    });
    let of_system = access(&url).ask(1, "s", &schema());
    assert!(matches!(of_system, Err(Trouble::Insecure(_))), "{of_system:?}");
    let access = Access { ca_file: Some(ca_file.clone()), ..access(&url) };
    let missing = access.ask(1, "s", &schema());
    assert!(matches!(&missing, Err(Trouble::Insecure(why)) if why.contains("ca.pem")), "{missing:?}");
    fs::write(&ca_file, "no certificate").unwrap();
    let useless = access.ask(1, "s", &schema());
    assert!(
        matches!(&useless, Err(Trouble::Insecure(why)) if why.contains("no certificate in PEM")),
        "{useless:?}"
    );
    // It is read for each question: nobody has to tell the agent of it.
    fs::write(&ca_file, certificate.to_pem().unwrap()).unwrap();
    assert_eq!(access.ask(1, "s", &schema()).unwrap().status, 200);
}
