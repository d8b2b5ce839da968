//! Records in, settled transactions out: a state machine that knows nothing of disks.
//!
//! The invariant: a transaction leaves the assembler at most once, by its COMMIT, by its ABORT, or as in doubt when its
//! epoch has ended. Open transactions are kept in the order of their first PREPARE, and only as positions: their number
//! is the number of transactions in flight in Keycloak, and their events stay on disk.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::format::Place;

/// Where the payload of a PREPARE lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// Where the record begins.
    pub(crate) place: Place,
    /// Length of the record in bytes, without padding.
    pub(crate) length: usize,
}

/// A transaction whose PREPAREs have been met and whose outcome has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) id: u64,
    pub(crate) first: Prepared,
    /// The PREPAREs after the first, which few transactions have.
    pub(crate) more: Vec<Prepared>,
    /// Time of the last PREPARE, in milliseconds since the Unix epoch.
    pub(crate) written_ms: u64,
}

/// Transaction ids ascend, so a multiplication spreads them well enough, and at a fraction of the default hash's cost.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }
}

/// The open transactions of one epoch.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// The one that was opened last. It is apart from the others, because mostly its outcome comes next.
    newest: Option<Open>,
    /// Those before it, in order of the first PREPARE; `None` where the transaction has been settled. Never begins with `None`.
    open: VecDeque<Option<Open>>,
    /// How many entries have left the front of `open`.
    base: u64,
    /// Where in `open` a transaction is, counted from the first ever.
    index: HashMap<u64, u64, BuildHasherDefault<IdHasher>>,
    /// Those handed out as in doubt.
    handed_out: HashSet<u64, BuildHasherDefault<IdHasher>>,
}

impl Assembler {
    /// Adds a PREPARE to its transaction.
    pub(crate) fn prepare(&mut self, id: u64, prepared: Prepared, written_ms: u64) {
        if let Some(open) = self.get_mut(id) {
            open.more.push(prepared);
            open.written_ms = written_ms;
            return;
        }
        if let Some(before) = self.newest.take() {
            self.index.insert(before.id, self.base + self.open.len() as u64);
            self.open.push_back(Some(before));
        }
        self.newest = Some(Open { id, first: prepared, more: Vec::new(), written_ms });
    }

    /// Settles a transaction by its COMMIT or ABORT.
    pub(crate) fn settle(&mut self, id: u64) {
        if self.is_newest(id) {
            self.newest = None;
        } else {
            self.take_older(id);
        }
    }

    /// Whether the transaction was handed out as in doubt.
    pub(crate) fn was_in_doubt(&self, id: u64) -> bool {
        self.handed_out.contains(&id)
    }

    /// The open transaction with this id.
    pub(crate) fn get(&self, id: u64) -> Option<&Open> {
        if self.is_newest(id) {
            return self.newest.as_ref();
        }
        let position = self.index.get(&id)?;
        self.open[(position - self.base) as usize].as_ref()
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Open> {
        if self.is_newest(id) {
            return self.newest.as_mut();
        }
        let position = self.index.get(&id)?;
        self.open[(position - self.base) as usize].as_mut()
    }

    /// The open transaction with the earliest PREPARE.
    pub(crate) fn front(&self) -> Option<&Open> {
        match self.open.front() {
            Some(front) => front.as_ref(),
            None => self.newest.as_ref(),
        }
    }

    /// Hands out the transaction with the earliest PREPARE as in doubt.
    pub(crate) fn take_in_doubt(&mut self) -> Option<Open> {
        let id = self.front()?.id;
        self.handed_out.insert(id);
        if self.is_newest(id) { self.newest.take() } else { self.take_older(id) }
    }

    /// Where the earliest PREPARE of an open transaction begins.
    pub(crate) fn oldest(&self) -> Option<Place> {
        Some(self.front()?.first.place)
    }

    /// How many transactions are open.
    pub(crate) fn len(&self) -> usize {
        self.index.len() + usize::from(self.newest.is_some())
    }

    /// Forgets everything, for the next epoch.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn is_newest(&self, id: u64) -> bool {
        self.newest.as_ref().is_some_and(|newest| newest.id == id)
    }

