//! The configuration in the words of the API.

use keyferry_config::change::{Plan, Proposal, Refusal, Step, Version, Wish};
use keyferry_config::{Given, SETTINGS, Setting};
use keyferry_server::configuration as model;
use keyferry_server::{Configuration, Refusal as Refused};

use super::Configuring;
use super::desk::{Desk, Done, Fate};

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
        let wish = match wish {
            model::Wish::Set(changes) => Wish::Live(changes),
            model::Wish::Rollback(version) => Wish::Version(version),
        };
        self.post(Proposal { author, wish, expected, dry_run })
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
    let (outcome, plan) = match done {
        Done::Unchanged => ("unchanged", None),
        Done::Planned(plan) => ("planned", Some(plan)),
        Done::Committed(plan) => ("committed", Some(plan)),
    };
    let running = desk.changes.running();
    model::ConfigChange {
        outcome: outcome.to_owned(),
        version: running.number,
        hash: running.hash.clone(),
        ticket: None,
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
        Refusal::Failed { .. } => Refused::NotNow(told),
        Refusal::Invalid(_)
        | Refusal::Restart { .. }
        | Refusal::Incomplete { .. }
        | Refusal::NoVersion { .. }
        | Refusal::Withheld { .. } => Refused::Invalid(told),
    }
}
