//! `keyferry in-doubt` on librdkafka's mock cluster: what is held is published or dropped by an operator's word, and by nothing else.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;

use support::running::{Agent, begin, cluster, commit, prepare, records, status, until};
use support::{keyferry, transcript};

const HOLD: &str = "in_doubt = \"hold\"";

fn tool(journal: &Path, arguments: &[&str]) -> String {
    let arguments = [&["in-doubt"], arguments].concat();
    transcript(&keyferry(journal, &arguments).output().unwrap())
}

/// The outcomes of the records with this id.
fn outcomes(servers: &str, id: &str) -> Vec<String> {
    let records = records(servers, "events").into_iter().filter(|headers| headers["ce_id"] == id);
    records.map(|headers| headers["ce_outcome"].clone()).collect()
}

#[test]
fn what_is_held_is_listed_published_by_its_id_and_dropped() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (mut writer, slot) = begin(journal.path(), 0);
    commit(&mut writer, &["e-1"]);
    for id in ["doubt-1", "doubt-2", "doubt-3"] {
        prepare(&mut writer, id);
    }
    drop(writer.kill());
    let agent = Agent::start_with(journal.path(), &servers, HOLD, &["--slot", slot.to_str().unwrap()]);
    let is_done = |status: &serde_json::Value| status["held"] == 3 && status["published"] == 1;
    until("one is published and three are held", || status(&slot).filter(is_done));
    let listed = tool(journal.path(), &["ls"]);
    assert!(
        listed.contains("slot-0: 3 events held for default") && listed.contains("id=doubt-2"),
        "{listed}"
    );
    assert!(tool(journal.path(), &["ls", "--json"]).lines().next().unwrap().contains("\"body\":\"{}\""));

    let published = tool(journal.path(), &["publish", "--id", "doubt-1", "--id", "unknown"]);
    assert!(published.starts_with("slot-0: 1 event written to slot-0;"), "{published}");
    assert!(published.contains("not found unknown") && published.ends_with("exit code 1\n"), "{published}");
    until("it is published", || (outcomes(&servers, "doubt-1") == ["unknown"]).then_some(()));
    let dropped = tool(journal.path(), &["drop", "--id", "doubt-2"]);
    assert_eq!(dropped, "slot-0: 1 event dropped\nexit code 0\n");
    let rest = tool(journal.path(), &["ls"]);
    assert!(rest.contains("1 event held") && rest.contains("id=doubt-3"), "{rest}");
    assert_eq!(agent.stop(), Some(0));
    assert!(outcomes(&servers, "doubt-2").is_empty() && outcomes(&servers, "doubt-3").is_empty());
}

#[test]
fn what_several_destinations_hold_is_published_once_and_reaches_each() {
    let ([near, far], journal) = ([cluster(), cluster()], tempfile::tempdir().unwrap());
    let (mut writer, slot) = begin(journal.path(), 0);
    prepare(&mut writer, "doubt-1");
    drop(writer.kill());
    let destination = |name: &str, servers: &str| {
        format!(
            "[[destination]]\nname = \"{name}\"\nbootstrap_servers = \"{servers}\"\ntopic_events = \"events\"\n{HOLD}\n"
        )
    };
    let config =
        destination("near", &near.bootstrap_servers()) + &destination("far", &far.bootstrap_servers());
    let agent = Agent::configured(journal.path(), &config, &["--slot", slot.to_str().unwrap()]);
    until("both hold it", || status(&slot).filter(|status| status["held"] == 2));
    let listed = tool(journal.path(), &["ls"]);
    assert!(listed.contains("1 event held for near") && listed.contains("1 event held for far"), "{listed}");
    let published = tool(journal.path(), &["publish", "--all"]);
    assert!(published.starts_with("slot-0: 1 event written to slot-0;"), "{published}");
    assert!(tool(journal.path(), &["ls"]).starts_with("nothing is held"));
    for servers in [near.bootstrap_servers(), far.bootstrap_servers()] {
        until("it is published", || (outcomes(&servers, "doubt-1") == ["unknown"]).then_some(()));
    }
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn what_is_published_while_every_slot_is_written_goes_to_a_slot_of_its_own_and_is_adopted() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (mut dead, left) = begin(journal.path(), 0);
    prepare(&mut dead, "doubt-1");
    drop(dead.kill());
    let agent = Agent::start_with(journal.path(), &servers, HOLD, &["--slot", left.to_str().unwrap()]);
    until("the event is held", || (status(&left)?["held"] == 1).then_some(()));
    // Keycloak has come back on its slot.
    let mut alive = support::running::begin_in(journal.path(), 0);
    commit(&mut alive, &["e-1"]);
    let published = tool(journal.path(), &["publish", "--all"]);
    assert!(published.starts_with("slot-0: 1 event written to slot-1;"), "{published}");
    until("it is published", || (outcomes(&servers, "doubt-1") == ["unknown"]).then_some(()));
    assert_eq!(outcomes(&servers, "e-1"), ["committed"]);
    assert!(records(&servers, "events").iter().all(|headers| headers["ce_node"] == "kc-0"));
    assert_eq!(tool(journal.path(), &["ls"]), "nothing is held\nexit code 0\n");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn nothing_leaves_the_held_file_that_could_not_be_written() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let (mut dead, left) = begin(journal.path(), 0);
    prepare(&mut dead, "doubt-1");
    drop(dead.kill());
    let agent = Agent::start_with(
        journal.path(),
        &cluster.bootstrap_servers(),
        HOLD,
        &["--slot", left.to_str().unwrap()],
    );
    until("the event is held", || (status(&left)?["held"] == 1).then_some(()));
    assert_eq!(agent.stop(), Some(0));
    // Somebody writes the first slot, and nobody can lock the second.
    let _alive = support::running::begin_in(journal.path(), 0);
    fs::create_dir_all(journal.path().join("slot-1/lock")).unwrap();
    let failed = tool(journal.path(), &["publish", "--all"]);
    assert!(failed.ends_with("exit code 2\n"), "{failed}");
    assert!(tool(left.as_path(), &["ls"]).contains("id=doubt-1"));
}
