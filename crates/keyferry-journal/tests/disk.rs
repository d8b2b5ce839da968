//! The journal on a real disk: slots and locks between processes, waking up, large offsets, the checkpoint file.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyferry_journal::format::{Kind, Salt, encode_record};
use keyferry_journal::slot::OwnedSlot;
use keyferry_journal::writer::WriterOptions;
use keyferry_journal::{
    AgentLock, CheckpointFile, Epoch, Error, Feed, FeedOptions, Item, MemoryStorage, Place, Resume,
    SlotDirectory, Storage, Watch, Writer,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use support::*;

/// Set for the test binary when it is to be another process of a test: what to do, and where.
const ROLE: &str = "KEYFERRY_TEST_ROLE";
const PLACE: &str = "KEYFERRY_TEST_PLACE";

/// Not a test of its own: what the other process of a test does until its standard input ends.
#[test]
fn other_process() {
    let (Ok(role), Ok(place)) = (std::env::var(ROLE), std::env::var(PLACE)) else { return };
    let place = Path::new(&place);
    let _writer = (role == "writer").then(|| {
        let mut writer = begin(place);
        commit(&mut writer, "a");
        writer
    });
    let _lock = (role == "agent").then(|| AgentLock::acquire(place).unwrap());
    println!("\nready");
    let _ = std::io::stdin().lines().next();
}

fn begin(journal: &Path) -> Writer<OwnedSlot, fn() -> u64> {
    let slot = OwnedSlot::claim(journal).unwrap();
    let number = slot.number();
    Writer::begin(slot, number, wall_clock as fn() -> u64, WriterOptions::default()).unwrap()
}

fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Another process, which is killed when this is dropped.
struct Other(Child);

impl Other {
    fn start(role: &str, place: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "other_process", "--nocapture"])
            .env(ROLE, role)
            .env(PLACE, place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(
            lines.map_while(Result::ok).any(|line| line == "ready"),
            "the other process did not get ready"
        );
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_writer_is_alive_until_it_is_killed_and_its_slot_is_taken_again() {
    let journal = tempfile::tempdir().unwrap();
    let slot = journal.path().join("slot-0");
    let mut other = Other::start("writer", journal.path());
    let mut storage = SlotDirectory::open(&slot).unwrap();
    assert!(storage.writer_alive().unwrap());
    assert_eq!(OwnedSlot::claim(journal.path()).unwrap().number(), 1, "slot 0 is taken");

    let mut feed = feed(storage);
    let mut now = 0;
    let seen = read_all(&mut feed, &mut now);
    assert_eq!(seen.len(), 1);
    other.kill();
    assert!(!feed.storage().writer_alive().unwrap());
    let epoch = feed.segment().unwrap().epoch;
    assert_eq!(read_all(&mut feed, &mut now)[0].0, Seen::Ended { epoch, commit: 1, closed: false });

    let mut writer = begin(journal.path());
    assert_eq!(writer.epoch().slot(), 0);
    assert!(writer.epoch() > epoch);
    commit(&mut writer, "b");
    assert_eq!(read_all(&mut feed, &mut now)[0].0, committed(writer.epoch(), 1, &["b"]));
}

#[test]
fn an_epoch_is_remembered_when_its_segments_are_gone_and_the_clock_went_back() {
    let journal = tempfile::tempdir().unwrap();
    let slot = journal.path().join("slot-0");
    let at = |clock: fn() -> u64| {
        let slot = OwnedSlot::claim(journal.path()).unwrap();
        Writer::begin(slot, 0, clock, WriterOptions::default()).unwrap().epoch()
    };
    let first = at(|| 2_000);
    fs::remove_file(slot.join(format!("{first}-00000000.kfj"))).unwrap();
    let second = at(|| 1_000);
    assert!(second > first, "{second} after {first}");
    let marks = fs::read_dir(&slot).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let marks: Vec<_> = marks.filter(|name| name.ends_with(".epoch")).collect();
    assert_eq!(marks, [format!("{second}.epoch")]);
}

#[test]
fn asking_for_the_writer_takes_nothing_from_it() {
    let journal = tempfile::tempdir().unwrap();
    let slot = OwnedSlot::claim(journal.path()).unwrap();
    let mut other = Other::start("writer", journal.path());
    let mut storage = SlotDirectory::open(journal.path().join("slot-1")).unwrap();
    for _ in 0..10 {
        assert!(storage.writer_alive().unwrap());
    }
    drop(storage);
    let storage = || SlotDirectory::open(journal.path().join("slot-1")).unwrap();
    assert!(storage().writer_alive().unwrap());
    assert_eq!(slot.number(), 0);
    other.kill();
    assert!(!storage().writer_alive().unwrap());
}

#[test]
fn one_agent_ships_a_slot() {
    let directory = tempfile::tempdir().unwrap();
    let mut other = Other::start("agent", directory.path());
    let error = AgentLock::acquire(directory.path()).unwrap_err();
    let Error::Locked { path, holder } = &error else { panic!("{error}") };
    assert!(path.ends_with("agent.lock"));
    assert_eq!(*holder, format!("process {}", other.0.id()));
    other.kill();
    AgentLock::acquire(directory.path()).unwrap();
}

#[test]
fn files_and_directories_are_private() {
    let journal = tempfile::tempdir().unwrap();
    let mut writer = begin(&journal.path().join("keyferry"));
    commit(&mut writer, "a");
    let slot = journal.path().join("keyferry/slot-0");
    let mut storage = SlotDirectory::open(&slot).unwrap();
    storage.write_checkpoint("default", 0, b"x").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(slot.parent().unwrap()), mode(&slot)), (0o700, 0o700));
    let files: Vec<_> = fs::read_dir(&slot).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 4, "lock, mark, segment, checkpoint");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn what_is_not_a_segment_is_left_alone() {
    let journal = tempfile::tempdir().unwrap();
    let mut writer = begin(journal.path());
    commit(&mut writer, "a");
    let slot = journal.path().join("slot-0");
    for name in ["status.json", "core", "0006447b0d1a2c00-00000000.kfj.bak", "ffffffffffffffff-FFFFFFFF.kfj"]
    {
        fs::write(slot.join(name), b"something else").unwrap();
    }
    let mut storage = SlotDirectory::open(&slot).unwrap();
    let names: Vec<_> = storage.list().unwrap().into_iter().map(|segment| segment.name).collect();
    assert_eq!(names, [writer.segment()]);
}

