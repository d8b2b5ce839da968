//! The agents that ship the journal: whether they run, and what they say of themselves.

use std::path::{Path, PathBuf};

use keyferry_server::configuration::Config;
use keyferry_server::model::{BreakerMode, BreakerState, Delivery, Level, State, Status};
use keyferry_server::{Client, ClientError};

use super::checks::{
    AGENT_ANSWERS, AGENT_BACKLOG, AGENT_BREAKER, AGENT_DEAD_LETTERS, AGENT_DELIVERY, AGENT_MISSING,
    AGENT_RUNNING, AGENT_VERSION, CONFIG_IN_USE, Check,
};
use super::finding::Finding;
use super::journal::Content;
use crate::journal::slot::Slot;
use crate::terminal::count;

/// What a running agent says.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How it does.
    pub status: Status,
    /// What is configured, if it tells.
    pub config: Option<Config>,
}

/// Where an agent may be reached: in the journal, in each slot, and in the journal that a slot is of.
pub fn places(place: &Path, slots: &[Slot]) -> Vec<PathBuf> {
    let mut places = vec![place.to_owned()];
    places.extend(slots.iter().map(|slot| slot.path().to_owned()));
    let is_slot = slots.iter().any(|slot| slot.path() == place);
    if let (true, Ok(path)) = (is_slot, place.canonicalize()) {
        places.extend(path.parent().map(Path::to_owned));
    }
    places.dedup();
    places
}

/// What the agent with its socket in `directory` says; `None` if none has one there.
///
/// # Errors
/// In words, why it does not answer.
pub fn ask(directory: &Path) -> Option<Result<Answer, String>> {
    let client = Client::of(directory);
    match client.get("/api/v1/status") {
        Ok(status) => {
            let config = client.get("/api/v1/config").ok();
            Some(Ok(Answer { status, config }))
        }
        Err(ClientError::NoAgent(_)) => None,
        Err(error) => Some(Err(error.to_string())),
    }
}

/// What follows from what slots hold and agents say, for a doctor of `version`.
pub fn judge(
    place: &Path,
    contents: &[Content],
    answers: &[Result<Answer, String>],
    version: &str,
) -> Vec<Finding> {
    let said: Vec<&Answer> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    let mut findings: Vec<_> = contents.iter().map(|content| judge_slot(content, &said, answers)).collect();
    if said.is_empty() {
        let place = place.display();
        let failed = if answers.is_empty() { &AGENT_RUNNING } else { &AGENT_ANSWERS };
        let later: [&'static Check; 7] = [
            &AGENT_VERSION,
            &CONFIG_IN_USE,
            &AGENT_BREAKER,
            &AGENT_DELIVERY,
            &AGENT_BACKLOG,
            &AGENT_DEAD_LETTERS,
            &AGENT_MISSING,
        ];
        findings.extend(later.map(|check| check.skipped(&place, format!("no agent tells ({})", failed.id))));
    }
    for answer in said {
        findings.extend(judge_answer(answer, version));
    }
    findings
}

/// Whether somebody ships a slot that needs it, and can be spoken to.
fn judge_slot(content: &Content, said: &[&Answer], answers: &[Result<Answer, String>]) -> Finding {
    let slot = &content.slot;
    match (&content.agent, content.needs_agent()) {
        (Some(_), _) if said.iter().any(|answer| answer.status.serves(slot)) => {
            AGENT_RUNNING.ok(slot, "an agent ships it")
        }
        // It may still be waiting for its configuration, and says so.
        (Some(_), _) if said.iter().any(|answer| answer.status.about.waiting.is_some()) => {
            AGENT_RUNNING.ok(slot, "an agent holds it")
        }
        (Some(holder), _) => {
            let reason = answers.iter().find_map(|answer| answer.as_ref().err());
            let reason = reason.map_or_else(|| "there is no socket".to_owned(), Clone::clone);
            AGENT_ANSWERS.problem(slot, format!("{holder} holds its lock and does not answer: {reason}"))
        }
        (None, true) => AGENT_RUNNING.problem(slot, "no agent ships it, and it holds or will hold events"),
        (None, false) => AGENT_RUNNING.ok(slot, "nobody writes it, and everything in it is delivered"),
    }
}

