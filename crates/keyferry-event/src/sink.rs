//! What a destination must do with a record, whatever it is made of.
//!
//! The invariant: **every record that a sink has accepted gets exactly one outcome**, unless the sink is reset, which forgets all
//! that have none yet. The pipeline never moves its checkpoint past a record without a good outcome, so a sink may
//! lose records by failing, but never by forgetting.

use std::fmt;
use std::os::fd::BorrowedFd;

use crate::record::Record;

/// Names a record that was handed to a sink until its outcome is known. Tokens ascend by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Where records go: Kafka, standard output, or a simulation.
pub trait Sink {
    /// Hands over `record`. Never blocks: the bytes are copied or written before it returns.
    ///
    /// # Errors
    /// [`SendError::Full`] when the sink takes no more for now; [`SendError::Failed`] when this record was not taken.
    fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError>;

    /// Reports the outcomes that have become known since the last call. Never blocks.
    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>));

    /// Forgets every record that has no outcome yet, as far as can be so that none of them reaches the destination any more,
    /// and begins anew. No outcome of a forgotten record is reported afterwards.
    ///
    /// # Errors
    /// The sink cannot begin anew for now; the caller tries again later.
    fn reset(&mut self) -> Result<(), Failure>;

    /// Why no record that has no outcome yet will ever get one unless the sink is reset; `None` as long as there is hope. Asked when nothing has been
    /// acknowledged for a while, so it need not be cheap, but it must not block.
    fn lost(&self) -> Option<Failure> {
        None
    }

    /// Whether other connections have taken over since this was asked last: what was learnt of those before says nothing of them.
    fn take_renewed(&mut self) -> bool {
        false
    }

    /// A descriptor that becomes readable when [`Sink::poll`] has something to report; `None` if outcomes are always known at once.
    fn readiness(&self) -> Option<BorrowedFd<'_>>;

    /// The last trouble that the sink noticed by itself (a refused connection, a failed login) and that no later success has
    /// cleared. Where the client retries without an end, a failed login never fails a record: this is the only place where it shows.
    fn trouble(&self) -> Option<Failure>;
}

/// Takes every record and acknowledges it at the next poll: for measuring what comes before a sink.
#[derive(Debug, Default)]
pub struct NullSink {
    tokens: Vec<Token>,
    bytes: u64,
}

impl NullSink {
    /// How many bytes it has taken: keys, values, and values of headers.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Sink for NullSink {
    fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError> {
        self.bytes += record.size() as u64;
        self.tokens.push(token);
        Ok(())
    }

    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>)) {
        self.tokens.drain(..).for_each(|token| outcome(token, Ok(())));
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.tokens.clear();
        Ok(())
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn trouble(&self) -> Option<Failure> {
        None
    }
}

/// Why a sink did not take a record.
#[derive(Debug)]
pub enum SendError {
    /// The sink's own queue is full: try again after the next outcomes.
    Full,
    /// The sink refused this record.
    Failed(Failure),
}

/// Something that failed, and what kind of remedy it needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// What can be done about it.
    pub class: FailureClass,
    /// What happened, in words for the log and the operator.
    pub reason: String,
}

impl Failure {
    /// A failure that is likely to pass by itself.
    pub fn transient(reason: impl Into<String>) -> Self {
        Self { class: FailureClass::Transient, reason: reason.into() }
    }

    /// A failure that lies in the record itself.
    pub fn poison(reason: impl Into<String>) -> Self {
        Self { class: FailureClass::Poison, reason: reason.into() }
    }
}

/// What can be done about a failure.
///
/// Only [`Poison`](FailureClass::Poison) concerns the record itself: after any other failure the same record may be delivered as soon as its cause is gone, and is
/// therefore kept and sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureClass {
    /// Likely to pass by itself: a broker is away, a leader is being elected.
    Transient,
    /// The destination asks for less: a quota, or a client that is slowed down.
    Throttled,
    /// The destination does not know us: a wrong password, an expired token, a certificate that is not trusted.
    Authentication,
    /// The destination knows us and refuses a right.
    Authorisation,
    /// Something is not as it must be, here or there, and stays so until a person changes it: a topic that does not exist, a refused setting.
    Configuration,
    /// The client itself cannot go on: a new one may.
    Fatal,
    /// The record itself can never be accepted, whatever is done to the destination.
    Poison,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 7] = [
        Self::Transient,
        Self::Throttled,
        Self::Authentication,
        Self::Authorisation,
        Self::Configuration,
        Self::Fatal,
        Self::Poison,
    ];

    /// Its name in reports and headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Authentication => "authentication",
            Self::Authorisation => "authorisation",
            Self::Configuration => "configuration",
            Self::Fatal => "fatal",
            Self::Poison => "poison",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
