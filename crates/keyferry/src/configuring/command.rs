//! `keyferry config`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use keyferry_server::ClientError;
use keyferry_server::client::Method;
use keyferry_server::configuration::{
    Config, ConfigChange, ConfigNode, ConfigNodes, ConfigPatch, ConfigRollback, ConfigSharedChange,
    ConfigStep, ConfigVersion,
};
use serde::Serialize;

use crate::cli::{ConfigArguments, ConfigCommand, ConfigHow, ConfigOf};
use crate::control::reach::{Agent, Directory};
use crate::error::{Error, Finding};
use crate::terminal::{self, plain};

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
        ConfigCommand::Nodes { of } => {
            let known = first(of, |agent| agent.get("config/nodes"), nodes)?;
            Ok(if known.agree { Finding::Nothing } else { Finding::Something })
        }
        ConfigCommand::Set { of, values, unset, all_nodes, how } => {
            let set = values.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
            let changes: BTreeMap<_, _> = set.chain(unset.iter().map(|key| (key.clone(), None))).collect();
            let patch = ConfigPatch(changes);
            if *all_nodes {
                let announce = |agent: &Agent| change(agent, Method::PATCH, "config/nodes", &patch, how);
                return first(of, announce, changed).map(|_| Finding::Nothing);
            }
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
    agents(of)?.iter().try_for_each(|agent| print(of, &ask(agent)?, &for_people))?;
    Ok(Finding::Nothing)
}

/// The same with one of them, where each would say the same.
fn first<T: Serialize>(
    of: &ConfigOf,
    ask: impl Fn(&Agent) -> Result<T, ClientError>,
    for_people: impl Fn(&T, &mut dyn Write) -> io::Result<()>,
) -> Result<T, Error> {
    let answer =
        agents(of)?.first().map(ask).transpose()?.ok_or_else(|| Error::NoAgent(of.directory.clone()))?;
    print(of, &answer, &for_people)?;
    Ok(answer)
}

/// The agents of a directory, of which there must be one at least.
fn agents(of: &ConfigOf) -> Result<Vec<Agent>, Error> {
    let agents = Directory::at(&of.directory)?.agents()?;
    if agents.is_empty() { Err(Error::NoAgent(of.directory.clone())) } else { Ok(agents) }
}

fn print<T: Serialize>(
    of: &ConfigOf,
    answer: &T,
    for_people: &impl Fn(&T, &mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    let mut out = terminal::output();
    if of.json {
        serde_json::to_writer(&mut out, answer).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        for_people(answer, &mut out)?;
    }
    Ok(out.flush()?)
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
        version.version,
        version.hash,
        plain(&version.author),
        version.cause
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
        writeln!(out, "{version}  {time}  {hash}  {}: {cause}  {}", plain(author), keys.join(", "))?;
    }
    Ok(())
}

fn nodes(known: &ConfigNodes, out: &mut dyn Write) -> io::Result<()> {
    let ConfigNodes { topic, trouble, change, values, agree: _, nodes } = known;
    match change {
        Some(ConfigSharedChange { change, author, node, time }) => {
            let (change, author, node) = (plain(change), plain(author), plain(node));
            writeln!(
                out,
                "change {change} of {} is the latest for all nodes, by {author} at {node}",
                terminal::time(*time)
            )?
        }
        None => writeln!(out, "nothing was changed for all nodes by {topic}")?,
    }
    if let Some(trouble) = trouble {
        writeln!(out, "what follows may be old: {topic}: {trouble}")?;
    }
    for (key, value) in &values.0 {
        writeln!(
            out,
            "{} = {}",
            plain(key),
            plain(value.as_deref().unwrap_or("(as each node is configured)"))
        )?;
    }
    nodes.iter().try_for_each(|node| print_node(node, out))
}

