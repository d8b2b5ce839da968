//! An operator steers a running agent by its socket.

use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use keyferry_tests::ferry::{Ferry, Plan};
use keyferry_tests::wait;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
/// For how long nothing may arrive while the breaker is forced open.
const QUIET: Duration = Duration::from_secs(3);

/// The command line, beside the agent.
struct Operator<'a> {
    executable: &'a Path,
    slot: &'a Path,
}

impl<'a> Operator<'a> {
    fn of(ferry: &'a Ferry) -> Self {
        Self { executable: ferry.agent.executable(), slot: ferry.agent.slot() }
    }

    fn run(&self, command: &str, order: &[&str]) -> Output {
        Command::new(self.executable).arg(command).arg(self.slot).args(order).arg("--json").output().unwrap()
    }

    /// What the circuit breaker says after `order`.
    fn breaker(&self, order: &[&str]) -> Value {
        self.aspect("breaker", order)
    }

    fn aspect(&self, aspect: &str, order: &[&str]) -> Value {
        let output = self.run(aspect, order);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let state: Value = serde_json::from_slice(&output.stdout).unwrap();
        state["slots"][0].clone()
    }

    fn wait_for_breaker(&self, state: &str) {
        wait::until(state, LIMIT, || (self.breaker(&[])["state"] == state).then_some(())).unwrap();
    }
}

#[test]
fn a_breaker_that_is_forced_open_under_load_lets_nothing_through_and_loses_nothing() {
    let ferry = Plan::shared("operator").unwrap().rate(500).start().unwrap();
    let operator = Operator::of(&ferry);
    wait::until("all is well", LIMIT, || {
        (operator.run("status", &[]).status.code() == Some(0)).then_some(())
    })
    .unwrap();
    assert_eq!(operator.breaker(&["open"])["mode"], "open");
    operator.wait_for_breaker("open");
    // What was in flight may still arrive, on a slow machine after a while.
    let held = wait::until("nothing arrives any more", LIMIT, || {
        let before = ferry.tally.distinct();
        thread::sleep(QUIET);
        (ferry.tally.distinct() == before).then_some(before)
    })
    .unwrap();
    let written = ferry.traffic.written().committed();
    thread::sleep(QUIET);
    assert_eq!(ferry.tally.distinct(), held, "an open breaker let something through");
    assert!(ferry.traffic.written().committed() > written, "Keycloak's side went on");
    assert_eq!(operator.run("status", &[]).status.code(), Some(1), "not everything is being delivered");
    assert_eq!(operator.breaker(&["close"])["mode"], "closed");
    operator.wait_for_breaker("closed");
    ferry.wait_for_delivery().unwrap();
    assert_eq!(operator.breaker(&["auto"])["mode"], "auto");
    let (written, ledger) = ferry.settle().unwrap();
    println!("{} events, {} records", written.committed(), ledger.records());
    assert_eq!(ledger.copies(), 0, "holding back sends nothing twice");
}

#[test]
fn connections_that_are_replaced_and_multiplied_under_load_leave_no_trace() {
    let ferry = Plan::shared("operator-pool").unwrap().rate(500).start().unwrap();
    let operator = Operator::of(&ferry);
    let wait_for = |what: &str, has: &dyn Fn(&Value) -> bool| {
        let pool = || Some(operator.aspect("pool", &[])).filter(|pool| pool["swap"].is_null() && has(pool));
        wait::until(what, LIMIT, pool).unwrap()
    };
    let generation = |pool: &Value| pool["generation"].as_u64().unwrap();
    let first = generation(&wait_for("the first connections", &|pool| pool["size"] == 1));
    operator.aspect("pool", &["reconnect"]);
    let second = generation(&wait_for("new connections", &|pool| generation(pool) > first));
    operator.aspect("pool", &["resize", "2"]);
    let pool = wait_for("two connections", &|pool| pool["size"] == 2);
    assert!(generation(&pool) > second, "another number is another generation, for the order of each key");
    ferry.wait_for_delivery().unwrap();
    let (_, ledger) = ferry.settle().unwrap();
    assert_eq!(ledger.copies(), 0);
}
