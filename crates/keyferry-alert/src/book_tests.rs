//! The file, and a quiet hour and an outage under the default rules.

use super::*;
use crate::AlertManager;
use crate::labels::Selector;
use crate::manager::Memory;
use crate::metric::Sample;

fn wrong(text: &str) -> String {
    Book::parse(text).unwrap_err().to_string()
}

#[test]
fn without_a_file_the_defaults_are_told_to_the_log() {
    let book = Book::of_defaults().unwrap();
    assert!(book.policy.rules.len() > 25, "{}", book.policy.rules.len());
    assert_eq!(book.policy.routes[0].channels, [LOG]);
    let names: BTreeSet<_> = book.policy.rules.iter().map(|rule| &rule.name).collect();
    assert_eq!(names.len(), book.policy.rules.len(), "two rules of one name");
    assert!(!book.incidents.playbooks.is_empty());
}

#[test]
fn every_default_rule_has_a_place_in_the_runbook() {
    let runbook = include_str!("../../../docs/alerts.md");
    for rule in default_rules().unwrap() {
        let (_, anchor) = rule.runbook.as_deref().unwrap().split_once('#').unwrap();
        assert!(
            runbook.contains(&format!("<a id=\"{anchor}\"></a>")),
            "{}: docs/alerts.md has no `{anchor}`",
            rule.name
        );
        assert!(runbook.contains(&format!("`{}`", rule.name)), "docs/alerts.md does not name {}", rule.name);
    }
}

#[test]
fn what_leads_nowhere_is_refused_with_what_there_is() {
    let channel = "[[channel]]\nname = 'ops'\nslack.url = 'x'\n";
    let no_channel = wrong(&format!("{channel}[[route]]\nchannels = ['oops']"));
    assert_eq!(no_channel, "route 1: there is no channel `oops`; there are: ops");
    assert!(
        wrong(&format!(
            "{channel}[[route]]\nchannels = ['ops']\nescalation = [{{ after = '1m', channels = ['boss'] }}]"
        ))
        .contains("`boss`")
    );
    assert!(
        wrong("[heartbeat]\nchannels = ['hc']\ninterval = '1m'")
            .starts_with("heartbeat: there is no channel `hc`")
    );
    assert!(
        wrong("[override.staging.Nonsense]\nabove = 1")
            .starts_with("override.staging: there is no rule `Nonsense`")
    );
    assert!(wrong(&format!("{channel}{channel}")).contains("two of this name"));
    assert!(wrong("unknown = 1").contains("unknown"));
}

#[test]
fn an_environment_moves_limits_and_only_its_own() {
    let text = "environment = 'staging'\n[override.staging.BreakerOpen]\nseverity = 'warning'\n[override.production.MemoryHigh]\nenabled = false";
    let book = Book::parse(text).unwrap();
    let rule = |name: &str| book.policy.rules.iter().find(|rule| rule.name == name).unwrap();
    assert_eq!(rule("BreakerOpen").severity, crate::rule::Severity::Warning);
    assert!(rule("MemoryHigh").enabled);
    assert_eq!(book.policy.labels.get("environment"), Some("staging"));
}

#[test]
fn a_rule_of_the_file_takes_the_place_of_the_default_one() {
    let rule = "[[rule]]\nname = 'MemoryHigh'\nseverity = 'info'\nsignal.value = { metric = 'm' }\nabove = 1\nsummary = 's'";
    let book = Book::parse(rule).unwrap();
    assert_eq!(book.policy.rules.len(), Book::of_defaults().unwrap().policy.rules.len());
    let only = Book::parse(&format!("default_rules = false\n{rule}")).unwrap();
    assert_eq!(only.policy.rules.len(), 1);
}

#[test]
fn an_action_that_cannot_be_done_is_refused_with_file_line_key_and_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alerts.toml");
    std::fs::write(&path, "labels = {}\nincidents.allow = ['fail_over']\n").unwrap();
    let inability = |name: &str| (name == "fail_over").then(|| "set `fallback_bootstrap_servers`".to_owned());
    let error = Book::read(&path, &inability).unwrap_err().to_string();
    let rest = ": line 2, incidents.allow: `fail_over` cannot be done: set `fallback_bootstrap_servers`";
    assert_eq!(error, format!("{}{rest}", path.display()));
    assert_eq!(Book::read(&path, &|_| None).unwrap().incidents.allow, ["fail_over"]);
    let playbook = "[[playbook]]\nname = 'p'\nactions = [{ action = 'fail_over' }]";
    assert!(wrong(playbook).contains("line 3, playbook `p`, `action`"), "{}", wrong(playbook));
    assert!(Book::parse("incidents.allow = ['reconnect']").is_ok(), "the default playbooks do not mind");
}

