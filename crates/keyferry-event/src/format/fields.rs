//! The fields of a record that is read by a schema, whatever it is written in.
//!
//! The invariant: **a record tells every field of the schema, in the order of the schema, whether it has a value or not.** Avro has no names in its values: what is left out or told out of turn
//! is read as something else. So every record here is a straight row of calls without branches around them.
//!
//! Keycloak's fields have Keycloak's names. What there is no field for stands in `unknown`, as the JSON that it was.

use std::fmt;

use keyferry_journal::event::EventKind;

use super::Told;
use super::reading::{Object, Parts, quoted};
use crate::gap::Gap;
use crate::headers::outcome;

/// A field of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// By which Protobuf knows it.
    pub(super) number: u32,
}

const fn field(number: u32, name: &'static str) -> Field {
    Field { name, number }
}

const KIND: Field = field(1, "kind");
const ID: Field = field(2, "id");
const SEQUENCE: Field = field(3, "sequence");
const NODE: Field = field(4, "node");
const EPOCH: Field = field(5, "epoch");
const OUTCOME: Field = field(6, "outcome");
const TIME: Field = field(7, "time");
/// Keycloak's fields that are texts, of either kind of event.
const TEXTS: [Field; 14] = [
    field(8, "type"),
    field(9, "realmId"),
    field(10, "realmName"),
    field(11, "clientId"),
    field(12, "userId"),
    field(13, "sessionId"),
    field(14, "ipAddress"),
    field(15, "error"),
    field(16, "operationType"),
    field(17, "resourceType"),
    field(18, "resourceTypeAsString"),
    field(19, "resourcePath"),
    field(20, "resourceId"),
    field(21, "representation"),
];
const DETAILS: Field = field(22, "details");
const AUTH_DETAILS: Field = field(23, "authDetails");
const TRACEPARENT: Field = field(24, "traceparent");
const GAP: Field = field(25, "gap");
const UNREADABLE: Field = field(26, "unreadable");
const UNKNOWN: Field = field(27, "unknown");
const ADDED: Field = field(28, "keyferry");

/// Keycloak's fields of `authDetails`.
const OF_ADMINISTRATOR: [Field; 5] = [
    field(1, "realmId"),
    field(2, "realmName"),
    field(3, "clientId"),
    field(4, "userId"),
    field(5, "ipAddress"),
];
const UNKNOWN_OF_ADMINISTRATOR: Field = field(6, "unknown");

/// A text on its way into a field.
#[derive(Clone, Copy)]
pub(super) enum Text<'a> {
    /// UTF-8 as it is.
    Plain(&'a [u8]),
    /// The content of a JSON string, with its escapes.
    Escaped(&'a [u8]),
    /// A JSON value, which is told as such where the format is JSON itself.
    Json(&'a [u8]),
    /// Letters, digits and signs that need no escaping.
    Formatted(fmt::Arguments<'a>),
}

/// What the values of a map are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// JSON strings, of which the content is told.
    Texts,
    /// Any JSON.
    Json,
}

impl Values {
    /// A value as the text that it is where the format is not JSON.
    pub(super) fn text(self, value: &[u8]) -> Text<'_> {
        match (self, quoted(value)) {
            (Self::Texts, Some(content)) => Text::Escaped(content),
            _ => Text::Json(value),
        }
    }
}

/// Something that is told field by field.
pub(super) trait Record {
    fn write(self, fields: &mut impl Fields);
}

/// One way of writing fields.
pub(super) trait Fields {
    /// A text that every record has.
    fn text(&mut self, field: Field, text: Text<'_>);
    /// A text that a record may have.
    fn optional(&mut self, field: Field, text: Option<Text<'_>>);
    /// A number that every record has.
    fn number(&mut self, field: Field, number: u64);
    /// Members of a JSON object: the contents of their names, and their values as they are written.
    fn map<'t>(
        &mut self,
        field: Field,
        members: impl Iterator<Item = (&'t [u8], &'t [u8])> + Clone,
        values: Values,
    );
    /// A record that a record may have.
    fn record(&mut self, field: Field, record: Option<impl Record>);
}

/// What every record says of itself.
struct Origin<'a> {
    kind: &'static str,
    id: Text<'a>,
    sequence: u64,
    node: &'a str,
    epoch: [u8; 16],
    outcome: Option<&'static str>,
    time_ms: u64,
}

impl Record for Origin<'_> {
    fn write(self, fields: &mut impl Fields) {
        fields.text(KIND, Text::Plain(self.kind.as_bytes()));
        fields.text(ID, self.id);
        fields.number(SEQUENCE, self.sequence);
        fields.text(NODE, Text::Plain(self.node.as_bytes()));
        fields.text(EPOCH, Text::Plain(&self.epoch));
        fields.optional(OUTCOME, self.outcome.map(|outcome| Text::Plain(outcome.as_bytes())));
        fields.number(TIME, self.time_ms);
    }
}

