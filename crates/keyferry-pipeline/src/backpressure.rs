//! How far the destination lags behind Keycloak, and how long the journal will bear it.
//!
//! The invariant: **a level is left for a lower one only after it was not deserved for a while, by a margin**, so that whoever responds to it does not swing with every
//! gust. It is entered at once.
//!
//! An age is held against the destination only for as long as the backlog has not been on its way to be gone soon. A journal that comes back from a backup, or from a
//! long night without an agent, holds old dates and is drained in a moment: that is no alarm. One that is not drained becomes one as time passes.
//!
//! Memory is not what this is about: credits bound that (see [`in_flight`](crate::in_flight)). It is about disk and time. Pure: measures and the clock are passed in.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::pipeline::Clock;

/// How hard the pressure is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Events leave as they come.
    #[default]
    Normal,
    /// Events come faster than they leave, or did: throughput matters more than latency now.
    Elevated,
    /// The lag is serious: what can wait shall wait.
    High,
    /// The journal will be full soon.
    Critical,
}

impl Level {
    /// Its name in logs and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Elevated => "elevated",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    const fn lower(self) -> Self {
        match self {
            Self::Normal | Self::Elevated => Self::Normal,
            Self::High => Self::Elevated,
            Self::Critical => Self::High,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What brings a level about; any one of it does. `None` never does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Journal bytes that are not settled are at least so many.
    pub backlog_bytes: Option<u64>,
    /// The oldest event that is not settled is at least so old.
    pub oldest: Option<Duration>,
    /// The journal will be full within this time if it goes on growing as it does.
    pub time_to_full: Option<Duration>,
    /// Of a hundred bytes that the journal may have, at least so many are used.
    pub used_percent: Option<u8>,
}

/// When which level is reached, and how slowly it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// For [`Level::Elevated`].
    pub elevated: Thresholds,
    /// For [`Level::High`].
    pub high: Thresholds,
    /// For [`Level::Critical`].
    pub critical: Thresholds,
    /// A level is left when it was not deserved for so long.
    pub hold: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let none = Thresholds::default();
        Self {
            elevated: Thresholds {
                backlog_bytes: Some(8 << 20),
                oldest: Some(Duration::from_secs(10)),
                ..none
            },
            high: Thresholds {
                oldest: Some(Duration::from_secs(60)),
                time_to_full: Some(Duration::from_hours(1)),
                used_percent: Some(50),
                ..none
            },
            critical: Thresholds {
                time_to_full: Some(Duration::from_mins(10)),
                used_percent: Some(80),
                ..none
            },
            hold: Duration::from_secs(10),
        }
    }
}

/// What is measured, about once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Journal bytes that are not settled.
    pub backlog_bytes: u64,
    /// Age of the oldest event that is not settled, in milliseconds.
    pub oldest_ms: Option<u64>,
    /// By how many bytes the backlog may still grow: to the journal's ceiling, or until the file system is full. `None` if that is not known.
    pub room_bytes: Option<u64>,
}

/// Where the pressure stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BackpressureReport {
    /// How hard it is.
    pub level: Level,
    /// What has brought it to this level; `None` at [`Level::Normal`].
    pub reason: Option<String>,
    /// Since when it has been at this level, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Journal bytes that are not settled.
    pub backlog_bytes: u64,
    /// Age of the oldest event that is not settled, in milliseconds; `None` if there is none, or none has been read yet.
    pub oldest_ms: Option<u64>,
    /// How fast the backlog grows, smoothed over some seconds; negative while it shrinks.
    pub growth_bytes_per_s: i64,
    /// By how many bytes the backlog may still grow; `None` if that is not known.
    pub room_bytes: Option<u64>,
    /// In how many seconds the journal is full if that goes on; `None` if it does not grow, or if it is not known how large it may become.
    pub time_to_full_s: Option<u64>,
    /// How many of a hundred bytes that the journal may have are used.
    pub used_percent: Option<u8>,
    /// How often the level has changed.
    pub changes_total: u64,
}

impl BackpressureReport {
    /// Whether records that were delivered before shall not be sent again now.
    pub fn pauses_replay(&self) -> bool {
        self.level >= Level::High
    }
}

/// The level has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it was.
    pub from: Level,
    /// What it is.
    pub to: Level,
    /// What the measures say, in words.
    pub why: String,
}

/// A level is deserved on the way down as long as this part of its thresholds is reached.
const MARGIN: f64 = 0.8;

/// A backlog that will be gone within this time, as fast as it shrinks, is being drained.
const DRAINED_SOON: Duration = Duration::from_mins(10);

