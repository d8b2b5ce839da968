//! What an operator sees of alerts and incidents, and can do about them: the state machines in the words of the API.

use std::collections::BTreeMap;

use keyferry_alert::alert::{Alert, Standing};
use keyferry_alert::incident::{Action, Incident, RunState, report};
use keyferry_alert::labels::{Labels, Matchers};
use keyferry_alert::quiet::Silence;
use keyferry_server::alerting::{self as model, NewSilence, Response};
use keyferry_server::{Alerting as Served, Refusal};

use super::Alerting;
use super::desk::Desk;
use crate::shipment::wall_ms;

impl Alerting {
    /// Whether it has begun to watch.
    pub fn has_begun(&self) -> bool {
        self.lock().is_some()
    }
}

impl Served for Alerting {
    fn alerts(&self) -> model::Alerts {
        self.with(|desk| alerts(desk, wall_ms())).unwrap_or_default()
    }

    fn silences(&self) -> Vec<model::Silence> {
        self.with(|desk| desk.alerts.silences().iter().map(silence).collect()).unwrap_or_default()
    }

    fn silence(&self, new: &NewSilence, by: &str) -> model::Silence {
        let now_ms = wall_ms();
        let mut wanted = Silence {
            id: String::new(),
            matchers: new.matchers.clone().into_iter().collect::<Matchers>(),
            starts_ms: now_ms,
            ends_ms: now_ms.saturating_add(new.duration_ms),
            by: by.to_owned(),
            comment: new.comment.clone(),
        };
        wanted.id = self.with(|desk| desk.alerts.silence(wanted.clone())).unwrap_or_default();
        silence(&wanted)
    }

    fn end_silence(&self, id: &str) -> Result<(), Refusal> {
        let ended = self.with(|desk| desk.alerts.end_silence(id, wall_ms())).unwrap_or_default();
        ended.then_some(()).ok_or_else(|| Refusal::NotNow(format!("there is no silence {id}, or it is over")))
    }

    fn incidents(&self) -> model::Incidents {
        self.with(|desk| {
            let statistics = desk.incidents.statistics();
            model::Incidents {
                incidents: desk.incidents.incidents().iter().rev().map(incident).collect(),
                by_state: statistics.by_state,
                time_to_detect_ms: statistics.to_detect_ms,
                time_to_acknowledge_ms: statistics.to_acknowledge_ms,
                time_to_recover_ms: statistics.to_recover_ms,
                actions: statistics.runs,
            }
        })
        .unwrap_or_default()
    }

    fn incident(&self, id: &str) -> Option<model::Incident> {
        self.with(|desk| desk.incidents.find(id).map(incident)).flatten()
    }

    fn report(&self, id: &str) -> Option<String> {
        self.with(|desk| desk.incidents.find(id).map(report::markdown)).flatten()
    }

    fn respond(&self, id: &str, response: &Response, by: &str) -> Result<(), Refusal> {
        let now_ms = wall_ms();
        let not_now = |error: keyferry_alert::Error| Refusal::NotNow(error.to_string());
        let answer = self.with(|desk| match response {
            Response::Acknowledge => {
                let key = desk.incidents.acknowledge(id, by, now_ms).map_err(not_now)?;
                desk.alerts.acknowledge(&key, by);
                Ok(())
            }
            Response::Resolve => {
                let key = desk.incidents.resolve(id, by, now_ms).map_err(not_now)?;
                desk.alerts.resolve_incident(&key, now_ms);
                Ok(())
            }
            Response::Remediate(action) => {
                let action = Action::parse(action).map_err(Refusal::Invalid)?;
                let demand = desk.incidents.remediate(id, &action, by, now_ms).map_err(not_now)?;
                desk.wanted.extend(demand);
                Ok(())
            }
        });
        answer.unwrap_or_else(|| Err(Refusal::NotNow("this agent watches nothing yet".to_owned())))
    }
}

fn pairs(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn alerts(desk: &Desk, now_ms: u64) -> model::Alerts {
    let statistics = desk.alerts.statistics();
    let by_severity = statistics.fired_by_severity.iter();
    model::Alerts {
        alerts: desk.alerts.alerts().map(|one| alert(one, desk.alerts.quiet(one, now_ms))).collect(),
        channels: desk
            .outbox
            .health()
            .iter()
            .map(|(name, health)| model::Channel {
                name: name.clone(),
                told: health.told,
                failed: health.failed,
                given_up: health.given_up,
                last_told: health.told_ms,
                failing_since: health.failing_since_ms,
                error: health.error.clone(),
            })
            .collect(),
        waiting_notices: desk.outbox.len() as u64,
        fired: statistics.fired.clone(),
        fired_by_severity: by_severity.map(|(severity, count)| (severity.to_string(), *count)).collect(),
        ended: statistics.ended,
        flapped: statistics.flapped,
        notices: statistics.notices.clone(),
    }
}

fn alert(alert: &Alert, quiet: Option<String>) -> model::Alert {
    model::Alert {
        name: alert.key.rule.clone(),
        fingerprint: alert.key.fingerprint(),
        severity: alert.severity.to_string(),
        state: match alert.standing {
            Standing::Pending { .. } => "pending",
            Standing::Firing { .. } => "firing",
            Standing::Ended { .. } => "ended",
        }
        .to_owned(),
        labels: pairs(&alert.labels),
        summary: alert.summary.clone(),
        description: alert.description.clone(),
        runbook: alert.runbook.clone(),
        value: alert.value,
        since: alert.since_ms(),
        ended: alert.ended_ms(),
        acknowledged_by: alert.acknowledged_by.clone(),
        flapping: alert.flapping,
        quiet,
    }
}

fn silence(silence: &Silence) -> model::Silence {
    model::Silence {
        id: silence.id.clone(),
        matchers: silence.matchers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        starts: silence.starts_ms,
        ends: silence.ends_ms,
        by: silence.by.clone(),
        comment: silence.comment.clone(),
    }
}

fn incident(incident: &Incident) -> model::Incident {
    let happening = |entry: &keyferry_alert::incident::Entry| model::Happening {
        time: entry.at_ms,
        who: entry.who.clone(),
        what: entry.what.clone(),
    };
    model::Incident {
        id: incident.id.clone(),
        alert: incident.key.rule.clone(),
        title: incident.title.clone(),
        severity: incident.severity.to_string(),
        state: incident.state.as_str().to_owned(),
        labels: pairs(&incident.labels),
        opened: incident.opened_ms,
        acknowledged: incident.acknowledged_ms,
        resolved: incident.resolved_ms,
        reopened: incident.reopened,
        timeline: incident.timeline.iter().map(happening).collect(),
        actions: incident
            .runs
            .iter()
            .map(|run| model::Action {
                time: run.at_ms,
                action: run.action.to_string(),
                playbook: run.step.as_ref().map(|(playbook, _)| playbook.clone()),
                state: match run.state {
                    RunState::Ordered => "ordered",
                    RunState::Applied => "applied",
                    RunState::Helped => "helped",
                    RunState::DidNotHelp => "did_not_help",
                    RunState::PutBack => "put_back",
                    RunState::Failed => "failed",
                    RunState::Dry => "dry",
                }
                .to_owned(),
            })
            .collect(),
    }
}