fn judge_answer(Answer { status, config }: &Answer, version: &str) -> Vec<Finding> {
    let place = format!("agent {}", status.about.pid);
    let mut findings = vec![judge_version(&place, &status.about.agent, version)];
    findings.extend(config.iter().map(|config| judge_config(&place, config)));
    if let Some(reason) = &status.about.waiting {
        findings.push(AGENT_DELIVERY.problem(&place, format!("it ships nothing: {reason}")));
    }
    for destination in &status.destinations {
        for delivery in &destination.slots {
            findings.extend(judge_delivery(&format!("{} {}", destination.name, delivery.slot), delivery));
        }
    }
    findings
}

fn judge_version(place: &str, agent: &str, version: &str) -> Finding {
    if agent == version {
        AGENT_VERSION.ok(place, version)
    } else {
        AGENT_VERSION.warning(place, format!("it is {agent}, and this is {version}"))
    }
}

fn judge_config(place: &str, config: &Config) -> Finding {
    if let Some(reason) = &config.fallback {
        return CONFIG_IN_USE.problem(place, format!("it uses what ran last: {reason}"));
    }
    match &config.file_refused {
        Some(reason) => {
            CONFIG_IN_USE.problem(place, format!("it does not use what the file says now: {reason}"))
        }
        None => CONFIG_IN_USE.ok(place, format!("version {} is in use", config.version.version)),
    }
}

fn judge_delivery(place: &str, delivery: &Delivery) -> Vec<Finding> {
    let Delivery { counts, .. } = delivery;
    let missing = counts.missing_events + counts.damaged_ranges;
    vec![
        judge_breaker(place, delivery),
        judge_state(place, delivery),
        judge_backlog(place, delivery),
        if counts.dead_letters > 0 {
            AGENT_DEAD_LETTERS.warning(place, count(counts.dead_letters, "dead letter"))
        } else {
            AGENT_DEAD_LETTERS.ok(place, "there is none")
        },
        if missing > 0 {
            let events = count(counts.missing_events, "event");
            let ranges = count(counts.damaged_ranges, "damaged range");
            AGENT_MISSING.warning(place, format!("{events} could not be journaled, {ranges} not read"))
        } else {
            AGENT_MISSING.ok(place, "nothing is missing")
        },
    ]
}

fn judge_breaker(place: &str, Delivery { breaker, .. }: &Delivery) -> Finding {
    if breaker.state == BreakerState::Closed {
        return AGENT_BREAKER.ok(place, "it is closed");
    }
    let forced = if breaker.mode == BreakerMode::Open { ", forced by an operator" } else { "" };
    let reason = breaker.reason.as_deref().unwrap_or("it does not say why");
    AGENT_BREAKER.problem(place, format!("it is open{forced}: {reason}"))
}

fn judge_state(place: &str, delivery: &Delivery) -> Finding {
    let reason = delivery.reason.as_deref().unwrap_or("it does not say why");
    match delivery.state {
        State::Blocked | State::Waiting if delivery.breaker.state != BreakerState::Closed => {
            AGENT_DELIVERY.after(place, &AGENT_BREAKER)
        }
        State::Blocked | State::Waiting => AGENT_DELIVERY.problem(place, reason),
        state => AGENT_DELIVERY.ok(place, state.to_string()),
    }
}

