//! The configuration in the words of the API.

use keyferry_config::change::{Plan, Proposal, Refusal, Report, Step, Version, Wish};
use keyferry_config::{Given, SETTINGS, Setting};
use keyferry_server::configuration as model;
use keyferry_server::{Configuration, Refusal as Refused};

use super::Configuring;
use super::board::Board;
use super::desk::{Desk, Done, Fate, Wanted};

impl Configuring {
    /// Whether there is a configuration.
    pub fn has_begun(&self) -> bool {
        self.with_desk(|_| ()).is_some()
    }
}

impl Configuration for Configuring {
    fn config(&self) -> model::Config {
        self.with_desk(|desk| config(desk)).unwrap_or_default()
    }

    fn submit(&self, proposal: model::Proposal) -> u64 {
        let model::Proposal { author, wish, expected, dry_run } = proposal;
        let of = |wish| Proposal { author, wish, expected, dry_run };
        self.post(match wish {
            model::Wish::Set(changes) => Wanted::Here(of(Wish::Live(changes))),
            model::Wish::SetEverywhere(changes) => {
                Wanted::Everywhere(of(Wish::Live(changes.clone())), changes)
            }
            model::Wish::Rollback(version) => Wanted::Here(of(Wish::Version(version))),
        })
    }

    fn outcome(&self, ticket: u64) -> Option<Result<model::ConfigChange, Refused>> {
        match self
            .ended_as(ticket, |desk, result| result.as_ref().map(|done| change(desk, done)).map_err(refused))
        {
            Fate::Pending => None,
            Fate::Ended(result) => Some(result),
            Fate::Unknown => Some(Err(Refused::Invalid(format!("no change {ticket} is remembered")))),
        }
    }

    fn versions(&self) -> Vec<model::ConfigVersion> {
        self.with_desk(|desk| desk.changes.history().versions.iter().rev().map(version).collect())
            .unwrap_or_default()
    }

    fn difference(&self, from: u64, to: u64) -> Result<Vec<model::ConfigStep>, Refused> {
        let difference =
            self.with_desk(|desk| desk.changes.difference(from, to).as_ref().map(steps).map_err(refused));
        difference.unwrap_or_else(|| Ok(Vec::new()))
    }

    fn nodes(&self) -> Result<model::ConfigNodes, Refused> {
        let nodes = self.with_desk(|desk| match &desk.board {
            Some(board) if board.is_read() => Ok(nodes(board)),
            Some(Board { topic, trouble, .. }) => {
                let why = trouble.clone().unwrap_or_else(|| "it takes a moment".to_owned());
                Err(Refused::NotNow(format!("{topic} was not read to its end yet: {why}")))
            }
            None => Err(Refused::NotNow(Refusal::NoTopic.to_string())),
        });
        nodes.unwrap_or_else(|| Err(Refused::NotNow(Refusal::NoTopic.to_string())))
    }
}

fn nodes(board: &Board) -> model::ConfigNodes {
    let hash = board.values.hash();
    let node = |report: &Report| {
        let (decision, differs) = (report.decision.clone(), report.differs.clone());
        model::ConfigNode {
            node: report.node.clone(),
            agent: report.agent.clone(),
            time: report.time_ms,
            version: report.version,
            hash: report.hash.clone(),
            agrees: report.shared == hash && differs.is_empty(),
            has_decided: report.shared == hash,
            change: decision.as_ref().map(|decision| decision.change.clone()),
            outcome: decision.as_ref().map(|decision| decision.outcome.word().to_owned()),
            reason: decision.and_then(|decision| decision.reason),
            differs,
        }
    };
    let nodes: Vec<_> = board.reports.values().map(node).collect();
    let change = board.values.newest_change().map(|(id, change)| model::ConfigSharedChange {
        change: id.to_owned(),
        author: change.author.clone(),
        node: change.node.clone(),
        time: change.time_ms,
    });
    let values = board.values.values().iter().map(|(key, value)| (key.clone(), value.value.clone()));
    model::ConfigNodes {
        topic: board.topic.clone(),
        trouble: board.trouble.clone(),
        change,
        values: model::ConfigPatch(values.collect()),
        agree: nodes.iter().all(|node| node.agrees),
        nodes,
    }
}

