//! A schema registry that comes and goes, and what a pipeline knows of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyferry_event::{Failure, FailureClass, Schema, SchemaId};
use keyferry_pipeline::schemas::{SchemaLookup, SchemaSource};

/// More ids than a history has registries, each of one byte that is legal in a text.
const IDS: u64 = 100;

/// The registry, and the cache before it.
#[derive(Clone, Debug, Default)]
pub struct SimulatedRegistry(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    mood: Mood,
    /// The topics whose id the agent knows.
    known: BTreeSet<String>,
    /// Rises with each registry that takes the place of another.
    generation: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum Mood {
    #[default]
    Answers,
    Silent,
    Refuses(FailureClass),
}

impl SimulatedRegistry {
    /// It is in another mood, or another registry is in its place. Says what happened.
    pub fn come_or_go(&self, random: &mut fastrand::Rng) -> String {
        let mut state = self.lock();
        state.mood = match random.u32(..6) {
            0 => Mood::Silent,
            1 => Mood::Refuses(FailureClass::Transient),
            2 => Mood::Refuses(FailureClass::Authentication),
            3 => Mood::Refuses(FailureClass::Configuration),
            _ => Mood::Answers,
        };
        if random.u32(..4) == 0 {
            state.generation += 1;
            state.known.clear();
        }
        format!("{:?}, the registry of generation {}", state.mood, state.generation)
    }

    /// It is well.
    pub fn heal(&self) {
        self.lock().mood = Mood::Answers;
    }

    /// An agent that begins knows nothing.
    pub fn begin_anew(&self) {
        self.lock().known.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SchemaSource for SimulatedRegistry {
    fn look_up(&self, _: &Schema, topic: &str) -> SchemaLookup {
        let mut state = self.lock();
        match state.mood {
            Mood::Silent if !state.known.contains(topic) => SchemaLookup::Asked,
            Mood::Refuses(class) if !state.known.contains(topic) => {
                SchemaLookup::Refused(Failure { class, reason: "the registry refuses".to_owned() })
            }
            _ => {
                state.known.insert(topic.to_owned());
                SchemaLookup::Known(SchemaId((state.generation % IDS + 1) as u32))
            }
        }
    }

    fn generation(&self) -> u64 {
        self.lock().generation
    }
}
