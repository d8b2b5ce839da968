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
    name_of(has_committed(event, envelope))
}

fn has_committed(event: &EventView<'_>, envelope: &Envelope<'_>) -> bool {
    envelope.outcome == Outcome::Committed && !event.is_in_doubt()
}

fn name_of(has_committed: bool) -> &'static str {
    if has_committed { "committed" } else { "unknown" }
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

/// A header under construction: its name, and where in the arena its value lies.
pub(crate) type Span = (&'static CStr, Range<usize>);

/// A record's key and headers under construction. The key and the values lie one behind the other in an arena, which is reused from record to record.
///
/// What one record after the other has in common (node, epoch, outcome, what the value is) is written once, at the arena's beginning, and so is the place of what has always the same
/// length: the number, of which mostly the last digit changes, and the time.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    arena: Vec<u8>,
    spans: Vec<Span>,
    /// What the arena begins with, if that is what records have in common.
    common: Option<Common>,
    clock: Clock,
    /// What the value is, for `content-type`.
    pub(crate) format: Format,
}

/// What the headers of one record after the other have in common.
#[derive(Debug)]
struct Common {
    mode: HeaderMode,
    format: Format,
    epoch: Epoch,
    node: String,
    has_committed: bool,
    /// The number that was written last, and where.
    sequence: u64,
    digits: Range<usize>,
    /// Which of the spans is `ce_id`; its value is another for each record.
    id: usize,
    /// What there is beyond what delivery needs.
    described: Option<Described>,
    /// How much of the arena and of the spans is common, and stays.
    arena: usize,
    spans: usize,
}

/// The places of what describes an event. Of the first two the values are others for each record, and the time often is the last one's.
#[derive(Debug)]
struct Described {
    /// Which of the spans is `ce_source`.
    source: usize,
    /// Which of the spans is `ce_type`.
    event_type: usize,
    time: Range<usize>,
    /// The time that stands there, in milliseconds since the Unix epoch.
    time_ms: u64,
    content_type: Range<usize>,
}

impl Common {
    fn is_of(&self, mode: HeaderMode, format: Format, envelope: &Envelope<'_>, has_committed: bool) -> bool {
        self.mode == mode
            && self.format == format
            && self.epoch == envelope.epoch
            && self.has_committed == has_committed
            && self.node == envelope.node
    }

    /// Writes the number of the next record in the place of the last one's.
    #[inline(always)]
    fn renumber(&mut self, sequence: u64, arena: &mut [u8]) {
        let digits = &mut arena[self.digits.clone()];
        if self.sequence.checked_add(1) == Some(sequence) {
            increment(digits);
        } else {
            digits.copy_from_slice(&twenty_digits(sequence));
        }
        self.sequence = sequence;
    }
}

