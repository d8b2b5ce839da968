//! JSON as bytes: just enough to find a place in it.
//!
//! The invariant: **nothing is built.** A value is a range of the text that it stands in; only a string that is itself JSON, or that has to be compared and holds
//! escapes, is decoded, into a buffer that is used again. [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259) is the grammar; what is skipped is checked only as far as skipping needs.

use std::borrow::Cow;
use std::ops::Range;

use crate::near;

/// The text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotJson;

/// Deeper nesting counts as no JSON.
pub(crate) const DEEPEST: usize = 128;

/// The first place from `at` on that is no white space.
#[inline(always)]
pub(crate) fn skip_space(text: &[u8], at: usize) -> usize {
    // Mostly there is none.
    if text.get(at).is_some_and(|byte| *byte > b' ') { at } else { skip_blanks(text, at) }
}

fn skip_blanks(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The place after `byte`, which must be the next that is no white space.
pub(crate) fn expect(text: &[u8], at: usize, byte: u8) -> Result<usize, NotJson> {
    let at = skip_space(text, at);
    if text.get(at) == Some(&byte) { Ok(at + 1) } else { Err(NotJson) }
}

/// Where the content of the string ends whose content begins at `at`: the place of its closing quote.
pub(crate) fn end_of_string(text: &[u8], mut at: usize) -> Result<usize, NotJson> {
    loop {
        at += near::find_either(b'"', b'\\', text.get(at..).ok_or(NotJson)?).ok_or(NotJson)?;
        if text[at] == b'"' {
            return Ok(at);
        }
        at += 2;
    }
}

/// The name whose content begins at `at`, and the place of its closing quote.
pub(crate) fn name(text: &[u8], at: usize) -> Result<(Cow<'_, [u8]>, usize), NotJson> {
    let end = near::find_either(b'"', b'\\', text.get(at..).ok_or(NotJson)?).ok_or(NotJson)? + at;
    if text[end] == b'"' {
        return Ok((Cow::Borrowed(&text[at..end]), end));
    }
    let end = end_of_string(text, end)?;
    Ok((decoded(&text[at..end]), end))
}

/// Where the number, `true`, `false` or `null` ends that begins at `at`.
pub(crate) fn end_of_literal(text: &[u8], at: usize) -> Result<usize, NotJson> {
    let is_of_number = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'e' | b'E' | b'+' | b'-' | b'.');
    let is_part = |byte: &u8| byte.is_ascii_lowercase() || is_of_number(&byte);
    let end = match &text[at..] {
        [b't', b'r', b'u', b'e', ..] | [b'n', b'u', b'l', b'l', ..] => at + 4,
        [b'f', b'a', b'l', b's', b'e', ..] => at + 5,
        number @ ([b'-', b'0'..=b'9', ..] | [b'0'..=b'9', ..]) => {
            at + number.iter().take_while(is_of_number).count()
        }
        _ => return Err(NotJson),
    };
    if text.get(end).is_some_and(is_part) { Err(NotJson) } else { Ok(end) }
}

/// Where the value ends that begins at `at`.
pub(crate) fn end_of_value(text: &[u8], at: usize, depth: usize) -> Result<usize, NotJson> {
    match text.get(at).ok_or(NotJson)? {
        b'"' => Ok(end_of_string(text, at + 1)? + 1),
        b'{' => members(text, at, depth, |_, _| true),
        b'[' => elements(text, at, depth, |_| {}),
        _ => end_of_literal(text, at),
    }
}

/// Calls `visit` with each element of the list at `at`; answers where the list ends.
pub(crate) fn elements(
    text: &[u8],
    at: usize,
    depth: usize,
    mut visit: impl FnMut(Range<usize>),
) -> Result<usize, NotJson> {
    let mut at = skip_space(text, at + 1);
    if text.get(at) == Some(&b']') {
        return Ok(at + 1);
    }
    let depth = depth.checked_sub(1).ok_or(NotJson)?;
    loop {
        let value = skip_space(text, at);
        let end_of_value = end_of_value(text, value, depth)?;
        visit(value..end_of_value);
        at = skip_space(text, end_of_value);
        match text.get(at) {
            Some(b',') => at += 1,
            Some(b']') => return Ok(at + 1),
            _ => return Err(NotJson),
        }
    }
}

/// Calls `visit` with the name (as it is written) and the value of each member of the object at `at`, until it answers `false`; answers where the object, or the visited part of it, ends.
pub(crate) fn members(
    text: &[u8],
    at: usize,
    depth: usize,
    mut visit: impl FnMut(Range<usize>, Range<usize>) -> bool,
) -> Result<usize, NotJson> {
    members_by(text, at, depth, |name, value, depth| {
        let end = end_of_value(text, value, depth)?;
        Ok((end, visit(name, value..end)))
    })
}

