//! `keyferry journal` on the test vectors and on journals made by the Rust writer. `INSTA_UPDATE=always` writes the snapshots anew.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use keyferry_journal::event::{EventEncoder, EventKind, Field};
use keyferry_journal::format::{GapCause, GapPayload};
use keyferry_journal::slot::{OwnedSlot, WRITER_LOCK};
use keyferry_journal::writer::{Clock, WriterOptions};
use keyferry_journal::{CheckpointFile, Feed, FeedOptions, SlotDirectory, Writer};
use support::{keyferry, transcript};

/// 2025-11-24T16:00:00Z
const BEGIN_MS: u64 = 1_764_000_000_000;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/journal")
}

/// What the tool says of the journal `name` in `directory`.
fn tool(directory: &Path, arguments: &[&str]) -> String {
    let arguments = [&["journal"], arguments].concat();
    transcript(&keyferry(directory, &arguments).output().unwrap())
}

/// A clock that is a millisecond later at each look.
fn ticking() -> impl Clock {
    let mut now = BEGIN_MS;
    move || {
        now += 1;
        now
    }
}

type SlotWriter<C> = Writer<OwnedSlot, C>;

/// A journal directory with a writer on its first free slot. Segments are small.
fn begin(journal: &Path) -> SlotWriter<impl Clock + use<>> {
    let slot = OwnedSlot::claim(journal).unwrap();
    let number = slot.number();
    let options = WriterOptions { segment_size: 1200, node: "kc-1".to_owned() };
    Writer::begin(slot, number, ticking(), options).unwrap()
}

fn login(id: &str, user: &str) -> EventEncoder {
    let mut events = EventEncoder::new();
    let fields =
        [(Field::Id, id), (Field::Type, "LOGIN"), (Field::RealmName, "master"), (Field::UserId, user)];
    events.push(EventKind::User, BEGIN_MS, &fields, format!("{{\"id\":\"{id}\"}}").as_bytes());
    events
}

fn commit_login<C: Clock>(writer: &mut SlotWriter<C>, id: &str, user: &str) {
    let transaction = writer.next_transaction();
    writer.prepare(transaction, login(id, user).payload()).unwrap();
    writer.commit(transaction).unwrap();
}

/// A closed epoch of `count` logins over several segments.
fn closed_journal(count: u32) -> tempfile::TempDir {
    let journal = tempfile::tempdir().unwrap();
    let mut writer = begin(journal.path());
    for number in 0..count {
        commit_login(&mut writer, &format!("e-{number}"), &format!("u-{}", number % 3));
    }
    writer.close().unwrap();
    journal
}

/// Delivers `count` items of the slot and leaves a checkpoint; removes what is delivered if `remove`.
fn deliver(slot: &Path, count: usize, remove: bool) {
    let options = FeedOptions { list_interval_ms: 0, writer_interval_ms: 0, ..FeedOptions::default() };
    let mut feed = Feed::open(SlotDirectory::open(slot).unwrap(), None, options).unwrap();
    for _ in 0..count {
        assert!(feed.next(0).unwrap().is_some());
    }
    let resume = feed.resume_point();
    let (mut file, _) = CheckpointFile::load(feed.storage(), "default").unwrap();
    file.write_durable(feed.storage(), resume, count as u64 + 1).unwrap();
    if remove {
        assert!(!feed.remove_delivered(resume.unwrap().segment()).unwrap().is_empty(), "nothing was removed");
    }
}

/// The files below a directory and what is in them. Lock files are empty, and are not opened: closing one would give the lock up.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            let is_lock = path.file_name().is_some_and(|name| name == WRITER_LOCK);
            let content = if is_lock { Vec::new() } else { fs::read(&path).unwrap() };
            files.insert(path, content);
        }
    }
    files
}

fn segments(slot: &Path) -> Vec<PathBuf> {
    let files = contents(slot).into_keys();
    files.filter(|path| path.extension().is_some_and(|extension| extension == "kfj")).collect()
}

#[test]
fn each_vector_is_listed_and_checked() {
    let vectors = vectors();
    for vector in [
        "rust-basic",
        "rust-epochs",
        "rust-flipped-bit",
        "rust-foreign-magic",
        "rust-future-version",
        "rust-impossible-length",
        "rust-torn-tail",
    ] {
        let text: String = ["ls", "check"].map(|name| tool(&vectors, &[name, vector])).concat();
        insta::assert_snapshot!(vector, text);
    }
}

