//! The Grafana dashboard.

use serde_json::{Value, json};

use super::promql::{SHIPMENT, quantile, rate, series, sum_by};
use super::rules::{self, LATE_RATIO};
use crate::metrics::catalog::*;
use crate::metrics::{Metric, Unit};

/// What the variables choose of a shipment's series, and of the machine's.
const OF_SHIPMENT: &str = r#"instance=~"$instance",destination=~"$destination""#;
const OF_REALM: &str = r#"instance=~"$instance",destination=~"$destination",realm=~"$realm""#;
const OF_INSTANCE: &str = r#"instance=~"$instance""#;
/// As long as Grafana thinks fit for the scrape interval and the width of the panel.
const RANGE: &str = "$__rate_interval";

/// A row of panels.
pub struct Section {
    /// Its title.
    pub title: &'static str,
    /// What is in it.
    pub panels: Vec<Panel>,
}

/// Figures over time.
pub struct Panel {
    /// Its title.
    pub title: &'static str,
    /// What to make of it.
    pub description: &'static str,
    /// What Grafana calls the unit.
    unit: &'static str,
    /// Expressions, each with the legend of its series.
    pub queries: Vec<(String, &'static str)>,
}

const EACH: &str = "{{instance}} {{slot}} → {{destination}}";

fn panel(title: &'static str, unit: &'static str, queries: impl Into<Vec<(String, &'static str)>>) -> Panel {
    Panel { title, description: "", unit, queries: queries.into() }
}

/// One metric as it is, described by its remedy.
fn gauge(title: &'static str, metric: &'static Metric, matchers: &str, legend: &'static str) -> Panel {
    let queries = vec![(series(metric, matchers), legend)];
    Panel { title, description: metric.remedy, unit: unit_of(metric), queries }
}

/// One counter as a rate, for each value of `by`, described by its remedy.
fn counter(
    title: &'static str,
    metric: &'static Metric,
    matchers: &str,
    by: &str,
    legend: &'static str,
) -> Panel {
    let unit = if metric.unit == Unit::Bytes { "Bps" } else { "cps" };
    let queries = vec![(sum_by(by, rate(metric, matchers, RANGE)), legend)];
    Panel { title, description: metric.remedy, unit, queries }
}

fn unit_of(metric: &Metric) -> &'static str {
    match metric.unit {
        Unit::None => "short",
        Unit::Seconds => "s",
        Unit::Bytes => "bytes",
        Unit::Ratio => "percentunit",
    }
}

/// All there is.
pub fn sections() -> Vec<Section> {
    vec![overview(), delivery(), kafka(), system(), security(), incidents()]
}

fn overview() -> Section {
    let by_destination = |metric| sum_by("destination", rate(metric, OF_SHIPMENT, RANGE));
    let late = format!("1 - {LATE_RATIO}5m{{{OF_SHIPMENT}}}");
    Section {
        title: "Overview",
        panels: vec![
            panel(
                "Events",
                "cps",
                [
                    (by_destination(&EVENTS_RECEIVED), "received → {{destination}}"),
                    (by_destination(&EVENTS_PUBLISHED), "published → {{destination}}"),
                ],
            ),
            panel("Delivered within 5 s", "percentunit", [(late, EACH)]),
            gauge("Oldest event not delivered", &BACKLOG_OLDEST, OF_SHIPMENT, EACH),
            gauge("Backlog", &BACKLOG_BYTES, OF_SHIPMENT, EACH),
            panel(
                "State",
                "short",
                [(
                    format!("{} == 1", series(&SHIPMENT_STATE, OF_SHIPMENT)),
                    "{{instance}} {{slot}} → {{destination}}: {{state}}",
                )],
            ),
            gauge("Backpressure", &BACKPRESSURE, OF_SHIPMENT, EACH),
            gauge("Version", &BUILD_INFO, OF_INSTANCE, "{{instance}} {{version}}"),
            gauge("Version of the configuration", &CONFIG_VERSION, OF_INSTANCE, "{{instance}}"),
        ],
    }
}

fn delivery() -> Section {
    let of = |part, metric| quantile(part, metric, OF_SHIPMENT, RANGE, "destination");
    let time_to_full = format!(
        "clamp_max({}, 604800) or 0 * {} + 604800",
        series(&TIME_TO_FULL, OF_SHIPMENT),
        series(&JOURNAL_ROOM, OF_SHIPMENT)
    );
    let losses = [
        (&EVENTS_DROPPED, "given up"),
        (&EVENTS_PASSED_OVER, "passed over"),
        (&EVENTS_MISSING, "not journaled"),
        (&DEAD_LETTERS, "dead letters"),
        (&GAP_RECORDS, "gap records"),
        (&DAMAGED_RANGES, "damaged ranges"),
        (&EVENTS_IN_DOUBT, "in doubt"),
    ];
    let losses = losses.map(|(metric, legend)| (sum_by("destination", series(metric, OF_SHIPMENT)), legend));
    Section {
        title: "Delivery",
        panels: vec![
            panel(
                "From commit to acknowledgement",
                "s",
                [
                    (of(0.5, &LATENCY), "50 % → {{destination}}"),
                    (of(0.95, &LATENCY), "95 % → {{destination}}"),
                    (of(0.99, &LATENCY), "99 % → {{destination}}"),
                ],
            ),
            panel(
                "Where the time goes (99 %)",
                "s",
                [
                    (of(0.99, &JOURNAL_WAIT), "journal → {{destination}}"),
                    (of(0.99, &ENCODING), "encoding → {{destination}}"),
                    (of(0.99, &DELIVERY), "client and broker → {{destination}}"),
                ],
            ),
            counter(
                "Failed records",
                &RECORDS_FAILED,
                OF_SHIPMENT,
                "destination, class",
                "{{class}} → {{destination}}",
            ),
            counter("Sent again", &EVENTS_RESENT, OF_SHIPMENT, "destination", "{{destination}}"),
            counter("Bytes", &SENT_BYTES, OF_SHIPMENT, "destination, kind", "{{kind}} → {{destination}}"),
            counter(
                "Wanted by no topic",
                &EVENTS_FILTERED,
                OF_SHIPMENT,
                "destination, kind",
                "{{kind}} → {{destination}}",
            ),
            counter(
                "By type",
                &EVENTS_RECEIVED,
                OF_REALM,
                "destination, kind, type",
                "{{kind}} {{type}} → {{destination}}",
            ),
            panel(
                "In flight",
                "short",
                [
                    (series(&IN_FLIGHT_RECORDS, OF_SHIPMENT), EACH),
                    (series(&QUEUE_RECORDS, OF_SHIPMENT), EACH),
                ],
            ),
            gauge("Growth of the backlog (bytes a second)", &BACKLOG_GROWTH, OF_SHIPMENT, EACH),
            gauge("Room in the journal", &JOURNAL_ROOM, OF_SHIPMENT, EACH),
            panel("Journal full in (a week at most)", "s", [(time_to_full, EACH)]),
            panel("Lost, in doubt and laid aside since the start", "short", losses),
            gauge("Held for an operator", &EVENTS_HELD, OF_SHIPMENT, EACH),
        ],
    }
}

fn kafka() -> Section {
    let broker = "{{destination}} {{broker}}";
    let by_broker = "destination, broker";
    let broker_rate = |metric| sum_by(by_broker, rate(metric, OF_SHIPMENT, RANGE));
    let times = "{{destination}} {{percentile}} %";
    Section {
        title: "Kafka",
        panels: vec![
            panel(
                "Circuit breaker",
                "short",
                [(
                    format!("{} == 1", series(&BREAKER_STATE, OF_SHIPMENT)),
                    "{{instance}} {{slot}} → {{destination}}: {{state}}",
                )],
            ),
            counter(
                "Part of the time in each state of the breaker",
                &BREAKER_SECONDS,
                OF_SHIPMENT,
                "destination, state",
                "{{destination}}: {{state}}",
            ),
            gauge("Brokers connected", &BROKER_UP, OF_SHIPMENT, broker),
            gauge(
                "Round trip by broker",
                &BROKER_ROUND_TRIP,
                OF_SHIPMENT,
                "{{destination}} {{broker}} {{percentile}} %",
            ),
            panel(
                "Round trip and queue",
                "s",
                [(series(&ROUND_TRIP, OF_SHIPMENT), times), (series(&QUEUE_TIME, OF_SHIPMENT), times)],
            ),
            gauge("Requests in flight by broker", &BROKER_IN_FLIGHT, OF_SHIPMENT, broker),
            panel(
                "Retries, time-outs, errors by broker",
                "cps",
                [
                    (broker_rate(&BROKER_RETRIES), "retries {{destination}} {{broker}}"),
                    (broker_rate(&BROKER_TIMEOUTS), "time-outs {{destination}} {{broker}}"),
                    (broker_rate(&BROKER_ERRORS), "errors {{destination}} {{broker}}"),
                ],
            ),
            counter("Bytes by broker, compressed", &BROKER_BYTES, OF_SHIPMENT, by_broker, broker),
            panel(
                "Connecting",
                "cps",
                [
                    (
                        sum_by("destination", rate(&CONNECTS, OF_SHIPMENT, RANGE)),
                        "attempts → {{destination}}",
                    ),
                    (sum_by("destination", rate(&DISCONNECTS, OF_SHIPMENT, RANGE)), "lost → {{destination}}"),
                ],
            ),
            gauge("Producers", &CONNECTIONS, OF_SHIPMENT, "{{destination}} {{state}}"),
            counter(
                "Replacements of producers",
                &POOL_SWAPS,
                OF_SHIPMENT,
                "destination, outcome",
                "{{destination}} {{outcome}}",
            ),
            panel(
                "Certificates expire in",
                "s",
                [(
                    format!("{} - time()", series(&CERTIFICATE_EXPIRY, OF_SHIPMENT)),
                    "{{destination}} {{certificate}}",
                )],
            ),
            gauge("Subjects that wait for the schema registry", &REGISTRY_WAITING, OF_SHIPMENT, EACH),
            counter(
                "Schema registry: failures",
                &REGISTRY_FAILURES,
                OF_SHIPMENT,
                "destination, class",
                "{{destination}} {{class}}",
            ),
            panel(
                "Schema registry: time to answer",
                "s",
                [(
                    format!(
                        "{} / {}",
                        sum_by("destination", rate(&REGISTRY_SECONDS, OF_SHIPMENT, RANGE)),
                        sum_by("destination", rate(&REGISTRY_REQUESTS, OF_SHIPMENT, RANGE))
                    ),
                    "{{destination}}",
                )],
            ),
            gauge("Throttled by quota", &THROTTLE, OF_SHIPMENT, EACH),
            gauge("How full batches are", &BATCH_FILL, OF_SHIPMENT, EACH),
            panel("Compression (bytes for each sent)", "short", [(series(&COMPRESSION, OF_SHIPMENT), EACH)]),
            gauge("Tuner: batch size", &TUNER_BATCH, OF_SHIPMENT, EACH),
            gauge("Tuner: linger", &TUNER_LINGER, OF_SHIPMENT, EACH),
            panel(
                "Tuner: decisions per second",
                "short",
                [(rate(&TUNER_DECISIONS, OF_SHIPMENT, RANGE), "{{destination}}: {{setting}} {{direction}}")],
            ),
            gauge(
                "Tuner: profile, pace, compression",
                &TUNER_INFO,
                OF_SHIPMENT,
                "{{destination}}: {{profile}}, {{pace}}, {{compression}}",
            ),
        ],
    }
}

fn system() -> Section {
    let process = "{{instance}} {{process}}";
    let rate_of = |metric| rate(metric, OF_INSTANCE, RANGE);
    let of_limit = |part: String, whole: &Metric| format!("{part} / {}", series(whole, OF_INSTANCE));
    let free = of_limit(series(&DISK_FREE, OF_INSTANCE), &DISK_SIZE);
    Section {
        title: "System",
        panels: vec![
            panel(
                "Processors used",
                "short",
                [(rate_of(&PROCESS_CPU), process), (series(&CPU_LIMIT, OF_INSTANCE), "{{instance}} limit")],
            ),
            gauge("Memory by process", &PROCESS_MEMORY, OF_INSTANCE, process),
            panel(
                "Memory of the control group or machine",
                "percentunit",
                [(of_limit(series(&MEMORY_USED, OF_INSTANCE), &MEMORY_LIMIT), "{{instance}}")],
            ),
            gauge("Open files", &PROCESS_FDS, OF_INSTANCE, process),
            gauge("Threads", &PROCESS_THREADS, OF_INSTANCE, process),
            panel("Disk of the journal: free", "percentunit", [(free, "{{instance}}")]),
            panel(
                "Disk of the journal: traffic",
                "Bps",
                [
                    (rate_of(&DISK_READ), "{{instance}} read"),
                    (rate_of(&DISK_WRITTEN), "{{instance}} written"),
                ],
            ),
            panel(
                "Pushes of metrics per second",
                "short",
                [(rate_of(&OTLP_PUSHES), "{{instance}} {{outcome}}")],
            ),
            panel("Disk of the journal: busy", "percentunit", [(rate_of(&DISK_BUSY), "{{instance}}")]),
            panel(
                "Pressure: part of the time in which work waited",
                "percentunit",
                [(rate_of(&PRESSURE), "{{instance}} {{resource}} {{share}}")],
            ),
        ],
    }
}

fn security() -> Section {
    let client = "{{realm}} {{client}} → {{destination}}";
    let by_client = "destination, realm, client";
    let failures = sum_by("destination, realm", rate(&LOGIN_FAILURES, OF_REALM, RANGE));
    let logins = sum_by("destination, realm", rate(&LOGINS, OF_REALM, RANGE));
    Section {
        title: "Security",
        panels: vec![
            counter("Logins", &LOGINS, OF_REALM, by_client, client),
            counter("Failed logins", &LOGIN_FAILURES, OF_REALM, by_client, client),
            counter(
                "Failed logins by error",
                &LOGIN_ERRORS,
                OF_REALM,
                "destination, realm, error",
                "{{realm}} {{error}} → {{destination}}",
            ),
            panel(
                "Part of logins that fail",
                "percentunit",
                [(format!("{failures} / ({failures} + {logins})"), "{{realm}} → {{destination}}")],
            ),
            counter("Registrations", &REGISTRATIONS, OF_REALM, by_client, client),
            counter("Lockouts", &LOCKOUTS, OF_REALM, by_client, client),
        ],
    }
}

fn incidents() -> Section {
    let firing = format!("ALERTS{{alertname=~\"{}.+\"}}", rules::PREFIX);
    Section {
        title: "Incidents",
        panels: vec![
            panel(
                "Alerts",
                "short",
                [(firing, "{{alertname}} {{severity}} {{alertstate}} {{instance}} {{destination}}")],
            ),
            panel(
                "Restarts of the agent in the last hour",
                "short",
                [(format!("changes({}[1h])", series(&START_TIME, OF_INSTANCE)), "{{instance}}")],
            ),
            counter(
                "Transitions of the breaker",
                &BREAKER_TRANSITIONS,
                OF_SHIPMENT,
                "destination, to",
                "{{destination}} {{to}}",
            ),
            counter(
                "Changes of the configuration",
                &CONFIG_CHANGES,
                OF_INSTANCE,
                "instance, outcome",
                "{{instance}} {{outcome}}",
            ),
            counter("Deliveries begun anew", &RESETS, OF_SHIPMENT, SHIPMENT, EACH),
            counter("Changes of the backpressure", &BACKPRESSURE_CHANGES, OF_SHIPMENT, SHIPMENT, EACH),
        ],
    }
}

/// The file that Grafana imports.
pub fn text() -> String {
    let mut panels = Vec::new();
    let mut place = Place::default();
    for Section { title, panels: of_section } in sections() {
        panels.push(json!({
            "type": "row", "title": title, "collapsed": false, "panels": [], "id": place.id(), "gridPos": place.row(),
        }));
        panels.extend(of_section.iter().map(|panel| time_series(panel, &mut place)));
    }
    let dashboard = json!({
        "title": "Keyferry",
        "uid": "keyferry",
        "tags": ["keyferry", "keycloak", "kafka"],
        "schemaVersion": 39,
        "editable": true,
        "refresh": "30s",
        "time": { "from": "now-3h", "to": "now" },
        "timezone": "browser",
        "templating": { "list": variables() },
        "annotations": { "list": annotations() },
        "panels": panels,
    });
    // A value of JSON is always text.
    serde_json::to_string_pretty(&dashboard).unwrap_or_default() + "\n"
}

const SOURCE: &str = "${datasource}";

fn time_series(panel: &Panel, place: &mut Place) -> Value {
    let targets: Vec<Value> = panel
        .queries
        .iter()
        .zip('A'..='Z')
        .map(|((expression, legend), id)| json!({ "refId": id.to_string(), "expr": expression, "legendFormat": legend }))
        .collect();
    json!({
        "type": "timeseries",
        "id": place.id(),
        "title": panel.title,
        "description": panel.description,
        "datasource": { "type": "prometheus", "uid": SOURCE },
        "gridPos": place.panel(),
        "fieldConfig": { "defaults": { "unit": panel.unit, "min": 0 }, "overrides": [] },
        "options": { "legend": { "displayMode": "list", "placement": "bottom" }, "tooltip": { "mode": "multi" } },
        "targets": targets,
    })
}

fn variables() -> Vec<Value> {
    let of_label = |label: &str, metric: &Metric, matchers: &str| {
        json!({
            "name": label,
            "label": label,
            "type": "query",
            "datasource": { "type": "prometheus", "uid": SOURCE },
            "query": format!("label_values({}, {label})", series(metric, matchers)),
            "refresh": 2,
            "includeAll": true,
            "allValue": ".*",
            "multi": true,
            "current": { "text": "All", "value": "$__all" },
        })
    };
    vec![
        json!({ "name": "datasource", "type": "datasource", "query": "prometheus", "current": {} }),
        of_label("instance", &BUILD_INFO, ""),
        of_label("destination", &SHIPMENT_STATE, OF_INSTANCE),
        of_label("realm", &EVENTS_RECEIVED, OF_SHIPMENT),
    ]
}

fn annotations() -> Vec<Value> {
    let annotation = |name: &str, expression: String, title: &str, colour: &str| {
        json!({
            "name": name,
            "datasource": { "type": "prometheus", "uid": SOURCE },
            "enable": true,
            "expr": expression,
            "titleFormat": title,
            "iconColor": colour,
            "step": "30s",
        })
    };
    let firing =
        format!("ALERTS{{alertstate=\"firing\",alertname=~\"{}.+\",severity!=\"none\"}}", rules::PREFIX);
    let restarts = format!("changes({}[2m]) > 0", series(&START_TIME, OF_INSTANCE));
    vec![
        annotation("Incidents", firing, "{{alertname}} {{instance}} {{destination}}", "red"),
        annotation("Restarts", restarts, "{{instance}} restarted", "blue"),
    ]
}

/// Where the next panel goes: three in a row of Grafana's 24 columns.
#[derive(Default)]
struct Place {
    id: u32,
    column: u32,
    line: u32,
}

const WIDTH: u32 = 8;
const HEIGHT: u32 = 8;
const COLUMNS: u32 = 24;

impl Place {
    fn id(&mut self) -> u32 {
        self.id += 1;
        self.id
    }

    fn row(&mut self) -> Value {
        if self.column > 0 {
            (self.column, self.line) = (0, self.line + HEIGHT);
        }
        let place = json!({ "x": 0, "y": self.line, "w": COLUMNS, "h": 1 });
        self.line += 1;
        place
    }

    fn panel(&mut self) -> Value {
        let place = json!({ "x": self.column, "y": self.line, "w": WIDTH, "h": HEIGHT });
        self.column += WIDTH;
        if self.column == COLUMNS {
            (self.column, self.line) = (0, self.line + HEIGHT);
        }
        place
    }
}
