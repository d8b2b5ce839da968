//! Arbitrary bytes as the body of an event, redacted by default and by the rules in the line before it, if that says any: what was JSON
//! stays JSON, no secret is told, and what is neither a secret nor under a rule stays byte for byte.
//!
//! Judged by the values that stand at the same place before and after, by what serde_json makes of strings, and by the table in which
//! the provider has the names of secrets.
#![no_main]

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::sync::LazyLock;

use keyferry_event::Redaction;
use keyferry_event::redaction::{FieldRules, HashKey, Redactor};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const MASK: &str = "**********";
/// What becomes of an event as a whole that cannot be searched.
const MASKED_EVENT: &[u8] = b"\"**********\"";
/// So many strings within strings are searched.
const MOST_STRINGS: usize = 3;
/// Longer names and lines of rules are left alone.
const LONGEST_NAME: usize = 96;
const LONGEST_LINE: usize = 256;

/// What the provider knows secrets by: a kind and a value in each line.
static TABLE: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let table = include_str!("../../provider/src/main/resources/org/keyferry/provider/secret-names.tsv");
    table.lines().filter_map(|line| line.split_once('\t')).collect()
});

fn known(kind: &str) -> impl Iterator<Item = &'static str> {
    TABLE.iter().filter(move |(known, _)| *known == kind).map(|(_, value)| *value)
}

fuzz_target!(|input: &[u8]| {
    let (line, body) = rules_and_body(input);
    let mut redactor = Redactor::default();
    let after = redactor.redact(body).to_vec();
    Judge::default().event(body, &after);
    if json(body).is_some() {
        assert!(redactor.redact(&after) == after, "what is redacted is redacted again");
    }
    if let Some((rules, text)) = line {
        let key = HashKey::new(&[7; HashKey::SHORTEST]).expect("it is long enough");
        let redaction = Redaction::new(true, None, &rules, Some(key));
        Judge::by(text).event(body, Redactor::new(redaction).redact(body));
    }
});

/// The rules in the first line, and what stands behind it. A line that holds none is part of the body.
fn rules_and_body(input: &[u8]) -> (Option<(FieldRules, &str)>, &[u8]) {
    let split = input.iter().position(|byte| *byte == b'\n').filter(|length| *length <= LONGEST_LINE);
    let line = split.and_then(|end| std::str::from_utf8(&input[..end]).ok());
    // Names in quotes are for the tests of rules.
    match line.filter(|line| !line.contains('"')).and_then(|line| Some((line.parse().ok()?, line))) {
        Some((rules, line)) => (Some((rules, line)), &input[line.len() + 1..]),
        None => (None, input),
    }
}

/// The text, if it is JSON.
fn json(text: &[u8]) -> Option<&str> {
    serde_json::from_slice::<Value>(text).ok().and_then(|_| std::str::from_utf8(text).ok())
}

/// What is to be done to a value because of where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate<'a> {
    /// What it is decides.
    Open,
    Secret,
    Ruled(&'a str),
}

/// Where a value stands.
#[derive(Clone, Debug)]
struct Place<'a> {
    names: Vec<String>,
    fate: Fate<'a>,
    strings: usize,
    is_representation: bool,
}

/// Knows the rules as paths and actions, the first before the others.
#[derive(Default)]
struct Judge<'a> {
    rules: Vec<(Vec<&'a str>, &'a str)>,
}

impl<'a> Judge<'a> {
    fn by(text: &'a str) -> Self {
        let entries = text.split([';', ',']).filter_map(|entry| entry.rsplit_once('='));
        let rule = |(path, action): (&'a str, &'a str)| (path.trim().split('.').collect(), action.trim());
        Self { rules: entries.map(rule).collect() }
    }

    fn event(&self, body: &[u8], after: &[u8]) {
        match json(body) {
            Some(before) => {
                let top = Place { names: Vec::new(), fate: Fate::Open, strings: 0, is_representation: false };
                self.text(before, json(after).expect("what was JSON is JSON"), &top);
            }
            None => assert!(
                !self.rules.is_empty() || after == MASKED_EVENT || is_masked_from(body, after),
                "{} became {}",
                String::from_utf8_lossy(body),
                String::from_utf8_lossy(after)
            ),
        }
    }

    /// A whole text of JSON, and blanks around it.
    fn text(&self, before: &str, after: &str, place: &Place<'a>) {
        let blanks = [' ', '\t', '\n', '\r'];
        let parts = [before, after].map(|text| {
            let value = text.trim_matches(blanks);
            (text.split_once(value).unwrap_or_default(), value)
        });
        let [(around, before), (around_after, after)] = parts;
        assert_eq!(around, around_after, "the blanks around a text");
        self.value(before, after, place);
    }

