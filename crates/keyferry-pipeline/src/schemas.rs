//! Where the ids of schemas come from, and what a pipeline does until it has one.
//!
//! The invariants:
//!
//! - **A record whose topic has no id is not sent, and neither is any after it.** What was read of it is read again from the journal: the order is that of the journal whatever a registry does.
//! - **Nothing waits here.** The source says what it knows; the thread of the pipeline sleeps where it always does and looks again.
//!
//! While a source is only being asked, it is looked again soon. When it refuses, the circuit breaker opens: the same pauses hold as for a destination that fails, and the same people are told.

use std::fmt;
use std::sync::Arc;

use keyferry_event::{Failure, FailureClass, Schema, SchemaId, Sink};
use keyferry_journal::Storage;

use crate::aside::Aside;
use crate::pipeline::{Clock, Pipeline};

/// How soon it is looked again for an id that is being asked for.
const PAUSE_MS: u64 = 20;

/// Somebody who knows the ids of schemas. No method waits.
pub trait SchemaSource: Send + Sync + fmt::Debug {
    /// The id of `schema` for `topic`. What is not known is asked for from now on.
    fn look_up(&self, schema: &Schema, topic: &str) -> SchemaLookup;

    /// Rises when ids that were told are none any more.
    fn generation(&self) -> u64;
}

/// What is known of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaLookup {
    /// It is this one.
    Known(SchemaId),
    /// It is being asked for.
    Asked,
    /// There is none for now, for this reason. It is asked for again.
    Refused(Failure),
}

/// Nobody: for formats that need no ids.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSchemas;

impl SchemaSource for NoSchemas {
    fn look_up(&self, schema: &Schema, topic: &str) -> SchemaLookup {
        SchemaLookup::Refused(Failure {
            class: FailureClass::Configuration,
            reason: format!("nobody knows the id of the schema ({}) for {topic}", schema.kind.name()),
        })
    }

    fn generation(&self) -> u64 {
        0
    }
}

/// One id for every schema: for records that nobody reads.
#[derive(Clone, Copy, Debug)]
pub struct FixedId(pub SchemaId);

impl SchemaSource for FixedId {
    fn look_up(&self, _: &Schema, _: &str) -> SchemaLookup {
        SchemaLookup::Known(self.0)
    }

    fn generation(&self) -> u64 {
        0
    }
}

/// How a pipeline stands with its source.
#[derive(Debug)]
pub(crate) struct Schemas {
    source: Arc<dyn SchemaSource>,
    generation: u64,
    /// When it is looked again for the id that is being asked for, in monotonic milliseconds; `None` if none is.
    look_at_ms: Option<u64>,
}

impl Schemas {
    pub(crate) fn of(source: Arc<dyn SchemaSource>) -> Self {
        let generation = source.generation();
        Self { source, generation, look_at_ms: None }
    }

    /// Whether ids that were told before are none any more.
    pub(crate) fn take_change(&mut self) -> bool {
        let generation = self.source.generation();
        std::mem::replace(&mut self.generation, generation) != generation
    }

    /// Whether there is nothing to look for yet; otherwise it is looked now.
    pub(crate) fn waits(&mut self, clock: Clock) -> bool {
        let waits = self.is_waiting_at(clock);
        if !waits {
            self.look_at_ms = None;
        }
        waits
    }

    /// Whether there is nothing to look for yet.
    pub(crate) fn is_waiting_at(&self, clock: Clock) -> bool {
        self.look_at_ms.is_some_and(|at_ms| clock.monotonic_ms < at_ms)
    }

    /// When to look again, in monotonic milliseconds; `None` if nothing is being asked for.
    pub(crate) fn waits_until_ms(&self) -> Option<u64> {
        self.look_at_ms
    }
}

impl<S: Storage, K: Sink, A: Aside> Pipeline<S, K, A> {
    /// Ids of another registry are none.
    pub(crate) fn heed_schemas(&mut self) {
        if self.schemas.take_change() {
            self.sender.forget_schema_ids();
        }
    }

    /// Gets the id without which there is no record for `topic`. Whether there is one now.
    pub(crate) fn get_schema_id(&mut self, topic: &str, clock: Clock) -> bool {
        let Some(schema) = self.sender.settings.content.format.schema() else { return true };
        match self.schemas.source.look_up(&schema, topic) {
            SchemaLookup::Known(id) => {
                self.sender.learn_schema_id(topic, id);
                return true;
            }
            SchemaLookup::Asked => {
                self.schemas.look_at_ms = Some(clock.monotonic_ms + PAUSE_MS);
                self.sender.outbox.withhold(None, clock);
            }
            SchemaLookup::Refused(failure) => {
                self.sender.outbox.withhold(Some(&failure), clock);
                self.breaker.withheld(&failure, clock.monotonic_ms);
            }
        }
        false
    }
}
