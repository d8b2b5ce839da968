//! Records that Kafka can never take: where they go instead, and what an operator finds there.
//!
//! The invariant: **a record leaves its way only when it lies in the dead-letter topic, acknowledged, or in the dead-letter file, synced.** Nothing is given up without a
//! trace, and one impossible record does not hold back all that come after it.
//!
//! The file has one JSON object a line, so that a person can read it with the tools at hand. The agent adds to it while an operator's command takes from it: both
//! hold the file's lock for the moment of the change, and a change that takes away puts a new file in the old one's place. A record that comes by again after a crash is
//! laid aside once more, and told apart by its id.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use keyferry_event::{Failure, FailureClass, Header, Record};
use keyferry_journal::Epoch;
use serde::{Deserialize, Serialize};

use crate::in_flight::RecordId;
use crate::lines::{self, Exclusive};
use crate::meter::TraceId;
use crate::pipeline::Clock;

/// Where records go that can never be delivered, if there is no topic for them.
pub trait DeadLetters {
    /// Lays `letter` aside, durably.
    ///
    /// # Errors
    /// It could not be kept; the record must not be regarded as settled.
    fn lay_aside(&mut self, letter: &DeadLetter<'_>) -> io::Result<()>;
}

/// A record that was refused for good.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// Its name.
    pub id: RecordId,
    /// The record, as it was to be delivered.
    pub record: &'a Record<'a>,
    /// Why it cannot be.
    pub cause: &'a Failure,
    /// When it was refused, in milliseconds since the Unix epoch.
    pub refused_ms: u64,
}

/// A dead letter as it lies in the file: everything that is needed to send the record later. Key and headers are text: the journal holds nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaidAside {
    /// What makes it out, whatever number it has: epoch, transaction and place in the transaction.
    pub id: String,
    /// When it was refused, in milliseconds since the Unix epoch.
    pub laid_aside: u64,
    /// Why it cannot be delivered.
    pub cause: String,
    /// The class of the cause.
    pub class: String,
    /// The topic that it was for.
    pub topic: String,
    /// Its time, in milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// Its key.
    pub key: String,
    /// Its headers by their names.
    pub headers: BTreeMap<String, String>,
    /// Its value: in the file a text, or where it is none an object with the member `base64`.
    #[serde(with = "value")]
    pub value: Vec<u8>,
}

/// A value as it stands in the file. A person can read most, and every byte comes back of any.
mod value {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Bytes { base64: String },
    }

    pub(super) fn serialize<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match str::from_utf8(value) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Written::Bytes { base64: STANDARD.encode(value) }.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Text(text) => Ok(text.into_bytes()),
            Written::Bytes { base64 } => STANDARD.decode(base64).map_err(D::Error::custom),
        }
    }
}

impl LaidAside {
    fn of(letter: &DeadLetter<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let DeadLetter { id, record, cause, refused_ms } = *letter;
        Self {
            id: id.to_string(),
            laid_aside: refused_ms,
            cause: cause.reason.clone(),
            class: cause.class.name().to_owned(),
            topic: record.topic.to_owned(),
            timestamp: record.timestamp_ms,
            key: text(record.key),
            headers: record
                .headers()
                .map(|header| (header.name.to_string_lossy().into_owned(), text(header.value)))
                .collect(),
            value: record.value.to_vec(),
        }
    }

    /// Its place among others: by epoch and number. A record without headers has no number, and stands where it was laid aside.
    fn place(&self) -> (&str, &str) {
        let epoch = self.id.split('-').next().unwrap_or_default();
        (epoch, self.headers.get("ce_sequence").map_or("", String::as_str))
    }

    /// The id of its event, if its headers tell.
    pub fn event_id(&self) -> Option<&str> {
        self.headers.get("ce_id").map(String::as_str)
    }
}

/// What makes out a line of the file, whatever else it says.
#[derive(Deserialize)]
struct Named {
    id: String,
}

/// A dead-letter file, created when it is first needed.
#[derive(Debug)]
pub struct DeadLetterFile {
    path: PathBuf,
}

impl DeadLetterFile {
    /// The file at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What lies in it, each record once, in the order in which they were to be delivered. They may have been laid aside in another: partitions refuse one
    /// before the other.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn list(&self) -> io::Result<Vec<LaidAside>> {
        let mut letters: Vec<LaidAside> = lines::read(&self.path)?;
        let mut seen = BTreeSet::new();
        letters.retain(|letter| seen.insert(letter.id.clone()));
        letters.sort_by(|one, other| one.place().cmp(&other.place()));
        Ok(letters)
    }

    /// Takes the letters with these ids out, durably. A line that cannot be read stays.
    ///
    /// # Errors
    /// The file cannot be read or written; nothing was taken out.
    pub fn remove(&self, ids: &BTreeSet<String>) -> io::Result<()> {
        Exclusive::open(&self.path)?.retain(|line| {
            serde_json::from_slice::<Named>(line).map_or(true, |named| !ids.contains(&named.id))
        })
    }
}

