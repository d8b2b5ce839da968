//! The promises of `docs/promises.md` on real parts: what an operator does with the tools, and what the network, the broker and the disk do.
//!
//! Run by `cargo xtask test promises`, which builds the jar first; one test at a time, because each needs the machine for itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, also in its helpers")]

mod network;
mod orphan;
mod tools;
