//! How somebody is told: from a notice to what is sent.
//!
//! The invariants:
//!
//! - **No secret is in a message, in an error or in the outbox.** What a channel needs to prove who it is stands in the configuration as a reference, and is
//!   looked up when something is sent; so it may change at any time.
//! - **Pure**: what is sent is made here, and sent elsewhere.

mod chat;
mod incidents;
mod template;
mod webhook;

use std::fmt;

use keyferry_config::Secret;
use serde::Deserialize;

use crate::error::Error;
use crate::notice::Notice;

pub use template::Template;
pub use webhook::{SIGNATURE, TIMESTAMP};

/// Somewhere somebody is told.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Its name, unique.
    pub name: String,
    /// How many notices a minute it takes.
    #[serde(default = "default_rate")]
    pub rate: u32,
    /// What it is.
    #[serde(flatten)]
    pub kind: Kind,
}

fn default_rate() -> u32 {
    30
}

/// What a channel is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The agent's own log.
    Log {},
    /// Any HTTP server.
    Webhook(Webhook),
    /// A Slack channel, by an incoming webhook.
    Slack(Url),
    /// A Microsoft Teams channel, by a workflow that takes adaptive cards.
    Teams(Url),
    /// PagerDuty, by Events API v2.
    PagerDuty(PagerDuty),
    /// A Prometheus Alertmanager, by API v2.
    Alertmanager(Alertmanager),
    /// Mail, by SMTP.
    Email(Email),
    /// A topic of the first destination's cluster.
    Kafka(Topic),
}

/// A value that must not be shown, or a reference to one: `${env:NAME}`, `${file:PATH}`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(keyferry_config::REDACTED)
    }
}

/// Looks up what a value stands for.
pub type Reveal<'a> = &'a dyn Fn(&str) -> Result<Secret, String>;

impl Hidden {
    /// What it stands for.
    ///
    /// # Errors
    /// The reference leads nowhere.
    pub fn reveal(&self, place: &str, reveal: Reveal<'_>) -> Result<Secret, Error> {
        reveal(&self.0).map_err(|wrong| Error::Setting { place: place.to_owned(), wrong })
    }
}

/// An address that whoever knows it may write to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Url {
    /// The address.
    pub url: Hidden,
}

/// Any HTTP server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The address.
    pub url: Hidden,
    /// `POST` or `PUT`.
    #[serde(default)]
    pub method: Method,
    /// What is sent. Default: the notice as JSON.
    pub template: Option<Template>,
    /// What the template makes.
    #[serde(default = "default_content_type")]
    pub content_type: String,
    /// Signs what is sent: HMAC-SHA256 of the time, a full stop and the body.
    pub hmac_secret: Option<Hidden>,
    /// How it is proved who is writing.
    pub auth: Option<Auth>,
}

fn default_content_type() -> String {
    "application/json".to_owned()
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Another one.
    #[default]
    Post,
    /// In place of what is there.
    Put,
}

/// How it is proved who is writing.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// By a token in the header `Authorization`.
    Bearer(Hidden),
    /// By name and password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Hidden,
    },
    /// By a key in a header.
    ApiKey {
        /// The header.
        header: String,
        /// The key.
        value: Hidden,
    },
}

/// PagerDuty.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PagerDuty {
    /// The integration key.
    pub routing_key: Hidden,
    /// The address.
    #[serde(default = "default_pagerduty")]
    pub url: String,
}

fn default_pagerduty() -> String {
    "https://events.pagerduty.com/v2/enqueue".to_owned()
}

/// A Prometheus Alertmanager.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alertmanager {
    /// The address, without `/api/v2/alerts`.
    pub url: String,
    /// How it is proved who is writing.
    pub auth: Option<Auth>,
}

/// Mail.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// The server.
    pub host: String,
    /// Its port. Default: 587, 465 with `tls = "tls"`, 25 with `tls = "none"`.
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: MailTls,
    /// Who logs in, if somebody must.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Hidden>,
    /// Who writes.
    pub from: String,
    /// Who is written to.
    pub to: Vec<String>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// Must be switched to TLS.
    #[default]
    Starttls,
    /// Is TLS from the beginning.
    Tls,
    /// Not at all.
    None,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Its name.
    pub topic: String,
}

