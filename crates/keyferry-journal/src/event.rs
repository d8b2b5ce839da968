//! The payload of a PREPARE: events, each with the few fields that routing needs beside the untouched JSON.
//!
//! Decoding allocates nothing and copies nothing: an [`EventView`] borrows from the payload. Every length is checked
//! against what is there before it is used, so that a payload with a right checksum and wrong content (a fault in a
//! writer) ends in a [`Malformed`], not in a panic. Once an event is malformed the ones after it cannot be found, so the
//! iterator ends there.

use std::fmt;

use crate::format::{u16_at, u32_at, u64_at};

/// Length of an event's fixed part in bytes.
const EVENT_HEADER: usize = 16;
/// Length of a field's tag and length in bytes.
const FIELD_HEADER: usize = 3;
/// A longer value is left out of the field block, in bytes.
pub const MAX_FIELD: usize = 4096;
/// The number of field tags known, counted from 1.
const FIELDS: usize = 11;

/// Which of Keycloak's two kinds of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// What a user did: `org.keycloak.events.Event`.
    User,
    /// What an administrator did: `org.keycloak.events.admin.AdminEvent`.
    Admin,
}

impl EventKind {
    fn code(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Admin => 2,
        }
    }

    fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::User),
            2 => Some(Self::Admin),
            _ => None,
        }
    }
}

/// The fields that the field block can carry; the discriminant is the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Field {
    /// The event's id.
    Id = 1,
    /// `type` or `operationType`.
    Type = 2,
    /// The realm's id.
    RealmId = 3,
    /// The realm's name.
    RealmName = 4,
    /// `clientId` or `authDetails.clientId`.
    Client = 5,
    /// The user whom a user event concerns, or the administrator who acted.
    UserId = 6,
    /// `resourceType` of an admin event.
    ResourceType = 7,
    /// `resourcePath` of an admin event.
    ResourcePath = 8,
    /// The error.
    Error = 9,
    /// W3C Trace Context of the request.
    TraceParent = 10,
    /// `unknown` if the event was laid aside in doubt and an operator has had it published.
    Outcome = 11,
}

impl Field {
    /// Every field, in the order of the tags.
    pub const ALL: [Self; FIELDS] = [
        Self::Id,
        Self::Type,
        Self::RealmId,
        Self::RealmName,
        Self::Client,
        Self::UserId,
        Self::ResourceType,
        Self::ResourcePath,
        Self::Error,
        Self::TraceParent,
        Self::Outcome,
    ];
}

/// Why bytes are not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The payload ends before the event does.
    #[error("the payload ends within it")]
    CutShort,
    /// The kind is neither a user nor an admin event.
    #[error("its kind is {0}")]
    UnknownKind(u8),
    /// A field reaches beyond the field block.
    #[error("a field reaches beyond the field block")]
    FieldCutShort,
    /// The tags do not ascend.
    #[error("field tag {0} is out of order")]
    FieldOrder(u8),
    /// A field's value is not UTF-8.
    #[error("field {0} is not UTF-8")]
    FieldNotUtf8(u8),
    /// Bytes follow the last event.
    #[error("bytes follow the last event")]
    Surplus,
}

/// One event, borrowed from the payload of its PREPARE.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EventView<'a> {
    kind: EventKind,
    time_ms: u64,
    fields: Fields<'a>,
    body: &'a [u8],
}

