//! What the value of a record looks like.
//!
//! The invariants:
//!
//! - **Nothing of an event is dropped.** What a format has no place for stands under a name of its own (`unmapped` in OCSF, `keycloak` in ECS, `unknown` where there is a schema), as Keycloak wrote it, fields of later Keycloaks among them. Only what is `null` is left out.
//! - **A format sees an event after its redaction.** What of an event may be redacted is taken from its JSON, never from the fields beside it; but for its id and its type, which the headers tell as well.
//! - **A value is written without allocating**, into a buffer that is reused from record to record; and [`Format::Keycloak`] writes nothing at all.
//!
//! One module a format, beside what they share:
//!
//! - `cloudevents`: CloudEvents 1.0 in structured mode.
//! - `ocsf`: the Open Cybersecurity Schema Framework.
//! - `ecs`: the Elastic Common Schema.
//! - `avro`, `protobuf`, `json_schema`: three ways of writing the fields (`fields`) of one `schema`, which a registry knows.
//! - `meaning`: what a type of event means, whatever a format calls it.
//! - `reading`: the members of an event's JSON, told or left over.
//! - `writing`: JSON, written member by member.
//! - `binary`: numbers and texts as Avro and Protobuf write them.

mod avro;
mod binary;
mod cloudevents;
mod ecs;
mod fields;
mod json_schema;
mod meaning;
mod ocsf;
mod protobuf;
mod reading;
mod schema;
mod writing;

use keyferry_journal::event::EventView;
use memchr::{memchr, memmem};

use crate::gap::Gap;
use crate::headers::{Envelope, HeaderMode, Headers};
use crate::json;
use crate::redaction::OfUser;
use avro::Avro;
use fields::{OfEvent, OfGap, Record};
use json_schema::Json;
use protobuf::Protobuf;
use reading::Reading;
use writing::ObjectWriter;

pub use ecs::VERSION as ECS_VERSION;
pub use ocsf::VERSION as OCSF_VERSION;
pub use schema::{Schema, SchemaId, SchemaIds, SchemaType, SchemaUnknown};

/// What the value of a record looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Keycloak's own JSON, byte for byte but for what is redacted.
    #[default]
    Keycloak,
    /// CloudEvents 1.0 in structured mode: one JSON object with the event's attributes, and Keycloak's JSON as its `data`.
    CloudEvents,
    /// The Open Cybersecurity Schema Framework, version [`OCSF_VERSION`].
    Ocsf,
    /// The Elastic Common Schema, version [`ECS_VERSION`].
    Ecs,
    /// Avro's binary encoding, by a schema of a registry.
    Avro,
    /// Protobuf, by a schema of a registry.
    Protobuf,
    /// JSON, by a schema of a registry.
    JsonSchema,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 7] = [
        Self::Keycloak,
        Self::CloudEvents,
        Self::Ocsf,
        Self::Ecs,
        Self::Avro,
        Self::Protobuf,
        Self::JsonSchema,
    ];

    /// The media type of its values, for the header `content-type`. Where there is a schema, it is that of what stands behind the frame.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::CloudEvents => "application/cloudevents+json",
            Self::Keycloak | Self::Ocsf | Self::Ecs => "application/json",
            Self::Avro => "application/avro",
            Self::Protobuf => "application/protobuf",
            // As JSON Schema calls what it describes: no JSON reader takes the frame before it.
            Self::JsonSchema => "application/schema-instance+json",
        }
    }

    /// The schema by which its values are read, and whose id they name; `None` if they need none.
    pub const fn schema(self) -> Option<Schema> {
        match self {
            Self::Keycloak | Self::CloudEvents | Self::Ocsf | Self::Ecs => None,
            Self::Avro => Some(schema::AVRO),
            Self::Protobuf => Some(schema::PROTOBUF),
            Self::JsonSchema => Some(schema::JSON),
        }
    }
}

/// How the JSON of a gap begins.
const GAP: &[u8] = br#"{"type":"KEYFERRY_GAP""#;

/// The JSON of the [`Gap`] that the value of a record tells of, in whichever format; `None` if it tells of none.
pub fn gap_in(value: &[u8]) -> Option<&[u8]> {
    if let Some(record) = schema::framed(value) {
        return gap_of_record(record);
    }
    let places: [&[&str]; 4] = [&[], &["data"], &["unmapped", "gap"], &["keyferry", "gap"]];
    let found = places
        .iter()
        .filter_map(|names| names.iter().try_fold(value, |value, name| json::member(value, name)));
    found.into_iter().find(|json| json.starts_with(GAP))
}

/// The same, of what stands in a frame: the kind of a record is its first field, and a gap's JSON stands in it as it is.
fn gap_of_record(record: &[u8]) -> Option<&[u8]> {
    // Behind their lengths, and in Protobuf behind the place of the message and the number of the field.
    let kinds: [&[u8]; 3] = [b"\x06gap", b"\0\x0A\x03gap", br#"{"kind":"gap""#];
    kinds.iter().find(|kind| record.starts_with(kind))?;
    let begin = memmem::find(record, GAP)?;
    let end = json::members(record, begin, json::DEEPEST, |_, _| true).ok()?;
    Some(&record[begin..end])
}

/// An event on its way into a record.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) event: &'a EventView<'a>,
    pub(crate) envelope: &'a Envelope<'a>,
    /// The event's JSON, without what is redacted.
    pub(crate) body: &'a [u8],
}

