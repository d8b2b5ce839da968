//! CloudEvents 1.0.2 in structured mode: the [JSON event format](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md) as the value of a record
//! ([Kafka protocol binding](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md), structured content mode).
//!
//! The invariant: **the attributes are those of the headers in binary mode**, under the same names without their prefix, so that a consumer sees one event in either mode.

use super::writing::{ObjectWriter, is_plain};
use crate::headers::{Header, Headers, resolve};

/// Writes the event with these attributes, given as headers in binary mode, whose data is the JSON `data`.
pub(super) fn write(attributes: &Headers, data: &[u8], value: &mut Vec<u8>) {
    let arena = attributes.arena();
    let mut event = ObjectWriter::begin(value);
    // One look at all values together costs less than one at each.
    let are_plain = is_plain(arena);
    for Header { name, value } in resolve(attributes.spans(), arena) {
        // `content-type` speaks of the record.
        match name.to_bytes().strip_prefix(b"ce_") {
            Some(name) if are_plain => event.content(name, value),
            Some(name) => event.text(name, value),
            None => {}
        }
    }
    event.plain("datacontenttype", "application/json");
    if is_object(data) {
        event.json("data", data);
    } else {
        event.text("data", data);
    }
}

/// Whether `data` is what Keycloak makes of an event. Its inside is not looked at: the journal's checksum has shown that it is what Keycloak wrote.
fn is_object(data: &[u8]) -> bool {
    data.first() == Some(&b'{') && data.last() == Some(&b'}')
}
