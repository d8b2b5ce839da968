//! One journal and several destinations: each gets everything, and one that is down delays only itself; on librdkafka's mock clusters.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;

use keyferry_journal::SegmentName;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use support::keyferry;
use support::running::{
    Agent, Headers, NOWHERE, SlotWriter, begin, begin_with_segments, cluster, commit, delivered, records,
    status, until,
};

const SEGMENT: u64 = 4096;
const EVENTS: usize = 100;

fn destination(name: &str, servers: &str) -> String {
    format!(
        "[[destination]]\nname = \"{name}\"\nbootstrap_servers = \"{servers}\"\ntopic_events = \"events\"\n"
    )
}

fn two(near: &str, far: &str) -> String {
    destination("near", near) + &destination("far", far)
}

fn commit_many(writer: &mut SlotWriter, prefix: &str) -> Vec<String> {
    let ids: Vec<_> = (0..EVENTS).map(|number| format!("{prefix}-{number}")).collect();
    commit(writer, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    ids
}

fn segments(slot: &Path) -> usize {
    let names =
        std::fs::read_dir(slot).unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.parse::<SegmentName>().is_ok()).count()
}

/// What `status.json` says of a destination.
fn destination_status(slot: &Path, name: &str) -> Option<serde_json::Value> {
    let status = status(slot)?;
    status["destinations"].as_array()?.iter().find(|one| one["name"] == name).cloned()
}

fn published(slot: &Path, name: &str) -> Option<u64> {
    destination_status(slot, name)?["published"].as_u64()
}

/// The numbers of the records, which must be those of one epoch without a gap.
fn assert_contiguous(servers: &str) {
    let found = records(servers, "events");
    let sequence =
        |headers: &Headers| headers["ce_sequence"].trim_start_matches('0').parse::<usize>().unwrap();
    let numbers: Vec<usize> = found.iter().map(sequence).collect();
    assert_eq!(numbers, (1..=found.len()).collect::<Vec<_>>());
}

/// Two clusters, of which the second takes nothing.
fn clusters() -> [MockCluster<'static, DefaultProducerContext>; 2] {
    let clusters = [cluster(), cluster()];
    clusters[1].broker_down(1).unwrap();
    clusters
}

#[test]
fn a_destination_that_is_down_delays_only_itself_and_misses_nothing() {
    let ([near, far], journal) = (clusters(), tempfile::tempdir().unwrap());
    let mut writer = begin_with_segments(journal.path(), 0, SEGMENT);
    let slot = journal.path().join("slot-0");
    let config = two(&near.bootstrap_servers(), &far.bootstrap_servers());
    let agent = Agent::configured(journal.path(), &config, &["--slot", "slot-0"]);
    let mut ids = commit_many(&mut writer, "a");
    until("everything is delivered to the one that is up", || {
        (published(&slot, "near")? == EVENTS as u64).then_some(())
    });
    assert_eq!(delivered(&near.bootstrap_servers()), ids);
    until("the other is told of", || (status(&slot)?["state"] == "blocked").then_some(()));
    let told = status(&slot).unwrap();
    assert!(told["reason"].as_str().unwrap().starts_with("far: "), "{told}");
    let kept = segments(&slot);
    assert!(kept > 2, "segments went that one destination needs: {kept} are left");

    far.broker_up(1).unwrap();
    ids.extend(commit_many(&mut writer, "b"));
    until("the other catches up", || (published(&slot, "far")? == 2 * EVENTS as u64).then_some(()));
    for servers in [near.bootstrap_servers(), far.bootstrap_servers()] {
        assert_eq!(delivered(&servers), ids);
        assert_contiguous(&servers);
    }
    until("segments go when both have delivered them", || (segments(&slot) == 1).then_some(()));
    until("the sum of both is told", || (status(&slot)?["published"] == 4 * EVENTS).then_some(()));
    assert_eq!(agent.stop(), Some(0));
    assert_eq!(status(&slot).unwrap()["state"], "stopped");
}

#[test]
fn a_destination_that_lacks_something_holds_up_nobody() {
    let (near, journal) = (cluster(), tempfile::tempdir().unwrap());
    let (mut writer, slot) = begin(journal.path(), 0);
    let config = destination("near", &near.bootstrap_servers()) + "[[destination]]\nname = \"far\"\n";
    let agent = Agent::configured(journal.path(), &config, &["--slot", "slot-0"]);
    commit(&mut writer, &["a-1"]);
    until("it is delivered to the other", || (published(&slot, "near")? == 1).then_some(()));
    let far = until("it says what it waits for", || {
        destination_status(&slot, "far").filter(|far| !far["reason"].as_str().unwrap().contains("starting"))
    });
    assert_eq!(far["state"], "waiting");
    assert!(
        far["reason"].as_str().unwrap().contains("`destination.bootstrap_servers` of destination[far]"),
        "{far}"
    );
    assert_eq!(agent.stop(), Some(0));

    let nobody = "[[destination]]\nname = \"a\"\n[[destination]]\nname = \"b\"\n";
    let mut agent = Agent::configured(journal.path(), nobody, &["--slot", "slot-0"]);
    assert_eq!(agent.ended(), Some(64), "an agent that can deliver to nobody says so");
}

