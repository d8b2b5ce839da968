//! What becomes of each setting of the listener that Keyferry replaces (SnuK87/keycloak-kafka).
//!
//! The invariant: **a configuration that worked there works here, and every setting of it has a stated fate**: translated,
//! ignored with its reason, or refused with its replacement. `docs/drop-in.md` is generated from this table.

use crate::error::Warning;
use crate::input::{Input, ParseResult, Parsed, Rejected, expected};
use crate::origin::Origin;

/// The prefix of the replaced listener's variables.
pub(crate) const VARIABLE_PREFIX: &str = "KAFKA_";

/// One setting of the replaced listener, or one of Kafka's Java client that belongs to it.
pub struct DropIn {
    /// Kafka's name, such as `linger.ms`; `None` for the listener's own options.
    pub kafka: Option<&'static str>,
    /// The option of Keycloak, such as `linger-ms`.
    pub option: &'static str,
    /// The variable, such as `KAFKA_LINGER_MS`.
    pub variable: &'static str,
    /// What becomes of it.
    pub treatment: Treatment,
}

/// What becomes of a setting.
pub enum Treatment {
    /// It sets a setting of Keyferry's.
    Setting {
        /// That setting's key.
        key: &'static str,
        /// What differs, if anything.
        note: &'static str,
    },
    /// It sets a property of librdkafka's.
    Property(Property),
    /// It is always as Keyferry's promises need it; another value is overruled with a warning.
    Fixed {
        /// The values that need no warning.
        accepted: &'static [&'static str],
        /// What holds, and why.
        reason: &'static str,
    },
    /// It names Java classes; those in the list have their counterpart, any other is refused.
    JavaClass {
        /// The class's name without its package, and why it has no effect beyond that (empty: it has).
        known: &'static [(&'static str, &'static str)],
        /// What to do instead of any other class.
        replacement: &'static str,
    },
    /// It has no effect.
    Ignored {
        /// Why.
        reason: &'static str,
    },
    /// It belongs to the provider, which reads it itself.
    Provider {
        /// What it is.
        purpose: &'static str,
    },
}

/// A property of librdkafka's and how its value is translated.
pub struct Property {
    /// librdkafka's name.
    pub name: &'static str,
    /// What differs in the value, if anything.
    pub note: &'static str,
    pub(crate) translate: fn(Input<'_>) -> ParseResult<String>,
}

impl DropIn {
    /// The entry with this option of Keycloak.
    pub fn by_option(option: &str) -> Option<&'static Self> {
        DROP_IN.iter().find(|entry| entry.option == option)
    }

    /// The entry with this variable.
    pub fn by_variable(variable: &str) -> Option<&'static Self> {
        DROP_IN.iter().find(|entry| entry.variable == variable)
    }

    /// What is to be said of a value that sets nothing.
    pub(crate) fn check(&self, value: &str, origin: &Origin) -> Result<Option<Warning>, Rejected> {
        let (option, origin) = (self.option.to_owned(), origin.clone());
        Ok(match &self.treatment {
            Treatment::Fixed { accepted, reason } => {
                let fits = accepted.iter().any(|accepted| accepted.eq_ignore_ascii_case(value.trim()));
                (!fits).then(|| Warning::Overruled { option, origin, reason: (*reason).to_owned() })
            }
            Treatment::JavaClass { known, replacement } => {
                let reason = java_classes(value, known, replacement)?.to_owned();
                (!reason.is_empty()).then_some(Warning::Ignored { option, origin, reason })
            }
            Treatment::Ignored { reason } => {
                Some(Warning::Ignored { option, origin, reason: (*reason).to_owned() })
            }
            Treatment::Setting { .. } | Treatment::Property(_) | Treatment::Provider { .. } => None,
        })
    }

    /// The entry that sets the setting with this key.
    pub fn by_key(key: &str) -> Option<&'static Self> {
        DROP_IN
            .iter()
            .find(|entry| matches!(entry.treatment, Treatment::Setting { key: known, .. } if known == key))
    }
}

