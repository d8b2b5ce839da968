//! Names that are restricted: topics and the servers to begin with by Kafka, destinations by the files that bear their names.
//!
//! The invariant: **a value of one of these types is one that Kafka, or the file system, accepts**. What would fail at the first
//! record fails here instead, with the name and the rule in the message.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

/// Why a text is not a legal topic name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "a topic name: 1 to 249 characters out of letters, digits, `.`, `_` and `-`, and neither `.` nor `..`"
)]
pub struct IllegalTopicName;

/// The name of a Kafka topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TopicName(String);

/// Kafka's own limit: the name becomes part of a directory name on the broker.
const LONGEST_TOPIC_NAME: usize = 249;

impl TopicName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TopicName {
    type Err = IllegalTopicName;

    fn from_str(text: &str) -> Result<Self, IllegalTopicName> {
        let legal = (1..=LONGEST_TOPIC_NAME).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
            && text != "."
            && text != "..";
        if legal { Ok(Self(text.to_owned())) } else { Err(IllegalTopicName) }
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a legal name of a destination.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a name: 1 to 64 characters out of small letters, digits and `-`")]
pub struct IllegalDestinationName;

/// The name of a destination. It becomes part of file names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DestinationName(String);

/// Long enough for any name that means something, and far from what file systems allow.
const LONGEST_DESTINATION_NAME: usize = 64;

impl DestinationName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for DestinationName {
    /// The name of a destination that has no need of one, because it is the only one.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl FromStr for DestinationName {
    type Err = IllegalDestinationName;

    fn from_str(text: &str) -> Result<Self, IllegalDestinationName> {
        let legal = (1..=LONGEST_DESTINATION_NAME).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if legal { Ok(Self(text.to_owned())) } else { Err(IllegalDestinationName) }
    }
}

impl fmt::Display for DestinationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The servers that a client asks first, each with its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapServers(Vec<Server>);

/// A host and its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
}

/// Why a text is not a list of servers. The messages name the entry and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IllegalServers {
    /// No entry at all.
    #[error("at least one `host:port`")]
    Empty,
    /// An entry without a port.
    #[error("`host:port` in each entry; `{entry}` has no port, write for example `{example}`")]
    PortMissing {
        /// The entry.
        entry: String,
        /// The entry with Kafka's usual port.
        example: String,
    },
    /// An entry whose port is not one.
    #[error("a port from 1 to 65535 in each entry; the one in `{entry}` is not")]
    PortIllegal {
        /// The entry.
        entry: String,
    },
    /// A pasted URL with credentials. Nothing of it is repeated, because a password may contain the comma as well.
    #[error(
        "`host:port` in each entry, and no user and password in front of an `@`: set the SASL options instead"
    )]
    Credentials,
    /// An entry whose host is not one.
    #[error(
        "`host:port` in each entry (an IPv6 address in brackets: `[::1]:9092`), and `{entry}` is not that"
    )]
    HostIllegal {
        /// The entry.
        entry: String,
    },
}

impl Server {
    /// The host name or address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn parse(entry: &str) -> Result<Self, IllegalServers> {
        // Kafka's Java client accepts `SASL_SSL://host:port` and does not look at the protocol in it.
        let address = entry.split_once("://").map_or(entry, |(_, address)| address);
        let (host, port) = match address.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').ok_or_else(|| host_illegal(entry))?,
            None => split_port(address).ok_or_else(|| host_illegal(entry))?,
        };
        if !is_host(host, address.starts_with('[')) {
            return Err(host_illegal(entry));
        }
        let port = match port.strip_prefix(':') {
            Some(port) => port,
            None if port.is_empty() => {
                let example = format!("{entry}:9092");
                return Err(IllegalServers::PortMissing { entry: entry.to_owned(), example });
            }
            None => return Err(host_illegal(entry)),
        };
        match port.parse::<u16>() {
            Ok(port) if port != 0 => Ok(Self { host: host.to_owned(), port }),
            _ => Err(IllegalServers::PortIllegal { entry: entry.to_owned() }),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl BootstrapServers {
    /// The servers, at least one.
    pub fn servers(&self) -> &[Server] {
        &self.0
    }
}

impl FromStr for BootstrapServers {
    type Err = IllegalServers;

    fn from_str(text: &str) -> Result<Self, IllegalServers> {
        if text.contains('@') {
            return Err(IllegalServers::Credentials);
        }
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let servers = entries.map(Server::parse).collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() { Err(IllegalServers::Empty) } else { Ok(Self(servers)) }
    }
}

impl fmt::Display for BootstrapServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, server) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{server}")?;
        }
        Ok(())
    }
}

impl Serialize for BootstrapServers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

/// `host` and `:port` (or nothing); `None` for an IPv6 address without brackets, where the port cannot be told.
fn split_port(address: &str) -> Option<(&str, &str)> {
    match address.find(':') {
        Some(first) if address.rfind(':') != Some(first) => None,
        Some(colon) => Some(address.split_at(colon)),
        None => Some((address, "")),
    }
}

fn is_host(host: &str, bracketed: bool) -> bool {
    let legal = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'-' | b'_')
            || (bracketed && matches!(byte, b':' | b'%'))
    };
    !host.is_empty() && host.bytes().all(legal)
}

fn host_illegal(entry: &str) -> IllegalServers {
    IllegalServers::HostIllegal { entry: entry.to_owned() }
}
