//! The values that were given, before they are checked against each other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::api::ApiDraft;
use crate::content::Content;
use crate::error::ConfigError;
use crate::flow::Breaker;
use crate::model::{
    Delivery, Headers, InDoubt, Journal, Log, Mechanism, Metrics, Pool, PropertyValue, Protocol, TopicCare,
    Tuner,
};
use crate::names::{BootstrapServers, DestinationName, TopicName};
use crate::registry::RegistryDraft;
use crate::secret::Secret;
use crate::stores::StoreFormat;

/// What the sources say of the agent as a whole, each value legal by itself.
#[derive(Default)]
pub(crate) struct AgentDraft {
    pub(crate) node: Option<String>,
    pub(crate) journal: Journal,
    pub(crate) api: ApiDraft,
    pub(crate) metrics: Metrics,
    pub(crate) log: Log,
    pub(crate) alerts_file: Option<PathBuf>,
    pub(crate) probation: Option<Duration>,
    pub(crate) config_topic: Option<TopicName>,
}

/// What the sources say of one destination, each value legal by itself.
pub(crate) struct DestinationDraft {
    pub(crate) name: Option<DestinationName>,
    pub(crate) bootstrap_servers: Option<BootstrapServers>,
    pub(crate) fallback_bootstrap_servers: Option<BootstrapServers>,
    pub(crate) topic_events: Option<TopicName>,
    pub(crate) topic_admin_events: Option<TopicName>,
    pub(crate) client_id: Option<String>,
    pub(crate) pool: Pool,
    pub(crate) topics: TopicCare,
    pub(crate) tuner: Tuner,
    pub(crate) delivery: Delivery,
    pub(crate) breaker: Breaker,
    pub(crate) security: SecurityDraft,
    pub(crate) content: Content,
    pub(crate) registry: RegistryDraft,
    pub(crate) headers: Headers,
    pub(crate) in_doubt: InDoubt,
    pub(crate) dead_letter_topic: Option<TopicName>,
    pub(crate) gap_records: bool,
    pub(crate) settle_delay: Duration,
    pub(crate) librdkafka: BTreeMap<String, PropertyValue>,
    /// Values whose references yield nothing.
    pub(crate) unresolved: Vec<ConfigError>,
}

/// What the sources say of encryption and authentication.
pub(crate) struct SecurityDraft {
    pub(crate) protocol: Protocol,
    pub(crate) tls: TlsDraft,
    pub(crate) sasl: SaslDraft,
}

/// What the sources say of TLS.
pub(crate) struct TlsDraft {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) ca_pem: Option<String>,
    pub(crate) truststore_type: Option<StoreFormat>,
    pub(crate) truststore_password: Option<Secret>,
    pub(crate) certificate_file: Option<PathBuf>,
    pub(crate) certificate_pem: Option<String>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) key_pem: Option<Secret>,
    pub(crate) key_password: Option<Secret>,
    pub(crate) keystore_file: Option<PathBuf>,
    pub(crate) keystore_password: Option<Secret>,
    pub(crate) keystore_type: Option<StoreFormat>,
    pub(crate) verify_hostname: bool,
    pub(crate) cipher_suites: Option<String>,
}

/// What the sources say of SASL.
#[derive(Default)]
pub(crate) struct SaslDraft {
    pub(crate) mechanism: Option<Mechanism>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) token_endpoint: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) client_secret: Option<Secret>,
    pub(crate) scope: Option<String>,
    pub(crate) aws_region: Option<String>,
    pub(crate) aws_profile: Option<String>,
    pub(crate) kerberos_service_name: Option<String>,
    pub(crate) kerberos_principal: Option<String>,
    pub(crate) kerberos_keytab: Option<PathBuf>,
    pub(crate) jaas_config: Option<Secret>,
}

impl Default for DestinationDraft {
    fn default() -> Self {
        Self {
            name: None,
            bootstrap_servers: None,
            fallback_bootstrap_servers: None,
            topic_events: None,
            topic_admin_events: None,
            client_id: None,
            pool: Pool::default(),
            topics: TopicCare::default(),
            tuner: Tuner::default(),
            delivery: Delivery::default(),
            breaker: Breaker::default(),
            security: SecurityDraft::default(),
            content: Content::default(),
            registry: RegistryDraft::default(),
            headers: Headers::CloudEvents,
            in_doubt: InDoubt::Publish,
            dead_letter_topic: None,
            gap_records: true,
            settle_delay: Duration::ZERO,
            librdkafka: BTreeMap::new(),
            unresolved: Vec::new(),
        }
    }
}

impl Default for SecurityDraft {
    fn default() -> Self {
        Self { protocol: Protocol::Plaintext, tls: TlsDraft::default(), sasl: SaslDraft::default() }
    }
}

impl Default for TlsDraft {
    fn default() -> Self {
        Self {
            ca_file: None,
            ca_pem: None,
            truststore_type: None,
            truststore_password: None,
            certificate_file: None,
            certificate_pem: None,
            key_file: None,
            key_pem: None,
            key_password: None,
            keystore_file: None,
            keystore_password: None,
            keystore_type: None,
            verify_hostname: true,
            cipher_suites: None,
        }
    }
}
