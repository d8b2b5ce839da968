//! Who is logged in, and who is about to be.
//!
//! The invariants: **a secret that a browser keeps is kept here as a hash only**, so that nothing that is looked up by it tells of it by its time; a login can be finished once, by the browser that
//! has begun it; everything ends, and there is a limit to how much there is of it.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use openssl::sha::sha256;

use crate::role::Caller;

/// How long somebody may take to log in.
pub(crate) const TO_LOG_IN: Duration = Duration::from_secs(600);
/// How many may be logging in, and how many be logged in. Beyond that the one that would end first ends.
const MOST: usize = 1024;

/// Something that nobody guesses.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Nonce(String);

impl Nonce {
    pub(crate) fn new() -> Result<Self, ErrorStack> {
        let mut bytes = [0; 32];
        rand_bytes(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

type Hash = [u8; 32];

fn hash(secret: &str) -> Hash {
    sha256(secret.as_bytes())
}

/// A login that has begun.
pub(crate) struct Attempt {
    /// The hash of what the browser keeps.
    browser: Hash,
    pub(crate) nonce: Nonce,
    /// What proves that who redeems the code has begun the login (RFC 7636).
    pub(crate) verifier: Nonce,
    ends: Duration,
}

/// Somebody who is logged in.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) caller: Caller,
    /// By which Keycloak is told that he leaves.
    pub(crate) refresh_token: Option<String>,
    ends: Duration,
}

/// Who is logged in, and who is about to be. Times are counted from whenever the caller likes.
#[derive(Default)]
pub(crate) struct Sessions {
    attempts: HashMap<Hash, Attempt>,
    sessions: HashMap<Hash, Session>,
}

impl Sessions {
    /// Begins a login that `state` stands for, in the browser that keeps `browser`.
    pub(crate) fn begin(
        &mut self,
        state: &Nonce,
        browser: &Nonce,
        nonce: Nonce,
        verifier: Nonce,
        now: Duration,
    ) {
        make_room(&mut self.attempts, now, |attempt| attempt.ends);
        let attempt = Attempt { browser: hash(browser.as_str()), nonce, verifier, ends: now + TO_LOG_IN };
        self.attempts.insert(hash(state.as_str()), attempt);
    }

    /// The login that `state` stands for, once, and only in its browser.
    pub(crate) fn finish(&mut self, state: &str, browser: &str, now: Duration) -> Option<Attempt> {
        let attempt = self.attempts.remove(&hash(state))?;
        (attempt.browser == hash(browser) && now < attempt.ends).then_some(attempt)
    }

    /// Somebody is logged in from now on, for so long.
    pub(crate) fn open(
        &mut self,
        id: &Nonce,
        caller: Caller,
        refresh_token: Option<String>,
        now: Duration,
        lifetime: Duration,
    ) {
        make_room(&mut self.sessions, now, |session| session.ends);
        self.sessions.insert(hash(id.as_str()), Session { caller, refresh_token, ends: now + lifetime });
    }

    /// Who is logged in by `id`.
    pub(crate) fn find(&self, id: &str, now: Duration) -> Option<&Session> {
        self.sessions.get(&hash(id)).filter(|session| now < session.ends)
    }

    /// Ends it.
    pub(crate) fn close(&mut self, id: &str) -> Option<Session> {
        self.sessions.remove(&hash(id))
    }
}

fn make_room<T>(table: &mut HashMap<Hash, T>, now: Duration, ends: impl Fn(&T) -> Duration) {
    table.retain(|_, one| now < ends(one));
    if table.len() < MOST {
        return;
    }
    if let Some(first) = table.iter().min_by_key(|(_, one)| ends(one)).map(|(key, _)| *key) {
        table.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Peer;
    use crate::role::Role;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn nonce() -> Nonce {
        Nonce::new().unwrap()
    }

    fn alice() -> Caller {
        Caller { who: Peer::User("alice".into()), role: Role::Admin }
    }

    #[test]
    fn a_login_is_finished_once_in_time_and_by_the_browser_that_has_begun_it() {
        let mut sessions = Sessions::default();
        let [state, browser] = [nonce(), nonce()];
        let begin =
            |sessions: &mut Sessions| sessions.begin(&state, &browser, nonce(), nonce(), Duration::ZERO);
        begin(&mut sessions);
        assert!(sessions.finish(nonce().as_str(), browser.as_str(), Duration::ZERO).is_none());
        assert!(sessions.finish(state.as_str(), browser.as_str(), Duration::ZERO).is_some());
        assert!(sessions.finish(state.as_str(), browser.as_str(), Duration::ZERO).is_none(), "once");
        begin(&mut sessions);
        assert!(
            sessions.finish(state.as_str(), nonce().as_str(), Duration::ZERO).is_none(),
            "another browser"
        );
        assert!(
            sessions.finish(state.as_str(), browser.as_str(), Duration::ZERO).is_none(),
            "it is over then"
        );
        begin(&mut sessions);
        assert!(sessions.finish(state.as_str(), browser.as_str(), TO_LOG_IN).is_none(), "too late");
    }

    #[test]
    fn a_session_ends_in_time_or_when_it_is_closed() {
        let mut sessions = Sessions::default();
        let id = nonce();
        sessions.open(&id, alice(), None, Duration::ZERO, HOUR);
        assert_eq!(sessions.find(id.as_str(), HOUR - Duration::from_millis(1)).unwrap().caller, alice());
        assert!(sessions.find(id.as_str(), HOUR).is_none());
        assert!(sessions.find(nonce().as_str(), Duration::ZERO).is_none());
        sessions.close(id.as_str()).unwrap();
        assert!(sessions.find(id.as_str(), Duration::ZERO).is_none());
    }

    #[test]
    fn there_is_a_limit_to_how_many_there_are() {
        let mut sessions = Sessions::default();
        let ids: Vec<Nonce> = (0..=MOST).map(|_| nonce()).collect();
        for (second, id) in (0..).zip(&ids) {
            let now = Duration::from_secs(second);
            sessions.open(id, alice(), None, now, 10 * HOUR);
            sessions.begin(id, id, nonce(), nonce(), Duration::ZERO);
        }
        assert_eq!((sessions.sessions.len(), sessions.attempts.len()), (MOST, MOST));
        let now = Duration::from_secs(MOST as u64);
        assert!(sessions.find(ids[0].as_str(), now).is_none(), "the one that would end first");
        assert!(sessions.find(ids[1].as_str(), now).is_some());
    }
}
