//! What records say, on a real Keycloak: no secret, and each destination what it asked for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use keyferry_tests::browser::Browser;
use keyferry_tests::consumer::Consumer;
use keyferry_tests::http::Method;
use keyferry_tests::keycloak::Database;
use keyferry_tests::stage::{ADMIN_EVENTS, EVENTS, Stage};
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use serde_json::{Value, json};

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

/// Does what an administrator does with each kind of secret, and returns the secrets, those that Keycloak made among them.
fn spread_secrets(stage: &Stage) -> Vec<(&'static str, String)> {
    let admin = &stage.admin;
    let realm = |path: &str| format!("/{REALM}{path}");
    let answer = |path: &str, field: &str, body: &Value| {
        let answer =
            admin.send(Method::Post, &realm(path), Some(body)).unwrap().success().unwrap().json().unwrap();
        answer[field].as_str().unwrap_or_else(|| panic!("{path} has no {field}: {answer}")).to_owned()
    };
    let client = admin
        .create(&realm("/clients"), &json!({"clientId": "reports", "secret": "S3cretOfClient"}))
        .unwrap();
    let generated = answer(&format!("/clients/{client}/client-secret"), "value", &json!({}));
    let registration = answer(
        &format!("/clients/{client}/registration-access-token"),
        "registrationAccessToken",
        &json!({}),
    );
    let initial = answer("/clients-initial-access", "token", &json!({"count": 1}));
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap().private_key_to_pem_pkcs8().unwrap();
    let key = String::from_utf8(key).unwrap();
    let realm_id = admin.get(&realm("")).unwrap()["id"].clone();
    let component = |name: &str, kind: &str, config: Value| {
        let provider = if name == "ldap" {
            "org.keycloak.storage.UserStorageProvider"
        } else {
            "org.keycloak.keys.KeyProvider"
        };
        let body = json!({"name": name, "providerId": kind, "providerType": provider, "parentId": realm_id, "config": config});
        let answer = admin.send(Method::Post, &realm("/components"), Some(&body)).unwrap();
        answer.success().map(drop).unwrap();
    };
    component("keys", "rsa", json!({"privateKey": [key], "priority": ["1"]}));
    component(
        "ldap",
        "ldap",
        json!({"enabled": ["false"], "vendor": ["other"], "connectionUrl": ["ldap://127.0.0.1:1"], "usersDn": ["ou=users"], "bindDn": ["cn=admin"],
        "bindCredential": ["S3cretOfDirectory"], "authType": ["simple"], "usernameLDAPAttribute": ["uid"], "rdnLDAPAttribute": ["uid"], "uuidLDAPAttribute": ["entryUUID"],
        "userObjectClasses": ["person"], "editMode": ["READ_ONLY"]}),
    );
    admin.put(&realm(""), &json!({"smtpServer": {"host": "localhost", "from": "shop@example.org", "auth": "true", "user": "shop", "password": "S3cretOfMail"}})).unwrap();
    let provider = json!({"alias": "partner", "providerId": "oidc", "enabled": true, "config": {"clientId": "shop", "clientSecret": "S3cretOfProvider",
        "authorizationUrl": "https://partner.example.org/auth", "tokenUrl": "https://partner.example.org/token"}});
    admin.post(&realm("/identity-provider/instances"), &provider).unwrap();
    let credentials = json!([{"type": "password", "value": "S3cretOfUser1", "temporary": false}]);
    let user = admin
        .create(&realm("/users"), &json!({"username": "dora", "enabled": true, "credentials": credentials}))
        .unwrap();
    admin
        .put(
            &realm(&format!("/users/{user}/reset-password")),
            &json!({"type": "password", "value": "S3cretOfUser2", "temporary": false}),
        )
        .unwrap();
    // The middle of a key, without its line breaks.
    let key = key.lines().nth(5).unwrap().to_owned();
    vec![
        ("client", "S3cretOfClient".to_owned()),
        ("generated secret", generated),
        ("registration token", registration),
        ("initial access token", initial),
        ("private key", key),
        ("directory", "S3cretOfDirectory".to_owned()),
        ("mail server", "S3cretOfMail".to_owned()),
        ("identity provider", "S3cretOfProvider".to_owned()),
        ("user", "S3cretOfUser1".to_owned()),
        ("user's new password", "S3cretOfUser2".to_owned()),
    ]
}

/// The names of the secrets that `bytes` hold.
fn found<'a>(bytes: &[u8], secrets: &'a [(&'static str, String)]) -> BTreeSet<&'a str> {
    let holds = |secret: &str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    secrets.iter().filter(|(_, secret)| holds(secret)).map(|(name, _)| *name).collect()
}

/// Every file below `directory` of which `is_wanted` holds, one after the other.
fn files(directory: &Path, is_wanted: &dyn Fn(&Path) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes.extend(files(&path, is_wanted));
        } else if is_wanted(&path) && path.is_file() {
            bytes.extend(fs::read(&path).unwrap_or_default());
        }
    }
    bytes
}

#[test]
fn no_secret_leaves_keycloak_and_each_destination_gets_what_it_asks_for() {
    let mut stage = Stage::prepare(Database::File).unwrap();
    let servers = stage.kafka.bootstrap_servers();
    let path = stage.directory().join("keyferry.toml");
    fs::write(&path, configuration(&servers)).unwrap();
    stage.keycloak.variable("KEYFERRY_CONFIG", path.to_str().unwrap()).listener_option("journal-keep", "1h");
    stage.keycloak.start().unwrap();
    stage.admin.create_realm(REALM, &["kafka"]).unwrap();
    let alice = stage.admin.create_user(REALM, "alice").unwrap();
    let bob = stage.admin.create_user(REALM, "bob").unwrap();
    for name in ["alice", "bob"] {
        Browser::new(&stage.keycloak.address(), REALM).fail_to_log_in(name).unwrap();
    }
    let secrets = spread_secrets(&stage);
    let records = stage.settle().unwrap();
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        check_secrets(&stage, &records, &secrets);
        check_choice(&servers, &alice, &bob);
    })) {
        stage.keep();
        std::panic::resume_unwind(panic);
    }
}

fn check_secrets(
    stage: &Stage,
    records: &[keyferry_tests::consumer::Record],
    secrets: &[(&'static str, String)],
) {
    let journal = files(&stage.keycloak.journal(), &|path| {
        path.extension().is_some_and(|extension| extension == "kfj")
    });
    let leaked = found(&journal, secrets);
    println!("secrets that Keycloak leaves in its events: {leaked:?}");
    assert!(!leaked.is_empty(), "Keycloak masks all of them itself: this test shows nothing");
    let values: Vec<u8> = records.iter().flat_map(|record| [&record.value[..], b"\n"].concat()).collect();
    assert_eq!(found(&values, secrets), BTreeSet::new(), "in Kafka");
    assert!(
        records.iter().any(|record| record.topic == EVENTS)
            && records.iter().any(|record| record.topic == ADMIN_EVENTS)
    );
    let masked =
        records.iter().filter(|record| record.field("representation").contains("**********")).count();
    assert!(masked > 0, "nothing was masked");
    let told =
        files(&stage.keycloak.journal(), &|path| path.extension().is_none_or(|extension| extension != "kfj"));
    assert_eq!(found(&told, secrets), BTreeSet::new(), "in the status and the other files of the agent");
    assert_eq!(found(&fs::read(stage.keycloak.log()).unwrap(), secrets), BTreeSet::new(), "in the log");
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
