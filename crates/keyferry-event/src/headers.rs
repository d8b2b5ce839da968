//! The headers: [CloudEvents 1.0.2](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md) in the binary mode of its
//! [Kafka protocol binding](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md).
//!
//! The invariant: **a record that is sent again carries the same headers**, so that every copy is recognisable: they are a function of
//! the event and of its place in the journal, of nothing else.
//!
//! | header | what it holds |
//! |---|---|
//! | `ce_specversion` | `1.0` |
//! | `ce_id` | the event's own id; where Keycloak gave it none, `<epoch>-<sequence>` |
//! | `ce_source` | `/realms/<realm name>` (the realm's id where the name is unknown) |
//! | `ce_type` | `org.keycloak.event.<TYPE>` or `org.keycloak.admin.<RESOURCE_TYPE>.<OPERATION>` |
//! | `ce_time` | the event's own time, RFC 3339 in UTC, milliseconds |
//! | `ce_subject` | the user whom the event concerns, or the resource path of an admin event; left out where there is neither |
//! | `content-type` | `application/json`, or what the [format](crate::format) says |
//! | `ce_sequence` | the number of the record in its epoch and destination, from 1, without gaps; 20 digits, so that it sorts as text ([sequence extension](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/sequence.md)) |
//! | `ce_partitionkey` | the record's key ([partitioning extension](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/partitioning.md)) |
//! | `ce_traceparent` | W3C Trace Context of the request, where there is one ([distributed tracing extension](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md)) |
//! | `ce_node` | the Keycloak node |
//! | `ce_epoch` | the journal's epoch, 16 hexadecimal digits |
//! | `ce_outcome` | `committed`, or `unknown` where Keycloak died before the outcome of the transaction was written; a [gap record](crate::gap) has none |

use std::ffi::CStr;
use std::io::Write as _;
use std::ops::Range;

use keyferry_journal::event::{EventKind, EventView};
use keyferry_journal::{Epoch, Outcome};

use crate::clock::Clock;
use crate::format::Format;
use crate::gap::{GAP_TYPE, Gap};
use crate::key::{concerned_user, write_user};
use crate::redaction::OfUser;

/// Which headers a record carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderMode {
    /// All of the table in the [module documentation](self).
    #[default]
    CloudEvents,
    /// Only what delivery needs to be checked: `ce_id`, `ce_sequence`, `ce_epoch`, `ce_node`, `ce_outcome`.
    Minimal,
    /// None.
    None,
}

/// What the journal and the destination know of an event, beyond the event itself.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The Keycloak node that raised the event.
    pub node: &'a str,
    /// The writer's life in which it was journaled.
    pub epoch: Epoch,
    /// Whether its transaction is known to have committed.
    pub outcome: Outcome,
    /// The record's number in its epoch and destination, from 1.
    pub sequence: u64,
}

/// `ce_outcome`: whether the event's transaction is known to have committed.
pub(crate) fn outcome(event: &EventView<'_>, envelope: &Envelope<'_>) -> &'static str {
    match envelope.outcome {
        Outcome::Committed if !event.is_in_doubt() => "committed",
        Outcome::Committed | Outcome::Unknown => "unknown",
    }
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name, as Kafka's C client wants it.
    pub name: &'a CStr,
    /// Its value.
    pub value: &'a [u8],
}

/// The most headers that a record can have.
pub const MAX_HEADERS: usize = 13;

/// Headers under construction: names, and where in the encoder's arena their values lie. Reused from record to record.
#[derive(Debug, Default)]
pub(crate) struct HeaderSpans {
    spans: Vec<(&'static CStr, Range<usize>)>,
    clock: Clock,
    /// What the value is, for `content-type`.
    pub(crate) format: Format,
}

/// Those of a record that has none from an encoder.
pub(crate) static NO_HEADERS: HeaderSpans =
    HeaderSpans { spans: Vec::new(), clock: Clock::new(), format: Format::Keycloak };

impl HeaderSpans {
    /// Builds the headers of one record, their values at the end of `arena`.
    pub(crate) fn build(
        &mut self,
        mode: HeaderMode,
        event: &EventView<'_>,
        envelope: &Envelope<'_>,
        of_user: OfUser<'_>,
        key: Range<usize>,
        arena: &mut Vec<u8>,
    ) {
        self.spans.clear();
        match mode {
            HeaderMode::None => {}
            HeaderMode::Minimal => {
                self.delivery(event, envelope, arena);
                self.structured_mode(arena);
            }
            HeaderMode::CloudEvents => {
                self.text(c"ce_specversion", "1.0", arena);
                self.delivery(event, envelope, arena);
                self.description(event, of_user, arena);
                self.spans.push((c"ce_partitionkey", key));
            }
        }
    }

