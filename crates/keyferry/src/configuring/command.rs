//! `keyferry config`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use keyferry_server::ClientError;
use keyferry_server::client::Method;
use keyferry_server::configuration::{
    Config, ConfigChange, ConfigPatch, ConfigRollback, ConfigStep, ConfigVersion,
};
use serde::Serialize;

use crate::cli::{ConfigArguments, ConfigCommand, ConfigHow, ConfigOf};
use crate::control::reach::{Agent, Directory};
use crate::error::{Error, Finding};
use crate::terminal;

/// How often it is asked whether a change that takes long has ended.
const LOOK: Duration = Duration::from_millis(250);

/// Shows or changes configurations.
///
/// # Errors
/// See [`Error`].
pub fn config(arguments: &ConfigArguments) -> Result<Finding, Error> {
    match &arguments.command {
        ConfigCommand::Show { of, all } => {
            each(of, |agent| agent.get("config"), |config, out| show(config, *all, out))
        }
        ConfigCommand::History { of } => each(of, |agent| agent.get("config/history"), history),
        ConfigCommand::Diff { of, from, to } => each(of, |agent| difference(agent, *from, *to), print_steps),
        ConfigCommand::Set { of, values, unset, how } => {
            let set = values.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
            let changes: BTreeMap<_, _> = set.chain(unset.iter().map(|key| (key.clone(), None))).collect();
            let patch = ConfigPatch(changes);
            each(of, |agent| change(agent, Method::PATCH, "config", &patch, how), changed)
        }
        ConfigCommand::Rollback { of, version, how } => {
            let rollback = ConfigRollback { version: *version };
            each(of, |agent| change(agent, Method::POST, "config/rollback", &rollback, how), changed)
        }
    }
}

/// Does something with every agent of a directory, of which there must be one at least, and prints what each says.
fn each<T: Serialize>(
    of: &ConfigOf,
    ask: impl Fn(&Agent) -> Result<T, ClientError>,
    for_people: impl Fn(&T, &mut dyn Write) -> io::Result<()>,
) -> Result<Finding, Error> {
    let agents = Directory::at(&of.directory)?.agents()?;
    if agents.is_empty() {
        return Err(Error::NoAgent(of.directory.clone()));
    }
    let mut out = terminal::output();
    for agent in agents {
        let answer = ask(&agent)?;
        if of.json {
            serde_json::to_writer(&mut out, &answer).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            for_people(&answer, &mut out)?;
        }
    }
    out.flush()?;
    Ok(Finding::Nothing)
}

/// Has the agent make a change, and waits until it has ended.
fn change(
    agent: &Agent,
    method: Method,
    path: &str,
    body: &impl Serialize,
    how: &ConfigHow,
) -> Result<ConfigChange, ClientError> {
    let path = if how.dry_run { format!("{path}?dry_run=true") } else { path.to_owned() };
    let mut change: ConfigChange = agent.change_config(method, &path, body, how.expect.as_deref())?;
    while let Some(ticket) = change.ticket {
        std::thread::sleep(LOOK);
        change = agent.get(&format!("config/changes/{ticket}"))?;
    }
    Ok(change)
}

fn difference(agent: &Agent, from: Option<u64>, to: Option<u64>) -> Result<Vec<ConfigStep>, ClientError> {
    let versions: Vec<ConfigVersion> = agent.get("config/history")?;
    let running = versions.first().map_or(0, |newest| newest.version);
    let to = to.unwrap_or(running);
    let before = versions.iter().map(|one| one.version).find(|version| *version < to);
    let from = from.or(before).unwrap_or(to);
    agent.get(&format!("config/diff?from={from}&to={to}"))
}

fn show(config: &Config, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let Config { version, probation_until, trying, fallback, file_refused, settings } = config;
    writeln!(
        out,
        "version {} ({}), by {}: {}",
        version.version, version.hash, version.author, version.cause
    )?;
    if probation_until.is_some() {
        writeln!(out, "it is on probation")?;
    }
    if let Some(keys) = trying {
        writeln!(out, "a change is being tried: {}", keys.join(", "))?;
    }
    if let Some(reason) = fallback {
        writeln!(out, "it ran last, and is in use because {reason}")?;
    }
    if let Some(reason) = file_refused {
        writeln!(out, "what the file says now is not in use: {reason}")?;
    }
    for setting in settings.iter().filter(|setting| all || setting.value.is_some()) {
        match &setting.value {
            Some(value) => {
                writeln!(out, "{} = {value}  ({}; {})", setting.key, setting.class, setting.origin)?
            }
            None => writeln!(out, "{}: {}  ({})", setting.key, setting.default, setting.class)?,
        }
    }
    Ok(())
}

fn history(versions: &Vec<ConfigVersion>, out: &mut dyn Write) -> io::Result<()> {
    for ConfigVersion { version, hash, author, cause, time, keys } in versions {
        let time = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + Duration::from_millis(*time));
        writeln!(out, "{version}  {time}  {hash}  {author}: {cause}  {}", keys.join(", "))?;
    }
    Ok(())
}

fn changed(change: &ConfigChange, out: &mut dyn Write) -> io::Result<()> {
    print_steps(&change.steps, out)?;
    match change.outcome.as_str() {
        "committed" => writeln!(out, "version {} ({}) is in use", change.version, change.hash),
        "planned" => writeln!(out, "nothing was changed: version {} is in use", change.version),
        _ => writeln!(out, "version {} says so already", change.version),
    }
}

fn print_steps(steps: &Vec<ConfigStep>, out: &mut dyn Write) -> io::Result<()> {
    let told = |value: &Option<String>| value.clone().unwrap_or_else(|| "default".to_owned());
    for ConfigStep { key, class, before, after } in steps {
        writeln!(out, "{key}: {} -> {} ({class})", told(before), told(after))?;
    }
    Ok(())
}
