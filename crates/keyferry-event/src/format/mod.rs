//! What the value of a record looks like.
//!
//! The invariants:
//!
//! - **Nothing of an event is dropped.** What a format has no place for stands under a name of its own (`unmapped` in OCSF, `keycloak` in ECS), as Keycloak wrote it, fields of later Keycloaks among them. Only what is `null` is left out.
//! - **A format sees an event after its redaction.** What of an event may be redacted is taken from its JSON, never from the fields beside it; but for its id and its type, which the headers tell as well.
//! - **A value is written without allocating**, into a buffer that is reused from record to record; and [`Format::Keycloak`] writes nothing at all.
//!
//! One module a format, beside what they share:
//!
//! - `cloudevents`: CloudEvents 1.0 in structured mode.
//! - `ocsf`: the Open Cybersecurity Schema Framework.
//! - `ecs`: the Elastic Common Schema.
//! - `meaning`: what a type of event means, whatever a format calls it.
//! - `reading`: the members of an event's JSON, told or left over.
//! - `writing`: JSON, written member by member.

mod cloudevents;
mod ecs;
mod meaning;
mod ocsf;
mod reading;
mod writing;

use std::ops::Range;

use keyferry_journal::event::EventView;

use crate::gap::Gap;
use crate::headers::{Envelope, HeaderMode, HeaderSpans};
use crate::json;
use crate::redaction::OfUser;
use reading::Reading;

pub use ecs::VERSION as ECS_VERSION;
pub use ocsf::VERSION as OCSF_VERSION;

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
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Keycloak, Self::CloudEvents, Self::Ocsf, Self::Ecs];

    /// The media type of its values, for the header `content-type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::CloudEvents => "application/cloudevents+json",
            Self::Keycloak | Self::Ocsf | Self::Ecs => "application/json",
        }
    }
}

/// How the JSON of a gap begins.
const GAP: &[u8] = br#"{"type":"KEYFERRY_GAP""#;

/// The JSON of the [`Gap`] that the value of a record tells of, in whichever format; `None` if it tells of none.
pub fn gap_in(value: &[u8]) -> Option<&[u8]> {
    let places: [&[&str]; 4] = [&[], &["data"], &["unmapped", "gap"], &["keyferry", "gap"]];
    let found = places
        .iter()
        .filter_map(|names| names.iter().try_fold(value, |value, name| json::member(value, name)));
    found.into_iter().find(|json| json.starts_with(GAP))
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
    pub(crate) format: Format,
    value: Vec<u8>,
    reading: Reading,
    /// The attributes of CloudEvents where the record has other headers.
    attributes: HeaderSpans,
    arena: Vec<u8>,
}

impl Formatter {
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
            let key = self.begin_arena(key);
            self.attributes.build(HeaderMode::CloudEvents, event, envelope, of_user, key, &mut self.arena);
        }
    }

    /// The value of the record of an event, after [`Formatter::begin`]. The record has these headers, their values in `arena`.
    pub(crate) fn value(
        &mut self,
        mode: HeaderMode,
        told: &Told<'_>,
        headers: &HeaderSpans,
        arena: &[u8],
    ) -> &[u8] {
        self.value.clear();
        match self.format {
            Format::Keycloak => self.value.extend_from_slice(told.body),
            Format::CloudEvents if mode == HeaderMode::CloudEvents => {
                cloudevents::write(headers.resolve(arena), told.body, &mut self.value);
            }
            Format::CloudEvents => {
                cloudevents::write(self.attributes.resolve(&self.arena), told.body, &mut self.value);
            }
            Format::Ocsf => ocsf::write(told, &mut self.reading, &mut self.value),
            Format::Ecs => ecs::write(told, &mut self.reading, &mut self.value),
        }
        &self.value
    }

    /// The value of the record of a gap, whose JSON is `told`. `key` is the record's.
    pub(crate) fn gap<'a>(
        &'a mut self,
        gap: &Gap,
        sequence: u64,
        time_ms: u64,
        key: &[u8],
        told: &'a [u8],
    ) -> &'a [u8] {
        self.value.clear();
        match self.format {
            Format::Keycloak => return told,
            Format::CloudEvents => {
                let key = self.begin_arena(key);
                let Self { attributes, arena, .. } = self;
                attributes.build_gap(HeaderMode::CloudEvents, gap, sequence, time_ms, key, arena);
                cloudevents::write(attributes.resolve(arena), told, &mut self.value);
            }
            Format::Ocsf => ocsf::write_gap(gap, sequence, time_ms, told, &mut self.value),
            Format::Ecs => ecs::write_gap(gap, sequence, time_ms, told, &mut self.value),
        }
        &self.value
    }

    fn begin_arena(&mut self, key: &[u8]) -> Range<usize> {
        self.arena.clear();
        self.arena.extend_from_slice(key);
        0..key.len()
    }
}

/// The ids of trace and span in a [W3C traceparent](https://www.w3.org/TR/trace-context/#traceparent-header).
fn ids_of_trace(parent: &str) -> Option<(&str, &str)> {
    let mut parts = parent.split('-').skip(1);
    let (trace, span) = (parts.next()?, parts.next()?);
    (trace.len() == 32 && span.len() == 16).then_some((trace, span))
}
