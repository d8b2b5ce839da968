//! From a record to what it tells.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::event::Event;
use crate::headers::{Delivery, GAP_TYPE, HeaderError, Headers, Outcome, Place};
use crate::schema::Framed;
use crate::{ecs, gap, ocsf};

/// What a record tells, and what is said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// What every copy of the record has in common: `ce_id`, or the event's own id; `None` where neither is there.
    pub id: Option<String>,
    /// Where it stands in the stream of its node; `None` with `destination.headers = "none"`.
    pub place: Option<Place>,
    /// Whether what it tells of is known to have happened.
    pub outcome: Outcome,
    /// When an operator has sent it again, RFC 3339; `None` of what was not sent again.
    pub replayed: Option<String>,
    /// The request's W3C Trace Context.
    pub traceparent: Option<String>,
    /// What it tells.
    pub event: Event,
}

impl Message {
    /// `event` with what `headers` say of it.
    ///
    /// # Errors
    /// Headers of ours are missing or illegal.
    pub fn of(headers: &Headers<'_>, event: Event) -> Result<Self, HeaderError> {
        let delivery = headers.delivery()?;
        let place = |delivery: &Delivery<'_>| Place {
            node: delivery.node.to_owned(),
            epoch: delivery.epoch,
            sequence: delivery.sequence,
        };
        Ok(Self {
            id: headers.id().or(event.id()).map(ToOwned::to_owned),
            place: delivery.as_ref().map(place),
            outcome: delivery.map_or(Outcome::Untold, |delivery| delivery.outcome),
            replayed: headers.replay().map(ToOwned::to_owned),
            traceparent: headers.traceparent().map(ToOwned::to_owned),
            event,
        })
    }
}

/// Why a record is not understood.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It has no value: a tombstone, which Keyferry never writes.
    #[error("the record has no value")]
    Empty,
    /// No format that the decoder knows is written so.
    #[error("no format is known for values of the type {0}; add one by `Decoder::with`")]
    UnknownFormat(String),
    /// The value is not what its content type says.
    #[error("the value is no {what}: {reason}")]
    Value {
        /// What was expected.
        what: &'static str,
        /// Why it is none.
        reason: String,
    },
    /// The value was written by a schema that this release does not know.
    #[error(
        "the value was written by the schema {id} of the registry, which is not the one that is known here: {reason}"
    )]
    UnknownSchema {
        /// The id that the registry gave to it.
        id: u32,
        /// How it shows.
        reason: &'static str,
    },
    /// Our headers are not as they should be.
    #[error(transparent)]
    Headers(#[from] HeaderError),
}

/// One way in which records are written.
pub trait Format: Send + Sync {
    /// Whether values of this media type, without parameters, are written so. `None`: the record does not tell its type.
    fn reads(&self, media_type: Option<&str>) -> bool;

    /// Reads a record.
    ///
    /// # Errors
    /// Its value or headers are not as they should be.
    fn read(&self, headers: &Headers<'_>, value: &[u8]) -> Result<Message, DecodeError>;
}

/// JSON: Keycloak's own with everything else in headers, which is what Keyferry writes by default. A [structured CloudEvent](CloudEvents) and a [value in a frame](Framed) of which no header tells are
/// known by their form, and so are records in the vocabularies of OCSF and ECS, which are taken back into Keycloak's: an event comes out as it was, but for fields that were `null`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keycloak;

impl Format for Keycloak {
    fn reads(&self, media_type: Option<&str>) -> bool {
        media_type.is_none_or(|name| name.eq_ignore_ascii_case("application/json"))
    }

