//! What librdkafka is told: a pure function of the destination.
//!
//! The invariant: **the properties on which Keyferry's promises rest have one value each**, and no pass-through property
//! can change them.

use crate::input::Rejected;
use crate::model::{
    AwsMskIam, ClientIdentity, Destination, Kerberos, Mechanism, PropertyValue, Sasl, Security, Tls, Trust,
};
use crate::secret::Secret;

/// A property's name and value.
pub type Property = (String, PropertyValue);

/// The longest pause between two attempts to connect, in milliseconds. Delivery goes on within five seconds of a broker's
/// return, and librdkafka adds up to half of this as jitter.
const RECONNECT_BACKOFF_MAX_MS: u64 = 1_000;

/// librdkafka's own default, in milliseconds.
const RECONNECT_BACKOFF_MS: u64 = 100;

/// librdkafka's own default, in milliseconds.
const RETRY_BACKOFF_MAX_MS: u128 = 1_000;

/// The properties of a producer for `destination`, each once, in a stable order: what the promises need, what the
/// destination says, and what it passes through.
pub fn properties(destination: &Destination) -> Vec<Property> {
    let mut properties = promised();
    properties.extend(configured(destination));
    properties.extend(secured(&destination.security));
    for property in defaults() {
        if !destination.librdkafka.contains_key(&property.0) {
            properties.push(property);
        }
    }
    properties.extend(passed_through(destination));
    properties
}

/// What nothing can change.
fn promised() -> Vec<Property> {
    vec![
        // A retry neither doubles a record nor changes the order within a partition.
        plain("enable.idempotence", true),
        // A record is acknowledged when every in-sync replica has it, so that the loss of a broker takes nothing along.
        plain("acks", "all"),
        // A record that fails for good stops the producer instead of letting later ones of its partition pass it: the agent
        // replaces the producer and sends everything again, in order.
        plain("enable.gapless.guarantee", true),
        // Endless. A record that timed out inside librdkafka while a later one of the same key got through would break
        // their order; the journal keeps the record anyway, and `delivery_timeout` is what declares a destination failing.
        plain("message.timeout.ms", 0),
        // The journal counts the acknowledgement of every record, so every one has to be reported.
        plain("delivery.report.only.error", false),
    ]
}

/// What the destination says.
fn configured(destination: &Destination) -> Vec<Property> {
    let delivery = &destination.delivery;
    let buffer = delivery.buffer.max(delivery.max_request_size);
    let request_timeout = delivery.request_timeout.as_millis();
    vec![
        plain("bootstrap.servers", &destination.bootstrap_servers),
        plain("client.id", &destination.client_id),
        plain("batch.size", delivery.batch_size.as_bytes()),
        plain("linger.ms", delivery.linger.as_millis()),
        plain("compression.type", delivery.compression.as_str()),
        plain("retry.backoff.ms", delivery.retry_backoff.as_millis()),
        // librdkafka caps the pause at this, and its default would cut a longer `retry_backoff` short.
        plain("retry.backoff.max.ms", delivery.retry_backoff.as_millis().max(RETRY_BACKOFF_MAX_MS)),
        plain("message.max.bytes", delivery.max_request_size.as_bytes()),
        // At most 5: the broker remembers that many batches to recognise a repeated one.
        plain("max.in.flight.requests.per.connection", delivery.max_in_flight),
        // How long the broker waits for its replicas, and how long the client waits for the broker.
        plain("request.timeout.ms", request_timeout),
        plain("socket.timeout.ms", request_timeout),
        // librdkafka's default is 1 GiB, which would move the backlog from the journal into memory. The largest record must
        // fit, or it would wait for room for ever.
        plain("queue.buffering.max.kbytes", buffer.as_bytes().div_ceil(1024)),
    ]
}

/// What Keyferry chooses unless a pass-through property chooses otherwise.
fn defaults() -> Vec<Property> {
    vec![
        // As Kafka's Java client, so that a key lies in the same partition whoever produces it. librdkafka's own is CRC32.
        plain("partitioner", "murmur2_random"),
        // A connection that a firewall has forgotten is noticed.
        plain("socket.keepalive.enable", true),
        // An attempt into the void ends early enough for the next one to meet a network that is back.
        plain("socket.connection.setup.timeout.ms", 5_000),
        // Brokers close idle connections, and an idle Keycloak is no reason for a log line.
        plain("log.connection.close", false),
        // Keyferry has its own metrics; brokers are not sent any.
        plain("enable.metrics.push", false),
    ]
}

fn passed_through(destination: &Destination) -> Vec<Property> {
    let given = &destination.librdkafka;
    let backoff = given
        .get("reconnect.backoff.ms")
        .and_then(|value| value.expose().parse::<u64>().ok())
        .unwrap_or(RECONNECT_BACKOFF_MS);
    let backoff_max = given
        .get("reconnect.backoff.max.ms")
        .and_then(|value| value.expose().parse::<u64>().ok())
        .unwrap_or(RECONNECT_BACKOFF_MAX_MS);
    // librdkafka refuses a ceiling below the first pause; Kafka's Java client takes the greater of the two.
    let ceiling = plain("reconnect.backoff.max.ms", backoff_max.max(backoff));
    let rest = given.iter().filter(|(name, _)| *name != "reconnect.backoff.max.ms");
    rest.map(|(name, value)| (name.clone(), value.clone())).chain([ceiling]).collect()
}

