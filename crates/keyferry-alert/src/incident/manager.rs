//! The IncidentResponseManager: from alerts to incidents, and what is done about them.
//!
//! The invariants:
//!
//! - **An incident is opened once for what happens once.** The same alert within the hour opens it again instead of another one.
//! - **Never more is done at once than is allowed**, never the same to the same destination before its pause is over, and never anything in maintenance.
//! - **What does not help is put back**, and when nothing is left to try a person is called.
//!
//! Pure: it says what is to be done, and is told what became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::action::Step;
use super::{Action, Evidence, Incident, Playbook, Run, RunState, State};
use crate::alert::{AlertKey, Change};
use crate::error::Error;
use crate::labels::Labels;
use crate::manager::Transition;
use crate::rule::Severity;
use crate::units::{millis, span};

/// Who does what nobody asked for.
const AGENT: &str = "keyferry";
/// What somebody has asked for is checked after so long.
const CHECK_BY_HAND_MS: u64 = 30_000;

/// What is done about incidents.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IncidentPolicy {
    /// From which severity on an alert is an incident.
    pub severity: Severity,
    /// Whether playbooks are followed.
    pub automatic: bool,
    /// Whether it is only said what would be done.
    pub dry_run: bool,
    /// How much may be done at once.
    pub at_once: usize,
    /// After how long what is resolved is closed, and can no longer be opened again.
    #[serde(with = "span")]
    pub close_after: Duration,
    /// How many are kept.
    pub keep: usize,
    /// What may be done, by the names of actions.
    pub allow: Vec<String>,
    /// What is done by itself.
    #[serde(skip)]
    pub playbooks: Vec<Playbook>,
}

impl Default for IncidentPolicy {
    fn default() -> Self {
        let allow = [
            "reconnect",
            "recreate_producer",
            "reload_credentials",
            "open_breaker",
            "reset_breaker",
            "close_breaker",
            "tuner_profile",
            "pause_replay",
        ];
        Self {
            severity: Severity::Error,
            automatic: true,
            dry_run: false,
            at_once: 1,
            close_after: Duration::from_secs(3_600),
            keep: 100,
            allow: allow.map(str::to_owned).to_vec(),
            playbooks: Vec::new(),
        }
    }
}

impl IncidentPolicy {
    fn allows(&self, action: &Action) -> bool {
        self.allow.iter().any(|allowed| allowed == action.name())
    }
}

/// Something that somebody else must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Demand {
    /// Do it, and say by [`IncidentResponseManager::carried_out`] what became of it.
    Do {
        /// The number of the run.
        run: u64,
        /// What.
        action: Action,
        /// Where.
        labels: Labels,
    },
    /// Put back what a run has changed, and say so the same way.
    PutBack {
        /// The number of the run.
        run: u64,
        /// What.
        action: Action,
        /// Where.
        labels: Labels,
    },
    /// Nothing is left to try: go up the ladder.
    Escalate(AlertKey),
}

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    incidents: Vec<Incident>,
    next: u64,
    next_run: u64,
}

/// Means over all incidents that are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Incidents, by state.
    pub by_state: BTreeMap<String, u64>,
    /// Mean time from the beginning to the opening, in milliseconds.
    pub to_detect_ms: Option<u64>,
    /// From the opening to the acknowledgement.
    pub to_acknowledge_ms: Option<u64>,
    /// From the opening to the end.
    pub to_recover_ms: Option<u64>,
    /// What was done, by how it went.
    pub runs: BTreeMap<String, u64>,
}

/// From alerts to incidents. See the module.
#[derive(Debug)]
pub struct IncidentResponseManager {
    policy: IncidentPolicy,
    incidents: Vec<Incident>,
    next: u64,
    next_run: u64,
}

