//! An agent that gives up the oldest events at the journal's ceiling tells consumers of it, and `keyferry verify` understands what it says.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;

use support::running::{Agent, NOWHERE, begin_with_segments, cluster, commit, records, status, until};
use support::{keyferry, transcript};

const SEGMENT: u64 = 4096;
const CEILING: &str = "[journal]\nsegment_size = \"4KiB\"\nmax_size = \"32KiB\"\noverflow = \"drop-old\"";
const EVENTS: usize = 400;

fn verify(directory: &Path, servers: &str, further: &[&str]) -> String {
    let arguments = [&["verify", "--bootstrap-servers", servers, "--topic", "events"], further].concat();
    transcript(&keyferry(directory, &arguments).output().unwrap())
}

fn dropped_by_last_agent(slot: &Path) -> u64 {
    status(slot).and_then(|status| status["dropped_old_user_events"].as_u64()).unwrap_or_default()
}

#[test]
fn what_was_given_up_at_the_ceiling_is_told_in_the_stream_and_accounted_for() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let mut writer = begin_with_segments(journal.path(), 0, SEGMENT);
    let slot = journal.path().join("slot-0");
    let agent = Agent::start(journal.path(), &servers, &["--slot", "slot-0"]);
    commit(&mut writer, &["first"]);
    until("the first event", || (status(&slot)?["published"] == 1).then_some(()));
    assert_eq!(agent.stop(), Some(0));

    let ids: Vec<_> = (0..EVENTS).map(|number| format!("e-{number}")).collect();
    commit(&mut writer, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let agent = Agent::start_with(journal.path(), NOWHERE, CEILING, &["--slot", "slot-0"]);
    until("the oldest are given up", || (dropped_by_last_agent(&slot) > 0).then_some(()));
    assert_eq!(agent.stop(), Some(0));
    let mut dropped = dropped_by_last_agent(&slot);

    let agent = Agent::start_with(journal.path(), &servers, CEILING, &["--slot", "slot-0"]);
    commit(&mut writer, &["last"]);
    until("the rest", || {
        records(&servers, "events").iter().any(|headers| headers["ce_id"] == "last").then_some(())
    });
    assert_eq!(agent.stop(), Some(0));
    dropped += dropped_by_last_agent(&slot);
    let found = records(&servers, "events");
    let events = found.iter().filter(|headers| headers.contains_key("ce_outcome")).count();
    assert_eq!(events + dropped as usize, EVENTS + 2, "each event was delivered or counted");
    let verified = verify(journal.path(), &servers, &[]);
    assert!(
        verified.contains("(dropped-old)") && verified.contains("complete but for what was told"),
        "{verified}"
    );
    assert!(
        verified.contains(&format!("{dropped} user events")) && verified.ends_with("exit code 0\n"),
        "{verified}"
    );
}