/// An event.
pub(super) struct OfEvent<'a, 'b> {
    pub(super) told: &'a Told<'a>,
    pub(super) parts: Parts<'b>,
}

impl Record for OfEvent<'_, '_> {
    fn write(self, fields: &mut impl Fields) {
        let Told { event, envelope, .. } = self.told;
        let added = self.parts.all_added();
        let Parts { event: mut members, details, administrator, unreadable, .. } = self.parts;
        let kind = match event.kind() {
            EventKind::User => "user",
            EventKind::Admin => "admin",
        };
        let stand_in = format_args!("{}-{}", envelope.epoch, envelope.sequence);
        let id = match event.id() {
            Some(id) => {
                members.is_told_as("id", id);
                Text::Plain(id.as_bytes())
            }
            None => Text::Formatted(stand_in),
        };
        members.is_told_as_number("time", event.time_ms());
        let origin = Origin {
            kind,
            id,
            sequence: envelope.sequence,
            node: envelope.node,
            epoch: envelope.epoch.digits(),
            outcome: Some(outcome(event, envelope)),
            time_ms: event.time_ms(),
        };
        origin.write(fields);
        for field in TEXTS {
            fields.optional(field, members.text(field.name).map(Text::Escaped));
        }
        let details = details.filter(is_of_texts);
        if details.is_some() {
            members.is_told("details");
        }
        fields.map(DETAILS, details.iter().flat_map(|details| details.left()), Values::Texts);
        fields.record(AUTH_DETAILS, administrator.map(Administrator));
        fields.optional(TRACEPARENT, event.traceparent().map(|trace| Text::Plain(trace.as_bytes())));
        fields.optional(GAP, None);
        let unreadable = unreadable.map(String::from_utf8_lossy);
        fields.optional(UNREADABLE, unreadable.as_ref().map(|text| Text::Plain(text.as_bytes())));
        fields.map(UNKNOWN, members.left(), Values::Json);
        fields.optional(ADDED, added.map(Text::Json));
    }
}

/// Whether an object can be told as a map of texts without losing anything but what is `null`.
fn is_of_texts(object: &Object<'_>) -> bool {
    let mut left = object.left().peekable();
    left.peek().is_some() && left.all(|(_, value)| value.starts_with(b"\""))
}

/// Who made a change, and from where.
struct Administrator<'a>(Object<'a>);

impl Record for Administrator<'_> {
    fn write(mut self, fields: &mut impl Fields) {
        for field in OF_ADMINISTRATOR {
            fields.optional(field, self.0.text(field.name).map(Text::Escaped));
        }
        fields.map(UNKNOWN_OF_ADMINISTRATOR, self.0.left(), Values::Json);
    }
}

/// Word of events that are missing.
pub(super) struct OfGap<'a> {
    pub(super) gap: &'a Gap,
    pub(super) sequence: u64,
    pub(super) time_ms: u64,
    /// The gap's JSON.
    pub(super) told: &'a [u8],
}

impl Record for OfGap<'_> {
    fn write(self, fields: &mut impl Fields) {
        let Self { gap, sequence, time_ms, told } = self;
        let id = format_args!("{}-{sequence}", gap.epoch);
        let origin = Origin {
            kind: "gap",
            id: Text::Formatted(id),
            sequence,
            node: &gap.node,
            epoch: gap.epoch.digits(),
            outcome: None,
            time_ms,
        };
        origin.write(fields);
        TEXTS.iter().for_each(|field| fields.optional(*field, None));
        fields.map(DETAILS, std::iter::empty(), Values::Texts);
        fields.record(AUTH_DETAILS, None::<Administrator<'_>>);
        fields.optional(TRACEPARENT, None);
        fields.optional(GAP, Some(Text::Json(told)));
        fields.optional(UNREADABLE, None);
        fields.map(UNKNOWN, std::iter::empty(), Values::Json);
        fields.optional(ADDED, None);
    }
}

