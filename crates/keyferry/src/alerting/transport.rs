//! How a notice leaves: HTTP, SMTP, Kafka, or the agent's own log.
//!
//! The invariant: **nobody waits for long.** Each attempt has a time limit; what fails is the outbox's to try again. An error never has an address in it that is a
//! secret, nor what was sent.

use std::collections::BTreeMap;
use std::time::Duration;

use keyferry_alert::Book;
use keyferry_alert::channel::{Channel, Email, MailTls, Method, Parcel, Request};
use keyferry_alert::notice::Notice;
use keyferry_alert::outbox::Outcome;
use keyferry_config::{Destination, Secret, Sources};
use keyferry_event::{FailureClass, Record};
use keyferry_kafka::single;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport as _};

use crate::credentials;
use crate::http;
use crate::shipment::{kafka_settings, wall_ms};

/// How long one attempt may take.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// What of an answer is looked at.
const ANSWER_LIMIT: u64 = 512;

/// Sends notices.
pub struct Transport {
    channels: BTreeMap<String, Channel>,
    sources: Sources,
    http: ureq::Agent,
    destination: Option<Destination>,
}

impl Transport {
    /// By the channels of `book`; to topics by way of `destination`.
    pub fn new(book: &Book, destination: Option<Destination>) -> Self {
        let channels = book.channels.iter().map(|channel| (channel.name.clone(), channel.clone())).collect();
        Self { channels, sources: credentials::sources(), http: http::client(TIME_LIMIT), destination }
    }

    /// Tries to tell of `notice`.
    pub fn send(&self, notice: &Notice) -> Outcome {
        let Some(channel) = self.channels.get(&notice.channel) else {
            return Outcome::Refused { reason: "there is no such channel any more".to_owned() };
        };
        // A secret that is not there yet may come.
        let reveal = |text: &str| self.sources.reveal(text);
        let parcel = match channel.parcel(notice, &reveal, wall_ms()) {
            Ok(parcel) => parcel,
            Err(error) => return failed(error.to_string()),
        };
        match parcel {
            Parcel::Line(line) if notice.is_resolved() => {
                tracing::info!("alert: {line}");
                Outcome::Told
            }
            Parcel::Line(line) => {
                tracing::warn!("alert: {line}");
                Outcome::Told
            }
            Parcel::Http(request) => self.post(&request),
            Parcel::Mail { email, password, subject, text } => {
                mail(&email, password.as_ref(), &subject, text)
            }
            Parcel::Record { topic, key, value } => self.produce(&topic, &key, &value),
        }
    }

    fn post(&self, request: &Request) -> Outcome {
        let url = request.url.expose();
        let mut builder = match request.method {
            Method::Post => self.http.post(url),
            Method::Put => self.http.put(url),
        };
        for (name, value) in &request.headers {
            builder = builder.header(name, value.expose());
        }
        let mut response = match builder.send(&request.body[..]) {
            Ok(response) => response,
            Err(error) => return failed(error.to_string().replace(url, "the address")),
        };
        let status = response.status();
        if status.is_success() {
            return Outcome::Told;
        }
        let after = response.headers().get("retry-after").and_then(|after| after.to_str().ok());
        let after_ms =
            after.and_then(|after| after.parse::<u64>().ok()).map(|seconds| seconds.saturating_mul(1_000));
        let body = response.body_mut().with_config().limit(ANSWER_LIMIT).read_to_string().unwrap_or_default();
        let reason = format!("status {status} {}", body.replace(url, "the address").trim());
        // Later it may be another answer: a time-out, too many requests, or a fault of the server's.
        if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
            return Outcome::Failed { reason, after_ms };
        }
        Outcome::Refused { reason }
    }

    /// By a producer that lives for one record: notices are rare.
    fn produce(&self, topic: &str, key: &str, value: &[u8]) -> Outcome {
        let Some(destination) = &self.destination else {
            return failed("there is no destination whose cluster could have the topic".to_owned());
        };
        let record = Record::of_parts(topic, key.as_bytes(), value, wall_ms(), &[]);
        match single::deliver(&kafka_settings(destination), &record, TIME_LIMIT) {
            Ok(()) => Outcome::Told,
            Err(failure) if failure.class == FailureClass::Poison => {
                Outcome::Refused { reason: failure.reason }
            }
            Err(failure) => failed(failure.reason),
        }
    }
}

fn failed(reason: String) -> Outcome {
    Outcome::Failed { reason, after_ms: None }
}

fn mail(email: &Email, password: Option<&Secret>, subject: &str, text: String) -> Outcome {
    let message = match message(email, subject, text) {
        Ok(message) => message,
        Err(reason) => return Outcome::Refused { reason },
    };
    let mailer = match mailer(email, password) {
        Ok(mailer) => mailer,
        Err(error) => return failed(error.to_string()),
    };
    match mailer.send(&message) {
        Ok(_) => Outcome::Told,
        Err(error) if error.is_permanent() => Outcome::Refused { reason: error.to_string() },
        Err(error) => failed(error.to_string()),
    }
}

fn message(email: &Email, subject: &str, text: String) -> Result<Message, String> {
    let mailbox = |address: &str| -> Result<Mailbox, String> {
        address.parse().map_err(|error| format!("{address} is no address: {error}"))
    };
    let mut message = Message::builder().from(mailbox(&email.from)?).subject(subject);
    for to in &email.to {
        message = message.to(mailbox(to)?);
    }
    message.body(text).map_err(|error| error.to_string())
}

fn mailer(email: &Email, password: Option<&Secret>) -> Result<SmtpTransport, lettre::transport::smtp::Error> {
    let tls = match email.tls {
        MailTls::None => Tls::None,
        MailTls::Starttls => Tls::Required(TlsParameters::new(email.host.clone())?),
        MailTls::Tls => Tls::Wrapper(TlsParameters::new(email.host.clone())?),
    };
    let port = email.port.unwrap_or(match email.tls {
        MailTls::None => 25,
        MailTls::Starttls => 587,
        MailTls::Tls => 465,
    });
    let mut mailer =
        SmtpTransport::builder_dangerous(&email.host).port(port).tls(tls).timeout(Some(TIME_LIMIT));
    if let (Some(user), Some(password)) = (&email.user, password) {
        mailer = mailer.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
    }
    Ok(mailer.build())
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("channels", &self.channels.keys()).finish_non_exhaustive()
    }
}