#[test]
fn vectors_of_the_provider_are_clean() {
    for vector in ["java-abandoned", "java-kinds", "java-rollover"] {
        let text = tool(&vectors(), &["check", vector]);
        assert!(text.ends_with("exit code 0\n"), "{text}");
    }
}

#[test]
fn each_tool_prints_text_and_json() {
    let vectors = vectors();
    for (name, arguments) in [
        ("cat-basic", &["cat", "rust-basic"][..]),
        ("cat-records-basic", &["cat", "--records", "rust-basic"]),
        ("cat-records-damaged", &["cat", "--records", "rust-flipped-bit"]),
        ("cat-epochs", &["cat", "rust-epochs"]),
        ("stats-basic", &["stats", "rust-basic"]),
        ("stats-damaged", &["stats", "rust-flipped-bit"]),
    ] {
        let json = [arguments, &["--json"]].concat();
        let text = [tool(&vectors, arguments), tool(&vectors, &json)].concat();
        insta::assert_snapshot!(name, text);
    }
    for (name, arguments) in [
        ("ls-epochs-json", ["ls", "rust-epochs", "--json"]),
        ("check-damaged-json", ["check", "rust-flipped-bit", "--json"]),
    ] {
        insta::assert_snapshot!(name, tool(&vectors, &arguments));
    }
}

#[test]
fn json_is_json_line_by_line() {
    for arguments in [&["ls"][..], &["cat"], &["cat", "--records"], &["check"], &["stats"]] {
        for vector in ["rust-basic", "rust-flipped-bit", "java-kinds"] {
            let arguments = [&["journal"], arguments, &["--json", vector]].concat();
            let output = keyferry(&vectors(), &arguments).output().unwrap();
            let lines = String::from_utf8(output.stdout).unwrap();
            assert!(!lines.is_empty(), "{arguments:?}");
            for line in lines.lines() {
                let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
                assert!(parsed.is_ok_and(|value| value.is_object()), "{arguments:?}: {line}");
            }
        }
    }
}

