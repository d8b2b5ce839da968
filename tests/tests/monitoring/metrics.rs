//! One run of everything: events of all kinds are written, the agent ships them, Prometheus scrapes, and what each of them says is compared.
//!
//! The oracle is the writer, which knows what it has written, and Kafka, which knows how many records it has.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyferry_journal::event::{EventEncoder, Field};
use keyferry_journal::slot::OwnedSlot;
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{EventKind, Writer};
use keyferry_tests::agent::{self, Agent};
use keyferry_tests::http::Http;
use keyferry_tests::kafka::{self, Kafka};
use keyferry_tests::prometheus::{Prometheus, promtool};
use keyferry_tests::{port, wait};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::Value;
use xtask::workspace;

const SEGMENT: u64 = 256 * 1024;
const LIMIT: Duration = Duration::from_secs(60);
/// For how long events are written: some of the windows that the dashboard looks at.
const WRITING: Duration = Duration::from_secs(12);
/// Between two rounds of events.
const PAUSE: Duration = Duration::from_millis(40);
/// A round of which is rolled back.
const ROLLED_BACK: u64 = 10;

/// What is written in a round: kind, type or operation, realm, client, error.
const ROUND: [(EventKind, &str, &str, &str, &str); 9] = [
    (EventKind::User, "LOGIN", "shop", "web", ""),
    (EventKind::User, "LOGIN", "shop", "web", ""),
    (EventKind::User, "LOGIN", "staff", "intranet", ""),
    (EventKind::User, "LOGIN_ERROR", "shop", "web", "invalid_user_credentials"),
    (EventKind::User, "LOGIN_ERROR", "shop", "guess", "client_not_found"),
    (EventKind::User, "REGISTER", "shop", "web", ""),
    (EventKind::User, "USER_DISABLED_BY_TEMPORARY_LOCKOUT", "shop", "web", ""),
    (EventKind::Admin, "CREATE", "staff", "console", ""),
    (EventKind::User, "LOGOUT", "shop", "web", ""),
];

/// What the writer knows: how many events were committed, by what is said of them.
#[derive(Debug, Default, Clone, PartialEq)]
struct Oracle {
    rounds: u64,
}

