//! The configuration as the rest of the agent sees it.
//!
//! The invariant: **a [`Destination`] is complete and consistent**. There is no value of it that lacks its servers, names
//! a mechanism without credentials, or asks librdkafka for a weaker guarantee than Keyferry gives. What is not yet
//! complete is [`Readiness::Incomplete`] instead, and the agent waits.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::api::Api;
use crate::content::Content;
use crate::flow::{Backpressure, Breaker};
use crate::names::{BootstrapServers, DestinationName, TopicName};
use crate::registry::Registry;
use crate::secret::{REDACTED, Secret};
use crate::units::{ByteSize, serialize_duration};

/// Everything that the agent is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// The node's name, where a source gives it; the hand-over of the provider always does.
    pub node: Option<String>,
    /// Where the journal is.
    pub journal: Journal,
    /// Where the events go: every destination, in the order of the configuration. At least one, and no two of one name.
    pub destinations: Vec<Readiness>,
    /// How the agent can be reached over TCP.
    pub api: Api,
    /// Where metrics go.
    pub metrics: Metrics,
    /// What the agent says of itself.
    pub log: Log,
    /// The file with rules, channels, routes and playbooks for alerts and incidents.
    pub alerts_file: Option<PathBuf>,
    /// For how long it is watched whether a change of the configuration makes things worse.
    #[serde(serialize_with = "serialize_duration")]
    pub probation: Duration,
    /// The topic, in the first destination's cluster, by which all nodes are changed at once; `None` is none.
    pub config_topic: Option<TopicName>,
}

/// Where the journal is, how much of it is kept, and what the provider was told of it that the agent has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Journal {
    /// The journal directory. A child of the provider gets its slot in the hand-over instead.
    pub dir: Option<PathBuf>,
    /// For how long segments are kept after everything in them was delivered. Zero deletes them at once.
    #[serde(serialize_with = "serialize_duration")]
    pub keep: Duration,
    /// How much of what was delivered is kept at most in a slot; `None` is no limit.
    pub keep_size: Option<ByteSize>,
    /// Where delivered segments are moved by the action `move_segments`; `None` is nowhere.
    pub archive_directory: Option<PathBuf>,
    /// The size at which the provider begins its next segment.
    pub segment_size: ByteSize,
    /// How large the segments of a slot may become together; `None` is no ceiling.
    pub max_size: Option<ByteSize>,
    /// What gives way at the ceiling.
    pub overflow: Overflow,
    /// Whether the provider settles what is in doubt when it starts again.
    pub settle: Settle,
    /// When a destination that lags behind counts as how serious.
    pub backpressure: Backpressure,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            dir: None,
            keep: Duration::ZERO,
            keep_size: None,
            archive_directory: None,
            segment_size: ByteSize::mib(64),
            max_size: None,
            overflow: Overflow::DropNew,
            settle: Settle::None,
            backpressure: Backpressure::default(),
        }
    }
}

/// Whether a destination can be used.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// Everything that is needed is there.
    Complete(Box<Destination>),
    /// Something is missing. This is no error: the agent waits, and the journal keeps the events.
    Incomplete {
        /// The destination's name.
        name: DestinationName,
        /// What is missing, each with the way to give it. Never empty.
        missing: Vec<MissingOption>,
    },
    /// A reference in one of its values yields nothing. No error either: a secret that is not there yet must not stop the other destinations.
    Unresolved {
        /// The destination's name.
        name: DestinationName,
        /// Which references, where they stand, and why. Never empty.
        reasons: Vec<String>,
    },
}

impl Readiness {
    /// The destination's name.
    pub fn name(&self) -> &DestinationName {
        match self {
            Self::Complete(destination) => &destination.name,
            Self::Incomplete { name, .. } | Self::Unresolved { name, .. } => name,
        }
    }

    /// The destination, if it can be used.
    pub fn complete(&self) -> Option<&Destination> {
        match self {
            Self::Complete(destination) => Some(destination),
            Self::Incomplete { .. } | Self::Unresolved { .. } => None,
        }
    }
}

