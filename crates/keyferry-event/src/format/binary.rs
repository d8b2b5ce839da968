//! What Avro and Protobuf have in common: numbers in groups of seven bits, and texts behind their length.
//!
//! The invariant: **a length is that of what follows it.** What is decoded or nested has one that is known only when it is written; room for a length below 128 is kept, and what needs more is moved.

use std::io::Write as _;

use memchr::memchr;

use super::fields::Text;
use crate::json;

/// How a length is put down.
pub(super) type Length = fn(usize) -> u64;

/// Writes `number` in groups of seven bits, the lowest first.
pub(super) fn write_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes a text behind its length.
#[inline]
pub(super) fn write_text(text: Text<'_>, has_escapes: bool, length: Length, out: &mut Vec<u8>) {
    match text {
        Text::Plain(text) | Text::Json(text) => write_plain(text, length, out),
        Text::Escaped(content) if has_escapes && memchr(b'\\', content).is_some() => {
            write_behind_length(length, out, |out| json::decode(content, out, |_, _| {}));
        }
        Text::Escaped(content) => write_plain(content, length, out),
        Text::Formatted(text) => write_behind_length(length, out, |out| {
            // Writing to a Vec cannot fail.
            let _ = out.write_fmt(text);
        }),
    }
}

#[inline]
fn write_plain(text: &[u8], length: Length, out: &mut Vec<u8>) {
    write_varint(length(text.len()), out);
    out.extend_from_slice(text);
}

/// Lets `write` append to `out`, and puts the length of that before it.
pub(super) fn write_behind_length(length: Length, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.push(0);
    write(out);
    let number = length(out.len() - at - 1);
    if let Ok(byte @ 0..0x80) = u8::try_from(number) {
        out[at] = byte;
    } else {
        make_room_for_length(number, at, out);
    }
}

/// Writes `number` at `at`, where there is room for one byte of it.
fn make_room_for_length(mut number: u64, at: usize, out: &mut Vec<u8>) {
    let more = (number.ilog2() / 7) as usize;
    let end = out.len();
    out.resize(end + more, 0);
    out.copy_within(at + 1..end, at + 1 + more);
    for byte in &mut out[at..at + more] {
        *byte = number as u8 | 0x80;
        number >>= 7;
    }
    out[at + more] = number as u8;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_put_down_in_groups_of_seven_bits() {
        for (number, bytes) in [
            (0, &[0][..]),
            (127, &[0x7F]),
            (128, &[0x80, 1]),
            (300, &[0xAC, 2]),
            (u64::MAX, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]),
        ] {
            let mut out = Vec::new();
            write_varint(number, &mut out);
            assert_eq!(out, bytes, "{number}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_behind_its_length_is_as_if_it_had_been_known(
            before in prop::collection::vec(any::<u8>(), 0..4), length in prop_oneof![0..300_usize, 16_300..16_500_usize],
        ) {
            let (mut out, mut expected) = (before.clone(), before);
            let text = vec![b'x'; length];
            write_behind_length(|length| length as u64, &mut out, |out| out.extend_from_slice(&text));
            write_plain(&text, |length| length as u64, &mut expected);
            prop_assert_eq!(out, expected);
        }
    }
}
