//! The AlertManager: from metrics to notices.
//!
//! The invariants:
//!
//! - **Nobody is told twice of the same thing** but by the repeat interval: what was told is remembered for each group, and survives a restart.
//! - **Whoever was told that something fires is told when it is over**, also when it has been silenced meanwhile.
//! - **What is quiet still counts**: silences, maintenance and inhibition keep notices back, never an alert.
//!
//! Pure: it is given the time and the metrics, and gives back what has changed and what is to be told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, AlertKey, Change, Flapping, Standing};
use crate::history::{History, Past};
use crate::labels::{ALERT_NAME, Labels, SEVERITY};
use crate::metric::MetricSource;
use crate::notice::{Cause, Notice, Told};
use crate::quiet::{Inhibition, Maintenance, Silence};
use crate::route::Route;
use crate::rule::{Rule, Severity};
use crate::signal::Values;
use crate::units::millis;

/// The subject of the dead man's switch.
pub const WATCHDOG: &str = "Watchdog";
/// How long what has ended is remembered, so that those who were told can be told.
const FORGET_MS: u64 = 3_600_000;
/// For how long after a start an alert of the time before is not taken to be over.
const REMEMBER_MS: u64 = 60_000;
/// How long a silence is shown after its end.
const FORGET_SILENCE_MS: u64 = 86_400_000;
/// Alerts of one rule: a rule that would give more tells of its worst.
const MOST_ALERTS: usize = 200;

/// What an [`AlertManager`] goes by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// When something is worth a person's attention.
    pub rules: Vec<Rule>,
    /// Who is told.
    pub routes: Vec<Route>,
    /// What explains what.
    pub inhibitions: Vec<Inhibition>,
    /// When work is expected to disturb.
    pub maintenance: Vec<Maintenance>,
    /// Labels of every alert, such as the cluster's name.
    pub labels: Labels,
    /// Who is told all the time that alerting works, and how often.
    pub heartbeat: Option<Heartbeat>,
    /// When an alert flaps.
    pub flapping: FlapPolicy,
}

/// The dead man's switch: whoever no longer hears of it knows that nobody would be told of anything.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Who is told.
    pub channels: Vec<String>,
    /// How often.
    #[serde(with = "crate::units::span")]
    pub interval: Duration,
}

/// When an alert flaps.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlapPolicy {
    /// So many beginnings…
    pub beginnings: usize,
    /// … in so long are too many.
    #[serde(with = "crate::units::span")]
    pub within: Duration,
    /// For so long it must be quiet.
    #[serde(with = "crate::units::span")]
    pub quiet: Duration,
}

impl Default for FlapPolicy {
    fn default() -> Self {
        Self { beginnings: 4, within: Duration::from_secs(1_800), quiet: Duration::from_secs(600) }
    }
}

impl FlapPolicy {
    fn limits(&self) -> Flapping {
        Flapping { beginnings: self.beginnings, within_ms: millis(self.within), quiet_ms: millis(self.quiet) }
    }
}

/// An alert that no rule has raised: somebody else has seen something.
#[derive(Clone, Debug, PartialEq)]
pub struct Raised {
    /// Its name, which no rule has.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// Its labels.
    pub labels: Labels,
    /// What it means.
    pub summary: String,
    /// The same at length.
    pub description: String,
}

/// Something that has happened to an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// What.
    pub change: Change,
    /// The alert, as it is now.
    pub alert: Alert,
    /// What keeps notices of it back, if something does.
    pub quiet: Option<String>,
}

/// What a group was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    route: usize,
    labels: Labels,
    begun_ms: u64,
    /// When it was told last; `None` if never.
    told_ms: Option<u64>,
    /// What was told to be firing.
    told: BTreeSet<AlertKey>,
    /// The steps of the ladder that were gone up.
    steps: usize,
    /// Somebody has asked for the next step.
    hurried: bool,
}

/// Counts since the manager began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Alerts that have begun to fire, by rule.
    pub fired: BTreeMap<String, u64>,
    /// By severity.
    pub fired_by_severity: BTreeMap<Severity, u64>,
    /// Alerts that are over.
    pub ended: u64,
    /// For how long those have fired, in milliseconds, all together.
    pub fired_for_ms: u64,
    /// Alerts that came and went.
    pub flapped: u64,
    /// Notices, by cause.
    pub notices: BTreeMap<String, u64>,
    /// Notices that a silence, maintenance or another alert kept back: looks at which an alert fired and was quiet.
    pub kept_back: u64,
}

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    alerts: Vec<Alert>,
    groups: Vec<Group>,
    silences: Vec<Silence>,
    next_silence: u64,
    heartbeat_ms: Option<u64>,
    statistics: Statistics,
    /// What today is compared with.
    #[serde(default)]
    past: Vec<Past>,
}