impl IncidentResponseManager {
    /// One that goes by `policy`, and remembers what `memory` has.
    pub fn new(policy: IncidentPolicy, memory: Memory) -> Self {
        let Memory { mut incidents, next, next_run } = memory;
        // What was being done when the agent ended may or may not be done.
        for run in incidents.iter_mut().flat_map(|incident| &mut incident.runs) {
            if run.state == RunState::Ordered {
                run.state = RunState::Failed;
            }
        }
        Self { policy, incidents, next, next_run }
    }

    /// What is to be remembered.
    pub fn memory(&self) -> Memory {
        Memory { incidents: self.incidents.clone(), next: self.next, next_run: self.next_run }
    }

    /// All that are kept, the oldest first.
    pub fn incidents(&self) -> &[Incident] {
        &self.incidents
    }

    /// The incident that people call `id`.
    pub fn find(&self, id: &str) -> Option<&Incident> {
        self.incidents.iter().find(|incident| incident.id == id)
    }

    /// Takes in what has happened to an alert. `evidence` is asked when an incident is opened.
    pub fn take_in(
        &mut self,
        transition: &Transition,
        now_ms: u64,
        evidence: impl FnOnce() -> Vec<Evidence>,
    ) {
        let alert = &transition.alert;
        match transition.change {
            Change::Ended => self.end(&alert.key, now_ms),
            Change::Fired | Change::Flapping if alert.severity >= self.policy.severity => {
                self.begin(transition, now_ms, evidence);
            }
            Change::Fired | Change::Flapping => {}
        }
    }

    /// Takes in what keeps each alert quiet now. What is kept quiet by something that passes is not forgotten when that has passed.
    pub fn hear(&mut self, quiet: impl Fn(&AlertKey) -> Option<String>) {
        for incident in self.incidents.iter_mut().filter(|incident| incident.state.is_going_on()) {
            incident.quiet = quiet(&incident.key);
        }
    }

    fn begin(&mut self, transition: &Transition, now_ms: u64, evidence: impl FnOnce() -> Vec<Evidence>) {
        let Transition { change, alert, quiet } = transition;
        let comes_and_goes = if *change == Change::Flapping { ", and comes and goes" } else { "" };
        let known = self.incidents.iter_mut().rev().find(|incident| incident.key == alert.key);
        if let Some(incident) = known.filter(|incident| incident.state != State::Closed) {
            if incident.go(State::Open).is_ok() {
                incident.reopened += 1;
                (incident.opened_ms, incident.since_ms) = (now_ms, alert.since_ms());
                (incident.acknowledged_ms, incident.resolved_ms) = (None, None);
                (incident.quiet, incident.escalated) = (quiet.clone(), false);
                incident.note(now_ms, AGENT, format!("opened again: {}{comes_and_goes}", alert.summary));
            }
            return;
        }
        self.next += 1;
        let mut incident = Incident {
            id: format!("inc-{}", self.next),
            key: alert.key.clone(),
            title: alert.summary.clone(),
            severity: alert.severity,
            labels: alert.labels.clone(),
            runbook: alert.runbook.clone(),
            state: State::Open,
            quiet: quiet.clone(),
            since_ms: alert.since_ms(),
            opened_ms: now_ms,
            acknowledged_ms: None,
            resolved_ms: None,
            reopened: 0,
            escalated: false,
            timeline: Vec::new(),
            evidence: evidence(),
            runs: Vec::new(),
        };
        incident.note(
            now_ms,
            AGENT,
            format!("opened by {}: {}{comes_and_goes}", alert.key.rule, alert.summary),
        );
        if let Some(quiet) = quiet {
            incident.note(now_ms, AGENT, format!("nobody is told, and nothing is done by itself: {quiet}"));
        }
        self.incidents.push(incident);
        self.forget();
    }

    fn end(&mut self, key: &AlertKey, now_ms: u64) {
        let going_on = |incident: &&mut Incident| incident.key == *key && incident.state.is_going_on();
        if let Some(incident) = self.incidents.iter_mut().find(going_on) {
            settle(incident, AGENT, "the alert is over", now_ms);
        }
    }

