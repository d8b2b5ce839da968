//! [Avro's binary encoding](https://avro.apache.org/docs/1.12.0/specification/#binary-encoding) of `schemas/keyferry-event.avsc`.
//!
//! The invariant: **the branches of an optional field are `null` and its type, in this order**, so that a field which later schemas add can be `null` by default.

use super::binary::{Length, write_text, write_varint};
use super::fields::{Field, Fields, Record, Text, Values};

/// The branches of a union.
const NULL: u8 = 0;
const VALUE: u8 = 2;
/// The end of the blocks of a map.
const END: u8 = 0;

/// A length is a number of either sign, which alternate.
const LENGTH: Length = |length| (length as u64) << 1;

/// Writes to `out`.
pub(super) struct Avro<'a> {
    pub(super) out: &'a mut Vec<u8>,
    /// Whether there may be escapes in what is JSON.
    pub(super) has_escapes: bool,
}

/// Of numbers of either sign the absolutely small ones are short.
fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

impl Avro<'_> {
    fn write(&mut self, text: Text<'_>) {
        write_text(text, self.has_escapes, LENGTH, self.out);
    }
}

impl Fields for Avro<'_> {
    fn text(&mut self, _: Field, text: Text<'_>) {
        self.write(text);
    }

    fn optional(&mut self, _: Field, text: Option<Text<'_>>) {
        match text {
            None => self.out.push(NULL),
            Some(text) => {
                self.out.push(VALUE);
                self.write(text);
            }
        }
    }

    fn number(&mut self, _: Field, number: u64) {
        write_varint(zigzag(number.cast_signed()), self.out);
    }

    fn map<'t>(
        &mut self,
        _: Field,
        members: impl Iterator<Item = (&'t [u8], &'t [u8])> + Clone,
        values: Values,
    ) {
        let count = members.clone().count();
        if count > 0 {
            write_varint(LENGTH(count), self.out);
            for (name, value) in members {
                self.write(Text::Escaped(name));
                self.write(values.text(value));
            }
        }
        self.out.push(END);
    }

    fn record(&mut self, _: Field, record: Option<impl Record>) {
        match record {
            None => self.out.push(NULL),
            Some(record) => {
                self.out.push(VALUE);
                record.write(self);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::zigzag;

    #[test]
    fn numbers_of_either_sign_alternate() {
        let numbers = [0, -1, 1, -2, 2, i64::MAX, i64::MIN];
        assert_eq!(numbers.map(zigzag), [0, 1, 2, 3, 4, u64::MAX - 1, u64::MAX]);
    }
}
