//! Which of several values holds, and what is said of names that do not exist.

use std::path::Path;
use std::time::Duration;

use keyferry_config::{
    ByteSize, Config, Destination, Journal, Loaded, Origin, Overflow, PROVIDER_OPTIONS, Readiness, SETTINGS,
    Settle, Sources, load, reference,
};

const NEEDED: &str = "[destination]\nbootstrap_servers = \"file:9092\"\ntopic_events = \"file\"\n";

fn file(text: &str) -> Sources {
    Sources::new().with_file_text(Path::new("keyferry.toml"), format!("{NEEDED}{text}"))
}

fn loaded(sources: &Sources) -> Loaded {
    load(sources).unwrap_or_else(|errors| panic!("{errors}"))
}

fn only(config: Config) -> Readiness {
    config.destinations.into_iter().next().unwrap_or_else(|| panic!("no destination"))
}

fn destination(config: Config) -> Destination {
    match only(config) {
        Readiness::Complete(destination) => *destination,
        other => panic!("{other:?}"),
    }
}

fn warnings(sources: &Sources) -> Vec<String> {
    loaded(sources).warnings.iter().map(ToString::to_string).collect()
}

fn error(sources: &Sources) -> String {
    match load(sources) {
        Ok(_) => panic!("was accepted"),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn every_source_wins_over_those_before_it() {
    let key = "destination.delivery.linger";
    let steps: [(Sources, u64, Origin); 5] = {
        let base = file("");
        let with_file = file("[destination.delivery]\nlinger = \"20ms\"\n");
        let with_kafka = with_file.clone().with_environment([("KAFKA_LINGER_MS", "30")]);
        let with_keyferry =
            with_kafka.clone().with_environment([("KEYFERRY_DESTINATION_DELIVERY_LINGER", "40ms")]);
        let with_option = with_keyferry.clone().with_options([("linger-ms", "50")]);
        [
            (base, 10, Origin::Default),
            (with_file, 20, Origin::File { path: "keyferry.toml".into(), line: 5 }),
            (with_kafka, 30, Origin::KafkaVariable("KAFKA_LINGER_MS".into())),
            (with_keyferry, 40, Origin::KeyferryVariable("KEYFERRY_DESTINATION_DELIVERY_LINGER".into())),
            (with_option, 50, Origin::Keycloak),
        ]
    };
    for (sources, millis, origin) in steps {
        let loaded = loaded(&sources);
        assert_eq!(loaded.origins.get(key).cloned().unwrap_or(Origin::Default), origin);
        assert_eq!(destination(loaded.config).delivery.linger, Duration::from_millis(millis), "{origin}");
    }
}

#[test]
fn an_overridden_value_does_no_harm() {
    let sources = file("")
        .with_environment([("KAFKA_LINGER_MS", "nonsense"), ("KAFKA_ACKS", "1")])
        .with_options([("linger-ms", "50"), ("acks", "all")]);
    assert_eq!(warnings(&sources), Vec::<String>::new());
    assert_eq!(destination(loaded(&sources).config).delivery.linger, Duration::from_millis(50));
}

#[test]
fn option_names_may_be_written_otherwise_and_the_proper_spelling_wins() {
    for name in ["topicEvents", "topic.events", "topic_events", "topic-events"] {
        let sources = file("").with_options([(name, "t")]);
        assert_eq!(destination(loaded(&sources).config).topic_events.as_str(), "t", "{name}");
    }
    let sources = file("").with_options([("topicEvents", "camel"), ("topic-events", "kebab")]);
    assert_eq!(destination(loaded(&sources).config).topic_events.as_str(), "kebab");
}

#[test]
fn a_blank_variable_or_option_counts_as_not_set() {
    let sources = file("")
        .with_environment([("KAFKA_TOPIC", ""), ("KEYFERRY_DESTINATION_TOPIC_ADMIN_EVENTS", " ")])
        .with_options([("client-id", ""), ("headers", "")]);
    let destination = destination(loaded(&sources).config);
    assert_eq!(destination.topic_events.as_str(), "file");
    assert_eq!(destination.topic_admin_events, None);
    assert_eq!(destination.client_id, "keyferry");
}

#[test]
fn the_client_id_carries_the_node() {
    let sources = file("node = \"ignored\"\n").with_node("kc-1");
    assert!(error(&sources).contains("destination.node"), "the key stands in the wrong table");
    let text = format!("node = \"from-file\"\n{NEEDED}");
    let sources = Sources::new().with_file_text(Path::new("k.toml"), text);
    assert_eq!(destination(loaded(&sources).config).client_id, "keyferry-from-file");
    let config = loaded(&sources.with_node("kc-1")).config;
    assert_eq!(config.node.as_deref(), Some("kc-1"));
    assert_eq!(destination(config).client_id, "keyferry-kc-1");
}

#[test]
fn an_unknown_key_of_the_file_is_an_error_with_line_and_suggestion() {
    assert_eq!(
        error(&file("[destination.delivery]\nbatch_sise = \"1KiB\"\n")),
        "unknown key `destination.delivery.batch_sise` (keyferry.toml, line 5), \
         did you mean `destination.delivery.batch_size`?"
    );
    assert_eq!(error(&file("[xyz]\nq = 1\n")), "unknown key `xyz.q` (keyferry.toml, line 5)");
}

#[test]
fn an_unknown_option_is_a_warning_with_a_suggestion() {
    assert_eq!(
        warnings(&file("").with_options([("topic-event", "t"), ("zzz", "t")])),
        [
            "unknown option `topic-event` (from Keycloak's configuration) is ignored, did you mean `topic-events`?",
            "unknown option `zzz` (from Keycloak's configuration) is ignored"
        ]
    );
}

#[test]
fn the_providers_options_are_none_of_the_agents_business() {
    let options = [
        "journal-dir",
        "journalDir",
        "journal-fsync",
        "journal-later",
        "agent-log",
        "agent",
        "agent-path",
        "drain-timeout",
        "node",
        "global",
        "events",
        "enabled",
    ];
    let sources =
        file("").with_options(options.map(|name| (name, "x"))).with_environment([("KAFKA_EVENTS", "LOGIN")]);
    assert_eq!(warnings(&sources), Vec::<String>::new());
}

#[test]
fn options_that_agent_and_provider_share_are_read_from_the_one_map_and_from_a_sidecars_file() {
    let options = [
        ("journal-segment-size", "8MiB"),
        ("journal-max-size", "1GiB"),
        ("journal-overflow", "drop-old"),
        ("journal-settle", "event-store"),
        ("journal-keep", "7d"),
        ("journal-keep-size", "2GiB"),
        ("journal-archive-directory", "/archive"),
    ];
    let text = "[journal]\nsegment_size = \"8MiB\"\nmax_size = \"1GiB\"\noverflow = \"drop-old\"\nsettle = \"event-store\"\n\
                keep = \"7d\"\nkeep_size = \"2GiB\"\narchive_directory = \"/archive\"\n";
    let expected = Journal {
        dir: None,
        keep: Duration::from_secs(7 * 86_400),
        keep_size: Some(ByteSize::mib(2048)),
        archive_directory: Some("/archive".into()),
        segment_size: ByteSize::mib(8),
        max_size: Some(ByteSize::mib(1024)),
        overflow: Overflow::DropOld,
        settle: Settle::EventStore,
        ..Journal::default()
    };
    for sources in [file("").with_options(options), file(text)] {
        assert_eq!(loaded(&sources).config.journal, expected);
    }
    let unlimited = file("").with_options([("journal-max-size", "none"), ("journal-keep-size", " None ")]);
    assert_eq!(loaded(&unlimited).config.journal, Journal::default());
    let wrong = file("").with_options([("journal-max-size", "100")]);
    let error = error(&wrong);
    assert!(
        error.contains("journal-max-size") && error.contains("expected `none`, or a whole number"),
        "{error}"
    );
}

#[test]
fn what_the_provider_describes_the_agent_does_not_describe_again() {
    let table = reference::agent_options();
    let described = |option: &str| table.lines().any(|line| line.starts_with(&format!("{option}\t")));
    for setting in SETTINGS.iter().filter(|setting| setting.is_shared()) {
        let option = setting.option.unwrap_or_default();
        assert!(!described(option), "{option}");
        assert!(PROVIDER_OPTIONS.iter().any(|described| described.name == option), "{option}");
    }
    for option in
        ["journal-keep", "journal-keep-size", "journal-archive-directory", "gap-records", "in-doubt"]
    {
        assert!(described(option), "{option}");
    }
}

#[test]
fn variables_of_other_programs_are_left_alone_but_slips_are_named() {
    let sources = file("").with_environment([
        ("KAFKA_HEAP_OPTS", "-Xmx1g"),
        ("KAFKA_PORT_9092_TCP_ADDR", "10.0.0.1"),
        ("KAFKA_SERVICE_HOST", "10.0.0.1"),
        ("KEYFERRY_SERVICE_HOST", "10.0.0.1"),
        ("KEYFERRY_CONFIG", "x"),
        ("KEYFERRY_CACHE", "/x"),
        ("KEYFERRY_JOURNAL_DIR", "/x"),
        ("PATH", "/bin"),
    ]);
    assert_eq!(warnings(&sources), Vec::<String>::new());
    let sources = file("").with_environment([("KAFKA_TOPICS", "t"), ("KEYFERRY_LOG_LEVELS", "info")]);
    assert_eq!(
        warnings(&sources),
        [
            "unknown option `KAFKA_TOPICS` (from KAFKA_TOPICS) is ignored, did you mean `KAFKA_TOPIC`?",
            "unknown option `KEYFERRY_LOG_LEVELS` (from KEYFERRY_LOG_LEVELS) is ignored, did you mean `KEYFERRY_LOG_LEVEL`?",
        ]
    );
}

#[test]
fn what_is_missing_is_named_with_the_ways_to_give_it() {
    let config = loaded(&Sources::new()).config;
    let Readiness::Incomplete { missing, .. } = only(config) else { panic!("complete without servers") };
    let texts: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "option `bootstrap-servers` is not set (the servers to connect to): set \
             `--spi-events-listener--kafka--bootstrap-servers`, the variable KAFKA_BOOTSTRAP_SERVERS or the key \
             `destination.bootstrap_servers` of the configuration file",
            "option `topic-events` is not set (the topic of user events): set \
             `--spi-events-listener--kafka--topic-events`, the variable KAFKA_TOPIC or the key \
             `destination.topic_events` of the configuration file",
        ]
    );
}

