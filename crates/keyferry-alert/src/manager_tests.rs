//! The AlertManager on a simulated clock.

use super::*;
use crate::labels::Matchers;
use crate::metric::Sample;

const STEP_MS: u64 = 5_000;
/// A Thursday, at noon.
const NOON: u64 = 19_001 * 86_400_000 - 7 * 86_400_000 + 12 * 3_600_000;

/// A manager, its clock, its metrics, and what it has told.
struct World {
    manager: AlertManager,
    now: u64,
    metrics: BTreeMap<&'static str, f64>,
    told: Vec<Notice>,
}

#[derive(serde::Deserialize)]
struct File {
    rule: Vec<Rule>,
    route: Vec<Route>,
    #[serde(default)]
    inhibit: Vec<Inhibition>,
    #[serde(default)]
    maintenance: Vec<Maintenance>,
    heartbeat: Option<Heartbeat>,
}

const RULES: &str = "
    [[rule]]
    name = 'Down'
    severity = 'critical'
    signal.value = { metric = 'down', by = ['destination'] }
    above = 0
    summary = '{destination} is down'
    [[rule]]
    name = 'Slow'
    severity = 'warning'
    signal.value = { metric = 'slow', by = ['destination'] }
    above = 10
    clear = 5
    for = '20s'
    summary = '{destination} is slow'
";

const ROUTE: &str = "
    [[route]]
    channels = ['mail']
    group_wait = '10s'
    group_interval = '1m'
    repeat_interval = '1h'
    group_by = ['alertname']
";

impl World {
    fn of(toml: &str) -> Self {
        let file: File = toml::from_str(toml).unwrap();
        let policy = Policy {
            rules: file.rule,
            routes: file.route,
            inhibitions: file.inhibit,
            maintenance: file.maintenance,
            labels: Labels::from([("cluster", "a")]),
            heartbeat: file.heartbeat,
            flapping: FlapPolicy::default(),
        };
        let manager = AlertManager::new(policy, Memory::default());
        Self { manager, now: NOON, metrics: BTreeMap::new(), told: Vec::new() }
    }

    fn with(rest: &str) -> Self {
        Self::of(&format!("{RULES}{rest}"))
    }

    fn samples(&self) -> Vec<Sample> {
        let sample = |(name, value): (&&str, &f64)| {
            let selector: crate::labels::Selector = name.parse().unwrap();
            Sample::new(&selector.metric, selector.labels(), *value)
        };
        self.metrics.iter().map(sample).collect()
    }

    /// Lets so many seconds pass. What was told meanwhile: second, cause, channel, alerts.
    fn pass(&mut self, seconds: u64) -> Vec<String> {
        let begun = self.now;
        let mut lines = Vec::new();
        while self.now < begun + seconds * 1_000 {
            self.now += STEP_MS;
            self.manager.check_thresholds(self.now, &self.samples());
            for notice in self.manager.notices(self.now) {
                let alerts: Vec<String> = notice.alerts.iter().map(|alert| alert.summary.clone()).collect();
                lines.push(format!(
                    "{} {} {}: {}",
                    (self.now - begun) / 1_000,
                    notice.cause.as_str(),
                    notice.channel,
                    alerts.join(", ")
                ));
                self.told.push(notice);
            }
        }
        lines
    }

    fn restart(&mut self) {
        let memory = serde_json::to_vec(&self.manager.memory()).unwrap();
        let policy = self.manager.policy.clone();
        self.manager = AlertManager::new(policy, serde_json::from_slice(&memory).unwrap());
    }

    fn key(&self, rule: &str) -> AlertKey {
        self.manager.alerts().find(|alert| alert.key.rule == rule).unwrap().key.clone()
    }
}

const DOWN_A: &str = "down{destination=\"a\"}";
const DOWN_B: &str = "down{destination=\"b\"}";
const SLOW_A: &str = "slow{destination=\"a\"}";

