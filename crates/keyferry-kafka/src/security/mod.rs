//! What stands between a configured credential and librdkafka, where librdkafka itself does not take it.
//!
//! The invariant: **a secret is in memory only, and in no message**: errors name what is wrong, never what was read.
//!
//! - [`store`]: Java's key and trust stores as PEM texts.

pub mod store;

mod jks;
