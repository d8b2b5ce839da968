//! The broker of an outage, and how the cause is brought about and taken away.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use xtask::cache::Cache;

use crate::disk::SmallDisk;
use crate::ferry::Ferry;
use crate::kafka::{Kafka, Options, PARTITIONS};
use crate::outages::Outage;
use crate::proxy::Link;
use crate::{Error, Result, wait};

/// Room for the broker's metadata and some seconds of events, in MiB.
const DISK: u32 = 64;
/// Of a record alone in its batch there are some 500 bytes.
const SMALL_BATCH: &str = "1000";
/// In bytes a second: of a load of hundreds of events a second, little.
const QUOTA: u32 = 10_000;
const LIMIT: Duration = Duration::from_secs(60);

/// A broker of its own, which the agent knows through a proxy.
pub struct Scene {
    kafka: Kafka,
    ballast: Option<PathBuf>,
    /// After the broker, which has files open in it.
    disk: Option<SmallDisk>,
    _directory: TempDir,
}

impl Scene {
    /// The topic.
    pub const TOPIC: &str = "events";

    /// What an outage needs; nothing where this machine does not allow it.
    ///
    /// # Errors
    /// Where the broker does not start.
    pub fn of(outage: Outage) -> Result<Option<Self>> {
        let directory = tempfile::tempdir().map_err(Error::io("create", "a temporary directory"))?;
        // As brokers in production are configured: a topic that was deleted stays away until somebody creates it.
        let mut options = Options {
            properties: vec![("auto.create.topics.enable".to_owned(), "false".to_owned())],
            ..Options::default()
        };
        let disk = match outage {
            Outage::DiskFull => {
                let Some(disk) = SmallDisk::mount(&directory.path().join("disk"), DISK)? else {
                    return Ok(None);
                };
                options.data = Some(disk.place().join("data"));
                Some(disk)
            }
            _ => None,
        };
        let kafka = Kafka::start_with(&Cache::from_environment()?, directory.path(), options)?;
        Ok(Some(Self { kafka, ballast: None, disk, _directory: directory }))
    }

    /// The broker.
    pub fn kafka(&self) -> &Kafka {
        &self.kafka
    }

    /// Brings the cause about.
    ///
    /// # Errors
    /// Where that does not succeed.
    pub fn begin(&mut self, outage: Outage, ferry: &Ferry) -> Result<()> {
        match outage {
            Outage::Killed => self.kafka.kill(),
            Outage::Frozen => self.kafka.pause(),
            Outage::DiskFull => {
                self.ballast = self.disk.as_ref().map(SmallDisk::fill).transpose()?;
                wait::try_until("the broker's giving up", LIMIT, || self.kafka.ended()).map(drop)
            }
            Outage::TopicDeleted => {
                // What the topic had is gone with it, and nobody's fault: first everything has to be read.
                let written = ferry.traffic.pause();
                ferry.tally.wait_for(&written, LIMIT)?;
                self.kafka.delete_topic(Self::TOPIC)?;
                // Before there is another one: of that the reader must not begin in the middle.
                ferry.tally.begin_anew();
                ferry.traffic.resume();
                Ok(())
            }
            Outage::SmallBatches => self.kafka.configure_topic(Self::TOPIC, "max.message.bytes", SMALL_BATCH),
            Outage::Throttled => self.kafka.limit_producers(Some(QUOTA)),
            _ => {
                self.kafka.proxy().set(link(outage));
                Ok(())
            }
        }
    }

    /// Takes the cause away.
    ///
    /// # Errors
    /// Where that does not succeed.
    pub fn end(&mut self, outage: Outage) -> Result<()> {
        match outage {
            Outage::Killed => self.kafka.start(),
            Outage::Frozen => self.kafka.resume(),
            Outage::DiskFull => {
                if let Some(ballast) = self.ballast.take() {
                    fs::remove_file(&ballast).map_err(Error::io("remove", &ballast))?;
                }
                self.kafka.start()
            }
            Outage::TopicDeleted => self.kafka.create_topic(Self::TOPIC, PARTITIONS),
            Outage::SmallBatches => self.kafka.configure_topic(Self::TOPIC, "max.message.bytes", "1048588"),
            Outage::Throttled => self.kafka.limit_producers(None),
            _ => {
                self.kafka.proxy().set(Link::Up);
                Ok(())
            }
        }
    }
}

/// What the network does in an outage that is one of the network.
fn link(outage: Outage) -> Link {
    match outage {
        Outage::Refused => Link::Cut,
        Outage::Partition => Link::Stalled,
        Outage::RequestsLost => Link::RequestsStalled,
        Outage::AnswersLost => Link::AnswersStalled,
        Outage::Lossy => Link::Lossy { delay: Duration::from_millis(150), loss_percent: 5 },
        Outage::Killed
        | Outage::Frozen
        | Outage::DiskFull
        | Outage::TopicDeleted
        | Outage::SmallBatches
        | Outage::Throttled => Link::Up,
    }
}
