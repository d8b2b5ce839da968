//! The files beside the checkpoint, in memory: they outlive the agent, and every operation on them can fail.
//!
//! Each is written and synced before it counts, so a power cut takes nothing of what was kept without an error.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;

use keyferry_journal::Transaction;
use keyferry_pipeline::{
    DeadLetter, DeadLetters, GivenUp, GivenUps, Held, Position, Positions, Stretch, Stretches,
};

use crate::disk::SimulatedDisk;
use crate::kafka::Consumed;

/// The files of one destination. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct SimulatedFiles {
    disk: SimulatedDisk,
    files: Rc<RefCell<Files>>,
}

#[derive(Debug, Default)]
struct Files {
    dead_letters: Vec<Consumed>,
    /// Ids of events that are held until an operator decides.
    held: BTreeSet<String>,
    positions: Vec<Position>,
    given_up: Vec<GivenUp>,
    stretches: Vec<Stretch>,
}

impl SimulatedFiles {
    /// No file yet.
    #[must_use]
    pub fn new(disk: SimulatedDisk) -> Self {
        Self { disk, files: Rc::default() }
    }

    /// The dead letters.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<Consumed> {
        self.files.borrow().dead_letters.clone()
    }

    /// How many gap records of what was given up are kept until they are acknowledged.
    #[must_use]
    pub fn given_up_count(&self) -> usize {
        self.files.borrow().given_up.len()
    }

    /// The ids of the events that are held.
    #[must_use]
    pub fn held_ids(&self) -> BTreeSet<String> {
        self.files.borrow().held.clone()
    }
}

impl DeadLetters for SimulatedFiles {
    fn lay_aside(&mut self, letter: &DeadLetter<'_>) -> io::Result<()> {
        self.disk.aside_may_fail("write", "the dead letters")?;
        self.files.borrow_mut().dead_letters.push(Consumed::of(letter.record));
        Ok(())
    }
}

impl Held for SimulatedFiles {
    fn hold(&mut self, transaction: &Transaction<'_>, _: u64) -> io::Result<()> {
        self.disk.aside_may_fail("write", "the held events")?;
        for event in transaction.events() {
            let event = event.map_err(io::Error::other)?;
            let id = event.field(keyferry_journal::event::Field::Id).unwrap_or_default();
            self.files.borrow_mut().held.insert(id.to_owned());
        }
        Ok(())
    }

    fn held(&mut self) -> u64 {
        self.files.borrow().held.len() as u64
    }
}

impl Positions for SimulatedFiles {
    fn positions(&mut self) -> io::Result<Vec<Position>> {
        self.disk.aside_may_fail("read", "the positions")?;
        Ok(self.files.borrow().positions.clone())
    }

    fn keep_positions(&mut self, positions: &[Position]) -> io::Result<()> {
        self.disk.aside_may_fail("write", "the positions")?;
        self.files.borrow_mut().positions = positions.to_vec();
        Ok(())
    }
}

impl GivenUps for SimulatedFiles {
    fn given_up(&mut self) -> io::Result<Vec<GivenUp>> {
        self.disk.aside_may_fail("read", "what was given up")?;
        Ok(self.files.borrow().given_up.clone())
    }

    fn keep_given_up(&mut self, given_up: &[GivenUp]) -> io::Result<()> {
        self.disk.aside_may_fail("write", "what was given up")?;
        self.files.borrow_mut().given_up = given_up.to_vec();
        Ok(())
    }
}

impl Stretches for SimulatedFiles {
    fn stretches(&mut self) -> io::Result<Vec<Stretch>> {
        let stretches = self.files.borrow().stretches.clone();
        if !stretches.is_empty() {
            self.disk.aside_may_fail("read", "where events are passed over")?;
        }
        Ok(stretches)
    }

    fn keep_stretches(&mut self, stretches: &[Stretch]) -> io::Result<()> {
        self.disk.aside_may_fail("write", "where events are passed over")?;
        self.files.borrow_mut().stretches = stretches.to_vec();
        Ok(())
    }
}
