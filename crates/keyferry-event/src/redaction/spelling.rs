//! The two ways in which JSON stands in a text: as it is, and as the content of a string, where its quotes and backslashes are escaped.
//!
//! The invariant: **what [`Escaped`] reads is what would be read in the decoded string.** It knows the escapes that JSON cannot do without there, `\"` and `\\`, and those of the line breaks and tabs between
//! its values. At any other, at a name with an escape of its own, and at the end of the string it gives up, and the string has to be decoded. So a representation as Keycloak writes it is searched where it
//! stands, and nothing is copied.

use std::borrow::Cow;
use std::ops::Range;

use crate::json::{self, NotJson};
use crate::near;

/// How JSON is written.
pub(super) trait Spelling {
    /// What a string begins and ends with.
    const QUOTE: &'static [u8];
    /// In how many strings it stands.
    const STRINGS: usize;

    /// The first place from `at` on that is no white space.
    fn skip_space(text: &[u8], at: usize) -> usize;

    /// Where the content of the string ends whose content begins at `at`.
    fn end_of_string(text: &[u8], at: usize) -> Result<usize, NotJson>;

    /// The name whose content begins at `at`, and where that ends.
    fn name(text: &[u8], at: usize) -> Result<(Cow<'_, [u8]>, usize), NotJson>;

    /// The place after the quote at `at`.
    fn after_quote(text: &[u8], at: usize) -> Result<usize, NotJson> {
        let is_quote = text.get(at..).is_some_and(|rest| rest.starts_with(Self::QUOTE));
        if is_quote { Ok(at + Self::QUOTE.len()) } else { Err(NotJson) }
    }

    /// What the content of a string, at `place`, stands for.
    fn meaning(text: &[u8], place: Range<usize>) -> Result<Cow<'_, [u8]>, NotJson>;

    /// The content of the string at `at`.
    fn string(text: &[u8], at: usize) -> Result<Range<usize>, NotJson> {
        let begin = Self::after_quote(text, at)?;
        Ok(begin..Self::end_of_string(text, begin)?)
    }

    /// Where the value begins whose name's content ends at `at`.
    fn value(text: &[u8], at: usize) -> Result<usize, NotJson> {
        let colon = Self::skip_space(text, at + Self::QUOTE.len());
        if text.get(colon) == Some(&b':') { Ok(Self::skip_space(text, colon + 1)) } else { Err(NotJson) }
    }
}

/// As it is.
pub(super) struct Plain;

impl Spelling for Plain {
    const QUOTE: &'static [u8] = b"\"";
    const STRINGS: usize = 0;

    fn skip_space(text: &[u8], at: usize) -> usize {
        json::skip_space(text, at)
    }

    fn end_of_string(text: &[u8], at: usize) -> Result<usize, NotJson> {
        json::end_of_string(text, at)
    }

    fn name(text: &[u8], at: usize) -> Result<(Cow<'_, [u8]>, usize), NotJson> {
        json::name(text, at)
    }

    fn meaning(text: &[u8], place: Range<usize>) -> Result<Cow<'_, [u8]>, NotJson> {
        Ok(json::decoded(&text[place]))
    }
}

/// As the content of a string.
pub(super) struct Escaped;

impl Spelling for Escaped {
    const QUOTE: &'static [u8] = b"\\\"";
    const STRINGS: usize = 1;

    #[inline(always)]
    fn skip_space(text: &[u8], at: usize) -> usize {
        // Mostly there is none.
        match text.get(at..) {
            Some([b'\\', b'"', ..] | [b'!'..=b'[' | b']'..=b'~', ..]) => at,
            _ => skip_escaped_space(text, at),
        }
    }

    fn end_of_string(text: &[u8], mut at: usize) -> Result<usize, NotJson> {
        loop {
            at += quote_or_escape(text, at)?;
            at += match &text[at..] {
                [b'\\', b'"', ..] => return Ok(at),
                // An escape of the inner string's own, of a quote or a backslash, and of anything else.
                [b'\\', b'\\', b'\\', b'"' | b'\\', ..] => 4,
                [b'\\', b'\\', b'"' | b'\\', ..] => return Err(NotJson),
                [b'\\', b'\\', _, ..] => 3,
                _ => return Err(NotJson),
            };
        }
    }

    fn name(text: &[u8], at: usize) -> Result<(Cow<'_, [u8]>, usize), NotJson> {
        let end = at + quote_or_escape(text, at)?;
        if text[end..].starts_with(Self::QUOTE) {
            Ok((Cow::Borrowed(&text[at..end]), end))
        } else {
            Err(NotJson)
        }
    }

    fn meaning(text: &[u8], place: Range<usize>) -> Result<Cow<'_, [u8]>, NotJson> {
        let content = &text[place];
        if near::find(b'\\', content).is_none() { Ok(Cow::Borrowed(content)) } else { Err(NotJson) }
    }
}

fn skip_escaped_space(text: &[u8], at: usize) -> usize {
    let mut at = json::skip_space(text, at);
    while text.get(at) == Some(&b'\\') && matches!(text.get(at + 1), Some(b'n' | b'r' | b't')) {
        at = json::skip_space(text, at + 2);
    }
    at
}

fn quote_or_escape(text: &[u8], at: usize) -> Result<usize, NotJson> {
    near::find_either(b'"', b'\\', text.get(at..).ok_or(NotJson)?).ok_or(NotJson)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The invariant of the module, for a string and what follows it.
        #[test]
        fn what_stands_escaped_ends_where_it_ends_decoded(text in "([a-zé ]|\\\\[\\\\\"nu/]|\"|\\\\){0,12}") {
            let outer = serde_json::to_string(&text).unwrap();
            let outer = outer.as_bytes();
            let mut decoded = Vec::new();
            let mut places = Vec::new();
            json::decode(&outer[1..outer.len() - 1], &mut decoded, |decoded, written| places.push((decoded, written + 1)));
            let outer_place = |at: usize| {
                let before = places.iter().rev().find(|(decoded, _)| *decoded <= at).copied();
                before.map_or(at + 1, |(decoded, written)| at - decoded + written)
            };
            let found = Escaped::end_of_string(outer, 1);
            let expected = json::end_of_string(&decoded, 0).map(outer_place);
            prop_assert_eq!(found, expected, "{}", text);
            if let Ok((name, end)) = Escaped::name(outer, 1) {
                let (expected, inner_end) = json::name(&decoded, 0).unwrap();
                prop_assert_eq!((name, end), (expected, outer_place(inner_end)));
            }
        }
    }
}
