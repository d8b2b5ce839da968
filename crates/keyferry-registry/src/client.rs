//! How a registry is asked: Confluent's API over HTTP.
//!
//! The invariant: **no question takes longer than the time-out**, and no secret is told. There is a question a subject at the start and hardly one afterwards, so each has a connection of its own: a new certificate or authority needs no word.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyferry_event::Schema;
use serde_json::{Value, json};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// Where a registry is, and how one gets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The servers of one registry, each with the path below which the API is. Not empty.
    pub urls: Vec<String>,
    /// Who we are; `None` is nobody in particular.
    pub authorization: Option<Authorization>,
    /// The authorities that are believed, in PEM; `None` is those of the operating system.
    pub ca_file: Option<PathBuf>,
    /// How long a server may take to answer.
    pub timeout: Duration,
    /// Whether what is not there is registered. Otherwise it is only looked up.
    pub registers: bool,
}

/// How we say who we are. Is never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorization {
    /// User and password.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// A token.
    Bearer(String),
}

impl Authorization {
    fn header(&self) -> String {
        match self {
            Self::Basic { username, password } => {
                format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
            }
            Self::Bearer(token) => format!("Bearer {token}"),
        }
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, as far as it is of interest.
    pub body: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No connection, or one that broke.
    Unreachable(String),
    /// None within this time.
    Slow(Duration),
    /// TLS, or what it needs, is not as it should be.
    Insecure(String),
}

/// Somebody who can be asked for the id of a schema.
pub trait Registry: Send + Sync {
    /// Asks the server of this number for the id of `schema` under `subject`.
    ///
    /// # Errors
    /// There is no answer.
    fn ask(&self, server: usize, subject: &str, schema: &Schema) -> Result<Answer, Trouble>;
}

/// How it stands with a subject, for somebody who examines a registry and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// The answer to the look-up of the schema.
    pub looked_up: Answer,
    /// Whether the schema goes together with those of the subject; `None` where the registry does not say.
    pub is_compatible: Option<bool>,
    /// The compatibility level of the subject, or of the registry where the subject has none of its own.
    pub compatibility: Option<String>,
}

/// The media type that Confluent's API speaks.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// No answer that is of interest is longer: the largest repeats the schema.
const ANSWER_LIMIT: u64 = 1 << 20;

impl Registry for Access {
    fn ask(&self, server: usize, subject: &str, schema: &Schema) -> Result<Answer, Trouble> {
        let path = if self.registers {
            format!("/subjects/{subject}/versions?normalize=true")
        } else {
            format!("/subjects/{subject}?normalize=true")
        };
        self.post(server, &path, &told(schema))
    }
}

impl Access {
    /// Looks at `subject` at the server of this number, and changes nothing.
    ///
    /// # Errors
    /// There is no answer.
    pub fn examine(&self, server: usize, subject: &str, schema: &Schema) -> Result<Examined, Trouble> {
        let schema = told(schema);
        let looked_up = self.post(server, &format!("/subjects/{subject}?normalize=true"), &schema)?;
        let compatible = self.post(
            server,
            &format!("/compatibility/subjects/{subject}/versions/latest?normalize=true"),
            &schema,
        )?;
        let is_compatible = json_of(&compatible)["is_compatible"].as_bool();
        let of_subject = self.get(server, &format!("/config/{subject}"))?;
        let level = |answer: &Answer| json_of(answer)["compatibilityLevel"].as_str().map(ToOwned::to_owned);
        let compatibility = match level(&of_subject) {
            Some(level) => Some(level),
            None => level(&self.get(server, "/config")?),
        };
        Ok(Examined { looked_up, is_compatible, compatibility })
    }

    fn post(&self, server: usize, path: &str, body: &Value) -> Result<Answer, Trouble> {
        let mut request = self.client()?.post(self.address(server, path)).header("Content-Type", MEDIA_TYPE);
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization.header());
        }
        self.answer(request.send(body.to_string()))
    }

    fn get(&self, server: usize, path: &str) -> Result<Answer, Trouble> {
        let mut request = self.client()?.get(self.address(server, path)).header("Accept", MEDIA_TYPE);
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization.header());
        }
        self.answer(request.call())
    }

    /// The server of this number; the first for one that is not there any more.
    pub(crate) fn url(&self, server: usize) -> &str {
        self.urls.get(server).or(self.urls.first()).map(String::as_str).unwrap_or_default()
    }

    fn address(&self, server: usize, path: &str) -> String {
        format!("{}{path}", self.url(server).trim_end_matches('/'))
    }

    fn client(&self) -> Result<ureq::Agent, Trouble> {
        let roots = match &self.ca_file {
            None => RootCerts::PlatformVerifier,
            Some(path) => {
                let unusable = |why: String| {
                    Trouble::Insecure(format!("destination.registry.ca_file {}: {why}", path.display()))
                };
                let pem = fs::read(path).map_err(|error| unusable(error.to_string()))?;
                let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
                    .filter_map(|item| match item {
                        Ok(PemItem::Certificate(certificate)) => Some(certificate),
                        _ => None,
                    })
                    .collect();
                if certificates.is_empty() {
                    return Err(unusable("it has no certificate in PEM".to_owned()));
                }
                RootCerts::new_with_certs(&certificates)
            }
        };
        let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(roots);
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(self.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .tls_config(tls.build());
        Ok(config.build().new_agent())
    }

    fn answer(
        &self,
        outcome: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer, Trouble> {
        let trouble = |error| self.trouble(error);
        let mut response = outcome.map_err(trouble)?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_LIMIT).read_to_string();
        match body {
            Ok(body) => Ok(Answer { status, body }),
            // What it says is then of no interest: its status is.
            Err(ureq::Error::BodyExceedsLimit(_)) => Ok(Answer { status, body: String::new() }),
            Err(error) => Err(trouble(error)),
        }
    }

    fn trouble(&self, error: ureq::Error) -> Trouble {
        use ureq::Error::{Der, NativeTls, Pem, Timeout, Tls};
        match error {
            Timeout(_) => Trouble::Slow(self.timeout),
            error @ (Tls(_) | NativeTls(_) | Pem(_) | Der(_)) => Trouble::Insecure(error.to_string()),
            error => Trouble::Unreachable(error.to_string()),
        }
    }
}

/// A schema as the API takes it.
fn told(schema: &Schema) -> Value {
    json!({ "schema": schema.text, "schemaType": schema.kind.name() })
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_default()
}