impl Memory {
    /// Whether more differs than numbers that may move at every look.
    fn tells_more_than(&self, other: &Self) -> bool {
        let Self { alerts, groups, silences, next_silence, heartbeat_ms, statistics: _, past } = self;
        !alerts.iter().map(still).eq(other.alerts.iter().map(still))
            || (groups, silences, next_silence, heartbeat_ms, past)
                != (&other.groups, &other.silences, &other.next_silence, &other.heartbeat_ms, &other.past)
    }
}

/// An alert without its number, the texts that hold it, and when its rule held last.
fn still(alert: &Alert) -> Alert {
    let standing = match alert.standing {
        Standing::Firing { since_ms, fired_ms, held_ms: _ } => {
            Standing::Firing { since_ms, fired_ms, held_ms: 0 }
        }
        standing => standing,
    };
    Alert { value: 0.0, summary: String::new(), description: String::new(), standing, ..alert.clone() }
}

/// What was written down last, and when.
///
/// The invariant: **what has happened is written at once, and a number that only moves once a minute**: each write is made durable, and while an alert stands its number moves at every look.
#[derive(Debug, Default)]
pub struct Kept(Option<(u64, Memory)>);

impl Kept {
    /// How old the numbers may be that are remembered, in milliseconds.
    const DRIFT_MS: u64 = 60_000;

    /// Whether `memory` is worth a write.
    #[must_use]
    pub fn is_due(&self, memory: &Memory, now_ms: u64) -> bool {
        let Some((at_ms, kept)) = &self.0 else { return true };
        now_ms >= at_ms + Self::DRIFT_MS || memory.tells_more_than(kept)
    }

    /// Takes note that it was written.
    pub fn written(&mut self, memory: Memory, now_ms: u64) {
        self.0 = Some((now_ms, memory));
    }
}

/// From metrics to notices. See the module.
#[derive(Debug)]
pub struct AlertManager {
    policy: Policy,
    history: History,
    alerts: BTreeMap<AlertKey, Alert>,
    groups: Vec<Group>,
    silences: Vec<Silence>,
    next_silence: u64,
    heartbeat_ms: Option<u64>,
    statistics: Statistics,
    /// When it looked first.
    begun_ms: Option<u64>,
}

impl AlertManager {
    /// One that goes by `policy`, and remembers what `memory` has.
    pub fn new(policy: Policy, memory: Memory) -> Self {
        let mut history = History::default();
        let enabled = policy.rules.iter().filter(|rule| rule.enabled);
        for (selector, span_ms) in enabled.flat_map(|rule| &rule.terms).flat_map(|term| term.signal.needs()) {
            history.keep(&selector.metric, span_ms);
        }
        history.remember(memory.past);
        let routes = policy.routes.len();
        let alerts = memory.alerts.into_iter().map(|alert| (alert.key.clone(), alert)).collect();
        Self {
            policy,
            history,
            alerts,
            // A route that is gone has nobody to tell.
            groups: memory.groups.into_iter().filter(|group| group.route < routes).collect(),
            silences: memory.silences,
            next_silence: memory.next_silence,
            heartbeat_ms: memory.heartbeat_ms,
            statistics: memory.statistics,
            begun_ms: None,
        }
    }

    /// What is to be remembered.
    pub fn memory(&self) -> Memory {
        Memory {
            alerts: self.alerts.values().cloned().collect(),
            groups: self.groups.clone(),
            silences: self.silences.clone(),
            next_silence: self.next_silence,
            heartbeat_ms: self.heartbeat_ms,
            statistics: self.statistics.clone(),
            past: self.history.past(),
        }
    }

    /// Looks at the metrics and holds them against the rules. What has changed.
    pub fn check_thresholds(&mut self, now_ms: u64, source: &dyn MetricSource) -> Vec<Transition> {
        let samples = source.samples(&|metric| self.history.wants(metric));
        self.history.take_in(samples, now_ms);
        self.begun_ms.get_or_insert(now_ms);
        let rules = std::mem::take(&mut self.policy.rules);
        let changes: Vec<_> = rules.iter().flat_map(|rule| self.check(rule, now_ms)).collect();
        let ended = self.end_of_no_rule(&rules, now_ms);
        self.policy.rules = rules;
        let changes: Vec<_> = changes.into_iter().chain(ended).collect();
        self.forget(now_ms);
        changes.into_iter().filter_map(|(key, change)| self.transition(&key, change, now_ms)).collect()
    }

