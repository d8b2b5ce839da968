//! Nothing goes wrong.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use keyferry_tests::ferry::Plan;
use keyferry_tests::kafka;

/// The lines that `keyferry tail` prints of what is in the topic.
fn told(executable: &Path, topic: &str, further: &[&str]) -> Vec<String> {
    let servers = kafka::shared().unwrap().bootstrap_servers();
    let mut command = Command::new(executable);
    command.args(["tail", "--until-end", "--bootstrap-servers", &servers, "--topic", topic]).args(further);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn a_steady_load_arrives_whole_in_order_and_once() {
    let plan = Plan::shared("steady").unwrap().rate(2000);
    let ferry = plan.start().unwrap();
    thread::sleep(Duration::from_secs(3));
    let (written, ledger) = ferry.settle().unwrap();
    println!("{} events, {} records", written.committed(), ledger.records());
    assert_eq!(ledger.copies(), 0);

    // `keyferry tail` tells each of them, with nothing odd, and of a time or a user only those.
    let executable = ferry.agent.executable();
    let mut all = told(executable, plan.topic(), &[]);
    assert_eq!(all.len(), written.committed());
    assert!(all.iter().all(|line| line.contains(" LOGIN user=") && !line.contains('[')), "{}", all[0]);
    all.sort();
    let middle = all[all.len() / 2].split(' ').next().unwrap();
    let later = all.iter().filter(|line| line.as_str() >= middle).count();
    assert_eq!(told(executable, plan.topic(), &["--from", middle]).len(), later);
    let user = format!(" user={}", written.user(1));
    let of_user = all.iter().filter(|line| line.ends_with(&user)).count();
    assert!(of_user > 0 && of_user < all.len());
    let filter = format!("user == \"{}\"", written.user(1));
    assert_eq!(told(executable, plan.topic(), &["--filter", &filter]).len(), of_user);
}