impl Headers {
    /// Builds the headers of `event`, whose key `write_key` writes to the end of what it gets, and answers whether it is the subject as well. Answers where in the arena the key is.
    ///
    /// What it consists of is inlined: a call takes about as long as a header does.
    pub(crate) fn build(
        &mut self,
        mode: HeaderMode,
        event: &EventView<'_>,
        envelope: &Envelope<'_>,
        of_user: OfUser<'_>,
        write_key: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> Range<usize> {
        self.begin(mode, event, envelope);
        let start = self.arena.len();
        let is_subject = write_key(&mut self.arena);
        let key = start..self.arena.len();
        self.complete(event, envelope, of_user, key.clone(), is_subject);
        key
    }

    #[inline(always)]
    fn begin(&mut self, mode: HeaderMode, event: &EventView<'_>, envelope: &Envelope<'_>) {
        if mode == HeaderMode::None {
            self.begin_alone();
            return;
        }
        let has_committed = has_committed(event, envelope);
        match &mut self.common {
            Some(common) if common.is_of(mode, self.format, envelope, has_committed) => {
                self.arena.truncate(common.arena);
                self.spans.truncate(common.spans);
                common.renumber(envelope.sequence, &mut self.arena);
            }
            _ => self.write_common(mode, envelope, has_committed),
        }
    }

    /// Begins a record that has nothing in common with others.
    pub(crate) fn begin_alone(&mut self) -> &mut Vec<u8> {
        self.arena.clear();
        self.spans.clear();
        self.common = None;
        &mut self.arena
    }

    #[cold]
    fn write_common(&mut self, mode: HeaderMode, envelope: &Envelope<'_>, has_committed: bool) {
        self.begin_alone();
        if mode == HeaderMode::CloudEvents {
            self.bytes(c"ce_specversion", b"1.0");
        }
        let id = self.spans.len();
        self.bytes(c"ce_id", &[]);
        let digits = self.place(envelope.sequence, envelope.node, envelope.epoch);
        self.text(c"ce_outcome", name_of(has_committed));
        let described = if mode == HeaderMode::CloudEvents {
            Some(self.write_described())
        } else {
            self.structured_mode();
            None
        };
        self.common = Some(Common {
            mode,
            format: self.format,
            epoch: envelope.epoch,
            node: envelope.node.to_owned(),
            has_committed,
            sequence: envelope.sequence,
            digits,
            id,
            described,
            arena: self.arena.len(),
            spans: self.spans.len(),
        });
    }

    fn write_described(&mut self) -> Described {
        let source = self.spans.len();
        self.bytes(c"ce_source", &[]);
        let event_type = self.spans.len();
        self.bytes(c"ce_type", &[]);
        let time_ms = 0;
        let time = self.time(time_ms);
        // It comes behind a header that not every event has.
        let content_type = self.append(self.format.content_type().as_bytes());
        Described { source, event_type, time, time_ms, content_type }
    }

    /// What is another for each event, behind its key.
    #[inline(always)]
    fn complete(
        &mut self,
        event: &EventView<'_>,
        envelope: &Envelope<'_>,
        of_user: OfUser<'_>,
        key: Range<usize>,
        is_subject: bool,
    ) {
        let Self { arena, spans, common: Some(common), clock, .. } = self else { return };
        let start = arena.len();
        match event.id() {
            Some(id) => arena.extend_from_slice(id.as_bytes()),
            None => format(format_args!("{}-{}", envelope.epoch, envelope.sequence), arena),
        }
        spans[common.id].1 = start..arena.len();
        if let Some(described) = &mut common.described {
            if described.time_ms != event.time_ms() {
                described.time_ms = event.time_ms();
                arena[described.time.clone()].copy_from_slice(&clock.rfc3339(event.time_ms()));
            }
            let start = arena.len();
            write_source(event, arena);
            let end = arena.len();
            spans[described.source].1 = start..end;
            write_type(event, arena);
            spans[described.event_type].1 = end..arena.len();
            let content_type = described.content_type.clone();
            self.describe(event, of_user, content_type, key, is_subject);
        }
    }

    /// What not every event has, and what comes behind it.
    #[inline(always)]
    fn describe(
        &mut self,
        event: &EventView<'_>,
        of_user: OfUser<'_>,
        content_type: Range<usize>,
        key: Range<usize>,
        is_subject: bool,
    ) {
        if is_subject {
            self.spans.push((c"ce_subject", key.clone()));
        } else {
            self.subject(event, of_user);
        }
        self.spans.push((c"content-type", content_type));
        if let Some(traceparent) = event.traceparent() {
            self.text(c"ce_traceparent", traceparent);
        }
        self.spans.push((c"ce_partitionkey", key));
    }

    fn subject(&mut self, event: &EventView<'_>, of_user: OfUser<'_>) {
        let Some(user) = concerned_user(event) else {
            return event.resource_path().into_iter().for_each(|path| self.text(c"ce_subject", path));
        };
        let start = self.arena.len();
        write_user(user, of_user, &mut self.arena);
        if self.arena.len() > start {
            self.spans.push((c"ce_subject", start..self.arena.len()));
        }
    }

    /// Builds the headers of a gap record, whose key was written to `key` after [`Headers::begin_alone`].
    pub(crate) fn build_gap(
        &mut self,
        mode: HeaderMode,
        gap: &Gap,
        sequence: u64,
        time_ms: u64,
        key: Range<usize>,
    ) {
        if mode == HeaderMode::None {
            return;
        }
        self.format(c"ce_id", format_args!("{}-{sequence}", gap.epoch));
        self.place(sequence, &gap.node, gap.epoch);
        if mode == HeaderMode::CloudEvents {
            self.text(c"ce_specversion", "1.0");
            self.format(c"ce_source", format_args!("/keyferry/{}", gap.node));
            self.text(c"ce_type", GAP_TYPE);
            self.time(time_ms);
            self.text(c"content-type", self.format.content_type());
            self.spans.push((c"ce_partitionkey", key));
        } else {
            self.structured_mode();
        }
    }

    /// By `content-type` alone a consumer knows CloudEvents in structured mode.
    fn structured_mode(&mut self) {
        if self.format == Format::CloudEvents {
            self.text(c"content-type", self.format.content_type());
        }
    }

    /// The key and the values of the headers, and whatever else lies between them.
    pub(crate) fn arena(&self) -> &[u8] {
        &self.arena
    }

    /// The headers, their values in [`Headers::arena`].
    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Where the record stands in the stream of its node. Answers where its number is.
    fn place(&mut self, sequence: u64, node: &str, epoch: Epoch) -> Range<usize> {
        let digits = self.bytes(c"ce_sequence", &twenty_digits(sequence));
        self.text(c"ce_node", node);
        self.bytes(c"ce_epoch", &epoch.digits());
        digits
    }

    fn time(&mut self, time_ms: u64) -> Range<usize> {
        let time = self.clock.rfc3339(time_ms);
        self.bytes(c"ce_time", &time)
    }

    fn text(&mut self, name: &'static CStr, value: &str) {
        self.bytes(name, value.as_bytes());
    }

    fn bytes(&mut self, name: &'static CStr, value: &[u8]) -> Range<usize> {
        let span = self.append(value);
        self.spans.push((name, span.clone()));
        span
    }

    fn append(&mut self, value: &[u8]) -> Range<usize> {
        let start = self.arena.len();
        self.arena.extend_from_slice(value);
        start..self.arena.len()
    }

    fn format(&mut self, name: &'static CStr, value: std::fmt::Arguments<'_>) {
        let start = self.arena.len();
        format(value, &mut self.arena);
        self.spans.push((name, start..self.arena.len()));
    }
}

/// The headers of `spans`, whose values lie in `arena`.
pub(crate) fn resolve<'a>(spans: &'a [Span], arena: &'a [u8]) -> impl ExactSizeIterator<Item = Header<'a>> {
    spans.iter().map(|(name, span)| Header { name, value: &arena[span.clone()] })
}

fn write_source(event: &EventView<'_>, arena: &mut Vec<u8>) {
    let realm = event.realm_name().or(event.realm_id()).unwrap_or_default();
    arena.extend_from_slice(b"/realms/");
    arena.extend_from_slice(realm.as_bytes());
}

#[inline(always)]
fn write_type(event: &EventView<'_>, arena: &mut Vec<u8>) {
    match event.kind() {
        EventKind::User => arena.extend_from_slice(b"org.keycloak.event."),
        EventKind::Admin => {
            arena.extend_from_slice(b"org.keycloak.admin.");
            arena.extend_from_slice(event.resource_type().unwrap_or("UNKNOWN").as_bytes());
            arena.push(b'.');
        }
    }
    arena.extend_from_slice(event.event_type().unwrap_or("UNKNOWN").as_bytes());
}

/// Dearer than bytes, for what is rare.
fn format(value: std::fmt::Arguments<'_>, arena: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = arena.write_fmt(value);
}

/// Adds one to a number in decimal that has room for it.
#[inline]
fn increment(digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
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
    use super::{increment, twenty_digits};

    #[test]
    fn a_number_has_twenty_digits() {
        for number in [0, 1, 42, 9_876_543_210, u64::MAX] {
            assert_eq!(std::str::from_utf8(&twenty_digits(number)).unwrap(), format!("{number:020}"));
        }
    }

    #[test]
    fn a_number_is_followed_by_the_next() {
        for number in [0, 8, 9, 999, 1_999, 99_999_999_999, u64::MAX - 1] {
            let mut digits = twenty_digits(number);
            increment(&mut digits);
            assert_eq!(digits, twenty_digits(number + 1));
        }
    }
}
