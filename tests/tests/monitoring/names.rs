//! What the provider adds to events and what it leaves out, in a real Keycloak: names beside ids, and the types that no destination wants.

use std::collections::BTreeMap;

use keyferry_tests::admin::{Admin, WEB};
use keyferry_tests::browser::{Browser, Tokens};
use keyferry_tests::consumer::{Consumer, Record};
use keyferry_tests::http::{Http, Method};
use keyferry_tests::kafka::{self, Kafka};
use keyferry_tests::keycloak::{ADMINISTRATOR, Keycloak};
use keyferry_tests::wait;
use serde_json::{Value, json};

use crate::failures::LIMIT;

/// What a Keycloak that is going to start is told.
pub struct Names {
    user_events: String,
    admin_events: String,
}

impl Names {
    /// Asks the provider for all names, and has its only destination, whose topic of user events this is, want no refreshed tokens.
    pub fn of(keycloak: &mut Keycloak, kafka: &Kafka, user_events: &str) -> Self {
        let admin_events = kafka::fresh_topic("named");
        kafka.create_topic(&admin_events, kafka::PARTITIONS).unwrap();
        keycloak
            .listener_option("topic-admin-events", &admin_events)
            .listener_option("journal-enrich", "all")
            .listener_option("filter-exclude", "type = REFRESH_TOKEN; resourceType = REQUIRED_ACTION");
        Self { user_events: user_events.to_owned(), admin_events }
    }

    /// Does what has names and what nobody wants, and reads what came of it.
    pub fn are_told(&self, keycloak: &Keycloak, kafka: &Kafka, admin: &Admin, realm: &str) {
        let path = |path: &str| format!("/{realm}{path}");
        let user = admin.create_user(realm, "dora").unwrap();
        // With organizations the login asks for the user first and for the password then.
        let tokens = Browser::new(&keycloak.address(), realm).log_in("dora").unwrap();
        nobody_is_told_of_refreshed_tokens(keycloak, admin, realm, tokens.clone());
        admin.put(&path(""), &json!({"organizationsEnabled": true})).unwrap();
        let acme = json!({"name": "Acme Ltd", "alias": "acme", "domains": [{"name": "acme.example.org"}]});
        let acme = admin.create(&path("/organizations"), &acme).unwrap();
        admin
            .send(Method::Post, &path(&format!("/organizations/{acme}/members")), Some(&json!(user)))
            .unwrap()
            .success()
            .unwrap();
        admin.post(&path("/roles"), &json!({"name": "captain"})).unwrap();
        let captain = admin.get(&path("/roles/captain")).unwrap();
        admin.post(&path(&format!("/users/{user}/role-mappings/realm")), &json!([captain])).unwrap();
        let crew = admin.create(&path("/groups"), &json!({"name": "crew"})).unwrap();
        let cooks =
            admin.create(&path(&format!("/groups/{crew}/children")), &json!({"name": "cooks"})).unwrap();
        admin.put(&path(&format!("/users/{user}/groups/{cooks}")), &json!({})).unwrap();
        admin
            .send(Method::Post, &path(&format!("/users/{user}/impersonation")), Some(&json!({})))
            .unwrap()
            .success()
            .unwrap();
        let userinfo = format!("{}/realms/{realm}/protocol/openid-connect/userinfo", keycloak.address());
        Http::new().send(Method::Get, &userinfo, &tokens.access, None).unwrap().success().unwrap();
        admin.delete(&path(&format!("/users/{user}")), None).unwrap();

        let mut records = Consumer::new(&kafka.bootstrap_servers(), &self.admin_events).unwrap();
        let deletion = format!("users/{user}");
        let is_last = |record: &Record| {
            record.field("operationType") == "DELETE" && record.field("resourcePath") == deletion
        };
        let records = records
            .wait_until("the end of what the administrator did", LIMIT, |all| all.iter().any(is_last))
            .unwrap();
        let names = |resource: &str, operation: &str| {
            let is_it = |record: &&Record| {
                record.header("ce_type") == format!("org.keycloak.admin.{resource}.{operation}")
                    && record.field("resourcePath").contains(&user)
            };
            records
                .iter()
                .find(is_it)
                .map(|record| record.json["keyferry"].clone())
                .unwrap_or_else(|| panic!("no {resource} {operation}"))
        };
        let of_role = names("REALM_ROLE_MAPPING", "CREATE");
        assert_eq!(of_role["user"], json!({"username": "dora"}));
        assert_eq!(of_role["administrator"], json!({"username": ADMINISTRATOR.0}));
        assert_eq!(of_role["client"]["clientId"], "admin-cli", "{of_role}");
        assert_eq!(of_role["roles"], json!([{"id": captain["id"], "name": "captain"}]));
        assert_eq!(
            names("GROUP_MEMBERSHIP", "CREATE")["groups"],
            json!([{"id": cooks, "name": "cooks", "path": "/crew/cooks"}])
        );
        assert_eq!(names("USER", "DELETE")["user"], json!({"username": "dora"}), "of who is gone");
        let organizations = json!([{"id": acme, "alias": "acme", "name": "Acme Ltd"}]);
        let of_membership = records
            .iter()
            .find(|record| record.header("ce_type") == "org.keycloak.admin.ORGANIZATION_MEMBERSHIP.CREATE")
            .unwrap();
        assert_eq!(of_membership.json["keyferry"]["organizations"], organizations);

        let mut records = Consumer::new(&kafka.bootstrap_servers(), &self.user_events).unwrap();
        let records = records
            .wait_until("what the user did", LIMIT, |all| {
                all.iter().any(|record| record.field("type") == "USER_INFO_REQUEST")
            })
            .unwrap();
        let of: BTreeMap<&str, &Value> = records
            .iter()
            .filter(|record| record.field("userId") == user)
            .map(|record| (record.field("type"), &record.json["keyferry"]))
            .collect();
        assert_eq!(of["LOGIN"]["user"], json!({"username": "dora"}));
        assert_eq!(of["LOGIN"]["client"]["clientId"], WEB);
        assert_eq!(of["USER_INFO_REQUEST"]["organizations"], organizations, "{}", of["USER_INFO_REQUEST"]);
        assert_eq!(of["IMPERSONATE"]["impersonator"]["username"], ADMINISTRATOR.0, "{}", of["IMPERSONATE"]);
        assert!(of["IMPERSONATE"]["impersonator"]["id"].is_string(), "{}", of["IMPERSONATE"]);
        assert!(!of.contains_key("REFRESH_TOKEN"));
    }
}

/// Not even the journal is.
fn nobody_is_told_of_refreshed_tokens(keycloak: &Keycloak, admin: &Admin, realm: &str, tokens: Tokens) {
    let browser = Browser::new(&keycloak.address(), realm);
    let mut tokens = tokens;
    let counts = wait::until("an event that is not journaled", LIMIT, || {
        tokens = browser.refresh(&tokens).unwrap();
        let info = admin.operational_info("eventsListener", "kafka").unwrap();
        info["unwanted events"].as_str().filter(|counts| !counts.starts_with("0 user")).map(str::to_owned)
    });
    println!("not journaled: {}", counts.unwrap());
}
