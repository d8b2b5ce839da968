//! The members of an event's JSON: each is told in the place that a format has for it, or left over.
//!
//! The invariant: **a member is marked as told only by whoever takes it**, so that what nobody has a place for is known in the end, whatever it is.

use std::cell::Cell;
use std::net::IpAddr;
use std::ops::Range;

use super::writing::ObjectWriter;
use crate::json::{self, DEEPEST, NotJson, skip_space};

/// Where the members of one object stand. Reused from object to object.
#[derive(Debug, Default)]
pub(super) struct Members(Vec<Member>);

/// The member that the provider adds to an event where it is asked for names beside ids.
const ENRICHMENT: &str = "keyferry";

#[derive(Debug)]
struct Member {
    /// The content of its name.
    name: Range<usize>,
    value: Range<usize>,
    is_told: bool,
}

impl Members {
    /// Reads those of the object at `at`; answers where it ends.
    fn read(&mut self, text: &[u8], at: usize, depth: usize) -> Result<usize, NotJson> {
        self.0.clear();
        json::members(text, at, depth, |name, value| {
            self.0.push(Member { name, value, is_told: false });
            true
        })
    }
}

/// An object in an event that is taken apart as well: that of the first member of its name.
struct Inner<'a> {
    name: &'static str,
    members: &'a mut Members,
    is_met: bool,
    is_there: bool,
}

impl<'a> Inner<'a> {
    fn new(name: &'static str, members: &'a mut Members) -> Self {
        Self { name, members, is_met: false, is_there: false }
    }

    /// Whether a member is it.
    fn is(&mut self, name: &[u8], first: Option<&u8>) -> bool {
        if self.is_met || name != self.name.as_bytes() {
            return false;
        }
        self.is_met = true;
        self.is_there = first == Some(&b'{');
        self.is_there
    }

    fn object(self, text: &'a [u8]) -> Option<Object<'a>> {
        self.is_there.then(|| Object::of(text, self.members))
    }
}

/// An object whose members are being told.
pub(super) struct Object<'a> {
    /// Where the members stand, and perhaps more.
    text: &'a [u8],
    members: &'a mut Vec<Member>,
    /// Behind the member that was found last: whoever asks in the order in which they stand finds each at once.
    next: Cell<usize>,
}

impl<'a> Object<'a> {
    fn of(text: &'a [u8], members: &'a mut Members) -> Self {
        Self { text, members: &mut members.0, next: Cell::new(0) }
    }

    /// The value of a member, which is not marked as told; `None` if there is none, or if it is `null`.
    pub(super) fn peek(&self, name: &str) -> Option<&'a [u8]> {
        self.find(name).map(|at| self.value(at))
    }

    /// The content of a member that is a text and not empty, which is not marked as told.
    pub(super) fn peek_content(&self, name: &str) -> Option<&'a [u8]> {
        self.peek(name).and_then(content)
    }

    /// The content of a member that is a text and not empty.
    pub(super) fn content(&mut self, name: &str) -> Option<&'a [u8]> {
        self.content_if(name, |_| true)
    }

    /// The content of a member that is a text, not empty and not this one, which would not be known for what it is.
    pub(super) fn content_but(&mut self, name: &str, reserved: &[u8]) -> Option<&'a [u8]> {
        self.content_if(name, |text| text != reserved)
    }

    /// The content of a member that is the address of a host.
    pub(super) fn address(&mut self, name: &str) -> Option<&'a [u8]> {
        self.content_if(name, |text| {
            std::str::from_utf8(text).is_ok_and(|text| text.parse::<IpAddr>().is_ok())
        })
    }

    /// The content of a member that is a text, be it empty.
    pub(super) fn text(&mut self, name: &str) -> Option<&'a [u8]> {
        let at = self.find(name)?;
        let content = quoted(self.value(at))?;
        self.members[at].is_told = true;
        Some(content)
    }

    fn content_if(&mut self, name: &str, wanted: impl FnOnce(&[u8]) -> bool) -> Option<&'a [u8]> {
        let at = self.find(name)?;
        let content = content(self.value(at)).filter(|content| wanted(content))?;
        self.members[at].is_told = true;
        Some(content)
    }

    /// A member is told already.
    pub(super) fn is_told(&mut self, name: &str) {
        self.is_told_if(name, |_| true);
    }

    /// A member is told already where its content is `text`.
    pub(super) fn is_told_as(&mut self, name: &str, text: &str) {
        self.is_told_if(name, |value| content(value) == Some(text.as_bytes()));
    }

    /// A member is told already where it is this number.
    pub(super) fn is_told_as_number(&mut self, name: &str, number: u64) {
        self.is_told_if(name, |value| {
            std::str::from_utf8(value).is_ok_and(|value| value.parse() == Ok(number))
        });
    }

    fn is_told_if(&mut self, name: &str, is_told: impl FnOnce(&[u8]) -> bool) {
        if let Some(at) = self.find(name)
            && is_told(self.value(at))
        {
            self.members[at].is_told = true;
        }
    }

    /// The content of the names, and the values, of what is not told and not `null`.
    pub(super) fn left(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
        let text = self.text;
        let left = self.members.iter().filter(|member| !member.is_told);
        left.map(|member| (&text[member.name.clone()], &text[member.value.clone()]))
            .filter(|(_, value)| *value != b"null")
    }

    /// The member of this name, unless it is `null`.
    fn find(&self, name: &str) -> Option<usize> {
        let is_it = |member: &Member| &self.text[member.name.clone()] == name.as_bytes();
        let next = self.next.get();
        let at = match self.members.get(next) {
            Some(member) if is_it(member) => next,
            _ => self.members.iter().position(is_it)?,
        };
        self.next.set(at + 1);
        (self.value(at) != b"null").then_some(at)
    }

    fn value(&self, at: usize) -> &'a [u8] {
        &self.text[self.members[at].value.clone()]
    }
}

