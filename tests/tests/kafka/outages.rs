//! Kafka, or the way to it, fails and comes back: nothing is lost, doubled without being recognisable, or out of order, and delivery goes on by itself.
//!
//! What is tested anywhere is what happens. How soon delivery goes on depends on the machine as well: it is always printed, and held against a limit where
//! `KEYFERRY_TEST_TIME_LIMITS` is set, which is for a quiet machine. All outages, for longer: `cargo xtask outages`.

use std::env;
use std::time::Duration;

use keyferry_tests::outages::{Course, Observed, Outage, RECOVERY_LIMIT, TIME_LIMITS, play};

const COURSE: Course = Course { duration: Duration::from_secs(4), rate: 500 };

fn survive(outage: Outage) -> Option<Observed> {
    let Some(observed) = play(outage, COURSE).unwrap() else {
        println!("skipped: this machine does not allow it");
        return None;
    };
    println!("recovery {:?}, {} copies; {:#?}", observed.recovery, observed.copies, observed.trace);
    if env::var_os(TIME_LIMITS).is_some() {
        assert!(observed.recovery <= RECOVERY_LIMIT, "delivery went on only {:?} after", observed.recovery);
    }
    assert_eq!(observed.status["dead_letters"], 0, "what is not the record's fault condemned a record");
    Some(observed)
}

#[test]
fn a_broker_that_is_frozen() {
    survive(Outage::Frozen);
}

#[test]
fn a_network_that_loses_answers() {
    survive(Outage::AnswersLost);
}

#[test]
fn a_network_that_loses_requests() {
    survive(Outage::RequestsLost);
}

#[test]
fn a_long_way_with_losses() {
    survive(Outage::Lossy);
}

#[test]
fn a_broker_whose_disk_is_full() {
    survive(Outage::DiskFull);
}

#[test]
fn a_topic_that_is_deleted_and_created_again() {
    survive(Outage::TopicDeleted);
}

#[test]
fn a_topic_that_takes_no_batches_any_more() {
    survive(Outage::SmallBatches);
}

#[test]
fn a_quota() {
    survive(Outage::Throttled);
}
