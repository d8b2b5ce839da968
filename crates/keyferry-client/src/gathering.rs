//! An event put together again from the places in which another vocabulary has its fields.
//!
//! The invariant: **what stands under Keycloak's own name wins.** A vocabulary keeps a field there that it has no place for, and one whose value it would not give back as it was.

use serde_json::{Map, Value};

use crate::decode::{DecodeError, told};
use crate::headers::Headers;
use crate::{Message, gap};

/// What Keyferry says of every record beside the event, under a name of its own. Everything else there are names that the provider has added to the event.
const OURS: [&str; 4] = ["node", "epoch", "outcome", "gap"];

/// The fields of an event that have been found so far.
pub(crate) struct Gathering<'a> {
    record: &'a Value,
    event: Map<String, Value>,
    administrator: Map<String, Value>,
    is_admin: bool,
    /// What a record's headers say, where it has any.
    attributes: Vec<(&'static str, String)>,
}

impl<'a> Gathering<'a> {
    /// Begins with what has no place of its own: the object at `rest`.
    pub(crate) fn begin(record: &'a Value, rest: &str, is_admin: bool) -> Self {
        let mut event = record.pointer(rest).and_then(Value::as_object).cloned().unwrap_or_default();
        event.retain(|name, _| name != "keyferry");
        let administrator = match event.remove("authDetails") {
            Some(Value::Object(administrator)) => administrator,
            Some(other) => {
                event.insert("authDetails".to_owned(), other);
                Map::new()
            }
            None => Map::new(),
        };
        Self { record, event, administrator, is_admin, attributes: Vec::new() }
    }

    /// The record itself.
    pub(crate) fn record(&self) -> &'a Value {
        self.record
    }

    /// A field of the event, at the first of these places that has it.
    pub(crate) fn field(&mut self, name: &str, places: &[&str]) {
        if let Some(found) = places.iter().find_map(|place| self.record.pointer(place)) {
            self.put(name, found.clone());
        }
    }

    /// A field of the event.
    pub(crate) fn put(&mut self, name: &str, value: Value) {
        self.event.entry(name).or_insert(value);
    }

    /// A field of who acted: of a user event its own, of an admin event one of `authDetails`.
    pub(crate) fn of_actor(&mut self, name: &str, places: &[&str]) {
        let Some(found) = places.iter().find_map(|place| self.record.pointer(place)) else { return };
        let fields = if self.is_admin { &mut self.administrator } else { &mut self.event };
        fields.entry(name).or_insert_with(|| found.clone());
    }

    /// What a header says as well, where the record has it.
    pub(crate) fn attribute(&mut self, header: &'static str, place: &str) {
        match self.record.pointer(place) {
            Some(Value::String(text)) => self.attributes.push((header, text.clone())),
            Some(Value::Number(number)) => self.attributes.push((header, number.to_string())),
            _ => {}
        }
    }

    /// The record's id at `place`, which is the event's own, unless the event has none: then it is made of the record's place in its stream.
    pub(crate) fn id(&mut self, place: &str) {
        self.attribute("ce_id", place);
        let attribute =
            |header: &str| self.attributes.iter().find(|(name, _)| *name == header).map(|(_, text)| text);
        let made = attribute("ce_epoch")
            .zip(attribute("ce_sequence"))
            .map(|(epoch, sequence)| format!("{epoch}-{sequence}"));
        if attribute("ce_id") != made.as_ref() {
            self.field("id", &[place]);
        }
    }

    /// The message of the event. `ours` is where what is Keyferry's own stands.
    ///
    /// # Errors
    /// The fields are those of no event.
    pub(crate) fn message(mut self, headers: &Headers<'_>, ours: &str) -> Result<Message, DecodeError> {
        let added = self.record.pointer(ours).and_then(Value::as_object).cloned().unwrap_or_default();
        let added: Map<_, _> = added.into_iter().filter(|(name, _)| !OURS.contains(&name.as_str())).collect();
        if !added.is_empty() {
            self.put("keyferry", Value::Object(added));
        }
        if !self.administrator.is_empty() {
            let administrator = std::mem::take(&mut self.administrator);
            self.put("authDetails", Value::Object(administrator));
        }
        // By its name an event is known for what it is.
        self.put(if self.is_admin { "operationType" } else { "type" }, Value::Null);
        told(headers, &self.attributes, self.event)
    }
}

/// The message of a gap record, whose own JSON is `fields`, in a record with this id and number.
///
/// # Errors
/// It is none.
pub(crate) fn gap_record(
    headers: &Headers<'_>,
    fields: &Map<String, Value>,
    id: Option<&Value>,
    sequence: Option<&Value>,
) -> Result<Message, DecodeError> {
    let texts = [
        ("ce_id", id),
        ("ce_sequence", sequence),
        ("ce_node", fields.get("node")),
        ("ce_epoch", fields.get("epoch")),
    ];
    let attributes: Vec<(&'static str, String)> = texts
        .into_iter()
        .filter_map(|(name, value)| match value? {
            Value::String(text) => Some((name, text.clone())),
            Value::Number(number) => Some((name, number.to_string())),
            _ => None,
        })
        .collect();
    let mut fields = fields.clone();
    fields.insert("type".to_owned(), gap::TYPE.into());
    told(headers, &attributes, fields)
}
