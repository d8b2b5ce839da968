//! Formats whose values are read by a schema, and how a value names it.
//!
//! The invariant: **a value never names a schema that it was not written by.** A registry gives the schema an id for each subject, so that the id is looked up by the topic; ids are forgotten when the
//! format changes, and for a topic without one there is no value.
//!
//! In front of the value stands the frame that deserialisers of Confluent and Apicurio look for: a zero, the id, and of Protobuf the place of the message in its file
//! ([wire format](https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format)).

use std::collections::BTreeMap;

use crate::sink::{Failure, FailureClass};

/// The first byte of a value in a frame, which no JSON begins with.
const MAGIC: u8 = 0;
/// The bytes of an id.
const ID: usize = 4;
/// A list of message indexes that means the first message of the file is written as its length alone, which is then zero.
const FIRST_MESSAGE: u8 = 0;

/// The name that every schema has of a record: its full name in Avro and Protobuf, its title in JSON Schema.
const RECORD_NAME: &str = "io.keyferry.Event";

/// A language of schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchemaType {
    /// Apache Avro.
    Avro,
    /// Protocol Buffers.
    Protobuf,
    /// JSON Schema.
    Json,
}

impl SchemaType {
    /// Its name in the API of a registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Protobuf => "PROTOBUF",
            Self::Json => "JSON",
        }
    }
}

/// What a registry is told of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Schema {
    /// The language of its text.
    pub kind: SchemaType,
    /// The schema itself.
    pub text: &'static str,
    /// The name of the record that it describes, for subjects that are named by it.
    pub record_name: &'static str,
}

pub(super) const AVRO: Schema = Schema {
    kind: SchemaType::Avro,
    text: include_str!("../../../../schemas/keyferry-event.avsc"),
    record_name: RECORD_NAME,
};

pub(super) const PROTOBUF: Schema = Schema {
    kind: SchemaType::Protobuf,
    text: include_str!("../../../../schemas/keyferry-event.proto"),
    record_name: RECORD_NAME,
};

pub(super) const JSON: Schema = Schema {
    kind: SchemaType::Json,
    text: include_str!("../../../../schemas/keyferry-event.schema.json"),
    record_name: RECORD_NAME,
};

/// The id that a registry gave to a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SchemaId(pub u32);

/// The ids of one schema, by topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaIds(BTreeMap<Box<str>, SchemaId>);

impl SchemaIds {
    /// That for `topic`, if it is known. Costs a few comparisons.
    pub fn of(&self, topic: &str) -> Option<SchemaId> {
        self.0.get(topic).copied()
    }

    /// From now on it is `id` for `topic`.
    pub fn learn(&mut self, topic: &str, id: SchemaId) {
        self.0.insert(topic.into(), id);
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// There is no value for a topic as long as the id of the schema is not known that it would have to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of the schema for the topic {topic} is not known")]
pub struct SchemaUnknown<'a> {
    /// The topic.
    pub topic: &'a str,
}

impl From<SchemaUnknown<'_>> for Failure {
    fn from(unknown: SchemaUnknown<'_>) -> Self {
        Self { class: FailureClass::Configuration, reason: unknown.to_string() }
    }
}

/// Begins a value with its frame.
pub(super) fn write_frame(kind: SchemaType, id: SchemaId, value: &mut Vec<u8>) {
    value.push(MAGIC);
    value.extend_from_slice(&id.0.to_be_bytes());
    if kind == SchemaType::Protobuf {
        value.push(FIRST_MESSAGE);
    }
}

/// What stands behind magic byte and id, if `value` begins with such.
pub(super) fn framed(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(&[MAGIC])?.get(ID..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_zero_the_id_and_the_place_of_a_message() {
        let frame = |kind| {
            let mut value = Vec::new();
            write_frame(kind, SchemaId(0x0102_0304), &mut value);
            value
        };
        assert_eq!(frame(SchemaType::Avro), [0, 1, 2, 3, 4]);
        assert_eq!(frame(SchemaType::Json), [0, 1, 2, 3, 4]);
        assert_eq!(frame(SchemaType::Protobuf), [0, 1, 2, 3, 4, 0]);
        assert_eq!(framed(&[0, 1, 2, 3, 4, 9]), Some(&[9][..]));
        assert_eq!((framed(b"{}"), framed(&[0, 1, 2, 3])), (None, None));
    }

    #[test]
    fn each_schema_has_the_name_of_the_record() {
        let json = |schema: Schema| serde_json::from_str::<serde_json::Value>(schema.text).unwrap();
        let avro = json(AVRO);
        assert_eq!(
            format!("{}.{}", avro["namespace"].as_str().unwrap(), avro["name"].as_str().unwrap()),
            RECORD_NAME
        );
        assert_eq!(json(JSON)["title"], RECORD_NAME);
        let (package, message) = RECORD_NAME.rsplit_once('.').unwrap();
        assert!(PROTOBUF.text.contains(&format!("package {package};")));
        let first = PROTOBUF.text.lines().find_map(|line| line.strip_prefix("message ")).unwrap();
        assert_eq!(first, format!("{message} {{"), "the message of a record is the first of its file");
    }
}
