//! A reader that keeps of each record only what judging needs: for loads at which keeping everything is too much.
//!
//! It reads in a thread of its own, so that a test can ask what has arrived while things go wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use crate::journal::Written;
use crate::{Error, Result, wait};

const POLL: Duration = Duration::from_millis(100);
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// A client that has lived through the restart of its only broker may never read again: after this silence a new one begins where it was.
const SILENCE: Duration = Duration::from_secs(3);
/// How many faults are described; those after it are counted only.
const DESCRIBED: usize = 20;

/// The reader's thread. Dropping it ends it.
pub struct Tally {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

struct Shared {
    bootstrap_servers: String,
    topic: String,
    stop: AtomicBool,
    anew: AtomicBool,
    ledger: Mutex<Ledger>,
}

/// What has arrived.
#[derive(Debug, Clone)]
pub struct Ledger {
    written: Written,
    /// By an event's number, the number that its destination gave it; 0 where it has not arrived.
    sequences: Vec<u64>,
    /// By a destination's number, the event's; 0 where none has arrived.
    events: Vec<u64>,
    /// By user, the newest event.
    newest_of_user: Vec<u64>,
    epoch: Option<String>,
    records: u64,
    copies: u64,
    newest: u64,
    faults: Vec<String>,
    undescribed: usize,
}

impl Tally {
    /// Reads a topic from its beginning; it may be created later. `written` says how the events are named and whom they concern.
    pub fn start(bootstrap_servers: &str, topic: &str, written: &Written) -> Self {
        let shared = Arc::new(Shared {
            bootstrap_servers: bootstrap_servers.to_owned(),
            topic: topic.to_owned(),
            stop: false.into(),
            anew: false.into(),
            ledger: Mutex::new(Ledger::of(written)),
        });
        let for_reader = Arc::clone(&shared);
        Self { shared, reader: Some(thread::spawn(move || for_reader.read())) }
    }

    /// What has arrived so far.
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger().clone()
    }

    /// The number of the newest event that has arrived; 0 for none.
    pub fn newest(&self) -> u64 {
        self.shared.ledger().newest
    }

    /// How many different events have arrived.
    pub fn distinct(&self) -> u64 {
        self.shared.ledger().distinct()
    }

    /// Begins at the topic's beginning again, because the topic has been deleted and created.
    pub fn begin_anew(&self) {
        self.shared.anew.store(true, Ordering::Release);
    }

    /// Waits until everything that was written has arrived. The limit is that of a silence: as long as records arrive, a slow machine has time.
    ///
    /// # Errors
    /// [`Error::TooLate`].
    pub fn wait_for(&self, written: &Written, limit: Duration) -> Result<()> {
        let wanted = written.committed() as u64;
        loop {
            let before = self.distinct();
            let what = format!("the arrival of {wanted} events");
            let outcome = wait::until(&what, limit, || (self.distinct() >= wanted).then_some(()));
            match outcome {
                Err(Error::TooLate { .. }) if self.distinct() > before => {}
                Err(Error::TooLate { what, limit, .. }) => {
                    let faults = self.ledger().judge(written).join("; ");
                    let hint = format!("; {} have arrived: {faults}", self.distinct());
                    return Err(Error::TooLate { what, limit, hint });
                }
                other => return other,
            }
        }
    }

