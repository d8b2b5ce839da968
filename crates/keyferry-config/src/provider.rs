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
         Keycloak's transaction fail.",
    ),
    option(
        "journal-fsync",
        "`never`",
        "When the journal is forced to disk: `never`, so that it survives the end of any process but not a power cut. Other \
         values are refused by this release.",
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
