//! Which of librdkafka's errors mean what.
//!
//! The invariant: **nothing that can succeed is ever given up.** An error is [poison](FailureClass::Poison) only where the broker has looked into a record, and into
//! that record alone. Every other record is kept and sent again, however its failure is classed: the class decides only when that is worth a try.
//!
//! Two things are easily taken for a record's own fault and are not. *A refusal of a batch* ([`Verdict::Batch`]): brokers apply limits and checks to
//! a whole batch, and answer for all of it. *An indefinite failure* ([`Persistence::Perhaps`]): the record may lie in the topic although nobody said so; it is sent again all the
//! same, and its copy is recognised by its id and number.
//!
//! The sources are librdkafka's `rdkafka.h` and the error handling of its `rdkafka_request.c` (2.12), and the errors of Kafka's protocol guide.

use keyferry_event::FailureClass;
use rdkafka::types::RDKafkaErrorCode;

/// What an error says, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Of the record itself, or of everything around it.
    Record(FailureClass),
    /// Of the batch in which the record was sent. Poison if the record was alone in it, else transient: it is sent again, alone.
    Batch,
}

/// Whether a record that failed may lie in its topic all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It does not.
    No,
    /// It may: sending it again may leave a copy.
    Perhaps,
}

/// What we know of one of librdkafka's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The error.
    pub code: RDKafkaErrorCode,
    /// What it says, and of what.
    pub verdict: Verdict,
    /// Whether the record may have been persisted.
    pub persistence: Persistence,
    /// What happened in an operator's words and, in parentheses, where to look.
    pub advice: &'static str,
}

impl Entry {
    const fn new(code: RDKafkaErrorCode, class: FailureClass, advice: &'static str) -> Self {
        Self { code, verdict: Verdict::Record(class), persistence: Persistence::No, advice }
    }

    const fn of_batch(code: RDKafkaErrorCode, advice: &'static str) -> Self {
        Self { code, verdict: Verdict::Batch, persistence: Persistence::No, advice }
    }

    const fn indefinite(code: RDKafkaErrorCode, class: FailureClass, advice: &'static str) -> Self {
        Self { code, verdict: Verdict::Record(class), persistence: Persistence::Perhaps, advice }
    }
}

/// What is said where nothing better is known.
const NO_ADVICE: &str = "trouble";

/// What is known of `code`; `None` for errors that [no producer meets](NOT_OF_A_PRODUCER) and for those of later releases.
pub fn entry(code: RDKafkaErrorCode) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.code == code)
}

/// What can be done about a record that failed with `code`. A code that is not in the [table](TABLE) is transient.
pub fn verdict(code: RDKafkaErrorCode) -> Verdict {
    entry(code).map_or(Verdict::Record(FailureClass::Transient), |entry| entry.verdict)
}

/// What kind of remedy an error of the whole client needs, one that concerns no record.
pub fn class_of_trouble(code: RDKafkaErrorCode) -> FailureClass {
    match verdict(code) {
        Verdict::Record(class) => class,
        Verdict::Batch => FailureClass::Transient,
    }
}

/// What `code` means to the person who has to mend it, and which setting to look at.
pub fn advice(code: RDKafkaErrorCode) -> &'static str {
    entry(code).map_or(NO_ADVICE, |entry| entry.advice)
}

