//! The reference pages `docs/configuration.md` and `docs/drop-in.md`, written from the tables, so that they cannot say
//! anything else than the code does.

use std::collections::BTreeMap;

use crate::dropin::{DROP_IN, DropIn, Treatment};
use crate::provider::PROVIDER_OPTIONS;
use crate::settings::{SETTINGS, Setting};

/// The text of `docs/configuration.md`.
pub fn configuration() -> String {
    let mut page = String::from(CONFIGURATION_INTRODUCTION);
    for (title, prefix) in SECTIONS {
        let settings: Vec<&Setting> = SETTINGS.iter().filter(|setting| section(setting) == prefix).collect();
        page.push_str(&format!("\n## {title}\n"));
        settings.iter().for_each(|setting| page.push_str(&entry(setting)));
    }
    page.push_str(PASS_THROUGH);
    page.push_str(PROVIDER_INTRODUCTION);
    for option in PROVIDER_OPTIONS {
        page.push_str(&format!("| `{}` | {} | {} |\n", option.name, option.default, option.purpose));
    }
    page
}

/// The text of `docs/drop-in.md`.
pub fn drop_in() -> String {
    let mut page = String::from(DROP_IN_INTRODUCTION);
    for entry in DROP_IN {
        let name = entry.kafka.map_or_else(|| "–".to_owned(), |kafka| format!("`{kafka}`"));
        page.push_str(&format!("| {name} | `{}` | `{}` | {} |\n", entry.variable, entry.option, fate(entry)));
    }
    page
}

/// The table from which the provider describes the agent's options to Keycloak, a line an option: name, drop-in variable (or `-`), `secret` or
/// `open`, and what it does, separated by tabs.
pub fn agent_options() -> String {
    let mut lines = BTreeMap::new();
    for entry in DROP_IN.iter().filter(|entry| !matches!(entry.treatment, Treatment::Provider { .. })) {
        lines.insert(
            entry.option,
            agent_option(entry.option, entry.variable, entry.option.ends_with("-password"), &fate(entry)),
        );
    }
    for setting in SETTINGS.iter().filter(|setting| !setting.is_shared()) {
        let Some(option) = setting.option else { continue };
        let variable = DropIn::by_key(setting.key).map_or("-", |entry| entry.variable);
        lines.insert(option, agent_option(option, variable, setting.secret, setting.purpose));
    }
    let lines: Vec<String> = lines.into_values().collect();
    format!("{AGENT_OPTIONS_INTRODUCTION}{}\n", lines.join("\n"))
}

fn agent_option(option: &str, variable: &str, secret: bool, purpose: &str) -> String {
    let secrecy = if secret { "secret" } else { "open" };
    format!("{option}\t{variable}\t{secrecy}\t{}", plain(purpose))
}

/// `markdown` without the marks of code, and without emphasis outside of it.
fn plain(markdown: &str) -> String {
    let parts = markdown.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 0 { part.replace('*', "") } else { part.to_owned() }).collect()
}

const AGENT_OPTIONS_INTRODUCTION: &str = "\
# Generated from crates/keyferry-config by its test `reference`; run it with KEYFERRY_DOCS=write after a change.
# The options that the agent interprets: name, variable of the listener that is replaced, `secret` or `open`, what it does.
";

/// The sections of the configuration page: title, and the key's part before its last dot.
const SECTIONS: [(&str, &str); 24] = [
    ("General", ""),
    ("Journal", "journal"),
    ("Destination", "destination"),
    ("Filter", "destination.filter"),
    ("Routing", "destination.routing"),
    ("Redaction", "destination.redaction"),
    ("Schema registry", "destination.registry"),
    ("Topics", "destination.topics"),
    ("Connections", "destination.pool"),
    ("Tuning", "destination.tuner"),
    ("Delivery", "destination.delivery"),
    ("Circuit breaker", "destination.breaker"),
    ("Encryption", "destination.security.tls"),
    ("Authentication", "destination.security.sasl"),
    ("Backpressure", "backpressure"),
    ("Page and API", "api"),
    ("Tokens of the API", "api.tokens"),
    ("Certificate of the API", "api.tls"),
    ("Logging in at Keycloak", "api.oidc"),
    ("Metrics", "metrics"),
    ("Push of metrics", "metrics.otlp"),
    ("Alerts", "alerts"),
    ("Changes", "config"),
    ("Log", "log"),
];