    /// The oldest that are over give way.
    fn forget(&mut self) {
        while self.incidents.len() > self.policy.keep.max(1) {
            let over = self.incidents.iter().position(|incident| !incident.state.is_going_on());
            self.incidents.remove(over.unwrap_or(0));
        }
    }

    /// What is to be done now.
    pub fn step(&mut self, now_ms: u64) -> Vec<Demand> {
        let mut demands = self.check(now_ms);
        for place in 0..self.incidents.len() {
            self.close(place, now_ms, &mut demands);
            self.follow_playbook(place, now_ms, &mut demands);
        }
        demands
    }

    /// Looks whether what was done has helped.
    fn check(&mut self, now_ms: u64) -> Vec<Demand> {
        let mut demands = Vec::new();
        for incident in &mut self.incidents {
            for place in 0..incident.runs.len() {
                let run = &mut incident.runs[place];
                if run.state != RunState::Applied || run.check_ms > now_ms {
                    continue;
                }
                run.state = RunState::DidNotHelp;
                let (number, action) = (run.number, run.action.clone());
                if let Some(undo) = run.undo.clone() {
                    let labels = incident.labels.clone();
                    demands.push(Demand::PutBack { run: number, action: undo, labels });
                }
                incident.note(now_ms, AGENT, format!("{action} did not help"));
            }
        }
        demands
    }

    /// Closes what has been over for long, and puts back what was changed for it.
    fn close(&mut self, place: usize, now_ms: u64, demands: &mut Vec<Demand>) {
        let close_after = millis(self.policy.close_after);
        let incident = &mut self.incidents[place];
        let is_due = incident.resolved_ms.is_some_and(|resolved| now_ms >= resolved + close_after);
        if incident.state != State::Resolved || !is_due || incident.go(State::Closed).is_err() {
            return;
        }
        incident.note(now_ms, AGENT, "closed");
        for run in incident.runs.iter().filter(|run| run.state == RunState::Helped) {
            if let Some(undo) = run.undo.clone() {
                demands.push(Demand::PutBack {
                    run: run.number,
                    action: undo,
                    labels: incident.labels.clone(),
                });
            }
        }
    }

    fn follow_playbook(&mut self, place: usize, now_ms: u64, demands: &mut Vec<Demand>) {
        let incident = &self.incidents[place];
        let busy = incident.runs.iter().any(|run| run.state.is_under_way());
        if !self.policy.automatic || !incident.state.is_going_on() || incident.quiet.is_some() || busy {
            return;
        }
        let playbook = self.policy.playbooks.iter().find(|one| one.matchers.match_labels(&incident.labels));
        let Some(playbook) = playbook.cloned() else { return };
        // What is not allowed counts as tried: else nobody would ever be called.
        let spent = |(index, step): &(usize, &Step)| {
            runs_of(incident, &playbook.name, *index) >= step.limit || !self.policy.allows(&step.action)
        };
        let is_due = |(index, step): &(usize, &Step)| {
            !spent(&(*index, *step))
                && now_ms >= incident.opened_ms + millis(step.after)
                && self.is_rested(step, incident, now_ms)
        };
        let is_spent = playbook.actions.iter().enumerate().all(|step| spent(&step));
        let due = playbook.actions.iter().enumerate().find(is_due).map(|(index, step)| (index, step.clone()));
        if let Some((index, step)) = due {
            let dry = self.policy.dry_run || playbook.dry_run;
            if dry || self.under_way() < self.policy.at_once {
                let check_ms = now_ms + millis(step.check_after);
                demands.extend(self.order(
                    place,
                    &step.action,
                    Some((playbook.name, index)),
                    check_ms,
                    dry,
                    AGENT,
                    now_ms,
                ));
            }
            return;
        }
        if is_spent && !incident.escalated {
            let incident = &mut self.incidents[place];
            incident.escalated = true;
            incident.note(
                now_ms,
                AGENT,
                format!("playbook {} has nothing left to try: a person is called", playbook.name),
            );
            demands.push(Demand::Escalate(incident.key.clone()));
        }
    }

