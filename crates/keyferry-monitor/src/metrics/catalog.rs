//! Every metric that the agent exposes.
//!
//! The invariant: **this table is the only place where a metric is named.** `/metrics`, `docs/metrics.md`, the dashboards and the rules are made from
//! it, so that none of them can speak of one that does not exist.
//!
//! Names follow the [conventions of Prometheus](https://prometheus.io/docs/practices/naming/): base units, `_total` for what only grows. A shipment (one slot on its
//! way to one destination) is told by the labels `slot` and `destination`; each destination of a slot counts the same events for itself, so figures of events are never
//! to be added up over destinations.

use super::definition::{Kind, Metric, Unit, catalog};

/// From a millisecond to an hour, with the thresholds of the objectives among them.
const LATENCIES: Kind = Kind::Histogram(&[
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0,
]);
/// From the tenth of a microsecond to the tenth of a millisecond.
const ENCODINGS: Kind = Kind::Histogram(&[1e-7, 2e-7, 5e-7, 1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 1e-4]);

const COUNTER: Kind = Kind::Counter;
const GAUGE: Kind = Kind::Gauge;

catalog! {
    BUILD_INFO: GAUGE, None, "keyferry_build_info", ["version"],
        "Always 1; the label is the version of the agent.",
        "Two versions among the instances: an update is under way, or was forgotten.";
    START_TIME: GAUGE, Seconds, "keyferry_start_time_seconds", [],
        "When the agent started, in seconds since the Unix epoch.",
        "It changes: the agent was restarted. Often means that it dies; look into its log and Keycloak's.";
    WAITING: GAUGE, None, "keyferry_agent_waiting", [],
        "1 while the agent ships nothing at all: its configuration is refused, or another agent still serves its slot.",
        "`keyferry status` says what it waits for.";
    CONFIG_VERSION: GAUGE, None, "keyferry_config_version", [],
        "The number of the version of the configuration that runs.",
        "It rises: somebody, or something, has changed the configuration; `keyferry config history` says who and what.";
    CONFIG_NOT_IN_USE: GAUGE, None, "keyferry_config_file_not_in_use", [],
        "1 while what the configuration file says is not in use: it is broken, takes a restart, or was taken back.",
        "`keyferry config show` says why. At a start with a broken file the agent runs what ran last.";
    CONFIG_CHANGES: COUNTER, None, "keyferry_config_changes_total", ["outcome"],
        "Changes of the configuration, by what became of them: `committed`, `refused` (also by their trial), or `taken-back` because they made things worse.",
        "Something is taken back: `keyferry config history` says what was seen.";
    OTLP_PUSHES: COUNTER, None, "keyferry_otlp_pushes_total", ["outcome"],
        "How often metrics were pushed by OTLP, by outcome: `accepted` or `failed`.",
        "What failed is in the log. Nothing is lost but time: the next push has everything.";

    EVENTS_RECEIVED: COUNTER, None, "keyferry_events_received_total", ["slot", "destination", "kind", "type", "realm"],
        "Events met in the journal, each once.",
        "Compare with the same hour of another day: a jump is an attack or a runaway client, a drop is a Keycloak that nobody reaches.";
    EVENTS_PUBLISHED: COUNTER, None, "keyferry_events_published_total", ["slot", "destination", "kind", "type", "realm"],
        "Events that Kafka has acknowledged, copies included.",
        "It stands still while events are received: see the circuit breaker and `keyferry status`.";
    EVENTS_FILTERED: COUNTER, None, "keyferry_events_filtered_total", ["slot", "destination", "kind"],
        "Events that no topic of the destination wants, of those that were journaled.",
        "Where admin events are wanted, set `topic_admin_events`. Events of types that no destination wants are not journaled: Keycloak's own `keyferry_events_unwanted_total` counts them.";
    EVENTS_RESENT: COUNTER, None, "keyferry_events_resent_total", ["slot", "destination"],
        "Events handed to the Kafka client again after a failure; each may be a copy.",
        "Consumers must pass over copies by `ce_id`. Look for what fails: `keyferry_records_failed_total`.";
    EVENTS_IN_DOUBT: COUNTER, None, "keyferry_events_in_doubt_total", ["slot", "destination", "fate"],
        "Events of transactions whose outcome Keycloak died before writing, by what became of them: `published` or `dropped`.",
        "Keycloak was killed while transactions were open; `journal-settle = event-store` decides them by its database.";
    EVENTS_HELD: GAUGE, None, "keyferry_events_held", ["slot", "destination"],
        "Events in doubt that wait for an operator.",
        "`keyferry in-doubt ls` shows them, `publish` and `drop` decide.";
    EVENTS_DROPPED: COUNTER, None, "keyferry_events_dropped_total", ["slot", "destination", "kind"],
        "Events given up at the ceiling of the journal because they were the oldest.",
        "They are lost to this destination, and a gap record says so. Give the journal more room, or the destination more throughput.";
    EVENTS_PASSED_OVER: COUNTER, None, "keyferry_events_passed_over_total", ["slot", "destination"],
        "Events of low priority that were passed over under pressure, as configured.",
        "A gap record tells consumers of them. The destination is too slow for all there is: docs/outages.md.";
    EVENTS_MISSING: COUNTER, None, "keyferry_events_missing_total", ["slot", "destination"],
        "Events that Keycloak could not journal.",
        "The disk was full or failed, or the journal at its ceiling. The events are lost; gap records name how many.";
    RECORDS_FAILED: COUNTER, None, "keyferry_records_failed_total", ["slot", "destination", "class"],
        "Records that Kafka or its client gave back, by what can be done about it. All but `poison` are sent again.",
        "The class says who is to act: docs/errors.md.";
    DEAD_LETTERS: COUNTER, None, "keyferry_dead_letters_total", ["slot", "destination", "place"],
        "Records that can never be delivered, by where they lie: `topic` or `file`.",
        "`keyferry dead-letter ls` shows them with the reason, mostly a size or a schema; `retry` sends them again.";
    GAP_RECORDS: COUNTER, None, "keyferry_gap_records_total", ["slot", "destination"],
        "Gap records that Kafka has acknowledged: word to consumers that events are missing.",
        "Something was lost or is in doubt; the record names what. See the metrics of missing, dropped and in-doubt events, and of damage.";
    DAMAGED_RANGES: COUNTER, None, "keyferry_journal_damaged_ranges_total", ["slot", "destination"],
        "Ranges of the journal that could not be read.",
        "`keyferry journal check` names them. Check the disk.";
    RESETS: COUNTER, None, "keyferry_delivery_resets_total", ["slot", "destination"],
        "How often everything unacknowledged was sent again after a failure.",
        "Look for what fails: `keyferry_records_failed_total`.";
    SENT_BYTES: COUNTER, Bytes, "keyferry_sent_bytes_total", ["slot", "destination", "kind"],
        "Bytes of keys, values and headers handed to the Kafka client, before compression.",
        "Plan the disks of the brokers by it.";
    LAST_DELIVERY: GAUGE, Seconds, "keyferry_last_delivery_timestamp_seconds", ["slot", "destination"],
        "When Kafka last acknowledged a record, in seconds since the Unix epoch.",
        "Long ago while there is a backlog: see the circuit breaker.";
    LATENCY: LATENCIES, Seconds, "keyferry_event_latency_seconds", ["slot", "destination"],
        "From the commit of an event in the journal to its acknowledgement by Kafka.",
        "The three that follow say where the time goes. After an outage it is that of the backlog.";
    JOURNAL_WAIT: LATENCIES, Seconds, "keyferry_event_journal_wait_seconds", ["slot", "destination"],
        "From the commit of an event in the journal to its hand-over to the Kafka client.",
        "The agent is behind: an outage, an open circuit breaker, or too little processor.";
    DELIVERY: LATENCIES, Seconds, "keyferry_event_delivery_seconds", ["slot", "destination"],
        "From the hand-over to the Kafka client to the acknowledgement: its queue and the broker.",
        "See `keyferry_kafka_queue_time_seconds` (linger, batches) and `keyferry_kafka_round_trip_seconds` (network, broker, replicas).";
    ENCODING: ENCODINGS, Seconds, "keyferry_event_encoding_seconds", ["slot", "destination"],
        "How long it takes to make a record of an event; one in 64 is timed.",
        "The machine has too little processor.";

    LOGINS: COUNTER, None, "keyferry_logins_total", ["slot", "destination", "realm", "client"],
        "Successful logins.",
        "Compare with the same hour of another day.";
    LOGIN_FAILURES: COUNTER, None, "keyferry_login_failures_total", ["slot", "destination", "realm", "client"],
        "Failed logins, by client. Clients that do not exist are counted as `other`.",
        "A burst is somebody who tries passwords: switch on Keycloak's brute-force detection, look for the address in the events.";
    LOGIN_ERRORS: COUNTER, None, "keyferry_login_errors_total", ["slot", "destination", "realm", "error"],
        "Failed logins, by error.",
        "`user_not_found`: somebody guesses names. `invalid_user_credentials`: passwords. `client_not_found`: a client is misconfigured, or guessed.";
    REGISTRATIONS: COUNTER, None, "keyferry_registrations_total", ["slot", "destination", "realm", "client"],
        "Users who registered themselves.",
        "A burst is a robot: ask for a captcha.";
    LOCKOUTS: COUNTER, None, "keyferry_lockouts_total", ["slot", "destination", "realm", "client"],
        "Users whom Keycloak's brute-force detection has locked out, for a while or for good.",
        "Somebody tries passwords, or locks users out on purpose.";

    SHIPMENT_STATE: GAUGE, None, "keyferry_shipment_state", ["slot", "destination", "state"],
        "1 for the state that a shipment is in: `idle`, `delivering`, `blocked`, `draining`, `waiting` or `stopped`.",
        "`blocked` and `waiting` have a reason: `keyferry status`.";
    BACKLOG_BYTES: GAUGE, Bytes, "keyferry_backlog_bytes", ["slot", "destination"],
        "Journal bytes that are not settled.",
        "Kafka is away or too slow. Nothing is lost as long as the journal has room.";
    BACKLOG_EVENTS: GAUGE, None, "keyferry_backlog_events", ["slot", "destination"],
        "How many events that is, estimated by the mean size of those that were sent.",
        "As for the bytes.";
    BACKLOG_OLDEST: GAUGE, Seconds, "keyferry_backlog_oldest_seconds", ["slot", "destination"],
        "Age of the oldest event that is not settled; 0 if there is none.",
        "By so much do consumers lag behind Keycloak.";
    BACKLOG_GROWTH: GAUGE, None, "keyferry_backlog_growth_bytes_per_second", ["slot", "destination"],
        "How fast the backlog grows, smoothed over some seconds; negative while it shrinks.",
        "More comes than goes.";
    TIME_TO_FULL: GAUGE, Seconds, "keyferry_journal_time_to_full_seconds", ["slot", "destination"],
        "In how many seconds the journal is full if that goes on; absent while it does not grow.",
        "Low: mend Kafka or give the journal room before it is over.";
    JOURNAL_ROOM: GAUGE, Bytes, "keyferry_journal_room_bytes", ["slot", "destination"],
        "By how many bytes the backlog may still grow.",
        "Low: as above.";
    JOURNAL_USED: GAUGE, Ratio, "keyferry_journal_used_ratio", ["slot", "destination"],
        "How much is used of what the journal may have.",
        "As above.";
    BACKPRESSURE: GAUGE, None, "keyferry_backpressure_level", ["slot", "destination"],
        "0 normal, 1 elevated, 2 high, 3 critical.",
        "docs/outages.md says what each level means.";
    BACKPRESSURE_CHANGES: COUNTER, None, "keyferry_backpressure_changes_total", ["slot", "destination"],
        "How often the level has changed.",
        "The load is near what the destination can take.";
    IN_FLIGHT_RECORDS: GAUGE, None, "keyferry_in_flight_records", ["slot", "destination"],
        "Records handed to the Kafka client and not settled.",
        "8,192 is the most: Kafka is the bottleneck.";
    IN_FLIGHT_BYTES: GAUGE, Bytes, "keyferry_in_flight_bytes", ["slot", "destination"],
        "What they cost of the credit.",
        "12 MiB is the most.";

    BREAKER_STATE: GAUGE, None, "keyferry_breaker_state", ["slot", "destination", "state"],
        "1 for the state that the circuit breaker is in: `closed`, `open` or `half-open`.",
        "Not `closed`: nothing new is sent, the journal keeps the events. `keyferry breaker` says why.";
    BREAKER_CAUSE: GAUGE, None, "keyferry_breaker_cause", ["slot", "destination", "cause"],
        "1 for the cause that has opened the circuit breaker, such as `authentication`, `consecutive-failures` or `schema-registry`; absent while it is closed.",
        "`authentication`, `authorisation` and `configuration` need a person: docs/errors.md. `schema-registry`: docs/schema-registry.md.";
    BREAKER_TRANSITIONS: COUNTER, None, "keyferry_breaker_transitions_total", ["slot", "destination", "to"],
        "How often the circuit breaker has gone into a state.",
        "Often: the destination comes and goes.";
    BREAKER_SECONDS: COUNTER, Seconds, "keyferry_breaker_state_seconds_total", ["slot", "destination", "state"],
        "For how long the circuit breaker has been in each state.",
        "The share that is not `closed` is the share of time in which the destination was away.";
    BREAKER_FAILURES: GAUGE, None, "keyferry_breaker_consecutive_failures", ["slot", "destination"],
        "Attempts in a row that have failed.",
        "See `keyferry_records_failed_total`.";

    REGISTRY_REQUESTS: COUNTER, None, "keyferry_registry_requests_total", ["slot", "destination"],
        "Requests to the schema registry that had an answer or failed. The five of `keyferry_registry_…` are there where a registry is configured.",
        "One a subject after a start is normal. More: it fails, see the next.";
    REGISTRY_FAILURES: COUNTER, None, "keyferry_registry_failures_total", ["slot", "destination", "class"],
        "Those of them that gave no id, by why: `unreachable`, `slow`, `failing`, `insecure`, `unauthenticated`, `forbidden`, `incompatible`, `invalid`, `missing` or `unintelligible`.",
        "The class says who is to act: docs/schema-registry.md.";
    REGISTRY_SECONDS: COUNTER, Seconds, "keyferry_registry_request_seconds_total", ["slot", "destination"],
        "How long those requests took together.",
        "Divided by their number it is the registry's time to answer.";
    REGISTRY_IDS: GAUGE, None, "keyferry_registry_ids", ["slot", "destination"],
        "Subjects whose id is known.",
        "One a topic, or one in all, as `subject_name_strategy` says.";
    REGISTRY_WAITING: GAUGE, None, "keyferry_registry_waiting_subjects", ["slot", "destination"],
        "Subjects that have no id yet and that records wait for.",
        "Not 0 for longer than a moment: nothing is sent, the journal keeps the events. `keyferry breaker` says why.";

    CONNECTIONS: GAUGE, None, "keyferry_kafka_connections", ["slot", "destination", "state"],
        "Producers, by what they are doing: `active`, `warming-up`, `standby` or `draining`.",
        "`draining` for long: Kafka does not acknowledge.";
    POOL_GENERATION: GAUGE, None, "keyferry_kafka_pool_generation", ["slot", "destination"],
        "The number of the generation of producers that receives records.",
        "It ascends with each replacement.";
    POOL_SWAPS: COUNTER, None, "keyferry_kafka_pool_swaps_total", ["slot", "destination", "outcome"],
        "Replacements of producers, `completed` or `rolled-back`.",
        "`rolled-back`: the new ones could not reach Kafka, and the old ones go on; mostly a wrong new password.";
    POOL_RESETS: COUNTER, None, "keyferry_kafka_pool_resets_total", ["slot", "destination"],
        "How often all producers were replaced at once after a failure.",
        "See `keyferry_records_failed_total`.";
    REQUESTS_IN_FLIGHT: GAUGE, None, "keyferry_kafka_requests_in_flight", ["slot", "destination"],
        "Requests that wait for the answer of a broker.",
        "The brokers are slow.";
    QUEUE_RECORDS: GAUGE, None, "keyferry_kafka_queue_records", ["slot", "destination"],
        "Records in the Kafka client that have no outcome yet.",
        "Kafka is the bottleneck.";
    QUEUE_BYTES: GAUGE, Bytes, "keyferry_kafka_queue_bytes", ["slot", "destination"],
        "Their bytes.",
        "Kafka is the bottleneck.";
    CONNECTS: COUNTER, None, "keyferry_kafka_connects_total", ["slot", "destination"],
        "Attempts to connect to a broker.",
        "More than a few: a broker is away or refuses the login.";
    DISCONNECTS: COUNTER, None, "keyferry_kafka_disconnects_total", ["slot", "destination"],
        "Established connections to brokers that were lost.",
        "The network, a load balancer with a time-out, or brokers that restart.";
    ROUND_TRIP: GAUGE, Seconds, "keyferry_kafka_round_trip_seconds", ["slot", "destination", "percentile"],
        "How long the slowest broker took to answer a request, over the last second.",
        "Network, disks of the broker, or replicas that lag.";
    QUEUE_TIME: GAUGE, Seconds, "keyferry_kafka_queue_time_seconds", ["slot", "destination", "percentile"],
        "How long records waited in the Kafka client, linger included, over the last second.",
        "Linger is long or the brokers are slow: `keyferry tuner`.";
    THROTTLE: GAUGE, Seconds, "keyferry_kafka_throttle_seconds", ["slot", "destination"],
        "The longest pause that a broker asked for in the last second.",
        "A quota of the cluster is reached: have it raised.";
    BATCH_FILL: GAUGE, Ratio, "keyferry_kafka_batch_fill_ratio", ["slot", "destination"],
        "How full batches were.",
        "Near 1 under load is good; a longer linger fills them more.";
    COMPRESSION: GAUGE, Ratio, "keyferry_kafka_compression_ratio", ["slot", "destination"],
        "Bytes before compression for each byte sent.",
        "1 means that compression is off or useless.";
    REFUSED_BATCHES: COUNTER, None, "keyferry_kafka_refused_batches_total", ["slot", "destination"],
        "Batches refused as too large.",
        "Lower `max_request_size`, or raise `max.message.bytes` of the topic.";
    BROKER_UP: GAUGE, None, "keyferry_kafka_broker_up", ["slot", "destination", "broker"],
        "1 if a connection to the broker is established.",
        "0: the broker is down or out of reach.";
    BROKER_ROUND_TRIP: GAUGE, Seconds, "keyferry_kafka_broker_round_trip_seconds", ["slot", "destination", "broker", "percentile"],
        "How long the broker took to answer a request, over the last second.",
        "One broker slower than the others: its disk or its network.";
    BROKER_IN_FLIGHT: GAUGE, None, "keyferry_kafka_broker_requests_in_flight", ["slot", "destination", "broker"],
        "Requests that wait for the answer of the broker.",
        "As above.";
    BROKER_RETRIES: COUNTER, None, "keyferry_kafka_broker_retries_total", ["slot", "destination", "broker"],
        "Requests that were sent to the broker again.",
        "A leader moves, or the network loses answers.";
    BROKER_TIMEOUTS: COUNTER, None, "keyferry_kafka_broker_timeouts_total", ["slot", "destination", "broker"],
        "Requests that the broker did not answer in time.",
        "The broker or the network hangs.";
    BROKER_ERRORS: COUNTER, None, "keyferry_kafka_broker_errors_total", ["slot", "destination", "broker"],
        "Requests that could not be sent to the broker.",
        "The network, or a broker that closes connections.";
    BROKER_BYTES: COUNTER, Bytes, "keyferry_kafka_broker_sent_bytes_total", ["slot", "destination", "broker"],
        "Bytes sent to the broker, after compression.",
        "One broker far above the others leads too many partitions.";

    CERTIFICATE_EXPIRY: GAUGE, Seconds, "keyferry_certificate_expiry_timestamp_seconds", ["slot", "destination", "certificate"],
        "When the `client`'s certificate (of its chain the first to expire) and the `authority`'s (the last, where several are believed) end to be valid, in seconds since the Unix epoch; absent where none is configured.",
        "Near: put a new one in its place; a file is taken up without a restart.";
    TUNER_INFO: GAUGE, None, "keyferry_tuner_info", ["slot", "destination", "profile", "pace", "compression"],
        "Always 1; the labels are what the tuner strives for, the pace that it sees, and the compression that it has set.",
        "`keyferry tuner` says why.";
    TUNER_FROZEN: GAUGE, None, "keyferry_tuner_frozen", ["slot", "destination"],
        "1 while the tuner moves nothing by itself.",
        "`keyferry tuner unfreeze`.";
    TUNER_BATCH: GAUGE, Bytes, "keyferry_tuner_batch_size_bytes", ["slot", "destination"],
        "The largest batch.",
        "The tuner has made it so for throughput.";
    TUNER_LINGER: GAUGE, Seconds, "keyferry_tuner_linger_seconds", ["slot", "destination"],
        "How long a batch waits to be filled.",
        "The tuner has made it so for throughput; the profile `latency` keeps it short.";
    TUNER_CONNECTIONS: GAUGE, None, "keyferry_tuner_connections", ["slot", "destination"],
        "How many producers the tuner wants.",
        "One is not enough for what flows.";
    TUNER_DECISIONS: COUNTER, None, "keyferry_tuner_decisions_total", ["slot", "destination", "setting", "direction"],
        "How often a setting was made larger (`up`) or smaller (`down`), by the tuner or by hand; of compression, stronger or weaker.",
        "Up and down again and again: the load swings. `keyferry tuner freeze` keeps what there is.";

    PROCESS_CPU: COUNTER, Seconds, "keyferry_process_cpu_seconds_total", ["process"],
        "Processor time used by the `agent`, and by the `keycloak` that started it.",
        "Of the agent: a backlog is worked off, or compression is expensive.";
    PROCESS_MEMORY: GAUGE, Bytes, "keyferry_process_resident_memory_bytes", ["process"],
        "Resident memory.",
        "The agent needs some tens of megabytes whatever the backlog. Of Keycloak: its heap settings.";
    PROCESS_FDS: GAUGE, None, "keyferry_process_open_fds", ["process"],
        "Open file descriptors.",
        "Near the limit connections and files are refused.";
    PROCESS_MAX_FDS: GAUGE, None, "keyferry_process_max_fds", ["process"],
        "How many file descriptors may be open.",
        "Low: raise `ulimit -n`.";
    PROCESS_THREADS: GAUGE, None, "keyferry_process_threads", ["process"],
        "Threads.",
        "The agent has a few for each shipment and producer.";
    PROCESS_START: GAUGE, Seconds, "keyferry_process_start_time_seconds", ["process"],
        "When the process started, in seconds since the Unix epoch.",
        "It changes: a restart.";
    CPU_LIMIT: GAUGE, None, "keyferry_cpu_limit_cores", [],
        "How many processors the agent may use: of its control group, or of the machine where that has no limit.",
        "Low: the limit of the container.";
    MEMORY_LIMIT: GAUGE, Bytes, "keyferry_memory_limit_bytes", [],
        "How much memory the agent and what shares its control group may use, or what the machine has where that has no limit.",
        "Low: the limit of the container.";
    MEMORY_USED: GAUGE, Bytes, "keyferry_memory_used_bytes", [],
        "How much of that is used, page cache that can be given back left out.",
        "Near the limit the kernel kills the largest process, which is Keycloak.";
    PRESSURE: COUNTER, Seconds, "keyferry_pressure_seconds_total", ["resource", "share"],
        "For how long `some` or `full` (all) work waited for `cpu`, `memory` or `io` (PSI); of the control group where it has that, else of the machine.",
        "The machine has too little of the resource.";
    DISK_SIZE: GAUGE, Bytes, "keyferry_journal_disk_size_bytes", [],
        "Size of the file system that the journal is on.",
        "Low: it is full sooner.";
    DISK_FREE: GAUGE, Bytes, "keyferry_journal_disk_free_bytes", [],
        "How much of it is free for the agent's user.",
        "Low: events will be lost when it is full.";
    DISK_READ: COUNTER, Bytes, "keyferry_journal_disk_read_bytes_total", [],
        "Bytes read from the device that it is on.",
        "A backlog is worked off, or something else reads.";
    DISK_WRITTEN: COUNTER, Bytes, "keyferry_journal_disk_written_bytes_total", [],
        "Bytes written to it.",
        "Something else than the journal writes, mostly.";
    DISK_BUSY: COUNTER, Seconds, "keyferry_journal_disk_busy_seconds_total", [],
        "For how long the device was busy.",
        "Near one second each second it is the bottleneck of Keycloak's commits.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let mut names = BTreeSet::new();
        for metric in ALL {
            let name = metric.name;
            assert!(names.insert(metric.family()), "{name} is there twice");
            assert!(name.starts_with("keyferry_"), "{name}");
            let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(name.chars().all(legal), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            if let Some(unit) = metric.unit.word() {
                assert!(metric.family().ends_with(&format!("_{unit}")), "{name} is measured in {unit}");
            }
        }
    }

    #[test]
    fn everything_is_said_of_each() {
        for Metric { name, help, remedy, labels, .. } in ALL {
            assert!(help.ends_with('.') && remedy.ends_with('.'), "{name}");
            assert!(
                !labels.contains(&"instance") && !labels.contains(&"job"),
                "{name}: those are Prometheus's"
            );
            assert!(!labels.contains(&"quantile") && !labels.contains(&"le"), "{name}: those are reserved");
        }
    }

    #[test]
    fn buckets_are_whole_ones_of_the_histogram_they_come_from() {
        // Numbers of two significant digits: see `keyferry_pipeline::meter::histogram`.
        for metric in ALL {
            if let Kind::Histogram(limits) = metric.kind {
                assert!(limits.is_sorted());
                for limit in limits {
                    let digits = format!("{limit:e}");
                    let mantissa = digits.split('e').next().unwrap_or_default().replace('.', "");
                    assert!(mantissa.len() <= 2, "{}: {limit}", metric.name);
                }
            }
        }
    }
}
