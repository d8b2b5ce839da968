//! What Keycloak rolls back has not happened: no event of it is published.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use keyferry_tests::admin::{Admin, user};
use keyferry_tests::audit;
use keyferry_tests::browser::Browser;
use keyferry_tests::http::Method;
use keyferry_tests::keycloak::Database;
use keyferry_tests::stage::Stage;
use keyferry_tests::{Result, wait};
use serde_json::json;

const REALM: &str = "shop";
const ROUNDS: usize = 20;
/// How long to wait after a request without an answer: the server is down.
const PAUSE_WITHOUT_ANSWER: Duration = Duration::from_millis(20);
const COMPETITORS: usize = 20;

/// Makes the commit itself fail, after everything before it has succeeded.
const REFUSE_COMMITS: &str = "
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
    CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON user_entity DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.username LIKE 'refused-%' OR NEW.first_name = 'Refused') EXECUTE FUNCTION refuse();
    CREATE CONSTRAINT TRIGGER refuse_roles AFTER INSERT ON keycloak_role DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.name LIKE 'refused-%') EXECUTE FUNCTION refuse();
";

/// How an attempt to create a user ended.
enum Attempt {
    /// Keycloak answered that the user has been created, with this id.
    Created(String),
    /// Keycloak answered something else.
    Refused,
    /// There was no answer: Keycloak was killed.
    Unanswered,
}

fn try_to_create(admin: &Admin, realm: &str, username: &str, email: &str) -> Attempt {
    let Ok(answer) = admin.send(Method::Post, &format!("/{realm}/users"), Some(&user(username, email)))
    else {
        thread::sleep(PAUSE_WITHOUT_ANSWER);
        return Attempt::Unanswered;
    };
    let id = answer.location.as_deref().and_then(|location| location.rsplit('/').next()).map(str::to_owned);
    match (answer.status, id) {
        (201, Some(id)) => Attempt::Created(id),
        _ => Attempt::Refused,
    }
}

/// The ids of the users of a realm.
pub fn existing_users(admin: &Admin, realm: &str) -> BTreeSet<String> {
    let users = admin.get(&format!("/{realm}/users?max=-1&briefRepresentation=true")).unwrap();
    users.as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect()
}

/// Users who are created several at a time with one e-mail address, of whom Keycloak can keep only one.
pub struct Contest {
    stop: Arc<AtomicBool>,
    creations: Arc<AtomicUsize>,
    workers: Vec<JoinHandle<Vec<Attempt>>>,
}

/// How a contest ended.
pub struct Outcome {
    /// The ids of the users whose creation was answered with success.
    pub created: BTreeSet<String>,
    /// How many creations were answered otherwise.
    pub refused: usize,
}

impl Contest {
    const WORKERS: usize = 4;
    /// For how long the workers compete for one address.
    const TURN: Duration = Duration::from_millis(100);

    /// Starts it. `name` becomes part of the usernames.
    pub fn start(address: &str, realm: &str, name: &str) -> Self {
        let admin = Arc::new(Admin::new(address));
        let stop = Arc::new(AtomicBool::new(false));
        let creations = Arc::new(AtomicUsize::new(0));
        let begin = Instant::now();
        let worker = |number: usize| {
            let (admin, stop, creations) = (Arc::clone(&admin), Arc::clone(&stop), Arc::clone(&creations));
            let (realm, name) = (realm.to_owned(), name.to_owned());
            thread::spawn(move || {
                let attempt = |count: usize| {
                    let turn = begin.elapsed().as_millis() / Self::TURN.as_millis();
                    let email = format!("{name}-{turn}@example.org");
                    let attempt = try_to_create(&admin, &realm, &format!("{name}-{number}-{count}"), &email);
                    if matches!(attempt, Attempt::Created(_)) {
                        creations.fetch_add(1, Ordering::Relaxed);
                    }
                    attempt
                };
                (0..).take_while(|_| !stop.load(Ordering::Relaxed)).map(attempt).collect()
            })
        };
        Self { workers: (0..Self::WORKERS).map(worker).collect(), stop, creations }
    }

    /// Waits until this many users have been created.
    pub fn wait_for_creations(&self, count: usize, limit: Duration) -> Result<()> {
        let enough = || self.creations.load(Ordering::Relaxed) >= count;
        wait::until(&format!("the creation of {count} users"), limit, || enough().then_some(()))
    }

    /// Ends it.
    pub fn finish(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let attempts: Vec<Attempt> =
            self.workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        let refused = attempts.iter().filter(|attempt| matches!(attempt, Attempt::Refused)).count();
        let created = attempts.into_iter().filter_map(|attempt| match attempt {
            Attempt::Created(id) => Some(id),
            Attempt::Refused | Attempt::Unanswered => None,
        });
        Outcome { created: created.collect(), refused }
    }
}

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