/// Every error that a producer can meet, local ones first.
pub const TABLE: &[Entry] = {
    use FailureClass::{Authentication, Authorisation, Configuration, Fatal, Throttled, Transient};
    use RDKafkaErrorCode as Code;
    &[
        Entry::indefinite(
            Code::BadMessage,
            Transient,
            "an answer was not understood (check that bootstrap-servers names a port of Kafka's and that security-protocol fits it)",
        ),
        Entry::indefinite(Code::BrokerDestroy, Transient, "the connection is being closed"),
        Entry::indefinite(
            Code::Fail,
            Transient,
            "talking to a broker failed (check the network and the broker's log)",
        ),
        Entry::indefinite(
            Code::BrokerTransportFailure,
            Transient,
            "no connection (check bootstrap-servers and the network)",
        ),
        Entry::new(
            Code::CriticalSystemResource,
            Fatal,
            "the operating system gives no more threads or memory (check the limits of the process and its container)",
        ),
        Entry::new(
            Code::Resolve,
            Transient,
            "a broker's name cannot be resolved (check bootstrap-servers, the brokers' advertised.listeners and DNS)",
        ),
        Entry::indefinite(
            Code::MessageTimedOut,
            Transient,
            "a record was not acknowledged in time (check the brokers' load)",
        ),
        Entry::new(
            Code::UnknownPartition,
            Transient,
            "the topic has lost partitions (was it created anew with fewer?)",
        ),
        Entry::new(
            Code::UnknownTopic,
            Configuration,
            "the topic has not been there for a while (check topic-events and topic-admin-events, create it, or grant DESCRIBE on it)",
        ),
        Entry::indefinite(
            Code::AllBrokersDown,
            Transient,
            "no connection to any broker (check bootstrap-servers and the network)",
        ),
        Entry::new(
            Code::InvalidArgument,
            Configuration,
            "the client refuses a setting (check the properties that the text names)",
        ),
        Entry::indefinite(
            Code::OperationTimedOut,
            Transient,
            "a broker does not answer in time (check request-timeout-ms, the network and the broker's load)",
        ),
        Entry::new(
            Code::QueueFull,
            Transient,
            "the client's queue is full; sending goes on when there is room",
        ),
        Entry::new(
            Code::ISRInsufficient,
            Transient,
            "too few replicas are in sync (check the brokers and the topic's min.insync.replicas)",
        ),
        Entry::new(
            Code::SSL,
            Authentication,
            "TLS failed (check security-protocol, truststore, keystore and host name)",
        ),
        Entry::new(
            Code::UnknownProtocol,
            Configuration,
            "a broker's address has an unknown protocol (check bootstrap-servers and security-protocol)",
        ),
        Entry::new(
            Code::Authentication,
            Authentication,
            "authentication failed (check sasl-mechanism and the credentials)",
        ),
        Entry::new(
            Code::TimedOutQueue,
            Transient,
            "a request was not sent in time (check the network and the broker's load)",
        ),
        Entry::new(
            Code::UnsupportedFeature,
            Configuration,
            "the broker lacks a feature that is needed, such as idempotent producers (check its release: 2.1 or later)",
        ),
        Entry::indefinite(
            Code::Underflow,
            Transient,
            "an answer was cut short (check the network and proxies before the broker)",
        ),
        Entry::new(Code::Retry, Transient, "the record is sent again"),
        Entry::new(Code::PurgeQueue, Transient, "the producer was replaced before the record was sent"),
        Entry::indefinite(
            Code::PurgeInflight,
            Transient,
            "the producer was replaced while the record was under way",
        ),
        Entry::indefinite(Code::Fatal, Fatal, "the producer has failed and is replaced"),
        Entry::indefinite(Code::Inconsistent, Fatal, "the producer's state is inconsistent; it is replaced"),
        Entry::indefinite(
            Code::GaplessGuarantee,
            Fatal,
            "a record before this one failed; the producer is replaced so that none overtakes it",
        ),
        Entry::indefinite(Code::Fenced, Fatal, "another producer has taken this one's place; it is replaced"),
        Entry::new(
            Code::InvalidDifferentRecord,
            Transient,
            "another record of the batch was refused; this one is sent again",
        ),
        Entry::indefinite(Code::DestroyBroker, Transient, "the broker has left the cluster"),
        Entry::indefinite(
            Code::Unknown,
            Transient,
            "the broker failed for a reason that it does not tell (see the broker's log)",
        ),
        Entry::new(
            Code::InvalidMessage,
            Transient,
            "the batch was damaged on its way (check the network and proxies before the broker)",
        ),
        Entry::new(
            Code::UnknownTopicOrPartition,
            Transient,
            "the topic is not there, or not yet known to the broker (check topic-events and topic-admin-events if it stays so)",
        ),
        Entry::of_batch(
            Code::InvalidMessageSize,
            "a batch is larger than the broker or the topic allows (check max.message.bytes of the topic and message.max.bytes of the brokers)",
        ),
        Entry::new(Code::LeaderNotAvailable, Transient, "the partition's leader is being elected"),
        Entry::new(Code::NotLeaderForPartition, Transient, "the partition has another leader now"),
        Entry::indefinite(
            Code::RequestTimedOut,
            Transient,
            "the replicas did not confirm in time (check the brokers' load and the topic's min.insync.replicas)",
        ),
        Entry::new(Code::BrokerNotAvailable, Transient, "the broker is not there yet"),
        Entry::new(Code::ReplicaNotAvailable, Transient, "a replica is not there yet"),
        Entry::of_batch(
            Code::MessageSizeTooLarge,
            "a batch is larger than the topic allows (check max.message.bytes of the topic and message.max.bytes of the brokers)",
        ),
        Entry::indefinite(
            Code::NetworkException,
            Transient,
            "the broker lost its connection to another before it answered",
        ),
        Entry::new(
            Code::InvalidTopic,
            Configuration,
            "the topic's name is not allowed, or nobody may write to it (check topic-events and topic-admin-events)",
        ),
        Entry::of_batch(
            Code::MessageBatchTooLarge,
            "a batch is larger than a segment (check batch-size and the topic's segment.bytes)",
        ),
        Entry::new(
            Code::NotEnoughReplicas,
            Transient,
            "too few replicas are in sync (check the brokers and the topic's min.insync.replicas)",
        ),
        Entry::indefinite(
            Code::NotEnoughReplicasAfterAppend,
            Transient,
            "too few replicas were in sync to confirm the record (check the brokers and the topic's min.insync.replicas)",
        ),
        Entry::new(
            Code::InvalidRequiredAcks,
            Configuration,
            "the broker refuses the kind of acknowledgement (check its release: 2.1 or later)",
        ),
        Entry::new(
            Code::TopicAuthorizationFailed,
            Authorisation,
            "not authorised for the topic (grant WRITE and DESCRIBE on it to this user)",
        ),
        Entry::new(
            Code::ClusterAuthorizationFailed,
            Authorisation,
            "not authorised to be an idempotent producer (grant IDEMPOTENT_WRITE on the cluster, or WRITE on a topic, to this user)",
        ),
        Entry::of_batch(
            Code::InvalidTimestamp,
            "a record's time is out of the topic's range (check message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic, and the clocks)",
        ),
        Entry::new(
            Code::UnsupportedSASLMechanism,
            Configuration,
            "the broker does not know the way to log in (check sasl-mechanism and the listener's sasl.enabled.mechanisms)",
        ),
        Entry::new(
            Code::IllegalSASLState,
            Authentication,
            "the broker expects a login (check security-protocol, sasl-mechanism and the credentials)",
        ),
        Entry::new(
            Code::UnsupportedVersion,
            Configuration,
            "the broker does not know a request (check its release: 2.1 or later)",
        ),
        Entry::new(
            Code::InvalidRequest,
            Configuration,
            "the broker refuses the request as such (see the broker's log and release)",
        ),
        Entry::new(
            Code::UnsupportedForMessageFormat,
            Configuration,
            "the topic's format knows no headers or idempotence (check message.format.version of the topic)",
        ),
        Entry::of_batch(
            Code::PolicyViolation,
            "a policy of the broker or topic refuses a record (see the broker's log and policies)",
        ),
        Entry::indefinite(
            Code::OutOfOrderSequenceNumber,
            Fatal,
            "the broker misses records of this producer; it is replaced (was the topic created anew, or data of it lost?)",
        ),
        Entry::indefinite(
            Code::DuplicateSequenceNumber,
            Fatal,
            "the broker has had the batch before; the producer is replaced",
        ),
        Entry::new(
            Code::InvalidProducerEpoch,
            Fatal,
            "the broker knows a later life of this producer; it is replaced",
        ),
        Entry::new(
            Code::InvalidProducerIdMapping,
            Fatal,
            "the broker does not know this producer by its id; it is replaced",
        ),
        Entry::new(
            Code::TransactionalIdAuthorizationFailed,
            Authorisation,
            "not authorised for transactions (grant WRITE on the transactional id to this user)",
        ),
        Entry::new(
            Code::KafkaStorageError,
            Transient,
            "the broker cannot write to its disk (check the broker's disk and log)",
        ),
        Entry::new(
            Code::SaslAuthenticationFailed,
            Authentication,
            "authentication failed (check sasl-mechanism and the credentials)",
        ),
        Entry::indefinite(
            Code::UnknownProducerId,
            Fatal,
            "the broker has forgotten this producer; it is replaced (is the topic's retention shorter than the pauses between events?)",
        ),
        Entry::new(
            Code::ListenerNotFound,
            Transient,
            "a leader has no listener of the kind that this client uses (check listeners and advertised.listeners of the brokers)",
        ),
        Entry::new(
            Code::UnsupportedCompressionType,
            Configuration,
            "the broker or topic does not know the compression (check compression-type)",
        ),
        Entry::of_batch(
            Code::InvalidRecord,
            "the broker looked into a record and refuses it (check the topic's cleanup.policy and validation rules)",
        ),
        Entry::new(
            Code::ThrottlingQuotaExceeded,
            Throttled,
            "the broker slows this user or client down (check its quotas)",
        ),
        Entry::new(
            Code::ProducerFenced,
            Fatal,
            "another producer has taken this one's place; it is replaced",
        ),
        Entry::new(
            Code::PrincipalDeserializationFailure,
            Authentication,
            "a broker did not understand who this client is (check principal.builder.class of the brokers)",
        ),
        Entry::new(Code::UnknownTopicId, Transient, "the topic was created anew; its new id is being learnt"),
        Entry::new(
            Code::RebootstrapRequired,
            Transient,
            "the brokers ask for a new look at the cluster (check that bootstrap-servers is up to date)",
        ),
    ]
};

