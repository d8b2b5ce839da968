//! Each thing that happens in Keycloak is exactly one record, in the right topic, with the right key, headers and JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use keyferry_tests::admin::WEB;
use keyferry_tests::browser::Browser;
use keyferry_tests::consumer::Record;
use keyferry_tests::keycloak::Database;
use keyferry_tests::load::Load;
use keyferry_tests::stage::{ADMIN_EVENTS, EVENTS, NODE, Stage};
use keyferry_tests::{audit, log};
use serde_json::{Value, json};

const REALM: &str = "shop";

/// Everything that a test did in [`REALM`], as its records should be described: kind and key.
type Expected = Vec<(String, String)>;

fn of_realm<'a>(records: &'a [Record], realm: &str) -> Vec<&'a Record> {
    let source = format!("/realms/{realm}");
    records.iter().filter(|record| record.header("ce_source") == source).collect()
}

fn kind(record: &Record) -> String {
    match record.topic.as_str() {
        EVENTS => record.field("type").to_owned(),
        _ => format!("{} {}", record.field("operationType"), record.field("resourceType")),
    }
}

/// The kinds and keys of records, in an order that does not depend on partitions.
fn described(records: &[&Record]) -> Expected {
    let mut described: Expected =
        records.iter().map(|record| (kind(record), record.key.clone().unwrap_or_default())).collect();
    described.sort();
    described
}

fn expected(entries: &[(&str, &str)]) -> Expected {
    let mut expected: Expected =
        entries.iter().map(|(kind, key)| ((*kind).to_owned(), (*key).to_owned())).collect();
    expected.sort();
    expected
}

/// The acts of users through real pages.
fn act_as_users(stage: &Stage, alice: &str) -> Expected {
    let browser = || Browser::new(&stage.keycloak.address(), REALM);
    let mut alices = browser();
    alices.fail_to_log_in("alice").unwrap();
    let tokens = alices.log_in("alice").unwrap();
    let tokens = alices.refresh(&tokens).unwrap();
    alices.log_out(&tokens).unwrap();
    let carol = registered(stage, "carol");
    stage
        .admin
        .put(&format!("/{REALM}/users/{alice}"), &json!({ "requiredActions": ["UPDATE_PASSWORD"] }))
        .unwrap();
    browser().log_in_and_change_password("alice").unwrap();
    let service = service_account(stage);
    let requests = Load::start(&stage.keycloak.address(), REALM, 1).finish_after(Duration::from_millis(300));
    assert_eq!(requests.failures().next(), None);
    let mut entries = vec![
        ("LOGIN_ERROR", alice),
        ("LOGIN", alice),
        ("CODE_TO_TOKEN", alice),
        ("REFRESH_TOKEN", alice),
        ("LOGOUT", alice),
        ("REGISTER", &carol),
        ("LOGIN", &carol),
        ("CODE_TO_TOKEN", &carol),
        ("UPDATE USER", alice),
        ("UPDATE_CREDENTIAL", alice),
        ("UPDATE_PASSWORD", alice),
        ("LOGIN", alice),
        ("CODE_TO_TOKEN", alice),
    ];
    entries.extend(requests.tokens().map(|_| ("CLIENT_LOGIN", service.as_str())));
    expected(&entries)
}

/// Registers a user and returns the id that Keycloak gave.
fn registered(stage: &Stage, username: &str) -> String {
    Browser::new(&stage.keycloak.address(), REALM).register(username).unwrap();
    let found = stage.admin.get(&format!("/{REALM}/users?exact=true&username={username}")).unwrap();
    found[0]["id"].as_str().unwrap().to_owned()
}

fn service_account(stage: &Stage) -> String {
    let client = stage.admin.client(REALM, "service").unwrap();
    let account = stage.admin.get(&format!("/{REALM}/clients/{client}/service-account-user")).unwrap();
    account["id"].as_str().unwrap().to_owned()
}

