//! What is done to which field, by its path.
//!
//! The invariant: **an action of the configuration wins over the masking of secrets**, so that a field which only looks like one can be kept.
//!
//! A path is a row of names from the top of the event down: `details.username`. It leads through lists without a name of its own, and through JSON that stands in a string, so that
//! `representation.attributes.phone` is a field of an admin event's representation. `*` is any name, `**` any number of names, and a name with dots or blanks is put between double quotes.
//!
//! All paths are followed at once, in one number with a bit for each name of each path: a simulation of a non-deterministic automaton (R. Baeza-Yates, G. Gonnet, "A New Approach to Text Searching",
//! CACM 35, 1992), which costs no memory for an event.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// What is done to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It stays as it is, whatever it looks like.
    Keep,
    /// A text becomes `**********`, a number `0`, a truth value `null`; of an object or a list, everything in it.
    Mask,
    /// It becomes `null`, as Keycloak writes a field that it does not have.
    Drop,
    /// A text becomes its keyed hash, so that equal texts stay equal: the first half of HMAC-SHA256 in 32 hexadecimal digits. What is no text is masked.
    Hash,
    /// Of a path `users/{id}/…` the id is hashed, so that it equals the hashed id elsewhere. Other paths stay.
    HashUser,
    /// An IP address loses what tells a host from its neighbours: the last 8 bits of IPv4, the last 80 of IPv6. What is no address is masked.
    TruncateIp,
}

impl Action {
    /// Every action and its name in the configuration.
    pub const ALL: [(&'static str, Self); 6] = [
        ("keep", Self::Keep),
        ("mask", Self::Mask),
        ("drop", Self::Drop),
        ("hash", Self::Hash),
        ("hash-user", Self::HashUser),
        ("truncate-ip", Self::TruncateIp),
    ];

    /// Whether it needs a key.
    fn needs_key(self) -> bool {
        matches!(self, Self::Hash | Self::HashUser)
    }
}

/// Rules for fields as the configuration gives them: `ipAddress = truncate-ip; details.username = hash`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldRules {
    rules: Vec<Rule>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    path: Vec<Name>,
    action: Action,
}

/// One name of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// This one.
    Is(Box<[u8]>),
    /// Any one.
    Any,
    /// Any number of names.
    Deep,
}

/// The rules do not make sense; the text says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IllegalRules(String);

impl FieldRules {
    /// Whether one of them hashes.
    pub fn need_key(&self) -> bool {
        self.rules.iter().any(|rule| rule.action.needs_key())
    }

    /// These and `more`; where both speak of one field, `more` wins.
    #[must_use]
    pub(crate) fn and(&self, more: &Self) -> Self {
        Self { rules: more.rules.iter().chain(&self.rules).cloned().collect(), text: self.text.clone() }
    }
}

/// As it was given.
impl Serialize for FieldRules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// So many names all rules together may have: one bit each.
const MOST_NAMES: usize = 128;
/// So many of them are left to the configuration beside a preset.
const MOST_GIVEN_NAMES: usize = 64;

impl FromStr for FieldRules {
    type Err = IllegalRules;

    fn from_str(text: &str) -> Result<Self, IllegalRules> {
        let entries = text.split([';', ',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        let rules = entries.map(rule).collect::<Result<Vec<_>, _>>()?;
        let names: usize = rules.iter().map(|rule| rule.path.len()).sum();
        if names > MOST_GIVEN_NAMES {
            return Err(IllegalRules(format!(
                "paths with at most {MOST_GIVEN_NAMES} names together; `*` and `**` stand for several"
            )));
        }
        Ok(Self { rules, text: text.to_owned() })
    }
}

fn rule(entry: &str) -> Result<Rule, IllegalRules> {
    let illegal = |what: &str| IllegalRules(format!("{what}, and not `{entry}`"));
    let (path, action) =
        entry.rsplit_once('=').ok_or_else(|| illegal("entries `path = action`, separated by semicolons"))?;
    let action = Action::ALL.iter().find(|(name, _)| *name == action.trim());
    let Some((_, action)) = action else {
        let names: Vec<_> = Action::ALL.iter().map(|(name, _)| format!("`{name}`")).collect();
        return Err(illegal(&format!("one of the actions {}", names.join(", "))));
    };
    let path = path_of(path.trim())
        .ok_or_else(|| illegal("names separated by dots, those with dots in double quotes"))?;
    Ok(Rule { path, action: *action })
}

fn path_of(text: &str) -> Option<Vec<Name>> {
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (name, after) = quoted.split_once('"')?;
                (Name::Is(name.as_bytes().into()), after)
            }
            None => {
                let (name, after) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
                let is_legal = !name.is_empty() && !name.contains([' ', '"']);
                let name = match name {
                    "*" => Name::Any,
                    "**" => Name::Deep,
                    name => Name::Is(name.as_bytes().into()),
                };
                (is_legal.then_some(name)?, after)
            }
        };
        path.push(name);
        if after.is_empty() {
            // A path that could end anywhere names no field.
            return (path.last() != Some(&Name::Deep)).then_some(path);
        }
        rest = after.strip_prefix('.')?;
    }
}