    fn check(&mut self, rule: &Rule, now_ms: u64) -> Vec<(AlertKey, Change)> {
        if !rule.enabled {
            return Vec::new();
        }
        let limits = self.policy.flapping.limits();
        let values: Vec<Values> = rule.terms.iter().map(|term| term.signal.values(&self.history)).collect();
        let mut holding = BTreeSet::new();
        let mut changes = Vec::new();
        for (labels, value) in &values[0] {
            let key = AlertKey::new(&rule.name, labels.clone());
            let active = self.alerts.get(&key).is_some_and(Alert::is_active);
            let first = rule.terms[0].condition.holds(*value, active);
            let mut others = rule.terms.iter().zip(&values).skip(1);
            let all_others = others.all(|(term, values)| {
                let mut parts = values.iter().filter(|(part, _)| part.is_part_of(labels));
                parts.any(|(_, value)| term.condition.holds(*value, active))
            });
            if !first || !all_others || holding.len() >= MOST_ALERTS {
                continue;
            }
            holding.insert(key.clone());
            let external = &self.policy.labels;
            let alert = self.alerts.entry(key.clone()).or_insert_with(|| {
                let mut alert = Alert::begin(rule, key.clone(), *value, now_ms);
                alert.labels = alert.labels.or(external);
                alert
            });
            changes.extend(alert.holds(rule, *value, now_ms, limits).map(|change| (key, change)));
        }
        let remembered = self.begun_ms.is_none_or(|begun| now_ms < begun + REMEMBER_MS);
        for (key, alert) in self.alerts.iter_mut().filter(|(key, _)| key.rule == rule.name) {
            // What was firing before a restart cannot be known to be over before there is something to look back on.
            if remembered && alert.since_ms() < self.begun_ms.unwrap_or_default() {
                continue;
            }
            if !holding.contains(key) {
                let change = alert.rests(millis(rule.keep_firing), now_ms, limits);
                changes.extend(change.map(|change| (key.clone(), change)));
            }
        }
        self.alerts.retain(|key, alert| {
            let pending = matches!(alert.standing, Standing::Pending { .. });
            key.rule != rule.name || holding.contains(key) || !pending || alert.dismissed
        });
        changes
    }

    /// A rule that is gone from the configuration can no longer say that its alerts are over.
    fn end_of_no_rule(&mut self, rules: &[Rule], now_ms: u64) -> Vec<(AlertKey, Change)> {
        let watched: BTreeSet<&str> =
            rules.iter().filter(|rule| rule.enabled).map(|rule| rule.name.as_str()).collect();
        let limits = self.policy.flapping.limits();
        let orphans = self.alerts.iter_mut().filter(|(key, alert)| {
            !watched.contains(key.rule.as_str()) && alert.labels.get("source") != Some(RAISED)
        });
        orphans.filter_map(|(key, alert)| Some((key.clone(), alert.rests(0, now_ms, limits)?))).collect()
    }

    /// Raises an alert that no rule has, until [`Self::resolve_incident`] ends it. What has changed.
    pub fn send_alert(&mut self, raised: Raised, now_ms: u64) -> Option<Transition> {
        let key = AlertKey::new(&raised.name, raised.labels.clone());
        if self.alerts.get(&key).is_some_and(Alert::is_firing) {
            return None;
        }
        let labels = raised.labels.or(&self.policy.labels).with(ALERT_NAME, &raised.name);
        let alert = Alert {
            key: key.clone(),
            severity: raised.severity,
            labels: labels.with(SEVERITY, raised.severity.as_str()).with("source", RAISED),
            summary: raised.summary,
            description: raised.description,
            runbook: None,
            value: 1.0,
            standing: Standing::Firing { since_ms: now_ms, fired_ms: now_ms, held_ms: now_ms },
            acknowledged_by: None,
            dismissed: false,
            begun: [now_ms].into(),
            flapping: false,
        };
        self.alerts.insert(key.clone(), alert);
        self.transition(&key, Change::Fired, now_ms)
    }