#[test]
fn what_comes_together_is_told_together_and_only_once() {
    let mut world = World::with(ROUTE);
    assert!(world.pass(60).is_empty());
    world.metrics.extend([(DOWN_A, 1.0), (DOWN_B, 1.0)]);
    assert_eq!(world.pass(60), ["15 firing mail: a is down, b is down"]);
    let notice = &world.told[0];
    assert_eq!((notice.severity(), notice.group.get("alertname")), (Severity::Critical, Some("Down")));
    assert_eq!(
        notice.alerts[0].labels.get("cluster"),
        Some("a"),
        "labels of the whole agent are on every alert"
    );
    assert!(world.pass(3_000).is_empty(), "nothing has changed");
    assert_eq!(world.pass(3_600).len(), 1, "an hour later it is repeated once");
    assert_eq!(world.told.last().unwrap().cause, Cause::Repeated);
}

#[test]
fn one_that_is_added_waits_for_the_group_s_interval_and_the_end_of_all_for_nothing() {
    let mut world = World::with(ROUTE);
    world.metrics.insert(DOWN_A, 1.0);
    assert_eq!(world.pass(20), ["15 firing mail: a is down"]);
    world.metrics.insert(DOWN_B, 1.0);
    assert_eq!(world.pass(60), ["55 firing mail: a is down, b is down"]);
    world.metrics.insert(DOWN_A, 0.0);
    assert_eq!(world.pass(60), ["55 firing mail: b is down, a is down"], "with one that has ended");
    world.metrics.insert(DOWN_B, 0.0);
    assert_eq!(world.pass(60), ["5 resolved mail: b is down"]);
    assert!(world.pass(7_200).is_empty());
    assert_eq!(world.manager.statistics().ended, 2);
}

#[test]
fn a_limit_is_held_for_a_while_and_lets_go_lower() {
    let mut world = World::with(ROUTE);
    world.metrics.insert(SLOW_A, 11.0);
    assert!(world.pass(20).is_empty());
    world.metrics.insert(SLOW_A, 9.0);
    assert_eq!(
        world.pass(60),
        ["15 firing mail: a is slow"],
        "9 is over the limit to clear, so it went on holding"
    );
    world.metrics.insert(SLOW_A, 5.0);
    assert_eq!(world.pass(60), ["5 resolved mail: a is slow"]);
    world.metrics.insert(SLOW_A, 9.0);
    assert!(world.pass(600).is_empty());
}

#[test]
fn what_another_alert_explains_is_not_told() {
    let explained = "
        [[inhibit]]
        source = { alertname = 'Down' }
        target = { severity = 'warning' }
        equal = ['destination']
    ";
    let mut world = World::with(&format!("{ROUTE}{explained}"));
    world.metrics.extend([(DOWN_A, 1.0), (SLOW_A, 20.0), ("slow{destination=\"b\"}", 20.0)]);
    assert_eq!(world.pass(120), ["15 firing mail: a is down", "35 firing mail: b is slow"]);
    assert!(
        world.manager.alerts().any(|alert| alert.is_firing() && alert.summary == "a is slow"),
        "it counts all the same"
    );
    world.metrics.insert(DOWN_A, 0.0);
    let told = world.pass(120);
    assert!(told.iter().any(|line| line.contains("a is slow")), "nothing explains it any more: {told:?}");
}

#[test]
fn a_silence_ends_and_what_was_told_before_it_is_told_to_be_over() {
    let mut world = World::with(ROUTE);
    world.metrics.insert(DOWN_A, 1.0);
    assert_eq!(world.pass(30).len(), 1);
    let silence = Silence {
        id: String::new(),
        matchers: Matchers::from([("destination", "*")]),
        starts_ms: world.now,
        ends_ms: world.now + 600_000,
        by: "ops".to_owned(),
        comment: "work".to_owned(),
    };
    let id = world.manager.silence(silence.clone());
    world.metrics.insert(DOWN_B, 1.0);
    assert!(world.pass(300).is_empty());
    world.metrics.insert(DOWN_A, 0.0);
    assert_eq!(world.pass(60), ["5 resolved mail: a is down"]);
    assert_eq!(world.pass(600), ["250 firing mail: b is down"], "the silence is over");
    assert_eq!(world.manager.silences().len(), 1);
    world.metrics.insert(DOWN_B, 0.0);
    world.pass(60);
    let second =
        world.manager.silence(Silence { starts_ms: world.now, ends_ms: world.now + 600_000, ..silence });
    assert_ne!(id, second);
    world.metrics.insert(DOWN_A, 1.0);
    assert!(world.pass(60).is_empty());
    assert!(world.manager.end_silence(&second, world.now) && !world.manager.end_silence(&second, world.now));
    assert_eq!(world.pass(60), ["15 firing mail: a is down"]);
}

