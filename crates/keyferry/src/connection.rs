//! How a tool gets to Kafka: as the agent does, and as the command line says otherwise.

use keyferry_config::{Destination, Readiness, librdkafka};

use crate::cli::ConnectionArguments;
use crate::credentials;
use crate::error::Error;
use crate::shipment::{Plan, lack};

/// The destination of the configuration and of what the command line adds to it: the one called `name`, or the first. `topic` stands in for the topic of
/// user events, without which a destination is not complete.
///
/// # Errors
/// The configuration is wrong, lacks something, or knows no such destination.
pub fn destination(
    arguments: &ConnectionArguments,
    topic: Option<&str>,
    name: Option<&str>,
) -> Result<Destination, Error> {
    choose(&plan(arguments, topic)?, arguments, name)
}

/// The destination of `plan` that is called `name`, or the first.
///
/// # Errors
/// It lacks something, or there is no such destination.
pub fn choose(
    plan: &Plan,
    arguments: &ConnectionArguments,
    name: Option<&str>,
) -> Result<Destination, Error> {
    let is_meant = |one: &&Readiness| name.is_none_or(|name| one.name().as_str() == name);
    let Some(chosen) = plan.destinations.iter().find(is_meant) else {
        let names: Vec<&str> = plan.destinations.iter().map(|one| one.name().as_str()).collect();
        return Err(Error::Incomplete(format!(
            "the configuration has no destination {}; it has {}; give the agent's configuration by `--config`",
            name.unwrap_or_default(),
            names.join(", ")
        )));
    };
    if arguments.bootstrap_servers.is_some() && plan.destinations.first() != Some(chosen) {
        let text = "`--bootstrap-servers` speaks to the first destination of the configuration; set those of another one in the file";
        return Err(Error::Incomplete(text.to_owned()));
    }
    chosen.complete().cloned().ok_or_else(|| Error::Incomplete(lack(chosen).unwrap_or_default()))
}

/// What the configuration says, and what the command line adds to it. `topic` stands in for the topic of user events, without which a destination is not complete.
///
/// # Errors
/// The configuration is wrong.
pub fn plan(arguments: &ConnectionArguments, topic: Option<&str>) -> Result<Plan, Error> {
    let mut sources = credentials::sources();
    if let Some(file) = &arguments.config {
        sources = sources.with_file(file)?;
    }
    let servers = arguments.bootstrap_servers.iter().map(|servers| ("bootstrap-servers", servers.clone()));
    let topic = topic.map(|topic| ("topic-events", topic.to_owned()));
    let loaded = keyferry_config::load(&sources.with_options(servers.chain(topic)))?;
    Ok(Plan::of(loaded.config))
}

/// librdkafka's properties for it.
pub fn properties(arguments: &ConnectionArguments, destination: &Destination) -> Vec<(String, String)> {
    let configured = librdkafka::properties(destination).into_iter();
    let configured = configured.map(|(name, value)| (name, value.expose().to_owned()));
    configured.chain(arguments.properties.iter().cloned()).collect()
}
