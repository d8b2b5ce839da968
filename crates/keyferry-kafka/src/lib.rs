//! The only crate that knows librdkafka.
//!
//! The invariant: **a record leaves in the order in which it was sent, or the whole rest is sent again.** librdkafka's idempotent producer keeps the order of a
//! partition through every retry; we let it retry without an end of its own (`message.timeout.ms = 0`), because a record that gives up inside the client
//! while a later one of the same key succeeds has broken that order. What librdkafka gives up for another reason is handed back to the
//! pipeline, which resets the sink and sends everything again that was not acknowledged.
//!
//! - [`pool`]: the connections to one destination, replaced without a gap: the sink that ships.
//! - [`sink`]: one connection.
//! - [`compacted`]: a topic that keeps the newest record of each key.
//! - [`consume`]: topics read from one end to the other, to verify them.
//! - [`examine`]: one look at a cluster, for who wants to know what is wrong with the way to it.
//! - [`single`]: one record, by a producer that lives for it.
//! - [`error`]: which of librdkafka's errors mean what.
//! - [`security`]: credentials that librdkafka does not take as they are.
//! - [`topics`]: what the cluster says of the topics.
//! - [`tuner`]: batch size, linger, compression and connections, fitted to what flows.
//! - `raw`: the few calls of the C client that the `rdkafka` crate does not offer as we need them; with `raw_admin`, `raw_token` and `raw_verify` the only `unsafe` code of the project.

pub mod compacted;
pub mod consume;
pub mod error;
pub mod examine;
pub mod pool;
mod raw;
mod raw_admin;
mod raw_token;
mod raw_verify;
pub mod security;
mod settings;
pub mod single;
pub mod sink;
mod stall;
mod statistics;
pub mod topics;
pub mod tuner;

pub use pool::{ConnectionPoolManager, PoolHandle, PoolSettings, PoolSnapshot};
pub use settings::{Mark, ProducerSettings};
pub use sink::KafkaSink;
pub use tuner::{KafkaPerformanceTuner, ProducerTuning};