const NO_TRANSACTIONS: &str =
    "Keyferry uses no Kafka transactions: every copy of a record carries the same id and sequence number";
const KERBEROS: &str = "tickets are renewed by librdkafka, on a schedule of its own";
const JAVA_TLS: &str = "it chooses a part of Java's TLS, and the agent uses OpenSSL";
const TOKEN_REFRESH: &str = "librdkafka refreshes a token by itself when 80 % of its life are over";
const JAVA_METRICS: &str = "it belongs to the metrics of Kafka's Java client; Keyferry has its own";
const DRAWN_LOTS: &str = "records are placed by their key, because those of one user must keep their order";

/// Every setting, in the order of the documentation: first the listener's own options, then Kafka's by name.
pub static DROP_IN: &[DropIn] = &[
    own("topic-events", "KAFKA_TOPIC", "destination.topic_events"),
    own("topic-admin-events", "KAFKA_ADMIN_TOPIC", "destination.topic_admin_events"),
    own("bootstrap-servers", "KAFKA_BOOTSTRAP_SERVERS", "destination.bootstrap_servers"),
    own("client-id", "KAFKA_CLIENT_ID", "destination.client_id"),
    DropIn {
        kafka: None,
        option: "events",
        variable: "KAFKA_EVENTS",
        treatment: Treatment::Provider { purpose: "the types of user events that are journaled" },
    },
    DropIn {
        kafka: Some("acks"),
        option: "acks",
        variable: "KAFKA_ACKS",
        treatment: Treatment::Fixed {
            accepted: &["all", "-1"],
            reason: "it is always `all`: with less, a broker's loss takes records with it that were acknowledged, and \
                     Keyferry promises that nothing is lost. Keycloak does not wait for it",
        },
    },
    DropIn {
        kafka: Some("batch.size"),
        option: "batch-size",
        variable: "KAFKA_BATCH_SIZE",
        treatment: Treatment::Setting { key: "destination.delivery.batch_size", note: "" },
    },
    DropIn {
        kafka: Some("buffer.memory"),
        option: "buffer-memory",
        variable: "KAFKA_BUFFER_MEMORY",
        treatment: Treatment::Setting {
            key: "destination.delivery.buffer",
            note: "taken to the nearest value from 1 MiB to 1 GiB; a full buffer holds up the agent, never Keycloak",
        },
    },
    DropIn {
        kafka: Some("client.dns.lookup"),
        option: "client-dns-lookup",
        variable: "KAFKA_CLIENT_DNS_LOOKUP",
        treatment: Treatment::Property(Property {
            name: "client.dns.lookup",
            note: "`default`, which Kafka has removed, becomes `use_all_dns_ips`",
            translate: dns_lookup,
        }),
    },
    DropIn {
        kafka: Some("compression.type"),
        option: "compression-type",
        variable: "KAFKA_COMPRESSION_TYPE",
        treatment: Treatment::Setting { key: "destination.delivery.compression", note: "" },
    },
    DropIn {
        kafka: Some("connections.max.idle.ms"),
        option: "connections-max-idle-ms",
        variable: "KAFKA_CONNECTION_MAX_IDLE_MS",
        treatment: Treatment::Property(Property {
            name: "connections.max.idle.ms",
            note: "`-1` (never) becomes `0`",
            translate: |input| whole(input, 0, i32::MAX as u64, "milliseconds"),
        }),
    },
    DropIn {
        kafka: Some("delivery.timeout.ms"),
        option: "delivery-timeout-ms",
        variable: "KAFKA_DELIVERY_TIMEOUT_MS",
        treatment: Treatment::Setting {
            key: "destination.delivery.delivery_timeout",
            note: "the age at which the destination is declared failing. No record is given up at it: the journal keeps \
                   the record, and `message.timeout.ms` of librdkafka is 0 (endless), because a record that timed out \
                   while a later one of the same key got through would break their order",
        },
    },
    DropIn {
        kafka: Some("enable.idempotence"),
        option: "enable-idempotence",
        variable: "KAFKA_ENABLE_IDEMPOTENCE",
        treatment: Treatment::Fixed {
            accepted: &["true"],
            reason: "it is always `true`: without it a retry can double records and change their order",
        },
    },
    DropIn {
        kafka: Some("interceptor.classes"),
        option: "interceptor-classes",
        variable: "KAFKA_INTERCEPTOR_CLASS",
        treatment: Treatment::JavaClass {
            known: &[],
            replacement: "Java code cannot run in the agent. Remove the option; what the interceptor did to the records \
                          has to be done by a consumer, or by Kafka Connect or Streams behind the topic",
        },
    },
    DropIn {
        kafka: Some("linger.ms"),
        option: "linger-ms",
        variable: "KAFKA_LINGER_MS",
        treatment: Treatment::Setting { key: "destination.delivery.linger", note: "" },
    },
    ignored(
        "max.block.ms",
        "max-block-ms",
        "KAFKA_MAX_BLOCK_MS",
        "nothing blocks: Keycloak writes to the journal and never waits for Kafka",
    ),
    DropIn {
        kafka: Some("max.in.flight.requests.per.connection"),
        option: "max-in-flight-requests-per-connection",
        variable: "KAFKA_MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION",
        treatment: Treatment::Setting {
            key: "destination.delivery.max_in_flight",
            note: "taken to the nearest value from 1 to 5, as idempotence needs it",
        },
    },
    DropIn {
        kafka: Some("max.request.size"),
        option: "max-request-size",
        variable: "KAFKA_MAX_REQUEST_SIZE",
        treatment: Treatment::Setting {
            key: "destination.delivery.max_request_size",
            note: "becomes `message.max.bytes`",
        },
    },
    DropIn {
        kafka: Some("metadata.max.age.ms"),
        option: "metadata-max-age-ms",
        variable: "KAFKA_METADATA_MAX_AGE_MS",
        treatment: Treatment::Property(Property {
            name: "topic.metadata.refresh.interval.ms",
            note: "librdkafka's own `metadata.max.age.ms` is the life of a cache and follows from it; at most one hour",
            translate: |input| whole(input, 1, 3_600_000, "milliseconds"),
        }),
    },
    ignored(
        "metadata.max.idle.ms",
        "metadata-max-idle-ms",
        "KAFKA_METADATA_MAX_IDLE_MS",
        "librdkafka keeps what it knows of the one or two topics",
    ),
    ignored("metric.reporters", "metric-reporters", "KAFKA_METRIC_REPORTERS", JAVA_METRICS),
    ignored("metrics.num.samples", "metrics-num-samples", "KAFKA_METRIC_NUM_SAMPLES", JAVA_METRICS),
    ignored(
        "metrics.recording.level",
        "metrics-recording-level",
        "KAFKA_METRICS_RECORDING_LEVEL",
        JAVA_METRICS,
    ),
    ignored(
        "metrics.sample.window.ms",
        "metrics-sample-window-ms",
        "KAFKA_METRICS_SAMPLE_WINDOW_MS",
        JAVA_METRICS,
    ),
    DropIn {
        kafka: Some("partitioner.class"),
        option: "partitioner-class",
        variable: "KAFKA_PARTITIONER_CLASS",
        treatment: Treatment::JavaClass {
            known: &[
                ("DefaultPartitioner", ""),
                ("BuiltInPartitioner", ""),
                ("RoundRobinPartitioner", DRAWN_LOTS),
                ("UniformStickyPartitioner", DRAWN_LOTS),
            ],
            replacement: "Java code cannot run in the agent. Remove the option (records are then placed as Kafka's Java \
                          client does it, by murmur2 of the key), or choose one of librdkafka's with the key \
                          `destination.librdkafka.partitioner`",
        },
    },
    DropIn {
        kafka: Some("receive.buffer.bytes"),
        option: "receive-buffer-bytes",
        variable: "KAFKA_RECEIVE_BUFFER_BYTES",
        treatment: Treatment::Property(Property {
            name: "socket.receive.buffer.bytes",
            note: "`-1` (the operating system's) becomes `0`",
            translate: |input| whole(input, 0, 100_000_000, "bytes"),
        }),
    },
    DropIn {
        kafka: Some("reconnect.backoff.max.ms"),
        option: "reconnect-backoff-max-ms",
        variable: "KAFKA_RECONNECT_BACKOFF_MAX_MS",
        treatment: Treatment::Property(Property {
            name: "reconnect.backoff.max.ms",
            note: "more than the default of 1,000 delays the recovery after an outage",
            translate: |input| whole(input, 0, 3_600_000, "milliseconds"),
        }),
    },
    DropIn {
        kafka: Some("reconnect.backoff.ms"),
        option: "reconnect-backoff-ms",
        variable: "KAFKA_RECONNECT_BACKOFF_MS",
        treatment: Treatment::Property(Property {
            name: "reconnect.backoff.ms",
            note: "",
            translate: |input| whole(input, 0, 3_600_000, "milliseconds"),
        }),
    },
    DropIn {
        kafka: Some("request.timeout.ms"),
        option: "request-timeout-ms",
        variable: "KAFKA_REQUEST_TIMEOUT_MS",
        treatment: Treatment::Setting {
            key: "destination.delivery.request_timeout",
            note: "becomes `request.timeout.ms` (the broker's patience) and `socket.timeout.ms` (the client's)",
        },
    },
    DropIn {
        kafka: Some("retries"),
        option: "retries",
        variable: "KAFKA_RETRIES",
        treatment: Treatment::Fixed {
            accepted: &["2147483647"],
            reason: "there is no limit: a record is retried until Kafka has it, because giving up would lose it",
        },
    },
    DropIn {
        kafka: Some("retry.backoff.ms"),
        option: "retry-backoff-ms",
        variable: "KAFKA_RETRY_BACKOFF_MS",
        treatment: Treatment::Setting { key: "destination.delivery.retry_backoff", note: "" },
    },
    DropIn {
        kafka: Some("sasl.client.callback.handler.class"),
        option: "sasl-client-callback-handler-class",
        variable: "KAFKA_SASL_CLIENT_CALLBACK_HANDLER_CLASS",
        treatment: Treatment::JavaClass {
            known: &[
                ("OAuthBearerSaslClientCallbackHandler", "OAUTHBEARER with client credentials is built in"),
                ("IAMClientCallbackHandler", "AWS_MSK_IAM is built in"),
            ],
            replacement: "Java code cannot run in the agent. Remove the option and give user and password, or client id \
                          and secret, in `sasl-jaas-config`",
        },
    },
    DropIn {
        kafka: Some("sasl.jaas.config"),
        option: "sasl-jaas-config",
        variable: "KAFKA_SASL_JAAS_CONFIG",
        treatment: Treatment::Setting {
            key: "destination.security.sasl.jaas_config",
            note: "`PlainLoginModule` and `ScramLoginModule` (`username`, `password`) and `OAuthBearerLoginModule` \
                   (`clientId`, `clientSecret`, `scope`; also Strimzi's `oauth.client.id`, `oauth.client.secret`, \
                   `oauth.scope`, `oauth.token.endpoint.uri`) and MSK's `IAMLoginModule` (`awsProfileName`) are understood, and \
                   `Krb5LoginModule` (`principal`, `keyTab`, `serviceName`) where the agent is built with Kerberos; any \
                   other module is refused",
        },
    },
    ignored("sasl.kerberos.kinit.cmd", "sasl-kerberos-kinit-cmd", "KAFKA_SASL_KERBEROS_KINIT_CMD", KERBEROS),
    ignored(
        "sasl.kerberos.min.time.before.relogin",
        "sasl-kerberos-min-time-before-relogin",
        "KAFKA_SASL_KERBEROS_MIN_TIME_BEFORE_RELOGIN",
        KERBEROS,
    ),
    DropIn {
        kafka: Some("sasl.kerberos.service.name"),
        option: "sasl-kerberos-service-name",
        variable: "KAFKA_SASL_KERBEROS_SERVICE_NAME",
        treatment: Treatment::Setting {
            key: "destination.security.sasl.kerberos_service_name",
            note: "only where the agent is built with Kerberos",
        },
    },
    ignored(
        "sasl.kerberos.ticket.renew.jitter",
        "sasl-kerberos-ticket-renew-jitter",
        "KAFKA_SASL_KERBEROS_TICKET_RENEW_JITTER",
        KERBEROS,
    ),
    ignored(
        "sasl.kerberos.ticket.renew.window.factor",
        "sasl-kerberos-ticket-renew-window-factor",
        "KAFKA_SASL_KERBEROS_TICKET_RENEW_WINDOW_FACTOR",
        KERBEROS,
    ),
    DropIn {
        kafka: Some("sasl.login.callback.handler.class"),
        option: "sasl-login-callback-handler-class",
        variable: "KAFKA_SASL_LOGIN_CALLBACK_HANDLER_CLASS",
        treatment: Treatment::JavaClass {
            known: &[("OAuthBearerLoginCallbackHandler", ""), ("JaasClientOauthLoginCallbackHandler", "")],
            replacement: "Java code cannot run in the agent. Remove the option; for OAUTHBEARER give client id and \
                          secret in `sasl-jaas-config` and the issuer in `sasl-oauthbearer-token-endpoint-url`",
        },
    },
    DropIn {
        kafka: Some("sasl.login.class"),
        option: "sasl-login-class",
        variable: "KAFKA_SASL_LOGIN_CLASS",
        treatment: Treatment::JavaClass {
            known: &[],
            replacement: "Java code cannot run in the agent. Remove the option",
        },
    },
    ignored(
        "sasl.login.refresh.buffer.seconds",
        "sasl-login-refresh-buffer-seconds",
        "KAFKA_SASL_LOGIN_REFRESH_BUFFER_SECONDS",
        TOKEN_REFRESH,
    ),
    ignored(
        "sasl.login.refresh.min.period.seconds",
        "sasl-login-refresh-min-period-seconds",
        "KAFKA_SASL_LOGIN_REFRESH_MIN_PERIOD_SECONDS",
        TOKEN_REFRESH,
    ),
    ignored(
        "sasl.login.refresh.window.factor",
        "sasl-login-refresh-window-factor",
        "KAFKA_SASL_LOGIN_REFRESH_WINDOW_FACTOR",
        TOKEN_REFRESH,
    ),
    ignored(
        "sasl.login.refresh.window.jitter",
        "sasl-login-refresh-window-jitter",
        "KAFKA_SASL_LOGIN_REFRESH_WINDOW_JITTER",
        TOKEN_REFRESH,
    ),
    DropIn {
        kafka: Some("sasl.mechanism"),
        option: "sasl-mechanism",
        variable: "KAFKA_SASL_MECHANISM",
        treatment: Treatment::Setting {
            key: "destination.security.sasl.mechanism",
            note: "`GSSAPI`, Kafka's default, is refused unless the agent is built with Kerberos",
        },
    },
    added(
        "sasl.oauthbearer.client.credentials.client.id",
        "sasl-oauthbearer-client-credentials-client-id",
        "KAFKA_SASL_OAUTHBEARER_CLIENT_CREDENTIALS_CLIENT_ID",
        "destination.security.sasl.client_id",
    ),
    added(
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl-oauthbearer-client-credentials-client-secret",
        "KAFKA_SASL_OAUTHBEARER_CLIENT_CREDENTIALS_CLIENT_SECRET",
        "destination.security.sasl.client_secret",
    ),
    added(
        "sasl.oauthbearer.scope",
        "sasl-oauthbearer-scope",
        "KAFKA_SASL_OAUTHBEARER_SCOPE",
        "destination.security.sasl.scope",
    ),
    added(
        "sasl.oauthbearer.token.endpoint.url",
        "sasl-oauthbearer-token-endpoint-url",
        "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL",
        "destination.security.sasl.token_endpoint",
    ),
    DropIn {
        kafka: Some("security.protocol"),
        option: "security-protocol",
        variable: "KAFKA_SECURITY_PROTOCOL",
        treatment: Treatment::Setting { key: "destination.security.protocol", note: "" },
    },
    ignored("security.providers", "security-providers", "KAFKA_SECURITY_PROVIDERS", JAVA_TLS),
    DropIn {
        kafka: Some("send.buffer.bytes"),
        option: "send-buffer-bytes",
        variable: "KAFKA_SEND_BUFFER_BYTES",
        treatment: Treatment::Property(Property {
            name: "socket.send.buffer.bytes",
            note: "`-1` (the operating system's) becomes `0`",
            translate: |input| whole(input, 0, 100_000_000, "bytes"),
        }),
    },
    DropIn {
        kafka: Some("ssl.cipher.suites"),
        option: "ssl-cipher-suites",
        variable: "KAFKA_SSL_CIPHER_SUITES",
        treatment: Treatment::Setting {
            key: "destination.security.tls.cipher_suites",
            note: "Java's names become OpenSSL's; the suites of TLS 1.3 are always allowed; a name without a counterpart \
                   is refused",
        },
    },
    ignored(
        "ssl.enabled.protocols",
        "ssl-enabled-protocols",
        "KAFKA_SSL_ENABLED_PROTOCOLS",
        "librdkafka leaves the choice to OpenSSL, which agrees with the broker on TLS 1.3 or 1.2; restrict the broker's \
         `ssl.enabled.protocols` instead",
    ),
    DropIn {
        kafka: Some("ssl.endpoint.identification.algorithm"),
        option: "ssl-endpoint-identification-algorithm",
        variable: "KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM",
        treatment: Treatment::Setting {
            key: "destination.security.tls.verify_hostname",
            note: "`https` is `true`; `disabled`, `none` and the empty value are `false`",
        },
    },
    DropIn {
        kafka: Some("ssl.key.password"),
        option: "ssl-key-password",
        variable: "KAFKA_SSL_KEY_PASSWORD",
        treatment: Treatment::Setting {
            key: "destination.security.tls.key_password",
            note: "for a key in PEM; a PKCS#12 file has one password, that of the store",
        },
    },
    ignored(
        "ssl.keymanager.algorithm",
        "ssl-keymanager-algorithm",
        "KAFKA_SSL_KEYMANAGER_ALGORITHM",
        JAVA_TLS,
    ),
    DropIn {
        kafka: Some("ssl.keystore.certificate.chain"),
        option: "ssl-keystore-certificate-chain",
        variable: "KAFKA_SSL_KEYSTORE_CERTIFICATE_CHAIN",
        treatment: Treatment::Setting { key: "destination.security.tls.certificate_pem", note: "" },
    },
    added(
        "ssl.keystore.key",
        "ssl-keystore-key",
        "KAFKA_SSL_KEYSTORE_KEY",
        "destination.security.tls.key_pem",
    ),
    DropIn {
        kafka: Some("ssl.keystore.location"),
        option: "ssl-keystore-location",
        variable: "KAFKA_SSL_KEYSTORE_LOCATION",
        treatment: Treatment::Setting {
            key: "destination.security.tls.keystore_file",
            note: "PKCS#12, JKS and PEM, whatever the file is called",
        },
    },
    DropIn {
        kafka: Some("ssl.keystore.password"),
        option: "ssl-keystore-password",
        variable: "KAFKA_SSL_KEYSTORE_PASSWORD",
        treatment: Treatment::Setting { key: "destination.security.tls.keystore_password", note: "" },
    },
    DropIn {
        kafka: Some("ssl.keystore.type"),
        option: "ssl-keystore-type",
        variable: "KAFKA_SSL_KEYSTORE_TYPE",
        treatment: Treatment::Setting {
            key: "destination.security.tls.keystore_type",
            note: "only where the first bytes of the file do not tell it",
        },
    },
    ignored("ssl.protocol", "ssl-protocol", "KAFKA_SSL_PROTOCOL", JAVA_TLS),
    ignored("ssl.provider", "ssl-provider", "KAFKA_SSL_PROVIDER", JAVA_TLS),
    ignored(
        "ssl.secure.random.implementation",
        "ssl-secure-random-implementation",
        "KAFKA_SSL_SECURE_RANDOM_IMPLEMENTATION",
        JAVA_TLS,
    ),
    ignored(
        "ssl.trustmanager.algorithm",
        "ssl-trustmanager-algorithm",
        "KAFKA_SSL_TRUSTMANAGER_ALGORITHM",
        JAVA_TLS,
    ),
    added(
        "ssl.truststore.certificates",
        "ssl-truststore-certificates",
        "KAFKA_SSL_TRUSTSTORE_CERTIFICATES",
        "destination.security.tls.ca_pem",
    ),
    DropIn {
        kafka: Some("ssl.truststore.location"),
        option: "ssl-truststore-location",
        variable: "KAFKA_SSL_TRUSTSTORE_LOCATION",
        treatment: Treatment::Setting {
            key: "destination.security.tls.ca_file",
            note: "PEM, PKCS#12 and JKS, whatever the file is called",
        },
    },
    DropIn {
        kafka: Some("ssl.truststore.password"),
        option: "ssl-truststore-password",
        variable: "KAFKA_SSL_TRUSTSTORE_PASSWORD",
        treatment: Treatment::Setting { key: "destination.security.tls.truststore_password", note: "" },
    },
    DropIn {
        kafka: Some("ssl.truststore.type"),
        option: "ssl-truststore-type",
        variable: "KAFKA_SSL_TRUSTSTORE_TYPE",
        treatment: Treatment::Setting {
            key: "destination.security.tls.truststore_type",
            note: "only where the first bytes of the file do not tell it",
        },
    },
    ignored(
        "transaction.timeout.ms",
        "transaction-timeout-ms",
        "KAFKA_TRANSACTION_TIMEOUT_MS",
        NO_TRANSACTIONS,
    ),
    ignored("transactional.id", "transactional-id", "KAFKA_TRANSACTION_ID", NO_TRANSACTIONS),
];