fn section(setting: &Setting) -> &'static str {
    let table = setting.key.rsplit_once('.').map_or("", |(table, _)| table);
    // The one key of this table opens the section on encryption.
    if table == "destination.security" { "destination.security.tls" } else { table }
}

fn entry(setting: &Setting) -> String {
    let mut lines = vec![
        format!("\n### `{}`\n", setting.key),
        format!("{}\n", setting.purpose),
        format!(
            "- Takes: {}{}",
            (setting.takes)(),
            if setting.secret { ". Secret: never shown" } else { "" }
        ),
        format!("- Default: {}", setting.default),
        format!("- Change: {}", setting.class),
        format!("- Variable: `{}`", setting.variable()),
    ];
    lines.extend(
        setting.option.map(|option| format!("- Keycloak's option: `{option}`{}", kafka_unit(setting))),
    );
    lines
        .extend(DropIn::by_key(setting.key).map(|entry| format!("- Drop-in variable: `{}`", entry.variable)));
    lines.join("\n") + "\n"
}

/// The drop-in options follow Kafka in their units.
fn kafka_unit(setting: &Setting) -> &'static str {
    match (DropIn::by_key(setting.key), (setting.takes)().as_str()) {
        (Some(_), "duration") => ", in milliseconds without a unit",
        (Some(_), "size") => ", in bytes without a unit",
        _ => "",
    }
}

fn fate(entry: &DropIn) -> String {
    match &entry.treatment {
        Treatment::Setting { key, note } => format!("**Translated** to `{key}`{}", after_semicolon(note)),
        Treatment::Property(property) => {
            format!("**Translated** to librdkafka's `{}`{}", property.name, after_semicolon(property.note))
        }
        Treatment::Fixed { accepted, reason } => {
            let accepted: Vec<String> = accepted.iter().map(|value| format!("`{value}`")).collect();
            format!(
                "**Fixed**; other values than {} are overruled with a warning: {reason}",
                accepted.join(" and ")
            )
        }
        Treatment::JavaClass { known, replacement } => java_class(known, replacement),
        Treatment::Ignored { reason } => format!("**Ignored**: {reason}"),
        Treatment::Provider { purpose } => format!("**Read by the provider**: {purpose}"),
    }
}

fn java_class(known: &[(&str, &str)], replacement: &str) -> String {
    let accepted: Vec<String> = known
        .iter()
        .map(|(class, reason)| {
            let without_effect =
                if reason.is_empty() { String::new() } else { format!(" (without effect: {reason})") };
            format!("`{class}`{without_effect}")
        })
        .collect();
    if accepted.is_empty() {
        format!("**Refused**: {replacement}")
    } else {
        format!("**Accepted** with {}; any other class is **refused**: {replacement}", accepted.join(", "))
    }
}

fn after_semicolon(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!("; {note}") }
}

const CONFIGURATION_INTRODUCTION: &str = "\
# Configuration

<!-- Generated from crates/keyferry-config by its test `reference`; run it with KEYFERRY_DOCS=write after a change. -->

Two options are needed: `bootstrap-servers` and `topic-events`. Until both are set, Keyferry journals, and the agent waits.

Values come from these sources; each wins over those before it:

1. the built-in defaults,
2. the configuration file (TOML),
3. the variables of the listener that Keyferry replaces, `KAFKA_…`,
4. Keyferry's own variables, `KEYFERRY_…`,
5. the options that Keycloak hands over: `--spi-events-listener--kafka--<option>`, or in Keycloak's other spellings.

Durations and sizes carry their unit: `10ms`, `30s`, `2m`, `64KiB`, `32MiB`. Only the options and variables that Keyferry takes over from Kafka
are plain numbers of milliseconds and bytes, as Kafka has them; a number outside of the legal range is there taken to the nearest one in it, with a
warning. A blank variable or option counts as not set. What becomes of every setting of the replaced listener is in
[drop-in.md](drop-in.md).

