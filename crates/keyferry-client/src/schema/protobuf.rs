//! [Protobuf's wire format](https://protobuf.dev/programming-guides/encoding/), in which each field has its number before it.

use serde_json::{Map, Value};

use super::{EVENT, Field, Flaw, Shape, json, text, varint};

/// The fields of the message that `bytes` are, without those that have no value.
pub(super) fn read(bytes: &[u8]) -> Result<Map<String, Value>, Flaw> {
    message(EVENT, bytes)
}

fn message(fields: &[Field], mut rest: &[u8]) -> Result<Map<String, Value>, Flaw> {
    let mut message = Map::new();
    while !rest.is_empty() {
        let (number, bytes) = tagged(&mut rest)?;
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let field = place
            .and_then(|place| fields.get(place))
            .ok_or("it has a field of a number that is not known")?;
        let value = match (field.shape, bytes) {
            (Shape::Number, Tagged::Number(number)) => number.into(),
            (Shape::Text | Shape::OptionalText, Tagged::Bytes(bytes)) => string(bytes)?.into(),
            (Shape::OptionalJson, Tagged::Bytes(bytes)) => json(string(bytes)?)?,
            (Shape::Record(fields), Tagged::Bytes(bytes)) => self::message(fields, bytes)?.into(),
            (Shape::Texts, Tagged::Bytes(bytes)) => {
                add(&mut message, field, bytes, |text| Ok(text.into()))?;
                continue;
            }
            (Shape::Jsons, Tagged::Bytes(bytes)) => {
                add(&mut message, field, bytes, json)?;
                continue;
            }
            _ => return Err("a field is of another type"),
        };
        message.insert(field.name.to_owned(), value);
    }
    Ok(message)
}

/// The value of a field.
enum Tagged<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The next field: its number and its value.
fn tagged<'a>(rest: &mut &'a [u8]) -> Result<(u64, Tagged<'a>), Flaw> {
    let tag = varint(rest)?;
    let value = match tag & 7 {
        0 => Tagged::Number(varint(rest)?),
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| super::CUT_SHORT)?;
            Tagged::Bytes(rest.split_off(..length).ok_or(super::CUT_SHORT)?)
        }
        _ => return Err("a field is of another type"),
    };
    Ok((tag >> 3, value))
}

fn string(mut bytes: &[u8]) -> Result<&str, Flaw> {
    let length = bytes.len() as u64;
    text(&mut bytes, length)
}

/// Adds an entry to the map of a field. A key or a value that is not there is empty.
fn add(
    message: &mut Map<String, Value>,
    field: &Field,
    mut entry: &[u8],
    read: impl Fn(&str) -> Result<Value, Flaw>,
) -> Result<(), Flaw> {
    let (mut name, mut value) = ("", "");
    while !entry.is_empty() {
        match tagged(&mut entry)? {
            (1, Tagged::Bytes(bytes)) => name = string(bytes)?,
            (2, Tagged::Bytes(bytes)) => value = string(bytes)?,
            _ => return Err("an entry of a map has more than key and value"),
        }
    }
    let map = message.entry(field.name).or_insert_with(|| Map::new().into());
    if let Value::Object(map) = map {
        map.insert(name.to_owned(), read(value)?);
    }
    Ok(())
}