impl<'a> EventView<'a> {
    /// Whether it is a user or an admin event.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// The event's own time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The JSON that Keycloak's own Jackson makes of the event. Not checked to be JSON or UTF-8.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The field's value, if the event has it and it is not longer than [`MAX_FIELD`].
    #[must_use]
    pub fn field(&self, field: Field) -> Option<&'a str> {
        self.fields[field as usize - 1]
    }

    /// The event's id.
    #[must_use]
    pub fn id(&self) -> Option<&'a str> {
        self.field(Field::Id)
    }

    /// `type`, such as `LOGIN`, or `operationType`, such as `CREATE`.
    #[must_use]
    pub fn event_type(&self) -> Option<&'a str> {
        self.field(Field::Type)
    }

    /// The realm's id.
    #[must_use]
    pub fn realm_id(&self) -> Option<&'a str> {
        self.field(Field::RealmId)
    }

    /// The realm's name.
    #[must_use]
    pub fn realm_name(&self) -> Option<&'a str> {
        self.field(Field::RealmName)
    }

    /// The client, as its `clientId`.
    #[must_use]
    pub fn client(&self) -> Option<&'a str> {
        self.field(Field::Client)
    }

    /// The user whom a user event concerns, or the administrator who acted.
    #[must_use]
    pub fn user_id(&self) -> Option<&'a str> {
        self.field(Field::UserId)
    }

    /// `resourceType` of an admin event, such as `USER`.
    #[must_use]
    pub fn resource_type(&self) -> Option<&'a str> {
        self.field(Field::ResourceType)
    }

    /// `resourcePath` of an admin event, such as `users/<id>/role-mappings/realm`.
    #[must_use]
    pub fn resource_path(&self) -> Option<&'a str> {
        self.field(Field::ResourcePath)
    }

    /// The error.
    #[must_use]
    pub fn error(&self) -> Option<&'a str> {
        self.field(Field::Error)
    }

    /// W3C Trace Context of the request.
    #[must_use]
    pub fn traceparent(&self) -> Option<&'a str> {
        self.field(Field::TraceParent)
    }

    /// Whether the event itself says that the outcome of its first transaction is not known, whatever became of the one
    /// that carries it now.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.field(Field::Outcome) == Some("unknown")
    }

    /// No event: for one to be read into.
    #[must_use]
    pub fn empty() -> Self {
        Self { kind: EventKind::User, time_ms: 0, fields: [None; FIELDS], body: &[] }
    }

    /// Becomes the first event of `bytes`; returns what follows that.
    fn decode(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        if bytes.len() < EVENT_HEADER {
            return Err(Malformed::CutShort);
        }
        let body_length = u32_at(bytes, 0) as usize;
        let field_length = usize::from(u16_at(bytes, 4));
        self.kind = EventKind::of(bytes[6]).ok_or(Malformed::UnknownKind(bytes[6]))?;
        self.time_ms = u64_at(bytes, 8);
        let rest = &bytes[EVENT_HEADER..];
        let (block, rest) = rest.split_at_checked(field_length).ok_or(Malformed::CutShort)?;
        let (body, rest) = rest.split_at_checked(body_length).ok_or(Malformed::CutShort)?;
        self.body = body;
        self.fields = [None; FIELDS];
        decode_fields(block, &mut self.fields)?;
        Ok(rest)
    }
}

impl fmt::Debug for EventView<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EventView")
            .field("kind", &self.kind)
            .field("time_ms", &self.time_ms)
            .field("fields", &self.fields)
            .field("body", &String::from_utf8_lossy(self.body))
            .finish()
    }
}

/// What the field block holds, each field in the place of its tag.
type Fields<'a> = [Option<&'a str>; FIELDS];

/// One pass over the field block, into `fields`: they are too many to be handed on. Mostly all of it is UTF-8, the tags and lengths between the values as well, and then it is checked once and not value by value.
fn decode_fields<'a>(block: &'a [u8], fields: &mut Fields<'a>) -> Result<(), Malformed> {
    let text = simdutf8::basic::from_utf8(block).ok();
    let (mut last, mut at) = (0, 0);
    while at < block.len() {
        let Some(&[tag, low, high]) = block[at..].first_chunk::<FIELD_HEADER>() else {
            return Err(Malformed::FieldCutShort);
        };
        let begin = at + FIELD_HEADER;
        let end = begin + usize::from(u16::from_le_bytes([low, high]));
        let value = block.get(begin..end).ok_or(Malformed::FieldCutShort)?;
        if tag <= last {
            return Err(Malformed::FieldOrder(tag));
        }
        if let Some(field) = fields.get_mut(usize::from(tag) - 1) {
            let checked = text.and_then(|text| text.get(begin..end)).map(Ok);
            let value = checked.unwrap_or_else(|| std::str::from_utf8(value));
            *field = Some(value.map_err(|_| Malformed::FieldNotUtf8(tag))?);
        }
        (last, at) = (tag, end);
    }
    Ok(())
}

/// The events of one PREPARE.
#[derive(Debug, Clone)]
pub struct Events<'a> {
    rest: &'a [u8],
    left: u32,
    index: u32,
    failed: bool,
}

impl<'a> Events<'a> {
    /// The events of a PREPARE with this payload.
    #[must_use]
    pub fn of(payload: &'a [u8]) -> Self {
        match payload.split_first_chunk() {
            Some((count, rest)) => Self { rest, left: u32::from_le_bytes(*count), index: 0, failed: false },
            None => Self { rest: &[], left: 1, index: 0, failed: false },
        }
    }

    /// No events.
    pub(crate) fn none() -> Self {
        Self { rest: &[], left: 0, index: 0, failed: false }
    }

