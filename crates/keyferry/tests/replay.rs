//! `keyferry replay` on librdkafka's mock cluster: what was delivered is sent again as it was, and nothing else changes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use keyferry_journal::SegmentName;
use support::running::{
    Agent, Headers, begin, begin_with_segments, cluster, commit, prepare, records, status, until,
};
use support::{keyferry, transcript};

/// A slot of six delivered events, one of them in doubt, and an agent's configuration.
fn deliver(journal: &Path, servers: &str) -> PathBuf {
    let (mut writer, slot) = begin(journal, 0);
    commit(&mut writer, &["e-1", "e-2"]);
    prepare(&mut writer, "e-doubt");
    commit(&mut writer, &["e-3", "e-4", "e-5"]);
    drop(writer.kill());
    let agent = Agent::start(journal, servers, &["--slot", slot.to_str().unwrap()]);
    until("everything is delivered", || (status(&slot)?["published"] == 6).then_some(()));
    assert_eq!(agent.stop(), Some(0));
    slot
}

fn replay(journal: &Path, arguments: &[&str]) -> String {
    let config = journal.join("keyferry.toml");
    let always = ["replay", "--config", config.to_str().unwrap(), "--from", "1970-01-01T00:00:00Z"];
    let arguments = [&always, arguments, &[journal.to_str().unwrap()]].concat();
    transcript(&keyferry(journal, &arguments).output().unwrap())
}

/// Everything in the slot but what an agent that runs leaves.
fn contents(slot: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(slot).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn sequence_and_id(records: &[Headers]) -> Vec<(&str, &str)> {
    records.iter().map(|headers| (headers["ce_sequence"].as_str(), headers["ce_id"].as_str())).collect()
}

#[test]
fn what_was_delivered_is_sent_again_as_it_was_with_the_mark_of_a_replay() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let slot = deliver(journal.path(), &servers);
    let before = contents(&slot);
    let text = replay(journal.path(), &["--to", "2100-01-01T00:00:00Z"]);
    assert_eq!(text, "6 records sent again\nexit code 0\n");
    let all = records(&servers, "events");
    let (first, again) = all.split_at(6);
    assert_eq!(sequence_and_id(again), sequence_and_id(first));
    for (first, again) in first.iter().zip(again) {
        let mut unmarked = again.clone();
        assert!(unmarked.remove("ce_replay").unwrap().ends_with('Z'));
        assert_eq!(&unmarked, first);
    }
    assert_eq!(contents(&slot), before, "a replay changes nothing in the slot");
    let arguments = ["verify", "--bootstrap-servers", &servers, "--topic", "events"];
    let verified = transcript(&keyferry(journal.path(), &arguments).output().unwrap());
    assert!(verified.contains("6 replayed records") && verified.ends_with("exit code 0\n"), "{verified}");
}

#[test]
fn only_what_is_asked_for_is_sent_and_where_it_is_asked_to() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    cluster.create_topic("again", 1, 1).unwrap();
    let servers = cluster.bootstrap_servers();
    deliver(journal.path(), &servers);
    let to = ["--to", "2100-01-01T00:00:00Z"];
    let nobody = replay(journal.path(), &[&to[..], &["--filter", "user=nobody"]].concat());
    assert_eq!(nobody, "0 records sent again\nexit code 0\n");
    let early = replay(journal.path(), &["--to", "1970-01-01T00:00:00Z"]);
    assert_eq!(early, "0 records sent again\nexit code 0\n");
    let counted = replay(journal.path(), &[&to[..], &["--dry-run"]].concat());
    assert_eq!(counted, "6 records would be sent again\nexit code 0\n");
    assert_eq!(records(&servers, "events").len(), 6);
    let elsewhere =
        replay(journal.path(), &[&to[..], &["--filter", "user=u-1", "--topic", "again"]].concat());
    assert_eq!(elsewhere, "6 records sent again\nexit code 0\n");
    assert_eq!((records(&servers, "events").len(), records(&servers, "again").len()), (6, 6));
}