    /// Waits until something has arrived that was written after transaction `number`, and says how long that took. The limit is that of a silence, as of
    /// [`Self::wait_for`].
    ///
    /// # Errors
    /// [`Error::TooLate`].
    pub fn wait_beyond(&self, number: u64, limit: Duration) -> Result<Duration> {
        let begin = Instant::now();
        let what = format!("the arrival of an event after number {number}");
        let beyond = || (self.newest() > number).then_some(());
        loop {
            let before = self.distinct();
            match wait::every(Duration::from_millis(5), &what, limit, beyond) {
                Err(Error::TooLate { .. }) if self.distinct() > before => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(begin.elapsed()),
            }
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            // A panic in it has been printed, and a drop must not panic.
            let _ = reader.join();
        }
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn read(&self) {
        let mut positions = BTreeMap::new();
        while !self.stop.load(Ordering::Relaxed) {
            if self.anew.swap(false, Ordering::Acquire) {
                positions.clear();
            }
            match self.consumer(&positions) {
                Ok(consumer) => self.read_with(&consumer, &mut positions),
                // The broker or the topic is not there yet, or away for a while.
                Err(_) => thread::sleep(POLL),
            }
        }
    }

    /// Reads until it is to end, to begin anew, or nothing more comes.
    fn read_with(&self, consumer: &BaseConsumer, positions: &mut BTreeMap<i32, i64>) {
        let mut last = Instant::now();
        while !self.stop.load(Ordering::Relaxed)
            && !self.anew.load(Ordering::Relaxed)
            && last.elapsed() < SILENCE
        {
            // Errors are the client's affair: it goes on by itself, or falls silent.
            if let Some(Ok(message)) = consumer.poll(POLL) {
                last = Instant::now();
                positions.insert(message.partition(), message.offset() + 1);
                self.ledger().enter_message(&message);
            }
        }
    }

    fn consumer(&self, positions: &BTreeMap<i32, i64>) -> Result<BaseConsumer> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("group.id", "keyferry-tests")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "20")
            .set("queued.max.messages.kbytes", "8192")
            .set("reconnect.backoff.max.ms", "500")
            .create()?;
        let metadata = consumer.fetch_metadata(Some(&self.topic), REQUEST_LIMIT)?;
        let partitions = metadata.topics().first().map_or(&[][..], |topic| topic.partitions());
        if partitions.is_empty() {
            return Err(Error::Missing(format!("there is no topic {}", self.topic)));
        }
        let mut assignment = TopicPartitionList::new();
        for partition in partitions {
            let position = positions.get(&partition.id());
            let offset = position.map_or(Offset::Beginning, |position| Offset::Offset(*position));
            assignment.add_partition_offset(&self.topic, partition.id(), offset)?;
        }
        consumer.assign(&assignment)?;
        Ok(consumer)
    }
}

impl Ledger {
    fn of(written: &Written) -> Self {
        Self {
            written: written.clone(),
            sequences: Vec::new(),
            events: Vec::new(),
            newest_of_user: vec![0; usize::try_from(written.users()).unwrap_or(1)],
            epoch: None,
            records: 0,
            copies: 0,
            newest: 0,
            faults: Vec::new(),
            undescribed: 0,
        }
    }

    /// How many records have arrived.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// How many of them are copies of others, as they should be.
    pub fn copies(&self) -> u64 {
        self.copies
    }

    /// How many different events have arrived.
    pub fn distinct(&self) -> u64 {
        self.records - self.copies
    }

