//! The IncidentResponseManager on a simulated clock.

use super::*;
use crate::alert::{Alert, Standing};
use crate::labels::Matchers;

const SECOND: u64 = 1_000;

fn policy(actions: &str) -> IncidentPolicy {
    let playbook = format!("name = 'p'\nmatch = {{ alertname = 'Down' }}\nactions = [{actions}]");
    IncidentPolicy { playbooks: vec![toml::from_str(&playbook).unwrap()], ..IncidentPolicy::default() }
}

const RECONNECT: &str =
    "{ action = 'reconnect', after = '30s', check_after = '20s', cooldown = '1m', limit = 2 }";
const PROFILE: &str = "{ action = 'tuner_profile', value = 'throughput', check_after = '20s' }";

fn transition(rule: &str, destination: &str, change: Change, now_ms: u64) -> Transition {
    let labels = Labels::from([("destination", destination)]);
    let alert = Alert {
        key: AlertKey::new(rule, labels.clone()),
        severity: Severity::Critical,
        labels: labels.with("alertname", rule),
        summary: format!("{destination} is down"),
        description: String::new(),
        runbook: None,
        value: 1.0,
        standing: Standing::Firing {
            since_ms: now_ms.saturating_sub(5_000),
            fired_ms: now_ms,
            held_ms: now_ms,
        },
        acknowledged_by: None,
        dismissed: false,
        begun: [now_ms].into(),
        flapping: false,
    };
    Transition { change, alert, quiet: None }
}

/// A manager and its clock.
struct World {
    manager: IncidentResponseManager,
    now: u64,
}

impl World {
    fn of(policy: IncidentPolicy) -> Self {
        Self { manager: IncidentResponseManager::new(policy, Memory::default()), now: 1_000_000 }
    }

    fn fire(&mut self, destination: &str) {
        let fired = transition("Down", destination, Change::Fired, self.now);
        self.manager.take_in(&fired, self.now, || vec![Evidence::new("log", "password=hunter2")]);
    }

    fn end(&mut self, destination: &str) {
        self.manager.take_in(&transition("Down", destination, Change::Ended, self.now), self.now, Vec::new);
    }

    /// Lets so many seconds pass, with everything that is demanded done at once. What was demanded, and in which second.
    fn pass(&mut self, seconds: u64) -> Vec<String> {
        let mut lines = Vec::new();
        for second in 1..=seconds {
            self.now += SECOND;
            for demand in self.manager.step(self.now) {
                lines.push(match demand {
                    Demand::Do { run, action, .. } => {
                        let undo = matches!(action, Action::TunerProfile(_))
                            .then(|| Action::TunerProfile("auto".to_owned()));
                        self.manager.carried_out(run, Ok(undo), self.now);
                        format!("{second} do {action}")
                    }
                    Demand::PutBack { run, action, .. } => {
                        self.manager.carried_out(run, Ok(None), self.now);
                        format!("{second} put back {action}")
                    }
                    Demand::Escalate(key) => format!("{second} escalate {}", key.rule),
                });
            }
        }
        lines
    }

    fn incident(&self) -> &Incident {
        assert_eq!(self.manager.incidents().len(), 1);
        &self.manager.incidents()[0]
    }
}

#[test]
fn a_playbook_is_followed_until_the_alert_is_over() {
    let mut world = World::of(policy(RECONNECT));
    world.fire("a");
    assert_eq!(world.incident().state, State::Open);
    assert_eq!(world.pass(40), ["30 do reconnect"]);
    assert_eq!(world.incident().state, State::Mitigating);
    world.end("a");
    assert_eq!((world.incident().state, world.incident().runs[0].state), (State::Resolved, RunState::Helped));
    assert!(world.pass(3_599).is_empty());
    assert_eq!(world.incident().state, State::Resolved);
    world.pass(1);
    assert_eq!(world.incident().state, State::Closed);
    let statistics = world.manager.statistics();
    assert_eq!((statistics.to_detect_ms, statistics.to_recover_ms), (Some(5_000), Some(40_000)));
}