/// The same, where `visit` hears where a value begins and how deep it may be nested, and answers where it ends as well.
pub(crate) fn members_by(
    text: &[u8],
    at: usize,
    depth: usize,
    mut visit: impl FnMut(Range<usize>, usize, usize) -> Result<(usize, bool), NotJson>,
) -> Result<usize, NotJson> {
    let mut at = skip_space(text, at + 1);
    if text.get(at) == Some(&b'}') {
        return Ok(at + 1);
    }
    let depth = depth.checked_sub(1).ok_or(NotJson)?;
    loop {
        let name = expect(text, at, b'"')?;
        let end_of_name = end_of_string(text, name)?;
        let value = skip_space(text, expect(text, end_of_name + 1, b':')?);
        let (end_of_value, goes_on) = visit(name..end_of_name, value, depth)?;
        if !goes_on {
            return Ok(end_of_value);
        }
        at = skip_space(text, end_of_value);
        match text.get(at) {
            Some(b',') => at += 1,
            Some(b'}') => return Ok(at + 1),
            _ => return Err(NotJson),
        }
    }
}

/// The value of the member `name` of the object that `text` is, as it is written.
pub(crate) fn member<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let begin = skip_space(text, 0);
    if text.get(begin) != Some(&b'{') {
        return None;
    }
    let mut found = None;
    let end = members(text, begin, DEEPEST, |key, value| {
        let is_it = decoded(&text[key]) == name.as_bytes();
        if is_it {
            found = Some(value);
        }
        !is_it
    });
    end.ok()?;
    found.map(|range| &text[range])
}

/// The content of the string that `value` is, if it is one.
pub(crate) fn string(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let content = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    Some(decoded(content))
}

/// What the content of a string stands for.
pub(crate) fn decoded(content: &[u8]) -> Cow<'_, [u8]> {
    if near::find(b'\\', content).is_none() {
        return Cow::Borrowed(content);
    }
    let mut text = Vec::with_capacity(content.len());
    decode(content, &mut text, |_, _| {});
    Cow::Owned(text)
}

/// Writes what the content of a string stands for to the end of `decoded`. After each escape `note` hears how much there is decoded, and of how much.
///
/// What is no escape stays as it is: the caller compares or searches, and must find it.
pub(crate) fn decode(content: &[u8], decoded: &mut Vec<u8>, mut note: impl FnMut(usize, usize)) {
    decoded.reserve(content.len());
    let mut at = 0;
    while let Some(plain) = near::find(b'\\', &content[at..]) {
        decoded.extend_from_slice(&content[at..at + plain]);
        at += plain;
        at += match content.get(at + 1) {
            Some(b'u') => decode_unicode(&content[at..], decoded),
            Some(byte) => {
                decoded.push(match byte {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'b' => 0x08,
                    b'f' => 0x0C,
                    other => *other,
                });
                2
            }
            None => {
                decoded.push(b'\\');
                1
            }
        };
        note(decoded.len(), at);
    }
    decoded.extend_from_slice(&content[at..]);
}

/// Decodes the escape of a UTF-16 unit that `content` begins with (`\u` and four digits), or the two of a surrogate pair; answers how long it is.
fn decode_unicode(content: &[u8], decoded: &mut Vec<u8>) -> usize {
    let unit = |at: usize| {
        let digits = content.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let units = [unit(0), unit(6)];
    let units = units.iter().map_while(|unit| *unit);
    let (character, length) = match char::decode_utf16(units).next() {
        Some(Ok(character)) => (character, character.len_utf16() * 6),
        Some(Err(_)) => (char::REPLACEMENT_CHARACTER, 6),
        None => ('\\', 1),
    };
    decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_member_is_found_where_it_stands() {
        let text = br#" {"a":{"b":1}, "b" : "x\"y" ,"c":[1,{"b":2}],"d":null}"#;
        assert_eq!(member(text, "b"), Some(&br#""x\"y""#[..]));
        assert_eq!(string(member(text, "b").unwrap()).unwrap(), &b"x\"y"[..]);
        assert_eq!(member(text, "c"), Some(&br#"[1,{"b":2}]"#[..]));
        assert_eq!((member(text, "e"), member(b"[]", "a"), member(b"{\"a\":", "a")), (None, None, None));
    }

    #[test]
    fn what_is_nested_too_deeply_is_no_json() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(end_of_value(deep(DEEPEST).as_bytes(), 0, DEEPEST).is_ok());
        assert_eq!(end_of_value(deep(DEEPEST + 2).as_bytes(), 0, DEEPEST), Err(NotJson));
    }

    proptest! {
        #[test]
        fn strings_are_decoded_as_by_anybody(text in any::<String>()) {
            let written = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(string(written.as_bytes()).unwrap(), text.as_bytes());
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            prop_assert_eq!(decoded(escaped.as_bytes()), text.as_bytes());
        }

        #[test]
        fn nothing_panics(text in any::<Vec<u8>>()) {
            let _ = (member(&text, "a"), end_of_value(&text, 0, DEEPEST), decoded(&text));
        }
    }
}
