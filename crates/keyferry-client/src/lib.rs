//! For consumers: what Keyferry has written to Kafka, as typed events.
//!
//! The invariant: **what is not understood is told, and what is not known is kept.** A record is an event, word of events that are missing, or an error with its reason; fields of a later Keycloak
//! stand in a map beside those that have a type.
//!
//! The library reads bytes and headers and knows no Kafka client: give it what yours has received. What it decides is a function of what it is given, with no clock, thread or socket.
//!
//! - [`Decoder`]: from a record to a [`Message`]. Further [formats](Format) can be added to it.
//! - [`Duplicates`]: Keyferry delivers at least once; a copy carries the id of the first.
//! - [`Sequences`]: records are numbered per node and epoch without gaps; a number that never comes was lost, unless a [gap record](GapRecord) tells of it.
//!
//! ```
//! use keyferry_client::{Decoder, Duplicates, Event, Headers, Outcome, Sequences, Start};
//!
//! let decoder = Decoder::default();
//! let mut duplicates = Duplicates::default();
//! let mut sequences = Sequences::of(vec![Start::Beginning]);
//!
//! // What a Kafka client has received of partition 0.
//! let headers: [(&str, &[u8]); 5] = [
//!     ("ce_id", b"e-1"),
//!     ("ce_node", b"kc-1"),
//!     ("ce_epoch", b"0006447b0d1a2c00"),
//!     ("ce_sequence", b"00000000000000000001"),
//!     ("ce_outcome", b"committed"),
//! ];
//! let value = br#"{"id":"e-1","time":1761640463007,"type":"LOGIN","userId":"u-1","details":{"username":"jo"}}"#;
//!
//! let message = decoder.decode(&Headers::from_iter(headers), value)?;
//! sequences.enter(0, &message);
//! while let Some(missing) = sequences.next_missing() {
//!     eprintln!("missing: {missing}");
//! }
//! assert!(message.id.as_deref().is_none_or(|id| duplicates.is_new(id)), "else it is a copy");
//! match &message.event {
//!     Event::User(event) => assert_eq!((event.kind(), event.detail("username")), ("LOGIN", Some("jo"))),
//!     Event::Admin(event) => println!("{} {}", event.operation(), event.resource()),
//!     Event::Gap(gap) => eprintln!("events are missing: {}", gap.detail),
//! }
//! assert_eq!(message.outcome, Outcome::Committed, "else nobody knows whether it happened");
//! # Ok::<(), keyferry_client::DecodeError>(())
//! ```

mod decode;
mod duplicates;
mod ecs;
mod event;
mod gap;
mod gathering;
mod headers;
mod ocsf;
mod ranges;
mod schema;
mod sequences;

pub use decode::{CloudEvents, DecodeError, Decoder, Format, Keycloak, Message};
pub use duplicates::Duplicates;
pub use event::{AdminEvent, AuthDetails, Event, UserEvent};
pub use gap::{GapRecord, Span};
pub use headers::{Delivery, Epoch, GAP_TYPE, HeaderError, Headers, Outcome, Place};
pub use schema::Framed;
pub use sequences::{Limits, Missing, Reason, Sequences, Start, Unseen};