/// Polls the watch for at most `timeout`; whether it was readable.
fn wait(watch: &Watch, timeout: Duration) -> bool {
    let descriptor = watch.descriptor().unwrap();
    let mut polled = [PollFd::new(&descriptor, PollFlags::IN)];
    let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
    poll(&mut polled, Some(&timeout)).unwrap() > 0
}

#[test]
fn the_watch_wakes_for_the_journal_and_not_for_the_checkpoint() {
    let journal = tempfile::tempdir().unwrap();
    let mut other = Other::start("writer", journal.path());
    let mut writer = begin(journal.path());
    let slot = journal.path().join("slot-1");
    let mut storage = SlotDirectory::open(&slot).unwrap();
    let (mut checkpoint, _) = CheckpointFile::load(&mut storage, "default").unwrap();
    checkpoint.write(&mut storage, None, 1).unwrap();

    let mut watch = Watch::new(&slot);
    watch.follow(writer.segment());
    let (long, short) = (Duration::from_secs(20), Duration::from_millis(20));
    assert!(!wait(&watch, short));
    commit(&mut writer, "a");
    assert!(wait(&watch, long), "an append wakes");
    assert!(watch.drain().unwrap());
    for sequence in 0..10 {
        checkpoint.write(&mut storage, None, sequence).unwrap();
    }
    assert!(!wait(&watch, short), "the checkpoint does not wake");
    fs::write(slot.join("status.tmp"), b"x").unwrap();
    assert!(wait(&watch, long));
    assert!(!watch.drain().unwrap(), "a file that is no segment does not concern the journal");
    writer.roll().unwrap();
    assert!(wait(&watch, long), "a new segment wakes");
    assert!(watch.drain().unwrap());
    watch.follow(writer.segment());
    watch.drain().unwrap();
    commit(&mut writer, "b");
    assert!(wait(&watch, long), "an append to the new segment wakes");
    assert!(watch.drain().unwrap());

    let mut watch = Watch::new(&journal.path().join("slot-0"));
    watch.drain().unwrap();
    other.kill();
    assert!(wait(&watch, long), "the death of the writer wakes");
    assert!(watch.drain().unwrap());
}