#[cfg(test)]
mod tests {
    use keyferry_journal::event::{EventEncoder, Events};
    use keyferry_journal::{Epoch, Outcome};
    use serde_json::Value;

    use super::*;
    use crate::format::reading::Reading;
    use crate::format::schema;
    use crate::gap::GapReason;
    use crate::headers::Envelope;

    /// The names and numbers of fields in the order in which they are told, those of a record in a record behind it.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Told {
        fields: Vec<(String, u32)>,
        nested: Vec<(String, u32)>,
    }

    impl Told {
        fn note(&mut self, field: Field) {
            self.fields.push((field.name.to_owned(), field.number));
        }
    }

    impl Fields for Told {
        fn text(&mut self, field: Field, _: Text<'_>) {
            self.note(field);
        }

        fn optional(&mut self, field: Field, _: Option<Text<'_>>) {
            self.note(field);
        }

        fn number(&mut self, field: Field, _: u64) {
            self.note(field);
        }

        fn map<'t>(
            &mut self,
            field: Field,
            _: impl Iterator<Item = (&'t [u8], &'t [u8])> + Clone,
            _: Values,
        ) {
            self.note(field);
        }

        fn record(&mut self, field: Field, record: Option<impl Record>) {
            self.note(field);
            if let Some(record) = record {
                let mut nested = Self::default();
                record.write(&mut nested);
                self.nested = nested.fields;
            }
        }
    }

    fn of_event() -> Told {
        let body = br#"{"id":"e","authDetails":{"userId":"u"}}"#;
        let mut payload = EventEncoder::new();
        payload.push(EventKind::Admin, 1, &[], body);
        let event = Events::of(payload.payload()).next().unwrap().unwrap();
        let envelope = Envelope { node: "n", epoch: Epoch(7), outcome: Outcome::Committed, sequence: 1 };
        let mut reading = Reading::default();
        let told = super::Told { event: &event, envelope: &envelope, body };
        let mut fields = Told::default();
        OfEvent { told: &told, parts: reading.of(body) }.write(&mut fields);
        fields
    }

    fn in_avro(schema: &Value) -> Vec<(String, u32)> {
        let fields = schema["fields"].as_array().unwrap();
        (1..)
            .zip(fields)
            .map(|(number, field)| (field["name"].as_str().unwrap().to_owned(), number))
            .collect()
    }

    /// Of a message, with the names that its fields have in JSON.
    fn in_protobuf(message: &str) -> Vec<(String, u32)> {
        let begin = schema::PROTOBUF.text.find(&format!("message {message} {{")).unwrap();
        let lines = schema::PROTOBUF.text[begin..].lines().skip(1).take_while(|line| *line != "}");
        let fields = lines.filter_map(|line| line.strip_suffix(';')?.split_once(" = "));
        fields
            .map(|(name, number)| (camel_case(name.rsplit_once(' ').unwrap().1), number.parse().unwrap()))
            .collect()
    }

    fn camel_case(name: &str) -> String {
        let mut words = name.split('_');
        let first = words.next().unwrap().to_owned();
        words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
    }

    fn in_json(schema: &Value) -> Vec<&str> {
        schema["properties"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn records_tell_the_fields_of_each_schema_in_their_order() {
        let event = of_event();
        let gap = Gap::new(GapReason::NoSpace, Epoch(7), "n", String::new());
        let mut of_gap = Told::default();
        OfGap { gap: &gap, sequence: 1, time_ms: 1, told: b"{}" }.write(&mut of_gap);
        assert_eq!(event.fields, of_gap.fields);

        let avro: Value = serde_json::from_str(schema::AVRO.text).unwrap();
        assert_eq!(event.fields, in_avro(&avro));
        let nested =
            avro["fields"].as_array().unwrap().iter().find(|field| field["name"] == AUTH_DETAILS.name);
        assert_eq!(event.nested, in_avro(&nested.unwrap()["type"][1]));

        assert_eq!(event.fields, in_protobuf("Event"));
        assert_eq!(event.nested, in_protobuf("AuthDetails"));

        let json: Value = serde_json::from_str(schema::JSON.text).unwrap();
        let sorted = |fields: &[(String, u32)]| {
            let mut names: Vec<_> = fields.iter().map(|(name, _)| name.clone()).collect();
            names.sort();
            names
        };
        assert_eq!(sorted(&event.fields), in_json(&json));
        assert_eq!(sorted(&event.nested), in_json(&json["properties"][AUTH_DETAILS.name]));
    }
}