fn print_node(node: &ConfigNode, out: &mut dyn Write) -> io::Result<()> {
    let ConfigNode {
        node,
        agent,
        time,
        version,
        hash,
        agrees,
        has_decided,
        change,
        outcome,
        reason,
        differs,
    } = node;
    let state = match (agrees, has_decided) {
        (true, _) => "agrees".to_owned(),
        (false, true) => format!("differs in {}", differs.join(", ")),
        (false, false) => "has not decided on the latest change".to_owned(),
    };
    // Whoever writes to the topic must not steer a terminal.
    let told =
        format!("{node}: {state}; version {version} ({hash}), agent {agent}, {}", terminal::time(*time));
    writeln!(out, "{}", plain(&told))?;
    if let (Some(change), Some(outcome)) = (change, outcome) {
        let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        writeln!(out, "{}", plain(&format!("  change {change} was {}{reason}", outcome.replace('-', " "))))?;
    }
    Ok(())
}

fn changed(change: &ConfigChange, out: &mut dyn Write) -> io::Result<()> {
    print_steps(&change.steps, out)?;
    match change.outcome.as_str() {
        "committed" => writeln!(out, "version {} ({}) is in use", change.version, change.hash),
        "announced" => writeln!(
            out,
            "change {} is announced to all nodes; `keyferry config nodes` tells what becomes of it",
            change.change.as_deref().unwrap_or_default()
        ),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_node_runs_is_told_with_why_it_is_another() {
        let decided = |node: &str, outcome: &str, reason: Option<&str>, differs: &[&str]| ConfigNode {
            node: node.to_owned(),
            agent: "0.1.0".to_owned(),
            time: 1_790_000_001_000,
            version: 3,
            hash: "9b1d".to_owned(),
            agrees: differs.is_empty(),
            has_decided: true,
            change: Some("5f0c".to_owned()),
            outcome: Some(outcome.to_owned()),
            reason: reason.map(str::to_owned),
            differs: differs.iter().map(|key| (*key).to_owned()).collect(),
        };
        let late = ConfigNode {
            has_decided: false,
            agrees: false,
            change: None,
            outcome: None,
            ..decided("kc-2", "", None, &[])
        };
        let change = ConfigSharedChange {
            change: "5f0c".to_owned(),
            author: "uid 0 (process 7)".to_owned(),
            node: "kc-0".to_owned(),
            time: 1_790_000_000_000,
        };
        let linger = "destination.delivery.linger";
        let values = [(linger.to_owned(), Some("20ms".to_owned())), ("log.level".to_owned(), None)];
        let known = ConfigNodes {
            topic: "keyferry-config".to_owned(),
            trouble: Some("nobody answers".to_owned()),
            change: Some(change),
            values: ConfigPatch(values.into()),
            agree: false,
            nodes: vec![
                decided("kc-0", "applied", None, &[]),
                decided("kc-1", "taken-back", Some("the breaker\u{1b}[2J has opened"), &[linger]),
                late,
            ],
        };
        let mut out = Vec::new();
        nodes(&known, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        change 5f0c of 2026-09-21T14:13:20.000Z is the latest for all nodes, by uid 0 (process 7) at kc-0
        what follows may be old: keyferry-config: nobody answers
        destination.delivery.linger = 20ms
        log.level = (as each node is configured)
        kc-0: agrees; version 3 (9b1d), agent 0.1.0, 2026-09-21T14:13:21.000Z
          change 5f0c was applied
        kc-1: differs in destination.delivery.linger; version 3 (9b1d), agent 0.1.0, 2026-09-21T14:13:21.000Z
          change 5f0c was taken back: the breaker�[2J has opened
        kc-2: has not decided on the latest change; version 3 (9b1d), agent 0.1.0, 2026-09-21T14:13:21.000Z
        ");
        let mut out = Vec::new();
        nodes(&ConfigNodes { topic: "keyferry-config".to_owned(), ..ConfigNodes::default() }, &mut out)
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "nothing was changed for all nodes by keyferry-config\n");
    }
}
