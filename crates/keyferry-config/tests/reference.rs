//! The pages in `docs/`, and the provider's table of the agent's options, are what the tables say. After a change: `KEYFERRY_DOCS=write cargo test -p keyferry-config`.

use std::fs;
use std::path::PathBuf;

use keyferry_config::reference;

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