    /// Declares an alert over: those who were told are told so, and nobody is told of it again before its rule has not held once. `None` if it does not fire.
    pub fn resolve_incident(&mut self, key: &AlertKey, now_ms: u64) -> Option<Transition> {
        let alert = self.alerts.get_mut(key).filter(|alert| alert.is_firing())?;
        alert.dismiss(now_ms);
        self.transition(key, Change::Ended, now_ms)
    }

    /// Goes up the next step of the ladder now. Whether the alert fires, and has a step left.
    pub fn escalate_alert(&mut self, key: &AlertKey) -> bool {
        let Some(alert) = self.alerts.get_mut(key).filter(|alert| alert.is_firing()) else { return false };
        alert.acknowledged_by = None;
        let mut found = false;
        for group in self.groups.iter_mut().filter(|group| group.told.contains(key)) {
            let steps = self.policy.routes[group.route].escalation.len();
            group.hurried |= group.steps < steps;
            found |= group.steps < steps;
        }
        found
    }

    /// Notes that somebody takes care of it: the ladder ends here. Whether it fires.
    pub fn acknowledge(&mut self, key: &AlertKey, who: &str) -> bool {
        let alert = self.alerts.get_mut(key).filter(|alert| alert.is_firing());
        alert.map(|alert| alert.acknowledged_by = Some(who.to_owned())).is_some()
    }

    /// Keeps notices back for a while. Its id.
    pub fn silence(&mut self, silence: Silence) -> String {
        self.next_silence += 1;
        let id = format!("s{}", self.next_silence);
        self.silences.push(Silence { id: id.clone(), ..silence });
        id
    }

    /// Ends a silence now. Whether there is one.
    pub fn end_silence(&mut self, id: &str, now_ms: u64) -> bool {
        let silence = self.silences.iter_mut().find(|silence| silence.id == id && silence.ends_ms > now_ms);
        silence.map(|silence| silence.ends_ms = now_ms).is_some()
    }

    /// All silences, those that are over for less than a day included.
    pub fn silences(&self) -> &[Silence] {
        &self.silences
    }

    /// All alerts that fire, may soon, or have ended in the last hour.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// The alert with this fingerprint.
    pub fn by_fingerprint(&self, fingerprint: &str) -> Option<&Alert> {
        self.alerts.values().find(|alert| alert.key.fingerprint() == fingerprint)
    }

    /// What was counted.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// What keeps notices of an alert back, if something does.
    pub fn quiet(&self, alert: &Alert, now_ms: u64) -> Option<String> {
        let silence = self
            .silences
            .iter()
            .find(|silence| silence.is_active(now_ms) && silence.matchers.match_labels(&alert.labels));
        if let Some(silence) = silence {
            return Some(format!("silence {} by {}: {}", silence.id, silence.by, silence.comment));
        }
        let maintenance = self.policy.maintenance.iter().find(|maintenance| {
            maintenance.is_active(now_ms) && maintenance.matchers.match_labels(&alert.labels)
        });
        if let Some(maintenance) = maintenance {
            return Some(format!("maintenance {}", maintenance.name));
        }
        let firing = self.alerts.values().filter(|source| source.is_firing());
        let explains = |source: &Alert| {
            let mut inhibitions = self.policy.inhibitions.iter();
            inhibitions.any(|inhibition| inhibition.explains(&source.labels, &alert.labels))
        };
        firing
            .into_iter()
            .find(|source| explains(source))
            .map(|source| format!("{} explains it", source.key.rule))
    }

    /// Who is to be told of what now.
    pub fn notices(&mut self, now_ms: u64) -> Vec<Notice> {
        self.enter_groups(now_ms);
        let mut notices = Vec::new();
        let mut groups = std::mem::take(&mut self.groups);
        for group in &mut groups {
            notices.extend(self.tell(group, now_ms));
        }
        groups.retain(|group| !group.told.is_empty() || !self.members(group, now_ms).is_empty());
        self.groups = groups;
        notices.extend(self.heartbeat(now_ms));
        for notice in &notices {
            *self.statistics.notices.entry(notice.cause.as_str().to_owned()).or_default() += 1;
        }
        notices
    }