fn secured(security: &Security) -> Vec<Property> {
    let mut properties = vec![plain("security.protocol", security.protocol().as_str())];
    properties.extend(security.tls.iter().flat_map(encrypted));
    if let Some(sasl) = &security.sasl {
        properties.extend(authenticated(sasl, security.tls.as_ref()));
    }
    properties
}

fn encrypted(tls: &Tls) -> Vec<Property> {
    let mut properties = vec![plain(
        "ssl.endpoint.identification.algorithm",
        if tls.verify_hostname { "https" } else { "none" },
    )];
    properties.push(match &tls.trust {
        // The bundled OpenSSL has no default directory; librdkafka looks in those of the distributions.
        Trust::System => plain("ssl.ca.location", "probe"),
        Trust::File(path) => plain("ssl.ca.location", path.display()),
        Trust::Pem(pem) => plain("ssl.ca.pem", pem),
    });
    properties.extend(tls.cipher_suites.iter().map(|suites| plain("ssl.cipher.suites", suites)));
    properties.extend(tls.identity.iter().flat_map(identified));
    properties
}

fn identified(identity: &ClientIdentity) -> Vec<Property> {
    match identity {
        ClientIdentity::PemFiles { certificate, key, key_password } => {
            let mut properties = vec![
                plain("ssl.certificate.location", certificate.display()),
                plain("ssl.key.location", key.display()),
            ];
            properties.extend(key_password.iter().map(|password| secret("ssl.key.password", password)));
            properties
        }
        ClientIdentity::Pem { certificate, key, key_password } => {
            let mut properties = vec![plain("ssl.certificate.pem", certificate), secret("ssl.key.pem", key)];
            properties.extend(key_password.iter().map(|password| secret("ssl.key.password", password)));
            properties
        }
    }
}

fn authenticated(sasl: &Sasl, tls: Option<&Tls>) -> Vec<Property> {
    let mut properties = vec![plain("sasl.mechanisms", mechanism(sasl))];
    match sasl {
        Sasl::Plain(login) | Sasl::ScramSha256(login) | Sasl::ScramSha512(login) => {
            properties.push(plain("sasl.username", &login.username));
            properties.push(secret("sasl.password", &login.password));
        }
        Sasl::OAuthBearer(client) => {
            properties.push(plain("sasl.oauthbearer.method", "oidc"));
            properties.push(plain("sasl.oauthbearer.token.endpoint.url", &client.token_endpoint));
            properties.push(plain("sasl.oauthbearer.client.id", &client.client_id));
            properties.push(secret("sasl.oauthbearer.client.secret", &client.client_secret));
            properties.extend(client.scope.iter().map(|scope| plain("sasl.oauthbearer.scope", scope)));
            properties.push(issuer_trust(tls));
        }
        Sasl::AwsMskIam(AwsMskIam { region, profile }) => {
            // Free text for whoever makes the token, which is keyferry-kafka's `security::msk`.
            let profile = profile.iter().map(|profile| format!(" profile={profile}")).collect::<String>();
            properties
                .push(plain("sasl.oauthbearer.config", format!("aws-msk-iam region={region}{profile}")));
        }
        Sasl::Gssapi(Kerberos { service_name, principal, keytab }) => {
            properties.push(plain("sasl.kerberos.service.name", service_name));
            properties.push(plain("sasl.kerberos.principal", principal));
            properties.push(plain("sasl.kerberos.keytab", keytab.display()));
        }
    }
    properties
}

/// librdkafka's name for it. What MSK takes is a token.
fn mechanism(sasl: &Sasl) -> &'static str {
    match sasl {
        Sasl::AwsMskIam(_) => Mechanism::OAuthBearer.as_str(),
        _ => sasl.mechanism().as_str(),
    }
}

/// The issuer is believed by the same authorities as the brokers.
fn issuer_trust(tls: Option<&Tls>) -> Property {
    match tls.map(|tls| &tls.trust) {
        Some(Trust::File(path)) => plain("https.ca.location", path.display()),
        Some(Trust::Pem(pem)) => plain("https.ca.pem", pem),
        Some(Trust::System) | None => plain("https.ca.location", "probe"),
    }
}

fn plain(name: &str, value: impl ToString) -> Property {
    (name.to_owned(), PropertyValue::Plain(value.to_string()))
}

fn secret(name: &str, value: &Secret) -> Property {
    (name.to_owned(), PropertyValue::Secret(value.clone()))
}

