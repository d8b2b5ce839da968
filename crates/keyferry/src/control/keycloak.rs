//! The way to the Keycloak at which users of the page log in.

use std::fmt;
use std::time::Duration;

use keyferry_server::oidc::Http;

use crate::http;

/// How long Keycloak may take to answer.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// No answer is longer.
const LONGEST: u64 = 1 << 20;

/// Asks Keycloak.
pub struct Keycloak {
    client: ureq::Agent,
}

impl Default for Keycloak {
    fn default() -> Self {
        Self { client: http::client(TIME_LIMIT) }
    }
}

impl fmt::Debug for Keycloak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keycloak")
    }
}

impl Http for Keycloak {
    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        read(self.client.get(url).call())
    }

    fn post(&self, url: &str, form: &[(&str, &str)]) -> Result<Vec<u8>, String> {
        read(self.client.post(url).send_form(form.iter().copied()))
    }
}

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Vec<u8>, String> {
    let mut answer = answer.map_err(|error| error.to_string())?;
    let (status, body) = (answer.status(), answer.body_mut().with_config().limit(LONGEST).read_to_vec());
    let body = body.map_err(|error| error.to_string())?;
    if status.is_success() { Ok(body) } else { Err(format!("status {status}{}", said(&body))) }
}

/// What the answer says of an error (RFC 6749, 5.2): codes and descriptions, no secrets.
fn said(body: &[u8]) -> String {
    let said: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let words = ["error", "error_description"].into_iter().filter_map(|key| said[key].as_str());
    words.map(|word| format!(", {word:?}")).collect()
}
