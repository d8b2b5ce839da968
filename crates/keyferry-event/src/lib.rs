//! What a record says: the way from a journaled event to the bytes that a consumer reads from Kafka.
//!
//! The invariant: **the value is Keycloak's own JSON, byte for byte, but for what is redacted**, unless another [`format`](mod@format) was asked for. Whatever Keyferry has to say about an event (its
//! sequence number, the node, whether its transaction is known to have committed) stands in headers around it, so that consumers
//! of other listeners read our topics unchanged, and an event costs a copy rather than a parse.
//!
//! - [`filter`]: which events there is a record of.
//! - [`redaction`]: what is not told.
//! - [`routing`]: templates for topics and keys.
//! - [`key`]: what concerns one user stays in order, because it has one key.
//! - [`headers`]: CloudEvents 1.0 in binary mode.
//! - [`format`](mod@format): what the value looks like.
//! - [`gap`]: word of what is missing.
//! - [`record`]: topic, key, headers and value together.
//! - [`contract`]: all of it for the machines of consumers.
//! - [`sink`]: what a destination must do with a record.

mod clock;
pub mod contract;
pub mod filter;
pub mod format;
pub mod gap;
pub mod headers;
mod json;
pub mod key;
mod near;
pub mod record;
pub mod redaction;
pub mod routing;
pub mod sink;

/// Which events a destination gets, and what becomes of them. The default is every event, where its kind goes, without its secrets.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Which events pass.
    pub filter: Filter,
    /// Where they go.
    pub routing: Routing,
    /// What of them is not told.
    pub redaction: Redaction,
    /// What a record's value looks like.
    pub format: Format,
    /// The ids of the format's schema that are known from the start.
    pub schema_ids: SchemaIds,
}

pub use filter::Filter;
pub use format::{Format, Schema, SchemaId, SchemaIds, SchemaType, SchemaUnknown};
pub use gap::{GAP_TYPE, Gap, GapReason, Span};
pub use headers::{Envelope, Header, HeaderMode};
pub use record::{Encoder, Record, Topics};
pub use redaction::Redaction;
pub use routing::Routing;
pub use sink::{Failure, FailureClass, NullSink, SendError, Sink, Token};
