//! A cluster whose brokers are restarted one after the other.

use std::thread;
use std::time::Duration;

use keyferry_tests::cluster::Cluster;
use keyferry_tests::ferry::Plan;
use keyferry_tests::kafka::PARTITIONS;

const TOPIC: &str = "events";
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
}
