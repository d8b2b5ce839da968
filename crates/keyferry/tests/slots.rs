//! Who ships which slot: adoption, waiting for a lock, and an agent for a whole journal directory; on librdkafka's mock cluster.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use keyferry_journal::AgentLock;
use support::running::{
    Agent, NOWHERE, agent_of, begin, begin_in, cluster, commit, delivered, prepare, status, until,
};

#[test]
fn a_slot_that_was_left_behind_is_shipped_to_its_end_and_let_go() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (mut dead, left) = begin(journal.path(), 0);
    let (mut alive, own) = begin(journal.path(), 1);
    commit(&mut dead, &["a-1", "a-2"]);
    prepare(&mut dead, "a-doubt");
    drop(dead.kill());
    commit(&mut alive, &["b-1"]);
    let agent = Agent::start(journal.path(), &servers, &["--slot", own.to_str().unwrap()]);
    until("the adopted slot is let go", || {
        let status = status(&left)?;
        (status["adopted"] == true && status["state"] == "stopped" && agent_of(&left).is_none()).then_some(())
    });
    let mut ids = delivered(&servers);
    ids.sort();
    assert_eq!(ids, ["a-1", "a-2", "a-doubt", "b-1"]);
    assert_eq!(status(&own).unwrap()["adopted"], false);
    assert_eq!(agent_of(&own), Some(agent.holder()), "the own slot's lock went with the adopted one's");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn an_adopter_lets_go_of_a_slot_that_is_written_again_and_its_own_agent_goes_on() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let (mut dead, left) = begin(journal.path(), 0);
    let (_alive, own) = begin(journal.path(), 1);
    commit(&mut dead, &["a-1"]);
    drop(dead.kill());
    let adopter = Agent::start(journal.path(), NOWHERE, &["--slot", own.to_str().unwrap()]);
    until("the slot is adopted", || (agent_of(&left) == Some(adopter.holder())).then_some(()));
    let mut writer = begin_in(journal.path(), 0);
    commit(&mut writer, &["a-2"]);
    let servers = cluster.bootstrap_servers();
    let child = Agent::start_child(&left, &servers);
    until("the new agent has the slot", || (agent_of(&left) == Some(child.holder())).then_some(()));
    until("both events", || (delivered(&servers).len() == 2).then_some(()));
    assert_eq!(delivered(&servers), ["a-1", "a-2"], "the old epoch comes first");
    assert_eq!(status(&left).unwrap()["adopted"], false);
    assert_eq!(child.stop(), Some(0));
    assert_eq!(adopter.stop(), Some(0));
}

#[test]
fn a_slot_that_somebody_writes_or_ships_is_not_adopted() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (mut written, written_slot) = begin(journal.path(), 0);
    let (mut shipped, shipped_slot) = begin(journal.path(), 1);
    let (_own, own) = begin(journal.path(), 2);
    let (mut last, last_slot) = begin(journal.path(), 3);
    for writer in [&mut written, &mut shipped, &mut last] {
        commit(writer, &["a-1"]);
    }
    drop(shipped.kill());
    let _other = AgentLock::acquire(&shipped_slot).unwrap();
    // Adopted after the agent has looked at the others.
    drop(last.kill());
    let agent = Agent::start(journal.path(), &servers, &["--slot", own.to_str().unwrap()]);
    until("the last slot was adopted", || (status(&last_slot)?["published"] == 1).then_some(()));
    assert!(status(&written_slot).is_none() && status(&shipped_slot).is_none());
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_child_waits_for_a_slot_that_another_agent_serves_and_says_so() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (mut writer, slot) = begin(journal.path(), 0);
    commit(&mut writer, &["a-1"]);
    let lock = AgentLock::acquire(&slot).unwrap();
    let child = Agent::start_child(&slot, &servers);
    let waiting =
        until("it says that it waits", || status(&slot).filter(|status| status["state"] == "waiting"));
    assert!(waiting["reason"].as_str().unwrap().contains("another agent"), "{waiting}");
    assert!(delivered(&servers).is_empty());
    drop(lock);
    until("it delivers", || (status(&slot)?["published"] == 1).then_some(()));
    assert_eq!(child.stop(), Some(0));
    let lock = AgentLock::acquire(&slot).unwrap();
    let mut refused = Agent::start(journal.path(), &servers, &["--slot", slot.to_str().unwrap()]);
    assert_eq!(refused.ended(), Some(73), "an agent that was started by hand ends");
    drop(lock);
    let patient = {
        let _lock = AgentLock::acquire(&slot).unwrap();
        let child = Agent::start_child(&slot, &servers);
        until("it waits again", || {
            let status = status(&slot)?;
            (status["state"] == "waiting" && status["pid"] == child.0.id()).then_some(())
        });
        child.stop()
    };
    assert_eq!(patient, Some(0), "the word to stop ends the waiting");
}

#[test]
fn an_agent_of_a_journal_directory_ships_every_slot_as_it_appears() {
    let (cluster, journal) = (cluster(), tempfile::tempdir().unwrap());
    let servers = cluster.bootstrap_servers();
    let (mut first, first_slot) = begin(journal.path(), 0);
    commit(&mut first, &["a-1"]);
    let agent = Agent::start(journal.path(), &servers, &["--journal", "."]);
    until("the first slot is served", || (status(&first_slot)?["published"] == 1).then_some(()));
    let (mut second, second_slot) = begin(journal.path(), 1);
    commit(&mut second, &["b-1"]);
    until("the second slot is served", || (status(&second_slot)?["published"] == 1).then_some(()));
    commit(&mut first, &["a-2"]);
    until("both are served", || (status(&first_slot)?["published"] == 2).then_some(()));
    for slot in [&first_slot, &second_slot] {
        assert_eq!(agent_of(slot), Some(agent.holder()));
    }
    assert_eq!(agent.stop(), Some(0));
    assert_eq!(agent_of(&first_slot), None);
    let mut ids = delivered(&servers);
    ids.sort();
    assert_eq!(ids, ["a-1", "a-2", "b-1"]);
}

#[test]
fn an_agent_that_nobody_tells_what_to_ship_says_so() {
    let journal = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(journal.path(), NOWHERE, &[]);
    assert_eq!(agent.ended(), Some(64));
    let configured = "[journal]\ndir = \".\"";
    let agent = Agent::start_with(journal.path(), NOWHERE, configured, &[]);
    let (_writer, slot) = begin(journal.path(), 0);
    until("it ships the configured journal", || (agent_of(&slot) == Some(agent.holder())).then_some(()));
    assert_eq!(agent.stop(), Some(0));
}
