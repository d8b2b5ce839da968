//! `keyferry breaker`, `keyferry tuner` and `keyferry pool`: looks at one aspect of an agent, or changes it.

use std::io::{self, Write};

use keyferry_config::ByteSize;
use keyferry_server::ClientError;
use keyferry_server::model::{
    Breaker, BreakerMode, LogLevel, OfSlots, Overrides, Pool, SetBreaker, SetFrozen, SetProfile, SetSize,
    Tuner,
};
use serde::Serialize;

use crate::cli::{
    AspectArguments, BreakerArguments, BreakerOrder, LogArguments, PoolArguments, PoolOrder, TunerArguments,
    TunerOrder,
};
use crate::control::print;
use crate::control::reach::{Agent, Directory};
use crate::error::{Error, Finding};
use crate::terminal;

/// Shows or forces circuit breakers.
///
/// # Errors
/// See [`Error`].
pub fn breaker(arguments: &BreakerArguments) -> Result<Finding, Error> {
    let states: Vec<OfSlots<Breaker>> = match arguments.order {
        None => look(&arguments.aspect, "breaker")?,
        Some(order) => change(&arguments.aspect, |agent, destination| {
            agent.put(destination, "breaker", &SetBreaker { mode: order.mode() })
        })?,
    };
    print(&states, &arguments.aspect, print::breakers)
}

/// Shows, freezes or redirects tuners.
///
/// # Errors
/// See [`Error`].
pub fn tuner(arguments: &TunerArguments) -> Result<Finding, Error> {
    let states: Vec<OfSlots<Tuner>> = match &arguments.order {
        None => look(&arguments.aspect, "tuner")?,
        Some(order) => change(&arguments.aspect, |agent, destination| match order {
            TunerOrder::Freeze => agent.put(destination, "tuner/frozen", &SetFrozen { frozen: true }),
            TunerOrder::Unfreeze => agent.put(destination, "tuner/frozen", &SetFrozen { frozen: false }),
            TunerOrder::Profile { profile } => {
                agent.put(destination, "tuner/profile", &SetProfile { profile: *profile })
            }
            TunerOrder::Override { batch_size, linger, compression, max_in_flight, connections } => {
                let overrides = Overrides {
                    batch_size: batch_size.map(ByteSize::as_bytes),
                    linger_ms: linger.map(|linger| u64::try_from(linger.as_millis()).unwrap_or(u64::MAX)),
                    compression: *compression,
                    max_in_flight: *max_in_flight,
                    connections: *connections,
                };
                agent.put(destination, "tuner/overrides", &overrides)
            }
            TunerOrder::Release => agent.put(destination, "tuner/overrides", &Overrides::default()),
        })?,
    };
    print(&states, &arguments.aspect, print::tuners)
}

/// Shows, replaces or resizes connections.
///
/// # Errors
/// See [`Error`].
pub fn pool(arguments: &PoolArguments) -> Result<Finding, Error> {
    let states: Vec<OfSlots<Pool>> = match arguments.order {
        None => look(&arguments.aspect, "pool")?,
        Some(order) => change(&arguments.aspect, |agent, destination| match order {
            PoolOrder::Reconnect => agent.post(destination, "pool/reconnect"),
            PoolOrder::Resize { connections } => {
                agent.put(destination, "pool/size", &SetSize { connections })
            }
        })?,
    };
    print(&states, &arguments.aspect, print::pools)
}

/// Changes from which level on agents log.
///
/// # Errors
/// See [`Error`].
pub fn log(arguments: &LogArguments) -> Result<Finding, Error> {
    let agents = Directory::at(&arguments.directory)?.agents()?;
    if agents.is_empty() {
        return Err(Error::NoAgent(arguments.directory.clone()));
    }
    for agent in agents {
        let now: LogLevel = agent.put_there("log", &LogLevel { level: arguments.level.clone() })?;
        let mut out = terminal::output();
        if arguments.json {
            serde_json::to_writer(&mut out, &now).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{} logs from {} on", agent.socket().display(), now.level)?;
        }
        out.flush()?;
    }
    Ok(Finding::Nothing)
}

impl BreakerOrder {
    fn mode(self) -> BreakerMode {
        match self {
            Self::Open => BreakerMode::Open,
            Self::Close => BreakerMode::Closed,
            Self::Auto => BreakerMode::Auto,
        }
    }
}

/// The agents of a directory, of which there must be one at least.
fn agents(arguments: &AspectArguments) -> Result<Vec<Agent>, Error> {
    let agents = Directory::at(&arguments.directory)?.agents()?;
    if agents.is_empty() { Err(Error::NoAgent(arguments.directory.clone())) } else { Ok(agents) }
}

/// One aspect of every destination that is meant.
fn look<T: serde::de::DeserializeOwned>(
    arguments: &AspectArguments,
    aspect: &str,
) -> Result<Vec<OfSlots<T>>, Error> {
    let mut states = Vec::new();
    for agent in agents(arguments)? {
        for destination in agent.destinations(arguments.destination.as_deref()) {
            states.push(agent.look(&destination, aspect)?);
        }
    }
    Ok(states)
}

/// Changes the destination that is meant, of every agent.
fn change<T>(
    arguments: &AspectArguments,
    change: impl Fn(&Agent, &str) -> Result<OfSlots<T>, ClientError>,
) -> Result<Vec<OfSlots<T>>, Error> {
    let mut states = Vec::new();
    for agent in agents(arguments)? {
        let destination = agent.destination(arguments.destination.as_deref())?;
        states.push(change(&agent, &destination)?);
    }
    Ok(states)
}

fn print<T: Serialize>(
    states: &[OfSlots<T>],
    arguments: &AspectArguments,
    for_people: impl Fn(&[OfSlots<T>], &mut dyn Write) -> io::Result<()>,
) -> Result<Finding, Error> {
    let mut out = terminal::output();
    if arguments.json {
        for state in states {
            serde_json::to_writer(&mut out, state).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    } else {
        for_people(states, &mut out)?;
    }
    out.flush()?;
    Ok(Finding::Nothing)
}
