//! A record on its way to a sink.
//!
//! The invariant: **encoding an event allocates nothing once the encoder has warmed up.** Key and header values are written one after the other into an
//! arena that is reused from record to record; the value stays where the journal's reader has it, unless something in it is redacted.

use keyferry_journal::event::{EventKind, EventView};

use crate::format::{Format, Formatter, SchemaId, SchemaIds, SchemaUnknown, Told};
use crate::gap::Gap;
use crate::headers::{Envelope, Header, HeaderMode, Headers, Span, resolve};
use crate::key::write_key;
use crate::redaction::{OfUser, Redaction, Redactor};
use crate::routing::Routing;

/// Where the two kinds of events go. An event whose kind has no topic is not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// The topic of user events.
    pub events: Option<String>,
    /// The topic of admin events.
    pub admin_events: Option<String>,
}

impl Topics {
    /// The topic of `kind`, if it is published at all.
    pub fn of(&self, kind: EventKind) -> Option<&str> {
        match kind {
            EventKind::User => self.events.as_deref(),
            EventKind::Admin => self.admin_events.as_deref(),
        }
    }
}

/// One record: what a sink hands to its destination. Borrowed from the journal's reader and from the [`Encoder`].
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The key, never empty.
    pub key: &'a [u8],
    /// The value: Keycloak's own JSON, with what is redacted replaced in it, or that of a [`Gap`]; in another [`Format`] if one was asked for.
    pub value: &'a [u8],
    /// The event's own time, milliseconds since the Unix epoch: the record's timestamp.
    pub timestamp_ms: u64,
    spans: &'a [Span],
    arena: &'a [u8],
    /// Headers that do not come from the encoder, after those that do.
    added: &'a [Header<'a>],
}

impl<'a> Record<'a> {
    /// A record that was encoded earlier, from its parts.
    pub fn of_parts(
        topic: &'a str,
        key: &'a [u8],
        value: &'a [u8],
        timestamp_ms: u64,
        headers: &'a [Header<'a>],
    ) -> Self {
        Self { topic, key, value, timestamp_ms, spans: &[], arena: key, added: headers }
    }

    /// The same for another topic, with more headers.
    #[must_use]
    pub fn readdressed(self, topic: &'a str, headers: &'a [Header<'a>]) -> Self {
        Self { topic, added: headers, ..self }
    }

    /// The headers, in the order in which a consumer sees them.
    pub fn headers(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        resolve(self.spans, self.arena).chain(self.added.iter().copied())
    }

    /// How many bytes the record brings to its destination: key, value and the values of its headers, which count once where one is another.
    #[inline]
    pub fn size(&self) -> usize {
        let added: usize = self.added.iter().map(|header| header.value.len()).sum();
        self.arena.len() + self.value.len() + added
    }
}

/// Makes records of events.
#[derive(Debug, Default)]
pub struct Encoder {
    mode: HeaderMode,
    headers: Headers,
    /// The value of the last gap record.
    value: Vec<u8>,
    routing: Routing,
    /// The topic that the template made last.
    topic: String,
    redactor: Redactor,
    /// Whether the redaction concerns a user's id in keys and headers, as few do.
    redacts_user: bool,
    formatter: Formatter,
}

impl Encoder {
    /// An encoder of records with the headers of `mode`, which masks secrets.
    pub fn new(mode: HeaderMode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// From now on records have the headers of `mode`.
    pub fn set_mode(&mut self, mode: HeaderMode) {
        self.mode = mode;
    }

    /// From now on values are of `format`. If it is another one, what was learnt of a schema's ids is forgotten.
    pub fn set_format(&mut self, format: Format) {
        self.formatter.set_format(format);
        self.headers.format = format;
    }

    /// From now on values for `topic` name the schema of the format by `id`. Without effect on formats that have none.
    pub fn learn(&mut self, topic: &str, id: SchemaId) {
        self.formatter.schema_ids().learn(topic, id);
    }

    /// No id of a schema is known any more, because those that were learnt are another registry's.
    pub fn forget_schema_ids(&mut self) {
        *self.formatter.schema_ids() = SchemaIds::default();
    }

    /// The same, with values of `format`.
    #[must_use]
    pub fn formatting(mut self, format: Format) -> Self {
        self.set_format(format);
        self
    }

    /// The same, whose values name the schema of the format by `ids`. After [`Encoder::formatting`].
    #[must_use]
    pub fn knowing(mut self, ids: SchemaIds) -> Self {
        *self.formatter.schema_ids() = ids;
        self
    }

    /// The same, with topics and keys of its own.
    #[must_use]
    pub fn routing(self, routing: Routing) -> Self {
        Self { routing, ..self }
    }

    /// The same, with another redaction.
    #[must_use]
    pub fn redacting(self, redaction: Redaction) -> Self {
        let redacts_user = !matches!(redaction.of_user(), OfUser::Told);
        Self { redactor: Redactor::new(redaction), redacts_user, ..self }
    }

    /// The record of `event`, for `topic` unless a template makes another. It lives until the next call.
    ///
    /// # Errors
    /// The format has a schema whose id for the topic was not [learnt](Self::learn) yet. The same event can be encoded again as soon as it is.
    pub fn encode<'a>(
        &'a mut self,
        topic: &'a str,
        event: &EventView<'a>,
        envelope: &Envelope<'_>,
    ) -> Result<Record<'a>, SchemaUnknown<'a>> {
        let Self { mode, headers, routing, topic: made, redactor, redacts_user, formatter, .. } = self;
        let of_user = if *redacts_user { redactor.redaction().of_user() } else { OfUser::Told };
        let key = headers.build(*mode, event, envelope, of_user, |arena| {
            let is_keyed = routing.key.as_ref().is_some_and(|template| template.write(event, of_user, arena));
            !is_keyed && write_key(event, of_user, arena)
        });
        formatter.begin(*mode, event, envelope, of_user, &headers.arena()[key.clone()]);
        let is_made = routing.topic.as_ref().is_some_and(|template| template.write(event, made));
        let topic: &str = if is_made { made } else { topic };
        let body = redactor.redact(event.body());
        let value = match formatter.format() {
            Format::Keycloak => body,
            _ => formatter.value(topic, *mode, &Told { event, envelope, body }, headers)?,
        };
        let (spans, arena) = (headers.spans(), headers.arena());
        Ok(Record { topic, key: &arena[key], value, timestamp_ms: event.time_ms(), spans, arena, added: &[] })
    }

    /// The record of `gap` for `topic`, with the number `sequence`. `time_ms` is when it happened as far as the journal tells, for want of
    /// a time in `gap`. It lives until the next call.
    ///
    /// # Errors
    /// Those of [`Encoder::encode`].
    pub fn encode_gap<'a>(
        &'a mut self,
        topic: &'a str,
        gap: &Gap,
        sequence: u64,
        time_ms: u64,
    ) -> Result<Record<'a>, SchemaUnknown<'a>> {
        self.value.clear();
        let time_ms = gap.last_time.unwrap_or(time_ms);
        let key = gap.write_key(self.headers.begin_alone());
        self.headers.build_gap(self.mode, gap, sequence, time_ms, key.clone());
        gap.write_value(&mut self.value);
        let Self { formatter, value, headers, .. } = self;
        let (spans, arena) = (headers.spans(), headers.arena());
        Ok(Record {
            topic,
            value: formatter.gap(topic, gap, sequence, time_ms, &arena[key.clone()], value)?,
            key: &arena[key],
            timestamp_ms: time_ms,
            spans,
            arena,
            added: &[],
        })
    }
}