    /// Builds the headers of a gap record, their values at the end of `arena`.
    pub(crate) fn build_gap(
        &mut self,
        mode: HeaderMode,
        gap: &Gap,
        sequence: u64,
        time_ms: u64,
        key: Range<usize>,
        arena: &mut Vec<u8>,
    ) {
        self.spans.clear();
        if mode == HeaderMode::None {
            return;
        }
        self.format(c"ce_id", format_args!("{}-{sequence}", gap.epoch), arena);
        self.place(sequence, &gap.node, gap.epoch, arena);
        if mode == HeaderMode::CloudEvents {
            self.text(c"ce_specversion", "1.0", arena);
            self.format(c"ce_source", format_args!("/keyferry/{}", gap.node), arena);
            self.text(c"ce_type", GAP_TYPE, arena);
            self.time(time_ms, arena);
            self.text(c"content-type", self.format.content_type(), arena);
            self.spans.push((c"ce_partitionkey", key));
        } else {
            self.structured_mode(arena);
        }
    }

    /// By `content-type` alone a consumer knows CloudEvents in structured mode.
    fn structured_mode(&mut self, arena: &mut Vec<u8>) {
        if self.format == Format::CloudEvents {
            self.text(c"content-type", self.format.content_type(), arena);
        }
    }

    /// The headers, their values in `arena`.
    pub(crate) fn resolve<'a>(&'a self, arena: &'a [u8]) -> impl ExactSizeIterator<Item = Header<'a>> {
        self.spans.iter().map(|(name, span)| Header { name, value: &arena[span.clone()] })
    }

    fn delivery(&mut self, event: &EventView<'_>, envelope: &Envelope<'_>, arena: &mut Vec<u8>) {
        match event.id() {
            Some(id) => self.text(c"ce_id", id, arena),
            None => self.format(c"ce_id", format_args!("{}-{}", envelope.epoch, envelope.sequence), arena),
        }
        self.place(envelope.sequence, envelope.node, envelope.epoch, arena);
        self.text(c"ce_outcome", outcome(event, envelope), arena);
    }

    /// Where the record stands in the stream of its node.
    fn place(&mut self, sequence: u64, node: &str, epoch: Epoch, arena: &mut Vec<u8>) {
        self.bytes(c"ce_sequence", &[&twenty_digits(sequence)], arena);
        self.text(c"ce_node", node, arena);
        self.bytes(c"ce_epoch", &[&epoch.digits()], arena);
    }

    fn time(&mut self, time_ms: u64, arena: &mut Vec<u8>) {
        let time = self.clock.rfc3339(time_ms);
        self.bytes(c"ce_time", &[&time], arena);
    }

    fn description(&mut self, event: &EventView<'_>, of_user: OfUser<'_>, arena: &mut Vec<u8>) {
        let realm = event.realm_name().or(event.realm_id()).unwrap_or_default();
        self.bytes(c"ce_source", &[b"/realms/", realm.as_bytes()], arena);
        let event_type = event.event_type().unwrap_or("UNKNOWN");
        match event.kind() {
            EventKind::User => {
                self.bytes(c"ce_type", &[b"org.keycloak.event.", event_type.as_bytes()], arena);
            }
            EventKind::Admin => {
                let resource = event.resource_type().unwrap_or("UNKNOWN").as_bytes();
                let parts = [b"org.keycloak.admin.".as_slice(), resource, b".", event_type.as_bytes()];
                self.bytes(c"ce_type", &parts, arena);
            }
        }
        self.time(event.time_ms(), arena);
        self.subject(event, of_user, arena);
        self.text(c"content-type", self.format.content_type(), arena);
        if let Some(traceparent) = event.traceparent() {
            self.text(c"ce_traceparent", traceparent, arena);
        }
    }

    fn subject(&mut self, event: &EventView<'_>, of_user: OfUser<'_>, arena: &mut Vec<u8>) {
        let Some(user) = concerned_user(event) else {
            return event.resource_path().into_iter().for_each(|path| self.text(c"ce_subject", path, arena));
        };
        let start = arena.len();
        write_user(user, of_user, arena);
        if arena.len() > start {
            self.spans.push((c"ce_subject", start..arena.len()));
        }
    }

    fn text(&mut self, name: &'static CStr, value: &str, arena: &mut Vec<u8>) {
        self.bytes(name, &[value.as_bytes()], arena);
    }

    /// A value of `parts`, one after the other. Cheaper than [`HeaderSpans::format`], which is for what is rare.
    fn bytes(&mut self, name: &'static CStr, parts: &[&[u8]], arena: &mut Vec<u8>) {
        let start = arena.len();
        parts.iter().for_each(|part| arena.extend_from_slice(part));
        self.spans.push((name, start..arena.len()));
    }

    fn format(&mut self, name: &'static CStr, value: std::fmt::Arguments<'_>, arena: &mut Vec<u8>) {
        let start = arena.len();
        // Writing to a Vec cannot fail.
        let _ = arena.write_fmt(value);
        self.spans.push((name, start..arena.len()));
    }
}

/// `number` in decimal, with zeros before it: as many digits as any number of 64 bits has.
fn twenty_digits(mut number: u64) -> [u8; 20] {
    let mut digits = [b'0'; 20];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::twenty_digits;

    #[test]
    fn a_number_has_twenty_digits() {
        for number in [0, 1, 42, 9_876_543_210, u64::MAX] {
            assert_eq!(std::str::from_utf8(&twenty_digits(number)).unwrap(), format!("{number:020}"));
        }
    }
}
