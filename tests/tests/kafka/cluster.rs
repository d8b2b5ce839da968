//! A cluster whose brokers are restarted one after the other, and one that stays away.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use keyferry_tests::cluster::Cluster;
use keyferry_tests::ferry::Plan;
use keyferry_tests::kafka::PARTITIONS;
use keyferry_tests::{agent, wait};
use serde_json::Value;

const TOPIC: &str = "events";
/// Of each of its partitions there is one copy.
const ALONE: &str = "alone";
const LIMIT: Duration = Duration::from_secs(60);
/// How long the load goes on between two restarts.
const PAUSE: Duration = Duration::from_secs(1);

/// With acknowledgement by all replicas in sync, of which there must be two.
#[test]
fn a_rolling_restart_of_three_brokers_under_load_loses_doubles_and_reorders_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(directory.path(), 3).unwrap();
    cluster.create_topic(TOPIC, PARTITIONS).unwrap();
    let servers = cluster.bootstrap_servers();
    let ferry = Plan::new(&servers, &servers, TOPIC).rate(500).start().unwrap();
    for place in 0..cluster.size() {
        cluster.restart(place, TOPIC).unwrap();
        let delay = ferry.wait_for_delivery().unwrap();
        println!("broker {place} restarted; what was written after that arrived {delay:?} later");
        thread::sleep(PAUSE);
    }
    let (written, ledger) = ferry.settle().unwrap();
    println!("{} events, {} records", written.committed(), ledger.records());
    assert_eq!(ledger.copies(), 0, "the producer is idempotent");

    // What the doctor says of a topic of which a broker that is away has the only copy.
    cluster.create_topic_without_copies(ALONE, PARTITIONS).unwrap();
    let last = cluster.size() - 1;
    cluster.stop(last).unwrap();
    let config = directory.path().join("alone.toml");
    fs::write(&config, agent::destination(&servers, [ALONE, ALONE])).unwrap();
    let found = wait::until("a partition without a leader", LIMIT, || {
        let found = examine(ferry.agent.executable(), ferry.agent.slot(), &config);
        found.into_iter().find(|one| one["check"] == "topic.leaders")
    });
    assert!(found.unwrap()["remedy"].as_str().unwrap().contains("Bring back the brokers"));
}

/// What the doctor finds.
fn examine(executable: &Path, slot: &Path, config: &Path) -> Vec<Value> {
    let mut doctor = Command::new(executable);
    let output = doctor.arg("doctor").arg(slot).arg("--config").arg(config).arg("--json").output().unwrap();
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}
