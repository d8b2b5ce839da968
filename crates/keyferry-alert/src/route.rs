//! Who is told of what, how often, and who else when nobody reacts.

use std::time::Duration;

use serde::Deserialize;

use crate::labels::{Labels, Matchers};
use crate::units::span;

/// Who is told of certain alerts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Of which alerts. Default: all.
    #[serde(default, rename = "match")]
    pub matchers: Matchers,
    /// By the names of channels.
    pub channels: Vec<String>,
    /// Alerts with the same values of these labels are told of together. Default: the alert's name and the destination.
    #[serde(default = "default_group_by")]
    pub group_by: Vec<String>,
    /// How long the first notice waits for others to come with it.
    #[serde(default = "default_wait", with = "span")]
    pub group_wait: Duration,
    /// How long the next notice of a group waits, when something was added to it.
    #[serde(default = "default_interval", with = "span")]
    pub group_interval: Duration,
    /// After how long those are told again of what has not changed.
    #[serde(default = "default_repeat", with = "span")]
    pub repeat_interval: Duration,
    /// Who else is told when nobody has acknowledged, step by step.
    #[serde(default)]
    pub escalation: Vec<Step>,
    /// Whether later routes are looked at as well.
    #[serde(default, rename = "continue")]
    pub goes_on: bool,
}

/// A step of the ladder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// How long after the alert has fired.
    #[serde(with = "span")]
    pub after: Duration,
    /// Who is told.
    pub channels: Vec<String>,
}

fn default_group_by() -> Vec<String> {
    ["alertname", "destination"].map(str::to_owned).to_vec()
}

fn default_wait() -> Duration {
    Duration::from_secs(1)
}

fn default_interval() -> Duration {
    Duration::from_secs(60)
}

fn default_repeat() -> Duration {
    Duration::from_secs(4 * 3_600)
}

impl Route {
    /// One that tells `channels` of everything.
    pub fn to(channels: Vec<String>) -> Self {
        Self {
            matchers: Matchers::default(),
            channels,
            group_by: default_group_by(),
            group_wait: default_wait(),
            group_interval: default_interval(),
            repeat_interval: default_repeat(),
            escalation: Vec::new(),
            goes_on: false,
        }
    }

    /// The routes that an alert with these labels takes, by their places.
    pub fn taken<'a>(routes: &'a [Self], labels: &'a Labels) -> impl Iterator<Item = usize> + 'a {
        let mut over = false;
        let matching = routes.iter().enumerate().filter(|(_, route)| route.matchers.match_labels(labels));
        matching.map_while(move |(place, route)| {
            let taken = (!over).then_some(place);
            over |= !route.goes_on;
            taken
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_route_that_matches_is_the_last_unless_it_goes_on() {
        let route = |toml: &str| toml::from_str::<Route>(toml).unwrap();
        let routes = [
            route("match = { severity = 'critical' }\nchannels = ['pager']\ncontinue = true"),
            route("match = { destination = 'siem' }\nchannels = ['security']"),
            route("channels = ['mail']"),
        ];
        let taken = |severity, destination| {
            let labels = Labels::from([("severity", severity), ("destination", destination)]);
            Route::taken(&routes, &labels).collect::<Vec<_>>()
        };
        assert_eq!(taken("critical", "siem"), [0, 1]);
        assert_eq!(taken("critical", "other"), [0, 2]);
        assert_eq!(taken("warning", "siem"), [1]);
        assert_eq!(taken("warning", "other"), [2]);
    }
}