impl DeadLetters for DeadLetterFile {
    fn lay_aside(&mut self, letter: &DeadLetter<'_>) -> io::Result<()> {
        Exclusive::open(&self.path)?.append(&[LaidAside::of(letter)])
    }
}

/// Records that were refused for good and are not settled yet. Each goes to the dead-letter topic, if there is one that takes it, else to the file.
///
/// A pure state machine. What is refused by the broker comes by again after the sink has been reset: only then it is at hand to be sent elsewhere.
#[derive(Debug)]
pub(crate) struct Condemned {
    topic: Option<String>,
    /// The topic is passed over until then, in monotonic milliseconds: it has failed for a reason of its own.
    rests_until_ms: u64,
    records: BTreeMap<RecordId, Sentence>,
}

#[derive(Debug)]
struct Sentence {
    cause: Cause,
    place: Place,
    trace: Option<TraceId>,
}

impl Sentence {
    fn trace(&self) -> Option<&str> {
        self.trace.as_ref().map(TraceId::as_str)
    }
}

/// Where a condemned record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It comes by again, and goes to the topic if there is one.
    Due,
    /// It comes by again, and goes to the file.
    DueInFile,
    /// It is on its way to the topic since then, in monotonic milliseconds.
    UnderWay { since_ms: u64 },
    /// It is in the topic, acknowledged.
    InTopic,
    /// It is in the file, synced.
    InFile,
}

/// Where a condemned record that comes by must go.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// Nowhere: it has arrived before.
    Nowhere,
    /// To the dead-letter topic.
    Topic(Address),
    /// To the dead-letter file.
    File(Cause),
}

/// Why a record was condemned, and when.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) failure: Failure,
    /// In milliseconds since the Unix epoch.
    pub(crate) refused_ms: u64,
}

/// The dead-letter topic, and what is told to its readers.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    topic: String,
    cause: Cause,
}

impl Address {
    /// Hands `record` as it goes to the dead-letter topic to `send`.
    pub(crate) fn put_on<T>(&self, record: &Record<'_>, send: impl FnOnce(&Record<'_>) -> T) -> T {
        let Cause { failure, refused_ms } = &self.cause;
        let time =
            humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(*refused_ms)).to_string();
        let headers = [
            Header { name: c"keyferry_dead_letter_cause", value: failure.reason.as_bytes() },
            Header { name: c"keyferry_dead_letter_class", value: failure.class.name().as_bytes() },
            Header { name: c"keyferry_dead_letter_topic", value: record.topic.as_bytes() },
            Header { name: c"keyferry_dead_letter_time", value: time.as_bytes() },
        ];
        send(&record.readdressed(&self.topic, &headers))
    }
}

/// How many condemned records were settled, by where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) in_topic: u64,
    pub(crate) in_file: u64,
}

/// A dead-letter topic that has failed is not tried again for so long.
const REST_MS: u64 = 300_000;

/// When others are acknowledged although a dead letter has been under way for so long, its topic counts as failed: librdkafka itself would wait without an end.
const PATIENCE_MS: u64 = 30_000;