    /// Sees to it that everything that is to be told has a group.
    fn enter_groups(&mut self, now_ms: u64) {
        let firing: Vec<&Alert> = self.alerts.values().filter(|alert| alert.is_firing()).collect();
        let (quiet, loud): (Vec<&Alert>, Vec<&Alert>) =
            firing.into_iter().partition(|alert| self.quiet(alert, now_ms).is_some());
        let mut needed = Vec::new();
        for alert in loud.iter().filter(|alert| self.holds_now(alert)) {
            for route in Route::taken(&self.policy.routes, &alert.labels) {
                needed.push((route, alert.labels.only(&self.policy.routes[route].group_by)));
            }
        }
        self.statistics.kept_back += quiet.len() as u64;
        for (route, labels) in needed {
            if !self.groups.iter().any(|group| group.route == route && group.labels == labels) {
                let (told, told_ms) = (BTreeSet::new(), None);
                self.groups.push(Group {
                    route,
                    labels,
                    begun_ms: now_ms,
                    told_ms,
                    told,
                    steps: 0,
                    hurried: false,
                });
            }
        }
    }

    /// The alerts of a group that fire and are not quiet.
    fn members(&self, group: &Group, now_ms: u64) -> Vec<&Alert> {
        let loud = |alert: &&Alert| {
            let is_news = group.told.contains(&alert.key) || self.holds_now(alert);
            is_news && alert.is_firing() && self.belongs(alert, group) && self.quiet(alert, now_ms).is_none()
        };
        self.alerts.values().filter(loud).collect()
    }

    /// Whether its rule holds at this moment. One that only waits to be over is no news to those who were not told of it, as when another one had explained it.
    fn holds_now(&self, alert: &Alert) -> bool {
        let is_raised = alert.labels.get("source") == Some(RAISED);
        is_raised
            || matches!(alert.standing, Standing::Firing { held_ms, .. } if held_ms == self.history.last_ms())
    }

    fn belongs(&self, alert: &Alert, group: &Group) -> bool {
        let route = &self.policy.routes[group.route];
        Route::taken(&self.policy.routes, &alert.labels).any(|taken| taken == group.route)
            && alert.labels.only(&route.group_by) == group.labels
    }

    fn tell(&self, group: &mut Group, now_ms: u64) -> Vec<Notice> {
        let route = &self.policy.routes[group.route];
        let members = self.members(group, now_ms);
        let firing: BTreeSet<AlertKey> = members.iter().map(|alert| alert.key.clone()).collect();
        // What is only quiet by now has not ended.
        let over = |key: &&AlertKey| !self.alerts.get(*key).is_some_and(Alert::is_firing);
        let ended: Vec<AlertKey> = group.told.iter().filter(over).cloned().collect();
        let added = firing.difference(&group.told).next().is_some();
        let all_over = !group.told.is_empty() && ended.len() == group.told.len() && firing.is_empty();
        let since_told = group.told_ms.map(|told| now_ms - told);
        let cause = match since_told {
            _ if all_over => Some(Cause::Resolved),
            None => (added && now_ms - group.begun_ms >= millis(route.group_wait)).then_some(Cause::Firing),
            Some(since) if (added || !ended.is_empty()) && since >= millis(route.group_interval) => {
                Some(Cause::Firing)
            }
            Some(since) if !firing.is_empty() && since >= millis(route.repeat_interval) => {
                Some(Cause::Repeated)
            }
            Some(_) => None,
        };
        let mut notices = Vec::new();
        if let Some(cause) = cause {
            let alerts = self.told(&firing, &ended);
            let mut channels: Vec<&String> = route.channels.iter().collect();
            if cause == Cause::Resolved {
                // Those to whom it was escalated as well.
                channels.extend(route.escalation.iter().take(group.steps).flat_map(|step| &step.channels));
            }
            notices.extend(self.to(channels, group, cause, alerts, now_ms));
            group.told_ms = Some(now_ms);
            group.told.retain(|key| !ended.contains(key));
            group.told.extend(firing.iter().cloned());
            if cause == Cause::Resolved {
                (group.steps, group.told_ms) = (0, None);
            }
        }
        notices.extend(self.escalate(group, &members, now_ms));
        notices
    }