#[test]
fn what_is_not_delivered_yet_is_left_to_the_agent() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let slot = deliver(journal.path(), &servers);
    let mut later = support::running::begin_in(journal.path(), 0);
    commit(&mut later, &["e-6"]);
    let text = replay(journal.path(), &["--to", "2100-01-01T00:00:00Z"]);
    assert_eq!(text, "6 records sent again\nexit code 0\n");
    fs::remove_file(slot.join("default.checkpoint")).unwrap();
    let text = replay(journal.path(), &["--to", "2100-01-01T00:00:00Z"]);
    assert_eq!(text, "0 records sent again\nexit code 0\n");
}

#[test]
fn numbers_that_do_not_fit_the_configuration_are_refused_before_anything_is_sent() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    deliver(journal.path(), &servers);
    let config = journal.path().join("keyferry.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}in_doubt = \"drop\"\ngap_records = false\n")).unwrap();
    let text = replay(journal.path(), &["--to", "2100-01-01T00:00:00Z"]);
    assert!(
        text.contains("number 6 follows where number 7 did") && text.ends_with("exit code 2\n"),
        "{text}"
    );
    assert_eq!(records(&servers, "events").len(), 6);
}

#[test]
fn a_kafka_that_takes_nothing_ends_the_replay() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    deliver(journal.path(), &cluster.bootstrap_servers());
    let servers = support::running::NOWHERE;
    let text = replay(
        journal.path(),
        &["--to", "2100-01-01T00:00:00Z", "--bootstrap-servers", servers, "--timeout", "1"],
    );
    assert!(text.contains("the replay ended after 0 records") && text.ends_with("exit code 2\n"), "{text}");
}

/// An order to the agent's circuit breaker.
fn breaker(journal: &Path, order: &str) {
    let told = transcript(&keyferry(journal, &["breaker", "slot-0", order]).output().unwrap());
    assert!(told.ends_with("exit code 0\n"), "{told}");
}

#[test]
fn a_replay_waits_while_what_is_not_delivered_is_pressing() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let config = format!(
        "[destination]\nbootstrap_servers = \"{servers}\"\ntopic_events = \"events\"\n\
         [journal]\nkeep = \"1d\"\nsegment_size = \"1MiB\"\nmax_size = \"4MiB\"\n[backpressure]\nhigh_used = 1\n"
    );
    let (mut writer, slot) = begin(journal.path(), 0);
    let agent = Agent::configured(journal.path(), &config, &["--slot", "slot-0"]);
    commit(&mut writer, &["e-1", "e-2"]);
    until("both are delivered", || (status(&slot)?["published"] == 2).then_some(()));
    breaker(journal.path(), "open");
    // More than a hundredth of what the journal may have.
    let ids: Vec<String> = (3..603).map(|number| format!("e-{number}")).collect();
    commit(&mut writer, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let is_pressing =
        |text: &str| text.contains("\"level\":\"high\"") && text.contains("\"pauses_replay\":true");
    until("it is pressing", || {
        let output = keyferry(journal.path(), &["status", "slot-0", "--json"]).output().unwrap();
        is_pressing(std::str::from_utf8(&output.stdout).unwrap()).then_some(())
    });

    let range = ["--from", "1970-01-01T00:00:00Z", "--to", "2030-01-01T00:00:00Z"];
    let arguments = [&["replay", "slot-0", "--config", "keyferry.toml", "--json"], &range[..]].concat();
    let mut replay =
        keyferry(journal.path(), &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(replay.stderr.take().unwrap()).lines();
    let waiting = told.find(|line| line.as_ref().unwrap().contains("waiting")).unwrap().unwrap();
    assert!(waiting.contains("backpressure of default in slot-0 is high: "), "{waiting}");
    assert_eq!(ids_and_replays(&servers), (2, 0), "nothing was sent again");
    assert_eq!(replay.try_wait().unwrap(), None, "it waits");
    breaker(journal.path(), "auto");
    until("it goes on to its end", || replay.try_wait().unwrap());
    let output = replay.wait_with_output().unwrap();
    let summary = String::from_utf8(output.stdout).unwrap();
    assert!(summary.contains("\"sent\":2"), "{summary}");
    until("everything is delivered", || (status(&slot)?["published"] == 602).then_some(()));
    assert_eq!(ids_and_replays(&servers), (604, 2));
    assert_eq!(agent.stop(), Some(0));
}

/// How many records there are, and how many of them were sent again.
fn ids_and_replays(servers: &str) -> (usize, usize) {
    let records = records(servers, "events");
    let replays = records.iter().filter(|headers| headers.contains_key("ce_replay")).count();
    (records.len(), replays)
}

/// A disk that is nearly full from the beginning, as far as the rule is concerned.
const ALERTS: &str = r#"
environment = "test"
[override.test.DiskNearlyFull]
below = 2
clear = 3
for = "0s"
[incidents]
at_once = 2
allow = ["move_segments", "keep_segments"]
[[playbook]]
name = "make room"
match = { alertname = "DiskNearlyFull" }
actions = [{ action = "move_segments", check_after = "1h" }]
"#;

/// The names of the segments in a directory, in order.
fn segments(directory: &Path) -> Vec<SegmentName> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let mut names: Vec<SegmentName> = names.collect();
    names.sort_unstable();
    names
}

