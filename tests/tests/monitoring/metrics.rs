//! One run of everything: events of all kinds are written, the agent ships them, two Prometheus scrape (one as text, one for native histograms), a receiver of OTLP is told, and what
//! each of them says is compared.
//!
//! The oracle is the writer, which knows what it has written, and Kafka, which knows how many records it has.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
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
use keyferry_tests::receiver::Receiver;
use keyferry_tests::{port, wait};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::Value;
use xtask::cache::Cache;
use xtask::{parts, workspace};

const SEGMENT: u64 = 256 * 1024;
const LIMIT: Duration = Duration::from_secs(60);
/// For how long events are written: some of the windows that the dashboard looks at.
const WRITING: Duration = Duration::from_secs(12);
/// Between two rounds of events.
const PAUSE: Duration = Duration::from_millis(40);
/// A round of which is rolled back.
const ROLLED_BACK: u64 = 10;
/// What the agent sends along with a push, kept in a file.
const TOKEN: &str = "t0ken=for-otlp";

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

pub fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The trace that the first event of a round belongs to.
fn trace(number: u64) -> String {
    format!("0af7651916cd43dd8448{number:012x}")
}

fn round(number: u64) -> EventEncoder {
    let mut events = EventEncoder::new();
    for (index, (kind, name, realm, client, error)) in ROUND.into_iter().enumerate() {
        let (id, user) = (format!("event-{number}-{index}"), format!("user-{}", number % 7));
        let parent =
            if index == 0 { format!("00-{}-b7ad6b7169203331-01", trace(number)) } else { String::new() };
        let fields = [
            (Field::Id, id.as_str()),
            (Field::Type, name),
            (Field::RealmName, realm),
            (Field::Client, client),
            (Field::UserId, user.as_str()),
            (Field::Error, error),
            (Field::TraceParent, parent.as_str()),
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
    let otlp_port = port::free().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, TOKEN).unwrap();
    let configuration = configuration
        + &format!(
            "[metrics.otlp]\nendpoint = \"http://127.0.0.1:{otlp_port}/v1/metrics\"\ninterval = \"1s\"\nheaders = \"X-Token=${{file:{}}}\"\n",
            token.display()
        );
    let executable = agent::under_test().unwrap();
    let mut agent = Agent::configured(&executable, directory.path(), &path, &configuration).unwrap();
    agent.start().unwrap();
    wait::until("the metrics", LIMIT, || Http::new().get(&format!("http://{target}/metrics")).ok())
        .map_err(|error| error.with_log(agent.log()))
        .unwrap();
    let prometheus = Prometheus::start(directory.path(), &target).unwrap();
    let native = Prometheus::native(directory.path(), &target).unwrap();
    tune_by_hand(&agent);

    let oracle = write(&mut writer);
    let all = oracle.count(|_| true);
    wait::until("the scrape of everything", LIMIT, || {
        (prometheus.sum("keyferry_events_published_total").ok()? >= all).then_some(())
    })
    .map_err(|error| error.with_log(agent.log()))
    .unwrap();

    counts_are_true(&prometheus, &oracle);
    native_histograms_are_the_classic_ones(&native, &prometheus, all);
    exemplars_name_traces(&prometheus, &native, &oracle);
    pushes_are_understood(&prometheus, &agent, otlp_port, all);
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
        ("keyferry_tuner_decisions_total{setting=\"linger\",direction=\"up\"}", 1.0),
        ("keyferry_tuner_decisions_total{setting=\"linger\",direction=\"down\"}", 0.0),
        ("keyferry_tuner_decisions_total{setting=\"batch-size\",direction=\"down\"}", 1.0),
    ] {
        assert!(!prometheus.query(expression).unwrap().is_empty(), "there is no {expression}");
        assert_eq!(prometheus.sum(expression).unwrap(), wanted, "{expression}");
    }
}

/// A decision of the tuner that does not depend on what flows.
fn tune_by_hand(agent: &Agent) {
    let mut command = Command::new(agent.executable());
    command.arg("tuner").arg(agent.slot()).args(["override", "--linger", "40ms", "--batch-size", "32KiB"]);
    // As soon as the destination is there.
    wait::until("the override", LIMIT, || command.output().ok()?.status.success().then_some(())).unwrap();
}

/// The same values in native buckets: as many, and as many up to a limit that both kinds have.
fn native_histograms_are_the_classic_ones(native: &Prometheus, classic: &Prometheus, all: f64) {
    const LATENCY: &str = "keyferry_event_latency_seconds";
    wait::until("the native scrape of everything", LIMIT, || {
        (native.sum(&format!("histogram_count({LATENCY})")).ok()? >= all).then_some(())
    })
    .unwrap();
    assert_eq!(native.scrape_errors().unwrap(), Vec::<String>::new());
    assert!(native.query(&format!("{LATENCY}_bucket")).unwrap().is_empty(), "it was not scraped as native");
    let sum = native.sum(&format!("histogram_sum({LATENCY})")).unwrap();
    assert_eq!(sum, classic.sum(&format!("{LATENCY}_sum")).unwrap());
    for limit in ["0.25", "0.5", "1.0"] {
        let part = native.sum(&format!("histogram_fraction(0, {limit}, {LATENCY})")).unwrap();
        let wanted = classic.sum(&format!("{LATENCY}_bucket{{le=\"{limit}\"}}")).unwrap();
        assert!((part * all - wanted).abs() < 1e-6, "{} up to {limit}, not {wanted}", part * all);
    }
    let median = native.sum(&format!("histogram_quantile(0.5, {LATENCY})")).unwrap();
    let p99 = native.sum(&format!("histogram_quantile(0.99, {LATENCY})")).unwrap();
    assert!(0.0 < median && median <= p99, "{median} and {p99}");
    println!("latency by native histograms: median {:.1} ms, p99 {:.1} ms", median * 1e3, p99 * 1e3);
}