#[test]
fn every_error_is_reported_at_once() {
    let sources = file("[destination.delivery]\nlinger = \"x\"\nbatch_size = \"y\"\nz = 1\n");
    let errors = load(&sources).err().map(|errors| errors.errors().len());
    assert_eq!(errors, Some(3));
}

#[test]
fn a_file_that_is_no_toml_is_named_with_line_and_column() {
    let message = error(&file("[destination.delivery\n"));
    assert!(message.starts_with("keyferry.toml, line 4, column 22: not valid TOML: "), "{message}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = Path::new("no-such-folder/keyferry.toml");
    let message =
        Sources::new().with_file(missing).err().map(|errors| errors.to_string()).unwrap_or_default();
    assert!(
        message.starts_with("cannot read the configuration file no-such-folder/keyferry.toml: "),
        "{message}"
    );
}

#[test]
fn a_value_of_the_wrong_shape_is_named() {
    for (text, expected) in [
        (
            "headers = 1979-05-27\n",
            "option `destination.headers` (from keyferry.toml, line 4): expected a text, a whole \
          number, `true` or `false`, or a list of texts, got `datetime`",
        ),
        (
            "headers = [\"none\"]\n",
            "option `destination.headers` (from keyferry.toml, line 4): expected one value, \
             got `a list`",
        ),
        (
            "[destination.delivery]\nlinger = 10\n",
            "option `destination.delivery.linger` (from keyferry.toml, line 5): \
          expected a whole number with its unit (ms, s, m, h, d), such as `10ms`, got `10`",
        ),
    ] {
        assert_eq!(error(&file(text)), expected);
    }
}

#[test]
fn servers_may_be_a_list() {
    let text = "[destination]\nbootstrap_servers = [\"a:1\", \"[::1]:2\"]\ntopic_events = \"t\"\n";
    let sources = Sources::new().with_file_text(Path::new("k.toml"), text);
    assert_eq!(destination(loaded(&sources).config).bootstrap_servers.to_string(), "a:1,[::1]:2");
}