/// The acts of an administrator.
fn act_as_administrator(stage: &Stage, realm_id: &str, alice: &str) -> Expected {
    let admin = &stage.admin;
    let bob = admin.create_user(REALM, "bob").unwrap();
    admin.put(&format!("/{REALM}/users/{bob}"), &json!({ "firstName": "Robert" })).unwrap();
    admin.delete(&format!("/{REALM}/users/{bob}"), None).unwrap();
    admin.post(&format!("/{REALM}/roles"), &json!({ "name": "captain" })).unwrap();
    let captain = admin.get(&format!("/{REALM}/roles/captain")).unwrap();
    let mapping = format!("/{REALM}/users/{alice}/role-mappings/realm");
    admin.post(&mapping, &json!([captain])).unwrap();
    admin.delete(&mapping, Some(&json!([captain]))).unwrap();
    let crew = admin.create(&format!("/{REALM}/groups"), &json!({ "name": "crew" })).unwrap();
    let membership = format!("/{REALM}/users/{alice}/groups/{crew}");
    admin.put(&membership, &json!({})).unwrap();
    admin.delete(&membership, None).unwrap();
    admin.put(&format!("/{REALM}"), &json!({ "displayName": "The shop" })).unwrap();
    let web = admin.client(REALM, WEB).unwrap();
    admin.put(&format!("/{REALM}/clients/{web}"), &json!({ "name": "The shop's pages" })).unwrap();
    let resource = |path: String| format!("{realm_id}/{path}");
    expected(&[
        ("CREATE USER", &bob),
        ("UPDATE USER", &bob),
        ("DELETE USER", &bob),
        ("CREATE REALM_ROLE", &resource("roles/captain".to_owned())),
        ("CREATE REALM_ROLE_MAPPING", alice),
        ("DELETE REALM_ROLE_MAPPING", alice),
        ("CREATE GROUP", &resource(format!("groups/{crew}"))),
        ("CREATE GROUP_MEMBERSHIP", alice),
        ("DELETE GROUP_MEMBERSHIP", alice),
        ("UPDATE REALM", &resource(String::new())),
        ("UPDATE CLIENT", &resource(format!("clients/{web}"))),
    ])
}

fn check_headers(record: &Record) {
    let json = &record.json;
    let milliseconds = json["time"].as_i64().unwrap();
    assert_eq!(record.header("ce_specversion"), "1.0");
    assert_eq!(record.header("ce_id"), json["id"].as_str().unwrap());
    assert_eq!(record.header("ce_time"), rfc3339(milliseconds), "{json}");
    assert_eq!(record.header("content-type"), "application/json");
    assert_eq!(record.header("ce_outcome"), "committed");
    assert_eq!(record.header("ce_node"), NODE);
    assert_eq!(record.header("ce_sequence").len(), 20);
    assert_eq!(record.header("ce_epoch").len(), 16);
    assert_eq!(Some(record.header("ce_partitionkey")), record.key.as_deref());
    assert_eq!(record.timestamp, Some(milliseconds));
    let (kind, subject) = match record.topic.as_str() {
        EVENTS => (format!("org.keycloak.event.{}", record.field("type")), record.field("userId")),
        _ => {
            let kind = format!(
                "org.keycloak.admin.{}.{}",
                record.field("resourceType"),
                record.field("operationType")
            );
            (kind, subject_of_path(record.field("resourcePath")))
        }
    };
    assert_eq!(record.header("ce_type"), kind);
    assert_eq!(record.header("ce_subject"), subject, "{json}");
}

/// The user whom a resource path names, else the path.
fn subject_of_path(path: &str) -> &str {
    path.strip_prefix("users/").and_then(|rest| rest.split('/').next()).unwrap_or(path)
}

