//! Arbitrary bytes as the payload of a PREPARE: what is accepted borrows from the payload, encodes to the same events again, and becomes
//! a record whose value is the event's body, or JSON in any other format, and whose headers can be told by any consumer.
#![no_main]

use keyferry_event::{Encoder, Envelope, Format, HeaderMode, Redaction, SchemaId};
use keyferry_journal::event::{EventEncoder, EventView, Events, Field};
use keyferry_journal::{Epoch, Outcome};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const FIELDS: [Field; 10] = [
    Field::Id,
    Field::Type,
    Field::RealmId,
    Field::RealmName,
    Field::Client,
    Field::UserId,
    Field::ResourceType,
    Field::ResourcePath,
    Field::Error,
    Field::TraceParent,
];

fuzz_target!(|payload: &[u8]| {
    let mut accepted = Vec::new();
    let mut events = Events::of(payload);
    for event in events.by_ref() {
        match event {
            Ok(event) => accepted.push(event),
            Err(_) => break,
        }
    }
    for event in &accepted {
        same_again(event);
        as_record(event);
    }
});

fn same_again(event: &EventView<'_>) {
    let fields: Vec<(Field, &str)> =
        FIELDS.into_iter().filter_map(|field| Some((field, event.field(field)?))).collect();
    let mut encoder = EventEncoder::new();
    encoder.push(event.kind(), event.time_ms(), &fields, event.body());
    let mut again = Events::of(encoder.payload());
    let own = again.next().expect("one event").expect("what was encoded decodes");
    assert!(again.next().is_none());
    assert_eq!((own.kind(), own.time_ms(), own.body()), (event.kind(), event.time_ms(), event.body()));
    for (field, value) in fields.into_iter().filter(|(_, value)| value.len() <= 4096) {
        assert_eq!(own.field(field), Some(value));
    }
}

fn as_record(event: &EventView<'_>) {
    let envelope = Envelope { node: "node", epoch: Epoch(7), outcome: Outcome::Committed, sequence: 1 };
    for mode in [HeaderMode::CloudEvents, HeaderMode::Minimal, HeaderMode::None] {
        let mut encoder = Encoder::new(mode).redacting(Redaction::none());
        let record = encoder.encode("topic", event, &envelope).expect("the id of the schema is known");
        assert_eq!(record.value, event.body());
        assert!(!record.key.is_empty(), "a record without a key");
        for header in record.headers() {
            assert!(std::str::from_utf8(header.value).is_ok(), "header {:?} is not text", header.name);
        }
    }
    // What is JSON stays JSON, where it is not nested too deeply for the reader.
    let is_json = serde_json::from_slice::<Value>(&[&b"[[[["[..], event.body(), b"]]]]"].concat()).is_ok();
    for format in [Format::CloudEvents, Format::Ocsf, Format::Ecs].into_iter().filter(|_| is_json) {
        let mut encoder = Encoder::new(HeaderMode::CloudEvents).formatting(format);
        let record = encoder.encode("topic", event, &envelope).expect("the id of the schema is known");
        let told = serde_json::from_slice::<Value>(record.value);
        assert!(told.is_ok(), "{format:?}: {}", String::from_utf8_lossy(record.value));
    }
    for format in [Format::Avro, Format::Protobuf, Format::JsonSchema] {
        let mut encoder = Encoder::new(HeaderMode::CloudEvents).formatting(format);
        encoder.learn("topic", SchemaId(7));
        let record = encoder.encode("topic", event, &envelope).expect("the id of the schema is known");
        assert!(record.value.starts_with(&[0, 0, 0, 0, 7]));
    }
}