fn config(desk: &Desk) -> model::Config {
    let givens = desk.changes.givens();
    let given = givens.iter().map(|(key, given)| setting(key, Some(given)));
    let defaults = SETTINGS.iter().filter(|setting| !givens.contains_key(setting.key));
    let mut settings: Vec<model::ConfigSetting> =
        given.chain(defaults.map(|default| setting(default.key, None))).collect();
    settings.sort_by(|one, other| one.key.cmp(&other.key));
    model::Config {
        version: version(desk.changes.running()),
        probation_until: desk.changes.probation_until_ms(),
        trying: desk.trying.clone(),
        fallback: desk.fallback.as_ref().map(|fallback| fallback.reason.clone()),
        file_refused: desk.file_refused.clone(),
        settings,
    }
}

fn setting(key: &str, given: Option<&Given>) -> model::ConfigSetting {
    let declared = Setting::by_key(&unqualified(key));
    let class = given.map(|given| given.class).or(declared.map(|setting| setting.class));
    model::ConfigSetting {
        key: key.to_owned(),
        value: given.map(|given| given.shown.clone()),
        default: declared.map_or("that of librdkafka", |setting| setting.default).to_owned(),
        origin: given
            .map_or_else(|| keyferry_config::Origin::Default.to_string(), |given| given.origin.to_string()),
        class: class.map(|class| class.word().to_owned()).unwrap_or_default(),
    }
}

/// `destination[west].delivery.linger` as `destination.delivery.linger`.
fn unqualified(key: &str) -> String {
    match key.split_once('[').and_then(|(table, rest)| Some((table, rest.split_once(']')?.1))) {
        Some((table, rest)) => format!("{table}{rest}"),
        None => key.to_owned(),
    }
}

fn version(version: &Version) -> model::ConfigVersion {
    model::ConfigVersion {
        version: version.number,
        hash: version.hash.clone(),
        author: version.author.clone(),
        cause: version.cause.clone(),
        time: version.time_ms,
        keys: version.keys.clone(),
    }
}

fn change(desk: &Desk, done: &Done) -> model::ConfigChange {
    let (outcome, plan, change) = match done {
        Done::Unchanged => ("unchanged", None, None),
        Done::Planned(plan) => ("planned", Some(plan), None),
        Done::Committed(plan) => ("committed", Some(plan), None),
        Done::Announced { plan, change } => ("announced", Some(plan), Some(change.clone())),
    };
    let running = desk.changes.running();
    model::ConfigChange {
        outcome: outcome.to_owned(),
        version: running.number,
        hash: running.hash.clone(),
        ticket: None,
        change,
        steps: plan.map(steps).unwrap_or_default(),
    }
}

fn steps(plan: &Plan) -> Vec<model::ConfigStep> {
    let step = |step: &Step| model::ConfigStep {
        key: step.key.clone(),
        class: step.class.word().to_owned(),
        before: step.before.clone(),
        after: step.after.clone(),
    };
    plan.steps.iter().map(step).collect()
}

fn refused(refusal: &Refusal) -> Refused {
    let told = refusal.to_string();
    match refusal {
        Refusal::Stale { .. } => Refused::Stale(told),
        Refusal::Failed { .. } | Refusal::Unannounced { .. } => Refused::NotNow(told),
        Refusal::Invalid(_)
        | Refusal::Restart { .. }
        | Refusal::Incomplete { .. }
        | Refusal::NoVersion { .. }
        | Refusal::NoTopic
        | Refusal::Withheld { .. } => Refused::Invalid(told),
    }
}
