//! Times as text.
//!
//! The invariant: **what is written is what [`humantime`] writes**, which is asked once a second of events and not once an event: those of one second differ in three digits.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

/// 9999-12-31T23:59:59.999Z: RFC 3339 has no later time.
pub(crate) const LAST_RFC3339_MS: u64 = 253_402_300_799_999;

/// `2026-11-28T17:05:09.123Z`.
pub(crate) type Rfc3339 = [u8; 24];

/// The last second that was written, since 1970, and its text.
#[derive(Debug)]
pub(crate) struct Clock {
    second: u64,
    text: Rfc3339,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    pub(crate) const fn new() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00.000Z" }
    }

    /// `time_ms`, in milliseconds since 1970, by [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339) in UTC.
    pub(crate) fn rfc3339(&mut self, time_ms: u64) -> Rfc3339 {
        let time_ms = time_ms.min(LAST_RFC3339_MS);
        let (second, ms) = (time_ms / 1000, time_ms % 1000);
        if second != self.second {
            self.second = second;
            let time = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_secs(second));
            // The text has the room: no year has five digits up to `LAST_RFC3339_MS`.
            let _ = write!(self.text.as_mut_slice(), "{time}");
        }
        let mut text = self.text;
        let digit = |of: u64| b'0' + (of % 10) as u8;
        text[20..23].copy_from_slice(&[digit(ms / 100), digit(ms / 10), digit(ms)]);
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_clock_writes_what_humantime_writes_whatever_it_wrote_before(
            seconds in prop::collection::vec(0..LAST_RFC3339_MS / 1000, 1..4), choices in prop::collection::vec((any::<prop::sample::Index>(), 0..1000_u64), 1..16),
        ) {
            let mut clock = Clock::new();
            for (second, ms) in choices {
                let time_ms = second.get(&seconds) * 1000 + ms;
                let expected = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(time_ms)).to_string();
                prop_assert_eq!(&clock.rfc3339(time_ms)[..], expected.as_bytes());
            }
        }
    }

    #[test]
    fn a_time_past_what_can_be_written_is_the_last_that_can() {
        assert_eq!(&Clock::new().rfc3339(u64::MAX), b"9999-12-31T23:59:59.999Z");
    }
}