#[test]
fn a_blind_watch_is_noticed() {
    let journal = tempfile::tempdir().unwrap();
    let missing = Watch::new(&journal.path().join("nowhere"));
    assert!(missing.descriptor().is_none());
    assert_eq!(missing.timeout(), Duration::from_millis(100));
    let mut watch = Watch::new(journal.path());
    assert_eq!(watch.timeout(), Duration::from_secs(1));
    watch.judge(false, true);
    assert_eq!(watch.timeout(), Duration::from_millis(100));
    watch.judge(false, false);
    assert_eq!(watch.timeout(), Duration::from_millis(100));
    watch.judge(true, true);
    assert_eq!(watch.timeout(), Duration::from_secs(1));
}

#[test]
fn places_beyond_four_gibibytes_are_read() {
    let journal = tempfile::tempdir().unwrap();
    let mut writer = begin(journal.path());
    commit(&mut writer, "a");
    let (segment, end, epoch) = (writer.segment(), writer.length(), writer.epoch());
    let slot = writer.kill();
    let path = slot.path().join(segment.to_string());
    let far = (5u64 << 30) + 8;
    let mut bytes = Vec::new();
    encode_record(&mut bytes, Salt::of(segment), far, Kind::Prepare, 2, 5, &payload(&["far"]));
    encode_record(&mut bytes, Salt::of(segment), far, Kind::Commit, 2, 6, &2u64.to_le_bytes());
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&bytes, far).unwrap();

    let storage = SlotDirectory::open(slot.path()).unwrap();
    let from = Place { segment: 0, offset: far };
    let resume = Resume { epoch, from, head: from, commit: 1, in_doubt: None };
    let mut feed = Feed::open(storage, Some(&resume), FeedOptions::default()).unwrap();
    let after = {
        let Some(Item::Transaction(transaction)) = feed.next(0).unwrap() else { panic!("no transaction") };
        assert_eq!(Seen::of(&Item::Transaction(transaction)), committed(epoch, 2, &["far"]));
        *transaction.resume
    };
    assert_eq!(after.head.offset, far + bytes.len() as u64);
    assert_eq!(feed.backlog(Some(&after), 5000).unwrap(), 0);
    assert_eq!(
        feed.backlog(Some(&Resume { head: Place { segment: 0, offset: end }, ..after }), 0).unwrap(),
        far - end + bytes.len() as u64
    );
    let mut checkpoint = CheckpointFile::begin_anew("default");
    checkpoint.write(feed.storage(), Some(after), u64::MAX).unwrap();
    let (_, loaded) = CheckpointFile::load(feed.storage(), "default").unwrap();
    assert_eq!(loaded.unwrap().resume, Some(after));
    assert_eq!(loaded.unwrap().next_sequence, u64::MAX);
}

const SOMEWHERE: Resume = Resume {
    epoch: Epoch(0x0006_447b_0d1a_2c00),
    from: Place { segment: 3, offset: 4096 },
    head: Place { segment: 4, offset: 1 << 40 },
    commit: 77,
    in_doubt: Some(Place { segment: 3, offset: 1 << 33 }),
};