    fn read(&self, headers: &Headers<'_>, value: &[u8]) -> Result<Message, DecodeError> {
        if Framed::is(value) {
            return Framed.read(headers, value);
        }
        let fields: Map<String, Value> =
            serde_json::from_slice(value).map_err(|error| no_value("JSON object", error))?;
        if fields.contains_key("specversion") {
            return structured(headers, fields);
        }
        if ocsf::is_it(&fields) {
            return ocsf::read(headers, fields);
        }
        if ecs::is_it(&fields) {
            return ecs::read(headers, fields);
        }
        Ok(Message::of(headers, event(headers.event_type(), fields)?)?)
    }
}

/// [CloudEvents 1.0 as JSON](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md) in the structured mode: what stands in headers by default are members of the value,
/// and Keycloak's JSON is its `data`.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloudEvents;

impl Format for CloudEvents {
    fn reads(&self, media_type: Option<&str>) -> bool {
        media_type.is_some_and(|name| name.eq_ignore_ascii_case("application/cloudevents+json"))
    }

    fn read(&self, headers: &Headers<'_>, value: &[u8]) -> Result<Message, DecodeError> {
        structured(headers, serde_json::from_slice(value).map_err(|error| no_value("CloudEvent", error))?)
    }
}

fn structured(headers: &Headers<'_>, mut members: Map<String, Value>) -> Result<Message, DecodeError> {
    let data = match members.remove("data") {
        Some(Value::Object(data)) => data,
        _ => return Err(no_value("CloudEvent", "its `data` is no JSON object")),
    };
    let texts = members.into_iter().filter_map(|(name, value)| match value {
        Value::String(text) => Some((format!("ce_{name}"), text)),
        _ => None,
    });
    told(headers, &texts.collect::<Vec<_>>(), data)
}

/// A record that says itself what others say in headers. One that was added later, such as `ce_replay`, stays beside that.
pub(crate) fn told<N: AsRef<str>>(
    headers: &Headers<'_>,
    attributes: &[(N, String)],
    fields: Map<String, Value>,
) -> Result<Message, DecodeError> {
    let mut all = *headers;
    attributes.iter().for_each(|(name, text)| all.add(name.as_ref(), text.as_bytes()));
    Ok(Message::of(&all, event(all.event_type(), fields)?)?)
}

/// Reads records of every format that it knows.
pub struct Decoder {
    formats: Vec<Box<dyn Format>>,
}

impl Default for Decoder {
    /// It knows [`Keycloak`], the vocabularies of OCSF and ECS with it, [`CloudEvents`] and [`Framed`].
    fn default() -> Self {
        Self { formats: vec![Box::new(Keycloak), Box::new(CloudEvents), Box::new(Framed)] }
    }
}

impl Decoder {
    /// The same, which knows `format` as well, and asks it first.
    #[must_use]
    pub fn with(mut self, format: impl Format + 'static) -> Self {
        self.formats.insert(0, Box::new(format));
        self
    }

