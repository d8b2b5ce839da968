//! Moves committed events from the journal to a sink and keeps the checkpoint.
//!
//! The invariant: **the checkpoint never passes a record that the destination has not acknowledged** (or that does not lie in the
//! dead-letter file), and a record that is sent again carries the number that it had the first time.
//!
//! The [`Pipeline`] is a state machine: it is given a clock reading and told to take a turn, and answers what it waits for. It never waits itself. Disk
//! and destination stand behind the traits [`Storage`](keyferry_journal::Storage), [`Sink`](keyferry_event::Sink) and [`Aside`], so that
//! a simulation can run it over thousands of fault schedules. [`run`] is the edge: a plain thread that waits in poll(2) for the journal, for the
//! sink and for the word to stop.

mod archive;
mod aside;
pub mod backoff;
pub mod backpressure;
pub mod breaker;
mod ceiling;
mod controls;
mod dead_letter;
mod gap;
mod giving_up;
mod hold;
pub mod in_flight;
mod ledger;
mod lines;
pub mod meter;
mod pace;
mod pipeline;
mod recovery;
mod report;
mod retention;
mod runner;
pub mod schemas;
mod sender;
mod settling;
mod shedding;
mod start;
mod telling;

pub use archive::{Archive, ArchiveDirectory, ArchiveError, Found, Mover, move_oldest};
pub use aside::{Aside, Nowhere, SideFiles};
pub use backpressure::{BackpressureMonitor, BackpressureReport, Level};
pub use breaker::{BreakerReport, BreakerState, CircuitBreaker, Forced, TimeInState, Trip};
pub use ceiling::{Ceiling, GivenUp, GivenUpFile, GivenUps, Overflow, STRIDE};
pub use controls::{Controls, Tunables};
pub use dead_letter::{DeadLetter, DeadLetterFile, DeadLetters, LaidAside};
pub use hold::{Held, HeldEvent, HeldFile, HeldKind};
pub use in_flight::{Credit, Progress};
pub use ledger::Share;
pub use meter::Meter;
pub use pace::REST;
pub use pipeline::{Clock, Error, InDoubt, Pipeline, Settings, Turn};
pub use report::{Report, State};
pub use retention::{Position, Positions, PositionsFile, Retention};
pub use runner::{DrainLimits, Ended, Phase, RunError, Stop, SystemClock, run};
pub use shedding::{LowPriority, Stretch, Stretches, StretchesFile};
pub use start::Start;
