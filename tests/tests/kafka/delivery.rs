//! Nothing goes wrong.

use std::thread;
use std::time::Duration;

use keyferry_tests::ferry::Plan;

#[test]
fn a_steady_load_arrives_whole_in_order_and_once() {
    let ferry = Plan::shared("steady").unwrap().rate(2000).start().unwrap();
    thread::sleep(Duration::from_secs(3));
    let (written, ledger) = ferry.settle().unwrap();
    println!("{} events, {} records", written.committed(), ledger.records());
    assert_eq!(ledger.copies(), 0);
}