    /// What a record with these headers and this value tells.
    ///
    /// # Errors
    /// See [`DecodeError`]. A record of somebody else's in the topic may well be one.
    pub fn decode(&self, headers: &Headers<'_>, value: &[u8]) -> Result<Message, DecodeError> {
        if value.is_empty() {
            return Err(DecodeError::Empty);
        }
        let media_type = headers.media_type();
        let format = self.formats.iter().find(|format| format.reads(media_type));
        let unknown = || DecodeError::UnknownFormat(media_type.unwrap_or_default().to_owned());
        format.ok_or_else(unknown)?.read(headers, value)
    }
}

/// The event of these fields. The `ce_type` tells what it is, or else its form: only a gap record has our type, and only an admin event an operation.
pub(crate) fn event(event_type: Option<&str>, fields: Map<String, Value>) -> Result<Event, DecodeError> {
    let told = event_type.unwrap_or_default();
    let is_gap = fields.get("type").is_some_and(|name| name == gap::TYPE);
    if told == GAP_TYPE || is_gap {
        return typed("gap record", fields).map(Event::Gap);
    }
    if told.starts_with("org.keycloak.admin.") || fields.contains_key("operationType") {
        return typed("admin event", fields).map(Event::Admin);
    }
    if told.starts_with("org.keycloak.event.") || fields.contains_key("type") {
        return typed("user event", fields).map(Event::User);
    }
    Err(no_value("event of Keycloak", "it has neither `type` nor `operationType`"))
}

fn typed<T: DeserializeOwned>(what: &'static str, fields: Map<String, Value>) -> Result<T, DecodeError> {
    serde_json::from_value(Value::Object(fields)).map_err(|error| no_value(what, error))
}

pub(crate) fn no_value(what: &'static str, reason: impl ToString) -> DecodeError {
    DecodeError::Value { what, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(headers: &[(&str, &'static [u8])], value: &str) -> Result<Message, String> {
        let headers = Headers::from_iter(headers.iter().copied());
        Decoder::default().decode(&headers, value.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn without_headers_the_form_tells_what_it_is() {
        let message = decode(&[], r#"{"id":"e","type":"LOGIN","new":{"a":1},"details":{"x":null}}"#).unwrap();
        let Event::User(event) = &message.event else { panic!("{message:?}") };
        assert_eq!(
            (message.id.as_deref(), &message.place, message.outcome),
            (Some("e"), &None, Outcome::Untold)
        );
        assert_eq!((event.kind(), &event.further["new"]["a"]), ("LOGIN", &Value::from(1)));
        let admin = decode(&[], r#"{"operationType":null,"resourcePath":"users/u-1/groups"}"#).unwrap();
        let Event::Admin(event) = admin.event else { panic!("no admin event") };
        assert_eq!((event.operation(), event.concerned_user()), ("", Some("u-1")));
        let gap = decode(&[], r#"{"type":"KEYFERRY_GAP","cause":"later","userEvents":2}"#).unwrap();
        assert!(
            matches!(gap.event, Event::Gap(gap) if gap.user_events == Some(2) && gap.admin_events.is_none())
        );
    }

    #[test]
    fn what_is_no_event_is_refused_with_the_reason() {
        for (headers, value, reason) in [
            (&[][..], "", "no value"),
            (&[], "[]", "JSON object"),
            (&[], "{}", "neither `type` nor"),
            (&[], r#"{"type":7}"#, "user event"),
            (&[("content-type", &b"application/xml"[..])], "x", "application/xml"),
            (&[("content-type", b"application/avro")], "x", "frame"),
            (&[("ce_outcome", b"committed")], r#"{"type":"LOGIN"}"#, "ce_node"),
            (&[("content-type", b"application/cloudevents+json")], r#"{"id":"e"}"#, "data"),
            (&[], r#"{"class_uid":3002,"metadata":{},"raw_data":"x"}"#, "raw_data"),
            (&[], r#"{"ecs":{"version":"9"},"@timestamp":"","type":""}"#, "@timestamp"),
            (
                &[],
                r#"{"ecs":{},"@timestamp":"2026-11-28T20:40:37.637Z","event":{"original":"x"}}"#,
                "event.original",
            ),
        ] {
            let error = decode(headers, value).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_structured_cloudevent_carries_its_attributes_within() {
        let value = r#"{"specversion":"1.0","id":"e","type":"org.keycloak.event.LOGIN","node":"n","epoch":"0006447b0d1a2c00",
            "sequence":"00000000000000000007","outcome":"unknown","data":{"userId":"u"}}"#;
        let message =
            decode(&[("content-type", b"application/cloudevents+json; charset=UTF-8")], value).unwrap();
        assert_eq!((message.outcome, message.place.map(|place| place.sequence)), (Outcome::Unknown, Some(7)));
        assert!(matches!(message.event, Event::User(event) if event.user_id.as_deref() == Some("u")));
    }

    #[test]
    fn a_format_that_is_added_is_asked_first() {
        struct Shout;
        impl Format for Shout {
            fn reads(&self, media_type: Option<&str>) -> bool {
                media_type.is_none()
            }

            fn read(&self, headers: &Headers<'_>, value: &[u8]) -> Result<Message, DecodeError> {
                let event = crate::UserEvent {
                    event_type: Some(String::from_utf8_lossy(value).to_uppercase()),
                    ..Default::default()
                };
                Ok(Message::of(headers, Event::User(event.into()))?)
            }
        }
        let message = Decoder::default().with(Shout).decode(&Headers::default(), b"login").unwrap();
        assert!(matches!(message.event, Event::User(event) if event.kind() == "LOGIN"));
    }
}
