//! Kafka, or the way to it, fails and comes back: nothing is lost, doubled without being recognisable, or out of order, and delivery goes on by itself.
//!
//! What is tested anywhere is what happens. How soon delivery goes on depends on the machine as well: it is always printed, and held against a limit where
//! `KEYFERRY_TEST_TIME_LIMITS` is set, which is for a quiet machine. All outages, for longer: `cargo xtask outages`.

use std::env;
use std::time::Duration;

use keyferry_tests::outages::{Course, Observed, Outage, RECOVERY_LIMIT, TIME_LIMITS, play};

const COURSE: Course = Course { duration: Duration::from_secs(4), rate: 500 };
/// So many that the client holds as many as it may, and has batches waiting for each partition.
const FLOOD: Course = Course { rate: 8_000, ..COURSE };

fn survive(outage: Outage) -> Option<Observed> {
    survive_course(outage, COURSE)
}

fn survive_course(outage: Outage, course: Course) -> Option<Observed> {
    let Some(observed) = play(outage, course).unwrap() else {
        println!("skipped: this machine does not allow it");
        return None;
    };
    let Observed { recovery, copies, client, trace, .. } = &observed;
    println!("recovery {recovery:?}, {copies} copies, {client:.3} of a processor in the client; {trace:#?}");
    if env::var_os(TIME_LIMITS).is_some() {
        assert!(observed.recovery <= RECOVERY_LIMIT, "delivery went on only {:?} after", observed.recovery);
    }
    assert_eq!(observed.status["dead_letters"], 0, "what is not the record's fault condemned a record");
    Some(observed)
}

/// The client may not ask without a pause whether it may send by now: that takes all of a processor, of which Keycloak has need.
const MOST_OF_A_PROCESSOR: f64 = 0.5;
/// A broker that answers, if late, is asked as long as the rest of what was handed over together waits for its first part.
const MOST_FOR_LATE_ANSWERS: f64 = 0.75;

fn survive_at_rest(outage: Outage, course: Course, most: f64) {
    if let Some(Observed { client, .. }) = survive_course(outage, course) {
        assert!(client < most, "Kafka's client took {client:.2} of a processor meanwhile");
    }
}

#[test]
fn a_broker_that_is_frozen() {
    survive_at_rest(Outage::Frozen, FLOOD, MOST_OF_A_PROCESSOR);
}

#[test]
fn a_network_that_loses_answers() {
    survive_at_rest(Outage::AnswersLost, COURSE, MOST_OF_A_PROCESSOR);
}

#[test]
fn a_network_that_loses_requests() {
    survive_at_rest(Outage::RequestsLost, COURSE, MOST_OF_A_PROCESSOR);
}

#[test]
fn a_long_way_with_losses() {
    survive_at_rest(Outage::Lossy, COURSE, MOST_FOR_LATE_ANSWERS);
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
