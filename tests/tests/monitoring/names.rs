//! What the provider adds to events and what it leaves out, in a real Keycloak: names beside ids, secrets, and the types that no destination wants.

use std::collections::BTreeSet;

use keyferry_tests::admin::Admin;
use keyferry_tests::browser::{Browser, Tokens};
use keyferry_tests::consumer::Consumer;
use keyferry_tests::kafka::{self, Kafka};
use keyferry_tests::keycloak::Keycloak;
use keyferry_tests::named::Named;
use keyferry_tests::secrets::{self, files, found, is_segment};
use keyferry_tests::wait;

use crate::failures::LIMIT;

/// What a Keycloak that is going to start is told.
pub struct Names {
    user_events: String,
    admin_events: String,
}

impl Names {
    /// Asks the provider for all names and for no secrets, and has its only destination, whose topic of user events this is, want no refreshed tokens. The journal is kept to be looked into.
    pub fn of(keycloak: &mut Keycloak, kafka: &Kafka, user_events: &str) -> Self {
        let admin_events = kafka::fresh_topic("named");
        kafka.create_topic(&admin_events, kafka::PARTITIONS).unwrap();
        keycloak
            .listener_option("topic-admin-events", &admin_events)
            .listener_option("journal-enrich", "all")
            .listener_option("journal-redact", "secrets")
            .listener_option("journal-keep", "1h")
            .listener_option("filter-exclude", "type = REFRESH_TOKEN; resourceType = REQUIRED_ACTION");
        Self { user_events: user_events.to_owned(), admin_events }
    }

    /// Does what has names, what is secret and what nobody wants, and reads what came of it.
    pub fn are_told(&self, keycloak: &Keycloak, kafka: &Kafka, admin: &Admin, realm: &str) {
        admin.create_user(realm, "rita").unwrap();
        let tokens = Browser::new(&keycloak.address(), realm).log_in("rita").unwrap();
        nobody_is_told_of_refreshed_tokens(keycloak, admin, realm, tokens);
        let secrets = secrets::spread(admin, realm).unwrap();
        let named = Named::act(&keycloak.address(), admin, realm).unwrap();

        let mut admin_events = Consumer::new(&kafka.bootstrap_servers(), &self.admin_events).unwrap();
        let what = "the end of what the administrator did";
        let last = |records: &[_]| records.iter().any(|record| named.is_last(record));
        let mut records = admin_events.wait_until(what, LIMIT, last).unwrap().to_vec();
        let mut user_events = Consumer::new(&kafka.bootstrap_servers(), &self.user_events).unwrap();
        let last = |records: &[_]| records.iter().any(|record| named.is_last_of_user(record));
        records.extend_from_slice(user_events.wait_until("what the user did", LIMIT, last).unwrap());
        assert_eq!(named.differences(&records).unwrap(), Vec::<String>::new());
        assert!(!records.iter().any(|record| record.field("type") == "REFRESH_TOKEN"));

        // What stands in the journal without the option is told by `no_secret_leaves_keycloak_…` in the suite `main-job`.
        let journal = files(&keycloak.journal(), &is_segment).unwrap();
        let holds = |text: &str| journal.windows(text.len()).any(|window| window == text.as_bytes());
        for spread in ["reports", "ldap", "partner", "dora-of-secrets", "shop@example.org", "**********"] {
            assert!(holds(spread), "the journal does not tell of what had the secrets: {spread}");
        }
        assert_eq!(found(&journal, &secrets), BTreeSet::new(), "in the journal");
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