    fn value(&self, before: &str, after: &str, place: &Place<'a>) {
        if place.fate == Fate::Ruled("drop") {
            return assert_eq!(after, "null", "{before} at {place:?}");
        }
        match before.as_bytes()[0] {
            b'{' | b'[' => self.inside(before, after, place),
            b'"' => self.string(before, after, place),
            b'n' => assert_eq!(after, "null", "at {place:?}"),
            first => {
                let is_number = !first.is_ascii_lowercase();
                let expected = match place.fate {
                    Fate::Open | Fate::Ruled("keep") => before,
                    _ if is_number => "0",
                    Fate::Secret => before,
                    Fate::Ruled(_) => "null",
                };
                assert_eq!(after, expected, "{before} at {place:?}");
            }
        }
    }

    fn inside(&self, before: &str, after: &str, place: &Place<'a>) {
        let (items, items_after) = (inside(before), inside(after));
        assert_eq!(between(before, &items), between(after, &items_after), "at {place:?}");
        let strings = |name: &str| -> Vec<String> {
            let named = items.iter().filter(|item| item.name.as_deref() == Some(name));
            named.filter_map(|item| string(&before[item.value.clone()])).collect()
        };
        // Of several values none is told: who reads them may take any.
        let is_credential = strings("value").len() > 1
            || strings("type").iter().any(|found| known("credential").any(|name| name == found));
        for (item, item_after) in items.iter().zip(&items_after) {
            let (before, after) = (&before[item.value.clone()], &after[item_after.value.clone()]);
            let Some(name) = &item.name else {
                self.value(before, after, place);
                continue;
            };
            let is_of_credential = is_credential && name == "value" && before.starts_with('"');
            self.value(before, after, &self.at(place, name, is_of_credential));
        }
    }

    /// The place of a member of what stands at `place`.
    fn at(&self, place: &Place<'a>, name: &str, is_credential: bool) -> Place<'a> {
        let names: Vec<_> = place.names.iter().cloned().chain([name.to_owned()]).collect();
        let rule = self.rules.iter().find(|(path, _)| leads(path, &names));
        let fate = match rule {
            Some((_, action)) => Fate::Ruled(action),
            None if place.fate != Fate::Open => place.fate,
            None if is_credential || is_secret(name) => Fate::Secret,
            None => Fate::Open,
        };
        let is_representation = place.strings == 0 && name == "representation";
        Place { names, fate, strings: place.strings, is_representation }
    }

    fn string(&self, written: &str, written_after: &str, place: &Place<'a>) {
        let told = || format!("{written} became {written_after} at {place:?}");
        let before = string(written).expect("a string");
        let after = string(written_after).unwrap_or_else(|| panic!("{}", told()));
        let is_right = match place.fate {
            Fate::Secret => after == MASK || written == written_after && is_harmless(&before),
            Fate::Ruled("keep") => written == written_after,
            Fate::Ruled("hash") => after.len() == 32 && after.bytes().all(|byte| byte.is_ascii_hexdigit()),
            Fate::Ruled("hash-user") => written == written_after || after.starts_with("users/"),
            Fate::Ruled("truncate-ip") => is_truncated(&before, &after),
            Fate::Ruled(_) => after == MASK,
            Fate::Open => {
                self.open_string(&before, &after, place);
                !self.rules.is_empty() || is_masked_from(written.as_bytes(), written_after.as_bytes())
            }
        };
        assert!(is_right, "{}", told());
    }

    /// A string that is judged by what it is.
    fn open_string(&self, before: &str, after: &str, place: &Place<'a>) {
        let is_like_json = before.trim_start_matches([' ', '\t', '\n', '\r']).starts_with(['{', '[']);
        if is_like_json && place.strings < MOST_STRINGS {
            if json(before.as_bytes()).is_some() {
                assert!(
                    json(after.as_bytes()).is_some(),
                    "{before} at {place:?} became {after}, which is no JSON"
                );
                let inner = Place { strings: place.strings + 1, is_representation: false, ..place.clone() };
                self.text(before, after, &inner);
            } else if !before.trim_end().ends_with(['}', ']']) {
                assert!(!has_shape(after), "{before} became {after} at {place:?}");
                assert!(
                    !place.is_representation || after == MASK || after == before,
                    "{before} at {place:?}"
                );
            }
            // What else is no JSON to serde_json may have been searched as if it were.
        } else if has_shape(before) {
            assert!(!has_shape(after), "{before} became {after} at {place:?}");
        } else {
            assert_eq!(before, after, "at {place:?}");
        }
    }
}

/// One value in an object or a list.
struct Item {
    name: Option<String>,
    value: Range<usize>,
}

/// What stands directly in the object or list that `text` is.
fn inside(text: &str) -> Vec<Item> {
    let bytes = text.as_bytes();
    let skip = |mut at: usize| {
        while matches!(bytes[at], b' ' | b'\t' | b'\n' | b'\r' | b',' | b':') {
            at += 1;
        }
        at
    };
    let (mut items, mut at) = (Vec::new(), skip(1));
    while at + 1 < bytes.len() {
        let end = end_of_value(bytes, at);
        let (name, value) = match bytes[0] {
            b'{' => {
                let value = skip(end);
                (string(&text[at..end]), value..end_of_value(bytes, value))
            }
            _ => (None, at..end),
        };
        at = skip(value.end);
        items.push(Item { name, value });
    }
    items
}

/// Where the value ends that begins at `at` of legal JSON.
fn end_of_value(text: &[u8], at: usize) -> usize {
    let (mut depth, mut end) = (0, at);
    loop {
        match text[end] {
            b'"' => {
                end += 1;
                while text[end] != b'"' {
                    end += 1 + usize::from(text[end] == b'\\');
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ if depth == 0 => {
                let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                return end + text[end..].iter().take_while(is_part).count();
            }
            _ => {}
        }
        end += 1;
        if depth == 0 {
            return end;
        }
    }
}

/// What stands before, between and behind the items: names, signs and blanks.
fn between<'t>(text: &'t str, items: &[Item]) -> Vec<&'t str> {
    let begins = items.iter().map(|item| item.value.start).chain([text.len()]);
    let ends = [0].into_iter().chain(items.iter().map(|item| item.value.end));
    ends.zip(begins).map(|(end, begin)| &text[end..begin]).collect()
}

/// What a string stands for.
fn string(written: &str) -> Option<String> {
    serde_json::from_str(written).ok()
}

/// Whether the path of a rule leads to the field of these names.
fn leads(path: &[&str], names: &[String]) -> bool {
    let pass = |mut reached: Vec<bool>| {
        for (index, step) in path.iter().enumerate() {
            reached[index + 1] |= reached[index] && *step == "**";
        }
        reached
    };
    let none = || vec![false; path.len() + 1];
    let mut reached = none();
    reached[0] = true;
    reached = pass(reached);
    for name in names {
        let mut next = none();
        for (index, step) in path.iter().enumerate().filter(|(index, _)| reached[*index]) {
            match *step {
                "**" => next[index] = true,
                step => next[index + 1] |= step == "*" || step == name,
            }
        }
        reached = pass(next);
    }
    reached[path.len()]
}

fn is_secret(name: &str) -> bool {
    let separators = ['_', '-', '.', ' '];
    let letters = name.replace(separators, "").to_ascii_lowercase();
    let is_known =
        known("ending").any(|ending| letters.ends_with(ending)) || known("name").any(|name| name == letters);
    // The agent knows names by their last two letters, between which nothing stands.
    let before_last = name.trim_end_matches(separators).chars().rev().nth(1);
    let ends_oddly = before_last.is_some_and(|sign| separators.contains(&sign));
    is_known && name.len() <= LONGEST_NAME && !known("harmless").any(|name| name == letters) && !ends_oddly
}

fn is_harmless(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'*') || text == "true" || text == "false" || text.starts_with("${vault.")
}

