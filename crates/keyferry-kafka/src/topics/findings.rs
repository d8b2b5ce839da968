//! What may be wrong with a topic: a pure function of what the cluster says.

use std::time::Duration;

use super::admin::Description;
use super::check::{Finding, Subject};

/// What the topic is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// The largest request that our client makes, in bytes.
    pub(crate) largest_request: u64,
    /// For how long a consumer may be away without missing anything.
    pub(crate) outage_budget: Option<Duration>,
}

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// For events, which wait for it.
    Events,
    /// For records that can never be delivered where they belong: they go to a file where it takes nothing.
    DeadLetters,
}

impl Purpose {
    /// What becomes of its records while it takes none.
    pub(crate) const fn meanwhile(self) -> &'static str {
        match self {
            Self::Events => "events for it wait in the journal",
            Self::DeadLetters => "dead letters go to the file in their slot",
        }
    }
}

/// What the description of a topic gives cause for.
pub(crate) fn of_description(purpose: Purpose, description: &Description) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Description { partitions, leaderless, replicas, writable } = *description;
    if writable == Some(false) {
        let meanwhile = purpose.meanwhile();
        findings.push(Finding::warning(
            Subject::Write,
            format!("this user may not write to it: grant WRITE on the topic; {meanwhile}"),
        ));
    }
    if leaderless > 0 {
        findings.push(Finding::warning(
            Subject::Leaders,
            format!(
                "{leaderless} of {partitions} partitions have no leader: {} until a broker returns",
                purpose.meanwhile()
            ),
        ));
    }
    if replicas == 1 {
        findings.push(Finding::note(
            Subject::Copies,
            "one broker keeps each record: its loss loses events that were delivered; use a replication factor of 3"
                .to_owned(),
        ));
    }
    findings
}

/// What the configuration of a topic gives cause for.
pub(crate) fn of_configuration(
    purpose: Purpose,
    entries: &[(String, String)],
    description: &Description,
    expected: Expected,
) -> Vec<Finding> {
    let entry = |name: &str| entries.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let number = |name: &str| entry(name).and_then(|value| value.parse::<i64>().ok());
    [
        number("max.message.bytes").and_then(|limit| of_size(purpose, limit, expected)),
        number("retention.ms").and_then(|retention| of_retention(retention, expected)),
        number("min.insync.replicas").and_then(|least| of_replicas(least, description)),
        entry("cleanup.policy").and_then(of_cleanup),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn of_size(purpose: Purpose, limit: i64, expected: Expected) -> Option<Finding> {
    let ours = expected.largest_request;
    let then = match purpose {
        Purpose::Events => "larger events will be refused and become dead letters",
        Purpose::DeadLetters => "larger dead letters go to the file in their slot",
    };
    (u64::try_from(limit).ok()? < ours).then(|| {
        Finding::warning(Subject::Size, format!(
            "max.message.bytes is {limit} and max-request-size {ours}: {then}; raise the one or lower the other"
        ))
    })
}

fn of_retention(retention_ms: i64, expected: Expected) -> Option<Finding> {
    // Negative is without an end.
    let retention = Duration::from_millis(u64::try_from(retention_ms).ok()?);
    let budget = expected.outage_budget?;
    (retention < budget).then(|| {
        Finding::warning(Subject::Retention, format!(
            "retention.ms keeps records for {retention:?} only: a consumer that is away for {budget:?} misses events"
        ))
    })
}

fn of_replicas(least: i64, description: &Description) -> Option<Finding> {
    let (least, replicas) = (usize::try_from(least).ok()?, description.replicas);
    if least > replicas {
        return Some(Finding::warning(
            Subject::InSync,
            format!(
                "min.insync.replicas is {least} but only {replicas} brokers keep a partition: nothing can be delivered, or less is kept than is asked for (Kafka 4 with eligible leader replicas asks for no more than there are)"
            ),
        ));
    }
    if replicas > 1 && least == 1 {
        return Some(Finding::warning(
            Subject::InSync,
            format!(
                "min.insync.replicas is 1: a record counts as delivered when one of {replicas} brokers has it, and is lost with that one"
            ),
        ));
    }
    (replicas > 1 && least == replicas).then(|| {
        Finding::note(Subject::InSync, format!(
            "min.insync.replicas is as large as the replication factor, {replicas}: delivery stops while any of these brokers is away"
        ))
    })
}

fn of_cleanup(policy: &str) -> Option<Finding> {
    policy.contains("compact").then(|| {
        Finding::warning(
            Subject::Cleanup,
            "cleanup.policy compacts it: of each user only the newest event is kept; use delete".to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics::Severity;

    const EXPECTED: Expected =
        Expected { largest_request: 1_048_576, outage_budget: Some(Duration::from_secs(86_400)) };

    fn replicated(replicas: usize) -> Description {
        Description { partitions: 3, leaderless: 0, replicas, writable: Some(true) }
    }

    fn found(entries: &[(&str, &str)], replicas: usize) -> Vec<Finding> {
        let entries: Vec<_> =
            entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        of_configuration(Purpose::Events, &entries, &replicated(replicas), EXPECTED)
    }

    #[test]
    fn a_topic_as_it_should_be_gives_no_cause() {
        let entries = [
            ("max.message.bytes", "1048588"),
            ("retention.ms", "604800000"),
            ("min.insync.replicas", "2"),
            ("cleanup.policy", "delete"),
        ];
        assert_eq!(found(&entries, 3), []);
        assert_eq!(found(&[("retention.ms", "-1")], 3), []);
        assert_eq!(of_description(Purpose::Events, &replicated(3)), []);
    }

    #[test]
    fn each_trap_is_found() {
        let traps: [(&str, &str, usize, Severity); 6] = [
            ("max.message.bytes", "1000", 3, Severity::Warning),
            ("retention.ms", "3600000", 3, Severity::Warning),
            ("min.insync.replicas", "2", 1, Severity::Warning),
            ("min.insync.replicas", "1", 3, Severity::Warning),
            ("min.insync.replicas", "3", 3, Severity::Note),
            ("cleanup.policy", "compact,delete", 3, Severity::Warning),
        ];
        for (name, value, replicas, severity) in traps {
            let found = found(&[(name, value)], replicas);
            let [finding] = &found[..] else { panic!("{name} = {value}: {found:?}") };
            assert_eq!(finding.severity, severity, "{finding:?}");
            assert!(finding.text.contains(name), "{finding:?}");
        }
    }

    #[test]
    fn a_missing_right_a_missing_leader_and_a_single_copy_are_told() {
        let description = Description { partitions: 3, leaderless: 1, replicas: 1, writable: Some(false) };
        let severities: Vec<_> = of_description(Purpose::Events, &description)
            .into_iter()
            .map(|finding| finding.severity)
            .collect();
        assert_eq!(severities, [Severity::Warning, Severity::Warning, Severity::Note]);
        // A cluster without an authorizer, or of an old release, tells nothing of rights.
        assert_eq!(of_description(Purpose::Events, &Description { writable: None, ..replicated(3) }), []);
    }
}