#[test]
fn a_secret_that_is_not_there_yet_holds_up_nobody_else_and_is_taken_up_when_it_comes() {
    let ([near, far], journal) = ([cluster(), cluster()], tempfile::tempdir().unwrap());
    let (mut writer, slot) = begin(journal.path(), 0);
    let secret = journal.path().join("secret");
    let config = format!(
        "{}{}[destination.librdkafka]\n\"client.rack\" = \"${{file:{}}}\"\n",
        destination("near", &near.bootstrap_servers()),
        destination("far", &far.bootstrap_servers()),
        secret.display()
    );
    let agent = Agent::configured(journal.path(), &config, &["--slot", "slot-0"]);
    commit(&mut writer, &["a-1"]);
    until("it is delivered to the other", || (published(&slot, "near")? == 1).then_some(()));
    let waiting = until("it says what it waits for", || {
        destination_status(&slot, "far")
            .filter(|far| far["reason"].as_str().is_some_and(|text| text.contains("No such file")))
    });
    assert_eq!(waiting["state"], "waiting");
    let reason = waiting["reason"].as_str().unwrap();
    assert!(reason.contains("client.rack") && reason.contains("${file:"), "{reason}");
    std::fs::write(&secret, "here\n").unwrap();
    until("it is delivered as soon as the secret is there", || (published(&slot, "far")? == 1).then_some(()));
    assert_eq!(delivered(&far.bootstrap_servers()), ["a-1"]);
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_new_destination_begins_with_the_oldest_and_a_removed_one_holds_nothing_back() {
    let ([near, far], journal) = ([cluster(), cluster()], tempfile::tempdir().unwrap());
    let mut writer = begin_with_segments(journal.path(), 0, SEGMENT);
    let slot = journal.path().join("slot-0");
    let ids = commit_many(&mut writer, "a");
    let before = segments(&slot);
    let config = two(&near.bootstrap_servers(), NOWHERE);
    let agent = Agent::configured(journal.path(), &config, &["--slot", "slot-0"]);
    until("the first is served", || (published(&slot, "near")? == EVENTS as u64).then_some(()));
    assert_eq!(agent.stop(), Some(0));
    assert_eq!(segments(&slot), before);

    let config = two(&near.bootstrap_servers(), &far.bootstrap_servers()).replace("\"far\"", "\"new\"");
    let agent = Agent::configured(journal.path(), &config, &["--slot", "slot-0"]);
    until("the new one is served", || (published(&slot, "new")? == EVENTS as u64).then_some(()));
    assert_eq!(delivered(&far.bootstrap_servers()), ids);
    until("nothing is kept for the one that was removed", || (segments(&slot) == 1).then_some(()));
    assert_eq!(agent.stop(), Some(0));
    assert_eq!(delivered(&near.bootstrap_servers()), ids, "nothing was sent twice");

    let listed = keyferry(journal.path(), &["journal", "ls", "."]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("near: delivered") && listed.contains("new: delivered"), "{listed}");
}

#[test]
fn at_the_ceiling_only_the_destination_gives_up_that_still_needs_the_oldest() {
    let ([near, far], journal) = (clusters(), tempfile::tempdir().unwrap());
    let mut writer = begin_with_segments(journal.path(), 0, SEGMENT);
    let slot = journal.path().join("slot-0");
    let ceiling = "[journal]\nsegment_size = \"4KiB\"\nmax_size = \"32KiB\"\noverflow = \"drop-old\"\n";
    let config = two(&near.bootstrap_servers(), &far.bootstrap_servers()) + ceiling;
    let agent = Agent::configured(journal.path(), &config, &["--slot", "slot-0"]);
    let mut ids = Vec::new();
    // In portions, so that the one that is up always has what is older than the ceiling allows.
    for portion in 1..=6 {
        ids.extend(commit_many(&mut writer, &format!("{portion}")));
        until("the other is served", || (published(&slot, "near")? == ids.len() as u64).then_some(()));
    }
    until("the one that is down gives up", || {
        (destination_status(&slot, "far")?["dropped_old_user_events"].as_u64()? > 0).then_some(())
    });
    let near_status = destination_status(&slot, "near").unwrap();
    assert_eq!(
        (near_status["dropped_old_user_events"].as_u64(), near_status["gap_records"].as_u64()),
        (Some(0), Some(0))
    );
    assert_eq!(delivered(&near.bootstrap_servers()), ids);
    assert_contiguous(&near.bootstrap_servers());
    until("the journal stays below its ceiling", || (segments(&slot) <= 8).then_some(()));

    far.broker_up(1).unwrap();
    until("the one that was down is served", || {
        let one = destination_status(&slot, "far")?;
        (one["state"] == "idle" && one["published"].as_u64()? > 0).then_some(())
    });
    let dropped = destination_status(&slot, "far").unwrap()["dropped_old_user_events"].as_u64().unwrap();
    let found = records(&far.bootstrap_servers(), "events");
    let events = found.iter().filter(|headers| headers.contains_key("ce_outcome")).count();
    assert_eq!(events as u64 + dropped, ids.len() as u64, "each event was delivered or counted");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_child_learns_of_several_destinations_from_a_file_and_says_what_it_cannot_read() {
    let ([near, far], journal) = ([cluster(), cluster()], tempfile::tempdir().unwrap());
    let (mut writer, slot) = begin(journal.path(), 0);
    commit(&mut writer, &["a-1"]);
    let file = journal.path().join("keyferry.toml");
    let child = Agent::start_child_with(&slot, &near.bootstrap_servers(), &file);
    let waiting = until("it waits", || status(&slot).filter(|status| status["state"] == "waiting"));
    assert!(waiting["reason"].as_str().unwrap().contains("cannot read the configuration file"), "{waiting}");
    assert_eq!(child.stop(), Some(0));
    // What the options say, they say of the first.
    let first = "[[destination]]\nname = \"near\"\n".to_owned();
    std::fs::write(&file, first + &destination("far", &far.bootstrap_servers())).unwrap();
    let child = Agent::start_child_with(&slot, &near.bootstrap_servers(), &file);
    for servers in [near.bootstrap_servers(), far.bootstrap_servers()] {
        until("each is served", || (delivered(&servers) == ["a-1"]).then_some(()));
    }
    assert_eq!(child.stop(), Some(0));
}

#[test]
fn tools_take_the_destination_that_is_named() {
    let ([near, far], journal) = ([cluster(), cluster()], tempfile::tempdir().unwrap());
    let (mut writer, slot) = begin(journal.path(), 0);
    let config = format!(
        "[journal]\nkeep = \"1d\"\n{}{}",
        destination("near", NOWHERE),
        destination("far", &far.bootstrap_servers())
    );
    let agent = Agent::configured(journal.path(), &config, &["--slot", "slot-0"]);
    commit(&mut writer, &["a-1", "a-2"]);
    until("one is served", || (published(&slot, "far")? == 2).then_some(()));
    assert_eq!(agent.stop(), Some(0));
    let tool = |arguments: &[&str]| {
        let arguments = [arguments, &["--config", "keyferry.toml"]].concat();
        support::transcript(&keyferry(journal.path(), &arguments).output().unwrap())
    };
    let verified = tool(&["verify", "--destination", "far"]);
    assert!(verified.ends_with("exit code 0\n"), "{verified}");
    let unknown = tool(&["verify", "--destination", "nobody"]);
    assert!(unknown.contains("has no destination nobody; it has near, far"), "{unknown}");
    let range = ["--from", "1970-01-01T00:00:00Z", "--to", "2030-01-01T00:00:00Z"];
    let counted =
        tool(&[&["replay", ".", "--dry-run", "--json", "--destination", "far"], &range[..]].concat());
    assert!(counted.contains("\"records\":2"), "{counted}");
    // The other one is the first, and is away.
    let sent = tool(&[&["replay", ".", "--json", "--destination", "far"], &range[..]].concat());
    assert!(sent.contains("\"sent\":2"), "{sent}");
    assert_eq!(delivered(&far.bootstrap_servers()), ["a-1", "a-2", "a-1", "a-2"]);
    let unknown = tool(&[&["replay", ".", "--dry-run", "--destination", "nobody"], &range[..]].concat());
    assert!(unknown.contains("has no destination nobody; it has near, far"), "{unknown}");
    let elsewhere =
        tool(&["verify", "--destination", "far", "--bootstrap-servers", &near.bootstrap_servers()]);
    assert!(elsewhere.contains("speaks to the first destination"), "{elsewhere}");
}
