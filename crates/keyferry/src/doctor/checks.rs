//! What is examined, and what is to be done where it is not as it should be. `docs/doctor.md` is generated from this table.

use super::finding::{Finding, Severity};

/// One thing that is examined.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, for programs and for looking it up.
    pub id: &'static str,
    /// What is examined.
    pub examines: &'static str,
    /// What is to be done where it is not as it should be.
    pub remedy: &'static str,
}

impl Check {
    /// It is as it should be.
    pub fn ok(&'static self, place: impl ToString, what: impl Into<String>) -> Finding {
        Finding::of(self, Severity::Ok, place.to_string(), what.into())
    }

    /// It works, and deserves a look.
    pub fn warning(&'static self, place: impl ToString, what: impl Into<String>) -> Finding {
        Finding::of(self, Severity::Warning, place.to_string(), what.into())
    }

    /// It keeps events from being delivered, or puts them at risk.
    pub fn problem(&'static self, place: impl ToString, what: impl Into<String>) -> Finding {
        Finding::of(self, Severity::Problem, place.to_string(), what.into())
    }

    /// It could not be examined, and why.
    pub fn skipped(&'static self, place: impl ToString, why: impl Into<String>) -> Finding {
        Finding::of(self, Severity::Skipped, place.to_string(), why.into())
    }

    /// It could not be examined because of what was found before.
    pub fn after(&'static self, place: impl ToString, failed: &Check) -> Finding {
        self.skipped(place, format!("only makes sense when {} is as it should be", failed.id))
    }
}

/// The table, and a name for each of its rows.
macro_rules! checks {
    ($($name:ident = $id:literal: $examines:literal, $remedy:literal;)*) => {
        $(
            #[doc = $examines]
            pub static $name: Check = Check { id: $id, examines: $examines, remedy: $remedy };
        )*
        /// Every check, in the order in which they are made.
        #[cfg(test)]
        pub static CHECKS: &[&Check] = &[$(&$name),*];
    };
}

