//! One change for all nodes, by a compacted topic: each decides by itself and tells what it runs, one that comes late catches up, and no event notices.

use std::process::{Command, Output};
use std::time::Duration;

use keyferry_tests::ferry::{Ferry, Plan};
use keyferry_tests::{kafka, wait};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
const LINGER: &str = "destination.delivery.linger";
const CLIENT: &str = "destination.client_id";
const FIRST_PAUSE: &str = "destination.breaker.first_pause";

/// A node of its own slot and topic, which follows `topic` as the others do.
fn node(name: &str, topic: &str, settings: &str) -> Ferry {
    let plan = Plan::shared(&format!("node-{name}")).unwrap().node(name).rate(200);
    let follows = format!("[destination.topics]\ncreate = true\n{settings}\n[config]\ntopic = \"{topic}\"");
    plan.settings(&follows).start().unwrap()
}

fn run(ferry: &Ferry, words: &[&str], order: &[&str]) -> Output {
    let mut keyferry = Command::new(ferry.agent.executable());
    keyferry.arg("config").args(words).arg(ferry.agent.slot()).args(order).arg("--json").output().unwrap()
}

fn told(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// Announces a change; answers with its id.
#[track_caller]
fn set_everywhere(ferry: &Ferry, order: &[&str]) -> String {
    let output = run(ferry, &["set", "--all-nodes"], order);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(told(&output)["outcome"], "announced");
    told(&output)["change"].as_str().unwrap().to_owned()
}

#[track_caller]
fn refusal(ferry: &Ferry, order: &[&str]) -> String {
    let output = run(ferry, &["set", "--all-nodes"], order);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// What `ferry` knows of the node `name`.
fn known_of(ferry: &Ferry, name: &str) -> Value {
    let nodes: Value = serde_json::from_slice(&run(ferry, &["nodes"], &[]).stdout).unwrap_or_default();
    let mut nodes = nodes["nodes"].as_array().into_iter().flatten();
    nodes.find(|node| node["node"] == name).cloned().unwrap_or_default()
}

/// Waits until `ferry` knows that the node `name` has decided on `change`.
#[track_caller]
fn wait_for(ferry: &Ferry, name: &str, change: &str, outcome: &str) -> Value {
    let decided = wait::until(&format!("{change} is {outcome} at {name}"), LIMIT, || {
        let node = known_of(ferry, name);
        let is_so = node["change"] == change && node["outcome"] == outcome && node["has_decided"] == true;
        is_so.then_some(node)
    });
    decided.map_err(|error| error.with_log(ferry.agent.log())).unwrap()
}

fn value(ferry: &Ferry, key: &str) -> Option<String> {
    let config = told(&run(ferry, &["show"], &[]));
    let mut settings = config["settings"].as_array().unwrap().iter();
    settings.find(|setting| setting["key"] == key)?["value"].as_str().map(str::to_owned)
}

fn history(ferry: &Ferry) -> Vec<Value> {
    told(&run(ferry, &["history"], &[])).as_array().unwrap().clone()
}

/// How often a change became a version.
fn times_made(ferry: &Ferry, change: &str) -> usize {
    let names = |version: &&Value| version["cause"].as_str().is_some_and(|cause| cause.ends_with(change));
    history(ferry).iter().filter(names).count()
}

fn write(topic: &str, records: &[(&str, &str)]) {
    let servers = kafka::shared().unwrap().bootstrap_servers();
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    for (key, value) in records {
        producer.send(BaseRecord::to(topic).key(*key).payload(*value)).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
}

#[test]
fn a_change_for_all_nodes_is_decided_on_by_each_of_them_once_and_they_tell_how() {
    let topic = kafka::fresh_topic("all-nodes");
    let a = node("a", &topic, "");
    // The same change can be right for one node and wrong for another.
    let mut b = node("b", &topic, "[destination.breaker]\nlongest_pause = \"1s\"\n");
    wait::until("each knows of the other", LIMIT, || {
        (known_of(&a, "b")["version"] == 1 && known_of(&b, "a")["version"] == 1).then_some(())
    })
    .unwrap();

    // What cannot be is refused by name where it is wished for, and nobody else hears of it.
    for (order, named) in [
        ("destination.delivery.lingr=1ms", "destination.delivery.lingr"),
        ("destination.security.sasl.password=hunter2", "${file:"),
        ("config.topic=another", "config.topic"),
    ] {
        let reason = refusal(&a, &[order, "log.level=debug"]);
        assert!(reason.contains(named) && !reason.contains("hunter2"), "{reason}");
    }
    let dry = told(&run(&a, &["set", "--all-nodes"], &["log.level=debug", "--dry-run"]));
    assert_eq!((&dry["outcome"], &dry["steps"][0]["key"]), (&"planned".into(), &"log.level".into()));

    // A change that both make.
    let first = set_everywhere(&a, &[&format!("{LINGER}=7ms")]);
    for (ferry, name) in [(&b, "a"), (&a, "b")] {
        let node = wait_for(ferry, name, &first, "applied");
        assert_eq!((&node["agrees"], &node["version"]), (&true.into(), &2.into()), "{node}");
    }
    assert_eq!([value(&a, LINGER), value(&b, LINGER)], [Some("7ms".to_owned()), Some("7ms".to_owned())]);
    assert!(run(&a, &["nodes"], &[]).status.success(), "they agree");
    let version = &history(&b)[0];
    assert!(version["author"].as_str().unwrap().ends_with(" at a"), "{version}");
    assert_eq!(version["keys"], serde_json::json!([LINGER]), "what was refused is not among it");

    // Two that one node misses while it is away, of which it makes each once; what nobody understands lies between them.
    b.agent.stop().unwrap();
    let second = set_everywhere(&a, &[&format!("{CLIENT}=one")]);
    write(&topic, &[("change", r#"{"format":99}"#), ("node/x", "garbage"), ("somebody", "else")]);
    let third = set_everywhere(&a, &[&format!("{CLIENT}=another"), "log.level=debug"]);
    wait_for(&a, "a", &third, "applied");
    b.agent.start().unwrap();
    assert_eq!(wait_for(&a, "b", &third, "applied")["agrees"], true);
    assert_eq!(value(&b, CLIENT).as_deref(), Some("another"));
    assert_eq!([times_made(&b, &first), times_made(&b, &second), times_made(&b, &third)], [1, 0, 1]);
    let log = std::fs::read_to_string(a.agent.log()).unwrap();
    for skipped in ["its form is 99", "cannot be understood", "none of Keyferry's"] {
        assert!(log.contains(skipped), "{skipped} is not told");
    }

    // One that comes when all is over has what the others have.
    let c = node("c", &topic, "");
    assert_eq!(wait_for(&a, "c", &third, "applied")["agrees"], true);
    assert_eq!([value(&c, LINGER), value(&c, CLIENT)], [Some("7ms".to_owned()), Some("another".to_owned())]);

    // One that cannot be on one node: that node says so, with the key, and goes on as it was.
    let fourth = set_everywhere(&a, &[&format!("{FIRST_PAUSE}=2s"), "log.level=info"]);
    wait_for(&b, "a", &fourth, "applied");
    let refused = wait_for(&a, "b", &fourth, "refused");
    assert!(refused["reason"].as_str().unwrap().contains(FIRST_PAUSE), "{refused}");
    assert_eq!(refused["differs"], serde_json::json!([FIRST_PAUSE, "log.level"]));
    assert_eq!(value(&b, "log.level").as_deref(), Some("debug"), "all of it or nothing");
    assert_eq!(run(&a, &["nodes"], &[]).status.code(), Some(1), "they do not agree");
    for ferry in [&a, &b, &c] {
        ferry.wait_for_delivery().unwrap();
        assert_eq!(ferry.tally.ledger().copies(), 0, "a change sends nothing twice");
    }

    // One that makes things worse is taken back by each node that it makes worse, and not made again at the next start.
    let order = [format!("{LINGER}=2s"), "destination.breaker.oldest_unacknowledged=100ms".to_owned()];
    let fifth = set_everywhere(&c, &order.each_ref().map(String::as_str));
    let worse = wait_for(&a, "b", &fifth, "taken-back");
    assert!(worse["reason"].as_str().unwrap().contains("circuit breaker"), "{worse}");
    let version = history(&b)[0].clone();
    b.agent.stop().unwrap();
    b.agent.start().unwrap();
    // It knows itself only from what it has read in the topic.
    wait_for(&b, "b", &fifth, "taken-back");
    for (ferry, name) in [(&a, "a"), (&b, "b"), (&c, "c")] {
        ferry.wait_for_delivery().unwrap();
        let (written, ledger) = ferry.settle().unwrap();
        println!("{name}: {} events, {} records", written.committed(), ledger.records());
    }
    assert_eq!((&history(&b)[0], value(&b, LINGER).as_deref()), (&version, Some("7ms")));
    assert_eq!(times_made(&b, &fifth), 1);
}
