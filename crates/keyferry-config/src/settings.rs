//! Every setting that exists: its names, what it takes, its default, and where its value goes.
//!
//! This table is the only place where a setting is declared. The file's keys, the variables, the options, the error texts
//! and `docs/configuration.md` all come from it, so they cannot drift apart.

use std::net::SocketAddr;

use keyferry_event::redaction::HashKey;

use crate::api::{self, Api, origins, tokens};
use crate::ciphers;
use crate::class::Class;
use crate::content;
use crate::draft::{AgentDraft, DestinationDraft};
use crate::input::{Dialect, Input, ParseResult, Parsed, Rejected, expected, one_of};
use crate::model::{
    Compression, Format, Headers, InDoubt, LogFormat, LogLevel, Mechanism, Overflow, PlainText,
    PressureLevel, Protocol, RedactionPreset, Secrets, Settle, SubjectNameStrategy, TunerPreset,
    TunerProfile, pairs,
};
use crate::registry::{self, is_url};
use crate::secret::Secret;
use crate::stores::StoreFormat;
use crate::substitution::has_reference;

/// One setting.
pub struct Setting {
    /// The key in the configuration file, from its top: `destination.delivery.linger`.
    pub key: &'static str,
    /// The option of Keycloak, without its prefix: `linger-ms`. `None` where there is none, or none of the agent's concern.
    pub option: Option<&'static str>,
    /// What it takes, in words.
    pub takes: fn() -> String,
    /// The default, in words.
    pub default: &'static str,
    /// What it does, in one or two sentences.
    pub purpose: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// What a change of it takes while the agent runs.
    pub class: Class,
    pub(crate) apply: Apply,
}