    /// Whether the same was not done to the same destination too recently.
    fn is_rested(&self, step: &Step, incident: &Incident, now_ms: u64) -> bool {
        let same_place =
            |other: &&Incident| other.labels.get("destination") == incident.labels.get("destination");
        let runs = self.incidents.iter().filter(same_place).flat_map(|other| &other.runs);
        let last = runs.filter(|run| run.action == step.action).map(|run| run.at_ms).max();
        last.is_none_or(|last| now_ms >= last + millis(step.cooldown))
    }

    fn under_way(&self) -> usize {
        let runs = self.incidents.iter().flat_map(|incident| &incident.runs);
        runs.filter(|run| run.state.is_under_way()).count()
    }

    #[expect(clippy::too_many_arguments, reason = "one place where a run begins")]
    fn order(
        &mut self,
        place: usize,
        action: &Action,
        step: Option<(String, usize)>,
        check_ms: u64,
        dry: bool,
        who: &str,
        now_ms: u64,
    ) -> Option<Demand> {
        self.next_run += 1;
        let (incident, number) = (&mut self.incidents[place], self.next_run);
        let state = if dry { RunState::Dry } else { RunState::Ordered };
        incident.runs.push(Run {
            number,
            action: action.clone(),
            step,
            at_ms: now_ms,
            check_ms,
            state,
            undo: None,
        });
        if dry {
            incident.note(now_ms, who, format!("{action} would be done (dry run)"));
            return None;
        }
        // What is acknowledged stays so to those who look, and is mitigated all the same.
        let _ = incident.go(State::Mitigating);
        incident.note(now_ms, who, format!("{action} is done"));
        Some(Demand::Do { run: number, action: action.clone(), labels: incident.labels.clone() })
    }

    /// What became of a demand: of [`Demand::Do`] what puts it back, if something does.
    pub fn carried_out(&mut self, run: u64, result: Result<Option<Action>, String>, now_ms: u64) {
        let has_run = |incident: &&mut Incident| incident.runs.iter().any(|one| one.number == run);
        let Some(incident) = self.incidents.iter_mut().find(has_run) else { return };
        let Some(run) = incident.runs.iter_mut().find(|one| one.number == run) else { return };
        let action = run.action.clone();
        let note = match (run.state, result) {
            (RunState::Ordered, Ok(undo)) => {
                run.undo = undo;
                run.state = if incident.state.is_going_on() { RunState::Applied } else { RunState::Helped };
                return;
            }
            (RunState::Ordered, Err(reason)) => {
                run.state = RunState::Failed;
                format!("{action} cannot be done: {reason}")
            }
            (_, Ok(_)) => {
                run.state = RunState::PutBack;
                run.undo = None;
                format!("what {action} changed is put back")
            }
            (_, Err(reason)) => {
                run.undo = None;
                format!("what {action} changed cannot be put back: {reason}")
            }
        };
        incident.note(now_ms, AGENT, note);
    }

    /// Somebody takes care of it. Its alert.
    ///
    /// # Errors
    /// There is no such incident, or it is over.
    pub fn acknowledge(&mut self, id: &str, who: &str, now_ms: u64) -> Result<AlertKey, Error> {
        let incident = self.incident(id)?;
        incident.go(State::Acknowledged)?;
        incident.acknowledged_ms.get_or_insert(now_ms);
        incident.note(now_ms, who, "acknowledged");
        Ok(incident.key.clone())
    }

    /// Somebody declares it over. Its alert.
    ///
    /// # Errors
    /// There is no such incident, or it is over already.
    pub fn resolve(&mut self, id: &str, who: &str, now_ms: u64) -> Result<AlertKey, Error> {
        let incident = self.incident(id)?;
        if !incident.state.is_going_on() {
            incident.go(State::Resolved)?;
        }
        settle(incident, who, "declared over", now_ms);
        Ok(incident.key.clone())
    }

