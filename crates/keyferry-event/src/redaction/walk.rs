//! The way through an event's JSON, which finds what is to be edited.
//!
//! The invariant: **only what stands between two quotes, or a value as a whole, is ever replaced**, and no place twice, so that what was JSON stays JSON.
//!
//! JSON in a string is gone through where it stands, escaped ([`Escaped`]), and decoded only where that cannot be: it is spelt unusually, holds JSON in strings itself, or rules lead into it, which may need what
//! a value stands for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::edit::{Edits, MASK};
use super::hash::HashKey;
use super::rule::{Action, Places, Rules};
use super::secret::{Suspicion, VALUE, in_shape, is_harmless, is_secret_name, is_type_of_credential};
use super::spelling::{Escaped, Plain, Spelling};
use crate::json::{DEEPEST, NotJson, decoded, end_of_literal, skip_space};
use crate::near;

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
    /// Its `value`, where the text of the object has it, and what holds for it. It waits for the `type`.
    value: Option<(Range<usize>, Under)>,
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
        let end = self.value::<Plain>(text, skip_space(text, 0), under)?;
        if skip_space(text, end) == text.len() { Ok(()) } else { Err(NotJson) }
    }

    /// Goes through the value at `at`, and answers where it ends.
    fn value<S: Spelling>(&mut self, text: &[u8], at: usize, under: Under) -> Result<usize, NotJson> {
        match text.get(at).ok_or(NotJson)? {
            b'"' | b'\\' => {
                let begin = S::after_quote(text, at)?;
                if S::STRINGS == 0
                    && let Some(end) = self.escaped(text, begin, under)
                {
                    return Ok(end + S::QUOTE.len());
                }
                let end = S::end_of_string(text, begin)?;
                self.string::<S>(text, begin..end, under)?;
                Ok(end + S::QUOTE.len())
            }
            b'{' => self.object::<S>(text, at + 1, under.deeper()?),
            b'[' => self.list::<S>(text, at + 1, under.deeper()?),
            _ => {
                let end = end_of_literal(text, at)?;
                self.literal(text, at..end, under.action);
                Ok(end)
            }
        }
    }

    fn list<S: Spelling>(&mut self, text: &[u8], at: usize, under: Under) -> Result<usize, NotJson> {
        let mut at = S::skip_space(text, at);
        if text.get(at) == Some(&b']') {
            return Ok(at + 1);
        }
        loop {
            at = S::skip_space(text, self.value::<S>(text, S::skip_space(text, at), under)?);
            match text.get(at) {
                Some(b',') => at += 1,
                Some(b']') => return Ok(at + 1),
                _ => return Err(NotJson),
            }
        }
    }

    fn object<S: Spelling>(&mut self, text: &[u8], at: usize, under: Under) -> Result<usize, NotJson> {
        let mut at = S::skip_space(text, at);
        if text.get(at) == Some(&b'}') {
            return Ok(at + 1);
        }
        let mut credential = Credential::default();
        loop {
            at = S::skip_space(text, self.member::<S>(text, at, under, &mut credential)?);
            match text.get(at) {
                Some(b',') => at += 1,
                Some(b'}') => break,
                _ => return Err(NotJson),
            }
        }
        if let Some((value, under)) = credential.value {
            let action = credential.is_one.then_some(Why::Secret);
            self.string::<S>(text, value, Under { action, ..under })?;
        }
        Ok(at + 1)
    }

    fn member<S: Spelling>(
        &mut self,
        text: &[u8],
        at: usize,
        under: Under,
        credential: &mut Credential,
    ) -> Result<usize, NotJson> {
        let (name, end) = S::name(text, S::after_quote(text, S::skip_space(text, at))?)?;
        let value = S::value(text, end)?;
        let (places, rule) = self.rules.follow(under.places, &name);
        let secret = || (self.suspicion.of_name && is_secret_name(&name)).then_some(Why::Secret);
        let action = rule.map(Why::Rule).or(under.action).or_else(secret);
        let is_representation = self.level::<S>() == 0 && *name == *b"representation";
        let under = Under { places, action, is_representation, ..under };
        let is_string = || text.get(value) == S::QUOTE.first();
        // Whatever is done to the type: what it says of the value holds.
        if self.suspicion.of_name && *name == *b"type" && is_string() {
            credential.is_one |= is_type_of_credential(&S::meaning(text, S::string(text, value)?)?);
        }
        match action {
            Some(Why::Rule(Action::Drop)) => self.drop::<S>(text, value, under),
            None if self.suspicion.of_name && *name == *VALUE && is_string() => {
                let content = S::string(text, value)?;
                let end = content.end + S::QUOTE.len();
                // Nobody writes two of them; neither is told apart from the other by those who read them.
                if let Some((first, under)) = credential.value.replace((content, under)) {
                    self.string::<S>(text, first, Under { action: Some(Why::Secret), ..under })?;
                    credential.is_one = true;
                }
                Ok(end)
            }
            _ => self.value::<S>(text, value, under),
        }
    }

    fn drop<S: Spelling>(&mut self, text: &[u8], at: usize, under: Under) -> Result<usize, NotJson> {
        let keep = Under { action: Some(Why::Rule(Action::Keep)), places: Places::default(), ..under };
        let end = self.value::<S>(text, at, keep)?;
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
    ///
    /// # Errors
    /// It has to be decoded first, and stands in one that has been not.
    fn string<S: Spelling>(&mut self, text: &[u8], place: Range<usize>, under: Under) -> Result<(), NotJson> {
        match under.action {
            None => self.unnamed::<S>(text, place, under),
            Some(action) => {
                self.named(text, place, action);
                Ok(())
            }
        }
    }

    /// A string to which `action` is to be done.
    fn named(&mut self, text: &[u8], place: Range<usize>, action: Why) {
        let content = &text[place.clone()];
        let mask = |new: &mut Vec<u8>| new.extend_from_slice(MASK);
        match action {
            Why::Secret if is_harmless(content) => {}
            Why::Rule(Action::Keep | Action::Drop) => {}
            Why::Secret | Why::Rule(Action::Mask) => self.edits.put(place, mask),
            Why::Rule(Action::Hash) => match self.key {
                Some(key) => self.edits.put(place, |new| key.write_hash(&decoded(content), new)),
                None => self.edits.put(place, mask),
            },
            Why::Rule(Action::HashUser) => self.edit_decoded(text, place, Self::hash_user),
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
            Some(key) => self.edits.put(place, |new| key.write_hash(id.as_bytes(), new)),
            None => self.edits.put(place, |new| new.extend_from_slice(MASK)),
        }
    }

    /// A string of which nothing is known but what it is: JSON, or a secret by its shape.
    fn unnamed<S: Spelling>(
        &mut self,
        text: &[u8],
        place: Range<usize>,
        under: Under,
    ) -> Result<(), NotJson> {
        let content = &text[place.clone()];
        let may_hold_fields = self.may_hold_fields::<S>(content, under);
        if S::STRINGS > 0 {
            let may_be_shape = || self.suspicion.of_shape && has_escape(content);
            if may_hold_fields || may_be_shape() {
                return Err(NotJson);
            }
        } else if may_hold_fields {
            match self.nested(text, place.clone(), under) {
                Ok(()) => return Ok(()),
                // What looks like JSON and cannot be searched as such.
                Err(NotJson) if under.is_representation => {
                    self.edits.put(place, |new| new.extend_from_slice(MASK));
                    return Ok(());
                }
                Err(NotJson) => {}
            }
        }
        if self.suspicion.of_shape {
            self.edit_decoded(text, place, Self::mask_shapes);
        }
        Ok(())
    }

    /// Masks what is a secret by its shape: a private key as a whole, and each token.
    fn mask_shapes(&mut self, text: &[u8], place: Range<usize>) {
        let mut begin = place.start;
        while let Some(found) = in_shape(&text[begin..place.end]) {
            self.edits.put(begin + found.start..begin + found.end, |new| new.extend_from_slice(MASK));
            begin += found.end;
        }
    }

    /// In how many strings that stands which is spelt so.
    fn level<S: Spelling>(&self) -> usize {
        self.edits.depth() + S::STRINGS
    }

    /// Whether the content of a string may be JSON in which there is something to look for.
    fn may_hold_fields<S: Spelling>(&self, content: &[u8], under: Under) -> bool {
        let is_searched = !self.suspicion.is_none() || !under.places.are_none();
        is_searched
            && begins_like_json::<S>(content)
            && (under.is_representation || has_escape(content))
            && self.level::<S>() < MOST_LEVELS
    }

    /// Goes through the JSON that the string is whose content begins at `begin`, without decoding it, and answers where the string ends. Otherwise nothing has been done.
    fn escaped(&mut self, text: &[u8], begin: usize, under: Under) -> Option<usize> {
        let is_tried = under.action.is_none()
            && under.places.are_none()
            && begins_like_json::<Plain>(&text[begin..])
            && self.level::<Plain>() < MOST_LEVELS;
        if !is_tried || self.suspicion.is_none() {
            return None;
        }
        let mark = self.edits.mark();
        let under = Under { is_representation: false, depth: DEEPEST, ..under };
        let end = self.value::<Escaped>(text, Escaped::skip_space(text, begin), under);
        let end =
            end.ok().map(|end| Escaped::skip_space(text, end)).filter(|end| text.get(*end) == Some(&b'"'));
        if end.is_none() {
            self.edits.undo(mark);
        }
        end
    }

    fn nested(&mut self, text: &[u8], place: Range<usize>, under: Under) -> Result<(), NotJson> {
        let mark = self.edits.mark();
        let under = Under { is_representation: false, depth: DEEPEST, ..under };
        let found = self.opened(text, place, |walk, decoded| walk.text(decoded, under));
        if found.is_err() {
            self.edits.undo(mark);
        }
        found
    }

    /// Lets `edit` edit the content of a string, at `place`, as what it stands for.
    fn edit_decoded(
        &mut self,
        text: &[u8],
        place: Range<usize>,
        edit: impl FnOnce(&mut Self, &[u8], Range<usize>),
    ) {
        if has_escape(&text[place.clone()]) {
            self.opened(text, place, |walk, decoded| edit(walk, decoded, 0..decoded.len()));
        } else {
            edit(self, text, place);
        }
    }

    /// Lets `read` read what the string stands for whose content is at `place`: meanwhile that is the innermost text.
    fn opened<R>(&mut self, text: &[u8], place: Range<usize>, read: impl FnOnce(&mut Self, &[u8]) -> R) -> R {
        let mut decoded = self.buffers.pop().unwrap_or_default();
        decoded.clear();
        self.edits.open(text, place, &mut decoded);
        let answer = read(self, &decoded);
        self.edits.close();
        self.buffers.push(decoded);
        answer
    }
}

/// Whether the content of a string that is spelt so may be an object or a list, as far as that can be told without decoding it.
#[inline]
fn begins_like_json<S: Spelling>(content: &[u8]) -> bool {
    // Mostly it is empty, or begins with a letter or a digit.
    !matches!(content, [] | [b'"' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z', ..])
        && begins_like_json_after_space::<S>(content)
}

fn begins_like_json_after_space<S: Spelling>(mut content: &[u8]) -> bool {
    loop {
        content = &content[Escaped::skip_space(content, 0)..];
        match content {
            [b'{' | b'[', ..] => return true,
            [b'\\', ..] if S::STRINGS > 0 => return true,
            [b'\\', b'u', _, _, _, _, rest @ ..] => match *decoded(&content[..6]) {
                [b'{' | b'['] => return true,
                [b' ' | b'\t' | b'\n' | b'\r'] => content = rest,
                _ => return false,
            },
            _ => return false,
        }
    }
}

fn has_escape(content: &[u8]) -> bool {
    near::find(b'\\', content).is_some()
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