#[test]
fn what_does_not_help_is_tried_again_after_its_pause_and_then_a_person_is_called() {
    let mut world = World::of(policy(RECONNECT));
    world.fire("a");
    assert_eq!(world.pass(300), ["30 do reconnect", "90 do reconnect", "110 escalate Down"]);
    let states: Vec<_> = world.incident().runs.iter().map(|run| run.state).collect();
    assert_eq!(states, [RunState::DidNotHelp, RunState::DidNotHelp]);
}

#[test]
fn what_does_not_help_is_put_back() {
    let mut world = World::of(policy(PROFILE));
    world.fire("a");
    let demanded = world.pass(60);
    assert_eq!(
        demanded,
        ["1 do tuner_profile=throughput", "21 put back tuner_profile=auto", "21 escalate Down"]
    );
    assert_eq!(world.incident().runs[0].state, RunState::PutBack);
}

#[test]
fn what_helps_is_put_back_when_the_incident_is_closed() {
    let mut world = World::of(policy(PROFILE));
    world.fire("a");
    world.pass(5);
    world.end("a");
    assert_eq!(world.pass(4_000), ["3600 put back tuner_profile=auto"]);
}

#[test]
fn the_same_within_the_hour_opens_the_incident_again_and_later_another_one() {
    let mut world = World::of(policy(RECONNECT));
    world.fire("a");
    world.pass(10);
    world.end("a");
    world.pass(600);
    world.fire("a");
    assert_eq!((world.incident().state, world.incident().reopened), (State::Open, 1));
    assert_eq!(world.pass(40), ["30 do reconnect"], "the limit counts anew");
    world.end("a");
    world.pass(3_700);
    world.fire("a");
    let ids: Vec<_> = world.manager.incidents().iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["inc-1", "inc-2"]);
}

#[test]
fn never_more_is_done_at_once_than_is_allowed() {
    let mut world = World::of(policy(RECONNECT));
    world.fire("a");
    world.fire("b");
    assert_eq!(
        world.pass(55),
        ["30 do reconnect", "50 do reconnect"],
        "the other one's turn comes when the first was checked"
    );
    let destinations: Vec<_> = world
        .manager
        .incidents()
        .iter()
        .map(|one| (one.labels.get("destination").unwrap(), one.runs.len()))
        .collect();
    assert_eq!(destinations, [("a", 1), ("b", 1)]);
}

#[test]
fn a_pause_is_that_of_the_destination_whichever_incident_it_is_for() {
    let mut policy = policy(RECONNECT);
    policy.playbooks[0].matchers = Matchers::default();
    policy.at_once = 5;
    let mut world = World::of(policy);
    world.fire("a");
    let fired = transition("Errors", "a", Change::Fired, world.now);
    world.manager.take_in(&fired, world.now, Vec::new);
    assert_eq!(world.pass(60), ["30 do reconnect"]);
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let mut world = World::of(IncidentPolicy { dry_run: true, ..policy(RECONNECT) });
    world.fire("a");
    assert_eq!(world.pass(300), ["91 escalate Down"]);
    assert!(world.incident().timeline.iter().any(|entry| entry.what == "reconnect would be done (dry run)"));
    assert!(world.incident().runs.iter().all(|run| run.state == RunState::Dry));
}

#[test]
fn nothing_is_done_by_itself_in_maintenance_or_when_that_is_off() {
    let mut world = World::of(policy(RECONNECT));
    let quiet = Transition {
        quiet: Some("maintenance m".to_owned()),
        ..transition("Down", "a", Change::Fired, world.now)
    };
    world.manager.take_in(&quiet, world.now, Vec::new);
    assert!(world.pass(300).is_empty());
    world.manager.hear(|_| None);
    assert_eq!(world.pass(1), ["1 do reconnect"], "the maintenance is over, and it still fires");
    world.manager.hear(|_| Some("maintenance n".to_owned()));
    assert!(world.pass(300).iter().all(|demand| !demand.contains("do ")), "another one has begun");
    let mut off = World::of(IncidentPolicy { automatic: false, ..policy(RECONNECT) });
    off.fire("a");
    assert!(off.pass(300).is_empty());
}

