//! The file that says what is worth a person's attention, who is told, and what is done about it (`alerts.toml`).
//!
//! The invariant: **a file that is taken can be acted on.** Every name in it leads somewhere: channels of routes, rules of overrides, actions that whoever reads it can do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;

use serde::Deserialize;

use crate::channel::Channel;
use crate::error::Error;
use crate::incident::{IncidentPolicy, Playbook};
use crate::labels::{Labels, Matchers};
use crate::manager::{FlapPolicy, Heartbeat, Policy};
use crate::mention::{Inability, Mention};
use crate::quiet::{Inhibition, Maintenance};
use crate::route::Route;
use crate::rule::{Overrides, Rule};

const DEFAULT_RULES: &str = include_str!("default_rules.toml");

/// The name of the channel that is there without any configuration.
const LOG: &str = "log";

/// Everything that the file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Book {
    /// What an AlertManager goes by.
    pub policy: Policy,
    /// Where somebody is told.
    pub channels: Vec<Channel>,
    /// What is done about incidents.
    pub incidents: IncidentPolicy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    environment: Option<String>,
    #[serde(default)]
    labels: Labels,
    #[serde(default = "yes")]
    default_rules: bool,
    #[serde(default, rename = "rule")]
    rules: Vec<Rule>,
    #[serde(default, rename = "override")]
    overrides: BTreeMap<String, Overrides>,
    #[serde(default, rename = "channel")]
    channels: Vec<Channel>,
    #[serde(default, rename = "route")]
    routes: Vec<Route>,
    #[serde(default, rename = "inhibit")]
    inhibitions: Option<Vec<Inhibition>>,
    #[serde(default)]
    maintenance: Vec<Maintenance>,
    heartbeat: Option<Heartbeat>,
    #[serde(default)]
    flapping: FlapPolicy,
    #[serde(default)]
    incidents: IncidentPolicy,
    #[serde(default, rename = "playbook")]
    playbooks: Option<Vec<Playbook>>,
}

#[derive(Deserialize)]
struct Rules {
    #[serde(rename = "rule")]
    rules: Vec<Rule>,
}

fn yes() -> bool {
    true
}

impl Book {
    /// The file at `path`, for an agent that cannot do what `inability` says.
    ///
    /// # Errors
    /// It cannot be read, is not of the right form, or wants of the agent what it cannot do.
    pub fn read(path: &Path, inability: Inability<'_>) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::parse_for(&text, inability).map_err(|error| match error {
            Error::File { message, .. } => Error::File { path: path.to_owned(), message },
            other => Error::File { path: path.to_owned(), message: other.to_string() },
        })
    }

    /// What holds without a file: the default rules, told to the log.
    ///
    /// # Errors
    /// Never; a test holds that.
    pub fn of_defaults() -> Result<Self, Error> {
        Self::parse("")
    }

    /// The file with this text.
    ///
    /// # Errors
    /// It is not of the right form, or names what is not there.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::parse_for(text, &|_| None)
    }

    fn parse_for(text: &str, inability: Inability<'_>) -> Result<Self, Error> {
        let mentions = Mention::all_of(text);
        // Before all else: of an action that there is not, it says more than what it is not.
        mentions.iter().try_for_each(|mention| mention.check(inability))?;
        let file: File = parsed(text)?;
        mentions.iter().try_for_each(|mention| mention.check_allowed(&file.incidents.allow))?;
        let mut rules = if file.default_rules { default_rules()? } else { Vec::new() };
        for rule in file.rules {
            // A rule of the same name takes the place of the default one.
            rules.retain(|known| known.name != rule.name);
            rules.push(rule);
        }
        let rules = overridden(rules, file.environment.as_deref(), &file.overrides)?;
        let channels = if file.channels.is_empty() { log_only()? } else { file.channels };
        let names = names_of(&channels)?;
        let routes = if file.routes.is_empty() {
            vec![Route::to(names.iter().map(|name| (*name).to_owned()).collect())]
        } else {
            file.routes
        };
        check_routes(&routes, file.heartbeat.as_ref(), &names)?;
        let mut labels = file.labels;
        if let Some(environment) = file.environment {
            labels.set("environment", environment);
        }
        let playbooks = file.playbooks.map_or_else(default_playbooks, Ok)?;
        Ok(Self {
            policy: Policy {
                rules,
                routes,
                inhibitions: file.inhibitions.unwrap_or_else(default_inhibitions),
                maintenance: file.maintenance,
                labels,
                heartbeat: file.heartbeat,
                flapping: file.flapping,
            },
            channels,
            incidents: IncidentPolicy { playbooks, ..file.incidents },
        })
    }
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    toml::from_str(text).map_err(|error| Error::File {
        path: Path::new("alerts.toml").to_owned(),
        message: error.to_string(),
    })
}