/// How far the paths have been followed: a bit for each name that may come next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Places(u128);

impl Places {
    /// Whether no path goes on.
    pub(super) fn are_none(self) -> bool {
        self.0 == 0
    }
}

/// The rules, ready to be followed.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Of all paths, one after the other, each name with the action if it is the last.
    names: Vec<(Name, Option<Action>)>,
    first: Places,
}

impl Rules {
    pub(super) fn new(rules: &FieldRules) -> Self {
        let mut made = Self::default();
        let mut starts = Vec::new();
        for Rule { path, action } in &rules.rules {
            starts.push(made.names.len());
            let last = path.len() - 1;
            let names = path.iter().enumerate();
            made.names.extend(names.map(|(index, name)| (name.clone(), (index == last).then_some(*action))));
        }
        // `FieldRules` has no more, and presets stay far below what it leaves to them: `tests::a_preset_leaves_room`.
        made.names.truncate(MOST_NAMES);
        made.first = Places(starts.into_iter().fold(0, |places, start| places | made.at(start)));
        made
    }

    /// The beginning of every path.
    pub(super) fn first(&self) -> Places {
        self.first
    }

    /// Follows the paths from `places` to the field `name`: how far they lead then, and what is to be done to it.
    #[inline]
    pub(super) fn follow(&self, places: Places, name: &[u8]) -> (Places, Option<Action>) {
        if places.are_none() { (places, None) } else { self.follow_some(places, name) }
    }

    fn follow_some(&self, places: Places, name: &[u8]) -> (Places, Option<Action>) {
        let (mut next, mut action) = (0, None);
        let mut left = places.0;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            let (expected, ending) = &self.names[index];
            match expected {
                Name::Deep => next |= self.at(index),
                Name::Is(expected) if **expected != *name => {}
                Name::Is(_) | Name::Any => match ending {
                    Some(found) => action = action.or(Some(*found)),
                    None => next |= self.at(index + 1),
                },
            }
        }
        (Places(next), action)
    }

    /// What is done to the field of this name at the top.
    pub(super) fn of_top(&self, name: &str) -> Option<Action> {
        self.follow(self.first, name.as_bytes()).1
    }

    /// The bit of a name; `**` may also stand for none.
    fn at(&self, index: usize) -> u128 {
        match self.names.get(index) {
            Some((Name::Deep, _)) => 1 << index | self.at(index + 1),
            Some(_) => 1 << index,
            None => 0,
        }
    }
}

/// Rules under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Who it was cannot be told without the key, and each person stays one person: ids and names are hashed, addresses truncated, other personal details masked, representations left out.
    GdprPseudonymous,
    /// Admin events say what was changed, not to what.
    NoRepresentation,
}

impl Preset {
    /// Its rules.
    pub fn rules(self) -> FieldRules {
        let text = match self {
            Self::GdprPseudonymous => GDPR_PSEUDONYMOUS,
            Self::NoRepresentation => "representation = drop",
        };
        // Constant texts, each parsed by `tests::presets_are_rules`.
        text.parse().unwrap_or_default()
    }
}