#[test]
fn what_is_not_on_the_list_is_not_done() {
    let mut world = World::of(policy("{ action = 'restart_agent' }"));
    world.fire("a");
    assert_eq!(world.pass(300), ["1 escalate Down"], "not by itself");
    let error = world.manager.remediate("inc-1", &Action::RestartAgent, "ops", world.now).unwrap_err();
    assert!(error.to_string().contains("`incidents.allow`"), "{error}");
}

#[test]
fn somebody_can_acknowledge_act_and_declare_it_over() {
    let mut world = World::of(IncidentPolicy { automatic: false, ..policy(RECONNECT) });
    world.fire("a");
    world.pass(10);
    let key = world.manager.acknowledge("inc-1", "ops", world.now).unwrap();
    assert_eq!(key.rule, "Down");
    let demand = world.manager.remediate("inc-1", &Action::Reconnect, "ops", world.now).unwrap();
    let Some(Demand::Do { run, .. }) = demand else { panic!("{demand:?}") };
    let busy = world.manager.remediate("inc-1", &Action::ResetBreaker, "ops", world.now).unwrap_err();
    assert!(busy.to_string().contains("1 actions are under way"), "{busy}");
    world.manager.carried_out(run, Err("no such destination".to_owned()), world.now);
    assert_eq!(world.incident().runs[0].state, RunState::Failed);
    world.manager.resolve("inc-1", "ops", world.now).unwrap();
    assert!(world.manager.resolve("inc-1", "ops", world.now).is_err(), "it is over");
    assert!(world.manager.acknowledge("inc-1", "ops", world.now).is_err());
    assert!(
        world
            .manager
            .acknowledge("inc-7", "ops", world.now)
            .unwrap_err()
            .to_string()
            .contains("there are: inc-1")
    );
    assert_eq!(world.manager.statistics().to_acknowledge_ms, Some(10_000));
    let whats: Vec<_> =
        world.incident().timeline.iter().map(|entry| format!("{}: {}", entry.who, entry.what)).collect();
    assert!(
        whats.contains(&"ops: acknowledged".to_owned())
            && whats.contains(&"ops: resolved: declared over".to_owned()),
        "{whats:?}"
    );
}

#[test]
fn a_restart_in_the_middle_goes_on_where_it_was() {
    let mut world = World::of(policy(RECONNECT));
    world.fire("a");
    world.pass(35);
    let memory = serde_json::to_string(&world.manager.memory()).unwrap();
    world.manager = IncidentResponseManager::new(policy(RECONNECT), serde_json::from_str(&memory).unwrap());
    assert_eq!(world.incident().runs[0].state, RunState::Applied);
    assert_eq!(world.pass(120), ["55 do reconnect", "75 escalate Down"]);
    world.end("a");
    assert_eq!(world.incident().state, State::Resolved);
    world.fire("b");
    assert_eq!(world.manager.incidents()[1].id, "inc-2");
}

#[test]
fn less_than_an_error_is_no_incident() {
    let mut world = World::of(policy(RECONNECT));
    let mut fired = transition("Down", "a", Change::Fired, world.now);
    fired.alert.severity = Severity::Warning;
    world.manager.take_in(&fired, world.now, Vec::new);
    assert!(world.manager.incidents().is_empty());
}

#[test]
fn those_that_are_over_give_way() {
    let mut world = World::of(IncidentPolicy { keep: 2, ..policy(RECONNECT) });
    world.fire("a");
    world.fire("b");
    world.end("b");
    world.fire("c");
    let titles: Vec<_> = world.manager.incidents().iter().map(|one| one.title.as_str()).collect();
    assert_eq!(titles, ["a is down", "c is down"]);
}

#[test]
fn the_report_says_what_happened_and_no_secret() {
    let mut world = World::of(policy(RECONNECT));
    world.fire("a");
    world.pass(40);
    world.end("a");
    let report = super::super::report::markdown(world.incident());
    for told in [
        "# inc-1: a is down",
        "| time to detect | 5s |",
        "| time to recover | 40s |",
        "reconnect helped",
        "playbook p | helped",
        "password=<redacted>",
    ] {
        assert!(report.contains(told), "no {told:?} in\n{report}");
    }
    assert!(!report.contains("hunter2"));
}