impl Oracle {
    /// How many committed events satisfy `is_meant`.
    fn count(&self, is_meant: impl Fn(&(EventKind, &str, &str, &str, &str)) -> bool) -> f64 {
        (ROUND.iter().filter(|event| is_meant(event)).count() as u64 * self.rounds) as f64
    }
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn round(number: u64) -> EventEncoder {
    let mut events = EventEncoder::new();
    for (index, (kind, name, realm, client, error)) in ROUND.into_iter().enumerate() {
        let (id, user) = (format!("event-{number}-{index}"), format!("user-{}", number % 7));
        let fields = [
            (Field::Id, id.as_str()),
            (Field::Type, name),
            (Field::RealmName, realm),
            (Field::Client, client),
            (Field::UserId, user.as_str()),
            (Field::Error, error),
        ];
        let fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        events.push(kind, now_ms(), &fields, format!("{{\"id\":\"{id}\"}}").as_bytes());
    }
    events
}

/// Writes rounds, of which every tenth is rolled back.
fn write(writer: &mut Writer<OwnedSlot, fn() -> u64>) -> Oracle {
    let (begun, mut number, mut oracle) = (Instant::now(), 0, Oracle::default());
    while begun.elapsed() < WRITING {
        number += 1;
        let transaction = writer.next_transaction();
        writer.prepare(transaction, round(number).payload()).unwrap();
        if number % ROLLED_BACK == 0 {
            writer.abort(transaction).unwrap();
        } else {
            writer.commit(transaction).unwrap();
            oracle.rounds += 1;
        }
        thread::sleep(PAUSE);
    }
    oracle
}

/// How many records a topic has.
fn records(kafka: &Kafka, topic: &str) -> f64 {
    let servers = kafka.bootstrap_servers();
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    let partitions = 0..kafka::PARTITIONS;
    let count = |partition| {
        let (low, high) = consumer.fetch_watermarks(topic, partition, LIMIT).unwrap();
        high - low
    };
    partitions.map(count).sum::<i64>() as f64
}

/// The text of the metrics, as somebody gets it who does not ask for OpenMetrics.
fn exposed(target: &str) -> String {
    Http::new().get(&format!("http://{target}/metrics")).unwrap().success().unwrap().body
}

#[test]
fn what_is_counted_is_what_was_written_and_every_panel_shows_something() {
    let directory = tempfile::tempdir().unwrap();
    let kafka = kafka::shared().unwrap();
    let topics = ["metrics", "metrics-admin"].map(|purpose| {
        let topic = kafka::fresh_topic(purpose);
        kafka.create_topic(&topic, kafka::PARTITIONS).unwrap();
        topic
    });
    let slot = OwnedSlot::claim(&directory.path().join("journal")).unwrap();
    let (path, number) = (slot.path().to_owned(), slot.number());
    let options = WriterOptions { segment_size: SEGMENT, node: "written-here".to_owned() };
    let mut writer = Writer::begin(slot, number, now_ms as fn() -> u64, options).unwrap();
    let target = format!("127.0.0.1:{}", port::free().unwrap());
    let configuration = agent::destination(&kafka.bootstrap_servers(), [&topics[0], &topics[1]])
        + &format!("[metrics]\nlisten = \"{target}\"\n");
    let executable = agent::under_test().unwrap();
    let mut agent = Agent::configured(&executable, directory.path(), &path, &configuration).unwrap();
    agent.start().unwrap();
    wait::until("the metrics", LIMIT, || Http::new().get(&format!("http://{target}/metrics")).ok())
        .map_err(|error| error.with_log(agent.log()))
        .unwrap();
    let prometheus = Prometheus::start(directory.path(), &target).unwrap();

    let oracle = write(&mut writer);
    let all = oracle.count(|_| true);
    wait::until("the scrape of everything", LIMIT, || {
        (prometheus.sum("keyferry_events_published_total").ok()? >= all).then_some(())
    })
    .map_err(|error| error.with_log(agent.log()))
    .unwrap();

    counts_are_true(&prometheus, &oracle);
    let in_kafka = records(kafka, &topics[0]) + records(kafka, &topics[1]);
    assert_eq!(in_kafka, all, "Kafka has other records than were written");
    assert_eq!(prometheus.scrape_errors().unwrap(), Vec::<String>::new());
    let text = exposed(&target);
    promtool_is_content(&text);
    panels_show_something(&prometheus, &text);
    println!("{all} events, {} lines of metrics", text.lines().count());
}

fn counts_are_true(prometheus: &Prometheus, oracle: &Oracle) {
    let all = oracle.count(|_| true);
    let of_type = |wanted: &str| oracle.count(|(_, name, ..)| *name == wanted);
    let users = oracle.count(|(kind, ..)| *kind == EventKind::User);
    let shop_logins = oracle.count(|(_, name, realm, ..)| (*name, *realm) == ("LOGIN", "shop"));
    for (expression, wanted) in [
        ("keyferry_events_received_total", all),
        ("keyferry_events_published_total", all),
        ("keyferry_events_received_total{kind=\"user\"}", users),
        ("keyferry_events_published_total{kind=\"admin\",type=\"CREATE\",realm=\"staff\"}", all - users),
        ("keyferry_events_published_total{type=\"LOGIN\"}", of_type("LOGIN")),
        ("keyferry_events_published_total{type=\"LOGIN\",realm=\"shop\"}", shop_logins),
        ("keyferry_events_published_total{type=\"LOGOUT\"}", of_type("LOGOUT")),
        ("keyferry_logins_total{realm=\"shop\",client=\"web\"}", shop_logins),
        ("keyferry_login_failures_total", of_type("LOGIN_ERROR")),
        ("keyferry_login_failures_total{client=\"other\"}", of_type("LOGIN_ERROR") / 2.0),
        ("keyferry_login_errors_total{error=\"invalid_user_credentials\"}", of_type("LOGIN_ERROR") / 2.0),
        ("keyferry_registrations_total", of_type("REGISTER")),
        ("keyferry_lockouts_total", of_type("USER_DISABLED_BY_TEMPORARY_LOCKOUT")),
        ("keyferry_event_latency_seconds_count", all),
        ("keyferry_event_journal_wait_seconds_count", all),
        ("keyferry_event_delivery_seconds_count", all),
        ("keyferry_events_filtered_total", 0.0),
        ("keyferry_events_resent_total", 0.0),
        ("keyferry_records_failed_total", 0.0),
        ("keyferry_dead_letters_total", 0.0),
        ("keyferry_gap_records_total", 0.0),
        ("keyferry_events_missing_total", 0.0),
        ("keyferry_events_dropped_total", 0.0),
        ("keyferry_events_passed_over_total", 0.0),
        ("keyferry_events_in_doubt_total", 0.0),
        ("keyferry_journal_damaged_ranges_total", 0.0),
        ("keyferry_delivery_resets_total", 0.0),
        ("keyferry_build_info", 1.0),
        ("keyferry_breaker_state{state=\"closed\"}", 1.0),
    ] {
        assert!(!prometheus.query(expression).unwrap().is_empty(), "there is no {expression}");
        assert_eq!(prometheus.sum(expression).unwrap(), wanted, "{expression}");
    }
}

fn promtool_is_content(text: &str) {
    let mut command = promtool().unwrap();
    let mut tool = command
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

/// The panels of the dashboard: title and expressions.
fn panels(dashboard: &Path) -> Vec<(String, Vec<String>)> {
    let dashboard: Value = serde_json::from_slice(&fs::read(dashboard).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    panels
        .iter()
        .filter(|panel| panel["type"] == "timeseries")
        .map(|panel| {
            let targets = panel["targets"].as_array().unwrap();
            (text(&panel["title"]), targets.iter().map(|target| text(&target["expr"])).collect())
        })
        .collect()
}

/// What Grafana would put in the place of variables.
fn chosen(expression: &str) -> String {
    let variables =
        [("$instance", ".*"), ("$destination", ".*"), ("$realm", ".*"), ("$__rate_interval", "10s")];
    variables.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// Metrics of an expression that nothing here has: the device of this machine, its kernel's pressure, a certificate.
fn has_no_source(expression: &str, text: &str) -> bool {
    let optional = [
        "keyferry_journal_disk_read_bytes_total",
        "keyferry_journal_disk_written_bytes_total",
        "keyferry_journal_disk_busy_seconds_total",
        "keyferry_pressure_seconds_total",
        "keyferry_certificate_expiry_timestamp_seconds",
    ];
    optional.iter().any(|name| expression.contains(name) && !text.contains(name))
}

fn panels_show_something(prometheus: &Prometheus, text: &str) {
    let panels = panels(&workspace::root().join("monitoring/grafana/keyferry.json"));
    assert!(panels.len() > 50, "{} panels", panels.len());
    let seconds = WRITING.as_secs() + 10;
    let mut empty = BTreeMap::new();
    for (title, expressions) in panels {
        for expression in expressions {
            let series = prometheus.query_range(&chosen(&expression), now_ms() / 1_000, seconds).unwrap();
            let shows = series.iter().any(|series| series.values.iter().any(|value| value.is_finite()));
            if !shows && !has_no_source(&expression, text) {
                empty.insert(title.clone(), expression);
            }
        }
    }
    assert!(empty.is_empty(), "these show nothing: {empty:#?}");
}
