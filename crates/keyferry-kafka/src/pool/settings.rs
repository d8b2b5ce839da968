//! How a pool behaves.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::topics::TopicPolicy;

/// How many connections a pool keeps, and how patient it is with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// How many connections there are at first. A number outside of the two limits below is taken as the nearer of them.
    pub connections: usize,
    /// The least that there are, at least 1. An idle pool falls back to so many.
    pub min_connections: usize,
    /// The most that there are.
    pub max_connections: usize,
    /// The topics that a new connection must have heard of before it takes traffic, each once.
    pub topics: Vec<String>,
    /// What is to be done about them.
    pub topic_policy: TopicPolicy,
    /// How long a new generation may take until it is found healthy; after that the old one stays.
    pub warm_up_timeout: Duration,
    /// How long an old generation may acknowledge nothing while it is drained; after that its records are sent again through the new one.
    pub drain_timeout: Duration,
    /// How long little must have flowed before the pool falls back to `min_connections`.
    pub idle_after: Duration,
}

impl PoolSettings {
    /// One connection, for records of `topics`, with the patience that suits most networks.
    pub fn for_topics(topics: impl IntoIterator<Item = String>) -> Self {
        let topics = topics.into_iter().collect::<BTreeSet<_>>();
        Self { topics: topics.into_iter().collect(), ..Self::default() }
    }

    /// `connections` within the limits.
    pub(crate) fn clamp(&self, connections: usize) -> usize {
        let min = self.min_connections.max(1);
        connections.clamp(min, self.max_connections.max(min))
    }
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            connections: 1,
            min_connections: 1,
            max_connections: 4,
            topics: Vec::new(),
            topic_policy: TopicPolicy::default(),
            warm_up_timeout: Duration::from_secs(15),
            drain_timeout: Duration::from_secs(30),
            idle_after: Duration::from_secs(300),
        }
    }
}