/// What is sent.
#[derive(Debug)]
pub enum Parcel {
    /// A request over HTTP.
    Http(Request),
    /// A mail.
    Mail {
        /// The server and the addresses.
        email: Email,
        /// The password.
        password: Option<Secret>,
        /// One line.
        subject: String,
        /// The text.
        text: String,
    },
    /// A record of Kafka's.
    Record {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
    },
    /// A line of the log.
    Line(String),
}

/// A request over HTTP.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The address, which may be a secret.
    pub url: Secret,
    /// Names and values; values may be secrets.
    pub headers: Vec<(String, Secret)>,
    /// What is sent.
    pub body: Vec<u8>,
}

impl Channel {
    /// What is sent to tell of `notice`.
    ///
    /// # Errors
    /// A secret cannot be looked up, or the template is wrong.
    pub fn parcel(&self, notice: &Notice, reveal: Reveal<'_>, now_ms: u64) -> Result<Parcel, Error> {
        let place = format!("channel `{}`", self.name);
        let post = |url: Secret, body: &serde_json::Value| Parcel::Http(Request::json(url, body));
        Ok(match &self.kind {
            Kind::Log {} => Parcel::Line(notice.title()),
            Kind::Webhook(webhook) => Parcel::Http(webhook.request(notice, &place, reveal, now_ms)?),
            Kind::Slack(url) => post(url.url.reveal(&place, reveal)?, &chat::slack(notice)),
            Kind::Teams(url) => post(url.url.reveal(&place, reveal)?, &chat::teams(notice)),
            Kind::PagerDuty(to) => {
                let key = to.routing_key.reveal(&place, reveal)?;
                post(Secret::new(to.url.clone()), &incidents::pagerduty(notice, &key))
            }
            Kind::Alertmanager(to) => {
                let url = format!("{}/api/v2/alerts", to.url.trim_end_matches('/'));
                let mut request = Request::json(Secret::new(url), &incidents::alertmanager(notice, now_ms));
                request.headers.extend(Auth::header(to.auth.as_ref(), &place, reveal)?);
                Parcel::Http(request)
            }
            Kind::Email(email) => Parcel::Mail {
                password: email.password.as_ref().map(|hidden| hidden.reveal(&place, reveal)).transpose()?,
                email: email.clone(),
                subject: notice.title(),
                text: notice.text(),
            },
            Kind::Kafka(Topic { topic }) => Parcel::Record {
                topic: topic.clone(),
                key: notice.subject.clone(),
                value: serde_json::to_vec(notice)
                    .map_err(|error| Error::Setting { place, wrong: error.to_string() })?,
            },
        })
    }

    /// Whether somebody outside of the agent is told.
    pub fn leads_outside(&self) -> bool {
        !matches!(self.kind, Kind::Log {})
    }
}

impl Request {
    fn json(url: Secret, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type".to_owned(), Secret::new("application/json"))];
        Self { method: Method::Post, url, headers, body: body.to_string().into_bytes() }
    }
}

impl Auth {
    fn header(
        auth: Option<&Self>,
        place: &str,
        reveal: Reveal<'_>,
    ) -> Result<Option<(String, Secret)>, Error> {
        let authorization = |value: String| ("authorization".to_owned(), Secret::new(value));
        auth.map(|auth| {
            Ok(match auth {
                Self::Bearer(token) => {
                    authorization(format!("Bearer {}", token.reveal(place, reveal)?.expose()))
                }
                Self::Basic { user, password } => {
                    let pair = format!("{user}:{}", password.reveal(place, reveal)?.expose());
                    authorization(format!("Basic {}", webhook::base64(pair.as_bytes())))
                }
                Self::ApiKey { header, value } => (header.clone(), value.reveal(place, reveal)?),
            })
        })
        .transpose()
    }
}

#[cfg(test)]
mod tests;
