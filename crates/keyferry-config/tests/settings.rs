//! What each setting takes and refuses, and what it becomes for librdkafka.

use std::collections::BTreeMap;
use std::path::Path;

use keyferry_config::{
    DROP_IN, Destination, Loaded, Readiness, SETTINGS, Setting, Sources, Treatment, librdkafka, load,
};
use proptest::prelude::*;

/// The names of librdkafka 2.12's producer properties, from its CONFIGURATION.md.
const KNOWN_PROPERTIES: &str = include_str!("librdkafka-2.12-producer-properties.txt");

fn needed() -> Sources {
    Sources::new().with_options([("bootstrap-servers", "kafka:9092"), ("topic-events", "events")])
}

fn complete(sources: &Sources) -> Destination {
    let Loaded { config, .. } = load(sources).unwrap_or_else(|errors| panic!("{errors}"));
    match config.destinations.into_iter().next() {
        Some(Readiness::Complete(destination)) => *destination,
        incomplete => panic!("{incomplete:?}"),
    }
}

fn properties(sources: &Sources) -> BTreeMap<String, String> {
    let list = librdkafka::properties(&complete(sources));
    let count = list.len();
    let map: BTreeMap<String, String> =
        list.into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect();
    assert_eq!(map.len(), count, "a property is given twice");
    let unknown: Vec<&String> =
        map.keys().filter(|name| !KNOWN_PROPERTIES.lines().any(|known| known == *name)).collect();
    assert!(unknown.is_empty(), "librdkafka does not know {unknown:?}");
    map
}

fn with_variable(name: &str, value: &str) -> Sources {
    needed().with_environment([(name, value)])
}

fn errors(sources: &Sources) -> String {
    load(sources).map_or_else(|errors| errors.to_string(), |_| "accepted".to_owned())
}

fn warnings(sources: &Sources) -> Vec<String> {
    match load(sources) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
        Err(errors) => panic!("{errors}"),
    }
}

