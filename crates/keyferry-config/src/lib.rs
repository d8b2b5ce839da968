//! Typed configuration: where values come from, what they may be, and what they become for librdkafka.
//!
//! The invariant: **whatever [`load`] returns can be used as it is, and whatever it refuses is named**: the option, where
//! its value comes from, what was expected. A configuration that merely lacks something is neither: the agent waits, and
//! [`Readiness::Incomplete`] tells what for.
//!
//! - [`Sources`]: the file, the environment and Keycloak's options, in the order of their weight;
//! - [`SETTINGS`]: the table of everything that can be set;
//! - [`DROP_IN`]: the table of what becomes of each setting of the listener that Keyferry replaces;
//! - [`change`]: how it changes while the agent runs;
//! - [`Config`]: the result, and [`librdkafka::properties`]: what the Kafka client is told.
//!
//! Secrets are of the type [`Secret`] from the first moment on and never part of a message.

mod api;
pub mod change;
mod ciphers;
mod class;
mod content;
mod draft;
mod dropin;
mod error;
mod file;
mod flow;
mod given;
mod input;
mod jaas;
pub mod librdkafka;
mod load;
mod model;
mod names;
mod origin;
mod provider;
pub mod reference;
mod registry;
pub mod schema;
mod secret;
mod security;
mod settings;
mod sources;
mod stores;
mod substitution;
pub mod units;

pub use api::{Api, ApiOidc, ApiTls, ApiToken, ApiTokens};
pub use class::Class;
pub use content::{Content, Filter, Redaction, Routing};
pub use dropin::{DROP_IN, DropIn, Property, Treatment};
pub use error::{ConfigError, ConfigErrors, Got, Warning};
pub use flow::{Backpressure, Breaker, EventTypes};
pub use given::{Given, Givens};
pub use load::{Loaded, load};
pub use model::{
    ClientCredentials, ClientIdentity, Compression, Config, Credentials, Delivery, Destination, Format,
    Headers, InDoubt, Journal, Log, LogFormat, LogLevel, Mechanism, Metrics, MissingOption, Otlp, Overflow,
    PlainText, Pool, PressureLevel, PropertyValue, Protocol, Readiness, RedactionPreset, Sasl, Secrets,
    Security, Settle, SubjectNameStrategy, Tls, TopicCare, TopicConfig, Trust, Tuner, TunerPreset,
    TunerProfile,
};
pub use names::{
    BootstrapServers, DestinationName, IllegalDestinationName, IllegalServers, IllegalTopicName, Server,
    TopicName,
};
pub use origin::Origin;
pub use provider::{PROVIDER_OPTIONS, ProviderOption};
pub use registry::{Registry, RegistryLogin, RegistryUrls};
pub use secret::{REDACTED, Secret};
pub use settings::{SETTINGS, Setting};
pub use sources::Sources;
pub use stores::{OpenStore, OpenedStore, StoreIdentity, StorePasswords};
pub use units::ByteSize;
