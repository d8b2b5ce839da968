//! When nobody is to be told: silences, maintenance, and alerts that another one explains.
//!
//! The invariant: **what is quiet still counts.** A quiet alert is seen by everybody who looks, and whoever was told that it fires is told that it has ended.

use serde::{Deserialize, Serialize};

use crate::labels::{Labels, Matchers};

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

/// Somebody does not want to be told of something for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// Of what.
    pub matchers: Matchers,
    /// From when.
    pub starts_ms: u64,
    /// Until when.
    pub ends_ms: u64,
    /// Who wants it.
    pub by: String,
    /// Why.
    pub comment: String,
}

impl Silence {
    /// Whether it holds at `now_ms`.
    pub fn is_active(&self, now_ms: u64) -> bool {
        (self.starts_ms..self.ends_ms).contains(&now_ms)
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// The first of January 1970 was a Thursday.
const FROM_THE_EPOCH: [Day; 7] = [Day::Thu, Day::Fri, Day::Sat, Day::Sun, Day::Mon, Day::Tue, Day::Wed];

/// A time of the day in UTC, in minutes, written `02:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct TimeOfDay(u64);

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(hours, minutes)| {
            let (hours, minutes) = (hours.parse::<u64>().ok()?, minutes.parse::<u64>().ok()?);
            (hours * 60 + minutes <= 24 * 60 && minutes < 60).then_some(Self(hours * 60 + minutes))
        });
        parsed.ok_or_else(|| format!("`{text}` is no time of the day; write 02:30"))
    }
}

/// A time in which work is expected to disturb. Nobody is told, and nothing is done by itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// What it is called.
    pub name: String,
    /// On which days of the week it begins. Default: on all.
    #[serde(default)]
    pub days: Vec<Day>,
    /// When it begins, in UTC.
    pub from: TimeOfDay,
    /// When it ends; before its beginning means on the next day.
    pub to: TimeOfDay,
    /// Of which alerts. Default: all.
    #[serde(default, rename = "match")]
    pub matchers: Matchers,
}

impl Maintenance {
    /// Whether it is going on at `now_ms`.
    pub fn is_active(&self, now_ms: u64) -> bool {
        let (day, minute) = (now_ms / DAY_MS, now_ms % DAY_MS / MINUTE_MS);
        let begins_on = |day: u64| {
            self.days.is_empty() || self.days.contains(&FROM_THE_EPOCH[usize::try_from(day % 7).unwrap_or(0)])
        };
        if self.from <= self.to {
            return begins_on(day) && (self.from.0..self.to.0).contains(&minute);
        }
        (begins_on(day) && minute >= self.from.0) || (day > 0 && begins_on(day - 1) && minute < self.to.0)
    }
}

/// One alert explains others: nobody need be told of those as well.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inhibition {
    /// What explains.
    pub source: Matchers,
    /// What is explained.
    pub target: Matchers,
    /// Which labels must be the same on both.
    #[serde(default)]
    pub equal: Vec<String>,
}

impl Inhibition {
    /// Whether an alert with the labels `source` explains one with the labels `target`.
    pub fn explains(&self, source: &Labels, target: &Labels) -> bool {
        source != target
            && self.source.match_labels(source)
            && self.target.match_labels(target)
            // What explains is not explained by its like, or two alerts would hush each other up.
            && !(self.source.match_labels(target) && self.target.match_labels(source))
            && self.equal.iter().all(|name| source.get(name) == target.get(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maintenance(toml: &str) -> Maintenance {
        toml::from_str(&format!("name = 'm'\n{toml}")).unwrap()
    }

    fn at(day: u64, hour: u64, minute: u64) -> u64 {
        day * DAY_MS + hour * 3_600_000 + minute * MINUTE_MS
    }

    #[test]
    fn maintenance_is_on_its_days_and_may_go_past_midnight() {
        let sunday = 3;
        let nights = maintenance("days = ['sun']\nfrom = '23:30'\nto = '02:00'");
        assert!(!nights.is_active(at(sunday, 23, 29)) && nights.is_active(at(sunday, 23, 30)));
        assert!(nights.is_active(at(sunday + 1, 1, 59)) && !nights.is_active(at(sunday + 1, 2, 0)));
        assert!(!nights.is_active(at(sunday + 1, 23, 45)), "that is Monday");
        let daily = maintenance("from = '02:00'\nto = '04:00'");
        assert!((0..7).all(|day| daily.is_active(at(day, 3, 0)) && !daily.is_active(at(day, 4, 0))));
    }

    #[test]
    fn a_time_of_day_is_one() {
        for wrong in ["25:00", "2", "02:60", "a:b", "24:01"] {
            assert!(TimeOfDay::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
        assert_eq!(TimeOfDay::try_from("24:00".to_owned()), Ok(TimeOfDay(1_440)));
    }

    #[test]
    fn two_alerts_never_hush_each_other_up() {
        let all = Inhibition {
            source: Matchers::from([("severity", "critical")]),
            target: Matchers::from([("severity", "critical|warning")]),
            equal: vec!["destination".to_owned()],
        };
        let of = |name, severity, destination| {
            Labels::from([("alertname", name), ("severity", severity), ("destination", destination)])
        };
        assert!(all.explains(&of("A", "critical", "x"), &of("B", "warning", "x")));
        assert!(!all.explains(&of("A", "critical", "x"), &of("B", "warning", "y")), "another destination");
        assert!(!all.explains(&of("A", "critical", "x"), &of("B", "critical", "x")));
    }
}