const fn own(option: &'static str, variable: &'static str, key: &'static str) -> DropIn {
    DropIn { kafka: None, option, variable, treatment: Treatment::Setting { key, note: "" } }
}

/// A setting of Kafka's Java client that the replaced listener did not take and that belongs to one that it did.
const fn added(
    kafka: &'static str,
    option: &'static str,
    variable: &'static str,
    key: &'static str,
) -> DropIn {
    let treatment = Treatment::Setting { key, note: "new: the replaced listener did not take it" };
    DropIn { kafka: Some(kafka), option, variable, treatment }
}

const fn ignored(
    kafka: &'static str,
    option: &'static str,
    variable: &'static str,
    reason: &'static str,
) -> DropIn {
    DropIn { kafka: Some(kafka), option, variable, treatment: Treatment::Ignored { reason } }
}

fn whole(input: Input<'_>, least: u64, greatest: u64, unit: &str) -> ParseResult<String> {
    Ok(input.integer(least..=greatest, unit)?.map(|number| number.to_string()))
}

fn dns_lookup(input: Input<'_>) -> ParseResult<String> {
    match input.text.trim() {
        "default" | "use_all_dns_ips" => Ok(Parsed::as_given("use_all_dns_ips".to_owned())),
        name @ "resolve_canonical_bootstrap_servers_only" => Ok(Parsed::as_given(name.to_owned())),
        _ => Err(expected("`use_all_dns_ips` or `resolve_canonical_bootstrap_servers_only`")),
    }
}

/// The reason why a list of Java classes has no effect (empty: it has), or why it cannot be honoured.
fn java_classes(
    classes: &str,
    known: &'static [(&'static str, &'static str)],
    replacement: &str,
) -> Result<&'static str, Rejected> {
    let mut reason = "";
    for class in classes.split(',').map(str::trim).filter(|class| !class.is_empty()) {
        let simple_name = class.rsplit('.').next().unwrap_or(class);
        match known.iter().find(|(name, _)| *name == simple_name) {
            Some((_, why)) => reason = why,
            None => return Err(Rejected::Refused(replacement.to_owned())),
        }
    }
    Ok(reason)
}