/// An option without which a destination cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingOption {
    /// The option of Keycloak, such as `bootstrap-servers`.
    pub option: &'static str,
    /// The environment variable, such as `KAFKA_BOOTSTRAP_SERVERS`.
    pub variable: String,
    /// The key in the configuration file, such as `destination.bootstrap_servers`.
    pub key: &'static str,
    /// Why it is needed, in a few words.
    pub purpose: &'static str,
    /// The destination that lacks it, as messages call it, where only the file can give it: option and variable speak to the first destination.
    pub of_destination: Option<String>,
}

impl fmt::Display for MissingOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, variable, key, purpose, of_destination } = self;
        if let Some(destination) = of_destination {
            return write!(
                f,
                "key `{key}` of {destination} is not set ({purpose}): set it in the configuration file; options and variables \
                 speak to the first destination only"
            );
        }
        write!(
            f,
            "option `{option}` is not set ({purpose}): set `--spi-events-listener--kafka--{option}`, \
             the variable {variable} or the key `{key}` of the configuration file"
        )
    }
}

/// A Kafka cluster, its topics, and how to get there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Destination {
    /// Names the destination in logs, metrics and its checkpoint file.
    pub name: DestinationName,
    /// The servers that the client asks first.
    pub bootstrap_servers: BootstrapServers,
    /// The servers that take their place when it is failed over.
    pub fallback_bootstrap_servers: Option<BootstrapServers>,
    /// The topic of user events.
    pub topic_events: TopicName,
    /// The topic of admin events; `None` means that they are not published.
    pub topic_admin_events: Option<TopicName>,
    /// How the client introduces itself to the brokers.
    pub client_id: String,
    /// How many connections there may be.
    pub pool: Pool,
    /// What is done about the topics.
    pub topics: TopicCare,
    /// What batching is fitted to.
    pub tuner: Tuner,
    /// Batching, retries and limits.
    pub delivery: Delivery,
    /// When sending is interrupted.
    pub breaker: Breaker,
    /// Encryption and authentication.
    pub security: Security,
    /// What of the events it gets, and what of an event a record tells.
    pub content: Content,
    /// The schema registry. There is one where the format needs it.
    pub registry: Option<Registry>,
    /// Which headers a record carries.
    pub headers: Headers,
    /// What becomes of events whose transaction has no known outcome.
    pub in_doubt: InDoubt,
    /// The topic for records that can never be delivered where they belong; `None` is a file.
    pub dead_letter_topic: Option<TopicName>,
    /// Whether a record tells consumers of events that are missing in the stream.
    pub gap_records: bool,
    /// How old events are at least when they are published.
    #[serde(serialize_with = "serialize_duration")]
    pub settle_delay: Duration,
    /// Properties that are handed to librdkafka as they are, on top of those that Keyferry sets.
    pub librdkafka: BTreeMap<String, PropertyValue>,
    /// The keys that a source gives a value, such as `destination.delivery.linger`. All others have their defaults.
    #[serde(skip)]
    pub given: BTreeSet<String>,
}

impl Destination {
    /// Whether a source gives the setting with this key, so that nobody else may choose its value.
    pub fn is_given(&self, key: &str) -> bool {
        self.given.contains(key)
    }

    /// The same by its other servers; `None` if it has none.
    pub fn by_fallback(&self) -> Option<Self> {
        let bootstrap_servers = self.fallback_bootstrap_servers.clone()?;
        Some(Self { bootstrap_servers, ..self.clone() })
    }
}

/// How many connections to one destination there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// The least, and how many there are at first.
    pub min_connections: u8,
    /// The most. Less than the least counts as the least.
    pub max_connections: u8,
}

impl Default for Pool {
    fn default() -> Self {
        Self { min_connections: 1, max_connections: 4 }
    }
}

