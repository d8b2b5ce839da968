//! The pages in `docs/`, and the provider's table of the agent's options, are what the tables say. After a change: `KEYFERRY_DOCS=write cargo test -p keyferry-config`.

use std::fs;
use std::path::{Path, PathBuf};

use keyferry_config::schema::Shape;
use keyferry_config::{Class, Sources, reference, schema};

fn compare(name: &str, generated: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    if std::env::var("KEYFERRY_DOCS").as_deref() == Ok("write") {
        fs::write(&path, generated).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "{name} is out of date: run the tests with KEYFERRY_DOCS=write");
}

#[test]
fn configuration_page_is_up_to_date() {
    compare("docs/configuration.md", &reference::configuration());
}

#[test]
fn drop_in_page_is_up_to_date() {
    compare("docs/drop-in.md", &reference::drop_in());
}

#[test]
fn the_providers_table_is_up_to_date() {
    compare(
        "provider/src/main/resources/org/keyferry/provider/agent-options.tsv",
        &reference::agent_options(),
    );
}

#[test]
fn no_setting_is_missing_in_the_page() {
    let page = reference::configuration();
    for setting in keyferry_config::SETTINGS {
        assert!(page.contains(&format!("### `{}`", setting.key)), "{} belongs to no section", setting.key);
    }
}

/// What decides on the numbers of records, or is open while the agent runs, cannot change under it.
#[test]
fn every_setting_says_what_a_change_of_it_takes() {
    let page = reference::configuration();
    for setting in keyferry_config::SETTINGS {
        let heading = format!("### `{}`\n", setting.key);
        let (_, entry) = page.split_once(&heading).unwrap_or_else(|| panic!("{} has no entry", setting.key));
        let entry = entry.split("\n#").next().unwrap_or_default();
        let told = format!("- Change: {}", setting.class);
        assert!(entry.contains(&told), "{}: {entry}", setting.key);
    }
    let class_of = |key| keyferry_config::Setting::by_key(key).map(|setting| setting.class);
    for key in ["journal.dir", "destination.name", "destination.topic_events", "destination.in_doubt"] {
        assert_eq!(class_of(key), Some(Class::Restart), "{key}");
    }
    for key in ["destination.delivery.linger", "destination.security.sasl.password"] {
        assert_eq!(class_of(key), Some(Class::Swap), "{key}");
    }
    assert_eq!(class_of("log.level"), Some(Class::Live));
}

#[test]
fn the_schema_and_the_example_are_up_to_date() {
    compare("docs/keyferry.schema.json", &schema::schema());
    compare("docs/keyferry.example.toml", &schema::example());
}

fn load(text: &str) -> Result<keyferry_config::Loaded, keyferry_config::ConfigErrors> {
    keyferry_config::load(&Sources::new().with_file_text(Path::new("example.toml"), text))
}

/// Whoever takes the comment signs away has what held before: what is told as a default is the default.
#[test]
fn the_defaults_of_the_example_are_those_that_hold() {
    let example = schema::example();
    let is_default =
        |line: &&str| line.starts_with('#') && line[1..].starts_with(|one: char| one.is_ascii_lowercase());
    let with_defaults: Vec<&str> =
        example.lines().map(|line| if is_default(&line) { &line[1..] } else { line }).collect();
    assert!(with_defaults.iter().filter(|line| line.starts_with("linger")).count() == 1);
    let (without, with) = (load(&example).unwrap(), load(&with_defaults.join("\n")).unwrap());
    let json = |loaded: &keyferry_config::Loaded| serde_json::to_value(&loaded.config).unwrap();
    assert_eq!(json(&without), json(&with));
    assert_eq!(with.warnings, without.warnings);
}

/// What the schema lets through by its shape is taken, and what is just beside it is not.
#[test]
fn the_shapes_of_the_schema_are_those_that_are_taken() {
    let tree: serde_json::Value = serde_json::from_str(&schema::schema()).unwrap();
    for setting in keyferry_config::SETTINGS {
        let path = setting.key.replace("destination.", "").replace('.', "/properties/");
        let root = if setting.is_of_destination() { "/$defs/destination" } else { "" };
        let place = format!("{root}/properties/{path}");
        assert!(tree.pointer(&place).is_some_and(|one| one["description"].is_string()), "{place}");
        let takes = |value: &str| {
            let base = [("bootstrap-servers", "kafka:9092"), ("topic-events", "events")];
            let sources = Sources::new().with_options(base).with_live([(setting.key, value)]);
            match keyferry_config::load(&sources) {
                Ok(_) => true,
                Err(errors) => !errors.errors().iter().any(|error| error.to_string().contains("expected")),
            }
        };
        match Shape::of(setting) {
            Shape::Duration => assert!(!takes("soon") && !takes("5"), "{}", setting.key),
            Shape::Size(or_none) => assert!(!takes("much") && takes("none") == or_none, "{}", setting.key),
            Shape::Integer(Some((least, most))) => {
                assert!(takes(&least.to_string()) && takes(&most.to_string()), "{}", setting.key);
                assert!(!takes(&(most + 1).to_string()), "{}", setting.key);
            }
            Shape::Integer(None) => assert!(takes("3") && !takes("three"), "{}", setting.key),
            Shape::Boolean => assert!(takes("true") && takes("false") && !takes("yes"), "{}", setting.key),
            Shape::OneOf(words) => {
                assert!(words.len() > 1 && words.iter().all(|word| takes(word)), "{}", setting.key);
                assert!(!takes("something-else"), "{}", setting.key);
            }
            Shape::List | Shape::Text => {}
        }
    }
}
