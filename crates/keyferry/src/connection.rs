//! How a tool gets to Kafka: as the agent does, and as the command line says otherwise.

use std::time::Duration;

use keyferry_config::{Destination, Readiness, librdkafka};
use keyferry_event::routing::TopicTemplate;
use keyferry_kafka::consume::{Begin, TopicReader, Until};

use crate::cli::{ConnectionArguments, TopicsArguments};
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

/// The topics that a tool reads.
pub struct Topics {
    /// Those that are named, or are configured.
    pub names: Vec<String>,
    /// What may have made others.
    template: Option<TopicTemplate>,
    properties: Vec<(String, String)>,
    patience: Duration,
}

impl Topics {
    /// Those that the command line names, or those of its destination.
    ///
    /// # Errors
    /// The configuration is wrong, lacks something, or knows no such destination.
    pub fn of(arguments: &TopicsArguments) -> Result<Self, Error> {
        let TopicsArguments { topics, destination, connection } = arguments;
        let destination =
            self::destination(connection, topics.first().map(String::as_str), destination.as_deref())?;
        let configured = || {
            let admin = destination.topic_admin_events.iter().map(ToString::to_string);
            std::iter::once(destination.topic_events.to_string()).chain(admin).collect()
        };
        let mut names: Vec<String> = if topics.is_empty() { configured() } else { topics.clone() };
        names.sort();
        names.dedup();
        Ok(Self {
            names,
            template: destination.content.routing.topic.clone().filter(|_| topics.is_empty()),
            properties: properties(connection, &destination),
            patience: Duration::from_secs(connection.timeout),
        })
    }

    /// Opens a part of them. Whatever the template may have made belongs to the destination.
    ///
    /// # Errors
    /// Kafka does not answer, or refuses.
    pub fn open(&self, from: Begin, until: Until) -> Result<TopicReader, Error> {
        let may_have_made =
            self.template.as_ref().map(|template| move |topic: &str| template.may_have_made(topic));
        let is_wanted = may_have_made.as_ref().map(|is_wanted| is_wanted as &dyn Fn(&str) -> bool);
        let properties = self.properties.iter().cloned();
        Ok(TopicReader::open_part(properties, &self.names, is_wanted, from, until, self.patience)?)
    }
}
