//! Where an event goes: templates for its topic and its key.
//!
//! The invariants:
//!
//! - **A topic is a legal name, or the event goes to the topic of its kind.** Nothing is replaced in a name, so that no two realms ever share a topic that was meant for one.
//! - **A topic is made of fields of which there are few.** Clients and users are named by whoever sends a request: with them in the name of a topic anybody could have topics created.
//! - **A key is never empty.** Where the template gives nothing it is the key that there is without one ([`key`](crate::key)).

use std::str::FromStr;

use keyferry_journal::event::EventView;
use serde::{Serialize, Serializer};

use crate::filter::name_of_kind;
use crate::key::{concerned_user, write_user};
use crate::redaction::OfUser;

/// Where events go, beyond what their kinds say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// The topic; `None` is that of the event's kind.
    pub topic: Option<TopicTemplate>,
    /// The key; `None` is the one that keeps in order what concerns one user.
    pub key: Option<KeyTemplate>,
}

/// A template for topics: `keycloak.{realmName}.{kind}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTemplate(Template);

/// A template for keys: `{realmId}/{userId}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate(Template);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Template {
    parts: Vec<Part>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Field(Placeholder),
}

/// A field of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    Kind,
    Type,
    RealmId,
    /// The realm's id where the name is not known.
    RealmName,
    ResourceType,
    Client,
    /// The user whom the event concerns.
    User,
}

impl Placeholder {
    const ALL: [(&'static str, Self); 7] = [
        ("kind", Self::Kind),
        ("type", Self::Type),
        ("realmId", Self::RealmId),
        ("realmName", Self::RealmName),
        ("resourceType", Self::ResourceType),
        ("clientId", Self::Client),
        ("userId", Self::User),
    ];

    /// Whether Keycloak's administrators alone decide how many values there are.
    fn has_few_values(self) -> bool {
        !matches!(self, Self::Client | Self::User)
    }

    fn value<'a>(self, event: &EventView<'a>) -> Option<&'a str> {
        match self {
            Self::Kind => Some(name_of_kind(event.kind())),
            Self::Type => event.event_type(),
            Self::RealmId => event.realm_id(),
            Self::RealmName => event.realm_name().or(event.realm_id()),
            Self::ResourceType => event.resource_type(),
            Self::Client => event.client(),
            Self::User => concerned_user(event),
        }
    }
}

/// A template is not understood; the text says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IllegalTemplate(String);

/// The longest name of a topic in bytes: it becomes part of a directory's name on the broker.
const LONGEST_TOPIC: usize = 249;

/// Whether Kafka takes `name` as that of a topic.
pub fn is_legal_topic(name: &str) -> bool {
    (1..=LONGEST_TOPIC).contains(&name.len())
        && name.bytes().all(is_legal_in_topic)
        && name != "."
        && name != ".."
}

fn is_legal_in_topic(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

impl TopicTemplate {
    /// Writes the topic of `event` to `topic`, from its beginning; answers whether it is one.
    pub(crate) fn write(&self, event: &EventView<'_>, topic: &mut String) -> bool {
        topic.clear();
        for part in &self.0.parts {
            match part {
                Part::Text(text) => topic.push_str(text),
                Part::Field(field) => match field.value(event).filter(|value| !value.is_empty()) {
                    Some(value) => topic.push_str(value),
                    None => return false,
                },
            }
        }
        is_legal_topic(topic)
    }

    /// Whether an event may have gone to `topic` by this template.
    pub fn may_have_made(&self, topic: &str) -> bool {
        fn fits(parts: &[Part], topic: &str) -> bool {
            match parts.split_first() {
                None => topic.is_empty(),
                Some((Part::Text(text), rest)) => {
                    topic.strip_prefix(&**text).is_some_and(|topic| fits(rest, topic))
                }
                Some((Part::Field(_), rest)) => (1..=topic.len()).any(|taken| fits(rest, &topic[taken..])),
            }
        }
        is_legal_topic(topic) && fits(&self.0.parts, topic)
    }
}

impl KeyTemplate {
    /// Writes the key of `event` to the end of `key`; answers whether there is anything in it. Fields that the event does not have are empty.
    pub(crate) fn write(&self, event: &EventView<'_>, of_user: OfUser<'_>, key: &mut Vec<u8>) -> bool {
        let begin = key.len();
        let mut has_value = false;
        for part in &self.0.parts {
            let before = key.len();
            match part {
                Part::Text(text) => {
                    key.extend_from_slice(text.as_bytes());
                    continue;
                }
                Part::Field(Placeholder::User) => {
                    concerned_user(event).into_iter().for_each(|user| write_user(user, of_user, key));
                }
                Part::Field(field) => {
                    key.extend_from_slice(field.value(event).unwrap_or_default().as_bytes())
                }
            }
            has_value |= key.len() > before;
        }
        if !has_value {
            key.truncate(begin);
        }
        has_value
    }
}

impl FromStr for TopicTemplate {
    type Err = IllegalTemplate;

    fn from_str(text: &str) -> Result<Self, IllegalTemplate> {
        let template = template(text)?;
        for part in &template.parts {
            match part {
                Part::Text(text) if !text.bytes().all(is_legal_in_topic) => {
                    return Err(IllegalTemplate(format!(
                        "letters, digits, `.`, `_` and `-` between the fields, and not `{text}`"
                    )));
                }
                Part::Field(field) if !field.has_few_values() => {
                    return Err(IllegalTemplate(format!(
                        "a topic for each value of {}, which are few; whoever sends requests to Keycloak decides how many clients and users are named",
                        names(Placeholder::has_few_values)
                    )));
                }
                _ => {}
            }
        }
        Ok(Self(template))
    }
}

impl FromStr for KeyTemplate {
    type Err = IllegalTemplate;

    fn from_str(text: &str) -> Result<Self, IllegalTemplate> {
        let template = template(text)?;
        let has_field = template.parts.iter().any(|part| matches!(part, Part::Field(_)));
        if has_field {
            return Ok(Self(template));
        }
        Err(IllegalTemplate(format!(
            "at least one of {}: with one key for all events one partition would have them all",
            names(|_| true)
        )))
    }
}

fn template(text: &str) -> Result<Template, IllegalTemplate> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (plain, field) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        let Some(field) = field.strip_prefix('{') else { break };
        let (name, after) = field
            .split_once('}')
            .ok_or_else(|| IllegalTemplate(format!("`}}` after each `{{`, and not `{{{field}`")))?;
        let known = Placeholder::ALL.iter().find(|(known, _)| *known == name.trim());
        let (_, field) =
            known.ok_or_else(|| IllegalTemplate(format!("fields {}, and not `{name}`", names(|_| true))))?;
        parts.push(Part::Field(*field));
        rest = after;
    }
    if parts.is_empty() {
        return Err(IllegalTemplate("a template, such as `keycloak.{realmName}.{kind}`".to_owned()));
    }
    Ok(Template { parts, text: text.to_owned() })
}