/// Properties that cannot be passed through: their names, and what to use instead.
const RESERVED: &[(&[&str], &str)] = &[
    (
        &[
            "enable.idempotence",
            "enable.gapless.guarantee",
            "acks",
            "request.required.acks",
            "message.timeout.ms",
            "delivery.timeout.ms",
        ],
        "it has the one value on which the promise rests that nothing is lost or reordered; remove it",
    ),
    (
        &["retries", "message.send.max.retries", "delivery.report.only.error", "queuing.strategy"],
        "it has the one value on which the promise rests that nothing is lost or reordered; remove it",
    ),
    (
        &["enable.gapless.guarantee", "transactional.id", "transaction.timeout.ms"],
        "the agent keeps order and recognises copies by itself; remove it",
    ),
    (&["plugin.library.paths"], "the agent loads no code; remove it"),
    (&["bootstrap.servers", "metadata.broker.list"], "use `destination.bootstrap_servers`"),
    (&["client.id"], "use `destination.client_id`"),
    (&["batch.size"], "use `destination.delivery.batch_size`"),
    (&["linger.ms", "queue.buffering.max.ms"], "use `destination.delivery.linger`"),
    (&["compression.type", "compression.codec"], "use `destination.delivery.compression`"),
    (&["retry.backoff.ms", "retry.backoff.max.ms"], "use `destination.delivery.retry_backoff`"),
    (&["message.max.bytes"], "use `destination.delivery.max_request_size`"),
    (&["max.in.flight", "max.in.flight.requests.per.connection"], "use `destination.delivery.max_in_flight`"),
    (&["request.timeout.ms", "socket.timeout.ms"], "use `destination.delivery.request_timeout`"),
    (&["queue.buffering.max.kbytes"], "use `destination.delivery.buffer`"),
    (&["security.protocol"], "use `destination.security.protocol`"),
    (&["ssl.ca.location"], "use `destination.security.tls.ca_file`"),
    (&["ssl.ca.pem"], "use `destination.security.tls.ca_pem`"),
    (&["ssl.certificate.location"], "use `destination.security.tls.certificate_file`"),
    (&["ssl.certificate.pem"], "use `destination.security.tls.certificate_pem`"),
    (&["ssl.key.location"], "use `destination.security.tls.key_file`"),
    (&["ssl.key.pem"], "use `destination.security.tls.key_pem`"),
    (&["ssl.key.password"], "use `destination.security.tls.key_password`"),
    (&["ssl.keystore.location"], "use `destination.security.tls.keystore_file`"),
    (&["ssl.keystore.password"], "use `destination.security.tls.keystore_password`"),
    (&["ssl.endpoint.identification.algorithm"], "use `destination.security.tls.verify_hostname`"),
    (&["ssl.cipher.suites"], "use `destination.security.tls.cipher_suites`"),
    (&["sasl.mechanism", "sasl.mechanisms"], "use `destination.security.sasl.mechanism`"),
    (&["sasl.username"], "use `destination.security.sasl.username`"),
    (&["sasl.password"], "use `destination.security.sasl.password`"),
    (&["sasl.oauthbearer.method"], "use `destination.security.sasl.mechanism`"),
    (&["sasl.oauthbearer.token.endpoint.url"], "use `destination.security.sasl.token_endpoint`"),
    (
        &["sasl.oauthbearer.client.id", "sasl.oauthbearer.client.credentials.client.id"],
        "use `destination.security.sasl.client_id`",
    ),
    (
        &["sasl.oauthbearer.client.secret", "sasl.oauthbearer.client.credentials.client.secret"],
        "use `destination.security.sasl.client_secret`",
    ),
    (&["sasl.oauthbearer.scope"], "use `destination.security.sasl.scope`"),
    (
        &["sasl.oauthbearer.config"],
        "use `destination.security.sasl.mechanism` AWS_MSK_IAM with `destination.security.sasl.aws_region`",
    ),
    (&["sasl.kerberos.service.name"], "use `destination.security.sasl.kerberos_service_name`"),
    (&["sasl.kerberos.principal"], "use `destination.security.sasl.kerberos_principal`"),
    (&["sasl.kerberos.keytab"], "use `destination.security.sasl.kerberos_keytab`"),
    (&["https.ca.location", "https.ca.pem"], "use `destination.security.tls.ca_file`"),
];

/// A property as it is, unless it is one of Keyferry's own.
pub(crate) fn pass_through(name: &str, value: &str) -> Result<PropertyValue, Rejected> {
    if let Some((_, remedy)) = RESERVED.iter().find(|(names, _)| names.contains(&name)) {
        return Err(Rejected::Refused(format!("it cannot be passed through: {remedy}")));
    }
    if is_sensitive(name) {
        return Ok(PropertyValue::Secret(Secret::new(value)));
    }
    Ok(PropertyValue::Plain(value.to_owned()))
}

/// Pieces of names of properties whose values must not be shown.
const SENSITIVE: [&str; 6] = ["password", "passphrase", "secret", "private", "pem", "config"];

pub(crate) fn is_sensitive(name: &str) -> bool {
    SENSITIVE.iter().any(|piece| name.contains(piece))
}
