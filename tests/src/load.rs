//! Clients that ask for tokens as fast as Keycloak gives them, and remember what they were given.
//!
//! This is the oracle of the delivery tests: a request counts as successful when, and only when, its client has read the whole answer. Its
//! event is found by the token's id, which Keycloak writes into the event's details and tells nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::admin::SERVICE;
use crate::http::Http;
use crate::wait;

/// How long a worker waits after a request that failed: the server may be down.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);

/// Workers at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<Vec<Request>>>,
}

/// What the workers share.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    successes: AtomicUsize,
}

/// One request for a token.
#[derive(Debug, Clone)]
pub struct Request {
    /// When it was sent.
    pub sent: Instant,
    /// How long it took until the whole answer was there.
    pub took: Duration,
    /// The token's id, or why there is none.
    pub token: Result<String, String>,
}

/// All requests of a load.
#[derive(Debug, Clone, Default)]
pub struct Requests(Vec<Request>);

impl Load {
    /// Starts `workers` that log the client [`SERVICE`] in, again and again.
    pub fn start(address: &str, realm: &str, workers: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let endpoint = format!("{address}/realms/{realm}/protocol/openid-connect/token");
        let worker = |_| {
            let (shared, endpoint) = (Arc::clone(&shared), endpoint.clone());
            thread::spawn(move || work(&shared, &endpoint))
        };
        Self { workers: (0..workers).map(worker).collect(), shared }
    }

    /// Waits until this many more requests have succeeded, so that what follows happens under load on a slow machine too.
    ///
    /// # Errors
    /// [`crate::Error::TooLate`].
    pub fn wait_for_successes(&self, count: usize, limit: Duration) -> crate::Result<()> {
        let successes = || self.shared.successes.load(Ordering::Relaxed);
        let enough = successes() + count;
        wait::until(&format!("the success of {count} requests"), limit, || {
            (successes() >= enough).then_some(())
        })
    }

    /// Stops after the requests that are under way and returns all of them.
    pub fn finish(self) -> Requests {
        self.shared.stop.store(true, Ordering::Relaxed);
        Requests(self.workers.into_iter().flat_map(joined).collect())
    }

    /// As [`Self::finish`], after the given time.
    pub fn finish_after(self, duration: Duration) -> Requests {
        thread::sleep(duration);
        self.finish()
    }
}

impl Requests {
    /// The ids of the tokens that clients received.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|request| request.token.as_deref().ok())
    }

    /// Why requests failed.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|request| request.token.as_ref().err().map(String::as_str))
    }

    /// How many there were.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that were sent in a span of time.
    pub fn sent_between(&self, start: Instant, end: Instant) -> Self {
        Self(self.0.iter().filter(|request| (start..end).contains(&request.sent)).cloned().collect())
    }

    /// The time that the given share of the requests did not exceed; `share` from 0 to 1. Zero where there was none.
    pub fn latency(&self, share: f64) -> Duration {
        let mut times: Vec<Duration> = self.0.iter().map(|request| request.took).collect();
        times.sort_unstable();
        let rank = (times.len() as f64 * share).ceil() as usize;
        times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Adds the requests of another load.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// What a worker returns; its panic is ours.
pub(crate) fn joined<T>(worker: JoinHandle<T>) -> T {
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn work(shared: &Shared, endpoint: &str) -> Vec<Request> {
    let http = Http::new();
    let mut requests = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let token = request_token(&http, endpoint);
        match &token {
            Ok(_) => drop(shared.successes.fetch_add(1, Ordering::Relaxed)),
            Err(_) => thread::sleep(PAUSE_AFTER_FAILURE),
        }
        requests.push(Request { sent, took: sent.elapsed(), token });
    }
    requests
}

fn request_token(http: &Http, endpoint: &str) -> Result<String, String> {
    let (client, secret) = SERVICE;
    let form = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret)];
    let answer = http.post_form(endpoint, &form).map_err(|error| error.to_string())?;
    let answer = answer.success().map_err(|error| error.to_string())?;
    let body = answer.json().map_err(|error| error.to_string())?;
    let token = body["access_token"].as_str().and_then(token_id);
    token.ok_or_else(|| format!("no token in {}", answer.body))
}

/// The `jti` of a JSON web token.
fn token_id(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims["jti"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(milliseconds: &[u64]) -> Requests {
        let request = |took: &u64| Request {
            sent: Instant::now(),
            took: Duration::from_millis(*took),
            token: Err("none".to_owned()),
        };
        Requests(milliseconds.iter().map(request).collect())
    }

    #[test]
    fn latency_is_the_nearest_rank() {
        let requests = requests(&[40, 10, 30, 20]);
        assert_eq!(requests.latency(0.5), Duration::from_millis(20));
        assert_eq!(requests.latency(0.99), Duration::from_millis(40));
        assert_eq!(requests.latency(1.0), Duration::from_millis(40));
    }

    #[test]
    fn a_token_is_known_by_its_jti() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"jti":"trrtcc:4711"}"#);
        assert_eq!(token_id(&format!("header.{claims}.signature")).as_deref(), Some("trrtcc:4711"));
        assert_eq!(token_id("nonsense"), None);
    }
}