#[test]
fn nobody_is_told_in_maintenance() {
    let mut world =
        World::with(&format!("{ROUTE}\n[[maintenance]]\nname = 'noon'\nfrom = '12:00'\nto = '12:30'"));
    world.metrics.insert(DOWN_A, 1.0);
    assert!(world.pass(1_700).is_empty());
    let alert = world.manager.alerts().next().unwrap();
    assert_eq!(world.manager.quiet(alert, world.now).unwrap(), "maintenance noon");
    assert_eq!(world.pass(200).len(), 1);
}

const LADDER: &str = "
    escalation = [{ after = '5m', channels = ['pager'] }, { after = '15m', channels = ['boss'] }]
";

#[test]
fn it_goes_up_the_ladder_until_somebody_reacts_and_all_of_them_hear_the_end() {
    let mut world = World::with(&format!("{ROUTE}{LADDER}"));
    world.metrics.insert(DOWN_A, 1.0);
    assert_eq!(world.pass(600), ["15 firing mail: a is down", "305 escalated pager: a is down"]);
    let key = world.key("Down");
    assert!(world.manager.acknowledge(&key, "ops"));
    assert!(world.pass(1_800).is_empty(), "somebody takes care of it");
    world.metrics.insert(DOWN_A, 0.0);
    assert_eq!(world.pass(10), ["5 resolved mail: a is down", "5 resolved pager: a is down"]);
    assert!(!world.manager.acknowledge(&key, "ops"), "there is nothing to take care of");
}

#[test]
fn the_next_step_can_be_taken_at_once_and_the_ladder_ends() {
    let mut world = World::with(&format!("{ROUTE}{LADDER}"));
    world.metrics.insert(DOWN_A, 1.0);
    world.pass(30);
    let key = world.key("Down");
    assert!(world.manager.escalate_alert(&key));
    assert_eq!(world.pass(60), ["5 escalated pager: a is down"]);
    assert!(world.manager.escalate_alert(&key));
    assert_eq!(world.pass(60), ["5 escalated boss: a is down"]);
    assert!(!world.manager.escalate_alert(&key), "there is nobody left");
    assert!(world.pass(1_800).is_empty());
}

#[test]
fn what_is_declared_over_is_told_to_be_and_stays_quiet_until_it_was() {
    let mut world = World::with(ROUTE);
    world.metrics.insert(DOWN_A, 1.0);
    world.pass(30);
    let key = world.key("Down");
    let ended = world.manager.resolve_incident(&key, world.now).unwrap();
    assert_eq!(ended.change, Change::Ended);
    assert_eq!(world.pass(7_200), ["5 resolved mail: a is down"]);
    world.metrics.insert(DOWN_A, 0.0);
    world.pass(10);
    world.metrics.insert(DOWN_A, 1.0);
    assert_eq!(world.pass(60), ["15 firing mail: a is down"]);
}

#[test]
fn what_comes_and_goes_is_told_of_a_few_times_only() {
    let mut world = World::with(ROUTE);
    let mut told = Vec::new();
    for _ in 0..20 {
        world.metrics.insert(DOWN_A, 1.0);
        told.extend(world.pass(60));
        world.metrics.insert(DOWN_A, 0.0);
        told.extend(world.pass(60));
    }
    assert_eq!(told.len(), 7, "three times begun and ended, and then it flaps: {told:?}");
    assert!(world.told.last().unwrap().alerts[0].flapping);
    assert_eq!(world.manager.statistics().flapped, 1);
    assert_eq!(world.pass(900), ["540 resolved mail: a is down"], "ten minutes after it held last");
}

#[test]
fn the_dead_man_s_switch_is_told_whatever_else_happens() {
    let mut world = World::with(&format!("{ROUTE}\n[heartbeat]\nchannels = ['hc']\ninterval = '1m'"));
    let told = world.pass(300);
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(world.told.iter().all(|notice| notice.cause == Cause::Heartbeat && notice.channel == "hc"));
    world.restart();
    assert_eq!(world.pass(60).len(), 1, "a restart does not hurry it");
}

