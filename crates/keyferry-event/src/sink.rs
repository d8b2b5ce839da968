//! What a destination must do with a record, whatever it is made of.
//!
//! The invariant: **every record that a sink has accepted gets exactly one outcome**, unless the sink is reset, which forgets all
//! that have none yet. The pipeline never moves its checkpoint past a record without a good outcome, so a sink may
//! lose records by failing, but never by forgetting.

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

    /// A descriptor that becomes readable when [`Sink::poll`] has something to report; `None` if outcomes are always known at once.
    fn readiness(&self) -> Option<BorrowedFd<'_>>;

    /// The last trouble that the sink noticed by itself (a refused connection, a failed login) and that no later success has
    /// cleared. For people, not for decisions.
    fn trouble(&self) -> Option<String>;
}

/// Why a sink did not take a record.
#[derive(Debug)]
pub enum SendError {
    /// The sink's own queue is full: try again after the next outcomes.
    Full,
    /// The sink refused this record.
    Failed(Failure),
}

/// A delivery that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// What can be done about it.
    pub class: FailureClass,
    /// What happened, in words for the log and the operator.
    pub reason: String,
}

/// What can be done about a failed delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// May succeed when it is sent again later: a broker is away, a topic is missing, a right has not been granted yet.
    Retriable,
    /// Can never succeed, whatever is done to the destination: the record itself is not acceptable.
    Poison,
}
