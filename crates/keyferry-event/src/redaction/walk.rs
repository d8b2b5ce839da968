//! The way through an event's JSON, which finds what is to be edited.
//!
//! The invariant: **only what stands between two quotes, or a value as a whole, is ever replaced**, and no place twice, so that what was JSON stays JSON.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::edit::{Edits, MASK};
use super::hash::HashKey;
use super::rule::{Action, Places, Rules};
use super::secret::{Suspicion, VALUE, in_shape, is_harmless, is_secret_name, is_type_of_credential};
use crate::json::{self, DEEPEST, NotJson, decoded, end_of_literal, end_of_string, expect, skip_space};

/// So many strings within strings are read: a representation, a text of its attributes that is JSON, and one in that.
const MOST_LEVELS: usize = 3;

/// One walk.
pub(super) struct Walk<'a> {
    pub(super) rules: &'a Rules,
    pub(super) key: Option<&'a HashKey>,
    /// What is to be looked for besides what the rules name.
    pub(super) suspicion: Suspicion,
    pub(super) edits: &'a mut Edits,
    /// Buffers for strings that are JSON.
    pub(super) buffers: &'a mut Vec<Vec<u8>>,
}

/// What holds for a value because of where it stands.
#[derive(Clone, Copy)]
struct Under {
    places: Places,
    action: Option<Why>,
    /// Whether it is the representation of an admin event, which is searched or masked.
    is_representation: bool,
    /// How deeply what it stands in is nested yet may be.
    depth: usize,
}

/// What is done to a value, and why.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The configuration says so.
    Rule(Action),
    /// Its field has the name of a secret.
    Secret,
}

/// What an object says that concerns several of its fields.
#[derive(Default)]
struct Credential {
    is_one: bool,
    /// Its `value`, where the text of the object has it, which waits for the `type`.
    value: Option<Range<usize>>,
}