#[test]
fn the_defaults_are_those_of_the_requirement_sheet_and_keep_the_promises() {
    let expected = [
        ("acks", "all"),
        ("batch.size", "65536"),
        ("bootstrap.servers", "kafka:9092"),
        ("client.id", "keyferry"),
        ("compression.type", "lz4"),
        ("delivery.report.only.error", "false"),
        ("enable.gapless.guarantee", "true"),
        ("enable.idempotence", "true"),
        ("enable.metrics.push", "false"),
        ("linger.ms", "10"),
        ("log.connection.close", "false"),
        ("max.in.flight.requests.per.connection", "5"),
        ("message.max.bytes", "1048576"),
        ("message.timeout.ms", "0"),
        ("partitioner", "murmur2_random"),
        ("queue.buffering.max.kbytes", "32768"),
        ("reconnect.backoff.max.ms", "1000"),
        ("request.timeout.ms", "30000"),
        ("retry.backoff.max.ms", "1000"),
        ("retry.backoff.ms", "1000"),
        ("security.protocol", "PLAINTEXT"),
        ("socket.connection.setup.timeout.ms", "5000"),
        ("socket.keepalive.enable", "true"),
        ("socket.timeout.ms", "30000"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(properties(&needed()), BTreeMap::from(expected));
    assert_eq!(complete(&needed()).delivery.delivery_timeout.as_secs(), 120);
}

#[test]
fn each_drop_in_variable_and_option_becomes_its_property() {
    let table = [
        ("KAFKA_BOOTSTRAP_SERVERS", "SASL_SSL://a:1, [::1]:2", "bootstrap.servers", "a:1,[::1]:2"),
        ("KAFKA_CLIENT_ID", "me", "client.id", "me"),
        ("KAFKA_BATCH_SIZE", "16384", "batch.size", "16384"),
        ("KAFKA_BATCH_SIZE", "0", "batch.size", "1"),
        ("KAFKA_BUFFER_MEMORY", "67108864", "queue.buffering.max.kbytes", "65536"),
        ("KAFKA_BUFFER_MEMORY", "99999999999", "queue.buffering.max.kbytes", "1048576"),
        ("KAFKA_CLIENT_DNS_LOOKUP", "default", "client.dns.lookup", "use_all_dns_ips"),
        ("KAFKA_COMPRESSION_TYPE", "zstd", "compression.type", "zstd"),
        ("KAFKA_COMPRESSION_TYPE", "GZIP", "compression.type", "gzip"),
        ("KAFKA_CONNECTION_MAX_IDLE_MS", "-1", "connections.max.idle.ms", "0"),
        ("KAFKA_LINGER_MS", "5", "linger.ms", "5"),
        ("KAFKA_LINGER_MS", "9999999", "linger.ms", "900000"),
        ("KAFKA_MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION", "1", "max.in.flight.requests.per.connection", "1"),
        ("KAFKA_MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION", "20", "max.in.flight.requests.per.connection", "5"),
        ("KAFKA_MAX_REQUEST_SIZE", "2097152", "message.max.bytes", "2097152"),
        ("KAFKA_METADATA_MAX_AGE_MS", "60000", "topic.metadata.refresh.interval.ms", "60000"),
        ("KAFKA_PARTITIONER_CLASS", "org.example.DefaultPartitioner", "partitioner", "murmur2_random"),
        ("KAFKA_PARTITIONER_CLASS", "x.RoundRobinPartitioner", "partitioner", "murmur2_random"),
        ("KAFKA_RECEIVE_BUFFER_BYTES", "-1", "socket.receive.buffer.bytes", "0"),
        ("KAFKA_SEND_BUFFER_BYTES", "131072", "socket.send.buffer.bytes", "131072"),
        ("KAFKA_RECONNECT_BACKOFF_MS", "50", "reconnect.backoff.ms", "50"),
        ("KAFKA_RECONNECT_BACKOFF_MS", "5000", "reconnect.backoff.max.ms", "5000"),
        ("KAFKA_RECONNECT_BACKOFF_MAX_MS", "2000", "reconnect.backoff.max.ms", "2000"),
        ("KAFKA_RECONNECT_BACKOFF_MAX_MS", "20", "reconnect.backoff.max.ms", "100"),
        ("KAFKA_REQUEST_TIMEOUT_MS", "7000", "request.timeout.ms", "7000"),
        ("KAFKA_REQUEST_TIMEOUT_MS", "7000", "socket.timeout.ms", "7000"),
        ("KAFKA_RETRY_BACKOFF_MS", "100", "retry.backoff.ms", "100"),
        ("KAFKA_RETRY_BACKOFF_MS", "3000", "retry.backoff.max.ms", "3000"),
        ("KAFKA_DELIVERY_TIMEOUT_MS", "5000", "message.timeout.ms", "0"),
        ("KAFKA_ACKS", "0", "acks", "all"),
        ("KAFKA_ACKS", "1", "acks", "all"),
        ("KAFKA_ENABLE_IDEMPOTENCE", "false", "enable.idempotence", "true"),
    ];
    for (variable, value, property, expected) in table {
        let by_variable = properties(&needed_without(variable).with_environment([(variable, value)]));
        assert_eq!(by_variable.get(property).map(String::as_str), Some(expected), "{variable}={value}");
        let option = DROP_IN.iter().find(|entry| entry.variable == variable).map_or("", |entry| entry.option);
        let by_option = properties(&needed().with_options([(option, value)]));
        assert_eq!(by_option, by_variable, "{option}={value}");
    }
}

/// The needed options as variables, so that another variable can take their place.
fn needed_without(variable: &str) -> Sources {
    let needed = [("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092"), ("KAFKA_TOPIC", "events")];
    Sources::new().with_environment(needed.into_iter().filter(|(name, _)| *name != variable))
}

#[test]
fn what_is_overruled_or_ignored_says_so_with_its_reason() {
    for (variable, value, expected) in [
        ("KAFKA_ACKS", "1", "option `acks` (from KAFKA_ACKS) is overruled: it is always `all`"),
        ("KAFKA_RETRIES", "3", "option `retries` (from KAFKA_RETRIES) is overruled: there is no limit"),
        (
            "KAFKA_LINGER_MS",
            "-5",
            "option `linger-ms` (from KAFKA_LINGER_MS) is overruled: -5 is outside of 0 to 900000, 0 is used",
        ),
        (
            "KAFKA_MAX_BLOCK_MS",
            "60000",
            "option `max-block-ms` (from KAFKA_MAX_BLOCK_MS) has no effect: nothing blocks",
        ),
        ("KAFKA_SASL_USER", "x", ""),
        (
            "KAFKA_SASL_JAAS_CONFIG",
            "x",
            "option `sasl-jaas-config` (from KAFKA_SASL_JAAS_CONFIG) has no effect: the security protocol does not \
             authenticate by SASL",
        ),
        (
            "KAFKA_SSL_TRUSTSTORE_LOCATION",
            "/x.pem",
            "option `ssl-truststore-location` (from KAFKA_SSL_TRUSTSTORE_LOCATION) has no effect: the security protocol \
             does not encrypt",
        ),
    ] {
        let warnings = warnings(&with_variable(variable, value));
        match expected {
            "" => assert_eq!(warnings, Vec::<String>::new(), "{variable}"),
            _ => assert!(
                matches!(&warnings[..], [only] if only.starts_with(expected)),
                "{variable}: {warnings:?}"
            ),
        }
    }
    for (variable, value) in [
        ("KAFKA_ACKS", "ALL"),
        ("KAFKA_ACKS", "-1"),
        ("KAFKA_RETRIES", "2147483647"),
        ("KAFKA_ENABLE_IDEMPOTENCE", "true"),
    ] {
        assert_eq!(warnings(&with_variable(variable, value)), Vec::<String>::new(), "{variable}={value}");
    }
}

#[test]
fn every_drop_in_entry_has_its_effect_under_both_names() {
    for entry in DROP_IN {
        let value = sample(entry.option);
        let sources = [
            Sources::new().with_environment([(entry.variable, value)]),
            Sources::new().with_options([(entry.option, value)]),
        ];
        for sources in sources {
            let outcome = load(&sources);
            match &entry.treatment {
                Treatment::Setting { key, .. } => {
                    let loaded = outcome.unwrap_or_else(|errors| panic!("{errors}"));
                    assert!(loaded.origins.contains_key(*key), "{}", entry.variable);
                }
                Treatment::Property(property) => {
                    let loaded = outcome.unwrap_or_else(|errors| panic!("{errors}"));
                    let slot = format!("destination.librdkafka.{}", property.name);
                    assert!(loaded.origins.contains_key(&slot), "{}", entry.variable);
                }
                Treatment::Fixed { .. } | Treatment::Ignored { .. } => {
                    let loaded = outcome.unwrap_or_else(|errors| panic!("{errors}"));
                    assert_eq!(loaded.warnings.len(), 1, "{}", entry.variable);
                }
                Treatment::JavaClass { replacement, .. } => {
                    let message = outcome.err().map(|errors| errors.to_string()).unwrap_or_default();
                    let named = message.starts_with(&format!("option `{}` (from ", entry.option));
                    assert!(named && message.ends_with(replacement), "{message}");
                }
                Treatment::Provider { .. } => {
                    let loaded = outcome.unwrap_or_else(|errors| panic!("{errors}"));
                    assert!(loaded.warnings.is_empty() && loaded.origins.is_empty(), "{}", entry.variable);
                }
            }
        }
    }
}

/// A legal value of the drop-in option (of a Java class: an unknown one).
fn sample(option: &str) -> &'static str {
    match option {
        "bootstrap-servers" => "a:1",
        "security-protocol" => "SASL_SSL",
        "sasl-mechanism" => "PLAIN",
        "sasl-jaas-config" => "PlainLoginModule required username=\"u\" password=\"p\";",
        "sasl-oauthbearer-token-endpoint-url" => "https://issuer/token",
        "compression-type" => "lz4",
        "client-dns-lookup" => "use_all_dns_ips",
        "ssl-cipher-suites" => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ssl-endpoint-identification-algorithm" => "https",
        "ssl-keystore-type" | "ssl-truststore-type" => "PKCS12",
        "ssl-keystore-certificate-chain" | "ssl-keystore-key" | "ssl-truststore-certificates" => {
            "-----BEGIN X-----"
        }
        _ => "1000",
    }
}

#[test]
fn the_drop_in_table_covers_the_whole_listener() {
    let variables = "TOPIC ADMIN_TOPIC CLIENT_ID BOOTSTRAP_SERVERS EVENTS ACKS BUFFER_MEMORY COMPRESSION_TYPE RETRIES \
        SSL_KEY_PASSWORD SSL_KEYSTORE_CERTIFICATE_CHAIN SSL_KEYSTORE_LOCATION SSL_KEYSTORE_PASSWORD \
        SSL_TRUSTSTORE_LOCATION SSL_TRUSTSTORE_PASSWORD BATCH_SIZE CLIENT_DNS_LOOKUP CONNECTION_MAX_IDLE_MS \
        DELIVERY_TIMEOUT_MS LINGER_MS MAX_BLOCK_MS MAX_REQUEST_SIZE PARTITIONER_CLASS RECEIVE_BUFFER_BYTES \
        REQUEST_TIMEOUT_MS SASL_CLIENT_CALLBACK_HANDLER_CLASS SASL_JAAS_CONFIG SASL_KERBEROS_SERVICE_NAME \
        SASL_LOGIN_CALLBACK_HANDLER_CLASS SASL_LOGIN_CLASS SASL_MECHANISM SECURITY_PROTOCOL SEND_BUFFER_BYTES \
        SSL_ENABLED_PROTOCOLS SSL_KEYSTORE_TYPE SSL_PROTOCOL SSL_PROVIDER SSL_TRUSTSTORE_TYPE ENABLE_IDEMPOTENCE \
        INTERCEPTOR_CLASS MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION METADATA_MAX_AGE_MS METADATA_MAX_IDLE_MS \
        METRIC_REPORTERS METRIC_NUM_SAMPLES METRICS_RECORDING_LEVEL METRICS_SAMPLE_WINDOW_MS RECONNECT_BACKOFF_MAX_MS \
        RECONNECT_BACKOFF_MS RETRY_BACKOFF_MS SASL_KERBEROS_KINIT_CMD SASL_KERBEROS_MIN_TIME_BEFORE_RELOGIN \
        SASL_KERBEROS_TICKET_RENEW_JITTER SASL_KERBEROS_TICKET_RENEW_WINDOW_FACTOR SASL_LOGIN_REFRESH_BUFFER_SECONDS \
        SASL_LOGIN_REFRESH_MIN_PERIOD_SECONDS SASL_LOGIN_REFRESH_WINDOW_FACTOR SASL_LOGIN_REFRESH_WINDOW_JITTER \
        SECURITY_PROVIDERS SSL_CIPHER_SUITES SSL_ENDPOINT_IDENTIFICATION_ALGORITHM SSL_KEYMANAGER_ALGORITHM \
        SSL_SECURE_RANDOM_IMPLEMENTATION SSL_TRUSTMANAGER_ALGORITHM TRANSACTION_TIMEOUT_MS TRANSACTION_ID";
    let irregular = [
        ("CONNECTION_MAX_IDLE_MS", "connections.max.idle.ms"),
        ("INTERCEPTOR_CLASS", "interceptor.classes"),
        ("METRIC_NUM_SAMPLES", "metrics.num.samples"),
        ("TRANSACTION_ID", "transactional.id"),
    ];
    for name in variables.split_whitespace() {
        let variable = format!("KAFKA_{name}");
        let entry = DROP_IN.iter().find(|entry| entry.variable == variable);
        let entry = entry.unwrap_or_else(|| panic!("{variable} is missing"));
        let Some(kafka) = entry.kafka else { continue };
        let regular = name.to_ascii_lowercase().replace('_', ".");
        let expected =
            irregular.iter().find(|(odd, _)| *odd == name).map_or(regular.as_str(), |(_, kafka)| kafka);
        assert_eq!(kafka, expected);
        assert_eq!(entry.option, kafka.replace('.', "-"));
    }
}

#[test]
fn the_tables_are_consistent() {
    for entry in DROP_IN {
        if let Treatment::Setting { key, .. } = entry.treatment {
            let setting = Setting::by_key(key).unwrap_or_else(|| panic!("{key} does not exist"));
            assert_eq!(setting.option, Some(entry.option), "{key}");
        }
        if let Treatment::Property(property) = &entry.treatment {
            assert!(KNOWN_PROPERTIES.lines().any(|known| known == property.name), "{}", property.name);
        }
    }
    for names in [
        SETTINGS.iter().map(|setting| setting.key.to_owned()).collect::<Vec<_>>(),
        SETTINGS.iter().map(Setting::variable).collect(),
        SETTINGS.iter().filter_map(|setting| setting.option.map(str::to_owned)).collect(),
        DROP_IN.iter().map(|entry| entry.variable.to_owned()).collect(),
        DROP_IN.iter().map(|entry| entry.option.to_owned()).collect(),
    ] {
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
    }
}

#[test]
fn illegal_values_are_named_with_option_origin_and_expectation() {
    for (variable, value, expected) in [
        (
            "KAFKA_LINGER_MS",
            "10 s",
            "option `linger-ms` (from KAFKA_LINGER_MS): expected a whole number of milliseconds without a unit, got `10 s`",
        ),
        (
            "KEYFERRY_DESTINATION_DELIVERY_LINGER",
            "20m",
            "option `linger-ms` (from KEYFERRY_DESTINATION_DELIVERY_LINGER): expected a value from 0ms to 15m, got `20m`",
        ),
        (
            "KEYFERRY_DESTINATION_DELIVERY_BATCH_SIZE",
            "64KB",
            "option `batch-size` (from KEYFERRY_DESTINATION_DELIVERY_BATCH_SIZE): expected a whole number with its unit \
             (B, KiB, MiB, GiB), such as `64KiB`, got `64KB`",
        ),
        (
            "KAFKA_COMPRESSION_TYPE",
            "brotli",
            "option `compression-type` (from KAFKA_COMPRESSION_TYPE): expected `none`, `gzip`, `snappy`, `lz4` or `zstd`, \
             got `brotli`",
        ),
        (
            "KAFKA_ADMIN_TOPIC",
            "a/b",
            "option `topic-admin-events` (from KAFKA_ADMIN_TOPIC): expected a topic name: 1 to 249 characters out of \
             letters, digits, `.`, `_` and `-`, and neither `.` nor `..`, got `a/b`",
        ),
        (
            "KAFKA_SASL_MECHANISM",
            "GSSAPI",
            "option `sasl-mechanism` (from KAFKA_SASL_MECHANISM): this agent is built without Kerberos: build it with the \
             cargo feature `gssapi` (docs/security.md), or use SCRAM-SHA-512, PLAIN or OAUTHBEARER, or a client certificate \
             with the protocol SSL",
        ),
        (
            "KEYFERRY_DESTINATION_LIBRDKAFKA_ACKS",
            "1",
            "option `destination.librdkafka.acks` (from KEYFERRY_DESTINATION_LIBRDKAFKA_ACKS): it cannot be passed \
             through: it has the one value on which the promise rests that nothing is lost or reordered; remove it",
        ),
    ] {
        assert_eq!(errors(&with_variable(variable, value)), expected);
    }
}

#[test]
fn servers_are_checked_entry_by_entry() {
    for (value, expected) in [
        (
            "kafka",
            "`host:port` in each entry; `kafka` has no port, write for example `kafka:9092`, got `kafka`",
        ),
        (
            "a:1,[::1]",
            "`host:port` in each entry; `[::1]` has no port, write for example `[::1]:9092`, got `a:1,[::1]`",
        ),
        (
            "SSL://b",
            "`host:port` in each entry; `SSL://b` has no port, write for example `SSL://b:9092`, got `SSL://b`",
        ),
        ("a:0", "a port from 1 to 65535 in each entry; the one in `a:0` is not, got `a:0`"),
        ("a:http", "a port from 1 to 65535 in each entry; the one in `a:http` is not, got `a:http`"),
        (
            "::1:9092",
            "`host:port` in each entry (an IPv6 address in brackets: `[::1]:9092`), and `::1:9092` is not that, got \
             `::1:9092`",
        ),
        (
            "u:pw@a:1",
            "`host:port` in each entry, and no user and password in front of an `@`: set the SASL options instead (the \
             value may be secret and is not shown)",
        ),
        (" , ", "at least one `host:port`, got ` , `"),
    ] {
        let sources = Sources::new().with_options([("bootstrap-servers", value)]);
        let prefix = "option `bootstrap-servers` (from Keycloak's configuration): expected ";
        assert_eq!(errors(&sources), format!("{prefix}{expected}"));
    }
}

#[test]
fn topic_names_are_kafkas() {
    let longest = "t".repeat(249);
    for legal in ["a", "A.b_c-9", "...", longest.as_str()] {
        assert_eq!(
            complete(&needed().with_options([("topic-admin-events", legal)]))
                .topic_admin_events
                .map(|t| t.to_string())
                .as_deref(),
            Some(legal)
        );
    }
    let too_long = "t".repeat(250);
    for illegal in [".", "..", "a b", "ä", too_long.as_str()] {
        assert!(
            errors(&needed().with_options([("topic-admin-events", illegal)]))
                .contains("expected a topic name"),
            "{illegal}"
        );
    }
}

#[test]
fn properties_pass_through_from_every_source_and_choose_before_keyferry() {
    let file = "[destination.librdkafka]\nsocket.keepalive.enable = false\n\"client.rack\" = \"a\"\n";
    let sources = needed()
        .with_file_text(Path::new("k.toml"), file)
        .with_environment([("KEYFERRY_DESTINATION_LIBRDKAFKA_BROKER_ADDRESS_FAMILY", "v4")])
        .with_options([("librdkafka-client-rack", "b")]);
    let properties = properties(&sources);
    assert_eq!(properties["socket.keepalive.enable"], "false");
    assert_eq!(properties["broker.address.family"], "v4");
    assert_eq!(properties["client.rack"], "b");
}

#[test]
fn the_largest_record_fits_the_buffer() {
    let sources = needed().with_options([("buffer-memory", "1048576"), ("max-request-size", "8388608")]);
    assert_eq!(properties(&sources)["queue.buffering.max.kbytes"], "8192");
}

#[test]
fn units_are_read_and_written_alike() {
    for (text, bytes) in
        [("1B", 1), ("64KiB", 65_536), ("32MiB", 33_554_432), ("1GiB", 1_073_741_824), ("1500B", 1_500)]
    {
        let size = keyferry_config::ByteSize::bytes(bytes);
        assert_eq!(keyferry_config::ByteSize::parse(text), Some(size));
        assert_eq!(size.to_string(), text);
    }
    for (text, millis) in [
        ("0ms", 0),
        ("10ms", 10),
        ("1500ms", 1_500),
        ("30s", 30_000),
        ("2m", 120_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
    ] {
        let duration = std::time::Duration::from_millis(millis);
        assert_eq!(keyferry_config::units::parse_duration(text), Some(duration));
        assert_eq!(keyferry_config::units::format_duration(duration), text);
    }
    for illegal in
        ["", "10", "ms", "-1ms", "1.5s", "1 week", "99999999999999999999s", "18446744073709551615d"]
    {
        assert_eq!(keyferry_config::units::parse_duration(illegal), None, "{illegal}");
    }
}

#[test]
fn every_setting_that_refuses_a_value_names_itself_its_origin_and_its_expectation() {
    let nonsense = "?\u{2603} [";
    let mut refused = 0;
    for setting in SETTINGS {
        let table = setting.key.rsplit_once('.').map_or(String::new(), |(table, _)| format!("[{table}]\n"));
        let name = setting.key.rsplit('.').next().unwrap_or(setting.key);
        let file = format!("{table}{name} = '{nonsense}'");
        let line = if table.is_empty() { 1 } else { 2 };
        let option = setting.option.unwrap_or(setting.key);
        let cases = [
            (
                Sources::new().with_file_text(Path::new("k.toml"), file),
                setting.key,
                format!("k.toml, line {line}"),
            ),
            (
                Sources::new().with_environment([(setting.variable(), nonsense.to_owned())]),
                option,
                setting.variable(),
            ),
            (
                Sources::new().with_options([(option, nonsense)]),
                option,
                "Keycloak's configuration".to_owned(),
            ),
        ];
        for (sources, name, origin) in cases {
            if let Err(errors) = load(&sources) {
                let message = errors.to_string();
                assert!(message.starts_with(&format!("option `{name}` (from {origin}): ")), "{message}");
                assert_eq!(message.contains(nonsense), !setting.secret, "{message}");
                refused += 1;
            }
        }
    }
    assert!(refused > 60, "only {refused} values were refused");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(file in ".{0,80}", option in 0..SETTINGS.len(), value in any::<String>(), name in any::<String>()) {
        let option = SETTINGS[option].option.unwrap_or("node");
        let sources = Sources::new()
            .with_file_text(Path::new("k.toml"), file)
            .with_environment([("KAFKA_SASL_JAAS_CONFIG", value.as_str())])
            .with_options([(option, value.as_str()), (name.as_str(), "x"), ("security-protocol", "SASL_SSL")]);
        if let Err(errors) = load(&sources) {
            prop_assert!(!errors.errors().is_empty());
        }
    }
}

#[test]
fn how_topics_are_created_and_how_many_connections_there_may_be_is_configured() {
    let options = [
        ("topics-create", "true"),
        ("topics-partitions", "12"),
        ("topics-replication", "3"),
        ("topics-config", "retention.ms=1209600000; min.insync.replicas = 2"),
        ("topics-outage-budget", "7d"),
        ("pool-min-connections", "2"),
        ("pool-max-connections", "6"),
    ];
    let destination = complete(&needed().with_options(options));
    let topics = &destination.topics;
    assert_eq!((topics.create, topics.partitions, topics.replication), (true, Some(12), Some(3)));
    let entries: Vec<_> = topics.config.entries().collect();
    assert_eq!(entries, [("min.insync.replicas", "2"), ("retention.ms", "1209600000")]);
    assert_eq!(topics.outage_budget.as_secs(), 7 * 86_400);
    assert_eq!((destination.pool.min_connections, destination.pool.max_connections), (2, 6));
    let unchanged = complete(&needed());
    assert!(!unchanged.topics.create && unchanged.topics.outage_budget.is_zero());
}

#[test]
fn what_others_reach_is_encrypted_and_takes_a_token_or_says_that_something_else_encrypts_it() {
    let file = |text: &str| needed().with_file_text(Path::new("keyferry.toml"), format!("[api]\n{text}"));
    let token = "token = \"0123456789abcdef\"";
    let tls = "tls.certificate = \"c.pem\"\ntls.key = \"k.pem\"";
    for address in ["127.0.0.1:9470", "127.1.2.3:1", "[::1]:9470"] {
        let loaded = load(&file(&format!("listen = \"{address}\""))).unwrap();
        assert_eq!(loaded.config.api.listen, Some(address.parse().unwrap()));
    }
    assert_eq!(load(&file("listen = \"off\"")).unwrap().config.api.listen, None);
    for (address, more) in [
        ("0.0.0.0:9470", tls.to_owned() + "\n" + token),
        ("[::]:9470", "plain_text = \"anywhere\"\n".to_owned() + token),
        ("10.1.2.3:9470", tls.to_owned() + "\ntokens.viewer = [\"grafana=${env:G}\"]"),
        ("10.1.2.3:9470", tls.to_owned() + "\noidc.issuer = \"https://k/realms/r\""),
    ] {
        let loaded = load(&file(&format!("listen = \"{address}\"\n{more}")));
        assert_eq!(loaded.unwrap().config.api.listen, Some(address.parse().unwrap()), "{more}");
    }
    for (text, key, remedy) in [
        (
            format!("listen = \"0.0.0.0:9470\"\n{token}"),
            "api.listen",
            "`api.tls.certificate` and `api.tls.key`",
        ),
        (format!("listen = \"0.0.0.0:9470\"\n{token}"), "api.listen", "`127.0.0.1:9470`"),
        (format!("listen = \"0.0.0.0:9470\"\n{token}"), "api.listen", "`api.plain_text = \"anywhere\"`"),
        (format!("listen = \"[::]:9470\"\n{tls}"), "api.listen", "`api.oidc.issuer`"),
        ("listen = \"[::]:9470\"\nplain_text = \"anywhere\"".to_owned(), "api.listen", "`api.tokens.viewer"),
        ("listen = \"localhost:9470\"".to_owned(), "api.listen", "IP address"),
        ("tls.certificate = \"c.pem\"".to_owned(), "api.tls.certificate", "`api.tls.key`"),
        ("tls.key = \"k.pem\"".to_owned(), "api.tls.key", "`api.tls.certificate`"),
        ("oidc.issuer = \"http://k.example.org/realms/r\"".to_owned(), "api.oidc.issuer", "`https://`"),
        ("origins = [\"keyferry.example.org\"]".to_owned(), "api.origins", "`https://keyferry.example.org`"),
        ("origins = [\"https://keyferry.example.org/\"]".to_owned(), "api.origins", "nothing behind it"),
    ] {
        let refused = errors(&file(&text));
        assert!(refused.contains(key) && refused.contains(remedy), "{text}: {refused}");
    }
    for issuer in ["http://localhost:8080/realms/r", "http://[::1]/realms/r", "http://127.0.0.1/realms/r"] {
        let loaded = load(&file(&format!("oidc.issuer = \"{issuer}\""))).unwrap();
        assert_eq!(loaded.config.api.oidc.unwrap().issuer, issuer);
    }
}

#[test]
fn tokens_have_names_of_their_own_and_are_resolved_when_they_are_needed() {
    let file =
        |text: &str| needed().with_file_text(Path::new("keyferry.toml"), format!("[api.tokens]\n{text}"));
    let loaded = load(&file(
        "viewer = [\"a=${file:/does/not/exist}\", \"b=0123456789abcdef\"]\nadmin = \"c=${env:C}\"",
    ));
    let Loaded { config, .. } = loaded.unwrap();
    let viewers: Vec<_> =
        config.api.tokens.viewer.iter().map(|token| (token.name.as_str(), token.value.expose())).collect();
    assert_eq!(viewers, [("a", "${file:/does/not/exist}"), ("b", "0123456789abcdef")]);
    assert_eq!(config.api.tokens.admin[0].value.expose(), "${env:C}");
    assert!(config.destinations[0].complete().is_some(), "no event waits for a token");
    for wrong in ["0123456789abcdef", "a=hunter2", "=0123456789abcdef", "a b=0123456789abcdef"] {
        let refused = errors(&file(&format!("operator = [\"{wrong}\"]")));
        assert!(refused.contains("`api.tokens.operator`") && refused.contains("`name=token`"), "{refused}");
        assert!(!refused.contains("hunter2") && !refused.contains("0123456789abcdef"), "{refused}");
    }
    for twice in [
        "viewer = \"a=${env:A}, a=${env:B}\"",
        "viewer = \"a=${env:A}\"\nadmin = \"a=${env:B}\"",
        "operator = \"api.token=${env:A}\"\n[api]\ntoken = \"${env:B}\"",
    ] {
        let refused = errors(&file(twice));
        assert!(refused.contains("api.tokens.") && refused.contains("two tokens"), "{twice}: {refused}");
    }
    let short = errors(&with_variable("KEYFERRY_API_TOKEN", "hunter2"));
    assert!(short.contains("at least 16 characters") && !short.contains("hunter2"), "{short}");
}

#[test]
fn filters_templates_and_rules_are_read_and_wrong_ones_named() {
    let file = |text: &str| needed().with_file_text(Path::new("keyferry.toml"), text);
    let text = r#"
        [destination.filter]
        include = ["realm = shop, staff-*", "type = LOGIN"]
        expression = 'details.username ~ "adm*"'
        [destination.routing]
        topic = "keycloak.{realmName}.{kind}"
        [destination.redaction]
        fields = ["details.username = hash", "ipAddress = truncate-ip"]
        hash_key = "0123456789abcdef"
    "#;
    let content = complete(&file(text)).content;
    assert_eq!(content.filter.include, "realm = shop, staff-*,type = LOGIN".parse().unwrap_or_default());
    assert_eq!(warnings(&file(text)), Vec::<String>::new());
    let shown = serde_json::to_string(&content).unwrap_or_default();
    assert!(shown.contains("keycloak.{realmName}.{kind}") && !shown.contains("0123456789abcdef"), "{shown}");
    for (option, value, expected) in [
        ("filter-include", "LOGIN", "`LOGIN` belongs to none"),
        ("filter-expression", "type == LOGIN", "at character 9: a text between quotes"),
        ("topic-template", "k/{realmName}", "letters, digits"),
        ("key-template", "{user}", "fields `{kind}`"),
        ("redaction-fields", "userId = hide", "one of the actions `keep`"),
        ("redaction-hash-key", "short-and-secret", "accepted"),
        ("redaction-hash-key", "short", "a key of at least 16 bytes"),
        ("redaction-preset", "gdpr-pseudonymous", "`destination.redaction.hash_key` is not set"),
        ("redaction-fields", "userId = hash", "`destination.redaction.hash_key` is not set"),
    ] {
        let text = errors(&needed().with_options([(option, value)]));
        assert!(text.contains(expected), "{option}={value}: {text}");
        assert!(text == "accepted" || !text.contains("short"), "{text}");
    }
}

#[test]
fn a_name_that_keycloak_does_not_know_is_warned_of_with_the_nearest() {
    let sources = needed().with_options([
        ("filter-exclude", "type = LOGINN, LOGOUT; resourceType = USERS"),
        ("filter-expression", "type == 'REFRESH_TOKENS'"),
    ]);
    let texts = warnings(&sources);
    let expected = [
        "option `filter-exclude` (from Keycloak's options) names `LOGINN`, which Keycloak 26.7 does not know, did you mean `LOGIN`?",
        "names `USERS`, which Keycloak 26.7 does not know, did you mean `USER`?",
        "names `REFRESH_TOKENS`, which Keycloak 26.7 does not know, did you mean `REFRESH_TOKEN`?",
    ];
    assert_eq!(texts.len(), expected.len(), "{texts:?}");
    for expected in expected {
        let end = expected.split_once("names").map_or("", |(_, end)| end);
        assert!(texts.iter().any(|text| text.ends_with(end)), "{expected}: {texts:?}");
    }
}

#[test]
fn a_format_that_needs_a_registry_has_one_or_is_refused_by_both_names() {
    let of = |options: &[(&str, &str)]| {
        let needed = [("bootstrap-servers", "kafka:9092"), ("topic-events", "events")];
        Sources::new().with_options(needed.iter().chain(options).copied())
    };
    for format in ["avro", "protobuf", "json-schema"] {
        let told = errors(&of(&[("format", format)]));
        assert!(told.contains("format") && told.contains("destination.registry.url"), "{told}");
        assert!(told.contains(&format!("`{format}` needs a schema registry")), "{told}");
        let registry =
            complete(&of(&[("format", format), ("registry-url", "http://a/x, https://b")])).registry;
        assert_eq!(registry.unwrap().url.urls(), ["http://a/x", "https://b"]);
    }
    assert_eq!(complete(&of(&[("format", "ocsf")])).registry, None);
    for (options, told) in [
        (&[("registry-url", "registry:8081")][..], "URLs that begin with"),
        (&[("registry-url", "http://u:p@registry")], "no credentials"),
        (&[("registry-url", " , ")], "URLs that begin with"),
        (
            &[
                ("registry-url", "http://r"),
                ("registry-username", "u"),
                ("registry-password", "p"),
                ("registry-token", "t"),
            ],
            "either those or the token",
        ),
        (&[("registry-url", "http://r"), ("registry-timeout", "1ms")], "100ms"),
        (&[("registry-url", "http://r"), ("registry-subject-name-strategy", "id")], "`topic-record`"),
    ] {
        let found = errors(&of(options));
        assert!(found.contains(told), "{options:?}: {found}");
        assert!(!found.contains("u:p"), "{found}");
    }
    for (given, lacking) in
        [("username", "destination.registry.password"), ("password", "destination.registry.username")]
    {
        let half = of(&[("registry-url", "http://r"), (&format!("registry-{given}"), "x")]);
        let Loaded { config, .. } = load(&half).unwrap_or_else(|errors| panic!("{errors}"));
        match &config.destinations[..] {
            [Readiness::Incomplete { missing, .. }] => assert_eq!(missing[0].key, lacking),
            other => panic!("{other:?}"),
        }
    }
    let secrets =
        of(&[("registry-url", "http://r"), ("registry-username", "u"), ("registry-password", "hidden")]);
    assert!(!format!("{:?}", complete(&secrets)).contains("hidden"));
}
