//! The rules of Prometheus: what is recorded, and what alerts.
//!
//! The objective is that **99.9 % of events are acknowledged within 5 s of their commit**. It is watched by multi-window, multi-burn-rate alerts, after chapter 5 of
//! Google's [Site Reliability Workbook](https://sre.google/workbook/alerting-on-slos/): a long window says that enough of the budget is gone to matter, a short one that it still goes.
//! Latency is known of an event that is delivered only; that nothing is delivered at all is for the alerts on the oldest event and the circuit breaker.

use std::fmt::Write as _;

use super::promql::{SHIPMENT, increase, part_above, quantile, rate, series, sum_by};
use crate::metrics::catalog::*;

/// With what the name of every alert begins.
pub const PREFIX: &str = "Keyferry";
/// The recorded part of events that were late, but for its window.
pub const LATE_RATIO: &str = "keyferry:events_late:ratio_rate";
const RECEIVED: &str = "keyferry:events_received:rate5m";
const FAILED_RATIO: &str = "keyferry:records_failed:ratio_rate5m";
const LATENCY_P95: &str = "keyferry:event_latency_seconds:p95_5m";
const LATENCY_P99: &str = "keyferry:event_latency_seconds:p99_5m";

/// By when an event shall be acknowledged, in seconds: a limit of [`LATENCY`].
const OBJECTIVE_LATENCY: f64 = 5.0;
/// Which part of events may be later.
const BUDGET: f64 = 0.001;
const WINDOWS: [&str; 7] = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"];

/// A recorded expression.
pub struct Recording {
    /// Its name: level, metric, operation.
    pub record: String,
    /// What it is.
    pub expression: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody must act now.
    Critical,
    /// Somebody must act today.
    Warning,
    /// Worth knowing.
    Info,
    /// The alert that must always fire, so that its silence tells of a broken way.
    None,
}

impl Severity {
    /// As the label has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::None => "none",
        }
    }
}