/// What is done about the topics of one destination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TopicCare {
    /// Whether topics that do not exist are created.
    pub create: bool,
    /// How many partitions a created topic gets; `None` is the broker's default.
    pub partitions: Option<u16>,
    /// How many brokers keep each of them; `None` is the broker's default.
    pub replication: Option<u16>,
    /// The configuration of a created topic where it differs from the broker's default.
    pub config: TopicConfig,
    /// For how long consumers may be away without missing anything; zero is not to be checked.
    #[serde(serialize_with = "serialize_duration")]
    pub outage_budget: Duration,
}

/// Entries of a topic's configuration, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TopicConfig(BTreeMap<String, String>);

impl TopicConfig {
    /// The entries, as names and values.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromStr for TopicConfig {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entry = |entry: &str| {
            let (name, value) = entry.split_once('=')?;
            let (name, value) = (name.trim(), value.trim());
            let is_name =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.');
            (is_name && !value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
        };
        let entries: Option<BTreeMap<_, _>> = text.split(';').map(entry).collect();
        entries.map(Self).ok_or("entries `name=value`, separated by semicolons")
    }
}

/// What the batching of one destination is fitted to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tuner {
    /// What it aims at; `None` is what the preset stands for, or [`TunerProfile::Auto`].
    pub profile: Option<TunerProfile>,
    /// A scenario that stands for a profile and some settings.
    pub preset: Option<TunerPreset>,
    /// Whether nothing is moved while the agent runs.
    pub frozen: bool,
}

/// Batching, retries and limits of one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The largest batch of records for one partition.
    pub batch_size: ByteSize,
    /// How long a record may wait for its batch to fill.
    #[serde(serialize_with = "serialize_duration")]
    pub linger: Duration,
    /// How batches are compressed.
    pub compression: Compression,
    /// The pause before a failed request is sent again; doubled up to one second, or this value where it is more.
    #[serde(serialize_with = "serialize_duration")]
    pub retry_backoff: Duration,
    /// The age at which an undelivered record makes the agent declare the destination failing. The record is *not*
    /// given up: the journal keeps it, and librdkafka goes on trying.
    #[serde(serialize_with = "serialize_duration")]
    pub delivery_timeout: Duration,
    /// The largest request, and thereby the largest record, that is sent.
    pub max_request_size: ByteSize,
    /// How many requests may be unanswered on a connection: 1 to 5, the range in which Kafka keeps their order.
    pub max_in_flight: u8,
    /// How long a broker may take to answer a request.
    #[serde(serialize_with = "serialize_duration")]
    pub request_timeout: Duration,
    /// How much the client may hold in memory.
    pub buffer: ByteSize,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            batch_size: ByteSize::kib(64),
            linger: Duration::from_millis(10),
            compression: Compression::Lz4,
            retry_backoff: Duration::from_secs(1),
            delivery_timeout: Duration::from_secs(120),
            max_request_size: ByteSize::mib(1),
            max_in_flight: 5,
            request_timeout: Duration::from_secs(30),
            buffer: ByteSize::mib(32),
        }
    }
}

/// An enumeration whose values have a fixed spelling in every source.
macro_rules! keyword {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value's spelling.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl crate::input::Keyword for $name {
            const ALL: &'static [Self] = Self::ALL;

            fn spelling(self) -> &'static str {
                self.as_str()
            }
        }
    };
}

keyword! {
    /// How serious a lag is.
    PressureLevel {
        /// Throughput matters more than latency.
        Elevated = "elevated",
        /// What can wait shall wait.
        High = "high",
        /// The journal will be full soon.
        Critical = "critical",
    }
}

keyword! {
    /// How batches are compressed.
    Compression {
        /// Not at all.
        None = "none",
        /// gzip.
        Gzip = "gzip",
        /// Snappy.
        Snappy = "snappy",
        /// LZ4.
        Lz4 = "lz4",
        /// Zstandard.
        Zstd = "zstd",
    }
}