/// An agent under load, as the collector would see it.
struct Load {
    second: u64,
    events: f64,
    failed: f64,
    open: bool,
    backlog_s: f64,
}

impl Load {
    fn samples(&self) -> Vec<Sample> {
        let d = "destination=\"default\"";
        let latency = |le: &str, part: f64| {
            (format!("keyferry_event_latency_seconds_bucket{{{d},le=\"{le}\"}}"), self.events * part)
        };
        let state = |state: &str, is: bool| {
            (format!("keyferry_breaker_state{{{d},state=\"{state}\"}}"), f64::from(u8::from(is)))
        };
        let mut series = vec![
            latency("0.05", 0.9),
            latency("0.25", 0.999_9),
            latency("5.0", 1.0),
            latency("+Inf", 1.0),
            state("closed", !self.open),
            state("open", self.open),
            state("half-open", false),
        ];
        for (name, value) in [
            ("keyferry_event_latency_seconds_count", self.events),
            ("keyferry_events_published_total", self.events),
            ("keyferry_records_failed_total", self.failed),
            ("keyferry_events_missing_total", 0.0),
            ("keyferry_gap_records_total", 0.0),
            ("keyferry_backlog_events", self.backlog_s * 50.0),
            ("keyferry_backlog_oldest_seconds", self.backlog_s),
            ("keyferry_backpressure_level", 0.0),
            ("keyferry_kafka_connects_total", 3.0 + (self.second / 600) as f64),
            ("keyferry_kafka_disconnects_total", (self.second / 600) as f64),
            ("keyferry_login_failures_total", self.events * 0.01),
        ] {
            series.push((format!("{name}{{{d}}}"), value));
        }
        for (name, value) in [
            ("keyferry_memory_used_bytes", 5e8),
            ("keyferry_memory_limit_bytes", 1e9),
            ("keyferry_cpu_limit_cores", 2.0),
            ("keyferry_process_cpu_seconds_total{process=\"agent\"}", self.second as f64 * 0.2),
            ("keyferry_process_start_time_seconds{process=\"agent\"}", 1.7e9),
            ("keyferry_process_start_time_seconds{process=\"keycloak\"}", 1.7e9),
            ("keyferry_journal_disk_free_bytes", 6e10),
            ("keyferry_journal_disk_size_bytes", 1e11),
            ("keyferry_agent_waiting", 0.0),
            ("keyferry_config_file_not_in_use", 0.0),
        ] {
            series.push((name.to_owned(), value));
        }
        let sample = |(name, value): &(String, f64)| {
            let selector: Selector = name.parse().unwrap();
            Sample::new(&selector.metric, selector.labels(), *value)
        };
        series.iter().map(sample).collect()
    }
}

/// Plays so many seconds; what was told, and when.
fn play(seconds: u64, mut change: impl FnMut(&mut Load)) -> Vec<String> {
    let book = Book::of_defaults().unwrap();
    let mut manager = AlertManager::new(book.policy, Memory::default());
    let mut load = Load { second: 0, events: 0.0, failed: 0.0, open: false, backlog_s: 0.0 };
    let mut told = Vec::new();
    while load.second < seconds {
        load.second += 5;
        // Fifty events a second, a little more or less.
        load.events += if load.open { 0.0 } else { 250.0 + (load.second * 7 % 41) as f64 };
        load.backlog_s = if load.open { load.backlog_s + 5.0 } else { 0.0 };
        change(&mut load);
        let now = 1_700_000_000_000 + load.second * 1_000;
        manager.check_thresholds(now, &load.samples());
        for notice in manager.notices(now) {
            told.push(format!("{} {} {}", load.second, notice.cause.as_str(), notice.alerts[0].name));
        }
    }
    told
}

#[test]
fn a_quiet_hour_of_normal_load_tells_nobody_anything() {
    assert_eq!(play(2 * 3_600, |_| ()), Vec::<String>::new());
}

#[test]
fn an_outage_is_told_within_ten_seconds_and_only_its_cause() {
    let told = play(1_200, |load| load.open = (300..600).contains(&load.second));
    assert_eq!(told, ["305 firing BreakerOpen", "605 resolved BreakerOpen"]);
}

#[test]
fn a_rate_of_errors_is_told_by_how_bad_it_is() {
    let told =
        |per_look: f64| play(900, |load| load.failed += if load.second > 300 { per_look } else { 0.0 });
    assert!(told(1.0).is_empty(), "0.4 %");
    let high = told(8.0);
    assert!(high.len() == 1 && high[0].ends_with("firing ErrorRateHigh"), "{high:?}");
    let critical = told(40.0);
    assert!(critical.iter().any(|line| line.ends_with("firing ErrorRateCritical")), "{critical:?}");
}