    /// What is wrong with what has arrived, given what was written: lost, invented, out of order for its user, under a number of another, or without its
    /// place in the numbers. In words; nothing where all is well.
    pub fn judge(&self, written: &Written) -> Vec<String> {
        let mut faults = self.faults.clone();
        if self.undescribed > 0 {
            faults.push(format!("and {} more", self.undescribed));
        }
        let has_arrived = |number: &u64| self.sequences.get(*number as usize).is_some_and(|place| *place > 0);
        let committed = (1..=written.transactions()).filter(|number| Written::is_committed(*number));
        let lost: Vec<u64> = committed.filter(|number| !has_arrived(number)).collect();
        if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
            faults.push(format!("lost: {} events, of the numbers {first} to {last}", lost.len()));
        }
        let gaps: Vec<usize> = (1..self.events.len()).filter(|place| self.events[*place] == 0).collect();
        if let (Some(first), Some(last)) = (gaps.first(), gaps.last()) {
            faults.push(format!("{} sequence numbers are missing between {first} and {last}", gaps.len()));
        }
        faults
    }

    fn enter_message(&mut self, message: &BorrowedMessage<'_>) {
        let mut headers = [None; 3];
        for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
            let place = match header.key {
                "ce_id" => 0,
                "ce_sequence" => 1,
                "ce_epoch" => 2,
                _ => continue,
            };
            headers[place] = header.value.and_then(|value| std::str::from_utf8(value).ok());
        }
        let [id, sequence, epoch] = headers.map(Option::unwrap_or_default);
        self.enter(id, sequence, epoch);
    }

    /// Takes note of a record, given by its headers.
    fn enter(&mut self, id: &str, sequence: &str, epoch: &str) {
        self.records += 1;
        if *self.epoch.get_or_insert_with(|| epoch.to_owned()) != epoch {
            self.note(format!("{id} is of the epoch {epoch}"));
        }
        let place: usize = sequence.parse().unwrap_or_default();
        let number = self.written.number(id).filter(|number| Written::is_committed(*number));
        let (Some(number), true) = (number, place > 0) else {
            return self.note(format!("invented: {id}, number {sequence}"));
        };
        let known = *at(&mut self.sequences, number as usize);
        if known == 0 {
            self.enter_first(id, number, place);
        } else {
            self.copies += 1;
            if known != place as u64 {
                self.note(format!("{id} came as number {known} and again as {place}"));
            }
        }
    }

    fn enter_first(&mut self, id: &str, number: u64, place: usize) {
        *at(&mut self.sequences, number as usize) = place as u64;
        let other = std::mem::replace(at(&mut self.events, place), number);
        if other != 0 {
            self.note(format!("{id} and the event of number {other} came as number {place}"));
        }
        let user = (number % self.written.users()) as usize;
        if self.newest_of_user[user] > number {
            self.note(format!("out of order for {}: {id}", self.written.user(number)));
        }
        self.newest_of_user[user] = self.newest_of_user[user].max(number);
        self.newest = self.newest.max(number);
    }

    fn note(&mut self, fault: String) {
        if self.faults.len() < DESCRIBED {
            self.faults.push(fault);
        } else {
            self.undescribed += 1;
        }
    }
}

/// A place in a list that grows as need be.
fn at(list: &mut Vec<u64>, place: usize) -> &mut u64 {
    if list.len() <= place {
        list.resize(place + 1, 0);
    }
    &mut list[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Written {
        Written::named("event").after(10)
    }

    /// Judges records of event and sequence number.
    fn judge(records: &[(u64, u64)]) -> Vec<String> {
        let mut ledger = Ledger::of(&written());
        for (number, sequence) in records {
            ledger.enter(&written().id(*number), &sequence.to_string(), "epoch");
        }
        ledger.judge(&written())
    }

    fn all() -> Vec<(u64, u64)> {
        (1..=9).map(|number| (number, number)).collect()
    }

    #[test]
    fn everything_in_order_with_copies_of_itself_is_right() {
        assert!(judge(&[all(), all()].concat()).is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let without_2: Vec<_> = all().into_iter().filter(|(number, _)| *number != 2).collect();
        assert_eq!(
            judge(&without_2),
            ["lost: 1 events, of the numbers 2 to 2", "1 sequence numbers are missing between 2 and 2"]
        );
        let with = |record| judge(&[all(), vec![record]].concat());
        assert_eq!(with((10, 10)), ["invented: event-10, number 10"]);
        assert_eq!(with((9, 10)), ["event-9 came as number 9 and again as 10"]);
        let mut crossed = all();
        crossed.swap(0, 7);
        assert_eq!(judge(&crossed), ["out of order for user-1: event-1"]);
        let twice: Vec<_> = all().into_iter().map(|(number, place)| (number, place.min(8))).collect();
        assert_eq!(judge(&twice), ["event-9 and the event of number 8 came as number 8"]);
    }
}