/// The content of the string that `value` is, if it is one and not empty.
fn content(value: &[u8]) -> Option<&[u8]> {
    quoted(value).filter(|content| !content.is_empty())
}

/// The content of the string that `value` is, if it is one.
pub(super) fn quoted(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// What is needed to read events, one after the other.
#[derive(Debug, Default)]
pub(super) struct Reading {
    event: Members,
    details: Members,
    administrator: Members,
    enrichment: Members,
    /// The representation without its escapes.
    representation: Vec<u8>,
    names: Vec<Range<usize>>,
}

/// An event's JSON, taken apart as far as formats go.
pub(super) struct Parts<'a> {
    pub(super) event: Object<'a>,
    /// Its details, which stay whole: what is read of them is told a second time.
    pub(super) details: Option<Object<'a>>,
    /// `authDetails`: who made a change, and from where.
    pub(super) administrator: Option<Object<'a>>,
    /// `keyferry`: the names that the provider has added.
    enrichment: Option<Object<'a>>,
    /// The JSON itself where it is none, so that nothing could be taken apart.
    pub(super) unreadable: Option<&'a [u8]>,
    representation: &'a mut Vec<u8>,
    names: &'a mut Vec<Range<usize>>,
}

impl Reading {
    /// Takes `body` apart, in one pass. What is not UTF-8 is no JSON either.
    pub(super) fn of<'a>(&'a mut self, body: &'a [u8]) -> Parts<'a> {
        let Self { event, details, administrator, enrichment, representation, names } = self;
        let mut details = Inner::new("details", details);
        let mut administrator = Inner::new("authDetails", administrator);
        let mut enrichment = Inner::new(ENRICHMENT, enrichment);
        let inner = [&mut details, &mut administrator, &mut enrichment];
        let is_readable = std::str::from_utf8(body).is_ok() && read(body, event, inner).is_ok();
        if !is_readable {
            event.0.clear();
        }
        let mut event = Object::of(body, event);
        let of_readable = |inner: Inner<'a>| inner.object(body).filter(|_| is_readable);
        let [details, administrator, enrichment] = [details, administrator, enrichment].map(of_readable);
        for (inner, name) in [(&administrator, "authDetails"), (&enrichment, ENRICHMENT)] {
            if inner.is_some() {
                event.is_told(name);
            }
        }
        let unreadable = (!is_readable).then_some(body);
        Parts { event, details, administrator, enrichment, unreadable, representation, names }
    }
}

