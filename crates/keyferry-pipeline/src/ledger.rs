//! Which segments of a slot may go, where several destinations read it.
//!
//! The invariants:
//!
//! - **A segment goes only when every destination has released it.** One that has released nothing, or has not begun, holds on to everything.
//! - **That a segment cannot be deleted keeps no event from being delivered.** It is told once and tried again.

use std::sync::{Arc, Mutex, PoisonError};

use keyferry_journal::SegmentName;

/// How far a destination has got. `None` is before the oldest segment.
#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    /// It has delivered everything before this segment.
    delivered: Option<SegmentName>,
    /// It keeps nothing before this segment either.
    released: Option<SegmentName>,
}

/// How far each destination has got.
#[derive(Debug)]
struct Ledger(Vec<Reach>);

impl Ledger {
    fn of(destinations: usize) -> Self {
        Self(vec![Reach::default(); destinations])
    }

    /// Where the one that is furthest behind has got.
    fn least(&self, of: impl Fn(&Reach) -> Option<SegmentName>) -> Option<SegmentName> {
        self.0.iter().map(of).min().flatten()
    }
}

/// One destination's share in the segments of a slot.
#[derive(Clone, Debug)]
pub struct Share {
    ledger: Arc<Mutex<Ledger>>,
    index: usize,
}

impl Share {
    /// The shares of so many destinations, none of which has released anything.
    pub fn among(destinations: usize) -> Vec<Self> {
        let ledger = Arc::new(Mutex::new(Ledger::of(destinations)));
        (0..destinations).map(|index| Self { ledger: Arc::clone(&ledger), index }).collect()
    }

    /// The share of a destination that has the segments for itself.
    pub fn whole() -> Self {
        Self { ledger: Arc::new(Mutex::new(Ledger::of(1))), index: 0 }
    }

    /// The destination begins, maybe once more, and maybe before what it had released: it needs everything until it says otherwise.
    pub(crate) fn begin(&self) {
        self.with(|ledger| ledger.0[self.index] = Reach::default());
    }

    /// The destination needs `needed` and what comes after it. Answers which is the oldest segment that somebody needs; `None` if somebody needs
    /// all of them.
    pub(crate) fn release(&self, needed: SegmentName) -> Option<SegmentName> {
        self.with(|ledger| {
            ledger.0[self.index].released = Some(needed);
            ledger.least(|one| one.released)
        })
    }

    /// The destination has delivered everything before `segment`, whether or not it keeps it.
    pub(crate) fn deliver(&self, segment: SegmentName) {
        self.with(|ledger| ledger.0[self.index].delivered = Some(segment));
    }

    /// Before which segment every destination has delivered everything; `None` if there is one that has delivered nothing, or has not begun.
    pub fn delivered(&self) -> Option<SegmentName> {
        self.with(|ledger| ledger.least(|one| one.delivered))
    }

    /// A thread that panicked left no half-made entry behind: entries are single words.
    fn with<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Deleting what was released, over any number of failures.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    /// What comes before may be deleted, and is not yet, as far as is known.
    due: Option<SegmentName>,
    not_before_ms: u64,
    complained: bool,
}

/// After a failure it is tried again no sooner than this.
const TRY_AGAIN_MS: u64 = 5_000;

impl Removal {
    /// Whatever comes before `needed` may be deleted.
    pub(crate) fn request(&mut self, needed: SegmentName) {
        self.due = Some(needed);
    }

    /// Before which segment everything is to be deleted now, if it is time for that.
    pub(crate) fn due(&self, now_ms: u64) -> Option<SegmentName> {
        self.due.filter(|_| now_ms >= self.not_before_ms)
    }

    /// It was done.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It was not. Answers whether that is worth telling.
    pub(crate) fn failed(&mut self, now_ms: u64) -> bool {
        self.not_before_ms = now_ms + TRY_AGAIN_MS;
        !std::mem::replace(&mut self.complained, true)
    }
}

#[cfg(test)]
mod tests {
    use keyferry_journal::Epoch;

    use super::*;

    fn segment(number: u32) -> SegmentName {
        SegmentName { epoch: Epoch(7), number }
    }

    #[test]
    fn a_segment_goes_when_the_slowest_destination_has_released_it() {
        let [fast, slow] = Share::among(2).try_into().unwrap();
        assert_eq!(fast.release(segment(5)), None, "the slow one has released nothing");
        assert_eq!(slow.release(segment(2)), Some(segment(2)));
        assert_eq!(fast.release(segment(9)), Some(segment(2)));
        assert_eq!(slow.release(segment(12)), Some(segment(9)));
    }

    #[test]
    fn one_that_has_not_begun_holds_on_to_everything() {
        let shares = Share::among(3);
        assert_eq!(shares[0].release(segment(3)), None);
        assert_eq!(shares[2].release(segment(4)), None);
        assert_eq!(shares[1].release(segment(8)), Some(segment(3)));
    }

    #[test]
    fn one_that_begins_again_may_have_stepped_back() {
        let [one, other] = Share::among(2).try_into().unwrap();
        one.release(segment(5));
        assert_eq!(other.release(segment(6)), Some(segment(5)));
        one.begin();
        assert_eq!(other.release(segment(7)), None);
        assert_eq!(one.release(segment(4)), Some(segment(4)));
    }

    #[test]
    fn what_everybody_has_delivered_is_known_although_it_is_kept() {
        let [fast, slow] = Share::among(2).try_into().unwrap();
        fast.deliver(segment(5));
        assert_eq!(fast.delivered(), None, "the slow one has delivered nothing");
        slow.deliver(segment(3));
        assert_eq!(fast.delivered(), Some(segment(3)));
        assert_eq!((fast.release(segment(4)), slow.release(segment(2))), (None, Some(segment(2))));
        slow.begin();
        assert_eq!(fast.delivered(), None);
    }

    #[test]
    fn one_alone_waits_for_nobody() {
        assert_eq!(Share::whole().release(segment(3)), Some(segment(3)));
    }

    #[test]
    fn a_failed_removal_is_told_once_and_tried_again() {
        let mut removal = Removal::default();
        assert_eq!(removal.due(0), None);
        removal.request(segment(2));
        assert_eq!(removal.due(0), Some(segment(2)));
        assert!(removal.failed(0) && !removal.failed(0));
        removal.request(segment(3));
        assert_eq!(removal.due(TRY_AGAIN_MS - 1), None);
        assert_eq!(removal.due(TRY_AGAIN_MS), Some(segment(3)));
        removal.succeeded();
        assert_eq!(removal.due(u64::MAX), None);
        removal.request(segment(4));
        assert!(removal.failed(0), "a new failure is news");
    }
}
