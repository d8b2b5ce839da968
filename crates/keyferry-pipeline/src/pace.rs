//! How often the journal is looked at.
//!
//! The invariant: **an event waits no longer than [`INTERVAL_MS`] for being looked at, and only where so many come that waiting pays.** A look costs a wake-up and some system calls, whether it finds one event
//! or twenty. While few come, each is fetched at once; while many come, the journal is left alone for a moment after each look that has found all there was.
//!
//! A pure data structure: no clock, no input or output.

/// How long the journal is left alone, in milliseconds. The client's linger, by which records are put together into batches, is several times that.
const INTERVAL_MS: u64 = 2;
/// Over how long the rate is measured, in milliseconds.
const WINDOW_MS: u64 = 50;
/// From so many transactions a second on the journal is left alone.
const MANY_A_SECOND: u64 = 2_500;

/// When the journal is looked at again.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Since when `found` is counted, in monotonic milliseconds.
    since_ms: u64,
    found: u64,
    /// Whether many came in the last window.
    are_many: bool,
    /// The journal is left alone until then, in monotonic milliseconds.
    until_ms: Option<u64>,
}

impl Pace {
    /// Notes a look that has found so many `transactions`; `all` if there were no more.
    pub(crate) fn looked(&mut self, transactions: u64, all: bool, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.since_ms);
        if elapsed_ms >= WINDOW_MS {
            self.are_many = self.found * 1_000 >= MANY_A_SECOND * elapsed_ms;
            (self.since_ms, self.found) = (now_ms, 0);
        }
        self.found += transactions;
        self.until_ms = (all && self.are_many && transactions > 0).then_some(now_ms + INTERVAL_MS);
    }

    /// For how many milliseconds the journal is left alone from now on; `None` if it is looked at as soon as there is something.
    pub(crate) fn rest_ms(&self, now_ms: u64) -> Option<u64> {
        self.until_ms?.checked_sub(now_ms).filter(|rest_ms| *rest_ms > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Transactions come at so many a second, and each look finds those that have come. Answers with how many looks there were in a second, and how long a transaction waited at most, in
    /// milliseconds.
    fn looks(rate: u64) -> (u64, u64) {
        let mut pace = Pace::default();
        let (mut taken, mut looks, mut longest) = (0, 0, 0);
        for now_ms in 0..2_000 {
            let come = now_ms * rate / 1_000;
            if come == taken || pace.rest_ms(now_ms).is_some() {
                continue;
            }
            longest = longest.max(now_ms - ((taken + 1) * 1_000).div_ceil(rate));
            pace.looked(come - taken, true, now_ms);
            taken = come;
            looks += u64::from(now_ms >= 1_000);
        }
        (looks, longest)
    }

    #[test]
    fn few_are_fetched_at_once_and_many_together() {
        assert_eq!(looks(100).0, 100);
        assert_eq!(looks(1_000).0, 1_000);
        assert_eq!(looks(10_000).0, 500);
        for rate in [100, 1_000, 2_400, 2_600, 10_000, 100_000] {
            let (_, longest) = looks(rate);
            assert!(longest <= INTERVAL_MS + 1, "{rate}/s: {longest} ms");
        }
    }

    #[test]
    fn while_there_is_more_nothing_is_waited_for() {
        let mut pace = Pace::default();
        for now_ms in 0..1_000 {
            pace.looked(512, false, now_ms);
            assert_eq!(pace.rest_ms(now_ms), None, "{now_ms}");
        }
        pace.looked(512, true, 1_000);
        let rests = [0, 1, INTERVAL_MS].map(|after_ms| pace.rest_ms(1_000 + after_ms));
        assert_eq!(rests, [Some(INTERVAL_MS), Some(INTERVAL_MS - 1), None]);
    }

    #[test]
    fn what_was_many_once_is_forgotten() {
        let mut pace = Pace::default();
        pace.looked(10_000, true, 1);
        pace.looked(1, true, 60);
        assert_eq!(pace.rest_ms(60), Some(INTERVAL_MS));
        pace.looked(1, true, 10_000);
        assert_eq!(pace.rest_ms(10_000), None);
    }
}