#[test]
fn what_a_playbook_has_moved_to_the_archive_is_sent_again_as_it_was() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    // On another file system than that of temporary files.
    let archive = tempfile::tempdir_in("/dev/shm").unwrap();
    let (servers, archive) = (cluster.bootstrap_servers(), archive.path());
    let (slot, archived) = (journal.path().join("slot-0"), archive.join("slot-0"));
    fs::write(journal.path().join("alerts.toml"), ALERTS).unwrap();
    let config = format!(
        "[destination]\nbootstrap_servers = \"{servers}\"\ntopic_events = \"events\"\n[alerts]\nfile = \"alerts.toml\"\n\
         [journal]\nkeep = \"1d\"\narchive_directory = \"{}\"\n",
        archive.display()
    );
    let ids: Vec<String> = (1..=100).map(|number| format!("e-{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut writer = begin_with_segments(journal.path(), 0, 1024);
    commit(&mut writer, &ids[..50]);
    // It begins in a segment that is moved, and commits in the one that stays.
    let over_a_border = prepare(&mut writer, "over-a-border");
    commit(&mut writer, &ids[50..]);
    writer.commit(over_a_border).unwrap();
    let written = segments(&slot);
    assert!(written.len() > 3, "{written:?}");

    let agent = Agent::configured(journal.path(), &config, &["--slot", "slot-0"]);
    until("everything is delivered", || (status(&slot)?["published"] == 101).then_some(()));
    until("what is delivered is moved", || (segments(&slot).len() == 1).then_some(()));
    let (moved, left) = (segments(&archived), segments(&slot));
    assert_eq!([&moved[..], &left[..]].concat(), written, "a segment is in neither place, or in both");

    let to = ["--to", "2100-01-01T00:00:00Z"];
    assert_eq!(replay(journal.path(), &to), "101 records sent again\nexit code 0\n");
    let all = records(&servers, "events");
    let (first, again) = all.split_at(101);
    assert_eq!(sequence_and_id(again), sequence_and_id(first));
    for (first, again) in first.iter().zip(again) {
        let mut unmarked = again.clone();
        assert!(unmarked.remove("ce_replay").is_some());
        assert_eq!(&unmarked, first);
    }

    let look = |command: &str, further: &[&str]| {
        let arguments = [&["journal", command], further, &["."]].concat();
        transcript(&keyferry(journal.path(), &arguments).output().unwrap())
    };
    let together = ["--archive", archive.to_str().unwrap()];
    let listed = look("ls", &together);
    assert_eq!(listed.lines().filter(|line| line.ends_with(", archived")).count(), moved.len(), "{listed}");
    let checked = look("check", &together);
    assert!(checked.contains("clean: 101 transactions") && checked.ends_with("exit code 0\n"), "{checked}");
    let events = |text: &str| text.lines().filter(|line| line.contains(" user ")).count();
    assert_eq!(events(&look("cat", &together)), 101);
    assert!(events(&look("cat", &[])) < 101, "the slot has what was moved");
    let missing = replay(journal.path(), &[&to[..], &["--archive", "/nowhere"]].concat());
    assert!(missing.contains("cannot read the archive /nowhere") && missing.ends_with("exit code 2\n"));

    // By hand, and from then on what is delivered stays.
    let ordered = ["incident", "remediate", "slot-0", "inc-1", "--action", "keep_segments"];
    let told = transcript(&keyferry(journal.path(), &ordered).output().unwrap());
    assert!(told.ends_with("exit code 0\n"), "{told}");
    assert_eq!(agent.stop(), Some(0));
}
