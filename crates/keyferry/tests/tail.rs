//! `keyferry tail` on topics of librdkafka's mock cluster, filled with what the agent's encoder makes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::BufReader;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use keyferry_event::{Encoder, Envelope, Gap, GapReason, HeaderMode, Span};
use keyferry_journal::event::{EventEncoder, Events, Field};
use keyferry_journal::{Epoch, EventKind, Outcome};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::running::{cluster, until};
use support::{keyferry, transcript};

/// What is sent.
enum Sent {
    Event { id: &'static str, json: &'static str, outcome: Outcome },
    Gap { explains: Span },
    Foreign,
}

const LOGIN: &str = r#"{"id":"a","time":1761640463007,"type":"LOGIN","realmId":"r","realmName":"shop","clientId":"web","userId":"u-1","ipAddress":"192.0.2.7","details":{"username":"jo","note":"\u001b[2J"}}"#;
const FAILURE: &str = r#"{"id":"b","time":1761640464008,"type":"LOGIN_ERROR","realmName":"shop","clientId":"web","error":"invalid_user_credentials","details":{"username":"admin"}}"#;
const CREATION: &str = r#"{"id":"c","time":1761640465009,"realmName":"shop","authDetails":{"userId":"a-1"},"resourceType":"USER","operationType":"CREATE","resourcePath":"users/u-2","later":[1]}"#;

fn login() -> Sent {
    Sent::Event { id: "a", json: LOGIN, outcome: Outcome::Committed }
}

fn failure() -> Sent {
    Sent::Event { id: "b", json: FAILURE, outcome: Outcome::Unknown }
}

fn creation() -> Sent {
    Sent::Event { id: "c", json: CREATION, outcome: Outcome::Committed }
}

/// Appends a record to the topic `events`.
fn send(producer: &BaseProducer, sequence: u64, sent: &Sent) {
    let mut encoder = Encoder::new(HeaderMode::CloudEvents);
    let epoch = Epoch(0x0006_4459_4162_4300);
    let mut payload = EventEncoder::new();
    let record = match sent {
        Sent::Event { id, json, outcome } => {
            let kind = if json.contains("operationType") { EventKind::Admin } else { EventKind::User };
            payload.push(kind, 1_761_640_463_007, &[(Field::Id, id)], json.as_bytes());
            let event = Events::of(payload.payload()).next().unwrap().unwrap();
            encoder.encode("events", &event, &Envelope { node: "kc-1", epoch, outcome: *outcome, sequence })
        }
        Sent::Gap { explains } => {
            let mut gap =
                Gap::new(GapReason::DroppedOld, epoch, "kc-1", "the ceiling was reached".to_owned());
            (gap.user_events, gap.admin_events, gap.sequences) = (Some(2), Some(0), Some(*explains));
            encoder.encode_gap("events", &gap, sequence, 1_761_640_466_000)
        }
        Sent::Foreign => {
            let record = BaseRecord::<str, str>::to("events").payload("hello").timestamp(1_761_640_466_000);
            return producer.send(record).map_err(|(error, _)| error).unwrap();
        }
    };
    let record = record.unwrap();
    let headers = record.headers().fold(OwnedHeaders::new(), |headers, header| {
        headers.insert(Header { key: header.name.to_str().unwrap(), value: Some(header.value) })
    });
    let record = BaseRecord::to("events").key(record.key).payload(record.value).headers(headers);
    producer.send(record.timestamp(1_761_640_463_007)).map_err(|(error, _)| error).unwrap();
}