/// The growth is averaged with this time constant, in milliseconds: a burst of a second moves it by a tenth.
const GROWTH_MS: f64 = 10_000.0;

/// Judges the pressure by what is measured.
#[derive(Debug)]
pub struct BackpressureMonitor {
    settings: Settings,
    level: Level,
    reason: Option<String>,
    since_ms: u64,
    /// Since when a lower level would do.
    relieved_since_ms: Option<u64>,
    last: Option<(u64, Measures)>,
    /// When nothing was waiting, or what was waiting was being drained.
    well_ms: u64,
    growth_bytes_per_s: f64,
    changes_total: u64,
}

impl BackpressureMonitor {
    /// A monitor that has seen nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            level: Level::Normal,
            reason: None,
            since_ms: 0,
            relieved_since_ms: None,
            last: None,
            well_ms: 0,
            growth_bytes_per_s: 0.0,
            changes_total: 0,
        }
    }

    /// From now on it judges by other settings.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Takes in what was measured at `now_ms`; answers whether that changes the level.
    pub fn observe(&mut self, measures: Measures, now_ms: u64) -> Option<Change> {
        match self.last.replace((now_ms, measures)) {
            Some((then_ms, before)) => self.smooth_growth(before, then_ms, now_ms),
            None => (self.since_ms, self.well_ms) = (now_ms, now_ms),
        }
        if measures.oldest_ms.is_none() || self.is_drained_soon() {
            self.well_ms = now_ms;
        }
        let (deserved, why) = self.judge(1.0);
        if deserved > self.level {
            return Some(self.enter(deserved, why, now_ms));
        }
        let (deserved, _) = self.judge(MARGIN);
        if deserved >= self.level {
            self.relieved_since_ms = None;
            return None;
        }
        let since_ms = *self.relieved_since_ms.get_or_insert(now_ms);
        let is_over = u128::from(now_ms.saturating_sub(since_ms)) >= self.settings.hold.as_millis();
        is_over.then(|| {
            let below = self.level.lower();
            let why = self.judge_level(below, MARGIN).unwrap_or_else(|| "the pressure eases".to_owned());
            self.enter(below, Some(why), now_ms)
        })
    }

    /// The level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// What there is to tell.
    pub fn report(&self, clock: Clock) -> BackpressureReport {
        let (_, measures) = self.last.unwrap_or_default();
        let ago = clock.monotonic_ms.saturating_sub(self.since_ms);
        BackpressureReport {
            level: self.level,
            reason: self.reason.clone(),
            since_ms: clock.wall_ms.saturating_sub(ago),
            backlog_bytes: measures.backlog_bytes,
            oldest_ms: measures.oldest_ms,
            growth_bytes_per_s: self.growth_bytes_per_s.round() as i64,
            room_bytes: measures.room_bytes,
            time_to_full_s: self.time_to_full().map(|time| time.as_secs()),
            used_percent: self.used_percent(),
            changes_total: self.changes_total,
        }
    }

    fn smooth_growth(&mut self, before: Measures, then_ms: u64, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(then_ms) as f64;
        let Some((_, now)) = self.last.filter(|_| passed_ms > 0.0) else { return };
        let rate = (now.backlog_bytes as f64 - before.backlog_bytes as f64) * 1_000.0 / passed_ms;
        self.growth_bytes_per_s += (rate - self.growth_bytes_per_s) * passed_ms / (passed_ms + GROWTH_MS);
    }

    fn is_drained_soon(&self) -> bool {
        let Some((_, measures)) = self.last else { return false };
        let shrinks_by = -self.growth_bytes_per_s;
        shrinks_by >= 1.0 && measures.backlog_bytes as f64 / shrinks_by <= DRAINED_SOON.as_secs_f64()
    }

    /// The age that counts, in milliseconds: for so long the oldest event has waited and the backlog has not been drained.
    fn stuck_ms(&self) -> Option<u64> {
        let (now_ms, measures) = self.last?;
        Some(measures.oldest_ms?.min(now_ms.saturating_sub(self.well_ms)))
    }

    fn time_to_full(&self) -> Option<Duration> {
        let (_, measures) = self.last?;
        let room = measures.room_bytes? as f64;
        (self.growth_bytes_per_s >= 1.0)
            .then(|| Duration::try_from_secs_f64(room / self.growth_bytes_per_s).unwrap_or(Duration::MAX))
    }

    fn used_percent(&self) -> Option<u8> {
        let (_, Measures { backlog_bytes, room_bytes, .. }) = self.last?;
        let all = u128::from(backlog_bytes) + u128::from(room_bytes?);
        let percent = (u128::from(backlog_bytes) * 100).checked_div(all).unwrap_or(100);
        u8::try_from(percent).ok()
    }

    /// The highest level whose thresholds, times `margin`, are reached, and what reaches them.
    fn judge(&self, margin: f64) -> (Level, Option<String>) {
        [Level::Critical, Level::High, Level::Elevated]
            .into_iter()
            .find_map(|level| self.judge_level(level, margin).map(|why| (level, Some(why))))
            .unwrap_or((Level::Normal, None))
    }

    /// What reaches the thresholds of `level`, times `margin`, if something does.
    fn judge_level(&self, level: Level, margin: f64) -> Option<String> {
        let thresholds = match level {
            Level::Normal => return None,
            Level::Elevated => self.settings.elevated,
            Level::High => self.settings.high,
            Level::Critical => self.settings.critical,
        };
        let (_, measures) = self.last?;
        let reaches = |value: Option<f64>, threshold: Option<f64>| {
            value.zip(threshold).is_some_and(|(value, threshold)| value >= threshold * margin)
        };
        let time_to_full = self.time_to_full();
        let is_soon = time_to_full
            .zip(thresholds.time_to_full)
            .is_some_and(|(time, threshold)| time.as_secs_f64() * margin <= threshold.as_secs_f64());
        if is_soon {
            let seconds = time_to_full.unwrap_or_default().as_secs();
            return Some(format!("the journal will be full in {seconds} s"));
        }
        let used = self.used_percent();
        if reaches(used.map(f64::from), thresholds.used_percent.map(f64::from)) {
            return Some(format!("{} % of the journal's space are used", used.unwrap_or_default()));
        }
        let oldest = self.stuck_ms().map(|age| age as f64);
        if reaches(oldest, thresholds.oldest.map(|age| age.as_secs_f64() * 1_000.0)) {
            let age = measures.oldest_ms.unwrap_or_default() / 1_000;
            return Some(format!("the oldest event is {age} s old"));
        }
        if reaches(Some(measures.backlog_bytes as f64), thresholds.backlog_bytes.map(|bytes| bytes as f64)) {
            return Some(format!("{} MiB are not delivered", measures.backlog_bytes >> 20));
        }
        None
    }

    fn enter(&mut self, level: Level, why: Option<String>, now_ms: u64) -> Change {
        let why = why.unwrap_or_default();
        let change = Change { from: self.level, to: level, why: why.clone() };
        self.level = level;
        self.reason = (level > Level::Normal).then_some(why);
        self.since_ms = now_ms;
        self.relieved_since_ms = None;
        self.changes_total += 1;
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A monitor and the second that it is in.
    struct Bench(BackpressureMonitor, u64);

    impl Bench {
        fn new() -> Self {
            Self(BackpressureMonitor::new(Settings::default()), 0)
        }

        /// A second later.
        fn see(&mut self, measures: Measures) -> Option<Change> {
            self.1 += 1_000;
            self.0.observe(measures, self.1)
        }

        /// The oldest event is one of so many seconds, from one second to the next, and no level changes.
        fn grow_old(&mut self, seconds: std::ops::RangeInclusive<u64>) {
            for seconds in seconds {
                assert_eq!(self.see(aged(seconds)), None, "at {seconds} s");
            }
        }

        fn report(&self) -> BackpressureReport {
            self.0.report(Clock { monotonic_ms: self.1, wall_ms: 1_000_000 + self.1 })
        }
    }

    fn backlog(backlog_bytes: u64) -> Measures {
        Measures { backlog_bytes, ..Measures::default() }
    }

    fn aged(seconds: u64) -> Measures {
        Measures { oldest_ms: Some(seconds * 1_000), ..Measures::default() }
    }

    #[test]
    fn a_level_is_entered_at_once_and_says_why() {
        let mut bench = Bench::new();
        bench.grow_old(0..=9);
        let change = bench.see(aged(10)).unwrap();
        assert_eq!((change.from, change.to), (Level::Normal, Level::Elevated));
        assert_eq!(change.why, "the oldest event is 10 s old");
        bench.grow_old(11..=59);
        assert_eq!(bench.see(aged(60)).unwrap().to, Level::High);
        let report = bench.report();
        assert_eq!((report.level, report.since_ms, report.changes_total), (Level::High, 1_061_000, 2));
        assert!(report.pauses_replay());
    }

    #[test]
    fn age_alone_is_never_critical() {
        let mut bench = Bench::new();
        for seconds in 0..100_000 {
            bench.see(aged(seconds));
        }
        assert_eq!(bench.0.level(), Level::High);
    }

    #[test]
    fn a_level_is_left_step_by_step_after_a_while_and_by_a_margin() {
        let mut bench = Bench::new();
        for seconds in 0..=60 {
            bench.see(aged(seconds));
        }
        assert_eq!(bench.0.level(), Level::High);
        for _ in 0..60 {
            assert_eq!(bench.see(aged(50)), None, "50 s is more than four fifths of 60 s");
        }
        for _ in 0..10 {
            assert_eq!(bench.see(aged(20)), None, "it is not over yet");
        }
        assert_eq!(bench.see(aged(20)).unwrap().to, Level::Elevated);
        for _ in 0..10 {
            assert_eq!(bench.see(aged(0)), None);
        }
        let change = bench.see(aged(0)).unwrap();
        assert_eq!(
            (change.from, change.to, change.why.as_str()),
            (Level::Elevated, Level::Normal, "the pressure eases")
        );
        assert_eq!(bench.report().reason, None);
    }

    /// What there is of a journal with dates of last week of which so much is left.
    fn restored(backlog_bytes: u64) -> Measures {
        Measures { backlog_bytes, oldest_ms: Some(7 * 86_400_000), room_bytes: None }
    }

    #[test]
    fn old_dates_that_are_being_drained_are_no_alarm() {
        let mut bench = Bench::new();
        for second in 0..100 {
            bench.see(restored((300 - 3 * second) * MIB));
            assert!(bench.0.level() <= Level::Elevated, "{:?} in second {second}", bench.report());
        }
        for _ in 0..30 {
            bench.see(backlog(0));
        }
        assert_eq!(bench.0.level(), Level::Normal);
    }

    #[test]
    fn old_dates_that_stay_become_an_alarm_with_time() {
        for shrinks_by in [0, 1_000] {
            let mut bench = Bench::new();
            for second in 0..60 {
                bench.see(restored(300 * MIB - shrinks_by * second));
            }
            assert_eq!(bench.0.level(), Level::Elevated);
            bench.see(restored(300 * MIB - shrinks_by * 60));
            assert_eq!(bench.0.level(), Level::High, "shrinks by {shrinks_by} bytes/s");
        }
    }

    #[test]
    fn relief_that_is_interrupted_begins_anew() {
        let mut bench = Bench::new();
        bench.see(backlog(8 * MIB));
        for _ in 0..3 {
            for _ in 0..9 {
                assert_eq!(bench.see(backlog(0)), None);
            }
            assert_eq!(bench.see(backlog(7 * MIB)), None);
        }
        assert_eq!(bench.0.level(), Level::Elevated);
    }

    #[test]
    fn the_time_to_full_follows_the_growth() {
        let mut bench = Bench::new();
        let room = 600 * MIB;
        for second in 0..100 {
            let backlog_bytes = second * MIB;
            bench.see(Measures { backlog_bytes, oldest_ms: None, room_bytes: Some(room - backlog_bytes) });
        }
        let report = bench.report();
        let growth = report.growth_bytes_per_s as u64;
        assert!((MIB * 99 / 100..=MIB).contains(&growth), "{growth}");
        let time_to_full = report.time_to_full_s.unwrap();
        assert!((500..=510).contains(&time_to_full), "{time_to_full}");
        assert_eq!(report.level, Level::Critical, "less than ten minutes");
        assert_eq!(report.used_percent, Some(16));
        for _ in 0..100 {
            bench.see(Measures { backlog_bytes: 0, oldest_ms: None, room_bytes: Some(room) });
        }
        let report = bench.report();
        assert!(report.growth_bytes_per_s <= 0, "{}", report.growth_bytes_per_s);
        assert_eq!((report.time_to_full_s, report.level), (None, Level::Normal));
    }

    #[test]
    fn space_that_is_nearly_used_is_critical_without_growth() {
        let mut bench = Bench::new();
        let measures = |used, left| Measures { backlog_bytes: used, oldest_ms: None, room_bytes: Some(left) };
        bench.see(measures(79, 21));
        assert_eq!(bench.0.level(), Level::High);
        assert_eq!(bench.see(measures(80, 20)).unwrap().why, "80 % of the journal's space are used");
        bench.see(measures(0, 0));
        assert_eq!(bench.report().used_percent, Some(100), "a full file system");
    }

    #[test]
    fn without_a_known_limit_only_age_and_backlog_count() {
        let mut bench = Bench::new();
        for second in 0..100 {
            bench.see(backlog(second << 30));
        }
        assert_eq!((bench.0.level(), bench.report().time_to_full_s), (Level::Elevated, None));
    }
}
