//! What stands between a configured credential and librdkafka, where librdkafka itself does not take it or does not tell enough of it.
//!
//! The invariant: **a secret is in memory only, and in no message**: errors name what is wrong, never what was read.
//!
//! - [`handshake`]: one TLS handshake, and all that is wrong with what the server shows.
//! - [`msk`]: tokens that Amazon MSK takes for AWS credentials.
//! - [`store`]: Java's key and trust stores as PEM texts.
//! - [`validity`]: until when certificates are valid.
//! - `diagnosis`: what a failed login or handshake means.

pub(crate) mod diagnosis;
pub mod handshake;
pub mod msk;
pub mod store;
pub mod validity;

mod jks;
