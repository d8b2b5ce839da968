//! Records that are read by a schema: Avro, Protobuf and JSON, each in the frame of a schema registry.
//!
//! The invariant: **a value that another schema has written is refused by the id of that schema**, never half understood. The schema is known here, so that nobody asks a registry to read.
//!
//! All three tell the same fields. They are read into one JSON object each, from which Keycloak's event is put together again.

mod avro;
mod protobuf;

use serde_json::{Map, Value};

use crate::decode::{DecodeError, Format, Message, event, no_value};
use crate::headers::{GAP_TYPE, Headers};

/// What a field holds.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Text,
    OptionalText,
    /// A text that is JSON.
    OptionalJson,
    Number,
    /// A map of texts.
    Texts,
    /// A map of texts that are JSON.
    Jsons,
    Record(&'static [Field]),
}

/// A field of the schema. In Protobuf its number is its place, from 1.
#[derive(Debug, Clone, Copy)]
struct Field {
    name: &'static str,
    shape: Shape,
}

const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name, shape }
}

/// `schemas/keyferry-event.avsc` and its like.
const EVENT: &[Field] = &[
    field("kind", Shape::Text),
    field("id", Shape::Text),
    field("sequence", Shape::Number),
    field("node", Shape::Text),
    field("epoch", Shape::Text),
    field("outcome", Shape::OptionalText),
    field("time", Shape::Number),
    field("type", Shape::OptionalText),
    field("realmId", Shape::OptionalText),
    field("realmName", Shape::OptionalText),
    field("clientId", Shape::OptionalText),
    field("userId", Shape::OptionalText),
    field("sessionId", Shape::OptionalText),
    field("ipAddress", Shape::OptionalText),
    field("error", Shape::OptionalText),
    field("operationType", Shape::OptionalText),
    field("resourceType", Shape::OptionalText),
    field("resourceTypeAsString", Shape::OptionalText),
    field("resourcePath", Shape::OptionalText),
    field("resourceId", Shape::OptionalText),
    field("representation", Shape::OptionalText),
    field("details", Shape::Texts),
    field("authDetails", Shape::Record(AUTH_DETAILS)),
    field("traceparent", Shape::OptionalText),
    field("gap", Shape::OptionalJson),
    field("unreadable", Shape::OptionalText),
    field("unknown", Shape::Jsons),
    field("keyferry", Shape::OptionalJson),
];

const AUTH_DETAILS: &[Field] = &[
    field("realmId", Shape::OptionalText),
    field("realmName", Shape::OptionalText),
    field("clientId", Shape::OptionalText),
    field("userId", Shape::OptionalText),
    field("ipAddress", Shape::OptionalText),
    field("unknown", Shape::Jsons),
];

/// Why bytes are not what the schema says.
type Flaw = &'static str;

const CUT_SHORT: Flaw = "it ends too early";

/// A number in groups of seven bits, the lowest first.
fn varint(rest: &mut &[u8]) -> Result<u64, Flaw> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first().ok_or(CUT_SHORT)?;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err("a number has more than 64 bits")
}

/// So many bytes as a text.
fn text<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a str, Flaw> {
    let length = usize::try_from(length).map_err(|_| CUT_SHORT)?;
    let text = rest.split_off(..length).ok_or(CUT_SHORT)?;
    std::str::from_utf8(text).map_err(|_| "a text is not UTF-8")
}

fn json(text: &str) -> Result<Value, Flaw> {
    serde_json::from_str(text).map_err(|_| "what should be JSON is none")
}

/// Avro, Protobuf and JSON by Keyferry's schema, behind the id that a registry gave to it: what Keyferry writes with `destination.format = "avro"`, `"protobuf"` or `"json-schema"`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Framed;

impl Framed {
    /// Whether a value begins like one in a frame, which no JSON does.
    pub(crate) fn is(value: &[u8]) -> bool {
        value.first() == Some(&0)
    }
}

impl Format for Framed {
    fn reads(&self, media_type: Option<&str>) -> bool {
        let own = ["application/avro", "application/protobuf", "application/schema-instance+json"];
        media_type.is_some_and(|name| own.iter().any(|own| name.eq_ignore_ascii_case(own)))
    }

    fn read(&self, headers: &Headers<'_>, value: &[u8]) -> Result<Message, DecodeError> {
        let Some(([0, id @ ..], record)) = value.split_first_chunk::<5>() else {
            return Err(no_value(
                "value in the frame of a schema registry",
                "it does not begin with a zero and an id",
            ));
        };
        let unknown = |flaw: Flaw| DecodeError::UnknownSchema { id: u32::from_be_bytes(*id), reason: flaw };
        // Avro begins with the length of a text that is never empty, and whose length is even in Avro's way of counting.
        let record = match record {
            [b'{', ..] => serde_json::from_slice(record).map_err(|error| no_value("JSON object", error))?,
            [0, message @ ..] => protobuf::read(message).map_err(unknown)?,
            _ => avro::read(record).map_err(unknown)?,
        };
        message(headers, record)
    }
}