/// Whether the text holds a private key or a token.
fn has_shape(text: &str) -> bool {
    let begins_at = |mark: &str| {
        let (at, begin) = mark.split_once(' ').expect("a place and a beginning");
        let rest = text.as_bytes().get(at.parse().expect("a number")..);
        rest.is_some_and(|rest| rest.starts_with(begin.as_bytes()))
    };
    known("pem").any(|mark| text.contains(mark))
        || known("der").any(begins_at)
        || text.match_indices("eyJ").any(|(at, _)| begins_word(&text[..at]) && begins_with_token(&text[at..]))
}

fn begins_with_token(text: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let row = text.split(|letter| !is_part(letter)).next().unwrap_or_default();
    let parts: Vec<&str> = row.split('.').collect();
    parts.len() >= 3 && parts[..2].iter().all(|part| part.len() >= 8)
}

/// Whether what stands behind is no part of the same word: an escape before it is none.
fn begins_word(before: &str) -> bool {
    match before.as_bytes() {
        [.., b'\\', _] => true,
        [.., b'\\', b'u', a, b, c, d] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => true,
        [.., last] => !last.is_ascii_alphanumeric() && !b"-_".contains(last),
        [] => true,
    }
}

/// Whether `after` is `before` with masks in it. A masked number is `0`, so nothing is said here of digits, and nothing of stars.
fn is_masked_from(before: &[u8], after: &[u8]) -> bool {
    let letters = |text: &[u8]| -> String {
        let is_told = |byte: &&u8| !byte.is_ascii_digit() && !b"+-.eE".contains(byte);
        text.iter().filter(is_told).map(|byte| char::from(*byte)).collect()
    };
    let (before, after) = (letters(before).replace('*', ""), letters(after));
    let mut rest = before.as_str();
    after.split('*').all(|piece| match rest.split_once(piece) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

/// Whether `after` is the address `before` without its host, or hides what is none.
fn is_truncated(before: &str, after: &str) -> bool {
    let address = |text: &str| text.split('%').next()?.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let net = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => (address.to_ipv6_mapped().octets(), 15),
        IpAddr::V6(address) => (Ipv6Addr::octets(&address), 6),
    };
    match (address(before).map(net), address(after).map(net)) {
        (Some((before, kept)), Some((after, _))) => {
            before[..kept] == after[..kept] && after[kept..].iter().all(|byte| *byte == 0)
        }
        (None, None) => after == MASK || (before.is_empty() && after.is_empty()),
        _ => false,
    }
}