/// An alert.
pub struct Alert {
    /// Its name.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// When it is so.
    pub expression: String,
    /// For how long it must be so.
    pub hold: &'static str,
    /// What it means, in one sentence.
    pub summary: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// What is recorded.
pub fn recordings() -> Vec<Recording> {
    let recording = |record: &str, expression| Recording { record: record.to_owned(), expression };
    let published = sum_by(SHIPMENT, rate(&EVENTS_PUBLISHED, "", "5m"));
    let failed = sum_by(SHIPMENT, rate(&RECORDS_FAILED, "", "5m"));
    let latency = |part| quantile(part, &LATENCY, "", "5m", SHIPMENT);
    let mut recordings = vec![
        recording(RECEIVED, sum_by(SHIPMENT, rate(&EVENTS_RECEIVED, "", "5m"))),
        recording("keyferry:events_published:rate5m", published.clone()),
        recording(FAILED_RATIO, format!("{failed} / ({failed} + ({published} or 0 * {failed}))")),
        recording("keyferry:event_latency_seconds:p50_5m", latency(0.5)),
        recording(LATENCY_P95, latency(0.95)),
        recording(LATENCY_P99, latency(0.99)),
    ];
    let late =
        |window| recording(&format!("{LATE_RATIO}{window}"), part_above(OBJECTIVE_LATENCY, &LATENCY, window));
    recordings.extend(WINDOWS.map(late));
    recordings
}

/// Where two windows burn the budget at more than `rate` times the sustainable rate.
fn burns(rate: f64, long: &str, short: &str) -> String {
    // Without the last digits of binary fractions.
    let limit = (rate * BUDGET * 1e6).round() / 1e6;
    format!("{LATE_RATIO}{long} > {limit} and {LATE_RATIO}{short} > {limit}")
}

/// What alerts, by subject.
pub fn alerts() -> Vec<Alert> {
    use Severity::{Critical, Info, None, Warning};
    let alert = |name, severity, expression: String, hold, summary, remedy| Alert {
        name,
        severity,
        expression,
        hold,
        summary,
        remedy,
    };
    let grown = |metric, range| format!("{} > 0", sum_by(SHIPMENT, increase(metric, "", range)));
    let agent_cpu = format!(
        "{} / on (instance) group_left () {}",
        rate(&PROCESS_CPU, "process=\"agent\"", "5m"),
        CPU_LIMIT.name
    );
    let memory = format!("{} / {}", MEMORY_USED.name, MEMORY_LIMIT.name);
    let disk = format!("1 - {} / {}", DISK_FREE.name, DISK_SIZE.name);
    let failures = sum_by("instance, slot, destination, realm", rate(&LOGIN_FAILURES, "", "1m"));
    let logins = sum_by("instance, slot, destination, realm", rate(&LOGINS, "", "1m"));
    vec![
        alert(
            "KeyferryWatchdog",
            None,
            "vector(1)".to_owned(),
            "0m",
            "Always fires: it shows that alerts arrive.",
            "Let a dead man's switch miss it.",
        ),
        alert(
            "KeyferryAbsent",
            Critical,
            format!("absent({})", BUILD_INFO.name),
            "5m",
            "Prometheus sees no agent at all.",
            "Is Keycloak running? Is `metrics.listen` set, and does Prometheus reach it?",
        ),
        alert(
            "KeyferryRestarts",
            Warning,
            format!("changes({}[15m]) > 2", START_TIME.name),
            "0m",
            "The agent has been restarted more than twice in a quarter of an hour.",
            "Look into Keycloak's log and the agent's for why it ends.",
        ),
        alert(
            "KeyferryWaiting",
            Warning,
            format!("{} == 1", WAITING.name),
            "5m",
            "The agent ships nothing: its configuration is refused, or another agent serves its slot.",
            "`keyferry status` says what it waits for.",
        ),
        alert(
            "KeyferryConfigurationNotInUse",
            Warning,
            format!("{} == 1", CONFIG_NOT_IN_USE.name),
            "5m",
            "What the configuration file says is not in use: it is broken, takes a restart, or was taken back.",
            "`keyferry config show` says why; docs/changes.md what to do.",
        ),
        alert(
            "KeyferryBudgetBurnsFast",
            Critical,
            burns(14.4, "1h", "5m"),
            "2m",
            "Events are late: in an hour 2 % of the month's budget for events later than 5 s is gone.",
            "See where the time goes: journal, client, or broker.",
        ),
        alert(
            "KeyferryBudgetBurns",
            Critical,
            burns(6.0, "6h", "30m"),
            "15m",
            "Events are late: in six hours 5 % of the month's budget is gone.",
            "As for KeyferryBudgetBurnsFast.",
        ),
        alert(
            "KeyferryBudgetBurnsSlowly",
            Warning,
            burns(3.0, "1d", "2h"),
            "1h",
            "Events are late: in a day 10 % of the month's budget is gone.",
            "As for KeyferryBudgetBurnsFast.",
        ),
        alert(
            "KeyferryBudgetLeaks",
            Warning,
            burns(1.0, "3d", "6h"),
            "3h",
            "Events are late: at this rate the month's budget will be gone.",
            "As for KeyferryBudgetBurnsFast.",
        ),
        alert(
            "KeyferryLatency",
            Warning,
            format!("{LATENCY_P95} > 0.5"),
            "5m",
            "One event in twenty takes more than half a second.",
            "See where the time goes: journal, client, or broker.",
        ),
        alert(
            "KeyferryLatencyHigh",
            Critical,
            format!("{LATENCY_P95} > 1"),
            "5m",
            "One event in twenty takes more than a second.",
            "As for KeyferryLatency.",
        ),
        alert(
            "KeyferryLatencyTail",
            Warning,
            format!("{LATENCY_P99} > 5"),
            "5m",
            "One event in a hundred takes more than 5 s.",
            "As for KeyferryLatency.",
        ),
        alert(
            "KeyferryErrors",
            Warning,
            format!("{FAILED_RATIO} > 0.01"),
            "2m",
            "More than 1 % of records fail. They are sent again.",
            "`keyferry_records_failed_total` says of which class: docs/errors.md.",
        ),
        alert(
            "KeyferryErrorsHigh",
            Critical,
            format!("{FAILED_RATIO} > 0.05"),
            "2m",
            "More than 5 % of records fail. They are sent again.",
            "As for KeyferryErrors.",
        ),
        alert(
            "KeyferryBreakerOpen",
            Critical,
            format!("{} == 1", series(&BREAKER_STATE, "state=\"open\"")),
            "1m",
            "The circuit breaker is open: nothing is sent, the journal keeps the events.",
            "`keyferry breaker` says why. Is Kafka up and within reach?",
        ),
        alert(
            "KeyferryRefused",
            Critical,
            format!(
                "{} == 1",
                series(&BREAKER_CAUSE, "cause=~\"authentication|authorisation|configuration\"")
            ),
            "10s",
            "Kafka refuses the agent's credentials, rights or settings.",
            "It does not pass by itself: docs/errors.md, docs/security.md.",
        ),
        alert(
            "KeyferrySchemaRegistry",
            Critical,
            format!("{} > 0", REGISTRY_WAITING.name),
            "1m",
            "The schema registry gives no id for a schema: nothing is sent, the journal keeps the events.",
            "`keyferry breaker` says why. Is the registry up, and does it take the schema? docs/schema-registry.md.",
        ),
        alert(
            "KeyferryBrokerDown",
            Warning,
            // Without attempts, nothing is wanted of it: an idle connection may be closed.
            format!(
                "{} == 0 and on ({SHIPMENT}) {} > 3",
                BROKER_UP.name,
                sum_by(SHIPMENT, increase(&CONNECTS, "", "2m"))
            ),
            "1m",
            "A broker cannot be connected to.",
            "Is the broker up, and its port within reach of Keycloak's host?",
        ),
        alert(
            "KeyferryReconnects",
            Warning,
            format!("{} > 20", sum_by(SHIPMENT, increase(&CONNECTS, "", "10m"))),
            "0m",
            "The agent connects to brokers again and again.",
            "A broker refuses the login, a load balancer closes connections, or the network is unstable.",
        ),
        alert(
            "KeyferryCertificateExpires",
            Warning,
            format!("{} - time() < 30 * 86400", CERTIFICATE_EXPIRY.name),
            "5m",
            "A certificate expires within thirty days.",
            "Put a new one in its place; a file is taken up without a restart.",
        ),
        alert(
            "KeyferryCertificateExpiresSoon",
            Critical,
            format!("{} - time() < 7 * 86400", CERTIFICATE_EXPIRY.name),
            "5m",
            "A certificate expires within seven days. Nothing can be delivered then.",
            "Put a new one in its place; a file is taken up without a restart.",
        ),
        alert(
            "KeyferryThrottled",
            Info,
            format!("{} > 0", THROTTLE.name),
            "5m",
            "A quota of the Kafka cluster slows the agent down.",
            "Have the quota raised.",
        ),
        alert(
            "KeyferryBackpressure",
            Warning,
            format!("{} == 2", BACKPRESSURE.name),
            "1m",
            "The destination lags far behind Keycloak.",
            "docs/outages.md.",
        ),
        alert(
            "KeyferryBackpressureCritical",
            Critical,
            format!("{} == 3", BACKPRESSURE.name),
            "0m",
            "The journal will soon be full. Events will be lost then.",
            "Mend Kafka, or give the journal room: docs/outages.md.",
        ),
        alert(
            "KeyferryBacklogGrows",
            Warning,
            format!("{} > 1000 and {} > 0", BACKLOG_EVENTS.name, BACKLOG_GROWTH.name),
            "2m",
            "More than a thousand events wait, and they become more.",
            "Kafka is away or too slow.",
        ),
        alert(
            "KeyferryOldEvent",
            Warning,
            format!("{} > 30", BACKLOG_OLDEST.name),
            "1m",
            "An event has waited for more than half a minute.",
            "Kafka is away or too slow: `keyferry status`.",
        ),
        alert(
            "KeyferryJournalFills",
            Warning,
            format!("{} < 4 * 3600", TIME_TO_FULL.name),
            "5m",
            "The journal will be full in less than four hours if this goes on.",
            "Mend Kafka, or give the journal room.",
        ),
        alert(
            "KeyferryDiskFills",
            Warning,
            format!("{disk} > 0.85"),
            "5m",
            "The file system of the journal is more than 85 % full.",
            "Make room: when it is full, events are lost.",
        ),
        alert(
            "KeyferryEventsMissing",
            Critical,
            grown(&EVENTS_MISSING, "10m"),
            "0m",
            "Keycloak could not journal events: they are lost.",
            "The disk is full or failing, or the journal at its ceiling. Gap records name how many.",
        ),
        alert(
            "KeyferryEventsDropped",
            Critical,
            grown(&EVENTS_DROPPED, "10m"),
            "0m",
            "The oldest events were given up at the ceiling of the journal.",
            "Give the journal more room, or mend Kafka sooner.",
        ),
        alert(
            "KeyferryGapRecord",
            Warning,
            grown(&GAP_RECORDS, "10m"),
            "0m",
            "Consumers were told that events are missing.",
            "The gap record names what and why.",
        ),
        alert(
            "KeyferryDamage",
            Critical,
            grown(&DAMAGED_RANGES, "10m"),
            "0m",
            "A part of the journal cannot be read.",
            "`keyferry journal check` names it. Check the disk.",
        ),
        alert(
            "KeyferryDeadLetters",
            Warning,
            grown(&DEAD_LETTERS, "10m"),
            "0m",
            "Records can never be delivered and were laid aside.",
            "`keyferry dead-letter ls` shows why.",
        ),
        alert(
            "KeyferryInDoubt",
            Info,
            grown(&EVENTS_IN_DOUBT, "10m"),
            "0m",
            "Keycloak died before it wrote the outcome of transactions; their events are in doubt.",
            "Consumers find them by `ce_outcome: unknown`.",
        ),
        alert(
            "KeyferryHeld",
            Warning,
            format!("{} > 0", EVENTS_HELD.name),
            "5m",
            "Events in doubt wait for an operator.",
            "`keyferry in-doubt ls`, then `publish` or `drop`.",
        ),
        alert(
            "KeyferryCpu",
            Warning,
            format!("{agent_cpu} > 0.8"),
            "10m",
            "The agent uses more than 80 % of the processors that it may use.",
            "A backlog is worked off, or it has too few.",
        ),
        alert(
            "KeyferryCpuHigh",
            Critical,
            format!("{agent_cpu} > 0.9"),
            "10m",
            "The agent uses more than 90 % of the processors that it may use.",
            "As for KeyferryCpu.",
        ),
        alert(
            "KeyferryMemory",
            Warning,
            format!("{memory} > 0.8"),
            "5m",
            "More than 80 % of the memory of the control group or machine is used.",
            "`keyferry_process_resident_memory_bytes` says by whom.",
        ),
        alert(
            "KeyferryMemoryHigh",
            Critical,
            format!("{memory} > 0.9"),
            "5m",
            "More than 90 % of the memory of the control group or machine is used.",
            "The kernel will kill the largest process, which is Keycloak.",
        ),
        alert(
            "KeyferryOpenFiles",
            Warning,
            format!("{} / {} > 0.8", PROCESS_FDS.name, PROCESS_MAX_FDS.name),
            "5m",
            "A process has used more than 80 % of its file descriptors.",
            "Raise its limit.",
        ),
        alert(
            "KeyferryVolumeDrop",
            Warning,
            format!(
                "sum by (instance, destination) ({RECEIVED}) < 0.2 * sum by (instance, destination) ({RECEIVED} offset 1d) and sum by (instance, destination) ({RECEIVED} offset 1d) > 0.1"
            ),
            "15m",
            "Far fewer events than at the same hour of yesterday.",
            "Does anybody reach Keycloak? Does the realm still send events to the listener?",
        ),
        alert(
            "KeyferryVolumeSpike",
            Warning,
            format!(
                "sum by (instance, destination) ({RECEIVED}) > 5 * sum by (instance, destination) ({RECEIVED} offset 1d) and sum by (instance, destination) ({RECEIVED}) > 1"
            ),
            "10m",
            "Far more events than at the same hour of yesterday.",
            "An attack, or a client that has run wild.",
        ),
        alert(
            "KeyferryLoginFailures",
            Warning,
            format!("{failures} > 1 and {failures} > 3 * ({logins} or 0 * {failures})"),
            "1m",
            "Logins fail in a burst, far more than succeed: somebody may be trying passwords.",
            "Look for the address in the events; switch on Keycloak's brute-force detection.",
        ),
        alert(
            "KeyferryLockouts",
            Info,
            format!("{} > 0", sum_by("instance, slot, destination, realm", increase(&LOCKOUTS, "", "10m"))),
            "0m",
            "Keycloak has locked users out after too many failed logins.",
            "Somebody tries passwords, or locks users out on purpose.",
        ),
    ]
}

/// Where an alert is described.
pub fn runbook(name: &str) -> String {
    format!("https://github.com/keyferry/keyferry/blob/main/docs/metrics.md#{}", name.to_ascii_lowercase())
}

/// The file that Prometheus loads.
pub fn text() -> String {
    let mut text = "# Generated from crates/keyferry-monitor by its test `generated`; run it with KEYFERRY_DOCS=write after a change.\ngroups:\n  - name: keyferry-recordings\n    rules:\n".to_owned();
    // Writing to a String cannot fail.
    for Recording { record, expression } in recordings() {
        let _ = write!(text, "      - record: {record}\n        expr: {}\n", quoted(&expression));
    }
    text.push_str("  - name: keyferry-alerts\n    rules:\n");
    for Alert { name, severity, expression, hold, summary, remedy } in alerts() {
        let _ = write!(
            text,
            "      - alert: {name}\n        expr: {}\n        for: {hold}\n        labels:\n          severity: {}\n        annotations:\n          summary: {}\n          description: {}\n          runbook_url: {}\n",
            quoted(&expression),
            severity.word(),
            quoted(summary),
            quoted(remedy),
            runbook(name),
        );
    }
    text
}

/// The alerts for `docs/metrics.md`.
pub(super) fn reference() -> String {
    let mut text = "\n## Alerts of Prometheus\n\n`monitoring/prometheus/keyferry.rules.yml` has these. The objective of those on the budget is that 99.9 % of events are acknowledged within 5 s of their commit.\n".to_owned();
    for Alert { name, severity, expression, hold, summary, remedy } in alerts() {
        let _ = write!(
            text,
            "\n### {name}\n\n{summary} {remedy}\n\n- Severity: {}\n- When: `{expression}`, for {hold}\n",
            severity.word()
        );
    }
    text
}

/// Text as YAML: JSON's quoting is YAML's.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