keyword! {
    /// What the batching of a destination is fitted to.
    TunerProfile {
        /// What the moment asks for.
        Auto = "auto",
        /// A record leaves at once.
        Latency = "latency",
        /// A compromise that never moves.
        Balanced = "balanced",
        /// As many records as possible for the processor time.
        Throughput = "throughput",
        /// As little as possible under way at once.
        Reliability = "reliability",
    }
}

keyword! {
    /// A scenario that stands for a profile and some settings.
    TunerPreset {
        /// Many logins at certain hours.
        HighVolumeLogin = "high-volume-login",
        /// Somebody looks at a screen.
        RealTimeMonitoring = "real-time-monitoring",
        /// Evidence.
        Audit = "audit",
        /// One developer.
        Development = "development",
    }
}

keyword! {
    /// Which headers a record carries.
    Headers {
        /// CloudEvents 1.0 in binary mode, with Keyferry's own beside them.
        CloudEvents = "cloudevents",
        /// Only what tells a copy from a new record and a doubtful one from a sure one.
        Minimal = "minimal",
        /// None, as the listener that Keyferry replaces.
        None = "none",
    }
}

keyword! {
    /// What a record's value looks like.
    #[derive(Default)]
    Format {
        /// Keycloak's own JSON.
        #[default]
        Keycloak = "keycloak",
        /// CloudEvents 1.0 in structured mode, with Keycloak's JSON as data.
        CloudEvents = "cloudevents",
        /// The Open Cybersecurity Schema Framework.
        Ocsf = "ocsf",
        /// The Elastic Common Schema.
        Ecs = "ecs",
        /// Avro, by a schema of a registry.
        Avro = "avro",
        /// Protobuf, by a schema of a registry.
        Protobuf = "protobuf",
        /// JSON, by a schema of a registry.
        JsonSchema = "json-schema",
    }
}

impl Format {
    /// Whether consumers read its values by a schema that a registry has.
    pub const fn needs_registry(self) -> bool {
        matches!(self, Self::Avro | Self::Protobuf | Self::JsonSchema)
    }
}

keyword! {
    /// What the subjects of a schema registry are named after.
    #[derive(Default)]
    SubjectNameStrategy {
        /// The topic.
        #[default]
        Topic = "topic",
        /// The record.
        Record = "record",
        /// Both.
        TopicRecord = "topic-record",
    }
}

keyword! {
    /// What becomes of secrets in the representations and details of events.
    #[derive(Default)]
    Secrets {
        /// They are masked, as Keycloak masks those that it knows of.
        #[default]
        Mask = "mask",
        /// They are published, as by the listener that Keyferry replaces.
        Keep = "keep",
    }
}

keyword! {
    /// Rules of redaction under one name.
    RedactionPreset {
        /// Who it was cannot be told without the key, and each person stays one person.
        GdprPseudonymous = "gdpr-pseudonymous",
        /// Admin events say what was changed, not to what.
        NoRepresentation = "no-representation",
    }
}

keyword! {
    /// What becomes of events whose transaction has no known outcome, because Keycloak died within it.
    InDoubt {
        /// They are published, marked with the outcome `unknown`.
        Publish = "publish",
        /// They are counted and dropped.
        Drop = "drop",
        /// They are laid aside until an operator decides.
        Hold = "hold",
    }
}

keyword! {
    /// What gives way when the journal has reached its ceiling.
    Overflow {
        /// New events: they are counted, and Keycloak goes on.
        DropNew = "drop-new",
        /// Keycloak's transactions: they fail.
        Refuse = "refuse",
        /// The oldest events that were not delivered: they are counted and given up.
        DropOld = "drop-old",
    }
}

keyword! {
    /// How the provider settles transactions without an outcome when it starts again.
    Settle {
        /// It does not.
        None = "none",
        /// It asks Keycloak's event store.
        EventStore = "event-store",
    }
}

keyword! {
    /// How the client and the brokers talk. The names are Kafka's.
    Protocol {
        /// Neither encrypted nor authenticated.
        Plaintext = "PLAINTEXT",
        /// TLS.
        Ssl = "SSL",
        /// SASL without encryption.
        SaslPlaintext = "SASL_PLAINTEXT",
        /// SASL over TLS.
        SaslSsl = "SASL_SSL",
    }
}

