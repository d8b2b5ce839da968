//! The JSON Schema of the configuration file and an annotated example of it, written from the table of settings, so that they cannot say anything else than the code does.

use serde_json::{Value, json};

use crate::settings::{DESTINATION_TABLE, LIBRDKAFKA_TABLE, SETTINGS, Setting};

/// What a reference looks like, which may stand for any value.
const REFERENCE: &str = r"\$\{(env|file):[^}]+\}";

/// What a setting takes, as far as a schema can say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// A whole number with a unit of time.
    Duration,
    /// A whole number with a unit of size; whether `none` will do as well.
    Size(bool),
    /// A whole number, from the one to the other.
    Integer(Option<(u64, u64)>),
    /// `true` or `false`.
    Boolean,
    /// One of these words; letter case does not matter.
    OneOf(Vec<String>),
    /// A list of texts, or one with commas.
    List,
    /// Anything else.
    Text,
}

impl Shape {
    /// What `setting` takes, by the words in which it says so.
    pub fn of(setting: &Setting) -> Self {
        let takes = (setting.takes)();
        let words: Vec<&str> = takes.split('`').collect();
        // Between quotes words, and between these nothing but separators.
        let is_one_of =
            words.len() > 2 && words.iter().step_by(2).all(|between| matches!(*between, "" | ", " | " or "));
        match takes.as_str() {
            _ if setting.takes_list() => Self::List,
            "`true` or `false`" => Self::Boolean,
            _ if is_one_of => {
                Self::OneOf(words.iter().skip(1).step_by(2).map(|word| (*word).to_owned()).collect())
            }
            "size, or `none`" => Self::Size(true),
            "whole number" => Self::Integer(None),
            _ if takes == "size" => Self::Size(false),
            _ if takes.starts_with("duration") => Self::Duration,
            _ => Self::range(&takes).map_or(Self::Text, |range| Self::Integer(Some(range))),
        }
    }

    fn range(takes: &str) -> Option<(u64, u64)> {
        let (least, most) = takes.strip_prefix("whole number from ")?.split_once(" to ")?;
        Some((least.parse().ok()?, most.parse().ok()?))
    }

    fn schema(&self) -> Value {
        let text =
            |pattern: &str| json!({ "type": "string", "pattern": format!("^(?:{pattern}|{REFERENCE})$") });
        match self {
            Self::Duration => text(r"\s*[0-9]+\s*(?:ms|s|m|h|d)\s*"),
            Self::Size(or_none) => text(&format!(
                r"\s*[0-9]+\s*(?:B|KiB|MiB|GiB)\s*{}",
                if *or_none { "|[Nn][Oo][Nn][Ee]" } else { "" }
            )),
            Self::Integer(None) => json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, text("[0-9]+")] }),
            Self::Integer(Some((least, most))) => {
                json!({ "anyOf": [{ "type": "integer", "minimum": least, "maximum": most }, text("[0-9]+")] })
            }
            Self::Boolean => json!({ "anyOf": [{ "type": "boolean" }, text("true|false")] }),
            Self::OneOf(words) => json!({ "anyOf": [{ "enum": words }, text(REFERENCE)] }),
            Self::List => {
                json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }] })
            }
            Self::Text => json!({ "type": "string" }),
        }
    }

    /// A value as the file has it.
    fn literal(&self, text: &str) -> String {
        match self {
            Self::Integer(_) | Self::Boolean => text.to_owned(),
            _ => format!("\"{text}\""),
        }
    }
}

impl Setting {
    /// The default as a value, where it is one.
    pub fn default_value(&self) -> Option<&'static str> {
        let (value, more) = self.default.strip_prefix('`')?.split_once('`')?;
        (more.is_empty() || more.starts_with([':', ';'])).then_some(value)
    }
}

/// The text of `docs/keyferry.schema.json`: draft 2020-12.
pub fn schema() -> String {
    let mut root = table();
    for setting in SETTINGS {
        let mut schema = Shape::of(setting).schema();
        let description =
            format!("{} Default: {}. Change: {}.", setting.purpose, setting.default, setting.class);
        schema["description"] = Value::String(description);
        insert(&mut root, setting.key, schema);
    }
    let passed_through = json!({
        "type": "object",
        "description": "Properties that are handed to librdkafka as they are.",
        "additionalProperties": { "type": ["string", "integer", "boolean"] },
    });
    insert(&mut root, LIBRDKAFKA_TABLE, passed_through);
    let destination = root["properties"][DESTINATION_TABLE].take();
    root["properties"][DESTINATION_TABLE] = json!({
        "anyOf": [{ "$ref": "#/$defs/destination" }, { "type": "array", "items": { "$ref": "#/$defs/destination" } }],
    });
    root["$defs"] = json!({ "destination": destination });
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("Keyferry's configuration file");
    format!("{root:#}\n")
}

fn table() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

fn insert(root: &mut Value, key: &str, schema: Value) {
    let (tables, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut place = root;
    for one in tables.split('.').filter(|one| !one.is_empty()) {
        let properties = &mut place["properties"];
        if properties[one].is_null() {
            properties[one] = table();
        }
        place = &mut properties[one];
    }
    place["properties"][name] = schema;
}

/// The text of `docs/keyferry.example.toml`: every key with what it does. A line that begins with `#` and a key is its default.
pub fn example() -> String {
    let mut tables: Vec<(&str, Vec<&Setting>)> = Vec::new();
    for setting in SETTINGS {
        let table = setting.key.rsplit_once('.').map_or("", |(table, _)| table);
        match tables.iter_mut().find(|(name, _)| *name == table) {
            Some((_, settings)) => settings.push(setting),
            None => tables.push((table, vec![setting])),
        }
    }
    let mut page = String::from(EXAMPLE_INTRODUCTION);
    for (table, settings) in tables {
        if !table.is_empty() {
            page.push_str(&format!("\n[{table}]\n"));
        }
        settings.into_iter().for_each(|setting| page.push_str(&entry(setting)));
    }
    page
}

fn entry(setting: &Setting) -> String {
    let name = setting.key.rsplit_once('.').map_or(setting.key, |(_, name)| name);
    let about =
        format!("\n# {}\n# Takes {}. Change: {}.\n", setting.purpose, (setting.takes)(), setting.class);
    let shape = Shape::of(setting);
    let line = match (setting.key, setting.default_value()) {
        ("destination.bootstrap_servers", _) => {
            format!("{name} = [\"kafka-0.example.org:9092\", \"kafka-1.example.org:9092\"]")
        }
        ("destination.topic_events", _) => format!("{name} = \"keycloak-events\""),
        (_, Some(value)) => format!("#{name} = {}", shape.literal(value)),
        (_, None) => format!("# {name}: {}", setting.default),
    };
    format!("{about}{line}\n")
}

const EXAMPLE_INTRODUCTION: &str = "\
#:schema ./keyferry.schema.json
# Generated from crates/keyferry-config by its test `reference`; run it with KEYFERRY_DOCS=write after a change.
# Every key of Keyferry's configuration file. Where a line begins with `#` and a key, that is its default. docs/configuration.md tells more.
";