    fn take_older(&mut self, id: u64) -> Option<Open> {
        let position = self.index.remove(&id)?;
        let open = self.open[(position - self.base) as usize].take();
        while let Some(None) = self.open.front() {
            self.open.pop_front();
            self.base += 1;
        }
        assert!(open.is_some(), "transaction {id} was indexed but not open");
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Prepared {
        Prepared { place: Place { segment: 0, offset }, length: 32 }
    }

    #[test]
    fn a_transaction_gathers_its_prepares_and_is_settled_once() {
        let mut assembler = Assembler::default();
        assembler.prepare(1, at(64), 10);
        assembler.prepare(2, at(96), 10);
        assembler.prepare(1, at(128), 11);
        let open = assembler.get(1).unwrap();
        assert_eq!((open.first, &open.more[..], open.written_ms), (at(64), &[at(128)][..], 11));
        assembler.settle(1);
        assert_eq!(assembler.get(1), None);
        assembler.settle(1);
        assert_eq!(assembler.len(), 1);
        assert_eq!(assembler.take_in_doubt().unwrap().id, 2);
        assert_eq!(assembler.take_in_doubt(), None);
    }

    #[test]
    fn those_in_doubt_follow_in_order_of_their_first_prepare() {
        let mut assembler = Assembler::default();
        for (id, offset) in [(9, 64), (3, 128), (5, 192), (9, 256)] {
            assembler.prepare(id, at(offset), 10);
        }
        assert_eq!(assembler.oldest(), Some(at(64).place));
        assembler.settle(3);
        let order: Vec<u64> = std::iter::from_fn(|| assembler.take_in_doubt()).map(|open| open.id).collect();
        assert_eq!(order, [9, 5]);
        assert!(assembler.was_in_doubt(9) && !assembler.was_in_doubt(3));
        assert_eq!(assembler.oldest(), None);
    }

    #[test]
    fn the_oldest_moves_on_when_it_is_settled() {
        let mut assembler = Assembler::default();
        for id in 1..=100 {
            assembler.prepare(id, at(id * 64), 10);
        }
        for id in (2..=100).rev() {
            assembler.settle(id);
            assert_eq!(assembler.oldest(), Some(at(64).place));
        }
        assembler.prepare(101, at(101 * 64), 10);
        assembler.settle(1);
        assert_eq!(assembler.oldest(), Some(at(101 * 64).place));
        assert_eq!(assembler.len(), 1);
    }

    /// What the assembler answers is what a list of the open transactions answers, in whatever order they come and go.
    #[test]
    fn it_is_a_list_of_open_transactions() {
        let mut seed = 7_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            (seed >> 33) % below
        };
        let mut assembler = Assembler::default();
        let mut list: Vec<Open> = Vec::new();
        for step in 1..20_000 {
            let (id, prepared) = (random(6), at(step * 64));
            match random(3) {
                0 => {
                    assembler.settle(id);
                    list.retain(|open| open.id != id);
                }
                _ => {
                    assembler.prepare(id, prepared, step);
                    match list.iter_mut().find(|open| open.id == id) {
                        Some(open) => {
                            open.more.push(prepared);
                            open.written_ms = step;
                        }
                        None => list.push(Open { id, first: prepared, more: Vec::new(), written_ms: step }),
                    }
                }
            }
            assert_eq!((assembler.len(), assembler.front()), (list.len(), list.first()), "step {step}");
            for id in 0..6 {
                assert_eq!(assembler.get(id), list.iter().find(|open| open.id == id), "step {step}");
            }
        }
        let order: Vec<Open> = std::iter::from_fn(|| assembler.take_in_doubt()).collect();
        assert_eq!(order, list);
    }
}