/// Where a value goes. The settings under `destination` exist once for each destination, all others once.
#[derive(Clone, Copy)]
pub(crate) enum Apply {
    /// To the agent as a whole.
    Agent(fn(&mut AgentDraft, Input<'_>) -> Applied),
    /// To the destination for which it was given.
    Destination(fn(&mut DestinationDraft, Input<'_>) -> Applied),
}

/// Either the reason for which another value holds than the given one, or `None` when the given one does.
pub(crate) type Applied = Result<Option<String>, Rejected>;

/// The prefix of Keyferry's own variables.
pub(crate) const VARIABLE_PREFIX: &str = "KEYFERRY_";

impl Setting {
    /// The variable: `KEYFERRY_` and the key in capitals, such as `KEYFERRY_DESTINATION_DELIVERY_LINGER`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// Whether the provider obeys the option of this name as well, and describes it to Keycloak.
    pub fn is_shared(&self) -> bool {
        self.option.is_some_and(|option| SHARED_OPTIONS.contains(&option))
    }

    /// Whether each destination has its own value.
    pub fn is_of_destination(&self) -> bool {
        matches!(self.apply, Apply::Destination(_))
    }

    /// Whether the configuration file may give it as a list of texts.
    pub fn takes_list(&self) -> bool {
        const LISTS: [&str; 10] = [
            api::ORIGINS,
            api::TOKENS[0],
            api::TOKENS[1],
            api::TOKENS[2],
            "destination.bootstrap_servers",
            "destination.fallback_bootstrap_servers",
            content::INCLUDE,
            content::EXCLUDE,
            content::FIELDS,
            registry::URL,
        ];
        LISTS.contains(&self.key)
    }

    /// The setting with this key.
    pub fn by_key(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// The setting with this option of Keycloak.
    pub fn by_option(option: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.option == Some(option))
    }

    /// The setting with this variable of Keyferry's own.
    pub fn by_variable(variable: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.variable() == variable)
    }
}

/// The table of a destination's settings.
pub(crate) const DESTINATION_TABLE: &str = "destination";

/// The key of a destination's name.
pub(crate) const DESTINATION_NAME: &str = "destination.name";

/// The table under which properties are handed to librdkafka as they are.
pub(crate) const LIBRDKAFKA_TABLE: &str = "destination.librdkafka";

/// The longest timer that librdkafka takes for most of its settings: fifteen minutes.
const LONGEST_TIMER_MS: u64 = 900_000;

/// The longest settle delay: ten minutes. Whoever needs more wants another consumer.
const LONGEST_SETTLE_DELAY_MS: u64 = 600_000;

/// The longest retention: a hundred years.
const LONGEST_KEEP_MS: u64 = 36_525 * 86_400_000;

/// Options that the provider describes and obeys, and that the agent has to know as well.
const SHARED_OPTIONS: [&str; 4] =
    ["journal-segment-size", "journal-max-size", "journal-overflow", "journal-settle"];

/// Every setting, in the order of the documentation.
pub static SETTINGS: &[Setting] = &[
    Setting {
        key: "node",
        option: None,
        takes: || "text".into(),
        default: "what the provider hands over",
        purpose: "The node's name. It becomes part of the client id.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set_some(&mut draft.node, input.text())),
    },
    Setting {
        key: "journal.dir",
        option: None,
        takes: || "path".into(),
        default: "what the provider hands over",
        purpose: "The journal directory, for an agent that runs as a sidecar or a service.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set_some(&mut draft.journal.dir, input.path())),
    },
    Setting {
        key: "journal.keep",
        option: Some("journal-keep"),
        takes: || "duration, such as `7d`".into(),
        default: "`0s`: deleted at once",
        purpose: "For how long segments are kept after everything in them was delivered, so that `keyferry replay` can \
                  send it again.",
        secret: false,
        class: Class::Live,
        apply: Apply::Agent(|draft, input| set(&mut draft.journal.keep, input.duration(0..=LONGEST_KEEP_MS))),
    },
    Setting {
        key: "journal.keep_size",
        option: Some("journal-keep-size"),
        takes: || "size, or `none`".into(),
        default: "`none`: no limit",
        purpose: "How much of what was delivered is kept at most in a slot. The oldest goes first.",
        secret: false,
        class: Class::Live,
        apply: Apply::Agent(|draft, input| {
            set(&mut draft.journal.keep_size, input.size_or_none(0..=u64::MAX))
        }),
    },
    Setting {
        key: "journal.archive_directory",
        option: Some("journal-archive-directory"),
        takes: || "path".into(),
        default: "none: nothing is moved",
        purpose: "Where the action `move_segments` (`docs/alerts.md`) moves what is delivered and kept: a directory on another file \
                  system, of this journal alone. `keyferry replay` and `keyferry journal` read it with the journal. Nothing in it is \
                  deleted.",
        secret: false,
        class: Class::Live,
        apply: Apply::Agent(|draft, input| set_some(&mut draft.journal.archive_directory, input.path())),
    },
    Setting {
        key: "journal.segment_size",
        option: Some("journal-segment-size"),
        takes: || "size".into(),
        default: "`64MiB`",
        purpose: "What the provider was told in its option of this name: an agent that the provider does not start has to be told the same.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.journal.segment_size, input.size(4096..=1 << 30))),
    },
    Setting {
        key: "journal.max_size",
        option: Some("journal-max-size"),
        takes: || "size, or `none`".into(),
        default: "`none`: no ceiling",
        purpose: "How large the segments of a slot may become together, as the provider was told in its option of this name: at \
                  least four times `journal.segment_size`. What was delivered and kept goes first.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| {
            set(&mut draft.journal.max_size, input.size_or_none(0..=u64::MAX))
        }),
    },
    Setting {
        key: "journal.overflow",
        option: Some("journal-overflow"),
        takes: one_of::<Overflow>,
        default: "`drop-new`",
        purpose: "What gives way at the ceiling, as the provider was told in its option of this name. With `drop-old` it is the \
                  agent that gives up the oldest events, counts them and tells consumers of it.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.journal.overflow, input.keyword())),
    },
    Setting {
        key: "journal.settle",
        option: Some("journal-settle"),
        takes: one_of::<Settle>,
        default: "`none`",
        purpose: "Whether the provider settles what is in doubt when it starts again, as it was told in its option of this name. The \
                  agent then waits with such events until it has.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.journal.settle, input.keyword())),
    },
    Setting {
        key: "destination.name",
        option: None,
        takes: || "text of small letters, digits and `-`".into(),
        default: "`default`; with several destinations each needs one of its own",
        purpose: "Names the destination in logs, in metrics and in the files that keep its state in the journal. A destination with \
                  another name is another destination: it begins with the oldest event that the journal holds.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.name, input.parse())),
    },
    Setting {
        key: "destination.bootstrap_servers",
        option: Some("bootstrap-servers"),
        takes: || "list of `host:port`; an IPv6 address in brackets".into(),
        default: "none; the agent waits until it is set",
        purpose: "The servers that the client asks first. Two or three of a cluster are enough.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.bootstrap_servers, input.parse())),
    },
    Setting {
        key: "destination.fallback_bootstrap_servers",
        option: Some("fallback-bootstrap-servers"),
        takes: || "list of `host:port`; an IPv6 address in brackets".into(),
        default: "none",
        purpose: "The servers that take the place of `bootstrap_servers` when a playbook or an operator fails over (`fail_over` in \
                  `docs/alerts.md`): another way to the same cluster, or a standby cluster with the same topics, security and \
                  credentials, whose consumers then have to read there as well.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.fallback_bootstrap_servers, input.parse())
        }),
    },
    Setting {
        key: "destination.topic_events",
        option: Some("topic-events"),
        takes: || "topic name".into(),
        default: "none; the agent waits until it is set",
        purpose: "The topic of user events.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.topic_events, input.parse())),
    },
    Setting {
        key: "destination.topic_admin_events",
        option: Some("topic-admin-events"),
        takes: || "topic name".into(),
        default: "none; admin events are not published",
        purpose: "The topic of admin events.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.topic_admin_events, input.parse())),
    },
    Setting {
        key: "destination.client_id",
        option: Some("client-id"),
        takes: || "text".into(),
        default: "`keyferry-` and the node's name",
        purpose: "How the client introduces itself to the brokers, whose logs and quotas go by it.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.client_id, input.text())),
    },
    Setting {
        key: "destination.format",
        option: Some("format"),
        takes: one_of::<Format>,
        default: "`keycloak`",
        purpose: "What a record's value looks like: Keycloak's own JSON, that within a CloudEvent in structured mode, the event in the Open Cybersecurity Schema Framework or the Elastic \
                  Common Schema, or its fields in Avro, Protobuf or JSON by a schema of a registry. What is redacted is redacted in each. See docs/events.md.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| set(&mut draft.content.format, input.keyword())),
    },
    Setting {
        key: "destination.headers",
        option: Some("headers"),
        takes: one_of::<Headers>,
        default: "`cloudevents`",
        purpose: "Which headers a record carries: CloudEvents 1.0 in binary mode, only what tells copies and doubtful \
                  events apart, or none, as the listener that Keyferry replaces.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| set(&mut draft.headers, input.keyword())),
    },
    Setting {
        key: "destination.filter.include",
        option: Some("filter-include"),
        takes: || {
            "fields and their values, `realm = shop, staff-*; type = LOGIN, LOGOUT`, or a list of such texts"
                .into()
        },
        default: "none: every event",
        purpose: "Which events the destination gets: those of which each named field has one of its values. A value is a text, a glob with `*` or `?`, or a regular expression \
                  between slashes. What does not pass takes no number and is counted as filtered. See docs/events.md.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| set(&mut draft.content.filter.include, input.parse())),
    },
    Setting {
        key: "destination.filter.exclude",
        option: Some("filter-exclude"),
        takes: || "fields and their values, as above".into(),
        default: "none",
        purpose: "Which events the destination does not get: those of which any named field has one of its values.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| set(&mut draft.content.filter.exclude, input.parse())),
    },
    Setting {
        key: "destination.filter.expression",
        option: Some("filter-expression"),
        takes: || "condition, such as `type == \"LOGIN_ERROR\" && details.username ~ \"adm*\"`".into(),
        default: "none",
        purpose: "What an event must meet besides. `==`, `!=`, `in [...]`; `~` and `!~` with a glob or a regular expression between slashes; `&&`, `||`, `!` and parentheses.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.content.filter.expression, input.parse())
        }),
    },
    Setting {
        key: "destination.routing.topic",
        option: Some("topic-template"),
        takes: || "template, such as `keycloak.{realmName}.{kind}`".into(),
        default: "none: the topic of the event's kind",
        purpose: "The topic of an event, made of `{kind}` (`user` or `admin`), `{type}`, `{realmId}`, `{realmName}` and `{resourceType}`. Where that is no legal name, because a field is missing \
                  or has other characters, the event goes to the topic of its kind. So do gap records.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.content.routing.topic, input.parse())),
    },
    Setting {
        key: "destination.routing.key",
        option: Some("key-template"),
        takes: || "template, such as `{realmId}/{userId}`".into(),
        default: "none: the user whom the event concerns, else realm and resource",
        purpose: "The key of a record, made of the fields above, `{clientId}` and `{userId}`, the user whom the event concerns. Only what has one key, in one topic, stays in order.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.content.routing.key, input.parse())),
    },
    Setting {
        key: "destination.redaction.secrets",
        option: Some("redaction-secrets"),
        takes: one_of::<Secrets>,
        default: "`mask`",
        purpose: "What becomes of secrets in representations and details: passwords, client secrets, private keys, tokens, wherever they stand. `keep` publishes them, as the listener did that Keyferry replaces.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| set(&mut draft.content.redaction.secrets, input.keyword())),
    },
    Setting {
        key: "destination.redaction.preset",
        option: Some("redaction-preset"),
        takes: one_of::<RedactionPreset>,
        default: "none",
        purpose: "Rules under one name: `gdpr-pseudonymous` hashes, truncates or masks what tells who somebody is, and leaves representations out; `no-representation` leaves representations out.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.content.redaction.preset, input.keyword())
        }),
    },
    Setting {
        key: "destination.redaction.fields",
        option: Some("redaction-fields"),
        takes: || "rules `path = action`, separated by semicolons, or a list of such texts".into(),
        default: "none",
        purpose: "What is done to which field: `ipAddress = truncate-ip; details.username = hash; representation.attributes.** = mask`. The actions are `mask`, `drop`, `hash`, `hash-user`, `truncate-ip` and \
                  `keep`; `*` is any name in a path, `**` any number of names. These rules win over those of the preset and over the masking of secrets. See docs/events.md.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| set(&mut draft.content.redaction.fields, input.parse())),
    },
    Setting {
        key: "destination.redaction.hash_key",
        option: Some("redaction-hash-key"),
        takes: || "text of at least 16 bytes".into(),
        default: "none",
        purpose: "The key of the action `hash`. Who has it can tell who somebody is; with another one nothing that is hashed matches what was hashed before.",
        secret: true,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.content.redaction.hash_key, hash_key(input))
        }),
    },
    Setting {
        key: "destination.in_doubt",
        option: Some("in-doubt"),
        takes: one_of::<InDoubt>,
        default: "`publish`",
        purpose: "What becomes of events whose transaction has no known outcome, because Keycloak died within it: \
                  published with the outcome `unknown`, counted and dropped, or held until an operator decides with \
                  `keyferry in-doubt`.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| set(&mut draft.in_doubt, input.keyword())),
    },
    Setting {
        key: "destination.dead_letter_topic",
        option: Some("dead-letter-topic"),
        takes: || "topic name".into(),
        default: "none: the file `<destination>.dead-letters.jsonl` in the slot",
        purpose: "The topic for records that can never be delivered where they belong (too large, or refused by a policy), with headers that say why. What it \
                  refuses too goes to the file, see `keyferry dead-letter`.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.dead_letter_topic, input.parse())),
    },
    Setting {
        key: "destination.gap_records",
        option: Some("gap-records"),
        takes: || "`true` or `false`".into(),
        default: "`true`",
        purpose: "Whether a record of the type `org.keyferry.gap` tells consumers of events that are missing in the stream.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| set(&mut draft.gap_records, input.boolean())),
    },
    Setting {
        key: "destination.settle_delay",
        option: Some("settle-delay"),
        takes: || "duration up to `10m`".into(),
        default: "`0ms`: at once",
        purpose: "How old events must be before they are published: for consumers that read the user back from Keycloak and must not meet a cache that does not know of the change yet. What is not old \
                  enough when the agent stops stays in the journal until it runs again.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.settle_delay, input.duration(0..=LONGEST_SETTLE_DELAY_MS))
        }),
    },
    Setting {
        key: registry::URL,
        option: Some("registry-url"),
        takes: || "list of URLs, `https://` or `http://`".into(),
        default: "none",
        purpose: "The servers of one schema registry with Confluent's API, each with the path below which that is (of Apicurio `/apis/ccompat/v7`). When one fails the next is asked. Needed by the formats `avro`, `protobuf` and `json-schema`:                   docs/schema-registry.md. A registry of another URL is another registry: its ids are asked for anew.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.registry.url, input.parse())),
    },
    Setting {
        key: "destination.registry.username",
        option: Some("registry-username"),
        takes: || "text".into(),
        default: "none",
        purpose: "The user at the registry, for basic authentication.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.registry.username, input.text())),
    },
    Setting {
        key: "destination.registry.password",
        option: Some("registry-password"),
        takes: || "text".into(),
        default: "none",
        purpose: "The password at the registry, for basic authentication.",
        secret: true,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.registry.password, input.secret())),
    },
    Setting {
        key: "destination.registry.token",
        option: Some("registry-token"),
        takes: || "text".into(),
        default: "none",
        purpose: "A bearer token for the registry, in place of user and password.",
        secret: true,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.registry.token, input.secret())),
    },
    Setting {
        key: "destination.registry.ca_file",
        option: Some("registry-ca-file"),
        takes: || "path".into(),
        default: "the system's authorities",
        purpose: "The certificate authorities that are believed, in PEM. It is read for each question, so a new one takes effect by itself.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.registry.ca_file, input.path())),
    },
    Setting {
        key: "destination.registry.subject_name_strategy",
        option: Some("registry-subject-name-strategy"),
        takes: one_of::<SubjectNameStrategy>,
        default: "`topic`",
        purpose: "What the subject of a schema is named after: `<topic>-value`, `io.keyferry.Event`, or `<topic>-io.keyferry.Event`.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.registry.subject_name_strategy, input.keyword())
        }),
    },
    Setting {
        key: "destination.registry.register",
        option: Some("registry-register"),
        takes: || "`true` or `false`".into(),
        default: "`true`",
        purpose: "Whether a schema that is not there is registered. Otherwise it is only looked up, and somebody else registers the files in `schemas/`; the events wait until it is there.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| set(&mut draft.registry.register, input.boolean())),
    },
    Setting {
        key: "destination.registry.timeout",
        option: Some("registry-timeout"),
        takes: || "duration".into(),
        default: "`5s`",
        purpose: "How long a server of the registry may take to answer: from `100ms` to `5m`. Nothing but its question waits for it.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.registry.timeout, input.duration(100..=300_000))
        }),
    },
    Setting {
        key: "destination.topics.create",
        option: Some("topics-create"),
        takes: || "`true` or `false`".into(),
        default: "`false`",
        purpose: "Whether topics that do not exist are created. A topic that cannot be created is asked for again and again; its events wait in the journal.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| set(&mut draft.topics.create, input.boolean())),
    },
    Setting {
        key: "destination.topics.partitions",
        option: Some("topics-partitions"),
        takes: || "whole number from 1 to 10000".into(),
        default: "the broker's",
        purpose: "How many partitions a created topic gets.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| {
            let parsed = input.integer(1..=10_000, "")?;
            set_some(&mut draft.topics.partitions, Ok(parsed.map(|partitions| partitions as u16)))
        }),
    },
    Setting {
        key: "destination.topics.replication",
        option: Some("topics-replication"),
        takes: || "whole number from 1 to 100".into(),
        default: "the broker's",
        purpose: "How many brokers keep each partition of a created topic.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| {
            let parsed = input.integer(1..=100, "")?;
            set_some(&mut draft.topics.replication, Ok(parsed.map(|brokers| brokers as u16)))
        }),
    },
    Setting {
        key: "destination.topics.config",
        option: Some("topics-config"),
        takes: || "entries `name=value`, separated by semicolons".into(),
        default: "none",
        purpose: "How a created topic is configured where that differs from the broker's default: `retention.ms=1209600000; min.insync.replicas=2`.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| set(&mut draft.topics.config, input.parse())),
    },
    Setting {
        key: "destination.topics.outage_budget",
        option: Some("topics-outage-budget"),
        takes: || "duration".into(),
        default: "`0ms`: it is not checked",
        purpose: "For how long consumers may be away without missing anything: a topic that keeps records for a shorter time is warned of.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.topics.outage_budget, input.duration(0..=LONGEST_KEEP_MS))
        }),
    },
    Setting {
        key: "destination.pool.min_connections",
        option: Some("pool-min-connections"),
        takes: || "whole number from 1 to 16".into(),
        default: "`1`",
        purpose: "The least number of connections to the cluster, and how many there are at first. Each is a producer of its own; a key always goes by the same.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            let parsed = input.integer(1..=16, "")?;
            set(&mut draft.pool.min_connections, Ok(parsed.map(|connections| connections as u8)))
        }),
    },
    Setting {
        key: "destination.pool.max_connections",
        option: Some("pool-max-connections"),
        takes: || "whole number from 1 to 16".into(),
        default: "`4`",
        purpose: "The largest number of connections to the cluster that the tuner or an operator may ask for. Less than `min_connections` counts as that.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            let parsed = input.integer(1..=16, "")?;
            set(&mut draft.pool.max_connections, Ok(parsed.map(|connections| connections as u8)))
        }),
    },
    Setting {
        key: "destination.tuner.profile",
        option: Some("tuner-profile"),
        takes: one_of::<TunerProfile>,
        default: "`auto`, or that of the preset",
        purpose: "What batches, linger, compression and connections are fitted to: a fixed aim, or with `auto` what the moment asks for. Values that are \
                  configured below stay as they are.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.tuner.profile, input.keyword())),
    },
    Setting {
        key: "destination.tuner.preset",
        option: Some("tuner-preset"),
        takes: one_of::<TunerPreset>,
        default: "none",
        purpose: "A scenario that stands for a profile and some settings. What is configured beside it wins.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.tuner.preset, input.keyword())),
    },
    Setting {
        key: "destination.tuner.frozen",
        option: Some("tuner-frozen"),
        takes: || "`true` or `false`".into(),
        default: "`false`",
        purpose: "Whether the profile `auto` stays where it begins.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| set(&mut draft.tuner.frozen, input.boolean())),
    },
    Setting {
        key: "destination.delivery.batch_size",
        option: Some("batch-size"),
        takes: || "size".into(),
        default: "`64KiB`",
        purpose: "The largest batch of records for one partition.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.delivery.batch_size, input.size(1..=i32::MAX as u64))
        }),
    },
    Setting {
        key: "destination.delivery.linger",
        option: Some("linger-ms"),
        takes: || "duration".into(),
        default: "`10ms`",
        purpose: "How long a record may wait for its batch to fill.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.delivery.linger, input.duration(0..=LONGEST_TIMER_MS))
        }),
    },
    Setting {
        key: "destination.delivery.compression",
        option: Some("compression-type"),
        takes: one_of::<Compression>,
        default: "`lz4`",
        purpose: "How batches are compressed.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| set(&mut draft.delivery.compression, input.keyword())),
    },
    Setting {
        key: "destination.delivery.retry_backoff",
        option: Some("retry-backoff-ms"),
        takes: || "duration".into(),
        default: "`1s`",
        purpose: "The pause before a failed request is sent again.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.delivery.retry_backoff, input.duration(1..=300_000))
        }),
    },
    Setting {
        key: "destination.delivery.delivery_timeout",
        option: Some("delivery-timeout-ms"),
        takes: || "duration".into(),
        default: "`2m`",
        purpose: "The age at which an undelivered record makes the agent declare the destination failing. The record \
                  is not given up: the journal keeps it, and the client goes on trying.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.delivery.delivery_timeout, input.duration(1_000..=86_400_000))
        }),
    },
    Setting {
        key: "destination.delivery.max_request_size",
        option: Some("max-request-size"),
        takes: || "size".into(),
        default: "`1MiB`",
        purpose: "The largest request, and thereby the largest record, that is sent. A larger one needs \
                  `message.max.bytes` of the brokers or `max.message.bytes` of the topic raised as well.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.delivery.max_request_size, input.size(1_000..=1_000_000_000))
        }),
    },
    Setting {
        key: "destination.delivery.max_in_flight",
        option: Some("max-in-flight-requests-per-connection"),
        takes: || "whole number from 1 to 5".into(),
        default: "`5`",
        purpose: "How many requests may be unanswered on a connection. Beyond 5 Kafka does not keep their order.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            let parsed = input.integer(1..=5, "")?;
            set(&mut draft.delivery.max_in_flight, Ok(parsed.map(|requests| requests as u8)))
        }),
    },
    Setting {
        key: "destination.delivery.request_timeout",
        option: Some("request-timeout-ms"),
        takes: || "duration".into(),
        default: "`30s`",
        purpose: "How long a broker may take to answer a request.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.delivery.request_timeout, input.duration(10..=300_000))
        }),
    },
    Setting {
        key: "destination.delivery.buffer",
        option: Some("buffer-memory"),
        takes: || "size".into(),
        default: "`32MiB`",
        purpose: "How much the client may hold in memory. What does not fit waits in the journal.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.delivery.buffer, input.size(1 << 20..=1 << 30))
        }),
    },
    Setting {
        key: "destination.breaker.failures",
        option: None,
        takes: || "whole number".into(),
        default: "`3`",
        purpose: "The circuit breaker opens after so many failed attempts without progress between them.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            let parsed = input.integer(1..=1000, "")?;
            set(&mut draft.breaker.failures, Ok(parsed.map(|number| number as u32)))
        }),
    },
    Setting {
        key: "destination.breaker.failure_rate",
        option: None,
        takes: || "whole number from 1 to 100".into(),
        default: "`50`",
        purpose: "The circuit breaker opens when so many percent of the outcomes of a window are failures.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            let parsed = input.integer(1..=100, "")?;
            set(&mut draft.breaker.failure_rate, Ok(parsed.map(|number| number as u8)))
        }),
    },
    Setting {
        key: "destination.breaker.slow_rate",
        option: None,
        takes: || "whole number from 1 to 100".into(),
        default: "`90`",
        purpose: "The circuit breaker opens when so many percent of the acknowledgements of a window are slow.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            let parsed = input.integer(1..=100, "")?;
            set(&mut draft.breaker.slow_rate, Ok(parsed.map(|number| number as u8)))
        }),
    },
    Setting {
        key: "destination.breaker.window",
        option: None,
        takes: || "duration".into(),
        default: "`10s`",
        purpose: "Over how long the circuit breaker takes its rates.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.breaker.window, input.duration(1_000..=3_600_000))
        }),
    },
    Setting {
        key: "destination.breaker.minimum_outcomes",
        option: None,
        takes: || "whole number".into(),
        default: "`100`",
        purpose: "Of fewer outcomes in a window the circuit breaker takes no rate: one failure of two is no sign of an outage.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            let parsed = input.integer(1..=1_000_000, "")?;
            set(&mut draft.breaker.minimum_outcomes, Ok(parsed.map(|number| number as u32)))
        }),
    },
    Setting {
        key: "destination.breaker.slow_after",
        option: None,
        takes: || "duration".into(),
        default: "`30s`",
        purpose: "An acknowledgement is slow when it comes so long after its record was sent. Longer than 12 MiB take on the link when all is well.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.breaker.slow_after, input.duration(100..=3_600_000))
        }),
    },
    Setting {
        key: "destination.breaker.oldest_unacknowledged",
        option: None,
        takes: || "duration".into(),
        default: "`5s`",
        purpose: "The circuit breaker opens when nothing has been acknowledged for so long although something is in flight.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.breaker.oldest_unacknowledged, input.duration(100..=3_600_000))
        }),
    },
    Setting {
        key: "destination.breaker.first_pause",
        option: None,
        takes: || "duration".into(),
        default: "`200ms`",
        purpose: "The first pause of the circuit breaker is shorter than this, by chance; each further one in a row may be twice as long.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.breaker.first_pause, input.duration(10..=300_000))
        }),
    },
    Setting {
        key: "destination.breaker.longest_pause",
        option: None,
        takes: || "duration".into(),
        default: "`3s`",
        purpose: "No pause of the circuit breaker is longer: so long a recovered destination may wait at most.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.breaker.longest_pause, input.duration(200..=300_000))
        }),
    },
    Setting {
        key: "destination.breaker.probe_records",
        option: None,
        takes: || "whole number".into(),
        default: "`16`",
        purpose: "How many records the circuit breaker lets through to find out whether a destination has recovered.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            let parsed = input.integer(1..=10_000, "")?;
            set(&mut draft.breaker.probe_records, Ok(parsed.map(|number| number as u32)))
        }),
    },
    Setting {
        key: "destination.breaker.probe_timeout",
        option: None,
        takes: || "duration".into(),
        default: "`5s`",
        purpose: "A probe without progress for so long has failed.",
        secret: false,
        class: Class::Live,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.breaker.probe_timeout, input.duration(100..=300_000))
        }),
    },
    Setting {
        key: "destination.security.protocol",
        option: Some("security-protocol"),
        takes: one_of::<Protocol>,
        default: "`PLAINTEXT`",
        purpose: "Whether connections are encrypted, and whether the client authenticates by SASL.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| set(&mut draft.security.protocol, input.keyword())),
    },
    Setting {
        key: "destination.security.tls.ca_file",
        option: Some("ssl-truststore-location"),
        takes: || "path of a PEM file, of a directory of such, or of a PKCS#12 or JKS store".into(),
        default: "the authorities of the operating system (or of SSL_CERT_FILE)",
        purpose: "The certificate authorities that are believed.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.security.tls.ca_file, input.path())),
    },
    Setting {
        key: "destination.security.tls.ca_pem",
        option: Some("ssl-truststore-certificates"),
        takes: || "PEM text".into(),
        default: "none",
        purpose: "The certificate authorities that are believed, as PEM text.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.security.tls.ca_pem, pem(input))),
    },
    Setting {
        key: "destination.security.tls.truststore_password",
        option: Some("ssl-truststore-password"),
        takes: || "text".into(),
        default: "none",
        purpose: "The password of a trust store that is a PKCS#12 or JKS store.",
        secret: true,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.tls.truststore_password, input.secret())
        }),
    },
    Setting {
        key: "destination.security.tls.truststore_type",
        option: Some("ssl-truststore-type"),
        takes: one_of::<StoreFormat>,
        default: "what the file begins with",
        purpose: "The format of a trust store whose first bytes do not tell it.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.tls.truststore_type, input.keyword())
        }),
    },
    Setting {
        key: "destination.security.tls.certificate_file",
        option: Some("ssl-certificate-location"),
        takes: || "path of a PEM file".into(),
        default: "none",
        purpose: "The client's certificate and its chain.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.tls.certificate_file, input.path())
        }),
    },
    Setting {
        key: "destination.security.tls.certificate_pem",
        option: Some("ssl-keystore-certificate-chain"),
        takes: || "PEM text".into(),
        default: "none",
        purpose: "The client's certificate and its chain, as PEM text.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.tls.certificate_pem, pem(input))
        }),
    },
    Setting {
        key: "destination.security.tls.key_file",
        option: Some("ssl-key-location"),
        takes: || "path of a PEM file".into(),
        default: "none",
        purpose: "The client's private key.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.security.tls.key_file, input.path())),
    },
    Setting {
        key: "destination.security.tls.key_pem",
        option: Some("ssl-keystore-key"),
        takes: || "PEM text".into(),
        default: "none",
        purpose: "The client's private key, as PEM text.",
        secret: true,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            let checked = pem(input)?;
            set_some(&mut draft.security.tls.key_pem, Ok(checked.map(crate::Secret::new)))
        }),
    },
    Setting {
        key: "destination.security.tls.key_password",
        option: Some("ssl-key-password"),
        takes: || "text".into(),
        default: "none",
        purpose: "The password of a private key in PEM, or in a JKS store where it is another than the store's.",
        secret: true,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.tls.key_password, input.secret())
        }),
    },
    Setting {
        key: "destination.security.tls.keystore_file",
        option: Some("ssl-keystore-location"),
        takes: || "path of a PKCS#12 or JKS store, or of a PEM file that holds key and certificates".into(),
        default: "none",
        purpose: "The client's private key and certificates in one file.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.tls.keystore_file, input.path())
        }),
    },
    Setting {
        key: "destination.security.tls.keystore_password",
        option: Some("ssl-keystore-password"),
        takes: || "text".into(),
        default: "none",
        purpose: "The password of the key store.",
        secret: true,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.tls.keystore_password, input.secret())
        }),
    },
    Setting {
        key: "destination.security.tls.keystore_type",
        option: Some("ssl-keystore-type"),
        takes: one_of::<StoreFormat>,
        default: "what the file begins with",
        purpose: "The format of a key store whose first bytes do not tell it.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.tls.keystore_type, input.keyword())
        }),
    },
    Setting {
        key: "destination.security.tls.verify_hostname",
        option: Some("ssl-endpoint-identification-algorithm"),
        takes: || "`true` or `false`".into(),
        default: "`true`",
        purpose: "Whether the broker's certificate must carry the name that was connected to.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.security.tls.verify_hostname, verify_hostname(input))
        }),
    },
    Setting {
        key: "destination.security.tls.cipher_suites",
        option: Some("ssl-cipher-suites"),
        takes: || "OpenSSL's names, separated by colons".into(),
        default: "OpenSSL's choice",
        purpose: "The cipher suites of TLS 1.2. Those of TLS 1.3 are always allowed.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set(&mut draft.security.tls.cipher_suites, cipher_suites(input))
        }),
    },
    Setting {
        key: "destination.security.sasl.mechanism",
        option: Some("sasl-mechanism"),
        takes: one_of::<Mechanism>,
        default: "what the login module implies, else none; the agent waits until it is set",
        purpose: "How the client proves who it is.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.sasl.mechanism, mechanism(input))
        }),
    },
    Setting {
        key: "destination.security.sasl.username",
        option: Some("sasl-username"),
        takes: || "text".into(),
        default: "none",
        purpose: "The user, for PLAIN and SCRAM.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.security.sasl.username, input.text())),
    },
    Setting {
        key: "destination.security.sasl.password",
        option: Some("sasl-password"),
        takes: || "text".into(),
        default: "none",
        purpose: "The password, for PLAIN and SCRAM.",
        secret: true,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.security.sasl.password, input.secret())),
    },
    Setting {
        key: "destination.security.sasl.token_endpoint",
        option: Some("sasl-oauthbearer-token-endpoint-url"),
        takes: || "URL, `https://` or `http://`".into(),
        default: "none",
        purpose: "Where OAUTHBEARER gets its token: the issuer's token endpoint.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.sasl.token_endpoint, url(input))
        }),
    },
    Setting {
        key: "destination.security.sasl.client_id",
        option: Some("sasl-oauthbearer-client-credentials-client-id"),
        takes: || "text".into(),
        default: "none",
        purpose: "The client's id at the issuer, for OAUTHBEARER.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.security.sasl.client_id, input.text())),
    },
    Setting {
        key: "destination.security.sasl.client_secret",
        option: Some("sasl-oauthbearer-client-credentials-client-secret"),
        takes: || "text".into(),
        default: "none",
        purpose: "The client's secret at the issuer, for OAUTHBEARER.",
        secret: true,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.sasl.client_secret, input.secret())
        }),
    },
    Setting {
        key: "destination.security.sasl.scope",
        option: Some("sasl-oauthbearer-scope"),
        takes: || "text".into(),
        default: "none",
        purpose: "The scope that is asked for, for OAUTHBEARER.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.security.sasl.scope, input.text())),
    },
    Setting {
        key: "destination.security.sasl.aws_region",
        option: Some("sasl-aws-region"),
        takes: || "region, such as `eu-central-1`".into(),
        default: "`AWS_REGION`, else `AWS_DEFAULT_REGION`",
        purpose: "The region of the cluster, for AWS_MSK_IAM.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| set_some(&mut draft.security.sasl.aws_region, input.text())),
    },
    Setting {
        key: "destination.security.sasl.aws_profile",
        option: Some("sasl-aws-profile"),
        takes: || "name".into(),
        default: "the first credentials that are found",
        purpose: "The profile of the shared credentials file, for AWS_MSK_IAM.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.sasl.aws_profile, input.text())
        }),
    },
    Setting {
        key: "destination.security.sasl.kerberos_service_name",
        option: Some("sasl-kerberos-service-name"),
        takes: || "name".into(),
        default: "`kafka`",
        purpose: "The first part of the brokers' principal, for GSSAPI.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.sasl.kerberos_service_name, input.text())
        }),
    },
    Setting {
        key: "destination.security.sasl.kerberos_principal",
        option: Some("sasl-kerberos-principal"),
        takes: || "principal, such as `keyferry@EXAMPLE.ORG`".into(),
        default: "none",
        purpose: "The client's principal, for GSSAPI.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.sasl.kerberos_principal, input.text())
        }),
    },
    Setting {
        key: "destination.security.sasl.kerberos_keytab",
        option: Some("sasl-kerberos-keytab"),
        takes: || "path".into(),
        default: "none",
        purpose: "The file with the client's keys, for GSSAPI.",
        secret: false,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.sasl.kerberos_keytab, input.path())
        }),
    },
    Setting {
        key: "destination.security.sasl.jaas_config",
        option: Some("sasl-jaas-config"),
        takes: || "a login module in Java's notation".into(),
        default: "none",
        purpose: "User and password, or client id and secret, as Kafka's Java clients take them.",
        secret: true,
        class: Class::Swap,
        apply: Apply::Destination(|draft, input| {
            set_some(&mut draft.security.sasl.jaas_config, input.secret())
        }),
    },
    Setting {
        key: "backpressure.elevated_backlog",
        option: None,
        takes: || "size".into(),
        default: "`8MiB`",
        purpose: "Backpressure is elevated when so much is not delivered.",
        secret: false,
        class: Class::Live,
        apply: Apply::Agent(|draft, input| {
            set(&mut draft.journal.backpressure.elevated_backlog, input.size(0..=u64::MAX))
        }),
    },
    Setting {
        key: "backpressure.elevated_age",
        option: None,
        takes: || "duration".into(),
        default: "`10s`",
        purpose: "Backpressure is elevated when the oldest event that is not delivered is so old.",
        secret: false,
        class: Class::Live,
        apply: Apply::Agent(|draft, input| {
            set(&mut draft.journal.backpressure.elevated_age, input.duration(0..=LONGEST_KEEP_MS))
        }),
    },
    Setting {
        key: "backpressure.high_age",
        option: None,
        takes: || "duration".into(),
        default: "`1m`",
        purpose: "Backpressure is high when the oldest event that is not delivered is so old.",
        secret: false,
        class: Class::Live,
        apply: Apply::Agent(|draft, input| {
            set(&mut draft.journal.backpressure.high_age, input.duration(0..=LONGEST_KEEP_MS))
        }),
    },
    Setting {
        key: "backpressure.high_time_to_full",
        option: None,
        takes: || "duration".into(),
        default: "`1h`",
        purpose: "Backpressure is high when the journal, growing as it does, reaches its ceiling or fills its file system in this time.",
        secret: false,
        class: Class::Live,
        apply: Apply::Agent(|draft, input| {
            set(&mut draft.journal.backpressure.high_time_to_full, input.duration(0..=LONGEST_KEEP_MS))
        }),
    },
    Setting {
        key: "backpressure.high_used",
        option: None,
        takes: || "whole number from 1 to 100".into(),
        default: "`50`",
        purpose: "Backpressure is high when so many percent of what the journal may have are used.",
        secret: false,
        class: Class::Live,
        apply: Apply::Agent(|draft, input| {
            let parsed = input.integer(1..=100, "")?;
            set(&mut draft.journal.backpressure.high_used, Ok(parsed.map(|number| number as u8)))
        }),
    },
    Setting {
        key: "backpressure.critical_time_to_full",
        option: None,
        takes: || "duration".into(),
        default: "`10m`",
        purpose: "Backpressure is critical when the journal, growing as it does, reaches its ceiling or fills its file system in this time.",
        secret: false,
        class: Class::Live,
        apply: Apply::Agent(|draft, input| {
            set(&mut draft.journal.backpressure.critical_time_to_full, input.duration(0..=LONGEST_KEEP_MS))
        }),
    },
    Setting {
        key: "backpressure.critical_used",
        option: None,
        takes: || "whole number from 1 to 100".into(),
        default: "`80`",
        purpose: "Backpressure is critical when so many percent of what the journal may have are used.",
        secret: false,
        class: Class::Live,
        apply: Apply::Agent(|draft, input| {
            let parsed = input.integer(1..=100, "")?;
            set(&mut draft.journal.backpressure.critical_used, Ok(parsed.map(|number| number as u8)))
        }),
    },
    Setting {
        key: "backpressure.low_priority",
        option: None,
        takes: || "types of user events, separated by commas".into(),
        default: "none",
        purpose: "User events of these types, such as `CODE_TO_TOKEN, REFRESH_TOKEN`, are passed over while backpressure is as high as \
                  `backpressure.low_priority_from`. Gap records tell of them.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.journal.backpressure.low_priority, input.parse())),
    },
    Setting {
        key: "backpressure.low_priority_from",
        option: None,
        takes: one_of::<PressureLevel>,
        default: "`high`",
        purpose: "From which level of backpressure on events of low priority are passed over.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| {
            set(&mut draft.journal.backpressure.low_priority_from, input.keyword())
        }),
    },
    Setting {
        key: "backpressure.low_priority_sample",
        option: None,
        takes: || "whole number".into(),
        default: "`10`",
        purpose: "Of so many events of low priority one is sent all the same. `0` holds all of them back.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| {
            let parsed = input.integer(0..=1_000_000, "")?;
            set(&mut draft.journal.backpressure.low_priority_sample, Ok(parsed.map(|number| number as u32)))
        }),
    },
    Setting {
        key: "api.listen",
        option: Some("api-listen"),
        takes: || "`off`, or an IP address with a port".into(),
        default: "`off`",
        purpose: "Where the web page and the HTTP API are served over TCP, such as `127.0.0.1:9470`. An address that other machines reach needs `api.tls`, or `api.plain_text`, and a token or a login. The Unix socket has the API in any case.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.api.listen, listen(input))),
    },
    Setting {
        key: "api.plain_text",
        option: Some("api-plain-text"),
        takes: one_of::<PlainText>,
        default: "`loopback`",
        purpose: "Where the API may be served, and Keycloak be asked, without encryption. `anywhere` is for a place where something else encrypts, such as a service mesh.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.api.plain_text, input.keyword())),
    },
    Setting {
        key: "api.origins",
        option: Some("api-origins"),
        takes: || "origins, separated by commas, or a list of them".into(),
        default: "none: `localhost` and addresses",
        purpose: "Under which names the page is known to browsers and other clients, such as `https://keyferry.example.org`. A request for any other name is refused.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.api.origins, origins(input))),
    },
    Setting {
        key: "api.requests_per_second",
        option: Some("api-requests-per-second"),
        takes: || "whole number from 1 to 100000".into(),
        default: "`50`",
        purpose: "How often one client may ask `api.listen`; four times as many may come at once.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| {
            let parsed = input.integer(1..=100_000, "")?;
            set(&mut draft.api.requests_per_second, Ok(parsed.map(|number| number as u32)))
        }),
    },
    Setting {
        key: "api.token",
        option: Some("api-token"),
        takes: || "text of at least 16 characters".into(),
        default: "none: if there is no other either, nor a login, what `api.listen` serves can be read by every user of the machine, and changes nothing",
        purpose: "A token whose bearer is an admin, such as `${file:/run/secrets/keyferry-api}`. References are resolved at each request.",
        secret: true,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set_some(&mut draft.api.token, token(input))),
    },
    Setting {
        key: "api.tokens.viewer",
        option: Some("api-tokens-viewer"),
        takes: || "tokens as `name=token`, separated by commas, or a list of them".into(),
        default: "none",
        purpose: "Tokens whose bearer reads, such as `grafana=${file:/run/secrets/grafana}`. The name is who the log says it was. References are resolved at each request.",
        secret: true,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.api.tokens.viewer, tokens(input))),
    },
    Setting {
        key: "api.tokens.operator",
        option: Some("api-tokens-operator"),
        takes: || "tokens as `name=token`, separated by commas, or a list of them".into(),
        default: "none",
        purpose: "Tokens whose bearer acts as well: breaker, tuner, connections, incidents, silences, such as `oncall=${file:/run/secrets/oncall}`. The name is who the log says it was. References are resolved at each request.",
        secret: true,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.api.tokens.operator, tokens(input))),
    },
    Setting {
        key: "api.tokens.admin",
        option: Some("api-tokens-admin"),
        takes: || "tokens as `name=token`, separated by commas, or a list of them".into(),
        default: "none",
        purpose: "Tokens whose bearer changes the configuration and the log as well, such as `ops=${file:/run/secrets/ops}`. The name is who the log says it was. References are resolved at each request.",
        secret: true,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.api.tokens.admin, tokens(input))),
    },
    Setting {
        key: "api.tls.certificate",
        option: Some("api-tls-certificate"),
        takes: || "path".into(),
        default: "none: no encryption",
        purpose: "The certificate that `api.listen` shows, and behind it those that lead to its authority, as PEM. It is read again when it is renewed.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set_some(&mut draft.api.certificate, input.path())),
    },
    Setting {
        key: "api.tls.key",
        option: Some("api-tls-key"),
        takes: || "path".into(),
        default: "none",
        purpose: "The key of the certificate, as PEM without a password.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set_some(&mut draft.api.key, input.path())),
    },
    Setting {
        key: "api.oidc.issuer",
        option: Some("api-oidc-issuer"),
        takes: || "URL".into(),
        default: "none: nobody logs in",
        purpose: "The realm of Keycloak at which users of the page log in, such as `https://keycloak.example.org/realms/ops`. Its access tokens are taken as tokens as well.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set_some(&mut draft.api.issuer, url(input))),
    },
    Setting {
        key: "api.oidc.client_id",
        option: Some("api-oidc-client-id"),
        takes: || "text".into(),
        default: "`keyferry`",
        purpose: "The client that the agent is there.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.api.oidc.client_id, input.text())),
    },
    Setting {
        key: "api.oidc.client_secret",
        option: Some("api-oidc-client-secret"),
        takes: || "secret".into(),
        default: "none: a public client",
        purpose: "The client's secret, such as `${file:/run/secrets/keyferry-oidc}`. References are resolved at each login.",
        secret: true,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set_some(&mut draft.api.oidc.client_secret, input.secret())),
    },
    Setting {
        key: "api.oidc.viewer_role",
        option: Some("api-oidc-viewer-role"),
        takes: || "text".into(),
        default: "`keyferry-viewer`",
        purpose: "The role of Keycloak, of the realm or of the client, whose bearer reads.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.api.oidc.viewer_role, input.text())),
    },
    Setting {
        key: "api.oidc.operator_role",
        option: Some("api-oidc-operator-role"),
        takes: || "text".into(),
        default: "`keyferry-operator`",
        purpose: "The role of Keycloak, of the realm or of the client, whose bearer acts as well.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.api.oidc.operator_role, input.text())),
    },
    Setting {
        key: "api.oidc.admin_role",
        option: Some("api-oidc-admin-role"),
        takes: || "text".into(),
        default: "`keyferry-admin`",
        purpose: "The role of Keycloak, of the realm or of the client, whose bearer changes the configuration as well.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.api.oidc.admin_role, input.text())),
    },
    Setting {
        key: "api.oidc.session",
        option: Some("api-oidc-session"),
        takes: || "duration".into(),
        default: "`1h`",
        purpose: "How long a user stays logged in, and keeps a role that is taken away: from `1m` to `24h`.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| {
            set(&mut draft.api.oidc.session, input.duration(60_000..=86_400_000))
        }),
    },
    Setting {
        key: "metrics.listen",
        option: Some("metrics-listen"),
        takes: || "`off`, or an IP address with a port".into(),
        default: "`off`",
        purpose: "Where metrics are served for Prometheus over HTTP without encryption or authentication, such as `127.0.0.1:9464`. The Unix socket has them in any case.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.metrics.listen, listen(input))),
    },
    Setting {
        key: "metrics.otlp.endpoint",
        option: Some("metrics-otlp-endpoint"),
        takes: || "`off`, or a URL".into(),
        default: "`off`",
        purpose: "Where metrics are pushed to by OTLP over HTTP (protobuf), with its path, such as `http://localhost:4318/v1/metrics`.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.metrics.otlp.endpoint, endpoint(input))),
    },
    Setting {
        key: "metrics.otlp.interval",
        option: Some("metrics-otlp-interval"),
        takes: || "duration".into(),
        default: "`60s`",
        purpose: "How often metrics are pushed: from `1s` to `1h`.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| {
            set(&mut draft.metrics.otlp.interval, input.duration(1_000..=3_600_000))
        }),
    },
    Setting {
        key: "metrics.otlp.headers",
        option: Some("metrics-otlp-headers"),
        takes: || "headers as `name=value`, separated by commas".into(),
        default: "none",
        purpose: "What is sent along with a push, such as `Authorization=Bearer ${env:OTLP_TOKEN}`. A value cannot have a comma in it. References are resolved at each push.",
        secret: true,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set_some(&mut draft.metrics.otlp.headers, headers(input))),
    },
    Setting {
        key: "alerts.file",
        option: Some("alerts-file"),
        takes: || "path".into(),
        default: "none: the default rules hold and are told to the log",
        purpose: "The file with rules, channels, routes and playbooks for alerts and incidents: docs/alerts.md.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set_some(&mut draft.alerts_file, input.path())),
    },
    Setting {
        key: "config.probation",
        option: None,
        takes: || "duration".into(),
        default: "`60s`",
        purpose: "For how long it is watched whether a change of the configuration makes things worse: then it is taken back. `0s` watches nothing.",
        secret: false,
        class: Class::Live,
        apply: Apply::Agent(|draft, input| set_some(&mut draft.probation, input.duration(0..=86_400_000))),
    },
    Setting {
        key: "config.topic",
        option: Some("config-topic"),
        takes: || "name of a topic".into(),
        default: "none: each node is changed by itself",
        purpose: "The topic, in the first destination's cluster, by which all nodes that name it are changed at once (`keyferry config set --all-nodes`) and \
                  tell what they run: docs/changes.md. It must be compacted; `destination.topics.create` lets Keyferry create it. Who may write to it changes every node.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set_some(&mut draft.config_topic, input.parse())),
    },
    Setting {
        key: "log.level",
        option: Some("log-level"),
        takes: one_of::<LogLevel>,
        default: "`info`",
        purpose: "The least severe message that is logged.",
        secret: false,
        class: Class::Live,
        apply: Apply::Agent(|draft, input| set(&mut draft.log.level, input.keyword())),
    },
    Setting {
        key: "log.format",
        option: Some("log-format"),
        takes: one_of::<LogFormat>,
        default: "`text`",
        purpose: "The form of the log. An agent that the provider starts always writes JSON.",
        secret: false,
        class: Class::Restart,
        apply: Apply::Agent(|draft, input| set(&mut draft.log.format, input.keyword())),
    },
];