/// Errors of consumers, consumer groups, transactions, administration and other languages' clients, and marks that are no errors. Should a producer ever meet one of
/// them, it is transient: nothing is given up.
pub const NOT_OF_A_PRODUCER: &[RDKafkaErrorCode] = {
    use RDKafkaErrorCode as Code;
    &[
        Code::Begin,
        Code::BadCompression,
        Code::PartitionEOF,
        Code::FileSystem,
        Code::NodeUpdate,
        Code::WaitingForCoordinator,
        Code::UnknownGroup,
        Code::InProgress,
        Code::PreviousInProgress,
        Code::ExistingSubscription,
        Code::AssignPartitions,
        Code::RevokePartitions,
        Code::Conflict,
        Code::State,
        Code::NotImplemented,
        Code::NoOffset,
        Code::Outdated,
        Code::WaitCache,
        Code::Interrupted,
        Code::KeySerialization,
        Code::ValueSerialization,
        Code::KeyDeserialization,
        Code::ValueDeserialization,
        Code::Partial,
        Code::ReadOnly,
        Code::NoEnt,
        Code::InvalidType,
        Code::PollExceeded,
        Code::UnknownBroker,
        Code::NotConfigured,
        Code::Application,
        Code::AssignmentLost,
        Code::Noop,
        Code::AutoOffsetReset,
        Code::LogTruncation,
        Code::End,
        Code::NoError,
        Code::OffsetOutOfRange,
        Code::StaleControllerEpoch,
        Code::OffsetMetadataTooLarge,
        Code::CoordinatorLoadInProgress,
        Code::CoordinatorNotAvailable,
        Code::NotCoordinator,
        Code::IllegalGeneration,
        Code::InconsistentGroupProtocol,
        Code::InvalidGroupId,
        Code::UnknownMemberId,
        Code::InvalidSessionTimeout,
        Code::RebalanceInProgress,
        Code::InvalidCommitOffsetSize,
        Code::GroupAuthorizationFailed,
        Code::TopicAlreadyExists,
        Code::InvalidPartitions,
        Code::InvalidReplicationFactor,
        Code::InvalidReplicaAssignment,
        Code::InvalidConfig,
        Code::NotController,
        Code::InvalidTransactionalState,
        Code::InvalidTransactionTimeout,
        Code::ConcurrentTransactions,
        Code::TransactionCoordinatorFenced,
        Code::SecurityDisabled,
        Code::OperationNotAttempted,
        Code::LogDirNotFound,
        Code::ReassignmentInProgress,
        Code::DelegationTokenAuthDisabled,
        Code::DelegationTokenNotFound,
        Code::DelegationTokenOwnerMismatch,
        Code::DelegationTokenRequestNotAllowed,
        Code::DelegationTokenAuthorizationFailed,
        Code::DelegationTokenExpired,
        Code::InvalidPrincipalType,
        Code::NonEmptyGroup,
        Code::GroupIdNotFound,
        Code::FetchSessionIdNotFound,
        Code::InvalidFetchSessionEpoch,
        Code::TopicDeletionDisabled,
        Code::FencedLeaderEpoch,
        Code::UnknownLeaderEpoch,
        Code::StaleBrokerEpoch,
        Code::OffsetNotAvailable,
        Code::MemberIdRequired,
        Code::PreferredLeaderNotAvailable,
        Code::GroupMaxSizeReached,
        Code::FencedInstanceId,
        Code::EligibleLeadersNotAvailable,
        Code::ElectionNotNeeded,
        Code::NoReassignmentInProgress,
        Code::GroupSubscribedToTopic,
        Code::UnstableOffsetCommit,
        Code::ResourceNotFound,
        Code::DuplicateResource,
        Code::UnacceptableCredential,
        Code::InconsistentVoterSet,
        Code::InvalidUpdateVersion,
        Code::FeatureUpdateFailed,
        Code::FencedMemberEpoch,
        Code::UnreleasedInstanceId,
        Code::UnsupportedAssignor,
        Code::StaleMemberEpoch,
        Code::UnknownSubscriptionId,
        Code::TelemetryTooLarge,
        Code::EndAll,
    ]
};