impl Protocol {
    /// Whether connections are encrypted.
    pub const fn uses_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether the client authenticates by SASL.
    pub const fn uses_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

keyword! {
    /// How the client proves who it is. The names are SASL's.
    Mechanism {
        /// User and password.
        Plain = "PLAIN",
        /// User and salted password, SHA-256.
        ScramSha256 = "SCRAM-SHA-256",
        /// User and salted password, SHA-512.
        ScramSha512 = "SCRAM-SHA-512",
        /// A token from an OpenID Connect issuer, by client credentials.
        OAuthBearer = "OAUTHBEARER",
        /// AWS credentials, as Amazon MSK takes them.
        AwsMskIam = "AWS_MSK_IAM",
        /// Kerberos.
        Gssapi = "GSSAPI",
    }
}

keyword! {
    /// The least severe message that is logged.
    LogLevel {
        /// Only errors.
        Error = "error",
        /// Also warnings.
        Warn = "warn",
        /// Also what an operator wants to know in normal operation.
        Info = "info",
        /// Also what a developer wants to know.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

keyword! {
    /// The form of the log.
    LogFormat {
        /// Lines for people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

keyword! {
    /// Where the API may be served without encryption.
    PlainText {
        /// Where only this machine reaches it.
        Loopback = "loopback",
        /// Anywhere, because something else encrypts it.
        Anywhere = "anywhere",
    }
}

/// Where metrics go, besides the Unix socket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// The address of an HTTP server that has nothing but `/metrics`; `None` is none.
    pub listen: Option<SocketAddr>,
    /// Whether and how they are pushed.
    pub otlp: Otlp,
}

/// How metrics are pushed to a collector of OpenTelemetry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Otlp {
    /// The URL that takes metrics; `None` is none.
    pub endpoint: Option<String>,
    /// How often.
    #[serde(serialize_with = "serialize_duration")]
    pub interval: Duration,
    /// What is sent along: `name=value`, separated by commas. References are not resolved yet: see [`Otlp::headers`].
    pub headers: Option<Secret>,
}

impl Default for Otlp {
    fn default() -> Self {
        Self { endpoint: None, interval: Duration::from_secs(60), headers: None }
    }
}

impl Otlp {
    /// Name and value of each header in a list whose references are resolved; `None` in the place of what is none.
    pub fn headers(list: &Secret) -> impl Iterator<Item = Option<(&str, &str)>> {
        pairs(list.expose())
    }
}

/// The pairs of a list `name=value,…`; `None` in the place of what is none.
pub(crate) fn pairs(list: &str) -> impl Iterator<Item = Option<(&str, &str)>> {
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').map(|(name, value)| (name.trim(), value.trim())))
}

/// What the agent says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Log {
    /// The least severe message that is logged.
    pub level: LogLevel,
    /// The form of the log. A child of the provider always writes JSON.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Text }
    }
}

/// Encryption and authentication of one destination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Security {
    /// Encryption; `None` is plain text.
    pub tls: Option<Tls>,
    /// Authentication by SASL.
    pub sasl: Option<Sasl>,
}

impl Security {
    /// The files that the Kafka client reads itself: certificates and keys in PEM.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let trust = self.tls.iter().filter_map(|tls| match &tls.trust {
            Trust::File(path) => Some(path),
            Trust::System | Trust::Pem(_) => None,
        });
        let identity = self.tls.iter().filter_map(|tls| match &tls.identity {
            Some(ClientIdentity::PemFiles { certificate, key, .. }) => Some([certificate, key]),
            Some(ClientIdentity::Pem { .. }) | None => None,
        });
        trust.chain(identity.flatten()).map(PathBuf::as_path)
    }

    /// Kafka's name for the combination.
    pub const fn protocol(&self) -> Protocol {
        match (&self.tls, &self.sasl) {
            (None, None) => Protocol::Plaintext,
            (Some(_), None) => Protocol::Ssl,
            (None, Some(_)) => Protocol::SaslPlaintext,
            (Some(_), Some(_)) => Protocol::SaslSsl,
        }
    }
}

