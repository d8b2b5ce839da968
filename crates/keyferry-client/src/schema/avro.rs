//! [Avro's binary encoding](https://avro.apache.org/docs/1.12.0/specification/#binary-encoding), in which only the order of the fields tells which they are.

use serde_json::{Map, Value};

use super::{EVENT, Field, Flaw, Shape, json, text, varint};

/// The fields of the record that `bytes` are, without those that are `null`.
pub(super) fn read(mut bytes: &[u8]) -> Result<Map<String, Value>, Flaw> {
    let record = record(EVENT, &mut bytes)?;
    if bytes.is_empty() { Ok(record) } else { Err("it goes on behind the last field") }
}

fn record(fields: &[Field], rest: &mut &[u8]) -> Result<Map<String, Value>, Flaw> {
    let mut record = Map::new();
    for field in fields {
        let value = match field.shape {
            Shape::Text => string(rest)?.into(),
            Shape::Number => long(rest)?.cast_unsigned().into(),
            Shape::Texts => map(rest, |text| Ok(text.into()))?,
            Shape::Jsons => map(rest, json)?,
            _ if !is_there(rest)? => continue,
            Shape::OptionalText => string(rest)?.into(),
            Shape::OptionalJson => json(string(rest)?)?,
            Shape::Record(fields) => self::record(fields, rest)?.into(),
        };
        record.insert(field.name.to_owned(), value);
    }
    Ok(record)
}

/// A number of either sign.
fn long(rest: &mut &[u8]) -> Result<i64, Flaw> {
    let number = varint(rest)?;
    Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

fn string<'a>(rest: &mut &'a [u8]) -> Result<&'a str, Flaw> {
    let length = u64::try_from(long(rest)?).map_err(|_| "a length is negative")?;
    text(rest, length)
}

/// Which branch a union has taken that can be `null`.
fn is_there(rest: &mut &[u8]) -> Result<bool, Flaw> {
    match long(rest)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err("a union has no such branch"),
    }
}

/// A map, in blocks of entries behind their number. A negative number is followed by the bytes of the block.
fn map(rest: &mut &[u8], read: impl Fn(&str) -> Result<Value, Flaw>) -> Result<Value, Flaw> {
    let mut map = Map::new();
    loop {
        let count = long(rest)?;
        if count < 0 {
            long(rest)?;
        }
        if count == 0 {
            return Ok(map.into());
        }
        for _ in 0..count.unsigned_abs() {
            let name = string(rest)?.to_owned();
            map.insert(name, read(string(rest)?)?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_either_sign_alternate() {
        let read = |mut bytes: &[u8]| long(&mut bytes);
        for (bytes, number) in [(&[0][..], 0), (&[1], -1), (&[2], 1), (&[0xAC, 2], 150)] {
            assert_eq!(read(bytes), Ok(number));
        }
        assert_eq!(read(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]), Ok(i64::MIN));
        assert!(read(&[0x80]).is_err() && read(&[0x80; 11]).is_err());
    }

    #[test]
    fn a_map_may_come_in_several_blocks() {
        let mut bytes = &b"\x02\x02a\x02b\x01\x08\x02c\x02d\0rest"[..];
        let read = map(&mut bytes, |text| Ok(text.into())).unwrap();
        assert_eq!((read, bytes), (serde_json::json!({"a": "b", "c": "d"}), &b"rest"[..]));
    }
}