/// Reads the members of the object that `text` is, and with them those of objects in it.
fn read(text: &[u8], event: &mut Members, mut inner: [&mut Inner<'_>; 3]) -> Result<(), NotJson> {
    event.0.clear();
    let begin = skip_space(text, 0);
    if text.get(begin) != Some(&b'{') {
        return Err(NotJson);
    }
    let end = json::members_by(text, begin, DEEPEST, |name, value, depth| {
        let inner = inner
            .iter_mut()
            .find_map(|inner| inner.is(&text[name.clone()], text.get(value)).then_some(inner));
        let end = match inner {
            Some(inner) => inner.members.read(text, value, depth)?,
            None => json::end_of_value(text, value, depth)?,
        };
        event.0.push(Member { name, value: value..end, is_told: false });
        Ok((end, true))
    })?;
    if skip_space(text, end) == text.len() { Ok(()) } else { Err(NotJson) }
}

impl<'a> Parts<'a> {
    /// The content of a detail that is a text and not empty.
    pub(super) fn detail(&self, name: &str) -> Option<&'a [u8]> {
        self.details.as_ref()?.peek_content(name)
    }

    /// A text that the provider has added beside an id: of `impersonator`, say, its `username`.
    pub(super) fn added(&self, to: &str, name: &str) -> Option<&'a [u8]> {
        json::member(self.enrichment.as_ref()?.peek(to)?, name).and_then(content)
    }

    /// Everything that the provider has added, as the object that it is.
    pub(super) fn all_added(&self) -> Option<&'a [u8]> {
        self.enrichment.as_ref().and_then(|_| self.event.peek(ENRICHMENT))
    }

    /// Writes everything that the provider has added to `object`, which is our own. It stays whole, as details do.
    pub(super) fn write_added(&self, object: &mut ObjectWriter<'_>) {
        let added = self.enrichment.iter().flat_map(Object::left);
        added.for_each(|(name, value)| object.as_written(name, value));
    }

    /// Writes what is not told elsewhere to `object`, by Keycloak's names.
    pub(super) fn write_left_over(&self, object: &mut ObjectWriter<'_>) {
        self.event.left().for_each(|(name, value)| object.as_written(name, value));
        let Some(administrator) = &self.administrator else { return };
        let mut left = administrator.left().peekable();
        if left.peek().is_some() {
            let mut object = object.object("authDetails");
            left.for_each(|(name, value)| object.as_written(name, value));
        }
    }

    /// The contents of the names of what the representation lists: roles.
    pub(super) fn names_in_representation(&mut self) -> impl Iterator<Item = &[u8]> {
        self.names.clear();
        self.representation.clear();
        if let Some(content) = self.event.peek_content("representation") {
            json::decode(content, self.representation, |_, _| {});
            let (text, names) = (&**self.representation, &mut *self.names);
            let begin = skip_space(text, 0);
            let is_list = text.get(begin) == Some(&b'[')
                && json::elements(text, begin, DEEPEST, |element| names.extend(name_in(text, element)))
                    .is_ok();
            if !is_list {
                names.clear();
            }
        }
        self.names.iter().map(|name| &self.representation[name.clone()])
    }
}

/// Where the content of the `name` of the object stands that is at `element` of `text`.
fn name_in(text: &[u8], element: Range<usize>) -> Option<Range<usize>> {
    if text[element.start] != b'{' {
        return None;
    }
    let mut found = None;
    let end = json::members(text, element.start, DEEPEST, |name, value| {
        if &text[name] == b"name" {
            found = Some(value);
        }
        found.is_none()
    });
    end.ok()?;
    let value = found?;
    content(&text[value.clone()])?;
    Some(value.start + 1..value.end - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_takes_is_left_over() {
        let body = br#"{"id":"e-1","time":7,"none":null,"empty":"","new":[1, 2],"details":{"a":"b"},"authDetails":{"userId":"u","x":1}}"#;
        let mut reading = Reading::default();
        let mut parts = reading.of(body);
        assert_eq!(parts.event.content("id"), Some(&b"e-1"[..]));
        assert_eq!((parts.event.content("time"), parts.event.content("empty")), (None, None));
        parts.event.is_told_as_number("time", 7);
        assert_eq!(parts.detail("a"), Some(&b"b"[..]));
        let left: Vec<_> = parts.event.left().collect();
        let expected: [(&[u8], &[u8]); 3] =
            [(b"empty", b"\"\""), (b"new", b"[1, 2]"), (b"details", br#"{"a":"b"}"#)];
        assert_eq!(left, expected);
        let mut administrator = parts.administrator.unwrap();
        assert_eq!(administrator.content("userId"), Some(&b"u"[..]));
        assert_eq!(administrator.left().collect::<Vec<_>>(), [(&b"x"[..], &b"1"[..])]);
    }

    #[test]
    fn what_is_no_object_is_told_as_it_is() {
        let mut reading = Reading::default();
        for body in [&b"{\"a\":1} x"[..], b"", b"[]", b"{\"a\":", b"\"**********\"", b"{\"a\":\"\xFF\"}"] {
            let parts = reading.of(body);
            assert_eq!((parts.unreadable, parts.event.left().count()), (Some(body), 0));
        }
        assert!(reading.of(b" {} ").unreadable.is_none());
    }

    #[test]
    fn roles_are_named_by_the_representation() {
        let body = br#"{"representation":"[{\"id\":\"1\",\"name\":\"captain\"},{\"id\":\"2\"},7,{\"name\":\"mate \\\"x\\\"\"}]"}"#;
        let mut reading = Reading::default();
        let mut parts = reading.of(body);
        let names: Vec<_> = parts.names_in_representation().collect();
        assert_eq!(names, [&b"captain"[..], br#"mate \"x\""#]);
        for none in [&br#"{"representation":"{}"}"#[..], br#"{"representation":"[1"}"#, b"{}"] {
            assert_eq!(reading.of(none).names_in_representation().count(), 0);
        }
    }
}
