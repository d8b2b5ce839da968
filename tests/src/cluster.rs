//! A cluster of real brokers on this machine, each of which is a controller too.

use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use xtask::cache::Cache;

use crate::kafka::{Kafka, Membership, Options};
use crate::{Error, Result, port, wait};

const LIMIT: Duration = Duration::from_secs(60);
const REQUEST_LIMIT: Duration = Duration::from_secs(2);

/// Brokers that replicate each topic to all of them, and acknowledge what all but one have.
#[derive(Debug)]
pub struct Cluster {
    brokers: Vec<Kafka>,
}

impl Cluster {
    /// Prepares and starts so many brokers below `directory`.
    ///
    /// # Errors
    /// Where Kafka cannot be fetched or one does not start.
    pub fn start(directory: &Path, brokers: usize) -> Result<Self> {
        let cache = Cache::from_environment()?;
        let controllers: Vec<u16> = (0..brokers).map(|_| port::free()).collect::<Result<_>>()?;
        let prepare = |place| {
            let membership = Membership { place, controllers: controllers.clone() };
            Kafka::prepare(&cache, &directory.join(format!("kafka-{place}")), membership, Options::default())
        };
        let mut brokers: Vec<Kafka> = (0..brokers).map(prepare).collect::<Result<_>>()?;
        brokers.iter_mut().try_for_each(Kafka::launch)?;
        brokers.iter_mut().try_for_each(Kafka::wait_until_it_serves)?;
        let cluster = Self { brokers };
        wait::until("the brokers' knowing of each other", LIMIT, || cluster.is_whole().then_some(()))?;
        Ok(cluster)
    }

    /// All brokers, for clients without authentication.
    pub fn bootstrap_servers(&self) -> String {
        self.brokers.iter().map(Kafka::bootstrap_servers).collect::<Vec<_>>().join(",")
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.brokers.len()
    }

    /// Creates a topic with a replica on every broker.
    ///
    /// # Errors
    /// Where the cluster refuses.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<()> {
        self.brokers[0].create_topic(name, partitions)?;
        self.wait_until_replicated(name)
    }

    /// Creates a topic whose partitions have no second copy: a broker that stops takes its part of them along.
    ///
    /// # Errors
    /// Where the cluster refuses.
    pub fn create_topic_without_copies(&self, name: &str, partitions: i32) -> Result<()> {
        self.brokers[0].create_replicated(name, partitions, 1)
    }

    /// Stops a broker in order.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn stop(&mut self, place: usize) -> Result<()> {
        self.brokers[place].stop()
    }

    /// Stops a broker in order, starts it again, and waits until it has every record of the topic: what an operator does with one after the other.
    ///
    /// # Errors
    /// Where it does not.
    pub fn restart(&mut self, place: usize, topic: &str) -> Result<()> {
        self.brokers[place].stop()?;
        self.brokers[place].start()?;
        self.wait_until_replicated(topic)
    }

    /// Waits until every replica of a topic is in sync.
    fn wait_until_replicated(&self, topic: &str) -> Result<()> {
        let consumer = self.client()?;
        let is_replicated = || {
            let metadata = consumer.fetch_metadata(Some(topic), REQUEST_LIMIT).ok()?;
            let partitions = metadata.topics().first()?.partitions();
            let all = partitions.iter().all(|partition| partition.isr().len() == self.brokers.len());
            (all && !partitions.is_empty()).then_some(())
        };
        wait::until(&format!("the replication of {topic}"), LIMIT, is_replicated)
    }

    fn is_whole(&self) -> bool {
        let known = self.client().and_then(|client| {
            let metadata = client.fetch_metadata(None, REQUEST_LIMIT).map_err(Error::from)?;
            Ok(metadata.brokers().len())
        });
        known.is_ok_and(|known| known == self.brokers.len())
    }

    fn client(&self) -> Result<BaseConsumer> {
        Ok(ClientConfig::new().set("bootstrap.servers", self.bootstrap_servers()).create()?)
    }
}