fn fill(servers: &str, records: &[(u64, Sent)]) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    for (sequence, sent) in records {
        send(&producer, *sequence, sent);
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

fn arguments<'a>(servers: &'a str, further: &[&'a str]) -> Vec<&'a str> {
    [&["tail", "--bootstrap-servers", servers, "--topic", "events"][..], further].concat()
}

/// What `keyferry tail` prints, and how it ends.
fn tail(servers: &str, further: &[&str]) -> String {
    transcript(&keyferry(Path::new("/"), &arguments(servers, further)).output().unwrap())
}

/// What it prints as JSON.
fn json(servers: &str, further: &[&str]) -> Vec<Value> {
    let arguments = [further, &["--json"]].concat();
    let text = tail(servers, &arguments);
    let text = text.strip_suffix("exit code 0\n").unwrap_or_else(|| panic!("{text}"));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[test]
fn events_are_told_with_what_is_odd_about_them() {
    let cluster = cluster();
    let servers = cluster.bootstrap_servers();
    fill(
        &servers,
        &[
            (1, login()),
            (2, failure()),
            (1, login()),
            (5, creation()),
            (6, Sent::Gap { explains: Span { from: 3, to: 3 } }),
            (0, Sent::Foreign),
            (20_006, login()),
        ],
    );
    insta::assert_snapshot!("marks", tail(&servers, &["--until-end"]));
    let lines = json(&servers, &["--until-end"]);
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["user", "user", "user", "admin", "gap", "unreadable", "missing", "user", "unseen"]);
    let copies: Vec<_> =
        lines.iter().filter(|line| line["copy"] == true).map(|line| &line["offset"]).collect();
    assert_eq!(copies, [2, 6]);
    assert_eq!(
        (&lines[1]["outcome"], &lines[1]["sequence"], &lines[1]["node"]),
        (&"unknown".into(), &2.into(), &"kc-1".into())
    );
    assert_eq!(lines[3]["event"]["later"][0], 1, "what is not known is passed on");
    assert_eq!((&lines[6]["from"], &lines[6]["to"]), (&4.into(), &4.into()));
}

#[test]
fn a_filter_a_place_and_a_count_choose_what_is_told() {
    let cluster = cluster();
    let servers = cluster.bootstrap_servers();
    fill(
        &servers,
        &[
            (1, login()),
            (2, failure()),
            (3, creation()),
            (4, Sent::Gap { explains: Span { from: 9, to: 9 } }),
        ],
    );
    let ids = |further: &[&str]| -> Vec<String> {
        json(&servers, further)
            .iter()
            .map(|line| line["event"]["id"].as_str().unwrap_or("gap").to_owned())
            .collect()
    };
    let expression = "type == \"LOGIN_ERROR\" && details.username ~ \"adm*\"";
    assert_eq!(ids(&["--until-end", "--filter", expression]), ["b", "gap"]);
    assert_eq!(ids(&["--until-end", "--filter", "kind == \"admin\""]), ["c", "gap"]);
    assert_eq!(ids(&["--until-end", "--from", "2"]), ["c", "gap"]);
    assert_eq!(ids(&["--from", "beginning", "--count", "2"]), ["a", "b"]);
    assert_eq!(ids(&["--until-end", "--from", "end"]), [""; 0]);
    let refused = tail(&servers, &["--filter", "type = LOGIN"]);
    assert!(refused.contains("at character") && refused.contains("exit code 2"), "{refused}");
    let unknown = tail(&servers, &["--topic", "nothing"]);
    assert!(unknown.contains("no topic nothing") && unknown.contains("exit code 2"), "{unknown}");
}

fn follow(servers: &str, further: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = keyferry(Path::new("/"), &arguments(servers, further));
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn line(out: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line
}

#[test]
fn what_arrives_is_told_until_ctrl_c() {
    let cluster = cluster();
    let servers = cluster.bootstrap_servers();
    fill(&servers, &[(1, login())]);
    let (mut child, mut out) = follow(&servers, &["--from", "beginning"]);
    assert!(line(&mut out).contains(" LOGIN "));
    fill(&servers, &[(2, creation())]);
    assert!(line(&mut out).contains("CREATE USER"));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = until("it ends", || child.try_wait().unwrap());
    assert_eq!((status.code(), line(&mut out)), (Some(0), String::new()));
}

#[test]
fn it_ends_when_nobody_reads_on_also_while_nothing_arrives() {
    let cluster = cluster();
    let servers = cluster.bootstrap_servers();
    fill(&servers, &[(1, login())]);
    let (mut child, mut out) = follow(&servers, &["--from", "beginning"]);
    assert!(line(&mut out).contains(" LOGIN "));
    drop(out);
    assert_eq!(until("it ends", || child.try_wait().unwrap()).code(), Some(0));
}