#[test]
fn filters_let_through_what_they_say() {
    let vectors = vectors();
    let ids = |arguments: &[&str]| {
        let arguments = [&["cat", "--json"], arguments].concat();
        let text = tool(&vectors, &arguments);
        let events = text.lines().filter(|line| line.contains("\"item\":\"event\""));
        let values = events.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        values.map(|value| value["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&["rust-basic"]), ["e-mixed-1", "e-mixed-2", "e-a", "e-a, second"]);
    assert_eq!(ids(&["rust-basic", "--type", "login"]), ["e-a", "e-a, second"]);
    assert_eq!(ids(&["rust-basic", "--type", "LOGIN_ERROR", "--type", "CREATE"]), ["e-mixed-1", "e-mixed-2"]);
    assert_eq!(ids(&["rust-basic", "--user", "u-2"]), ["e-mixed-2"], "a user of an admin event");
    assert_eq!(ids(&["rust-basic", "--from", "2025-11-24T16:00:00.001Z"]), ["e-mixed-1", "e-mixed-2"]);
    assert_eq!(ids(&["rust-basic", "--to", "2025-11-24T16:00:00.001Z"]), ["e-a", "e-a, second"]);
    assert_eq!(ids(&["rust-epochs", "--outcome", "unknown"]), ["e-doubtful"]);
    assert_eq!(ids(&["rust-epochs", "--epoch", "0006445941624407"]), ["e-4"]);
}

#[test]
fn a_journal_that_is_being_written_is_read_and_left_alone() {
    let journal = tempfile::tempdir().unwrap();
    let mut writer = begin(journal.path());
    commit_login(&mut writer, "e-1", "u-1");
    let open = writer.next_transaction();
    writer.prepare(open, login("e-open", "u-1").payload()).unwrap();
    let gap = GapPayload {
        user_events: 2,
        admin_events: 0,
        first_ms: BEGIN_MS,
        last_ms: BEGIN_MS,
        cause: GapCause::NoSpace,
    };
    writer.gap(&gap).unwrap();
    let before = contents(journal.path());
    let path = journal.path().to_str().unwrap();
    let all = [&["ls"][..], &["check"], &["cat"], &["cat", "--records"], &["stats"]]
        .map(|arguments| tool(Path::new("/"), &[arguments, &[path]].concat()))
        .concat();
    assert_eq!(contents(journal.path()), before, "something was written");
    let pid = format!("process {}", std::process::id());
    assert!(all.contains(&pid), "the writer's lock is not seen: {all}");
    insta::assert_snapshot!("live", all.replace(&pid, "process <pid>"));
    let again = tool(Path::new("/"), &["ls", path]);
    assert!(again.contains(&pid), "the writer's lock was released: {again}");
    drop(writer);
}

#[test]
fn damage_beside_a_living_writer_is_found_once_it_lasts() {
    let journal = tempfile::tempdir().unwrap();
    let mut writer = begin(journal.path());
    for number in 0..3 {
        commit_login(&mut writer, &format!("e-{number}"), "u-1");
    }
    let path = segments(journal.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let second = bytes.windows(3).position(|bytes| bytes == b"e-1").unwrap();
    bytes[second] ^= 1;
    fs::write(&path, bytes).unwrap();
    let text = tool(Path::new("/"), &["check", journal.path().to_str().unwrap()]);
    assert!(text.contains("the checksum of a PREPARE record is wrong"), "{text}");
    assert!(text.ends_with("exit code 1\n"), "{text}");
    drop(writer);
}

#[test]
fn what_was_delivered_and_deleted_is_not_missing() {
    let journal = tempfile::tempdir().unwrap();
    let mut writer = begin(journal.path());
    // Its PREPARE goes with the first segment, its COMMIT stays in the second.
    let long = writer.next_transaction();
    writer.prepare(long, login("e-long", "u-1").payload()).unwrap();
    while writer.segment().number == 0 {
        commit_login(&mut writer, "e-1", "u-1");
    }
    writer.commit(long).unwrap();
    for _ in 0..20 {
        commit_login(&mut writer, "e-2", "u-2");
    }
    writer.close().unwrap();
    let slot = journal.path().join("slot-0");
    deliver(&slot, 9, true);
    let text = ["ls", "check"].map(|name| tool(journal.path(), &[name, "."])).concat();
    insta::assert_snapshot!("delivered", text);
    fs::remove_file(slot.join("default.checkpoint")).unwrap();
    insta::assert_snapshot!("deleted-without-a-checkpoint", tool(journal.path(), &["check", "."]));
}

#[test]
fn what_was_deleted_and_not_delivered_is_missing() {
    let journal = closed_journal(40);
    let slot = journal.path().join("slot-0");
    deliver(&slot, 1, false);
    let all = segments(&slot);
    fs::remove_file(&all[2]).unwrap();
    insta::assert_snapshot!("deleted-in-the-middle", tool(journal.path(), &["check", "."]));
    fs::remove_file(&all[0]).unwrap();
    fs::remove_file(&all[1]).unwrap();
    insta::assert_snapshot!("deleted-undelivered", tool(journal.path(), &["check", "."]));
    for segment in segments(&slot) {
        fs::remove_file(segment).unwrap();
    }
    insta::assert_snapshot!("deleted-altogether", tool(journal.path(), &["check", "."]));
}

#[test]
fn a_damaged_checkpoint_is_told() {
    let journal = closed_journal(3);
    let slot = journal.path().join("slot-0");
    fs::write(slot.join("default.checkpoint"), [1; 8192]).unwrap();
    let text = ["ls", "check"].map(|name| tool(journal.path(), &[name, "."])).concat();
    insta::assert_snapshot!("damaged-checkpoint", text);
}

#[test]
fn slots_are_listed_by_number_and_one_can_be_named() {
    let journal = tempfile::tempdir().unwrap();
    for name in ["slot-10", "slot-2", "bin"] {
        fs::create_dir(journal.path().join(name)).unwrap();
    }
    let text = tool(journal.path(), &["ls", "."]);
    assert!(text.starts_with("slot-2: 0 segments") && text.contains("\nslot-10: 0 segments"), "{text}");
    let journal = closed_journal(1);
    assert!(tool(&journal.path().join("slot-0"), &["ls"]).starts_with("slot-0: 1 segment"));
}

#[test]
fn a_directory_that_is_no_journal_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let text = tool(directory.path(), &["check", "."]);
    assert!(text.contains(". is neither a journal directory") && text.ends_with("exit code 2\n"), "{text}");
    let text = tool(directory.path(), &["ls", "nowhere"]);
    assert!(text.contains("cannot use nowhere") && text.ends_with("exit code 2\n"), "{text}");
}

#[test]
fn a_slot_that_cannot_be_read_does_not_hide_damage_in_another() {
    let journal = tempfile::tempdir().unwrap();
    for (slot, vector) in [("slot-0", "rust-future-version"), ("slot-1", "rust-flipped-bit")] {
        fs::create_dir(journal.path().join(slot)).unwrap();
        for segment in segments(&vectors().join(vector)) {
            fs::copy(&segment, journal.path().join(slot).join(segment.file_name().unwrap())).unwrap();
        }
    }
    let text = tool(journal.path(), &["check", "."]);
    assert!(text.contains("424..744") && text.ends_with("exit code 2\n"), "{text}");
}

#[test]
fn colours_are_for_terminals_and_for_those_who_insist() {
    let run = |variables: &[(&str, &str)]| {
        let mut command = keyferry(&vectors(), &["journal", "check", "rust-flipped-bit"]);
        String::from_utf8(command.envs(variables.iter().copied()).output().unwrap().stdout).unwrap()
    };
    assert!(!run(&[]).contains('\x1b'));
    assert!(run(&[("CLICOLOR_FORCE", "1")]).contains('\x1b'));
    assert!(!run(&[("NO_COLOR", "1")]).contains('\x1b'));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let journal = closed_journal(3000);
    let mut command = keyferry(journal.path(), &["journal", "cat", "."]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!((child.wait().unwrap().code(), complaint.as_str()), (Some(0), ""));
}

#[test]
fn text_that_users_typed_cannot_steer_the_terminal() {
    let journal = tempfile::tempdir().unwrap();
    let mut writer = begin(journal.path());
    commit_login(&mut writer, "e-\x1b[2J\r\n", "u-1");
    writer.close().unwrap();
    for arguments in [&["cat"][..], &["cat", "--records"]] {
        let text = tool(journal.path(), &[arguments, &["."]].concat());
        assert!(text.contains("e-\\u{1b}[2J\\r\\n") && !text.contains('\x1b'), "{text}");
    }
}

#[test]
fn what_is_kept_held_and_adopted_is_told() {
    let journal = closed_journal(30);
    let slot = journal.path().join("slot-0");
    deliver(&slot, 20, false);
    let text = tool(journal.path(), &["ls"]);
    let kept: Vec<_> = text.lines().filter(|line| line.ends_with(", kept")).collect();
    assert!(!kept.is_empty() && kept.len() < segments(&slot).len(), "{text}");
    assert!(!text.contains("held") && !text.contains("adopted"), "{text}");
    fs::write(slot.join("default.held.jsonl"), "{}\n{}\n").unwrap();
    fs::write(slot.join("status.json"), "{\"adopted\":true}").unwrap();
    let text = tool(journal.path(), &["ls"]);
    assert!(text.contains("default: 2 events in doubt held"), "{text}");
    assert!(!text.contains("adopted"), "nobody ships it: {text}");
    let lock = keyferry_journal::AgentLock::acquire(&slot).unwrap();
    let text = tool(journal.path(), &["ls"]);
    assert!(text.contains("which has adopted the slot"), "{text}");
    drop(lock);
    let text = tool(journal.path(), &["check"]);
    assert!(text.contains("2 events in doubt held for default") && text.ends_with("exit code 0\n"), "{text}");
}

#[test]
fn what_was_given_up_is_told_until_consumers_know() {
    use keyferry_pipeline::{GivenUp, GivenUpFile, GivenUps as _, Position, Progress};
    let journal = closed_journal(3);
    let slot = journal.path().join("slot-0");
    deliver(&slot, 1, false);
    let mut feed = Feed::open(SlotDirectory::open(&slot).unwrap(), None, FeedOptions::default()).unwrap();
    feed.next(0).unwrap();
    let resume = feed.resume_point().unwrap();
    let progress = Progress { resume, next_sequence: 1 << 32 };
    let reason = keyferry_event::GapReason::DroppedOld;
    let gap = keyferry_event::Gap::new(reason, resume.epoch, "kc-1", "7 events were given up".to_owned());
    let given_up = GivenUp { sequence: 1 << 32, time_ms: 1, gap, then: Position { progress, reached_ms: 1 } };
    GivenUpFile::new(slot.join("default.given-up.jsonl")).keep_given_up(&[given_up]).unwrap();
    let text = tool(journal.path(), &["check"]);
    assert!(text.contains("7 events were given up; the agent gave these events up"), "{text}");
    assert!(text.ends_with("exit code 0\n"), "{text}");
}
