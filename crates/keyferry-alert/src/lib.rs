//! What is worth a person's attention, who is told of it, and what is done about it.
//!
//! The invariant: **decisions are made by pure state machines**, which are given the time, the metrics and what became of what they asked for. They never wait, and a
//! simulated clock plays a quiet hour or a month of outages in a moment. Disk and network are at the edge.
//!
//! - [`labels`], [`metric`], [`history`]: series, where they come from, and their past.
//! - [`signal`], [`rule`]: how a number arises, and when it is too much.
//! - [`alert`], [`manager`]: one alert, and all of them: grouping, escalation, repeats, the dead man's switch.
//! - [`quiet`], [`route`]: when nobody is to be told, and who is told of what.
//! - [`notice`], [`channel`], [`outbox`]: what somebody is told, how, and what is still on its way.
//! - [`incident`]: what has gone wrong, what was done about it, and whether that helped.
//! - [`book`]: the file that says all of it; `mention`: where it names actions.
//! - [`trial`]: tests of rules.
//! - [`store`]: what survives a restart.

pub mod alert;
pub mod book;
pub mod channel;
pub mod error;
pub mod history;
pub mod incident;
pub mod labels;
pub mod manager;
mod mention;
pub mod metric;
pub mod notice;
pub mod outbox;
pub mod quiet;
pub mod route;
pub mod rule;
pub mod signal;
pub mod store;
pub mod trial;
mod units;

pub use book::Book;
pub use error::Error;
pub use incident::IncidentResponseManager;
pub use manager::AlertManager;