    /// Goes up the ladder if nobody has reacted.
    fn escalate(&self, group: &mut Group, members: &[&Alert], now_ms: u64) -> Vec<Notice> {
        let route = &self.policy.routes[group.route];
        let waiting: Vec<&&Alert> = members.iter().filter(|alert| alert.acknowledged_by.is_none()).collect();
        let fired = waiting.iter().filter_map(|alert| match alert.standing {
            Standing::Firing { fired_ms, .. } => Some(fired_ms),
            _ => None,
        });
        let mut notices = Vec::new();
        let (Some(first), true) = (fired.min(), group.told_ms.is_some()) else { return notices };
        while let Some(step) = route.escalation.get(group.steps)
            && (group.hurried || now_ms - first >= millis(step.after))
        {
            (group.steps, group.hurried) = (group.steps + 1, false);
            let keys = waiting.iter().map(|alert| alert.key.clone()).collect();
            let alerts = self.told(&keys, &[]);
            notices.extend(self.to(step.channels.iter().collect(), group, Cause::Escalated, alerts, now_ms));
        }
        notices
    }

    fn told(&self, firing: &BTreeSet<AlertKey>, ended: &[AlertKey]) -> Vec<Told> {
        let keys = firing.iter().chain(ended);
        let mut told: Vec<Told> = keys.filter_map(|key| self.alerts.get(key)).map(Told::of).collect();
        told.sort_by_key(|alert| (alert.ended_ms.is_some(), std::cmp::Reverse(alert.severity)));
        told
    }

    fn to(
        &self,
        mut channels: Vec<&String>,
        group: &Group,
        cause: Cause,
        alerts: Vec<Told>,
        now_ms: u64,
    ) -> Vec<Notice> {
        channels.sort();
        channels.dedup();
        let subject = AlertKey::new(&format!("group {}", group.route), group.labels.clone()).fingerprint();
        let notice = |channel: &String| Notice {
            subject: subject.clone(),
            cause,
            channel: channel.clone(),
            at_ms: now_ms,
            group: group.labels.clone(),
            alerts: alerts.clone(),
        };
        channels.into_iter().map(notice).collect()
    }

    fn heartbeat(&mut self, now_ms: u64) -> Vec<Notice> {
        let Some(heartbeat) = &self.policy.heartbeat else { return Vec::new() };
        if self.heartbeat_ms.is_some_and(|last| now_ms.saturating_sub(last) < millis(heartbeat.interval)) {
            return Vec::new();
        }
        self.heartbeat_ms = Some(now_ms);
        let labels = self.policy.labels.clone().with(ALERT_NAME, WATCHDOG).with(SEVERITY, "info");
        let told = Told {
            name: WATCHDOG.to_owned(),
            fingerprint: AlertKey::new(WATCHDOG, Labels::default()).fingerprint(),
            severity: Severity::Info,
            labels: labels.clone(),
            summary: "alerting works".to_owned(),
            description:
                "This is told all the time. When it is no longer told, nobody would be told of anything."
                    .to_owned(),
            runbook: None,
            value: 1.0,
            since_ms: now_ms,
            ended_ms: None,
            flapping: false,
        };
        let notice = |channel: &String| Notice {
            subject: WATCHDOG.to_owned(),
            cause: Cause::Heartbeat,
            channel: channel.clone(),
            at_ms: now_ms,
            group: labels.clone(),
            alerts: vec![told.clone()],
        };
        heartbeat.channels.iter().map(notice).collect()
    }

    fn transition(&mut self, key: &AlertKey, change: Change, now_ms: u64) -> Option<Transition> {
        let alert = self.alerts.get(key)?.clone();
        let statistics = &mut self.statistics;
        match change {
            Change::Ended => {
                statistics.ended += 1;
                statistics.fired_for_ms += now_ms.saturating_sub(alert.since_ms());
            }
            Change::Fired | Change::Flapping => {
                *statistics.fired.entry(key.rule.clone()).or_default() += 1;
                *statistics.fired_by_severity.entry(alert.severity).or_default() += 1;
                statistics.flapped += u64::from(change == Change::Flapping);
            }
        }
        let quiet = self.quiet(&alert, now_ms);
        Some(Transition { change, alert, quiet })
    }

    fn forget(&mut self, now_ms: u64) {
        let groups = &self.groups;
        self.alerts.retain(|key, alert| {
            let told = groups.iter().any(|group| group.told.contains(key));
            // How often it has begun must be remembered, or none would ever flap.
            told || alert.dismissed || alert.ended_ms().is_none_or(|ended| ended + FORGET_MS > now_ms)
        });
        self.silences.retain(|silence| silence.ends_ms + FORGET_SILENCE_MS > now_ms);
    }
}

/// The label `source` of an alert that no rule has raised.
const RAISED: &str = "raised";

#[cfg(test)]
#[path = "manager_tests.rs"]
mod tests;