impl Walk<'_> {
    /// Goes through the text of an event.
    ///
    /// # Errors
    /// It is not JSON. The edits that were found until then are of no use.
    pub(super) fn event(&mut self, text: &[u8]) -> Result<(), NotJson> {
        let under =
            Under { places: self.rules.first(), action: None, is_representation: false, depth: DEEPEST };
        self.text(text, under)
    }

    fn text(&mut self, text: &[u8], under: Under) -> Result<(), NotJson> {
        let end = self.value(text, skip_space(text, 0), under)?;
        if skip_space(text, end) == text.len() { Ok(()) } else { Err(NotJson) }
    }

    /// Goes through the value at `at`, and answers where it ends.
    fn value(&mut self, text: &[u8], at: usize, under: Under) -> Result<usize, NotJson> {
        match text.get(at).ok_or(NotJson)? {
            b'"' => {
                let end = end_of_string(text, at + 1)?;
                self.string(text, at + 1..end, under);
                Ok(end + 1)
            }
            b'{' => self.object(text, at + 1, under.deeper()?),
            b'[' => self.list(text, at + 1, under.deeper()?),
            _ => {
                let end = end_of_literal(text, at)?;
                self.literal(text, at..end, under.action);
                Ok(end)
            }
        }
    }

    fn list(&mut self, text: &[u8], at: usize, under: Under) -> Result<usize, NotJson> {
        let mut at = skip_space(text, at);
        if text.get(at) == Some(&b']') {
            return Ok(at + 1);
        }
        loop {
            at = skip_space(text, self.value(text, skip_space(text, at), under)?);
            match text.get(at) {
                Some(b',') => at += 1,
                Some(b']') => return Ok(at + 1),
                _ => return Err(NotJson),
            }
        }
    }

    fn object(&mut self, text: &[u8], at: usize, under: Under) -> Result<usize, NotJson> {
        let mut at = skip_space(text, at);
        if text.get(at) == Some(&b'}') {
            return Ok(at + 1);
        }
        let mut credential = Credential::default();
        loop {
            at = skip_space(text, self.member(text, at, under, &mut credential)?);
            match text.get(at) {
                Some(b',') => at += 1,
                Some(b'}') => break,
                _ => return Err(NotJson),
            }
        }
        if let Some(value) = credential.value {
            let action = (credential.is_one && !is_harmless(&text[value.clone()])).then_some(Why::Secret);
            self.string(text, value, Under { action, ..under });
        }
        Ok(at + 1)
    }

    fn member(
        &mut self,
        text: &[u8],
        at: usize,
        under: Under,
        credential: &mut Credential,
    ) -> Result<usize, NotJson> {
        let (name, end) = json::name(text, expect(text, at, b'"')?)?;
        let value = skip_space(text, expect(text, end + 1, b':')?);
        let (places, rule) = self.rules.follow(under.places, &name);
        let secret = || (self.suspicion.of_name && is_secret_name(&name)).then_some(Why::Secret);
        let action = rule.map(Why::Rule).or(under.action).or_else(secret);
        let is_representation = self.edits.depth() == 0 && *name == *b"representation";
        let under = Under { places, action, is_representation, ..under };
        match (action, text.get(value)) {
            (Some(Why::Rule(Action::Drop)), _) => self.drop(text, value, under),
            (None, Some(b'"')) if self.suspicion.of_name && *name == *b"type" => {
                let end = end_of_string(text, value + 1)?;
                credential.is_one |= is_type_of_credential(&text[value + 1..end]);
                Ok(end + 1)
            }
            (None, Some(b'"')) if *name == *VALUE && credential.value.is_none() => {
                let end = end_of_string(text, value + 1)?;
                credential.value = Some(value + 1..end);
                Ok(end + 1)
            }
            _ => self.value(text, value, under),
        }
    }

    fn drop(&mut self, text: &[u8], at: usize, under: Under) -> Result<usize, NotJson> {
        let keep = Under { action: Some(Why::Rule(Action::Keep)), places: Places::default(), ..under };
        let end = self.value(text, at, keep)?;
        self.edits.put(at..end, |new| new.extend_from_slice(b"null"));
        Ok(end)
    }

    fn literal(&mut self, text: &[u8], place: Range<usize>, action: Option<Why>) {
        let is_number = !text[place.start].is_ascii_lowercase();
        let is_null = text[place.start] == b'n';
        match action {
            None | Some(Why::Rule(Action::Keep | Action::Drop)) => {}
            Some(_) if is_number => self.edits.put(place, |new| new.push(b'0')),
            Some(Why::Rule(_)) if !is_null => self.edits.put(place, |new| new.extend_from_slice(b"null")),
            Some(_) => {}
        }
    }

    /// Edits the string whose content is at `place`.
    fn string(&mut self, text: &[u8], place: Range<usize>, under: Under) {
        let content = &text[place.clone()];
        let Some(action) = under.action else { return self.plain(text, place, under) };
        let mask = |new: &mut Vec<u8>| new.extend_from_slice(MASK);
        match action {
            Why::Secret if is_harmless(content) => {}
            Why::Rule(Action::Keep | Action::Drop) => {}
            Why::Secret | Why::Rule(Action::Mask) => self.edits.put(place, mask),
            Why::Rule(Action::Hash) => match self.key {
                Some(key) => self.edits.put(place, |new| key.write_hash(&decoded(content), new)),
                None => self.edits.put(place, mask),
            },
            Why::Rule(Action::HashUser) => self.hash_user(text, place),
            Why::Rule(Action::TruncateIp) => match truncated(&decoded(content)) {
                Some(address) => self.edits.put(place, |new| new.extend_from_slice(address.as_bytes())),
                None if content.is_empty() => {}
                None => self.edits.put(place, mask),
            },
        }
    }

    /// Of `users/{id}/…`, the id.
    fn hash_user(&mut self, text: &[u8], place: Range<usize>) {
        let content = &text[place.clone()];
        let Some(id) = std::str::from_utf8(content).ok().and_then(crate::key::user_of_path) else { return };
        let begin = place.start + "users/".len();
        let place = begin..begin + id.len();
        match self.key {
            Some(key) => self.edits.put(place, |new| key.write_hash(&decoded(id.as_bytes()), new)),
            None => self.edits.put(place, |new| new.extend_from_slice(MASK)),
        }
    }

    /// A string of which nothing is known but what it is: JSON, or a secret by its shape.
    fn plain(&mut self, text: &[u8], place: Range<usize>, under: Under) {
        let content = &text[place.clone()];
        if self.may_hold_fields(content, under) {
            match self.nested(text, place.clone(), under) {
                Ok(()) => return,
                // What looks like JSON and cannot be searched as such.
                Err(NotJson) if under.is_representation => {
                    return self.edits.put(place, |new| new.extend_from_slice(MASK));
                }
                Err(NotJson) => {}
            }
        }
        if self.suspicion.of_shape
            && let Some(found) = in_shape(content)
        {
            let found = place.start + found.start..place.start + found.end;
            self.edits.put(found, |new| new.extend_from_slice(MASK));
        }
    }

    /// Whether the content of a string may be JSON in which there is something to look for.
    fn may_hold_fields(&self, content: &[u8], under: Under) -> bool {
        let is_searched = !self.suspicion.is_none() || !under.places.are_none();
        is_searched
            && matches!(content.get(skip_space(content, 0)), Some(b'{' | b'['))
            && (under.is_representation || memchr::memchr(b'\\', content).is_some())
            && self.edits.depth() < MOST_LEVELS
    }

    fn nested(&mut self, text: &[u8], place: Range<usize>, under: Under) -> Result<(), NotJson> {
        let mut buffer = self.buffers.pop().unwrap_or_default();
        buffer.clear();
        let mark = self.edits.open(text, place, &mut buffer);
        let found = self.text(&buffer, Under { is_representation: false, depth: DEEPEST, ..under });
        self.edits.close();
        self.buffers.push(buffer);
        if found.is_err() {
            self.edits.undo(mark);
        }
        found
    }
}

impl Under {
    fn deeper(self) -> Result<Self, NotJson> {
        Ok(Self { depth: self.depth.checked_sub(1).ok_or(NotJson)?, ..self })
    }
}

/// The address without what tells a host from its neighbours: /24 and /48.
fn truncated(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    // A link-local address may name its interface.
    let (address, _) = text.split_once('%').unwrap_or((text, ""));
    let address = address.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok()?;
    let truncated = match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    };
    Some(truncated.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_hosts() {
        let cases = [
            ("192.0.2.77", Some("192.0.2.0")),
            ("2001:db8:1:2:3:4:5:6", Some("2001:db8:1::")),
            ("::ffff:192.0.2.77", Some("192.0.2.0")),
            ("fe80::1%eth0", Some("fe80::")),
            ("[2001:db8:1:2::5]", Some("2001:db8:1::")),
            ("::1", Some("::")),
            ("host.example.org", None),
            ("192.0.2.77, 10.0.0.1", None),
        ];
        for (address, expected) in cases {
            assert_eq!(truncated(address.as_bytes()).as_deref(), expected, "{address}");
        }
    }
}
