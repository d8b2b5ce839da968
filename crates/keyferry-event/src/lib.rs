//! What a record says: the way from a journaled event to the bytes that a consumer reads from Kafka.
//!
//! The invariant: **the value is Keycloak's own JSON, byte for byte.** Whatever Keyferry has to say about an event (its
//! sequence number, the node, whether its transaction is known to have committed) stands in headers around it, so that consumers
//! of other listeners read our topics unchanged, and an event costs a copy rather than a parse.
//!
//! - [`key`]: what concerns one user stays in order, because it has one key.
//! - [`headers`]: CloudEvents 1.0 in binary mode.
//! - [`gap`]: word of what is missing.
//! - [`record`]: topic, key, headers and value together.
//! - [`sink`]: what a destination must do with a record.

pub mod gap;
pub mod headers;
pub mod key;
pub mod record;
pub mod sink;

pub use gap::{GAP_TYPE, Gap, GapReason, Span};
pub use headers::{Envelope, Header, HeaderMode};
pub use record::{Encoder, Record, Topics};
pub use sink::{Failure, FailureClass, SendError, Sink, Token};
