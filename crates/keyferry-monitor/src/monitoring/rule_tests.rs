//! Tests of the alerts, run by `promtool test rules`: of each that it does not fire yet, that it fires, and, where it can end, that it ends.

use std::fmt::Write as _;

use super::rules::{Alert, Severity, alerts, quoted, runbook};
use crate::metrics::Metric;
use crate::metrics::catalog::*;

/// One alert put to the test. Times are in minutes, the interval of the series.
pub struct Trial {
    alert: &'static str,
    /// Series in PromQL's notation, each with its values in promtool's.
    series: Vec<(String, String)>,
    /// The labels with which it fires, beside its severity.
    labels: Vec<(&'static str, &'static str)>,
    not_yet: Option<u32>,
    fires: u32,
    ended: Option<u32>,
}

/// A trial that fires after so many minutes is one of hours.
const LONG: u32 = 120;

const SHIPMENT: &str = r#"instance="a",slot="slot-0",destination="near""#;
const OF_SHIPMENT: [(&str, &str); 3] = [("instance", "a"), ("slot", "slot-0"), ("destination", "near")];
const OF_INSTANCE: [(&str, &str); 1] = [("instance", "a")];

fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&OF_SHIPMENT[..], more].concat()
}

/// A series of `metric`, of the instance or shipment that tests are about.
fn series(metric: &Metric, labels: &str, values: impl Into<String>) -> (String, String) {
    let of = if metric.labels.starts_with(&["slot", "destination"]) { SHIPMENT } else { r#"instance="a""# };
    let separator = if labels.is_empty() { "" } else { "," };
    (format!("{}{{{of}{separator}{labels}}}", metric.name), values.into())
}

/// The histogram of latencies, of which `fast` take less than half a second each minute, and `slow` more than five.
fn latencies(minutes: u32, (fast, slow): (u32, u32), then: u32) -> Vec<(String, String)> {
    let until =
        |each: u32, after: u32| format!("0+{each}x{minutes} {}+{after}x{then}", each * minutes + after);
    let all = fast + slow;
    ["0.5", "1.0", "5.0", "10.0", "+Inf"]
        .map(|limit| {
            let each = if ["10.0", "+Inf"].contains(&limit) { all } else { fast };
            bucket(limit, until(each, all))
        })
        .into_iter()
        .chain([{
            let values = until(all, all);
            (format!("{}_count{{{SHIPMENT}}}", LATENCY.name), values)
        }])
        .collect()
}

fn bucket(limit: &str, values: String) -> (String, String) {
    (format!("{}_bucket{{{SHIPMENT},le=\"{limit}\"}}", LATENCY.name), values)
}

/// A level that is passed from minute 5 to 30.
fn level(
    alert: &'static str,
    metric: &Metric,
    labels: &str,
    (low, high): (&str, &str),
    of: Vec<(&'static str, &'static str)>,
    (not_yet, fires): (u32, u32),
) -> Trial {
    let values = format!("{low}x4 {high}x25 {low}x10");
    Trial {
        alert,
        series: vec![series(metric, labels, values)],
        labels: of,
        not_yet: Some(not_yet),
        fires,
        ended: Some(35),
    }
}

/// A counter that grows once, in minute 5, and is looked at over ten minutes.
fn grown(alert: &'static str, metric: &Metric, labels: &str) -> Trial {
    Trial {
        alert,
        series: vec![series(metric, labels, "0x4 3x30")],
        labels: OF_SHIPMENT.to_vec(),
        not_yet: Some(4),
        fires: 6,
        ended: Some(20),
    }
}

/// Every alert's.
pub fn trials() -> Vec<Trial> {
    let shipment = || OF_SHIPMENT.to_vec();
    let instance = || OF_INSTANCE.to_vec();
    let late = |alert, minutes, fires, ended, (fast, slow)| Trial {
        alert,
        series: latencies(minutes, (fast, slow), 400),
        labels: shipment(),
        not_yet: Some(1),
        fires,
        ended,
    };
    let realm = [("realm", "shop")];
    let failing =
        |low: u32, high: u32| format!("0+{low}x5 {}+{high}x20 {}x15", low * 5 + high, low * 5 + high * 21);
    let errors = |alert, failed: u32| Trial {
        alert,
        series: vec![
            series(&RECORDS_FAILED, "class=\"transient\"", failing(0, failed)),
            series(&EVENTS_PUBLISHED, "kind=\"user\",type=\"LOGIN\",realm=\"shop\"", "0+1000x60"),
        ],
        labels: shipment(),
        not_yet: Some(5),
        fires: 15,
        ended: Some(35),
    };
    let used = |alert, part: u32| Trial {
        alert,
        series: vec![
            series(&MEMORY_LIMIT, "", "100x60"),
            series(&MEMORY_USED, "", format!("50x4 {part}x25 50x20")),
        ],
        labels: instance(),
        not_yet: Some(8),
        fires: 15,
        ended: Some(35),
    };
    let processor = |alert, seconds: u32| Trial {
        alert,
        series: vec![
            series(&CPU_LIMIT, "", "1x100"),
            series(&PROCESS_CPU, "process=\"agent\"", failing(0, seconds)),
        ],
        labels: [&OF_INSTANCE[..], &[("process", "agent")]].concat(),
        not_yet: Some(9),
        fires: 24,
        ended: Some(40),
    };
    let volume = |alert, before: u32, now: u32| Trial {
        alert,
        series: vec![series(
            &EVENTS_RECEIVED,
            "kind=\"user\",type=\"LOGIN\",realm=\"shop\"",
            format!(
                "0+{before}x1440 {}+{now}x120 {}+{before}x60",
                before * 1440 + now,
                before * 1440 + now * 121
            ),
        )],
        labels: vec![("instance", "a"), ("destination", "near")],
        not_yet: Some(1445),
        fires: 1480,
        ended: Some(1600),
    };
    vec![
        Trial {
            alert: "KeyferryWatchdog",
            series: vec![series(&BUILD_INFO, "version=\"1\"", "1x10")],
            labels: vec![],
            not_yet: None,
            fires: 1,
            ended: None,
        },
        Trial {
            alert: "KeyferryAbsent",
            series: vec![series(&BUILD_INFO, "version=\"1\"", "1x4 stale _x20 1x10")],
            labels: vec![],
            not_yet: Some(8),
            fires: 15,
            ended: Some(30),
        },
        Trial {
            alert: "KeyferryRestarts",
            series: vec![series(&START_TIME, "", "1x4 2x2 3x2 4x40")],
            labels: instance(),
            not_yet: Some(8),
            fires: 12,
            ended: Some(40),
        },
        level("KeyferryWaiting", &WAITING, "", ("0", "1"), instance(), (8, 12)),
        level("KeyferryConfigurationNotInUse", &CONFIG_NOT_IN_USE, "", ("0", "1"), instance(), (8, 12)),
        late("KeyferryBudgetBurnsFast", 60, 62, Some(90), (900, 100)),
        late("KeyferryBudgetBurns", 360, 350, Some(480), (990, 10)),
        late("KeyferryBudgetBurnsSlowly", 1440, 1440, Some(1700), (995, 5)),
        late("KeyferryBudgetLeaks", 4320, 4320, Some(4710), (998, 2)),
        late("KeyferryLatency", 30, 20, Some(60), (900, 100)),
        late("KeyferryLatencyHigh", 30, 20, Some(60), (900, 100)),
        late("KeyferryLatencyTail", 30, 20, Some(60), (900, 100)),
        errors("KeyferryErrors", 20),
        errors("KeyferryErrorsHigh", 80),
        level(
            "KeyferryBreakerOpen",
            &BREAKER_STATE,
            "state=\"open\"",
            ("0", "1"),
            with(&[("state", "open")]),
            (5, 8),
        ),
        level(
            "KeyferryRefused",
            &BREAKER_CAUSE,
            "cause=\"authentication\"",
            ("0", "1"),
            with(&[("cause", "authentication")]),
            (4, 8),
        ),
        level("KeyferrySchemaRegistry", &REGISTRY_WAITING, "", ("0", "1"), shipment(), (5, 8)),
        // From minute 20 it is only idle.
        Trial {
            alert: "KeyferryBrokerDown",
            series: vec![
                series(&BROKER_UP, "broker=\"k:9092\"", "1x4 0x50"),
                series(&CONNECTS, "", "1x4 6+6x15 96x40"),
            ],
            labels: with(&[("broker", "k:9092")]),
            not_yet: Some(4),
            fires: 10,
            ended: Some(30),
        },
        Trial {
            alert: "KeyferryReconnects",
            series: vec![series(&CONNECTS, "", failing(0, 5))],
            labels: shipment(),
            not_yet: Some(8),
            fires: 16,
            ended: Some(38),
        },
        level(
            "KeyferryCertificateExpires",
            &CERTIFICATE_EXPIRY,
            "certificate=\"client\"",
            ("9000000", "2000000"),
            with(&[("certificate", "client")]),
            (8, 12),
        ),
        level(
            "KeyferryCertificateExpiresSoon",
            &CERTIFICATE_EXPIRY,
            "certificate=\"client\"",
            ("9000000", "500000"),
            with(&[("certificate", "client")]),
            (8, 12),
        ),
        level("KeyferryThrottled", &THROTTLE, "", ("0", "0.5"), shipment(), (8, 12)),
        level("KeyferryBackpressure", &BACKPRESSURE, "", ("0", "2"), shipment(), (5, 8)),
        level("KeyferryBackpressureCritical", &BACKPRESSURE, "", ("2", "3"), shipment(), (4, 6)),
        Trial {
            alert: "KeyferryBacklogGrows",
            series: vec![
                series(&BACKLOG_EVENTS, "", "10x4 2000x35"),
                series(&BACKLOG_GROWTH, "", "0x4 100x25 -100x10"),
            ],
            labels: shipment(),
            not_yet: Some(6),
            fires: 9,
            ended: Some(35),
        },
        level("KeyferryOldEvent", &BACKLOG_OLDEST, "", ("1", "60"), shipment(), (5, 8)),
        level("KeyferryJournalFills", &TIME_TO_FULL, "", ("90000", "3600"), shipment(), (8, 12)),
        Trial {
            alert: "KeyferryDiskFills",
            series: vec![series(&DISK_SIZE, "", "100x60"), series(&DISK_FREE, "", "50x4 10x25 50x20")],
            labels: instance(),
            not_yet: Some(8),
            fires: 15,
            ended: Some(35),
        },
        grown("KeyferryEventsMissing", &EVENTS_MISSING, ""),
        grown("KeyferryEventsDropped", &EVENTS_DROPPED, "kind=\"user\""),
        grown("KeyferryGapRecord", &GAP_RECORDS, ""),
        grown("KeyferryDamage", &DAMAGED_RANGES, ""),
        grown("KeyferryDeadLetters", &DEAD_LETTERS, "place=\"file\""),
        grown("KeyferryInDoubt", &EVENTS_IN_DOUBT, "fate=\"published\""),
        level("KeyferryHeld", &EVENTS_HELD, "", ("0", "2"), shipment(), (8, 12)),
        processor("KeyferryCpu", 51),
        processor("KeyferryCpuHigh", 57),
        used("KeyferryMemory", 85),
        used("KeyferryMemoryHigh", 95),
        Trial {
            alert: "KeyferryOpenFiles",
            series: vec![
                series(&PROCESS_MAX_FDS, "process=\"agent\"", "100x60"),
                series(&PROCESS_FDS, "process=\"agent\"", "50x4 90x25 50x20"),
            ],
            labels: [&OF_INSTANCE[..], &[("process", "agent")]].concat(),
            not_yet: Some(8),
            fires: 15,
            ended: Some(35),
        },
        volume("KeyferryVolumeDrop", 600, 1),
        volume("KeyferryVolumeSpike", 60, 6_000),
        Trial {
            alert: "KeyferryLoginFailures",
            series: vec![
                series(&LOGIN_FAILURES, "realm=\"shop\",client=\"web\"", failing(1, 600)),
                series(&LOGINS, "realm=\"shop\",client=\"web\"", "0+60x60"),
            ],
            labels: with(&realm),
            not_yet: Some(5),
            fires: 9,
            ended: Some(35),
        },
        Trial {
            labels: with(&realm),
            ..grown("KeyferryLockouts", &LOCKOUTS, "realm=\"shop\",client=\"web\"")
        },
    ]
}

/// The file that promtool runs: trials of minutes, or those of hours and days, for which all rules are evaluated less often.
pub fn text(of_days: bool) -> String {
    let interval = if of_days { "10m" } else { "1m" };
    let mut text = format!(
        "# Generated from crates/keyferry-monitor by its test `generated`; run it with KEYFERRY_DOCS=write after a change.\nrule_files:\n  - keyferry.rules.yml\nevaluation_interval: {interval}\ngroup_eval_order: [keyferry-recordings, keyferry-alerts]\ntests:\n"
    );
    let alerts = alerts();
    for trial in trials().into_iter().filter(|trial| (trial.fires > LONG) == of_days) {
        // Writing to a String cannot fail.
        let Some(alert) = alerts.iter().find(|alert| alert.name == trial.alert) else { continue };
        let _ = write!(text, "  - name: {}\n    interval: 1m\n    input_series:\n", alert.name);
        for (series, values) in &trial.series {
            let _ = write!(text, "      - series: {}\n        values: {}\n", quoted(series), quoted(values));
        }
        text.push_str("    alert_rule_test:\n");
        for (minute, fires) in [(trial.not_yet, false), (Some(trial.fires), true), (trial.ended, false)] {
            if let Some(minute) = minute {
                moment(&mut text, alert, &trial, minute, fires);
            }
        }
    }
    text
}

fn moment(text: &mut String, alert: &Alert, trial: &Trial, minute: u32, fires: bool) {
    let Alert { name, severity, summary, remedy, .. } = alert;
    let _ = write!(text, "      - eval_time: {minute}m\n        alertname: {name}\n");
    if !fires {
        text.push_str("        exp_alerts: []\n");
        return;
    }
    text.push_str("        exp_alerts:\n          - exp_labels:\n");
    for (label, value) in trial.labels.iter().copied().chain([("severity", Severity::word(*severity))]) {
        let _ = writeln!(text, "              {label}: {}", quoted(value));
    }
    let _ = write!(
        text,
        "            exp_annotations:\n              summary: {}\n              description: {}\n              runbook_url: {}\n",
        quoted(summary),
        quoted(remedy),
        runbook(name),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_is_put_to_the_test_once() {
        let named: Vec<&str> = alerts().iter().map(|alert| alert.name).collect();
        let tried: Vec<&str> = trials().iter().map(|trial| trial.alert).collect();
        assert_eq!(named, tried);
    }
}
