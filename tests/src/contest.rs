//! Users who compete: transactions that Keycloak commits beside ones that the database makes it roll back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::admin::{Admin, user};
use crate::http::Method;
use crate::load::joined;
use crate::{Result, wait};

/// How long to wait after a request without an answer: the server is down.
const PAUSE_WITHOUT_ANSWER: Duration = Duration::from_millis(20);

/// How an attempt to create a user ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// Keycloak answered that the user has been created, with this id.
    Created(String),
    /// Keycloak answered something else.
    Refused,
    /// There was no answer: Keycloak was killed.
    Unanswered,
}

/// Creates a user.
pub fn try_to_create(admin: &Admin, realm: &str, username: &str, email: &str) -> Attempt {
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
///
/// # Errors
/// Where Keycloak does not answer.
pub fn existing_users(admin: &Admin, realm: &str) -> Result<BTreeSet<String>> {
    let users = admin.get(&format!("/{realm}/users?max=-1&briefRepresentation=true"))?;
    let ids = users.as_array().into_iter().flatten().filter_map(|user| user["id"].as_str());
    Ok(ids.map(str::to_owned).collect())
}

/// Users who are created several at a time with one e-mail address, of whom Keycloak can keep only one.
#[derive(Debug)]
pub struct Contest {
    stop: Arc<AtomicBool>,
    creations: Arc<AtomicUsize>,
    workers: Vec<JoinHandle<Vec<Attempt>>>,
}

/// How a contest ended.
#[derive(Debug, Clone, Default)]
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
    ///
    /// # Errors
    /// [`crate::Error::TooLate`].
    pub fn wait_for_creations(&self, count: usize, limit: Duration) -> Result<()> {
        let enough = || self.creations.load(Ordering::Relaxed) >= count;
        wait::until(&format!("the creation of {count} users"), limit, || enough().then_some(()))
    }

    /// Ends it.
    pub fn finish(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let attempts: Vec<Attempt> = self.workers.into_iter().flat_map(joined).collect();
        let refused = attempts.iter().filter(|attempt| matches!(attempt, Attempt::Refused)).count();
        let created = attempts.into_iter().filter_map(|attempt| match attempt {
            Attempt::Created(id) => Some(id),
            Attempt::Refused | Attempt::Unanswered => None,
        });
        Outcome { created: created.collect(), refused }
    }
}