fn names(which: impl Fn(Placeholder) -> bool) -> String {
    let names = Placeholder::ALL.iter().filter(|(_, field)| which(*field));
    names.map(|(name, _)| format!("`{{{name}}}`")).collect::<Vec<_>>().join(", ")
}

/// As they were given.
impl Serialize for TopicTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.text)
    }
}

/// As they were given.
impl Serialize for KeyTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.text)
    }
}

#[cfg(test)]
mod tests {
    use keyferry_journal::event::{EventEncoder, EventKind, Events, Field};
    use proptest::prelude::*;

    use super::*;

    fn topic(template: &str, kind: EventKind, fields: &[(Field, &str)]) -> Option<String> {
        let template: TopicTemplate = template.parse().unwrap();
        let mut payload = EventEncoder::new();
        payload.push(kind, 0, fields, b"{}");
        let event = Events::of(payload.payload()).next().unwrap().unwrap();
        let mut topic = "left over".to_owned();
        let is_one = template.write(&event, &mut topic);
        assert!(!is_one || template.may_have_made(&topic), "{topic}");
        is_one.then_some(topic)
    }

    #[test]
    fn a_topic_is_made_of_fields() {
        let fields = [
            (Field::Type, "LOGIN"),
            (Field::RealmId, "1-2"),
            (Field::RealmName, "shop"),
            (Field::ResourceType, "USER"),
        ];
        let of = |template: &str| topic(template, EventKind::User, &fields).unwrap();
        assert_eq!(of("keycloak.{realmName}.{kind}"), "keycloak.shop.user");
        assert_eq!(of("{realmId}-{type}_{resourceType}"), "1-2-LOGIN_USER");
        let unnamed = topic("{realmName}.{kind}", EventKind::Admin, &[(Field::RealmId, "1-2")]);
        assert_eq!(unnamed.as_deref(), Some("1-2.admin"), "an id stands in for a name that is not known");
    }

    #[test]
    fn what_would_be_no_topic_goes_where_its_kind_goes() {
        for realm in ["a realm", "straße", "a/b", ""] {
            assert_eq!(
                topic("k.{realmName}", EventKind::User, &[(Field::RealmName, realm)]),
                None,
                "{realm}"
            );
        }
        assert_eq!(topic("k.{realmName}", EventKind::User, &[]), None);
        let long = "x".repeat(LONGEST_TOPIC);
        assert_eq!(topic("k.{realmName}", EventKind::User, &[(Field::RealmName, &long)]), None);
        assert_eq!(topic("{realmName}", EventKind::User, &[(Field::RealmName, "..")]), None);
    }

    #[test]
    fn what_is_no_template_is_refused_with_what_was_expected() {
        let refused = |text: &str| text.parse::<TopicTemplate>().unwrap_err().to_string();
        assert!(refused("k.{realm}").starts_with("fields `{kind}`, `{type}`"), "{}", refused("k.{realm}"));
        assert!(refused("k.{realmName").starts_with("`}` after each `{`"));
        assert!(refused("k/{realmName}").starts_with("letters, digits"));
        assert!(refused("k.{clientId}").contains("which are few"));
        assert!(refused(" ").starts_with("a template"));
        assert!("one".parse::<KeyTemplate>().unwrap_err().to_string().contains("one partition"));
    }

    proptest! {
        #[test]
        fn a_topic_is_always_legal(
            prefix in "[a-z.]{0,3}", realm in any::<String>(), other in "[a-z. {}]{0,9}", kind: bool,
        ) {
            let text = format!("{prefix}{{realmName}}{other}");
            let Ok(template) = text.parse::<TopicTemplate>() else { return Ok(()) };
            let kind = if kind { EventKind::User } else { EventKind::Admin };
            let mut payload = EventEncoder::new();
            payload.push(kind, 0, &[(Field::RealmName, &realm)], b"{}");
            let event = Events::of(payload.payload()).next().unwrap().unwrap();
            let mut topic = String::new();
            if template.write(&event, &mut topic) {
                let expected = regex::Regex::new("^[a-zA-Z0-9._-]{1,249}$").unwrap();
                prop_assert!(expected.is_match(&topic) && topic != "." && topic != "..", "{}", topic);
                prop_assert!(topic.contains(&realm));
            }
        }
    }
}