/// TLS to the brokers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// Which authorities are believed.
    pub trust: Trust,
    /// The client's own certificate, where the brokers ask for one.
    pub identity: Option<ClientIdentity>,
    /// Whether the broker's certificate must carry the name that was connected to.
    pub verify_hostname: bool,
    /// The cipher suites of TLS 1.2, by their OpenSSL names and separated by colons; `None` leaves the choice to OpenSSL.
    pub cipher_suites: Option<String>,
}

/// Which certificate authorities are believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Those of the operating system.
    System,
    /// Those in a PEM file, or in a directory of such.
    File(PathBuf),
    /// Those in this PEM text.
    Pem(String),
}

/// The client's own certificate and key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientIdentity {
    /// Two PEM files, or one that holds both.
    PemFiles {
        /// The certificate and its chain.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
        /// The private key's password, if it has one.
        key_password: Option<Secret>,
    },
    /// PEM texts.
    Pem {
        /// The certificate and its chain.
        certificate: String,
        /// The private key.
        key: Secret,
        /// The private key's password, if it has one.
        key_password: Option<Secret>,
    },
}

/// Authentication by SASL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sasl {
    /// User and password.
    Plain(Credentials),
    /// User and salted password, SHA-256.
    ScramSha256(Credentials),
    /// User and salted password, SHA-512.
    ScramSha512(Credentials),
    /// A token from an OpenID Connect issuer.
    OAuthBearer(ClientCredentials),
    /// AWS credentials, as Amazon MSK takes them.
    AwsMskIam(AwsMskIam),
    /// Kerberos.
    Gssapi(Kerberos),
}

impl Sasl {
    /// SASL's name for it.
    pub const fn mechanism(&self) -> Mechanism {
        match self {
            Self::Plain(_) => Mechanism::Plain,
            Self::ScramSha256(_) => Mechanism::ScramSha256,
            Self::ScramSha512(_) => Mechanism::ScramSha512,
            Self::OAuthBearer(_) => Mechanism::OAuthBearer,
            Self::AwsMskIam(_) => Mechanism::AwsMskIam,
            Self::Gssapi(_) => Mechanism::Gssapi,
        }
    }
}

/// A user and a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// What a token is asked for with: OAuth 2.0 client credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientCredentials {
    /// The issuer's token endpoint.
    pub token_endpoint: String,
    /// The client's id at the issuer.
    pub client_id: String,
    /// The client's secret at the issuer.
    pub client_secret: Secret,
    /// The scope that is asked for, if any.
    pub scope: Option<String>,
}

/// Where AWS credentials are used, and which. The credentials themselves are no part of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AwsMskIam {
    /// The cluster's region.
    pub region: String,
    /// The profile of the shared credentials file; `None` for the first credentials that are found.
    pub profile: Option<String>,
}

/// Who the client is for Kerberos.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kerberos {
    /// The first part of the brokers' principal.
    pub service_name: String,
    /// The client's principal.
    pub principal: String,
    /// The client's keys.
    pub keytab: PathBuf,
}

/// The value of a librdkafka property.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PropertyValue {
    /// May be shown.
    Plain(String),
    /// Must not be shown.
    Secret(Secret),
}

impl PropertyValue {
    /// The same value, not to be shown.
    pub(crate) fn hidden(self) -> Self {
        match self {
            Self::Plain(value) => Self::Secret(Secret::new(value)),
            secret @ Self::Secret(_) => secret,
        }
    }

    /// The value itself, for the Kafka client.
    pub fn expose(&self) -> &str {
        match self {
            Self::Plain(value) => value,
            Self::Secret(secret) => secret.expose(),
        }
    }
}

impl fmt::Debug for PropertyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(value) => fmt::Debug::fmt(value, f),
            Self::Secret(_) => f.write_str(REDACTED),
        }
    }
}
