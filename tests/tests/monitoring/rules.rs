//! What Prometheus's own tool says of the rules.

use keyferry_tests::prometheus::{promtool, rules_directory};

#[test]
fn the_rules_are_valid_and_each_alert_fires_when_it_should_and_only_then() {
    for arguments in [
        &["check", "rules", "keyferry.rules.yml"][..],
        &["test", "rules", "keyferry.minutes.test.yml", "keyferry.days.test.yml"],
    ] {
        let output = promtool().unwrap().args(arguments).current_dir(rules_directory()).output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}
