//! Under which name a registry keeps the schema of a topic's values. The strategies are those of Confluent's serializers, so that their consumers find what they expect.

/// What a subject is named after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubjectNameStrategy {
    /// The topic: `keycloak-events-value`.
    #[default]
    Topic,
    /// The record: `io.keyferry.Event`, one subject for all topics.
    Record,
    /// Both: `keycloak-events-io.keyferry.Event`.
    TopicRecord,
}

impl SubjectNameStrategy {
    /// The subject of the values of `topic` that are records of this name.
    pub fn subject(self, topic: &str, record_name: &str) -> String {
        match self {
            Self::Topic => format!("{topic}-value"),
            Self::Record => record_name.to_owned(),
            Self::TopicRecord => format!("{topic}-{record_name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_named_as_by_confluents_serializers() {
        let of = |strategy: SubjectNameStrategy| strategy.subject("events", "io.keyferry.Event");
        assert_eq!(of(SubjectNameStrategy::Topic), "events-value");
        assert_eq!(of(SubjectNameStrategy::Record), "io.keyferry.Event");
        assert_eq!(of(SubjectNameStrategy::TopicRecord), "events-io.keyferry.Event");
    }
}