/// The rules that hold unless the file says otherwise.
///
/// # Errors
/// Never; a test holds that.
pub fn default_rules() -> Result<Vec<Rule>, Error> {
    Ok(parsed::<Rules>(DEFAULT_RULES)?.rules)
}

/// The playbooks that hold unless the file has some.
fn default_playbooks() -> Result<Vec<Playbook>, Error> {
    #[derive(Deserialize)]
    struct Playbooks {
        #[serde(rename = "playbook")]
        playbooks: Vec<Playbook>,
    }
    Ok(parsed::<Playbooks>(include_str!("default_playbooks.toml"))?.playbooks)
}

fn log_only() -> Result<Vec<Channel>, Error> {
    Ok(vec![parsed(&format!("name = '{LOG}'\nlog = {{}}"))?])
}

/// A destination that nothing is sent to explains whatever is late, waits or fails there.
fn default_inhibitions() -> Vec<Inhibition> {
    let late = "Latency*|DeliveryBudget*|OldestEventOld|BacklogGrows|Backpressure|ErrorRate*|ConnectionFailures|EventVolumeDrop";
    let explained = |source: &str, target: &str| Inhibition {
        source: Matchers::from([("alertname", source)]),
        target: Matchers::from([("alertname", target)]),
        equal: vec!["destination".to_owned()],
    };
    vec![
        explained("BreakerOpen", late),
        explained("DestinationWaiting", late),
        explained("ErrorRateCritical", "ErrorRateHigh"),
        explained("LatencyP95Critical", "LatencyP95High"),
        explained("LatencyP99Critical", "LatencyP95*"),
        explained("DeliveryBudgetBurnsFast", "DeliveryBudgetBurns"),
        explained("MemoryCritical", "MemoryHigh"),
        explained("CpuCritical", "CpuHigh"),
    ]
}

fn overridden(
    rules: Vec<Rule>,
    environment: Option<&str>,
    overrides: &BTreeMap<String, Overrides>,
) -> Result<Vec<Rule>, Error> {
    let known: BTreeSet<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    for (environment, overrides) in overrides {
        if let Some(rule) = overrides.keys().find(|rule| !known.contains(rule.as_str())) {
            return Err(unknown(format!("override.{environment}"), "rule", rule, &known));
        }
    }
    let laid = environment.and_then(|environment| overrides.get(environment));
    let each = rules.into_iter().map(|rule| match laid.and_then(|laid| laid.get(&rule.name)) {
        Some(other) => rule.overridden(other),
        None => Ok(rule),
    });
    each.collect()
}

fn names_of(channels: &[Channel]) -> Result<BTreeSet<&str>, Error> {
    let mut names = BTreeSet::new();
    for channel in channels {
        if !names.insert(channel.name.as_str()) {
            let place = format!("channel `{}`", channel.name);
            return Err(Error::Setting {
                place,
                wrong: "there are two of this name; each needs its own".to_owned(),
            });
        }
    }
    Ok(names)
}

fn check_routes(
    routes: &[Route],
    heartbeat: Option<&Heartbeat>,
    names: &BTreeSet<&str>,
) -> Result<(), Error> {
    let of_route = |(place, route): (usize, &Route)| {
        let steps: Vec<String> = route.escalation.iter().flat_map(|step| step.channels.clone()).collect();
        let channels = route.channels.clone().into_iter().chain(steps);
        channels.map(move |channel| (format!("route {}", place + 1), channel)).collect::<Vec<_>>()
    };
    let of_heartbeat = heartbeat.into_iter().flat_map(|heartbeat| &heartbeat.channels);
    let of_heartbeat = of_heartbeat.map(|channel| ("heartbeat".to_owned(), channel.clone()));
    for (place, channel) in routes.iter().enumerate().flat_map(of_route).chain(of_heartbeat) {
        if !names.contains(channel.as_str()) {
            return Err(unknown(place, "channel", &channel, names));
        }
    }
    Ok(())
}

fn unknown(place: impl Display, what: &'static str, name: &str, known: &BTreeSet<&str>) -> Error {
    let known = known.iter().copied().collect::<Vec<_>>().join(", ");
    Error::Unknown { place: place.to_string(), what, name: name.to_owned(), known }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