/// What loads from the bytes of a checkpoint file.
fn load(bytes: &[u8]) -> Result<Option<u64>, Error> {
    let mut storage = MemoryStorage::new();
    storage.write_checkpoint("default", 0, bytes).unwrap();
    let (_, checkpoint) = CheckpointFile::load(&mut storage, "default")?;
    let Some(checkpoint) = checkpoint else { return Ok(None) };
    assert_eq!(checkpoint.resume, Some(SOMEWHERE));
    Ok(Some(checkpoint.next_sequence))
}

#[test]
fn a_checkpoint_write_that_is_cut_anywhere_leaves_the_one_before() {
    let mut storage = MemoryStorage::new();
    let (mut file, none) = CheckpointFile::load(&mut storage, "default").unwrap();
    assert_eq!(none, None);
    let mut before = Vec::new();
    for sequence in 1..=6u64 {
        file.write(&mut storage, Some(SOMEWHERE), sequence).unwrap();
        let after = storage.read_checkpoint("default").unwrap();
        assert_eq!(load(&after).unwrap(), Some(sequence));
        let changed = (0..after.len()).find(|index| before.get(*index) != Some(&after[*index])).unwrap();
        let slot = changed / 4096 * 4096;
        for cut in changed + 1..slot + 80 {
            let mut torn = before.clone();
            torn.resize(torn.len().max(cut), 0);
            torn[slot..cut].copy_from_slice(&after[slot..cut]);
            if torn == after {
                continue; // The bytes that were cut off are the same as those before.
            }
            match load(&torn) {
                Ok(Some(loaded)) => assert_eq!(loaded, sequence - 1),
                Ok(None) => panic!("no checkpoint"),
                Err(Error::DamagedCheckpoint { .. }) => assert_eq!(sequence, 1, "there was one before"),
                Err(error) => panic!("{error}"),
            }
        }
        before = after;
    }
}

#[test]
fn a_checkpoint_with_a_flipped_bit_is_not_believed() {
    let mut storage = MemoryStorage::new();
    let mut file = CheckpointFile::begin_anew("default");
    file.write(&mut storage, Some(SOMEWHERE), 1).unwrap();
    let one = storage.read_checkpoint("default").unwrap();
    for bit in 0..one.len() * 8 {
        let mut flipped = one.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(load(&flipped), Err(Error::DamagedCheckpoint { .. })), "bit {bit}");
    }
    file.write(&mut storage, Some(SOMEWHERE), 2).unwrap();
    let mut two = storage.read_checkpoint("default").unwrap();
    two[4096 + 20] ^= 1;
    assert_eq!(load(&two).unwrap(), Some(1));
}

#[test]
fn a_durable_checkpoint_is_in_both_places() {
    let mut storage = MemoryStorage::new();
    let mut file = CheckpointFile::begin_anew("default");
    file.write(&mut storage, None, 1).unwrap();
    file.write_durable(&mut storage, Some(SOMEWHERE), 2).unwrap();
    let bytes = storage.read_checkpoint("default").unwrap();
    for offset in [20, 4096 + 20] {
        let mut damaged = bytes.clone();
        damaged[offset] ^= 1;
        assert_eq!(load(&damaged).unwrap(), Some(2));
    }
}

#[test]
fn checkpoints_go_on_after_a_restart_and_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let mut storage = SlotDirectory::open(directory.path()).unwrap();
        let (mut file, loaded) = CheckpointFile::load(&mut storage, "default").unwrap();
        assert_eq!(loaded.map(|loaded| loaded.next_sequence), (round > 0).then_some(round * 10));
        file.write_durable(&mut storage, Some(SOMEWHERE), round * 10 + 5).unwrap();
        file.write(&mut storage, Some(SOMEWHERE), (round + 1) * 10).unwrap();
    }
    File::open(directory.path().join("default.checkpoint")).unwrap();
}