#[test]
fn a_restart_in_the_middle_tells_nothing_twice_and_the_end_once() {
    let mut world = World::with(ROUTE);
    world.metrics.insert(DOWN_A, 1.0);
    world.pass(30);
    world.restart();
    assert!(world.pass(600).is_empty());
    world.restart();
    world.metrics.insert(DOWN_A, 0.0);
    let told = world.pass(600);
    assert_eq!(told, ["65 resolved mail: a is down"], "a minute after the restart it is known to be over");
}

#[test]
fn what_no_rule_sees_can_be_raised_and_resolved() {
    let mut world = World::with(ROUTE);
    let raised = Raised {
        name: "NobodyCanBeTold".to_owned(),
        severity: Severity::Error,
        labels: Labels::default(),
        summary: "mail is refused".to_owned(),
        description: String::new(),
    };
    assert!(world.manager.send_alert(raised.clone(), world.now).is_some());
    assert!(world.manager.send_alert(raised, world.now).is_none(), "it fires already");
    assert_eq!(world.pass(60), ["15 firing mail: mail is refused"]);
    let key = world.key("NobodyCanBeTold");
    assert!(world.manager.resolve_incident(&key, world.now).is_some());
    assert_eq!(world.pass(60), ["5 resolved mail: mail is refused"]);
}

#[test]
fn another_term_must_hold_as_well_for_the_same_destination() {
    let both = "
        [[rule]]
        name = 'Growing'
        severity = 'warning'
        signal.value = { metric = 'backlog', by = ['destination'] }
        above = 1000
        and = [{ signal.slope = { metric = 'backlog', window = '1m', by = ['destination'] }, above = 0 }]
        summary = '{destination} {value}'
    ";
    let mut world = World::of(&format!("{both}{ROUTE}"));
    let (a, b) = ("backlog{destination=\"a\"}", "backlog{destination=\"b\"}");
    world.metrics.extend([(a, 5_000.0), (b, 10.0)]);
    assert!(world.pass(60).is_empty(), "much, and it does not grow");
    for round in 0..20 {
        world.metrics.extend([(a, 5_000.0 - f64::from(round)), (b, 10.0 + f64::from(round))]);
        assert!(world.pass(5).is_empty(), "one is much, the other one grows");
    }
    let mut told = Vec::new();
    for round in 0..20 {
        world.metrics.insert(a, 6_000.0 + f64::from(round));
        told.extend(world.pass(5));
    }
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn a_drop_against_yesterday_is_seen_right_after_a_restart() {
    const SEEN: &str = "seen_total";
    let rule = "
        [[rule]]
        name = 'Drop'
        severity = 'warning'
        signal.seasonal = { metric = 'seen_total', window = '1h', days = 7, at_least = 100.0 }
        below = 0.2
        summary = 'few events'
    ";
    let mut world = World::of(&format!("{rule}{ROUTE}"));
    let minutes = |world: &mut World, minutes: u64, each: f64| {
        for _ in 0..minutes {
            *world.metrics.entry(SEEN).or_default() += each;
            world.now += 60_000;
            let samples = world.samples();
            world.manager.check_thresholds(world.now, &samples);
        }
    };
    minutes(&mut world, 24 * 60, 10.0);
    world.restart();
    world.metrics.clear();
    minutes(&mut world, 55, 10.0);
    assert!(world.manager.alerts().all(|alert| !alert.is_firing()), "as many as yesterday");
    minutes(&mut world, 70, 0.0);
    assert!(world.manager.alerts().any(Alert::is_firing), "{:?}", world.manager.alerts().collect::<Vec<_>>());
}

#[test]
fn what_happens_is_written_at_once_and_a_number_that_only_moves_once_a_minute() {
    let mut world = World::with(ROUTE);
    let mut kept = Kept::default();
    let mut writes = |world: &World| {
        let memory = world.manager.memory();
        let is_due = kept.is_due(&memory, world.now);
        if is_due {
            kept.written(memory, world.now);
        }
        is_due
    };
    assert!(writes(&world), "nothing was written before");
    world.metrics.insert(SLOW_A, 11.0);
    world.pass(5);
    assert!(writes(&world), "it is pending");
    world.pass(30);
    assert!(writes(&world), "it fires and is told");
    for number in 12..18 {
        world.metrics.insert(SLOW_A, f64::from(number));
        world.pass(5);
        assert!(!writes(&world), "{number}");
    }
    world.metrics.insert(SLOW_A, 30.0);
    world.pass(35);
    assert!(writes(&world), "the number is a minute old");
}
