//! What records say, on a real Keycloak: no secret, and each destination what it asked for.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use keyferry_tests::browser::Browser;
use keyferry_tests::consumer::Consumer;
use keyferry_tests::http::Http;
use keyferry_tests::keycloak::Database;
use keyferry_tests::port;
use keyferry_tests::secrets::{self, Secret, files, found, is_segment};
use keyferry_tests::stage::{ADMIN_EVENTS, EVENTS, Stage};
use serde_json::Value;

const REALM: &str = "shop";
const LIMIT: Duration = Duration::from_secs(60);

/// A second destination in the same cluster: failed logins and changes of clients of one realm, each kind in a topic of its own, who it was in hashes.
fn configuration(servers: &str) -> String {
    format!(
        r#"
        [[destination]]
        name = "default"
        [[destination]]
        name = "chosen"
        bootstrap_servers = "{servers}"
        topic_events = "chosen-events"
        topic_admin_events = "chosen-admin"
        headers = "minimal"
        [destination.topics]
        create = true
        partitions = 1
        [destination.filter]
        include = "realm = shop"
        expression = 'type == "LOGIN_ERROR" && details.username ~ "al*" || resourceType in ["CLIENT"]'
        [destination.routing]
        topic = "chosen.{{realmName}}.{{kind}}"
        [destination.redaction]
        preset = "gdpr-pseudonymous"
        hash_key = "0123456789abcdef0123456789abcdef"
        fields = "representation = keep"
        "#
    )
}

#[test]
fn no_secret_leaves_keycloak_and_each_destination_gets_what_it_asks_for() {
    let mut stage = Stage::prepare(Database::File).unwrap();
    let servers = stage.kafka.bootstrap_servers();
    let path = stage.directory().join("keyferry.toml");
    fs::write(&path, configuration(&servers)).unwrap();
    let api = port::free().unwrap();
    stage
        .keycloak
        .variable("KEYFERRY_CONFIG", path.to_str().unwrap())
        .listener_option("journal-keep", "1h")
        .listener_option("api-listen", format!("127.0.0.1:{api}"));
    stage.keycloak.start().unwrap();
    stage.admin.create_realm(REALM, &["kafka"]).unwrap();
    let alice = stage.admin.create_user(REALM, "alice").unwrap();
    let bob = stage.admin.create_user(REALM, "bob").unwrap();
    for name in ["alice", "bob"] {
        Browser::new(&stage.keycloak.address(), REALM).fail_to_log_in(name).unwrap();
    }
    let secrets = secrets::spread(&stage.admin, REALM).unwrap();
    let records = stage.settle().unwrap();
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        check_secrets(&stage, &records, &secrets);
        check_answers(api, &secrets);
        check_choice(&servers, &alice, &bob);
    })) {
        stage.keep();
        std::panic::resume_unwind(panic);
    }
}

fn check_secrets(stage: &Stage, records: &[keyferry_tests::consumer::Record], secrets: &[Secret]) {
    let journal = files(&stage.keycloak.journal(), &is_segment).unwrap();
    let leaked = found(&journal, secrets);
    println!("secrets that Keycloak leaves in its events: {leaked:?}");
    for name in ["private key in a note", "initial access token, also in a memo", "registration token"] {
        assert!(
            leaked.contains(name),
            "Keycloak masks this itself, and this test shows nothing of it: {name}"
        );
    }
    let values: Vec<u8> = records.iter().flat_map(|record| [&record.value[..], b"\n"].concat()).collect();
    assert_eq!(found(&values, secrets), BTreeSet::new(), "in Kafka");
    assert!(
        records.iter().any(|record| record.topic == EVENTS)
            && records.iter().any(|record| record.topic == ADMIN_EVENTS)
    );
    let masked =
        records.iter().filter(|record| record.field("representation").contains("**********")).count();
    assert!(masked > 0, "nothing was masked");
    let told = files(&stage.keycloak.journal(), &|path| !is_segment(path)).unwrap();
    assert_eq!(found(&told, secrets), BTreeSet::new(), "in the status and the other files of the agent");
    assert_eq!(found(&fs::read(stage.keycloak.log()).unwrap(), secrets), BTreeSet::new(), "in the log");
}

/// Whatever the agent's API and page answer to somebody who only asks, and what the page is sent as it changes.
fn check_answers(port: u16, secrets: &[Secret]) {
    let (http, address) = (Http::new(), format!("http://127.0.0.1:{port}"));
    let document = http.get(&format!("{address}/api/v1/openapi.json")).unwrap().success().unwrap();
    let document: Value = document.json().unwrap();
    let is_question = |path: &&String| {
        document["paths"][path.as_str()].get("get").is_some()
            && !path.contains('{')
            && !path.ends_with("/stream")
    };
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().filter(is_question).collect();
    let mut answers: Vec<u8> = Vec::new();
    let page = "/".to_owned();
    for path in paths.iter().copied().chain([&page]) {
        let answer = http.get(&format!("{address}{path}")).unwrap();
        answers.extend(answer.body.into_bytes());
    }
    answers.extend(first_snapshot(port));
    println!("{} bytes in answers to {} questions", answers.len(), paths.len() + 2);
    assert!(paths.len() > 10, "{paths:?}");
    assert_eq!(found(&answers, secrets), BTreeSet::new(), "in the API or the page");
}

/// What the page is sent first.
fn first_snapshot(port: u16) -> Vec<u8> {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(&stream, "GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap).inspect(|line| said += line);
    let snapshot = lines.find(|line| line.starts_with("data:"));
    drop(lines);
    let snapshot = snapshot.unwrap_or_else(|| panic!("no snapshot: {said}"));
    assert!(snapshot.contains("default") && snapshot.contains("chosen"), "{snapshot}");
    snapshot.into_bytes()
}

fn check_choice(servers: &str, alice: &str, bob: &str) {
    let mut users = Consumer::new(servers, "chosen.shop.user").unwrap();
    let logins = users.wait_until("a failed login", LIMIT, |records| !records.is_empty()).unwrap().to_vec();
    let [login] = &logins[..] else { panic!("{logins:?}") };
    assert_eq!((login.field("type"), login.headers.len()), ("LOGIN_ERROR", 5));
    let text = String::from_utf8_lossy(&login.value);
    assert!(
        !text.contains(alice) && !text.contains("\"alice\"") && text.contains(login.key.as_deref().unwrap()),
        "{text}"
    );
    let mut clients = Consumer::new(servers, "chosen.shop.admin").unwrap();
    let is_there = |records: &[keyferry_tests::consumer::Record]| {
        records.iter().any(|record| {
            record.field("operationType") == "CREATE" && record.field("representation").contains("reports")
        })
    };
    let changes = clients.wait_until("the new client", LIMIT, is_there).unwrap().to_vec();
    assert!(changes.iter().all(|record| record.field("resourceType") == "CLIENT"), "{changes:?}");
    assert!(
        !changes.iter().any(|record| record.value.windows(bob.len()).any(|window| window == bob.as_bytes()))
    );
    for topic in ["chosen-events", "chosen-admin"] {
        let records = Consumer::new(servers, topic).unwrap().read().unwrap().to_vec();
        assert_eq!(records.len(), 0, "the template gave every event a topic");
    }
}
