//! The AsyncAPI document, the JSON Schemas and the names of secrets that the provider masks are as generated (`KEYFERRY_DOCS=write` writes them), and as the encoder writes. That independent readers take them is tested in the suite `monitoring`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use keyferry_event::contract::{asyncapi, files, names_of_secrets};
use keyferry_event::{Encoder, Envelope, Format, Gap, GapReason, HeaderMode, SchemaId};
use keyferry_journal::event::{EventEncoder, Events, Field};
use keyferry_journal::{Epoch, EventKind, Outcome};
use serde_json::Value;

#[test]
fn every_file_is_as_generated() {
    let documents = files()
        .into_iter()
        .map(|(path, document)| (path, serde_json::to_string_pretty(&document).unwrap() + "\n"));
    let names = ("provider/src/main/resources/org/keyferry/provider/secret-names.tsv", names_of_secrets());
    for (path, text) in documents.chain([names]) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        if std::env::var_os("KEYFERRY_DOCS").is_some_and(|value| value == "write") {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(there == text, "{} is stale: run this test with KEYFERRY_DOCS=write", path.display());
    }
}

const ENVELOPE: Envelope<'static> =
    Envelope { node: "kc-1", epoch: Epoch(0x0006_447B_0D1A_2C00), outcome: Outcome::Committed, sequence: 42 };

/// The headers of an event with every field that one may have, or of one with none of them; or of a gap.
fn names(mode: HeaderMode, format: Format, told: &str, is_full: bool) -> BTreeSet<String> {
    let mut encoder = Encoder::new(mode).formatting(format);
    encoder.learn("t", SchemaId(7));
    let of = |record: keyferry_event::Record<'_>| {
        record.headers().map(|header| header.name.to_str().unwrap().to_owned()).collect()
    };
    let (kind, more) = match told {
        "gap" => {
            let gap = Gap::new(GapReason::NoSpace, ENVELOPE.epoch, "n", String::new());
            return of(encoder.encode_gap("t", &gap, 1, 7).unwrap());
        }
        "userEvent" => (EventKind::User, [(Field::UserId, "u"), (Field::Client, "c")]),
        _ => (EventKind::Admin, [(Field::ResourceType, "USER"), (Field::ResourcePath, "users/u")]),
    };
    let mut fields =
        vec![(Field::Id, "e-1"), (Field::Type, "LOGIN"), (Field::RealmId, "r"), (Field::RealmName, "shop")];
    fields.extend(more);
    fields.push((Field::TraceParent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    let mut payload = EventEncoder::new();
    payload.push(kind, 7, if is_full { &fields } else { &[] }, b"{}");
    of(encoder.encode("t", &Events::of(payload.payload()).next().unwrap().unwrap(), &ENVELOPE).unwrap())
}

#[test]
fn the_headers_that_are_described_are_those_that_are_written() {
    let document = asyncapi();
    let messages = document["components"]["messages"].as_object().unwrap();
    let formats = [
        (Format::Keycloak, "keycloak"),
        (Format::CloudEvents, "cloudevents"),
        (Format::Ocsf, "ocsf"),
        (Format::Ecs, "ecs"),
        (Format::Avro, "avro"),
        (Format::Protobuf, "protobuf"),
        (Format::JsonSchema, "json-schema"),
    ];
    assert_eq!(messages.len(), 3 * formats.len());
    for (format, name) in formats {
        for told in ["userEvent", "adminEvent", "gap"] {
            let headers = &messages[&format!("{told}.{name}")]["headers"];
            let described: BTreeSet<String> =
                headers["properties"].as_object().unwrap().keys().cloned().collect();
            let required: BTreeSet<String> = headers["required"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one.as_str().unwrap().to_owned())
                .collect();
            assert_eq!(names(HeaderMode::CloudEvents, format, told, true), described, "{told} in {name}");
            for is_full in [true, false] {
                for mode in [HeaderMode::CloudEvents, HeaderMode::Minimal] {
                    let written = names(mode, format, told, is_full);
                    assert!(
                        required.is_subset(&written) && written.is_subset(&described),
                        "{told} in {name}: {written:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    found.push(reference.clone());
                }
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    for (path, document) in files() {
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty(), "{path}");
        for reference in found {
            assert!(document.pointer(&reference[1..]).is_some(), "{path}: {reference}");
        }
    }
}
