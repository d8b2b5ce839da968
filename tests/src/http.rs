//! Plain HTTP/1.1 without redirects, cookies or exceptions for statuses: what the tests check is exactly what the server said.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;
use ureq::{Body, RequestBuilder};

use crate::{Error, Result};

/// No request of a test may take longer.
const LIMIT: Duration = Duration::from_secs(90);

/// By the header `Accept` with this Keycloak knows requests to its account interface from those of a browser.
const JSON: &str = "application/json";

/// What the server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Method and address of the request.
    pub request: String,
    /// The HTTP status.
    pub status: u16,
    /// The `Location` header.
    pub location: Option<String>,
    /// The `Set-Cookie` headers.
    pub cookies: Vec<String>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The answer itself if its status is one of success.
    ///
    /// # Errors
    /// [`Error::Answer`].
    pub fn success(self) -> Result<Self> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(self.unexpected()) }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn json(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.body)?)
    }

    /// The answer as an error.
    pub fn unexpected(self) -> Error {
        Error::Answer { request: self.request, status: self.status, body: self.body }
    }
}

/// A client with a pool of connections.
#[derive(Debug, Clone)]
pub struct Http {
    agent: Agent,
}

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl Http {
    /// A new client without open connections.
    pub fn new() -> Self {
        let settings = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(LIMIT))
            .build();
        Self { agent: settings.into() }
    }

    /// Gets a page.
    ///
    /// # Errors
    /// Where the connection fails.
    pub fn get(&self, address: &str) -> Result<Answer> {
        answer(format!("GET {address}"), self.agent.get(address).call())
    }

    /// Gets a page, sending cookies.
    ///
    /// # Errors
    /// Where the connection fails.
    pub fn get_with_cookies(&self, address: &str, cookies: &str) -> Result<Answer> {
        answer(format!("GET {address}"), self.agent.get(address).header("Cookie", cookies).call())
    }

    /// Posts a form.
    ///
    /// # Errors
    /// Where the connection fails.
    pub fn post_form(&self, address: &str, form: &[(&str, &str)]) -> Result<Answer> {
        let request = self.agent.post(address);
        answer(format!("POST {address}"), request.send_form(form.iter().copied()))
    }

    /// Posts a form with a bearer token.
    ///
    /// # Errors
    /// Where the connection fails.
    pub fn post_form_as(&self, token: &str, address: &str, form: &[(&str, &str)]) -> Result<Answer> {
        let request = self.agent.post(address).header("Authorization", &format!("Bearer {token}"));
        answer(format!("POST {address}"), request.header("Accept", JSON).send_form(form.iter().copied()))
    }

    /// Posts a form, sending cookies.
    ///
    /// # Errors
    /// Where the connection fails.
    pub fn post_form_with_cookies(
        &self,
        address: &str,
        cookies: &str,
        form: &[(&str, &str)],
    ) -> Result<Answer> {
        let request = self.agent.post(address).header("Cookie", cookies);
        answer(format!("POST {address}"), request.send_form(form.iter().copied()))
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// Where the connection fails.
    pub fn post_json(&self, address: &str, body: &Value) -> Result<Answer> {
        answer(format!("POST {address}"), self.agent.post(address).send_json(body))
    }

    /// Deletes something.
    ///
    /// # Errors
    /// Where the connection fails.
    pub fn delete(&self, address: &str) -> Result<Answer> {
        answer(format!("DELETE {address}"), self.agent.delete(address).call())
    }

    /// Sends a request with a bearer token and perhaps a JSON body.
    ///
    /// # Errors
    /// Where the connection fails.
    pub fn send(&self, method: Method, address: &str, token: &str, body: Option<&Value>) -> Result<Answer> {
        let request = format!("{method:?} {address}").to_uppercase();
        let bearer = format!("Bearer {token}");
        let result = match method {
            Method::Get => self.agent.get(address).header("Authorization", &bearer).call(),
            Method::Post => send_json(self.agent.post(address).header("Authorization", &bearer), body),
            Method::Put => send_json(self.agent.put(address).header("Authorization", &bearer), body),
            Method::Delete => match body {
                None => {
                    let request = self.agent.delete(address).header("Authorization", &bearer);
                    request.header("Accept", JSON).call()
                }
                Some(_) => send_json(
                    self.agent.delete(address).header("Authorization", &bearer).force_send_body(),
                    body,
                ),
            },
        };
        answer(request, result)
    }
}

/// The methods that Keycloak's administration interface uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Create.
    Post,
    /// Replace.
    Put,
    /// Delete.
    Delete,
}

fn send_json(
    request: RequestBuilder<ureq::typestate::WithBody>,
    body: Option<&Value>,
) -> Result<Response<Body>, ureq::Error> {
    match body {
        Some(body) => request.header("Accept", JSON).send_json(body),
        None => request.send_empty(),
    }
}

fn answer(request: String, result: Result<Response<Body>, ureq::Error>) -> Result<Answer> {
    let failed = |source| Error::Http { request: request.clone(), source: Box::new(source) };
    let mut response = result.map_err(failed)?;
    let header = |name| {
        response.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned)
    };
    let location = header("location").next();
    let cookies = header("set-cookie").collect();
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_string().map_err(failed)?;
    Ok(Answer { request, status, location, cookies, body })
}