    /// How many events the payload says are still to come.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left
    }

    /// The number of the event that `next` returned last, counted from 0.
    pub(crate) fn last_index(&self) -> u32 {
        self.index.saturating_sub(1)
    }

    /// Reads the next event into `event`, of which there may be many and each is large; `false` if there is none. None follows one that is malformed.
    ///
    /// # Errors
    /// What is wrong with it. Then `event` is none.
    pub fn read(&mut self, event: &mut EventView<'a>) -> Result<bool, Malformed> {
        if self.failed || (self.left == 0 && self.rest.is_empty()) {
            return Ok(false);
        }
        self.index += 1;
        let decoded = if self.left == 0 { Err(Malformed::Surplus) } else { event.decode(self.rest) };
        self.failed = decoded.is_err();
        self.rest = decoded?;
        self.left -= 1;
        Ok(true)
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<EventView<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut event = EventView::empty();
        self.read(&mut event).map(|is_there| is_there.then_some(event)).transpose()
    }
}

/// Builds the payload of a PREPARE.
///
/// The production writer is the provider's, in Java; this one serves tests, simulation and benchmarks.
#[derive(Debug, Clone)]
pub struct EventEncoder {
    bytes: Vec<u8>,
    count: u32,
}

impl Default for EventEncoder {
    fn default() -> Self {
        Self { bytes: vec![0; 4], count: 0 }
    }
}

