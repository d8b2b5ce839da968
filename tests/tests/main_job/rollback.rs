//! What Keycloak rolls back has not happened: no event of it is published.

use std::collections::BTreeSet;
use std::thread;

use keyferry_tests::admin::user;
use keyferry_tests::audit;
use keyferry_tests::browser::Browser;
use keyferry_tests::contest::{Attempt, try_to_create};
use keyferry_tests::http::Method;
use keyferry_tests::keycloak::Database;
use keyferry_tests::stage::Stage;
use serde_json::json;

const REALM: &str = "shop";
const ROUNDS: usize = 20;
const COMPETITORS: usize = 20;

/// Makes the commit itself fail, after everything before it has succeeded.
const REFUSE_COMMITS: &str = "
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
    CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON user_entity DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.username LIKE 'refused-%' OR NEW.first_name = 'Refused') EXECUTE FUNCTION refuse();
    CREATE CONSTRAINT TRIGGER refuse_roles AFTER INSERT ON keycloak_role DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.name LIKE 'refused-%') EXECUTE FUNCTION refuse();
";

/// Different usernames and one e-mail address: Keycloak's own check lets all of them pass, and the database lets one.
#[test]
fn of_users_who_compete_for_one_address_only_the_created_are_published() {
    let mut stage = Stage::start(Database::Postgres).unwrap();
    stage.admin.create_realm(REALM, &["kafka"]).unwrap();
    let mut created = BTreeSet::new();
    let mut refused = 0;
    for round in 0..ROUNDS {
        let admin = &stage.admin;
        let attempts = thread::scope(|scope| {
            let compete = |number| {
                scope.spawn(move || {
                    let email = format!("round{round}@example.org");
                    try_to_create(admin, REALM, &format!("round{round}-{number}"), &email)
                })
            };
            let competitors: Vec<_> = (0..COMPETITORS).map(compete).collect();
            competitors.into_iter().map(|competitor| competitor.join().unwrap()).collect::<Vec<_>>()
        });
        for attempt in attempts {
            match attempt {
                Attempt::Created(id) => drop(created.insert(id)),
                Attempt::Refused => refused += 1,
                Attempt::Unanswered => panic!("a request was not answered"),
            }
        }
    }
    let records = stage.settle().unwrap();
    let published = audit::created_users(&records);
    println!("{} created, {refused} refused, {} published", created.len(), published.len());
    assert_eq!(published, created);
    assert_eq!(audit::copies(&records), 0);
    assert!(
        refused >= ROUNDS,
        "the users hardly competed: {refused} of {} were refused",
        ROUNDS * COMPETITORS
    );
}

#[test]
fn of_requests_whose_commit_the_database_refuses_nothing_is_published() {
    let mut stage = Stage::start(Database::Postgres).unwrap();
    stage.admin.create_realm(REALM, &["kafka"]).unwrap();
    let alice = stage.admin.create_user(REALM, "alice").unwrap();
    let postgres = stage.postgres.as_ref().unwrap();
    postgres.connect().unwrap().batch_execute(REFUSE_COMMITS).unwrap();

    let admin = &stage.admin;
    let users = format!("/{REALM}/users");
    for number in 0..5 {
        let name = format!("refused-{number}");
        let refused = [
            (Method::Post, users.clone(), user(&name, &format!("{name}@example.org"))),
            (Method::Put, format!("{users}/{alice}"), json!({ "firstName": "Refused" })),
            (Method::Post, format!("/{REALM}/roles"), json!({ "name": name })),
        ];
        for (method, path, body) in refused {
            let status = admin.send(method, &path, Some(&body)).unwrap().status;
            assert!(status >= 400, "{method:?} {path} was not refused by the database: {status}");
        }
        let registered =
            Browser::new(&stage.keycloak.address(), REALM).register(&format!("refused-form-{number}"));
        assert!(registered.is_err(), "the registration was not refused by the database");
    }
    let bob = admin.create_user(REALM, "bob").unwrap();

    let records = stage.settle().unwrap();
    let names_refused = |value: &[u8]| String::from_utf8_lossy(value).to_lowercase().contains("refused");
    let invented: Vec<String> = records
        .iter()
        .filter(|record| names_refused(&record.value) && record.field("error").is_empty())
        .map(|record| record.json.to_string())
        .collect();
    assert!(invented.is_empty(), "{invented:#?}");
    assert_eq!(audit::created_users(&records), BTreeSet::from([alice, bob]));
}