/// What a record tells whose fields these are.
fn message(headers: &Headers<'_>, mut record: Map<String, Value>) -> Result<Message, DecodeError> {
    let mut take = |name: &str| match record.remove(name) {
        Some(Value::String(text)) => Some(text),
        other => other.map(|value| value.to_string()),
    };
    let [kind, id, sequence, node, epoch, outcome, traceparent, unreadable, gap] =
        ["kind", "id", "sequence", "node", "epoch", "outcome", "traceparent", "unreadable", "gap"]
            .map(&mut take);
    let mut all = *headers;
    for (name, value) in [
        ("ce_id", &id),
        ("ce_sequence", &sequence),
        ("ce_node", &node),
        ("ce_epoch", &epoch),
        ("ce_outcome", &outcome),
        ("ce_traceparent", &traceparent),
    ] {
        value.iter().for_each(|value| all.add(name, value.as_bytes()));
    }
    if let Some(unreadable) = unreadable {
        return Err(no_value(
            "event of Keycloak",
            format_args!("Keycloak has written no JSON: {unreadable}"),
        ));
    }
    let stand_in =
        format!("{}-{}", epoch.as_deref().unwrap_or_default(), sequence.as_deref().unwrap_or_default());
    let id = id.as_ref().filter(|id| **id != stand_in);
    let told = match kind.as_deref() {
        Some("user") => event(Some("org.keycloak.event."), of_keycloak(record, id)),
        Some("admin") => event(Some("org.keycloak.admin."), of_keycloak(record, id)),
        Some("gap") => {
            let gap = serde_json::from_str(gap.as_deref().unwrap_or_default());
            event(Some(GAP_TYPE), gap.map_err(|error| no_value("gap record", error))?)
        }
        other => Err(no_value("record of Keyferry", format_args!("its kind is {other:?}"))),
    };
    Ok(Message::of(&all, told?)?)
}

/// Keycloak's event: what has no field of its own stands among the others again.
fn of_keycloak(mut record: Map<String, Value>, id: Option<&String>) -> Map<String, Value> {
    id.into_iter().for_each(|id| drop(record.insert("id".to_owned(), Value::from(id.as_str()))));
    if let Some(Value::Object(administrator)) = record.get_mut("authDetails") {
        restore(administrator);
    }
    if record.get("details").is_some_and(|details| details.as_object().is_some_and(Map::is_empty)) {
        record.remove("details");
    }
    restore(&mut record);
    record
}

fn restore(record: &mut Map<String, Value>) {
    if let Some(Value::Object(unknown)) = record.remove("unknown") {
        record.extend(unknown);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Decoder;

    /// The type of a field, as Avro spells it.
    fn spelt(shape: Shape) -> Value {
        let texts = serde_json::json!({"type": "map", "values": "string"});
        match shape {
            Shape::Text => "string".into(),
            Shape::OptionalText | Shape::OptionalJson => serde_json::json!(["null", "string"]),
            Shape::Number => "long".into(),
            Shape::Texts | Shape::Jsons => texts,
            Shape::Record(_) => "record".into(),
        }
    }

    fn assert_same(fields: &[Field], schema: &Value) {
        let told = schema["fields"].as_array().unwrap();
        assert_eq!(fields.len(), told.len());
        for (field, told) in fields.iter().zip(told) {
            assert_eq!(told["name"], field.name);
            match (field.shape, &told["type"]) {
                (Shape::Record(fields), of_type) => assert_same(fields, &of_type[1]),
                (Shape::Number, Value::Object(of_type)) => assert_eq!(of_type["type"], "long"),
                (shape, of_type) => assert_eq!(*of_type, spelt(shape), "{}", field.name),
            }
        }
    }

    #[test]
    fn the_fields_are_those_of_the_schema() {
        let schema = include_str!("../../../../schemas/keyferry-event.avsc");
        assert_same(EVENT, &serde_json::from_str(schema).unwrap());
    }

    fn refused(value: &[u8]) -> String {
        Decoder::default().decode(&Headers::default(), value).unwrap_err().to_string()
    }

    #[test]
    fn a_value_of_another_schema_is_refused_by_its_id() {
        // In Avro a record with less fields, and one with more; in Protobuf a field of another number.
        let short = [&[0, 0, 0, 1, 2][..], b"\x08user\x02e"].concat();
        let protobuf = [&[0, 0, 0, 1, 2, 0][..], b"\xFA\x01\x01x"].concat();
        for value in [short, protobuf] {
            let error = refused(&value);
            assert!(error.contains("schema 258"), "{error}");
        }
    }

    #[test]
    fn what_is_in_no_frame_is_refused() {
        assert!(refused(&[0, 0, 0]).contains("frame"));
        assert!(refused(b"\0\0\0\0\x01{\"kind\":\"song\"}").contains("song"));
        assert!(refused(b"\0\0\0\0\x01{\"kind\":\"user\",\"unreadable\":\"hm\"}").contains("hm"));
    }

    proptest! {
        #[test]
        fn nothing_panics(value in any::<Vec<u8>>(), kind in prop::sample::select(vec![&b"\0"[..], b"{", b"\x08user", b""])) {
            let _ = Decoder::default().decode(&Headers::default(), &[&[0, 0, 0, 0, 1], kind, &value].concat());
        }
    }
}
