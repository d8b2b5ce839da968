//! Which of librdkafka's errors mean what.
//!
//! The invariant: **nothing that can succeed is ever given up.** An error is [poison](FailureClass::Poison) only where Kafka's protocol says that this record, as it is,
//! cannot be accepted by anyone; a code that is not listed is transient.

use keyferry_event::FailureClass;
use rdkafka::types::RDKafkaErrorCode;

/// What can be done about a record that failed with `code`.
///
/// | code | class | why |
/// |---|---|---|
/// | `MessageSizeTooLarge`, `InvalidMessageSize` | [`batch`](Verdict::Batch) | the limit counts the batch: this record may be too large, or may only have had large company |
/// | `InvalidRecord`, `InvalidTimestamp`, `PolicyViolation` | poison | the broker looked into the record and refuses it |
/// | everything else | transient | brokers return, rights are granted, topics are created |
pub fn verdict(code: RDKafkaErrorCode) -> Verdict {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => Verdict::Batch,
        Code::InvalidRecord | Code::InvalidTimestamp | Code::PolicyViolation => {
            Verdict::Record(FailureClass::Poison)
        }
        _ => Verdict::Record(FailureClass::Transient),
    }
}

/// What kind of remedy an error of the whole client needs, one that concerns no record.
pub fn class_of_trouble(code: RDKafkaErrorCode) -> FailureClass {
    use RDKafkaErrorCode as Code;
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL => FailureClass::Authentication,
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => FailureClass::Authorisation,
        Code::Fatal => FailureClass::Fatal,
        _ => FailureClass::Transient,
    }
}

/// What an error says, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Of the record itself.
    Record(FailureClass),
    /// Of the batch in which the record was sent. Poison if the record was alone in it, else transient, alone.
    Batch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_or_topic_or_broker_is_never_the_records_fault() {
        use RDKafkaErrorCode as Code;
        for code in [
            Code::TopicAuthorizationFailed,
            Code::ClusterAuthorizationFailed,
            Code::UnknownTopicOrPartition,
            Code::UnknownTopic,
            Code::MessageTimedOut,
            Code::PurgeInflight,
            Code::Fatal,
            Code::OutOfOrderSequenceNumber,
            Code::NotEnoughReplicas,
            Code::TransactionalIdAuthorizationFailed,
        ] {
            assert_eq!(verdict(code), Verdict::Record(FailureClass::Transient), "{code:?}");
        }
    }
}
