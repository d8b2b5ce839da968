//! The table of `docs/outages.md`.

use std::time::Duration;

use crate::outages::{Change, Observed};

/// The outages that were seen, one a line, in Markdown.
pub fn table(observed: &[Observed]) -> String {
    let head = "| outage | lasts | agent | breaker | recovery | events | lost | copies | memory |\n|---|---|---|---|---|---|---|---|---|\n";
    observed.iter().map(row).fold(head.to_owned(), |text, row| text + &row)
}

fn row(observed: &Observed) -> String {
    let Observed { outage, lasted, trace, recovery, events, copies, memory, .. } = observed;
    format!(
        "| {} | {} | {} | {} | {} | {events} | 0 | {copies} | {} MiB |\n",
        outage.cause(),
        seconds(*lasted),
        course(trace, |change| &change.state),
        course(trace, |change| &change.breaker),
        seconds(*recovery),
        memory >> 20,
    )
}

/// The values that something had, each with the time at which it began; those that lasted from the beginning without a time.
fn course(trace: &[Change], value: impl Fn(&Change) -> &String) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut last = "";
    for change in trace {
        let value = value(change);
        if value == last || value.is_empty() {
            continue;
        }
        last = value;
        parts.push(if parts.is_empty() { value.clone() } else { format!("{} {value}", seconds(change.at)) });
    }
    if parts.is_empty() { "–".to_owned() } else { parts.join(", ") }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(at: u64, state: &str, breaker: &str) -> Change {
        Change {
            at: Duration::from_millis(at),
            state: state.to_owned(),
            breaker: breaker.to_owned(),
            reason: String::new(),
        }
    }

    #[test]
    fn a_course_names_each_value_once_until_it_changes() {
        let trace = [
            change(0, "delivering", "closed"),
            change(1500, "blocked", "open"),
            change(2500, "blocked", "half-open"),
            change(2600, "delivering", "closed"),
        ];
        assert_eq!(course(&trace, |change| &change.state), "delivering, 1.5 s blocked, 2.6 s delivering");
        assert_eq!(
            course(&trace, |change| &change.breaker),
            "closed, 1.5 s open, 2.5 s half-open, 2.6 s closed"
        );
        assert_eq!(course(&[change(0, "idle", "")], |change| &change.breaker), "–");
    }
}