fn set<T>(slot: &mut T, parsed: ParseResult<T>) -> Applied {
    let parsed = parsed?;
    *slot = parsed.value;
    Ok(parsed.overruled)
}

fn set_some<T>(slot: &mut Option<T>, parsed: ParseResult<T>) -> Applied {
    let parsed = parsed?;
    *slot = Some(parsed.value);
    Ok(parsed.overruled)
}

/// Only the beginning is checked: a path in place of the text is the common mistake.
fn pem(input: Input<'_>) -> ParseResult<String> {
    let text = input.text()?;
    if text.value.contains("-----BEGIN ") {
        return Ok(text);
    }
    Err(expected("PEM text that begins with `-----BEGIN`, not the path of a file"))
}

/// Only its length is checked.
fn hash_key(input: Input<'_>) -> ParseResult<Secret> {
    let secret = input.secret()?;
    match HashKey::new(secret.value.expose().as_bytes()) {
        Ok(_) => Ok(secret),
        Err(short) => Err(expected(&short.to_string())),
    }
}

fn url(input: Input<'_>) -> ParseResult<String> {
    let text = input.text()?;
    if is_url(&text.value) {
        return Ok(text);
    }
    Err(expected("a URL that begins with `https://` or `http://` and carries no credentials"))
}

/// `off`, or a URL.
fn endpoint(input: Input<'_>) -> ParseResult<Option<String>> {
    if input.text.trim() == "off" { Ok(Parsed::as_given(None)) } else { Ok(url(input)?.map(Some)) }
}