fn judge_backlog(place: &str, Delivery { backlog, .. }: &Delivery) -> Finding {
    let reason = backlog.reason.as_deref().unwrap_or_default();
    let told = format!("{}: {reason}", backlog.level);
    match backlog.level {
        Level::Normal => AGENT_BACKLOG.ok(place, backlog.level.to_string()),
        Level::Elevated => AGENT_BACKLOG.warning(place, told),
        Level::High | Level::Critical => AGENT_BACKLOG.problem(place, told),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use keyferry_journal::LockHolder;
    use keyferry_server::model::{About, Backlog, Breaker, Counts, Destination};

    use super::*;
    use crate::doctor::finding::Severity;
    use crate::doctor::journal::{Attempt, Reading};

    fn delivery() -> Delivery {
        Delivery {
            slot: "slot-0".to_owned(),
            adopted: false,
            state: State::Idle,
            reason: None,
            counts: Counts::default(),
            last_delivery: None,
            backlog: Backlog::default(),
            breaker: Breaker::default(),
            registry: None,
        }
    }

    fn answer(delivery: Delivery) -> Answer {
        let about = About { agent: "1.0".to_owned(), pid: 7, started: 0, waiting: None };
        let destination =
            Destination { name: "default".to_owned(), state: delivery.state, slots: vec![delivery] };
        let status = Status { about, ready: true, reason: None, destinations: vec![destination] };
        Answer { status, config: Some(Config::default()) }
    }

    fn content(agent: bool, writer: bool) -> Content {
        let holder = |held: bool| held.then_some(LockHolder::Process(7));
        Content {
            slot: "slot-0".to_owned(),
            writer: holder(writer),
            agent: holder(agent),
            held: BTreeMap::new(),
            attempt: Attempt::Through(Reading::default()),
        }
    }

    fn wrong(content: Content, answers: &[Result<Answer, String>]) -> Vec<(&'static str, Severity)> {
        let findings = judge(Path::new("journal"), &[content], answers, "1.0").into_iter();
        let wrong = findings.filter(|finding| finding.severity > Severity::Ok);
        wrong.map(|finding| (finding.check, finding.severity)).collect()
    }

    #[test]
    fn a_slot_that_is_written_needs_an_agent_that_answers() {
        assert_eq!(wrong(content(true, true), &[Ok(answer(delivery()))]), []);
        assert_eq!(wrong(content(false, false), &[]), []);
        assert_eq!(wrong(content(false, true), &[]), [("agent.running", Severity::Problem)]);
        let hangs = [Err("nothing".to_owned())];
        assert_eq!(wrong(content(true, true), &hangs), [("agent.answers", Severity::Problem)]);
    }

    #[test]
    fn what_an_agent_says_of_itself_is_judged() {
        let open = Breaker { state: BreakerState::Open, ..Breaker::default() };
        let level = |level| Backlog { level, ..Backlog::default() };
        for (told, id, severity) in [
            (Delivery { breaker: open.clone(), ..delivery() }, "agent.breaker", Severity::Problem),
            (
                Delivery { breaker: open, state: State::Blocked, ..delivery() },
                "agent.breaker",
                Severity::Problem,
            ),
            (Delivery { state: State::Blocked, ..delivery() }, "agent.delivery", Severity::Problem),
            (Delivery { backlog: level(Level::Elevated), ..delivery() }, "agent.backlog", Severity::Warning),
            (Delivery { backlog: level(Level::High), ..delivery() }, "agent.backlog", Severity::Problem),
            (
                Delivery { counts: Counts { dead_letters: 1, ..Counts::default() }, ..delivery() },
                "agent.dead-letters",
                Severity::Warning,
            ),
            (
                Delivery { counts: Counts { missing_events: 1, ..Counts::default() }, ..delivery() },
                "agent.missing",
                Severity::Warning,
            ),
        ] {
            assert_eq!(wrong(content(true, true), &[Ok(answer(told))]), [(id, severity)]);
        }
        let mut other = answer(delivery());
        other.status.about.agent = "0.9".to_owned();
        assert_eq!(wrong(content(true, true), &[Ok(other)]), [("agent.version", Severity::Warning)]);
        let mut refused = answer(delivery());
        refused.config = Some(Config { file_refused: Some("no".to_owned()), ..Config::default() });
        assert_eq!(wrong(content(true, true), &[Ok(refused)]), [("config.in-use", Severity::Problem)]);
    }
}
