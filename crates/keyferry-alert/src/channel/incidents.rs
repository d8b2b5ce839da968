//! Programs that keep incidents themselves: PagerDuty and Prometheus' Alertmanager.

use std::time::{Duration, UNIX_EPOCH};

use keyferry_config::Secret;
use serde_json::{Value, json};

use crate::notice::{Cause, Notice, Told};
use crate::rule::Severity;

/// How long an Alertmanager believes that an alert fires that it hears no more of: longer than the default repeat interval.
const BELIEVED_MS: u64 = 5 * 3_600_000;

/// An event of Events API v2: <https://developer.pagerduty.com/docs/send-alert-event>.
pub(super) fn pagerduty(notice: &Notice, routing_key: &Secret) -> Value {
    let action = if notice.is_resolved() { "resolve" } else { "trigger" };
    let severity = match notice.severity() {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
        Severity::Critical | Severity::Emergency => "critical",
    };
    let first = notice.alerts.first();
    let since = first.map_or(notice.at_ms, |alert| alert.since_ms);
    // PagerDuty takes 1,024 characters.
    let summary: String = notice.title().chars().take(1_024).collect();
    let links: Vec<Value> = notice
        .alerts
        .iter()
        .filter_map(|alert| alert.runbook.as_ref().filter(|runbook| runbook.starts_with("http")))
        .map(|runbook| json!({ "href": runbook, "text": "what to do" }))
        .collect();
    json!({
        "routing_key": routing_key.expose(),
        "event_action": action,
        "dedup_key": format!("keyferry-{}", notice.subject),
        "client": "Keyferry",
        "links": links,
        "payload": {
            "summary": summary,
            "severity": severity,
            "source": notice.group.get("destination").unwrap_or("keyferry"),
            "timestamp": rfc3339(since),
            "component": "keyferry",
            "group": notice.group.to_string(),
            "class": first.map_or("", |alert| alert.name.as_str()),
            "custom_details": { "text": notice.text() },
        },
    })
}

/// Alerts of API v2: <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>.
pub(super) fn alertmanager(notice: &Notice, now_ms: u64) -> Value {
    let alert = |told: &Told| {
        let ends = match (notice.cause, told.ended_ms) {
            (_, Some(ended)) => ended,
            (Cause::Test, None) => now_ms + 60_000,
            (Cause::Heartbeat, None) => now_ms + 300_000,
            (_, None) => now_ms + BELIEVED_MS,
        };
        let mut annotations = json!({ "summary": told.summary, "description": told.description });
        if let Some(runbook) = &told.runbook {
            annotations["runbook_url"] = json!(runbook);
        }
        json!({
            "labels": told.labels,
            "annotations": annotations,
            "startsAt": rfc3339(told.since_ms),
            "endsAt": rfc3339(ends),
        })
    };
    notice.alerts.iter().map(alert).collect()
}

fn rfc3339(ms: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}