/// The fields and details in which Keycloak 26.7, and the provider beside it, write who somebody is.
const GDPR_PSEUDONYMOUS: &str = "\
    userId = hash; sessionId = hash; ipAddress = truncate-ip; authDetails.userId = hash; authDetails.ipAddress = truncate-ip; \
    details.username = hash; details.email = hash; details.previous_email = hash; details.updated_email = hash; \
    details.first_name = mask; details.last_name = mask; details.previous_first_name = mask; details.updated_first_name = mask; \
    details.previous_last_name = mask; details.updated_last_name = mask; details.identity_provider_identity = hash; \
    details.identity_provider_user_id = hash; details.impersonator = hash; details.previous_user = hash; details.code_id = hash; \
    details.refresh_token_sub = hash; details.requested_subject = hash; details.verifiable_credential_target_user_id = hash; \
    details.x509_cert_subject_distinguished_name = hash; details.credential_user_label = mask; \
    keyferry.*.username = hash; keyferry.impersonator.id = hash; representation = drop; resourceId = hash; resourcePath = hash-user";

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::ALL.iter().find(|(_, action)| action == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(rules: &str, path: &[&str]) -> Option<Action> {
        let rules = Rules::new(&rules.parse().unwrap());
        let mut found = (rules.first(), None);
        for name in path {
            found = rules.follow(found.0, name.as_bytes());
        }
        found.1
    }

    #[test]
    fn a_path_names_a_field_and_nothing_above_or_beside_it() {
        let rules = " details.username = hash ;details.*.x = mask; \"a.b\".c = drop;;";
        assert_eq!(action(rules, &["details", "username"]), Some(Action::Hash));
        assert_eq!(action(rules, &["details", "q", "x"]), Some(Action::Mask));
        assert_eq!(action(rules, &["a.b", "c"]), Some(Action::Drop));
        for other in
            [&["details"][..], &["username"], &["details", "email"], &["details", "x"], &["a", "b", "c"]]
        {
            assert_eq!(action(rules, other), None, "{other:?}");
        }
    }

    #[test]
    fn two_stars_stand_for_any_number_of_names() {
        for path in [&["email"][..], &["a", "email"], &["a", "b", "email"]] {
            assert_eq!(action("**.email = mask", path), Some(Action::Mask), "{path:?}");
        }
        assert_eq!(action("a.**.b.c = mask", &["a", "x", "b", "b", "c"]), Some(Action::Mask));
        assert_eq!(action("a.**.b.c = mask", &["b", "c"]), None);
    }

    #[test]
    fn of_several_rules_for_a_field_the_first_holds() {
        assert_eq!(action("a = keep; * = mask", &["a"]), Some(Action::Keep));
        let both = Preset::NoRepresentation.rules().and(&"representation = keep".parse().unwrap());
        assert_eq!(Rules::new(&both).of_top("representation"), Some(Action::Keep));
    }

    #[test]
    fn what_is_no_rule_is_refused_with_what_was_expected() {
        let refused = |text: &str| text.parse::<FieldRules>().unwrap_err().to_string();
        assert_eq!(refused("userId"), "entries `path = action`, separated by semicolons, and not `userId`");
        assert_eq!(
            refused("userId = has"),
            "one of the actions `keep`, `mask`, `drop`, `hash`, `hash-user`, `truncate-ip`, and not `userId = has`"
        );
        for path in ["", ".a", "a.", "a..b", "a.**", "\"a", "a b"] {
            let text = refused(&format!("{path} = mask"));
            assert!(text.starts_with("names separated by dots"), "{path}: {text}");
        }
        assert!(refused(&"a.b.c=mask;".repeat(22)).contains("at most 64 names"));
    }

    #[test]
    fn presets_are_rules() {
        assert!(Preset::GdprPseudonymous.rules().need_key());
        assert_eq!(Preset::GdprPseudonymous.rules(), GDPR_PSEUDONYMOUS.parse().unwrap());
        let drop = Rules::new(&Preset::NoRepresentation.rules());
        assert_eq!(drop.of_top("representation"), Some(Action::Drop));
    }

    #[test]
    fn a_preset_leaves_room() {
        let names: usize = Preset::GdprPseudonymous.rules().rules.iter().map(|rule| rule.path.len()).sum();
        assert!(names <= MOST_NAMES - MOST_GIVEN_NAMES, "{names}");
        for (name, action) in Action::ALL {
            assert_eq!(action.to_string(), name);
        }
    }
}
