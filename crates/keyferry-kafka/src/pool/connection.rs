//! What the pool needs of a connection, so that a simulated one can take its place.

use keyferry_event::{Failure, Record, SendError, Token};

use crate::pool::snapshot::ConnectionSnapshot;
use crate::settings::{ProducerSettings, Requests};
use crate::topics::{Answer, Request};

/// One producer with its own connections to the brokers.
///
/// The invariant: **every record that was taken gets exactly one outcome, unless the connection is reset, which forgets all that have none yet.** Records of the same key
/// are delivered in the order in which they were taken.
pub(crate) trait Connection {
    /// Hands over `record`, without waiting.
    fn send(&mut self, token: Token, record: &Record<'_>) -> Result<(), SendError>;
    /// Reports the outcomes that have become known, and takes in everything else there is to hear.
    fn poll(&mut self, outcome: &mut dyn FnMut(Token, Result<(), Failure>));
    /// Forgets every record without an outcome, and begins anew with so many unanswered requests at most.
    fn reset(&mut self, requests: Requests) -> Result<(), Failure>;
    /// How many records have no outcome yet.
    fn outstanding(&self) -> u64;
    /// Why none of them will ever get one; `None` as long as there is hope.
    fn lost(&self) -> Option<Failure>;
    /// What it complained of last and no success has cleared since.
    fn trouble(&self) -> Option<Failure>;
    /// Whether it cannot log in for want of a token, and will not ask for one for some time.
    fn lacks_token(&self) -> bool;
    /// Asks the cluster.
    fn ask(&mut self, request: &Request) -> Result<(), Failure>;
    /// The oldest answer that was not taken yet.
    fn answer(&mut self) -> Option<Answer>;
    /// Writes down what it knows of its traffic.
    fn describe(&self, snapshot: &mut ConnectionSnapshot);
}

/// Makes connections, and takes leave of them.
pub(crate) trait Connector {
    /// What it makes.
    type Connection: Connection;
    /// A new connection, one of `of` in its generation, with so many unanswered requests at most. Does not wait for the network.
    fn connect(
        &mut self,
        settings: &ProducerSettings,
        of: usize,
        requests: Requests,
    ) -> Result<Self::Connection, Failure>;
    /// Takes leave of a connection that has no outstanding record, which may take its time.
    fn retire(&mut self, connection: Self::Connection);
}