impl EventEncoder {
    /// A payload without events.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event. Fields are put in order; empty and too long values are left out.
    pub fn push(
        &mut self,
        kind: EventKind,
        time_ms: u64,
        fields: &[(Field, &str)],
        body: &[u8],
    ) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&[0, 0, kind.code(), 0]);
        self.bytes.extend_from_slice(&time_ms.to_le_bytes());
        let mut ordered: Vec<_> = fields.iter().filter(|(_, value)| value.len() <= MAX_FIELD).collect();
        ordered.sort_by_key(|(field, _)| *field);
        for (field, value) in ordered {
            self.bytes.push(*field as u8);
            self.bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
            self.bytes.extend_from_slice(value.as_bytes());
        }
        let block = (self.bytes.len() - start - EVENT_HEADER) as u16;
        self.bytes[start + 4..start + 6].copy_from_slice(&block.to_le_bytes());
        self.bytes.extend_from_slice(body);
        self.count += 1;
        self.bytes[..4].copy_from_slice(&self.count.to_le_bytes());
        self
    }

    /// The payload's bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(Field, &str); 11] = [
        (Field::Id, "e1"),
        (Field::Type, "LOGIN"),
        (Field::RealmId, "r1"),
        (Field::RealmName, "master"),
        (Field::Client, "account"),
        (Field::UserId, "u1"),
        (Field::ResourceType, "USER"),
        (Field::ResourcePath, "users/u1"),
        (Field::Error, "invalid"),
        (Field::TraceParent, "00-1-2-01"),
        (Field::Outcome, "unknown"),
    ];

    fn fields_of(block: &[u8]) -> Result<Fields<'_>, Malformed> {
        let mut fields = [None; FIELDS];
        decode_fields(block, &mut fields).map(|()| fields)
    }

    #[test]
    fn events_survive() {
        let mut encoder = EventEncoder::new();
        encoder.push(EventKind::User, 5, &ALL, b"{\"a\":1}").push(EventKind::Admin, 6, &[], b"");
        let events: Vec<_> = Events::of(encoder.payload()).collect::<Result<_, _>>().unwrap();
        assert_eq!(events.len(), 2);
        let first = events[0];
        assert_eq!((first.kind(), first.time_ms(), first.body()), (EventKind::User, 5, &b"{\"a\":1}"[..]));
        for (field, value) in ALL {
            assert_eq!(first.field(field), Some(value));
        }
        assert_eq!(ALL.map(|(field, _)| field), Field::ALL);
        assert!(first.is_in_doubt() && !events[1].is_in_doubt());
        assert_eq!(
            (first.id(), first.event_type(), first.realm_id()),
            (Some("e1"), Some("LOGIN"), Some("r1"))
        );
        assert_eq!(
            (first.realm_name(), first.client(), first.user_id()),
            (Some("master"), Some("account"), Some("u1"))
        );
        assert_eq!((first.resource_type(), first.resource_path()), (Some("USER"), Some("users/u1")));
        assert_eq!((first.error(), first.traceparent()), (Some("invalid"), Some("00-1-2-01")));
        assert_eq!((events[1].kind(), events[1].id(), events[1].body()), (EventKind::Admin, None, &b""[..]));
    }

    #[test]
    fn an_event_has_nothing_of_the_one_that_was_read_before_it_into_the_same_place() {
        let mut encoder = EventEncoder::new();
        encoder.push(EventKind::Admin, 5, &ALL, b"{}").push(
            EventKind::User,
            6,
            &[(Field::Client, "web")],
            b"",
        );
        let mut payload = encoder.payload().to_vec();
        payload.push(0);
        let (mut events, mut event) = (Events::of(&payload), EventView::empty());
        assert_eq!(events.read(&mut event), Ok(true));
        assert_eq!((event.kind(), event.id(), event.body()), (EventKind::Admin, Some("e1"), &b"{}"[..]));
        assert_eq!(events.read(&mut event), Ok(true));
        let fields = Field::ALL.map(|field| event.field(field).map(|value| (field, value)));
        assert!(fields.into_iter().flatten().eq([(Field::Client, "web")]));
        assert_eq!((event.kind(), event.time_ms(), event.body()), (EventKind::User, 6, &b""[..]));
        assert_eq!(events.read(&mut event), Err(Malformed::Surplus));
        assert_eq!(events.read(&mut event), Ok(false));
    }

    #[test]
    fn a_payload_cut_anywhere_is_malformed() {
        let mut encoder = EventEncoder::new();
        encoder.push(EventKind::User, 5, &ALL, b"{}").push(EventKind::User, 6, &ALL, b"{}");
        let payload = encoder.payload();
        for length in 0..payload.len() {
            let last = Events::of(&payload[..length]).last();
            assert!(matches!(last, Some(Err(Malformed::CutShort))), "{length}: {last:?}");
        }
    }

    #[test]
    fn an_unknown_field_is_skipped_and_a_wrong_one_refused() {
        let field = |tag: u8, value: &[u8]| [&[tag, value.len() as u8, 0], value].concat();
        let known = field(1, b"x");
        assert_eq!(fields_of(&[known.clone(), field(200, b"\xFF")].concat()).unwrap()[0], Some("x"));
        assert_eq!(fields_of(&[known.clone(), known.clone()].concat()), Err(Malformed::FieldOrder(1)));
        assert_eq!(fields_of(&field(0, b"x")), Err(Malformed::FieldOrder(0)));
        assert_eq!(fields_of(&field(2, b"\xFF")), Err(Malformed::FieldNotUtf8(2)));
        assert_eq!(fields_of(&known[..3]), Err(Malformed::FieldCutShort));
        assert_eq!(fields_of(&known[..2]), Err(Malformed::FieldCutShort));
    }

    /// Lengths from 128 on are no UTF-8, and a character may seem to reach over the end of a value.
    #[test]
    fn a_value_is_read_whatever_the_bytes_around_it_are() {
        let field = |tag: u8, value: &[u8]| [&[tag][..], &(value.len() as u16).to_le_bytes(), value].concat();
        for length in [0, 1, 127, 128, 191, 194, 255, 256, 0x80C2, 40_000] {
            let value = "x".repeat(length);
            let block = [field(1, "é".as_bytes()), field(2, value.as_bytes()), field(3, b"r1")].concat();
            let fields = fields_of(&block).unwrap();
            assert_eq!(fields[..3], [Some("é"), Some(&value[..]), Some("r1")], "{length}");
        }
        // Its last byte and the tag behind it are one character.
        let straddling = [field(1, b"x\xC3"), field(0x80, b"")].concat();
        assert!(std::str::from_utf8(&straddling).is_ok());
        assert_eq!(fields_of(&straddling), Err(Malformed::FieldNotUtf8(1)));
    }

    #[test]
    fn surplus_bytes_and_unknown_kinds_are_refused() {
        let mut encoder = EventEncoder::new();
        encoder.push(EventKind::User, 5, &[], b"");
        let mut payload = encoder.payload().to_vec();
        payload[4 + 6] = 9;
        assert_eq!(Events::of(&payload).next(), Some(Err(Malformed::UnknownKind(9))));
        payload[4 + 6] = 1;
        payload.push(0);
        assert_eq!(Events::of(&payload).last(), Some(Err(Malformed::Surplus)));
    }

    #[test]
    fn a_value_that_is_too_long_stays_in_the_body_only() {
        let mut encoder = EventEncoder::new();
        encoder.push(
            EventKind::User,
            5,
            &[(Field::Id, "e1"), (Field::Error, &"x".repeat(MAX_FIELD + 1))],
            b"",
        );
        let event = Events::of(encoder.payload()).next().unwrap().unwrap();
        assert_eq!((event.id(), event.error()), (Some("e1"), None));
    }
}