/// Whichever way it was scraped: each is of the trace of an event that was written, with its latency.
fn exemplars_name_traces(text: &Prometheus, native: &Prometheus, oracle: &Oracle) {
    let last = oracle.rounds * ROLLED_BACK / (ROLLED_BACK - 1) + 1;
    let committed = |number: &u64| !number.is_multiple_of(ROLLED_BACK);
    for (prometheus, series) in
        [(text, "keyferry_event_latency_seconds_bucket"), (native, "keyferry_event_latency_seconds")]
    {
        let exemplars = wait::until("exemplars", LIMIT, || {
            let found = prometheus.exemplars(series, now_ms() / 1_000, 120).ok()?;
            (!found.is_empty()).then_some(found)
        })
        .unwrap();
        for (id, seconds) in &exemplars {
            let written = (1..=last).filter(committed).any(|number| trace(number) == *id);
            assert!(written, "nobody committed the trace {id}");
            assert!((0.0..120.0).contains(seconds), "{id}: {seconds} s");
        }
        println!("{} exemplars of {series}", exemplars.len());
    }
}

/// A receiver that is not there is told once and counted; as soon as it is there it has everything.
fn pushes_are_understood(prometheus: &Prometheus, agent: &Agent, port: u16, all: f64) {
    let failed = "keyferry_otlp_pushes_total{outcome=\"failed\"}";
    assert!(prometheus.sum(failed).unwrap() >= 2.0, "nobody could push yet");
    let receiver = Receiver::http_at(port).unwrap();
    let push = receiver.wait_for("a push", LIMIT, |_| true).unwrap();
    assert!(push.head[0].starts_with("post /v1/metrics "), "{:?}", push.head);
    assert_eq!(push.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(push.header("x-token"), Some(TOKEN));
    wait::until("the count of pushes", LIMIT, || {
        (prometheus.sum("keyferry_otlp_pushes_total{outcome=\"accepted\"}").ok()? >= 1.0).then_some(())
    })
    .unwrap();
    let log = fs::read_to_string(agent.log()).unwrap();
    assert_eq!(log.matches("cannot push metrics").count(), 1, "{log}");
    assert_eq!(log.matches("are pushed to").count(), 1, "{log}");
    assert!(!log.contains(TOKEN));

    let request = decoded(&push.bytes);
    let resource = &request["resourceMetrics"][0];
    let attributes = resource["resource"]["attributes"].to_string();
    assert!(attributes.contains("service.instance.id") && attributes.contains("keyferry"), "{attributes}");
    let metrics = resource["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let metric = |name: &str| metrics.iter().find(|metric| metric["name"] == name).unwrap();
    let published = &metric("keyferry_events_published_total")["sum"];
    assert_eq!(published["aggregationTemporality"], "AGGREGATION_TEMPORALITY_CUMULATIVE");
    assert_eq!(published["isMonotonic"], true);
    let points = published["dataPoints"].as_array().unwrap();
    assert_eq!(points.iter().map(|point| point["asDouble"].as_f64().unwrap()).sum::<f64>(), all);
    let latency = metric("keyferry_event_latency_seconds");
    assert_eq!(latency["unit"], "s");
    let point = &latency["histogram"]["dataPoints"][0];
    let numbers = |name: &str| -> Vec<f64> {
        let texts = point[name].as_array().unwrap().iter();
        texts
            .map(|number| number.as_str().map_or_else(|| number.as_f64(), |text| text.parse().ok()).unwrap())
            .collect()
    };
    assert_eq!(numbers("bucketCounts").iter().sum::<f64>(), all);
    assert_eq!(numbers("bucketCounts").len(), numbers("explicitBounds").len() + 1);
    assert!(point["exemplars"][0]["traceId"].is_string(), "{point}");
    assert_eq!(metric("keyferry_build_info")["gauge"]["dataPoints"][0]["asDouble"], 1.0);
}

/// What OpenTelemetry's own messages make of a push.
fn decoded(push: &[u8]) -> Value {
    const SCRIPT: &str = "import sys
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
print(MessageToJson(ExportMetricsServiceRequest.FromString(sys.stdin.buffer.read())))";
    let packages = parts::opentelemetry(&Cache::from_environment().unwrap()).unwrap();
    let mut python = Command::new("python3")
        .args(["-c", SCRIPT])
        .env("PYTHONPATH", packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(push).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
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

/// Metrics of an expression that nothing here has: the device of this machine, its kernel's pressure, a certificate, a schema registry.
fn has_no_source(expression: &str, text: &str) -> bool {
    let optional = [
        "keyferry_journal_disk_read_bytes_total",
        "keyferry_journal_disk_written_bytes_total",
        "keyferry_journal_disk_busy_seconds_total",
        "keyferry_pressure_seconds_total",
        "keyferry_certificate_expiry_timestamp_seconds",
        "keyferry_registry_",
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