/// Writes values.
#[derive(Debug, Default)]
pub(crate) struct Formatter {
    format: Format,
    /// The ids of the format's schema.
    schema_ids: SchemaIds,
    value: Vec<u8>,
    reading: Reading,
    /// The attributes of CloudEvents where the record has other headers.
    attributes: Headers,
}

impl Formatter {
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// From now on values are of `format`. Ids of another one's schema are forgotten.
    pub(crate) fn set_format(&mut self, format: Format) {
        if self.format != format {
            self.schema_ids.forget();
        }
        self.format = format;
    }

    pub(crate) fn schema_ids(&mut self) -> &mut SchemaIds {
        &mut self.schema_ids
    }

    /// Notes what a value tells of an event that its record has no headers of, and that its JSON does not tell. `key` is the record's.
    pub(crate) fn begin(
        &mut self,
        mode: HeaderMode,
        event: &EventView<'_>,
        envelope: &Envelope<'_>,
        of_user: OfUser<'_>,
        key: &[u8],
    ) {
        if self.format == Format::CloudEvents && mode != HeaderMode::CloudEvents {
            let write_key = |arena: &mut Vec<u8>| {
                arena.extend_from_slice(key);
                false
            };
            self.attributes.build(HeaderMode::CloudEvents, event, envelope, of_user, write_key);
        }
    }

    /// The value of the record of an event for `topic`, after [`Formatter::begin`]. The record has these headers.
    pub(crate) fn value<'t>(
        &mut self,
        topic: &'t str,
        mode: HeaderMode,
        told: &Told<'_>,
        headers: &Headers,
    ) -> Result<&[u8], SchemaUnknown<'t>> {
        self.begin_value(topic)?;
        match self.format {
            Format::Keycloak => self.value.extend_from_slice(told.body),
            Format::CloudEvents if mode == HeaderMode::CloudEvents => {
                cloudevents::write(headers, told.body, &mut self.value);
            }
            Format::CloudEvents => {
                cloudevents::write(&self.attributes, told.body, &mut self.value);
            }
            Format::Ocsf => ocsf::write(told, &mut self.reading, &mut self.value),
            Format::Ecs => ecs::write(told, &mut self.reading, &mut self.value),
            Format::Avro | Format::Protobuf | Format::JsonSchema => {
                let parts = self.reading.of(told.body);
                write_record(
                    self.format,
                    OfEvent { told, parts },
                    memchr(b'\\', told.body).is_some(),
                    &mut self.value,
                );
            }
        }
        Ok(&self.value)
    }

    /// The value of the record of a gap for `topic`, whose JSON is `told`. `key` is the record's.
    pub(crate) fn gap<'a>(
        &'a mut self,
        topic: &'a str,
        gap: &Gap,
        sequence: u64,
        time_ms: u64,
        key: &[u8],
        told: &'a [u8],
    ) -> Result<&'a [u8], SchemaUnknown<'a>> {
        self.begin_value(topic)?;
        match self.format {
            Format::Keycloak => return Ok(told),
            Format::CloudEvents => {
                self.attributes.begin_alone().extend_from_slice(key);
                self.attributes.build_gap(HeaderMode::CloudEvents, gap, sequence, time_ms, 0..key.len());
                cloudevents::write(&self.attributes, told, &mut self.value);
            }
            Format::Ocsf => ocsf::write_gap(gap, sequence, time_ms, told, &mut self.value),
            Format::Ecs => ecs::write_gap(gap, sequence, time_ms, told, &mut self.value),
            Format::Avro | Format::Protobuf | Format::JsonSchema => {
                write_record(self.format, OfGap { gap, sequence, time_ms, told }, false, &mut self.value);
            }
        }
        Ok(&self.value)
    }

    /// Begins a value for `topic`: with a frame, where there is a schema.
    fn begin_value<'t>(&mut self, topic: &'t str) -> Result<(), SchemaUnknown<'t>> {
        self.value.clear();
        if let Some(Schema { kind, .. }) = self.format.schema() {
            let id = self.schema_ids.of(topic).ok_or(SchemaUnknown { topic })?;
            schema::write_frame(kind, id, &mut self.value);
        }
        Ok(())
    }
}

/// Writes a record by the schema of `format`, if it has one. `has_escapes` tells whether there may be escapes in the JSON that it was taken from.
fn write_record(format: Format, record: impl Record, has_escapes: bool, out: &mut Vec<u8>) {
    match format.schema().map(|schema| schema.kind) {
        None => {}
        Some(SchemaType::Avro) => record.write(&mut Avro { out, has_escapes }),
        Some(SchemaType::Protobuf) => record.write(&mut Protobuf { out, has_escapes }),
        Some(SchemaType::Json) => record.write(&mut Json(ObjectWriter::begin(out))),
    }
}

/// The ids of trace and span in a [W3C traceparent](https://www.w3.org/TR/trace-context/#traceparent-header).
fn ids_of_trace(parent: &str) -> Option<(&str, &str)> {
    let mut parts = parent.split('-').skip(1);
    let (trace, span) = (parts.next()?, parts.next()?);
    (trace.len() == 32 && span.len() == 16).then_some((trace, span))
}