/// A list of headers: what is wrong with it is not shown, because it is a secret.
fn headers(input: Input<'_>) -> ParseResult<Secret> {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
    };
    let is_value = |value: &str| value.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    let is_header =
        |pair: Option<(&str, &str)>| pair.is_some_and(|(name, value)| is_name(name) && is_value(value));
    // What references stand for is not known yet.
    if has_reference(input.text) || pairs(input.text).all(is_header) {
        return input.secret();
    }
    Err(expected("headers as `name=value`, separated by commas"))
}

/// `off`, or an address.
fn listen(input: Input<'_>) -> ParseResult<Option<SocketAddr>> {
    match input.text.trim() {
        "off" => Ok(Parsed::as_given(None)),
        text => match text.parse() {
            Ok(address) => Ok(Parsed::as_given(Some(address))),
            Err(_) => {
                Err(expected("`off`, or an IP address with a port, such as `127.0.0.1:9464` or `[::1]:9464`"))
            }
        },
    }
}

/// Of a token that is a reference the length is seen when it is resolved.
fn token(input: Input<'_>) -> ParseResult<Secret> {
    if has_reference(input.text) || input.text.len() >= Api::SHORTEST_TOKEN {
        return input.secret();
    }
    Err(expected(&format!("a text of at least {} characters", Api::SHORTEST_TOKEN)))
}