/// Seconds and milliseconds of a time in UTC, by the proleptic Gregorian calendar.
fn rfc3339(milliseconds: i64) -> String {
    let (seconds, fraction) = (milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000));
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (mut year, mut rest) = (1970, days);
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    while rest >= 365 + i64::from(leap(year)) {
        rest -= 365 + i64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while rest >= lengths[month] {
        rest -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z", month + 1, rest + 1)
}

/// The names that Keycloak's own Jackson form has at least, whether they hold anything or not.
fn check_json(record: &Record) {
    let names: &[&str] = match record.topic.as_str() {
        EVENTS => &[
            "id",
            "time",
            "type",
            "realmId",
            "clientId",
            "userId",
            "sessionId",
            "ipAddress",
            "error",
            "details",
        ],
        _ => &[
            "id",
            "time",
            "realmId",
            "authDetails",
            "resourceType",
            "operationType",
            "resourcePath",
            "representation",
            "error",
            "resourceTypeAsString",
            "resourceId",
        ],
    };
    let object = record.json.as_object().unwrap();
    for name in names {
        assert!(object.contains_key(*name), "`{name}` is missing: {}", record.json);
    }
    assert_eq!(record.value.last(), Some(&b'}'), "there is something after the JSON");
}

#[test]
fn each_act_is_exactly_one_record_with_its_key_headers_and_json() {
    let mut stage = Stage::start(Database::File).unwrap();
    stage.admin.create_realm(REALM, &["jboss-logging", "kafka"]).unwrap();
    let realm_id = stage.admin.get(&format!("/{REALM}")).unwrap()["id"].as_str().unwrap().to_owned();
    let before = stage.settle().unwrap().len();
    let alice = stage.admin.create_user(REALM, "alice").unwrap();
    let mut wanted = expected(&[("CREATE USER", &alice)]);
    wanted.extend(act_as_users(&stage, &alice));
    wanted.extend(act_as_administrator(&stage, &realm_id, &alice));
    wanted.sort();

    let records = stage.settle().unwrap();
    let of_shop: Vec<&Record> = of_realm(&records, REALM);
    let created: Vec<&&Record> = of_shop.iter().filter(|record| kind(record) == "CREATE REALM").collect();
    let acts: Vec<&Record> =
        of_shop.iter().copied().filter(|record| kind(record) != "CREATE REALM").collect();
    assert!(before <= 3, "{before} records before anything was done in the realm");
    assert!(created.len() <= 1, "the creation of the realm is {} records", created.len());
    assert_eq!(described(&acts), wanted);
    assert_eq!(audit::copies(&records), 0);
    assert_eq!(audit::gaps(&records), BTreeMap::new());
    for record in acts {
        assert_eq!(
            record.topic,
            if record.json.get("operationType").is_some() { ADMIN_EVENTS } else { EVENTS }
        );
        check_headers(record);
        check_json(record);
    }
    println!("{} acts, {} records", wanted.len(), records.len());
}

#[test]
fn what_concerns_one_user_is_in_one_partition_in_order() {
    let mut stage = Stage::start(Database::File).unwrap();
    stage.admin.create_realm(REALM, &["kafka"]).unwrap();
    let alice = stage.admin.create_user(REALM, "alice").unwrap();
    for _ in 0..10 {
        let mut browser = Browser::new(&stage.keycloak.address(), REALM);
        let tokens = browser.log_in("alice").unwrap();
        browser.log_out(&tokens).unwrap();
    }
    let records = stage.settle().unwrap();
    let of_alice: Vec<&Record> = records
        .iter()
        .filter(|record| record.topic == EVENTS && record.key.as_deref() == Some(alice.as_str()))
        .collect();
    let partitions: Vec<i32> = of_alice.iter().map(|record| record.partition).collect();
    assert!(partitions.windows(2).all(|pair| pair[0] == pair[1]), "{partitions:?}");
    let kinds: Vec<String> = of_alice.iter().map(|record| kind(record)).collect();
    assert_eq!(kinds, ["LOGIN", "CODE_TO_TOKEN", "LOGOUT"].repeat(10));
}

/// Two realms, one of which lists the listener: without `global` only its events are published, with it both realms', and none twice.
#[test]
fn a_realm_is_reached_by_its_own_list_or_by_global() {
    let mut stage = Stage::start(Database::File).unwrap();
    stage.admin.create_realm("listed", &["kafka"]).unwrap();
    stage.admin.create_realm("unlisted", &["jboss-logging"]).unwrap();
    let users = |stage: &Stage, name: &str| {
        ["listed", "unlisted"].map(|realm| stage.admin.create_user(realm, name).unwrap())
    };
    let [listed, unlisted] = users(&stage, "before");
    let records = stage.settle().unwrap();
    assert_eq!(creations(&records, &listed), 1);
    assert_eq!(creations(&records, &unlisted), 0);

    stage.keycloak.stop().unwrap();
    stage.keycloak.listener_option("global", "true");
    stage.keycloak.start().unwrap();
    let [listed, unlisted] = users(&stage, "after");
    let records = stage.settle().unwrap();
    assert_eq!(creations(&records, &listed), 1);
    assert_eq!(creations(&records, &unlisted), 1);
}

fn creations(records: &[Record], user: &str) -> usize {
    let path = format!("users/{user}");
    let creates =
        |record: &&Record| record.field("operationType") == "CREATE" && record.field("resourcePath") == path;
    records.iter().filter(creates).count()
}

#[test]
fn the_representation_is_left_out_where_the_realm_leaves_out_details() {
    let mut stage = Stage::start(Database::File).unwrap();
    stage.admin.create_realm(REALM, &["kafka"]).unwrap();
    let with = stage.admin.create_user(REALM, "with").unwrap();
    stage.admin.put(&format!("/{REALM}"), &json!({ "adminEventsDetailsEnabled": false })).unwrap();
    let without = stage.admin.create_user(REALM, "without").unwrap();
    let records = stage.settle().unwrap();
    let representation = |user: &str| {
        let path = format!("users/{user}");
        let record = records.iter().find(|record| record.field("resourcePath") == path).unwrap();
        record.json["representation"].clone()
    };
    assert!(representation(&with).as_str().unwrap().contains("\"username\":\"with\""));
    assert_eq!(representation(&without), Value::Null);
}

/// The listener that Keyferry replaces is configured by these variables alone.
#[test]
fn the_variables_of_the_listener_that_it_replaces_are_enough() {
    let mut stage = Stage::prepare(Database::File).unwrap();
    let servers = stage.kafka.bootstrap_servers();
    for name in ["bootstrap-servers", "topic-events", "topic-admin-events"] {
        stage.keycloak.without_listener_option(name);
    }
    stage
        .keycloak
        .variable("KAFKA_TOPIC", EVENTS)
        .variable("KAFKA_ADMIN_TOPIC", ADMIN_EVENTS)
        .variable("KAFKA_CLIENT_ID", "keycloak")
        .variable("KAFKA_BOOTSTRAP_SERVERS", servers)
        .variable("KAFKA_EVENTS", "LOGIN, LOGIN_ERROR");
    stage.keycloak.start().unwrap();
    stage.admin.create_realm(REALM, &["kafka"]).unwrap();
    stage.admin.create_user(REALM, "alice").unwrap();
    let mut browser = Browser::new(&stage.keycloak.address(), REALM);
    browser.fail_to_log_in("alice").unwrap();
    browser.log_in("alice").unwrap();
    let records = stage.settle().unwrap();
    let mut kinds: Vec<String> = records.iter().filter(|record| record.topic == EVENTS).map(kind).collect();
    kinds.sort();
    assert_eq!(kinds, ["LOGIN", "LOGIN_ERROR"]);
    assert!(records.iter().any(|record| kind(record) == "CREATE USER"));
}

/// One warning that names what is missing, and a Keycloak that serves.
#[test]
fn without_any_configuration_keycloak_starts_and_the_agent_waits() {
    let mut stage = Stage::prepare(Database::File).unwrap();
    for name in ["bootstrap-servers", "topic-events", "topic-admin-events"] {
        stage.keycloak.without_listener_option(name);
    }
    stage.keycloak.start().unwrap();
    let warning = stage.keycloak.wait_for_log("bootstrap-servers", Duration::from_secs(30)).unwrap();
    assert!(warning.contains("WARN"), "{warning}");
    stage.admin.create_realm(REALM, &["kafka"]).unwrap();
    stage.admin.create_user(REALM, "alice").unwrap();
    Browser::new(&stage.keycloak.address(), REALM).log_in("alice").unwrap();
    let warnings = log::lines_with(&stage.keycloak.log(), "bootstrap-servers");
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert_eq!(stage.agent_status().unwrap()["state"], "waiting");

    // What was journaled meanwhile is delivered once the options are there.
    stage.keycloak.stop().unwrap();
    let servers = stage.kafka.bootstrap_servers();
    stage.keycloak.listener_option("bootstrap-servers", servers);
    stage.keycloak.listener_option("topic-events", EVENTS);
    stage.keycloak.listener_option("topic-admin-events", ADMIN_EVENTS);
    stage.keycloak.start().unwrap();
    let records = stage.settle().unwrap();
    let kinds: Vec<String> = of_realm(&records, REALM).into_iter().map(kind).collect();
    for wanted in ["CREATE USER", "LOGIN", "CODE_TO_TOKEN"] {
        assert_eq!(kinds.iter().filter(|kind| *kind == wanted).count(), 1, "{kinds:?}");
    }
}
