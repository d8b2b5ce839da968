//! Java's key and trust stores, as keytool writes them, and what becomes of them.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use keyferry_kafka::security::store::{Passwords, Store, StoreError};

const RIGHT: Passwords<'_> = Passwords { store: Some("changeit"), key: None };

fn file(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores").join(name)).unwrap()
}

fn text(name: &str) -> String {
    String::from_utf8(file(name)).unwrap().replace('\r', "")
}

fn certificates(pem: &str) -> usize {
    pem.matches("-----BEGIN CERTIFICATE-----").count()
}

#[test]
fn a_trust_store_yields_its_authorities_and_no_identity() {
    for name in ["trust.p12", "trust.jks"] {
        let store = Store::open(&file(name), RIGHT).unwrap();
        assert_eq!(store.authorities, text("authority.pem"), "{name}");
        assert_eq!(store.identity, None, "{name}");
    }
}

#[test]
fn a_key_store_yields_the_key_and_its_chain_from_the_clients_certificate_upwards() {
    for (name, passwords) in [("key.p12", RIGHT), ("key.jks", Passwords { key: Some("changeme2"), ..RIGHT })]
    {
        let identity = Store::open(&file(name), passwords).unwrap().identity.unwrap();
        assert_eq!(identity.key, text("key.pem"), "{name}");
        assert_eq!(certificates(&identity.certificates), 2, "{name}");
        assert!(identity.certificates.ends_with(&text("authority.pem")), "{name}");
    }
}

#[test]
fn a_jks_trust_store_opens_without_a_password_as_in_java() {
    assert!(Store::open(&file("trust.jks"), Passwords::default()).is_ok());
}

#[test]
fn what_is_wrong_is_named() {
    let wrong = Passwords { store: Some("hunter2"), key: None };
    for (name, passwords, error) in [
        ("key.p12", wrong, StoreError::Password),
        ("trust.p12", wrong, StoreError::Password),
        ("key.jks", wrong, StoreError::Password),
        ("trust.jks", wrong, StoreError::Password),
        ("key.jks", RIGHT, StoreError::KeyPassword),
        ("two.jks", RIGHT, StoreError::SeveralKeys(2)),
        ("old.p12", RIGHT, StoreError::Outdated),
        ("key.pem", RIGHT, StoreError::Damaged),
    ] {
        assert_eq!(Store::open(&file(name), passwords).unwrap_err(), error, "{name}");
    }
}

#[test]
fn a_store_that_is_cut_short_is_refused_wherever_it_is_cut() {
    for name in ["key.jks", "trust.jks", "key.p12"] {
        let whole = file(name);
        for length in 0..whole.len() {
            assert!(Store::open(&whole[..length], RIGHT).is_err(), "{name} cut to {length} bytes");
            // Without the checksum's protection, too, nothing but an error may come of it.
            let _ = Store::open(&whole[..length], Passwords::default());
        }
    }
}

#[test]
fn no_key_is_printed() {
    let store = Store::open(&file("key.p12"), RIGHT).unwrap();
    assert!(!format!("{store:?}").contains("PRIVATE"));
}