/// Kafka's names are `https` and the empty text; the listener that Keyferry replaces wrote `disabled` for the latter.
fn verify_hostname(input: Input<'_>) -> ParseResult<bool> {
    if input.dialect == Dialect::Native {
        return input.boolean();
    }
    match input.text.trim().to_ascii_lowercase().as_str() {
        "https" => Ok(Parsed::as_given(true)),
        "" | "disabled" | "none" => Ok(Parsed::as_given(false)),
        _ => Err(expected("`https`, or `disabled` for none")),
    }
}

fn cipher_suites(input: Input<'_>) -> ParseResult<Option<String>> {
    match input.dialect {
        Dialect::Native => Ok(input.text()?.map(Some)),
        Dialect::Kafka => ciphers::from_java(input.text),
    }
}

/// Kerberos is a matter of how the agent was built.
fn mechanism(input: Input<'_>) -> ParseResult<Mechanism> {
    let parsed = input.keyword()?;
    if parsed.value == Mechanism::Gssapi && !cfg!(feature = "gssapi") {
        return Err(Rejected::Refused(NO_KERBEROS.to_owned()));
    }
    Ok(parsed)
}

/// What is said of Kerberos where it is not built in.
pub(crate) const NO_KERBEROS: &str = "this agent is built without Kerberos: build it with the cargo feature `gssapi` (docs/security.md), or use \
                                      SCRAM-SHA-512, PLAIN or OAUTHBEARER, or a client certificate with the protocol SSL";
