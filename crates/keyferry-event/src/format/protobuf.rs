//! [Protobuf's wire format](https://protobuf.dev/programming-guides/encoding/) of `schemas/keyferry-event.proto`.
//!
//! The invariant: **a number never means another field**: what is no longer told leaves its number reserved.

use super::binary::{Length, write_behind_length, write_text, write_varint};
use super::fields::{Field, Fields, Record, Text, Values};

/// The types of values: a number, and what stands behind its length.
const VARINT: u32 = 0;
const LENGTH_DELIMITED: u32 = 2;
/// The fields of a map's entry.
const KEY: u32 = 1;
const VALUE: u32 = 2;

const LENGTH: Length = |length| length as u64;

/// Writes to `out`.
pub(super) struct Protobuf<'a> {
    pub(super) out: &'a mut Vec<u8>,
    /// Whether there may be escapes in what is JSON.
    pub(super) has_escapes: bool,
}

impl Protobuf<'_> {
    #[inline]
    fn tag(&mut self, number: u32, of_type: u32) {
        write_varint(u64::from(number << 3 | of_type), self.out);
    }

    fn write(&mut self, number: u32, text: Text<'_>) {
        self.tag(number, LENGTH_DELIMITED);
        write_text(text, self.has_escapes, LENGTH, self.out);
    }

    /// A message in it.
    fn message(&mut self, number: u32, write: impl FnOnce(&mut Protobuf<'_>)) {
        self.tag(number, LENGTH_DELIMITED);
        let has_escapes = self.has_escapes;
        write_behind_length(LENGTH, self.out, |out| write(&mut Protobuf { out, has_escapes }));
    }
}

impl Fields for Protobuf<'_> {
    fn text(&mut self, field: Field, text: Text<'_>) {
        self.write(field.number, text);
    }

    fn optional(&mut self, field: Field, text: Option<Text<'_>>) {
        if let Some(text) = text {
            self.write(field.number, text);
        }
    }

    fn number(&mut self, field: Field, number: u64) {
        self.tag(field.number, VARINT);
        write_varint(number, self.out);
    }

    fn map<'t>(
        &mut self,
        field: Field,
        members: impl Iterator<Item = (&'t [u8], &'t [u8])> + Clone,
        values: Values,
    ) {
        for (name, value) in members {
            self.message(field.number, |entry| {
                entry.write(KEY, Text::Escaped(name));
                entry.write(VALUE, values.text(value));
            });
        }
    }

    fn record(&mut self, field: Field, record: Option<impl Record>) {
        if let Some(record) = record {
            self.message(field.number, |message| record.write(message));
        }
    }
}