An unknown key of the file is an error; an unknown option or `KEYFERRY_…` variable is a warning. Either names the nearest known one. An error names the
option, where its value comes from, and what was expected. Secrets are never part of it.

What a change takes while the agent runs is said of each key ([changes.md](changes.md)): *live* holds from the next moment on; *swap* replaces the connections without a gap;
*restart* is refused until the agent is started anew.

In the file, `destination.delivery.linger` is the key `linger` in the table `[destination.delivery]`:

```toml
[destination]
bootstrap_servers = [\"kafka-0.example.org:9092\", \"kafka-1.example.org:9092\"]
topic_events = \"keycloak-events\"

[destination.delivery]
linger = \"10ms\"

[destination.librdkafka]
\"client.rack\" = \"a\"
```

The file can name several destinations; each gets every event, and one that is down delays only itself ([destinations.md](destinations.md)). Then each
has a table `[[destination]]` with a name of its own, and tables below it in TOML's way:

```toml
[[destination]]
name = \"default\"
bootstrap_servers = [\"kafka-0.example.org:9092\"]
topic_events = \"keycloak-events\"

[[destination]]
name = \"audit\"
bootstrap_servers = [\"audit.example.org:9093\"]
topic_events = \"keycloak-audit\"

[destination.security]
protocol = \"SSL\"
```

Variables and options speak to the first destination. Messages call a key of such a table `destination[audit].security.protocol`, or by the table's
number (from 1) where it has no usable name.
";

const PASS_THROUGH: &str = "
## Further properties of librdkafka

The table `[destination.librdkafka]` hands properties to librdkafka as they are, under librdkafka's own names, on top of those that Keyferry sets
(variable `KEYFERRY_DESTINATION_LIBRDKAFKA_CLIENT_RACK`, option `librdkafka-client-rack` for `client.rack`). A property that has a setting of its own above, or on which a
promise of Keyferry's rests, is refused with what to use instead: `acks` is always `all`, `enable.idempotence` always `true`, `message.timeout.ms` always `0` (endless).
Their change is a *swap*.

Keyferry's choices that this table can change: `partitioner` = `murmur2_random` (that of Kafka's Java client), `socket.keepalive.enable` = `true`,
`socket.connection.setup.timeout.ms` = `5000`, `reconnect.backoff.max.ms` = `1000`, `log.connection.close` = `false`, `enable.metrics.push` = `false`.
";

const PROVIDER_INTRODUCTION: &str = "
## Options of the provider

The provider reads these itself, before there is an agent; they are options of Keycloak only. (The keys
`node` and `journal.dir` above are for an agent that runs by itself. A `journal` key above with an option of the same name as one of these must say the same.)

| option | default | what it does |
|---|---|---|
";

const DROP_IN_INTRODUCTION: &str = "\
# Swapping in for SnuK87/keycloak-kafka

<!-- Generated from crates/keyferry-config by its test `reference`; run it with KEYFERRY_DOCS=write after a change. -->

Every option and variable of that listener works unchanged, an option wins over its variable, and option names may also be written in camel case
(`topicEvents`). Numbers are plain, as Kafka has them; one that librdkafka does not allow is taken to the nearest that it does, with a warning.

- **Translated**: it does the same here.
- **Fixed**: it always has the value on which Keyferry's promises rest.
- **Ignored**: it has no effect, for the reason that is given; a line in the log says so.
- **Refused**: it cannot be honoured; the agent says what to do instead, and waits. Keycloak goes on, and the journal keeps the events.

What a consumer finds that was not there before: a key, headers, and `**********` in place of secrets. That listener sent every secret that Keycloak leaves in an event; Keyferry masks passwords, client secrets, private keys
and tokens in representations and details ([events.md](events.md#redaction)). A consumer that needs them sets `redaction-secrets=keep` (`KEYFERRY_DESTINATION_REDACTION_SECRETS=keep`), and gets each value
byte for byte. `headers=none` leaves the headers out.

| Kafka's name | variable | option | what becomes of it |
|---|---|---|---|
";
