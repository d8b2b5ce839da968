//! The topic for all nodes is read as it grows, and written.
//!
//! The invariant: **delivery depends on none of it.** A topic that is missing, cannot be read or has something in it that nobody understands is told, and tried again; what runs goes on.

use std::time::{Duration, Instant};

use keyferry_config::change::hear;
use keyferry_config::{Destination, librdkafka};
use keyferry_event::Record;
use keyferry_kafka::compacted::{self, Found};
use keyferry_kafka::consume::{Begin, Received, Step, TopicReader, Until};
use keyferry_kafka::{ProducerSettings, single};

use super::board::Letter;
use crate::live::Live;
use crate::shipment::{Plan, kafka_settings, wall_ms};
use crate::stop::Broadcast;

/// How long an answer of the cluster is awaited: the agent cannot end meanwhile.
const LIMIT: Duration = Duration::from_secs(3);
/// How soon what has failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How long brokers may take to hear of a new topic from each other; one that takes longer costs a retry.
const SPREADS: Duration = Duration::from_millis(500);

/// What this node is called: by its configuration, else by its machine.
pub fn node_name(plan: &Plan) -> String {
    let of_machine = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    plan.node.clone().unwrap_or_else(of_machine)
}

/// Reads and writes the topic for all nodes, if there is one, until `over` is given.
pub fn follow(plan: &Plan, live: &Live, over: &Broadcast) {
    let Some(topic) = &plan.config_topic else { return };
    let follower = Follower { topic: topic.as_str(), plan, live, over };
    let mut told = None;
    while !over.is_given() {
        let Err(reason) = follower.follow() else {
            told = None;
            continue;
        };
        live.configuring.cannot_reach_all(&reason);
        if told.as_ref() != Some(&reason) {
            tracing::warn!(
                "changes for all nodes are neither seen nor announced: {topic}: {reason}; it is tried again"
            );
        }
        told = Some(reason);
        over.wait(RETRY);
    }
}

struct Follower<'a> {
    topic: &'a str,
    plan: &'a Plan,
    live: &'a Live,
    over: &'a Broadcast,
}

impl Follower<'_> {
    /// The destination in whose cluster the topic is, as it is reached now.
    fn destination(&self) -> Option<Destination> {
        self.plan.destinations.first().and_then(|first| self.live.present(first))
    }

    /// Follows the topic until it is reached otherwise, or the agent ends.
    fn follow(&self) -> Result<(), String> {
        let unusable = || "the first destination, in whose cluster it is, cannot be used yet".to_owned();
        let destination = self.destination().ok_or_else(unusable)?;
        let settings = kafka_settings(&destination);
        self.prepare(&settings, &destination)?;
        let properties = librdkafka::properties(&destination).into_iter();
        let properties = properties.map(|(name, value)| (name, value.expose().to_owned()));
        let topics = [self.topic.to_owned()];
        let open = TopicReader::open_part(properties, &topics, None, Begin::First, Until::Forever, LIMIT);
        let mut reader = open.map_err(|error| error.to_string())?;
        let mut not_before = Instant::now();
        while !self.over.is_given() && self.destination().as_ref() == Some(&destination) {
            match reader.step().map_err(|error| error.to_string())? {
                Step::Record(received) => self.hear(&received),
                Step::Trouble(trouble) => tracing::debug!("{}: {trouble}", self.topic),
                Step::Nothing => {}
            }
            if !reader.is_caught_up() {
                continue;
            }
            self.live.configuring.has_read_all();
            if Instant::now() >= not_before && self.write(&settings).is_err() {
                not_before = Instant::now() + RETRY;
            }
        }
        Ok(())
    }

    /// Sees to it that the topic is there, if that is allowed, and that it keeps what is written to it.
    fn prepare(&self, settings: &ProducerSettings, destination: &Destination) -> Result<(), String> {
        let found = compacted::look(settings, self.topic, LIMIT).map_err(|failure| failure.reason)?;
        match found.lack() {
            None => Ok(()),
            Some(_) if found == Found::Missing && destination.topics.create => {
                let replication = destination.topics.replication;
                let created = compacted::create(settings, self.topic, replication, LIMIT);
                created.map_err(|failure| format!("it cannot be created: {}", failure.reason))?;
                tracing::info!("{} was created, by which all nodes are changed at once", self.topic);
                self.over.wait(SPREADS);
                Ok(())
            }
            Some(lack) if found == Found::Missing => Err(format!(
                "{lack}: create it with cleanup.policy=compact, or set `destination.topics.create`"
            )),
            Some(lack) => {
                tracing::warn!("{}, by which all nodes are changed at once: {lack}", self.topic);
                Ok(())
            }
        }
    }

    fn hear(&self, received: &Received<'_>) {
        match hear(received.key().unwrap_or_default(), received.value()) {
            Ok(heard) => self.live.configuring.hears(heard),
            Err(error) => {
                let offset = received.offset();
                tracing::warn!("the record at offset {offset} of {} is skipped: {error}", self.topic);
            }
        }
    }

    /// Writes what there is to write.
    fn write(&self, settings: &ProducerSettings) -> Result<(), ()> {
        while let Some(letter) = self.live.configuring.next_letter() {
            let written = self.deliver(settings, &letter);
            if let Err(reason) = &written {
                tracing::warn!("{} cannot be written to: {reason}", self.topic);
            }
            let result = written.as_ref().map(drop).map_err(|_| ());
            self.live.configuring.has_written(letter, written);
            result?;
        }
        Ok(())
    }

    fn deliver(&self, settings: &ProducerSettings, letter: &Letter) -> Result<(), String> {
        let written = match letter {
            Letter::Announcement(announcement, _) => announcement.written(),
            Letter::Report(report) => report.written(),
        };
        let (key, value) = written.map_err(|error| error.to_string())?;
        let record = Record::of_parts(self.topic, key.as_bytes(), &value, wall_ms(), &[]);
        single::deliver(settings, &record, LIMIT).map_err(|failure| failure.reason)
    }
}
