//! How often the journal is looked at.
//!
//! The invariant: **an event is looked at at once if none came shortly before it; else it waits for no longer than the rest, or, while something is under way, until all of that is acknowledged.** A look costs a wake-up
//! and some system calls here, and what it hands over wakes the client, the broker and the client again, whether it finds one event or twenty. So the first event is fetched at once, and after a look that has found all there
//! was the journal is left alone for a moment: what comes meanwhile goes together.
//!
//! Why it is waited for the acknowledgements: the client has one batch of a partition under way at a time. What is handed over meanwhile waits for the answer as well, only that the client, which finds it overdue, asks without
//! a pause whether it may be sent by now: with librdkafka 2.12 a broker that answers after 20 ms costs a whole processor, and so does one that stands still. In the journal it waits for nothing, and the slower the broker the more goes together.
//! That is J. Nagle's rule for small segments ([RFC 896](https://www.rfc-editor.org/rfc/rfc896)). It has an end ([`patience_ms`]), because partitions do not answer for each other.
//!
//! A pure data structure: no clock, no input or output.

use std::time::Duration;

/// How long the journal is left alone if nobody says otherwise.
pub const REST: Duration = Duration::from_millis(4);

/// How long it is waited for the acknowledgements at most, in rests.
const PATIENCE: u64 = 250;

/// For how many milliseconds it is waited at most, after a rest of `rest_ms`, for everything under way to be acknowledged.
pub(crate) const fn patience_ms(rest_ms: u64) -> u64 {
    rest_ms.saturating_mul(PATIENCE)
}

/// When the journal is looked at again.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The journal is left alone until then, in monotonic milliseconds.
    until_ms: Option<u64>,
}

impl Pace {
    /// Notes a look; `all` if it has found something, and there was no more.
    pub(crate) fn looked(&mut self, all: bool, rest_ms: u64, now_ms: u64) {
        self.until_ms = all.then_some(now_ms + rest_ms);
    }

    /// For how many milliseconds the journal is left alone from now on; `None` if it is looked at as soon as there is something.
    pub(crate) fn rest_ms(&self, now_ms: u64) -> Option<u64> {
        self.until_ms?.checked_sub(now_ms).filter(|rest_ms| *rest_ms > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST_MS: u64 = 4;

    /// Events come at so many a second, and each look finds those that have come. Answers with how many looks there were in a second, and how long an event waited at most, in milliseconds.
    fn looks(rate: u64, rest_ms: u64) -> (u64, u64) {
        let mut pace = Pace::default();
        let (mut taken, mut looks, mut longest) = (0, 0, 0);
        for now_ms in 0..2_000 {
            let come = now_ms * rate / 1_000;
            if come == taken || pace.rest_ms(now_ms).is_some() {
                continue;
            }
            longest = longest.max(now_ms - ((taken + 1) * 1_000).div_ceil(rate));
            pace.looked(true, rest_ms, now_ms);
            taken = come;
            looks += u64::from(now_ms >= 1_000);
        }
        (looks, longest)
    }

    #[test]
    fn few_are_fetched_at_once_and_many_together() {
        assert_eq!(looks(100, REST_MS), (100, 0));
        assert_eq!(looks(250, REST_MS), (250, 0));
        for rate in [500, 1_000, 10_000, 100_000] {
            let (looks, longest) = looks(rate, REST_MS);
            assert_eq!(looks, 250, "{rate}/s");
            assert!(longest < REST_MS, "{rate}/s: {longest} ms");
        }
    }

    #[test]
    fn without_a_rest_each_is_fetched_at_once() {
        assert_eq!(looks(1_000, 0), (1_000, 0));
    }

    #[test]
    fn while_there_is_more_or_nothing_was_found_nothing_is_waited_for() {
        let mut pace = Pace::default();
        pace.looked(true, REST_MS, 1_000);
        let rests = [0, 1, REST_MS].map(|after_ms| pace.rest_ms(1_000 + after_ms));
        assert_eq!(rests, [Some(REST_MS), Some(REST_MS - 1), None]);
        pace.looked(false, REST_MS, 1_001);
        assert_eq!(pace.rest_ms(1_001), None);
    }
}
