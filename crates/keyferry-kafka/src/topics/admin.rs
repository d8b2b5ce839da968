//! What a client can ask the cluster about topics, and what it hears.

use std::time::Duration;

use keyferry_event::Failure;

/// A question to the cluster. The answer comes as an event of the client, at the latest when `timeout` is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub question: Question,
    /// For how long an answer is awaited.
    pub timeout: Duration,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which partitions these topics have, who leads them, and what we may do with them.
    Describe(Vec<String>),
    /// How these topics are configured.
    Configuration(Vec<String>),
    /// To create these topics.
    Create(Vec<NewTopic>),
}

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it gets; `None` is the broker's default.
    pub partitions: Option<u16>,
    /// How many brokers keep each of them; `None` is the broker's default.
    pub replication: Option<u16>,
    /// Its configuration where it differs from the broker's default.
    pub configuration: Vec<(String, String)>,
}

/// Something for each topic, by its name, or why there is nothing at all.
pub type OfTopics<T> = Result<Vec<(String, T)>, Failure>;

/// A topic's configuration, by name.
pub type Entries = Vec<(String, String)>;

/// What the cluster answered to a question of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One for each topic, in any order.
    Described(OfTopics<Described>),
    /// One for each topic, in any order: its configuration entries.
    Configuration(OfTopics<Result<Entries, Failure>>),
    /// One for each topic, in any order.
    Created(OfTopics<Result<(), Creation>>),
}

/// What the cluster says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Described {
    /// It exists.
    Present(Description),
    /// It does not, or we may not know of it.
    Missing,
    /// It is not told.
    Refused(Failure),
}

/// Why a topic was not created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// Somebody else has created it.
    Exists,
    /// The cluster refuses, or cannot.
    Failed(Failure),
}

/// A topic as the cluster sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// How many partitions it has.
    pub partitions: usize,
    /// How many of them have no leader at the moment.
    pub leaderless: usize,
    /// How many brokers keep a copy of the partition that has the fewest.
    pub replicas: usize,
    /// Whether we may write to it; `None` if the cluster does not tell.
    pub writable: Option<bool>,
}