checks! {
    CONFIG_VALID = "config.valid": "The configuration can be read, and every value is one that its key can have.",
        "Correct the value that is named; docs/configuration.md tells what each key can have.";
    CONFIG_UNKNOWN_KEY = "config.unknown-key": "Every key, option and variable of the configuration exists.",
        "Correct its spelling or remove it; docs/configuration.md has every key.";
    CONFIG_COMPLETE = "config.complete": "Nothing is missing that a destination needs.",
        "Set what is named; without it the agent waits and the journal keeps the events. Options that only Keycloak knows are read from its conf/keycloak.conf and its KC_… variables: give --keycloak, or --config.";
    CONFIG_SECRET = "config.secret": "Every reference to a secret leads to something that can be read.",
        "Create the file or variable that is named, and let the user of the agent read it.";
    CONFIG_WARNING = "config.warning": "Every value has the effect that it seems to have.",
        "Remove the value, or set it as the text says.";
    CONFIG_IN_USE = "config.in-use": "The running agent uses what the configuration says now.",
        "Correct what is named; the agent takes it up by itself. `keyferry config show` tells what is in use.";
    PROVIDER_JAR = "provider.jar": "The provider's jar is in Keycloak's providers directory, once.",
        "Put one keyferry jar into Keycloak's `providers` directory and build Keycloak anew (`kc.sh build`).";
    PROVIDER_VERSION = "provider.version": "The provider's jar and this agent are of one release.",
        "Use the jar and the agent of one release: the jar carries its agent, so replace the older of the two.";
    PROVIDER_BUILD = "provider.build": "Keycloak was built with the jar that is there now.",
        "Run `kc.sh build`, or start without `--optimized`.";
    JOURNAL_DIRECTORY = "journal.directory": "There is a journal.",
        "Give the directory that the provider's option `journal-dir` names. If there is none yet: start Keycloak with the provider and with `kafka` among a realm's event listeners.";
    DISK_SPACE = "disk.space": "The journal's file system has room for segments to come.",
        "Make room, or move the journal to a larger file system: without room events cannot be journaled.";
    DISK_INODES = "disk.inodes": "The journal's file system can hold more files.",
        "Remove files, or use a file system with more inodes.";
    DISK_KIND = "disk.kind": "The journal's file system survives a restart, and its locks work.",
        "Put the journal on a local disk or a persistent volume.";
    JOURNAL_MODE = "journal.mode": "Only its owner can read and write the journal (directories 0700, files 0600).",
        "`chmod -R u+rwX,go= DIR`: events hold personal data.";
    JOURNAL_OWNER = "journal.owner": "Everything in the journal belongs to one user, that of Keycloak and the agent.",
        "`chown -R` it to the owner of the journal directory, and run agent and tools as that user.";
    JOURNAL_WRITABLE = "journal.writable": "The journal can be written.",
        "Mount the file system for writing, and see why it was not: a disk with errors is mounted read-only.";
    JOURNAL_DAMAGE = "journal.damage": "Everything in the journal can be read.",
        "`keyferry journal check` tells what is damaged and what it means; look at the disk's health.";
    JOURNAL_IN_DOUBT = "journal.in-doubt": "No event waits for an operator's decision.",
        "Decide: `keyferry in-doubt ls`, then `publish` or `drop`.";
    JOURNAL_EVENTS = "journal.events": "Keycloak has journaled events.",
        "Add `kafka` to the realm's event listeners (Realm settings, Events), or set the option `global`; then log in once.";
    AGENT_RUNNING = "agent.running": "An agent ships each slot that is written or has something undelivered.",
        "See Keycloak's log for why the provider's agent does not run; with `agent = external` start `keyferry run --journal DIR`.";
    AGENT_ANSWERS = "agent.answers": "The process that holds a slot's lock answers at its socket.",
        "It hangs, or is stopped: see its log, and end the process that is named; another agent takes the slot over.";
    AGENT_VERSION = "agent.version": "The running agent is of this release.",
        "Restart Keycloak, or the agent, so that the new release runs.";
    AGENT_BREAKER = "agent.breaker": "The running agent's circuit breakers are closed.",
        "Mend what the reason names; the breaker then closes by itself. One that was forced open goes on with `keyferry breaker DIR auto`.";
    AGENT_DELIVERY = "agent.delivery": "The running agent delivers.",
        "Mend what the reason names; the journal keeps the events meanwhile.";
    AGENT_BACKLOG = "agent.backlog": "The running agent keeps up.",
        "See docs/outages.md: give the journal more room or mend what slows delivery.";
    AGENT_DEAD_LETTERS = "agent.dead-letters": "No record was refused for good.",
        "`keyferry dead-letter ls` tells why; mend it and `keyferry dead-letter retry`.";
    AGENT_MISSING = "agent.missing": "Every event could be journaled and read.",
        "`keyferry journal check` names what is missing and why: mostly a full disk or the journal's ceiling.";
    MACHINE_GLIBC = "machine.glibc": "The C library is one that the agent runs on.",
        "Use an image with glibc 2.28 or later, such as Keycloak's own; Alpine's musl does not do.";
    MACHINE_MEMORY = "machine.memory": "The container may have as much memory as the agent needs.",
        "Raise the container's memory limit, or lower `destination.delivery.buffer`.";
    MACHINE_PROCESSOR = "machine.processor": "The container may use enough of a processor.",
        "Raise the container's CPU limit: a throttled agent delivers late.";
    MACHINE_OPEN_FILES = "machine.open-files": "The process may have enough files and connections open.",
        "Raise the limit of open files (`ulimit -n`, LimitNOFILE of the service, or the container's) to 1024 or more.";
    NET_DNS = "net.dns": "The name of each bootstrap server can be resolved.",
        "Correct the name in `bootstrap-servers`, or DNS (/etc/resolv.conf, the container's search domains).";
    NET_TCP = "net.tcp": "Each bootstrap server takes connections.",
        "Check the port in `bootstrap-servers`, that the broker runs, and firewalls and network policies on the way.";
    TLS_HANDSHAKE = "tls.handshake": "The server speaks TLS, and client and server come to terms.",
        "Check that the port is one for TLS, that `security-protocol` fits it, and the files of authorities, certificate and key.";
    TLS_TIME = "tls.expired": "The server's certificate is valid now, and for some time to come.",
        "Have the broker's certificate renewed; if it is not expired, set this machine's clock.";
    TLS_HOST_NAME = "tls.host-name": "The server's certificate is for the host that is connected to.",
        "Use the name that the certificate has in `bootstrap-servers`, or have a certificate issued for this one.";
    TLS_AUTHORITY = "tls.authority": "An authority that is trusted vouches for the server's certificate.",
        "Give the authority that issued it: `destination.security.tls.ca_file` (`ssl-truststore-location`).";
    TLS_CLIENT = "tls.client-certificate": "The client's own certificate is valid now, and for some time to come.",
        "Renew it; the agent takes the new file up by itself.";
    KAFKA_ANSWERS = "kafka.answers": "The cluster answers.",
        "Check that the brokers' advertised.listeners can be reached from here, and that `security-protocol` fits the port.";
    KAFKA_LOGIN = "kafka.login": "The cluster accepts the login.",
        "Correct user and password (or token or certificate) and the SASL mechanism.";
    KAFKA_IDEMPOTENCE = "kafka.idempotent-write": "This user may be an idempotent producer.",
        "Grant IDEMPOTENT_WRITE on the cluster (brokers before 2.8), or WRITE on a topic.";
    TOPIC_EXISTS = "topic.exists": "The topics exist.",
        "Create the topic, or set `destination.topics.create`.";
    TOPIC_DESCRIBE = "topic.describe": "This user may know of the topics.",
        "Grant DESCRIBE and WRITE on the topic.";
    TOPIC_WRITE = "topic.write": "This user may write to the topics.",
        "Grant WRITE on the topic.";
    TOPIC_LEADERS = "topic.leaders": "Each partition of the topics has a leader.",
        "Bring back the brokers that are away.";
    TOPIC_IN_SYNC = "topic.min-insync-replicas": "min.insync.replicas can be met, and means something.",
        "Set min.insync.replicas to 2 with a replication factor of 3.";
    TOPIC_SIZE = "topic.max-message-bytes": "The topics take records as large as the client sends.",
        "Raise the topic's max.message.bytes, or lower `destination.delivery.max_request_size`.";
    TOPIC_RETENTION = "topic.retention": "Consumers may be away for as long as `destination.topics.outage_budget` says.",
        "Raise the topic's retention.ms.";
    TOPIC_CLEANUP = "topic.cleanup-policy": "The topics keep every event.",
        "Set the topic's cleanup.policy to delete.";
    CONFIG_TOPIC = "config.topic": "The topic by which all nodes are changed at once exists, is compacted, and can be written.",
        "Create it with one partition and cleanup.policy=compact, or set `destination.topics.create`; grant READ, WRITE, DESCRIBE and DESCRIBE_CONFIGS on it.";
    REGISTRY_ANSWERS = "registry.answers": "The schema registry can be reached and lets the agent in, where the format needs one.",
        "See docs/schema-registry.md for what is told; until there is an id the journal keeps the events.";
    REGISTRY_SCHEMA = "registry.schema": "The registry has the schema under each subject, or takes it.",
        "Register the schema of `schemas/` under the subject, set destination.registry.register = true, or choose another compatibility level for the subject.";
    PROBE_ROUND_TRIP = "probe.round-trip": "A record that is sent is acknowledged (`--probe-topic`).",
        "Mend what the text names; the agent's records would fare no better.";
    CLOCK_SKEW = "clock.skew": "This machine's clock and the broker's agree (needs a probe topic with message.timestamp.type=LogAppendTime).",
        "Let a time service (NTP, chrony) set both clocks: certificates, tokens and alerts depend on them.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Where the table begins and ends in the document.
    const MARKS: (&str, &str) = ("<!-- checks -->\n", "<!-- /checks -->\n");

    fn table() -> String {
        let row = |check: &&Check| format!("| `{}` | {} | {} |\n", check.id, check.examines, check.remedy);
        let rows: String = CHECKS.iter().map(row).collect();
        format!("\n| check | what is examined | what to do where it is not so |\n|---|---|---|\n{rows}\n")
    }

    #[test]
    fn the_document_has_every_check_and_its_remedy() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/doctor.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(MARKS.0).unwrap();
        let (told, after) = rest.split_once(MARKS.1).unwrap();
        if std::env::var_os("KEYFERRY_DOCS").is_some_and(|wish| wish == "write") {
            std::fs::write(&path, [before, MARKS.0, &table(), MARKS.1, after].concat()).unwrap();
            return;
        }
        assert_eq!(told, table(), "generate docs/doctor.md with KEYFERRY_DOCS=write");
    }

    #[test]
    fn no_two_checks_have_one_name() {
        let ids: BTreeSet<_> = CHECKS.iter().map(|check| check.id).collect();
        assert_eq!(ids.len(), CHECKS.len());
    }
}
