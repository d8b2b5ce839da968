//! Exemplars: of each size of latency one event whose trace somebody can look at.
//!
//! The invariant: **most events cost a comparison.** One event at a time is followed from the sink to its acknowledgement, and at most once a millisecond it is looked
//! whether one belongs to a trace; what a pipeline writes down of those it never waits for.

use std::fmt;
use std::sync::{Mutex, PoisonError, TryLockError};

use keyferry_event::Token;
use keyferry_journal::event::EventView;

use super::IS_ON;

/// So many sizes are told apart, each up to twice the one before: the last one is of 37 hours and more.
const SIZES: usize = 28;

/// A trace, as W3C Trace Context names it: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 32]);

impl TraceId {
    /// The trace of a `traceparent`.
    pub fn of(traceparent: &str) -> Option<Self> {
        let digits: [u8; 32] = traceparent.split('-').nth(1)?.as_bytes().try_into().ok()?;
        let is_legal = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        (is_legal && digits != [b'0'; 32]).then_some(Self(digits))
    }

    /// The same, if it is one that is recorded: nobody could look at another one.
    pub fn recorded(traceparent: &str) -> Option<Self> {
        let flags = traceparent.split('-').nth(3)?;
        let is_recorded = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        if is_recorded { Self::of(traceparent) } else { None }
    }

    /// Its sixteen bytes.
    pub fn bytes(&self) -> [u8; 16] {
        // Every digit is hexadecimal: `of` has seen to that.
        u128::from_str_radix(self.as_str(), 16).unwrap_or_default().to_be_bytes()
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One event that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// The trace that it belongs to.
    pub trace: TraceId,
    /// What was measured of it, in the unit of the histogram.
    pub value: u64,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// The last exemplar of each size.
#[derive(Debug, Default)]
pub(super) struct Exemplars(Mutex<[Option<Exemplar>; SIZES]>);

impl Exemplars {
    /// Keeps an exemplar in place of the one of its size; drops it if somebody reads.
    pub(super) fn keep(&self, exemplar: Exemplar) {
        let size = (u64::BITS - exemplar.value.leading_zeros()) as usize;
        match self.0.try_lock() {
            Ok(mut kept) => kept[size.min(SIZES - 1)] = Some(exemplar),
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => {}
        }
    }

    /// Those that are kept.
    pub(super) fn kept(&self) -> Vec<Exemplar> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().flatten().copied().collect()
    }
}

/// The event that is followed from the sink to its acknowledgement, if one is.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    event: Option<(Token, TraceId)>,
    looked_ms: u64,
}

impl Followed {
    /// Follows the event that travels under `token`, if none is followed and it belongs to a trace.
    #[inline]
    pub(crate) fn consider(&mut self, token: Token, event: &EventView<'_>, now_ms: u64) {
        if !IS_ON || self.event.is_some() || self.looked_ms == now_ms {
            return;
        }
        self.looked_ms = now_ms;
        self.event = event.traceparent().and_then(TraceId::recorded).map(|trace| (token, trace));
    }

    /// The trace of what has travelled under `token`, if that is what is followed. Then it is no longer.
    #[inline]
    pub(crate) fn arrived(&mut self, token: Token) -> Option<TraceId> {
        let (_, trace) = self.event.take_if(|(followed, _)| *followed == token)?;
        Some(trace)
    }

    /// Follows nothing: what is under way is sent again.
    pub(crate) fn lose(&mut self) {
        self.event = None;
    }
}

#[cfg(test)]
#[cfg(feature = "metrics")]
mod tests {
    use keyferry_journal::EventKind;
    use keyferry_journal::event::{EventEncoder, Events, Field};

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn parent(trace: &str) -> String {
        format!("00-{trace}-b7ad6b7169203331-01")
    }

    #[test]
    fn only_a_trace_that_is_recorded_is_one() {
        assert_eq!(TraceId::recorded(&parent(TRACE)).unwrap().as_str(), TRACE);
        let zero = "0".repeat(32);
        for wrong in [
            "",
            "00-1-2-01",
            &parent(&TRACE.to_uppercase()),
            &parent(&zero),
            &parent(TRACE).replace("-01", "-00"),
            &parent(TRACE).replace("-01", ""),
        ] {
            assert_eq!(TraceId::recorded(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_last_one_of_each_size_is_kept() {
        let exemplars = Exemplars::default();
        let trace = TraceId::recorded(&parent(TRACE)).unwrap();
        for (value, at_ms) in [(0, 1), (900, 2), (1_000, 3), (u64::MAX, 4)] {
            exemplars.keep(Exemplar { trace, value, at_ms });
        }
        let kept: Vec<u64> = exemplars.kept().iter().map(|exemplar| exemplar.at_ms).collect();
        assert_eq!(kept, [1, 3, 4], "900 and 1,000 are of one size");
    }

    #[test]
    fn one_event_is_followed_until_it_arrives_or_is_lost() {
        let mut encoder = EventEncoder::new();
        encoder.push(EventKind::User, 0, &[(Field::TraceParent, &parent(TRACE))], b"{}");
        encoder.push(EventKind::User, 0, &[], b"{}");
        let events: Vec<_> = Events::of(encoder.payload()).map(Result::unwrap).collect();
        let mut followed = Followed::default();
        followed.consider(Token(1), &events[1], 1);
        assert_eq!(followed.arrived(Token(1)), None, "it belongs to no trace");
        followed.consider(Token(2), &events[0], 1);
        assert_eq!(followed.arrived(Token(2)), None, "it was looked in this millisecond");
        followed.consider(Token(3), &events[0], 2);
        followed.consider(Token(4), &events[0], 3);
        assert_eq!(followed.arrived(Token(4)), None, "another one is followed");
        assert_eq!(followed.arrived(Token(3)).unwrap().as_str(), TRACE);
        assert_eq!(followed.arrived(Token(3)), None);
        followed.consider(Token(5), &events[0], 4);
        followed.lose();
        assert_eq!(followed.arrived(Token(5)), None);
    }
}