impl Condemned {
    pub(crate) fn new(topic: Option<String>) -> Self {
        Self { topic, rests_until_ms: 0, records: BTreeMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Takes `id` out of the ordinary way.
    pub(crate) fn condemn(&mut self, id: RecordId, failure: Failure, wall_ms: u64) {
        let cause = Cause { failure, refused_ms: wall_ms };
        self.records.insert(id, Sentence { cause, place: Place::Due, trace: None });
    }

    /// Where `id` must go; `None` if it is not condemned.
    pub(crate) fn way_of(&self, id: RecordId, monotonic_ms: u64) -> Option<Way> {
        let Sentence { cause, place, .. } = self.records.get(&id)?;
        let topic = self.topic.as_ref().filter(|_| self.rests_until_ms <= monotonic_ms);
        Some(match (place, topic) {
            (Place::InTopic | Place::InFile, _) => Way::Nowhere,
            (Place::Due | Place::UnderWay { .. }, Some(topic)) => {
                Way::Topic(Address { topic: topic.clone(), cause: cause.clone() })
            }
            _ => Way::File(cause.clone()),
        })
    }

    /// Whether `record` belongs to a trace, for the log.
    pub(crate) fn met(&mut self, id: RecordId, record: &Record<'_>) {
        if let Some(sentence) = self.records.get_mut(&id) {
            let parent = record.headers().find(|header| header.name == c"ce_traceparent");
            let parent = parent.and_then(|header| std::str::from_utf8(header.value).ok());
            sentence.trace = parent.and_then(TraceId::of);
        }
    }

    /// It was sent to the topic.
    pub(crate) fn posted(&mut self, id: RecordId, monotonic_ms: u64) {
        self.put(id, Place::UnderWay { since_ms: monotonic_ms });
    }

    /// The topic has acknowledged it.
    pub(crate) fn arrived(&mut self, id: RecordId) {
        if let (Some(sentence), Some(topic)) = (self.records.get(&id), &self.topic) {
            tracing::error!(
                trace_id = sentence.trace(),
                "record {id} lies in the dead-letter topic {topic}: {}",
                sentence.cause.failure
            );
        }
        self.put(id, Place::InTopic);
    }

    /// The file has it.
    pub(crate) fn laid_aside(&mut self, id: RecordId) {
        if let Some(sentence) = self.records.get(&id) {
            tracing::error!(
                trace_id = sentence.trace(),
                "record {id} is laid aside in the dead-letter file: {}",
                sentence.cause.failure
            );
        }
        self.put(id, Place::InFile);
    }

    /// The record `id` has failed, on its own way or on that to the dead-letter topic; answers the failure after which everything unsettled is sent again.
    pub(crate) fn failed(&mut self, id: RecordId, failure: Failure, clock: Clock) -> Failure {
        match self.records.get(&id).map(|sentence| sentence.place) {
            None if failure.class == FailureClass::Poison => {
                self.condemn(id, failure.clone(), clock.wall_ms);
                failure
            }
            Some(Place::UnderWay { .. } | Place::Due) => self.refused_by_topic(id, failure, clock),
            _ => failure,
        }
    }

    /// A dead letter whose topic takes nothing although the destination does goes to the file; answers the failure after which everything unsettled is sent again.
    /// `settled_at_ms` is when the destination last acknowledged anything.
    pub(crate) fn overdue(&mut self, settled_at_ms: u64, clock: Clock) -> Option<Failure> {
        let is_overdue =
            |place| matches!(place, Place::UnderWay { since_ms } if settled_at_ms >= since_ms + PATIENCE_MS);
        let (id, _) = self.records.iter().find(|(_, sentence)| is_overdue(sentence.place))?;
        let id = *id;
        let reason = format!("nothing was acknowledged for {} s although others were", PATIENCE_MS / 1_000);
        let failure = Failure { class: FailureClass::Configuration, reason };
        Some(self.refused_by_topic(id, failure, clock))
    }

    /// Only what may pass by itself is waited for. Whatever is wrong with the topic or with the record in it is no reason to hold back others.
    fn refused_by_topic(&mut self, id: RecordId, failure: Failure, clock: Clock) -> Failure {
        let of_topic = matches!(failure.class, FailureClass::Authorisation | FailureClass::Configuration);
        if !of_topic && failure.class != FailureClass::Poison {
            return failure;
        }
        let topic = self.topic.as_deref().unwrap_or_default();
        let reason = format!("the dead-letter topic {topic} does not take it either: {failure}");
        let trace = self.records.get(&id).and_then(Sentence::trace);
        tracing::error!(trace_id = trace, "record {id} goes to the dead-letter file: {reason}");
        if of_topic {
            self.rests_until_ms = clock.monotonic_ms + REST_MS;
        }
        if let Some(sentence) = self.records.get_mut(&id) {
            sentence.place = Place::DueInFile;
            let cause = &mut sentence.cause.failure.reason;
            *cause = format!("{cause}; {reason}");
        }
        // For the others it is what a poisoned record is: no reason to wait.
        Failure::poison(reason)
    }

    /// Nothing is under way any more.
    pub(crate) fn rewind(&mut self) {
        for sentence in self.records.values_mut() {
            if matches!(sentence.place, Place::UnderWay { .. }) {
                sentence.place = Place::Due;
            }
        }
    }

    /// Forgets the records before number `next_sequence` of `epoch`, which are settled and cannot come by again.
    pub(crate) fn forget_before(&mut self, epoch: Epoch, next_sequence: u64) -> Settled {
        let is_behind = |id: &RecordId| (id.epoch, id.sequence) < (epoch, next_sequence);
        let mut settled = Settled::default();
        while let Some(entry) = self.records.first_entry().filter(|entry| is_behind(entry.key())) {
            match entry.remove().place {
                Place::InTopic => settled.in_topic += 1,
                Place::InFile => settled.in_file += 1,
                // Damage to the journal has taken it away before it came by again.
                Place::Due | Place::DueInFile | Place::UnderWay { .. } => {}
            }
        }
        settled
    }

    fn put(&mut self, id: RecordId, place: Place) {
        if let Some(sentence) = self.records.get_mut(&id) {
            sentence.place = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of a letter with this number, of which a second one says that it was refused later.
    fn line(sequence: u64, refused_ms: u64) -> String {
        let letter = LaidAside {
            id: format!("{}-{}-0", Epoch(0x100), sequence + 40),
            laid_aside: refused_ms,
            cause: "too large".to_owned(),
            class: "poison".to_owned(),
            topic: "events".to_owned(),
            timestamp: 1,
            key: "u-1".to_owned(),
            headers: BTreeMap::from([
                ("ce_id".to_owned(), format!("event-{sequence}")),
                ("ce_sequence".to_owned(), format!("{sequence:020}")),
            ]),
            value: b"{}".to_vec(),
        };
        serde_json::to_string(&letter).unwrap()
    }

    #[test]
    fn every_byte_of_a_value_comes_back_from_the_file() {
        let letter: LaidAside = serde_json::from_str(&line(1, 1)).unwrap();
        for (value, written) in [
            (&b"{\"a\":\"\xC3\xBC\"}"[..], r#""{\"a\":\"ü\"}""#),
            (b"\0\0\0\0\x07{}", r#""\u0000\u0000\u0000\u0000\u0007{}""#),
            (b"\0\0\0\0\xFF\x08user", r#"{"base64":"AAAAAP8IdXNlcg=="}"#),
        ] {
            let letter = LaidAside { value: value.to_vec(), ..letter.clone() };
            let line = serde_json::to_string(&letter).unwrap();
            assert!(line.contains(&format!("\"value\":{written}")), "{line}");
            assert_eq!(serde_json::from_str::<LaidAside>(&line).unwrap(), letter);
        }
    }

    fn file(lines: &[String]) -> (tempfile::TempDir, DeadLetterFile) {
        let directory = tempfile::tempdir().unwrap();
        let file = DeadLetterFile::new(directory.path().join("default.dead-letters.jsonl"));
        std::fs::write(file.path(), lines.iter().map(|line| format!("{line}\n")).collect::<String>())
            .unwrap();
        (directory, file)
    }

    fn events(file: &DeadLetterFile) -> Vec<String> {
        file.list().unwrap().iter().map(|letter| letter.event_id().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_file_that_is_not_there_lists_nothing_and_gives_nothing_up() {
        let directory = tempfile::tempdir().unwrap();
        let file = DeadLetterFile::new(directory.path().join("default.dead-letters.jsonl"));
        assert_eq!(file.list().unwrap(), []);
        file.remove(&BTreeSet::from(["nobody".to_owned()])).unwrap();
        assert_eq!(file.list().unwrap(), []);
    }

    #[test]
    fn each_letter_is_listed_once_in_the_order_of_its_number_whenever_it_was_laid_aside() {
        let (_directory, file) = file(&[line(10, 5), line(9, 6), line(10, 7), line(2, 8)]);
        assert_eq!(events(&file), ["event-2", "event-9", "event-10"]);
        assert_eq!(file.list().unwrap()[2].laid_aside, 5, "the first copy is the one that is listed");
    }

    #[test]
    fn a_line_that_is_cut_short_hides_no_other() {
        let (_directory, file) = file(&[line(1, 1), line(2, 1)[..40].to_owned(), line(3, 1)]);
        assert_eq!(events(&file), ["event-1", "event-3"]);
    }

    #[test]
    fn what_is_removed_goes_with_its_copies_and_nothing_else_changes() {
        let damaged = "{\"id\":".to_owned();
        let (_directory, file) = file(&[line(1, 1), line(2, 1), damaged.clone(), line(2, 2), line(3, 1)]);
        let second = file.list().unwrap()[1].id.clone();
        file.remove(&BTreeSet::from([second, "unknown".to_owned()])).unwrap();
        let rest = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(rest, format!("{}\n{damaged}\n{}\n", line(1, 1), line(3, 1)));
        assert_eq!(events(&file), ["event-1", "event-3"]);
    }
}