    /// Somebody wants something done about it.
    ///
    /// # Errors
    /// There is no such incident, it is over, the action is not allowed, or too much is being done already.
    pub fn remediate(
        &mut self,
        id: &str,
        action: &Action,
        who: &str,
        now_ms: u64,
    ) -> Result<Option<Demand>, Error> {
        let (at_once, under_way, dry) = (self.policy.at_once, self.under_way(), self.policy.dry_run);
        let allowed = self.policy.allows(action);
        let incident = self.incident(id)?;
        let refused = |reason: String| Error::Action { action: action.to_string(), reason };
        if !allowed {
            return Err(refused("`incidents.allow` does not name it".to_owned()));
        }
        if !incident.state.is_going_on() {
            return Err(refused(format!("{id} is {}", incident.state.as_str())));
        }
        if under_way >= at_once {
            return Err(refused(format!(
                "{under_way} actions are under way, and `incidents.at_once` allows {at_once}; try again when they were checked"
            )));
        }
        let place = self.incidents.iter().position(|incident| incident.id == id).unwrap_or_default();
        Ok(self.order(place, action, None, now_ms + CHECK_BY_HAND_MS, dry, who, now_ms))
    }

    fn incident(&mut self, id: &str) -> Result<&mut Incident, Error> {
        let known: Vec<String> = self.incidents.iter().map(|incident| incident.id.clone()).collect();
        let found = self.incidents.iter_mut().find(|incident| incident.id == id);
        found.ok_or_else(|| Error::Unknown {
            place: "incidents".to_owned(),
            what: "incident",
            name: id.to_owned(),
            known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
        })
    }

    /// Means and counts.
    pub fn statistics(&self) -> Statistics {
        let mut by_state = BTreeMap::new();
        let mut runs = BTreeMap::new();
        for incident in &self.incidents {
            *by_state.entry(incident.state.as_str().to_owned()).or_default() += 1;
            for run in &incident.runs {
                *runs.entry(run.state.as_str().to_owned()).or_default() += 1;
            }
        }
        let mean = |of: fn(&Incident) -> Option<u64>| {
            let times: Vec<u64> = self.incidents.iter().filter_map(of).collect();
            (!times.is_empty()).then(|| times.iter().sum::<u64>() / times.len() as u64)
        };
        Statistics {
            by_state,
            to_detect_ms: mean(|one| Some(one.opened_ms.saturating_sub(one.since_ms))),
            to_acknowledge_ms: mean(|one| Some(one.acknowledged_ms?.saturating_sub(one.opened_ms))),
            to_recover_ms: mean(|one| Some(one.resolved_ms?.saturating_sub(one.opened_ms))),
            runs,
        }
    }
}

/// How often a step was taken since the incident was opened, the last time.
fn runs_of(incident: &Incident, playbook: &str, index: usize) -> usize {
    let of_step = |run: &&Run| {
        run.at_ms >= incident.opened_ms
            && run.step.as_ref().is_some_and(|(name, step)| name == playbook && *step == index)
    };
    incident.runs.iter().filter(of_step).count()
}

/// It is over, and what was being done has helped as far as anybody can tell.
fn settle(incident: &mut Incident, who: &str, what: &str, now_ms: u64) {
    if incident.go(State::Resolved).is_err() {
        return;
    }
    incident.resolved_ms = Some(now_ms);
    incident.note(now_ms, who, format!("resolved: {what}"));
    let helped: Vec<String> = incident
        .runs
        .iter_mut()
        .filter(|run| run.state == RunState::Applied)
        .map(|run| {
            run.state = RunState::Helped;
            run.action.to_string()
        })
        .collect();
    for action in helped {
        incident.note(now_ms, AGENT, format!("{action} helped"));
    }
}

#[cfg(test)]
#[path = "manager_tests.rs"]
mod tests;
