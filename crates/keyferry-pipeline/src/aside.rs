//! Everything that must be durable beside the checkpoint, together.

use std::io;
use std::path::Path;

use keyferry_journal::Transaction;

use crate::ceiling::{GivenUp, GivenUpFile, GivenUps};
use crate::dead_letter::{DeadLetter, DeadLetterFile, DeadLetters};
use crate::hold::{Held, HeldFile};
use crate::retention::{Position, Positions, PositionsFile};
use crate::shedding::{Stretch, Stretches, StretchesFile};

/// What a pipeline writes beside the checkpoint.
pub trait Aside: DeadLetters + Held + Positions + GivenUps + Stretches {}

impl<T: DeadLetters + Held + Positions + GivenUps + Stretches> Aside for T {}

/// The files of one destination in a slot directory.
#[derive(Debug)]
pub struct SideFiles {
    dead_letters: DeadLetterFile,
    held: HeldFile,
    positions: PositionsFile,
    given_up: GivenUpFile,
    passed_over: StretchesFile,
}

impl SideFiles {
    /// The files of `destination` in `slot`. Each is created when it is first needed.
    pub fn of(slot: &Path, destination: &str) -> Self {
        let path = |what: &str| slot.join(format!("{destination}.{what}.jsonl"));
        Self {
            dead_letters: DeadLetterFile::new(path("dead-letters")),
            held: HeldFile::new(path("held")),
            positions: PositionsFile::new(path("positions")),
            given_up: GivenUpFile::new(path("given-up")),
            passed_over: StretchesFile::new(path("passed-over")),
        }
    }
}

impl DeadLetters for SideFiles {
    fn lay_aside(&mut self, letter: &DeadLetter<'_>) -> io::Result<()> {
        self.dead_letters.lay_aside(letter)
    }
}

impl Held for SideFiles {
    fn hold(&mut self, transaction: &Transaction<'_>, now_ms: u64) -> io::Result<()> {
        self.held.hold(transaction, now_ms)
    }

    fn held(&mut self) -> u64 {
        self.held.held()
    }
}

impl Positions for SideFiles {
    fn positions(&mut self) -> io::Result<Vec<Position>> {
        self.positions.positions()
    }

    fn keep_positions(&mut self, positions: &[Position]) -> io::Result<()> {
        self.positions.keep_positions(positions)
    }
}

impl GivenUps for SideFiles {
    fn given_up(&mut self) -> io::Result<Vec<GivenUp>> {
        self.given_up.given_up()
    }

    fn keep_given_up(&mut self, given_up: &[GivenUp]) -> io::Result<()> {
        self.given_up.keep_given_up(given_up)
    }
}

impl Stretches for SideFiles {
    fn stretches(&mut self) -> io::Result<Vec<Stretch>> {
        self.passed_over.stretches()
    }

    fn keep_stretches(&mut self, stretches: &[Stretch]) -> io::Result<()> {
        self.passed_over.keep_stretches(stretches)
    }
}

/// Nothing is written: for looking at a slot without leaving a trace in it.
#[derive(Clone, Copy, Debug)]
pub struct Nowhere;

impl DeadLetters for Nowhere {
    fn lay_aside(&mut self, _: &DeadLetter<'_>) -> io::Result<()> {
        Ok(())
    }
}

impl Held for Nowhere {
    fn hold(&mut self, _: &Transaction<'_>, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn held(&mut self) -> u64 {
        0
    }
}

impl Positions for Nowhere {
    fn positions(&mut self) -> io::Result<Vec<Position>> {
        Ok(Vec::new())
    }

    fn keep_positions(&mut self, _: &[Position]) -> io::Result<()> {
        Ok(())
    }
}

impl GivenUps for Nowhere {
    fn given_up(&mut self) -> io::Result<Vec<GivenUp>> {
        Ok(Vec::new())
    }

    fn keep_given_up(&mut self, _: &[GivenUp]) -> io::Result<()> {
        Ok(())
    }
}

impl Stretches for Nowhere {
    fn stretches(&mut self) -> io::Result<Vec<Stretch>> {
        Ok(Vec::new())
    }

    fn keep_stretches(&mut self, _: &[Stretch]) -> io::Result<()> {
        Ok(())
    }
}
