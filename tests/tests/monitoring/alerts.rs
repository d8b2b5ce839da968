//! Kafka goes away and comes back: somebody is told of both, by every way there is, and an incident tells what happened.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keyferry_tests::alertmanager::Alertmanager;
use keyferry_tests::consumer::{Consumer, Record};
use keyferry_tests::ferry::{Ferry, Plan};
use keyferry_tests::kafka::{self, Kafka};
use keyferry_tests::receiver::{Received, Receiver};
use keyferry_tests::wait;
use serde_json::Value;
use xtask::cache::Cache;

const LIMIT: Duration = Duration::from_secs(120);

/// What is told where.
fn alerts_file(hook: &Receiver, mail: &Receiver, alertmanager: &Alertmanager, topic: &str) -> String {
    format!(
        r#"
        environment = "test"
        incidents.automatic = false
        [[channel]]
        name = "hook"
        webhook = {{ url = "http://127.0.0.1:{}/hook", hmac_secret = "key", auth.bearer = "${{file:TOKEN}}" }}
        [[channel]]
        name = "mail"
        email = {{ host = "127.0.0.1", port = {}, tls = "none", from = "agent@example.org", to = ["ops@example.org"] }}
        [[channel]]
        name = "topic"
        kafka.topic = "{topic}"
        [[channel]]
        name = "alertmanager"
        alertmanager.url = "{}"
        [[route]]
        match = {{ alertname = "BreakerOpen" }}
        channels = ["hook", "mail", "topic", "alertmanager"]
        "#,
        hook.port(),
        mail.port(),
        alertmanager.address(),
    )
}

fn keyferry(ferry: &Ferry, words: &[&str]) -> (Option<i32>, String) {
    let slot = ferry.agent.slot().to_str().unwrap();
    let mut command = Command::new(ferry.agent.executable());
    command.args(&words[..2]).arg(slot).args(&words[2..]);
    let output = command.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

fn is(cause: &str) -> impl Fn(&Received) -> bool {
    move |received| {
        let notice: Value = serde_json::from_str(&received.body).unwrap_or_default();
        notice["cause"] == cause && notice["alerts"][0]["name"] == "BreakerOpen"
    }
}

#[test]
fn an_outage_is_told_and_its_end_and_an_incident_has_what_happened() {
    let (hook, mail) = (Receiver::http().unwrap(), Receiver::smtp().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let alertmanager = Alertmanager::start(directory.path()).unwrap();
    let mut kafka = Kafka::start_new(&Cache::from_environment().unwrap(), directory.path()).unwrap();
    let (topic, told) = (kafka::fresh_topic("alerts"), kafka::fresh_topic("alerts-told"));
    kafka.create_topic(&topic, kafka::PARTITIONS).unwrap();
    kafka.create_topic(&told, 1).unwrap();
    let (token, file) = (directory.path().join("token"), directory.path().join("alerts.toml"));
    fs::write(&token, "hunter2\n").unwrap();
    let alerts = alerts_file(&hook, &mail, &alertmanager, &told).replace("TOKEN", token.to_str().unwrap());
    fs::write(&file, alerts).unwrap();
    let servers = kafka.bootstrap_servers();
    let settings = format!("[alerts]\nfile = \"{}\"", file.display());
    let ferry = Plan::new(&servers, &servers, &topic).settings(&settings).start().unwrap();
    assert_eq!(keyferry(&ferry, &["alert", "ls"]), (Some(0), "nothing fires\n".to_owned()));

    kafka.kill().unwrap();
    let firing = hook.wait_for("the notice", LIMIT, is("firing")).unwrap();
    assert_eq!(firing.header("authorization"), Some("bearer hunter2"), "the secret was looked up");
    assert!(firing.header("x-keyferry-signature").unwrap().starts_with("sha256="));
    let notice: Value = serde_json::from_str(&firing.body).unwrap();
    assert_eq!(notice["alerts"][0]["labels"]["environment"], "test");
    mail.wait_for("the mail", LIMIT, |mail| mail.body.contains("[firing, critical] BreakerOpen")).unwrap();
    let active = |wanted: bool| {
        let is_there =
            || alertmanager.active().ok().map(|names| names.iter().any(|name| name == "BreakerOpen"));
        wait::until("Alertmanager's word", LIMIT, || is_there().filter(|there| *there == wanted)).unwrap();
    };
    active(true);
    let (code, said) = keyferry(&ferry, &["alert", "ls"]);
    assert!(code == Some(1) && said.contains("BreakerOpen"), "{said}");
    let (code, said) = keyferry(&ferry, &["incident", "ack", "inc-1"]);
    assert!(code == Some(0) && said.contains("inc-1 is acknowledged"), "{said}");
    let (code, said) = keyferry(&ferry, &["incident", "remediate", "inc-1", "--action", "reconnect"]);
    assert!(code == Some(0) && said.contains("reconnect is done"), "{said}");
    let (code, said) = keyferry(&ferry, &["incident", "remediate", "inc-1", "--action", "restart_agent"]);
    assert!(code == Some(1) && said.contains("`incidents.allow`"), "{said}");

    kafka.start().unwrap();
    hook.wait_for("the notice of the end", LIMIT, is("resolved")).unwrap();
    mail.wait_for("the mail of the end", LIMIT, |mail| {
        mail.body.contains("[resolved, critical] BreakerOpen")
    })
    .unwrap();
    active(false);
    let mut consumer = Consumer::new(&servers, &told).unwrap();
    let resolved = |record: &Record| record.field("cause") == "resolved";
    consumer.wait_until("the record of the end", LIMIT, |records| records.iter().any(resolved)).unwrap();
    let report = wait::until("the end of the incident", LIMIT, || {
        let (_, report) = keyferry(&ferry, &["incident", "report", "inc-1"]);
        report.contains("| state | resolved |").then_some(report)
    })
    .unwrap();
    println!("{report}");
    assert!(report.contains("| time to recover |") && report.contains("keyferry_breaker_state"), "{report}");
    let log = fs::read_to_string(ferry.agent.log()).unwrap();
    let names_incident = |line: &str| line.contains("incident=\"inc-1\"") && line.contains("reconnect");
    assert!(log.lines().any(names_incident), "no line names the incident: {log}");
    let all = format!(
        "{report}{:?}{:?}",
        hook.received().iter().map(|one| &one.body).collect::<Vec<_>>(),
        mail.received()
    );
    assert!(!all.contains("hunter2"), "a secret was told");
    assert_nothing_is_lost(&ferry);
}

/// Alerting never costs an event.
fn assert_nothing_is_lost(ferry: &Ferry) {
    ferry.wait_for_delivery().unwrap();
    ferry.settle().unwrap();
    let state: &Path = ferry.agent.slot();
    for file in ["alerts.json", "incidents.json", "outbox.json"] {
        let text = fs::read_to_string(state.join(file)).unwrap();
        assert!(!text.contains("hunter2"), "{file} holds a secret");
    }
}
