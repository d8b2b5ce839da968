//! The options that the provider reads itself. They arrive in the same map as the agent's and are none of its business.

/// One option of the provider.
pub struct ProviderOption {
    /// Its name, without Keycloak's prefix.
    pub name: &'static str,
    /// Its default, in words.
    pub default: &'static str,
    /// What it does, in one or two sentences.
    pub purpose: &'static str,
}

/// Every option of the provider, in the order of the documentation.
pub static PROVIDER_OPTIONS: &[ProviderOption] = &[
    option("events", "every type", "The types of user events that are journaled, separated by commas."),
    option(
        "global",
        "`false`",
        "Whether the events of all realms are journaled, also of those that do not list `kafka`.",
    ),
    option(
        "node",
        "the host's name",
        "The node's name in the journal, in record headers and in the client id.",
    ),
    option("journal-dir", "`<Keycloak's data directory>/keyferry`", "Where the journal is."),
    option("journal-segment-size", "`64MiB`", "The size at which the journal begins its next file."),
    option(
        "journal-overflow",
        "`drop-new`",
        "What happens when an event cannot be journaled: `drop-new` counts it and lets Keycloak go on, `refuse` makes \
         Keycloak's transaction fail, `drop-old` makes the agent give up the oldest events before `journal-max-size` is reached, \
         and counts like `drop-new` until it has.",
    ),
    option(
        "journal-max-size",
        "`none`",
        "How large the segments of a slot may become together: `none`, or a size of at least four times `journal-segment-size`.",
    ),
    option(
        "journal-min-free",
        "`1MiB`",
        "How much must stay free on the journal's file system. Below it no event is journaled; outcomes of transactions still are.",
    ),
    option(
        "journal-fsync",
        "`never`",
        "When the journal is forced to disk. `never`: it survives the end of any process but not a power cut. `interval`: a power \
         cut takes at most what was written in the last `journal-fsync-interval`. `commit`: the events of a transaction are on disk \
         before Keycloak's database commits; transactions that run at the same time share a sync.",
    ),
    option(
        "journal-fsync-interval",
        "`1s`",
        "How often the journal is forced to disk where no transaction waits for it, from `10ms` to `1h`.",
    ),
    option(
        "journal-settle",
        "`none`",
        "Whom the provider asks at its start for the outcome of transactions that the last process left without one: `none`, or \
         `event-store`, where realms save their events in Keycloak's database.",
    ),
    option(
        "journal-enrich",
        "`none`",
        "Names that the provider writes beside the ids of events, under the key `keyferry`: `none`, `all`, or some of `username`, `client`, `roles`, \
         `groups`, `impersonator` and `organization`, separated by commas ([events.md](events.md#names-beside-ids)).",
    ),
    option(
        "journal-unwanted",
        "`skip`",
        "What becomes of events of types that the filters of no destination let pass: `skip` does not journal them, `keep` does, for a later replay \
         under other filters ([events.md](events.md#what-nobody-wants-is-not-journaled)).",
    ),
    option(
        "journal-redact",
        "`none`",
        "What the provider masks before it journals an event: `none`, or `secrets`, by the names of fields and by shape. The agent masks secrets before it \
         publishes in any case ([events.md](events.md#redaction)).",
    ),
    option(
        "agent",
        "`child`",
        "Who runs the agent: `child` is the provider, `external` is somebody else (a sidecar, a service).",
    ),
    option("agent-path", "the one in the jar", "The agent's executable."),
    option("drain-timeout", "`10s`", "How long the agent may go on delivering when Keycloak stops."),
];

const fn option(name: &'static str, default: &'static str, purpose: &'static str) -> ProviderOption {
    ProviderOption { name, default, purpose }
}

/// Keycloak's own switch of a provider, which stands in the provider's scope.
const KEYCLOAK_SWITCH: &str = "enabled";

/// Whether the provider (or Keycloak itself) owns the option. Its `journal-…` and `agent-…` options may grow in number without the agent.
pub(crate) fn owns(option: &str) -> bool {
    PROVIDER_OPTIONS.iter().any(|known| known.name == option)
        || option == KEYCLOAK_SWITCH
        || option.starts_with("journal-")
        || option.starts_with("agent-")
}
